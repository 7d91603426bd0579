/* test_err.c -- error texts: what is set, and that nothing but UTF-8 gets in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

static void test_err__set_returns_code_and_clears_field(void **state)
{
    struct err e = {.code = -99, .field = "old", .text = "old"};

    assert_int_equal(err_set(&e, ERR_RANGE, "port %d is not in 1..65535", 70000), ERR_RANGE);
    assert_int_equal(e.code, ERR_RANGE);
    assert_string_equal(e.field, "");
    assert_string_equal(e.text, "port 70000 is not in 1..65535");
}

static void test_err__set_without_err_returns_code(void **state)
{
    assert_int_equal(err_set(NULL, ERR_IO, "%s", "x"), ERR_IO);
    assert_int_equal(err_set_field(NULL, ERR_LIMIT, "f", "%s", "x"), ERR_LIMIT);
    assert_int_equal(err_set_errno(NULL, ERR_BUSY, EAGAIN, "%s", "x"), ERR_BUSY);
    assert_int_equal(err_prefix(NULL, "%s", "x"), ERR_INTERNAL);
}

static void test_err__set_field_names_member(void **state)
{
    struct err e = {0};
    char longer[200];

    assert_int_equal(err_set_field(&e, ERR_SYNTAX, "rate", "not a number"), ERR_SYNTAX);
    assert_string_equal(e.field, "rate");
    assert_string_equal(e.text, "not a number");

    memset(longer, 'f', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    err_set_field(&e, ERR_SYNTAX, longer, "x");
    assert_int_equal(strlen(e.field), sizeof(e.field) - 1);

    err_set_field(&e, ERR_SYNTAX, NULL, "x");
    assert_string_equal(e.field, "");
}

static void test_err__set_errno_appends_system_text(void **state)
{
    struct err e = {0};

    assert_int_equal(err_set_errno(&e, ERR_IO, ENOENT, "open %s", "/a"), ERR_IO);
    assert_string_equal(e.text, "open /a: No such file or directory");
    err_set_errno(&e, ERR_IO, ENOENT, "%s", "");
    assert_string_equal(e.text, "No such file or directory");
}

static void test_err__prefix_keeps_code_and_field(void **state)
{
    struct err e = {0};

    err_set_field(&e, ERR_SYNTAX, "url", "bad host");
    assert_int_equal(err_prefix(&e, "channel %d", 7), ERR_SYNTAX);
    assert_string_equal(e.text, "channel 7: bad host");
    assert_string_equal(e.field, "url");
}

static void test_err__arguments_may_point_into_it(void **state)
{
    struct err e = {0};

    err_set_field(&e, ERR_SYNTAX, "url", "bad host");
    err_set_field(&e, ERR_RANGE, e.field, "again: %s", e.text);
    assert_string_equal(e.text, "again: bad host");
    assert_string_equal(e.field, "url");
    err_prefix(&e, "%s", e.text);
    assert_string_equal(e.text, "again: bad host: again: bad host");
}

static void test_err__long_text_ends_at_a_character(void **state)
{
    /* one to four bytes in front, so that the cut meets every byte of the character */
    for (size_t front = 0; front < 4; front++) {
        struct err e = {0};
        char text[2 * ERR_TEXT_MAX + 1];
        size_t n = 0;

        while (n < front)
            text[n++] = 'a';
        while (n + 4 < sizeof(text)) {
            memcpy(text + n, "\xf0\x9f\x98\x80", 4);
            n += 4;
        }
        text[n] = '\0';
        err_set(&e, ERR_IO, "%s", text);
        assert_true(str_is_utf8(str_of(e.text)));
        assert_null(strchr(e.text, '?'));
        assert_in_range(strlen(e.text), ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        err_prefix(&e, "channel 12");
        assert_true(str_is_utf8(str_of(e.text)));
        assert_null(strchr(e.text, '?'));
        assert_true(str_starts(str_of(e.text), STR("channel 12: ")));
    }
}

static void test_err__longest_text_is_whole(void **state)
{
    struct err e = {0};
    char text[ERR_TEXT_MAX + 1];

    memset(text, 'x', sizeof(text));
    text[ERR_TEXT_MAX - 1] = '\0';
    err_set(&e, ERR_IO, "%s", text);
    assert_string_equal(e.text, text);
    text[ERR_TEXT_MAX - 1] = 'x';
    text[ERR_TEXT_MAX] = '\0';
    err_set(&e, ERR_IO, "%s", text);
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

static void test_err__foreign_bytes_become_question_marks(void **state)
{
    struct err e = {0};

    err_set(&e, ERR_SYNTAX, "port '%.*s' is bad", 4, "\xff\xe4\xbd ");
    assert_string_equal(e.text, "port '??? ' is bad");
    err_set(&e, ERR_SYNTAX, "%.*s", 2, "\xe4\xbd\xa0"); /* a quote cut through a character */
    assert_string_equal(e.text, "??");
    err_set(&e, ERR_SYNTAX, "%s", "\xe4\xbd\xa0");
    assert_string_equal(e.text, "\xe4\xbd\xa0");
}

static void test_err__every_code_has_its_name(void **state)
{
    for (int a = ERR_INTERNAL; a <= 0; a++)
        for (int b = ERR_INTERNAL - 1; b < a; b++)
            assert_string_not_equal(err_name(a), err_name(b));
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_name(ERR_NOTFOUND), "not found");
    assert_string_equal(err_name(-1000), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__set_returns_code_and_clears_field),
        cmocka_unit_test(test_err__set_without_err_returns_code),
        cmocka_unit_test(test_err__set_field_names_member),
        cmocka_unit_test(test_err__set_errno_appends_system_text),
        cmocka_unit_test(test_err__prefix_keeps_code_and_field),
        cmocka_unit_test(test_err__arguments_may_point_into_it),
        cmocka_unit_test(test_err__long_text_ends_at_a_character),
        cmocka_unit_test(test_err__longest_text_is_whole),
        cmocka_unit_test(test_err__foreign_bytes_become_question_marks),
        cmocka_unit_test(test_err__every_code_has_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
