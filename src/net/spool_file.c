/* spool_file.c -- checksum and whole reads and writes for the spool. */
#include "net/spool_file.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        crc_table[0][i] = c;
    }
    for (size_t t = 1; t < 8; t++)
        for (size_t i = 0; i < 256; i++)
            crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
}

/* Eight bytes a step; starts with ~0, ends inverted. */
static uint32_t crc_add(uint32_t crc, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v;

        memcpy(&v, p, 8);
        v = le64toh(v) ^ crc;
        crc = 0;
        for (size_t t = 0; t < 8; t++)
            crc ^= crc_table[7 - t][v >> (8 * t) & 255];
    }
    for (; n > 0; p++, n--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
    return crc;
}

uint32_t spool_file_crc(const void *bytes, size_t n)
{
    pthread_once(&crc_once, crc_setup);
    return ~crc_add(~0u, bytes, n);
}

uint32_t spool_file_record_crc(uint64_t seq, uint32_t len, const void *bytes)
{
    char head[12];
    uint32_t crc;

    pthread_once(&crc_once, crc_setup);
    spool_file_put64(head, seq);
    spool_file_put32(head + 8, len);
    crc = crc_add(~0u, head, sizeof(head));
    return ~crc_add(crc, bytes, len);
}

bool spool_file_write(int fd, const void *bytes, size_t n, uint64_t off)
{
    const char *p = bytes;

    while (n > 0) {
        ssize_t w = pwrite(fd, p, n, (off_t)off); /* segments are far below OFF_MAX */

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            errno = w == 0 ? ENOSPC : errno;
            return false;
        }
        p += w;
        n -= (size_t)w;
        off += (uint64_t)w;
    }
    return true;
}

size_t spool_file_read(int fd, void *bytes, size_t n, uint64_t off)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, (char *)bytes + got, n - got, (off_t)(off + got)); /* as above */

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    return got;
}

void spool_file_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}
