/* prober.h -- keeps channels under watch: due scan, run slots, probes, JSONL files. Lives on the
 * control loop; other threads ask through the functions marked "any thread". */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "catalog/catalog.h"
#include "health/board.h"
#include "ledger/ledger.h"
#include "net/curl_client.h"
#include "net/loop.h"

struct prober;

struct prober_config {
    struct loop *loop; /* control loop */
    struct catalog *catalog;
    struct board *board;
    struct ledger *ledger;
    struct store *store; /* resume: last_run_utc_ms per channel, interrupted runs */
    const struct egress *egress;
    const char *data_dir; /* logs/ below it */
    const char *ca_file, *proxy, *user_agent;
    unsigned detect_concurrency;   /* probes in one run, 3 */
    unsigned max_parallel_targets; /* scheduled runs at once, 2 */
    unsigned manual_parallel;      /* manual runs that start at once, 32; beyond they queue */
};

MUST_USE int prober_new(const struct prober_config *cfg, struct prober **ret, struct err *reterr);
/* First scan at once; interrupted runs of an earlier process are ended as `interrupted` and due. */
void prober_start(struct prober *p);
/* No new work; running probes are cancelled unstored after grace_ms; done() on the control loop. A
 * second call sets another grace. */
void prober_stop(struct prober *p, uint64_t grace_ms, void (*done)(void *ctx), void *ctx);
void prober_free(struct prober *p);

/* Any thread. Result on reply_loop: rc 0 started or queued (is_queued), ERR_CONFLICT running,
 * ERR_NOTFOUND no such channel (cancel: nothing to cancel), ERR_CANCELLED: we are stopping. run_id is
 * the run's also while it waits. */
struct prober_ask {
    struct loop_msg msg;
    struct prober *prober;
    struct loop *reply_loop;
    int64_t channel_id;
    void (*done)(struct prober_ask *a);
    int rc;
    int64_t run_id;
    bool is_queued;
};
void prober_run_now(struct prober *p, struct prober_ask *a);
void prober_cancel(struct prober *p, struct prober_ask *a); /* cancel a channel's run (deleted or asked); done when it is gone */
/* Live model list of an upstream for the picker: GET base/v1/models with the channel's key. */
struct prober_models_ask {
    struct loop_msg msg;
    struct prober *prober;
    struct loop *reply_loop;
    int64_t channel_id;
    void (*done)(struct prober_models_ask *a);
    int rc;
    struct err err;
    char **models; /* owned by the ask until prober_models_release() */
    size_t count;
};
void prober_models(struct prober *p, struct prober_models_ask *a);
void prober_models_release(struct prober_models_ask *a);
/* Any thread: ids of channels with a run in progress, ascending; returns the number, fills up to cap. */
size_t prober_running(struct prober *p, int64_t *ids, size_t cap);
size_t prober_queued(struct prober *p, int64_t *ids, size_t cap);
/* Control loop: apply changed settings at once. */
void prober_set_log_cleanup(struct prober *p, bool is_enabled, int64_t max_mb);
