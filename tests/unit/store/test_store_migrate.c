/* test_store_migrate.c -- steps forward, each whole or not at all. */
#include "store_fixture.h"

static const struct store_migration steps[] = {
    {1, "CREATE TABLE a (x INTEGER PRIMARY KEY); INSERT INTO a VALUES (1)", "PRAGMA user_version = 1"},
    {2, "CREATE TABLE b (x INTEGER REFERENCES a(x)); INSERT INTO b VALUES (1)", "PRAGMA user_version = 2"},
    /* the order that sqlite.org/lang_altertable.html section 7 asks for */
    {3, "CREATE TABLE new (x INTEGER PRIMARY KEY, y); INSERT INTO new (x) SELECT x FROM a; DROP TABLE a;"
        "ALTER TABLE new RENAME TO a", "PRAGMA user_version = 3"},
};

static struct store_conn *open_file(const char *path)
{
    struct store_conn *c = NULL;
    struct err e;

    assert_int_equal(store_conn_open(path, STORE_ROLE_CREATE, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &c, &e), 0);
    assert_int_equal(store_conn_setup(c, STORE_ROLE_CREATE, &e), 0);
    return c;
}

static int64_t ask(struct store_conn *c, const char *sql)
{
    int64_t v = -1;
    struct err e = {0};

    if (store_conn_i64(c, sql, &v, &e) < 0)
        fail_msg("%s: %s", sql, e.text);
    return v;
}

static int64_t version_of(struct store_conn *c)
{
    return ask(c, "PRAGMA user_version");
}

static void test_store_migrate__goes_from_every_version(void **state)
{
    for (size_t from = 0; from <= ARRAY_LEN(steps); from++) {
        char *dir = fixture_dir(), *path = fixture_path(dir, "db");
        struct store_conn *c = open_file(path);
        struct err e = {0};

        if (from > 0)
            assert_int_equal(store_migrate_with(c, steps, from, &e), 0);
        assert_int_equal(version_of(c), from);
        if (store_migrate_with(c, steps, ARRAY_LEN(steps), &e) < 0)
            fail_msg("%s", e.text);
        assert_int_equal(version_of(c), 3);
        assert_int_equal(ask(c, "SELECT count(*) FROM b JOIN a USING (x)"), 1);
        assert_int_equal(ask(c, "PRAGMA foreign_keys"), 1); /* on again */
        assert_int_equal(store_migrate_with(c, steps, ARRAY_LEN(steps), &e), 0); /* nothing to do */
        store_conn_close(c);
        xfree(path);
        fixture_remove(dir);
    }
}

static void test_store_migrate__a_failing_step_leaves_the_version_before(void **state)
{
    static const struct store_migration bad[] = {
        {1, "CREATE TABLE a (x INTEGER PRIMARY KEY)", "PRAGMA user_version = 1"},
        {2, "CREATE TABLE b (x); CREATE TABLE c (x); INSERT INTO nowhere VALUES (1)", "PRAGMA user_version = 2"},
        {3, "CREATE TABLE d (x)", "PRAGMA user_version = 3"},
    };
    static const struct store_migration dangling[] = {
        {2, "CREATE TABLE b (x INTEGER REFERENCES a(x)); INSERT INTO b VALUES (9)", "PRAGMA user_version = 2"},
    };
    char *dir = fixture_dir(), *path = fixture_path(dir, "db");
    struct store_conn *c = open_file(path);
    struct err e = {0};

    assert_true(store_migrate_with(c, bad, ARRAY_LEN(bad), &e) < 0);
    assert_non_null(strstr(e.text, "schema step 2"));
    assert_non_null(strstr(e.text, "nowhere"));
    assert_int_equal(version_of(c), 1);
    assert_int_equal(ask(c, "SELECT count(*) FROM sqlite_schema"), 1);
    assert_true(store_migrate_with(c, dangling, ARRAY_LEN(dangling), &e) < 0);
    assert_non_null(strstr(e.text, "refer to nothing"));
    assert_int_equal(version_of(c), 1);
    assert_int_equal(ask(c, "PRAGMA foreign_keys"), 1);
    store_conn_close(c);
    xfree(path);
    fixture_remove(dir);
}

static void test_store_migrate__refuses_a_newer_version(void **state)
{
    char *dir = fixture_dir(), *path = fixture_path(dir, "db");
    struct store_conn *c = open_file(path);
    struct err e = {0};

    assert_int_equal(store_migrate_with(c, steps, 3, &e), 0);
    assert_int_equal(store_migrate_with(c, steps, 2, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "newer"));
    assert_int_equal(version_of(c), 3);
    store_conn_close(c);
    xfree(path);
    fixture_remove(dir);
}

static void test_store_migrate__killed_is_old_or_new(void **state)
{
    /* enough work that most kills fall inside a step */
    static const struct store_migration slow[] = {
        {1, "CREATE TABLE a (x); INSERT INTO a WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 20000) SELECT hex(randomblob(50)) FROM n", "PRAGMA user_version = 1"},
        {2, "CREATE TABLE b AS SELECT x FROM a; CREATE INDEX b_x ON b(x)", "PRAGMA user_version = 2"},
    };

    for (int round = 0; round < 20; round++) {
        const struct timespec pause = {.tv_nsec = round * 3000000};
        char *dir = fixture_dir(), *path = fixture_path(dir, "db");
        struct store_conn *c;
        int64_t version;
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            c = open_file(path);
            _exit(store_exec(c, round % 2 ? "PRAGMA journal_mode = WAL" : "SELECT 1", NULL) < 0 ||
                  store_migrate_with(c, slow, ARRAY_LEN(slow), NULL) < 0);
        }
        nanosleep(&pause, NULL); /* the moment of the kill is what varies */
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        c = open_file(path);
        version = version_of(c);
        assert_in_range(version, 0, 2);
        assert_int_equal(ask(c, "SELECT count(*) FROM sqlite_schema"), version == 0 ? 0 : version == 1 ? 1 : 3);
        if (version >= 1)
            assert_int_equal(ask(c, "SELECT count(*) FROM a"), 20000);
        assert_int_equal(store_migrate_with(c, slow, ARRAY_LEN(slow), NULL), 0);
        assert_int_equal(ask(c, "SELECT count(*) FROM b"), 20000);
        store_conn_close(c);
        xfree(path);
        fixture_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_migrate__goes_from_every_version),
        cmocka_unit_test(test_store_migrate__a_failing_step_leaves_the_version_before),
        cmocka_unit_test(test_store_migrate__refuses_a_newer_version),
        cmocka_unit_test(test_store_migrate__killed_is_old_or_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
