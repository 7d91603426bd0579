/* test_json_doc.c -- what is refused, and where the message points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/json_doc.h"

static void assert_refused(struct str text, unsigned flags, const char *want)
{
    json_t *doc = NULL;
    struct err e = {0};

    assert_int_equal(json_doc_parse(text, flags, &doc, &e), ERR_SYNTAX);
    assert_null(doc);
    assert_int_equal(e.code, ERR_SYNTAX);
    assert_string_equal(e.text, want);
    assert_int_equal(json_doc_parse(text, flags, &doc, NULL), ERR_SYNTAX); /* text not wanted */
}

static json_t *parse(struct str text, unsigned flags)
{
    json_t *doc = NULL;
    struct err e = {0};
    int rc = json_doc_parse(text, flags, &doc, &e);

    if (rc != 0)
        fail_msg("refused: %s", e.text);
    return doc;
}

static void test_json_doc__views(void **state)
{
    json_t *doc = parse(STR(" {\"s\":\"t\xc3\xa9xt\",\"n\":null,\"i\":9223372036854775807}\n"), 0);

    assert_true(str_eq(json_doc_str(json_doc_get(doc, "s")), STR("t\xc3\xa9xt")));
    assert_null(json_doc_str(json_doc_get(doc, "n")).ptr);
    assert_null(json_doc_get(doc, "absent"));
    assert_null(json_doc_str(NULL).ptr);
    assert_null(json_doc_get(NULL, "a"));
    assert_null(json_doc_get(json_doc_get(doc, "s"), "a"));
    assert_int_equal(json_integer_value(json_doc_get(doc, "i")), INT64_MAX);
    json_decref(doc);
}

static void test_json_doc__scalars_are_documents(void **state)
{
    json_decref(parse(STR("1"), 0));
    json_decref(parse(STR("\"[[\""), 0));
    json_decref(parse(STR("null"), 0));
}

static void test_json_doc__empty_body(void **state)
{
    assert_refused(STR(""), 0, "request body is empty");
    assert_refused(STR_NONE, 0, "request body is empty");
    assert_refused(STR(" \r\n\t"), JSON_DOC_TRAILING, "request body is empty");
}

static void test_json_doc__says_where(void **state)
{
    assert_refused(STR("{\"a\":1,\n \"b\" 2}"), 0, "line 2, column 6: ':' expected");
    assert_refused(STR("[1,2"), 0, "line 1, column 4: ']' expected");
    assert_refused(STR("\xef\xbb\xbf{}"), 0, "line 1, column 1: begins with a byte order mark");
    assert_refused(STR("{} x"), 0, "line 1, column 4: end of file expected");
    assert_refused(STR("[1e99999]"), 0, "line 1, column 8: real number overflow");
    assert_refused(STR("[99999999999999999999]"), 0, "line 1, column 21: too big integer");
}

static void test_json_doc__trailing_bytes_are_ignored_when_asked(void **state)
{
    json_t *doc = parse(STR("{\"a\":[1]} }}} [[["), JSON_DOC_TRAILING);

    assert_non_null(json_doc_get(doc, "a"));
    json_decref(doc);
    assert_refused(STR("[1] 2"), 0, "line 1, column 5: end of file expected");
}

static void test_json_doc__never_repeats_the_input(void **state)
{
    struct err e = {0};
    json_t *doc = NULL;

    assert_int_equal(json_doc_parse(STR("{\"password\" \"hunter2\"}"), 0, &doc, &e), ERR_SYNTAX);
    assert_null(strstr(e.text, "hunter2"));
    assert_int_equal(json_doc_parse(STR("{\"password\": hunter2}"), 0, &doc, &e), ERR_SYNTAX);
    assert_null(strstr(e.text, "hunter2"));
}

static void test_json_doc__refuses_duplicate_keys(void **state)
{
    struct err e = {0};
    json_t *doc = NULL;

    assert_int_equal(json_doc_parse(STR("{\"a\":1,\n\"b\":{\"name\":1,\"name\":2}}"), 0, &doc, &e),
                     ERR_SYNTAX);
    assert_string_equal(e.field, "name");
    assert_string_equal(e.text, "line 2, column 20: duplicate object key \"name\"");
    /* a key whose spelling would need decoding is not named */
    assert_refused(STR("{\"a\\\"b\":1,\"a\\\"b\":2}"), 0,
                   "line 1, column 16: duplicate object key");
    assert_refused(STR("{\"a\":1,\"\\u0061\":2}"), 0, "line 1, column 15: duplicate object key");
}

static void test_json_doc__refuses_nul_and_bad_utf8(void **state)
{
    assert_refused(STR("[\"a\\u0000b\"]"), 0, "line 1, column 11: NUL characters are not allowed");
    assert_refused(STR("{\"a\\u0000b\":1}"), 0,
                   "line 1, column 11: NUL characters are not allowed");
    assert_refused(STR("[\"a\0b\"]"), 0, "line 1, column 3: control character 0x0");
    assert_refused(STR("[\"\xff\"]"), 0, "line 1, column 2: unable to decode byte 0xff");
    assert_refused(STR("[\"\\ud800\"]"), 0, "line 1, column 9: invalid Unicode '\\uD800'");
}

static struct str nested(struct buf *b, size_t depth, bool closed)
{
    buf_clear(b);
    for (size_t i = 0; i < depth; i++)
        assert_int_equal(buf_add_str(b, i % 2 ? STR("{\"k\":") : STR("[")), 0);
    if (closed) {
        assert_int_equal(buf_add_str(b, STR("1")), 0);
        for (size_t i = depth; i-- > 0;)
            assert_int_equal(buf_add_char(b, i % 2 ? '}' : ']'), 0);
    }
    return buf_str(b);
}

static void test_json_doc__depth_65_is_refused(void **state)
{
    struct buf b = BUF_INIT(1 << 20);

    json_decref(parse(nested(&b, 64, true), 0));
    assert_refused(nested(&b, 65, true), 0, "line 1, column 193: nested deeper than 64 levels");
    assert_refused(nested(&b, 65, false), JSON_DOC_TRAILING,
                   "line 1, column 193: nested deeper than 64 levels");
    assert_refused(nested(&b, 100000, false), 0,
                   "line 1, column 193: nested deeper than 64 levels");
    buf_release(&b);
}

static void test_json_doc__brackets_in_strings_do_not_nest(void **state)
{
    struct buf b = BUF_INIT(1000);

    assert_int_equal(buf_add_str(&b, STR("[\"\\\\\",\"\\\"")), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_add_char(&b, '['), 0);
    assert_int_equal(buf_add_str(&b, STR("\"]")), 0);
    json_decref(parse(buf_str(&b), 0));
    buf_release(&b);
}

/* Every proper prefix of a document is refused, from a block of the exact size. */
static void test_json_doc__every_prefix_is_refused(void **state)
{
    struct str whole = STR("{\"a\":[1,-2.5e3,\"\\u00e9\\n\"],\"b\":{\"c\":null,\"d\":true}}");

    for (size_t n = 1; n < whole.len; n++) {
        char *exact = malloc(n);
        json_t *doc = NULL;
        struct err e = {0};

        assert_non_null(exact);
        memcpy(exact, whole.ptr, n);
        assert_int_equal(json_doc_parse(str_n(exact, n), 0, &doc, &e), ERR_SYNTAX);
        assert_true(e.text[0] != '\0');
        free(exact);
    }
    json_decref(parse(whole, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_doc__views),
        cmocka_unit_test(test_json_doc__scalars_are_documents),
        cmocka_unit_test(test_json_doc__empty_body),
        cmocka_unit_test(test_json_doc__says_where),
        cmocka_unit_test(test_json_doc__trailing_bytes_are_ignored_when_asked),
        cmocka_unit_test(test_json_doc__never_repeats_the_input),
        cmocka_unit_test(test_json_doc__refuses_duplicate_keys),
        cmocka_unit_test(test_json_doc__refuses_nul_and_bad_utf8),
        cmocka_unit_test(test_json_doc__depth_65_is_refused),
        cmocka_unit_test(test_json_doc__brackets_in_strings_do_not_nest),
        cmocka_unit_test(test_json_doc__every_prefix_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
