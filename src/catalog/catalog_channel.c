/* catalog_channel.c -- changes of channels inside a transaction; see catalog_write.c. */
#include "catalog/catalog_private.h"

#include "base/map.h"

#define SORT_ORDER_MAX 1000000 /* bound of the field */

/* What a row of channels is bound from; its texts must live until the statement is reset. */
struct channel_row {
    uint8_t *key, *keys; /* sealed */
    size_t key_len, keys_len;
    struct buf selected, routes, tags;
};

static void row_init(struct channel_row *r, const struct catalog *c, const struct channel *ch)
{
    struct buf *lists[] = {&r->selected, &r->routes, &r->tags};
    struct json_out j;

    *r = (struct channel_row){0};
    r->key = catalog_seal_text(c, secret_str(&ch->api_key), &r->key_len);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        buf_init(lists[i], 64u << 20); /* the table's bounds keep them below */
    json_out_init(&j, &r->selected);
    channel_texts_write(&ch->selected_models, &j);
    json_out_init(&j, &r->routes);
    channel_routes_write(ch, &j);
    json_out_init(&j, &r->tags);
    channel_texts_write(&ch->tags, &j);
    if (ch->api_key_count == 0)
        return;

    struct buf keys = BUF_INIT(1u << 20);
    size_t room = 2;

    for (size_t i = 0; i < ch->api_key_count; i++)
        room += 6 * ch->api_keys[i].len + 3; /* every byte escaped: no growth, no unwiped copy */
    if (buf_reserve(&keys, room) == 0) {
        json_out_init(&j, &keys);
        json_out_array(&j);
        for (size_t i = 0; i < ch->api_key_count; i++)
            json_out_str(&j, secret_str(&ch->api_keys[i]));
        json_out_end(&j);
        r->keys = catalog_seal_text(c, buf_str(&keys), &r->keys_len);
    }
    buf_secure_release(&keys);
}

static void row_release(struct channel_row *r)
{
    xfree(r->key);
    xfree(r->keys);
    buf_release(&r->selected);
    buf_release(&r->routes);
    buf_release(&r->tags);
}

static struct str or_null(const char *s)
{
    return s ? str_of(s) : STR_NONE;
}

#define CHANNEL_INSERT_SQL                                                                         \
    "INSERT INTO channels (name, base_url, api_key, api_keys, enabled, interval_min, timeout_s, "  \
    "verify_ssl, prompt, anthropic_version, max_models, source_url, sort_order, "                  \
    "visitor_channel_actions_enabled, selected_models, route_overrides, skip_unprobeable, "        \
    "lenient, stream_probe, user_agent, proxy_url, public, tags, first_byte_timeout_s, "           \
    "idle_timeout_s, by_visitor, created_utc_ms, updated_utc_ms, id) VALUES "                      \
    "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
#define CHANNEL_UPDATE_SQL                                                                         \
    "UPDATE channels SET name=?, base_url=?, api_key=?, api_keys=?, enabled=?, interval_min=?, "   \
    "timeout_s=?, verify_ssl=?, prompt=?, anthropic_version=?, max_models=?, source_url=?, "       \
    "sort_order=?, visitor_channel_actions_enabled=?, selected_models=?, route_overrides=?, "      \
    "skip_unprobeable=?, lenient=?, stream_probe=?, user_agent=?, proxy_url=?, public=?, tags=?, " \
    "first_byte_timeout_s=?, idle_timeout_s=?, by_visitor=?, created_utc_ms=?, "                   \
    "updated_utc_ms=? WHERE id=?"

static void bind_channel(struct store_stmt *st, const struct channel *ch,
                         const struct channel_row *r)
{
    int i = 0;

    store_bind_str(st, ++i, str_of(ch->name));
    store_bind_str(st, ++i, str_of(ch->base_url));
    store_bind_blob(st, ++i, r->key, r->key_len);
    ++i;
    if (r->keys)
        store_bind_blob(st, i, r->keys, r->keys_len);
    store_bind_i64(st, ++i, ch->enabled);
    store_bind_i64(st, ++i, ch->interval_min);
    store_bind_double(st, ++i, ch->timeout_s);
    store_bind_i64(st, ++i, ch->verify_ssl);
    store_bind_str(st, ++i, str_of(ch->prompt));
    store_bind_str(st, ++i, str_of(ch->anthropic_version));
    store_bind_i64(st, ++i, ch->max_models);
    store_bind_str(st, ++i, or_null(ch->source_url));
    store_bind_i64(st, ++i, ch->sort_order);
    store_bind_i64(st, ++i, ch->visitor_channel_actions_enabled);
    store_bind_str(st, ++i, buf_str(&r->selected));
    store_bind_str(st, ++i, buf_str(&r->routes));
    store_bind_i64(st, ++i, ch->skip_unprobeable);
    store_bind_i64(st, ++i, ch->lenient);
    store_bind_i64(st, ++i, ch->stream_probe);
    store_bind_str(st, ++i, or_null(ch->user_agent));
    store_bind_str(st, ++i, or_null(ch->proxy_url));
    store_bind_i64(st, ++i, ch->public);
    store_bind_str(st, ++i, buf_str(&r->tags));
    store_bind_double(st, ++i, ch->first_byte_timeout_s);
    store_bind_double(st, ++i, ch->idle_timeout_s);
    store_bind_i64(st, ++i, ch->by_visitor);
    store_bind_i64(st, ++i, ch->created_utc_ms);
    store_bind_i64(st, ++i, ch->updated_utc_ms);
    ++i;
    if (ch->id > 0)
        store_bind_i64(st, i, ch->id);
}

/* Clients of system 1 look for its table's name in the text. */
static int reword(int rc, struct err *reterr)
{
    if (rc == ERR_CONFLICT && reterr && strstr(reterr->text, "channels.name"))
        return err_set_field(reterr, rc, "name", "UNIQUE constraint failed: targets.name");
    return rc;
}

static int run_channel(struct catalog_tx *tx, struct store_stmt *st, const struct channel *ch,
                       struct err *reterr)
{
    struct channel_row r;
    int rc;

    row_init(&r, tx->catalog, ch);
    bind_channel(st, ch, &r);
    rc = store_run(st, reterr);
    row_release(&r);
    return rc;
}

static int32_t next_sort_order(const struct catalog_tx *tx)
{
    size_t count = tx->has_channels ? tx->channel_count : tx->base->channel_count;
    const struct channel *const *all = tx->has_channels ? tx->channels : tx->base->channels;
    int32_t max = 0;

    for (size_t i = 0; i < count; i++)
        max = MAX(max, all[i]->sort_order);
    return max < SORT_ORDER_MAX ? max + 1 : SORT_ORDER_MAX;
}

int catalog_channel_insert(struct catalog_tx *tx, const struct channel *ch, int64_t *ret_id,
                           struct err *reterr)
{
    CLEANUP(channel_freep) struct channel *copy = channel_dup(ch);
    struct store_stmt *st;
    struct err local = {0};
    int rc = store_prepare(tx->conn, CHANNEL_INSERT_SQL, &st, reterr);

    if (rc < 0)
        return rc;
    if (copy->sort_order <= 0)
        copy->sort_order = next_sort_order(tx);
    if (copy->created_utc_ms == 0)
        copy->created_utc_ms = tx->now;
    if (copy->updated_utc_ms == 0)
        copy->updated_utc_ms = copy->created_utc_ms;
    rc = reword(run_channel(tx, st, copy, reterr ? reterr : &local), reterr ? reterr : &local);
    if (rc < 0)
        return rc;
    copy->id = store_last_id(tx->conn);
    catalog_write_draft_channels(tx, 1);
    if (ret_id)
        *ret_id = copy->id;
    tx->channels[tx->channel_count++] = TAKE(copy);
    return 0;
}

static int no_channel(struct err *reterr)
{
    return err_set(reterr, ERR_NOTFOUND, "target not found");
}

int catalog_channel_update(struct catalog_tx *tx, const struct channel *ch, struct err *reterr)
{
    struct store_stmt *st;
    struct err local = {0};

    if (!catalog_write_channel(tx, ch->id))
        return no_channel(reterr);

    CLEANUP(channel_freep) struct channel *copy = channel_dup(ch);
    int rc = store_prepare(tx->conn, CHANNEL_UPDATE_SQL, &st, reterr);

    if (rc < 0)
        return rc;
    copy->updated_utc_ms = tx->now;
    rc = reword(run_channel(tx, st, copy, reterr ? reterr : &local), reterr ? reterr : &local);
    if (rc < 0)
        return rc;
    catalog_write_draft_channels(tx, 0);

    size_t at = catalog_write_place(tx, ch->id); /* found above */

    channel_free(tx->channels[at]);
    tx->channels[at] = TAKE(copy);
    return 0;
}

static int run_with_id(struct catalog_tx *tx, const char *sql, int64_t id, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(tx->conn, sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    return store_run(st, reterr);
}

int catalog_channel_delete(struct catalog_tx *tx, int64_t id, struct err *reterr)
{
    int rc;

    if (!catalog_write_channel(tx, id))
        return no_channel(reterr);
    /* results belong to channels or monitors, so no foreign key takes them along */
    rc = run_with_id(tx, "DELETE FROM probe_results WHERE item_kind = 0 AND item_id = ?", id,
                     reterr);
    if (rc == 0)
        rc = run_with_id(tx, "DELETE FROM channels WHERE id = ?", id, reterr);
    if (rc < 0)
        return rc;
    catalog_write_draft_channels(tx, 0);

    size_t at = catalog_write_place(tx, id); /* found above */

    channel_free(tx->channels[at]);
    tx->channels[at] = tx->channels[--tx->channel_count];
    return 0;
}

int catalog_channel_load(struct catalog_tx *tx, int64_t id, struct channel **ret,
                         struct err *reterr)
{
    const struct channel *ch = catalog_write_channel(tx, id);

    if (!ch)
        return no_channel(reterr);
    *ret = channel_dup(ch);
    return 0;
}

/* ---- order ---- */

static int check_order(const struct catalog_tx *tx, const int64_t *ids, size_t count,
                       struct err *reterr)
{
    const char *name = "target_ids";
    struct map_id *seen;
    int rc = 0;

    if (count == 0)
        return err_set_field(reterr, ERR_RANGE, name, "target_ids must not be empty");
    for (size_t i = 0; i < count; i++)
        if (ids[i] <= 0)
            return err_set_field(reterr, ERR_RANGE, name,
                                 "target_ids must contain positive integers");
    seen = map_id_new();
    for (size_t i = 0; i < count && rc == 0; i++)
        if (map_id_set(seen, (uint64_t)ids[i], seen)) /* positive; any pointer: a set */
            rc = err_set_field(reterr, ERR_RANGE, name, "target_ids must not contain duplicates");
    map_id_free(seen, NULL);
    if (rc == 0 && (tx->has_channels ? tx->channel_count : tx->base->channel_count) == 0)
        rc = err_set_field(reterr, ERR_RANGE, name, "no targets found");
    for (size_t i = 0; i < count && rc == 0; i++)
        if (!catalog_write_channel(tx, ids[i]))
            rc = err_set_field(reterr, ERR_RANGE, name, "target %lld not found", (long long)ids[i]);
    return rc;
}

static int move_channel(struct catalog_tx *tx, size_t at, int32_t sort_order, struct err *reterr)
{
    struct store_stmt *st;
    int rc;

    if (tx->channels[at]->sort_order == sort_order)
        return 0;
    rc = store_prepare(tx->conn, "UPDATE channels SET sort_order = ? WHERE id = ?", &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, sort_order);
    store_bind_i64(st, 2, tx->channels[at]->id);
    rc = store_run(st, reterr);
    if (rc < 0)
        return rc;

    struct channel *copy = channel_dup(tx->channels[at]);

    copy->sort_order = sort_order;
    channel_free(tx->channels[at]);
    tx->channels[at] = copy;
    return 0;
}

static int by_sort_order(const void *a, const void *b)
{
    const struct channel *x = *(const struct channel *const *)a;
    const struct channel *y = *(const struct channel *const *)b;

    if (x->sort_order != y->sort_order)
        return x->sort_order < y->sort_order ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

int catalog_channel_reorder(struct catalog_tx *tx, const int64_t *ids, size_t count,
                            struct err *reterr)
{
    int rc = check_order(tx, ids, count, reterr);

    if (rc < 0)
        return rc;
    catalog_write_draft_channels(tx, 0);
    qsort(tx->channels, tx->channel_count, sizeof(const struct channel *), by_sort_order);

    struct map_id *rank = map_id_new(); /* id -> where ids names it */
    int32_t next = 1;

    for (size_t i = 0; i < count; i++)
        map_id_set(rank, (uint64_t)ids[i], (void *)(uintptr_t)&ids[i]); /* positive; read only */
    for (size_t i = 0; i < tx->channel_count && rc == 0; i++) {
        const int64_t *named = map_id_get(rank, (uint64_t)tx->channels[i]->id); /* positive */
        /* counts of channels are far below 2^31 */
        int32_t order = named ? (int32_t)(named - ids) + 1 : (int32_t)count + next++;

        rc = move_channel(tx, i, order, reterr);
    }
    map_id_free(rank, NULL);
    return rc;
}
