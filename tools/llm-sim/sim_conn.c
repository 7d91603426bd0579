/* sim_conn.c -- one connection: requests in through llhttp, one at a time; the wire out piece by
 * piece. A client that leaves before its answer ended is counted as cancelled. */
#include "sim_answer.h"

#include <llhttp.h>

#define HIGH_WATER    (256u << 10)
#define REQUEST_MAX   (64u << 20)
#define RECORD_BODY   (256u << 10) /* of each recorded request, this much is kept */
#define LINGER_MS     500
#define RESET_DELAY_MS 20 /* for the bytes before a reset to arrive first */

struct sim_conn {
    struct list node;
    struct sim *sim;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned open_handles;
    llhttp_t parser;
    struct buf head;      /* of the request being read: target, then names and values, each with NUL */
    struct buf surplus;   /* bytes behind the request being answered */
    size_t *marks, mark_count, mark_capacity; /* starts in head: target, name, value, name, value ... */
    bool in_field, was_field, keep_alive;
    struct sim_call *call; /* being read or answered */
    bool is_answering, is_hung, has_waited, is_ending, is_closing;
    struct sim_wire wire;
    size_t piece, sent;
    uint64_t blocks_sent;
    bool has_tail_sent;
};

struct write {
    uv_write_t req;
    struct sim_conn *conn;
    char bytes[];
};

static void pump(struct sim_conn *c);
static void parse(struct sim_conn *c, struct str bytes);

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct sim_conn *c = h->data;

    if (--c->open_handles > 0)
        return;
    sim_wire_release(&c->wire);
    buf_release(&c->head);
    buf_release(&c->surplus);
    xfree(c->marks);
    xfree(c);
}

static void end_call(struct sim_conn *c, const char *outcome)
{
    struct sim *s = c->sim;
    struct sim_call *call = c->call;

    c->call = NULL;
    if (c->is_answering && !call->is_sim) {
        s->in_flight--;
        call->outcome = outcome;
        call->end_ms = uv_now(&s->loop);
        if (strcmp(outcome, "answered") == 0)
            s->answered++;
        else if (strcmp(outcome, "cut") == 0)
            s->cut++;
        else
            s->cancels[s->cancelled++ % SIM_CANCELS] = (struct sim_cancel){call->at_ms + (int64_t)(call->end_ms - call->start_ms), call->end_ms - call->start_ms, call->number};
    }
    c->is_answering = c->is_hung = false;
    sim_call_unref(call);
}

static void close_conn(struct sim_conn *c, bool is_reset)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    if (c->call)
        end_call(c, "cancelled");
    list_del(&c->node);
    c->sim->connections--;
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    if (!is_reset || uv_tcp_close_reset(&c->tcp, on_handle_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}

static void on_linger_over(uv_timer_t *t)
{
    close_conn(t->data, false);
}

static void on_reset_time(uv_timer_t *t)
{
    close_conn(t->data, true);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct sim_conn *c = req->data;

    xfree(req);
    if (!c->is_closing)
        uv_timer_start(&c->timer, on_linger_over, LINGER_MS, 0); /* what is unread must not turn the close into a reset */
}

static void end_connection(struct sim_conn *c, enum sim_end end)
{
    c->is_ending = true;
    if (end == SIM_RESET) {
        uv_timer_start(&c->timer, on_reset_time, RESET_DELAY_MS, 0);
    } else {
        uv_shutdown_t *req = xcalloc(1, sizeof(*req));

        req->data = c;
        if (uv_shutdown(req, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
            xfree(req);
            close_conn(c, false);
        }
    }
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct write *w = container_of(req, struct write, req);
    struct sim_conn *c = w->conn;

    xfree(w);
    if (status < 0)
        close_conn(c, false);
    else if (!c->is_closing && c->is_answering && uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) < HIGH_WATER / 2)
        pump(c);
}

static void put(struct sim_conn *c, struct str bytes)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len); /* answers are below 4 GiB */
    struct write *w;
    int n = 0;

    if (bytes.len == 0)
        return;
    if (uv_stream_get_write_queue_size(stream) == 0)
        n = MAX(uv_try_write(stream, &b, 1), 0); /* an error shows again in uv_write() */
    if ((size_t)n == bytes.len)
        return;
    bytes = str_cut(bytes, (size_t)n, bytes.len);
    w = xmalloc(sizeof(*w) + bytes.len);
    w->conn = c;
    memcpy(w->bytes, bytes.ptr, bytes.len);
    b = uv_buf_init(w->bytes, (unsigned)bytes.len); /* as above */
    if (uv_write(&w->req, stream, &b, 1, on_written) != 0) {
        xfree(w);
        close_conn(c, false);
    }
}

static void on_time(uv_timer_t *t)
{
    struct sim_conn *c = t->data;

    c->has_waited = true;
    pump(c);
}

/* True: go on at once. */
static bool wait_for(struct sim_conn *c, uint64_t delay_ms)
{
    if (delay_ms == 0 || c->has_waited) {
        c->has_waited = false;
        return true;
    }
    if (delay_ms == SIM_HANG)
        c->is_hung = true;
    else
        uv_timer_start(&c->timer, on_time, delay_ms, 0);
    return false;
}

static void finish(struct sim_conn *c)
{
    enum sim_end end = c->wire.end;
    struct str rest;
    char *bytes;

    end_call(c, end == SIM_KEEP ? "answered" : "cut");
    sim_wire_release(&c->wire);
    sim_wire_init(&c->wire);
    if (end != SIM_KEEP || !c->keep_alive) {
        end_connection(c, end);
        return;
    }
    rest.ptr = bytes = buf_take_cstr(&c->surplus, &rest.len);
    llhttp_resume(&c->parser);
    parse(c, rest);
    xfree(bytes);
}

static void pump(struct sim_conn *c)
{
    struct sim_wire *w = &c->wire;

    while (!c->is_closing) {
        if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > HIGH_WATER)
            return; /* on_written() goes on */
        if (c->piece < w->piece_count) {
            if (!wait_for(c, w->pieces[c->piece].delay_ms))
                return;
            size_t end = w->pieces[c->piece++].end;

            while (c->piece < w->piece_count && w->pieces[c->piece].delay_ms == 0)
                end = w->pieces[c->piece++].end;
            put(c, str_cut(buf_str(&w->bytes), c->sent, end - c->sent));
            c->sent = end;
        } else if (c->blocks_sent < w->block_count) {
            if (!wait_for(c, w->block_delay_ms))
                return;
            put(c, w->block);
            c->blocks_sent++;
        } else {
            if (!c->has_tail_sent) {
                c->has_tail_sent = true;
                put(c, buf_str(&w->tail));
            }
            if (!c->is_closing)
                finish(c);
            return;
        }
    }
}

void sim_conn_release(struct sim *s)
{
    list_for_each(node, &s->conns) {
        struct sim_conn *c = list_entry(node, struct sim_conn, node);

        if (!c->is_hung)
            continue;
        c->is_hung = false;
        c->has_waited = true;
        uv_timer_start(&c->timer, on_time, 0, 0); /* from the loop: pumping here might close the list's next one */
    }
}

void sim_conn_close_all(struct sim *s)
{
    list_for_each(node, &s->conns)
        close_conn(list_entry(node, struct sim_conn, node), false);
}

/* ---- answering ---- */

static void record(struct sim *s, struct sim_call *call)
{
    struct sim_call **slot;

    call->number = ++s->numbers;
    slot = &s->records[call->number % SIM_RECORDS];
    sim_call_unref(*slot);
    *slot = call;
    call->refs++;
    s->in_flight++;
    s->max_in_flight = MAX(s->max_in_flight, s->in_flight);
}

static void trim_body(struct sim_call *call)
{
    struct buf kept = BUF_INIT(RECORD_BODY);

    call->body_bytes = buf_len(&call->body);
    if (call->body_bytes <= RECORD_BODY)
        return;
    buf_put(&kept, str_cut(buf_str(&call->body), 0, RECORD_BODY));
    buf_release(&call->body);
    call->body = kept;
}

static void answer(struct sim_conn *c)
{
    struct sim_call *call = c->call;
    struct sim_reply r;

    sim_reply_init(&r);
    c->is_answering = true;
    c->piece = c->sent = 0;
    c->blocks_sent = 0;
    c->has_tail_sent = c->has_waited = false;
    call->start_ms = uv_now(&c->sim->loop);
    call->outcome = "running";
    if (call->is_sim) {
        sim_control_answer(c->sim, call, &r);
    } else {
        record(c->sim, call);
        sim_answer(c->sim, call, &r);
    }
    trim_body(call);
    sim_wire_frame(&c->wire, call, &r);
    sim_reply_release(&r);
    pump(c);
}

/* ---- reading ---- */

static struct sim_conn *conn_of(llhttp_t *p)
{
    return p->data;
}

static void mark(struct sim_conn *c)
{
    if (buf_len(&c->head) > 0)
        buf_put(&c->head, str_n("\0", 1)); /* ends the text before */
    if (c->mark_count == c->mark_capacity) {
        c->mark_capacity = c->mark_capacity ? c->mark_capacity * 2 : 64;
        c->marks = xrealloc(c->marks, c->mark_capacity * sizeof(*c->marks));
    }
    c->marks[c->mark_count++] = buf_len(&c->head);
}

static int on_begin(llhttp_t *p)
{
    struct sim_conn *c = conn_of(p);

    buf_clear(&c->head);
    c->mark_count = 0;
    c->was_field = false;
    mark(c);
    c->call = xcalloc(1, sizeof(*c->call));
    c->call->refs = 1;
    arena_init(&c->call->arena);
    buf_init(&c->call->body, REQUEST_MAX);
    return 0;
}

static int on_text(llhttp_t *p, const char *at, size_t n)
{
    return buf_add(&conn_of(p)->head, at, n) < 0 ? -1 : 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct sim_conn *c = conn_of(p);

    if (!c->was_field)
        mark(c);
    c->was_field = true;
    return on_text(p, at, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct sim_conn *c = conn_of(p);

    if (c->was_field)
        mark(c);
    c->was_field = false;
    return on_text(p, at, n);
}

static struct str text_at(struct sim_conn *c, size_t i)
{
    size_t end = i + 1 < c->mark_count ? c->marks[i + 1] - 1 : buf_len(&c->head);

    return arena_str(&c->call->arena, str_cut(buf_str(&c->head), c->marks[i], end - c->marks[i]));
}

static int on_head(llhttp_t *p)
{
    struct sim_conn *c = conn_of(p);
    struct sim_call *call = c->call;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    call->at_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    call->method = str_of(llhttp_method_name((llhttp_method_t)llhttp_get_method(p)));
    call->target = text_at(c, 0);
    call->path = str_until(call->target, '?');
    call->query = str_after(call->target, '?');
    call->is_sim = str_starts(call->path, STR("/_sim/"));
    call->headers = arena_zalloc(&call->arena, (c->mark_count / 2 + 1) * sizeof(*call->headers));
    for (size_t i = 1; i + 1 < c->mark_count; i += 2)
        call->headers[call->header_count++] = (struct sim_header){text_at(c, i), text_at(c, i + 1)};
    if (str_ieq(sim_call_header(call, "expect"), STR("100-continue")))
        put(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    return buf_add(&conn_of(p)->call->body, at, n) < 0 ? -1 : 0;
}

static int on_complete(llhttp_t *p)
{
    struct sim_conn *c = conn_of(p);

    c->keep_alive = llhttp_should_keep_alive(p);
    c->call->is_last = !c->keep_alive;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_text,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void parse(struct sim_conn *c, struct str bytes)
{
    llhttp_errno_t e;

    if (bytes.len == 0)
        return;
    e = llhttp_execute(&c->parser, bytes.ptr, bytes.len);
    if (e == HPE_OK)
        return;
    if (e == HPE_PAUSED) {
        const char *at = llhttp_get_error_pos(&c->parser);

        if (buf_add(&c->surplus, at, (size_t)(bytes.ptr + bytes.len - at)) < 0)
            close_conn(c, false);
        else
            answer(c);
        return;
    }
    put(c, STR("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    if (!c->is_closing)
        end_connection(c, SIM_CLOSE);
}

static char read_buffer[256 << 10];

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *b)
{
    *b = uv_buf_init(read_buffer, sizeof(read_buffer)); /* one loop, used up before the next read */
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct sim_conn *c = stream->data;

    if (n < 0)
        close_conn(c, false);
    else if (n == 0 || c->is_ending)
        return;
    else if (c->is_answering) {
        if (buf_add(&c->surplus, b->base, (size_t)n) < 0) /* a client that floods: n > 0 */
            close_conn(c, false);
    } else {
        parse(c, str_n(b->base, (size_t)n));
    }
}

void sim_conn_accept(uv_stream_t *listener, int status)
{
    struct sim *s = listener->data;
    struct sim_conn *c;

    if (status < 0)
        return;
    c = xcalloc(1, sizeof(*c));
    c->sim = s;
    buf_init(&c->head, 4u << 20);
    buf_init(&c->surplus, REQUEST_MAX);
    sim_wire_init(&c->wire);
    llhttp_init(&c->parser, HTTP_REQUEST, &settings);
    c->parser.data = c;
    uv_tcp_init(&s->loop, &c->tcp);
    uv_timer_init(&s->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    c->open_handles = 2;
    list_add_tail(&s->conns, &c->node);
    s->connections++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        close_conn(c, false);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
}
