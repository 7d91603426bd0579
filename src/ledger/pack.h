/* pack.h -- fixed-width little-endian numbers and short texts in a byte string: the stored form of
 * ledger records. A reader that ran past its end stays `is_bad` and yields zeros, so a decoder
 * checks once, at the end. */
#pragma once

#include "base/base.h"
#include "base/str.h"

#include <endian.h>

struct pack_in {
    const uint8_t *p, *end;
    bool is_bad;
};

static inline uint8_t *pack_uint(uint8_t *p, uint64_t v, unsigned bytes)
{
    uint64_t le = htole64(v);

    memcpy(p, &le, bytes); /* `bytes` is a constant of 8 at most at every call */
    return p + bytes;
}

static inline uint8_t *pack_u8(uint8_t *p, unsigned v)
{
    *p = (uint8_t)v; /* callers pass enums and flags below 256 */
    return p + 1;
}

static inline uint8_t *pack_u32(uint8_t *p, uint32_t v)
{
    return pack_uint(p, v, 4);
}

static inline uint8_t *pack_i32(uint8_t *p, int32_t v)
{
    return pack_uint(p, (uint32_t)v, 4);
}

static inline uint8_t *pack_i64(uint8_t *p, int64_t v)
{
    return pack_uint(p, (uint64_t)v, 8);
}

static inline uint8_t *pack_bytes(uint8_t *p, const void *from, size_t n)
{
    if (n > 0)
        memcpy(p, from, n);
    return p + n;
}

/* Length in `width` bytes (2 or 4), then the text; it fits by the caller's cut. */
static inline uint8_t *pack_text(uint8_t *p, struct str s, unsigned width)
{
    return pack_bytes(pack_uint(p, s.len, width), s.ptr, s.len);
}

static inline const uint8_t *pack_take(struct pack_in *in, size_t n)
{
    const uint8_t *p = in->p;

    if (in->is_bad || (size_t)(in->end - p) < n) {
        in->is_bad = true;
        return NULL;
    }
    in->p += n;
    return p;
}

static inline uint64_t pack_get(struct pack_in *in, unsigned bytes)
{
    const uint8_t *p = pack_take(in, bytes);
    uint64_t le = 0;

    if (p)
        memcpy(&le, p, bytes);
    return le64toh(le);
}

static inline int64_t pack_get_i64(struct pack_in *in)
{
    return (int64_t)pack_get(in, 8);
}

static inline int32_t pack_get_i32(struct pack_in *in)
{
    return (int32_t)(uint32_t)pack_get(in, 4); /* four bytes were read */
}

/* A number of a closed list: at most `max`. */
static inline unsigned pack_get_enum(struct pack_in *in, unsigned max)
{
    unsigned v = (unsigned)pack_get(in, 1);

    if (v > max) {
        in->is_bad = true;
        return 0;
    }
    return v;
}

static inline struct str pack_get_text(struct pack_in *in, unsigned width, size_t max)
{
    size_t len = (size_t)pack_get(in, width);
    const uint8_t *p;

    if (len > max)
        in->is_bad = true;
    p = pack_take(in, len);
    return p && len > 0 ? str_n((const char *)p, len) : STR_NONE;
}
