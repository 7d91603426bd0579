/* rollup_key.h -- which roll-up row a call event counts in: key rows of both families, cached, and
 * the caps that keep free text from growing them without bound.
 *
 * A combination counts for a day (reporting zone) and origin once it has a row in that day's
 * roll-up, so the caps survive a restart. Beyond a cap the event counts in a row named "(other)":
 * its sums stay complete, only the breakdown is lost.
 * Owned by the ledger thread; used inside its transaction. */
#pragma once

#include "base/err.h"
#include "ledger/call_event.h"
#include "store/store.h"

#define ROLLUP_KEY_DAY_MAX    20000u /* combinations a day and origin, either family */
#define ROLLUP_KEY_INGEST_MAX 200u   /* source x provider x model a day of origin ingest */
#define ROLLUP_KEY_OTHER      "(other)"

enum rollup_family { ROLLUP_CALLS, ROLLUP_USERS, ROLLUP_FAMILIES };

struct rollup_keys;

struct rollup_keys *rollup_key_new(void);
void rollup_key_free(struct rollup_keys *k);
/* Lower the caps, for tests. */
void rollup_key_set_caps(struct rollup_keys *k, unsigned day_max, unsigned ingest_max);
/* Row id of e's combination on `day` (yyyymmdd), made when new. */
MUST_USE int rollup_key_get(struct rollup_keys *k, struct store_conn *c, enum rollup_family family,
                            const struct call_event *e, int64_t day, int64_t *ret,
                            struct err *reterr);
/* Between transactions: bounds the cache. */
void rollup_key_trim(struct rollup_keys *k);
/* The transaction was rolled back: nothing of the cache can be trusted. */
void rollup_key_forget(struct rollup_keys *k);
