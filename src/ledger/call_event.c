/* call_event.c -- names of a call event's closed lists, and its byte form:
 *
 *   version 1 | id 16 | fixed numbers, little-endian | eleven texts, each u16 length + bytes
 *
 * Numbers are of fixed width: a few dozen bytes more in a ring cost less than varints per event. */
#include "ledger/call_event.h"

#include "ledger/pack.h"

#include "base/err.h"

#define CALL_EVENT_VERSION 1u
#define CALL_EVENT_TEXTS   11u
#define CALL_EVENT_FIXED                                                                           \
    (1 + 16 + 8 /* ended */ + 7 /* enums and is_stream */ + 3 * 8 /* identities */ +               \
     4 /* http_status */ + 2 * 8 /* times */ + 7 * 8 /* usage */ + 2 * 8 /* money */ + 2 * 4)

static const char *const origin_names[] = {"gateway", "probe", "ingest", "newapi"};
static const char *const kind_names[] = {"call", "attempt", "test", "adjustment"};

static_assert(ARRAY_LEN(origin_names) == CALL_ORIGINS, "a name per origin");
static_assert(ARRAY_LEN(kind_names) == CALL_KINDS, "a name per kind");
static_assert(CALL_TEXT_MAX <= UINT16_MAX, "text lengths take two bytes");
static_assert(OUTCOME_COUNT <= 256 && (int)PROTOCOLS <= 256, "enums take one byte");

const char *call_origin_name(enum call_origin o)
{
    return (unsigned)o < CALL_ORIGINS ? origin_names[o] : "";
}

const char *call_kind_name(enum call_kind k)
{
    return (unsigned)k < CALL_KINDS ? kind_names[k] : "";
}

#define TOKENS_MAX   1000000000000      /* of one counter of one event */
#define MONEY_MAX    1000000000000000   /* nano-USD: a million dollars a call; charge units alike */
#define DURATION_MAX ((int64_t)1 << 40) /* microseconds, 12 days: base/hist.h ends there */
#define ENDED_MAX    253402300799999    /* 9999-12-31T23:59:59.999Z */

static int64_t clamp(int64_t v, int64_t min, int64_t max)
{
    return v < min ? min : v > max ? max : v;
}

void call_event_clamp(struct call_event *e)
{
    struct usage *u = &e->usage;

    e->ended_utc_ms = clamp(e->ended_utc_ms, 0, ENDED_MAX);
    u->input = clamp(u->input, 0, TOKENS_MAX);
    u->cache_read = clamp(u->cache_read, 0, TOKENS_MAX);
    u->cache_write_5m = clamp(u->cache_write_5m, 0, TOKENS_MAX);
    u->cache_write_1h = clamp(u->cache_write_1h, 0, TOKENS_MAX);
    u->output = clamp(u->output, 0, TOKENS_MAX);
    u->reasoning = clamp(u->reasoning, 0, TOKENS_MAX);
    u->unsplit = clamp(u->unsplit, 0, TOKENS_MAX);
    e->cost_nano_usd = clamp(e->cost_nano_usd, -MONEY_MAX, MONEY_MAX);
    e->charge_units = clamp(e->charge_units, -MONEY_MAX, MONEY_MAX);
    e->duration_us = clamp(e->duration_us, 0, DURATION_MAX);
    e->ttft_us = clamp(e->ttft_us, 0, DURATION_MAX);
}

static void texts_of(const struct call_event *e, struct str ret[CALL_EVENT_TEXTS])
{
    const struct str all[CALL_EVENT_TEXTS] = {
        e->source,  e->provider,     e->group,      e->user,
        e->model,   e->served_model, e->request_id, e->upstream_request_id,
        e->command, e->error_class,  e->error_text};

    for (unsigned i = 0; i < CALL_EVENT_TEXTS; i++)
        ret[i] = LIKELY(all[i].len <= CALL_TEXT_MAX) ? all[i] : str_cut_utf8(all[i], CALL_TEXT_MAX);
}

int call_event_encode(const struct call_event *e, struct buf *out)
{
    struct str texts[CALL_EVENT_TEXTS];
    size_t size = CALL_EVENT_FIXED + CALL_EVENT_TEXTS * 2;
    uint8_t *p, *start;
    int rc;

    texts_of(e, texts);
    for (unsigned i = 0; i < CALL_EVENT_TEXTS; i++)
        size += texts[i].len;
    rc = buf_reserve(out, size);
    if (rc < 0)
        return rc;
    p = start = (uint8_t *)out->ptr + out->tail;
    p = pack_u8(p, CALL_EVENT_VERSION);
    p = pack_bytes(p, e->id.bytes, sizeof(e->id.bytes));
    p = pack_i64(p, e->ended_utc_ms);
    p = pack_u8(p, e->origin);
    p = pack_u8(p, e->kind);
    p = pack_u8(p, e->protocol);
    p = pack_u8(p, e->outcome);
    p = pack_u8(p, e->usage_source);
    p = pack_u8(p, e->cost_source);
    p = pack_u8(p, e->is_stream);
    p = pack_i64(p, e->site);
    p = pack_i64(p, e->key_id);
    p = pack_i64(p, e->channel_id);
    p = pack_i32(p, e->http_status);
    p = pack_i64(p, e->duration_us);
    p = pack_i64(p, e->ttft_us);
    p = pack_i64(p, e->usage.input);
    p = pack_i64(p, e->usage.cache_read);
    p = pack_i64(p, e->usage.cache_write_5m);
    p = pack_i64(p, e->usage.cache_write_1h);
    p = pack_i64(p, e->usage.output);
    p = pack_i64(p, e->usage.reasoning);
    p = pack_i64(p, e->usage.unsplit);
    p = pack_i64(p, e->cost_nano_usd);
    p = pack_i64(p, e->charge_units);
    p = pack_i32(p, e->price_version);
    p = pack_i32(p, e->attempts);
    for (unsigned i = 0; i < CALL_EVENT_TEXTS; i++)
        p = pack_text(p, texts[i], 2);
    assert((size_t)(p - start) == size);
    out->tail += size;
    out->ptr[out->tail] = '\0';
    return 0;
}

static void decode_numbers(struct pack_in *in, struct call_event *e)
{
    e->ended_utc_ms = pack_get_i64(in);
    e->origin = (enum call_origin)pack_get_enum(in, CALL_ORIGINS - 1);
    e->kind = (enum call_kind)pack_get_enum(in, CALL_KINDS - 1);
    e->protocol = (enum protocol)pack_get_enum(in, PROTOCOLS - 1);
    e->outcome = (enum outcome)pack_get_enum(in, OUTCOME_COUNT - 1);
    e->usage_source = (enum usage_source)pack_get_enum(in, USAGE_ESTIMATED);
    e->cost_source = (enum cost_source)pack_get_enum(in, COST_ESTIMATED);
    e->is_stream = pack_get_enum(in, 1) != 0;
    e->site = pack_get_i64(in);
    e->key_id = pack_get_i64(in);
    e->channel_id = pack_get_i64(in);
    e->http_status = pack_get_i32(in);
    e->duration_us = pack_get_i64(in);
    e->ttft_us = pack_get_i64(in);
    e->usage.input = pack_get_i64(in);
    e->usage.cache_read = pack_get_i64(in);
    e->usage.cache_write_5m = pack_get_i64(in);
    e->usage.cache_write_1h = pack_get_i64(in);
    e->usage.output = pack_get_i64(in);
    e->usage.reasoning = pack_get_i64(in);
    e->usage.unsplit = pack_get_i64(in);
    e->cost_nano_usd = pack_get_i64(in);
    e->charge_units = pack_get_i64(in);
    e->price_version = pack_get_i32(in);
    e->attempts = pack_get_i32(in);
}

int call_event_decode(struct str bytes, struct call_event *ret, size_t *ret_used)
{
    const uint8_t *start = (const uint8_t *)bytes.ptr;
    struct pack_in in = {.p = start, .end = start ? start + bytes.len : NULL};
    struct call_event e;
    struct str *const texts[CALL_EVENT_TEXTS] = {
        &e.source,  &e.provider,     &e.group,      &e.user,
        &e.model,   &e.served_model, &e.request_id, &e.upstream_request_id,
        &e.command, &e.error_class,  &e.error_text};
    const uint8_t *id;

    if (bytes.len == 0 || pack_get(&in, 1) != CALL_EVENT_VERSION)
        return ERR_SYNTAX;
    id = pack_take(&in, sizeof(e.id.bytes));
    if (id)
        memcpy(e.id.bytes, id, sizeof(e.id.bytes));
    decode_numbers(&in, &e);
    for (unsigned i = 0; i < CALL_EVENT_TEXTS; i++)
        *texts[i] = pack_get_text(&in, 2, CALL_TEXT_MAX);
    if (in.is_bad)
        return ERR_SYNTAX;
    *ret = e;
    *ret_used = (size_t)(in.p - start);
    return 0;
}
