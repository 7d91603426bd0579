/* catalog_write.c -- changes inside a transaction: each writes its rows and keeps the draft of the
 * next snapshot in step, so nothing is read back after COMMIT. A statement that failed left its
 * rows and the draft alone; the caller may go on (a paste of many lines) or return the failure.
 * Channels are in catalog_channel.c. */
#include "catalog/catalog_private.h"

#include "base/clock.h"

/* ---- drafts ---- */

void catalog_write_begin(struct catalog_tx *tx, struct catalog *c, struct store_conn *conn)
{
    *tx = (struct catalog_tx){
        .catalog = c, .conn = conn, .base = catalog_latest(c), .now = clock_utc_ms()};
}

void catalog_write_draft_channels(struct catalog_tx *tx, size_t room)
{
    if (!tx->has_channels) {
        tx->has_channels = true;
        tx->channel_count = tx->base->channel_count;
        tx->channel_cap = tx->channel_count + room;
        tx->channels = xcalloc(tx->channel_cap + 1, sizeof(const struct channel *));
        for (size_t i = 0; i < tx->channel_count; i++)
            tx->channels[i] = channel_ref(tx->base->channels[i]);
    } else if (tx->channel_count + room > tx->channel_cap) {
        tx->channel_cap = 2 * tx->channel_cap + room;
        tx->channels = xrealloc(tx->channels, tx->channel_cap * sizeof(const struct channel *));
    }
}

static void draft_keys(struct catalog_tx *tx, size_t room)
{
    if (!tx->has_keys) {
        tx->has_keys = true;
        tx->key_count = tx->base->key_count;
        tx->key_cap = tx->key_count + room;
        tx->keys = xcalloc(tx->key_cap + 1, sizeof(const struct proxy_key *));
        for (size_t i = 0; i < tx->key_count; i++)
            tx->keys[i] = proxy_key_ref(tx->base->keys[i]);
    } else if (tx->key_count + room > tx->key_cap) {
        tx->key_cap = 2 * tx->key_cap + room;
        tx->keys = xrealloc(tx->keys, tx->key_cap * sizeof(const struct proxy_key *));
    }
}

/* Settings are few: copied whole, always with room for one more. */
static void draft_settings(struct catalog_tx *tx)
{
    const struct setting_set *base = tx->base->parts->settings;

    if (tx->has_settings) {
        tx->settings = xrealloc(tx->settings, (tx->setting_count + 1) * sizeof(*tx->settings));
        return;
    }
    tx->has_settings = true;
    tx->setting_count = base->count;
    tx->settings = xcalloc(base->count + 1, sizeof(*tx->settings));
    for (size_t i = 0; i < base->count; i++)
        tx->settings[i] =
            (struct setting_row){.key = xstrdup(base->items[i].key),
                                 .value = secret_dup(secret_str(&base->items[i].value)),
                                 .is_secret = base->items[i].is_secret};
}

struct catalog_snapshot *catalog_write_snapshot(struct catalog_tx *tx)
{
    struct catalog_parts *base = tx->base->parts;

    if (!tx->has_channels && !tx->has_keys && !tx->has_settings)
        return NULL;

    struct channel_set *channels = tx->has_channels
                                       ? catalog_set_channels(tx->channels, tx->channel_count)
                                       : catalog_set_channels_ref(base->channels);
    struct key_set *keys =
        tx->has_keys ? catalog_set_keys(tx->keys, tx->key_count) : catalog_set_keys_ref(base->keys);
    struct setting_set *settings = tx->has_settings
                                       ? catalog_set_settings(tx->settings, tx->setting_count)
                                       : catalog_set_settings_ref(base->settings);

    tx->has_channels = tx->has_keys = tx->has_settings = false; /* the sets own them now */
    return catalog_set_snapshot(tx->base->generation + 1, channels, keys, settings);
}

void catalog_write_end(struct catalog_tx *tx)
{
    for (size_t i = 0; tx->has_channels && i < tx->channel_count; i++)
        channel_free(tx->channels[i]);
    for (size_t i = 0; tx->has_keys && i < tx->key_count; i++)
        proxy_key_free(tx->keys[i]);
    if (tx->has_channels)
        xfree(tx->channels);
    if (tx->has_keys)
        xfree(tx->keys);
    if (tx->has_settings)
        catalog_set_settings_free(tx->settings, tx->setting_count);
    tx->has_channels = tx->has_keys = tx->has_settings = false;
    catalog_unref(tx->base);
}

struct store_conn *catalog_tx_conn(struct catalog_tx *tx)
{
    return tx->conn;
}

utc_ms catalog_tx_utc(const struct catalog_tx *tx)
{
    return tx->now;
}

/* ---- the state as the transaction sees it ---- */

/* Place in the draft, or (size_t)-1. Linear: drafts are short-lived and lists of some thousand. */
size_t catalog_write_place(const struct catalog_tx *tx, int64_t id)
{
    for (size_t i = 0; i < tx->channel_count; i++)
        if (tx->channels[i]->id == id)
            return i;
    return (size_t)-1;
}

const struct channel *catalog_write_channel(const struct catalog_tx *tx, int64_t id)
{
    if (!tx->has_channels)
        return catalog_channel(tx->base, id);

    size_t at = catalog_write_place(tx, id);

    return at == (size_t)-1 ? NULL : tx->channels[at];
}

const struct channel *catalog_write_channel_named(const struct catalog_tx *tx, struct str name)
{
    if (!tx->has_channels)
        return catalog_channel_by_name(tx->base, name);
    for (size_t i = 0; i < tx->channel_count; i++)
        if (str_eq_c(name, tx->channels[i]->name))
            return tx->channels[i];
    return NULL;
}

static const struct proxy_key *const *all_keys(const struct catalog_tx *tx, size_t *ret_count)
{
    *ret_count = tx->has_keys ? tx->key_count : tx->base->key_count;
    return tx->has_keys ? tx->keys : tx->base->keys;
}

const struct proxy_key *catalog_write_key(const struct catalog_tx *tx, int64_t id)
{
    size_t count;
    const struct proxy_key *const *keys = all_keys(tx, &count);

    for (size_t i = 0; i < count; i++)
        if (keys[i]->id == id)
            return keys[i];
    return NULL;
}

const struct setting_row *catalog_write_setting(const struct catalog_tx *tx, struct str key)
{
    if (!tx->has_settings)
        return catalog_set_setting(tx->base->parts->settings, key);
    for (size_t i = 0; i < tx->setting_count; i++)
        if (str_eq_c(key, tx->settings[i].key))
            return &tx->settings[i];
    return NULL;
}

/* ---- keys ---- */

#define KEY_INSERT_SQL                                                                             \
    "INSERT INTO proxy_keys (name, key_hash, key_prefix, allowed_channels, allowed_models, "       \
    "description, enabled, created_utc_ms, revoked_utc_ms, last_used_utc_ms, "                     \
    "last_used_channel_id, id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"

static void bind_positive(struct store_stmt *st, int i, int64_t v)
{
    if (v > 0)
        store_bind_i64(st, i, v); /* else it stays NULL */
}

static int run_key(struct catalog_tx *tx, const struct proxy_key *k, struct err *reterr)
{
    struct buf ids = BUF_INIT(1u << 20), models = BUF_INIT(64u << 20);
    struct store_stmt *st;
    struct json_out j;
    int rc = store_prepare(tx->conn, KEY_INSERT_SQL, &st, reterr);

    if (rc < 0)
        return rc;
    json_out_init(&j, &ids);
    proxy_key_ids_write(k, &j);
    json_out_init(&j, &models);
    proxy_key_models_write(k, &j);
    store_bind_str(st, 1, str_of(k->name));
    store_bind_blob(st, 2, k->hash, sizeof(k->hash));
    store_bind_str(st, 3, str_of(k->prefix));
    store_bind_str(st, 4, buf_str(&ids));
    store_bind_str(st, 5, buf_str(&models));
    store_bind_str(st, 6, str_of(k->description));
    store_bind_i64(st, 7, k->enabled);
    store_bind_i64(st, 8, k->created_utc_ms);
    bind_positive(st, 9, k->revoked_utc_ms);
    bind_positive(st, 10, k->last_used_utc_ms);
    bind_positive(st, 11, k->last_used_channel_id);
    bind_positive(st, 12, k->id);
    rc = store_run(st, reterr);
    buf_release(&ids);
    buf_release(&models);
    return rc;
}

int catalog_write_key_put(struct catalog_tx *tx, const struct proxy_key *k, int64_t *ret_id,
                          struct err *reterr)
{
    CLEANUP(proxy_key_freep) struct proxy_key *copy = proxy_key_dup(k);
    int rc;

    if (copy->created_utc_ms == 0)
        copy->created_utc_ms = tx->now;
    rc = run_key(tx, copy, reterr);
    if (rc < 0)
        return rc;
    copy->id = store_last_id(tx->conn);
    draft_keys(tx, 1);
    if (ret_id)
        *ret_id = copy->id;
    tx->keys[tx->key_count++] = TAKE(copy);
    return 0;
}

static bool allows_channel(const struct proxy_key *k, int64_t id)
{
    for (size_t i = 0; k && i < k->allowed_channel_count; i++)
        if (k->allowed_channels[i] == id)
            return true;
    return false;
}

/* Those that `before` (or NULL) had may have been deleted since. */
static int check_channels(const struct catalog_tx *tx, const struct proxy_key *k,
                          const struct proxy_key *before, struct err *reterr)
{
    for (size_t i = 0; i < k->allowed_channel_count; i++)
        if (!catalog_write_channel(tx, k->allowed_channels[i]) &&
            !allows_channel(before, k->allowed_channels[i]))
            return err_set_field(reterr, ERR_RANGE, "allowed_target_ids",
                                 "target id %lld not found", (long long)k->allowed_channels[i]);
    return 0;
}

int catalog_key_insert(struct catalog_tx *tx, const struct proxy_key *k, int64_t *ret_id,
                       struct err *reterr)
{
    int rc = check_channels(tx, k, NULL, reterr);

    return rc < 0 ? rc : catalog_write_key_put(tx, k, ret_id, reterr);
}

/* The draft's key `k->id` becomes a copy of k. */
static void replace_key(struct catalog_tx *tx, const struct proxy_key *k)
{
    draft_keys(tx, 0);
    for (size_t i = 0; i < tx->key_count; i++) {
        if (tx->keys[i]->id == k->id) {
            proxy_key_free(tx->keys[i]);
            tx->keys[i] = proxy_key_dup(k);
        }
    }
}

int catalog_key_load(struct catalog_tx *tx, int64_t id, struct proxy_key **ret, struct err *reterr)
{
    const struct proxy_key *k = catalog_write_key(tx, id);

    if (!k || k->revoked_utc_ms > 0)
        return err_set(reterr, ERR_NOTFOUND, "proxy key not found or already revoked");
    *ret = proxy_key_dup(k);
    return 0;
}

int catalog_key_update(struct catalog_tx *tx, const struct proxy_key *k, struct err *reterr)
{
    struct buf ids = BUF_INIT(1u << 20), models = BUF_INIT(64u << 20);
    CLEANUP(proxy_key_freep) struct proxy_key *before = NULL;
    struct store_stmt *st;
    struct json_out j;
    int rc = catalog_key_load(tx, k->id, &before, reterr);

    if (rc == 0)
        rc = check_channels(tx, k, before, reterr);
    if (rc == 0)
        rc = store_prepare(tx->conn,
                           "UPDATE proxy_keys SET name = ?, description = ?, allowed_channels = ?, "
                           "allowed_models = ?, enabled = ? WHERE id = ?",
                           &st, reterr);
    if (rc < 0)
        return rc;
    json_out_init(&j, &ids);
    proxy_key_ids_write(k, &j);
    json_out_init(&j, &models);
    proxy_key_models_write(k, &j);
    store_bind_str(st, 1, str_of(k->name));
    store_bind_str(st, 2, str_of(k->description));
    store_bind_str(st, 3, buf_str(&ids));
    store_bind_str(st, 4, buf_str(&models));
    store_bind_i64(st, 5, k->enabled);
    store_bind_i64(st, 6, k->id);
    rc = store_run(st, reterr);
    buf_release(&ids);
    buf_release(&models);
    if (rc == 0)
        replace_key(tx, k);
    return rc;
}

int catalog_key_revoke(struct catalog_tx *tx, int64_t id, utc_ms now, struct err *reterr)
{
    CLEANUP(proxy_key_freep) struct proxy_key *k = NULL;
    struct store_stmt *st;
    int rc = catalog_key_load(tx, id, &k, reterr);

    if (rc < 0)
        return rc;
    rc = store_prepare(tx->conn,
                       "UPDATE proxy_keys SET enabled = 0, revoked_utc_ms = ? WHERE id = ?", &st,
                       reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, now);
    store_bind_i64(st, 2, id);
    rc = store_run(st, reterr);
    if (rc < 0)
        return rc;
    k->enabled = false;
    k->revoked_utc_ms = now;
    replace_key(tx, k);
    return 0;
}

/* ---- settings and audit ---- */

static void draft_setting(struct catalog_tx *tx, const char *key, struct str value, bool is_secret)
{
    struct setting_row *row = NULL;

    draft_settings(tx);
    for (size_t i = 0; i < tx->setting_count && !row; i++)
        if (strcmp(tx->settings[i].key, key) == 0)
            row = &tx->settings[i];
    if (!row) {
        row = &tx->settings[tx->setting_count++];
        *row = (struct setting_row){.key = xstrdup(key)};
    }

    struct secret old = row->value; /* `value` may point into it */

    row->value = secret_dup(value);
    row->is_secret = is_secret;
    secret_release(&old);
}

int catalog_setting_set(struct catalog_tx *tx, const char *key, struct str value, bool is_secret,
                        struct err *reterr)
{
    uint8_t *sealed = NULL;
    size_t len = 0;
    struct store_stmt *st;
    int rc =
        store_prepare(tx->conn,
                      "INSERT INTO settings (key, value, is_secret, updated_utc_ms) "
                      "VALUES (?,?,?,?) ON CONFLICT(key) DO UPDATE SET value = excluded.value, "
                      "is_secret = excluded.is_secret, updated_utc_ms = excluded.updated_utc_ms",
                      &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_str(st, 1, str_of(key));
    if (is_secret) {
        sealed = catalog_seal_text(tx->catalog, value, &len);
        store_bind_blob(st, 2, sealed, len);
    } else {
        store_bind_str(st, 2, value.ptr ? value : STR(""));
    }
    store_bind_i64(st, 3, is_secret);
    store_bind_i64(st, 4, tx->now);
    rc = store_run(st, reterr);
    xfree(sealed);
    if (rc == 0)
        draft_setting(tx, key, value, is_secret);
    return rc;
}

int catalog_setting_delete(struct catalog_tx *tx, const char *key, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(tx->conn, "DELETE FROM settings WHERE key = ?", &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_str(st, 1, str_of(key));
    rc = store_run(st, reterr);
    if (rc < 0 || !catalog_write_setting(tx, str_of(key)))
        return rc;
    draft_settings(tx);
    for (size_t i = 0; i < tx->setting_count; i++) {
        if (strcmp(tx->settings[i].key, key) != 0)
            continue;
        xfree(tx->settings[i].key);
        secret_release(&tx->settings[i].value);
        tx->settings[i] = tx->settings[--tx->setting_count];
        break;
    }
    return 0;
}

int catalog_audit(struct catalog_tx *tx, struct str actor, struct str peer, const char *action,
                  struct str subject, struct str detail, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(tx->conn,
                           "INSERT INTO audit (at_utc_ms, actor, peer, action, subject, detail) "
                           "VALUES (?,?,?,?,?,?)",
                           &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, tx->now);
    store_bind_str(st, 2, actor.ptr ? actor : STR(""));
    store_bind_str(st, 3, peer.ptr ? peer : STR(""));
    store_bind_str(st, 4, str_of(action));
    store_bind_str(st, 5, subject.ptr ? subject : STR(""));
    store_bind_str(st, 6, detail.ptr ? detail : STR(""));
    return store_run(st, reterr);
}
