/* metric.c -- see metric.h. Each thread adds to a shard of its own; the list of shards is locked
 * only when a thread first counts, when it ends (its sums move to `ended`), and to read. */
#include "base/metric.h"

#include "base/json_out.h"

#include <math.h>
#include <pthread.h>

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

#define LABELS_MAX  64 /* outcomes are the longest list */
#define BOUNDS_MAX  20
#define COLLECT_MAX 16

struct metric_row {
    const char *name, *help;
    enum metric_type type;
    const char *label;        /* NULL = none */
    const char *const *names; /* of the label's values; NULL = metric_set_labels() brings them */
    unsigned n_names;
    const uint32_t *bounds_us; /* HISTOGRAM: ascending, n_bounds of them */
    unsigned n_bounds;
};

static const char *const class_names[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
static const char *const run_names[] = {"completed", "error", "cancelled"};
static const char *const scope_names[] = {"bearer", "login", "key"};

static const uint32_t probe_bounds_us[] = {50000,    100000,   250000,   500000,
                                           1000000,  2500000,  5000000,  10000000,
                                           20000000, 30000000, 60000000, 120000000};
static const uint32_t commit_bounds_us[] = {250,   500,    1000,   2500,   5000,    10000,  25000,
                                            50000, 100000, 250000, 500000, 1000000, 5000000};

static_assert(ARRAY_LEN(probe_bounds_us) <= BOUNDS_MAX, "");
static_assert(ARRAY_LEN(commit_bounds_us) <= BOUNDS_MAX, "");

#define NAMES(a)  .names = (a), .n_names = ARRAY_LEN(a)
#define BOUNDS(a) .bounds_us = (a), .n_bounds = ARRAY_LEN(a)

// clang-format off
static const struct metric_row rows[] = {
    [METRIC_HTTP_REQUESTS] = {.type = COUNTER, .name = "gatehouse_http_requests_total",
        .help = "Requests answered, by class of status.", .label = "class", NAMES(class_names)},
    [METRIC_HTTP_CONNECTIONS] = {.type = GAUGE, .name = "gatehouse_http_connections",
        .help = "Client connections open now."},
    [METRIC_HTTP_ACCEPTED] = {.type = COUNTER, .name = "gatehouse_http_connections_accepted_total",
        .help = "Client connections accepted."},
    [METRIC_HTTP_REFUSED] = {.type = COUNTER, .name = "gatehouse_http_connections_refused_total",
        .help = "Client connections refused: over a cap, or out of descriptors."},
    [METRIC_HTTP_BAD] = {.type = COUNTER, .name = "gatehouse_http_bad_requests_total",
        .help = "Requests refused by the parser or its limits."},
    [METRIC_HTTP_TIMEOUTS] = {.type = COUNTER, .name = "gatehouse_http_timeouts_total",
        .help = "Client connections closed at a deadline."},
    [METRIC_HTTP_BYTES_IN] = {.type = COUNTER, .name = "gatehouse_http_received_bytes_total",
        .help = "Bytes read from clients."},
    [METRIC_HTTP_BYTES_OUT] = {.type = COUNTER, .name = "gatehouse_http_sent_bytes_total",
        .help = "Bytes written to clients."},
    [METRIC_SSE_CLIENTS] = {.type = GAUGE, .name = "gatehouse_sse_clients",
        .help = "Clients that follow the live stream now."},
    [METRIC_SSE_RESYNCS] = {.type = COUNTER, .name = "gatehouse_sse_resyncs_total",
        .help = "Times a slow reader of the live stream was told to start over."},
    [METRIC_PROBES] = {.type = COUNTER, .name = "gatehouse_probes_total",
        .help = "Probes finished, by outcome.", .label = "outcome"},
    [METRIC_PROBE_SECONDS] = {.type = HISTOGRAM, .name = "gatehouse_probe_duration_seconds",
        .help = "Time a probe took, first byte sent to last byte read.",
        BOUNDS(probe_bounds_us)},
    [METRIC_PROBES_RUNNING] = {.type = GAUGE, .name = "gatehouse_probes_running",
        .help = "Probes under way now."},
    [METRIC_RUNS] = {.type = COUNTER, .name = "gatehouse_runs_total",
        .help = "Runs of a channel finished, by status.", .label = "status", NAMES(run_names)},
    [METRIC_RUNS_RUNNING] = {.type = GAUGE, .name = "gatehouse_runs_running",
        .help = "Runs under way now."},
    [METRIC_RUNS_QUEUED] = {.type = GAUGE, .name = "gatehouse_runs_queued",
        .help = "Runs that wait for a free place."},
    [METRIC_LEDGER_SEQ_ASSIGNED] = {.type = COUNTER, .name = "gatehouse_ledger_seq_assigned_total",
        .help = "Call events given a number."},
    [METRIC_LEDGER_SEQ_COMMITTED] = {.type = COUNTER, .name = "gatehouse_ledger_seq_committed_total",
        .help = "Call events committed to the store or the spool."},
    [METRIC_LEDGER_DROPPED] = {.type = COUNTER, .name = "gatehouse_ledger_dropped_total",
        .help = "Call events lost because store and spool could not take them."},
    [METRIC_LEDGER_SPOOL_BYTES] = {.type = GAUGE, .name = "gatehouse_ledger_spool_bytes",
        .help = "Bytes that wait in the spool."},
    [METRIC_LEDGER_COMMITS] = {.type = COUNTER, .name = "gatehouse_ledger_commits_total",
        .help = "Transactions of the ledger."},
    [METRIC_LEDGER_COMMIT_SECONDS] = {.type = HISTOGRAM, .name = "gatehouse_ledger_commit_duration_seconds",
        .help = "Time a transaction of the ledger took.", BOUNDS(commit_bounds_us)},
    [METRIC_STORE_ERRORS] = {.type = COUNTER, .name = "gatehouse_store_errors_total",
        .help = "Statements the database refused."},
    [METRIC_STORE_QUEUE] = {.type = GAUGE, .name = "gatehouse_store_queue_jobs",
        .help = "Jobs that wait for a store thread."},
    [METRIC_AUTH_FAILURES] = {.type = COUNTER, .name = "gatehouse_auth_failures_total",
        .help = "Wrong credentials, by where they were shown.", .label = "scope", NAMES(scope_names)},
    [METRIC_EGRESS_REFUSED] = {.type = COUNTER, .name = "gatehouse_egress_refused_total",
        .help = "Outgoing connections the address guard refused."},
    [METRIC_CATALOG_GENERATION] = {.type = GAUGE, .name = "gatehouse_catalog_generation",
        .help = "Number of the catalog snapshot in force."},
};
// clang-format on
static_assert(ARRAY_LEN(rows) == METRIC_COUNT, "a row per metric_id");

/* Where a metric's numbers lie in a shard: a counter has one per label value, a histogram one per
 * bound, one for what is above, and the sum in microseconds. Written once by lay_out(). */
static struct {
    unsigned first, count;
} places[METRIC_COUNT];
static unsigned n_slots;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ended_key;

/* Numbers are written by the owning thread alone and read by any, hence relaxed atomics. */
struct shard {
    struct shard *next; /* guarded by lock */
    uint64_t slots[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shard *shards; /* shared: guarded by lock */
static uint64_t *ended;      /* shared: guarded by lock; sums of threads that ended */
static struct {
    const char *const *names;
    unsigned count;
} labels[METRIC_COUNT]; /* shared: guarded by lock */
static struct {
    metric_collect_fn fn;
    void *ctx;
} collectors[COLLECT_MAX]; /* set before threads start */
static unsigned n_collectors;

static int64_t gauges[METRIC_COUNT]; /* shared: relaxed atomics */
static _Thread_local struct shard *own;

static void shard_end(void *p)
{
    struct shard *s = p;

    own = NULL; /* a later destructor that counts gets a new one */
    pthread_mutex_lock(&lock);
    for (struct shard **at = &shards; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    for (unsigned i = 0; i < n_slots; i++)
        ended[i] += s->slots[i];
    pthread_mutex_unlock(&lock);
    xfree(s);
}

static void lay_out(void)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &rows[i];
        unsigned count = 0;

        switch (row->type) {
        case COUNTER:
            count = !row->label ? 1 : row->names ? row->n_names : LABELS_MAX;
            break;
        case HISTOGRAM:
            count = row->n_bounds + 2;
            break;
        case GAUGE:
            break;
        }
        places[i].first = n_slots;
        places[i].count = count;
        n_slots += count;
        labels[i].names = row->names;
        labels[i].count = row->n_names;
    }
    ended = xcalloc(n_slots, sizeof(*ended));
    if (pthread_key_create(&ended_key, shard_end) != 0)
        abort(); /* all of a process's keys taken: not by us */
}

static struct shard *shard_begin(void)
{
    pthread_once(&once, lay_out);

    struct shard *s = xcalloc(1, sizeof(*s) + n_slots * sizeof(s->slots[0]));

    pthread_mutex_lock(&lock);
    s->next = shards;
    shards = s;
    pthread_mutex_unlock(&lock);
    own = s;
    if (pthread_setspecific(ended_key, s) != 0)
        abort(); /* no memory */
    return s;
}

static void slot_add(unsigned slot, uint64_t n)
{
    struct shard *s = LIKELY(own) ? own : shard_begin();
    uint64_t *p = &s->slots[slot];

    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static unsigned place_of(enum metric_id id)
{
    if (UNLIKELY(!own))
        shard_begin();
    return places[id].first;
}

void metric_add(enum metric_id id, unsigned label, uint64_t n)
{
    assert(id < METRIC_COUNT && rows[id].type == COUNTER);

    unsigned first = place_of(id);

    assert(label < places[id].count);
    slot_add(first + label, n);
}

void metric_gauge_add(enum metric_id id, int64_t n)
{
    assert(id < METRIC_COUNT && rows[id].type == GAUGE);
    __atomic_fetch_add(&gauges[id], n, __ATOMIC_RELAXED);
}

void metric_gauge_set(enum metric_id id, int64_t v)
{
    assert(id < METRIC_COUNT && rows[id].type == GAUGE);
    __atomic_store_n(&gauges[id], v, __ATOMIC_RELAXED);
}

void metric_observe_us(enum metric_id id, uint64_t us)
{
    assert(id < METRIC_COUNT && rows[id].type == HISTOGRAM);

    const struct metric_row *row = &rows[id];
    unsigned first = place_of(id), i = 0;

    while (i < row->n_bounds && us > row->bounds_us[i])
        i++;
    slot_add(first + i, 1);
    slot_add(first + row->n_bounds + 1, us);
}

/* lock is held. */
static uint64_t slot_sum(unsigned slot)
{
    uint64_t sum = ended[slot];

    for (const struct shard *s = shards; s; s = s->next)
        sum += __atomic_load_n(&s->slots[slot], __ATOMIC_RELAXED);
    return sum;
}

uint64_t metric_value(enum metric_id id, unsigned label)
{
    assert(id < METRIC_COUNT);
    pthread_once(&once, lay_out);
    if (rows[id].type == GAUGE) {
        int64_t v = __atomic_load_n(&gauges[id], __ATOMIC_RELAXED);

        return v > 0 ? (uint64_t)v : 0; /* checked */
    }

    uint64_t sum = 0;

    pthread_mutex_lock(&lock);
    if (rows[id].type == HISTOGRAM) {
        for (unsigned i = 0; i <= rows[id].n_bounds; i++)
            sum += slot_sum(places[id].first + i);
    } else if (label < places[id].count) {
        sum = slot_sum(places[id].first + label);
    }
    pthread_mutex_unlock(&lock);
    return sum;
}

void metric_set_labels(enum metric_id id, const char *const *names, unsigned count)
{
    assert(id < METRIC_COUNT && rows[id].label);
    pthread_once(&once, lay_out);
    assert(count <= places[id].count);
    pthread_mutex_lock(&lock);
    labels[id].names = names;
    labels[id].count = count;
    pthread_mutex_unlock(&lock);
}

void metric_register(metric_collect_fn fn, void *ctx)
{
    assert(n_collectors < COLLECT_MAX);
    collectors[n_collectors].fn = fn;
    collectors[n_collectors++].ctx = ctx;
}

/* Output. A line goes in whole or, at the buffer's ceiling, not at all. ------------------------ */

/* `out` gets s with backslash, line feed and, in label values, the quote escaped, and NUL; what
 * might not fit is cut off before. */
static void escape(struct str s, bool is_label, char *out, size_t cap)
{
    size_t n = 0;

    s = str_cut_utf8(s, (cap - 1) / 2);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '\n' || c == '\\' || (c == '"' && is_label)) {
            out[n++] = '\\';
            out[n++] = c == '\n' ? 'n' : c;
        } else {
            out[n++] = c;
        }
    }
    out[n] = '\0';
}

void metric_head(struct buf *out, const char *name, const char *type, const char *help)
{
    char text[512];

    escape(str_of(help), false, text, sizeof(text));
    if (buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, text, name, type) < 0)
        return; /* full: the scraper's answer ends here */
}

static void number_text(double v, char out[JSON_OUT_DOUBLE_SIZE])
{
    if (isfinite(v))
        json_out_double_text(v, out);
    else
        snprintf(out, JSON_OUT_DOUBLE_SIZE, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
}

void metric_line(struct buf *out, const char *name, const char *label, struct str label_value,
                 double v)
{
    char number[JSON_OUT_DOUBLE_SIZE], text[512];

    number_text(v, number);
    if (!label) {
        if (buf_printf(out, "%s %s\n", name, number) < 0)
            return; /* full */
        return;
    }
    escape(label_value, true, text, sizeof(text));
    if (buf_printf(out, "%s{%s=\"%s\"} %s\n", name, label, text, number) < 0)
        return; /* full */
}

static void integer_line(struct buf *out, const char *name, const char *label, const char *value,
                         uint64_t v)
{
    int rc =
        label ? buf_printf(out, "%s{%s=\"%s\"} %llu\n", name, label, value, (unsigned long long)v)
              : buf_printf(out, "%s %llu\n", name, (unsigned long long)v);

    if (rc < 0)
        return; /* full */
}

/* lock is held. */
static void render_counter(unsigned id, struct buf *out)
{
    const struct metric_row *row = &rows[id];

    if (!row->label) {
        integer_line(out, row->name, NULL, NULL, slot_sum(places[id].first));
        return;
    }
    for (unsigned i = 0; i < places[id].count; i++) {
        uint64_t sum = slot_sum(places[id].first + i);
        bool is_named = i < labels[id].count;
        char number[16], value[128];

        if (!is_named && sum == 0)
            continue;
        snprintf(number, sizeof(number), "%u", i);
        escape(str_of(is_named ? labels[id].names[i] : number), true, value, sizeof(value));
        integer_line(out, row->name, row->label, value, sum);
    }
}

/* lock is held. */
static void render_histogram(unsigned id, struct buf *out)
{
    const struct metric_row *row = &rows[id];
    char name[96], bound[JSON_OUT_DOUBLE_SIZE];
    uint64_t count = 0;

    snprintf(name, sizeof(name), "%s_bucket", row->name);
    for (unsigned i = 0; i < row->n_bounds; i++) {
        count += slot_sum(places[id].first + i);
        json_out_double_text(row->bounds_us[i] / 1e6, bound);
        integer_line(out, name, "le", bound, count);
    }
    count += slot_sum(places[id].first + row->n_bounds);
    integer_line(out, name, "le", "+Inf", count);
    snprintf(name, sizeof(name), "%s_sum", row->name);
    metric_line(out, name, NULL, STR_NONE,
                (double)slot_sum(places[id].first + row->n_bounds + 1) / 1e6);
    snprintf(name, sizeof(name), "%s_count", row->name);
    integer_line(out, name, NULL, NULL, count);
}

void metric_render(struct buf *out)
{
    static const char *const type_names[] = {"counter", "gauge", "histogram"};

    pthread_once(&once, lay_out);
    pthread_mutex_lock(&lock);
    for (unsigned id = 0; id < METRIC_COUNT; id++) {
        metric_head(out, rows[id].name, type_names[rows[id].type], rows[id].help);
        switch (rows[id].type) {
        case COUNTER:
            render_counter(id, out);
            break;
        case GAUGE:
            metric_line(out, rows[id].name, NULL, STR_NONE,
                        (double)__atomic_load_n(&gauges[id], __ATOMIC_RELAXED));
            break;
        case HISTOGRAM:
            render_histogram(id, out);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < n_collectors; i++)
        collectors[i].fn(collectors[i].ctx, out);
}
