/* ledger_private.h -- the parts of the ledger among themselves.
 *
 *   ledger.c           life, thread, batches, acknowledgement
 *   ledger_producer.c  rings and overflow lists
 *   ledger_spool.c     the spool under its lock
 *   ledger_write.c     rows of one batch
 *   ledger_seq.c       which numbers are settled
 *
 * A queued record is {u64 number, u8 flags, ledger_record bytes}; the spool keeps the last part.
 * Lock order: store writer lock, then spool lock; the overflow lock is taken alone. */
#pragma once

#include "ledger/ledger.h"
#include "ledger/ledger_record.h"
#include "ledger/rollup.h"

#include "base/ring.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define LEDGER_BATCH_ROWS     1000u
#define LEDGER_BATCH_BYTES    (1u << 20) /* a batch closes at the record that passes it */
#define LEDGER_AWAITED_MS     5u
#define LEDGER_RETRY_MS       1000u
#define LEDGER_OVERFLOW_BYTES (4u << 20) /* memory behind a full ring, per producer */
#define LEDGER_PRODUCERS_MAX  256u
#define LEDGER_HEAD           9u /* bytes before the record in a ring */
#define LEDGER_FLAG_AWAITED   1

static_assert(LEDGER_BATCH_ROWS <= ROLLUP_BATCH_MAX, "one flush a batch");

/* wake_at: the number at which a producer must wake the ledger thread. */
#define LEDGER_AWAKE UINT64_MAX

/* ---- numbers ---- */
/* All numbers up to `base` are settled, and those above it whose bit is set. Ledger thread. */
struct ledger_seq {
    uint64_t base;
    uint64_t *words; /* bit (number % bits) */
    uint64_t bits;   /* a power of two */
};
void ledger_seq_init(struct ledger_seq *q);
void ledger_seq_release(struct ledger_seq *q);
void ledger_seq_settle(struct ledger_seq *q, uint64_t number);

/* ---- spool ---- */
struct ledger_spool {
    pthread_mutex_t lock; /* guards all below */
    char dir[1024];
    uint64_t max_bytes;
    struct spool *spool; /* NULL: could not be opened, tried again */
    uint64_t *unsettled; /* numbers appended and not yet synced */
    size_t unsettled_count, unsettled_cap;
    _Atomic uint64_t pending, bytes, unsynced; /* for anyone */
    _Atomic uint64_t put_total;                /* numbers given to producers' records */
};
void ledger_spool_init(struct ledger_spool *s, const char *data_dir, uint64_t max_bytes);
void ledger_spool_release(struct ledger_spool *s);
MUST_USE int ledger_spool_open(struct ledger_spool *s, struct err *reterr);
/* Ledger thread. With number 0 the record has none to settle. */
MUST_USE int ledger_spool_append(struct ledger_spool *s, struct str record, uint64_t number,
                                 struct err *reterr);
/* Producer: waits a few ms for the lock at most; takes its number from *assigned when it is in. */
MUST_USE int ledger_spool_put(struct ledger_spool *s, struct str record, _Atomic uint64_t *assigned,
                              uint64_t *ret_number);
/* Ledger thread: durable from here; settles the numbers. */
MUST_USE int ledger_spool_sync(struct ledger_spool *s, struct ledger_seq *q, struct err *reterr);
/* The oldest pending records, at most `rows` and about `bytes`, queued form, onto *out. */
unsigned ledger_spool_read(struct ledger_spool *s, struct buf *out, unsigned rows, size_t bytes);
void ledger_spool_rewind(struct ledger_spool *s);
/* What was read is in the database. */
MUST_USE int ledger_spool_done(struct ledger_spool *s, struct ledger_seq *q, struct err *reterr);

/* ---- producers ---- */
struct ledger_overflow { /* one record behind a full ring */
    struct ledger_overflow *next;
    size_t size;
    uint8_t bytes[];
};

struct ledger_producer {
    /* owner thread */
    struct ledger *ledger;
    struct buf scratch;
    struct ring *ring;
    _Atomic uint64_t puts; /* records handed over; the ledger thread reads it */

    /* shared */
    pthread_mutex_t lock; /* guards the list */
    struct ledger_overflow *head, **tail;
    _Atomic bool is_overflowing;     /* the list is not empty: the ring takes nothing until it is */
    _Atomic uint64_t overflow_bytes; /* list and `taken` */

    /* ledger thread */
    struct ledger_overflow *taken; /* older than what the ring holds */
    uint64_t got;                  /* compare with puts */
    char name[32];
};

/* Records waiting for one transaction, queued form, each behind its u32 length. */
struct ledger_batch {
    struct buf bytes;
    unsigned count;
    mono_ms due_ms;
};
/* False: no room, take it later. */
bool ledger_batch_add(struct ledger_batch *b, struct str queued, mono_ms now, unsigned commit_ms);
bool ledger_batch_is_full(const struct ledger_batch *b);
/* Walk: *at starts at 0. */
bool ledger_batch_next(const struct ledger_batch *b, size_t *at, struct str *ret_queued);
void ledger_batch_clear(struct ledger_batch *b);
uint64_t ledger_queued_number(struct str queued);

void ledger_producer_free(struct ledger_producer *p);
/* Ledger thread: move what is there into the batch. */
void ledger_producer_drain(struct ledger_producer *p, struct ledger_batch *b, mono_ms now,
                           unsigned commit_ms);

/* ---- rows ---- */
struct ledger_writer {
    struct rollup *rollup;
    struct ledger_record *records; /* LEDGER_BATCH_ROWS + 1 */
    int64_t next_row;
};
struct ledger_written {
    unsigned count;      /* records for the subscribers, at the front of writer->records */
    unsigned duplicates; /* left out */
    unsigned refused;    /* could not be read or were refused by a constraint */
};
/* Rows, roll-ups and details of the batch, inside the caller's transaction. After a failure or a
 * failed commit: ledger_write_abort(). */
MUST_USE int ledger_write(struct ledger_writer *w, struct store_conn *c,
                          const struct ledger_batch *b, struct ledger_written *ret,
                          struct err *reterr);
void ledger_write_abort(struct ledger_writer *w);
MUST_USE int ledger_write_seed(struct ledger_writer *w, struct store_conn *c, struct err *reterr);
MUST_USE int ledger_write_last_run(struct store_conn *c, int64_t *ret, struct err *reterr);

/* ---- the whole ---- */
struct ledger_subscriber {
    ledger_fn fn;
    void *ctx;
};

struct ledger {
    struct store *store;
    size_t ring_bytes;
    unsigned commit_ms;
    struct ledger_subscriber subscribers[16];
    unsigned subscriber_count;

    /* shared */
    struct ledger_producer *producers[LEDGER_PRODUCERS_MAX];
    _Atomic unsigned producer_count; /* entries below it are there for good */
    pthread_mutex_t lock;            /* guards producers' growth and reason[] */
    char reason[160];
    _Atomic uint64_t seq_assigned, seq_committed, dropped, replayed, duplicates;
    _Atomic int64_t next_run_id;
    _Atomic bool is_spooling, is_stopping;
    _Atomic uint64_t wake_at;
    sem_t wake;
    struct ledger_spool spool;

    /* ledger thread */
    pthread_t thread;
    bool is_started;
    struct ledger_seq seq;
    struct ledger_batch batch, replay;
    struct ledger_writer writer;
    bool is_failing;  /* the database refused the last write */
    mono_ms retry_ms; /* next try of the database while it fails */
    mono_ms spool_retry_ms;
    uint64_t told_drops; /* dropped when the last shortage ended */
    bool is_drop_told;
    unsigned turn; /* producer that is asked first */
};
/* After handing a record over: wakes the ledger thread when it waits for this. */
void ledger_wake(struct ledger *l, uint64_t number, bool is_urgent);
