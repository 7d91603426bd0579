/* map.c -- both maps are one table: linear probing over a power of two slots, at most three
 * quarters full, deletion by moving later entries back (no tombstones, so a map that lives long
 * does not slow down).
 *
 * The slot keeps the whole hash. A number's hash is a permutation of it, so in a map_id equal
 * hashes are equal keys and no key is compared; in a map the text decides. */
#include "base/map.h"

#define MAP_FIRST_SLOTS 8

struct slot {
    uint64_t hash;
    void *value; /* NULL: free */
    union {
        struct str text; /* owned, NUL-terminated */
        uint64_t id;
    } key;
};

struct table {
    struct slot *slots; /* NULL while slot_count is 0 */
    size_t slot_count;  /* a power of two, or 0 */
    size_t count;
};

struct map {
    struct table table;
};

struct map_id {
    struct table table;
    uint64_t seed; /* drawn per map: which ids collide cannot be told from outside */
};

/* The slot of the key, or the free one where it belongs. `text` is NULL in a map_id. */
static struct slot *table_find(const struct table *t, uint64_t hash, const struct str *text)
{
    size_t mask = t->slot_count - 1;
    size_t i = (size_t)hash & mask;

    while (t->slots[i].value &&
           (t->slots[i].hash != hash || (text && !str_eq(t->slots[i].key.text, *text))))
        i = (i + 1) & mask;
    return &t->slots[i];
}

static void *table_get(const struct table *t, uint64_t hash, const struct str *text)
{
    return t->count ? table_find(t, hash, text)->value : NULL;
}

static void table_grow(struct table *t)
{
    struct table bigger = {.slot_count = t->slot_count ? t->slot_count * 2 : MAP_FIRST_SLOTS};

    bigger.slots = xcalloc(bigger.slot_count, sizeof(*bigger.slots));
    for (size_t i = 0; i < t->slot_count; i++) {
        const struct slot *from = &t->slots[i];
        size_t mask = bigger.slot_count - 1;
        size_t at = (size_t)from->hash & mask;

        if (!from->value)
            continue;
        while (bigger.slots[at].value) /* keys are distinct: the first free slot is it */
            at = (at + 1) & mask;
        bigger.slots[at] = *from;
    }
    bigger.count = t->count;
    xfree(t->slots);
    *t = bigger;
}

/* Makes room for one more key before it is looked for, so that the slot found stays. */
static void table_make_room(struct table *t)
{
    if (t->count + 1 > t->slot_count / 4 * 3)
        table_grow(t);
}

/* Frees `hole` and closes the gap: an entry behind it moves in unless its own place lies (round
 * the end of the table) after the hole, where a search for it would not pass the hole. */
static void table_remove(struct table *t, struct slot *slot)
{
    size_t mask = t->slot_count - 1;
    size_t hole = (size_t)(slot - t->slots); /* within the table */

    for (size_t i = (hole + 1) & mask; t->slots[i].value; i = (i + 1) & mask) {
        size_t home = (size_t)t->slots[i].hash & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        t->slots[hole] = t->slots[i];
        hole = i;
    }
    t->slots[hole] = (struct slot){0};
    t->count--;
}

static const struct slot *table_next(const struct table *t, size_t *it)
{
    while (*it < t->slot_count) {
        const struct slot *s = &t->slots[(*it)++];

        if (s->value)
            return s;
    }
    return NULL;
}

static void table_release(struct table *t, bool has_text, void (*free_value)(void *))
{
    for (size_t i = 0; i < t->slot_count; i++) {
        struct slot *s = &t->slots[i];

        if (!s->value)
            continue;
        if (has_text)
            xfree((void *)(uintptr_t)s->key.text.ptr); /* our own copy, const for its readers */
        if (free_value)
            free_value(s->value);
    }
    xfree(t->slots);
}

struct map *map_new(void)
{
    return xcalloc(1, sizeof(struct map));
}

void map_free(struct map *m, void (*free_value)(void *))
{
    if (!m)
        return;
    table_release(&m->table, true, free_value);
    xfree(m);
}

size_t map_count(const struct map *m)
{
    return m->table.count;
}

void *map_get(const struct map *m, struct str key)
{
    return table_get(&m->table, str_hash(key), &key);
}

void *map_set(struct map *m, struct str key, void *value)
{
    uint64_t hash = str_hash(key);

    assert(value);
    table_make_room(&m->table);

    struct slot *s = table_find(&m->table, hash, &key);
    void *previous = s->value;

    s->value = value;
    if (!previous) {
        s->hash = hash;
        s->key.text = str_n(str_dup(key), key.len);
        m->table.count++;
    }
    return previous;
}

void *map_del(struct map *m, struct str key)
{
    if (m->table.count == 0)
        return NULL;

    struct slot *s = table_find(&m->table, str_hash(key), &key);
    void *value = s->value;

    if (value) {
        xfree((void *)(uintptr_t)s->key.text.ptr); /* our own copy; `key` may be it: unused below */
        table_remove(&m->table, s);
    }
    return value;
}

bool map_next(const struct map *m, size_t *it, struct str *ret_key, void **ret_value)
{
    const struct slot *s = table_next(&m->table, it);

    if (!s)
        return false;
    if (ret_key)
        *ret_key = s->key.text;
    if (ret_value)
        *ret_value = s->value;
    return true;
}

/* Each step can be undone, so distinct ids have distinct hashes (the finalizer of splitmix64). */
static uint64_t id_hash(const struct map_id *m, uint64_t id)
{
    uint64_t x = id ^ m->seed;

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

struct map_id *map_id_new(void)
{
    struct map_id *m = xcalloc(1, sizeof(*m));

    m->seed = str_hash(str_n((const char *)&m, sizeof(m))); /* keyed per process, by address */
    return m;
}

void map_id_free(struct map_id *m, void (*free_value)(void *))
{
    if (!m)
        return;
    table_release(&m->table, false, free_value);
    xfree(m);
}

size_t map_id_count(const struct map_id *m)
{
    return m->table.count;
}

void *map_id_get(const struct map_id *m, uint64_t key)
{
    return table_get(&m->table, id_hash(m, key), NULL);
}

void *map_id_set(struct map_id *m, uint64_t key, void *value)
{
    assert(value);
    table_make_room(&m->table);

    struct slot *s = table_find(&m->table, id_hash(m, key), NULL);
    void *previous = s->value;

    s->value = value;
    if (!previous) {
        s->hash = id_hash(m, key);
        s->key.id = key;
        m->table.count++;
    }
    return previous;
}

void *map_id_del(struct map_id *m, uint64_t key)
{
    if (m->table.count == 0)
        return NULL;

    struct slot *s = table_find(&m->table, id_hash(m, key), NULL);
    void *value = s->value;

    if (value)
        table_remove(&m->table, s);
    return value;
}

bool map_id_next(const struct map_id *m, size_t *it, uint64_t *ret_key, void **ret_value)
{
    const struct slot *s = table_next(&m->table, it);

    if (!s)
        return false;
    if (ret_key)
        *ret_key = s->key.id;
    if (ret_value)
        *ret_value = s->value;
    return true;
}
