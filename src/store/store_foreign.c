/* store_foreign.c -- reading somebody else's database without leaving a trace beside it. SQLite
 * would make -wal and -shm files there, or play a log that was left back into the file; so a file
 * without logs is opened as immutable, and one with logs is copied and opened as the copy. */
#include "store/store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

struct store_foreign {
    struct store_conn *conn;
    char *temp_dir; /* NULL: the file itself is open */
};

#define COPY_TRIES 3

static int refuse_open(const char *path, struct err *reterr)
{
    if (errno == ENOENT || errno == ENOTDIR)
        return err_set_errno(reterr, ERR_NOTFOUND, errno, "%s", path);
    if (errno == EACCES || errno == EPERM)
        return err_set_errno(reterr, ERR_DENIED, errno, "%s cannot be read", path);
    return err_set_errno(reterr, ERR_IO, errno, "%s cannot be read", path);
}

static int check_magic(const char *path, struct err *reterr)
{
    char head[16] = {0};
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return refuse_open(path, reterr);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        rc = err_set(reterr, ERR_SYNTAX, "%s is no regular file", path);
    else if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
             memcmp(head, "SQLite format 3", 16) != 0)
        rc = err_set(reterr, ERR_SYNTAX, "%s is no SQLite database", path);
    close(fd);
    return rc;
}

/* ---- the copy ---- */

static int copy_bytes(int in, int out)
{
    ssize_t n;

    do
        n = sendfile(out, in, NULL, 1 << 20);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -1 : 0;
}

/* A missing source is an empty copy's equal: nothing is made. */
static int copy_file(const char *from, const char *to, struct err *reterr)
{
    int rc = 0, out, in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (in < 0)
        return errno == ENOENT ? 0 : refuse_open(from, reterr);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0 || copy_bytes(in, out) < 0)
        rc = err_set_errno(reterr, errno == ENOSPC ? ERR_LIMIT : ERR_IO, errno,
                           "%s cannot be copied to %s", from, to);
    if (out >= 0)
        close(out);
    close(in);
    return rc;
}

struct shape {
    int64_t bytes[3], mtime_ns[3];
};
static const char *const parts[3] = {"", "-wal", "-journal"};

static void look(const char *path, struct shape *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        char name[4200];
        struct stat st;

        if ((size_t)snprintf(name, sizeof(name), "%s%s", path, parts[i]) >=
            sizeof(name)) /* never negative */
            continue;
        if (stat(name, &st) < 0)
            continue;
        ret->bytes[i] = st.st_size;
        ret->mtime_ns[i] = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    }
}

static int copy_all(const char *path, const char *dir, struct err *reterr)
{
    struct shape before, after;

    for (int try = 0; try < COPY_TRIES; try++) {
        look(path, &before);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
            char from[4200], to[4200];
            int rc;

            snprintf(from, sizeof(from), "%s%s", path,
                     parts[i]); /* path is of realpath(): < 4096 */
            snprintf(to, sizeof(to), "%s/db%s", dir, parts[i]);
            unlink(to);
            rc = copy_file(from, to, reterr);
            if (rc < 0)
                return rc;
        }
        look(path, &after);
        if (memcmp(&before, &after, sizeof(before)) == 0)
            return 0;
    }
    return err_set(reterr, ERR_BUSY, "%s is being written; stop the program that uses it", path);
}

static char *make_temp_dir(struct err *reterr)
{
    const char *base = secure_getenv("TMPDIR");
    char *dir = xcalloc(1, 4096);

    if (!base || base[0] != '/' || strlen(base) > 4000)
        base = "/tmp";
    snprintf(dir, 4096, "%s/gatehouse-XXXXXX", base);
    if (mkdtemp(dir)) /* made 0700 */
        return dir;
    err_set_errno(reterr, ERR_IO, errno, "no temporary directory in %s", base);
    xfree(dir);
    return NULL;
}

static void remove_temp_dir(const char *dir)
{
    static const char *const names[] = {"db", "db-wal", "db-shm", "db-journal"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char name[4200];

        snprintf(name, sizeof(name), "%s/%s", dir, names[i]); /* dir < 4096 */
        unlink(name);
    }
    rmdir(dir);
}

/* ---- opening ---- */

static int open_immutable(const char *path, struct store_conn **ret, struct err *reterr)
{
    struct buf uri = BUF_INIT(3 * 4096 + 64);
    int rc;

    buf_put(&uri, STR("file:"));
    for (const char *p = path; *p; p++) {
        if (*p == '%' || *p == '?' || *p == '#')
            buf_putf(&uri, "%%%02X", (unsigned char)*p);
        else
            buf_put(&uri, str_n(p, 1));
    }
    buf_put(&uri, STR("?immutable=1"));
    rc = store_conn_open(buf_cstr(&uri), STORE_ROLE_FOREIGN, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                         ret, reterr);
    buf_release(&uri);
    return rc;
}

static int open_copy(const char *path, struct store_foreign *f, struct err *reterr)
{
    char name[4200];
    int rc;

    f->temp_dir = make_temp_dir(reterr);
    if (!f->temp_dir)
        return ERR_IO;
    rc = copy_all(path, f->temp_dir, reterr);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "%s/db", f->temp_dir); /* temp_dir < 4096 */
    return store_conn_open(name, STORE_ROLE_FOREIGN, SQLITE_OPEN_READWRITE, &f->conn, reterr);
}

static int open_real(const char *path, struct store_foreign *f, struct err *reterr)
{
    int64_t tables;
    int rc = check_magic(path, reterr);

    if (rc < 0)
        return rc;
    if (store_file_bytes(path, "-wal") > 0 || store_file_bytes(path, "-journal") > 0)
        rc = open_copy(path, f, reterr);
    else
        rc = open_immutable(path, &f->conn, reterr);
    if (rc == 0)
        rc = store_conn_i64(f->conn, "SELECT count(*) FROM sqlite_schema", &tables, reterr);
    if (rc == 0)
        rc = store_conn_setup(f->conn, STORE_ROLE_FOREIGN, reterr);
    if (rc == ERR_SYNTAX && reterr)
        err_prefix(reterr, "%s is damaged", path);
    return rc;
}

int store_foreign_open(const char *path, struct store_foreign **ret, struct err *reterr)
{
    struct store_foreign *f;
    char *real = realpath(path, NULL); /* the logs lie beside the target of a link */
    int rc;

    if (!real)
        return refuse_open(path, reterr);
    f = xcalloc(1, sizeof(*f));
    rc = open_real(real, f, reterr);
    free(real);
    if (rc < 0) {
        store_foreign_close(f);
        return rc;
    }
    *ret = f;
    return 0;
}

struct store_conn *store_foreign_conn(struct store_foreign *f)
{
    return f->conn;
}

void store_foreign_close(struct store_foreign *f)
{
    if (!f)
        return;
    store_conn_close(f->conn);
    if (f->temp_dir)
        remove_temp_dir(f->temp_dir);
    xfree(f->temp_dir);
    xfree(f);
}
