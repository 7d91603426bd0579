/* option.c -- finding and reading options; see option.h. Rows are in option_table.c, setting and
 * its checks in option_set.c, number forms in option_parse.c, the texts of --help in option_help.c.
 */
#include "base/option.h"

#include "base/option_priv.h"

#define NAME_MAX_LEN 64
#define LIST_MARKS   ", \t\r\n" /* what stands between the items of a list */

/* Rows by name. -------------------------------------------------------------------------------- */

static char fold(char c)
{
    if (c == '.' || c == '-')
        return '_';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; /* a letter */
}

static bool folds_to(struct str s, const char *name)
{
    if (s.len != strlen(name))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (fold(s.ptr[i]) != fold(name[i]))
            return false;
    return true;
}

const struct option_row *option_find_folded(struct str name)
{
    for (size_t i = 0; i < option_row_count; i++)
        if (folds_to(name, option_rows[i].name))
            return &option_rows[i];
    return NULL;
}

const struct option_row *option_find(struct str name)
{
    for (size_t i = 0; i < option_row_count; i++)
        if (str_eq_c(name, option_rows[i].name))
            return &option_rows[i];
    return NULL;
}

/* Levenshtein's distance of folded names, both at most NAME_MAX_LEN long. */
static size_t distance(struct str a, struct str b)
{
    size_t row[NAME_MAX_LEN + 1];

    for (size_t k = 0; k <= b.len; k++)
        row[k] = k;
    for (size_t i = 0; i < a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t k = 0; k < b.len; k++) {
            size_t change = diagonal + (fold(a.ptr[i]) != fold(b.ptr[k]));

            size_t step = MIN(row[k], row[k + 1]) + 1; /* one byte more, or one less */

            diagonal = row[k + 1];
            row[k + 1] = MIN(change, step);
        }
    }
    return row[b.len];
}

struct nearest {
    const char *name;
    size_t distance; /* names further away are not near */
};

static struct nearest nearest_begin(struct str name)
{
    return (struct nearest){.distance = name.len <= 3 ? 1 : name.len <= 8 ? 2 : 3};
}

static void nearest_try(struct nearest *n, struct str name, const char *candidate)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return;

    size_t d = distance(name, str_of(candidate));

    if (d < n->distance || (d == n->distance && !n->name))
        *n = (struct nearest){candidate, d};
}

const char *option_nearest(struct str name)
{
    struct nearest n = nearest_begin(name);

    for (size_t i = 0; i < option_row_count; i++)
        nearest_try(&n, name, option_rows[i].name);
    return n.name;
}

const char *option_nearest_of(struct str name, const char *const *names, size_t count)
{
    struct nearest n = nearest_begin(name);

    for (size_t i = 0; i < count; i++)
        nearest_try(&n, name, names[i]);
    return n.name;
}

void option_spell_flag(const char *name, char out[OPTION_VIA_SIZE])
{
    size_t n = 0;

    for (; name[n] != '\0' && n + 1 < OPTION_VIA_SIZE; n++)
        out[n] = fold(name[n]) == '_' ? '-' : fold(name[n]);
    out[n] = '\0';
}

void option_spell_env(const char *name, char out[OPTION_VIA_SIZE])
{
    size_t n = str_copy(out, OPTION_VIA_SIZE, STR(OPTION_ENV_PREFIX));

    for (; *name != '\0' && n + 1 < OPTION_VIA_SIZE; name++) {
        char c = fold(*name);

        out[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; /* a letter */
    }
    out[n] = '\0';
}

/* Values. -------------------------------------------------------------------------------------- */

static const struct option_row *row_of(const char *name)
{
    const struct option_row *row = option_find(str_of(name));

    assert(row); /* our own code asks for options that exist */
    return row;
}

static const struct option_value *value_of(const struct option_set *s, const struct option_row *row)
{
    return &s->values[row - option_rows];
}

bool option_bool(const struct option_set *s, const char *name)
{
    const struct option_row *row = row_of(name);

    assert(row->type == OPTION_BOOL);
    return value_of(s, row)->num != 0;
}

int64_t option_int(const struct option_set *s, const char *name)
{
    const struct option_row *row = row_of(name);

    assert(row->type == OPTION_INT || row->type == OPTION_SIZE || row->type == OPTION_DURATION_MS);
    return value_of(s, row)->num;
}

struct str option_text(const struct option_set *s, const char *name)
{
    const struct option_row *row = row_of(name);

    assert(row->type != OPTION_LIST);
    return secret_str(&value_of(s, row)->text);
}

static bool is_list_mark(char c)
{
    return memchr(LIST_MARKS, c, sizeof(LIST_MARKS) - 1) != NULL;
}

bool option_next_item(struct str *in, struct str *ret)
{
    while (in->len > 0 && is_list_mark(in->ptr[0]))
        *in = str_cut(*in, 1, in->len);
    if (in->len == 0)
        return false;

    size_t n = 0;

    while (n < in->len && !is_list_mark(in->ptr[n]))
        n++;
    *ret = str_cut(*in, 0, n);
    *in = str_cut(*in, n, in->len);
    return true;
}

struct str option_item(const struct option_set *s, const char *name, size_t i)
{
    const struct option_row *row = row_of(name);
    struct str list = secret_str(&value_of(s, row)->text), item;

    assert(row->type == OPTION_LIST);
    while (option_next_item(&list, &item))
        if (i-- == 0)
            return item;
    return STR_NONE;
}

enum option_origin option_origin(const struct option_set *s, const char *name)
{
    return value_of(s, row_of(name))->origin;
}

static const char *origin_text(const struct option_value *v, char *out, size_t cap)
{
    static const char *const texts[] = {
        [OPTION_DEFAULT] = "default", [OPTION_STORED] = "stored setting",
        [OPTION_FILE] = "file",       [OPTION_ENV] = "environment",
        [OPTION_FLAG] = "flag",
    };

    snprintf(out, cap, "%s%s%s", texts[v->origin], v->via[0] != '\0' ? " " : "", v->via);
    return out;
}

const char *option_origin_text(const struct option_set *s, const char *name, char *out, size_t cap)
{
    return origin_text(value_of(s, row_of(name)), out, cap);
}

void option_dump(const struct option_set *s, struct buf *out)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_value *v = &s->values[i];
        struct str text = secret_str(&v->text);
        char origin[OPTION_VIA_SIZE + 32], mask[SECRET_MASK_SIZE];

        if (option_rows[i].type == OPTION_SECRET) {
            secret_mask(text, mask);
            text = str_of(mask);
        }
        origin_text(v, origin, sizeof(origin));
        if (buf_printf(out, "%s = %.*s  # %s\n", option_rows[i].name, STR_ARG(text), origin) < 0)
            return; /* full: the caller's ceiling */
    }
}
