/* store_health.c -- whether writes work: set by the writer connection's failures, cleared by its
 * next commit that reached the WAL. */
#include "store/store_private.h"

#include "base/clock.h"

void store_state_ok(struct store_state *h)
{
    pthread_mutex_lock(&h->lock);
    h->failing_since = 0;
    pthread_mutex_unlock(&h->lock);
}

void store_state_failed(struct store_state *h, const struct err *e)
{
    mono_ms now = clock_mono_ms();

    pthread_mutex_lock(&h->lock);
    if (h->failing_since == 0)
        h->failing_since = MAX(now, (mono_ms)1);
    h->err = *e;
    pthread_mutex_unlock(&h->lock);
}

int store_health(const struct store *s, struct err *reterr)
{
    struct store_state *h = s->state;
    int rc = 0;

    pthread_mutex_lock(&h->lock);
    if (h->failing_since != 0) {
        rc = h->err.code;
        if (reterr)
            *reterr = h->err;
    }
    pthread_mutex_unlock(&h->lock);
    return rc;
}

uint64_t store_failing_ms(const struct store *s)
{
    struct store_state *h = s->state;
    mono_ms since;

    pthread_mutex_lock(&h->lock);
    since = h->failing_since;
    pthread_mutex_unlock(&h->lock);
    if (since == 0)
        return 0;
    return MAX(clock_mono_ms() - since, (uint64_t)1);
}
