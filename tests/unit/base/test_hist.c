/* test_hist.c -- bucket bounds, quantiles within their promise, and the storage form. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/hist.h"

static void test_hist__buckets_cover_all_values(void **state)
{
    assert_int_equal(hist_lower_us(0), 0);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t lower = hist_lower_us(i), next = hist_lower_us(i + 1);

        assert_true(next > lower);
        assert_int_equal(hist_index(lower), i);
        assert_int_equal(hist_index(next - 1), i);
        assert_true((next - lower - 1) * 8 <= lower); /* within 12.5 % */
    }
    assert_true(hist_lower_us(HIST_BUCKETS) == UINT64_C(1) << 40);
    assert_int_equal(hist_index(UINT64_C(1) << 40), HIST_BUCKETS - 1);
    assert_int_equal(hist_index(UINT64_MAX), HIST_BUCKETS - 1);
}

static void test_hist__empty_has_no_quantile(void **state)
{
    struct hist h = {0};

    assert_int_equal(hist_quantile_us(&h, 0.5), 0);
    assert_int_equal(hist_quantile_us(&h, 1), 0);
    hist_add(&h, 100, 0);
    assert_int_equal(h.count, 0);
    assert_int_equal(h.sum_us, 0);
}

static void test_hist__quantiles_of_a_known_spread(void **state)
{
    struct hist h = {0};

    for (uint64_t v = 1; v <= 100000; v++)
        hist_add(&h, v, 1);
    assert_int_equal(h.count, 100000);
    assert_true(h.sum_us == UINT64_C(5000050000));
    for (int percent = 1; percent <= 100; percent++) {
        double want = percent * 1000.0;
        double got = (double)hist_quantile_us(&h, percent / 100.0);

        /* values are spread evenly, so interpolation does better than the promise, except in the
         * last bucket, which they fill in part only */
        assert_true(fabs(got - want) <= want * (percent < 99 ? 0.01 : 0.125));
    }
}

static void test_hist__quantile_clamps_its_argument(void **state)
{
    struct hist h = {0};

    hist_add(&h, 3, 1);
    hist_add(&h, 7, 1);
    assert_int_equal(hist_quantile_us(&h, -1), 3);
    assert_int_equal(hist_quantile_us(&h, 0), 3);
    assert_int_equal(hist_quantile_us(&h, 0.5), 3);
    assert_int_equal(hist_quantile_us(&h, 0.51), 7);
    assert_int_equal(hist_quantile_us(&h, 1), 7);
    assert_int_equal(hist_quantile_us(&h, 2), 7);
    assert_int_equal(hist_quantile_us(&h, (double)NAN), 3);
}

static void test_hist__small_values_are_exact(void **state)
{
    for (uint64_t v = 0; v < 16; v++) {
        struct hist h = {0};

        hist_add(&h, v, 5);
        assert_int_equal(hist_quantile_us(&h, 0.01), v);
        assert_int_equal(hist_quantile_us(&h, 1), v);
    }
}

static void test_hist__full_bucket_keeps_count_exact(void **state)
{
    struct hist h = {0};

    hist_add(&h, 10, UINT32_MAX - 1);
    hist_add(&h, 10, 5);
    assert_int_equal(h.bucket[hist_index(10)], UINT32_MAX);
    assert_true(h.count == UINT32_MAX);
    hist_add(&h, UINT64_MAX, 2);
    assert_true(h.sum_us == UINT64_MAX);
    assert_true(h.count == (uint64_t)UINT32_MAX + 2);
}

static void fill(struct hist *h, uint64_t seed)
{
    for (int i = 0; i < 1000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        hist_add(h, seed >> (seed >> 58), (uint32_t)(seed >> 20 & 3));
    }
}

static void assert_same(const struct hist *a, const struct hist *b)
{
    assert_true(a->count == b->count);
    assert_true(a->sum_us == b->sum_us);
    assert_memory_equal(a->bucket, b->bucket, sizeof(a->bucket));
}

static void test_hist__merge_is_the_sum(void **state)
{
    struct hist one = {0}, other = {0}, both = {0};

    for (uint64_t v = 1; v < 5000; v += 3) {
        hist_add(v % 2 ? &one : &other, v * v, 2);
        hist_add(&both, v * v, 2);
    }
    hist_merge(&one, &other);
    assert_same(&one, &both);
}

static void test_hist__storage_round_trip(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct hist h = {0}, back = {0}, twice = {0};
        struct buf b = BUF_INIT(4096);

        if (seed != 0)
            fill(&h, seed);
        assert_int_equal(hist_encode(&h, &b), 0);
        assert_int_equal(hist_decode_add(buf_str(&b), &back), 0);
        assert_same(&h, &back);
        assert_int_equal(hist_decode_add(buf_str(&b), &back), 0);
        hist_merge(&twice, &h);
        hist_merge(&twice, &h);
        assert_same(&twice, &back);
        buf_release(&b);
    }
}

static void test_hist__storage_form_is_what_it_was(void **state)
{
    struct hist h = {0};
    struct buf b = BUF_INIT(100);

    assert_int_equal(hist_encode(&h, &b), 0);
    assert_true(str_eq(buf_str(&b), STR("\x01\x00\x00")));
    buf_clear(&b);
    hist_add(&h, 0, 1);
    hist_add(&h, 1000, 300); /* bucket 63: 960 .. 1023 */
    assert_int_equal(hist_encode(&h, &b), 0);
    assert_true(str_eq(buf_str(&b), STR("\x01\xad\x02\xe0\xa7\x12\x01\x01\x3f\xac\x02")));
    buf_release(&b);
}

static void test_hist__largest_form_has_its_size(void **state)
{
    struct hist h = {0};
    struct buf b = BUF_INIT(2149), small = BUF_INIT(100);

    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        hist_add(&h, hist_lower_us(i), UINT32_MAX);
    h.sum_us = UINT64_MAX;
    assert_int_equal(hist_encode(&h, &b), 0);
    assert_int_equal(hist_encode(&h, &small), ERR_LIMIT);
    assert_int_equal(buf_len(&small), 0);

    struct hist back = {0};

    assert_int_equal(hist_decode_add(buf_str(&b), &back), 0);
    assert_same(&h, &back);
    buf_release(&b);
    buf_release(&small);
}

static void test_hist__damaged_forms_change_nothing(void **state)
{
    static const struct str bad[] = {
        STR_INIT(""),
        STR_INIT("\x01"),
        STR_INIT("\x01\x00"),
        STR_INIT("\x02\x00\x00"),                                     /* unknown version */
        STR_INIT("\x01\x01\x00"),                                     /* count without buckets */
        STR_INIT("\x01\x00\x00\x01\x01"),                             /* buckets without count */
        STR_INIT("\x01\x01\x00\x00\x01"),                             /* no step */
        STR_INIT("\x01\x00\x00\x01\x00"),                             /* empty bucket */
        STR_INIT("\x01\x01\x00\x01"),                                 /* half a pair */
        STR_INIT("\x01\x01\x00\xb1\x02\x01"),                         /* bucket 304 */
        STR_INIT("\x01\x01\x00\xb0\x02\x01\x01\x01"),                 /* past the last */
        STR_INIT("\x01\x81\x00\x00\x01\x01"),                         /* count in a longer form */
        STR_INIT("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00"), /* 65 bits */
        STR_INIT("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"),
        STR_INIT("\x01\x80\x80\x80\x80\x10\x00\x01\x80\x80\x80\x80\x10"), /* 2^32 in a bucket */
    };
    struct hist h = {0}, before = {0};

    hist_add(&h, 5, 5);
    before = h;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(hist_decode_add(bad[i], &h), ERR_SYNTAX);
        assert_same(&h, &before);
    }
    assert_int_equal(hist_decode_add(STR("\x01\x01\x00\xb0\x02\x01"), &h), 0); /* bucket 303 */
    assert_int_equal(h.bucket[HIST_BUCKETS - 1], 1);
}

static void test_hist__every_prefix_is_refused(void **state)
{
    struct hist h = {0};
    struct buf b = BUF_INIT(4096);

    fill(&h, 42);
    assert_int_equal(hist_encode(&h, &b), 0);
    for (size_t n = 0; n < buf_len(&b); n++) {
        struct hist back = {0}, zero = {0};
        CLEANUP(xfree_charp) char *exact = xmalloc(n); /* no byte behind it to read */

        memcpy(exact, buf_cstr(&b), n);
        assert_int_equal(hist_decode_add(str_n(exact, n), &back), ERR_SYNTAX);
        assert_same(&back, &zero);
    }
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hist__buckets_cover_all_values),
        cmocka_unit_test(test_hist__empty_has_no_quantile),
        cmocka_unit_test(test_hist__quantiles_of_a_known_spread),
        cmocka_unit_test(test_hist__quantile_clamps_its_argument),
        cmocka_unit_test(test_hist__small_values_are_exact),
        cmocka_unit_test(test_hist__full_bucket_keeps_count_exact),
        cmocka_unit_test(test_hist__merge_is_the_sum),
        cmocka_unit_test(test_hist__storage_round_trip),
        cmocka_unit_test(test_hist__storage_form_is_what_it_was),
        cmocka_unit_test(test_hist__largest_form_has_its_size),
        cmocka_unit_test(test_hist__damaged_forms_change_nothing),
        cmocka_unit_test(test_hist__every_prefix_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
