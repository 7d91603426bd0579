/* fuzz_option.c -- text forms of numbers, single settings, arguments and environment: the first
 * byte chooses which. A refusal leaves the set as it was and says something printable. */
#include "base/option.h"

#define WORDS_MAX 8

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void fuzz_numbers(struct str s)
{
    int64_t v = -1;
    bool on;

    if (option_parse_size(s, &v) == 0) {
        char text[OPTION_NUMBER_SIZE];
        int64_t back;

        check(v >= 0);
        check(option_parse_size(str_of(option_help_number(OPTION_SIZE, v, text)), &back) == 0);
        check(back == v);
    }
    if (option_parse_duration(s, &v) == 0)
        check(v >= 0);
    if (option_parse_bool(s, &on) == 0)
        check(s.len >= 1 && s.len <= 5);
    (void)option_nearest(s);
}

static void check_text(const struct err *e)
{
    struct str text = str_of(e->text);

    check(text.len > 0 && str_is_utf8(text) && !str_has_control(text));
}

/* First byte: row and origin; the rest: value. */
static void fuzz_setting(struct str s)
{
    struct option_set *set = option_set_new();
    struct buf before = BUF_INIT(1 << 20), after = BUF_INIT(1 << 20);
    struct err e = {0};

    if (s.len > 0) {
        const struct option_row *row = &option_rows[(uint8_t)s.ptr[0] % option_row_count];
        enum option_origin origin = (uint8_t)s.ptr[0] % 2 ? OPTION_FILE : OPTION_STORED;
        struct str value = str_cut(s, 1, s.len);

        option_dump(set, &before);
        if (option_set_text(set, str_of(row->name), value, origin, &e) < 0) {
            check_text(&e);
            option_dump(set, &after);
            check(str_eq(buf_str(&before), buf_str(&after)));
        } else if (origin == OPTION_FILE) { /* lists grow */
            int rc = option_set_text(set, str_of(row->name), value, origin, &e);

            check(rc == 0 || row->type == OPTION_LIST); /* which may be full now */
        }
    }
    buf_release(&before);
    buf_release(&after);
    option_set_free(set);
}

/* Lines as separate texts; NULL behind the last. */
static size_t split_lines(char *copy, char **lines, size_t max)
{
    size_t n = 0;

    while (n < max) {
        char *end = strchr(copy, '\n');

        lines[n++] = copy;
        if (!end)
            break;
        *end = '\0';
        copy = end + 1;
    }
    lines[n] = NULL;
    return n;
}

static void fuzz_args(struct str s)
{
    CLEANUP(xfree_charp) char *copy = str_dup(s);
    struct option_set *set = option_set_new(), *dup;
    const char *words[WORDS_MAX];
    char *argv[33];
    int argc = (int)split_lines(copy, argv, 32); /* at most 32 */
    size_t n = 0;
    struct err e = {0};

    if (option_set_args(set, argc, argv, words, WORDS_MAX, &n, &e) < 0)
        check_text(&e);
    else
        for (size_t i = 0; i < n; i++)
            check(words[i] != NULL);
    dup = option_set_dup(set);
    option_set_free(set);
    option_set_free(dup);
}

static void fuzz_env(struct str s)
{
    CLEANUP(xfree_charp) char *copy = str_dup(s);
    struct option_set *set = option_set_new();
    struct buf problems = BUF_INIT(512); /* small: it overflows */
    char *envp[33];

    split_lines(copy, envp, 32);

    int bad = option_set_env(set, envp, &problems);

    check(bad >= 0);
    check(bad == 0 || buf_len(&problems) > 0);
    buf_release(&problems);
    option_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;

    struct str rest = str_n((const char *)data + 1, size - 1);

    switch (data[0] % 4) {
    case 0:
        fuzz_numbers(rest);
        break;
    case 1:
        fuzz_setting(rest);
        break;
    case 2:
        fuzz_args(rest);
        break;
    case 3:
        fuzz_env(rest);
        break;
    }
    return 0;
}
