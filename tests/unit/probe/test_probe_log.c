/* test_probe_log.c -- names, modes, lines and the clean-up of the JSONL files, in a real folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "probe/probe_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char data[64], logs[512];

static int set_up(void **state)
{
    struct err e;

    snprintf(data, sizeof(data), "/tmp/probe_log.XXXXXX");
    return !mkdtemp(data) || probe_log_dir(data, logs, sizeof(logs), &e) != 0;
}

static int tear_down(void **state)
{
    DIR *d = opendir(logs);

    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return rmdir(logs) != 0 || rmdir(data) != 0;
}

static void make(const char *name, size_t bytes, int64_t mtime_s)
{
    struct timespec times[2] = {{.tv_sec = mtime_s}, {.tv_sec = mtime_s}};
    char path[1024];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", logs, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static bool exists(const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", logs, name);
    return access(path, F_OK) == 0;
}

static const struct tz *zone(const char *name)
{
    const struct tz *z;

    assert_int_equal(tz_load(str_of(name), &z, NULL), 0);
    return z;
}

static void test_probe_log__name_is_local_time_and_never_taken(void **state)
{
    struct probe_log a = {.fd = -1}, b = {.fd = -1}, c = {.fd = -1};
    const utc_ms at = 1767229200000; /* 2026-01-01T01:00:00Z */
    char want[1024];

    assert_int_equal(probe_log_name(&a, logs, 7, at, zone("Asia/Taipei"), NULL), 0);
    snprintf(want, sizeof(want), "%s/target_7_20260101_090000.jsonl", logs);
    assert_string_equal(a.path, want);
    assert_int_equal(probe_log_open(&a, NULL), 0);
    assert_int_equal(probe_log_name(&b, logs, 7, at, zone("Asia/Taipei"), NULL), 0);
    snprintf(want, sizeof(want), "%s/target_7_20260101_090000_2.jsonl", logs);
    assert_string_equal(b.path, want);
    assert_int_equal(probe_log_open(&b, NULL), 0);
    assert_int_equal(probe_log_name(&c, logs, 7, at, zone("Asia/Taipei"), NULL), 0);
    snprintf(want, sizeof(want), "%s/target_7_20260101_090000_3.jsonl", logs);
    assert_string_equal(c.path, want);
    c = a;
    assert_int_equal(probe_log_open(&c, NULL), ERR_CONFLICT);
    probe_log_close(&a);
    probe_log_close(&b);
    probe_log_close(&b);
}

static void test_probe_log__lines_are_appended_and_private(void **state)
{
    struct probe_log l = {.fd = -1};
    struct stat st;
    char text[64] = "";
    int fd;

    assert_int_equal(probe_log_name(&l, logs, 8, 0, zone("UTC"), NULL), 0);
    assert_int_equal(probe_log_open(&l, NULL), 0);
    assert_int_equal(fcntl(l.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(l.fd, F_GETFL) & O_APPEND, O_APPEND);
    assert_int_equal(probe_log_write(&l, STR("{\"a\":1}\n"), NULL), 0);
    assert_int_equal(probe_log_write(&l, STR("{\"a\":2}\n"), NULL), 0);
    assert_int_equal(l.bytes, 16);
    assert_int_equal(stat(l.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    fd = open(l.path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof(text) - 1), 16);
    close(fd);
    assert_string_equal(text, "{\"a\":1}\n{\"a\":2}\n");
    probe_log_close(&l);
    assert_int_equal(probe_log_write(&l, STR("x"), NULL), 0); /* not open: nothing to do */
}

static void test_probe_log__a_full_disk_is_an_error_with_words(void **state)
{
    struct probe_log l = {.fd = -1};
    struct rlimit old, tight = {.rlim_cur = 4};
    struct err e = {0};
    int rc;

    assert_int_equal(probe_log_name(&l, logs, 9, 0, zone("UTC"), NULL), 0);
    assert_int_equal(probe_log_open(&l, NULL), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    tight.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tight);
    rc = probe_log_write(&l, STR("0123456789\n"), &e);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(e.text, "the disk took 4 of 11 bytes"));
    probe_log_close(&l);
}

static void test_probe_log__no_folder_is_an_error(void **state)
{
    struct probe_log l = {.fd = -1, .path = "/nonexistent/target_1.jsonl"};
    struct probe_log_sweep sweep;
    struct err e = {0};
    char out[512];

    assert_int_equal(probe_log_open(&l, &e), ERR_IO);
    assert_non_null(strstr(e.text, "open log file failed: "));
    assert_int_equal(probe_log_sweep("/nonexistent", 0, NULL, 0, &sweep, &e), ERR_IO);
    assert_int_equal(probe_log_dir("/nonexistent/data", out, sizeof(out), &e), ERR_IO);
}

static void test_probe_log__oldest_go_first_until_it_fits(void **state)
{
    struct probe_log_sweep sweep;

    make("target_1_a.jsonl", 100, 40);
    make("target_2_a.jsonl", 100, 10);
    make("target_3_a.jsonl", 100, 30);
    make("target_4_a.jsonl", 100, 20);
    assert_int_equal(probe_log_sweep(logs, 250, NULL, 0, &sweep, NULL), 0);
    assert_int_equal(sweep.removed, 2);
    assert_int_equal(sweep.removed_bytes, 200);
    assert_int_equal(sweep.bytes, 200);
    assert_int_equal(sweep.files, 4);
    assert_false(exists("target_2_a.jsonl") || exists("target_4_a.jsonl"));
    assert_true(exists("target_1_a.jsonl") && exists("target_3_a.jsonl"));
    assert_int_equal(probe_log_sweep(logs, 200, NULL, 0, &sweep, NULL), 0);
    assert_int_equal(sweep.removed, 0); /* exactly the limit is no excess */
}

static void test_probe_log__running_and_foreign_files_stay(void **state)
{
    char running[] = "target_1_a.jsonl";
    char *keep[] = {running};
    struct probe_log_sweep sweep;
    char path[1024];

    make(running, 1000, 1);
    make("target_2_a.jsonl", 100, 2);
    make("notes.txt", 1000, 1);
    snprintf(path, sizeof(path), "%s/link.jsonl", logs);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    assert_int_equal(probe_log_sweep(logs, 0, keep, 1, &sweep, NULL), 0);
    assert_int_equal(sweep.removed, 1);
    assert_int_equal(sweep.bytes, 0);
    assert_true(exists(running) && exists("notes.txt") && exists("link.jsonl"));
    assert_false(exists("target_2_a.jsonl"));
    assert_int_equal(probe_log_sweep(logs, UINT64_MAX, NULL, 0, &sweep, NULL), 0);
    assert_int_equal(sweep.bytes, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_probe_log__name_is_local_time_and_never_taken, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_probe_log__lines_are_appended_and_private, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_probe_log__a_full_disk_is_an_error_with_words, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_probe_log__no_folder_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_probe_log__oldest_go_first_until_it_fits, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_probe_log__running_and_foreign_files_stay, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
