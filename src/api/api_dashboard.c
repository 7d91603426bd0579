/* api_dashboard.c -- the counters at the top of the page. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_target_view.h"

struct counters {
    int64_t enabled, healthy, degraded, down, error, no_models, never;
    int64_t models, models_ok;
    int64_t rate_sum, rated; /* tenths of a percent over enabled channels that have a rate */
};

static void count_models(struct counters *n, const struct board_view *v)
{
    for (size_t i = 0; i < v->model_count; i++) {
        const struct board_model *m = &v->models[i];

        if (!m->in_newest_run || m->point_count == 0)
            continue;
        n->models++;
        n->models_ok += m->points[m->point_count - 1].success;
    }
}

static void count(struct counters *n, const struct channel *ch, const struct board_view *v)
{
    int32_t rate = api_target_view_rate(v);

    n->enabled += ch->enabled;
    if (!v || v->last_status[0] == '\0') {
        n->never++;
        return;
    }
    struct str s = str_of(v->last_status);

    n->healthy += str_eq_c(s, "healthy");
    n->degraded += str_eq_c(s, "degraded");
    n->down += str_eq_c(s, "down");
    n->error += str_eq_c(s, "error");
    n->no_models += str_eq_c(s, "no_models");
    count_models(n, v);
    if (ch->enabled && rate >= 0) {
        n->rate_sum += rate;
        n->rated++;
    }
}

/* Views in portions, so that a large catalog needs no large array. */
static void count_all(struct api_call *c, struct counters *n)
{
    enum { PORTION = 64 };
    const struct catalog_snapshot *s = c->snapshot;

    for (size_t from = 0; from < s->channel_count; from += PORTION) {
        size_t some = MIN((size_t)PORTION, s->channel_count - from);
        struct board_view *views[PORTION] = {0};
        int64_t ids[PORTION];

        for (size_t i = 0; i < some; i++)
            ids[i] = s->channels[from + i]->id;
        board_get(c->api->cfg.board, ids, some, views);
        for (size_t i = 0; i < some; i++) {
            count(n, s->channels[from + i], views[i]);
            board_view_unref(views[i]);
        }
    }
}

/* GET /api/dashboard: status counters include disabled channels; `no_models` and never-run ones are
 * in none of the three of system 1. health_rate: mean success rate of enabled channels. */
static void dashboard(struct api_call *c)
{
    struct counters n = {0};
    struct api_reply r;
    struct prober *p = c->api->cfg.prober;

    count_all(c, &n);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_ki64(&r.json, "total_targets", (int64_t)c->snapshot->channel_count);
    json_out_ki64(&r.json, "enabled_targets", n.enabled);
    json_out_ki64(&r.json, "running_targets", (int64_t)prober_running(p, NULL, 0));
    json_out_ki64(&r.json, "queued_targets", (int64_t)prober_queued(p, NULL, 0));
    json_out_ki64(&r.json, "healthy", n.healthy);
    json_out_ki64(&r.json, "degraded", n.degraded);
    json_out_ki64(&r.json, "down_or_error", n.down + n.error);
    json_out_ki64(&r.json, "no_models", n.no_models);
    json_out_ki64(&r.json, "never_run", n.never);
    json_out_ki64(&r.json, "models", n.models);
    json_out_ki64(&r.json, "models_healthy", n.models_ok);
    if (n.rated > 0) {
        json_out_key(&r.json, "health_rate");
        json_out_fixed(&r.json, (n.rate_sum + n.rated / 2) / n.rated, 1);
    } else {
        json_out_knull(&r.json, "health_rate");
    }
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

#define N "{\"type\":\"integer\"}"
// clang-format off
const struct route api_dashboard_routes[] = {
    {HTTP_GET_, "/api/dashboard", ROUTE_ANY, ROUTE_BOARD, dashboard, "targets", "Counters over all channels", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"total_targets\":" N ",\"enabled_targets\":" N ",\"running_targets\":" N
     ",\"queued_targets\":" N ",\"healthy\":" N ",\"degraded\":" N ",\"down_or_error\":" N ",\"no_models\":" N
     ",\"never_run\":" N ",\"models\":" N ",\"models_healthy\":" N ",\"health_rate\":{\"type\":[\"number\",\"null\"]}}}",
     "401 unauthorized"},
};
const size_t api_dashboard_route_count = ARRAY_LEN(api_dashboard_routes);
// clang-format on
