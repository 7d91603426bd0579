/* store_sqlite.c -- SQLite behind store.h: connections with the settings of their role, cached
 * statements, and one place where SQLite's result codes become ours. */
#include "store/store_private.h"

#include "base/clock.h"
#include "base/metric.h"

#include <errno.h>
#include <pthread.h>

/* ---- errors ---- */

static int code_of(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CONSTRAINT:
        return ERR_CONFLICT;
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    case SQLITE_INTERRUPT:
        return ERR_TIMEOUT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_DENIED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_SYNTAX;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        /* The -shm file cannot grow on a full disk: SQLite says I/O error, errno says why. */
        if (db && (sqlite3_system_errno(db) == ENOSPC || sqlite3_system_errno(db) == EDQUOT))
            return ERR_LIMIT;
        return ERR_IO;
    default:
        return ERR_INTERNAL;
    }
}

/* The medium or the file, not the statement. */
static bool is_storage_failure(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
        return true;
    default:
        return false;
    }
}

int store_conn_fail(struct store_conn *c, int rc, struct err *reterr)
{
    struct err e = {0};
    int code = code_of(c->db, rc);
    int errnum = c->db ? sqlite3_system_errno(c->db) : 0;

    if (code == ERR_TIMEOUT)
        err_set(&e, code, "the query took too long");
    else if ((rc & 0xff) == SQLITE_IOERR && errnum != 0)
        err_set_errno(&e, code, errnum, "database: %s", sqlite3_errstr(rc));
    else
        err_set(&e, code, "%s", c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc));
    if (is_storage_failure(rc)) {
        metric_add(METRIC_STORE_ERRORS, 0, 1);
        if (c->state)
            store_state_failed(c->state, &e);
    }
    if (reterr)
        *reterr = e;
    return code;
}

/* ---- connections ---- */

static int on_progress(void *arg)
{
    struct store_conn *c = arg;

    return c->deadline != 0 && clock_mono_ms() >= c->deadline;
}

/* After each commit that wrote to the WAL, on the committing thread. Being set, it also stands in
 * the place of SQLite's automatic checkpoint. */
static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct store_conn *c = arg;

    (void)db;
    (void)name;
    c->wal_pages = pages;
    if (pages < STORE_CHECKPOINT_PAGES)
        c->checkpoint_at = STORE_CHECKPOINT_PAGES; /* the WAL began anew */
    if (c->state)
        store_state_ok(c->state);
    return SQLITE_OK;
}

/* Before SQLite's first use: counting every allocation takes a lock that nobody here reads behind.
 */
static void set_up_library(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS,
                         0); /* refused once in use: then it only counts on */
}

int store_conn_open(const char *name, enum store_role role, int flags, struct store_conn **ret,
                    struct err *reterr)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP(store_conn_closep) struct store_conn *c = xcalloc(1, sizeof(*c));
    int rc;

    pthread_once(&once, set_up_library);
    rc = sqlite3_open_v2(
        name, &c->db,
        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, NULL);

    if (rc != SQLITE_OK)
        return store_conn_fail(c, rc, reterr);
    c->checkpoint_at = STORE_CHECKPOINT_PAGES;
    sqlite3_busy_timeout(c->db, 5000);
    sqlite3_limit(c->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1024);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, role == STORE_ROLE_FOREIGN, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (role == STORE_ROLE_WRITER)
        sqlite3_wal_hook(c->db, on_wal, c);
    if (role == STORE_ROLE_READER)
        sqlite3_progress_handler(c->db, 2000, on_progress, c);
    *ret = TAKE(c);
    return 0;
}

int store_conn_setup(struct store_conn *c, enum store_role role, struct err *reterr)
{
    switch (role) {
    case STORE_ROLE_WRITER:
        return store_exec(c,
                          "PRAGMA synchronous = FULL;"
                          "PRAGMA foreign_keys = ON;"
                          "PRAGMA temp_store = MEMORY;"
                          "PRAGMA mmap_size = 0;"
                          "PRAGMA cache_size = -4000;"
                          /* Debian's default zeroes freed pages with extra writes. */
                          "PRAGMA secure_delete = FAST;"
                          /* A WAL that a long reader let grow is cut when it begins anew. */
                          "PRAGMA journal_size_limit = 67108864;",
                          reterr);
    case STORE_ROLE_READER:
        return store_exec(c,
                          "PRAGMA query_only = ON;"
                          "PRAGMA temp_store = MEMORY;"
                          "PRAGMA mmap_size = 0;"
                          "PRAGMA cache_size = -1000;",
                          reterr);
    case STORE_ROLE_CREATE:
        return store_exec(c,
                          "PRAGMA page_size = 4096;"
                          "PRAGMA auto_vacuum = INCREMENTAL;"
                          "PRAGMA synchronous = FULL;"
                          "PRAGMA foreign_keys = ON;"
                          "PRAGMA temp_store = MEMORY;",
                          reterr);
    case STORE_ROLE_FOREIGN:
        return store_exec(c,
                          "PRAGMA query_only = ON;"
                          "PRAGMA temp_store = MEMORY;"
                          "PRAGMA mmap_size = 0;"
                          "PRAGMA cache_size = -1000;"
                          "PRAGMA cell_size_check = ON;",
                          reterr);
    }
    return err_set(reterr, ERR_INTERNAL, "no such role");
}

void store_conn_close(struct store_conn *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < STORE_STMT_BUCKETS; i++) {
        struct store_stmt *st;

        while ((st = c->stmts[i]) != NULL) {
            c->stmts[i] = st->next;
            sqlite3_finalize(st->st);
            xfree(st);
        }
    }
    /* _v2: a statement that a caller did not finalize delays the end, it does not leak the lock. */
    sqlite3_close_v2(c->db);
    xfree(c);
}

void store_conn_settle(struct store_conn *c)
{
    for (sqlite3_stmt *st = sqlite3_next_stmt(c->db, NULL); st; st = sqlite3_next_stmt(c->db, st)) {
        if (sqlite3_stmt_busy(st))
            sqlite3_reset(st);
    }
}

void store_conn_checkpoint(struct store_conn *c, bool all)
{
    int pages = 0, moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(
        c->db, NULL, all ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);

    if (rc == SQLITE_OK && moved >= pages) {
        c->checkpoint_at = STORE_CHECKPOINT_PAGES;
        c->wal_pages = 0; /* the next commit begins the WAL anew, or tells the true number */
        return;
    }
    /* A reader's snapshot or a full disk is in the way. The commits are safe in the WAL; trying
     * again after each of them would cost a sync each, so wait for more to do. */
    c->checkpoint_at = c->wal_pages + STORE_CHECKPOINT_PAGES / 4;
    if (rc != SQLITE_OK && is_storage_failure(rc))
        metric_add(METRIC_STORE_ERRORS, 0, 1);
}

/* ---- transactions ---- */

int store_exec(struct store_conn *c, const char *sql, struct err *reterr)
{
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : store_conn_fail(c, rc, reterr);
}

int store_begin(struct store_conn *c, struct err *reterr)
{
    return store_exec(c, "BEGIN IMMEDIATE", reterr);
}

int store_commit(struct store_conn *c, struct err *reterr)
{
    int rc;

    store_conn_settle(c);
    /* A full disk or an I/O error inside the transaction made SQLite roll back by itself. */
    if (sqlite3_get_autocommit(c->db))
        return err_set(reterr, ERR_IO, "the transaction was rolled back by an earlier error");
    rc = store_exec(c, "COMMIT", reterr);
    if (rc < 0)
        store_rollback(c);
    return rc;
}

void store_rollback(struct store_conn *c)
{
    store_conn_settle(c);
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL); /* fails only when nothing is open */
}

int64_t store_last_id(struct store_conn *c)
{
    return sqlite3_last_insert_rowid(c->db);
}

int64_t store_changes(struct store_conn *c)
{
    return sqlite3_changes64(c->db);
}
