/* catalog_private.h -- what the catalog's files share.
 *
 * A snapshot is three sets (channels, keys, settings), each immutable and counted. A change builds
 * new only the set it touches: an array of pointers to counted objects and its indexes, so a
 * generation with one changed channel among 1,000 costs a copy of 1,000 pointers.
 *
 *   snapshot 7 ─▶ channel_set A ─▶ channel 1, 2, 3        snapshot 8 ─▶ channel_set B ─▶ channel 1, 2', 3
 *              ─▶ key_set, setting_set ◀───────────────── the same ──┘
 *
 * All changes come from one place at a time, the holder of the store's writer (catalog.h), so a
 * transaction's draft begins with the newest snapshot and no merge is ever needed. */
#pragma once

#include "catalog/catalog.h"

#include <pthread.h>
#include <stdatomic.h>

/* Open addressing over positions in an array; slots hold position + 1, 0 = free. At most half full. */
struct catalog_index {
    uint32_t *slots;
    size_t mask;
};

struct channel_set {
    _Atomic uint32_t refs;
    const struct channel **items; /* by sort_order, id; a reference each */
    size_t count;
    struct catalog_index by_id, by_name;
};

struct key_set {
    _Atomic uint32_t refs;
    const struct proxy_key **items; /* newest first; a reference each */
    size_t count;
    struct catalog_index by_hash;
};

struct setting_row {
    char *key;
    struct secret value; /* clear */
    bool is_secret;
};

struct setting_set {
    _Atomic uint32_t refs;
    struct setting_row *items; /* by key */
    size_t count;
};

struct catalog_parts {
    _Atomic uint32_t refs; /* of the snapshot */
    struct channel_set *channels;
    struct key_set *keys;
    struct setting_set *settings;
};

struct catalog_attached; /* a loop and its pointer */

struct catalog {
    struct store *store;
    uint8_t key[SECRET_KEY_SIZE]; /* wiped at close */
    char key_origin[4200];        /* "/data/secret.key" or "secret_key", for error texts */
    struct catalog_attached **attached; /* fixed once threads run */
    size_t attached_count;
    pthread_mutex_t lock;            /* guards latest */
    struct catalog_snapshot *latest; /* a reference */
};

/* A transaction: the connection and drafts of the sets it changed so far. */
struct catalog_tx {
    struct catalog *catalog;
    struct store_conn *conn;
    struct catalog_snapshot *base; /* a reference */
    utc_ms now;
    bool has_channels, has_keys, has_settings; /* a draft was begun */
    const struct channel **channels;           /* drafts: a reference each, any order */
    size_t channel_count, channel_cap;
    const struct proxy_key **keys;
    size_t key_count, key_cap;
    struct setting_row *settings; /* by key */
    size_t setting_count;
};

/* ---- catalog_set.c: sets, indexes, snapshots ---- */
/* These take the array and its references; they sort it. */
struct channel_set *catalog_set_channels(const struct channel **items, size_t count);
struct key_set *catalog_set_keys(const struct proxy_key **items, size_t count);
struct setting_set *catalog_set_settings(struct setting_row *items, size_t count);
void catalog_set_settings_free(struct setting_row *items, size_t count);
/* Takes a reference to each set. */
struct catalog_snapshot *catalog_set_snapshot(uint64_t generation, struct channel_set *channels,
                                              struct key_set *keys, struct setting_set *settings);
struct channel_set *catalog_set_channels_ref(struct channel_set *s);
struct key_set *catalog_set_keys_ref(struct key_set *s);
struct setting_set *catalog_set_settings_ref(struct setting_set *s);
const struct setting_row *catalog_set_setting(const struct setting_set *s, struct str key); /* NULL */

/* ---- catalog_seal.c: the key and what lies under it ---- */
/* secret.key or the option's text into c->key; see catalog_open(). */
MUST_USE int catalog_seal_key(struct catalog *c, struct store_conn *conn, struct str secret_key,
                              struct err *reterr);
/* Sealed bytes of `plain`; the caller frees. */
uint8_t *catalog_seal_text(const struct catalog *c, struct str plain, size_t *ret_len);
MUST_USE int catalog_seal_open(const struct catalog *c, struct str sealed, const char *what,
                               struct secret *ret, struct err *reterr);

/* ---- catalog_load.c ---- */
MUST_USE int catalog_load(struct catalog *c, struct store_conn *conn, struct catalog_snapshot **ret,
                          struct err *reterr);

/* ---- catalog_write.c ---- */
void catalog_write_begin(struct catalog_tx *tx, struct catalog *c, struct store_conn *conn);
/* The next snapshot, or NULL when nothing changed. */
struct catalog_snapshot *catalog_write_snapshot(struct catalog_tx *tx);
void catalog_write_end(struct catalog_tx *tx); /* drops the drafts */
/* Begin the draft of channels, or make room in it, for `room` more. */
void catalog_write_draft_channels(struct catalog_tx *tx, size_t room);
size_t catalog_write_place(const struct catalog_tx *tx, int64_t id); /* in the draft; (size_t)-1 */
/* Newest state as the transaction sees it; borrowed until its next change. */
const struct channel *catalog_write_channel(const struct catalog_tx *tx, int64_t id);
const struct channel *catalog_write_channel_named(const struct catalog_tx *tx, struct str name);
const struct proxy_key *catalog_write_key(const struct catalog_tx *tx, int64_t id);
const struct setting_row *catalog_write_setting(const struct catalog_tx *tx, struct str key);
/* catalog_key_insert() without a look at the channels it allows: imported keys may name old ones. */
MUST_USE int catalog_write_key_put(struct catalog_tx *tx, const struct proxy_key *k,
                                   int64_t *ret_id, struct err *reterr);
