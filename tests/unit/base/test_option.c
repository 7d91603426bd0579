/* test_option.c -- the table itself, text forms, and each way a value is set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/option.h"

/* Text forms. ---------------------------------------------------------------------------------- */

static void test_option__parses_booleans(void **state)
{
    static const struct {
        const char *text;
        int want; /* -1 = refused */
    } rows[] = {{"1", 1},   {"0", 0}, {"true", 1}, {"FALSE", 0}, {"Yes", 1}, {"no", 0},  {"on", 1},
                {"off", 0}, {"", -1}, {"2", -1},   {"y", -1},    {" 1", -1}, {"tru", -1}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool on = rows[i].want != 1;
        int rc = option_parse_bool(str_of(rows[i].text), &on);

        assert_int_equal(rc, rows[i].want < 0 ? ERR_SYNTAX : 0);
        if (rc == 0)
            assert_int_equal(on, rows[i].want);
    }
}

static void test_option__parses_sizes(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* negative: the error */
    } rows[] = {
        {"0", 0},
        {"123", 123},
        {"7B", 7},
        {"64KiB", 65536},
        {"64kib", 65536},
        {"1MiB", 1048576},
        {"1GiB", 1073741824},
        {"2TiB", INT64_C(2199023255552)},
        {"1MB", 1000000},
        {"3kB", 3000},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", ERR_RANGE},
        {"8388608TiB", ERR_RANGE},
        {"", ERR_SYNTAX},
        {"KiB", ERR_SYNTAX},
        {"1.5GiB", ERR_SYNTAX},
        {"-1", ERR_SYNTAX},
        {"1 KiB", ERR_SYNTAX},
        {"1K", ERR_SYNTAX},
        {"0x10", ERR_SYNTAX},
        {"1KiBs", ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -77;
        int rc = option_parse_size(str_of(rows[i].text), &v);

        if (rc != (rows[i].want < 0 ? rows[i].want : 0) || v != (rc == 0 ? rows[i].want : -77))
            fail_msg("'%s' gave %d, %lld", rows[i].text, rc, (long long)v);
    }
}

static void test_option__parses_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* ms; negative: the error */
    } rows[] = {
        {"0", 0},
        {"30", 30000},
        {"1.5", 1500},
        {"500ms", 500},
        {"30s", 30000},
        {"1h30m", 5400000},
        {"1h30m0.25s", 5400250},
        {".5h", 1800000},
        {"1.h", 3600000},
        {"2160h", INT64_C(7776000000)},
        {"1us", 1}, /* rounded up */
        {"1500\xc2\xb5s", 2},
        {"1\xce\xbcs", 1},
        {"2000000ns", 2},
        {"0.1234567890123456789s", 124},
        {"2562047h", INT64_C(9223369200000)},
        {"2562048h", ERR_RANGE},
        {"2562047h2562047h", ERR_RANGE},
        {"99999999999999999999s", ERR_RANGE},
        {"", ERR_SYNTAX},
        {".", ERR_SYNTAX},
        {".s", ERR_SYNTAX},
        {"s", ERR_SYNTAX},
        {"1h30", ERR_SYNTAX},
        {"1d", ERR_SYNTAX},
        {"-1s", ERR_SYNTAX},
        {"1 s", ERR_SYNTAX},
        {"1e3s", ERR_SYNTAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -77;
        int rc = option_parse_duration(str_of(rows[i].text), &v);

        if (rc != (rows[i].want < 0 ? rows[i].want : 0) || v != (rc == 0 ? rows[i].want : -77))
            fail_msg("'%s' gave %d, %lld", rows[i].text, rc, (long long)v);
    }
}

static void test_option__number_forms_read_back(void **state)
{
    static const int64_t values[] = {0, 1, 999, 1000, 1024, 8190, 60000, 90000, 3600000, 1 << 20};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[OPTION_NUMBER_SIZE];
        int64_t back;

        assert_int_equal(
            option_parse_size(str_of(option_help_number(OPTION_SIZE, values[i], text)), &back), 0);
        assert_int_equal(back, values[i]);
        option_help_number(OPTION_DURATION_MS, values[i], text);
        assert_int_equal(option_parse_duration(str_of(text), &back), 0);
        assert_int_equal(back, values[i]);
    }
}

/* The table. ----------------------------------------------------------------------------------- */

static void test_option__rows_are_sound(void **state)
{
    struct option_set *s = option_set_new(); /* asserts each default */

    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];

        assert_ptr_equal(option_find(str_of(row->name)), row);
        assert_true(row->env && row->deflt && row->unit && row->help);
        assert_true(row->type == OPTION_BOOL || (row->max > 0 && row->min <= row->max));
        assert_true(str_ends(str_of(row->help), STR("."))); /* one sentence */
        assert_true(strlen(row->help) > 20 && strlen(row->help) < 120);
        assert_int_equal(option_origin(s, row->name), OPTION_DEFAULT);
        for (size_t k = 0; k < i; k++) {
            struct str name, rest = str_of(row->env);

            while (str_split(&rest, ' ', &name))
                if (name.len)
                    assert_int_equal(str_find_str(str_of(option_rows[k].env), name), -1);
        }
    }
    option_set_free(s);
    option_set_free(NULL);
}

static void test_option__defaults_of_the_specification(void **state)
{
    struct option_set *s = option_set_new();

    assert_true(str_eq(option_item(s, "listen", 0), STR("0.0.0.0:8081")));
    assert_null(option_item(s, "listen", 1).ptr);
    assert_int_equal(option_int(s, "port"), 8081);
    assert_true(str_eq(option_text(s, "data_dir"), STR("data")));
    assert_false(option_bool(s, "visitor_mode"));
    assert_false(option_bool(s, "trust_proxy_headers"));
    assert_true(option_bool(s, "log_cleanup_enabled"));
    assert_int_equal(option_int(s, "log_max_size_mb"), 500);
    assert_int_equal(option_int(s, "default_interval_min"), 30);
    assert_int_equal(option_int(s, "detect_concurrency"), 3);
    assert_int_equal(option_int(s, "max_parallel_targets"), 2);
    assert_int_equal(option_int(s, "manual_parallel"), 32);
    assert_int_equal(option_int(s, "http.request_line_bytes"), 8190);
    assert_int_equal(option_int(s, "http.head_bytes"), 32768);
    assert_int_equal(option_int(s, "http.head_timeout"), 10000);
    assert_int_equal(option_int(s, "http.keepalive_timeout"), 75000);
    assert_int_equal(option_int(s, "http.body_bytes"), 1 << 20);
    assert_int_equal(option_int(s, "http.body_bytes_v1"), 32 << 20);
    assert_int_equal(option_int(s, "http.connections"), 20000);
    assert_int_equal(option_int(s, "http.connections_per_address"), 512);
    assert_int_equal(option_int(s, "drain"), 30000);
    assert_int_equal(option_int(s, "spool_bytes"), 1 << 30);
    assert_int_equal(option_int(s, "retention.gateway"), INT64_C(90) * 86400000);
    assert_int_equal(option_int(s, "retention.probe"), INT64_C(30) * 86400000);
    assert_int_equal(option_int(s, "sse.heartbeat"), 15000);
    assert_null(option_text(s, "admin_token").ptr);
    assert_true(str_starts(option_text(s, "user_agent"), STR("Mozilla/5.0 ")));
    option_set_free(s);
}

/* Setting. ------------------------------------------------------------------------------------- */

static void assert_text_fails(const char *name, struct str value, int code, const char *want)
{
    struct option_set *s = option_set_new();
    struct err e = {0};

    assert_int_equal(option_set_text(s, str_of(name), value, OPTION_STORED, &e), code);
    assert_string_equal(e.text, want);
    assert_int_equal(option_set_text(s, str_of(name), value, OPTION_STORED, NULL), code);
    if (option_find(str_of(name)))
        assert_int_equal(option_origin(s, name), OPTION_DEFAULT); /* untouched */
    option_set_free(s);
}

static void test_option__refuses_bad_values(void **state)
{
    char bytes[2001];

    assert_text_fails("port", STR("70000"), ERR_RANGE, "port: '70000' is not in 0..65535");
    assert_text_fails("port", STR("-1"), ERR_RANGE, "port: '-1' is not in 0..65535");
    assert_text_fails("port", STR("80a"), ERR_SYNTAX, "port: '80a' is not a whole number");
    assert_text_fails("port", STR(""), ERR_SYNTAX, "port: '' is not a whole number");
    assert_text_fails("port", STR("8\n1"), ERR_SYNTAX,
                      "port: '(unprintable)' is not a whole number");
    assert_text_fails("port", STR("99999999999999999999"), ERR_RANGE,
                      "port: '99999999999999999999' is not in 0..65535");
    assert_text_fails("http.head_timeout", STR("soon"), ERR_SYNTAX,
                      "http.head_timeout: 'soon' is not a duration such as 30s or 1h30m");
    assert_text_fails("http.head_timeout", STR("2h"), ERR_RANGE,
                      "http.head_timeout: '2h' is not in 100ms..1h");
    assert_text_fails("http.body_bytes", STR("1B"), ERR_RANGE,
                      "http.body_bytes: '1B' is not in 1KiB..1GiB");
    assert_text_fails("visitor_mode", STR("maybe"), ERR_SYNTAX,
                      "visitor_mode: 'maybe' is not true or false");
    assert_text_fails("log.format", STR("xml"), ERR_SYNTAX,
                      "log.format: 'xml' is not one of text|json|journal");
    assert_text_fails("log.format", STR("text|json"), ERR_SYNTAX,
                      "log.format: 'text|json' is not one of text|json|journal");
    assert_text_fails("data_dir", STR("a\tb"), ERR_SYNTAX, "data_dir: holds control characters");
    assert_text_fails("data_dir", STR("a\xff"), ERR_SYNTAX, "data_dir: is not UTF-8");
    assert_text_fails("data_dir", STR(" "), ERR_RANGE, "data_dir: has 0 characters, not 1..4000");
    assert_text_fails("listen", STR("a:1\0b:2"), ERR_SYNTAX, "listen: holds control characters");
    assert_text_fails("listen", STR(" , "), ERR_RANGE, "listen: has 0 items, not 1..64");
    memset(bytes, 'x', sizeof(bytes));
    assert_text_fails("admin_token", str_n(bytes, 1025), ERR_RANGE,
                      "admin_token: has 1025 characters, not 0..1024");
    assert_text_fails(
        "port", str_n(bytes, 2001), ERR_SYNTAX,
        "port: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' is not a "
        "whole number");
}

static void test_option__names_the_field(void **state)
{
    struct option_set *s = option_set_new();
    struct err e = {0};

    assert_int_equal(option_set_text(s, STR("tls.cert"), STR("\x7f"), OPTION_STORED, &e),
                     ERR_SYNTAX);
    assert_string_equal(e.field, "tls.cert");
    option_set_free(s);
}

static void test_option__never_repeats_a_secret(void **state)
{
    struct option_set *s = option_set_new();
    struct err e = {0};

    assert_int_equal(option_set_text(s, STR("admin_token"), STR("hunter2\n"), OPTION_ENV, &e),
                     ERR_SYNTAX);
    assert_null(strstr(e.text, "hunter2"));
    option_set_free(s);
}

static void test_option__unknown_names_get_the_nearest(void **state)
{
    assert_text_fails("prot", STR("1"), ERR_NOTFOUND, "unknown option prot; did you mean port?");
    assert_text_fails("tls.cret", STR("1"), ERR_NOTFOUND,
                      "unknown option tls.cret; did you mean tls.cert?");
    assert_text_fails("zzzzzzzzzzzz", STR("1"), ERR_NOTFOUND, "unknown option zzzzzzzzzzzz");
    assert_string_equal(option_nearest(STR("TLS-CERTS")), "tls.cert");
    assert_string_equal(option_nearest(STR("port")), "port");
    assert_null(option_nearest(STR("")));
    assert_null(
        option_nearest(STR("0123456789012345678901234567890123456789012345678901234567890123"
                           "456789")));
    assert_null(option_find(STR("Port"))); /* dotted names are exact */
}

static void test_option__stronger_origins_win(void **state)
{
    struct option_set *s = option_set_new();
    char text[64];

    assert_int_equal(option_set_text(s, STR("workers"), STR("3"), OPTION_FILE, NULL), 0);
    assert_int_equal(option_set_text(s, STR("workers"), STR("4"), OPTION_STORED, NULL), 0);
    assert_int_equal(option_int(s, "workers"), 3);
    assert_string_equal(option_origin_text(s, "workers", text, sizeof(text)), "file");
    assert_int_equal(option_set_text(s, STR("workers"), STR("rubbish"), OPTION_STORED, NULL), 0);
    assert_int_equal(option_set_text(s, STR("workers"), STR("5"), OPTION_ENV, NULL), 0);
    assert_int_equal(option_set_text(s, STR("workers"), STR("6"), OPTION_ENV, NULL), 0);
    assert_int_equal(option_int(s, "workers"), 6);
    assert_int_equal(option_set_text(s, STR("workers"), STR("7"), OPTION_FLAG, NULL), 0);
    assert_int_equal(option_set_text(s, STR("workers"), STR("8"), OPTION_ENV, NULL), 0);
    assert_int_equal(option_int(s, "workers"), 7);
    assert_int_equal(option_origin(s, "workers"), OPTION_FLAG);
    assert_int_equal(option_set_text(s, STR("drain"), STR("1m"), OPTION_STORED, NULL), 0);
    assert_string_equal(option_origin_text(s, "drain", text, sizeof(text)), "stored setting");
    assert_string_equal(option_origin_text(s, "port", text, sizeof(text)), "default");
    option_set_free(s);
}

static void test_option__lists(void **state)
{
    struct option_set *s = option_set_new();

    assert_int_equal(
        option_set_text(s, STR("listen"), STR(" a:1, b:2\t,,\nc:3 "), OPTION_STORED, NULL), 0);
    assert_true(str_eq(option_item(s, "listen", 0), STR("a:1")));
    assert_true(str_eq(option_item(s, "listen", 1), STR("b:2")));
    assert_true(str_eq(option_item(s, "listen", 2), STR("c:3")));
    assert_null(option_item(s, "listen", 3).ptr);
    assert_int_equal(option_set_text(s, STR("listen"), STR("d:4"), OPTION_STORED, NULL), 0);
    assert_null(option_item(s, "listen", 1).ptr); /* a stored setting replaces */
    assert_int_equal(option_set_text(s, STR("listen"), STR("e:5"), OPTION_FILE, NULL), 0);
    assert_int_equal(option_set_text(s, STR("listen"), STR("f:6"), OPTION_FILE, NULL), 0);
    assert_true(str_eq(option_item(s, "listen", 0), STR("e:5"))); /* a file's lines add up */
    assert_true(str_eq(option_item(s, "listen", 1), STR("f:6")));
    assert_null(option_item(s, "listen", 2).ptr);
    option_set_free(s);
}

/* Flags. --------------------------------------------------------------------------------------- */

static int set_args(struct option_set *s, const char *line, const char **words, size_t *n_words,
                    struct err *e)
{
    static char copy[2048];
    char *argv[32];
    struct str rest, word;
    int argc = 0;

    str_copy(copy, sizeof(copy), str_of(line));
    rest = str_of(copy);
    while (rest.ptr && str_split(&rest, ' ', &word)) {
        argv[argc++] = copy + (word.ptr - copy);
        copy[word.ptr - copy + (ssize_t)word.len] = '\0';
    }
    return option_set_args(s, argc, argv, words, 4, n_words, e);
}

static void test_option__flags(void **state)
{
    struct option_set *s = option_set_new();
    const char *words[4];
    size_t n = 0;
    struct err e = {0};
    char text[64];

    assert_int_equal(set_args(s,
                              "one --port=1 --data-dir d --visitor-mode --no-log-cleanup-enabled - "
                              "--tls_cert=a=b --listen x:1 --listen=y:2,z:3 --port 2 -- --port",
                              words, &n, &e),
                     0);
    assert_int_equal(n, 3);
    assert_string_equal(words[0], "one");
    assert_string_equal(words[1], "-");
    assert_string_equal(words[2], "--port");
    assert_int_equal(option_int(s, "port"), 2);
    assert_string_equal(option_origin_text(s, "port", text, sizeof(text)), "flag --port");
    assert_true(str_eq(option_text(s, "data_dir"), STR("d")));
    assert_true(option_bool(s, "visitor_mode"));
    assert_false(option_bool(s, "log_cleanup_enabled"));
    assert_true(str_eq(option_text(s, "tls.cert"), STR("a=b")));
    assert_string_equal(option_origin_text(s, "tls.cert", text, sizeof(text)), "flag --tls-cert");
    assert_true(str_eq(option_item(s, "listen", 2), STR("z:3")));
    assert_null(option_item(s, "listen", 3).ptr);
    assert_int_equal(set_args(s, "--visitor-mode=off", words, &n, &e), 0);
    assert_false(option_bool(s, "visitor_mode"));
    option_set_free(s);
}

static void test_option__bad_flags(void **state)
{
    static const struct {
        const char *line;
        int code;
        const char *want;
    } rows[] = {
        {"--prot 1", ERR_NOTFOUND, "unknown option --prot; did you mean --port?"},
        {"--tls-crt 1", ERR_NOTFOUND, "unknown option --tls-crt; did you mean --tls-cert?"},
        {"--qqqqqqqqqqq", ERR_NOTFOUND, "unknown option --qqqqqqqqqqq"},
        {"--no-qqqqqqqqqqq", ERR_NOTFOUND, "unknown option --no-qqqqqqqqqqq"},
        {"-x", ERR_NOTFOUND, "unknown option -x"},
        {"--port", ERR_SYNTAX, "--port needs a value"},
        {"--port=", ERR_SYNTAX, "--port: '' is not a whole number"},
        {"--port=x", ERR_SYNTAX, "--port: 'x' is not a whole number"},
        {"--no-port", ERR_SYNTAX, "--no-port: is not for an option with a value"},
        {"--no-visitor-mode=1", ERR_SYNTAX, "--no-visitor-mode: takes no value"},
        {"--visitor-mode=2", ERR_SYNTAX, "--visitor-mode: '2' is not true or false"},
        {"a b c d e", ERR_SYNTAX, "too many words: 'e'"},
        {"--admin-token=hunter2", ERR_DENIED,
         "--admin-token: a secret is taken from the environment, not from an argument that every "
         "user of the machine can read"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct option_set *s = option_set_new();
        const char *words[4];
        size_t n = 0;
        struct err e = {0};

        assert_int_equal(set_args(s, rows[i].line, words, &n, &e), rows[i].code);
        assert_string_equal(e.text, rows[i].want);
        option_set_free(s);
    }
}

static void test_option__verbosity(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {{"-v", "debug"},
                {"-vvvvvvvvvvvvvvvvvv", "debug"},
                {"-q", "warn"},
                {"-q -q", "error"},
                {"-qqqqqqqqqqqqqqqqqqqqq", "error"},
                {"-qv", "info"},
                {"--log-level=error -v", "warn"},
                {"-v --log-level=error", "warn"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct option_set *s = option_set_new();
        const char *words[4];
        struct err e = {0};

        assert_int_equal(set_args(s, rows[i].line, words, NULL, &e), 0);
        assert_true(str_eq(option_text(s, "log.level"), str_of(rows[i].want)));
        option_set_free(s);
    }
}

static void test_option__every_bad_flag_is_collected(void **state)
{
    static const char *const given[] = {"--port=abc", "word", "--prot=1", "--workers", "4", "--admin-token=x",
                                        "-z", "--no-port", "--data-dir=", "-qv", "--", "-1", "--drain"};
    char *argv[ARRAY_LEN(given)];
    struct option_set *s = option_set_new();
    struct buf b = BUF_INIT(4096);
    const char *words[2];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        argv[i] = xstrdup(given[i]);
    assert_int_equal(option_set_args_all(s, ARRAY_LEN(argv), argv, words, ARRAY_LEN(words), &n, &b), 7);
    assert_string_equal(buf_cstr(&b),
                        "flag --port: 'abc' is not a whole number\n"
                        "unknown option --prot; did you mean --port?\n"
                        "flag --admin-token: a secret is taken from the environment, not from an argument that every "
                        "user of the machine can read\n"
                        "unknown option -z\n"
                        "flag --no-port: is not for an option with a value\n"
                        "flag --data-dir: has 0 characters, not 1..4000\n"
                        "too many words: '--drain'\n");
    assert_int_equal(n, 2);
    assert_string_equal(words[0], "word"); /* borrowed */
    assert_string_equal(words[1], "-1");
    assert_int_equal(option_int(s, "workers"), 4); /* what is good counts */
    assert_int_equal(option_int(s, "port"), 8081);
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        xfree(argv[i]);
    buf_release(&b);
    option_set_free(s);
}

static void test_option__nearest_of_other_names(void **state)
{
    static const char *const names[] = {"serve", "import", "backup", "health", "run"};
    static const struct {
        const char *word, *want;
    } rows[] = {{"sevre", "serve"}, {"imprt", "import"}, {"BACKUP", "backup"}, {"runn", "run"}, {"rnu", NULL},
                {"frobnicate", NULL}, {"", NULL}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = option_nearest_of(str_of(rows[i].word), names, ARRAY_LEN(names));

        if (rows[i].want ? !got || strcmp(got, rows[i].want) != 0 : got != NULL)
            fail_msg("'%s' gave %s", rows[i].word, got ? got : "none");
    }
}

/* Environment. --------------------------------------------------------------------------------- */

static struct option_set *set_env(const char *const *entries, int want, const char *problems)
{
    struct option_set *s = option_set_new();
    struct buf b = BUF_INIT(4096);
    char *envp[16] = {NULL};

    for (size_t i = 0; entries[i]; i++)
        envp[i] = xstrdup(entries[i]);
    assert_int_equal(option_set_env(s, envp, &b), want);
    assert_string_equal(buf_cstr(&b), problems);
    for (size_t i = 0; envp[i]; i++)
        xfree(envp[i]);
    buf_release(&b);
    return s;
}

#define ENV(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_option__environment(void **state)
{
    struct option_set *s = set_env(ENV("HOME=/x", "PORT=9000", "GATEHOUSE_TLS_CERT=c.pem",
                                       "DATA_DIR=/srv", "API_MONITOR_TOKEN=old", "PORTS=1",
                                       "GATEHOUSE_EGRESS_DENY=10.0.0.0/8 fc00::/7"),
                                   0, "");
    char text[64];

    assert_int_equal(option_int(s, "port"), 9000);
    assert_string_equal(option_origin_text(s, "port", text, sizeof(text)), "environment PORT");
    assert_true(str_eq(option_text(s, "tls.cert"), STR("c.pem")));
    assert_true(str_eq(option_text(s, "data_dir"), STR("/srv")));
    assert_true(str_eq(option_text(s, "admin_token"), STR("old")));
    assert_true(str_eq(option_item(s, "egress.deny", 1), STR("fc00::/7")));
    option_set_free(s);
}

static void test_option__newer_environment_names_win(void **state)
{
    struct option_set *s = set_env(
        ENV("PORT=1", "GATEHOUSE_PORT=2", "API_MONITOR_TOKEN=old", "API_MONITOR_TOKEN_ADMIN=new"),
        0, "");

    assert_int_equal(option_int(s, "port"), 2);
    assert_true(str_eq(option_text(s, "admin_token"), STR("new")));
    option_set_free(s);
}

static void test_option__empty_environment_is_unset(void **state)
{
    /* The shipped compose file set the visitor token to nothing, which opened the pages (W-S8). */
    struct option_set *s = set_env(
        ENV("API_MONITOR_TOKEN_VISITOR=", "PORT=", "GATEHOUSE_DATA_DIR=", "DATA_DIR=/srv"), 0, "");

    assert_int_equal(option_origin(s, "visitor_token"), OPTION_DEFAULT);
    assert_int_equal(option_int(s, "port"), 8081);
    assert_true(str_eq(option_text(s, "data_dir"), STR("/srv")));
    option_set_free(s);
}

static void test_option__old_numbers_fall_back(void **state)
{
    struct option_set *s =
        set_env(ENV("PORT=abc", "DEFAULT_INTERVAL_MIN=1441", "MONITOR_DETECT_CONCURRENCY=0",
                    "MONITOR_MAX_PARALLEL_TARGETS=-3", "LOG_MAX_SIZE_MB=99999999999999999999"),
                0,
                "warning: PORT: 'abc' is not a whole number; ignored\n"
                "warning: DEFAULT_INTERVAL_MIN: '1441' is not in 1..1440; ignored\n"
                "warning: MONITOR_DETECT_CONCURRENCY: '0' is not in 1..256; ignored\n"
                "warning: MONITOR_MAX_PARALLEL_TARGETS: '-3' is not in 1..4096; ignored\n"
                "warning: LOG_MAX_SIZE_MB: '99999999999999999999' is not in 0..102400; ignored\n");

    assert_int_equal(option_int(s, "port"), 8081);
    assert_int_equal(option_int(s, "default_interval_min"), 30);
    assert_int_equal(option_int(s, "detect_concurrency"), 3);
    assert_int_equal(option_int(s, "max_parallel_targets"), 2);
    assert_int_equal(option_origin(s, "log_max_size_mb"), OPTION_DEFAULT);
    option_set_free(s);
    option_set_free(
        set_env(ENV("PORT=-1"), 0, "warning: PORT: '-1' is not in 0..65535; ignored\n"));
    option_set_free(set_env(ENV("PORT=65536"), 1, "environment PORT: '65536' is not in 0..65535\n"));
}

/* A Kubernetes service named gatehouse sets this in every container beside it. */
static void test_option__survives_kubernetes_links(void **state)
{
    struct option_set *s = set_env(
        ENV("GATEHOUSE_PORT=tcp://10.0.0.1:8081", "GATEHOUSE_SERVICE_HOST=10.0.0.1",
            "GATEHOUSE_PORT_8081_TCP_ADDR=10.0.0.1", "PORT=9000"),
        0, "warning: GATEHOUSE_PORT: 'tcp://10.0.0.1:8081' is not a whole number; ignored\n");

    assert_int_equal(option_int(s, "port"), 9000);
    option_set_free(s);
}

static void test_option__bad_environment_is_collected(void **state)
{
    option_set_free(
        set_env(ENV("GATEHOUSE_WORKERS=many", "TRUST_PROXY_HEADERS=10.0.0.0/8",
                    "ACCESS_PASSWORD=a\x01", "GATEHOUSE_PROT=1"),
                3,
                "environment GATEHOUSE_WORKERS: 'many' is not a whole number\n"
                "environment ACCESS_PASSWORD: holds control characters\n"
                "environment TRUST_PROXY_HEADERS: '10.0.0.0/8' is not true or false\n"
                "warning: GATEHOUSE_PROT is not known; did you mean GATEHOUSE_PORT?\n"));
}

static void test_option__old_switch_is_on_but_for_four_words(void **state)
{
    static const struct {
        const char *entry;
        bool want;
    } rows[] = {{"LOG_CLEANUP_ENABLED=0", false},  {"LOG_CLEANUP_ENABLED=False", false},
                {"LOG_CLEANUP_ENABLED=no", false}, {"LOG_CLEANUP_ENABLED=OFF", false},
                {"LOG_CLEANUP_ENABLED=1", true},   {"LOG_CLEANUP_ENABLED=si", true},
                {"LOG_CLEANUP_ENABLED=", true},    {"GATEHOUSE_LOG_CLEANUP_ENABLED=no", false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct option_set *s = set_env(ENV(rows[i].entry), 0, "");

        assert_int_equal(option_bool(s, "log_cleanup_enabled"), rows[i].want);
        option_set_free(s);
    }
    option_set_free(set_env(ENV("GATEHOUSE_LOG_CLEANUP_ENABLED=si"), 1,
                            "environment GATEHOUSE_LOG_CLEANUP_ENABLED: 'si' is not true or false\n"));
}

static void test_option__flags_beat_the_environment_in_either_order(void **state)
{
    struct option_set *s = option_set_new();
    char entry[] = "PORT=1", *envp[] = {entry, NULL};
    struct buf b = BUF_INIT(100);
    const char *words[4];
    struct err e = {0};

    assert_int_equal(set_args(s, "--port=2", words, NULL, &e), 0);
    assert_int_equal(option_set_env(s, envp, &b), 0);
    assert_int_equal(option_int(s, "port"), 2);
    option_set_free(s);
    s = option_set_new();
    assert_int_equal(option_set_env(s, envp, &b), 0);
    assert_int_equal(set_args(s, "--port=2", words, NULL, &e), 0);
    assert_int_equal(option_int(s, "port"), 2);
    option_set_free(s);
    buf_release(&b);
}

/* Showing. ------------------------------------------------------------------------------------- */

static void test_option__dup_is_independent(void **state)
{
    struct option_set *s = set_env(ENV("PORT=9000", "API_MONITOR_TOKEN=abcdefghijkl"), 0, "");
    struct option_set *copy = option_set_dup(s);
    char text[64];

    option_set_free(s);
    assert_int_equal(option_int(copy, "port"), 9000);
    assert_string_equal(option_origin_text(copy, "port", text, sizeof(text)), "environment PORT");
    assert_true(str_eq(option_text(copy, "admin_token"), STR("abcdefghijkl")));
    option_set_free(copy);
}

static void test_option__dump_masks_secrets(void **state)
{
    struct option_set *s =
        set_env(ENV("API_MONITOR_TOKEN=amtk-0123456789", "GATEHOUSE_TLS_CERT=x"), 0, "");
    struct buf b = BUF_INIT(1 << 16);

    option_dump(s, &b);
    assert_null(strstr(buf_cstr(&b), "amtk"));
    assert_non_null(
        strstr(buf_cstr(&b), "\nadmin_token = ****6789  # environment API_MONITOR_TOKEN\n"));
    assert_non_null(strstr(buf_cstr(&b), "\ntls.cert = x  # environment GATEHOUSE_TLS_CERT\n"));
    assert_non_null(strstr(buf_cstr(&b), "\nport = 8081  # default\n"));
    buf_release(&b);
    option_set_free(s);
}

static void test_option__help_fits_and_is_complete(void **state)
{
    for (int full = 0; full < 2; full++) {
        struct buf b = BUF_INIT(1 << 17);
        struct str text, line;

        option_help(&b, full);
        text = buf_str(&b);
        while (str_split(&text, '\n', &line)) {
            assert_true(line.len <= 80 || str_find_str(line, STR("--log-")) >= 0);
            assert_false(line.len > 0 && line.ptr[line.len - 1] == ' ');
        }
        assert_non_null(strstr(buf_cstr(&b), "--port=NUMBER"));
        assert_non_null(strstr(buf_cstr(&b), "--[no-]visitor-mode"));
        assert_non_null(strstr(buf_cstr(&b), "--log-format=text|json|journal"));
        assert_null(strstr(buf_cstr(&b), "--admin-token"));
        assert_non_null(strstr(buf_cstr(&b), "GATEHOUSE_ADMIN_TOKEN"));
        assert_int_equal(strstr(buf_cstr(&b), "--http-head-timeout") != NULL, full);
        buf_release(&b);
    }
}

static void test_option__help_of_some(void **state)
{
    struct buf b = BUF_INIT(1 << 14), little = BUF_INIT(100);

    option_help_of(&b, STR("token url"));
    assert_non_null(strstr(buf_cstr(&b), "  --url=TEXT "));
    assert_non_null(strstr(buf_cstr(&b), "  GATEHOUSE_TOKEN "));
    assert_true(strstr(buf_cstr(&b), "--url") < strstr(buf_cstr(&b), "GATEHOUSE_TOKEN"));
    assert_null(strstr(buf_cstr(&b), "--dry-run"));
    assert_null(strstr(buf_cstr(&b), "--port"));
    option_help_of(&little, STR("token url"));
    assert_true(buf_len(&little) <= 100);
    buf_release(&b);
    buf_release(&little);
}

static void test_option__help_stops_at_a_ceiling(void **state)
{
    for (size_t max = 0; max < 3000; max += 11) {
        struct buf b = BUF_INIT(max);
        struct option_set *s = option_set_new();

        option_help(&b, max % 2);
        assert_true(buf_len(&b) <= max);
        buf_clear(&b);
        option_dump(s, &b);
        option_set_free(s);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_option__parses_booleans),
        cmocka_unit_test(test_option__parses_sizes),
        cmocka_unit_test(test_option__parses_durations),
        cmocka_unit_test(test_option__number_forms_read_back),
        cmocka_unit_test(test_option__rows_are_sound),
        cmocka_unit_test(test_option__defaults_of_the_specification),
        cmocka_unit_test(test_option__refuses_bad_values),
        cmocka_unit_test(test_option__names_the_field),
        cmocka_unit_test(test_option__never_repeats_a_secret),
        cmocka_unit_test(test_option__unknown_names_get_the_nearest),
        cmocka_unit_test(test_option__stronger_origins_win),
        cmocka_unit_test(test_option__lists),
        cmocka_unit_test(test_option__flags),
        cmocka_unit_test(test_option__bad_flags),
        cmocka_unit_test(test_option__verbosity),
        cmocka_unit_test(test_option__environment),
        cmocka_unit_test(test_option__newer_environment_names_win),
        cmocka_unit_test(test_option__empty_environment_is_unset),
        cmocka_unit_test(test_option__old_numbers_fall_back),
        cmocka_unit_test(test_option__survives_kubernetes_links),
        cmocka_unit_test(test_option__bad_environment_is_collected),
        cmocka_unit_test(test_option__old_switch_is_on_but_for_four_words),
        cmocka_unit_test(test_option__flags_beat_the_environment_in_either_order),
        cmocka_unit_test(test_option__dup_is_independent),
        cmocka_unit_test(test_option__dump_masks_secrets),
        cmocka_unit_test(test_option__help_fits_and_is_complete),
        cmocka_unit_test(test_option__help_of_some),
        cmocka_unit_test(test_option__every_bad_flag_is_collected),
        cmocka_unit_test(test_option__nearest_of_other_names),
        cmocka_unit_test(test_option__help_stops_at_a_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
