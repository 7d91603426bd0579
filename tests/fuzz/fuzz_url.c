/* fuzz_url.c -- what parses has parts inside the text, an origin that parses to the same host and
 * port, and percent-coding that reads back. */
#include "base/buf.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_inside(struct str part, struct str text)
{
    check(part.len == 0 || (part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size), query, name, value;
    struct buf out = BUF_INIT(size * 3 + 400), back = BUF_INIT(size * 3 + 400);
    struct url u, again;

    if (url_parse(text, &u, NULL) == 0) {
        check_inside(u.host, text);
        check_inside(u.path, text);
        check_inside(u.query, text);
        check_inside(u.fragment, text);
        check(u.host.len > 0 && u.port > 0);
        check(u.path.len == 0 || u.path.ptr[0] == '/');
        check(url_origin(&u, &out) == 0);
        check(url_parse(buf_str(&out), &again, NULL) == 0);
        check(str_eq(again.host, u.host) && again.port == u.port && again.is_https == u.is_https && !again.has_userinfo);
        buf_clear(&out);
    }
    check(url_encode_segment(text, &out) == 0);
    if (url_decode(buf_str(&out), &back) == 0)
        check(str_eq(buf_str(&back), text));
    else
        check(str_has_control(text) && buf_len(&back) == 0);
    buf_clear(&back);
    if (url_decode_query(text, &back) == 0)
        check(buf_len(&back) <= size && !str_has_control(buf_str(&back)));
    query = text;
    while (url_query_next(&query, &name, &value)) {
        check_inside(name, text);
        check_inside(value, text);
    }
    buf_release(&out);
    buf_release(&back);
    return 0;
}
