/* api_job.c -- work a call has off its loop: reads on a store thread, changes on the writer. The
 * exchange lives until it is answered, so the call does too. */
#include "api/api_private.h"

static int job_run(struct store_job *j, struct store_conn *conn)
{
    struct api_job *job = container_of(j, struct api_job, job);

    return job->run(job, conn, &j->err);
}

static void job_done(struct store_job *j)
{
    struct api_job *job = container_of(j, struct api_job, job);

    if (j->rc < 0)
        api_fail(job->call, &j->err);
    else
        job->done(job);
}

static void refuse_busy(struct api_call *c)
{
    struct err e = {0};

    err_set(&e, ERR_BUSY, "too many requests wait for the store, try again");
    api_fail(c, &e);
}

void api_read(struct api_call *c, struct api_job *job)
{
    job->call = c;
    job->job = (struct store_job){.reply_loop = http_loop(c->x), .run = job_run, .done = job_done};
    if (store_read(c->api->cfg.store, &job->job) < 0)
        refuse_busy(c);
}

static int change_run(struct catalog_tx *tx, struct catalog_job *j, struct err *reterr)
{
    struct api_change *ch = container_of(j, struct api_change, job);

    return ch->run(ch, tx, reterr);
}

static void change_done(struct catalog_job *j)
{
    struct api_change *ch = container_of(j, struct api_change, job);

    if (j->job.rc < 0) {
        if (ch->failed)
            ch->failed(ch);
        api_fail(ch->call, &j->job.err);
        return;
    }
    /* The call answers with what is true now, not with what it found when it came. */
    catalog_unref(ch->call->snapshot);
    ch->call->snapshot = catalog_ref(catalog_now(ch->call->api->cfg.catalog));
    ch->done(ch);
}

void api_change(struct api_call *c, struct api_change *ch)
{
    ch->call = c;
    ch->job = (struct catalog_job){.run = change_run, .done = change_done};
    if (catalog_submit(c->api->cfg.catalog, &ch->job, http_loop(c->x)) < 0) {
        if (ch->failed)
            ch->failed(ch);
        refuse_busy(c);
    }
}
