/* board.h -- what pages ask about channels all day, kept in memory: newest run, newest result and
 * the last 30 points of each model. Fed by the ledger's subscriber after each commit, so it never
 * shows what is not stored; filled at start from the store by a background job.
 *
 * Readers take references to immutable per-channel views under a short lock and render without it. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/json_out.h"
#include "base/str.h"
#include "ledger/ledger.h"
#include "store/store.h"

#define BOARD_HISTORY 30

struct board_point { /* narrow: a thousand channels hold 300,000 of them */
    utc_ms at_utc_ms;
    const char *error;   /* owned by the view, NULL = none; at most BOARD_ERROR_MAX bytes */
    int32_t duration_us, ttfb_us, ttft_us; /* capped at INT32_MAX, 35 minutes */
    int16_t http_status; /* 0 = none */
    uint8_t outcome;     /* enum outcome */
    bool success;
};
#define BOARD_ERROR_MAX 512

struct board_model {
    const char *model, *family, *route; /* family: "openai" ... */
    bool in_newest_run;   /* has a row in the newest run with rows, or in the run in progress */
    int64_t run_id;       /* run of the newest row */
    int64_t done_run_id;  /* newest completed run that has a row of it, 0 = none */
    uint16_t point_count; /* history, oldest first; the last one is the newest result */
    const struct board_point *points;
};

struct board_view { /* immutable, reference counted */
    int64_t channel_id;
    int64_t last_run_id, running_run_id; /* 0 = none */
    int64_t newest_run_id; /* newest completed run that has rows, 0 = none: what lists and logs show */
    utc_ms last_run_utc_ms, running_since_utc_ms;
    char last_status[12]; /* "" = never */
    int32_t last_total, last_success, last_fail;
    int32_t running_done, running_total; /* progress; total -1 until the list is known */
    const char *last_log_file, *last_error; /* NULL */
    const struct board_model *models; /* by model id, bytewise */
    size_t model_count;
};

struct board;
struct board *board_new(void);
void board_free(struct board *b);
/* Read channel_state, newest rows and histories; on the caller's thread (start-up: a store job).
 * Live records may come in meanwhile. After a failure (ERR_TIMEOUT) it may be called again and goes
 * on with the channels not yet read. */
MUST_USE int board_load(struct board *b, struct store_conn *c, struct err *reterr);
bool board_is_loaded(const struct board *b); /* any thread: board_load() came to its end */
void board_on_ledger(void *ctx, const struct ledger_record *records, size_t count); /* a ledger_fn; ctx = board */
void board_run_progress(struct board *b, int64_t channel_id, int64_t run_id, int32_t done, int32_t total); /* prober; total -1 unknown */
void board_forget(struct board *b, int64_t channel_id); /* deleted channel */
/* Views with a reference each, in the order of ids given; NULL where nothing is known yet. */
void board_get(struct board *b, const int64_t *ids, size_t count, struct board_view **ret);
struct board_view *board_view_ref(struct board_view *v);
void board_view_unref(struct board_view *v); /* NULL is a no-op */
