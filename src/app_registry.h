/* app_registry.h -- the database of system 1 or 2 that lies in the data directory (ruling 14). */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "catalog/catalog.h"

/* A registry.db in the data directory is taken over by the first start. "First" is a stored mark: a
 * start that failed or was killed before it is tried again, rows that came are skipped. */
MUST_USE int app_registry_take_over(struct catalog *catalog, const char *data_dir, struct err *reterr);
