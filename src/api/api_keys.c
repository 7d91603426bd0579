/* api_keys.c -- keys of the gateway's clients (spec 1 section 1.7); the token is shown once. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "base/clock.h"

static void list(struct api_call *c)
{
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "items");
    json_out_array(&r.json);
    for (size_t i = 0; i < c->snapshot->key_count; i++)
        proxy_key_to_json(c->snapshot->keys[i], &r.json);
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

struct key_change { /* in the exchange's arena */
    struct api_change change;
    struct proxy_key *key; /* create: owned until done */
    char token[PROXY_KEY_TOKEN_SIZE];
    int64_t id;
};

static void release_key(struct key_change *k)
{
    proxy_key_free(TAKE(k->key));
    explicit_bzero(k->token, sizeof(k->token));
}

static void key_failed(struct api_change *ch)
{
    release_key(container_of(ch, struct key_change, change));
}

static int create_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct key_change *k = container_of(ch, struct key_change, change);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < k->key->allowed_channel_count; i++) {
        CLEANUP(channel_freep) struct channel *target = NULL;
        int64_t id = k->key->allowed_channels[i];

        if (catalog_channel_load(tx, id, &target, reterr) < 0)
            rc = err_set_field(reterr, ERR_RANGE, "allowed_target_ids", "target id %lld not found",
                               (long long)id);
    }
    if (rc == 0)
        rc = catalog_key_insert(tx, k->key, &k->id, reterr);
    if (rc == 0)
        rc = catalog_audit(tx, str_of(ch->call->actor), STR_NONE, "key.create",
                           str_of(k->key->name), str_of(k->key->prefix), reterr);
    return rc;
}

static void create_done(struct api_change *ch)
{
    struct key_change *k = container_of(ch, struct key_change, change);
    struct api_reply r;

    k->key->id = k->id;
    api_reply_init(&r, ch->call);
    json_out_object(&r.json);
    json_out_key(&r.json, "item");
    proxy_key_to_json(k->key, &r.json);
    json_out_kcstr(&r.json, "proxy_key", k->token);
    json_out_end(&r.json);
    release_key(k);
    api_reply_send(&r, 200);
}

static void create(struct api_call *c)
{
    struct key_change *k = arena_zalloc(http_arena(c->x), sizeof(*k));
    struct err e = {0};

    k->key = proxy_key_new();
    if (proxy_key_from_json(k->key, c->body, &e) < 0) {
        release_key(k);
        api_fail(c, &e);
        return;
    }
    proxy_key_draw(k->key, k->token);
    k->key->created_utc_ms = clock_utc_ms();
    k->change.run = create_run;
    k->change.done = create_done;
    k->change.failed = key_failed;
    api_change(c, &k->change);
}

static int patch_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct key_change *k = container_of(ch, struct key_change, change);
    int rc = catalog_key_load(tx, k->id, &k->key, reterr);
    char id[24];

    snprintf(id, sizeof(id), "%lld", (long long)k->id);
    if (rc == 0)
        rc = proxy_key_patch_json(k->key, ch->call->body, reterr);
    if (rc == 0)
        rc = catalog_key_update(tx, k->key, reterr);
    if (rc == 0)
        rc = catalog_audit(tx, str_of(ch->call->actor), STR_NONE, "key.update", str_of(id),
                           str_of(k->key->name), reterr);
    return rc;
}

static void patch_done(struct api_change *ch)
{
    struct key_change *k = container_of(ch, struct key_change, change);
    struct api_reply r;

    api_reply_init(&r, ch->call);
    json_out_object(&r.json);
    json_out_key(&r.json, "item");
    proxy_key_to_json(k->key, &r.json);
    json_out_end(&r.json);
    release_key(k);
    api_reply_send(&r, 200);
}

static void patch_body(struct api_call *c)
{
    struct key_change *k = arena_zalloc(http_arena(c->x), sizeof(*k));

    if (!api_param_id(c, 0, &k->id))
        return;
    k->change.run = patch_run;
    k->change.done = patch_done;
    k->change.failed = key_failed;
    api_change(c, &k->change);
}

static bool is_live_key(const struct catalog_snapshot *s, int64_t id)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (s->keys[i]->id == id)
            return s->keys[i]->revoked_utc_ms == 0;
    return false;
}

/* PATCH /api/proxy/keys/{id} {any of name, description, allowed_target_ids, allowed_models,
 * enabled} 200 {"item"}; the token stays. */
static void patch(struct api_call *c)
{
    int64_t id;

    if (!api_param_id(c, 0, &id))
        return;
    if (is_live_key(c->snapshot, id))
        api_body(c, patch_body);
    else
        api_error(c, 404, "proxy key not found or already revoked");
}

static int revoke_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct key_change *k = container_of(ch, struct key_change, change);
    char id[24];
    int rc = catalog_key_revoke(tx, k->id, clock_utc_ms(), reterr);

    if (rc == ERR_NOTFOUND)
        return err_set(reterr, ERR_NOTFOUND, "proxy key not found or already revoked");
    snprintf(id, sizeof(id), "%lld", (long long)k->id);
    return rc < 0 ? rc
                  : catalog_audit(tx, str_of(ch->call->actor), STR_NONE, "key.revoke", str_of(id),
                                  STR_NONE, reterr);
}

static void revoke_done(struct api_change *ch)
{
    api_ok(ch->call);
}

static void revoke_key(struct api_call *c)
{
    struct key_change *k = arena_zalloc(http_arena(c->x), sizeof(*k));

    if (!api_param_id(c, 0, &k->id))
        return;
    k->change.run = revoke_run;
    k->change.done = revoke_done;
    api_change(c, &k->change);
}

// clang-format off
#define T "keys"
#define KEY "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"name\":{\"type\":\"string\"},\"key_prefix\":{\"type\":\"string\"},\"allowed_target_ids\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"allowed_models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"description\":{\"type\":\"string\"},\"enabled\":{\"type\":\"boolean\"},\"created_at\":{\"type\":\"number\"},\"revoked_at\":{\"type\":[\"number\",\"null\"]},\"last_used_at\":{\"type\":[\"number\",\"null\"]},\"last_used_target_id\":{\"type\":[\"integer\",\"null\"]}}}"
const struct route api_keys_routes[] = {
    {HTTP_GET_, "/api/proxy/keys", ROUTE_ADMIN, 0, list, T, "Proxy keys, newest first, revoked ones included", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":" KEY "}}}", "401 admin login required; 403"},
    {HTTP_POST_, "/api/proxy/keys", ROUTE_ADMIN, ROUTE_BODY, create, T, "Create a proxy key; the token is in this answer only", NULL,
     "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"},\"allowed_target_ids\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1}},\"allowed_models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"description\":{\"type\":\"string\"}}}",
     "{\"type\":\"object\",\"properties\":{\"item\":" KEY ",\"proxy_key\":{\"type\":\"string\"}}}",
     "400 name must be 1-128 chars; description must be <= 512 chars; allowed_models must use channel/model format; target id <n> not found"},
    {HTTP_PATCH_, "/api/proxy/keys/{id}", ROUTE_ADMIN, 0, patch, T, "Change a proxy key; what is absent or null stays, its token does too", NULL,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"allowed_target_ids\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":1}},\"allowed_models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"description\":{\"type\":\"string\"},\"enabled\":{\"type\":\"boolean\"}}}",
     "{\"type\":\"object\",\"properties\":{\"item\":" KEY "}}",
     "400 invalid id; 404 proxy key not found or already revoked; 400 name must be 1-128 chars; description must be <= 512 chars; enabled must be a boolean; allowed_models must use channel/model format; target id <n> not found"},
    {HTTP_DELETE_, "/api/proxy/keys/{id}", ROUTE_ADMIN, 0, revoke_key, T, "Revoke a proxy key", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}}}", "400 invalid id; 404 proxy key not found or already revoked"},
};
const size_t api_keys_route_count = ARRAY_LEN(api_keys_routes);
// clang-format on
