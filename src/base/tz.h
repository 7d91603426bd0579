/* tz.h -- IANA time zones without touching the process's TZ: a small reader of TZif files (RFC 8536,
 * versions 1-4 with the footer rule of POSIX.1 TZ) over the system's tzdata. Zones are loaded once,
 * immutable, shared by all threads, and live until tz_global_release(). */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

struct tz;

/* "Asia/Taipei", "UTC"; names with "..", a leading '/' or bytes outside [A-Za-z0-9_+/-] are
 * refused. "" or "localtime" is the system's zone (/etc/localtime, name from its link, TZ honoured if set). */
MUST_USE int tz_load(struct str name, const struct tz **ret, struct err *reterr);
void tz_global_release(void);
/* One TZif file from memory, unshared, for tests and fuzzing. 0, ERR_SYNTAX (damaged, or it counts leap
 * seconds) or ERR_LIMIT (above TZ_FILE_MAX). The caller frees. */
#define TZ_FILE_MAX (64 * 1024)
MUST_USE int tz_parse(struct str name, struct str bytes, struct tz **ret, struct err *reterr);
/* The same from a POSIX.1 TZ rule ("CET-1CEST,M3.5.0,M10.5.0/3"). 0 or ERR_SYNTAX. */
MUST_USE int tz_parse_rule(struct str name, struct str rule, struct tz **ret, struct err *reterr);
void tz_free(struct tz *z); /* of tz_parse*(); NULL is a no-op */
DEFINE_CLEANUP(struct tz *, tz_free)
const char *tz_name(const struct tz *z);
/* Times beyond +-8.64e15 ms (years -271821 .. 275760) are taken as that bound, in all calls below.
 * Seconds east of UTC at t; *ret_abbr (may be NULL) borrowed from the zone. */
int32_t tz_offset_s(const struct tz *z, utc_ms t, const char **ret_abbr);

struct tz_local {
    int year, month, day, hour, minute, second; /* month 1..12 */
    int32_t offset_s;
    int weekday; /* 0 = Sunday */
};
void tz_split(const struct tz *z, utc_ms t, struct tz_local *ret);
/* The instant of a local wall time: in a gap the first instant after it, in an overlap the earlier
 * one. Fields are normalised (day 32 = next month's 1st). */
utc_ms tz_join(const struct tz *z, int year, int month, int day, int hour, int minute, int second);
utc_ms tz_day_start(const struct tz *z, utc_ms t); /* first instant of the local day that holds t */
utc_ms tz_day_next(const struct tz *z, utc_ms t);  /* first instant of the following local day */
