/* api_models.c -- the model picker of a channel: what the upstream lists now, what the newest run
 * found, and what is selected, as one list (spec 1 section 1.4). */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_target_edit.h"
#include "base/map.h"

/* ---- what there is ---- */

struct picker {
    struct prober_models_ask ask;
    struct api_call *call;
    int64_t id;
};

struct picker_out {
    struct json_out *j;
    const struct channel *ch;
    const struct board_view *view;
    struct map *seen; /* models written */
};

static const struct board_model *model_of(const struct board_view *v, struct str id)
{
    size_t lo = 0, hi = v ? v->model_count : 0;

    while (lo < hi) { /* the board keeps them bytewise */
        size_t mid = lo + (hi - lo) / 2;
        int order = str_cmp(str_of(v->models[mid].model), id);

        if (order == 0)
            return &v->models[mid];
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static void write_model(struct picker_out *o, struct str id, bool is_listed)
{
    const struct board_model *m = model_of(o->view, id);
    enum protocol route = channel_route(o->ch, id);

    if (id.len == 0 || map_set(o->seen, id, o))
        return;
    json_out_object(o->j);
    json_out_kstr(o->j, "model", id);
    json_out_kcstr(o->j, "protocol", m ? m->family : protocol_family(route));
    json_out_kcstr(o->j, "route", route == PROTOCOL_NONE ? "skip" : protocol_route(route));
    if (m && m->point_count > 0)
        json_out_kbool(o->j, "success", m->points[m->point_count - 1].success);
    else
        json_out_knull(o->j, "success"); /* never probed */
    json_out_kbool(o->j, "listed", is_listed);
    json_out_end(o->j);
}

static void write_last_ok(struct json_out *j, const struct board_view *v)
{
    json_out_key(j, "last_ok_models");
    json_out_array(j);
    for (size_t i = 0; v && i < v->model_count; i++) {
        const struct board_model *m = &v->models[i];

        if (m->in_newest_run && m->point_count > 0 && m->points[m->point_count - 1].success)
            json_out_cstr(j, m->model);
    }
    json_out_end(j);
}

static void write_picker(struct picker *p, const struct channel *ch, struct json_out *j)
{
    struct picker_out o = {.j = j, .ch = ch, .seen = map_new()};
    struct board_view *view = NULL;

    board_get(p->call->api->cfg.board, &ch->id, 1, &view);
    o.view = view;
    json_out_object(j);
    json_out_ki64(j, "target_id", ch->id);
    json_out_kcstr(j, "target_name", ch->name);
    json_out_key(j, "selected_models");
    channel_texts_write(&ch->selected_models, j);
    json_out_key(j, "available_models");
    json_out_array(j);
    for (size_t i = 0; p->ask.rc == 0 && i < p->ask.count; i++)
        write_model(&o, str_of(p->ask.models[i]), true);
    for (size_t i = 0; view && i < view->model_count; i++)
        if (view->models[i].in_newest_run)
            write_model(&o, str_of(view->models[i].model), false);
    for (size_t i = 0; i < ch->selected_models.count; i++)
        write_model(&o, str_of(ch->selected_models.items[i]), false);
    json_out_end(j);
    write_last_ok(j, view);
    json_out_kcstr(j, "live_error", p->ask.rc < 0 ? p->ask.err.text : NULL);
    json_out_end(j);
    board_view_unref(view);
    map_free(o.seen, NULL);
}

static void picker_answered(struct prober_models_ask *a)
{
    struct picker *p = container_of(a, struct picker, ask);
    const struct channel *ch =
        catalog_channel(p->call->snapshot, p->id); /* held since the question */
    struct api_reply r;

    api_reply_init(&r, p->call);
    json_out_object(&r.json);
    json_out_key(&r.json, "item");
    write_picker(p, ch, &r.json);
    json_out_end(&r.json);
    prober_models_release(a);
    api_reply_send(&r, 200);
}

/* GET /api/targets/{id}/models: the upstream is asked; when that fails the rest is given, with
 * live_error. */
static void picker(struct api_call *c)
{
    const struct channel *ch = api_channel(c);
    struct picker *p;

    if (!ch)
        return;
    p = arena_zalloc(http_arena(c->x), sizeof(*p));
    p->call = c;
    p->id = ch->id;
    p->ask.prober = c->api->cfg.prober;
    p->ask.reply_loop = http_loop(c->x);
    p->ask.channel_id = ch->id;
    p->ask.done = picker_answered;
    prober_models(p->ask.prober, &p->ask);
}

/* ---- the selection ---- */

struct selection {
    struct api_change change;
    int64_t id;
    bool is_changed;
};

static int select_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct selection *s = container_of(change, struct selection, change);
    CLEANUP(channel_freep) struct channel *ch = NULL;
    int rc = catalog_channel_load(tx, s->id, &ch, reterr);

    if (rc < 0)
        return rc == ERR_NOTFOUND ? err_set(reterr, rc, "target not found") : rc;
    rc = channel_from_json(ch, change->call->body, 0, &s->is_changed, reterr);
    if (rc == 0 && s->is_changed)
        rc = api_target_edit_update(tx, ch, reterr);
    if (rc == 0 && s->is_changed)
        rc = api_target_edit_audit(tx, change->call, "channel.models", ch, STR("selected_models"),
                                   reterr);
    return rc;
}

static void select_done(struct api_change *change)
{
    struct selection *s = container_of(change, struct selection, change);
    struct api_call *c = change->call;
    const struct channel *ch = catalog_channel(c->snapshot, s->id);
    struct api_reply r;

    if (!ch) { /* deleted meanwhile */
        api_error(c, 404, "target not found");
        return;
    }
    if (s->is_changed)
        api_target_edit_publish(c,
                                str_starts(http_request(c->x)->path, STR("/api/admin/"))
                                    ? "admin_models_updated"
                                    : "models_updated",
                                s->id);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    json_out_key(&r.json, "item");
    json_out_object(&r.json);
    json_out_ki64(&r.json, "id", ch->id);
    channel_to_json(ch, &r.json, CHANNEL_SECRETS_OMITTED);
    json_out_kts(&r.json, "created_at", ch->created_utc_ms);
    json_out_kts(&r.json, "updated_at", ch->updated_utc_ms);
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void select_body(struct api_call *c)
{
    const json_t *list = json_doc_get(c->body, "selected_models");
    const struct channel *ch = api_channel(c);
    struct selection *s;

    if (!ch || !api_target_edit_known(c, (const char *const[]){"selected_models", NULL}))
        return;
    if (!list || json_is_null(list)) { /* forgetting the field must not clear the selection */
        api_error_field(c, 400, "selected_models", "selected_models must be an array of strings");
        return;
    }
    s = arena_zalloc(http_arena(c->x), sizeof(*s));
    s->id = ch->id;
    s->change.run = select_run;
    s->change.done = select_done;
    api_change(c, &s->change);
}

/* PATCH /api/targets/{id}/models {"selected_models":[...]}: 200 {"ok","item"}; [] = all. */
static void select_models(struct api_call *c)
{
    if (api_channel(c))
        api_body(c, select_body);
}

// clang-format off
#define T "targets"
#define PICKER                                                                                          \
    "{\"type\":\"object\",\"properties\":{\"item\":{\"type\":\"object\",\"properties\":{"               \
    "\"target_id\":{\"type\":\"integer\"},\"target_name\":{\"type\":\"string\"},"                       \
    "\"selected_models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"                         \
    "\"available_models\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"          \
    "\"model\":{\"type\":\"string\"},\"protocol\":{\"type\":\"string\"},\"route\":{\"type\":\"string\"}," \
    "\"success\":{\"type\":[\"boolean\",\"null\"]},\"listed\":{\"type\":\"boolean\"}}}},"               \
    "\"last_ok_models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"                          \
    "\"live_error\":{\"type\":[\"string\",\"null\"]}}}}}"
#define SELECTION                                                                                       \
    "{\"type\":\"object\",\"required\":[\"selected_models\"],\"properties\":{\"selected_models\":{"     \
    "\"type\":\"array\",\"maxItems\":5000,\"items\":{\"type\":\"string\",\"maxLength\":256}}}}"
#define SELECTED                                                                                        \
    "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"item\":{"                     \
    "\"$ref\":\"#/components/schemas/Channel\"}}}"
#define READ_ERRORS  "400 invalid id; 403 admin token required; 404 target not found"
#define WRITE_ERRORS                                                                                    \
    READ_ERRORS "; 400 selected_models must be an array of strings; 400 selected_models must contain "  \
                "<= 5000 items; 400 each selected_models item must be 1-256 chars"

const struct route api_models_routes[] = {
    {HTTP_GET_, "/api/targets/{id}/models", ROUTE_ADMIN, ROUTE_BOARD, picker, T,
     "Models to choose from: the upstream's list now, the newest run, the selection", NULL, NULL, PICKER, READ_ERRORS},
    {HTTP_PATCH_, "/api/targets/{id}/models", ROUTE_ADMIN, 0, select_models, T, "Choose the models to probe; [] = all",
     NULL, SELECTION, SELECTED, WRITE_ERRORS},
    {HTTP_GET_, "/api/admin/channels/{id}/models", ROUTE_ADMIN, ROUTE_BOARD, picker, "admin", "As /api/targets/{id}/models", NULL,
     NULL, PICKER, READ_ERRORS},
    {HTTP_PATCH_, "/api/admin/channels/{id}/models", ROUTE_ADMIN, 0, select_models, "admin",
     "As /api/targets/{id}/models", NULL, SELECTION, SELECTED, WRITE_ERRORS},
};
const size_t api_models_route_count = ARRAY_LEN(api_models_routes);
// clang-format on
