/* route.c -- finding a row of the table: paths are split into segments once at start, rows of one
 * path lie together. Some seventy rows: a walk over paths of the right segment count costs less
 * than one hash of the path. */
#include "api/route.h"

#define SEGMENTS_MAX 8
#define PARAMS_MAX   4

struct route_path { /* one distinct path, its rows by method */
    const char *text;
    struct str segments[SEGMENTS_MAX]; /* "{id}" matches any */
    unsigned segment_count;
    const struct route *rows[HTTP_OTHER_ + 1];
};

struct route_index {
    size_t count;
    struct route_path paths[];
};

static unsigned split_path(struct str path, struct str segments[SEGMENTS_MAX])
{
    unsigned n = 0;
    struct str piece;

    path = str_cut(path, 1, path.len); /* the leading '/' */
    while (n < SEGMENTS_MAX && str_split(&path, '/', &piece))
        segments[n++] = piece;
    return path.ptr && n == SEGMENTS_MAX ? SEGMENTS_MAX + 1 : n;
}

static bool is_param(struct str segment)
{
    return segment.len > 2 && segment.ptr[0] == '{';
}

static struct route_path *path_of(struct route_index *i, const char *text)
{
    struct route_path *p;

    for (size_t n = 0; n < i->count; n++) {
        if (strcmp(i->paths[n].text, text) == 0)
            return &i->paths[n];
    }
    p = &i->paths[i->count++];
    p->text = text;
    p->segment_count = split_path(str_of(text), p->segments);
    assert(p->segment_count <= SEGMENTS_MAX);
    return p;
}

struct route_index *route_index_new(void)
{
    struct route_index *i;
    size_t rows = 0;

    for (size_t g = 0; g < route_group_count; g++)
        rows += *route_groups[g].count;
    i = xcalloc(1, sizeof(*i) + rows * sizeof(i->paths[0]));
    for (size_t g = 0; g < route_group_count; g++) {
        for (size_t r = 0; r < *route_groups[g].count; r++) {
            const struct route *row = &route_groups[g].rows[r];
            const struct route **slot = &path_of(i, row->path)->rows[row->method];

            assert(!*slot); /* one row for a method of a path */
            *slot = row;
        }
    }
    return i;
}

void route_index_free(struct route_index *i)
{
    xfree(i);
}

/* Literal segments win over parameters: their number, or -1 when the path does not match. */
static int match(const struct route_path *p, const struct str *segments,
                 struct str params[PARAMS_MAX])
{
    int literal = 0;
    unsigned n = 0;

    for (unsigned s = 0; s < p->segment_count; s++) {
        if (is_param(p->segments[s])) {
            if (segments[s].len == 0 || n == PARAMS_MAX)
                return -1;
            params[n++] = segments[s];
        } else if (!str_eq(p->segments[s], segments[s])) {
            return -1;
        } else {
            literal++;
        }
    }
    return literal;
}

static void list_methods(const struct route_path *p, char *out, size_t cap)
{
    size_t n = 0;

    for (int m = 0; m < HTTP_OTHER_; m++) {
        bool is_head = m == HTTP_HEAD_ && p->rows[HTTP_GET_];
        int w;

        if (!p->rows[m] && !is_head)
            continue;
        w = snprintf(out + n, cap - n, "%s%s", n ? ", " : "",
                     http_method_name((enum http_method)m));
        if (w < 0 || (size_t)w >= cap - n)
            return;
        n += (size_t)w;
    }
}

const struct route *route_find(const struct route_index *i, enum http_method m, struct str path,
                               struct str params[4], char *ret_allow, size_t allow_cap)
{
    struct str segments[SEGMENTS_MAX], found[PARAMS_MAX] = {0};
    unsigned count = split_path(path, segments);
    const struct route_path *best = NULL;
    int best_score = -1;
    enum http_method as = m == HTTP_HEAD_ ? HTTP_GET_ : m; /* HEAD wherever GET is */

    for (size_t n = 0; n < i->count; n++) {
        int score;

        if (i->paths[n].segment_count != count)
            continue;
        score = match(&i->paths[n], segments, found);
        if (score > best_score) {
            best_score = score;
            best = &i->paths[n];
            memcpy(params, found, sizeof(found));
        }
    }
    ret_allow[0] = '\0';
    if (!best)
        return NULL;
    if (!best->rows[as])
        list_methods(best, ret_allow, allow_cap);
    return best->rows[as];
}
