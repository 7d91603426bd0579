/* auth.h -- who asks: bearer tokens, sessions, visitors; the brute-force guard (spec 1 section 5).
 * Tokens are compared by their SHA-256 in constant time. Sessions are kept in memory by hash and
 * written through to the store. Short locks, never across I/O. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/option.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "net/addr.h"
#include "net/http_server.h"

enum auth_verdict { AUTH_OK, AUTH_UNAUTHORIZED, AUTH_BLOCKED };
enum auth_scope { AUTH_SCOPE_BEARER, AUTH_SCOPE_LOGIN, AUTH_SCOPE_KEY, AUTH_SCOPES };

struct auth;
struct auth_who {
    int role; /* enum api_role of api.h */
    bool by_cookie;
    const char *actor;
    uint8_t session_hash[SECRET_HASH_SIZE]; /* by_cookie */
};

/* First start draws admin password and admin token (ruling 13), stores them and puts the lines to
 * print once into *ret_first. Sessions of an earlier process are read back. */
MUST_USE int auth_new(const struct option_set *options, struct store *store, struct catalog *catalog, struct auth **ret, struct buf *ret_first, struct err *reterr);
void auth_free(struct auth *a);
/* Take tokens in force from options and snapshot; called at start and after each settings change. */
void auth_refresh(struct auth *a, const struct catalog_snapshot *s);
/* The request's credentials. allow_query_token: ?token=. *ret_retry_after_s with AUTH_BLOCKED. */
enum auth_verdict auth_check(struct auth *a, struct http_exchange *x, bool allow_query_token, struct auth_who *ret, unsigned *ret_retry_after_s);
/* Cookie-authenticated writes and login must come from our own page: Origin or Sec-Fetch-Site, and
 * a JSON Content-Type where there is a body (ruling 16). NULL = fine, else the reason. */
const char *auth_csrf_fault(struct http_exchange *x);

/* Login: the check (argon2id) runs off the loop; done on the loop. ok -> token to set as cookie. */
struct auth_login {
    struct loop_work work;
    struct auth *auth;
    struct http_exchange *x;
    struct secret password;
    void (*done)(struct auth_login *l);
    enum auth_verdict verdict;
    unsigned retry_after_s;
    char token[65]; /* 64 hex digits */
    void *arg;
};
void auth_login(struct auth_login *l);
void auth_logout(struct auth *a, const uint8_t hash[SECRET_HASH_SIZE]);
void auth_end_other_sessions(struct auth *a, const uint8_t *keep_hash); /* NULL: all */
#define AUTH_COOKIE "api_monitor_admin_session"
void auth_set_cookie(struct http_exchange *x, const char *token, const char *path); /* token NULL: clears */

/* Secrets set from the page are kept as SHA-256 and last four characters: inside a catalog job. An
 * empty value removes it. `name` is an option: admin_token, visitor_token, proxy_master_token. */
MUST_USE int auth_secret_store(struct catalog_tx *tx, const char *name, struct str value, struct err *reterr);
/* What pages may show of a secret in force: "" or "****" + last four. */
void auth_secret_shown(struct auth *a, const char *name, char out[SECRET_MASK_SIZE]);
/* Is `value` the secret in force under this name? False when none is. */
bool auth_secret_is(struct auth *a, const char *name, struct str value);
/* The panel password as argon2id text, made off the loop by secret_pwhash(). */
MUST_USE int auth_password_store(struct catalog_tx *tx, const char *pwhash, struct err *reterr);

/* Guard. */
bool auth_is_blocked(struct auth *a, enum auth_scope s, const struct addr *client, unsigned *ret_retry_after_s);
void auth_record_failure(struct auth *a, enum auth_scope s, const struct addr *client);
/* Open sessions, newest first: JSON array for the settings page. */
void auth_sessions_json(struct auth *a, struct json_out *j, const uint8_t *own_hash);
