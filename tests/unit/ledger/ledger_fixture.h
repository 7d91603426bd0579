/* ledger_fixture.h -- what the ledger's tests share: a store and a ledger in a directory of their
 * own, random events, waiting for a number, and sums recomputed from the raw rows. */
#pragma once

#include "../store/store_fixture.h"

#include "base/hist.h"
#include "base/tz.h"
#include "ledger/ledger_private.h"
#include "ledger/rollup_key.h"

#include <sys/prctl.h>

struct fixture {
    char *dir;
    struct store *store;
    struct ledger *ledger;
    struct ledger_producer *producer;
};

struct fixture_random {
    uint64_t state;
};

static inline uint64_t fixture_next(struct fixture_random *r, uint64_t below)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (r->state >> 33) % below;
}

static inline void fixture_open_ledger(struct fixture *f, uint64_t spool_max_bytes, const char *zone)
{
    struct ledger_config cfg = {.store = f->store, .spool_max_bytes = spool_max_bytes, .timezone = zone,
                                .commit_ms = 5, .ring_bytes = 64 * 1024};
    struct err e = {0};

    if (ledger_open(&cfg, &f->ledger, &e) < 0)
        fail_msg("ledger_open: %s", e.text);
    f->producer = ledger_producer_new(f->ledger, "test");
}

static inline void fixture_start(struct fixture *f)
{
    struct err e;

    assert_int_equal(ledger_start(f->ledger, &e), 0);
}

static inline struct fixture fixture_ledger(void)
{
    struct fixture f = {.dir = fixture_dir()};

    f.store = fixture_open(f.dir);
    fixture_open_ledger(&f, 64 << 20, "UTC");
    return f;
}

static inline void fixture_end_ledger(struct fixture *f)
{
    ledger_stop(f->ledger);
    ledger_close(f->ledger);
    f->ledger = NULL;
}

static inline void fixture_end(struct fixture *f)
{
    if (f->ledger)
        fixture_end_ledger(f);
    store_close(f->store);
    fixture_remove(f->dir);
}

static inline bool fixture_await(struct ledger *l, uint64_t number, uint64_t limit_ms)
{
    const struct timespec pause = {.tv_nsec = 500 * 1000};
    mono_ms began = clock_mono_ms();
    struct ledger_stats s;

    for (;;) {
        ledger_stats(l, &s);
        if (s.seq_committed >= number)
            return true;
        if (clock_mono_ms() - began > limit_ms)
            return false;
        nanosleep(&pause, NULL);
    }
}

/* Texts are static. */
static inline struct ledger_record fixture_event(struct fixture_random *r, utc_ms from, utc_ms to)
{
    static const char *const sources[] = {"", "app", "cron", "web-ui"};
    static const char *const models[] = {"gpt-4o", "claude-sonnet-4", "gemini-2.5-pro", "o3", ""};
    static const char *const users[] = {"", "ann", "bob", "j\xc3\xbcrgen"};
    struct ledger_record rec = {.kind = LEDGER_CALL};
    struct call_event *e = &rec.call;

    e->id = id128_new();
    e->ended_utc_ms = from + (utc_ms)fixture_next(r, (uint64_t)(to - from));
    e->origin = (enum call_origin)fixture_next(r, CALL_ORIGINS);
    e->kind = (enum call_kind)fixture_next(r, CALL_KINDS);
    e->site = (int64_t)fixture_next(r, 2);
    e->key_id = (int64_t)fixture_next(r, 3);
    e->channel_id = (int64_t)fixture_next(r, 3);
    e->protocol = (enum protocol)fixture_next(r, PROTOCOLS);
    e->outcome = fixture_next(r, 3) ? OUTCOME_OK : (enum outcome)fixture_next(r, OUTCOME_COUNT);
    e->http_status = (int)fixture_next(r, 2) * 200;
    e->is_stream = fixture_next(r, 2) != 0;
    e->duration_us = (int64_t)fixture_next(r, 4000000);
    e->ttft_us = fixture_next(r, 2) ? (int64_t)fixture_next(r, 900000) : 0;
    e->usage = (struct usage){(int64_t)fixture_next(r, 5000), (int64_t)fixture_next(r, 100), (int64_t)fixture_next(r, 50),
                              (int64_t)fixture_next(r, 20), (int64_t)fixture_next(r, 900), (int64_t)fixture_next(r, 300),
                              (int64_t)fixture_next(r, 40)};
    e->usage_source = (enum usage_source)fixture_next(r, USAGE_ESTIMATED + 1);
    e->cost_source = (enum cost_source)fixture_next(r, COST_ESTIMATED + 1);
    e->cost_nano_usd = (int64_t)fixture_next(r, 1u << 30);
    e->charge_units = (int64_t)fixture_next(r, 1u << 20) - (1 << 19);
    e->attempts = 1;
    e->source = str_of(sources[fixture_next(r, ARRAY_LEN(sources))]);
    e->provider = str_of(fixture_next(r, 2) ? "openai" : "");
    e->group = str_of(fixture_next(r, 2) ? "default" : "vip");
    e->user = str_of(users[fixture_next(r, ARRAY_LEN(users))]);
    e->model = str_of(models[fixture_next(r, ARRAY_LEN(models))]);
    e->request_id = STR("req-1234567890");
    return rec;
}

/* By the writer's connection: sums over all rows may take longer than a reader is given. */
static inline int64_t fixture_i64(struct store *s, const char *sql)
{
    struct store_conn *c = store_writer_lock(s);
    struct store_stmt *st;
    struct err e = {0};
    int64_t v = 0;

    if (store_prepare(c, sql, &st, &e) < 0 || store_step(st, &e) < 0)
        fail_msg("%s: %s", sql, e.text);
    v = store_col_i64(st, 0);
    store_reset(st);
    store_writer_unlock(s);
    return v;
}

/* Counters of every roll-up level equal a sum over the raw rows, overall and by key. */
static inline void fixture_check_sums(struct store *s)
{
    static const char *const tables[] = {"rollup_minute", "rollup_quarter", "rollup_day"};
    /* Rows that differ between raw events grouped by key and a level's sums. Literals: the store
     * caches statements by their address. */
#define RAW                                                                                        \
    "SELECT origin o,kind k,site s,ifnull(source,'') so,ifnull(provider,'') p,channel_id c,"       \
    "ifnull(model,'') m,ifnull(grp,'') g,key_id ki,count(*),sum(is_stream),sum(usage_source=3),"   \
    "sum(t_input),sum(t_cache_read),sum(t_cache_write_5m),sum(t_cache_write_1h),sum(t_output),"    \
    "sum(t_reasoning),sum(t_unsplit),sum(cost_nano_usd),sum(charge_units)"                         \
    " FROM call_events GROUP BY o,k,s,so,p,c,m,g,ki"
#define MADE(table)                                                                                \
    "SELECT r.origin,r.kind,r.site,r.source,r.provider,r.channel_id,r.model,r.grp,r.key_id,"       \
    "sum(n),sum(n_stream),sum(n_estimated),sum(t_input),sum(t_cache_read),sum(t_cache_write_5m),"  \
    "sum(t_cache_write_1h),sum(t_output),sum(t_reasoning),sum(t_unsplit),sum(cost_nano_usd),"      \
    "sum(charge_units) FROM " table " JOIN rollup_keys r ON r.id=rk GROUP BY 1,2,3,4,5,6,7,8,9"
#define DIFFERENCE(table)                                                                          \
    "SELECT (SELECT count(*) FROM (" RAW " EXCEPT " MADE(table) "))+"                              \
    "(SELECT count(*) FROM (" MADE(table) " EXCEPT " RAW "))"
#define CLASSES(table)                                                                             \
    "SELECT count(*) FROM " table " WHERE n<>n_ok+n_degraded+n_upstream+n_rate_limit+n_quota+"     \
    "n_auth+n_client+n_cancelled+n_timeout+n_network+n_tls+n_dns"
    const int64_t wrong[] = {fixture_i64(s, DIFFERENCE("rollup_minute")),
                             fixture_i64(s, DIFFERENCE("rollup_quarter")),
                             fixture_i64(s, DIFFERENCE("rollup_day"))};
    const int64_t broken[] = {fixture_i64(s, CLASSES("rollup_minute")),
                              fixture_i64(s, CLASSES("rollup_quarter")),
                              fixture_i64(s, CLASSES("rollup_day"))};

    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        if (wrong[i] != 0 || broken[i] != 0)
            fail_msg("%s: %ld keys differ, %ld rows broken", tables[i], (long)wrong[i], (long)broken[i]);
    }
#define USER_RAW                                                                                   \
    "SELECT origin o,site s,ifnull(user,'') u,key_id k,sum(kind=0),sum(t_input+t_cache_write_5m+"  \
    "t_cache_write_1h),sum(t_cache_read),sum(t_output+t_reasoning),sum(t_unsplit),"                \
    "sum(cost_nano_usd),sum(charge_units),sum(iif(kind=0,duration_us,0))"                          \
    " FROM call_events WHERE origin<>1 GROUP BY o,s,u,k"
#define USER_MADE(table)                                                                           \
    "SELECT r.origin,r.site,r.user,r.key_id,sum(n),sum(t_input),sum(t_cached),sum(t_output),"      \
    "sum(t_unsplit),sum(cost_nano_usd),sum(charge_units),sum(duration_us)"                         \
    " FROM " table " JOIN user_rollup_keys r ON r.id=rk GROUP BY 1,2,3,4"
#define USER_DIFFERENCE(table)                                                                     \
    "SELECT (SELECT count(*) FROM (" USER_RAW " EXCEPT " USER_MADE(table) "))+"                    \
    "(SELECT count(*) FROM (" USER_MADE(table) " EXCEPT " USER_RAW "))+"                           \
    "(SELECT count(*) FROM " table " WHERE n<>n_ok+n_failed)"
    assert_int_equal(fixture_i64(s, USER_DIFFERENCE("user_rollup_quarter")), 0);
    assert_int_equal(fixture_i64(s, USER_DIFFERENCE("user_rollup_day")), 0);
}

/* Each event has one id, one row. */
static inline void fixture_check_ids(struct store *s, int64_t events)
{
    assert_int_equal(fixture_i64(s, "SELECT count(*) FROM call_events"), events);
    assert_int_equal(fixture_i64(s, "SELECT count(DISTINCT id) FROM call_events"), events);
    assert_int_equal(fixture_i64(s, "SELECT count(*) FROM call_ids i JOIN call_events e ON e.row=i.row AND e.id=i.id"), events);
    assert_int_equal(fixture_i64(s, "SELECT count(*) FROM call_ids"), events);
}

/* The database refuses every write, and takes them again. */
static inline void fixture_refuse(struct store *s, bool on)
{
    struct store_conn *c = store_writer_lock(s);
    struct err e;

    assert_int_equal(store_exec(c, on ? "PRAGMA query_only=1" : "PRAGMA query_only=0", &e), 0);
    store_writer_unlock(s);
}
