#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/addr.h"

#include <netinet/in.h>
#include <sys/un.h>

static struct addr must_parse(const char *text)
{
    struct addr a = {0};

    assert_int_equal(addr_parse(str_of(text), &a), 0);
    return a;
}

static struct addr_cidr must_cidr(const char *text)
{
    struct addr_cidr c = {0};

    assert_int_equal(addr_parse_cidr(str_of(text), &c), 0);
    return c;
}

static void assert_text(const struct addr *a, const char *expected)
{
    char text[ADDR_TEXT_SIZE];

    addr_text(a, text);
    assert_string_equal(text, expected);
}

static void test_addr__reads_and_writes_both_families(void **state)
{
    struct addr a = must_parse("192.168.1.20");

    assert_int_equal(a.family, 4);
    assert_text(&a, "192.168.1.20");
    a = must_parse("2001:DB8::00ff");
    assert_int_equal(a.family, 6);
    assert_text(&a, "2001:db8::ff");
    a = (struct addr){0};
    assert_text(&a, "-");
}

static void test_addr__folds_mapped_ip6(void **state)
{
    struct addr a = must_parse("::ffff:10.1.2.3"), b = must_parse("10.1.2.3"), c = must_parse("::FFFF:0a01:0203");

    assert_true(addr_eq(&a, &b));
    assert_true(addr_eq(&c, &b));
}

static void test_addr__refuses_what_is_no_address(void **state)
{
    static const char *const bad[] = {"",          "1.2.3",     "1.2.3.4.5", "1.2.3.256", "01.2.3.4",    "1.2.3.4 ",
                                      " 1.2.3.4",  "0x7f.1",    "127.1",     "[::1]",     "::1%lo",      "::1%1",
                                      ":::",       "1::2::3",   "12345::",   "::1/64",    "1.2.3.4:80",  "localhost",
                                      "::ffff:1.2.3", "1:2:3:4:5:6:7:8:9", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
    struct addr a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (addr_parse(str_of(bad[i]), &a) == 0)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(addr_parse(str_n("1.2.3.4\0", 8), &a), ERR_SYNTAX);
}

static void test_addr__reads_cidr(void **state)
{
    struct addr_cidr c = must_cidr("10.9.8.7/8");
    struct addr in = must_parse("10.200.0.1"), out = must_parse("11.0.0.1"), six = must_parse("a00::1");

    assert_int_equal(c.bits, 8);
    assert_text(&c.base, "10.0.0.0");
    assert_true(addr_in(&in, &c));
    assert_false(addr_in(&out, &c));
    assert_false(addr_in(&six, &c));
    c = must_cidr("::1");
    assert_int_equal(c.bits, 128);
    c = must_cidr("1.2.3.4");
    assert_int_equal(c.bits, 32);
    c = must_cidr("::ffff:10.0.0.0/104");
    assert_int_equal(c.base.family, 4);
    assert_int_equal(c.bits, 8);
    assert_true(addr_in(&in, &c));
    c = must_cidr("0.0.0.0/0");
    assert_true(addr_in(&out, &c));
    c = must_cidr("2001:db8:ffff::/33");
    assert_text(&c.base, "2001:db8:8000::");
}

static void test_addr__refuses_bad_cidr(void **state)
{
    static const char *const bad[] = {"/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "10.0.0.0/ 8"};
    struct addr_cidr c;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (addr_parse_cidr(str_of(bad[i]), &c) == 0)
            fail_msg("'%s' was taken", bad[i]);
}

static void test_addr__takes_every_prefix_length(void **state)
{
    struct addr a = must_parse("255.255.255.255");

    for (unsigned bits = 0; bits <= 32; bits++) {
        struct addr_cidr c = {.base = a, .bits = (uint8_t)bits};
        struct addr b = a;

        assert_true(addr_in(&b, &c));
        if (bits == 0)
            continue;
        b.bytes[(bits - 1) / 8] ^= (uint8_t)(0x80u >> ((bits - 1) % 8));
        assert_false(addr_in(&b, &c));
    }
}

static void test_addr__loose_takes_each_spelling_of_loopback(void **state)
{
    static const char *const same[] = {"127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001",
                                       "0177.0.0.01", "127.0.0.1.", "0X7F.0x0.0x0.0x1", "00000177.1", "2130706433."};
    struct addr expected = must_parse("127.0.0.1"), a;

    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        a = (struct addr){0};
        if (addr_parse_loose(str_of(same[i]), &a) != 0 || !addr_eq(&a, &expected))
            fail_msg("'%s' is not seen as loopback", same[i]);
    }
    assert_int_equal(addr_parse_loose(STR("1.2.3"), &a), 0);
    assert_text(&a, "1.2.0.3");
    assert_int_equal(addr_parse_loose(STR("1.65535"), &a), 0);
    assert_text(&a, "1.0.255.255");
    assert_int_equal(addr_parse_loose(STR("4294967295"), &a), 0);
    assert_text(&a, "255.255.255.255");
}

static void test_addr__loose_tells_names_from_broken_numbers(void **state)
{
    static const char *const names[] = {"example.com", "a", "1.example", "0x7f.com", "12a", "0xg", "", ".", "x0x1"};
    static const char *const broken[] = {"4294967296", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.16777216", "08", "a.b.1", "1..2", "foo.0x1", "09.1.1.1", "99999999999999999999999"};
    struct addr a;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (addr_parse_loose(str_of(names[i]), &a) != ERR_NOTFOUND)
            fail_msg("'%s' is not a name", names[i]);
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        if (addr_parse_loose(str_of(broken[i]), &a) != ERR_SYNTAX)
            fail_msg("'%s' is not refused", broken[i]);
}

static void test_addr__reads_sockaddr(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr.s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct addr a = addr_from_sockaddr((const struct sockaddr *)&in), b = addr_from_sockaddr((const struct sockaddr *)&in6);

    assert_text(&a, "10.0.0.1");
    assert_true(addr_eq(&a, &b));
    a = addr_from_sockaddr((const struct sockaddr *)&un);
    assert_int_equal(a.family, 0);
    a = addr_from_sockaddr(NULL);
    assert_int_equal(a.family, 0);
    assert_true(addr_is_forbidden(&a));
    assert_false(addr_is_loopback(&a));
}

enum kind { LOOPBACK = 1, PRIVATE = 2, LINK_LOCAL = 4, FORBIDDEN = 8 };

static void test_addr__classifies(void **state)
{
    static const struct {
        const char *text;
        unsigned kinds;
    } rows[] = {
        {"8.8.8.8", 0},
        {"127.0.0.1", LOOPBACK},
        {"127.255.0.9", LOOPBACK},
        {"::1", LOOPBACK},
        {"10.0.0.0", PRIVATE},
        {"172.15.255.255", 0},
        {"172.16.0.0", PRIVATE},
        {"172.31.255.255", PRIVATE},
        {"172.32.0.0", 0},
        {"192.168.255.1", PRIVATE},
        {"100.63.255.255", 0},
        {"100.64.0.1", PRIVATE},
        {"100.127.255.255", PRIVATE},
        {"100.128.0.0", 0},
        {"100.100.100.200", PRIVATE | FORBIDDEN},
        {"fc00::1", PRIVATE},
        {"fdff::1", PRIVATE},
        {"fec0::1", PRIVATE},
        {"169.254.169.254", LINK_LOCAL | FORBIDDEN},
        {"fe80::1", LINK_LOCAL | FORBIDDEN},
        {"febf::1", LINK_LOCAL | FORBIDDEN},
        {"0.0.0.0", FORBIDDEN},
        {"0.1.2.3", FORBIDDEN},
        {"::", FORBIDDEN},
        {"224.0.0.1", FORBIDDEN},
        {"240.0.0.1", FORBIDDEN},
        {"255.255.255.255", FORBIDDEN},
        {"192.0.0.192", FORBIDDEN},
        {"ff02::1", FORBIDDEN},
        {"100::1", FORBIDDEN},
        {"fd00:ec2::254", PRIVATE | FORBIDDEN},
        {"fd20:ce::254", PRIVATE | FORBIDDEN},
        {"2606:4700::1111", 0},
        {"64:ff9b::169.254.169.254", FORBIDDEN},
        {"64:ff9b:1::a9fe:a9fe", FORBIDDEN},
        {"64:ff9b::8.8.8.8", 0},
        {"2002:a9fe:a9fe::1", FORBIDDEN},
        {"2002:0808:0808::1", 0},
        {"2001:0:808:808::5601:5601", FORBIDDEN}, /* Teredo client 169.254.169.254, inverted */
        {"2001:0:a9fe:1::f7f7:f7f7", FORBIDDEN},  /* Teredo server in 169.254/16 */
        {"2001:0:808:808::f7f7:f7f7", 0},
        {"::169.254.1.1", FORBIDDEN},
        {"::8.8.8.8", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = must_parse(rows[i].text);
        unsigned kinds = (addr_is_loopback(&a) ? LOOPBACK : 0u) | (addr_is_private(&a) ? PRIVATE : 0u) |
                         (addr_is_link_local(&a) ? LINK_LOCAL : 0u) | (addr_is_forbidden(&a) ? FORBIDDEN : 0u);

        if (kinds != rows[i].kinds)
            fail_msg("%s: kinds %u, expected %u", rows[i].text, kinds, rows[i].kinds);
    }
}

static void test_addr__block_is_inside_one_range_or_not(void **state)
{
    static const struct {
        const char *text;
        bool is_forbidden, is_private;
    } rows[] = {
        {"0.0.0.0/0", false, false},  {"169.254.0.0/16", true, false}, {"169.254.169.254/32", true, false},
        {"169.0.0.0/8", false, false}, {"10.0.0.0/8", false, true},    {"10.0.0.0/7", false, false},
        {"127.0.0.1", false, true},   {"::/0", false, false},          {"fc00::/7", false, true},
        {"fe80::/64", true, false},   {"64:ff9b::a9fe:a9fe", true, false}, {"64:ff9b::/96", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr_cidr c = must_cidr(rows[i].text);

        if (addr_cidr_is_forbidden(&c) != rows[i].is_forbidden || addr_cidr_is_private(&c) != rows[i].is_private)
            fail_msg("%s", rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr__reads_and_writes_both_families),
        cmocka_unit_test(test_addr__folds_mapped_ip6),
        cmocka_unit_test(test_addr__refuses_what_is_no_address),
        cmocka_unit_test(test_addr__reads_cidr),
        cmocka_unit_test(test_addr__refuses_bad_cidr),
        cmocka_unit_test(test_addr__takes_every_prefix_length),
        cmocka_unit_test(test_addr__loose_takes_each_spelling_of_loopback),
        cmocka_unit_test(test_addr__loose_tells_names_from_broken_numbers),
        cmocka_unit_test(test_addr__reads_sockaddr),
        cmocka_unit_test(test_addr__classifies),
        cmocka_unit_test(test_addr__block_is_inside_one_range_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
