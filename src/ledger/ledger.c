/* ledger.c -- life of the ledger and its thread.
 *
 * One turn: drain producers into the batch; when the database takes rows again and the spool holds
 * some, move a piece of them; when the batch is due, write it or, while the spool is not empty or
 * the database refuses, append it to the spool; sleep until something is due. A batch that neither
 * takes stays where it is and nothing more is drained: the rings fill, then the producers' lists,
 * and what does not fit there is dropped and counted. Memory has a bound throughout. */
#include "ledger/ledger_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/tz.h"

#include <errno.h>
#include <signal.h>

#define RING_BYTES_DEFAULT (1u << 20)
#define COMMIT_MS_DEFAULT  100u
#define STOP_REPLAY_MS     2000u
#define BATCH_CEILING      (LEDGER_BATCH_BYTES + 2 * (LEDGER_RECORD_MAX + LEDGER_HEAD + 4) + (1u << 20))

/* ---- failing and recovering ---- */

static void set_reason(struct ledger *l, const char *text)
{
    pthread_mutex_lock(&l->lock);
    str_copy(l->reason, sizeof(l->reason), str_of(text));
    pthread_mutex_unlock(&l->lock);
}

static void note_failure(struct ledger *l, const struct err *e, mono_ms now)
{
    metric_add(METRIC_STORE_ERRORS, 0, 1);
    l->retry_ms = now + LEDGER_RETRY_MS;
    set_reason(l, e->text);
    if (l->is_failing)
        return;
    l->is_failing = true;
    atomic_store(&l->is_spooling, true);
    log_error("ledger", "the database takes no rows, they go to the spool: %s", e->text);
}

static void note_success(struct ledger *l)
{
    if (!l->is_failing)
        return;
    l->is_failing = false;
    log_info("ledger", "the database takes rows again spooled=%llu",
             (unsigned long long)atomic_load(&l->spool.pending));
}

/* Once per shortage: a line per record would fill the disk that is full already. */
static void log_drops(struct ledger *l)
{
    uint64_t dropped = atomic_load(&l->dropped);

    if (dropped == l->told_drops || l->is_drop_told)
        return;
    l->is_drop_told = true;
    log_error("ledger",
              "records are dropped: neither database nor spool takes them dropped_total=%llu",
              (unsigned long long)dropped);
}

/* The states that others see follow from failing and the spool's content. */
static void publish(struct ledger *l)
{
    uint64_t before = atomic_load(&l->seq_committed);
    uint64_t dropped = atomic_load(&l->dropped);
    bool is_spooling = l->is_failing || atomic_load(&l->spool.pending) > 0;

    if (l->seq.base > before) {
        atomic_store(&l->seq_committed, l->seq.base);
        metric_add(METRIC_LEDGER_SEQ_COMMITTED, 0, l->seq.base - before);
    }
    log_drops(l);
    metric_gauge_set(METRIC_LEDGER_SPOOL_BYTES,
                     (int64_t)atomic_load(&l->spool.bytes)); /* below 2^63 */
    if (atomic_load(&l->is_spooling) && !is_spooling) {
        atomic_store(&l->is_spooling, false);
        set_reason(l, "");
        l->told_drops = dropped;
        l->is_drop_told = false; /* the next shortage is told anew */
        log_info("ledger", "spool is empty replayed_total=%llu dropped_total=%llu",
                 (unsigned long long)atomic_load(&l->replayed), (unsigned long long)dropped);
    } else {
        atomic_store(&l->is_spooling, is_spooling);
    }
}

/* ---- writing ---- */

static void settle_batch(struct ledger *l, const struct ledger_batch *b)
{
    struct str queued;
    size_t at = 0;

    while (ledger_batch_next(b, &at, &queued)) {
        uint64_t number = ledger_queued_number(queued);

        if (number > 0) /* 0: out of the spool, settled there */
            ledger_seq_settle(&l->seq, number);
    }
}

static int write_rows(struct ledger *l, const struct ledger_batch *b, struct ledger_written *ret,
                      struct err *reterr)
{
    struct store_conn *c = store_writer_lock(l->store);
    int64_t row = l->writer.next_row;
    uint64_t start_us = clock_mono_us();
    int rc = store_begin(c, reterr);

    if (rc == 0) {
        rc = ledger_write(&l->writer, c, b, ret, reterr);
        if (rc == 0)
            rc = store_commit(c, reterr);
        else
            store_rollback(c);
    }
    if (rc < 0) {
        l->writer.next_row = row;
        ledger_write_abort(&l->writer);
        if (rc == ERR_CONFLICT && ledger_write_seed(&l->writer, c, NULL) < 0)
            l->writer.next_row = row; /* next try */
    }
    store_writer_unlock(l->store);
    if (rc == 0) {
        metric_add(METRIC_LEDGER_COMMITS, 0, 1);
        metric_observe_us(METRIC_LEDGER_COMMIT_SECONDS, clock_mono_us() - start_us);
    }
    return rc;
}

/* The batch as one transaction, then the subscribers, then its numbers. */
static int commit_batch(struct ledger *l, const struct ledger_batch *b, mono_ms now)
{
    struct ledger_written written = {0};
    struct err e = {0};
    int rc = write_rows(l, b, &written, &e);

    if (rc < 0) {
        note_failure(l, &e, now);
        return rc;
    }
    note_success(l);
    atomic_fetch_add(&l->duplicates, written.duplicates);
    if (written.refused > 0) {
        l->told_drops += written.refused; /* told here, and no shortage */
        log_error("ledger", "spooled records cannot be read and are left out count=%u",
                  written.refused);
        atomic_fetch_add(&l->dropped, written.refused);
        metric_add(METRIC_LEDGER_DROPPED, 0, written.refused);
    }
    for (unsigned i = 0; written.count > 0 && i < l->subscriber_count; i++)
        l->subscribers[i].fn(l->subscribers[i].ctx, l->writer.records, written.count);
    settle_batch(l, b);
    return 0;
}

/* One piece of the spool into the database; false when there is nothing more to gain now. */
static bool replay_some(struct ledger *l, mono_ms now)
{
    struct err e = {0};
    unsigned count;
    bool is_done;

    l->replay.count =
        ledger_spool_read(&l->spool, &l->replay.bytes, LEDGER_BATCH_ROWS, LEDGER_BATCH_BYTES);
    count = l->replay.count;
    is_done = count == 0 || commit_batch(l, &l->replay, now) == 0;
    ledger_batch_clear(&l->replay);
    if (is_done && ledger_spool_done(&l->spool, &l->seq, &e) < 0) {
        /* In the database, but not marked: it comes again and is left out as duplicate. */
        log_warn("ledger", "the spool cannot be marked, it will be read again: %s", e.text);
        l->retry_ms = now + LEDGER_RETRY_MS;
        is_done = false;
    }
    if (!is_done || count == 0) {
        ledger_spool_rewind(&l->spool);
        l->retry_ms = MAX(l->retry_ms, count == 0 ? now + LEDGER_RETRY_MS : 0);
        return false;
    }
    atomic_fetch_add(&l->replayed, count);
    return true;
}

/* What of the batch did not go in stays at its front. */
static void keep_rest(struct ledger_batch *b, size_t from, unsigned gone)
{
    buf_consume(&b->bytes, from);
    b->count -= gone;
    if (b->count == 0)
        ledger_batch_clear(b);
}

static void spool_batch(struct ledger *l, mono_ms now)
{
    struct err e = {0};
    struct str queued;
    size_t at = 0, from = 0;
    unsigned gone = 0;
    int rc = 0;

    while (rc == 0 && ledger_batch_next(&l->batch, &at, &queued)) {
        rc = ledger_spool_append(&l->spool,
                                 str_n(queued.ptr + LEDGER_HEAD, queued.len - LEDGER_HEAD),
                                 ledger_queued_number(queued), &e);
        if (rc == 0) {
            from = at;
            gone++;
        }
    }
    keep_rest(&l->batch, from, gone);
    if (rc == 0)
        rc = ledger_spool_sync(&l->spool, &l->seq, &e);
    else if (ledger_spool_sync(&l->spool, &l->seq, NULL) < 0)
        rc = ERR_IO;
    if (rc < 0) {
        l->spool_retry_ms = now + LEDGER_RETRY_MS;
        log_debug("ledger", "the spool takes no more: %s", e.text);
    }
}

/* ---- the thread ---- */

void ledger_wake(struct ledger *l, uint64_t number, bool is_urgent)
{
    uint64_t at = atomic_load(&l->wake_at);

    if (at == LEDGER_AWAKE || (!is_urgent && number < at))
        return;
    if (atomic_exchange(&l->wake_at, LEDGER_AWAKE) != LEDGER_AWAKE)
        sem_post(&l->wake);
}

static void drain_producers(struct ledger *l, mono_ms now)
{
    unsigned count = atomic_load(&l->producer_count);

    for (unsigned i = 0; i < count && !ledger_batch_is_full(&l->batch); i++)
        ledger_producer_drain(l->producers[(l->turn + i) % count], &l->batch, now, l->commit_ms);
    l->turn = count > 0 ? (l->turn + 1) % count : 0;
}

static bool has_news(struct ledger *l)
{
    unsigned count = atomic_load(&l->producer_count);

    for (unsigned i = 0; i < count; i++) {
        struct ledger_producer *p = l->producers[i];

        if (atomic_load(&p->puts) != p->got)
            return true;
    }
    return false;
}

/* The number that is handed over last before the batch is full. Counted from what was taken, not
 * from what was assigned: of that, some is still on its way. */
static uint64_t filling_number(struct ledger *l)
{
    uint64_t taken = atomic_load(&l->spool.put_total);

    for (unsigned i = 0, count = atomic_load(&l->producer_count); i < count; i++)
        taken += l->producers[i]->got;
    return taken + (LEDGER_BATCH_ROWS - l->batch.count);
}

/* Until `until_ms`, the number `wake_at`, or something urgent; with LEDGER_AWAKE nothing wakes but
 * the end. */
static void sleep_until(struct ledger *l, mono_ms until_ms, uint64_t wake_at)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};

    atomic_store(&l->wake_at, wake_at);
    if ((wake_at == LEDGER_AWAKE || !has_news(l)) && !atomic_load(&l->is_stopping)) {
        while (sem_clockwait(&l->wake, CLOCK_MONOTONIC, &until) < 0 && errno == EINTR)
            ;
    }
    atomic_store(&l->wake_at, LEDGER_AWAKE);
}

static void doze(struct ledger *l, mono_ms now)
{
    bool is_held =
        l->batch.count > 0 && l->batch.due_ms <= now; /* refused by both: only time helps */
    uint64_t wake_at = 0;
    mono_ms until = now + 60000;

    if (is_held)
        until = MIN(l->retry_ms, l->spool_retry_ms);
    else if (l->batch.count > 0)
        until = l->batch.due_ms;
    if (l->is_failing || atomic_load(&l->spool.pending) > 0)
        until = MIN(until, l->retry_ms);
    if (until <= now)
        return;
    if (ledger_batch_is_full(&l->batch))
        wake_at = LEDGER_AWAKE; /* nothing can be taken */
    else if (l->batch.count > 0)
        wake_at = filling_number(l);
    sleep_until(l, until, wake_at);
}

static void sync_spool(struct ledger *l, mono_ms now)
{
    if (atomic_load(&l->spool.unsynced) > 0 && now >= l->spool_retry_ms &&
        ledger_spool_sync(&l->spool, &l->seq, NULL) < 0)
        l->spool_retry_ms = now + LEDGER_RETRY_MS;
}

/* One turn; true when it moved records and another should follow at once. */
static bool turn(struct ledger *l, bool is_last)
{
    mono_ms now = clock_mono_ms();
    bool moved = false;

    drain_producers(l, now);
    if (atomic_load(&l->spool.pending) > 0 && (now >= l->retry_ms || is_last))
        moved = replay_some(l, now);
    if (l->batch.count > 0 &&
        (is_last || ledger_batch_is_full(&l->batch) || now >= l->batch.due_ms)) {
        unsigned before = l->batch.count;

        l->batch.due_ms = MIN(l->batch.due_ms, now);
        if (atomic_load(&l->spool.pending) == 0 && (now >= l->retry_ms || is_last) &&
            commit_batch(l, &l->batch, now) == 0)
            ledger_batch_clear(&l->batch);
        if (l->batch.count > 0 && (now >= l->spool_retry_ms || is_last))
            spool_batch(l, now);
        moved |= l->batch.count < before;
    }
    sync_spool(l, now);
    publish(l);
    return moved;
}

/* The database gets a moment for what the spool holds; the rest of it waits for the next start. */
static void finish(struct ledger *l)
{
    mono_ms give_up_ms = clock_mono_ms() + STOP_REPLAY_MS;
    uint64_t lost;
    bool moved;

    do {
        moved = turn(l, true);
    } while (moved && (l->batch.count > 0 || has_news(l) ||
                       (atomic_load(&l->spool.pending) > 0 && clock_mono_ms() < give_up_ms)));
    lost = atomic_load(&l->seq_assigned) - l->seq.base;
    if (lost == 0)
        return;
    atomic_fetch_add(&l->dropped, lost);
    metric_add(METRIC_LEDGER_DROPPED, 0, lost);
    log_error("ledger", "records are lost, neither database nor spool took them count=%llu",
              (unsigned long long)lost);
}

static void *run(void *arg)
{
    struct ledger *l = arg;

    pthread_setname_np(pthread_self(), "ledger");
    while (!atomic_load(&l->is_stopping)) {
        if (!turn(l, false))
            doze(l, clock_mono_ms());
    }
    finish(l);
    return NULL;
}

/* ---- life ---- */

/* Runs that the spool still holds have ids too. */
static void seed_run_ids(struct ledger *l, int64_t last)
{
    struct ledger_record *r = &l->writer.records[0];
    struct ledger_batch *b = &l->replay;
    struct str queued;

    while (ledger_spool_read(&l->spool, &b->bytes, LEDGER_BATCH_ROWS, LEDGER_BATCH_BYTES) > 0) {
        for (size_t at = 0; ledger_batch_next(b, &at, &queued);) {
            if (ledger_record_decode(str_n(queued.ptr + LEDGER_HEAD, queued.len - LEDGER_HEAD),
                                     r) == 0)
                last = MAX(last, r->kind == LEDGER_RUN     ? r->run.id
                                 : r->kind == LEDGER_PROBE ? r->probe.run_id
                                                           : 0);
        }
        ledger_batch_clear(b);
    }
    ledger_spool_rewind(&l->spool);
    atomic_store(&l->next_run_id, last + 1);
}

static int seed(struct ledger *l, struct err *reterr)
{
    struct store_conn *c = store_writer_lock(l->store);
    int64_t last_run = 0;
    int rc = ledger_write_seed(&l->writer, c, reterr);

    if (rc == 0)
        rc = ledger_write_last_run(c, &last_run, reterr);
    store_writer_unlock(l->store);
    if (rc == 0)
        seed_run_ids(l, last_run);
    return rc;
}

int ledger_open(const struct ledger_config *cfg, struct ledger **ret, struct err *reterr)
{
    struct ledger *l;
    const struct tz *zone;
    struct err e;
    int rc = tz_load(str_of(cfg->timezone), &zone, reterr);

    if (rc < 0)
        return rc;
    l = xcalloc(1, sizeof(*l));
    l->store = cfg->store;
    l->ring_bytes = cfg->ring_bytes > 0 ? cfg->ring_bytes : RING_BYTES_DEFAULT;
    l->commit_ms = cfg->commit_ms > 0 ? cfg->commit_ms : COMMIT_MS_DEFAULT;
    pthread_mutex_init(&l->lock, NULL);
    sem_init(&l->wake, 0, 0);
    atomic_store(&l->wake_at, LEDGER_AWAKE);
    ledger_seq_init(&l->seq);
    buf_init(&l->batch.bytes, BATCH_CEILING);
    buf_init(&l->replay.bytes, BATCH_CEILING);
    l->writer.records =
        xcalloc(LEDGER_BATCH_ROWS + 1, sizeof(*l->writer.records)); /* one to decode into */
    l->writer.rollup = rollup_new(zone);
    ledger_spool_init(&l->spool, store_data_dir(cfg->store), cfg->spool_max_bytes);
    /* A full disk must not keep the daemon from starting: it is tried again when it is needed. */
    if (ledger_spool_open(&l->spool, &e) < 0)
        log_warn("ledger", "the spool cannot be opened: %s", e.text);
    rc = seed(l, reterr);
    if (rc < 0) {
        ledger_close(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void ledger_subscribe(struct ledger *l, ledger_fn fn, void *ctx)
{
    assert(!l->is_started && l->subscriber_count < ARRAY_LEN(l->subscribers));
    l->subscribers[l->subscriber_count++] = (struct ledger_subscriber){fn, ctx};
}

int ledger_start(struct ledger *l, struct err *reterr)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
    error = pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return err_set_errno(reterr, ERR_IO, error, "the ledger's thread cannot be started");
    l->is_started = true;
    return 0;
}

void ledger_stop(struct ledger *l)
{
    atomic_store(&l->is_stopping, true);
    if (!l->is_started) {
        finish(l);
        return;
    }
    sem_post(&l->wake);
    pthread_join(l->thread, NULL);
    l->is_started = false;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    assert(!l->is_started);
    for (unsigned i = 0; i < atomic_load(&l->producer_count); i++)
        ledger_producer_free(l->producers[i]);
    rollup_free(l->writer.rollup);
    xfree(l->writer.records);
    ledger_spool_release(&l->spool);
    ledger_seq_release(&l->seq);
    buf_release(&l->batch.bytes);
    buf_release(&l->replay.bytes);
    sem_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    xfree(l);
}

void ledger_stats(struct ledger *l, struct ledger_stats *ret)
{
    uint64_t committed = atomic_load(&l->seq_committed); /* before assigned: never above it */

    *ret = (struct ledger_stats){
        .seq_committed = committed,
        .seq_assigned = atomic_load(&l->seq_assigned),
        .dropped_total = atomic_load(&l->dropped),
        .spool_bytes = atomic_load(&l->spool.bytes),
        .replayed_total = atomic_load(&l->replayed),
        .duplicates_total = atomic_load(&l->duplicates),
        .is_spooling = atomic_load(&l->is_spooling),
    };
    pthread_mutex_lock(&l->lock);
    str_copy(ret->reason, sizeof(ret->reason), str_of(l->reason));
    pthread_mutex_unlock(&l->lock);
}

int64_t ledger_next_run_id(struct ledger *l)
{
    return atomic_fetch_add(&l->next_run_id, 1);
}
