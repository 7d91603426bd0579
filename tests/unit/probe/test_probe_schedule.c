/* test_probe_schedule.c -- due times, queues, slots, at times of the test's choosing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "probe/probe_schedule.h"

#define MINUTE ((int64_t)60000)
#define NEVER  PROBE_SCHEDULE_NEVER

static struct probe_slot *next_is(struct probe_schedule *s, int64_t id)
{
    struct probe_slot *slot = probe_schedule_next(s);

    if (id == 0) {
        assert_null(slot);
        return NULL;
    }
    assert_non_null(slot);
    assert_int_equal(slot->channel_id, id);
    assert_int_equal(slot->state, PROBE_RUNNING);
    return slot;
}

static void test_probe_schedule__never_probed_come_first_then_the_oldest(void **state)
{
    struct probe_schedule s;

    probe_schedule_init(&s, 100, 1);
    probe_schedule_add(&s, 1, MINUTE, true, -5 * MINUTE, NEVER); /* overdue by 4 */
    probe_schedule_add(&s, 2, MINUTE, true, -9 * MINUTE, NEVER); /* overdue by 8 */
    probe_schedule_add(&s, 7, MINUTE, true, NEVER, NEVER);
    probe_schedule_add(&s, 4, MINUTE, true, NEVER, NEVER);
    probe_schedule_add(&s, 5, MINUTE, false, NEVER, NEVER); /* switched off */
    probe_schedule_add(&s, 6, 30 * MINUTE, true, 0, NEVER); /* not due yet */
    assert_int_equal(probe_schedule_wait_ms(&s, 0), 0);
    probe_schedule_scan(&s, 0);
    next_is(&s, 4);
    next_is(&s, 7);
    next_is(&s, 2);
    next_is(&s, 1);
    next_is(&s, 0);
    probe_schedule_release(&s);
}

static void test_probe_schedule__a_free_slot_is_filled_at_once(void **state)
{
    struct probe_schedule s;
    struct probe_slot *a;

    probe_schedule_init(&s, 2, 1);
    for (int64_t id = 1; id <= 4; id++)
        probe_schedule_add(&s, id, MINUTE, true, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    a = next_is(&s, 1);
    next_is(&s, 2);
    next_is(&s, 0);
    assert_int_equal(s.queued, 2);
    probe_schedule_end(&s, a, 10);
    next_is(&s, 3);
    next_is(&s, 0);
    probe_schedule_release(&s);
}

static void test_probe_schedule__due_again_an_interval_after_the_end_and_a_little(void **state)
{
    struct probe_schedule s;
    struct probe_slot *slot;

    probe_schedule_init(&s, 1, 1);
    slot = probe_schedule_add(&s, 1, 30 * MINUTE, true, NEVER, NEVER);
    for (int64_t now = 0, i = 0; i < 200; i++) {
        probe_schedule_scan(&s, now);
        next_is(&s, 1);
        now += 5000;
        probe_schedule_end(&s, slot, now);
        assert_true(slot->due >= now + 30 * MINUTE);
        assert_true(slot->due <= now + 30 * MINUTE + PROBE_SCHEDULE_JITTER_MS);
        probe_schedule_scan(&s, slot->due - 1);
        next_is(&s, 0);
        now = slot->due;
    }
    probe_schedule_release(&s);
}

static void test_probe_schedule__channels_of_one_moment_drift_apart(void **state)
{
    struct probe_schedule s;
    int64_t low = INT64_MAX, high = 0;

    probe_schedule_init(&s, 100, 1);
    for (int64_t id = 1; id <= 100; id++) {
        struct probe_slot *slot = probe_schedule_add(&s, id, 30 * MINUTE, true, 0, NEVER);

        low = MIN(low, slot->due);
        high = MAX(high, slot->due);
    }
    assert_true(high - low > PROBE_SCHEDULE_JITTER_MS / 2); /* 100 draws: fails once in 10^29 */
    probe_schedule_release(&s);
}

static void test_probe_schedule__sleeps_to_the_next_due_time_and_a_minute_at_most(void **state)
{
    struct probe_schedule s;
    struct probe_slot *slot;

    probe_schedule_init(&s, 1, 1);
    assert_int_equal(probe_schedule_wait_ms(&s, 5), PROBE_SCHEDULE_WAIT_MS);
    slot = probe_schedule_add(&s, 1, 30 * MINUTE, true, 0, NEVER);
    assert_int_equal(probe_schedule_wait_ms(&s, 5), PROBE_SCHEDULE_WAIT_MS);
    assert_int_equal(probe_schedule_wait_ms(&s, slot->due - 7), 7);
    assert_int_equal(probe_schedule_wait_ms(&s, slot->due + 7), 0);
    probe_schedule_release(&s);
}

static void test_probe_schedule__asked_for_goes_first_and_has_its_own_places(void **state)
{
    struct probe_schedule s;
    struct probe_slot *slot[5];

    probe_schedule_init(&s, 1, 2);
    for (int64_t id = 1; id <= 4; id++)
        slot[id] = probe_schedule_add(&s, id, MINUTE, id != 4, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    assert_int_equal(probe_schedule_ask(&s, slot[4]), 0); /* also when switched off */
    assert_int_equal(probe_schedule_ask(&s, slot[3]), 0); /* leaves the other queue */
    assert_int_equal(probe_schedule_ask(&s, slot[3]), 0); /* twice is once */
    assert_int_equal(s.queued, 4);
    next_is(&s, 4);
    next_is(&s, 3);
    next_is(&s, 1); /* manual ones take no scheduled place */
    assert_int_equal(probe_schedule_ask(&s, slot[1]), ERR_CONFLICT);
    assert_int_equal(probe_schedule_ask(&s, slot[2]), 0);
    next_is(&s, 0); /* both manual places are taken */
    probe_schedule_end(&s, slot[3], 1);
    next_is(&s, 2);
    probe_schedule_end(&s, slot[4], 1);
    assert_int_equal(slot[4]->heap_at, SIZE_MAX); /* off: not scheduled */
    probe_schedule_release(&s);
}

static void test_probe_schedule__changes_move_the_due_time(void **state)
{
    struct probe_schedule s;
    struct probe_slot *slot;

    probe_schedule_init(&s, 1, 1);
    slot = probe_schedule_add(&s, 1, 30 * MINUTE, true, 0, NEVER);
    probe_schedule_change(&s, slot, 5 * MINUTE, true, MINUTE);
    assert_true(slot->due >= 5 * MINUTE && slot->due <= 5 * MINUTE + 15000); /* a twentieth */
    probe_schedule_change(&s, slot, MINUTE, true, 20 * MINUTE); /* overdue by the new one: now */
    assert_int_equal(slot->due, 20 * MINUTE);
    probe_schedule_change(&s, slot, MINUTE, false, 20 * MINUTE);
    probe_schedule_scan(&s, 21 * MINUTE);
    next_is(&s, 0);
    probe_schedule_change(&s, slot, MINUTE, true, 22 * MINUTE);
    probe_schedule_scan(&s, 22 * MINUTE);
    assert_int_equal(slot->state, PROBE_QUEUED);
    probe_schedule_change(&s, slot, MINUTE, false, 22 * MINUTE); /* off while queued */
    assert_int_equal(slot->state, PROBE_IDLE);
    next_is(&s, 0);
    assert_int_equal(s.queued, 0);
    probe_schedule_release(&s);
}

static void test_probe_schedule__hurry_is_now_and_drop_is_from_any_state(void **state)
{
    struct probe_schedule s;
    struct probe_slot *slot;

    probe_schedule_init(&s, 1, 1);
    slot = probe_schedule_add(&s, 1, 30 * MINUTE, true, 0, NEVER);
    probe_schedule_hurry(&s, slot, 5);
    assert_int_equal(probe_schedule_wait_ms(&s, 5), 0);
    probe_schedule_drop(&s, slot); /* idle */
    slot = probe_schedule_add(&s, 2, MINUTE, true, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    probe_schedule_drop(&s, slot); /* queued */
    next_is(&s, 0);
    slot = probe_schedule_add(&s, 3, MINUTE, true, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    next_is(&s, 3);
    probe_schedule_drop(&s, slot); /* running: its place is free */
    probe_schedule_add(&s, 4, MINUTE, true, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    next_is(&s, 4);
    assert_null(probe_schedule_get(&s, 3));
    assert_non_null(probe_schedule_get(&s, 4));
    probe_schedule_release(&s);
}

static void test_probe_schedule__lists_are_ascending_and_count_beyond_the_room(void **state)
{
    struct probe_schedule s;
    int64_t ids[2];

    probe_schedule_init(&s, 10, 1);
    for (int64_t id = 9; id >= 1; id -= 2)
        probe_schedule_add(&s, id, MINUTE, true, NEVER, NEVER);
    probe_schedule_scan(&s, 0);
    assert_int_equal(probe_schedule_list(&s, PROBE_QUEUED, ids, 2), 5);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 3);
    assert_int_equal(probe_schedule_list(&s, PROBE_RUNNING, ids, 2), 0);
    probe_schedule_release(&s);
}

/* Against a plain model: every channel runs once an interval, none early, never two places too
 * many. */
static void test_probe_schedule__a_thousand_channels_keep_their_round(void **state)
{
    enum { CHANNELS = 1000, PLACES = 20, TURN_MS = 500 };
    static int64_t last[CHANNELS + 1];
    struct probe_schedule s;
    struct probe_slot *running[PLACES] = {0};
    int64_t until[PLACES] = {0}, worst = 0;
    unsigned runs = 0;

    probe_schedule_init(&s, PLACES, 1);
    for (int64_t id = 1; id <= CHANNELS; id++) {
        last[id] = -(id * 1800); /* spread over the interval of 30 minutes */
        probe_schedule_add(&s, id, 30 * MINUTE, true, last[id], NEVER);
    }
    for (int64_t now = 0; now < 120 * MINUTE; now += TURN_MS) {
        for (unsigned i = 0; i < PLACES; i++)
            if (running[i] && until[i] <= now) {
                last[running[i]->channel_id] = now;
                probe_schedule_end(&s, running[i], now);
                running[i] = NULL;
            }
        probe_schedule_scan(&s, now);
        for (struct probe_slot *slot; (slot = probe_schedule_next(&s)) != NULL;) {
            unsigned i = 0;

            while (i < PLACES && running[i])
                i++;
            assert_true(i < PLACES);
            assert_true(now - last[slot->channel_id] >= 30 * MINUTE);
            worst =
                MAX(worst, now - last[slot->channel_id] - 30 * MINUTE - PROBE_SCHEDULE_JITTER_MS);
            running[i] = slot;
            until[i] = now + 10000; /* ten models, one second each */
            runs++;
        }
    }
    assert_true(runs >= 3 * CHANNELS);
    assert_true(worst <= TURN_MS);
    probe_schedule_release(&s);
}

static void test_probe_schedule__the_heap_stays_ordered_under_changes(void **state)
{
    struct probe_schedule s;
    uint32_t random = 12345;

    probe_schedule_init(&s, 1000, 1);
    for (int step = 0; step < 5000; step++) {
        int64_t id = (random = random * 1664525u + 1013904223u) >> 24;
        struct probe_slot *slot = probe_schedule_get(&s, id);

        if (!slot)
            probe_schedule_add(&s, id, (1 + random % 60) * MINUTE, true, random % 100000, NEVER);
        else if (random % 5 == 0)
            probe_schedule_drop(&s, slot);
        else
            probe_schedule_change(&s, slot, (1 + random % 60) * MINUTE, random % 3 != 0,
                                  random % 100000);
        for (size_t i = 1; i < s.heap_count; i++) {
            assert_true(s.heap[(i - 1) / 2]->due <= s.heap[i]->due);
            assert_int_equal(s.heap[i]->heap_at, i);
        }
    }
    probe_schedule_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_schedule__never_probed_come_first_then_the_oldest),
        cmocka_unit_test(test_probe_schedule__a_free_slot_is_filled_at_once),
        cmocka_unit_test(test_probe_schedule__due_again_an_interval_after_the_end_and_a_little),
        cmocka_unit_test(test_probe_schedule__channels_of_one_moment_drift_apart),
        cmocka_unit_test(test_probe_schedule__sleeps_to_the_next_due_time_and_a_minute_at_most),
        cmocka_unit_test(test_probe_schedule__asked_for_goes_first_and_has_its_own_places),
        cmocka_unit_test(test_probe_schedule__changes_move_the_due_time),
        cmocka_unit_test(test_probe_schedule__hurry_is_now_and_drop_is_from_any_state),
        cmocka_unit_test(test_probe_schedule__lists_are_ascending_and_count_beyond_the_room),
        cmocka_unit_test(test_probe_schedule__a_thousand_channels_keep_their_round),
        cmocka_unit_test(test_probe_schedule__the_heap_stays_ordered_under_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
