#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/http_parse.h"

static const struct http_limits limits = {
    .request_line_bytes = 8190,
    .header_line_bytes = 8192,
    .head_bytes = 32768,
    .header_count = 100,
};

/* What became of a head: 0 and *ret, or the status. `step` bytes arrive at a time. */
static int parse(struct str text, size_t step, struct arena *a, struct http_parse_head *ret)
{
    struct http_parse_scan scan = {0};
    int status = 0;

    for (size_t len = MIN(step, text.len); status == 0; len = MIN(len + step, text.len)) {
        char *moved = xmalloc(len + 1); /* where it lies changes, and nothing is behind it */

        memcpy(moved, text.ptr, len);
        status = http_parse_scan(&scan, &limits, str_n(moved, len));
        xfree(moved);
        if (len == text.len)
            break;
    }
    if (status != 1)
        return status == 0 ? -1 : status; /* -1: not complete */

    size_t len = scan.pos - scan.start;
    char *head = arena_alloc(a, len);

    memcpy(head, text.ptr + scan.start, len);
    return http_parse_head(head, len, scan.lines, a, ret);
}

static int status_of(struct str text)
{
    struct http_parse_head h;
    struct arena a;
    int whole, bytewise;

    arena_init(&a);
    whole = parse(text, text.len, &a, &h);
    bytewise = parse(text, 1, &a, &h);
    arena_release(&a);
    if (whole != bytewise)
        fail_msg("'%.*s': %d whole, %d byte by byte", STR_ARG(text), whole, bytewise);
    return whole;
}

struct row {
    int status; /* 0: taken */
    const char *text;
};

#define H "Host: a\r\n"

static const struct row rows[] = {
    {0, "GET / HTTP/1.1\r\n" H "\r\n"},
    {0, "\r\nGET / HTTP/1.1\r\n" H "\r\n"}, /* one empty line before */
    {0, "GET /?a=b&c HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /?a=b&c#no HTTP/1.1\r\n" H "\r\n"},
    {-1, "GET / HTTP/1.1\r\n" H},
    {-1, "GET / HT"},
    {-1, "\r"},
    {400, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"},
    /* request line */
    {400, "GET /\r\n\r\n"}, /* HTTP/0.9 */
    {400, "GET / \r\n\r\n"},
    {400, "GET  / HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /  HTTP/1.1\r\n" H "\r\n"},
    {400, "GET / HTTP/1.1 \r\n" H "\r\n"},
    {400, " GET / HTTP/1.1\r\n" H "\r\n"},
    {400, "GET\t/ HTTP/1.1\r\n" H "\r\n"},
    {400, "GET / http/1.1\r\n" H "\r\n"},
    {400, "GET / HTTP/1\r\n" H "\r\n"},
    {400, "GET / HTTP/11.1\r\n" H "\r\n"},
    {400, "GET / HTTP/1.1x\r\n" H "\r\n"},
    {400, "GET / HTPP/1.1\r\n" H "\r\n"},
    {505, "GET / HTTP/2.0\r\n" H "\r\n"},
    {505, "GET / HTTP/1.2\r\n" H "\r\n"},
    {505, "GET / HTTP/0.9\r\n" H "\r\n"},
    {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    {400, "G@T / HTTP/1.1\r\n" H "\r\n"},
    {400, "GET path HTTP/1.1\r\n" H "\r\n"},
    {400, "GET * HTTP/1.1\r\n" H "\r\n"},
    {0, "OPTIONS * HTTP/1.1\r\n" H "\r\n"},
    {400, "CONNECT a:80 HTTP/1.1\r\n" H "\r\n"},
    {0, "BREW /pot HTTP/1.1\r\n" H "\r\n"},
    {0, "M-SEARCH / HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /a#b HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /\x01 HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /\x7f HTTP/1.1\r\n" H "\r\n"},
    {400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"},
    {400, "GET http://user@a/ HTTP/1.1\r\n" H "\r\n"},
    {400, "GET http:///x HTTP/1.1\r\n" H "\r\n"},
    {400, "GET ftp://a/x HTTP/1.1\r\n" H "\r\n"},
    {400, "GET http://b/x HTTP/1.1\r\n" H "\r\n"}, /* not the Host */
    {0, "GET http://A:80/x HTTP/1.1\r\n" H "\r\n"},
    {0, "GET http://a HTTP/1.1\r\n" H "\r\n"},
    {0, "GET http://a?x HTTP/1.1\r\n" H "\r\n"},
    {400, "\x16\x03\x01\x02"}, /* TLS to the clear port */
    {400, "{\"json\":1}"},
    /* line ends */
    {400, "GET / HTTP/1.1\n" H "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"},
    {400, "GET /\rx HTTP/1.1\r\n" H "\r\n"},
    {400, "\nGET / HTTP/1.1\r\n" H "\r\n"},
    {400, "\rGET / HTTP/1.1\r\n" H "\r\n"},
    /* headers */
    {400, "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"}, /* folded */
    {400, "GET / HTTP/1.1\r\n " H "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H ": empty\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "nocolon\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "X y: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "X\x80: b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "X: \x01\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"},
    {0, "GET / HTTP/1.1\r\n" H "X:\r\nY: \t \r\nZ: a\tb\r\n\r\n"},
    {0, "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\xff\r\n\r\n"},
    /* Host */
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {0, "GET / HTTP/1.0\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" H H "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a?x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a#x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a:\x31x\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: [xyz]\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: []:80\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"},
    {0, "GET / HTTP/1.1\r\nHost: [::1]:8081\r\n\r\n"},
    {0, "GET / HTTP/1.1\r\nHost: example.com:8081\r\n\r\n"},
    {0, "GET / HTTP/1.1\r\nHost: xn--bcher-kva_1.test\r\n\r\n"},
    /* framing */
    {0, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
    {0, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"},
    {0, "POST / HTTP/1.1\r\n" H "transfer-encoding: Chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"},
    {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"},
};

static void test_http_parse__takes_or_refuses(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int status = status_of(str_of(rows[i].text));

        if (status != rows[i].status)
            fail_msg("row %zu: %d, not %d: %s", i, status, rows[i].status, rows[i].text);
    }
}

static void test_http_parse__refuses_nul_everywhere(void **state)
{
    const char good[] = "GET /a HTTP/1.1\r\nHost: a\r\nX-Name: value\r\n\r\n";

    for (size_t at = 0; at < sizeof(good) - 1; at++) {
        char bad[sizeof(good)];

        memcpy(bad, good, sizeof(good));
        bad[at] = '\0';

        int status = status_of(str_n(bad, sizeof(good) - 1));

        if (status != 400 && status != -1)
            fail_msg("NUL at %zu: %d", at, status);
    }
}

static void test_http_parse__takes_a_head_apart(void **state)
{
    struct http_parse_head h;
    struct arena a;

    arena_init(&a);
    assert_int_equal(parse(STR("PATCH /a%20b/c?x=1&y=%2f HTTP/1.1\r\nHOST:\texample.com:80 \r\n"
                               "Content-Length: 0012\r\nX-Empty:\r\nConnection: foo, Close\r\n"
                               "Expect: 100-Continue\r\n\r\nbody"),
                           7, &a, &h),
                     0);
    assert_int_equal(h.method, HTTP_PATCH_);
    assert_true(str_eq(h.target, STR("/a%20b/c?x=1&y=%2f")));
    assert_true(str_eq(h.raw_path, STR("/a%20b/c")));
    assert_true(str_eq(h.query, STR("x=1&y=%2f")));
    assert_true(str_eq(h.host, STR("example.com:80")));
    assert_int_equal(h.content_length, 12);
    assert_false(h.is_chunked);
    assert_true(h.wants_close);
    assert_true(h.wants_continue);
    assert_false(h.has_other_expect);
    assert_int_equal(h.header_count, 5);
    assert_true(str_eq(h.headers[0].name, STR("host")));
    assert_true(str_eq(h.headers[2].name, STR("x-empty")));
    assert_int_equal(h.headers[2].value.len, 0);
    arena_release(&a);
}

static void test_http_parse__absolute_target_names_the_host(void **state)
{
    struct http_parse_head h;
    struct arena a;

    arena_init(&a);
    assert_int_equal(parse(STR("GET HTTP://A:8081?q HTTP/1.1\r\nHost: a\r\n\r\n"), 100, &a, &h), 0);
    assert_true(str_eq(h.host, STR("A:8081")));
    assert_true(str_eq(h.raw_path, STR("/")));
    assert_true(str_eq(h.query, STR("q")));
    assert_int_equal(parse(STR("GET http://a/x HTTP/1.0\r\n\r\n"), 100, &a, &h), 0);
    assert_true(str_eq(h.host, STR("a")));
    assert_true(h.is_http10 && h.wants_close);
    assert_int_equal(
        parse(STR("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 100, &a, &h), 0);
    assert_false(h.wants_close);
    arena_release(&a);
}

/* ---- lengths ---- */

static int status_of_lines(size_t path, size_t value, size_t headers)
{
    struct buf b = BUF_INIT(1 << 20);
    int status;

    buf_putf(&b, "GET /%*s HTTP/1.1\r\nHost: a\r\n", (int)path, "");
    for (char *p = b.ptr + 5; p < b.ptr + 5 + path; p++)
        *p = 'p';
    for (size_t i = 0; i < headers; i++)
        buf_putf(&b, "X:%0*d\r\n", (int)value, 0);
    buf_put(&b, STR("\r\n"));
    status = status_of(buf_str(&b));
    buf_release(&b);
    return status;
}

static void test_http_parse__bounds_lines_and_sums(void **state)
{
    size_t fixed = sizeof("GET / HTTP/1.1") - 1;

    assert_int_equal(status_of_lines(8190 - fixed, 1, 1), 0);
    assert_int_equal(status_of_lines(8190 - fixed + 1, 1, 1), 414);
    assert_int_equal(status_of_lines(1, 8192 - 2, 1), 0);
    assert_int_equal(status_of_lines(1, 8192 - 1, 1), 431);
    assert_int_equal(status_of_lines(1, 1, 99), 0);
    assert_int_equal(status_of_lines(1, 1, 100), 431);
    assert_int_equal(status_of_lines(1, 8000, 4), 0);
    assert_int_equal(status_of_lines(1, 8000, 5), 431);
}

static void test_http_parse__refuses_long_lines_before_their_end(void **state)
{
    struct http_parse_scan scan = {0};
    char line[9000];

    memset(line, 'G', sizeof(line));
    assert_int_equal(http_parse_scan(&scan, &limits, str_n(line, sizeof(line))), 414);
}

static void test_http_parse__splits_lists(void **state)
{
    struct str list = STR(" a ,, b,\t,c"), item;

    assert_true(http_parse_next_item(&list, &item) && str_eq(item, STR("a")));
    assert_true(http_parse_next_item(&list, &item) && str_eq(item, STR("b")));
    assert_true(http_parse_next_item(&list, &item) && str_eq(item, STR("c")));
    assert_false(http_parse_next_item(&list, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_parse__takes_or_refuses),
        cmocka_unit_test(test_http_parse__refuses_nul_everywhere),
        cmocka_unit_test(test_http_parse__takes_a_head_apart),
        cmocka_unit_test(test_http_parse__absolute_target_names_the_host),
        cmocka_unit_test(test_http_parse__bounds_lines_and_sums),
        cmocka_unit_test(test_http_parse__refuses_long_lines_before_their_end),
        cmocka_unit_test(test_http_parse__splits_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
