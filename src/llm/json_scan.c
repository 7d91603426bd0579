/* json_scan.c -- see json_scan.h.
 *
 * DESIGN. The reader needs no state beside a pointer: a container is entered up to just behind its
 * bracket and a value is taken up to just behind its last byte, so the byte before `at` tells
 * whether a comma is due ('{' or '[': no). Skipping does not recurse; the kind of each open
 * container is one bit of a 64-bit word, which is also the depth limit. */
#include "llm/json_scan.h"

#include <stdarg.h>

#define JSON_SCAN_DEPTH_MAX 64

static_assert(JSON_SCAN_DEPTH_MAX <= 64, "one bit of a uint64_t per level");

static bool fail(struct json_scan *s, int code)
{
    if (s->error == 0)
        s->error = code;
    return false;
}

static void skip_blanks(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* Eight bytes at once: is one of them '"', '\\' or a control character? May be wrong only in bytes
 * behind a true hit (borrows run upwards), so the caller looks at single bytes then. */
static bool has_special(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t w, quote, slash;

    memcpy(&w, p, sizeof(w));
    quote = w ^ (ones * '"');
    slash = w ^ (ones * '\\');
    return ((((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            tops) != 0;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool scan_escape(struct json_scan *s) /* at the byte behind the backslash */
{
    if (s->at == s->end)
        return fail(s, ERR_SYNTAX);
    switch (*s->at) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        s->at++;
        return true;
    case 'u':
        for (int i = 1; i <= 4; i++)
            if (s->end - s->at <= i || !is_hex(s->at[i]))
                return fail(s, ERR_SYNTAX);
        s->at += 5;
        return true;
    default:
        return fail(s, ERR_SYNTAX);
    }
}

/* At the opening quote; ends behind the closing one. */
static bool scan_string(struct json_scan *s, bool *ret_plain)
{
    *ret_plain = true;
    for (s->at++;;) {
        while (s->end - s->at >= 8 && !has_special(s->at))
            s->at += 8;
        while (s->at < s->end && *s->at != '"' && *s->at != '\\' && (uint8_t)*s->at >= 0x20)
            s->at++;
        if (s->at == s->end || (uint8_t)*s->at < 0x20)
            return fail(s, ERR_SYNTAX);
        if (*s->at++ == '"')
            return true;
        *ret_plain = false;
        if (!scan_escape(s))
            return false;
    }
}

static bool scan_digits(struct json_scan *s)
{
    const char *from = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from || fail(s, ERR_SYNTAX);
}

static bool scan_number(struct json_scan *s)
{
    if (*s->at == '-')
        s->at++;
    if (s->at < s->end && *s->at == '0') {
        s->at++;
        if (s->at < s->end && *s->at >= '0' && *s->at <= '9')
            return fail(s, ERR_SYNTAX);
    } else if (!scan_digits(s)) {
        return false;
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        return scan_digits(s);
    }
    return true;
}

static bool scan_word(struct json_scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return fail(s, ERR_SYNTAX);
    s->at += len;
    return true;
}

static enum json_scan_type type_at(const struct json_scan *s)
{
    if (s->at == s->end)
        return JSON_SCAN_NONE;
    switch (*s->at) {
    case '{':
        return JSON_SCAN_OBJECT;
    case '[':
        return JSON_SCAN_ARRAY;
    case '"':
        return JSON_SCAN_STRING;
    case 't':
        return JSON_SCAN_TRUE;
    case 'f':
        return JSON_SCAN_FALSE;
    case 'n':
        return JSON_SCAN_NULL;
    case '-':
    case '0' ... '9':
        return JSON_SCAN_NUMBER;
    default:
        return JSON_SCAN_NONE;
    }
}

/* A key with its colon, blanks behind it taken too. */
static bool scan_key(struct json_scan *s, struct str *ret_key, bool *ret_plain)
{
    const char *from = s->at;

    if (type_at(s) != JSON_SCAN_STRING)
        return fail(s, ERR_SYNTAX);
    if (!scan_string(s, ret_plain))
        return false;
    *ret_key = str_n(from + 1, (size_t)(s->at - from) - 2);
    skip_blanks(s);
    if (s->at == s->end || *s->at != ':')
        return fail(s, ERR_SYNTAX);
    s->at++;
    skip_blanks(s);
    return true;
}

static bool scan_scalar(struct json_scan *s)
{
    bool is_plain;

    switch (type_at(s)) {
    case JSON_SCAN_STRING:
        return scan_string(s, &is_plain);
    case JSON_SCAN_NUMBER:
        return scan_number(s);
    case JSON_SCAN_TRUE:
        return scan_word(s, "true", 4);
    case JSON_SCAN_FALSE:
        return scan_word(s, "false", 5);
    case JSON_SCAN_NULL:
        return scan_word(s, "null", 4);
    case JSON_SCAN_OBJECT:
    case JSON_SCAN_ARRAY:
    case JSON_SCAN_NONE:
        break;
    }
    return fail(s, ERR_SYNTAX);
}

/* Behind a value inside `depth` containers of this skip: close what closes, step over a comma.
 * *ret_done: the outermost one is closed. */
static bool scan_after(struct json_scan *s, uint64_t *objects, unsigned *depth, bool *ret_done)
{
    struct str key;
    bool is_plain;

    while (*depth > 0) {
        bool in_object = (*objects & 1) != 0;

        skip_blanks(s);
        if (s->at == s->end)
            return fail(s, ERR_SYNTAX);
        if (*s->at == ',') {
            s->at++;
            skip_blanks(s);
            *ret_done = false;
            return !in_object || scan_key(s, &key, &is_plain);
        }
        if (*s->at != (in_object ? '}' : ']'))
            return fail(s, ERR_SYNTAX);
        s->at++;
        *objects >>= 1;
        --*depth;
    }
    *ret_done = true;
    return true;
}

/* Take one value, whatever it is; blanks before it are taken, those behind it are not. */
static bool scan_any(struct json_scan *s)
{
    uint64_t objects = 0; /* bit 0: kind of the innermost container opened here */
    unsigned depth = 0;
    bool is_done = false, is_plain;
    struct str key;

    if (s->error != 0)
        return false;
    skip_blanks(s);
    while (!is_done) {
        enum json_scan_type type = type_at(s);

        if (type == JSON_SCAN_OBJECT || type == JSON_SCAN_ARRAY) {
            if (s->depth + depth >= JSON_SCAN_DEPTH_MAX)
                return fail(s, ERR_LIMIT);
            depth++;
            objects = objects << 1 | (type == JSON_SCAN_OBJECT);
            s->at++;
            skip_blanks(s);
            if (s->at < s->end && *s->at != (type == JSON_SCAN_OBJECT ? '}' : ']')) {
                if (type == JSON_SCAN_OBJECT && !scan_key(s, &key, &is_plain))
                    return false;
                continue;
            }
        } else if (!scan_scalar(s)) {
            return false;
        }
        if (!scan_after(s, &objects, &depth, &is_done))
            return false;
    }
    return true;
}

int json_scan_check(struct str text, size_t *ret_offset)
{
    struct json_scan s;

    json_scan_init(&s, text);
    if (scan_any(&s)) {
        skip_blanks(&s);
        if (s.at != s.end)
            fail(&s, ERR_SYNTAX);
    }
    if (ret_offset && s.error != 0)
        *ret_offset = text.len - (size_t)(s.end - s.at);
    return s.error;
}

void json_scan_init(struct json_scan *s, struct str text)
{
    const char *from = text.len ? text.ptr : "";

    *s = (struct json_scan){.at = from, .end = from + text.len};
}

enum json_scan_type json_scan_peek(struct json_scan *s)
{
    if (s->error != 0)
        return JSON_SCAN_NONE;
    skip_blanks(s);
    return type_at(s);
}

bool json_scan_enter(struct json_scan *s, enum json_scan_type object_or_array)
{
    assert(object_or_array == JSON_SCAN_OBJECT || object_or_array == JSON_SCAN_ARRAY);
    if (s->error != 0)
        return false;
    if (json_scan_peek(s) != object_or_array)
        return fail(s, ERR_SYNTAX);
    if (s->depth >= JSON_SCAN_DEPTH_MAX)
        return fail(s, ERR_LIMIT);
    s->depth++;
    s->at++;
    return true;
}

/* In front of the next element: true there, false behind the closing bracket or on error. */
static bool next_element(struct json_scan *s, char open, char close)
{
    bool is_first;

    if (s->error != 0)
        return false;
    is_first = s->at[-1] == open; /* json_scan_enter() moved past it, so there is such a byte */
    skip_blanks(s);
    if (s->at == s->end)
        return fail(s, ERR_SYNTAX);
    if (*s->at == close) {
        s->at++;
        s->depth--;
        return false;
    }
    if (!is_first) {
        if (*s->at != ',')
            return fail(s, ERR_SYNTAX);
        s->at++;
        skip_blanks(s);
    }
    return true;
}

bool json_scan_member(struct json_scan *s, struct str *ret_key, bool *ret_plain)
{
    return next_element(s, '{', '}') && scan_key(s, ret_key, ret_plain);
}

bool json_scan_item(struct json_scan *s)
{
    if (!next_element(s, '[', ']'))
        return false;
    return type_at(s) != JSON_SCAN_NONE || fail(s, ERR_SYNTAX);
}

bool json_scan_value(struct json_scan *s, struct json_scan_value *ret)
{
    enum json_scan_type type = json_scan_peek(s);
    const char *from = s->at;

    if (!scan_any(s))
        return false;
    *ret = (struct json_scan_value){type, str_n(from, (size_t)(s->at - from))};
    return true;
}

void json_scan_skip(struct json_scan *s)
{
    (void)scan_any(s); /* a failure stays in s->error */
}

static bool key_is(struct str key, bool is_plain, const char *name)
{
    char decoded[128];
    size_t len;

    if (is_plain)
        return str_eq_c(key, name);
    /* key lies between its quotes in the text; a name of ours always fits */
    len = json_scan_string_cut(str_n(key.ptr - 1, key.len + 2), decoded, sizeof(decoded));
    return str_eq_c(str_n(decoded, len), name);
}

/* s at a value; move into its member or item `step`. */
static bool find_step(struct json_scan *s, const char *step)
{
    struct str key;
    bool is_plain;
    uint64_t index;

    switch (json_scan_peek(s)) {
    case JSON_SCAN_OBJECT:
        for ((void)json_scan_enter(s, JSON_SCAN_OBJECT); json_scan_member(s, &key, &is_plain);
             json_scan_skip(s))
            if (key_is(key, is_plain, step))
                return true;
        return false;
    case JSON_SCAN_ARRAY:
        if (str_to_u64(str_of(step), UINT32_MAX, &index) != 0)
            return false;
        for ((void)json_scan_enter(s, JSON_SCAN_ARRAY); json_scan_item(s); json_scan_skip(s))
            if (index-- == 0)
                return true;
        return false;
    default:
        return false;
    }
}

bool json_scan_find(struct str text, struct json_scan_value *ret, ...)
{
    struct json_scan s;
    const char *step;
    va_list ap;
    bool is_found = true;

    json_scan_init(&s, text);
    va_start(ap, ret);
    while (is_found && (step = va_arg(ap, const char *)) != NULL)
        is_found = find_step(&s, step);
    va_end(ap);
    return is_found && json_scan_value(&s, ret);
}

bool json_scan_members(struct str object, const char *const *names, size_t count,
                       struct json_scan_value *values)
{
    struct json_scan s;
    struct json_scan_value v;
    struct str key;
    bool is_plain;

    for (size_t i = 0; i < count; i++)
        values[i] = (struct json_scan_value){.type = JSON_SCAN_NONE};
    json_scan_init(&s, object);
    if (json_scan_peek(&s) != JSON_SCAN_OBJECT)
        return false;
    (void)json_scan_enter(&s, JSON_SCAN_OBJECT);
    while (json_scan_member(&s, &key, &is_plain) && json_scan_value(&s, &v))
        for (size_t i = 0; i < count; i++)
            if (values[i].type == JSON_SCAN_NONE && key_is(key, is_plain, names[i])) {
                values[i] = v;
                break;
            }
    return s.error == 0;
}
