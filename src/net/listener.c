/* listener.c -- addresses to listen on, and the sockets. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG   4096
#define UNIX_MODE 0660

union socket_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* ---- text to specification ---- */

/* "fe80::1%eth0": the literal and, in *ret_scope, the interface; true when it is an IPv6 address. */
static bool parse_in6(const char *host, struct in6_addr *ret, uint32_t *ret_scope)
{
    char literal[sizeof(((struct listener_spec *)0)->host)];
    struct str text = str_of(host);
    struct str address = str_until(text, '%');
    struct str zone = str_after(text, '%');
    uint32_t scope = 0;

    str_copy(literal, sizeof(literal), address);
    if (address.len != text.len && (zone.len == 0 || (scope = if_nametoindex(zone.ptr)) == 0))
        return false;
    if (inet_pton(AF_INET6, literal, ret) != 1)
        return false;
    *ret_scope = scope;
    return true;
}

static bool is_literal(const char *host)
{
    struct in_addr in;
    struct in6_addr in6;
    uint32_t scope;

    return host[0] == '\0' || inet_pton(AF_INET, host, &in) == 1 || parse_in6(host, &in6, &scope);
}

static int parse_unix(struct str path, struct listener_spec *spec, struct err *reterr)
{
    const struct sockaddr_un *un = NULL;

    if (path.len == 0 || path.len >= sizeof(un->sun_path))
        return err_set(reterr, ERR_SYNTAX, "the socket path is not 1..%zu bytes",
                       sizeof(un->sun_path) - 1);
    if (memchr(path.ptr, '\0', path.len))
        return err_set(reterr, ERR_SYNTAX, "the socket path holds a NUL");
    spec->kind = LISTENER_UNIX;
    memcpy(spec->host, path.ptr, path.len);
    return 0;
}

/* "8081", ":8081", "host:8081", "[v6]:8081" */
static int parse_tcp(struct str text, struct listener_spec *spec, struct err *reterr)
{
    struct str host = STR_NONE;
    struct str port = text;

    if (text.len > 0 && text.ptr[0] == '[') {
        host = str_until(str_cut(text, 1, text.len), ']');
        port = str_cut(text, host.len + 2, text.len);
        if (host.len == 0 || !str_skip_prefix(&port, STR(":")))
            return err_set(reterr, ERR_SYNTAX, "'%.*s' is not [address]:port", STR_ARG(text));
    } else if (str_find(text, ':') >= 0) {
        host = str_until(text, ':');
        port = str_after(text, ':');
    }
    if (str_find(port, ':') >= 0)
        return err_set(reterr, ERR_SYNTAX, "'%.*s': an IPv6 address stands in brackets, [::1]:8081",
                       STR_ARG(text));
    if (str_to_u16(port, 0, &spec->port) < 0)
        return err_set(reterr, ERR_SYNTAX, "'%.*s' is not address:port with a port of 0..65535",
                       STR_ARG(text));
    if (str_ieq(host, STR("localhost")))
        host = STR("127.0.0.1");
    else if (str_eq(host, STR("*")))
        host = STR_NONE;
    if (host.len >= sizeof(spec->host))
        return err_set(reterr, ERR_SYNTAX, "the address is too long");
    spec->kind = LISTENER_TCP;
    str_copy(spec->host, sizeof(spec->host), host);
    if (strlen(spec->host) != host.len || !is_literal(spec->host))
        return err_set(reterr, ERR_SYNTAX, "'%.*s' is not an IP address of this host",
                       STR_ARG(host));
    return 0;
}

int listener_parse(struct str text, struct listener_spec *ret, struct err *reterr)
{
    struct listener_spec spec = {0};
    int rc;

    spec.is_tls = str_skip_prefix(&text, STR("tls://"));
    if (str_skip_prefix(&text, STR("unix:")))
        rc = parse_unix(text, &spec, reterr);
    else
        rc = parse_tcp(text, &spec, reterr);
    if (rc == 0)
        *ret = spec;
    return rc;
}

/* ---- specification to socket ---- */

static int fail_close(int fd, struct err *reterr, const struct listener_spec *spec, const char *what)
{
    int errnum = errno;

    if (fd >= 0)
        close(fd);
    if (spec->kind == LISTENER_UNIX)
        return err_set_errno(reterr, errnum == EADDRINUSE ? ERR_CONFLICT : ERR_IO, errnum,
                             "%s unix:%s", what, spec->host);
    return err_set_errno(reterr, errnum == EADDRINUSE ? ERR_CONFLICT : ERR_IO, errnum,
                         "%s %s%s%s:%u", what, strchr(spec->host, ':') ? "[" : "", spec->host,
                         strchr(spec->host, ':') ? "]" : "", (unsigned)spec->port);
}

/* The address to bind; "" is "::", or 0.0.0.0 where the system has no IPv6. */
static socklen_t fill_address(const struct listener_spec *spec, bool without_in6,
                              union socket_address *ret)
{
    *ret = (union socket_address){0};
    if ((without_in6 && spec->host[0] == '\0') ||
        inet_pton(AF_INET, spec->host, &ret->in.sin_addr) == 1) {
        ret->in.sin_family = AF_INET;
        ret->in.sin_port = htons(spec->port);
        return sizeof(ret->in);
    }
    ret->in6.sin6_family = AF_INET6;
    ret->in6.sin6_port = htons(spec->port);
    if (spec->host[0] != '\0' &&
        !parse_in6(spec->host, &ret->in6.sin6_addr, &ret->in6.sin6_scope_id))
        return 0;
    return sizeof(ret->in6);
}

static int open_tcp(const struct listener_spec *spec, bool without_in6, bool is_shared, int *ret_fd,
                    struct err *reterr)
{
    union socket_address address;
    socklen_t size = fill_address(spec, without_in6, &address);
    int on = 1;

    if (size == 0)
        return err_set(reterr, ERR_SYNTAX, "'%s' is not an IP address of this host", spec->host);

    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail_close(fd, reterr, spec, "no socket for");
    if (address.any.sa_family == AF_INET6) {
        int v6_only = !IN6_IS_ADDR_UNSPECIFIED(&address.in6.sin6_addr);

        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) < 0)
            return fail_close(fd, reterr, spec, "cannot listen on");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        bind(fd, &address.any, size) < 0 || listen(fd, BACKLOG) < 0)
        return fail_close(fd, reterr, spec, "cannot listen on");
    *ret_fd = fd;
    return 0;
}

/* A socket file that nobody answers on is left over from a process that was killed. */
static int remove_stale(const struct listener_spec *spec, const union socket_address *address,
                        struct err *reterr)
{
    struct stat st;

    if (lstat(spec->host, &st) < 0)
        return errno == ENOENT ? 0 : fail_close(-1, reterr, spec, "cannot look at");
    if (!S_ISSOCK(st.st_mode))
        return err_set(reterr, ERR_CONFLICT, "%s exists and is not a socket", spec->host);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail_close(fd, reterr, spec, "no socket for");

    bool is_stale =
        connect(fd, &address->any, sizeof(address->un)) < 0 && errno == ECONNREFUSED;

    close(fd);
    if (!is_stale)
        return err_set(reterr, ERR_CONFLICT, "another process listens on %s", spec->host);
    if (unlink(spec->host) < 0 && errno != ENOENT)
        return fail_close(-1, reterr, spec, "cannot replace");
    return 0;
}

static int open_unix(const struct listener_spec *spec, int *ret_fd, struct err *reterr)
{
    union socket_address address = {.un = {.sun_family = AF_UNIX}};

    if (strlen(spec->host) >= sizeof(address.un.sun_path))
        return err_set(reterr, ERR_SYNTAX, "the socket path is too long");
    memcpy(address.un.sun_path, spec->host, strlen(spec->host) + 1);

    int rc = remove_stale(spec, &address, reterr);

    if (rc < 0)
        return rc;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail_close(fd, reterr, spec, "no socket for");
    /* The mode is right before the first connection can be made, which is at listen(). */
    if (bind(fd, &address.any, sizeof(address.un)) < 0 || chmod(spec->host, UNIX_MODE) < 0 ||
        listen(fd, BACKLOG) < 0)
        return fail_close(fd, reterr, spec, "cannot listen on");
    *ret_fd = fd;
    return 0;
}

/* IPv6, or IPv4 where the system has no IPv6 and any address is meant. */
static int open_any_tcp(const struct listener_spec *spec, bool is_shared, int *ret_fd, struct err *reterr)
{
    struct err why = {0};
    int rc = open_tcp(spec, false, is_shared, ret_fd, &why);

    if (rc == ERR_IO && spec->host[0] == '\0') /* IPv6 is switched off here */
        rc = open_tcp(spec, true, is_shared, ret_fd, &why);
    if (rc < 0 && reterr)
        *reterr = why;
    return rc;
}

int listener_open(const struct listener_spec *spec, int *ret_fd, struct err *reterr)
{
    if (spec->kind == LISTENER_UNIX)
        return open_unix(spec, ret_fd, reterr);
    return open_any_tcp(spec, true, ret_fd, reterr);
}

int listener_check_free(const struct listener_spec *spec, struct err *reterr)
{
    int fd = -1;
    int rc;

    if (spec->kind == LISTENER_UNIX || spec->port == 0)
        return 0;
    rc = open_any_tcp(spec, false, &fd, reterr);
    if (rc == 0)
        close(fd);
    return rc;
}

uint16_t listener_port(int fd)
{
    union socket_address address = {0};
    socklen_t size = sizeof(address);

    if (getsockname(fd, &address.any, &size) < 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.in.sin_port);
    if (address.any.sa_family == AF_INET6)
        return ntohs(address.in6.sin6_port);
    return 0;
}
