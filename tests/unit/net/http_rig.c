#include "http_rig.h"

#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define FLOOD_BYTES (64u * 1024 * 1024)

static char big_body[1024 * 1024];

/* ---- routes ---- */

static void reply_info(struct http_exchange *x)
{
    const struct http_request *q = http_request(x);
    char client[ADDR_TEXT_SIZE], peer[ADDR_TEXT_SIZE];

    addr_text(&q->client, client);
    addr_text(&q->peer, peer);
    http_add_header(x, "X-First", STR("1"));
    http_add_headerf(x, "X-Second", "%d", 2);

    const char *text = arena_printf(
        http_arena(x),
        "method=%.*s path=%.*s raw=%.*s query=%.*s host=%.*s client=%s peer=%s https=%d body=%d "
        "length=%lld headers=%zu cookie=%.*s",
        STR_ARG(q->method_text), STR_ARG(q->path), STR_ARG(q->raw_path), STR_ARG(q->query),
        STR_ARG(q->host), client, peer, q->is_https, q->has_body, (long long)q->content_length,
        q->header_count, STR_ARG(http_get_cookie(x, "sid")));

    http_reply(x, 200, "text/plain", str_of(text));
}

static void on_echo(struct http_exchange *x, struct str body, void *ctx)
{
    http_reply(x, 200, "application/octet-stream", body);
}

static void on_stream(struct http_exchange *x, struct str piece, void *ctx)
{
    struct rig *r = ctx;

    if (piece.len > 0) {
        atomic_fetch_add(&r->streamed, piece.len);
        return;
    }
    http_reply(x, 200, "text/plain",
               str_of(arena_printf(http_arena(x), "%zu", atomic_load(&r->streamed))));
}

static void on_pause_data(struct http_exchange *x, struct str piece, void *ctx)
{
    struct rig *r = ctx;

    if (atomic_load(&r->streamed) == 0) {
        http_pause_body(x, true);
        r->held = x;
    }
    on_stream(x, piece, ctx);
}

static void on_gone(struct http_exchange *x, void *ctx)
{
    struct rig *r = ctx;

    if (r->held == x) {
        r->held = NULL;
        http_reply(x, 200, "text/plain", STR("after the client's end"));
    }
    atomic_fetch_add(&r->gone, 1);
}

static void on_stream_gone(struct http_exchange *x, void *ctx)
{
    struct rig *r = ctx;

    r->held = NULL;
    atomic_fetch_add(&r->gone, 1);
    http_abort(x); /* its end will never come; the exchange is still ours */
}

struct flood {
    struct rig *rig;
    size_t left;
};

static void on_flood_gone(struct http_exchange *x, void *ctx)
{
    struct flood *f = ctx;

    atomic_fetch_add(&f->rig->gone, 1);
    http_abort(x);
}

static void on_flood_drain(struct http_exchange *x, void *ctx)
{
    struct flood *f = ctx;
    size_t waiting = 0;

    while (f->left > 0 && !http_is_gone(x)) {
        size_t n = MIN(f->left, (size_t)16384);

        waiting = http_write(x, str_n(big_body, n));
        f->left -= n;
        if (waiting > atomic_load(&f->rig->peak_waiting))
            atomic_store(&f->rig->peak_waiting, waiting);
        if (waiting > HTTP_HIGH_WATER)
            return;
    }
    if (f->left == 0)
        http_end(x);
}

static void start_flood(struct http_exchange *x, struct rig *r)
{
    struct flood *f = arena_alloc(http_arena(x), sizeof(*f));

    *f = (struct flood){r, FLOOD_BYTES};
    http_on_drain(x, on_flood_drain, f);
    http_on_gone(x, on_flood_gone, f);
    http_start(x, 200, "application/octet-stream");
    on_flood_drain(x, f);
}

static void reply_query(struct http_exchange *x)
{
    struct str value;

    if (http_get_query(x, "v", &value))
        http_reply(x, 200, "text/plain", value);
    else
        http_reply(x, 404, "text/plain", STR("no v"));
}

static bool route_answers(struct http_exchange *x, struct str path)
{
    if (str_eq(path, STR("/hello")))
        http_reply(x, 200, "text/plain", STR("hello"));
    else if (str_eq(path, STR("/static")))
        http_reply_static(x, 200, "text/plain", STR("static"));
    else if (str_eq(path, STR("/big")))
        http_reply_static(x, 200, "text/plain", str_n(big_body, sizeof(big_body)));
    else if (str_eq(path, STR("/empty")))
        http_reply(x, 204, NULL, STR(""));
    else if (str_eq(path, STR("/same")))
        http_reply(x, 304, NULL, STR(""));
    else if (str_eq(path, STR("/info")))
        reply_info(x);
    else if (str_eq(path, STR("/query")))
        reply_query(x);
    else
        return false;
    return true;
}

static bool route_streams(struct http_exchange *x, struct rig *r, struct str path)
{
    if (str_eq(path, STR("/chunks")) || str_eq(path, STR("/abort"))) {
        http_start(x, 200, "text/plain");
        http_write(x, STR("one,"));
        if (str_eq(path, STR("/abort"))) {
            http_abort(x);
            return true;
        }
        http_write(x, STR("two,"));
        http_write(x, STR("three"));
        http_end(x);
    } else if (str_eq(path, STR("/flood"))) {
        start_flood(x, r);
    } else if (str_eq(path, STR("/late")) || str_eq(path, STR("/body-late"))) {
        r->held = x;
        http_on_gone(x, on_gone, r);
    } else {
        return false;
    }
    return true;
}

static void on_request(struct http_exchange *x, void *ctx)
{
    struct rig *r = ctx;
    struct str path = http_request(x)->path;

    atomic_fetch_add(&r->requests, 1);
    if (http_request(x)->method == HTTP_OTHER_)
        http_reply(x, 405, "text/plain", STR("no such method"));
    else if (route_answers(x, path) || route_streams(x, r, path))
        return;
    else if (str_eq(path, STR("/echo"))) {
        http_on_gone(x, on_gone, r);
        http_read_body(x, 65536, on_echo, r);
    } else if (str_eq(path, STR("/stream")) || str_eq(path, STR("/pause"))) {
        atomic_store(&r->streamed, 0);
        http_on_gone(x, on_stream_gone, r);
        http_stream_body(x, str_eq(path, STR("/stream")) ? on_stream : on_pause_data, r);
    } else
        http_reply(x, 404, "text/plain", STR("nothing here"));
}

static void release_held(struct rig *r)
{
    struct http_exchange *x = TAKE(r->held);

    assert(x);
    if (str_eq(http_request(x)->path, STR("/body-late")))
        http_read_body(x, 65536, on_echo, r);
    else if (str_eq(http_request(x)->path, STR("/pause")))
        http_pause_body(x, false);
    else
        http_reply(x, 200, "text/plain", STR("late"));
}

void rig_release(struct rig *r)
{
    rig_call(r, release_held);
}

/* ---- life ---- */

void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    memset(big_body, 'x', sizeof(big_body));
    r->cfg.limits = (struct http_limits){
        .request_line_bytes = 8190,
        .header_line_bytes = 8192,
        .head_bytes = 32768,
        .header_count = 100,
        .head_timeout_ms = 5000,
        .body_timeout_ms = 5000,
        .keepalive_timeout_ms = 5000,
        .write_timeout_ms = 5000,
        .keepalive_requests = 10000,
        .connections = 1000,
        .connections_per_address = 1000,
    };
    r->cfg.base_path = STR("/");
    r->cfg.on_request = on_request;
    r->cfg.ctx = r;
}

static void *run(void *arg)
{
    struct rig *r = arg;

    loop_run(r->loop);
    return NULL;
}

static int open_socket(struct rig *r)
{
    struct listener_spec spec = {.host = "127.0.0.1"};
    struct err err = {0};
    int fd = -1;

    if (r->unix_path[0] != '\0') {
        spec.kind = LISTENER_UNIX;
        str_copy(spec.host, sizeof(spec.host), str_of(r->unix_path));
    }
    if (listener_open(&spec, &fd, &err) < 0)
        fail_msg("%s", err.text);
    r->port = listener_port(fd);
    return fd;
}

void rig_start(struct rig *r)
{
    struct err err = {0};

    r->loop = loop_new("test", 0);
    r->shared = http_shared_new(&r->cfg.limits);
    r->cfg.shared = r->shared;
    r->server = http_server_new(r->loop, &r->cfg);
    if (http_server_listen(r->server, open_socket(r), r->tls, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

struct call {
    struct loop_msg msg;
    struct rig *rig;
    void (*fn)(struct rig *r);
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool is_done;
};

static void on_call(struct loop_msg *m)
{
    struct call *c = container_of(m, struct call, msg);

    c->fn(c->rig);
    pthread_mutex_lock(&c->lock);
    c->is_done = true;
    pthread_cond_signal(&c->done_cond);
    pthread_mutex_unlock(&c->lock);
}

void rig_call(struct rig *r, void (*fn)(struct rig *r))
{
    struct call c = {.rig = r, .fn = fn};

    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.done_cond, NULL);
    loop_post(r->loop, &c.msg, on_call);
    pthread_mutex_lock(&c.lock);
    while (!c.is_done)
        pthread_cond_wait(&c.done_cond, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.done_cond);
    pthread_mutex_destroy(&c.lock);
}

static void close_server(struct rig *r)
{
    http_server_close(r->server);
    loop_stop(r->loop);
}

void rig_stop(struct rig *r)
{
    rig_call(r, close_server);
    pthread_join(r->thread, NULL);
    loop_free(r->loop);
    http_shared_free(r->shared);
}

bool rig_wait(const atomic_int *counter, int want)
{
    for (int i = 0; i < 5000; i++) {
        if (atomic_load(counter) >= want)
            return true;
        usleep(1000);
    }
    return false;
}

/* ---- client ---- */

int rig_connect(const struct rig *r)
{
    struct timeval five = {.tv_sec = 5};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_unix = r->unix_path[0] != '\0';
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(un.sun_path, r->unix_path, sizeof(un.sun_path));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &five, sizeof(five));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &five, sizeof(five));
    if (connect(fd, is_unix ? (const struct sockaddr *)&un : (const struct sockaddr *)&in,
                is_unix ? sizeof(un) : sizeof(in)) < 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

void rig_send_bytes(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n <= 0)
            return; /* the server closed: what it answered tells */
        bytes = str_cut(bytes, (size_t)n, bytes.len);
    }
}

void rig_send(int fd, const char *text)
{
    rig_send_bytes(fd, str_of(text));
}

bool rig_read_all(int fd, struct buf *out)
{
    char piece[65536];

    for (;;) {
        ssize_t n = recv(fd, piece, sizeof(piece), 0);

        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
        if (n < 0)
            return false;
        if (out && buf_add(out, piece, (size_t)n) < 0)
            fail_msg("the answer is too long");
    }
}

/* Through recv() byte by byte in heads, so that nothing of the next answer is taken. */
static bool read_line(int fd, struct buf *line)
{
    char c;

    buf_clear(line);
    while (recv(fd, &c, 1, 0) == 1) {
        if (buf_add(line, &c, 1) < 0)
            return false;
        if (c == '\n')
            return buf_len(line) >= 2 && buf_cstr(line)[buf_len(line) - 2] == '\r';
    }
    return false;
}

static bool read_exactly(int fd, struct buf *out, size_t n)
{
    char piece[65536];

    while (n > 0) {
        ssize_t got = recv(fd, piece, MIN(n, sizeof(piece)), 0);

        if (got <= 0)
            return false;
        if (out && buf_add(out, piece, (size_t)got) < 0)
            return false;
        n -= (size_t)got;
    }
    return true;
}

static bool read_chunked(int fd, struct buf *line, struct buf *body)
{
    for (;;) {
        size_t n = 0;

        if (!read_line(fd, line) || sscanf(buf_cstr(line), "%zx", &n) != 1)
            return false;
        if (n == 0)
            return read_line(fd, line);
        if (!read_exactly(fd, body, n) || !read_line(fd, line) || buf_len(line) != 2)
            return false;
    }
}

static int read_reply(int fd, struct buf *line, struct buf *head, struct buf *body, bool is_head)
{
    int status = 0;
    long long length = -1;
    bool is_chunked = false;

    if (!read_line(fd, line) || sscanf(buf_cstr(line), "HTTP/1.1 %d ", &status) != 1)
        return 0;
    for (;;) {
        if (head)
            buf_put(head, buf_str(line));
        if (buf_len(line) == 2)
            break;
        if (!read_line(fd, line))
            return 0;
        sscanf(buf_cstr(line), "Content-Length: %lld", &length);
        if (strcmp(buf_cstr(line), "Transfer-Encoding: chunked\r\n") == 0)
            is_chunked = true;
    }
    if (is_head || status == 204 || status == 304 || status < 200)
        return status;
    if (is_chunked)
        return read_chunked(fd, line, body) ? status : 0;
    if (length >= 0)
        return read_exactly(fd, body, (size_t)length) ? status : 0;
    return rig_read_all(fd, body) ? status : 0;
}

int rig_read_reply(int fd, struct buf *head, struct buf *body, bool is_head)
{
    struct buf line = BUF_INIT(65536);
    int status;

    if (head)
        buf_clear(head);
    if (body)
        buf_clear(body);
    status = read_reply(fd, &line, head, body, is_head);
    buf_release(&line);
    return status;
}

int rig_ask(const struct rig *r, const char *request, struct buf *head, struct buf *body)
{
    int fd = rig_connect(r);
    int status;

    rig_send(fd, request);
    status = rig_read_reply(fd, head, body, strncmp(request, "HEAD ", 5) == 0);
    close(fd);
    return status;
}
