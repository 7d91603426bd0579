/* test_endpoint.c -- spec 1 section 3.2, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/endpoint.h"

static void expect_base(const char *in, const char *want)
{
    struct buf b = BUF_INIT(4096);

    assert_int_equal(endpoint_base(str_of(in), &b), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_endpoint__base_of_each_spelling(void **state)
{
    expect_base("https://h", "https://h");
    expect_base("https://h/", "https://h");
    expect_base("https://h/v1", "https://h");
    expect_base("https://h/V1/", "https://h");
    expect_base("https://h/v1//", "https://h");
    expect_base("https://h//v1", "https://h");
    expect_base("  https://h/api/v1 \n", "https://h/api");
    expect_base("https://h/v1/v1", "https://h/v1");
    expect_base("https://h/xv1", "https://h/xv1");
    expect_base("https://h/v1beta", "https://h/v1beta");
    expect_base("h.example/v1", "h.example");
    expect_base("https://h/v1?x=1", "https://h");
    expect_base("https://h/v1/#f?x", "https://h");
    expect_base("http://127.0.0.1:3000/v1/", "http://127.0.0.1:3000");
    expect_base("https://v1", "https://v1");
    expect_base("https://v1/", "https://v1");
    expect_base("https://v1/v1", "https://v1");
    expect_base("", "");
    expect_base("/", "");
}

static void expect_generate(enum protocol p, const char *model, bool is_stream, const char *want)
{
    struct buf b = BUF_INIT(4096);

    assert_int_equal(endpoint_generate(STR("https://h/v1"), p, str_of(model), is_stream, &b), 0);
    assert_string_equal(buf_cstr(&b), want);
    buf_release(&b);
}

static void test_endpoint__address_of_each_protocol(void **state)
{
    expect_generate(PROTOCOL_OPENAI_CHAT, "m", false, "https://h/v1/chat/completions");
    expect_generate(PROTOCOL_OPENAI_RESPONSES, "m", true, "https://h/v1/responses");
    expect_generate(PROTOCOL_ANTHROPIC, "m", false, "https://h/v1/messages");
    expect_generate(PROTOCOL_GEMINI, "gemini-2.5-pro", false,
                    "https://h/v1beta/models/gemini-2.5-pro:generateContent");
    expect_generate(PROTOCOL_GEMINI, "gemini-2.5-pro", true,
                    "https://h/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
}

static void test_endpoint__encodes_each_segment_of_a_model(void **state)
{
    expect_generate(PROTOCOL_GEMINI, "models/a b?#%", false,
                    "https://h/v1beta/models/models/a%20b%3F%23%25:generateContent");
    expect_generate(PROTOCOL_GEMINI, "a/../../x", false,
                    "https://h/v1beta/models/a/%2E%2E/%2E%2E/x:generateContent");
    expect_generate(PROTOCOL_GEMINI, "\xe4\xb8\xad\n", false,
                    "https://h/v1beta/models/%E4%B8%AD%0A:generateContent");
}

static void test_endpoint__models(void **state)
{
    struct buf b = BUF_INIT(4096);

    assert_int_equal(endpoint_models(STR("http://127.0.0.1:8080/v1"), &b), 0);
    assert_string_equal(buf_cstr(&b), "http://127.0.0.1:8080/v1/models");
    buf_release(&b);
}

static void test_endpoint__adds_nothing_on_failure(void **state)
{
    struct buf b = BUF_INIT(20);

    assert_int_equal(buf_add_str(&b, STR("x")), 0);
    assert_int_equal(endpoint_models(STR("https://h.example"), &b), ERR_LIMIT);
    assert_int_equal(endpoint_generate(STR("https://h"), PROTOCOL_NONE, STR("m"), false, &b),
                     ERR_NOTFOUND);
    assert_string_equal(buf_cstr(&b), "x");
    assert_int_equal(buf_len(&b), 1);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint__base_of_each_spelling),
        cmocka_unit_test(test_endpoint__address_of_each_protocol),
        cmocka_unit_test(test_endpoint__encodes_each_segment_of_a_model),
        cmocka_unit_test(test_endpoint__models),
        cmocka_unit_test(test_endpoint__adds_nothing_on_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
