#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "net/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- faults on purpose: these take the place of libc's calls in this program ---- */

static int sync_fails;     /* the next n fdatasync() calls return EIO */
static int write_fails;    /* the next n pwrite() calls return ENOSPC ... */
static bool short_writes;  /* ... and all others take at most 7 bytes, with EINTR between */

int fdatasync(int fd);
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off);

int fdatasync(int fd)
{
    if (sync_fails > 0) {
        sync_fails--;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd); /* 0 or -1 */
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off)
{
    static unsigned turn;

    if (write_fails > 0) {
        write_fails--;
        errno = ENOSPC;
        return -1;
    }
    if (short_writes && turn++ % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, short_writes ? MIN(n, (size_t)7) : n, off);
}

/* ---- helpers ---- */

static char dir[64];

static int setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/test-spool-XXXXXX");
    sync_fails = write_fails = 0;
    short_writes = false;
    return mkdtemp(dir) ? 0 : -1;
}

static void path_of(char out[400], const char *name)
{
    snprintf(out, 400, "%s/%s", dir, name);
}

static int teardown(void **state)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[400];

    while (d && (e = readdir(d)) != NULL) {
        path_of(path, e->d_name);
        if (unlink(path) < 0)
            (void)rmdir(path);
    }
    if (d)
        closedir(d);
    return rmdir(dir);
}

static struct spool *open_spool(uint64_t max)
{
    struct spool *s = NULL;
    struct err e = {0};

    if (spool_open(dir, max, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

static void append(struct spool *s, unsigned from, unsigned to)
{
    char text[32];

    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof(text), "record %u", i);
        assert_int_equal(spool_append(s, str_of(text), NULL), 0);
    }
}

static void expect(struct spool *s, unsigned from, unsigned to)
{
    struct str r;
    char text[32];

    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof(text), "record %u", i);
        if (spool_next(s, &r) != 0)
            fail_msg("nothing at %u", i);
        if (!str_eq_c(r, text))
            fail_msg("'%.*s' instead of '%s'", STR_ARG(r), text);
    }
}

static void expect_end(struct spool *s)
{
    struct str r;

    assert_int_equal(spool_next(s, &r), ERR_NOTFOUND);
}

static unsigned count_files(const char *suffix)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n = 0;

    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        n += str_ends(str_of(e->d_name), str_of(suffix));
    closedir(d);
    return n;
}

static void put_file(const char *name, struct str bytes)
{
    char path[400];
    FILE *f;

    path_of(path, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
    assert_int_equal(fclose(f), 0);
}

static void get_file(const char *name, struct buf *out)
{
    char path[400], piece[4096];
    FILE *f;
    size_t n;

    path_of(path, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    buf_clear(out);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_put(out, str_n(piece, n));
    fclose(f);
}

#define FIRST "0000000000000001.seg"

/* ---- tests ---- */

static void test_spool__gives_back_in_order_and_empties(void **state)
{
    struct spool *s = open_spool(1 << 20);

    expect_end(s);
    append(s, 0, 100);
    assert_int_equal(spool_pending(s), 100);
    assert_int_equal(spool_sync(s, NULL), 0);
    append(s, 100, 150);
    expect(s, 0, 150); /* synced and unsynced alike */
    expect_end(s);
    spool_rewind(s);
    expect(s, 0, 150);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(spool_pending(s), 0);
    assert_int_equal(spool_bytes(s), 0);
    assert_int_equal(count_files(".seg"), 0);
    append(s, 150, 160);
    expect(s, 150, 160);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 10);
    expect(s, 150, 160);
    expect_end(s);
    assert_int_equal(spool_damaged(s), 0);
    spool_close(s);
    spool_close(NULL);
}

static void test_spool__partial_done_survives_reopening(void **state)
{
    struct spool *s = open_spool(1 << 20);

    append(s, 0, 10);
    assert_int_equal(spool_sync(s, NULL), 0);
    append(s, 10, 20);
    expect(s, 0, 4);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(spool_done(s, NULL), 0);
    expect(s, 4, 14); /* into what is not synced yet */
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(spool_pending(s), 6);
    expect(s, 14, 16);
    spool_rewind(s);
    expect(s, 14, 20);
    expect_end(s);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 6);
    expect(s, 14, 20);
    append(s, 20, 25);
    expect(s, 20, 25);
    assert_int_equal(spool_done(s, NULL), 0);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 0);
    expect_end(s);
    assert_int_equal(count_files(".seg"), 0);
    spool_close(s);
}

static void test_spool__uses_segments_and_deletes_old_ones(void **state)
{
    struct spool *s = open_spool(64u << 20);
    char *big = xcalloc(1, SPOOL_RECORD_MAX + 1);
    struct str r;

    memset(big, 'b', SPOOL_RECORD_MAX + 1);
    assert_int_equal(spool_append(s, str_n(big, SPOOL_RECORD_MAX + 1), NULL), ERR_RANGE);
    assert_int_equal(spool_append(s, STR(""), NULL), ERR_RANGE);
    for (unsigned i = 0; i < 20; i++) {
        big[0] = (char)('A' + i); /* 20 letters */
        assert_int_equal(spool_append(s, str_n(big, SPOOL_RECORD_MAX), NULL), 0);
    }
    assert_int_equal(spool_sync(s, NULL), 0);
    assert_int_equal(count_files(".seg"), 3);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(spool_next(s, &r), 0);
        assert_int_equal(r.len, SPOOL_RECORD_MAX);
        assert_int_equal(r.ptr[0], 'A' + i);
        assert_int_equal(r.ptr[r.len - 1], 'b');
    }
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(count_files(".seg"), 2);
    spool_close(s);
    s = open_spool(64u << 20);
    assert_int_equal(spool_pending(s), 12);
    assert_int_equal(spool_next(s, &r), 0);
    assert_int_equal(r.ptr[0], 'A' + 8);
    spool_close(s);
    xfree(big);
}

static void test_spool__ceiling_refuses_and_frees_again(void **state)
{
    struct spool *s = open_spool(1000);
    struct err e = {0};
    unsigned n = 0;

    while (spool_append(s, STR("0123456789012345678901234567"), &e) == 0)
        n++;
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(n, (1000 - 32) / 40);
    assert_true(spool_bytes(s) <= 1000);
    assert_int_equal(spool_sync(s, NULL), 0);
    for (unsigned i = 0; i < n; i++) {
        struct str r;

        assert_int_equal(spool_next(s, &r), 0);
    }
    assert_int_equal(spool_done(s, NULL), 0);
    append(s, 0, 3);
    spool_close(s);
}

/* Cut at every length and changed at every byte: what is given back is always a prefix. */
static void test_spool__recovers_the_valid_prefix(void **state)
{
    struct spool *s = open_spool(1 << 20);
    struct buf whole = BUF_INIT(1 << 20);
    struct str r;
    char text[32];

    append(s, 0, 5);
    spool_close(s);
    get_file(FIRST, &whole);
    for (size_t i = 0; i < 2 * buf_len(&whole); i++) {
        size_t at = i / 2;
        unsigned n = 0;

        if (i % 2 == 0) {
            put_file(FIRST, str_cut(buf_str(&whole), 0, at));
        } else {
            whole.ptr[whole.head + at] ^= 0x10;
            put_file(FIRST, buf_str(&whole));
            whole.ptr[whole.head + at] ^= 0x10;
        }
        s = open_spool(1 << 20);
        for (; spool_next(s, &r) == 0; n++) {
            snprintf(text, sizeof(text), "record %u", n);
            if (!str_eq_c(r, text))
                fail_msg("byte %zu: '%.*s'", at, STR_ARG(r));
        }
        assert_int_equal(n, at < 16 ? 0 : (at - 16) / 20);
        if (i % 2 == 1)
            assert_int_equal(spool_damaged(s), 1);
        spool_close(s);
    }
    buf_release(&whole);
}

static void test_spool__bytes_of_another_segment_are_not_believed(void **state)
{
    struct spool *s = open_spool(1 << 20);
    struct buf file = BUF_INIT(1 << 20);

    append(s, 0, 5);
    spool_close(s);
    get_file(FIRST, &file);
    memcpy(file.ptr + file.head + 8, "\x05\0\0\0\0\0\0\0", 8); /* right header, records sealed for 1 */
    put_file("0000000000000005.seg", buf_str(&file));
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 5);
    assert_int_equal(spool_damaged(s), 1);
    expect(s, 0, 5);
    expect_end(s);
    append(s, 5, 6);
    expect(s, 5, 6);
    assert_int_equal(spool_sync(s, NULL), 0);
    assert_int_equal(count_files("0000000000000006.seg"), 1);
    spool_close(s);
    buf_release(&file);
}

static void test_spool__tolerates_foreign_files(void **state)
{
    struct spool *s;
    char path[400];

    put_file("README", STR("hello"));
    put_file("0000000000000003.seg", STR("not a segment at all"));
    put_file("0000000000000004.seg", STR(""));
    put_file("00000000000000AB.seg", STR("capital letters"));
    put_file("ffffffffffffffff.seg", STR("out of range"));
    put_file("mark", STR("short and wrong"));
    path_of(path, "0000000000000007.seg");
    assert_int_equal(mkdir(path, 0700), 0);
    path_of(path, "0000000000000008.seg");
    assert_int_equal(mkfifo(path, 0600), 0);
    path_of(path, "0000000000000009.seg");
    assert_int_equal(symlink("/etc/passwd", path), 0);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 0);
    assert_int_equal(spool_damaged(s), 1);
    append(s, 0, 3);
    assert_int_equal(spool_sync(s, NULL), 0);
    assert_int_equal(count_files("000000000000000a.seg"), 1);
    expect(s, 0, 3);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(count_files("README"), 1);
    assert_int_equal(count_files("ffffffffffffffff.seg"), 1);
    spool_close(s);
}

static void test_spool__works_without_a_mark(void **state)
{
    struct spool *s;
    char path[400];

    path_of(path, "mark");
    assert_int_equal(mkdir(path, 0700), 0);
    s = open_spool(1 << 20);
    append(s, 0, 3);
    expect(s, 0, 3);
    assert_int_equal(spool_done(s, NULL), ERR_IO);
    assert_int_equal(spool_pending(s), 3);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(spool_pending(s), 0);
    spool_close(s);
}

static void test_spool__lost_or_torn_mark_means_twice_not_never(void **state)
{
    struct spool *s = open_spool(1 << 20);
    struct buf mark = BUF_INIT(4096);

    append(s, 0, 10);
    assert_int_equal(spool_sync(s, NULL), 0);
    expect(s, 0, 3);
    assert_int_equal(spool_done(s, NULL), 0); /* slot 1 */
    expect(s, 3, 6);
    assert_int_equal(spool_done(s, NULL), 0); /* slot 0 */
    spool_close(s);
    get_file("mark", &mark);
    mark.ptr[mark.head + 20] ^= 1; /* the newer slot torn: the older holds */
    put_file("mark", buf_str(&mark));
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 7);
    expect(s, 3, 10);
    spool_close(s);
    put_file("mark", STR("")); /* both gone */
    s = open_spool(1 << 20);
    expect(s, 0, 10);
    spool_close(s);
    buf_release(&mark);
}

static void test_spool__full_disk_keeps_the_batch_for_later(void **state)
{
    struct spool *s = open_spool(1 << 20);
    struct err e = {0};

    append(s, 0, 5);
    assert_int_equal(spool_sync(s, NULL), 0);
    append(s, 5, 10);
    write_fails = 2;
    assert_int_equal(spool_sync(s, &e), ERR_IO);
    assert_non_null(strstr(e.text, "No space left"));
    append(s, 10, 12);
    assert_int_equal(spool_sync(s, &e), ERR_IO);
    expect(s, 0, 12);
    spool_rewind(s);
    assert_int_equal(spool_sync(s, &e), 0);
    expect(s, 0, 12);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_damaged(s), 0);
    expect(s, 0, 12);
    expect_end(s);
    spool_close(s);
}

static void test_spool__full_disk_for_the_first_file(void **state)
{
    struct spool *s = open_spool(1 << 20);

    append(s, 0, 5);
    write_fails = 1;
    assert_int_equal(spool_sync(s, NULL), ERR_IO);
    assert_int_equal(count_files(".seg"), 0);
    assert_int_equal(spool_sync(s, NULL), 0);
    expect(s, 0, 5);
    spool_close(s);
}

static void test_spool__failed_sync_writes_again_elsewhere(void **state)
{
    struct spool *s = open_spool(1 << 20);
    uint64_t bytes;

    append(s, 0, 5);
    assert_int_equal(spool_sync(s, NULL), 0);
    append(s, 5, 10);
    bytes = spool_bytes(s);
    expect(s, 0, 7); /* two of them in the batch */
    sync_fails = 2;
    assert_int_equal(spool_sync(s, NULL), ERR_IO);
    assert_int_equal(spool_pending(s), 10);
    assert_int_equal(spool_bytes(s), bytes + 16);
    expect(s, 7, 10);
    assert_int_equal(spool_sync(s, NULL), ERR_IO);
    spool_rewind(s);
    expect(s, 0, 6);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(spool_sync(s, NULL), 0);
    expect(s, 6, 10);
    expect_end(s);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 4);
    assert_int_equal(spool_damaged(s), 0);
    expect(s, 6, 10);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(count_files(".seg"), 0);
    spool_close(s);
}

static void test_spool__failed_mark_deletes_nothing(void **state)
{
    struct spool *s = open_spool(1 << 20);

    append(s, 0, 5);
    assert_int_equal(spool_sync(s, NULL), 0);
    expect(s, 0, 5);
    sync_fails = 1;
    assert_int_equal(spool_done(s, NULL), ERR_IO);
    assert_int_equal(spool_pending(s), 5);
    assert_int_equal(count_files(".seg"), 1);
    spool_rewind(s);
    expect(s, 0, 5);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(count_files(".seg"), 0);
    spool_close(s);
}

static void test_spool__memory_is_bounded_while_the_disk_is_gone(void **state)
{
    struct spool *s = open_spool(1u << 30);
    char record[1000];
    unsigned n = 0;

    memset(record, 'r', sizeof(record));
    write_fails = 1000000;
    while (n < 10000 && spool_append(s, str_n(record, sizeof(record)), NULL) == 0)
        n++;
    assert_in_range(n, 200, 300);
    assert_int_equal(spool_pending(s), n);
    write_fails = 0;
    assert_int_equal(spool_append(s, str_n(record, sizeof(record)), NULL), 0);
    spool_close(s);
    s = open_spool(1u << 30);
    assert_int_equal(spool_pending(s), n + 1);
    spool_close(s);
}

static void test_spool__short_writes_and_interruptions(void **state)
{
    struct spool *s;

    short_writes = true;
    s = open_spool(1 << 20);
    append(s, 0, 50);
    assert_int_equal(spool_sync(s, NULL), 0);
    expect(s, 0, 20);
    assert_int_equal(spool_done(s, NULL), 0);
    spool_close(s);
    s = open_spool(1 << 20);
    expect(s, 20, 50);
    expect_end(s);
    assert_int_equal(spool_damaged(s), 0);
    spool_close(s);
}

static void test_spool__damage_after_opening_is_left_out(void **state)
{
    struct spool *s = open_spool(1 << 20);
    char path[400];

    append(s, 0, 10);
    spool_close(s);
    s = open_spool(1 << 20);
    append(s, 10, 12);
    path_of(path, FIRST);
    assert_int_equal(truncate(path, 16 + 4 * 20 + 3), 0);
    spool_close(s);
    s = open_spool(1 << 20);
    assert_int_equal(spool_pending(s), 6);
    assert_int_equal(unlink(path), 0);
    append(s, 12, 13);
    assert_int_equal(spool_sync(s, NULL), 0);
    assert_int_equal(spool_damaged(s), 1);
    expect(s, 10, 13); /* the lost file is left out */
    expect_end(s);
    assert_int_equal(spool_damaged(s), 2);
    assert_int_equal(spool_pending(s), 3);
    assert_int_equal(spool_done(s, NULL), 0);
    assert_int_equal(count_files(".seg"), 0);
    spool_close(s);
}

/* A child writes and is killed; what it said was synced must be there. */
static void test_spool__kill_loses_nothing_synced(void **state)
{
    for (unsigned round = 0; round < 10; round++) {
        int pipe_fd[2];
        unsigned synced = 0, seen = 0, n;
        struct spool *s;
        struct str r;
        pid_t pid;

        assert_int_equal(pipe(pipe_fd), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            s = open_spool(1u << 30);
            for (unsigned i = 0;; i++) {
                append(s, i * 7, i * 7 + 7);
                n = i * 7 + 7;
                if (spool_sync(s, NULL) == 0 && write(pipe_fd[1], &n, sizeof(n)) != sizeof(n))
                    _exit(1);
            }
        }
        close(pipe_fd[1]);
        for (unsigned i = 0; i < 5 + round * 3; i++)
            assert_int_equal(read(pipe_fd[0], &synced, sizeof(synced)), sizeof(synced));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(pipe_fd[0], &n, sizeof(n)) == sizeof(n))
            synced = n;
        close(pipe_fd[0]);
        s = open_spool(1u << 30);
        while (spool_next(s, &r) == 0) {
            char text[32];

            snprintf(text, sizeof(text), "record %u", seen++);
            assert_true(str_eq_c(r, text));
        }
        assert_true(seen >= synced);
        assert_int_equal(spool_done(s, NULL), 0);
        spool_close(s);
    }
}

/* A really full file system: a tmpfs of 256 KiB; needs the right to mount, left out without. */
static void test_spool__really_full_file_system(void **state)
{
    struct spool *s = NULL;
    char inner[100], record[1000];
    unsigned n = 0;

    if (mount("none", dir, "tmpfs", 0, "size=256k") < 0)
        skip();
    snprintf(inner, sizeof(inner), "%s/spool", dir);
    memset(record, 'r', sizeof(record));
    assert_int_equal(spool_open(inner, 1u << 30, &s, NULL), 0);
    while (n < 10000 && spool_append(s, str_n(record, sizeof(record)), NULL) == 0) {
        n++;
        if (n % 10 == 0 && spool_sync(s, NULL) < 0)
            break;
    }
    assert_in_range(n, 100, 400);
    for (unsigned i = 0; i < n; i++) {
        struct str r;

        assert_int_equal(spool_next(s, &r), 0);
        assert_int_equal(r.len, sizeof(record));
    }
    assert_int_equal(spool_done(s, NULL), 0); /* marking needs no space */
    assert_int_equal(spool_append(s, str_n(record, sizeof(record)), NULL), 0);
    assert_int_equal(spool_sync(s, NULL), 0); /* it is free again */
    spool_close(s);
    assert_int_equal(umount(dir), 0);
}

static void test_spool__directory_that_cannot_be_made(void **state)
{
    struct spool *s = NULL;
    struct err e = {0};
    char path[400];

    path_of(path, "missing/deeper");
    assert_int_equal(spool_open(path, 1, &s, &e), ERR_IO);
    assert_non_null(strstr(e.text, "No such file"));
    put_file("plain", STR("x"));
    path_of(path, "plain");
    assert_int_equal(spool_open(path, 1, &s, &e), ERR_IO);
    assert_null(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spool__gives_back_in_order_and_empties),
        TEST(test_spool__partial_done_survives_reopening),
        TEST(test_spool__uses_segments_and_deletes_old_ones),
        TEST(test_spool__ceiling_refuses_and_frees_again),
        TEST(test_spool__recovers_the_valid_prefix),
        TEST(test_spool__bytes_of_another_segment_are_not_believed),
        TEST(test_spool__tolerates_foreign_files),
        TEST(test_spool__works_without_a_mark),
        TEST(test_spool__lost_or_torn_mark_means_twice_not_never),
        TEST(test_spool__full_disk_keeps_the_batch_for_later),
        TEST(test_spool__full_disk_for_the_first_file),
        TEST(test_spool__failed_sync_writes_again_elsewhere),
        TEST(test_spool__failed_mark_deletes_nothing),
        TEST(test_spool__memory_is_bounded_while_the_disk_is_gone),
        TEST(test_spool__short_writes_and_interruptions),
        TEST(test_spool__damage_after_opening_is_left_out),
        TEST(test_spool__kill_loses_nothing_synced),
        TEST(test_spool__really_full_file_system),
        TEST(test_spool__directory_that_cannot_be_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
