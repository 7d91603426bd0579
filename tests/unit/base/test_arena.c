/* test_arena.c -- pieces are aligned, apart from each other, and gone together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_arena__pieces_are_aligned_and_apart(void **state)
{
    enum { PIECES = 2000 };
    struct arena a;
    CLEANUP(xfreep) void *space = xcalloc(PIECES, sizeof(unsigned char *));
    unsigned char **piece = space;
    size_t sum = 0;

    arena_init(&a);
    for (size_t i = 0; i < PIECES; i++) {
        size_t size = i * 37 % 1500; /* both below and above half a block */

        piece[i] = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)piece[i] % _Alignof(max_align_t), 0);
        memset(piece[i], (int)(i & 0xff), size);
        sum += size;
    }
    assert_int_equal(a.used_bytes, sum);
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < i * 37 % 1500; j++)
            assert_int_equal(piece[i][j], i & 0xff);
    arena_release(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_null(a.block);
}

static void test_arena__may_be_used_again(void **state)
{
    struct arena a;

    arena_init(&a);
    arena_release(&a);
    for (int turn = 0; turn < 3; turn++) {
        char want[] = {(char)('0' + turn), '/', 'x', '\0'}; /* one digit */

        assert_string_equal(arena_printf(&a, "%d/%s", turn, "x"), want);
        arena_release(&a);
    }
}

static void test_arena__zalloc_is_zero_in_a_used_block(void **state)
{
    struct arena a;

    arena_init(&a);
    for (int turn = 0; turn < 50; turn++) {
        unsigned char *p = arena_zalloc(&a, 333);

        for (size_t i = 0; i < 333; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, 333);
        memset(arena_alloc(&a, 100), 0xff, 100);
    }
    arena_release(&a);
}

static void test_arena__large_pieces_leave_the_block_open(void **state)
{
    struct arena a;

    arena_init(&a);
    char *first = arena_alloc(&a, 1);
    char *large = arena_alloc(&a, 1 << 20);
    char *second = arena_alloc(&a, 1);

    memset(large, 'x', 1 << 20);
    first[0] = 'a';
    second[0] = 'b';
    assert_int_equal(large[(1 << 20) - 1], 'x');
    assert_int_equal(a.used_bytes, (1 << 20) + 2);
    assert_non_null(arena_alloc(&a, 0));
    arena_release(&a);
}

static void test_arena__texts_are_copies_with_nul(void **state)
{
    struct arena a;
    char source[] = "hello world";

    arena_init(&a);
    struct str copy = arena_str(&a, str_n(source, 5));
    char *text = arena_cstr(&a, str_n(source, 11));
    struct str none = arena_str(&a, STR_NONE);

    memset(source, '#', sizeof(source) - 1);
    assert_true(str_eq_c(copy, "hello"));
    assert_int_equal(copy.ptr[5], '\0');
    assert_string_equal(text, "hello world");
    assert_int_equal(none.len, 0);
    assert_string_equal(none.ptr, "");
    arena_release(&a);
}

static void test_arena__printf_of_any_length(void **state)
{
    struct arena a;

    arena_init(&a);
    assert_string_equal(arena_printf(&a, "%s", ""), "");
    for (int n = 1; n < 5000; n += 97) {
        char *text = arena_printf(&a, "%0*d", n, 7);

        assert_int_equal(strlen(text), n);
        assert_int_equal(text[n - 1], '7');
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena__pieces_are_aligned_and_apart),
        cmocka_unit_test(test_arena__may_be_used_again),
        cmocka_unit_test(test_arena__zalloc_is_zero_in_a_used_block),
        cmocka_unit_test(test_arena__large_pieces_leave_the_block_open),
        cmocka_unit_test(test_arena__texts_are_copies_with_nul),
        cmocka_unit_test(test_arena__printf_of_any_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
