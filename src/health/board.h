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

struct board_point {
    utc_ms at_utc_ms;
    int64_t duration_us, ttfb_us, ttft_us;
    int32_t http_status; /* 0 = none */
    uint8_t outcome;     /* enum outcome */
    bool success;
    const char *error;   /* owned by the model's block, NULL = none */
};

struct board_model {
    const char *model, *family, *route; /* family: "openai" ... */
    bool in_newest_run;   /* has a row in the newest run with rows, or in the run in progress */
    int64_t run_id;       /* run of the newest row */
    uint16_t point_count; /* history, oldest first; the last one is the newest result */
    const struct board_point *points;
};

struct board_view { /* immutable, reference counted */
    int64_t channel_id;
    int64_t last_run_id, running_run_id; /* 0 = none */
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
/* Read channel_state, newest rows and histories; on the caller's thread (start-up: a store job). */
MUST_USE int board_load(struct board *b, struct store_conn *c, struct err *reterr);
void board_on_ledger(void *ctx, const struct ledger_record *records, size_t count); /* a ledger_fn; ctx = board */
void board_run_progress(struct board *b, int64_t channel_id, int64_t run_id, int32_t done, int32_t total); /* prober; total -1 unknown */
void board_forget(struct board *b, int64_t channel_id); /* deleted channel */
/* Views with a reference each, in the order of ids given; NULL where nothing is known yet. */
void board_get(struct board *b, const int64_t *ids, size_t count, struct board_view **ret);
struct board_view *board_view_ref(struct board_view *v);
void board_view_unref(struct board_view *v); /* NULL is a no-op */
/* Successful models of the newest completed run: what the proxy may offer. */
