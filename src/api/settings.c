#include "api/settings.h"

#include "api/auth.h"
#include "base/secret.h"

struct seed {
    const struct option_set *options;
    struct catalog_snapshot *snapshot;
};

/* Hash of what the environment said last, so that only a change of it seeds again. */
static const char *seen_key(const char *name, char out[80])
{
    snprintf(out, 80, "%s.env_seen", name);
    return out;
}

/* Whether the environment says something new; ret_hex: the hash to remember. */
static bool is_news(const struct seed *s, const struct option_row *row,
                    char ret_hex[2 * SECRET_HASH_SIZE + 1])
{
    uint8_t hash[SECRET_HASH_SIZE];
    char key[80];

    if (!(row->flags & OPTION_PAGE) || option_origin(s->options, row->name) < OPTION_ENV)
        return false;
    secret_sha256(option_text(s->options, row->name), hash);
    secret_hex(hash, sizeof(hash), ret_hex);
    return !str_eq_c(catalog_setting(s->snapshot, seen_key(row->name, key)), ret_hex);
}

static int seed_row(struct catalog_tx *tx, const struct seed *s, const struct option_row *row,
                    struct err *reterr)
{
    char hex[2 * SECRET_HASH_SIZE + 1], key[80];
    struct str value;
    int rc;

    if (!is_news(s, row, hex))
        return 0;
    value = option_text(s->options, row->name);
    rc = row->type == OPTION_SECRET ? auth_secret_store(tx, row->name, value, reterr)
                                    : catalog_setting_set(tx, row->name, value, false, reterr);
    if (rc < 0)
        return rc;
    return catalog_setting_set(tx, seen_key(row->name, key), str_of(hex), false, reterr);
}

static int seed_run(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    const struct seed *s = ctx;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < option_row_count; i++)
        rc = seed_row(tx, s, &option_rows[i], reterr);
    return rc;
}

int settings_seed(struct catalog *c, const struct option_set *o, struct err *reterr)
{
    struct seed s = {.options = o, .snapshot = catalog_latest(c)};
    char hex[2 * SECRET_HASH_SIZE + 1];
    bool any = false;
    int rc = 0;

    for (size_t i = 0; i < option_row_count; i++)
        any |= is_news(&s, &option_rows[i], hex);
    if (any) /* else nothing is written: a start on a full disk succeeds */
        rc = catalog_apply(c, seed_run, &s, reterr);
    catalog_unref(s.snapshot);
    return rc;
}

struct str settings_value(const struct option_set *o, const struct catalog_snapshot *s,
                          const char *name)
{
    struct str stored = catalog_setting(s, name);

    return stored.ptr && (option_find(str_of(name))->flags & OPTION_PAGE) ? stored
                                                                          : option_text(o, name);
}

bool settings_bool(const struct option_set *o, const struct catalog_snapshot *s, const char *name)
{
    bool v;

    /* What is stored and unreadable leaves the option's own value in force. */
    return option_parse_bool(settings_value(o, s, name), &v) == 0 ? v : option_bool(o, name);
}

int64_t settings_int(const struct option_set *o, const struct catalog_snapshot *s, const char *name)
{
    int64_t v;

    return str_to_i64(settings_value(o, s, name), INT64_MIN, INT64_MAX, &v) == 0
               ? v
               : option_int(o, name);
}
