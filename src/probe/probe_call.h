/* probe_call.h -- what the exchanges of a probe have in common: browser-like headers, keys in turn, and
 * how a failed exchange is named. */
#pragma once

#include "catalog/channel.h"
#include "llm/outcome.h"
#include "llm/wire.h"
#include "net/curl_client.h"

#define PROBE_CALL_BODY_MAX   (5u << 20) /* bytes of an answer */
#define PROBE_CALL_CONNECT_MS 10000
#define PROBE_CALL_ERROR_MAX  1024

/* The key of the channel's n-th exchange: api_key, then each of api_keys, then again. */
struct str probe_call_key(const struct channel *ch, unsigned turn);

/* Header lines; hold keys, so they are wiped. */
struct probe_call_headers {
    struct buf text; /* lines, a NUL behind each */
    const char *lines[16];
};
/* `wire` NULL: a GET without a body. 0 or ERR_LIMIT (a key of megabytes). */
MUST_USE int probe_call_headers_init(struct probe_call_headers *h, const struct channel *ch, const char *user_agent,
                                     struct str key, const struct wire *wire);
void probe_call_headers_release(struct probe_call_headers *h);

uint64_t probe_call_timeout_ms(const struct channel *ch);
/* Upstreams repeat the key they refuse: no text of theirs is kept before it went through here. */
void probe_call_redact(const struct channel *ch, char *text);
unsigned probe_call_flags(const struct channel *ch);

enum outcome probe_call_outcome(const struct curl_answer *a); /* a->fault is not NONE */
/* "HTTP POST <url> failed (<n>ms): <cause>", cut on a character boundary. */
void probe_call_failure(const char *method, const char *url, const struct curl_answer *a,
                        char out[PROBE_CALL_ERROR_MAX]);
/* 3xx: "redirects are not followed (to <location without query>)"; false for another status. */
bool probe_call_redirect(const struct curl_answer *a, char *out, size_t cap);
