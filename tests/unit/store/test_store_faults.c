/* test_store_faults.c -- what must not happen to a data directory: two owners, a lost commit, a
 * file of somebody else written to, a full disk that ends the service. */
#include "store_fixture.h"

#include <grp.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define FAULT_ROUNDS 25

/* In the place of libc's, for SQLite too: so many of the next syncs fail. */
static _Atomic int failing_syncs;

static bool sync_fails(void)
{
    int left = failing_syncs;

    if (left <= 0)
        return false;
    failing_syncs = left - 1;
    errno = EIO;
    return true;
}

int fsync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fsync, fd); /* 0 or -1 */
}

int fdatasync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fdatasync, fd); /* 0 or -1 */
}

/* ---- one owner ---- */

static void test_store__second_owner_is_told_the_first(void **state)
{
    char *dir = fixture_dir(), want[64];
    struct store *s = fixture_open(dir), *t = NULL;
    mono_ms before = clock_mono_ms();
    struct err e;

    assert_int_equal(fixture_try_open(dir, &t, &e), ERR_CONFLICT);
    assert_true(clock_mono_ms() - before < 1000);
    snprintf(want, sizeof(want), "is held by process %ld since 20", (long)getpid());
    assert_non_null(strstr(e.text, want));
    assert_null(t);
    store_close(s);
    s = fixture_open(dir);
    store_close(s);
    fixture_remove(dir);
}

/* Child: opens, commits rows 1, 2, ... and tells each number after its commit, until it is killed. */
static void child_writes(const char *dir, int out)
{
    struct store *s = NULL;
    struct err e;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fixture_try_open(dir, &s, &e) < 0)
        _exit(2);
    for (;;) {
        struct store_conn *c = store_writer_lock(s);
        int64_t id;

        if (store_begin(c, &e) < 0 ||
            store_exec(c, "INSERT INTO audit (at_utc_ms, actor, action, detail) VALUES (1, 'a', 'x', hex(randomblob(300)))", &e) < 0)
            _exit(3);
        id = store_last_id(c);
        if (store_commit(c, &e) < 0)
            _exit(4);
        store_writer_unlock(s);
        if (write(out, &id, sizeof(id)) != (ssize_t)sizeof(id))
            _exit(5);
    }
}

static void test_store__kill_loses_no_commit_and_leaves_no_lock(void **state)
{
    char *dir = fixture_dir();

    for (int round = 0; round < FAULT_ROUNDS; round++) {
        int64_t acked = 0, id;
        struct store *s = NULL;
        struct err e;
        int fds[2], status;
        char who[32];
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        if (pid == 0)
            child_writes(dir, fds[1]);
        close(fds[1]);
        for (int i = 0; i < 3 + round; i++) {
            assert_int_equal(read(fds[0], &id, sizeof(id)), (ssize_t)sizeof(id));
            acked = id;
        }
        snprintf(who, sizeof(who), "process %ld ", (long)pid);
        assert_int_equal(fixture_try_open(dir, &s, &e), ERR_CONFLICT);
        assert_non_null(strstr(e.text, who));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(fds[0], &id, sizeof(id)) == (ssize_t)sizeof(id))
            acked = id;
        close(fds[0]);
        s = fixture_open(dir);
        assert_true(fixture_read(s, "SELECT max(id) FROM audit") >= acked);
        assert_int_equal(fixture_read(s, "SELECT max(id) - count(*) FROM audit"), 0);
        assert_int_equal(fixture_read(s, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
        store_close(s);
    }
    fixture_remove(dir);
}

static void test_store__kill_at_first_start_leaves_nothing_half_made(void **state)
{
    for (int round = 0; round < FAULT_ROUNDS; round++) {
        const struct timespec pause = {.tv_nsec = round * 400000};
        char *dir = fixture_dir();
        struct store *s;
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            struct err e;

            _exit(fixture_try_open(dir, &s, &e) < 0);
        }
        nanosleep(&pause, NULL); /* the moment of the kill is what varies */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        s = fixture_open(dir);
        assert_int_equal(fixture_read(s, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
        assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('a', 7, '')", NULL), 0);
        store_close(s);
        fixture_remove(dir);
    }
}

/* ---- refused files stay as they are ---- */

static void make_db(const char *dir, const char *sql)
{
    struct store *s = fixture_open(dir);

    if (sql) {
        struct store_conn *c = store_writer_lock(s);
        struct err e;

        assert_int_equal(store_exec(c, sql, &e), 0);
        store_writer_unlock(s);
    }
    store_close(s);
}

static void patch(const char *path, off_t at, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, at), (ssize_t)n);
    close(fd);
}

/* Opening fails with `code` and `text`, and leaves db (and its WAL, when there) untouched. */
static void expect_refusal(const char *dir, int code, const char *text)
{
    char *db = fixture_path(dir, "gatehouse.db"), *wal = fixture_path(dir, "gatehouse.db-wal");
    struct fixture_file before = fixture_slurp(db), wal_before = {0};
    bool has_wal = access(wal, F_OK) == 0;
    mono_ms began = clock_mono_ms();
    struct store *s = NULL;
    struct err e;
    int rc;

    if (has_wal)
        wal_before = fixture_slurp(wal);
    rc = fixture_try_open(dir, &s, &e);
    if (rc != code || !strstr(e.text, text))
        fail_msg("%d \"%s\", not %d \"%s\"", rc, e.text, code, text);
    assert_null(s);
    assert_true(clock_mono_ms() - began < 1000);
    assert_int_equal(access(wal, F_OK) == 0, has_wal);
    fixture_same(db, &before);
    if (has_wal)
        fixture_same(wal, &wal_before);
    xfree(db);
    xfree(wal);
}

static void test_store__refuses_what_is_no_database(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db"), zeros[8192] = {0};

    fixture_spill(db, "hello", 5);
    expect_refusal(dir, ERR_SYNTAX, "is no SQLite database");
    fixture_spill(db, zeros, sizeof(zeros));
    expect_refusal(dir, ERR_SYNTAX, "Move it away");
    assert_int_equal(fixture_count_files(dir), 1); /* no lock, no logs */
    unlink(db);
    assert_int_equal(mkdir(db, 0700), 0);
    {
        struct store *s = NULL;
        struct err e;

        assert_int_equal(fixture_try_open(dir, &s, &e), ERR_SYNTAX);
    }
    xfree(db);
    fixture_remove(dir);
}

static void test_store__refuses_a_foreign_database(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db");
    sqlite3 *raw;

    for (int wal = 0; wal < 2; wal++) {
        assert_int_equal(sqlite3_open(db, &raw), SQLITE_OK);
        assert_int_equal(sqlite3_exec(raw, wal ? "PRAGMA journal_mode = WAL; CREATE TABLE u (a); PRAGMA application_id = 77"
                                               : "CREATE TABLE t (a)", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(raw);
        expect_refusal(dir, ERR_SYNTAX, "another program");
        assert_int_equal(fixture_count_files(dir), 1);
    }
    xfree(db);
    fixture_remove(dir);
}

static void test_store__refuses_a_newer_schema(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db"), *wal = fixture_path(dir, "gatehouse.db-wal");
    pid_t pid;
    int status;

    make_db(dir, NULL);
    /* only the WAL knows: the writer was killed before its checkpoint */
    pid = fork();
    if (pid == 0) {
        struct store *s = fixture_open(dir);
        struct store_conn *c = store_writer_lock(s);

        if (store_exec(c, "PRAGMA user_version = 77", NULL) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(access(wal, F_OK), 0);
    expect_refusal(dir, ERR_CONFLICT, "schema version 77");
    /* and in the file itself */
    unlink(wal);
    patch(db, 60, "\0\0\0\x4e", 4);
    expect_refusal(dir, ERR_CONFLICT, "schema version 78");
    xfree(db);
    xfree(wal);
    fixture_remove(dir);
}

static void test_store__refuses_damage(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db"), junk[4096];
    struct fixture_file whole;

    memset(junk, 0xa5, sizeof(junk));
    make_db(dir, "INSERT INTO settings VALUES ('k', randomblob(60000), 0, 1);"
                 "INSERT INTO audit (at_utc_ms, actor, action, detail)"
                 " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                 " SELECT i, 'a', 'x', hex(randomblob(100)) FROM n");
    whole = fixture_slurp(db);
    /* the header, the schema's page, pages of tables, a cut file */
    patch(db, 16, "\xff\xff", 2);
    expect_refusal(dir, ERR_SYNTAX, "");
    fixture_spill(db, whole.bytes, whole.len);
    patch(db, 100, junk, 3000);
    expect_refusal(dir, ERR_SYNTAX, "is damaged");
    for (size_t page = 1; page < 6; page++) {
        fixture_spill(db, whole.bytes, whole.len);
        patch(db, (off_t)(whole.len / 4096 - page * 15) * 4096, junk, sizeof(junk)); /* within the file */
        expect_refusal(dir, ERR_SYNTAX, "Put a backup in its place");
    }
    fixture_spill(db, whole.bytes, whole.len / 2);
    expect_refusal(dir, ERR_SYNTAX, "is damaged");
    fixture_spill(db, whole.bytes, whole.len);
    make_db(dir, NULL);
    xfree(whole.bytes);
    xfree(db);
    fixture_remove(dir);
}

static void test_store__refuses_a_log_without_its_database(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db"), *wal = fixture_path(dir, "gatehouse.db-wal");
    struct store *s = NULL;
    struct err e;

    fixture_spill(wal, "frames", 6);
    assert_int_equal(fixture_try_open(dir, &s, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.text, "-wal"));
    assert_int_equal(access(db, F_OK), -1);
    fixture_spill(db, "", 0);
    assert_int_equal(fixture_try_open(dir, &s, &e), ERR_SYNTAX);
    unlink(wal);
    s = fixture_open(dir); /* empty counts as new */
    assert_true(store_is_new(s));
    store_close(s);
    xfree(db);
    xfree(wal);
    fixture_remove(dir);
}

/* As root nothing is read-only: ask as nobody. */
static void expect_denied_as_nobody(const char *dir)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct store *s = NULL;
        struct err e;

        if (getuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
            _exit(2);
        _exit(fixture_try_open(dir, &s, &e) == ERR_DENIED && strstr(e.text, "cannot be") ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_store__refuses_what_it_cannot_write(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db"), *lock = fixture_path(dir, "lock");
    struct fixture_file before;

    make_db(dir, NULL);
    chmod(db, 0444);
    chmod(lock, 0666);
    chmod(dir, 0777);
    before = fixture_slurp(db);
    expect_denied_as_nobody(dir); /* the file */
    fixture_same(db, &before);
    chmod(db, 0666);
    chmod(lock, 0444);
    before = fixture_slurp(db);
    expect_denied_as_nobody(dir); /* the lock */
    chmod(lock, 0666);
    chmod(dir, 0555);
    expect_denied_as_nobody(dir); /* the directory */
    fixture_same(db, &before);
    chmod(dir, 0700);
    xfree(db);
    xfree(lock);
    fixture_remove(dir);
}

/* ---- a full disk ---- */

/* 2 MiB of tmpfs over dir, in a mount namespace of this process alone. */
static bool mount_small(const char *dir)
{
    static bool is_apart;

    if (!is_apart && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return false;
    is_apart = true;
    return mount("none", dir, "tmpfs", 0, "size=2m,mode=0700") == 0;
}

static void fill_disk(const char *path)
{
    char junk[4096] = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    assert_true(fd >= 0);
    while (write(fd, junk, sizeof(junk)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

/* Until writes work, by the store's own trials: no sleep longer than the thing waited for. */
static bool wait_healthy(struct store *s, uint64_t limit_ms)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    mono_ms began = clock_mono_ms();

    while (store_failing_ms(s) != 0) {
        if (clock_mono_ms() - began > limit_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static void test_store__full_disk_is_survived(void **state)
{
    char *dir = fixture_dir(), *filler = fixture_path(dir, "filler");
    int64_t rows = 0;
    struct store *s;
    struct err e;
    int rc = 0;

    if (geteuid() != 0 || !mount_small(dir)) {
        fixture_remove(dir);
        xfree(filler);
        skip();
    }
    s = fixture_open(dir);
    fill_disk(filler);
    for (int i = 0; i < 2000 && rc == 0; i++) {
        rc = fixture_write(s, "INSERT INTO audit (at_utc_ms, actor, action, detail) VALUES (1, 'a', 'x', randomblob(20000))", &e);
        rows += rc == 0;
    }
    assert_int_equal(rc, ERR_IO); /* whatever a COMMIT failed of */
    assert_non_null(strstr(e.text, "full"));
    assert_true(store_failing_ms(s) > 0);
    assert_int_equal(store_health(s, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "full"));
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM audit"), rows); /* pages are served on */
    assert_int_equal(fixture_read(s, "SELECT max(id) FROM audit"), rows);
    assert_false(wait_healthy(s, 1500)); /* a trial that fits does not hide that batches do not */
    unlink(filler);
    assert_true(wait_healthy(s, 5000)); /* nobody wrote: the writer noticed by itself */
    assert_int_equal(store_health(s, NULL), 0);
    assert_int_equal(fixture_write(s, "INSERT INTO audit (at_utc_ms, actor, action) VALUES (1, 'a', 'x')", &e), 0);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM audit"), rows + 1);
    store_close(s);
    s = fixture_open(dir);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM audit"), rows + 1);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    store_close(s);
    umount2(dir, MNT_DETACH);
    xfree(filler);
    fixture_remove(dir);
}

static void test_store__failed_sync_is_no_commit(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct err e = {0};

    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('before', 1, '')", NULL), 0);
    failing_syncs = 1;
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('lost', 1, '')", &e), ERR_IO);
    assert_int_equal(failing_syncs, 0); /* it was met */
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM watermarks"), 1);
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('after', 1, '')", &e), 0);
    assert_int_equal(store_health(s, NULL), 0);
    failing_syncs = INT32_MAX;
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('lost', 1, '')", &e), ERR_IO);
    assert_int_equal(store_health(s, &e), ERR_IO);
    assert_true(store_failing_ms(s) > 0);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM watermarks"), 2);
    assert_false(wait_healthy(s, 1500)); /* its trials fail as well */
    failing_syncs = 0;
    assert_true(wait_healthy(s, 5000));
    store_close(s);
    s = fixture_open(dir);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM watermarks"), 2);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    store_close(s);
    fixture_remove(dir);
}

static void test_store__starts_on_a_full_disk(void **state)
{
    char *dir = fixture_dir(), *filler = fixture_path(dir, "filler"), *reserve = fixture_path(dir, "reserve");
    struct store *s = NULL;
    struct err e;

    if (geteuid() != 0 || !mount_small(dir)) {
        fixture_remove(dir);
        xfree(filler);
        xfree(reserve);
        skip();
    }
    fill_disk(filler);
    assert_int_equal(fixture_try_open(dir, &s, &e), ERR_LIMIT); /* there is nothing to start from */
    unlink(filler);
    make_db(dir, "INSERT INTO watermarks VALUES ('a', 7, '')");
    fill_disk(filler);
    s = fixture_open(dir);
    assert_int_equal(fixture_read(s, "SELECT value FROM watermarks"), 7);
    assert_int_equal(access(reserve, F_OK), -1); /* that is what it was for */
    unlink(filler);
    assert_true(wait_healthy(s, 5000));
    assert_int_equal(fixture_write(s, "UPDATE watermarks SET value = 8", &e), 0);
    store_close(s);
    make_db(dir, NULL);
    assert_int_equal(access(reserve, F_OK), 0); /* and laid by again */
    umount2(dir, MNT_DETACH);
    xfree(filler);
    xfree(reserve);
    fixture_remove(dir);
}

static void test_store__backup_on_a_full_disk_leaves_nothing(void **state)
{
    char *dir = fixture_dir(), *small = fixture_dir(), *path = fixture_path(small, "copy.db");
    struct store *s;
    struct err e;

    if (geteuid() != 0 || !mount_small(small)) {
        fixture_remove(dir);
        fixture_remove(small);
        xfree(path);
        skip();
    }
    s = fixture_open(dir);
    assert_int_equal(fixture_write(s, "INSERT INTO settings VALUES ('k', randomblob(4000000), 0, 1)", NULL), 0);
    assert_int_equal(store_backup(s, path, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "full"));
    assert_int_equal(fixture_count_files(small), 0);
    assert_int_equal(store_health(s, NULL), 0); /* the store itself is well */
    store_close(s);
    umount2(small, MNT_DETACH);
    xfree(path);
    fixture_remove(dir);
    fixture_remove(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store__second_owner_is_told_the_first),
        cmocka_unit_test(test_store__kill_loses_no_commit_and_leaves_no_lock),
        cmocka_unit_test(test_store__kill_at_first_start_leaves_nothing_half_made),
        cmocka_unit_test(test_store__refuses_what_is_no_database),
        cmocka_unit_test(test_store__refuses_a_foreign_database),
        cmocka_unit_test(test_store__refuses_a_newer_schema),
        cmocka_unit_test(test_store__refuses_damage),
        cmocka_unit_test(test_store__refuses_a_log_without_its_database),
        cmocka_unit_test(test_store__refuses_what_it_cannot_write),
        cmocka_unit_test(test_store__full_disk_is_survived),
        cmocka_unit_test(test_store__failed_sync_is_no_commit),
        cmocka_unit_test(test_store__starts_on_a_full_disk),
        cmocka_unit_test(test_store__backup_on_a_full_disk_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
