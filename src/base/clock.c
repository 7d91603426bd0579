/* clock.c -- the clocks and the calendar. Days are counted by a formula over years that begin in
 * March, so that the leap day is the last of its year and needs no table. */
#include "base/clock.h"

#define MS_PER_DAY   INT64_C(86400000)
#define DAYS_PER_400 146097                   /* the Gregorian calendar repeats after 400 years */
#define DAYS_TO_1970 719468                   /* from 0000-03-01 */
#define ISO_FIRST_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define ISO_LAST_MS  INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static struct timespec now(clockid_t clock)
{
    struct timespec ts = {0};
    int rc = clock_gettime(clock, &ts);

    assert(rc == 0); /* both clocks always exist */
    (void)rc;
    return ts;
}

uint64_t clock_mono_us(void)
{
    struct timespec ts = now(CLOCK_MONOTONIC); /* never negative */

    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

mono_ms clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_utc_us(void)
{
    struct timespec ts = now(CLOCK_REALTIME);

    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

utc_ms clock_utc_ms(void)
{
    struct timespec ts = now(CLOCK_REALTIME);

    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void clock_split_utc(utc_ms t, struct clock_utc *ret)
{
    int64_t day = floor_div(t, MS_PER_DAY);
    int64_t ms = t % MS_PER_DAY;

    if (ms < 0)
        ms += MS_PER_DAY; /* 0..MS_PER_DAY - 1, so the parts below fit an int */

    ret->ms = (int)(ms % 1000);
    ret->second = (int)(ms / 1000 % 60);
    ret->minute = (int)(ms / 60000 % 60);
    ret->hour = (int)(ms / 3600000);

    day += DAYS_TO_1970;
    int64_t era = floor_div(day, DAYS_PER_400);
    int64_t day_of_era = day - era * DAYS_PER_400;
    int64_t year =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100); /* from 1 March */
    int64_t month = (5 * day_of_year + 2) / 153;                             /* 0 = March */

    ret->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    ret->month = (int)(month < 10 ? month + 3 : month - 9);
    ret->year = (int)(era * 400 + year + (month >= 10)); /* 64-bit milliseconds: < 3e8 */
}

utc_ms clock_join_utc(const struct clock_utc *c)
{
    int64_t months = (int64_t)c->year * 12 + c->month - 3; /* from March of year 0 */
    int64_t year = floor_div(months, 12);
    int64_t month = months - year * 12;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * month + 2) / 5 + c->day - 1;
    int64_t day = era * DAYS_PER_400 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
                  day_of_year - DAYS_TO_1970;

    return ((day * 24 + c->hour) * 60 + c->minute) * 60000 + (int64_t)c->second * 1000 + c->ms;
}

/* The low `width` decimal digits of `value`, not negative; returns the place behind them. */
static char *put_digits(char *out, int value, size_t width)
{
    for (size_t i = width; i > 0; i--, value /= 10)
        out[i - 1] = (char)('0' + value % 10); /* a digit */
    return out + width;
}

static char *put_text(char *out, const char *text, size_t n)
{
    memcpy(out, text, n);
    return out + n;
}

/* "hh:mm:ss" */
static char *put_time(char *out, const struct clock_utc *c)
{
    out = put_digits(out, c->hour, 2);
    *out++ = ':';
    out = put_digits(out, c->minute, 2);
    *out++ = ':';
    return put_digits(out, c->second, 2);
}

/* Both forms have four digits for the year: a time outside them shows as the nearest inside. */
static utc_ms clamp_years(utc_ms t)
{
    return MIN(MAX(t, ISO_FIRST_MS), ISO_LAST_MS);
}

void clock_iso(utc_ms t, char out[CLOCK_ISO_SIZE])
{
    struct clock_utc c;

    clock_split_utc(clamp_years(t), &c);
    out = put_digits(out, c.year, 4);
    *out++ = '-';
    out = put_digits(out, c.month, 2);
    *out++ = '-';
    out = put_digits(out, c.day, 2);
    *out++ = 'T';
    out = put_time(out, &c);
    *out++ = '.';
    out = put_digits(out, c.ms, 3);
    *out++ = 'Z';
    *out = '\0';
}

void clock_http(utc_ms t, char out[CLOCK_HTTP_SIZE])
{
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct clock_utc c;

    t = clamp_years(t);
    clock_split_utc(t, &c);

    int64_t day = floor_div(t, MS_PER_DAY) + 4; /* 1970-01-01 was a Thursday */

    out = put_text(out, weekdays + 3 * (day - 7 * floor_div(day, 7)), 3);
    out = put_text(out, ", ", 2);
    out = put_digits(out, c.day, 2);
    *out++ = ' ';
    out = put_text(out, months + 3 * (c.month - 1), 3);
    *out++ = ' ';
    out = put_digits(out, c.year, 4);
    *out++ = ' ';
    out = put_time(out, &c);
    out = put_text(out, " GMT", 4);
    *out = '\0';
}
