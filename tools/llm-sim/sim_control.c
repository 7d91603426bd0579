/* sim_control.c -- /_sim/: what tests ask of the simulator itself. */
#include "sim.h"

void sim_models_set(struct sim_models *m, char **ids, size_t count)
{
    for (size_t i = 0; i < m->count; i++)
        xfree(m->ids[i]);
    xfree(m->ids);
    *m = (struct sim_models){ids, count};
}

static void copy_models(struct sim_models *to, const struct sim_models *from)
{
    char **ids = xcalloc(from->count, sizeof(*ids));

    for (size_t i = 0; i < from->count; i++)
        ids[i] = xstrdup(from->ids[i]);
    sim_models_set(to, ids, from->count);
}

void sim_control_reset(struct sim *s)
{
    sim_rules_reset(s->rules);
    copy_models(&s->models, &s->first_models);
    for (size_t i = 0; i < SIM_RECORDS; i++) {
        sim_call_unref(s->records[i]);
        s->records[i] = NULL;
    }
    s->numbers = s->answered = s->cancelled = s->cut = 0;
    s->max_in_flight = s->in_flight;
    memset(s->per_route, 0, sizeof(s->per_route));
}

static void refuse(struct sim_reply *r, const char *why)
{
    struct json_out j;

    r->status = 400;
    buf_clear(&r->body);
    json_out_init(&j, &r->body);
    json_out_object(&j);
    json_out_kcstr(&j, "error", why);
    json_out_end(&j);
}

static void say_ok(struct sim_reply *r)
{
    buf_put(&r->body, STR("{\"ok\":true}"));
}

/* ---- recorded requests ---- */

static void write_headers(const struct sim_call *c, struct json_out *j)
{
    json_out_key(j, "headers");
    json_out_array(j);
    for (size_t i = 0; i < c->header_count; i++) {
        json_out_array(j);
        json_out_str(j, c->headers[i].name);
        json_out_str(j, c->headers[i].value);
        json_out_end(j);
    }
    json_out_end(j);
}

static void write_record(const struct sim *s, const struct sim_call *c, struct json_out *j)
{
    bool is_running = strcmp(c->outcome, "running") == 0;

    json_out_object(j);
    json_out_ki64(j, "number", (int64_t)c->number);
    json_out_ki64(j, "at_ms", c->at_ms);
    json_out_kstr(j, "method", c->method);
    json_out_kstr(j, "target", c->target);
    json_out_kstr(j, "path", c->path);
    json_out_kcstr(j, "route", sim_route_names[c->route]);
    json_out_kstr(j, "model", c->model);
    json_out_kbool(j, "stream", c->wants_stream);
    write_headers(c, j);
    json_out_kstr(j, "body", buf_str(&c->body));
    json_out_ki64(j, "body_bytes", (int64_t)c->body_bytes);
    json_out_kcstr(j, "fault", sim_fault_names[c->b.fault]);
    json_out_ki64(j, "status", c->status);
    json_out_kcstr(j, "outcome", c->outcome);
    json_out_ki64(j, "duration_ms", (int64_t)((is_running ? uv_now(&s->loop) : c->end_ms) - c->start_ms));
    json_out_end(j);
}

/* Oldest first; ?limit=N gives the last N. */
static void answer_requests(const struct sim *s, const struct sim_call *call, struct sim_reply *r)
{
    uint64_t limit = SIM_RECORDS, first;
    struct json_out j;

    if (str_starts(call->query, STR("limit=")) && str_to_u64(str_after(call->query, '='), SIM_RECORDS, &limit) < 0) {
        refuse(r, "limit is not in 0..500");
        return;
    }
    first = s->numbers > limit ? s->numbers - limit + 1 : 1;
    json_out_init(&j, &r->body);
    json_out_object(&j);
    json_out_ki64(&j, "total", (int64_t)s->numbers);
    json_out_key(&j, "requests");
    json_out_array(&j);
    for (uint64_t i = first; i <= s->numbers; i++)
        if (s->records[i % SIM_RECORDS])
            write_record(s, s->records[i % SIM_RECORDS], &j);
    json_out_end(&j);
    json_out_end(&j);
}

/* ---- figures ---- */

static void answer_stats(const struct sim *s, struct sim_reply *r)
{
    uint64_t first = s->cancelled > SIM_CANCELS ? s->cancelled - SIM_CANCELS : 0;
    struct json_out j;

    json_out_init(&j, &r->body);
    json_out_object(&j);
    json_out_ki64(&j, "requests", (int64_t)s->numbers);
    json_out_ki64(&j, "answered", (int64_t)s->answered);
    json_out_ki64(&j, "cut", (int64_t)s->cut);
    json_out_ki64(&j, "cancelled", (int64_t)s->cancelled);
    json_out_ki64(&j, "in_flight", (int64_t)s->in_flight);
    json_out_ki64(&j, "max_in_flight", (int64_t)s->max_in_flight);
    json_out_ki64(&j, "connections", (int64_t)s->connections);
    json_out_key(&j, "routes");
    json_out_object(&j);
    for (size_t i = 0; i < SIM_ROUTES; i++)
        json_out_ki64(&j, sim_route_names[i], (int64_t)s->per_route[i]);
    json_out_end(&j);
    json_out_key(&j, "cancels");
    json_out_array(&j);
    for (uint64_t i = first; i < s->cancelled; i++) {
        const struct sim_cancel *c = &s->cancels[i % SIM_CANCELS];

        json_out_object(&j);
        json_out_ki64(&j, "number", (int64_t)c->number);
        json_out_ki64(&j, "at_ms", c->at_ms);
        json_out_ki64(&j, "after_ms", (int64_t)c->after_ms);
        json_out_end(&j);
    }
    json_out_end(&j);
    json_out_end(&j);
}

/* ---- changing things ---- */

static void take_behaviour(struct sim *s, const json_t *doc, struct sim_reply *r)
{
    size_t n = json_is_array(doc) ? json_array_size(doc) : 1;
    char why[200] = "";

    for (size_t i = 0; i < n; i++)
        if (!sim_rules_add_json(s->rules, json_is_array(doc) ? json_array_get(doc, i) : doc, why)) {
            refuse(r, why);
            return;
        }
    say_ok(r);
}

static void take_models(struct sim *s, const json_t *doc, struct sim_reply *r)
{
    const json_t *list = json_object_get(doc, "models");
    size_t n = json_array_size(list);
    char **ids;

    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(list, i)))
            n = 0;
    if (!json_is_array(list) || n != json_array_size(list)) {
        refuse(r, "models is not an array of texts");
        return;
    }
    ids = xcalloc(n, sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        ids[i] = xstrdup(json_string_value(json_array_get(list, i)));
    sim_models_set(&s->models, ids, n);
    say_ok(r);
}

void sim_control_answer(struct sim *s, struct sim_call *c, struct sim_reply *r)
{
    struct str what = str_cut(c->path, 6, c->path.len); /* behind "/_sim/" */
    bool is_get = str_eq(c->method, STR("GET")), is_post = str_eq(c->method, STR("POST"));
    json_t *doc = json_loadb(buf_cstr(&c->body), buf_len(&c->body), 0, NULL);
    struct json_out j;

    if (is_get && str_eq(what, STR("requests"))) {
        answer_requests(s, c, r);
    } else if (is_get && str_eq(what, STR("stats"))) {
        answer_stats(s, r);
    } else if (is_get && str_eq(what, STR("behaviour"))) {
        json_out_init(&j, &r->body);
        sim_rules_write(s->rules, &j);
    } else if (is_post && str_eq(what, STR("behaviour"))) {
        take_behaviour(s, doc, r);
    } else if (str_eq(c->method, STR("DELETE")) && str_eq(what, STR("behaviour"))) {
        sim_rules_reset(s->rules);
        say_ok(r);
    } else if (is_post && str_eq(what, STR("models"))) {
        take_models(s, doc, r);
    } else if (is_post && str_eq(what, STR("release"))) {
        sim_conn_release(s);
        say_ok(r);
    } else if (is_post && str_eq(what, STR("reset"))) {
        sim_control_reset(s);
        say_ok(r);
    } else {
        refuse(r, "no such thing under /_sim/");
        r->status = 404;
    }
    json_decref(doc);
}
