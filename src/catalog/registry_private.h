/* registry_private.h -- what the files of registry_import.h share: the source with its shape, and
 * the state of one import.
 *
 * The four generations differ by columns alone, so the shape is a handful of booleans and each
 * SELECT names a constant where a column is missing. Nothing read is trusted: texts are cut and
 * repaired, numbers clamped, ids bounded. */
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "catalog/catalog_private.h"
#include "catalog/registry_import.h"
#include "llm/outcome.h"

#define REGISTRY_ID_MAX    (INT64_C(1) << 53) /* ids stay exact in JSON, and room is left above */
#define REGISTRY_NAME_MAX  1024               /* bytes; also of URLs, models, routes */
#define REGISTRY_TEXT_MAX  (16u << 10)        /* answers, errors, prompts */
#define REGISTRY_LIST_MAX  (4u << 20)         /* JSON lists */

struct registry_source {
    struct store_foreign *file;
    struct store_conn *conn;
    bool has_source_url, has_sort_order, has_visitor, has_selected; /* columns of targets */
    bool has_ttfb, has_ping;                                        /* of run_models */
    bool has_settings, has_keys;                                    /* tables */
    char generation[16];
    struct arena arena; /* repaired texts of the row in hand */
    int64_t repaired;   /* texts that were no UTF-8, held NUL or were too long */
};

struct registry_job {
    struct registry_source *src;
    struct catalog_tx *tx; /* NULL outside the transaction */
    struct registry_import_report *report;
    struct buf *notes; /* may be NULL */
    int64_t note_count;
    bool dry_run;
    bool is_filled; /* the target has channels, runs or results already */
    struct map_id *channels; /* source ids that runs and rows may refer to; value: any */
    struct map_id *rejected_runs; /* ids that another run has in the target */
    int64_t interrupted, orphan_runs, orphan_rows, odd_values;
    bool is_visitor_mode, has_visitor_token;
};

/* ---- registry_source.c: opening, and reading columns ---- */
MUST_USE int registry_source_open(struct registry_source *s, const char *path, struct err *reterr);
void registry_source_close(struct registry_source *s);
/* Begin the next row: texts of the former one are gone. */
void registry_source_row(struct registry_source *s);
/* UTF-8 without NUL, at most max bytes; STR_NONE for NULL. Valid until registry_source_row(). */
struct str registry_source_text(struct registry_source *s, struct store_stmt *st, int i, size_t max);
/* Seconds since the epoch -> rounded ms, 0 when NULL, no number or out of the calendar. */
utc_ms registry_source_ms(struct store_stmt *st, int i);
/* Seconds -> us; false when NULL. */
bool registry_source_us(struct store_stmt *st, int i, int64_t *ret);
int64_t registry_source_int(struct store_stmt *st, int i, int64_t min, int64_t max); /* clamped */
bool registry_source_id(struct store_stmt *st, int i, int64_t *ret); /* false: none of ours */
/* How a probe of system 1 ended, from what it kept: verdict, status (0 = none) and error text. */
enum outcome registry_source_outcome(bool success, int status, struct str error);

/* ---- registry_history.c: runs and their rows ---- */
MUST_USE int registry_history_import(struct registry_job *im, struct err *reterr);

/* ---- registry_import.c ---- */
void registry_import_note(struct registry_job *im, const char *fmt, ...) PRINTF(2, 3);
