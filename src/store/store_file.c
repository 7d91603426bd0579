/* store_file.c -- the database file before and around SQLite: what lies there is looked at with
 * read(2) first, so that a file that is not ours, damaged or newer stays as it is to the byte. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES          100 /* sqlite.org/fileformat2.html section 1.3 */
#define HEADER_USER_VERSION   60
#define HEADER_APPLICATION_ID 68
#define VERIFY_ALL_BYTES      (32 * 1024 * 1024) /* read in about 0.1 s; start-up stays below 1 s */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int64_t store_file_bytes(const char *path, const char *suffix)
{
    char name[4096];
    struct stat st;

    if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix) >=
        sizeof(name)) /* never negative */
        return 0;
    return stat(name, &st) == 0 ? (int64_t)st.st_size : 0;
}

int store_file_sync_dir(const char *path, struct err *reterr)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? xstrndup(path, MAX((size_t)(slash - path), (size_t)1)) : xstrdup(".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0 ||
        (fsync(fd) < 0 && errno != EINVAL)) /* EINVAL: the file system knows no such sync */
        rc = err_set_errno(reterr, ERR_IO, errno, "directory %s cannot be synced", dir);
    if (fd >= 0)
        close(fd);
    xfree(dir);
    return rc;
}

/* A log that belongs to a database that is gone would be played into the new one. */
static int refuse_orphans(const char *path, struct err *reterr)
{
    static const char *const suffixes[] = {"-wal", "-journal"};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (store_file_bytes(path, suffixes[i]) > 0)
            return err_set(
                reterr, ERR_SYNTAX,
                "%s is missing or empty, but its log %s%s has content; nothing was changed. "
                "Put the database back, or move the log away to start anew",
                path, path, suffixes[i]);
    }
    return 0;
}

static int inspect_header(const char *path, const uint8_t *h, size_t n, struct err *reterr)
{
    uint32_t version;

    if (n < HEADER_BYTES || memcmp(h, "SQLite format 3", 16) != 0)
        return err_set(reterr, ERR_SYNTAX,
                       "%s is no SQLite database, or its header is damaged; nothing was changed. "
                       "Move it away to start anew, or put a backup in its place",
                       path);
    if (be32(h + HEADER_APPLICATION_ID) != STORE_APPLICATION_ID)
        return err_set(
            reterr, ERR_SYNTAX,
            "%s is the database of another program (application id 0x%08x); nothing was changed. "
            "Choose another data directory",
            path, be32(h + HEADER_APPLICATION_ID));
    version = be32(h + HEADER_USER_VERSION);
    if (version > STORE_SCHEMA_VERSION)
        return err_set(reterr, ERR_CONFLICT,
                       "%s has schema version %u, this program knows %d; nothing was changed. "
                       "Install a newer gatehouse",
                       path, version, STORE_SCHEMA_VERSION);
    return 0;
}

/* Opened without O_CREAT and without following into a device; closed before SQLite opens the file,
 * since closing any descriptor of it would drop SQLite's locks. */
static int open_to_look(const char *path, bool read_only, struct err *reterr)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0)
        return fd;
    if (errno == EACCES || errno == EROFS || errno == EPERM)
        return err_set_errno(reterr, ERR_DENIED, errno, "database %s cannot be %s", path,
                             read_only ? "read" : "written");
    if (errno == EISDIR)
        return err_set(reterr, ERR_SYNTAX, "%s is no regular file", path);
    return err_set_errno(reterr, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno,
                         "database %s cannot be opened", path);
}

int store_file_inspect(const char *path, bool read_only, bool *ret_new, struct err *reterr)
{
    uint8_t header[HEADER_BYTES];
    struct err e;
    struct stat st;
    ssize_t n;
    int rc = 0, fd = open_to_look(path, read_only, &e);

    if (fd == ERR_NOTFOUND && !read_only) {
        *ret_new = true;
        return refuse_orphans(path, reterr);
    }
    if (fd < 0) {
        if (reterr)
            *reterr = e;
        return fd;
    }
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(reterr, ERR_IO, errno, "database %s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(reterr, ERR_SYNTAX, "%s is no regular file", path);
    else if ((n = pread(fd, header, sizeof(header), 0)) < 0)
        rc = err_set_errno(reterr, ERR_IO, errno, "database %s cannot be read", path);
    else if (n == 0)
        rc = refuse_orphans(path, reterr);
    else
        rc = inspect_header(path, header, (size_t)n, reterr); /* n > 0 */
    close(fd);
    if (rc == 0)
        *ret_new = st.st_size == 0;
    return rc;
}

/* ---- a new one ---- */

void store_file_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char name[4096];

        if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]) <
            sizeof(name)) /* never negative */
            unlink(name);
    }
}

static int fill_new(const char *path, struct err *reterr)
{
    CLEANUP(store_conn_closep) struct store_conn *c = NULL;
    int rc = store_conn_open(path, STORE_ROLE_CREATE, SQLITE_OPEN_READWRITE, &c, reterr);

    if (rc == 0)
        rc = store_conn_setup(c, STORE_ROLE_CREATE, reterr);
    if (rc == 0)
        rc = store_exec(c, "PRAGMA application_id = 0x47415445", reterr);
    if (rc == 0)
        rc = store_migrate(c, reterr);
    if (rc == 0)
        rc = store_exec(c, "PRAGMA journal_mode = WAL", reterr);
    return rc;
}
static_assert(STORE_APPLICATION_ID == 0x47415445, "the literal in fill_new()");

int store_file_create(const char *path, struct err *reterr)
{
    char *temp = xcalloc(1, strlen(path) + 5);
    int rc, fd;

    snprintf(temp, strlen(path) + 5, "%s.new", path);
    store_file_remove(temp); /* of a first start that was killed */
    fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        bool denied = errno == EACCES || errno == EROFS || errno == EPERM;

        rc = err_set_errno(reterr, denied ? ERR_DENIED : ERR_IO, errno,
                           "database %s cannot be made", path);
        goto err0;
    }
    close(fd); /* its mode is what matters: the logs beside it take it over */
    rc = fill_new(temp, reterr);
    if (rc < 0) {
        if (reterr)
            err_prefix(reterr, "database %s cannot be made", path);
        goto err1;
    }
    if (rename(temp, path) < 0) {
        rc = err_set_errno(reterr, ERR_IO, errno, "database %s cannot be made", path);
        goto err1;
    }
    rc = store_file_sync_dir(path, reterr);
    xfree(temp);
    return rc;
err1:
    store_file_remove(temp);
err0:
    xfree(temp);
    return rc;
}

/* ---- one that was there ---- */

static int damaged(const char *path, struct str what, struct err *reterr)
{
    return err_set(reterr, ERR_SYNTAX,
                   "database %s is damaged (%.*s); nothing was changed. Put a backup in its place, "
                   "or save what can be read with 'sqlite3 %s .recover'",
                   path, STR_ARG(str_cut_utf8(what, 120)), path);
}

static int quick_check(struct store_conn *c, const char *sql, const char *path, struct err *reterr)
{
    struct store_stmt *st;
    struct err e = {0};
    int rc = store_prepare(c, sql, &st, &e);

    if (rc == 0)
        rc = store_step(st, &e);
    if (rc > 0)
        rc = str_eq(store_col_str(st, 0), STR("ok")) ? 0
                                                     : damaged(path, store_col_str(st, 0), reterr);
    else if (rc == ERR_SYNTAX)
        rc = damaged(path, str_of(e.text), reterr);
    else if (rc < 0 && reterr)
        *reterr = e;
    store_conn_settle(c);
    return rc;
}

int store_file_verify(struct store_conn *c, const char *path, struct err *reterr)
{
    static const char *const catalog[] = {
        "PRAGMA quick_check(settings)",      "PRAGMA quick_check(channels)",
        "PRAGMA quick_check(channel_state)", "PRAGMA quick_check(proxy_keys)",
        "PRAGMA quick_check(sessions)",      "PRAGMA quick_check(watermarks)",
    };
    int64_t tables, version;
    struct err e = {0};
    int rc = store_conn_i64(c, "SELECT count(*) FROM sqlite_schema", &tables, &e);

    if (rc == 0)
        rc = store_conn_i64(c, "PRAGMA user_version", &version, &e);
    if (rc == ERR_SYNTAX)
        return damaged(path, str_of(e.text), reterr);
    if (rc < 0) {
        if (reterr)
            *reterr = e;
        return rc;
    }
    if (version > STORE_SCHEMA_VERSION)
        return 0; /* store_migrate() says so */
    if (store_file_bytes(path, "") <= VERIFY_ALL_BYTES)
        return quick_check(c, "PRAGMA quick_check(1)", path, reterr);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(catalog); i++)
        rc = quick_check(c, catalog[i], path, reterr);
    return rc;
}

/* ---- room to start in ---- */

static bool reserve_path(const char *dir, char *out, size_t cap)
{
    return (size_t)snprintf(out, cap, "%s/reserve", dir) < cap; /* never negative */
}

void store_file_reserve(const char *dir)
{
    char path[4096];
    struct stat st;
    int fd;

    if (!reserve_path(dir, path, sizeof(path)))
        return;
    if (lstat(path, &st) == 0 && st.st_size >= STORE_RESERVE_BYTES)
        return;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (posix_fallocate(fd, 0, STORE_RESERVE_BYTES) != 0)
        unlink(path); /* no room now: a later start tries again */
    close(fd);
}

bool store_file_unreserve(const char *dir)
{
    char path[4096];

    return reserve_path(dir, path, sizeof(path)) && unlink(path) == 0;
}
