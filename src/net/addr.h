/* addr.h -- IP addresses and CIDR blocks as values; IPv4-mapped IPv6 is folded to IPv4. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#include <sys/socket.h>

struct addr {
    uint8_t family;    /* 4, 6, or 0 = none (Unix socket) */
    uint8_t bytes[16]; /* network order; first 4 for IPv4 */
};

struct addr_cidr {
    struct addr base; /* bits behind the prefix are 0 */
    uint8_t bits;
};

MUST_USE int addr_parse(struct str s, struct addr *ret);   /* "1.2.3.4", "::1"; no port, no brackets, no zone; strict dotted quad */
MUST_USE int addr_parse_cidr(struct str s, struct addr_cidr *ret); /* "10.0.0.0/8", "::1" (= /128) */
/* Every spelling inet_aton() and so many resolvers take for an IPv4 address: "127.1", "0x7f.1",
 * "017700000001", "2130706433", a dot at the end. 0; ERR_SYNTAX: looks like one and is none (the
 * last label is a number); ERR_NOTFOUND: a name. */
MUST_USE int addr_parse_loose(struct str s, struct addr *ret);
struct addr addr_from_sockaddr(const struct sockaddr *sa);
#define ADDR_TEXT_SIZE 46
void addr_text(const struct addr *a, char out[ADDR_TEXT_SIZE]); /* "-" for none */
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_in(const struct addr *a, const struct addr_cidr *c);
bool addr_is_loopback(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, 6598 (100.64/10), fc00::/7, fec0::/10 */
bool addr_is_link_local(const struct addr *a);
/* Never a sensible upstream: unspecified, link-local and metadata (169.254/16, fe80::/10,
 * fd00:ec2::254), multicast, broadcast, reserved, NAT64/6to4/Teredo forms of any of these. */
bool addr_is_forbidden(const struct addr *a);
/* The block lies wholly inside one forbidden resp. one loopback or private range. */
bool addr_cidr_is_forbidden(const struct addr_cidr *c);
bool addr_cidr_is_private(const struct addr_cidr *c);
/* IPv4 addresses carried inside an IPv6 one (NAT64, 6to4, Teredo, IPv4-compatible); returns how
 * many were written, 0 for all others. */
#define ADDR_EMBEDDED_MAX 2
size_t addr_embedded(const struct addr *a, struct addr ret[ADDR_EMBEDDED_MAX]);
