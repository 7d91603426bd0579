/* catalog.h -- channels, keys, settings: immutable snapshots with a generation number. Loops read
 * theirs by pointer without a lock; a change commits in the store, builds the next snapshot and is
 * posted to every loop. The store is the truth; API, file and page are three hands on it. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/str.h"
#include "catalog/channel.h"
#include "catalog/proxy_key.h"
#include "net/loop.h"
#include "store/store.h"

struct catalog;

struct catalog_snapshot { /* shared, immutable, reference counted */
    uint64_t generation;
    const struct channel *const *channels; /* by sort_order, id */
    size_t channel_count;
    const struct proxy_key *const *keys; /* newest first, revoked ones included */
    size_t key_count;
    /* settings: stored values by option name, see catalog_setting() */
    struct catalog_parts *parts; /* the catalog's own: indexes, settings, count of references */
};

/* Loads everything; makes secret.key (0600) in the data directory unless secret_key is given (any text;
 * hashed to 32 bytes). ERR_DENIED: sealed values cannot be opened with this key (text says which file),
 * secret.key is gone while there are sealed values, or others may read it; it is never overwritten.
 * Closing comes after the loops have ended and before the store is closed. */
struct catalog_config {
    struct store *store;
    struct str secret_key; /* "" = file */
};
MUST_USE int catalog_open(const struct catalog_config *cfg, struct catalog **ret, struct err *reterr);
void catalog_close(struct catalog *c);

/* Before threads: loops that get snapshots. fn (may be NULL) is called on that loop after its
 * pointer moved. */
void catalog_attach(struct catalog *c, struct loop *l, void (*fn)(void *ctx, struct catalog_snapshot *s), void *ctx);
/* The snapshot of the calling loop's thread (attached), valid until the turn ends; ref to keep. */
struct catalog_snapshot *catalog_now(struct catalog *c);
/* Newest, from any thread, with a reference. */
struct catalog_snapshot *catalog_latest(struct catalog *c);
struct catalog_snapshot *catalog_ref(struct catalog_snapshot *s);
void catalog_unref(struct catalog_snapshot *s);

const struct channel *catalog_channel(const struct catalog_snapshot *s, int64_t id); /* NULL */
const struct channel *catalog_channel_by_name(const struct catalog_snapshot *s, struct str name);
const struct proxy_key *catalog_key_by_hash(const struct catalog_snapshot *s, const uint8_t hash[SECRET_HASH_SIZE]); /* constant-time compare at the end */
/* Stored setting, clear text even when sealed at rest; STR_NONE when not stored. */
struct str catalog_setting(const struct catalog_snapshot *s, const char *key);

/* ---- changes: on the store's writer thread, inside a catalog job ---- */
struct catalog_tx; /* valid inside run() */

struct catalog_job { /* embedded in the caller's object */
    struct store_job job; /* job.rc, job.err tell the result in done() */
    struct catalog *catalog;
    int (*run)(struct catalog_tx *tx, struct catalog_job *j, struct err *reterr);
    void (*done)(struct catalog_job *j); /* on reply_loop, after COMMIT and after that loop's snapshot moved */
    struct loop *reply;                  /* the catalog's own, and so is next */
    struct catalog_snapshot *next;
};
/* ERR_BUSY: too many jobs wait, j is untouched. reply_loop NULL: done() on the store's writer thread. */
MUST_USE int catalog_submit(struct catalog *c, struct catalog_job *j, struct loop *reply_loop);
/* The same at once on the calling thread: start-up and command line only. */
MUST_USE int catalog_apply(struct catalog *c, int (*run)(struct catalog_tx *tx, void *ctx, struct err *reterr), void *ctx, struct err *reterr);

struct store_conn *catalog_tx_conn(struct catalog_tx *tx);
/* The time of the transaction: what created and updated become. */
utc_ms catalog_tx_utc(const struct catalog_tx *tx);
/* ch->id 0: a new one; sort_order 0: behind the others; created_utc_ms 0: now. */
MUST_USE int catalog_channel_insert(struct catalog_tx *tx, const struct channel *ch, int64_t *ret_id, struct err *reterr); /* ERR_CONFLICT: "UNIQUE constraint failed: targets.name" */
MUST_USE int catalog_channel_update(struct catalog_tx *tx, const struct channel *ch, struct err *reterr); /* ERR_NOTFOUND, ERR_CONFLICT; updated_utc_ms becomes now */
MUST_USE int catalog_channel_delete(struct catalog_tx *tx, int64_t id, struct err *reterr); /* ERR_NOTFOUND; runs and results go with it */
MUST_USE int catalog_channel_load(struct catalog_tx *tx, int64_t id, struct channel **ret, struct err *reterr); /* current row, caller frees */
MUST_USE int catalog_channel_reorder(struct catalog_tx *tx, const int64_t *ids, size_t count, struct err *reterr); /* spec 1 texts */
MUST_USE int catalog_key_insert(struct catalog_tx *tx, const struct proxy_key *k, int64_t *ret_id, struct err *reterr); /* ERR_RANGE: "target id <n> not found" */
MUST_USE int catalog_key_load(struct catalog_tx *tx, int64_t id, struct proxy_key **ret, struct err *reterr); /* current row, caller frees; ERR_NOTFOUND also when revoked */
/* Name, description, the two lists and whether it is enabled, as in k; allowed channels that the
 * key did not have before must exist. ERR_NOTFOUND, also when revoked; ERR_RANGE as insert. */
MUST_USE int catalog_key_update(struct catalog_tx *tx, const struct proxy_key *k, struct err *reterr);
MUST_USE int catalog_key_revoke(struct catalog_tx *tx, int64_t id, utc_ms now, struct err *reterr); /* ERR_NOTFOUND also when revoked already */
MUST_USE int catalog_setting_set(struct catalog_tx *tx, const char *key, struct str value, bool is_secret, struct err *reterr);
MUST_USE int catalog_setting_delete(struct catalog_tx *tx, const char *key, struct err *reterr);
MUST_USE int catalog_audit(struct catalog_tx *tx, struct str actor, struct str peer, const char *action, struct str subject, struct str detail, struct err *reterr);
