/* rollup_open.h -- histograms of the roll-up rows that still grow, in their stored form, so that
 * adding to a row reads nothing. One period a level is kept (the newest minute, quarter, day);
 * rows of older periods are read and written through.
 * Owned by the ledger thread. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct rollup_open; /* one level */

struct rollup_open *rollup_open_new(void);
void rollup_open_free(struct rollup_open *o);
/* The stored histograms of row (at, rk); false when not known: read the store. */
bool rollup_open_get(struct rollup_open *o, int64_t at, int64_t rk, struct str *ret_duration,
                     struct str *ret_ttft);
/* Remember what is being written. */
void rollup_open_put(struct rollup_open *o, int64_t at, int64_t rk, struct str duration,
                     struct str ttft);
void rollup_open_forget(struct rollup_open *o);
