/* arena.h -- memory that dies together: a request, a probe run, a configuration generation.
 * Not thread-safe; owned by the object whose life it shares. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct arena {
    struct arena_block *block; /* newest first */
    size_t used_bytes;         /* handed out, for limits and tests */
};

void arena_init(struct arena *a);
void arena_release(struct arena *a); /* frees all; the arena may be used again */
void arena_reset(struct arena *a);   /* likewise, but keeps one block for the next use, up to 8 KiB */
void *arena_alloc(struct arena *a, size_t size) __attribute__((alloc_size(2), returns_nonnull));
void *arena_zalloc(struct arena *a, size_t size) __attribute__((alloc_size(2), returns_nonnull));
struct str arena_str(struct arena *a, struct str s); /* copy, NUL behind it */
char *arena_cstr(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
