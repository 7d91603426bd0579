#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/metric.h"
#include "net/egress.h"

static struct egress *make(const char *allow, const char *deny)
{
    struct str allow_list[8], deny_list[8], rest;
    size_t allow_count = 0, deny_count = 0;
    struct egress *e = NULL;
    struct err err = {0};

    for (rest = str_of(allow); allow && str_split(&rest, ' ', &allow_list[allow_count]);)
        allow_count++;
    for (rest = str_of(deny); deny && str_split(&rest, ' ', &deny_list[deny_count]);)
        deny_count++;
    if (egress_new(allow_list, allow_count, deny_list, deny_count, &e, &err) < 0)
        fail_msg("%s", err.text);
    return e;
}

static int check(const struct egress *e, const char *text, bool private_ok)
{
    struct addr a;

    assert_int_equal(addr_parse(str_of(text), &a), 0);
    return egress_check_addr(e, &a, private_ok, NULL);
}

/* Verdict for a literal host in a URL. */
static int check_host(const struct egress *e, const char *host, bool private_ok)
{
    char url[200];

    snprintf(url, sizeof(url), "http://%s:8080/v1", host);
    return egress_check_url(e, str_of(url), private_ok, NULL);
}

static void test_egress__one_verdict_for_all_spellings(void **state)
{
    static const struct {
        bool ok_when_private_ok;
        const char *spellings[12];
    } rows[] = {
        {true, {"127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.", "[::ffff:127.0.0.1]",
                "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]", "localhost", "x.LOCALHOST."}},
        {true, {"10.1.2.3", "167838211", "0x0a010203", "012.1.2.3", "10.66051", "[::ffff:a01:203]", "[64:ff9b::a01:203]",
                "[2002:a01:203::1]", "[::10.1.2.3]"}},
        {false, {"169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "[::ffff:169.254.169.254]",
                 "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[::169.254.169.254]", "[2001:0:808:808::5601:5601]"}},
        {false, {"0.0.0.0", "0", "0x0", "0.0", "[::]", "[::ffff:0:0]", "00000"}},
        {false, {"[fe80::1]", "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255", "[ff02::1]"}},
    };
    struct egress *e = make(NULL, NULL);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < 12 && rows[i].spellings[k]; k++) {
            const char *s = rows[i].spellings[k];

            if (check_host(e, s, false) != ERR_DENIED)
                fail_msg("%s passes without private_ok", s);
            if (check_host(e, s, true) != (rows[i].ok_when_private_ok ? 0 : ERR_DENIED))
                fail_msg("%s: wrong with private_ok", s);
        }
    egress_free(e);
}

static void test_egress__public_addresses_pass(void **state)
{
    struct egress *e = make(NULL, NULL);

    assert_int_equal(check(e, "8.8.8.8", false), 0);
    assert_int_equal(check(e, "2606:4700::1111", false), 0);
    assert_int_equal(check(e, "64:ff9b::8.8.8.8", false), 0);
    assert_int_equal(check(e, "100.64.0.1", true), 0);
    assert_int_equal(check(e, "100.64.0.1", false), ERR_DENIED);
    egress_free(e);
}

static void test_egress__address_of_no_family_is_refused(void **state)
{
    struct egress *e = make(NULL, NULL);
    struct addr none = {0};

    assert_int_equal(egress_check_addr(e, &none, true, NULL), ERR_DENIED);
    egress_free(e);
}

static void test_egress__allow_list_tightens(void **state)
{
    struct egress *e = make("8.8.8.0/24 2001:db8::/32", NULL);

    assert_int_equal(check(e, "8.8.8.8", false), 0);
    assert_int_equal(check(e, "64:ff9b::8.8.8.8", false), 0);
    assert_int_equal(check(e, "2001:db8::5", false), 0);
    assert_int_equal(check(e, "1.1.1.1", true), ERR_DENIED);
    assert_int_equal(check(e, "10.0.0.1", true), ERR_DENIED);
    egress_free(e);
}

static void test_egress__wide_allow_does_not_open_forbidden_or_private(void **state)
{
    struct egress *e = make("0.0.0.0/0 ::/0", NULL);

    assert_int_equal(check(e, "8.8.8.8", false), 0);
    assert_int_equal(check(e, "169.254.169.254", true), ERR_DENIED);
    assert_int_equal(check(e, "0.0.0.0", true), ERR_DENIED);
    assert_int_equal(check(e, "10.0.0.1", false), ERR_DENIED);
    assert_int_equal(check(e, "10.0.0.1", true), 0);
    assert_int_equal(check(e, "::1", false), ERR_DENIED);
    egress_free(e);
}

static void test_egress__allow_opens_what_it_names(void **state)
{
    struct egress *e = make("169.254.169.254/32 10.5.0.0/16 127.0.0.1", NULL);

    assert_int_equal(check(e, "169.254.169.254", false), 0);
    assert_int_equal(check(e, "64:ff9b::169.254.169.254", false), 0);
    assert_int_equal(check(e, "169.254.169.253", true), ERR_DENIED);
    assert_int_equal(check(e, "10.5.1.1", false), 0);
    assert_int_equal(check(e, "10.6.1.1", true), ERR_DENIED);
    assert_int_equal(check_host(e, "0x7f.1", false), 0);
    egress_free(e);
}

static void test_egress__deny_wins(void **state)
{
    struct egress *e = make("8.0.0.0/8", "8.8.0.0/16 10.0.0.0/8");

    assert_int_equal(check(e, "8.9.0.1", false), 0);
    assert_int_equal(check(e, "8.8.8.8", false), ERR_DENIED);
    assert_int_equal(check(e, "64:ff9b::8.8.8.8", false), ERR_DENIED);
    egress_free(e);
    e = make(NULL, "10.0.0.0/8");
    assert_int_equal(check(e, "2002:a00:1::1", true), ERR_DENIED);
    assert_int_equal(check(e, "10.0.0.1", true), ERR_DENIED);
    assert_int_equal(check(e, "192.168.0.1", true), 0);
    egress_free(e);
}

static void test_egress__bad_list_is_named(void **state)
{
    struct egress *e = NULL;
    struct err err = {0};
    struct str bad[] = {STR("10.0.0.0/8"), STR("10.0.0.0/99")};

    assert_int_equal(egress_new(bad, 2, NULL, 0, &e, &err), ERR_SYNTAX);
    assert_string_equal(err.field, "allow");
    assert_non_null(strstr(err.text, "10.0.0.0/99"));
    assert_int_equal(egress_new(NULL, 0, bad, 2, &e, &err), ERR_SYNTAX);
    assert_string_equal(err.field, "deny");
    assert_null(e);
}

static void test_egress__ports_of_other_services_are_refused(void **state)
{
    static const unsigned bad[] = {22, 23, 25, 110, 143, 465, 587, 993, 6379, 11211};
    static const unsigned good[] = {80, 443, 3000, 8080, 8443, 11434, 65535};
    struct egress *e = make(NULL, NULL);
    char url[100];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(url, sizeof(url), "https://api.example.com:%u/", bad[i]);
        if (egress_check_url(e, str_of(url), true, NULL) != ERR_DENIED)
            fail_msg("%s passes", url);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(url, sizeof(url), "https://api.example.com:%u/", good[i]);
        if (egress_check_url(e, str_of(url), false, NULL) != 0)
            fail_msg("%s is refused", url);
    }
    egress_free(e);
}

static void test_egress__unusable_urls_are_refused(void **state)
{
    static const struct {
        const char *url;
        int code;
    } rows[] = {
        {"file:///etc/passwd", ERR_SYNTAX},  {"gopher://h/", ERR_SYNTAX},        {"ftp://h/", ERR_SYNTAX},
        {"http://u:p@h/", ERR_DENIED},       {"http://h/\r\nX: y", ERR_SYNTAX},  {"http://4294967297/", ERR_SYNTAX},
        {"http://1.2.3.4.5/", ERR_SYNTAX},   {"http://256.0.0.1/", ERR_SYNTAX},  {"http://127.0.0.09/", ERR_SYNTAX},
        {"http://127.0.0.1%2f/", ERR_SYNTAX}, {"https://api.example.com/v1", 0}, {"https://localhost.example.com/", 0},
    };
    struct egress *e = make(NULL, NULL);
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (egress_check_url(e, str_of(rows[i].url), false, &err) != rows[i].code)
            fail_msg("%s: %s", rows[i].url, err.text);
    egress_free(e);
}

static void test_egress__reason_is_told_and_refusals_counted(void **state)
{
    struct egress *e = make(NULL, NULL);
    struct addr a;
    struct err err = {0};
    uint64_t before = metric_value(METRIC_EGRESS_REFUSED, 0);

    assert_int_equal(addr_parse(STR("169.254.169.254"), &a), 0);
    assert_int_equal(egress_check_addr(e, &a, true, &err), ERR_DENIED);
    assert_non_null(strstr(err.text, "169.254.169.254"));
    assert_non_null(strstr(err.text, "metadata"));
    assert_int_equal(metric_value(METRIC_EGRESS_REFUSED, 0), before + 1);
    egress_free(e);
    egress_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_egress__one_verdict_for_all_spellings),
        cmocka_unit_test(test_egress__public_addresses_pass),
        cmocka_unit_test(test_egress__address_of_no_family_is_refused),
        cmocka_unit_test(test_egress__allow_list_tightens),
        cmocka_unit_test(test_egress__wide_allow_does_not_open_forbidden_or_private),
        cmocka_unit_test(test_egress__allow_opens_what_it_names),
        cmocka_unit_test(test_egress__deny_wins),
        cmocka_unit_test(test_egress__bad_list_is_named),
        cmocka_unit_test(test_egress__ports_of_other_services_are_refused),
        cmocka_unit_test(test_egress__unusable_urls_are_refused),
        cmocka_unit_test(test_egress__reason_is_told_and_refusals_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
