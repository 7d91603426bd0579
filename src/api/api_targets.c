/* api_targets.c -- channels to look at: the list with its filters, one, and running it. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_stream.h"
#include "api/api_target_view.h"

/* ---- the list ---- */

struct target_list { /* in the exchange's arena, as its arrays are */
    struct api_stream stream;
    struct api_target_frame frame;
    const struct channel **channels; /* what matches; borrowed from the call's snapshot */
    struct board_view **views;       /* a reference each */
    size_t count;                    /* that match */
    size_t from, to, next;           /* the page; next: to be written */
};

struct list_filter {
    struct str q, status, protocol, tag;
    int is_enabled; /* -1 = any */
};

static const char *const status_words[] = {"healthy",   "degraded", "down",   "error",
                                           "no_models", "never",    "running"};

static bool is_word(struct str s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_c(s, words[i]))
            return true;
    return false;
}

static bool is_status_list(struct str s)
{
    struct str word;

    while (str_split(&s, ',', &word))
        if (!is_word(word, status_words, ARRAY_LEN(status_words)))
            return false;
    return true;
}

/* False after it answered 400. */
static bool read_filter(struct api_call *c, struct list_filter *f)
{
    static const char *const families[] = {"openai", "anthropic", "gemini"};
    struct str enabled = api_query_str(c, "enabled");

    f->q = str_trim(api_query_str(c, "q"));
    f->status = api_query_str(c, "status");
    f->protocol = api_query_str(c, "protocol");
    f->tag = api_query_str(c, "tag");
    f->is_enabled = -1;
    if (f->status.len > 0 && !is_status_list(f->status)) {
        api_error_field(
            c, 400, "status",
            "invalid status: healthy, degraded, down, error, no_models, never, running");
        return false;
    }
    if (f->protocol.len > 0 && !is_word(f->protocol, families, ARRAY_LEN(families))) {
        api_error_field(c, 400, "protocol", "invalid protocol: openai, anthropic, gemini");
        return false;
    }
    if (str_eq_c(enabled, "true") || str_eq_c(enabled, "1"))
        f->is_enabled = 1;
    else if (str_eq_c(enabled, "false") || str_eq_c(enabled, "0"))
        f->is_enabled = 0;
    else if (enabled.len > 0) {
        api_error_field(c, 400, "enabled", "invalid enabled: true or false");
        return false;
    }
    return true;
}

static bool has_tag(const struct channel *ch, struct str tag)
{
    for (size_t i = 0; i < ch->tags.count; i++)
        if (str_eq_c(tag, ch->tags.items[i]))
            return true;
    return false;
}

static bool has_family(const struct board_view *v, struct str family)
{
    for (size_t i = 0; v && i < v->model_count; i++)
        if (v->models[i].in_newest_run && str_eq_c(family, v->models[i].family))
            return true;
    return false;
}

static bool has_text(const struct channel *ch, const struct board_view *v, struct str q)
{
    if (str_ifind_str(str_of(ch->name), q) >= 0 || str_ifind_str(str_of(ch->base_url), q) >= 0)
        return true;
    for (size_t i = 0; v && i < v->model_count; i++)
        if (v->models[i].in_newest_run && str_ifind_str(str_of(v->models[i].model), q) >= 0)
            return true;
    return false;
}

static bool has_status(const struct target_list *l, const struct channel *ch,
                       const struct board_view *v, struct str wanted)
{
    bool is_never = !v || v->last_status[0] == '\0';
    struct str word;

    while (str_split(&wanted, ',', &word)) {
        if (str_eq_c(word, "running") ? api_target_view_is_running(&l->frame, ch->id)
            : str_eq_c(word, "never") ? is_never
                                      : !is_never && str_eq_c(word, v->last_status))
            return true;
    }
    return false;
}

static bool matches(const struct target_list *l, const struct list_filter *f,
                    const struct channel *ch, const struct board_view *v)
{
    return (f->is_enabled < 0 || ch->enabled == (f->is_enabled == 1)) &&
           (f->tag.len == 0 || has_tag(ch, f->tag)) &&
           (f->status.len == 0 || has_status(l, ch, v, f->status)) &&
           (f->protocol.len == 0 || has_family(v, f->protocol)) &&
           (f->q.len == 0 || has_text(ch, v, f->q));
}

static void pick(struct target_list *l, struct api_call *c, const struct list_filter *f)
{
    const struct catalog_snapshot *s = c->snapshot;
    struct arena *a = http_arena(c->x);
    size_t cap = s->channel_count + 1; /* an arena gives no empty piece */
    int64_t *ids = arena_alloc(a, cap * sizeof(*ids));

    l->channels = arena_alloc(a, cap * sizeof(const struct channel *));
    l->views = arena_zalloc(a, cap * sizeof(struct board_view *));
    for (size_t i = 0; i < s->channel_count; i++)
        ids[i] = s->channels[i]->id;
    board_get(c->api->cfg.board, ids, s->channel_count, l->views);
    for (size_t i = 0; i < s->channel_count; i++) {
        struct board_view *v = TAKE(l->views[i]);

        if (matches(l, f, s->channels[i], v)) {
            l->channels[l->count] = s->channels[i];
            l->views[l->count++] = v;
        } else {
            board_view_unref(v);
        }
    }
}

/* The page behind the cursor "<sort_order>-<id>"; false: not a cursor. */
static bool find_page(struct target_list *l, struct str after, size_t limit)
{
    int64_t order, id;

    if (after.len > 0) {
        if (str_find(after, '-') < 0 ||
            str_to_i64(str_until(after, '-'), 0, INT32_MAX, &order) < 0 ||
            str_to_i64(str_after(after, '-'), 1, INT64_MAX, &id) < 0)
            return false;
        while (l->from < l->count &&
               (l->channels[l->from]->sort_order < order ||
                (l->channels[l->from]->sort_order == order && l->channels[l->from]->id <= id)))
            l->from++;
    }
    l->to = limit > 0 ? MIN(l->count, l->from + limit) : l->count;
    l->next = l->from;
    return true;
}

static void list_ended(struct api_stream *s)
{
    struct target_list *l = container_of(s, struct target_list, stream);

    for (size_t i = 0; i < l->count; i++)
        board_view_unref(l->views[i]);
}

static void write_tail(struct target_list *l)
{
    struct json_out *j = &l->stream.json;

    json_out_end(j);
    json_out_key(j, "permissions");
    json_out_object(j);
    json_out_kcstr(j, "role", l->frame.is_admin ? "admin" : "visitor");
    json_out_end(j);
    json_out_ki64(j, "total", (int64_t)l->count);
    json_out_key(j, "next");
    if (l->to < l->count) {
        const struct channel *last = l->channels[l->to - 1];
        char cursor[48];

        snprintf(cursor, sizeof(cursor), "%d-%lld", last->sort_order, (long long)last->id);
        json_out_cstr(j, cursor);
    } else {
        json_out_null(j);
    }
    json_out_end(j);
    buf_put(&l->stream.buf, STR("\n"));
}

static void list_more(struct api_stream *s)
{
    struct target_list *l = container_of(s, struct target_list, stream);

    if (!s->is_started && l->next == l->from) {
        json_out_object(&s->json);
        json_out_key(&s->json, "items");
        json_out_array(&s->json);
    }
    while (l->next < l->to && buf_len(&s->buf) < API_STREAM_PIECE) {
        api_target_view_write(&s->json, &l->frame, l->channels[l->next], l->views[l->next]);
        l->next++;
    }
    if (l->next == l->to && !s->json.failed)
        write_tail(l);
    api_stream_push(s, l->next == l->to);
}

/* GET /api/targets: 200 {"items":[target],"permissions":{"role"},"total","next"}; sort_order, id
 * ascending. Without limit all of them, as old clients expect. */
static void list(struct api_call *c)
{
    struct target_list *l;
    struct list_filter f;

    if (!read_filter(c, &f))
        return;
    l = arena_zalloc(http_arena(c->x), sizeof(*l));
    api_target_view_frame(c, &l->frame);
    l->frame.with_can_operate = true;
    pick(l, c, &f);
    l->stream.more = list_more;
    l->stream.ended = list_ended;
    if (find_page(l, api_query_str(c, "after"), (size_t)api_query_int(c, "limit"))) {
        api_stream_start(&l->stream, c, "application/json");
        return;
    }
    list_ended(&l->stream);
    api_error_field(c, 400, "after", "invalid after");
}

static void get(struct api_call *c)
{
    const struct channel *ch = api_channel(c);

    if (ch)
        api_target_view_reply(c, ch);
}

/* ---- run ---- */

struct run {
    struct prober_ask ask;
    struct api_call *call;
};

static const struct channel *operable(struct api_call *c)
{
    const struct channel *ch = api_channel(c);

    if (!ch || api_may_operate(c, ch))
        return ch;
    api_error(c, 403, "channel operations are disabled for visitor token");
    return NULL;
}

static void fail_ask(struct api_call *c, int rc, const char *conflict)
{
    if (rc == ERR_CONFLICT) {
        api_error(c, 409, "%s", conflict);
    } else if (rc == ERR_NOTFOUND) {
        api_error(c, 404, "target not found");
    } else {
        http_add_header(c->x, "Retry-After", STR("1"));
        api_error(c, 503, "the prober takes no work now, try again");
    }
}

static void run_answered(struct prober_ask *a)
{
    struct api_call *c = container_of(a, struct run, ask)->call;
    struct api_reply r;

    if (a->rc < 0) {
        fail_ask(c, a->rc, "target already running");
        return;
    }
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    json_out_kcstr(&r.json, "message", "target started");
    if (a->run_id > 0)
        json_out_ki64(&r.json, "run_id", a->run_id);
    else
        json_out_knull(&r.json, "run_id"); /* it waits */
    json_out_kbool(&r.json, "queued", a->is_queued);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static struct run *run_new(struct api_call *c, const struct channel *ch,
                           void (*done)(struct prober_ask *))
{
    struct run *r = arena_zalloc(http_arena(c->x), sizeof(*r));

    r->call = c;
    r->ask.prober = c->api->cfg.prober;
    r->ask.reply_loop = http_loop(c->x);
    r->ask.channel_id = ch->id;
    r->ask.done = done;
    return r;
}

/* POST /api/targets/{id}/run: 200 {"ok","message","run_id","queued"} at once; disabled ones too. */
static void run(struct api_call *c)
{
    const struct channel *ch = operable(c);

    if (ch)
        prober_run_now(c->api->cfg.prober, &run_new(c, ch, run_answered)->ask);
}

static void cancel_answered(struct prober_ask *a)
{
    struct api_call *c = container_of(a, struct run, ask)->call;

    if (a->rc < 0)
        fail_ask(c, a->rc, "target is not running");
    else
        api_ok(c);
}

/* POST /api/targets/{id}/cancel: 200 once the run is gone; nothing of it is stored as a verdict. */
static void cancel(struct api_call *c)
{
    const struct channel *ch = operable(c);
    struct api_target_frame f;

    if (!ch)
        return;
    api_target_view_frame(c, &f);
    if (!api_target_view_is_running(&f, ch->id))
        api_error(c, 409, "target is not running");
    else
        prober_cancel(c->api->cfg.prober, &run_new(c, ch, cancel_answered)->ask);
}

#define T "targets"
#define ITEM                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"item\":{\"$ref\":\"#/components/schemas/Target\"}}}"
#define HISTORY_ROW                                                                                \
    {                                                                                              \
        "history", "integer", "points of history for each model", 0, BOARD_HISTORY, BOARD_HISTORY, \
            NULL                                                                                   \
    }

static const struct route_param list_params[] = {
    {"limit", "integer", "channels on a page; 0 = all", 0, 1000, 0, NULL},
    {"after", "string", "cursor: `next` of the page before", 0, 0, 0, NULL},
    {"q", "string", "part of name, address or model id", 0, 0, 0, NULL},
    {"status", "string", "one or several, separated by commas", 0, 0, 0,
     "healthy|degraded|down|error|no_models|never|running"},
    {"protocol", "string", "some model of the newest run speaks it", 0, 0, 0,
     "openai|anthropic|gemini"},
    {"enabled", "string", "only enabled or only disabled ones", 0, 0, 0, "true|false"},
    {"tag", "string", "only channels with this tag", 0, 0, 0, NULL},
    HISTORY_ROW,
    {NULL, NULL, NULL, 0, 0, 0, NULL},
};
static const struct route_param get_params[] = {HISTORY_ROW, {NULL, NULL, NULL, 0, 0, 0, NULL}};

// clang-format off
const struct route api_targets_routes[] = {
    {HTTP_GET_, "/api/targets", ROUTE_ANY, ROUTE_BOARD, list, T,
     "Channels with their newest results, by sort_order", list_params, NULL,
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Target\"}},"
     "\"permissions\":{\"type\":\"object\",\"properties\":{\"role\":{\"type\":\"string\",\"enum\":[\"admin\",\"visitor\"]}}},"
     "\"total\":{\"type\":\"integer\"},\"next\":{\"type\":[\"string\",\"null\"]}}}",
     "400 invalid status; 400 invalid protocol; 400 invalid enabled; 400 invalid after"},
    {HTTP_GET_, "/api/targets/{id}", ROUTE_ANY, ROUTE_BOARD, get, T, "One channel", get_params, NULL, ITEM,
     "400 invalid id; 404 target not found"},
    {HTTP_POST_, "/api/targets/{id}/run", ROUTE_OPERATE, 0, run, T,
     "Check a channel now, also a disabled one; beyond the ceiling it waits", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"message\":{\"type\":\"string\"},"
     "\"run_id\":{\"type\":[\"integer\",\"null\"]},\"queued\":{\"type\":\"boolean\"}}}",
     "400 invalid id; 404 target not found; 403 channel operations are disabled for visitor token; 409 target already running"},
    {HTTP_POST_, "/api/targets/{id}/cancel", ROUTE_OPERATE, 0, cancel, T, "Cancel the run in progress or in the queue",
     NULL, NULL, "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}}}",
     "400 invalid id; 404 target not found; 403 channel operations are disabled for visitor token; 409 target is not running"},
};
const size_t api_targets_route_count = ARRAY_LEN(api_targets_routes);
// clang-format on
