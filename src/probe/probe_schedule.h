/* probe_schedule.h -- which channel is probed when: due times, the two queues, the run slots. Knows
 * no network and no clock: times are milliseconds of the monotonic clock, given by the caller, and
 * may lie before its zero.
 *
 *   IDLE --due--> QUEUED (scheduled) --slot--> RUNNING --end--> IDLE, due again
 *     \--ask----> QUEUED (manual) -----slot-----^
 *
 * Every change costs O(log n); only adding and dropping a channel moves O(n) bytes. Changes belong to
 * one thread; probe_schedule_list() may be called by any. */
#pragma once

#include "base/base.h"
#include "base/list.h"

#include <pthread.h>

#define PROBE_SCHEDULE_NEVER   INT64_MIN /* last_end of a channel that was not probed yet */
#define PROBE_SCHEDULE_WAIT_MS 60000     /* longest sleep */
#define PROBE_SCHEDULE_JITTER_MS 30000   /* most that is added to an interval, and never above a twentieth of it */

enum probe_state { PROBE_IDLE, PROBE_QUEUED, PROBE_RUNNING };

struct probe_slot { /* one channel; owned by the schedule */
    int64_t channel_id;
    enum probe_state state;
    bool is_manual;  /* QUEUED, RUNNING: asked for */
    bool is_enabled; /* takes part in the schedule */
    int64_t interval_ms;
    int64_t last_end; /* of the last run, PROBE_SCHEDULE_NEVER = none */
    int64_t due;      /* while in the heap */
    size_t heap_at;   /* place in the heap, SIZE_MAX = not in it */
    struct list node; /* QUEUED: its queue */
    /* the prober's own */
    int64_t run_id;
    void *run;
    unsigned key_turn;
    uint64_t seen;
};

struct probe_schedule {
    pthread_mutex_t lock; /* guards slots[], count and each slot's state against probe_schedule_list() */
    struct probe_slot **slots; /* by channel_id */
    struct probe_slot **heap;  /* by due, then channel_id */
    size_t count, heap_count, cap;
    struct list manual, scheduled; /* oldest first */
    unsigned manual_max, scheduled_max, manual_running, scheduled_running;
    size_t queued;
    uint64_t random;
};

void probe_schedule_init(struct probe_schedule *s, unsigned scheduled_max, unsigned manual_max);
void probe_schedule_release(struct probe_schedule *s); /* no slot is RUNNING any more, or its run is forgotten */

struct probe_slot *probe_schedule_get(const struct probe_schedule *s, int64_t channel_id); /* NULL */
/* A channel that is new here; must not exist. Not due before `earliest`. */
struct probe_slot *probe_schedule_add(struct probe_schedule *s, int64_t channel_id, int64_t interval_ms,
                                      bool is_enabled, int64_t last_end, int64_t earliest);
/* Interval or switch changed: the next due time follows from the last end. Unchanged: no-op. */
void probe_schedule_change(struct probe_schedule *s, struct probe_slot *slot, int64_t interval_ms,
                           bool is_enabled, int64_t now);
/* Due at once, when idle and enabled. */
void probe_schedule_hurry(struct probe_schedule *s, struct probe_slot *slot, int64_t now);
/* Frees the slot, whatever its state; a run of it is the caller's to cancel. */
void probe_schedule_drop(struct probe_schedule *s, struct probe_slot *slot);

/* Queue all that is due, in the order it became due. */
void probe_schedule_scan(struct probe_schedule *s, int64_t now);
/* Asked for: joins the manual queue, leaving the other one. ERR_CONFLICT: running. */
MUST_USE int probe_schedule_ask(struct probe_schedule *s, struct probe_slot *slot);
/* Out of its queue and due again after an interval. */
void probe_schedule_unqueue(struct probe_schedule *s, struct probe_slot *slot, int64_t now);
/* The next one that may start, now RUNNING; NULL: none, or no free slot. Manual ones first. */
struct probe_slot *probe_schedule_next(struct probe_schedule *s);
/* Its run is over at `now`. */
void probe_schedule_end(struct probe_schedule *s, struct probe_slot *slot, int64_t now);
/* Until the next one is due, at most PROBE_SCHEDULE_WAIT_MS; 0: due now. */
uint64_t probe_schedule_wait_ms(const struct probe_schedule *s, int64_t now);

/* Any thread: ids of the channels in this state, ascending; returns how many there are, fills up to cap. */
size_t probe_schedule_list(struct probe_schedule *s, enum probe_state state, int64_t *ids, size_t cap);
