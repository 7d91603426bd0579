/* http_reply.c -- answers. A head is composed in one pass in the server's buffer and leaves with
 * the body in one system call; nothing here formats through printf. */
#include "base/metric.h"
#include "net/http_private.h"

#include <stdarg.h>

#define HEAD_FIXED_BYTES 320 /* all of a head but its type and the handler's lines; see compose() */
#define HEADER_TEXT_MAX  4096

/* ---- the handler's headers ---- */

static bool is_header_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static char *put(char *p, struct str s)
{
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

void http_add_header(struct http_exchange *x, const char *name, struct str value)
{
    struct str n = str_of(name);
    size_t len = n.len + value.len + 4;

    assert(!x->is_started && http_parse_is_token(n) && is_header_text(value));

    struct http_line *line = arena_alloc(&x->arena, sizeof(*line) + len);
    char *p = put(line->text, n);

    p = put(p, STR(": "));
    p = put(p, value);
    put(p, STR("\r\n"));
    line->len = len;
    line->next = NULL;
    *x->lines_end = line;
    x->lines_end = &line->next;
    x->lines_bytes += len;
}

void http_add_headerf(struct http_exchange *x, const char *name, const char *fmt, ...)
{
    char text[HEADER_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);

    int n = vsnprintf(text, sizeof(text), fmt, ap);

    va_end(ap);
    assert(n >= 0 && (size_t)n < sizeof(text)); /* a format of ours with values of ours */
    http_add_header(x, name, str_n(text, (size_t)n));
}

/* ---- composing a head ---- */

enum length_kind { LENGTH_NONE, LENGTH_BYTES, LENGTH_CHUNKED };

struct head {
    int status;
    const char *content_type; /* NULL: none */
    enum length_kind length_kind;
    uint64_t length;
    bool keeps_open;
    bool is_http10;
    const struct http_line *lines;
    size_t lines_bytes;
};

static char *put_number(char *p, uint64_t n)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    return put(p, str_n(digits + at, sizeof(digits) - at));
}

/* The head in the server's buffer; valid until the next one. */
static struct str compose(struct http_server *s, const struct head *h)
{
    struct str type = str_of(h->content_type);
    struct buf *b = &s->head;
    char *p;

    buf_clear(b);
    if (buf_reserve(b, HEAD_FIXED_BYTES + type.len + h->lines_bytes) < 0)
        abort(); /* sizes are ours; as xmalloc() */
    p = put(b->ptr, STR("HTTP/1.1 "));
    p = put_number(p, (uint64_t)h->status);
    *p++ = ' ';
    p = put(p, str_of(http_reason(h->status)));
    p = put(p, STR("\r\nDate: "));
    p = put(p, str_n(http_server_date(s), CLOCK_HTTP_SIZE - 1));
    if (type.len > 0) {
        p = put(p, STR("\r\nContent-Type: "));
        p = put(p, type);
    }
    if (h->length_kind == LENGTH_BYTES) {
        p = put(p, STR("\r\nContent-Length: "));
        p = put_number(p, h->length);
    } else if (h->length_kind == LENGTH_CHUNKED) {
        p = put(p, STR("\r\nTransfer-Encoding: chunked"));
    }
    if (!h->keeps_open)
        p = put(p, STR("\r\nConnection: close"));
    else if (h->is_http10)
        p = put(p, STR("\r\nConnection: keep-alive"));
    p = put(p, STR("\r\n"));
    for (const struct http_line *line = h->lines; line; line = line->next)
        p = put(p, str_n(line->text, line->len));
    p = put(p, STR("\r\n"));
    return str_n(b->ptr, (size_t)(p - b->ptr));
}

/* ---- end of an exchange ---- */

/* Bytes of the body that nobody read; UINT64_MAX when only the client knows. */
static uint64_t unread_bytes(const struct http_exchange *x)
{
    if (x->body_mode == HTTP_BODY_DONE)
        return 0;
    return x->is_chunked_in ? UINT64_MAX : x->body_left;
}

static bool may_keep_open(const struct http_exchange *x)
{
    const struct http_conn *c = x->conn;
    uint64_t unread = unread_bytes(x);

    if (x->wants_close || x->server->is_draining ||
        c->requests >= x->server->cfg.limits.keepalive_requests)
        return false;
    /* A client that waits for 100 may send the body or not, now that it has an answer. */
    return unread <= HTTP_DRAIN_MAX && !(x->wants_continue && unread > 0);
}

/* Leaves the connection, which goes on. */
static void leave(struct http_exchange *x)
{
    struct http_conn *c = TAKE(x->conn);
    uint64_t unread = unread_bytes(x);

    http_exchange_finish(x);
    if (!c)
        return; /* cut meanwhile */
    c->x = NULL;
    c->must_linger = unread > 0 || !x->wants_close || buf_len(&c->in) > 0;
    http_conn_next(c, x->keeps_open, unread);
}

static void count(int status)
{
    metric_add(METRIC_HTTP_REQUESTS, (unsigned)status / 100 - 1, 1); /* 200..599 */
}

/* What both kinds of answer have in common; `h` lacks the length. */
static struct head begin(struct http_exchange *x, int status, const char *content_type)
{
    assert(!x->is_started && status >= 200 && status <= 599);
    x->is_started = true;
    x->has_no_body = x->has_no_body || status == 204 || status == 304;
    return (struct head){
        .status = status,
        .content_type = content_type,
        .is_http10 = x->is_http10,
        .lines = x->lines,
        .lines_bytes = x->lines_bytes,
    };
}

static void reply(struct http_exchange *x, int status, const char *content_type, struct str body,
                  bool is_static)
{
    if (x->is_finished)
        return; /* answered inside on_gone of a body that the server waited for */

    struct head h = begin(x, status, content_type);

    count(status);
    if (x->conn) {
        x->keeps_open = h.keeps_open = may_keep_open(x);
        h.length_kind = status == 204 || status == 304 ? LENGTH_NONE : LENGTH_BYTES;
        h.length = body.len;

        struct str pieces[2] = {compose(x->server, &h), body};

        http_wire_send(x->conn, pieces, x->has_no_body || body.len == 0 ? 1 : 2,
                       is_static && !x->has_no_body && body.len > 0);
    }
    leave(x);
}

void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body)
{
    reply(x, status, content_type, body, false);
}

void http_reply_static(struct http_exchange *x, int status, const char *content_type,
                       struct str body)
{
    reply(x, status, content_type, body, true);
}

/* ---- streaming ---- */

void http_start(struct http_exchange *x, int status, const char *content_type)
{
    if (x->is_finished)
        return;

    struct head h = begin(x, status, content_type);

    count(status);
    if (!x->conn)
        return;
    x->is_chunked_out = !x->is_http10 && status != 204 && status != 304;
    x->keeps_open = h.keeps_open = (x->is_chunked_out || x->has_no_body) && may_keep_open(x);
    h.length_kind = x->is_chunked_out ? LENGTH_CHUNKED : LENGTH_NONE;

    struct str head = compose(x->server, &h);

    http_wire_send(x->conn, &head, 1, false);
}

/* "<hex>\r\n" */
static struct str chunk_head(char out[18], size_t n)
{
    size_t at = 16;

    memcpy(out + 16, "\r\n", 2);
    do
        out[--at] = "0123456789abcdef"[n & 15];
    while ((n >>= 4) != 0);
    return str_n(out + at, 18 - at);
}

size_t http_write(struct http_exchange *x, struct str piece)
{
    char size[18];

    assert(x->is_started || x->is_finished);
    if (x->conn && piece.len > 0 && !x->has_no_body) {
        if (x->is_chunked_out) {
            struct str pieces[3] = {chunk_head(size, piece.len), piece, STR("\r\n")};

            http_wire_send(x->conn, pieces, 3, false);
        } else {
            http_wire_send(x->conn, &piece, 1, false);
        }
    }
    return http_waiting_bytes(x);
}

void http_on_drain(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *ctx),
                   void *ctx)
{
    x->on_drain = fn;
    x->drain_ctx = ctx;
}

size_t http_waiting_bytes(const struct http_exchange *x)
{
    return x->conn ? http_wire_waiting(x->conn) : 0;
}

void http_end(struct http_exchange *x)
{
    static const struct str last = STR_INIT("0\r\n\r\n");

    if (x->is_finished)
        return;
    assert(x->is_started);
    if (x->conn && x->is_chunked_out && !x->has_no_body)
        http_wire_send(x->conn, &last, 1, false);
    leave(x);
}

void http_abort(struct http_exchange *x)
{
    struct http_conn *c = TAKE(x->conn);

    http_exchange_finish(x);
    if (!c)
        return;
    c->x = NULL;
    http_conn_cut(c, true);
}

/* ---- the server's own answers ---- */

void http_reply_error(struct http_conn *c, struct http_exchange *x, int status)
{
    struct http_server *s = c->server;
    const char *type = "text/plain";
    struct head h = {.status = status, .length_kind = LENGTH_BYTES};
    bool is_head = x && x->has_no_body;

    buf_clear(&s->text);
    if (s->cfg.format_error)
        s->cfg.format_error(s->cfg.ctx, x ? x->req.path : STR(""), status, http_reason(status),
                            &s->text, &type);
    else
        buf_putf(&s->text, "%d %s\n", status, http_reason(status));
    h.content_type = type;
    h.length = buf_len(&s->text);
    count(status);

    struct str pieces[2] = {compose(s, &h), buf_str(&s->text)};

    http_wire_send(c, pieces, is_head ? 1 : 2, false);
}
