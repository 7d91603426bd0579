/* json_out.c -- see json_out.h. Text is copied in runs of bytes that need no escape, so that the
 * usual string costs one table look-up per byte and one append. */
#include "base/json_out.h"

#include <float.h>
#include <math.h>

#define DEPTH_MAX 32

static_assert(DEPTH_MAX * 2 <= 64, "has_item holds two bits per depth");

void json_out_init(struct json_out *j, struct buf *buf)
{
    *j = (struct json_out){.buf = buf};
}

/* Documents are made of pieces of a few bytes: those that fit are put here, without a call. */
static inline void put(struct json_out *j, const char *p, size_t n)
{
    struct buf *b = j->buf;

    if (j->failed)
        return;
    if (LIKELY(n < b->cap - b->tail)) { /* < leaves a byte for the NUL, as in buf_reserve() */
        memcpy(b->ptr + b->tail, p, n);
        b->tail += n;
        b->ptr[b->tail] = '\0';
    } else if (buf_add(b, p, n) < 0) {
        j->failed = true;
    }
}

static uint64_t item_bit(const struct json_out *j)
{
    return UINT64_C(1) << (j->depth - 1);
}

static bool in_object(const struct json_out *j)
{
    return j->depth > 0 && (j->has_item & item_bit(j) << DEPTH_MAX) != 0;
}

static void comma(struct json_out *j)
{
    if (j->depth == 0)
        return;
    if (j->has_item & item_bit(j))
        put(j, ",", 1);
    j->has_item |= item_bit(j);
}

/* What stands before a value; false when nothing is to be written any more. */
static bool begin_value(struct json_out *j)
{
    if (j->failed)
        return false;
    if (j->after_key) {
        j->after_key = false;
        return true;
    }
    assert(!in_object(j)); /* a member has a key */
    comma(j);
    return !j->failed;
}

static void open_level(struct json_out *j, bool is_object)
{
    if (!begin_value(j))
        return;
    assert(j->depth < DEPTH_MAX);
    j->depth++;
    j->has_item &= ~(item_bit(j) | item_bit(j) << DEPTH_MAX);
    if (is_object)
        j->has_item |= item_bit(j) << DEPTH_MAX;
    put(j, is_object ? "{" : "[", 1);
}

void json_out_object(struct json_out *j)
{
    open_level(j, true);
}

void json_out_array(struct json_out *j)
{
    open_level(j, false);
}

void json_out_end(struct json_out *j)
{
    if (j->failed)
        return;
    assert(j->depth > 0 && !j->after_key);
    put(j, in_object(j) ? "}" : "]", 1);
    j->depth--;
}

/* Printable ASCII but for " \\ < > &, and DEL. */
static const bool plain_char[256] = {
    [' '] = true, ['!'] = true,         ['#' ... '%'] = true,  ['\'' ... ';'] = true,
    ['='] = true, ['?' ... '['] = true, [']' ... 0x7f] = true,
};

static void put_ascii_escape(struct json_out *j, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* byte, letter behind the backslash */

    for (size_t i = 0; i + 1 < sizeof(names); i += 2) {
        if ((uint8_t)names[i] == c) { /* all below 0x80 */
            put(j, (const char[]){'\\', names[i + 1]}, 2);
            return;
        }
    }
    put(j, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

/* One character that is not plain; returns the bytes it took. */
static size_t put_special(struct json_out *j, const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) {
        put_ascii_escape(j, p[0]);
        return 1;
    }

    size_t size = str_char_len(str_n((const char *)p, n));

    if (size == 0) {
        put(j, "\xef\xbf\xbd", 3); /* U+FFFD */
        return 1;
    }
    if (size == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
        put(j, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
    else
        put(j, (const char *)p, size);
    return size;
}

static size_t plain_run(const uint8_t *p, size_t n)
{
    size_t i = 0;

    while (i < n && plain_char[p[i]])
        i++;
    return i;
}

/* From byte `i` on, which may not be plain, and the closing quote. */
static void put_rest(struct json_out *j, struct str s, size_t i)
{
    const uint8_t *p = (const uint8_t *)s.ptr;

    while (i < s.len && !j->failed) {
        size_t run = plain_run(p + i, s.len - i);

        if (run > 0)
            put(j, s.ptr + i, run);
        i += run;
        if (i < s.len)
            i += put_special(j, p + i, s.len - i);
    }
    put(j, "\"", 1);
}

static void put_string(struct json_out *j, struct str s)
{
    size_t run = plain_run((const uint8_t *)s.ptr, s.len);
    struct buf *b = j->buf;

    /* All plain and room for it with both quotes: keys and names. */
    if (LIKELY(run == s.len && !j->failed && s.len < SIZE_MAX - 2 &&
               s.len + 2 < b->cap - b->tail)) {
        char *out = b->ptr + b->tail;

        out[0] = '"';
        if (s.len > 0)
            memcpy(out + 1, s.ptr, s.len);
        out[s.len + 1] = '"';
        out[s.len + 2] = '\0';
        b->tail += s.len + 2;
        return;
    }
    put(j, "\"", 1);
    if (run > 0)
        put(j, s.ptr, run);
    put_rest(j, s, run);
}

void json_out_key_str(struct json_out *j, struct str key)
{
    if (j->failed)
        return;
    assert(in_object(j) && !j->after_key);
    comma(j);
    put_string(j, key);
    put(j, ":", 1);
    j->after_key = true;
}

void json_out_key(struct json_out *j, const char *key)
{
    json_out_key_str(j, str_of(key));
}

void json_out_str(struct json_out *j, struct str s)
{
    if (begin_value(j))
        put_string(j, s);
}

void json_out_cstr(struct json_out *j, const char *s)
{
    if (s)
        json_out_str(j, str_of(s));
    else
        json_out_null(j);
}

#define DIGITS_MAX 20 /* of 2^64 - 1 */

/* Digits of v, at least `least` of them, right-aligned in tmp; returns where they begin. */
static char *digits(uint64_t v, unsigned least, char tmp[DIGITS_MAX])
{
    char *p = tmp + DIGITS_MAX;

    while (v != 0 || (size_t)(tmp + DIGITS_MAX - p) < least) {
        *--p = (char)('0' + v % 10); /* one digit */
        v /= 10;
    }
    return p;
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v; /* INT64_MIN too */
}

static void put_u64(struct json_out *j, uint64_t v)
{
    char tmp[DIGITS_MAX];
    char *p = digits(v, 1, tmp);

    put(j, p, (size_t)(tmp + DIGITS_MAX - p));
}

void json_out_u64(struct json_out *j, uint64_t v)
{
    if (begin_value(j))
        put_u64(j, v);
}

void json_out_i64(struct json_out *j, int64_t v)
{
    if (!begin_value(j))
        return;
    if (v < 0)
        put(j, "-", 1);
    put_u64(j, magnitude(v));
}

void json_out_fixed(struct json_out *j, int64_t v, unsigned decimals)
{
    assert(decimals < DIGITS_MAX);
    if (!begin_value(j))
        return;
    if (v < 0)
        put(j, "-", 1);

    char tmp[DIGITS_MAX];
    char *p = digits(magnitude(v), decimals + 1, tmp);
    char *point = tmp + DIGITS_MAX - decimals;
    char *end = tmp + DIGITS_MAX;

    while (end > point && end[-1] == '0')
        end--;
    put(j, p, (size_t)(point - p));
    if (end > point) {
        put(j, ".", 1);
        put(j, point, (size_t)(end - point));
    }
}

size_t json_out_double_text(double v, char out[JSON_OUT_DOUBLE_SIZE])
{
    assert(isfinite(v));
    if (v == 0)
        v = 0; /* drops the sign of -0 */

    /* 15 digits survive any normal double, so the first precision that reads back equal is the
     * shortest; a subnormal has fewer of them. */
    int precision = fabs(v) < DBL_MIN ? 1 : DBL_DIG;
    int n = 0;

    for (; precision <= DBL_DECIMAL_DIG; precision++) {
        n = snprintf(out, JSON_OUT_DOUBLE_SIZE, "%.*g", precision, v);
        if (strtod(out, NULL) == v)
            break;
    }
    return (size_t)n; /* never negative, at most 24 */
}

void json_out_double(struct json_out *j, double v)
{
    char text[JSON_OUT_DOUBLE_SIZE];

    if (!isfinite(v)) {
        json_out_null(j);
        return;
    }
    if (begin_value(j))
        put(j, text, json_out_double_text(v, text));
}

void json_out_bool(struct json_out *j, bool v)
{
    json_out_raw(j, v ? STR("true") : STR("false"));
}

void json_out_null(struct json_out *j)
{
    json_out_raw(j, STR("null"));
}

void json_out_raw(struct json_out *j, struct str json)
{
    assert(json.len > 0);
    if (begin_value(j))
        put(j, json.ptr, json.len);
}

void json_out_kstr(struct json_out *j, const char *key, struct str v)
{
    json_out_key(j, key);
    json_out_str(j, v);
}

void json_out_kcstr(struct json_out *j, const char *key, const char *v)
{
    json_out_key(j, key);
    json_out_cstr(j, v);
}

void json_out_ki64(struct json_out *j, const char *key, int64_t v)
{
    json_out_key(j, key);
    json_out_i64(j, v);
}

void json_out_kbool(struct json_out *j, const char *key, bool v)
{
    json_out_key(j, key);
    json_out_bool(j, v);
}

void json_out_kdouble(struct json_out *j, const char *key, double v)
{
    json_out_key(j, key);
    json_out_double(j, v);
}

void json_out_knull(struct json_out *j, const char *key)
{
    json_out_key(j, key);
    json_out_null(j);
}

void json_out_kts(struct json_out *j, const char *key, utc_ms t)
{
    json_out_key(j, key);
    if (t == 0)
        json_out_null(j);
    else
        json_out_fixed(j, t, 3);
}
