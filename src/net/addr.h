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
    struct addr base;
    uint8_t bits;
};

MUST_USE int addr_parse(struct str s, struct addr *ret);   /* "1.2.3.4", "::1"; no port, no brackets, no zone; strict dotted quad */
MUST_USE int addr_parse_cidr(struct str s, struct addr_cidr *ret); /* "10.0.0.0/8", "::1" (= /128) */
struct addr addr_from_sockaddr(const struct sockaddr *sa);
#define ADDR_TEXT_SIZE 46
void addr_text(const struct addr *a, char out[ADDR_TEXT_SIZE]); /* "-" for none */
bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_in(const struct addr *a, const struct addr_cidr *c);
bool addr_is_loopback(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, 6598 (100.64/10), fc00::/7 */
bool addr_is_link_local(const struct addr *a);
/* Never a sensible upstream: unspecified, link-local and metadata (169.254/16, fe80::/10,
 * fd00:ec2::254), multicast, broadcast, reserved, NAT64/6to4/Teredo forms of any of these. */
bool addr_is_forbidden(const struct addr *a);
