/* test_map.c -- both maps against a plain array that says what must be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"

#define KEYS 500

static char values[KEYS]; /* their addresses are the values */
static size_t freed;

static void count_freed(void *value)
{
    assert_true((char *)value >= values && (char *)value < values + KEYS);
    freed++;
}

/* xorshift64: the same steps in every run */
static uint64_t step(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static struct str key_text(size_t i, char out[32])
{
    int n = snprintf(out, 32, "key-%zu", i);

    return str_n(out, (size_t)n);
}

static void test_map__set_get_del(void **state)
{
    struct map *m = map_new();
    char key[] = "gpt";

    assert_null(map_get(m, STR("gpt")));
    assert_null(map_del(m, STR("gpt")));
    assert_null(map_set(m, str_of(key), &values[0]));
    key[0] = 'X'; /* the map has a copy */
    assert_ptr_equal(map_get(m, STR("gpt")), &values[0]);
    assert_null(map_get(m, STR("gp")));
    assert_null(map_get(m, STR("gpt\0")));
    assert_ptr_equal(map_set(m, STR("gpt"), &values[1]), &values[0]);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_del(m, STR("gpt")), &values[1]);
    assert_null(map_get(m, STR("gpt")));
    assert_int_equal(map_count(m), 0);
    map_free(m, NULL);
}

static void test_map__keys_are_any_bytes(void **state)
{
    struct map *m = map_new();

    map_set(m, STR_NONE, &values[0]);
    map_set(m, STR("a\0b"), &values[1]);
    map_set(m, STR("a\0c"), &values[2]);
    assert_int_equal(map_count(m), 3);
    assert_ptr_equal(map_get(m, STR("")), &values[0]);
    assert_ptr_equal(map_get(m, STR("a\0b")), &values[1]);
    assert_ptr_equal(map_get(m, STR("a\0c")), &values[2]);
    assert_ptr_equal(map_del(m, STR_NONE), &values[0]);
    assert_null(map_get(m, STR("")));
    map_free(m, NULL);
}

static void test_map__del_by_the_key_of_the_map(void **state)
{
    struct map *m = map_new();
    struct str key = STR_NONE;
    size_t it = 0;

    map_set(m, STR("only"), &values[3]);
    assert_true(map_next(m, &it, &key, NULL));
    assert_ptr_equal(map_del(m, key), &values[3]); /* frees what `key` points at */
    assert_int_equal(map_count(m), 0);
    map_free(m, NULL);
}

static void test_map__free_frees_values(void **state)
{
    struct map *m = map_new();
    struct map_id *ids = map_id_new();
    char text[32];

    for (size_t i = 0; i < KEYS; i++) {
        map_set(m, key_text(i, text), &values[i]);
        map_id_set(ids, i, &values[i]);
    }
    freed = 0;
    map_free(m, count_freed);
    assert_int_equal(freed, KEYS);
    map_id_free(ids, count_freed);
    assert_int_equal(freed, 2 * KEYS);
    map_free(NULL, count_freed);
    map_id_free(NULL, count_freed);
}

static void test_map__agrees_with_an_array(void **state)
{
    struct map *m = map_new();
    void *want[KEYS] = {0};
    size_t count = 0;
    uint64_t x = 88172645463325252U;
    char text[32];

    for (int turn = 0; turn < 60000; turn++) {
        size_t i = step(&x) % KEYS;
        void *value = &values[step(&x) % KEYS];
        bool is_set = step(&x) % 100 < (turn / 10000 % 2 ? 30 : 70); /* waves of growth and decay */
        void *old = is_set ? map_set(m, key_text(i, text), value) : map_del(m, key_text(i, text));

        assert_ptr_equal(old, want[i]);
        count += is_set && !old;
        count -= !is_set && old;
        want[i] = is_set ? value : NULL;
        assert_int_equal(map_count(m), count);
        i = step(&x) % KEYS;
        assert_ptr_equal(map_get(m, key_text(i, text)), want[i]);
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(m, key_text(i, text)), want[i]);
    map_free(m, NULL);
}

static void test_map_id__agrees_with_an_array(void **state)
{
    struct map_id *m = map_id_new();
    void *want[KEYS] = {0};
    size_t count = 0;
    uint64_t x = 88172645463325252U;

    for (int turn = 0; turn < 60000; turn++) {
        size_t i = step(&x) % KEYS;
        uint64_t key = (uint64_t)i << 40; /* low bits all alike */
        void *value = &values[step(&x) % KEYS];
        bool is_set = step(&x) % 100 < (turn / 10000 % 2 ? 30 : 70);
        void *old = is_set ? map_id_set(m, key, value) : map_id_del(m, key);

        assert_ptr_equal(old, want[i]);
        count += is_set && !old;
        count -= !is_set && old;
        want[i] = is_set ? value : NULL;
        assert_int_equal(map_id_count(m), count);
        i = step(&x) % KEYS;
        assert_ptr_equal(map_id_get(m, (uint64_t)i << 40), want[i]);
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_id_get(m, (uint64_t)i << 40), want[i]);
    map_id_free(m, NULL);
}

static void test_map_id__extreme_keys(void **state)
{
    struct map_id *m = map_id_new();

    assert_null(map_id_get(m, 0));
    assert_null(map_id_del(m, 0));
    map_id_set(m, 0, &values[0]);
    map_id_set(m, UINT64_MAX, &values[1]);
    map_id_set(m, UINT64_C(1) << 63, &values[2]);
    assert_ptr_equal(map_id_get(m, 0), &values[0]);
    assert_ptr_equal(map_id_get(m, UINT64_MAX), &values[1]);
    assert_ptr_equal(map_id_get(m, UINT64_C(1) << 63), &values[2]);
    assert_ptr_equal(map_id_del(m, 0), &values[0]);
    assert_null(map_id_get(m, 0));
    assert_int_equal(map_id_count(m), 2);
    map_id_free(m, NULL);
}

static void test_map__iteration_meets_each_once(void **state)
{
    struct map *m = map_new();
    struct map_id *ids = map_id_new();
    bool seen[KEYS] = {0}, seen_id[KEYS] = {0};
    size_t it = 0, n = 0;
    struct str key = STR_NONE;
    uint64_t id = 0;
    void *value = NULL;
    char text[32];

    assert_false(map_next(m, &it, &key, &value));
    it = 0;
    assert_false(map_id_next(ids, &it, &id, &value));
    for (size_t i = 0; i < KEYS; i++) {
        map_set(m, key_text(i, text), &values[i]);
        map_id_set(ids, i, &values[i]);
    }
    for (it = 0; map_next(m, &it, &key, &value); n++) {
        size_t i = (size_t)((char *)value - values);

        assert_true(str_eq(key, key_text(i, text)));
        assert_int_equal(key.ptr[key.len], '\0');
        assert_false(seen[i]);
        seen[i] = true;
    }
    assert_int_equal(n, KEYS);
    for (it = 0, n = 0; map_id_next(ids, &it, &id, &value); n++) {
        assert_ptr_equal(value, &values[id]);
        assert_false(seen_id[id]);
        seen_id[id] = true;
    }
    assert_int_equal(n, KEYS);
    map_free(m, NULL);
    map_id_free(ids, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map__set_get_del),
        cmocka_unit_test(test_map__keys_are_any_bytes),
        cmocka_unit_test(test_map__del_by_the_key_of_the_map),
        cmocka_unit_test(test_map__free_frees_values),
        cmocka_unit_test(test_map__agrees_with_an_array),
        cmocka_unit_test(test_map_id__agrees_with_an_array),
        cmocka_unit_test(test_map_id__extreme_keys),
        cmocka_unit_test(test_map__iteration_meets_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
