/* tz_rule.c -- see tz_rule.h. */
#include "base/tz_rule.h"

#include "base/clock.h"
#include "base/err.h"

#define DAY_S     INT64_C(86400)
#define HOURS_MAX 167
#define ABBR_MIN  3

/* A run of digits off the front, at most 3 of them. */
static int take_number(struct str *in, int min, int max, int *ret)
{
    size_t n = 0;
    uint64_t v;

    while (n < in->len && n < 3 && in->ptr[n] >= '0' && in->ptr[n] <= '9')
        n++;
    if (str_to_u64(str_cut(*in, 0, n), (uint64_t)max, &v) < 0 || (int)v < min) /* v <= max */
        return ERR_SYNTAX;
    *in = str_cut(*in, n, in->len);
    *ret = (int)v;
    return 0;
}

/* [+-]hh[:mm[:ss]] */
static int take_time(struct str *in, int hours_max, int32_t *ret)
{
    int h, m = 0, s = 0;
    bool negative = str_skip_prefix(in, STR("-"));

    if (!negative)
        str_skip_prefix(in, STR("+"));
    if (take_number(in, 0, hours_max, &h) < 0)
        return ERR_SYNTAX;
    if (str_skip_prefix(in, STR(":"))) {
        if (take_number(in, 0, 59, &m) < 0)
            return ERR_SYNTAX;
        if (str_skip_prefix(in, STR(":")) && take_number(in, 0, 59, &s) < 0)
            return ERR_SYNTAX;
    }
    *ret = (h * 60 + m) * 60 + s;
    if (negative)
        *ret = -*ret;
    return 0;
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* "CET" or "<+0530>" */
static int take_abbr(struct str *in, char out[TZ_RULE_ABBR_SIZE])
{
    bool quoted = str_skip_prefix(in, STR("<"));
    size_t n = 0;

    while (n < in->len &&
           (is_letter(in->ptr[n]) || (quoted && ((in->ptr[n] >= '0' && in->ptr[n] <= '9') ||
                                                 in->ptr[n] == '+' || in->ptr[n] == '-'))))
        n++;
    if (n < ABBR_MIN || n >= TZ_RULE_ABBR_SIZE)
        return ERR_SYNTAX;
    str_copy(out, TZ_RULE_ABBR_SIZE, str_cut(*in, 0, n));
    *in = str_cut(*in, n, in->len);
    return quoted && !str_skip_prefix(in, STR(">")) ? ERR_SYNTAX : 0;
}

static bool take_dot(struct str *in)
{
    return str_skip_prefix(in, STR("."));
}

/* ",M3.5.0/2", ",J60", ",59/-1" */
static int take_change(struct str *in, struct tz_rule_change *ret)
{
    int rc;

    if (!str_skip_prefix(in, STR(",")))
        return ERR_SYNTAX;
    if (str_skip_prefix(in, STR("M"))) {
        ret->form = TZ_RULE_WEEK;
        rc = take_number(in, 1, 12, &ret->month) < 0 || !take_dot(in) ||
                     take_number(in, 1, 5, &ret->week) < 0 || !take_dot(in) ||
                     take_number(in, 0, 6, &ret->day) < 0
                 ? ERR_SYNTAX
                 : 0;
    } else if (str_skip_prefix(in, STR("J"))) {
        ret->form = TZ_RULE_JULIAN;
        rc = take_number(in, 1, 365, &ret->day);
    } else {
        ret->form = TZ_RULE_DAY;
        rc = take_number(in, 0, 365, &ret->day);
    }
    if (rc < 0)
        return rc;
    ret->time_s = 2 * 3600;
    return str_skip_prefix(in, STR("/")) ? take_time(in, HOURS_MAX, &ret->time_s) : 0;
}

int tz_rule_parse(struct str text, struct tz_rule *ret)
{
    struct tz_rule r = {.has_dst = false};
    int32_t west;

    if (take_abbr(&text, r.std_abbr) < 0 || take_time(&text, 24, &west) < 0)
        return ERR_SYNTAX;
    r.std_s = -west;
    if (text.len > 0) {
        r.has_dst = true;
        r.dst_s = r.std_s + 3600;
        if (take_abbr(&text, r.dst_abbr) < 0)
            return ERR_SYNTAX;
        if (text.len > 0 && text.ptr[0] != ',') {
            if (take_time(&text, 24, &west) < 0)
                return ERR_SYNTAX;
            r.dst_s = -west;
        }
        if (text.len == 0) /* as the C library: the United States' rule */
            text = STR(",M3.2.0,M11.1.0");
        if (take_change(&text, &r.begin) < 0 || take_change(&text, &r.end) < 0 || text.len != 0)
            return ERR_SYNTAX;
    }
    *ret = r;
    return 0;
}

/* Days from 1970-01-01 to the first of a month. */
static int64_t month_days(int year, int month)
{
    struct clock_utc first = {.year = year, .month = month, .day = 1};

    return clock_join_utc(&first) / (DAY_S * 1000); /* exact */
}

/* Wall-clock seconds of a change in a year. */
static int64_t change_wall(const struct tz_rule_change *c, int year)
{
    int64_t day = 0;

    switch (c->form) {
    case TZ_RULE_JULIAN: {
        bool is_leap = month_days(year, 3) - month_days(year, 1) == 60;

        day = month_days(year, 1) + c->day - 1 + (is_leap && c->day >= 60);
        break;
    }
    case TZ_RULE_DAY:
        day = month_days(year, 1) + c->day;
        break;
    case TZ_RULE_WEEK: {
        int64_t first = month_days(year, c->month);
        int64_t next = c->month == 12 ? month_days(year + 1, 1) : month_days(year, c->month + 1);
        int64_t weekday = ((first + 4) % 7 + 7) % 7; /* of the 1st; 1970-01-01 was a Thursday */

        day = first + (c->day - weekday + 7) % 7 + (int64_t)(c->week - 1) * 7;
        while (day >= next) /* "5" is the last, which may be the fourth */
            day -= 7;
        break;
    }
    }
    return day * DAY_S + c->time_s;
}

static int year_of(int64_t t)
{
    struct clock_utc c;

    clock_split_utc(t * 1000, &c);
    return c.year;
}

/* A change may lie a week outside its year (hours up to 167), and a local year begins a day beside
 * the UTC one: changes of these years decide about an instant of `year`. */
static int first_year(int year)
{
    return year - 2;
}

static int last_year(int year)
{
    return year + 1;
}

bool tz_rule_is_dst(const struct tz_rule *r, int64_t t)
{
    if (!r->has_dst)
        return false;

    int64_t latest = INT64_MIN;
    bool is_dst = false;
    int year = year_of(t);

    /* The latest change not behind t says it; where both fall on one instant (daylight saving time
     * all year), it goes on. */
    for (int y = first_year(year); y <= last_year(year); y++) {
        int64_t begin = change_wall(&r->begin, y) - r->std_s;
        int64_t end = change_wall(&r->end, y) - r->dst_s;

        if (end <= t && end > latest) {
            latest = end;
            is_dst = false;
        }
        if (begin <= t && begin >= latest) {
            latest = begin;
            is_dst = true;
        }
    }
    return is_dst;
}

int64_t tz_rule_next(const struct tz_rule *r, int64_t t)
{
    if (!r->has_dst)
        return INT64_MAX;

    int64_t next = INT64_MAX;
    int year = year_of(t);

    for (int y = first_year(year); y <= last_year(year); y++) {
        int64_t begin = change_wall(&r->begin, y) - r->std_s;
        int64_t end = change_wall(&r->end, y) - r->dst_s;

        if (begin > t)
            next = MIN(next, begin);
        if (end > t)
            next = MIN(next, end);
    }
    return next;
}
