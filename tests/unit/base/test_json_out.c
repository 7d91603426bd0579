/* test_json_out.c -- exact bytes of what is written, and what is refused. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json_out.h"

#include <jansson.h>

/* One value written by `fn`, compared with `want`. */
#define assert_writes(want, call)                                                                  \
    do {                                                                                           \
        struct buf b_ = BUF_INIT(1 << 20);                                                         \
        struct json_out out_, *j = &out_;                                                          \
        json_out_init(j, &b_);                                                                     \
        call;                                                                                      \
        assert_false(j->failed);                                                                   \
        assert_string_equal(buf_cstr(&b_), want);                                                  \
        buf_release(&b_);                                                                          \
    } while (0)

static void test_json_out__nests_and_separates(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct json_out j;

    json_out_init(&j, &b);
    json_out_object(&j);
    json_out_kstr(&j, "a", STR("x"));
    json_out_key(&j, "b");
    json_out_array(&j);
    json_out_i64(&j, 1);
    json_out_array(&j);
    json_out_end(&j);
    json_out_object(&j);
    json_out_end(&j);
    json_out_null(&j);
    json_out_end(&j);
    json_out_ki64(&j, "c", -5);
    json_out_kbool(&j, "d", true);
    json_out_kdouble(&j, "e", 0.5);
    json_out_knull(&j, "f");
    json_out_kcstr(&j, "g", NULL);
    json_out_kcstr(&j, "h", "i");
    json_out_end(&j);
    assert_string_equal(buf_cstr(&b), "{\"a\":\"x\",\"b\":[1,[],{},null],\"c\":-5,\"d\":true,"
                                      "\"e\":0.5,\"f\":null,\"g\":null,\"h\":\"i\"}");
    assert_int_equal(j.depth, 0);
    buf_release(&b);
}

static void test_json_out__takes_32_levels(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct json_out j;

    json_out_init(&j, &b);
    for (int i = 0; i < 32; i++) {
        if (i % 2 == 0) {
            json_out_array(&j);
        } else {
            json_out_object(&j);
            json_out_key(&j, "k");
        }
    }
    json_out_array(&(struct json_out){.buf = &b, .failed = true}); /* nothing */
    json_out_i64(&j, 7);
    for (int i = 0; i < 32; i++)
        json_out_end(&j);
    assert_false(j.failed);

    json_t *doc = json_loadb(b.ptr, buf_len(&b), 0, NULL);

    assert_non_null(doc);
    json_decref(doc);
    buf_release(&b);
}

static void test_json_out__escapes_strings(void **state)
{
    assert_writes("\"\"", json_out_str(j, STR_NONE));
    assert_writes("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"",
                  json_out_str(j, STR("\"\\\b\f\n\r\t\0\x1f\x7f")));
    assert_writes("\"\\u003c/script\\u003e\\u0026\"", json_out_str(j, STR("</script>&")));
    assert_writes("\"\\u2028\\u2029\xe2\x80\xa7\"",
                  json_out_str(j, STR("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xa7")));
    assert_writes("\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"",
                  json_out_str(j, STR("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80")));
}

static void test_json_out__replaces_bad_utf8(void **state)
{
#define BAD "\xef\xbf\xbd"
    assert_writes("\"a" BAD "b\"", json_out_str(j, STR("a\xff"
                                                       "b")));
    assert_writes("\"" BAD BAD "\"", json_out_str(j, STR("\xc0\x80")));         /* overlong */
    assert_writes("\"" BAD BAD BAD "\"", json_out_str(j, STR("\xed\xa0\x80"))); /* surrogate */
    assert_writes("\"" BAD BAD "\"", json_out_str(j, STR("\xe2\x80")));         /* cut */
    assert_writes("\"" BAD BAD BAD BAD "\"", json_out_str(j, STR("\xf4\x90\x80\x80")));
    assert_writes("{\"" BAD "\":1}", (json_out_object(j), json_out_key_str(j, STR("\x80")),
                                      json_out_i64(j, 1), json_out_end(j)));
}

/* Every string of two bytes is read back by another parser as the same text or with U+FFFD. */
static void test_json_out__all_byte_pairs_read_back(void **state)
{
    struct buf b = BUF_INIT(1000);

    for (unsigned pair = 0; pair < 65536; pair++) {
        char in[2] = {(char)(pair >> 8), (char)(pair & 255)};
        struct str s = str_n(in, 2);
        struct json_out j;

        buf_clear(&b);
        json_out_init(&j, &b);
        json_out_str(&j, s);

        json_t *doc = json_loadb(b.ptr, buf_len(&b), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

        assert_non_null(doc);
        if (str_is_utf8(s))
            assert_true(str_eq(s, str_n(json_string_value(doc), json_string_length(doc))));
        else
            assert_non_null(strstr(json_string_value(doc)[0] ? json_string_value(doc)
                                                             : json_string_value(doc) + 1,
                                   BAD));
        json_decref(doc);
    }
    buf_release(&b);
}

static void test_json_out__integers(void **state)
{
    assert_writes("0", json_out_i64(j, 0));
    assert_writes("-9223372036854775808", json_out_i64(j, INT64_MIN));
    assert_writes("9223372036854775807", json_out_i64(j, INT64_MAX));
    assert_writes("18446744073709551615", json_out_u64(j, UINT64_MAX));
}

static void test_json_out__fixed_point(void **state)
{
    assert_writes("1.234", json_out_fixed(j, 1234, 3));
    assert_writes("1", json_out_fixed(j, 1000, 3));
    assert_writes("0.1", json_out_fixed(j, 100, 3));
    assert_writes("0.001", json_out_fixed(j, 1, 3));
    assert_writes("-0.001", json_out_fixed(j, -1, 3));
    assert_writes("0", json_out_fixed(j, 0, 3));
    assert_writes("1200", json_out_fixed(j, 1200, 0));
    assert_writes("-9223372036.854775808", json_out_fixed(j, INT64_MIN, 9));
    assert_writes("0.9223372036854775807", json_out_fixed(j, INT64_MAX, 19));
}

static void test_json_out__stored_times(void **state)
{
    assert_writes("{\"t\":1767229190}",
                  (json_out_object(j), json_out_kts(j, "t", 1767229190000), json_out_end(j)));
    assert_writes("{\"t\":1767229200.4}",
                  (json_out_object(j), json_out_kts(j, "t", 1767229200400), json_out_end(j)));
    assert_writes("{\"t\":null}", (json_out_object(j), json_out_kts(j, "t", 0), json_out_end(j)));
}

static void test_json_out__shortest_doubles(void **state)
{
    assert_writes("0", json_out_double(j, 0.0));
    assert_writes("0", json_out_double(j, -0.0));
    assert_writes("0.1", json_out_double(j, 0.1));
    assert_writes("0.30000000000000004", json_out_double(j, 0.1 + 0.2));
    assert_writes("123456789", json_out_double(j, 123456789.0));
    assert_writes("9007199254740992", json_out_double(j, 9007199254740992.0));
    assert_writes("1e+300", json_out_double(j, 1e300));
    assert_writes("5e-324", json_out_double(j, 4.9406564584124654e-324));
    assert_writes("1.7976931348623157e+308", json_out_double(j, DBL_MAX));
    assert_writes("null", json_out_double(j, (double)NAN));
    assert_writes("null", json_out_double(j, (double)INFINITY));
    assert_writes("null", json_out_double(j, -(double)INFINITY));
}

static void test_json_out__doubles_read_back_equal(void **state)
{
    uint64_t x = 88172645463325252u; /* xorshift64: the same numbers each time */

    for (int i = 0; i < 200000; i++) {
        char text[JSON_OUT_DOUBLE_SIZE], shorter[64];
        double v, back;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(&v, &x, sizeof(v));
        if (!isfinite(v))
            continue;

        size_t n = json_out_double_text(v, text);

        assert_int_equal(n, strlen(text));
        assert_int_equal(str_to_double(str_n(text, n), &back), 0); /* JSON's grammar */
        assert_memory_equal(&v, &back, sizeof(v));
        snprintf(shorter, sizeof(shorter), "%.15g", v);
        if (strtod(shorter, NULL) == v)
            assert_true(n <= strlen(shorter));
    }
}

static void test_json_out__remembers_that_it_failed(void **state)
{
    /* Every ceiling below the full length fails, none of them overruns, and the end is told once.
     */
    for (size_t max = 0; max < 24; max++) {
        struct buf b = BUF_INIT(max);
        struct json_out j;

        json_out_init(&j, &b);
        json_out_object(&j);
        json_out_kstr(&j, "key", STR("a<b"));
        json_out_key(&j, "n");
        json_out_array(&j);
        json_out_end(&j);
        json_out_end(&j);
        assert_int_equal(j.failed, max < strlen("{\"key\":\"a\\u003cb\",\"n\":[]}"));
        assert_true(buf_len(&b) <= max);
        buf_release(&b);
    }
}

static void test_json_out__raw_values(void **state)
{
    assert_writes("[{\"a\":1},2]", (json_out_array(j), json_out_raw(j, STR("{\"a\":1}")),
                                    json_out_raw(j, STR("2")), json_out_end(j)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_out__nests_and_separates),
        cmocka_unit_test(test_json_out__takes_32_levels),
        cmocka_unit_test(test_json_out__escapes_strings),
        cmocka_unit_test(test_json_out__replaces_bad_utf8),
        cmocka_unit_test(test_json_out__all_byte_pairs_read_back),
        cmocka_unit_test(test_json_out__integers),
        cmocka_unit_test(test_json_out__fixed_point),
        cmocka_unit_test(test_json_out__stored_times),
        cmocka_unit_test(test_json_out__shortest_doubles),
        cmocka_unit_test(test_json_out__doubles_read_back_equal),
        cmocka_unit_test(test_json_out__remembers_that_it_failed),
        cmocka_unit_test(test_json_out__raw_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
