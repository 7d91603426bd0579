/* http_chunk.c -- one state per place in the grammar, so that any cut of the bytes is the same.
 *
 *   chunk   = 1*HEXDIG [ chunk-ext ] CRLF data CRLF
 *   last    = 1*"0" [ chunk-ext ] CRLF trailers CRLF
 */
#include "net/http_chunk.h"

#define SIZE_DIGITS_MAX 15 /* 60 bits: no overflow, and more than any limit allows */

enum state {
    SIZE,       /* in the digits */
    EXTENSION,  /* behind them */
    SIZE_LF,    /* CR seen */
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,    /* start of a trailer line */
    IN_TRAILER, /* inside one */
    TRAILER_LF,
    END_LF,     /* CR of the empty line seen */
    END,
    BAD,
};

static bool is_text(char c) /* field content: no control but HT */
{
    return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

static enum state step_size(struct http_chunk *c, char b)
{
    int value = str_hex_value(b);

    if (value >= 0) {
        if (++c->digits > SIZE_DIGITS_MAX)
            return BAD;
        c->left = c->left << 4 | (uint64_t)value;
        return SIZE;
    }
    if (c->digits == 0)
        return BAD;
    if (b == '\r')
        return SIZE_LF;
    return b == ';' ? EXTENSION : BAD;
}

/* State after one byte of framing; DATA is never passed here. */
static enum state step(struct http_chunk *c, char b)
{
    switch ((enum state)c->state) {
    case SIZE:
        return step_size(c, b);
    case EXTENSION:
        if (b == '\r')
            return SIZE_LF;
        return is_text(b) ? EXTENSION : BAD;
    case SIZE_LF:
        c->digits = 0;
        c->line = 0;
        if (b != '\n')
            return BAD;
        return c->left > 0 ? DATA : TRAILER;
    case DATA_CR:
        return b == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        c->line = 0;
        return b == '\n' ? SIZE : BAD;
    case TRAILER:
        if (b == '\r')
            return END_LF;
        return is_text(b) && b != ' ' && b != '\t' && b != ':' ? IN_TRAILER : BAD;
    case IN_TRAILER:
        if (b == '\r')
            return TRAILER_LF;
        return is_text(b) ? IN_TRAILER : BAD;
    case TRAILER_LF:
        return b == '\n' ? TRAILER : BAD;
    case END_LF:
        return b == '\n' ? END : BAD;
    case DATA:
    case END:
    case BAD:
        break;
    }
    return BAD;
}

/* The bounds on framing after one more byte of it. */
static bool is_within(const struct http_chunk *c)
{
    bool in_trailers = c->state >= TRAILER && c->state <= END;

    if (c->line > (in_trailers ? HTTP_CHUNK_TRAILER_MAX : HTTP_CHUNK_LINE_MAX + 1)) /* its CR */
        return false;
    return c->overhead <= c->data / 4 + HTTP_CHUNK_OVERHEAD_MIN;
}

enum http_chunk_result http_chunk_next(struct http_chunk *c, struct str *in, struct str *ret_data)
{
    while (in->len > 0 && c->state < END) {
        if (c->state == DATA) {
            size_t n = c->left < in->len ? (size_t)c->left : in->len; /* <= in->len */

            *ret_data = str_n(in->ptr, n);
            *in = str_n(in->ptr + n, in->len - n);
            c->left -= n;
            c->data += n;
            if (c->left == 0)
                c->state = DATA_CR;
            return HTTP_CHUNK_DATA;
        }
        c->overhead++;
        c->line++;
        c->state = (uint8_t)step(c, *in->ptr); /* the enum has a dozen values */
        *in = str_n(in->ptr + 1, in->len - 1);
        if (!is_within(c))
            c->state = BAD;
    }
    if (c->state == END)
        return HTTP_CHUNK_END;
    return c->state == BAD ? HTTP_CHUNK_BAD : HTTP_CHUNK_MORE;
}
