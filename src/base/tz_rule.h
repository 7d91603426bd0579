/* tz_rule.h -- the POSIX.1 TZ rule ("CET-1CEST,M3.5.0,M10.5.0/3") with the hours -167..167 of RFC
 * 8536 section 3.3.1: which offset holds when, for ever. Used by tz.c alone. */
#pragma once

#include "base/base.h"
#include "base/str.h"

#define TZ_RULE_ABBR_SIZE 16

enum tz_rule_form { TZ_RULE_JULIAN, TZ_RULE_DAY, TZ_RULE_WEEK };

/* When in each year, by the wall clock in force before it. */
struct tz_rule_change {
    enum tz_rule_form form;
    int month, week; /* WEEK: 1..12; 1..5, 5 = last */
    int day;         /* JULIAN 1..365 without 29 February, DAY 0..365, WEEK 0..6 (0 = Sunday) */
    int32_t time_s;
};

struct tz_rule {
    bool has_dst;
    int32_t std_s, dst_s; /* east of UTC */
    char std_abbr[TZ_RULE_ABBR_SIZE], dst_abbr[TZ_RULE_ABBR_SIZE];
    struct tz_rule_change begin, end; /* of daylight saving time */
};

/* 0 or ERR_SYNTAX. */
MUST_USE int tz_rule_parse(struct str text, struct tz_rule *ret);
/* t: seconds UTC, within +-8.64e12. */
bool tz_rule_is_dst(const struct tz_rule *r, int64_t t);
int64_t tz_rule_next(const struct tz_rule *r,
                     int64_t t); /* next change behind t, INT64_MAX = none */
