/* json_scan_text.c -- what values mean: characters of strings, counts. See json_scan.h. */
#include "llm/json_scan.h"

#define JSON_SCAN_COUNT_MAX ((int64_t)1 << 53) /* largest integer every JSON reader agrees on */

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)str_hex_value(p[i]); /* the caller checked the digits */
    return v;
}

static bool is_hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (str_hex_value(p[i]) < 0)
            return false;
    return true;
}

static size_t put_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* At "uXXXX"; a high surrogate takes the low one behind it along. 0: not an escape. */
static size_t decode_unicode(struct str *rest, char out[4])
{
    const char *p = rest->ptr + 1, *end = rest->ptr + rest->len;
    size_t taken = 5;
    uint32_t c;

    if (!is_hex4(p, end))
        return 0;
    c = hex4(p);
    if (c >= 0xd800 && c < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u' &&
        is_hex4(p + 6, end) && hex4(p + 6) >= 0xdc00 && hex4(p + 6) < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 6) - 0xdc00);
        taken = 11;
    } else if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
    }
    *rest = str_n(rest->ptr + taken, rest->len - taken);
    return put_utf8(c, out);
}

size_t json_scan_char(struct str *rest, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known;
    size_t n;

    if (rest->len == 0)
        return 0;
    if (*rest->ptr != '\\') {
        n = str_char_len(*rest);
        if (n == 0) { /* not UTF-8 */
            *rest = str_n(rest->ptr + 1, rest->len - 1);
            return put_utf8(0xfffd, out);
        }
        memcpy(out, rest->ptr, n);
        *rest = str_n(rest->ptr + n, rest->len - n);
        return n;
    }
    *rest = str_n(rest->ptr + 1, rest->len - 1);
    if (rest->len == 0)
        return 0;
    if (*rest->ptr == 'u')
        return decode_unicode(rest, out);
    known = memchr(from, *rest->ptr, sizeof(from) - 1);
    if (!known)
        return 0;
    out[0] = to[known - from];
    *rest = str_n(rest->ptr + 1, rest->len - 1);
    return 1;
}

struct str json_scan_inside(struct str raw)
{
    if (raw.len < 2 || raw.ptr[0] != '"' || raw.ptr[raw.len - 1] != '"')
        return STR_NONE;
    return str_n(raw.ptr + 1, raw.len - 2);
}

int json_scan_string(struct str raw, struct buf *out)
{
    struct str rest = json_scan_inside(raw);
    size_t before = buf_len(out), n;
    char c[4];
    int rc = 0;

    if (!rest.ptr)
        return ERR_SYNTAX;
    while (rc == 0 && rest.len > 0) {
        n = json_scan_char(&rest, c);
        rc = n == 0 ? ERR_SYNTAX : buf_add(out, c, n);
    }
    if (rc != 0)
        buf_shorten(out, before);
    return rc;
}

size_t json_scan_string_cut(struct str raw, char *out, size_t cap)
{
    struct str rest = json_scan_inside(raw);
    size_t len = 0, n;
    char c[4];

    assert(cap > 0);
    while ((n = json_scan_char(&rest, c)) != 0 && len + n < cap) {
        memcpy(out + len, c, n);
        len += n;
    }
    out[len] = '\0';
    return len;
}

int64_t json_scan_count(const struct json_scan_value *v)
{
    double d;

    if (v->type != JSON_SCAN_NUMBER)
        return 0;
    if (v->raw.len > 0 && v->raw.ptr[0] == '-')
        return 0;
    if (str_to_double(v->raw, &d) != 0) /* beyond what a double holds */
        return JSON_SCAN_COUNT_MAX;
    return d >= (double)JSON_SCAN_COUNT_MAX ? JSON_SCAN_COUNT_MAX : (int64_t)d; /* below 2^53 */
}

bool json_scan_str_eq(const struct json_scan_value *v, const char *s)
{
    struct str rest;
    size_t n, len = strlen(s);
    char c[4];

    if (v->type != JSON_SCAN_STRING)
        return false;
    rest = json_scan_inside(v->raw);
    while ((n = json_scan_char(&rest, c)) != 0) {
        if (n > len || memcmp(c, s, n) != 0)
            return false;
        s += n;
        len -= n;
    }
    return len == 0;
}
