/* test_rollup.c -- sums equal a recomputation over the raw rows, across the borders of quarter hours
 * and days and through changes of clocks; caps fold into "(other)". */
#include "ledger_fixture.h"

#define NEW_YEAR_2026 1767225600000
#define HOUR          3600000

static void put_events(struct fixture *f, struct fixture_random *r, unsigned count, utc_ms from, utc_ms to)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < count; i++) {
        struct ledger_record rec = fixture_event(r, from, to);

        last = ledger_put(f->producer, &rec, false);
        assert_true(last > 0);
    }
    assert_true(fixture_await(f->ledger, last, 20000));
}

static void reopen(struct fixture *f, const char *zone)
{
    fixture_end_ledger(f);
    fixture_open_ledger(f, 64 << 20, zone);
    fixture_start(f);
}

/* Every raw row's day, minute and quarter has its row: recomputed one by one with tz.h. */
static void check_places(struct fixture *f, const char *zone)
{
    struct store_conn *c = store_writer_lock(f->store);
    const struct tz *tz;
    struct store_stmt *st, *sum;
    struct err e;
    int rc;

    assert_int_equal(tz_load(str_of(zone), &tz, &e), 0);
    assert_int_equal(store_exec(c, "CREATE TEMP TABLE IF NOT EXISTS place(level, at, n); DELETE FROM place", &e), 0);
    assert_int_equal(store_prepare(c, "SELECT ended_utc_ms FROM call_events", &st, &e), 0);
    while ((rc = store_step(st, &e)) > 0) {
        utc_ms at = store_col_i64(st, 0);
        struct tz_local local;
        const int64_t places[] = {at / 60000, at / 900000, 0};

        tz_split(tz, at, &local);
        for (int64_t level = 0; level < 3; level++) {
            assert_int_equal(store_prepare(c, "INSERT INTO place VALUES(?1,?2,1)", &sum, &e), 0);
            store_bind_i64(sum, 1, level);
            store_bind_i64(sum, 2, level < 2 ? places[level] : (int64_t)local.year * 10000 + local.month * 100 + local.day);
            assert_int_equal(store_run(sum, &e), 0);
        }
    }
    assert_int_equal(rc, 0);
    store_reset(st);
    assert_int_equal(store_prepare(c,
        "SELECT count(*) FROM (SELECT * FROM (SELECT level,at,sum(n) n FROM place GROUP BY 1,2 EXCEPT"
        " SELECT * FROM (SELECT 0,at,sum(n) FROM rollup_minute GROUP BY at UNION ALL"
        " SELECT 1,at,sum(n) FROM rollup_quarter GROUP BY at UNION ALL"
        " SELECT 2,at,sum(n) FROM rollup_day GROUP BY at)))", &st, &e), 0);
    assert_int_equal(store_step(st, &e), 1);
    assert_int_equal(store_col_i64(st, 0), 0);
    store_reset(st);
    store_writer_unlock(f->store);
}

/* Histograms hold each known time of the kinds that feed latency, once a level. */
static void check_histograms(struct fixture *f)
{
    static const char *const sql[] = {"SELECT duration,ttft FROM rollup_minute", "SELECT duration,ttft FROM rollup_quarter",
                                      "SELECT duration,ttft FROM rollup_day"};
    int64_t durations = fixture_i64(f->store, "SELECT count(*) FROM call_events WHERE duration_us>0 AND (kind<2 OR (kind=2 AND origin=1))");
    int64_t ttfts = fixture_i64(f->store, "SELECT count(*) FROM call_events WHERE ttft_us>0 AND (kind<2 OR (kind=2 AND origin=1))");
    int64_t sum = fixture_i64(f->store, "SELECT sum(duration_us) FROM call_events WHERE kind<2 OR (kind=2 AND origin=1)");
    struct store_conn *c = store_writer_lock(f->store);

    for (unsigned i = 0; i < ARRAY_LEN(sql); i++) {
        struct hist all[2] = {0};
        struct store_stmt *st;
        struct err e;

        assert_int_equal(store_prepare(c, sql[i], &st, &e), 0);
        while (store_step(st, &e) > 0) {
            for (int k = 0; k < 2; k++) {
                if (!store_col_is_null(st, k))
                    assert_int_equal(hist_decode_add(store_col_blob(st, k), &all[k]), 0);
            }
        }
        store_reset(st);
        assert_int_equal(all[0].count, durations);
        assert_int_equal(all[0].sum_us, sum);
        assert_int_equal(all[1].count, ttfts);
    }
    store_writer_unlock(f->store);
}

static void run_zone(const char *zone, utc_ms from, utc_ms to, uint64_t seed)
{
    struct fixture f = fixture_ledger();
    struct fixture_random r = {seed};

    reopen(&f, zone);
    put_events(&f, &r, 700, from, to);
    put_events(&f, &r, 700, from, to); /* rows that are there already grow */
    reopen(&f, zone);                  /* and grow again without what was remembered */
    put_events(&f, &r, 700, from, to);
    fixture_check_ids(f.store, 2100);
    fixture_check_sums(f.store);
    check_places(&f, zone);
    check_histograms(&f);
    fixture_end(&f);
}

static void test_rollup__sums_equal_details_at_midnight(void **state)
{
    run_zone("UTC", NEW_YEAR_2026 - HOUR, NEW_YEAR_2026 + HOUR, 11);
}

static void test_rollup__sums_equal_details_in_a_zone_of_45_minutes(void **state)
{
    run_zone("Asia/Kathmandu", NEW_YEAR_2026 - 8 * HOUR, NEW_YEAR_2026 - 4 * HOUR, 12);
}

static void test_rollup__sums_equal_details_when_clocks_change(void **state)
{
    /* 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC, with the midnights around. */
    run_zone("Europe/Berlin", 1774652400000, 1774652400000 + 52 * HOUR, 13);
    run_zone("Europe/Berlin", 1792792800000, 1792792800000 + 54 * HOUR, 14);
}

static void test_rollup__a_day_that_begins_at_one(void **state)
{
    /* Beirut skipped the hour from midnight, 2026-03-29. */
    run_zone("Asia/Beirut", 1774735200000 - 3 * HOUR, 1774735200000 + 30 * HOUR, 15);
}

/* ---- caps ---- */

static uint64_t put_named(struct fixture *f, enum call_origin origin, const char *source, const char *model,
                          const char *user, int64_t key_id)
{
    struct fixture_random r = {5};
    struct ledger_record rec = fixture_event(&r, NEW_YEAR_2026, NEW_YEAR_2026 + 1000);

    rec.call.id = id128_new();
    rec.call.origin = origin;
    rec.call.kind = CALL_KIND_CALL;
    rec.call.source = str_of(source);
    rec.call.model = str_of(model);
    rec.call.user = str_of(user);
    rec.call.key_id = key_id;
    return ledger_put(f->producer, &rec, false);
}

static void put_many(struct fixture *f, enum call_origin origin, unsigned count)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < count; i++) {
        char model[32];

        snprintf(model, sizeof(model), "model-%u", i);
        last = put_named(f, origin, "app", model, model, i);
    }
    assert_true(fixture_await(f->ledger, last, 20000));
}

static void test_rollup__ingest_free_text_is_capped(void **state)
{
    struct fixture f = fixture_ledger();

    fixture_start(&f);
    put_many(&f, CALL_INGEST, 250);
    put_many(&f, CALL_GATEWAY, 250);
    assert_int_equal(fixture_i64(f.store, "SELECT count(DISTINCT model) FROM rollup_keys WHERE origin=2 AND model<>'(other)'"), 200);
    assert_int_equal(fixture_i64(f.store, "SELECT sum(n) FROM rollup_day JOIN rollup_keys k ON k.id=rk WHERE origin=2 AND model='(other)'"), 50);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM rollup_keys WHERE origin=2 AND model='(other)' AND key_id=0"), 0);
    assert_int_equal(fixture_i64(f.store, "SELECT count(DISTINCT model) FROM rollup_keys WHERE origin=0"), 250);
    reopen(&f, "UTC"); /* the day's combinations are known after a restart */
    put_many(&f, CALL_INGEST, 260);
    assert_int_equal(fixture_i64(f.store, "SELECT count(DISTINCT model) FROM rollup_keys WHERE origin=2 AND model<>'(other)'"), 200);
    assert_int_equal(fixture_i64(f.store, "SELECT sum(n) FROM rollup_day JOIN rollup_keys k ON k.id=rk WHERE origin=2 AND model='(other)'"), 110);
    assert_int_equal(fixture_i64(f.store, "SELECT sum(n) FROM rollup_day"), 760);
    fixture_end(&f);
}

static void test_rollup__combinations_of_a_day_are_capped(void **state)
{
    struct fixture f = fixture_ledger();

    rollup_key_set_caps(rollup_keys_of(f.ledger->writer.rollup), 10, 200);
    fixture_start(&f);
    put_many(&f, CALL_GATEWAY, 30);
    put_named(&f, CALL_GATEWAY, "x", "(other)", "(other)", 7); /* a name of ours is no way around */
    put_many(&f, CALL_NEWAPI, 5); /* another origin has its own */
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM rollup_keys WHERE origin=0"), 11);
    assert_int_equal(fixture_i64(f.store, "SELECT sum(n) FROM rollup_day JOIN rollup_keys k ON k.id=rk WHERE origin=0 AND model='(other)' AND source='(other)' AND key_id=0"), 21);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM user_rollup_keys WHERE origin=0"), 11);
    assert_int_equal(fixture_i64(f.store, "SELECT sum(n) FROM user_rollup_day JOIN user_rollup_keys k ON k.id=rk WHERE origin=0 AND user='(other)'"), 21);
    assert_int_equal(fixture_i64(f.store, "SELECT count(*) FROM rollup_keys WHERE origin=3"), 5);
    fixture_end(&f);
}

static void test_rollup__day_of_the_reporting_zone(void **state)
{
    const struct tz *tz;
    struct rollup *r;
    struct err e;

    assert_int_equal(tz_load(STR("Asia/Taipei"), &tz, &e), 0);
    r = rollup_new(tz);
    assert_int_equal(rollup_day(r, NEW_YEAR_2026 - 8 * HOUR - 1), 20251231);
    assert_int_equal(rollup_day(r, NEW_YEAR_2026 - 8 * HOUR), 20260101);
    assert_int_equal(rollup_day(r, NEW_YEAR_2026 + 16 * HOUR - 1), 20260101);
    assert_int_equal(rollup_day(r, NEW_YEAR_2026 + 16 * HOUR), 20260102);
    rollup_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollup__day_of_the_reporting_zone),
        cmocka_unit_test(test_rollup__sums_equal_details_at_midnight),
        cmocka_unit_test(test_rollup__sums_equal_details_in_a_zone_of_45_minutes),
        cmocka_unit_test(test_rollup__sums_equal_details_when_clocks_change),
        cmocka_unit_test(test_rollup__a_day_that_begins_at_one),
        cmocka_unit_test(test_rollup__ingest_free_text_is_capped),
        cmocka_unit_test(test_rollup__combinations_of_a_day_are_capped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
