/* app_check.h -- everything about the options that can be wrong without opening data or sockets, told all
 * at once. What one option's grammar is knows base/option; here are the rules behind it. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/option.h"

/* One line a fault, "environment PORT: port: ..."; returns their number. Lines that begin with
 * "warning: " are not counted. With `files`, what the daemon reads at its start is read as well:
 * clients of it run as users who may not. */
size_t app_check(const struct option_set *o, bool files, struct buf *problems);
