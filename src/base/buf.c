/* buf.c -- the capped buffer. Consumed bytes are reclaimed when room is short, by moving the
 * content down, before anything grows. */
#include "base/buf.h"

#include "base/err.h"

#include <stdarg.h>

#define BUF_FIRST_CAP 64 /* bytes; one allocation serves most headers and log lines */

static void check(const struct buf *b)
{
    assert(b->head <= b->tail && b->tail <= b->cap && (b->cap == 0 || b->cap - 1 <= b->max));
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_release(struct buf *b)
{
    xfree(b->ptr);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->head = b->tail = 0;
    if (b->cap != 0)
        b->ptr[0] = '\0';
}

void buf_secure_release(struct buf *b)
{
    if (b->cap != 0)
        explicit_bzero(b->ptr, b->cap);
    buf_release(b);
}

static void move_to_front(struct buf *b)
{
    size_t len = buf_len(b);

    if (b->head == 0)
        return;
    memmove(b->ptr, b->ptr + b->head, len + 1); /* with the NUL */
    b->head = 0;
    b->tail = len;
}

int buf_reserve(struct buf *b, size_t n)
{
    size_t len = buf_len(b);

    check(b);
    if (n > b->max - len)
        return ERR_LIMIT;
    if (b->cap != 0 && n < b->cap - b->tail) /* < leaves a byte for the NUL */
        return 0;
    /* Moving is cheap when it frees at least half: each byte moved was paid for by one consumed. */
    if (b->cap != 0 && len + n < b->cap && (len <= b->head || b->cap - 1 == b->max)) {
        move_to_front(b);
        return 0;
    }

    size_t want = len + n; /* at most max */
    size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2 - (b->cap != 0);

    cap = MAX(cap, want);
    cap = MIN(MAX(cap, (size_t)BUF_FIRST_CAP - 1), b->max);
    if (cap >= (size_t)PTRDIFF_MAX)
        return ERR_NOMEM;
    cap++; /* the NUL */

    if (b->cap != 0)
        move_to_front(b);
    char *ptr = realloc(b->ptr, cap);

    if (!ptr)
        return ERR_NOMEM;
    b->ptr = ptr;
    b->cap = cap;
    b->ptr[b->tail] = '\0';
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    int rc = buf_reserve(b, n);

    if (rc < 0)
        return rc;
    if (n != 0)
        memcpy(b->ptr + b->tail, p, n);
    b->tail += n;
    b->ptr[b->tail] = '\0';
    return 0;
}

int buf_add_str(struct buf *b, struct str s)
{
    return buf_add(b, s.ptr, s.len);
}

int buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

/* Prints into the room there is, and a second time when that was short. */
static int PRINTF(2, 0) add_va(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int rc = buf_reserve(b, 0);

    if (rc < 0)
        return rc;
    va_copy(again, ap);

    size_t room = b->cap - b->tail;
    int n = vsnprintf(b->ptr + b->tail, room, fmt, ap);

    if (n < 0) {
        rc = ERR_LIMIT; /* longer than INT_MAX */
    } else if ((size_t)n >= room) {
        b->ptr[b->tail] = '\0';
        rc = buf_reserve(b, (size_t)n);
        if (rc == 0)
            vsnprintf(b->ptr + b->tail, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    if (rc < 0)
        b->ptr[b->tail] = '\0';
    else
        b->tail += (size_t)n; /* not negative here */
    return rc;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int rc = add_va(b, fmt, ap);
    va_end(ap);
    return rc;
}

static NORETURN void ceiling_hit(const struct buf *b, int rc)
{
    fprintf(stderr, "gatehouse: buf of %zu bytes: %s where the caller's sizes cannot reach\n",
            b->max, err_name(rc));
    abort();
}

void buf_put(struct buf *b, struct str s)
{
    int rc = buf_add_str(b, s);

    if (rc < 0)
        ceiling_hit(b, rc);
}

void buf_putf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int rc = add_va(b, fmt, ap);
    va_end(ap);
    if (rc < 0)
        ceiling_hit(b, rc);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= buf_len(b));
    b->head += n;
    if (b->head == b->tail) /* the common end of a turn: all was read */
        buf_clear(b);
}

char *buf_take_cstr(struct buf *b, size_t *ret_len)
{
    size_t len = buf_len(b);
    char *text = NULL;

    if (b->cap == 0) {
        text = xstrndup("", 0);
    } else {
        move_to_front(b);
        text = xrealloc(b->ptr, len + 1);
    }
    buf_init(b, b->max);
    if (ret_len)
        *ret_len = len;
    return text;
}
