/* curl_client.c -- libcurl's multi_socket interface on libuv.
 *
 * libcurl tells which sockets and which time it waits for; uv_poll and one uv_timer wait, and
 * drive() hands the event back. Two rules shape the rest: nothing may be added to or removed from a
 * multi handle inside one of its callbacks, so while `depth` > 0 starts wait in `queued` and
 * cancelled calls in `dying` until settle(); and on_done runs from settle() only, outside libcurl,
 * so that it may do everything, freeing the client included. The request is made in curl_call.c, the
 * result named in curl_fault.c. */
#include "net/curl_client.h"

#include "net/curl_call.h"
#include "net/curl_fault.h"

struct sock {
    uv_poll_t poll;
    struct curl_client *client;
    curl_socket_t fd;
};

static void settle(struct curl_client *c);

int curl_client_global_init(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : ERR_INTERNAL;
}

/* ---- life of the client ---- */

static void on_uv_closed(struct curl_client *c)
{
    if (--c->uv_handles > 0)
        return;
    xfree(c->ca_file);
    xfree(c->proxy);
    xfree(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    on_uv_closed(h->data);
}

static void on_sock_closed(uv_handle_t *h)
{
    struct sock *s = h->data;
    struct curl_client *c = s->client;

    xfree(s);
    on_uv_closed(c);
}

static void release_easy(struct curl_client *c, CURL *easy)
{
    if (!easy)
        return;
    if (c->is_closing || c->idle_count == CURL_IDLE_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    c->idle[c->idle_count++] = easy;
}

static void free_call(struct curl_call *call)
{
    list_del(&call->node);
    if (call->is_running)
        (void)curl_multi_remove_handle(call->client->multi, call->easy);
    release_easy(call->client, call->easy);
    curl_slist_free_all(call->headers);
    buf_release(&call->body);
    xfree(call);
}

static void free_calls(struct list *head)
{
    list_for_each(node, head)
        free_call(list_entry(node, struct curl_call, node));
}

static void shut(struct curl_client *c)
{
    free_calls(&c->running);
    free_calls(&c->queued);
    free_calls(&c->dying);
    while (c->idle_count > 0)
        curl_easy_cleanup(c->idle[--c->idle_count]);
    (void)curl_multi_cleanup(c->multi); /* closes the pool; on_socket() closes the uv handles */
    c->multi = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    uv_close((uv_handle_t *)&c->kick, on_timer_closed);
}

void curl_client_free(struct curl_client *c)
{
    if (!c || c->is_closing)
        return;
    c->is_closing = true;
    if (c->depth == 0)
        shut(c); /* else settle() does */
}

/* ---- events ---- */

static void drive(struct curl_client *c, curl_socket_t fd, int flags)
{
    int running;

    c->depth++;
    (void)curl_multi_socket_action(c->multi, fd, flags, &running); /* results come as messages */
    c->depth--;
    settle(c);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct sock *s = h->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    drive(s->client, s->fd, flags);
}

static void arm_timer(struct curl_client *c, long ms);

static void on_timer(uv_timer_t *h)
{
    struct curl_client *c = h->data;
    long ms = -1;

    drive(c, CURL_SOCKET_TIMEOUT, 0);
    /* libcurl keeps silent about a deadline it has named before; should the timer have come a
     * moment early, nobody would wake it again. */
    if (!c->is_closing && !uv_is_active((uv_handle_t *)h) && curl_multi_timeout(c->multi, &ms) == CURLM_OK && ms >= 0)
        arm_timer(c, MAX(ms, 1L));
}

static void arm_timer(struct curl_client *c, long ms)
{
    uv_update_time(loop_uv(c->loop)); /* a stale clock would fire early */
    uv_timer_start(&c->timer, on_timer, ms > 0 ? (uint64_t)ms + 1 : 0, 0);
}

static int on_curl_timer(CURLM *multi, long ms, void *ctx)
{
    struct curl_client *c = ctx;

    if (c->is_closing || ms < 0)
        uv_timer_stop(&c->timer);
    else
        arm_timer(c, ms);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct curl_client *c = ctx;
    struct sock *s = socket_ctx;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

    if (what == CURL_POLL_REMOVE) {
        if (!s)
            return 0;
        (void)curl_multi_assign(c->multi, fd, NULL);
        uv_close((uv_handle_t *)&s->poll, on_sock_closed);
        return 0;
    }
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        s->client = c;
        s->fd = fd;
        if (uv_poll_init(loop_uv(c->loop), &s->poll, fd) < 0) { /* -1 would kill the whole multi; this call meets its deadline */
            xfree(s);
            return 0;
        }
        s->poll.data = s;
        c->uv_handles++;
        (void)curl_multi_assign(c->multi, fd, s);
    }
    uv_poll_start(&s->poll, events, on_poll);
    return 0;
}

/* ---- the end of a call ---- */

static enum curl_fault fault_of_stop(struct curl_call *call)
{
    char *out = call->answer.error;
    size_t size = sizeof(call->answer.error);

    switch (call->stop) {
    case CURL_STOP_NONE:
    case CURL_STOP_TRUNCATED:
        call->answer.is_truncated = call->stop == CURL_STOP_TRUNCATED;
        return CURL_FAULT_NONE;
    case CURL_STOP_BY_CALLER:
        snprintf(out, size, "cancelled");
        return CURL_FAULT_CANCELLED;
    case CURL_STOP_BODY:
        snprintf(out, size, "the answer is larger than %zu bytes", call->max_body_bytes);
        return CURL_FAULT_TOO_LARGE;
    case CURL_STOP_HEAD:
        snprintf(out, size, "the answer's head is larger than %u KiB", CURL_CALL_HEAD_MAX >> 10);
        return CURL_FAULT_TOO_LARGE;
    case CURL_STOP_HEAD_LINES:
        snprintf(out, size, "the answer has too many header lines");
        return CURL_FAULT_TOO_LARGE;
    case CURL_STOP_FRAMING:
        snprintf(out, size, "the answer's length is given twice");
        return CURL_FAULT_PROTO;
    case CURL_STOP_LINE_END:
        snprintf(out, size, "the answer's header lines do not end in CR LF");
        return CURL_FAULT_PROTO;
    }
    return CURL_FAULT_NONE;
}

static void set_fault(struct curl_call *call, CURLcode code)
{
    struct curl_fault_input in = {
        .easy = call->easy,
        .code = code,
        .detail = call->detail,
        .socket_errno = call->socket_errno,
        .timeout_ms = call->timeout_ms,
        .connect_timeout_ms = call->connect_timeout_ms,
        .max_body_bytes = call->max_body_bytes,
    };
    struct curl_answer *a = &call->answer;

    if (call->stop != CURL_STOP_NONE) {
        a->fault = fault_of_stop(call);
    } else if (call->denied.code != 0 && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK)) {
        a->fault = CURL_FAULT_EGRESS;
        snprintf(a->error, sizeof(a->error), "refused: %.200s", call->denied.text);
    } else {
        a->fault = curl_fault_map(&in, a->error, sizeof(a->error));
    }
}

static struct str answer_header(struct curl_call *call, const char *name)
{
    struct curl_header *h;

    return curl_easy_header(call->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? str_of(h->value) : STR_NONE;
}

static void set_timing(struct curl_call *call)
{
    struct curl_timing *t = &call->answer.timing;
    const struct {
        CURLINFO what;
        int64_t *to;
    } rows[] = {
        {CURLINFO_NAMELOOKUP_TIME_T, &t->dns_us},          {CURLINFO_CONNECT_TIME_T, &t->connect_us},
        {CURLINFO_APPCONNECT_TIME_T, &t->tls_us},          {CURLINFO_STARTTRANSFER_TIME_T, &t->first_byte_us},
        {CURLINFO_TOTAL_TIME_T, &t->total_us},
    };
    long connects = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        curl_off_t v = 0;

        if (curl_easy_getinfo(call->easy, rows[i].what, &v) == CURLE_OK)
            *rows[i].to = v;
    }
    (void)curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
    t->is_reused = connects == 0 && call->answer.status != 0;
    if (t->is_reused)
        t->dns_us = t->connect_us = t->tls_us = 0;
}

static void finish(struct curl_call *call, CURLcode code)
{
    struct curl_answer *a = &call->answer;
    long status = 0;

    (void)curl_multi_remove_handle(call->client->multi, call->easy);
    call->is_running = false;
    list_del(&call->node);
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    a->status = (int)status; /* three digits */
    set_fault(call, code);
    set_timing(call);
    a->body = buf_str(&call->body);
    a->content_type = answer_header(call, "content-type");
    a->retry_after = answer_header(call, "retry-after");
    a->location = answer_header(call, "location");
    a->request_id = answer_header(call, "x-oneapi-request-id");
    if (a->request_id.len == 0)
        a->request_id = answer_header(call, "x-request-id");
    if (a->request_id.len == 0)
        a->request_id = answer_header(call, "request-id");
    call->on_done(call->ctx, a);
    free_call(call);
}

/* Calls queued so far: into libcurl, or to their caller when they could not start. */
static void take_queued(struct curl_client *c)
{
    size_t n = 0;

    list_for_each(node, &c->queued)
        n++;
    for (; n > 0 && !list_empty(&c->queued) && !c->is_closing; n--) { /* on_done may queue more: next turn */
        struct curl_call *call = list_entry(list_pop(&c->queued), struct curl_call, node);

        if (call->answer.fault == CURL_FAULT_NONE && curl_multi_add_handle(c->multi, call->easy) == CURLM_OK) {
            call->is_running = true;
            list_add_tail(&c->running, &call->node);
            continue;
        }
        if (call->answer.fault == CURL_FAULT_NONE) {
            call->answer.fault = CURL_FAULT_CONNECT;
            snprintf(call->answer.error, sizeof(call->answer.error), "the request could not be started");
        }
        call->on_done(call->ctx, &call->answer);
        free_call(call);
    }
}

static void on_kick(uv_timer_t *h)
{
    struct curl_client *c = h->data;

    take_queued(c);
    if (!c->is_closing && !list_empty(&c->queued))
        uv_timer_start(&c->kick, on_kick, 0, 0);
}

static void settle(struct curl_client *c)
{
    CURLMsg *m;
    int left;

    if (c->is_closing) {
        shut(c);
        return;
    }
    free_calls(&c->dying);
    while (!c->is_closing && (m = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct curl_call *call = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        finish(call, m->data.result); /* m is gone after this */
    }
}

void curl_call_cancel(struct curl_call *call)
{
    struct curl_client *c = call->client;

    call->is_cancelled = true;
    if (c->depth == 0) {
        free_call(call);
        return;
    }
    list_del(&call->node);
    list_add_tail(&c->dying, &call->node);
}

/* ---- starting ---- */

struct curl_call *curl_client_start(struct curl_client *c, const struct curl_request *r)
{
    struct curl_call *call = xcalloc(1, sizeof(*call));

    assert(!c->is_closing && r->on_done && r->method && r->url);
    call->client = c;
    call->on_data = r->on_data;
    call->on_done = r->on_done;
    call->ctx = r->ctx;
    call->flags = r->flags;
    call->timeout_ms = r->timeout_ms ? r->timeout_ms : 60000;
    call->connect_timeout_ms = r->connect_timeout_ms ? r->connect_timeout_ms : 10000;
    call->max_body_bytes = r->max_body_bytes ? r->max_body_bytes : 1u << 20;
    buf_init(&call->body, call->max_body_bytes);
    curl_call_prepare(call, r);
    list_add_tail(&c->queued, &call->node);
    uv_timer_start(&c->kick, on_kick, 0, 0);
    return call;
}

int curl_client_new(struct loop *l, const struct curl_client_config *cfg, struct curl_client **ret, struct err *reterr)
{
    CURLM *multi = curl_multi_init();
    struct curl_client *c;

    assert(cfg->egress);
    if (!multi)
        return err_set(reterr, ERR_INTERNAL, "libcurl cannot be started");
    c = xcalloc(1, sizeof(*c));
    c->loop = l;
    c->egress = cfg->egress;
    c->ca_file = cfg->ca_file ? xstrdup(cfg->ca_file) : NULL;
    c->proxy = cfg->proxy ? xstrdup(cfg->proxy) : NULL;
    c->multi = multi;
    list_init(&c->running);
    list_init(&c->queued);
    list_init(&c->dying);
    uv_timer_init(loop_uv(l), &c->timer);
    uv_timer_init(loop_uv(l), &c->kick);
    c->timer.data = c->kick.data = c;
    c->uv_handles = 2;
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, c);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    (void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, c);
    if (cfg->max_connections > 0)
        (void)curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, cfg->max_connections);
    *ret = c;
    return 0;
}
