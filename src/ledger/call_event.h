/* call_event.h -- an LLM call that ended: the one record that every producer fills and that every
 * page, statistic, alert, metric and report reads what was made of. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/id128.h"
#include "base/str.h"
#include "llm/outcome.h"
#include "llm/protocol.h"
#include "llm/usage.h"

/* Stored numbers; rows are only ever added at the end. */
enum call_origin { CALL_GATEWAY, CALL_PROBE, CALL_INGEST, CALL_NEWAPI, CALL_ORIGINS };
enum call_kind { CALL_KIND_CALL, CALL_KIND_ATTEMPT, CALL_KIND_TEST, CALL_KIND_ADJUSTMENT, CALL_KINDS };

struct call_event {
    struct id128 id;       /* zero: ledger_put() gives one */
    utc_ms ended_utc_ms;
    enum call_origin origin;
    enum call_kind kind;
    int64_t site;          /* 0 = this installation, else a configured new-api */
    int64_t key_id, channel_id; /* (site, id); 0 = none */
    enum protocol protocol;
    enum outcome outcome;
    int http_status;       /* 0 = no HTTP answer */
    bool is_stream;
    int64_t duration_us;
    int64_t ttft_us;       /* 0 = unknown */
    struct usage usage;
    enum usage_source usage_source;
    nano_usd cost_nano_usd;
    enum cost_source cost_source;
    int64_t charge_units;  /* foreign quota as read, signed */
    int32_t price_version;
    int32_t attempts;
    /* Texts are borrowed; ledger_put() copies them, each cut at CALL_TEXT_MAX bytes. */
    struct str source, provider, group, user, model, served_model, request_id, upstream_request_id, command, error_class, error_text;
};
#define CALL_TEXT_MAX 512

/* Byte form for rings and spool: version byte, fixed part, texts; independent of padding. */
MUST_USE int call_event_encode(const struct call_event *e, struct buf *out);
/* Texts point into bytes. 0 or ERR_SYNTAX; *ret_used = bytes taken. */
MUST_USE int call_event_decode(struct str bytes, struct call_event *ret, size_t *ret_used);
/* Numbers into the range that sums can take: SQLite would turn an overflowing sum into a float. */
void call_event_clamp(struct call_event *e);
const char *call_origin_name(enum call_origin o); /* "gateway" */
const char *call_kind_name(enum call_kind k);
