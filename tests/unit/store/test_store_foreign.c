/* test_store_foreign.c -- somebody else's database is read and nothing beside it changes. */
#include "store_fixture.h"

struct world {
    char *dir, *db;
    struct timespec mtime;
    unsigned files;
};

static void run_raw(const char *path, const char *sql)
{
    sqlite3 *raw;

    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(raw), SQLITE_OK);
}

/* The writer dies with its last commits in the WAL (or a hot journal, when `sql` leaves one). */
static void run_and_die(const char *path, const char *sql)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        run_raw(path, "SELECT 1");
        {
            sqlite3 *raw;

            if (sqlite3_open(path, &raw) != SQLITE_OK || sqlite3_exec(raw, sql, NULL, NULL, NULL) != SQLITE_OK)
                _exit(1);
        }
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->dir = fixture_dir();
    w->db = fixture_path(w->dir, "their%20 data?#.db"); /* a name that a URI would misread */
    run_raw(w->db, "CREATE TABLE t (a, \"Odd Name\"); INSERT INTO t VALUES (1, 'x'), (2, NULL)");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    fixture_remove(w->dir);
    xfree(w->db);
    xfree(w);
    return 0;
}

static void remember(struct world *w)
{
    struct stat st;

    assert_int_equal(stat(w->dir, &st), 0);
    w->mtime = st.st_mtim;
    w->files = fixture_count_files(w->dir);
}

/* Not even a file that came and went: the directory's own time stands still. */
static void expect_untouched(struct world *w)
{
    struct stat st;

    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, w->mtime.tv_sec);
    assert_int_equal(st.st_mtim.tv_nsec, w->mtime.tv_nsec);
    assert_int_equal(fixture_count_files(w->dir), w->files);
}

static struct store_foreign *open_foreign(const char *path)
{
    struct store_foreign *f = NULL;
    struct err e = {0};

    if (store_foreign_open(path, &f, &e) < 0)
        fail_msg("%s", e.text);
    return f;
}

static int64_t ask(struct store_foreign *f, const char *sql)
{
    int64_t v = -1;
    struct err e = {0};

    if (store_conn_i64(store_foreign_conn(f), sql, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

static void test_store_foreign__reads_a_file_alone(void **state)
{
    struct world *w = *state;
    struct fixture_file before = fixture_slurp(w->db);
    struct store_foreign *f;
    struct err e;
    bool is = false;

    remember(w);
    f = open_foreign(w->db);
    assert_int_equal(ask(f, "SELECT sum(a) FROM t"), 3);
    assert_int_equal(store_table_exists(store_foreign_conn(f), "t", &is, &e), 0);
    assert_true(is);
    assert_int_equal(store_column_exists(store_foreign_conn(f), "t", "Odd Name", &is, &e), 0);
    assert_true(is);
    assert_int_equal(store_column_exists(store_foreign_conn(f), "t", "b", &is, &e), 0);
    assert_false(is);
    assert_int_equal(store_exec(store_foreign_conn(f), "DELETE FROM t", &e), ERR_DENIED);
    store_foreign_close(f);
    expect_untouched(w);
    fixture_same(w->db, &before);
}

static void test_store_foreign__reads_wal_mode_without_a_wal(void **state)
{
    struct world *w = *state;
    struct store_foreign *f;

    run_raw(w->db, "PRAGMA journal_mode = WAL; INSERT INTO t VALUES (10, 0)");
    remember(w);
    f = open_foreign(w->db);
    assert_int_equal(ask(f, "SELECT sum(a) FROM t"), 13);
    store_foreign_close(f);
    expect_untouched(w);
}


static void test_store_foreign__reads_what_lies_in_a_wal(void **state)
{
    struct world *w = *state;
    char *temp = fixture_dir(), wal[4200];
    struct fixture_file before, wal_before;
    struct store_foreign *f;

    run_and_die(w->db, "PRAGMA journal_mode = WAL; INSERT INTO t VALUES (10, 0)");
    snprintf(wal, sizeof(wal), "%s-wal", w->db);
    before = fixture_slurp(w->db);
    wal_before = fixture_slurp(wal);
    assert_true(wal_before.len > 0);
    remember(w);
    setenv("TMPDIR", temp, 1);
    f = open_foreign(w->db);
    assert_int_equal(ask(f, "SELECT sum(a) FROM t"), 13);
    assert_int_equal(fixture_count_files(temp), 1);
    assert_true(store_exec(store_foreign_conn(f), "DELETE FROM t", NULL) < 0);
    store_foreign_close(f);
    assert_int_equal(fixture_count_files(temp), 0); /* the copy is gone */
    unsetenv("TMPDIR");
    expect_untouched(w);
    fixture_same(w->db, &before);
    fixture_same(wal, &wal_before);
    fixture_remove(temp);
}

static void test_store_foreign__undoes_a_hot_journal_in_the_copy(void **state)
{
    struct world *w = *state;
    struct store_foreign *f;

    run_and_die(w->db, "PRAGMA cache_size = 1; BEGIN; DELETE FROM t;"
                       "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                       " SELECT i, hex(randomblob(100)) FROM n");
    remember(w);
    assert_int_equal(w->files, 2);
    f = open_foreign(w->db);
    assert_int_equal(ask(f, "SELECT sum(a) FROM t"), 3);
    store_foreign_close(f);
    expect_untouched(w);
}

static void test_store_foreign__follows_a_link_to_the_logs(void **state)
{
    struct world *w = *state;
    char *elsewhere = fixture_dir(), *link = fixture_path(elsewhere, "link.db");
    struct store_foreign *f;

    run_and_die(w->db, "PRAGMA journal_mode = WAL; INSERT INTO t VALUES (10, 0)");
    assert_int_equal(symlink(w->db, link), 0);
    f = open_foreign(link);
    assert_int_equal(ask(f, "SELECT sum(a) FROM t"), 13);
    store_foreign_close(f);
    assert_int_equal(fixture_count_files(elsewhere), 1);
    xfree(link);
    fixture_remove(elsewhere);
}

static void test_store_foreign__refuses_other_things(void **state)
{
    struct world *w = *state;
    char *path = fixture_path(w->dir, "other");
    struct store_foreign *f = NULL;
    struct fixture_file whole;
    struct err e = {0};

    assert_int_equal(store_foreign_open(path, &f, &e), ERR_NOTFOUND);
    fixture_spill(path, "", 0);
    assert_int_equal(store_foreign_open(path, &f, &e), ERR_SYNTAX);
    fixture_spill(path, "PK\3\4 something else entirely", 28);
    assert_int_equal(store_foreign_open(path, &f, &e), ERR_SYNTAX);
    assert_int_equal(store_foreign_open(w->dir, &f, &e), ERR_SYNTAX);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(store_foreign_open(path, &f, &e), ERR_SYNTAX); /* and does not wait for a writer */
    unlink(path);
    whole = fixture_slurp(w->db);
    fixture_spill(path, whole.bytes, 100); /* a header and nothing behind it */
    assert_int_equal(store_foreign_open(path, &f, &e), ERR_SYNTAX);
    assert_null(f);
    store_foreign_close(NULL);
    xfree(whole.bytes);
    xfree(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_foreign__reads_a_file_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_foreign__reads_wal_mode_without_a_wal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_foreign__reads_what_lies_in_a_wal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_foreign__undoes_a_hot_journal_in_the_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_foreign__follows_a_link_to_the_logs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_foreign__refuses_other_things, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
