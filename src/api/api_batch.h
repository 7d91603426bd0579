/* api_batch.h -- many channels in one change: every item is judged first, then all are written or
 * none. Used by the paste of lines, bulk create and import; dry runs stop after the judging. */
#pragma once

#include "api/api.h"

#define API_BATCH_MAX 10000 /* channels in one request; the body's limit is met before */

struct api_batch_item {
    json_t *json;   /* a reference: the channel's members */
    unsigned line;  /* of a pasted text; 0 = none */
    struct channel *after;         /* as it would be stored; NULL = fault */
    const struct channel *before;  /* what has this name, borrowed from the batch's snapshot; NULL = new */
    bool is_changed;
    int64_t id;     /* after it was stored */
    struct err fault; /* code 0 = none */
};

struct api_batch {
    struct api_batch_item *items;
    size_t count, cap, fault_count;
    struct catalog_snapshot *snapshot; /* that it was judged against; a reference */
};

void api_batch_add(struct api_batch *b, json_t *json, unsigned line); /* takes a reference of its own */
/* Lines of `name url key`; a line that is none becomes an item with a fault. */
void api_batch_add_paste(struct api_batch *b, const struct catalog_snapshot *s, struct str text);
void api_batch_release(struct api_batch *b); /* may be used again */
/* Judge every item. may_update: a name that is there means that channel, else it is a fault. */
void api_batch_plan(struct api_batch *b, const struct api_call *c, struct catalog_snapshot *s, bool may_update);
/* Store what was planned without a fault. */
MUST_USE int api_batch_store(struct api_batch *b, struct catalog_tx *tx, const struct api_call *c, struct err *reterr);
/* "faults": [{"index","line","name","field","detail"}] as a member of the open object. */
void api_batch_write_faults(const struct api_batch *b, struct json_out *j);
/* "create", "update", "unchanged" as members of the open object. */
void api_batch_write_plan(const struct api_batch *b, struct json_out *j);
