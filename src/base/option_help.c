/* option_help.c -- the options as --help shows them, from the table. */
#include "base/option.h"
#include "base/option_priv.h"

#define WIDTH  80
#define COLUMN 32 /* where the help begins */
#define INDENT "      "

const char *option_help_number(enum option_type type, int64_t v, char out[OPTION_NUMBER_SIZE])
{
    static const struct {
        enum option_type type;
        int64_t size;
        const char *unit;
    } forms[] = {
        {OPTION_SIZE, INT64_C(1) << 40, "TiB"}, {OPTION_SIZE, INT64_C(1) << 30, "GiB"},
        {OPTION_SIZE, INT64_C(1) << 20, "MiB"}, {OPTION_SIZE, INT64_C(1) << 10, "KiB"},
        {OPTION_DURATION_MS, 3600000, "h"},     {OPTION_DURATION_MS, 60000, "m"},
        {OPTION_DURATION_MS, 1000, "s"},        {OPTION_DURATION_MS, 1, "ms"},
    };

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (forms[i].type == type && v != 0 && v % forms[i].size == 0) {
            snprintf(out, OPTION_NUMBER_SIZE, "%lld%s", (long long)(v / forms[i].size),
                     forms[i].unit);
            return out;
        }
    }
    snprintf(out, OPTION_NUMBER_SIZE, "%lld", (long long)v);
    return out;
}

static const char *placeholder(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_BOOL:
    case OPTION_SECRET:
        return "";
    case OPTION_INT:
        return "=NUMBER";
    case OPTION_SIZE:
        return "=SIZE";
    case OPTION_DURATION_MS:
        return "=TIME";
    case OPTION_LIST:
        return "=LIST";
    case OPTION_TEXT:
        return "=TEXT";
    }
    return "";
}

/* "--port=NUMBER", "--[no-]visitor-mode", "--log-format=text|json|journal"; secrets have no flag,
 * so the variable stands there. */
static void put_flag(struct buf *line, const struct option_row *row)
{
    char name[OPTION_VIA_SIZE];

    if (row->type == OPTION_SECRET) {
        option_spell_env(row->name, name);
        buf_putf(line, "%s", name);
        return;
    }
    option_spell_flag(row->name, name);
    if (row->type == OPTION_BOOL)
        buf_putf(line, "--[no-]%s", name);
    else if (row->choices)
        buf_putf(line, "--%s=%s", name, row->choices);
    else
        buf_putf(line, "--%s%s", name, placeholder(row));
}

static bool has_default(const struct option_row *row)
{
    return row->deflt && row->deflt[0] != '\0';
}

static void put_default(struct buf *text, const struct option_row *row)
{
    if (has_default(row))
        buf_putf(text, " [%s]", row->deflt);
}

static void put_bounds(struct buf *text, const struct option_row *row)
{
    char min[OPTION_NUMBER_SIZE], max[OPTION_NUMBER_SIZE];

    if (row->type != OPTION_INT && row->type != OPTION_SIZE && row->type != OPTION_DURATION_MS)
        return;
    buf_putf(text, " %s to %s", option_help_number(row->type, row->min, min),
             option_help_number(row->type, row->max, max));
    if (row->unit[0] != '\0')
        buf_putf(text, " %s", row->unit);
    buf_put(text, STR("."));
}

static void put_details(struct buf *text, const struct option_row *row)
{
    struct str older = str_of(row->env), name;
    char main_name[OPTION_VIA_SIZE];

    option_spell_env(row->name, main_name);
    put_bounds(text, row);
    buf_putf(text, " Environment: %s", main_name);
    while (option_next_item(&older, &name))
        buf_putf(text, ", %.*s", STR_ARG(name));
    buf_put(text, STR("."));
    if (row->flags & OPTION_RELOADABLE)
        buf_put(text, row->flags & OPTION_PAGE ? STR(" The settings page can change it.")
                                               : STR(" Read again on HUP."));
}

/* Words of `text`, wrapped and indented by `indent`; the first line stands at `column` already. */
static int put_wrapped(struct buf *out, struct str text, size_t column, size_t indent)
{
    struct str word;

    while (str_split(&text, ' ', &word)) {
        int rc;

        if (word.len == 0)
            continue;
        if (column + 1 + word.len > WIDTH && column > indent) {
            rc = buf_printf(out, "\n%*s%.*s", (int)indent, "", STR_ARG(word)); /* COLUMN at most */
            column = indent + word.len;
        } else {
            rc = buf_printf(out, "%s%.*s", column > indent ? " " : "", STR_ARG(word));
            column += word.len + (column > indent);
        }
        if (rc < 0)
            return rc;
    }
    return buf_add_char(out, '\n');
}

static int put_short(struct buf *out, const struct option_row *row)
{
    struct buf line = BUF_INIT(1024), text = BUF_INIT(4096);
    int rc;

    put_flag(&line, row);
    buf_putf(&text, "%s", row->help);
    put_default(&text, row);
    if (buf_len(&line) + 4 > COLUMN)
        rc = buf_printf(out, "  %s\n%*s", buf_cstr(&line), COLUMN, "");
    else
        rc = buf_printf(out, "  %-*s", COLUMN - 2, buf_cstr(&line));
    if (rc == 0)
        rc = put_wrapped(out, buf_str(&text), COLUMN, COLUMN);
    buf_release(&line);
    buf_release(&text);
    return rc;
}

static int put_full(struct buf *out, const struct option_row *row)
{
    struct buf line = BUF_INIT(1024), text = BUF_INIT(4096);
    int rc;

    put_flag(&line, row);
    buf_putf(&text, "%s", row->help);
    if (has_default(row))
        buf_putf(&text, " Default %s.", row->deflt);
    put_details(&text, row);
    rc = buf_printf(out, "  %s\n" INDENT, buf_cstr(&line));
    if (rc == 0)
        rc = put_wrapped(out, buf_str(&text), strlen(INDENT), strlen(INDENT));
    buf_release(&line);
    buf_release(&text);
    return rc;
}

static bool is_named(struct str names, const struct option_row *row)
{
    struct str name;

    while (option_next_item(&names, &name))
        if (str_eq_c(name, row->name))
            return true;
    return false;
}

static int put_group(struct buf *out, bool full, bool secrets)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        int rc;

        if ((row->type == OPTION_SECRET) != secrets || (row->flags & OPTION_HIDDEN && !full))
            continue;
        rc = full ? put_full(out, row) : put_short(out, row);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void option_help_of(struct buf *out, struct str names)
{
    for (size_t i = 0; i < option_row_count; i++)
        if (is_named(names, &option_rows[i]) && put_short(out, &option_rows[i]) < 0)
            return; /* full: the caller's ceiling */
}

void option_help(struct buf *out, bool full)
{
    int rc = put_group(out, full, false);

    if (rc == 0)
        rc = buf_printf(out, "  -v, -q\n" INDENT "Say more, say less; may be repeated.\n\n"
                             "Secrets, from the environment, never as arguments:\n");
    if (rc == 0)
        rc = put_group(out, full, true);
    if (rc < 0)
        return; /* full: the caller's ceiling */
}
