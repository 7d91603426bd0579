/* store_lock.c -- one process a data directory: flock(2) on DATA_DIR/lock. The kernel lets go of
 * it when the holder dies in whatever way, so a stale file is harmless; what is written in it only
 * names the holder for the message. */
#include "store/store_private.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TEXT  64 /* one record, always rewritten whole: needs no space on a full disk */
#define LOCK_TRIES 20 /* of 10 ms: the holder may be between locking and writing its name */

static int open_lock(const char *path, const char *dir, int *ret, struct err *reterr)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0) {
        bool denied = errno == EACCES || errno == EROFS || errno == EPERM;

        return err_set_errno(reterr,
                             denied            ? ERR_DENIED
                             : errno == ENOSPC ? ERR_LIMIT
                                               : ERR_IO,
                             errno, "data directory %s cannot be locked", dir);
    }
    *ret = fd;
    return 0;
}

/* The file that was locked is still the one at `path`. */
static bool is_current(int fd, const char *path)
{
    struct stat mine, there;

    return fstat(fd, &mine) == 0 && lstat(path, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}

static void write_holder(int fd)
{
    char text[LOCK_TEXT + 1], iso[CLOCK_ISO_SIZE];
    ssize_t n;

    clock_iso(clock_utc_ms(), iso);
    snprintf(text, sizeof(text), "%-20ld %-*s\n", (long)getpid(), LOCK_TEXT - 22, iso);
    n = pwrite(fd, text, LOCK_TEXT, 0); /* a full disk may refuse it; the lock holds all the same */
    (void)n;
}

/* Who holds it, from the file: false when nothing (yet) is written or that process is gone, so
 * that the text is of an earlier holder. */
static bool read_holder(int fd, long *ret_pid, char since[CLOCK_ISO_SIZE])
{
    char text[LOCK_TEXT + 1] = {0};
    ssize_t n = pread(fd, text, LOCK_TEXT, 0);
    struct str rest, word;
    int64_t pid;

    if (n <= 0)
        return false;
    rest = str_n(text, (size_t)n); /* n > 0 */
    word = str_until(rest, ' ');
    if (str_to_i64(word, 1, INT32_MAX, &pid) < 0)
        return false;
    *ret_pid = (long)pid;
    str_copy(since, CLOCK_ISO_SIZE, str_trim(str_after(rest, ' ')));
    return kill((pid_t)pid, 0) == 0 || errno != ESRCH; /* pid <= INT32_MAX */
}

int store_lock_take(const char *dir, int *ret_fd, struct err *reterr)
{
    char path[4096], since[CLOCK_ISO_SIZE] = "";
    long pid = 0;
    bool is_known = false;
    int fd = -1, rc;

    if ((size_t)snprintf(path, sizeof(path), "%s/lock", dir) >= sizeof(path)) /* never negative */
        return err_set(reterr, ERR_RANGE, "data directory: the path is too long");
    for (int i = 0; i < LOCK_TRIES && !is_known; i++) {
        const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        if (i > 0)
            nanosleep(&pause, NULL); /* before the first loop runs, or on the command line */
        rc = open_lock(path, dir, &fd, reterr);
        if (rc < 0)
            return rc;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            if (is_current(fd, path)) {
                write_holder(fd);
                *ret_fd = fd;
                return 0;
            }
        } else if (errno == EWOULDBLOCK) {
            is_known = read_holder(fd, &pid, since);
        } else if (errno != EINTR) {
            rc = err_set_errno(reterr, ERR_IO, errno, "data directory %s cannot be locked", dir);
            close(fd);
            return rc;
        }
        close(fd);
    }
    if (pid == 0)
        return err_set(reterr, ERR_CONFLICT, "data directory %s is held by another process", dir);
    return err_set(reterr, ERR_CONFLICT, "data directory %s is held by process %ld since %s", dir,
                   pid, since);
}
