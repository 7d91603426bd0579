/* prober_resume.c -- where the last process stood: when each channel was probed last, and which
 * runs it left open. A store that does not answer is asked again; nothing is probed before. */
#include "probe/probe_private.h"

#include "base/clock.h"
#include "base/log.h"

#define RETRY_MS 1000

struct last {
    int64_t channel_id;
    utc_ms end_utc_ms;
};

struct open_run {
    int64_t id, channel_id;
    utc_ms started_utc_ms;
    int32_t total, success;
    char *log_file, *cause;
};

struct prober_resume {
    struct store_job job;
    struct prober *p; /* NULL: gone */
    int64_t first_run_id;
    struct last *lasts; /* by channel_id */
    size_t last_count, last_cap;
    struct open_run *runs;
    size_t run_count, run_cap;
};

static const char last_sql[] = "SELECT channel_id,last_run_utc_ms FROM channel_state"
                               " WHERE last_run_utc_ms IS NOT NULL ORDER BY channel_id";
static const char open_sql[] =
    "SELECT "
    "r.id,r.channel_id,r.started_utc_ms,r.log_file,r.cause,COUNT(p.id),COALESCE(SUM(p.success),0)"
    " FROM runs r LEFT JOIN probe_results p ON p.run_id=r.id AND p.run_id>0"
    " WHERE r.status='running' AND r.id<?1 GROUP BY r.id ORDER BY r.id";

static void add_last(struct prober_resume *r, struct store_stmt *st)
{
    if (r->last_count == r->last_cap) {
        r->last_cap = r->last_cap ? r->last_cap * 2 : 64;
        r->lasts = xrealloc(r->lasts, r->last_cap * sizeof(*r->lasts));
    }
    r->lasts[r->last_count++] = (struct last){store_col_i64(st, 0), store_col_i64(st, 1)};
}

static void add_run(struct prober_resume *r, struct store_stmt *st)
{
    if (r->run_count == r->run_cap) {
        r->run_cap = r->run_cap ? r->run_cap * 2 : 64;
        r->runs = xrealloc(r->runs, r->run_cap * sizeof(*r->runs));
    }
    r->runs[r->run_count++] = (struct open_run){
        .id = store_col_i64(st, 0),
        .channel_id = store_col_i64(st, 1),
        .started_utc_ms = store_col_i64(st, 2),
        .log_file = str_dup(store_col_str(st, 3)),
        .cause = str_dup(store_col_str(st, 4)),
        .total = (int32_t)MIN(store_col_i64(st, 5), INT32_MAX), /* counts, not negative */
        .success = (int32_t)MIN(store_col_i64(st, 6), INT32_MAX),
    };
}

static int read_rows(struct prober_resume *r, struct store_conn *c, const char *sql, bool is_open,
                     void (*add)(struct prober_resume *r, struct store_stmt *st))
{
    struct store_stmt *st;
    int rc = store_prepare(c, sql, &st, &r->job.err);

    if (rc < 0)
        return rc;
    if (is_open)
        store_bind_i64(st, 1, r->first_run_id);
    while ((rc = store_step(st, &r->job.err)) > 0)
        add(r, st);
    store_reset(st);
    return rc;
}

static int on_store(struct store_job *j, struct store_conn *c)
{
    struct prober_resume *r = container_of(j, struct prober_resume, job);
    int rc = read_rows(r, c, last_sql, false, add_last);

    return rc == 0 ? read_rows(r, c, open_sql, true, add_run) : rc;
}

static void free_resume(struct prober_resume *r)
{
    for (size_t i = 0; i < r->run_count; i++) {
        xfree(r->runs[i].log_file);
        xfree(r->runs[i].cause);
    }
    xfree(r->runs);
    xfree(r->lasts);
    xfree(r);
}

static void on_retry(struct loop_timer *t)
{
    prober_resume_start(container_of(t, struct prober, retry_timer));
}

static void on_read(struct store_job *j)
{
    struct prober_resume *r = container_of(j, struct prober_resume, job);
    struct prober *p = r->p;

    if (p)
        p->resume = NULL;
    if (p && p->life == PROBER_LOADING) {
        if (j->rc < 0) {
            log_warn("probe", "state of the channels not read, trying again: %s", j->err.text);
            loop_timer_set(&p->retry_timer, RETRY_MS);
        } else {
            prober_resumed(p, r);
        }
    }
    free_resume(r);
    if (p)
        prober_check_end(p);
}

void prober_resume_start(struct prober *p)
{
    struct prober_resume *r = xcalloc(1, sizeof(*r));

    r->p = p;
    r->first_run_id = p->first_run_id;
    r->job.reply_loop = p->loop;
    r->job.run = on_store;
    r->job.done = on_read;
    loop_timer_init(&p->retry_timer, p->loop, on_retry);
    if (store_read(p->cfg.store, &r->job) < 0) {
        xfree(r);
        loop_timer_set(&p->retry_timer, RETRY_MS);
        return;
    }
    p->resume = r;
}

void prober_resume_orphan(struct prober_resume *r)
{
    if (r)
        r->p = NULL;
}

static int by_channel(const void *key, const void *row)
{
    int64_t id = *(const int64_t *)key, other = ((const struct last *)row)->channel_id;

    return id < other ? -1 : id > other;
}

bool prober_resume_last(const struct prober_resume *r, int64_t channel_id, utc_ms *ret)
{
    const struct last *found =
        r->last_count ? bsearch(&channel_id, r->lasts, r->last_count, sizeof(*r->lasts), by_channel)
                      : NULL;

    if (found)
        *ret = found->end_utc_ms;
    return found != NULL;
}

/* The channel's own last status stays: nothing was found out about it. */
static void close_run(struct prober *p, const struct open_run *o)
{
    struct ledger_record rec = {
        .kind = LEDGER_RUN,
        .run =
            {
                .id = o->id,
                .channel_id = o->channel_id,
                .started_utc_ms = o->started_utc_ms,
                .finished_utc_ms = clock_utc_ms(),
                .total = o->total,
                .success = o->success,
                .fail = o->total - o->success,
                .status = STR("error"),
                .log_file = str_of(o->log_file),
                .error = STR("interrupted"),
                .cause = str_of(o->cause),
            },
    };
    struct probe_slot *slot = probe_schedule_get(&p->schedule, o->channel_id);

    (void)ledger_put(p->producer, &rec, true);
    log_info("probe", "run ended channel=%lld run=%lld status=error error=interrupted",
             (long long)o->channel_id, (long long)o->id);
    if (slot)
        probe_schedule_hurry(&p->schedule, slot, (int64_t)loop_now(p->loop)); /* far below 2^63 */
}

void prober_resume_close_runs(const struct prober_resume *r)
{
    for (size_t i = 0; i < r->run_count; i++)
        close_run(r->p, &r->runs[i]);
}
