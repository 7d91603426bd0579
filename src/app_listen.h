/* app_listen.h -- the listening sockets of all workers, and the lines that tell where they are. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/option.h"
#include "net/http_server.h"
#include "net/listener.h"

#define APP_LISTEN_MAX 16

struct app_listen {
    struct listener_spec specs[APP_LISTEN_MAX];
    size_t spec_count;
    int *fds; /* worker-major: fds[worker * spec_count + spec], -1 = taken */
    unsigned worker_count;
};

/* Whether the addresses can be read; nothing is opened. */
MUST_USE int app_listen_check(const struct option_set *o, bool has_tls, struct err *reterr);
/* All sockets at once, before any thread: a port in use is found here. */
MUST_USE int app_listen_open(struct app_listen *l, const struct option_set *o, unsigned workers, bool has_tls, struct err *reterr);
MUST_USE int app_listen_worker(struct app_listen *l, unsigned worker, struct http_server *s, struct tls_server *tls, struct err *reterr);
/* Addresses of the page and of /docs on stdout, then the secrets of a first start. */
void app_listen_announce(const struct app_listen *l, const struct option_set *o, struct str first);
void app_listen_close(struct app_listen *l);
