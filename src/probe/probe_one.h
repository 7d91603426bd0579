/* probe_one.h -- one probe: a prompt to one model, whole or streamed, and the verdict on it. */
#pragma once

#include "base/base.h"
#include "catalog/channel.h"
#include "llm/outcome.h"
#include "llm/usage.h"
#include "llm/wire.h"
#include "net/curl_client.h"
#include "probe/probe_call.h"

struct probe_one;

struct probe_result { /* texts are valid inside done() only */
    enum outcome outcome;
    enum protocol protocol; /* the one that was judged */
    int http_status;        /* 0 = no HTTP answer */
    bool transport_success, is_stream;
    utc_ms at_utc_ms; /* of the verdict */
    int64_t duration_us;
    int64_t ttfb_us, ttft_us;                     /* 0 = unknown */
    int64_t ping_us, dns_us, connect_us, tls_us;  /* each phase by itself; 0 = unknown or a pooled connection */
    int attempts;
    struct usage usage;
    enum usage_source usage_source;
    const char *content, *error; /* "" = none */
    const char *served_model, *request_id;
};

struct probe_one_config {
    struct loop *loop;
    struct curl_client *curl;
    const struct channel *channel; /* outlives the probe, as do the texts */
    const char *model;
    enum protocol protocol; /* not NONE */
    const char *user_agent;
    unsigned key_turn;
    /* Exactly once unless cancelled, never inside start; the probe is gone afterwards. */
    void (*done)(void *ctx, struct probe_one *o, const struct probe_result *r);
    void *ctx;
};

struct probe_one *probe_one_start(const struct probe_one_config *cfg);
void probe_one_cancel(struct probe_one *o); /* done() never runs; o is gone */
const char *probe_one_model(const struct probe_one *o);
