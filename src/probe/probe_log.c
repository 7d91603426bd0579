/* probe_log.c -- see probe_log.h. */
#include "probe/probe_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_TRIES 1000
#define MANY_FILES 4096
#define MANY_SLACK 64 /* one part in this many is deleted beyond the limit */

int probe_log_dir(const char *data_dir, char *out, size_t cap, struct err *reterr)
{
    char path[PATH_MAX], real[PATH_MAX];
    size_t room = sizeof(((struct probe_log *)0)->path) - 64; /* for the longest name */

    if ((size_t)snprintf(path, sizeof(path), "%s/logs", data_dir) >= sizeof(path))
        return err_set(reterr, ERR_RANGE, "the path of the data directory is too long");
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set_errno(reterr, ERR_IO, errno, "cannot make %s", path);
    if (!realpath(path, real))
        return err_set_errno(reterr, ERR_IO, errno, "cannot resolve %s", path);
    if (strlen(real) >= MIN(cap, room))
        return err_set(reterr, ERR_RANGE, "the path of the data directory is too long");
    str_copy(out, cap, str_of(real));
    return 0;
}

int probe_log_name(struct probe_log *l, const char *dir, int64_t channel_id, utc_ms at,
                   const struct tz *zone, struct err *reterr)
{
    struct tz_local t;
    int len;

    tz_split(zone, at, &t);
    len = snprintf(l->path, sizeof(l->path), "%s/target_%lld_%04d%02d%02d_%02d%02d%02d", dir,
                   (long long)channel_id, t.year, t.month, t.day, t.hour, t.minute, t.second);
    if (len < 0 || (size_t)len + 16 > sizeof(l->path))
        return err_set(reterr, ERR_RANGE, "the path of the log is too long");
    for (int i = 1; i <= NAME_TRIES; i++) {
        char *suffix = l->path + len;
        size_t room = sizeof(l->path) - (size_t)len; /* len was checked above */

        if (i == 1)
            snprintf(suffix, room, ".jsonl");
        else
            snprintf(suffix, room, "_%d.jsonl", i);
        if (access(l->path, F_OK) != 0)
            return 0;
    }
    return err_set(reterr, ERR_CONFLICT, "%d logs of this second exist", NAME_TRIES);
}

int probe_log_open(struct probe_log *l, struct err *reterr)
{
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->fd >= 0)
        return 0;
    return err_set_errno(reterr, errno == EEXIST ? ERR_CONFLICT : ERR_IO, errno,
                         "open log file failed: %s", l->path);
}

int probe_log_write(struct probe_log *l, struct str line, struct err *reterr)
{
    ssize_t n;

    if (l->fd < 0)
        return 0;
    do
        n = write(l->fd, line.ptr, line.len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set_errno(reterr, ERR_IO, errno, "cannot write %s", l->path);
    l->bytes += (uint64_t)n; /* n >= 0 */
    if ((size_t)n == line.len)
        return 0;
    return err_set(reterr, ERR_IO, "cannot write %s: the disk took %zd of %zu bytes", l->path, n,
                   line.len);
}

void probe_log_close(struct probe_log *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* ---- clean-up ---- */

struct file {
    struct timespec mtime;
    uint64_t bytes;
    char *name;
};

struct folder {
    int fd;
    struct file *files;
    size_t count, cap;
    uint64_t bytes;
};

static void folder_release(struct folder *f)
{
    for (size_t i = 0; i < f->count; i++)
        xfree(f->files[i].name);
    xfree(f->files);
}

static bool is_kept(const char *name, char *const *keep, size_t keep_count)
{
    for (size_t i = 0; i < keep_count; i++)
        if (strcmp(name, keep[i]) == 0)
            return true;
    return false;
}

static void take_entry(struct folder *f, const char *name)
{
    struct stat st;

    if (!str_ends(str_of(name), STR(".jsonl")))
        return;
    if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return;
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 256;
        f->files = xrealloc(f->files, f->cap * sizeof(*f->files));
    }
    f->files[f->count++] =
        (struct file){st.st_mtim, (uint64_t)st.st_size, xstrdup(name)}; /* a size is >= 0 */
    f->bytes += (uint64_t)st.st_size;
}

static int by_age(const void *a, const void *b)
{
    const struct file *x = a, *y = b;

    if (x->mtime.tv_sec != y->mtime.tv_sec)
        return x->mtime.tv_sec < y->mtime.tv_sec ? -1 : 1;
    if (x->mtime.tv_nsec != y->mtime.tv_nsec)
        return x->mtime.tv_nsec < y->mtime.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void remove_oldest(struct folder *f, uint64_t max_bytes, struct probe_log_sweep *ret)
{
    uint64_t left = f->bytes;

    qsort(f->files, f->count, sizeof(*f->files), by_age);
    if (f->count > MANY_FILES)
        max_bytes -= max_bytes / MANY_SLACK;
    for (size_t i = 0; i < f->count && left > max_bytes; i++) {
        if (unlinkat(f->fd, f->files[i].name, 0) != 0 && errno != ENOENT)
            continue; /* the next one may go */
        left -= f->files[i].bytes;
        ret->removed++;
        ret->removed_bytes += f->files[i].bytes;
    }
    ret->bytes = left;
}

int probe_log_sweep(const char *dir, uint64_t max_bytes, char *const *keep, size_t keep_count,
                    struct probe_log_sweep *ret, struct err *reterr)
{
    struct folder f = {.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    DIR *d = f.fd >= 0 ? fdopendir(f.fd) : NULL;
    const struct dirent *e;

    *ret = (struct probe_log_sweep){0};
    if (!d) {
        int rc = err_set_errno(reterr, ERR_IO, errno, "cannot read %s", dir);

        if (f.fd >= 0)
            close(f.fd);
        return rc;
    }
    while ((e = readdir(d)) != NULL) /* its own stream, so no other thread can disturb it */
        if (!is_kept(e->d_name, keep, keep_count))
            take_entry(&f, e->d_name);
    ret->files = f.count;
    ret->bytes = f.bytes;
    if (f.bytes > max_bytes)
        remove_oldest(&f, max_bytes, ret);
    folder_release(&f);
    closedir(d); /* and f.fd */
    return 0;
}
