/* test_log.c -- one record is one line and one write, whatever bytes are in it. The log writes to a
 * datagram socket, so each write(2) arrives as a piece of its own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"

#define PIECE_MAX 65536

static int out = -1, in = -1; /* the log's end, the test's end */
static char piece[PIECE_MAX + 1];

static int setup(void **state)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    out = ends[0];
    in = ends[1];
    log_setup(LOG_DEBUG, LOG_TEXT, out);
    return 0;
}

static int teardown(void **state)
{
    log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
    if (out >= 0)
        close(out);
    close(in);
    return 0;
}

/* What one write(2) wrote; NULL when there was none. */
static const char *next_piece(void)
{
    ssize_t n = recv(in, piece, PIECE_MAX, MSG_DONTWAIT);

    if (n <= 0)
        return NULL;
    piece[n] = '\0';
    return piece;
}

/* The next line behind its time, which must be one; "" when there is none. */
static const char *next_words(void)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z ";
    const char *line = next_piece();

    if (!line)
        return "";
    for (size_t i = 0; i < sizeof(shape) - 1; i++)
        assert_true(shape[i] == '0' ? line[i] >= '0' && line[i] <= '9' : line[i] == shape[i]);
    return line + sizeof(shape) - 1;
}

static void test_log__text_line(void **state)
{
    log_info("probe", "run ended channel=%d status=%s", 7, "degraded");
    assert_string_equal(next_words(), "info [probe] run ended channel=7 status=degraded\n");
    log_error("http", "x");
    assert_string_equal(next_words(), "error [http] x\n");
    log_warn("http", "%s", "");
    assert_string_equal(next_words(), "warn [http] \n");
    log_debug("http", "x");
    assert_string_equal(next_words(), "debug [http] x\n");
    assert_null(next_piece());
}

static void test_log__json_line(void **state)
{
    log_setup(LOG_INFO, LOG_JSON, out);
    log_warn("http", "a \"b\" \\ \n \x7f \xc2\x9b \xff \xe4\xbd\xa0");
    const char *line = next_piece();

    assert_non_null(line);
    assert_true(str_starts(str_of(line), STR("{\"time\":\"20")));
    assert_string_equal(strchr(line, ','),
                        ",\"level\":\"warn\",\"module\":\"http\",\"message\":\"a \\\"b\\\" \\\\ "
                        "\\u000a \\u007f \\u009b \\\\xff \xe4\xbd\xa0\"}\n");
}

static void test_log__journal_line(void **state)
{
    log_setup(LOG_DEBUG, LOG_JOURNAL, out);
    log_error("main", "a");
    log_warn("main", "b");
    log_info("main", "c");
    log_debug("main", "d");
    assert_string_equal(next_piece(), "<3>[main] a\n");
    assert_string_equal(next_piece(), "<4>[main] b\n");
    assert_string_equal(next_piece(), "<6>[main] c\n");
    assert_string_equal(next_piece(), "<7>[main] d\n");
}

static void test_log__level_holds_back(void **state)
{
    for (int level = LOG_ERROR; level < LOG_LEVELS; level++) {
        int lines = 0;

        log_level_set((enum log_level)level);
        assert_int_equal(log_level_get(), level);
        log_error("x", "x");
        log_warn("x", "x");
        log_info("x", "x");
        log_debug("x", "x");
        while (next_piece())
            lines++;
        assert_int_equal(lines, level + 1);
    }
}

static void test_log__level_names(void **state)
{
    enum log_level level = LOG_INFO;

    assert_int_equal(log_level_parse(STR("error"), &level), 0);
    assert_int_equal(level, LOG_ERROR);
    assert_int_equal(log_level_parse(STR("WARN"), &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse(STR("debug"), &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse(STR("debugs"), &level), ERR_SYNTAX);
    assert_int_equal(log_level_parse(STR_NONE, &level), ERR_SYNTAX);
    assert_int_equal(level, LOG_DEBUG);
}

static void test_log__escapes_what_a_terminal_obeys(void **state)
{
    log_info("x", "a\nb\tc\x1b[31m\x7f"
                  "d\r");
    assert_string_equal(next_words(), "info [x] a\\x0ab\\x09c\\x1b[31m\\x7fd\\x0d\n");
    log_info("x", "\xc2\x9b"
                  "31m \xff \xe4\xbd \xed\xa0\x80");
    assert_string_equal(next_words(), "info [x] \\xc2\\x9b31m \\xff \\xe4\\xbd \\xed\\xa0\\x80\n");
    log_info("x", "\xe4\xbd\xa0 \xf0\x9f\x98\x80 \\ \"");
    assert_string_equal(next_words(), "info [x] \xe4\xbd\xa0 \xf0\x9f\x98\x80 \\ \"\n");
}

static void test_log__every_byte_stays_on_one_line(void **state)
{
    for (int format = LOG_TEXT; format <= LOG_JOURNAL; format++) {
        log_setup(LOG_INFO, (enum log_format)format, out);
        for (int byte = 1; byte < 256; byte++) {
            log_info("x", "%c|", byte);
            struct str line = str_of(next_piece());

            assert_true(str_ends(line, format == LOG_JSON ? STR("|\"}\n") : STR("|\n")));
            assert_true(str_is_utf8(line));
            assert_false(str_has_control(str_cut(line, 0, line.len - 1)));
            assert_null(next_piece());
        }
    }
}

static void test_log__long_line_is_cut_with_a_mark(void **state)
{
    static const char *const unit[] = {"x", "\n", "\xff", "\xf0\x9f\x98\x80", "\""};
    char text[20001];

    for (int format = LOG_TEXT; format <= LOG_JOURNAL; format++) {
        log_setup(LOG_INFO, (enum log_format)format, out);
        for (size_t u = 0; u < ARRAY_LEN(unit); u++) {
            for (size_t front = 0; front < 8; front++) { /* the cut meets every byte of a unit */
                size_t n = front;

                memset(text, 'a', front);
                for (; n + 4 < sizeof(text); n += strlen(unit[u]))
                    memcpy(text + n, unit[u], strlen(unit[u]));
                text[n] = '\0';
                log_info("x", "%s", text);
                struct str line = str_of(next_piece());

                assert_in_range(line.len, 8192 - 32, 8192);
                assert_true(
                    str_ends(line, format == LOG_JSON ? STR(" [cut]\"}\n") : STR(" [cut]\n")));
                assert_true(str_is_utf8(line));
                assert_int_equal(str_find(line, '\n'), (ssize_t)line.len - 1);
                /* escapes are whole: none of the last unit but what stands before the mark */
                if (format == LOG_TEXT && u == 3)
                    assert_true(str_find_str(line, STR("\\x")) < 0);
                assert_null(next_piece());
            }
        }
    }
}

static void test_log__longest_whole_line_has_no_mark(void **state)
{
    char text[9000];
    size_t longest = 0;

    memset(text, 'x', sizeof(text));
    log_setup(LOG_INFO, LOG_JOURNAL, out);
    for (size_t n = 8000; n < 8300; n++) {
        log_info("x", "%.*s", (int)n, text);
        struct str line = str_of(next_piece());

        assert_true(line.len <= 8192);
        if (str_find_str(line, STR("[cut]")) < 0)
            longest = n;
        else
            assert_true(longest != 0 && longest < n);
    }
    assert_in_range(longest, 8150, 8191);
}

static void test_log__keeps_errno(void **state)
{
    close(out);
    out = -1;
    close(in);
    in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_setup(LOG_INFO, LOG_TEXT, in); /* not open for writing */
    errno = ENOTTY;
    log_info("x", "lost");
    assert_int_equal(errno, ENOTTY);
    log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
}

#define WRITERS 4
#define LINES   500

static void *write_lines(void *arg)
{
    const int *who = arg;

    for (int i = 0; i < LINES; i++) {
        log_info("x", "writer=%d line=%d", *who, i);
        log_level_set(LOG_INFO); /* races with the readers of the level */
    }
    return NULL;
}

static void test_log__threads_do_not_mix_lines(void **state)
{
    pthread_t threads[WRITERS];
    int who[WRITERS], next[WRITERS] = {0}, left = WRITERS * LINES;

    log_setup(LOG_INFO, LOG_JOURNAL, out);
    for (int i = 0; i < WRITERS; i++) {
        who[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &who[i]), 0);
    }
    for (; left > 0; left--) { /* waits for each: a lost line ends in the test's time limit */
        char want[64];
        ssize_t n = recv(in, piece, PIECE_MAX, 0);

        assert_true(n > 15);
        piece[n] = '\0';
        int from = piece[14] - '0';

        assert_in_range(from, 0, WRITERS - 1);
        snprintf(want, sizeof(want), "<6>[x] writer=%d line=%d\n", from, next[from]++);
        assert_string_equal(piece, want);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_null(next_piece());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log__text_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__json_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__journal_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__level_holds_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__level_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__escapes_what_a_terminal_obeys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__every_byte_stays_on_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__long_line_is_cut_with_a_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__longest_whole_line_has_no_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__keeps_errno, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log__threads_do_not_mix_lines, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
