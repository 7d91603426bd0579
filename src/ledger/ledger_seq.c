/* ledger_seq.c -- numbers settle out of order (several producers); the promise is about all numbers
 * up to one. A ring of bits above the contiguous part, as wide as the records in flight. */
#include "ledger/ledger_private.h"

#define BITS_MIN 1024u

void ledger_seq_init(struct ledger_seq *q)
{
    q->base = 0;
    q->bits = BITS_MIN;
    q->words = xcalloc(BITS_MIN / 64, sizeof(*q->words));
}

void ledger_seq_release(struct ledger_seq *q)
{
    xfree(TAKE(q->words));
}

static bool get(const struct ledger_seq *q, uint64_t number)
{
    uint64_t at = number % q->bits;

    return (q->words[at / 64] >> (at % 64)) & 1;
}

static void put(struct ledger_seq *q, uint64_t number, bool on)
{
    uint64_t at = number % q->bits;
    uint64_t mask = (uint64_t)1 << (at % 64);

    q->words[at / 64] = on ? q->words[at / 64] | mask : q->words[at / 64] & ~mask;
}

static void grow(struct ledger_seq *q, uint64_t number)
{
    struct ledger_seq wide = {.base = q->base, .bits = q->bits};

    while (number - q->base > wide.bits)
        wide.bits *= 2;
    wide.words = xcalloc(wide.bits / 64, sizeof(*wide.words));
    for (uint64_t n = q->base + 1; n <= q->base + q->bits; n++)
        put(&wide, n, get(q, n));
    xfree(q->words);
    *q = wide;
}

void ledger_seq_settle(struct ledger_seq *q, uint64_t number)
{
    assert(number > q->base);
    if (number - q->base > q->bits)
        grow(q, number);
    put(q, number, true);
    while (get(q, q->base + 1)) {
        q->base++;
        put(q, q->base, false);
    }
}
