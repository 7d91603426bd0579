/* store_migrate.c -- numbered schema steps, forward only. A step and its version number commit
 * together: a crash leaves the old version or the new one, never a mixture. */
#include "store/store_private.h"

static const char base_sql[] =
#include "0001_base.sql.inc"
    ;

static const struct store_migration migrations[] = {
    {1, base_sql, "PRAGMA user_version = 1"},
};
static_assert(ARRAY_LEN(migrations) == STORE_SCHEMA_VERSION, "one step a version");

static int run_step(struct store_conn *c, const struct store_migration *m, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_begin(c, reterr);

    if (rc < 0)
        return rc;
    rc = store_exec(c, m->sql, reterr);
    if (rc == 0)
        rc = store_exec(c, m->set_version, reterr);
    if (rc == 0)
        rc = store_prepare(c, "PRAGMA foreign_key_check", &st, reterr);
    if (rc == 0) {
        rc = store_step(st, reterr);
        if (rc > 0)
            rc = err_set(reterr, ERR_INTERNAL, "a row of %.*s would refer to nothing",
                         STR_ARG(store_col_str(st, 0)));
        store_reset(st);
    }
    if (rc == 0)
        rc = store_commit(c, reterr);
    if (rc < 0)
        store_rollback(c);
    return rc;
}

int store_migrate_with(struct store_conn *c, const struct store_migration *steps, size_t count,
                       struct err *reterr)
{
    int64_t version;
    bool ran = false;
    int rc = store_conn_i64(c, "PRAGMA user_version", &version, reterr);

    if (rc < 0)
        return rc;
    if (version == steps[count - 1].version)
        return 0;
    if (version < 0 || version > steps[count - 1].version)
        return err_set(reterr, ERR_CONFLICT,
                       "the database has schema version %lld, this program knows %d; install a "
                       "newer gatehouse",
                       (long long)version, steps[count - 1].version);
    /* Rebuilding a table drops it for a moment; checked at the end of each step instead. The
     * switch works outside transactions only. */
    rc = store_exec(c, "PRAGMA foreign_keys = OFF", reterr);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (steps[i].version <= version)
            continue;
        rc = run_step(c, &steps[i], reterr);
        if (rc < 0) {
            if (reterr)
                rc = err_prefix(reterr, "schema step %d", steps[i].version);
            break;
        }
        ran = true;
    }
    if (store_exec(c, "PRAGMA foreign_keys = ON", rc == 0 ? reterr : NULL) < 0 && rc == 0)
        rc = ERR_IO;
    /* So that the file's header tells an older program the version without the WAL. */
    if (ran)
        store_conn_checkpoint(c, true);
    return rc;
}

int store_migrate(struct store_conn *c, struct err *reterr)
{
    return store_migrate_with(c, migrations, ARRAY_LEN(migrations), reterr);
}
