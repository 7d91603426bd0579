/* spool.c -- segment files and the mark.
 *
 *   <16 hex digits>.seg   header {"GHSPOOL1", number}, then records {magic, length, crc, bytes}
 *   mark                  see spool_mark.h
 *
 * All numbers are little-endian. The checksum covers the segment's number too, so that bytes of
 * another segment are never taken for a record of this one. Behind the first bad record of a
 * segment nothing is believed: record bodies hold what outsiders sent, and a search for the next
 * magic could be led to a forged one.
 *
 * What is appended gathers in `batch` and goes to the last segment in one write at spool_sync().
 * Logically it already lies there, at its offsets behind `end`, so reading and marking need not
 * know the difference. When a sync fails, nobody can tell what of it reached the disk (the kernel
 * may drop the dirty pages): the batch then moves to a new segment and is written again. */
#include "net/spool.h"

#include "base/buf.h"
#include "net/spool_file.h"
#include "net/spool_mark.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_BYTES (8u << 20)
#define BATCH_BYTES   (256u << 10)
#define WINDOW_BYTES  (256u << 10)
#define HEADER_SIZE   16u
#define RECORD_HEAD   12u

static const char segment_magic[8] = "GHSPOOL1";
static const uint32_t record_magic = 0x5245c0d5;

struct segment {
    uint64_t seq;
    uint64_t end;     /* behind the last valid record on disk, >= HEADER_SIZE */
    uint64_t size;    /* bytes it counts for, batch included */
    uint64_t records; /* pending ones, batch included */
};

struct spool {
    int dir_fd, write_fd, read_fd; /* -1 = none */
    struct spool_mark mark;
    uint64_t max_bytes, bytes, pending, damaged;
    struct segment *segments; /* ascending; the last one takes the batch when has_active */
    size_t count, capacity;
    bool has_active;
    uint64_t next_seq;
    struct buf batch;
    uint64_t batch_records;
    struct spool_place at;                  /* reading position */
    uint64_t read_records, read_in_segment; /* since the mark; of them in segment at.seq */
    struct buf window;                      /* bytes of segment window_at.seq from window_at.off */
    struct spool_place window_at;
    uint64_t read_fd_seq;
};

/* ---- names and the list ---- */

#define SEGMENT_NAME_SIZE 21

static void segment_name(uint64_t seq, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "%016" PRIx64 ".seg", seq);
}

static bool parse_segment_name(const char *name, uint64_t *ret)
{
    uint64_t seq = 0;
    char again[SEGMENT_NAME_SIZE];

    if (strlen(name) != SEGMENT_NAME_SIZE - 1)
        return false;
    for (size_t i = 0; i < 16; i++) {
        const char *digit = strchr("0123456789abcdef", name[i]);

        if (!digit)
            return false;
        seq = seq << 4 | (uint64_t)(digit - (const char *)"0123456789abcdef");
    }
    if (seq > SPOOL_FILE_SEQ_MAX)
        return false;
    segment_name(seq, again);
    *ret = seq;
    return strcmp(name, again) == 0;
}

static int open_segment(const struct spool *s, uint64_t seq)
{
    char name[SEGMENT_NAME_SIZE];

    segment_name(seq, name);
    return openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* NONBLOCK: it may be a FIFO */
}

static struct segment *add_segment(struct spool *s, uint64_t seq)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->segments = xrealloc(s->segments, s->capacity * sizeof(*s->segments));
    }
    s->segments[s->count] = (struct segment){.seq = seq, .end = HEADER_SIZE};
    return &s->segments[s->count++];
}

/* ---- reading records through the window ---- */

static size_t window_left(const struct spool *s, struct spool_place at)
{
    uint64_t off = at.off - s->window_at.off;

    if (at.seq != s->window_at.seq || at.off < s->window_at.off || off >= buf_len(&s->window))
        return 0;
    return buf_len(&s->window) - (size_t)off; /* < buf_len() */
}

/* At least n bytes from `at` into the window, none from behind `end`. 0; ERR_PROTO: they are not
 * there; ERR_IO: no descriptor or memory just now. */
static int window_fill(struct spool *s, struct spool_place at, size_t n, uint64_t end)
{
    size_t want = (size_t)MIN(end - at.off, (uint64_t)MAX(n, (size_t)WINDOW_BYTES)); /* bounded by the second */

    if (window_left(s, at) >= n)
        return 0;
    if (want < n)
        return ERR_PROTO;
    if (s->read_fd < 0 || s->read_fd_seq != at.seq) {
        spool_file_close(&s->read_fd);
        s->read_fd = open_segment(s, at.seq);
        s->read_fd_seq = at.seq;
        if (s->read_fd < 0)
            return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? ERR_IO : ERR_PROTO;
    }
    buf_clear(&s->window);
    s->window_at = at;
    if (buf_reserve(&s->window, want) < 0)
        return ERR_IO;
    want = spool_file_read(s->read_fd, s->window.ptr + s->window.tail, want, at.off);
    s->window.tail += want;
    s->window.ptr[s->window.tail] = '\0';
    return want >= n ? 0 : ERR_PROTO;
}

/* The record at `at` of a file that ends at `end`; failures as above. */
static int read_record(struct spool *s, struct spool_place at, uint64_t end, struct str *ret)
{
    const char *p;
    uint32_t len;
    int r = window_fill(s, at, RECORD_HEAD, end);

    if (r < 0)
        return r;
    p = buf_cstr(&s->window) + (at.off - s->window_at.off);
    len = spool_file_get32(p + 4);
    if (spool_file_get32(p) != record_magic || len == 0 || len > SPOOL_RECORD_MAX)
        return ERR_PROTO;
    r = window_fill(s, at, RECORD_HEAD + len, end);
    if (r < 0)
        return r;
    p = buf_cstr(&s->window) + (at.off - s->window_at.off);
    if (spool_file_record_crc(at.seq, len, p + RECORD_HEAD) != spool_file_get32(p + 8))
        return ERR_PROTO;
    *ret = str_n(p + RECORD_HEAD, len);
    return 0;
}

/* ---- opening ---- */

/* Count what is valid in one file and where that ends. */
static void scan_segment(struct spool *s, uint64_t seq)
{
    char header[HEADER_SIZE];
    struct segment *g;
    struct stat st;
    struct spool_place at = {seq, HEADER_SIZE};
    struct str record;
    uint64_t size, all = 0, after_mark = 0;
    bool at_boundary = s->mark.place.seq != seq;
    int fd = open_segment(s, seq);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) { /* not readable; a directory, a link */
        s->damaged += fd < 0 && errno != ELOOP;
        spool_file_close(&fd);
        return;
    }
    spool_file_close(&s->read_fd);
    s->read_fd = fd;
    s->read_fd_seq = seq;
    size = (uint64_t)st.st_size; /* never negative */
    g = add_segment(s, seq);
    g->size = size;
    s->bytes += size;
    if (size < HEADER_SIZE) /* a crash while it was made: nothing was in it */
        return;
    if (spool_file_read(fd, header, sizeof(header), 0) != sizeof(header) || memcmp(header, segment_magic, 8) != 0 || spool_file_get64(header + 8) != seq) {
        s->damaged++;
        return;
    }
    while (read_record(s, at, size, &record) == 0) {
        at_boundary |= at.off == s->mark.place.off;
        after_mark += at.off >= s->mark.place.off;
        all++;
        at.off += RECORD_HEAD + record.len;
    }
    g->end = at.off;
    s->damaged += at.off != size;
    if (seq == s->mark.place.seq && !at_boundary && s->mark.place.off < at.off)
        s->mark.place.off = HEADER_SIZE; /* not a place of ours: rather twice than never */
    g->records = seq == s->mark.place.seq && s->mark.place.off != HEADER_SIZE ? after_mark : all;
    s->pending += g->records;
}

static int compare_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void unlink_segment(const struct spool *s, uint64_t seq)
{
    char name[SEGMENT_NAME_SIZE];

    segment_name(seq, name);
    (void)unlinkat(s->dir_fd, name, 0); /* what stays lies before the mark and goes at the next open */
}

static int scan_directory(struct spool *s, const char *dir, struct err *reterr)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    uint64_t *seqs = NULL, seq;
    size_t n = 0, capacity = 0;

    if (!d)
        return err_set_errno(reterr, ERR_IO, errno, "cannot read spool directory %s", dir);
    while ((entry = readdir(d)) != NULL) {
        if (!parse_segment_name(entry->d_name, &seq))
            continue;
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            seqs = xrealloc(seqs, capacity * sizeof(*seqs));
        }
        seqs[n++] = seq;
    }
    closedir(d);
    if (n > 0)
        qsort(seqs, n, sizeof(*seqs), compare_seq);
    s->next_seq = MAX(s->mark.place.seq, n > 0 ? seqs[n - 1] + 1 : (uint64_t)1);
    for (size_t i = 0; i < n; i++) {
        if (seqs[i] < s->mark.place.seq)
            unlink_segment(s, seqs[i]);
        else
            scan_segment(s, seqs[i]);
    }
    xfree(seqs);
    return 0;
}

int spool_open(const char *dir, uint64_t max_bytes, struct spool **ret, struct err *reterr)
{
    struct spool *s;
    int fd;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_set_errno(reterr, ERR_IO, errno, "cannot make spool directory %s", dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(reterr, ERR_IO, errno, "cannot open spool directory %s", dir);
    s = xcalloc(1, sizeof(*s));
    s->dir_fd = fd;
    s->write_fd = s->read_fd = -1;
    s->max_bytes = max_bytes;
    buf_init(&s->batch, BATCH_BYTES + RECORD_HEAD + SPOOL_RECORD_MAX);
    buf_init(&s->window, WINDOW_BYTES + RECORD_HEAD + SPOOL_RECORD_MAX);
    spool_mark_open(&s->mark, s->dir_fd);
    s->mark.place.off = MAX(s->mark.place.off, (uint64_t)HEADER_SIZE);
    if (scan_directory(s, dir, reterr) < 0) {
        spool_close(s);
        return ERR_IO;
    }
    spool_rewind(s);
    *ret = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    if (spool_sync(s, NULL) < 0) /* the caller who needs to know has asked before */
        spool_file_close(&s->write_fd);
    spool_file_close(&s->write_fd);
    spool_file_close(&s->read_fd);
    spool_mark_close(&s->mark);
    spool_file_close(&s->dir_fd);
    buf_release(&s->batch);
    buf_release(&s->window);
    xfree(s->segments);
    xfree(s);
}

/* ---- writing ---- */

static void start_segment(struct spool *s)
{
    struct segment *g = add_segment(s, s->next_seq++);

    g->size = HEADER_SIZE;
    s->bytes += HEADER_SIZE;
    s->has_active = true;
}

static void retire_active(struct spool *s)
{
    spool_file_close(&s->write_fd);
    s->has_active = false;
}

/* Records in the first n bytes of the batch; with seq they are sealed for that segment. */
static uint64_t walk_batch(struct spool *s, uint64_t n, const uint64_t *seq)
{
    uint64_t off = 0, records = 0;

    for (; off < n; records++) {
        char *p = s->batch.ptr + s->batch.head + off;
        uint32_t len = spool_file_get32(p + 4);

        if (seq)
            spool_file_put32(p + 8, spool_file_record_crc(*seq, len, p + RECORD_HEAD));
        off += RECORD_HEAD + len;
    }
    return records;
}

/* The batch goes to a new segment, and the reading position with it when it lies inside. (The mark
 * never does: spool_done() takes marked records out of the batch.) */
static void move_batch(struct spool *s)
{
    struct segment *old = &s->segments[s->count - 1], *g;
    uint64_t old_seq = old->seq, old_end = old->end;

    old->size -= buf_len(&s->batch);
    s->bytes -= buf_len(&s->batch);
    old->records -= s->batch_records;
    retire_active(s);
    if (buf_len(&s->batch) == 0)
        return;
    start_segment(s);
    g = &s->segments[s->count - 1];
    g->size += buf_len(&s->batch);
    s->bytes += buf_len(&s->batch);
    g->records = s->batch_records;
    (void)walk_batch(s, buf_len(&s->batch), &g->seq);
    if (s->at.seq == old_seq && s->at.off > old_end) {
        s->read_in_segment = walk_batch(s, s->at.off - old_end, NULL);
        s->at = (struct spool_place){g->seq, HEADER_SIZE + (s->at.off - old_end)};
    }
}

/* The file of the active segment: header written, name on disk. */
static bool make_file(struct spool *s)
{
    const struct segment *g = &s->segments[s->count - 1];
    char name[SEGMENT_NAME_SIZE], header[HEADER_SIZE];
    int saved;

    if (s->write_fd >= 0)
        return true;
    segment_name(g->seq, name);
    s->write_fd = openat(s->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->write_fd < 0) {
        if (errno == EEXIST) { /* somebody else's; the next number is tried next time */
            move_batch(s);
            errno = EEXIST;
        }
        return false;
    }
    memcpy(header, segment_magic, 8);
    spool_file_put64(header + 8, g->seq);
    if (spool_file_write(s->write_fd, header, sizeof(header), 0) && fsync(s->dir_fd) == 0)
        return true;
    saved = errno;
    spool_file_close(&s->write_fd);
    unlink_segment(s, g->seq);
    errno = saved;
    return false;
}

int spool_sync(struct spool *s, struct err *reterr)
{
    struct segment *g;
    size_t n = buf_len(&s->batch);

    if (n == 0)
        return 0;
    if (!make_file(s))
        return err_set_errno(reterr, ERR_IO, errno, "cannot make a spool file");
    g = &s->segments[s->count - 1];
    if (!spool_file_write(s->write_fd, buf_cstr(&s->batch), n, g->end)) {
        int saved = errno;

        if (ftruncate(s->write_fd, (off_t)g->end) < 0) /* far below OFF_MAX */
            move_batch(s);
        return err_set_errno(reterr, ERR_IO, saved, "cannot write the spool");
    }
    if (fdatasync(s->write_fd) < 0) {
        int saved = errno;

        if (ftruncate(s->write_fd, (off_t)g->end) < 0) /* best effort; else the batch is read twice one day */
            saved = errno;
        move_batch(s);
        return err_set_errno(reterr, ERR_IO, saved, "cannot sync the spool");
    }
    g->end += n;
    buf_clear(&s->batch);
    s->batch_records = 0;
    return 0;
}

int spool_append(struct spool *s, struct str record, struct err *reterr)
{
    size_t n = RECORD_HEAD + record.len;
    uint32_t len = (uint32_t)record.len; /* checked next */
    char head[RECORD_HEAD];
    struct segment *g;

    if (record.len == 0 || record.len > SPOOL_RECORD_MAX)
        return err_set(reterr, ERR_RANGE, "spool record of %zu bytes is not in 1..%u", record.len, SPOOL_RECORD_MAX);
    if (s->bytes + n + HEADER_SIZE > s->max_bytes)
        return err_set(reterr, ERR_LIMIT, "spool is full (%" PRIu64 " bytes)", s->bytes);
    if (buf_len(&s->batch) > 0 && buf_len(&s->batch) + n > BATCH_BYTES && spool_sync(s, reterr) < 0)
        return ERR_IO;
    if (s->has_active) {
        g = &s->segments[s->count - 1];
        if (g->end + buf_len(&s->batch) + n > SEGMENT_BYTES && g->size > HEADER_SIZE) {
            if (spool_sync(s, reterr) < 0)
                return ERR_IO;
            retire_active(s);
        }
    }
    if (!s->has_active)
        start_segment(s);
    g = &s->segments[s->count - 1];
    if (buf_reserve(&s->batch, n) < 0)
        return err_set(reterr, ERR_IO, "no memory for a spool record");
    spool_file_put32(head, record_magic);
    spool_file_put32(head + 4, len);
    spool_file_put32(head + 8, spool_file_record_crc(g->seq, len, record.ptr));
    buf_put(&s->batch, str_n(head, sizeof(head)));
    buf_put(&s->batch, record);
    s->batch_records++;
    g->records++;
    g->size += n;
    s->bytes += n;
    s->pending++;
    return 0;
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

uint64_t spool_pending(const struct spool *s)
{
    return s->pending;
}

uint64_t spool_damaged(const struct spool *s)
{
    return s->damaged;
}

/* ---- taking records out ---- */

void spool_rewind(struct spool *s)
{
    s->at = s->mark.place;
    s->read_records = s->read_in_segment = 0;
}

/* First segment with a number >= seq, or count. */
static size_t find_segment(const struct spool *s, uint64_t seq)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (s->segments[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The segment changed or became unreadable since it was opened: what is left of it is lost. */
static void give_up_rest(struct spool *s, size_t i)
{
    uint64_t lost;

    if (s->has_active && i == s->count - 1)
        move_batch(s);
    lost = s->segments[i].records - MIN(s->segments[i].records, s->read_in_segment);
    s->segments[i].records -= lost;
    s->pending -= MIN(s->pending, lost);
    s->segments[i].end = s->at.off;
    s->damaged++;
}

int spool_next(struct spool *s, struct str *ret)
{
    for (;;) {
        size_t i = find_segment(s, s->at.seq);
        const struct segment *g;
        bool is_active = s->has_active && i + 1 == s->count;
        int r;

        if (i == s->count)
            return ERR_NOTFOUND;
        g = &s->segments[i];
        if (g->seq != s->at.seq) {
            s->at = (struct spool_place){g->seq, HEADER_SIZE};
            s->read_in_segment = 0;
        }
        if (s->at.off < g->end) {
            r = read_record(s, s->at, g->end, ret);
            if (r == 0)
                break;
            if (r == ERR_IO)
                return r;
            give_up_rest(s, i);
        } else if (is_active && s->at.off - g->end < buf_len(&s->batch)) {
            const char *p = buf_cstr(&s->batch) + (s->at.off - g->end);

            *ret = str_n(p + RECORD_HEAD, spool_file_get32(p + 4));
            break;
        } else if (is_active) {
            return ERR_NOTFOUND;
        } else {
            s->at = (struct spool_place){g->seq + 1, HEADER_SIZE};
            s->read_in_segment = 0;
        }
    }
    s->at.off += RECORD_HEAD + ret->len;
    s->read_records++;
    s->read_in_segment++;
    return 0;
}

/* Marked records that were never synced need not be written any more. */
static void shorten_batch(struct spool *s, uint64_t n)
{
    struct segment *g = &s->segments[s->count - 1];

    s->batch_records -= walk_batch(s, n, NULL);
    buf_consume(&s->batch, (size_t)n); /* <= buf_len() */
    g->size -= n;
    s->bytes -= n;
}

int spool_done(struct spool *s, struct err *reterr)
{
    bool is_all = s->read_records == s->pending;
    struct spool_place to = is_all ? (struct spool_place){s->next_seq, HEADER_SIZE} : s->at;
    uint64_t from_batch = 0;
    size_t gone;

    if (s->count == 0 || (s->read_records == 0 && !is_all))
        return 0;
    if (s->has_active && !is_all && to.seq == s->segments[s->count - 1].seq && to.off > s->segments[s->count - 1].end) {
        from_batch = to.off - s->segments[s->count - 1].end;
        to.off -= from_batch;
    }
    if (!spool_mark_write(&s->mark, to))
        return err_set_errno(reterr, ERR_IO, errno, "cannot write the spool's mark");
    shorten_batch(s, is_all ? buf_len(&s->batch) : from_batch);
    if (is_all)
        retire_active(s);
    s->pending -= s->read_records;
    gone = find_segment(s, to.seq);
    for (size_t i = 0; i < gone; i++) {
        s->bytes -= s->segments[i].size;
        unlink_segment(s, s->segments[i].seq);
    }
    memmove(s->segments, s->segments + gone, (s->count - gone) * sizeof(*s->segments));
    s->count -= gone;
    if (s->count > 0 && s->segments[0].seq == to.seq)
        s->segments[0].records -= s->read_in_segment;
    s->at = to;
    s->read_records = s->read_in_segment = 0;
    return 0;
}
