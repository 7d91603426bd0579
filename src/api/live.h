/* live.h -- the event stream of pages: events get a number, are kept in a bounded replay ring, and
 * go to every subscribed client of every loop. A slow reader is sent `resync` instead of what it
 * missed; nothing waits for it.
 *
 * Any thread publishes; each loop serves its own clients from an immutable shared event. */
#pragma once

#include "base/base.h"
#include "base/str.h"
#include "catalog/catalog.h"
#include "health/health.h"
#include "ledger/ledger.h"
#include "net/http_server.h"

struct live;

#define LIVE_REPLAY 1024 /* events kept */

struct live *live_new(uint64_t heartbeat_ms, struct catalog *catalog);
void live_free(struct live *l);
void live_attach(struct live *l, struct loop *loop); /* before threads */
/* Any thread. `data` is JSON without newline; admin_only events are not sent to visitors. */
void live_publish(struct live *l, const char *event, struct str data, bool admin_only);
void live_publishf(struct live *l, const char *event, bool admin_only, const char *fmt, ...) PRINTF(4, 5);
/* Answers the call with the stream; Last-Event-ID replays. `is_admin` filters. */
void live_serve(struct live *l, struct http_exchange *x, bool is_admin);
void live_drain(struct live *l, struct loop *loop); /* on that loop: end its streams */
/* ledger_fn; ctx = live: run_started, model_result, run_completed, each after its COMMIT. */
void live_on_ledger(void *ctx, const struct ledger_record *records, size_t count);
/* health_fn; ctx = live: health_changed. */
void live_on_health(void *ctx, int64_t channel_id, struct str model, enum breaker_state from, enum breaker_state to, enum outcome_class fault);
