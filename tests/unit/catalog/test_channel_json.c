/* test_channel_json.c -- bodies of POST and PATCH against spec 1 section 1.4: texts, order, bounds. */
#include "catalog_fixture.h"

#define REQUIRED "name, base_url, api_key are required"
#define GOOD "\"name\":\"n\",\"base_url\":\"https://h\",\"api_key\":\"k\""

static char *repeat(const char *piece, size_t n)
{
    struct buf b = BUF_INIT(1u << 20);

    for (size_t i = 0; i < n; i++)
        buf_put(&b, str_of(piece));
    return buf_take_cstr(&b, NULL);
}

/* A new channel from `json`: its error text, "" when it passed. */
static void check(const char *json, const char *want)
{
    struct channel *ch = channel_new();
    struct err e = {0};
    int rc = fixture_put(ch, json, 0, NULL, &e);

    if (strcmp(rc < 0 ? e.text : "", want) != 0)
        fail_msg("%.200s\n  gave: %s\n  want: %s", json, rc < 0 ? e.text : "(passed)", want);
    if (rc < 0)
        assert_string_equal(ch->name, ""); /* untouched */
    channel_free(ch);
}

/* The same with one member more than the required ones, and its field is named. */
static void check_more(const char *member, const char *want)
{
    struct buf b = BUF_INIT(4u << 20);

    buf_putf(&b, "{%s,%s}", GOOD, member);
    check(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_channel_json__required_come_first(void **state)
{
    check("{}", REQUIRED);
    check("null", REQUIRED);
    check("{\"interval_min\":0}", REQUIRED);
    check("{\"name\":\"n\",\"base_url\":\"https://h\"}", REQUIRED);
    check("{\"name\":\"\",\"base_url\":\"https://h\",\"api_key\":\"k\"}", REQUIRED);
    check("{\"name\":5,\"base_url\":\"https://h\",\"api_key\":\"k\",\"interval_min\":0}", REQUIRED);
    check("{\"name\":\"n\",\"base_url\":\"ab\",\"api_key\":\"k\"}", REQUIRED);
    check("{\"name\":\"n\",\"base_url\":\"https://h\",\"api_key\":null}", REQUIRED);
    check("[]", "invalid JSON");
    check("\"x\"", "invalid JSON");
    check("{" GOOD "}", "");
}

static void test_channel_json__texts_of_the_table(void **state)
{
    static const struct {
        const char *member, *want;
    } rows[] = {
        {"\"interval_min\":0", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":1441", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":1.5", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":\"5\"", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":true", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":1e300", "interval_min must be an integer between 1 and 1440"},
        {"\"interval_min\":2.0", ""},
        {"\"interval_min\":1440", ""},
        {"\"timeout_s\":2.9", "timeout_s must be between 3.0 and 300.0"},
        {"\"timeout_s\":300.1", "timeout_s must be between 3.0 and 300.0"},
        {"\"timeout_s\":\"9\"", "timeout_s must be between 3.0 and 300.0"},
        {"\"timeout_s\":3", ""},
        {"\"max_models\":-1", "max_models must be an integer between 0 and 5000"},
        {"\"max_models\":5001", "max_models must be an integer between 0 and 5000"},
        {"\"sort_order\":0", "sort_order must be an integer between 1 and 1000000"},
        {"\"sort_order\":1000001", "sort_order must be an integer between 1 and 1000000"},
        {"\"prompt\":\"  \"", "prompt must be 1-4000 chars"},
        {"\"prompt\":7", "prompt must be 1-4000 chars"},
        {"\"anthropic_version\":\"abc\"", "anthropic_version must be 4-64 chars"},
        {"\"anthropic_version\":\"ab\\ncd\"", "anthropic_version must not contain control characters"},
        {"\"source_url\":5", "source_url must be a string or null"},
        {"\"source_url\":null", ""},
        {"\"source_url\":\"\"", ""},
        {"\"source_url\":\"javascript:alert(1)\"", "source_url must be an http:// or https:// URL with a host"},
        {"\"visitor_channel_actions_enabled\":1", "visitor_channel_actions_enabled must be a boolean"},
        {"\"visitor_channel_actions_enabled\":true", ""},
        {"\"selected_models\":\"m\"", "selected_models must be an array of strings"},
        {"\"selected_models\":[\"\",1]", "selected_models must be an array of strings"},
        {"\"selected_models\":[\"a\",\"  \"]", "each selected_models item must be 1-256 chars"},
        {"\"enabled\":\"true\"", "enabled must be a boolean"},
        {"\"enabled\":2", "enabled must be a boolean"},
        {"\"enabled\":1", ""},
        {"\"verify_ssl\":0", ""},
        {"\"verify_ssl\":0.0", "verify_ssl must be a boolean"},
        {"\"public\":1", "public must be a boolean"},
        {"\"api_keys\":[1]", "api_keys must be an array of strings"},
        {"\"api_keys\":[\"\"]", "each api_keys item must be 1-2048 chars"},
        {"\"api_keys\":[\"a\\u0001b\"]", "api_keys must not contain control characters"},
        {"\"tags\":{}", "tags must be an array of strings"},
        {"\"route_overrides\":[]", "route_overrides must be an object of model ids and routes"},
        {"\"route_overrides\":{\"m\":\"completions\"}",
         "route_overrides item 'm' must be chat, responses, anthropic, gemini or skip"},
        {"\"route_overrides\":{\"\":\"chat\"}", "each route_overrides item must be 1-256 chars"},
        {"\"route_overrides\":{\" m\":\"chat\",\"m \":\"gemini\"}", "route_overrides item 'm' is given twice"},
        {"\"user_agent\":\"a\\r\\nX: y\"", "user_agent must not contain control characters"},
        {"\"proxy_url\":\"ftp://p\"", "proxy_url must be an http://, https://, socks5:// or socks5h:// URL with a host"},
        {"\"proxy_url\":\"socks5h://p:1080\"", ""},
        {"\"proxy_url\":\"http://u:p@p:1080\"", "proxy_url must not contain a user or password"},
        {"\"first_byte_timeout_s\":0", "first_byte_timeout_s must be between 0.1 and 3600.0"},
        {"\"idle_timeout_s\":3601", "idle_timeout_s must be between 0.1 and 3600.0"},
        {"\"idle_timeout_s\":0.1", ""},
        {"\"nonsense\":[{}]", ""},
        {"\"interval_min\":null,\"enabled\":null,\"selected_models\":null", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_more(rows[i].member, rows[i].want);
}

static void check_base_url(const char *url, const char *want)
{
    char json[1024];

    snprintf(json, sizeof(json), "{\"name\":\"n\",\"api_key\":\"k\",\"base_url\":\"%s\"}", url);
    check(json, want);
}

static void test_channel_json__base_url_has_scheme_and_host(void **state)
{
    const char *bad = "base_url must be an http:// or https:// URL with a host";

    check_base_url("http://127.0.0.1:3000", "");
    check_base_url(" https://h/v1/ ", "");
    check_base_url("h.example/v1", bad);
    check_base_url("ftp://h", bad);
    check_base_url("http://", bad);
    check_base_url("file:///etc/passwd", bad);
    check_base_url("https://h/a b", bad);
    check_base_url("https://user:pw@h", "base_url must not contain a user or password");
    check_base_url("  a  ", "base_url must be 3-512 chars");
}

static void check_name(const char *name, const char *want)
{
    struct buf b = BUF_INIT(1u << 20);

    buf_putf(&b, "{\"name\":\"%s\",\"base_url\":\"https://h\",\"api_key\":\"k\"}", name);
    check(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_channel_json__lengths_are_code_points(void **state)
{
    char *full = repeat("\xf0\x9f\x98\x80", 128), *over = repeat("\xc3\xa9", 129);

    check_name(full, "");
    check_name(over, "name must be 1-128 chars");
    check_name("   ", "name must be 1-128 chars");
    check_name("a/b", "name must not contain '/'");
    check_name("a\\tb", "name must not contain control characters");
    check_name("a\\u0085b", "name must not contain control characters");
    xfree(full);
    xfree(over);
}

static void test_channel_json__long_values_are_refused(void **state)
{
    static const struct {
        const char *field;
        size_t max;
        const char *want;
    } rows[] = {
        {"prompt", 4000, "prompt must be 1-4000 chars"},
        {"anthropic_version", 64, "anthropic_version must be 4-64 chars"},
        {"user_agent", 256, "user_agent must be <= 256 chars"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *text = repeat("x", rows[i].max), member[8192];

        snprintf(member, sizeof(member), "\"%s\":\"%s\"", rows[i].field, text);
        check_more(member, "");
        snprintf(member, sizeof(member), "\"%s\":\"%sx\"", rows[i].field, text);
        check_more(member, rows[i].want);
        xfree(text);
    }

    char *path = repeat("p", 1024), member[2048];

    snprintf(member, sizeof(member), "\"source_url\":\"https://h/%s\"", path);
    check_more(member, "source_url must be <= 1024 chars");
    snprintf(member, sizeof(member), "\"api_key\":\"%s%s\"", path, path);
    xfree(path);
}

static void test_channel_json__lists_have_ceilings(void **state)
{
    char *items = repeat("\"m\",", 5000);
    struct buf b = BUF_INIT(1u << 20);

    buf_putf(&b, "\"selected_models\":[%s\"m\"]", items);
    check_more(buf_cstr(&b), "selected_models must contain <= 5000 items");
    buf_clear(&b);
    items[strlen(items) - 1] = ' '; /* 5000, all the same */
    buf_putf(&b, "\"selected_models\":[%s]", items);
    check_more(buf_cstr(&b), "");
    buf_release(&b);
    xfree(items);
}

/* The first failure in the table's order wins, whatever the order in the body. */
static void test_channel_json__first_row_wins(void **state)
{
    check_more("\"tags\":1,\"verify_ssl\":7,\"selected_models\":1,\"max_models\":-1,\"timeout_s\":0",
               "timeout_s must be between 3.0 and 300.0");
    check_more("\"idle_timeout_s\":0,\"enabled\":7", "enabled must be a boolean");
}

static void test_channel_json__stores_trimmed(void **state)
{
    struct channel *ch = channel_new();
    struct err e;

    assert_int_equal(fixture_put(ch,
                                 "{\"name\":\"  n \",\"base_url\":\" https://h/v1 \",\"api_key\":\" k\\n\","
                                 "\"selected_models\":[\" b \",\"a\",\"b\"],\"prompt\":\" p \","
                                 "\"sort_order\":5,\"api_keys\":[\"x\",\"y\",\"x\"]}",
                                 0, NULL, &e), 0);
    assert_string_equal(ch->name, "n");
    assert_string_equal(ch->base_url, "https://h/v1");
    assert_true(str_eq_c(secret_str(&ch->api_key), "k"));
    assert_string_equal(ch->prompt, "p");
    assert_int_equal(ch->selected_models.count, 2);
    assert_string_equal(ch->selected_models.items[0], "b");
    assert_string_equal(ch->selected_models.items[1], "a");
    assert_int_equal(ch->api_key_count, 2);
    assert_int_equal(ch->sort_order, 5);
    channel_free(ch);
}

/* ---- PATCH ---- */

static struct channel *held(void)
{
    struct channel *ch = fixture_channel("n", "\"source_url\":\"https://s/\",\"tags\":[\"t\"],"
                                              "\"api_keys\":[\"sk-second-00000001\",\"sk-third-00000002\"]");

    ch->id = 7;
    return ch;
}

static void test_channel_json__patch_changes_what_it_names(void **state)
{
    struct channel *ch = held();
    bool changed = true;
    struct err e;

    assert_int_equal(fixture_put(ch, "{}", 0, &changed, &e), 0);
    assert_false(changed);
    assert_int_equal(fixture_put(ch, "null", 0, &changed, &e), 0);
    assert_int_equal(fixture_put(ch, "{\"name\":null,\"enabled\":null,\"timeout_s\":30}", 0, &changed, &e), 0);
    assert_false(changed);
    assert_true(ch->enabled);
    assert_int_equal(fixture_put(ch, "{\"enabled\":false}", 0, &changed, &e), 0);
    assert_true(changed);
    assert_false(ch->enabled);
    assert_int_equal(fixture_put(ch, "{\"source_url\":null}", 0, &changed, &e), 0);
    assert_true(changed);
    assert_null(ch->source_url);
    assert_int_equal(fixture_put(ch, "{\"name\":\"\"}", 0, NULL, &e), ERR_RANGE);
    assert_string_equal(e.text, "name must be 1-128 chars");
    assert_string_equal(e.field, "name");
    assert_int_equal(fixture_put(ch, "{\"name\":\"other\",\"interval_min\":0}", 0, &changed, &e), ERR_RANGE);
    assert_string_equal(ch->name, "n"); /* all or nothing */
    channel_free(ch);
}

static void test_channel_json__mask_changes_nothing(void **state)
{
    struct channel *ch = held();
    struct buf b = BUF_INIT(1u << 16);
    struct json_out j;
    bool changed = true;
    struct err e;

    json_out_init(&j, &b);
    json_out_object(&j);
    channel_to_json(ch, &j, CHANNEL_SECRETS_MASKED);
    json_out_end(&j);
    assert_non_null(strstr(buf_cstr(&b), "\"api_key\":\"****6789\""));
    assert_null(strstr(buf_cstr(&b), "sk-"));
    /* the whole object, sent back as it was shown */
    assert_int_equal(fixture_put(ch, "{\"sort_order\":1}", 0, NULL, &e), 0);
    buf_clear(&b);
    json_out_init(&j, &b);
    json_out_object(&j);
    channel_to_json(ch, &j, CHANNEL_SECRETS_MASKED);
    json_out_end(&j);
    if (fixture_put(ch, buf_cstr(&b), CHANNEL_JSON_STRICT, &changed, &e) < 0)
        fail_msg("%s", e.text);
    assert_false(changed);
    assert_true(str_eq_c(secret_str(&ch->api_key), "sk-n-0123456789"));
    assert_true(str_eq_c(secret_str(&ch->api_keys[1]), "sk-third-00000002"));

    assert_int_equal(fixture_put(ch, "{\"api_keys\":[\"****0002\",\"fresh\"]}", 0, &changed, &e), 0);
    assert_true(changed);
    assert_true(str_eq_c(secret_str(&ch->api_keys[0]), "sk-third-00000002"));
    assert_true(str_eq_c(secret_str(&ch->api_keys[1]), "fresh"));
    /* a mask of something else is no key */
    assert_int_equal(fixture_put(ch, "{\"api_key\":\"****zzzz\"}", 0, NULL, &e), ERR_SYNTAX);
    assert_string_equal(e.text, "api_key is a masked key, not a key");
    assert_int_equal(fixture_put(ch, "{\"api_keys\":[\"****\",\"****\"]}", 0, NULL, &e), ERR_SYNTAX);
    assert_int_equal(fixture_put(ch, "{\"api_key\":\"sk-new\"}", 0, &changed, &e), 0);
    assert_true(changed);
    buf_release(&b);
    channel_free(ch);
}

/* Rows taken over from system 1 pass with the values they have. */
static void test_channel_json__imported_values_pass_again(void **state)
{
    struct channel *ch = held();
    bool changed = true;
    struct err e;

    xfree(ch->name);
    xfree(ch->base_url);
    ch->name = xstrdup(" team/a ");
    ch->base_url = xstrdup("h.example/v1");
    assert_int_equal(fixture_put(ch, "{\"name\":\" team/a \",\"base_url\":\"h.example/v1\"}", 0, &changed, &e), 0);
    assert_false(changed);
    assert_int_equal(fixture_put(ch, "{\"name\":\"team/b\"}", 0, NULL, &e), ERR_SYNTAX);
    channel_free(ch);
}

static void test_channel_json__only_some_rows(void **state)
{
    struct channel *ch = channel_new();
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct err e;

    assert_int_equal(fixture_put(ch, "{" GOOD ",\"visitor_channel_actions_enabled\":true,\"interval_min\":5,"
                                     "\"enabled\":\"junk\"}",
                                 CHANNEL_FIELD_VISITOR, NULL, &e), 0);
    assert_false(ch->visitor_channel_actions_enabled);
    assert_int_equal(ch->interval_min, 5);
    assert_int_equal(json_doc_parse(STR("{\"name\":\"x\",\"prompt\":\"p\",\"max_models\":null}"), 0, &doc, NULL), 0);
    assert_int_equal(channel_json_given(doc, CHANNEL_FIELD_ADVANCED), 1);
    assert_int_equal(channel_json_given(doc, 0), 2);
    channel_free(ch);
}

static void test_channel_json__strict_names_what_it_does_not_know(void **state)
{
    struct channel *ch = held();
    struct err e;

    assert_int_equal(fixture_put(ch, "{\"id\":7,\"created_at\":1.5,\"enabled\":true}", CHANNEL_JSON_STRICT, NULL, &e), 0);
    assert_int_equal(fixture_put(ch, "{\"enabledd\":true}", CHANNEL_JSON_STRICT, NULL, &e), ERR_SYNTAX);
    assert_string_equal(e.text, "unknown field 'enabledd'");
    assert_string_equal(e.field, "enabledd");
    channel_free(ch);
}

static void test_channel_json__writes_every_row(void **state)
{
    struct channel *ch = held();
    struct buf b = BUF_INIT(1u << 16);
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct json_out j;
    struct err e;

    assert_int_equal(fixture_put(ch, "{\"sort_order\":3,\"route_overrides\":{\"a\":\"skip\",\"b\":\"anthropic\"}}", 0, NULL, &e), 0);
    json_out_init(&j, &b);
    json_out_object(&j);
    channel_to_json(ch, &j, CHANNEL_SECRETS_CLEAR);
    json_out_end(&j);
    assert_false(j.failed);
    assert_int_equal(json_doc_parse(buf_str(&b), 0, &doc, &e), 0);
    assert_int_equal(json_object_size(doc), channel_field_count);
    assert_non_null(strstr(buf_cstr(&b), "\"route_overrides\":{\"a\":\"skip\",\"b\":\"anthropic\"}"));
    assert_non_null(strstr(buf_cstr(&b), "\"timeout_s\":30,"));
    assert_non_null(strstr(buf_cstr(&b), "\"user_agent\":null"));

    /* the export makes an equal channel */
    struct channel *other = channel_new();

    assert_int_equal(channel_from_json(other, doc, CHANNEL_JSON_STRICT, NULL, &e), 0);
    for (size_t i = 0; i < channel_field_count; i++)
        assert_true(channel_field_equal(&channel_fields[i], ch, other));
    buf_clear(&b);
    json_out_init(&j, &b);
    json_out_object(&j);
    channel_to_json(ch, &j, CHANNEL_SECRETS_OMITTED);
    json_out_end(&j);
    assert_null(strstr(buf_cstr(&b), "api_key"));
    buf_release(&b);
    channel_free(other);
    channel_free(ch);
}

static void test_channel_json__reads_stored_lists_leniently(void **state)
{
    struct channel_texts t = {NULL, 0};
    struct channel *ch = channel_new();

    assert_true(channel_texts_read(&t, STR("[\" a \",1,\"\",\"a\",\"b\"]")));
    assert_int_equal(t.count, 2);
    assert_string_equal(t.items[0], "a");
    assert_false(channel_texts_read(&t, STR("[\"a\"")));
    assert_int_equal(t.count, 0);
    assert_false(channel_texts_read(&t, STR("{}")));
    assert_false(channel_texts_read(&t, STR_NONE));
    assert_true(channel_texts_read(&t, STR("[]")));
    assert_true(channel_routes_read(ch, STR("{\"a\":\"gemini\",\"b\":\"nonsense\",\"c\":5}")));
    assert_int_equal(ch->route_models.count, 1);
    assert_false(channel_routes_read(ch, STR("[]")));
    assert_int_equal(ch->route_models.count, 0);
    channel_free(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_json__required_come_first),
        cmocka_unit_test(test_channel_json__texts_of_the_table),
        cmocka_unit_test(test_channel_json__base_url_has_scheme_and_host),
        cmocka_unit_test(test_channel_json__lengths_are_code_points),
        cmocka_unit_test(test_channel_json__long_values_are_refused),
        cmocka_unit_test(test_channel_json__lists_have_ceilings),
        cmocka_unit_test(test_channel_json__first_row_wins),
        cmocka_unit_test(test_channel_json__stores_trimmed),
        cmocka_unit_test(test_channel_json__patch_changes_what_it_names),
        cmocka_unit_test(test_channel_json__mask_changes_nothing),
        cmocka_unit_test(test_channel_json__imported_values_pass_again),
        cmocka_unit_test(test_channel_json__only_some_rows),
        cmocka_unit_test(test_channel_json__strict_names_what_it_does_not_know),
        cmocka_unit_test(test_channel_json__writes_every_row),
        cmocka_unit_test(test_channel_json__reads_stored_lists_leniently),
    };

    return cmocka_run_group_tests(tests, fixture_global, NULL);
}
