/* rollup.h -- sums over call events, written in the ledger's transaction: first family per minute,
 * quarter hour and day by (origin, kind, site, source, provider, channel, model, group, key),
 * second family per quarter hour and day by (origin, site, user, key).
 *
 *   rollup_add() x n  -->  one accumulator per touched minute row  -->  rollup_flush():
 *   minute rows; quarters from minutes; days from quarters: one upsert per touched row
 *
 * Minutes and quarter hours are UTC, days are local to the reporting zone (yyyymmdd).
 * What counts where:
 *   first family    every event, by its kind; duration and ttft histograms take kinds call and
 *                   attempt, and probes' tests, where the time is known
 *   second family   origins but probe (nobody asked for a probe). Calls count in n, n_ok, n_failed
 *                   and duration; tokens, cost and charge are summed over all kinds.
 *                   t_input includes cache writes, t_output includes reasoning
 * Owned by the ledger thread. */
#pragma once

#include "base/err.h"
#include "base/tz.h"
#include "ledger/call_event.h"
#include "store/store.h"

struct rollup;
struct rollup_keys;

#define ROLLUP_BATCH_MAX 1024u /* events between two flushes */

struct rollup *rollup_new(const struct tz *zone);
void rollup_free(struct rollup *r);
/* Inside the transaction. After a failure, or a rollback, rollup_abort(). */
MUST_USE int rollup_add(struct rollup *r, struct store_conn *c, const struct call_event *e,
                        struct err *reterr);
MUST_USE int rollup_flush(struct rollup *r, struct store_conn *c, struct err *reterr);
void rollup_abort(struct rollup *r); /* drops what was added and all that was remembered */
int64_t rollup_day(struct rollup *r, utc_ms t); /* yyyymmdd in the reporting zone */
struct rollup_keys *rollup_keys_of(struct rollup *r);
