/* id128.h -- 128-bit identities, ordered by time: 48 bits of UTC milliseconds, 12 bits sequence,
 * 62 bits random, 6 bits layout (UUID version 7, RFC 9562). Unique across threads and restarts;
 * within a thread strictly increasing even when the wall clock steps back. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct id128 {
    uint8_t bytes[16]; /* big endian: memcmp order is time order */
};

struct id128 id128_new(void);
/* Deterministic, from SHA-256: a replay gets the same id. UUID version 8, so never equal to a new one. */
struct id128 id128_hash(struct str s);
#define ID128_TEXT_SIZE 33
void id128_text(struct id128 id, char out[ID128_TEXT_SIZE]); /* 32 hex digits and NUL */
MUST_USE int id128_parse(struct str s, struct id128 *ret); /* 0 or ERR_SYNTAX */
static inline bool id128_is_zero(struct id128 id)
{
    static const struct id128 zero;
    return memcmp(&id, &zero, sizeof(id)) == 0;
}
