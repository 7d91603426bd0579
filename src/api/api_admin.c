/* api_admin.c -- sign-in, settings, sessions, the admin's view of channels (spec 1 section 1.6). */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "base/clock.h"

/* ---- sign-in ---- */

static const char *cookie_path(const struct api_call *c)
{
    struct buf b = BUF_INIT(1024);
    struct str base = option_text(c->api->cfg.options, "base_path");

    while (base.len != 0 && base.ptr[0] == '/')
        base = str_cut(base, 1, base.len);
    while (base.len != 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    buf_putf(&b, "/%.*s", STR_ARG(base));
    const char *path = arena_cstr(http_arena(c->x), buf_str(&b));
    buf_release(&b);
    return path;
}

static void login_done(struct auth_login *l)
{
    struct api_call *c = l->arg;

    switch (l->verdict) {
    case AUTH_OK:
        auth_set_cookie(c->x, l->token, cookie_path(c));
        explicit_bzero(l->token, sizeof(l->token));
        api_ok(c);
        return;
    case AUTH_BLOCKED:
        http_add_headerf(c->x, "Retry-After", "%u", l->retry_after_s);
        api_error(c, 429, "too many failed attempts, please retry later");
        return;
    case AUTH_UNAUTHORIZED:
        api_error(c, 401, "invalid password");
        return;
    }
}

/* POST /api/admin/login {"password":"..."}: 200 {"ok":true} and the session's cookie. The check
 * takes some 100 ms of a pool thread by design. */
static void login(struct api_call *c)
{
    struct str password = str_trim(json_doc_str(json_doc_get(c->body, "password")));
    struct auth_login *l;

    if (!json_is_object(c->body)) {
        api_error(c, 400, "invalid JSON");
        return;
    }
    if (json_doc_get(c->body, "password") && !json_is_string(json_doc_get(c->body, "password"))) {
        api_error_field(c, 400, "password", "password must be a string");
        return;
    }
    l = arena_zalloc(http_arena(c->x), sizeof(*l));
    l->auth = c->api->auth;
    l->x = c->x;
    l->arg = c;
    l->done = login_done;
    l->password = secret_dup(str_cut(password, 0, 1024)); /* no password is longer */
    auth_login(l);
}

/* Succeeds without a session too. */
static void logout(struct api_call *c)
{
    struct auth_who who = {0};
    unsigned retry_s;

    if (auth_check(c->api->auth, c->x, false, &who, &retry_s) == AUTH_OK && who.by_cookie)
        auth_logout(c->api->auth, who.session_hash);
    auth_set_cookie(c->x, NULL, cookie_path(c));
    api_ok(c);
}

/* GET /api/session: who am I; answers anonymous callers too, so that the page knows what to show.
 */
static void session(struct api_call *c)
{
    struct auth_who who = {0};
    unsigned retry_s = 0;
    enum auth_verdict v = auth_check(c->api->auth, c->x, false, &who, &retry_s);
    struct api_reply r;

    if (v == AUTH_BLOCKED) {
        http_add_headerf(c->x, "Retry-After", "%u", retry_s);
        api_error(c, 429, "too many failed attempts, please retry later");
        return;
    }
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kcstr(&r.json, "role",
                   v != AUTH_OK            ? "anonymous"
                   : who.role == API_ADMIN ? "admin"
                                           : "visitor");
    json_out_kcstr(&r.json, "by", v != AUTH_OK ? NULL : who.by_cookie ? "session" : who.actor);
    json_out_kcstr(&r.json, "version", GATEHOUSE_VERSION);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void sessions(struct api_call *c)
{
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "items");
    auth_sessions_json(c->api->auth, &r.json, c->by_cookie ? c->session_hash : NULL);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void sessions_end(struct api_call *c)
{
    auth_end_other_sessions(c->api->auth, c->by_cookie ? c->session_hash : NULL);
    api_ok(c);
}

/* ---- the admin's view of channels ---- */

static void write_admin_channel(struct json_out *j, const struct channel *ch)
{
    json_out_object(j);
    json_out_ki64(j, "id", ch->id);
    channel_to_json(ch, j, CHANNEL_SECRETS_OMITTED);
    json_out_kts(j, "created_at", ch->created_utc_ms);
    json_out_kts(j, "updated_at", ch->updated_utc_ms);
    json_out_end(j);
}

static void channels(struct api_call *c)
{
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "items");
    json_out_array(&r.json);
    for (size_t i = 0; i < c->snapshot->channel_count; i++)
        write_admin_channel(&r.json, c->snapshot->channels[i]);
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

struct advanced { /* one change, in the exchange's arena */
    struct api_change change;
    int64_t id;
};

static int advanced_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct advanced *a = container_of(ch, struct advanced, change);
    CLEANUP(channel_freep) struct channel *channel = NULL;
    int rc = catalog_channel_load(tx, a->id, &channel, reterr);

    if (rc == 0)
        rc = channel_from_json(channel, ch->call->body, CHANNEL_FIELD_ADVANCED, NULL, reterr);
    if (rc < 0)
        return rc;
    channel->updated_utc_ms = clock_utc_ms();
    rc = catalog_channel_update(tx, channel, reterr);
    if (rc == 0)
        rc = catalog_audit(tx, str_of(ch->call->actor), STR_NONE, "channel.advanced",
                           str_of(channel->name), STR_NONE, reterr);
    return rc;
}

static void advanced_done(struct api_change *ch)
{
    struct advanced *a = container_of(ch, struct advanced, change);
    struct api_call *c = ch->call;
    const struct channel *channel = catalog_channel(c->snapshot, a->id);
    struct api_reply r;

    live_publishf(c->api->live, "target_updated", false,
                  "{\"action\":\"admin_advanced_updated\",\"target_id\":%lld}", (long long)a->id);
    if (!channel) { /* deleted since */
        api_error(c, 404, "target not found");
        return;
    }
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    json_out_key(&r.json, "item");
    write_admin_channel(&r.json, channel);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

/* PATCH /api/admin/channels/{id}/advanced: the probe's options only. */
static void advanced(struct api_call *c)
{
    const struct channel *channel = api_channel(c);
    struct advanced *a;
    bool any = false;

    if (!channel)
        return;
    for (size_t i = 0; i < channel_field_count; i++) {
        if ((channel_fields[i].flags & CHANNEL_FIELD_ADVANCED) &&
            json_doc_get(c->body, channel_fields[i].name))
            any = true;
    }
    if (!any) {
        api_error(c, 400, "no advanced fields provided");
        return;
    }
    a = arena_zalloc(http_arena(c->x), sizeof(*a));
    a->id = channel->id;
    a->change.run = advanced_run;
    a->change.done = advanced_done;
    api_change(c, &a->change);
}

// clang-format off
#define T "admin"
#define OK "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}}}"
const struct route api_admin_routes[] = {
    {HTTP_POST_, "/api/admin/login", ROUTE_OPEN, ROUTE_BODY | ROUTE_CSRF, login, T, "Open a session (cookie)", NULL,
     "{\"type\":\"object\",\"required\":[\"password\"],\"properties\":{\"password\":{\"type\":\"string\"}}}", OK,
     "400 invalid JSON; 401 invalid password; 403 foreign origin; 429 too many failed attempts, please retry later"},
    {HTTP_POST_, "/api/admin/logout", ROUTE_OPEN, ROUTE_CSRF, logout, T, "Close the session", NULL, NULL, OK, "403 foreign origin"},
    {HTTP_GET_, "/api/session", ROUTE_OPEN, 0, session, T, "Who the caller is: admin, visitor or anonymous", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"role\":{\"type\":\"string\",\"enum\":[\"admin\",\"visitor\",\"anonymous\"]},\"by\":{\"type\":[\"string\",\"null\"]},\"version\":{\"type\":\"string\"}}}", "429"},
    {HTTP_GET_, "/api/admin/sessions", ROUTE_ADMIN, 0, sessions, T, "Open sessions, newest first", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}", "401; 403"},
    {HTTP_DELETE_, "/api/admin/sessions", ROUTE_ADMIN, 0, sessions_end, T, "End all sessions but the caller's", NULL, NULL, OK, "401; 403"},
    {HTTP_GET_, "/api/admin/channels", ROUTE_ADMIN, 0, channels, T, "Channels with every option, without keys", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Channel\"}}}}", "401 admin login required; 403"},
    {HTTP_PATCH_, "/api/admin/channels/{id}/advanced", ROUTE_ADMIN, ROUTE_BODY, advanced, T, "Change a channel's probe options", NULL,
     "#channel_patch", "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"item\":{\"$ref\":\"#/components/schemas/Channel\"}}}",
     "400 no advanced fields provided; 404 target not found"},
};
const size_t api_admin_route_count = ARRAY_LEN(api_admin_routes);
// clang-format on
