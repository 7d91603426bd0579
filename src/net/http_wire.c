/* http_wire.c -- bytes to the client: at once as far as the socket takes them, which is nearly
 * always all, in one system call and without a copy; the rest by libuv. */
#include "base/metric.h"
#include "net/http_private.h"

struct out { /* a write in flight */
    uv_write_t req;
    struct http_conn *conn;
    size_t held; /* bytes of data */
    char data[];
};

size_t http_wire_waiting(const struct http_conn *c)
{
    return uv_stream_get_write_queue_size(&c->uv.stream);
}

static void on_written(uv_write_t *req, int status)
{
    struct out *out = container_of(req, struct out, req);
    struct http_conn *c = out->conn;

    http_shared_let_go(c->server->cfg.shared, out->held);
    xfree(out);
    if (c->state == HTTP_CONN_CLOSED)
        return;
    if (status < 0) {
        http_conn_cut(c, false);
        return;
    }
    if (http_wire_waiting(c) == 0)
        http_conn_written(c);
}

/* Hands what the socket did not take to libuv: a copy, and the static rest as it is. */
static void queue(struct http_conn *c, const struct str *pieces, unsigned count, bool is_last_static)
{
    size_t copied = 0;
    unsigned copy_count = count - is_last_static;
    uv_buf_t bufs[2];
    unsigned used = 0;

    for (unsigned i = 0; i < copy_count; i++)
        copied += pieces[i].len;

    struct out *out = xmalloc(sizeof(*out) + copied);
    char *p = out->data;

    out->conn = c;
    out->held = copied;
    for (unsigned i = 0; i < copy_count; i++)
        if (pieces[i].len > 0)
            p = (char *)memcpy(p, pieces[i].ptr, pieces[i].len) + pieces[i].len;
    if (copied > 0)
        bufs[used++] = uv_buf_init(out->data, (unsigned)copied); /* an answer's size is below 4 GiB */
    if (is_last_static)
        bufs[used++] = (uv_buf_t){.base = (char *)(uintptr_t)pieces[count - 1].ptr, /* only read */
                                  .len = pieces[count - 1].len};
    c->queued_bytes += copied + (is_last_static ? pieces[count - 1].len : 0);
    if (uv_write(&out->req, &c->uv.stream, bufs, used, on_written) != 0) {
        xfree(out);
        http_conn_cut(c, false);
        return;
    }
    http_shared_hold(c->server->cfg.shared, copied); /* bounded by what one connection may have */
    if (c->write_deadline == 0)
        http_conn_expect_written(c);
}

/* Pieces of clear text or of the wire, as they go to the socket. */
static void write_raw(struct http_conn *c, const struct str *pieces, unsigned count,
                      bool is_last_static)
{
    struct str rest[HTTP_WIRE_PIECES];
    uv_buf_t bufs[HTTP_WIRE_PIECES];
    unsigned used = 0;
    size_t taken = 0, total = 0;

    for (unsigned i = 0; i < count; i++)
        bufs[i] = (uv_buf_t){.base = (char *)(uintptr_t)pieces[i].ptr, .len = pieces[i].len};
    if (http_wire_waiting(c) == 0) {
        int n = uv_try_write(&c->uv.stream, bufs, count);

        if (n < 0 && n != UV_EAGAIN) {
            http_conn_cut(c, false);
            return;
        }
        taken = n > 0 ? (size_t)n : 0;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t skip = MIN(taken, pieces[i].len);

        taken -= skip;
        total += pieces[i].len;
        if (skip < pieces[i].len)
            rest[used++] = str_cut(pieces[i], skip, pieces[i].len);
        else if (i == count - 1)
            is_last_static = false; /* nothing of it is left */
    }
    metric_add(METRIC_HTTP_BYTES_OUT, 0, total);
    if (used > 0)
        queue(c, rest, used, is_last_static);
}

/* What the TLS engine has for the wire. */
void http_wire_flush(struct http_conn *c)
{
    struct buf *wire = &c->server->wire;
    struct str bytes = buf_str(wire);

    if (bytes.len > 0)
        write_raw(c, &bytes, 1, false);
    buf_clear(wire);
    if (wire->cap > 2 * HTTP_READ_SIZE)
        buf_release(wire); /* a large answer went through it */
}

void http_wire_send(struct http_conn *c, const struct str *pieces, unsigned count,
                     bool is_last_static)
{
    assert(count > 0 && count <= HTTP_WIRE_PIECES);
    if (c->state == HTTP_CONN_CLOSED)
        return;
    if (!c->tls) {
        write_raw(c, pieces, count, is_last_static);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (pieces[i].len > 0 && tls_conn_write(c->tls, pieces[i], &c->server->wire) < 0) {
            buf_clear(&c->server->wire);
            http_conn_cut(c, true);
            return;
        }
    }
    http_wire_flush(c);
}
