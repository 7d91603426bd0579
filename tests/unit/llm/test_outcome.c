/* test_outcome.c -- the table is whole, its numbers are stored, and statuses find their row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/outcome.h"

static void test_outcome__every_row_is_whole(void **state)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++) {
        const struct outcome_row *row = &outcome_rows[i];

        assert_non_null(row->name);
        assert_true(strlen(row->en) > 0 && strlen(row->zh_cn) > 0 && strlen(row->zh_tw) > 0);
        assert_true(str_is_utf8(str_of(row->zh_cn)) && str_is_utf8(str_of(row->zh_tw)));
        assert_true(row->class < OUTCOME_CLASSES);
        assert_true(row->status <= 2);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(row->name, outcome_rows[k].name);
        /* a success is never red and is never held against the channel */
        if (outcome_is_success((enum outcome)i)) {
            assert_true(row->status != 0);
            assert_false(row->counts_against_channel || row->retry_elsewhere);
        } else {
            assert_int_equal(row->status, 0);
        }
        if (row->class == OUTCOME_CLASS_CANCELLED)
            assert_false(row->counts_against_channel);
    }
}

/* Stored in databases: never renumbered, never renamed. */
static void test_outcome__numbers_and_names_are_for_ever(void **state)
{
    static const char *const names[] = {"ok",
                                        "truncated",
                                        "slow",
                                        "empty",
                                        "body_error",
                                        "bad_body",
                                        "content_mismatch",
                                        "server_error",
                                        "overloaded",
                                        "rate_limited",
                                        "quota",
                                        "auth",
                                        "forbidden",
                                        "model_unknown",
                                        "bad_request",
                                        "unexpected_status",
                                        "timeout",
                                        "stream_timeout",
                                        "connect",
                                        "broken",
                                        "protocol",
                                        "too_large",
                                        "tls",
                                        "dns",
                                        "egress",
                                        "bad_url",
                                        "cancelled",
                                        "client_slow",
                                        "interrupted",
                                        "missed",
                                        "refused_limit"};

    assert_int_equal(ARRAY_LEN(names), OUTCOME_COUNT);
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        assert_string_equal(outcome_rows[i].name, names[i]);
    assert_string_equal(outcome_class_name(OUTCOME_CLASS_OK), "ok");
    assert_string_equal(outcome_class_name(OUTCOME_CLASS_DNS), "dns");
}

static void test_outcome__statuses_find_their_row(void **state)
{
    static const struct {
        int status;
        const char *code;
        enum outcome want;
    } rows[] = {
        {200, "", OUTCOME_OK},
        {204, "whatever", OUTCOME_OK},
        {101, "", OUTCOME_UNEXPECTED_STATUS},
        {301, "", OUTCOME_UNEXPECTED_STATUS},
        {999, "", OUTCOME_UNEXPECTED_STATUS},
        {400, "", OUTCOME_BAD_REQUEST},
        {400, "invalid_request_error", OUTCOME_BAD_REQUEST},
        {400, "API_KEY_INVALID", OUTCOME_AUTH},
        {401, "", OUTCOME_AUTH},
        {402, "", OUTCOME_QUOTA},
        {403, "", OUTCOME_FORBIDDEN},
        {403, "insufficient_user_quota", OUTCOME_QUOTA},
        {404, "", OUTCOME_MODEL_UNKNOWN},
        {408, "", OUTCOME_OVERLOADED},
        {409, "", OUTCOME_OVERLOADED},
        {413, "request_too_large", OUTCOME_BAD_REQUEST},
        {422, "", OUTCOME_BAD_REQUEST},
        {429, "", OUTCOME_RATE_LIMITED},
        {429, "rate_limit_exceeded", OUTCOME_RATE_LIMITED},
        {429, "insufficient_quota", OUTCOME_QUOTA},
        {429, "RESOURCE_EXHAUSTED", OUTCOME_RATE_LIMITED},
        {429, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", OUTCOME_QUOTA},
        {500, "", OUTCOME_SERVER_ERROR},
        {500, "api_error", OUTCOME_SERVER_ERROR},
        {502, "", OUTCOME_SERVER_ERROR},
        {503, "", OUTCOME_OVERLOADED},
        {503, "model_not_found", OUTCOME_MODEL_UNKNOWN},
        {504, "", OUTCOME_SERVER_ERROR},
        {529, "overloaded_error", OUTCOME_OVERLOADED},
        {599, "", OUTCOME_SERVER_ERROR},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(outcome_of_status(rows[i].status, str_of(rows[i].code)), rows[i].want);
}

/* Ruling 25. */
static void test_outcome__retries_what_another_channel_may_answer(void **state)
{
    static const enum outcome yes[] = {
        OUTCOME_CONNECT,       OUTCOME_OVERLOADED, OUTCOME_RATE_LIMITED,
        OUTCOME_SERVER_ERROR,  OUTCOME_AUTH,       OUTCOME_QUOTA,
        OUTCOME_MODEL_UNKNOWN, OUTCOME_DNS,        OUTCOME_TLS};
    static const enum outcome no[] = {OUTCOME_TIMEOUT,   OUTCOME_BAD_REQUEST,
                                      OUTCOME_CANCELLED, OUTCOME_CLIENT_SLOW,
                                      OUTCOME_BROKEN,    OUTCOME_REFUSED_LIMIT};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(outcome_rows[yes[i]].retry_elsewhere);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(outcome_rows[no[i]].retry_elsewhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcome__every_row_is_whole),
        cmocka_unit_test(test_outcome__numbers_and_names_are_for_ever),
        cmocka_unit_test(test_outcome__statuses_find_their_row),
        cmocka_unit_test(test_outcome__retries_what_another_channel_may_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
