/* store_private.h -- what the files of store/ share; nobody else includes it.
 *
 * Lock order: writer_lock, then queue->lock, then health->lock. Queue and health locks are leaves:
 * never held across a call into SQLite or a callback. A reader's connection needs no lock, it
 * belongs to its thread. */
#pragma once

#include "store/store.h"

#include <pthread.h>
#include <sqlite3.h>

#define STORE_APPLICATION_ID 0x47415445 /* "GATE" */
#define STORE_JOBS_MAX 10000            /* waiting in one queue */
#define STORE_READ_LIMIT_MS 2000
#define STORE_CHECKPOINT_PAGES 4000     /* WAL pages that ask for a checkpoint */
#define STORE_STMT_BUCKETS 64

/* ---- health: does writing work? (store_health.c) ---- */
struct store_state {
    pthread_mutex_t lock;
    mono_ms failing_since; /* 0 = writes work */
    struct err err;        /* of the newest failure */
};
void store_state_ok(struct store_state *h);
void store_state_failed(struct store_state *h, const struct err *e);

/* ---- connections and statements (store_sqlite.c) ---- */
struct store_stmt {
    struct store_stmt *next; /* in its bucket */
    struct store_conn *conn;
    const char *sql; /* the cache key; NULL = not cached */
    sqlite3_stmt *st;
    int bind_rc; /* first failed bind since the reset; store_step() reports it */
};

struct store_conn {
    sqlite3 *db;
    struct store_state *state; /* the writer's: told of failures and successes; else NULL */
    mono_ms deadline;          /* 0 = none; looked at by the progress handler */
    int wal_pages;             /* after the newest commit; writer */
    int checkpoint_at;         /* WAL pages that ask for the next checkpoint; writer */
    struct store_stmt *stmts[STORE_STMT_BUCKETS];
};

enum store_role {
    STORE_ROLE_WRITER,
    STORE_ROLE_READER,
    STORE_ROLE_CREATE, /* a file being made, not yet in WAL mode */
    STORE_ROLE_FOREIGN /* somebody else's file; nothing in it is trusted */
};

/* `name` is an absolute path, or a file: URI. No page is read yet, except by STORE_ROLE_FOREIGN's
 * caller. 0, or an error as store_step(). */
MUST_USE int store_conn_open(const char *name, enum store_role role, int flags, struct store_conn **ret, struct err *reterr);
/* PRAGMAs of a role; the first read of the file. */
MUST_USE int store_conn_setup(struct store_conn *c, enum store_role role, struct err *reterr);
void store_conn_close(struct store_conn *c); /* NULL is a no-op */
DEFINE_CLEANUP(struct store_conn *, store_conn_close)
/* Reset every statement that still holds a snapshot: what a job forgot must not outlive it. */
void store_conn_settle(struct store_conn *c);
/* The error of result code `rc`, recorded where the connection has a state. */
int store_conn_fail(struct store_conn *c, int rc, struct err *reterr);
MUST_USE int store_conn_i64(struct store_conn *c, const char *sql, int64_t *ret, struct err *reterr);
/* PASSIVE, or TRUNCATE when `all`: moves WAL pages into the database. */
void store_conn_checkpoint(struct store_conn *c, bool all);

/* ---- the file before SQLite sees it (store_file.c) ---- */
/* Looks at path with read(2) alone: *ret_new tells that it is missing or empty. Refuses what is
 * foreign, damaged, newer or not writable, with the way on in the text. */
MUST_USE int store_file_inspect(const char *path, bool read_only, bool *ret_new, struct err *reterr);
/* Make a complete database beside path and rename it there: path is never half made. */
MUST_USE int store_file_create(const char *path, struct err *reterr);
/* After SQLite opened it: schema readable, b-trees sound (all of them in a small file, the
 * catalog's in a large one). Writes nothing. */
MUST_USE int store_file_verify(struct store_conn *c, const char *path, struct err *reterr);
void store_file_remove(const char *path); /* and its logs, whatever there is of them */
MUST_USE int store_file_sync_dir(const char *path, struct err *reterr); /* the directory that holds path */
int64_t store_file_bytes(const char *path, const char *suffix);         /* 0 when missing */
#define STORE_RESERVE_BYTES (512 * 1024)
/* A file of that many real bytes in the data directory: given up to start on a full disk. */
void store_file_reserve(const char *dir);
bool store_file_unreserve(const char *dir); /* false when there was none */

/* ---- migrations (store_migrate.c) ---- */
struct store_migration {
    int version;
    const char *sql;
    const char *set_version; /* "PRAGMA user_version = <version>" */
};
/* Bring c from its user_version to the last of `steps`, each in a transaction of its own. */
MUST_USE int store_migrate_with(struct store_conn *c, const struct store_migration *steps, size_t count, struct err *reterr);
MUST_USE int store_migrate(struct store_conn *c, struct err *reterr);

/* ---- the directory's lock (store_lock.c) ---- */
/* Descriptor that holds the lock, or ERR_CONFLICT naming the holder, ERR_DENIED, ERR_IO. */
MUST_USE int store_lock_take(const char *dir, int *ret_fd, struct err *reterr);

/* ---- jobs (store_job.c) ---- */
struct store_queue {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_job *first, *last; /* oldest first */
    unsigned count;
    bool is_closing;
    bool wants_checkpoint; /* writes only */
};
void store_queue_init(struct store_queue *q);
void store_queue_release(struct store_queue *q);
struct store_reader {
    struct store *store;
    struct store_conn *conn; /* owned by its thread while that runs */
    pthread_t thread;
    unsigned index;
    bool is_running;
};
MUST_USE int store_job_start(struct store *s, struct err *reterr);
void store_job_stop(struct store *s); /* queued writes run, queued reads are cancelled */

struct store {
    char *dir, *path; /* absolute */
    bool is_new, is_exposed, read_only;
    int lock_fd; /* -1 = none */
    struct store_state *state;
    pthread_mutex_t writer_lock;
    struct store_conn *writer; /* shared: guarded by writer_lock */
    struct store_queue reads, writes;
    pthread_t writer_thread;
    bool has_writer_thread;
    struct store_reader *readers;
    unsigned reader_count;
};
