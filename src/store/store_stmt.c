/* store_stmt.c -- prepared statements: bound values in, rows out. */
#include "store/store_private.h"

static size_t bucket_of(const char *sql)
{
    /* Literals lie close together: the low bits above alignment differ most. */
    uintptr_t p = (uintptr_t)sql;

    return (size_t)((p ^ (p >> 6) ^ (p >> 12)) % STORE_STMT_BUCKETS);
}

int store_prepare(struct store_conn *c, const char *sql, struct store_stmt **ret,
                  struct err *reterr)
{
    struct store_stmt **bucket = &c->stmts[bucket_of(sql)];
    struct store_stmt *st;
    sqlite3_stmt *raw = NULL;
    int rc;

    for (st = *bucket; st; st = st->next) {
        if (st->sql != sql)
            continue;
        assert(strcmp(sqlite3_sql(st->st), sql) == 0); /* not a literal: its bytes changed */
        store_reset(st);
        *ret = st;
        return 0;
    }
    rc = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, NULL);
    if (rc != SQLITE_OK)
        return store_conn_fail(c, rc, reterr);
    st = xcalloc(1, sizeof(*st));
    st->conn = c;
    st->sql = sql;
    st->st = raw;
    st->next = *bucket;
    *bucket = st;
    *ret = st;
    return 0;
}

int store_query_prepare(struct store_conn *c, struct store_query *q, struct store_stmt **ret,
                        struct err *reterr)
{
    sqlite3_stmt *raw = NULL;
    struct store_stmt *st;
    int rc;

    if (q->failed)
        return err_set(reterr, ERR_LIMIT, "too many filters in one query");
    rc = sqlite3_prepare_v2(c->db, buf_cstr(&q->sql), -1, &raw, NULL);
    if (rc != SQLITE_OK)
        return store_conn_fail(c, rc, reterr);
    st = xcalloc(1, sizeof(*st));
    st->conn = c;
    st->st = raw;
    /* Copied: the query may be released before the statement runs. */
    for (unsigned i = 0; i < q->count; i++) {
        struct str s = q->values[i].s;

        rc =
            q->values[i].kind == STORE_VALUE_I64
                ? sqlite3_bind_int64(raw, (int)i + 1, q->values[i].i)
                : sqlite3_bind_text64(raw, (int)i + 1, s.ptr, s.len, SQLITE_TRANSIENT, SQLITE_UTF8);
        if (rc != SQLITE_OK && st->bind_rc == 0)
            st->bind_rc = rc;
    }
    *ret = st;
    return 0;
}

void store_finalize(struct store_stmt *st)
{
    if (!st)
        return;
    assert(!st->sql); /* cached ones belong to the connection */
    sqlite3_finalize(st->st);
    xfree(st);
}

static void bound(struct store_stmt *st, int rc)
{
    assert(rc != SQLITE_RANGE); /* no such '?' in the literal */
    if (rc != SQLITE_OK && st->bind_rc == 0)
        st->bind_rc = rc;
}

void store_bind_i64(struct store_stmt *st, int i, int64_t v)
{
    bound(st, sqlite3_bind_int64(st->st, i, v));
}

void store_bind_double(struct store_stmt *st, int i, double v)
{
    bound(st, sqlite3_bind_double(st->st, i, v));
}

void store_bind_str(struct store_stmt *st, int i, struct str v)
{
    bound(st, sqlite3_bind_text64(st->st, i, v.ptr, v.len, SQLITE_STATIC, SQLITE_UTF8));
}

void store_bind_blob(struct store_stmt *st, int i, const void *p, size_t n)
{
    bound(st, sqlite3_bind_blob64(st->st, i, p, n, SQLITE_STATIC));
}

void store_bind_null(struct store_stmt *st, int i)
{
    bound(st, sqlite3_bind_null(st->st, i));
}

int store_step(struct store_stmt *st, struct err *reterr)
{
    int rc = st->bind_rc != 0 ? st->bind_rc : sqlite3_step(st->st);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(st->st); /* the bound values stay */
        return 0;
    }
    rc = store_conn_fail(st->conn, rc, reterr);
    sqlite3_reset(st->st);
    return rc;
}

int store_run(struct store_stmt *st, struct err *reterr)
{
    int rc;

    do
        rc = store_step(st, reterr);
    while (rc > 0);
    store_reset(st);
    return rc;
}

void store_reset(struct store_stmt *st)
{
    sqlite3_reset(st->st);
    sqlite3_clear_bindings(st->st);
    st->bind_rc = 0;
}

int64_t store_col_i64(struct store_stmt *st, int i)
{
    return sqlite3_column_int64(st->st, i);
}

double store_col_double(struct store_stmt *st, int i)
{
    return sqlite3_column_double(st->st, i);
}

struct str store_col_str(struct store_stmt *st, int i)
{
    const unsigned char *p = sqlite3_column_text(st->st, i);
    int n = sqlite3_column_bytes(st->st, i); /* after _text: it may have converted */

    return p ? str_n((const char *)p, (size_t)n) : STR_NONE; /* n >= 0 */
}

struct str store_col_blob(struct store_stmt *st, int i)
{
    const void *p = sqlite3_column_blob(st->st, i);
    int n = sqlite3_column_bytes(st->st, i);

    return p ? str_n(p, (size_t)n) : STR_NONE; /* n >= 0 */
}

bool store_col_is_null(struct store_stmt *st, int i)
{
    return sqlite3_column_type(st->st, i) == SQLITE_NULL;
}

int store_conn_i64(struct store_conn *c, const char *sql, int64_t *ret, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, sql, &st, reterr);

    if (rc < 0)
        return rc;
    rc = store_step(st, reterr);
    if (rc > 0)
        *ret = store_col_i64(st, 0);
    store_reset(st);
    if (rc == 0)
        return err_set(reterr, ERR_NOTFOUND, "the query gave no row");
    return MIN(rc, 0);
}

static int has_row(struct store_stmt *st, bool *ret, struct err *reterr)
{
    int rc = store_step(st, reterr);

    if (rc >= 0)
        *ret = rc > 0;
    store_reset(st);
    return MIN(rc, 0);
}

int store_table_exists(struct store_conn *c, const char *table, bool *ret, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c,
                           "SELECT 1 FROM sqlite_schema WHERE type IN ('table','view')"
                           " AND name = ?1 COLLATE NOCASE",
                           &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_str(st, 1, str_of(table));
    return has_row(st, ret, reterr);
}

int store_column_exists(struct store_conn *c, const char *table, const char *column, bool *ret,
                        struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE",
                           &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_str(st, 1, str_of(table));
    store_bind_str(st, 2, str_of(column));
    return has_row(st, ret, reterr);
}
