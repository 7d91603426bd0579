/* hist.h -- log-linear histogram of microseconds: 8 linear steps per power of two, so a value is
 * known within 12.5 %; sparse varint encoding for storage. Sums of histograms are exact sums of
 * counts, so percentiles of any union can be read from stored parts. */
#pragma once

#include "base/base.h"
#include "base/buf.h"

#define HIST_SUB_BITS 3
#define HIST_BUCKETS  ((40 - HIST_SUB_BITS + 1) << HIST_SUB_BITS) /* up to 2^40 us, 12 days */

struct hist {
    uint64_t count;  /* sum of bucket[]: a bucket stops at 2^32 - 1, and count with it */
    uint64_t sum_us; /* saturates */
    uint32_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value_us, uint32_t times);
void hist_merge(struct hist *into, const struct hist *from);
/* Value at quantile q (0..1): linear inside the bucket; 0 when empty. */
uint64_t hist_quantile_us(const struct hist *h, double q);
unsigned hist_index(uint64_t value_us); /* bucket of a value */
uint64_t hist_lower_us(unsigned index); /* smallest value of a bucket; HIST_BUCKETS gives 2^40 */
/* Storage form: version byte, count, sum, then (index delta, count) pairs, all LEB128.
 * At most 2149 bytes; fails as buf_add(). */
MUST_USE int hist_encode(const struct hist *h, struct buf *out);
/* Add a stored histogram onto *into. 0 or ERR_SYNTAX with *into unchanged. */
MUST_USE int hist_decode_add(struct str bytes, struct hist *into);
