/* json_doc.c -- see json_doc.h. A linear look at the brackets comes first, so that jansson's
 * recursive parser never sees a document deeper than ours may be. */
#include "base/json_doc.h"

#include <limits.h>

struct place {
    size_t line, column; /* from 1; columns count characters */
};

static struct place place_of(struct str text, size_t at)
{
    struct place p = {1, 1};

    for (size_t i = 0; i < at; i++) {
        uint8_t c = (uint8_t)text.ptr[i];

        if (c == '\n') {
            p.line++;
            p.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            p.column++;
        }
    }
    return p;
}

/* Index of the bracket that goes too deep, or -1. Only the first value counts. Input that is no
 * JSON may give either answer: the parser refuses it anyway. */
static ssize_t find_too_deep(struct str text)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DOC_DEPTH_MAX)
                return (ssize_t)i; /* text.len is below SSIZE_MAX */
        } else if (c == ']' || c == '}') {
            if (depth <= 1)
                return -1;
            depth--;
        }
    }
    return -1;
}

/* The key whose closing quote is the last byte of `read`; empty when it is not a plain one. */
static struct str key_before(struct str read)
{
    if (read.len < 2 || read.ptr[read.len - 1] != '"')
        return STR_NONE;

    size_t end = read.len - 1, begin = end;

    while (begin > 0 && read.ptr[begin - 1] != '"')
        begin--;

    struct str key = str_n(read.ptr + begin, end - begin);

    if (begin == 0 || (begin >= 2 && read.ptr[begin - 2] == '\\') || str_find(key, '\\') >= 0 ||
        str_has_control(key) || !str_is_utf8(key))
        return STR_NONE;
    return str_cut_utf8(key, sizeof(((struct err *)0)->field) - 1);
}

/* jansson's texts end in " near '<a piece of the input>'"; the piece could be a secret. */
static struct str reason_of(const json_error_t *e)
{
    struct str s = str_of(e->text);
    ssize_t near = str_find_str(s, STR(" near "));

    if (json_error_code(e) == json_error_null_character ||
        json_error_code(e) == json_error_null_byte_in_key)
        return STR("NUL characters are not allowed");
    return near < 0 ? s : str_cut(s, 0, (size_t)near); /* checked: not negative */
}

static int refuse(struct str text, const json_error_t *e, struct err *reterr)
{
    size_t at = e->position < 0 ? 0 : (size_t)e->position;
    struct str reason = reason_of(e);
    char field[sizeof(reterr->field)] = "";

    if (json_error_code(e) == json_error_duplicate_key && at <= text.len)
        str_copy(field, sizeof(field), key_before(str_cut(text, 0, at)));
    if (field[0] != '\0')
        return err_set_field(reterr, ERR_SYNTAX, field,
                             "line %d, column %d: duplicate object key \"%s\"", e->line, e->column,
                             field);
    return err_set(reterr, ERR_SYNTAX, "line %d, column %d: %.*s", e->line, e->column,
                   STR_ARG(reason));
}

int json_doc_parse(struct str text, unsigned flags, json_t **ret, struct err *reterr)
{
    struct str content = str_trim(text);

    if (content.len == 0)
        return err_set(reterr, ERR_SYNTAX, "request body is empty");
    if (text.len > INT_MAX) /* jansson's positions */
        return err_set(reterr, ERR_SYNTAX, "the document is too long");
    if (str_starts(text, STR("\xef\xbb\xbf")))
        return err_set(reterr, ERR_SYNTAX, "line 1, column 1: begins with a byte order mark");

    ssize_t deep = content.ptr[0] == '[' || content.ptr[0] == '{' ? find_too_deep(text) : -1;

    if (deep >= 0) {
        struct place p = place_of(text, (size_t)deep); /* checked */

        return err_set(reterr, ERR_SYNTAX, "line %zu, column %zu: nested deeper than %d levels",
                       p.line, p.column, JSON_DOC_DEPTH_MAX);
    }

    size_t how = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_error_t e = {.line = 1, .column = 1};

    if (flags & JSON_DOC_TRAILING)
        how |= JSON_DISABLE_EOF_CHECK;

    json_t *doc = json_loadb(text.ptr, text.len, how, &e);

    if (!doc)
        return refuse(text, &e, reterr);
    *ret = doc;
    return 0;
}

struct str json_doc_str(const json_t *v)
{
    return json_is_string(v) ? str_n(json_string_value(v), json_string_length(v)) : STR_NONE;
}

const json_t *json_doc_get(const json_t *obj, const char *key)
{
    return json_object_get(obj, key);
}
