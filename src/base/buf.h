/* buf.h -- a growing byte buffer with a ceiling fixed where it is declared, so that no peer, file
 * or row chooses how much memory we take (after curl's dynbuf).
 *
 *   0 .. head -- consumed    head .. tail -- content    tail .. cap -- room
 *
 * Invariant: head <= tail <= cap <= max + 1; ptr[tail] is NUL whenever cap > 0 (for C callers). */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct buf {
    char *ptr;
    size_t head, tail, cap;
    size_t max; /* content bytes allowed; an append past it fails with ERR_LIMIT */
};

#define BUF_INIT(limit) {.max = (limit)}

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* frees the bytes; the buf may be used again */
void buf_clear(struct buf *b);   /* keeps the memory */
/* Wipes before it frees. Growth leaves unwiped copies: reserve the whole size before a secret. */
void buf_secure_release(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}
static inline struct str buf_str(const struct buf *b)
{
    return str_n(b->ptr ? b->ptr + b->head : "", b->tail - b->head);
}
static inline const char *buf_cstr(const struct buf *b) /* content with NUL behind it */
{
    return b->ptr ? b->ptr + b->head : "";
}

static inline void buf_shorten(struct buf *b, size_t len) /* to its first len <= buf_len() bytes */
{
    b->tail = b->head + len;
    if (b->cap > 0)
        b->ptr[b->tail] = '\0';
}

/* Room for n more bytes at the tail, and the NUL: 0, ERR_LIMIT, or ERR_NOMEM when the system has no
 * memory below the ceiling; the content is unchanged then. It may move: pointers into it end here,
 * and nothing appended may lie in the buffer itself. */
MUST_USE int buf_reserve(struct buf *b, size_t n);
/* Appends: 0, or as buf_reserve() with the content unchanged. */
MUST_USE int buf_add(struct buf *b, const void *p, size_t n);
MUST_USE int buf_add_str(struct buf *b, struct str s);
MUST_USE int buf_add_char(struct buf *b, char c);
MUST_USE int buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Like buf_add*, for a buffer whose ceiling the caller's own sizes cannot reach: aborts at it. */
void buf_put(struct buf *b, struct str s);
void buf_putf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_consume(struct buf *b, size_t n); /* n <= buf_len() */
char *buf_take_cstr(struct buf *b, size_t *ret_len); /* caller frees; b is empty; never NULL */
