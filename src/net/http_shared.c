/* http_shared.c -- how many connections there are, in all and per address. One lock, taken when a
 * connection is accepted and when it is closed. The table has open addressing with linear probing;
 * a row leaves by shifting back what follows, so there are no tombstones. IPv6 clients own a /64
 * at least, so that is what is counted.
 *
 * And how many bytes all of them hold: the sum that no client alone can see. */
#include "net/http_private.h"

#include <pthread.h>
#include <stdatomic.h>

#define BUFFER_BYTES ((size_t)512 * 1024 * 1024)

struct row {
    uint64_t key[2]; /* network of the address, and its family */
    uint32_t count;  /* 0: free row */
};

struct http_shared {
    pthread_mutex_t lock; /* guards what follows, up to `mask` */
    size_t total, total_max, per_address_max;
    struct row *rows;
    size_t mask; /* rows - 1; at most half of them are in use */

    atomic_size_t held; /* shared: bytes */
    size_t held_max;    /* immutable */
};

struct http_shared *http_shared_new(const struct http_limits *limits)
{
    struct http_shared *s = xcalloc(1, sizeof(*s));
    size_t rows = 64;

    while (rows < limits->connections * 2)
        rows *= 2;
    pthread_mutex_init(&s->lock, NULL);
    s->total_max = limits->connections;
    s->per_address_max = limits->connections_per_address;
    s->held_max = limits->buffer_bytes ? limits->buffer_bytes : BUFFER_BYTES;
    s->rows = xcalloc(rows, sizeof(*s->rows));
    s->mask = rows - 1;
    return s;
}

void http_shared_free(struct http_shared *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    xfree(s->rows);
    xfree(s);
}

static void key_of(const struct addr *a, uint64_t ret[2])
{
    ret[0] = 0;
    ret[1] = a->family;
    memcpy(&ret[0], a->bytes, a->family == 4 ? 4 : 8);
}

static size_t home_of(const struct http_shared *s, const uint64_t key[2])
{
    return str_hash(str_n((const char *)key, 2 * sizeof(key[0]))) & s->mask;
}

/* The row of a key, or the free one where it belongs. */
static struct row *find_row(const struct http_shared *s, const uint64_t key[2])
{
    size_t i = home_of(s, key);

    while (s->rows[i].count != 0 && memcmp(s->rows[i].key, key, sizeof(s->rows[i].key)) != 0)
        i = (i + 1) & s->mask;
    return &s->rows[i];
}

static void remove_row(struct http_shared *s, struct row *row)
{
    size_t hole = (size_t)(row - s->rows);

    for (size_t i = (hole + 1) & s->mask; s->rows[i].count != 0; i = (i + 1) & s->mask) {
        size_t home = home_of(s, s->rows[i].key);

        /* It may move into the hole unless its home lies behind the hole. */
        if (((i - home) & s->mask) >= ((i - hole) & s->mask)) {
            s->rows[hole] = s->rows[i];
            hole = i;
        }
    }
    s->rows[hole] = (struct row){0};
}

static enum http_shared_verdict add_locked(struct http_shared *s, const struct addr *a, bool exempt)
{
    uint64_t key[2];

    if (s->total >= s->total_max)
        return HTTP_SHARED_FULL;
    if (!exempt) {
        key_of(a, key);

        struct row *row = find_row(s, key);

        if (row->count >= s->per_address_max)
            return HTTP_SHARED_ADDRESS_FULL;
        memcpy(row->key, key, sizeof(row->key));
        row->count++;
    }
    s->total++;
    return HTTP_SHARED_OK;
}

enum http_shared_verdict http_shared_add(struct http_shared *s, const struct addr *a, bool exempt)
{
    pthread_mutex_lock(&s->lock);

    enum http_shared_verdict verdict = add_locked(s, a, exempt);

    pthread_mutex_unlock(&s->lock);
    return verdict;
}

void http_shared_remove(struct http_shared *s, const struct addr *a, bool exempt)
{
    uint64_t key[2];

    pthread_mutex_lock(&s->lock);
    assert(s->total > 0);
    s->total--;
    if (!exempt) {
        key_of(a, key);

        struct row *row = find_row(s, key);

        assert(row->count > 0);
        if (--row->count == 0)
            remove_row(s, row);
    }
    pthread_mutex_unlock(&s->lock);
}

bool http_shared_hold(struct http_shared *s, size_t n)
{
    return atomic_fetch_add_explicit(&s->held, n, memory_order_relaxed) + n <= s->held_max;
}

void http_shared_let_go(struct http_shared *s, size_t n)
{
    atomic_fetch_sub_explicit(&s->held, n, memory_order_relaxed);
}
