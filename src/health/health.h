/* health.h -- per channel x model: a bit window of the latest outcomes, EWMA of latency and time
 * to first token, and a breaker with the fault class that opened it. Probes and live traffic both
 * feed it; router, status pages and alerts read it. Cells are found under a short lock, live as
 * long as the process (bounded in number), and their numbers are atomics any thread may read. */
#pragma once

#include "base/base.h"
#include "base/str.h"
#include "ledger/ledger.h"
#include "llm/outcome.h"

#define HEALTH_WINDOW   64
#define HEALTH_CELLS_MAX 65536

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct health;
struct health_cell; /* opaque; stable address */

struct health_reading { /* a snapshot */
    uint64_t window;      /* newest outcome in bit 0, 1 = good; only `samples` bits count */
    uint8_t samples;      /* 0..64 */
    uint8_t good;         /* of the samples */
    enum breaker_state breaker;
    enum outcome_class fault; /* that opened it */
    uint64_t open_until_mono_ms;
    int64_t latency_ewma_us, ttft_ewma_us; /* 0 = unknown */
    utc_ms last_utc_ms, changed_utc_ms;
    enum outcome last_outcome;
};

struct health_config {
    uint8_t open_after;      /* consecutive counting failures, default 3 */
    uint64_t open_ms;        /* first pause, doubled per failed trial up to open_max_ms; 30 s, 10 min */
    uint64_t open_max_ms;
};

struct health *health_new(const struct health_config *cfg);
void health_free(struct health *h);
struct health_cell *health_cell(struct health *h, int64_t site, int64_t channel_id, struct str model); /* made when missing; NULL past the cap */
/* The same, but none is made: NULL = nothing was recorded. For pages; a short lock, no more. */
const struct health_cell *health_find(struct health *h, int64_t site, int64_t channel_id, struct str model);
const char *health_breaker_name(enum breaker_state s); /* "closed", "open", "half_open" */
/* Any thread. Window and breaker take successes and outcomes that count against the channel; others
 * (client fault, cancelled) only end a trial without a verdict.
 *   closed     open_after such failures in a row -> open
 *   open       a success that began after it opened -> closed
 *   half-open  success -> closed; such a failure -> open, pause doubled; else the next trial may go */
void health_record(struct health *h, struct health_cell *c, enum outcome o, int64_t duration_us, int64_t ttft_us, utc_ms at);
/* The same on a clock of the caller's. */
void health_record_at(struct health *h, struct health_cell *c, enum outcome o, int64_t duration_us, int64_t ttft_us, utc_ms at, mono_ms now);
void health_read(const struct health_cell *c, struct health_reading *ret);
/* May a call go there now? Half-open admits one trial at a time (then it must be recorded; one that
 * never is counts as gone after open_max_ms). */
bool health_admit(struct health *h, struct health_cell *c, mono_ms now);
void health_on_ledger(void *ctx, const struct ledger_record *records, size_t count); /* ledger_fn: probes feed the cells */
/* Before threads: transitions, on the thread that recorded. */
typedef void (*health_fn)(void *ctx, int64_t channel_id, struct str model, enum breaker_state from, enum breaker_state to, enum outcome_class fault);
void health_subscribe(struct health *h, health_fn fn, void *ctx);
size_t health_cells(struct health *h);
/* Walk all cells (metrics, pages): fn under the lock, must not call back into health. */
void health_each(struct health *h, void (*fn)(void *ctx, int64_t channel_id, struct str model, const struct health_reading *r), void *ctx);
