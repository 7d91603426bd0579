#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/metric.h"
#include "net/curl_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

/* ---- a server that answers by path, one thread per connection ---- */

#define CONNECTIONS_MAX 64

struct server {
    int fd;
    uint16_t port;
    SSL_CTX *tls; /* NULL = clear text */
    pthread_t thread, workers[CONNECTIONS_MAX];
    int fds[CONNECTIONS_MAX];
    unsigned connections; /* written by the accepting thread, read after its end or atomically */
};

struct peer {
    struct server *server;
    int fd;
    SSL *ssl;
    char request[70000];
    size_t have;
};

static ssize_t peer_read(struct peer *p, void *to, size_t n)
{
    return p->ssl ? SSL_read(p->ssl, to, (int)n) : recv(p->fd, to, n, 0); /* n is small */
}

static void peer_write(struct peer *p, const void *from, size_t n)
{
    const char *at = from;

    while (n > 0) {
        ssize_t w = p->ssl ? SSL_write(p->ssl, at, (int)MIN(n, (size_t)16384)) : send(p->fd, at, n, MSG_NOSIGNAL);

        if (w <= 0)
            return;
        at += w;
        n -= (size_t)w;
    }
}

static void say(struct peer *p, const char *text)
{
    peer_write(p, text, strlen(text));
}

static void say_with_length(struct peer *p, const char *head, const void *body, size_t n)
{
    char text[1000];

    snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n", head, n);
    say(p, text);
    peer_write(p, body, n);
}

static void wait_for_close(struct peer *p)
{
    char c[1000];

    while (peer_read(p, c, sizeof(c)) > 0)
        ;
}

static void reset(struct peer *p)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void say_zipped(struct peer *p, size_t n, char fill)
{
    CLEANUP(xfree_charp) char *plain = xmalloc(n);
    CLEANUP(xfree_charp) char *zipped = xmalloc(n + 1000);
    z_stream z = {.next_in = (Bytef *)plain, .avail_in = (uInt)n, .next_out = (Bytef *)zipped, .avail_out = (uInt)n + 1000};

    memset(plain, fill, n);
    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    say_with_length(p, "Content-Encoding: gzip\r\n", zipped, z.total_out);
    deflateEnd(&z);
}

static void say_many(struct peer *p, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        say(p, text);
}

/* Answer one request; false ends the connection. */
static bool serve(struct peer *p, struct str path)
{
    static char blob[1 << 20];

#define IS(text) str_eq(path, STR(text))
    if (IS("/ok"))
        say_with_length(p, "Content-Type: application/json\r\nX-Request-Id: second\r\nX-OneAPI-Request-Id: first\r\n", "{\"a\":1}", 7);
    else if (IS("/echo"))
        say_with_length(p, "", p->request, p->have);
    else if (IS("/429"))
        say(p, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\nRequest-Id: rid\r\nContent-Length: 4\r\n\r\nslow");
    else if (IS("/204"))
        say(p, "HTTP/1.1 204 No Content\r\n\r\n");
    else if (IS("/redirect"))
        say(p, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    else if (IS("/chunked"))
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    else if (IS("/100"))
        say(p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    else if (IS("/gzip"))
        say_zipped(p, 5000, 'z');
    else if (IS("/bomb"))
        say_zipped(p, 50u << 20, '\0');
    else if (IS("/badgzip"))
        say_with_length(p, "Content-Encoding: gzip\r\n", "this is not gzip", 16);
    else if (IS("/big"))
        say_with_length(p, "", blob, sizeof(blob));
    else if (IS("/two-equal-lengths"))
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk");
    else if (IS("/te-cl"))
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    else if (IS("/cl-te"))
        say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
    else if (IS("/lf"))
        say(p, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok");
    else if (IS("/silent")) {
        wait_for_close(p);
        return false;
    } else if (IS("/half")) {
        say(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        wait_for_close(p);
        return false;
    } else {
        if (IS("/garbage"))
            say(p, "\x16\x03\x01\x02 this is no HTTP at all, not even near\r\n\r\n");
        else if (IS("/http09"))
            say(p, "<html>hello</html>");
        else if (IS("/badstatus"))
            say(p, "HTTP/1.1 abc OK\r\n\r\n");
        else if (IS("/badchunk"))
            say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n");
        else if (IS("/cutchunk"))
            say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello");
        else if (IS("/short"))
            say(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        else if (IS("/until-close"))
            say(p, "HTTP/1.1 200 OK\r\n\r\nall of it");
        else if (IS("/long-header")) {
            say(p, "HTTP/1.1 200 OK\r\nX: ");
            peer_write(p, memset(blob, 'x', sizeof(blob)), sizeof(blob));
        } else if (IS("/many-headers") || IS("/too-many-headers")) { /* 500 lines, or one more */
            say(p, "HTTP/1.1 200 OK\r\n");
            say_many(p, "A: b\r\n", IS("/many-headers") ? 498 : 499);
            say(p, "Content-Length: 0\r\n\r\n");
        } else if (IS("/large-head")) {
            say(p, "HTTP/1.1 200 OK\r\n");
            memset(blob, 'x', 1024);
            memcpy(blob, "A: ", 3);
            memcpy(blob + 1022, "\r\n", 3);
            say_many(p, blob, 300);
            say(p, "\r\n");
        } else if (IS("/endless")) {
            say(p, "HTTP/1.1 200 OK\r\n\r\n");
            say_many(p, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 200000);
        } else if (IS("/reset-before")) {
            reset(p);
        } else if (IS("/reset-after")) {
            say(p, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
            wait_for_close(p);
        }
        return false;
    }
    return true;
#undef IS
}

/* One whole request into p->request. */
static bool read_request(struct peer *p)
{
    ssize_t n, at;
    uint64_t length = 0;

    p->have = 0;
    for (;;) {
        struct str all = str_n(p->request, p->have);

        at = str_find_str(all, STR("\r\n\r\n"));
        if (at >= 0) {
            ssize_t cl = str_ifind_str(str_cut(all, 0, (size_t)at + 2), STR("content-length: "));

            if (cl >= 0 && str_to_u64(str_until(str_cut(all, (size_t)cl + 16, 20), '\r'), 60000, &length) < 0)
                return false;
            if (p->have >= (size_t)at + 4 + length)
                return true;
        }
        n = peer_read(p, p->request + p->have, sizeof(p->request) - p->have);
        if (n <= 0)
            return false;
        p->have += (size_t)n;
    }
}

static void *connection(void *arg)
{
    struct peer *p = arg;
    bool go_on = true;

    if (p->server->tls) {
        p->ssl = SSL_new(p->server->tls);
        SSL_set_fd(p->ssl, p->fd);
        go_on = SSL_accept(p->ssl) == 1;
    }
    while (go_on && read_request(p)) {
        struct str rest = str_n(p->request, p->have), method, path;

        go_on = str_split(&rest, ' ', &method) && str_split(&rest, ' ', &path) && serve(p, str_until(path, '?'));
    }
    if (p->ssl) {
        SSL_shutdown(p->ssl);
        SSL_free(p->ssl);
    }
    shutdown(p->fd, SHUT_WR);
    close(p->fd);
    xfree(p);
    return NULL;
}

static void *accepting(void *arg)
{
    struct server *s = arg;
    int fd;

    while (s->connections < CONNECTIONS_MAX && (fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct peer *p = xcalloc(1, sizeof(*p));

        p->server = s;
        p->fd = fd;
        if (pthread_create(&s->workers[s->connections], NULL, connection, p) == 0)
            __atomic_add_fetch(&s->connections, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void server_start(struct server *s, SSL_CTX *tls)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);

    *s = (struct server){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .tls = tls};
    assert_int_equal(bind(s->fd, (const struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&in, &len), 0);
    s->port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, accepting, s), 0);
}

/* The client is gone by now, so every connection ends by itself. */
static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    for (unsigned i = 0; i < s->connections; i++)
        pthread_join(s->workers[i], NULL);
    close(s->fd);
}

/* ---- one call at a time ---- */

struct seen {
    bool is_done;
    unsigned done_count;
    enum curl_fault fault;
    int status;
    bool is_truncated;
    struct curl_timing timing;
    char error[256], body[8192], type[100], request_id[100], retry_after[100], location[100];
    size_t body_len, pieces, piece_bytes;
    size_t cancel_after; /* pieces */
    struct curl_client **free_in_done;
    struct curl_call *cancel_in_data;
};

struct world {
    struct loop *loop;
    struct egress *egress;
    struct curl_client *client;
    struct server server;
};

static struct world w;

static void on_done(void *ctx, const struct curl_answer *a)
{
    struct seen *s = ctx;

    uv_stop(loop_uv(w.loop)); /* or the turn would go on to wait for what never comes */
    s->is_done = true;
    s->done_count++;
    s->fault = a->fault;
    s->status = a->status;
    s->is_truncated = a->is_truncated;
    s->timing = a->timing;
    str_copy(s->error, sizeof(s->error), str_of(a->error));
    s->body_len = a->body.len;
    str_copy(s->body, sizeof(s->body), a->body);
    str_copy(s->type, sizeof(s->type), a->content_type);
    str_copy(s->request_id, sizeof(s->request_id), a->request_id);
    str_copy(s->retry_after, sizeof(s->retry_after), a->retry_after);
    str_copy(s->location, sizeof(s->location), a->location);
    if (s->free_in_done) {
        curl_client_free(*s->free_in_done);
        *s->free_in_done = NULL;
    }
}

static bool on_data(void *ctx, struct str piece)
{
    struct seen *s = ctx;

    uv_stop(loop_uv(w.loop));
    s->pieces++;
    s->piece_bytes += piece.len;
    if (s->cancel_in_data) {
        curl_call_cancel(s->cancel_in_data);
        s->cancel_in_data = NULL;
    }
    return s->pieces != s->cancel_after;
}

static void turn(void)
{
    uv_run(loop_uv(w.loop), UV_RUN_ONCE);
}

static void url_of(char out[200], const char *host, const char *path)
{
    snprintf(out, 200, "%s://%s:%u%s", w.server.tls ? "https" : "http", host, w.server.port, path);
}

static struct curl_request request_to(const char *url, struct seen *s)
{
    *s = (struct seen){0};
    return (struct curl_request){.method = "GET", .url = url, .timeout_ms = 20000, .flags = CURL_CALL_PRIVATE_OK, .on_done = on_done, .ctx = s};
}

static void run(const struct curl_request *r)
{
    struct seen *s = r->ctx;

    (void)curl_client_start(w.client, r);
    assert_false(s->is_done);
    while (!s->is_done)
        turn();
    assert_int_equal(s->done_count, 1);
}

static void get(const char *path, struct seen *s)
{
    char url[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", path);
    r = request_to(url, s);
    run(&r);
}

static void assert_fault(const struct seen *s, enum curl_fault fault, const char *words)
{
    if (s->fault != fault || !strstr(s->error, words))
        fail_msg("%s '%s' (status %d) instead of %s '%s'", curl_fault_name(s->fault), s->error, s->status, curl_fault_name(fault), words);
}

static void new_client(const char *ca_file)
{
    struct curl_client_config cfg = {.egress = w.egress, .ca_file = ca_file, .max_connections = 10};

    assert_int_equal(curl_client_new(w.loop, &cfg, &w.client, NULL), 0);
}

static int setup_with(SSL_CTX *tls)
{
    w = (struct world){.loop = loop_new("test", 0)};
    assert_int_equal(egress_new(NULL, 0, NULL, 0, &w.egress, NULL), 0);
    server_start(&w.server, tls);
    new_client(NULL);
    return 0;
}

static int setup(void **state)
{
    return setup_with(NULL);
}

static int teardown(void **state)
{
    curl_client_free(w.client);
    loop_free(w.loop);
    server_stop(&w.server);
    SSL_CTX_free(w.server.tls);
    egress_free(w.egress);
    return 0;
}

/* ---- ordinary answers ---- */

static void test_curl_client__gets_an_answer(void **state)
{
    struct seen s;

    get("/ok", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_string_equal(s.error, "");
    assert_int_equal(s.status, 200);
    assert_string_equal(s.body, "{\"a\":1}");
    assert_string_equal(s.type, "application/json");
    assert_string_equal(s.request_id, "first");
    assert_string_equal(s.retry_after, "");
    assert_true(s.timing.total_us > 0 && s.timing.first_byte_us > 0 && s.timing.connect_us > 0);
    assert_false(s.timing.is_reused);
    get("/429", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.status, 429);
    assert_string_equal(s.body, "slow");
    assert_string_equal(s.retry_after, "17");
    assert_string_equal(s.request_id, "rid");
    assert_true(s.timing.is_reused);
    assert_int_equal(s.timing.connect_us, 0);
}

static void test_curl_client__reads_other_framings(void **state)
{
    struct seen s;

    get("/chunked", &s);
    assert_string_equal(s.body, "hello world");
    get("/204", &s);
    assert_int_equal(s.status, 204);
    assert_int_equal(s.body_len, 0);
    get("/100", &s);
    assert_int_equal(s.status, 200);
    assert_string_equal(s.body, "ok");
    get("/until-close", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_string_equal(s.body, "all of it");
    get("/gzip", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.body_len, 5000);
    assert_int_equal(s.body[4999], 'z');
}

static void test_curl_client__sends_what_it_is_told(void **state)
{
    struct seen s;
    char url[200];
    const char *headers[] = {"Authorization: Bearer sk-secret", "X-Empty:", "content-type: application/json", NULL};
    struct curl_request r;

    url_of(url, "127.0.0.1", "/echo?a=b%20c");
    r = request_to(url, &s);
    r.method = "POST";
    r.headers = headers;
    r.body = STR("{\"x\":\"\0\"}");
    run(&r);
    assert_int_equal(s.status, 200);
    assert_non_null(strstr(s.body, "POST /echo?a=b%20c HTTP/1.1\r\n"));
    assert_non_null(strstr(s.body, "\r\nAuthorization: Bearer sk-secret\r\n"));
    assert_non_null(strstr(s.body, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(s.body, "\r\ncontent-type: application/json\r\n"));
    assert_non_null(strstr(s.body, "\r\nContent-Length: 9\r\n"));
    assert_non_null(strstr(s.body, "\r\nUser-Agent: gatehouse/"));
    assert_non_null(strstr(s.body, "Accept-Encoding: gzip, deflate\r\n"));
    assert_null(strstr(s.body, "Expect"));
    assert_memory_equal(s.body + s.body_len - 9, "{\"x\":\"\0\"}", 9);
    r = request_to(url, &s);
    r.method = "DELETE";
    run(&r);
    assert_memory_equal(s.body, "DELETE /echo", 12);
    r = request_to(url, &s);
    r.method = "POST";
    run(&r);
    assert_non_null(strstr(s.body, "Content-Length: 0\r\n"));
    r = request_to(url, &s);
    r.method = "PUT";
    r.body = STR("abc");
    run(&r);
    assert_memory_equal(s.body, "PUT /echo", 9);
    assert_null(strstr(s.body, "urlencoded"));
    assert_non_null(strstr(s.body, "\r\n\r\nabc"));
}

static void test_curl_client__does_not_follow_redirects(void **state)
{
    struct seen s;

    get("/redirect", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.status, 302);
    assert_string_equal(s.location, "/ok");
}

/* The server counts a connection a moment after its worker has begun to answer on it. */
static void wait_connections(unsigned n)
{
    while (__atomic_load_n(&w.server.connections, __ATOMIC_SEQ_CST) < n)
        sched_yield(); /* the program's time limit ends it */
    assert_int_equal(__atomic_load_n(&w.server.connections, __ATOMIC_SEQ_CST), n);
}

static void test_curl_client__reuses_or_not_as_asked(void **state)
{
    struct seen s;
    char url[200];
    struct curl_request r;

    get("/ok", &s);
    get("/ok", &s);
    assert_true(s.timing.is_reused);
    url_of(url, "127.0.0.1", "/ok");
    r = request_to(url, &s);
    r.flags |= CURL_CALL_FRESH | CURL_CALL_HTTP1;
    run(&r);
    assert_false(s.timing.is_reused);
    wait_connections(2);
}

static void test_curl_client__hands_out_pieces(void **state)
{
    struct seen s;
    char url[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", "/big");
    r = request_to(url, &s);
    r.on_data = on_data;
    r.max_body_bytes = 2 << 20;
    run(&r);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.piece_bytes, 1 << 20);
    assert_true(s.pieces > 1);
    assert_int_equal(s.body_len, 0);
    url_of(url, "127.0.0.1", "/429"); /* only 2xx bodies go to on_data */
    r = request_to(url, &s);
    r.on_data = on_data;
    run(&r);
    assert_int_equal(s.pieces, 0);
    assert_string_equal(s.body, "slow");
}

static void test_curl_client__runs_many_at_once(void **state)
{
    static struct seen seen[40];
    char url[200];
    unsigned done = 0;

    url_of(url, "127.0.0.1", "/ok");
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        struct curl_request r = request_to(url, &seen[i]);

        (void)curl_client_start(w.client, &r);
    }
    while (done < ARRAY_LEN(seen)) {
        turn();
        done = 0;
        for (size_t i = 0; i < ARRAY_LEN(seen); i++)
            done += seen[i].is_done;
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_int_equal(seen[i].status, 200);
}

/* ---- limits ---- */

static void test_curl_client__bounds_the_body(void **state)
{
    static const char *const paths[] = {"/big", "/bomb", "/endless"};
    struct seen s;
    char url[200];
    struct curl_request r;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        url_of(url, "127.0.0.1", paths[i]);
        r = request_to(url, &s);
        r.max_body_bytes = 1000;
        run(&r);
        assert_fault(&s, CURL_FAULT_TOO_LARGE, "larger than 1000 bytes");
        assert_int_equal(s.status, 200);
        r = request_to(url, &s);
        r.max_body_bytes = 1000;
        r.flags |= CURL_CALL_TRUNCATE;
        run(&r);
        assert_fault(&s, CURL_FAULT_NONE, "");
        assert_true(s.is_truncated);
        assert_int_equal(s.body_len, 1000);
    }
    url_of(url, "127.0.0.1", "/ok");
    r = request_to(url, &s);
    r.max_body_bytes = 7; /* just fits */
    run(&r);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_false(s.is_truncated);
}

static void test_curl_client__bounds_the_head(void **state)
{
    struct seen s;

    get("/long-header", &s);
    assert_fault(&s, CURL_FAULT_TOO_LARGE, "header line");
    get("/large-head", &s);
    assert_fault(&s, CURL_FAULT_TOO_LARGE, "head is larger");
    get("/many-headers", &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    get("/too-many-headers", &s);
    assert_fault(&s, CURL_FAULT_TOO_LARGE, "too many header lines");
}

static void test_curl_client__keeps_deadlines(void **state)
{
    struct seen s;
    char url[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", "/silent");
    r = request_to(url, &s);
    r.timeout_ms = 50;
    run(&r);
    assert_fault(&s, CURL_FAULT_TIMEOUT, "no answer within 50 ms");
    assert_int_equal(s.status, 0);
    url_of(url, "127.0.0.1", "/half");
    r = request_to(url, &s);
    r.timeout_ms = 1000;
    run(&r);
    assert_fault(&s, CURL_FAULT_TIMEOUT, "the answer was not complete within 1 s");
    assert_int_equal(s.status, 200);
}

/* ---- broken peers ---- */

static void test_curl_client__names_what_broke(void **state)
{
    static const struct {
        const char *path;
        enum curl_fault fault;
        const char *words;
    } rows[] = {
        {"/nothing", CURL_FAULT_CONNECT, "without an answer"},
        {"/reset-before", CURL_FAULT_CONNECT, "without an answer"},
        {"/short", CURL_FAULT_RESET, "before the answer was complete"},
        {"/cutchunk", CURL_FAULT_RESET, "before the answer was complete"},
        {"/badchunk", CURL_FAULT_PROTO, "framed badly"},
        {"/garbage", CURL_FAULT_PROTO, "not HTTP"},
        {"/http09", CURL_FAULT_PROTO, "not HTTP"},
        {"/badstatus", CURL_FAULT_PROTO, "not HTTP"},
        {"/badgzip", CURL_FAULT_PROTO, "encoding"},
        {"/te-cl", CURL_FAULT_PROTO, "length is given twice"},
        {"/cl-te", CURL_FAULT_PROTO, "length is given twice"},
        {"/two-equal-lengths", CURL_FAULT_PROTO, "length is given twice"},
        {"/lf", CURL_FAULT_PROTO, "CR LF"},
    };
    struct seen s;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        get(rows[i].path, &s);
        assert_fault(&s, rows[i].fault, rows[i].words);
    }
    get("/ok", &s); /* and the client still works */
    assert_fault(&s, CURL_FAULT_NONE, "");
}

static void test_curl_client__connection_refused(void **state)
{
    struct server gone;
    struct seen s;
    char url[200];
    struct curl_request r;

    server_start(&gone, NULL); /* a port that was free a moment ago */
    server_stop(&gone);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1?key=sk-secret", gone.port);
    r = request_to(url, &s);
    run(&r);
    assert_fault(&s, CURL_FAULT_CONNECT, "connection refused");
    assert_int_equal(s.status, 0);
    assert_null(strstr(s.error, "secret"));
}

static void test_curl_client__host_not_found(void **state)
{
    struct seen s;
    struct curl_request r = request_to("http://name.invalid:8080/?key=sk-secret", &s);

    run(&r);
    assert_fault(&s, CURL_FAULT_DNS, "host not found");
}

/* ---- what is refused before anything is sent ---- */

static void test_curl_client__refuses_header_injection(void **state)
{
    static const char *const bad[] = {"X: a\r\nY: b", "X: a\nY: b", "X: a\rY", "X\r\nY: b", "X Y: b", "no colon", ": empty", "X: \x01", "X;",
                                      "Content-Length: 5", "transfer-encoding: chunked"};
    struct seen s;
    char url[200];

    url_of(url, "127.0.0.1", "/echo");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *headers[] = {bad[i], NULL};
        struct curl_request r = request_to(url, &s);

        r.headers = headers;
        run(&r);
        assert_fault(&s, CURL_FAULT_URL, "request header 1");
    }
    assert_int_equal(__atomic_load_n(&w.server.connections, __ATOMIC_SEQ_CST), 0);
}

static void test_curl_client__refuses_unusable_requests(void **state)
{
    static const struct {
        const char *method, *url, *proxy;
    } rows[] = {
        {"GET", "file:///etc/passwd", NULL},          {"GET", "ftp://h/", NULL},
        {"GET", "http://u:p@127.0.0.1/", NULL},       {"GET", "http://127.0.0.1/\r\nX: y", NULL},
        {"GET", "", NULL},                            {"GET\r\nX:", "http://127.0.0.1/", NULL},
        {"GET /x", "http://127.0.0.1/", NULL},        {"", "http://127.0.0.1/", NULL},
        {"GET", "http://127.0.0.1/", "file:///x"},    {"GET", "http://127.0.0.1/", "socks4://127.0.0.1:1"},
        {"GET", "http://127.0.0.1/", "http://a\r\nb"}, {"GET", "http://1.2.3.4.5/", NULL},
    };
    struct seen s;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct curl_request r = request_to(rows[i].url, &s);

        r.method = rows[i].method;
        r.proxy = rows[i].proxy;
        run(&r);
        assert_fault(&s, CURL_FAULT_URL, "");
        assert_true(s.error[0] != '\0');
    }
}

static void test_curl_client__guard_refuses_addresses(void **state)
{
    static const char *const always[] = {"http://169.254.169.254/latest/meta-data/", "http://0.0.0.0:8080/", "http://0/", "http://[::]:80/",
                                         "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://[fe80::1]/", "http://127.0.0.1:22/"};
    static const char *const unless_ok[] = {"127.0.0.1", "0x7f.1", "2130706433", "localhost", "127.1"};
    struct seen s;
    char url[200];
    uint64_t before = metric_value(METRIC_EGRESS_REFUSED, 0);

    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        struct curl_request r = request_to(always[i], &s);

        run(&r);
        assert_fault(&s, CURL_FAULT_EGRESS, "refused");
    }
    for (size_t i = 0; i < ARRAY_LEN(unless_ok); i++) {
        struct curl_request r;

        url_of(url, unless_ok[i], "/ok");
        r = request_to(url, &s);
        r.flags = 0;
        run(&r);
        assert_fault(&s, CURL_FAULT_EGRESS, "loopback");
        r = request_to(url, &s);
        run(&r);
        assert_fault(&s, CURL_FAULT_NONE, "");
    }
    assert_int_equal(metric_value(METRIC_EGRESS_REFUSED, 0) - before, ARRAY_LEN(always) + ARRAY_LEN(unless_ok));
}

/* A name that is no literal, yet resolves to loopback without a name server. */
static void test_curl_client__guard_judges_the_connected_address(void **state)
{
    struct str deny = STR("127.0.0.0/8"), deny6 = STR("::1");
    struct str both[2] = {deny, deny6};
    struct seen s;
    char host[256], url[300];
    struct curl_request r;

    if (gethostname(host, sizeof(host)) != 0 || strchr(host, '_'))
        skip();
    curl_client_free(w.client);
    egress_free(w.egress);
    assert_int_equal(egress_new(NULL, 0, both, 2, &w.egress, NULL), 0);
    new_client(NULL);
    snprintf(url, sizeof(url), "http://%s:%u/ok", host, w.server.port);
    r = request_to(url, &s);
    r.flags = 0; /* the machine's own name: loopback or private, both refused */
    run(&r);
    if (s.fault == CURL_FAULT_DNS)
        skip();
    assert_fault(&s, CURL_FAULT_EGRESS, "refused");
}

/* The pool must not lend a call a connection that the guard would not let it open. */
static void test_curl_client__guard_judges_pooled_connections(void **state)
{
    struct seen s;
    char url[300], host[256];
    struct curl_request r;

    if (gethostname(host, sizeof(host)) != 0 || strchr(host, '_'))
        skip();
    snprintf(url, sizeof(url), "http://%s:%u/ok", host, w.server.port);
    r = request_to(url, &s);
    run(&r);
    if (s.fault != CURL_FAULT_NONE) /* the name does not lead to 127.0.0.1 here */
        skip();
    r = request_to(url, &s);
    r.flags = 0;
    run(&r);
    assert_fault(&s, CURL_FAULT_EGRESS, "refused");
}

static void test_curl_client__goes_through_a_proxy(void **state)
{
    struct seen s;
    char proxy[100];
    struct curl_request r = request_to("http://api.example.com/echo", &s);

    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", w.server.port);
    r.proxy = proxy;
    r.flags = 0; /* a configured proxy may lie on loopback */
    run(&r);
    assert_int_equal(s.status, 0); /* our server knows no such path */
    wait_connections(1);
    r = request_to("http://169.254.169.254/", &s);
    r.proxy = proxy;
    run(&r);
    assert_fault(&s, CURL_FAULT_EGRESS, "metadata");
}

static void test_curl_client__ignores_proxies_of_the_environment(void **state)
{
    struct seen s;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    get("/ok", &s);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_fault(&s, CURL_FAULT_NONE, "");
}

/* ---- cancelling and closing ---- */

static void test_curl_client__cancelled_calls_are_silent(void **state)
{
    struct seen s[4], ok;
    char url[200];
    struct curl_call *calls[4];

    url_of(url, "127.0.0.1", "/silent");
    for (size_t i = 0; i < 4; i++) {
        struct curl_request r = request_to(i == 3 ? "bad url" : url, &s[i]);

        calls[i] = curl_client_start(w.client, &r);
    }
    curl_call_cancel(calls[0]); /* not yet in libcurl */
    curl_call_cancel(calls[3]); /* failed already, not yet told */
    while (__atomic_load_n(&w.server.connections, __ATOMIC_SEQ_CST) < 2)
        uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
    curl_call_cancel(calls[1]);
    curl_call_cancel(calls[2]);
    get("/ok", &ok);
    assert_fault(&ok, CURL_FAULT_NONE, "");
    for (size_t i = 0; i < 4; i++)
        assert_false(s[i].is_done);
}

static void test_curl_client__on_data_cancels(void **state)
{
    struct seen s;
    char url[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", "/endless");
    r = request_to(url, &s);
    r.on_data = on_data;
    s.cancel_after = 2;
    r.max_body_bytes = 100u << 20;
    run(&r);
    assert_fault(&s, CURL_FAULT_CANCELLED, "cancelled");
    assert_int_equal(s.pieces, 2);
}

static void test_curl_client__cancel_and_start_inside_on_data(void **state)
{
    struct seen self, other, ok;
    char url[200], silent[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", "/endless");
    url_of(silent, "127.0.0.1", "/silent");
    r = request_to(url, &self);
    r.on_data = on_data;
    self.cancel_in_data = curl_client_start(w.client, &r); /* itself */
    while (self.pieces == 0)
        turn();
    r = request_to(silent, &other);
    struct curl_call *victim = curl_client_start(w.client, &r);
    r = request_to(url, &ok);
    r.on_data = on_data;
    r.max_body_bytes = 100000;
    ok.cancel_in_data = victim; /* another one */
    (void)curl_client_start(w.client, &r);
    while (!ok.is_done)
        turn();
    assert_fault(&ok, CURL_FAULT_TOO_LARGE, "");
    assert_false(self.is_done);
    assert_false(other.is_done);
    assert_int_equal(self.pieces, 1);
}

static void test_curl_client__free_in_on_done(void **state)
{
    struct seen s, other;
    char url[200], silent[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", "/ok");
    url_of(silent, "127.0.0.1", "/silent");
    r = request_to(silent, &other);
    (void)curl_client_start(w.client, &r);
    r = request_to(url, &s);
    s.free_in_done = &w.client;
    run(&r);
    for (int i = 0; i < 3; i++)
        uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
    assert_false(other.is_done);
    curl_client_free(NULL);
}

static void test_curl_client__free_while_resolving(void **state)
{
    struct seen s;
    struct curl_request r = request_to("http://name.invalid/", &s);

    (void)curl_client_start(w.client, &r);
    uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
    uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
    curl_client_free(w.client);
    w.client = NULL;
    uv_run(loop_uv(w.loop), UV_RUN_NOWAIT);
    assert_false(s.is_done);
}

/* ---- TLS ---- */

static char ca_path[64];

/* A self-signed certificate for `name`, valid from..to seconds from now. */
static SSL_CTX *make_tls(const char *name, long from, long to)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_EXTENSION *ext;
    char san[100];
    FILE *f;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), to);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    snprintf(san, sizeof(san), "%s", name);
    ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX_use_certificate(ctx, cert);
    SSL_CTX_use_PrivateKey(ctx, key);
    snprintf(ca_path, sizeof(ca_path), "/tmp/test-curl-ca-XXXXXX");
    f = fdopen(mkstemp(ca_path), "w");
    assert_non_null(f);
    PEM_write_X509(f, cert);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

static int setup_tls(void **state)
{
    return setup_with(make_tls("IP:127.0.0.1", -60, 3600));
}

static int setup_tls_expired(void **state)
{
    return setup_with(make_tls("IP:127.0.0.1", -3600, -60));
}

static int setup_tls_other_name(void **state)
{
    return setup_with(make_tls("DNS:other.example", -60, 3600));
}

static int teardown_tls(void **state)
{
    unlink(ca_path);
    return teardown(state);
}

static void get_tls(const char *path, unsigned flags, struct seen *s)
{
    char url[200];
    struct curl_request r;

    url_of(url, "127.0.0.1", path);
    r = request_to(url, s);
    r.flags |= flags;
    run(&r);
}

static void use_own_ca(void)
{
    curl_client_free(w.client);
    new_client(ca_path);
}

static void test_curl_client__tls_verified_only_when_asked(void **state)
{
    struct seen s;

    get_tls("/ok", 0, &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.status, 200);
    assert_true(s.timing.tls_us >= s.timing.connect_us);
    get_tls("/ok", CURL_CALL_VERIFY, &s); /* nor may it take the unverified connection from the pool */
    assert_fault(&s, CURL_FAULT_TLS, "certificate is self-signed");
    use_own_ca();
    get_tls("/ok", CURL_CALL_VERIFY, &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
    assert_int_equal(s.status, 200);
}

static void test_curl_client__tls_expired(void **state)
{
    struct seen s;

    use_own_ca();
    get_tls("/ok", CURL_CALL_VERIFY, &s);
    assert_fault(&s, CURL_FAULT_TLS, "certificate has expired");
}

static void test_curl_client__tls_other_name(void **state)
{
    struct seen s;

    use_own_ca();
    get_tls("/ok", CURL_CALL_VERIFY, &s);
    assert_fault(&s, CURL_FAULT_TLS, "another host name");
}

static void test_curl_client__tls_missing_ca_file(void **state)
{
    struct seen s;

    curl_client_free(w.client);
    new_client("/nonexistent/ca.pem");
    get_tls("/ok", CURL_CALL_VERIFY, &s);
    assert_fault(&s, CURL_FAULT_TLS, "");
    get_tls("/ok", 0, &s);
    assert_fault(&s, CURL_FAULT_NONE, "");
}

static void test_curl_client__tls_to_a_clear_text_port(void **state)
{
    struct seen s;
    char url[200];
    struct curl_request r;

    snprintf(url, sizeof(url), "https://127.0.0.1:%u/nothing", w.server.port);
    r = request_to(url, &s);
    r.timeout_ms = 300; /* our server waits for the end of a head */
    run(&r);
    assert_true(s.fault == CURL_FAULT_TLS || s.fault == CURL_FAULT_TIMEOUT);
    assert_true(s.error[0] != '\0');
}

static void test_curl_client__fault_names(void **state)
{
    assert_string_equal(curl_fault_name(CURL_FAULT_NONE), "none");
    assert_string_equal(curl_fault_name(CURL_FAULT_TOO_LARGE), "too_large");
    assert_string_equal(curl_fault_name(CURL_FAULT_CANCELLED), "cancelled");
}

#define TEST(f)     cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TLS(f, set) cmocka_unit_test_setup_teardown(f, set, teardown_tls)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_curl_client__gets_an_answer),
        TEST(test_curl_client__reads_other_framings),
        TEST(test_curl_client__sends_what_it_is_told),
        TEST(test_curl_client__does_not_follow_redirects),
        TEST(test_curl_client__reuses_or_not_as_asked),
        TEST(test_curl_client__hands_out_pieces),
        TEST(test_curl_client__runs_many_at_once),
        TEST(test_curl_client__bounds_the_body),
        TEST(test_curl_client__bounds_the_head),
        TEST(test_curl_client__keeps_deadlines),
        TEST(test_curl_client__names_what_broke),
        TEST(test_curl_client__connection_refused),
        TEST(test_curl_client__host_not_found),
        TEST(test_curl_client__refuses_header_injection),
        TEST(test_curl_client__refuses_unusable_requests),
        TEST(test_curl_client__guard_refuses_addresses),
        TEST(test_curl_client__guard_judges_the_connected_address),
        TEST(test_curl_client__guard_judges_pooled_connections),
        TEST(test_curl_client__goes_through_a_proxy),
        TEST(test_curl_client__ignores_proxies_of_the_environment),
        TEST(test_curl_client__cancelled_calls_are_silent),
        TEST(test_curl_client__on_data_cancels),
        TEST(test_curl_client__cancel_and_start_inside_on_data),
        TEST(test_curl_client__free_in_on_done),
        TEST(test_curl_client__free_while_resolving),
        TLS(test_curl_client__tls_verified_only_when_asked, setup_tls),
        TLS(test_curl_client__tls_expired, setup_tls_expired),
        TLS(test_curl_client__tls_other_name, setup_tls_other_name),
        TLS(test_curl_client__tls_missing_ca_file, setup_tls),
        TEST(test_curl_client__tls_to_a_clear_text_port),
        cmocka_unit_test(test_curl_client__fault_names),
    };

    signal(SIGPIPE, SIG_IGN); /* OpenSSL's writes in the server threads */
    if (curl_client_global_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
