/* test_wire_verdict.c -- spec 1 section 3.6: recorded shapes of OpenAI, Anthropic, Gemini and
 * one-api relays, the outcome and the error text of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/wire.h"

struct row {
    enum protocol protocol;
    int status;
    const char *body;
    enum outcome outcome;
    const char *text, *error; /* NULL = not looked at */
};

#define CHAT PROTOCOL_OPENAI_CHAT
#define RESP PROTOCOL_OPENAI_RESPONSES
#define ANTH PROTOCOL_ANTHROPIC
#define GEMI PROTOCOL_GEMINI

static void run_row(const struct row *row, bool lenient, const char *what, size_t i)
{
    struct wire_reply r;
    char error[WIRE_ERROR_MAX];
    struct str body = str_of(row->body);
    enum outcome o;

    wire_of(row->protocol)->read_reply(body, lenient, &r);
    o = wire_judge(row->status, body, &r, lenient, error);
    if (o != row->outcome)
        fail_msg("%s %zu: %s, want %s (%s)", what, i, outcome_rows[o].name,
                 outcome_rows[row->outcome].name, error);
    if (row->text)
        assert_string_equal(r.text, row->text);
    assert_string_equal(error, row->error ? row->error : "");
}

static const struct row good_rows[] = {
    {CHAT, 200,
     "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,"
     "\"message\":"
     "{\"role\":\"assistant\",\"content\":\"  I am gpt-4o "
     "\\n\",\"refusal\":null},\"finish_reason\":\"stop\"}]}",
     OUTCOME_OK, "I am gpt-4o", NULL},
    {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":\" \",\"reasoning_content\":\"hm\"}}]}",
     OUTCOME_OK, "hm", NULL},
    {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"}}]}", OUTCOME_OK,
     "no", NULL},
    {CHAT, 200, "{\"choices\":[{\"message\":{},\"text\":\"old\"}]}", OUTCOME_OK, "old", NULL},
    {CHAT, 200, "{\"choices\":[{\"text\":\"old\"}]}", OUTCOME_OK, "old", NULL},
    /* a cut answer with text is an answer */
    {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"length\"}]}",
     OUTCOME_OK, "x", NULL},
    /* falsy `error` is none (the Python reading) */
    {CHAT, 200, "{\"error\":null,\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x",
     NULL},
    {CHAT, 200, "{\"error\":{},\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x",
     NULL},
    {CHAT, 200, "{\"error\":[ ],\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x",
     NULL},
    {CHAT, 200, "{\"error\":false,\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK,
     "x", NULL},
    {CHAT, 200, "{\"error\":0.0,\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x",
     NULL},
    {CHAT, 200, "{\"error\":\"\",\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x",
     NULL},
    {CHAT, 200,
     "{\"success\":true,\"message\":\"m\",\"code\":200,\"choices\":[{\"message\":{\"content\":"
     "\"x\"}}]}",
     OUTCOME_OK, "x", NULL},
    {CHAT, 200,
     "{\"success\":false,\"message\":\"\",\"code\":5,\"choices\":[{\"message\":{\"content\":\"x\"}}"
     "]}",
     OUTCOME_OK, "x", NULL},
    {ANTH, 200,
     "{\"type\":\"message\",\"model\":\"claude-x\",\"content\":[{\"type\":\"thinking\","
     "\"thinking\":\"t\"},"
     "{\"type\":\"text\",\"text\":\"I am "
     "Claude\"},{\"type\":\"text\",\"text\":\"more\"}],\"stop_reason\":\"end_turn\"}",
     OUTCOME_OK, "I am Claude", NULL},
    {GEMI, 200,
     "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"t\",\"thought\":"
     "true},{\"text\":\"Gemini\"}]},"
     "\"finishReason\":\"STOP\"}],\"modelVersion\":\"gemini-2.5\"}",
     OUTCOME_OK, "Gemini", NULL},
    {RESP, 200,
     "{\"object\":\"response\",\"error\":null,\"output\":[{\"type\":\"reasoning\",\"summary\":[]},{"
     "\"type\":\"message\","
     "\"content\":[{\"type\":\"other\",\"text\":\"no\"},{\"type\":\"output_text\",\"text\":\"yes\"}"
     "]}]}",
     OUTCOME_OK, "yes", NULL},
    {RESP, 200, "{\"output\":[{\"content\":[],\"text\":\"item\"}]}", OUTCOME_OK, "item", NULL},
};

static void test_wire_verdict__answers(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good_rows); i++) {
        run_row(&good_rows[i], true, "lenient", i);
        run_row(&good_rows[i], false, "strict", i);
    }
}

static const struct row bad_rows[] = {
    {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":\"\"}}]}", OUTCOME_EMPTY, "",
     "response parse failed: no readable text"},
    {CHAT, 200, "{}", OUTCOME_EMPTY, "", "response parse failed: no readable text"},
    {CHAT, 200, "", OUTCOME_EMPTY, "", "response parse failed: no readable text"},
    {CHAT, 200, "<html>Welcome</html>", OUTCOME_BAD_BODY, "",
     "response parse failed: no readable text"},
    {CHAT, 200, "[1]", OUTCOME_BAD_BODY, "", "response parse failed: no readable text"},
    {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]", OUTCOME_BAD_BODY, "",
     "response parse failed: no readable text"},
    {CHAT, 200, "{\"error\":\"out of order\",\"choices\":[{\"message\":{\"content\":\"x\"}}]}",
     OUTCOME_BODY_ERROR, NULL, "response error: out of order"},
    {CHAT, 200, "{\"error\":{\"message\":\"bad\",\"type\":\"t\",\"code\":null}}",
     OUTCOME_BODY_ERROR, NULL, "response error: bad"},
    {CHAT, 200, "{\"error\":{\"message\":\"\", \"n\" : [1, \"a b\"]}}", OUTCOME_BODY_ERROR, NULL,
     "response error: {\"message\":\"\",\"n\":[1,\"a b\"]}"},
    {CHAT, 200, "{\"error\":true}", OUTCOME_BODY_ERROR, NULL, "response error: true"},
    {CHAT, 200, "{\"error\":-1.5}", OUTCOME_BODY_ERROR, NULL, "response error: -1.5"},
    {CHAT, 200, "{\"error\":[1, 2]}", OUTCOME_BODY_ERROR, NULL, "response error: [1,2]"},
    {CHAT, 200, "{\"success\":false,\"message\":\"No permission\"}", OUTCOME_BODY_ERROR, NULL,
     "response error: No permission"},
    {CHAT, 200, "{\"code\":401,\"message\":\"who?\"}", OUTCOME_BODY_ERROR, NULL,
     "response error: [401] who?"},
    {CHAT, 200, "{\"code\":0,\"message\":\"ok\"}", OUTCOME_EMPTY, NULL,
     "response parse failed: no readable text"},
    {CHAT, 200, "{\"code\":200,\"message\":\"ok\"}", OUTCOME_EMPTY, NULL,
     "response parse failed: no readable text"},
    {CHAT, 200, "{\"code\":\"7\",\"message\":\"ok\"}", OUTCOME_EMPTY, NULL,
     "response parse failed: no readable text"},
    {ANTH, 200, "{\"content\":[{\"type\":\"tool_use\"}]}", OUTCOME_EMPTY, NULL,
     "response parse failed: no readable text"},
    {GEMI, 200, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}", OUTCOME_EMPTY, NULL,
     "response parse failed: no readable text"},
    /* failures by status */
    {CHAT, 401,
     "{\"error\":{\"message\":\"Incorrect API key "
     "provided\",\"type\":\"invalid_request_error\",\"code\":\"invalid_api_key\"}}",
     OUTCOME_AUTH, NULL, "HTTP 401: Incorrect API key provided"},
    {CHAT, 429,
     "{\"error\":{\"message\":\"You exceeded your current "
     "quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}",
     OUTCOME_QUOTA, NULL, "HTTP 429: You exceeded your current quota"},
    {CHAT, 429,
     "{\"error\":{\"message\":\"Rate limit "
     "reached\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
     OUTCOME_RATE_LIMITED, NULL, "HTTP 429: Rate limit reached"},
    {CHAT, 404,
     "{\"error\":{\"message\":\"The model `x` does not exist\",\"code\":\"model_not_found\"}}",
     OUTCOME_MODEL_UNKNOWN, NULL, "HTTP 404: The model `x` does not exist"},
    {CHAT, 503,
     "{\"error\":{\"message\":\"当前分组 default 下对于模型 x 无可用渠道 (request id: "
     "1)\",\"type\":\"new_api_error\"}}",
     OUTCOME_MODEL_UNKNOWN, NULL,
     "HTTP 503: 当前分组 default 下对于模型 x 无可用渠道 (request id: 1)"},
    {CHAT, 403,
     "{\"error\":{\"message\":\"用户额度不足\",\"type\":\"one_api_error\",\"code\":\"insufficient_"
     "user_quota\"}}",
     OUTCOME_QUOTA, NULL, "HTTP 403: 用户额度不足"},
    {CHAT, 401, "{\"success\":false,\"message\":\"无权进行此操作\"}", OUTCOME_AUTH, NULL,
     "HTTP 401: 无权进行此操作"},
    {CHAT, 400, "{\"code\":1210,\"message\":\"wrong parameter\"}", OUTCOME_BAD_REQUEST, NULL,
     "HTTP 400: [1210] wrong parameter"},
    {CHAT, 502, "<html>502 Bad Gateway</html>", OUTCOME_SERVER_ERROR, NULL,
     "HTTP 502: <html>502 Bad Gateway</html>"},
    {CHAT, 500, "", OUTCOME_SERVER_ERROR, NULL, "HTTP 500: unknown error"},
    {CHAT, 302, "", OUTCOME_UNEXPECTED_STATUS, NULL, "HTTP 302: unknown error"},
    {ANTH, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit "
     "balance is too low to access the API\"}}",
     OUTCOME_QUOTA, NULL, "HTTP 400: Your credit balance is too low to access the API"},
    {ANTH, 529,
     "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},"
     "\"request_id\":\"r\"}",
     OUTCOME_OVERLOADED, NULL, "HTTP 529: Overloaded"},
    {ANTH, 403,
     "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"region\"}}",
     OUTCOME_FORBIDDEN, NULL, "HTTP 403: region"},
    {GEMI, 400,
     "{\"error\":{\"code\":400,\"message\":\"API key not "
     "valid.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"type.googleapis.com/"
     "google.rpc.ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}]}}",
     OUTCOME_AUTH, NULL, "HTTP 400: API key not valid."},
    {GEMI, 429,
     "[{\n  \"error\": "
     "{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{"
     "\"violations\":[{\"quotaId\":\"GenerateRequestsPerMinute\"}]}]}}]",
     OUTCOME_RATE_LIMITED, NULL, "HTTP 429: Quota"},
    {GEMI, 429,
     "{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":"
     "[{\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}]}]}}",
     OUTCOME_QUOTA, NULL, "HTTP 429: Quota"},
};

static void test_wire_verdict__failures(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        run_row(&bad_rows[i], true, "lenient", i);
        run_row(&bad_rows[i], false, "strict", i);
    }
}

/* The extra success rules stand behind the flag. */
static void test_wire_verdict__lenient_rules(void **state)
{
    static const struct row lenient[] = {
        {CHAT, 201, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_OK, "x", NULL},
        {CHAT, 200,
         "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},\"b\",{"
         "\"type\":\"image\"},{\"text\":\" c\"}]}}]}",
         OUTCOME_OK, "ab c", NULL},
        {CHAT, 200,
         "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"length\"}],\"usage\":{"
         "\"prompt_tokens\":9,\"completion_tokens\":50,\"completion_tokens_details\":{\"reasoning_"
         "tokens\":50}}}",
         OUTCOME_TRUNCATED, "", NULL},
        {GEMI, 200,
         "{\"candidates\":[{\"content\":{\"role\":\"model\"},\"finishReason\":\"MAX_TOKENS\"}],"
         "\"usageMetadata\":{\"promptTokenCount\":15,\"thoughtsTokenCount\":7,\"totalTokenCount\":"
         "22}}",
         OUTCOME_TRUNCATED, "", NULL},
        {ANTH, 200,
         "{\"content\":[],\"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":1,\"output_"
         "tokens\":50}}",
         OUTCOME_TRUNCATED, "", NULL},
        {RESP, 200,
         "{\"output\":[],\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_"
         "tokens\"},\"usage\":{\"input_tokens\":1,\"output_tokens\":50}}",
         OUTCOME_TRUNCATED, "", NULL},
        {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"length\"}]}",
         OUTCOME_EMPTY, "", "response parse failed: no readable text"},
        {CHAT, 200,
         "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],\"usage\":{"
         "\"prompt_tokens\":9,\"completion_tokens\":50}}",
         OUTCOME_EMPTY, "", "response parse failed: no readable text"},
    };
    static const struct row strict[] = {
        {CHAT, 201, "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}", OUTCOME_UNEXPECTED_STATUS,
         NULL, "HTTP 201: {\"choices\":[{\"message\":{\"content\":\"x\"}}]}"},
        {CHAT, 200, "{\"choices\":[{\"message\":{\"content\":[\"b\"]}}]}", OUTCOME_EMPTY, "",
         "response parse failed: no readable text"},
        {CHAT, 200,
         "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"length\"}],\"usage\":{"
         "\"prompt_tokens\":9,\"completion_tokens\":50}}",
         OUTCOME_EMPTY, "", "response parse failed: no readable text"},
    };

    for (size_t i = 0; i < ARRAY_LEN(lenient); i++)
        run_row(&lenient[i], true, "lenient", i);
    for (size_t i = 0; i < ARRAY_LEN(strict); i++)
        run_row(&strict[i], false, "strict", i);
}

static void test_wire_verdict__texts_are_cut_on_a_character(void **state)
{
    struct buf b = BUF_INIT(65536);
    struct wire_reply r;
    char error[WIRE_ERROR_MAX];

    buf_put(&b, STR("{\"choices\":[{\"message\":{\"content\":\"  x"));
    for (int i = 0; i < 1000; i++)
        buf_put(&b, STR("\xe4\xb8\xad"));
    buf_put(&b, STR("\"}}]}"));
    wire_of(CHAT)->read_reply(buf_str(&b), true, &r);
    assert_int_equal(strlen(r.text), 499); /* 1 + 166 * 3; 500 would split a character */
    assert_true(str_is_utf8(str_of(r.text)));

    buf_clear(&b);
    buf_put(&b, STR("{\"error\":\""));
    for (int i = 0; i < 1000; i++)
        buf_put(&b, STR("\\u4e2d"));
    buf_put(&b, STR("\"}"));
    wire_of(CHAT)->read_reply(buf_str(&b), true, &r);
    assert_int_equal(wire_judge(500, buf_str(&b), &r, true, error), OUTCOME_SERVER_ERROR);
    assert_int_equal(strlen(error), strlen("HTTP 500: ") + 498);
    assert_true(str_is_utf8(str_of(error)));

    buf_clear(&b);
    for (int i = 0; i < 1000; i++)
        buf_put(&b, STR("\xff\x00\xc3"));
    wire_of(CHAT)->read_reply(buf_str(&b), true, &r);
    (void)wire_judge(500, buf_str(&b), &r, true, error);
    assert_true(str_is_utf8(str_of(error)));
    assert_int_equal(strlen(error), strlen("HTTP 500: ") + 498);
    buf_release(&b);
}

/* Blanks behind the text do not count against its length; blanks inside do. */
static void test_wire_verdict__text_is_trimmed_before_it_is_cut(void **state)
{
    struct buf b = BUF_INIT(65536);
    struct wire_reply r;

    buf_put(&b, STR("{\"choices\":[{\"message\":{\"content\":\"ab"));
    for (int i = 0; i < 1000; i++)
        buf_put(&b, STR(" "));
    buf_put(&b, STR("\"}}]}"));
    wire_of(CHAT)->read_reply(buf_str(&b), true, &r);
    assert_string_equal(r.text, "ab");
    buf_clear(&b);
    buf_put(&b, STR("{\"choices\":[{\"message\":{\"content\":\"ab"));
    for (int i = 0; i < 1000; i++)
        buf_put(&b, STR("\\n"));
    buf_put(&b, STR("c\"}}]}"));
    wire_of(CHAT)->read_reply(buf_str(&b), true, &r);
    assert_int_equal(strlen(r.text), 500);
    buf_release(&b);
}

static void test_wire_verdict__error_alone(void **state)
{
    struct wire_reply r;

    wire_read_error(STR("{\"error\":{\"code\":\"x\",\"type\":\"y\",\"message\":\"a\\u0000b\"}}"),
                    &r);
    assert_string_equal(r.error, "a\xef\xbf\xbd"
                                 "b");
    assert_string_equal(r.error_code, "x");
    wire_read_error(STR("nothing"), &r);
    assert_string_equal(r.error, "");
    assert_string_equal(r.error_code, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_verdict__answers),
        cmocka_unit_test(test_wire_verdict__failures),
        cmocka_unit_test(test_wire_verdict__lenient_rules),
        cmocka_unit_test(test_wire_verdict__texts_are_cut_on_a_character),
        cmocka_unit_test(test_wire_verdict__text_is_trimmed_before_it_is_cut),
        cmocka_unit_test(test_wire_verdict__error_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
