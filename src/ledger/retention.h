/* retention.h -- old rows go in small steps on the store's writer thread: raw events and probe
 * details by age per origin, runs by age and count (never fewer than 60 runs a channel nor 30
 * points a model), minute roll-ups after 48 h, quarter hours after 400 days. */
#pragma once

#include "base/base.h"
#include "store/store.h"

struct retention_config {
    uint64_t keep_ms[4];   /* raw events by origin */
    uint64_t probe_ms;     /* probe details and runs */
    unsigned runs_min;     /* newest runs of a channel that always stay */
    unsigned points_min;   /* newest points of a model that always stay, 30 */
};
/* One step (at most ~2,000 rows a table) inside the caller's transaction; *ret_more tells that
 * another step would find work. */
MUST_USE int retention_step(struct store_conn *c, const struct retention_config *cfg, utc_ms now, bool *ret_more, struct err *reterr);
