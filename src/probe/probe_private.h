/* probe_private.h -- the prober's inside, shared by prober*.c and probe_run.c. All of it belongs to the
 * control loop; other threads see the schedule through probe_schedule_list() alone. */
#pragma once

#include "base/list.h"
#include "base/tz.h"
#include "probe/probe_list.h"
#include "probe/probe_log.h"
#include "probe/probe_one.h"
#include "probe/probe_schedule.h"
#include "probe/prober.h"

struct probe_run;

enum prober_life { PROBER_NEW, PROBER_LOADING, PROBER_WORKING, PROBER_STOPPING, PROBER_STOPPED };

struct prober {
    struct prober_config cfg; /* texts are ours */
    enum prober_life life;
    struct loop *loop;
    struct probe_schedule schedule;
    struct curl_client *curl; /* NULL once stopped */
    struct ledger_producer *producer;
    struct catalog_snapshot *snapshot; /* a reference to the newest that reached this loop */
    uint64_t generation;               /* of the walk over it; slots not seen in it are dropped */
    const struct tz *zone;
    struct list runs, picks;    /* struct probe_run, struct prober_pick */
    struct loop_msg *early;     /* asks that came before the store was read, newest first */
    struct loop_timer timer;    /* next due channel */
    struct loop_msg start_msg;
    /* resume */
    struct prober_resume *resume; /* the store's job while LOADING */
    struct loop_timer retry_timer;
    int64_t first_run_id;         /* runs of this process have this id or a higher one */
    /* stop */
    struct loop_timer grace_timer;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    /* logs */
    char log_dir[512];
    bool is_cleaning_on;
    uint64_t log_max_bytes; /* 0: no limit */
    uint64_t log_bytes;     /* at the last sweep, and written since */
    struct prober_sweep *sweep; /* in progress, or NULL */
    bool is_sweep_due;
};

/* prober.c */
void prober_pump(struct prober *p);      /* start what may start, set the timer */
void prober_check_end(struct prober *p); /* stopping, and nothing is left: tells */
void prober_resumed(struct prober *p, const struct prober_resume *r); /* slots are made, first scan */
/* prober_resume.c: reads where the last process stood, then calls prober_resumed() once. */
void prober_resume_start(struct prober *p);
void prober_resume_orphan(struct prober_resume *r); /* p goes; NULL is a no-op */
bool prober_resume_last(const struct prober_resume *r, int64_t channel_id, utc_ms *ret); /* end of its last run */
/* End the runs that the last process left open, and let their channels be due at once. */
void prober_resume_close_runs(const struct prober_resume *r);
/* prober_sweep.c */
void prober_sweep_request(struct prober *p, bool is_forced); /* not forced: only past the limit */
void prober_sweep_orphan(struct prober_sweep *s);            /* p goes; NULL is a no-op */

/* probe_run.c */
enum probe_run_why { PROBE_RUN_DELETED, PROBE_RUN_ASKED, PROBE_RUN_STOPPED };
void probe_run_start(struct prober *p, struct probe_slot *slot, const struct channel *ch);
/* Cancels its exchanges; DELETED and STOPPED leave no trace, ASKED ends the run as an error. The slot stays
 * RUNNING: the caller ends or drops it. */
void probe_run_cancel(struct probe_run *run, enum probe_run_why why);
struct probe_run *probe_run_of(struct list *node); /* of a node of prober.runs */
const struct probe_log *probe_run_log(const struct probe_run *run);
