/* test_tz.c -- known instants, both days on which clocks change, damaged files, and agreement with
 * the C library over many zones and instants (asked in a child, because it wants TZ set). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/tz.h"

#define HOUR INT64_C(3600000)
#define DAY  (24 * HOUR)
#define STEP (19 * HOUR + 1000) /* walks over all times of day */

static const struct tz *zone(const char *name)
{
    const struct tz *z = NULL;
    struct err e = {0};

    if (tz_load(str_of(name), &z, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    return z;
}

static utc_ms utc(int year, int month, int day, int hour, int minute)
{
    struct clock_utc c = {year, month, day, hour, minute, 0, 0};

    return clock_join_utc(&c);
}

static void assert_offset(const char *name, utc_ms t, int32_t offset_s, const char *abbr)
{
    const char *got = NULL;

    assert_int_equal(tz_offset_s(zone(name), t, &got), offset_s);
    assert_string_equal(got, abbr);
    assert_int_equal(tz_offset_s(zone(name), t, NULL), offset_s);
}

static void test_tz__fixed_offsets(void **state)
{
    utc_ms t = utc(2026, 11, 21, 9, 0);

    assert_offset("UTC", t, 0, "UTC");
    assert_offset("Asia/Taipei", t, 8 * 3600, "CST");
    assert_offset("Asia/Kathmandu", t, 5 * 3600 + 45 * 60, "+0545");
    assert_string_equal(tz_name(zone("Asia/Taipei")), "Asia/Taipei");
}

static void test_tz__changes_to_the_second(void **state)
{
    utc_ms spring = utc(2026, 3, 29, 1, 0), autumn = utc(2026, 10, 25, 1, 0);

    assert_offset("Europe/Berlin", spring - 1, 3600, "CET");
    assert_offset("Europe/Berlin", spring, 7200, "CEST");
    assert_offset("Europe/Berlin", autumn - 1, 7200, "CEST");
    assert_offset("Europe/Berlin", autumn, 3600, "CET");

    assert_offset("America/New_York", utc(2026, 3, 8, 7, 0) - 1, -18000, "EST");
    assert_offset("America/New_York", utc(2026, 3, 8, 7, 0), -14400, "EDT");
    assert_offset("America/New_York", utc(2026, 11, 1, 6, 0) - 1, -14400, "EDT");
    assert_offset("America/New_York", utc(2026, 11, 1, 6, 0), -18000, "EST");

    /* half an hour, in the southern summer */
    assert_offset("Australia/Lord_Howe", utc(2026, 4, 4, 15, 0) - 1, 39600, "+11");
    assert_offset("Australia/Lord_Howe", utc(2026, 4, 4, 15, 0), 37800, "+1030");
    assert_offset("Australia/Lord_Howe", utc(2026, 10, 3, 15, 30) - 1, 37800, "+1030");
    assert_offset("Australia/Lord_Howe", utc(2026, 10, 3, 15, 30), 39600, "+11");
}

static void test_tz__far_future_follows_the_rule(void **state)
{
    assert_offset("Europe/Berlin", utc(2100, 3, 28, 1, 0) - 1, 3600, "CET");
    assert_offset("Europe/Berlin", utc(2100, 3, 28, 1, 0), 7200, "CEST");
    assert_offset("America/New_York", utc(2100, 7, 4, 12, 0), -14400, "EDT");
    assert_offset("Australia/Lord_Howe", utc(2100, 1, 1, 0, 0), 39600, "+11");
    assert_offset("Australia/Lord_Howe", utc(2100, 7, 1, 0, 0), 37800, "+1030");
    assert_offset("Asia/Taipei", utc(2100, 1, 1, 0, 0), 28800, "CST");
}

static void test_tz__split(void **state)
{
    struct tz_local l;

    tz_split(zone("Asia/Kathmandu"), utc(2026, 12, 31, 18, 15) + 999, &l);
    assert_int_equal(l.year, 2027);
    assert_int_equal(l.month, 1);
    assert_int_equal(l.day, 1);
    assert_int_equal(l.hour, 0);
    assert_int_equal(l.minute, 0);
    assert_int_equal(l.second, 0);
    assert_int_equal(l.offset_s, 20700);
    assert_int_equal(l.weekday, 5);
    tz_split(zone("UTC"), -1, &l); /* floor, not towards zero */
    assert_int_equal(l.year, 1969);
    assert_int_equal(l.second, 59);
    assert_int_equal(l.weekday, 3);
}

static void test_tz__join_in_gap_and_overlap(void **state)
{
    const struct tz *berlin = zone("Europe/Berlin"), *howe = zone("Australia/Lord_Howe");

    assert_int_equal(tz_join(berlin, 2026, 3, 29, 1, 59, 59), utc(2026, 3, 29, 1, 0) - 1000);
    assert_int_equal(tz_join(berlin, 2026, 3, 29, 2, 0, 0), utc(2026, 3, 29, 1, 0));
    assert_int_equal(tz_join(berlin, 2026, 3, 29, 2, 59, 59), utc(2026, 3, 29, 1, 0));
    assert_int_equal(tz_join(berlin, 2026, 3, 29, 3, 0, 0), utc(2026, 3, 29, 1, 0));
    assert_int_equal(tz_join(berlin, 2026, 10, 25, 2, 30, 0), utc(2026, 10, 25, 0, 30));
    assert_int_equal(tz_join(berlin, 2026, 10, 25, 3, 0, 0), utc(2026, 10, 25, 2, 0));
    assert_int_equal(tz_join(howe, 2026, 4, 5, 1, 45, 0), utc(2026, 4, 4, 14, 45));
    assert_int_equal(tz_join(howe, 2026, 10, 4, 2, 10, 0), utc(2026, 10, 3, 15, 30));
}

static void test_tz__join_normalises(void **state)
{
    const struct tz *z = zone("Asia/Taipei");

    assert_int_equal(tz_join(z, 2026, 1, 32, 8, 0, 0), utc(2026, 2, 1, 0, 0));
    assert_int_equal(tz_join(z, 2026, 13, 1, 8, 0, 0), utc(2027, 1, 1, 0, 0));
    assert_int_equal(tz_join(z, 2026, 0, 1, 8, 0, 0), utc(2025, 12, 1, 0, 0));
    assert_int_equal(tz_join(z, 2026, 1, 0, 8, 0, 0), utc(2025, 12, 31, 0, 0));
    assert_int_equal(tz_join(z, 2024, 2, 29, 8, -1, 60), utc(2024, 2, 29, 0, 0));
    assert_int_equal(tz_join(z, 2026, -11, 1, 8, 0, 0), utc(2025, 1, 1, 0, 0));
}

static void test_tz__days_of_23_24_and_25_hours(void **state)
{
    const struct tz *berlin = zone("Europe/Berlin"), *howe = zone("Australia/Lord_Howe");
    utc_ms spring = utc(2026, 3, 28, 23, 0), autumn = utc(2026, 10, 24, 22, 0);

    assert_int_equal(tz_day_start(berlin, utc(2026, 3, 29, 12, 0)), spring);
    assert_int_equal(tz_day_next(berlin, spring), spring + 23 * HOUR);
    assert_int_equal(tz_day_start(berlin, autumn), autumn);
    assert_int_equal(tz_day_start(berlin, autumn - 1), autumn - DAY);
    assert_int_equal(tz_day_next(berlin, autumn), autumn + 25 * HOUR);
    assert_int_equal(tz_day_next(berlin, autumn + 25 * HOUR - 1), autumn + 25 * HOUR);

    utc_ms start = tz_join(howe, 2026, 10, 4, 0, 0, 0);

    assert_int_equal(tz_day_next(howe, start) - start, 23 * HOUR + HOUR / 2);
    start = tz_join(howe, 2026, 4, 5, 0, 0, 0);
    assert_int_equal(tz_day_next(howe, start) - start, 24 * HOUR + HOUR / 2);
}

static void test_tz__midnight_that_does_not_exist(void **state)
{
    /* Beirut springs forward at 00:00, Samoa left out 30 December 2011 */
    const struct tz *beirut = zone("Asia/Beirut"), *apia = zone("Pacific/Apia");
    utc_ms start = utc(2026, 3, 28, 22, 0);
    struct tz_local l;

    assert_int_equal(tz_day_start(beirut, start + 5 * HOUR), start);
    tz_split(beirut, start, &l);
    assert_int_equal(l.day, 29);
    assert_int_equal(l.hour, 1);
    assert_int_equal(tz_day_next(beirut, start - 1), start);

    start = tz_join(apia, 2011, 12, 29, 0, 0, 0);
    tz_split(apia, tz_day_next(apia, start), &l);
    assert_int_equal(tz_day_next(apia, start) - start, DAY);
    assert_int_equal(l.day, 31);
    assert_int_equal(tz_join(apia, 2011, 12, 30, 12, 0, 0), tz_day_next(apia, start));
}

/* St John's went back at 00:01 to 23:01 of the day before: that day has two ends. */
static void test_tz__day_next_is_behind_where_midnight_comes_twice(void **state)
{
    const struct tz *z = zone("America/St_Johns");
    utc_ms change = utc(2010, 11, 7, 2, 31);
    struct tz_local l;

    tz_split(z, change - 1, &l);
    assert_int_equal(l.day, 7);
    tz_split(z, change, &l);
    assert_int_equal(l.day, 6);
    assert_int_equal(l.hour, 23);
    assert_int_equal(tz_day_next(z, change), change + 59 * 60000);
    assert_int_equal(tz_day_next(z, change - 61000), change - 60000);
    assert_int_equal(tz_day_start(z, change + 2 * HOUR), change - 60000);
}

static void test_tz__days_follow_one_another(void **state)
{
    static const char *const names[] = {"Asia/Taipei",   "Asia/Kathmandu",      "America/New_York",
                                        "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca",
                                        "America/Havana"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct tz *z = zone(names[i]);
        utc_ms t = tz_day_start(z, utc(2035, 1, 1, 12, 0)); /* over the end of the tables */

        while (t < utc(2040, 1, 1, 0, 0)) {
            utc_ms next = tz_day_next(z, t);
            struct tz_local a, b;

            assert_true(next - t >= 22 * HOUR && next - t <= 26 * HOUR);
            assert_int_equal(tz_day_start(z, t), t);
            assert_int_equal(tz_day_start(z, next - 1), t);
            tz_split(z, t, &a);
            tz_split(z, next, &b);
            assert_int_equal((a.weekday + 1) % 7, b.weekday);
            t = next;
        }
    }
}

static void test_tz__bounds_do_not_overflow(void **state)
{
    const struct tz *z = zone("Europe/Berlin");
    struct tz_local l;

    tz_split(z, INT64_MAX, &l);
    assert_int_equal(l.year, 275760);
    tz_split(z, INT64_MIN, &l);
    assert_int_equal(l.year, -271821);
    assert_int_equal(tz_day_next(z, INT64_MAX), INT64_C(8640000000000000));
    assert_true(tz_day_start(z, INT64_MIN) <= -INT64_C(8630000000000000));
    assert_true(tz_join(z, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX) > 0);
    assert_true(tz_join(z, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN) < 0);
}

/* The C library as the judge. ------------------------------------------------------------------ */

/* Instants around every change from 1975 to 2101 and in between. */
static int compare_with_libc(const char *name)
{
    const struct tz *z = zone(name);
    int32_t last = tz_offset_s(z, utc(1975, 1, 1, 0, 0), NULL);

    for (utc_ms t = utc(1975, 1, 1, 0, 0); t < utc(2101, 1, 1, 0, 0); t += STEP) {
        utc_ms probe[3] = {t, t, t};
        int32_t now = tz_offset_s(z, t, NULL);

        if (now != last) { /* the second of the change by bisection */
            utc_ms low = t - STEP, high = t;

            while (high - low > 1000) {
                utc_ms mid = low + (high - low) / 2000 * 1000;

                if (tz_offset_s(z, mid, NULL) == last)
                    low = mid;
                else
                    high = mid;
            }
            probe[1] = high;
            probe[2] = high - 1000;
        }
        last = now;
        for (size_t i = 0; i < ARRAY_LEN(probe); i++) {
            time_t s = (time_t)(probe[i] / 1000);
            const char *abbr;
            struct tz_local l;
            struct tm tm;

            localtime_r(&s, &tm);
            tz_split(z, probe[i], &l);
            if (tm.tm_gmtoff != tz_offset_s(z, probe[i], &abbr) || strcmp(tm.tm_zone, abbr) != 0 ||
                tm.tm_year + 1900 != l.year || tm.tm_mon + 1 != l.month || tm.tm_mday != l.day ||
                tm.tm_hour != l.hour || tm.tm_min != l.minute || tm.tm_sec != l.second ||
                tm.tm_wday != l.weekday || tm.tm_gmtoff != l.offset_s) {
                fprintf(stderr, "# %s at %lld: libc %ld %s, ours %d %s\n", name, (long long)s,
                        tm.tm_gmtoff, tm.tm_zone, l.offset_s, abbr);
                return 1;
            }
        }
    }
    return 0;
}

static void test_tz__agrees_with_the_c_library(void **state)
{
    static const char *const names[] = {
        "Asia/Taipei",       "Asia/Kathmandu",   "America/New_York",    "Europe/Berlin",
        "Europe/Dublin",     "Europe/London",    "Australia/Lord_Howe", "America/Sao_Paulo",
        "Africa/Casablanca", "America/Nuuk",     "Asia/Gaza",           "Pacific/Apia",
        "Antarctica/Troll",  "America/St_Johns", "Africa/Monrovia",     "EST5EDT",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        pid_t child = fork();
        int status = 0;

        assert_true(child >= 0);
        if (child == 0) {
            setenv("TZ", names[i], 1);
            tzset();
            _exit(compare_with_libc(names[i]));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

/* The system's zone. --------------------------------------------------------------------------- */

static void assert_system_zone(const char *tz, const char *name, int32_t offset_s)
{
    const struct tz *z;
    struct err e;
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        setenv("TZ", tz, 1);
        tz_global_release();
        _exit(tz_load(STR(""), &z, &e) == 0 && strcmp(tz_name(z), name) == 0 &&
                      tz_offset_s(z, utc(2026, 11, 21, 0, 0), NULL) == offset_s
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_tz__system_zone_honours_tz(void **state)
{
    assert_system_zone("Asia/Taipei", "Asia/Taipei", 28800);
    assert_system_zone(":Asia/Taipei", "Asia/Taipei", 28800);
    assert_system_zone("/usr/share/zoneinfo/Asia/Taipei", "Asia/Taipei", 28800);
    assert_system_zone("CST-8", "CST-8", 28800);
    assert_system_zone("<+0545>-5:45", "<+0545>-5:45", 20700);
    assert_system_zone("EST5EDT,M3.2.0,M11.1.0", "EST5EDT,M3.2.0,M11.1.0", -18000);
    assert_system_zone("", "UTC", 0);
}

static void test_tz__system_zone_without_tz(void **state)
{
    const struct tz *z = NULL, *again = NULL;
    struct err e = {0};

    unsetenv("TZ");
    assert_int_equal(tz_load(STR(""), &z, &e), 0);
    assert_int_equal(tz_load(STR("localtime"), &again, &e), 0);
    assert_ptr_equal(z, again); /* loaded once */
    assert_ptr_equal(zone("Asia/Taipei"), zone("Asia/Taipei"));
}

static void test_tz__refuses_bad_names(void **state)
{
    static const char *const names[] = {
        "../../../etc/passwd", "/etc/localtime", "Asia/../UTC",  "Asia",
        "Asia/Atlantis",       "zone.tab",       "Asia/Taipei ", "Asia\\Taipei",
        "tzdata.zi",           "A\xc3\xa9"};
    char longest[200];
    const struct tz *z = NULL;
    struct err e = {0};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(tz_load(str_of(names[i]), &z, &e), ERR_NOTFOUND);
        assert_true(e.text[0] != '\0');
    }
    memset(longest, 'A', sizeof(longest));
    assert_int_equal(tz_load(str_n(longest, sizeof(longest)), &z, &e), ERR_NOTFOUND);
    assert_int_equal(tz_load(str_n("UTC\0x", 5), &z, &e), ERR_NOTFOUND);
    assert_null(z);
}

/* Files from memory. --------------------------------------------------------------------------- */

static void be(struct buf *b, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        assert_int_equal(buf_add_char(b, (char)(v >> (8 * i) & 255)), 0);
}

static void head(struct buf *b, char version, uint32_t leap, uint32_t at, uint32_t types,
                 uint32_t chars)
{
    assert_int_equal(buf_add_str(b, STR("TZif")), 0);
    assert_int_equal(buf_add_char(b, version), 0);
    for (int i = 0; i < 15; i++)
        assert_int_equal(buf_add_char(b, 0), 0);
    be(b, 0, 4);
    be(b, 0, 4);
    be(b, leap, 4);
    be(b, at, 4);
    be(b, types, 4);
    be(b, chars, 4);
}

/* Version 2: +01:00 "AAA", from 1000 on +02:00 "BBB", from 2000 on by the rule. */
static void make_file(struct buf *b, const char *footer)
{
    buf_clear(b);
    head(b, '2', 0, 0, 1, 1);
    be(b, 0, 6); /* one type */
    be(b, 0, 1); /* one empty name */
    head(b, '2', 0, 2, 2, 8);
    be(b, 1000, 8);
    be(b, 2000, 8);
    be(b, 0x0100, 2);
    be(b, 3600, 4);
    be(b, 0x0000, 2);
    be(b, 7200, 4);
    be(b, 0x0104, 2);
    assert_int_equal(buf_add(b, "AAA\0BBB", 8), 0);
    assert_int_equal(buf_printf(b, "\n%s\n", footer), 0);
}

static int parse_size(const struct buf *b, size_t n)
{
    struct tz *z = NULL;
    struct err e = {0};
    char *exact = malloc(n ? n : 1);

    assert_non_null(exact);
    memcpy(exact, buf_cstr(b), n);

    int rc = tz_parse(STR("test"), str_n(exact, n), &z, &e);

    free(exact);
    tz_free(z);
    return rc;
}

static void test_tz__reads_a_file_from_memory(void **state)
{
    struct buf b = BUF_INIT(TZ_FILE_MAX + 1000);
    struct tz *z = NULL;
    struct err e = {0};
    const char *abbr;

    make_file(&b, "CCC-3");
    assert_int_equal(tz_parse(STR("test"), buf_str(&b), &z, &e), 0);
    assert_int_equal(tz_offset_s(z, 999999, &abbr), 3600);
    assert_string_equal(abbr, "AAA");
    assert_int_equal(tz_offset_s(z, 1000000, &abbr), 7200);
    assert_string_equal(abbr, "BBB");
    assert_int_equal(tz_offset_s(z, 2000000, &abbr), 10800);
    assert_string_equal(abbr, "CCC");
    tz_free(z);

    make_file(&b, ""); /* no rule: the last type for ever */
    assert_int_equal(tz_parse(STR("test"), buf_str(&b), &z, &e), 0);
    assert_int_equal(tz_offset_s(z, utc(2100, 1, 1, 0, 0), &abbr), 3600);
    tz_free(z);
    buf_release(&b);
}

static void test_tz__refuses_damaged_files(void **state)
{
    struct buf b = BUF_INIT(TZ_FILE_MAX + 1000);
    /* where a byte of make_file() is set to what: second header at 51, its data at 95 */
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {
        {0, 'X'},        /* magic */
        {4, '1'},        /* no such version */
        {4, '5'},        /* */
        {32, 255},       /* more transitions than bytes, first block */
        {51, 'X'},       /* second magic */
        {51 + 31, 1},    /* leap seconds */
        {51 + 32, 255},  /* more transitions than bytes */
        {51 + 35, 3},    /* one transition too many */
        {51 + 39, 0},    /* no type */
        {51 + 43, 0},    /* no name */
        {95 + 6, 255},   /* transitions not ascending: 1000 -> 65512 */
        {95 + 16, 2},    /* type index past the end */
        {95 + 18, 0x7f}, /* offset of years */
        {95 + 22, 2},    /* daylight flag */
        {95 + 23, 8},    /* name past the end */
        {95 + 38, 'x'},  /* footer */
    };

    make_file(&b, "CCC-3");
    assert_int_equal(parse_size(&b, buf_len(&b)), 0);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        make_file(&b, "CCC-3");
        b.ptr[b.head + faults[i].at] = (char)faults[i].value;
        if (parse_size(&b, buf_len(&b)) != ERR_SYNTAX)
            fail_msg("fault %zu was accepted", i);
    }
    make_file(&b, "CCC-3");
    for (size_t n = 0; n < buf_len(&b); n++)
        assert_int_equal(parse_size(&b, n), ERR_SYNTAX);
    assert_int_equal(buf_reserve(&b, TZ_FILE_MAX), 0);
    while (buf_len(&b) <= TZ_FILE_MAX)
        assert_int_equal(buf_add_char(&b, 0), 0);
    assert_int_equal(parse_size(&b, buf_len(&b)), ERR_LIMIT);
    buf_release(&b);
}

static void test_tz__rules(void **state)
{
    static const char *const good[] = {"UTC0",
                                       "CET-1CEST",
                                       "CET-1CEST,M3.5.0,M10.5.0/3",
                                       "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
                                       "EET-2EEST,M3.4.4/50,M10.4.4/50",
                                       "AAA+24:59:59",
                                       "XXX3EDT4,0/0,J365/23",
                                       "AAA0BBB,J60/167:59:59,365/-167"};
    static const char *const bad[] = {"",
                                      "U",
                                      "UT0",
                                      "UTC",
                                      "UTC25",
                                      "UTC0:60",
                                      "UTC0:0:60",
                                      "<UTC0",
                                      "<U>0",
                                      "UTC0 ",
                                      "ABCDEFGHIJKLMNOPQ0",
                                      "CET-1CEST,",
                                      "CET-1CEST,M3.5.0",
                                      "CET-1CEST,M3.5.0,M10.5.0/3,",
                                      "CET-1CEST,M0.5.0,M10.5.0",
                                      "CET-1CEST,M13.5.0,M10.5.0",
                                      "CET-1CEST,M3.0.0,M10.5.0",
                                      "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0",
                                      "CET-1CEST,J0,J1",
                                      "CET-1CEST,J366,J1",
                                      "CET-1CEST,366,1",
                                      "CET-1CEST,M3.5.0/168,M10.5.0",
                                      "CET--1",
                                      "CET+-1"};
    struct tz *z = NULL;
    struct err e = {0};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (tz_parse_rule(STR("x"), str_of(good[i]), &z, &e) < 0)
            fail_msg("'%s' was refused", good[i]);
        tz_free(z);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (tz_parse_rule(STR("x"), str_of(bad[i]), &z, &e) != ERR_SYNTAX)
            fail_msg("'%s' was accepted", bad[i]);
}

static void test_tz__rule_of_summer_all_year(void **state)
{
    struct tz *z = NULL;
    struct err e = {0};

    assert_int_equal(tz_parse_rule(STR("x"), STR("EST5EDT,0/0,J365/25"), &z, &e), 0);
    for (utc_ms t = utc(2025, 12, 30, 0, 0); t < utc(2026, 1, 3, 0, 0); t += HOUR / 2)
        assert_int_equal(tz_offset_s(z, t, NULL), -14400);
    assert_int_equal(tz_day_next(z, utc(2026, 1, 1, 3, 59)), utc(2026, 1, 1, 4, 0));
    tz_free(z);
}

static void test_tz__julian_days_skip_the_leap_day(void **state)
{
    struct tz *z = NULL;
    struct err e = {0};

    /* from 1 March (J60 in every year) to day 59 counted with it: 29 February or 1 March */
    assert_int_equal(tz_parse_rule(STR("x"), STR("AAA0BBB,J60/0,J300/0"), &z, &e), 0);
    assert_int_equal(tz_offset_s(z, utc(2024, 3, 1, 0, 0) - 1, NULL), 0);
    assert_int_equal(tz_offset_s(z, utc(2024, 3, 1, 0, 0), NULL), 3600);
    assert_int_equal(tz_offset_s(z, utc(2026, 3, 1, 0, 0) - 1, NULL), 0);
    assert_int_equal(tz_offset_s(z, utc(2026, 3, 1, 0, 0), NULL), 3600);
    tz_free(z);
    assert_int_equal(tz_parse_rule(STR("x"), STR("AAA0BBB,59/0,300/0"), &z, &e), 0);
    assert_int_equal(tz_offset_s(z, utc(2024, 2, 29, 0, 0), NULL), 3600);
    assert_int_equal(tz_offset_s(z, utc(2026, 2, 28, 23, 0), NULL), 0);
    tz_free(z);
}

static int tear_down(void **state)
{
    tz_global_release();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tz__fixed_offsets),
        cmocka_unit_test(test_tz__changes_to_the_second),
        cmocka_unit_test(test_tz__far_future_follows_the_rule),
        cmocka_unit_test(test_tz__split),
        cmocka_unit_test(test_tz__join_in_gap_and_overlap),
        cmocka_unit_test(test_tz__join_normalises),
        cmocka_unit_test(test_tz__days_of_23_24_and_25_hours),
        cmocka_unit_test(test_tz__midnight_that_does_not_exist),
        cmocka_unit_test(test_tz__day_next_is_behind_where_midnight_comes_twice),
        cmocka_unit_test(test_tz__days_follow_one_another),
        cmocka_unit_test(test_tz__bounds_do_not_overflow),
        cmocka_unit_test(test_tz__agrees_with_the_c_library),
        cmocka_unit_test(test_tz__system_zone_honours_tz),
        cmocka_unit_test(test_tz__system_zone_without_tz),
        cmocka_unit_test(test_tz__refuses_bad_names),
        cmocka_unit_test(test_tz__reads_a_file_from_memory),
        cmocka_unit_test(test_tz__refuses_damaged_files),
        cmocka_unit_test(test_tz__rules),
        cmocka_unit_test(test_tz__rule_of_summer_all_year),
        cmocka_unit_test(test_tz__julian_days_skip_the_leap_day),
    };

    return cmocka_run_group_tests(tests, NULL, tear_down);
}
