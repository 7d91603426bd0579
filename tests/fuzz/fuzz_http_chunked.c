/* Any bytes as a chunked body, decoded whole and in pieces of sizes taken from the input, against a
 * slow decoder that sees everything at once: same data, same end, same verdict. */
#include "base/buf.h"
#include "net/http_chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

struct outcome {
    enum http_chunk_result result;
    struct buf data;
    size_t used; /* bytes up to the end of the body */
};

/* step 0: sizes vary. */
static void decode(struct str in, size_t step, struct outcome *ret)
{
    struct http_chunk c = {0};
    size_t total = in.len;
    size_t at = 0;

    ret->result = HTTP_CHUNK_MORE;
    ret->used = 0;
    while (at < total && ret->result == HTTP_CHUNK_MORE) {
        size_t n = step ? step : 1 + ((size_t)(unsigned char)in.ptr[at] & 7);
        struct str piece = str_cut(in, at, n);
        struct str got;

        at += piece.len;
        while ((ret->result = http_chunk_next(&c, &piece, &got)) == HTTP_CHUNK_DATA) {
            CHECK(got.len > 0);
            buf_put(&ret->data, got);
        }
        ret->used = at - piece.len;
    }
}

/* ---- the slow decoder: lines first ---- */

static bool take_line(struct str *in, struct str *ret)
{
    ssize_t lf = str_find(*in, '\n');

    if (lf < 1 || in->ptr[lf - 1] != '\r')
        return false;
    *ret = str_cut(*in, 0, (size_t)lf - 1);
    *in = str_cut(*in, (size_t)lf + 1, in->len);
    return true;
}

static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool take_size(struct str line, uint64_t *ret)
{
    struct str digits = str_until(line, ';');

    *ret = 0;
    if (digits.len == 0 || digits.len > 15 || line.len > HTTP_CHUNK_LINE_MAX || !is_text(line))
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        const char *hex = "0123456789abcdef0123456789ABCDEF";
        const char *p = digits.ptr[i] ? strchr(hex, digits.ptr[i]) : NULL;

        if (!p)
            return false;
        *ret = *ret << 4 | ((uint64_t)(p - hex) & 15);
    }
    return true;
}

/* true: a complete, correct body at the front of `in`. Bounds on framing are not looked at. */
static bool decode_slowly(struct str in, struct buf *out, size_t *ret_used)
{
    size_t total = in.len;
    struct str line;
    uint64_t size;

    for (;;) {
        if (!take_line(&in, &line) || !take_size(line, &size))
            return false;
        if (size == 0)
            break;
        if (in.len < 2 || size > in.len - 2 || memcmp(in.ptr + size, "\r\n", 2) != 0)
            return false;
        buf_put(out, str_cut(in, 0, (size_t)size));
        in = str_cut(in, (size_t)size + 2, in.len);
    }
    do {
        if (!take_line(&in, &line) || !is_text(line))
            return false;
        if (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t' || line.ptr[0] == ':'))
            return false;
    } while (line.len > 0);
    *ret_used = total - in.len;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_n((const char *)data, MIN(size, (size_t)HTTP_CHUNK_TRAILER_MAX));
    struct outcome runs[3] = {0};
    struct buf slow = BUF_INIT(1 << 20);
    size_t used = 0;
    bool is_good = decode_slowly(in, &slow, &used);
    static const size_t steps[3] = {HTTP_CHUNK_TRAILER_MAX, 1, 0};

    for (size_t i = 0; i < 3; i++) {
        buf_init(&runs[i].data, 1 << 20);
        decode(in, steps[i], &runs[i]);
        CHECK(runs[i].result == runs[0].result && runs[i].used == runs[0].used);
        CHECK(str_eq(buf_str(&runs[i].data), buf_str(&runs[0].data)));
    }
    CHECK(is_good == (runs[0].result == HTTP_CHUNK_END));
    if (is_good)
        CHECK(used == runs[0].used && str_eq(buf_str(&slow), buf_str(&runs[0].data)));
    for (size_t i = 0; i < 3; i++)
        buf_release(&runs[i].data);
    buf_release(&slow);
    return 0;
}
