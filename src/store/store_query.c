/* store_query.c -- filters as fixed fragments and bound values: what a client sends is never part
 * of the SQL text. */
#include "store/store_private.h"

#define QUERY_SQL_MAX  8192
#define QUERY_LIKE_MAX 256 /* bytes of a search word; the scan's cost grows with it */

static size_t count_marks(const char *literal)
{
    size_t n = 0;

    for (const char *p = literal; *p; p++)
        n += *p == '?';
    return n;
}

static void append(struct store_query *q, const char *literal)
{
    if (buf_add_str(&q->sql, str_of(literal)) < 0)
        q->failed = true;
}

void store_query_init(struct store_query *q, const char *literal)
{
    memset(q, 0, sizeof(*q));
    buf_init(&q->sql, QUERY_SQL_MAX);
    store_query_add(q, literal);
}

void store_query_add(struct store_query *q, const char *literal)
{
    assert(count_marks(literal) == 0); /* values come with their own calls, in order */
    append(q, literal);
}

/* Index of a new value, -1 when the query is full. */
static int new_value(struct store_query *q, const char *literal)
{
    assert(count_marks(literal) == 1);
    if (q->count == ARRAY_LEN(q->values))
        q->failed = true;
    if (q->failed)
        return -1;
    append(q, literal);
    return q->failed ? -1 : (int)q->count++;
}

void store_query_i64(struct store_query *q, const char *literal, int64_t v)
{
    int i = new_value(q, literal);

    if (i < 0)
        return;
    q->values[i].kind = STORE_VALUE_I64;
    q->values[i].i = v;
}

void store_query_str(struct store_query *q, const char *literal, struct str v)
{
    int i = new_value(q, literal);

    if (i < 0)
        return;
    q->values[i].kind = STORE_VALUE_STR;
    q->values[i].s = v;
}

void store_query_like(struct store_query *q, const char *literal, struct str v)
{
    int i = new_value(q, literal);
    char *pattern;
    size_t n = 0;

    if (i < 0)
        return;
    v = str_cut_utf8(str_until(v, '\0'), QUERY_LIKE_MAX); /* LIKE ends at a NUL anyway */
    pattern = xmalloc(2 * v.len + 2);
    pattern[n++] = '%';
    for (size_t k = 0; k < v.len; k++) {
        if (v.ptr[k] == '%' || v.ptr[k] == '_' || v.ptr[k] == '\\')
            pattern[n++] = '\\';
        pattern[n++] = v.ptr[k];
    }
    pattern[n++] = '%';
    q->values[i].kind = STORE_VALUE_STR;
    q->values[i].s = str_n(pattern, n);
    q->values[i].is_owned = true;
}

void store_query_release(struct store_query *q)
{
    for (unsigned i = 0; i < q->count; i++) {
        if (q->values[i].is_owned) {
            union {
                const char *borrowed;
                void *own;
            } p = {.borrowed = q->values[i].s.ptr};

            xfree(p.own);
        }
    }
    q->count = 0;
    buf_release(&q->sql);
}
