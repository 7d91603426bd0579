/* ledger.h -- the toll book: every ended call goes through one ring per producing thread to the
 * ledger thread, which writes raw rows, details and roll-ups in one transaction and then calls its
 * subscribers.
 *
 *   producer thread            ledger thread                        after COMMIT
 *   ledger_put() -> ring  -->  batch (1,000 rows | 100 ms |   -->   subscribers: health, board,
 *        | full                 5 ms after an awaited row)           live stream, alerts
 *        v                      database refuses: spool file,
 *   overflow list -> spool      replayed in order when it is back
 *
 * A record is acknowledged (seq_committed >= its number) after COMMIT, or after the spool was
 * synced. Nothing is dropped silently: drops past the spool's cap are counted, logged once, shown.
 * Replay is idempotent by event id. Records that reached the spool through a full overflow may come
 * after their successors; a run's beginning that comes after its end changes nothing. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "ledger/call_event.h"
#include "store/store.h"

struct ledger;
struct ledger_producer; /* owned by one thread */

/* Detail of a probe, one row of probe_results. */
struct ledger_probe {
    int64_t id; /* row id; 0 = next */
    int item_kind; /* 0 channel, 1 declared monitor */
    int64_t item_id, run_id;
    utc_ms at_utc_ms;
    bool success, transport_success;
    uint8_t status; /* 0 red 1 green 2 yellow */
    int64_t ttfb_us, ping_us, dns_us, connect_us, tls_us; /* 0 = unknown */
    int32_t tool_calls_count;
    struct str route, endpoint, family; /* family: protocol field of system 1 */
    struct str sub_status, tool_calls, content, error;
};

/* A run of a channel: begins (status running) and ends. Written in order with its rows. */
struct ledger_run {
    int64_t id, channel_id;
    utc_ms started_utc_ms, finished_utc_ms; /* finished 0 = running */
    int32_t total, success, fail;
    struct str status;         /* running completed error */
    struct str channel_status; /* healthy degraded down error no_models; "" while running */
    struct str log_file, error, cause;
};

enum ledger_kind { LEDGER_CALL, LEDGER_PROBE, LEDGER_RUN }; /* LEDGER_PROBE: call and probe are both set */

struct ledger_record {
    enum ledger_kind kind;
    uint64_t seq; /* given by ledger_put() */
    struct call_event call;
    struct ledger_probe probe;
    struct ledger_run run;
};

struct ledger_config {
    struct store *store;
    uint64_t spool_max_bytes;
    size_t ring_bytes;      /* per producer; 0 = 1 MiB */
    const char *timezone;   /* reporting zone of the day roll-ups */
    unsigned commit_ms;     /* 0 = 100 */
};

MUST_USE int ledger_open(const struct ledger_config *cfg, struct ledger **ret, struct err *reterr);
/* Before ledger_start(): called on the ledger thread after each commit, records in order; texts are
 * borrowed for the call. Replayed duplicates are left out. Must not block. */
typedef void (*ledger_fn)(void *ctx, const struct ledger_record *records, size_t count);
void ledger_subscribe(struct ledger *l, ledger_fn fn, void *ctx);
MUST_USE int ledger_start(struct ledger *l, struct err *reterr); /* its thread replays the spool first; new rows queue behind it */
/* Everything put before is committed or spooled when it returns; then the thread is gone. */
void ledger_stop(struct ledger *l);
void ledger_close(struct ledger *l);

struct ledger_producer *ledger_producer_new(struct ledger *l, const char *name); /* freed by ledger_close() */
/* Owner thread of p. Never blocks (when ring and memory behind it are full it waits up to 5 ms for
 * the spool). Returns the record's number; 0 = dropped and counted, for it has no place anywhere.
 * So all numbers up to seq_committed are stored, without exception. `awaited`: close the batch
 * within 5 ms. */
uint64_t ledger_put(struct ledger_producer *p, const struct ledger_record *r, bool awaited);

struct ledger_stats {
    uint64_t seq_assigned, seq_committed, dropped_total, spool_bytes, replayed_total, duplicates_total;
    bool is_spooling;  /* the database does not take rows now */
    char reason[160];  /* why, "" = fine */
};
void ledger_stats(struct ledger *l, struct ledger_stats *ret); /* any thread */
/* Next ids, any thread: unique for this data directory, no round trip. */
int64_t ledger_next_run_id(struct ledger *l);
