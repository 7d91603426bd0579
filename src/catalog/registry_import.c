/* registry_import.c -- takes a registry.db over in one transaction: channels, keys of clients,
 * settings, then the history (registry_history.c), at last the sequences, so that an id the old
 * system gave away is never given again. Whatever is left out or changed on the way is counted or
 * noted; a dry run goes the same way and writes nothing. */
#include "catalog/registry_private.h"

#include "base/option.h"

#include <stdarg.h>

#define NOTES_MAX 200 /* lines; the rest is counted */

void registry_import_note(struct registry_job *im, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    if (++im->note_count > NOTES_MAX || !im->notes)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);

    struct str s = str_cut_utf8(str_of(line), sizeof(line) - 1);
    int rc = buf_printf(im->notes, "%.*s\n", STR_ARG(s));

    (void)rc; /* a full buffer ends the notes, not the import */
}

/* ---- channels ---- */

#define CHANNEL_COLUMNS                                                                            \
    "SELECT id, name, base_url, api_key, enabled, interval_min, timeout_s, verify_ssl, prompt, "   \
    "anthropic_version, max_models, created_at, updated_at, last_run_at, last_status, "            \
    "last_total, last_success, last_fail, last_log_file, last_error"

static void take_text(struct registry_job *im, struct store_stmt *from, int column, size_t max,
                      char **to)
{
    struct str s = registry_source_text(im->src, from, column, max);

    if (str_trim(s).len == 0)
        return; /* the default stays */
    xfree(*to);
    *to = str_dup(s);
}

static double clamp(double v, double min, double max)
{
    return v >= min ? MIN(v, max) : min; /* NaN becomes min */
}

static void read_numbers(struct registry_job *im, struct store_stmt *from, struct channel *ch)
{
    int64_t interval = store_col_i64(from, 5), models = store_col_i64(from, 10);
    double timeout = store_col_double(from, 6);

    ch->interval_min = (int32_t)registry_source_int(from, 5, 1, 1440); /* clamped */
    ch->timeout_s = clamp(timeout, 3, 300);
    ch->max_models = (int32_t)registry_source_int(from, 10, 0, 5000); /* clamped */
    if (interval != ch->interval_min || timeout < 3 || timeout > 300 || models != ch->max_models)
        registry_import_note(im,
                             "channel %lld: interval, timeout or model limit brought into bounds",
                             (long long)ch->id);
}

/* Columns that not every generation has: 20 source_url, 21 sort_order, 22 visitor, 23 selection. */
static void read_later(struct registry_job *im, struct store_stmt *from, int32_t rank,
                       struct channel *ch)
{
    struct str selected = registry_source_text(im->src, from, 23, REGISTRY_LIST_MAX);

    take_text(im, from, 20, REGISTRY_NAME_MAX, &ch->source_url);
    ch->sort_order = (int32_t)registry_source_int(from, 21, 0, 1000000); /* clamped */
    if (ch->sort_order == 0 && !im->is_filled)
        ch->sort_order = rank; /* as system 2's migration does; else it comes last */
    ch->visitor_channel_actions_enabled = store_col_i64(from, 22) != 0;
    if (selected.len > 0 && !channel_texts_read(&ch->selected_models, selected))
        registry_import_note(im, "channel %lld: selected_models is unreadable, taken as empty",
                             (long long)ch->id);
}

static void read_channel(struct registry_job *im, struct store_stmt *from, int32_t rank,
                         struct channel *ch)
{
    take_text(im, from, 1, REGISTRY_NAME_MAX, &ch->name);
    take_text(im, from, 2, REGISTRY_NAME_MAX, &ch->base_url);
    ch->api_key = secret_dup(str_trim(registry_source_text(im->src, from, 3, REGISTRY_TEXT_MAX)));
    ch->enabled = store_col_i64(from, 4) != 0;
    read_numbers(im, from, ch);
    ch->verify_ssl = store_col_i64(from, 7) != 0;
    take_text(im, from, 8, REGISTRY_TEXT_MAX, &ch->prompt);
    take_text(im, from, 9, REGISTRY_NAME_MAX, &ch->anthropic_version);
    ch->created_utc_ms = registry_source_ms(from, 11);
    ch->updated_utc_ms = registry_source_ms(from, 12);
    ch->lenient =
        false; /* the extra success rules are for new channels: verdicts stay comparable */
    read_later(im, from, rank, ch);
    if (strchr(ch->name, '/') || str_has_control(str_of(ch->name)))
        registry_import_note(im, "channel %lld: its name holds '/' or control characters, kept",
                             (long long)ch->id);
    if (ch->api_key.len == 0)
        registry_import_note(im, "channel %lld: it has no key", (long long)ch->id);
    if (ch->created_utc_ms == 0)
        registry_import_note(im, "channel %lld: no readable time of creation, now is taken",
                             (long long)ch->id);
}

static int insert_state(struct registry_job *im, struct store_stmt *from, int64_t id,
                        struct err *reterr)
{
    static const char *const known[] = {"healthy", "degraded", "down", "error", "no_models"};
    struct str status = registry_source_text(im->src, from, 14, 64);
    utc_ms at = registry_source_ms(from, 13);
    bool is_known = status.len == 0;
    struct store_stmt *st;
    int rc;

    if (at == 0)
        return 0; /* it never ran */
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        is_known = is_known || str_eq_c(status, known[i]);
    if (!is_known)
        registry_import_note(im, "channel %lld: unknown last status, left out", (long long)id);
    if (im->dry_run)
        return 0;
    rc = store_prepare(im->tx->conn,
                       "INSERT INTO channel_state (channel_id, last_run_utc_ms, last_status, "
                       "last_total, last_success, last_fail, last_log_file, last_error) "
                       "VALUES (?,?,?,?,?,?,?,?)",
                       &st, reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, id);
    store_bind_i64(st, 2, at);
    store_bind_str(st, 3, is_known && status.len > 0 ? status : STR_NONE);
    for (int i = 0; i < 3; i++)
        if (!store_col_is_null(from, 15 + i))
            store_bind_i64(st, 4 + i, registry_source_int(from, 15 + i, 0, 1000000000));
    store_bind_str(st, 7, registry_source_text(im->src, from, 18, REGISTRY_TEXT_MAX));
    store_bind_str(st, 8, registry_source_text(im->src, from, 19, REGISTRY_TEXT_MAX));
    return store_run(st, reterr);
}

/* Is the channel free to come in? Its id, and its name under any id, decide. */
static bool is_free(struct registry_job *im, const struct channel *ch)
{
    const struct channel *held = catalog_write_channel(im->tx, ch->id);

    if (held && strcmp(held->name, ch->name) == 0) {
        map_id_set(im->channels, (uint64_t)ch->id, im); /* its newer history may still come */
        return false;
    }
    if (held)
        registry_import_note(im, "channel %lld '%.100s': id taken here by '%.100s', left out",
                             (long long)ch->id, ch->name, held->name);
    else if (catalog_write_channel_named(im->tx, str_of(ch->name)))
        registry_import_note(im, "channel %lld '%.100s': name taken here, left out",
                             (long long)ch->id, ch->name);
    else
        return true;
    return false;
}

static int import_channel(struct registry_job *im, struct store_stmt *from, int32_t rank,
                          struct err *reterr)
{
    CLEANUP(channel_freep) struct channel *ch = channel_new();
    int rc = 0;

    if (!registry_source_id(from, 0, &ch->id)) {
        registry_import_note(im, "a channel without a usable id was left out");
        im->report->skipped++;
        return 0;
    }
    read_channel(im, from, rank, ch);
    if (!is_free(im, ch)) {
        im->report->skipped++;
        return 0;
    }
    if (!im->dry_run)
        rc = catalog_channel_insert(im->tx, ch, NULL, reterr);
    if (rc == 0)
        rc = insert_state(im, from, ch->id, reterr);
    if (rc < 0)
        return rc;
    im->report->channels++;
    map_id_set(im->channels, (uint64_t)ch->id, im); /* positive; any pointer: a set */
    return 0;
}

static int import_channels(struct registry_job *im, struct err *reterr)
{
    const struct registry_source *src = im->src;
    struct store_stmt *from;
    struct store_query q;
    int32_t rank = 0;
    int rc;

    store_query_init(&q, CHANNEL_COLUMNS);
    store_query_add(&q, src->has_source_url ? ", source_url" : ", NULL");
    store_query_add(&q, src->has_sort_order ? ", sort_order" : ", 0");
    store_query_add(&q, src->has_visitor ? ", visitor_channel_actions_enabled" : ", 0");
    store_query_add(&q, src->has_selected ? ", selected_models" : ", '[]'");
    store_query_add(&q, " FROM targets ORDER BY id");
    rc = store_query_prepare(src->conn, &q, &from, reterr);
    if (rc < 0) {
        store_query_release(&q);
        return rc;
    }
    while ((rc = store_step(from, reterr)) == 1) {
        registry_source_row(im->src);
        rc = import_channel(im, from, ++rank, reterr);
        if (rc < 0)
            break;
    }
    store_finalize(from);
    store_query_release(&q);
    return rc;
}

/* ---- keys of clients ---- */

static bool has_hash(const struct registry_job *im, const uint8_t hash[SECRET_HASH_SIZE])
{
    return catalog_key_by_hash(im->tx->base, hash) != NULL; /* the source holds each one once */
}

static void read_key(struct registry_job *im, struct store_stmt *from, struct proxy_key *k)
{
    struct str ids = registry_source_text(im->src, from, 4, REGISTRY_LIST_MAX);
    struct str models = registry_source_text(im->src, from, 5, REGISTRY_LIST_MAX);
    bool is_whole;

    take_text(im, from, 1, REGISTRY_NAME_MAX, &k->name);
    str_copy(k->prefix, sizeof(k->prefix), registry_source_text(im->src, from, 3, 64));
    is_whole = proxy_key_ids_read(k, ids);
    is_whole = proxy_key_models_read(k, models) && is_whole;
    take_text(im, from, 6, REGISTRY_NAME_MAX, &k->description);
    k->enabled = store_col_i64(from, 7) != 0;
    k->created_utc_ms = registry_source_ms(from, 8);
    k->revoked_utc_ms = registry_source_ms(from, 9);
    k->last_used_utc_ms = registry_source_ms(from, 10);
    if (!registry_source_id(from, 11, &k->last_used_channel_id))
        k->last_used_channel_id = 0;
    if (!is_whole && k->enabled) {
        k->enabled = false; /* empty permissions would mean all */
        registry_import_note(im, "key %lld: permissions not wholly readable, imported disabled",
                             (long long)k->id);
    }
}

static int import_key(struct registry_job *im, struct store_stmt *from, struct err *reterr)
{
    CLEANUP(proxy_key_freep) struct proxy_key *k = proxy_key_new();
    struct str hex = str_trim(registry_source_text(im->src, from, 2, 128));

    if (!registry_source_id(from, 0, &k->id) || secret_unhex(hex, k->hash, sizeof(k->hash)) < 0) {
        registry_import_note(im, "key %lld: no usable id or hash, left out",
                             (long long)store_col_i64(from, 0));
        im->report->skipped++;
        return 0;
    }
    if (catalog_write_key(im->tx, k->id) || has_hash(im, k->hash)) {
        im->report->skipped++;
        return 0;
    }
    read_key(im, from, k);
    im->report->keys++;
    return im->dry_run ? 0 : catalog_write_key_put(im->tx, k, NULL, reterr);
}

static int import_keys(struct registry_job *im, struct err *reterr)
{
    struct store_stmt *from;
    int rc;

    if (!im->src->has_keys)
        return 0;
    rc = store_prepare(im->src->conn,
                       "SELECT id, name, key_hash, key_prefix, allowed_targets, allowed_models, "
                       "description, enabled, created_at, revoked_at, last_used_at, "
                       "last_used_target_id FROM proxy_keys ORDER BY id",
                       &from, reterr);
    if (rc < 0)
        return rc;
    while ((rc = store_step(from, reterr)) == 1) {
        registry_source_row(im->src);
        rc = import_key(im, from, reterr);
        if (rc < 0)
            break;
    }
    store_reset(from);
    return rc;
}

/* ---- settings ---- */

enum setting_kind { SETTING_SECRET, SETTING_BOOL, SETTING_INT };

static const struct setting_map {
    const char *from, *to;
    enum setting_kind kind;
    int64_t min, max;
} setting_maps[] = {
    {"runtime_api_monitor_token", "admin_token", SETTING_SECRET, 0, 0},
    {"runtime_admin_panel_password", "admin_password", SETTING_SECRET, 0, 0},
    {"runtime_api_monitor_visitor_token", "visitor_token", SETTING_SECRET, 0, 0},
    {"visitor_mode_enabled", "visitor_mode", SETTING_BOOL, 0, 0},
    {"proxy_master_token", "proxy_master_token", SETTING_SECRET, 0, 0},
    {"log_cleanup_enabled", "log_cleanup_enabled", SETTING_BOOL, 0, 0},
    {"log_max_size_mb", "log_max_size_mb", SETTING_INT, 0, 102400},
    {"default_interval_min", "default_interval_min", SETTING_INT, 1, 1440},
    {"liquid_glass_enabled", "liquid_glass_enabled", SETTING_BOOL, 0, 0},
};

/* The value as our options write it; `room` keeps the text. False: not usable. */
static bool normalise(const struct setting_map *m, struct str value, char room[32], struct str *ret)
{
    bool is_on;
    int64_t number;

    switch (m->kind) {
    case SETTING_SECRET:
        *ret = value;
        return true;
    case SETTING_BOOL:
        if (option_parse_bool(value, &is_on) < 0)
            return false;
        *ret = is_on ? STR("true") : STR("false");
        return true;
    case SETTING_INT:
        if (str_to_i64(value, m->min, m->max, &number) < 0)
            return false;
        snprintf(room, 32, "%lld", (long long)number);
        *ret = str_of(room);
        return true;
    }
    return false;
}

static int import_setting(struct registry_job *im, const struct setting_map *m, struct str value,
                          struct err *reterr)
{
    const struct setting_row *held = catalog_write_setting(im->tx, str_of(m->to));
    char room[32];
    struct str ours;

    if (m->kind == SETTING_SECRET && value.len == 0)
        return 0; /* "" = none there, absent here */
    if (!normalise(m, value, room, &ours)) {
        registry_import_note(im, "setting %s: value not usable, left out", m->from);
        im->report->skipped++;
        return 0;
    }
    if (held) {
        if (!secret_equal(secret_str(&held->value), ours))
            registry_import_note(im, "setting %s: another value is set here, kept", m->to);
        im->report->skipped++;
        return 0;
    }
    if (strcmp(m->to, "visitor_mode") == 0)
        im->is_visitor_mode = str_eq_c(ours, "true");
    if (strcmp(m->to, "visitor_token") == 0)
        im->has_visitor_token = true;
    im->report->settings++;
    return im->dry_run
               ? 0
               : catalog_setting_set(im->tx, m->to, ours, m->kind == SETTING_SECRET, reterr);
}

static int import_settings(struct registry_job *im, struct err *reterr)
{
    struct store_stmt *from;
    int rc;

    if (!im->src->has_settings)
        return 0;
    im->has_visitor_token = catalog_write_setting(im->tx, STR("visitor_token")) != NULL;
    rc = store_prepare(im->src->conn, "SELECT key, value FROM app_settings ORDER BY key", &from,
                       reterr);
    if (rc < 0)
        return rc;
    while ((rc = store_step(from, reterr)) == 1) {
        registry_source_row(im->src);

        struct str key = registry_source_text(im->src, from, 0, 128);
        struct str value = str_trim(registry_source_text(im->src, from, 1, REGISTRY_NAME_MAX));

        for (size_t i = 0; i < ARRAY_LEN(setting_maps) && rc >= 0; i++)
            if (str_eq_c(key, setting_maps[i].from))
                rc = import_setting(im, &setting_maps[i], value, reterr);
        if (rc < 0)
            break;
    }
    store_reset(from);
    return rc;
}

/* ---- sequences ---- */

static const struct sequence_map {
    const char *select, *update, *insert;
} sequence_maps[] = {
#define SEQUENCE(from, to)                                                                         \
    {                                                                                              \
        "SELECT seq FROM sqlite_sequence WHERE name = '" from "'",                                 \
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = '" to "'",                  \
            "INSERT INTO sqlite_sequence (seq, name) VALUES (?, '" to "')"                         \
    }
    SEQUENCE("targets", "channels"),
    SEQUENCE("runs", "runs"),
    SEQUENCE("run_models", "probe_results"),
    SEQUENCE("proxy_keys", "proxy_keys"),
#undef SEQUENCE
};

static int run_sequence(struct registry_job *im, const char *sql, int64_t seq, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(im->tx->conn, sql, &st, reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, seq);
    return store_run(st, reterr);
}

static int import_sequence(struct registry_job *im, const struct sequence_map *m,
                           struct err *reterr)
{
    struct store_stmt *from;
    int64_t seq = 0;
    int rc = store_prepare(im->src->conn, m->select, &from, reterr);

    if (rc < 0)
        return rc;
    rc = store_step(from, reterr);
    if (rc == 1)
        seq = registry_source_int(from, 0, 0, REGISTRY_ID_MAX);
    store_reset(from);
    if (rc < 0 || seq == 0)
        return rc < 0 ? rc : 0;
    rc = run_sequence(im, m->update, seq, reterr);
    if (rc == 0 && store_changes(im->tx->conn) == 0)
        rc = run_sequence(im, m->insert, seq, reterr);
    return rc;
}

static int import_sequences(struct registry_job *im, struct err *reterr)
{
    bool is_there = false;
    int rc = store_table_exists(im->src->conn, "sqlite_sequence", &is_there, reterr);

    if (im->dry_run || !is_there)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(sequence_maps) && rc == 0; i++)
        rc = import_sequence(im, &sequence_maps[i], reterr);
    return rc;
}

/* ---- the whole ---- */

static int look_at_target(struct registry_job *im, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(im->tx->conn,
                           "SELECT EXISTS(SELECT 1 FROM channels) OR EXISTS(SELECT 1 FROM runs) OR "
                           "EXISTS(SELECT 1 FROM probe_results)",
                           &st, reterr);

    if (rc < 0)
        return rc;
    rc = store_step(st, reterr);
    im->is_filled = rc == 1 && store_col_i64(st, 0) != 0;
    store_reset(st);
    return rc < 0 ? rc : 0;
}

static void sum_up(struct registry_job *im)
{
    const struct {
        int64_t count;
        const char *text;
    } sums[] = {
        {im->interrupted, "runs were never finished, kept as error 'interrupted'"},
        {im->orphan_runs, "runs without a channel taken over were left out"},
        {im->orphan_rows, "results without a run taken over were left out"},
        {im->odd_values, "values could not be read and were left out"},
        {im->src->repaired, "texts were no UTF-8 or too long, and were repaired or cut"},
    };
    int64_t hidden = MAX(im->note_count - NOTES_MAX, 0);

    if (hidden > 0 && im->notes) {
        int rc = buf_printf(im->notes, "... and %lld notes more\n", (long long)hidden);

        (void)rc; /* as in registry_import_note() */
    }
    im->note_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        if (sums[i].count > 0)
            registry_import_note(im, "%lld %s", (long long)sums[i].count, sums[i].text);
    im->report->skipped += im->orphan_runs + im->orphan_rows;
}

static int import_all(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    struct registry_job *im = ctx;
    int rc;

    im->tx = tx;
    rc = look_at_target(im, reterr);
    if (rc == 0)
        rc = import_channels(im, reterr);
    if (rc == 0)
        rc = import_keys(im, reterr);
    if (rc == 0)
        rc = import_settings(im, reterr);
    if (rc == 0)
        rc = registry_history_import(im, reterr);
    if (rc == 0)
        rc = import_sequences(im, reterr);
    if (rc == 0)
        sum_up(im);
    im->tx = NULL;
    return rc == 0 && im->dry_run ? ERR_CANCELLED
                                  : rc; /* rolled back, though nothing was written */
}

int registry_import(struct catalog *c, const char *path, bool dry_run,
                    struct registry_import_report *ret, struct buf *notes, struct err *reterr)
{
    struct registry_import_report report = {0};
    struct registry_source src;
    int rc = registry_source_open(&src, path, reterr);

    if (rc < 0)
        return rc;

    struct registry_job im = {.src = &src,
                              .report = &report,
                              .notes = notes,
                              .dry_run = dry_run,
                              .channels = map_id_new(),
                              .rejected_runs = map_id_new()};

    str_copy(report.generation, sizeof(report.generation), str_of(src.generation));
    rc = catalog_apply(c, import_all, &im, reterr);
    if (rc == ERR_CANCELLED && dry_run)
        rc = 0;
    report.is_visitor_mode_open = im.is_visitor_mode && !im.has_visitor_token;
    map_id_free(im.channels, NULL);
    map_id_free(im.rejected_runs, NULL);
    registry_source_close(&src);
    if (rc < 0)
        return rc;
    *ret = report;
    return 0;
}
