/* spool.h -- records on disk while the database cannot take them: append-only segment files in one
 * directory, each record {magic, length, CRC-32C, bytes}, synced per batch. Recovery keeps the
 * valid prefix of each segment, tolerates missing, torn and foreign files, and never refuses to
 * start. Order of deletion: database commit, then mark (synced), then unlink.
 * One owner thread. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#define SPOOL_RECORD_MAX (1u << 20)

struct spool;

/* Opens or makes `dir` (0700). max_bytes bounds the sum of all segments. */
MUST_USE int spool_open(const char *dir, uint64_t max_bytes, struct spool **ret, struct err *reterr);
void spool_close(struct spool *s);
/* Append one record, not yet durable. ERR_LIMIT: full, nothing written; ERR_IO: disk. */
MUST_USE int spool_append(struct spool *s, struct str record, struct err *reterr);
MUST_USE int spool_sync(struct spool *s, struct err *reterr); /* 0: all appended records are durable */
uint64_t spool_bytes(const struct spool *s);
uint64_t spool_pending(const struct spool *s); /* records not yet marked done */
uint64_t spool_damaged(const struct spool *s); /* records lost to damage found at open */
/* Read from the oldest pending record; borrowed until the next call. 0, ERR_NOTFOUND at the end. */
void spool_rewind(struct spool *s);
MUST_USE int spool_next(struct spool *s, struct str *ret);
/* All records returned by spool_next() so far are stored elsewhere: durable mark, old segments go. */
MUST_USE int spool_done(struct spool *s, struct err *reterr);
