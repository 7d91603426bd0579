/* ring.c -- single producer, single consumer records.
 *
 * Positions count bytes for ever and are taken modulo the capacity, so full and empty differ:
 *
 *   consumed <= produced <= consumed + capacity
 *
 * Each side stores its own position with release after it is done with the bytes, and loads the
 * other's with acquire before it touches them; each keeps the last value it saw of the other's, so
 * that in the steady state a side reads only its own cache line. Records begin at multiples of 8,
 * so the 4 bytes of a length never wrap. */
#include "base/ring.h"

#include "base/err.h"

#include <stdatomic.h>

#define RING_LINE      64 /* bytes of a cache line */
#define RING_ALIGN     8
#define RING_MIN_BYTES 64
#define RING_MAX_BYTES                                                                             \
    (UINT64_C(1) << 32)        /* a record's length, at most a quarter, fits 32 bits               \
                                */
#define RING_FILLER UINT32_MAX /* in place of a length: the next record begins the lap */

struct ring {
    size_t capacity; /* a power of two; immutable, as is data */
    char *data;
    /* owned by the producer; others load `produced` only */
    _Alignas(RING_LINE) _Atomic uint64_t produced;
    uint64_t consumed_seen;
    /* owned by the consumer; others load `consumed` only */
    _Alignas(RING_LINE) _Atomic uint64_t consumed;
    uint64_t produced_seen;
};

struct ring *ring_new(size_t capacity_bytes)
{
    size_t capacity = RING_MIN_BYTES;

    assert(capacity_bytes <= RING_MAX_BYTES);
    while (capacity < capacity_bytes)
        capacity *= 2;

    struct ring *r = aligned_alloc(RING_LINE, sizeof(*r)); /* its size is a multiple of a line */

    if (!r) {
        fprintf(stderr, "gatehouse: out of memory (ring)\n");
        abort();
    }
    r->capacity = capacity;
    r->data = xcalloc(capacity, 1);
    atomic_init(&r->produced, 0);
    r->consumed_seen = 0;
    atomic_init(&r->consumed, 0);
    r->produced_seen = 0;
    return r;
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    xfree(r->data);
    xfree(r);
}

static char *at(const struct ring *r, uint64_t position)
{
    return r->data + (position & (r->capacity - 1));
}

static size_t record_size(size_t n)
{
    return (sizeof(uint32_t) + n + RING_ALIGN - 1) & ~(size_t)(RING_ALIGN - 1);
}

static void put_length(struct ring *r, uint64_t position, uint32_t length)
{
    memcpy(at(r, position), &length, sizeof(length));
}

int ring_push(struct ring *r, const void *p, size_t n)
{
    if (n > r->capacity / 4)
        return ERR_LIMIT;

    uint64_t start = atomic_load_explicit(&r->produced, memory_order_relaxed);
    size_t lap_left = r->capacity - (size_t)(start & (r->capacity - 1));
    size_t size = record_size(n);
    size_t filler = size > lap_left ? lap_left : 0;
    uint64_t end = start + filler + size;

    if (end - r->consumed_seen > r->capacity) {
        r->consumed_seen = atomic_load_explicit(&r->consumed, memory_order_acquire);
        if (end - r->consumed_seen > r->capacity)
            return ERR_BUSY;
    }
    if (filler)
        put_length(r, start, RING_FILLER);
    put_length(r, start + filler, (uint32_t)n); /* at most a quarter of RING_MAX_BYTES */
    if (n)
        memcpy(at(r, start + filler) + sizeof(uint32_t), p, n);
    atomic_store_explicit(&r->produced, end, memory_order_release);
    return 0;
}

/* The record at `position` or behind a filler there, and where the next begins. A filler is
 * published together with the record behind it. */
static bool record_at(struct ring *r, uint64_t position, struct str *ret, uint64_t *ret_end)
{
    uint32_t length = 0;

    if (position == r->produced_seen) {
        r->produced_seen = atomic_load_explicit(&r->produced, memory_order_acquire);
        if (position == r->produced_seen)
            return false;
    }
    memcpy(&length, at(r, position), sizeof(length));
    if (length == RING_FILLER) {
        position += r->capacity - (position & (r->capacity - 1));
        memcpy(&length, at(r, position), sizeof(length));
    }
    assert(length <= r->capacity / 4);
    *ret = str_n(at(r, position) + sizeof(length), length);
    *ret_end = position + record_size(length);
    return true;
}

bool ring_peek(struct ring *r, struct str *ret)
{
    uint64_t end = 0;

    return record_at(r, atomic_load_explicit(&r->consumed, memory_order_relaxed), ret, &end);
}

void ring_pop(struct ring *r)
{
    uint64_t cursor = 0;
    struct str record;
    bool found = ring_peek_next(r, &cursor, &record);

    assert(found); /* ring_peek() came first and said so */
    (void)found;
    ring_pop_to(r, cursor);
}

bool ring_peek_next(struct ring *r, uint64_t *cursor, struct str *ret)
{
    uint64_t position =
        *cursor ? *cursor : atomic_load_explicit(&r->consumed, memory_order_relaxed);

    return record_at(r, position, ret, cursor);
}

void ring_pop_to(struct ring *r, uint64_t cursor)
{
    if (cursor == 0)
        return;
    assert(cursor >= atomic_load_explicit(&r->consumed, memory_order_relaxed) &&
           cursor <= r->produced_seen);
    atomic_store_explicit(&r->consumed, cursor, memory_order_release);
}

size_t ring_used_bytes(const struct ring *r)
{
    /* In this order, so that the difference cannot be negative; both move on meanwhile. */
    uint64_t consumed = atomic_load_explicit(&r->consumed, memory_order_acquire);
    uint64_t produced = atomic_load_explicit(&r->produced, memory_order_acquire);

    return (size_t)MIN(produced - consumed, (uint64_t)r->capacity);
}

size_t ring_capacity_bytes(const struct ring *r)
{
    return r->capacity;
}
