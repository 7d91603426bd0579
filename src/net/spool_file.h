/* spool_file.h -- what the spool's files are made of: little-endian numbers, CRC-32C, whole reads
 * and writes. For spool.c and spool_mark.c. */
#pragma once

#include "base/base.h"

#include <endian.h>

#define SPOOL_FILE_SEQ_MAX (UINT64_MAX >> 2) /* a file with a higher number is not ours */

static inline uint32_t spool_file_get32(const char *p)
{
    uint32_t v;

    memcpy(&v, p, 4);
    return le32toh(v);
}
static inline uint64_t spool_file_get64(const char *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return le64toh(v);
}
static inline void spool_file_put32(char *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
}
static inline void spool_file_put64(char *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, 8);
}

uint32_t spool_file_crc(const void *bytes, size_t n); /* CRC-32C (Castagnoli) */
/* Checksum of a record: of its segment's number, its length, its bytes. */
uint32_t spool_file_record_crc(uint64_t seq, uint32_t len, const void *bytes);
bool spool_file_write(int fd, const void *bytes, size_t n, uint64_t off); /* all, or false and errno */
/* Bytes read; fewer than n only at the end of the file or at an error. */
size_t spool_file_read(int fd, void *bytes, size_t n, uint64_t off);
void spool_file_close(int *fd); /* leaves -1; keeps errno */
