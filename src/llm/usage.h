/* usage.h -- token counters of one call, disjoint: the total is their sum. */
#pragma once

#include "base/base.h"

struct usage {
    int64_t input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, unsplit;
};
enum usage_source { USAGE_NONE, USAGE_REPORTED, USAGE_PARTIAL, USAGE_ESTIMATED };
enum cost_source { COST_NONE, COST_REPORTED, COST_PRICED, COST_ESTIMATED };

static inline int64_t usage_total(const struct usage *u)
{
    return u->input + u->cache_read + u->cache_write_5m + u->cache_write_1h + u->output + u->reasoning + u->unsplit;
}
