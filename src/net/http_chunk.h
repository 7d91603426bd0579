/* http_chunk.h -- decoder of the chunked transfer coding (RFC 9112 section 7.1), byte-exact and
 * bounded: extensions are ignored, trailers are discarded. No memory of its own. */
#pragma once

#include "base/base.h"
#include "base/str.h"

#define HTTP_CHUNK_LINE_MAX     256   /* size and extensions, without CRLF */
#define HTTP_CHUNK_TRAILER_MAX  4096  /* all trailer lines */
#define HTTP_CHUNK_OVERHEAD_MIN 65536 /* framing bytes allowed beyond a quarter of the data */

/* Zero-initialised = before the first chunk. */
struct http_chunk {
    uint64_t left;     /* data bytes of this chunk still to come */
    uint64_t data;     /* data bytes so far */
    uint64_t overhead; /* framing bytes so far */
    uint32_t line;     /* bytes of the size line, resp. of all trailers */
    uint8_t state;
    uint8_t digits;
};

enum http_chunk_result {
    HTTP_CHUNK_MORE, /* all of `in` was taken, nothing is left to give */
    HTTP_CHUNK_DATA, /* *ret_data is a piece, not empty; call again with the rest */
    HTTP_CHUNK_END,  /* the body is complete */
    HTTP_CHUNK_BAD,  /* not chunked coding, or a bound was passed: 400 and close */
};

/* Takes bytes off the front of *in up to the next piece of data, which points into it. */
enum http_chunk_result http_chunk_next(struct http_chunk *c, struct str *in, struct str *ret_data);
