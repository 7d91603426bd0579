/* test_str.c -- borrowed text: the edges (empty, NULL, absent), numbers, UTF-8, the hash. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

static void assert_str(struct str s, const char *want)
{
    if (!str_eq_c(s, want))
        fail_msg("'%.*s' is not '%s'", STR_ARG(s), want);
}

static void test_str__compares(void **state)
{
    assert_true(str_eq(STR_NONE, STR("")));
    assert_false(str_eq(STR("ab"), STR("aB")));
    assert_true(str_ieq(STR("Content-Type"), STR("cONTENT-tYPE")));
    assert_false(str_ieq(STR("ab"), STR("abc")));
    assert_false(str_ieq(STR("@["), STR("`{"))); /* neighbours of the letters, 32 apart */
    assert_false(str_ieq(STR("\xc3\x84"), STR("\xc3\xa4"))); /* no letters but ASCII's */
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("b"), STR("a")) > 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_true(str_cmp(STR("aa"), STR("a")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0); /* bytes are unsigned */
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
    assert_int_equal(str_cmp(STR("x\0y"), STR("x\0y")), 0);
    assert_true(str_cmp(STR("x\0y"), STR("x\0z")) < 0);
}

static void test_str__prefix_and_suffix(void **state)
{
    struct str s = STR("https://host");

    assert_true(str_starts(s, STR("https://")));
    assert_true(str_starts(s, STR_NONE));
    assert_false(str_starts(s, STR("https://host/")));
    assert_true(str_istarts(s, STR("HTTPS")));
    assert_true(str_ends(s, STR("host")));
    assert_true(str_ends(s, s));
    assert_true(str_ends(STR_NONE, STR_NONE));
    assert_false(str_ends(STR("t"), STR("host")));
    assert_false(str_skip_prefix(&s, STR("http://")));
    assert_str(s, "https://host");
    assert_true(str_skip_prefix(&s, STR("https://")));
    assert_str(s, "host");
}

static void test_str__until_and_after(void **state)
{
    assert_str(str_until(STR("a:b:c"), ':'), "a");
    assert_str(str_after(STR("a:b:c"), ':'), "b:c");
    assert_str(str_until(STR("abc"), ':'), "abc");
    assert_null(str_after(STR("abc"), ':').ptr);
    assert_non_null(str_after(STR("abc:"), ':').ptr); /* there, and empty */
    assert_int_equal(str_after(STR("abc:"), ':').len, 0);
    assert_int_equal(str_until(STR_NONE, ':').len, 0);
}

static void test_str__cut_clamps(void **state)
{
    assert_str(str_cut(STR("abcdef"), 1, 3), "bcd");
    assert_str(str_cut(STR("abcdef"), 4, 9), "ef");
    assert_str(str_cut(STR("abcdef"), 9, 9), "");
    assert_str(str_cut(STR("abcdef"), 1, SIZE_MAX), "bcdef");
    assert_str(str_cut(STR_NONE, 3, 3), "");
}

static void test_str__trim(void **state)
{
    assert_str(str_trim(STR(" \t\r\n\v\fa b \n")), "a b");
    assert_str(str_trim(STR(" \n ")), "");
    assert_str(str_trim(STR_NONE), "");
    assert_str(str_trim(STR("\xc2\xa0x")), "\xc2\xa0x"); /* ASCII blanks only */
}

static void test_str__find(void **state)
{
    assert_int_equal(str_find(STR("abcb"), 'b'), 1);
    assert_int_equal(str_find(STR("abc"), 'x'), -1);
    assert_int_equal(str_find(STR("a\0b"), '\0'), 1);
    assert_int_equal(str_find(STR_NONE, 'x'), -1);
    assert_int_equal(str_find_str(STR("say data: x"), STR("data:")), 4);
    assert_int_equal(str_find_str(STR("dat"), STR("data")), -1);
    assert_int_equal(str_find_str(STR_NONE, STR("x")), -1);
    assert_int_equal(str_find_str(STR_NONE, STR_NONE), 0);
    assert_int_equal(str_find_str(STR("xx"), STR("")), 0);
    assert_int_equal(str_ifind_str(STR("an Error came"), STR("eRRoR")), 3);
    assert_int_equal(str_ifind_str(STR("ends in erro"), STR("error")), -1);
    assert_int_equal(str_ifind_str(STR("abc"), STR("C")), 2);
    assert_int_equal(str_ifind_str(STR_NONE, STR_NONE), 0);
}

static void test_str__split_gives_every_piece(void **state)
{
    struct str s = STR(",a,,b,"), piece = STR_NONE;
    const char *want[] = {"", "a", "", "b", ""};

    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(str_split(&s, ',', &piece));
        assert_str(piece, want[i]);
    }
    assert_null(s.ptr);
    assert_false(str_split(&s, ',', &piece));

    s = STR("");
    assert_true(str_split(&s, ',', &piece));
    assert_str(piece, "");
    assert_false(str_split(&s, ',', &piece));
}

static void test_str__to_u64(void **state)
{
    static const struct {
        const char *text;
        uint64_t max, want;
        int rc;
    } rows[] = {
        {"0", 0, 0, 0},
        {"007", 10, 7, 0},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, 0},
        {"18446744073709551616", UINT64_MAX, 0, ERR_RANGE},
        {"184467440737095516150", UINT64_MAX, 0, ERR_RANGE},
        {"99999999999999999999999999999999", UINT64_MAX, 0, ERR_RANGE},
        {"36893488147419103232", UINT64_MAX, 0, ERR_RANGE}, /* 2^65 wraps to 0 */
        {"11", 10, 0, ERR_RANGE},
        {"", 10, 0, ERR_SYNTAX},
        {"-1", 10, 0, ERR_SYNTAX},
        {"+1", 10, 0, ERR_SYNTAX},
        {" 1", 10, 0, ERR_SYNTAX},
        {"1 ", 10, 0, ERR_SYNTAX},
        {"1x", 10, 0, ERR_SYNTAX},
        {"0x1", 10, 0, ERR_SYNTAX},
        {"99999999999999999999999x", 10, 0, ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t value = 4711;

        assert_int_equal(str_to_u64(str_of(rows[i].text), rows[i].max, &value), rows[i].rc);
        assert_int_equal(value, rows[i].rc < 0 ? 4711 : rows[i].want);
    }
}

static void test_str__to_i64(void **state)
{
    static const struct {
        const char *text;
        int64_t min, max, want;
        int rc;
    } rows[] = {
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, 0},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, 0},
        {"9223372036854775808", INT64_MIN, INT64_MAX, 0, ERR_RANGE},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, ERR_RANGE},
        {"-0", 0, 0, 0, 0},
        {"-5", -5, 5, -5, 0},
        {"-6", -5, 5, 0, ERR_RANGE},
        {"6", -5, 5, 0, ERR_RANGE},
        {"-", -5, 5, 0, ERR_SYNTAX},
        {"--1", -5, 5, 0, ERR_SYNTAX},
        {"", -5, 5, 0, ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 4711;
        int rc = str_to_i64(str_of(rows[i].text), rows[i].min, rows[i].max, &value);

        assert_int_equal(rc, rows[i].rc);
        assert_true(value == (rc < 0 ? 4711 : rows[i].want));
    }
}

static void test_str__to_u16(void **state)
{
    uint16_t value = 4711;

    assert_int_equal(str_to_u16(STR("0"), 1, &value), ERR_RANGE);
    assert_int_equal(str_to_u16(STR("65536"), 1, &value), ERR_RANGE);
    assert_int_equal(str_to_u16(STR("x"), 1, &value), ERR_SYNTAX);
    assert_int_equal(value, 4711);
    assert_int_equal(str_to_u16(STR("65535"), 1, &value), 0);
    assert_int_equal(value, 65535);
}

static void test_str__to_double(void **state)
{
    static const struct {
        const char *text;
        double want;
    } good[] = {
        {"0", 0},          {"-0.5", -0.5}, {"1e3", 1000},        {"1E+3", 1000},
        {"12.5e-1", 1.25}, {"1e-999", 0},  {"1.7e308", 1.7e308},
    };
    static const char *const bad[] = {"",    "-",    ".5",  "5.",   "01",  "+1",      "1e",
                                      "1e+", "nan",  "inf", "0x1",  "1 ",  " 1",      "1,5",
                                      "--1", "1.e3", "-x",  "1e5x", "-01", "Infinity"};
    double value = 4711;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(str_to_double(str_of(good[i].text), &value), 0);
        assert_true(fabs(value - good[i].want) <= fabs(good[i].want) * 1e-15);
    }
    value = 4711;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_to_double(str_of(bad[i]), &value), ERR_SYNTAX);
    assert_int_equal(str_to_double(STR("1e309"), &value), ERR_RANGE);
    assert_int_equal(str_to_double(STR("-1e309"), &value), ERR_RANGE);
    assert_true(value > 4710.5 && value < 4711.5);
    assert_int_equal(str_to_double(str_n("1.2599", 3), &value), 0); /* no NUL behind it */
    assert_true(value > 1.19 && value < 1.21);
}

static void test_str__to_double_of_many_digits(void **state)
{
    for (size_t n = 60; n < 70; n++) { /* round the size of the small buffer */
        char text[80];
        double value = 0;

        memset(text, '0', sizeof(text));
        text[1] = '.';
        text[n - 1] = '5';
        assert_int_equal(str_to_double(str_n(text, n), &value), 0);
        assert_true(value > 0 && value < 1e-50);
    }
}

static void test_str__utf8_accepts_rfc_3629_only(void **state)
{
    static const char *const good[] = {
        "",
        "a",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x9f\xbf",
        "\xe1\x80",
        "\xed\xa0\x80",
        "\xe1\x80\x41",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xf1\x80\x80\x41",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct str s = str_of(good[i]);

        assert_true(str_is_utf8(s));
        assert_int_equal(str_char_len(s), s.len);
        for (size_t n = 1; n < s.len; n++)
            assert_int_equal(str_char_len(str_n(s.ptr, n)), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_is_utf8(str_of(bad[i])));
        assert_int_equal(str_char_len(str_of(bad[i])), 0);
    }
    assert_true(str_is_utf8(STR("a\0b")));
}

static void test_str__count_chars(void **state)
{
    assert_int_equal(str_count_chars(STR_NONE), 0);
    assert_int_equal(str_count_chars(STR("a\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80")), 4);
    assert_int_equal(str_count_chars(STR("\xe4\xbd"
                                         "a")),
                     3);
}

static void test_str__cut_utf8_keeps_characters_whole(void **state)
{
    struct str s = STR("a\xc3\xa4\xe4\xbd\xa0\xf0\x9f\x98\x80z"); /* ends: 1 3 6 10 11 */
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    for (size_t max = 0; max < ARRAY_LEN(want); max++)
        assert_int_equal(str_cut_utf8(s, max).len, want[max]);
    assert_int_equal(str_cut_utf8(STR("\x80\x80\x80\x80\x80\x80"), 5).len, 5);
    assert_int_equal(str_cut_utf8(STR_NONE, 5).len, 0);
}

static void test_str__has_control(void **state)
{
    assert_true(str_has_control(STR("a\n")));
    assert_true(str_has_control(STR("a\0b")));
    assert_true(str_has_control(STR("\x7f")));
    assert_true(str_has_control(STR("\xc2\x80")));
    assert_true(str_has_control(STR("x\xc2\x9f")));
    assert_false(str_has_control(STR("\xc2\xa0 \xc3\x84~")));
    assert_false(str_has_control(STR("\xc2")));
    assert_false(str_has_control(STR_NONE));
}

static void test_str__copies(void **state)
{
    char small[5] = "....";
    CLEANUP(xfree_charp) char *none = str_dup(STR_NONE);
    CLEANUP(xfree_charp) char *word = str_dup(str_n("wording", 4));

    assert_string_equal(none, "");
    assert_string_equal(word, "word");
    assert_int_equal(str_copy(small, sizeof(small), STR("abcdef")), 4);
    assert_string_equal(small, "abcd");
    assert_int_equal(str_copy(small, sizeof(small), STR("abc\xc3\xa4")), 3);
    assert_string_equal(small, "abc");
    assert_int_equal(str_copy(small, sizeof(small), STR_NONE), 0);
    assert_string_equal(small, "");
    small[0] = 'x';
    assert_int_equal(str_copy(small, 0, STR("abc")), 0);
    assert_int_equal(small[0], 'x');
}

/* An independent statement of SipHash-c-d on whole 64-bit words, from the paper's definition. */
#define ROTL(x, n) ((x) << (n) | (x) >> (64 - (n)))
static uint64_t siphash_reference(const uint8_t *in, size_t len, uint64_t k0, uint64_t k1, int c,
                                  int d)
{
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL,
                     k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};

    for (size_t block = 0; block <= len / 8 + 1; block++) {
        bool is_final = block == len / 8 + 1;
        uint64_t m = 0;

        for (size_t i = 0; !is_final && i < 8 && block * 8 + i < len; i++)
            m += (uint64_t)in[block * 8 + i] << (8 * i);
        if (block == len / 8)
            m += (uint64_t)(len % 256) << 56;
        if (is_final)
            v[2] ^= 0xff;
        else
            v[3] ^= m;
        for (int i = 0; i < (is_final ? d : c); i++) {
            v[0] += v[1], v[1] = ROTL(v[1], 13), v[1] ^= v[0], v[0] = ROTL(v[0], 32);
            v[2] += v[3], v[3] = ROTL(v[3], 16), v[3] ^= v[2];
            v[0] += v[3], v[3] = ROTL(v[3], 21), v[3] ^= v[0];
            v[2] += v[1], v[1] = ROTL(v[1], 17), v[1] ^= v[2], v[2] = ROTL(v[2], 32);
        }
        if (!is_final)
            v[0] ^= m;
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void test_str__hash_is_siphash_1_3(void **state)
{
    uint8_t in[300];
    const uint64_t key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    /* the paper's appendix A, SipHash-2-4 of 00..0e: shows that the statement above is right */
    assert_true(siphash_reference(in, 15, key[0], key[1], 2, 4) == 0xa129ca6149be45e5ULL);
    for (size_t n = 0; n <= sizeof(in); n++) {
        uint64_t want = siphash_reference(in, n, key[0], key[1], 1, 3);

        assert_true(str_hash_keyed(str_n((const char *)in, n), key) == want);
    }
}

static void test_str__hash_is_stable_and_keyed(void **state)
{
    const uint64_t zero_key[2] = {0, 0};

    assert_true(str_hash(STR("channel")) == str_hash(STR("channel")));
    assert_true(str_hash(STR("channel")) != str_hash(STR("channem")));
    assert_true(str_hash(STR_NONE) == str_hash(STR("")));
    assert_true(str_hash(STR("a")) != str_hash_keyed(STR("a"), zero_key)); /* a key was drawn */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str__compares),
        cmocka_unit_test(test_str__prefix_and_suffix),
        cmocka_unit_test(test_str__until_and_after),
        cmocka_unit_test(test_str__cut_clamps),
        cmocka_unit_test(test_str__trim),
        cmocka_unit_test(test_str__find),
        cmocka_unit_test(test_str__split_gives_every_piece),
        cmocka_unit_test(test_str__to_u64),
        cmocka_unit_test(test_str__to_i64),
        cmocka_unit_test(test_str__to_u16),
        cmocka_unit_test(test_str__to_double),
        cmocka_unit_test(test_str__to_double_of_many_digits),
        cmocka_unit_test(test_str__utf8_accepts_rfc_3629_only),
        cmocka_unit_test(test_str__count_chars),
        cmocka_unit_test(test_str__cut_utf8_keeps_characters_whole),
        cmocka_unit_test(test_str__has_control),
        cmocka_unit_test(test_str__copies),
        cmocka_unit_test(test_str__hash_is_siphash_1_3),
        cmocka_unit_test(test_str__hash_is_stable_and_keyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
