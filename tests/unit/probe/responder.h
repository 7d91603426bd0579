/* responder.h -- a small HTTP/1.1 upstream for tests: one thread a connection, keep-alive, answers
 * written as raw bytes by the test, so that it can also answer wrongly. */
#pragma once

#include "base/buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

struct responder_request {
    char method[8], path[2048];
    const char *head; /* NUL-terminated, with the request line */
    struct str body;
};

struct responder {
    /* Writes the answer with responder_send(); false closes the connection. On a thread of its own.
     */
    bool (*answer)(struct responder *r, int fd, const struct responder_request *q);
    void *ctx;
    int fd;
    uint16_t port;
    pthread_t thread, connections[64];
    int sockets[64];
    atomic_uint connection_count;
    atomic_uint requests;
    atomic_bool is_stopping;
};

static UNUSED void responder_send(int fd, const char *bytes, size_t len)
{
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n) /* n > 0 */
        if ((n = send(fd, bytes, len, MSG_NOSIGNAL)) <= 0)
            return;
}

static UNUSED bool responder_json(int fd, int status, const char *extra, const char *body)
{
    struct buf b = BUF_INIT(8u << 20);

    buf_putf(&b,
             "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
             status, strlen(body), extra, body);
    responder_send(fd, buf_cstr(&b), buf_len(&b));
    buf_release(&b);
    return true;
}

struct responder_connection {
    struct responder *r;
    int fd;
};

static bool responder_read(int fd, struct buf *b)
{
    char chunk[16384];
    ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

    return n > 0 && buf_add(b, chunk, (size_t)n) == 0;
}

/* One request from b, reading more as needed; its bytes are consumed by the caller's next call. */
static bool responder_next(int fd, struct buf *b, struct responder_request *q, size_t *ret_len)
{
    ssize_t end;
    size_t length = 0;
    char *head;
    const char *field;

    while ((end = str_find_str(buf_str(b), STR("\r\n\r\n"))) < 0)
        if (!responder_read(fd, b))
            return false;
    head = xstrndup(buf_str(b).ptr, (size_t)end);
    if (sscanf(head, "%7s %2047s", q->method, q->path) != 2)
        abort();
    field = strcasestr(head, "\r\ncontent-length:");
    if (field && sscanf(field + 17, "%zu", &length) != 1)
        abort();
    *ret_len = (size_t)end + 4 + length;
    while (buf_len(b) < *ret_len)
        if (!responder_read(fd, b)) {
            xfree(head);
            return false;
        }
    q->head = head;
    q->body = str_cut(buf_str(b), (size_t)end + 4, length);
    return true;
}

static void *responder_serve(void *arg)
{
    struct responder_connection *c = arg;
    struct responder_request q;
    struct buf b = BUF_INIT(8u << 20);
    size_t len;
    bool is_open = true;

    while (is_open && responder_next(c->fd, &b, &q, &len)) {
        atomic_fetch_add(&c->r->requests, 1);
        is_open = c->r->answer(c->r, c->fd, &q);
        xfree((void *)(uintptr_t)q.head);
        buf_consume(&b, len);
    }
    shutdown(c->fd,
             SHUT_RDWR); /* closed at the end, so that the number is not used again meanwhile */
    buf_release(&b);
    xfree(c);
    return NULL;
}

static void *responder_accept(void *arg)
{
    struct responder *r = arg;
    int fd;

    while ((fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct responder_connection *c = xcalloc(1, sizeof(*c));
        unsigned n = atomic_load(&r->connection_count);

        if (atomic_load(&r->is_stopping) || n == ARRAY_LEN(r->connections)) {
            close(fd);
            xfree(c);
            break;
        }
        *c = (struct responder_connection){r, fd};
        r->sockets[n] = fd;
        if (pthread_create(&r->connections[n], NULL, responder_serve, c) != 0)
            abort();
        atomic_store(&r->connection_count, n + 1);
    }
    return NULL;
}

static UNUSED void responder_start(struct responder *r,
                                   bool (*answer)(struct responder *, int,
                                                  const struct responder_request *),
                                   void *ctx)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    memset(r, 0, sizeof(*r));
    r->answer = answer;
    r->ctx = ctx;
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(r->fd, 64) != 0 ||
        getsockname(r->fd, (struct sockaddr *)&a, &len) != 0)
        abort();
    r->port = ntohs(a.sin_port);
    if (pthread_create(&r->thread, NULL, responder_accept, r) != 0)
        abort();
}

static UNUSED void responder_stop(struct responder *r)
{
    atomic_store(&r->is_stopping, true);
    shutdown(r->fd, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    for (unsigned i = 0; i < atomic_load(&r->connection_count); i++) {
        shutdown(r->sockets[i], SHUT_RDWR);
        pthread_join(r->connections[i], NULL);
        close(r->sockets[i]);
    }
    close(r->fd);
}
