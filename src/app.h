/* app.h -- the whole daemon: builds every part in order, wires them together (nobody else does),
 * runs, and tears down in reverse. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/option.h"

/* Exit codes of every command (ux: CLI conventions). */
enum app_exit {
    APP_OK = 0,
    APP_FAILED = 1,
    APP_USAGE = 2,
    APP_UNREACHABLE = 3,
    APP_REFUSED = 4,
    APP_BAD_CONFIG = 78,
    APP_INTERRUPTED = 130,
};

/* Serve until a signal; returns an exit code. `options` is taken over. */
int app_serve(struct option_set *options);
