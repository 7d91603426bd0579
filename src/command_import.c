/* command_import.c -- `gatehouse import FILE [--dry-run]`: a registry.db of system 1 or 2 into the
 * data directory of a stopped daemon. */
#include "app.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "catalog/registry_import.h"
#include "command.h"
#include "store/store.h"

static int do_import(const struct option_set *o, const char *path, bool dry_run, struct err *e)
{
    CLEANUP(xfree_charp) char *data_dir = str_dup(option_text(o, "data_dir"));
    struct store_config store_cfg = {.data_dir = data_dir, .readers = 1};
    struct catalog_config catalog_cfg;
    struct registry_import_report r = {0};
    struct buf notes = BUF_INIT(1 << 20);
    struct store *store = NULL;
    struct catalog *catalog = NULL;
    int rc = store_open(&store_cfg, &store, e);

    if (rc < 0)
        return rc;
    catalog_cfg = (struct catalog_config){.store = store, .secret_key = option_text(o, "secret_key")};
    rc = catalog_open(&catalog_cfg, &catalog, e);
    if (rc == 0)
        rc = registry_import(catalog, path, dry_run, &r, &notes, e);
    if (rc == 0) {
        fprintf(stderr, "%s", buf_cstr(&notes));
        printf("%s %s: %lld channels, %lld runs, %lld results, %lld settings, %lld keys, %lld skipped\n",
               dry_run ? "would import" : "imported", r.generation, (long long)r.channels,
               (long long)r.runs, (long long)r.rows, (long long)r.settings, (long long)r.keys,
               (long long)r.skipped);
        if (r.is_visitor_mode_open)
            fprintf(stderr, "warning: the imported settings let anybody read as visitor\n");
    }
    buf_release(&notes);
    catalog_close(catalog);
    store_close(store);
    return rc;
}

int command_import(const struct option_set *o, const char *const *words, size_t count)
{
    const char *path = NULL;
    bool dry_run = option_bool(o, "dry_run");
    struct err e = {0};

    for (size_t i = 0; i < count; i++) {
        if (path) {
            fprintf(stderr, "usage: gatehouse import FILE [--dry-run]\n");
            return APP_USAGE;
        }
        path = words[i];
    }
    if (!path || secret_global_init() < 0) {
        fprintf(stderr, "usage: gatehouse import FILE [--dry-run]\n");
        return APP_USAGE;
    }
    if (do_import(o, path, dry_run, &e) < 0) {
        fprintf(stderr, "gatehouse: import: %s\n", e.text);
        return APP_FAILED;
    }
    return APP_OK;
}
