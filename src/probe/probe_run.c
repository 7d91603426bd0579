/* probe_run.c -- one check of one channel: list the models, choose, probe a few at a time, tell the
 * ledger, the board and the log file (spec 1 section 3.3). It keeps the channel it began with, so
 * changes meanwhile concern the next run. */
#include "probe/probe_private.h"

#include "base/clock.h"
#include "base/json_out.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"

enum { RUNS_COMPLETED, RUNS_ERROR, RUNS_CANCELLED }; /* label of METRIC_RUNS */

struct active { /* a probe in flight */
    struct list node;
    struct probe_run *run;
    struct probe_one *one;
};

struct probe_run {
    struct list node; /* prober.runs */
    struct prober *p;
    struct probe_slot *slot;       /* RUNNING; NULL once the run is over */
    const struct channel *channel; /* a reference */
    int64_t id;
    bool is_manual;
    utc_ms started_utc_ms;
    struct probe_list list;
    size_t total, next; /* chosen models stand in list.ids[0..total) */
    struct list active;
    unsigned active_count;
    int32_t success, fail;
    struct probe_log log;
    bool is_log_broken;
};

struct probe_run *probe_run_of(struct list *node)
{
    return list_entry(node, struct probe_run, node);
}

const struct probe_log *probe_run_log(const struct probe_run *run)
{
    return &run->log;
}

/* ---- what others are told ---- */

static void put_run(struct probe_run *run, const char *status, const char *channel_status,
                    const char *error)
{
    bool is_over = strcmp(status, "running") != 0;
    struct ledger_record r = {
        .kind = LEDGER_RUN,
        .run =
            {
                .id = run->id,
                .channel_id = run->channel->id,
                .started_utc_ms = run->started_utc_ms,
                .finished_utc_ms = is_over ? clock_utc_ms() : 0,
                .total = run->success + run->fail,
                .success = run->success,
                .fail = run->fail,
                .status = str_of(status),
                .channel_status = str_of(channel_status),
                .log_file = str_of(run->log.path),
                .error = str_of(error),
                .cause = run->is_manual ? STR("manual") : STR("schedule"),
            },
    };

    (void)ledger_put(run->p->producer, &r, true);
}

static void put_progress(struct probe_run *run)
{
    board_run_progress(run->p->cfg.board, run->channel->id, run->id, run->success + run->fail,
                       (int32_t)run->total); /* at most PROBE_LIST_MAX */
}

static void put_probe(struct probe_run *run, const char *model, const struct probe_result *res)
{
    const struct outcome_row *row = &outcome_rows[res->outcome];
    bool success = outcome_is_success(res->outcome);
    struct ledger_record r = {
        .kind = LEDGER_PROBE,
        .call =
            {
                .ended_utc_ms = res->at_utc_ms,
                .origin = CALL_PROBE,
                .kind = CALL_KIND_TEST,
                .channel_id = run->channel->id,
                .protocol = res->protocol,
                .outcome = res->outcome,
                .http_status = res->http_status,
                .is_stream = res->is_stream,
                .duration_us = res->duration_us,
                .ttft_us = res->ttft_us,
                .usage = res->usage,
                .usage_source = res->usage_source,
                .attempts = res->attempts,
                .model = str_of(model),
                .served_model = str_of(res->served_model),
                .upstream_request_id = str_of(res->request_id),
                .error_class = success ? STR_NONE : str_of(row->name),
                .error_text = str_of(res->error),
            },
        .probe =
            {
                .item_id = run->channel->id,
                .run_id = run->id,
                .at_utc_ms = res->at_utc_ms,
                .success = success,
                .transport_success = res->transport_success,
                .status = row->status,
                .ttfb_us = res->ttfb_us,
                .ping_us = res->ping_us ? res->ping_us : run->list.ping_us,
                .dns_us = res->dns_us,
                .connect_us = res->connect_us,
                .tls_us = res->tls_us,
                .route = str_of(protocol_route(res->protocol)),
                .endpoint = str_of(protocol_endpoint(res->protocol)),
                .family = str_of(protocol_family(res->protocol)),
                .sub_status = success ? STR_NONE : str_of(row->name),
                .content = str_of(res->content),
                .error = str_of(res->error),
            },
    };

    (void)ledger_put(run->p->producer, &r, false);
    metric_add(METRIC_PROBES, (unsigned)res->outcome, 1);
    metric_observe_us(METRIC_PROBE_SECONDS, (uint64_t)MAX(res->duration_us, 0));
}

/* ---- the log file ---- */

static void log_failed(struct probe_run *run, const struct err *e)
{
    if (!run->is_log_broken) /* once a run: the disk stays full for the next line too */
        log_error("probe", "log not written channel=%lld run=%lld: %s", (long long)run->channel->id,
                  (long long)run->id, e->text);
    run->is_log_broken = true;
}

static void open_log(struct probe_run *run)
{
    struct err e = {0};
    int rc = ERR_CONFLICT;

    for (int tries = 0; rc == ERR_CONFLICT && tries < 3;
         tries++) { /* made by somebody since it was chosen */
        rc = tries == 0 && run->log.path[0]
                 ? 0
                 : probe_log_name(&run->log, run->p->log_dir, run->channel->id, run->started_utc_ms,
                                  run->p->zone, &e);
        if (rc == 0)
            rc = probe_log_open(&run->log, &e);
    }
    if (rc == 0)
        return;
    log_failed(run, &e);
    run->log.path[0] = '\0';
}

static void put_seconds(struct json_out *j, const char *key, int64_t us)
{
    json_out_key(j, key);
    if (us > 0)
        json_out_fixed(j, us, 6);
    else
        json_out_null(j);
}

static void put_text(struct json_out *j, const char *key, const char *text)
{
    json_out_kcstr(j, key, text[0] ? text : NULL);
}

static void write_line(struct probe_run *run, const char *model, const struct probe_result *res,
                       struct buf *b)
{
    struct json_out j;

    json_out_init(&j, b);
    json_out_object(&j);
    json_out_kcstr(&j, "protocol", protocol_family(res->protocol));
    json_out_kcstr(&j, "model", model);
    json_out_kbool(&j, "stream", res->is_stream);
    json_out_key(&j, "duration");
    json_out_fixed(&j, (res->duration_us + 500) / 1000, 3); /* as the rows of the logs round it */
    json_out_kbool(&j, "success", outcome_is_success(res->outcome));
    json_out_kbool(&j, "transport_success", res->transport_success);
    json_out_ki64(&j, "tool_calls_count", 0);
    json_out_key(&j, "tool_calls");
    json_out_array(&j);
    json_out_end(&j);
    put_text(&j, "content", res->content);
    json_out_kts(&j, "timestamp", res->at_utc_ms);
    put_text(&j, "error", res->error);
    json_out_key(&j, "status_code");
    if (res->http_status)
        json_out_i64(&j, res->http_status);
    else
        json_out_null(&j);
    json_out_kcstr(&j, "route", protocol_route(res->protocol));
    json_out_kcstr(&j, "endpoint", protocol_endpoint(res->protocol));
    json_out_ki64(&j, "target_id", run->channel->id);
    json_out_ki64(&j, "run_id", run->id);
    json_out_kcstr(&j, "target_name", run->channel->name);
    put_seconds(&j, "ttfb", res->ttfb_us);
    put_seconds(&j, "ttft", res->ttft_us);
    put_seconds(&j, "ping", res->ping_us ? res->ping_us : run->list.ping_us);
    json_out_kcstr(&j, "outcome", outcome_rows[res->outcome].name);
    json_out_end(&j);
    buf_put(b, STR("\n"));
}

static void log_probe(struct probe_run *run, const char *model, const struct probe_result *res)
{
    struct buf b = BUF_INIT(64 * 1024); /* texts of a few KiB, six bytes a character at worst */
    struct err e = {0};

    if (run->log.fd < 0)
        return;
    write_line(run, model, res, &b);
    if (probe_log_write(&run->log, buf_str(&b), &e) < 0)
        log_failed(run, &e);
    else
        run->p->log_bytes += buf_len(&b);
    buf_release(&b);
}

/* ---- the end ---- */

static void free_run(void *arg)
{
    struct probe_run *run = arg;

    probe_list_release(&run->list);
    channel_free(run->channel);
    xfree(run);
}

/* From here on the run is nobody's; its memory goes at the end of the turn. */
static void leave(struct probe_run *run)
{
    probe_log_close(&run->log);
    list_del(&run->node);
    run->slot = NULL;
    metric_gauge_add(METRIC_RUNS_RUNNING, -1);
    loop_defer(run->p->loop, free_run, run);
}

static void finish(struct probe_run *run, unsigned label, const char *status,
                   const char *channel_status, const char *error)
{
    struct prober *p = run->p;
    struct probe_slot *slot = run->slot;

    put_run(run, status, channel_status, error);
    metric_add(METRIC_RUNS, label, 1);
    log_info("probe", "run ended channel=%lld run=%lld status=%s total=%d success=%d ms=%lld%s%s",
             (long long)run->channel->id, (long long)run->id, channel_status,
             run->success + run->fail, run->success,
             (long long)(clock_utc_ms() - run->started_utc_ms), error[0] ? " error=" : "", error);
    leave(run);
    slot->run = NULL;
    probe_schedule_end(&p->schedule, slot,
                       (int64_t)loop_now(p->loop)); /* a monotonic time is far below 2^63 */
    prober_sweep_request(p, false);
    prober_pump(p);
    prober_check_end(p);
}

static void complete(struct probe_run *run)
{
    const char *status = run->success + run->fail == 0 ? "no_models"
                         : run->fail == 0              ? "healthy"
                         : run->success == 0           ? "down"
                                                       : "degraded";

    finish(run, RUNS_COMPLETED, "completed", status, "");
}

void probe_run_cancel(struct probe_run *run, enum probe_run_why why)
{
    struct list *node;

    while ((node = list_pop(&run->active)) != NULL) {
        struct active *a = list_entry(node, struct active, node);

        probe_one_cancel(a->one);
        metric_gauge_add(METRIC_PROBES_RUNNING, -1);
        xfree(a);
    }
    probe_list_release(&run->list);
    if (why == PROBE_RUN_ASKED) /* the channel keeps the status of its last whole run */
        put_run(run, "error", "", "cancelled");
    metric_add(METRIC_RUNS, RUNS_CANCELLED, 1);
    log_info("probe", "run cancelled channel=%lld run=%lld why=%s", (long long)run->channel->id,
             (long long)run->id,
             why == PROBE_RUN_DELETED ? "deleted"
             : why == PROBE_RUN_ASKED ? "asked"
                                      : "stopping");
    leave(run);
}

/* ---- probing ---- */

static void fill(struct probe_run *run);

static void on_probe(void *ctx, struct probe_one *one, const struct probe_result *res)
{
    struct active *a = ctx;
    struct probe_run *run = a->run;
    const char *model = probe_one_model(one);

    list_del(&a->node);
    xfree(a);
    run->active_count--;
    metric_gauge_add(METRIC_PROBES_RUNNING, -1);
    if (outcome_is_success(res->outcome))
        run->success++;
    else
        run->fail++;
    log_probe(run, model, res);
    put_probe(run, model, res);
    put_progress(run);
    fill(run);
}

static void start_probe(struct probe_run *run, const char *model)
{
    struct active *a = xcalloc(1, sizeof(*a));
    struct probe_one_config cfg = {
        .loop = run->p->loop,
        .curl = run->p->curl,
        .channel = run->channel,
        .model = model,
        .protocol = channel_route(run->channel, str_of(model)),
        .user_agent = run->p->cfg.user_agent,
        .key_turn = run->slot->key_turn++,
        .done = on_probe,
        .ctx = a,
    };

    a->run = run;
    list_add_tail(&run->active, &a->node);
    run->active_count++;
    metric_gauge_add(METRIC_PROBES_RUNNING, 1);
    a->one = probe_one_start(&cfg);
}

/* Keep as many probes in flight as may be; the last one's end is the run's. */
static void fill(struct probe_run *run)
{
    while (run->active_count < run->p->cfg.detect_concurrency && run->next < run->total)
        start_probe(run, run->list.ids[run->next++]);
    if (run->active_count == 0)
        complete(run);
}

/* ---- choosing ---- */

/* Thousands of selected models against thousands listed: by map, not by pairs. */
static struct map *selection_of(const struct channel *ch)
{
    struct map *m = map_new();

    for (size_t i = 0; i < ch->selected_models.count; i++)
        (void)map_set(m, str_of(ch->selected_models.items[i]), ch->selected_models.items[i]);
    return m;
}

/* Upstream's order: selected ones, without those whose route is skip, the first max_models of them.
 */
static void choose(struct probe_run *run)
{
    const struct channel *ch = run->channel;
    struct map *selection = selection_of(ch);
    size_t most = ch->max_models > 0 ? (size_t)ch->max_models : SIZE_MAX, skipped = 0;

    for (size_t i = 0; i < run->list.count && run->total < most; i++) {
        struct str id = str_of(run->list.ids[i]);

        if (map_count(selection) > 0 && !map_get(selection, id))
            continue;
        if (channel_route(ch, id) == PROTOCOL_NONE)
            skipped++;
        else
            run->list.ids[run->total++] = run->list.ids[i];
    }
    map_free(selection, NULL);
    if (run->list.unusable > 0)
        log_warn("probe",
                 "models left out channel=%lld run=%lld unusable=%zu: ids too long, with control "
                 "characters, or past %d",
                 (long long)ch->id, (long long)run->id, run->list.unusable, PROBE_LIST_MAX);
    log_debug("probe", "models chosen channel=%lld run=%lld listed=%zu chosen=%zu skipped=%zu",
              (long long)ch->id, (long long)run->id, run->list.count, run->total, skipped);
}

static void on_list(struct probe_list *l)
{
    struct probe_run *run = l->ctx;

    if (l->rc < 0) {
        run->log.path[0] = '\0'; /* there will be no file */
        finish(run, RUNS_ERROR, "error", "error", l->err.text);
        return;
    }
    choose(run);
    open_log(run);
    put_progress(run);
    fill(run);
}

void probe_run_start(struct prober *p, struct probe_slot *slot, const struct channel *ch)
{
    struct probe_run *run = xcalloc(1, sizeof(*run));
    struct err e = {0};

    run->p = p;
    run->slot = slot;
    run->channel = channel_ref(ch);
    run->id = slot->run_id ? slot->run_id : ledger_next_run_id(p->cfg.ledger);
    slot->run_id = 0;
    run->is_manual = slot->is_manual;
    run->started_utc_ms = clock_utc_ms();
    run->log.fd = -1;
    list_init(&run->active);
    slot->run = run;
    list_add_tail(&p->runs, &run->node);
    metric_gauge_add(METRIC_RUNS_RUNNING, 1);
    if (probe_log_name(&run->log, p->log_dir, ch->id, run->started_utc_ms, p->zone, &e) < 0) {
        run->log.path[0] = '\0';
        log_failed(run, &e);
    }
    put_run(run, "running", "", "");
    board_run_progress(p->cfg.board, ch->id, run->id, 0, -1);
    log_debug("probe", "run started channel=%lld run=%lld", (long long)ch->id, (long long)run->id);
    run->list = (struct probe_list){
        .channel = run->channel,
        .curl = p->curl,
        .user_agent = p->cfg.user_agent,
        .key_turn = slot->key_turn++,
        .done = on_list,
        .ctx = run,
    };
    probe_list_start(&run->list);
}
