/* test_catalog.c -- the store as the truth, snapshots beside it, and loops that read theirs while
 * others change it. */
#include "catalog_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- changes at once ---- */

struct change { /* what a test wants done, and what came of it */
    int (*fn)(struct catalog_tx *tx, struct change *c, struct err *reterr);
    struct channel *ch;
    struct proxy_key *key;
    int64_t id, *ids;
    size_t count;
    const char *text;
};

static int run_change(struct catalog_tx *tx, void *ctx, struct err *reterr)
{
    struct change *c = ctx;

    return c->fn(tx, c, reterr);
}

static int apply(struct fixture *f, struct change *c, struct err *e)
{
    *e = (struct err){0};
    return catalog_apply(f->catalog, run_change, c, e);
}

static int insert(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_channel_insert(tx, c->ch, &c->id, reterr);
}

static int update(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_channel_update(tx, c->ch, reterr);
}

static int delete(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_channel_delete(tx, c->id, reterr);
}

static int reorder(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_channel_reorder(tx, c->ids, c->count, reterr);
}

static int64_t add(struct fixture *f, const char *name, const char *more)
{
    struct change c = {.fn = insert, .ch = fixture_channel(name, more)};
    struct err e;

    if (apply(f, &c, &e) < 0)
        fail_msg("%s", e.text);
    channel_free(c.ch);
    return c.id;
}

/* ---- the key at rest ---- */

static void test_catalog__makes_a_private_secret_key(void **state)
{
    struct fixture f;
    char path[160], before[80] = "", after[80] = "";
    struct stat st;

    fixture_dir(&f);
    fixture_open(&f);
    fixture_path(&f, "secret.key", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    add(&f, "a", "");
    fixture_close(&f);

    int fd = open(path, O_RDONLY);

    assert_int_equal(read(fd, before, sizeof(before) - 1), 65);
    close(fd);
    fixture_open(&f);
    fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, after, sizeof(after) - 1), 65);
    close(fd);
    assert_string_equal(before, after);
    fixture_remove(&f);
}

static void test_catalog__refuses_a_key_that_others_may_read(void **state)
{
    struct fixture f;
    char path[160];
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    fixture_close(&f);
    fixture_path(&f, "secret.key", path);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(fixture_try(&f, "", &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "secret.key may be read by others (mode 0640)"));
    assert_int_equal(chmod(path, 0600), 0);
    fixture_open(&f);
    fixture_remove(&f);
}

static void test_catalog__never_replaces_a_lost_or_damaged_key(void **state)
{
    struct fixture f;
    char path[160], away[160];
    struct stat st;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    add(&f, "a", "");
    fixture_close(&f);
    fixture_path(&f, "secret.key", path);
    fixture_path(&f, "away", away);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(fixture_try(&f, "", &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "secret.key is missing"));
    assert_int_equal(stat(path, &st), -1);

    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_int_equal(write(fd, "short", 5), 5);
    close(fd);
    assert_int_equal(fixture_try(&f, "", &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "damaged"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(rename(away, path), 0);
    fixture_open(&f);
    fixture_remove(&f);
}

static void test_catalog__wrong_key_is_told(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    assert_int_equal(fixture_try(&f, "first key", &e), 0);
    add(&f, "a", "\"api_keys\":[\"sk-more-of-them\"]");
    fixture_close(&f);
    assert_int_equal(fixture_try(&f, "second key", &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "the key of channel 1 cannot be opened with option secret_key"));
    assert_int_equal(fixture_try(&f, "", &e), ERR_DENIED); /* and none is made */
    assert_int_equal(fixture_try(&f, "first key", &e), 0);

    struct catalog_snapshot *s = catalog_latest(f.catalog);
    const struct channel *ch = catalog_channel_by_name(s, STR("a"));

    assert_true(str_eq_c(secret_str(&ch->api_key), "sk-a-0123456789"));
    assert_true(str_eq_c(secret_str(&ch->api_keys[0]), "sk-more-of-them"));
    catalog_unref(s);
    fixture_remove(&f);
}

static bool file_holds(const char *path, const char *needle)
{
    struct buf b = BUF_INIT(64u << 20);
    char piece[65536];
    ssize_t n;
    int fd = open(path, O_RDONLY);
    bool holds;

    while (fd >= 0 && (n = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(&b, piece, (size_t)n), 0);
    if (fd >= 0)
        close(fd);
    holds = str_find_str(buf_str(&b), str_of(needle)) >= 0;
    buf_release(&b);
    return holds;
}

static int set_secret(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_setting_set(tx, "admin_token", STR("amtk-very-secret"), true, reterr);
}

static void test_catalog__no_secret_lies_in_the_file(void **state)
{
    struct fixture f;
    struct change c = {.fn = set_secret};
    char db[160], wal[160];
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    add(&f, "marker-name", "\"api_keys\":[\"sk-hidden-second\"]");
    assert_int_equal(apply(&f, &c, &e), 0);
    fixture_path(&f, "gatehouse.db", db);
    fixture_path(&f, "gatehouse.db-wal", wal);
    assert_true(file_holds(db, "marker-name") || file_holds(wal, "marker-name"));
    for (int i = 0; i < 2; i++) {
        assert_false(file_holds(i ? wal : db, "sk-marker-name"));
        assert_false(file_holds(i ? wal : db, "sk-hidden-second"));
        assert_false(file_holds(i ? wal : db, "very-secret"));
    }
    fixture_remove(&f);
}

/* ---- channels ---- */

static void test_catalog__channel_survives_a_restart_whole(void **state)
{
    struct fixture f;

    fixture_dir(&f);
    fixture_open(&f);
    add(&f, "n\xc3\xa9", "\"api_keys\":[\"k1\",\"k\\\"2\"],\"selected_models\":[\"m\\u2028\",\"<b>\"],"
                         "\"tags\":[\"t\"],\"route_overrides\":{\"m\":\"skip\",\"x\":\"gemini\"},"
                         "\"source_url\":\"https://s/\",\"user_agent\":\"u\",\"proxy_url\":\"http://p:1\","
                         "\"interval_min\":5,\"timeout_s\":7.25,\"max_models\":9,\"verify_ssl\":true,"
                         "\"enabled\":false,\"public\":true,\"lenient\":false,\"stream_probe\":true,"
                         "\"skip_unprobeable\":true,\"visitor_channel_actions_enabled\":true,"
                         "\"first_byte_timeout_s\":1.5,\"idle_timeout_s\":2.5,\"prompt\":\"p\","
                         "\"anthropic_version\":\"2023-06-01\"");

    struct catalog_snapshot *before = catalog_latest(f.catalog);

    fixture_close(&f);
    fixture_open(&f);

    struct catalog_snapshot *after = catalog_latest(f.catalog);

    assert_int_equal(after->channel_count, 1);
    for (size_t i = 0; i < channel_field_count; i++)
        if (!channel_field_equal(&channel_fields[i], before->channels[0], after->channels[0]))
            fail_msg("%s", channel_fields[i].name);
    assert_int_equal(after->channels[0]->id, before->channels[0]->id);
    assert_int_equal(after->channels[0]->sort_order, 1);
    assert_true(after->channels[0]->created_utc_ms > 0);
    assert_int_equal(after->channels[0]->created_utc_ms, before->channels[0]->created_utc_ms);
    catalog_unref(before);
    catalog_unref(after);
    fixture_remove(&f);
}

static void test_catalog__same_name_is_refused(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    add(&f, "a", "");

    struct change c = {.fn = insert, .ch = fixture_channel("a", "")};

    assert_int_equal(apply(&f, &c, &e), ERR_CONFLICT);
    assert_string_equal(e.text, "UNIQUE constraint failed: targets.name");
    assert_string_equal(e.field, "name");
    assert_int_equal(catalog_apply(f.catalog, run_change, &c, NULL), ERR_CONFLICT);
    channel_free(c.ch);

    int64_t id = add(&f, "b", "");

    c = (struct change){.fn = update, .ch = fixture_channel("a", "")};
    c.ch->id = id;
    assert_int_equal(apply(&f, &c, &e), ERR_CONFLICT);
    c.ch->id = 99;
    assert_int_equal(apply(&f, &c, &e), ERR_NOTFOUND);
    assert_string_equal(e.text, "target not found");
    channel_free(c.ch);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM channels"), 2);
    fixture_remove(&f);
}

static void test_catalog__snapshots_share_what_did_not_change(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);

    int64_t a = add(&f, "a", ""), b = add(&f, "b", "");
    struct catalog_snapshot *old = catalog_latest(f.catalog);
    struct change c = {.fn = update, .ch = channel_dup(catalog_channel(old, b))};

    c.ch->enabled = false;
    assert_int_equal(apply(&f, &c, &e), 0);

    struct catalog_snapshot *now = catalog_latest(f.catalog);

    assert_int_equal(now->generation, old->generation + 1);
    assert_ptr_equal(catalog_channel(now, a), catalog_channel(old, a));
    assert_ptr_not_equal(catalog_channel(now, b), catalog_channel(old, b));
    assert_ptr_equal(now->keys, old->keys);
    assert_true(catalog_channel(old, b)->enabled); /* immutable */
    assert_false(catalog_channel(now, b)->enabled);
    assert_true(catalog_channel(now, b)->updated_utc_ms >= catalog_channel(old, b)->updated_utc_ms);
    assert_ptr_equal(catalog_channel_by_name(now, STR("b")), catalog_channel(now, b));
    assert_null(catalog_channel(now, 77));
    assert_null(catalog_channel_by_name(now, STR("B")));
    channel_free(c.ch);
    catalog_unref(old);
    catalog_unref(now);
    fixture_remove(&f);
}

static void test_catalog__deletes_with_history_and_never_reuses_an_id(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);

    int64_t a = add(&f, "a", ""), b = add(&f, "b", "");
    struct store_conn *conn = store_writer_lock(f.store);

    assert_int_equal(store_begin(conn, NULL), 0);
    assert_int_equal(store_exec(conn,
                                "INSERT INTO runs(channel_id,started_utc_ms,status) VALUES(1,5,'completed'),(2,5,'completed');"
                                "INSERT INTO channel_state(channel_id,last_status) VALUES(2,'healthy');"
                                "INSERT INTO probe_results(item_kind,item_id,at_utc_ms,outcome,status,success,transport_success)"
                                " VALUES(0,1,1,0,1,1,1),(0,2,1,0,1,1,1),(1,2,1,0,1,1,1)", NULL), 0);
    assert_int_equal(store_commit(conn, NULL), 0);
    store_writer_unlock(f.store);

    struct change c = {.fn = delete, .id = b};

    assert_int_equal(apply(&f, &c, &e), 0);
    assert_int_equal(apply(&f, &c, &e), ERR_NOTFOUND);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM runs"), 1);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM channel_state"), 0);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM probe_results"), 2); /* a monitor's stays */
    assert_true(add(&f, "c", "") > b);

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_non_null(catalog_channel(s, a));
    assert_null(catalog_channel(s, b));
    catalog_unref(s);
    fixture_remove(&f);
}

static void check_order(struct fixture *f, const char *want)
{
    struct catalog_snapshot *s = catalog_latest(f->catalog);
    struct buf b = BUF_INIT(256);

    for (size_t i = 0; i < s->channel_count; i++) {
        buf_putf(&b, "%s", s->channels[i]->name);
        assert_int_equal(s->channels[i]->sort_order, i + 1);
    }
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
    catalog_unref(s);
}

static void test_catalog__reorders(void **state)
{
    struct fixture f;
    struct err e;
    int64_t ids[8];
    struct change c = {.fn = reorder, .ids = ids};
    const struct {
        int64_t ids[3];
        size_t count;
        const char *text;
    } bad[] = {
        {{0}, 0, "target_ids must not be empty"},
        {{1, 0}, 2, "target_ids must contain positive integers"},
        {{1, 2, 1}, 3, "target_ids must not contain duplicates"},
        {{1, 44}, 2, "target 44 not found"},
    };

    fixture_dir(&f);
    fixture_open(&f);
    ids[0] = 1;
    c.count = 1;
    assert_int_equal(apply(&f, &c, &e), ERR_RANGE);
    assert_string_equal(e.text, "no targets found");
    for (const char *name = "a\0b\0c\0d\0"; *name; name += 2)
        add(&f, name, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        memcpy(ids, bad[i].ids, sizeof(bad[i].ids));
        c.count = bad[i].count;
        assert_int_equal(apply(&f, &c, &e), ERR_RANGE);
        assert_string_equal(e.text, bad[i].text);
    }
    check_order(&f, "abcd");
    ids[0] = 4;
    ids[1] = 2;
    c.count = 2;
    assert_int_equal(apply(&f, &c, &e), 0);
    check_order(&f, "dbac");
    fixture_close(&f);
    fixture_open(&f);
    check_order(&f, "dbac");
    fixture_remove(&f);
}

static int two_lines(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    struct channel *copy = NULL;
    struct err first = {0};
    int rc = catalog_channel_insert(tx, c->ch, NULL, &first);

    assert_int_equal(rc, ERR_CONFLICT);
    xfree(c->ch->name);
    c->ch->name = xstrdup("other");
    rc = catalog_channel_insert(tx, c->ch, &c->id, reterr);
    if (rc == 0)
        rc = catalog_channel_load(tx, c->id, &copy, reterr); /* seen before COMMIT */
    if (rc == 0)
        assert_string_equal(copy->name, "other");
    channel_free(copy);
    if (rc == 0)
        rc = catalog_audit(tx, STR("admin"), STR("::1"), "channel.create", STR_NONE, STR("x"), reterr);
    return rc;
}

/* A line that failed leaves the transaction usable. */
static void test_catalog__goes_on_after_a_refused_line(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    add(&f, "a", "");

    struct change c = {.fn = two_lines, .ch = fixture_channel("a", "")};

    assert_int_equal(apply(&f, &c, &e), 0);
    channel_free(c.ch);

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_int_equal(s->channel_count, 2);
    assert_non_null(catalog_channel_by_name(s, STR("other")));
    catalog_unref(s);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM audit WHERE action='channel.create'"), 1);
    fixture_remove(&f);
}

static int insert_then_fail(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    assert_int_equal(catalog_channel_insert(tx, c->ch, NULL, reterr), 0);
    assert_int_equal(catalog_setting_set(tx, "k", STR("v"), false, reterr), 0);
    return err_set(reterr, ERR_INTERNAL, "on purpose");
}

static void test_catalog__failure_leaves_nothing(void **state)
{
    struct fixture f;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);

    struct change c = {.fn = insert_then_fail, .ch = fixture_channel("a", "")};
    struct catalog_snapshot *before = catalog_latest(f.catalog);

    assert_int_equal(apply(&f, &c, &e), ERR_INTERNAL);
    channel_free(c.ch);

    struct catalog_snapshot *after = catalog_latest(f.catalog);

    assert_ptr_equal(before, after);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM channels"), 0);
    assert_int_equal(fixture_i64(&f, "SELECT count(*) FROM settings"), 0);
    catalog_unref(before);
    catalog_unref(after);
    fixture_remove(&f);
}

/* ---- keys and settings ---- */

static int insert_key(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_key_insert(tx, c->key, &c->id, reterr);
}

static int revoke_key(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    return catalog_key_revoke(tx, c->id, 1234, reterr);
}

static void test_catalog__keys_are_found_by_hash(void **state)
{
    struct fixture f;
    char token[PROXY_KEY_TOKEN_SIZE];
    uint8_t hash[SECRET_HASH_SIZE];
    struct change c = {.fn = insert_key, .key = proxy_key_new()};
    int64_t missing = 12;
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    proxy_key_draw(c.key, token);
    c.key->allowed_channels = &missing;
    c.key->allowed_channel_count = 1;
    assert_int_equal(apply(&f, &c, &e), ERR_RANGE);
    assert_string_equal(e.text, "target id 12 not found");
    c.key->allowed_channels = NULL;
    c.key->allowed_channel_count = 0;
    for (int i = 0; i < 50; i++) { /* enough to fill the index past its first size */
        proxy_key_draw(c.key, token);
        assert_int_equal(apply(&f, &c, &e), 0);
    }
    secret_sha256(str_of(token), hash);
    fixture_close(&f);
    fixture_open(&f);

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_int_equal(s->key_count, 50);
    assert_int_equal(s->keys[0]->id, 50); /* newest first */
    for (size_t i = 0; i < s->key_count; i++)
        assert_ptr_equal(catalog_key_by_hash(s, s->keys[i]->hash), s->keys[i]);
    assert_int_equal(catalog_key_by_hash(s, hash)->id, 50);
    hash[31] ^= 1; /* the same place in the index, another key */
    assert_null(catalog_key_by_hash(s, hash));
    catalog_unref(s);

    struct change r = {.fn = revoke_key, .id = 50};

    assert_int_equal(apply(&f, &r, &e), 0);
    assert_int_equal(apply(&f, &r, &e), ERR_NOTFOUND);
    assert_string_equal(e.text, "proxy key not found or already revoked");
    s = catalog_latest(f.catalog);
    assert_int_equal(s->key_count, 50);
    assert_int_equal(s->keys[0]->revoked_utc_ms, 1234);
    assert_false(s->keys[0]->enabled);
    catalog_unref(s);
    proxy_key_free(c.key);
    fixture_remove(&f);
}

static int set_settings(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    assert_int_equal(catalog_setting_set(tx, "b", STR("one"), false, reterr), 0);
    assert_int_equal(catalog_setting_set(tx, "a", STR("token"), true, reterr), 0);
    assert_int_equal(catalog_setting_set(tx, "c", STR(""), true, reterr), 0);
    return catalog_setting_set(tx, "b", STR("two"), false, reterr);
}

static int drop_setting(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    assert_int_equal(catalog_setting_delete(tx, "never-there", reterr), 0);
    return catalog_setting_delete(tx, "a", reterr);
}

static void test_catalog__settings(void **state)
{
    struct fixture f;
    struct change c = {.fn = set_settings};
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    assert_int_equal(apply(&f, &c, &e), 0);
    for (int i = 0; i < 2; i++) {
        struct catalog_snapshot *s = catalog_latest(f.catalog);

        assert_true(str_eq_c(catalog_setting(s, "a"), "token"));
        assert_true(str_eq_c(catalog_setting(s, "b"), "two"));
        assert_non_null(catalog_setting(s, "c").ptr); /* stored and empty */
        assert_int_equal(catalog_setting(s, "c").len, 0);
        assert_null(catalog_setting(s, "d").ptr);
        catalog_unref(s);
        fixture_close(&f);
        fixture_open(&f);
    }
    c.fn = drop_setting;
    assert_int_equal(apply(&f, &c, &e), 0);

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_null(catalog_setting(s, "a").ptr);
    assert_true(str_eq_c(catalog_setting(s, "b"), "two"));
    catalog_unref(s);
    fixture_remove(&f);
}

/* ---- loops ---- */

struct reader { /* a loop that looks at its snapshot all the time */
    struct fixture *f;
    struct loop *loop;
    pthread_t thread;
    uint64_t seen, moves; /* newest generation; calls of on_move() */
    struct loop_msg again;
    atomic_bool is_stopping;
};

/* Each generation's channels tell one story: the interval is the same everywhere. */
static void check_snapshot(const struct catalog_snapshot *s)
{
    for (size_t i = 0; i < s->channel_count; i++) {
        assert(s->channels[i]->interval_min == s->channels[0]->interval_min);
        assert(catalog_channel(s, s->channels[i]->id) == s->channels[i]);
    }
}

static void on_move(void *ctx, struct catalog_snapshot *s)
{
    struct reader *r = ctx;

    assert(s->generation > r->seen);
    assert(catalog_now(r->f->catalog) == s);
    r->seen = s->generation;
    r->moves++;
}

static void look(struct loop_msg *m)
{
    struct reader *r = container_of(m, struct reader, again);
    struct catalog_snapshot *s = catalog_now(r->f->catalog), *kept = catalog_ref(s);

    check_snapshot(s);
    catalog_unref(kept);
    if (!atomic_load(&r->is_stopping))
        loop_post(r->loop, m, look);
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;

    loop_post(r->loop, &r->again, look);
    loop_run(r->loop);
    return NULL;
}

struct bump { /* a job that changes all channels at once */
    struct catalog_job job;
    struct fixture *f;
    struct loop *reply;
    int32_t interval;
    int left;
    uint64_t before;
};

static int bump_run(struct catalog_tx *tx, struct catalog_job *j, struct err *reterr)
{
    struct bump *b = container_of(j, struct bump, job);
    int rc = 0;

    for (int64_t id = 1; id <= 5 && rc == 0; id++) {
        struct channel *ch = NULL;

        rc = catalog_channel_load(tx, id, &ch, reterr);
        if (rc < 0)
            return rc;
        ch->interval_min = b->interval;
        rc = catalog_channel_update(tx, ch, reterr);
        channel_free(ch);
    }
    return rc;
}

static void bump_done(struct catalog_job *j)
{
    struct bump *b = container_of(j, struct bump, job);
    struct catalog_snapshot *s = catalog_now(b->f->catalog);

    /* the change is seen by whoever asked for it */
    assert(loop_current() == b->reply);
    assert(j->job.rc == 0);
    assert(s->generation > b->before);
    assert(s->channels[0]->interval_min == b->interval);
    if (--b->left == 0) {
        loop_stop(b->reply);
        return;
    }
    b->before = s->generation;
    b->interval = b->interval % 1440 + 1;
    if (catalog_submit(b->f->catalog, j, b->reply) < 0)
        abort();
}

#define READERS 3

static void test_catalog__loops_read_while_it_changes(void **state)
{
    struct fixture f;
    struct reader readers[READERS];
    struct bump b = {.f = &f, .interval = 31, .left = 200};

    fixture_dir(&f);
    fixture_open(&f);
    for (const char *name = "a\0b\0c\0d\0e\0"; *name; name += 2)
        add(&f, name, "");
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.f = &f, .loop = loop_new("reader", i)};
        atomic_init(&readers[i].is_stopping, false);
        catalog_attach(f.catalog, readers[i].loop, on_move, &readers[i]);
    }
    b.reply = loop_new("control", READERS);
    b.job.run = bump_run;
    b.job.done = bump_done;
    catalog_attach(f.catalog, b.reply, NULL, NULL);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
    assert_int_equal(catalog_submit(f.catalog, &b.job, b.reply), 0);
    loop_run(b.reply);
    for (int i = 0; i < READERS; i++) {
        atomic_store(&readers[i].is_stopping, true);
        loop_stop(readers[i].loop);
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].moves > 0);
    }

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_int_equal(s->generation, 206); /* the first, five channels, 200 changes */
    catalog_unref(s);
    for (int i = 0; i < READERS; i++)
        loop_free(readers[i].loop);
    loop_free(b.reply);
    fixture_remove(&f);
}

struct refused {
    struct catalog_job job;
    struct loop *reply;
    bool is_done;
};

static int refused_run(struct catalog_tx *tx, struct catalog_job *j, struct err *reterr)
{
    return catalog_channel_delete(tx, 99, reterr);
}

static void refused_done(struct catalog_job *j)
{
    struct refused *r = container_of(j, struct refused, job);

    r->is_done = true;
    loop_stop(r->reply);
}

static void test_catalog__job_tells_its_failure(void **state)
{
    struct fixture f;
    struct refused r = {.reply = loop_new("control", 0)};

    fixture_dir(&f);
    fixture_open(&f);
    catalog_attach(f.catalog, r.reply, NULL, NULL);
    r.job.run = refused_run;
    r.job.done = refused_done;
    assert_int_equal(catalog_submit(f.catalog, &r.job, r.reply), 0);
    loop_run(r.reply);
    assert_true(r.is_done);
    assert_int_equal(r.job.job.rc, ERR_NOTFOUND);
    assert_string_equal(r.job.job.err.text, "target not found");
    loop_free(r.reply);
    fixture_remove(&f);
}

/* A thousand channels: a change costs far less than reading them all again would. */
static int fill(struct catalog_tx *tx, struct change *c, struct err *reterr)
{
    for (int i = 0; i < 1000; i++) {
        char name[16];

        snprintf(name, sizeof(name), "c%d", i);
        xfree(c->ch->name);
        c->ch->name = xstrdup(name);

        int rc = catalog_channel_insert(tx, c->ch, NULL, reterr);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void test_catalog__thousand_channels(void **state)
{
    struct fixture f;
    struct change c = {.fn = fill, .ch = fixture_channel("x", "")};
    struct err e;

    fixture_dir(&f);
    fixture_open(&f);
    assert_int_equal(apply(&f, &c, &e), 0);
    channel_free(c.ch);

    struct catalog_snapshot *s = catalog_latest(f.catalog);

    assert_int_equal(s->generation, 2);
    assert_int_equal(s->channel_count, 1000);
    for (size_t i = 0; i < s->channel_count; i++) {
        assert_int_equal(s->channels[i]->sort_order, i + 1);
        assert_ptr_equal(catalog_channel(s, s->channels[i]->id), s->channels[i]);
        assert_ptr_equal(catalog_channel_by_name(s, str_of(s->channels[i]->name)), s->channels[i]);
    }
    catalog_unref(s);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog__makes_a_private_secret_key),
        cmocka_unit_test(test_catalog__refuses_a_key_that_others_may_read),
        cmocka_unit_test(test_catalog__never_replaces_a_lost_or_damaged_key),
        cmocka_unit_test(test_catalog__wrong_key_is_told),
        cmocka_unit_test(test_catalog__no_secret_lies_in_the_file),
        cmocka_unit_test(test_catalog__channel_survives_a_restart_whole),
        cmocka_unit_test(test_catalog__same_name_is_refused),
        cmocka_unit_test(test_catalog__snapshots_share_what_did_not_change),
        cmocka_unit_test(test_catalog__deletes_with_history_and_never_reuses_an_id),
        cmocka_unit_test(test_catalog__reorders),
        cmocka_unit_test(test_catalog__goes_on_after_a_refused_line),
        cmocka_unit_test(test_catalog__failure_leaves_nothing),
        cmocka_unit_test(test_catalog__keys_are_found_by_hash),
        cmocka_unit_test(test_catalog__settings),
        cmocka_unit_test(test_catalog__loops_read_while_it_changes),
        cmocka_unit_test(test_catalog__job_tells_its_failure),
        cmocka_unit_test(test_catalog__thousand_channels),
    };

    return cmocka_run_group_tests(tests, fixture_global, NULL);
}
