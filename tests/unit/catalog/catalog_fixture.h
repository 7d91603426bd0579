/* catalog_fixture.h -- a data directory with store and catalog, and channels made from JSON. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "catalog/catalog.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64];
    struct store *store;
    struct catalog *catalog;
};

static inline void fixture_path(const struct fixture *f, const char *name, char out[160])
{
    snprintf(out, 160, "%s/%s", f->dir, name);
}

static inline void fixture_dir(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/gatehouse-catalog-XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
}

/* With a key given, or "" for secret.key; *e tells why it did not open. */
static inline int fixture_try(struct fixture *f, const char *secret_key, struct err *e)
{
    struct store_config sc = {.data_dir = f->dir, .readers = 1};
    int rc = store_open(&sc, &f->store, e);

    assert_int_equal(rc, 0);

    struct catalog_config cc = {.store = f->store, .secret_key = str_of(secret_key)};

    rc = catalog_open(&cc, &f->catalog, e);
    if (rc < 0) {
        store_close(f->store);
        f->store = NULL;
    }
    return rc;
}

static inline void fixture_open(struct fixture *f)
{
    struct err e = {0};

    if (fixture_try(f, "", &e) < 0)
        fail_msg("%s", e.text);
}

static inline void fixture_close(struct fixture *f)
{
    catalog_close(f->catalog);
    f->catalog = NULL;
    if (f->store)
        store_close(f->store);
    f->store = NULL;
}

static inline void fixture_remove(struct fixture *f)
{
    fixture_close(f);

    DIR *d = opendir(f->dir);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", f->dir, entry->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(f->dir);
}

static inline int fixture_put(struct channel *ch, const char *json, unsigned only, bool *changed,
                              struct err *e)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;

    *e = (struct err){0};
    assert_int_equal(json_doc_parse(str_of(json), 0, &doc, e), 0);
    return channel_from_json(ch, doc, only, changed, e);
}

/* A stored channel's worth: name and, on top of the required ones, more members ("" = none). */
static inline struct channel *fixture_channel(const char *name, const char *more)
{
    struct channel *ch = channel_new();
    char json[2048];
    struct err e;

    snprintf(json, sizeof(json), "{\"name\":\"%s\",\"base_url\":\"https://h.example/v1\","
                                 "\"api_key\":\"sk-%s-0123456789\"%s%s}",
             name, name, *more ? "," : "", more);
    if (fixture_put(ch, json, 0, NULL, &e) < 0)
        fail_msg("%s", e.text);
    return ch;
}

/* One number from the database. */
static inline int64_t fixture_i64(struct fixture *f, const char *sql)
{
    struct store_conn *c = store_writer_lock(f->store);
    struct store_query q; /* not cached: `sql` may be the test's own buffer */
    struct store_stmt *st;
    struct err e = {0};
    int64_t v;

    store_query_init(&q, sql);
    if (store_query_prepare(c, &q, &st, &e) < 0 || store_step(st, &e) != 1)
        fail_msg("%s: %s", sql, e.text);
    v = store_col_i64(st, 0);
    store_finalize(st);
    store_query_release(&q);
    store_writer_unlock(f->store);
    return v;
}

static inline int fixture_global(void **state)
{
    return secret_global_init();
}
