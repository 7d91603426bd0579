/* store.c -- opening the data directory and closing it again. Order: look at the file, take the
 * lock, look again under it, make or open, verify, migrate; only then is anything written. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQLITE_OLDEST 3037000 /* SQLITE_OPEN_EXRESCODE */

/* ---- the directory ---- */

static int make_dirs(const char *dir, struct err *reterr)
{
    char *path = xstrdup(dir);
    int rc = 0;

    for (char *p = path + 1; rc == 0; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            rc = err_set_errno(
                reterr, errno == EACCES || errno == EROFS || errno == EPERM ? ERR_DENIED : ERR_IO,
                errno, "data directory %s cannot be made", dir);
        *p = c;
        if (c == '\0')
            break;
    }
    xfree(path);
    return rc;
}

static int open_dir(struct store *s, const struct store_config *cfg, struct err *reterr)
{
    struct stat st;
    char *real;
    int rc;

    if (!cfg->data_dir || cfg->data_dir[0] == '\0')
        return err_set(reterr, ERR_RANGE, "data directory: no path given");
    if (stat(cfg->data_dir, &st) < 0 && errno == ENOENT && !cfg->read_only) {
        rc = make_dirs(cfg->data_dir, reterr);
        if (rc < 0)
            return rc;
    }
    real = realpath(cfg->data_dir, NULL);
    if (!real || stat(real, &st) < 0) {
        rc = err_set_errno(reterr,
                           errno == ENOENT   ? ERR_NOTFOUND
                           : errno == EACCES ? ERR_DENIED
                                             : ERR_IO,
                           errno, "data directory %s", cfg->data_dir);
        free(real);
        return rc;
    }
    s->dir = real;
    if (!S_ISDIR(st.st_mode))
        return err_set(reterr, ERR_SYNTAX, "data directory %s is no directory", cfg->data_dir);
    if (strlen(real) > 4000)
        return err_set(reterr, ERR_RANGE, "data directory: the path is too long");
    s->is_exposed = (st.st_mode & 077) != 0;
    if (!cfg->read_only && faccessat(AT_FDCWD, real, W_OK | X_OK, AT_EACCESS) < 0)
        return err_set_errno(reterr, ERR_DENIED, errno, "data directory %s cannot be written",
                             cfg->data_dir);
    s->path = xmalloc(strlen(real) + sizeof("/gatehouse.db"));
    snprintf(s->path, strlen(real) + sizeof("/gatehouse.db"), "%s/gatehouse.db", real);
    return 0;
}

/* ---- connections ---- */

static int open_writer_once(struct store *s, struct err *reterr)
{
    CLEANUP(store_conn_closep) struct store_conn *c = NULL;
    struct store_stmt *st;
    bool has_wal = store_file_bytes(s->path, "-wal") > 0; /* an earlier process was killed */
    int rc = store_conn_open(s->path, STORE_ROLE_WRITER, SQLITE_OPEN_READWRITE, &c, reterr);

    if (rc < 0)
        return rc;
    /* Closing after a refusal must not move that WAL into the file. */
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_wal, NULL);
    rc = store_file_verify(c, s->path, reterr);
    sqlite3_db_release_memory(c->db); /* the pages that the check read: an idle daemon is small */
    if (rc == 0)
        rc = store_conn_setup(c, STORE_ROLE_WRITER, reterr);
    if (rc == 0)
        rc = store_migrate(c, reterr);
    /* A restored backup is not in WAL mode. */
    if (rc == 0)
        rc = store_prepare(c, "PRAGMA journal_mode = WAL", &st, reterr);
    if (rc == 0) {
        rc = store_step(st, reterr);
        if (rc > 0 && !str_eq(store_col_str(st, 0), STR("wal")))
            rc = err_set(reterr, ERR_IO, "the file system of %s has no shared memory for WAL mode",
                         s->path);
        store_reset(st);
    }
    if (rc < 0)
        return rc;
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    c->state = s->state;
    s->writer = TAKE(c);
    return 0;
}

static int open_writer(struct store *s, struct err *reterr)
{
    int rc = open_writer_once(s, reterr);

    /* SQLite needs a few pages for the -shm file even to read; that is what the reserve is for. */
    if (rc == ERR_LIMIT && store_file_unreserve(s->dir))
        rc = open_writer_once(s, reterr);
    else if (rc == 0)
        store_file_reserve(s->dir);
    return rc;
}

static int open_reader(struct store *s, struct store_conn **ret, struct err *reterr)
{
    CLEANUP(store_conn_closep) struct store_conn *c = NULL;
    int rc = store_conn_open(s->path, STORE_ROLE_READER, SQLITE_OPEN_READONLY, &c, reterr);

    if (rc == 0)
        rc = store_conn_setup(c, STORE_ROLE_READER, reterr);
    if (rc < 0)
        return rc;
    *ret = TAKE(c);
    return 0;
}

static int open_readers(struct store *s, unsigned count, struct err *reterr)
{
    s->readers = xcalloc(count, sizeof(*s->readers));
    for (unsigned i = 0; i < count; i++) {
        int rc = open_reader(s, &s->readers[i].conn, reterr);

        if (rc < 0)
            return rc;
        s->readers[i].store = s;
        s->readers[i].index = i;
        s->reader_count = i + 1;
    }
    return 0;
}

/* ---- open and close ---- */

static int open_for_writing(struct store *s, struct err *reterr)
{
    bool is_new = false;
    int rc = store_file_inspect(s->path, false, &is_new,
                                reterr); /* refuse before the lock file is made */

    if (rc == 0)
        rc = store_lock_take(s->dir, &s->lock_fd, reterr);
    if (rc == 0)
        rc = store_file_inspect(s->path, false, &is_new, reterr);
    if (rc == 0 && is_new)
        rc = store_file_create(s->path, reterr);
    if (rc < 0)
        return rc;
    s->is_new = is_new;
    return open_writer(s, reterr);
}

static int open_for_reading(struct store *s, struct err *reterr)
{
    bool is_new = false;
    int rc = store_file_inspect(s->path, true, &is_new, reterr);

    if (rc < 0)
        return rc;
    if (is_new)
        return err_set(reterr, ERR_NOTFOUND, "database %s is empty", s->path);
    return open_reader(s, &s->writer, reterr);
}

int store_open(const struct store_config *cfg, struct store **ret, struct err *reterr)
{
    struct store *s;
    int rc;

    if (sqlite3_libversion_number() < SQLITE_OLDEST || sqlite3_threadsafe() == 0)
        return err_set(reterr, ERR_INTERNAL, "SQLite %s is too old or without threads",
                       sqlite3_libversion());
    s = xcalloc(1, sizeof(*s));
    s->lock_fd = -1;
    s->read_only = cfg->read_only;
    s->state = xcalloc(1, sizeof(*s->state));
    pthread_mutex_init(&s->state->lock, NULL);
    pthread_mutex_init(&s->writer_lock, NULL);
    store_queue_init(&s->reads);
    store_queue_init(&s->writes);
    rc = open_dir(s, cfg, reterr);
    if (rc == 0)
        rc = s->read_only ? open_for_reading(s, reterr) : open_for_writing(s, reterr);
    if (rc == 0)
        rc = open_readers(s, s->read_only ? cfg->readers : MAX(cfg->readers, 1U), reterr);
    if (rc == 0)
        rc = store_job_start(s, reterr);
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

/* A reader that was alone on a stopped directory leaves an empty -wal and a -shm file behind. They
 * go while the lock is ours, so no daemon can be using them. */
static void sweep_after_reading(const struct store *s)
{
    char name[4200];
    int fd;

    snprintf(name, sizeof(name), "%s/lock", s->dir); /* dir <= 4000 */
    fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && store_file_bytes(s->path, "-wal") == 0) {
        snprintf(name, sizeof(name), "%s-wal", s->path);
        unlink(name);
        snprintf(name, sizeof(name), "%s-shm", s->path);
        unlink(name);
    }
    close(fd);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_job_stop(s);
    for (unsigned i = 0; i < s->reader_count; i++)
        store_conn_close(s->readers[i].conn);
    if (s->writer) {
        if (!s->read_only)
            store_conn_checkpoint(s->writer, true);
        store_conn_close(s->writer);
        if (s->read_only)
            sweep_after_reading(s);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd); /* lets go of the directory */
    store_queue_release(&s->reads);
    store_queue_release(&s->writes);
    pthread_mutex_destroy(&s->writer_lock);
    pthread_mutex_destroy(&s->state->lock);
    xfree(s->state);
    xfree(s->readers);
    xfree(s->path);
    free(s->dir); /* of realpath() */
    xfree(s);
}

const char *store_data_dir(const struct store *s)
{
    return s->dir;
}

bool store_is_new(const struct store *s)
{
    return s->is_new;
}

bool store_is_exposed(const struct store *s)
{
    return s->is_exposed;
}

int64_t store_db_bytes(const struct store *s)
{
    return store_file_bytes(s->path, "") + store_file_bytes(s->path, "-wal");
}
