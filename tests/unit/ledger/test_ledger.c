/* test_ledger.c -- the way of a record to its row: batches, details, runs, duplicates, a database
 * that refuses, a spool that is full, a process that is killed. */
#include "ledger_fixture.h"

#include "net/spool.h"

#include <sched.h>
#include <sys/mount.h>

#define NEW_YEAR_2026 1767225600000
#define DAY           86400000
#define KILL_ROUNDS   12

static uint64_t put_some(struct fixture *f, uint64_t seed, unsigned count)
{
    struct fixture_random r = {seed};
    uint64_t last = 0;

    for (unsigned i = 0; i < count; i++) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

        last = ledger_put(f->producer, &rec, false);
        assert_true(last > 0);
    }
    return last;
}

static struct ledger_stats stats_of(struct fixture *f)
{
    struct ledger_stats s;

    ledger_stats(f->ledger, &s);
    return s;
}

/* Until fn holds; without it after limit_ms. */
static bool await(bool (*fn)(const struct ledger_stats *s), struct fixture *f, uint64_t limit_ms)
{
    const struct timespec pause = {.tv_nsec = 500 * 1000};
    mono_ms began = clock_mono_ms();

    for (;;) {
        struct ledger_stats s = stats_of(f);

        if (fn(&s))
            return true;
        if (clock_mono_ms() - began > 5 * limit_ms) /* a sanitizer on a busy machine */
            return false;
        nanosleep(&pause, NULL);
    }
}

static bool is_clear(const struct ledger_stats *s)
{
    return !s->is_spooling && s->spool_bytes == 0 && s->seq_committed == s->seq_assigned;
}

static void add_channel(struct store *s, const char *sql)
{
    struct err e;

    if (fixture_write(s, sql, &e) != 0)
        fail_msg("%s", e.text);
}

#define CHANNEL(id)                                                                                \
    "INSERT INTO channels(id,name,base_url,api_key,prompt,created_utc_ms,updated_utc_ms)"          \
    " VALUES(" #id ",'c" #id "','http://x',x'00','p',1,1)"

/* ---- the plain way ---- */

struct seen {
    unsigned calls, probes, runs;
    uint64_t committed_at_call, highest;
    int64_t probe_id;
    struct ledger *ledger;
};

static void on_records(void *ctx, const struct ledger_record *records, size_t count)
{
    struct seen *s = ctx;
    struct ledger_stats stats;

    ledger_stats(s->ledger, &stats);
    for (size_t i = 0; i < count; i++) {
        s->calls += records[i].kind == LEDGER_CALL;
        s->probes += records[i].kind == LEDGER_PROBE;
        s->runs += records[i].kind == LEDGER_RUN;
        s->highest = MAX(s->highest, records[i].seq);
        if (records[i].kind == LEDGER_PROBE)
            s->probe_id = records[i].probe.id;
        assert_true(records[i].seq == 0 || stats.seq_committed < records[i].seq); /* told before it is acknowledged */
    }
}

static void test_ledger__rows_come_in_order_and_are_told(void **state)
{
    struct fixture f = fixture_ledger();
    struct seen seen = {.ledger = f.ledger};
    uint64_t last;

    ledger_subscribe(f.ledger, on_records, &seen);
    fixture_start(&f);
    last = put_some(&f, 1, 3000);
    assert_int_equal(last, 3000);
    assert_true(fixture_await(f.ledger, last, 10000));
    fixture_end_ledger(&f);
    assert_int_equal(seen.calls, 3000);
    assert_int_equal(seen.highest, 3000);
    fixture_check_ids(f.store, 3000);
    fixture_check_sums(f.store);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM call_events a JOIN call_events b ON b.row=a.row+1 WHERE b.id<a.id"), 0);
    assert_int_equal(fixture_i64(f.store, "SELECT (SELECT count(*) FROM notable)-(SELECT count(*) FROM call_events WHERE duration_us>1000000 OR outcome NOT IN (0,1))"), 0);
    fixture_end(&f);
}

static void test_ledger__a_record_without_id_and_time_gets_them(void **state)
{
    struct fixture f = fixture_ledger();
    struct ledger_record rec = {.kind = LEDGER_CALL};
    utc_ms before = clock_utc_ms();

    fixture_start(&f);
    ledger_put(f.producer, &rec, false);
    assert_true(fixture_await(f.ledger, ledger_put(f.producer, &rec, true), 5000));
    fixture_check_ids(f.store, 2);
    assert_true(fixture_i64(f.store, "SELECT min(ended_utc_ms) FROM call_events") >= before);
    fixture_end(&f);
}

static void test_ledger__an_awaited_row_does_not_wait_for_the_batch(void **state)
{
    struct fixture f = {.dir = fixture_dir()};
    struct ledger_record rec = {.kind = LEDGER_CALL};
    struct ledger_config cfg;
    mono_ms before;
    struct err e;

    f.store = fixture_open(f.dir);
    cfg = (struct ledger_config){.store = f.store, .spool_max_bytes = 1 << 20, .timezone = "UTC", .commit_ms = 60000};
    assert_int_equal(ledger_open(&cfg, &f.ledger, &e), 0);
    f.producer = ledger_producer_new(f.ledger, "test");
    fixture_start(&f);
    before = clock_mono_ms();
    ledger_put(f.producer, &rec, false);
    assert_false(fixture_await(f.ledger, 1, 20)); /* the minute is not over */
    assert_true(fixture_await(f.ledger, ledger_put(f.producer, &rec, true), 10000));
    assert_true(clock_mono_ms() - before < 10000);
    for (unsigned i = 0; i < 1000; i++)
        ledger_put(f.producer, &rec, false);
    assert_true(fixture_await(f.ledger, 1002, 10000)); /* full */
    ledger_put(f.producer, &rec, false);
    fixture_end_ledger(&f); /* nothing is left behind */
    fixture_check_ids(f.store, 1003);
    fixture_end(&f);
}

static void test_ledger__an_id_counts_once(void **state)
{
    struct fixture f = fixture_ledger();
    struct fixture_random r = {3};
    struct seen seen = {.ledger = f.ledger};
    struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);
    uint64_t last;

    ledger_subscribe(f.ledger, on_records, &seen);
    fixture_start(&f);
    ledger_put(f.producer, &rec, false);
    ledger_put(f.producer, &rec, false); /* in one batch, perhaps */
    last = put_some(&f, 4, 5);
    assert_true(fixture_await(f.ledger, last, 5000));
    assert_true(fixture_await(f.ledger, ledger_put(f.producer, &rec, true), 5000)); /* in another */
    fixture_end_ledger(&f);
    assert_int_equal(seen.calls, 6);
    fixture_check_ids(f.store, 6);
    fixture_check_sums(f.store);
    fixture_end(&f);
}

/* ---- probes and runs ---- */

static struct ledger_record probe(int64_t channel_id, int64_t run_id, const char *model)
{
    return (struct ledger_record){
        .kind = LEDGER_PROBE,
        .call = {.ended_utc_ms = NEW_YEAR_2026, .origin = CALL_PROBE, .kind = CALL_KIND_TEST, .channel_id = channel_id,
                 .model = str_of(model), .http_status = 200, .duration_us = 812345, .protocol = PROTOCOL_OPENAI_CHAT},
        .probe = {.item_id = channel_id, .run_id = run_id, .at_utc_ms = NEW_YEAR_2026, .success = true,
                  .transport_success = true, .status = 1, .ttfb_us = 7, .route = STR("chat"), .endpoint = STR("chat"),
                  .family = STR("openai"), .content = STR("hello")}};
}

static struct ledger_record run(int64_t channel_id, int64_t id, bool is_over)
{
    struct ledger_record r = {
        .kind = LEDGER_RUN,
        .run = {.id = id, .channel_id = channel_id, .started_utc_ms = 1000 * id, .status = STR("running"),
                .cause = STR("manual")}};

    if (is_over) {
        r.run.finished_utc_ms = 1000 * id + 500;
        r.run.status = STR("completed");
        r.run.channel_status = STR("healthy");
        r.run.total = r.run.success = 1;
        r.run.log_file = STR("/l.jsonl");
    }
    return r;
}

static uint64_t put(struct fixture *f, struct ledger_record r)
{
    return ledger_put(f->producer, &r, true);
}

static void test_ledger__runs_and_probes_become_rows(void **state)
{
    struct fixture f = fixture_ledger();
    struct seen seen = {.ledger = f.ledger};

    add_channel(f.store, CHANNEL(7));
    ledger_subscribe(f.ledger, on_records, &seen);
    fixture_start(&f);
    assert_int_equal(ledger_next_run_id(f.ledger), 1);
    assert_true(fixture_await(f.ledger, put(&f, run(7, 1, false)), 5000));
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs WHERE status='running' AND finished_utc_ms IS NULL AND cause='manual'"), 1);
    put(&f, probe(7, 1, "m"));
    assert_true(fixture_await(f.ledger, put(&f, run(7, 1, true)), 5000));
    put(&f, run(7, 1, false)); /* a late beginning changes nothing */
    put(&f, run(99, 5, false)); /* a channel that is gone: its records are skipped, not the batch */
    put(&f, probe(99, 5, "m"));
    assert_true(fixture_await(f.ledger, put(&f, run(99, 5, true)), 5000));
    fixture_end_ledger(&f);
    assert_int_equal(seen.runs, 2);
    assert_int_equal(seen.probes, 1);
    assert_int_equal(seen.probe_id, 1);
    assert_int_equal(seen.calls, 1); /* the call to the lost channel was made all the same */
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs"), 1);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs WHERE status='completed' AND finished_utc_ms=1500 AND total=1"), 1);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM channel_state WHERE channel_id=7 AND last_run_id=1 AND last_status='healthy' AND last_run_utc_ms=1500"), 1);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM probe_results WHERE item_id=7 AND model='m' AND content='hello' AND error IS NULL AND ttft_us IS NULL AND ttfb_us=7 AND duration_us=812345"), 1);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM probe_results"), 1);
    fixture_check_ids(f.store, 2);
    fixture_open_ledger(&f, 1 << 20, "UTC");
    assert_int_equal(ledger_next_run_id(f.ledger), 2);
    fixture_end(&f);
}

static void test_ledger__an_older_run_does_not_overwrite_the_state(void **state)
{
    struct fixture f = fixture_ledger();
    struct ledger_record interrupted = run(7, 4, true);

    interrupted.run.status = STR("error");
    interrupted.run.channel_status = STR("");
    add_channel(f.store, CHANNEL(7));
    fixture_start(&f);
    put(&f, run(7, 3, true));
    put(&f, run(7, 2, true));
    assert_true(fixture_await(f.ledger, put(&f, interrupted), 5000));
    assert_int_equal(fixture_i64(f.store, "SELECT last_run_id FROM channel_state"), 3);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs"), 3);
    fixture_end(&f);
}

/* ---- more than a ring takes ---- */

static void test_ledger__a_full_ring_keeps_order_and_loses_nothing(void **state)
{
    struct fixture f = fixture_ledger();

    put_some(&f, 5, 5000); /* nobody drains yet: 64 KiB hold some hundred */
    assert_true(atomic_load(&f.producer->overflow_bytes) > 0);
    assert_int_equal(stats_of(&f).dropped_total, 0);
    fixture_start(&f);
    put_some(&f, 6, 500);
    assert_true(fixture_await(f.ledger, 5500, 20000));
    fixture_end_ledger(&f);
    fixture_check_ids(f.store, 5500);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM call_events a JOIN call_events b ON b.row=a.row+1 WHERE b.id<a.id"), 0);
    fixture_end(&f);
}

static void test_ledger__past_every_bound_drops_are_counted_exactly(void **state)
{
    struct fixture f = {.dir = fixture_dir()};
    struct fixture_random r = {7};
    uint64_t placed = 0, refused = 0;
    struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

    f.store = fixture_open(f.dir);
    fixture_open_ledger(&f, 1 << 20, "UTC");
    while (refused < 100) {
        rec.call.id = id128_new();
        if (ledger_put(f.producer, &rec, false) > 0)
            placed++;
        else
            refused++;
        assert_true(placed < 100000);
    }
    assert_int_equal(stats_of(&f).dropped_total, 100);
    assert_int_equal(stats_of(&f).seq_assigned, placed);
    assert_true(stats_of(&f).spool_bytes > 0); /* ring, list and spool are full */
    fixture_start(&f);
    assert_true(await(is_clear, &f, 30000));
    assert_int_equal(stats_of(&f).dropped_total, 100);
    fixture_check_ids(f.store, (int64_t)placed);
    fixture_check_sums(f.store);
    fixture_end(&f);
}

struct many {
    struct fixture *f;
    struct ledger_producer *p;
    pthread_t thread;
    unsigned index;
};

static void *produce(void *arg)
{
    struct many *m = arg;
    struct fixture_random r = {m->index};

    for (unsigned i = 0; i < 2000; i++) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

        if (ledger_put(m->p, &rec, i % 100 == 0) == 0)
            abort();
    }
    return NULL;
}

static void test_ledger__several_producers(void **state)
{
    struct fixture f = fixture_ledger();
    struct many many[4];

    fixture_start(&f);
    for (unsigned i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = (struct many){.f = &f, .p = ledger_producer_new(f.ledger, "many"), .index = i};
        assert_int_equal(pthread_create(&many[i].thread, NULL, produce, &many[i]), 0);
    }
    for (unsigned i = 0; i < ARRAY_LEN(many); i++)
        pthread_join(many[i].thread, NULL);
    assert_true(fixture_await(f.ledger, 8000, 30000));
    assert_int_equal(stats_of(&f).seq_assigned, 8000);
    fixture_end_ledger(&f);
    fixture_check_ids(f.store, 8000);
    fixture_check_sums(f.store);
    fixture_end(&f);
}

static void test_ledger__numbers_settle_out_of_order(void **state)
{
    struct ledger_seq q;

    ledger_seq_init(&q);
    for (uint64_t n = 5000; n > 1; n--)
        ledger_seq_settle(&q, n);
    assert_int_equal(q.base, 0);
    ledger_seq_settle(&q, 1);
    assert_int_equal(q.base, 5000);
    for (uint64_t n = 5001; n < 40000; n += 2) {
        ledger_seq_settle(&q, n + 1);
        assert_int_equal(q.base, n - 1);
        ledger_seq_settle(&q, n);
        assert_int_equal(q.base, n + 1);
    }
    ledger_seq_release(&q);
}

/* ---- a database that refuses ---- */

static void test_ledger__refused_rows_are_spooled_and_replayed_once(void **state)
{
    struct fixture f = fixture_ledger();
    struct seen seen = {.ledger = f.ledger};
    uint64_t last;

    add_channel(f.store, CHANNEL(7));
    ledger_subscribe(f.ledger, on_records, &seen);
    fixture_start(&f);
    last = put_some(&f, 8, 500);
    assert_true(fixture_await(f.ledger, last, 5000));
    fixture_refuse(f.store, true);
    put_some(&f, 9, 1500);
    put(&f, run(7, 1, false));
    put(&f, probe(7, 1, "m"));
    last = put(&f, run(7, 1, true));
    assert_true(fixture_await(f.ledger, last, 10000)); /* acknowledged: it is on disk */
    assert_true(stats_of(&f).is_spooling);
    assert_true(stats_of(&f).spool_bytes > 0);
    assert_true(stats_of(&f).reason[0] != '\0');
    assert_int_equal(seen.calls, 500); /* not told before it is stored */
    fixture_check_ids(f.store, 500);
    fixture_check_sums(f.store);
    fixture_refuse(f.store, false);
    last = put_some(&f, 10, 100);
    assert_true(await(is_clear, &f, 10000));
    assert_string_equal(stats_of(&f).reason, "");
    assert_true(stats_of(&f).replayed_total >= 1503);
    assert_int_equal(stats_of(&f).duplicates_total, 0);
    fixture_end_ledger(&f);
    assert_int_equal(seen.calls, 2100);
    assert_int_equal(seen.probes, 1);
    assert_int_equal(seen.runs, 2);
    fixture_check_ids(f.store, 2101);
    fixture_check_sums(f.store);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM call_events a JOIN call_events b ON b.row=a.row+1 WHERE b.id<a.id"), 0);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs WHERE status='completed'"), 1);
    fixture_end(&f);
}

static void test_ledger__the_next_process_replays(void **state)
{
    struct fixture f = fixture_ledger();
    uint64_t last;

    add_channel(f.store, CHANNEL(7));
    fixture_start(&f);
    fixture_refuse(f.store, true);
    put(&f, run(7, 12, false));
    last = put_some(&f, 11, 300);
    assert_true(fixture_await(f.ledger, last, 10000));
    put_some(&f, 12, 50);
    fixture_end_ledger(&f); /* the last ones go to the spool while it ends */
    fixture_check_ids(f.store, 0);
    fixture_refuse(f.store, false);
    fixture_open_ledger(&f, 64 << 20, "UTC");
    assert_int_equal(ledger_next_run_id(f.ledger), 13); /* not the id of a run still in the spool */
    fixture_start(&f);
    assert_true(await(is_clear, &f, 10000));
    fixture_check_ids(f.store, 350);
    fixture_check_sums(f.store);
    assert_int_equal(fixture_i64(f.store, "SELECT id FROM runs"), 12);
    fixture_end(&f);
}

/* The mark was lost after a commit: everything comes again. */
static void test_ledger__a_second_replay_adds_nothing(void **state)
{
    struct fixture f = fixture_ledger();
    char *dir = fixture_path(f.dir, "spool");
    struct fixture_random r = {13};
    struct buf b = BUF_INIT(LEDGER_RECORD_MAX);
    struct spool *spool;
    struct err e;

    add_channel(f.store, CHANNEL(7));
    fixture_end_ledger(&f);
    assert_int_equal(spool_open(dir, 64 << 20, &spool, &e), 0);
    for (unsigned i = 0; i < 202; i++) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

        if (i == 100)
            rec = probe(7, 1, "m");
        if (i == 101)
            rec = run(7, 1, true);
        if (i != 101 && id128_is_zero(rec.call.id))
            rec.call.id = id128_hash(STR("one probe"));
        buf_clear(&b);
        assert_int_equal(ledger_record_encode(&rec, &b), 0);
        assert_int_equal(spool_append(spool, buf_str(&b), &e), 0);
        assert_int_equal(spool_append(spool, buf_str(&b), &e), 0);
    }
    assert_int_equal(spool_append(spool, STR("\x07of a later version"), &e), 0);
    assert_int_equal(spool_sync(spool, &e), 0);
    spool_close(spool);
    fixture_open_ledger(&f, 64 << 20, "UTC");
    fixture_start(&f);
    assert_true(await(is_clear, &f, 10000));
    assert_int_equal(stats_of(&f).duplicates_total, 201);
    assert_int_equal(stats_of(&f).dropped_total, 1); /* what nobody can read is counted */
    fixture_check_ids(f.store, 201);
    fixture_check_sums(f.store);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM probe_results"), 1);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM runs"), 1);
    buf_release(&b);
    xfree(dir);
    fixture_end(&f);
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

static void test_ledger__neither_database_nor_spool(void **state)
{
    struct fixture f = {.dir = fixture_dir()};
    struct fixture_random r = {17};
    uint64_t placed = 0, refused = 0, committed;
    long before;

    f.store = fixture_open(f.dir);
    fixture_open_ledger(&f, 1 << 20, "UTC"); /* the least a spool holds is soon full */
    fixture_start(&f);
    fixture_refuse(f.store, true);
    while (refused == 0) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

        if (ledger_put(f.producer, &rec, false) > 0)
            placed++;
        else
            refused++;
    }
    before = resident_kib();
    for (unsigned i = 0; i < 200000; i++) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);

        if (ledger_put(f.producer, &rec, false) > 0)
            placed++;
        else
            refused++;
    }
    assert_true(resident_kib() - before < 12 * 1024); /* the list and a batch at most, in any build */
    assert_int_equal(stats_of(&f).dropped_total, refused);
    assert_int_equal(stats_of(&f).seq_assigned, placed);
    committed = stats_of(&f).seq_committed;
    assert_true(committed < placed); /* what is in memory alone is not acknowledged */
    fixture_refuse(f.store, false);
    assert_true(await(is_clear, &f, 30000));
    assert_int_equal(stats_of(&f).dropped_total, refused);
    fixture_check_ids(f.store, (int64_t)placed);
    fixture_check_sums(f.store);
    fixture_end(&f);
}

static void test_ledger__a_stop_with_no_place_counts_what_is_lost(void **state)
{
    struct fixture f = {.dir = fixture_dir()};
    char *dir = fixture_path(f.dir, "spool");
    struct ledger_stats s;

    f.store = fixture_open(f.dir);
    fixture_spill(dir, "x", 1); /* a file where the directory should be */
    fixture_open_ledger(&f, 1 << 20, "UTC");
    fixture_start(&f);
    fixture_refuse(f.store, true);
    put_some(&f, 18, 40);
    ledger_stop(f.ledger);
    s = stats_of(&f);
    assert_int_equal(s.dropped_total, 40);
    assert_int_equal(s.seq_committed, 0);
    ledger_close(f.ledger);
    f.ledger = NULL;
    fixture_refuse(f.store, false);
    fixture_check_ids(f.store, 0);
    xfree(dir);
    fixture_end(&f);
}

/* ---- killed ---- */


/* Puts until it is killed; every other moment the database refuses for a while. */
static void child_puts(const char *dir, uint64_t seed, int out)
{
    struct fixture f = {0};
    struct fixture_random r = {seed};
    struct err e;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fixture_try_open(dir, &f.store, &e) < 0)
        _exit(2);
    fixture_open_ledger(&f, 64 << 20, "UTC");
    if (ledger_start(f.ledger, &e) < 0)
        _exit(3);
    for (uint64_t i = 1;; i++) {
        struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + DAY);
        struct ledger_stats s;
        char id[64];

        snprintf(id, sizeof(id), "%llu-%llu", (unsigned long long)seed, (unsigned long long)i);
        rec.call.id = id128_hash(str_of(id));
        rec.call.request_id = str_of(id);
        if (ledger_put(f.producer, &rec, false) != i)
            _exit(4);
        if (i % 700 == 0)
            fixture_refuse(f.store, i % 1400 != 0);
        ledger_stats(f.ledger, &s);
        if (write(out, &s.seq_committed, sizeof(s.seq_committed)) != (ssize_t)sizeof(s.seq_committed))
            _exit(5);
        while (s.seq_assigned - s.seq_committed > 600) { /* stay near what is acknowledged */
            const struct timespec pause = {.tv_nsec = 200 * 1000};

            nanosleep(&pause, NULL);
            ledger_stats(f.ledger, &s);
        }
    }
}

/* Kills it after some thousand reports; returns the highest acknowledged number. */
static uint64_t kill_round(const char *dir, uint64_t seed)
{
    struct fixture_random r = {seed * 77};
    uint64_t committed = 0, reports = 500 + fixture_next(&r, 3000), told;
    int fds[2], status;
    pid_t child;

    assert_int_equal(pipe(fds), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* anew: threads after a fork of threads are a sanitizer's end */
        char text[2][32];

        close(fds[0]);
        snprintf(text[0], sizeof(text[0]), "%llu", (unsigned long long)seed);
        snprintf(text[1], sizeof(text[1]), "%d", fds[1]);
        execl("/proc/self/exe", "test_ledger", dir, text[0], text[1], (char *)NULL);
        _exit(6);
    }
    close(fds[1]);
    for (uint64_t i = 0; i < reports && read(fds[0], &told, sizeof(told)) == (ssize_t)sizeof(told); i++)
        committed = told;
    kill(child, SIGKILL);
    while (read(fds[0], &told, sizeof(told)) == (ssize_t)sizeof(told))
        committed = told;
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status))
        fail_msg("child ended with %d", WEXITSTATUS(status));
    return committed;
}

static void test_ledger__kill_loses_no_acknowledged_row(void **state)
{
    char *dir = fixture_dir();
    uint64_t sum = 0;

    for (uint64_t round = 1; round <= KILL_ROUNDS; round++) {
        uint64_t committed = kill_round(dir, round);
        struct fixture f = {.dir = xstrdup(dir)};
        int64_t rows, lost = 0;

        f.store = fixture_open(f.dir);
        fixture_open_ledger(&f, 64 << 20, "UTC");
        fixture_start(&f);
        assert_true(await(is_clear, &f, 20000));
        fixture_end_ledger(&f);
        rows = fixture_i64(f.store, "SELECT count(*) FROM call_events");
        for (uint64_t i = 1; i <= committed; i++) {
            struct store_conn *c = store_writer_lock(f.store);
            struct store_stmt *st;
            struct id128 id;
            struct err e;
            char text[64];

            snprintf(text, sizeof(text), "%llu-%llu", (unsigned long long)round, (unsigned long long)i);
            id = id128_hash(str_of(text));
            assert_int_equal(store_prepare(c, "SELECT 1 FROM call_ids WHERE id=?1", &st, &e), 0);
            store_bind_blob(st, 1, id.bytes, sizeof(id.bytes));
            lost += store_step(st, &e) != 1;
            store_reset(st);
            store_writer_unlock(f.store);
        }
        assert_int_equal(lost, 0);
        fixture_check_ids(f.store, rows);
        fixture_check_sums(f.store);
        store_close(f.store);
        xfree(f.dir);
        sum += committed;
    }
    assert_true(sum > KILL_ROUNDS * 100); /* it was about something */
    fixture_remove(dir);
}

/* ---- a full disk ---- */

/* 24 MiB of tmpfs over dir, in a mount namespace of this process alone. */
static bool mount_small(const char *dir)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("none", dir, "tmpfs", 0, "size=24m,mode=0700") == 0;
}

static void test_ledger__a_full_disk_is_survived(void **state)
{
    struct fixture f = {.dir = fixture_dir()};
    char *filler = fixture_path(f.dir, "filler"), junk[4096] = {0};
    uint64_t placed = 0, committed;
    int fd;

    if (!mount_small(f.dir)) {
        xfree(filler);
        fixture_remove(f.dir);
        skip();
    }
    f.store = fixture_open(f.dir);
    fixture_open_ledger(&f, 64 << 20, "UTC");
    fixture_start(&f);
    placed = put_some(&f, 21, 200);
    assert_true(fixture_await(f.ledger, placed, 5000));
    fd = open(filler, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    while (write(fd, junk, sizeof(junk)) > 0)
        ;
    close(fd);
    placed = put_some(&f, 22, 3000); /* some go to memory, none is refused yet */
    assert_false(fixture_await(f.ledger, placed, 1500));
    committed = stats_of(&f).seq_committed;
    assert_true(stats_of(&f).is_spooling);
    assert_true(committed >= 200);
    assert_int_equal(unlink(filler), 0);
    assert_true(await(is_clear, &f, 5000)); /* without a restart */
    assert_int_equal(stats_of(&f).dropped_total, 0);
    fixture_check_ids(f.store, 3200);
    fixture_check_sums(f.store);
    fixture_end_ledger(&f);
    store_close(f.store);
    umount2(f.dir, MNT_DETACH);
    xfree(filler);
    fixture_remove(f.dir);
}

int main(int argc, char **argv)
{
    uint64_t seed, fd;

    if (argc == 4 && str_to_u64(str_of(argv[2]), UINT64_MAX, &seed) == 0 &&
        str_to_u64(str_of(argv[3]), INT32_MAX, &fd) == 0)
        child_puts(argv[1], seed, (int)fd); /* at most INT32_MAX */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ledger__rows_come_in_order_and_are_told),
        cmocka_unit_test(test_ledger__a_record_without_id_and_time_gets_them),
        cmocka_unit_test(test_ledger__an_awaited_row_does_not_wait_for_the_batch),
        cmocka_unit_test(test_ledger__an_id_counts_once),
        cmocka_unit_test(test_ledger__runs_and_probes_become_rows),
        cmocka_unit_test(test_ledger__an_older_run_does_not_overwrite_the_state),
        cmocka_unit_test(test_ledger__a_full_ring_keeps_order_and_loses_nothing),
        cmocka_unit_test(test_ledger__past_every_bound_drops_are_counted_exactly),
        cmocka_unit_test(test_ledger__several_producers),
        cmocka_unit_test(test_ledger__numbers_settle_out_of_order),
        cmocka_unit_test(test_ledger__refused_rows_are_spooled_and_replayed_once),
        cmocka_unit_test(test_ledger__the_next_process_replays),
        cmocka_unit_test(test_ledger__a_second_replay_adds_nothing),
        cmocka_unit_test(test_ledger__neither_database_nor_spool),
        cmocka_unit_test(test_ledger__a_stop_with_no_place_counts_what_is_lost),
        cmocka_unit_test(test_ledger__kill_loses_no_acknowledged_row),
        cmocka_unit_test(test_ledger__a_full_disk_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
