/* egress.c -- one verdict per address, whatever its spelling: an address is looked at in its
 * plain form and in each IPv4 address it carries inside. */
#include "net/egress.h"

#include "base/metric.h"

struct egress {
    struct addr_cidr *allow, *deny;
    size_t allow_count, deny_count;
};

/* Ports whose services act on lines of text, so that an HTTP request could speak to them by
 * accident (the fetch standard's "bad ports" less those web services really use), and the
 * classics of the same kind among stores. Sorted. */
static const uint16_t bad_ports[] = {
    1,   7,   9,   11,  13,  15,  17,  19,  20,  21,  22,  23,  25,  37,  42,  43,   53,   69,   77,   79,   87,   95,
    101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143,  161,  179,  389,  427,  465,  512,
    513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989,  990,  993,  995,  1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 11211,
};

static int parse_list(const struct str *texts, size_t count, const char *field, struct addr_cidr **ret, struct err *reterr)
{
    struct addr_cidr *list = xcalloc(count, sizeof(*list));

    for (size_t i = 0; i < count; i++)
        if (addr_parse_cidr(str_trim(texts[i]), &list[i]) < 0) {
            xfree(list);
            return err_set_field(reterr, ERR_SYNTAX, field, "'%.*s' is not an address or CIDR block", STR_ARG(texts[i]));
        }
    *ret = list;
    return 0;
}

int egress_new(const struct str *allow, size_t allow_count, const struct str *deny, size_t deny_count, struct egress **ret, struct err *reterr)
{
    struct egress *e = xcalloc(1, sizeof(*e));
    int r = parse_list(allow, allow_count, "allow", &e->allow, reterr);

    if (r == 0)
        r = parse_list(deny, deny_count, "deny", &e->deny, reterr);
    if (r < 0) {
        egress_free(e);
        return r;
    }
    e->allow_count = allow_count;
    e->deny_count = deny_count;
    *ret = e;
    return 0;
}

void egress_free(struct egress *e)
{
    if (!e)
        return;
    xfree(e->allow);
    xfree(e->deny);
    xfree(e);
}

/* The forms to judge: the address itself first, then what it carries. A well-known NAT64 address
 * is nothing but its IPv4 address, so that one takes its place. */
static size_t forms_of(const struct addr *a, struct addr ret[1 + ADDR_EMBEDDED_MAX])
{
    static const struct addr_cidr nat64 = {.base = {6, {0, 0x64, 0xff, 0x9b}}, .bits = 96};
    size_t n;

    ret[0] = *a;
    n = 1 + addr_embedded(a, ret + 1);
    if (n == 2 && addr_in(a, &nat64)) {
        ret[0] = ret[1];
        n = 1;
    }
    return n;
}

/* Does the allow list hold `a` at all, and by a block inside a forbidden resp. private range? */
struct naming {
    bool any, forbidden, private;
};

static struct naming naming_of(const struct egress *e, const struct addr *a)
{
    struct naming n = {0};

    for (size_t i = 0; i < e->allow_count; i++)
        if (addr_in(a, &e->allow[i])) {
            n.any = true;
            n.forbidden |= addr_cidr_is_forbidden(&e->allow[i]);
            n.private |= addr_cidr_is_private(&e->allow[i]);
        }
    return n;
}

/* NULL = passes, else why not. */
static const char *verdict(const struct egress *e, const struct addr *a, bool private_ok)
{
    struct addr forms[1 + ADDR_EMBEDDED_MAX];
    size_t n = forms_of(a, forms);
    struct naming named = naming_of(e, &forms[0]);

    if (a->family == 0)
        return "is not an IP address";
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < e->deny_count; k++)
            if (addr_in(&forms[i], &e->deny[k]))
                return "is on the deny list";
    if (e->allow_count > 0 && !named.any)
        return "is not on the allow list";
    for (size_t i = 0; i < n; i++) {
        if (addr_is_forbidden(&forms[i]) && !named.forbidden)
            return "is in a link-local, metadata, multicast or reserved range";
        if (!private_ok && !named.private && addr_is_loopback(&forms[i]))
            return "is a loopback address";
        if (!private_ok && !named.private && addr_is_private(&forms[i]))
            return "is in a private range";
    }
    return NULL;
}

static int judge(const struct egress *e, const struct addr *a, bool private_ok, struct err *reterr)
{
    char text[ADDR_TEXT_SIZE];
    const char *why = verdict(e, a, private_ok);

    if (!why)
        return 0;
    addr_text(a, text);
    return err_set(reterr, ERR_DENIED, "address %s %s", text, why);
}

int egress_check_addr(const struct egress *e, const struct addr *a, bool private_ok, struct err *reterr)
{
    int r = judge(e, a, private_ok, reterr);

    if (r < 0)
        metric_add(METRIC_EGRESS_REFUSED, 0, 1);
    return r;
}

static bool is_bad_port(uint16_t port)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_ports); i++)
        if (bad_ports[i] == port)
            return true;
    return false;
}

static bool is_localhost(struct str host)
{
    if (str_ends(host, STR(".")))
        host.len--;
    if (str_ieq(host, STR("localhost")))
        return true;
    return host.len > 10 && str_ieq(str_cut(host, host.len - 10, 10), STR(".localhost")); /* RFC 6761 */
}

int egress_check_url(const struct egress *e, struct str url, bool private_ok, struct err *reterr)
{
    struct url u;
    struct addr literal = {0};
    int r = url_parse(url, &u, reterr);

    if (r < 0)
        return r;
    if (u.has_userinfo)
        return err_set(reterr, ERR_DENIED, "URL must not hold a user name or password");
    if (is_bad_port(u.port))
        return err_set(reterr, ERR_DENIED, "port %u is not allowed", u.port);
    if (u.host_is_ip6)
        r = addr_parse(u.host, &literal);
    else if (is_localhost(u.host))
        r = addr_parse(STR("127.0.0.1"), &literal);
    else
        r = addr_parse_loose(u.host, &literal);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0)
        return err_set(reterr, ERR_SYNTAX, "host of the URL is a malformed IPv4 address");
    return judge(e, &literal, private_ok, reterr);
}
