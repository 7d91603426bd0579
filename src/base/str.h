/* str.h -- text as pointer and length, borrowed from whoever owns the bytes; no NUL is implied.
 * Numbers come out of text through str_to_*() alone: digits only, checked, whole string. */
#pragma once

#include "base/base.h"

struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
};

#define STR(literal)   ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal) {"" literal, sizeof(literal) - 1}
#define STR_NONE       ((struct str){NULL, 0})
#define STR_ARG(s)     (int)(s).len, (s).ptr ? (s).ptr : "" /* for "%.*s" */

static inline struct str str_of(const char *s) /* NULL gives the empty string */
{
    return (struct str){s, s ? strlen(s) : 0};
}
static inline struct str str_n(const char *p, size_t n)
{
    return (struct str){p, n};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool str_eq_c(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}
bool str_ieq(struct str a, struct str b); /* ASCII case-insensitive */
int str_cmp(struct str a, struct str b);  /* bytewise, <0 0 >0 */
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_skip_prefix(struct str *s, struct str prefix); /* true and *s moved behind it */
struct str str_until(struct str s, char c);  /* all of it when c is absent */
struct str str_after(struct str s, char c);  /* STR_NONE when c is absent */
struct str str_cut(struct str s, size_t from, size_t n); /* clamped */
struct str str_trim(struct str s); /* ASCII white space at both ends */
ssize_t str_find(struct str s, char c);                 /* index or -1 */
ssize_t str_find_str(struct str hay, struct str needle); /* index or -1 */
ssize_t str_ifind_str(struct str hay, struct str needle);
/* Next piece of *s up to `sep` into *ret; false when *s was exhausted (ptr NULL afterwards). */
bool str_split(struct str *s, char sep, struct str *ret);

/* 0..15 of a hexadecimal digit, either case; -1 of anything else. */
static inline int str_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Whole string, base 10, no sign except in _i64, no blanks. 0, ERR_SYNTAX or ERR_RANGE. */
MUST_USE int str_to_u64(struct str s, uint64_t max, uint64_t *ret);
MUST_USE int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret);
MUST_USE int str_to_u16(struct str s, uint16_t min, uint16_t *ret);
MUST_USE int str_to_double(struct str s, double *ret); /* JSON number grammar, finite */

/* UTF-8 (RFC 3629: no surrogates, no overlong forms, <= U+10FFFF). */
size_t str_char_len(struct str s); /* bytes of the character s begins with; 0: empty or bad */
bool str_is_utf8(struct str s);
size_t str_count_chars(struct str s);              /* code points; a bad byte counts as one */
struct str str_cut_utf8(struct str s, size_t max); /* <= max bytes, on a character boundary */
bool str_has_control(struct str s); /* C0 or DEL, or C1 in UTF-8 form */

char *str_dup(struct str s); /* NUL-terminated copy, caller frees; never NULL */
/* Bounded copy with NUL, cut on a character boundary; returns bytes copied without the NUL. */
size_t str_copy(char *dst, size_t cap, struct str s);
/* SipHash-1-3; str_hash() with a key drawn per process, safe for hostile keys. */
uint64_t str_hash_keyed(struct str s, const uint64_t key[2]);
uint64_t str_hash(struct str s);
