/* base.h -- what every file of the house uses: ownership attributes, checked allocation, asserted
 * invariants. Included by everything, includes nothing of ours. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/param.h> /* its MIN and MAX, which evaluate twice: uv.h would bring them behind ours */
#include <sys/types.h>
#include <time.h>

#define MUST_USE      __attribute__((warn_unused_result))
#define PRINTF(f, a)  __attribute__((format(printf, f, a)))
#define NORETURN      __attribute__((noreturn))
#define UNUSED        __attribute__((unused))
#define CLEANUP(f)    __attribute__((cleanup(f)))
#define ARRAY_LEN(a)  (sizeof(a) / sizeof((a)[0]))
#define LIKELY(x)     __builtin_expect(!!(x), 1)
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)

/* Makes fp(T *), the form CLEANUP() wants, of f(T): `CLEANUP(buf_freep) struct buf *b = ...`. */
#define DEFINE_CLEANUP(T, f)                                                                       \
    static inline void f##p(T *p)                                                                  \
    {                                                                                              \
        if (*p)                                                                                    \
            f(*p);                                                                                 \
    }

/* Yields p and leaves NULL behind: ownership goes on, the cleanup finds nothing. */
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        take_;                                                                                     \
    })

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#undef MIN
#undef MAX
/* Names of their own for each use, so that one may stand inside another. */
#define MIN(a, b) PICK_ONE_(a, <, b, __COUNTER__)
#define MAX(a, b) PICK_ONE_(a, >, b, __COUNTER__)
#define PICK_ONE_(a, op, b, n)                                                                     \
    ({                                                                                             \
        __typeof__(a) PICK_NAME_(pick_a_, n) = (a);                                                \
        __typeof__(b) PICK_NAME_(pick_b_, n) = (b);                                                \
        PICK_NAME_(pick_a_, n) op PICK_NAME_(pick_b_, n) ? PICK_NAME_(pick_a_, n)                  \
                                                         : PICK_NAME_(pick_b_, n);                 \
    })
#define PICK_NAME_(name, n) name##n

/* Units that a name alone would not keep apart. */
typedef uint64_t mono_ms;  /* CLOCK_MONOTONIC; timers, deadlines */
typedef int64_t utc_ms;    /* milliseconds since 1970-01-01T00:00:00Z; stored times only */
typedef int64_t nano_usd;  /* 1e-9 US dollars */

/* Memory for sizes *we* choose: never NULL, the process aborts when there is none. Sizes that a
 * peer, a file or a row chooses go through a capped `buf` instead. */
void *xmalloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((alloc_size(2), returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull, nonnull(1)));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void xfree(void *p); /* free(); NULL is a no-op */
DEFINE_CLEANUP(void *, xfree)

static inline void xfree_charp(char **p)
{
    xfree(*p);
}

/* Danger made impossible: each of these has a bounded or thread-safe sibling in base/ (str_copy,
 * buf_printf, str_split, str_to_*, clock_*, tz_*). The headers that declare them come first. */
#ifndef GATEHOUSE_ALLOW_BANNED
#define BANNED(name) sorry_##name##_is_a_banned_function
#undef alloca /* macros of the C library, some only under FORTIFY and clang */
#undef sprintf
#undef vsprintf
#define strcpy(...)    BANNED(strcpy)
#define strcat(...)    BANNED(strcat)
#define strncpy(...)   BANNED(strncpy)
#define strncat(...)   BANNED(strncat)
#define sprintf(...)   BANNED(sprintf)
#define vsprintf(...)  BANNED(vsprintf)
#define strtok(...)    BANNED(strtok)
#define atoi(...)      BANNED(atoi)
#define atol(...)      BANNED(atol)
#define atoll(...)     BANNED(atoll)
#define strtol(...)    BANNED(strtol)
#define strtoul(...)   BANNED(strtoul)
#define strtoll(...)   BANNED(strtoll)
#define strtoull(...)  BANNED(strtoull)
#define gmtime(...)    BANNED(gmtime)
#define localtime(...) BANNED(localtime)
#define system(...)    BANNED(system)
#define alloca(...) BANNED(alloca)
#endif
