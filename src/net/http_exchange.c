/* http_exchange.c -- a request and its body, as the handler sees them, and the life of both.
 *
 * Exchanges come from a pool per server and keep a block of their arena, so that an ordinary
 * request costs no allocation. One goes back at the end of the turn, when it is answered and no
 * deferred call is on the way to it: callers on the stack may still look at it. */
#include "base/metric.h"
#include "net/http_private.h"
#include "net/url.h"

#define POOL_MAX         64
#define SMALL_BODY_BYTES 4096 /* of known length: collected in the arena */
#define RATE_AFTER_MS    10000

/* ---- life ---- */

struct http_exchange *http_exchange_new(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = s->free_exchanges;
    struct arena arena;

    if (x) {
        s->free_exchanges = x->next_free;
        s->free_count--;
        arena = x->arena;
    } else {
        x = xmalloc(sizeof(*x));
        arena_init(&arena);
    }
    *x = (struct http_exchange){.server = s, .conn = c, .arena = arena};
    x->lines_end = &x->lines;
    s->exchange_count++;
    return x;
}

static void recycle(struct http_exchange *x)
{
    struct http_server *s = x->server;

    s->exchange_count--;
    http_shared_let_go(s->cfg.shared, x->held_bytes);
    buf_release(&x->body);
    if (s->free_count >= POOL_MAX) {
        arena_release(&x->arena);
        xfree(x);
        return;
    }
    arena_reset(&x->arena);
    x->next_free = s->free_exchanges;
    s->free_exchanges = x;
    s->free_count++;
}

static void sweep(void *arg)
{
    struct http_server *s = arg;
    struct http_exchange *x = TAKE(s->dead_exchanges);

    while (x) {
        struct http_exchange *next = x->next_free;

        recycle(x);
        x = next;
    }
    http_server_release(s);
}

static void bury(struct http_exchange *x)
{
    struct http_server *s = x->server;

    if (!s->dead_exchanges)
        loop_defer(s->loop, sweep, s);
    x->next_free = s->dead_exchanges;
    s->dead_exchanges = x;
}

void http_exchange_free_pool(struct http_server *s)
{
    struct http_exchange *x = TAKE(s->free_exchanges);

    while (x) {
        struct http_exchange *next = x->next_free;

        arena_release(&x->arena);
        xfree(x);
        x = next;
    }
}

void http_exchange_finish(struct http_exchange *x)
{
    if (x->is_finished)
        return;
    x->is_finished = true;
    if (!x->is_gone_due)
        bury(x);
}

static void tell_gone(void *arg)
{
    struct http_exchange *x = arg;

    if (!x->is_finished && !x->is_gone_told && x->on_gone) {
        x->is_gone_told = true;
        x->on_gone(x, x->gone_ctx);
    }
    x->is_gone_due = false;
    if (x->is_finished)
        bury(x);
    else if (x->is_server_owned && !x->conn)
        http_exchange_finish(x);
}

void http_exchange_set_gone(struct http_exchange *x)
{
    x->is_gone = true;
    if (x->is_gone_due || x->is_finished)
        return;
    x->is_gone_due = true;
    loop_defer(x->server->loop, tell_gone, x);
}

/* ---- the request ---- */

/* Percent-decoded copy in the arena, or `s` itself when there is nothing to decode. */
static int decode(struct http_exchange *x, struct str s, int (*fn)(struct str, struct buf *),
                  struct str *ret)
{
    struct buf b = BUF_INIT(s.len);
    int rc = fn(s, &b);

    if (rc == 0)
        *ret = arena_str(&x->arena, buf_str(&b));
    buf_release(&b);
    return rc;
}

/* "/x/y/" is taken off; a proxy in front may have done so already. */
static struct str without_base(struct str path, struct str base)
{
    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    if (base.len == 0 || !str_starts(path, base))
        return path;

    struct str rest = str_cut(path, base.len, path.len);

    if (rest.len == 0)
        return STR("/");
    return rest.ptr[0] == '/' ? rest : path;
}

static int set_path(struct http_exchange *x, struct str raw)
{
    struct http_request *r = &x->req;

    r->raw_path = r->path = without_base(raw, x->server->cfg.base_path);
    if (str_find(r->raw_path, '%') < 0)
        return 0; /* llhttp took printable ASCII only */
    if (decode(x, r->raw_path, url_decode, &r->path) < 0 || !str_is_utf8(r->path))
        return 400;
    return 0;
}

/* The last element of a list that each proxy appends to. */
static struct str last_item(struct str list)
{
    struct str item, last = STR_NONE;

    while (http_parse_next_item(&list, &item))
        last = item;
    return last;
}

/* X-Forwarded-For, all of its lines, from the right: the first hop that is not trusted is the
 * client. What is no address ends the search at the hop that reported it. */
static void set_client(struct http_exchange *x)
{
    struct http_request *r = &x->req;

    for (size_t i = r->header_count; i-- > 0;) {
        struct str list = r->headers[i].value;

        if (!str_eq(r->headers[i].name, STR("x-forwarded-for")))
            continue;
        while (list.len > 0) {
            size_t end = list.len;

            while (end > 0 && list.ptr[end - 1] != ',')
                end--;
            if (addr_parse(str_trim(str_cut(list, end, list.len)), &r->client) < 0 ||
                !http_server_trusts(x->server, &r->client))
                return;
            list.len = end > 0 ? end - 1 : 0;
        }
    }
}

static void apply_proxy(struct http_exchange *x)
{
    struct http_request *r = &x->req;
    struct str proto = last_item(http_get_header(x, "x-forwarded-proto"));
    struct str host = last_item(http_get_header(x, "x-forwarded-host"));

    if (proto.len > 0)
        r->is_https = str_ieq(proto, STR("https"));
    if (http_parse_is_host(host))
        r->host = host;
    set_client(x);
}

static bool is_host_allowed(const struct http_server *s, struct str host)
{
    struct str name = http_parse_host_name(host);

    for (size_t i = 0; i < s->cfg.allowed_host_count; i++)
        if (str_ieq(name, s->cfg.allowed_hosts[i]) || str_ieq(host, s->cfg.allowed_hosts[i]))
            return true;
    return s->cfg.allowed_host_count == 0;
}

static void set_body(struct http_exchange *x, const struct http_parse_head *h)
{
    x->is_chunked_in = h->is_chunked;
    x->body_left = h->content_length > 0 ? (uint64_t)h->content_length : 0;
    x->req.content_length = h->content_length;
    x->req.has_body = h->is_chunked || h->content_length > 0;
    x->body_mode = x->req.has_body ? HTTP_BODY_UNWANTED : HTTP_BODY_DONE;
    x->wants_continue = h->wants_continue && x->req.has_body;
}

int http_exchange_parse(struct http_exchange *x, struct str head, size_t lines)
{
    struct http_request *r = &x->req;
    struct http_conn *c = x->conn;
    struct http_parse_head h;
    char *copy = arena_alloc(&x->arena, head.len);

    memcpy(copy, head.ptr, head.len);
    r->received_mono_ms = loop_now(x->server->loop);
    r->received_utc_ms = loop_utc(x->server->loop);
    r->client = r->peer = c->peer;
    x->wants_close = true; /* until the head says otherwise */

    int status = http_parse_head(copy, head.len, lines, &x->arena, &h);

    if (status != 0)
        return status;
    r->method = h.method;
    r->method_text = h.method_text;
    r->target = h.target;
    r->query = h.query;
    r->headers = h.headers;
    r->header_count = h.header_count;
    r->host = h.host;
    r->is_https = c->tls != NULL;
    x->is_http10 = h.is_http10;
    x->wants_close = h.wants_close;
    x->has_no_body = h.method == HTTP_HEAD_;
    set_body(x, &h);
    status = set_path(x, h.raw_path);
    if (status != 0)
        return status;
    if (http_server_trusts(x->server, &r->peer))
        apply_proxy(x);
    if (h.has_other_expect)
        return 417;
    return is_host_allowed(x->server, r->host) ? 0 : 421;
}

const struct http_request *http_request(const struct http_exchange *x)
{
    return &x->req;
}

struct arena *http_arena(struct http_exchange *x)
{
    return &x->arena;
}

struct loop *http_loop(const struct http_exchange *x)
{
    return x->server->loop;
}

struct str http_get_header(const struct http_exchange *x, const char *lower_name)
{
    struct str name = str_of(lower_name);

    for (size_t i = 0; i < x->req.header_count; i++)
        if (str_eq(x->req.headers[i].name, name))
            return x->req.headers[i].value;
    return STR_NONE;
}

static bool is_encoded(struct str s)
{
    return str_find(s, '%') >= 0 || str_find(s, '+') >= 0;
}

bool http_get_query(struct http_exchange *x, const char *name, struct str *ret)
{
    struct str rest = x->req.query;
    struct str key, value;

    while (url_query_next(&rest, &key, &value)) {
        if (is_encoded(key) && decode(x, key, url_decode_query, &key) < 0)
            continue;
        if (!str_eq_c(key, name))
            continue;
        if (is_encoded(value) && decode(x, value, url_decode_query, &value) < 0)
            value = STR("");
        *ret = value;
        return true;
    }
    return false;
}

struct str http_get_cookie(const struct http_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->req.header_count; i++) {
        struct str rest = x->req.headers[i].value;
        struct str pair;

        if (!str_eq(x->req.headers[i].name, STR("cookie")))
            continue;
        while (str_split(&rest, ';', &pair)) {
            pair = str_trim(pair);
            if (str_eq_c(str_until(pair, '='), name) && str_find(pair, '=') >= 0)
                return str_after(pair, '=');
        }
    }
    return STR_NONE;
}

/* ---- the body ---- */

static void want_body(struct http_exchange *x, enum http_body_mode mode)
{
    static const struct str go_on = STR_INIT("HTTP/1.1 100 Continue\r\n\r\n");
    struct http_conn *c = x->conn;

    assert(x->body_mode == HTTP_BODY_UNWANTED); /* asked for once */
    x->body_mode = (uint8_t)mode; /* four values */
    x->rate_since = loop_now(x->server->loop);
    if (x->wants_continue && !x->is_started) {
        x->wants_continue = false;
        http_wire_send(c, &go_on, 1, false);
        if (!x->conn)
            return;
    }
    http_conn_wait(c, HTTP_WAIT_BODY, x->server->cfg.limits.body_timeout_ms);
    http_conn_process(c);
}

/* For a body that will not come: x is the server's to release, now or after on_gone. */
static void own(struct http_exchange *x)
{
    x->is_server_owned = true;
    http_exchange_set_gone(x);
}

void http_read_body(struct http_exchange *x, size_t max,
                    void (*fn)(struct http_exchange *x, struct str body, void *ctx), void *ctx)
{
    x->on_body = fn;
    x->body_ctx = ctx;
    x->body_max = max;
    if (x->body_mode == HTTP_BODY_DONE) {
        fn(x, STR(""), ctx);
        return;
    }
    if (!x->conn) {
        own(x);
        return;
    }
    if (x->body_left > max) {
        x->body_mode = HTTP_BODY_WHOLE;
        http_conn_refuse(x->conn, 413);
        return;
    }
    if (x->body_left <= SMALL_BODY_BYTES && !x->is_chunked_in)
        x->body_ptr = arena_alloc(&x->arena, (size_t)x->body_left);
    else
        buf_init(&x->body, max);
    want_body(x, HTTP_BODY_WHOLE);
}

void http_stream_body(struct http_exchange *x,
                      void (*on_data)(struct http_exchange *x, struct str piece, void *ctx),
                      void *ctx)
{
    x->on_data = on_data;
    x->body_ctx = ctx;
    if (x->body_mode == HTTP_BODY_DONE)
        on_data(x, STR(""), ctx);
    else if (x->conn)
        want_body(x, HTTP_BODY_STREAM);
}

void http_pause_body(struct http_exchange *x, bool is_paused)
{
    if (x->is_paused == is_paused)
        return;
    x->is_paused = is_paused;
    if (!x->conn || x->body_mode != HTTP_BODY_STREAM)
        return;
    if (is_paused) {
        http_conn_wait(x->conn, HTTP_WAIT_NONE, 0);
        return;
    }
    x->rate_since = loop_now(x->server->loop);
    x->rate_bytes = x->body_bytes;
    http_conn_wait(x->conn, HTTP_WAIT_BODY, x->server->cfg.limits.body_timeout_ms);
    http_conn_process(x->conn);
}

bool http_exchange_wants(const struct http_exchange *x, bool has_bytes)
{
    if (x->body_mode != HTTP_BODY_WHOLE && x->body_mode != HTTP_BODY_STREAM)
        return false;
    if (x->is_paused)
        return false;
    return has_bytes || (!x->is_chunked_in && x->body_left == 0);
}

static void end_body(struct http_exchange *x)
{
    bool is_whole = x->body_mode == HTTP_BODY_WHOLE;

    x->body_mode = HTTP_BODY_DONE;
    x->conn->wait = HTTP_WAIT_NONE;
    if (!is_whole)
        x->on_data(x, STR(""), x->body_ctx);
    else if (x->body_ptr)
        x->on_body(x, str_n(x->body_ptr, x->body_len), x->body_ctx);
    else
        x->on_body(x, buf_str(&x->body), x->body_ctx);
}

/* Slower than the lowest rate, over more than RATE_AFTER_MS? A pause of the handler's starts anew. */
static bool is_too_slow(const struct http_exchange *x)
{
    uint64_t rate = x->server->cfg.limits.min_rate_bytes;
    uint64_t elapsed_ms = loop_now(x->server->loop) - x->rate_since;

    return rate > 0 && elapsed_ms > RATE_AFTER_MS &&
           (x->body_bytes - x->rate_bytes) / (elapsed_ms / 1000) < rate;
}

static int add_piece(struct http_exchange *x, struct str piece)
{
    x->body_bytes += piece.len;
    if (is_too_slow(x)) {
        metric_add(METRIC_HTTP_TIMEOUTS, 0, 1);
        return 408;
    }
    http_conn_wait(x->conn, HTTP_WAIT_BODY, x->server->cfg.limits.body_timeout_ms);
    if (x->body_mode == HTTP_BODY_STREAM) {
        x->on_data(x, piece, x->body_ctx);
        return 0;
    }
    if (x->body_ptr) {
        memcpy(x->body_ptr + x->body_len, piece.ptr, piece.len); /* body_left was its size */
        x->body_len += piece.len;
        return 0;
    }
    x->held_bytes += piece.len;
    if (!http_shared_hold(x->server->cfg.shared, piece.len))
        return 503;
    switch (buf_add_str(&x->body, piece)) {
    case 0:
        return 0;
    case ERR_LIMIT:
        return 413;
    }
    return 503;
}

static int take_chunked(struct http_exchange *x, struct str *in)
{
    struct str piece;

    switch (http_chunk_next(&x->chunk, in, &piece)) {
    case HTTP_CHUNK_MORE:
        return 0;
    case HTTP_CHUNK_DATA:
        return add_piece(x, piece);
    case HTTP_CHUNK_END:
        end_body(x);
        return 0;
    case HTTP_CHUNK_BAD:
        return 400;
    }
    return 400;
}

int http_exchange_take(struct http_exchange *x, struct str *in)
{
    if (x->is_chunked_in)
        return take_chunked(x, in);
    if (x->body_left == 0) {
        end_body(x);
        return 0;
    }

    size_t n = MIN(in->len, (size_t)MIN(x->body_left, (uint64_t)SIZE_MAX));
    struct str piece = str_cut(*in, 0, n);

    *in = str_cut(*in, n, in->len);
    x->body_left -= n;
    return add_piece(x, piece);
}

/* ---- the client's end ---- */

void http_on_gone(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *ctx), void *ctx)
{
    x->on_gone = fn;
    x->gone_ctx = ctx;
    if (x->is_gone && !x->is_gone_told)
        http_exchange_set_gone(x);
}

bool http_is_gone(const struct http_exchange *x)
{
    return x->is_gone;
}
