/* live.c -- one ring of finished frames for all clients; a client is a position in it.
 *
 * publish (any thread): frame -> ring under the lock, then one message to each loop that has not
 * one on its way already. A loop's turn: each of its clients is sent what lies between its position
 * and the newest frame; a client whose socket is full waits for on_drain and goes on from its
 * position; one whose position has left the ring gets `resync` and starts again at the newest. */
#include "api/live.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/metric.h"
#include "net/sse.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#define LOOPS_MAX 257
#define FRAME_MAX (64u * 1024)
#define BATCH     64 /* frames taken from the ring at once */

struct live_frame { /* immutable, reference counted */
    atomic_uint refs;
    uint64_t id;
    bool admin_only;
    size_t len;
    char bytes[];
};

struct live_client { /* in its exchange's arena; owned by its loop */
    struct list node;
    struct live_loop *home;
    struct http_exchange *x;
    uint64_t position; /* id of the last frame sent */
    bool is_admin;
};

struct live_loop { /* owned by its loop, but for `woken` */
    struct live *live;
    struct loop *loop;
    struct list clients;
    struct loop_timer heartbeat;
    struct loop_msg wake;
    atomic_bool woken; /* a message is on its way */
    bool is_draining;
};

struct live {
    uint64_t heartbeat_ms;
    struct catalog *catalog;
    pthread_mutex_t lock;                 /* guards ring and newest; never held across a callback */
    struct live_frame *ring[LIVE_REPLAY]; /* by id % LIVE_REPLAY */
    uint64_t newest;                      /* id of the newest frame, 0 = none */
    struct live_loop loops[LOOPS_MAX];
    unsigned loop_count; /* fixed before threads start */
};

static void frame_unref(struct live_frame *f)
{
    if (f && atomic_fetch_sub(&f->refs, 1) == 1)
        xfree(f);
}

struct live *live_new(uint64_t heartbeat_ms, struct catalog *catalog)
{
    struct live *l = xcalloc(1, sizeof(*l));

    l->heartbeat_ms = heartbeat_ms;
    l->catalog = catalog;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < LIVE_REPLAY; i++)
        frame_unref(l->ring[i]);
    pthread_mutex_destroy(&l->lock);
    xfree(l);
}

/* ---- one client ---- */

static void client_leave(struct live_client *c)
{
    list_del(&c->node);
    metric_gauge_add(METRIC_SSE_CLIENTS, -1);
}

static void on_gone(struct http_exchange *x, void *ctx)
{
    client_leave(ctx);
    http_end(x); /* releases it */
}

/* Frames after `position`, with a reference each; *ret_lost: some have left the ring. */
static size_t take_frames(struct live *l, uint64_t position, struct live_frame *out[BATCH],
                          bool *ret_lost)
{
    size_t n = 0;
    uint64_t oldest;

    pthread_mutex_lock(&l->lock);
    oldest = l->newest > LIVE_REPLAY ? l->newest - LIVE_REPLAY + 1 : 1;
    *ret_lost = position + 1 < oldest || position > l->newest;
    for (uint64_t id = position + 1; !*ret_lost && id <= l->newest && n < BATCH; id++) {
        out[n] = l->ring[id % LIVE_REPLAY];
        atomic_fetch_add(&out[n]->refs, 1);
        n++;
    }
    pthread_mutex_unlock(&l->lock);
    return n;
}

static uint64_t newest_of(struct live *l)
{
    uint64_t id;

    pthread_mutex_lock(&l->lock);
    id = l->newest;
    pthread_mutex_unlock(&l->lock);
    return id;
}

static void resync(struct live_client *c)
{
    struct buf b = BUF_INIT(256);

    c->position = newest_of(c->home->live);
    metric_add(METRIC_SSE_RESYNCS, 0, 1);
    if (sse_format(&b, STR("resync"), c->position, STR("{}")) == 0)
        http_write(c->x, buf_str(&b));
    buf_release(&b);
}

static void send_new(struct live_client *c)
{
    struct live_frame *frames[BATCH];
    size_t n;

    do {
        bool is_lost;

        if (http_waiting_bytes(c->x) > HTTP_HIGH_WATER)
            return; /* on_drain goes on */
        n = take_frames(c->home->live, c->position, frames, &is_lost);
        if (is_lost) {
            resync(c);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            if (c->is_admin || !frames[i]->admin_only)
                http_write(c->x, str_n(frames[i]->bytes, frames[i]->len));
            c->position = frames[i]->id;
            frame_unref(frames[i]);
        }
    } while (n == BATCH);
}

static void on_drain(struct http_exchange *x UNUSED, void *ctx)
{
    send_new(ctx);
}

/* ---- one loop ---- */

static void on_wake(struct loop_msg *m)
{
    struct live_loop *home = container_of(m, struct live_loop, wake);

    atomic_store(&home->woken, false);
    list_for_each (node, &home->clients)
        send_new(list_entry(node, struct live_client, node));
}

static void on_heartbeat(struct loop_timer *t)
{
    struct live_loop *home = container_of(t, struct live_loop, heartbeat);

    list_for_each (node, &home->clients) {
        struct live_client *c = list_entry(node, struct live_client, node);

        if (http_waiting_bytes(c->x) == 0)
            http_write(c->x, STR(": heartbeat\n\n"));
    }
    if (!list_empty(&home->clients))
        loop_timer_set(t, home->live->heartbeat_ms);
}

void live_attach(struct live *l, struct loop *loop)
{
    struct live_loop *home = &l->loops[l->loop_count];

    assert(l->loop_count < LOOPS_MAX);
    l->loop_count++;
    home->live = l;
    home->loop = loop;
    list_init(&home->clients);
    loop_timer_init(&home->heartbeat, loop, on_heartbeat);
}

static struct live_loop *home_of(struct live *l, const struct loop *loop)
{
    for (unsigned i = 0; i < l->loop_count; i++) {
        if (l->loops[i].loop == loop)
            return &l->loops[i];
    }
    assert(false && "a loop that serves is attached");
    return NULL;
}

void live_drain(struct live *l, struct loop *loop)
{
    struct live_loop *home = home_of(l, loop);

    home->is_draining = true;
    loop_timer_cancel(&home->heartbeat);
    list_for_each (node, &home->clients) {
        struct live_client *c = list_entry(node, struct live_client, node);

        client_leave(c);
        http_end(c->x);
    }
}

/* Last-Event-ID, by header or (EventSource of a page that was reloaded) by parameter. */
static bool last_event_id(struct http_exchange *x, uint64_t *ret)
{
    struct str text = http_get_header(x, "last-event-id");

    if (!text.ptr && !http_get_query(x, "last_event_id", &text))
        return false;
    return str_to_u64(text, UINT64_MAX - 1, ret) == 0;
}

void live_serve(struct live *l, struct http_exchange *x, bool is_admin)
{
    struct live_loop *home = home_of(l, http_loop(x));
    struct live_client *c = arena_zalloc(http_arena(x), sizeof(*c));

    http_add_header(x, "Cache-Control", STR("no-cache"));
    http_add_header(x, "X-Accel-Buffering", STR("no"));
    http_start(x, 200, "text/event-stream");
    http_write(x, STR("event: connected\ndata: ok\n\n"));
    if (http_request(x)->method == HTTP_HEAD_ || home->is_draining) {
        http_end(x);
        return;
    }
    c->home = home;
    c->x = x;
    c->is_admin = is_admin;
    if (!last_event_id(x, &c->position))
        c->position = newest_of(l);
    if (list_empty(&home->clients))
        loop_timer_set(&home->heartbeat, l->heartbeat_ms);
    list_add_tail(&home->clients, &c->node);
    metric_gauge_add(METRIC_SSE_CLIENTS, 1);
    http_on_gone(x, on_gone, c);
    http_on_drain(x, on_drain, c);
    send_new(c);
}

/* ---- publishing ---- */

void live_publish(struct live *l, const char *event, struct str data, bool admin_only)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct live_frame *f, *old;
    uint64_t id;

    pthread_mutex_lock(&l->lock);
    id = l->newest + 1;
    if (sse_format(&b, str_of(event), id, data) < 0) {
        pthread_mutex_unlock(&l->lock);
        buf_release(&b);
        log_error("live", "event too large event=%s bytes=%zu", event, data.len);
        return;
    }
    f = xmalloc(sizeof(*f) + buf_len(&b));
    atomic_init(&f->refs, 1);
    f->id = id;
    f->admin_only = admin_only;
    f->len = buf_len(&b);
    memcpy(f->bytes, buf_cstr(&b), f->len);
    old = l->ring[id % LIVE_REPLAY];
    l->ring[id % LIVE_REPLAY] = f;
    l->newest = id;
    pthread_mutex_unlock(&l->lock);
    frame_unref(old);
    buf_release(&b);
    for (unsigned i = 0; i < l->loop_count; i++) {
        if (!atomic_exchange(&l->loops[i].woken, true))
            loop_post(l->loops[i].loop, &l->loops[i].wake, on_wake);
    }
}

void live_publishf(struct live *l, const char *event, bool admin_only, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        log_error("live", "event too large event=%s", event);
        return;
    }
    live_publish(l, event, str_n(text, (size_t)n), admin_only);
}

/* ---- from the ledger ---- */

static void publish_result(struct live *l, const struct ledger_record *r, struct buf *b)
{
    const struct ledger_probe *p = &r->probe;
    struct json_out j;

    json_out_init(&j, b);
    json_out_object(&j);
    json_out_ki64(&j, "target_id", p->item_id);
    json_out_ki64(&j, "run_id", p->run_id);
    json_out_kstr(&j, "model", r->call.model);
    json_out_kstr(&j, "protocol", p->family);
    json_out_kbool(&j, "success", p->success);
    json_out_kcstr(&j, "outcome", outcome_rows[r->call.outcome].name);
    json_out_key(&j, "duration");
    json_out_fixed(&j, (r->call.duration_us + 500) / 1000,
                   3); /* as the rows of the logs round it */
    json_out_key(&j, "status_code");
    if (r->call.http_status)
        json_out_i64(&j, r->call.http_status);
    else
        json_out_null(&j);
    json_out_key(&j, "error");
    if (p->error.len)
        json_out_str(&j, p->error);
    else
        json_out_null(&j);
    json_out_kts(&j, "timestamp", p->at_utc_ms);
    json_out_end(&j);
    live_publish(l, "model_result", buf_str(b), false);
}

static void publish_run(struct live *l, const struct catalog_snapshot *s,
                        const struct ledger_record *r, struct buf *b)
{
    const struct ledger_run *run = &r->run;
    const struct channel *ch = catalog_channel(s, run->channel_id);
    bool is_end = run->finished_utc_ms != 0;
    struct json_out j;

    json_out_init(&j, b);
    json_out_object(&j);
    json_out_ki64(&j, "target_id", run->channel_id);
    json_out_kcstr(&j, "target_name", ch ? ch->name : "");
    json_out_ki64(&j, "run_id", run->id);
    if (is_end) {
        /* a run that was cut short says nothing of its channel, but it ended with an error */
        json_out_kstr(&j, "status", run->channel_status.len > 0 ? run->channel_status : run->status);
        json_out_ki64(&j, "total", run->total);
        json_out_ki64(&j, "success", run->success);
        json_out_ki64(&j, "fail", run->fail);
        json_out_key(&j, "error");
        if (run->error.len)
            json_out_str(&j, run->error);
        else
            json_out_null(&j);
    }
    json_out_end(&j);
    live_publish(l, is_end ? "run_completed" : "run_started", buf_str(b), false);
}

void live_on_ledger(void *ctx, const struct ledger_record *records, size_t count)
{
    struct live *l = ctx;
    struct catalog_snapshot *s = catalog_latest(l->catalog);
    struct buf b = BUF_INIT(FRAME_MAX);

    for (size_t i = 0; i < count; i++) {
        buf_clear(&b);
        if (records[i].kind == LEDGER_PROBE && records[i].probe.item_kind == 0)
            publish_result(l, &records[i], &b);
        else if (records[i].kind == LEDGER_RUN)
            publish_run(l, s, &records[i], &b);
    }
    buf_release(&b);
    catalog_unref(s);
}

/* ---- from health ---- */

void live_on_health(void *ctx, int64_t channel_id, struct str model, enum breaker_state from,
                    enum breaker_state to, enum outcome_class fault)
{
    struct buf b = BUF_INIT(FRAME_MAX);
    struct json_out j;

    json_out_init(&j, &b);
    json_out_object(&j);
    json_out_ki64(&j, "target_id", channel_id);
    json_out_kstr(&j, "model", model);
    json_out_kcstr(&j, "from", health_breaker_name(from));
    json_out_kcstr(&j, "to", health_breaker_name(to));
    json_out_kcstr(&j, "fault", to == BREAKER_CLOSED ? NULL : outcome_class_name(fault));
    json_out_end(&j);
    live_publish(ctx, "health_changed", buf_str(&b), false);
    buf_release(&b);
}
