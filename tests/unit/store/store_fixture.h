/* store_fixture.h -- what the store's tests share: a directory of their own, jobs that are waited
 * for, and files compared to the byte and the nanosecond. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static inline char *fixture_path(const char *dir, const char *name)
{
    char *p = xcalloc(1, 4096);

    snprintf(p, 4096, "%s/%s", dir, name);
    return p;
}

static inline char *fixture_dir(void)
{
    char *dir = xstrdup("/tmp/gatehouse-test-XXXXXX");

    if (!mkdtemp(dir))
        abort();
    return dir;
}

static inline void fixture_remove(char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        char *p;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        p = fixture_path(dir, e->d_name);
        if (e->d_type == DT_DIR)
            fixture_remove(p); /* frees p */
        else {
            unlink(p);
            xfree(p);
        }
    }
    if (d)
        closedir(d);
    rmdir(dir);
    xfree(dir);
}

static inline int fixture_try_open(const char *dir, struct store **ret, struct err *e)
{
    const struct store_config cfg = {.data_dir = dir, .readers = 2};

    memset(e, 0, sizeof(*e));
    return store_open(&cfg, ret, e);
}

static inline struct store *fixture_open(const char *dir)
{
    struct store *s = NULL;
    struct err e;

    if (fixture_try_open(dir, &s, &e) < 0)
        fail_msg("open: %s", e.text);
    return s;
}

/* ---- jobs that are waited for ---- */
struct fixture_job {
    struct store_job job; /* first */
    sem_t done;
    const char *sql;
    int64_t value;
};

static inline void fixture_done(struct store_job *j)
{
    sem_post(&container_of(j, struct fixture_job, job)->done);
}

/* Runs sql; the first column of its last row goes to value. */
static inline int fixture_run(struct store_job *j, struct store_conn *c)
{
    struct fixture_job *f = container_of(j, struct fixture_job, job);
    struct store_stmt *st;
    int rc = store_prepare(c, f->sql, &st, &j->err);

    if (rc < 0)
        return rc;
    while ((rc = store_step(st, &j->err)) > 0)
        f->value = store_col_i64(st, 0);
    store_reset(st);
    return rc;
}

static inline void fixture_job_init(struct fixture_job *f, const char *sql)
{
    memset(f, 0, sizeof(*f));
    f->job.run = fixture_run;
    f->job.done = fixture_done;
    f->sql = sql;
    sem_init(&f->done, 0, 0);
}

static inline int fixture_wait(struct fixture_job *f)
{
    while (sem_wait(&f->done) < 0)
        assert_int_equal(errno, EINTR);
    return f->job.rc;
}

static inline int fixture_write(struct store *s, const char *sql, struct err *e)
{
    struct fixture_job f;
    int rc;

    fixture_job_init(&f, sql);
    assert_int_equal(store_write(s, &f.job), 0);
    rc = fixture_wait(&f);
    if (e)
        *e = f.job.err;
    sem_destroy(&f.done);
    return rc;
}

static inline int64_t fixture_read(struct store *s, const char *sql)
{
    struct fixture_job f;
    int rc;

    fixture_job_init(&f, sql);
    assert_int_equal(store_read(s, &f.job), 0);
    rc = fixture_wait(&f);
    if (rc != 0)
        fail_msg("%s: %s", sql, f.job.err.text);
    sem_destroy(&f.done);
    return f.value;
}

/* ---- files ---- */
struct fixture_file {
    char *bytes;
    size_t len;
    struct timespec mtime;
    mode_t mode;
};

static inline struct fixture_file fixture_slurp(const char *path)
{
    struct fixture_file f = {0};
    struct stat st;
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    f.len = (size_t)st.st_size;
    f.bytes = xmalloc(f.len);
    assert_int_equal(read(fd, f.bytes, f.len), st.st_size);
    f.mtime = st.st_mtim;
    f.mode = st.st_mode;
    close(fd);
    return f;
}

static inline void fixture_spill(const char *path, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* Bytes, length and time of change are what they were; frees *f. */
static inline void fixture_same(const char *path, struct fixture_file *f)
{
    struct fixture_file now = fixture_slurp(path);

    assert_int_equal(now.len, f->len);
    assert_memory_equal(now.bytes, f->bytes, now.len);
    assert_int_equal(now.mtime.tv_sec, f->mtime.tv_sec);
    assert_int_equal(now.mtime.tv_nsec, f->mtime.tv_nsec);
    assert_int_equal(now.mode, f->mode);
    xfree(now.bytes);
    xfree(f->bytes);
}

static inline unsigned fixture_count_files(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* . and .. */
}
