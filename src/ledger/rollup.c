/* rollup.c -- accumulates a batch in memory and writes one upsert per touched row. */
#include "ledger/rollup.h"

#include "ledger/rollup_key.h"
#include "ledger/rollup_open.h"

#include "base/hist.h"

#define ACC_SLOTS     2048u /* twice ROLLUP_BATCH_MAX, a power of two */
#define MINUTE_MS     60000
#define DAY_ZONES_MAX 4u

static_assert(ACC_SLOTS >= 2 * ROLLUP_BATCH_MAX, "open addressing needs room");

/* Counters in column order. */
enum {
    SUM_N,
    SUM_CLASS,
    SUM_STREAM = SUM_CLASS + OUTCOME_CLASSES,
    SUM_ESTIMATED,
    SUM_TOKENS,
    SUM_COST = SUM_TOKENS + 7,
    SUM_CHARGE,
    SUMS
};
enum {
    USER_N,
    USER_OK,
    USER_FAILED,
    USER_INPUT,
    USER_CACHED,
    USER_OUTPUT,
    USER_UNSPLIT,
    USER_COST,
    USER_CHARGE,
    USER_DURATION,
    USER_SUMS
};

enum level { LEVEL_MINUTE, LEVEL_QUARTER, LEVEL_DAY, LEVELS };

struct sample {                    /* of one event, chained by accumulator */
    uint64_t duration_us, ttft_us; /* 0 = not known */
    int32_t next;
};

struct acc {
    int64_t at, rk;
    int64_t day;        /* of the events in it, for the last level */
    int32_t head, tail; /* samples, -1 = none */
    int64_t sum[SUMS];
};

struct acc_table {
    unsigned count;
    uint16_t slots[ACC_SLOTS]; /* index + 1, 0 = free */
    struct acc acc[ROLLUP_BATCH_MAX];
};

struct rollup {
    const struct tz *zone;
    struct rollup_keys *keys;
    struct rollup_open *open[LEVELS];
    struct { /* local days met lately */
        utc_ms start, next;
        int64_t day;
    } days[DAY_ZONES_MAX];
    unsigned day_turn;
    unsigned events, sample_count;
    struct sample samples[ROLLUP_BATCH_MAX];
    struct acc_table calls[2], users[2]; /* this level and the one made of it */
    struct hist hist[2];                 /* scratch: duration, ttft */
    struct buf blob[2];
};

#define SUM_COLUMNS                                                                                \
    "n,n_ok,n_degraded,n_upstream,n_rate_limit,n_quota,n_auth,n_client,n_cancelled,n_timeout,"     \
    "n_network,n_tls,n_dns,n_stream,n_estimated,t_input,t_cache_read,t_cache_write_5m,"            \
    "t_cache_write_1h,t_output,t_reasoning,t_unsplit,cost_nano_usd,charge_units"
#define ADD(column) column "=" column "+excluded." column
#define UPSERT(table)                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         \
    "INSERT INTO " table "(at,rk," SUM_COLUMNS ",duration,ttft) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,"                                                                                                                                                                                                                                                                                                                                                                                                                                                                              \
    "?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28)"                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         \
    " ON CONFLICT(at,rk) DO UPDATE SET " ADD(                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 \
        "n") "," ADD("n_ok") "," ADD("n_degraded") "," ADD("n_upstream") "," ADD("n_rate_limit") "," ADD("n_quota") "," ADD("n_auth") "," ADD("n_client") "," ADD("n_cancelled") "," ADD("n_timeout") "," ADD("n_network") "," ADD("n_tls") "," ADD("n_dns") "," ADD("n_stream") "," ADD("n_estimated") "," ADD("t_input") "," ADD("t_cache_read") "," ADD("t_cache_write_5m") "," ADD("t_cache_write_1h") "," ADD("t_output") "," ADD("t_reasoning") "," ADD("t_unsplit") "," ADD("cost_nano_usd") "," ADD("charge_units") ",duration=coalesce(excluded.duration,duration)," \
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "ttft=coalesce(excluded.ttft,ttft)"
#define USER_UPSERT(table)                                                                                      \
    "INSERT INTO " table "(at,rk,n,n_ok,n_failed,t_input,t_cached,t_output,t_unsplit,"                          \
    "cost_nano_usd,charge_units,duration_us) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)"                    \
    " ON CONFLICT(at,rk) DO UPDATE SET " ADD("n") "," ADD("n_ok") "," ADD("n_failed") "," ADD(                  \
        "t_"                                                                                                    \
        "in"                                                                                                    \
        "pu"                                                                                                    \
        "t") "," ADD("t_cached") "," ADD("t_output") "," ADD("t_unsplit") "," ADD("cost_nano_usd") "," ADD("ch" \
                                                                                                           "ar" \
                                                                                                           "ge" \
                                                                                                           "_u" \
                                                                                                           "ni" \
                                                                                                           "t"  \
                                                                                                           "s") "," ADD("duration_us")

static const char *const upsert_sql[LEVELS] = {UPSERT("rollup_minute"), UPSERT("rollup_quarter"),
                                               UPSERT("rollup_day")};
static const char *const hist_sql[LEVELS] = {
    "SELECT duration,ttft FROM rollup_minute WHERE at=?1 AND rk=?2",
    "SELECT duration,ttft FROM rollup_quarter WHERE at=?1 AND rk=?2",
    "SELECT duration,ttft FROM rollup_day WHERE at=?1 AND rk=?2"};
static const char *const user_sql[LEVELS] = {NULL, USER_UPSERT("user_rollup_quarter"),
                                             USER_UPSERT("user_rollup_day")};

struct rollup *rollup_new(const struct tz *zone)
{
    struct rollup *r = xcalloc(1, sizeof(*r));

    r->zone = zone;
    r->keys = rollup_key_new();
    for (unsigned i = 0; i < LEVELS; i++)
        r->open[i] = rollup_open_new();
    for (unsigned i = 0; i < ARRAY_LEN(r->blob); i++)
        buf_init(&r->blob[i], 16 * 1024);
    return r;
}

void rollup_free(struct rollup *r)
{
    if (!r)
        return;
    rollup_key_free(r->keys);
    for (unsigned i = 0; i < LEVELS; i++)
        rollup_open_free(r->open[i]);
    for (unsigned i = 0; i < ARRAY_LEN(r->blob); i++)
        buf_release(&r->blob[i]);
    xfree(r);
}

struct rollup_keys *rollup_keys_of(struct rollup *r)
{
    return r->keys;
}

static void table_clear(struct acc_table *t)
{
    if (t->count > 0)
        memset(t->slots, 0, sizeof(t->slots));
    t->count = 0;
}

static void clear_batch(struct rollup *r)
{
    for (unsigned i = 0; i < 2; i++) {
        table_clear(&r->calls[i]);
        table_clear(&r->users[i]);
    }
    r->events = r->sample_count = 0;
}

void rollup_abort(struct rollup *r)
{
    clear_batch(r);
    rollup_key_forget(r->keys);
    for (unsigned i = 0; i < LEVELS; i++)
        rollup_open_forget(r->open[i]);
}

int64_t rollup_day(struct rollup *r, utc_ms t)
{
    struct tz_local local;

    for (unsigned i = 0; i < DAY_ZONES_MAX; i++) {
        if (t >= r->days[i].start && t < r->days[i].next)
            return r->days[i].day;
    }
    unsigned turn = r->day_turn++ % DAY_ZONES_MAX;

    tz_split(r->zone, t, &local);
    r->days[turn].start = tz_day_start(r->zone, t);
    r->days[turn].next = tz_day_next(r->zone, t);
    r->days[turn].day = (int64_t)local.year * 10000 + local.month * 100 + local.day;
    return r->days[turn].day;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Accumulator of (at, rk, day), zeroed when new. A batch holds fewer than the table. */
static struct acc *acc_get(struct acc_table *t, int64_t at, int64_t rk, int64_t day)
{
    uint64_t hash = ((uint64_t)at * 0x9e3779b97f4a7c15u) ^ ((uint64_t)rk * 0xc2b2ae3d27d4eb4fu);
    unsigned slot = (unsigned)(hash >> 40) % ACC_SLOTS;
    struct acc *a;

    for (; t->slots[slot] != 0; slot = (slot + 1) % ACC_SLOTS) {
        a = &t->acc[t->slots[slot] - 1];
        if (a->at == at && a->rk == rk && a->day == day)
            return a;
    }
    assert(t->count < ROLLUP_BATCH_MAX);
    a = &t->acc[t->count++];
    t->slots[slot] = (uint16_t)t->count; /* at most ROLLUP_BATCH_MAX */
    *a = (struct acc){.at = at, .rk = rk, .day = day, .head = -1, .tail = -1};
    return a;
}

static bool feeds_latency(const struct call_event *e)
{
    switch (e->kind) {
    case CALL_KIND_CALL:
    case CALL_KIND_ATTEMPT:
        return true;
    case CALL_KIND_TEST:
        return e->origin == CALL_PROBE;
    case CALL_KIND_ADJUSTMENT:
    case CALL_KINDS:
        return false;
    }
    return false;
}

static void add_sample(struct rollup *r, struct acc *a, const struct call_event *e)
{
    int32_t index = (int32_t)r->sample_count; /* below ROLLUP_BATCH_MAX */

    if ((e->duration_us == 0 && e->ttft_us == 0) || !feeds_latency(e))
        return;
    r->samples[r->sample_count++] = (struct sample){
        .duration_us = (uint64_t)e->duration_us, .ttft_us = (uint64_t)e->ttft_us, .next = a->head};
    if (a->head < 0)
        a->tail = index;
    a->head = index;
}

static void add_call(struct acc *a, const struct call_event *e)
{
    const struct usage *u = &e->usage;
    const int64_t tokens[7] = {u->input,  u->cache_read, u->cache_write_5m, u->cache_write_1h,
                               u->output, u->reasoning,  u->unsplit};

    a->sum[SUM_N]++;
    a->sum[SUM_CLASS + (int)outcome_rows[e->outcome].class]++;
    a->sum[SUM_STREAM] += e->is_stream;
    a->sum[SUM_ESTIMATED] += e->usage_source == USAGE_ESTIMATED;
    for (unsigned i = 0; i < ARRAY_LEN(tokens); i++)
        a->sum[SUM_TOKENS + i] += tokens[i];
    a->sum[SUM_COST] += e->cost_nano_usd;
    a->sum[SUM_CHARGE] += e->charge_units;
}

static void add_user(struct acc *a, const struct call_event *e)
{
    const struct usage *u = &e->usage;

    if (e->kind == CALL_KIND_CALL) {
        bool is_ok = outcome_is_success(e->outcome);

        a->sum[USER_N]++;
        a->sum[USER_OK] += is_ok;
        a->sum[USER_FAILED] += !is_ok;
        a->sum[USER_DURATION] += e->duration_us;
    }
    a->sum[USER_INPUT] += u->input + u->cache_write_5m + u->cache_write_1h;
    a->sum[USER_CACHED] += u->cache_read;
    a->sum[USER_OUTPUT] += u->output + u->reasoning;
    a->sum[USER_UNSPLIT] += u->unsplit;
    a->sum[USER_COST] += e->cost_nano_usd;
    a->sum[USER_CHARGE] += e->charge_units;
}

int rollup_add(struct rollup *r, struct store_conn *c, const struct call_event *e,
               struct err *reterr)
{
    int64_t day = rollup_day(r, e->ended_utc_ms);
    int64_t minute = floor_div(e->ended_utc_ms, MINUTE_MS);
    struct acc *a;
    int64_t rk;
    int rc;

    assert(r->events < ROLLUP_BATCH_MAX);
    rc = rollup_key_get(r->keys, c, ROLLUP_CALLS, e, day, &rk, reterr);
    if (rc < 0)
        return rc;
    r->events++;
    a = acc_get(&r->calls[0], minute, rk, day);
    add_call(a, e);
    add_sample(r, a, e);
    if (e->origin == CALL_PROBE)
        return 0;
    rc = rollup_key_get(r->keys, c, ROLLUP_USERS, e, day, &rk, reterr);
    if (rc == 0)
        add_user(acc_get(&r->users[0], floor_div(minute, 15), rk, day), e);
    return rc;
}

/* The stored histograms of the row, from memory or the store, onto the scratch ones. */
static int load_hists(struct rollup *r, struct store_conn *c, enum level level, const struct acc *a,
                      struct err *reterr)
{
    struct str stored[2];
    struct store_stmt *st = NULL;
    int rc = 0;

    if (!rollup_open_get(r->open[level], a->at, a->rk, &stored[0], &stored[1])) {
        rc = store_prepare(c, hist_sql[level], &st, reterr);
        if (rc < 0)
            return rc;
        store_bind_i64(st, 1, a->at);
        store_bind_i64(st, 2, a->rk);
        rc = store_step(st, reterr);
        stored[0] = rc > 0 ? store_col_blob(st, 0) : STR_NONE;
        stored[1] = rc > 0 ? store_col_blob(st, 1) : STR_NONE;
    }
    for (unsigned i = 0; rc >= 0 && i < 2; i++) {
        memset(&r->hist[i], 0, sizeof(r->hist[i]));
        /* A damaged histogram is begun anew: refusing would stop the ledger over one statistic. */
        if (stored[i].len > 0 && hist_decode_add(stored[i], &r->hist[i]) < 0)
            memset(&r->hist[i], 0, sizeof(r->hist[i]));
    }
    if (st)
        store_reset(st);
    return MIN(rc, 0);
}

/* Old histograms plus the accumulator's samples, encoded into r->blob. */
static int grow_hists(struct rollup *r, struct store_conn *c, enum level level, const struct acc *a,
                      struct err *reterr)
{
    int rc = load_hists(r, c, level, a, reterr);

    if (rc < 0)
        return rc;
    for (int32_t i = a->head; i >= 0; i = r->samples[i].next) {
        if (r->samples[i].duration_us > 0)
            hist_add(&r->hist[0], r->samples[i].duration_us, 1);
        if (r->samples[i].ttft_us > 0)
            hist_add(&r->hist[1], r->samples[i].ttft_us, 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        buf_clear(&r->blob[i]);
        if (r->hist[i].count > 0 && hist_encode(&r->hist[i], &r->blob[i]) < 0)
            return err_set(reterr, ERR_INTERNAL, "a histogram does not fit");
    }
    rollup_open_put(r->open[level], a->at, a->rk, buf_str(&r->blob[0]), buf_str(&r->blob[1]));
    return 0;
}

static int write_acc(struct rollup *r, struct store_conn *c, enum level level, const struct acc *a,
                     struct err *reterr)
{
    struct store_stmt *st;
    int rc;

    buf_clear(&r->blob[0]);
    buf_clear(&r->blob[1]);
    rc = a->head < 0 ? 0 : grow_hists(r, c, level, a, reterr);
    if (rc == 0)
        rc = store_prepare(c, upsert_sql[level], &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, a->at);
    store_bind_i64(st, 2, a->rk);
    for (int i = 0; i < SUMS; i++)
        store_bind_i64(st, 3 + i, a->sum[i]);
    for (int i = 0; i < 2; i++) {
        struct str blob = buf_str(&r->blob[i]);

        if (blob.len > 0)
            store_bind_blob(st, 3 + SUMS + i, blob.ptr, blob.len);
        else
            store_bind_null(st, 3 + SUMS + i);
    }
    return store_run(st, reterr);
}

static int write_user(struct store_conn *c, enum level level, const struct acc *a,
                      struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, user_sql[level], &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, a->at);
    store_bind_i64(st, 2, a->rk);
    for (int i = 0; i < USER_SUMS; i++)
        store_bind_i64(st, 3 + i, a->sum[i]);
    return store_run(st, reterr);
}

/* Sums of one level from those of the level below; the samples move over. */
static void raise_level(struct rollup *r, struct acc_table *from, struct acc_table *to,
                        enum level level)
{
    table_clear(to);
    for (unsigned i = 0; i < from->count; i++) {
        const struct acc *a = &from->acc[i];
        int64_t at = level == LEVEL_DAY ? a->day : floor_div(a->at, 15);
        struct acc *b = acc_get(to, at, a->rk, a->day);

        for (int s = 0; s < SUMS; s++)
            b->sum[s] += a->sum[s];
        if (a->head < 0)
            continue;
        r->samples[a->tail].next = b->head;
        if (b->head < 0)
            b->tail = a->tail;
        b->head = a->head;
    }
}

static int flush_calls(struct rollup *r, struct store_conn *c, struct err *reterr)
{
    struct acc_table *t = &r->calls[0], *other = &r->calls[1];
    int rc = 0;

    for (unsigned level = LEVEL_MINUTE; level < LEVELS; level++) {
        for (unsigned i = 0; rc == 0 && i < t->count; i++)
            rc = write_acc(r, c, (enum level)level, &t->acc[i], reterr);
        if (rc < 0 || level == LEVEL_DAY)
            return rc;
        struct acc_table *made = other;

        raise_level(r, t, made, (enum level)(level + 1));
        other = t;
        t = made;
    }
    return rc;
}

static int flush_users(struct rollup *r, struct store_conn *c, struct err *reterr)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < r->users[0].count; i++)
        rc = write_user(c, LEVEL_QUARTER, &r->users[0].acc[i], reterr);
    raise_level(r, &r->users[0], &r->users[1], LEVEL_DAY);
    for (unsigned i = 0; rc == 0 && i < r->users[1].count; i++)
        rc = write_user(c, LEVEL_DAY, &r->users[1].acc[i], reterr);
    return rc;
}

int rollup_flush(struct rollup *r, struct store_conn *c, struct err *reterr)
{
    int rc = flush_calls(r, c, reterr);

    if (rc == 0)
        rc = flush_users(r, c, reterr);
    clear_batch(r);
    if (rc == 0)
        rollup_key_trim(r->keys);
    return rc;
}
