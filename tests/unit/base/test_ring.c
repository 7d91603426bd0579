/* test_ring.c -- records come out whole, in order, in place; and do so between two threads. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/ring.h"

static void test_ring__capacity_is_a_power_of_two(void **state)
{
    static const struct {
        size_t asked, want;
    } rows[] = {{0, 64}, {64, 64}, {65, 128}, {4096, 4096}, {5000, 8192}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ring *r = ring_new(rows[i].asked);

        assert_int_equal(ring_capacity_bytes(r), rows[i].want);
        assert_int_equal(ring_used_bytes(r), 0);
        ring_free(r);
    }
    ring_free(NULL);
}

static void test_ring__first_in_first_out(void **state)
{
    struct ring *r = ring_new(256);
    struct str record = STR_NONE;

    assert_false(ring_peek(r, &record));
    assert_int_equal(ring_push(r, "one", 3), 0);
    assert_int_equal(ring_push(r, NULL, 0), 0);
    assert_int_equal(ring_push(r, "three", 5), 0);
    assert_int_equal(ring_used_bytes(r), 8 + 8 + 16);
    assert_true(ring_peek(r, &record));
    assert_true(str_eq_c(record, "one"));
    assert_true(ring_peek(r, &record)); /* a look takes nothing */
    assert_true(str_eq_c(record, "one"));
    ring_pop(r);
    assert_true(ring_peek(r, &record));
    assert_int_equal(record.len, 0);
    ring_pop(r);
    assert_true(ring_peek(r, &record));
    assert_true(str_eq_c(record, "three"));
    ring_pop(r);
    assert_false(ring_peek(r, &record));
    assert_int_equal(ring_used_bytes(r), 0);
    ring_free(r);
}

static void test_ring__full_is_busy_and_writes_nothing(void **state)
{
    struct ring *r = ring_new(64);
    struct str record = STR_NONE;

    for (int i = 0; i < 8; i++)
        assert_int_equal(ring_push(r, "1234", 4), 0);
    assert_int_equal(ring_push(r, "x", 1), ERR_BUSY);
    assert_int_equal(ring_used_bytes(r), 64);
    for (int i = 0; i < 8; i++) {
        assert_true(ring_peek(r, &record));
        assert_true(str_eq_c(record, "1234"));
        ring_pop(r);
        assert_int_equal(ring_push(r, "1234", 4), 0);
        assert_int_equal(ring_push(r, "x", 1), ERR_BUSY);
    }
    ring_free(r);
}

static void test_ring__too_long_is_a_limit(void **state)
{
    struct ring *r = ring_new(256);
    char bytes[65] = {0};

    assert_int_equal(ring_push(r, bytes, 65), ERR_LIMIT);
    assert_int_equal(ring_used_bytes(r), 0);
    assert_int_equal(ring_push(r, bytes, 64), 0);
    ring_free(r);
}

/* The longest record fits an empty ring wherever in the lap it begins. */
static void test_ring__longest_record_fits_at_every_offset(void **state)
{
    for (size_t capacity = 64; capacity <= 1024; capacity *= 2) {
        struct ring *r = ring_new(capacity);
        char bytes[256], copy[256];
        struct str record = STR_NONE;

        for (size_t turn = 0; turn < 300; turn++) {
            memset(bytes, (int)(turn & 0xff), sizeof(bytes));
            memcpy(copy, bytes, sizeof(copy));
            assert_int_equal(ring_push(r, bytes, capacity / 4), 0);
            assert_true(ring_peek(r, &record));
            assert_true(str_eq(record, str_n(copy, capacity / 4)));
            ring_pop(r);
            assert_int_equal(ring_push(r, "x", 1), 0); /* moves the next one by 8 */
            ring_pop(r);
        }
        assert_int_equal(ring_used_bytes(r), 0);
        ring_free(r);
    }
}

static void test_ring__walks_before_it_releases(void **state)
{
    struct ring *r = ring_new(64);
    struct str record = STR_NONE;
    uint64_t cursor = 0;

    assert_false(ring_peek_next(r, &cursor, &record));
    ring_pop_to(r, cursor); /* nothing was passed */
    for (int lap = 0; lap < 20; lap++) {
        assert_int_equal(ring_push(r, "aaaaaaaaaaaa", 12), 0);
        assert_int_equal(ring_push(r, "bb", 2), 0);
        assert_int_equal(ring_push(r, "c", 1), 0);
        cursor = 0;
        assert_true(ring_peek_next(r, &cursor, &record));
        assert_true(str_eq_c(record, "aaaaaaaaaaaa"));
        assert_true(ring_peek_next(r, &cursor, &record));
        assert_true(str_eq_c(record, "bb"));
        assert_true(ring_peek(r, &record)); /* still there */
        assert_true(str_eq_c(record, "aaaaaaaaaaaa"));
        ring_pop_to(r, cursor);
        assert_true(ring_peek(r, &record));
        assert_true(str_eq_c(record, "c"));
        assert_true(ring_peek_next(r, &cursor, &record)); /* the same walk goes on */
        assert_true(str_eq_c(record, "c"));
        assert_false(ring_peek_next(r, &cursor, &record));
        ring_pop_to(r, cursor);
        assert_int_equal(ring_used_bytes(r), 0);
    }
    ring_free(r);
}

#define STREAM_RECORDS 200000

/* Record i: its number, then i % 100 bytes made from it. */
static size_t make_record(uint32_t i, unsigned char out[128])
{
    size_t n = sizeof(i) + i % 100;

    memcpy(out, &i, sizeof(i));
    memset(out + sizeof(i), (int)(i * 31 & 0xff), n - sizeof(i));
    return n;
}

static void *produce(void *arg)
{
    struct ring *r = arg;
    unsigned char record[128];

    for (uint32_t i = 0; i < STREAM_RECORDS; i++) {
        size_t n = make_record(i, record);

        while (ring_push(r, record, n) == ERR_BUSY)
            sched_yield();
    }
    return NULL;
}

/* Consumer half: takes one record at a time or batches by walking, in turns. */
static void test_ring__two_threads_see_every_record_once(void **state)
{
    struct ring *r = ring_new(4096);
    pthread_t producer;
    uint32_t next = 0;
    size_t wrong = 0;

    assert_int_equal(pthread_create(&producer, NULL, produce, r), 0);
    while (next < STREAM_RECORDS) {
        unsigned char want[128];
        struct str record = STR_NONE;
        uint64_t cursor = 0;
        uint32_t batch = next % 7 + 1;

        while (batch > 0 && ring_peek_next(r, &cursor, &record)) {
            size_t n = make_record(next, want);

            wrong += !str_eq(record, str_n((const char *)want, n));
            next++;
            batch--;
        }
        ring_pop_to(r, cursor);
        assert_true(ring_used_bytes(r) <= ring_capacity_bytes(r));
        if (ring_peek(r, &record)) {
            size_t n = make_record(next, want);

            wrong += !str_eq(record, str_n((const char *)want, n));
            next++;
            ring_pop(r);
        } else {
            sched_yield();
        }
    }
    pthread_join(producer, NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(next, STREAM_RECORDS);
    assert_int_equal(ring_used_bytes(r), 0);
    ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring__capacity_is_a_power_of_two),
        cmocka_unit_test(test_ring__first_in_first_out),
        cmocka_unit_test(test_ring__full_is_busy_and_writes_nothing),
        cmocka_unit_test(test_ring__too_long_is_a_limit),
        cmocka_unit_test(test_ring__longest_record_fits_at_every_offset),
        cmocka_unit_test(test_ring__walks_before_it_releases),
        cmocka_unit_test(test_ring__two_threads_see_every_record_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
