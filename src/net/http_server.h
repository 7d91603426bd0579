/* http_server.h -- HTTP/1.1 server on one loop: llhttp in strict mode in front, one exchange at a
 * time per connection (pipelined requests wait in the socket or in 64 KiB of read-ahead).
 *
 * Life of an exchange: on_request(x) is called when the head is complete. The handler may ask for
 * the body, must answer exactly once (http_reply*, or http_start ... http_end, or http_abort), now or
 * later; x and all that hangs on its arena stay valid until then, even when the client left
 * meanwhile (on_gone tells; the answer then goes nowhere, but must still be given to release x). */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/tls.h"

enum http_method { HTTP_GET_, HTTP_HEAD_, HTTP_POST_, HTTP_PUT_, HTTP_PATCH_, HTTP_DELETE_, HTTP_OPTIONS_, HTTP_OTHER_ };

struct http_header {
    struct str name; /* lower case */
    struct str value;
};

struct http_exchange; /* opaque; struct http_request is its readable part */

struct http_request { /* owned by the exchange, read-only for handlers */
    enum http_method method;
    struct str method_text;
    struct str target;   /* as received */
    struct str path;     /* base path taken off, percent-decoded once; begins with '/'; no NUL, no control characters */
    struct str raw_path; /* base path taken off, as received */
    struct str query;    /* raw, without '?' */
    const struct http_header *headers;
    size_t header_count;
    struct str host;       /* validated Host, or X-Forwarded-Host of a trusted proxy */
    struct addr client;    /* peer, or the rightmost untrusted hop behind trusted proxies */
    struct addr peer;
    bool is_https;         /* TLS here, or X-Forwarded-Proto of a trusted proxy */
    bool has_body;         /* Content-Length > 0 or chunked */
    int64_t content_length; /* -1 = chunked or none */
    utc_ms received_utc_ms;
    mono_ms received_mono_ms;
};

struct http_server;

struct http_limits { /* bytes and milliseconds; one row each in the option table */
    size_t request_line_bytes, header_line_bytes, head_bytes, header_count;
    uint64_t head_timeout_ms, body_timeout_ms, keepalive_timeout_ms, write_timeout_ms;
    uint64_t min_rate_bytes; /* per second, averaged over a body after 10 s; 0 = off */
    uint64_t keepalive_requests;
    size_t connections, connections_per_address; /* per process */
    size_t buffer_bytes; /* per process: bodies being collected and answers not yet sent; 0 = 512 MiB */
};

/* Shared by the servers of all loops. */
struct http_shared; /* connection counts, per-address table, draining flag */

struct http_server_config {
    struct http_limits limits;
    struct str base_path; /* "/" or "/x/y/" */
    const struct addr_cidr *trusted_proxies;
    size_t trusted_proxy_count;
    const struct str *allowed_hosts; /* empty = any; else another host gets 421 */
    size_t allowed_host_count;
    struct http_shared *shared;
    void (*on_request)(struct http_exchange *x, void *ctx);
    /* Body of an error the server itself answers (400 408 413 414 417 421 431 501 503 505); `path` may be empty.
     * Sets *ret_type to a static content type. Default without it: text/plain. */
    void (*format_error)(void *ctx, struct str path, int status, const char *text, struct buf *out, const char **ret_type);
    void *ctx;
};

struct http_shared *http_shared_new(const struct http_limits *limits);
void http_shared_free(struct http_shared *s);

struct http_server *http_server_new(struct loop *l, const struct http_server_config *cfg);
/* Take a listening socket (made by listener.h; closed at the end or when draining, on failure it
 * stays the caller's); tls NULL = clear text. */
MUST_USE int http_server_listen(struct http_server *s, int fd, struct tls_server *tls, struct err *reterr);
/* Stop accepting, close idle connections, answer the rest with Connection: close. Owner thread. */
void http_server_drain(struct http_server *s);
size_t http_server_connections(const struct http_server *s);
void http_server_close(struct http_server *s); /* cut everything; memory goes when handles are closed */

/* ---- reading ---- */
const struct http_request *http_request(const struct http_exchange *x);
struct arena *http_arena(struct http_exchange *x); /* dies with the exchange */
struct loop *http_loop(const struct http_exchange *x);
struct str http_get_header(const struct http_exchange *x, const char *lower_name); /* first, or STR_NONE */
/* Decoded query parameter in the arena; false when absent (or undecodable: *ret empty). First one wins. */
bool http_get_query(struct http_exchange *x, const char *name, struct str *ret);
struct str http_get_cookie(const struct http_exchange *x, const char *name);
/* Whole body, at most max bytes (413 by the server itself otherwise, 408 at the deadline); fn is
 * called once, maybe at once; not called when the client leaves before (x is then released by the server
 * itself after on_gone). The body lives in the exchange. */
void http_read_body(struct http_exchange *x, size_t max, void (*fn)(struct http_exchange *x, struct str body, void *ctx), void *ctx);
/* Body in pieces, for uploads; on_data with len 0 is the end. Pause and resume for back-pressure. */
void http_stream_body(struct http_exchange *x, void (*on_data)(struct http_exchange *x, struct str piece, void *ctx), void *ctx);
void http_pause_body(struct http_exchange *x, bool is_paused);
/* The client left (or was cut at a deadline) before the answer ended. The handler still owns x. */
void http_on_gone(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *ctx), void *ctx);
bool http_is_gone(const struct http_exchange *x);

/* ---- answering ---- */
/* Names and values are copied; control characters in them are an assertion. Before the head is sent. */
void http_add_header(struct http_exchange *x, const char *name, struct str value);
void http_add_headerf(struct http_exchange *x, const char *name, const char *fmt, ...) PRINTF(3, 4);
/* Whole answer; bytes are copied as far as the socket does not take them at once. HEAD and 204/304 are honoured. */
void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body);
/* Same, body memory is immutable and outlives the server (embedded assets): never copied. */
void http_reply_static(struct http_exchange *x, int status, const char *content_type, struct str body);
/* Streaming: chunked for HTTP/1.1, until close for 1.0. */
void http_start(struct http_exchange *x, int status, const char *content_type);
/* Returns bytes now waiting for the client; above HTTP_HIGH_WATER the caller shall stop until on_drain. */
#define HTTP_HIGH_WATER (32u * 1024)
size_t http_write(struct http_exchange *x, struct str piece);
void http_on_drain(struct http_exchange *x, void (*fn)(struct http_exchange *x, void *ctx), void *ctx); /* waiting bytes fell to 0 */
size_t http_waiting_bytes(const struct http_exchange *x);
void http_end(struct http_exchange *x);   /* ends the body; x is gone */
void http_abort(struct http_exchange *x); /* cuts the connection so that the client sees an incomplete answer; x is gone */
const char *http_reason(int status);
const char *http_method_name(enum http_method m);
