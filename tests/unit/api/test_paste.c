/* Lines of channels as people paste them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/paste.h"

static struct paste_item items[PASTE_LINES_MAX];

static void expect(size_t i, unsigned line, const char *name, const char *url, const char *key)
{
    assert_int_equal(items[i].line, line);
    assert_true(str_eq_c(items[i].name, name));
    assert_true(str_eq_c(items[i].url, url));
    assert_true(str_eq_c(items[i].key, key));
    assert_null(items[i].fault);
}

static void test_paste__takes_name_url_key(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("relay-a https://a.example/v1 sk-1\n\tb\thttp://b:3000\tsk-2\r\n"), items), 2);
    expect(0, 1, "relay-a", "https://a.example/v1", "sk-1");
    expect(1, 2, "b", "http://b:3000", "sk-2");
}

static void test_paste__takes_commas_semicolons_bars_and_quotes(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("a,https://a,k1\nb; https://b; k2\nc | https://c | k3\n"
                                     "\"my relay\",\"https://d\",\"k4\"\n"),
                                 items),
                     4);
    expect(0, 1, "a", "https://a", "k1");
    expect(1, 2, "b", "https://b", "k2");
    expect(2, 3, "c", "https://c", "k3");
    expect(3, 4, "my relay", "https://d", "k4");
}

static void test_paste__takes_names_with_blanks_behind_or_none(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("my own relay https://a k\nhttps://b k2 the name\nhttps://c k3"), items), 3);
    expect(0, 1, "my own relay", "https://a", "k");
    expect(1, 2, "the name", "https://b", "k2");
    expect(2, 3, "", "https://c", "k3");
}

static void test_paste__takes_the_key_from_the_next_line(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("https://a\nsk-1\n\nnamed https://b\n\n# remark\nsk-2\nhttps://c sk-3"), items), 3);
    expect(0, 1, "", "https://a", "sk-1");
    expect(1, 4, "named", "https://b", "sk-2");
    expect(2, 8, "", "https://c", "sk-3");
}

static void test_paste__names_the_fault(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("just some words\na https://a\nb https://b k too much"), items), 3);
    assert_string_equal(items[0].fault, "no address (http:// or https://) in this line");
    assert_string_equal(items[1].fault, "no key behind the address");
    assert_string_equal(items[2].fault, "more than name, address and key");
}

static void test_paste__skips_blank_lines_and_remarks(void **state UNUSED)
{
    assert_int_equal(paste_parse(STR("\n \t \n# a https://a k\n,;|\n"), items), 0);
    assert_int_equal(paste_parse(STR(""), items), 0);
    assert_int_equal(paste_parse(STR_NONE, items), 0);
}

static void test_paste__counts_beyond_its_ceiling(void **state UNUSED)
{
    struct { char bytes[(PASTE_LINES_MAX + 5) * 16]; } *b = xcalloc(1, sizeof(*b));
    size_t n = 0;

    for (int i = 0; i < PASTE_LINES_MAX + 5; i++)
        n += (size_t)snprintf(b->bytes + n, sizeof(b->bytes) - n, "https://a k\n");
    assert_int_equal(paste_parse(str_n(b->bytes, n), items), PASTE_LINES_MAX + 5);
    xfree(b);
}

/* Any bytes are input: every prefix of a nasty text, and every byte value inside a line. */
static void test_paste__survives_any_bytes(void **state UNUSED)
{
    static const char nasty[] = "\"\"\"https://\"\n://\n\"://\n'a'https://b'\"c\n,https://,\n\xff\xfe://\x80\n\"";

    for (size_t n = 0; n < sizeof(nasty); n++)
        (void)paste_parse(str_n(nasty, n), items);
    for (int c = 0; c < 256; c++) {
        char line[] = "a? https://x ?k\n?";

        line[1] = line[13] = line[16] = (char)c;
        (void)paste_parse(str_n(line, sizeof(line) - 1), items);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paste__takes_name_url_key),
        cmocka_unit_test(test_paste__takes_commas_semicolons_bars_and_quotes),
        cmocka_unit_test(test_paste__takes_names_with_blanks_behind_or_none),
        cmocka_unit_test(test_paste__takes_the_key_from_the_next_line),
        cmocka_unit_test(test_paste__names_the_fault),
        cmocka_unit_test(test_paste__skips_blank_lines_and_remarks),
        cmocka_unit_test(test_paste__counts_beyond_its_ceiling),
        cmocka_unit_test(test_paste__survives_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
