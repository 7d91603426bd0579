/* test_channel.c -- channels as objects, and what they say about a model. */
#include "catalog_fixture.h"

static void test_channel__new_has_the_defaults(void **state)
{
    struct channel *ch = channel_new();

    assert_string_equal(ch->name, "");
    assert_string_equal(ch->prompt, "What is the exact model identifier (model string) you are "
                                    "using for this chat/session?");
    assert_string_equal(ch->anthropic_version, "2025-09-29");
    assert_int_equal(ch->interval_min, 30);
    assert_true(ch->timeout_s == 30.0 && ch->first_byte_timeout_s == 300 && ch->idle_timeout_s == 300);
    assert_int_equal(ch->max_models, 0);
    assert_int_equal(ch->sort_order, 0);
    assert_true(ch->enabled && ch->lenient);
    assert_false(ch->verify_ssl || ch->public || ch->visitor_channel_actions_enabled);
    assert_false(ch->skip_unprobeable || ch->stream_probe);
    assert_null(ch->source_url);
    assert_null(ch->user_agent);
    assert_null(ch->proxy_url);
    channel_free(ch);
    channel_free(NULL);
}

/* Every default that the table states is the one a new channel has. */
static void test_channel__table_tells_the_true_defaults(void **state)
{
    struct channel *a = channel_new(), *b = channel_new();

    a->id = b->id = 1; /* not new: required members may be absent */
    for (size_t i = 0; i < channel_field_count; i++) {
        const struct channel_field *f = &channel_fields[i];
        char json[512];
        struct err e;

        assert_non_null(f->help);
        assert_ptr_equal(channel_field_find(str_of(f->name)), f);
        if (!f->deflt)
            continue;
        snprintf(json, sizeof(json), "{\"%s\":%s}", f->name, f->deflt);
        if (fixture_put(b, json, 0, NULL, &e) < 0)
            fail_msg("%s: %s", f->name, e.text);
        if (!channel_field_equal(f, a, b))
            fail_msg("default of %s", f->name);
    }
    assert_null(channel_field_find(STR("nonsense")));
    channel_free(a);
    channel_free(b);
}

static void test_channel__default_interval_is_set_once(void **state)
{
    channel_set_default_interval(7);

    struct channel *ch = channel_new();

    assert_int_equal(ch->interval_min, 7);
    channel_free(ch);
    channel_set_default_interval(30);
}

static void test_channel__dup_shares_nothing(void **state)
{
    struct channel *a = fixture_channel(
        "a", "\"api_keys\":[\"k1\",\"k2\"],\"selected_models\":[\"m\"],\"tags\":[\"t\"],"
             "\"route_overrides\":{\"m\":\"gemini\"},\"source_url\":\"https://s/\","
             "\"user_agent\":\"u\",\"proxy_url\":\"socks5://p:1\"");
    struct channel *b = channel_dup(a);

    for (size_t i = 0; i < channel_field_count; i++)
        assert_true(channel_field_equal(&channel_fields[i], a, b));
    channel_free(a);
    assert_string_equal(b->name, "a");
    assert_string_equal(b->selected_models.items[0], "m");
    assert_int_equal(b->route_protocols[0], PROTOCOL_GEMINI);
    assert_true(str_eq_c(secret_str(&b->api_keys[1]), "k2"));
    channel_free(b);
}

static void test_channel__lives_until_the_last_reference(void **state)
{
    struct channel *a = fixture_channel("a", "");
    const struct channel *again = channel_ref(a);

    channel_free(a);
    assert_string_equal(again->name, "a");
    channel_free(again);
}

static void test_channel__route_of_a_model(void **state)
{
    struct channel *ch = fixture_channel(
        "a", "\"route_overrides\":{\"gpt-4o\":\"responses\",\"claude-x\":\"skip\","
             "\"text-embedding-3-small\":\"chat\"}");

    assert_int_equal(channel_route(ch, STR("gpt-4o")), PROTOCOL_OPENAI_RESPONSES);
    assert_int_equal(channel_route(ch, STR("claude-x")), PROTOCOL_NONE);
    assert_int_equal(channel_route(ch, STR("claude-y")), PROTOCOL_ANTHROPIC);
    assert_int_equal(channel_route(ch, STR("gpt-5")), PROTOCOL_OPENAI_CHAT);
    assert_int_equal(channel_route(ch, STR("text-embedding-3-large")), PROTOCOL_OPENAI_CHAT);
    ch->skip_unprobeable = true;
    assert_int_equal(channel_route(ch, STR("text-embedding-3-large")), PROTOCOL_NONE);
    /* what the admin says stands above what the name says */
    assert_int_equal(channel_route(ch, STR("text-embedding-3-small")), PROTOCOL_OPENAI_CHAT);
    channel_free(ch);
}

static void test_channel__empty_selection_is_all(void **state)
{
    struct channel *ch = fixture_channel("a", "");
    struct err e;

    assert_true(channel_is_selected(ch, STR("x")));
    assert_int_equal(fixture_put(ch, "{\"selected_models\":[\"x\"]}", CHANNEL_FIELD_ADVANCED, NULL, &e), ERR_SYNTAX);
    ch->id = 1;
    assert_int_equal(fixture_put(ch, "{\"selected_models\":[\"x\"]}", 0, NULL, &e), 0);
    assert_true(channel_is_selected(ch, STR("x")));
    assert_false(channel_is_selected(ch, STR("X")));
    assert_false(channel_is_selected(ch, STR("xy")));
    channel_free(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel__new_has_the_defaults),
        cmocka_unit_test(test_channel__table_tells_the_true_defaults),
        cmocka_unit_test(test_channel__default_interval_is_set_once),
        cmocka_unit_test(test_channel__dup_shares_nothing),
        cmocka_unit_test(test_channel__lives_until_the_last_reference),
        cmocka_unit_test(test_channel__route_of_a_model),
        cmocka_unit_test(test_channel__empty_selection_is_all),
    };

    return cmocka_run_group_tests(tests, fixture_global, NULL);
}
