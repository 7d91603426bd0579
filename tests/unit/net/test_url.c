#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/url.h"

static void assert_str(struct str s, const char *expected)
{
    if (!str_eq_c(s, expected))
        fail_msg("'%.*s' is not '%s'", STR_ARG(s), expected);
}

static struct url must_parse(const char *text)
{
    struct url u = {0};
    struct err e = {0};

    if (url_parse(str_of(text), &u, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    return u;
}

static void test_url__splits_all_parts(void **state)
{
    struct url u = must_parse("HTTPS://Api.Example.com:8443/v1/a%20b?x=1&y=/?#frag?#");

    assert_true(u.is_https);
    assert_str(u.host, "Api.Example.com");
    assert_int_equal(u.port, 8443);
    assert_true(u.has_port);
    assert_str(u.path, "/v1/a%20b");
    assert_str(u.query, "x=1&y=/?");
    assert_str(u.fragment, "frag?#");
    assert_false(u.has_userinfo);
}

static void test_url__knows_default_ports_and_empty_parts(void **state)
{
    struct url u = must_parse("http://h");

    assert_int_equal(u.port, 80);
    assert_false(u.has_port);
    assert_str(u.path, "");
    u = must_parse("https://h?q");
    assert_int_equal(u.port, 443);
    assert_str(u.path, "");
    assert_str(u.query, "q");
    u = must_parse("http://h:/p");
    assert_int_equal(u.port, 80);
    assert_false(u.has_port);
    u = must_parse("http://h#f");
    assert_str(u.fragment, "f");
    u = must_parse("http://h.example.");
    assert_str(u.host, "h.example.");
}

static void test_url__reads_ip6_and_userinfo(void **state)
{
    struct url u = must_parse("http://[2001:db8::1]:8080/x");

    assert_true(u.host_is_ip6);
    assert_str(u.host, "2001:db8::1");
    assert_int_equal(u.port, 8080);
    u = must_parse("http://user:pw@h/p");
    assert_true(u.has_userinfo);
    assert_str(u.host, "h");
    u = must_parse("http://good.example@evil.example/");
    assert_true(u.has_userinfo);
    assert_str(u.host, "evil.example");
    u = must_parse("http://a@b@c/");
    assert_str(u.host, "c");
    u = must_parse("http://h/p@x:y");
    assert_false(u.has_userinfo);
    assert_str(u.host, "h");
}

static void test_url__refuses_the_rest(void **state)
{
    static const char *const bad[] = {
        "",
        "h/p",
        "//h/p",
        "file:///etc/passwd",
        "ftp://h/",
        "gopher://h/",
        "javascript:alert(1)",
        "http:/h",
        "http:h",
        "https:///p",
        "http://",
        "http://:80/",
        "http://?q",
        "http://h:0/",
        "http://h:65536/",
        "http://h:8a/",
        "http://h:-1/",
        "http://h: 80/",
        "http://h:80:80/",
        " http://h/",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://h\n/",
        "http://h/\x7f",
        "http://h/\xc2\x85",
        "http://h/\xff",
        "http://a..b/",
        "http://.a/",
        "http://a%2eb/",
        "http://127.0.0.1%00.example/",
        "http://h\\@evil/",
        "http://h\\evil/",
        "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/",
        "http://ex\xc3\xa4mple.de/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[::1%25lo]/",
        "http://[1.2.3.4]/",
        "http://[v1.x]/",
        "http://[]/",
        "http://a]b/",
        "http://a,b/",
        "http://a'b/",
    };
    struct url u;
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        e.text[0] = '\0';
        if (url_parse(str_of(bad[i]), &u, &e) != ERR_SYNTAX || e.text[0] == '\0')
            fail_msg("'%s' was taken", bad[i]);
    }
    assert_int_equal(url_parse(str_n("http://h/\0x", 11), &u, NULL), ERR_SYNTAX);
}

static void test_url__refuses_long_names(void **state)
{
    char text[400] = "http://";
    struct url u;

    memset(text + 7, 'a', 64);
    text[71] = '\0';
    assert_int_equal(url_parse(str_of(text), &u, NULL), ERR_SYNTAX);
    text[70] = '\0';
    assert_int_equal(url_parse(str_of(text), &u, NULL), 0);
    for (size_t i = 7; i < 7 + 254; i++)
        text[i] = (i % 50) == 49 ? '.' : 'a';
    assert_int_equal(url_parse(str_n(text, 7 + 254), &u, NULL), ERR_SYNTAX);
    assert_int_equal(url_parse(str_n(text, 7 + 253), &u, NULL), 0);
}

static void test_url__knows_proxies(void **state)
{
    static const char *const good[] = {"http://p", "https://p:8443", "socks5://p:1080", "socks5h://[::1]:1080",
                                       "HTTP://127.0.0.1:3128/"};
    static const char *const bad[] = {"", "p", "p:3128", "ftp://p", "socks4://p", "socks5://", "socks5://:1080",
                                      "http://p:99999", "http://a b", "socks5h://p\n", "Socks5//p"};
    struct err e = {0};
    char *longest = xcalloc(1, 10001);

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(url_check_proxy(str_of(good[i]), &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(url_check_proxy(str_of(bad[i]), &e), ERR_SYNTAX);
        assert_string_equal(e.text, "must be an http://, https://, socks5:// or socks5h:// URL with a host");
    }
    memset(longest, 'a', 10000);
    memcpy(longest, "socks5://", 9);
    assert_int_equal(url_check_proxy(str_of(longest), &e), ERR_SYNTAX);
    xfree(longest);
    assert_int_equal(url_check_proxy(STR("socks5://me:secret@p:1080"), &e), ERR_SYNTAX);
    assert_string_equal(e.text, "must not contain a user or password");
}

static void test_url__writes_origin(void **state)
{
    struct buf b = BUF_INIT(100);
    struct url u = must_parse("https://h:443/p");

    assert_int_equal(url_origin(&u, &b), 0);
    assert_str(buf_str(&b), "https://h");
    buf_clear(&b);
    u = must_parse("http://[::1]:8080");
    assert_int_equal(url_origin(&u, &b), 0);
    assert_str(buf_str(&b), "http://[::1]:8080");
    buf_release(&b);
}

static void test_url__percent_coding_goes_both_ways(void **state)
{
    struct buf b = BUF_INIT(1000), back = BUF_INIT(1000);
    char all[256];

    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    assert_int_equal(url_encode_segment(str_n(all, 256), &b), 0);
    assert_int_equal(url_decode(buf_str(&b), &back), ERR_SYNTAX); /* control characters inside */
    assert_int_equal(buf_len(&back), 0);
    buf_clear(&b);
    assert_int_equal(url_encode_segment(STR("models/gpt 4o+\xe2\x82\xac%~.-_"), &b), 0);
    assert_str(buf_str(&b), "models%2Fgpt%204o%2B%E2%82%AC%25~.-_");
    assert_int_equal(url_decode(buf_str(&b), &back), 0);
    assert_str(buf_str(&back), "models/gpt 4o+\xe2\x82\xac%~.-_");
    buf_release(&b);
    buf_release(&back);
}

static void test_url__decode_refuses_and_leaves_output(void **state)
{
    static const char *const bad[] = {"%", "%4", "%4g", "%g4", "a%", "%00", "%0a", "a%1f", "%7f", "%c2%80", "%%20"};
    struct buf b = BUF_INIT(100);

    assert_int_equal(buf_add_str(&b, STR("kept")), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (url_decode(str_of(bad[i]), &b) != ERR_SYNTAX)
            fail_msg("'%s' was taken", bad[i]);
        assert_str(buf_str(&b), "kept");
    }
    assert_int_equal(url_decode(STR("a+b%41"), &b), 0);
    assert_str(buf_str(&b), "kepta+bA");
    buf_clear(&b);
    assert_int_equal(url_decode_query(STR("a+b%2B"), &b), 0);
    assert_str(buf_str(&b), "a b+");
    buf_release(&b);
    buf_init(&b, 3);
    assert_int_equal(url_decode(STR("abcd"), &b), ERR_LIMIT);
    buf_release(&b);
}

static void test_url__walks_query(void **state)
{
    struct str q = STR("a=1&&b&c==x&=v&d="), name, value;
    static const char *const expected[][2] = {{"a", "1"}, {"b", ""}, {"c", "=x"}, {"", "v"}, {"d", ""}};
    size_t n = 0;

    while (url_query_next(&q, &name, &value)) {
        assert_true(n < ARRAY_LEN(expected));
        assert_str(name, expected[n][0]);
        assert_str(value, expected[n][1]);
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(expected));
    q = STR_NONE;
    assert_false(url_query_next(&q, &name, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url__splits_all_parts),
        cmocka_unit_test(test_url__knows_default_ports_and_empty_parts),
        cmocka_unit_test(test_url__reads_ip6_and_userinfo),
        cmocka_unit_test(test_url__refuses_the_rest),
        cmocka_unit_test(test_url__refuses_long_names),
        cmocka_unit_test(test_url__knows_proxies),
        cmocka_unit_test(test_url__writes_origin),
        cmocka_unit_test(test_url__percent_coding_goes_both_ways),
        cmocka_unit_test(test_url__decode_refuses_and_leaves_output),
        cmocka_unit_test(test_url__walks_query),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
