/* sse.h -- Server-Sent Events (WHATWG HTML section 9.2), both directions. The parser takes any
 * chunking, LF, CR and CRLF, and holds at most max_event bytes of data (and, between two calls, one
 * unfinished line of as much); of a larger event the beginning is reported, marked as cut. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct sse_event { /* borrowed for the callback */
    struct str name; /* "" = "message" */
    struct str data; /* lines joined by LF */
    struct str id;   /* last id seen */
    bool is_cut;     /* data past max_event was left out */
};

struct sse_parser {
    struct buf line, data, name, id;
    bool after_cr, at_start, is_cut, has_data;
    size_t bom_seen;
    /* false stops: sse_parser_feed() returns at once with ERR_CANCELLED */
    bool (*on_event)(void *ctx, const struct sse_event *e);
    void *ctx;
};

void sse_parser_init(struct sse_parser *p, size_t max_event, bool (*on_event)(void *, const struct sse_event *), void *ctx);
void sse_parser_release(struct sse_parser *p);
/* 0, ERR_CANCELLED, or ERR_NOMEM; after a failure the parser is only good for release. */
MUST_USE int sse_parser_feed(struct sse_parser *p, struct str bytes);
/* At the end of a body without the closing blank line: the pending event is dropped, as browsers do;
 * returns true when there was one (an upstream that breaks off). */
bool sse_parser_end(struct sse_parser *p);

/* One frame; data is split at LF, CR and CRLF; control characters in the name are left out. id 0 =
 * none, name "" = none. A failure leaves `out` as it was. */
MUST_USE int sse_format(struct buf *out, struct str name, uint64_t id, struct str data);
