/* sim_wire.c -- a reply as bytes with delays; well framed, or broken as the fault says. */
#include "sim.h"

#include <zlib.h>

#define BLOCK_BYTES (64u << 10)
#define BOMB_BLOCK  (1u << 20)

void sim_wire_init(struct sim_wire *w)
{
    *w = (struct sim_wire){.bytes = BUF_INIT(SIM_BODY_MAX + (16u << 20)), .tail = BUF_INIT(1000)};
}

void sim_wire_release(struct sim_wire *w)
{
    buf_release(&w->bytes);
    buf_release(&w->tail);
    xfree(w->pieces);
}

/* All bytes since the last piece are one more. */
static void add_piece(struct sim_wire *w, uint64_t delay_ms)
{
    if (w->piece_count == w->piece_capacity) {
        w->piece_capacity = w->piece_capacity ? w->piece_capacity * 2 : 16;
        w->pieces = xrealloc(w->pieces, w->piece_capacity * sizeof(*w->pieces));
    }
    w->pieces[w->piece_count++] = (struct sim_piece){buf_len(&w->bytes), delay_ms};
}

static uint64_t pace(const struct sim_call *c, size_t i)
{
    return c->b.pace_ms + (c->b.jitter_ms ? (c->number * 7919 + i * 104729) % (c->b.jitter_ms + 1) : 0);
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 302:
        return "Found";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static bool is_chunked(const struct sim_call *c, const struct sim_reply *r)
{
    switch (c->b.fault) {
    case SIM_FAULT_CHUNK_CUT:
    case SIM_FAULT_CHUNK_BAD:
    case SIM_FAULT_NO_LAST_CHUNK:
    case SIM_FAULT_TE_CL:
    case SIM_FAULT_ENDLESS:
    case SIM_FAULT_GIANT_LINE:
        return true;
    case SIM_FAULT_BIG_BODY:
    case SIM_FAULT_GZIP:
    case SIM_FAULT_GZIP_BOMB:
    case SIM_FAULT_LENGTH_OVER:
    case SIM_FAULT_LENGTH_UNDER:
    case SIM_FAULT_TWO_LENGTHS:
        return false;
    default: /* over the whole table of faults on purpose: the others leave the framing alone */
        return r->is_stream;
    }
}

static void put_many_headers(struct buf *b)
{
    for (int i = 0; i < 10000; i++)
        buf_putf(b, "X-Header-%05d: value\r\n", i);
}

static void put_long_header(struct buf *b)
{
    char kib[1024];

    memset(kib, 'h', sizeof(kib));
    buf_put(b, STR("X-Long: "));
    for (int i = 0; i < 1024; i++)
        buf_put(b, str_n(kib, sizeof(kib)));
    buf_put(b, STR("\r\n"));
}

/* Status line and headers but those of the framing. */
static void put_head(struct sim_wire *w, const struct sim_call *c, const struct sim_reply *r)
{
    struct buf *b = &w->bytes;

    if (c->b.fault == SIM_FAULT_EARLY_HINTS)
        buf_put(b, STR("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"));
    if (c->b.fault == SIM_FAULT_BAD_STATUS)
        buf_put(b, STR("HTTP/1.1 2xx Fine\r\n"));
    else
        buf_putf(b, "HTTP/1.1 %d %s\r\n", r->status, reason(r->status));
    buf_putf(b, "Content-Type: %s\r\n", r->type);
    if (r->is_stream)
        buf_put(b, STR("Cache-Control: no-cache\r\n"));
    buf_put(b, buf_str(&r->headers));
    if (c->b.fault == SIM_FAULT_HEADER_1M)
        put_long_header(b);
    if (c->b.fault == SIM_FAULT_HEADERS_10K)
        put_many_headers(b);
    if (w->end != SIM_KEEP || c->is_last)
        buf_put(b, STR("Connection: close\r\n"));
}

static void put_chunk(struct buf *b, struct str data)
{
    if (data.len == 0)
        return;
    buf_putf(b, "%zx\r\n", data.len);
    buf_put(b, data);
    buf_put(b, STR("\r\n"));
}

static void put_chunks(struct sim_wire *w, const struct sim_call *c, const struct sim_reply *r)
{
    struct str body = buf_str(&r->body);
    size_t from = 0;

    for (size_t i = 0; i < r->event_count; i++) {
        put_chunk(&w->bytes, str_cut(body, from, r->events[i].end - from));
        add_piece(w, pace(c, i));
        from = r->events[i].end;
    }
    put_chunk(&w->bytes, str_cut(body, from, body.len));
    if (c->b.fault == SIM_FAULT_CHUNK_CUT)
        buf_put(&w->bytes, STR("1000\r\nonly a few bytes of a chunk"));
    else if (c->b.fault == SIM_FAULT_CHUNK_BAD)
        buf_put(&w->bytes, STR("zz\r\nbroken\r\n0\r\n\r\n"));
    else if (c->b.fault != SIM_FAULT_NO_LAST_CHUNK && c->b.fault != SIM_FAULT_ENDLESS && c->b.fault != SIM_FAULT_GIANT_LINE)
        buf_put(&w->bytes, STR("0\r\n\r\n"));
    add_piece(w, 0);
}

/* ---- large things, made block by block ---- */

static struct str filled_block(struct sim_call *c, size_t head, size_t fill, size_t tail, char with)
{
    char *p = arena_alloc(&c->arena, head + fill + tail);

    memset(p + head, with, fill);
    return str_n(p, head + fill + tail);
}

static void big_body(struct sim_wire *w, struct sim_call *c)
{
    uint64_t size = c->b.size ? c->b.size : 10ull << 30;

    w->block = filled_block(c, 0, BLOCK_BYTES, 0, 'x');
    w->block_count = size / BLOCK_BYTES;
    buf_putf(&w->bytes, "Content-Length: %llu\r\n\r\n", (unsigned long long)(w->block_count * BLOCK_BYTES));
    add_piece(w, c->b.delay_ms);
}

static void giant_line(struct sim_wire *w, struct sim_call *c)
{
    uint64_t size = c->b.size ? c->b.size : 64u << 20;
    struct str block = filled_block(c, 7, BLOCK_BYTES, 2, 'x');
    char *p = arena_alloc(&c->arena, block.len);

    memcpy(p, block.ptr, block.len);
    memcpy(p, "10000\r\n", 7);
    memcpy(p + 7 + BLOCK_BYTES, "\r\n", 2);
    put_chunk(&w->bytes, STR("data: "));
    add_piece(w, 0);
    w->block = str_n(p, block.len);
    w->block_count = size / BLOCK_BYTES;
    buf_put(&w->tail, STR("2\r\n\n\n\r\n0\r\n\r\n"));
}

static void endless(struct sim_wire *w, struct sim_call *c, const struct sim_reply *r)
{
    struct buf b = BUF_INIT(1 << 20);
    size_t from = r->event_count > 2 ? r->events[1].end : 0;
    size_t end = r->event_count > 2 ? r->events[2].end : 0;

    put_chunk(&b, end > from ? str_cut(buf_str(&r->body), from, end - from) : STR("data: {}\n\n"));
    w->block = arena_str(&c->arena, buf_str(&b));
    w->block_count = UINT64_MAX;
    w->block_delay_ms = c->b.pace_ms;
    buf_release(&b);
}

static size_t deflate_some(const void *in, size_t n, bool with_gzip, int flush, char *out, size_t out_size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)n, .next_out = (Bytef *)out, .avail_out = (uInt)out_size};
    size_t got;

    if (deflateInit2(&z, 9, Z_DEFLATED, with_gzip ? 31 : -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    deflate(&z, flush);
    got = z.total_out;
    deflateEnd(&z);
    return got;
}

static void gzip(struct sim_wire *w, const struct sim_call *c, struct str body)
{
    size_t size = body.len + body.len / 100 + 1000;
    CLEANUP(xfree_charp) char *out = xmalloc(size);
    size_t n = deflate_some(body.ptr, body.len, true, Z_FINISH, out, size);

    buf_putf(&w->bytes, "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", n);
    add_piece(w, c->b.delay_ms);
    buf_put(&w->bytes, str_n(out, n));
    add_piece(w, 0);
}

/* Deflate blocks end at byte borders and know nothing of each other after a full flush, so one
 * compressed mebibyte of zeros can be sent as often as one likes; only the checksum is worked out. */
static void gzip_bomb(struct sim_wire *w, struct sim_call *c)
{
    static const char head[10] = {'\x1f', '\x8b', 8, 0, 0, 0, 0, 0, 2, 3};
    uint64_t count = (c->b.size ? c->b.size : 1ull << 30) / BOMB_BLOCK;
    CLEANUP(xfree_charp) char *zeros = xcalloc(1, BOMB_BLOCK);
    char *block = arena_alloc(&c->arena, BLOCK_BYTES), last[8];
    size_t n = deflate_some(zeros, BOMB_BLOCK, false, Z_FULL_FLUSH, block, BLOCK_BYTES);
    size_t last_n = deflate_some(zeros, 0, false, Z_FINISH, last, sizeof(last));
    uLong one = crc32(0, (const Bytef *)zeros, BOMB_BLOCK), all = crc32(0, NULL, 0);
    uint32_t trailer[2];

    for (uint64_t i = 0; i < count; i++)
        all = crc32_combine(all, one, BOMB_BLOCK);
    trailer[0] = (uint32_t)all;                  /* 32 bits in an unsigned long */
    trailer[1] = (uint32_t)(count * BOMB_BLOCK); /* modulo 2^32, RFC 1952 */
    buf_putf(&w->bytes, "Content-Encoding: gzip\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)(10 + count * n + last_n + 8));
    buf_put(&w->bytes, str_n(head, sizeof(head)));
    add_piece(w, c->b.delay_ms);
    w->block = str_n(block, n);
    w->block_count = count;
    buf_put(&w->tail, str_n(last, last_n));
    buf_put(&w->tail, str_n((const char *)trailer, sizeof(trailer))); /* little-endian hosts only, as are our tests */
}

/* ---- framing ---- */

static void put_with_length(struct sim_wire *w, const struct sim_call *c, const struct sim_reply *r)
{
    size_t n = buf_len(&r->body), told = n;

    if (c->b.fault == SIM_FAULT_LENGTH_OVER)
        told = n + 100;
    if (c->b.fault == SIM_FAULT_LENGTH_UNDER)
        told = n - MIN(n, (size_t)5);
    if (c->b.fault == SIM_FAULT_GZIP_INVALID)
        buf_put(&w->bytes, STR("Content-Encoding: gzip\r\n"));
    buf_putf(&w->bytes, "Content-Length: %zu\r\n", told);
    if (c->b.fault == SIM_FAULT_TWO_LENGTHS)
        buf_putf(&w->bytes, "Content-Length: %zu\r\n", told + 7);
    buf_put(&w->bytes, STR("\r\n"));
    if (!str_eq(c->method, STR("HEAD")))
        buf_put(&w->bytes, buf_str(&r->body));
    add_piece(w, c->b.delay_ms);
}

static void to_lf_only(struct sim_wire *w)
{
    size_t n = 0, len = buf_len(&w->bytes);
    char *p = w->bytes.ptr + w->bytes.head;

    for (size_t i = 0; i < len; i++)
        if (p[i] != '\r' || i + 1 == len || p[i + 1] != '\n')
            p[n++] = p[i];
    w->bytes.tail = w->bytes.head + n;
    w->piece_count = 0;
}

/* The piece that holds byte `at` is parted there. */
static void part_at(struct sim_wire *w, size_t at)
{
    size_t i = 0;

    while (i < w->piece_count && w->pieces[i].end < at)
        i++;
    if (i == w->piece_count || w->pieces[i].end == at)
        return;
    add_piece(w, 0); /* room for one more; its content is moved in */
    memmove(&w->pieces[i + 1], &w->pieces[i], (w->piece_count - 1 - i) * sizeof(*w->pieces));
    w->pieces[i].end = at;
    w->pieces[i + 1].delay_ms = 0;
}

/* The answer stops behind byte `at`: the connection ends there, or hangs before the rest. */
static void stop_at(struct sim_wire *w, size_t at, bool is_hang)
{
    size_t i = 0;

    at = MIN(at, buf_len(&w->bytes));
    if (at > 0)
        part_at(w, at);
    while (at > 0 && i < w->piece_count && w->pieces[i].end <= at)
        i++;
    if (is_hang) {
        if (i == w->piece_count)
            add_piece(w, 0);
        w->pieces[i].delay_ms = SIM_HANG;
        return;
    }
    w->piece_count = i;
    w->block_count = 0;
    buf_clear(&w->tail);
}

static enum sim_end end_of(enum sim_fault fault)
{
    switch (fault) {
    case SIM_FAULT_RESET:
        return SIM_RESET;
    case SIM_FAULT_CLOSE:
    case SIM_FAULT_GARBAGE:
    case SIM_FAULT_BAD_STATUS:
    case SIM_FAULT_HTTP09:
    case SIM_FAULT_LF_ONLY:
    case SIM_FAULT_TE_CL:
    case SIM_FAULT_TWO_LENGTHS:
    case SIM_FAULT_LENGTH_OVER:
    case SIM_FAULT_CHUNK_CUT:
    case SIM_FAULT_CHUNK_BAD:
    case SIM_FAULT_NO_LAST_CHUNK:
    case SIM_FAULT_HEADER_1M:
    case SIM_FAULT_HEADERS_10K:
        return SIM_CLOSE;
    default: /* over the whole table of faults on purpose: the others keep the connection */
        return SIM_KEEP;
    }
}

static void put_answer(struct sim_wire *w, struct sim_call *c, const struct sim_reply *r)
{
    put_head(w, c, r);
    if (c->b.fault == SIM_FAULT_BIG_BODY) {
        big_body(w, c);
    } else if (c->b.fault == SIM_FAULT_GZIP_BOMB) {
        gzip_bomb(w, c);
    } else if (c->b.fault == SIM_FAULT_GZIP) {
        gzip(w, c, buf_str(&r->body));
    } else if (is_chunked(c, r)) {
        if (c->b.fault == SIM_FAULT_TE_CL)
            buf_put(&w->bytes, STR("Content-Length: 6\r\n"));
        buf_put(&w->bytes, STR("Transfer-Encoding: chunked\r\n\r\n"));
        add_piece(w, c->b.delay_ms);
        if (c->b.fault == SIM_FAULT_GIANT_LINE) {
            giant_line(w, c);
            return;
        }
        put_chunks(w, c, r);
        if (c->b.fault == SIM_FAULT_ENDLESS)
            endless(w, c, r);
    } else {
        put_with_length(w, c, r);
    }
}

void sim_wire_frame(struct sim_wire *w, const struct sim_call *call, const struct sim_reply *r)
{
    struct sim_call *c = (struct sim_call *)(uintptr_t)call; /* blocks go to its arena */
    size_t head;

    w->end = end_of(c->b.fault);
    if (c->b.fault == SIM_FAULT_GARBAGE || c->b.fault == SIM_FAULT_HTTP09) {
        buf_put(&w->bytes, c->b.fault == SIM_FAULT_HTTP09 ? buf_str(&r->body) : STR("\x16\x03\x01\x02\0\x01 @@ no HTTP whatsoever\r\n\r\n\r\n"));
        add_piece(w, c->b.delay_ms);
        return;
    }
    put_answer(w, c, r);
    head = (size_t)MAX(str_find_str(buf_str(&w->bytes), STR("\r\n\r\n")), (ssize_t)0) + 4; /* >= 0 */
    if (c->b.fault == SIM_FAULT_LF_ONLY) {
        to_lf_only(w);
        add_piece(w, c->b.delay_ms);
    }
    if (c->b.fault == SIM_FAULT_TWICE) {
        buf_put(&w->bytes, STR("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"model\":\"other\"}"));
        add_piece(w, 0);
    }
    if (c->b.fault == SIM_FAULT_RESET || c->b.fault == SIM_FAULT_CLOSE)
        stop_at(w, c->b.has_at ? (size_t)c->b.at : head + (buf_len(&w->bytes) - head) / 2, false);
    if (c->b.fault == SIM_FAULT_HANG_BODY)
        stop_at(w, c->b.has_at ? (size_t)c->b.at : head + (buf_len(&w->bytes) - head) / 2, true);
    if (c->b.fault == SIM_FAULT_HANG_HEAD)
        stop_at(w, 0, true);
}
