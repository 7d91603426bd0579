/* app_registry.c -- the first start takes over a registry.db; what came is told in the log. */
#include "app_registry.h"

#include "base/buf.h"
#include "base/log.h"
#include "catalog/registry_import.h"

#include <unistd.h>

#define REGISTRY_SEEN "registry.first_start" /* setting: the question below is answered */

static int mark_registry(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    return catalog_setting_set(tx, REGISTRY_SEEN, str_of(ctx), false, reterr);
}

static int import(struct catalog *catalog, const char *path, struct err *reterr)
{
    struct registry_import_report report = {0};
    struct buf notes = BUF_INIT(1 << 20);
    struct str rest, line;
    int rc = registry_import(catalog, path, false, &report, &notes, reterr);

    rest = buf_str(&notes);
    while (rc == 0 && str_split(&rest, '\n', &line)) {
        if (line.len != 0)
            log_warn("import", "%.*s", STR_ARG(line));
    }
    buf_release(&notes);
    if (rc < 0) /* the store's words alone might be about our own database */
        return err_prefix(reterr, "registry.db not taken over");
    log_info("import",
             "registry.db taken over generation=%s channels=%lld runs=%lld rows=%lld keys=%lld "
             "settings=%lld",
             report.generation, (long long)report.channels, (long long)report.runs,
             (long long)report.rows, (long long)report.keys, (long long)report.settings);
    if (report.is_visitor_mode_open)
        log_warn("import", "the imported settings let anybody read as visitor; switch visitor "
                           "mode off or set a visitor token in the settings");
    return 0;
}

int app_registry_take_over(struct catalog *catalog, const char *data_dir, struct err *reterr)
{
    struct catalog_snapshot *s = catalog_latest(catalog);
    bool is_seen = catalog_setting(s, REGISTRY_SEEN).ptr != NULL;
    char path[4096], mark[] = "taken over", none[] = "none";
    bool exists;
    int rc = 0;

    catalog_unref(s);
    snprintf(path, sizeof(path), "%s/registry.db", data_dir);
    if (is_seen)
        return 0;
    exists = access(path, F_OK) == 0;
    if (exists)
        rc = import(catalog, path, reterr);
    return rc < 0 ? rc : catalog_apply(catalog, mark_registry, exists ? mark : none, reterr);
}
