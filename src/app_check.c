/* app_check.c -- a row a rule, so that each fault is found and told by itself. */
#include "app_check.h"

#include "app_limits.h"
#include "app_listen.h"
#include "base/tz.h"
#include "net/addr.h"
#include "net/listener.h"
#include "net/tls.h"
#include "net/url.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORIGIN_SIZE    160
#define SECRET_KEY_MIN 16 /* characters; a guess over fewer is a matter of days */

/* ---- texts: one value, not empty; a list's items one by one ---- */

static int check_listen(struct str item, struct err *reterr)
{
    struct listener_spec spec;

    return listener_parse(item, &spec, reterr);
}

static int check_cidr(struct str item, struct err *reterr)
{
    struct addr_cidr cidr;

    if (addr_parse_cidr(item, &cidr) == 0)
        return 0;
    return err_set(reterr, ERR_SYNTAX, "'%.*s' is no address or CIDR block",
                   STR_ARG(str_cut_utf8(item, 60)));
}

static int check_base_path(struct str text, struct err *reterr)
{
    char *path;
    int rc = app_limits_base_path(text, &path, reterr);

    if (rc == 0)
        xfree(path);
    return rc;
}

static int check_http_url(struct str text, struct err *reterr)
{
    struct url u;
    int rc = url_parse(text, &u, reterr);

    if (rc == 0 && u.has_userinfo)
        rc = err_set(reterr, ERR_SYNTAX, "must not contain a user or password");
    return rc;
}

static int check_timezone(struct str text, struct err *reterr)
{
    const struct tz *zone;
    int rc = tz_load(text, &zone, reterr);

    return rc == ERR_NOTFOUND ? err_set(reterr, rc, "no zone '%.*s'", STR_ARG(text)) : rc;
}

static int check_secret_key(struct str text, struct err *reterr)
{
    if (str_count_chars(text) >= SECRET_KEY_MIN)
        return 0;
    return err_set(reterr, ERR_RANGE, "has %zu characters, not %d or more", str_count_chars(text),
                   SECRET_KEY_MIN);
}

static int check_user_agent(struct str text, struct err *reterr)
{
    return str_has_control(text) ? err_set(reterr, ERR_SYNTAX, "holds control characters") : 0;
}

static const struct rule {
    const char *option;
    int (*check)(struct str value, struct err *reterr);
} rules[] = {
    {"listen", check_listen},         {"base_path", check_base_path},
    {"public_url", check_http_url},   {"timezone", check_timezone},
    {"secret_key", check_secret_key}, {"trusted_proxies", check_cidr},
    {"user_agent", check_user_agent}, {"outbound_proxy", url_check_proxy},
    {"egress.allow", check_cidr},     {"egress.deny", check_cidr},
    {"url", check_http_url},
};

/* ---- telling ---- */

struct check {
    const struct option_set *options;
    struct buf *problems;
    size_t faults;
};

static void tell(struct check *c, const char *option, const char *text)
{
    char origin[ORIGIN_SIZE];

    c->faults++;
    if (buf_printf(c->problems, "%s: %s: %s\n",
                   option_origin_text(c->options, option, origin, sizeof(origin)), option,
                   text) < 0)
        return; /* full: the count tells that there were more */
}

/* `text` begins with the option's name: "listen: more than 16 addresses". */
static void tell_whole(struct check *c, const char *text)
{
    struct str name = str_until(str_of(text), ':');
    const struct option_row *row = option_find(name);
    char origin[ORIGIN_SIZE] = "options";

    c->faults++;
    if (row)
        option_origin_text(c->options, row->name, origin, sizeof(origin));
    if (buf_printf(c->problems, "%s: %s\n", origin, text) < 0)
        return; /* full: the count tells that there were more */
}

static void check_rule(struct check *c, const struct rule *rule)
{
    struct err e = {0};
    struct str value;

    if (option_find(str_of(rule->option))->type != OPTION_LIST) {
        value = option_text(c->options, rule->option);
        if (value.len != 0 && rule->check(value, &e) < 0)
            tell(c, rule->option, e.text);
        return;
    }
    for (size_t i = 0; (value = option_item(c->options, rule->option, i)).ptr; i++) {
        if (rule->check(value, &e) < 0)
            tell(c, rule->option, e.text);
    }
}

/* ---- files ---- */

/* The path of an option that names a file, readable by us; NULL when it is not, which was told. */
static char *readable_file(struct check *c, const char *option)
{
    char *path = str_dup(option_text(c->options, option));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for its writer */
    struct stat st;
    struct err e = {0};

    if (fd < 0)
        err_set_errno(&e, ERR_IO, errno, "%s cannot be read", path);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        err_set(&e, ERR_IO, "%s is no regular file", path);
    if (fd >= 0)
        close(fd);
    if (e.code == 0)
        return path;
    tell(c, option, e.text);
    xfree(path);
    return NULL;
}

/* The key may stand in the certificate's file. */
static void check_tls(struct check *c)
{
    bool has_cert = option_text(c->options, "tls.cert").len != 0;
    bool has_key = option_text(c->options, "tls.key").len != 0;
    struct tls_server *tls;
    struct err e = {0};

    if (has_key && !has_cert)
        tell(c, "tls.key", "is given without tls.cert");
    if (!has_cert)
        return;

    CLEANUP(xfree_charp) char *cert = readable_file(c, "tls.cert");
    CLEANUP(xfree_charp) char *key = has_key ? readable_file(c, "tls.key") : NULL;

    if (!cert || (has_key && !key))
        return;
    if (tls_server_new(cert, key ? key : cert, &tls, &e) < 0)
        tell(c, "tls.cert", e.text);
    else
        tls_server_free(tls);
}

/* Without the system's file everything but HTTPS upstreams works: a container may lack it. */
static void check_ca_file(struct check *c)
{
    struct str path = option_text(c->options, "ca_file");
    size_t faults = c->faults, length = buf_len(c->problems);

    xfree(readable_file(c, "ca_file"));
    if (c->faults == faults || option_origin(c->options, "ca_file") != OPTION_DEFAULT)
        return;
    c->faults = faults;
    buf_shorten(c->problems, length);
    if (buf_printf(c->problems,
                   "warning: ca_file: %.*s cannot be read, no HTTPS upstream can be checked\n",
                   STR_ARG(path)) < 0)
        return; /* full */
}

/* Numbers of items, and what two options say together. */
static void check_whole(struct check *c)
{
    const struct option_set *o = c->options;
    bool has_tls = option_text(o, "tls.cert").len != 0;
    struct app_limits limits;
    struct egress *egress = NULL;
    struct err e = {0};

    if (app_listen_check(o, has_tls, &e) < 0)
        tell_whole(c, e.text);
    if (app_limits_read(&limits, o, &e) < 0)
        tell_whole(c, e.text);
    app_limits_release(&limits);
    if (app_limits_egress(o, &egress, &e) < 0)
        tell_whole(c, e.text);
    egress_free(egress);
}

size_t app_check(const struct option_set *o, bool files, struct buf *problems)
{
    struct check c = {.options = o, .problems = problems};

    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        check_rule(&c, &rules[i]);
    if (c.faults == 0)
        check_whole(&c); /* else it would say the same again */
    if (files) {
        check_tls(&c);
        check_ca_file(&c);
    }
    return c.faults;
}
