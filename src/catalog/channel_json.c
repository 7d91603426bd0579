/* channel_json.c -- channels from and to JSON, by the table. A body is put onto a copy which takes
 * the channel's place only when every row passed, so a failure leaves it as it was. */
#include "catalog/channel_private.h"

#include "net/url.h"

#include <math.h>

/* Members that GET /api/targets and its kin put beside the rows: a client may send them back. */
static const char *const outputs[] = {
    "id",          "created_at",    "updated_at",  "last_run_at",       "last_status",
    "last_total",  "last_success",  "last_fail",   "last_log_file",     "last_error",
    "running",     "latest_models", "can_operate", "last_success_rate", "queued",
    "last_run_id", "next_run_at",   "progress",    "warnings",
};

/* What is read of one row: where to, and the channel as it was (masks, values that may stay). */
struct reader {
    const struct channel_field *f;
    struct channel *to;
    const struct channel *was;
};

static void *at(const struct reader *r)
{
    return (char *)r->to + r->f->offset;
}

static const void *before(const struct reader *r)
{
    return (const char *)r->was + r->f->offset;
}

/* ---- failures, worded as system 1 does ---- */

static int bad_length(const struct channel_field *f, struct err *reterr)
{
    const char *each = f->max_items > 0 ? "each " : "", *item = f->max_items > 0 ? " item" : "";

    if (f->min <= 0)
        return err_set_field(reterr, ERR_RANGE, f->name, "%s%s%s must be <= %.0f chars", each,
                             f->name, item, f->max);
    return err_set_field(reterr, ERR_RANGE, f->name, "%s%s%s must be %.0f-%.0f chars", each,
                         f->name, item, f->min, f->max);
}

static int bad_number(const struct channel_field *f, int code, struct err *reterr)
{
    if (f->type == CHANNEL_FIELD_INT)
        return err_set_field(reterr, code, f->name, "%s must be an integer between %.0f and %.0f",
                             f->name, f->min, f->max);
    return err_set_field(reterr, code, f->name, "%s must be between %.1f and %.1f", f->name, f->min,
                         f->max);
}

static int bad_type(const struct channel_field *f, struct err *reterr)
{
    if (f->error)
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s", f->error);
    switch (f->type) {
    case CHANNEL_FIELD_TEXT:
    case CHANNEL_FIELD_SECRET:
        if (f->flags & CHANNEL_FIELD_NULLABLE)
            return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must be a string or null",
                                 f->name);
        bad_length(f, reterr); /* system 1 has one text for both */
        return ERR_SYNTAX;
    case CHANNEL_FIELD_BOOL:
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must be a boolean", f->name);
    case CHANNEL_FIELD_INT:
    case CHANNEL_FIELD_NUMBER:
        return bad_number(f, ERR_SYNTAX, reterr);
    case CHANNEL_FIELD_TEXTS:
    case CHANNEL_FIELD_SECRETS:
    case CHANNEL_FIELD_ROUTES:
        break;
    }
    return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must be an array of strings", f->name);
}

/* ---- texts ---- */

static int check_url(const struct channel_field *f, struct str s, struct err *reterr)
{
    struct url u = {0};
    struct err e = {0};

    if (f->flags & CHANNEL_FIELD_PROXY)
        return url_check_proxy(s, &e) < 0
                   ? err_set_field(reterr, ERR_SYNTAX, f->name, "%s %s", f->name, e.text)
                   : 0;
    if (url_parse(s, &u, NULL) < 0)
        return err_set_field(reterr, ERR_SYNTAX, f->name,
                             "%s must be an http:// or https:// URL with a host", f->name);
    if (u.has_userinfo)
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must not contain a user or password",
                             f->name);
    return 0;
}

static int check_text(const struct channel_field *f, struct str s, struct err *reterr)
{
    if ((f->flags & CHANNEL_FIELD_PLAIN) && str_has_control(s))
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must not contain control characters",
                             f->name);
    if ((f->flags & CHANNEL_FIELD_NO_SLASH) && str_find(s, '/') >= 0)
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must not contain '/'", f->name);
    if (f->flags & (CHANNEL_FIELD_URL | CHANNEL_FIELD_PROXY))
        return check_url(f, s, reterr);
    return 0;
}

/* The trimmed text of a string within the row's length. */
static int get_text(const struct channel_field *f, const json_t *v, struct str *ret,
                    struct err *reterr)
{
    if (!json_is_string(v))
        return bad_type(f, reterr);

    struct str s = str_trim(json_doc_str(v));
    double chars = (double)str_count_chars(s); /* below 2^53 */

    if (chars < f->min || chars > f->max)
        return bad_length(f, reterr);
    if (str_find(s, '\0') >= 0) /* it could not be kept as it is */
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must not contain NUL characters",
                             f->name);
    *ret = s;
    return 0;
}

static int read_text(const struct reader *r, const json_t *v, struct err *reterr)
{
    char **to = at(r);
    const char *old = *(char *const *)before(r);
    struct str s = STR_NONE;
    bool is_cleared = json_is_null(v);

    /* `old` is passed untrimmed too: an imported one may begin with a blank */
    if (old && *old != '\0' && str_eq_c(json_doc_str(v), old))
        return 0;
    if (!is_cleared) {
        int rc = get_text(r->f, v, &s, reterr);

        if (rc < 0)
            return rc;
        if (old && *old != '\0' && str_eq_c(s, old))
            return 0;
        is_cleared = s.len == 0 && (r->f->flags & CHANNEL_FIELD_NULLABLE);
        rc = is_cleared ? 0 : check_text(r->f, s, reterr);
        if (rc < 0)
            return rc;
    }
    xfree(*to);
    *to = is_cleared ? NULL : str_dup(s);
    return 0;
}

/* ---- secrets ---- */

static bool is_mask_of(struct str s, const struct secret *held)
{
    char mask[SECRET_MASK_SIZE];

    if (held->len == 0)
        return false;
    secret_mask(secret_str(held), mask);
    return str_eq_c(s, mask);
}

/* A mask that was copied from another channel must not become a key. */
static int check_secret(const struct channel_field *f, struct str s, struct err *reterr)
{
    if (str_starts(s, STR("****")) && (s.len == 4 || s.len == SECRET_MASK_SIZE - 1))
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s is a masked key, not a key", f->name);
    if (str_has_control(s))
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s must not contain control characters",
                             f->name);
    return 0;
}

static int read_secret(const struct reader *r, const json_t *v, struct err *reterr)
{
    struct secret *to = at(r);
    const struct secret *old = before(r);
    struct str s;
    int rc = get_text(r->f, v, &s, reterr);

    if (rc < 0)
        return rc;
    if (is_mask_of(s, old) || (old->len > 0 && secret_equal(s, secret_str(old))))
        return 0;
    rc = check_secret(r->f, s, reterr);
    if (rc < 0)
        return rc;
    secret_release(to);
    *to = secret_dup(s);
    return 0;
}

static int get_list(const struct channel_field *f, const json_t *v, size_t *ret_count,
                    struct err *reterr)
{
    if (!json_is_array(v))
        return bad_type(f, reterr);
    /* system 1 looks at all types before it looks at bounds */
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)))
            return bad_type(f, reterr);
    *ret_count = json_array_size(v);
    if (*ret_count > f->max_items)
        return err_set_field(reterr, ERR_RANGE, f->name, "%s must contain <= %zu items", f->name,
                             f->max_items);
    return 0;
}

static bool has_secret(const struct channel *ch, struct str s)
{
    for (size_t i = 0; i < ch->api_key_count; i++)
        if (secret_equal(secret_str(&ch->api_keys[i]), s))
            return true;
    return false;
}

/* The held key that mask `s` stands for and that is not taken yet; two keys may share a mask. */
static struct str unmask(const struct reader *r, struct str s)
{
    for (size_t i = 0; i < r->was->api_key_count; i++)
        if (is_mask_of(s, &r->was->api_keys[i]) &&
            !has_secret(r->to, secret_str(&r->was->api_keys[i])))
            return secret_str(&r->was->api_keys[i]);
    return s;
}

static int read_secrets(const struct reader *r, const json_t *v, struct err *reterr)
{
    size_t n;
    int rc = get_list(r->f, v, &n, reterr);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->to->api_key_count; i++)
        secret_release(&r->to->api_keys[i]);
    xfree(r->to->api_keys);
    r->to->api_keys = n > 0 ? xcalloc(n, sizeof(*r->to->api_keys)) : NULL;
    r->to->api_key_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct str s;

        rc = get_text(r->f, json_array_get(v, i), &s, reterr);
        if (rc < 0)
            return rc;
        s = unmask(r, s);
        rc = check_secret(r->f, s, reterr);
        if (rc < 0)
            return rc;
        if (!has_secret(r->to, s))
            r->to->api_keys[r->to->api_key_count++] = secret_dup(s);
    }
    return 0;
}

/* ---- numbers and lists ---- */

static int read_bool(const struct reader *r, const json_t *v, struct err *reterr)
{
    bool *to = at(r);
    json_int_t number = json_is_integer(v) ? json_integer_value(v) : -1;

    if (json_is_boolean(v))
        *to = json_is_true(v);
    else if ((r->f->flags & CHANNEL_FIELD_LAX) && (number == 0 || number == 1))
        *to = number == 1;
    else
        return bad_type(r->f, reterr);
    return 0;
}

static int read_number(const struct reader *r, const json_t *v, struct err *reterr)
{
    if (!json_is_number(v))
        return bad_type(r->f, reterr);

    double value = json_number_value(v);

    if (!(value >= r->f->min && value <= r->f->max))
        return bad_number(r->f, ERR_RANGE, reterr);
    if (r->f->type == CHANNEL_FIELD_NUMBER) {
        *(double *)at(r) = value;
        return 0;
    }
    if (value != trunc(value))
        return bad_number(r->f, ERR_SYNTAX, reterr);
    *(int32_t *)at(r) = (int32_t)value; /* whole and within the row's bounds */
    return 0;
}

static int read_texts(const struct reader *r, const json_t *v, struct err *reterr)
{
    struct channel_texts *to = at(r);
    size_t n;
    int rc = get_list(r->f, v, &n, reterr);

    if (rc < 0)
        return rc;
    channel_texts_release(to);
    if (n == 0)
        return 0;
    to->items = xcalloc(n, sizeof(*to->items));

    struct map *seen = map_new();

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct str s;

        rc = get_text(r->f, json_array_get(v, i), &s, reterr);
        if (rc == 0)
            channel_texts_add(to, seen, s);
    }
    map_free(seen, NULL);
    return rc;
}

static int read_route(const struct reader *r, const char *key, const json_t *item, struct map *seen,
                      struct err *reterr)
{
    const struct channel_field *f = r->f;
    struct str model = str_trim(str_of(key));
    double chars = (double)str_count_chars(model); /* below 2^53 */
    enum protocol p;

    if (chars < f->min || chars > f->max)
        return bad_length(f, reterr);
    if (!json_is_string(item) || protocol_parse_route(json_doc_str(item), &p) < 0)
        return err_set_field(reterr, ERR_SYNTAX, f->name,
                             "%s item '%.*s' must be chat, responses, anthropic, gemini or skip",
                             f->name, STR_ARG(str_cut_utf8(model, 128)));
    if (map_set(seen, model, seen)) /* any pointer: a set; two keys may differ in blanks alone */
        return err_set_field(reterr, ERR_SYNTAX, f->name, "%s item '%.*s' is given twice", f->name,
                             STR_ARG(str_cut_utf8(model, 128)));
    channel_routes_add(r->to, model, p);
    return 0;
}

static int read_routes(const struct reader *r, const json_t *v, struct err *reterr)
{
    struct map *seen;
    const char *key;
    json_t *item;
    int rc = 0;

    if (!json_is_object(v))
        return bad_type(r->f, reterr);
    if (json_object_size(v) > r->f->max_items)
        return err_set_field(reterr, ERR_RANGE, r->f->name, "%s must contain <= %zu items",
                             r->f->name, r->f->max_items);
    channel_routes_alloc(r->to, json_object_size(v));
    seen = map_new();
    /* jansson's iteration wants a pointer without const; nothing is changed through it */
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        rc = read_route(r, key, item, seen, reterr);
        if (rc < 0)
            break;
    }
    map_free(seen, NULL);
    return rc;
}

/* ---- whole bodies ---- */

static bool is_taken(const struct channel_field *f, const json_t *v, unsigned only)
{
    if (!v || (only != 0 && !(f->flags & only)))
        return false;
    return !json_is_null(v) || (f->flags & CHANNEL_FIELD_NULLABLE);
}

static int read_row(const struct reader *r, const json_t *v, struct err *reterr)
{
    switch (r->f->type) {
    case CHANNEL_FIELD_TEXT:
        return read_text(r, v, reterr);
    case CHANNEL_FIELD_SECRET:
        return read_secret(r, v, reterr);
    case CHANNEL_FIELD_BOOL:
        return read_bool(r, v, reterr);
    case CHANNEL_FIELD_INT:
    case CHANNEL_FIELD_NUMBER:
        return read_number(r, v, reterr);
    case CHANNEL_FIELD_TEXTS:
        return read_texts(r, v, reterr);
    case CHANNEL_FIELD_SECRETS:
        return read_secrets(r, v, reterr);
    case CHANNEL_FIELD_ROUTES:
        return read_routes(r, v, reterr);
    }
    return ERR_INTERNAL;
}

static int check_required(const struct channel *ch, const json_t *obj, struct err *reterr)
{
    if (ch->id > 0)
        return 0;
    for (size_t i = 0; i < channel_field_count; i++) {
        const struct channel_field *f = &channel_fields[i];
        struct str s = json_doc_str(json_doc_get(obj, f->name));

        /* untrimmed, as system 1 does: blanks alone fail at their own row */
        if ((f->flags & CHANNEL_FIELD_REQUIRED) && (double)str_count_chars(s) < f->min)
            return err_set_field(reterr, ERR_SYNTAX, f->name,
                                 "name, base_url, api_key are required");
    }
    return 0;
}

static bool is_output(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(outputs); i++)
        if (strcmp(outputs[i], name) == 0)
            return true;
    return false;
}

static int check_known(const json_t *obj, struct err *reterr)
{
    const char *key;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)obj, key, item)
    { /* read only, as above */
        struct str shown = str_cut_utf8(str_of(key), 60);
        char name[64];

        if (channel_field_find(str_of(key)) || is_output(key))
            continue;
        str_copy(name, sizeof(name), shown);
        return err_set_field(reterr, ERR_SYNTAX, name, "unknown field '%s'", name);
    }
    return 0;
}

size_t channel_json_given(const json_t *obj, unsigned only)
{
    size_t n = 0;

    for (size_t i = 0; i < channel_field_count; i++)
        n += is_taken(&channel_fields[i], json_doc_get(obj, channel_fields[i].name),
                      only & ~CHANNEL_JSON_STRICT);
    return n;
}

/* Gives each channel the other's members; the counts of references stay where they are. */
static void swap(struct channel *a, struct channel *b)
{
    struct channel other = *a;

    *a = *b;
    *b = other;
}

int channel_from_json(struct channel *ch, const json_t *obj, unsigned only, bool *ret_changed,
                      struct err *reterr)
{
    if (!json_is_object(obj) && !json_is_null(obj))
        return err_set(reterr, ERR_SYNTAX, "invalid JSON");

    int rc = check_required(ch, obj, reterr);

    if (rc == 0 && (only & CHANNEL_JSON_STRICT))
        rc = check_known(obj, reterr);
    if (rc < 0)
        return rc;

    CLEANUP(channel_freep) struct channel *next = channel_dup(ch);
    bool is_changed = false;

    for (size_t i = 0; i < channel_field_count; i++) {
        struct reader r = {&channel_fields[i], next, ch};
        const json_t *v = json_doc_get(obj, r.f->name);

        if (!is_taken(r.f, v, only & ~CHANNEL_JSON_STRICT))
            continue;
        rc = read_row(&r, v, reterr);
        if (rc < 0)
            return rc;
        is_changed = is_changed || !channel_field_equal(r.f, next, ch);
    }
    swap(ch, next);
    if (ret_changed)
        *ret_changed = is_changed;
    return 0;
}

static void write_secret(const struct secret *s, struct json_out *j, enum channel_secrets mode)
{
    char mask[SECRET_MASK_SIZE];

    if (mode == CHANNEL_SECRETS_CLEAR) {
        json_out_str(j, secret_str(s));
        return;
    }
    secret_mask(secret_str(s), mask);
    json_out_cstr(j, mask);
}

static void write_row(const struct channel_field *f, const struct channel *ch, struct json_out *j,
                      enum channel_secrets mode)
{
    const void *p = (const char *)ch + f->offset;

    switch (f->type) {
    case CHANNEL_FIELD_TEXT:
        json_out_cstr(j, *(char *const *)p);
        break;
    case CHANNEL_FIELD_SECRET:
        write_secret(p, j, mode);
        break;
    case CHANNEL_FIELD_BOOL:
        json_out_bool(j, *(const bool *)p);
        break;
    case CHANNEL_FIELD_INT:
        json_out_i64(j, *(const int32_t *)p);
        break;
    case CHANNEL_FIELD_NUMBER:
        json_out_double(j, *(const double *)p);
        break;
    case CHANNEL_FIELD_TEXTS:
        channel_texts_write(p, j);
        break;
    case CHANNEL_FIELD_SECRETS:
        json_out_array(j);
        for (size_t i = 0; i < ch->api_key_count; i++)
            write_secret(&ch->api_keys[i], j, mode);
        json_out_end(j);
        break;
    case CHANNEL_FIELD_ROUTES:
        channel_routes_write(ch, j);
        break;
    }
}

void channel_to_json(const struct channel *ch, struct json_out *j, enum channel_secrets mode)
{
    for (size_t i = 0; i < channel_field_count; i++) {
        const struct channel_field *f = &channel_fields[i];
        bool is_secret = f->type == CHANNEL_FIELD_SECRET || f->type == CHANNEL_FIELD_SECRETS;

        if (is_secret && mode == CHANNEL_SECRETS_OMITTED)
            continue;
        json_out_key(j, f->name);
        write_row(f, ch, j, mode);
    }
}
