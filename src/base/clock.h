/* clock.h -- the two clocks. Timers, deadlines and rates use mono_ms; stored times use utc_ms.
 * Loops cache both once per turn (net/loop.h); other threads ask here. */
#pragma once

#include "base/base.h"
#include "base/str.h"

mono_ms clock_mono_ms(void);
uint64_t clock_mono_us(void);
utc_ms clock_utc_ms(void);
int64_t clock_utc_us(void);
/* Broken-down UTC without the process's TZ. */
struct clock_utc {
    int year, month, day, hour, minute, second, ms; /* month 1..12 */
};
void clock_split_utc(utc_ms t, struct clock_utc *ret);
utc_ms clock_join_utc(const struct clock_utc *c); /* proleptic Gregorian */
/* "2026-11-21T09:28:15.123Z", 24 bytes and NUL. */
#define CLOCK_ISO_SIZE 25
void clock_iso(utc_ms t, char out[CLOCK_ISO_SIZE]);
/* "Sat, 21 Nov 2026 09:28:15 GMT" (RFC 9110 section 5.6.7), 29 bytes and NUL. */
#define CLOCK_HTTP_SIZE 30
void clock_http(utc_ms t, char out[CLOCK_HTTP_SIZE]);
