/* board.c -- takes ledger records and progress into views, and hands views out. */
#include "health/board_private.h"

#define LIST_MAX 1000u /* records of a ledger batch */

static const char deleted; /* its address marks a deleted channel */

struct board *board_new(void)
{
    struct board *b = xcalloc(1, sizeof(*b));

    pthread_mutex_init(&b->edit, NULL);
    pthread_mutex_init(&b->lock, NULL);
    b->views = map_id_new();
    b->forgotten = map_id_new();
    return b;
}

static void unref(void *view)
{
    board_view_unref(view);
}

void board_free(struct board *b)
{
    if (!b)
        return;
    map_id_free(b->views, unref);
    map_id_free(b->forgotten, NULL);
    pthread_mutex_destroy(&b->edit);
    pthread_mutex_destroy(&b->lock);
    xfree(b);
}

/* ---- writers ---- */

const struct board_view *board_current(struct board *b, int64_t channel_id)
{
    return map_id_get(b->views, (uint64_t)channel_id); /* only writers change the map */
}

bool board_is_forgotten(struct board *b, int64_t channel_id)
{
    return map_id_get(b->forgotten, (uint64_t)channel_id) != NULL;
}

void board_publish(struct board *b, const struct board_draft *d)
{
    struct board_view *fresh = board_view_build(d), *stale;

    pthread_mutex_lock(&b->lock);
    stale = map_id_set(b->views, (uint64_t)d->view.channel_id, fresh);
    pthread_mutex_unlock(&b->lock);
    board_view_unref(stale);
}

static int32_t narrow(int64_t us)
{
    return (int32_t)MAX((int64_t)0, MIN(us, (int64_t)INT32_MAX)); /* clamped */
}

static void apply_probe(struct board_draft *d, const struct ledger_record *r)
{
    const struct call_event *e = &r->call;
    struct board_draft_model *m = board_view_model(d, e->model);
    struct board_point p = {
        .at_utc_ms = r->probe.at_utc_ms,
        .error = board_view_text(d->arena, r->probe.error, BOARD_ERROR_MAX),
        .duration_us = narrow(e->duration_us),
        .ttfb_us = narrow(r->probe.ttfb_us),
        .ttft_us = narrow(e->ttft_us),
        .http_status =
            (int16_t)(e->http_status > 0 && e->http_status <= INT16_MAX ? e->http_status : 0),
        .outcome = (uint8_t)e->outcome, /* fewer than 256 */
        .success = r->probe.success,
    };

    board_view_add_point(d, m, &p);
    if (r->probe.run_id >= m->base.run_id) {
        m->base.run_id = r->probe.run_id;
        m->base.family = arena_cstr(d->arena, r->probe.family);
        m->base.route = arena_cstr(d->arena, r->probe.route);
    }
    if (r->probe.run_id == d->view.newest_run_id) /* came after the end of its run */
        m->base.done_run_id = r->probe.run_id;
}

static void end_running(struct board_view *v)
{
    v->running_run_id = 0;
    v->running_since_utc_ms = 0;
    v->running_done = 0;
    v->running_total = -1;
}

static void begin_running(struct board_view *v, int64_t run_id, utc_ms since, int32_t total)
{
    if (run_id <= v->last_run_id || run_id < v->running_run_id)
        return; /* it ended before this was told */
    if (run_id != v->running_run_id) {
        end_running(v);
        v->running_run_id = run_id;
    }
    if (since > 0)
        v->running_since_utc_ms = since;
    if (total > 0)
        v->running_total = total;
}

static void end_run(struct board_draft *d, const struct ledger_run *r)
{
    struct board_view *v = &d->view;

    if (v->running_run_id <= r->id)
        end_running(v);
    if (r->id >= v->last_run_id && r->channel_status.len > 0) {
        v->last_run_id = r->id;
        v->last_run_utc_ms = r->finished_utc_ms;
        str_copy(v->last_status, sizeof(v->last_status), r->channel_status);
        v->last_total = r->total;
        v->last_success = r->success;
        v->last_fail = r->fail;
        v->last_log_file = board_view_text(d->arena, r->log_file, SIZE_MAX);
        v->last_error = board_view_text(d->arena, r->error, BOARD_ERROR_MAX);
    }
    if (!str_eq(r->status, STR("completed")) || r->id < v->newest_run_id)
        return;
    for (size_t i = 0; i < d->count; i++) {
        if (d->models[i]->base.run_id == r->id) {
            d->models[i]->base.done_run_id = r->id;
            v->newest_run_id = r->id; /* it has rows */
        }
    }
    if (r->total > 0)
        v->newest_run_id = r->id; /* its rows are still to come */
}

static void apply(struct board_draft *d, const struct ledger_record *r)
{
    if (r->kind == LEDGER_PROBE)
        apply_probe(d, r);
    else if (r->run.finished_utc_ms > 0)
        end_run(d, &r->run);
    else
        begin_running(&d->view, r->run.id, r->run.started_utc_ms, r->run.total);
}

static int64_t channel_of(const struct ledger_record *r)
{
    switch (r->kind) {
    case LEDGER_PROBE:
        return r->probe.item_kind == 0 ? r->probe.item_id : 0;
    case LEDGER_RUN:
        return r->run.channel_id;
    case LEDGER_CALL:
        return 0;
    }
    return 0;
}

static void apply_channel(struct board *b, const struct ledger_record *records, size_t count,
                          size_t first, bool *done)
{
    int64_t channel_id = channel_of(&records[first]);
    struct board_draft d;
    struct arena a;

    arena_init(&a);
    pthread_mutex_lock(&b->edit);
    board_view_draft(&d, &a, channel_id, board_current(b, channel_id));
    for (size_t i = first; i < count; i++) {
        if (channel_of(&records[i]) != channel_id)
            continue;
        apply(&d, &records[i]);
        done[i] = true;
    }
    if (!board_is_forgotten(b, channel_id))
        board_publish(b, &d);
    pthread_mutex_unlock(&b->edit);
    arena_release(&a);
}

void board_on_ledger(void *ctx, const struct ledger_record *records, size_t count)
{
    struct board *b = ctx;
    bool done[LIST_MAX] = {false};

    for (; count > 0;
         records += MIN(count, (size_t)LIST_MAX), count -= MIN(count, (size_t)LIST_MAX)) {
        size_t part = MIN(count, (size_t)LIST_MAX);

        memset(done, 0, sizeof(done));
        for (size_t i = 0; i < part; i++) {
            if (!done[i] && channel_of(&records[i]) > 0)
                apply_channel(b, records, part, i, done);
        }
    }
}

void board_run_progress(struct board *b, int64_t channel_id, int64_t run_id, int32_t done,
                        int32_t total)
{
    struct board_view *v;
    struct board_draft d;
    struct arena a;

    arena_init(&a);
    pthread_mutex_lock(&b->edit);
    pthread_mutex_lock(&b->lock);
    v = map_id_get(b->views, (uint64_t)channel_id);
    if (v && v->running_run_id == run_id && board_view_is_sole(v)) {
        /* Nobody reads it now, and nobody can begin to without the lock. */
        v->running_done = done;
        v->running_total = total;
        pthread_mutex_unlock(&b->lock);
    } else {
        pthread_mutex_unlock(&b->lock);
        board_view_draft(&d, &a, channel_id, v);
        begin_running(&d.view, run_id, 0, total);
        if (d.view.running_run_id == run_id && !board_is_forgotten(b, channel_id)) {
            d.view.running_done = done;
            d.view.running_total = total;
            board_publish(b, &d);
        }
    }
    pthread_mutex_unlock(&b->edit);
    arena_release(&a);
}

void board_forget(struct board *b, int64_t channel_id)
{
    struct board_view *v;

    pthread_mutex_lock(&b->edit);
    pthread_mutex_lock(&b->lock);
    v = map_id_del(b->views, (uint64_t)channel_id);
    map_id_set(b->forgotten, (uint64_t)channel_id, (void *)(uintptr_t)&deleted);
    pthread_mutex_unlock(&b->lock);
    pthread_mutex_unlock(&b->edit);
    board_view_unref(v);
}

/* ---- readers ---- */

void board_get(struct board *b, const int64_t *ids, size_t count, struct board_view **ret)
{
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < count; i++) {
        struct board_view *v = map_id_get(b->views, (uint64_t)ids[i]);

        ret[i] = v ? board_view_ref(v) : NULL;
    }
    pthread_mutex_unlock(&b->lock);
}
