/* http_conn.c -- one client connection: bytes in, bytes out, deadlines, close.
 *
 *   HEAD --> BUSY --> HEAD                     kept alive
 *              |  --> DRAIN --> HEAD           a short body nobody read is read away
 *              `----> FINISH --> LINGER --> CLOSED
 *
 * A client that shuts down its sending side still gets its answer: the exchange is told that the
 * client left, but stays connected and may answer.
 *
 * Bytes are handled where they were read, in the loop's buffer; what cannot be handled now (a half
 * head, a request behind the one being answered, a body nobody asked for yet) moves to c->in.
 * Reading stops when that is full, and the next request waits until the last answer is out: a
 * client that only sends costs HTTP_READ_AHEAD, one that does not read costs one answer. */
#include "base/log.h"
#include "base/metric.h"
#include "net/http_private.h"

#include <sys/socket.h>
#include <unistd.h>

static void settle(struct http_conn *c);

/* ---- close ---- */

static void on_closed(uv_handle_t *h)
{
    struct http_conn *c = h->data;
    struct http_server *s = c->server;

    list_del(&c->node);
    s->conn_count--;
    http_shared_remove(s->cfg.shared, &c->peer, c->is_exempt);
    metric_gauge_add(METRIC_HTTP_CONNECTIONS, -1);
    tls_conn_free(c->tls);
    buf_release(&c->in);
    xfree(c);
    http_server_accept_again(s);
    http_server_release(s);
}

static void detach_exchange(struct http_conn *c)
{
    struct http_exchange *x = TAKE(c->x);

    if (!x)
        return;
    x->conn = NULL;
    x->is_server_owned = x->body_mode == HTTP_BODY_WHOLE; /* its callback will never come */
    http_exchange_set_gone(x);
}

void http_conn_cut(struct http_conn *c, bool with_reset)
{
    if (c->state == HTTP_CONN_CLOSED)
        return;
    c->state = HTTP_CONN_CLOSED;
    loop_timer_cancel(&c->timer);
    detach_exchange(c);
    if (!with_reset || uv_tcp_close_reset(&c->uv.tcp, on_closed) != 0)
        uv_close(&c->uv.handle, on_closed);
}

/* ---- deadlines ---- */

static void arm(struct http_conn *c)
{
    mono_ms now = loop_now(c->server->loop);
    mono_ms at = c->wait != HTTP_WAIT_NONE ? c->read_deadline : 0;

    if (c->write_deadline != 0 && (at == 0 || c->write_deadline < at))
        at = c->write_deadline;
    /* A timer that is too early looks again; one set anew per request would cost more. */
    if (at == 0 || (c->timer.is_set && c->timer.at <= at))
        return;
    loop_timer_set(&c->timer, at > now ? at - now : 0);
}

void http_conn_wait(struct http_conn *c, enum http_wait wait, uint64_t ms)
{
    c->wait = (uint8_t)wait; /* six values */
    c->read_deadline = loop_now(c->server->loop) + ms;
    if (wait != HTTP_WAIT_NONE)
        arm(c);
}

void http_conn_expect_written(struct http_conn *c)
{
    c->write_deadline = loop_now(c->server->loop) + c->server->cfg.limits.write_timeout_ms;
    c->written_mark = c->queued_bytes - http_wire_waiting(c);
    arm(c);
}

/* In the time of one deadline the client must take what waits, or as much as the lowest rate is. */
static void on_write_deadline(struct http_conn *c)
{
    const struct http_limits *limits = &c->server->cfg.limits;
    uint64_t written = c->queued_bytes - http_wire_waiting(c) - c->written_mark;

    if (written >= MAX(limits->min_rate_bytes * limits->write_timeout_ms / 1000, UINT64_C(1))) {
        http_conn_expect_written(c);
        return;
    }
    metric_add(METRIC_HTTP_TIMEOUTS, 0, 1);
    log_debug("http", "client does not read waiting=%zu", http_wire_waiting(c));
    http_conn_cut(c, true);
}

static void on_read_deadline(struct http_conn *c)
{
    switch ((enum http_wait)c->wait) {
    case HTTP_WAIT_NONE:
        return;
    case HTTP_WAIT_HEAD:
    case HTTP_WAIT_BODY:
        metric_add(METRIC_HTTP_TIMEOUTS, 0, 1);
        if (c->state == HTTP_CONN_DRAIN) /* answered already */
            http_conn_cut(c, false);
        else
            http_conn_refuse(c, 408);
        settle(c);
        return;
    case HTTP_WAIT_FIRST:
        metric_add(METRIC_HTTP_TIMEOUTS, 0, 1);
        http_conn_cut(c, false);
        return;
    case HTTP_WAIT_IDLE:
    case HTTP_WAIT_LINGER:
        http_conn_cut(c, false);
        return;
    }
}

static void on_timer(struct loop_timer *t)
{
    struct http_conn *c = container_of(t, struct http_conn, timer);
    mono_ms now = loop_now(c->server->loop);

    if (c->write_deadline != 0 && c->write_deadline <= now)
        on_write_deadline(c);
    if (c->state != HTTP_CONN_CLOSED && c->wait != HTTP_WAIT_NONE && c->read_deadline <= now)
        on_read_deadline(c);
    if (c->state != HTTP_CONN_CLOSED)
        arm(c);
}

void http_conn_written(struct http_conn *c)
{
    c->write_deadline = 0;
    if (c->x && c->x->on_drain)
        c->x->on_drain(c->x, c->x->drain_ctx);
    http_conn_process(c);
}

/* ---- handling bytes ---- */

void http_conn_refuse(struct http_conn *c, int status)
{
    struct http_exchange *x = c->x;

    if (c->state == HTTP_CONN_CLOSED)
        return;
    if (x && x->is_started) { /* an answer is under way: it can only break off */
        http_conn_cut(c, true);
        return;
    }
    metric_add(METRIC_HTTP_BAD, 0, 1);
    c->state = HTTP_CONN_FINISH;
    c->wait = HTTP_WAIT_NONE;
    c->must_linger = true;
    http_reply_error(c, x, status);
    detach_exchange(c);
}

static bool step_head(struct http_conn *c, struct str *in)
{
    struct http_server *s = c->server;
    const struct http_limits *limits = &s->cfg.limits;

    if (in->len == 0 || http_wire_waiting(c) > 0)
        return false;

    struct http_parse_scan *scan = &c->scan;
    int status = http_parse_scan(scan, limits, *in);

    if (status == 0) {
        if (c->wait == HTTP_WAIT_FIRST)
            c->wait = HTTP_WAIT_HEAD; /* the clock runs since the connection was made */
        else if (c->wait != HTTP_WAIT_HEAD)
            http_conn_wait(c, HTTP_WAIT_HEAD, limits->head_timeout_ms);
        return false;
    }
    if (status > 1) {
        http_conn_refuse(c, status);
        return false;
    }

    struct http_exchange *x = http_exchange_new(c);
    struct str head = str_cut(*in, scan->start, scan->pos - scan->start);

    *in = str_cut(*in, scan->pos, in->len);
    status = http_exchange_parse(x, head, scan->lines);
    *scan = (struct http_parse_scan){0};
    c->requests++;
    c->state = HTTP_CONN_BUSY;
    c->wait = HTTP_WAIT_NONE;
    c->x = x;
    if (status != 0) {
        x->body_mode = HTTP_BODY_WHOLE; /* no handler knows it */
        http_conn_refuse(c, status);
        return false;
    }
    s->cfg.on_request(x, s->cfg.ctx);
    return true;
}

static bool step_body(struct http_conn *c, struct str *in)
{
    struct http_exchange *x = c->x;

    if (!http_exchange_wants(x, in->len > 0))
        return false;

    int status = http_exchange_take(x, in);

    if (status != 0 && c->x == x)
        http_conn_refuse(c, status);
    return true;
}

static bool step_drain(struct http_conn *c, struct str *in)
{
    size_t n = MIN(in->len, (size_t)MIN(c->body_left, (uint64_t)SIZE_MAX));

    *in = str_cut(*in, n, in->len);
    c->body_left -= n;
    if (c->body_left > 0)
        return false;
    c->state = HTTP_CONN_HEAD;
    http_conn_wait(c, HTTP_WAIT_IDLE, c->server->cfg.limits.keepalive_timeout_ms);
    return true;
}

/* One step on the bytes at hand; false when they have to wait. */
static bool step(struct http_conn *c, struct str *in)
{
    switch ((enum http_conn_state)c->state) {
    case HTTP_CONN_HEAD:
        return step_head(c, in);
    case HTTP_CONN_BUSY:
        return step_body(c, in);
    case HTTP_CONN_DRAIN:
        return step_drain(c, in);
    case HTTP_CONN_FINISH:
    case HTTP_CONN_LINGER:
    case HTTP_CONN_CLOSED:
        *in = STR_NONE;
        return false;
    }
    return false;
}

/* Handlers called from in here may answer and so change the state: the loop goes on with it. */
static void consume(struct http_conn *c, struct str *in)
{
    c->is_processing = true;
    while (step(c, in))
        ;
    c->is_processing = false;
}

void http_conn_process(struct http_conn *c)
{
    if (c->is_processing || c->state == HTTP_CONN_CLOSED)
        return;

    struct str in = buf_str(&c->in);
    size_t len = in.len;

    consume(c, &in);
    buf_consume(&c->in, len - in.len);
    settle(c);
}

void http_conn_next(struct http_conn *c, bool keep_open, uint64_t unread)
{
    const struct http_limits *limits = &c->server->cfg.limits;

    if (!keep_open) {
        c->state = HTTP_CONN_FINISH;
        c->wait = HTTP_WAIT_NONE;
    } else if (unread > 0) {
        c->state = HTTP_CONN_DRAIN;
        c->body_left = unread;
        http_conn_wait(c, HTTP_WAIT_BODY, limits->body_timeout_ms);
    } else {
        c->state = HTTP_CONN_HEAD;
        http_conn_wait(c, HTTP_WAIT_IDLE, limits->keepalive_timeout_ms);
    }
    http_conn_process(c);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct http_conn *c = h->data;

    *ret = uv_buf_init(c->server->read_buf, HTTP_READ_SIZE);
}

static void feed(struct http_conn *c, struct str bytes)
{
    if (buf_len(&c->in) > 0) {
        if (buf_add_str(&c->in, bytes) < 0) /* reading stops long before */
            http_conn_cut(c, true);
        http_conn_process(c);
        return;
    }
    consume(c, &bytes);
    if (c->state != HTTP_CONN_CLOSED && bytes.len > 0 && buf_add_str(&c->in, bytes) < 0)
        http_conn_cut(c, true);
    settle(c);
}

static void on_eof(struct http_conn *c)
{
    c->is_eof = true;
    if (c->x)
        http_exchange_set_gone(c->x);
    settle(c);
}

static void feed_tls(struct http_conn *c, struct str wire)
{
    struct http_server *s = c->server;
    bool is_closed = false;

    buf_clear(&s->plain);

    int rc = tls_conn_read(c->tls, wire, &s->plain, &s->wire, &is_closed);

    http_wire_flush(c);
    if (rc < 0) {
        http_conn_cut(c, false);
        return;
    }
    if (buf_len(&s->plain) > 0)
        feed(c, buf_str(&s->plain));
    if (is_closed && c->state != HTTP_CONN_CLOSED)
        on_eof(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct http_conn *c = stream->data;

    if (n == 0 || c->state == HTTP_CONN_CLOSED)
        return;
    if (n == UV_EOF) {
        on_eof(c);
        return;
    }
    if (n < 0) {
        http_conn_cut(c, false);
        return;
    }

    struct str bytes = str_n(buf->base, (size_t)n); /* n > 0 */

    metric_add(METRIC_HTTP_BYTES_IN, 0, bytes.len);
    if (c->state >= HTTP_CONN_FINISH)
        return;
    if (c->tls)
        feed_tls(c, bytes);
    else
        feed(c, bytes);
}

/* ---- after every event ---- */

/* All that was to be written is: say so to the client and close, or wait for its end first. */
static void end(struct http_conn *c)
{
    uv_os_fd_t fd;

    if (c->tls) {
        if (tls_conn_close(c->tls, &c->server->wire) == 0)
            http_wire_flush(c);
        else
            buf_clear(&c->server->wire);
        if (c->state == HTTP_CONN_CLOSED)
            return;
    }
    if (!c->must_linger || c->is_eof || uv_fileno(&c->uv.handle, &fd) != 0 ||
        shutdown(fd, SHUT_WR) < 0) {
        http_conn_cut(c, false);
        return;
    }
    c->state = HTTP_CONN_LINGER;
    http_conn_wait(c, HTTP_WAIT_LINGER, HTTP_LINGER_MS);
}

/* What follows from the client having sent all it will. */
static void settle_eof(struct http_conn *c)
{
    switch ((enum http_conn_state)c->state) {
    case HTTP_CONN_HEAD:
    case HTTP_CONN_DRAIN:
        if (http_wire_waiting(c) == 0)
            http_conn_cut(c, false); /* no complete request is left */
        return;
    case HTTP_CONN_BUSY: /* the rest of its body will never come */
        if (buf_len(&c->in) == 0 && http_exchange_wants(c->x, true))
            http_conn_cut(c, false);
        return;
    case HTTP_CONN_LINGER:
        http_conn_cut(c, false);
        return;
    case HTTP_CONN_FINISH:
    case HTTP_CONN_CLOSED:
        return;
    }
}

static void settle(struct http_conn *c)
{
    if (c->is_eof)
        settle_eof(c);
    if (c->state == HTTP_CONN_FINISH && http_wire_waiting(c) == 0)
        end(c);
    if (c->state == HTTP_CONN_CLOSED)
        return;
    if (buf_len(&c->in) == 0 && c->in.cap > 0)
        buf_release(&c->in);
    if (c->server->is_draining && c->state == HTTP_CONN_HEAD && buf_len(&c->in) == 0 &&
        http_wire_waiting(c) == 0) {
        http_conn_cut(c, false);
        return;
    }

    bool may_read = !c->is_eof && buf_len(&c->in) < HTTP_READ_AHEAD;

    if (may_read && !c->is_reading)
        c->is_reading = uv_read_start(&c->uv.stream, on_alloc, on_read) == 0;
    else if (!may_read && c->is_reading) {
        uv_read_stop(&c->uv.stream);
        c->is_reading = false;
    }
}

/* ---- start ---- */

void http_conn_start(struct http_listener *l, int fd, const struct addr *peer, bool is_exempt)
{
    struct http_server *s = l->server;
    struct http_conn *c = xcalloc(1, sizeof(*c));

    c->server = s;
    c->peer = *peer;
    c->is_exempt = is_exempt;
    buf_init(&c->in, s->cfg.limits.head_bytes + s->cfg.limits.request_line_bytes +
                         HTTP_READ_AHEAD + 2 * HTTP_READ_SIZE);
    list_add_tail(&s->conns, &c->node);
    s->conn_count++;
    loop_timer_init(&c->timer, s->loop, on_timer);
    c->tls = l->tls ? tls_conn_new(l->tls) : NULL;

    int rc = uv_tcp_init(loop_uv(s->loop), &c->uv.tcp);

    assert(rc == 0); /* it only fills the handle */
    c->uv.handle.data = c;
    rc = uv_tcp_open(&c->uv.tcp, fd);
    if (rc != 0)
        close(fd);
    if (rc != 0 || (l->tls && !c->tls)) {
        http_conn_cut(c, false);
        return;
    }
    http_conn_wait(c, HTTP_WAIT_FIRST, s->cfg.limits.head_timeout_ms);
    settle(c);
}
