/* wire.h -- what a probe needs of each wire format, one table row a format: the request body, how
 * to read a whole answer, how to read a streamed one. Rows live in openai_chat.c,
 * openai_responses.c, anthropic.c and gemini.c; the gateway adds its own columns there. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "llm/outcome.h"
#include "llm/protocol.h"
#include "llm/usage.h"

#define WIRE_TEXT_MAX 500 /* bytes of answer or error text kept, cut on a character boundary */

/* What an answer said. */
struct wire_reply {
    char text[WIRE_TEXT_MAX + 4];  /* trimmed answer text, "" = none found */
    char error[WIRE_TEXT_MAX + 4]; /* error the body reports, "" = none */
    char error_code[64];           /* machine-readable code or type of it */
    char model[128];               /* model the upstream says it used */
    struct usage usage;
    enum usage_source usage_source;
    bool is_json;      /* the body was a JSON object */
    bool is_truncated; /* finish_reason length / max_tokens / MAX_TOKENS */
    bool is_finished;  /* streams: the closing event was seen */
    /* How text is being gathered; for the readers alone. */
    bool is_text_full, is_text_at_cap;
    uint8_t text_rank; /* what text holds; a lower rank replaces it */
};

struct wire {
    enum protocol protocol;
    /* The probe's body exactly as spec 1 section 3.5 (values; key order as printed there). */
    int (*probe_body)(struct buf *out, struct str model, struct str prompt, bool is_stream);
    /* Header lines besides Authorization, "Name: value", each with a NUL behind it, appended to
     * out. */
    int (*probe_headers)(struct buf *out, struct str api_key, struct str anthropic_version);
    /* Whole body of a 2xx or error answer -> *ret. Any bytes are fine; is_json false when it is no
     * JSON object. */
    void (*read_reply)(struct str body, bool lenient, struct wire_reply *ret);
    /* One SSE event of a streamed answer, merged into *ret; returns true when it carried text
     * (first true = first token). */
    bool (*read_event)(struct str name, struct str data, struct wire_reply *ret);
};

/* After the last event of a stream: trims the text. (read_reply does it by itself.) */
void wire_end_stream(struct wire_reply *r);

const struct wire *wire_of(enum protocol p); /* NULL for PROTOCOL_NONE */

/* Error of a JSON body by spec 1 section 3.6 (a)-(c), any format; "" when none. Fills error and
 * error_code. */
void wire_read_error(struct str body, struct wire_reply *ret);

/* Model list of GET /v1/models: every string data[i].id in order. fn gets each id (decoded UTF-8,
 * valid only inside); returns 0, or ERR_SYNTAX with one of the texts of spec 1 section 3.3. */
MUST_USE int wire_read_models(struct str body, void (*fn)(void *ctx, struct str id), void *ctx,
                              struct err *reterr);

/* The verdict on one exchange (spec 1 section 3.6). status 0 = no HTTP answer (then `outcome` comes
 * from the transport and is not asked here). `error` out: text for `error` field, "" on success;
 * cap WIRE_ERROR_MAX. */
#define WIRE_ERROR_MAX 640
enum outcome wire_judge(int status, struct str raw_body, const struct wire_reply *reply,
                        bool lenient, char error[WIRE_ERROR_MAX]);
