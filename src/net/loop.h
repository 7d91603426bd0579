/* loop.h -- one event loop (libuv) with its thread's clock, mailbox, timer wheel and deferred
 * frees. An object belongs to one loop; other threads only post messages to it. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"

#include <uv.h>

#define LOOP_GRACE_MS 1000 /* what owners' handles get to close after loop_stop() */

struct loop;

struct loop *loop_new(const char *name, unsigned index); /* name: "loop-0", "control"; for logs and thread names */
void loop_free(struct loop *l); /* after loop_run() returned; NULL is a no-op */
/* Run on the calling thread, where SIGPIPE is held off meanwhile, until loop_stop(); closes nothing
 * by itself: owners close their handles when told to. Returns when stopped and no handle of an
 * owner is active any more, or LOOP_GRACE_MS after loop_stop() at the latest. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread */
uv_loop_t *loop_uv(struct loop *l);
unsigned loop_index(const struct loop *l);
struct loop *loop_current(void); /* the loop of this thread, NULL elsewhere */
mono_ms loop_now(const struct loop *l); /* cached once per turn; owner thread only */
utc_ms loop_utc(const struct loop *l);  /* likewise */

/* Message: embedded in the sender's object, which stays alive until fn ran. */
struct loop_msg {
    struct loop_msg *next;
    void (*fn)(struct loop_msg *m);
};
/* Any thread; lock-free; messages of one sender arrive in order. Never blocks, never allocates. */
void loop_post(struct loop *l, struct loop_msg *m, void (*fn)(struct loop_msg *));

/* Owner thread: call fn(arg) after this turn's callbacks are done: what dies inside its own
 * callback is closed at once and freed here. */
void loop_defer(struct loop *l, void (*fn)(void *), void *arg);

/* Timer: embedded, hashed wheel of 16 ms ticks, so set and cancel cost a few instructions.
 * Zero-initialised = not set. Fires at or up to 32 ms after its time, never before. */
struct loop_timer {
    struct list node;
    mono_ms at;
    void (*fn)(struct loop_timer *t);
    struct loop *loop;
    bool is_set;
};
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(struct loop_timer *));
void loop_timer_set(struct loop_timer *t, uint64_t delay_ms); /* sets anew when set */
void loop_timer_cancel(struct loop_timer *t);                 /* not set: no-op */

/* Blocking or CPU-heavy work on libuv's pool: work(w) there, done(w) back on this loop. */
struct loop_work {
    uv_work_t req;
    void (*work)(struct loop_work *w);
    void (*done)(struct loop_work *w);
};
void loop_work(struct loop *l, struct loop_work *w, void (*work)(struct loop_work *), void (*done)(struct loop_work *));
