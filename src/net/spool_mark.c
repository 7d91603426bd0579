/* spool_mark.c -- the mark file. */
#include "net/spool_mark.h"

#include "net/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_SIZE    36u
#define SLOT_SPACING 512u /* one disk sector: a torn write cannot hit both slots */

static const char magic[8] = "GHSMARK1";

static bool make_file(struct spool_mark *m)
{
    static const char zero[SLOT_SPACING * 2];
    struct stat st;

    if (m->fd >= 0)
        return true;
    m->fd = openat(m->dir_fd, "mark", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (m->fd < 0)
        return false;
    if (fstat(m->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        spool_file_close(&m->fd);
        errno = EINVAL;
        return false;
    }
    /* Take the space now, while there may be some. */
    if (st.st_size < (off_t)sizeof(zero) &&
        (!spool_file_write(m->fd, zero, sizeof(zero), 0) || fsync(m->fd) < 0 || fsync(m->dir_fd) < 0)) {
        spool_file_close(&m->fd);
        return false;
    }
    return true;
}

static void read_slot(struct spool_mark *m, const char slot[SLOT_SIZE])
{
    struct spool_place place = {spool_file_get64(slot + 16), spool_file_get64(slot + 24)};

    if (memcmp(slot, magic, 8) != 0 || spool_file_crc(slot, 32) != spool_file_get32(slot + 32) ||
        spool_file_get64(slot + 8) < m->generation || place.seq > SPOOL_FILE_SEQ_MAX)
        return;
    m->generation = spool_file_get64(slot + 8);
    m->place = place;
}

void spool_mark_open(struct spool_mark *m, int dir_fd)
{
    *m = (struct spool_mark){.fd = -1, .dir_fd = dir_fd};
    if (!make_file(m))
        return;
    for (unsigned i = 0; i < 2; i++) {
        char slot[SLOT_SIZE];

        if (spool_file_read(m->fd, slot, sizeof(slot), i * SLOT_SPACING) == sizeof(slot))
            read_slot(m, slot);
    }
}

void spool_mark_close(struct spool_mark *m)
{
    spool_file_close(&m->fd);
}

bool spool_mark_write(struct spool_mark *m, struct spool_place to)
{
    char slot[SLOT_SIZE];
    uint64_t generation = m->generation + 1;

    if (!make_file(m))
        return false;
    memcpy(slot, magic, 8);
    spool_file_put64(slot + 8, generation);
    spool_file_put64(slot + 16, to.seq);
    spool_file_put64(slot + 24, to.off);
    spool_file_put32(slot + 32, spool_file_crc(slot, 32));
    if (!spool_file_write(m->fd, slot, sizeof(slot), generation % 2 * SLOT_SPACING) || fdatasync(m->fd) < 0)
        return false;
    m->generation = generation;
    m->place = to;
    return true;
}
