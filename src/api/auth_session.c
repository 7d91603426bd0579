/* auth_session.c -- sessions of the page: kept in memory by the SHA-256 of their token, written
 * through to the store so that a restart ends none. 12 h idle, 7 d absolute (ruling 15). */
#include "api/auth_private.h"
#include "base/clock.h"
#include "base/log.h"

#define IDLE_MS       ((int64_t)12 * 3600 * 1000)
#define ABSOLUTE_MS   ((int64_t)7 * 24 * 3600 * 1000)
#define SAVE_EVERY_MS ((int64_t)5 * 60 * 1000) /* a touched session is written this seldom */
#define SESSIONS_MAX  1000

/* A write nobody waits for. */
struct session_write {
    struct store_job job;
    enum { SESSION_SAVE, SESSION_DELETE, SESSION_DELETE_OTHERS } what;
    struct auth_session session;
};

static struct str hash_key(const uint8_t hash[SECRET_HASH_SIZE])
{
    return str_n((const char *)hash, SECRET_HASH_SIZE);
}

static int write_run(struct store_job *j, struct store_conn *c)
{
    struct session_write *w = container_of(j, struct session_write, job);
    static const char *const sql[] = {
        [SESSION_SAVE] =
            "INSERT INTO sessions(token_hash, role, created_utc_ms, seen_utc_ms, peer, user_agent)"
            " VALUES(?,'admin',?,?,?,?)"
            " ON CONFLICT(token_hash) DO UPDATE SET seen_utc_ms = excluded.seen_utc_ms",
        [SESSION_DELETE] = "DELETE FROM sessions WHERE token_hash = ?",
        [SESSION_DELETE_OTHERS] = "DELETE FROM sessions WHERE token_hash <> ?",
    };
    struct store_stmt *st;
    int rc = store_prepare(c, sql[w->what], &st, &j->err);

    if (rc < 0)
        return rc;
    store_bind_blob(st, 1, w->session.hash, sizeof(w->session.hash));
    if (w->what == SESSION_SAVE) {
        store_bind_i64(st, 2, w->session.created_utc_ms);
        store_bind_i64(st, 3, w->session.seen_utc_ms);
        store_bind_str(st, 4, str_of(w->session.peer));
        store_bind_str(st, 5, str_of(w->session.user_agent));
    }
    return store_run(st, &j->err);
}

static void write_done(struct store_job *j)
{
    struct session_write *w = container_of(j, struct session_write, job);

    if (j->rc < 0)
        log_warn("auth", "session was not written; it ends with this process reason=\"%s\"",
                 j->err.text);
    xfree(w);
}

static void write_later(struct auth_sessions *s, int what, const struct auth_session *session)
{
    struct session_write *w = xcalloc(1, sizeof(*w));

    w->what = (__typeof__(w->what))what;
    w->session = *session;
    w->job.run = write_run;
    w->job.done = write_done;
    if (store_write(s->store, &w->job) < 0)
        xfree(w); /* the store is overloaded: the session lives in memory alone */
}

static bool is_alive(const struct auth_session *e, utc_ms now)
{
    return now - e->seen_utc_ms < IDLE_MS && now - e->created_utc_ms < ABSOLUTE_MS;
}

/* Drop what ran out; past the ceiling the one seen longest ago goes too. */
static void sweep(struct auth_sessions *s, utc_ms now)
{
    for (;;) {
        struct auth_session *victim = NULL;
        struct str key;
        void *value;
        size_t it = 0;

        while (map_next(s->by_hash, &it, &key, &value)) {
            struct auth_session *e = value;

            if (!is_alive(e, now)) {
                victim = e;
                break;
            }
            if (map_count(s->by_hash) >= SESSIONS_MAX &&
                (!victim || e->seen_utc_ms < victim->seen_utc_ms))
                victim = e;
        }
        if (!victim)
            return;
        write_later(s, SESSION_DELETE, victim);
        xfree(map_del(s->by_hash, hash_key(victim->hash)));
    }
}

int auth_sessions_open(struct auth_sessions *s, struct store *store, struct err *reterr)
{
    struct store_conn *c;
    struct store_stmt *st;
    int rc;

    pthread_mutex_init(&s->lock, NULL);
    s->by_hash = map_new();
    s->store = store;
    c = store_writer_lock(store);
    rc = store_prepare(
        c, "SELECT token_hash, created_utc_ms, seen_utc_ms, peer, user_agent FROM sessions", &st,
        reterr);
    while (rc == 0 && (rc = store_step(st, reterr)) == 1) {
        struct auth_session e = {.created_utc_ms = store_col_i64(st, 1),
                                 .seen_utc_ms = store_col_i64(st, 2)};
        struct str hash = store_col_blob(st, 0);

        rc = 0;
        if (hash.len != sizeof(e.hash) || !is_alive(&e, clock_utc_ms()))
            continue;
        memcpy(e.hash, hash.ptr, sizeof(e.hash));
        e.saved_utc_ms = e.seen_utc_ms;
        str_copy(e.peer, sizeof(e.peer), store_col_str(st, 3));
        str_copy(e.user_agent, sizeof(e.user_agent), store_col_str(st, 4));
        struct auth_session *kept = xmalloc(sizeof(*kept));
        *kept = e;
        xfree(map_set(s->by_hash, hash_key(kept->hash), kept));
    }
    if (rc == 0)
        store_reset(st);
    store_writer_unlock(store);
    return rc;
}

void auth_sessions_close(struct auth_sessions *s)
{
    map_free(s->by_hash, xfree);
    s->by_hash = NULL;
}

void auth_session_begin(struct auth_sessions *s, struct http_exchange *x, char token[65])
{
    struct auth_session *e = xcalloc(1, sizeof(*e));

    secret_random_hex(token, 64);
    secret_sha256(str_n(token, 64), e->hash);
    e->created_utc_ms = e->seen_utc_ms = e->saved_utc_ms = clock_utc_ms();
    addr_text(&http_request(x)->client, e->peer);
    str_copy(e->user_agent, sizeof(e->user_agent), http_get_header(x, "user-agent"));
    pthread_mutex_lock(&s->lock);
    sweep(s, e->created_utc_ms);
    write_later(s, SESSION_SAVE, e);
    xfree(map_set(s->by_hash, hash_key(e->hash), e));
    pthread_mutex_unlock(&s->lock);
}

bool auth_session_find(struct auth_sessions *s, struct str token, utc_ms now,
                       uint8_t ret_hash[SECRET_HASH_SIZE])
{
    struct auth_session *e;
    bool found;

    if (token.len != 64)
        return false;
    secret_sha256(token, ret_hash);
    pthread_mutex_lock(&s->lock);
    e = map_get(s->by_hash, hash_key(ret_hash));
    found = e && is_alive(e, now);
    if (found) {
        e->seen_utc_ms = MAX(e->seen_utc_ms, now);
        if (now - e->saved_utc_ms > SAVE_EVERY_MS) {
            e->saved_utc_ms = now;
            write_later(s, SESSION_SAVE, e);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void auth_logout(struct auth *a, const uint8_t hash[SECRET_HASH_SIZE])
{
    struct auth_sessions *s = &a->sessions;
    struct auth_session *e;

    pthread_mutex_lock(&s->lock);
    e = map_del(s->by_hash, hash_key(hash));
    if (e)
        write_later(s, SESSION_DELETE, e);
    pthread_mutex_unlock(&s->lock);
    xfree(e);
}

void auth_end_other_sessions(struct auth *a, const uint8_t *keep_hash)
{
    struct auth_sessions *s = &a->sessions;
    struct auth_session kept = {0};
    struct auth_session *own;

    pthread_mutex_lock(&s->lock);
    own = keep_hash ? map_del(s->by_hash, hash_key(keep_hash)) : NULL;
    map_free(s->by_hash, xfree);
    s->by_hash = map_new();
    if (own) {
        kept = *own;
        map_set(s->by_hash, hash_key(own->hash), own);
    }
    write_later(s, SESSION_DELETE_OTHERS, &kept); /* no session has the hash of all zeros */
    pthread_mutex_unlock(&s->lock);
}

static int newest_first(const void *a, const void *b)
{
    const struct auth_session *x = a, *y = b;

    return (x->seen_utc_ms < y->seen_utc_ms) - (x->seen_utc_ms > y->seen_utc_ms);
}

void auth_sessions_json(struct auth *a, struct json_out *j, const uint8_t *own_hash)
{
    struct auth_sessions *s = &a->sessions;
    struct auth_session *all;
    size_t count = 0, it = 0;
    struct str key;
    void *value;

    pthread_mutex_lock(&s->lock);
    all = xcalloc(map_count(s->by_hash), sizeof(*all));
    while (map_next(s->by_hash, &it, &key, &value))
        all[count++] = *(struct auth_session *)value;
    pthread_mutex_unlock(&s->lock);
    qsort(all, count, sizeof(*all), newest_first);
    json_out_array(j);
    for (size_t i = 0; i < count; i++) {
        char id[17];

        secret_hex(all[i].hash, 8, id); /* enough to name it, not enough to be it */
        json_out_object(j);
        json_out_kcstr(j, "id", id);
        json_out_kts(j, "created_at", all[i].created_utc_ms);
        json_out_kts(j, "seen_at", all[i].seen_utc_ms);
        json_out_kcstr(j, "address", all[i].peer);
        json_out_kcstr(j, "user_agent", all[i].user_agent);
        json_out_kbool(j, "current", own_hash && secret_hash_equal(own_hash, all[i].hash));
        json_out_end(j);
    }
    json_out_end(j);
    xfree(all);
}

void auth_set_cookie(struct http_exchange *x, const char *token, const char *path)
{
    http_add_headerf(x, "Set-Cookie", "%s=%s; Path=%s; Max-Age=%d; HttpOnly; SameSite=Strict%s",
                     AUTH_COOKIE, token ? token : "", path, token ? (int)(ABSOLUTE_MS / 1000) : 0,
                     http_request(x)->is_https ? "; Secure" : "");
}
