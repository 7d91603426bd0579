/* url.h -- absolute http and https URLs (RFC 3986), split without copying, and percent-coding. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct url {
    bool is_https;
    bool has_userinfo; /* callers refuse it */
    bool host_is_ip6;  /* host without brackets */
    struct str host;   /* as written, no brackets */
    uint16_t port;     /* explicit or 80 / 443 */
    bool has_port;
    struct str path;   /* "" or begins with '/' */
    struct str query;  /* without '?' */
    struct str fragment;
};

/* 0; ERR_SYNTAX with the reason: other scheme, no host, bad port, control characters, blanks.
 * The parts point into `text`. */
MUST_USE int url_parse(struct str text, struct url *ret, struct err *reterr);
/* An outbound proxy: http, https, socks5 or socks5h, a host, no user or password (they would be shown
 * where addresses are). 0 or ERR_SYNTAX with the reason, to be put behind a name: "must be ...". */
MUST_USE int url_check_proxy(struct str text, struct err *reterr);
/* "https://host:8443" (port only when it is not the scheme's). */
MUST_USE int url_origin(const struct url *u, struct buf *out);

MUST_USE int url_encode_segment(struct str s, struct buf *out); /* all but unreserved, '/' encoded */
/* Decode %XX; '+' stays. ERR_SYNTAX: bad escape, NUL or control character in the result. */
MUST_USE int url_decode(struct str s, struct buf *out);
MUST_USE int url_decode_query(struct str s, struct buf *out); /* '+' is a blank too */

/* Walk "a=1&b=2"; false at the end. Parts are still encoded. */
bool url_query_next(struct str *query, struct str *ret_name, struct str *ret_value);
