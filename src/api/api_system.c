/* api_system.c -- the house itself: liveness, event stream, metrics, ledger, resources, document of
 * the API. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/resources.h"
#include "base/clock.h"
#include "base/metric.h"

#include <unistd.h>

#define RUNNING_MAX 4096

static void write_ids(struct json_out *j, const char *key, const int64_t *ids, size_t n)
{
    json_out_key(j, key);
    json_out_array(j);
    for (size_t i = 0; i < n; i++)
        json_out_i64(j, ids[i]);
    json_out_end(j);
}

/* GET /api/health
 * 200 {"ok":true,"running_targets":[<id>, ascending],"store":"ok"|"error","version":"<text>"}
 * While it answers it lives: a full disk is no reason to restart it (/ready is 503 then). Source:
 * memory. */
static void health(struct api_call *c)
{
    const struct api_config *cfg = &c->api->cfg;
    int64_t *ids = arena_alloc(http_arena(c->x), RUNNING_MAX * sizeof(*ids));
    size_t n = prober_running(cfg->prober, ids, RUNNING_MAX);
    bool is_ok = store_health(cfg->store, NULL) == 0;
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    write_ids(&r.json, "running_targets", ids, MIN(n, (size_t)RUNNING_MAX));
    json_out_kcstr(&r.json, "store", is_ok ? "ok" : "error");
    json_out_kcstr(&r.json, "version", GATEHOUSE_VERSION);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

/* GET|HEAD /health, for balancers: always 200 while the process serves (ruling 34). */
static void health_plain(struct api_call *c)
{
    struct err e = {0};
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kcstr(&r.json, "status", "ok");
    json_out_kcstr(&r.json, "database", store_health(c->api->cfg.store, &e) == 0 ? "ok" : "error");
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

/* GET /ready: 503 when the store could not be written for 5 s (ruling 34). */
static void ready(struct api_call *c)
{
    bool is_ready = store_failing_ms(c->api->cfg.store) < 5000;
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kcstr(&r.json, "status", is_ready ? "ready" : "the store cannot be written");
    json_out_end(&r.json);
    api_reply_send(&r, is_ready ? 200 : 503);
}

static void events(struct api_call *c)
{
    struct live *live = c->api->live;
    struct http_exchange *x = c->x;
    bool is_admin = c->role == API_ADMIN;

    api_call_release(c);
    live_serve(live, x, is_admin);
}

static void metrics(struct api_call *c)
{
    struct http_exchange *x = c->x;
    struct buf b;

    buf_init(&b, 16u << 20);
    metric_render(&b);
    api_call_release(c);
    http_add_header(x, "Cache-Control", STR("no-store"));
    http_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
    buf_release(&b);
}

static void openapi(struct api_call *c)
{
    struct http_exchange *x = c->x;
    struct str doc = buf_str(&c->api->openapi);

    api_call_release(c);
    http_add_header(x, "Cache-Control", STR("no-cache"));
    http_reply_static(x, 200, "application/json", doc);
}

/* GET /api/ledger (ruling 27): what is acknowledged. Source: the ledger's counters. */
static void ledger(struct api_call *c)
{
    struct ledger_stats s;
    struct api_reply r;

    ledger_stats(c->api->cfg.ledger, &s);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_ki64(&r.json, "seq_assigned", (int64_t)s.seq_assigned);
    json_out_ki64(&r.json, "seq_committed", (int64_t)s.seq_committed);
    json_out_ki64(&r.json, "dropped_total", (int64_t)s.dropped_total);
    json_out_ki64(&r.json, "spool_bytes", (int64_t)s.spool_bytes);
    json_out_ki64(&r.json, "replayed_total", (int64_t)s.replayed_total);
    json_out_ki64(&r.json, "duplicates_total", (int64_t)s.duplicates_total);
    json_out_kbool(&r.json, "spooling", s.is_spooling);
    json_out_kcstr(&r.json, "reason", s.reason[0] ? s.reason : NULL);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void write_limit(struct json_out *j, const char *key, double v)
{
    if (v > 0)
        json_out_kdouble(j, key, v);
    else
        json_out_knull(j, key);
}

/* GET /api/admin/resources, shape of spec 1 section 1.6; `process` is ours. */
static void resources(struct api_call *c)
{
    const struct api_config *cfg = &c->api->cfg;
    struct resources_sample s;
    struct api_reply r;

    resources_read(&s);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_ki64(&r.json, "sample_time_ms", clock_utc_ms());
    json_out_key(&r.json, "container");
    json_out_object(&r.json);
    json_out_kbool(&r.json, "available", s.cgroup_version != 0);
    json_out_ki64(&r.json, "cgroup_version", s.cgroup_version);
    json_out_kdouble(&r.json, "cpu_usage_seconds_total", s.cpu_s);
    write_limit(&r.json, "cpu_limit_cores", s.cpu_limit_cores);
    json_out_ki64(&r.json, "memory_usage_bytes", s.memory_bytes);
    write_limit(&r.json, "memory_limit_bytes", (double)s.memory_limit_bytes);
    if (s.cgroup_version == 0)
        json_out_kcstr(&r.json, "detail", "no cgroup files are readable");
    json_out_end(&r.json);
    json_out_key(&r.json, "process");
    json_out_object(&r.json);
    json_out_kdouble(&r.json, "cpu_seconds_total", s.process_cpu_s);
    json_out_ki64(&r.json, "rss_bytes", s.process_rss_bytes);
    json_out_ki64(&r.json, "open_files", s.process_files);
    json_out_kts(&r.json, "started_at", cfg->started_utc_ms);
    json_out_ki64(&r.json, "database_bytes", store_db_bytes(cfg->store));
    json_out_kcstr(&r.json, "version", GATEHOUSE_VERSION);
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

// clang-format off
#define T "system"
const struct route api_system_routes[] = {
    {HTTP_GET_, "/api/health", ROUTE_OPEN, 0, health, T, "Liveness and the channels being checked now", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"running_targets\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"store\":{\"type\":\"string\",\"enum\":[\"ok\",\"error\"]},\"version\":{\"type\":\"string\"}}}",
     NULL},
    {HTTP_GET_, "/health", ROUTE_OPEN, 0, health_plain, T, "Liveness for balancers, always 200", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"},\"database\":{\"type\":\"string\",\"enum\":[\"ok\",\"error\"]}}}", NULL},
    {HTTP_GET_, "/ready", ROUTE_OPEN, 0, ready, T, "Readiness: 503 when the store could not be written for 5 s", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"}}}", "503 not ready"},
    {HTTP_GET_, "/api/events", ROUTE_ANY, ROUTE_QUERY_TOKEN, events, T,
     "Live events (Server-Sent Events): connected, run_started, model_result, run_completed, health_changed, target_updated, auth_changed, resync",
     (const struct route_param[]){{"token", "string", "bearer token, for EventSource, which cannot send headers", 0, 0, 0, NULL},
                                  {"last_event_id", "integer", "replay what came after this id; the header Last-Event-ID wins", 0, INT64_MAX, 0, NULL},
                                  {NULL, NULL, NULL, 0, 0, 0, NULL}},
     NULL, "text/event-stream", "401 unauthorized; 429 too many failed attempts"},
    {HTTP_GET_, "/metrics", ROUTE_ADMIN, 0, metrics, T, "Metrics in the Prometheus text format", NULL, NULL, "text/plain", "401; 403"},
    {HTTP_GET_, "/openapi.json", ROUTE_OPEN, 0, openapi, T, "This document", NULL, NULL, "{\"type\":\"object\"}", NULL},
    {HTTP_GET_, "/api/ledger", ROUTE_ADMIN, 0, ledger, T, "Which records are acknowledged (committed or spooled)", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"seq_assigned\":{\"type\":\"integer\"},\"seq_committed\":{\"type\":\"integer\"},\"dropped_total\":{\"type\":\"integer\"},\"spool_bytes\":{\"type\":\"integer\"},\"replayed_total\":{\"type\":\"integer\"},\"duplicates_total\":{\"type\":\"integer\"},\"spooling\":{\"type\":\"boolean\"},\"reason\":{\"type\":[\"string\",\"null\"]}}}",
     "401; 403"},
    {HTTP_GET_, "/api/admin/resources", ROUTE_ADMIN, 0, resources, T, "CPU and memory of the container and of this process", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"sample_time_ms\":{\"type\":\"integer\"},\"container\":{\"type\":\"object\"},\"process\":{\"type\":\"object\"}}}",
     "401 admin login required; 403"},
};
const size_t api_system_route_count = ARRAY_LEN(api_system_routes);
// clang-format on
