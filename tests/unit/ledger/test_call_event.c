/* test_call_event.c -- byte form of call events and ledger records. */
#include "ledger_fixture.h"

#define VARIANTS 200

static struct ledger_record probe_record(void)
{
    struct fixture_random r = {7};
    struct ledger_record rec = fixture_event(&r, 1000, 2000000000000);

    rec.kind = LEDGER_PROBE;
    rec.call.error_class = STR("rate_limited");
    rec.call.error_text = STR("HTTP 429: slow down");
    rec.probe = (struct ledger_probe){
        .id = 5, .item_kind = 1, .item_id = 77, .run_id = 9, .at_utc_ms = 1767225600123,
        .success = true, .transport_success = true, .status = 2, .ttfb_us = 1, .ping_us = 2, .dns_us = 3,
        .connect_us = 4, .tls_us = 5, .tool_calls_count = -6, .route = STR("chat"), .endpoint = STR("responses"),
        .family = STR("openai"), .sub_status = STR("slow"), .tool_calls = STR("[{}]"),
        .content = STR("I am gpt-4o"), .error = STR("x")};
    return rec;
}

static struct ledger_record run_record(void)
{
    return (struct ledger_record){
        .kind = LEDGER_RUN,
        .run = {.id = 42, .channel_id = 7, .started_utc_ms = 11, .finished_utc_ms = 22, .total = 5, .success = 4,
                .fail = 1, .status = STR("completed"), .channel_status = STR("degraded"),
                .log_file = STR("/a/b.jsonl"), .error = STR("e"), .cause = STR("manual")}};
}

static void assert_same_event(const struct call_event *a, const struct call_event *b)
{
    struct buf x = BUF_INIT(65536), y = BUF_INIT(65536);

    assert_int_equal(call_event_encode(a, &x), 0);
    assert_int_equal(call_event_encode(b, &y), 0);
    assert_int_equal(buf_len(&x), buf_len(&y));
    assert_memory_equal(buf_cstr(&x), buf_cstr(&y), buf_len(&x));
    buf_release(&x);
    buf_release(&y);
}

static void test_call_event__comes_back_as_it_was(void **state)
{
    struct fixture_random r = {1};
    struct buf b = BUF_INIT(65536);

    for (int i = 0; i < VARIANTS; i++) {
        struct ledger_record rec = fixture_event(&r, 0, 4102444800000);
        struct call_event back;
        size_t used = 0;

        buf_clear(&b);
        assert_int_equal(call_event_encode(&rec.call, &b), 0);
        assert_int_equal(buf_add(&b, "tail", 4), 0);
        assert_int_equal(call_event_decode(buf_str(&b), &back, &used), 0);
        assert_int_equal(used, buf_len(&b) - 4);
        assert_int_equal(back.ended_utc_ms, rec.call.ended_utc_ms);
        assert_int_equal(back.outcome, rec.call.outcome);
        assert_int_equal(back.charge_units, rec.call.charge_units);
        assert_int_equal(back.usage.unsplit, rec.call.usage.unsplit);
        assert_true(str_eq(back.model, rec.call.model));
        assert_true(str_eq(back.request_id, STR("req-1234567890")));
        assert_memory_equal(back.id.bytes, rec.call.id.bytes, 16);
        assert_same_event(&rec.call, &back);
    }
    buf_release(&b);
}

static void test_call_event__every_shorter_input_is_refused(void **state)
{
    struct ledger_record rec = probe_record();
    struct buf b = BUF_INIT(65536);
    struct call_event back;
    size_t used;

    assert_int_equal(call_event_encode(&rec.call, &b), 0);
    for (size_t n = 0; n < buf_len(&b); n++) {
        char *exact = xmalloc(n + 1); /* a read past the end is seen */

        memcpy(exact, buf_cstr(&b), n);
        assert_int_equal(call_event_decode(str_n(n ? exact : NULL, n), &back, &used), ERR_SYNTAX);
        xfree(exact);
    }
    buf_release(&b);
}

static void test_call_event__numbers_outside_their_lists_are_refused(void **state)
{
    struct ledger_record rec = probe_record();
    struct buf b = BUF_INIT(65536);
    struct call_event back;
    size_t used;

    assert_int_equal(call_event_encode(&rec.call, &b), 0);
    for (size_t at = 25; at < 32; at++) { /* origin kind protocol outcome usage_source cost_source is_stream */
        char before = b.ptr[at];

        b.ptr[at] = (char)0xff;
        assert_int_equal(call_event_decode(buf_str(&b), &back, &used), ERR_SYNTAX);
        b.ptr[at] = before;
    }
    b.ptr[0] = 2;
    assert_int_equal(call_event_decode(buf_str(&b), &back, &used), ERR_SYNTAX);
    buf_release(&b);
}

static void test_call_event__long_texts_are_cut_on_a_character(void **state)
{
    char text[1000];
    struct call_event e = {0}, back;
    struct buf b = BUF_INIT(65536);
    size_t used;

    text[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    e.error_text = str_n(text, 999);
    assert_int_equal(call_event_encode(&e, &b), 0);
    assert_int_equal(call_event_decode(buf_str(&b), &back, &used), 0);
    assert_int_equal(back.error_text.len, CALL_TEXT_MAX - 1);
    assert_true(str_is_utf8(back.error_text));
    buf_release(&b);
}

static void test_call_event__a_full_buffer_is_told(void **state)
{
    struct call_event e = {0};
    struct buf b = BUF_INIT(100);

    assert_int_equal(call_event_encode(&e, &b), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
    buf_release(&b);
}

static void test_call_event__clamp_keeps_sums_in_range(void **state)
{
    struct call_event e = {.ended_utc_ms = INT64_MAX, .duration_us = -5, .ttft_us = INT64_MAX,
                           .cost_nano_usd = INT64_MIN, .usage = {.input = INT64_MAX, .output = -1}};

    call_event_clamp(&e);
    assert_int_equal(e.ended_utc_ms, 253402300799999);
    assert_int_equal(e.duration_us, 0);
    assert_int_equal(e.ttft_us, (int64_t)1 << 40);
    assert_int_equal(e.cost_nano_usd, -1000000000000000);
    assert_int_equal(e.usage.input, 1000000000000);
    assert_int_equal(e.usage.output, 0);
}

static void test_call_event__names(void **state)
{
    assert_string_equal(call_origin_name(CALL_GATEWAY), "gateway");
    assert_string_equal(call_origin_name(CALL_NEWAPI), "newapi");
    assert_string_equal(call_kind_name(CALL_KIND_ADJUSTMENT), "adjustment");
    assert_string_equal(call_kind_name((enum call_kind)99), "");
}

static void test_ledger_record__probe_and_run_come_back(void **state)
{
    struct ledger_record all[] = {probe_record(), run_record(), probe_record()}, back = {0};
    struct buf b = BUF_INIT(65536), again = BUF_INIT(65536);

    all[2].kind = LEDGER_CALL;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_clear(&b);
        buf_clear(&again);
        assert_int_equal(ledger_record_encode(&all[i], &b), 0);
        assert_int_equal(ledger_record_decode(buf_str(&b), &back), 0);
        assert_int_equal(back.kind, all[i].kind);
        assert_int_equal(ledger_record_encode(&back, &again), 0);
        assert_int_equal(buf_len(&b), buf_len(&again));
        assert_memory_equal(buf_cstr(&b), buf_cstr(&again), buf_len(&b));
        if (i == 0) {
            assert_true(str_eq(back.probe.content, STR("I am gpt-4o")));
            assert_int_equal(back.probe.tool_calls_count, -6);
        }
        if (i == 1)
            assert_true(str_eq(back.run.cause, STR("manual")));
        assert_int_equal(buf_add(&b, "x", 1), 0); /* the whole of the bytes */
        assert_int_equal(ledger_record_decode(buf_str(&b), &back), ERR_SYNTAX);
    }
    buf_release(&b);
    buf_release(&again);
}

static void test_ledger_record__every_shorter_input_is_refused(void **state)
{
    struct ledger_record all[] = {probe_record(), run_record()}, back;
    struct buf b = BUF_INIT(65536);

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        buf_clear(&b);
        assert_int_equal(ledger_record_encode(&all[i], &b), 0);
        for (size_t n = 0; n < buf_len(&b); n++) {
            char *exact = xmalloc(n + 1);

            memcpy(exact, buf_cstr(&b), n);
            assert_int_equal(ledger_record_decode(str_n(n ? exact : NULL, n), &back), ERR_SYNTAX);
            xfree(exact);
        }
    }
    buf_release(&b);
}

static void test_ledger_record__the_longest_fits(void **state)
{
    struct ledger_record rec = probe_record(), back;
    char *text = xcalloc(1, 1 << 20);
    struct str s = str_n(text, 1 << 20);
    struct buf b = BUF_INIT(LEDGER_RECORD_MAX);

    memset(text, 'a', 1 << 20);
    rec.probe.route = rec.probe.endpoint = rec.probe.family = rec.probe.sub_status = s;
    rec.probe.tool_calls = rec.probe.content = rec.probe.error = s;
    rec.call.model = rec.call.error_text = s;
    assert_int_equal(ledger_record_encode(&rec, &b), 0);
    assert_int_equal(ledger_record_decode(buf_str(&b), &back), 0);
    assert_int_equal(back.probe.content.len, LEDGER_RECORD_TEXT_MAX);
    buf_release(&b);
    xfree(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_event__comes_back_as_it_was),
        cmocka_unit_test(test_call_event__every_shorter_input_is_refused),
        cmocka_unit_test(test_call_event__numbers_outside_their_lists_are_refused),
        cmocka_unit_test(test_call_event__long_texts_are_cut_on_a_character),
        cmocka_unit_test(test_call_event__a_full_buffer_is_told),
        cmocka_unit_test(test_call_event__clamp_keeps_sums_in_range),
        cmocka_unit_test(test_call_event__names),
        cmocka_unit_test(test_ledger_record__probe_and_run_come_back),
        cmocka_unit_test(test_ledger_record__every_shorter_input_is_refused),
        cmocka_unit_test(test_ledger_record__the_longest_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
