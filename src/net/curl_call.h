/* curl_call.h -- inside of curl_client: what a client and a call are, and how a call is made ready.
 * For curl_client.c and curl_call.c alone. */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "net/curl_client.h"

#include <curl/curl.h>

#define CURL_IDLE_MAX 64 /* an idle easy handle holds some 6 KiB */

struct curl_client {
    struct loop *loop;
    const struct egress *egress;
    char *ca_file, *proxy;
    CURLM *multi;
    uv_timer_t timer; /* libcurl's deadline */
    uv_timer_t kick;  /* fires at once when `queued` has something */
    unsigned uv_handles;
    unsigned depth; /* > 0: inside libcurl */
    bool is_closing;
    struct list running, queued, dying; /* of struct curl_call */
    CURL *idle[CURL_IDLE_MAX];
    size_t idle_count;
};

#define CURL_CALL_HEAD_MAX       (256u << 10)
#define CURL_CALL_HEAD_LINES_MAX 500u

/* Why we ended a transfer from inside a callback; libcurl only sees a failed write. */
enum curl_stop { CURL_STOP_NONE, CURL_STOP_BY_CALLER, CURL_STOP_BODY, CURL_STOP_TRUNCATED, CURL_STOP_HEAD, CURL_STOP_HEAD_LINES, CURL_STOP_FRAMING, CURL_STOP_LINE_END };

struct curl_call {
    struct list node;
    struct curl_client *client;
    CURL *easy;
    struct curl_slist *headers;
    bool (*on_data)(void *ctx, struct str piece);
    void (*on_done)(void *ctx, const struct curl_answer *a);
    void *ctx;
    unsigned flags;
    uint64_t timeout_ms, connect_timeout_ms;
    size_t max_body_bytes, body_bytes, head_bytes, head_lines;
    bool is_running;   /* in the multi handle */
    bool is_cancelled; /* by curl_call_cancel(): nothing may be called any more */
    bool has_proxy, has_length, has_transfer_encoding;
    enum curl_stop stop;
    int socket_errno;
    struct err denied; /* code 0 = the guard refused nothing */
    struct buf body;
    struct curl_answer answer; /* fault and error are set early when it could not start */
    char detail[CURL_ERROR_SIZE];
};

/* Check the request and set up call->easy; else call->answer has the fault. */
void curl_call_prepare(struct curl_call *call, const struct curl_request *r);
