/* probe_list.c -- see probe_list.h. */
#include "probe/probe_list.h"

#include "llm/endpoint.h"
#include "llm/wire.h"
#include "probe/probe_call.h"

#define FIRST_IDS 64

static void take_id(void *ctx, struct str id)
{
    struct probe_list *l = ctx;

    if (id.len > PROBE_LIST_ID_MAX || str_has_control(id) || l->count == PROBE_LIST_MAX) {
        l->unusable++;
        return;
    }
    /* grows by doubling: room is a power of two, at least FIRST_IDS */
    if (l->count == 0 || (l->count >= FIRST_IDS && (l->count & (l->count - 1)) == 0)) {
        char **more = arena_alloc(&l->arena, MAX(l->count * 2, (size_t)FIRST_IDS) * sizeof(char *));

        if (l->count > 0)
            memcpy(more, l->ids, l->count * sizeof(char *));
        l->ids = more;
    }
    l->ids[l->count++] = arena_cstr(&l->arena, id);
}

static int bad_status(struct probe_list *l, const struct curl_answer *a)
{
    struct wire_reply reply;
    char text[WIRE_ERROR_MAX], redirect[400];

    if (probe_call_redirect(a, redirect, sizeof(redirect)))
        return err_set(&l->err, ERR_IO, "GET /v1/models failed: HTTP %d - %s", a->status, redirect);
    reply = (struct wire_reply){.usage_source = USAGE_NONE};
    wire_read_error(a->body, &reply);
    (void)wire_judge(a->status, a->body, &reply, false, text);
    return err_set(&l->err, ERR_IO, "GET /v1/models failed: HTTP %d - %s", a->status,
                   (const char *)memchr(text, ':', sizeof(text)) + 2); /* "HTTP 500: <msg>" */
}

static int read_answer(struct probe_list *l, const struct curl_answer *a)
{
    if (a->fault != CURL_FAULT_NONE) {
        char text[PROBE_CALL_ERROR_MAX];

        probe_call_failure("GET", l->url, a, text);
        return err_set(&l->err, ERR_IO, "GET /v1/models failed: %s", text);
    }
    if (a->status != 200)
        return bad_status(l, a);
    if (wire_read_models(a->body, take_id, l, &l->err) < 0)
        return ERR_IO;
    return l->count ? 0 : err_set(&l->err, ERR_IO, "models list is empty");
}

static void on_done(void *ctx, const struct curl_answer *a)
{
    struct probe_list *l = ctx;
    const struct curl_timing *t = &a->timing;

    l->call = NULL;
    if (!t->is_reused && t->connect_us > t->dns_us)
        l->ping_us = t->connect_us - t->dns_us;
    l->rc = read_answer(l, a);
    probe_call_redact(l->channel, l->err.text);
    l->done(l);
}

void probe_list_start(struct probe_list *l)
{
    struct buf url = BUF_INIT(8192);
    struct probe_call_headers headers;
    struct curl_request r = {
        .method = "GET",
        .headers = headers.lines,
        .timeout_ms = probe_call_timeout_ms(l->channel),
        .connect_timeout_ms = PROBE_CALL_CONNECT_MS,
        .max_body_bytes = PROBE_CALL_BODY_MAX,
        .flags = probe_call_flags(l->channel) | CURL_CALL_FRESH, /* the ping of the run */
        .proxy = l->channel->proxy_url,
        .on_done = on_done,
        .ctx = l,
    };

    arena_init(&l->arena);
    if (endpoint_models(str_of(l->channel->base_url), &url) < 0)
        buf_clear(&url); /* thousands of bytes: the client refuses "" and says so */
    l->url = buf_take_cstr(&url, NULL);
    r.url = l->url;
    if (probe_call_headers_init(&headers, l->channel, l->user_agent,
                                probe_call_key(l->channel, l->key_turn), NULL) < 0)
        headers.lines[0] = NULL; /* the upstream will ask for the key */
    l->call = curl_client_start(l->curl, &r);
    probe_call_headers_release(&headers);
}

void probe_list_release(struct probe_list *l)
{
    if (l->call)
        curl_call_cancel(TAKE(l->call));
    arena_release(&l->arena);
    xfree(TAKE(l->url));
    l->ids = NULL;
    l->count = 0;
}
