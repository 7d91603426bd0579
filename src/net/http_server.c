/* http_server.c -- listening and accepting, and the life of a server.
 *
 * Listening sockets are watched with uv_poll and accepted from here, not by libuv's own listener:
 * so running out of descriptors is ours to handle. Accepting then rests until a connection of ours
 * is closed or a moment has passed; clients wait in the kernel's queue and no loop spins. */
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "net/http_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BATCH    64  /* per event, so that open connections get their turn */
#define ACCEPT_REST_MS  100 /* without descriptors */
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT      4

/* ---- accepting ---- */

static void start_accepting(struct http_server *s);

static void on_accept_timer(struct loop_timer *t)
{
    start_accepting(container_of(t, struct http_server, accept_timer));
}

static void rest_accepting(struct http_server *s)
{
    list_for_each (node, &s->listeners)
        uv_poll_stop(&list_entry(node, struct http_listener, node)->poll);
    loop_timer_set(&s->accept_timer, ACCEPT_REST_MS);
}

void http_server_accept_again(struct http_server *s)
{
    if (!s->accept_timer.is_set)
        return;
    loop_timer_cancel(&s->accept_timer);
    start_accepting(s);
}

bool http_server_trusts(const struct http_server *s, const struct addr *a)
{
    /* Whoever reaches a Unix socket was let in by its mode; it is a proxy on this host. */
    if (a->family == 0)
        return true;
    for (size_t i = 0; i < s->cfg.trusted_proxy_count; i++)
        if (addr_in(a, &s->cfg.trusted_proxies[i]))
            return true;
    return false;
}

/* One connection too many: a short answer if it can be had without waiting. */
static void turn_away(struct http_listener *l, int fd, enum http_shared_verdict verdict)
{
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
                               "Connection: close\r\nContent-Length: 0\r\n\r\n";
    static const char address_full[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\n"
                                       "Connection: close\r\nContent-Length: 0\r\n\r\n";
    const char *text = verdict == HTTP_SHARED_FULL ? full : address_full;
    ssize_t n = 0;

    metric_add(METRIC_HTTP_REFUSED, 0, 1);
    if (!l->tls)
        n = send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n; /* a courtesy */
    close(fd);
}

static void take_connection(struct http_listener *l, int fd, const struct sockaddr *sa)
{
    struct http_server *s = l->server;
    struct addr peer = l->is_unix ? (struct addr){0} : addr_from_sockaddr(sa);
    bool is_exempt = addr_is_loopback(&peer) || http_server_trusts(s, &peer);
    enum http_shared_verdict verdict = http_shared_add(s->cfg.shared, &peer, is_exempt);

    if (verdict != HTTP_SHARED_OK) {
        turn_away(l, fd, verdict);
        return;
    }
    metric_add(METRIC_HTTP_ACCEPTED, 0, 1);
    metric_gauge_add(METRIC_HTTP_CONNECTIONS, 1);
    http_conn_start(l, fd, &peer, is_exempt);
}

/* true: try the next one. */
static bool accept_one(struct http_listener *l)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        take_connection(l, fd, (const struct sockaddr *)&sa);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED: /* that client is gone again */
        return true;
    default: /* no descriptor or memory; with anything else, spinning would not help either */
        log_debug("http", "cannot accept a connection errno=%d", errno);
        metric_add(METRIC_HTTP_REFUSED, 0, 1);
        rest_accepting(l->server);
        return false;
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct http_listener *l = poll->data;

    if (status < 0)
        return;
    for (unsigned i = 0; i < ACCEPT_BATCH && accept_one(l); i++)
        ;
}

static void start_accepting(struct http_server *s)
{
    list_for_each (node, &s->listeners)
        uv_poll_start(&list_entry(node, struct http_listener, node)->poll, UV_READABLE,
                      on_acceptable);
}

/* Connections inherit these from the socket that they are accepted on. */
static int set_options(const struct http_server *s, int fd, struct err *reterr)
{
    unsigned user_timeout_ms = (unsigned)MIN(s->cfg.limits.write_timeout_ms, (uint64_t)INT32_MAX);
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_timeout_ms}, /* <= INT32_MAX */
    };

    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                       sizeof(options[i].value)) < 0)
            return err_set_errno(reterr, ERR_IO, errno, "cannot set up the listening socket");
    return 0;
}

int http_server_listen(struct http_server *s, int fd, struct tls_server *tls, struct err *reterr)
{
    struct sockaddr_storage sa = {0};
    socklen_t size = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)&sa, &size) < 0)
        return err_set_errno(reterr, ERR_IO, errno, "not a listening socket");

    bool is_unix = sa.ss_family == AF_UNIX;
    int rc = is_unix ? 0 : set_options(s, fd, reterr);

    if (rc < 0)
        return rc;

    struct http_listener *l = xcalloc(1, sizeof(*l));

    *l = (struct http_listener){.server = s, .tls = tls, .fd = fd, .is_unix = is_unix};
    rc = uv_poll_init(loop_uv(s->loop), &l->poll, fd);
    if (rc != 0) {
        xfree(l);
        return err_set(reterr, ERR_IO, "cannot watch the listening socket: %s", uv_strerror(rc));
    }
    l->poll.data = l;
    list_add_tail(&s->listeners, &l->node);
    if (!s->accept_timer.is_set)
        uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    return 0;
}

static void on_listener_closed(uv_handle_t *h)
{
    struct http_listener *l = h->data;
    struct http_server *s = l->server;

    close(l->fd);
    list_del(&l->node);
    xfree(l);
    http_server_release(s);
}

static void close_listeners(struct http_server *s)
{
    loop_timer_cancel(&s->accept_timer);
    list_for_each (node, &s->listeners) {
        struct http_listener *l = list_entry(node, struct http_listener, node);

        if (!uv_is_closing((uv_handle_t *)&l->poll))
            uv_close((uv_handle_t *)&l->poll, on_listener_closed);
    }
}

/* ---- life ---- */

/* The caller's lists need not outlive the call. */
static void copy_lists(struct http_server *s, const struct http_server_config *cfg)
{
    struct addr_cidr *proxies = arena_zalloc(&s->memory, cfg->trusted_proxy_count * sizeof(*proxies));
    struct str *hosts = arena_zalloc(&s->memory, cfg->allowed_host_count * sizeof(*hosts));

    for (size_t i = 0; i < cfg->trusted_proxy_count; i++)
        proxies[i] = cfg->trusted_proxies[i];
    for (size_t i = 0; i < cfg->allowed_host_count; i++)
        hosts[i] = arena_str(&s->memory, cfg->allowed_hosts[i]);
    s->cfg.trusted_proxies = proxies;
    s->cfg.allowed_hosts = hosts;
    s->cfg.base_path = arena_str(&s->memory, cfg->base_path);
}

struct http_server *http_server_new(struct loop *l, const struct http_server_config *cfg)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->cfg = *cfg;
    arena_init(&s->memory);
    copy_lists(s, cfg);
    list_init(&s->listeners);
    list_init(&s->conns);
    loop_timer_init(&s->accept_timer, l, on_accept_timer);
    s->read_buf = xmalloc(HTTP_READ_SIZE);
    buf_init(&s->plain, SIZE_MAX / 2);
    buf_init(&s->wire, SIZE_MAX / 2);
    buf_init(&s->text, HTTP_ERROR_TEXT_MAX);
    buf_init(&s->head, SIZE_MAX / 2);
    s->date_second = -1;
    return s;
}

void http_server_release(struct http_server *s)
{
    if (!s->is_closed || s->is_release_due || s->conn_count > 0 ||
        s->exchange_count > 0 || !list_empty(&s->listeners))
        return;
    loop_timer_cancel(&s->accept_timer);
    http_exchange_free_pool(s);
    arena_release(&s->memory);
    xfree(s->read_buf);
    buf_release(&s->plain);
    buf_release(&s->wire);
    buf_release(&s->text);
    buf_release(&s->head);
    xfree(s);
}

void http_server_drain(struct http_server *s)
{
    if (s->is_draining)
        return;
    s->is_draining = true;
    close_listeners(s);
    list_for_each (node, &s->conns)
        http_conn_process(list_entry(node, struct http_conn, node)); /* closes when idle */
}

size_t http_server_connections(const struct http_server *s)
{
    return s->conn_count;
}

static void release_later(void *arg)
{
    struct http_server *s = arg;

    s->is_release_due = false;
    http_server_release(s);
}

void http_server_close(struct http_server *s)
{
    if (s->is_closed)
        return;
    s->is_draining = true;
    s->is_closed = true;
    s->is_release_due = true;
    close_listeners(s);
    list_for_each (node, &s->conns)
        http_conn_cut(list_entry(node, struct http_conn, node), false);
    loop_defer(s->loop, release_later, s);
}

const char *http_server_date(struct http_server *s)
{
    utc_ms now = loop_utc(s->loop);

    if (now / 1000 != s->date_second) {
        s->date_second = now / 1000;
        clock_http(now, s->date);
    }
    return s->date;
}
