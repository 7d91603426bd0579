/* json_scan.h -- JSON on the data path: one pass, no tree, no allocation, depth <= 64. It checks
 * grammar and UTF-8-agnostic structure as strictly as jansson does (the fuzzer compares), finds
 * members by path, and splices a member's value.
 *
 * Own code because jansson costs 8 ns a byte: parsing request and answer with it would cost as
 * much as the whole of nginx (8 us against 0.1-0.3 us for 1 KiB). */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum json_scan_type {
    JSON_SCAN_NONE,
    JSON_SCAN_OBJECT,
    JSON_SCAN_ARRAY,
    JSON_SCAN_STRING,
    JSON_SCAN_NUMBER,
    JSON_SCAN_TRUE,
    JSON_SCAN_FALSE,
    JSON_SCAN_NULL
};

struct json_scan_value {
    enum json_scan_type type;
    struct str raw; /* the value's bytes in the text, quotes included */
};

/* Whole text must be one JSON value (white space around). 0 or ERR_SYNTAX / ERR_LIMIT (depth);
 * *ret_offset (may be NULL): where. */
MUST_USE int json_scan_check(struct str text, size_t *ret_offset);

/* Pull reader over one validated-as-you-go value. Members and items in order; skipping is cheap. */
struct json_scan {
    const char *at, *end;
    int error; /* sticky: 0, ERR_SYNTAX, ERR_LIMIT */
    uint8_t depth;
};
void json_scan_init(struct json_scan *s, struct str text);
/* At a value: its type, without moving. */
enum json_scan_type json_scan_peek(struct json_scan *s);
bool json_scan_enter(
    struct json_scan *s,
    enum json_scan_type object_or_array); /* false and sticky error when it is another type */
/* Inside an object, its last value taken: next member's key (raw, without quotes, still escaped;
 * *ret_plain tells that it has no escape). false at '}'. */
bool json_scan_member(struct json_scan *s, struct str *ret_key, bool *ret_plain);
bool json_scan_item(
    struct json_scan *s); /* inside an array: true = at the next item, false at ']' */
bool json_scan_value(struct json_scan *s, struct json_scan_value *ret); /* take any value whole */
void json_scan_skip(struct json_scan *s);

/* Top-level or nested member by literal keys: json_scan_find(text, &v, "usage", "prompt_tokens",
 * NULL). First occurrence; array index as "0". false when absent or text is broken before it. */
bool json_scan_find(struct str text, struct json_scan_value *ret, ...) __attribute__((sentinel));

/* Several members of one object in a single pass, for bodies of megabytes: values[i] is the first
 * member named names[i], type JSON_SCAN_NONE where there is none. false: no object, or broken (what
 * stood before the break is there). */
bool json_scan_members(struct str object, const char *const *names, size_t count,
                       struct json_scan_value *values);

/* The bytes between the quotes of a string value, still escaped; STR_NONE when raw is no string. */
struct str json_scan_inside(struct str raw);
/* Decode the first character of such bytes as UTF-8 and move behind it; bad bytes and lone
 * surrogates become U+FFFD. Returns its length, 0 at the end or at a broken escape. */
size_t json_scan_char(struct str *rest, char out[4]);
/* Decode a string value (raw with quotes) to UTF-8; lone surrogates become U+FFFD. ERR_SYNTAX,
 * ERR_LIMIT by out. */
MUST_USE int json_scan_string(struct str raw, struct buf *out);
/* Same into a fixed buffer, cut on a character boundary; returns length. */
size_t json_scan_string_cut(struct str raw, char *out, size_t cap);
/* Non-negative integer value, saturated into [0, 2^53]; floats are truncated; else 0. */
int64_t json_scan_count(const struct json_scan_value *v);
bool json_scan_str_eq(const struct json_scan_value *v,
                      const char *s); /* string equal after decoding */
