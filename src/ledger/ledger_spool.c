/* ledger_spool.c -- the spool directory, shared by the ledger thread (a batch the database refused)
 * and producers whose ring and overflow are full. A number settles when its record is synced, or
 * when it was read back and committed. */
#include "ledger/ledger_private.h"

#include "net/spool.h"

#define UNSETTLED_MAX 65536u
#define PUT_WAIT_MS                                                                                \
    5 /* a producer's wait for the lock: it is held long only while a disk syncs                   \
       */

void ledger_spool_init(struct ledger_spool *s, const char *data_dir, uint64_t max_bytes)
{
    pthread_mutex_init(&s->lock, NULL);
    snprintf(s->dir, sizeof(s->dir), "%s/spool", data_dir);
    s->max_bytes = max_bytes;
}

void ledger_spool_release(struct ledger_spool *s)
{
    spool_close(TAKE(s->spool));
    xfree(TAKE(s->unsettled));
    pthread_mutex_destroy(&s->lock);
}

static void publish(struct ledger_spool *s)
{
    atomic_store(&s->pending, s->spool ? spool_pending(s->spool) : 0);
    atomic_store(&s->bytes, s->spool ? spool_bytes(s->spool) : 0);
    atomic_store(&s->unsynced, s->unsettled_count);
}

int ledger_spool_open(struct ledger_spool *s, struct err *reterr)
{
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    if (!s->spool)
        rc = spool_open(s->dir, s->max_bytes, &s->spool, reterr);
    publish(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void remember(struct ledger_spool *s, uint64_t number)
{
    if (s->unsettled_count == s->unsettled_cap) {
        s->unsettled_cap = MAX((size_t)256, s->unsettled_cap * 2);
        s->unsettled = xrealloc(s->unsettled, s->unsettled_cap * sizeof(*s->unsettled));
    }
    s->unsettled[s->unsettled_count++] = number;
}

int ledger_spool_append(struct ledger_spool *s, struct str record, uint64_t number,
                        struct err *reterr)
{
    int rc = ledger_spool_open(s, reterr);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    rc = spool_append(s->spool, record, reterr);
    if (rc == 0 && number > 0)
        remember(s, number);
    publish(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int ledger_spool_put(struct ledger_spool *s, struct str record, _Atomic uint64_t *assigned,
                     uint64_t *ret_number)
{
    struct timespec until;
    int rc = ERR_BUSY;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PUT_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    if (pthread_mutex_timedlock(&s->lock, &until) != 0)
        return ERR_BUSY;
    if (s->spool && s->unsettled_count < UNSETTLED_MAX)
        rc = spool_append(s->spool, record, NULL);
    if (rc == 0) {
        *ret_number = atomic_fetch_add(assigned, 1) + 1;
        remember(s, *ret_number);
        atomic_fetch_add(&s->put_total, 1);
    }
    publish(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void settle_all(struct ledger_spool *s, struct ledger_seq *q)
{
    for (size_t i = 0; i < s->unsettled_count; i++)
        ledger_seq_settle(q, s->unsettled[i]);
    s->unsettled_count = 0;
    if (s->unsettled_cap > 4096) { /* memory of one bad hour is not kept */
        xfree(TAKE(s->unsettled));
        s->unsettled_cap = 0;
    }
}

int ledger_spool_sync(struct ledger_spool *s, struct ledger_seq *q, struct err *reterr)
{
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    if (s->spool && s->unsettled_count > 0) {
        rc = spool_sync(s->spool, reterr);
        if (rc == 0)
            settle_all(s, q);
    }
    publish(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

unsigned ledger_spool_read(struct ledger_spool *s, struct buf *out, unsigned rows, size_t bytes)
{
    static const char head[LEDGER_HEAD]; /* number 0: settled by the spool */
    unsigned count = 0;
    struct str record;

    pthread_mutex_lock(&s->lock);
    while (s->spool && count < rows && buf_len(out) < bytes && spool_next(s->spool, &record) == 0) {
        uint32_t size = (uint32_t)(LEDGER_HEAD + record.len); /* at most SPOOL_RECORD_MAX + 9 */

        if (buf_reserve(out, sizeof(size) + size) < 0)
            break; /* cannot happen: `bytes` plus one record is below the ceiling */
        buf_put(out, str_n((const char *)&size, sizeof(size)));
        buf_put(out, str_n(head, sizeof(head)));
        buf_put(out, record);
        count++;
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

void ledger_spool_rewind(struct ledger_spool *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->spool)
        spool_rewind(s->spool);
    pthread_mutex_unlock(&s->lock);
}

int ledger_spool_done(struct ledger_spool *s, struct ledger_seq *q, struct err *reterr)
{
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = spool_done(s->spool, reterr);
    if (rc == 0 && spool_pending(s->spool) == 0)
        settle_all(s, q);
    publish(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
