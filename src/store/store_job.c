/* store_job.c -- the store's threads: one writer, a few readers, a queue for each kind.
 *
 *   loop: store_write(j) -> queue -> writer thread: BEGIN, run(), COMMIT -> done() on reply_loop
 *   loop: store_read(j)  -> queue -> a reader:      BEGIN, run(), end    -> done() on reply_loop
 *
 * The writer thread also checkpoints when the WAL has grown, whoever grew it, and while writes
 * fail it tries a small one each second, so that an idle process notices that the disk is back. */
#include "store/store_private.h"

#include "base/clock.h"
#include "base/metric.h"

#include <errno.h>
#include <signal.h>
#include <sys/statvfs.h>

#define RETRY_MS         1000
#define RETRY_ROOM_BYTES (1024 * 1024) /* free space that lets a batch in, not only our trial */

#define TEXT_OF_(x) #x
#define TEXT_OF(x)  TEXT_OF_(x)

/* ---- queues ---- */

void store_queue_init(struct store_queue *q)
{
    pthread_condattr_t attr;

    memset(q, 0, sizeof(*q));
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->wake, &attr);
    pthread_condattr_destroy(&attr);
}

void store_queue_release(struct store_queue *q)
{
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
}

static int push(struct store_queue *q, struct store_job *j)
{
    int rc = 0;

    pthread_mutex_lock(&q->lock);
    if (q->is_closing || q->count >= STORE_JOBS_MAX) {
        rc = ERR_BUSY;
    } else {
        j->next = NULL;
        if (q->last)
            q->last->next = j;
        else
            q->first = j;
        q->last = j;
        q->count++;
        metric_gauge_add(METRIC_STORE_QUEUE, 1);
        pthread_cond_signal(&q->wake);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* Under q->lock. */
static struct store_job *pop(struct store_queue *q)
{
    struct store_job *j = q->first;

    if (!j)
        return NULL;
    q->first = j->next;
    if (!q->first)
        q->last = NULL;
    j->next = NULL;
    q->count--;
    metric_gauge_add(METRIC_STORE_QUEUE, -1);
    return j;
}

static void wait_ms(struct store_queue *q, uint64_t ms)
{
    mono_ms until = clock_mono_ms() + ms;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000),
                          .tv_nsec = (long)(until % 1000) * 1000000};

    pthread_cond_timedwait(&q->wake, &q->lock, &ts);
}

/* ---- a job's end ---- */

static void on_reply(struct loop_msg *m)
{
    struct store_job *j = container_of(m, struct store_job, msg);

    j->done(j);
}

/* j may be freed by done() before this returns. */
static void finish(struct store_job *j)
{
    if (!j->done)
        return;
    if (j->reply_loop)
        loop_post(j->reply_loop, &j->msg, on_reply);
    else
        j->done(j);
}

/* ---- readers ---- */

static int run_read(struct store_conn *c, struct store_job *j)
{
    int rc;

    c->deadline = clock_mono_ms() + STORE_READ_LIMIT_MS;
    rc = store_exec(c, "BEGIN", &j->err);
    if (rc == 0)
        rc = j->run(j, c);
    c->deadline = 0;
    store_rollback(c); /* nothing was written: only ends the snapshot */
    return rc;
}

static void *reader_main(void *arg)
{
    struct store_reader *r = arg;
    struct store_queue *q = &r->store->reads;
    struct store_job *j;

    for (;;) {
        bool is_closing;

        pthread_mutex_lock(&q->lock);
        while (!q->first && !q->is_closing)
            pthread_cond_wait(&q->wake, &q->lock);
        j = pop(q);
        is_closing = q->is_closing;
        pthread_mutex_unlock(&q->lock);
        if (!j)
            return NULL; /* closing, and all are answered */
        memset(&j->err, 0, sizeof(j->err));
        j->rc = is_closing ? err_set(&j->err, ERR_CANCELLED, "the store is closing")
                           : run_read(r->conn, j);
        finish(j);
    }
}

/* ---- the writer ---- */

static void run_write(struct store *s, struct store_job *j)
{
    struct store_conn *c = store_writer_lock(s);

    memset(&j->err, 0, sizeof(j->err));
    j->rc = store_begin(c, &j->err);
    if (j->rc == 0) {
        j->rc = j->run(j, c);
        if (j->rc != 0) {
            store_rollback(c);
        } else if (store_commit(c, &j->err) < 0) {
            j->rc = ERR_IO;
            j->err.code = ERR_IO;
        }
    }
    store_writer_unlock(s);
    finish(j);
}

static bool has_room(const struct store *s)
{
    struct statvfs fs;

    return statvfs(s->dir, &fs) < 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= RETRY_ROOM_BYTES;
}

/* Writes page 1 as it is; its commit, or its failure, sets the health. */
static void try_again(struct store *s)
{
    struct store_conn *c;

    if (store_health(s, NULL) == ERR_LIMIT && !has_room(s))
        return;
    c = store_writer_lock(s);
    if (store_begin(c, NULL) == 0) {
        if (store_exec(c, "PRAGMA user_version = " TEXT_OF(STORE_SCHEMA_VERSION), NULL) < 0 ||
            store_commit(c, NULL) < 0)
            store_rollback(c);
    }
    store_writer_unlock(s);
}

static void maybe_checkpoint(struct store *s)
{
    struct store_conn *c = store_writer_lock(s);

    if (c->wal_pages >= c->checkpoint_at)
        store_conn_checkpoint(c, false);
    store_writer_unlock(s);
}

static void *writer_main(void *arg)
{
    struct store *s = arg;
    struct store_queue *q = &s->writes;
    mono_ms next_try = 0;

    for (;;) {
        bool is_failing, is_closing, wants_checkpoint;
        struct store_job *j;

        pthread_mutex_lock(&q->lock);
        /* Asked under q->lock: who fails signals under it, so no failure is slept through. */
        is_failing = store_failing_ms(s) != 0;
        if (!q->first && !q->is_closing && !q->wants_checkpoint) {
            if (is_failing)
                wait_ms(q, RETRY_MS);
            else
                pthread_cond_wait(&q->wake, &q->lock);
        }
        j = pop(q);
        is_closing = q->is_closing;
        wants_checkpoint = q->wants_checkpoint;
        q->wants_checkpoint = false;
        pthread_mutex_unlock(&q->lock);
        if (!j && is_closing)
            return NULL;
        if (j) {
            run_write(s, j);
        } else if (is_failing && clock_mono_ms() >= next_try) {
            try_again(s);
            next_try = clock_mono_ms() + RETRY_MS;
        }
        if (wants_checkpoint)
            maybe_checkpoint(s);
    }
}

/* ---- for callers ---- */

int store_read(struct store *s, struct store_job *j)
{
    if (s->reader_count == 0)
        return ERR_BUSY;
    return push(&s->reads, j);
}

int store_write(struct store *s, struct store_job *j)
{
    if (!s->has_writer_thread)
        return ERR_DENIED;
    return push(&s->writes, j);
}

struct store_conn *store_writer_lock(struct store *s)
{
    pthread_mutex_lock(&s->writer_lock);
    return s->writer;
}

/* The thread that is told is the writer's own: asleep, or about to look at the flag. A failure has
 * it wake each second. */
void store_writer_unlock(struct store *s)
{
    struct store_conn *c = s->writer;
    bool wants_checkpoint = c->wal_pages >= c->checkpoint_at;
    bool wake = wants_checkpoint || store_failing_ms(s) != 0;

    pthread_mutex_unlock(&s->writer_lock);
    if (!wake || !s->has_writer_thread)
        return;
    pthread_mutex_lock(&s->writes.lock);
    if (wants_checkpoint)
        s->writes.wants_checkpoint = true;
    pthread_cond_signal(&s->writes.wake);
    pthread_mutex_unlock(&s->writes.lock);
}

/* ---- start and stop ---- */

static int start_thread(pthread_t *ret, void *(*fn)(void *), void *arg, const char *name,
                        struct err *reterr)
{
    sigset_t all, old;
    int errnum;

    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    errnum = pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (errnum != 0)
        return err_set_errno(reterr, ERR_IO, errnum, "thread %s", name);
    pthread_setname_np(*ret, name);
    return 0;
}

int store_job_start(struct store *s, struct err *reterr)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < s->reader_count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "store-read-%u", i % 1000);
        rc = start_thread(&s->readers[i].thread, reader_main, &s->readers[i], name, reterr);
        s->readers[i].is_running = rc == 0;
    }
    if (rc == 0 && !s->read_only) {
        s->has_writer_thread = true; /* before the thread looks at it */
        rc = start_thread(&s->writer_thread, writer_main, s, "store-write", reterr);
        if (rc < 0)
            s->has_writer_thread = false;
    }
    return rc;
}

static void close_queue(struct store_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->is_closing = true;
    pthread_cond_broadcast(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

void store_job_stop(struct store *s)
{
    close_queue(&s->reads);
    close_queue(&s->writes);
    for (unsigned i = 0; i < s->reader_count; i++) {
        if (s->readers[i].is_running)
            pthread_join(s->readers[i].thread, NULL);
    }
    if (s->has_writer_thread)
        pthread_join(s->writer_thread, NULL);
}
