/* registry_import.h -- takes over a registry.db of system 1 or 2 (all generations, spec 1 sections
 * 2 and 10): channels with their ids, keys, runs and history, settings, proxy keys with their
 * hashes. The source is opened read-only; one transaction; repeatable (rows whose id is there with
 * the same name are updated only in an empty target, else reported). */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "catalog/catalog.h"

struct registry_import_report {
    int64_t channels, runs, rows, settings, keys, skipped;
    char generation[16]; /* "PY", "GO-early", "GO", "GO-later" */
    bool is_visitor_mode_open; /* imported visitor mode without token: warn at start */
};
/* dry_run: everything is checked and counted, nothing written. notes: one line per oddity. */
MUST_USE int registry_import(struct catalog *c, const char *path, bool dry_run, struct registry_import_report *ret, struct buf *notes, struct err *reterr);
