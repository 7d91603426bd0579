/* store_backup.c -- a copy of the database as of one commit, made while it is in use. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* VACUUM INTO writes without a sync. */
static int sync_file(const char *path, struct err *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 || fsync(fd) < 0)
        rc = err_set_errno(reterr, ERR_IO, errno, "%s cannot be synced", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* The name appears only when the copy is whole: what has it is a backup. */
static int publish(const char *part, const char *path, struct err *reterr)
{
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return store_file_sync_dir(path, reterr);
    if (errno == EINVAL || errno == ENOSYS) { /* a file system without the flag */
        if (link(part, path) == 0) {
            unlink(part);
            return store_file_sync_dir(path, reterr);
        }
    }
    return err_set_errno(reterr, errno == EEXIST ? ERR_CONFLICT : ERR_IO, errno,
                         "backup %s cannot be made", path);
}

static int vacuum_into(const char *db, const char *part, struct err *reterr)
{
    CLEANUP(store_conn_closep) struct store_conn *c = NULL;
    struct store_stmt *st;
    int rc = store_conn_open(db, STORE_ROLE_CREATE, SQLITE_OPEN_READONLY, &c, reterr);

    if (rc == 0)
        rc = store_exec(c, "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1000", reterr);
    if (rc == 0)
        rc = store_prepare(c, "VACUUM INTO ?1", &st, reterr);
    if (rc == 0) {
        store_bind_str(st, 1, str_of(part));
        rc = store_run(st, reterr);
    }
    return rc;
}

int store_backup(struct store *s, const char *path, struct err *reterr)
{
    struct buf part = BUF_INIT(8192);
    struct stat there;
    int rc, fd;

    if (path[0] == '\0' || strlen(path) > 4000)
        return err_set(reterr, ERR_RANGE, "backup: the path is empty or too long");
    if (lstat(path, &there) == 0)
        return err_set(reterr, ERR_CONFLICT, "backup %s exists already", path);
    /* "./": a name that begins with "file:" is no address. */
    buf_putf(&part, "%s%s.part", path[0] == '/' ? "" : "./", path);
    store_file_remove(buf_cstr(&part)); /* of a backup that was killed */
    fd = open(buf_cstr(&part), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = err_set_errno(reterr, errno == EACCES || errno == EROFS ? ERR_DENIED : ERR_IO, errno,
                           "backup %s cannot be made", path);
        buf_release(&part);
        return rc;
    }
    close(fd);
    rc = vacuum_into(s->path, buf_cstr(&part), reterr);
    if (rc < 0 && reterr)
        err_prefix(reterr, "backup %s", path);
    if (rc == 0)
        rc = sync_file(buf_cstr(&part), reterr);
    if (rc == 0)
        rc = publish(buf_cstr(&part), path, reterr);
    if (rc < 0)
        store_file_remove(buf_cstr(&part));
    buf_release(&part);
    return rc;
}
