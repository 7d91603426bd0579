/* option_set.c -- how options get their values: text by text, from arguments, from the
 * environment; see option.h. */
#include "base/option.h"
#include "base/option_priv.h"

#include <stdarg.h>

#define SHOWN_BYTES 60 /* of a bad value in a message */

struct option_set *option_set_dup(const struct option_set *s)
{
    size_t bytes = sizeof(*s) + s->count * sizeof(s->values[0]);
    struct option_set *copy = xmalloc(bytes);

    memcpy(copy, s, bytes);
    for (size_t i = 0; i < s->count; i++)
        copy->values[i].text = secret_dup(secret_str(&s->values[i].text));
    return copy;
}

void option_set_free(struct option_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        secret_release(&s->values[i].text);
    xfree(s);
}

/* Checks. -------------------------------------------------------------------------------------- */

static bool is_number(enum option_type type)
{
    return type == OPTION_INT || type == OPTION_SIZE || type == OPTION_DURATION_MS;
}

/* Items joined by ",", whatever stood between them; *ret_owned is the caller's. */
static struct str join_items(struct str list, char **ret_owned)
{
    char *joined = xmalloc(list.len + 1);
    struct str item;
    size_t n = 0;

    while (option_next_item(&list, &item)) {
        if (n > 0)
            joined[n++] = ',';
        memcpy(joined + n, item.ptr, item.len);
        n += item.len;
    }
    *ret_owned = joined;
    return str_n(joined, n);
}

static size_t count_items(struct str list)
{
    struct str item;
    size_t n = 0;

    while (option_next_item(&list, &item))
        n++;
    return n;
}

/* A bad value as a message may show it. */
static struct str shown(struct str value)
{
    if (str_has_control(value) || !str_is_utf8(value))
        return STR("(unprintable)");
    return str_cut_utf8(value, SHOWN_BYTES);
}

static int refuse_range(const struct option_row *row, struct str value, struct err *reterr)
{
    char min[OPTION_NUMBER_SIZE], max[OPTION_NUMBER_SIZE];

    value = shown(value);
    option_help_number(row->type, row->min, min);
    option_help_number(row->type, row->max, max);
    return err_set_field(reterr, ERR_RANGE, row->name, "'%.*s' is not in %s..%s", STR_ARG(value),
                         min, max);
}

static int check_number(const struct option_row *row, struct str value, int64_t *ret,
                        struct err *reterr)
{
    const char *what = "a whole number";
    int rc;

    if (row->type == OPTION_SIZE) {
        what = "a size such as 64KiB";
        rc = option_parse_size(value, ret);
    } else if (row->type == OPTION_DURATION_MS) {
        what = "a duration such as 30s or 1h30m";
        rc = option_parse_duration(value, ret);
    } else {
        rc = str_to_i64(value, INT64_MIN, INT64_MAX, ret);
    }
    if (rc == ERR_RANGE || (rc == 0 && (*ret < row->min || *ret > row->max)))
        return refuse_range(row, value, reterr);
    if (rc < 0) {
        value = shown(value);
        return err_set_field(reterr, ERR_SYNTAX, row->name, "'%.*s' is not %s", STR_ARG(value),
                             what);
    }
    return 0;
}

static bool is_choice(struct str choices, struct str value)
{
    struct str one;

    while (str_split(&choices, '|', &one))
        if (str_eq(one, value))
            return true;
    return false;
}

/* TEXT, SECRET and LIST; a secret's content stays out of the message. */
static int check_text(const struct option_row *row, struct str value, struct err *reterr)
{
    const char *unit = row->type == OPTION_LIST ? "items" : "characters";
    uint64_t n = row->type == OPTION_LIST ? count_items(value) : str_count_chars(value);

    if (str_has_control(value))
        return err_set_field(reterr, ERR_SYNTAX, row->name, "holds control characters");
    if (!str_is_utf8(value))
        return err_set_field(reterr, ERR_SYNTAX, row->name, "is not UTF-8");
    if (n < (uint64_t)row->min || n > (uint64_t)row->max) /* rows have neither below 0 */
        return err_set_field(reterr, ERR_RANGE, row->name, "has %llu %s, not %lld..%lld",
                             (unsigned long long)n, unit, (long long)row->min, (long long)row->max);
    if (row->choices && !is_choice(str_of(row->choices), value)) {
        value = shown(value);
        return err_set_field(reterr, ERR_SYNTAX, row->name, "'%.*s' is not one of %s",
                             STR_ARG(value), row->choices);
    }
    return 0;
}

/* What *v would hold; *ret_text is the caller's. */
static int check(const struct option_row *row, struct str value, int64_t *ret_num,
                 struct secret *ret_text, struct err *reterr)
{
    bool on = false;
    CLEANUP(xfree_charp) char *joined = NULL;
    int rc = 0;

    if (row->type == OPTION_LIST)
        value = join_items(value, &joined);
    else if (row->type != OPTION_SECRET)
        value = str_trim(value);
    if (row->type == OPTION_BOOL) {
        if (option_parse_bool(value, &on) < 0) {
            value = shown(value);
            return err_set_field(reterr, ERR_SYNTAX, row->name, "'%.*s' is not true or false",
                                 STR_ARG(value));
        }
        *ret_num = on;
        value = on ? STR("true") : STR("false");
    } else if (is_number(row->type)) {
        rc = check_number(row, value, ret_num, reterr);
    } else {
        rc = check_text(row, value, reterr);
    }
    if (rc == 0)
        *ret_text = secret_dup(value);
    return rc;
}

/* Setting. ------------------------------------------------------------------------------------- */

/* Lists from flags and files grow. */
static bool grows(const struct option_row *row, const struct option_value *v,
                  enum option_origin origin)
{
    return row->type == OPTION_LIST && v->origin == origin && v->text.len > 0 &&
           (origin == OPTION_FLAG || origin == OPTION_FILE);
}

/* via: NULL where the origin says all. */
static int set_row(struct option_set *s, const struct option_row *row, struct str value,
                   enum option_origin origin, const char *via, struct err *reterr)
{
    struct option_value *v = &s->values[row - option_rows];
    CLEANUP(xfree_charp) char *joined = NULL;
    struct secret text;
    int64_t num = 0;

    if (origin < v->origin)
        return 0;
    if (row->type == OPTION_SECRET && origin == OPTION_FLAG)
        return err_set_field(reterr, ERR_DENIED, row->name,
                             "a secret is taken from the environment, not from an argument that "
                             "every user of the machine can read");
    if (grows(row, v, origin)) {
        size_t n = v->text.len + 1 + value.len;

        joined = xmalloc(n + 1);
        snprintf(joined, n + 1, "%s,", v->text.ptr);
        memcpy(joined + v->text.len + 1, value.len ? value.ptr : "", value.len);
        value = str_n(joined, n);
    }

    int rc = check(row, value, &num, &text, reterr);

    if (rc < 0)
        return rc;
    secret_release(&v->text);
    v->text = text;
    v->num = num;
    v->origin = origin;
    str_copy(v->via, sizeof(v->via), str_of(via));
    return 0;
}

struct option_set *option_set_new(void)
{
    struct option_set *s = xcalloc(1, sizeof(*s) + option_row_count * sizeof(s->values[0]));

    s->count = option_row_count;
    for (size_t i = 0; i < option_row_count; i++) {
        int rc =
            set_row(s, &option_rows[i], str_of(option_rows[i].deflt), OPTION_DEFAULT, NULL, NULL);

        assert(rc == 0); /* the table's own defaults */
        (void)rc;
    }
    return s;
}

static int refuse_unknown(const char *prefix, struct str name, struct err *reterr)
{
    const char *nearest = option_nearest(name);
    char spelled[OPTION_VIA_SIZE] = "";

    name = shown(name);
    if (!nearest)
        return err_set(reterr, ERR_NOTFOUND, "unknown option %s%.*s", prefix, STR_ARG(name));
    if (prefix[0] != '\0')
        option_spell_flag(nearest, spelled);
    return err_set(reterr, ERR_NOTFOUND, "unknown option %s%.*s; did you mean %s%s?", prefix,
                   STR_ARG(name), prefix, prefix[0] != '\0' ? spelled : nearest);
}

int option_set_text(struct option_set *s, struct str name, struct str value,
                    enum option_origin origin, struct err *reterr)
{
    const struct option_row *row = option_find(name);

    if (!row)
        return refuse_unknown("", name, reterr);

    int rc = set_row(s, row, value, origin, NULL, reterr);

    return rc < 0 && reterr ? err_prefix(reterr, "%s", row->name) : rc;
}

/* Flags. --------------------------------------------------------------------------------------- */

/* args[*at] is "--name..."; *at is moved over a value of its own. */
static int set_flag(struct option_set *s, int argc, char **argv, int *at, struct err *reterr)
{
    struct str word = str_of(argv[*at] + 2);
    bool has_value = str_find(word, '=') >= 0, is_negated = false;
    struct str name = str_until(word, '='), value = str_after(word, '=');
    const struct option_row *row = option_find_folded(name);
    char flag[OPTION_VIA_SIZE], via[OPTION_VIA_SIZE + 2];

    if (!row && str_skip_prefix(&name, STR("no-"))) {
        row = option_find_folded(name);
        is_negated = true;
        if (row && (row->type != OPTION_BOOL || has_value))
            return err_set_field(reterr, ERR_SYNTAX, row->name, "--no-%.*s: %s", STR_ARG(name),
                                 has_value ? "takes no value"
                                           : "is not for an option with a value");
    }
    if (!row)
        return refuse_unknown("--", str_until(word, '='), reterr);
    option_spell_flag(row->name, flag);
    snprintf(via, sizeof(via), "--%s", flag);
    if (row->type == OPTION_BOOL && !has_value)
        value = is_negated ? STR("false") : STR("true");
    else if (!has_value && *at + 1 < argc)
        value = str_of(argv[++*at]);
    else if (!has_value)
        return err_set_field(reterr, ERR_SYNTAX, row->name, "%s needs a value", via);

    int rc = set_row(s, row, value, OPTION_FLAG, via, reterr);

    return rc < 0 && reterr ? err_prefix(reterr, "%s", via) : rc;
}

/* "-v", "-qq": adds to *louder. */
static int count_verbosity(const char *arg, int *louder, struct err *reterr)
{
    int sum = 0;

    for (const char *c = arg + 1; *c != '\0'; c++) {
        if (*c != 'v' && *c != 'q')
            return refuse_unknown("-", str_of(arg + 1), reterr);
        if (sum > -8 && sum < 8) /* there are four levels */
            sum += *c == 'v' ? 1 : -1;
    }
    *louder += sum;
    return 0;
}

static int set_verbosity(struct option_set *s, int louder, struct err *reterr)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    struct str now = option_text(s, "log.level");
    int level = 0;

    while (level + 1 < (int)ARRAY_LEN(levels) && !str_eq_c(now, levels[level]))
        level++;
    level = MIN(MAX(level + louder, 0), (int)ARRAY_LEN(levels) - 1);
    return set_row(s, option_find(STR("log.level")), str_of(levels[level]), OPTION_FLAG,
                   louder > 0 ? "-v" : "-q", reterr);
}

/* A walk over argv. */
struct args {
    struct option_set *set;
    char **argv;
    const char **words;
    size_t max_words, n_words;
    int argc, at, louder;
    bool is_ended; /* "--" came */
};

/* Takes argv[at], and the value behind it. */
static int take_arg(struct args *a, struct err *reterr)
{
    const char *arg = a->argv[a->at];

    if (a->is_ended || arg[0] != '-' || arg[1] == '\0') {
        if (a->n_words == a->max_words)
            return err_set(reterr, ERR_SYNTAX, "too many words: '%.*s'",
                           STR_ARG(shown(str_of(arg))));
        a->words[a->n_words++] = arg;
        return 0;
    }
    if (strcmp(arg, "--") == 0) {
        a->is_ended = true;
        return 0;
    }
    return arg[1] == '-' ? set_flag(a->set, a->argc, a->argv, &a->at, reterr)
                         : count_verbosity(arg, &a->louder, reterr);
}

static int end_args(struct args *a, size_t *ret_words, struct err *reterr)
{
    if (a->louder != 0 && set_verbosity(a->set, a->louder, reterr) < 0)
        return ERR_INTERNAL;
    if (ret_words)
        *ret_words = a->n_words;
    return 0;
}

int option_set_args(struct option_set *s, int argc, char **argv, const char **words,
                    size_t max_words, size_t *ret_words, struct err *reterr)
{
    struct args a = {.set = s, .argv = argv, .argc = argc, .words = words, .max_words = max_words};

    for (; a.at < argc; a.at++) {
        int rc = take_arg(&a, reterr);

        if (rc < 0)
            return rc;
    }
    return end_args(&a, ret_words, reterr);
}

static void report(struct buf *problems, const char *fmt, ...) PRINTF(2, 3);
static void report(struct buf *problems, const char *fmt, ...)
{
    char line[ERR_TEXT_MAX + 2 * OPTION_VIA_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (buf_printf(problems, "%s\n", line) < 0)
        return; /* full: the count tells that there were more */
}

int option_set_args_all(struct option_set *s, int argc, char **argv, const char **words,
                        size_t max_words, size_t *ret_words, struct buf *problems)
{
    struct args a = {.set = s, .argv = argv, .argc = argc, .words = words, .max_words = max_words};
    struct err e = {0};
    int n_bad = 0;

    for (; a.at < argc; a.at++) {
        if (take_arg(&a, &e) == 0)
            continue;
        report(problems, "%s%s", e.text[0] == '-' ? "flag " : "", e.text);
        n_bad++;
    }
    if (end_args(&a, ret_words, &e) < 0) {
        report(problems, "%s", e.text);
        n_bad++;
    }
    return n_bad;
}

/* Environment. --------------------------------------------------------------------------------- */

/* STR_NONE with a NULL pointer when it is not set. */
static struct str env_value(char **envp, struct str name)
{
    for (; *envp; envp++) {
        struct str entry = str_of(*envp);

        if (entry.len > name.len && entry.ptr[name.len] == '=' && str_starts(entry, name))
            return str_cut(entry, name.len + 1, entry.len);
    }
    return STR_NONE;
}

static struct str truthy(struct str value)
{
    static const char *const no[] = {"0", "false", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (str_ieq(str_trim(value), str_of(no[i])))
            return STR("false");
    return STR("true");
}

/* Whether a value that was refused leaves the default in force. */
static bool is_survived(const struct option_row *row, struct str value)
{
    int64_t n;

    value = str_trim(value);

    int rc = str_to_i64(value, INT64_MIN, INT64_MAX, &n);
    bool is_high = (rc == 0 && n > row->max) || (rc == ERR_RANGE && value.ptr[0] != '-');

    return (row->flags & (is_high ? OPTION_ENV_HIGH : OPTION_ENV_LOW)) != 0;
}

enum env_result { ENV_UNSET, ENV_TAKEN, ENV_SURVIVED, ENV_BAD };

static enum env_result try_env(struct option_set *s, const struct option_row *row, struct str name,
                               bool is_old, char **envp, struct buf *problems)
{
    struct str value = env_value(envp, name);
    char via[OPTION_VIA_SIZE];
    struct err e;

    if (value.len == 0)
        return ENV_UNSET;
    if (is_old && row->flags & OPTION_ENV_TRUTHY)
        value = truthy(value);
    str_copy(via, sizeof(via), name);
    if (set_row(s, row, value, OPTION_ENV, via, &e) == 0)
        return ENV_TAKEN;
    if (is_survived(row, value)) {
        report(problems, "warning: %s: %s; ignored", via, e.text);
        return ENV_SURVIVED;
    }
    report(problems, "environment %s: %s", via, e.text);
    return ENV_BAD;
}

/* The first of its names that is set and good. */
static bool set_row_env(struct option_set *s, const struct option_row *row, char **envp,
                        struct buf *problems)
{
    struct str older = str_of(row->env), name;
    char main_name[OPTION_VIA_SIZE];
    enum env_result r;

    option_spell_env(row->name, main_name);
    r = try_env(s, row, str_of(main_name), false, envp, problems);
    while ((r == ENV_UNSET || r == ENV_SURVIVED) && option_next_item(&older, &name))
        r = try_env(s, row, name, true, envp, problems);
    return r != ENV_BAD;
}

/* "GATEHOUSE_PROT": a slip of the finger would go unnoticed. Names far from ours are not ours. */
static void warn_of_slips(char **envp, struct buf *problems)
{
    for (; *envp; envp++) {
        struct str name = str_until(str_of(*envp), '=');
        char spelled[OPTION_VIA_SIZE];

        if (!str_skip_prefix(&name, STR(OPTION_ENV_PREFIX)) || option_find_folded(name))
            continue;

        const char *nearest = option_nearest(name);

        if (!nearest)
            continue;
        name = shown(name);
        option_spell_env(nearest, spelled);
        report(problems, "warning: " OPTION_ENV_PREFIX "%.*s is not known; did you mean %s?",
               STR_ARG(name), spelled);
    }
}

int option_set_env(struct option_set *s, char **envp, struct buf *problems)
{
    int n_bad = 0;

    for (size_t i = 0; i < option_row_count; i++)
        n_bad += !set_row_env(s, &option_rows[i], envp, problems);
    warn_of_slips(envp, problems);
    return n_bad;
}
