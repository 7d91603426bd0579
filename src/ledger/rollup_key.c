/* rollup_key.c -- combination -> row id, through a cache, with caps per day and origin. */
#include "ledger/rollup_key.h"

#include "ledger/pack.h"

#include "base/map.h"

#define CACHE_MAX  32768u /* entries a family; beyond it the cache starts anew */
#define DAYS_MAX   12u    /* (family, day, origin) counters in use at once */
#define KEY_BYTES  (2 + 3 * 8 + 4 * (2 + CALL_TEXT_MAX))
#define RECENT_MAX 512u /* a power of two */

struct key_entry {
    int64_t id;      /* 0 = no key row yet */
    int64_t days[2]; /* that this combination is counted in, newest use first */
    size_t len;
    uint8_t key[];
};

struct day_count {
    int64_t day;
    enum rollup_family family;
    enum call_origin origin;
    uint32_t count;
    uint64_t used;       /* tick of the last use; 0 = free */
    struct map *triples; /* source, provider, model seen; origin ingest of the first family only */
};

struct rollup_keys {
    struct map *cache[ROLLUP_FAMILIES]; /* combination -> struct key_entry */
    struct key_entry
        *recent[ROLLUP_FAMILIES][RECENT_MAX]; /* of the cache, by a quick hash; NULL = none */
    struct day_count days[DAYS_MAX];
    uint64_t tick;
    unsigned day_max, ingest_max;
    uint8_t bytes[KEY_BYTES]; /* scratch: a local one would be cleared for every event */
};

static const char *const select_sql[ROLLUP_FAMILIES] = {
    "SELECT id FROM rollup_keys WHERE origin=?1 AND kind=?2 AND site=?3 AND source=?4 AND "
    "provider=?5"
    " AND channel_id=?6 AND model=?7 AND grp=?8 AND key_id=?9",
    "SELECT id FROM user_rollup_keys WHERE origin=?1 AND site=?2 AND user=?3 AND key_id=?4",
};
static const char *const insert_sql[ROLLUP_FAMILIES] = {
    "INSERT INTO rollup_keys(origin,kind,site,source,provider,channel_id,model,grp,key_id)"
    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    "INSERT INTO user_rollup_keys(origin,site,user,key_id) VALUES(?1,?2,?3,?4)",
};
static const char *const counted_sql[ROLLUP_FAMILIES] = {
    "SELECT 1 FROM rollup_day WHERE at=?1 AND rk=?2",
    "SELECT 1 FROM user_rollup_day WHERE at=?1 AND rk=?2",
};
static const char *const count_sql[ROLLUP_FAMILIES] = {
    "SELECT count(*) FROM rollup_day d JOIN rollup_keys k ON k.id=d.rk WHERE d.at=?1 AND "
    "k.origin=?2",
    "SELECT count(*) FROM user_rollup_day d JOIN user_rollup_keys k ON k.id=d.rk"
    " WHERE d.at=?1 AND k.origin=?2",
};
static const char triples_sql[] =
    "SELECT DISTINCT k.source, k.provider, k.model FROM rollup_day d JOIN rollup_keys k ON "
    "k.id=d.rk"
    " WHERE d.at=?1 AND k.origin=?2 AND NOT (k.source='" ROLLUP_KEY_OTHER
    "' AND k.provider='" ROLLUP_KEY_OTHER "' AND k.model='" ROLLUP_KEY_OTHER "')";

struct rollup_keys *rollup_key_new(void)
{
    struct rollup_keys *k = xcalloc(1, sizeof(*k));

    k->day_max = ROLLUP_KEY_DAY_MAX;
    k->ingest_max = ROLLUP_KEY_INGEST_MAX;
    for (unsigned f = 0; f < ROLLUP_FAMILIES; f++)
        k->cache[f] = map_new();
    return k;
}

static void day_release(struct day_count *d)
{
    map_free(d->triples, NULL);
    *d = (struct day_count){0};
}

void rollup_key_free(struct rollup_keys *k)
{
    if (!k)
        return;
    for (unsigned f = 0; f < ROLLUP_FAMILIES; f++)
        map_free(k->cache[f], xfree);
    for (unsigned i = 0; i < DAYS_MAX; i++)
        day_release(&k->days[i]);
    xfree(k);
}

void rollup_key_set_caps(struct rollup_keys *k, unsigned day_max, unsigned ingest_max)
{
    k->day_max = day_max;
    k->ingest_max = ingest_max;
}

static void forget_family(struct rollup_keys *k, unsigned family)
{
    map_free(k->cache[family], xfree);
    k->cache[family] = map_new();
    memset(k->recent[family], 0, sizeof(k->recent[family]));
}

void rollup_key_trim(struct rollup_keys *k)
{
    for (unsigned f = 0; f < ROLLUP_FAMILIES; f++) {
        if (map_count(k->cache[f]) > CACHE_MAX)
            forget_family(k, f);
    }
}

void rollup_key_forget(struct rollup_keys *k)
{
    for (unsigned f = 0; f < ROLLUP_FAMILIES; f++)
        forget_family(k, f);
    for (unsigned i = 0; i < DAYS_MAX; i++)
        day_release(&k->days[i]);
}

/* Key columns are NOT NULL: an absent text is the empty one. */
static struct str text(struct str s)
{
    if (s.len == 0)
        return STR("");
    return LIKELY(s.len <= CALL_TEXT_MAX) ? s : str_cut_utf8(s, CALL_TEXT_MAX);
}

static struct str key_bytes(enum rollup_family family, const struct call_event *e,
                            uint8_t bytes[KEY_BYTES])
{
    uint8_t *p = pack_u8(bytes, e->origin);

    p = pack_i64(p, e->site);
    p = pack_i64(p, e->key_id);
    if (family == ROLLUP_USERS) {
        p = pack_text(p, text(e->user), 2);
    } else {
        p = pack_u8(p, e->kind);
        p = pack_i64(p, e->channel_id);
        p = pack_text(p, text(e->source), 2);
        p = pack_text(p, text(e->provider), 2);
        p = pack_text(p, text(e->model), 2);
        p = pack_text(p, text(e->group), 2);
    }
    return str_n((const char *)bytes, (size_t)(p - bytes));
}

static void bind_key(struct store_stmt *st, enum rollup_family family, const struct call_event *e)
{
    int i = 1;

    store_bind_i64(st, i++, e->origin);
    if (family == ROLLUP_CALLS)
        store_bind_i64(st, i++, e->kind);
    store_bind_i64(st, i++, e->site);
    if (family == ROLLUP_USERS) {
        store_bind_str(st, i++, text(e->user));
    } else {
        store_bind_str(st, i++, text(e->source));
        store_bind_str(st, i++, text(e->provider));
        store_bind_i64(st, i++, e->channel_id);
        store_bind_str(st, i++, text(e->model));
        store_bind_str(st, i++, text(e->group));
    }
    store_bind_i64(st, i, e->key_id);
}

/* First column of the first row, 0 without one. */
static int first_i64(struct store_stmt *st, int64_t *ret, struct err *reterr)
{
    int rc = store_step(st, reterr);

    if (rc >= 0)
        *ret = rc > 0 ? store_col_i64(st, 0) : 0;
    store_reset(st);
    return MIN(rc, 0);
}

static int two_i64(struct store_conn *c, const char *sql, int64_t a, int64_t b, int64_t *ret,
                   struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, a);
    store_bind_i64(st, 2, b);
    return first_i64(st, ret, reterr);
}

static struct str triple_bytes(struct str source, struct str provider, struct str model,
                               uint8_t bytes[KEY_BYTES])
{
    uint8_t *p = pack_text(bytes, text(source), 2);

    p = pack_text(p, text(provider), 2);
    p = pack_text(p, text(model), 2);
    return str_n((const char *)bytes, (size_t)(p - bytes));
}

static int load_triples(struct store_conn *c, struct day_count *d, struct err *reterr)
{
    uint8_t bytes[KEY_BYTES];
    struct store_stmt *st;
    int rc = store_prepare(c, triples_sql, &st, reterr);

    if (rc < 0)
        return rc;
    d->triples = map_new();
    store_bind_i64(st, 1, d->day);
    store_bind_i64(st, 2, d->origin);
    while ((rc = store_step(st, reterr)) > 0) {
        struct str t =
            triple_bytes(store_col_str(st, 0), store_col_str(st, 1), store_col_str(st, 2), bytes);

        map_set(d->triples, t, d); /* any pointer: a set */
    }
    store_reset(st);
    return rc;
}

/* The counter of (family, day, origin), read from the store when it is not at hand. */
static int day_count_get(struct rollup_keys *k, struct store_conn *c, enum rollup_family family,
                         int64_t day, enum call_origin origin, struct day_count **ret,
                         struct err *reterr)
{
    struct day_count *d = &k->days[0];
    int64_t count;
    int rc;

    for (unsigned i = 0; i < DAYS_MAX; i++) {
        struct day_count *at = &k->days[i];

        if (at->used > 0 && at->family == family && at->day == day && at->origin == origin) {
            at->used = ++k->tick;
            *ret = at;
            return 0;
        }
        if (at->used < d->used)
            d = at;
    }
    day_release(d);
    d->family = family;
    d->day = day;
    d->origin = origin;
    rc = two_i64(c, count_sql[family], day, origin, &count, reterr);
    if (rc == 0 && family == ROLLUP_CALLS && origin == CALL_INGEST)
        rc = load_triples(c, d, reterr);
    if (rc < 0) {
        day_release(d);
        return rc;
    }
    d->count = (uint32_t)count; /* rows of one day and origin: near the cap at most */
    d->used = ++k->tick;
    *ret = d;
    return 0;
}

static int insert_key(struct store_conn *c, enum rollup_family family, const struct call_event *e,
                      int64_t *ret, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, insert_sql[family], &st, reterr);

    if (rc < 0)
        return rc;
    bind_key(st, family, e);
    rc = store_run(st, reterr);
    if (rc == 0)
        *ret = store_last_id(c);
    return rc;
}

static void note_day(struct key_entry *entry, int64_t day)
{
    entry->days[1] = entry->days[0];
    entry->days[0] = day;
}

/* Quick and guessable: who makes collisions only loses the short cut. */
static size_t quick_hash(struct str key)
{
    uint64_t h = key.len, word;
    size_t i = 0;

    for (; i + sizeof(word) <= key.len; i += sizeof(word)) {
        memcpy(&word, key.ptr + i, sizeof(word));
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, key.ptr + i, key.len - i);
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 40) % RECENT_MAX;
}

static struct key_entry *entry_new(struct str key, int64_t id)
{
    struct key_entry *entry = xcalloc(1, sizeof(*entry) + key.len);

    entry->id = id;
    entry->len = key.len;
    memcpy(entry->key, key.ptr, key.len);
    return entry;
}

/* Cache entry of the combination, its id read from the store at first sight. */
static int entry_get(struct rollup_keys *k, struct store_conn *c, enum rollup_family family,
                     const struct call_event *e, struct key_entry **ret, struct err *reterr)
{
    struct str key = key_bytes(family, e, k->bytes);
    struct key_entry **recent = &k->recent[family][quick_hash(key)];
    struct key_entry *entry = *recent;
    struct store_stmt *st;
    int64_t id = 0;
    int rc;

    if (!entry || entry->len != key.len || memcmp(entry->key, key.ptr, key.len) != 0)
        entry = map_get(k->cache[family], key);
    if (entry) {
        *ret = *recent = entry;
        return 0;
    }
    rc = store_prepare(c, select_sql[family], &st, reterr);
    if (rc < 0)
        return rc;
    bind_key(st, family, e);
    rc = first_i64(st, &id, reterr);
    if (rc < 0)
        return rc;
    entry = entry_new(key, id);
    map_set(k->cache[family], key, entry);
    *ret = *recent = entry;
    return 0;
}

static bool is_other(struct str s)
{
    return str_eq_c(s, ROLLUP_KEY_OTHER);
}

/* The combination that everything beyond the caps folds into; it is never refused. */
static bool is_folded(enum rollup_family family, const struct call_event *e)
{
    if (e->key_id != 0)
        return false;
    if (family == ROLLUP_USERS)
        return is_other(e->user);
    return e->channel_id == 0 && is_other(e->source) && is_other(e->provider) &&
           is_other(e->model) && is_other(e->group);
}

/* True: e is beyond a cap and *ret is what it counts as. */
static bool must_fold(const struct rollup_keys *k, struct day_count *d, const struct call_event *e,
                      struct call_event *ret)
{
    uint8_t bytes[KEY_BYTES];

    *ret = *e;
    if (d->count >= k->day_max) {
        ret->source = ret->provider = ret->model = ret->group = ret->user = STR(ROLLUP_KEY_OTHER);
        ret->channel_id = ret->key_id = 0;
        return true;
    }
    if (!d->triples || (is_other(e->source) && is_other(e->provider) && is_other(e->model)))
        return false;

    struct str triple = triple_bytes(e->source, e->provider, e->model, bytes);

    if (map_get(d->triples, triple))
        return false;
    if (map_count(d->triples) < k->ingest_max) {
        map_set(d->triples, triple, d);
        return false;
    }
    ret->source = ret->provider = ret->model = STR(ROLLUP_KEY_OTHER);
    return true;
}

/* The combination is not known to be counted on `day`: count it, or fold it into another one. */
static int count_key(struct rollup_keys *k, struct store_conn *c, enum rollup_family family,
                     const struct call_event *e, struct key_entry *entry, int64_t day, int64_t *ret,
                     struct err *reterr)
{
    struct call_event folded;
    struct day_count *d;
    int64_t counted = 0;
    int rc = day_count_get(k, c, family, day, e->origin, &d, reterr);

    if (rc == 0 && entry->id > 0)
        rc = two_i64(c, counted_sql[family], day, entry->id, &counted, reterr);
    if (rc < 0)
        return rc;
    if (counted == 0) {
        if (!is_folded(family, e) && must_fold(k, d, e, &folded))
            return rollup_key_get(k, c, family, &folded, day, ret, reterr);
        if (entry->id == 0) {
            rc = insert_key(c, family, e, &entry->id, reterr);
            if (rc < 0)
                return rc;
        }
        d->count++;
    }
    note_day(entry, day);
    *ret = entry->id;
    return 0;
}

int rollup_key_get(struct rollup_keys *k, struct store_conn *c, enum rollup_family family,
                   const struct call_event *e, int64_t day, int64_t *ret, struct err *reterr)
{
    struct key_entry *entry;
    int rc = entry_get(k, c, family, e, &entry, reterr);

    if (rc < 0)
        return rc;
    if (UNLIKELY(entry->id == 0 || (entry->days[0] != day && entry->days[1] != day)))
        return count_key(k, c, family, e, entry, day, ret, reterr);
    *ret = entry->id;
    return 0;
}
