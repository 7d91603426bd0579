#include "api/api_target_view.h"

#include "api/api_private.h"
#include "base/clock.h"

/* ---- the frame ---- */

static const int64_t *ids_of(struct api_call *c, size_t (*get)(struct prober *, int64_t *, size_t),
                             size_t *ret_count)
{
    struct prober *p = c->api->cfg.prober;
    size_t cap = get(p, NULL, 0) + 64; /* some may start between the two questions */
    int64_t *ids = arena_alloc(http_arena(c->x), cap * sizeof(*ids));
    size_t n = get(p, ids, cap);

    *ret_count = MIN(n, cap);
    return ids;
}

static bool has_param(const struct route *r, const char *name)
{
    for (const struct route_param *p = r->params; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return true;
    return false;
}

void api_target_view_frame(struct api_call *c, struct api_target_frame *ret)
{
    *ret = (struct api_target_frame){
        .is_admin = c->role == API_ADMIN,
        .history = BOARD_HISTORY,
        .health = c->api->cfg.health,
        .mono_to_utc_ms =
            clock_utc_ms() - (int64_t)clock_mono_ms(), /* since boot: far below 2^63 */
    };
    if (has_param(c->route, "history"))
        ret->history = (unsigned)api_query_int(c, "history"); /* 0..30 by its row */
    ret->running = ids_of(c, prober_running, &ret->running_count);
    ret->queued = ids_of(c, prober_queued, &ret->queued_count);
}

static bool has_id(const int64_t *ids, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++) /* tens at most, and most often none */
        if (ids[i] == id)
            return true;
    return false;
}

bool api_target_view_is_queued(const struct api_target_frame *f, int64_t id)
{
    return has_id(f->queued, f->queued_count, id);
}

bool api_target_view_is_running(const struct api_target_frame *f, int64_t id)
{
    return has_id(f->running, f->running_count, id) || api_target_view_is_queued(f, id);
}

/* ---- models and their histories ---- */

/* A list of 1,000 channels holds 300,000 points, so a point is put together here in one pass
 * instead of through the writer member by member. */
static char *put(char *p, struct str s)
{
    memcpy(p, s.ptr, s.len);
    return p + s.len;
}
#define PUT(p, literal) put((p), STR(literal))

static char *put_u64(char *p, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return put(p, str_n(digits + at, sizeof(digits) - at));
}

/* Thousandths, without trailing zeros: 812 -> 0.812, 1500 -> 1.5. */
static char *put_milli(char *p, int64_t v)
{
    uint64_t u = v < 0 ? 0 : (uint64_t)v; /* durations and times are never negative */
    uint64_t rest = u % 1000;

    p = put_u64(p, u / 1000);
    if (rest == 0)
        return p;
    *p++ = '.';
    *p++ = (char)('0' + rest / 100);
    if (rest % 100 != 0)
        *p++ = (char)('0' + rest / 10 % 10);
    if (rest % 10 != 0)
        *p++ = (char)('0' + rest % 10);
    return p;
}

static int64_t milli_of_us(int64_t us)
{
    return (us + 500) / 1000;
}

static void kmilli(struct json_out *j, const char *key, int64_t us)
{
    json_out_key(j, key);
    if (us > 0)
        json_out_fixed(j, milli_of_us(us), 3);
    else
        json_out_null(j);
}

/* A point without an error text, which nearly all are. */
static void write_good_point(struct json_out *j, const struct board_point *pt)
{
    char text[256], *p = text; /* four numbers of 20 digits and the names fit */

    p = pt->success ? PUT(p, "{\"success\":true,\"duration\":")
                    : PUT(p, "{\"success\":false,\"duration\":");
    p = put_milli(p, milli_of_us(pt->duration_us));
    p = PUT(p, ",\"timestamp\":");
    p = put_milli(p, pt->at_utc_ms);
    p = PUT(p, ",\"error\":null,\"status_code\":");
    p = pt->http_status > 0 ? put_u64(p, (uint64_t)pt->http_status) : PUT(p, "null");
    p = PUT(p, "}");
    json_out_raw(j, str_n(text, (size_t)(p - text)));
}

static void kstatus(struct json_out *j, int32_t http_status)
{
    if (http_status > 0)
        json_out_ki64(j, "status_code", http_status);
    else
        json_out_knull(j, "status_code");
}

static void write_point(struct json_out *j, const struct board_point *pt)
{
    if (!pt->error) {
        write_good_point(j, pt);
        return;
    }
    json_out_object(j);
    json_out_kbool(j, "success", pt->success);
    json_out_key(j, "duration");
    json_out_fixed(j, milli_of_us(pt->duration_us), 3);
    json_out_kts(j, "timestamp", pt->at_utc_ms);
    json_out_kcstr(j, "error", pt->error);
    kstatus(j, pt->http_status);
    json_out_end(j);
}

static char *put_duration(char *p, int64_t us)
{
    return us > 0 ? put_milli(p, milli_of_us(us)) : PUT(p, "null");
}

/* {"state","good","samples","latency_ewma","ttft_ewma","fault","open_until"}: the window since our
 * start; what was not called since then is closed, without samples. */
static void write_health(struct json_out *j, const struct api_target_frame *f, int64_t channel_id,
                         struct str model)
{
    const struct health_cell *cell = health_find(f->health, 0, channel_id, model);
    char text[384], *p = text; /* five numbers of 24 bytes and the names fit */
    struct health_reading r = {0};
    bool is_closed;

    if (cell)
        health_read(cell, &r);
    is_closed = r.breaker == BREAKER_CLOSED;
    p = PUT(p, "{\"state\":\"");
    p = put(p, str_of(health_breaker_name(r.breaker)));
    p = PUT(p, "\",\"good\":");
    p = put_u64(p, r.good);
    p = PUT(p, ",\"samples\":");
    p = put_u64(p, r.samples);
    p = PUT(p, ",\"latency_ewma\":");
    p = put_duration(p, r.latency_ewma_us);
    p = PUT(p, ",\"ttft_ewma\":");
    p = put_duration(p, r.ttft_ewma_us);
    p = is_closed ? PUT(p, ",\"fault\":null") : PUT(p, ",\"fault\":\"");
    if (!is_closed) {
        p = put(p, str_of(outcome_class_name(r.fault)));
        p = PUT(p, "\"");
    }
    p = PUT(p, ",\"open_until\":");
    p = r.breaker == BREAKER_OPEN ? put_milli(p, (int64_t)r.open_until_mono_ms + f->mono_to_utc_ms)
                                  : PUT(p, "null");
    p = PUT(p, "}");
    json_out_raw(j, str_n(text, (size_t)(p - text)));
}

static void write_model(struct json_out *j, const struct api_target_frame *f, int64_t channel_id,
                        const struct board_model *m)
{
    const struct board_point *last = &m->points[m->point_count - 1];
    size_t from = m->point_count > f->history ? (size_t)m->point_count - f->history : 0;

    json_out_object(j);
    json_out_kcstr(j, "protocol", m->family);
    json_out_kcstr(j, "model", m->model);
    json_out_kbool(j, "success", last->success);
    json_out_key(j, "duration");
    json_out_fixed(j, milli_of_us(last->duration_us), 3);
    json_out_kcstr(j, "error", last->error);
    kstatus(j, last->http_status);
    json_out_kcstr(j, "outcome", outcome_rows[last->outcome].name);
    json_out_kcstr(j, "route", m->route);
    json_out_kts(j, "timestamp", last->at_utc_ms);
    kmilli(j, "ttfb", last->ttfb_us);
    kmilli(j, "ttft", last->ttft_us);
    json_out_ki64(j, "run_id", m->run_id);
    if (f->health) {
        json_out_key(j, "health");
        write_health(j, f, channel_id, str_of(m->model));
    }
    json_out_key(j, "history");
    json_out_array(j);
    for (size_t i = from; i < m->point_count; i++)
        write_point(j, &m->points[i]);
    json_out_end(j);
    json_out_end(j);
}

void api_target_view_models(struct json_out *j, const struct api_target_frame *f,
                            const struct board_view *v)
{
    json_out_array(j);
    for (size_t i = 0; v && i < v->model_count; i++)
        if (v->models[i].in_newest_run && v->models[i].point_count > 0)
            write_model(j, f, v->channel_id, &v->models[i]);
    json_out_end(j);
}

/* ---- the item ---- */

int32_t api_target_view_rate(const struct board_view *v)
{
    if (!v || v->last_status[0] == '\0' || v->last_total <= 0)
        return -1;
    /* success * 1000 / total, half away from zero; 64 bits hold any two counts */
    return (int32_t)((2 * (int64_t)v->last_success * 1000 + v->last_total) /
                     (2 * (int64_t)v->last_total));
}

const char *api_target_view_file(bool is_admin, const char *path)
{
    const char *slash = path && !is_admin ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path;
}

static void write_last(struct json_out *j, const struct api_target_frame *f,
                       const struct board_view *v)
{
    static const struct board_view never;
    bool is_known = v && v->last_status[0] != '\0';
    const struct board_view *l = is_known ? v : &never;
    int32_t rate = api_target_view_rate(l);

    json_out_kts(j, "last_run_at", l->last_run_utc_ms);
    json_out_kcstr(j, "last_status", is_known ? l->last_status : NULL);
    if (is_known) {
        json_out_ki64(j, "last_total", l->last_total);
        json_out_ki64(j, "last_success", l->last_success);
        json_out_ki64(j, "last_fail", l->last_fail);
    } else {
        json_out_knull(j, "last_total");
        json_out_knull(j, "last_success");
        json_out_knull(j, "last_fail");
    }
    json_out_kcstr(j, "last_log_file", api_target_view_file(f->is_admin, l->last_log_file));
    json_out_kcstr(j, "last_error", l->last_error);
    json_out_key(j, "last_success_rate");
    if (rate >= 0)
        json_out_fixed(j, rate, 1);
    else
        json_out_null(j);
}

static void write_progress(struct json_out *j, const struct api_target_frame *f,
                           const struct channel *ch, const struct board_view *v)
{
    /* Until the run's rows can be read: a script that sees false reads them next. */
    json_out_kbool(j, "running",
                   api_target_view_is_running(f, ch->id) || (v && v->running_run_id > 0));
    json_out_kbool(j, "queued", api_target_view_is_queued(f, ch->id));
    json_out_key(j, "progress");
    if (!v || v->running_run_id == 0) {
        json_out_null(j);
        return;
    }
    json_out_object(j);
    json_out_ki64(j, "run_id", v->running_run_id);
    json_out_kts(j, "started_at", v->running_since_utc_ms);
    json_out_ki64(j, "done", v->running_done);
    if (v->running_total >= 0)
        json_out_ki64(j, "total", v->running_total);
    else
        json_out_knull(j, "total");
    json_out_end(j);
}

static void write_warnings(struct json_out *j, const struct channel *ch)
{
    struct str url = str_of(ch->base_url);

    json_out_key(j, "warnings");
    json_out_array(j);
    if (!ch->verify_ssl && str_istarts(url, STR("https://")))
        json_out_cstr(j, "certificate is not verified");
    if (str_istarts(url, STR("http://")))
        json_out_cstr(j, "the key travels unencrypted");
    json_out_end(j);
}

void api_target_view_write(struct json_out *j, const struct api_target_frame *f,
                           const struct channel *ch, const struct board_view *v)
{
    utc_ms last = v ? v->last_run_utc_ms : 0;

    json_out_object(j);
    json_out_ki64(j, "id", ch->id);
    channel_to_json(ch, j, CHANNEL_SECRETS_MASKED); /* ruling 13: for every role */
    json_out_kts(j, "created_at", ch->created_utc_ms);
    json_out_kts(j, "updated_at", ch->updated_utc_ms);
    write_last(j, f, v);
    json_out_key(j, "last_run_id");
    if (v && v->last_run_id > 0)
        json_out_i64(j, v->last_run_id);
    else
        json_out_null(j);
    json_out_kts(j, "next_run_at",
                 ch->enabled && last > 0 ? last + (utc_ms)ch->interval_min * 60000 : 0);
    write_progress(j, f, ch, v);
    write_warnings(j, ch);
    if (f->with_can_operate)
        json_out_kbool(j, "can_operate", f->is_admin || ch->visitor_channel_actions_enabled);
    json_out_key(j, "latest_models");
    api_target_view_models(j, f, v);
    json_out_end(j);
}

void api_target_view_write_one(struct json_out *j, struct api_call *c, const struct channel *ch)
{
    struct api_target_frame f;
    struct board_view *v = NULL;

    api_target_view_frame(c, &f);
    board_get(c->api->cfg.board, &ch->id, 1, &v);
    api_target_view_write(j, &f, ch, v);
    board_view_unref(v);
}

void api_target_view_reply(struct api_call *c, const struct channel *ch)
{
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "item");
    api_target_view_write_one(&r.json, c, ch);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}
