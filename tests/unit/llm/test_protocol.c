/* test_protocol.c -- spec 1 section 3.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/protocol.h"

static void test_protocol__routes_models_by_the_table(void **state)
{
    static const struct {
        const char *model, *route;
    } rows[] = {
        {"anthropic/claude-x", "anthropic"},
        {"a/b/claude-x", "anthropic"},
        {"claude/gpt-4o", "chat"},
        {"gpt-5", "chat"},
        {"gpt-5.1", "responses"},
        {"gpt-5.10", "responses"},
        {"GPT-5.3-mini", "responses"},
        {"gpt-5.4", "chat"},
        {"gpt-5x1", "chat"},
        {"models/gemini-2.5-pro", "gemini"},
        {"gemini-embedding-001", "gemini"},
        {"text-embedding-3-small", "chat"},
        {"Claude-gemini", "anthropic"},
        {"gpt-5-codex", "responses"},
        {"", "chat"},
        {"claude/", "chat"},
        {"gpt-5.", "chat"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(protocol_route(protocol_of_model(str_of(rows[i].model))),
                            rows[i].route);
}

static void test_protocol__names_go_both_ways(void **state)
{
    enum protocol p;

    for (unsigned i = 0; i < PROTOCOLS; i++) {
        assert_int_equal(protocol_parse_route(str_of(protocol_route((enum protocol)i)), &p), 0);
        assert_int_equal(p, i);
    }
    assert_true(protocol_parse_route(STR("messages"), &p) < 0);
    assert_true(protocol_parse_route(STR(""), &p) < 0);
    assert_string_equal(protocol_endpoint(PROTOCOL_ANTHROPIC), "messages");
    assert_string_equal(protocol_family(PROTOCOL_OPENAI_RESPONSES), "openai");
    assert_string_equal(protocol_name(PROTOCOL_OPENAI_CHAT), "openai_chat");
}

static void test_protocol__knows_what_no_chat_can_test(void **state)
{
    static const char *const yes[] = {"text-embedding-3-small",
                                      "gemini-embedding-001",
                                      "bge-m3",
                                      "BAAI/bge-large-zh",
                                      "tts-1-hd",
                                      "whisper-1",
                                      "dall-e-3",
                                      "gpt-image-1",
                                      "omni-moderation-latest",
                                      "jina-reranker-v2",
                                      "sora-2",
                                      "veo-3.0",
                                      "black-forest/flux-pro",
                                      "gpt-4o-transcribe",
                                      "mj_imagine"};
    static const char *const no[] = {"gpt-4o",      "claude-opus-4", "gemini-2.5-pro",
                                     "veolia-chat", "deepseek-r1",   "imagine-chat",
                                     "fluxion",     "qwen-vl-max"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!protocol_is_unprobeable(str_of(yes[i])))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (protocol_is_unprobeable(str_of(no[i])))
            fail_msg("%s", no[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol__routes_models_by_the_table),
        cmocka_unit_test(test_protocol__names_go_both_ways),
        cmocka_unit_test(test_protocol__knows_what_no_chat_can_test),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
