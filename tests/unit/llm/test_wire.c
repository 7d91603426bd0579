/* test_wire.c -- bodies we send, streamed answers, usage and model lists of each format (spec 1
 * sections 3.3, 3.5; spec 2 sections A1, A3 to A6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/wire.h"

static void expect_body(enum protocol p, bool is_stream, const char *want)
{
    struct buf b = BUF_INIT(65536);

    assert_int_equal(wire_of(p)->probe_body(&b, STR("gpt \"4\""), STR("hi\n"), is_stream), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_wire__probe_bodies_are_those_of_the_table(void **state)
{
    const char *chat =
        "{\"model\":\"gpt \\\"4\\\"\",\"stream\":false,\"max_tokens\":50,\"messages\":"
        "[{\"role\":\"user\",\"content\":\"hi\\n\"}]}";

    expect_body(PROTOCOL_OPENAI_CHAT, false, chat);
    expect_body(PROTOCOL_ANTHROPIC, false, chat);
    expect_body(PROTOCOL_OPENAI_CHAT, true,
                "{\"model\":\"gpt \\\"4\\\"\",\"stream\":true,\"max_tokens\":50,\"messages\":"
                "[{\"role\":\"user\",\"content\":\"hi\\n\"}]}");
    expect_body(
        PROTOCOL_OPENAI_RESPONSES, false,
        "{\"model\":\"gpt \\\"4\\\"\",\"stream\":false,\"input\":[{\"role\":\"user\",\"content\":"
        "[{\"type\":\"input_text\",\"text\":\"hi\\n\"}]}]}");
    expect_body(PROTOCOL_GEMINI, false,
                "{\"contents\":[{\"parts\":[{\"text\":\"hi\\n\"}]}],\"generationConfig\":"
                "{\"maxOutputTokens\":10}}");
    assert_null(wire_of(PROTOCOL_NONE));
}

static void test_wire__a_body_that_does_not_fit_is_an_error(void **state)
{
    struct buf b = BUF_INIT(20);

    for (unsigned p = PROTOCOL_OPENAI_CHAT; p < PROTOCOLS; p++) {
        buf_clear(&b);
        assert_int_equal(wire_of((enum protocol)p)->probe_body(&b, STR("m"), STR("p"), false),
                         ERR_LIMIT);
    }
    buf_release(&b);
}

static void expect_headers(enum protocol p, struct str want)
{
    struct buf b = BUF_INIT(4096);

    assert_int_equal(wire_of(p)->probe_headers(&b, STR("sk-1"), STR("2025-09-29")), 0);
    assert_true(str_eq(buf_str(&b), want));
    buf_release(&b);
}

static void test_wire__headers_of_native_vendors(void **state)
{
    expect_headers(PROTOCOL_OPENAI_CHAT, STR_NONE);
    expect_headers(PROTOCOL_OPENAI_RESPONSES, STR_NONE);
    expect_headers(PROTOCOL_ANTHROPIC, STR("anthropic-version: 2025-09-29\0x-api-key: sk-1\0"));
    expect_headers(PROTOCOL_GEMINI, STR("x-goog-api-key: sk-1\0"));
}

/* ---- usage of whole answers ---- */

static void expect_usage(const struct wire_reply *r, struct usage want, enum usage_source source)
{
    assert_int_equal(r->usage.input, want.input);
    assert_int_equal(r->usage.cache_read, want.cache_read);
    assert_int_equal(r->usage.cache_write_5m, want.cache_write_5m);
    assert_int_equal(r->usage.cache_write_1h, want.cache_write_1h);
    assert_int_equal(r->usage.output, want.output);
    assert_int_equal(r->usage.reasoning, want.reasoning);
    assert_int_equal(r->usage.unsplit, want.unsplit);
    assert_int_equal(r->usage_source, source);
}

static void usage_case(enum protocol p, const char *body, struct usage want)
{
    struct wire_reply r;

    wire_of(p)->read_reply(str_of(body), true, &r);
    expect_usage(&r, want, USAGE_REPORTED);
}

static void test_wire__openai_input_holds_cache_and_output_holds_reasoning(void **state)
{
    usage_case(
        PROTOCOL_OPENAI_CHAT,
        "{\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,"
        "\"prompt_tokens_details\":{\"cached_tokens\":60,\"cache_write_tokens\":10,\"audio_"
        "tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":20}}}",
        (struct usage){
            .input = 30, .cache_read = 60, .cache_write_5m = 10, .output = 30, .reasoning = 20});
    /* xAI: reasoning stands outside completion_tokens, as the total shows */
    usage_case(PROTOCOL_OPENAI_CHAT,
               "{\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":5,\"total_tokens\":125,"
               "\"completion_tokens_details\":{\"reasoning_tokens\":20}}}",
               (struct usage){.input = 100, .output = 5, .reasoning = 20});
    usage_case(
        PROTOCOL_OPENAI_CHAT,
        "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\"prompt_cache_hit_tokens\":8,"
        "\"prompt_cache_miss_tokens\":2}}",
        (struct usage){.input = 2, .cache_read = 8, .output = 2});
    usage_case(PROTOCOL_OPENAI_CHAT, "{\"usage\":{\"total_tokens\":7}}",
               (struct usage){.unsplit = 7});
    usage_case(PROTOCOL_OPENAI_CHAT, "{\"usage\":{\"prompt_tokens\":3,\"total_tokens\":7}}",
               (struct usage){.input = 3, .unsplit = 4});
    usage_case(PROTOCOL_OPENAI_CHAT,
               "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"prompt_tokens_details\":"
               "{\"cached_tokens\":9},\"completion_tokens_details\":{\"reasoning_tokens\":4}}}",
               (struct usage){.cache_read = 9, .reasoning = 4}); /* nothing goes below 0 */
    usage_case(PROTOCOL_OPENAI_RESPONSES,
               "{\"usage\":{\"input_tokens\":75,\"input_tokens_details\":{\"cached_tokens\":25},"
               "\"output_tokens\":1186,\"output_tokens_details\":{\"reasoning_tokens\":1024},"
               "\"total_tokens\":1261}}",
               (struct usage){.input = 50, .cache_read = 25, .output = 162, .reasoning = 1024});
}

static void test_wire__anthropic_input_stands_beside_cache(void **state)
{
    usage_case(
        PROTOCOL_ANTHROPIC,
        "{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":300,"
        "\"cache_creation_input_tokens\":70,\"cache_creation\":{\"ephemeral_5m_input_tokens\":50,"
        "\"ephemeral_1h_input_tokens\":20},\"output_tokens\":40,\"output_tokens_details\":"
        "{\"thinking_tokens\":15},\"service_tier\":\"standard\"}}",
        (struct usage){.input = 10,
                       .cache_read = 300,
                       .cache_write_5m = 50,
                       .cache_write_1h = 20,
                       .output = 25,
                       .reasoning = 15});
    usage_case(
        PROTOCOL_ANTHROPIC,
        "{\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":70,\"output_tokens\":4}}",
        (struct usage){.input = 10, .cache_write_5m = 70, .output = 4});
}

static void test_wire__gemini_thoughts_stand_outside(void **state)
{
    usage_case(PROTOCOL_GEMINI,
               "{\"usageMetadata\":{\"promptTokenCount\":20,\"cachedContentTokenCount\":5,"
               "\"toolUsePromptTokenCount\":3,\"candidatesTokenCount\":7,\"thoughtsTokenCount\":11,"
               "\"totalTokenCount\":41}}",
               (struct usage){.input = 18, .cache_read = 5, .output = 7, .reasoning = 11});
    usage_case(PROTOCOL_GEMINI, /* some models count thoughts among the candidates */
               "{\"usageMetadata\":{\"promptTokenCount\":20,\"candidatesTokenCount\":18,"
               "\"thoughtsTokenCount\":11,\"totalTokenCount\":38}}",
               (struct usage){.input = 20, .output = 7, .reasoning = 11});
    usage_case(PROTOCOL_GEMINI,
               "{\"usageMetadata\":{\"promptTokenCount\":15,\"totalTokenCount\":22,"
               "\"thoughtsTokenCount\":7}}",
               (struct usage){.input = 15, .reasoning = 7});
}

static void test_wire__impossible_counters_are_absent(void **state)
{
    static const char *const bodies[] = {
        "{\"usage\":{}}",
        "{\"usage\":null}",
        "{\"usage\":[]}",
        "{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1.5,\"total_tokens\":\"9\"}}",
        "{\"usage\":{\"prompt_tokens\":1e99,\"completion_tokens\":9007199254740994}}",
    };
    struct wire_reply r;

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        wire_of(PROTOCOL_OPENAI_CHAT)->read_reply(str_of(bodies[i]), true, &r);
        expect_usage(&r, (struct usage){.input = 0}, USAGE_NONE);
    }
}

/* ---- streams ---- */

/* Events, NULL-terminated; returns the index of the first that carried text, -1 = none. */
static int stream(enum protocol p, const char *const *events, struct wire_reply *r)
{
    int first = -1;

    *r = (struct wire_reply){.usage_source = USAGE_NONE};
    for (int i = 0; events[i]; i++)
        if (wire_of(p)->read_event(STR_NONE, str_of(events[i]), r) && first < 0)
            first = i;
    wire_end_stream(r);
    return first;
}

static void test_wire__chat_stream(void **state)
{
    static const char *const events[] = {
        "{\"id\":\"x\",\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{\"delta\":{\"role\":"
        "\"assistant\",\"content\":\"\"},"
        "\"finish_reason\":null}],\"usage\":null}",
        "{\"choices\":[{\"delta\":{\"content\":\" Hello\"},\"finish_reason\":null}]}",
        "{\"choices\":[{\"delta\":{\"content\":\" w\\u00f6rld \"}}]}",
        "{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}",
        "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":"
        "11}}",
        "[DONE]",
        NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_OPENAI_CHAT, events, &r), 1);
    assert_string_equal(r.text, "Hello w\xc3\xb6rld");
    assert_string_equal(r.model, "gpt-4o-2024-08-06");
    assert_true(r.is_finished && r.is_truncated && r.is_json);
    assert_string_equal(r.error, "");
    expect_usage(&r, (struct usage){.input = 9, .output = 2}, USAGE_REPORTED);
}

static void test_wire__chat_stream_of_compatible_servers(void **state)
{
    static const char *const reasoning[] = {
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\"let me think\"}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"\\n\"}}]}",
        "{\"choices\":[{\"delta\":{\"content\":\"four\"}}],\"x_groq\":{\"usage\":{\"prompt_"
        "tokens\":1,"
        "\"completion_tokens\":2}}}",
        NULL};
    static const char *const only_reasoning[] = {
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\"let me \"}}]}",
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\"think\",\"content\":\" \"}}]}", NULL};
    static const char *const tools[] = {
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]},\"usage\":{\"prompt_tokens\":4,"
        "\"completion_tokens\":0}}]}",
        NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_OPENAI_CHAT, reasoning, &r), 0);
    assert_string_equal(r.text, "four");
    assert_false(r.is_finished);
    expect_usage(&r, (struct usage){.input = 1, .output = 2}, USAGE_REPORTED);
    assert_int_equal(stream(PROTOCOL_OPENAI_CHAT, only_reasoning, &r), 0);
    assert_string_equal(r.text, "let me think");
    assert_int_equal(stream(PROTOCOL_OPENAI_CHAT, tools, &r), 0);
    assert_string_equal(r.text, "");
    expect_usage(&r, (struct usage){.input = 4}, USAGE_REPORTED);
}

static void test_wire__errors_inside_streams(void **state)
{
    static const char *const chat[] = {
        "{\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":null}}", NULL};
    static const char *const messages[] = {
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}",
        NULL};
    static const char *const failed[] = {
        "{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\","
        "\"message\":\"too fast\"},\"usage\":null}}",
        NULL};
    static const char *const error[] = {
        "{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\","
        "\"param\":null,\"sequence_number\":3}",
        NULL};
    static const char *const gemini[] = {
        "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}", NULL};
    struct wire_reply r;

    stream(PROTOCOL_OPENAI_CHAT, chat, &r);
    assert_string_equal(r.error, "boom");
    assert_string_equal(r.error_code, "server_error");
    stream(PROTOCOL_ANTHROPIC, messages, &r);
    assert_string_equal(r.error, "Overloaded");
    assert_string_equal(r.error_code, "overloaded_error");
    stream(PROTOCOL_OPENAI_RESPONSES, failed, &r);
    assert_string_equal(r.error, "too fast");
    assert_string_equal(r.error_code, "rate_limit_exceeded");
    assert_true(r.is_finished);
    stream(PROTOCOL_OPENAI_RESPONSES, error, &r);
    assert_string_equal(r.error, "m");
    assert_string_equal(r.error_code, "server_error");
    stream(PROTOCOL_GEMINI, gemini, &r);
    assert_string_equal(r.error, "busy");
    assert_string_equal(r.error_code, "UNAVAILABLE");
}

static void test_wire__responses_stream(void **state)
{
    static const char *const events[] = {
        "{\"type\":\"response.created\",\"response\":{\"model\":\"gpt-5.1\",\"usage\":null,"
        "\"output\":[]}}",
        "{\"type\":\"response.output_item.added\",\"item\":{\"type\":\"message\"}}",
        "{\"type\":\"response.output_text.delta\",\"delta\":\"I am \"}",
        "{\"type\":\"response.output_text.delta\",\"delta\":\"gpt\"}",
        "{\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5.1-2025\",\"output\":[{"
        "\"content\":"
        "[{\"type\":\"output_text\",\"text\":\"I am "
        "gpt\"}]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":3,"
        "\"total_tokens\":8}}}",
        NULL};
    static const char *const incomplete[] = {
        "{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}",
        "{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":"
        "\"max_output_tokens\"},\"output\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":30}}"
        "}",
        NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_OPENAI_RESPONSES, events, &r), 2);
    assert_string_equal(r.text, "I am gpt");
    assert_string_equal(r.model, "gpt-5.1-2025");
    assert_true(r.is_finished && !r.is_truncated);
    expect_usage(&r, (struct usage){.input = 5, .output = 3}, USAGE_REPORTED);
    assert_int_equal(stream(PROTOCOL_OPENAI_RESPONSES, incomplete, &r), 0);
    assert_true(r.is_finished && r.is_truncated);
    assert_string_equal(r.text, "");
}

static void test_wire__anthropic_stream_replaces_and_never_adds(void **state)
{
    static const char *const events[] = {
        "{\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_"
        "tokens\":10,"
        "\"cache_creation_input_tokens\":30,\"cache_creation\":{\"ephemeral_5m_input_tokens\":10,"
        "\"ephemeral_1h_input_tokens\":20},\"cache_read_input_tokens\":5,\"output_tokens\":1}}}",
        "{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"thinking\",\"thinking\":"
        "\"\"}}",
        "{\"type\":\"ping\"}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":"
        "\"hm\"}}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{"
        "\"output_tokens\":40,"
        "\"input_tokens\":0,\"cache_creation_input_tokens\":30,\"output_tokens_details\":{"
        "\"thinking_tokens\":12}}}",
        "{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":50}}",
        "{\"type\":\"message_stop\"}",
        NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_ANTHROPIC, events, &r), 3);
    assert_string_equal(r.text, "Hi");
    assert_string_equal(r.model, "claude-x");
    assert_true(r.is_finished && r.is_truncated);
    expect_usage(&r,
                 (struct usage){.input = 10,
                                .cache_read = 5,
                                .cache_write_5m = 10,
                                .cache_write_1h = 20,
                                .output = 38,
                                .reasoning = 12},
                 USAGE_REPORTED);
}

static void test_wire__anthropic_stream_cut_is_partial(void **state)
{
    static const char *const events[] = {"{\"type\":\"message_start\",\"message\":{\"usage\":{"
                                         "\"input_tokens\":10,\"output_tokens\":1}}}",
                                         NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_ANTHROPIC, events, &r), -1);
    assert_false(r.is_finished);
    expect_usage(&r, (struct usage){.input = 10, .output = 1}, USAGE_PARTIAL);
}

static void test_wire__gemini_stream_last_usage_wins(void **state)
{
    static const char *const events[] = {
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"thinking\",\"thought\":true}]}}],"
        "\"usageMetadata\":"
        "{\"promptTokenCount\":4,\"totalTokenCount\":4},\"modelVersion\":\"gemini-2.5-pro\"}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"I am \"},{\"text\":\"Gem\"}]}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"ini.\\n\"}]},\"finishReason\":"
        "\"STOP\"}],"
        "\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":3,"
        "\"thoughtsTokenCount\":2,"
        "\"totalTokenCount\":9}}",
        NULL};
    struct wire_reply r;

    assert_int_equal(stream(PROTOCOL_GEMINI, events, &r), 0);
    assert_string_equal(r.text, "I am Gemini.");
    assert_string_equal(r.model, "gemini-2.5-pro");
    assert_true(r.is_finished && !r.is_truncated);
    expect_usage(&r, (struct usage){.input = 4, .output = 3, .reasoning = 2}, USAGE_REPORTED);
}

static void test_wire__garbage_events_change_nothing(void **state)
{
    static const char *const garbage[] = {"",
                                          "{",
                                          "null",
                                          "[]",
                                          "\"x\"",
                                          "5",
                                          "{\"choices\":5}",
                                          "{\"choices\":[5]}",
                                          "{\"choices\":[{\"delta\":[]}]}",
                                          "{\"type\":5}",
                                          "{\"type\":\"message_delta\",\"usage\":[]}",
                                          "{\"candidates\":{}}",
                                          "<html>",
                                          NULL};
    struct wire_reply r;

    for (unsigned p = PROTOCOL_OPENAI_CHAT; p < PROTOCOLS; p++) {
        assert_int_equal(stream((enum protocol)p, garbage, &r), -1);
        assert_string_equal(r.text, "");
        assert_string_equal(r.error, "");
        assert_false(r.is_finished);
        assert_int_equal(r.usage_source, USAGE_NONE);
    }
}

static void test_wire__stream_text_is_cut_on_a_character(void **state)
{
    struct wire_reply r = {.usage_source = USAGE_NONE};

    for (int i = 0; i < 300; i++)
        assert_true(wire_of(PROTOCOL_OPENAI_CHAT)
                        ->read_event(STR_NONE,
                                     STR("{\"choices\":[{\"delta\":{\"content\":\"\\u4e2d\"}}]}"),
                                     &r));
    (void)wire_of(PROTOCOL_OPENAI_CHAT)
        ->read_event(STR_NONE, STR("{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"), &r);
    wire_end_stream(&r);
    assert_int_equal(strlen(r.text), 498); /* 166 characters; the "a" would fit but comes later */
    assert_true(str_is_utf8(str_of(r.text)));
}

/* ---- model lists ---- */

static void add_id(void *ctx, struct str id)
{
    buf_put(ctx, id);
    buf_put(ctx, STR("|"));
}

static void expect_models(const char *body, int rc, const char *want)
{
    struct buf b = BUF_INIT(65536);
    struct err err = {.code = 0};

    assert_int_equal(wire_read_models(str_of(body), add_id, &b, &err), rc);
    assert_string_equal(rc == 0 ? buf_cstr(&b) : err.text, want);
    buf_release(&b);
}

static void test_wire__model_lists(void **state)
{
    expect_models("{\"object\":\"list\",\"data\":[{\"id\":\"b\"},{\"id\":\"a\",\"owned_by\":\"x\"},"
                  "{\"id\":\"b\"}]}",
                  0, "b|a|b|");
    expect_models(
        "{\"data\":[{\"id\":5},7,null,{\"name\":\"x\"},{\"id\":\"\"},{\"id\":\"<img>\\u0007\"}]}",
        0, "<img>\x07|");
    expect_models("[]", ERR_SYNTAX, "models response must be JSON object");
    expect_models("", ERR_SYNTAX, "models response must be JSON object");
    expect_models("<html>", ERR_SYNTAX, "models response must be JSON object");
    expect_models("{\"data\":[{\"id\":\"a\"}]", ERR_SYNTAX, "models response must be JSON object");
    expect_models("{\"models\":[]}", ERR_SYNTAX, "models response missing data[]");
    expect_models("{\"data\":{}}", ERR_SYNTAX, "models response missing data[]");
    expect_models("{\"data\":[]}", ERR_SYNTAX, "models list is empty");
    expect_models("{\"data\":[{\"id\":null}]}", ERR_SYNTAX, "models list is empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire__probe_bodies_are_those_of_the_table),
        cmocka_unit_test(test_wire__a_body_that_does_not_fit_is_an_error),
        cmocka_unit_test(test_wire__headers_of_native_vendors),
        cmocka_unit_test(test_wire__openai_input_holds_cache_and_output_holds_reasoning),
        cmocka_unit_test(test_wire__anthropic_input_stands_beside_cache),
        cmocka_unit_test(test_wire__gemini_thoughts_stand_outside),
        cmocka_unit_test(test_wire__impossible_counters_are_absent),
        cmocka_unit_test(test_wire__chat_stream),
        cmocka_unit_test(test_wire__chat_stream_of_compatible_servers),
        cmocka_unit_test(test_wire__errors_inside_streams),
        cmocka_unit_test(test_wire__responses_stream),
        cmocka_unit_test(test_wire__anthropic_stream_replaces_and_never_adds),
        cmocka_unit_test(test_wire__anthropic_stream_cut_is_partial),
        cmocka_unit_test(test_wire__gemini_stream_last_usage_wins),
        cmocka_unit_test(test_wire__garbage_events_change_nothing),
        cmocka_unit_test(test_wire__stream_text_is_cut_on_a_character),
        cmocka_unit_test(test_wire__model_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
