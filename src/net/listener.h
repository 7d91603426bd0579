/* listener.h -- listening sockets: TCP with SO_REUSEPORT (one per loop), Unix, or inherited. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

struct listener_spec {
    enum { LISTENER_TCP, LISTENER_UNIX } kind;
    char host[256]; /* literal address, "" = any; or the Unix path */
    uint16_t port;  /* 0 = any free one, told by listener_port() */
    bool is_tls;    /* "tls://" in front */
};

/* "0.0.0.0:8081", "[::]:8081", "8081", "localhost:8081", "unix:/run/gatehouse.sock", "tls://..." */
MUST_USE int listener_parse(struct str text, struct listener_spec *ret, struct err *reterr);
/* A bound, listening, non-blocking, CLOEXEC socket; backlog 4096; IPv6 sockets are V6ONLY unless the host is "::" (dual stack).
 * Unix: an existing stale socket file is replaced, a live one is ERR_CONFLICT; mode 0660. */
MUST_USE int listener_open(const struct listener_spec *spec, int *ret_fd, struct err *reterr);
/* SO_REUSEPORT would let a second daemon of the same user share the port of a running one, and the kernel would
 * split clients between two installations: before the first socket, 0 or ERR_CONFLICT. TCP only. */
MUST_USE int listener_check_free(const struct listener_spec *spec, struct err *reterr);
uint16_t listener_port(int fd); /* bound port, 0 for Unix */
