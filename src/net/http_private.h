/* http_private.h -- what the http_*.c files share: server, connection, exchange.
 *
 *   server --< connection --0..1 exchange      all on one loop
 *
 * A connection that was cut lets go of its exchange at once (x->conn NULL); the exchange lives on
 * until its handler answers. A connection's memory goes in libuv's close callback, an exchange's at
 * the end of the turn, a server's when both are gone. */
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "net/http_chunk.h"
#include "net/http_parse.h"
#include "net/http_server.h"

#define HTTP_READ_AHEAD (64u * 1024) /* pipelined requests and bodies that nobody took yet */
#define HTTP_DRAIN_MAX  (64u * 1024) /* an unread body up to this is read away, else we close */
#define HTTP_READ_SIZE  (64u * 1024) /* of the buffer that a loop reads into */
#define HTTP_ERROR_TEXT_MAX 8192
#define HTTP_LINGER_MS  1000         /* a closed connection listens so long for the client's end */

/* ---- server ---- */

struct http_listener {
    struct list node;
    uv_poll_t poll;
    struct http_server *server;
    struct tls_server *tls; /* NULL: clear text */
    int fd;
    bool is_unix;
};

struct http_server {
    struct loop *loop;
    struct http_server_config cfg; /* its lists are copies */
    struct list listeners;
    struct list conns;
    size_t conn_count;
    size_t exchange_count; /* out of the pool */
    struct loop_timer accept_timer; /* set while accepting rests for want of descriptors */
    bool is_draining;
    bool is_closed;
    bool is_release_due; /* deferred call on the way */
    struct arena memory; /* of the lists in cfg */

    char *read_buf;        /* one for all connections: bytes are in it during a read only */
    struct buf plain;      /* decrypted bytes, likewise */
    struct buf wire;       /* encrypted bytes, likewise */
    struct buf text;       /* body of an error answer, likewise */
    struct buf head;       /* head of an answer, likewise */

    struct http_exchange *free_exchanges; /* pool */
    unsigned free_count;
    struct http_exchange *dead_exchanges; /* go to the pool at the end of the turn */

    char date[CLOCK_HTTP_SIZE];
    utc_ms date_second; /* of `date`, in seconds */
};

void http_server_release(struct http_server *s); /* frees it when closed and empty */
void http_server_accept_again(struct http_server *s); /* a descriptor came free */
bool http_server_trusts(const struct http_server *s, const struct addr *a);
const char *http_server_date(struct http_server *s);

/* ---- connection ---- */

enum http_conn_state {
    HTTP_CONN_HEAD,   /* waits for a request or its rest */
    HTTP_CONN_BUSY,   /* an exchange is open */
    HTTP_CONN_DRAIN,  /* answered; reads an unread body away */
    HTTP_CONN_FINISH, /* closes when all is written */
    HTTP_CONN_LINGER, /* our side is closed, waits for the client's */
    HTTP_CONN_CLOSED,
};

enum http_wait { /* what the read deadline is about */
    HTTP_WAIT_NONE,
    HTTP_WAIT_FIRST, /* the first byte, or the TLS handshake */
    HTTP_WAIT_HEAD,  /* the rest of a head */
    HTTP_WAIT_IDLE,  /* the next request */
    HTTP_WAIT_BODY,
    HTTP_WAIT_LINGER,
};

struct http_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp; /* Unix sockets too: libuv only reads and writes */
    } uv;
    struct list node;
    struct http_server *server;
    struct tls_conn *tls;       /* NULL: clear text */
    struct http_exchange *x;    /* set while BUSY */
    struct buf in;              /* read-ahead; no memory when empty */
    struct http_parse_scan scan;
    struct loop_timer timer;    /* not after the nearer of the two deadlines */
    mono_ms read_deadline;      /* meaningless with HTTP_WAIT_NONE */
    mono_ms write_deadline;     /* 0: none; set while bytes wait */
    uint64_t queued_bytes;      /* ever handed to uv_write() */
    uint64_t written_mark;      /* of them written when the write deadline was set */
    uint64_t requests;
    uint64_t body_left;         /* DRAIN: content bytes still to come */
    struct addr peer;
    uint8_t state; /* enum http_conn_state */
    uint8_t wait;  /* enum http_wait */
    bool is_reading;
    bool is_processing;
    bool is_eof;       /* the client sent all it will */
    bool must_linger;  /* bytes of the client may be on the way when we close */
    bool is_exempt;    /* from the cap per address */
};

/* Takes the socket; counted in already. */
void http_conn_start(struct http_listener *l, int fd, const struct addr *peer, bool is_exempt);
/* Cut it now, unsent bytes and all; the exchange is told later in this turn. */
void http_conn_cut(struct http_conn *c, bool with_reset);
/* The exchange was answered and has left: go on with the next request (after `unread` bytes of
 * body), or close. */
void http_conn_next(struct http_conn *c, bool keep_open, uint64_t unread);
/* Look again at the bytes that wait: a body is wanted now, or no longer paused. */
void http_conn_process(struct http_conn *c);
void http_conn_wait(struct http_conn *c, enum http_wait wait, uint64_t ms);
/* The server's own answer to what cannot be served; then the connection is closed. */
void http_conn_refuse(struct http_conn *c, int status);

void http_conn_expect_written(struct http_conn *c); /* sets the write deadline anew */
void http_conn_written(struct http_conn *c);        /* nothing waits any more */

/* Bytes for the client, in at most HTTP_WIRE_PIECES pieces. Copied as far as the socket does not
 * take them; a last piece that is static is referred to instead. The connection may be cut when
 * this returns. */
#define HTTP_WIRE_PIECES 4
void http_wire_send(struct http_conn *c, const struct str *pieces, unsigned count,
                    bool is_last_static);
void http_wire_flush(struct http_conn *c); /* what the TLS engine left in server->wire */
size_t http_wire_waiting(const struct http_conn *c); /* bytes not yet taken by the socket */

/* ---- exchange ---- */

enum http_body_mode {
    HTTP_BODY_UNWANTED, /* the handler did not ask (yet): bytes wait */
    HTTP_BODY_WHOLE,    /* http_read_body() */
    HTTP_BODY_STREAM,   /* http_stream_body() */
    HTTP_BODY_DONE,     /* complete, or there is none */
};

struct http_line { /* header to be sent, "name: value" CRLF */
    struct http_line *next;
    size_t len;
    char text[];
};

struct http_exchange {
    struct http_request req; /* first member: http_request() is the exchange */
    struct http_server *server;
    struct http_conn *conn; /* NULL: cut */
    struct http_exchange *next_free;
    struct arena arena;

    struct http_chunk chunk;
    uint64_t body_left;    /* of a body with Content-Length */
    uint64_t body_bytes;   /* content so far */
    mono_ms rate_since;    /* its rate is measured from here: asked for, or resumed */
    uint64_t rate_bytes;   /* body_bytes then */
    size_t body_max;
    char *body_ptr;        /* a small body of known length: in the arena */
    size_t body_len;
    struct buf body;       /* any other */
    size_t held_bytes;     /* counted in http_shared */
    void (*on_body)(struct http_exchange *x, struct str body, void *ctx);
    void (*on_data)(struct http_exchange *x, struct str piece, void *ctx);
    void *body_ctx;

    void (*on_gone)(struct http_exchange *x, void *ctx);
    void *gone_ctx;
    void (*on_drain)(struct http_exchange *x, void *ctx);
    void *drain_ctx;

    struct http_line *lines;
    struct http_line **lines_end;
    size_t lines_bytes;

    uint8_t body_mode; /* enum http_body_mode */
    bool is_chunked_in;
    bool is_http10;
    bool wants_close;
    bool wants_continue; /* 100 is due before the body is read */
    bool is_paused;
    bool is_started;     /* head sent */
    bool keeps_open;     /* the connection, as the head said */
    bool is_chunked_out;
    bool has_no_body;    /* HEAD, 204, 304 */
    bool is_gone;
    bool is_gone_due;    /* deferred call on the way, or running */
    bool is_gone_told;
    bool is_server_owned; /* nobody will answer: released after on_gone */
    bool is_finished;
};

struct http_exchange *http_exchange_new(struct http_conn *c);
/* Fill the request from a complete head. 0 or the status to refuse with. */
MUST_USE int http_exchange_parse(struct http_exchange *x, struct str head, size_t lines);
/* Answered or given up: memory goes at the end of the turn. It has left its connection. */
void http_exchange_finish(struct http_exchange *x);
/* The client left, or (x->conn NULL) was cut; tells the handler at the end of the turn. */
void http_exchange_set_gone(struct http_exchange *x);
/* Can bytes, or the end of the body behind the last of them, be handed on now? */
bool http_exchange_wants(const struct http_exchange *x, bool has_bytes);
/* Hands on a piece of the body, or its end, taking bytes off *in. 0 or the status to refuse with. */
MUST_USE int http_exchange_take(struct http_exchange *x, struct str *in);
void http_exchange_free_pool(struct http_server *s);

/* ---- answers ---- */

/* Head and body of an answer of the server's own; x NULL: no request was understood. */
void http_reply_error(struct http_conn *c, struct http_exchange *x, int status);

/* ---- shared ---- */

enum http_shared_verdict { HTTP_SHARED_OK, HTTP_SHARED_FULL, HTTP_SHARED_ADDRESS_FULL };

/* Count a connection in; `exempt` ones only in the total. */
enum http_shared_verdict http_shared_add(struct http_shared *s, const struct addr *a, bool exempt);
void http_shared_remove(struct http_shared *s, const struct addr *a, bool exempt);
/* Bytes held for clients: counted always; false when the bound is passed, and a new body must be
 * refused. What waits to be sent is bounded per connection, so that counts but is not refused. */
bool http_shared_hold(struct http_shared *s, size_t n);
void http_shared_let_go(struct http_shared *s, size_t n);
