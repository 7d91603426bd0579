/* test_id128.c -- order, uniqueness and text form. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/id128.h"
#include "base/map.h"
#include "base/secret.h"

#define PER_THREAD 20000
#define N_THREADS  4

static uint64_t time_of(struct id128 id)
{
    uint64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.bytes[i];
    return ms;
}

static void test_id128__layout(void **state)
{
    uint64_t before = (uint64_t)clock_utc_ms();
    struct id128 id = id128_new();
    uint64_t after = (uint64_t)clock_utc_ms();

    assert_in_range(time_of(id), before, after + 1);
    assert_int_equal(id.bytes[6] >> 4, 7);
    assert_int_equal(id.bytes[8] >> 6, 2);
    assert_false(id128_is_zero(id));
    assert_true(id128_is_zero((struct id128){{0}}));
}

static void test_id128__strictly_increases_past_the_sequence(void **state)
{
    struct id128 last = id128_new();

    /* far more than 4096 in a millisecond: the sequence overflows into the time */
    for (int i = 0; i < 200000; i++) {
        struct id128 id = id128_new();

        assert_true(memcmp(&last, &id, sizeof(id)) < 0);
        last = id;
    }
}

static void *make_many(void *p)
{
    struct id128 *ids = p;

    for (int i = 0; i < PER_THREAD; i++)
        ids[i] = id128_new();
    return NULL;
}

static void test_id128__unique_across_threads(void **state)
{
    static struct id128 ids[N_THREADS][PER_THREAD];
    pthread_t threads[N_THREADS];
    struct map *seen = map_new();

    for (int t = 0; t < N_THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_many, ids[t]), 0);
    for (int t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);
    for (int t = 0; t < N_THREADS; t++)
        for (int i = 0; i < PER_THREAD; i++)
            assert_null(map_set(seen, str_n((char *)ids[t][i].bytes, 16), ids));
    map_free(seen, NULL);
}

static void test_id128__text_and_back(void **state)
{
    struct id128 id = id128_new(), back;
    char text[ID128_TEXT_SIZE];

    id128_text(id, text);
    assert_int_equal(strlen(text), 32);
    assert_int_equal(id128_parse(str_of(text), &back), 0);
    assert_memory_equal(&id, &back, sizeof(id));

    assert_int_equal(id128_parse(str_cut(str_of(text), 0, 31), &back), ERR_SYNTAX);
    assert_int_equal(id128_parse(STR(""), &back), ERR_SYNTAX);
    text[5] = 'g';
    assert_int_equal(id128_parse(str_of(text), &back), ERR_SYNTAX);
    assert_memory_equal(&id, &back, sizeof(id)); /* untouched */
}

static void test_id128__hash_is_the_same_each_time(void **state)
{
    struct id128 a = id128_hash(STR("1:4711")), b = id128_hash(STR("1:4711")),
                 c = id128_hash(STR("1:4712"));
    char text[ID128_TEXT_SIZE];

    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_not_equal(&a, &c, sizeof(a));
    id128_text(id128_hash(STR("abc")), text); /* SHA-256, version 8, variant */
    assert_string_equal(text, "ba7816bf8f018fea814140de5dae2223");
}

static int set_up(void **state)
{
    return secret_global_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id128__layout),
        cmocka_unit_test(test_id128__strictly_increases_past_the_sequence),
        cmocka_unit_test(test_id128__unique_across_threads),
        cmocka_unit_test(test_id128__text_and_back),
        cmocka_unit_test(test_id128__hash_is_the_same_each_time),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
