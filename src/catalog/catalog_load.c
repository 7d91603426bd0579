/* catalog_load.c -- reads all rows into the first snapshot. Lists that cannot be read are taken as
 * empty with a warning, as system 1 does; a key of clients whose permissions cannot be read is
 * taken as disabled, because empty would mean everything. */
#include "catalog/catalog_private.h"

#include "base/clock.h"
#include "base/log.h"

struct list_of { /* a growing array of pointers */
    const void **items;
    size_t count, cap;
};

static void append(struct list_of *l, const void *p)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
    }
    l->items[l->count++] = p;
}

static void set_text(char **to, struct str s)
{
    xfree(*to);
    *to = str_dup(s);
}

static char *text_or_null(struct store_stmt *st, int i)
{
    return store_col_is_null(st, i) ? NULL : str_dup(store_col_str(st, i));
}

/* ---- channels ---- */

#define CHANNEL_SQL                                                                                \
    "SELECT id, name, base_url, api_key, api_keys, enabled, interval_min, timeout_s, verify_ssl, " \
    "prompt, anthropic_version, max_models, source_url, sort_order, "                              \
    "visitor_channel_actions_enabled, selected_models, route_overrides, skip_unprobeable, "        \
    "lenient, stream_probe, user_agent, proxy_url, public, tags, first_byte_timeout_s, "           \
    "idle_timeout_s, created_utc_ms, updated_utc_ms, by_visitor FROM channels"

static int load_keys_of(struct catalog *c, struct store_stmt *st, struct channel *ch,
                        struct err *reterr)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct secret json = {NULL, 0};
    char what[64];
    int rc;

    snprintf(what, sizeof(what), "the key of channel %lld", (long long)ch->id);
    rc = catalog_seal_open(c, store_col_blob(st, 3), what, &ch->api_key, reterr);
    if (rc < 0 || store_col_is_null(st, 4))
        return rc;
    rc = catalog_seal_open(c, store_col_blob(st, 4), what, &json, reterr);
    if (rc < 0)
        return rc;
    rc = json_doc_parse(secret_str(&json), 0, &doc, NULL);
    secret_release(&json);

    size_t n = rc == 0 ? json_array_size(doc) : 0;

    ch->api_keys = n > 0 ? xcalloc(n, sizeof(*ch->api_keys)) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct str s = json_doc_str(json_array_get(doc, i));

        if (s.len > 0)
            ch->api_keys[ch->api_key_count++] = secret_dup(s);
    }
    return 0;
}

static void load_lists(struct store_stmt *st, struct channel *ch)
{
    const char *bad = NULL;

    if (!channel_texts_read(&ch->selected_models, store_col_str(st, 15)))
        bad = "selected_models";
    if (!channel_routes_read(ch, store_col_str(st, 16)))
        bad = "route_overrides";
    if (!channel_texts_read(&ch->tags, store_col_str(st, 23)))
        bad = "tags";
    if (bad)
        log_warn("catalog", "unreadable list taken as empty channel=%lld field=%s",
                 (long long)ch->id, bad);
}

static int load_channel(struct catalog *c, struct store_stmt *st, struct channel *ch,
                        struct err *reterr)
{
    ch->id = store_col_i64(st, 0);
    set_text(&ch->name, store_col_str(st, 1));
    set_text(&ch->base_url, store_col_str(st, 2));
    ch->enabled = store_col_i64(st, 5) != 0;
    /* written by us within the bounds of the table */
    ch->interval_min = (int32_t)store_col_i64(st, 6);
    ch->timeout_s = store_col_double(st, 7);
    ch->verify_ssl = store_col_i64(st, 8) != 0;
    set_text(&ch->prompt, store_col_str(st, 9));
    set_text(&ch->anthropic_version, store_col_str(st, 10));
    ch->max_models = (int32_t)store_col_i64(st, 11); /* as above, and sort_order too */
    ch->source_url = text_or_null(st, 12);
    ch->sort_order = (int32_t)store_col_i64(st, 13);
    ch->visitor_channel_actions_enabled = store_col_i64(st, 14) != 0;
    load_lists(st, ch);
    ch->skip_unprobeable = store_col_i64(st, 17) != 0;
    ch->lenient = store_col_i64(st, 18) != 0;
    ch->stream_probe = store_col_i64(st, 19) != 0;
    ch->user_agent = text_or_null(st, 20);
    ch->proxy_url = text_or_null(st, 21);
    ch->public = store_col_i64(st, 22) != 0;
    ch->first_byte_timeout_s = store_col_double(st, 24);
    ch->idle_timeout_s = store_col_double(st, 25);
    ch->created_utc_ms = store_col_i64(st, 26);
    ch->updated_utc_ms = store_col_i64(st, 27);
    ch->by_visitor = store_col_i64(st, 28) != 0;
    return load_keys_of(c, st, ch, reterr);
}

static int load_channels(struct catalog *c, struct store_conn *conn, struct channel_set **ret,
                         struct err *reterr)
{
    struct list_of list = {NULL, 0, 0};
    struct store_stmt *st;
    int rc = store_prepare(conn, CHANNEL_SQL, &st, reterr);

    if (rc < 0)
        return rc;
    while ((rc = store_step(st, reterr)) == 1) {
        struct channel *ch = channel_new();

        append(&list, ch);
        rc = load_channel(c, st, ch, reterr);
        if (rc < 0)
            break;
    }
    store_reset(st);
    if (rc < 0) {
        for (size_t i = 0; i < list.count; i++)
            channel_free(list.items[i]);
        xfree(list.items);
        return rc;
    }
    *ret = catalog_set_channels((const struct channel **)list.items, list.count);
    return 0;
}

/* ---- keys ---- */

#define KEY_SQL                                                                                    \
    "SELECT id, name, key_hash, key_prefix, allowed_channels, allowed_models, description, "       \
    "enabled, created_utc_ms, revoked_utc_ms, last_used_utc_ms, last_used_channel_id "             \
    "FROM proxy_keys"

static void load_key(struct store_stmt *st, struct proxy_key *k)
{
    struct str hash = store_col_blob(st, 2);
    bool is_whole = hash.len == sizeof(k->hash);

    k->id = store_col_i64(st, 0);
    set_text(&k->name, store_col_str(st, 1));
    if (is_whole)
        memcpy(k->hash, hash.ptr, sizeof(k->hash));
    str_copy(k->prefix, sizeof(k->prefix), store_col_str(st, 3));
    is_whole = proxy_key_ids_read(k, store_col_str(st, 4)) && is_whole;
    is_whole = proxy_key_models_read(k, store_col_str(st, 5)) && is_whole;
    set_text(&k->description, store_col_str(st, 6));
    k->enabled = store_col_i64(st, 7) != 0 && is_whole;
    k->created_utc_ms = store_col_i64(st, 8);
    k->revoked_utc_ms = store_col_i64(st, 9); /* NULL reads as 0 = never */
    k->last_used_utc_ms = store_col_i64(st, 10);
    k->last_used_channel_id = store_col_i64(st, 11);
    if (!is_whole)
        log_warn("catalog", "unreadable permissions, taken as disabled key=%lld", (long long)k->id);
}

static int load_keys(struct store_conn *conn, struct key_set **ret, struct err *reterr)
{
    struct list_of list = {NULL, 0, 0};
    struct store_stmt *st;
    int rc = store_prepare(conn, KEY_SQL, &st, reterr);

    if (rc < 0)
        return rc;
    while ((rc = store_step(st, reterr)) == 1) {
        struct proxy_key *k = proxy_key_new();

        load_key(st, k);
        append(&list, k);
    }
    store_reset(st);
    if (rc < 0) {
        for (size_t i = 0; i < list.count; i++)
            proxy_key_free(list.items[i]);
        xfree(list.items);
        return rc;
    }
    *ret = catalog_set_keys((const struct proxy_key **)list.items, list.count);
    return 0;
}

/* ---- settings ---- */

static int load_setting(struct catalog *c, struct store_stmt *st, struct setting_row *row,
                        struct err *reterr)
{
    char what[96];

    *row = (struct setting_row){.key = str_dup(store_col_str(st, 0)),
                                .is_secret = store_col_i64(st, 2) != 0};
    if (!row->is_secret) {
        row->value = secret_dup(store_col_str(st, 1));
        return 0;
    }
    snprintf(what, sizeof(what), "setting %.64s", row->key);
    return catalog_seal_open(c, store_col_blob(st, 1), what, &row->value, reterr);
}

static int load_settings(struct catalog *c, struct store_conn *conn, struct setting_set **ret,
                         struct err *reterr)
{
    struct setting_row *rows = NULL;
    size_t count = 0, cap = 0;
    struct store_stmt *st;
    int rc = store_prepare(conn, "SELECT key, value, is_secret FROM settings", &st, reterr);

    if (rc < 0)
        return rc;
    while ((rc = store_step(st, reterr)) == 1) {
        if (count == cap) {
            cap = cap ? 2 * cap : 32;
            rows = xrealloc(rows, cap * sizeof(*rows));
        }
        rc = load_setting(c, st, &rows[count++], reterr);
        if (rc < 0)
            break;
    }
    store_reset(st);
    if (rc < 0) {
        catalog_set_settings_free(rows, count);
        return rc;
    }
    *ret = catalog_set_settings(rows, count);
    return 0;
}

int catalog_load(struct catalog *c, struct store_conn *conn, struct catalog_snapshot **ret,
                 struct err *reterr)
{
    struct channel_set *channels = NULL;
    struct key_set *keys = NULL;
    struct setting_set *settings = NULL;
    int rc = load_channels(c, conn, &channels, reterr);

    if (rc == 0)
        rc = load_keys(conn, &keys, reterr);
    if (rc == 0)
        rc = load_settings(c, conn, &settings, reterr);
    /* what is missing after a failure is put in empty, so that one unref undoes all */
    struct catalog_snapshot *s =
        catalog_set_snapshot(1, channels ? channels : catalog_set_channels(NULL, 0),
                             keys ? keys : catalog_set_keys(NULL, 0),
                             settings ? settings : catalog_set_settings(NULL, 0));

    if (rc < 0) {
        catalog_unref(s);
        return rc;
    }
    *ret = s;
    return 0;
}
