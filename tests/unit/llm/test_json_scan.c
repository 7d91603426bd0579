/* test_json_scan.c -- the data path's JSON reader. The fuzz target compares its grammar with
 * jansson's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/json_scan.h"

/* From a heap block of the exact size: a read past the end is seen by the sanitizer. */
static int check(struct str text, size_t *ret_offset)
{
    char *copy = str_dup(text);
    char *exact = xmalloc(text.len);
    int rc;

    memcpy(exact, copy, text.len);
    rc = json_scan_check(str_n(exact, text.len), ret_offset);
    xfree(exact);
    xfree(copy);
    return rc;
}

static void test_json_scan__accepts_the_grammar(void **state)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "12",
                                       "-1.5e+10",
                                       "1E9",
                                       "0.1",
                                       "\"\"",
                                       "\"a\\u00e9\\n\\\"\"",
                                       "true",
                                       "false",
                                       "null",
                                       "[]",
                                       "{}",
                                       " \t\r\n[ 1 , 2 ] ",
                                       "{\"a\":{\"b\":[{}]},\"c\":\"d\"}",
                                       "\"\\ud83d\\ude00\"",
                                       "\"\\ud800\"",
                                       "{\"\":0}",
                                       "\"12345678901234567890\"",
                                       "[[[[1]]],{\"x\":[[]]}]"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (check(str_of(good[i]), NULL) != 0)
            fail_msg("refused: %s", good[i]);
}

static void test_json_scan__refuses_what_is_not_json(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "01",
                                      "-",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "1e+",
                                      "tru",
                                      "nul",
                                      "True",
                                      "\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\u12\"",
                                      "\"\n\"",
                                      "[",
                                      "[1",
                                      "[1,",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{",
                                      "{\"a\"",
                                      "{\"a\":",
                                      "{\"a\":1",
                                      "{\"a\":1,",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{\"a\" 1}",
                                      "{1:2}",
                                      "]",
                                      "}",
                                      "[}",
                                      "{]",
                                      "1 2",
                                      "[1]]",
                                      "\xef\xbb\xbf{}",
                                      "'a'",
                                      "{\"a\":1 \"b\":2}",
                                      "//",
                                      "NaN",
                                      "\"abcdefgh\x01\""};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (check(str_of(bad[i]), NULL) != ERR_SYNTAX)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(check(str_n("\"a\0b\"", 5), NULL), ERR_SYNTAX);
}

/* Every prefix of a document is refused, and none is read past its end. */
static void test_json_scan__refuses_each_prefix(void **state)
{
    struct str doc = STR(
        "{\"k\\u00e9y\":[1.5e3,-0,\"\\ud83d\\ude00x\",true,false,null,{\"a\":{}}],\"z\":\"q\"}");

    for (size_t n = 0; n < doc.len; n++)
        assert_int_equal(check(str_n(doc.ptr, n), NULL), ERR_SYNTAX);
    assert_int_equal(check(doc, NULL), 0);
}

static void test_json_scan__tells_where(void **state)
{
    size_t at = 99;

    assert_int_equal(json_scan_check(STR("[1,2,x]"), &at), ERR_SYNTAX);
    assert_int_equal(at, 5);
    assert_int_equal(json_scan_check(STR("{} {}"), &at), ERR_SYNTAX);
    assert_int_equal(at, 3);
}

static void test_json_scan__depth_ends_at_64(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct json_scan_value v;

    for (int i = 0; i < 64; i++)
        buf_put(&b, i % 2 ? STR("{\"a\":") : STR("["));
    for (int i = 63; i >= 0; i--)
        buf_put(&b, i % 2 ? STR("1}") : STR("]"));
    assert_int_equal(check(buf_str(&b), NULL), ERR_SYNTAX); /* "1}" but for the innermost */
    buf_clear(&b);
    for (int i = 0; i < 64; i++)
        buf_put(&b, STR("["));
    for (int i = 0; i < 64; i++)
        buf_put(&b, STR("]"));
    assert_int_equal(check(buf_str(&b), NULL), 0);
    buf_clear(&b);
    for (int i = 0; i < 65; i++)
        buf_put(&b, STR("["));
    for (int i = 0; i < 65; i++)
        buf_put(&b, STR("]"));
    assert_int_equal(check(buf_str(&b), NULL), ERR_LIMIT);
    buf_clear(&b);
    for (int i = 0; i < 100000; i++)
        buf_put(&b, STR("["));
    assert_int_equal(check(buf_str(&b), NULL), ERR_LIMIT);
    /* containers entered by hand count as well */
    buf_clear(&b);
    buf_put(&b, STR("{\"a\":"));
    for (int i = 0; i < 64; i++)
        buf_put(&b, STR("["));
    assert_false(json_scan_find(buf_str(&b), &v, "a", NULL));
    buf_release(&b);
}

static void test_json_scan__walks_members_and_items(void **state)
{
    struct json_scan s;
    struct json_scan_value v;
    struct str key;
    bool is_plain;

    json_scan_init(&s, STR(" {\"a\" : [ 1 , {} , \"x\" ] , \"b\\n\" : { } , \"c\":-1.5}"));
    assert_int_equal(json_scan_peek(&s), JSON_SCAN_OBJECT);
    assert_true(json_scan_enter(&s, JSON_SCAN_OBJECT));
    assert_true(json_scan_member(&s, &key, &is_plain));
    assert_true(str_eq_c(key, "a") && is_plain);
    assert_true(json_scan_enter(&s, JSON_SCAN_ARRAY));
    assert_true(json_scan_item(&s) && json_scan_value(&s, &v));
    assert_true(v.type == JSON_SCAN_NUMBER && str_eq_c(v.raw, "1"));
    assert_true(json_scan_item(&s));
    assert_true(json_scan_enter(&s, JSON_SCAN_OBJECT));
    assert_false(json_scan_member(&s, &key, &is_plain));
    assert_true(json_scan_item(&s));
    json_scan_skip(&s);
    assert_false(json_scan_item(&s));
    assert_true(json_scan_member(&s, &key, &is_plain));
    assert_true(str_eq_c(key, "b\\n") && !is_plain);
    assert_true(json_scan_value(&s, &v));
    assert_true(str_eq_c(v.raw, "{ }"));
    assert_true(json_scan_member(&s, &key, &is_plain) && json_scan_value(&s, &v));
    assert_true(str_eq_c(v.raw, "-1.5"));
    assert_false(json_scan_member(&s, &key, &is_plain));
    assert_int_equal(s.error, 0);
    assert_int_equal(s.depth, 0);
    assert_ptr_equal(s.at, s.end);
}

static void test_json_scan__errors_stick(void **state)
{
    static const char *const broken[] = {"[1,]",       "[1 2]",     "[,", "[1",
                                         "{\"a\":1,}", "{\"a\" 1}", "{x"};
    struct json_scan s;
    struct str key;
    bool is_plain;

    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        json_scan_init(&s, str_of(broken[i]));
        if (broken[i][0] == '[') {
            assert_true(json_scan_enter(&s, JSON_SCAN_ARRAY));
            while (json_scan_item(&s))
                json_scan_skip(&s);
        } else {
            assert_true(json_scan_enter(&s, JSON_SCAN_OBJECT));
            while (json_scan_member(&s, &key, &is_plain))
                json_scan_skip(&s);
        }
        assert_int_equal(s.error, ERR_SYNTAX);
        assert_int_equal(json_scan_peek(&s), JSON_SCAN_NONE);
        assert_false(json_scan_item(&s));
    }
    json_scan_init(&s, STR("1"));
    assert_false(json_scan_enter(&s, JSON_SCAN_OBJECT));
    assert_int_equal(s.error, ERR_SYNTAX);
}

static void test_json_scan__finds_by_path(void **state)
{
    struct str doc = STR("{\"usage\":{\"prompt_tokens\":7},\"ch\\u006fices\":[{\"a\":1},{\"a\":2}],"
                         "\"x\":null,\"x\":3}");
    struct json_scan_value v;

    assert_true(json_scan_find(doc, &v, "usage", "prompt_tokens", NULL));
    assert_int_equal(json_scan_count(&v), 7);
    assert_true(
        json_scan_find(doc, &v, "choices", "1", "a", NULL)); /* an escaped key is the same key */
    assert_int_equal(json_scan_count(&v), 2);
    assert_true(json_scan_find(doc, &v, "x", NULL));
    assert_int_equal(v.type, JSON_SCAN_NULL);
    assert_false(json_scan_find(doc, &v, "choices", "2", NULL));
    assert_false(json_scan_find(doc, &v, "choices", "a", NULL));
    assert_false(json_scan_find(doc, &v, "usage", "prompt_tokens", "x", NULL));
    assert_false(json_scan_find(STR("{\"a\":1,b"), &v, "b", NULL));
    assert_false(json_scan_find(STR_NONE, &v, "b", NULL));
    assert_true(json_scan_find(STR(" 5 "), &v, NULL));
    assert_true(str_eq_c(v.raw, "5"));
}

static void test_json_scan__takes_members_in_one_pass(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct json_scan_value v[3];

    assert_true(json_scan_members(STR("{\"c\":[1],\"z\":0,\"a\":\"x\",\"a\":2}"), names, 3, v));
    assert_true(str_eq_c(v[0].raw, "\"x\"") && str_eq_c(v[2].raw, "[1]"));
    assert_int_equal(v[1].type, JSON_SCAN_NONE);
    assert_false(json_scan_members(STR("{\"a\":1,\"b\"}"), names, 3, v));
    assert_int_equal(v[0].type, JSON_SCAN_NUMBER);
    assert_false(json_scan_members(STR("[]"), names, 3, v));
    assert_int_equal(v[0].type, JSON_SCAN_NONE);
}

static void expect_text(const char *raw, const char *want)
{
    struct buf b = BUF_INIT(1024);

    assert_int_equal(json_scan_string(str_of(raw), &b), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_json_scan__decodes_strings(void **state)
{
    struct buf b = BUF_INIT(4);
    char out[6];

    expect_text("\"\"", "");
    expect_text("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t");
    expect_text("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_text("\"\\ud83dx\"", "\xef\xbf\xbdx");
    expect_text("\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                                      "A");
    expect_text("\"\\ude00\"", "\xef\xbf\xbd");
    expect_text("\"\xff\xc3(\"", "\xef\xbf\xbd\xef\xbf\xbd(");
    assert_int_equal(json_scan_string(STR("\"12345\""), &b), ERR_LIMIT);
    assert_int_equal(json_scan_string(STR("\"a"), &b), ERR_SYNTAX);
    assert_int_equal(json_scan_string(STR("5"), &b), ERR_SYNTAX);
    assert_int_equal(buf_len(&b), 0);
    buf_release(&b);
    assert_int_equal(json_scan_string_cut(STR("\"abc\\u20ac\""), out, sizeof(out)), 3);
    assert_string_equal(out, "abc"); /* the euro sign would end at byte 6, where the NUL is */
    assert_int_equal(json_scan_string_cut(STR("\"ab\\u20ac\""), out, sizeof(out)), 5);
    assert_int_equal(json_scan_string_cut(STR("null"), out, sizeof(out)), 0);
}

static int64_t count_of(const char *raw)
{
    struct json_scan_value v = {JSON_SCAN_NUMBER, str_of(raw)};

    return json_scan_count(&v);
}

static void test_json_scan__counts_are_saturated(void **state)
{
    struct json_scan_value text = {JSON_SCAN_STRING, STR("\"5\"")};

    assert_int_equal(count_of("0"), 0);
    assert_int_equal(count_of("12"), 12);
    assert_int_equal(count_of("-5"), 0);
    assert_int_equal(count_of("3.9"), 3);
    assert_int_equal(count_of("1e3"), 1000);
    assert_int_equal(count_of("9007199254740991"), 9007199254740991);
    assert_int_equal(count_of("9007199254740993"), (int64_t)1 << 53);
    assert_int_equal(count_of("99999999999999999999999"), (int64_t)1 << 53);
    assert_int_equal(count_of("1e99999"), (int64_t)1 << 53);
    assert_int_equal(json_scan_count(&text), 0);
}

static void test_json_scan__compares_decoded_text(void **state)
{
    struct json_scan_value v = {JSON_SCAN_STRING, STR("\"st\\u006fp\"")};

    assert_true(json_scan_str_eq(&v, "stop"));
    assert_false(json_scan_str_eq(&v, "sto"));
    assert_false(json_scan_str_eq(&v, "stopp"));
    v.type = JSON_SCAN_NUMBER;
    assert_false(json_scan_str_eq(&v, "stop"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_scan__accepts_the_grammar),
        cmocka_unit_test(test_json_scan__refuses_what_is_not_json),
        cmocka_unit_test(test_json_scan__refuses_each_prefix),
        cmocka_unit_test(test_json_scan__tells_where),
        cmocka_unit_test(test_json_scan__depth_ends_at_64),
        cmocka_unit_test(test_json_scan__walks_members_and_items),
        cmocka_unit_test(test_json_scan__errors_stick),
        cmocka_unit_test(test_json_scan__finds_by_path),
        cmocka_unit_test(test_json_scan__takes_members_in_one_pass),
        cmocka_unit_test(test_json_scan__decodes_strings),
        cmocka_unit_test(test_json_scan__counts_are_saturated),
        cmocka_unit_test(test_json_scan__compares_decoded_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
