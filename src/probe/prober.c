/* prober.c -- life of the prober, its channels, and what others ask of it.
 *
 *   NEW --start--> LOADING --store read--> WORKING --stop--> STOPPING --idle or grace--> STOPPED
 *
 * Asks reach it as messages. While LOADING they wait, from STOPPING on they are refused. */
#include "probe/probe_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"

#define FIRST_RUN_MS    30000 /* a channel made now: its maker usually asks for the first run */
#define CONNECTIONS_MIN 16u
#define CONNECTIONS_MAX 4096u

struct prober_pick { /* a model list somebody asked for */
    struct list node;
    struct prober *p;
    struct prober_models_ask *ask;
    const struct channel *channel; /* a reference */
    struct probe_list list;
};

static int64_t now_ms(const struct prober *p)
{
    return (int64_t)loop_now(p->loop); /* milliseconds since boot */
}

static void set_life(struct prober *p, enum prober_life to)
{
    assert(to > p->life);
    log_debug("probe", "prober life=%d", (int)to);
    p->life = to;
}

/* ---- channels ---- */

static int64_t interval_ms(const struct channel *ch)
{
    return (int64_t)ch->interval_min * 60000;
}

/* A wall-clock time on the monotonic clock; the future (the clock was set back) counts as now. */
static int64_t mono_of(const struct prober *p, utc_ms t)
{
    return now_ms(p) - MAX(clock_utc_ms() - t, 0);
}

static void add_slot(struct prober *p, const struct channel *ch, const struct prober_resume *r)
{
    utc_ms last;

    if (!r)
        probe_schedule_add(&p->schedule, ch->id, interval_ms(ch), ch->enabled, PROBE_SCHEDULE_NEVER,
                           now_ms(p) + FIRST_RUN_MS);
    else
        probe_schedule_add(&p->schedule, ch->id, interval_ms(ch), ch->enabled,
                           prober_resume_last(r, ch->id, &last) ? mono_of(p, last)
                                                                : PROBE_SCHEDULE_NEVER,
                           PROBE_SCHEDULE_NEVER);
}

static void drop_slot(struct prober *p, struct probe_slot *slot)
{
    int64_t id = slot->channel_id;

    if (slot->run)
        probe_run_cancel(TAKE(slot->run), PROBE_RUN_DELETED);
    probe_schedule_drop(&p->schedule, slot);
    board_forget(p->cfg.board, id);
}

/* Slots follow the snapshot: O(n) once a change. r: at start, else NULL. */
static void sync_slots(struct prober *p, const struct prober_resume *r)
{
    const struct catalog_snapshot *s = p->snapshot;

    p->generation++;
    for (size_t i = 0; i < s->channel_count; i++) {
        const struct channel *ch = s->channels[i];
        struct probe_slot *slot = probe_schedule_get(&p->schedule, ch->id);

        if (slot)
            probe_schedule_change(&p->schedule, slot, interval_ms(ch), ch->enabled, now_ms(p));
        else
            add_slot(p, ch, r);
        probe_schedule_get(&p->schedule, ch->id)->seen = p->generation;
    }
    for (size_t i = p->schedule.count; i-- > 0;)
        if (p->schedule.slots[i]->seen != p->generation)
            drop_slot(p, p->schedule.slots[i]);
}

static void adopt(struct prober *p, struct catalog_snapshot *s)
{
    struct catalog_snapshot *old = p->snapshot;

    if (s->generation <= old->generation)
        return;
    p->snapshot = catalog_ref(s);
    catalog_unref(old);
    if (p->life != PROBER_WORKING)
        return;
    sync_slots(p, NULL);
    prober_pump(p);
}

static void on_catalog(void *ctx, struct catalog_snapshot *s)
{
    adopt(ctx, s);
}

/* An ask may overtake the message with the channel it is about. */
static const struct channel *channel_of(struct prober *p, int64_t id)
{
    const struct channel *ch = catalog_channel(p->snapshot, id);

    if (!ch) {
        struct catalog_snapshot *latest = catalog_latest(p->cfg.catalog);

        adopt(p, latest);
        catalog_unref(latest);
        ch = catalog_channel(p->snapshot, id);
    }
    return ch;
}

/* ---- running ---- */

void prober_pump(struct prober *p)
{
    struct probe_slot *slot;

    if (p->life != PROBER_WORKING)
        return;
    probe_schedule_scan(&p->schedule, now_ms(p));
    while ((slot = probe_schedule_next(&p->schedule)) != NULL)
        probe_run_start(p, slot,
                        catalog_channel(p->snapshot, slot->channel_id)); /* slots follow it */
    metric_gauge_set(METRIC_RUNS_QUEUED, (int64_t)p->schedule.queued);
    loop_timer_set(&p->timer, MAX(probe_schedule_wait_ms(&p->schedule, now_ms(p)), 1u));
}

static void on_timer(struct loop_timer *t)
{
    prober_pump(container_of(t, struct prober, timer));
}

/* ---- asks ---- */

static bool is_held(struct prober *p, struct loop_msg *m)
{
    if (p->life > PROBER_LOADING)
        return false;
    m->next = p->early;
    p->early = m;
    return true;
}

static void release_early(struct prober *p)
{
    struct loop_msg *m = TAKE(p->early), *next, *ordered = NULL;

    for (; m; m = next) { /* oldest first */
        next = m->next;
        m->next = ordered;
        ordered = m;
    }
    for (m = ordered; m; m = next) {
        next = m->next;
        m->fn(m); /* as loop_post() left it */
    }
}

static void on_ask_reply(struct loop_msg *m)
{
    struct prober_ask *a = container_of(m, struct prober_ask, msg);

    a->done(a);
}

static void reply(struct prober_ask *a, int rc)
{
    a->rc = rc;
    loop_post(a->reply_loop, &a->msg, on_ask_reply);
}

static void on_run_now(struct loop_msg *m)
{
    struct prober_ask *a = container_of(m, struct prober_ask, msg);
    struct prober *p = a->prober;
    struct probe_slot *slot;
    int rc;

    if (is_held(p, m))
        return;
    if (p->life != PROBER_WORKING) {
        reply(a, ERR_CANCELLED);
        return;
    }
    if (!channel_of(p, a->channel_id)) {
        reply(a, ERR_NOTFOUND);
        return;
    }
    slot = probe_schedule_get(&p->schedule, a->channel_id);
    rc = probe_schedule_ask(&p->schedule, slot);
    if (rc == 0) {
        if (slot->run_id == 0)
            slot->run_id = ledger_next_run_id(p->cfg.ledger);
        a->run_id = slot->run_id;
        prober_pump(p);
        a->is_queued = slot->state == PROBE_QUEUED;
    }
    reply(a, rc);
}

static void on_cancel(struct loop_msg *m)
{
    struct prober_ask *a = container_of(m, struct prober_ask, msg);
    struct prober *p = a->prober;
    struct probe_slot *slot;

    if (is_held(p, m))
        return;
    slot = probe_schedule_get(&p->schedule, a->channel_id);
    if (!slot || slot->state == PROBE_IDLE) {
        reply(a, ERR_NOTFOUND);
        return;
    }
    if (slot->run) {
        probe_run_cancel(TAKE(slot->run), PROBE_RUN_ASKED);
        probe_schedule_end(&p->schedule, slot, now_ms(p));
    } else {
        slot->run_id = 0;
        probe_schedule_unqueue(&p->schedule, slot, now_ms(p));
    }
    prober_pump(p);
    prober_check_end(p);
    reply(a, 0);
}

static void ask(struct prober *p, struct prober_ask *a, void (*fn)(struct loop_msg *m))
{
    a->prober = p;
    a->rc = 0;
    a->run_id = 0;
    a->is_queued = false;
    loop_post(p->loop, &a->msg, fn);
}

void prober_run_now(struct prober *p, struct prober_ask *a)
{
    ask(p, a, on_run_now);
}

void prober_cancel(struct prober *p, struct prober_ask *a)
{
    ask(p, a, on_cancel);
}

/* ---- live model lists ---- */

static void on_models_reply(struct loop_msg *m)
{
    struct prober_models_ask *a = container_of(m, struct prober_models_ask, msg);

    a->done(a);
}

static void free_pick(void *arg)
{
    struct prober_pick *pick = arg;

    probe_list_release(&pick->list);
    channel_free(pick->channel);
    xfree(pick);
}

static void end_pick(struct prober_pick *pick)
{
    list_del(&pick->node);
    loop_post(pick->ask->reply_loop, &pick->ask->msg, on_models_reply);
    loop_defer(pick->p->loop, free_pick, pick);
}

static void on_pick(struct probe_list *l)
{
    struct prober_pick *pick = l->ctx;
    struct prober *p = pick->p;
    struct prober_models_ask *a = pick->ask;

    a->rc = l->rc;
    a->err = l->err;
    if (l->rc == 0) {
        a->models = xcalloc(l->count, sizeof(*a->models));
        for (; a->count < l->count; a->count++)
            a->models[a->count] = xstrdup(l->ids[a->count]);
    }
    end_pick(pick);
    prober_check_end(p);
}

static void cancel_pick(struct prober_pick *pick)
{
    probe_list_release(&pick->list);
    pick->ask->rc = err_set(&pick->ask->err, ERR_CANCELLED, "the service is stopping");
    end_pick(pick);
}

static void on_models(struct loop_msg *m)
{
    struct prober_models_ask *a = container_of(m, struct prober_models_ask, msg);
    struct prober *p = a->prober;
    const struct channel *ch;
    struct prober_pick *pick;

    if (is_held(p, m))
        return;
    ch = channel_of(p, a->channel_id);
    if (!ch || p->life != PROBER_WORKING) {
        a->rc = ch ? err_set(&a->err, ERR_CANCELLED, "the service is stopping")
                   : err_set(&a->err, ERR_NOTFOUND, "no such channel");
        loop_post(a->reply_loop, &a->msg, on_models_reply);
        return;
    }
    pick = xcalloc(1, sizeof(*pick));
    pick->p = p;
    pick->ask = a;
    pick->channel = channel_ref(ch);
    pick->list = (struct probe_list){.channel = pick->channel,
                                     .curl = p->curl,
                                     .user_agent = p->cfg.user_agent,
                                     .done = on_pick,
                                     .ctx = pick};
    list_add_tail(&p->picks, &pick->node);
    probe_list_start(&pick->list);
}

void prober_models(struct prober *p, struct prober_models_ask *a)
{
    a->prober = p;
    a->rc = 0;
    a->err = (struct err){0};
    a->models = NULL;
    a->count = 0;
    loop_post(p->loop, &a->msg, on_models);
}

void prober_models_release(struct prober_models_ask *a)
{
    for (size_t i = 0; i < a->count; i++)
        xfree(a->models[i]);
    xfree(TAKE(a->models));
    a->count = 0;
}

size_t prober_running(struct prober *p, int64_t *ids, size_t cap)
{
    return probe_schedule_list(&p->schedule, PROBE_RUNNING, ids, cap);
}

size_t prober_queued(struct prober *p, int64_t *ids, size_t cap)
{
    return probe_schedule_list(&p->schedule, PROBE_QUEUED, ids, cap);
}

void prober_set_log_cleanup(struct prober *p, bool is_enabled, int64_t max_mb)
{
    p->is_cleaning_on = is_enabled;
    p->log_max_bytes = max_mb > 0 ? (uint64_t)max_mb << 20 : 0; /* at most 102,400 MiB */
    prober_sweep_request(p, true);
}

/* ---- life ---- */

static const char *outcome_names[OUTCOME_COUNT];

static void name_outcomes(void)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        outcome_names[i] = outcome_rows[i].name;
    metric_set_labels(METRIC_PROBES, outcome_names, OUTCOME_COUNT);
}

static void copy_config(struct prober *p, const struct prober_config *cfg)
{
    p->cfg = *cfg;
    p->cfg.data_dir = xstrdup(cfg->data_dir);
    p->cfg.user_agent = xstrdup(cfg->user_agent);
    p->cfg.detect_concurrency = MAX(cfg->detect_concurrency, 1u);
    p->cfg.max_parallel_targets = MAX(cfg->max_parallel_targets, 1u);
    p->cfg.manual_parallel = MAX(cfg->manual_parallel, 1u);
    p->loop = cfg->loop;
    list_init(&p->runs);
    list_init(&p->picks);
    loop_timer_init(&p->timer, p->loop, on_timer);
    probe_schedule_init(&p->schedule, p->cfg.max_parallel_targets, p->cfg.manual_parallel);
}

static long pool_size(const struct prober_config *cfg)
{
    uint64_t most = (uint64_t)cfg->detect_concurrency *
                    ((uint64_t)cfg->max_parallel_targets + cfg->manual_parallel);

    return (long)MIN(MAX(most, CONNECTIONS_MIN), CONNECTIONS_MAX);
}

int prober_new(const struct prober_config *cfg, struct prober **ret, struct err *reterr)
{
    struct prober *p = xcalloc(1, sizeof(*p));
    struct curl_client_config curl = {
        .egress = cfg->egress, .ca_file = cfg->ca_file, .proxy = cfg->proxy};
    int rc;

    copy_config(p, cfg);
    curl.max_connections = pool_size(&p->cfg);
    rc = tz_load(STR_NONE, &p->zone, reterr);
    if (rc == 0)
        rc = probe_log_dir(cfg->data_dir, p->log_dir, sizeof(p->log_dir), reterr);
    if (rc == 0)
        rc = curl_client_new(p->loop, &curl, &p->curl, reterr);
    if (rc < 0) {
        p->life = PROBER_STOPPED;
        prober_free(p);
        return rc;
    }
    name_outcomes();
    p->producer = ledger_producer_new(cfg->ledger, "probe");
    p->snapshot = catalog_latest(cfg->catalog);
    catalog_attach(cfg->catalog, p->loop, on_catalog, p);
    *ret = p;
    return 0;
}

static void on_start(struct loop_msg *m)
{
    struct prober *p = container_of(m, struct prober, start_msg);

    if (p->life != PROBER_NEW)
        return; /* stopped before */
    set_life(p, PROBER_LOADING);
    p->first_run_id = ledger_next_run_id(p->cfg.ledger);
    prober_resume_start(p);
}

void prober_start(struct prober *p)
{
    loop_post(p->loop, &p->start_msg,
              on_start); /* the loop may not run yet: its clock stands still */
}

void prober_resumed(struct prober *p, const struct prober_resume *r)
{
    set_life(p, PROBER_WORKING);
    sync_slots(p, r);
    prober_resume_close_runs(r);
    prober_pump(p);
    release_early(p);
}

static void cancel_all(struct prober *p)
{
    list_for_each (node, &p->picks)
        cancel_pick(list_entry(node, struct prober_pick, node));
    for (size_t i = 0; i < p->schedule.count; i++) {
        struct probe_slot *slot = p->schedule.slots[i];

        if (!slot->run)
            continue;
        probe_run_cancel(TAKE(slot->run), PROBE_RUN_STOPPED);
        probe_schedule_end(&p->schedule, slot, now_ms(p));
    }
}

static void on_grace(struct loop_timer *t)
{
    struct prober *p = container_of(t, struct prober, grace_timer);

    cancel_all(p);
    prober_check_end(p);
}

void prober_check_end(struct prober *p)
{
    if (p->life != PROBER_STOPPING || p->resume || p->sweep || !list_empty(&p->runs) ||
        !list_empty(&p->picks))
        return;
    set_life(p, PROBER_STOPPED);
    loop_timer_cancel(&p->grace_timer);
    curl_client_free(TAKE(p->curl));
    p->stopped(p->stopped_ctx);
}

void prober_stop(struct prober *p, uint64_t grace_ms, void (*done)(void *ctx), void *ctx)
{
    if (p->life == PROBER_STOPPING) /* in a hurry now */
        loop_timer_set(&p->grace_timer, grace_ms);
    if (p->life >= PROBER_STOPPING)
        return;
    set_life(p, PROBER_STOPPING);
    loop_timer_cancel(&p->timer);
    if (p->retry_timer.is_set)
        loop_timer_cancel(&p->retry_timer);
    p->is_sweep_due = false;
    p->stopped = done;
    p->stopped_ctx = ctx;
    release_early(p);
    loop_timer_init(&p->grace_timer, p->loop, on_grace);
    loop_timer_set(&p->grace_timer, grace_ms);
    prober_check_end(p);
}

void prober_free(struct prober *p)
{
    if (!p)
        return;
    if (p->life != PROBER_STOPPED)
        cancel_all(p); /* the loop ended first */
    curl_client_free(TAKE(p->curl));
    prober_sweep_orphan(p->sweep);
    prober_resume_orphan(p->resume);
    if (p->snapshot)
        catalog_unref(p->snapshot);
    probe_schedule_release(&p->schedule);
    xfree((void *)(uintptr_t)p->cfg.data_dir); /* copies of ours */
    xfree((void *)(uintptr_t)p->cfg.user_agent);
    xfree(p);
}
