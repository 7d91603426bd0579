/* api_target_edit.c -- create, change, delete and order channels (spec 1 section 1.4). A body is
 * judged on the writer's thread against the row as it is then, so two admins cannot lose each
 * other's changes between check and write. */
#include "api/api_target_edit.h"

#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_target_view.h"
#include "net/addr.h"
#include "net/egress.h"

#include <math.h>

#define ORDER_MAX 100000 /* ids in one order */

/* ---- shared ---- */

int api_target_edit_check(const struct api_call *c, struct channel *ch,
                          const struct channel *before, struct err *reterr)
{
    struct err e = {0};
    bool is_visitor = c->role != API_ADMIN;

    if (before && strcmp(before->base_url, ch->base_url) == 0)
        return 0;
    ch->by_visitor = is_visitor; /* names are judged when they are connected to */
    if (egress_check_url(c->api->cfg.egress, str_of(ch->base_url), !is_visitor, &e) == 0)
        return 0;
    return err_set_field(reterr, ERR_RANGE, "base_url", "base_url is refused: %s", e.text);
}

int api_target_edit_audit(struct catalog_tx *tx, const struct api_call *c, const char *action,
                          const struct channel *ch, struct str detail, struct err *reterr)
{
    char peer[ADDR_TEXT_SIZE], subject[640]; /* a name of 128 characters has 512 bytes */

    addr_text(&http_request(c->x)->client, peer);
    if (ch)
        snprintf(subject, sizeof(subject), "%lld %s", (long long)ch->id, ch->name);
    return catalog_audit(tx, str_of(c->actor), str_of(peer), action,
                         ch ? str_cut_utf8(str_of(subject), sizeof(subject)) : STR(""), detail,
                         reterr);
}

void api_target_edit_diff(const struct channel *before, const struct channel *after,
                          struct buf *out)
{
    for (size_t i = 0; i < channel_field_count; i++) {
        if (!channel_field_equal(&channel_fields[i], before, after))
            buf_putf(out, "%s%s", buf_len(out) > 0 ? ", " : "", channel_fields[i].name);
    }
}

/* System 1 answers 400 to a name that is taken, with the database's words. */
static int name_is_taken(int rc, struct err *reterr)
{
    char text[ERR_TEXT_MAX];

    if (rc != ERR_CONFLICT || !reterr)
        return rc;
    str_copy(text, sizeof(text), str_of(reterr->text));
    return err_set_field(reterr, ERR_RANGE, "name", "%s", text);
}

int api_target_edit_insert(struct catalog_tx *tx, const struct channel *ch, int64_t *ret_id,
                           struct err *reterr)
{
    return name_is_taken(catalog_channel_insert(tx, ch, ret_id, reterr), reterr);
}

int api_target_edit_update(struct catalog_tx *tx, const struct channel *ch, struct err *reterr)
{
    return name_is_taken(catalog_channel_update(tx, ch, reterr), reterr);
}

void api_target_edit_publish(struct api_call *c, const char *action, int64_t id)
{
    live_publishf(c->api->live, "target_updated", false, "{\"action\":\"%s\",\"target_id\":%lld}",
                  action, (long long)id);
}

bool api_target_edit_known(struct api_call *c, const char *const *names)
{
    const char *key;
    json_t *item;

    if (!json_is_object(c->body)) {
        api_error(c, 400, "invalid JSON");
        return false;
    }
    json_object_foreach(c->body, key, item)
    {
        size_t i = 0;

        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i]) {
            char shown[64];

            str_copy(shown, sizeof(shown), str_of(key));
            api_error_field(c, 400, shown, "unknown field '%s'", shown);
            return false;
        }
    }
    return true;
}

bool api_target_edit_ids(struct api_call *c, const char *field, size_t max, int64_t **ret,
                         size_t *ret_count)
{
    const json_t *list = json_doc_get(c->body, field);
    size_t n = json_array_size(list);
    int64_t *ids;

    if (!list || json_is_null(list) || (json_is_array(list) && n == 0)) {
        api_error_field(c, 400, field, "%s must not be empty", field);
        return false;
    }
    if (n > max) {
        api_error_field(c, 400, field, "%s must contain <= %zu items", field, max);
        return false;
    }
    ids = arena_alloc(http_arena(c->x), MAX(n, (size_t)1) * sizeof(*ids));
    for (size_t i = 0; i < n; i++) {
        ids[i] = json_integer_value(json_array_get(list, i)); /* 0 for anything else */
        if (ids[i] <= 0) {
            n = 0;
            break;
        }
    }
    if (n == 0) {
        api_error_field(c, 400, field, "%s must contain positive integers", field);
        return false;
    }
    *ret = ids;
    *ret_count = n;
    return true;
}

/* ---- one change ---- */

struct edit { /* in the exchange's arena */
    struct api_change change;
    struct api_target_gone gone;
    int64_t id;
    utc_ms expected_utc_ms; /* 0 = any */
    bool is_changed;
};

static struct edit *edit_new(struct api_call *c, int64_t id,
                             int (*run)(struct api_change *, struct catalog_tx *, struct err *),
                             void (*done)(struct api_change *))
{
    struct edit *e = arena_zalloc(http_arena(c->x), sizeof(*e));

    e->id = id;
    e->change.run = run;
    e->change.done = done;
    return e;
}

/* Answers with the channel as it is after the change. */
static void reply_item(struct api_call *c, int64_t id)
{
    const struct channel *ch = catalog_channel(c->snapshot, id);

    if (ch)
        api_target_view_reply(c, ch);
    else
        api_error(c, 404, "target not found"); /* deleted meanwhile */
}

/* ---- create ---- */

/* The first member that a visitor must not give, NULL = none. */
static const char *beyond_visitor(const json_t *body)
{
    for (size_t i = 0; i < channel_field_count; i++) {
        const struct channel_field *f = &channel_fields[i];
        const json_t *v = json_doc_get(body, f->name);

        if (v && !json_is_null(v) && !(f->flags & CHANNEL_FIELD_VISITOR))
            return f->name;
    }
    return NULL;
}

static int create_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct edit *e = container_of(ch, struct edit, change);
    const struct api_call *c = ch->call;
    CLEANUP(channel_freep) struct channel *new = channel_new();
    unsigned only = c->role == API_ADMIN ? 0 : CHANNEL_FIELD_VISITOR;
    int rc = channel_from_json(new, c->body, only | CHANNEL_JSON_STRICT, NULL, reterr);

    if (rc == 0)
        rc = api_target_edit_check(c, new, NULL, reterr);
    if (rc == 0)
        rc = api_target_edit_insert(tx, new, &e->id, reterr);
    if (rc < 0)
        return rc;
    new->id = e->id;
    return api_target_edit_audit(tx, c, "channel.create", new, STR_NONE, reterr);
}

static void create_done(struct api_change *ch)
{
    struct edit *e = container_of(ch, struct edit, change);

    api_target_edit_publish(ch->call, "created", e->id);
    reply_item(ch->call, e->id);
}

static void create_body(struct api_call *c)
{
    const char *field = c->role == API_ADMIN ? NULL : beyond_visitor(c->body);

    if (field) {
        api_error_field(c, 403, field, "%s cannot be set with a visitor token", field);
        return;
    }
    api_change(c, &edit_new(c, 0, create_run, create_done)->change);
}

/* POST /api/targets {fields of the table}: 200 {"item"}. */
static void create(struct api_call *c)
{
    if (c->role != API_ADMIN &&
        !str_eq_c(api_setting(c->api, c->snapshot, "visitor_create"), "true")) {
        api_error(c, 403, "creating channels is disabled for visitor token");
        return;
    }
    api_body(c, create_body);
}

/* ---- change ---- */

/* id 400 -> 404 -> 403, in this order; visitors may run a channel at most. */
static const struct channel *editable(struct api_call *c)
{
    const struct channel *ch = api_channel(c);

    if (ch && c->role != API_ADMIN) {
        api_error(c, 403, "channel operations are disabled for visitor token");
        return NULL;
    }
    return ch;
}

static int patch_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct edit *e = container_of(change, struct edit, change);
    CLEANUP(channel_freep) struct channel *ch = NULL, *before = NULL;
    struct buf detail = BUF_INIT(4096); /* names of the table's rows fit */
    int rc = catalog_channel_load(tx, e->id, &ch, reterr);

    if (rc < 0)
        return rc == ERR_NOTFOUND ? err_set(reterr, rc, "target not found") : rc;
    if (e->expected_utc_ms != 0 && e->expected_utc_ms != ch->updated_utc_ms)
        return err_set_field(reterr, ERR_CONFLICT, "expected_updated_at",
                             "target was changed by somebody else meanwhile");
    before = channel_dup(ch);
    rc = channel_from_json(ch, change->call->body, CHANNEL_JSON_STRICT, &e->is_changed, reterr);
    if (rc == 0 && e->is_changed)
        rc = api_target_edit_check(change->call, ch, before, reterr);
    if (rc < 0 || !e->is_changed)
        return rc;
    rc = api_target_edit_update(tx, ch, reterr);
    if (rc < 0)
        return rc;
    api_target_edit_diff(before, ch, &detail);
    rc = api_target_edit_audit(tx, change->call, "channel.update", ch, buf_str(&detail), reterr);
    buf_release(&detail);
    return rc;
}

static void patch_done(struct api_change *ch)
{
    struct edit *e = container_of(ch, struct edit, change);

    if (e->is_changed)
        api_target_edit_publish(ch->call, "updated", e->id);
    reply_item(ch->call, e->id);
}

/* Takes expected_updated_at out of the body; false after it answered. */
static bool take_expected(struct api_call *c, struct edit *e)
{
    const json_t *v = json_doc_get(c->body, "expected_updated_at");
    double seconds = json_number_value(v);

    if (!v)
        return true;
    if (!json_is_null(v) && (!json_is_number(v) || !(seconds > 0 && seconds < 1e11))) {
        api_error_field(c, 400, "expected_updated_at",
                        "expected_updated_at must be the updated_at of the target, in seconds");
        return false;
    }
    e->expected_utc_ms = json_is_null(v) ? 0 : (utc_ms)llround(seconds * 1000); /* below 1e14 */
    json_object_del(c->body, "expected_updated_at");
    return true;
}

static void patch_body(struct api_call *c)
{
    const struct channel *ch = editable(c);
    struct edit *e;

    if (!ch)
        return;
    e = edit_new(c, ch->id, patch_run, patch_done);
    if (take_expected(c, e))
        api_change(c, &e->change);
}

/* PATCH /api/targets/{id} {any of the table}: 200 {"item"}; a run in progress keeps what it began
 * with. */
static void patch(struct api_call *c)
{
    if (editable(c))
        api_body(c, patch_body);
}

/* ---- delete ---- */

static int delete_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct edit *e = container_of(change, struct edit, change);
    CLEANUP(channel_freep) struct channel *ch = NULL;
    int rc = catalog_channel_load(tx, e->id, &ch, reterr);

    if (rc == 0)
        rc = catalog_channel_delete(tx, e->id, reterr);
    if (rc == 0)
        rc = api_target_edit_audit(tx, change->call, "channel.delete", ch, STR_NONE, reterr);
    return rc == ERR_NOTFOUND ? err_set(reterr, rc, "target not found") : rc;
}

static void delete_gone(struct api_target_gone *g)
{
    api_ok(g->call);
}

static void delete_done(struct api_change *change)
{
    struct edit *e = container_of(change, struct edit, change);

    api_target_edit_publish(change->call, "deleted", e->id);
    e->gone.call = change->call;
    e->gone.ids = &e->id;
    e->gone.count = 1;
    e->gone.keeps_logs = api_query_int(change->call, "keep_logs") != 0;
    e->gone.done = delete_gone;
    api_target_gone_start(&e->gone);
}

/* DELETE /api/targets/{id}?keep_logs=1: 200 {"ok":true}; runs and results go with it. */
static void delete (struct api_call *c)
{
    const struct channel *ch = editable(c);

    if (ch)
        api_change(c, &edit_new(c, ch->id, delete_run, delete_done)->change);
}

/* ---- order ---- */

struct reorder {
    struct api_change change;
    int64_t *ids;
    size_t count;
};

static int reorder_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct reorder *o = container_of(change, struct reorder, change);
    int rc = catalog_channel_reorder(tx, o->ids, o->count, reterr);
    char text[ERR_TEXT_MAX];

    if (rc == 0)
        return api_target_edit_audit(tx, change->call, "channel.reorder", NULL, STR_NONE, reterr);
    if (rc != ERR_NOTFOUND && rc != ERR_CONFLICT)
        return rc;
    str_copy(text, sizeof(text), str_of(reterr->text)); /* all of them are 400 (spec 1) */
    return err_set_field(reterr, ERR_RANGE, "target_ids", "%s", text);
}

static void reorder_done(struct api_change *change)
{
    api_target_edit_publish(change->call, "reordered", 0);
    api_ok(change->call);
}

/* PATCH /api/targets/reorder {"target_ids":[3,1,2]}: 200 {"ok":true}; the others follow. */
static void reorder(struct api_call *c)
{
    struct reorder *o;

    if (!api_target_edit_known(c, (const char *const[]){"target_ids", NULL}))
        return;
    o = arena_zalloc(http_arena(c->x), sizeof(*o));
    o->change.run = reorder_run;
    o->change.done = reorder_done;
    if (api_target_edit_ids(c, "target_ids", ORDER_MAX, &o->ids, &o->count))
        api_change(c, &o->change);
}

/* ---- the key ---- */

static int reveal_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    struct edit *e = container_of(change, struct edit, change);
    CLEANUP(channel_freep) struct channel *ch = NULL;
    int rc = catalog_channel_load(tx, e->id, &ch, reterr);

    if (rc < 0)
        return rc == ERR_NOTFOUND ? err_set(reterr, rc, "target not found") : rc;
    return api_target_edit_audit(tx, change->call, "channel.reveal_key", ch, STR_NONE, reterr);
}

static void reveal_done(struct api_change *change)
{
    struct edit *e = container_of(change, struct edit, change);
    const struct channel *ch = catalog_channel(change->call->snapshot, e->id);
    struct api_reply r;

    if (!ch) {
        api_error(change->call, 404, "target not found");
        return;
    }
    api_reply_init(&r, change->call);
    json_out_object(&r.json);
    json_out_kstr(&r.json, "api_key", secret_str(&ch->api_key));
    json_out_key(&r.json, "api_keys");
    json_out_array(&r.json);
    for (size_t i = 0; i < ch->api_key_count; i++)
        json_out_str(&r.json, secret_str(&ch->api_keys[i]));
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

/* POST /api/targets/{id}/reveal-key: 200 {"api_key","api_keys"} in clear; leaves an audit row. */
static void reveal(struct api_call *c)
{
    const struct channel *ch = api_channel(c);

    if (ch)
        api_change(c, &edit_new(c, ch->id, reveal_run, reveal_done)->change);
}

#define T  "targets"
#define OK "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}}}"
#define ITEM                                                                                       \
    "{\"type\":\"object\",\"properties\":{\"item\":{\"$ref\":\"#/components/schemas/Target\"}}}"

static const struct route_param delete_params[] = {
    {"keep_logs", "integer", "1: the JSONL files of its runs stay on disk", 0, 1, 0, NULL},
    {NULL, NULL, NULL, 0, 0, 0, NULL},
};

// clang-format off
const struct route api_target_edit_routes[] = {
    {HTTP_POST_, "/api/targets", ROUTE_ANY, 0, create, T,
     "Create a channel; visitors only where visitor_create is on, with six fields", NULL, "#channel", ITEM,
     "400 name, base_url, api_key are required; 400 a field out of bounds, unknown or of a wrong type; 400 "
     "UNIQUE constraint failed: targets.name; 403 creating channels is disabled for visitor token"},
    {HTTP_PATCH_, "/api/targets/reorder", ROUTE_ADMIN, ROUTE_BODY, reorder, T,
     "Put channels first in this order; the others follow in theirs", NULL,
     "{\"type\":\"object\",\"required\":[\"target_ids\"],\"properties\":{\"target_ids\":{\"type\":\"array\","
     "\"items\":{\"type\":\"integer\",\"minimum\":1}}}}",
     OK, "400 target_ids must not be empty; 400 target_ids must contain positive integers; 400 target_ids must "
         "not contain duplicates; 400 target <n> not found; 400 no targets found; 403 admin token required"},
    {HTTP_PATCH_, "/api/targets/{id}", ROUTE_ANY, ROUTE_BOARD, patch, T,
     "Change any fields; with expected_updated_at only if nobody else did meanwhile", NULL, "#channel_patch", ITEM,
     "400 invalid id; 404 target not found; 403 channel operations are disabled for visitor token; 400 invalid "
     "JSON; 400 a field out of bounds, unknown or of a wrong type; 409 target was changed by somebody else meanwhile"},
    {HTTP_DELETE_, "/api/targets/{id}", ROUTE_ANY, 0, delete, T,
     "Delete a channel with its runs and results; a run in progress is cancelled", delete_params, NULL, OK,
     "400 invalid id; 404 target not found; 403 channel operations are disabled for visitor token"},
    {HTTP_POST_, "/api/targets/{id}/reveal-key", ROUTE_ADMIN, 0, reveal, T,
     "The upstream keys in clear; audited", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"api_key\":{\"type\":\"string\"},\"api_keys\":{\"type\":\"array\","
     "\"items\":{\"type\":\"string\"}}}}",
     "400 invalid id; 404 target not found; 403 admin token required"},
};
const size_t api_target_edit_route_count = ARRAY_LEN(api_target_edit_routes);
// clang-format on
