#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/http_private.h"

static struct addr address(const char *text)
{
    struct addr a = {0};

    assert_int_equal(addr_parse(str_of(text), &a), 0);
    return a;
}

static struct http_shared *make(size_t total, size_t per_address)
{
    struct http_limits limits = {.connections = total, .connections_per_address = per_address};

    return http_shared_new(&limits);
}

static void test_http_shared__bounds_the_total(void **state)
{
    struct http_shared *s = make(2, 10);
    struct addr a = address("1.2.3.4");

    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &a, true), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &a, true), HTTP_SHARED_FULL);
    http_shared_remove(s, &a, true);
    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    http_shared_free(s);
    http_shared_free(NULL);
}

static void test_http_shared__bounds_one_address_and_no_other(void **state)
{
    struct http_shared *s = make(100, 2);
    struct addr a = address("1.2.3.4"), b = address("1.2.3.5");

    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_ADDRESS_FULL);
    assert_int_equal(http_shared_add(s, &a, true), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &b, false), HTTP_SHARED_OK);
    http_shared_remove(s, &a, false);
    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    http_shared_free(s);
}

static void test_http_shared__counts_networks_of_ipv6(void **state)
{
    struct http_shared *s = make(100, 1);
    struct addr a = address("2001:db8:1:2::1"), same = address("2001:db8:1:2:ffff::9");
    struct addr other = address("2001:db8:1:3::1");

    assert_int_equal(http_shared_add(s, &a, false), HTTP_SHARED_OK);
    assert_int_equal(http_shared_add(s, &same, false), HTTP_SHARED_ADDRESS_FULL);
    assert_int_equal(http_shared_add(s, &other, false), HTTP_SHARED_OK);
    http_shared_free(s);
}

/* Against plain counters, with many addresses in few rows so that probing and shifting happen. */
static void test_http_shared__table_stays_right_under_churn(void **state)
{
    enum { ADDRESSES = 120, CAP = 3 };
    struct http_shared *s = make(64, CAP);
    struct addr addresses[ADDRESSES];
    unsigned counts[ADDRESSES] = {0};
    unsigned total = 0;
    uint32_t seed = 7;

    for (unsigned i = 0; i < ADDRESSES; i++) {
        char text[32];

        snprintf(text, sizeof(text), "10.0.%u.%u", i / 16, i);
        addresses[i] = address(text);
    }
    for (unsigned round = 0; round < 200000; round++) {
        seed = seed * 1664525 + 1013904223;

        unsigned i = (seed >> 8) % ADDRESSES;

        if (seed >> 31 && counts[i] > 0) {
            http_shared_remove(s, &addresses[i], false);
            counts[i]--;
            total--;
            continue;
        }

        enum http_shared_verdict want = total == 64         ? HTTP_SHARED_FULL
                                        : counts[i] == CAP ? HTTP_SHARED_ADDRESS_FULL
                                                           : HTTP_SHARED_OK;

        assert_int_equal(http_shared_add(s, &addresses[i], false), want);
        if (want == HTTP_SHARED_OK) {
            counts[i]++;
            total++;
        }
    }
    http_shared_free(s);
}

static void test_http_shared__bounds_the_bytes_of_all(void **state)
{
    struct http_limits limits = {.connections = 10, .buffer_bytes = 1000};
    struct http_shared *s = http_shared_new(&limits);

    assert_true(http_shared_hold(s, 1000));
    assert_false(http_shared_hold(s, 1)); /* counted all the same */
    http_shared_let_go(s, 1);
    http_shared_let_go(s, 500);
    assert_true(http_shared_hold(s, 500));
    http_shared_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_shared__bounds_the_total),
        cmocka_unit_test(test_http_shared__bounds_one_address_and_no_other),
        cmocka_unit_test(test_http_shared__counts_networks_of_ipv6),
        cmocka_unit_test(test_http_shared__table_stays_right_under_churn),
        cmocka_unit_test(test_http_shared__bounds_the_bytes_of_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
