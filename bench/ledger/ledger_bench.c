/* ledger_bench.c -- what a call event costs: producer, ledger thread, and memory while nothing takes
 * the rows. CPU is that of the whole process (user + system), by getrusage().
 *
 *   ledger_bench DIR [events [phase]]     DIR is made and left behind; phase: one of those below
 *
 * Phases:
 *   put        encode and hand over, alone (the ledger thread is not running)
 *   raw        a row of call_events by a prepared statement, 1,000 a transaction: the floor;
 *              then with the row of call_ids that makes an event count once
 *   write      the ledger's transaction: ids, rows, roll-ups of both families, no time index
 *   indexed    the same with the index of the schema
 *   threads    everything: producer, rings, ledger thread, commit to disk
 *   refused    neither database nor spool takes rows: growth of memory */
#include "base/clock.h"
#include "ledger/ledger_private.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH    1000u
#define CHANNELS 40u
#define MODELS   5u
#define USERS    50u

static char models[MODELS][32], users[USERS][32];

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Of this thread alone: without the store's writer, which checkpoints meanwhile. */
static double thread_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_THREAD, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *s = fopen("/proc/self/statm", "r");

    if (!s || fscanf(s, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (s)
        fclose(s);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->text);
    exit(1);
}

/* A gateway's traffic: `combinations` pairs of channel and model, 50 users, 3 % failures, 5 ms apart. */
static struct ledger_record event(unsigned i, unsigned combinations)
{
    unsigned pair = (i * 2654435761u >> 7) % combinations;
    struct ledger_record r = {.kind = LEDGER_CALL};
    struct call_event *e = &r.call;

    e->id = id128_new();
    e->ended_utc_ms = 1767225600000 + (utc_ms)i * 5;
    e->origin = CALL_GATEWAY;
    e->kind = CALL_KIND_CALL;
    e->channel_id = pair / MODELS + 1;
    e->key_id = pair % 7 + 1;
    e->protocol = PROTOCOL_OPENAI_CHAT;
    e->outcome = i % 33 == 0 ? OUTCOME_RATE_LIMITED : OUTCOME_OK;
    e->http_status = i % 33 == 0 ? 429 : 200;
    e->is_stream = i & 1;
    e->duration_us = 200000 + (i * 7919) % 700000;
    e->ttft_us = e->is_stream ? 100000 + (i * 31) % 90000 : 0;
    e->usage = (struct usage){.input = 1200, .cache_read = 300, .output = 240, .reasoning = 20};
    e->usage_source = USAGE_REPORTED;
    e->cost_source = COST_PRICED;
    e->cost_nano_usd = 4200000;
    e->attempts = 1;
    e->provider = STR("openai");
    e->group = STR("default");
    e->model = str_of(models[pair % MODELS]);
    e->user = str_of(users[pair % USERS]);
    e->request_id = STR("req_0123456789abcdef01234567");
    return r;
}

static void line(const char *phase, double seconds, double wall, unsigned events, const char *rest)
{
    printf("%-34s %7.3f us CPU/event  %9.0f rows/s  %s\n", phase, seconds * 1e6 / events,
           wall > 0 ? events / wall : 0, rest);
}

/* ---- put ---- */

static void bench_put(struct ledger *l, unsigned combinations)
{
    struct ledger_producer *p = ledger_producer_new(l, "bench");
    struct ledger_batch b = {0};
    double spent = 0;
    unsigned n = 0;

    buf_init(&b.bytes, 8 << 20);
    for (unsigned round = 0; round < 200; round++) {
        struct ledger_record records[250];
        double before;

        for (unsigned i = 0; i < ARRAY_LEN(records); i++)
            records[i] = event(n++, combinations);
        before = cpu_s();
        for (unsigned i = 0; i < ARRAY_LEN(records); i++)
            ledger_put(p, &records[i], false);
        spent += cpu_s() - before;
        ledger_producer_drain(p, &b, 0, 100);
        ledger_batch_clear(&b);
    }
    for (uint64_t number = 1; number <= n; number++)
        ledger_seq_settle(&l->seq, number); /* they were not kept */
    line("put (encode, ring)", spent, 0, n, "");
    buf_release(&b.bytes);
}

/* ---- raw ---- */

static void bench_raw(struct store *s, unsigned events, unsigned combinations, bool has_ids)
{
    static const char sql[] =
        "INSERT INTO call_events(id,ended_utc_ms,origin,kind,site,source,provider,grp,user,key_id,"
        "channel_id,model,served_model,protocol,outcome,http_status,is_stream,duration_us,ttft_us,"
        "t_input,t_cache_read,t_cache_write_5m,t_cache_write_1h,t_output,t_reasoning,t_unsplit,"
        "cost_nano_usd,charge_units,usage_source,cost_source,price_version,request_id,"
        "upstream_request_id,command,error_class,error_text,attempts)"
        " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    static const char id_sql[] = "INSERT OR IGNORE INTO call_ids(id,row) VALUES(?1,?2)";
    struct store_conn *c = store_writer_lock(s);
    double spent = 0, alone = 0, wall = 0;
    struct store_stmt *st, *id;
    struct err e;

    for (unsigned done = 0; done < events; done += BATCH) {
        static struct ledger_record records[BATCH];
        double before, before_thread, began;

        for (unsigned i = 0; i < BATCH; i++)
            records[i] = event(done + i, combinations);
        before = cpu_s();
        before_thread = thread_s();
        began = (double)clock_mono_us() / 1e6;
        if (store_begin(c, &e) < 0 || store_prepare(c, sql, &st, &e) < 0 || store_prepare(c, id_sql, &id, &e) < 0)
            die("raw", &e);
        for (unsigned i = 0; i < BATCH; i++) {
            const struct call_event *r = &records[i].call;
            const int64_t middle[] = {r->protocol, r->outcome, r->http_status, r->is_stream, r->duration_us, r->ttft_us,
                                      r->usage.input, r->usage.cache_read, 0, 0, r->usage.output, r->usage.reasoning, 0,
                                      r->cost_nano_usd, 0, r->usage_source, r->cost_source, 0};
            int at = 1;

            store_bind_blob(st, at++, r->id.bytes, 16);
            store_bind_i64(st, at++, r->ended_utc_ms);
            store_bind_i64(st, at++, r->origin);
            store_bind_i64(st, at++, r->kind);
            store_bind_i64(st, at++, r->site);
            store_bind_null(st, at++);
            store_bind_str(st, at++, r->provider);
            store_bind_str(st, at++, r->group);
            store_bind_str(st, at++, r->user);
            store_bind_i64(st, at++, r->key_id);
            store_bind_i64(st, at++, r->channel_id);
            store_bind_str(st, at++, r->model);
            store_bind_null(st, at++);
            for (unsigned k = 0; k < ARRAY_LEN(middle); k++)
                store_bind_i64(st, at++, middle[k]);
            store_bind_str(st, at++, r->request_id);
            for (int k = 0; k < 4; k++)
                store_bind_null(st, at++);
            store_bind_i64(st, at, 1);
            if (store_run(st, &e) < 0)
                die("raw", &e);
            if (!has_ids)
                continue;
            store_bind_blob(id, 1, r->id.bytes, 16);
            store_bind_i64(id, 2, done + i);
            if (store_run(id, &e) < 0)
                die("raw", &e);
        }
        if (store_commit(c, &e) < 0)
            die("raw", &e);
        spent += cpu_s() - before;
        alone += thread_s() - before_thread;
        wall += (double)clock_mono_us() / 1e6 - began;
    }
    char text[64];

    snprintf(text, sizeof(text), "(this thread %.3f)", alone * 1e6 / events);
    line(has_ids ? "raw insert and id row, no index" : "raw insert alone, no index", spent, wall, events, text);
    if (store_exec(c, "DELETE FROM call_events; DELETE FROM call_ids", &e) < 0)
        die("raw", &e);
    store_writer_unlock(s);
}

/* ---- the ledger's transaction ---- */

static void bench_write(struct store *s, struct ledger *l, unsigned first, unsigned events, unsigned combinations, const char *name)
{
    struct ledger_batch b = {0};
    struct ledger_written w;
    double spent = 0, alone = 0, wall = 0;
    struct err e;

    buf_init(&b.bytes, 8 << 20);
    for (unsigned done = 0; done < events; done += BATCH) {
        struct buf one = BUF_INIT(65536);
        struct store_conn *c = store_writer_lock(s);
        double before, before_thread, began;

        ledger_batch_clear(&b);
        for (unsigned i = 0; i < BATCH; i++) {
            struct ledger_record r = event(first + done + i, combinations);
            const char head[LEDGER_HEAD] = {0};

            buf_clear(&one);
            if (buf_add(&one, head, sizeof(head)) < 0 || ledger_record_encode(&r, &one) < 0 ||
                !ledger_batch_add(&b, buf_str(&one), 0, 100))
                exit(1);
        }
        before = cpu_s();
        before_thread = thread_s();
        began = (double)clock_mono_us() / 1e6;
        if (store_begin(c, &e) < 0 || ledger_write(&l->writer, c, &b, &w, &e) < 0 || store_commit(c, &e) < 0)
            die(name, &e);
        spent += cpu_s() - before;
        alone += thread_s() - before_thread;
        wall += (double)clock_mono_us() / 1e6 - began;
        store_writer_unlock(s);
        buf_release(&one);
    }
    char text[64];

    snprintf(text, sizeof(text), "(this thread %.3f)", alone * 1e6 / events);
    line(name, spent, wall, events, text);
    buf_release(&b.bytes);
}

static void bench_threads(struct ledger *l, unsigned first, unsigned events, unsigned combinations)
{
    struct ledger_producer *p = ledger_producer_new(l, "threads");
    struct ledger_stats s;
    uint64_t start, last = 0;
    double before = cpu_s(), began = (double)clock_mono_us() / 1e6;
    const struct timespec pause = {.tv_nsec = 1000000};

    ledger_stats(l, &s);
    start = s.seq_assigned;
    for (unsigned i = 0; i < events; i++) {
        struct ledger_record r = event(first + i, combinations);

        last = ledger_put(p, &r, false);
        while (atomic_load(&l->seq_assigned) - atomic_load(&l->seq_committed) > 3000)
            nanosleep(&pause, NULL);
    }
    do {
        nanosleep(&pause, NULL);
        ledger_stats(l, &s);
    } while (s.seq_committed < last);
    line("threads: put to commit, indexed", cpu_s() - before, (double)clock_mono_us() / 1e6 - began, events, "");
    printf("%-34s %" PRIu64 " numbers, all committed\n", "", s.seq_committed - start);
}

static void bench_refused(struct store *s, struct ledger *l, unsigned events, unsigned combinations)
{
    struct ledger_producer *p = ledger_producer_new(l, "refused");
    struct store_conn *c = store_writer_lock(s);
    long before = resident_kib(), peak = 0;
    struct ledger_stats st;
    struct err e;

    if (store_exec(c, "PRAGMA query_only=1", &e) < 0)
        die("refused", &e);
    store_writer_unlock(s);
    for (unsigned i = 0; i < events; i++) {
        struct ledger_record r = event(i, combinations);

        ledger_put(p, &r, false);
        if (i % 1000 == 0)
            peak = MAX(peak, resident_kib());
        if (i == events / 10)
            printf("%-34s %ld KiB resident after a tenth\n", "refused: database and spool", resident_kib());
    }
    ledger_stats(l, &st);
    printf("%-34s %ld KiB before, peak %ld KiB, %" PRIu64 " dropped of %u, spool %" PRIu64 " bytes\n", "refused: database and spool",
           before, peak, st.dropped_total, events, st.spool_bytes);
    c = store_writer_lock(s);
    if (store_exec(c, "PRAGMA query_only=0", &e) < 0)
        die("refused", &e);
    store_writer_unlock(s);
}

static const char *only;

static bool is_wanted(const char *phase)
{
    return !only || strcmp(only, phase) == 0;
}

static void exec_sql(struct store *s, const char *sql)
{
    struct store_conn *c = store_writer_lock(s);
    struct err e;

    if (store_exec(c, sql, &e) < 0)
        die(sql, &e);
    store_writer_unlock(s);
}

int main(int argc, char **argv)
{
    struct store_config sc = {.data_dir = argc > 1 ? argv[1] : "", .readers = 1};
    struct ledger_config lc = {.spool_max_bytes = 4 << 20, .timezone = "UTC"};
    uint64_t events = 300000;
    struct ledger *l;
    struct err e;

    if (argc < 2 || (argc > 2 && str_to_u64(str_of(argv[2]), 100000000, &events) < 0)) {
        fprintf(stderr, "usage: ledger_bench DIR [events]\n");
        return 64;
    }
    for (unsigned i = 0; i < MODELS; i++)
        snprintf(models[i], sizeof(models[i]), "some-model-%u-2026-01-01", i);
    for (unsigned i = 0; i < USERS; i++)
        snprintf(users[i], sizeof(users[i]), "user-%u@example.com", i);
    only = argc > 3 ? argv[3] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (store_open(&sc, &lc.store, &e) < 0 || ledger_open(&lc, &l, &e) < 0)
        die("open", &e);

    unsigned n = (unsigned)events, many = CHANNELS * MODELS; /* at most 1e8 */

    if (is_wanted("put"))
        bench_put(l, many);
    exec_sql(lc.store, "DROP INDEX call_events_time");
    if (is_wanted("raw")) {
        bench_raw(lc.store, n, many, false);
        bench_raw(lc.store, n, many, true);
    }
    if (is_wanted("write")) {
        bench_write(lc.store, l, 0, n, 20, "write, 20 combinations, no index");
        bench_write(lc.store, l, n, n, many, "write, 200 combinations, no index");
    }
    exec_sql(lc.store, "CREATE INDEX call_events_time ON call_events(ended_utc_ms)");
    if (is_wanted("indexed"))
        bench_write(lc.store, l, 2 * n, n, 20, "write, 20 combinations, indexed");
    if (ledger_start(l, &e) < 0)
        die("start", &e);
    if (is_wanted("threads"))
        bench_threads(l, 3 * n, n, 20);
    if (is_wanted("refused"))
        bench_refused(lc.store, l, n * 3, many);
    ledger_stop(l);
    ledger_close(l);
    store_close(lc.store);
    return 0;
}
