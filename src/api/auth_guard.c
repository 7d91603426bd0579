/* auth_guard.c -- wrong credentials per source address: a window that begins with the first
 * failure, then a block that even the right token does not open (spec 1 section 5.4). A fixed table
 * of slots, four places an address: forged addresses can push out others' counters of failures,
 * never grow memory, and a blocked address keeps its place until its block ends. */
#include "api/auth_private.h"
#include "base/clock.h"

#define WAYS 4

static const struct {
    uint64_t window_ms;
    uint32_t failures;
    uint64_t block_ms;
} rules[] = {
    [AUTH_SCOPE_BEARER] = {60000, 30, 10 * 60000},
    [AUTH_SCOPE_LOGIN] = {60000, 8, 30 * 60000},
    [AUTH_SCOPE_KEY] = {60000, 30, 10 * 60000},
};
static_assert(ARRAY_LEN(rules) == AUTH_SCOPES, "one rule a scope");

void auth_guard_init(struct auth_guard *g)
{
    memset(g, 0, sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
}

/* One household of IPv6 owns a /64. */
static struct addr client_of(const struct addr *a)
{
    struct addr c = *a;

    if (c.family == 6)
        memset(c.bytes + 8, 0, 8);
    return c;
}

static struct auth_guard_entry *row_of(struct auth_guard *g, enum auth_scope scope,
                                       const struct addr *c)
{
    uint64_t h = str_hash(str_n((const char *)c->bytes, sizeof(c->bytes)));

    return &g->slots[scope][(h % (AUTH_GUARD_SLOTS / WAYS)) * WAYS];
}

static struct auth_guard_entry *find(struct auth_guard *g, enum auth_scope scope,
                                     const struct addr *c)
{
    struct auth_guard_entry *row = row_of(g, scope, c);

    for (unsigned i = 0; i < WAYS; i++) {
        if ((row[i].failures != 0 || row[i].under_way != 0) && addr_eq(&row[i].client, c))
            return &row[i];
    }
    return NULL;
}

/* A place for a new address: a free one, one whose window is over, else the one with the fewest
 * failures that is not blocked. NULL when all are blocked. */
static struct auth_guard_entry *place(struct auth_guard *g, enum auth_scope scope,
                                      const struct addr *c, mono_ms now)
{
    struct auth_guard_entry *row = row_of(g, scope, c), *best = NULL;

    for (unsigned i = 0; i < WAYS; i++) {
        struct auth_guard_entry *e = &row[i];

        if (e->blocked_until > now || e->under_way != 0)
            continue;
        if (e->failures == 0 || now - e->since >= rules[scope].window_ms)
            return e;
        if (!best || e->failures < best->failures)
            best = e;
    }
    return best;
}

bool auth_guard_blocked(struct auth_guard *g, enum auth_scope scope, const struct addr *client,
                        mono_ms now, unsigned *ret_retry_after_s)
{
    struct addr c = client_of(client);
    struct auth_guard_entry *e;
    bool is_blocked;

    pthread_mutex_lock(&g->lock);
    e = find(g, scope, &c);
    is_blocked = e && e->blocked_until > now;
    if (is_blocked)
        *ret_retry_after_s = (unsigned)((e->blocked_until - now + 999) / 1000);
    pthread_mutex_unlock(&g->lock);
    return is_blocked;
}

/* The entry of a client, its window begun anew when it was over; NULL when no place is free. */
static struct auth_guard_entry *touch(struct auth_guard *g, enum auth_scope scope,
                                      const struct addr *c, mono_ms now)
{
    struct auth_guard_entry *e = find(g, scope, c);

    if (e && (e->blocked_until > now || now - e->since < rules[scope].window_ms))
        return e;
    if (!e)
        e = place(g, scope, c, now);
    if (e)
        *e = (struct auth_guard_entry){
            .client = *c, .since = now, .under_way = addr_eq(&e->client, c) ? e->under_way : 0};
    return e;
}

static void count_failure(struct auth_guard_entry *e, enum auth_scope scope, mono_ms now)
{
    if (++e->failures >= rules[scope].failures && e->blocked_until <= now)
        e->blocked_until = now + rules[scope].block_ms;
}

void auth_guard_failure(struct auth_guard *g, enum auth_scope scope, const struct addr *client,
                        mono_ms now)
{
    struct addr c = client_of(client);
    struct auth_guard_entry *e;

    pthread_mutex_lock(&g->lock);
    e = touch(g, scope, &c, now);
    if (e)
        count_failure(e, scope, now);
    pthread_mutex_unlock(&g->lock);
}

bool auth_guard_begin(struct auth_guard *g, enum auth_scope scope, const struct addr *client,
                      mono_ms now, unsigned *ret_retry_after_s)
{
    struct addr c = client_of(client);
    struct auth_guard_entry *e;
    bool may;

    pthread_mutex_lock(&g->lock);
    e = touch(g, scope, &c, now);
    may = e && e->blocked_until <= now && e->failures + e->under_way < rules[scope].failures;
    if (may)
        e->under_way++;
    else
        *ret_retry_after_s =
            e && e->blocked_until > now ? (unsigned)((e->blocked_until - now + 999) / 1000) : 1;
    pthread_mutex_unlock(&g->lock);
    return may;
}

void auth_guard_end(struct auth_guard *g, enum auth_scope scope, const struct addr *client,
                    mono_ms now, bool is_right)
{
    struct addr c = client_of(client);
    struct auth_guard_entry *e;

    pthread_mutex_lock(&g->lock);
    e = touch(g, scope, &c, now);
    if (e && e->under_way > 0)
        e->under_way--;
    if (e && !is_right)
        count_failure(e, scope, now);
    pthread_mutex_unlock(&g->lock);
}
