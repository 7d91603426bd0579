/* probe_one.c -- see probe_one.h. A streamed answer is read as it comes: events go to the format's
 * reader, and what turns out to be no stream (a server that ignores "stream") is kept and read
 * whole. A chat probe that is told to use /v1/responses goes there once (spec 1 section 3.3). */
#include "probe/probe_one.h"

#include "base/clock.h"
#include "llm/endpoint.h"
#include "net/sse.h"

#define EVENT_MAX   (1u << 20) /* of a stream; a larger one is skipped */
#define REQUEST_MAX (512u << 10)
#define RAW_KEEP    1024 /* of a stream's bytes, for the error text */

enum body_form { BODY_UNKNOWN, BODY_EVENTS, BODY_WHOLE };

struct probe_one {
    struct probe_one_config cfg; /* owned by the loop, as all of it */
    const struct wire *wire;
    struct curl_call *call;
    char *url;
    uint64_t started_us;
    int attempts;
    /* streams */
    enum body_form form;
    struct sse_parser sse;
    bool has_events;
    struct buf raw;
    int64_t first_token_us, finished_us; /* 0 = not yet */
    struct wire_reply reply;
    char content[WIRE_TEXT_MAX + 64], error[PROBE_CALL_ERROR_MAX], request_id[128];
};

static void begin(struct probe_one *o);

const char *probe_one_model(const struct probe_one *o)
{
    return o->cfg.model;
}

/* ---- streams ---- */

static int64_t since_start_us(const struct probe_one *o)
{
    return (int64_t)MAX(clock_mono_us() - o->started_us, 1u); /* 0 would mean unknown */
}

static bool on_event(void *ctx, const struct sse_event *e)
{
    struct probe_one *o = ctx;

    o->has_events = true;
    if (o->wire->read_event(e->name, e->data, &o->reply) && o->first_token_us == 0)
        o->first_token_us = since_start_us(o);
    if (o->reply.is_finished && o->finished_us == 0)
        o->finished_us = since_start_us(o);
    return true;
}

/* A JSON document begins with a bracket, an event stream never does. */
static enum body_form form_of(struct str piece)
{
    struct str s = str_trim(piece);

    if (s.len == 0)
        return BODY_UNKNOWN;
    return s.ptr[0] == '{' || s.ptr[0] == '[' || s.ptr[0] == '<' ? BODY_WHOLE : BODY_EVENTS;
}

static bool on_data(void *ctx, struct str piece)
{
    struct probe_one *o = ctx;

    if (o->form == BODY_UNKNOWN)
        o->form = form_of(piece);
    if (o->form == BODY_WHOLE)
        return buf_add_str(&o->raw, piece) == 0; /* the client's cap is the smaller one */
    if (buf_len(&o->raw) < RAW_KEEP)
        buf_put(&o->raw, str_cut(piece, 0, RAW_KEEP - buf_len(&o->raw)));
    return sse_parser_feed(&o->sse, piece) == 0;
}

/* ---- the verdict ---- */

static void set_timing(struct probe_result *r, const struct curl_timing *t)
{
    r->duration_us = t->total_us;
    r->ttfb_us = t->first_byte_us;
    if (t->is_reused)
        return;
    r->dns_us = t->dns_us;
    if (t->connect_us > t->dns_us)
        r->ping_us = r->connect_us = t->connect_us - t->dns_us;
    if (t->tls_us > t->connect_us)
        r->tls_us = t->tls_us - t->connect_us;
}

static void note_truncation(struct probe_one *o)
{
    const struct usage *u = &o->reply.usage;

    snprintf(o->content, sizeof(o->content),
             "(cut off by the token limit after %lld output tokens, no text)",
             (long long)(u->output + u->reasoning));
}

static enum outcome judge_answer(struct probe_one *o, const struct curl_answer *a)
{
    bool lenient = o->cfg.channel->lenient;
    struct str body = a->body;
    char text[WIRE_ERROR_MAX], redirect[400];
    enum outcome outcome;

    if (probe_call_redirect(a, redirect, sizeof(redirect))) {
        snprintf(o->error, sizeof(o->error), "HTTP %d: %s", a->status, redirect);
        return OUTCOME_UNEXPECTED_STATUS;
    }
    if (o->form != BODY_UNKNOWN)
        body = buf_str(&o->raw);
    if (o->has_events)
        wire_end_stream(&o->reply);
    else
        o->wire->read_reply(body, lenient, &o->reply);
    outcome = wire_judge(a->status, body, &o->reply, lenient, text);
    str_copy(o->error, sizeof(o->error), str_of(text));
    return outcome;
}

static enum outcome judge(struct probe_one *o, const struct curl_answer *a, struct probe_result *r)
{
    /* a stream that said all it had to say is an answer, whatever the connection did then */
    if (a->fault == CURL_FAULT_NONE || o->finished_us != 0) {
        r->transport_success = true;
        return judge_answer(o, a);
    }
    probe_call_failure("POST", o->url, a, o->error);
    if (a->fault == CURL_FAULT_CANCELLED) /* we did, on bytes that are no event stream */
        return OUTCOME_PROTOCOL;
    return probe_call_outcome(a);
}

static bool wants_responses(const struct probe_one *o, const struct curl_answer *a)
{
    return o->attempts == 1 && o->wire->protocol == PROTOCOL_OPENAI_CHAT && a->status == 400 &&
           strstr(o->error, "/v1/responses") != NULL;
}

static void free_one(void *arg)
{
    struct probe_one *o = arg;

    sse_parser_release(&o->sse);
    buf_release(&o->raw);
    xfree(o->url);
    xfree(o);
}

static void on_done(void *ctx, const struct curl_answer *a)
{
    struct probe_one *o = ctx;
    struct probe_result r = {.protocol = o->wire->protocol, .http_status = a->status};

    o->call = NULL;
    o->content[0] = o->error[0] = '\0';
    r.outcome = judge(o, a, &r);
    if (wants_responses(o, a)) {
        o->wire = wire_of(PROTOCOL_OPENAI_RESPONSES);
        begin(o);
        return;
    }
    if (r.outcome == OUTCOME_TRUNCATED)
        note_truncation(o);
    else if (outcome_is_success(r.outcome))
        str_copy(o->content, sizeof(o->content), str_of(o->reply.text));
    probe_call_redact(o->cfg.channel, o->content);
    probe_call_redact(o->cfg.channel, o->error);
    probe_call_redact(o->cfg.channel, o->reply.model);
    set_timing(&r, &a->timing);
    if (a->fault != CURL_FAULT_NONE && o->finished_us != 0)
        r.duration_us = o->finished_us;
    r.is_stream = o->cfg.channel->stream_probe;
    r.ttft_us = o->first_token_us;
    r.at_utc_ms = clock_utc_ms();
    r.attempts = o->attempts;
    r.usage = o->reply.usage;
    r.usage_source = o->reply.usage_source;
    r.content = o->content;
    r.error = o->error;
    r.served_model = o->reply.model;
    if (str_is_utf8(a->request_id) && !str_has_control(a->request_id))
        str_copy(o->request_id, sizeof(o->request_id), a->request_id);
    r.request_id = o->request_id;
    loop_defer(o->cfg.loop, free_one, o);
    o->cfg.done(o->cfg.ctx, o, &r);
}

/* ---- starting ---- */

static void reset(struct probe_one *o)
{
    sse_parser_release(&o->sse);
    sse_parser_init(&o->sse, EVENT_MAX, on_event, o);
    buf_clear(&o->raw);
    o->reply = (struct wire_reply){.usage_source = USAGE_NONE};
    o->form = BODY_UNKNOWN;
    o->has_events = false;
    o->first_token_us = o->finished_us = 0;
    xfree(TAKE(o->url));
}

static void begin(struct probe_one *o)
{
    const struct channel *ch = o->cfg.channel;
    struct str model = str_of(o->cfg.model);
    struct buf url = BUF_INIT(16384), body = BUF_INIT(REQUEST_MAX);
    struct probe_call_headers headers;
    struct curl_request r = {
        .method = "POST",
        .headers = headers.lines,
        .timeout_ms = probe_call_timeout_ms(ch),
        .connect_timeout_ms = PROBE_CALL_CONNECT_MS,
        .max_body_bytes = PROBE_CALL_BODY_MAX,
        .flags = probe_call_flags(ch),
        .proxy = ch->proxy_url,
        .on_data = ch->stream_probe ? on_data : NULL,
        .on_done = on_done,
        .ctx = o,
    };

    reset(o);
    o->attempts++;
    if (endpoint_generate(str_of(ch->base_url), o->wire->protocol, model, ch->stream_probe, &url) <
            0 ||
        o->wire->probe_body(&body, model, str_of(ch->prompt), ch->stream_probe) < 0)
        buf_clear(&url); /* only fields beyond their bounds: the client refuses "" and says so */
    o->url = buf_take_cstr(&url, NULL);
    r.url = o->url;
    r.body = buf_str(&body);
    if (probe_call_headers_init(&headers, ch, o->cfg.user_agent,
                                probe_call_key(ch, o->cfg.key_turn), o->wire) < 0)
        headers.lines[0] = NULL; /* the upstream will ask for the key */
    o->started_us = clock_mono_us();
    o->call = curl_client_start(o->cfg.curl, &r);
    probe_call_headers_release(&headers);
    buf_release(&body);
}

struct probe_one *probe_one_start(const struct probe_one_config *cfg)
{
    struct probe_one *o = xcalloc(1, sizeof(*o));

    assert(cfg->protocol != PROTOCOL_NONE);
    o->cfg = *cfg;
    o->wire = wire_of(cfg->protocol);
    buf_init(&o->raw, PROBE_CALL_BODY_MAX);
    sse_parser_init(&o->sse, EVENT_MAX, on_event, o);
    begin(o);
    return o;
}

void probe_one_cancel(struct probe_one *o)
{
    if (o->call)
        curl_call_cancel(TAKE(o->call));
    loop_defer(o->cfg.loop, free_one, o);
}
