/* json_out.h -- streaming JSON writer onto a buf: no tree, no allocation of its own. Commas and
 * nesting are kept by the writer (depth <= 32, asserted). Strings are valid UTF-8 on output: a bad
 * byte becomes U+FFFD; '<', '>', '&', U+2028 and U+2029 are written as \u00XX, so that the text may stand inside
 * HTML. Doubles: shortest form that reads back equal ("%.17g" at worst), never NaN or infinity
 * (null). A failed append (the buf's ceiling) is remembered in `failed`; all later calls do
 * nothing, so a writer checks once at the end. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

struct json_out {
    struct buf *buf;
    uint8_t depth;
    bool failed;
    bool after_key;
    uint64_t has_item; /* low half: bit per depth, an item was written; high half: is an object */
};

/* Shortest decimal text that reads back equal, JSON number grammar; v is finite. Returns its length;
 * NUL-terminated. -0 is written as 0. */
#define JSON_OUT_DOUBLE_SIZE 32
size_t json_out_double_text(double v, char out[JSON_OUT_DOUBLE_SIZE]);

void json_out_init(struct json_out *j, struct buf *buf);
void json_out_object(struct json_out *j); /* { */
void json_out_array(struct json_out *j);  /* [ */
void json_out_end(struct json_out *j);    /* } or ], whichever is open */
void json_out_key(struct json_out *j, const char *key);
void json_out_key_str(struct json_out *j, struct str key);
void json_out_str(struct json_out *j, struct str s);
void json_out_cstr(struct json_out *j, const char *s); /* NULL writes null */
void json_out_i64(struct json_out *j, int64_t v);
void json_out_u64(struct json_out *j, uint64_t v);
void json_out_double(struct json_out *j, double v);
void json_out_fixed(struct json_out *j, int64_t v, unsigned decimals); /* 1234, 3 -> 1.234; no trailing zeros */
void json_out_bool(struct json_out *j, bool v);
void json_out_null(struct json_out *j);
void json_out_raw(struct json_out *j, struct str json); /* a finished value, trusted */

/* key + value in one line */
void json_out_kstr(struct json_out *j, const char *key, struct str v);
void json_out_kcstr(struct json_out *j, const char *key, const char *v);
void json_out_ki64(struct json_out *j, const char *key, int64_t v);
void json_out_kbool(struct json_out *j, const char *key, bool v);
void json_out_kdouble(struct json_out *j, const char *key, double v);
void json_out_knull(struct json_out *j, const char *key);
/* A stored time as system 1 writes it: float seconds with millisecond resolution; 0 -> null. */
void json_out_kts(struct json_out *j, const char *key, utc_ms t);
