/* fuzz_json_doc.c -- what json_doc takes is printed and read back equal and is no deeper than
 * promised; what json_out writes of any bytes, json_doc reads. */
#include "base/json_doc.h"
#include "base/json_out.h"

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_depth(const json_t *v, int depth)
{
    const char *key;
    json_t *child;
    size_t i;

    check(depth <= JSON_DOC_DEPTH_MAX || (!json_is_array(v) && !json_is_object(v)));
    if (json_is_array(v)) {
        json_array_foreach(v, i, child) check_depth(child, depth + 1);
    } else if (json_is_object(v)) {
        for (void *it = json_object_iter((json_t *)(uintptr_t)v); it;
             it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
            key = json_object_iter_key(it);
            check(json_doc_get(v, key) == json_object_iter_value(it));
            check_depth(json_object_iter_value(it), depth + 1);
        }
    }
}

static void fuzz_parse(struct str text, unsigned flags)
{
    json_t *doc = NULL, *back = NULL;
    struct err e = {0};

    if (json_doc_parse(text, flags, &doc, &e) < 0) {
        check(doc == NULL && e.code == ERR_SYNTAX && e.text[0] != '\0');
        check(str_is_utf8(str_of(e.text)) && str_is_utf8(str_of(e.field)));
        return;
    }
    check_depth(doc, 1);

    char *printed = json_dumps(doc, JSON_ENCODE_ANY);

    check(printed != NULL && json_doc_parse(str_of(printed), 0, &back, &e) == 0);
    check(json_equal(doc, back));
    free(printed);
    json_decref(doc);
    json_decref(back);
}

static void fuzz_write(struct str text)
{
    struct buf b = BUF_INIT(1 << 20);
    struct json_out j;
    json_t *doc = NULL;
    struct err e = {0};

    json_out_init(&j, &b);
    json_out_array(&j);
    json_out_str(&j, text);
    json_out_end(&j);
    if (!j.failed) {
        int rc = json_doc_parse(buf_str(&b), 0, &doc, &e);

        check((rc == 0) == !memchr(text.len ? text.ptr : "x", 0, text.len)); /* NUL is written */
        if (rc == 0 && str_is_utf8(text))
            check(str_eq(json_doc_str(json_array_get(doc, 0)), text));
        json_decref(doc);
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);

    fuzz_parse(text, 0);
    fuzz_parse(text, JSON_DOC_TRAILING);
    fuzz_write(text);
    return 0;
}
