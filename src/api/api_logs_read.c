#include "api/api_logs_read.h"

#include "base/clock.h"
#include "base/json_doc.h"
#include "llm/outcome.h"

#define PAGE_BUDGET_MS 12  /* spent on rows that do not match; a page shall take 20 */
#define LOOK_EVERY     128 /* rows between two looks at the clock */
#define PAGE_MAX       (64u << 20)
#define TOOL_CALLS_MAX (1u << 20)
#define CELL_MAX       (256u * 1024) /* ours are below 64 KiB; an imported one may be anything */

enum column {
    COL_ID,
    COL_RUN,
    COL_ITEM,
    COL_AT,
    COL_MODEL,
    COL_PROTOCOL,
    COL_ROUTE,
    COL_ENDPOINT,
    COL_OUTCOME,
    COL_SUB_STATUS,
    COL_SUCCESS,
    COL_TRANSPORT,
    COL_STREAM,
    COL_DURATION,
    COL_TTFB,
    COL_TTFT,
    COL_PING,
    COL_DNS,
    COL_CONNECT,
    COL_TLS,
    COL_STATUS,
    COL_TOOL_COUNT,
    COL_TOOLS,
    COL_CONTENT,
    COL_ERROR,
};

#define SELECT                                                                                     \
    "SELECT id, run_id, item_id, at_utc_ms, model, protocol, route, endpoint, outcome, "           \
    "sub_status, success, transport_success, is_stream, duration_us, ttfb_us, ttft_us, ping_us, "  \
    "dns_us, connect_us, tls_us, http_status, tool_calls_count, tool_calls, content, error "       \
    "FROM probe_results "

/* ---- the walk ---- */

static void build(struct api_logs_walk *w, bool is_ascending, struct api_logs_cursor from)
{
    const struct api_logs_query *q = w->query;
    struct store_query *s = &w->sql;

    /* The index is named, because the planner would trade the run's few rows for a sorted walk over
     * all rows of the channel. */
    if (q->run_id > 0) {
        store_query_init(s, SELECT "INDEXED BY probe_results_run WHERE run_id > 0");
        store_query_i64(s, " AND run_id = ?", q->run_id);
        store_query_add(s, " AND item_kind = 0");
    } else if (q->model.len > 0) {
        store_query_init(s, SELECT "INDEXED BY probe_results_model WHERE item_kind = 0");
    } else {
        store_query_init(s, SELECT "INDEXED BY probe_results_item WHERE item_kind = 0");
    }
    store_query_i64(s, " AND item_id = ?", q->channel_id);
    if (q->model.len > 0)
        store_query_str(s, " AND model = ?", q->model);
    if (q->since > 0)
        store_query_i64(s, " AND at_utc_ms >= ?", q->since);
    if (q->until > 0)
        store_query_i64(s, " AND at_utc_ms < ?", q->until);
    if (from.id > 0) {
        store_query_i64(s, is_ascending ? " AND (at_utc_ms, id) > (?" : " AND (at_utc_ms, id) < (?",
                        from.at_utc_ms);
        store_query_i64(s, ", ?)", from.id);
    }
    store_query_add(s,
                    is_ascending ? " ORDER BY at_utc_ms, id" : " ORDER BY at_utc_ms DESC, id DESC");
}

int api_logs_read_open(struct api_logs_walk *w, struct store_conn *c,
                       const struct api_logs_query *q, bool is_ascending,
                       struct api_logs_cursor from, uint64_t budget_ms, struct err *reterr)
{
    int rc;

    *w = (struct api_logs_walk){.query = q, .at = from};
    if (budget_ms > 0)
        w->until_us = clock_mono_us() + budget_ms * 1000;
    build(w, is_ascending, from);
    rc = store_query_prepare(c, &w->sql, &w->st, reterr);
    if (rc < 0)
        store_query_release(&w->sql);
    return rc;
}

void api_logs_read_close(struct api_logs_walk *w)
{
    store_finalize(w->st);
    store_query_release(&w->sql);
    w->st = NULL;
}

static bool matches(const struct api_logs_walk *w)
{
    const struct api_logs_query *q = w->query;

    if (q->success >= 0 && (store_col_i64(w->st, COL_SUCCESS) != 0) != (q->success == 1))
        return false;
    if (q->protocol.len > 0 && !str_eq(store_col_str(w->st, COL_PROTOCOL), q->protocol))
        return false;
    return q->q.len == 0 || str_ifind_str(store_col_str(w->st, COL_MODEL), q->q) >= 0 ||
           str_ifind_str(store_col_str(w->st, COL_ERROR), q->q) >= 0 ||
           str_ifind_str(store_col_str(w->st, COL_CONTENT), q->q) >= 0;
}

int api_logs_read_next(struct api_logs_walk *w, struct err *reterr)
{
    for (;;) {
        int rc = store_step(w->st, reterr);

        if (rc <= 0)
            return rc;
        w->at.id = store_col_i64(w->st, COL_ID);
        w->at.at_utc_ms = store_col_i64(w->st, COL_AT);
        w->looked_at++;
        if (matches(w))
            return 1;
        if (w->until_us > 0 && w->looked_at % LOOK_EVERY == 0 && clock_mono_us() >= w->until_us) {
            w->is_out_of_time = true;
            return 0;
        }
    }
}

/* ---- a row as JSON ---- */

/* Seconds of a microsecond column; unknown is null. */
static void kseconds(const struct api_logs_walk *w, struct json_out *j, const char *key, int column)
{
    json_out_key(j, key);
    if (store_col_is_null(w->st, column))
        json_out_null(j);
    else
        json_out_fixed(j, (store_col_i64(w->st, column) + 500) / 1000, 3);
}

static void ktext(const struct api_logs_walk *w, struct json_out *j, const char *key, int column)
{
    struct str s = store_col_str(w->st, column);

    if (s.ptr)
        json_out_kstr(j, key, s);
    else
        json_out_knull(j, key);
}

/* Stored text of an array, maybe of an old system: anything else becomes []. Written again rather
 * than passed on, with '<', '>', '&' as the writer has them; in JSON these stand inside strings
 * only. */
static void write_tool_calls(struct str stored, struct json_out *j)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct buf b = BUF_INIT(8 * TOOL_CALLS_MAX);
    char *text;

    if (stored.len <= 2 || stored.len > TOOL_CALLS_MAX ||
        json_doc_parse(stored, 0, &doc, NULL) < 0 || !json_is_array(doc)) {
        json_out_raw(j, STR("[]"));
        return;
    }
    text = json_dumps(doc, JSON_COMPACT);
    for (const char *p = text; p && *p; p++) {
        if (*p == '<' || *p == '>' || *p == '&')
            buf_putf(&b, "\\u%04x", (unsigned)*p);
        else
            buf_put(&b, str_n(p, 1));
    }
    json_out_raw(j, buf_len(&b) > 0 ? buf_str(&b) : STR("[]"));
    xfree(text); /* jansson allocates with malloc() */
    buf_release(&b);
}

static const char *outcome_text(const struct api_logs_walk *w)
{
    int64_t outcome = store_col_i64(w->st, COL_OUTCOME);

    return outcome >= 0 && outcome < OUTCOME_COUNT ? outcome_rows[outcome].name : "";
}

void api_logs_read_json(const struct api_logs_walk *w, struct json_out *j)
{
    struct store_stmt *st = w->st;
    struct str sub_status = store_col_str(st, COL_SUB_STATUS);

    json_out_object(j);
    json_out_ki64(j, "id", store_col_i64(st, COL_ID));
    json_out_ki64(j, "run_id", store_col_i64(st, COL_RUN));
    json_out_ki64(j, "target_id", store_col_i64(st, COL_ITEM));
    ktext(w, j, "protocol", COL_PROTOCOL);
    ktext(w, j, "model", COL_MODEL);
    json_out_kbool(j, "stream", store_col_i64(st, COL_STREAM) != 0);
    kseconds(w, j, "duration", COL_DURATION);
    json_out_kbool(j, "success", store_col_i64(st, COL_SUCCESS) != 0);
    json_out_kbool(j, "transport_success", store_col_i64(st, COL_TRANSPORT) != 0);
    json_out_ki64(j, "tool_calls_count", store_col_i64(st, COL_TOOL_COUNT));
    json_out_key(j, "tool_calls");
    write_tool_calls(store_col_str(st, COL_TOOLS), j);
    ktext(w, j, "content", COL_CONTENT);
    json_out_kts(j, "timestamp", store_col_i64(st, COL_AT));
    ktext(w, j, "error", COL_ERROR);
    if (store_col_is_null(st, COL_STATUS))
        json_out_knull(j, "status_code");
    else
        json_out_ki64(j, "status_code", store_col_i64(st, COL_STATUS));
    ktext(w, j, "route", COL_ROUTE);
    ktext(w, j, "endpoint", COL_ENDPOINT);
    json_out_kcstr(j, "outcome", outcome_text(w));
    if (sub_status.len > 0)
        json_out_kstr(j, "sub_status", sub_status);
    else
        json_out_knull(j, "sub_status");
    kseconds(w, j, "ttfb", COL_TTFB);
    kseconds(w, j, "ttft", COL_TTFT);
    kseconds(w, j, "ping", COL_PING);
    kseconds(w, j, "dns", COL_DNS);
    kseconds(w, j, "connect", COL_CONNECT);
    kseconds(w, j, "tls", COL_TLS);
    json_out_end(j);
}

/* ---- a row as CSV ---- */

static const struct {
    const char *name;
    enum column column;
} csv_columns[] = {
    {"id", COL_ID},
    {"run_id", COL_RUN},
    {"time", COL_AT},
    {"model", COL_MODEL},
    {"protocol", COL_PROTOCOL},
    {"route", COL_ROUTE},
    {"endpoint", COL_ENDPOINT},
    {"outcome", COL_OUTCOME},
    {"success", COL_SUCCESS},
    {"status_code", COL_STATUS},
    {"duration", COL_DURATION},
    {"ttfb", COL_TTFB},
    {"ttft", COL_TTFT},
    {"ping", COL_PING},
    {"stream", COL_STREAM},
    {"error", COL_ERROR},
    {"content", COL_CONTENT},
};

/* The caller's buf holds far more than a row of cells of CELL_MAX. */
void api_logs_read_csv_cell(struct buf *out, struct str text)
{
    bool is_formula = text.len > 0 && memchr("=+-@\t\r", text.ptr[0], 6);
    bool needs_quotes = is_formula;

    for (size_t i = 0; i < text.len && !needs_quotes; i++)
        needs_quotes = memchr(",\"\r\n", text.ptr[i], 4) != NULL;
    if (!needs_quotes) {
        buf_put(out, text);
        return;
    }
    buf_put(out, is_formula ? STR("\"'") : STR("\""));
    while (text.len > 0) {
        struct str run = str_until(text, '"');

        buf_put(out, run);
        text = str_cut(text, run.len, text.len);
        if (text.len > 0) {
            buf_put(out, STR("\"\""));
            text = str_cut(text, 1, text.len);
        }
    }
    buf_put(out, STR("\""));
}

void api_logs_read_csv_head(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(csv_columns); i++)
        buf_putf(out, "%s%s", i > 0 ? "," : "", csv_columns[i].name);
    buf_put(out, STR("\r\n"));
}

static void csv_cell(const struct api_logs_walk *w, enum column column, struct buf *out)
{
    struct store_stmt *st = w->st;
    char time[CLOCK_ISO_SIZE];

    switch (column) {
    case COL_AT:
        clock_iso(store_col_i64(st, COL_AT), time);
        buf_put(out, str_of(time));
        break;
    case COL_OUTCOME:
        buf_put(out, str_of(outcome_text(w)));
        break;
    case COL_SUCCESS:
    case COL_STREAM:
        buf_put(out, store_col_i64(st, (int)column) != 0 ? STR("true") : STR("false"));
        break;
    case COL_DURATION:
    case COL_TTFB:
    case COL_TTFT:
    case COL_PING: {
        int64_t ms = (store_col_i64(st, (int)column) + 500) / 1000;

        if (!store_col_is_null(st, (int)column))
            buf_putf(out, "%lld.%03lld", (long long)ms / 1000, (long long)ms % 1000);
        break;
    }
    case COL_ID:
    case COL_RUN:
    case COL_ITEM:
    case COL_MODEL:
    case COL_PROTOCOL:
    case COL_ROUTE:
    case COL_ENDPOINT:
    case COL_SUB_STATUS:
    case COL_TRANSPORT:
    case COL_DNS:
    case COL_CONNECT:
    case COL_TLS:
    case COL_STATUS:
    case COL_TOOL_COUNT:
    case COL_TOOLS:
    case COL_CONTENT:
    case COL_ERROR:
        api_logs_read_csv_cell(out, str_cut_utf8(store_col_str(st, (int)column), CELL_MAX));
        break;
    }
}

void api_logs_read_csv(const struct api_logs_walk *w, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(csv_columns); i++) {
        if (i > 0)
            buf_put(out, STR(","));
        csv_cell(w, csv_columns[i].column, out);
    }
    buf_put(out, STR("\r\n"));
}

/* ---- a page ---- */

int api_logs_read_find(struct store_conn *c, int64_t channel_id, int64_t id,
                       struct api_logs_cursor *ret, bool *ret_found, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(
        c, "SELECT at_utc_ms FROM probe_results WHERE id = ? AND item_kind = 0 AND item_id = ?",
        &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    store_bind_i64(st, 2, channel_id);
    rc = store_step(st, reterr);
    *ret_found = rc > 0;
    if (rc > 0)
        *ret = (struct api_logs_cursor){store_col_i64(st, 0), id};
    store_reset(st);
    return rc < 0 ? rc : 0;
}

void api_logs_read_page_release(struct api_logs_page *p)
{
    buf_release(&p->rows);
}

/* Rows came newest first, one behind the other in `from`; ends[i] is where row i ends. */
static int reverse(const struct buf *from, const size_t *ends, size_t count, struct buf *to)
{
    int rc = buf_reserve(to, buf_len(from) + count);

    for (size_t i = count; i-- > 0 && rc == 0;) {
        size_t start = i > 0 ? ends[i - 1] : 0;

        rc = buf_add(to, from->ptr + from->head + start, ends[i] - start);
        if (rc == 0 && i > 0)
            rc = buf_add_char(to, ',');
    }
    return rc;
}

static int collect(struct api_logs_walk *w, size_t limit, struct buf *rows, size_t *ends,
                   struct api_logs_page *page, struct err *reterr)
{
    int rc;

    while ((rc = api_logs_read_next(w, reterr)) > 0) {
        struct json_out j;

        if (page->count == limit)
            return 0; /* there are more: next_before_id stands */
        json_out_init(&j, rows);
        api_logs_read_json(w, &j);
        if (j.failed)
            return err_set(reterr, ERR_LIMIT,
                           "the page is larger than %u MiB; ask for a smaller limit",
                           PAGE_MAX >> 20);
        ends[page->count++] = buf_len(rows);
        page->next_before_id = w->at.id;
    }
    if (rc == 0 && w->is_out_of_time) {
        page->is_partial = true;
        page->next_before_id = w->at.id;
    } else {
        page->next_before_id = 0;
    }
    return rc;
}

int api_logs_read_page(struct store_conn *c, const struct api_logs_query *q,
                       struct api_logs_cursor before, size_t limit, struct api_logs_page *ret,
                       struct err *reterr)
{
    struct api_logs_page page = {.rows = BUF_INIT(PAGE_MAX)};
    struct buf rows = BUF_INIT(PAGE_MAX);
    struct api_logs_walk w;
    size_t *ends;
    int rc;

    assert(limit <= API_LOGS_LIMIT_MAX);
    rc = api_logs_read_open(&w, c, q, false, before, PAGE_BUDGET_MS, reterr);
    if (rc < 0)
        return rc;
    ends = xcalloc(limit + 1, sizeof(*ends));
    rc = collect(&w, limit, &rows, ends, &page, reterr);
    if (rc == 0 && reverse(&rows, ends, page.count, &page.rows) < 0)
        rc = err_set(reterr, ERR_LIMIT, "the page is too large; ask for a smaller limit");
    api_logs_read_close(&w);
    xfree(ends);
    buf_release(&rows);
    if (rc == 0)
        *ret = page;
    else
        buf_release(&page.rows);
    return rc;
}
