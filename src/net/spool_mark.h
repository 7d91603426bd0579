/* spool_mark.h -- how far the spool is done: file "mark" with two slots of {"GHSMARK1", generation,
 * segment, offset, crc}, written in turn and in place, so that marking needs no space on a full
 * disk and a torn write leaves the other slot. */
#pragma once

#include "base/base.h"

struct spool_place { /* a record's place: number of the segment, byte in its file */
    uint64_t seq, off;
};

struct spool_mark {
    int fd, dir_fd; /* fd -1 = there is none yet; dir_fd borrowed */
    uint64_t generation;
    struct spool_place place; /* all before it is done */
};

/* Never fails: without a readable mark everything is pending; making one is tried again by write. */
void spool_mark_open(struct spool_mark *m, int dir_fd);
void spool_mark_close(struct spool_mark *m);
MUST_USE bool spool_mark_write(struct spool_mark *m, struct spool_place to); /* durable, or false and errno: m unchanged */
