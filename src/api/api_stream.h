/* api_stream.h -- answers that are larger than we care to hold: made piece by piece, each when the
 * client took the one before. What fits into one piece goes out whole, with its length. */
#pragma once

#include "api/api.h"

#define API_STREAM_PIECE (64u * 1024) /* a maker stops adding when its buf holds that much */

/* In the exchange's arena, with what its maker knows around it. */
struct api_stream {
    struct api_call *call;
    const char *type;     /* content type; static text */
    struct buf buf;       /* the piece being made */
    struct json_out json; /* writes into buf; a maker of other text ignores it */
    /* On the loop: add to buf, then api_stream_push() or api_stream_fail(), now or later. */
    void (*more)(struct api_stream *s);
    void (*ended)(struct api_stream *s); /* once, at the end whatever its kind: let go of what is held; may be NULL */
    bool is_started, is_waiting;
};

/* Asks for the first piece at once. Headers the answer needs are added before. */
void api_stream_start(struct api_stream *s, struct api_call *c, const char *type);
void api_stream_push(struct api_stream *s, bool is_last); /* s may be gone afterwards */
/* Nothing sent yet: the error as JSON; else the connection is cut, so that the client sees it. */
void api_stream_fail(struct api_stream *s, const struct err *e);
