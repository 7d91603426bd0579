/* api_bulk.c -- many channels at once: paste with a preview, one action on many, export and import
 * as JSON. A request changes all it names or nothing. */
#include "api/api_batch.h"
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_target_edit.h"
#include "base/map.h"

#define IDS_MAX    10000
#define EVENTS_MAX 32 /* single events of one request; more become one for all */

/* ---- preview of a paste ---- */

static void write_preview(const struct api_batch_item *it, struct json_out *j)
{
    struct str key = json_doc_str(json_doc_get(it->json, "api_key"));
    char mask[SECRET_MASK_SIZE];

    secret_mask(key, mask);
    json_out_object(j);
    json_out_ki64(j, "line", it->line);
    json_out_kstr(j, "name",
                  it->after ? str_of(it->after->name)
                            : json_doc_str(json_doc_get(it->json, "name")));
    json_out_kstr(j, "base_url",
                  it->after ? str_of(it->after->base_url)
                            : json_doc_str(json_doc_get(it->json, "base_url")));
    json_out_kcstr(j, "api_key", mask);
    json_out_kcstr(j, "fault", it->fault.code != 0 ? it->fault.text : NULL);
    json_out_kcstr(j, "field", it->fault.field[0] ? it->fault.field : NULL);
    json_out_end(j);
}

static bool get_text(struct api_call *c, struct str *ret)
{
    const json_t *text = json_doc_get(c->body, "text");

    *ret = json_doc_str(text);
    if (json_is_string(text))
        return true;
    api_error_field(c, 400, "text", "text must be a string");
    return false;
}

/* POST /api/targets/parse {"text"}: 200 {"items":[{"line","name","base_url","api_key"
 * (masked),"fault", "field"}],"count","faults"}. Nothing is stored. */
static void parse(struct api_call *c)
{
    struct api_batch b = {0};
    struct api_reply r;
    struct str text;

    if (!api_target_edit_known(c, (const char *const[]){"text", NULL}) || !get_text(c, &text))
        return;
    api_batch_add_paste(&b, c->snapshot, text);
    api_batch_plan(&b, c, c->snapshot, false);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "items");
    json_out_array(&r.json);
    for (size_t i = 0; i < b.count; i++)
        write_preview(&b.items[i], &r.json);
    json_out_end(&r.json);
    json_out_ki64(&r.json, "count", (int64_t)b.count);
    json_out_ki64(&r.json, "faults", (int64_t)b.fault_count);
    json_out_end(&r.json);
    api_batch_release(&b);
    api_reply_send(&r, 200);
}

/* ---- runs of many ---- */

struct starts { /* one after the other; in the exchange's arena */
    struct prober_ask ask;
    struct api_call *call;
    const int64_t *ids;
    size_t count, next;
    struct api_reply reply; /* "runs" is open in it */
};

static void start_next(struct starts *s);

static void started(struct prober_ask *a)
{
    struct starts *s = container_of(a, struct starts, ask);
    struct json_out *j = &s->reply.json;

    json_out_object(j);
    json_out_ki64(j, "id", a->channel_id);
    json_out_kbool(j, "started", a->rc == 0);
    json_out_kbool(j, "queued", a->rc == 0 && a->is_queued);
    json_out_kcstr(j, "detail",
                   a->rc == 0              ? NULL
                   : a->rc == ERR_CONFLICT ? "target already running"
                   : a->rc == ERR_NOTFOUND ? "target not found"
                                           : "the prober takes no work now");
    json_out_end(j);
    start_next(s);
}

static void start_next(struct starts *s)
{
    if (s->next == s->count) {
        json_out_end(&s->reply.json);
        json_out_end(&s->reply.json);
        api_reply_send(&s->reply, 200);
        return;
    }
    s->ask = (struct prober_ask){
        .prober = s->call->api->cfg.prober,
        .reply_loop = http_loop(s->call->x),
        .channel_id = s->ids[s->next++],
        .done = started,
    };
    prober_run_now(s->ask.prober, &s->ask);
}

/* Goes on in `reply`, whose object is open, with "runs" and answers. */
static void start_all(struct api_call *c, struct api_reply *reply, const int64_t *ids, size_t count)
{
    struct starts *s = arena_zalloc(http_arena(c->x), sizeof(*s));

    s->call = c;
    s->ids = ids;
    s->count = count;
    s->reply = *reply; /* buf moves; the writer follows it */
    s->reply.json.buf = &s->reply.buf;
    json_out_key(&s->reply.json, "runs");
    json_out_array(&s->reply.json);
    start_next(s);
}

/* ---- one change of many ---- */

struct bulk { /* in the exchange's arena */
    struct api_change change;
    struct api_target_gone gone;
    struct api_batch batch; /* create, import */
    bool may_update, starts;
    const char *action, *audit, *event;
    int64_t *ids;
    size_t count, changed;
    json_t *patch;      /* members put onto each channel; owned */
    const json_t *tags; /* tag, untag */
};

static void write_changed(struct bulk *b, struct json_out *j)
{
    json_out_object(j);
    json_out_kbool(j, "ok", true);
    json_out_ki64(j, "changed", (int64_t)b->changed);
    json_out_key(j, "ids");
    json_out_array(j);
    for (size_t i = 0; i < b->count; i++)
        json_out_i64(j, b->ids[i]);
    json_out_end(j);
}

static void reply_changed(struct bulk *b, struct api_call *c)
{
    struct api_reply r;

    api_reply_init(&r, c);
    write_changed(b, &r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static bool has_text(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq_c(str_trim(json_doc_str(json_array_get(list, i))), text))
            return true;
    return false;
}

/* {"tags": those the channel has, more or less} */
static json_t *tags_patch(const struct bulk *b, const struct channel *ch)
{
    bool adds = strcmp(b->action, "tag") == 0;
    json_t *list = json_array();

    for (size_t i = 0; i < ch->tags.count; i++)
        if (adds || !has_text(b->tags, ch->tags.items[i]))
            json_array_append_new(list, json_string(ch->tags.items[i]));
    for (size_t i = 0; adds && i < json_array_size(b->tags);
         i++) /* doubles are left out when read */
        json_array_append(list, json_array_get(b->tags, i));
    return json_pack("{s:o}", "tags", list);
}

static int change_one(struct bulk *b, struct catalog_tx *tx, int64_t id, struct err *reterr)
{
    CLEANUP(channel_freep) struct channel *ch = NULL;
    CLEANUP(json_doc_decrefp) json_t *patch = NULL;
    bool is_changed = false;
    int rc = catalog_channel_load(tx, id, &ch, reterr);

    if (rc == ERR_NOTFOUND)
        return err_set_field(reterr, rc, "ids", "target %lld not found", (long long)id);
    if (rc < 0)
        return rc;
    if (strcmp(b->action, "delete") == 0) {
        is_changed = true;
        rc = catalog_channel_delete(tx, id, reterr);
    } else {
        patch = b->tags ? tags_patch(b, ch) : json_incref(b->patch);
        rc = channel_from_json(ch, patch, 0, &is_changed, reterr);
        if (rc == 0 && is_changed)
            rc = api_target_edit_update(tx, ch, reterr);
    }
    if (rc == 0 && is_changed)
        rc = api_target_edit_audit(tx, b->change.call, b->audit, ch, str_of(b->action), reterr);
    b->changed += rc == 0 && is_changed;
    return rc;
}

static int change_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct bulk *b = container_of(change, struct bulk, change);
    int rc = 0;

    for (size_t i = 0; i < b->count && rc == 0; i++)
        rc = change_one(b, tx, b->ids[i], reterr);
    return rc;
}

/* Refused, failed or done: nothing of it stays. */
static void bulk_release(struct api_change *change)
{
    struct bulk *b = container_of(change, struct bulk, change);

    json_decref(TAKE(b->patch));
    api_batch_release(&b->batch);
}

static void publish(struct bulk *b, struct api_call *c, const char *event)
{
    for (size_t i = 0; i < b->count && b->count <= EVENTS_MAX; i++)
        api_target_edit_publish(c, event, b->ids[i]);
    if (b->count > EVENTS_MAX)
        api_target_edit_publish(c, event, 0);
}

static void bulk_gone(struct api_target_gone *g)
{
    reply_changed(container_of(g, struct bulk, gone), g->call);
}

static void change_done(struct api_change *change)
{
    struct bulk *b = container_of(change, struct bulk, change);
    const json_t *keep = json_doc_get(change->call->body, "keep_logs");

    bulk_release(change);
    publish(b, change->call, b->event);
    if (strcmp(b->action, "delete") != 0) {
        reply_changed(b, change->call);
        return;
    }
    b->gone.call = change->call;
    b->gone.ids = b->ids;
    b->gone.count = b->count;
    b->gone.keeps_logs = json_is_true(keep);
    b->gone.done = bulk_gone;
    api_target_gone_start(&b->gone);
}

/* ---- create and import ---- */

static void write_batch(const struct bulk *b, struct json_out *j)
{
    api_batch_write_plan(&b->batch, j);
    api_batch_write_faults(&b->batch, j);
}

static void reply_faults(struct bulk *b, struct api_call *c)
{
    struct api_reply r;
    char text[128];

    snprintf(text, sizeof(text), "%zu of %zu channels have faults; nothing was changed",
             b->batch.fault_count, b->batch.count);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kcstr(&r.json, "detail", text);
    write_batch(b, &r.json);
    json_out_end(&r.json);
    api_batch_release(&b->batch);
    api_reply_send(&r, 400);
}

/* Faults are no failure of the job: nothing is written, done() tells them all. */
static int batch_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct bulk *b = container_of(change, struct bulk, change);
    struct catalog_snapshot *s =
        catalog_latest(change->call->api->cfg.catalog); /* what the transaction began with */
    int rc = 0;

    api_batch_plan(&b->batch, change->call, s, b->may_update);
    catalog_unref(s);
    if (b->batch.fault_count == 0)
        rc = api_batch_store(&b->batch, tx, change->call, reterr);
    return rc;
}

static void publish_batch(const struct bulk *b, struct api_call *c)
{
    for (size_t i = 0; i < b->batch.count && b->changed <= EVENTS_MAX; i++) {
        const struct api_batch_item *it = &b->batch.items[i];

        if (!it->before)
            api_target_edit_publish(c, "created", it->id);
        else if (it->is_changed)
            api_target_edit_publish(c, "updated", it->id);
    }
    if (b->changed > EVENTS_MAX)
        api_target_edit_publish(c, "updated", 0);
}

static void batch_done(struct api_change *change)
{
    struct bulk *b = container_of(change, struct bulk, change);
    struct api_call *c = change->call;
    struct api_reply r;

    if (b->batch.fault_count > 0) {
        reply_faults(b, c);
        return;
    }
    b->count = b->batch.count;
    b->ids = arena_alloc(http_arena(c->x), MAX(b->count, (size_t)1) * sizeof(*b->ids));
    for (size_t i = 0; i < b->count; i++) {
        b->ids[i] = b->batch.items[i].id;
        b->changed += !b->batch.items[i].before || b->batch.items[i].is_changed;
    }
    publish_batch(b, c);
    api_reply_init(&r, c);
    write_changed(b, &r.json);
    write_batch(b, &r.json);
    api_batch_release(&b->batch);
    if (b->starts) {
        start_all(c, &r, b->ids, b->count);
        return;
    }
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void submit_batch(struct bulk *b, struct api_call *c)
{
    b->change.run = batch_run;
    b->change.done = batch_done;
    b->change.failed = bulk_release;
    api_change(c, &b->change);
}

static bool take_items(struct api_call *c, struct bulk *b, const json_t *list, const char *field)
{
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > API_BATCH_MAX) {
        api_error_field(c, 400, field, "%s must be an array of 1-%d channels", field,
                        API_BATCH_MAX);
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        api_batch_add(&b->batch, json_array_get(list, i), 0);
    return true;
}

/* ---- POST /api/targets/bulk ---- */

static bool get_bool(struct api_call *c, const char *name, bool *ret)
{
    const json_t *v = json_doc_get(c->body, name);

    *ret = json_is_true(v);
    if (!v || json_is_null(v) || json_is_boolean(v))
        return true;
    api_error_field(c, 400, name, "%s must be a boolean", name);
    return false;
}

static void bulk_create(struct api_call *c, struct bulk *b)
{
    const json_t *items = json_doc_get(c->body, "items");
    struct str text;

    if (!api_target_edit_known(c, (const char *const[]){"action", "items", "text", "run", NULL}) ||
        !get_bool(c, "run", &b->starts))
        return;
    if (items) {
        if (!take_items(c, b, items, "items"))
            return;
    } else {
        if (!get_text(c, &text))
            return;
        api_batch_add_paste(&b->batch, c->snapshot, text);
        if (b->batch.count == 0) {
            api_error_field(c, 400, "text", "text must name at least one channel");
            return;
        }
    }
    submit_batch(b, c);
}

static void bulk_run(struct api_call *c, struct bulk *b)
{
    struct api_reply r;

    if (!api_target_edit_known(c, (const char *const[]){"action", "ids", NULL}) ||
        !api_target_edit_ids(c, "ids", IDS_MAX, &b->ids, &b->count))
        return;
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    start_all(c, &r, b->ids, b->count);
}

static const struct action {
    const char *name, *audit, *event;
    const char *member; /* that the body has beside action and ids; NULL = none */
} actions[] = {
    {"pause", "channel.update", "updated", NULL},
    {"resume", "channel.update", "updated", NULL},
    {"interval", "channel.update", "updated", "interval_min"},
    {"tag", "channel.update", "updated", "tags"},
    {"untag", "channel.update", "updated", "tags"},
    {"delete", "channel.delete", "deleted", "keep_logs"},
};

static bool has_doubles(struct api_call *c, const int64_t *ids, size_t count)
{
    struct map_id *seen = map_id_new();
    bool has = false;

    for (size_t i = 0; i < count && !has; i++)
        has = map_id_set(seen, (uint64_t)ids[i], seen) != NULL; /* positive */
    map_id_free(seen, NULL);
    if (has)
        api_error_field(c, 400, "ids", "ids must not contain duplicates");
    return has;
}

/* What the action puts onto each channel; false after it answered 400. */
static bool prepare(struct api_call *c, struct bulk *b)
{
    json_t *value = json_object_get(c->body, "interval_min");
    bool keep;

    if (strcmp(b->action, "delete") == 0)
        return get_bool(c, "keep_logs", &keep);
    if (strcmp(b->action, "interval") == 0) {
        if (!value || json_is_null(value)) {
            api_error_field(c, 400, "interval_min",
                            "interval_min must be an integer between 1 and 1440");
            return false;
        }
        b->patch = json_pack("{s:O}", "interval_min", value);
        return true;
    }
    if (strcmp(b->action, "tag") == 0 || strcmp(b->action, "untag") == 0) {
        b->tags = json_doc_get(c->body, "tags");
        if (!json_is_array(b->tags) || json_array_size(b->tags) == 0 ||
            json_array_size(b->tags) > 32) {
            api_error_field(c, 400, "tags", "tags must be an array of 1-32 strings");
            return false;
        }
        return true;
    }
    b->patch = json_pack("{s:b}", "enabled", strcmp(b->action, "resume") == 0);
    return true;
}

static void bulk_change(struct api_call *c, struct bulk *b, const struct action *a)
{
    b->action = a->name;
    b->audit = a->audit;
    b->event = a->event;
    b->change.run = change_run;
    b->change.done = change_done;
    b->change.failed = bulk_release;
    if (api_target_edit_known(c, (const char *const[]){"action", "ids", a->member, NULL}) &&
        api_target_edit_ids(c, "ids", IDS_MAX, &b->ids, &b->count) &&
        !has_doubles(c, b->ids, b->count) && prepare(c, b))
        api_change(c, &b->change);
}

/* POST /api/targets/bulk {"action", ...}: all or nothing, in one transaction. */
static void bulk(struct api_call *c)
{
    struct str action = json_doc_str(json_doc_get(c->body, "action"));
    struct bulk *b = arena_zalloc(http_arena(c->x), sizeof(*b));

    if (!json_is_object(c->body)) {
        api_error(c, 400, "invalid JSON");
        return;
    }
    if (str_eq_c(action, "create")) {
        bulk_create(c, b);
        return;
    }
    if (str_eq_c(action, "run")) {
        bulk_run(c, b);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq_c(action, actions[i].name)) {
            bulk_change(c, b, &actions[i]);
            return;
        }
    }
    api_error_field(c, 400, "action",
                    "action must be create, pause, resume, interval, tag, untag, run or delete");
}

/* ---- import ---- */

static void reply_plan(struct bulk *b, struct api_call *c)
{
    struct api_reply r;

    api_batch_plan(&b->batch, c, c->snapshot, true);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", b->batch.fault_count == 0);
    json_out_kbool(&r.json, "dry_run", true);
    write_batch(b, &r.json);
    json_out_end(&r.json);
    api_batch_release(&b->batch);
    api_reply_send(&r, 200);
}

/* POST /api/targets/import?dry_run=1, body as the export gives it or a bare array of channels,
 * matched by name: 200 {"ok","changed","ids","create","update","unchanged","faults"}. Members that
 * are not given stay; so do keys that are masked or left out. */
static void import(struct api_call *c)
{
    struct bulk *b = arena_zalloc(http_arena(c->x), sizeof(*b));
    const json_t *list = c->body;

    if (json_is_object(list)) {
        if (!api_target_edit_known(c, (const char *const[]){"format", "version", "channels", NULL}))
            return;
        list = json_doc_get(list, "channels");
    }
    b->may_update = true;
    if (!take_items(c, b, list, "channels"))
        return;
    if (api_query_int(c, "dry_run") != 0)
        reply_plan(b, c);
    else
        submit_batch(b, c);
}

#define T    "targets"
#define TEXT "{\"type\":\"string\"}"
#define INT  "{\"type\":\"integer\"}"
#define NAMED                                                                                      \
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"id\":" INT               \
    ",\"name\":" TEXT "}}}"
#define UPDATE                                                                                     \
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"id\":" INT               \
    ",\"name\":" TEXT ",\"fields\":{\"type\":\"array\",\"items\":" TEXT "}}}}"
#define FAULTS                                                                                     \
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"index\":" INT            \
    ",\"line\":" INT ",\"name\":" TEXT                                                             \
    ",\"field\":{\"type\":[\"string\",\"null\"]},\"detail\":" TEXT "}}}"
#define PLAN "\"create\":" NAMED ",\"update\":" UPDATE ",\"unchanged\":" NAMED ",\"faults\":" FAULTS
#define IDS  "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1}}"

static const struct route_param import_params[] = {
    {"dry_run", "integer", "1: tell what would happen and change nothing", 0, 1, 0, NULL},
    {NULL, NULL, NULL, 0, 0, 0, NULL},
};

// clang-format off
const struct route api_bulk_routes[] = {
    {HTTP_POST_, "/api/targets/parse", ROUTE_ADMIN, ROUTE_BODY, parse, T,
     "Preview of pasted lines `name url key`, with the fault of each", NULL,
     "{\"type\":\"object\",\"required\":[\"text\"],\"properties\":{\"text\":" TEXT "}}",
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
     "\"line\":" INT ",\"name\":" TEXT ",\"base_url\":" TEXT ",\"api_key\":" TEXT ",\"fault\":{\"type\":[\"string\",\"null\"]},"
     "\"field\":{\"type\":[\"string\",\"null\"]}}}},\"count\":" INT ",\"faults\":" INT "}}",
     "400 invalid JSON; 400 text must be a string; 403 admin token required"},
    {HTTP_POST_, "/api/targets/bulk", ROUTE_ADMIN, ROUTE_BODY, bulk, T,
     "One action on many channels, all or nothing", NULL,
     "{\"type\":\"object\",\"required\":[\"action\"],\"properties\":{\"action\":{\"type\":\"string\",\"enum\":[\"create\","
     "\"pause\",\"resume\",\"interval\",\"tag\",\"untag\",\"run\",\"delete\"]},\"ids\":" IDS ",\"interval_min\":" INT
     ",\"tags\":{\"type\":\"array\",\"items\":" TEXT "},\"keep_logs\":{\"type\":\"boolean\"},\"text\":" TEXT
     ",\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/ChannelCreate\"}},\"run\":{\"type\":\"boolean\"}}}",
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"changed\":" INT ",\"ids\":" IDS "," PLAN
     ",\"runs\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"id\":" INT ",\"started\":{\"type\":\"boolean\"},"
     "\"queued\":{\"type\":\"boolean\"},\"detail\":{\"type\":[\"string\",\"null\"]}}}}}}",
     "400 action must be one of the list; 400 ids must not be empty; 400 ids must contain positive integers; 400 ids must "
     "not contain duplicates; 400 <n> of <m> channels have faults, with `faults`; 403 admin token required; 404 target <n> not found"},
    {HTTP_POST_, "/api/targets/import", ROUTE_ADMIN, ROUTE_BODY, import, T,
     "Take channels from an export, matched by name; dry_run shows the difference", import_params,
     "{\"type\":\"object\",\"required\":[\"channels\"],\"properties\":{\"format\":" TEXT ",\"version\":" INT
     ",\"channels\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Channel\"}}}}",
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"dry_run\":{\"type\":\"boolean\"},\"changed\":" INT
     ",\"ids\":" IDS "," PLAN "}}",
     "400 channels must be an array of 1-10000 channels; 400 <n> of <m> channels have faults, with `faults`; 403 admin token required"},
};
const size_t api_bulk_route_count = ARRAY_LEN(api_bulk_routes);
// clang-format on
