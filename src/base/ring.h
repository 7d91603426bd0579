/* ring.h -- single producer, single consumer ring of variable-length records; wait-free on both
 * sides, no allocation after ring_new(). The producer's and consumer's words lie on cache lines
 * of their own.
 *
 * A record is a 4-byte length, the bytes, padding to 8; a record never wraps (a filler takes the
 * rest of the lap), so the consumer reads it in place. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct ring;

struct ring *ring_new(size_t capacity_bytes); /* rounded up to a power of two */
void ring_free(struct ring *r);
/* Producer: copy one record in. 0, or ERR_BUSY when there is no room (nothing was written),
 * ERR_LIMIT when it could never fit (> capacity / 4). */
MUST_USE int ring_push(struct ring *r, const void *p, size_t n);
/* Consumer: the oldest record, valid until ring_pop(); false when empty. */
bool ring_peek(struct ring *r, struct str *ret);
void ring_pop(struct ring *r);
/* Consumer, without releasing: walk records from the oldest; *cursor starts at 0. ring_pop_to()
 * releases all records the cursor has passed; the walk may go on with the same cursor. */
bool ring_peek_next(struct ring *r, uint64_t *cursor, struct str *ret);
void ring_pop_to(struct ring *r, uint64_t cursor);
size_t ring_used_bytes(const struct ring *r); /* either side; a snapshot */
size_t ring_capacity_bytes(const struct ring *r);
