/* registry_source.c -- a registry.db as it was found: which generation, and its columns made safe.
 */
#include "catalog/registry_private.h"

#include <math.h>

#define UTC_MS_MAX INT64_C(253402300799999) /* the end of year 9999 */
#define US_MAX     INT64_C(1000000000000000)

/* ---- shape ---- */

static int has_tables(struct registry_source *s, const char *path, struct err *reterr)
{
    static const char *const tables[] = {"targets", "runs", "run_models"};

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        bool is_there = false;
        int rc = store_table_exists(s->conn, tables[i], &is_there, reterr);

        if (rc < 0)
            return rc;
        if (!is_there)
            return err_set(reterr, ERR_SYNTAX,
                           "%s is no registry.db of API Monitor: it has no table %s", path,
                           tables[i]);
    }
    return 0;
}

static int look(struct registry_source *s, struct err *reterr)
{
    const struct {
        const char *table, *column;
        bool *ret;
    } columns[] = {
        {"targets", "source_url", &s->has_source_url},
        {"targets", "sort_order", &s->has_sort_order},
        {"targets", "visitor_channel_actions_enabled", &s->has_visitor},
        {"targets", "selected_models", &s->has_selected},
        {"run_models", "ttfb", &s->has_ttfb},
        {"run_models", "ping", &s->has_ping},
    };
    int rc = store_table_exists(s->conn, "app_settings", &s->has_settings, reterr);

    if (rc == 0)
        rc = store_table_exists(s->conn, "proxy_keys", &s->has_keys, reterr);
    for (size_t i = 0; i < ARRAY_LEN(columns) && rc == 0; i++)
        rc = store_column_exists(s->conn, columns[i].table, columns[i].column, columns[i].ret,
                                 reterr);
    return rc;
}

static const char *generation_of(const struct registry_source *s)
{
    if (!s->has_settings && !s->has_keys && !s->has_sort_order)
        return "PY";
    if (s->has_ttfb || s->has_ping)
        return "GO-later";
    return s->has_visitor ? "GO" : "GO-early";
}

int registry_source_open(struct registry_source *s, const char *path, struct err *reterr)
{
    int rc;

    memset(s, 0, sizeof(*s));
    arena_init(&s->arena);
    rc = store_foreign_open(path, &s->file, reterr);
    if (rc < 0)
        return rc;
    s->conn = store_foreign_conn(s->file);
    rc = has_tables(s, path, reterr);
    if (rc == 0)
        rc = look(s, reterr);
    if (rc < 0) {
        registry_source_close(s);
        return rc;
    }
    str_copy(s->generation, sizeof(s->generation), str_of(generation_of(s)));
    return 0;
}

void registry_source_close(struct registry_source *s)
{
    arena_release(&s->arena);
    if (s->file)
        store_foreign_close(s->file);
    s->file = NULL;
}

/* ---- columns ---- */

void registry_source_row(struct registry_source *s)
{
    if (s->arena.used_bytes > 0)
        arena_release(&s->arena);
}

/* U+FFFD for each byte that begins no character, and for NUL. */
static struct str repair(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, 3 * s.len + 1); /* s is cut to our own bounds */
    size_t n = 0;

    while (s.len > 0) {
        size_t len = *s.ptr == '\0' ? 0 : str_char_len(s);

        memcpy(out + n, len > 0 ? s.ptr : "\xef\xbf\xbd", len > 0 ? len : 3);
        n += len > 0 ? len : 3;
        s = str_cut(s, len > 0 ? len : 1, s.len);
    }
    return str_n(out, n);
}

struct str registry_source_text(struct registry_source *s, struct store_stmt *st, int i, size_t max)
{
    if (store_col_is_null(st, i))
        return STR_NONE;

    struct str raw = store_col_str(st, i), cut = str_cut_utf8(raw, max);
    bool is_good = str_is_utf8(cut) && str_find(cut, '\0') < 0;

    if (cut.len < raw.len || !is_good)
        s->repaired++;
    if (!raw.ptr)
        return STR("");
    return is_good ? cut : repair(&s->arena, cut);
}

utc_ms registry_source_ms(struct store_stmt *st, int i)
{
    double ms = round(store_col_double(st, i) * 1000);

    return ms > 0 && ms <= (double)UTC_MS_MAX ? (utc_ms)ms : 0; /* checked */
}

bool registry_source_us(struct store_stmt *st, int i, int64_t *ret)
{
    double us = round(store_col_double(st, i) * 1000000);

    if (store_col_is_null(st, i))
        return false;
    *ret = us > 0 ? (int64_t)MIN(us, (double)US_MAX) : 0; /* clamped */
    return true;
}

int64_t registry_source_int(struct store_stmt *st, int i, int64_t min, int64_t max)
{
    int64_t v = store_col_i64(st, i);

    return MAX(min, MIN(v, max));
}

bool registry_source_id(struct store_stmt *st, int i, int64_t *ret)
{
    int64_t id = store_col_i64(st, i);

    if (id <= 0 || id > REGISTRY_ID_MAX)
        return false;
    *ret = id;
    return true;
}

/* ---- outcomes ---- */

struct clue {
    struct str text; /* anywhere in the error, case aside */
    enum outcome outcome;
};

/* The causes that Go's and Python's clients word; first hit. Timeouts come before all, because
 * their texts name the step that took too long ("dial tcp: lookup h: i/o timeout"). */
static const struct clue transport_clues[] = {
    {STR_INIT("timed out"), OUTCOME_TIMEOUT},
    {STR_INIT("timeout"), OUTCOME_TIMEOUT},
    {STR_INIT("deadline exceeded"), OUTCOME_TIMEOUT},
    {STR_INIT("context canceled"), OUTCOME_CANCELLED},
    {STR_INIT("no such host"), OUTCOME_DNS},
    {STR_INIT("name or service not known"), OUTCOME_DNS},
    {STR_INIT("name resolution"), OUTCOME_DNS},
    {STR_INIT("nodename nor servname"), OUTCOME_DNS},
    {STR_INIT("getaddrinfo"), OUTCOME_DNS},
    {STR_INIT("server misbehaving"), OUTCOME_DNS},
    {STR_INIT("x509"), OUTCOME_TLS},
    {STR_INIT("certificate"), OUTCOME_TLS},
    {STR_INIT("tls:"), OUTCOME_TLS},
    {STR_INIT("[ssl"), OUTCOME_TLS},
    {STR_INIT("ssl:"), OUTCOME_TLS},
    {STR_INIT("handshake"), OUTCOME_TLS},
    {STR_INIT("unsupported protocol scheme"), OUTCOME_BAD_URL},
    {STR_INIT("unknown url type"), OUTCOME_BAD_URL},
    {STR_INIT("missing protocol scheme"), OUTCOME_BAD_URL},
    {STR_INIT("no host"), OUTCOME_BAD_URL},
    {STR_INIT("malformed http"), OUTCOME_PROTOCOL},
    {STR_INIT("badstatusline"), OUTCOME_PROTOCOL},
    {STR_INIT("server gave http response to https"), OUTCOME_TLS},
    {STR_INIT("unexpected eof"), OUTCOME_BROKEN},
    {STR_INIT("incompleteread"), OUTCOME_BROKEN},
};

static const struct clue code_clues[] = {
    {STR_INIT("insufficient_quota"), OUTCOME_QUOTA},
    {STR_INIT("model_not_found"), OUTCOME_MODEL_UNKNOWN},
};

static bool find_clue(const struct clue *clues, size_t count, struct str error, enum outcome *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (str_ifind_str(error, clues[i].text) < 0)
            continue;
        *ret = clues[i].outcome;
        return true;
    }
    return false;
}

enum outcome registry_source_outcome(bool success, int status, struct str error)
{
    enum outcome o;

    if (success)
        return OUTCOME_OK;
    if (status == 0)
        return find_clue(transport_clues, ARRAY_LEN(transport_clues), error, &o) ? o
                                                                                 : OUTCOME_CONNECT;
    if (status < 200 || status >= 300) {
        if (status >= 400 && find_clue(code_clues, ARRAY_LEN(code_clues), error, &o))
            return o;
        return outcome_of_status(status, STR_NONE);
    }
    /* 2xx and yet a failure; the texts are those of spec 1 section 3.6 */
    if (str_starts(error, STR("response error:")))
        return OUTCOME_BODY_ERROR;
    if (str_starts(error, STR("response parse failed: no readable text")))
        return OUTCOME_EMPTY;
    /* system 1 took 200 alone */
    return str_starts(error, STR("HTTP ")) ? OUTCOME_UNEXPECTED_STATUS : OUTCOME_BAD_BODY;
}
