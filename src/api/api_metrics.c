/* api_metrics.c -- gauges of channels for /metrics, counted when they are asked for: what the
 * catalog has, with what the board and the breakers know. By state, never by channel or model:
 * their number is the installation's, that of the series is fixed. */
#include "api/api_private.h"
#include "base/metric.h"

/* "disabled" and "never" are no status of a run. */
static const char *const statuses[] = {"healthy",   "degraded", "down",    "error",
                                       "no_models", "never",    "disabled"};
#define NEVER    5
#define DISABLED 6
static_assert(ARRAY_LEN(statuses) == DISABLED + 1, "disabled is the last one");

#define BREAKERS (BREAKER_HALF_OPEN + 1)

struct counts {
    size_t channels[ARRAY_LEN(statuses)];
    size_t models[BREAKERS]; /* of enabled channels, those of the newest run */
};

static size_t status_of(const struct channel *ch, const struct board_view *v)
{
    if (!ch->enabled)
        return DISABLED;
    for (size_t i = 0; v && i < NEVER; i++) {
        if (strcmp(v->last_status, statuses[i]) == 0)
            return i;
    }
    return NEVER;
}

static void count_channel(struct counts *n, struct health *h, const struct channel *ch,
                          const struct board_view *v)
{
    n->channels[status_of(ch, v)]++;
    for (size_t i = 0; v && ch->enabled && i < v->model_count; i++) {
        const struct health_cell *c;
        struct health_reading r = {0};

        if (!v->models[i].in_newest_run)
            continue;
        c = health_find(h, 0, ch->id, str_of(v->models[i].model));
        if (c)
            health_read(c, &r);
        n->models[r.breaker]++;
    }
}

static void count_all(const struct api *a, struct counts *n)
{
    struct catalog_snapshot *s = catalog_latest(a->cfg.catalog);
    int64_t *ids = xcalloc(s->channel_count + 1, sizeof(*ids));
    struct board_view **views = xcalloc(s->channel_count + 1, sizeof(*views));

    for (size_t i = 0; i < s->channel_count; i++)
        ids[i] = s->channels[i]->id;
    board_get(a->cfg.board, ids, s->channel_count, views);
    for (size_t i = 0; i < s->channel_count; i++) {
        count_channel(n, a->cfg.health, s->channels[i], views[i]);
        board_view_unref(views[i]);
    }
    xfree(views);
    xfree(ids);
    catalog_unref(s);
}

static void collect(void *ctx, struct buf *out)
{
    struct counts n = {0};

    count_all(ctx, &n);
    metric_head(out, "gatehouse_channels", "gauge", "Channels by the status of their last run");
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        metric_line(out, "gatehouse_channels", "status", str_of(statuses[i]),
                    (double)n.channels[i]);
    metric_head(out, "gatehouse_channel_model_state", "gauge",
                "Models of enabled channels by the state of their breaker");
    for (size_t i = 0; i < BREAKERS; i++)
        metric_line(out, "gatehouse_channel_model_state", "state",
                    str_of(health_breaker_name((enum breaker_state)i)), (double)n.models[i]);
}

void api_metrics_register(struct api *a)
{
    metric_register(collect, a);
}
