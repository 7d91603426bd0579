/* http_rig.h -- a real server on a real loop thread, and raw sockets to talk to it. */
#pragma once

#include "net/http_server.h"

#include <pthread.h>
#include <stdatomic.h>

struct rig {
    struct loop *loop;
    struct http_server *server;
    struct http_shared *shared;
    struct tls_server *tls; /* NULL: clear text; taken by rig_start() and not freed */
    pthread_t thread;
    uint16_t port;
    char unix_path[108]; /* "" = TCP */
    struct http_server_config cfg;
    atomic_int gone;       /* on_gone calls */
    atomic_int requests;   /* on_request calls */
    atomic_size_t streamed;    /* body bytes seen by /stream */
    atomic_size_t peak_waiting; /* of /flood */
    struct http_exchange *held; /* owned by the loop: of /late and /pause */
};

/* Limits that a test may change before rig_start(). */
void rig_init(struct rig *r);
void rig_start(struct rig *r);
void rig_stop(struct rig *r);
/* Run fn(r) on the loop and wait for it. */
void rig_call(struct rig *r, void (*fn)(struct rig *r));
/* Wait until *counter >= want; false after five seconds. */
bool rig_wait(const atomic_int *counter, int want);

/* The routes (any method):
 *   /hello    200 "hello"                      /static   200 "static", by http_reply_static()
 *   /echo     the body, at most 64 KiB         /stream   streams the body, answers its length
 *   /info     what the request says            /query?v= the decoded value
 *   /empty    204                              /same     304
 *   /late     answered by rig_release()        /chunks   200 in three chunks
 *   /flood    64 MiB with back-pressure        /abort    breaks off in the middle
 *   /body-late  asks for the body in rig_release()
 *   /pause    pauses the body until rig_release()
 *   /big      200, 1 MiB of 'x'
 * others: 404; a method that is none of ours: 405. */
void rig_release(struct rig *r);

int rig_connect(const struct rig *r); /* blocking, 5 s timeouts; fails the test */
void rig_send(int fd, const char *text);
void rig_send_bytes(int fd, struct str bytes);
/* All until the server closes; false when it did not within five seconds. */
bool rig_read_all(int fd, struct buf *out);
/* One answer (by Content-Length, chunked or close): its status, 0 when there is none. The head
 * stays in `head`, the decoded body in `body`, either may be NULL. */
int rig_read_reply(int fd, struct buf *head, struct buf *body, bool is_head);
/* Send, read one answer, close. */
int rig_ask(const struct rig *r, const char *request, struct buf *head, struct buf *body);
