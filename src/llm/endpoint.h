/* endpoint.h -- from a channel's base_url to the address of one operation (spec 1 section 3.2). */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "llm/protocol.h"

/* Trim, drop query and fragment, trailing slashes and one trailing "/v1" (any case). Appends. */
MUST_USE int endpoint_base(struct str base_url, struct buf *out);
/* base + "/v1/models". */
MUST_USE int endpoint_models(struct str base_url, struct buf *out);
/* base + the path of the protocol; Gemini: each '/'-separated segment of model percent-encoded,
 * ":generateContent" or ":streamGenerateContent?alt=sse". */
MUST_USE int endpoint_generate(struct str base_url, enum protocol p, struct str model, bool is_stream, struct buf *out);
