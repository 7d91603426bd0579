/* test_clock.c -- the calendar against known days and against the C library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_clock__monotonic_never_steps_back(void **state)
{
    uint64_t last = clock_mono_us();

    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_us();

        assert_true(now >= last);
        last = now;
    }
    mono_ms ms = clock_mono_ms();

    assert_true(ms >= last / 1000 && ms < last / 1000 + 60000);
}

static void test_clock__utc_is_the_wall_clock(void **state)
{
    time_t before = time(NULL);
    utc_ms ms = clock_utc_ms();
    int64_t us = clock_utc_us();

    /* time() may read a coarser clock that lags a tick */
    assert_true(ms >= (int64_t)before * 1000 && ms < ((int64_t)before + 60) * 1000);
    assert_true(us / 1000 >= ms && us / 1000 < ms + 60000);
}

static void test_clock__iso_of_known_times(void **state)
{
    static const struct {
        utc_ms t;
        const char *iso, *http;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT"},
        {784111777000, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 */
        {951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4107542399999, "2100-02-28T23:59:59.999Z", "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"},
        {2147483648000, "2038-01-19T03:14:08.000Z", "Tue, 19 Jan 2038 03:14:08 GMT"},
        {-62167219200000, "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 GMT"},
        {253402300799999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z", "Sat, 01 Jan 0000 00:00:00 GMT"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char iso[CLOCK_ISO_SIZE], http[CLOCK_HTTP_SIZE];

        clock_iso(rows[i].t, iso);
        clock_http(rows[i].t, http);
        assert_string_equal(iso, rows[i].iso);
        assert_string_equal(http, rows[i].http);
        assert_int_equal(strlen(iso), CLOCK_ISO_SIZE - 1);
        assert_int_equal(strlen(http), CLOCK_HTTP_SIZE - 1);
    }
}

static void test_clock__agrees_with_gmtime_r(void **state)
{
    /* some 20 hours apart, from the year 1600 to 2400: every day of two Gregorian periods */
    for (int64_t s = -11676096000; s < 13569465600; s += 71993) {
        time_t seconds = s;
        struct tm tm;
        struct clock_utc c;
        char http[CLOCK_HTTP_SIZE], want[64];

        assert_non_null(gmtime_r(&seconds, &tm));
        clock_split_utc(s * 1000 + 7, &c);
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.hour, tm.tm_hour);
        assert_int_equal(c.minute, tm.tm_min);
        assert_int_equal(c.second, tm.tm_sec);
        assert_int_equal(c.ms, 7);
        assert_true(clock_join_utc(&c) == s * 1000 + 7);
        clock_http(s * 1000, http);
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_string_equal(http, want);
    }
}

static void test_clock__join_undoes_split_at_the_ends(void **state)
{
    static const utc_ms times[] = {INT64_MAX / 2, INT64_MIN / 2, -62167219200001, INT64_MAX,
                                   INT64_MIN};

    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct clock_utc c;

        clock_split_utc(times[i], &c);
        assert_in_range(c.month, 1, 12);
        assert_in_range(c.day, 1, 31);
        if (times[i] != INT64_MIN) /* its day begins before the first instant there is */
            assert_true(clock_join_utc(&c) == times[i]);
    }
}

static void test_clock__join_carries_over(void **state)
{
    struct clock_utc c = {.year = 2026, .month = 13, .day = 32, .hour = 24};
    char iso[CLOCK_ISO_SIZE];

    clock_iso(clock_join_utc(&c), iso);
    assert_string_equal(iso, "2027-02-02T00:00:00.000Z");
    c = (struct clock_utc){.year = 2024, .month = 0, .day = 0, .second = -1};
    clock_iso(clock_join_utc(&c), iso);
    assert_string_equal(iso, "2023-11-29T23:59:59.000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock__monotonic_never_steps_back),
        cmocka_unit_test(test_clock__utc_is_the_wall_clock),
        cmocka_unit_test(test_clock__iso_of_known_times),
        cmocka_unit_test(test_clock__agrees_with_gmtime_r),
        cmocka_unit_test(test_clock__join_undoes_split_at_the_ends),
        cmocka_unit_test(test_clock__join_carries_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
