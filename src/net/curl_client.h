/* curl_client.h -- outbound HTTP by libcurl's multi_socket on a loop: probes, webhooks, HTTP/2 or
 * proxied upstreams. One client per loop, long-lived, with pooled connections. Options fixed here
 * after measurement: CAPATH NULL + one CA file (a new TLS connection costs 0.25 ms instead of
 * 15 ms), NOSIGNAL, empty Expect, redirects not followed, http/https only, decoded size capped. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "net/egress.h"
#include "net/loop.h"

struct curl_client;
struct curl_call;

/* Why no usable answer came. */
enum curl_fault {
    CURL_FAULT_NONE,
    CURL_FAULT_DNS,
    CURL_FAULT_CONNECT,   /* refused, unreachable, reset before an answer */
    CURL_FAULT_TLS,       /* handshake or certificate */
    CURL_FAULT_TIMEOUT,   /* connect or total deadline */
    CURL_FAULT_RESET,     /* broke after the first byte of the answer */
    CURL_FAULT_PROTO,     /* not HTTP, bad or ambiguous framing, bad encoding */
    CURL_FAULT_TOO_LARGE, /* body past max_body_bytes, head past 256 KiB */
    CURL_FAULT_EGRESS,    /* refused by the guard */
    CURL_FAULT_URL,       /* unusable URL, header, method or proxy */
    CURL_FAULT_CANCELLED, /* by on_data */
};

struct curl_client_config {
    const struct egress *egress; /* outlives the client; never NULL */
    const char *ca_file;         /* NULL = libcurl's */
    const char *proxy;    /* NULL or "" = none; environment proxies are ignored */
    long max_connections; /* pool size, idle ones included */
};

struct curl_timing { /* microseconds since the start; 0 = not reached */
    int64_t dns_us, connect_us, tls_us, first_byte_us, total_us;
    bool is_reused; /* connection came from the pool */
};

struct curl_answer { /* borrowed, valid inside on_done only */
    enum curl_fault fault;
    char error[256];     /* "" unless fault; no secrets: the URL's query is left out */
    int status;          /* 0 = no HTTP answer */
    struct str body;     /* what was collected (empty when on_data took it) */
    bool is_truncated;   /* body cut at max_body_bytes (only with CURL_CALL_TRUNCATE) */
    struct str content_type;
    struct str request_id;  /* x-oneapi-request-id, else x-request-id, else request-id */
    struct str retry_after; /* header as sent, "" = none */
    struct str location;
    struct curl_timing timing;
};

#define CURL_CALL_VERIFY     1u /* check certificate and host name */
#define CURL_CALL_PRIVATE_OK 2u /* loopback and private ranges allowed by the guard (a configured proxy may always lie there) */
#define CURL_CALL_TRUNCATE   4u /* past max_body_bytes keep what came instead of failing */
#define CURL_CALL_FRESH      8u /* a new connection (when connect time is what is measured) */
#define CURL_CALL_HTTP1      16u

struct curl_request {
    const char *method; /* "GET", "POST", ... */
    const char *url;
    /* "Name: value" lines, NULL-terminated, or NULL; control characters, Content-Length and
     * Transfer-Encoding are refused. Copied like all text here. */
    const char *const *headers;
    struct str body;             /* copied */
    uint64_t timeout_ms;         /* whole exchange; 0 = 60 s */
    uint64_t connect_timeout_ms; /* name, TCP and TLS; 0 = 10 s */
    size_t max_body_bytes;       /* 0 = 1 MiB */
    unsigned flags;
    const char *proxy; /* "http://", "https://", "socks5://" or "socks5h://"; NULL = the client's, "" = none */
    /* Optional: pieces of a 2xx body as they come (decoded); false cancels. Collected otherwise. It
     * may start and cancel calls. max_body_bytes bounds their sum. */
    bool (*on_data)(void *ctx, struct str piece);
    void (*on_done)(void *ctx, const struct curl_answer *a); /* exactly once unless cancelled */
    void *ctx;
};

MUST_USE int curl_client_global_init(void); /* once, before threads */
MUST_USE int curl_client_new(struct loop *l, const struct curl_client_config *cfg, struct curl_client **ret, struct err *reterr);
/* Cancels what runs (callbacks never come), closes the pool; memory goes at the end of the turn. */
void curl_client_free(struct curl_client *c);
/* Never calls back before it returns; failures to start are delivered by on_done too. Never NULL. */
struct curl_call *curl_client_start(struct curl_client *c, const struct curl_request *r);
void curl_call_cancel(struct curl_call *call); /* on_done never runs; the handle is gone */
const char *curl_fault_name(enum curl_fault f);
