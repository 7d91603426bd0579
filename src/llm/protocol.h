/* protocol.h -- wire formats and the routes probes take through them. */
#pragma once

#include "base/base.h"
#include "base/str.h"

enum protocol { PROTOCOL_NONE, PROTOCOL_OPENAI_CHAT, PROTOCOL_OPENAI_RESPONSES, PROTOCOL_ANTHROPIC, PROTOCOL_GEMINI, PROTOCOLS };

const char *protocol_name(enum protocol p);   /* "openai_chat": ledger, API of the ledger */
const char *protocol_family(enum protocol p); /* "openai", "anthropic", "gemini", "": system 1's field `protocol` */
const char *protocol_route(enum protocol p);  /* "chat", "responses", "anthropic", "gemini" */
const char *protocol_endpoint(enum protocol p); /* "chat", "responses", "messages", "gemini" */
MUST_USE int protocol_parse_route(struct str route, enum protocol *ret); /* "skip" -> PROTOCOL_NONE */

/* Route of a model by the ordered table of spec 1 section 3.4 (the part after the first '/', lower case). */
enum protocol protocol_of_model(struct str model);
/* Embedding, rerank, image, audio, video, moderation models by name: no chat probe can succeed. */
bool protocol_is_unprobeable(struct str model);
