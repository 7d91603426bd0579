/* app_listen.c -- from the option `listen` to bound sockets, one of each address for every worker,
 * opened before any thread runs and before data is touched. */
#include "app_listen.h"

#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

/* With a certificate the TCP listeners speak TLS: all of them, or those marked tls:// when some
 * are. */
static void choose_tls(struct app_listen *l)
{
    bool is_marked = false;

    for (size_t i = 0; i < l->spec_count; i++)
        is_marked |= l->specs[i].is_tls;
    for (size_t i = 0; !is_marked && i < l->spec_count; i++)
        l->specs[i].is_tls = l->specs[i].kind == LISTENER_TCP;
}

/* PORT moves the default listener; a `listen` of one's own is taken as it is. */
static int read_specs(struct app_listen *l, const struct option_set *o, bool has_tls,
                      struct err *reterr)
{
    struct str item;

    for (size_t i = 0; (item = option_item(o, "listen", i)).ptr; i++) {
        struct listener_spec *spec = &l->specs[l->spec_count];
        int rc;

        if (l->spec_count == APP_LISTEN_MAX)
            return err_set(reterr, ERR_RANGE, "listen: more than %d addresses", APP_LISTEN_MAX);
        rc = listener_parse(item, spec, reterr);
        if (rc < 0)
            return rc;
        if (option_origin(o, "listen") == OPTION_DEFAULT)
            spec->port = (uint16_t)option_int(o, "port"); /* 0..65535 by the table */
        if (spec->is_tls && !has_tls)
            return err_set(reterr, ERR_SYNTAX, "listen: '%.*s' needs tls.cert and tls.key",
                           STR_ARG(item));
        l->spec_count++;
    }
    if (has_tls)
        choose_tls(l);
    return l->spec_count ? 0 : err_set(reterr, ERR_SYNTAX, "listen: no address is given");
}

/* Worker 0 opens; the others get their own SO_REUSEPORT socket on the same port, or a duplicate of
 * a Unix socket. */
static int open_spec(struct app_listen *l, size_t i, struct err *reterr)
{
    struct listener_spec spec = l->specs[i];
    int rc = listener_check_free(&spec, reterr);

    if (rc < 0)
        return rc;
    for (unsigned w = 0; w < l->worker_count; w++) {
        int *fd = &l->fds[w * l->spec_count + i];

        if (w > 0 && spec.kind == LISTENER_UNIX) {
            *fd = fcntl(l->fds[i], F_DUPFD_CLOEXEC, 0);
            if (*fd < 0)
                return err_set(reterr, ERR_IO, "cannot duplicate the socket %s", spec.host);
            continue;
        }
        rc = listener_open(&spec, fd, reterr);
        if (rc < 0)
            return rc;
        if (w == 0 && spec.kind == LISTENER_TCP)
            l->specs[i].port = spec.port = listener_port(*fd);
    }
    return 0;
}

int app_listen_check(const struct option_set *o, bool has_tls, struct err *reterr)
{
    struct app_listen l = {0};

    return read_specs(&l, o, has_tls, reterr);
}

int app_listen_open(struct app_listen *l, const struct option_set *o, unsigned workers,
                    bool has_tls, struct err *reterr)
{
    int rc = read_specs(l, o, has_tls, reterr);

    if (rc < 0)
        return rc;
    l->worker_count = workers;
    l->fds = xmalloc(workers * l->spec_count * sizeof(*l->fds));
    for (size_t i = 0; i < workers * l->spec_count; i++)
        l->fds[i] = -1;
    for (size_t i = 0; rc == 0 && i < l->spec_count; i++)
        rc = open_spec(l, i, reterr);
    return rc;
}

int app_listen_worker(struct app_listen *l, unsigned worker, struct http_server *s,
                      struct tls_server *tls, struct err *reterr)
{
    for (size_t i = 0; i < l->spec_count; i++) {
        int *fd = &l->fds[worker * l->spec_count + i];
        int rc = http_server_listen(s, *fd, l->specs[i].is_tls ? tls : NULL, reterr);

        if (rc < 0)
            return rc;
        *fd = -1;
    }
    return 0;
}

/* "http://localhost:8081"; any address is shown as localhost. */
static void write_origin(const struct listener_spec *spec, char *out, size_t cap)
{
    struct str host = str_of(spec->host);
    bool is_any = host.len == 0 || str_eq_c(host, "0.0.0.0") || str_eq_c(host, "::");
    bool is_v6 = !is_any && str_find(host, ':') >= 0;

    if (is_any)
        host = STR("localhost");
    snprintf(out, cap, "%s://%s%.*s%s:%u", spec->is_tls ? "https" : "http", is_v6 ? "[" : "",
             STR_ARG(host), is_v6 ? "]" : "", spec->port);
}

void app_listen_announce(const struct app_listen *l, const struct option_set *o, struct str first)
{
    struct str base = option_text(o, "base_path");

    while (base.len > 0 && base.ptr[0] == '/')
        base = str_cut(base, 1, base.len);
    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    for (size_t i = 0; i < l->spec_count; i++) {
        const struct listener_spec *spec = &l->specs[i];
        const char *slash = base.len ? "/" : "";
        char origin[300];

        if (spec->kind == LISTENER_UNIX) {
            printf("Gatehouse listens on unix:%s\n", spec->host);
            continue;
        }
        write_origin(spec, origin, sizeof(origin));
        printf("Gatehouse is at  %s/%.*s%s\n", origin, STR_ARG(base), slash);
        printf("Its API docs at  %s/%.*s%sdocs\n", origin, STR_ARG(base), slash);
    }
    printf("%.*s", STR_ARG(first));
    fflush(stdout);
}

void app_listen_close(struct app_listen *l)
{
    for (size_t i = 0; l->fds && i < l->worker_count * l->spec_count; i++) {
        if (l->fds[i] >= 0)
            close(l->fds[i]);
    }
    xfree(l->fds);
    *l = (struct app_listen){0};
}
