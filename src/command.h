/* command.h -- the subcommands of the binary besides serve. Each returns an exit code of app.h; data goes to
 * stdout, talk to stderr. */
#pragma once

#include "base/base.h"
#include "base/option.h"

struct command {
    const char *name, *usage, *help;
    int (*run)(const struct option_set *o, const char *const *words, size_t count);
    const char *options; /* of the table, blank-separated; flags of other commands are refused */
    const char *about;   /* the rest of its --help */
};
extern const struct command commands[];
extern const size_t command_count;

int command_import(const struct option_set *o, const char *const *words, size_t count);
int command_backup(const struct option_set *o, const char *const *words, size_t count);
int command_health(const struct option_set *o, const char *const *words, size_t count);
int command_build_info(const struct option_set *o); /* --build-info */
int command_run(const struct option_set *o, const char *const *words, size_t count);
