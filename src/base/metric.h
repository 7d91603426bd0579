/* metric.h -- one table of metrics; counters are sharded per thread (relaxed adds on memory only
 * the owner writes), gauges are single atomics or functions asked at scrape time. Histograms use
 * fixed bounds. Output is the Prometheus text format 0.0.4. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

/* One name per row of the table in metric.c, same order (static_assert there). */
enum metric_id {
    METRIC_HTTP_REQUESTS,       /* counter, label class = 1xx..5xx (label index = status / 100 - 1) */
    METRIC_HTTP_CONNECTIONS,    /* gauge, open now */
    METRIC_HTTP_ACCEPTED,       /* counter */
    METRIC_HTTP_REFUSED,        /* counter: over a connection cap or out of descriptors */
    METRIC_HTTP_BAD,            /* counter: answered 4xx by the parser or its limits */
    METRIC_HTTP_TIMEOUTS,       /* counter: closed at a deadline */
    METRIC_HTTP_BYTES_IN,       /* counter */
    METRIC_HTTP_BYTES_OUT,      /* counter */
    METRIC_SSE_CLIENTS,         /* gauge */
    METRIC_SSE_RESYNCS,         /* counter: slow reader skipped */
    METRIC_PROBES,              /* counter, label outcome (index = enum outcome) */
    METRIC_PROBE_SECONDS,       /* histogram */
    METRIC_PROBES_RUNNING,      /* gauge */
    METRIC_RUNS,                /* counter, label status: completed, error, cancelled */
    METRIC_RUNS_RUNNING,        /* gauge */
    METRIC_RUNS_QUEUED,         /* gauge */
    METRIC_LEDGER_SEQ_ASSIGNED, /* counter */
    METRIC_LEDGER_SEQ_COMMITTED,/* counter */
    METRIC_LEDGER_DROPPED,      /* counter */
    METRIC_LEDGER_SPOOL_BYTES,  /* gauge */
    METRIC_LEDGER_COMMITS,      /* counter */
    METRIC_LEDGER_COMMIT_SECONDS, /* histogram */
    METRIC_STORE_ERRORS,        /* counter */
    METRIC_STORE_QUEUE,         /* gauge: jobs waiting */
    METRIC_AUTH_FAILURES,       /* counter, label scope: bearer, login, key */
    METRIC_EGRESS_REFUSED,      /* counter */
    METRIC_CATALOG_GENERATION,  /* gauge */
    METRIC_COUNT
};

void metric_add(enum metric_id id, unsigned label, uint64_t n); /* counters */
void metric_gauge_add(enum metric_id id, int64_t n);
void metric_gauge_set(enum metric_id id, int64_t v);
void metric_observe_us(enum metric_id id, uint64_t us); /* histograms */
/* Sum over threads, those that ended included; a gauge's value (0 when negative); a histogram's
 * count of observations. `label` matters for counters only. For tests and pages. */
uint64_t metric_value(enum metric_id id, unsigned label);
/* Label texts that base cannot know (outcome names); `names` static, by index. */
void metric_set_labels(enum metric_id id, const char *const *names, unsigned count);
/* A gauge of any layer, asked at scrape time on the scraping thread; must not block. Lines are
 * written by fn itself through metric_line(). Registered before threads start. */
typedef void (*metric_collect_fn)(void *ctx, struct buf *out);
void metric_register(metric_collect_fn fn, void *ctx);
void metric_head(struct buf *out, const char *name, const char *type, const char *help);
/* label_value is escaped; label NULL = none. */
void metric_line(struct buf *out, const char *name, const char *label, struct str label_value, double v);
void metric_render(struct buf *out);
