/* loop.c -- an event loop and what belongs to its thread.
 *
 * Mailbox: a stack that senders push with one compare-and-swap and the owner takes whole and turns
 * round. Only the sender that found it empty wakes the loop, so a burst costs one wake-up.
 *
 * Timers: a wheel of WHEEL_SLOTS slots of WHEEL_TICK_MS. A timer lies in the slot of the first tick
 * that is not before its time; one that is more than a lap away is passed over until its lap comes.
 * A bit per slot tells which hold timers, so the one libuv timer behind the wheel is set to the next
 * slot in use and an idle daemon sleeps. Cancelling leaves that timer alone: a wake-up for nothing
 * is cheaper than moving it each time.
 *
 * Invariant: armed_tick is the tick the libuv timer is set to, NO_TICK when it is not set; a bit of
 * `used` is set when its slot is not empty. */
#include "net/loop.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define WHEEL_TICK_MS 16
#define WHEEL_SLOTS   4096 /* a lap is 65 s */
#define WORD_BITS     64
#define NO_TICK       UINT64_MAX
#define LOOP_NAME_MAX 15 /* what Linux keeps of a thread's name */

struct deferred {
    void (*fn)(void *);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t wheel_timer;
    uv_timer_t grace_timer;
    char name[LOOP_NAME_MAX + 1];
    unsigned index;
    bool is_stopping;

    _Atomic(struct loop_msg *) mail; /* shared: newest first */
    atomic_bool stop_asked;          /* shared */

    struct deferred *deferred;
    size_t deferred_count, deferred_cap;

    struct list slots[WHEEL_SLOTS];
    uint64_t used[WHEEL_SLOTS / WORD_BITS];
    uint64_t done_tick; /* every slot up to it has been looked at */
    uint64_t armed_tick;

    struct loop *self; /* for the cache below, which loop_utc() fills through a const pointer */
    utc_ms utc;
    mono_ms utc_read_at; /* loop_now() when `utc` was read */
};

static _Thread_local struct loop *current;

/* ---- deferred calls ---- */

static void run_deferred(struct loop *l)
{
    /* A deferred call may defer again: those run in the same sweep. */
    for (size_t i = 0; i < l->deferred_count; i++) {
        struct deferred d = l->deferred[i];

        d.fn(d.arg);
    }
    l->deferred_count = 0;
}

static void on_prepare(uv_prepare_t *h)
{
    run_deferred(h->data);
}

static void on_check(uv_check_t *h)
{
    run_deferred(h->data);
}

void loop_defer(struct loop *l, void (*fn)(void *), void *arg)
{
    if (l->deferred_count == l->deferred_cap) {
        l->deferred_cap = MAX(l->deferred_cap * 2, (size_t)16);
        l->deferred = xrealloc(l->deferred, l->deferred_cap * sizeof(*l->deferred));
    }
    l->deferred[l->deferred_count++] = (struct deferred){fn, arg};
}

/* ---- mailbox ---- */

static void begin_stop(struct loop *l);

static void run_mail(struct loop *l)
{
    struct loop_msg *newest = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);
    struct loop_msg *oldest = NULL;

    while (newest) {
        struct loop_msg *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct loop_msg *next = oldest->next; /* fn may free the message */

        oldest->fn(oldest);
        oldest = next;
    }
}

static void on_wake(uv_async_t *h)
{
    struct loop *l = h->data;

    run_mail(l);
    if (atomic_load_explicit(&l->stop_asked, memory_order_acquire))
        begin_stop(l);
}

void loop_post(struct loop *l, struct loop_msg *m, void (*fn)(struct loop_msg *))
{
    struct loop_msg *head = atomic_load_explicit(&l->mail, memory_order_relaxed);

    m->fn = fn;
    do
        m->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->mail, &head, m, memory_order_release,
                                                  memory_order_relaxed));
    if (!head)
        uv_async_send(&l->wake);
}

/* ---- timers ---- */

static uint64_t tick_of(mono_ms at)
{
    return (at + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

static void on_tick(uv_timer_t *h);

static void arm(struct loop *l, uint64_t tick)
{
    mono_ms now = uv_now(&l->uv);
    mono_ms at = tick * WHEEL_TICK_MS;

    if (tick >= l->armed_tick)
        return;
    l->armed_tick = tick;
    uv_timer_start(&l->wheel_timer, on_tick, at > now ? at - now : 0, 0);
}

/* Distance in ticks, 1..WHEEL_SLOTS, from `from` to the next slot in use behind it; 0: none. */
static uint64_t next_used(const struct loop *l, uint64_t from)
{
    uint64_t begin = (from + 1) % WHEEL_SLOTS;
    uint64_t word = begin / WORD_BITS;
    uint64_t bits = l->used[word] & (UINT64_MAX << (begin % WORD_BITS));

    for (unsigned i = 0; i <= WHEEL_SLOTS / WORD_BITS; i++) {
        if (bits != 0) {
            uint64_t slot = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);

            return (slot + WHEEL_SLOTS - begin) % WHEEL_SLOTS + 1;
        }
        word = (word + 1) % (WHEEL_SLOTS / WORD_BITS);
        bits = l->used[word];
    }
    return 0;
}

static void unlink_timer(struct loop_timer *t)
{
    struct loop *l = t->loop;
    uint64_t slot = tick_of(t->at) % WHEEL_SLOTS;

    list_del(&t->node);
    if (list_empty(&l->slots[slot]))
        l->used[slot / WORD_BITS] &= ~(UINT64_C(1) << (slot % WORD_BITS));
    t->is_set = false;
}

static void link_timer(struct loop_timer *t)
{
    struct loop *l = t->loop;
    uint64_t tick = tick_of(t->at);
    uint64_t slot = tick % WHEEL_SLOTS;

    list_add_tail(&l->slots[slot], &t->node);
    l->used[slot / WORD_BITS] |= UINT64_C(1) << (slot % WORD_BITS);
    t->is_set = true;
    arm(l, tick);
}

/* Fires what is due in one slot. Timers set meanwhile lie at least one tick ahead, hence never in
 * the list that is walked; any timer of the slot may be cancelled by a callback, hence the copy. */
static void fire_slot(struct loop *l, uint64_t tick)
{
    struct list *slot = &l->slots[tick % WHEEL_SLOTS];
    struct list due;

    list_init(&due);
    list_for_each (node, slot) {
        struct loop_timer *t = list_entry(node, struct loop_timer, node);

        if (tick_of(t->at) <= tick) {
            list_del(node);
            list_add_tail(&due, node);
        }
    }
    while (!list_empty(&due)) {
        struct loop_timer *t = list_entry(due.next, struct loop_timer, node);

        unlink_timer(t);
        t->fn(t);
    }
    if (list_empty(slot))
        l->used[tick % WHEEL_SLOTS / WORD_BITS] &= ~(UINT64_C(1) << (tick % WORD_BITS));
}

static void on_tick(uv_timer_t *h)
{
    struct loop *l = h->data;
    uint64_t now_tick = uv_now(&l->uv) / WHEEL_TICK_MS;
    uint64_t ahead;

    l->armed_tick = NO_TICK;
    if (now_tick > l->done_tick + WHEEL_SLOTS) /* after a long sleep one lap sees every slot */
        l->done_tick = now_tick - WHEEL_SLOTS;
    while ((ahead = next_used(l, l->done_tick)) != 0 && l->done_tick + ahead <= now_tick) {
        l->done_tick += ahead;
        fire_slot(l, l->done_tick);
    }
    l->done_tick = MAX(l->done_tick, now_tick);
    if ((ahead = next_used(l, l->done_tick)) != 0)
        arm(l, l->done_tick + ahead);
}

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(struct loop_timer *))
{
    *t = (struct loop_timer){.loop = l, .fn = fn};
    list_init(&t->node);
}

void loop_timer_set(struct loop_timer *t, uint64_t delay_ms)
{
    mono_ms soonest = (t->loop->done_tick + 1) * WHEEL_TICK_MS;

    if (t->is_set)
        unlink_timer(t);
    /* A slot that was passed comes round in a lap only; +1: uv_now() has the fraction cut off. */
    t->at = MAX(uv_now(&t->loop->uv) + delay_ms + 1, soonest);
    link_timer(t);
}

void loop_timer_cancel(struct loop_timer *t)
{
    if (t->is_set)
        unlink_timer(t);
}

/* ---- work ---- */

static void on_work(uv_work_t *req)
{
    struct loop_work *w = container_of(req, struct loop_work, req);

    w->work(w);
}

static void on_work_done(uv_work_t *req, int status)
{
    struct loop_work *w = container_of(req, struct loop_work, req);

    (void)status; /* work is never cancelled */
    w->done(w);
}

void loop_work(struct loop *l, struct loop_work *w, void (*work)(struct loop_work *),
               void (*done)(struct loop_work *))
{
    w->work = work;
    w->done = done;

    int rc = uv_queue_work(&l->uv, &w->req, on_work, on_work_done);

    assert(rc == 0); /* fails for a missing callback only */
    (void)rc;
}

/* ---- life ---- */

static void must(int rc, const char *what)
{
    if (rc == 0)
        return;
    log_error("loop", "no event loop step=%s reason=\"%s\"", what, uv_strerror(rc));
    abort(); /* at start, out of descriptors or memory: nothing to go on with */
}

struct loop *loop_new(const char *name, unsigned index)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    str_copy(l->name, sizeof(l->name), str_of(name));
    l->index = index;
    l->self = l;
    must(uv_loop_init(&l->uv), "init");
    must(uv_async_init(&l->uv, &l->wake, on_wake), "async");
    must(uv_prepare_init(&l->uv, &l->prepare), "prepare");
    must(uv_check_init(&l->uv, &l->check), "check");
    must(uv_timer_init(&l->uv, &l->wheel_timer), "timer");
    must(uv_timer_init(&l->uv, &l->grace_timer), "timer");
    l->wake.data = l->prepare.data = l->check.data = l->wheel_timer.data = l->grace_timer.data = l;
    must(uv_prepare_start(&l->prepare, on_prepare), "prepare");
    must(uv_check_start(&l->check, on_check), "check");
    /* Only the mailbox keeps an idle loop running; once it is stopped, only its owners' handles. */
    uv_unref((uv_handle_t *)&l->prepare);
    uv_unref((uv_handle_t *)&l->check);
    uv_unref((uv_handle_t *)&l->wheel_timer);
    uv_unref((uv_handle_t *)&l->grace_timer);
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&l->slots[i]);
    l->armed_tick = NO_TICK;
    l->done_tick = uv_now(&l->uv) / WHEEL_TICK_MS;
    return l;
}

static void on_grace_over(uv_timer_t *h)
{
    struct loop *l = h->data;

    log_debug("loop", "handles are left at the end loop=%s", l->name);
    uv_stop(&l->uv);
}

static void begin_stop(struct loop *l)
{
    if (l->is_stopping)
        return;
    l->is_stopping = true;
    uv_unref((uv_handle_t *)&l->wake);
    uv_timer_start(&l->grace_timer, on_grace_over, LOOP_GRACE_MS, 0);
}

void loop_run(struct loop *l)
{
    sigset_t pipe_signal, before;

    /* Writing to a client that left is an error of that write; the signal for it goes to the thread
     * that wrote, and libuv does not hold it off. */
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    current = l;
    if (gettid() != getpid()) /* the first thread's name is the process's in ps and top */
        pthread_setname_np(pthread_self(), l->name);
    uv_update_time(&l->uv);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    run_mail(l); /* what came with the last turn: its senders wait for it */
    run_deferred(l);
    current = NULL;
    if (!sigismember(&before, SIGPIPE)) {
        sigtimedwait(&pipe_signal, NULL, &(struct timespec){0}); /* one that is pending */
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stop_asked, true, memory_order_release);
    uv_async_send(&l->wake);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    run_deferred(l);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->wheel_timer, NULL);
    uv_close((uv_handle_t *)&l->grace_timer, NULL);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    run_deferred(l); /* what close callbacks left */
    if (uv_loop_close(&l->uv) != 0) {
        /* An owner's handle is still open and points into the loop: memory stays, the process ends. */
        log_debug("loop", "closed with open handles loop=%s", l->name);
        return;
    }
    xfree(l->deferred);
    xfree(l);
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

unsigned loop_index(const struct loop *l)
{
    return l->index;
}

struct loop *loop_current(void)
{
    return current;
}

mono_ms loop_now(const struct loop *l)
{
    return uv_now(&l->uv);
}

utc_ms loop_utc(const struct loop *l)
{
    mono_ms now = uv_now(&l->uv);

    if (l->utc_read_at != now) {
        l->self->utc = clock_utc_ms();
        l->self->utc_read_at = now;
    }
    return l->utc;
}
