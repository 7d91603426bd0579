/* test_prober.c -- the prober with its real neighbours: store, catalog, ledger, board, and an
 * upstream of the test. Waits are on conditions, never on time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "probe/prober.h"

#include "responder.h"

#include <dirent.h>
#include <semaphore.h>
#include <sys/stat.h>

#define WAIT_S 30

struct seen_run {
    int64_t id, channel_id;
    int32_t total, success, fail;
    utc_ms finished;
    char status[16], channel_status[16], error[512], log_file[512], cause[16];
};

struct fixture {
    char dir[64];
    struct store *store;
    struct catalog *catalog;
    struct ledger *ledger;
    struct board *board;
    struct egress *egress;
    struct loop *loop;
    struct prober *prober;
    pthread_t thread;
    bool is_started;
    sem_t stopped;
    struct loop_msg stop_msg;
    uint64_t grace_ms;
    /* what the ledger told, guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct seen_run runs[256];
    size_t run_count, probe_count, ok_count;
    /* the upstream, guarded by lock */
    struct responder up;
    const char *models; /* body of GET /v1/models */
    int models_status;
    unsigned in_flight, most_in_flight, held;
    bool is_open; /* held answers may go */
};

static struct fixture *f;

static void wait_until(bool (*is_so)(void), const char *what)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&f->lock);
    while (!is_so())
        if (pthread_cond_timedwait(&f->wake, &f->lock, &until) != 0) {
            pthread_mutex_unlock(&f->lock);
            fail_msg("waited in vain: %s", what);
        }
    pthread_mutex_unlock(&f->lock);
}

/* ---- the upstream: model "bad" fails, "hold" waits to be let go ---- */

static bool answer(struct responder *r, int fd, const struct responder_request *q)
{
    bool is_held = str_find_str(q->body, STR("\"hold")) >= 0;
    bool is_bad = str_find_str(q->body, STR("\"bad")) >= 0;
    int status;
    const char *models;

    pthread_mutex_lock(&f->lock);
    models = f->models;
    status = f->models_status;
    if (strcmp(q->method, "POST") == 0) {
        f->in_flight++;
        f->most_in_flight = MAX(f->most_in_flight, f->in_flight);
    }
    f->held += is_held;
    pthread_cond_broadcast(&f->wake);
    while (is_held && !f->is_open && !atomic_load(&r->is_stopping))
        pthread_cond_wait(&f->wake, &f->lock);
    f->held -= is_held;
    if (strcmp(q->method, "POST") == 0)
        f->in_flight--;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    if (strcmp(q->path, "/v1/models") == 0)
        return responder_json(fd, status, "", models);
    if (is_bad)
        return responder_json(fd, 500, "", "{\"error\":{\"message\":\"boom\"}}");
    return responder_json(
        fd, 200, "X-Request-Id: u-1\r\n",
        "{\"model\":\"served\",\"choices\":[{\"message\":{\"content\":\"I am\"}}],\"usage\":"
        "{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}");
}

static void open_gate(void)
{
    pthread_mutex_lock(&f->lock);
    f->is_open = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

/* ---- what the ledger tells ---- */

static void on_ledger(void *ctx, const struct ledger_record *records, size_t count)
{
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < count; i++) {
        const struct ledger_run *r = &records[i].run;
        struct seen_run *s = &f->runs[f->run_count];

        if (records[i].kind == LEDGER_PROBE) {
            f->probe_count++;
            f->ok_count += records[i].probe.success;
        }
        if (records[i].kind != LEDGER_RUN || f->run_count == ARRAY_LEN(f->runs))
            continue;
        f->run_count++;
        *s = (struct seen_run){.id = r->id,
                               .channel_id = r->channel_id,
                               .total = r->total,
                               .success = r->success,
                               .fail = r->fail,
                               .finished = r->finished_utc_ms};
        str_copy(s->status, sizeof(s->status), r->status);
        str_copy(s->channel_status, sizeof(s->channel_status), r->channel_status);
        str_copy(s->error, sizeof(s->error), r->error);
        str_copy(s->log_file, sizeof(s->log_file), r->log_file);
        str_copy(s->cause, sizeof(s->cause), r->cause);
    }
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

static size_t count_ended(void)
{
    size_t n = 0;

    for (size_t i = 0; i < f->run_count; i++)
        n += f->runs[i].finished != 0;
    return n;
}

static bool one_ended(void)
{
    return count_ended() >= 1;
}

static bool two_ended(void)
{
    return count_ended() >= 2;
}

static bool one_is_held(void)
{
    return f->held >= 1;
}

static bool three_are_held(void)
{
    return f->held >= 3;
}

static bool none_in_flight(void)
{
    return f->in_flight == 0;
}

static bool fourteen_ended(void)
{
    return count_ended() >= 14;
}

static struct seen_run *last_ended(void)
{
    struct seen_run *r = NULL;

    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->run_count; i++)
        if (f->runs[i].finished != 0)
            r = &f->runs[i];
    pthread_mutex_unlock(&f->lock);
    assert_non_null(r);
    return r;
}

/* ---- the house ---- */

static int insert_channel(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    int64_t id;

    return catalog_channel_insert(tx, ctx, &id, reterr);
}

static struct channel *new_channel(const char *name)
{
    struct channel *ch = channel_new();
    char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u", f->up.port);
    xfree(ch->name);
    ch->name = xstrdup(name);
    xfree(ch->base_url);
    ch->base_url = xstrdup(url);
    secret_release(&ch->api_key);
    ch->api_key = secret_dup(STR("sk-test"));
    ch->timeout_s = 20;
    return ch;
}

/* Takes ch. Ids are given from 1 on. */
static void insert(struct channel *ch)
{
    struct err e = {0};

    if (catalog_apply(f->catalog, insert_channel, ch, &e) < 0)
        fail_msg("%s", e.text);
    channel_free(ch);
}

static int delete_channel(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    return catalog_channel_delete(tx, *(int64_t *)ctx, reterr);
}

static void open_house(void)
{
    struct store_config store_cfg = {.data_dir = f->dir, .readers = 1};
    struct catalog_config catalog_cfg = {.secret_key = STR("key of the test")};
    struct ledger_config ledger_cfg = {
        .spool_max_bytes = 1u << 24, .timezone = "UTC", .commit_ms = 10};
    struct err e = {0};

    if (store_open(&store_cfg, &f->store, &e) < 0)
        fail_msg("%s", e.text);
    catalog_cfg.store = ledger_cfg.store = f->store;
    if (catalog_open(&catalog_cfg, &f->catalog, &e) < 0 ||
        ledger_open(&ledger_cfg, &f->ledger, &e) < 0 ||
        egress_new(NULL, 0, NULL, 0, &f->egress, &e) < 0)
        fail_msg("%s", e.text);
    f->board = board_new();
    ledger_subscribe(f->ledger, board_on_ledger, f->board);
    ledger_subscribe(f->ledger, on_ledger, NULL);
}

static void *loop_main(void *arg)
{
    loop_run(f->loop);
    return NULL;
}

static void start_house(unsigned parallel, unsigned manual)
{
    struct prober_config cfg = {
        .catalog = f->catalog,
        .board = f->board,
        .ledger = f->ledger,
        .store = f->store,
        .egress = f->egress,
        .data_dir = f->dir,
        .user_agent = "Agent/1",
        .detect_concurrency = 3,
        .max_parallel_targets = parallel,
        .manual_parallel = manual,
    };
    struct err e = {0};

    f->loop = cfg.loop = loop_new("control", 0);
    if (prober_new(&cfg, &f->prober, &e) < 0 || ledger_start(f->ledger, &e) < 0)
        fail_msg("%s", e.text);
    prober_start(f->prober);
    assert_int_equal(pthread_create(&f->thread, NULL, loop_main, NULL), 0);
    f->is_started = true;
}

static void on_stopped(void *ctx)
{
    loop_stop(f->loop);
    sem_post(&f->stopped);
}

static void on_stop(struct loop_msg *m)
{
    prober_stop(f->prober, f->grace_ms, on_stopped, NULL);
}

static void close_house(uint64_t grace_ms)
{
    if (f->is_started) {
        f->grace_ms = grace_ms;
        loop_post(f->loop, &f->stop_msg, on_stop);
        sem_wait(&f->stopped);
        pthread_join(f->thread, NULL);
        prober_free(f->prober);
        ledger_stop(f->ledger);
        loop_free(f->loop);
    }
    f->is_started = false;
    if (!f->store)
        return;
    ledger_close(f->ledger);
    catalog_close(f->catalog);
    board_free(f->board);
    store_close(TAKE(f->store));
    egress_free(f->egress);
}

static int set_up(void **state)
{
    f = xcalloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/prober.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    sem_init(&f->stopped, 0, 0);
    f->models = "{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}";
    f->models_status = 200;
    responder_start(&f->up, answer, NULL);
    open_house();
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char child[1024];

    while (d && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
        if (unlink(child) != 0)
            remove_tree(child);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static int tear_down(void **state)
{
    open_gate();
    close_house(0);
    atomic_store(&f->up.is_stopping, true);
    open_gate();
    responder_stop(&f->up);
    remove_tree(f->dir);
    sem_destroy(&f->stopped);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    xfree(f);
    return 0;
}

/* ---- asks, from this thread, answered on the control loop ---- */

struct waiting_ask {
    struct prober_ask ask;
    sem_t done;
};

static void on_asked(struct prober_ask *a)
{
    sem_post(&((struct waiting_ask *)(void *)a)->done);
}

static int ask(void (*fn)(struct prober *, struct prober_ask *), int64_t channel_id,
               bool *ret_queued, int64_t *ret_run)
{
    struct waiting_ask w = {
        .ask = {.reply_loop = f->loop, .channel_id = channel_id, .done = on_asked}};

    sem_init(&w.done, 0, 0);
    fn(f->prober, &w.ask);
    sem_wait(&w.done);
    sem_destroy(&w.done);
    if (ret_queued)
        *ret_queued = w.ask.is_queued;
    if (ret_run)
        *ret_run = w.ask.run_id;
    return w.ask.rc;
}

static int64_t query(const char *sql)
{
    struct store_conn *c = store_writer_lock(f->store);
    struct store_stmt *st;
    int64_t v = -1;

    assert_int_equal(store_prepare(c, sql, &st, NULL), 0);
    if (store_step(st, NULL) == 1)
        v = store_col_i64(st, 0);
    store_reset(st);
    store_writer_unlock(f->store);
    return v;
}

static size_t lines_of(const char *path, char *first, size_t cap)
{
    FILE *in = fopen(path, "re");
    size_t n = 0;
    char line[8192];

    assert_non_null(in);
    while (fgets(line, sizeof(line), in)) {
        if (n++ == 0)
            str_copy(first, cap, str_of(line));
    }
    fclose(in);
    return n;
}

/* ---- tests ---- */

static void test_prober__first_scan_runs_what_was_never_run(void **state)
{
    struct seen_run *r;
    char line[8192];
    int64_t id = 1, ids[4];
    struct board_view *v;

    insert(new_channel("relay"));
    start_house(2, 32);
    wait_until(one_ended, "the first run");
    r = last_ended();
    assert_int_equal(r->channel_id, 1);
    assert_string_equal(r->status, "completed");
    assert_string_equal(r->channel_status, "healthy");
    assert_string_equal(r->cause, "schedule");
    assert_string_equal(r->error, "");
    assert_true(r->total == 2 && r->success == 2 && r->fail == 0);
    assert_string_equal(f->runs[0].status, "running"); /* told at the start */
    assert_int_equal(f->runs[0].id, r->id);
    assert_int_equal(lines_of(r->log_file, line, sizeof(line)), 2);
    assert_non_null(strstr(line, "\"protocol\":\"openai\""));
    assert_non_null(strstr(
        line,
        "\"success\":true,\"transport_success\":true,\"tool_calls_count\":0,\"tool_calls\":[],"
        "\"content\":\"I am\""));
    assert_non_null(strstr(line, "\"error\":null,\"status_code\":200,\"route\":\"chat\","
                                 "\"endpoint\":\"chat\",\"target_id\":1"));
    assert_non_null(strstr(line, "\"target_name\":\"relay\""));
    assert_int_equal(query("SELECT COUNT(*) FROM probe_results WHERE success=1 AND status=1 AND "
                           "http_status=200 AND run_id="
                           "(SELECT MAX(id) FROM runs)"),
                     2);
    assert_int_equal(query("SELECT COUNT(*) FROM call_events WHERE origin=1 AND kind=2 AND "
                           "channel_id=1 AND t_input=3 AND "
                           "t_output=2 AND served_model='served' AND upstream_request_id='u-1'"),
                     2);
    assert_int_equal(query("SELECT last_total FROM channel_state WHERE last_status='healthy'"), 2);
    assert_int_equal(prober_running(f->prober, ids, 4), 0);
    board_get(f->board, &id, 1, &v);
    assert_non_null(v);
    assert_string_equal(v->last_status, "healthy");
    assert_int_equal(v->running_run_id, 0);
    board_view_unref(v);
}

static void expect_end(const char *models, int status, const char *channel_status,
                       const char *error)
{
    struct seen_run *r;
    size_t before;

    pthread_mutex_lock(&f->lock);
    f->models = models;
    f->models_status = status;
    before = count_ended();
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), 0);
    pthread_mutex_lock(&f->lock);
    while (count_ended() == before)
        pthread_cond_wait(&f->wake, &f->lock);
    pthread_mutex_unlock(&f->lock);
    r = last_ended();
    assert_string_equal(r->channel_status, channel_status);
    assert_string_equal(r->status, strcmp(channel_status, "error") == 0 ? "error" : "completed");
    assert_string_equal(r->error, error);
    assert_string_equal(r->cause, "manual");
    if (error[0])
        assert_string_equal(r->log_file, "");
}

static void test_prober__runs_end_with_the_status_of_the_table(void **state)
{
    struct channel *ch = new_channel("relay");

    ch->enabled = false; /* asked for, a channel runs all the same */
    insert(ch);
    start_house(2, 32);
    expect_end("{\"data\":[{\"id\":\"a\"},{\"id\":\"bad\"}]}", 200, "degraded", "");
    expect_end("{\"data\":[{\"id\":\"bad\"}]}", 200, "down", "");
    expect_end("{\"data\":[{\"id\":\"a\"}]}", 200, "healthy", "");
    expect_end("{\"data\":[]}", 200, "error", "models list is empty");
    expect_end("[]", 200, "error", "models response must be JSON object");
    expect_end("{\"models\":[]}", 200, "error", "models response missing data[]");
    expect_end("{\"error\":{\"message\":\"no key\"}}", 401, "error",
               "GET /v1/models failed: HTTP 401 - no key");
    expect_end("", 500, "error", "GET /v1/models failed: HTTP 500 - unknown error");
    expect_end("<html>", 502, "error", "GET /v1/models failed: HTTP 502 - <html>");
    /* what no request and no file can hold is left out */
    expect_end("{\"data\":[{\"id\":\"a\\u0000\"},{\"id\":\"\\n\"}]}", 200, "error",
               "models list is empty");
}

static void test_prober__selection_cut_and_skip_choose_the_models(void **state)
{
    struct channel *ch = new_channel("relay");
    static const char *const chosen[] = {"b", "d", "text-embedding-3-small", "x"};

    ch->enabled = false;
    ch->max_models = 2;
    ch->skip_unprobeable = true;
    ch->selected_models.items = xcalloc(ARRAY_LEN(chosen), sizeof(char *));
    for (size_t i = 0; i < ARRAY_LEN(chosen); i++)
        ch->selected_models.items[ch->selected_models.count++] = xstrdup(chosen[i]);
    insert(ch);
    start_house(2, 32);
    expect_end("{\"data\":[{\"id\":\"a\"},{\"id\":\"text-embedding-3-small\"},{\"id\":\"d\"},{"
               "\"id\":\"c\"},{\"id\":\"b\"},"
               "{\"id\":\"x\"}]}",
               200, "healthy", "");
    assert_int_equal(last_ended()->total, 2);
    assert_int_equal(query("SELECT COUNT(*) FROM probe_results WHERE model IN ('d','b')"), 2);
    expect_end("{\"data\":[{\"id\":\"a\"}]}", 200, "no_models", "");
}

static void test_prober__three_probes_at_once_and_one_run_a_channel(void **state)
{
    int64_t ids[4], run;
    bool is_queued;
    struct channel *ch = new_channel("relay");

    ch->enabled = false;
    insert(ch);
    f->models = "{\"data\":[{\"id\":\"hold1\"},{\"id\":\"hold2\"},{\"id\":\"hold3\"},{\"id\":"
                "\"hold4\"},{\"id\":\"hold5\"}]}";
    start_house(2, 32);
    assert_int_equal(ask(prober_run_now, 99, NULL, NULL), ERR_NOTFOUND);
    assert_int_equal(ask(prober_run_now, 1, &is_queued, &run), 0);
    assert_false(is_queued);
    assert_true(run > 0);
    wait_until(three_are_held, "three probes");
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), ERR_CONFLICT);
    assert_int_equal(prober_running(f->prober, ids, 4), 1);
    assert_int_equal(ids[0], 1);
    open_gate();
    wait_until(one_ended, "the run");
    assert_int_equal(f->most_in_flight, 3);
    assert_int_equal(last_ended()->id, run);
    assert_int_equal(last_ended()->total, 5);
    assert_int_equal(prober_running(f->prober, ids, 4), 0);
}

static void test_prober__manual_runs_beyond_the_places_queue(void **state)
{
    int64_t ids[16], runs[14];
    bool is_queued;
    char name[16];

    for (int i = 1; i <= 14; i++) {
        struct channel *ch;

        snprintf(name, sizeof(name), "relay-%d", i);
        ch = new_channel(name);
        ch->enabled = false;
        insert(ch);
    }
    f->models = "{\"data\":[{\"id\":\"hold\"}]}";
    start_house(1, 4);
    for (int i = 0; i < 14; i++) {
        assert_int_equal(ask(prober_run_now, i + 1, &is_queued, &runs[i]), 0);
        assert_int_equal(is_queued, i >= 4);
        assert_true(runs[i] > 0);
    }
    assert_int_equal(prober_running(f->prober, ids, 16), 4);
    assert_int_equal(prober_queued(f->prober, ids, 16), 10);
    assert_int_equal(ids[0], 5);
    open_gate();
    wait_until(fourteen_ended, "all runs");
    assert_true(f->most_in_flight <= 4);
    for (int i = 0; i < 14; i++) { /* the id told while it waited is the run's */
        bool is_there = false;

        for (size_t k = 0; k < f->run_count; k++)
            is_there |= f->runs[k].id == runs[i] && f->runs[k].channel_id == i + 1;
        assert_true(is_there);
    }
}

static void test_prober__deletion_cancels_and_stores_nothing(void **state)
{
    int64_t one = 1, ids[4];
    struct err e;

    insert(new_channel("relay"));
    insert(new_channel("other"));
    f->models = "{\"data\":[{\"id\":\"hold\"}]}";
    start_house(1, 1);
    wait_until(one_is_held, "the first channel's probe");
    assert_int_equal(catalog_apply(f->catalog, delete_channel, &one, &e), 0);
    /* its place goes to the other channel at once, whose probe is held in turn */
    while (prober_running(f->prober, ids, 4) != 1 || ids[0] != 2)
        sched_yield();
    open_gate();
    wait_until(one_ended, "the other channel's run");
    assert_int_equal(last_ended()->channel_id, 2);
    assert_int_equal(query("SELECT COUNT(*) FROM probe_results WHERE item_id=1"), 0);
    assert_int_equal(query("SELECT COUNT(*) FROM runs WHERE channel_id=1"), 0);
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), ERR_NOTFOUND);
}

static void test_prober__cancel_ends_a_run_and_empties_the_queue(void **state)
{
    int64_t ids[4];

    insert(new_channel("relay"));
    insert(new_channel("other"));
    f->models = "{\"data\":[{\"id\":\"hold\"}]}";
    start_house(1, 1);
    wait_until(one_is_held, "the probe");
    assert_int_equal(prober_queued(f->prober, ids, 4), 1);
    assert_int_equal(ask(prober_cancel, 2, NULL, NULL), 0);
    assert_int_equal(prober_queued(f->prober, ids, 4), 0);
    assert_int_equal(ask(prober_cancel, 2, NULL, NULL), ERR_NOTFOUND);
    assert_int_equal(ask(prober_cancel, 1, NULL, NULL), 0);
    wait_until(one_ended, "the cancelled run");
    assert_string_equal(last_ended()->status, "error");
    assert_string_equal(last_ended()->error, "cancelled");
    assert_string_equal(last_ended()->channel_status, "");
    assert_int_equal(prober_running(f->prober, ids, 4), 0);
    assert_int_equal(query("SELECT COUNT(*) FROM channel_state"), 0);
}

/* Also across a restart: the run that was cut is closed and its channel is due at once. */
static void test_prober__stop_leaves_no_trace_and_the_next_start_resumes(void **state)
{
    insert(new_channel("relay"));
    f->models = "{\"data\":[{\"id\":\"hold\"},{\"id\":\"a\"}]}";
    start_house(2, 32);
    wait_until(one_is_held, "the probe");
    close_house(0);
    assert_int_equal(count_ended(), 0);
    open_gate();
    wait_until(none_in_flight, "the upstream to notice");

    f->run_count = 0;
    open_house();
    assert_int_equal(query("SELECT COUNT(*) FROM runs WHERE status='running'"), 1);
    start_house(2, 32);
    wait_until(two_ended, "the interrupted and the new run");
    assert_string_equal(f->runs[0].status, "error");
    assert_string_equal(f->runs[0].error, "interrupted");
    assert_string_equal(f->runs[0].channel_status, "");
    assert_string_equal(last_ended()->status, "completed");
    assert_true(last_ended()->id > f->runs[0].id);
    assert_int_equal(query("SELECT COUNT(*) FROM runs WHERE status='running'"), 0);
}

static void test_prober__a_recent_run_is_not_repeated_at_start(void **state)
{
    struct channel *ch;

    insert(new_channel("relay"));
    start_house(2, 32);
    wait_until(one_ended, "the first run");
    close_house(1000);
    f->run_count = 0;
    open_house();
    ch = new_channel("second");
    insert(ch);
    start_house(2, 32);
    wait_until(one_ended, "the second channel's run");
    assert_int_equal(f->run_count, 2); /* its start and its end */
    assert_int_equal(last_ended()->channel_id, 2);
}

static void test_prober__a_graceful_stop_lets_runs_end(void **state)
{
    insert(new_channel("relay"));
    f->models = "{\"data\":[{\"id\":\"hold\"}]}";
    start_house(2, 32);
    wait_until(one_is_held, "the probe");
    f->grace_ms = 60000;
    loop_post(f->loop, &f->stop_msg, on_stop);
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), ERR_CANCELLED);
    open_gate();
    sem_wait(&f->stopped); /* long before the grace ends */
    pthread_join(f->thread, NULL);
    prober_free(f->prober);
    ledger_stop(f->ledger);
    loop_free(f->loop);
    f->is_started = false;
    assert_string_equal(last_ended()->channel_status, "healthy");
}

/* A change meanwhile concerns the next run. */
static int rename_channel(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    struct channel *ch = NULL;
    int rc = catalog_channel_load(tx, 1, &ch, reterr);

    if (rc < 0)
        return rc;
    xfree(ch->name);
    ch->name = xstrdup("renamed");
    ch->enabled = false;
    rc = catalog_channel_update(tx, ch, reterr);
    channel_free(ch);
    return rc;
}

static void test_prober__a_run_keeps_the_channel_it_began_with(void **state)
{
    char line[8192];
    struct err e;

    insert(new_channel("relay"));
    f->models = "{\"data\":[{\"id\":\"hold\"}]}";
    start_house(2, 32);
    wait_until(one_is_held, "the probe");
    assert_int_equal(catalog_apply(f->catalog, rename_channel, NULL, &e), 0);
    open_gate();
    wait_until(one_ended, "the run, though it was switched off");
    assert_int_equal(lines_of(last_ended()->log_file, line, sizeof(line)), 1);
    assert_non_null(strstr(line, "\"target_name\":\"relay\""));
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), 0);
    wait_until(two_ended, "the next run");
    assert_int_equal(lines_of(last_ended()->log_file, line, sizeof(line)), 1);
    assert_non_null(strstr(line, "\"target_name\":\"renamed\""));
}

static void on_cleanup(struct loop_msg *m)
{
    prober_set_log_cleanup(f->prober, true, 1);
}

static void test_prober__old_logs_go_when_the_setting_says_so(void **state)
{
    static struct loop_msg msg;
    struct channel *ch = new_channel("relay");
    char path[128];
    FILE *big;

    ch->enabled = false;
    insert(ch);
    start_house(2, 32);
    snprintf(path, sizeof(path), "%s/logs/target_9_20200101_000000.jsonl", f->dir);
    big = fopen(path, "we");
    assert_non_null(big);
    assert_int_equal(ftruncate(fileno(big), 2 << 20), 0);
    assert_int_equal(futimens(fileno(big), (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}), 0);
    fclose(big);
    assert_int_equal(ask(prober_run_now, 1, NULL, NULL), 0);
    wait_until(one_ended, "the run");
    assert_int_equal(access(path, F_OK), 0); /* switched off until told */
    loop_post(f->loop, &msg, on_cleanup);
    while (access(path, F_OK) == 0)
        sched_yield();
    assert_int_equal(access(last_ended()->log_file, F_OK), 0);
}

struct waiting_models {
    struct prober_models_ask ask;
    sem_t done;
};

static void on_models(struct prober_models_ask *a)
{
    sem_post(&((struct waiting_models *)(void *)a)->done);
}

static void ask_models(struct waiting_models *w, int64_t channel_id)
{
    *w = (struct waiting_models){
        .ask = {.reply_loop = f->loop, .channel_id = channel_id, .done = on_models}};
    sem_init(&w->done, 0, 0);
    prober_models(f->prober, &w->ask);
    sem_wait(&w->done);
    sem_destroy(&w->done);
}

static void test_prober__models_of_an_upstream_for_the_picker(void **state)
{
    struct waiting_models w;
    struct channel *ch = new_channel("relay");

    ch->enabled = false;
    insert(ch);
    start_house(2, 32);
    ask_models(&w, 1);
    assert_int_equal(w.ask.rc, 0);
    assert_int_equal(w.ask.count, 2);
    assert_string_equal(w.ask.models[1], "b");
    prober_models_release(&w.ask);
    ask_models(&w, 5);
    assert_int_equal(w.ask.rc, ERR_NOTFOUND);
    pthread_mutex_lock(&f->lock);
    f->models_status = 503;
    pthread_mutex_unlock(&f->lock);
    ask_models(&w, 1);
    assert_int_equal(w.ask.rc, ERR_IO);
    assert_true(str_starts(str_of(w.ask.err.text), STR("GET /v1/models failed: HTTP 503 - ")));
    assert_int_equal(w.ask.count, 0);
    prober_models_release(&w.ask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_prober__first_scan_runs_what_was_never_run, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__runs_end_with_the_status_of_the_table, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__selection_cut_and_skip_choose_the_models,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober__three_probes_at_once_and_one_run_a_channel,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober__manual_runs_beyond_the_places_queue, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__deletion_cancels_and_stores_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__cancel_ends_a_run_and_empties_the_queue,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_prober__stop_leaves_no_trace_and_the_next_start_resumes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_prober__a_recent_run_is_not_repeated_at_start, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__a_graceful_stop_lets_runs_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__a_run_keeps_the_channel_it_began_with, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__old_logs_go_when_the_setting_says_so, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_prober__models_of_an_upstream_for_the_picker, set_up,
                                        tear_down),
    };

    if (curl_client_global_init() != 0 || secret_global_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
