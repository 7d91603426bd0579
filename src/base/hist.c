/* hist.c -- the first 8 buckets hold the values 0..7, one each; after them every power of two has 8
 * buckets of equal width. Values from 2^40 us on count in the last bucket.
 *
 * Invariant: count is the sum of bucket[]. A bucket that is full (2^32 - 1) takes no more, and then
 * count does not grow either; sum_us saturates. */
#include "base/hist.h"

#include "base/err.h"

#define SUB_COUNT   (1U << HIST_SUB_BITS)
#define ENCODING    1  /* the version byte */
#define VARINT_MAX  10 /* bytes of a 64-bit number */
#define PAIR_MAX    (2 + 5)
#define ENCODED_MAX (1 + 2 * VARINT_MAX + HIST_BUCKETS * PAIR_MAX)
static_assert(HIST_BUCKETS < 1 << 14, "an index takes two bytes of LEB128");

unsigned hist_index(uint64_t value_us)
{
    if (value_us < SUB_COUNT)
        return (unsigned)value_us; /* below 8 */

    unsigned shift = 63 - (unsigned)__builtin_clzll(value_us) - HIST_SUB_BITS; /* 0..60 */
    unsigned sub = (unsigned)(value_us >> shift) & (SUB_COUNT - 1); /* the bits below the first */

    return MIN((shift + 1) * SUB_COUNT + sub, HIST_BUCKETS - 1U);
}

uint64_t hist_lower_us(unsigned index)
{
    if (index < SUB_COUNT)
        return index;
    return (uint64_t)(SUB_COUNT + index % SUB_COUNT) << (index / SUB_COUNT - 1);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    uint64_t sum = 0;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t mul_saturated(uint64_t a, uint64_t b)
{
    uint64_t product = 0;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static void add_to_bucket(struct hist *h, unsigned index, uint32_t times)
{
    uint32_t room = UINT32_MAX - h->bucket[index];
    uint32_t added = MIN(times, room);

    h->bucket[index] += added;
    h->count += added; /* 304 buckets of 32 bits: no overflow */
}

void hist_add(struct hist *h, uint64_t value_us, uint32_t times)
{
    add_to_bucket(h, hist_index(value_us), times);
    h->sum_us = add_saturated(h->sum_us, mul_saturated(value_us, times));
}

void hist_merge(struct hist *into, const struct hist *from)
{
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        add_to_bucket(into, i, from->bucket[i]);
    into->sum_us = add_saturated(into->sum_us, from->sum_us);
}

uint64_t hist_quantile_us(const struct hist *h, double q)
{
    double rank = (q > 0 ? MIN(q, 1.0) : 0) * (double)h->count; /* NaN reads as 0 */
    double below = 0;

    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        double here = h->bucket[i];

        if (here > 0 && below + here >= rank) {
            uint64_t lower = hist_lower_us(i);
            uint64_t width = hist_lower_us(i + 1) - lower;

            /* the values of the bucket are lower .. lower + width - 1 */
            return lower + (uint64_t)((rank - below) / here * (double)(width - 1));
        }
        below += here;
    }
    return 0; /* empty: counts are below 2^53, so their sum in `below` is exact and reaches rank */
}

/* LEB128: seven bits to a byte, lowest first, the high bit says that more follow. */
static size_t put_varint(char *out, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        out[n++] = (char)(value | 0x80); /* the low eight bits */
    out[n++] = (char)value;              /* below 0x80 */
    return n;
}

/* False unless s begins with a number in its only, shortest form. */
static bool take_varint(struct str *s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < MIN(s->len, (size_t)VARINT_MAX); i++) {
        uint64_t bits = (unsigned char)s->ptr[i];

        if (i == VARINT_MAX - 1 && bits > 1) /* the 64th bit, no more */
            return false;
        value |= (bits & 0x7f) << (7 * i);
        if (bits & 0x80)
            continue;
        if ((bits == 0 && i != 0) || value > max)
            return false;
        *s = str_cut(*s, i + 1, s->len);
        *ret = value;
        return true;
    }
    return false;
}

/* An index is stored as the distance from the one before it; the first from -1, so none is 0. */
int hist_encode(const struct hist *h, struct buf *out)
{
    char bytes[ENCODED_MAX];
    size_t n = 0;
    unsigned next = 0; /* the index of the pair before, plus 1 */

    bytes[n++] = ENCODING;
    n += put_varint(bytes + n, h->count);
    n += put_varint(bytes + n, h->sum_us);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        if (h->bucket[i] == 0)
            continue;
        n += put_varint(bytes + n, i + 1 - next);
        n += put_varint(bytes + n, h->bucket[i]);
        next = i + 1;
    }
    return buf_add(out, bytes, n);
}

int hist_decode_add(struct str bytes, struct hist *into)
{
    struct hist h = {0};
    const char version = ENCODING;
    uint64_t count = 0, next = 0;

    if (!str_skip_prefix(&bytes, str_n(&version, 1)) || !take_varint(&bytes, UINT64_MAX, &count) ||
        !take_varint(&bytes, UINT64_MAX, &h.sum_us))
        return ERR_SYNTAX;
    while (bytes.len != 0) {
        uint64_t step = 0, times = 0;

        if (!take_varint(&bytes, HIST_BUCKETS - next, &step) || step == 0 ||
            !take_varint(&bytes, UINT32_MAX, &times) || times == 0)
            return ERR_SYNTAX;
        next += step;
        add_to_bucket(&h, (unsigned)(next - 1),
                      (uint32_t)times); /* < HIST_BUCKETS; <= UINT32_MAX */
    }
    if (h.count != count)
        return ERR_SYNTAX;
    hist_merge(into, &h);
    return 0;
}
