/* api_target_edit.h -- what every change of channels shares: the check beyond single fields, the
 * audit row, the live event, and letting go of what is deleted. */
#pragma once

#include "api/api.h"
#include "net/loop.h"

/* Fields are fine one by one; may this channel be stored? `before` (NULL: a new one) holds what it
 * was: an address that stands already is not judged again. A visitor's upstream must not lie in a
 * private network, nor resolve to one (ch->by_visitor is set here). ERR_RANGE naming base_url. */
MUST_USE int api_target_edit_check(const struct api_call *c, struct channel *ch, const struct channel *before, struct err *reterr);
/* "channel.update" of "7 relay-a"; detail: names of fields, never a value. */
MUST_USE int api_target_edit_audit(struct catalog_tx *tx, const struct api_call *c, const char *action, const struct channel *ch, struct str detail, struct err *reterr);
/* Names of the rows that differ, comma-separated, into out. */
void api_target_edit_diff(const struct channel *before, const struct channel *after, struct buf *out);
/* Insert; a name that is taken is ERR_RANGE with the database's words (system 1 answers 400). */
MUST_USE int api_target_edit_insert(struct catalog_tx *tx, const struct channel *ch, int64_t *ret_id, struct err *reterr);
MUST_USE int api_target_edit_update(struct catalog_tx *tx, const struct channel *ch, struct err *reterr);
/* After COMMIT: event target_updated {"action","target_id"}. */
void api_target_edit_publish(struct api_call *c, const char *action, int64_t id);
/* Only these members (ended by NULL) may stand in the body: false after it answered 400. */
bool api_target_edit_known(struct api_call *c, const char *const *names);
/* The body's list of ids into the call's arena: at least one, positive. False after it answered 400. */
bool api_target_edit_ids(struct api_call *c, const char *field, size_t max, int64_t **ret, size_t *ret_count);

/* Channels that were deleted, after COMMIT: their runs are cancelled, the board forgets them, their
 * JSONL files go unless they are to be kept. In the exchange's arena. */
struct api_target_gone {
    struct loop_work work;
    struct prober_ask ask;
    struct api_call *call;
    const int64_t *ids; /* live as long as this */
    size_t count, next;
    bool keeps_logs;
    void (*done)(struct api_target_gone *g); /* on the call's loop */
};
void api_target_gone_start(struct api_target_gone *g);
