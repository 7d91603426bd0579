/* test_probe_one.c -- one exchange against an upstream of the test: what is sent, every way it can
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/probe_one.h"

#include "responder.h"

#define OK_CHAT                                                                                    \
    "{\"model\":\"m-2024\",\"choices\":[{\"message\":{\"content\":\"hello\"}}],\"usage\":{"        \
    "\"prompt_tokens\":5,\"completion_tokens\":2}}"

/* ---- the upstream ---- */

struct script {
    int status;
    const char *extra, *body; /* a JSON answer ... */
    const char *raw;          /* ... or bytes, then the connection closes */
    size_t raw_len;
    bool is_dripped, is_held; /* byte by byte; not closed */
    const char *second;       /* body of a 200 for the second request */
    /* what came last */
    char path[2048], head[8192], sent[8192];
};

static bool answer(struct responder *r, int fd, const struct responder_request *q)
{
    struct script *s = r->ctx;
    char byte;

    str_copy(s->path, sizeof(s->path), str_of(q->path));
    str_copy(s->head, sizeof(s->head), str_of(q->head));
    str_copy(s->sent, sizeof(s->sent), q->body);
    if (s->second && atomic_load(&r->requests) > 1)
        return responder_json(fd, 200, "", s->second);
    if (!s->raw)
        return responder_json(fd, s->status, s->extra ? s->extra : "", s->body);
    for (size_t i = 0; s->is_dripped && i < s->raw_len; i++)
        responder_send(fd, s->raw + i, 1);
    if (!s->is_dripped)
        responder_send(fd, s->raw, s->raw_len);
    if (s->is_held)
        (void)recv(fd, &byte, 1, 0); /* until the client leaves */
    return false;
}

/* ---- the probe ---- */

struct fixture {
    struct loop *loop;
    struct curl_client *curl;
    struct egress *egress;
    struct responder up;
    struct script script;
    struct channel *channel;
    struct probe_one_config cfg;
    struct probe_result result; /* texts below */
    char content[1024], error[2048], model[256], request_id[256];
    struct loop_msg msg;
    struct loop_timer timer;
    bool is_done, cancel_at_once;
};

static void on_done(void *ctx, struct probe_one *o, const struct probe_result *r)
{
    struct fixture *f = ctx;

    assert_false(f->is_done);
    f->is_done = true;
    f->result = *r;
    str_copy(f->content, sizeof(f->content), str_of(r->content));
    str_copy(f->error, sizeof(f->error), str_of(r->error));
    str_copy(f->model, sizeof(f->model), str_of(r->served_model));
    str_copy(f->request_id, sizeof(f->request_id), str_of(r->request_id));
    curl_client_free(f->curl);
    loop_stop(f->loop);
}

static void on_begin(struct loop_msg *m)
{
    struct fixture *f = container_of(m, struct fixture, msg);
    struct probe_one *o = probe_one_start(&f->cfg);

    assert_false(f->is_done); /* never inside start */
    if (f->cancel_at_once) {
        probe_one_cancel(o);
        curl_client_free(f->curl);
        loop_stop(f->loop);
    }
}

static void use_url(struct fixture *f, const char *url)
{
    xfree(f->channel->base_url);
    f->channel->base_url = xstrdup(url);
}

static void open_fixture(struct fixture *f, enum protocol p)
{
    struct curl_client_config cfg = {.max_connections = 4};
    char url[64];

    *f = (struct fixture){.cancel_at_once = false};
    f->loop = loop_new("test", 0);
    assert_int_equal(egress_new(NULL, 0, NULL, 0, &f->egress, NULL), 0);
    cfg.egress = f->egress;
    assert_int_equal(curl_client_new(f->loop, &cfg, &f->curl, NULL), 0);
    f->script = (struct script){.status = 200, .body = OK_CHAT};
    responder_start(&f->up, answer, &f->script);
    f->channel = channel_new();
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/", f->up.port);
    use_url(f, url);
    secret_release(&f->channel->api_key);
    f->channel->api_key = secret_dup(STR("sk-first"));
    f->channel->timeout_s = 5;
    f->cfg = (struct probe_one_config){.loop = f->loop,
                                       .curl = f->curl,
                                       .channel = f->channel,
                                       .model = "the model",
                                       .protocol = p,
                                       .user_agent = "Agent/1",
                                       .done = on_done,
                                       .ctx = f};
}

static void run(struct fixture *f)
{
    loop_post(f->loop, &f->msg, on_begin);
    loop_run(f->loop);
}

static void close_fixture(struct fixture *f)
{
    responder_stop(&f->up);
    loop_free(f->loop);
    channel_free(f->channel);
    egress_free(f->egress);
}

static void set_raw(struct fixture *f, const char *raw)
{
    f->script.raw = raw;
    f->script.raw_len = strlen(raw);
}

/* ---- what is sent ---- */

static void test_probe_one__sends_what_a_browser_like_client_would(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.script.extra = "X-Oneapi-Request-Id: r-77\r\n";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.script.path, "/v1/chat/completions");
    assert_non_null(strstr(f.script.head, "\r\nAuthorization: Bearer sk-first\r\n"));
    assert_non_null(strstr(f.script.head, "\r\nUser-Agent: Agent/1\r\n"));
    assert_non_null(strstr(f.script.head, "\r\nAccept: application/json, text/plain, */*\r\n"));
    assert_non_null(strstr(f.script.head, "\r\nAccept-Language: en-US,en;q=0.9"));
    assert_non_null(strstr(f.script.head, "\r\nContent-Type: application/json"));
    assert_null(strcasestr(f.script.head, "x-api-key"));
    assert_null(strcasestr(f.script.head, "Expect:"));
    assert_string_equal(
        f.script.sent,
        "{\"model\":\"the model\",\"stream\":false,\"max_tokens\":50,\"messages\":[{\"role\":"
        "\"user\",\"content\":\"What is the exact model identifier (model string) you are using "
        "for this chat/session?\"}]}");
    assert_string_equal(f.content, "hello");
    assert_string_equal(f.error, "");
    assert_string_equal(f.model, "m-2024");
    assert_string_equal(f.request_id, "r-77");
    assert_int_equal(f.result.http_status, 200);
    assert_true(f.result.transport_success && !f.result.is_stream);
    assert_int_equal(f.result.usage.input, 5);
    assert_int_equal(f.result.attempts, 1);
    assert_true(f.result.duration_us > 0 && f.result.ttfb_us > 0 && f.result.ping_us > 0);
    assert_true(f.result.ttfb_us <= f.result.duration_us);
    assert_int_equal(f.result.ttft_us, 0);
    close_fixture(&f);
}

static void test_probe_one__native_vendors_get_their_headers(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_ANTHROPIC);
    f.script.body = "{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}";
    f.channel->user_agent = xstrdup("Own/2");
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.script.path, "/v1/messages");
    assert_non_null(strstr(f.script.head, "\r\nx-api-key: sk-first"));
    assert_non_null(strstr(f.script.head, "\r\nanthropic-version: 2025-09-29"));
    assert_non_null(strstr(f.script.head, "\r\nUser-Agent: Own/2\r\n"));
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_GEMINI);
    f.cfg.model = "models/gemini x";
    f.script.body = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]}}]}";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.script.path, "/v1beta/models/models/gemini%20x:generateContent");
    assert_non_null(strstr(f.script.head, "\r\nx-goog-api-key: sk-first"));
    close_fixture(&f);
}

static void test_probe_one__keys_take_turns(void **state)
{
    static const char *const want[] = {"sk-first", "sk-second", "sk-third", "sk-first"};
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->api_keys = xcalloc(2, sizeof(*f.channel->api_keys));
    f.channel->api_keys[0] = secret_dup(STR("sk-second"));
    f.channel->api_keys[1] = secret_dup(STR("sk-third"));
    f.channel->api_key_count = 2;
    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        assert_true(str_eq_c(probe_call_key(f.channel, i), want[i]));
    f.cfg.key_turn = 2;
    run(&f);
    assert_non_null(strstr(f.script.head, "Bearer sk-third\r\n"));
    close_fixture(&f);
}

static void test_probe_one__goes_to_responses_when_told(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.script.status = 400;
    f.script.body = "{\"error\":{\"message\":\"This model is only supported in /v1/responses\"}}";
    f.script.second = "{\"output\":[{\"content\":[{\"type\":\"output_text\",\"text\":\"yes\"}]}]}";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.script.path, "/v1/responses");
    assert_string_equal(f.content, "yes");
    assert_int_equal(f.result.protocol, PROTOCOL_OPENAI_RESPONSES);
    assert_int_equal(f.result.attempts, 2);
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT); /* once only */
    f.script.status = 400;
    f.script.body = "{\"error\":\"use /v1/responses\"}";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_BAD_REQUEST);
    assert_int_equal(atomic_load(&f.up.requests), 2);
    close_fixture(&f);
}

/* ---- streams ---- */

#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define SSE_CHAT                                                                                   \
    SSE_HEAD ": ping\n\ndata: "                                                                    \
             "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"           \
             "data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\r\n\r\ndata: "                \
             "{\"choices\":[{\"delta\":{\"content\":"                                              \
             "\"llo\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":4,\"completion_"  \
             "tokens\":1}}\n\n"

static void test_probe_one__streams_and_measures_the_first_token(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    set_raw(&f, SSE_CHAT "data: [DONE]\n\n");
    f.script.is_dripped = true;
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.content, "hello");
    assert_true(f.result.is_stream);
    assert_true(f.result.ttft_us > 0 && f.result.ttft_us <= f.result.duration_us + 1000);
    assert_true(f.result.ttft_us >= f.result.ttfb_us);
    assert_int_equal(f.result.usage.input, 4);
    assert_non_null(strstr(f.script.sent, "\"stream\":true"));
    close_fixture(&f);
}

static void test_probe_one__a_finished_stream_counts_though_nobody_hangs_up(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    f.channel->timeout_s = 0.5;
    set_raw(&f, SSE_CHAT "data: [DONE]\n\n");
    f.script.is_held = true;
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.content, "hello");
    assert_true(f.result.transport_success);
    assert_true(f.result.duration_us < 400000); /* its end, not the deadline's */
    close_fixture(&f);
}

static void test_probe_one__a_stream_that_falls_silent(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    f.channel->timeout_s = 0.3;
    set_raw(&f, SSE_HEAD "data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\n\n");
    f.script.is_held = true;
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_STREAM_TIMEOUT);
    assert_false(f.result.transport_success);
    assert_true(f.result.ttft_us > 0);
    assert_string_equal(f.content, "");
    close_fixture(&f);
}

static void test_probe_one__stream_answers_of_other_kinds(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT); /* the server ignores "stream" */
    f.channel->stream_probe = true;
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_OK);
    assert_string_equal(f.content, "hello");
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    set_raw(&f, SSE_HEAD "data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_BODY_ERROR);
    assert_string_equal(f.error, "response error: overloaded");
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    set_raw(&f, SSE_HEAD);
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_EMPTY);
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    set_raw(&f, SSE_HEAD "welcome to this captive portal\n");
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_BAD_BODY);
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    f.script.status = 429;
    f.script.body = "{\"error\":{\"message\":\"slow down\"}}";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_RATE_LIMITED);
    assert_string_equal(f.error, "HTTP 429: slow down");
    close_fixture(&f);
}

/* ---- failures ---- */

static void expect_raw(const char *raw, bool is_held, enum outcome want, const char *cause)
{
    struct fixture f;
    char text[512];

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->timeout_s = 0.5;
    set_raw(&f, raw);
    f.script.is_held = is_held;
    run(&f);
    if (f.result.outcome != want)
        fail_msg("%s, want %s: %s", outcome_rows[f.result.outcome].name, outcome_rows[want].name,
                 f.error);
    snprintf(text, sizeof(text), "HTTP POST http://127.0.0.1:%u/v1/chat/completions failed (",
             f.up.port);
    assert_true(str_starts(str_of(f.error), str_of(text)));
    assert_non_null(strstr(f.error, "ms): "));
    assert_non_null(strstr(f.error, cause));
    assert_false(f.result.transport_success);
    assert_true(f.result.duration_us > 0);
    close_fixture(&f);
}

static void test_probe_one__every_fault_is_one_outcome(void **state)
{
    expect_raw("", true, OUTCOME_TIMEOUT, "no answer within 500 ms");
    expect_raw("", false, OUTCOME_CONNECT, "");
    expect_raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", true, OUTCOME_STREAM_TIMEOUT, "");
    expect_raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", false, OUTCOME_BROKEN, "");
    expect_raw("SSH-2.0-OpenSSH_9.2\r\n\r\n", false, OUTCOME_PROTOCOL, "");
    expect_raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false,
               OUTCOME_PROTOCOL, "");
}

static void expect_url(const char *url, enum outcome want)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    use_url(&f, url);
    run(&f);
    if (f.result.outcome != want)
        fail_msg("%s: %s, want %s: %s", url, outcome_rows[f.result.outcome].name,
                 outcome_rows[want].name, f.error);
    assert_int_equal(f.result.http_status, 0);
    assert_true(str_starts(str_of(f.error), STR("HTTP POST ")));
    close_fixture(&f);
}

static void test_probe_one__addresses_that_lead_nowhere(void **state)
{
    struct fixture f;
    char url[64];

    open_fixture(&f, PROTOCOL_OPENAI_CHAT); /* a port that was free a moment ago */
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", f.up.port);
    responder_stop(&f.up);
    use_url(&f, url);
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_CONNECT);
    assert_non_null(strstr(f.error, "connection refused"));
    loop_free(f.loop);
    channel_free(f.channel);
    egress_free(f.egress);

    expect_url("http://169.254.169.254", OUTCOME_EGRESS);
    expect_url("ftp://127.0.0.1", OUTCOME_BAD_URL);
    expect_url("no scheme", OUTCOME_BAD_URL);
    expect_url("http://nobody.invalid", OUTCOME_DNS);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT); /* TLS to a port without it */
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", f.up.port);
    set_raw(&f, "no TLS here");
    use_url(&f, url);
    f.channel->timeout_s = 1;
    f.up.answer = answer;
    run(&f);
    assert_true(f.result.outcome == OUTCOME_TLS || f.result.outcome == OUTCOME_TIMEOUT);
    close_fixture(&f);
}

static void test_probe_one__redirects_are_told_and_not_followed(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.script.status = 302;
    f.script.extra = "Location: https://elsewhere.example/login?next=secret\r\n";
    f.script.body = "<html>moved</html>";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_UNEXPECTED_STATUS);
    assert_string_equal(
        f.error, "HTTP 302: redirects are not followed (to https://elsewhere.example/login)");
    assert_int_equal(atomic_load(&f.up.requests), 1);
    close_fixture(&f);
}

static void test_probe_one__an_endless_body_is_too_large(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT(8u << 20);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    buf_put(&b, STR("HTTP/1.1 200 OK\r\n\r\n"));
    for (int i = 0; i < (6 << 20) / 64; i++)
        buf_put(&b, STR("0123456789012345678901234567890123456789012345678901234567890123"));
    f.script.raw = buf_cstr(&b);
    f.script.raw_len = buf_len(&b);
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_TOO_LARGE);
    close_fixture(&f);

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.channel->stream_probe = true;
    f.script.raw = buf_cstr(&b);
    f.script.raw_len = buf_len(&b);
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_TOO_LARGE);
    close_fixture(&f);
    buf_release(&b);
}

static void test_probe_one__truncation_is_a_success_that_says_so(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.script.body =
        "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"length\"}],\"usage\":"
        "{\"prompt_tokens\":9,\"completion_tokens\":50}}";
    run(&f);
    assert_int_equal(f.result.outcome, OUTCOME_TRUNCATED);
    assert_string_equal(f.content, "(cut off by the token limit after 50 output tokens, no text)");
    assert_string_equal(f.error, "");
    close_fixture(&f);
}

static void test_probe_one__cancelled_never_calls_back(void **state)
{
    struct fixture f;

    open_fixture(&f, PROTOCOL_OPENAI_CHAT);
    f.cancel_at_once = true;
    run(&f);
    assert_false(f.is_done);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_one__sends_what_a_browser_like_client_would),
        cmocka_unit_test(test_probe_one__native_vendors_get_their_headers),
        cmocka_unit_test(test_probe_one__keys_take_turns),
        cmocka_unit_test(test_probe_one__goes_to_responses_when_told),
        cmocka_unit_test(test_probe_one__streams_and_measures_the_first_token),
        cmocka_unit_test(test_probe_one__a_finished_stream_counts_though_nobody_hangs_up),
        cmocka_unit_test(test_probe_one__a_stream_that_falls_silent),
        cmocka_unit_test(test_probe_one__stream_answers_of_other_kinds),
        cmocka_unit_test(test_probe_one__every_fault_is_one_outcome),
        cmocka_unit_test(test_probe_one__addresses_that_lead_nowhere),
        cmocka_unit_test(test_probe_one__redirects_are_told_and_not_followed),
        cmocka_unit_test(test_probe_one__an_endless_body_is_too_large),
        cmocka_unit_test(test_probe_one__truncation_is_a_success_that_says_so),
        cmocka_unit_test(test_probe_one__cancelled_never_calls_back),
    };

    if (curl_client_global_init() != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
