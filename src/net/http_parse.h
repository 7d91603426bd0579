/* http_parse.h -- a request head: found in the bytes line by line, then taken apart. Strict: what
 * RFC 9112 does not allow is refused, also where it lets a server be lenient. Two readers must
 * agree, llhttp and ours, before a head counts.
 *
 * Errors are HTTP statuses (400 ... 505); after one the connection is of no further use. */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "base/str.h"
#include "net/http_server.h"

/* Where the search for the end of the head stands. Zero-initialised = at the start. */
struct http_parse_scan {
    size_t pos;   /* bytes looked at */
    size_t start; /* of the request line, behind one empty line that may precede it */
    size_t line;  /* start of the line `pos` is in */
    size_t lines; /* complete ones, request line included */
};

/* Look at `in` (all bytes since the start; it may have grown and moved). 0: the head is not
 * complete; 1: it is in[s->start .. s->pos); else the status to refuse with, which does not depend
 * on how the bytes were cut. */
MUST_USE int http_parse_scan(struct http_parse_scan *s, const struct http_limits *limits,
                             struct str in);

struct http_parse_head {
    enum http_method method;
    struct str method_text;
    struct str target;
    struct str authority; /* of an absolute target, else STR_NONE */
    struct str raw_path;  /* begins with '/' ("*" gives "/") */
    struct str query;
    struct str host;      /* valid host[:port]; empty: an HTTP/1.0 request without one */
    struct http_header *headers;
    size_t header_count;
    int64_t content_length; /* -1: none */
    bool is_chunked;
    bool is_http10;
    bool wants_close; /* by version and Connection */
    bool wants_continue;
    bool has_other_expect;
};

/* Take apart a head that http_parse_scan() found, in place: names become lower case. The parts
 * point into `head`, the header array lies in the arena. 0 or the status to refuse with. */
MUST_USE int http_parse_head(char *head, size_t len, size_t lines, struct arena *a,
                             struct http_parse_head *ret);

/* host[:port]: a name of letters, digits, "-._~%" and the like, an IPv4 or a bracketed IPv6 address. */
bool http_parse_is_host(struct str s);
/* Without the port. */
struct str http_parse_host_name(struct str host);
bool http_parse_is_token(struct str s);
/* Next element of a comma-separated list, trimmed, empty ones left out. */
bool http_parse_next_item(struct str *list, struct str *ret);
