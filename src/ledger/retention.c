/* retention.c -- old rows go a step at a time, so that a purge of millions never holds the writer
 * for longer than some tens of milliseconds.
 *
 * Raw events are indexed by time alone and origins are kept for different times. Rows past the
 * longest of these times go oldest first, whatever their origin. For an origin that is kept for
 * less, a cursor in `watermarks` remembers how far the time index was walked, so that each entry is
 * looked at once; a row that comes late with a time behind the cursor goes with the longest time.
 *
 * Probe details have exceptions (newest points of a model, newest runs of a channel) that stay at
 * the old end of the index. A cursor walks past them to the end of the old rows; the walk after
 * that begins anew. */
#include "ledger/retention.h"

#include "ledger/call_event.h"

#define STEP_ROWS       2000
#define SCAN_ROWS       8000 /* index entries looked at in a step; more than are deleted */
#define MINUTE_KEEP_MS  (48ULL * 3600 * 1000)
#define QUARTER_KEEP_MS (400ULL * 24 * 3600 * 1000)
#define AUDIT_KEEP_MS   QUARTER_KEEP_MS
#define FREE_PAGES_KEPT 2048 /* 8 MiB that new rows will use again */
#define MINUTE_MS       60000
#define QUARTER_MS      900000

struct step {
    struct store_conn *c;
    const struct retention_config *cfg;
    utc_ms now;
    bool more;
    struct err *reterr;
};

/* A place in an index on (time, row id). */
struct place {
    int64_t at, id;
};

/* now - keep, without wrapping for "for ever". */
static utc_ms cutoff_of(const struct step *s, uint64_t keep_ms)
{
    if (keep_ms > (uint64_t)INT64_MAX / 2)
        return INT64_MIN;
    return s->now - (int64_t)keep_ms; /* just checked */
}

/* ---- cursors ---- */

static int cursor_get(struct step *s, const char *name, struct place *ret)
{
    struct store_stmt *st;
    int rc =
        store_prepare(s->c, "SELECT value, note FROM watermarks WHERE name = ?", &st, s->reterr);

    if (rc < 0)
        return rc;
    *ret = (struct place){INT64_MIN, INT64_MIN};
    store_bind_str(st, 1, str_of(name));
    rc = store_step(st, s->reterr);
    if (rc > 0) {
        ret->at = store_col_i64(st, 0);
        if (str_to_i64(store_col_str(st, 1), INT64_MIN, INT64_MAX, &ret->id) < 0)
            ret->id = INT64_MIN; /* begins at the first row of that time */
    }
    store_reset(st);
    return MIN(rc, 0);
}

static int cursor_set(struct step *s, const char *name, struct place p)
{
    struct store_stmt *st;
    char id[24];
    int rc = store_prepare(
        s->c,
        "INSERT INTO watermarks (name, value, note) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, note = excluded.note",
        &st, s->reterr);

    if (rc < 0)
        return rc;
    snprintf(id, sizeof(id), "%lld", (long long)p.id);
    store_bind_str(st, 1, str_of(name));
    store_bind_i64(st, 2, p.at);
    store_bind_str(st, 3, str_of(id));
    return store_run(st, s->reterr);
}

/* ---- small shapes ---- */

/* Run `sql` with one value; tells more when it changed a whole step's rows. */
static int delete_where(struct step *s, const char *sql, int64_t v)
{
    struct store_stmt *st;
    int rc = store_prepare(s->c, sql, &st, s->reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, v);
    rc = store_run(st, s->reterr);
    if (rc == 0 && store_changes(s->c) >= STEP_ROWS)
        s->more = true;
    return rc;
}

static int delete_rows(struct step *s, const char *const *sqls, size_t count, const int64_t *rows,
                       size_t n)
{
    for (size_t k = 0; k < count; k++) {
        struct store_stmt *st;
        int rc = store_prepare(s->c, sqls[k], &st, s->reterr);

        for (size_t i = 0; rc == 0 && i < n; i++) {
            store_bind_i64(st, 1, rows[i]);
            rc = store_run(st, s->reterr);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- raw events ---- */

static int delete_events(struct step *s, const int64_t *rows, size_t n)
{
    static const char *const sqls[] = {
        "DELETE FROM call_ids WHERE id = (SELECT id FROM call_events WHERE row = ?)",
        "DELETE FROM notable WHERE row = ?",
        "DELETE FROM call_events WHERE row = ?",
    };

    return delete_rows(s, sqls, ARRAY_LEN(sqls), rows, n);
}

static int purge_oldest_events(struct step *s, utc_ms cutoff)
{
    struct store_stmt *st;
    int64_t rows[STEP_ROWS / 2];
    size_t n = 0;
    int rc = store_prepare(
        s->c, "SELECT row FROM call_events WHERE ended_utc_ms < ? ORDER BY ended_utc_ms LIMIT ?",
        &st, s->reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, cutoff);
    store_bind_i64(st, 2, (int64_t)ARRAY_LEN(rows));
    while ((rc = store_step(st, s->reterr)) > 0 && n < ARRAY_LEN(rows))
        rows[n++] = store_col_i64(st, 0);
    store_reset(st);
    if (rc < 0)
        return rc;
    if (n == ARRAY_LEN(rows))
        s->more = true;
    return delete_events(s, rows, n);
}

/* They lie in databases: for ever. */
static const char *const origin_cursors[] = {
    [CALL_GATEWAY] = "retention.gateway",
    [CALL_PROBE] = "retention.probe",
    [CALL_INGEST] = "retention.ingest",
    [CALL_NEWAPI] = "retention.newapi",
};
static_assert(ARRAY_LEN(origin_cursors) == CALL_ORIGINS, "a cursor an origin");

/* Rows of an origin that is kept for less than another, walked once. */
static int purge_origin(struct step *s, enum call_origin origin, utc_ms cutoff)
{
    struct store_stmt *st;
    struct place at;
    int64_t rows[STEP_ROWS / 4];
    size_t n = 0, seen = 0;
    int rc = cursor_get(s, origin_cursors[origin], &at);

    if (rc == 0)
        rc = store_prepare(s->c,
                           "SELECT row, ended_utc_ms, origin FROM call_events"
                           " WHERE (ended_utc_ms, row) > (?1, ?2) AND ended_utc_ms < ?3"
                           " ORDER BY ended_utc_ms, row LIMIT ?4",
                           &st, s->reterr);
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, at.at);
    store_bind_i64(st, 2, at.id);
    store_bind_i64(st, 3, cutoff);
    store_bind_i64(st, 4, SCAN_ROWS);
    while (n < ARRAY_LEN(rows) && (rc = store_step(st, s->reterr)) > 0) {
        at.id = store_col_i64(st, 0);
        at.at = store_col_i64(st, 1);
        seen++;
        if (store_col_i64(st, 2) == (int64_t)origin)
            rows[n++] = at.id;
    }
    store_reset(st);
    if (rc < 0)
        return rc;
    if (n == ARRAY_LEN(rows) || seen == SCAN_ROWS)
        s->more = true;
    rc = delete_events(s, rows, n);
    if (rc == 0 && seen != 0)
        rc = cursor_set(s, origin_cursors[origin], at);
    return rc;
}

static int purge_events(struct step *s)
{
    uint64_t longest = 0;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(s->cfg->keep_ms); i++)
        longest = MAX(longest, s->cfg->keep_ms[i]);
    rc = purge_oldest_events(s, cutoff_of(s, longest));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(s->cfg->keep_ms); i++) {
        if (s->cfg->keep_ms[i] < longest)
            rc = purge_origin(s, (enum call_origin)i,
                              cutoff_of(s, s->cfg->keep_ms[i])); /* i < CALL_ORIGINS */
    }
    return rc;
}
static_assert(ARRAY_LEN(((struct retention_config *)0)->keep_ms) == CALL_ORIGINS,
              "an age an origin");

/* ---- probe details and runs ---- */

struct probe_row {
    int64_t id, item_kind, item_id, run_id;
};

/* As many newer points of the same model as must stay. */
static int has_newer_points(struct step *s, int64_t id, bool *ret)
{
    struct store_stmt *st;
    int rc = store_prepare(
        s->c,
        "SELECT 1 FROM probe_results AS old JOIN probe_results AS p"
        " ON p.item_kind = old.item_kind AND p.item_id = old.item_id AND p.model = old.model"
        " AND (p.at_utc_ms, p.id) > (old.at_utc_ms, old.id)"
        " WHERE old.id = ?1 LIMIT 1 OFFSET ?2",
        &st, s->reterr);

    *ret = s->cfg->points_min == 0;
    if (rc < 0 || *ret)
        return rc;
    store_bind_i64(st, 1, id);
    store_bind_i64(st, 2, (int64_t)s->cfg->points_min - 1);
    rc = store_step(st, s->reterr);
    if (rc >= 0)
        *ret = rc > 0;
    store_reset(st);
    return MIN(rc, 0);
}

/* The run is among the newest of its channel. A run that is gone is not. */
static int is_newest_run(struct step *s, const struct probe_row *p, bool *ret)
{
    struct store_stmt *st;
    int rc = store_prepare(
        s->c,
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM runs AS r WHERE r.channel_id = old.channel_id"
        " AND (r.started_utc_ms, r.id) > (old.started_utc_ms, old.id) LIMIT ?2)) < ?2"
        " FROM runs AS old WHERE old.id = ?1",
        &st, s->reterr);

    *ret = false;
    if (rc < 0 || p->run_id == 0 || p->item_kind != 0)
        return rc;
    store_bind_i64(st, 1, p->run_id);
    store_bind_i64(st, 2, (int64_t)s->cfg->runs_min);
    rc = store_step(st, s->reterr);
    if (rc > 0)
        *ret = store_col_i64(st, 0) != 0;
    store_reset(st);
    return MIN(rc, 0);
}

static int next_probes(struct step *s, utc_ms cutoff, struct place *at, struct probe_row *rows,
                       size_t cap, size_t *ret)
{
    struct store_stmt *st;
    int rc = store_prepare(s->c,
                           "SELECT id, at_utc_ms, item_kind, item_id, run_id FROM probe_results"
                           " WHERE (at_utc_ms, id) > (?1, ?2) AND at_utc_ms < ?3"
                           " ORDER BY at_utc_ms, id LIMIT ?4",
                           &st, s->reterr);

    *ret = 0;
    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, at->at);
    store_bind_i64(st, 2, at->id);
    store_bind_i64(st, 3, cutoff);
    store_bind_i64(st, 4, (int64_t)cap); /* cap is small */
    while (*ret < cap && (rc = store_step(st, s->reterr)) > 0) {
        at->id = store_col_i64(st, 0);
        at->at = store_col_i64(st, 1);
        rows[(*ret)++] = (struct probe_row){at->id, store_col_i64(st, 2), store_col_i64(st, 3),
                                            store_col_i64(st, 4)};
    }
    store_reset(st);
    return MIN(rc, 0);
}

/* Rows of a channel that was deleted protect nothing. */
static int is_orphan(struct step *s, const struct probe_row *p, bool *ret)
{
    struct store_stmt *st;
    int rc = store_prepare(s->c, "SELECT 1 FROM channels WHERE id = ?", &st, s->reterr);

    *ret = false;
    if (rc < 0 || p->item_kind != 0)
        return rc;
    store_bind_i64(st, 1, p->item_id);
    rc = store_step(st, s->reterr);
    if (rc >= 0)
        *ret = rc == 0;
    store_reset(st);
    return MIN(rc, 0);
}

static int may_probe_go(struct step *s, const struct probe_row *p, bool *ret)
{
    bool stays;
    int rc = is_orphan(s, p, ret);

    if (rc < 0 || *ret)
        return rc;
    rc = is_newest_run(s, p, &stays);
    if (rc < 0 || stays)
        return rc;
    return has_newer_points(s, p->id, ret);
}

/* Which of the rows may go; their ids come to the front of *ids. Oldest first, so deleting the
 * earlier ones takes no newer point away from the later. */
static int choose_probes(struct step *s, const struct probe_row *rows, size_t count, int64_t *ids,
                         size_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        bool may_go;
        int rc = may_probe_go(s, &rows[i], &may_go);

        if (rc < 0)
            return rc;
        if (may_go)
            ids[(*ret)++] = rows[i].id;
    }
    return 0;
}

static int purge_probes(struct step *s)
{
    static const char *const sqls[] = {"DELETE FROM probe_results WHERE id = ?"};
    struct probe_row *rows = xcalloc(STEP_ROWS, sizeof(*rows));
    int64_t *ids = xcalloc(STEP_ROWS, sizeof(*ids));
    size_t count = 0, n = 0;
    struct place at;
    int rc = cursor_get(s, "retention.probe_results", &at);

    if (rc == 0)
        rc = next_probes(s, cutoff_of(s, s->cfg->probe_ms), &at, rows, STEP_ROWS, &count);
    if (rc == 0)
        rc = choose_probes(s, rows, count, ids, &n);
    if (rc == 0)
        rc = delete_rows(s, sqls, ARRAY_LEN(sqls), ids, n);
    if (rc == 0 && count == STEP_ROWS)
        s->more = true;
    else if (rc == 0)
        at = (struct place){INT64_MIN, INT64_MIN}; /* the next walk begins anew */
    if (rc == 0)
        rc = cursor_set(s, "retention.probe_results", at);
    xfree(rows);
    xfree(ids);
    return rc;
}

static int purge_runs(struct step *s)
{
    struct store_stmt *st;
    int rc = store_prepare(
        s->c,
        "DELETE FROM runs WHERE id IN ("
        "SELECT old.id FROM channels AS ch CROSS JOIN runs AS old ON old.channel_id = ch.id"
        " AND old.started_utc_ms < ?1"
        " AND (old.started_utc_ms, old.id) < ("
        "SELECT k.started_utc_ms, k.id FROM runs AS k WHERE k.channel_id = ch.id"
        " ORDER BY k.started_utc_ms DESC, k.id DESC LIMIT 1 OFFSET ?2)"
        " WHERE old.status <> 'running' LIMIT ?3)",
        &st, s->reterr);

    if (rc < 0)
        return rc;
    store_bind_i64(st, 1, cutoff_of(s, s->cfg->probe_ms));
    store_bind_i64(st, 2, (int64_t)MAX(s->cfg->runs_min, 1U) - 1);
    store_bind_i64(st, 3, STEP_ROWS);
    rc = store_run(st, s->reterr);
    if (rc == 0 && store_changes(s->c) >= STEP_ROWS)
        s->more = true;
    return rc;
}

/* ---- sums, audit, free pages ---- */

static int purge_sums(struct step *s)
{
    int64_t minute = cutoff_of(s, MINUTE_KEEP_MS) / MINUTE_MS;
    int64_t quarter = cutoff_of(s, QUARTER_KEEP_MS) / QUARTER_MS;
    int rc =
        delete_where(s,
                     "DELETE FROM rollup_minute WHERE (at, rk) IN"
                     " (SELECT at, rk FROM rollup_minute WHERE at < ? ORDER BY at, rk LIMIT 2000)",
                     minute);

    if (rc == 0)
        rc = delete_where(
            s,
            "DELETE FROM rollup_quarter WHERE (at, rk) IN"
            " (SELECT at, rk FROM rollup_quarter WHERE at < ? ORDER BY at, rk LIMIT 2000)",
            quarter);
    if (rc == 0)
        rc = delete_where(
            s,
            "DELETE FROM user_rollup_quarter WHERE (at, rk) IN"
            " (SELECT at, rk FROM user_rollup_quarter WHERE at < ? ORDER BY at, rk LIMIT 2000)",
            quarter);
    /* The audit log has no index on time; ids grow with it, so its oldest rows are its first. */
    if (rc == 0)
        rc = delete_where(
            s,
            "DELETE FROM audit WHERE id IN (SELECT id FROM"
            " (SELECT id, at_utc_ms FROM audit ORDER BY id LIMIT 2000) WHERE at_utc_ms < ?)",
            cutoff_of(s, AUDIT_KEEP_MS));
    return rc;
}
static_assert(STEP_ROWS == 2000, "the literals in purge_sums()");

static int give_pages_back(struct step *s)
{
    struct store_stmt *st;
    int64_t pages = 0;
    int rc = store_prepare(s->c, "PRAGMA freelist_count", &st, s->reterr);

    if (rc < 0)
        return rc;
    rc = store_step(st, s->reterr);
    if (rc > 0)
        pages = store_col_i64(st, 0);
    store_reset(st);
    if (rc < 0 || pages <= FREE_PAGES_KEPT)
        return MIN(rc, 0);
    rc = store_exec(s->c, "PRAGMA incremental_vacuum(256)", s->reterr);
    if (rc == 0 && pages - 256 > FREE_PAGES_KEPT)
        s->more = true;
    return rc;
}

int retention_step(struct store_conn *c, const struct retention_config *cfg, utc_ms now,
                   bool *ret_more, struct err *reterr)
{
    struct step s = {.c = c, .cfg = cfg, .now = now, .reterr = reterr};
    int rc = purge_events(&s);

    if (rc == 0)
        rc = purge_probes(&s);
    if (rc == 0)
        rc = purge_runs(&s);
    if (rc == 0)
        rc = purge_sums(&s);
    if (rc == 0)
        rc = give_pages_back(&s);
    if (rc == 0)
        *ret_more = s.more;
    return rc;
}
