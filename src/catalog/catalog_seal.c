/* catalog_seal.c -- the key under which upstream keys and tokens lie in the store: secret.key in
 * the data directory (64 hex digits, made on the first start), or the text of option secret_key. A
 * key that is lost cannot be replaced, so the file is never overwritten and never silently made
 * anew. */
#include "catalog/catalog_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_SIZE (2 * SECRET_KEY_SIZE + 1)

static int has_sealed(struct store_conn *conn, bool *ret, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(conn,
                           "SELECT EXISTS(SELECT 1 FROM channels) OR "
                           "EXISTS(SELECT 1 FROM settings WHERE is_secret = 1)",
                           &st, reterr);

    if (rc < 0)
        return rc;
    rc = store_step(st, reterr);
    if (rc >= 0)
        *ret = rc == 1 && store_col_i64(st, 0) != 0;
    store_reset(st);
    return rc < 0 ? rc : 0;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        p += done;
        n -= (size_t)done; /* not negative */
    }
    return fsync(fd);
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0)
        close(fd);
    return rc;
}

/* Whole on disk under another name first: a crash leaves no half key under the real one. The data
 * directory is locked by the store, so nobody makes the file between the look and the rename. */
static int make_file(struct catalog *c, struct err *reterr)
{
    char temp[sizeof(c->key_origin) + 8], hex[HEX_SIZE + 1];
    int rc = 0;

    secret_random(c->key, sizeof(c->key));
    secret_hex(c->key, sizeof(c->key), hex);
    hex[HEX_SIZE - 1] = '\n';
    snprintf(temp, sizeof(temp), "%s.new", c->key_origin);

    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || fchmod(fd, 0600) < 0 || write_all(fd, hex, HEX_SIZE) < 0 ||
        rename(temp, c->key_origin) < 0 || sync_dir(store_data_dir(c->store)) < 0)
        rc = err_set_errno(reterr, ERR_IO, errno, "cannot make %s", c->key_origin);
    explicit_bzero(hex, sizeof(hex));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int read_file(struct catalog *c, int fd, struct err *reterr)
{
    char text[HEX_SIZE + 2];
    struct stat st;
    ssize_t n = read(fd, text, sizeof(text));
    int rc = 0;

    if (n < 0 || fstat(fd, &st) < 0)
        rc = err_set_errno(reterr, ERR_IO, errno, "cannot read %s", c->key_origin);
    else if (st.st_mode & 077)
        rc = err_set(reterr, ERR_DENIED,
                     "%s may be read by others (mode %04o): chmod 600 it, or give the key as "
                     "GATEHOUSE_SECRET_KEY",
                     c->key_origin, (unsigned)st.st_mode & 07777);
    else if (secret_unhex(str_trim(str_n(text, (size_t)n)), c->key, sizeof(c->key)) < 0)
        rc = err_set(reterr, ERR_DENIED,
                     "%s is damaged: it is not 64 hex digits; put the right one back",
                     c->key_origin);
    explicit_bzero(text, sizeof(text));
    return rc;
}

int catalog_seal_key(struct catalog *c, struct store_conn *conn, struct str secret_key,
                     struct err *reterr)
{
    bool is_sealed = false;

    if (secret_key.len > 0) {
        str_copy(c->key_origin, sizeof(c->key_origin), STR("option secret_key"));
        secret_sha256(secret_key, c->key);
        return 0;
    }
    int n =
        snprintf(c->key_origin, sizeof(c->key_origin), "%s/secret.key", store_data_dir(c->store));

    if (n < 0 || (size_t)n >= sizeof(c->key_origin))
        return err_set(reterr, ERR_LIMIT, "the path of the data directory is too long");

    int fd = open(c->key_origin, O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        int rc = read_file(c, fd, reterr);

        close(fd);
        return rc;
    }
    if (errno != ENOENT)
        return err_set_errno(reterr, ERR_DENIED, errno, "cannot open %s", c->key_origin);

    int rc = has_sealed(conn, &is_sealed, reterr);

    if (rc < 0)
        return rc;
    if (is_sealed)
        return err_set(reterr, ERR_DENIED,
                       "%s is missing, but the database holds keys sealed with it: put it back, or "
                       "give the key as GATEHOUSE_SECRET_KEY",
                       c->key_origin);
    return make_file(c, reterr);
}

uint8_t *catalog_seal_text(const struct catalog *c, struct str plain, size_t *ret_len)
{
    uint8_t *sealed = xmalloc(plain.len + SECRET_SEAL_OVERHEAD);

    secret_seal(c->key, plain, sealed);
    *ret_len = plain.len + SECRET_SEAL_OVERHEAD;
    return sealed;
}

int catalog_seal_open(const struct catalog *c, struct str sealed, const char *what,
                      struct secret *ret, struct err *reterr)
{
    if (secret_open(c->key, sealed, ret) < 0)
        return err_set(reterr, ERR_DENIED,
                       "%s cannot be opened with %s: the database was sealed with another key",
                       what, c->key_origin);
    return 0;
}
