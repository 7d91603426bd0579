/* wire_reply.h -- what the formats' readers share: gathering text, reading counters. Used by the
 * files of llm/ alone. */
#pragma once

#include "llm/json_scan.h"
#include "llm/wire.h"

extern const struct wire openai_chat_wire, openai_responses_wire, anthropic_wire, gemini_wire;

/* Append a string value's text: leading blanks dropped, at most WIRE_TEXT_MAX bytes, bad bytes and
 * NUL as U+FFFD. Lower `rank` replaces what a higher one left; a higher one than held is ignored.
 * True when the value held at least one character. Not a string: false. */
bool wire_reply_text(struct wire_reply *r, const struct json_scan_value *v, uint8_t rank);
/* Drop blanks at the end. */
void wire_reply_trim(struct wire_reply *r);
/* Whole answers: reset *r, and take the text of v when none was found yet. */
void wire_reply_take(struct wire_reply *r, const struct json_scan_value *v);
/* Sets is_json and, when the body is an object, error fields; false: there is nothing more to read.
 */
bool wire_reply_begin(struct wire_reply *r, struct str body);
/* A served model's name, when v is a string that is not empty. */
void wire_reply_model(struct wire_reply *r, const struct json_scan_value *v);
/* v is a number without fraction in 0..2^53: true and *ret; else *ret is 0. */
bool wire_reply_count(const struct json_scan_value *v, int64_t *ret);

/* What a format reports, before it is made disjoint. Absent: has_* false, value 0. */
struct wire_counts {
    int64_t input, output, total, cache_read, cache_write, reasoning;
    bool has_input, has_output, has_total;
};
/* The sum check of spec 2 section A1 and ruling 5: input contains the cache counts, output the
 * reasoning, unless the total says that it stands outside. `is_outside`: the format's own rule. */
void wire_reply_usage(struct wire_reply *r, const struct wire_counts *c, bool is_outside,
                      enum usage_source source);

/* Body of a chat-like probe: {"model","stream","max_tokens","messages"}. */
MUST_USE int wire_reply_chat_body(struct buf *out, struct str model, struct str prompt,
                                  bool is_stream);
