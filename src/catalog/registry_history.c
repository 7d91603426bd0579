/* registry_history.c -- runs and run_models become runs and probe_results, in the order of their
 * ids, one row in hand at a time: memory does not grow with the history.
 *
 * Roll-ups are not filled from it: they are sums over call events, and these rows are none (no
 * tokens, no ids of calls). Run history, log pages and status timelines read probe_results alone,
 * so the imported past shows there; usage statistics begin with the first run of our own. */
#include "catalog/registry_private.h"

#define RUN_SELECT_SQL                                                                             \
    "SELECT id, target_id, started_at, finished_at, status, total, success, fail, log_file, "      \
    "error "                                                                                       \
    "FROM runs ORDER BY id"
#define RUN_INSERT_SQL                                                                             \
    "INSERT INTO runs (id, channel_id, started_utc_ms, finished_utc_ms, status, total, success, "  \
    "fail, log_file, error, cause) VALUES (?,?,?,?,?,?,?,?,?,?,'import')"
#define ROW_INSERT_SQL                                                                             \
    "INSERT INTO probe_results (id, item_kind, item_id, run_id, at_utc_ms, model, protocol, "      \
    "route, endpoint, outcome, status, success, transport_success, is_stream, duration_us, "       \
    "ttfb_us, ping_us, http_status, tool_calls_count, tool_calls, content, error) "                \
    "VALUES (?,0,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"

#define COUNT_MAX 1000000000

/* ---- runs ---- */

/* 1: the same run is there, 2: another one has the id, 0: the id is free. */
static int run_in_target(struct registry_job *im, int64_t id, int64_t channel_id, utc_ms started,
                         struct err *reterr)
{
    struct store_stmt *st;
    int rc;

    if (!im->is_filled)
        return 0;
    rc = store_prepare(im->tx->conn, "SELECT channel_id, started_utc_ms FROM runs WHERE id = ?",
                       &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    rc = store_step(st, reterr);
    if (rc == 1)
        rc = store_col_i64(st, 0) == channel_id && store_col_i64(st, 1) == started ? 1 : 2;
    store_reset(st);
    return rc;
}

static int insert_run(struct registry_job *im, struct store_stmt *from, int64_t id,
                      int64_t channel_id, utc_ms started, struct err *reterr)
{
    struct registry_source *src = im->src;
    struct str status = registry_source_text(src, from, 4, REGISTRY_NAME_MAX);
    struct str error = registry_source_text(src, from, 9, REGISTRY_TEXT_MAX);
    utc_ms finished = registry_source_ms(from, 3);
    struct store_stmt *st;
    int rc;

    if (str_eq_c(status, "running")) { /* its process is gone; spec 1 section 3.7 */
        im->interrupted++;
        status = STR("error");
        error = STR("interrupted");
    } else if (!str_eq_c(status, "completed") && !str_eq_c(status, "error")) {
        im->odd_values++;
        status = STR("error");
    }
    if (im->dry_run)
        return 0;
    rc = store_prepare(im->tx->conn, RUN_INSERT_SQL, &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    store_bind_i64(st, 2, channel_id);
    store_bind_i64(st, 3, started);
    if (finished > 0)
        store_bind_i64(st, 4, finished);
    store_bind_str(st, 5, status);
    for (int i = 0; i < 3; i++)
        store_bind_i64(st, 6 + i, registry_source_int(from, 5 + i, 0, COUNT_MAX));
    store_bind_str(st, 9, registry_source_text(src, from, 8, REGISTRY_TEXT_MAX));
    store_bind_str(st, 10, error);
    return store_run(st, reterr);
}

static int import_run(struct registry_job *im, struct store_stmt *from, struct err *reterr)
{
    int64_t id, channel_id;
    utc_ms started = registry_source_ms(from, 2);
    int rc;

    if (!registry_source_id(from, 0, &id) || !registry_source_id(from, 1, &channel_id) ||
        !map_id_get(im->channels, (uint64_t)channel_id)) { /* positive */
        im->orphan_runs++;
        return 0;
    }
    rc = run_in_target(im, id, channel_id, started, reterr);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        im->report->skipped++;
        if (rc == 2) {
            registry_import_note(im, "run %lld: another run has this id here, left out",
                                 (long long)id);
            map_id_set(im->rejected_runs, (uint64_t)id, im); /* positive; any pointer: a set */
        }
        return 0;
    }
    im->report->runs++;
    return insert_run(im, from, id, channel_id, started, reterr);
}

static int import_runs(struct registry_job *im, struct err *reterr)
{
    struct store_stmt *from;
    int rc = store_prepare(im->src->conn, RUN_SELECT_SQL, &from, reterr);

    if (rc < 0)
        return rc;
    while ((rc = store_step(from, reterr)) == 1) {
        registry_source_row(im->src);
        rc = import_run(im, from, reterr);
        if (rc < 0)
            break;
    }
    store_reset(from);
    return rc;
}

/* ---- rows ---- */

struct run_memo { /* the run of the row before: rows of a run lie together */
    int64_t id;
    bool is_good; /* it is there, of a channel we took, and not rejected */
    int64_t channel_id;
    utc_ms started;
};

static int look_up_run(struct registry_job *im, int64_t id, struct run_memo *memo,
                       struct err *reterr)
{
    struct store_stmt *st;
    int rc;

    if (memo->id == id)
        return 0;
    rc = store_prepare(im->src->conn, "SELECT target_id, started_at FROM runs WHERE id = ?", &st,
                       reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    rc = store_step(st, reterr);
    if (rc >= 0) {
        *memo = (struct run_memo){.id = id};
        memo->is_good = rc == 1 && registry_source_id(st, 0, &memo->channel_id) &&
                        map_id_get(im->channels, (uint64_t)memo->channel_id) && /* positive */
                        !map_id_get(im->rejected_runs, (uint64_t)id);
        memo->started = registry_source_ms(st, 1);
    }
    store_reset(st);
    return rc < 0 ? rc : 0;
}

static int row_in_target(struct registry_job *im, int64_t id, struct err *reterr)
{
    struct store_stmt *st;
    int rc;

    if (!im->is_filled)
        return 0;
    rc = store_prepare(im->tx->conn, "SELECT 1 FROM probe_results WHERE id = ?", &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    rc = store_step(st, reterr);
    store_reset(st);
    return rc;
}

/* Stored tool calls are an array as JSON text, nearly always "[]"; what is none is left out. */
static struct str tool_calls(struct registry_job *im, struct store_stmt *from)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct str s = registry_source_text(im->src, from, 9, REGISTRY_TEXT_MAX);

    if (s.len == 0 || str_eq_c(s, "[]"))
        return STR_NONE;
    if (json_doc_parse(s, 0, &doc, NULL) == 0 && json_is_array(doc))
        return s;
    im->odd_values++;
    return STR_NONE;
}

static void bind_us(struct store_stmt *st, int i, struct store_stmt *from, int column)
{
    int64_t us;

    if (registry_source_us(from, column, &us))
        store_bind_i64(st, i, us);
}

/* Columns of the SELECT in import_rows(). */
static int insert_row(struct registry_job *im, struct store_stmt *from, int64_t id,
                      const struct run_memo *run, struct err *reterr)
{
    struct registry_source *src = im->src;
    struct str error = registry_source_text(src, from, 12, REGISTRY_TEXT_MAX);
    bool success = store_col_i64(from, 6) != 0;
    int64_t status = store_col_i64(from, 13), duration = 0; /* NULL reads as 0 */
    utc_ms at = registry_source_ms(from, 11);
    struct store_stmt *st;
    int rc;

    if (status < 100 || status > 999)
        status = 0;
    registry_source_us(from, 5, &duration);

    enum outcome o = registry_source_outcome(success, (int)status, error); /* 0..999 */

    rc = store_prepare(im->tx->conn, ROW_INSERT_SQL, &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    store_bind_i64(st, 2, run->channel_id);
    store_bind_i64(st, 3, run->id);
    store_bind_i64(st, 4, at > 0 ? at : run->started);
    for (int i = 0; i < 4; i++) { /* model, protocol, route, endpoint */
        static const int columns[] = {3, 2, 14, 15};
        struct str s = registry_source_text(src, from, columns[i], REGISTRY_NAME_MAX);

        store_bind_str(st, 5 + i, s.ptr ? s : STR(""));
    }
    store_bind_i64(st, 9, o);
    store_bind_i64(st, 10, outcome_rows[o].status);
    store_bind_i64(st, 11, success);
    store_bind_i64(st, 12, store_col_i64(from, 7) != 0);
    store_bind_i64(st, 13, store_col_i64(from, 4) != 0);
    store_bind_i64(st, 14, duration);
    bind_us(st, 15, from, 16);
    bind_us(st, 16, from, 17);
    if (status > 0)
        store_bind_i64(st, 17, status);
    store_bind_i64(st, 18, registry_source_int(from, 8, 0, COUNT_MAX));
    store_bind_str(st, 19, tool_calls(im, from));
    store_bind_str(st, 20, registry_source_text(src, from, 10, REGISTRY_TEXT_MAX));
    store_bind_str(st, 21, error);
    return store_run(st, reterr);
}

static int import_row(struct registry_job *im, struct store_stmt *from, struct run_memo *run,
                      struct err *reterr)
{
    int64_t id, run_id, channel_id;
    int rc = 0;
    bool is_bound = registry_source_id(from, 0, &id) && registry_source_id(from, 1, &run_id) &&
                    registry_source_id(from, 18, &channel_id);

    if (is_bound)
        rc = look_up_run(im, run_id, run, reterr);
    if (rc < 0)
        return rc;
    if (!is_bound || !run->is_good || run->channel_id != channel_id) {
        im->orphan_rows++;
        return 0;
    }
    rc = row_in_target(im, id, reterr);
    if (rc < 0)
        return rc;
    if (rc == 1) {
        im->report->skipped++;
        return 0;
    }
    im->report->rows++;
    return im->dry_run ? 0 : insert_row(im, from, id, run, reterr);
}

static int import_rows(struct registry_job *im, struct err *reterr)
{
    struct run_memo run = {0};
    struct store_stmt *from;
    struct store_query q;
    int rc;

    store_query_init(&q, "SELECT id, run_id, protocol, model, stream, duration, success, "
                         "transport_success, tool_calls_count, tool_calls, content, timestamp, "
                         "error, status_code, route, endpoint");
    store_query_add(&q, im->src->has_ttfb ? ", ttfb" : ", NULL");
    store_query_add(&q, im->src->has_ping ? ", ping" : ", NULL");
    store_query_add(&q, ", target_id FROM run_models ORDER BY id");
    rc = store_query_prepare(im->src->conn, &q, &from, reterr);
    if (rc < 0) {
        store_query_release(&q);
        return rc;
    }
    while ((rc = store_step(from, reterr)) == 1) {
        registry_source_row(im->src);
        rc = import_row(im, from, &run, reterr);
        if (rc < 0)
            break;
    }
    store_finalize(from);
    store_query_release(&q);
    return rc;
}

/* What the channel's state says of its newest run belongs to the newest one that ended. */
static int link_newest(struct registry_job *im, struct err *reterr)
{
    if (im->dry_run)
        return 0;
    return store_exec(im->tx->conn,
                      "UPDATE channel_state SET last_run_id = (SELECT id FROM runs WHERE "
                      "channel_id = channel_state.channel_id AND finished_utc_ms IS NOT NULL "
                      "ORDER BY started_utc_ms DESC, id DESC LIMIT 1) WHERE last_run_id IS NULL",
                      reterr);
}

int registry_history_import(struct registry_job *im, struct err *reterr)
{
    int rc = import_runs(im, reterr);

    if (rc == 0)
        rc = import_rows(im, reterr);
    return rc < 0 ? rc : link_newest(im, reterr);
}
