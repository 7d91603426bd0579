/* addr.c -- addresses as values. The ranges are tables, so that what is refused can be read. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct range {
    uint8_t family, bits, bytes[16];
};

/* IANA special-purpose registries (RFC 6890 and later). Documentation and benchmark nets are left
 * out: nothing answers there, and people test with them. */
static const struct range forbidden_ranges[] = {
    {4, 8, {0}},                                                        /* "this network", 0.0.0.0 reaches the host itself */
    {4, 16, {169, 254}},                                                /* link-local, cloud metadata */
    {4, 32, {100, 100, 100, 200}},                                      /* Alibaba metadata */
    {4, 24, {192, 0, 0}},                                               /* IETF assignments, Oracle metadata */
    {4, 4, {224}},                                                      /* multicast */
    {4, 4, {240}},                                                      /* reserved, broadcast */
    {6, 128, {0}},                                                      /* unspecified */
    {6, 10, {0xfe, 0x80}},                                              /* link-local */
    {6, 8, {0xff}},                                                     /* multicast */
    {6, 64, {0x01, 0x00}},                                              /* discard-only, RFC 6666 */
    {6, 128, {0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}},          /* AWS metadata */
    {6, 128, {0xfd, 0x20, 0, 0xce, [14] = 0x02, [15] = 0x54}},          /* Google metadata */
};

static const struct range loopback_ranges[] = {
    {4, 8, {127}},
    {6, 128, {[15] = 1}},
};

static const struct range private_ranges[] = {
    {4, 8, {10}},
    {4, 12, {172, 16}},
    {4, 16, {192, 168}},
    {4, 10, {100, 64}},
    {6, 7, {0xfc}},
    {6, 10, {0xfe, 0xc0}}, /* site-local, deprecated but still routed by some */
};

static const struct range link_local_ranges[] = {
    {4, 16, {169, 254}},
    {6, 10, {0xfe, 0x80}},
};

static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

/* Are all addresses that share `bits` leading bits with `a` inside one of the ranges? */
static bool block_in_ranges(const struct addr *a, unsigned bits, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].family == a->family && bits >= r[i].bits && prefix_equal(a->bytes, r[i].bytes, r[i].bits))
            return true;
    return false;
}

static unsigned width(const struct addr *a)
{
    return a->family == 4 ? 32 : 128;
}

#define IN_RANGES(a, bits, table) block_in_ranges((a), (bits), (table), ARRAY_LEN(table))

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static struct addr from_ip6(const uint8_t bytes[16])
{
    struct addr a = {.family = 6};

    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        a.family = 4;
        memcpy(a.bytes, bytes + 12, 4);
    } else {
        memcpy(a.bytes, bytes, 16);
    }
    return a;
}

/* Family 6 is kept as written: addr_parse_cidr() must see the mapped form. */
static int parse_raw(struct str s, struct addr *ret)
{
    struct addr a = {0};
    char text[ADDR_TEXT_SIZE];

    if (s.len == 0 || s.len >= sizeof(text) || memchr(s.ptr, '\0', s.len))
        return ERR_SYNTAX;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    if (inet_pton(AF_INET, text, a.bytes) == 1)
        a.family = 4;
    else if (inet_pton(AF_INET6, text, a.bytes) == 1)
        a.family = 6;
    else
        return ERR_SYNTAX;
    *ret = a;
    return 0;
}

int addr_parse(struct str s, struct addr *ret)
{
    struct addr a;

    if (parse_raw(s, &a) < 0)
        return ERR_SYNTAX;
    *ret = a.family == 6 ? from_ip6(a.bytes) : a;
    return 0;
}

int addr_parse_cidr(struct str s, struct addr_cidr *ret)
{
    struct addr_cidr c = {0};
    ssize_t slash = str_find(s, '/');
    uint64_t bits;

    if (parse_raw(str_until(s, '/'), &c.base) < 0)
        return ERR_SYNTAX;
    bits = width(&c.base);
    if (slash >= 0 && str_to_u64(str_after(s, '/'), width(&c.base), &bits) < 0)
        return ERR_SYNTAX;
    if (c.base.family == 6 && bits >= 96 && memcmp(c.base.bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        c.base = from_ip6(c.base.bytes);
        bits -= 96;
    }
    for (unsigned i = (unsigned)bits; i < width(&c.base); i++)             /* bits <= 128 */
        c.base.bytes[i / 8] &= (uint8_t)~(0x80u >> (i % 8));              /* one bit of a byte */
    c.bits = (uint8_t)bits;                                               /* <= 128 */
    *ret = c;
    return 0;
}

/* One part of an inet_aton() number: decimal, 0octal, 0xhex. */
static int parse_part(struct str s, uint64_t *ret)
{
    unsigned base = 10;
    uint64_t v = 0;

    if (str_istarts(s, STR("0x"))) {
        base = 16;
        s = str_cut(s, 2, s.len);
    } else if (s.len > 1 && s.ptr[0] == '0') {
        base = 8;
    }
    if (s.len == 0)
        return base == 16 ? (*ret = 0, 0) : ERR_SYNTAX; /* "0x" counts as 0, as in the WHATWG URL standard */
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        unsigned digit = 99;

        if (c >= '0' && c <= '9')
            digit = c - (unsigned)'0';
        else if ((c | 32u) >= 'a' && (c | 32u) <= 'f')
            digit = (c | 32u) - (unsigned)'a' + 10;
        if (digit >= base)
            return ERR_SYNTAX;
        v = v * base + digit;
        if (v > UINT32_MAX)
            return ERR_RANGE;
    }
    *ret = v;
    return 0;
}

static bool is_number_label(struct str s)
{
    uint64_t v;

    if (s.len == 0)
        return false;
    if (parse_part(s, &v) != ERR_SYNTAX)
        return true;
    for (size_t i = 0; i < s.len; i++) /* "09": digits, though not octal ones */
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return true;
}

int addr_parse_loose(struct str s, struct addr *ret)
{
    struct str parts[4], rest, part = STR_NONE, last = STR_NONE;
    uint64_t v, value = 0;
    size_t n = 0;

    if (s.len > 0 && s.ptr[s.len - 1] == '.')
        s.len--;
    for (rest = s; str_split(&rest, '.', &part); last = part, n++)
        if (n < 4)
            parts[n] = part;
    if (!is_number_label(last))
        return ERR_NOTFOUND;
    if (n > 4)
        return ERR_SYNTAX;
    for (size_t i = 0; i < n; i++) {
        unsigned shift = i + 1 < n ? 24 - 8 * (unsigned)i : 0;              /* i < 4 */
        uint64_t max = i + 1 < n ? 255 : UINT32_MAX >> (8 * (n - 1));

        if (parse_part(parts[i], &v) < 0 || v > max)
            return ERR_SYNTAX;
        value |= v << shift;
    }
    *ret = (struct addr){.family = 4,
                         .bytes = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value}};
    return 0;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
    struct addr a = {0};

    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof(in));
        a.family = 4;
        memcpy(a.bytes, &in.sin_addr, 4);
    } else if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof(in6));
        a = from_ip6(in6.sin6_addr.s6_addr);
    }
    return a;
}

void addr_text(const struct addr *a, char out[ADDR_TEXT_SIZE])
{
    if (a->family == 0 || !inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, out, ADDR_TEXT_SIZE))
        str_copy(out, ADDR_TEXT_SIZE, STR("-"));
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && (a->family == 0 || memcmp(a->bytes, b->bytes, width(a) / 8) == 0);
}

bool addr_in(const struct addr *a, const struct addr_cidr *c)
{
    return a->family != 0 && a->family == c->base.family && prefix_equal(a->bytes, c->base.bytes, c->bits);
}

bool addr_is_loopback(const struct addr *a)
{
    return a->family != 0 && IN_RANGES(a, width(a), loopback_ranges);
}

bool addr_is_private(const struct addr *a)
{
    return a->family != 0 && IN_RANGES(a, width(a), private_ranges);
}

bool addr_is_link_local(const struct addr *a)
{
    return a->family != 0 && IN_RANGES(a, width(a), link_local_ranges);
}

size_t addr_embedded(const struct addr *a, struct addr ret[ADDR_EMBEDDED_MAX])
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b}, nat64_local[6] = {0, 0x64, 0xff, 0x9b, 0, 1};
    static const uint8_t sixto4[2] = {0x20, 0x02}, teredo[4] = {0x20, 0x01}, zero[12];
    const uint8_t *b = a->bytes;

    if (a->family != 6)
        return 0;
    for (size_t i = 0; i < ADDR_EMBEDDED_MAX; i++)
        ret[i] = (struct addr){.family = 4};
    if (memcmp(b, sixto4, sizeof(sixto4)) == 0) {
        memcpy(ret[0].bytes, b + 2, 4);
        return 1;
    }
    if (memcmp(b, teredo, sizeof(teredo)) == 0) { /* RFC 4380: server clear, client inverted */
        memcpy(ret[0].bytes, b + 4, 4);
        for (size_t i = 0; i < 4; i++)
            ret[1].bytes[i] = (uint8_t)~b[12 + i]; /* a byte */
        return 2;
    }
    if (memcmp(b, nat64, sizeof(nat64)) == 0 || memcmp(b, nat64_local, sizeof(nat64_local)) == 0 ||
        (memcmp(b, zero, sizeof(zero)) == 0 && !addr_is_loopback(a))) {
        memcpy(ret[0].bytes, b + 12, 4);
        return 1;
    }
    return 0;
}

bool addr_is_forbidden(const struct addr *a)
{
    struct addr inner[ADDR_EMBEDDED_MAX];
    size_t n = addr_embedded(a, inner);

    if (a->family == 0 || IN_RANGES(a, width(a), forbidden_ranges))
        return true;
    for (size_t i = 0; i < n; i++)
        if (IN_RANGES(&inner[i], 32, forbidden_ranges))
            return true;
    return false;
}

bool addr_cidr_is_forbidden(const struct addr_cidr *c)
{
    if (IN_RANGES(&c->base, c->bits, forbidden_ranges))
        return true;
    return c->bits == width(&c->base) && addr_is_forbidden(&c->base);
}

bool addr_cidr_is_private(const struct addr_cidr *c)
{
    return IN_RANGES(&c->base, c->bits, loopback_ranges) || IN_RANGES(&c->base, c->bits, private_ranges);
}
