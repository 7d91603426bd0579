/* api_settings.c -- settings of the page (spec 1 section 1.6, rulings 12, 13) and the table of all
 * options with what set them. A PATCH is validated whole, then applied in one transaction. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/settings.h"
#include "base/clock.h"

enum setting_type { SETTING_BOOL, SETTING_INT, SETTING_SECRET, SETTING_PASSWORD };

// clang-format off
static const struct setting {
    const char *name, *alias; /* alias: the name of an earlier generation, NULL = none */
    const char *option;       /* row of the option table; NULL: a stored value of the page alone */
    enum setting_type type;
    int64_t min, max; /* INT: value; SECRET: characters */
    const char *error;
} settings[] = {
    {"api_monitor_token_admin", "api_monitor_token", "admin_token", SETTING_SECRET, 1, 256, "api_monitor_token_admin must be 1-256 chars"},
    {"api_monitor_token_visitor", NULL, "visitor_token", SETTING_SECRET, 0, 256, "api_monitor_token_visitor must be <= 256 chars"},
    {"visitor_mode_enabled", NULL, "visitor_mode", SETTING_BOOL, 0, 0, NULL},
    {"proxy_master_token", NULL, "proxy_master_token", SETTING_SECRET, 0, 256, "proxy_master_token must be <= 256 chars"},
    {"log_cleanup_enabled", NULL, "log_cleanup_enabled", SETTING_BOOL, 0, 0, NULL},
    {"log_max_size_mb", NULL, "log_max_size_mb", SETTING_INT, 0, 102400, "log_max_size_mb must be 0-102400"},
    {"liquid_glass_enabled", NULL, NULL, SETTING_BOOL, 0, 0, NULL},
    {"admin_panel_password", NULL, "admin_password", SETTING_PASSWORD, 8, 1024, "admin_panel_password must be 8-1024 chars"},
};
// clang-format on

#define SETTING_COUNT ARRAY_LEN(settings)
#define PASSWORD_AT   (SETTING_COUNT - 1) /* it alone is hashed off the loop first */

static void write_settings(struct api_call *c, struct json_out *j)
{
    const struct option_set *o = c->api->cfg.options;

    json_out_object(j);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];
        char shown[SECRET_MASK_SIZE];
        bool v = false;

        json_out_key(j, s->name);
        switch (s->type) {
        case SETTING_SECRET:
            auth_secret_shown(c->api->auth, s->option, shown);
            json_out_cstr(j, shown);
            break;
        case SETTING_PASSWORD: /* nothing of a password is shown */
            json_out_cstr(j, "");
            break;
        case SETTING_INT:
            json_out_i64(j, settings_int(o, c->snapshot, s->option));
            break;
        case SETTING_BOOL:
            if (s->option)
                v = settings_bool(o, c->snapshot, s->option);
            else if (option_parse_bool(catalog_setting(c->snapshot, s->name), &v) < 0)
                v = false; /* never stored */
            json_out_bool(j, v);
            break;
        }
    }
    json_out_key(j, "locked"); /* name -> what set it */
    json_out_object(j);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];
        char origin[128];

        if (s->option && !(option_find(str_of(s->option))->flags & OPTION_PAGE) &&
            option_origin(o, s->option) >= OPTION_FILE)
            json_out_kcstr(j, s->name, option_origin_text(o, s->option, origin, sizeof(origin)));
    }
    json_out_end(j);
    json_out_end(j);
}

static void get_settings(struct api_call *c)
{
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "item");
    write_settings(c, &r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

/* ---- PATCH ---- */

struct patch { /* in the exchange's arena */
    struct api_change change;
    struct loop_work work;
    struct api_call *call;
    bool given[SETTING_COUNT];
    struct str text[SETTING_COUNT]; /* what is stored; secrets and the password in clear, borrowed
                                       from the body */
    char pwhash[SECRET_PWHASH_SIZE];
    struct err err;
    int rc;
};

static bool same_secret(struct api_call *c, const struct setting *s, struct str text)
{
    char shown[SECRET_MASK_SIZE];

    auth_secret_shown(c->api->auth, s->option, shown);
    return (shown[0] && str_eq_c(text, shown)) || auth_secret_is(c->api->auth, s->option, text);
}

/* False: the value changes nothing. A failure is put into p->err. */
static bool read_secret(struct patch *p, size_t i, const json_t *v)
{
    const struct setting *s = &settings[i];
    const struct option_set *o = p->call->api->cfg.options;
    struct str text = str_trim(json_doc_str(v));
    size_t chars = str_count_chars(text);
    char origin[128];

    if (s->type == SETTING_PASSWORD &&
        (text.len == 0 || secret_equal(option_text(o, s->option), text)))
        return false;
    if (s->type == SETTING_SECRET && same_secret(p->call, s, text))
        return false;
    if (chars < (size_t)s->min || chars > (size_t)s->max || str_has_control(text)) {
        p->rc = err_set_field(&p->err, ERR_RANGE, s->name, "%s", s->error);
        return false;
    }
    if (!(option_find(str_of(s->option))->flags & OPTION_PAGE) &&
        option_text(o, s->option).len != 0) {
        p->rc = err_set_field(&p->err, ERR_CONFLICT, s->name, "%s is set by %s", s->name,
                              option_origin_text(o, s->option, origin, sizeof(origin)));
        return false;
    }
    p->text[i] = text;
    return true;
}

static bool read_one(struct patch *p, size_t i, const json_t *v)
{
    const struct setting *s = &settings[i];
    int64_t n;

    switch (s->type) {
    case SETTING_BOOL:
        if (!json_is_boolean(v))
            break;
        p->text[i] = json_is_true(v) ? STR("true") : STR("false");
        return true;
    case SETTING_INT:
        if (!json_is_integer(v))
            break;
        n = json_integer_value(v);
        if (n < s->min || n > s->max) {
            p->rc = err_set_field(&p->err, ERR_RANGE, s->name, "%s", s->error);
            return false;
        }
        p->text[i] = str_of(arena_printf(http_arena(p->call->x), "%lld", (long long)n));
        return true;
    case SETTING_SECRET:
    case SETTING_PASSWORD:
        if (!json_is_string(v))
            break;
        return read_secret(p, i, v);
    }
    p->rc =
        err_set_field(&p->err, ERR_SYNTAX, s->name, "invalid JSON: %s has the wrong type", s->name);
    return false;
}

static bool is_known(const char *key)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcmp(key, settings[i].name) == 0 ||
            (settings[i].alias && strcmp(key, settings[i].alias) == 0))
            return true;
    }
    return strcmp(key, "locked") == 0; /* our own answer may come back */
}

static void read_patch(struct patch *p)
{
    json_t *body = p->call->body;
    const char *key;
    json_t *value;

    if (!json_is_object(body)) {
        p->rc = err_set(&p->err, ERR_SYNTAX, "invalid JSON: an object is expected");
        return;
    }
    json_object_foreach(body, key, value)
    {
        if (!is_known(key))
            p->rc = err_set_field(&p->err, ERR_SYNTAX, key, "unknown field %s", key);
    }
    for (size_t i = 0; p->rc == 0 && i < SETTING_COUNT; i++) {
        const json_t *v = json_doc_get(body, settings[i].name);

        if (!v && settings[i].alias)
            v = json_doc_get(body, settings[i].alias);
        if (v && !json_is_null(v))
            p->given[i] = read_one(p, i, v);
    }
}

static int patch_run(struct api_change *ch, struct catalog_tx *tx, struct err *reterr)
{
    struct patch *p = container_of(ch, struct patch, change);
    struct buf names = BUF_INIT(1024);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < SETTING_COUNT; i++) {
        const struct setting *s = &settings[i];

        if (!p->given[i])
            continue;
        if (s->type == SETTING_SECRET)
            rc = auth_secret_store(tx, s->option, p->text[i], reterr);
        else if (s->type == SETTING_PASSWORD)
            rc = auth_password_store(tx, p->pwhash, reterr);
        else
            rc =
                catalog_setting_set(tx, s->option ? s->option : s->name, p->text[i], false, reterr);
        buf_putf(&names, "%s ", s->name);
    }
    if (rc == 0)
        rc = catalog_audit(tx, str_of(ch->call->actor), STR_NONE, "settings.update", STR_NONE,
                           str_trim(buf_str(&names)), reterr);
    buf_release(&names);
    return rc;
}

struct settings_news {
    struct loop_msg msg;
    struct api *api;
};

static void tell_control(struct loop_msg *m)
{
    struct settings_news *n = container_of(m, struct settings_news, msg);

    if (n->api->cfg.on_settings)
        n->api->cfg.on_settings(n->api->cfg.ctx);
    xfree(n);
}

static void patch_done(struct api_change *ch)
{
    struct patch *p = container_of(ch, struct patch, change);
    struct api_call *c = ch->call;
    struct settings_news *news = xcalloc(1, sizeof(*news));
    bool credentials = false;
    struct api_reply r;

    for (size_t i = 0; i < SETTING_COUNT; i++)
        credentials |= p->given[i] && settings[i].option &&
                       (strcmp(settings[i].option, "admin_token") == 0 ||
                        settings[i].type == SETTING_PASSWORD);
    auth_refresh(c->api->auth, c->snapshot);
    if (credentials)
        auth_end_other_sessions(c->api->auth, c->by_cookie ? c->session_hash : NULL);
    live_publish(c->api->live, "auth_changed",
                 STR("{\"message\":\"authentication settings changed\"}"), false);
    news->api = c->api;
    loop_post(c->api->cfg.control, &news->msg, tell_control);
    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_kbool(&r.json, "ok", true);
    json_out_key(&r.json, "item");
    write_settings(c, &r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

static void hash_work(struct loop_work *w)
{
    struct patch *p = container_of(w, struct patch, work);

    p->rc = secret_pwhash(p->text[PASSWORD_AT], p->pwhash, &p->err);
}

static void hash_done(struct loop_work *w)
{
    struct patch *p = container_of(w, struct patch, work);

    if (p->rc < 0)
        api_fail(p->call, &p->err);
    else
        api_change(p->call, &p->change);
}

static void patch_settings(struct api_call *c)
{
    struct patch *p = arena_zalloc(http_arena(c->x), sizeof(*p));

    assert(settings[PASSWORD_AT].type == SETTING_PASSWORD);
    p->call = c;
    p->change.run = patch_run;
    p->change.done = patch_done;
    read_patch(p);
    if (p->rc < 0)
        api_fail(c, &p->err);
    else if (p->given[PASSWORD_AT])
        loop_work(http_loop(c->x), &p->work, hash_work, hash_done);
    else
        api_change(c, &p->change);
}

/* ---- all options ---- */

static const char *type_name(enum option_type t)
{
    switch (t) {
    case OPTION_BOOL:
        return "boolean";
    case OPTION_INT:
        return "integer";
    case OPTION_SIZE:
        return "size";
    case OPTION_DURATION_MS:
        return "duration";
    case OPTION_TEXT:
        return "text";
    case OPTION_SECRET:
        return "secret";
    case OPTION_LIST:
        return "list";
    }
    return "";
}

static void write_value(struct api_call *c, struct json_out *j, const struct option_row *row)
{
    char shown[SECRET_MASK_SIZE];

    if (row->type == OPTION_SECRET) {
        auth_secret_shown(c->api->auth, row->name, shown); /* stored ones too */
        if (shown[0] == '\0')
            secret_mask(option_text(c->api->cfg.options, row->name), shown);
        json_out_cstr(j, shown);
    } else if (row->type == OPTION_LIST) {
        struct str item;

        json_out_array(j);
        for (size_t i = 0; (item = option_item(c->api->cfg.options, row->name, i)).ptr; i++)
            json_out_str(j, item);
        json_out_end(j);
    } else {
        json_out_str(j, settings_value(c->api->cfg.options, c->snapshot, row->name));
    }
}

static void get_options(struct api_call *c)
{
    const struct option_set *o = c->api->cfg.options;
    struct api_reply r;

    api_reply_init(&r, c);
    json_out_object(&r.json);
    json_out_key(&r.json, "items");
    json_out_array(&r.json);
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        bool is_stored = (row->flags & OPTION_PAGE) && catalog_setting(c->snapshot, row->name).ptr;
        char origin[128];

        if (row->flags & OPTION_COMMAND)
            continue;
        json_out_object(&r.json);
        json_out_kcstr(&r.json, "name", row->name);
        json_out_kcstr(&r.json, "type", type_name(row->type));
        json_out_key(&r.json, "value");
        write_value(c, &r.json, row);
        json_out_kcstr(&r.json, "default", row->type == OPTION_SECRET ? "" : row->deflt);
        json_out_kcstr(&r.json, "origin",
                       is_stored ? "stored setting"
                                 : option_origin_text(o, row->name, origin, sizeof(origin)));
        json_out_kcstr(&r.json, "unit", row->unit);
        json_out_kbool(&r.json, "reloadable", row->flags & OPTION_RELOADABLE);
        json_out_kbool(&r.json, "page", row->flags & OPTION_PAGE);
        json_out_kcstr(&r.json, "help", row->help);
        json_out_end(&r.json);
    }
    json_out_end(&r.json);
    json_out_end(&r.json);
    api_reply_send(&r, 200);
}

// clang-format off
#define T "settings"
#define ITEM "{\"type\":\"object\",\"properties\":{\"api_monitor_token_admin\":{\"type\":\"string\"},\"api_monitor_token_visitor\":{\"type\":\"string\"},\"visitor_mode_enabled\":{\"type\":\"boolean\"},\"proxy_master_token\":{\"type\":\"string\"},\"log_cleanup_enabled\":{\"type\":\"boolean\"},\"log_max_size_mb\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":102400},\"liquid_glass_enabled\":{\"type\":\"boolean\"},\"admin_panel_password\":{\"type\":\"string\"}}}"
const struct route api_settings_routes[] = {
    {HTTP_GET_, "/api/admin/settings", ROUTE_ADMIN, 0, get_settings, T, "Runtime settings; secrets as \"\" or **** and the last four characters", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"item\":" ITEM "}}", "401 admin login required; 403"},
    {HTTP_PATCH_, "/api/admin/settings", ROUTE_ADMIN, ROUTE_BODY, patch_settings, T, "Change any subset of the settings, all or nothing", NULL, ITEM,
     "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"},\"item\":" ITEM "}}",
     "400 field and reason; 409 set by environment or flag"},
    {HTTP_GET_, "/api/admin/options", ROUTE_ADMIN, 0, get_options, T, "Every option: value in force, default, what set it, help", NULL, NULL,
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}", "401; 403"},
};
const size_t api_settings_route_count = ARRAY_LEN(api_settings_routes);
// clang-format on
