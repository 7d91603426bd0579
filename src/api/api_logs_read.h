/* api_logs_read.h -- rows of probe_results as pages and exports read them: keyset over (time, id) in
 * either direction, filters the indexes do not know applied while stepping, within a time budget, so
 * that a page costs the same with ten rows or ten million. On store threads. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json_out.h"
#include "base/str.h"
#include "store/store.h"

#define API_LOGS_LIMIT_MAX 20000

struct api_logs_query { /* texts borrowed */
    int64_t channel_id;
    int64_t run_id;         /* 0 = all runs */
    struct str model;       /* exact; empty = any */
    struct str protocol;    /* family; empty = any */
    struct str q;           /* part of model, content or error, ASCII case aside; empty = any */
    int success;            /* -1 = any */
    utc_ms since, until;    /* until is exclusive; 0 = open */
};

struct api_logs_cursor { /* a row's place; id 0 = from the end resp. the beginning */
    utc_ms at_utc_ms;
    int64_t id;
};

/* A walk over matching rows. */
struct api_logs_walk {
    const struct api_logs_query *query;
    struct store_query sql;
    struct store_stmt *st;
    uint64_t until_us;  /* clock_mono_us() at which looking for matches ends; 0 = never */
    uint32_t looked_at; /* rows stepped over */
    struct api_logs_cursor at; /* the row stepped to last, matching or not */
    bool is_out_of_time;
};
MUST_USE int api_logs_read_open(struct api_logs_walk *w, struct store_conn *c, const struct api_logs_query *q, bool is_ascending, struct api_logs_cursor from, uint64_t budget_ms, struct err *reterr);
/* 1 = on a matching row, 0 = the end or out of time, negative = error. */
MUST_USE int api_logs_read_next(struct api_logs_walk *w, struct err *reterr);
void api_logs_read_close(struct api_logs_walk *w);

/* The row the walk stands on: an object of spec 1 section 1.3 and ours, resp. a line. */
void api_logs_read_json(const struct api_logs_walk *w, struct json_out *j);
void api_logs_read_csv(const struct api_logs_walk *w, struct buf *out);
void api_logs_read_csv_head(struct buf *out);
/* A cell: quoted where needed, with an apostrophe in front of what a spreadsheet would run. */
void api_logs_read_csv_cell(struct buf *out, struct str text);

/* Where row `id` of this channel stands; false: no such row any more. */
MUST_USE int api_logs_read_find(struct store_conn *c, int64_t channel_id, int64_t id, struct api_logs_cursor *ret, bool *ret_found, struct err *reterr);

/* The newest `limit` matching rows before the cursor, written oldest first into rows (members of an
 * array, without brackets). */
struct api_logs_page {
    struct buf rows;
    size_t count;
    int64_t next_before_id; /* 0 = there are no older ones */
    bool is_partial;        /* the budget ended before `limit` rows were found: go on at next_before_id */
};
MUST_USE int api_logs_read_page(struct store_conn *c, const struct api_logs_query *q, struct api_logs_cursor before, size_t limit, struct api_logs_page *ret, struct err *reterr);
void api_logs_read_page_release(struct api_logs_page *p);
