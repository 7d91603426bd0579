/* catalog_set.c -- the parts of a snapshot: counted sets, their indexes, and look-ups in them. */
#include "catalog/catalog_private.h"

/* ---- indexes ---- */

static struct catalog_index index_new(size_t count)
{
    size_t size = 8;

    while (size < 2 * count)
        size *= 2;
    return (struct catalog_index){xcalloc(size, sizeof(uint32_t)), size - 1};
}

static void index_put(struct catalog_index *ix, uint64_t hash, size_t position)
{
    size_t i = (size_t)hash & ix->mask;

    while (ix->slots[i] != 0)
        i = (i + 1) & ix->mask;
    assert(position < UINT32_MAX);
    ix->slots[i] = (uint32_t)position + 1; /* checked */
}

/* Walks the positions that may match; false at the end of the chain. *it begins as the hash. */
static bool index_next(const struct catalog_index *ix, uint64_t *it, size_t *ret_position)
{
    uint32_t slot = ix->slots[(size_t)*it & ix->mask];

    ++*it;
    *ret_position = (size_t)slot - 1;
    return slot != 0;
}

static uint64_t hash_of_id(int64_t id)
{
    return (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 16; /* ids are ours: spread is enough */
}

static uint64_t hash_of_key(const uint8_t hash[SECRET_HASH_SIZE])
{
    uint64_t h;

    memcpy(&h, hash, sizeof(h)); /* SHA-256: any of its bytes are spread already */
    return h;
}

/* ---- sets ---- */

static int compare_channels(const void *a, const void *b)
{
    const struct channel *x = *(const struct channel *const *)a;
    const struct channel *y = *(const struct channel *const *)b;

    if (x->sort_order != y->sort_order)
        return x->sort_order < y->sort_order ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

struct channel_set *catalog_set_channels(const struct channel **items, size_t count)
{
    struct channel_set *s = xcalloc(1, sizeof(*s));

    if (count > 0)
        qsort(items, count, sizeof(const struct channel *), compare_channels);
    atomic_init(&s->refs, 1);
    s->items = items;
    s->count = count;
    s->by_id = index_new(count);
    s->by_name = index_new(count);
    for (size_t i = 0; i < count; i++) {
        index_put(&s->by_id, hash_of_id(items[i]->id), i);
        index_put(&s->by_name, str_hash(str_of(items[i]->name)), i);
    }
    return s;
}

static int compare_keys(const void *a, const void *b)
{
    const struct proxy_key *x = *(const struct proxy_key *const *)a;
    const struct proxy_key *y = *(const struct proxy_key *const *)b;

    if (x->created_utc_ms != y->created_utc_ms)
        return x->created_utc_ms > y->created_utc_ms ? -1 : 1;
    return (x->id < y->id) - (x->id > y->id);
}

struct key_set *catalog_set_keys(const struct proxy_key **items, size_t count)
{
    struct key_set *s = xcalloc(1, sizeof(*s));

    if (count > 0)
        qsort(items, count, sizeof(const struct proxy_key *), compare_keys);
    atomic_init(&s->refs, 1);
    s->items = items;
    s->count = count;
    s->by_hash = index_new(count);
    for (size_t i = 0; i < count; i++)
        index_put(&s->by_hash, hash_of_key(items[i]->hash), i);
    return s;
}

static int compare_settings(const void *a, const void *b)
{
    return strcmp(((const struct setting_row *)a)->key, ((const struct setting_row *)b)->key);
}

struct setting_set *catalog_set_settings(struct setting_row *items, size_t count)
{
    struct setting_set *s = xcalloc(1, sizeof(*s));

    if (count > 0)
        qsort(items, count, sizeof(*items), compare_settings);
    atomic_init(&s->refs, 1);
    s->items = items;
    s->count = count;
    return s;
}

void catalog_set_settings_free(struct setting_row *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        xfree(items[i].key);
        secret_release(&items[i].value);
    }
    xfree(items);
}

static bool is_last(_Atomic uint32_t *refs)
{
    return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void more(_Atomic uint32_t *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

struct channel_set *catalog_set_channels_ref(struct channel_set *s)
{
    more(&s->refs);
    return s;
}

struct key_set *catalog_set_keys_ref(struct key_set *s)
{
    more(&s->refs);
    return s;
}

struct setting_set *catalog_set_settings_ref(struct setting_set *s)
{
    more(&s->refs);
    return s;
}

static void channels_unref(struct channel_set *s)
{
    if (!is_last(&s->refs))
        return;
    for (size_t i = 0; i < s->count; i++)
        channel_free(s->items[i]);
    xfree(s->items);
    xfree(s->by_id.slots);
    xfree(s->by_name.slots);
    xfree(s);
}

static void keys_unref(struct key_set *s)
{
    if (!is_last(&s->refs))
        return;
    for (size_t i = 0; i < s->count; i++)
        proxy_key_free(s->items[i]);
    xfree(s->items);
    xfree(s->by_hash.slots);
    xfree(s);
}

static void settings_unref(struct setting_set *s)
{
    if (!is_last(&s->refs))
        return;
    catalog_set_settings_free(s->items, s->count);
    xfree(s);
}

/* ---- snapshots ---- */

struct catalog_snapshot *catalog_set_snapshot(uint64_t generation, struct channel_set *channels,
                                              struct key_set *keys, struct setting_set *settings)
{
    struct catalog_snapshot *s = xcalloc(1, sizeof(*s));

    s->generation = generation;
    s->channels = channels->items;
    s->channel_count = channels->count;
    s->keys = keys->items;
    s->key_count = keys->count;
    s->parts = xcalloc(1, sizeof(*s->parts));
    atomic_init(&s->parts->refs, 1);
    s->parts->channels = channels;
    s->parts->keys = keys;
    s->parts->settings = settings;
    return s;
}

struct catalog_snapshot *catalog_ref(struct catalog_snapshot *s)
{
    more(&s->parts->refs);
    return s;
}

void catalog_unref(struct catalog_snapshot *s)
{
    if (!s || !is_last(&s->parts->refs))
        return;
    channels_unref(s->parts->channels);
    keys_unref(s->parts->keys);
    settings_unref(s->parts->settings);
    xfree(s->parts);
    xfree(s);
}

/* ---- look-ups ---- */

const struct channel *catalog_channel(const struct catalog_snapshot *s, int64_t id)
{
    const struct channel_set *set = s->parts->channels;
    uint64_t it = hash_of_id(id);
    size_t at;

    while (index_next(&set->by_id, &it, &at))
        if (set->items[at]->id == id)
            return set->items[at];
    return NULL;
}

const struct channel *catalog_channel_by_name(const struct catalog_snapshot *s, struct str name)
{
    const struct channel_set *set = s->parts->channels;
    uint64_t it = str_hash(name);
    size_t at;

    while (index_next(&set->by_name, &it, &at))
        if (str_eq_c(name, set->items[at]->name))
            return set->items[at];
    return NULL;
}

const struct proxy_key *catalog_key_by_hash(const struct catalog_snapshot *s,
                                            const uint8_t hash[SECRET_HASH_SIZE])
{
    const struct key_set *set = s->parts->keys;
    uint64_t it = hash_of_key(hash);
    size_t at;

    while (index_next(&set->by_hash, &it, &at))
        if (secret_hash_equal(set->items[at]->hash, hash))
            return set->items[at];
    return NULL;
}

const struct setting_row *catalog_set_setting(const struct setting_set *s, struct str key)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_cmp(key, str_of(s->items[middle].key));

        if (order == 0)
            return &s->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct str catalog_setting(const struct catalog_snapshot *s, const char *key)
{
    const struct setting_row *row = catalog_set_setting(s->parts->settings, str_of(key));

    if (!row)
        return STR_NONE;
    return row->value.len > 0 ? secret_str(&row->value) : STR(""); /* stored, and empty */
}
