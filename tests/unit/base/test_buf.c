/* test_buf.c -- the capped buffer: its ceiling, its invariant, and what a failure leaves. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"

static void assert_content(const struct buf *b, const char *want)
{
    assert_string_equal(buf_cstr(b), want);
    assert_int_equal(buf_len(b), strlen(want));
    assert_true(b->head <= b->tail && b->tail <= b->cap);
    assert_true(b->cap <= b->max + 1);
}

static void test_buf__empty_takes_no_memory(void **state)
{
    struct buf b = BUF_INIT(10);

    assert_content(&b, "");
    assert_non_null(buf_str(&b).ptr);
    assert_null(b.ptr);
    buf_clear(&b);
    buf_consume(&b, 0);
    buf_release(&b);
    buf_secure_release(&b);
}

static void test_buf__append_fails_at_ceiling(void **state)
{
    struct buf b = BUF_INIT(10);

    assert_int_equal(buf_add(&b, "0123456", 7), 0);
    assert_int_equal(buf_add(&b, "7890", 4), ERR_LIMIT);
    assert_content(&b, "0123456");
    assert_int_equal(buf_printf(&b, "%s", "7890"), ERR_LIMIT);
    assert_content(&b, "0123456");
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "%03d", 789), 0);
    assert_content(&b, "0123456789");
    assert_int_equal(buf_add_char(&b, 'x'), ERR_LIMIT);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_content(&b, "0123456789");
    buf_release(&b);
    assert_int_equal(b.max, 10);
    assert_content(&b, "");
}

static void test_buf__ceiling_of_nothing(void **state)
{
    struct buf b = BUF_INIT(0);

    assert_int_equal(buf_add(&b, "", 0), 0);
    assert_int_equal(buf_add_char(&b, 'x'), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "%d", 1), ERR_LIMIT);
    assert_content(&b, "");
    buf_release(&b);
}

static void test_buf__every_size_up_to_every_ceiling(void **state)
{
    char text[400];

    memset(text, 'x', sizeof(text));
    for (size_t max = 0; max < 300; max += 7) {
        for (size_t n = 0; n < 310; n += 3) {
            struct buf b = BUF_INIT(max);

            assert_int_equal(buf_add(&b, text, n), n <= max ? 0 : ERR_LIMIT);
            assert_int_equal(buf_len(&b), n <= max ? n : 0);
            assert_true(b.cap <= max + 1);
            if (b.cap)
                assert_int_equal(b.ptr[b.tail], '\0');
            buf_release(&b);
        }
    }
}

static void test_buf__grows_by_doubling(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    size_t grown = 0, cap = 0;

    for (size_t i = 0; i < 1 << 20; i++) {
        assert_int_equal(buf_add_char(&b, (char)('a' + i % 26)), 0);
        grown += b.cap != cap;
        cap = b.cap;
    }
    assert_in_range(grown, 10, 20);
    for (size_t i = 0; i < 1 << 20; i += 4099)
        assert_int_equal(b.ptr[i], 'a' + i % 26);
    assert_int_equal(buf_add_char(&b, 'x'), ERR_LIMIT);
    buf_release(&b);
}

static void test_buf__consumed_room_is_used_again(void **state)
{
    struct buf b = BUF_INIT(100);
    uint8_t next_in = 0, next_out = 0;

    /* a stream far longer than the ceiling, in and out at different rates */
    for (int turn = 0; turn < 10000; turn++) {
        for (size_t n = (size_t)turn % 37; n > 0 && buf_len(&b) < 100; n--)
            assert_int_equal(buf_add_char(&b, (char)next_in++), 0);
        for (size_t n = (size_t)turn % 41; n > 0 && buf_len(&b) > 0; n--) {
            assert_int_equal((uint8_t)buf_str(&b).ptr[0], next_out++);
            buf_consume(&b, 1);
        }
        assert_true(b.cap <= 101);
    }
    buf_release(&b);
}

static void test_buf__append_after_consume_at_ceiling(void **state)
{
    struct buf b = BUF_INIT(8);

    assert_int_equal(buf_add(&b, "01234567", 8), 0);
    buf_consume(&b, 1);
    assert_content(&b, "1234567");
    assert_int_equal(buf_add(&b, "89", 2), ERR_LIMIT);
    assert_content(&b, "1234567");
    assert_int_equal(buf_add(&b, "8", 1), 0); /* moved, though less than half was free */
    assert_content(&b, "12345678");
    buf_consume(&b, 8);
    assert_content(&b, "");
    assert_int_equal(b.head, 0);
    buf_release(&b);
}

static void test_buf__reserve_gives_writable_room(void **state)
{
    struct buf b = BUF_INIT(1000);

    assert_int_equal(buf_add_str(&b, STR("ab")), 0);
    assert_int_equal(buf_reserve(&b, 998), 0);
    assert_true(b.cap - b.tail >= 998 + 1);
    memset(b.ptr + b.tail, 'x', 998);
    assert_int_equal(buf_len(&b), 2); /* reserved is not appended */
    b.tail += 998;
    b.ptr[b.tail] = '\0';
    assert_int_equal(strlen(buf_cstr(&b)), 1000);
    b.tail = 2;
    assert_int_equal(buf_reserve(&b, 999), ERR_LIMIT);
    buf_release(&b);
}

static void test_buf__printf_longer_than_the_room(void **state)
{
    struct buf b = BUF_INIT(5000);

    assert_int_equal(buf_printf(&b, "%s=", "key"), 0);
    assert_int_equal(buf_printf(&b, "%04000d", 7), 0);
    assert_int_equal(buf_len(&b), 4004);
    assert_true(str_starts(buf_str(&b), STR("key=0000")));
    assert_true(str_ends(buf_str(&b), STR("0007")));
    assert_int_equal(buf_printf(&b, "%04000d", 7), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 4004);
    assert_int_equal(strlen(buf_cstr(&b)), 4004);
    buf_release(&b);
}

static void test_buf__holds_any_byte(void **state)
{
    struct buf b = BUF_INIT(10);

    assert_int_equal(buf_add(&b, "a\0b", 3), 0);
    assert_true(str_eq(buf_str(&b), STR("a\0b")));
    buf_release(&b);
}

static void test_buf__take_cstr(void **state)
{
    struct buf b = BUF_INIT(100);
    size_t len = 99;
    CLEANUP(xfree_charp) char *empty = buf_take_cstr(&b, &len);

    assert_string_equal(empty, "");
    assert_int_equal(len, 0);

    assert_int_equal(buf_add_str(&b, STR("0123456789")), 0);
    buf_consume(&b, 4);
    CLEANUP(xfree_charp) char *text = buf_take_cstr(&b, &len);

    assert_string_equal(text, "456789");
    assert_int_equal(len, 6);
    assert_content(&b, "");
    assert_null(b.ptr);
    assert_int_equal(b.max, 100);
    CLEANUP(xfree_charp) char *again = buf_take_cstr(&b, NULL);

    assert_string_equal(again, "");
}

static void test_buf__put_appends(void **state)
{
    struct buf b = BUF_INIT(10);

    buf_put(&b, STR("port="));
    buf_putf(&b, "%d", 65535);
    assert_content(&b, "port=65535");
    buf_release(&b);
}

/* Runs `f` in a process of its own, without its words, and says whether it aborted. */
static bool aborts(void (*f)(void))
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        dup2(null, STDERR_FILENO);
        f();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void put_past_ceiling(void)
{
    struct buf b = BUF_INIT(3);

    buf_put(&b, STR("1234"));
}

static void putf_past_ceiling(void)
{
    struct buf b = BUF_INIT(3);

    buf_putf(&b, "%d", 1234);
}

static void put_to_ceiling(void)
{
    struct buf b = BUF_INIT(3);

    buf_put(&b, STR("123"));
    buf_release(&b);
}

static void consume_too_much(void)
{
    struct buf b = BUF_INIT(3);

    buf_put(&b, STR("123"));
    buf_consume(&b, 4);
}

static void test_buf__put_aborts_at_ceiling(void **state)
{
    assert_true(aborts(put_past_ceiling));
    assert_true(aborts(putf_past_ceiling));
    assert_true(aborts(consume_too_much));
    assert_false(aborts(put_to_ceiling));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__empty_takes_no_memory),
        cmocka_unit_test(test_buf__append_fails_at_ceiling),
        cmocka_unit_test(test_buf__ceiling_of_nothing),
        cmocka_unit_test(test_buf__every_size_up_to_every_ceiling),
        cmocka_unit_test(test_buf__grows_by_doubling),
        cmocka_unit_test(test_buf__consumed_room_is_used_again),
        cmocka_unit_test(test_buf__append_after_consume_at_ceiling),
        cmocka_unit_test(test_buf__reserve_gives_writable_room),
        cmocka_unit_test(test_buf__printf_longer_than_the_room),
        cmocka_unit_test(test_buf__holds_any_byte),
        cmocka_unit_test(test_buf__take_cstr),
        cmocka_unit_test(test_buf__put_appends),
        cmocka_unit_test(test_buf__put_aborts_at_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
