/* command_client.h -- the command line as a client of the running daemon: one blocking request on a
 * loop of its own. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/option.h"

struct command_answer {
    int status;      /* 0 = not reachable */
    struct buf body; /* 8 MiB at most; caller releases */
    char error[256];
};

/* path begins with '/'; the address is option `url`, else the first listener of the options. */
void command_ask(const struct option_set *o, const char *method, const char *path, struct str token,
                 struct command_answer *ret);
/* Token of option `token` (GATEHOUSE_TOKEN), else the admin token of the options. */
struct str command_token(const struct option_set *o);
