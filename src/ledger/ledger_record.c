/* ledger_record.c -- encodes and decodes ledger records; the call event itself is call_event.c's.
 */
#include "ledger/ledger_record.h"

#include "ledger/pack.h"

#include "base/err.h"
#include "net/spool.h"

#define LEDGER_RECORD_VERSION 1u
#define PROBE_TEXTS           7u
#define PROBE_FIXED           (1 + 4 * 8 + 3 + 5 * 8 + 4)
#define RUN_TEXTS             5u
#define RUN_FIXED             (4 * 8 + 3 * 4)

static_assert(LEDGER_RECORD_MAX <= SPOOL_RECORD_MAX, "a record fits the spool");
static_assert(PROBE_TEXTS * (LEDGER_RECORD_TEXT_MAX + 4) + 16 * 1024 <= LEDGER_RECORD_MAX,
              "a probe with all texts full fits a record");

static size_t cut_texts(struct str *texts, unsigned count)
{
    size_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        if (UNLIKELY(texts[i].len > LEDGER_RECORD_TEXT_MAX))
            texts[i] = str_cut_utf8(texts[i], LEDGER_RECORD_TEXT_MAX);
        sum += 4 + texts[i].len;
    }
    return sum;
}

static uint8_t *begin(struct buf *out, size_t size)
{
    return buf_reserve(out, size) < 0 ? NULL : (uint8_t *)out->ptr + out->tail;
}

static void end(struct buf *out, const uint8_t *p)
{
    out->tail = (size_t)(p - (const uint8_t *)out->ptr);
    out->ptr[out->tail] = '\0';
}

static int encode_probe(const struct ledger_probe *d, struct buf *out)
{
    struct str texts[PROBE_TEXTS] = {d->route,      d->endpoint, d->family, d->sub_status,
                                     d->tool_calls, d->content,  d->error};
    uint8_t *p = begin(out, PROBE_FIXED + cut_texts(texts, PROBE_TEXTS));

    if (!p)
        return ERR_LIMIT;
    p = pack_u8(p, d->item_kind != 0);
    p = pack_i64(p, d->id);
    p = pack_i64(p, d->item_id);
    p = pack_i64(p, d->run_id);
    p = pack_i64(p, d->at_utc_ms);
    p = pack_u8(p, d->success);
    p = pack_u8(p, d->transport_success);
    p = pack_u8(p, d->status);
    p = pack_i64(p, d->ttfb_us);
    p = pack_i64(p, d->ping_us);
    p = pack_i64(p, d->dns_us);
    p = pack_i64(p, d->connect_us);
    p = pack_i64(p, d->tls_us);
    p = pack_i32(p, d->tool_calls_count);
    for (unsigned i = 0; i < PROBE_TEXTS; i++)
        p = pack_text(p, texts[i], 4);
    end(out, p);
    return 0;
}

static void decode_probe(struct pack_in *in, struct ledger_probe *d)
{
    struct str *const texts[PROBE_TEXTS] = {&d->route,      &d->endpoint,   &d->family,
                                            &d->sub_status, &d->tool_calls, &d->content,
                                            &d->error};

    d->item_kind = (int)pack_get_enum(in, 1);
    d->id = pack_get_i64(in);
    d->item_id = pack_get_i64(in);
    d->run_id = pack_get_i64(in);
    d->at_utc_ms = pack_get_i64(in);
    d->success = pack_get_enum(in, 1) != 0;
    d->transport_success = pack_get_enum(in, 1) != 0;
    d->status = (uint8_t)pack_get_enum(in, 2); /* 0..2 */
    d->ttfb_us = pack_get_i64(in);
    d->ping_us = pack_get_i64(in);
    d->dns_us = pack_get_i64(in);
    d->connect_us = pack_get_i64(in);
    d->tls_us = pack_get_i64(in);
    d->tool_calls_count = pack_get_i32(in);
    for (unsigned i = 0; i < PROBE_TEXTS; i++)
        *texts[i] = pack_get_text(in, 4, LEDGER_RECORD_TEXT_MAX);
}

static int encode_run(const struct ledger_run *r, struct buf *out)
{
    struct str texts[RUN_TEXTS] = {r->status, r->channel_status, r->log_file, r->error, r->cause};
    uint8_t *p = begin(out, RUN_FIXED + cut_texts(texts, RUN_TEXTS));

    if (!p)
        return ERR_LIMIT;
    p = pack_i64(p, r->id);
    p = pack_i64(p, r->channel_id);
    p = pack_i64(p, r->started_utc_ms);
    p = pack_i64(p, r->finished_utc_ms);
    p = pack_i32(p, r->total);
    p = pack_i32(p, r->success);
    p = pack_i32(p, r->fail);
    for (unsigned i = 0; i < RUN_TEXTS; i++)
        p = pack_text(p, texts[i], 4);
    end(out, p);
    return 0;
}

static void decode_run(struct pack_in *in, struct ledger_run *r)
{
    struct str *const texts[RUN_TEXTS] = {&r->status, &r->channel_status, &r->log_file, &r->error,
                                          &r->cause};

    r->id = pack_get_i64(in);
    r->channel_id = pack_get_i64(in);
    r->started_utc_ms = pack_get_i64(in);
    r->finished_utc_ms = pack_get_i64(in);
    r->total = pack_get_i32(in);
    r->success = pack_get_i32(in);
    r->fail = pack_get_i32(in);
    for (unsigned i = 0; i < RUN_TEXTS; i++)
        *texts[i] = pack_get_text(in, 4, LEDGER_RECORD_TEXT_MAX);
}

int ledger_record_encode(const struct ledger_record *r, struct buf *out)
{
    uint8_t *p = begin(out, 2);
    int rc = 0;

    if (!p)
        return ERR_LIMIT;
    p = pack_u8(p, LEDGER_RECORD_VERSION);
    p = pack_u8(p, r->kind);
    end(out, p);
    if (r->kind == LEDGER_RUN)
        return encode_run(&r->run, out);
    rc = call_event_encode(&r->call, out);
    if (rc == 0 && r->kind == LEDGER_PROBE)
        rc = encode_probe(&r->probe, out);
    return rc;
}

int ledger_record_decode(struct str bytes, struct ledger_record *ret)
{
    const uint8_t *start = (const uint8_t *)bytes.ptr;
    struct pack_in in = {.p = start, .end = start ? start + bytes.len : NULL};
    unsigned kind;
    size_t used;

    if (bytes.len == 0 || pack_get(&in, 1) != LEDGER_RECORD_VERSION)
        return ERR_SYNTAX;
    kind = pack_get_enum(&in, LEDGER_RUN);
    if (in.is_bad)
        return ERR_SYNTAX;
    ret->kind = (enum ledger_kind)kind;
    ret->seq = 0;
    if (kind == LEDGER_RUN) {
        decode_run(&in, &ret->run);
        return in.is_bad || in.p != in.end ? ERR_SYNTAX : 0;
    }
    if (call_event_decode(str_n((const char *)in.p, (size_t)(in.end - in.p)), &ret->call, &used) <
        0)
        return ERR_SYNTAX;
    in.p += used;
    if (kind == LEDGER_PROBE)
        decode_probe(&in, &ret->probe);
    return in.is_bad || in.p != in.end ? ERR_SYNTAX : 0;
}
