/* proxy_key.c -- keys of the gateway's clients: drawing, copying, and their JSON (spec 1 section
 * 1.7). Counted like channels: a snapshot shares the keys that did not change. */
#include "catalog/proxy_key.h"

#include <stdatomic.h>

#define NAME_MAX_CHARS        128
#define DESCRIPTION_MAX_CHARS 512
#define MODEL_MAX_CHARS       512 /* "channel/model": 128 + 1 + 256 with room for imported names */
#define ITEMS_MAX             5000

struct box {
    _Atomic uint32_t refs; /* shared */
    struct proxy_key key;
};

static struct box *box_of(const struct proxy_key *k)
{
    return container_of((uintptr_t)k, struct box, key); /* the count alone is not const */
}

struct proxy_key *proxy_key_new(void)
{
    struct box *b = xcalloc(1, sizeof(*b));

    atomic_init(&b->refs, 1);
    b->key.name = xstrdup("");
    b->key.description = xstrdup("");
    b->key.enabled = true;
    return &b->key;
}

struct proxy_key *proxy_key_dup(const struct proxy_key *k)
{
    struct box *b = xcalloc(1, sizeof(*b));
    struct proxy_key *copy = &b->key;

    atomic_init(&b->refs, 1);
    *copy = *k;
    copy->name = xstrdup(k->name);
    copy->description = xstrdup(k->description);
    copy->allowed_channels = NULL;
    copy->allowed_models = NULL;
    if (k->allowed_channel_count > 0) {
        copy->allowed_channels = xcalloc(k->allowed_channel_count, sizeof(int64_t));
        memcpy(copy->allowed_channels, k->allowed_channels,
               k->allowed_channel_count * sizeof(int64_t));
    }
    if (k->allowed_model_count > 0)
        copy->allowed_models = xcalloc(k->allowed_model_count, sizeof(char *));
    for (size_t i = 0; i < k->allowed_model_count; i++)
        copy->allowed_models[i] = xstrdup(k->allowed_models[i]);
    return copy;
}

const struct proxy_key *proxy_key_ref(const struct proxy_key *k)
{
    atomic_fetch_add_explicit(&box_of(k)->refs, 1, memory_order_relaxed);
    return k;
}

static void release_models(struct proxy_key *k)
{
    for (size_t i = 0; i < k->allowed_model_count; i++)
        xfree(k->allowed_models[i]);
    xfree(k->allowed_models);
    k->allowed_models = NULL;
    k->allowed_model_count = 0;
}

void proxy_key_free(const struct proxy_key *k)
{
    if (!k)
        return;

    struct box *b = box_of(k);

    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    xfree(b->key.name);
    xfree(b->key.description);
    xfree(b->key.allowed_channels);
    release_models(&b->key);
    xfree(b);
}

/* ---- lists, sorted and without doubles ---- */

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take_ids(struct proxy_key *k, int64_t *ids, size_t n)
{
    size_t kept = 0;

    if (n > 0)
        qsort(ids, n, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || ids[kept - 1] != ids[i])
            ids[kept++] = ids[i];
    xfree(k->allowed_channels);
    k->allowed_channels = ids;
    k->allowed_channel_count = kept;
}

static void take_models(struct proxy_key *k, char **models, size_t n)
{
    size_t kept = 0;

    if (n > 0)
        qsort(models, n, sizeof(*models), compare_texts);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(models[kept - 1], models[i]) != 0)
            models[kept++] = models[i];
        else
            xfree(models[i]);
    }
    release_models(k);
    k->allowed_models = models;
    k->allowed_model_count = kept;
}

static bool is_channel_model(struct str s)
{
    struct str channel = str_until(s, '/'), model = str_after(s, '/');

    return str_trim(channel).len > 0 && str_trim(model).len > 0;
}

/* ---- JSON ---- */

static int read_text(const json_t *obj, const char *name, size_t min, size_t max, char **ret,
                     struct err *reterr)
{
    const json_t *v = json_doc_get(obj, name);
    struct str s = str_trim(json_doc_str(v));
    size_t chars = str_count_chars(s);
    bool is_absent = !v || json_is_null(v);

    if (is_absent && min == 0)
        return 0;
    if (!json_is_string(v) || chars < min || chars > max)
        return err_set_field(reterr, json_is_string(v) ? ERR_RANGE : ERR_SYNTAX, name,
                             min > 0 ? "%s must be 1-%zu chars" : "%s must be <= %zu chars", name,
                             max);
    if (str_has_control(s))
        return err_set_field(reterr, ERR_SYNTAX, name, "%s must not contain control characters",
                             name);
    xfree(*ret);
    *ret = str_dup(s);
    return 0;
}

static int read_ids(struct proxy_key *k, const json_t *v, struct err *reterr)
{
    const char *name = "allowed_target_ids";
    size_t n = json_array_size(v);

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return err_set_field(reterr, ERR_SYNTAX, name, "%s must be an array of integers", name);
    if (n > ITEMS_MAX)
        return err_set_field(reterr, ERR_RANGE, name, "%s must contain <= %d items", name,
                             ITEMS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);

        if (!json_is_integer(item))
            return err_set_field(reterr, ERR_SYNTAX, name, "%s must be an array of integers", name);
        /* system 1 dropped them, which could leave the list empty: every channel allowed */
        if (json_integer_value(item) <= 0)
            return err_set_field(reterr, ERR_RANGE, name, "%s must contain positive integers",
                                 name);
    }

    int64_t *ids = n > 0 ? xcalloc(n, sizeof(*ids)) : NULL;

    for (size_t i = 0; i < n; i++)
        ids[i] = json_integer_value(json_array_get(v, i));
    take_ids(k, ids, n);
    return 0;
}

static int read_models(struct proxy_key *k, const json_t *v, struct err *reterr)
{
    const char *name = "allowed_models";
    size_t n = json_array_size(v);

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return err_set_field(reterr, ERR_SYNTAX, name, "%s must be an array of strings", name);
    if (n > ITEMS_MAX)
        return err_set_field(reterr, ERR_RANGE, name, "%s must contain <= %d items", name,
                             ITEMS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        struct str s = str_trim(json_doc_str(item));

        if (!json_is_string(item))
            return err_set_field(reterr, ERR_SYNTAX, name, "%s must be an array of strings", name);
        if (!is_channel_model(s) || str_find(s, '\0') >= 0)
            return err_set_field(reterr, ERR_SYNTAX, name,
                                 "allowed_models must use channel/model format");
        if (str_count_chars(s) > MODEL_MAX_CHARS)
            return err_set_field(reterr, ERR_RANGE, name, "each %s item must be 1-%d chars", name,
                                 MODEL_MAX_CHARS);
    }

    char **models = n > 0 ? xcalloc(n, sizeof(*models)) : NULL;

    for (size_t i = 0; i < n; i++)
        models[i] = str_dup(str_trim(json_doc_str(json_array_get(v, i))));
    take_models(k, models, n);
    return 0;
}

static int read_enabled(struct proxy_key *k, const json_t *v, struct err *reterr)
{
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_boolean(v))
        return err_set_field(reterr, ERR_SYNTAX, "enabled", "enabled must be a boolean");
    k->enabled = json_is_true(v);
    return 0;
}

/* A slip in the name of a restriction must not make a key without it. */
static int check_names(const json_t *obj, bool is_patch, struct err *reterr)
{
    static const char *const known[] = {"name", "description", "allowed_models",
                                        "allowed_target_ids", "enabled"};
    size_t count = ARRAY_LEN(known) - !is_patch;           /* a new key is enabled */
    void *it = json_object_iter((json_t *)(uintptr_t)obj); /* only read */

    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)obj, it)) {
        const char *name = json_object_iter_key(it);
        bool is_known = false;

        for (size_t i = 0; i < count; i++)
            is_known |= strcmp(name, known[i]) == 0;
        if (!is_known)
            return err_set_field(reterr, ERR_SYNTAX, name, "unknown field '%s'", name);
    }
    return 0;
}

static int read_all(struct proxy_key *k, const json_t *obj, bool is_patch, struct err *reterr)
{
    CLEANUP(proxy_key_freep) struct proxy_key *next = proxy_key_dup(k);
    const json_t *name = json_doc_get(obj, "name");
    int rc = check_names(obj, is_patch, reterr);

    if (rc == 0 && !(is_patch && (!name || json_is_null(name))))
        rc = read_text(obj, "name", 1, NAME_MAX_CHARS, &next->name, reterr);
    if (rc == 0)
        rc = read_text(obj, "description", 0, DESCRIPTION_MAX_CHARS, &next->description, reterr);
    if (rc == 0)
        rc = read_models(next, json_doc_get(obj, "allowed_models"), reterr);
    if (rc == 0)
        rc = read_ids(next, json_doc_get(obj, "allowed_target_ids"), reterr);
    if (rc == 0)
        rc = read_enabled(next, json_doc_get(obj, "enabled"), reterr);
    if (rc < 0)
        return rc;

    struct proxy_key other = *k;

    *k = *next;
    *next = other;
    return 0;
}

int proxy_key_from_json(struct proxy_key *k, const json_t *obj, struct err *reterr)
{
    if (!json_is_object(obj) && !json_is_null(obj))
        return err_set(reterr, ERR_SYNTAX, "invalid JSON");
    return read_all(k, obj, false, reterr);
}

int proxy_key_patch_json(struct proxy_key *k, const json_t *obj, struct err *reterr)
{
    if (!json_is_object(obj))
        return err_set(reterr, ERR_SYNTAX, "invalid JSON");
    return read_all(k, obj, true, reterr);
}

bool proxy_key_ids_read(struct proxy_key *k, struct str json)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    bool is_whole = true;

    take_ids(k, NULL, 0);
    if (json_doc_parse(json, 0, &doc, NULL) < 0 || !json_is_array(doc))
        return false;

    size_t n = json_array_size(doc), kept = 0;
    int64_t *ids = n > 0 ? xcalloc(n, sizeof(*ids)) : NULL;

    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(doc, i);

        if (json_is_integer(item) && json_integer_value(item) > 0)
            ids[kept++] = json_integer_value(item);
        else
            is_whole = false;
    }
    take_ids(k, ids, kept);
    return is_whole;
}

bool proxy_key_models_read(struct proxy_key *k, struct str json)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    bool is_whole = true;

    take_models(k, NULL, 0);
    if (json_doc_parse(json, 0, &doc, NULL) < 0 || !json_is_array(doc))
        return false;

    size_t n = json_array_size(doc), kept = 0;
    char **models = n > 0 ? xcalloc(n, sizeof(*models)) : NULL;

    for (size_t i = 0; i < n; i++) {
        struct str s = str_trim(json_doc_str(json_array_get(doc, i)));

        if (s.len > 0 && str_find(s, '\0') < 0)
            models[kept++] = str_dup(s);
        else
            is_whole = false;
    }
    take_models(k, models, kept);
    return is_whole;
}

void proxy_key_ids_write(const struct proxy_key *k, struct json_out *j)
{
    json_out_array(j);
    for (size_t i = 0; i < k->allowed_channel_count; i++)
        json_out_i64(j, k->allowed_channels[i]);
    json_out_end(j);
}

void proxy_key_models_write(const struct proxy_key *k, struct json_out *j)
{
    json_out_array(j);
    for (size_t i = 0; i < k->allowed_model_count; i++)
        json_out_cstr(j, k->allowed_models[i]);
    json_out_end(j);
}

void proxy_key_draw(struct proxy_key *k, char out_token[PROXY_KEY_TOKEN_SIZE])
{
    memcpy(out_token, "sk-", 3);
    secret_random_alnum(out_token + 3, PROXY_KEY_TOKEN_SIZE - 4);
    secret_sha256(str_of(out_token), k->hash);
    str_copy(k->prefix, sizeof(k->prefix), str_of(out_token));
}

void proxy_key_to_json(const struct proxy_key *k, struct json_out *j)
{
    json_out_object(j);
    json_out_ki64(j, "id", k->id);
    json_out_kcstr(j, "name", k->name);
    json_out_kcstr(j, "key_prefix", k->prefix);
    json_out_key(j, "allowed_target_ids");
    proxy_key_ids_write(k, j);
    json_out_key(j, "allowed_models");
    proxy_key_models_write(k, j);
    json_out_kcstr(j, "description", k->description);
    json_out_kbool(j, "enabled", k->enabled);
    json_out_kts(j, "created_at", k->created_utc_ms);
    json_out_kts(j, "revoked_at", k->revoked_utc_ms);
    json_out_kts(j, "last_used_at", k->last_used_utc_ms);
    if (k->last_used_channel_id > 0)
        json_out_ki64(j, "last_used_target_id", k->last_used_channel_id);
    else
        json_out_knull(j, "last_used_target_id");
    json_out_end(j);
}
