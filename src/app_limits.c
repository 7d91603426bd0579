/* app_limits.c -- what the texts of the options mean to the parts: copies that live as long as the
 * daemon, blocks of addresses, the normal form of the base path. */
#include "app_limits.h"

#include "base/tz.h"

static char *text_of(const struct option_set *o, const char *name)
{
    return str_dup(option_text(o, name));
}

static void read_http_limits(struct http_limits *l, const struct option_set *o)
{
    *l = (struct http_limits){
        .request_line_bytes = (size_t)option_int(o, "http.request_line_bytes"),
        .header_line_bytes = (size_t)option_int(o, "http.header_line_bytes"),
        .head_bytes = (size_t)option_int(o, "http.head_bytes"),
        .header_count = (size_t)option_int(o, "http.header_count"),
        .head_timeout_ms = (uint64_t)option_int(o, "http.head_timeout"),
        .body_timeout_ms = (uint64_t)option_int(o, "http.body_timeout"),
        .keepalive_timeout_ms = (uint64_t)option_int(o, "http.keepalive_timeout"),
        .write_timeout_ms = (uint64_t)option_int(o, "http.write_timeout"),
        .min_rate_bytes = (uint64_t)option_int(o, "http.min_rate"),
        .keepalive_requests = (uint64_t)option_int(o, "http.keepalive_requests"),
        .buffer_bytes = (size_t)option_int(o, "http.buffer_bytes"),
        .connections = (size_t)option_int(o, "http.connections"),
        .connections_per_address = (size_t)option_int(o, "http.connections_per_address"),
    };
}

int app_limits_base_path(struct str s, char **ret, struct err *reterr)
{
    struct buf b = BUF_INIT(1024);

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c <= ' ' || c >= 0x7f || c == '?' || c == '#' || c == '%' || c == '"' || c == '<')
            return err_set_field(reterr, ERR_SYNTAX, "base_path", "character %zu is not allowed",
                                 i + 1);
    }
    while (s.len > 0 && s.ptr[0] == '/')
        s = str_cut(s, 1, s.len);
    while (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    if (s.len > 512)
        return err_set_field(reterr, ERR_RANGE, "base_path", "is longer than 512 bytes");
    buf_put(&b, STR("/"));
    if (s.len != 0) {
        buf_put(&b, s);
        buf_put(&b, STR("/"));
    }
    *ret = buf_take_cstr(&b, NULL);
    return 0;
}

static int read_trusted(struct app_limits *l, const struct option_set *o, struct err *reterr)
{
    /* TRUST_PROXY_HEADERS of system 2: whoever sits on this host or in a private network. */
    static const char *const near[] = {"127.0.0.0/8",   "::1/128",        "10.0.0.0/8",
                                       "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"};
    size_t n = 0;
    struct str item;

    for (size_t i = 0; (item = option_item(o, "trusted_proxies", i)).ptr; i++) {
        if (n == APP_LIST_MAX)
            return err_set(reterr, ERR_RANGE, "trusted_proxies: more than %d blocks", APP_LIST_MAX);
        if (addr_parse_cidr(item, &l->trusted[n]) < 0)
            return err_set(reterr, ERR_SYNTAX,
                           "trusted_proxies: '%.*s' is no address or CIDR block", STR_ARG(item));
        n++;
    }
    for (size_t i = 0; option_bool(o, "trust_proxy_headers") && i < ARRAY_LEN(near); i++) {
        if (n < APP_LIST_MAX && addr_parse_cidr(str_of(near[i]), &l->trusted[n]) == 0)
            n++;
    }
    l->server.trusted_proxies = l->trusted;
    l->server.trusted_proxy_count = n;
    return 0;
}

int app_limits_read(struct app_limits *l, const struct option_set *o, struct err *reterr)
{
    const struct tz *zone;
    struct str item;
    int rc;

    *l = (struct app_limits){0};
    read_http_limits(&l->server.limits, o);
    l->data_dir = text_of(o, "data_dir");
    l->timezone = text_of(o, "timezone");
    l->ca_file = text_of(o, "ca_file");
    l->outbound_proxy = text_of(o, "outbound_proxy");
    l->user_agent = text_of(o, "user_agent");
    rc = tz_load(str_of(l->timezone), &zone, reterr);
    if (rc < 0) {
        (void)err_prefix(reterr, "timezone");
        return rc == ERR_NOTFOUND
                   ? err_set(reterr, ERR_SYNTAX, "timezone: no zone '%s'", l->timezone)
                   : rc;
    }
    rc = app_limits_base_path(option_text(o, "base_path"), &l->base_path, reterr);
    if (rc < 0)
        return reterr ? err_prefix(reterr, "base_path") : rc;
    l->server.base_path = str_of(l->base_path);
    rc = read_trusted(l, o, reterr);
    for (size_t i = 0; rc == 0 && (item = option_item(o, "allowed_hosts", i)).ptr; i++) {
        if (i == APP_LIST_MAX)
            return err_set(reterr, ERR_RANGE, "allowed_hosts: more than %d names", APP_LIST_MAX);
        l->hosts[i] = item;
        l->server.allowed_host_count = i + 1;
    }
    l->server.allowed_hosts = l->hosts;
    return rc;
}

void app_limits_release(struct app_limits *l)
{
    xfree(l->data_dir);
    xfree(l->timezone);
    xfree(l->ca_file);
    xfree(l->outbound_proxy);
    xfree(l->user_agent);
    xfree(l->base_path);
    *l = (struct app_limits){0};
}

static int read_list(const struct option_set *o, const char *name, struct str out[APP_LIST_MAX],
                     size_t *ret_count, struct err *reterr)
{
    struct str item;
    size_t n = 0;

    while ((item = option_item(o, name, n)).ptr) {
        if (n == APP_LIST_MAX)
            return err_set(reterr, ERR_RANGE, "%s: more than %d blocks", name, APP_LIST_MAX);
        out[n++] = item;
    }
    *ret_count = n;
    return 0;
}

int app_limits_egress(const struct option_set *o, struct egress **ret, struct err *reterr)
{
    struct str allow[APP_LIST_MAX], deny[APP_LIST_MAX];
    size_t allow_count = 0, deny_count = 0;
    int rc = read_list(o, "egress.allow", allow, &allow_count, reterr);

    if (rc == 0)
        rc = read_list(o, "egress.deny", deny, &deny_count, reterr);
    if (rc < 0)
        return rc;
    return egress_new(allow, allow_count, deny, deny_count, ret, reterr);
}
