/* probe_schedule.c -- see probe_schedule.h. */
#include "probe/probe_schedule.h"

#include "base/err.h"
#include "base/secret.h"

#define NOT_IN_HEAP SIZE_MAX

void probe_schedule_init(struct probe_schedule *s, unsigned scheduled_max, unsigned manual_max)
{
    *s = (struct probe_schedule){.scheduled_max = scheduled_max, .manual_max = manual_max};
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->manual);
    list_init(&s->scheduled);
    secret_random(&s->random, sizeof(s->random));
    s->random |= 1; /* xorshift stands still at 0 */
}

void probe_schedule_release(struct probe_schedule *s)
{
    for (size_t i = 0; i < s->count; i++)
        xfree(s->slots[i]);
    xfree(s->slots);
    xfree(s->heap);
    pthread_mutex_destroy(&s->lock);
}

/* ---- the heap ---- */

static bool is_before(const struct probe_slot *a, const struct probe_slot *b)
{
    return a->due != b->due ? a->due < b->due : a->channel_id < b->channel_id;
}

static void put_at(struct probe_schedule *s, size_t i, struct probe_slot *slot)
{
    s->heap[i] = slot;
    slot->heap_at = i;
}

static void sift_up(struct probe_schedule *s, size_t i, struct probe_slot *slot)
{
    for (; i > 0 && is_before(slot, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        put_at(s, i, s->heap[(i - 1) / 2]);
    put_at(s, i, slot);
}

static void sift_down(struct probe_schedule *s, size_t i, struct probe_slot *slot)
{
    for (size_t child = 2 * i + 1; child < s->heap_count; child = 2 * i + 1) {
        if (child + 1 < s->heap_count && is_before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!is_before(s->heap[child], slot))
            break;
        put_at(s, i, s->heap[child]);
        i = child;
    }
    put_at(s, i, slot);
}

static void heap_remove(struct probe_schedule *s, struct probe_slot *slot)
{
    size_t at = slot->heap_at;
    struct probe_slot *last;

    if (at == NOT_IN_HEAP)
        return;
    slot->heap_at = NOT_IN_HEAP;
    last = s->heap[--s->heap_count];
    if (last == slot)
        return;
    if (at > 0 && is_before(last, s->heap[(at - 1) / 2]))
        sift_up(s, at, last);
    else
        sift_down(s, at, last);
}

static void heap_add(struct probe_schedule *s, struct probe_slot *slot, int64_t due)
{
    heap_remove(s, slot);
    slot->due = due;
    sift_up(s, s->heap_count++, slot);
}

/* ---- due times ---- */

static uint64_t draw(struct probe_schedule *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

/* Channels made together drift apart instead of meeting in every round. */
static int64_t jitter(struct probe_schedule *s, int64_t interval_ms)
{
    int64_t most = MIN(interval_ms / 20, PROBE_SCHEDULE_JITTER_MS);

    return (int64_t)(draw(s) % (uint64_t)(most + 1)); /* at most 30,000 */
}

static void wait_for_due(struct probe_schedule *s, struct probe_slot *slot, int64_t earliest)
{
    int64_t due;

    if (!slot->is_enabled || slot->state != PROBE_IDLE) {
        heap_remove(s, slot);
        return;
    }
    due = slot->last_end == PROBE_SCHEDULE_NEVER
              ? PROBE_SCHEDULE_NEVER
              : slot->last_end + slot->interval_ms + jitter(s, slot->interval_ms);
    heap_add(s, slot, MAX(due, earliest));
}

/* ---- channels ---- */

static size_t find(const struct probe_schedule *s, int64_t channel_id)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->slots[middle]->channel_id < channel_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct probe_slot *probe_schedule_get(const struct probe_schedule *s, int64_t channel_id)
{
    size_t i = find(s, channel_id);

    return i < s->count && s->slots[i]->channel_id == channel_id ? s->slots[i] : NULL;
}

struct probe_slot *probe_schedule_add(struct probe_schedule *s, int64_t channel_id,
                                      int64_t interval_ms, bool is_enabled, int64_t last_end,
                                      int64_t earliest)
{
    struct probe_slot *slot = xcalloc(1, sizeof(*slot));
    size_t i = find(s, channel_id);

    slot->channel_id = channel_id;
    slot->interval_ms = interval_ms;
    slot->is_enabled = is_enabled;
    slot->last_end = last_end;
    slot->heap_at = NOT_IN_HEAP;
    list_init(&slot->node);
    pthread_mutex_lock(&s->lock);
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->slots = xrealloc(s->slots, s->cap * sizeof(struct probe_slot *));
        s->heap = xrealloc(s->heap, s->cap * sizeof(struct probe_slot *));
    }
    memmove(&s->slots[i + 1], &s->slots[i], (s->count - i) * sizeof(struct probe_slot *));
    s->slots[i] = slot;
    s->count++;
    pthread_mutex_unlock(&s->lock);
    wait_for_due(s, slot, earliest);
    return slot;
}

void probe_schedule_change(struct probe_schedule *s, struct probe_slot *slot, int64_t interval_ms,
                           bool is_enabled, int64_t now)
{
    if (slot->interval_ms == interval_ms && slot->is_enabled == is_enabled)
        return;
    slot->interval_ms = interval_ms;
    slot->is_enabled = is_enabled;
    if (slot->state == PROBE_QUEUED && !slot->is_manual && !is_enabled)
        probe_schedule_unqueue(s, slot, now);
    wait_for_due(s, slot, now);
}

void probe_schedule_hurry(struct probe_schedule *s, struct probe_slot *slot, int64_t now)
{
    if (slot->is_enabled && slot->state == PROBE_IDLE)
        heap_add(s, slot, now);
}

static void set_state(struct probe_schedule *s, struct probe_slot *slot, enum probe_state state)
{
    pthread_mutex_lock(&s->lock);
    slot->state = state;
    pthread_mutex_unlock(&s->lock);
}

static void leave_queue(struct probe_schedule *s, struct probe_slot *slot)
{
    list_del(&slot->node);
    s->queued--;
}

static void free_place(struct probe_schedule *s, const struct probe_slot *slot)
{
    if (slot->is_manual)
        s->manual_running--;
    else
        s->scheduled_running--;
}

void probe_schedule_drop(struct probe_schedule *s, struct probe_slot *slot)
{
    size_t i = find(s, slot->channel_id);

    heap_remove(s, slot);
    if (slot->state == PROBE_QUEUED)
        leave_queue(s, slot);
    else if (slot->state == PROBE_RUNNING)
        free_place(s, slot);
    pthread_mutex_lock(&s->lock);
    s->count--;
    memmove(&s->slots[i], &s->slots[i + 1], (s->count - i) * sizeof(struct probe_slot *));
    pthread_mutex_unlock(&s->lock);
    xfree(slot);
}

/* ---- queues and places ---- */

void probe_schedule_scan(struct probe_schedule *s, int64_t now)
{
    while (s->heap_count > 0 && s->heap[0]->due <= now) {
        struct probe_slot *slot = s->heap[0];

        heap_remove(s, slot);
        slot->is_manual = false;
        set_state(s, slot, PROBE_QUEUED);
        list_add_tail(&s->scheduled, &slot->node);
        s->queued++;
    }
}

int probe_schedule_ask(struct probe_schedule *s, struct probe_slot *slot)
{
    if (slot->state == PROBE_RUNNING)
        return ERR_CONFLICT;
    if (slot->state == PROBE_QUEUED && slot->is_manual)
        return 0; /* keeps its place */
    heap_remove(s, slot);
    if (slot->state == PROBE_QUEUED)
        leave_queue(s, slot);
    slot->is_manual = true;
    set_state(s, slot, PROBE_QUEUED);
    list_add_tail(&s->manual, &slot->node);
    s->queued++;
    return 0;
}

void probe_schedule_unqueue(struct probe_schedule *s, struct probe_slot *slot, int64_t now)
{
    if (slot->state != PROBE_QUEUED)
        return;
    leave_queue(s, slot);
    set_state(s, slot, PROBE_IDLE);
    wait_for_due(s, slot, now + slot->interval_ms);
}

static struct probe_slot *take(struct probe_schedule *s, struct list *queue, unsigned *running,
                               unsigned most)
{
    struct probe_slot *slot;

    if (list_empty(queue) || *running >= most)
        return NULL;
    slot = list_entry(queue->next, struct probe_slot, node);
    leave_queue(s, slot);
    set_state(s, slot, PROBE_RUNNING);
    ++*running;
    return slot;
}

struct probe_slot *probe_schedule_next(struct probe_schedule *s)
{
    struct probe_slot *slot = take(s, &s->manual, &s->manual_running, s->manual_max);

    return slot ? slot : take(s, &s->scheduled, &s->scheduled_running, s->scheduled_max);
}

void probe_schedule_end(struct probe_schedule *s, struct probe_slot *slot, int64_t now)
{
    assert(slot->state == PROBE_RUNNING);
    free_place(s, slot);
    slot->is_manual = false;
    slot->last_end = now;
    set_state(s, slot, PROBE_IDLE);
    wait_for_due(s, slot, now);
}

uint64_t probe_schedule_wait_ms(const struct probe_schedule *s, int64_t now)
{
    if (s->heap_count == 0 || s->heap[0]->due > now + PROBE_SCHEDULE_WAIT_MS)
        return PROBE_SCHEDULE_WAIT_MS;
    return s->heap[0]->due > now ? (uint64_t)(s->heap[0]->due - now) : 0; /* at most a minute */
}

size_t probe_schedule_list(struct probe_schedule *s, enum probe_state state, int64_t *ids,
                           size_t cap)
{
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->count; i++)
        if (s->slots[i]->state == state) {
            if (n < cap)
                ids[n] = s->slots[i]->channel_id;
            n++;
        }
    pthread_mutex_unlock(&s->lock);
    return n;
}
