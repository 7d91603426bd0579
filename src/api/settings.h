/* settings.h -- values that the settings page may store (option rows with OPTION_PAGE): the stored one
 * wins; an environment value seeds it, once for each value the environment takes (ruling 12). */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/option.h"
#include "catalog/catalog.h"

/* At start: environment and flag values not seen before become the stored ones. */
MUST_USE int settings_seed(struct catalog *c, const struct option_set *o, struct err *reterr);
/* Value in force: stored for page options, else the option's. Borrowed from s or o. */
struct str settings_value(const struct option_set *o, const struct catalog_snapshot *s, const char *name);
bool settings_bool(const struct option_set *o, const struct catalog_snapshot *s, const char *name);
int64_t settings_int(const struct option_set *o, const struct catalog_snapshot *s, const char *name);
