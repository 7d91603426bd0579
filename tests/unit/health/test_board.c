/* test_board.c -- what pages are shown: newest completed run, rows of the run in progress over it,
 * history, and the same again when it is read from the store. */
#include "../ledger/ledger_fixture.h"

#include "health/board.h"

#define T0 1767225600000

static struct ledger_record probe(int64_t channel_id, int64_t run_id, const char *model, utc_ms at, bool success)
{
    return (struct ledger_record){
        .kind = LEDGER_PROBE,
        .call = {.ended_utc_ms = at, .origin = CALL_PROBE, .kind = CALL_KIND_TEST, .channel_id = channel_id,
                 .model = str_of(model), .http_status = success ? 200 : 500, .duration_us = 1000 * run_id,
                 .outcome = success ? OUTCOME_OK : OUTCOME_SERVER_ERROR},
        .probe = {.item_id = channel_id, .run_id = run_id, .at_utc_ms = at, .success = success, .ttfb_us = 7,
                  .status = success, .route = STR("chat"), .family = STR("openai"), .content = STR("hello"),
                  .error = success ? STR("") : STR("HTTP 500")}};
}

static struct ledger_record run(int64_t channel_id, int64_t id, const char *status, const char *channel_status, int32_t total)
{
    struct ledger_record r = {
        .kind = LEDGER_RUN,
        .run = {.id = id, .channel_id = channel_id, .started_utc_ms = T0 + 1000 * id, .status = str_of(status),
                .channel_status = str_of(channel_status), .total = total, .success = total, .log_file = STR("/l.jsonl")}};

    if (!str_eq(r.run.status, STR("running")))
        r.run.finished_utc_ms = T0 + 1000 * id + 500;
    return r;
}

static struct board_view *view_of(struct board *b, int64_t id)
{
    struct board_view *v;

    board_get(b, &id, 1, &v);
    return v;
}

static const struct board_model *model_of(const struct board_view *v, const char *model)
{
    for (size_t i = 0; i < v->model_count; i++) {
        if (strcmp(v->models[i].model, model) == 0)
            return &v->models[i];
    }
    fail_msg("no model %s", model);
    return NULL;
}

static void tell(struct board *b, struct ledger_record r)
{
    board_on_ledger(b, &r, 1);
}

static void test_board__nothing_is_known_of_a_new_channel(void **state)
{
    struct board *b = board_new();

    assert_null(view_of(b, 7));
    tell(b, (struct ledger_record){.kind = LEDGER_CALL, .call = {.channel_id = 7}});
    tell(b, (struct ledger_record){.kind = LEDGER_PROBE, .probe = {.item_kind = 1, .item_id = 7}});
    assert_null(view_of(b, 7));
    board_free(b);
}

static void test_board__rows_of_the_run_in_progress_lie_over_the_newest(void **state)
{
    struct board *b = board_new();
    struct board_view *v, *old;

    tell(b, run(7, 1, "running", "", 0));
    v = view_of(b, 7);
    assert_int_equal(v->running_run_id, 1);
    assert_int_equal(v->running_since_utc_ms, T0 + 1000);
    assert_int_equal(v->running_total, -1);
    assert_string_equal(v->last_status, "");
    board_view_unref(v);
    tell(b, probe(7, 1, "b", T0 + 1, true));
    tell(b, probe(7, 1, "a", T0 + 2, false));
    v = view_of(b, 7);
    assert_int_equal(v->model_count, 2);
    assert_string_equal(v->models[0].model, "a");
    assert_true(v->models[0].in_newest_run && v->models[1].in_newest_run);
    board_view_unref(v);
    tell(b, run(7, 1, "completed", "degraded", 2));
    old = view_of(b, 7);
    assert_int_equal(old->running_run_id, 0);
    assert_int_equal(old->last_run_id, 1);
    assert_int_equal(old->newest_run_id, 1);
    assert_int_equal(old->last_run_utc_ms, T0 + 1500);
    assert_string_equal(old->last_status, "degraded");
    assert_string_equal(old->last_log_file, "/l.jsonl");
    assert_null(old->last_error);
    assert_string_equal(model_of(old, "a")->points[0].error, "HTTP 500");
    assert_int_equal(model_of(old, "a")->points[0].outcome, OUTCOME_SERVER_ERROR);
    assert_string_equal(model_of(old, "b")->family, "openai");
    assert_null(model_of(old, "b")->points[0].error);

    tell(b, run(7, 2, "running", "", 0));
    tell(b, probe(7, 2, "a", T0 + 11, true));
    tell(b, probe(7, 2, "c", T0 + 12, true));
    v = view_of(b, 7);
    assert_int_equal(v->model_count, 3);
    assert_true(model_of(v, "a")->in_newest_run);
    assert_true(model_of(v, "b")->in_newest_run); /* of the completed run */
    assert_true(model_of(v, "c")->in_newest_run); /* of the one in progress */
    assert_int_equal(model_of(v, "a")->point_count, 2);
    assert_true(model_of(v, "a")->points[1].success);
    assert_int_equal(v->newest_run_id, 1);
    assert_int_equal(model_of(old, "a")->point_count, 1); /* a view that is held does not change */
    board_view_unref(v);
    tell(b, run(7, 2, "completed", "healthy", 2));
    v = view_of(b, 7);
    assert_false(model_of(v, "b")->in_newest_run);
    assert_int_equal(model_of(v, "b")->point_count, 1);
    assert_int_equal(v->newest_run_id, 2);
    board_view_unref(v);
    board_view_unref(old);
    board_free(b);
}

static void test_board__a_failed_run_does_not_hide_the_models(void **state)
{
    struct board *b = board_new();
    struct ledger_record failed = run(7, 2, "error", "error", 0);
    struct board_view *v;

    failed.run.error = STR("models: HTTP 401");
    tell(b, probe(7, 1, "a", T0 + 1, true));
    tell(b, run(7, 1, "completed", "healthy", 1));
    tell(b, run(7, 2, "running", "", 0));
    tell(b, failed);
    tell(b, run(7, 2, "running", "", 0)); /* replayed late */
    v = view_of(b, 7);
    assert_int_equal(v->running_run_id, 0);
    assert_int_equal(v->last_run_id, 2);
    assert_string_equal(v->last_status, "error");
    assert_string_equal(v->last_error, "models: HTTP 401");
    assert_int_equal(v->newest_run_id, 1);
    assert_true(model_of(v, "a")->in_newest_run);
    board_view_unref(v);
    tell(b, run(7, 3, "error", "", 0)); /* interrupted: says nothing about the channel */
    v = view_of(b, 7);
    assert_int_equal(v->last_run_id, 2);
    board_view_unref(v);
    board_free(b);
}

static void test_board__history_is_the_newest_thirty(void **state)
{
    struct ledger_record records[50];
    struct board *b = board_new();
    const struct board_model *m;
    struct board_view *v;

    for (int i = 0; i < 50; i++) {
        records[i] = probe(7, i + 1, "m", T0 + 1000 * i, i % 2);
        if (i < 40)
            tell(b, records[i]);
    }
    board_on_ledger(b, records + 40, 10);
    tell(b, probe(7, 3, "m", T0 + 1000 * 30 + 1, true)); /* an old one, replayed */
    v = view_of(b, 7);
    m = model_of(v, "m");
    assert_int_equal(m->point_count, BOARD_HISTORY);
    for (int i = 0; i < BOARD_HISTORY; i++)
        assert_true(i == 0 || m->points[i].at_utc_ms > m->points[i - 1].at_utc_ms);
    assert_int_equal(m->points[29].at_utc_ms, T0 + 49000);
    assert_int_equal(m->points[0].at_utc_ms, T0 + 21000);
    assert_int_equal(m->run_id, 50);
    assert_int_equal(m->points[29].duration_us, 50000);
    board_view_unref(v);
    board_free(b);
}

static void test_board__progress_and_forgetting(void **state)
{
    struct board *b = board_new();
    struct board_view *v, *held;

    board_run_progress(b, 7, 4, 0, -1);
    held = view_of(b, 7);
    assert_int_equal(held->running_run_id, 4);
    assert_int_equal(held->running_total, -1);
    board_run_progress(b, 7, 4, 3, 10); /* while somebody reads */
    assert_int_equal(held->running_done, 0);
    board_view_unref(held);
    board_run_progress(b, 7, 4, 4, 10);
    v = view_of(b, 7);
    assert_int_equal(v->running_done, 4);
    assert_int_equal(v->running_total, 10);
    board_view_unref(v);
    tell(b, run(7, 4, "completed", "healthy", 0));
    board_run_progress(b, 7, 4, 5, 10); /* too late */
    v = view_of(b, 7);
    assert_int_equal(v->running_run_id, 0);
    board_view_unref(v);
    board_forget(b, 7);
    assert_null(view_of(b, 7));
    tell(b, probe(7, 4, "a", T0, true)); /* committed before it was deleted, told after */
    board_run_progress(b, 7, 5, 1, 1);
    assert_null(view_of(b, 7));
    board_free(b);
}

static void test_board__stale_models_are_bounded(void **state)
{
    struct board *b = board_new();
    struct board_view *v;
    char name[32];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "model-%03d", i);
        tell(b, probe(7, i + 1, name, T0 + i, true));
        tell(b, run(7, i + 1, "completed", "healthy", 1));
    }
    v = view_of(b, 7);
    assert_int_equal(v->model_count, 201);
    assert_string_equal(v->models[0].model, "model-099");
    assert_true(model_of(v, "model-299")->in_newest_run);
    board_view_unref(v);
    board_free(b);
}

/* ---- from the store ---- */

#define CHANNEL(id)                                                                                \
    "INSERT INTO channels(id,name,base_url,api_key,prompt,created_utc_ms,updated_utc_ms)"          \
    " VALUES(" #id ",'c" #id "','http://x',x'00','p',1,1)"

static void assert_same_view(struct board *x, struct board *y, int64_t id)
{
    struct board_view *a = view_of(x, id), *b = view_of(y, id);

    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->last_run_id, b->last_run_id);
    assert_int_equal(a->newest_run_id, b->newest_run_id);
    assert_int_equal(a->last_run_utc_ms, b->last_run_utc_ms);
    assert_string_equal(a->last_status, b->last_status);
    assert_int_equal(a->last_total, b->last_total);
    assert_int_equal(a->model_count, b->model_count);
    for (size_t i = 0; i < a->model_count; i++) {
        const struct board_model *m = &a->models[i], *n = &b->models[i];

        assert_string_equal(m->model, n->model);
        assert_string_equal(m->family, n->family);
        assert_string_equal(m->route, n->route);
        assert_int_equal(m->in_newest_run, n->in_newest_run);
        assert_int_equal(m->run_id, n->run_id);
        assert_int_equal(m->point_count, n->point_count);
        for (uint16_t p = 0; p < m->point_count; p++) {
            assert_int_equal(m->points[p].at_utc_ms, n->points[p].at_utc_ms);
            assert_int_equal(m->points[p].duration_us, n->points[p].duration_us);
            assert_int_equal(m->points[p].ttfb_us, n->points[p].ttfb_us);
            assert_int_equal(m->points[p].success, n->points[p].success);
            assert_int_equal(m->points[p].http_status, n->points[p].http_status);
            assert_true(!m->points[p].error == !n->points[p].error);
            if (m->points[p].error)
                assert_string_equal(m->points[p].error, n->points[p].error);
        }
    }
    board_view_unref(a);
    board_view_unref(b);
}

static void put(struct fixture *f, struct ledger_record r)
{
    assert_true(ledger_put(f->producer, &r, true) > 0);
}

static void put_history(struct fixture *f)
{
    for (int i = 1; i <= 45; i++) {
        for (int64_t channel = 7; channel <= 8; channel++) {
            int64_t id = 2 * i + channel - 8;

            put(f, run(channel, id, "running", "", 0));
            put(f, probe(channel, id, "a", T0 + 1000 * id, i % 3));
            if (i < 30)
                put(f, probe(channel, id, "gone", T0 + 1000 * id + 1, true));
            if (i > 3)
                put(f, probe(channel, id, "b/c", T0 + 1000 * id + 2, i % 4));
            put(f, run(channel, id, channel == 8 && i == 45 ? "error" : "completed", channel == 8 && i == 45 ? "error" : "healthy", 2));
        }
    }
}

static void test_board__loaded_is_what_was_live(void **state)
{
    struct fixture f = fixture_ledger();
    struct board *live = board_new(), *loaded = board_new(), *half = board_new();
    struct board_view *never;
    struct store_conn *c;
    struct err e;

    assert_int_equal(fixture_write(f.store, CHANNEL(7), &e), 0);
    assert_int_equal(fixture_write(f.store, CHANNEL(8), &e), 0);
    assert_int_equal(fixture_write(f.store, CHANNEL(9), &e), 0);
    ledger_subscribe(f.ledger, board_on_ledger, live);
    fixture_start(&f);
    put_history(&f);
    fixture_end_ledger(&f);
    c = store_writer_lock(f.store);
    assert_int_equal(board_load(loaded, c, &e), 0);
    assert_same_view(live, loaded, 7);
    assert_same_view(live, loaded, 8);
    never = view_of(loaded, 9);
    assert_int_equal(never->model_count, 0);
    assert_string_equal(never->last_status, "");
    board_view_unref(never);
    /* Rows that were told live are not doubled, a run in progress stays. */
    tell(half, run(7, 89, "completed", "healthy", 2));
    tell(half, probe(7, 89, "a", T0 + 1000 * 89, 45 % 3));
    tell(half, run(7, 99, "running", "", 0));
    tell(half, probe(7, 99, "new", T0 + 99000, true));
    assert_int_equal(board_load(half, c, &e), 0);
    assert_int_equal(board_load(half, c, &e), 0); /* nothing more to read */
    store_writer_unlock(f.store);
    {
        struct board_view *v = view_of(half, 7);

        assert_int_equal(model_of(v, "a")->point_count, 30);
        assert_int_equal(model_of(v, "a")->points[28].at_utc_ms, T0 + 1000 * 87);
        assert_int_equal(v->running_run_id, 99);
        assert_true(model_of(v, "new")->in_newest_run);
        assert_int_equal(v->last_run_id, 89);
        board_view_unref(v);
    }
    board_free(live);
    board_free(loaded);
    board_free(half);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_board__nothing_is_known_of_a_new_channel),
        cmocka_unit_test(test_board__rows_of_the_run_in_progress_lie_over_the_newest),
        cmocka_unit_test(test_board__a_failed_run_does_not_hide_the_models),
        cmocka_unit_test(test_board__history_is_the_newest_thirty),
        cmocka_unit_test(test_board__progress_and_forgetting),
        cmocka_unit_test(test_board__stale_models_are_bounded),
        cmocka_unit_test(test_board__loaded_is_what_was_live),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
