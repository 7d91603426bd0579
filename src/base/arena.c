/* arena.c -- bump allocation out of a chain of blocks. Blocks double up to a size where the
 * allocator's own cost no longer shows; what is large gets a block of its own behind the newest,
 * so that the room left there is not lost.
 *
 * Under AddressSanitizer every piece is a block, so that a write past its end is seen. */
#include "base/arena.h"

#include <stdarg.h>

#define ARENA_BLOCK_MIN_BYTES 1024
#define ARENA_BLOCK_MAX_BYTES 65536
#define ARENA_KEEP_MAX_BYTES  8192 /* by arena_reset() */
#define ARENA_ALIGN           _Alignof(max_align_t)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_SINGLE_PIECES true
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_SINGLE_PIECES true
#endif
#ifndef ARENA_SINGLE_PIECES
#define ARENA_SINGLE_PIECES false
#endif

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    size_t used;
    max_align_t data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_release(struct arena *a)
{
    struct arena_block *next = NULL;

    for (struct arena_block *b = a->block; b; b = next) {
        next = b->next;
        xfree(b);
    }
    arena_init(a);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;
    struct arena_block *next = NULL;

    for (struct arena_block *b = a->block; b; b = next) {
        next = b->next;
        if (ARENA_SINGLE_PIECES || b->size > ARENA_KEEP_MAX_BYTES ||
            (keep && b->size <= keep->size)) {
            xfree(b);
            continue;
        }
        xfree(keep);
        keep = b;
    }
    arena_init(a);
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
        a->block = keep;
    }
}

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b = xmalloc(sizeof(*b) + size);

    b->next = NULL;
    b->size = size;
    b->used = 0;
    return b;
}

/* The block that has room for `size` bytes. */
static struct arena_block *block_for(struct arena *a, size_t size)
{
    struct arena_block *newest = a->block;
    size_t block_size = ARENA_BLOCK_MIN_BYTES;

    if (newest && newest->size - newest->used >= size)
        return newest;
    if (newest)
        block_size = MIN(MAX(newest->size * 2, block_size), (size_t)ARENA_BLOCK_MAX_BYTES);

    if (ARENA_SINGLE_PIECES || size > block_size / 2) {
        struct arena_block *own = block_new(size);

        if (newest) {
            own->next = newest->next;
            newest->next = own;
        } else {
            a->block = own;
        }
        return own;
    }

    struct arena_block *fresh = block_new(block_size);

    fresh->next = newest;
    a->block = fresh;
    return fresh;
}

void *arena_alloc(struct arena *a, size_t size)
{
    assert(size <= PTRDIFF_MAX / 2); /* ours to choose; keeps the sums below from overflow */

    struct arena_block *b = block_for(a, size);
    void *piece = (char *)b->data + b->used;

    /* Rounded up only as far as the block goes: a block of one piece is exactly that piece. */
    b->used = MIN((b->used + MAX(size, (size_t)1) + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1), b->size);
    a->used_bytes += size;
    return piece;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

char *arena_cstr(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.len + 1);

    if (s.len != 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    return str_n(arena_cstr(a, s), s.len);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char small[256]; /* most texts: formatted once, then copied */
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    assert(n >= 0); /* a format of ours; fails past INT_MAX only */
    if ((size_t)n < sizeof(small))
        return arena_cstr(a, str_n(small, (size_t)n));

    char *text = arena_alloc(a, (size_t)n + 1);

    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}
