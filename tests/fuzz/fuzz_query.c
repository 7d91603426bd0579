/* fuzz_query.c -- hostile filter values through the query builder.
 *
 * Input: records {kind, length, bytes}. Whatever the values are, the SQL text is the concatenation
 * of the literals, it prepares, it runs, and LIKE finds a word in a text exactly when the text
 * contains it. */
#include "store/store_private.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE "SELECT name FROM t WHERE 1"
#define LIKE " AND name LIKE ? ESCAPE '\\'"
#define EQUAL " AND name <> ?"
#define NUMBER " AND n <> ?"
#define PLAIN " AND n IS NOT 5"

static struct store_conn *open_once(void)
{
    static struct store_conn *c;

    if (c)
        return c;
    if (store_conn_open(":memory:", STORE_ROLE_CREATE, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &c, NULL) < 0 ||
        store_exec(c, "CREATE TABLE t (name TEXT, n INTEGER); INSERT INTO t VALUES ('row', 1)", NULL) < 0)
        abort();
    return c;
}

/* One fragment into q, the same literal into want. */
static void add(struct store_query *q, struct buf *want, unsigned kind, struct str v)
{
    switch (kind % 4) {
    case 0:
        store_query_like(q, LIKE, v);
        buf_put(want, STR(LIKE));
        break;
    case 1:
        store_query_str(q, EQUAL, v);
        buf_put(want, STR(EQUAL));
        break;
    case 2:
        store_query_i64(q, NUMBER, (int64_t)v.len - 7);
        buf_put(want, STR(NUMBER));
        break;
    case 3:
        store_query_add(q, PLAIN);
        buf_put(want, STR(PLAIN));
        break;
    }
}

static void run(struct store_query *q, struct buf *want)
{
    struct store_stmt *st = NULL;
    struct err e;
    int rc = store_query_prepare(open_once(), q, &st, &e);

    if (q->failed) {
        if (rc != ERR_LIMIT)
            abort();
        return;
    }
    if (rc != 0 || !str_eq(buf_str(&q->sql), buf_str(want)))
        abort();
    do
        rc = store_step(st, &e);
    while (rc > 0);
    if (rc != 0)
        abort();
    store_finalize(st);
}

/* LIKE against plain containment, both ASCII case-insensitive. */
static void compare(struct str text, struct str word)
{
    struct store_query q;
    struct store_stmt *st = NULL;
    struct err e;
    bool want, got;

    if (!str_is_utf8(text) || !str_is_utf8(word) || str_find(text, '\0') >= 0 || str_find(word, '\0') >= 0)
        return;
    want = str_ifind_str(text, str_cut_utf8(word, 256)) >= 0 || word.len == 0;
    store_query_init(&q, "SELECT 1 WHERE ");
    store_query_str(&q, "?", text.ptr ? text : STR(""));
    store_query_like(&q, " LIKE ? ESCAPE '\\'", word);
    if (store_query_prepare(open_once(), &q, &st, &e) < 0)
        abort();
    got = store_step(st, &e) == 1;
    if (got != want)
        abort();
    store_finalize(st);
    store_query_release(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_n((const char *)data, size);
    struct buf want = BUF_INIT(1 << 20);
    struct str last = STR("");
    struct store_query q;

    store_query_init(&q, BASE);
    buf_put(&want, STR(BASE));
    while (in.len >= 2 && buf_len(&want) < 16384) {
        unsigned kind = (unsigned char)in.ptr[0];
        size_t n = (unsigned char)in.ptr[1];
        struct str v;

        if (kind & 0x80) /* long ones too */
            n *= 8;
        v = str_cut(in, 2, n);
        in = str_cut(in, 2 + v.len, in.len);
        add(&q, &want, kind, v);
        compare(last, v);
        last = v;
    }
    run(&q, &want);
    store_query_release(&q);
    buf_release(&want);
    return 0;
}
