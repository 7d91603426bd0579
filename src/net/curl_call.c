/* curl_call.c -- one call: the checks and options of its request, the guard on its sockets, the
 * bounds on its answer. */
#include "net/curl_call.h"

#include "base/metric.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

/* ---- guard ---- */

static bool private_ok(const struct curl_call *call)
{
    return call->has_proxy || (call->flags & CURL_CALL_PRIVATE_OK);
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct curl_call *call = ctx;
    struct addr a = addr_from_sockaddr(&to->addr);
    int fd;

    if (egress_check_addr(call->client->egress, &a, private_ok(call), &call->denied) < 0)
        return CURL_SOCKET_BAD;
    fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    call->socket_errno = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* A pooled connection may have been opened by a call that was allowed more than this one. */
static int on_before_request(void *ctx, char *peer, char *local, int peer_port, int local_port)
{
    struct curl_call *call = ctx;
    struct addr a;

    if (call->has_proxy)
        return CURL_PREREQFUNC_OK;
    if (addr_parse(str_of(peer), &a) < 0) {
        call->denied.code = err_set(&call->denied, ERR_DENIED, "the peer's address cannot be read");
        return CURL_PREREQFUNC_ABORT;
    }
    if (egress_check_addr(call->client->egress, &a, private_ok(call), &call->denied) < 0)
        return CURL_PREREQFUNC_ABORT;
    call->denied.code = 0; /* another address of the name may have been refused before */
    return CURL_PREREQFUNC_OK;
}

/* ---- bytes of the answer ---- */

static size_t stop_with(struct curl_call *call, enum curl_stop why)
{
    call->stop = why;
    return 0; /* never what was offered: libcurl ends the transfer and closes its connection */
}

static bool is_header(struct str line, struct str name)
{
    return str_istarts(line, name) && str_starts(str_cut(line, name.len, 1), STR(":"));
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct curl_call *call = ctx;
    struct str line = str_n(p, n);

    call->head_bytes += n;
    if (call->head_bytes > CURL_CALL_HEAD_MAX)
        return stop_with(call, CURL_STOP_HEAD);
    if (!str_ends(line, STR("\r\n")))
        return stop_with(call, CURL_STOP_LINE_END);
    if (line.len > 2 && ++call->head_lines > CURL_CALL_HEAD_LINES_MAX) /* status lines too */
        return stop_with(call, CURL_STOP_HEAD_LINES);
    if (str_starts(line, STR("HTTP/"))) {
        call->has_length = call->has_transfer_encoding = false;
    } else if (is_header(line, STR("content-length"))) {
        if (call->has_length || call->has_transfer_encoding)
            return stop_with(call, CURL_STOP_FRAMING);
        call->has_length = true;
    } else if (is_header(line, STR("transfer-encoding"))) {
        if (call->has_length)
            return stop_with(call, CURL_STOP_FRAMING);
        call->has_transfer_encoding = true;
    }
    return n;
}

static size_t on_write(char *p, size_t size, size_t n, void *ctx)
{
    struct curl_call *call = ctx;
    size_t room = call->max_body_bytes - call->body_bytes;
    struct str piece = str_n(p, MIN(n, room));
    long status = 0;

    if (call->is_cancelled)
        return stop_with(call, CURL_STOP_BY_CALLER);
    if (n > room && !(call->flags & CURL_CALL_TRUNCATE))
        return stop_with(call, CURL_STOP_BODY);
    call->body_bytes += piece.len;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->on_data && status / 100 == 2) {
        if ((piece.len > 0 && !call->on_data(call->ctx, piece)) || call->is_cancelled)
            return stop_with(call, CURL_STOP_BY_CALLER);
    } else if (buf_add_str(&call->body, piece) < 0) {
        return stop_with(call, CURL_STOP_BODY);
    }
    return n > room ? stop_with(call, CURL_STOP_TRUNCATED) : n;
}

/* ---- starting ---- */

static PRINTF(2, 3) bool refuse(struct curl_call *call, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(call->answer.error, sizeof(call->answer.error), fmt, ap);
    va_end(ap);
    call->answer.fault = CURL_FAULT_URL;
    return false;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!strchr("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", s.ptr[i]))
            return false;
    return s.len > 0;
}

static void add_line(struct curl_call *call, const char *line)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);

    if (!list)
        abort(); /* as xmalloc() */
    call->headers = list;
}

static bool add_headers(struct curl_call *call, const struct curl_request *r)
{
    bool has_type = false;

    for (size_t i = 0; r->headers && r->headers[i]; i++) {
        struct str line = str_of(r->headers[i]), name = str_until(line, ':');
        ssize_t colon = str_find(line, ':');

        if (colon < 0 || !is_token(name) || str_has_control(line))
            return refuse(call, "request header %zu has a bad name or a control character", i + 1);
        if (str_ieq(name, STR("content-length")) || str_ieq(name, STR("transfer-encoding")))
            return refuse(call, "request header %zu would change the framing", i + 1);
        has_type |= str_ieq(name, STR("content-type"));
        if (str_trim(str_after(line, ':')).len > 0) {
            add_line(call, r->headers[i]);
        } else { /* "Name;" is libcurl's way to send an empty value; "Name:" would take the header out */
            CLEANUP(xfree_charp) char *empty = str_dup(str_cut(line, 0, (size_t)colon + 1));

            empty[colon] = ';';
            add_line(call, empty);
        }
    }
    add_line(call, "Expect:"); /* no second of waiting before large bodies */
    if (!has_type && r->body.len > 0)
        add_line(call, "Content-Type:"); /* nor a made-up type */
    return true;
}

static const char *proxy_of(const struct curl_call *call, const struct curl_request *r)
{
    const char *proxy = r->proxy ? r->proxy : call->client->proxy;

    return proxy ? proxy : "";
}

static bool check_proxy(struct curl_call *call, struct str proxy)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};

    call->has_proxy = proxy.len > 0;
    if (!call->has_proxy)
        return true;
    if (str_has_control(proxy))
        return refuse(call, "the proxy has a control character");
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_istarts(proxy, str_of(schemes[i])))
            return true;
    return refuse(call, "the proxy must begin with http://, https://, socks5:// or socks5h://");
}

static bool check_request(struct curl_call *call, const struct curl_request *r)
{
    struct curl_answer *a = &call->answer;
    struct err e = {0};
    struct url u;

    if (url_parse(str_of(r->url), &u, &e) < 0)
        return refuse(call, "%.200s", e.text);
    if (u.has_userinfo)
        return refuse(call, "URL must not hold a user name or password");
    if (!is_token(str_of(r->method)))
        return refuse(call, "the method has a character that is not allowed");
    if (!check_proxy(call, str_of(proxy_of(call, r))))
        return false;
    if (egress_check_url(call->client->egress, str_of(r->url), (call->flags & CURL_CALL_PRIVATE_OK) != 0, &e) < 0) {
        if (e.code == ERR_DENIED)
            metric_add(METRIC_EGRESS_REFUSED, 0, 1);
        a->fault = e.code == ERR_DENIED ? CURL_FAULT_EGRESS : CURL_FAULT_URL;
        snprintf(a->error, sizeof(a->error), "refused: %.200s", e.text);
        return false;
    }
    return add_headers(call, r);
}

#define SET(option, value) ok &= curl_easy_setopt(e, option, value) == CURLE_OK

static bool set_fixed_options(struct curl_call *call)
{
    CURL *e = call->easy;
    bool ok = true;

    SET(CURLOPT_PRIVATE, call);
    SET(CURLOPT_ERRORBUFFER, call->detail);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver thread that hangs */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_USERAGENT, "gatehouse/" GATEHOUSE_VERSION);
    SET(CURLOPT_NOPROXY, ""); /* neither no_proxy of the environment */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_CAPATH, NULL); /* Debian's default path would switch libcurl's CA cache off */
    SET(CURLOPT_PROXY_CAPATH, NULL);
    if (call->client->ca_file) {
        SET(CURLOPT_CAINFO, call->client->ca_file);
        SET(CURLOPT_PROXY_CAINFO, call->client->ca_file);
    }
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, call);
    SET(CURLOPT_PREREQFUNCTION, on_before_request);
    SET(CURLOPT_PREREQDATA, call);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, call);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, call);
    return ok;
}

static bool set_request_options(struct curl_call *call, const struct curl_request *r)
{
    CURL *e = call->easy;
    bool ok = true, is_post = strcmp(r->method, "POST") == 0;

    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROXY, proxy_of(call, r)); /* "" also keeps the environment's out */
    SET(CURLOPT_HTTPHEADER, call->headers);
    SET(CURLOPT_TIMEOUT_MS, (long)MIN(call->timeout_ms, (uint64_t)INT32_MAX));
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)MIN(call->connect_timeout_ms, (uint64_t)INT32_MAX));
    SET(CURLOPT_SSL_VERIFYPEER, call->flags & CURL_CALL_VERIFY ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, call->flags & CURL_CALL_VERIFY ? 2L : 0L);
    SET(CURLOPT_FRESH_CONNECT, call->flags & CURL_CALL_FRESH ? 1L : 0L);
    if (call->flags & CURL_CALL_HTTP1)
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (is_post || r->body.len > 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len); /* memory is smaller than 2^63 */
        SET(CURLOPT_COPYPOSTFIELDS, r->body.len > 0 ? r->body.ptr : "");
    } else if (strcmp(r->method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    }
    if (!is_post && !(strcmp(r->method, "HEAD") == 0 && r->body.len == 0))
        SET(CURLOPT_CUSTOMREQUEST, r->method);
    return ok;
}

void curl_call_prepare(struct curl_call *call, const struct curl_request *r)
{
    struct curl_client *c = call->client;

    if (!check_request(call, r))
        return;
    call->easy = c->idle_count > 0 ? c->idle[--c->idle_count] : curl_easy_init();
    if (!call->easy)
        abort(); /* as xmalloc() */
    if (!set_fixed_options(call) || !set_request_options(call, r)) {
        (void)refuse(call, "the request cannot be expressed");
        curl_easy_cleanup(TAKE(call->easy)); /* an odd handle serves nobody after us */
    }
}
