/* json_doc.h -- cold-path JSON documents (jansson behind it): refuses duplicate keys, depth > 64,
 * bytes that are not UTF-8 and NUL in strings, and says where. Not for bodies above 64 KiB on a loop
 * (8 ns a byte); the data path has llm/json_scan.h. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#include <jansson.h>

#define JSON_DOC_DEPTH_MAX 64

static inline void json_doc_decrefp(json_t **p)
{
    json_decref(*p);
}
/* CLEANUP(json_doc_decrefp) json_t *doc = NULL; */

/* Parse the first JSON value of `text`; with JSON_DOC_TRAILING bytes behind it are ignored (system
 * 1's bodies), else they are an error. 0 or ERR_SYNTAX: *reterr tells line, column and reason. */
#define JSON_DOC_TRAILING 1u
MUST_USE int json_doc_parse(struct str text, unsigned flags, json_t **ret, struct err *reterr);

/* Borrowed views; wrong type or absence gives the fallback. */
struct str json_doc_str(const json_t *v);                /* STR_NONE unless a string */
const json_t *json_doc_get(const json_t *obj, const char *key); /* NULL unless an object with key */
