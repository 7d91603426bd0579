/* ledger_producer.c -- the way of a record from its thread to the ledger's: ring, else a list in
 * memory, else the spool, else it is dropped and counted. A number is given only to a record that
 * has a place, so all numbers up to seq_committed are stored, without exception.
 *
 * While the list holds anything the ring takes nothing, so the order of a producer is kept: the
 * ledger thread takes first what it took off the list before, then the ring, then the list. Records
 * that went to the spool may come later than their successors; readers of runs allow for that. */
#include "ledger/ledger_private.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/metric.h"

struct ledger_producer *ledger_producer_new(struct ledger *l, const char *name)
{
    struct ledger_producer *p = xcalloc(1, sizeof(*p));
    unsigned count;

    p->ledger = l;
    str_copy(p->name, sizeof(p->name), str_of(name));
    p->ring = ring_new(l->ring_bytes);
    p->tail = &p->head;
    buf_init(&p->scratch, LEDGER_HEAD + LEDGER_RECORD_MAX);
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_lock(&l->lock);
    count = atomic_load(&l->producer_count);
    assert(count < LEDGER_PRODUCERS_MAX); /* threads are of our making */
    l->producers[count] = p;
    atomic_store(&l->producer_count, count + 1);
    pthread_mutex_unlock(&l->lock);
    return p;
}

static void free_list(struct ledger_overflow *o)
{
    while (o) {
        struct ledger_overflow *next = o->next;

        xfree(o);
        o = next;
    }
}

void ledger_producer_free(struct ledger_producer *p)
{
    free_list(p->head);
    free_list(p->taken);
    ring_free(p->ring);
    buf_release(&p->scratch);
    pthread_mutex_destroy(&p->lock);
    xfree(p);
}

/* ---- owner thread ---- */

static uint64_t take_number(struct ledger_producer *p)
{
    uint64_t number = atomic_fetch_add(&p->ledger->seq_assigned, 1) + 1;
    uint8_t *head = (uint8_t *)p->scratch.ptr + p->scratch.head;

    memcpy(head, &number, sizeof(number)); /* this machine's order: rings are not stored */
    return number;
}

/* Room for the record and for a filler at the end of the lap, so that ring_push() cannot fail. */
static bool ring_has_room(const struct ledger_producer *p, size_t size)
{
    size_t capacity = ring_capacity_bytes(p->ring);

    return size <= capacity / 4 && capacity - ring_used_bytes(p->ring) >= 2 * (size + 16);
}

static uint64_t put_overflow(struct ledger_producer *p, struct str queued)
{
    struct ledger_overflow *o = xmalloc(sizeof(*o) + queued.len);
    uint64_t number = take_number(p);

    o->next = NULL;
    o->size = queued.len;
    memcpy(o->bytes, queued.ptr, queued.len);
    pthread_mutex_lock(&p->lock);
    *p->tail = o;
    p->tail = &o->next;
    atomic_fetch_add(&p->overflow_bytes, sizeof(*o) + queued.len);
    atomic_store(&p->is_overflowing, true);
    pthread_mutex_unlock(&p->lock);
    atomic_fetch_add(&p->puts, 1);
    return number;
}

static uint64_t place(struct ledger_producer *p, bool *ret_is_urgent)
{
    struct str queued = buf_str(&p->scratch);
    bool is_overflowing = atomic_load(&p->is_overflowing);
    uint64_t number = 0;

    *ret_is_urgent = false;
    if (!is_overflowing && ring_has_room(p, queued.len)) {
        number = take_number(p);
        if (ring_push(p->ring, queued.ptr, queued.len) < 0)
            abort();                   /* it had room, and only we fill it */
        atomic_fetch_add(&p->puts, 1); /* ordered before ledger_wake() reads wake_at */
        return number;
    }
    *ret_is_urgent = true;
    if (atomic_load(&p->overflow_bytes) + queued.len <= LEDGER_OVERFLOW_BYTES)
        return put_overflow(p, queued);
    if (ledger_spool_put(&p->ledger->spool,
                         str_n(queued.ptr + LEDGER_HEAD, queued.len - LEDGER_HEAD),
                         &p->ledger->seq_assigned, &number) == 0)
        return number;
    return 0;
}

static int encode(struct ledger_producer *p, const struct ledger_record *r, bool awaited)
{
    uint8_t head[LEDGER_HEAD] = {0};

    head[LEDGER_HEAD - 1] = awaited ? LEDGER_FLAG_AWAITED : 0;
    buf_clear(&p->scratch);
    if (buf_add(&p->scratch, head, sizeof(head)) < 0)
        return ERR_NOMEM;
    if (LIKELY(r->kind == LEDGER_RUN || (!id128_is_zero(r->call.id) && r->call.ended_utc_ms != 0)))
        return ledger_record_encode(r, &p->scratch);

    struct ledger_record full = *r;

    if (id128_is_zero(full.call.id))
        full.call.id = id128_new();
    if (full.call.ended_utc_ms == 0)
        full.call.ended_utc_ms = clock_utc_ms();
    return ledger_record_encode(&full, &p->scratch);
}

uint64_t ledger_put(struct ledger_producer *p, const struct ledger_record *r, bool awaited)
{
    struct ledger *l = p->ledger;
    bool is_urgent = false;
    uint64_t number = encode(p, r, awaited) == 0 ? place(p, &is_urgent) : 0;

    if (p->scratch.cap > 64 * 1024) /* one long answer does not stay for ever */
        buf_release(&p->scratch);
    if (number == 0) {
        atomic_fetch_add(&l->dropped, 1);
        metric_add(METRIC_LEDGER_DROPPED, 0, 1);
        return 0;
    }
    metric_add(METRIC_LEDGER_SEQ_ASSIGNED, 0, 1);
    ledger_wake(l, number, awaited || is_urgent);
    return number;
}

/* ---- ledger thread ---- */

uint64_t ledger_queued_number(struct str queued)
{
    uint64_t number;

    memcpy(&number, queued.ptr, sizeof(number));
    return number;
}

bool ledger_batch_is_full(const struct ledger_batch *b)
{
    return b->count >= LEDGER_BATCH_ROWS || buf_len(&b->bytes) >= LEDGER_BATCH_BYTES;
}

bool ledger_batch_add(struct ledger_batch *b, struct str queued, mono_ms now, unsigned commit_ms)
{
    uint32_t size = (uint32_t)queued.len; /* LEDGER_HEAD + LEDGER_RECORD_MAX at most */

    if (ledger_batch_is_full(b))
        return false;
    buf_put(&b->bytes, str_n((const char *)&size, sizeof(size)));
    buf_put(&b->bytes, queued);
    if (b->count++ == 0)
        b->due_ms = now + commit_ms;
    if (queued.ptr[LEDGER_HEAD - 1] == LEDGER_FLAG_AWAITED)
        b->due_ms = MIN(b->due_ms, now + LEDGER_AWAITED_MS);
    return true;
}

bool ledger_batch_next(const struct ledger_batch *b, size_t *at, struct str *ret_queued)
{
    const char *bytes = buf_cstr(&b->bytes);
    uint32_t size;

    if (*at >= buf_len(&b->bytes))
        return false;
    memcpy(&size, bytes + *at, sizeof(size));
    *ret_queued = str_n(bytes + *at + sizeof(size), size);
    *at += sizeof(size) + size;
    return true;
}

void ledger_batch_clear(struct ledger_batch *b)
{
    b->count = 0;
    if (b->bytes.cap > 256 * 1024)
        buf_release(&b->bytes);
    else
        buf_clear(&b->bytes);
}

/* The list becomes ours once the ring, older than it, is empty. */
static void take_list(struct ledger_producer *p)
{
    pthread_mutex_lock(&p->lock);
    p->taken = p->head;
    p->head = NULL;
    p->tail = &p->head;
    atomic_store(&p->is_overflowing, false);
    pthread_mutex_unlock(&p->lock);
}

static bool drain_taken(struct ledger_producer *p, struct ledger_batch *b, mono_ms now,
                        unsigned commit_ms)
{
    while (p->taken) {
        struct ledger_overflow *o = p->taken;

        if (!ledger_batch_add(b, str_n((const char *)o->bytes, o->size), now, commit_ms))
            return false;
        p->taken = o->next;
        p->got++;
        atomic_fetch_sub(&p->overflow_bytes, sizeof(*o) + o->size);
        xfree(o);
    }
    return true;
}

void ledger_producer_drain(struct ledger_producer *p, struct ledger_batch *b, mono_ms now,
                           unsigned commit_ms)
{
    struct str queued;

    for (;;) {
        /* Read before the ring: the ring that is seen empty after it holds nothing older than the
         * list. */
        bool is_overflowing = atomic_load(&p->is_overflowing);

        if (!drain_taken(p, b, now, commit_ms))
            return;
        while (ring_peek(p->ring, &queued)) {
            if (!ledger_batch_add(b, queued, now, commit_ms))
                return;
            ring_pop(p->ring);
            p->got++;
        }
        if (!is_overflowing)
            return;
        take_list(p);
    }
}
