/* id128.c -- see id128.h. */
#include "base/id128.h"

#include "base/clock.h"
#include "base/secret.h"

#define SEQ_MAX 0xfff

/* A thread's own: the last time and sequence given out, and random bytes drawn ahead, because a
 * system call per event would cost more than the rest of making an id. */
struct source {
    uint64_t last_ms;
    unsigned seq;
    size_t left; /* unused bytes at the end of pool */
    uint8_t pool[512];
};

static _Thread_local struct source source;

static void put_random(struct source *s, uint8_t *out, size_t n)
{
    if (s->left < n) {
        secret_random(s->pool, sizeof(s->pool));
        s->left = sizeof(s->pool);
    }
    memcpy(out, s->pool + sizeof(s->pool) - s->left, n);
    s->left -= n;
}

/* The clock may stand or step back: then the sequence goes on, and at its end the time runs ahead
 * by a millisecond. */
static void advance(struct source *s)
{
    utc_ms now = clock_utc_ms();
    uint64_t now_ms = now > 0 ? (uint64_t)now : 0; /* checked */

    if (now_ms > s->last_ms) {
        s->last_ms = now_ms;
        s->seq = 0;
    } else if (s->seq < SEQ_MAX) {
        s->seq++;
    } else {
        s->last_ms++;
        s->seq = 0;
    }
}

struct id128 id128_new(void)
{
    struct id128 id;

    advance(&source);
    put_random(&source, id.bytes + 8, 8);
    for (unsigned i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(source.last_ms >> (40 - 8 * i)); /* one byte of 48 bits */
    id.bytes[6] = (uint8_t)(0x70 | source.seq >> 8);             /* version 7, seq is 12 bits */
    id.bytes[7] = (uint8_t)(source.seq & 0xff);
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f)); /* RFC 9562 variant */
    return id;
}

struct id128 id128_hash(struct str s)
{
    uint8_t hash[SECRET_HASH_SIZE];
    struct id128 id;

    secret_sha256(s, hash);
    memcpy(id.bytes, hash, sizeof(id.bytes));
    id.bytes[6] = (uint8_t)(0x80 | (id.bytes[6] & 0x0f)); /* version 8 */
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f));
    return id;
}

void id128_text(struct id128 id, char out[ID128_TEXT_SIZE])
{
    secret_hex(id.bytes, sizeof(id.bytes), out);
}

int id128_parse(struct str s, struct id128 *ret)
{
    return secret_unhex(s, ret->bytes, sizeof(ret->bytes));
}
