/* fuzz_spool.c -- any bytes in the directory: it opens, gives back bounded records, takes new ones
 * behind them, and after done and reopening only what was appended since is there.
 * Input: files as {name, length (2 bytes), bytes}; with the high bit of `name` set the bytes are
 * wrapped as a segment with a right header, and with the next bit as one sealed record. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "net/spool.h"
#include "net/spool_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void empty_directory(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[400];

    while (d && (e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            check(unlink(path) == 0);
    }
    if (d)
        closedir(d);
}

static void remove_directory(void)
{
    empty_directory();
    (void)rmdir(dir);
}

static void put_file(uint8_t kind, const uint8_t *bytes, size_t n)
{
    static const char *const names[] = {"mark", "x", "0000000000000000.seg", "ffffffffffffffff.seg", "zz.seg"};
    uint64_t seq = kind & 15;
    char path[100], head[28];
    FILE *f;

    if (kind & 16)
        snprintf(path, sizeof(path), "%s/%s", dir, names[seq % ARRAY_LEN(names)]);
    else
        snprintf(path, sizeof(path), "%s/%016llx.seg", dir, (unsigned long long)seq);
    f = fopen(path, "wb");
    check(f != NULL);
    memcpy(head, "GHSPOOL1", 8);
    spool_file_put64(head + 8, seq);
    spool_file_put32(head + 16, 0x5245c0d5);
    spool_file_put32(head + 20, (uint32_t)n); /* <= 65535 */
    spool_file_put32(head + 24, spool_file_record_crc(seq, (uint32_t)n, bytes));
    if (kind & 128)
        check(fwrite(head, 1, kind & 64 ? 28 : 16, f) > 0);
    check(fwrite(bytes, 1, n, f) == n);
    check(fclose(f) == 0);
}

static uint64_t drain(struct spool *s)
{
    struct str r;
    uint64_t n = 0, sum = 0;

    while (spool_next(s, &r) == 0) {
        check(r.len > 0 && r.len <= SPOOL_RECORD_MAX);
        for (size_t i = 0; i < r.len; i++)
            sum += (unsigned char)r.ptr[i];
        n++;
    }
    check(sum + 1 > 0);
    return n;
}

static void use(void)
{
    struct spool *s = NULL;
    uint64_t before;

    check(spool_open(dir, 1u << 30, &s, NULL) == 0);
    before = spool_pending(s);
    check(drain(s) == before);
    check(spool_append(s, STR("one"), NULL) == 0);
    check(spool_sync(s, NULL) == 0);
    check(spool_append(s, STR("two"), NULL) == 0);
    check(drain(s) == 2);
    spool_rewind(s);
    check(drain(s) == before + 2);
    spool_close(s);
    check(spool_open(dir, 1u << 30, &s, NULL) == 0);
    check(spool_pending(s) == before + 2 && drain(s) == before + 2);
    check(spool_done(s, NULL) == 0);
    check(spool_pending(s) == 0 && spool_bytes(s) == 0);
    check(spool_append(s, STR("three"), NULL) == 0);
    spool_close(s);
    check(spool_open(dir, 1u << 30, &s, NULL) == 0);
    check(drain(s) == 1);
    spool_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (dir[0] == '\0') {
        const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

        snprintf(dir, sizeof(dir), "%s/fuzz-spool-XXXXXX", base);
        check(mkdtemp(dir) != NULL);
        atexit(remove_directory);
    }
    empty_directory();
    while (size >= 3) {
        size_t n = MIN((size_t)(data[1] | data[2] << 8), size - 3); /* two bytes */

        put_file(data[0], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    use();
    return 0;
}
