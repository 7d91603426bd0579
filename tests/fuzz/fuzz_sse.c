/* fuzz_sse.c -- the first byte chooses ceiling and chunking; whole, chunked and byte by byte must
 * give the same events, none above the ceiling; what sse_format() writes reads back. */
#include "net/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t hash, count;
    size_t max;
};

static const uint64_t key[2] = {1, 2};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static bool on_event(void *ctx, const struct sse_event *e)
{
    struct seen *s = ctx;

    check(e->data.len <= s->max);
    s->count++;
    s->hash = s->hash * 31 + str_hash_keyed(e->name, key);
    s->hash = s->hash * 31 + str_hash_keyed(e->data, key);
    s->hash = s->hash * 31 + str_hash_keyed(e->id, key) + e->is_cut;
    return true;
}

static struct seen run(struct str text, size_t max, size_t chunk, bool *ret_pending)
{
    struct seen s = {.max = max};
    struct sse_parser p;

    sse_parser_init(&p, max, on_event, &s);
    while (text.len > 0) {
        size_t n = MIN(chunk, text.len);
        char *exact = xmalloc(n);

        memcpy(exact, text.ptr, n);
        check(sse_parser_feed(&p, str_n(exact, n)) == 0);
        xfree(exact);
        text = str_cut(text, n, text.len);
    }
    *ret_pending = sse_parser_end(&p);
    sse_parser_release(&p);
    return s;
}

static void round_trip(struct str text)
{
    struct buf out = BUF_INIT(text.len * 8 + 200);
    struct seen s = {.max = text.len + 1};
    struct sse_parser p;

    check(sse_format(&out, str_cut(text, 0, 5), 7, text) == 0);
    sse_parser_init(&p, s.max, on_event, &s);
    check(sse_parser_feed(&p, buf_str(&out)) == 0);
    check(s.count == 1 && !sse_parser_end(&p));
    sse_parser_release(&p);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool pending[3];
    struct seen whole, chunked, bytes;
    struct str text;
    size_t max;

    if (size == 0)
        return 0;
    text = str_n((const char *)data + 1, size - 1);
    max = (size_t)(data[0] >> 4) * 7 + 1;
    whole = run(text, max, size, &pending[0]);
    chunked = run(text, max, (size_t)(data[0] & 15) + 2, &pending[1]);
    bytes = run(text, max, 1, &pending[2]);
    check(whole.hash == chunked.hash && whole.hash == bytes.hash);
    check(whole.count == bytes.count && pending[0] == pending[1] && pending[0] == pending[2]);
    round_trip(text);
    return 0;
}
