/* test_metric.c -- sums over threads that run and that ended, and the text form. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/metric.h"

#define N_THREADS  4
#define PER_THREAD 100000

static void assert_has_line(const struct buf *b, const char *line)
{
    struct str text = buf_str(b), one;

    while (str_split(&text, '\n', &one))
        if (str_eq_c(one, line))
            return;
    fail_msg("no line: %s", line);
}

static void test_metric__counts_by_label(void **state)
{
    metric_add(METRIC_HTTP_REQUESTS, 1, 3);
    metric_add(METRIC_HTTP_REQUESTS, 4, 1);
    metric_add(METRIC_HTTP_REQUESTS, 1, 2);
    assert_int_equal(metric_value(METRIC_HTTP_REQUESTS, 1), 5);
    assert_int_equal(metric_value(METRIC_HTTP_REQUESTS, 4), 1);
    assert_int_equal(metric_value(METRIC_HTTP_REQUESTS, 0), 0);
    assert_int_equal(metric_value(METRIC_HTTP_REQUESTS, 99), 0);
}

static void *count(void *p)
{
    for (int i = 0; i < PER_THREAD; i++) {
        metric_add(METRIC_HTTP_BYTES_IN, 0, 2);
        metric_gauge_add(METRIC_STORE_QUEUE, i % 2 ? -1 : 1);
    }
    return NULL;
}

static void *read_all(void *p)
{
    uint64_t last = 0;

    for (int i = 0; i < 200; i++) {
        uint64_t now = metric_value(METRIC_HTTP_BYTES_IN, 0);

        if (now < last)
            return p; /* not NULL */
        last = now;
    }
    return NULL;
}

static void test_metric__keeps_the_sums_of_ended_threads(void **state)
{
    pthread_t threads[N_THREADS + 1];
    void *shrank;

    for (int t = 0; t < N_THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, count, NULL), 0);
    assert_int_equal(pthread_create(&threads[N_THREADS], NULL, read_all, threads), 0);
    for (int t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);
    pthread_join(threads[N_THREADS], &shrank);
    assert_null(shrank); /* a thread's end moves its sum: it is never missing */
    assert_int_equal(metric_value(METRIC_HTTP_BYTES_IN, 0), 2 * N_THREADS * PER_THREAD);
    assert_int_equal(metric_value(METRIC_STORE_QUEUE, 0), 0);
}

static void test_metric__gauges(void **state)
{
    metric_gauge_set(METRIC_CATALOG_GENERATION, 12);
    assert_int_equal(metric_value(METRIC_CATALOG_GENERATION, 0), 12);
    metric_gauge_add(METRIC_CATALOG_GENERATION, -13);
    assert_int_equal(metric_value(METRIC_CATALOG_GENERATION, 0), 0); /* as -1 in the text */
}

static void test_metric__renders(void **state)
{
    struct buf b = BUF_INIT(1 << 20);

    metric_observe_us(METRIC_PROBE_SECONDS, 50000); /* a bound belongs to its bucket */
    metric_observe_us(METRIC_PROBE_SECONDS, 50001);
    metric_observe_us(METRIC_PROBE_SECONDS, 500000000);
    assert_int_equal(metric_value(METRIC_PROBE_SECONDS, 0), 3);
    metric_render(&b);
    assert_has_line(&b, "# TYPE gatehouse_http_requests_total counter");
    assert_has_line(&b, "gatehouse_http_requests_total{class=\"2xx\"} 5");
    assert_has_line(&b, "gatehouse_http_requests_total{class=\"1xx\"} 0");
    assert_has_line(&b, "# TYPE gatehouse_catalog_generation gauge");
    assert_has_line(&b, "gatehouse_catalog_generation -1");
    assert_has_line(&b, "# TYPE gatehouse_probe_duration_seconds histogram");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_bucket{le=\"0.05\"} 1");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_bucket{le=\"0.1\"} 2");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_bucket{le=\"120\"} 2");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_bucket{le=\"+Inf\"} 3");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_sum 500.100001");
    assert_has_line(&b, "gatehouse_probe_duration_seconds_count 3");
    assert_has_line(&b, "# HELP gatehouse_sse_clients Clients that follow the live stream now.");
    buf_release(&b);
}

static void test_metric__labels_from_above(void **state)
{
    static const char *const names[] = {"ok", "we\"ird\\\n"};
    struct buf b = BUF_INIT(1 << 20);

    metric_add(METRIC_PROBES, 7, 4); /* not named: its number, so that nothing is hidden */
    metric_set_labels(METRIC_PROBES, names, 2);
    metric_add(METRIC_PROBES, 1, 2);
    metric_render(&b);
    assert_has_line(&b, "gatehouse_probes_total{outcome=\"ok\"} 0");
    assert_has_line(&b, "gatehouse_probes_total{outcome=\"we\\\"ird\\\\\\n\"} 2");
    assert_has_line(&b, "gatehouse_probes_total{outcome=\"7\"} 4");
    assert_null(strstr(buf_cstr(&b), "outcome=\"6\""));
    buf_release(&b);
}

static void collect(void *ctx, struct buf *out)
{
    metric_head(out, "gatehouse_test", "gauge", "back\\slash\nand line");
    metric_line(out, "gatehouse_test", "model", str_of(ctx), 0.25);
    metric_line(out, "gatehouse_test", NULL, STR_NONE, (double)INFINITY);
    metric_line(out, "gatehouse_test", NULL, STR_NONE, (double)NAN);
    metric_line(out, "gatehouse_test", NULL, STR_NONE, 1e15);
}

static void test_metric__collectors(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    char name[] = "a\"b";

    metric_register(collect, name);
    metric_render(&b);
    assert_has_line(&b, "# HELP gatehouse_test back\\\\slash\\nand line");
    assert_has_line(&b, "gatehouse_test{model=\"a\\\"b\"} 0.25");
    assert_has_line(&b, "gatehouse_test +Inf");
    assert_has_line(&b, "gatehouse_test NaN");
    assert_has_line(&b, "gatehouse_test 1e+15");
    buf_release(&b);
}

static void test_metric__lines_are_whole_at_the_ceiling(void **state)
{
    for (size_t max = 0; max < 2000; max += 7) {
        struct buf b = BUF_INIT(max);
        char name[] = "x";

        collect(name, &b);
        assert_true(buf_len(&b) == 0 || buf_cstr(&b)[buf_len(&b) - 1] == '\n');
        buf_release(&b);
    }
}

static void test_metric__long_label_values_are_cut(void **state)
{
    struct buf b = BUF_INIT(10000);
    char value[2001];

    memset(value, '"', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    metric_line(&b, "m", "l", str_of(value), 1);
    assert_true(buf_len(&b) > 400 && buf_len(&b) < 600);
    assert_true(str_ends(buf_str(&b), STR("\\\"\"} 1\n")));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metric__counts_by_label),
        cmocka_unit_test(test_metric__keeps_the_sums_of_ended_threads),
        cmocka_unit_test(test_metric__gauges),
        cmocka_unit_test(test_metric__renders),
        cmocka_unit_test(test_metric__labels_from_above),
        cmocka_unit_test(test_metric__collectors),
        cmocka_unit_test(test_metric__lines_are_whole_at_the_ceiling),
        cmocka_unit_test(test_metric__long_label_values_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
