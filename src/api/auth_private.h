/* auth_private.h -- struct auth for auth*.c. Lock order: auth.lock, then session.lock, then
 * guard.lock; none is held across I/O or a callback. */
#pragma once

#include "api/auth.h"
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

#define AUTH_SECRETS 4 /* rows of secret_names in auth.c */

struct auth_secret { /* one token in force */
    bool is_set;
    uint8_t hash[SECRET_HASH_SIZE];
    char shown[SECRET_MASK_SIZE];
};

struct auth_session {
    uint8_t hash[SECRET_HASH_SIZE];
    utc_ms created_utc_ms, seen_utc_ms, saved_utc_ms;
    char peer[ADDR_TEXT_SIZE];
    char user_agent[128];
};

struct auth_sessions { /* guarded by lock */
    pthread_mutex_t lock;
    struct map *by_hash; /* 32 bytes -> struct auth_session, owned */
    struct store *store;
};

struct auth_guard_entry {
    struct addr client; /* IPv6: the /64 */
    uint32_t failures, under_way;
    mono_ms since, blocked_until;
};

#define AUTH_GUARD_SLOTS 2048 /* a scope; constant memory whatever addresses are forged */
struct auth_guard {           /* guarded by lock */
    pthread_mutex_t lock;
    struct auth_guard_entry slots[AUTH_SCOPES][AUTH_GUARD_SLOTS];
};

struct auth {
    const struct option_set *options;
    struct store *store;
    struct catalog *catalog;
    pthread_rwlock_t lock; /* guards the tokens below; held for a compare */
    struct auth_secret secrets[AUTH_SECRETS];
    bool visitor_mode;
    char password_hash[SECRET_PWHASH_SIZE]; /* "" = none stored */
    struct auth_sessions sessions;
    struct auth_guard guard;
    atomic_uint logins; /* being checked now */
};

/* auth_session.c */
MUST_USE int auth_sessions_open(struct auth_sessions *s, struct store *store, struct err *reterr);
void auth_sessions_close(struct auth_sessions *s);
/* New session; token: 64 hex digits and NUL. */
void auth_session_begin(struct auth_sessions *s, struct http_exchange *x, char token[65]);
/* Is there a live session of this token? Touches it; hash out. */
bool auth_session_find(struct auth_sessions *s, struct str token, utc_ms now, uint8_t ret_hash[SECRET_HASH_SIZE]);

/* auth_guard.c */
void auth_guard_init(struct auth_guard *g);
bool auth_guard_blocked(struct auth_guard *g, enum auth_scope scope, const struct addr *client, mono_ms now, unsigned *ret_retry_after_s);
void auth_guard_failure(struct auth_guard *g, enum auth_scope scope, const struct addr *client, mono_ms now);
/* An attempt whose verdict takes time: begin() refuses (false, *ret_retry_after_s) while blocked or
 * while failures and attempts under way together reach the limit; each begin() has its end(). */
bool auth_guard_begin(struct auth_guard *g, enum auth_scope scope, const struct addr *client, mono_ms now, unsigned *ret_retry_after_s);
void auth_guard_end(struct auth_guard *g, enum auth_scope scope, const struct addr *client, mono_ms now, bool is_right);
