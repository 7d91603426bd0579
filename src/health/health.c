/* health.c -- cells and their breaker.
 *
 *              open_after failures in a row
 *     CLOSED ------------------------------> OPEN <-----------------+
 *       ^ ^                                   |  pause is over      | trial failed, pause doubled
 *       | +-- success begun after it opened --+  and a call asks    |
 *       |                                     v                     |
 *       +------------- success ----------- HALF_OPEN ---------------+
 *
 * A cell is written under one of a few locks (by its hash) and read by a sequence count, so that
 * readers never wait. */
#include "health/health.h"

#include "base/clock.h"
#include "base/map.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define STRIPES         64u
#define SUBSCRIBERS_MAX 8u
#define EWMA_SHIFT      3u /* weight of a new value: 1/8 */
#define PAUSE_SHIFT_MAX 30u

/* Everything but the identity is written under the stripe's lock, between two steps of `step`. */
struct health_cell {
    int64_t site, channel_id;
    unsigned stripe;

    _Atomic uint32_t step; /* odd: being written */
    _Atomic uint64_t window, open_until_ms;
    _Atomic int64_t latency_us, ttft_us;
    _Atomic utc_ms last_utc_ms, changed_utc_ms;
    _Atomic uint8_t samples, breaker, fault, last_outcome;

    /* guarded by the stripe's lock alone */
    uint8_t failures; /* in a row */
    uint8_t trips;    /* pauses since it was closed, for the doubling */
    bool is_trying;   /* a trial is out */
    mono_ms trial_ms; /* when it went */

    char model[]; /* NUL-terminated */
};

struct health {
    struct health_config config;
    pthread_mutex_t stripes[STRIPES];
    pthread_mutex_t lock; /* guards cells; taken alone */
    struct map *cells;    /* {site, channel, model} -> struct health_cell, never removed */
    struct {
        health_fn fn;
        void *ctx;
    } subscribers[SUBSCRIBERS_MAX];
    unsigned subscriber_count;
};

struct transition {
    enum breaker_state from, to;
    enum outcome_class fault;
};

struct health *health_new(const struct health_config *cfg)
{
    struct health *h = xcalloc(1, sizeof(*h));

    h->config = *cfg;
    if (h->config.open_after == 0)
        h->config.open_after = 3;
    if (h->config.open_ms == 0)
        h->config.open_ms = 30 * 1000;
    if (h->config.open_max_ms == 0)
        h->config.open_max_ms = 600 * 1000;
    h->config.open_max_ms = MAX(h->config.open_max_ms, h->config.open_ms);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&h->stripes[i], NULL);
    pthread_mutex_init(&h->lock, NULL);
    h->cells = map_new();
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    map_free(h->cells, xfree);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&h->stripes[i]);
    pthread_mutex_destroy(&h->lock);
    xfree(h);
}

void health_subscribe(struct health *h, health_fn fn, void *ctx)
{
    assert(h->subscriber_count < SUBSCRIBERS_MAX);
    h->subscribers[h->subscriber_count].fn = fn;
    h->subscribers[h->subscriber_count++].ctx = ctx;
}

static struct health_cell *cell_new(int64_t site, int64_t channel_id, struct str model,
                                    unsigned stripe)
{
    struct health_cell *c = xcalloc(1, sizeof(*c) + model.len + 1);

    c->site = site;
    c->channel_id = channel_id;
    c->stripe = stripe;
    if (model.len > 0)
        memcpy(c->model, model.ptr, model.len);
    return c;
}

#define KEY_SIZE (2 * sizeof(int64_t) + CALL_TEXT_MAX)

/* `model` was cut to CALL_TEXT_MAX. */
static struct str cell_key(int64_t site, int64_t channel_id, struct str model, char bytes[KEY_SIZE])
{
    memcpy(bytes, &site, sizeof(site));
    memcpy(bytes + sizeof(site), &channel_id, sizeof(channel_id));
    if (model.len > 0)
        memcpy(bytes + 2 * sizeof(int64_t), model.ptr, model.len);
    return str_n(bytes, 2 * sizeof(int64_t) + model.len);
}

const struct health_cell *health_find(struct health *h, int64_t site, int64_t channel_id,
                                      struct str model)
{
    const struct health_cell *c;
    char bytes[KEY_SIZE];
    struct str key = cell_key(site, channel_id, str_cut_utf8(model, CALL_TEXT_MAX), bytes);

    pthread_mutex_lock(&h->lock);
    c = map_get(h->cells, key);
    pthread_mutex_unlock(&h->lock);
    return c;
}

const char *health_breaker_name(enum breaker_state s)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

    return names[s];
}

struct health_cell *health_cell(struct health *h, int64_t site, int64_t channel_id,
                                struct str model)
{
    char bytes[KEY_SIZE];
    struct health_cell *c;
    struct str key;

    model = str_cut_utf8(model, CALL_TEXT_MAX);
    key = cell_key(site, channel_id, model, bytes);
    pthread_mutex_lock(&h->lock);
    c = map_get(h->cells, key);
    if (!c && map_count(h->cells) < HEALTH_CELLS_MAX) {
        c = cell_new(site, channel_id, model, (unsigned)(map_count(h->cells) % STRIPES));
        map_set(h->cells, key, c);
    }
    pthread_mutex_unlock(&h->lock);
    return c;
}

size_t health_cells(struct health *h)
{
    size_t count;

    pthread_mutex_lock(&h->lock);
    count = map_count(h->cells);
    pthread_mutex_unlock(&h->lock);
    return count;
}

/* ---- reading and writing one cell ---- */

#define GET(field)    atomic_load_explicit(&(field), memory_order_acquire)
#define SET(field, v) atomic_store_explicit(&(field), (v), memory_order_release)

static void begin_write(struct health *h, struct health_cell *c)
{
    pthread_mutex_lock(&h->stripes[c->stripe]);
    SET(c->step, GET(c->step) + 1);
}

static void end_write(struct health *h, struct health_cell *c)
{
    SET(c->step, GET(c->step) + 1);
    pthread_mutex_unlock(&h->stripes[c->stripe]);
}

void health_read(const struct health_cell *c, struct health_reading *ret)
{
    uint32_t step;
    uint64_t mask;

    do {
        while ((step = GET(c->step)) & 1)
            sched_yield(); /* a writer is between two steps: a few stores */
        ret->window = GET(c->window);
        ret->samples = GET(c->samples);
        ret->breaker = (enum breaker_state)GET(c->breaker);
        ret->fault = (enum outcome_class)GET(c->fault);
        ret->open_until_mono_ms = GET(c->open_until_ms);
        ret->latency_ewma_us = GET(c->latency_us);
        ret->ttft_ewma_us = GET(c->ttft_us);
        ret->last_utc_ms = GET(c->last_utc_ms);
        ret->changed_utc_ms = GET(c->changed_utc_ms);
        ret->last_outcome = (enum outcome)GET(c->last_outcome);
    } while (GET(c->step) != step);
    mask = ret->samples >= HEALTH_WINDOW ? UINT64_MAX : ((uint64_t)1 << ret->samples) - 1;
    ret->good = (uint8_t)__builtin_popcountll(ret->window & mask); /* 0..64 */
}

/* ---- the breaker ---- */

static void set_breaker(struct health_cell *c, enum breaker_state to, enum outcome_class fault,
                        utc_ms at, struct transition *ret)
{
    ret->from = (enum breaker_state)GET(c->breaker);
    ret->to = to;
    ret->fault = fault;
    SET(c->breaker, (uint8_t)to);
    SET(c->fault, (uint8_t)fault);
    SET(c->changed_utc_ms, at);
    c->is_trying = false;
}

static void open_breaker(const struct health *h, struct health_cell *c, enum outcome_class fault,
                         utc_ms at, mono_ms now, struct transition *ret)
{
    uint64_t pause_ms = h->config.open_ms << MIN((unsigned)c->trips, PAUSE_SHIFT_MAX);

    if (pause_ms >> MIN((unsigned)c->trips, PAUSE_SHIFT_MAX) != h->config.open_ms)
        pause_ms = h->config.open_max_ms; /* shifted out */
    if (c->trips < UINT8_MAX)
        c->trips++;
    SET(c->open_until_ms, now + MIN(pause_ms, h->config.open_max_ms));
    set_breaker(c, BREAKER_OPEN, fault, at, ret);
}

static void close_breaker(struct health_cell *c, utc_ms at, struct transition *ret)
{
    c->trips = 0;
    SET(c->open_until_ms, 0);
    set_breaker(c, BREAKER_CLOSED, OUTCOME_CLASS_OK, at, ret);
}

static void judge_good(struct health_cell *c, utc_ms began, utc_ms at, struct transition *ret)
{
    c->failures = 0;
    switch ((enum breaker_state)GET(c->breaker)) {
    case BREAKER_CLOSED:
        break;
    case BREAKER_OPEN:
        if (began >= GET(c->changed_utc_ms)) /* a call from before says nothing about now */
            close_breaker(c, at, ret);
        break;
    case BREAKER_HALF_OPEN:
        close_breaker(c, at, ret);
        break;
    }
}

static void judge_bad(const struct health *h, struct health_cell *c, enum outcome_class fault,
                      utc_ms at, mono_ms now, struct transition *ret)
{
    if (c->failures < UINT8_MAX)
        c->failures++;
    switch ((enum breaker_state)GET(c->breaker)) {
    case BREAKER_CLOSED:
        if (c->failures >= h->config.open_after)
            open_breaker(h, c, fault, at, now, ret);
        break;
    case BREAKER_OPEN:
        break;
    case BREAKER_HALF_OPEN:
        open_breaker(h, c, fault, at, now, ret);
        break;
    }
}

static void push_sample(struct health_cell *c, bool is_good)
{
    uint8_t samples = GET(c->samples);

    SET(c->window, GET(c->window) << 1 | is_good);
    if (samples < HEALTH_WINDOW)
        SET(c->samples, (uint8_t)(samples + 1)); /* at most 64 */
}

static int64_t ewma(int64_t old, int64_t v)
{
    return old == 0 ? v : MAX((int64_t)1, old + (v - old) / (1 << EWMA_SHIFT));
}

static void tell(struct health *h, const struct health_cell *c, const struct transition *t)
{
    for (unsigned i = 0; t->from != t->to && i < h->subscriber_count; i++)
        h->subscribers[i].fn(h->subscribers[i].ctx, c->channel_id, str_of(c->model), t->from, t->to,
                             t->fault);
}

void health_record_at(struct health *h, struct health_cell *c, enum outcome o, int64_t duration_us,
                      int64_t ttft_us, utc_ms at, mono_ms now)
{
    struct transition t = {BREAKER_CLOSED, BREAKER_CLOSED, OUTCOME_CLASS_OK};
    bool is_good = outcome_is_success(o);

    begin_write(h, c);
    SET(c->last_utc_ms, at);
    SET(c->last_outcome, (uint8_t)o); /* fewer than 256 */
    if (is_good) {
        push_sample(c, true);
        if (duration_us > 0)
            SET(c->latency_us, ewma(GET(c->latency_us), duration_us));
        if (ttft_us > 0)
            SET(c->ttft_us, ewma(GET(c->ttft_us), ttft_us));
        judge_good(c, at - duration_us / 1000, at, &t);
    } else if (outcome_rows[o].counts_against_channel) {
        push_sample(c, false);
        judge_bad(h, c, outcome_rows[o].class, at, now, &t);
    } else {
        c->is_trying = false; /* no verdict: the next call tries */
    }
    end_write(h, c);
    tell(h, c, &t);
}

void health_record(struct health *h, struct health_cell *c, enum outcome o, int64_t duration_us,
                   int64_t ttft_us, utc_ms at)
{
    health_record_at(h, c, o, duration_us, ttft_us, at, clock_mono_ms());
}

bool health_admit(struct health *h, struct health_cell *c, mono_ms now)
{
    struct transition t = {BREAKER_CLOSED, BREAKER_CLOSED, OUTCOME_CLASS_OK};
    bool may = true;

    if (LIKELY(GET(c->breaker) == BREAKER_CLOSED))
        return true;
    begin_write(h, c);
    switch ((enum breaker_state)GET(c->breaker)) {
    case BREAKER_CLOSED:
        break;
    case BREAKER_OPEN:
        may = now >= GET(c->open_until_ms);
        if (may)
            set_breaker(c, BREAKER_HALF_OPEN, (enum outcome_class)GET(c->fault), clock_utc_ms(),
                        &t);
        break;
    case BREAKER_HALF_OPEN:
        may = !c->is_trying || now - c->trial_ms >= h->config.open_max_ms;
        break;
    }
    if (may && GET(c->breaker) == BREAKER_HALF_OPEN) {
        c->is_trying = true;
        c->trial_ms = now;
    }
    end_write(h, c);
    tell(h, c, &t);
    return may;
}

/* ---- many cells ---- */

void health_on_ledger(void *ctx, const struct ledger_record *records, size_t count)
{
    struct health *h = ctx;

    for (size_t i = 0; i < count; i++) {
        const struct ledger_record *r = &records[i];
        struct health_cell *c;

        if (r->kind != LEDGER_PROBE || r->probe.item_kind != 0)
            continue; /* live calls are recorded where they end, before they are stored */
        c = health_cell(h, r->call.site, r->probe.item_id, r->call.model);
        if (c)
            health_record(h, c, r->call.outcome, r->call.duration_us, r->call.ttft_us,
                          r->call.ended_utc_ms);
    }
}

void health_each(struct health *h,
                 void (*fn)(void *ctx, int64_t channel_id, struct str model,
                            const struct health_reading *r),
                 void *ctx)
{
    struct health_reading reading;
    struct str key;
    void *value;
    size_t it = 0;

    pthread_mutex_lock(&h->lock);
    while (map_next(h->cells, &it, &key, &value)) {
        const struct health_cell *c = value;

        health_read(c, &reading);
        fn(ctx, c->channel_id, str_of(c->model), &reading);
    }
    pthread_mutex_unlock(&h->lock);
}
