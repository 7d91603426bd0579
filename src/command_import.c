/* command_import.c -- `gatehouse import FILE [--dry-run]`: a registry.db of system 1 or 2 into the
 * data directory of a stopped daemon. */
#include "app.h"
#include "base/json_out.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "catalog/registry_import.h"
#include "command.h"
#include "command_output.h"
#include "store/store.h"

#define USAGE "usage: gatehouse import FILE [--dry-run] [--json]\n"

static void put_json(struct buf *out, const struct registry_import_report *r, bool dry_run)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kbool(&j, "dry_run", dry_run);
    json_out_kcstr(&j, "generation", r->generation);
    json_out_ki64(&j, "channels", r->channels);
    json_out_ki64(&j, "runs", r->runs);
    json_out_ki64(&j, "results", r->rows);
    json_out_ki64(&j, "settings", r->settings);
    json_out_ki64(&j, "keys", r->keys);
    json_out_ki64(&j, "skipped", r->skipped);
    json_out_kbool(&j, "visitor_mode_open", r->is_visitor_mode_open);
    json_out_end(&j);
    buf_put(out, STR("\n"));
}

static int tell(const struct option_set *o, const struct registry_import_report *r, bool dry_run)
{
    struct buf out = BUF_INIT(4096);
    int code;

    if (r->is_visitor_mode_open)
        fprintf(stderr, "warning: the imported settings let anybody read as visitor\n");
    if (command_output_form(o) == COMMAND_JSON)
        put_json(&out, r, dry_run);
    else
        buf_putf(&out,
                 "%s %s: %lld channels, %lld runs, %lld results, %lld settings, %lld keys, %lld "
                 "skipped\n",
                 dry_run ? "would import" : "imported", r->generation, (long long)r->channels,
                 (long long)r->runs, (long long)r->rows, (long long)r->settings, (long long)r->keys,
                 (long long)r->skipped);
    code = command_output_write(&out);
    buf_release(&out);
    return code;
}

static int do_import(const struct option_set *o, const char *path, bool dry_run,
                     struct registry_import_report *ret, struct err *e)
{
    CLEANUP(xfree_charp) char *data_dir = str_dup(option_text(o, "data_dir"));
    struct store_config store_cfg = {.data_dir = data_dir, .readers = 1};
    struct catalog_config catalog_cfg;
    struct buf notes = BUF_INIT(1 << 20);
    struct store *store = NULL;
    struct catalog *catalog = NULL;
    int rc = store_open(&store_cfg, &store, e);

    if (rc < 0)
        return rc;
    catalog_cfg =
        (struct catalog_config){.store = store, .secret_key = option_text(o, "secret_key")};
    rc = catalog_open(&catalog_cfg, &catalog, e);
    if (rc == 0)
        rc = registry_import(catalog, path, dry_run, ret, &notes, e);
    if (rc == 0)
        fprintf(stderr, "%s", buf_cstr(&notes));
    buf_release(&notes);
    catalog_close(catalog);
    store_close(store);
    return rc;
}

int command_import(const struct option_set *o, const char *const *words, size_t count)
{
    struct registry_import_report report = {0};
    bool dry_run = option_bool(o, "dry_run");
    struct err e = {0};

    if (count != 1) {
        fprintf(stderr, USAGE);
        return APP_USAGE;
    }
    if (secret_global_init() < 0) {
        fprintf(stderr, "gatehouse: import: libsodium cannot be initialised\n");
        return APP_FAILED;
    }
    if (do_import(o, words[0], dry_run, &report, &e) < 0) {
        fprintf(stderr, "gatehouse: import: %s\n", e.text);
        return APP_FAILED;
    }
    return tell(o, &report, dry_run);
}
