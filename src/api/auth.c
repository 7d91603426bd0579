/* auth.c -- the tokens in force and the question who asks (spec 1 section 5, rulings 12, 13, 15,
 * 16).
 *
 * A token given by flag or environment is compared in clear text's hash; one set from the page or
 * drawn at the first start is kept as SHA-256 and last four characters; the panel password as
 * argon2id. An imported token (sealed, from a registry.db) becomes a hash at the first start. */
#include "api/api.h"
#include "api/auth_private.h"
#include "api/settings.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

enum { ADMIN_TOKEN, VISITOR_TOKEN, PROXY_MASTER, ACCESS_PASSWORD };

static const char *const secret_names[] = {
    [ADMIN_TOKEN] = "admin_token",
    [VISITOR_TOKEN] = "visitor_token",
    [PROXY_MASTER] = "proxy_master_token",
    [ACCESS_PASSWORD] = "access_password",
};
static_assert(ARRAY_LEN(secret_names) == AUTH_SECRETS, "one name a secret");

#define PASSWORD_KEY "admin_password.argon2id"
#define LOGINS_MAX   16
#define SUFFIX_HASH  ".sha256"
#define SUFFIX_TAIL  ".tail"
#define SECRET_OFF   "off" /* stored in place of a hash */

/* ---- stored form ---- */

static const char *key_of(const char *name, const char *suffix, char out[64])
{
    snprintf(out, 64, "%s%s", name, suffix);
    return out;
}

int auth_secret_store(struct catalog_tx *tx, const char *name, struct str value, struct err *reterr)
{
    uint8_t hash[SECRET_HASH_SIZE];
    char hex[2 * SECRET_HASH_SIZE + 1], shown[SECRET_MASK_SIZE], key[64];
    int rc;

    if (value.len == 0) { /* kept as a word, so that "removed" differs from "never set" */
        rc =
            catalog_setting_set(tx, key_of(name, SUFFIX_HASH, key), STR(SECRET_OFF), false, reterr);
        return rc < 0 ? rc : catalog_setting_delete(tx, key_of(name, SUFFIX_TAIL, key), reterr);
    }
    secret_sha256(value, hash);
    secret_hex(hash, sizeof(hash), hex);
    secret_mask(value, shown);
    rc = catalog_setting_set(tx, key_of(name, SUFFIX_HASH, key), str_of(hex), false, reterr);
    if (rc < 0)
        return rc;
    return catalog_setting_set(tx, key_of(name, SUFFIX_TAIL, key), str_of(shown), false, reterr);
}

int auth_password_store(struct catalog_tx *tx, const char *pwhash, struct err *reterr)
{
    return catalog_setting_set(tx, PASSWORD_KEY, str_of(pwhash), false, reterr);
}

/* What the first start has to make, and what an import left in clear. */
struct first_start {
    struct auth *auth;
    struct catalog_snapshot *snapshot;
    char token[5 + 32 + 1]; /* "amtk-" and hex; "" = none was needed */
    char password[20 + 1];
    char pwhash[SECRET_PWHASH_SIZE];
    char imported_pwhash[SECRET_PWHASH_SIZE];
};

static int hash_imported(struct catalog_tx *tx, const struct first_start *f, struct err *reterr)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(secret_names); i++) {
        struct str clear = catalog_setting(f->snapshot, secret_names[i]);

        if (clear.len == 0)
            continue;
        rc = auth_secret_store(tx, secret_names[i], clear, reterr);
        if (rc == 0)
            rc = catalog_setting_delete(tx, secret_names[i], reterr);
    }
    if (rc == 0 && f->imported_pwhash[0])
        rc = auth_password_store(tx, f->imported_pwhash, reterr);
    if (rc == 0 && f->imported_pwhash[0])
        rc = catalog_setting_delete(tx, "admin_password", reterr);
    return rc;
}

static int store_first(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    struct first_start *f = ctx;
    int rc = hash_imported(tx, f, reterr);

    if (rc == 0 && f->token[0])
        rc = auth_secret_store(tx, "admin_token", str_of(f->token), reterr);
    if (rc == 0 && f->pwhash[0])
        rc = auth_password_store(tx, f->pwhash, reterr);
    return rc;
}

static bool is_given(struct auth *a, const struct catalog_snapshot *s, const char *name)
{
    char key[64];

    return option_text(a->options, name).len != 0 || catalog_setting(s, name).len != 0 ||
           catalog_setting(s, key_of(name, SUFFIX_HASH, key)).len != 0;
}

static bool has_imported(const struct catalog_snapshot *s)
{
    bool has = catalog_setting(s, "admin_password").len != 0;

    for (size_t i = 0; i < ARRAY_LEN(secret_names); i++)
        has |= catalog_setting(s, secret_names[i]).len != 0;
    return has;
}

static int first_start(struct auth *a, struct catalog_snapshot *s, struct buf *ret_first,
                       struct err *reterr)
{
    struct first_start f = {.auth = a, .snapshot = s};
    bool has_token = is_given(a, s, "admin_token");
    bool has_password = option_text(a->options, "admin_password").len != 0 ||
                        catalog_setting(s, PASSWORD_KEY).len != 0;
    struct str imported = catalog_setting(s, "admin_password");
    int rc = 0;

    if (imported.len != 0)
        rc = secret_pwhash(imported, f.imported_pwhash, reterr);
    if (rc == 0 && !has_token) {
        str_copy(f.token, sizeof(f.token), STR("amtk-"));
        secret_random_hex(f.token + 5, 32);
        if (!has_password && imported.len == 0) {
            secret_random_alnum(f.password, 20);
            rc = secret_pwhash(str_of(f.password), f.pwhash, reterr);
        }
    }
    if (rc == 0 && (f.token[0] || f.pwhash[0] || has_imported(s)))
        rc = catalog_apply(a->catalog, store_first, &f, reterr);
    if (rc == 0 && f.token[0])
        buf_putf(ret_first,
                 "\nFirst start. Shown once, kept only as hashes:\n%s%s%s  admin token     %s\n\n",
                 f.password[0] ? "  admin password  " : "", f.password, f.password[0] ? "\n" : "",
                 f.token);
    explicit_bzero(&f, sizeof(f));
    return rc;
}

/* Hash of the credentials that flags and environment give; a change of them between two starts ends
 * every session (ruling 15). */
#define GIVEN_KEY "credentials.given"

static void hash_given(const struct option_set *o, char hex[2 * SECRET_HASH_SIZE + 1])
{
    static const char *const names[] = {"admin_password", "admin_token", "access_password"};
    uint8_t all[ARRAY_LEN(names)][SECRET_HASH_SIZE], hash[SECRET_HASH_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        secret_sha256(option_text(o, names[i]), all[i]);
    secret_sha256(str_n((const char *)all, sizeof(all)), hash);
    secret_hex(hash, sizeof(hash), hex);
}

static int store_given(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    return catalog_setting_set(tx, GIVEN_KEY, str_of(ctx), false, reterr);
}

static int end_sessions_of_old(struct auth *a, const struct catalog_snapshot *s, struct err *reterr)
{
    struct str seen = catalog_setting(s, GIVEN_KEY);
    char hex[2 * SECRET_HASH_SIZE + 1];

    hash_given(a->options, hex);
    if (str_eq_c(seen, hex))
        return 0;
    if (seen.len != 0)
        auth_end_other_sessions(a, NULL);
    return catalog_apply(a->catalog, store_given, hex, reterr);
}

int auth_new(const struct option_set *options, struct store *store, struct catalog *catalog,
             struct auth **ret, struct buf *ret_first, struct err *reterr)
{
    struct auth *a = xcalloc(1, sizeof(*a));
    struct catalog_snapshot *s = catalog_latest(catalog);
    int rc;

    a->options = options;
    a->store = store;
    a->catalog = catalog;
    pthread_rwlock_init(&a->lock, NULL);
    auth_guard_init(&a->guard);
    rc = auth_sessions_open(&a->sessions, store, reterr);
    if (rc == 0)
        rc = first_start(a, s, ret_first, reterr);
    if (rc == 0)
        rc = end_sessions_of_old(a, s, reterr);
    catalog_unref(s);
    if (rc < 0) {
        auth_free(a);
        return rc;
    }
    *ret = a;
    return 0;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    auth_sessions_close(&a->sessions);
    pthread_rwlock_destroy(&a->lock);
    explicit_bzero(a, sizeof(*a));
    xfree(a);
}

/* ---- tokens in force ---- */

static struct auth_secret read_secret(const struct auth *a, const struct catalog_snapshot *s,
                                      const char *name)
{
    struct auth_secret secret = {0};
    struct str given = option_text(a->options, name);
    char key[64];
    struct str stored = catalog_setting(s, key_of(name, SUFFIX_HASH, key));
    const struct option_row *row = option_find(str_of(name));

    /* What the page may store wins over the environment that seeded it (ruling 12). */
    if (given.len != 0 && !(stored.len != 0 && (row->flags & OPTION_PAGE))) {
        secret.is_set = true;
        secret_sha256(given, secret.hash);
        secret_mask(given, secret.shown);
        return secret;
    }
    secret.is_set = secret_unhex(stored, secret.hash, sizeof(secret.hash)) == 0;
    if (secret.is_set)
        str_copy(secret.shown, sizeof(secret.shown),
                 catalog_setting(s, key_of(name, SUFFIX_TAIL, key)));
    return secret;
}

void auth_refresh(struct auth *a, const struct catalog_snapshot *s)
{
    bool visitor_mode = settings_bool(a->options, s, "visitor_mode");

    pthread_rwlock_wrlock(&a->lock);
    for (size_t i = 0; i < AUTH_SECRETS; i++)
        a->secrets[i] = read_secret(a, s, secret_names[i]);
    a->visitor_mode = visitor_mode;
    str_copy(a->password_hash, sizeof(a->password_hash), catalog_setting(s, PASSWORD_KEY));
    pthread_rwlock_unlock(&a->lock);
}

static const struct auth_secret *secret_named(const struct auth *a, const char *name)
{
    for (size_t i = 0; i < AUTH_SECRETS; i++) {
        if (strcmp(secret_names[i], name) == 0)
            return &a->secrets[i];
    }
    return NULL;
}

void auth_secret_shown(struct auth *a, const char *name, char out[SECRET_MASK_SIZE])
{
    const struct auth_secret *secret;

    pthread_rwlock_rdlock(&a->lock);
    secret = secret_named(a, name);
    str_copy(out, SECRET_MASK_SIZE, str_of(secret && secret->is_set ? secret->shown : ""));
    pthread_rwlock_unlock(&a->lock);
}

static bool hash_is(const struct auth_secret *secret, const uint8_t hash[SECRET_HASH_SIZE])
{
    /* The same work whether one is set or not. */
    return secret_hash_equal(secret->hash, hash) & secret->is_set;
}

bool auth_secret_is(struct auth *a, const char *name, struct str value)
{
    uint8_t hash[SECRET_HASH_SIZE];
    const struct auth_secret *secret;
    bool is;

    secret_sha256(value, hash);
    pthread_rwlock_rdlock(&a->lock);
    secret = secret_named(a, name);
    is = secret && hash_is(secret, hash);
    pthread_rwlock_unlock(&a->lock);
    return is;
}

/* ---- who asks ---- */

/* API_ANONYMOUS when it is nobody's token. */
static enum api_role role_of_token(struct auth *a, struct str token)
{
    uint8_t hash[SECRET_HASH_SIZE];
    bool is_admin, is_visitor;

    secret_sha256(token, hash);
    pthread_rwlock_rdlock(&a->lock);
    is_admin = hash_is(&a->secrets[ADMIN_TOKEN], hash);
    is_admin |= hash_is(&a->secrets[ACCESS_PASSWORD], hash); /* both are asked, whichever it is */
    is_visitor = hash_is(&a->secrets[VISITOR_TOKEN], hash) & a->visitor_mode;
    pthread_rwlock_unlock(&a->lock);
    if (is_admin)
        return API_ADMIN;
    return is_visitor ? API_VISITOR : API_ANONYMOUS;
}

static bool anonymous_may_read(struct auth *a)
{
    bool may;

    pthread_rwlock_rdlock(&a->lock);
    may = a->visitor_mode && !a->secrets[VISITOR_TOKEN].is_set;
    pthread_rwlock_unlock(&a->lock);
    return may;
}

static enum auth_verdict check_token(struct auth *a, struct http_exchange *x, struct str token,
                                     struct auth_who *ret, unsigned *ret_retry_after_s)
{
    const struct addr *client = &http_request(x)->client;
    enum api_role role;

    if (auth_is_blocked(a, AUTH_SCOPE_BEARER, client, ret_retry_after_s))
        return AUTH_BLOCKED;
    role = role_of_token(a, token);
    if (role == API_ANONYMOUS) {
        auth_record_failure(a, AUTH_SCOPE_BEARER, client);
        return AUTH_UNAUTHORIZED;
    }
    ret->role = (int)role; /* a small number */
    ret->actor = role == API_ADMIN ? "admin token" : "visitor";
    return AUTH_OK;
}

enum auth_verdict auth_check(struct auth *a, struct http_exchange *x, bool allow_query_token,
                             struct auth_who *ret, unsigned *ret_retry_after_s)
{
    struct str header = http_get_header(x, "authorization");
    struct str cookie = http_get_cookie(x, AUTH_COOKIE);
    struct str token;

    /* Another scheme is not meant for us: a proxy in front may ask for a password of its own. */
    if (str_ieq(str_until(header, ' '), STR("Bearer"))) {
        if (!str_skip_prefix(&header, STR("Bearer ")))
            header = STR_NONE; /* badly written is wrong too */
        return check_token(a, x, header, ret, ret_retry_after_s);
    }
    if (allow_query_token && http_get_query(x, "token", &token) && token.len != 0)
        return check_token(a, x, token, ret, ret_retry_after_s);
    if (cookie.len != 0 && auth_session_find(&a->sessions, cookie, http_request(x)->received_utc_ms,
                                             ret->session_hash)) {
        ret->role = API_ADMIN;
        ret->by_cookie = true;
        ret->actor = "admin session";
        return AUTH_OK;
    }
    if (anonymous_may_read(a)) {
        ret->role = API_VISITOR;
        ret->actor = "visitor";
        return AUTH_OK;
    }
    return AUTH_UNAUTHORIZED;
}

const char *auth_csrf_fault(struct http_exchange *x)
{
    struct str origin = http_get_header(x, "origin");
    struct str site = http_get_header(x, "sec-fetch-site");
    struct str type = http_get_header(x, "content-type");

    if (origin.ptr) {
        if (!str_skip_prefix(&origin, STR("http://")) && !str_skip_prefix(&origin, STR("https://")))
            return "requests from another origin are refused";
        if (!str_ieq(origin, http_request(x)->host))
            return "requests from another origin are refused";
    } else if (site.ptr && !str_eq_c(site, "same-origin") && !str_eq_c(site, "none")) {
        return "requests from another origin are refused";
    }
    if (http_request(x)->has_body && !str_istarts(str_trim(type), STR("application/json")))
        return "Content-Type must be application/json";
    return NULL;
}

/* ---- login ---- */

static void login_work(struct loop_work *w)
{
    struct auth_login *l = container_of(w, struct auth_login, work);
    struct auth *a = l->auth;
    struct str password = secret_str(&l->password);
    struct str given = option_text(a->options, "admin_password");
    char hash[SECRET_PWHASH_SIZE];
    bool ok;

    pthread_rwlock_rdlock(&a->lock);
    memcpy(hash, a->password_hash, sizeof(hash));
    pthread_rwlock_unlock(&a->lock);
    ok = auth_secret_is(a, "admin_token", password);
    ok |= auth_secret_is(a, "access_password", password);
    ok |= given.len != 0 && secret_equal(given, password);
    if (!ok && given.len == 0 && hash[0])
        ok = secret_pwhash_verify(hash, password);
    l->verdict = ok ? AUTH_OK : AUTH_UNAUTHORIZED;
    secret_release(&l->password);
}

static void login_done(struct loop_work *w)
{
    struct auth_login *l = container_of(w, struct auth_login, work);

    atomic_fetch_sub(&l->auth->logins, 1);
    auth_guard_end(&l->auth->guard, AUTH_SCOPE_LOGIN, &http_request(l->x)->client, clock_mono_ms(),
                   l->verdict == AUTH_OK);
    if (l->verdict == AUTH_OK) {
        auth_session_begin(&l->auth->sessions, l->x, l->token);
    } else {
        char client[ADDR_TEXT_SIZE];

        metric_add(METRIC_AUTH_FAILURES, AUTH_SCOPE_LOGIN, 1);

        addr_text(&http_request(l->x)->client, client);
        log_info("auth", "login refused client=%s", client);
    }
    l->done(l);
}

/* Attempts under way count, so that many at once get no more tries than many in a row; and few are
 * checked at once, for each takes a pool thread and 64 MiB. */
void auth_login(struct auth_login *l)
{
    bool may = atomic_fetch_add(&l->auth->logins, 1) < LOGINS_MAX;

    l->retry_after_s = 2;
    if (may)
        may = auth_guard_begin(&l->auth->guard, AUTH_SCOPE_LOGIN, &http_request(l->x)->client,
                               clock_mono_ms(), &l->retry_after_s);
    if (!may) {
        atomic_fetch_sub(&l->auth->logins, 1);
        secret_release(&l->password);
        l->verdict = AUTH_BLOCKED;
        l->done(l);
        return;
    }
    loop_work(http_loop(l->x), &l->work, login_work, login_done);
}

bool auth_is_blocked(struct auth *a, enum auth_scope s, const struct addr *client,
                     unsigned *ret_retry_after_s)
{
    return auth_guard_blocked(&a->guard, s, client, clock_mono_ms(), ret_retry_after_s);
}

void auth_record_failure(struct auth *a, enum auth_scope s, const struct addr *client)
{
    metric_add(METRIC_AUTH_FAILURES, s, 1);
    auth_guard_failure(&a->guard, s, client, clock_mono_ms());
}
