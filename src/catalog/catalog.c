/* catalog.c -- who holds which snapshot. The newest lies under a short lock; each attached loop has
 * a pointer of its own which a message moves, so its readers take no lock and no reference. A loop
 * that is behind gets only the newest: the message finds what lies in `next` when it runs. */
#include "base/metric.h"
#include "catalog/catalog_private.h"

struct catalog_attached {
    struct loop *loop;
    void (*fn)(void *ctx, struct catalog_snapshot *s);
    void *ctx;
    struct catalog_snapshot *now;            /* owned by its loop: a reference */
    _Atomic(struct catalog_snapshot *) next; /* shared: a reference; not NULL = msg is on its way */
    struct loop_msg msg;
};

int catalog_open(const struct catalog_config *cfg, struct catalog **ret, struct err *reterr)
{
    struct catalog *c = xcalloc(1, sizeof(*c));
    struct store_conn *conn = store_writer_lock(cfg->store);
    int rc;

    c->store = cfg->store;
    rc = catalog_seal_key(c, conn, cfg->secret_key, reterr);
    if (rc == 0)
        rc = catalog_load(c, conn, &c->latest, reterr);
    store_writer_unlock(cfg->store);
    if (rc < 0) {
        explicit_bzero(c->key, sizeof(c->key));
        xfree(c);
        return rc;
    }
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->attached_count; i++) {
        catalog_unref(atomic_load(&c->attached[i]->next)); /* the loop ended before its message */
        catalog_unref(c->attached[i]->now);
        xfree(c->attached[i]);
    }
    xfree(c->attached);
    catalog_unref(c->latest);
    pthread_mutex_destroy(&c->lock);
    explicit_bzero(c->key, sizeof(c->key));
    xfree(c);
}

/* ---- readers ---- */

void catalog_attach(struct catalog *c, struct loop *l,
                    void (*fn)(void *ctx, struct catalog_snapshot *s), void *ctx)
{
    struct catalog_attached *a = xcalloc(1, sizeof(*a));

    a->loop = l;
    a->fn = fn;
    a->ctx = ctx;
    a->now = catalog_latest(c);
    atomic_init(&a->next, NULL);
    c->attached =
        xrealloc(c->attached, (c->attached_count + 1) * sizeof(struct catalog_attached *));
    c->attached[c->attached_count++] = a;
}

struct catalog_snapshot *catalog_now(struct catalog *c)
{
    struct loop *l = loop_current();

    for (size_t i = 0; i < c->attached_count;
         i++) /* a handful: one per core and the control loop */
        if (c->attached[i]->loop == l)
            return c->attached[i]->now;
    assert(false && "catalog_now() on a thread without an attached loop");
    return NULL;
}

struct catalog_snapshot *catalog_latest(struct catalog *c)
{
    pthread_mutex_lock(&c->lock);

    struct catalog_snapshot *s = catalog_ref(c->latest);

    pthread_mutex_unlock(&c->lock);
    return s;
}

static void drop(void *snapshot)
{
    catalog_unref(snapshot);
}

/* On the loop: its pointer moves. The old one lives until the turn ends, as catalog_now() says. */
static void move(struct loop_msg *m)
{
    struct catalog_attached *a = container_of(m, struct catalog_attached, msg);
    struct catalog_snapshot *next = atomic_exchange(&a->next, NULL);

    loop_defer(a->loop, drop, a->now);
    a->now = next;
    if (a->fn)
        a->fn(a->ctx, next);
}

/* ---- changes ---- */

/* By the holder of the writer, after COMMIT. Takes the reference. */
static void publish(struct catalog *c, struct catalog_snapshot *next)
{
    struct catalog_snapshot *old;

    pthread_mutex_lock(&c->lock);
    old = c->latest;
    c->latest = next;
    pthread_mutex_unlock(&c->lock);
    metric_gauge_set(METRIC_CATALOG_GENERATION, (int64_t)next->generation);
    catalog_unref(old);
    for (size_t i = 0; i < c->attached_count; i++) {
        struct catalog_attached *a = c->attached[i];

        old = atomic_exchange(&a->next, catalog_ref(next));
        if (old)
            catalog_unref(old); /* its message will find this one */
        else
            loop_post(a->loop, &a->msg, move);
    }
}

static int job_run(struct store_job *sj, struct store_conn *conn)
{
    struct catalog_job *j = container_of(sj, struct catalog_job, job);
    struct catalog_tx tx;
    int rc;

    catalog_write_begin(&tx, j->catalog, conn);
    rc = j->run(&tx, j, &sj->err);
    if (rc == 0)
        j->next = catalog_write_snapshot(&tx);
    catalog_write_end(&tx);
    return rc;
}

static void job_reply(struct loop_msg *m)
{
    struct catalog_job *j = container_of(m, struct catalog_job, job.msg);

    j->done(j);
}

/* On the store's writer thread, before its next job runs: that one begins with this snapshot. The
 * reply is posted behind the loop's own message, so it finds the pointer moved. */
static void job_done(struct store_job *sj)
{
    struct catalog_job *j = container_of(sj, struct catalog_job, job);

    if (j->next && sj->rc == 0)
        publish(j->catalog, j->next);
    else
        catalog_unref(j->next); /* COMMIT failed */
    j->next = NULL;
    if (!j->done)
        return;
    if (j->reply)
        loop_post(j->reply, &sj->msg, job_reply);
    else
        j->done(j);
}

int catalog_submit(struct catalog *c, struct catalog_job *j, struct loop *reply_loop)
{
    j->catalog = c;
    j->reply = reply_loop;
    j->next = NULL;
    j->job.run = job_run;
    j->job.done = job_done;
    j->job.reply_loop = NULL; /* done first on the writer thread, see job_done() */
    j->job.rc = 0;
    return store_write(c->store, &j->job);
}

int catalog_apply(struct catalog *c,
                  int (*run)(struct catalog_tx *tx, void *ctx, struct err *reterr), void *ctx,
                  struct err *reterr)
{
    struct store_conn *conn = store_writer_lock(c->store);
    struct catalog_snapshot *next = NULL;
    int rc = store_begin(conn, reterr);

    if (rc == 0) {
        struct catalog_tx tx;

        catalog_write_begin(&tx, c, conn);
        rc = run(&tx, ctx, reterr);
        if (rc == 0)
            next = catalog_write_snapshot(&tx);
        catalog_write_end(&tx);
        if (rc == 0)
            rc = store_commit(conn, reterr);
        else
            store_rollback(conn);
    }
    if (rc == 0 && next)
        publish(c, next);
    else
        catalog_unref(next);
    store_writer_unlock(c->store);
    return rc;
}
