/* store.h -- the embedded database: SQLite in WAL mode, one writer connection, a few readers on
 * threads of their own. Loops never touch SQL: they post a job and get it back as a message.
 *
 * One writer connection, used under the writer lock by two threads only: the store's writer thread
 * (catalog jobs, retention steps) and the ledger thread. It alone checkpoints (Debian's SQLite 3.40
 * has the WAL-reset race of two writers; one connection cannot race with itself). synchronous=FULL:
 * a commit that returned survives power loss; batching makes it cheap.
 *
 * SQL text is always a literal with '?' parameters; identifiers never come from outside. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

struct store;
struct store_conn; /* a connection; used by one thread at a time */
struct store_stmt; /* prepared, cached per connection by its SQL pointer */

struct store_config {
    const char *data_dir;  /* made 0700 when missing; locked with flock on data_dir/lock */
    unsigned readers;      /* threads */
    bool read_only;        /* --check, backup of a live directory: no lock, no migration */
};

/* Opens data_dir/gatehouse.db, migrates it. Failures leave every file as it was:
 * ERR_CONFLICT another process holds the directory (text names pid and start), or a newer schema;
 * ERR_DENIED not writable; ERR_SYNTAX corrupt or foreign file (text says which and the way on). */
MUST_USE int store_open(const struct store_config *cfg, struct store **ret, struct err *reterr);
void store_close(struct store *s); /* waits for jobs in hand, checkpoints, unlocks */
const char *store_data_dir(const struct store *s);
bool store_is_new(const struct store *s); /* the database was made by this open */
bool store_is_exposed(const struct store *s); /* other users may enter the directory: the caller warns */
/* 0, or the error of the last write that failed since the last that worked (disk full, I/O). */
int store_health(const struct store *s, struct err *reterr);
/* Milliseconds since writes began to fail, 0 = they work. */
uint64_t store_failing_ms(const struct store *s);

/* ---- jobs ---- */
/* Embedded in the caller's object, which lives until done(). */
struct store_job {
    struct store_job *next;
    struct loop *reply_loop;
    struct loop_msg msg;
    /* On a store thread. Result code into rc (0 or ERR_*), text into err. */
    int (*run)(struct store_job *j, struct store_conn *c);
    void (*done)(struct store_job *j); /* on reply_loop; NULL reply_loop: on the store thread */
    int rc;
    struct err err;
};
/* Read job: inside a read transaction on a reader's connection, progress limit 2 s -> ERR_TIMEOUT.
 * ERR_BUSY when more than 10,000 jobs wait (job untouched). store_close() cancels reads that wait:
 * done() with ERR_CANCELLED. */
MUST_USE int store_read(struct store *s, struct store_job *j);
/* Write job: inside BEGIN IMMEDIATE ... COMMIT on the writer; a non-zero rc rolls back. done() comes
 * after COMMIT; a failed COMMIT turns rc into ERR_IO. */
MUST_USE int store_write(struct store *s, struct store_job *j);

/* ---- the writer connection by hand: ledger thread, start-up, command line ---- */
struct store_conn *store_writer_lock(struct store *s);
void store_writer_unlock(struct store *s);
MUST_USE int store_begin(struct store_conn *c, struct err *reterr);
MUST_USE int store_commit(struct store_conn *c, struct err *reterr); /* on failure rolled back */
void store_rollback(struct store_conn *c);

/* ---- statements ---- */
/* Reset and unbound, ready to bind. `sql` must be a literal (the cache is keyed by its address). */
MUST_USE int store_prepare(struct store_conn *c, const char *sql, struct store_stmt **ret, struct err *reterr);
void store_bind_i64(struct store_stmt *st, int i, int64_t v); /* i from 1 */
void store_bind_double(struct store_stmt *st, int i, double v);
void store_bind_str(struct store_stmt *st, int i, struct str v); /* ptr NULL binds NULL; bytes must live until reset */
void store_bind_blob(struct store_stmt *st, int i, const void *p, size_t n);
void store_bind_null(struct store_stmt *st, int i);
/* 1 = a row, 0 = done, negative = error (ERR_CONFLICT unique constraint: text holds "UNIQUE constraint failed: ...",
 * ERR_IO, ERR_LIMIT disk full, ERR_TIMEOUT interrupted). */
MUST_USE int store_step(struct store_stmt *st, struct err *reterr);
MUST_USE int store_run(struct store_stmt *st, struct err *reterr); /* step to the end, rows ignored: 0 or error; resets */
void store_reset(struct store_stmt *st); /* frees the read lock early; borrowed columns die */
int64_t store_col_i64(struct store_stmt *st, int i); /* from 0 */
double store_col_double(struct store_stmt *st, int i);
struct str store_col_str(struct store_stmt *st, int i); /* borrowed until the next step; NULL -> STR_NONE */
struct str store_col_blob(struct store_stmt *st, int i);
bool store_col_is_null(struct store_stmt *st, int i);
int64_t store_last_id(struct store_conn *c);
int64_t store_changes(struct store_conn *c);
MUST_USE int store_exec(struct store_conn *c, const char *sql, struct err *reterr); /* several statements, literals only */

/* Query under construction: fixed fragments plus bound values, for filters. */
struct store_query {
    struct buf sql;  /* capped at 8 KiB */
    struct { enum { STORE_VALUE_I64, STORE_VALUE_STR } kind; bool is_owned; int64_t i; struct str s; } values[32];
    unsigned count;
    bool failed; /* too long or too many values; store_query_prepare() tells */
};
void store_query_init(struct store_query *q, const char *literal);
void store_query_add(struct store_query *q, const char *literal); /* fixed text */
void store_query_i64(struct store_query *q, const char *literal, int64_t v); /* literal holds one '?' */
void store_query_str(struct store_query *q, const char *literal, struct str v);
/* LIKE '%v%' ESCAPE '\', v escaped, at most 256 bytes of it. literal: " AND name LIKE ? ESCAPE '\\'" */
void store_query_like(struct store_query *q, const char *literal, struct str v);
void store_query_release(struct store_query *q);
/* Not cached; free with store_finalize(). */
MUST_USE int store_query_prepare(struct store_conn *c, struct store_query *q, struct store_stmt **ret, struct err *reterr);
void store_finalize(struct store_stmt *st);

/* ---- the house ---- */
/* VACUUM INTO `path` (must not exist); from a live directory too. */
MUST_USE int store_backup(struct store *s, const char *path, struct err *reterr);
/* A foreign SQLite file, read-only and immutable-safe (WAL of a stopped system is read, nothing is written or
 * created beside it: a copy in a private temporary directory is opened when a -wal file lies there). */
struct store_foreign;
MUST_USE int store_foreign_open(const char *path, struct store_foreign **ret, struct err *reterr);
struct store_conn *store_foreign_conn(struct store_foreign *f);
void store_foreign_close(struct store_foreign *f);
MUST_USE int store_table_exists(struct store_conn *c, const char *table, bool *ret, struct err *reterr);
MUST_USE int store_column_exists(struct store_conn *c, const char *table, const char *column, bool *ret, struct err *reterr);
int64_t store_db_bytes(const struct store *s); /* database + WAL on disk, for pages and metrics */
#define STORE_SCHEMA_VERSION 1
