/* test_store.c -- opening, jobs, transactions, statements, backup. */
#include "store_fixture.h"

#include "base/metric.h"

static void test_store__makes_private_files(void **state)
{
    char *top = fixture_dir(), *dir = fixture_path(top, "a/b"), *db = fixture_path(dir, "gatehouse.db");
    struct store *s = fixture_open(dir);
    struct stat st;

    assert_true(store_is_new(s));
    assert_false(store_is_exposed(s));
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(db, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(store_db_bytes(s) > 4096);
    assert_int_equal(fixture_read(s, "PRAGMA user_version"), STORE_SCHEMA_VERSION);
    assert_int_equal(fixture_read(s, "PRAGMA application_id"), STORE_APPLICATION_ID);
    assert_int_equal(fixture_read(s, "PRAGMA auto_vacuum"), 2);
    store_close(s);
    /* closed cleanly: the database stands alone */
    assert_int_equal(fixture_count_files(dir), 3); /* with lock and reserve */
    chmod(dir, 0755);
    s = fixture_open(dir);
    assert_false(store_is_new(s));
    assert_true(store_is_exposed(s));
    store_close(s);
    xfree(db);
    xfree(dir);
    fixture_remove(top);
}

static void test_store__refuses_a_bad_directory(void **state)
{
    char *dir = fixture_dir(), *file = fixture_path(dir, "file");
    struct store *s = NULL;
    struct err e;

    fixture_spill(file, "x", 1);
    assert_true(fixture_try_open(file, &s, &e) < 0);
    assert_true(fixture_try_open("", &s, &e) == ERR_RANGE);
    assert_null(s);
    xfree(file);
    fixture_remove(dir);
}

static void test_store__keeps_what_was_committed(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);

    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('a', 7, '')", NULL), 0);
    assert_int_equal(fixture_read(s, "SELECT value FROM watermarks WHERE name = 'a'"), 7);
    store_close(s);
    s = fixture_open(dir);
    assert_int_equal(fixture_read(s, "SELECT value FROM watermarks WHERE name = 'a'"), 7);
    store_close(s);
    fixture_remove(dir);
}

static int run_two_then_fail(struct store_job *j, struct store_conn *c)
{
    int rc = store_exec(c, "INSERT INTO watermarks VALUES ('x', 1, '')", &j->err);

    return rc < 0 ? rc : err_set(&j->err, ERR_RANGE, "on purpose");
}

static void test_store__rolls_a_failed_job_back(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct fixture_job f;
    struct err e;

    fixture_job_init(&f, NULL);
    f.job.run = run_two_then_fail;
    assert_int_equal(store_write(s, &f.job), 0);
    assert_int_equal(fixture_wait(&f), ERR_RANGE);
    assert_string_equal(f.job.err.text, "on purpose");
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM watermarks"), 0);
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('x', 1, '')", NULL), 0);
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('x', 1, '')", &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "UNIQUE constraint failed: watermarks.name"));
    assert_int_equal(fixture_write(s, "INSERT INTO channel_state (channel_id) VALUES (99)", &e), ERR_CONFLICT);
    assert_int_equal(store_health(s, NULL), 0); /* a constraint is no storage failure */
    assert_int_equal(store_failing_ms(s), 0);
    store_close(s);
    fixture_remove(dir);
}

/* ---- answers on the caller's loop ---- */

struct loop_job {
    struct store_job job;
    struct loop *loop;
    bool was_on_loop;
};

static void on_loop_done(struct store_job *j)
{
    struct loop_job *l = container_of(j, struct loop_job, job);

    l->was_on_loop = loop_current() == l->loop;
    loop_stop(l->loop);
}

static int run_nothing(struct store_job *j, struct store_conn *c)
{
    return store_exec(c, "SELECT 1", &j->err);
}

static void test_store__answers_on_the_reply_loop(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);

    for (int i = 0; i < 2; i++) {
        struct loop *loop = loop_new("test", 0);
        struct loop_job l = {.job = {.reply_loop = loop, .run = run_nothing, .done = on_loop_done}, .loop = loop};

        assert_int_equal(i == 0 ? store_read(s, &l.job) : store_write(s, &l.job), 0);
        loop_run(loop);
        assert_true(l.was_on_loop);
        assert_int_equal(l.job.rc, 0);
        loop_free(loop);
    }
    store_close(s);
    fixture_remove(dir);
}

/* ---- readers ---- */

static void test_store__stops_an_endless_read(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct fixture_job f;
    mono_ms before = clock_mono_ms();

    fixture_job_init(&f, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n");
    assert_int_equal(store_read(s, &f.job), 0);
    /* the other reader and the writer go on meanwhile */
    for (int i = 0; i < 50; i++)
        assert_int_equal(fixture_read(s, "SELECT 5"), 5);
    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('a', 7, '')", NULL), 0);
    assert_true(clock_mono_ms() - before < 1500);
    assert_int_equal(fixture_wait(&f), ERR_TIMEOUT);
    assert_true(clock_mono_ms() - before >= STORE_READ_LIMIT_MS - 1);
    assert_true(clock_mono_ms() - before < STORE_READ_LIMIT_MS + 1500);
    /* both readers work again */
    for (int i = 0; i < 8; i++)
        assert_int_equal(fixture_read(s, "SELECT 6"), 6);
    store_close(s);
    fixture_remove(dir);
}

static void test_store__reader_cannot_write(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct fixture_job f;

    fixture_job_init(&f, "DELETE FROM watermarks");
    assert_int_equal(store_read(s, &f.job), 0);
    assert_int_equal(fixture_wait(&f), ERR_DENIED);
    store_close(s);
    fixture_remove(dir);
}

/* A row is left standing: the snapshot must end with the job all the same. */
static int run_forgetful(struct store_job *j, struct store_conn *c)
{
    struct store_stmt *st;
    int rc = store_prepare(c, "SELECT name FROM watermarks", &st, &j->err);

    return rc < 0 ? rc : MIN(store_step(st, &j->err), 0);
}

static void test_store__ends_a_forgotten_snapshot(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct store_conn *c;
    struct fixture_job f;

    assert_int_equal(fixture_write(s, "INSERT INTO watermarks VALUES ('a', 1, ''), ('b', 2, '')", NULL), 0);
    fixture_job_init(&f, NULL);
    f.job.run = run_forgetful;
    assert_int_equal(store_read(s, &f.job), 0);
    assert_int_equal(fixture_wait(&f), 0);
    assert_int_equal(fixture_write(s, "UPDATE watermarks SET value = 3", NULL), 0);
    c = store_writer_lock(s);
    sqlite3_busy_timeout(c->db, 100);
    assert_int_equal(sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
    store_writer_unlock(s);
    store_close(s);
    fixture_remove(dir);
}

/* ---- queues ---- */

static void test_store__bounds_its_queues(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct fixture_job *f = xcalloc(STORE_JOBS_MAX + 2, sizeof(*f));
    struct store_conn *c = store_writer_lock(s); /* nothing is written now */
    unsigned taken = 0, refused = 0;

    (void)c;
    for (unsigned i = 0; i < STORE_JOBS_MAX + 2; i++) {
        int rc;

        fixture_job_init(&f[i], "SELECT 1");
        rc = store_write(s, &f[i].job);
        if (rc == 0) {
            taken++;
        } else {
            assert_int_equal(rc, ERR_BUSY);
            refused++;
        }
    }
    assert_true(taken >= STORE_JOBS_MAX); /* one may be in the thread's hand */
    assert_true(refused >= 1);
    assert_true(metric_value(METRIC_STORE_QUEUE, 0) >= STORE_JOBS_MAX - 1);
    store_writer_unlock(s);
    for (unsigned i = 0; i < taken; i++)
        assert_int_equal(fixture_wait(&f[i]), 0);
    assert_int_equal(metric_value(METRIC_STORE_QUEUE, 0), 0);
    xfree(f);
    store_close(s);
    fixture_remove(dir);
}

static void test_store__close_writes_what_waits_and_cancels_reads(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct fixture_job writes[20], reads[200];
    unsigned cancelled = 0;

    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        fixture_job_init(&reads[i], "SELECT 1");
        assert_int_equal(store_read(s, &reads[i].job), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        fixture_job_init(&writes[i], "INSERT INTO audit (at_utc_ms, actor, action) VALUES (1, 'system', 'test')");
        assert_int_equal(store_write(s, &writes[i].job), 0);
    }
    store_close(s);
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        assert_int_equal(fixture_wait(&writes[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        int rc = fixture_wait(&reads[i]);

        assert_true(rc == 0 || rc == ERR_CANCELLED);
        cancelled += rc == ERR_CANCELLED;
    }
    (void)cancelled; /* how many is the scheduler's choice; that all are answered is ours */
    s = fixture_open(dir);
    assert_int_equal(fixture_read(s, "SELECT count(*) FROM audit"), 20);
    store_close(s);
    fixture_remove(dir);
}

/* ---- statements ---- */

static void test_store__statements_carry_values(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct store_conn *c = store_writer_lock(s);
    static const char sql[] = "SELECT ?1, ?2, ?3, ?4, ?5, ?6";
    struct store_stmt *st, *again;
    struct err e;

    assert_int_equal(store_prepare(c, sql, &st, &e), 0);
    store_bind_i64(st, 1, INT64_MIN);
    store_bind_double(st, 2, 1.5);
    store_bind_str(st, 3, STR("text"));
    store_bind_str(st, 4, STR(""));
    store_bind_str(st, 5, STR_NONE);
    store_bind_blob(st, 6, "\0\1", 2);
    assert_int_equal(store_step(st, &e), 1);
    assert_true(store_col_i64(st, 0) == INT64_MIN);
    assert_true(store_col_double(st, 1) == 1.5);
    assert_true(str_eq(store_col_str(st, 2), STR("text")));
    assert_false(store_col_is_null(st, 3));
    assert_int_equal(store_col_str(st, 3).len, 0);
    assert_true(store_col_is_null(st, 4));
    assert_null(store_col_str(st, 4).ptr);
    assert_int_equal(store_col_blob(st, 5).len, 2);
    /* taken from the cache again: reset and unbound */
    assert_int_equal(store_prepare(c, sql, &again, &e), 0);
    assert_ptr_equal(st, again);
    assert_int_equal(store_step(st, &e), 1);
    assert_true(store_col_is_null(st, 0));
    assert_int_equal(store_step(st, &e), 0);
    store_reset(st);
    assert_int_equal(store_prepare(c, "SELECT nonsense FROM nowhere", &st, &e), ERR_INTERNAL);
    store_writer_unlock(s);
    store_close(s);
    fixture_remove(dir);
}

static void test_store__commit_tells_of_an_earlier_rollback(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct store_conn *c = store_writer_lock(s);
    struct err e;

    assert_int_equal(store_begin(c, &e), 0);
    assert_int_equal(store_exec(c, "INSERT INTO watermarks VALUES ('a', 1, '')", &e), 0);
    assert_true(store_exec(c, "INSERT OR ROLLBACK INTO watermarks VALUES ('a', 1, '')", &e) < 0);
    assert_int_equal(store_commit(c, &e), ERR_IO);
    assert_int_equal(store_begin(c, &e), 0);
    assert_int_equal(store_exec(c, "INSERT INTO watermarks VALUES ('b', 1, '')", &e), 0);
    assert_int_equal(store_commit(c, &e), 0);
    assert_int_equal(store_changes(c), 1);
    store_writer_unlock(s);
    store_close(s);
    fixture_remove(dir);
}

static void test_store__tells_tables_and_columns(void **state)
{
    char *dir = fixture_dir();
    struct store *s = fixture_open(dir);
    struct store_conn *c = store_writer_lock(s);
    struct err e;
    bool is = false;

    assert_int_equal(store_table_exists(c, "channels", &is, &e), 0);
    assert_true(is);
    assert_int_equal(store_table_exists(c, "channels'; DROP TABLE channels; --", &is, &e), 0);
    assert_false(is);
    assert_int_equal(store_column_exists(c, "channels", "Base_URL", &is, &e), 0);
    assert_true(is);
    assert_int_equal(store_column_exists(c, "channels", "nope", &is, &e), 0);
    assert_false(is);
    store_writer_unlock(s);
    store_close(s);
    fixture_remove(dir);
}

/* ---- checkpoints ---- */

static void test_store__keeps_the_wal_short(void **state)
{
    char *dir = fixture_dir(), *db = fixture_path(dir, "gatehouse.db");
    struct store *s = fixture_open(dir);

    for (int i = 0; i < 12; i++) /* some 1,000 pages each */
        assert_int_equal(fixture_write(s,
                                       "INSERT OR REPLACE INTO settings VALUES"
                                       " (hex(randomblob(8)), randomblob(4000000), 0, 1)",
                                       NULL), 0);
    assert_true(store_file_bytes(db, "-wal") < 8000 * 4120);
    assert_true(store_file_bytes(db, "") > 16000000); /* moved there */
    store_close(s);
    assert_int_equal(store_file_bytes(db, "-wal"), 0);
    xfree(db);
    fixture_remove(dir);
}

/* ---- backup and reading beside a live daemon ---- */

static void *write_on(void *arg)
{
    struct store *s = arg;

    for (int i = 0; i < 200; i++)
        assert_int_equal(fixture_write(s, "INSERT INTO audit (at_utc_ms, actor, action) VALUES (1, 'a', 'x'), (2, 'a', 'x')", NULL), 0);
    return NULL;
}

static void test_store__backup_is_whole_while_writing(void **state)
{
    char *dir = fixture_dir(), *copy_dir = fixture_dir(), *path = fixture_path(copy_dir, "gatehouse.db");
    struct store *s = fixture_open(dir), *copy;
    pthread_t t;
    struct err e = {0};
    struct stat st;

    pthread_create(&t, NULL, write_on, s);
    if (store_backup(s, path, &e) < 0)
        fail_msg("%s", e.text);
    pthread_join(t, NULL);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(store_backup(s, path, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "exists"));
    assert_true(store_backup(s, "/nonexistent/x", &e) < 0);
    store_close(s);
    assert_int_equal(fixture_count_files(copy_dir), 1);
    /* it can be started from, and ends at a commit */
    copy = fixture_open(copy_dir);
    assert_int_equal(fixture_read(copy, "SELECT count(*) % 2 FROM audit"), 0);
    assert_int_equal(fixture_read(copy, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    assert_int_equal(fixture_write(copy, "DELETE FROM audit", NULL), 0);
    store_close(copy);
    xfree(path);
    fixture_remove(dir);
    fixture_remove(copy_dir);
}

static void test_store__reads_beside_a_live_process(void **state)
{
    char *dir = fixture_dir();
    const struct store_config cfg = {.data_dir = dir, .readers = 1, .read_only = true};
    struct store *live = fixture_open(dir), *s = NULL;
    struct fixture_job f;
    struct err e;
    unsigned files;

    assert_int_equal(fixture_write(live, "INSERT INTO watermarks VALUES ('a', 7, '')", NULL), 0);
    assert_int_equal(store_open(&cfg, &s, &e), 0);
    assert_int_equal(fixture_read(s, "SELECT value FROM watermarks"), 7);
    fixture_job_init(&f, "SELECT 1");
    assert_int_equal(store_write(s, &f.job), ERR_DENIED);
    assert_true(store_begin(store_writer_lock(s), &e) < 0);
    store_writer_unlock(s);
    store_close(s);
    assert_int_equal(fixture_write(live, "UPDATE watermarks SET value = 8", NULL), 0);
    store_close(live);
    files = fixture_count_files(dir);
    assert_int_equal(store_open(&cfg, &s, &e), 0);
    assert_int_equal(fixture_read(s, "SELECT value FROM watermarks"), 8);
    store_close(s);
    assert_int_equal(fixture_count_files(dir), files);
    fixture_remove(dir);
}

static void test_store__read_only_needs_a_database(void **state)
{
    char *dir = fixture_dir();
    const struct store_config cfg = {.data_dir = dir, .read_only = true};
    struct store *s = NULL;
    struct err e;

    assert_int_equal(store_open(&cfg, &s, &e), ERR_NOTFOUND);
    assert_int_equal(fixture_count_files(dir), 0);
    fixture_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store__makes_private_files),
        cmocka_unit_test(test_store__refuses_a_bad_directory),
        cmocka_unit_test(test_store__keeps_what_was_committed),
        cmocka_unit_test(test_store__rolls_a_failed_job_back),
        cmocka_unit_test(test_store__answers_on_the_reply_loop),
        cmocka_unit_test(test_store__stops_an_endless_read),
        cmocka_unit_test(test_store__reader_cannot_write),
        cmocka_unit_test(test_store__ends_a_forgotten_snapshot),
        cmocka_unit_test(test_store__bounds_its_queues),
        cmocka_unit_test(test_store__close_writes_what_waits_and_cancels_reads),
        cmocka_unit_test(test_store__statements_carry_values),
        cmocka_unit_test(test_store__commit_tells_of_an_earlier_rollback),
        cmocka_unit_test(test_store__tells_tables_and_columns),
        cmocka_unit_test(test_store__keeps_the_wal_short),
        cmocka_unit_test(test_store__backup_is_whole_while_writing),
        cmocka_unit_test(test_store__reads_beside_a_live_process),
        cmocka_unit_test(test_store__read_only_needs_a_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
