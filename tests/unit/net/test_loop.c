#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/loop.h"

#include <pthread.h>
#include <stdatomic.h>

static struct loop *loop;

static int start(void **state)
{
    loop = loop_new("test", 3);
    return 0;
}

static int stop(void **state)
{
    loop_free(loop);
    return 0;
}

/* ---- messages ---- */

#define SENDERS  4
#define PER_SENDER 20000

struct parcel {
    struct loop_msg msg;
    unsigned sender, number;
};

static unsigned last_number[SENDERS];
static unsigned received;
static bool in_order;

static void on_parcel(struct loop_msg *m)
{
    struct parcel *p = container_of(m, struct parcel, msg);

    in_order = in_order && p->number == last_number[p->sender] + 1 && loop_current() == loop;
    last_number[p->sender] = p->number;
    xfree(p);
    if (++received == SENDERS * PER_SENDER)
        loop_stop(loop);
}

static void *send_parcels(void *arg)
{
    unsigned sender = *(unsigned *)arg;

    for (unsigned i = 1; i <= PER_SENDER; i++) {
        struct parcel *p = xcalloc(1, sizeof(*p));

        p->sender = sender;
        p->number = i;
        loop_post(loop, &p->msg, on_parcel);
    }
    return NULL;
}

static void test_loop__messages_of_a_sender_keep_their_order(void **state)
{
    pthread_t threads[SENDERS];
    unsigned ids[SENDERS];

    in_order = true;
    received = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        ids[i] = i;
        last_number[i] = 0;
        pthread_create(&threads[i], NULL, send_parcels, &ids[i]);
    }
    loop_run(loop);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(received, SENDERS * PER_SENDER);
    assert_true(in_order);
    assert_null(loop_current());
    assert_int_equal(loop_index(loop), 3);
}

/* ---- timers ---- */

#define TIMERS 200

struct timed {
    struct loop_timer timer;
    mono_ms want_at, fired_at;
    unsigned fired;
};

static struct timed timed[TIMERS];
static unsigned left;

static void on_timed(struct loop_timer *t)
{
    struct timed *d = container_of(t, struct timed, timer);

    d->fired_at = clock_mono_ms();
    d->fired++;
    if (--left == 0)
        loop_stop(loop);
}

static void test_loop__timers_fire_once_and_never_early(void **state)
{
    left = TIMERS;
    for (unsigned i = 0; i < TIMERS; i++) {
        timed[i] = (struct timed){0};
        loop_timer_init(&timed[i].timer, loop, on_timed);
        loop_timer_set(&timed[i].timer, 50000);
        loop_timer_set(&timed[i].timer, i * 7 % 100); /* set anew: once only */
        timed[i].want_at = clock_mono_ms() + i * 7 % 100;
    }
    loop_run(loop);
    for (unsigned i = 0; i < TIMERS; i++) {
        assert_int_equal(timed[i].fired, 1);
        /* The clock of the loop may lag that of the test by the time between two calls. */
        assert_true(timed[i].fired_at + 5 >= timed[i].want_at);
        assert_true(timed[i].fired_at < timed[i].want_at + 500);
    }
}

static struct timed victim, chain;

static void on_killer(struct loop_timer *t)
{
    loop_timer_cancel(&victim.timer);
    loop_timer_cancel(&victim.timer); /* not set: nothing */
}

static void on_victim(struct loop_timer *t)
{
    victim.fired++;
}

static void on_chain(struct loop_timer *t)
{
    if (++chain.fired == 5)
        loop_stop(loop);
    else
        loop_timer_set(t, 0); /* from inside itself */
}

static void test_loop__timers_may_be_cancelled_and_set_inside_callbacks(void **state)
{
    struct loop_timer killer;

    victim = chain = (struct timed){0};
    loop_timer_init(&killer, loop, on_killer);
    loop_timer_init(&victim.timer, loop, on_victim);
    loop_timer_init(&chain.timer, loop, on_chain);
    loop_timer_set(&killer, 10); /* the same slot: the first one fires first */
    loop_timer_set(&victim.timer, 10);
    loop_timer_set(&chain.timer, 10);
    loop_run(loop);
    assert_int_equal(victim.fired, 0);
    assert_int_equal(chain.fired, 5);
    assert_false(victim.timer.is_set);
}

static void test_loop__timers_beyond_a_lap_wait(void **state)
{
    struct timed far = {0}, near = {0};

    /* 4096 slots of 16 ms: these two share a slot. */
    loop_timer_init(&far.timer, loop, on_timed);
    loop_timer_init(&near.timer, loop, on_timed);
    loop_timer_set(&far.timer, 32 + 4096 * 16);
    loop_timer_set(&near.timer, 32);
    left = 1;
    loop_run(loop);
    assert_int_equal(near.fired, 1);
    assert_int_equal(far.fired, 0);
    assert_true(far.timer.is_set);
    loop_timer_cancel(&far.timer);
}

/* ---- deferred calls and work ---- */

static int steps;

static void second_step(void *arg)
{
    assert_int_equal(steps++, 2);
    loop_stop(loop);
}

static void first_step(void *arg)
{
    assert_int_equal(steps++, 1);
    loop_defer(loop, second_step, NULL);
}

static void on_defer_msg(struct loop_msg *m)
{
    loop_defer(loop, first_step, NULL);
    assert_int_equal(steps++, 0); /* not yet */
}

static void test_loop__deferred_calls_run_after_the_callbacks(void **state)
{
    struct loop_msg m;

    steps = 0;
    loop_post(loop, &m, on_defer_msg);
    loop_run(loop);
    assert_int_equal(steps, 3);
}

struct job {
    struct loop_work work;
    pthread_t worker, owner;
};

static void do_job(struct loop_work *w)
{
    container_of(w, struct job, work)->worker = pthread_self();
}

static void job_done(struct loop_work *w)
{
    container_of(w, struct job, work)->owner = pthread_self();
    loop_stop(loop);
}

static void test_loop__work_runs_elsewhere_and_ends_here(void **state)
{
    struct job job = {0};

    loop_work(loop, &job.work, do_job, job_done);
    loop_run(loop);
    assert_true(pthread_equal(job.owner, pthread_self()));
    assert_false(pthread_equal(job.worker, pthread_self()));
}

static void test_loop__stop_before_run_ends_it(void **state)
{
    loop_stop(loop);
    loop_stop(loop);
    loop_run(loop);
}

static void on_clock_msg(struct loop_msg *m)
{
    mono_ms mono = clock_mono_ms();
    utc_ms utc = clock_utc_ms();

    assert_true(loop_now(loop) <= mono && loop_now(loop) + 1000 > mono);
    assert_true(loop_utc(loop) <= utc + 1 && loop_utc(loop) + 1000 > utc);
    loop_stop(loop);
}

static void test_loop__clocks_are_the_clocks(void **state)
{
    struct loop_msg m;

    loop_post(loop, &m, on_clock_msg);
    loop_run(loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_loop__##name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_of_a_sender_keep_their_order),
        TEST(timers_fire_once_and_never_early),
        TEST(timers_may_be_cancelled_and_set_inside_callbacks),
        TEST(timers_beyond_a_lap_wait),
        TEST(deferred_calls_run_after_the_callbacks),
        TEST(work_runs_elsewhere_and_ends_here),
        TEST(stop_before_run_ends_it),
        TEST(clocks_are_the_clocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
