/* spool.h -- records on disk while the database cannot take them: append-only segment files in one
 * directory, each record {magic, length, CRC-32C, bytes}, synced per batch. Recovery keeps the
 * valid prefix of each segment, tolerates missing, torn and foreign files, and never refuses to
 * start. Order of deletion: database commit, then mark (synced), then unlink. A record may be
 * returned again after a crash or a failed sync, so taking one twice must do no harm.
 * One owner thread. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#define SPOOL_RECORD_MAX (1u << 20)

struct spool;

/* Opens or makes `dir` (0700; its parent exists). max_bytes bounds the sum of all segments. */
MUST_USE int spool_open(const char *dir, uint64_t max_bytes, struct spool **ret, struct err *reterr);
void spool_close(struct spool *s); /* syncs what it can; NULL is a no-op */
/* Append one record, not yet durable. ERR_LIMIT: full, nothing written; ERR_IO: disk, and 256 KiB
 * wait in memory already: nothing taken; ERR_RANGE: longer than SPOOL_RECORD_MAX or empty. */
MUST_USE int spool_append(struct spool *s, struct str record, struct err *reterr);
/* 0: all appended records are durable. ERR_IO: not yet; they stay in memory for the next try. */
MUST_USE int spool_sync(struct spool *s, struct err *reterr);
uint64_t spool_bytes(const struct spool *s);
uint64_t spool_pending(const struct spool *s); /* records not yet marked done */
uint64_t spool_damaged(const struct spool *s); /* places where records were lost to damage (a torn or changed tail of one segment counts once) */
/* Read from the oldest pending record, those not yet synced included; borrowed until the next call
 * of any spool function. 0; ERR_NOTFOUND at the end; ERR_IO no descriptor or memory just now. A
 * segment that turns out damaged is left from there on, and counted. */
void spool_rewind(struct spool *s);
MUST_USE int spool_next(struct spool *s, struct str *ret);
/* All records returned by spool_next() so far are stored elsewhere: durable mark, old segments go.
 * ERR_IO: nothing was deleted, the records stay pending. */
MUST_USE int spool_done(struct spool *s, struct err *reterr);
