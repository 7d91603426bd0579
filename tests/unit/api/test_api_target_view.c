/* A channel's item, compared as exact text: old clients read these names and shapes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/api_logs_read.h"
#include "api/api_target_view.h"

static struct buf out = BUF_INIT(1 << 20);
static struct json_out j;

static void start(void)
{
    buf_clear(&out);
    json_out_init(&j, &out);
}

static void expect(const char *text)
{
    assert_false(j.failed);
    assert_string_equal(buf_cstr(&out), text);
}

static bool has(const char *text)
{
    return str_find_str(buf_str(&out), str_of(text)) >= 0;
}

static const struct board_point points[] = {
    {.at_utc_ms = 1767229200100, .duration_us = 812000, .http_status = 200, .success = true},
    {.at_utc_ms = 1767229201000, .duration_us = 1500400, .success = false, .error = "a \"<b>\"", .outcome = OUTCOME_TIMEOUT},
    {.at_utc_ms = 1767229202123, .duration_us = 49, .ttfb_us = 40000, .http_status = 429, .success = false, .outcome = OUTCOME_RATE_LIMITED},
};
static const struct board_model models[] = {
    {.model = "old", .family = "openai", .route = "chat", .point_count = 1, .points = points},
    {.model = "gpt-4o", .family = "openai", .route = "chat", .in_newest_run = true, .run_id = 42, .point_count = 3, .points = points},
};
static const struct board_view view = {
    .channel_id = 7, .last_run_id = 42, .last_run_utc_ms = 1767229200400, .last_status = "degraded",
    .last_total = 5, .last_success = 4, .last_fail = 1, .last_log_file = "/app/data/logs/target_7.jsonl",
    .models = models, .model_count = 2,
};

static void test_api_target_view__writes_models_of_the_newest_run(void **state UNUSED)
{
    start();
    api_target_view_models(&j, &(struct api_target_frame){.history = 30}, &view);
    expect("[{\"protocol\":\"openai\",\"model\":\"gpt-4o\",\"success\":false,\"duration\":0,\"error\":null,"
           "\"status_code\":429,\"outcome\":\"rate_limited\",\"route\":\"chat\",\"timestamp\":1767229202.123,"
           "\"ttfb\":0.04,\"ttft\":null,\"run_id\":42,\"history\":["
           "{\"success\":true,\"duration\":0.812,\"timestamp\":1767229200.1,\"error\":null,\"status_code\":200},"
           "{\"success\":false,\"duration\":1.5,\"timestamp\":1767229201,\"error\":\"a \\\"\\u003cb\\u003e\\\"\",\"status_code\":null},"
           "{\"success\":false,\"duration\":0,\"timestamp\":1767229202.123,\"error\":null,\"status_code\":429}]}]");
}

static void test_api_target_view__cuts_history_to_the_newest(void **state UNUSED)
{
    start();
    api_target_view_models(&j, &(struct api_target_frame){.history = 1}, &view);
    assert_true(has("\"history\":[{\"success\":false,\"duration\":0,\"timestamp\":1767229202.123,"));
    start();
    api_target_view_models(&j, &(struct api_target_frame){0}, &view);
    assert_true(has("\"history\":[]"));
    start();
    api_target_view_models(&j, &(struct api_target_frame){.history = 30}, NULL);
    expect("[]");
}

static void test_api_target_view__writes_the_health_of_a_model(void **state UNUSED)
{
    struct health *h = health_new(&(struct health_config){.open_after = 2, .open_ms = 30000});
    struct api_target_frame f = {.health = h, .mono_to_utc_ms = 1767229200000};
    struct health_cell *c;

    start();
    api_target_view_models(&j, &f, &view);
    assert_true(has("\"run_id\":42,\"health\":{\"state\":\"closed\",\"good\":0,\"samples\":0,\"latency_ewma\":null,"
                    "\"ttft_ewma\":null,\"fault\":null,\"open_until\":null},\"history\":[]"));
    assert_int_equal(health_cells(h), 0); /* reading makes none */
    c = health_cell(h, 0, 7, STR("gpt-4o"));
    health_record_at(h, c, OUTCOME_OK, 812400, 90000, 1767229200000, 1000);
    health_record_at(h, c, OUTCOME_SERVER_ERROR, 5, 0, 1767229201000, 2000);
    health_record_at(h, c, OUTCOME_TIMEOUT, 5, 0, 1767229202000, 3000);
    start();
    api_target_view_models(&j, &f, &view);
    assert_true(has("\"health\":{\"state\":\"open\",\"good\":1,\"samples\":3,\"latency_ewma\":0.812,"
                    "\"ttft_ewma\":0.09,\"fault\":\"timeout\",\"open_until\":1767229233}"));
    assert_true(health_admit(h, c, 40000));
    start();
    api_target_view_models(&j, &f, &view);
    assert_true(has("\"health\":{\"state\":\"half_open\",\"good\":1,\"samples\":3,\"latency_ewma\":0.812,"
                    "\"ttft_ewma\":0.09,\"fault\":\"timeout\",\"open_until\":null}"));
    health_free(h);
}

static int32_t rate(int32_t success, int32_t total)
{
    struct board_view v = view;

    v.last_success = success;
    v.last_total = total;
    return api_target_view_rate(&v);
}

static void test_api_target_view__rounds_the_rate_half_away(void **state UNUSED)
{
    assert_int_equal(rate(4, 5), 800);
    assert_int_equal(rate(1, 3), 333);
    assert_int_equal(rate(2, 3), 667);
    assert_int_equal(rate(1, 16), 63); /* 6.25 -> 6.3 */
    assert_int_equal(rate(INT32_MAX, INT32_MAX), 1000);
    assert_int_equal(rate(0, 0), -1);
    assert_int_equal(api_target_view_rate(NULL), -1);
}

static void test_api_target_view__writes_the_item_of_system_1(void **state UNUSED)
{
    static const char *const names[] = {
        "id", "name", "base_url", "api_key", "enabled", "interval_min", "timeout_s", "verify_ssl", "prompt",
        "anthropic_version", "max_models", "created_at", "updated_at", "last_run_at", "last_status", "last_total",
        "last_success", "last_fail", "last_log_file", "last_error", "source_url", "sort_order",
        "visitor_channel_actions_enabled", "selected_models", "last_success_rate", "running", "latest_models",
        "queued", "progress", "warnings", "next_run_at", "last_run_id",
    };
    struct api_target_frame f = {.is_admin = true, .history = 30};
    struct channel *ch = channel_new();
    char key[64];

    ch->id = 7;
    xfree(ch->name);
    ch->name = str_dup(STR("relay-a"));
    xfree(ch->base_url);
    ch->base_url = str_dup(STR("https://relay.example"));
    ch->api_key = secret_dup(STR("sk-live-0123456789"));
    start();
    api_target_view_write(&j, &f, ch, &view);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(key, sizeof(key), "\"%s\":", names[i]);
        assert_true(has(key));
    }
    assert_true(has("\"id\":7,"));
    assert_true(has("\"api_key\":\"****6789\""));
    assert_false(has("sk-live"));
    assert_false(has("can_operate"));
    assert_true(has("\"last_success_rate\":80,"));
    assert_true(has("\"last_log_file\":\"/app/data/logs/target_7.jsonl\""));
    assert_true(has("\"next_run_at\":1767231000.4,")); /* 30 minutes on */
    assert_true(has("\"warnings\":[\"certificate is not verified\"]"));
    assert_true(has("\"running\":false,\"queued\":false,\"progress\":null"));
    channel_free(ch);
}

static void test_api_target_view__tells_visitors_less(void **state UNUSED)
{
    static const int64_t queued[] = {3, 7};
    struct api_target_frame f = {.with_can_operate = true, .queued = queued, .queued_count = 2};
    struct channel *ch = channel_new();
    struct board_view v = view;

    ch->id = 7;
    v.running_run_id = 43;
    v.running_done = 2;
    v.running_total = -1;
    start();
    api_target_view_write(&j, &f, ch, &v);
    assert_true(has("\"last_log_file\":\"target_7.jsonl\""));
    assert_true(has("\"can_operate\":false"));
    assert_true(has("\"running\":true,\"queued\":true,\"progress\":{\"run_id\":43,\"started_at\":null,\"done\":2,\"total\":null}"));
    start();
    api_target_view_write(&j, &f, ch, NULL);
    assert_true(has("\"last_run_at\":null,\"last_status\":null,\"last_total\":null"));
    assert_true(has("\"latest_models\":[]"));
    channel_free(ch);
}

static void cell(const char *text, const char *wanted)
{
    buf_clear(&out);
    api_logs_read_csv_cell(&out, str_of(text));
    assert_string_equal(buf_cstr(&out), wanted);
}

static void test_api_logs_read__quotes_cells_and_disarms_formulas(void **state UNUSED)
{
    cell("plain", "plain");
    cell("", "");
    cell("a,b", "\"a,b\"");
    cell("say \"x\"", "\"say \"\"x\"\"\"");
    cell("\"", "\"\"\"\"");
    cell("line\nbreak", "\"line\nbreak\"");
    cell("=1+1", "\"'=1+1\"");
    cell("+1", "\"'+1\"");
    cell("-1", "\"'-1\"");
    cell("@a", "\"'@a\"");
    cell("\ta", "\"'\ta\"");
    cell("a=b", "a=b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_target_view__writes_models_of_the_newest_run),
        cmocka_unit_test(test_api_target_view__cuts_history_to_the_newest),
        cmocka_unit_test(test_api_target_view__writes_the_health_of_a_model),
        cmocka_unit_test(test_api_target_view__rounds_the_rate_half_away),
        cmocka_unit_test(test_api_target_view__writes_the_item_of_system_1),
        cmocka_unit_test(test_api_target_view__tells_visitors_less),
        cmocka_unit_test(test_api_logs_read__quotes_cells_and_disarms_formulas),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);

    buf_release(&out);
    return rc;
}
