#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/sse.h"

/* Events as one line each, "[name|id|data|cut]", control characters shown. */
struct seen {
    struct buf text;
    unsigned stop_after;
    unsigned count;
};

static bool on_event(void *ctx, const struct sse_event *e)
{
    struct seen *s = ctx;

    buf_putf(&s->text, "[%.*s|%.*s|", STR_ARG(e->name), STR_ARG(e->id));
    for (size_t i = 0; i < e->data.len; i++)
        buf_putf(&s->text, e->data.ptr[i] == '\n' ? "\\n" : "%c", e->data.ptr[i]);
    buf_putf(&s->text, "%s]", e->is_cut ? "|cut" : "");
    return ++s->count != s->stop_after;
}

static void feed(struct sse_parser *p, struct str s)
{
    char *bytes = xmalloc(s.len); /* of the exact size, so that a read past the end shows */

    memcpy(bytes, s.ptr, s.len);
    assert_int_equal(sse_parser_feed(p, str_n(bytes, s.len)), 0);
    xfree(bytes);
}

/* Cut at each place, into three at some, and byte by byte: always the same. */
static void assert_events(struct str input, size_t max, const char *expected, bool pending)
{
    for (size_t cut = 0; cut <= input.len + 1; cut++) {
        struct seen s = {.text = BUF_INIT(1 << 20)};
        struct sse_parser p;

        sse_parser_init(&p, max, on_event, &s);
        if (cut <= input.len) {
            feed(&p, str_cut(input, 0, cut));
            feed(&p, str_cut(input, cut, (input.len - cut) / 2));
            feed(&p, str_cut(input, cut + (input.len - cut) / 2, input.len));
        } else {
            for (size_t i = 0; i < input.len; i++)
                feed(&p, str_cut(input, i, 1));
        }
        if (!str_eq_c(buf_str(&s.text), expected))
            fail_msg("cut at %zu: %s instead of %s", cut, buf_cstr(&s.text), expected);
        assert_int_equal(sse_parser_end(&p), pending);
        sse_parser_release(&p);
        buf_release(&s.text);
    }
}

static void test_sse__any_chunking_gives_the_same_events(void **state)
{
    assert_events(STR("data: a\n\ndata:b\r\n\r\ndata: c\r\rdata:  d\n\n"), 100, "[||a][||b][||c][|| d]", false);
    assert_events(STR("event: ping\ndata: {\"x\":1}\nid: 7\n\ndata: z\n\n"), 100, "[ping|7|{\"x\":1}][|7|z]", false);
    assert_events(STR("data: 1\ndata: 2\r\ndata\rdata: 4\n\n"), 100, "[||1\\n2\\n\\n4]", false);
    assert_events(STR(": comment\n\n:\n\nretry: 10\nfoo: bar\nfoo\n\ndata: x\n\n"), 100, "[||x]", false);
    assert_events(STR("event: only\n\ndata: x\n\n"), 100, "[||x]", false);
    assert_events(STR("\n\n\r\r\r\n\r\ndata: x\r\n\r\n\n"), 100, "[||x]", false);
    assert_events(STR("data\n\ndata:\n\n"), 100, "[||][||]", false);
    assert_events(STR("data: a:b: c\n\n"), 100, "[||a:b: c]", false);
    assert_events(STR("data:\xe4\xbd\xa0\n\n"), 100, "[||\xe4\xbd\xa0]", false);
}

static void test_sse__takes_one_byte_order_mark(void **state)
{
    assert_events(STR("\xEF\xBB\xBF" "data: a\n\n"), 100, "[||a]", false);
    assert_events(STR("\xEF\xBB\xBF\xEF\xBB\xBF" "data: a\n\ndata: b\n\n"), 100, "[||b]", false);
    assert_events(STR("\xEF\xBB" "data: a\n\ndata: b\n\n"), 100, "[||b]", false);
    assert_events(STR("data: a\n\n\xEF\xBB\xBF" "data: b\n\n"), 100, "[||a]", false);
}

static void test_sse__cuts_large_events_alike_in_any_chunking(void **state)
{
    assert_events(STR("data: 12345678\n\ndata: ok\n\n"), 8, "[||12345678][||ok]", false);
    assert_events(STR("data: 123456789\n\ndata: ok\n\n"), 8, "[||12345678|cut][||ok]", false);
    assert_events(STR("data: 1234\ndata: 5678\n\ndata: ok\n\n"), 8, "[||1234\\n567|cut][||ok]", false);
    assert_events(STR("data: 12345678\ndata:\n\n"), 8, "[||12345678|cut]", false);
    assert_events(STR(": a comment longer than the ceiling\ndata: 12345678\n\n"), 8, "[||12345678]", false);
}

static void test_sse__long_lines_are_bounded(void **state)
{
    struct seen s = {.text = BUF_INIT(1 << 20)};
    struct sse_parser p;
    char piece[4096];

    sse_parser_init(&p, 1000, on_event, &s);
    memset(piece, 'x', sizeof(piece));
    feed(&p, STR("data: "));
    for (int i = 0; i < 1000; i++)
        feed(&p, str_n(piece, sizeof(piece)));
    assert_true(p.line.cap + p.data.cap < 8192);
    feed(&p, STR("\nid: "));
    feed(&p, str_n(piece, 2000)); /* too long an id is ignored */
    feed(&p, STR("\n\n"));
    assert_int_equal(s.count, 1);
    assert_true(str_ends(buf_str(&s.text), STR("xxx|cut]")));
    assert_int_equal(buf_len(&s.text), 1000 + strlen("[|||cut]"));
    sse_parser_release(&p);
    buf_release(&s.text);
}

static void test_sse__id_with_nul_is_ignored(void **state)
{
    assert_events(STR("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\n"), 100, "[|1|a][|1|b][||c]", false);
}

static void test_sse__end_drops_and_tells_the_pending_event(void **state)
{
    assert_events(STR("data: a\n\ndata: half"), 100, "[||a]", true);
    assert_events(STR("data: a\n\ndata: whole line\n"), 100, "[||a]", true);
    assert_events(STR("data: a\n\nevent: x\n"), 100, "[||a]", true);
    assert_events(STR("data: a\n\n: ping"), 100, "[||a]", false);
    assert_events(STR(""), 100, "", false);
}

static void test_sse__callback_can_stop(void **state)
{
    struct seen s = {.text = BUF_INIT(1000), .stop_after = 2};
    struct sse_parser p;

    sse_parser_init(&p, 100, on_event, &s);
    assert_int_equal(sse_parser_feed(&p, STR("data: a\n\ndata: b\n\ndata: c\n\n")), ERR_CANCELLED);
    assert_string_equal(buf_cstr(&s.text), "[||a][||b]");
    sse_parser_release(&p);
    buf_release(&s.text);
}

static void test_sse__formats(void **state)
{
    struct buf b = BUF_INIT(1000);

    assert_int_equal(sse_format(&b, STR(""), 0, STR("x")), 0);
    assert_string_equal(buf_cstr(&b), "data: x\n\n");
    buf_clear(&b);
    assert_int_equal(sse_format(&b, STR("run_completed"), 18446744073709551615u, STR("a\nb\r\nc\rd\n")), 0);
    assert_string_equal(buf_cstr(&b), "id: 18446744073709551615\nevent: run_completed\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
    buf_clear(&b);
    assert_int_equal(sse_format(&b, STR("a\nid: 9\r\ndata: evil"), 0, STR("")), 0);
    assert_string_equal(buf_cstr(&b), "event: aid: 9data: evil\ndata: \n\n");
    buf_release(&b);
}

static void test_sse__format_reads_back(void **state)
{
    static const char *const texts[] = {"", "x", "\n", "a\n\nb", "data: y", ": c", " lead", "\nid: 3\n"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct seen s = {.text = BUF_INIT(1000)};
        struct buf b = BUF_INIT(1000), expected = BUF_INIT(1000);
        struct sse_parser p;

        assert_int_equal(sse_format(&b, STR("n"), 5, str_of(texts[i])), 0);
        sse_parser_init(&p, 100, on_event, &s);
        feed(&p, buf_str(&b));
        buf_putf(&expected, "[n|5|");
        for (const char *c = texts[i]; *c; c++)
            buf_putf(&expected, *c == '\n' ? "\\n" : "%c", *c);
        buf_putf(&expected, "]");
        assert_string_equal(buf_cstr(&s.text), buf_cstr(&expected));
        sse_parser_release(&p);
        buf_release(&b);
        buf_release(&expected);
        buf_release(&s.text);
    }
}

static void test_sse__format_at_the_ceiling_leaves_output(void **state)
{
    struct buf b = BUF_INIT(40);

    assert_int_equal(buf_add_str(&b, STR("kept")), 0);
    assert_int_equal(sse_format(&b, STR("n"), 1, STR("0123456789012345678901234567890123456789")), ERR_LIMIT);
    assert_string_equal(buf_cstr(&b), "kept");
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse__any_chunking_gives_the_same_events),
        cmocka_unit_test(test_sse__takes_one_byte_order_mark),
        cmocka_unit_test(test_sse__cuts_large_events_alike_in_any_chunking),
        cmocka_unit_test(test_sse__long_lines_are_bounded),
        cmocka_unit_test(test_sse__id_with_nul_is_ignored),
        cmocka_unit_test(test_sse__end_drops_and_tells_the_pending_event),
        cmocka_unit_test(test_sse__callback_can_stop),
        cmocka_unit_test(test_sse__formats),
        cmocka_unit_test(test_sse__format_reads_back),
        cmocka_unit_test(test_sse__format_at_the_ceiling_leaves_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
