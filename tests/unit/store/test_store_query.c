/* test_store_query.c -- filters: what is bound is never text, what is searched is never a pattern. */
#include "store_fixture.h"

struct world {
    char *dir;
    struct store *s;
    struct store_conn *c;
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->dir = fixture_dir();
    w->s = fixture_open(w->dir);
    w->c = store_writer_lock(w->s);
    *state = w;
    return store_exec(w->c,
                      "INSERT INTO watermarks VALUES ('plain', 1, ''), ('100%', 2, ''), ('a_b', 3, ''), ('axb', 4, ''),"
                      " ('back\\slash', 5, ''), ('it''s', 6, ''), ('Grün', 7, ''), ('', 8, '')",
                      NULL);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    store_writer_unlock(w->s);
    store_close(w->s);
    fixture_remove(w->dir);
    xfree(w);
    return 0;
}

/* The sum of the values of matching rows; releases q. */
static int64_t sum(struct world *w, struct store_query *q)
{
    struct store_stmt *st = NULL;
    struct err e = {0};
    int64_t n = 0;
    int rc = store_query_prepare(w->c, q, &st, &e);

    store_query_release(q); /* before the rows are read: values were copied */
    if (rc < 0)
        fail_msg("%s", e.text);
    while ((rc = store_step(st, &e)) > 0)
        n += store_col_i64(st, 0);
    assert_int_equal(rc, 0);
    store_finalize(st);
    return n;
}

static int64_t sum_like(struct world *w, struct str v)
{
    struct store_query q;

    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    store_query_like(&q, " AND name LIKE ? ESCAPE '\\'", v);
    return sum(w, &q);
}

static void test_store_query__like_takes_every_byte_as_itself(void **state)
{
    struct world *w = *state;

    assert_int_equal(sum_like(w, STR("%")), 2);
    assert_int_equal(sum_like(w, STR("_")), 3);
    assert_int_equal(sum_like(w, STR("a_b")), 3);
    assert_int_equal(sum_like(w, STR("\\")), 5);
    assert_int_equal(sum_like(w, STR("'")), 6);
    assert_int_equal(sum_like(w, STR("gr\xc3\xbcn")), 7);
    assert_int_equal(sum_like(w, STR("LAI")), 1);
    assert_int_equal(sum_like(w, STR("")), 36);
    assert_int_equal(sum_like(w, STR_NONE), 36);
    assert_int_equal(sum_like(w, STR("%_%_%_%")), 0);
    assert_int_equal(sum_like(w, STR("' OR 1=1 --")), 0);
    assert_int_equal(sum_like(w, str_n("pl\0ain", 6)), 1); /* ends at the NUL */
}

static void test_store_query__like_is_bounded(void **state)
{
    struct world *w = *state;
    char *word = xmalloc(100000);

    memset(word, '%', 100000);
    assert_int_equal(sum_like(w, str_n(word, 100000)), 0);
    memset(word, 0xc3, 100000); /* no UTF-8 at all */
    assert_int_equal(sum_like(w, str_n(word, 100000)), 0);
    xfree(word);
}

static void test_store_query__binds_in_order(void **state)
{
    struct world *w = *state;
    struct store_query q;

    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    store_query_str(&q, " AND name <> ?", STR("plain"));
    store_query_i64(&q, " AND value < ?", 4);
    store_query_add(&q, " ORDER BY value");
    store_query_i64(&q, " LIMIT ?", 10);
    assert_int_equal(q.count, 3);
    assert_int_equal(sum(w, &q), 5);
    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    store_query_str(&q, " AND name = ?", STR(""));
    assert_int_equal(sum(w, &q), 8);
    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    store_query_str(&q, " AND name = ?", STR("' OR '1'='1"));
    assert_int_equal(sum(w, &q), 0);
}

static void test_store_query__tells_too_much(void **state)
{
    struct world *w = *state;
    struct store_stmt *st = NULL;
    struct store_query q;
    struct err e;

    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    for (int i = 0; i < 33; i++)
        store_query_i64(&q, " AND value <> ?", i);
    assert_int_equal(store_query_prepare(w->c, &q, &st, &e), ERR_LIMIT);
    store_query_release(&q);
    store_query_init(&q, "SELECT value FROM watermarks WHERE 1");
    for (int i = 0; i < 600; i++)
        store_query_add(&q, " AND value <> 1");
    assert_int_equal(store_query_prepare(w->c, &q, &st, &e), ERR_LIMIT);
    store_query_like(&q, " AND name LIKE ? ESCAPE '\\'", STR("x")); /* no leak behind a failure */
    store_query_release(&q);
    assert_null(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_query__like_takes_every_byte_as_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_query__like_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_query__binds_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_query__tells_too_much, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
