/* board_view.c -- drafts and the blocks made of them. */
#include "health/board_view.h"

#include "base/map.h"

#include <stdatomic.h>

#define OLD_MODELS_MAX 200u /* models that the newest run did not have; the stalest go first */

struct block {
    _Atomic unsigned refs;
    bool is_loaded;
    struct board_view view;
    /* models, points, texts */
};

static struct block *block_of(const struct board_view *v)
{
    /* Views are made here alone, inside a block that is not const. */
    return (struct block *)((uintptr_t)v - offsetof(struct block, view));
}

struct board_view *board_view_ref(struct board_view *v)
{
    atomic_fetch_add(&block_of(v)->refs, 1);
    return v;
}

void board_view_unref(struct board_view *v)
{
    if (v && atomic_fetch_sub(&block_of(v)->refs, 1) == 1)
        xfree(block_of(v));
}

bool board_view_is_loaded(const struct board_view *v)
{
    return block_of(v)->is_loaded;
}

bool board_view_is_sole(const struct board_view *v)
{
    return atomic_load(&block_of(v)->refs) == 1;
}

const char *board_view_text(struct arena *a, struct str s, size_t max)
{
    return s.len == 0 ? NULL : arena_cstr(a, str_cut_utf8(s, max));
}

/* ---- drafts ---- */

static struct board_draft_model *insert_at(struct board_draft *d, size_t index)
{
    struct board_draft_model *m = arena_zalloc(d->arena, sizeof(*m));

    if (d->count == d->cap) {
        size_t cap = MAX((size_t)16, d->cap * 2);
        struct board_draft_model **wide =
            arena_alloc(d->arena, cap * sizeof(struct board_draft_model *));

        if (d->count > 0)
            memcpy(wide, d->models, d->count * sizeof(struct board_draft_model *));
        d->models = wide;
        d->cap = cap;
    }
    memmove(d->models + index + 1, d->models + index,
            (d->count - index) * sizeof(struct board_draft_model *));
    d->models[index] = m;
    d->count++;
    m->added_tail = &m->added;
    return m;
}

void board_view_draft(struct board_draft *d, struct arena *a, int64_t channel_id,
                      const struct board_view *v)
{
    *d = (struct board_draft){.arena = a, .view = {.channel_id = channel_id, .running_total = -1}};
    if (!v)
        return;
    d->view = *v;
    d->is_loaded = board_view_is_loaded(v);
    for (size_t i = 0; i < v->model_count; i++)
        insert_at(d, i)->base = v->models[i];
}

struct board_draft_model *board_view_model(struct board_draft *d, struct str model)
{
    struct board_draft_model *m;
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(str_of(d->models[mid]->base.model), model);

        if (order == 0)
            return d->models[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    m = insert_at(d, low);
    m->base.model = arena_cstr(d->arena, model);
    m->base.family = m->base.route = "";
    return m;
}

void board_view_add_point(struct board_draft *d, struct board_draft_model *m,
                          const struct board_point *p)
{
    struct board_new_point *n = arena_alloc(d->arena, sizeof(*n));

    n->next = NULL;
    n->point = *p;
    n->point.error = p->error ? board_view_text(d->arena, str_of(p->error), BOARD_ERROR_MAX) : NULL;
    *m->added_tail = n;
    m->added_tail = &n->next;
    m->added_count++;
}

static bool is_same(const struct board_point *a, const struct board_point *b)
{
    return a->at_utc_ms == b->at_utc_ms && a->duration_us == b->duration_us &&
           a->outcome == b->outcome && a->http_status == b->http_status;
}

static bool has_point(const struct board_draft_model *m, const struct board_point *p)
{
    for (uint16_t i = 0; i < m->base.point_count; i++) {
        if (is_same(&m->base.points[i], p))
            return true;
    }
    for (const struct board_new_point *n = m->added; n; n = n->next) {
        if (is_same(&n->point, p))
            return true;
    }
    return false;
}

static void merge_model(struct board_draft *d, const struct board_model *from)
{
    struct board_draft_model *m = board_view_model(d, str_of(from->model));

    if (from->run_id >= m->base.run_id) {
        m->base.run_id = from->run_id;
        m->base.family = from->family;
        m->base.route = from->route;
    }
    m->base.done_run_id = MAX(m->base.done_run_id, from->done_run_id);
    for (uint16_t i = 0; i < from->point_count; i++) {
        if (!has_point(m, &from->points[i]))
            board_view_add_point(d, m, &from->points[i]);
    }
}

void board_view_merge(struct board_draft *d, const struct board_view *from)
{
    struct board_view mine = d->view;

    if (from->last_run_id >= mine.last_run_id)
        d->view = *from;
    d->view.channel_id = mine.channel_id;
    d->view.newest_run_id = MAX(mine.newest_run_id, from->newest_run_id);
    d->view.running_run_id = from->running_run_id;
    d->view.running_since_utc_ms = from->running_since_utc_ms;
    d->view.running_done = from->running_done;
    d->view.running_total = from->running_total;
    for (size_t i = 0; i < from->model_count; i++)
        merge_model(d, &from->models[i]);
}

/* ---- building ---- */

struct build {
    const struct board_draft *draft;
    struct arena *arena;
    struct map *texts; /* text -> its copy in the block */
    char *text_at;
    size_t text_bytes;
    struct board_model *models;
    struct board_point *points;
    size_t model_count, point_count;
};

static bool is_in_newest(const struct board_view *v, const struct board_model *m)
{
    return (v->newest_run_id > 0 && m->done_run_id == v->newest_run_id) ||
           (v->running_run_id > 0 && m->run_id == v->running_run_id);
}

/* Old and new points by time, the newest BOARD_HISTORY of them; arrays in the arena. */
static void join_points(struct build *b, const struct board_draft_model *m, struct board_model *ret)
{
    size_t count = m->base.point_count + m->added_count;
    struct board_point *all;
    size_t n = 0;

    *ret = m->base;
    if (m->added_count == 0)
        return;
    all = arena_alloc(b->arena, count * sizeof(*all));
    for (uint16_t i = 0; i < m->base.point_count; i++)
        all[n++] = m->base.points[i];
    for (const struct board_new_point *p = m->added; p; p = p->next) {
        size_t at = n++;

        for (; at > 0 && all[at - 1].at_utc_ms > p->point.at_utc_ms; at--)
            all[at] = all[at - 1]; /* replayed rows may be older */
        all[at] = p->point;
    }
    ret->point_count = (uint16_t)MIN(count, (size_t)BOARD_HISTORY); /* at most 30 */
    ret->points = all + (count - ret->point_count);
}

static utc_ms newest_at(const struct board_model *m)
{
    return m->point_count > 0 ? m->points[m->point_count - 1].at_utc_ms : 0;
}

static int by_time_down(const void *a, const void *b)
{
    utc_ms x = *(const utc_ms *)a, y = *(const utc_ms *)b;

    return (x < y) - (x > y);
}

/* Models that newest runs no longer have are kept for their history, but not without end. */
static void drop_stale(struct build *b)
{
    utc_ms *times = arena_alloc(b->arena, (b->model_count + 1) * sizeof(*times));
    size_t old = 0, kept = 0;
    utc_ms limit;

    for (size_t i = 0; i < b->model_count; i++) {
        if (!b->models[i].in_newest_run)
            times[old++] = newest_at(&b->models[i]);
    }
    if (old <= OLD_MODELS_MAX)
        return;
    qsort(times, old, sizeof(*times), by_time_down);
    limit = times[OLD_MODELS_MAX];
    for (size_t i = 0; i < b->model_count; i++) {
        if (b->models[i].in_newest_run || newest_at(&b->models[i]) > limit)
            b->models[kept++] = b->models[i];
    }
    b->model_count = kept;
}

/* First pass: each distinct text is counted once. */
static void count_text(struct build *b, const char *s)
{
    struct str text = str_of(s);

    if (!s || map_get(b->texts, text))
        return;
    b->text_bytes += text.len + 1;
    map_set(b->texts, text, b); /* its place is not known yet */
}

/* Second pass: the copy in the block, made at the first use. */
static const char *put_text(struct build *b, const char *s)
{
    struct str text = str_of(s);
    char *at;

    if (!s)
        return NULL;
    at = map_get(b->texts, text);
    if (at != (char *)b)
        return at;
    at = b->text_at;
    memcpy(at, s, text.len + 1);
    b->text_at += text.len + 1;
    map_set(b->texts, text, at);
    return at;
}

static void collect(struct build *b)
{
    const struct board_draft *d = b->draft;

    b->models = arena_alloc(b->arena, (d->count + 1) * sizeof(*b->models));
    for (size_t i = 0; i < d->count; i++) {
        struct board_model *m = &b->models[b->model_count++];

        join_points(b, d->models[i], m);
        m->in_newest_run = is_in_newest(&d->view, m);
    }
    drop_stale(b);
    count_text(b, d->view.last_log_file);
    count_text(b, d->view.last_error);
    for (size_t i = 0; i < b->model_count; i++) {
        const struct board_model *m = &b->models[i];

        b->point_count += m->point_count;
        count_text(b, m->model);
        count_text(b, m->family);
        count_text(b, m->route);
        for (uint16_t p = 0; p < m->point_count; p++) {
            if (p == 0 || m->points[p].error != m->points[p - 1].error)
                count_text(b, m->points[p].error);
        }
    }
}

static void copy_models(struct build *b, struct board_model *models, struct board_point *points)
{
    for (size_t i = 0; i < b->model_count; i++) {
        const struct board_model *from = &b->models[i];
        const char *error = NULL, *error_copy = NULL;

        models[i] = *from;
        models[i].model = put_text(b, from->model);
        models[i].family = put_text(b, from->family);
        models[i].route = put_text(b, from->route);
        models[i].points = points;
        for (uint16_t p = 0; p < from->point_count; p++, points++) {
            *points = from->points[p];
            if (points->error != error) {
                error = points->error;
                error_copy = put_text(b, error);
            }
            points->error = error_copy;
        }
    }
}

struct board_view *board_view_build(const struct board_draft *d)
{
    struct build b = {.draft = d, .arena = d->arena, .texts = map_new()};
    struct board_point *points;
    struct board_model *models;
    struct block *block;

    collect(&b);
    block = xmalloc(sizeof(*block) + b.model_count * sizeof(*models) +
                    b.point_count * sizeof(*points) + b.text_bytes);
    models = (struct board_model *)(void *)(block + 1);
    points = (struct board_point *)(void *)(models + b.model_count);
    b.text_at = (char *)(points + b.point_count);
    atomic_init(&block->refs, 1);
    block->is_loaded = d->is_loaded;
    block->view = d->view;
    block->view.last_log_file = put_text(&b, d->view.last_log_file);
    block->view.last_error = put_text(&b, d->view.last_error);
    block->view.models = models;
    block->view.model_count = b.model_count;
    copy_models(&b, models, points);
    map_free(b.texts, NULL);
    return &block->view;
}
