#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/metric.h"
#include "http_rig.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: test\r\n"

static struct rig rig;
static struct buf head = BUF_INIT(65536);
static struct buf body = BUF_INIT(4u << 20);

static int start(void **state)
{
    rig_init(&rig);
    rig_start(&rig);
    return 0;
}

static int stop(void **state)
{
    rig_stop(&rig);
    buf_release(&head);
    buf_release(&body);
    return 0;
}

static void assert_body(const char *text)
{
    assert_string_equal(buf_cstr(&body), text);
}

static bool head_has(const char *text)
{
    return strstr(buf_cstr(&head), text) != NULL;
}

static int ask(const char *request)
{
    return rig_ask(&rig, request, &head, &body);
}

/* ---- answers ---- */

static void test_http_server__answers_a_get(void **state)
{
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("hello");
    assert_true(head_has("\r\nDate: "));
    assert_true(head_has(" GMT\r\n"));
    assert_true(head_has("\r\nContent-Type: text/plain\r\n"));
    assert_true(head_has("\r\nContent-Length: 5\r\n"));
    assert_false(head_has("Server:"));
    assert_false(head_has("Connection:"));
    assert_int_equal(ask("GET /static HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("static");
    assert_int_equal(ask("GET /nothing HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_int_equal(ask("BREW /hello HTTP/1.1\r\n" HOST "\r\n"), 405);
}

static void test_http_server__head_has_the_length_and_no_body(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "HEAD /hello HTTP/1.1\r\n" HOST "\r\nHEAD /chunks HTTP/1.1\r\n" HOST "\r\n"
                 "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, true), 200);
    assert_true(head_has("\r\nContent-Length: 5\r\n"));
    assert_int_equal(rig_read_reply(fd, &head, &body, true), 200);
    assert_true(head_has("\r\nTransfer-Encoding: chunked\r\n"));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("hello");
    close(fd);
}

static void test_http_server__some_statuses_have_no_body(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /empty HTTP/1.1\r\n" HOST "\r\nGET /same HTTP/1.1\r\n" HOST "\r\n"
                 "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 204);
    assert_false(head_has("Content-Length"));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 304);
    assert_false(head_has("Content-Length"));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("hello");
    close(fd);
}

static void test_http_server__streams_in_chunks(void **state)
{
    assert_int_equal(ask("GET /chunks HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("one,two,three");
    assert_true(head_has("\r\nTransfer-Encoding: chunked\r\n"));
    assert_int_equal(ask("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200);
    assert_body("one,two,three");
    assert_false(head_has("chunked"));
    assert_true(head_has("\r\nConnection: close\r\n"));
}

static void test_http_server__abort_is_seen_as_incomplete(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /abort HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_read_all(fd, &body));
    assert_null(strstr(buf_cstr(&body), "\r\n0\r\n"));
    close(fd);
}

static void test_http_server__sends_large_bodies_whole(void **state)
{
    assert_int_equal(ask("GET /big HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(buf_len(&body), 1024 * 1024);
}

/* ---- requests ---- */

static void test_http_server__tells_the_request(void **state)
{
    assert_int_equal(ask("GET /in%66o?a=%20b HTTP/1.1\r\nHost: Example.com:80\r\n"
                         "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"
                         "Cookie: a=b; sid=abc=d; c=e\r\n\r\n"),
                     200);
    /* 127.0.0.1 is not in trusted_proxies: forwarded headers mean nothing. */
    assert_body("method=GET path=/info raw=/in%66o query=a=%20b host=Example.com:80 "
                "client=127.0.0.1 peer=127.0.0.1 https=0 body=0 length=-1 headers=4 cookie=abc=d");
    assert_true(head_has("\r\nX-First: 1\r\nX-Second: 2\r\n"));
}

static void test_http_server__decodes_query_parameters(void **state)
{
    assert_int_equal(ask("GET /query?x=1&v=a%20b+c%26&v=2 HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("a b c&");
    assert_int_equal(ask("GET /query?%76=plain HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("plain");
    assert_int_equal(ask("GET /query?v=%zz HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("");
    assert_int_equal(ask("GET /query?vv=1 HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_int_equal(ask("GET /query HTTP/1.1\r\n" HOST "\r\n"), 404);
}

static void test_http_server__refuses_paths_that_decode_to_controls(void **state)
{
    assert_int_equal(ask("GET /a%00b HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(ask("GET /a%0ab HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(ask("GET /a%7 HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(ask("GET /a%ff HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(ask("GET /%2e%2e/hello HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_int_equal(ask("GET /hello/../hello HTTP/1.1\r\n" HOST "\r\n"), 404);
}

static void test_http_server__is_the_same_byte_by_byte(void **state)
{
    static const char request[] = "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                                  "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: r\r\n\r\n";
    int fd = rig_connect(&rig);

    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(request) - 1; i++)
            rig_send_bytes(fd, str_n(request + i, 1));
        assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
        assert_body("hello!");
    }
    close(fd);
}

static void test_http_server__takes_bodies_of_any_framing(void **state)
{
    struct buf request = BUF_INIT(1 << 20);

    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"), 200);
    assert_body("abc");
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"), 200);
    assert_body("");
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_body("");
    buf_putf(&request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n%065536d", 0);
    assert_int_equal(ask(buf_cstr(&request)), 200);
    assert_int_equal(buf_len(&body), 65536);
    buf_release(&request);
}

static void test_http_server__refuses_bodies_over_the_bound(void **state)
{
    struct buf request = BUF_INIT(1 << 20);

    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10000000000\r\n\r\nabc"),
                     413);
    assert_true(head_has("\r\nConnection: close\r\n"));
    buf_putf(&request,
             "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n20000\r\n%0131072d", 0);
    assert_int_equal(ask(buf_cstr(&request)), 413);
    buf_release(&request);
    assert_int_equal(
        ask("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX"), 400);
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void test_http_server__streams_bodies_of_any_size(void **state)
{
    static char piece[65536];
    int fd = rig_connect(&rig);

    rig_send(fd, "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 6553600\r\n\r\n");
    for (int i = 0; i < 100; i++)
        rig_send_bytes(fd, str_n(piece, sizeof(piece)));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("6553600");
    close(fd);
}

static void test_http_server__paused_body_waits(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "POST /pause HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n01234");
    assert_true(rig_wait(&rig.requests, 1));
    rig_send(fd, "56789");
    rig_release(&rig);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("10");
    close(fd);
}

static void test_http_server__continues_when_the_body_is_wanted(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "POST /body-late HTTP/1.1\r\n" HOST
                 "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    rig_release(&rig);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 100);
    rig_send(fd, "ok");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("ok");
    /* Not wanted: the final answer, and the framing is not guessed at. */
    rig_send(fd, "POST /hello HTTP/1.1\r\n" HOST
                 "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_true(head_has("\r\nConnection: close\r\n"));
    close(fd);
    assert_int_equal(ask("POST /echo HTTP/1.1\r\n" HOST "Expect: x\r\nContent-Length: 2\r\n\r\n"),
                     417);
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"), 200);
}

/* ---- connections ---- */

static void test_http_server__answers_pipelined_requests_in_order(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /late HTTP/1.1\r\n" HOST "\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n"
                 "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                 "GET /static HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    rig_release(&rig);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("late");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("hello");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("abc");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("static");
    close(fd);
}

static void test_http_server__reads_small_unread_bodies_away(void **state)
{
    int fd = rig_connect(&rig);

    /* The body holds a request: it must not run. */
    rig_send(fd, "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 36\r\n\r\n"
                 "GET /empty HTTP/1.1\r\nHost: test\r\n\r\n\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    rig_send(fd, "GET /static HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("static");
    assert_int_equal(atomic_load(&rig.requests), 2);
    close(fd);
}

static void test_http_server__closes_on_unread_bodies_without_known_end(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "POST /hello HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                 "24\r\nGET /empty HTTP/1.1\r\nHost: test\r\n\r\n\r\n0\r\n\r\n");
    assert_true(rig_read_all(fd, &body));
    assert_non_null(strstr(buf_cstr(&body), "\r\nConnection: close\r\n"));
    assert_null(strstr(buf_cstr(&body) + 9, "HTTP/1.1 "));
    assert_int_equal(atomic_load(&rig.requests), 1);
    close(fd);
}

static void test_http_server__honours_connection_headers(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_true(head_has("\r\nConnection: keep-alive\r\n"));
    rig_send(fd, "GET /hello HTTP/1.0\r\n\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    close(fd);

    fd = rig_connect(&rig);
    rig_send(fd, "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    close(fd);
}

static void test_http_server__closes_after_what_it_refuses(void **state)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: a\n\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"},
        {505, "GET / HTTP/3.0\r\n" HOST "\r\n"},
        {417, "GET / HTTP/1.1\r\n" HOST "Expect: what\r\n\r\n"},
        {400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
    };
    uint64_t bad = metric_value(METRIC_HTTP_BAD, 0);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char want[32];
        int fd = rig_connect(&rig);

        rig_send(fd, rows[i].text);
        rig_send(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"); /* must never be answered */
        buf_clear(&body);
        assert_true(rig_read_all(fd, &body));
        snprintf(want, sizeof(want), "HTTP/1.1 %d ", rows[i].status);
        if (strncmp(buf_cstr(&body), want, strlen(want)) != 0)
            fail_msg("row %zu: %s", i, buf_cstr(&body));
        assert_non_null(strstr(buf_cstr(&body), "\r\nConnection: close\r\n"));
        assert_null(strstr(buf_cstr(&body), "hello"));
        close(fd);
    }
    assert_int_equal(metric_value(METRIC_HTTP_BAD, 0) - bad, ARRAY_LEN(rows));
    assert_int_equal(atomic_load(&rig.requests), 0);
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void test_http_server__sees_the_client_leave(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    close(fd);
    assert_true(rig_wait(&rig.gone, 1));

    fd = rig_connect(&rig);
    rig_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nabc");
    assert_true(rig_wait(&rig.requests, 2));
    close(fd);
    assert_true(rig_wait(&rig.gone, 2));
}

static void test_http_server__sees_a_reset(void **state)
{
    struct linger at_once = {.l_onoff = 1};
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    assert_true(rig_wait(&rig.gone, 1));
}

static void test_http_server__survives_writing_to_who_left(void **state)
{
    struct buf many = BUF_INIT(1 << 20);
    int fd = rig_connect(&rig);

    /* The first answer meets a closed socket, the second one a broken connection. */
    for (int i = 0; i < 500; i++)
        buf_put(&many, STR("GET /hello HTTP/1.1\r\n" HOST "\r\n"));
    rig_send_bytes(fd, buf_str(&many));
    close(fd);
    buf_release(&many);
    assert_int_equal(ask("GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void test_http_server__answers_a_client_that_only_listens(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\nGET /late HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_body("after the client's end");
    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    close(fd);
}

static void test_http_server__stalled_reader_costs_bounded_memory(void **state)
{
    int small = 4096;
    int fd = rig_connect(&rig);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    rig_send(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_PEEK), 1);
    assert_true(atomic_load(&rig.peak_waiting) <= HTTP_HIGH_WATER + 2 * 16384);
    close(fd);
    assert_true(rig_wait(&rig.gone, 1));
}

static void test_http_server__back_pressure_loses_nothing(void **state)
{
    char piece[65536];
    size_t total = 0;
    ssize_t n;
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /flood HTTP/1.0\r\n\r\n");
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_true(total > 64u * 1024 * 1024 && total < 64u * 1024 * 1024 + 1024);
    close(fd);
}

static void test_http_server__pipelined_answers_wait_for_the_reader(void **state)
{
    struct buf many = BUF_INIT(1 << 20);
    int fd = rig_connect(&rig);

    for (int i = 0; i < 1000; i++)
        buf_put(&many, STR("GET /big HTTP/1.1\r\n" HOST "\r\n"));
    rig_send_bytes(fd, buf_str(&many));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    /* What the sockets hold is in flight, the rest was not begun. */
    assert_true(atomic_load(&rig.requests) < 100);
    close(fd);
    buf_release(&many);
}

/* ---- end ---- */

static void drain(struct rig *r)
{
    http_server_drain(r->server);
}

static void test_http_server__drains(void **state)
{
    int idle = rig_connect(&rig);
    int busy = rig_connect(&rig);

    rig_send(idle, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(rig_read_reply(idle, &head, &body, false), 200);
    rig_send(busy, "GET /late HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.requests, 2));
    rig_call(&rig, drain);
    assert_int_equal(recv(idle, (char[1]){0}, 1, 0), 0);
    rig_release(&rig);
    assert_int_equal(rig_read_reply(busy, &head, &body, false), 200);
    assert_body("late");
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_int_equal(recv(busy, (char[1]){0}, 1, 0), 0);
    close(idle);
    close(busy);
}

static void test_http_server__close_tells_open_exchanges(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    rig_stop(&rig);
    assert_int_equal(atomic_load(&rig.gone), 1);
    close(fd);
    start(NULL);
}

static void test_http_server__serves_unix_sockets(void **state)
{
    char dir[] = "/tmp/test_http_XXXXXX";

    rig_stop(&rig);
    assert_non_null(mkdtemp(dir));
    rig_init(&rig);
    snprintf(rig.unix_path, sizeof(rig.unix_path), "%s/s", dir);
    rig_start(&rig);
    /* Whoever reaches the socket is a proxy of this host. */
    assert_int_equal(ask("GET /info HTTP/1.1\r\n" HOST "X-Forwarded-For: 9.9.9.9\r\n\r\n"), 200);
    assert_non_null(strstr(buf_cstr(&body), "client=9.9.9.9 peer=- "));
    unlink(rig.unix_path);
    rmdir(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_http_server__##name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_a_get),
        TEST(head_has_the_length_and_no_body),
        TEST(some_statuses_have_no_body),
        TEST(streams_in_chunks),
        TEST(abort_is_seen_as_incomplete),
        TEST(sends_large_bodies_whole),
        TEST(tells_the_request),
        TEST(decodes_query_parameters),
        TEST(refuses_paths_that_decode_to_controls),
        TEST(is_the_same_byte_by_byte),
        TEST(takes_bodies_of_any_framing),
        TEST(refuses_bodies_over_the_bound),
        TEST(streams_bodies_of_any_size),
        TEST(paused_body_waits),
        TEST(continues_when_the_body_is_wanted),
        TEST(answers_pipelined_requests_in_order),
        TEST(reads_small_unread_bodies_away),
        TEST(closes_on_unread_bodies_without_known_end),
        TEST(honours_connection_headers),
        TEST(closes_after_what_it_refuses),
        TEST(sees_the_client_leave),
        TEST(sees_a_reset),
        TEST(survives_writing_to_who_left),
        TEST(answers_a_client_that_only_listens),
        TEST(stalled_reader_costs_bounded_memory),
        TEST(back_pressure_loses_nothing),
        TEST(pipelined_answers_wait_for_the_reader),
        TEST(drains),
        TEST(close_tells_open_exchanges),
        TEST(serves_unix_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
