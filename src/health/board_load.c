/* board_load.c -- fills the board from the store: per channel its state, the models of the newest
 * completed run, and the newest rows of each model it ever had, all by index:
 *
 *   models    probe_results_model, one seek a model (a loose scan: "the next greater name")
 *   history   the same index from its end, BOARD_HISTORY rows a model
 *
 * so the cost depends on what is shown, not on the rows there are. */
#include "health/board_private.h"

#define MODELS_MAX 2000u /* of one channel, in name order */

static const char channels_sql[] =
    "SELECT "
    "c.id,s.last_run_id,s.last_run_utc_ms,s.last_status,s.last_total,s.last_success,s.last_fail,"
    "s.last_log_file,s.last_error FROM channels c LEFT JOIN channel_state s ON s.channel_id=c.id"
    " ORDER BY c.id";
static const char newest_sql[] =
    "SELECT id FROM runs WHERE channel_id=?1 AND status='completed' AND total>0"
    " ORDER BY started_utc_ms DESC,id DESC LIMIT 1";
static const char run_models_sql[] =
    "SELECT model FROM probe_results WHERE run_id=?1 AND run_id>0 AND item_kind=0";
static const char next_model_sql[] = "SELECT model FROM probe_results WHERE item_kind=0 AND "
                                     "item_id=?1 AND model>?2 ORDER BY model LIMIT 1";
static const char first_model_sql[] =
    "SELECT model FROM probe_results WHERE item_kind=0 AND item_id=?1 ORDER BY model LIMIT 1";
/* The error is read for failures only: it lies behind the answer's text. */
static const char history_sql[] =
    "SELECT "
    "at_utc_ms,duration_us,ttfb_us,ttft_us,http_status,outcome,success,run_id,protocol,route,"
    "CASE WHEN success THEN NULL ELSE error END FROM probe_results"
    " WHERE item_kind=0 AND item_id=?1 AND model=?2 ORDER BY at_utc_ms DESC,id DESC LIMIT ?3";
static_assert(BOARD_HISTORY == 30, "the contract of pages");

struct loader {
    struct store_conn *conn;
    struct board_draft draft;
    struct arena arena;
};

static int32_t narrow(int64_t us)
{
    return (int32_t)MAX((int64_t)0, MIN(us, (int64_t)INT32_MAX)); /* clamped */
}

/* Newest row first; the draft wants them by time and sorts from the back. */
static int load_history(struct loader *l, struct board_draft_model *m, struct err *reterr)
{
    struct board_point points[BOARD_HISTORY];
    struct store_stmt *st;
    unsigned n = 0;
    int rc = store_prepare(l->conn, history_sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, l->draft.view.channel_id);
    store_bind_str(st, 2, str_of(m->base.model));
    store_bind_i64(st, 3, BOARD_HISTORY);
    while ((rc = store_step(st, reterr)) > 0 && n < BOARD_HISTORY) {
        int64_t http = store_col_i64(st, 4);

        if (n == 0) {
            m->base.run_id = store_col_i64(st, 7);
            m->base.family = arena_cstr(&l->arena, store_col_str(st, 8));
            m->base.route = arena_cstr(&l->arena, store_col_str(st, 9));
        }
        points[n++] = (struct board_point){
            .at_utc_ms = store_col_i64(st, 0),
            .duration_us = narrow(store_col_i64(st, 1)),
            .ttfb_us = narrow(store_col_i64(st, 2)),
            .ttft_us = narrow(store_col_i64(st, 3)),
            .http_status = (int16_t)(http > 0 && http <= INT16_MAX ? http : 0),
            .outcome = (uint8_t)store_col_i64(st, 5), /* fewer than 256 */
            .success = store_col_i64(st, 6) != 0,
            .error = board_view_text(&l->arena, store_col_str(st, 10), BOARD_ERROR_MAX),
        };
    }
    store_reset(st);
    while (n > 0)
        board_view_add_point(&l->draft, m, &points[--n]);
    return MIN(rc, 0);
}

/* The model behind `*model` in name order; *model NULL: the first one, or none left. */
static int next_model(struct loader *l, const char **model, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(l->conn, *model ? next_model_sql : first_model_sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, l->draft.view.channel_id);
    if (*model)
        store_bind_str(st, 2, str_of(*model));
    rc = store_step(st, reterr);
    *model = rc > 0 ? arena_cstr(&l->arena, store_col_str(st, 0)) : NULL;
    store_reset(st);
    return MIN(rc, 0);
}

static int load_models(struct loader *l, struct err *reterr)
{
    const char *model = NULL;
    int rc = next_model(l, &model, reterr);

    for (unsigned i = 0; rc == 0 && model && i < MODELS_MAX; i++) {
        rc = load_history(l, board_view_model(&l->draft, str_of(model)), reterr);
        if (rc == 0)
            rc = next_model(l, &model, reterr);
    }
    return rc;
}

/* The newest run that completed with rows, and who was in it. */
static int load_newest(struct loader *l, struct err *reterr)
{
    struct store_stmt *st;
    int64_t run_id = 0;
    int rc = store_prepare(l->conn, newest_sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, l->draft.view.channel_id);
    rc = store_step(st, reterr);
    if (rc > 0)
        run_id = store_col_i64(st, 0);
    store_reset(st);
    if (rc <= 0 || run_id == 0)
        return MIN(rc, 0);
    rc = store_prepare(l->conn, run_models_sql, &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, run_id);
    while ((rc = store_step(st, reterr)) > 0)
        board_view_model(&l->draft, store_col_str(st, 0))->base.done_run_id = run_id;
    store_reset(st);
    l->draft.view.newest_run_id = run_id;
    return MIN(rc, 0);
}

static void load_state(struct loader *l, struct store_stmt *st)
{
    struct board_view *v = &l->draft.view;

    v->last_run_id = store_col_i64(st, 1);
    v->last_run_utc_ms = store_col_i64(st, 2);
    str_copy(v->last_status, sizeof(v->last_status), store_col_str(st, 3));
    v->last_total = (int32_t)store_col_i64(st, 4); /* written from int32_t */
    v->last_success = (int32_t)store_col_i64(st, 5);
    v->last_fail = (int32_t)store_col_i64(st, 6);
    v->last_log_file = board_view_text(&l->arena, store_col_str(st, 7), SIZE_MAX);
    v->last_error = board_view_text(&l->arena, store_col_str(st, 8), BOARD_ERROR_MAX);
}

static bool is_loaded(struct board *b, int64_t channel_id)
{
    const struct board_view *v;
    bool known;

    pthread_mutex_lock(&b->edit);
    v = board_current(b, channel_id);
    known = board_is_forgotten(b, channel_id) || (v && board_view_is_loaded(v));
    pthread_mutex_unlock(&b->edit);
    return known;
}

/* What came in live while we read goes on top. */
static void publish(struct board *b, struct loader *l)
{
    const struct board_view *live;

    pthread_mutex_lock(&b->edit);
    live = board_current(b, l->draft.view.channel_id);
    if (live)
        board_view_merge(&l->draft, live);
    l->draft.is_loaded = true;
    if (!board_is_forgotten(b, l->draft.view.channel_id))
        board_publish(b, &l->draft);
    pthread_mutex_unlock(&b->edit);
}

static int load_channel(struct board *b, struct store_conn *c, struct store_stmt *st,
                        struct err *reterr)
{
    struct loader l = {.conn = c};
    int64_t channel_id = store_col_i64(st, 0);
    int rc;

    if (is_loaded(b, channel_id))
        return 0;
    arena_init(&l.arena);
    board_view_draft(&l.draft, &l.arena, channel_id, NULL);
    load_state(&l, st);
    rc = load_models(&l, reterr);
    if (rc == 0)
        rc = load_newest(&l, reterr);
    if (rc == 0)
        publish(b, &l);
    arena_release(&l.arena);
    return rc;
}

int board_load(struct board *b, struct store_conn *c, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, channels_sql, &st, reterr), failed = 0;

    if (rc < 0)
        return rc;
    while (failed == 0 && (rc = store_step(st, reterr)) > 0)
        failed = load_channel(b, c, st, reterr);
    store_reset(st);
    if (failed == 0 && rc == 0)
        atomic_store(&b->is_loaded, true);
    return failed < 0 ? failed : MIN(rc, 0);
}

bool board_is_loaded(const struct board *b)
{
    return atomic_load(&b->is_loaded);
}
