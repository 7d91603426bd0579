/* test_proxy_key.c -- keys of clients: bodies of spec 1 section 1.7, drawing, the shown object. */
#include "catalog_fixture.h"

static int put(struct proxy_key *k, const char *json, struct err *e)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;

    *e = (struct err){0};
    assert_int_equal(json_doc_parse(str_of(json), 0, &doc, e), 0);
    return proxy_key_from_json(k, doc, e);
}

static void test_proxy_key__texts(void **state)
{
    static const struct {
        const char *json, *want;
    } rows[] = {
        {"{}", "name must be 1-128 chars"},
        {"null", "name must be 1-128 chars"},
        {"[]", "invalid JSON"},
        {"{\"name\":\"  \"}", "name must be 1-128 chars"},
        {"{\"name\":5}", "name must be 1-128 chars"},
        {"{\"name\":\"n\",\"description\":5}", "description must be <= 512 chars"},
        {"{\"name\":\"n\",\"allowed_models\":[\"gpt-4o\"]}", "allowed_models must use channel/model format"},
        {"{\"name\":\"n\",\"allowed_models\":[\"/gpt\"]}", "allowed_models must use channel/model format"},
        {"{\"name\":\"n\",\"allowed_models\":[\"a/ \"]}", "allowed_models must use channel/model format"},
        {"{\"name\":\"n\",\"allowed_models\":[1]}", "allowed_models must be an array of strings"},
        {"{\"name\":\"n\",\"allowed_models\":{}}", "allowed_models must be an array of strings"},
        {"{\"name\":\"n\",\"allowed_target_ids\":[0]}", "allowed_target_ids must contain positive integers"},
        {"{\"name\":\"n\",\"allowed_target_ids\":[-3]}", "allowed_target_ids must contain positive integers"},
        {"{\"name\":\"n\",\"allowed_target_ids\":[1.5]}", "allowed_target_ids must be an array of integers"},
        {"{\"name\":\"n\",\"allowed_target_ids\":\"1\"}", "allowed_target_ids must be an array of integers"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_key *k = proxy_key_new();
        struct err e;

        assert_true(put(k, rows[i].json, &e) < 0);
        assert_string_equal(e.text, rows[i].want);
        assert_string_equal(k->name, "");
        proxy_key_free(k);
    }
}

static void test_proxy_key__lists_are_sorted_without_doubles(void **state)
{
    struct proxy_key *k = proxy_key_new();
    struct err e;

    assert_int_equal(put(k, "{\"name\":\" bob \",\"description\":\" d \",\"allowed_target_ids\":[9,3,9],"
                            "\"allowed_models\":[\" b/x\",\"a/y/z\",\"b/x\"]}", &e), 0);
    assert_string_equal(k->name, "bob");
    assert_string_equal(k->description, "d");
    assert_int_equal(k->allowed_channel_count, 2);
    assert_int_equal(k->allowed_channels[0], 3);
    assert_int_equal(k->allowed_channels[1], 9);
    assert_int_equal(k->allowed_model_count, 2);
    assert_string_equal(k->allowed_models[0], "a/y/z");

    struct proxy_key *copy = proxy_key_dup(k);
    const struct proxy_key *again = proxy_key_ref(copy);

    proxy_key_free(k);
    proxy_key_free(copy);
    assert_string_equal(again->allowed_models[1], "b/x");
    proxy_key_free(again);
}

static void test_proxy_key__token_is_drawn(void **state)
{
    struct proxy_key *k = proxy_key_new();
    char a[PROXY_KEY_TOKEN_SIZE], b[PROXY_KEY_TOKEN_SIZE];
    uint8_t hash[SECRET_HASH_SIZE];

    proxy_key_draw(k, a);
    proxy_key_draw(k, b);
    assert_int_equal(strlen(b), 39);
    assert_memory_equal(b, "sk-", 3);
    assert_string_not_equal(a, b);
    for (const char *p = b + 3; *p; p++)
        assert_true((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'));
    secret_sha256(str_of(b), hash);
    assert_memory_equal(k->hash, hash, sizeof(hash));
    assert_int_equal(strlen(k->prefix), 12);
    assert_memory_equal(k->prefix, b, 12);
    proxy_key_free(k);
}

static void test_proxy_key__shown_object(void **state)
{
    struct proxy_key *k = proxy_key_new();
    struct buf b = BUF_INIT(4096);
    struct json_out j;
    struct err e;

    assert_int_equal(put(k, "{\"name\":\"bob\",\"allowed_target_ids\":[3],\"allowed_models\":[\"relay-a/gpt-4o\"]}", &e), 0);
    k->id = 1;
    k->created_utc_ms = 1767225600100;
    str_copy(k->prefix, sizeof(k->prefix), STR("sk-AbCdEfGhI"));
    json_out_init(&j, &b);
    proxy_key_to_json(k, &j);
    assert_string_equal(buf_cstr(&b),
                        "{\"id\":1,\"name\":\"bob\",\"key_prefix\":\"sk-AbCdEfGhI\",\"allowed_target_ids\":[3],"
                        "\"allowed_models\":[\"relay-a/gpt-4o\"],\"description\":\"\",\"enabled\":true,"
                        "\"created_at\":1767225600.1,\"revoked_at\":null,\"last_used_at\":null,"
                        "\"last_used_target_id\":null}");
    buf_release(&b);
    proxy_key_free(k);
}

/* What could not be read must not end as "everything is allowed". */
static void test_proxy_key__stored_lists_tell_when_they_lost_something(void **state)
{
    struct proxy_key *k = proxy_key_new();

    assert_true(proxy_key_ids_read(k, STR("[5,3]")));
    assert_int_equal(k->allowed_channel_count, 2);
    assert_false(proxy_key_ids_read(k, STR("[0]")));
    assert_int_equal(k->allowed_channel_count, 0);
    assert_false(proxy_key_ids_read(k, STR("junk")));
    assert_true(proxy_key_models_read(k, STR("[]")));
    assert_false(proxy_key_models_read(k, STR("[\"a/b\",7]")));
    assert_int_equal(k->allowed_model_count, 1);
    assert_false(proxy_key_models_read(k, STR("{}")));
    proxy_key_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_key__texts),
        cmocka_unit_test(test_proxy_key__lists_are_sorted_without_doubles),
        cmocka_unit_test(test_proxy_key__token_is_drawn),
        cmocka_unit_test(test_proxy_key__shown_object),
        cmocka_unit_test(test_proxy_key__stored_lists_tell_when_they_lost_something),
    };

    return cmocka_run_group_tests(tests, fixture_global, NULL);
}
