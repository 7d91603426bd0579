/* api.c -- one request's way: page or route? who asks? body, handler. */
#include "api/api_private.h"
#include "api/settings.h"
#include "base/log.h"

#define BOARD_WAIT_MS 20

int api_new(const struct api_config *cfg, struct api **ret, struct buf *ret_first,
            struct err *reterr)
{
    struct api *a = xcalloc(1, sizeof(*a));
    struct catalog_snapshot *s;
    int rc;

    a->cfg = *cfg;
    a->index = route_index_new();
    a->assets = assets_new(cfg->base_path);
    a->live = live_new((uint64_t)option_int(cfg->options, "sse.heartbeat"), cfg->catalog);
    buf_init(&a->openapi, 4u << 20);
    rc = route_openapi(&a->openapi);
    if (rc < 0)
        err_set(reterr, rc, "the route table does not fit into a document");
    else
        rc = settings_seed(cfg->catalog, cfg->options, reterr);
    if (rc == 0)
        rc = auth_new(cfg->options, cfg->store, cfg->catalog, &a->auth, ret_first, reterr);
    if (rc < 0) {
        api_free(a);
        return rc;
    }
    s = catalog_latest(cfg->catalog);
    auth_refresh(a->auth, s);
    catalog_unref(s);
    ledger_subscribe(cfg->ledger, live_on_ledger, a->live);
    health_subscribe(cfg->health, live_on_health, a->live);
    api_metrics_register(a);
    *ret = a;
    return 0;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    auth_free(a->auth);
    live_free(a->live);
    assets_free(a->assets);
    route_index_free(a->index);
    buf_release(&a->openapi);
    xfree(a);
}

void api_attach_loop(struct api *a, struct loop *l)
{
    catalog_attach(a->cfg.catalog, l, NULL, NULL);
    live_attach(a->live, l);
}

void api_drain(struct api *a, struct loop *l)
{
    live_drain(a->live, l);
}

struct str api_setting(struct api *a, struct catalog_snapshot *s, const char *name)
{
    return settings_value(a->cfg.options, s, name);
}

/* ---- one call ---- */

static struct api_call *call_new(struct api *a, struct http_exchange *x)
{
    struct api_call *c = arena_zalloc(http_arena(x), sizeof(*c));

    c->api = a;
    c->x = x;
    c->actor = "anonymous";
    c->snapshot = catalog_ref(catalog_now(a->cfg.catalog));
    return c;
}

void api_call_release(struct api_call *c)
{
    json_decref(c->body);
    c->body = NULL;
    if (c->snapshot)
        catalog_unref(TAKE(c->snapshot));
}

/* The body never came whole (client left, 408, 413): the server ends the exchange by itself. */
static void on_body_gone(struct http_exchange *x UNUSED, void *ctx)
{
    api_call_release(ctx);
}

static void on_body(struct http_exchange *x UNUSED, struct str body, void *ctx)
{
    struct api_call *c = ctx;
    struct err e = {0};

    http_on_gone(c->x, NULL, NULL);
    if (body.len == 0 && (c->route->flags & ROUTE_BODY_EMPTY)) {
        c->with_body(c);
        return;
    }
    if (json_doc_parse(body, JSON_DOC_TRAILING, &c->body, &e) < 0) {
        /* Clients of systems 1 and 2 compare this text; the reason stands beside it. */
        struct api_reply r;

        api_reply_init(&r, c);
        json_out_object(&r.json);
        json_out_kcstr(&r.json, "detail", "invalid JSON");
        json_out_kcstr(&r.json, "reason", e.text);
        json_out_end(&r.json);
        api_reply_send(&r, 400);
        return;
    }
    c->with_body(c);
}

void api_body(struct api_call *c, void (*fn)(struct api_call *c))
{
    c->with_body = fn;
    http_on_gone(c->x, on_body_gone, c);
    http_read_body(c->x, (size_t)option_int(c->api->cfg.options, "http.body_bytes"), on_body, c);
}

/* True when the caller may go on; else it was answered. */
static bool admit(struct api_call *c)
{
    struct auth_who who = {0};
    unsigned retry_s = 0;
    enum auth_verdict v;

    if (c->route->auth == ROUTE_OPEN)
        return true;
    v = auth_check(c->api->auth, c->x, c->route->flags & ROUTE_QUERY_TOKEN, &who, &retry_s);
    if (v == AUTH_BLOCKED) {
        http_add_headerf(c->x, "Retry-After", "%u", retry_s);
        api_error(c, 429, "too many failed attempts, please retry later");
        return false;
    }
    if (v == AUTH_UNAUTHORIZED) {
        http_add_header(c->x, "WWW-Authenticate", STR("Bearer realm=\"gatehouse\""));
        api_error(c, 401, c->route->auth == ROUTE_ADMIN ? "admin login required" : "unauthorized");
        return false;
    }
    c->role = (enum api_role)who.role;
    c->by_cookie = who.by_cookie;
    c->actor = who.actor;
    memcpy(c->session_hash, who.session_hash, sizeof(c->session_hash));
    if (c->route->auth == ROUTE_ADMIN && c->role != API_ADMIN) {
        api_error(c, 403, "admin token required");
        return false;
    }
    return true;
}

static bool is_write(enum http_method m)
{
    return m != HTTP_GET_ && m != HTTP_HEAD_ && m != HTTP_OPTIONS_;
}

static void start_handler(struct api_call *c)
{
    if (c->route->flags & ROUTE_BODY)
        api_body(c, c->route->handle);
    else
        c->route->handle(c);
}

/* The first moments after a start: the board is being read, what shows it waits. */
struct board_wait { /* in the exchange's arena */
    struct loop_timer timer;
    struct api_call *call;
};

static void on_board_wait(struct loop_timer *t)
{
    struct board_wait *w = container_of(t, struct board_wait, timer);

    if (board_is_loaded(w->call->api->cfg.board))
        start_handler(w->call);
    else
        loop_timer_set(t, BOARD_WAIT_MS);
}

static void wait_for_board(struct api_call *c)
{
    struct board_wait *w = arena_zalloc(http_arena(c->x), sizeof(*w));

    w->call = c;
    loop_timer_init(&w->timer, http_loop(c->x), on_board_wait);
    loop_timer_set(&w->timer, BOARD_WAIT_MS);
}

static void serve_route(struct api *a, struct http_exchange *x, const struct route *route,
                        const struct str params[4])
{
    struct api_call *c = call_new(a, x);
    const char *fault;

    c->route = route;
    memcpy(c->params, params, sizeof(c->params));
    if (!admit(c))
        return;
    fault = is_write(http_request(x)->method) && (c->by_cookie || (route->flags & ROUTE_CSRF))
                ? auth_csrf_fault(x)
                : NULL;
    if (fault) {
        api_error(c, 403, "%s", fault);
        return;
    }
    if ((route->flags & ROUTE_BOARD) && !board_is_loaded(a->cfg.board))
        wait_for_board(c);
    else
        start_handler(c);
}

static void serve_unknown(struct api *a, struct http_exchange *x, const char *allow)
{
    const struct http_request *r = http_request(x);
    bool is_read = r->method == HTTP_GET_ || r->method == HTTP_HEAD_;

    if (!allow[0] && str_starts(r->path, STR("/api/"))) {
        api_error(call_new(a, x), 404, "no such route");
        return;
    }
    if (!allow[0] && is_read) {
        http_reply(x, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        return;
    }
    http_add_header(x, "Allow", allow[0] ? str_of(allow) : STR("GET, HEAD")); /* a page's address */
    if (r->method == HTTP_OPTIONS_)
        http_reply(x, 204, NULL, STR_NONE);
    else
        http_reply(x, 405, "text/plain; charset=utf-8", STR("Method Not Allowed\n"));
}

/* "%2F" separates nothing (RFC 3986 section 2.2): a proxy in front that guards /api/admin does not
 * see it in /api%2Fadmin, so neither do we. No address of ours has one. */
static bool has_escaped_slash(struct str raw_path)
{
    ssize_t at;

    while ((at = str_find(raw_path, '%')) >= 0) {
        raw_path = str_cut(raw_path, (size_t)at + 1, raw_path.len);
        if (str_istarts(raw_path, STR("2f")))
            return true;
    }
    return false;
}

void api_on_request(struct http_exchange *x, void *ctx)
{
    struct api *a = ctx;
    const struct http_request *r = http_request(x);
    bool is_ours = !has_escaped_slash(r->raw_path);
    struct str params[4] = {0};
    char allow[64] = "";
    const struct route *route = NULL;

    if (is_ours)
        route = route_find(a->index, r->method, r->path, params, allow, sizeof(allow));
    http_add_header(x, "X-Content-Type-Options", STR("nosniff"));
    if (route)
        serve_route(a, x, route, params);
    else if (allow[0] || !is_ours || !assets_serve(a->assets, x))
        serve_unknown(a, x, allow);
}

/* ---- parameters ---- */

bool api_param_id(struct api_call *c, unsigned i, int64_t *ret)
{
    if (str_to_i64(c->params[i], 1, INT64_MAX, ret) == 0)
        return true;
    api_error(c, 400, "invalid id");
    return false;
}

static const struct route_param *param_row(const struct api_call *c, const char *name)
{
    for (const struct route_param *p = c->route->params; p && p->name; p++) {
        if (strcmp(p->name, name) == 0)
            return p;
    }
    assert(false && "a parameter that is read stands in the route's row");
    return NULL;
}

int64_t api_query_int(struct api_call *c, const char *name)
{
    const struct route_param *p = param_row(c, name);
    struct str text;
    int64_t v;

    if (!http_get_query(c->x, name, &text) || str_to_i64(text, INT64_MIN, INT64_MAX, &v) < 0)
        return p->deflt;
    return MIN(MAX(v, p->min), p->max);
}

struct str api_query_str(struct api_call *c, const char *name)
{
    struct str text;

    (void)param_row(c, name);
    return http_get_query(c->x, name, &text) ? text : STR_NONE;
}

bool api_may_operate(const struct api_call *c, const struct channel *ch)
{
    return c->role == API_ADMIN || (c->role == API_VISITOR && ch->visitor_channel_actions_enabled);
}

const struct channel *api_channel(struct api_call *c)
{
    const struct channel *ch;
    int64_t id;

    if (!api_param_id(c, 0, &id))
        return NULL;
    ch = catalog_channel(c->snapshot, id);
    if (!ch)
        api_error(c, 404, "target not found");
    return ch;
}
