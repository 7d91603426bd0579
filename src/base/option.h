/* option.h -- one table of everything that can be set: name, environment names, type, default,
 * bounds, unit, reload, help. Flags, environment, settings page, --help, the manual page,
 * --check-config and docs all read it. Precedence: flag > environment > file > stored setting >
 * default. The rows are in option_table.c. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum option_type { OPTION_BOOL, OPTION_INT, OPTION_SIZE, OPTION_DURATION_MS, OPTION_TEXT, OPTION_SECRET, OPTION_LIST };
enum option_origin { OPTION_DEFAULT, OPTION_STORED, OPTION_FILE, OPTION_ENV, OPTION_FLAG };

#define OPTION_RELOADABLE 1u /* takes effect on HUP or page change, else at the next start */
#define OPTION_PAGE       2u /* may be stored from the settings page */
#define OPTION_HIDDEN     4u /* not in short --help */
#define OPTION_ENV_LOW    16u /* from the environment, no number or one below min is a warning, not an error */
#define OPTION_ENV_HIGH   32u /* ... and so is one above max */
#define OPTION_ENV_TRUTHY 64u /* under its older names all but 0, false, no, off means true */
#define OPTION_COMMAND    128u /* of the client commands, nothing that serve reads */

/* Names are dotted: "tls.cert"; the flag is "--tls-cert", the main environment name
 * "GATEHOUSE_TLS_CERT"; `env` lists older names ("PORT"), blank-separated. */
struct option_row {
    const char *name;
    enum option_type type;
    const char *env;
    const char *deflt; /* text form; durations "30s", sizes "1MiB", booleans "true" */
    int64_t min, max;  /* numbers, sizes (bytes), durations (ms); texts: characters; lists: items */
    const char *unit;  /* for people: "connections", "" = none */
    const char *choices; /* TEXT: "text|json|journal", NULL = any */
    unsigned flags;
    const char *help;  /* one sentence */
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* A set of values; immutable once handed to other threads. */
struct option_set;

struct option_set *option_set_new(void); /* all defaults */
struct option_set *option_set_dup(const struct option_set *s);
void option_set_free(struct option_set *s); /* secrets are wiped */
DEFINE_CLEANUP(struct option_set *, option_set_free)

/* Set one option from text. Ignored (returns 0) when a stronger origin set it already. The same
 * origin again replaces, but a list from flags or a file grows. ERR_NOTFOUND unknown name (text has
 * the nearest), ERR_SYNTAX / ERR_RANGE bad value, ERR_DENIED a secret as a flag (others can see
 * arguments). The text never holds a secret. */
MUST_USE int option_set_text(struct option_set *s, struct str name, struct str value, enum option_origin origin, struct err *reterr);
/* argv after the subcommand: "--name=value", "--name value", "--no-name" for booleans (which take a
 * value only behind "="), -v/-q (one log level up or down, repeatable), "--" ends the options.
 * Words that are no option go to `words`, borrowed from argv (more than max_words: ERR_SYNTAX).
 * First error ends it; options before it are set. */
MUST_USE int option_set_args(struct option_set *s, int argc, char **argv, const char **words, size_t max_words, size_t *ret_words, struct err *reterr);
/* The same, but a fault does not end it: each is a line of `problems` ("flag --port: ..."). Returns
 * their number. */
int option_set_args_all(struct option_set *s, int argc, char **argv, const char **words, size_t max_words, size_t *ret_words, struct buf *problems);
/* All environment names of all rows, GATEHOUSE_* before the older ones. Errors are collected line by
 * line in `problems`
 * ("environment PORT: ...") and counted in what it returns; lines that begin with "warning: " are not counted. */
int option_set_env(struct option_set *s, char **envp, struct buf *problems);

bool option_bool(const struct option_set *s, const char *name);
int64_t option_int(const struct option_set *s, const char *name); /* INT, SIZE, DURATION_MS */
struct str option_text(const struct option_set *s, const char *name); /* all but LIST, in text form; borrowed */
/* LIST: i-th item or STR_NONE past the end; comma- or blank-separated, or set several times. */
struct str option_item(const struct option_set *s, const char *name, size_t i);
enum option_origin option_origin(const struct option_set *s, const char *name);
/* "environment PORT", "flag --port", "stored setting", "default" */
const char *option_origin_text(const struct option_set *s, const char *name, char *out, size_t cap);
const struct option_row *option_find(struct str name); /* NULL */
const char *option_nearest(struct str name);           /* by edit distance, NULL when none is near */
const char *option_nearest_of(struct str name, const char *const *names, size_t count); /* of other names */

/* Text forms shared with YAML and JSON. */
MUST_USE int option_parse_bool(struct str s, bool *ret);        /* 1 0 true false yes no on off */
MUST_USE int option_parse_size(struct str s, int64_t *ret);     /* 123, 64KiB, 1MiB, 1GiB, 1MB */
MUST_USE int option_parse_duration(struct str s, int64_t *ret_ms); /* Go's grammar: 1h30m, 500ms; bare number = s */

void option_help(struct buf *out, bool full);     /* the options part of --help */
/* The rows with these names alone (blank-separated, all known), in short form, in the table's order. */
void option_help_of(struct buf *out, struct str names);
/* A number of such an option for people: "10s", "64KiB", "3"; returns out. */
#define OPTION_NUMBER_SIZE 32
const char *option_help_number(enum option_type type, int64_t v, char out[OPTION_NUMBER_SIZE]);
void option_dump(const struct option_set *s, struct buf *out); /* name = value  # origin; secrets masked */
