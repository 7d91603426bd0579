/* test_health.c -- window, averages and each transition of the breaker, on a clock of the test's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "health/health.h"

#include <pthread.h>

#define T0 1767225600000

struct news {
    unsigned count;
    enum breaker_state from, to;
    enum outcome_class fault;
    int64_t channel_id;
    char model[64];
};

static void on_news(void *ctx, int64_t channel_id, struct str model, enum breaker_state from, enum breaker_state to,
                    enum outcome_class fault)
{
    struct news *n = ctx;

    n->count++;
    n->channel_id = channel_id;
    str_copy(n->model, sizeof(n->model), model);
    n->from = from;
    n->to = to;
    n->fault = fault;
}

struct fixture {
    struct health *h;
    struct health_cell *c;
    struct news news;
    mono_ms now;
    utc_ms at;
};

static void begin(struct fixture *f)
{
    const struct health_config cfg = {.open_after = 3, .open_ms = 30000, .open_max_ms = 100000};

    memset(f, 0, sizeof(*f));
    f->h = health_new(&cfg);
    health_subscribe(f->h, on_news, &f->news);
    f->c = health_cell(f->h, 0, 7, STR("m"));
    f->now = 1000000;
    f->at = T0;
}

/* A second later. */
static void record(struct fixture *f, enum outcome o)
{
    f->now += 1000;
    f->at += 1000;
    health_record_at(f->h, f->c, o, 100000, 0, f->at, f->now);
}

static struct health_reading reading(const struct fixture *f)
{
    struct health_reading r;

    health_read(f->c, &r);
    return r;
}

static void open_it(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        record(f, OUTCOME_RATE_LIMITED);
    assert_int_equal(reading(f).breaker, BREAKER_OPEN);
}

static void test_health__a_new_cell_is_closed_and_empty(void **state)
{
    struct fixture f;
    struct health_reading r;

    begin(&f);
    r = reading(&f);
    assert_int_equal(r.breaker, BREAKER_CLOSED);
    assert_int_equal(r.samples, 0);
    assert_int_equal(r.good, 0);
    assert_int_equal(r.last_utc_ms, 0);
    assert_true(health_admit(f.h, f.c, f.now));
    assert_ptr_equal(health_cell(f.h, 0, 7, STR("m")), f.c);
    assert_ptr_not_equal(health_cell(f.h, 1, 7, STR("m")), f.c);
    assert_ptr_not_equal(health_cell(f.h, 0, 8, STR("m")), f.c);
    assert_ptr_not_equal(health_cell(f.h, 0, 7, STR("m2")), f.c);
    assert_int_equal(health_cells(f.h), 4);
    health_free(f.h);
}

static void test_health__window_holds_the_last_64(void **state)
{
    struct fixture f;

    begin(&f);
    for (int i = 0; i < 100; i++)
        record(&f, i % 2 ? OUTCOME_SERVER_ERROR : OUTCOME_OK);
    assert_int_equal(reading(&f).samples, 64);
    assert_int_equal(reading(&f).good, 32);
    assert_int_equal(reading(&f).window & 3, 2); /* newest in bit 0: bad, good before it */
    for (int i = 0; i < 10; i++)
        record(&f, OUTCOME_CANCELLED); /* says nothing about the channel */
    assert_int_equal(reading(&f).good, 32);
    assert_int_equal(reading(&f).last_outcome, OUTCOME_CANCELLED);
    health_free(f.h);
}

static void test_health__averages_follow_successes(void **state)
{
    struct fixture f;

    begin(&f);
    health_record_at(f.h, f.c, OUTCOME_OK, 800000, 80000, T0, f.now);
    assert_int_equal(reading(&f).latency_ewma_us, 800000);
    assert_int_equal(reading(&f).ttft_ewma_us, 80000);
    health_record_at(f.h, f.c, OUTCOME_OK, 1600000, 0, T0, f.now);
    assert_int_equal(reading(&f).latency_ewma_us, 900000);
    assert_int_equal(reading(&f).ttft_ewma_us, 80000);
    health_record_at(f.h, f.c, OUTCOME_TIMEOUT, 30000000, 0, T0, f.now);
    assert_int_equal(reading(&f).latency_ewma_us, 900000);
    health_free(f.h);
}

static void test_health__opens_after_failures_in_a_row(void **state)
{
    struct fixture f;
    struct health_reading r;

    begin(&f);
    record(&f, OUTCOME_SERVER_ERROR);
    record(&f, OUTCOME_SERVER_ERROR);
    record(&f, OUTCOME_OK); /* breaks the row */
    record(&f, OUTCOME_SERVER_ERROR);
    record(&f, OUTCOME_BAD_REQUEST); /* the caller's fault: neither breaks nor counts */
    record(&f, OUTCOME_SERVER_ERROR);
    assert_int_equal(f.news.count, 0);
    record(&f, OUTCOME_TIMEOUT);
    r = reading(&f);
    assert_int_equal(r.breaker, BREAKER_OPEN);
    assert_int_equal(r.fault, OUTCOME_CLASS_TIMEOUT);
    assert_int_equal(r.open_until_mono_ms, f.now + 30000);
    assert_int_equal(r.changed_utc_ms, f.at);
    assert_int_equal(f.news.count, 1);
    assert_int_equal(f.news.from, BREAKER_CLOSED);
    assert_int_equal(f.news.to, BREAKER_OPEN);
    assert_int_equal(f.news.fault, OUTCOME_CLASS_TIMEOUT);
    assert_int_equal(f.news.channel_id, 7);
    assert_string_equal(f.news.model, "m");
    assert_false(health_admit(f.h, f.c, f.now));
    assert_false(health_admit(f.h, f.c, f.now + 29999));
    record(&f, OUTCOME_SERVER_ERROR); /* more of the same changes nothing */
    assert_int_equal(reading(&f).open_until_mono_ms, r.open_until_mono_ms);
    assert_int_equal(f.news.count, 1);
    health_free(f.h);
}

static void test_health__half_open_lets_one_trial_go(void **state)
{
    struct fixture f;

    begin(&f);
    open_it(&f);
    f.now += 30000;
    assert_true(health_admit(f.h, f.c, f.now));
    assert_int_equal(reading(&f).breaker, BREAKER_HALF_OPEN);
    assert_int_equal(reading(&f).fault, OUTCOME_CLASS_RATE_LIMIT);
    assert_false(health_admit(f.h, f.c, f.now));
    assert_false(health_admit(f.h, f.c, f.now + 5000));
    record(&f, OUTCOME_OK);
    assert_int_equal(reading(&f).breaker, BREAKER_CLOSED);
    assert_int_equal(reading(&f).fault, OUTCOME_CLASS_OK);
    assert_int_equal(reading(&f).open_until_mono_ms, 0);
    assert_int_equal(f.news.count, 3);
    assert_int_equal(f.news.from, BREAKER_HALF_OPEN);
    assert_int_equal(f.news.to, BREAKER_CLOSED);
    assert_true(health_admit(f.h, f.c, f.now));
    record(&f, OUTCOME_RATE_LIMITED); /* the row begins anew */
    assert_int_equal(reading(&f).breaker, BREAKER_CLOSED);
    health_free(f.h);
}

static void test_health__a_failed_trial_doubles_the_pause(void **state)
{
    static const uint64_t pauses[] = {30000, 60000, 100000, 100000};
    struct fixture f;

    begin(&f);
    open_it(&f);
    for (unsigned i = 0; i < ARRAY_LEN(pauses); i++) {
        struct health_reading r = reading(&f);

        assert_int_equal(r.open_until_mono_ms - f.now, pauses[i]);
        assert_false(health_admit(f.h, f.c, r.open_until_mono_ms - 1));
        f.now = r.open_until_mono_ms;
        assert_true(health_admit(f.h, f.c, f.now));
        record(&f, OUTCOME_SERVER_ERROR);
        assert_int_equal(reading(&f).breaker, BREAKER_OPEN);
        assert_int_equal(reading(&f).fault, OUTCOME_CLASS_UPSTREAM);
    }
    f.now = reading(&f).open_until_mono_ms;
    assert_true(health_admit(f.h, f.c, f.now));
    record(&f, OUTCOME_OK); /* closed: doubling starts over */
    open_it(&f);
    assert_int_equal(reading(&f).open_until_mono_ms, f.now + 30000);
    health_free(f.h);
}

static void test_health__a_trial_without_verdict_lets_the_next_go(void **state)
{
    struct fixture f;

    begin(&f);
    open_it(&f);
    f.now += 30000;
    assert_true(health_admit(f.h, f.c, f.now));
    record(&f, OUTCOME_CANCELLED);
    assert_int_equal(reading(&f).breaker, BREAKER_HALF_OPEN);
    assert_true(health_admit(f.h, f.c, f.now));
    assert_false(health_admit(f.h, f.c, f.now + 99999));
    assert_true(health_admit(f.h, f.c, f.now + 100000)); /* never recorded: gone */
    assert_false(health_admit(f.h, f.c, f.now + 100001));
    health_free(f.h);
}

static void test_health__a_success_from_before_does_not_close(void **state)
{
    struct fixture f;

    begin(&f);
    open_it(&f);
    health_record_at(f.h, f.c, OUTCOME_OK, 5000000, 0, f.at + 4999, f.now); /* began 1 ms before it opened */
    assert_int_equal(reading(&f).breaker, BREAKER_OPEN);
    health_record_at(f.h, f.c, OUTCOME_OK, 5000000, 0, f.at + 5000, f.now);
    assert_int_equal(reading(&f).breaker, BREAKER_CLOSED);
    assert_int_equal(f.news.from, BREAKER_OPEN);
    health_free(f.h);
}

static void test_health__probes_of_the_ledger_feed_cells(void **state)
{
    struct ledger_record records[4] = {
        {.kind = LEDGER_PROBE, .call = {.model = STR("a"), .outcome = OUTCOME_OK, .duration_us = 9}, .probe = {.item_id = 3}},
        {.kind = LEDGER_CALL, .call = {.model = STR("b"), .channel_id = 3}},
        {.kind = LEDGER_RUN, .run = {.channel_id = 3}},
        {.kind = LEDGER_PROBE, .call = {.model = STR("c")}, .probe = {.item_kind = 1, .item_id = 3}},
    };
    struct health_reading r;
    struct fixture f;

    begin(&f);
    health_on_ledger(f.h, records, ARRAY_LEN(records));
    assert_int_equal(health_cells(f.h), 2); /* the fixture's and a's */
    health_read(health_cell(f.h, 0, 3, STR("a")), &r);
    assert_int_equal(r.good, 1);
    assert_int_equal(r.latency_ewma_us, 9);
    health_free(f.h);
}

static void count_cell(void *ctx, int64_t channel_id, struct str model, const struct health_reading *r)
{
    *(int64_t *)ctx += channel_id + r->samples;
}

static void test_health__cells_are_bounded(void **state)
{
    struct fixture f;
    int64_t sum = 0;
    char model[32];

    begin(&f);
    record(&f, OUTCOME_OK);
    for (int i = 1; i < HEALTH_CELLS_MAX; i++) {
        snprintf(model, sizeof(model), "%d", i);
        assert_non_null(health_cell(f.h, 0, 1, str_of(model)));
    }
    assert_null(health_cell(f.h, 0, 1, STR("one too many")));
    assert_ptr_equal(health_cell(f.h, 0, 7, STR("m")), f.c); /* old ones are found all the same */
    health_each(f.h, count_cell, &sum);
    assert_int_equal(sum, 7 + 1 + HEALTH_CELLS_MAX - 1);
    health_free(f.h);
}

static void *hammer(void *arg)
{
    struct fixture *f = arg;
    struct health_reading r;

    for (unsigned i = 0; i < 20000; i++) {
        health_record_at(f->h, f->c, i % 5 < 3 ? OUTCOME_SERVER_ERROR : OUTCOME_OK, 1000, 10, T0 + i, i);
        health_admit(f->h, f->c, i);
        health_read(f->c, &r);
        if (r.good > r.samples || r.samples > 64)
            abort();
    }
    return NULL;
}

static void test_health__many_threads(void **state)
{
    const struct health_config cfg = {0};
    pthread_t threads[4];
    struct fixture f;

    begin(&f);
    health_free(f.h);
    f.h = health_new(&cfg); /* without the counter, which is not for threads */
    f.c = health_cell(f.h, 0, 7, STR("m"));
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &f), 0);
    for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(reading(&f).samples, 64);
    health_free(f.h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health__a_new_cell_is_closed_and_empty),
        cmocka_unit_test(test_health__window_holds_the_last_64),
        cmocka_unit_test(test_health__averages_follow_successes),
        cmocka_unit_test(test_health__opens_after_failures_in_a_row),
        cmocka_unit_test(test_health__half_open_lets_one_trial_go),
        cmocka_unit_test(test_health__a_failed_trial_doubles_the_pause),
        cmocka_unit_test(test_health__a_trial_without_verdict_lets_the_next_go),
        cmocka_unit_test(test_health__a_success_from_before_does_not_close),
        cmocka_unit_test(test_health__probes_of_the_ledger_feed_cells),
        cmocka_unit_test(test_health__cells_are_bounded),
        cmocka_unit_test(test_health__many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
