/* str.c -- borrowed text: comparing, cutting, numbers, UTF-8, and the keyed hash of our maps. */
#include "base/str.h"

#include "base/err.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <sys/random.h>

static unsigned char byte_at(struct str s, size_t i)
{
    return (unsigned char)s.ptr[i];
}

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* NULL + 0 is undefined in C17, and ptr may be NULL: all moving goes through here. */
static struct str drop(struct str s, size_t n)
{
    return n == 0 ? s : str_n(s.ptr + n, s.len - n);
}

bool str_ieq(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(byte_at(a, i)) != lower(byte_at(b, i)))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.len, b.len);
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;

    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_n(s.ptr, prefix.len), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_ieq(str_n(s.ptr, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(drop(s, s.len - suffix.len), suffix);
}

bool str_skip_prefix(struct str *s, struct str prefix)
{
    if (!str_starts(*s, prefix))
        return false;
    *s = drop(*s, prefix.len);
    return true;
}

struct str str_until(struct str s, char c)
{
    ssize_t at = str_find(s, c);

    return at < 0 ? s : str_n(s.ptr, (size_t)at);
}

struct str str_after(struct str s, char c)
{
    ssize_t at = str_find(s, c);

    return at < 0 ? STR_NONE : drop(s, (size_t)at + 1);
}

struct str str_cut(struct str s, size_t from, size_t n)
{
    s = drop(s, MIN(from, s.len));
    s.len = MIN(n, s.len);
    return s;
}

struct str str_trim(struct str s)
{
    while (s.len != 0 && is_space(byte_at(s, 0)))
        s = drop(s, 1);
    while (s.len != 0 && is_space(byte_at(s, s.len - 1)))
        s.len--;
    return s;
}

ssize_t str_find(struct str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;

    return at ? at - s.ptr : -1;
}

ssize_t str_find_str(struct str hay, struct str needle)
{
    if (needle.len == 0)
        return 0;
    if (hay.len == 0)
        return -1;

    const char *at = memmem(hay.ptr, hay.len, needle.ptr, needle.len);

    return at ? at - hay.ptr : -1;
}

/* O(hay * needle); our needles are words of a few bytes. */
ssize_t str_ifind_str(struct str hay, struct str needle)
{
    for (size_t i = 0; i + needle.len <= hay.len; i++)
        if (str_istarts(drop(hay, i), needle))
            return (ssize_t)i; /* objects are smaller than SSIZE_MAX */
    return -1;
}

bool str_split(struct str *s, char sep, struct str *ret)
{
    if (!s->ptr)
        return false;

    ssize_t at = str_find(*s, sep);

    if (at < 0) {
        *ret = *s;
        *s = STR_NONE;
    } else {
        *ret = str_n(s->ptr, (size_t)at);
        *s = drop(*s, (size_t)at + 1);
    }
    return true;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    bool too_big = false;

    if (s.len == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(byte_at(s, i)))
            return ERR_SYNTAX;
        uint64_t digit = (uint64_t)(byte_at(s, i) - '0'); /* 0..9 */
        too_big |= __builtin_mul_overflow(value, (uint64_t)10, &value);
        too_big |= __builtin_add_overflow(value, digit, &value);
    }
    if (too_big || value > max)
        return ERR_RANGE;
    *ret = value;
    return 0;
}

int str_to_i64(struct str s, int64_t min, int64_t max, int64_t *ret)
{
    bool is_negative = str_skip_prefix(&s, STR("-"));
    uint64_t size = 0;
    int rc = str_to_u64(s, (uint64_t)INT64_MAX + is_negative, &size);

    if (rc < 0)
        return rc;
    /* -size in unsigned arithmetic, so that INT64_MIN needs no case of its own */
    int64_t value = (int64_t)(is_negative ? 0 - size : size);

    if (value < min || value > max)
        return ERR_RANGE;
    *ret = value;
    return 0;
}

int str_to_u16(struct str s, uint16_t min, uint16_t *ret)
{
    uint64_t value = 0;
    int rc = str_to_u64(s, UINT16_MAX, &value);

    if (rc < 0)
        return rc;
    if (value < min)
        return ERR_RANGE;
    *ret = (uint16_t)value; /* at most UINT16_MAX, checked above */
    return 0;
}

static size_t skip_digits(struct str *s)
{
    size_t n = 0;

    while (n < s->len && is_digit(byte_at(*s, n)))
        n++;
    *s = drop(*s, n);
    return n;
}

/* RFC 8259 section 6: [ "-" ] ( "0" / 1-9 digits ) [ "." digits ] [ e [ sign ] digits ] */
static bool is_json_number(struct str s)
{
    str_skip_prefix(&s, STR("-"));
    if (!str_skip_prefix(&s, STR("0")) && skip_digits(&s) == 0)
        return false;
    if (str_skip_prefix(&s, STR(".")) && skip_digits(&s) == 0)
        return false;
    if (str_skip_prefix(&s, STR("e")) || str_skip_prefix(&s, STR("E"))) {
        if (!str_skip_prefix(&s, STR("-")))
            str_skip_prefix(&s, STR("+"));
        if (skip_digits(&s) == 0)
            return false;
    }
    return s.len == 0;
}

static locale_t c_locale;
static uint64_t hash_key[2];

/* What strtod_l() and str_hash() need, made once. Neither can be done without. */
static void init_once(void)
{
    size_t have = 0;

    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    while (have < sizeof(hash_key)) {
        ssize_t n = getrandom((char *)hash_key + have, sizeof(hash_key) - have, 0);

        if (n > 0) {
            have += (size_t)n;
        } else if (errno != EINTR) {
            perror("gatehouse: getrandom");
            abort();
        }
    }
    if (!c_locale) {
        perror("gatehouse: newlocale");
        abort();
    }
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

int str_to_double(struct str s, double *ret)
{
    char small[64];

    if (!is_json_number(s))
        return ERR_SYNTAX;
    pthread_once(&once, init_once);

    char *heap = s.len < sizeof(small) ? NULL : str_dup(s);

    if (!heap)
        str_copy(small, sizeof(small), s);

    double value = strtod_l(heap ? heap : small, NULL, c_locale);

    xfree(heap);
    if (!isfinite(value))
        return ERR_RANGE;
    *ret = value;
    return 0;
}

/* Table 3-7 of the Unicode Standard: the second byte's range depends on the first. */
size_t str_char_len(struct str s)
{
    if (s.len == 0)
        return 0;

    unsigned char first = byte_at(s, 0);
    unsigned char low = 0x80, high = 0xbf;
    size_t n = 0;

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        n = 2;
    else if (first >= 0xe0 && first <= 0xef)
        n = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        n = 4;
    if (n == 0 || n > s.len)
        return 0;
    if (first == 0xe0)
        low = 0xa0; /* shorter forms exist */
    else if (first == 0xed)
        high = 0x9f; /* surrogates */
    else if (first == 0xf0)
        low = 0x90; /* shorter forms exist */
    else if (first == 0xf4)
        high = 0x8f; /* past U+10FFFF */
    if (byte_at(s, 1) < low || byte_at(s, 1) > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((byte_at(s, i) & 0xc0) != 0x80)
            return 0;
    return n;
}

bool str_is_utf8(struct str s)
{
    while (s.len != 0) {
        size_t n = str_char_len(s);

        if (n == 0)
            return false;
        s = drop(s, n);
    }
    return true;
}

size_t str_count_chars(struct str s)
{
    size_t count = 0;

    for (; s.len != 0; count++) {
        size_t n = str_char_len(s);

        s = drop(s, n ? n : 1);
    }
    return count;
}

struct str str_cut_utf8(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    /* The only character that a cut can go through begins up to three bytes before it. */
    for (size_t back = 1; back <= 3 && back <= max; back++) {
        size_t n = str_char_len(drop(s, max - back));

        if (n > back)
            return str_n(s.ptr, max - back);
        if (n != 0)
            break;
    }
    return str_n(s.ptr, max);
}

bool str_has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = byte_at(s, i);

        if (c < 0x20 || c == 0x7f)
            return true;
        /* U+0080..U+009F are C2 80..C2 9F, and C2 is never a later byte of a character */
        if (c == 0xc2 && i + 1 < s.len && byte_at(s, i + 1) >= 0x80 && byte_at(s, i + 1) <= 0x9f)
            return true;
    }
    return false;
}

char *str_dup(struct str s)
{
    return xstrndup(s.ptr, s.len);
}

size_t str_copy(char *dst, size_t cap, struct str s)
{
    if (cap == 0)
        return 0;
    s = str_cut_utf8(s, cap - 1);
    if (s.len != 0)
        memcpy(dst, s.ptr, s.len);
    dst[s.len] = '\0';
    return s.len;
}

/* SipHash with one round per word and three at the end (Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF"), the variant that hash tables commonly use against chosen keys. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(struct sip *h)
{
    h->v0 += h->v1;
    h->v2 += h->v3;
    h->v1 = rotl(h->v1, 13) ^ h->v0;
    h->v3 = rotl(h->v3, 16) ^ h->v2;
    h->v0 = rotl(h->v0, 32);
    h->v2 += h->v1;
    h->v0 += h->v3;
    h->v1 = rotl(h->v1, 17) ^ h->v2;
    h->v3 = rotl(h->v3, 21) ^ h->v0;
    h->v2 = rotl(h->v2, 32);
}

static void sip_word(struct sip *h, uint64_t word)
{
    h->v3 ^= word;
    sip_round(h);
    h->v0 ^= word;
}

static uint64_t load_le64(const char *p, size_t n)
{
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return word;
}

uint64_t str_hash_keyed(struct str s, const uint64_t key[2])
{
    struct sip h = {
        .v0 = key[0] ^ UINT64_C(0x736f6d6570736575),
        .v1 = key[1] ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key[0] ^ UINT64_C(0x6c7967656e657261),
        .v3 = key[1] ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)s.len << 56; /* the length modulo 256, by design */

    for (; s.len >= 8; s = drop(s, 8))
        sip_word(&h, load_le64(s.ptr, 8));
    sip_word(&h, last | load_le64(s.ptr, s.len));
    h.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&h);
    return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

uint64_t str_hash(struct str s)
{
    pthread_once(&once, init_once);
    return str_hash_keyed(s, hash_key);
}
