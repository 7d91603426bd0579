/* test_retention.c -- what goes, what stays, and that it goes in steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/call_event.h"
#include "ledger/retention.h"

#include <dirent.h>
#include <unistd.h>

#define DAY 86400000LL
#define NOW (20000 * DAY)

struct world {
    char dir[64];
    struct store *s;
    struct store_conn *c;
    struct retention_config cfg;
};

static void sql(struct world *w, const char *literal)
{
    struct err e = {0};

    if (store_exec(w->c, literal, &e) < 0)
        fail_msg("%s: %s", literal, e.text);
}

static int64_t ask(struct world *w, const char *literal)
{
    struct store_stmt *st;
    struct err e = {0};
    int64_t v;

    if (store_prepare(w->c, literal, &st, &e) < 0 || store_step(st, &e) != 1)
        fail_msg("%s: %s", literal, e.text);
    v = store_col_i64(st, 0);
    store_reset(st);
    return v;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct store_config cfg = {.data_dir = w->dir, .readers = 1};
    struct err e;

    snprintf(w->dir, sizeof(w->dir), "/tmp/gatehouse-test-XXXXXX");
    if (!mkdtemp(w->dir) || store_open(&cfg, &w->s, &e) < 0)
        return -1;
    w->c = store_writer_lock(w->s);
    w->cfg = (struct retention_config){
        .keep_ms = {90 * DAY, 30 * DAY, 90 * DAY, 3 * DAY}, .probe_ms = 30 * DAY, .runs_min = 60, .points_min = 30};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct dirent *f;
    DIR *d;

    store_writer_unlock(w->s);
    store_close(w->s);
    d = opendir(w->dir);
    while (d && (f = readdir(d)) != NULL)
        unlinkat(dirfd(d), f->d_name, 0);
    if (d)
        closedir(d);
    rmdir(w->dir);
    xfree(w);
    return 0;
}

/* One step in a transaction of its own. */
static bool step_at(struct world *w, utc_ms now)
{
    struct err e = {0};
    bool more = false;

    if (store_begin(w->c, &e) < 0 || retention_step(w->c, &w->cfg, now, &more, &e) < 0 || store_commit(w->c, &e) < 0)
        fail_msg("%s", e.text);
    return more;
}

static unsigned run_all_at(struct world *w, utc_ms now)
{
    unsigned steps = 1;

    while (step_at(w, now)) {
        if (++steps > 500)
            fail_msg("it never ends");
    }
    return steps;
}

/* `n` events of an origin, from `age_days` ago on, a minute apart, with their ids; every second one
 * is notable. */
static void add_events(struct world *w, enum call_origin origin, int64_t age_days, int64_t n)
{
    struct store_stmt *st;
    struct err e = {0};

    if (store_prepare(w->c,
                      "INSERT INTO call_events (id, ended_utc_ms, origin, kind, site, key_id, channel_id, protocol, outcome,"
                      " http_status, is_stream, duration_us, ttft_us, t_input, t_cache_read, t_cache_write_5m,"
                      " t_cache_write_1h, t_output, t_reasoning, t_unsplit, cost_nano_usd, charge_units, usage_source,"
                      " cost_source, price_version, attempts)"
                      " WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?3 - 1)"
                      " SELECT randomblob(16), ?2 + i * 60000, ?1, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
                      " 0, 0, 0, 0, 1 FROM n",
                      &st, &e) < 0)
        fail_msg("%s", e.text);
    store_bind_i64(st, 1, (int64_t)origin);
    store_bind_i64(st, 2, NOW - age_days * DAY);
    store_bind_i64(st, 3, n);
    if (store_run(st, &e) < 0)
        fail_msg("%s", e.text);
    sql(w, "INSERT OR IGNORE INTO call_ids SELECT id, row FROM call_events;"
           "INSERT OR IGNORE INTO notable SELECT row, ended_utc_ms, origin, kind, site, channel_id, model, user,"
           " duration_us, outcome FROM call_events WHERE row % 2 = 0");
}

static void expect_events_in_step(struct world *w)
{
    assert_int_equal(ask(w, "SELECT count(*) FROM call_ids"), ask(w, "SELECT count(*) FROM call_events"));
    assert_int_equal(ask(w, "SELECT count(*) FROM call_ids WHERE row NOT IN (SELECT row FROM call_events)"), 0);
    assert_int_equal(ask(w, "SELECT count(*) FROM notable"), ask(w, "SELECT count(*) FROM call_events WHERE row % 2 = 0"));
}

static void test_retention__events_go_by_age_of_their_origin(void **state)
{
    struct world *w = *state;

    for (int origin = 0; origin < CALL_ORIGINS; origin++) {
        add_events(w, (enum call_origin)origin, 100, 10);
        add_events(w, (enum call_origin)origin, 60, 10);
        add_events(w, (enum call_origin)origin, 10, 10);
        add_events(w, (enum call_origin)origin, 1, 10);
    }
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 0"), 30);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 1"), 20);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 2"), 30);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 3"), 10);
    expect_events_in_step(w);
    /* late: behind the cursor of its origin, gone with the longest age */
    add_events(w, CALL_NEWAPI, 80, 5);
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 3"), 15);
    run_all_at(w, NOW + 11 * DAY);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 3"), 0);
    /* a shorter age is obeyed */
    w->cfg.keep_ms[CALL_GATEWAY] = 5 * DAY;
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events WHERE origin = 0"), 10);
    expect_events_in_step(w);
}

static void test_retention__goes_in_bounded_steps(void **state)
{
    struct world *w = *state;
    int64_t left = 30000;

    add_events(w, CALL_GATEWAY, 200, 10000);
    add_events(w, CALL_PROBE, 60, 10000);
    add_events(w, CALL_GATEWAY, 60, 10000); /* stays, among the probes */
    for (unsigned i = 0;; i++) {
        bool more = step_at(w, NOW);
        int64_t now_left = ask(w, "SELECT count(*) FROM call_events");

        assert_true(left - now_left <= 2000);
        left = now_left;
        expect_events_in_step(w);
        if (!more)
            break;
        assert_true(i < 200);
    }
    assert_int_equal(left, 10000);
    assert_false(step_at(w, NOW));
}

static void test_retention__keeping_for_ever_keeps(void **state)
{
    struct world *w = *state;

    w->cfg.keep_ms[CALL_GATEWAY] = UINT64_MAX;
    w->cfg.probe_ms = UINT64_MAX;
    add_events(w, CALL_GATEWAY, 19000, 10);
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM call_events"), 10);
}

/* ---- probes and runs ---- */

/* A channel with `runs` runs, one an hour, the newest `age_days` ago, each with 2 models. */
static void add_channel(struct world *w, int64_t id, int64_t runs, int64_t age_days)
{
    struct store_stmt *st;
    struct err e = {0};
    static const char *const sqls[] = {
        "INSERT INTO channels (id, name, base_url, api_key, prompt, created_utc_ms, updated_utc_ms)"
        " SELECT ?1, 'ch' || ?1, 'https://x', x'', 'p', 0, 0 WHERE ?2 IS NOT NULL AND ?3 IS NOT NULL",
        "INSERT INTO runs (channel_id, started_utc_ms, finished_utc_ms, status)"
        " WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)"
        " SELECT ?1, ?3 - (?2 - 1 - i) * 3600000, 0, 'completed' FROM n",
        "INSERT INTO probe_results (item_kind, item_id, run_id, at_utc_ms, model, outcome, status, success, transport_success)"
        " SELECT 0, channel_id, id, started_utc_ms + 5, m.column1, 0, 1, 1, 1 FROM runs, (VALUES ('a'), ('b')) AS m"
        " WHERE channel_id = ?1 AND ?2 IS NOT NULL AND ?3 IS NOT NULL ORDER BY id",
    };

    for (size_t i = 0; i < ARRAY_LEN(sqls); i++) {
        if (store_prepare(w->c, sqls[i], &st, &e) < 0)
            fail_msg("%s", e.text);
        store_bind_i64(st, 1, id);
        store_bind_i64(st, 2, runs);
        store_bind_i64(st, 3, NOW - age_days * DAY);
        if (store_run(st, &e) < 0)
            fail_msg("%s", e.text);
    }
}

static void test_retention__newest_runs_and_points_stay(void **state)
{
    struct world *w = *state;

    add_channel(w, 1, 200, 100); /* stopped long ago */
    add_channel(w, 2, 200, 0);   /* all young */
    add_channel(w, 3, 20, 100);  /* few */
    /* a run that never ended, and points without runs */
    sql(w, "INSERT INTO runs (channel_id, started_utc_ms, status) VALUES (1, 1, 'running')");
    sql(w, "INSERT INTO probe_results (item_kind, item_id, at_utc_ms, model, outcome, status, success, transport_success)"
           " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
           " SELECT 1, 1, i, 'm', 0, 1, 1, 1 FROM n");
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs WHERE channel_id = 1 AND status = 'completed'"), 60);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs WHERE status = 'running'"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs WHERE channel_id = 2"), 200);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs WHERE channel_id = 3"), 20);
    /* two models of 60 runs, whole */
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE item_kind = 0 AND item_id = 1"), 120);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs WHERE channel_id = 1 AND status = 'completed'"
                            " AND (SELECT count(*) FROM probe_results WHERE run_id = runs.id) <> 2"), 0);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE item_kind = 0 AND item_id = 2"), 400);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE item_kind = 0 AND item_id = 3"), 40);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE item_kind = 1"), 30);
    assert_int_equal(ask(w, "SELECT min(at_utc_ms) FROM probe_results WHERE item_kind = 1"), 71);
}

static void test_retention__points_stay_when_runs_do_not(void **state)
{
    struct world *w = *state;

    w->cfg.runs_min = 5;
    add_channel(w, 1, 200, 100);
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM runs"), 5);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE model = 'a'"), 30);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE model = 'b'"), 30);
}

static void test_retention__a_deleted_channel_protects_nothing(void **state)
{
    struct world *w = *state;

    add_channel(w, 1, 50, 100);
    sql(w, "DELETE FROM channels WHERE id = 1");
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results"), 0);
}

/* More protected rows at the old end than a step looks at: those behind them still go. */
static void test_retention__walks_past_what_stays(void **state)
{
    struct world *w = *state;

    w->cfg.runs_min = 1;
    w->cfg.points_min = 1;
    sql(w, "INSERT INTO probe_results (item_kind, item_id, at_utc_ms, model, outcome, status, success, transport_success)"
           " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
           " SELECT 1, 1, i / 3, 'once' || i, 0, 1, 1, 1 FROM n;"
           "INSERT INTO probe_results (item_kind, item_id, at_utc_ms, model, outcome, status, success, transport_success)"
           " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
           " SELECT 1, 1, 10000 + i / 3, 'often', 0, 1, 1, 1 FROM n");
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE model = 'often'"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results"), 5001);
    /* the next walk begins anew and sees what became old by newer points */
    sql(w, "INSERT INTO probe_results (item_kind, item_id, at_utc_ms, model, outcome, status, success, transport_success)"
           " SELECT 1, 1, 20000, 'once1', 0, 1, 1, 1");
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM probe_results WHERE model = 'once1'"), 1);
    assert_int_equal(ask(w, "SELECT at_utc_ms FROM probe_results WHERE model = 'once1'"), 20000);
}

/* ---- sums, audit, pages ---- */

#define ZEROS "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"

static void test_retention__sums_and_audit_go_by_age(void **state)
{
    struct world *w = *state;

    sql(w, "INSERT INTO rollup_minute WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
           " SELECT 20000 * 1440 - i, 1, " ZEROS ", NULL, NULL FROM n");
    sql(w, "INSERT INTO rollup_quarter WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
           " SELECT (20000 - i) * 96, 1, " ZEROS ", NULL, NULL FROM n");
    sql(w, "INSERT INTO rollup_day SELECT 20200101, 1, " ZEROS ", NULL, NULL");
    sql(w, "INSERT INTO user_rollup_quarter VALUES (1, 1, 0,0,0,0,0,0,0,0,0,0), (20000 * 96, 1, 0,0,0,0,0,0,0,0,0,0)");
    sql(w, "INSERT INTO user_rollup_day VALUES (20200101, 1, 0,0,0,0,0,0,0,0,0,0)");
    sql(w, "INSERT INTO audit (at_utc_ms, actor, action)"
           " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
           " SELECT i, 'a', 'x' FROM n");
    sql(w, "INSERT INTO audit (at_utc_ms, actor, action) VALUES (20000 * 86400000 - 1, 'a', 'new')");
    assert_true(step_at(w, NOW));
    assert_true(ask(w, "SELECT count(*) FROM rollup_minute") >= 7000);
    run_all_at(w, NOW);
    assert_int_equal(ask(w, "SELECT count(*) FROM rollup_minute"), 2880);
    assert_int_equal(ask(w, "SELECT count(*) FROM rollup_quarter"), 400);
    assert_int_equal(ask(w, "SELECT count(*) FROM rollup_day"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM user_rollup_quarter"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM user_rollup_day"), 1);
    assert_int_equal(ask(w, "SELECT count(*) FROM audit"), 1);
}

static void test_retention__gives_pages_back(void **state)
{
    struct world *w = *state;
    int64_t before;

    sql(w, "INSERT INTO settings VALUES ('k', randomblob(30000000), 0, 1)");
    before = ask(w, "PRAGMA page_count");
    sql(w, "DELETE FROM settings");
    assert_true(step_at(w, NOW));
    assert_int_equal(ask(w, "PRAGMA page_count"), before - 256);
    run_all_at(w, NOW);
    assert_in_range(ask(w, "PRAGMA freelist_count"), 1024, 2048);
    assert_true(ask(w, "PRAGMA page_count") < before - 4000);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_retention__events_go_by_age_of_their_origin),
        CASE(test_retention__goes_in_bounded_steps),
        CASE(test_retention__keeping_for_ever_keeps),
        CASE(test_retention__newest_runs_and_points_stay),
        CASE(test_retention__points_stay_when_runs_do_not),
        CASE(test_retention__a_deleted_channel_protects_nothing),
        CASE(test_retention__walks_past_what_stays),
        CASE(test_retention__sums_and_audit_go_by_age),
        CASE(test_retention__gives_pages_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
