/* probe_log.h -- JSONL files of runs, one line a probe, in DATA_DIR/logs (spec 1 section 2.2), and
 * their clean-up by total size. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"
#include "base/tz.h"

struct probe_log { /* of one run */
    int fd;        /* -1: not open */
    uint64_t bytes; /* written */
    char path[512]; /* absolute, "" before probe_log_name() */
};

/* Make `data_dir`/logs (0700) and put its absolute path into out. */
MUST_USE int probe_log_dir(const char *data_dir, char *out, size_t cap, struct err *reterr);
/* Choose target_<id>_<yyyyMMdd_HHmmss>.jsonl by the wall clock of zone, "_2", "_3" ... behind it
 * when that exists. Nothing is made yet. */
MUST_USE int probe_log_name(struct probe_log *l, const char *dir, int64_t channel_id, utc_ms at,
                            const struct tz *zone, struct err *reterr);
MUST_USE int probe_log_open(struct probe_log *l, struct err *reterr); /* 0600; ERR_CONFLICT: was made by somebody meanwhile */
/* One line with its line feed in one write(2). */
MUST_USE int probe_log_write(struct probe_log *l, struct str line, struct err *reterr);
void probe_log_close(struct probe_log *l); /* not open: no-op */

struct probe_log_sweep {
    uint64_t bytes;  /* left, without the kept files */
    uint64_t removed_bytes;
    size_t files, removed;
};
/* Blocking: while the *.jsonl files directly in dir, without those named in `keep`, are larger than
 * max_bytes together, delete the oldest by modification time. max_bytes UINT64_MAX: only count. A
 * folder of thousands of files is swept a little below the limit, so that the next run does not walk it
 * again. ERR_IO: the folder cannot be read. */
MUST_USE int probe_log_sweep(const char *dir, uint64_t max_bytes, char *const *keep, size_t keep_count,
                             struct probe_log_sweep *ret, struct err *reterr);
