#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "net/http_chunk.h"

/* Decodes `text` in pieces of `step`; *out gets the data, *ret_left what lies behind the end. */
static enum http_chunk_result decode(struct str text, size_t step, struct buf *out, size_t *ret_left)
{
    struct http_chunk c = {0};
    enum http_chunk_result r = HTTP_CHUNK_MORE;

    for (size_t at = 0; at < text.len && r == HTTP_CHUNK_MORE; at += step) {
        struct str in = str_cut(text, at, step);
        struct str data;

        while ((r = http_chunk_next(&c, &in, &data)) == HTTP_CHUNK_DATA)
            buf_put(out, data);
        *ret_left = text.len - at - MIN(step, text.len - at) + in.len;
    }
    return r;
}

static void check(const char *text, enum http_chunk_result want, const char *data, size_t left)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        struct buf out = BUF_INIT(1 << 20);
        size_t got_left = 0;
        enum http_chunk_result r = decode(str_of(text), step, &out, &got_left);

        if (r != want)
            fail_msg("%s (by %zu): %d, not %d", text, step, (int)r, (int)want);
        if (want != HTTP_CHUNK_BAD)
            assert_string_equal(buf_cstr(&out), data);
        if (want == HTTP_CHUNK_END)
            assert_int_equal(got_left, left);
        buf_release(&out);
    }
}

static void test_http_chunk__decodes_at_any_cut(void **state)
{
    check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", HTTP_CHUNK_END, "hello world", 0);
    check("0\r\n\r\nGET /", HTTP_CHUNK_END, "", 5);
    check("000A\r\n0123456789\r\n00\r\n\r\n", HTTP_CHUNK_END, "0123456789", 0);
    check("a;name=value;x=\"y\"\r\n0123456789\r\n0;last\r\n\r\n", HTTP_CHUNK_END, "0123456789", 0);
    check("3\r\nabc\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n", HTTP_CHUNK_END, "abc", 0);
    check("2\r\n\r\n\r\n0\r\n\r\n", HTTP_CHUNK_END, "\r\n", 0);
    check("3\r\nabc\r\n0\r\n", HTTP_CHUNK_MORE, "abc", 0);
    check("3\r\nab", HTTP_CHUNK_MORE, "ab", 0);
}

static void test_http_chunk__refuses_what_is_not_of_the_grammar(void **state)
{
    static const char *const bad[] = {
        "\r\n",
        "g\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\r\n",
        "5\rhello",
        "5;\nhello\r\n",
        "5;a\x01\r\nhello\r\n",
        ";a\r\n",
        "5\r\nhello\r\n\r\n",
        "0\r\n\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \x01\r\n\r\n",
        "0\r\n\rX",
        "fffffffffffffffff\r\n",
        "0000000000000000\r\n",
        "5\r\nhello\r\n5,5\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check(bad[i], HTTP_CHUNK_BAD, "", 0);
}

static enum http_chunk_result decode_once(struct buf *b)
{
    struct buf out = BUF_INIT(16u << 20);
    size_t left;
    enum http_chunk_result r = decode(buf_str(b), 4096, &out, &left);

    buf_release(&out);
    buf_release(b);
    return r;
}

static void test_http_chunk__bounds_extensions(void **state)
{
    struct buf b = BUF_INIT(1 << 20);

    buf_putf(&b, "1;%0*d\r\nx\r\n0\r\n\r\n", HTTP_CHUNK_LINE_MAX - 2, 0);
    assert_int_equal(decode_once(&b), HTTP_CHUNK_END);
    buf_putf(&b, "1;%0*d\r\nx\r\n0\r\n\r\n", HTTP_CHUNK_LINE_MAX - 1, 0);
    assert_int_equal(decode_once(&b), HTTP_CHUNK_BAD);
}

static void test_http_chunk__bounds_trailers(void **state)
{
    struct buf b = BUF_INIT(1 << 20);

    buf_put(&b, STR("0\r\n"));
    for (int i = 0; i < 40; i++)
        buf_putf(&b, "X: %094d\r\n", i); /* 99 bytes each */
    buf_put(&b, STR("\r\n"));
    assert_int_equal(decode_once(&b), HTTP_CHUNK_END);

    buf_put(&b, STR("0\r\n"));
    for (int i = 0; i < 42; i++)
        buf_putf(&b, "X: %094d\r\n", i);
    buf_put(&b, STR("\r\n"));
    assert_int_equal(decode_once(&b), HTTP_CHUNK_BAD);
}

static void test_http_chunk__bounds_framing_against_data(void **state)
{
    struct buf b = BUF_INIT(16u << 20);

    for (int i = 0; i < 20000; i++) /* 5 bytes of framing each */
        buf_put(&b, STR("1\r\nx\r\n"));
    buf_put(&b, STR("0\r\n\r\n"));
    assert_int_equal(decode_once(&b), HTTP_CHUNK_BAD);

    for (int i = 0; i < 20000; i++)
        buf_put(&b, STR("14\r\nxxxxxxxxxxxxxxxxxxxx\r\n"));
    buf_put(&b, STR("0\r\n\r\n"));
    assert_int_equal(decode_once(&b), HTTP_CHUNK_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_chunk__decodes_at_any_cut),
        cmocka_unit_test(test_http_chunk__refuses_what_is_not_of_the_grammar),
        cmocka_unit_test(test_http_chunk__bounds_extensions),
        cmocka_unit_test(test_http_chunk__bounds_trailers),
        cmocka_unit_test(test_http_chunk__bounds_framing_against_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
