/* fuzz_json_scan.c -- our scanner and jansson must agree on what is JSON. Known differences:
 * jansson wants UTF-8, no lone surrogates, no NUL in keys and numbers a double can hold; we stop at
 * depth 64. */
#include "base/json_doc.h"
#include "llm/json_scan.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_beyond_jansson(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_numeric_overflow:
    case json_error_null_byte_in_key:
    case json_error_stack_overflow:
        return true;
    default:
        return strstr(e->text, "invalid Unicode") != NULL;
    }
}

static void compare(struct str text)
{
    json_error_t e;
    size_t at = 0;
    int rc = json_scan_check(text, &at);
    json_t *doc;

    if (rc != 0 && at > text.len)
        abort();
    if (rc == ERR_LIMIT || !str_is_utf8(text))
        return;
    doc = json_loadb(text.len ? text.ptr : "", text.len,
                     JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    if (rc == 0 && !doc && !is_beyond_jansson(&e))
        abort();
    /* jansson takes a NUL behind the value for the end of the text */
    if (rc != 0 && doc && (at == text.len || text.ptr[at] != '\0'))
        abort();
    json_decref(doc);
}

/* The pull reader over everything: accepts exactly what the check accepts, and decodes all strings.
 */
static void walk(struct json_scan *s, struct buf *out)
{
    struct json_scan_value v;
    struct str key;
    bool is_plain;

    switch (json_scan_peek(s)) {
    case JSON_SCAN_OBJECT:
        if (json_scan_enter(s, JSON_SCAN_OBJECT))
            while (json_scan_member(s, &key, &is_plain))
                walk(s, out);
        break;
    case JSON_SCAN_ARRAY:
        if (json_scan_enter(s, JSON_SCAN_ARRAY))
            while (json_scan_item(s))
                walk(s, out);
        break;
    default:
        if (!json_scan_value(s, &v))
            break;
        buf_clear(out);
        if (v.type == JSON_SCAN_STRING && json_scan_string(v.raw, out) != 0)
            abort();
        if (!str_is_utf8(buf_str(out)))
            abort();
        if (json_scan_count(&v) < 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    struct buf out;
    struct json_scan s;
    struct json_scan_value v;
    bool is_all;

    compare(text);
    buf_init(&out, 4 * size + 4);
    json_scan_init(&s, text);
    walk(&s, &out);
    while (s.error == 0 && s.at < s.end && strchr(" \t\r\n", *s.at) && *s.at)
        s.at++;
    is_all = s.error == 0 && s.at == s.end;
    if (is_all != (json_scan_check(text, NULL) == 0))
        abort();
    (void)json_scan_find(text, &v, "a", "0", "b", NULL);
    (void)json_scan_find(text, &v, "1", "x", NULL);
    buf_release(&out);
    return 0;
}
