/* api_runs.c -- what was found: runs of a channel, rows of their probes, and the export of rows.
 * All read on store threads, which render as they step; the loop only puts the parts together. */
#include "api/api_logs_read.h"
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_stream.h"
#include "api/api_target_view.h"

#include <math.h>

/* ---- a run ---- */

#define RUN_COLUMNS                                                                                \
    "id, channel_id, started_utc_ms, finished_utc_ms, status, total, success, fail, log_file, "    \
    "error, cause"

static void write_run(struct json_out *j, struct store_stmt *st, bool is_admin)
{
    struct str file = store_col_str(st, 8), error = store_col_str(st, 9);

    json_out_object(j);
    json_out_ki64(j, "id", store_col_i64(st, 0));
    json_out_ki64(j, "target_id", store_col_i64(st, 1));
    json_out_kts(j, "started_at", store_col_i64(st, 2));
    json_out_kts(j, "finished_at", store_col_i64(st, 3)); /* NULL reads as 0 = null */
    json_out_kstr(j, "status", store_col_str(st, 4));
    json_out_ki64(j, "total", store_col_i64(st, 5));
    json_out_ki64(j, "success", store_col_i64(st, 6));
    json_out_ki64(j, "fail", store_col_i64(st, 7));
    while (!is_admin && str_find(file, '/') >= 0) /* visitors see base names */
        file = str_after(file, '/');
    if (file.ptr)
        json_out_kstr(j, "log_file", file);
    else
        json_out_knull(j, "log_file");
    if (error.ptr)
        json_out_kstr(j, "error", error);
    else
        json_out_knull(j, "error");
    json_out_kstr(j, "cause", store_col_str(st, 10));
    json_out_end(j);
}

/* ---- runs ---- */

struct runs {
    struct api_job job;
    int64_t channel_id, before_id;
    size_t limit;
    bool is_admin;
    struct buf items; /* a whole array */
    int64_t next_before_id;
};

static int find_run_start(struct store_conn *c, int64_t channel_id, int64_t run_id, utc_ms *ret,
                          struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, "SELECT started_utc_ms FROM runs WHERE id = ? AND channel_id = ?",
                           &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, run_id);
    store_bind_i64(st, 2, channel_id);
    rc = store_step(st, reterr);
    if (rc > 0)
        *ret = store_col_i64(st, 0);
    store_reset(st);
    return rc == 0 ? err_set_field(reterr, ERR_NOTFOUND, "before_id", "run not found") : MIN(rc, 0);
}

static int write_runs(struct runs *r, struct store_stmt *st, struct err *reterr)
{
    struct json_out j;
    int64_t last = 0;
    size_t n = 0;
    int rc;

    json_out_init(&j, &r->items);
    json_out_array(&j);
    while ((rc = store_step(st, reterr)) > 0) {
        if (n++ == r->limit) {
            r->next_before_id = last;
            break;
        }
        last = store_col_i64(st, 0);
        write_run(&j, st, r->is_admin);
    }
    json_out_end(&j);
    if (rc >= 0 && j.failed)
        rc = err_set(reterr, ERR_LIMIT, "the answer is too large; ask for a smaller limit");
    return MIN(rc, 0);
}

static int runs_run(struct api_job *job, struct store_conn *c, struct err *reterr)
{
    struct runs *r = container_of(job, struct runs, job);
    utc_ms started = INT64_MAX;
    struct store_stmt *st;
    int rc = 0;

    if (r->before_id > 0)
        rc = find_run_start(c, r->channel_id, r->before_id, &started, reterr);
    if (rc == 0)
        rc = store_prepare(c,
                           "SELECT " RUN_COLUMNS
                           " FROM runs WHERE channel_id = ? AND (started_utc_ms, id) < (?, ?) "
                           "ORDER BY started_utc_ms DESC, id DESC LIMIT ?",
                           &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, r->channel_id);
    store_bind_i64(st, 2, started);
    store_bind_i64(st, 3, r->before_id > 0 ? r->before_id : INT64_MAX);
    store_bind_i64(st, 4, (int64_t)r->limit + 1);
    rc = write_runs(r, st, reterr);
    store_reset(st);
    if (rc < 0)
        buf_release(&r->items);
    return rc;
}

/* "target": item, of the snapshot the call began with. */
static void write_target(struct api_call *c, struct json_out *j, int64_t id)
{
    json_out_key(j, "target");
    api_target_view_write_one(j, c, catalog_channel(c->snapshot, id));
}

static void kid(struct json_out *j, const char *key, int64_t id)
{
    if (id > 0)
        json_out_ki64(j, key, id);
    else
        json_out_knull(j, key);
}

static void runs_done(struct api_job *job)
{
    struct runs *r = container_of(job, struct runs, job);
    struct api_reply reply;

    api_reply_init(&reply, job->call);
    json_out_object(&reply.json);
    write_target(job->call, &reply.json, r->channel_id);
    json_out_key(&reply.json, "items");
    json_out_raw(&reply.json, buf_str(&r->items));
    kid(&reply.json, "next_before_id", r->next_before_id);
    json_out_end(&reply.json);
    buf_release(&r->items);
    api_reply_send(&reply, 200);
}

/* GET /api/targets/{id}/runs: 200 {"target","items":[Run],"next_before_id"}; newest first. */
static void runs(struct api_call *c)
{
    const struct channel *ch = api_channel(c);
    struct runs *r;

    if (!ch)
        return;
    r = arena_zalloc(http_arena(c->x), sizeof(*r));
    r->channel_id = ch->id;
    r->limit = (size_t)api_query_int(c, "limit"); /* 1..200 by its row */
    r->before_id = api_query_int(c, "before_id");
    r->is_admin = c->role == API_ADMIN;
    buf_init(&r->items, 1u << 20);
    r->job.run = runs_run;
    r->job.done = runs_done;
    api_read(c, &r->job);
}

/* ---- log rows: what is asked for ---- */

struct logs { /* a page, or an export, in the exchange's arena */
    struct api_job job;
    struct api_logs_query query;
    bool is_latest; /* query.run_id is the newest run, to be found */
    bool is_admin;
    /* page */
    size_t limit;
    int64_t before_id;
    struct buf run; /* a Run or null */
    struct api_logs_page page;
    /* export */
    struct api_stream stream;
    enum { EXPORT_CSV, EXPORT_JSON, EXPORT_NDJSON } format;
    struct api_logs_cursor after;
    bool is_begun, is_over;
    uint64_t rows;
};

/* Seconds since the epoch, as every time of this API; false after it answered 400. */
static bool read_time(struct api_call *c, const char *name, utc_ms *ret)
{
    struct str s = api_query_str(c, name);
    double seconds;

    if (s.len == 0)
        return true;
    if (str_to_double(s, &seconds) < 0 || !(seconds >= 0 && seconds < 1e11)) {
        api_error_field(c, 400, name, "invalid %s: seconds since 1970", name);
        return false;
    }
    *ret = (utc_ms)llround(seconds * 1000); /* below 1e14 */
    return true;
}

static bool refuse(struct api_call *c, const char *name, const char *text)
{
    api_error_field(c, 400, name, "%s", text);
    return false;
}

static bool read_scope(struct api_call *c, struct logs *l)
{
    struct str scope = api_query_str(c, "scope"), run_id = api_query_str(c, "run_id");

    l->is_latest = !scope.ptr || str_eq_c(scope, "latest");
    if (!l->is_latest && !str_eq_c(scope, "all"))
        return refuse(c, "scope", "invalid scope");
    if (run_id.len == 0)
        return true;
    l->is_latest = false;
    return str_to_i64(run_id, 1, INT64_MAX, &l->query.run_id) == 0 ||
           refuse(c, "run_id", "invalid run_id");
}

/* False after it answered 400. */
static bool read_query(struct api_call *c, struct logs *l)
{
    struct str status = api_query_str(c, "status"), protocol = api_query_str(c, "protocol");

    if (!read_scope(c, l))
        return false;
    l->query.success = str_eq_c(status, "success") ? 1 : str_eq_c(status, "failed") ? 0 : -1;
    if (l->query.success < 0 && status.len > 0 && !str_eq_c(status, "all"))
        return refuse(c, "status", "invalid status: all, success, failed");
    if (protocol.len > 0 && !str_eq_c(protocol, "openai") && !str_eq_c(protocol, "anthropic") &&
        !str_eq_c(protocol, "gemini"))
        return refuse(c, "protocol", "invalid protocol: openai, anthropic, gemini");
    l->query.protocol = protocol;
    l->query.model = api_query_str(c, "model");
    l->query.q = str_trim(api_query_str(c, "q"));
    return read_time(c, "since", &l->query.since) && read_time(c, "until", &l->query.until);
}

static struct logs *logs_new(struct api_call *c)
{
    const struct channel *ch = api_channel(c);
    struct logs *l;

    if (!ch)
        return NULL;
    l = arena_zalloc(http_arena(c->x), sizeof(*l));
    l->query.channel_id = ch->id;
    l->is_admin = c->role == API_ADMIN;
    return read_query(c, l) ? l : NULL;
}

/* On a store thread: the run asked for as JSON into l->run, `null` for all; its id into the query.
 */
static int find_run(struct logs *l, struct store_conn *c, struct err *reterr)
{
    struct json_out j;
    struct store_stmt *st;
    int rc;

    json_out_init(&j, &l->run);
    if (!l->is_latest && l->query.run_id == 0) {
        json_out_null(&j);
        return 0;
    }
    rc = l->is_latest
             ? store_prepare(c,
                             "SELECT " RUN_COLUMNS " FROM runs WHERE channel_id = ? "
                             "ORDER BY started_utc_ms DESC, id DESC LIMIT 1",
                             &st, reterr)
             : store_prepare(c, "SELECT " RUN_COLUMNS " FROM runs WHERE channel_id = ? AND id = ?",
                             &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, l->query.channel_id);
    if (!l->is_latest)
        store_bind_i64(st, 2, l->query.run_id);
    rc = store_step(st, reterr);
    if (rc > 0) {
        l->query.run_id = store_col_i64(st, 0);
        write_run(&j, st, l->is_admin);
    } else if (rc == 0 && l->is_latest) {
        json_out_null(&j); /* never run: no rows either */
    } else if (rc == 0) {
        rc = err_set_field(reterr, ERR_NOTFOUND, "run_id", "run not found");
    }
    store_reset(st);
    return MIN(rc, 0);
}

static bool is_nothing(const struct logs *l)
{
    return l->is_latest && l->query.run_id == 0;
}

/* ---- a page ---- */

static int page_run(struct api_job *job, struct store_conn *c, struct err *reterr)
{
    struct logs *l = container_of(job, struct logs, job);
    struct api_logs_cursor before = {0};
    bool is_found = true;
    int rc;

    buf_init(&l->run, 1u << 20);
    rc = find_run(l, c, reterr);
    if (rc == 0 && l->before_id > 0)
        rc = api_logs_read_find(c, l->query.channel_id, l->before_id, &before, &is_found, reterr);
    /* A row that retention took meanwhile has nothing older left beside it. */
    if (rc == 0 && is_found && !is_nothing(l))
        rc = api_logs_read_page(c, &l->query, before, l->limit, &l->page, reterr);
    if (rc < 0)
        buf_release(&l->run);
    return rc;
}

static void page_done(struct api_job *job)
{
    struct logs *l = container_of(job, struct logs, job);
    struct api_reply r;

    api_reply_init(&r, job->call);
    json_out_object(&r.json);
    write_target(job->call, &r.json, l->query.channel_id);
    json_out_key(&r.json, "run");
    json_out_raw(&r.json, buf_str(&l->run));
    json_out_ki64(&r.json, "count", (int64_t)l->page.count);
    json_out_key(&r.json, "items");
    json_out_array(&r.json);
    if (l->page.count > 0)
        json_out_raw(&r.json, buf_str(&l->page.rows)); /* values with their commas */
    json_out_end(&r.json);
    kid(&r.json, "next_before_id", l->page.next_before_id);
    json_out_kbool(&r.json, "partial", l->page.is_partial);
    json_out_end(&r.json);
    buf_release(&l->run);
    api_logs_read_page_release(&l->page);
    api_reply_send(&r, 200);
}

/* GET /api/targets/{id}/logs: 200 {"target","run":Run|null,"count","items":[row],"next_before_id",
 * "partial"}: the newest `limit` rows, ascending. Older ones: before_id = next_before_id. With
 * `partial` the search stopped early; next_before_id goes on with it. */
static void logs(struct api_call *c)
{
    struct logs *l = logs_new(c);

    if (!l)
        return;
    l->limit = (size_t)api_query_int(c, "limit"); /* 1..20000 by its row */
    l->before_id = api_query_int(c, "before_id");
    l->job.run = page_run;
    l->job.done = page_done;
    api_read(c, &l->job);
}

/* ---- export ---- */

#define EXPORT_BUDGET_MS 200 /* of a store thread at a time */

static void export_row(struct logs *l, const struct api_logs_walk *w)
{
    struct buf *out = &l->stream.buf;

    if (l->format == EXPORT_CSV) {
        api_logs_read_csv(w, out);
    } else {
        if (l->format == EXPORT_JSON && l->rows > 0)
            buf_put(out, STR(",\n"));
        json_out_init(&l->stream.json, out);
        api_logs_read_json(w, &l->stream.json);
        if (l->format == EXPORT_NDJSON && !l->stream.json.failed)
            buf_put(out, STR("\n"));
    }
    l->rows++;
}

static int export_piece(struct logs *l, struct store_conn *c, struct err *reterr)
{
    struct api_logs_walk w;
    int rc = api_logs_read_open(&w, c, &l->query, true, l->after, EXPORT_BUDGET_MS, reterr);

    if (rc < 0)
        return rc;
    while (buf_len(&l->stream.buf) < API_STREAM_PIECE && !l->stream.json.failed) {
        rc = api_logs_read_next(&w, reterr);
        if (rc <= 0)
            break;
        export_row(l, &w);
    }
    l->is_over = rc == 0 && !w.is_out_of_time;
    l->after = w.at;
    api_logs_read_close(&w);
    return MIN(rc, 0);
}

static int export_run(struct store_job *j, struct store_conn *c)
{
    struct logs *l = container_of(j, struct logs, job.job);
    struct buf *out = &l->stream.buf;
    int rc = 0;

    if (!l->is_begun) {
        buf_init(&l->run, 1u << 20);
        rc = find_run(l, c, &j->err);
        buf_release(&l->run);
        if (rc < 0)
            return rc;
        l->is_begun = true;
        if (l->format == EXPORT_CSV)
            api_logs_read_csv_head(out);
        else if (l->format == EXPORT_JSON)
            buf_put(out, STR("[\n"));
    }
    l->is_over = is_nothing(l);
    if (!l->is_over)
        rc = export_piece(l, c, &j->err);
    if (rc == 0 && l->is_over && l->format == EXPORT_JSON)
        buf_put(out, l->rows > 0 ? STR("\n]\n") : STR("]\n"));
    return rc;
}

static void export_more(struct api_stream *s);

static void export_done(struct store_job *j)
{
    struct logs *l = container_of(j, struct logs, job.job);

    if (j->rc < 0)
        api_stream_fail(&l->stream, &j->err);
    else if (buf_len(&l->stream.buf) == 0 && !l->is_over && !http_is_gone(l->stream.call->x))
        export_more(&l->stream); /* nothing matched in this stretch */
    else
        api_stream_push(&l->stream, l->is_over);
}

static void export_more(struct api_stream *s)
{
    struct logs *l = container_of(s, struct logs, stream);
    struct err e = {0};

    l->job.job = (struct store_job){
        .reply_loop = http_loop(s->call->x), .run = export_run, .done = export_done};
    if (store_read(s->call->api->cfg.store, &l->job.job) == 0)
        return;
    err_set(&e, ERR_BUSY, "too many requests wait for the store, try again");
    api_stream_fail(s, &e);
}

/* GET /api/targets/{id}/logs/export?format=csv|json|ndjson: the rows the filters name, all of them,
 * oldest first, as they are read. */
static void export(struct api_call *c)
{
    static const struct {
        const char *name, *type;
    } formats[] = {
        [EXPORT_CSV] = {"csv", "text/csv; charset=utf-8"},
        [EXPORT_JSON] = {"json", "application/json"},
        [EXPORT_NDJSON] = {"ndjson", "application/x-ndjson"},
    };
    struct logs *l = logs_new(c);
    struct str format = api_query_str(c, "format");
    size_t f = EXPORT_CSV;

    if (!l)
        return;
    while (format.len > 0 && f < ARRAY_LEN(formats) && !str_eq_c(format, formats[f].name))
        f++;
    if (f == ARRAY_LEN(formats)) {
        refuse(c, "format", "invalid format: csv, json, ndjson");
        return;
    }
    l->format = (unsigned)f; /* an index of formats */
    l->stream.more = export_more;
    http_add_headerf(c->x, "Content-Disposition", "attachment; filename=\"target-%lld-logs.%s\"",
                     (long long)l->query.channel_id, formats[f].name);
    api_stream_start(&l->stream, c, formats[f].type);
}

// clang-format off
#define T "logs"
#define HISTORY_ROW {"history", "integer", "points of history for each model of `target`", 0, BOARD_HISTORY, BOARD_HISTORY, NULL}
#define FILTER_ROWS                                                                                     \
    {"scope", "string", "latest: the newest run; all: every run", 0, 0, 0, "latest|all"},               \
    {"run_id", "integer", "this run, whatever the scope", 1, INT64_MAX, 0, NULL},                       \
    {"q", "string", "part of model, content or error", 0, 0, 0, NULL},                                  \
    {"status", "string", "all, or one verdict", 0, 0, 0, "all|success|failed"},                         \
    {"protocol", "string", "one protocol", 0, 0, 0, "openai|anthropic|gemini"},                         \
    {"model", "string", "exactly this model", 0, 0, 0, NULL},                                           \
    {"since", "number", "seconds since 1970, inclusive", 0, 0, 0, NULL},                                \
    {"until", "number", "seconds since 1970, exclusive", 0, 0, 0, NULL}
#define END_ROW {NULL, NULL, NULL, 0, 0, 0, NULL}
#define QUERY_ERRORS                                                                                    \
    "400 invalid id; 404 target not found; 400 invalid scope; 400 invalid run_id; 400 invalid status; " \
    "400 invalid protocol; 400 invalid since; 404 run not found"
#define RUN                                                                                             \
    "{\"type\":[\"object\",\"null\"],\"properties\":{\"id\":{\"type\":\"integer\"},\"target_id\":{\"type\":\"integer\"}," \
    "\"started_at\":{\"type\":\"number\"},\"finished_at\":{\"type\":[\"number\",\"null\"]},\"status\":{\"type\":\"string\"," \
    "\"enum\":[\"running\",\"completed\",\"error\"]},\"total\":{\"type\":\"integer\"},\"success\":{\"type\":\"integer\"}," \
    "\"fail\":{\"type\":\"integer\"},\"log_file\":{\"type\":[\"string\",\"null\"]},\"error\":{\"type\":[\"string\",\"null\"]}," \
    "\"cause\":{\"type\":\"string\",\"enum\":[\"schedule\",\"manual\",\"import\"]}}}"
#define SECONDS "{\"type\":[\"number\",\"null\"]}"
#define ROW                                                                                             \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"run_id\":{\"type\":\"integer\"}," \
    "\"target_id\":{\"type\":\"integer\"},\"protocol\":{\"type\":\"string\"},\"model\":{\"type\":\"string\"}," \
    "\"stream\":{\"type\":\"boolean\"},\"duration\":" SECONDS ",\"success\":{\"type\":\"boolean\"}," \
    "\"transport_success\":{\"type\":\"boolean\"},\"tool_calls_count\":{\"type\":\"integer\"}," \
    "\"tool_calls\":{\"type\":\"array\"},\"content\":{\"type\":[\"string\",\"null\"]},\"timestamp\":{\"type\":\"number\"}," \
    "\"error\":{\"type\":[\"string\",\"null\"]},\"status_code\":{\"type\":[\"integer\",\"null\"]}," \
    "\"route\":{\"type\":\"string\"},\"endpoint\":{\"type\":\"string\"},\"outcome\":{\"type\":\"string\"}," \
    "\"sub_status\":{\"type\":[\"string\",\"null\"]},\"ttfb\":" SECONDS ",\"ttft\":" SECONDS ",\"ping\":" SECONDS "," \
    "\"dns\":" SECONDS ",\"connect\":" SECONDS ",\"tls\":" SECONDS "}}"
#define TARGET "\"target\":{\"$ref\":\"#/components/schemas/Target\"}"
#define NEXT   "\"next_before_id\":{\"type\":[\"integer\",\"null\"]}"

static const struct route_param runs_params[] = {
    {"limit", "integer", "runs on a page", 1, 200, 20, NULL},
    {"before_id", "integer", "older than this run: `next_before_id` of the page before", 0, INT64_MAX, 0, NULL},
    HISTORY_ROW,
    END_ROW,
};
static const struct route_param logs_params[] = {
    FILTER_ROWS,
    {"limit", "integer", "rows on a page, the newest", 1, API_LOGS_LIMIT_MAX, 5000, NULL},
    {"before_id", "integer", "older than this row: `next_before_id` of the page before", 0, INT64_MAX, 0, NULL},
    HISTORY_ROW,
    END_ROW,
};
static const struct route_param export_params[] = {
    FILTER_ROWS,
    {"format", "string", "csv when absent", 0, 0, 0, "csv|json|ndjson"},
    END_ROW,
};

const struct route api_runs_routes[] = {
    {HTTP_GET_, "/api/targets/{id}/runs", ROUTE_ANY, 0, runs, T, "Runs of a channel, newest first", runs_params, NULL,
     "{\"type\":\"object\",\"properties\":{" TARGET ",\"items\":{\"type\":\"array\",\"items\":" RUN "}," NEXT "}}",
     "400 invalid id; 404 target not found; 404 run not found"},
    {HTTP_GET_, "/api/targets/{id}/logs", ROUTE_ANY, 0, logs, T, "Probe rows of a channel: the newest, in order of time",
     logs_params, NULL,
     "{\"type\":\"object\",\"properties\":{" TARGET ",\"run\":" RUN ",\"count\":{\"type\":\"integer\"},"
     "\"items\":{\"type\":\"array\",\"items\":" ROW "}," NEXT ",\"partial\":{\"type\":\"boolean\"}}}",
     QUERY_ERRORS},
    {HTTP_GET_, "/api/targets/{id}/logs/export", ROUTE_ANY, 0, export, T,
     "All probe rows the filters name as a file, oldest first, streamed", export_params, NULL,
     "{\"type\":\"array\",\"items\":" ROW "}", QUERY_ERRORS "; 400 invalid format"},
};
const size_t api_runs_route_count = ARRAY_LEN(api_runs_routes);
// clang-format on
