/* test_registry_import.c -- databases of systems 1 and 2, built with the DDL of spec 1 section 2 in
 * its four generations, taken over and compared value by value. */
#include "catalog_fixture.h"

#include "catalog/registry_import.h"
#include "llm/outcome.h"

#include <sqlite3.h>

/* ---- the sources ---- */

#define TARGETS_PY                                                                                 \
    "CREATE TABLE targets (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "      \
    "base_url TEXT NOT NULL, api_key TEXT NOT NULL, enabled INTEGER NOT NULL DEFAULT 1, "          \
    "interval_min INTEGER NOT NULL DEFAULT 30, timeout_s REAL NOT NULL DEFAULT 30.0, "             \
    "verify_ssl INTEGER NOT NULL DEFAULT 0, prompt TEXT NOT NULL DEFAULT 'What is the exact "      \
    "model identifier (model string) you are using for this chat/session?', "                      \
    "anthropic_version TEXT NOT NULL DEFAULT '2025-09-29', max_models INTEGER NOT NULL DEFAULT "   \
    "0, created_at REAL NOT NULL, updated_at REAL NOT NULL, last_run_at REAL, last_status TEXT, "  \
    "last_total INTEGER, last_success INTEGER, last_fail INTEGER, last_log_file TEXT, "            \
    "last_error TEXT, source_url TEXT"
#define TARGETS_EARLY TARGETS_PY ", sort_order INTEGER NOT NULL DEFAULT 0, selected_models TEXT NOT NULL DEFAULT '[]'"
#define TARGETS_GO TARGETS_EARLY ", visitor_channel_actions_enabled INTEGER NOT NULL DEFAULT 0"
#define RUNS                                                                                       \
    "CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, target_id INTEGER NOT NULL "         \
    "REFERENCES targets(id) ON DELETE CASCADE, started_at REAL NOT NULL, finished_at REAL, "       \
    "status TEXT NOT NULL, total INTEGER NOT NULL DEFAULT 0, success INTEGER NOT NULL DEFAULT 0, " \
    "fail INTEGER NOT NULL DEFAULT 0, log_file TEXT, error TEXT);"                                 \
    "CREATE INDEX idx_runs_target_started ON runs(target_id, started_at DESC);"
#define ROWS                                                                                       \
    "CREATE TABLE run_models (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id INTEGER NOT NULL "      \
    "REFERENCES runs(id) ON DELETE CASCADE, target_id INTEGER NOT NULL REFERENCES targets(id) ON " \
    "DELETE CASCADE, protocol TEXT, model TEXT, stream INTEGER NOT NULL DEFAULT 0, duration "      \
    "REAL, success INTEGER NOT NULL DEFAULT 0, transport_success INTEGER NOT NULL DEFAULT 0, "     \
    "tool_calls_count INTEGER NOT NULL DEFAULT 0, tool_calls TEXT, content TEXT, timestamp "       \
    "REAL, error TEXT, status_code INTEGER, route TEXT, endpoint TEXT"
#define INDEXES                                                                                    \
    "CREATE INDEX idx_run_models_target_time ON run_models(target_id, timestamp DESC);"            \
    "CREATE INDEX idx_run_models_run ON run_models(run_id);"                                       \
    "CREATE INDEX idx_targets_enabled_last_run ON targets(enabled,last_run_at);"
#define SETTINGS                                                                                   \
    "CREATE TABLE app_settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at REAL NOT NULL);"
#define KEYS                                                                                       \
    "CREATE TABLE proxy_keys (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key_hash " \
    "TEXT NOT NULL UNIQUE, key_prefix TEXT NOT NULL, allowed_targets TEXT NOT NULL DEFAULT '[]', " \
    "allowed_models TEXT NOT NULL DEFAULT '[]', description TEXT NOT NULL DEFAULT '', enabled "    \
    "INTEGER NOT NULL DEFAULT 1, created_at REAL NOT NULL, revoked_at REAL, last_used_at REAL, "   \
    "last_used_target_id INTEGER);"                                                                \
    "CREATE INDEX idx_proxy_keys_enabled ON proxy_keys(enabled, revoked_at, created_at DESC);"

static const struct generation {
    const char *name, *ddl;
    bool has_order, has_visitor, has_timing, has_settings;
} generations[] = {
    {"PY", TARGETS_PY ");" RUNS ROWS ");" INDEXES, false, false, false, false},
    {"GO-early", TARGETS_EARLY ");" RUNS ROWS ");" INDEXES SETTINGS KEYS, true, false, false, true},
    {"GO", TARGETS_GO ");" RUNS ROWS ");" INDEXES SETTINGS KEYS, true, true, false, true},
    {"GO-later", TARGETS_GO ");" RUNS ROWS ", ttfb REAL, ping REAL);" INDEXES SETTINGS KEYS, true, true, true, true},
};
#define GO (&generations[2])

struct source {
    struct fixture f;
    char dir[64], path[96];
};

static void exec(sqlite3 *db, const char *sql)
{
    char *text = NULL;

    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
        fail_msg("%s in %.200s", text, sql);
}

static void add_sql(struct source *s, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(s->path, &db), SQLITE_OK);
    exec(db, sql);
    sqlite3_close(db);
}

static void begin(struct source *s, const struct generation *g)
{
    *s = (struct source){.dir = "/tmp/gatehouse-registry-XXXXXX"};
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof(s->path), "%s/registry.db", s->dir);
    add_sql(s, "PRAGMA journal_mode=WAL");
    add_sql(s, g->ddl);
    fixture_dir(&s->f);
    fixture_open(&s->f);
}

static void end(struct source *s)
{
    fixture_remove(&s->f);
    unlink(s->path);
    assert_int_equal(rmdir(s->dir), 0); /* nothing was left beside the source */
}

static void hash_file(const char *path, uint8_t out[SECRET_HASH_SIZE])
{
    struct buf b = BUF_INIT(64u << 20);
    char piece[65536];
    ssize_t n;
    int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(&b, piece, (size_t)n), 0);
    close(fd);
    secret_sha256(buf_str(&b), out);
    buf_release(&b);
}

/* Import; the notes into `notes` (may be NULL). The source's bytes stay what they were. */
static struct registry_import_report take_over(struct source *s, bool dry_run, struct buf *notes)
{
    uint8_t before[SECRET_HASH_SIZE], after[SECRET_HASH_SIZE];
    struct registry_import_report r = {0};
    struct err e = {0};

    hash_file(s->path, before);
    if (registry_import(s->f.catalog, s->path, dry_run, &r, notes, &e) < 0)
        fail_msg("%s", e.text);
    hash_file(s->path, after);
    assert_memory_equal(before, after, sizeof(before));
    return r;
}

/* ---- one history in all generations ---- */

#define HISTORY                                                                                    \
    "INSERT INTO targets(id,name,base_url,api_key,enabled,interval_min,timeout_s,verify_ssl,prompt," \
    "anthropic_version,max_models,created_at,updated_at,last_run_at,last_status,last_total,"       \
    "last_success,last_fail,last_log_file,last_error,source_url) VALUES"                           \
    "(3,'relay-a','https://relay.example/v1','sk-live-000000000001',1,15,12.5,1,'who are you','2023-06-01',7," \
    "1767225600.123,1767229200.5,1767229200.4,'degraded',2,1,1,'/app/data/logs/target_3.jsonl',NULL,'https://src/')," \
    "(8,'never ran','http://10.0.0.5:3000','k8',0,30,30,0,'p','2025-09-29',0,1767225601.9996,1767225601.9996," \
    "NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);"                                                    \
    "INSERT INTO runs VALUES"                                                                      \
    "(41,3,1767225700.25,1767225710.5,'completed',1,1,0,'/app/data/logs/a.jsonl',NULL),"           \
    "(42,3,1767229190.0,1767229200.4,'completed',2,1,1,'/app/data/logs/b.jsonl',NULL),"            \
    "(43,3,1767229300.0,NULL,'running',0,0,0,NULL,NULL),"                                          \
    "(44,8,1767229400.0,1767229401.0,'error',0,0,0,NULL,'models list is empty');"                  \
    "INSERT INTO run_models(id,run_id,target_id,protocol,model,stream,duration,success,"           \
    "transport_success,tool_calls_count,tool_calls,content,timestamp,error,status_code,route,endpoint) VALUES" \
    "(309,41,3,'openai','gpt-4o',0,0.812,1,1,0,'[]','I am gpt-4o',1767225701.2,NULL,200,'chat','chat'),"  \
    "(311,42,3,'anthropic','claude-x',0,1.5,0,1,2,'[{\"id\":1}]',NULL,1767229191.2,'HTTP 429: slow down',429,'anthropic','messages')," \
    "(312,42,3,'openai','gpt-4o',0,0,0,0,0,NULL,NULL,1767229192.7,'HTTP POST https://r failed (9ms): dial tcp: lookup r: no such host',NULL,'chat','chat');"
/* what only later generations hold */
#define LATER                                                                                      \
    "UPDATE targets SET sort_order=9, selected_models='[\"gpt-4o\",\"claude-x\"]' WHERE id=3;"     \
    "INSERT INTO app_settings VALUES('runtime_api_monitor_token','amtk-0123456789abcdef',1.0),"    \
    "('log_cleanup_enabled','0',1.0),('log_max_size_mb','128',1.0),('default_interval_min','45',1.0)," \
    "('proxy_master_token','',1.0),('unknown_key','x',1.0);"                                       \
    "INSERT INTO proxy_keys VALUES(5,'bob','%s','sk-AbCdEfGhI','[8,3]','[\"relay-a/gpt-4o\"]','d',1,1767225600.1,NULL,1767225900.5,3)," \
    "(6,'gone','%064d','sk-gone','[]','[]','',0,1767225600.2,1767225700.3,NULL,NULL);"
#define OLD_TOKEN "sk-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789ab"

static void fill(struct source *s, const struct generation *g)
{
    uint8_t hash[SECRET_HASH_SIZE];
    char hex[2 * SECRET_HASH_SIZE + 1];
    struct buf sql = BUF_INIT(65536);

    secret_sha256(STR(OLD_TOKEN), hash);
    secret_hex(hash, sizeof(hash), hex);
    add_sql(s, HISTORY);
    if (g->has_settings) {
        buf_putf(&sql, LATER, hex, 1);
        add_sql(s, buf_cstr(&sql));
        buf_release(&sql);
    }
    if (g->has_visitor)
        add_sql(s, "UPDATE targets SET visitor_channel_actions_enabled=1 WHERE id=3;"
                   "INSERT INTO app_settings VALUES('visitor_mode_enabled','true',1.0),"
                   "('runtime_api_monitor_visitor_token','look-only',1.0)");
    else if (g->has_settings)
        add_sql(s, "INSERT INTO app_settings VALUES('runtime_admin_panel_password','admp-old',1.0)");
    if (g->has_timing)
        add_sql(s, "UPDATE run_models SET ttfb=0.25, ping=0.0125 WHERE id=309;"
                   "INSERT INTO app_settings VALUES('liquid_glass_enabled','false',1.0)");
}

static void check_channels(struct source *s, const struct generation *g)
{
    struct catalog_snapshot *snap = catalog_latest(s->f.catalog);
    const struct channel *a = catalog_channel(snap, 3), *b = catalog_channel(snap, 8);

    assert_int_equal(snap->channel_count, 2);
    assert_string_equal(a->name, "relay-a");
    assert_string_equal(a->base_url, "https://relay.example/v1");
    assert_true(str_eq_c(secret_str(&a->api_key), "sk-live-000000000001"));
    assert_true(a->enabled && a->verify_ssl && !a->lenient && !a->public);
    assert_int_equal(a->interval_min, 15);
    assert_true(a->timeout_s == 12.5);
    assert_string_equal(a->prompt, "who are you");
    assert_string_equal(a->anthropic_version, "2023-06-01");
    assert_int_equal(a->max_models, 7);
    assert_int_equal(a->created_utc_ms, 1767225600123);
    assert_int_equal(a->updated_utc_ms, 1767229200500);
    assert_string_equal(a->source_url, "https://src/");
    assert_int_equal(a->visitor_channel_actions_enabled, g->has_visitor);
    assert_int_equal(a->sort_order, g->has_order ? 9 : 1);
    assert_int_equal(b->sort_order, 2); /* its rank by id */
    assert_int_equal(a->selected_models.count, g->has_order ? 2 : 0);
    if (g->has_order)
        assert_string_equal(a->selected_models.items[1], "claude-x");
    assert_int_equal(b->created_utc_ms, 1767225602000); /* rounded, not cut */
    assert_false(b->enabled);
    assert_null(b->source_url);
    catalog_unref(snap);
}

static void check_i64(struct source *s, const char *sql, int64_t want)
{
    int64_t got = fixture_i64(&s->f, sql);

    if (got != want)
        fail_msg("%s: %lld, want %lld", sql, (long long)got, (long long)want);
}

static void check_history(struct source *s, const struct generation *g)
{
    static const struct {
        const char *sql;
        int64_t want;
    } rows[] = {
        {"SELECT count(*) FROM channel_state", 1},
        {"SELECT last_run_utc_ms FROM channel_state WHERE channel_id=3", 1767229200400},
        {"SELECT last_run_id FROM channel_state WHERE channel_id=3", 42},
        {"SELECT last_status='degraded' AND last_total=2 AND last_success=1 AND last_fail=1 FROM channel_state", 1},
        {"SELECT last_log_file='/app/data/logs/target_3.jsonl' AND last_error IS NULL FROM channel_state", 1},
        {"SELECT count(*) FROM runs", 4},
        {"SELECT count(*) FROM runs WHERE cause='import'", 4},
        {"SELECT started_utc_ms FROM runs WHERE id=41", 1767225700250},
        {"SELECT finished_utc_ms FROM runs WHERE id=42", 1767229200400},
        {"SELECT total=2 AND success=1 AND fail=1 AND log_file='/app/data/logs/b.jsonl' FROM runs WHERE id=42", 1},
        {"SELECT status='error' AND error='interrupted' AND finished_utc_ms IS NULL FROM runs WHERE id=43", 1},
        {"SELECT status='error' AND error='models list is empty' AND channel_id=8 FROM runs WHERE id=44", 1},
        {"SELECT count(*) FROM probe_results WHERE item_kind=0", 3},
        {"SELECT item_id=3 AND run_id=41 AND at_utc_ms=1767225701200 FROM probe_results WHERE id=309", 1},
        {"SELECT model='gpt-4o' AND protocol='openai' AND route='chat' AND endpoint='chat' FROM probe_results WHERE id=309", 1},
        {"SELECT outcome=0 AND status=1 AND success=1 AND transport_success=1 FROM probe_results WHERE id=309", 1},
        {"SELECT duration_us FROM probe_results WHERE id=309", 812000},
        {"SELECT http_status=200 AND content='I am gpt-4o' AND error IS NULL AND tool_calls IS NULL FROM probe_results WHERE id=309", 1},
        {"SELECT outcome=9 AND success=0 AND transport_success=1 AND http_status=429 FROM probe_results WHERE id=311", 1},
        {"SELECT tool_calls_count=2 AND tool_calls='[{\"id\":1}]' AND error='HTTP 429: slow down' FROM probe_results WHERE id=311", 1},
        {"SELECT outcome=23 AND transport_success=0 AND http_status IS NULL FROM probe_results WHERE id=312", 1},
        {"SELECT count(*) FROM probe_results WHERE ttft_us IS NULL AND sub_status=''", 3},
        {"SELECT count(*) FROM rollup_minute", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_i64(s, rows[i].sql, rows[i].want);
    check_i64(s, "SELECT coalesce(ttfb_us,0) FROM probe_results WHERE id=309", g->has_timing ? 250000 : 0);
    check_i64(s, "SELECT coalesce(ping_us,0) FROM probe_results WHERE id=309", g->has_timing ? 12500 : 0);
}

static void check_setting(struct catalog_snapshot *s, const char *key, const char *want)
{
    struct str got = catalog_setting(s, key);

    if (!(want ? str_eq_c(got, want) : got.ptr == NULL))
        fail_msg("%s: %.*s, want %s", key, STR_ARG(got), want ? want : "(none)");
}

static void check_settings_and_keys(struct source *s, const struct generation *g)
{
    struct catalog_snapshot *snap = catalog_latest(s->f.catalog);
    uint8_t hash[SECRET_HASH_SIZE];

    check_setting(snap, "admin_token", g->has_settings ? "amtk-0123456789abcdef" : NULL);
    check_setting(snap, "admin_password", g->has_settings && !g->has_visitor ? "admp-old" : NULL);
    check_setting(snap, "visitor_token", g->has_visitor ? "look-only" : NULL);
    check_setting(snap, "visitor_mode", g->has_visitor ? "true" : NULL);
    check_setting(snap, "log_cleanup_enabled", g->has_settings ? "false" : NULL);
    check_setting(snap, "log_max_size_mb", g->has_settings ? "128" : NULL);
    check_setting(snap, "default_interval_min", g->has_settings ? "45" : NULL);
    check_setting(snap, "liquid_glass_enabled", g->has_timing ? "false" : NULL);
    check_setting(snap, "proxy_master_token", NULL);
    check_setting(snap, "unknown_key", NULL);
    secret_sha256(STR(OLD_TOKEN), hash);

    const struct proxy_key *k = catalog_key_by_hash(snap, hash);

    if (!g->has_settings) {
        assert_null(k);
        catalog_unref(snap);
        return;
    }
    assert_int_equal(k->id, 5);
    assert_string_equal(k->name, "bob");
    assert_string_equal(k->prefix, "sk-AbCdEfGhI");
    assert_int_equal(k->allowed_channels[0], 3);
    assert_int_equal(k->allowed_channels[1], 8);
    assert_string_equal(k->allowed_models[0], "relay-a/gpt-4o");
    assert_true(k->enabled);
    assert_int_equal(k->created_utc_ms, 1767225600100);
    assert_int_equal(k->last_used_utc_ms, 1767225900500);
    assert_int_equal(k->last_used_channel_id, 3);
    assert_int_equal(snap->keys[0]->id, 6); /* newest first; revoked ones stay */
    assert_int_equal(snap->keys[0]->revoked_utc_ms, 1767225700300);
    check_i64(s, "SELECT count(*) FROM settings WHERE is_secret=1 AND CAST(value AS TEXT) LIKE '%amtk%'", 0);
    catalog_unref(snap);
}

static void test_registry_import__every_generation(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(generations); i++) {
        const struct generation *g = &generations[i];
        struct source s;
        struct buf notes = BUF_INIT(65536);

        begin(&s, g);
        fill(&s, g);

        struct registry_import_report dry = take_over(&s, true, NULL);

        check_i64(&s, "SELECT (SELECT count(*) FROM channels)+(SELECT count(*) FROM runs)+(SELECT count(*) FROM settings)+"
                      "(SELECT count(*) FROM probe_results)+(SELECT count(*) FROM proxy_keys)+(SELECT count(*) FROM sqlite_sequence)", 0);

        struct registry_import_report r = take_over(&s, false, &notes);

        assert_memory_equal(&dry, &r, sizeof(r));
        assert_string_equal(r.generation, g->name);
        assert_int_equal(r.channels, 2);
        assert_int_equal(r.runs, 4);
        assert_int_equal(r.rows, 3);
        assert_int_equal(r.keys, g->has_settings ? 2 : 0);
        assert_int_equal(r.settings, !g->has_settings ? 0 : g->has_timing ? 7 : g->has_visitor ? 6 : 5);
        assert_int_equal(r.skipped, 0);
        assert_false(r.is_visitor_mode_open);
        assert_string_equal(buf_cstr(&notes), "1 runs were never finished, kept as error 'interrupted'\n");
        for (int again = 0; again < 2; again++) {
            check_channels(&s, g);
            check_history(&s, g);
            check_settings_and_keys(&s, g);
            fixture_close(&s.f);
            fixture_open(&s.f); /* what the snapshot says is what is stored */
        }
        buf_release(&notes);
        end(&s);
    }
}

static void test_registry_import__twice_changes_nothing(void **state)
{
    struct source s;
    struct registry_import_report r;

    begin(&s, GO);
    fill(&s, GO);
    take_over(&s, false, NULL);

    struct buf notes = BUF_INIT(65536);
    int64_t sum = fixture_i64(&s.f, "SELECT total_changes()");

    r = take_over(&s, false, &notes);
    assert_int_equal(fixture_i64(&s.f, "SELECT count(*) FROM probe_results"), 3);
    assert_int_equal(r.channels + r.runs + r.rows + r.settings + r.keys, 0);
    assert_int_equal(r.skipped, 2 + 4 + 3 + 6 + 2);
    assert_string_equal(buf_cstr(&notes), "");
    assert_true(sum > 0);
    check_channels(&s, GO);
    check_history(&s, GO);
    /* the old system ran on meanwhile: only the new rows come */
    add_sql(&s, "INSERT INTO runs VALUES(50,3,1767239190.0,1767239200.4,'completed',1,1,0,NULL,NULL);"
                "INSERT INTO run_models(run_id,target_id,model,success,timestamp) VALUES(50,3,'new',1,1767239195.0)");
    r = take_over(&s, false, NULL);
    assert_int_equal(r.runs, 1);
    assert_int_equal(r.rows, 1);
    assert_int_equal(r.skipped, 17);
    buf_release(&notes);
    end(&s);
}

static int64_t insert_channel(struct source *s, const char *name);

/* Ids that the old system gave away and deleted stay unused. */
static void test_registry_import__ids_are_never_reused(void **state)
{
    struct source s;

    begin(&s, GO);
    fill(&s, GO);
    add_sql(&s, "INSERT INTO targets(id,name,base_url,api_key,created_at,updated_at) VALUES(70,'x','http://h','k',1,1);"
                "DELETE FROM targets WHERE id=70;"
                "INSERT INTO runs VALUES(700,3,1,2,'completed',0,0,0,NULL,NULL); DELETE FROM runs WHERE id=700;");
    take_over(&s, false, NULL);
    assert_int_equal(insert_channel(&s, "fresh"), 71);
    check_i64(&s, "SELECT seq FROM sqlite_sequence WHERE name='runs'", 700);
    check_i64(&s, "SELECT seq FROM sqlite_sequence WHERE name='probe_results'", 312);
    check_i64(&s, "SELECT seq FROM sqlite_sequence WHERE name='proxy_keys'", 6);
    check_i64(&s, "SELECT count(*) FROM sqlite_sequence", 4);
    end(&s);
}

/* ---- odd rows ---- */

static bool has_note(struct buf *notes, const char *text)
{
    return str_find_str(buf_str(notes), str_of(text)) >= 0;
}

static void test_registry_import__odd_channels(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);

    begin(&s, GO);
    add_sql(&s, "INSERT INTO targets(id,name,base_url,api_key,interval_min,timeout_s,max_models,created_at,updated_at,"
                "selected_models,sort_order,prompt,last_run_at,last_status) VALUES"
                "(1,'team/a','h.example','  k1\n',0,9999,-4,5.5,6.5,'[broken',-3,'  ',7.5,'sick'),"
                "(2,CAST(x'62ff6300' AS TEXT),'http://h','',30,30,0,'no time',1e300,'[\"m\",5,\" m \"]',4,'p',NULL,NULL),"
                "(3,' blanks ','http://h','k',30,30,0,5.5,6.5,'[]',4,'p',NULL,NULL),"
                "(9007199254740993,'far','http://h','k',30,30,0,5.5,6.5,'[]',4,'p',NULL,NULL),"
                "(-5,'below','http://h','k',30,30,0,5.5,6.5,'[]',4,'p',NULL,NULL);");

    struct registry_import_report r = take_over(&s, false, &notes);
    struct catalog_snapshot *snap = catalog_latest(s.f.catalog);
    const struct channel *a = catalog_channel_by_name(snap, STR("team/a"));
    const struct channel *b = catalog_channel_by_name(snap, STR("b\xef\xbf\xbd" "c\xef\xbf\xbd"));

    assert_int_equal(r.channels, 3);
    assert_int_equal(r.skipped, 2);
    assert_int_equal(a->interval_min, 1);
    assert_true(a->timeout_s == 300);
    assert_int_equal(a->max_models, 0);
    assert_int_equal(a->selected_models.count, 0);
    assert_int_equal(a->sort_order, 2); /* rank by id, behind -5 */
    assert_memory_equal(a->prompt, "What is", 7);
    assert_true(str_eq_c(secret_str(&a->api_key), "k1"));
    check_i64(&s, "SELECT last_status IS NULL FROM channel_state WHERE channel_id=1", 1);
    assert_int_equal(b->id, 2);
    assert_true(b->created_utc_ms > 1767225600000); /* now */
    assert_int_equal(b->selected_models.count, 1);
    assert_non_null(catalog_channel_by_name(snap, STR(" blanks ")));
    assert_true(has_note(&notes, "channel 1: selected_models is unreadable, taken as empty"));
    assert_true(has_note(&notes, "channel 1: its name holds '/' or control characters, kept"));
    assert_true(has_note(&notes, "channel 1: interval, timeout or model limit brought into bounds"));
    assert_true(has_note(&notes, "channel 1: unknown last status"));
    assert_true(has_note(&notes, "channel 2: it has no key"));
    assert_true(has_note(&notes, "a channel without a usable id was left out"));
    assert_true(has_note(&notes, "1 texts were no UTF-8"));
    catalog_unref(snap);
    buf_release(&notes);
    end(&s);
}

static void test_registry_import__odd_history(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);

    begin(&s, GO);
    fill(&s, GO);
    add_sql(&s, "PRAGMA foreign_keys=OFF;"
                "INSERT INTO runs VALUES(60,99,1,2,'completed',0,0,0,NULL,NULL),(61,3,5,6,'paused',-4,1e12,0,NULL,NULL);"
                "INSERT INTO run_models(id,run_id,target_id,success,timestamp,tool_calls,duration,status_code,error,model) VALUES"
                "(400,60,99,1,1,NULL,1,200,NULL,'no channel'),"
                "(401,999,3,1,1,NULL,1,200,NULL,'no run'),"
                "(402,41,8,1,1,NULL,1,200,NULL,'run of another'),"
                "(403,61,3,7,NULL,'{broken',-2.5,-7,CAST(x'c328' AS TEXT),NULL),"
                "(404,61,3,0,8.5,'{}',9e99,99999,CAST(zeroblob(100000) AS TEXT),'m');"
                "INSERT INTO run_models(id,run_id,target_id,success,timestamp,content,model) VALUES"
                "(405,61,3,1,9.5,(WITH RECURSIVE c(x) AS (SELECT 'aaaaaaaaaa' UNION ALL SELECT x||x FROM c WHERE length(x)<60000) SELECT max(x) FROM c),'long');");

    struct registry_import_report r = take_over(&s, false, &notes);

    assert_int_equal(r.runs, 5);
    assert_int_equal(r.rows, 6);
    assert_int_equal(r.skipped, 4); /* a run and three rows */
    check_i64(&s, "SELECT status='error' AND total=0 AND success=1000000000 FROM runs WHERE id=61", 1);
    check_i64(&s, "SELECT at_utc_ms=5000 AND success=1 AND tool_calls IS NULL AND duration_us=0 AND http_status IS NULL AND model='' "
                  "FROM probe_results WHERE id=403", 1);
    check_i64(&s, "SELECT hex(error)='EFBFBD28' FROM probe_results WHERE id=403", 1);
    check_i64(&s, "SELECT duration_us=1000000000000000 AND http_status IS NULL AND length(error)=16384 FROM probe_results WHERE id=404", 1);
    check_i64(&s, "SELECT length(content)=16384 FROM probe_results WHERE id=405", 1);
    assert_true(has_note(&notes, "1 runs without a channel taken over were left out"));
    assert_true(has_note(&notes, "3 results without a run taken over were left out"));
    buf_release(&notes);
    end(&s);
}

/* A key whose limits were lost must not open everything. */
static void test_registry_import__unreadable_permissions_disable_a_key(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);

    begin(&s, GO);
    add_sql(&s, "INSERT INTO proxy_keys(id,name,key_hash,key_prefix,allowed_targets,allowed_models,created_at) VALUES"
                "(1,'a',printf('%064d',1),'p','[0]','[]',1.0),(2,'b',printf('%064d',2),'p','[]','oops',1.0),"
                "(3,'c',printf('%064d',3),'p','[]','[]',1.0),(4,'d','not hex','p','[]','[]',1.0);");

    struct registry_import_report r = take_over(&s, false, &notes);

    assert_int_equal(r.keys, 3);
    assert_int_equal(r.skipped, 1);
    check_i64(&s, "SELECT group_concat(enabled,'')='001' FROM (SELECT enabled FROM proxy_keys ORDER BY id)", 1);
    assert_true(has_note(&notes, "key 1: permissions not wholly readable, imported disabled"));
    assert_true(has_note(&notes, "key 4: no usable id or hash, left out"));
    buf_release(&notes);
    end(&s);
}

static void test_registry_import__settings_are_checked(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);

    begin(&s, GO);
    add_sql(&s, "INSERT INTO app_settings VALUES('visitor_mode_enabled','1',1),('runtime_api_monitor_visitor_token','',1),"
                "('log_max_size_mb','999999999',1),('default_interval_min','x',1),('log_cleanup_enabled','maybe',1),"
                "('proxy_master_token',' sk-master ',1)");

    struct registry_import_report r = take_over(&s, false, &notes);
    struct catalog_snapshot *snap = catalog_latest(s.f.catalog);

    assert_true(r.is_visitor_mode_open);
    assert_int_equal(r.settings, 2);
    assert_int_equal(r.skipped, 3);
    check_setting(snap, "visitor_mode", "true");
    check_setting(snap, "proxy_master_token", "sk-master");
    check_setting(snap, "log_max_size_mb", NULL);
    assert_true(has_note(&notes, "setting log_max_size_mb: value not usable, left out"));
    catalog_unref(snap);
    buf_release(&notes);
    end(&s);
}

/* ---- into a target that is in use ---- */

static int insert_one(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    struct channel *ch = ctx;
    int rc = catalog_channel_insert(tx, ch, &ch->id, reterr);

    return rc == 0 ? catalog_setting_set(tx, "admin_token", STR("ours"), true, reterr) : rc;
}

static int64_t insert_channel(struct source *s, const char *name)
{
    struct channel *ch = fixture_channel(name, "");
    struct err e = {0};
    int64_t id;

    if (catalog_apply(s->f.catalog, insert_one, ch, &e) < 0)
        fail_msg("%s", e.text);
    id = ch->id;
    channel_free(ch);
    return id;
}

static void test_registry_import__keeps_what_the_target_holds(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);

    begin(&s, GO);
    fill(&s, GO);
    insert_channel(&s, "one");
    insert_channel(&s, "never ran"); /* a name of the source, id 2 */
    insert_channel(&s, "three");     /* an id of the source */

    struct registry_import_report r = take_over(&s, false, &notes);
    struct catalog_snapshot *snap = catalog_latest(s.f.catalog);

    assert_int_equal(r.channels, 0);
    assert_int_equal(r.runs + r.rows, 0); /* they belong to channels that stayed out */
    assert_int_equal(r.keys, 2);
    assert_int_equal(snap->channel_count, 3);
    assert_string_equal(catalog_channel(snap, 3)->name, "three");
    check_setting(snap, "admin_token", "ours");
    assert_true(has_note(&notes, "channel 3 'relay-a': id taken here by 'three', left out"));
    assert_true(has_note(&notes, "channel 8 'never ran': name taken here, left out"));
    assert_true(has_note(&notes, "setting admin_token: another value is set here, kept"));
    catalog_unref(snap);
    buf_release(&notes);
    end(&s);
}

/* Our own run took the id of a later run of the old system: its rows must not join ours. */
static void test_registry_import__runs_do_not_mix(void **state)
{
    struct source s;
    struct buf notes = BUF_INIT(65536);
    struct store_conn *c;

    begin(&s, GO);
    fill(&s, GO);
    take_over(&s, false, NULL);
    c = store_writer_lock(s.f.store);
    assert_int_equal(store_exec(c, "INSERT INTO runs(id,channel_id,started_utc_ms,status) VALUES(45,3,99,'completed')", NULL), 0);
    store_writer_unlock(s.f.store);
    add_sql(&s, "INSERT INTO runs VALUES(45,3,1767239190.0,1767239200.4,'completed',1,1,0,NULL,NULL);"
                "INSERT INTO run_models(run_id,target_id,model,success,timestamp) VALUES(45,3,'new',1,1767239195.0)");

    struct registry_import_report r = take_over(&s, false, &notes);

    assert_int_equal(r.runs + r.rows, 0);
    check_i64(&s, "SELECT count(*) FROM probe_results WHERE run_id=45", 0);
    assert_true(has_note(&notes, "run 45: another run has this id here, left out"));
    buf_release(&notes);
    end(&s);
}

/* The old system was killed: its newest rows lie in the log beside the file. */
static void test_registry_import__reads_a_log_that_was_left(void **state)
{
    struct source s;
    uint8_t before[SECRET_HASH_SIZE], after[SECRET_HASH_SIZE];
    char wal[128];
    sqlite3 *db;

    begin(&s, GO);
    fill(&s, GO);
    snprintf(wal, sizeof(wal), "%s-wal", s.path);
    assert_int_equal(sqlite3_open(s.path, &db), SQLITE_OK);
    exec(db, "PRAGMA wal_autocheckpoint=0; INSERT INTO targets(id,name,base_url,api_key,created_at,updated_at) "
             "VALUES(9,'in the log','http://h','k',1,1)");
    hash_file(wal, before);
    assert_int_equal(take_over(&s, false, NULL).channels, 3);
    hash_file(wal, after);
    assert_memory_equal(before, after, sizeof(before));
    sqlite3_close(db);
    check_i64(&s, "SELECT count(*) FROM channels WHERE name='in the log'", 1);
    end(&s);
}

/* ---- files that are none ---- */

static void test_registry_import__refuses_what_is_no_registry(void **state)
{
    struct source s;
    struct registry_import_report r = {0};
    struct err e = {0};
    char path[128];

    begin(&s, GO);
    add_sql(&s, "DROP TABLE run_models");
    assert_int_equal(registry_import(s.f.catalog, s.path, false, &r, NULL, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.text, "is no registry.db of API Monitor: it has no table run_models"));
    snprintf(path, sizeof(path), "%s/none.db", s.dir);
    assert_int_equal(registry_import(s.f.catalog, path, false, &r, NULL, &e), ERR_NOTFOUND);
    assert_int_equal(r.channels, 0);
    end(&s);
}

/* A source that fails in the middle leaves the target empty. */
static void test_registry_import__is_one_transaction(void **state)
{
    struct source s;
    struct registry_import_report r = {0};
    struct err e = {0};

    begin(&s, GO);
    fill(&s, GO);
    add_sql(&s, "ALTER TABLE run_models RENAME COLUMN content TO contents");
    assert_true(registry_import(s.f.catalog, s.path, false, &r, NULL, &e) < 0);
    assert_true(e.text[0] != '\0');
    check_i64(&s, "SELECT (SELECT count(*) FROM channels)+(SELECT count(*) FROM runs)+(SELECT count(*) FROM settings)", 0);

    struct catalog_snapshot *snap = catalog_latest(s.f.catalog);

    assert_int_equal(snap->generation, 1);
    catalog_unref(snap);
    end(&s);
}

/* ---- outcomes ---- */

static void test_registry_import__outcomes_come_from_verdict_status_and_text(void **state)
{
    static const struct {
        const char *row; /* success, status_code, error */
        enum outcome want;
    } rows[] = {
        {"1,200,NULL", OUTCOME_OK},
        {"0,200,'response error: no credit'", OUTCOME_BODY_ERROR},
        {"0,200,'response parse failed: no readable text'", OUTCOME_EMPTY},
        {"0,200,'response is not JSON'", OUTCOME_BAD_BODY},
        {"0,201,'HTTP 201: created'", OUTCOME_UNEXPECTED_STATUS},
        {"0,301,'HTTP 301: x'", OUTCOME_UNEXPECTED_STATUS},
        {"0,400,'HTTP 400: bad'", OUTCOME_BAD_REQUEST},
        {"0,401,'HTTP 401: x'", OUTCOME_AUTH},
        {"0,402,'HTTP 402: x'", OUTCOME_QUOTA},
        {"0,403,'HTTP 403: x'", OUTCOME_FORBIDDEN},
        {"0,404,'HTTP 404: x'", OUTCOME_MODEL_UNKNOWN},
        {"0,429,'HTTP 429: x'", OUTCOME_RATE_LIMITED},
        {"0,429,'HTTP 429: {\"code\":\"insufficient_quota\"}'", OUTCOME_QUOTA},
        {"0,500,'HTTP 500: x'", OUTCOME_SERVER_ERROR},
        {"0,503,'HTTP 503: x'", OUTCOME_OVERLOADED},
        {"0,NULL,'HTTP POST https://h failed (30001ms): context deadline exceeded'", OUTCOME_TIMEOUT},
        {"0,NULL,'HTTP POST https://h failed (9ms): <urlopen error timed out>'", OUTCOME_TIMEOUT},
        {"0,NULL,'HTTP POST https://h failed (9ms): dial tcp: lookup h: no such host'", OUTCOME_DNS},
        {"0,NULL,'x <urlopen error [Errno -2] Name or service not known>'", OUTCOME_DNS},
        {"0,NULL,'x: tls: failed to verify certificate: x509: unknown authority'", OUTCOME_TLS},
        {"0,NULL,'x <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED]>'", OUTCOME_TLS},
        {"0,NULL,'x: dial tcp 1.2.3.4:443: connect: connection refused'", OUTCOME_CONNECT},
        {"0,NULL,'x: unexpected EOF'", OUTCOME_BROKEN},
        {"0,NULL,'x: unsupported protocol scheme \"\"'", OUTCOME_BAD_URL},
        {"0,NULL,NULL", OUTCOME_CONNECT},
    };
    struct source s;

    begin(&s, GO);
    fill(&s, GO);
    add_sql(&s, "DELETE FROM run_models");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sql[512];

        snprintf(sql, sizeof(sql), "INSERT INTO run_models(id,run_id,target_id,timestamp,success,status_code,error) "
                                   "VALUES(%zu,41,3,1.0,%s)", i + 1, rows[i].row);
        add_sql(&s, sql);
    }
    take_over(&s, false, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sql[128];

        snprintf(sql, sizeof(sql), "SELECT outcome FROM probe_results WHERE id=%zu", i + 1);
        if (fixture_i64(&s.f, sql) != rows[i].want)
            fail_msg("%s: %lld, want %d", rows[i].row, (long long)fixture_i64(&s.f, sql), rows[i].want);
        snprintf(sql, sizeof(sql), "SELECT status FROM probe_results WHERE id=%zu", i + 1);
        assert_int_equal(fixture_i64(&s.f, sql), outcome_rows[rows[i].want].status);
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry_import__every_generation),
        cmocka_unit_test(test_registry_import__twice_changes_nothing),
        cmocka_unit_test(test_registry_import__ids_are_never_reused),
        cmocka_unit_test(test_registry_import__odd_channels),
        cmocka_unit_test(test_registry_import__odd_history),
        cmocka_unit_test(test_registry_import__unreadable_permissions_disable_a_key),
        cmocka_unit_test(test_registry_import__settings_are_checked),
        cmocka_unit_test(test_registry_import__keeps_what_the_target_holds),
        cmocka_unit_test(test_registry_import__runs_do_not_mix),
        cmocka_unit_test(test_registry_import__reads_a_log_that_was_left),
        cmocka_unit_test(test_registry_import__refuses_what_is_no_registry),
        cmocka_unit_test(test_registry_import__is_one_transaction),
        cmocka_unit_test(test_registry_import__outcomes_come_from_verdict_status_and_text),
    };

    return cmocka_run_group_tests(tests, fixture_global, NULL);
}
