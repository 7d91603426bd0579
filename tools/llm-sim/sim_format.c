/* sim_format.c -- whole answers, model lists and errors, each in its vendor's official shape. */
#include "sim.h"

#define CREATED 1767225600 /* 2026-01-01: every listed model is of that day */

static const char *name_id(const struct sim_call *c, const char *prefix, char out[64])
{
    snprintf(out, 64, "%s%012llu", prefix, (unsigned long long)c->number);
    return out;
}

static void kid(struct json_out *j, const struct sim_call *c, const char *key, const char *prefix)
{
    char id[64];

    json_out_kcstr(j, key, name_id(c, prefix, id));
}

static void usage(struct json_out *j, const struct sim_call *c, const struct sim_content *content, const char *key)
{
    if (c->b.fault == SIM_FAULT_NO_USAGE)
        return;
    json_out_key(j, key);
    sim_usage_write(c, &content->usage, j);
}

/* ---- chat completions ---- */

static void chat_content(struct json_out *j, const struct sim_call *c, const struct sim_content *content)
{
    json_out_key(j, "content");
    if (content->tool.len > 0 || content->refusal.len > 0 || c->b.fault == SIM_FAULT_NULL_CONTENT) {
        json_out_null(j);
    } else if (c->b.fault == SIM_FAULT_ARRAY_CONTENT) {
        json_out_array(j);
        json_out_object(j);
        json_out_kcstr(j, "type", "text");
        json_out_kstr(j, "text", content->text);
        json_out_end(j);
        json_out_end(j);
    } else {
        json_out_str(j, content->text);
    }
}

static void chat_message(struct json_out *j, const struct sim_call *c, const struct sim_content *content)
{
    json_out_object(j);
    json_out_kcstr(j, "role", "assistant");
    chat_content(j, c, content);
    if (content->reasoning.len > 0)
        json_out_kstr(j, "reasoning_content", content->reasoning);
    json_out_key(j, "refusal");
    if (content->refusal.len > 0)
        json_out_str(j, content->refusal);
    else
        json_out_null(j);
    json_out_key(j, "annotations");
    json_out_array(j);
    json_out_end(j);
    if (content->tool.len > 0) {
        json_out_key(j, "tool_calls");
        json_out_array(j);
        json_out_object(j);
        kid(j, c, "id", "call_");
        json_out_kcstr(j, "type", "function");
        json_out_key(j, "function");
        json_out_object(j);
        json_out_kstr(j, "name", content->tool);
        json_out_kcstr(j, "arguments", "{\"city\":\"Paris\"}");
        json_out_end(j);
        json_out_end(j);
        json_out_end(j);
    }
    json_out_end(j);
}

static void chat(struct json_out *j, struct sim_call *c, const struct sim_content *content)
{
    json_out_object(j);
    kid(j, c, "id", "chatcmpl-");
    json_out_kcstr(j, "object", "chat.completion");
    json_out_ki64(j, "created", c->at_ms / 1000);
    json_out_kstr(j, "model", c->model);
    json_out_key(j, "choices");
    json_out_array(j);
    if (!content->is_empty) {
        json_out_object(j);
        json_out_ki64(j, "index", 0);
        json_out_key(j, "message");
        chat_message(j, c, content);
        json_out_knull(j, "logprobs");
        json_out_kcstr(j, "finish_reason", sim_content_finish(c, content));
        json_out_end(j);
    }
    json_out_end(j);
    usage(j, c, content, "usage");
    json_out_kcstr(j, "service_tier", "default");
    json_out_kcstr(j, "system_fingerprint", "fp_llmsim");
    json_out_end(j);
}

/* ---- responses ---- */

static void responses_output(struct json_out *j, const struct sim_call *c, const struct sim_content *content)
{
    if (content->reasoning.len > 0) {
        json_out_object(j);
        kid(j, c, "id", "rs_");
        json_out_kcstr(j, "type", "reasoning");
        json_out_key(j, "summary");
        json_out_array(j);
        json_out_object(j);
        json_out_kcstr(j, "type", "summary_text");
        json_out_kstr(j, "text", content->reasoning);
        json_out_end(j);
        json_out_end(j);
        json_out_end(j);
    }
    if (content->is_empty || c->b.fault == SIM_FAULT_REASONING_ONLY)
        return;
    json_out_object(j);
    if (content->tool.len > 0) {
        kid(j, c, "id", "fc_");
        json_out_kcstr(j, "type", "function_call");
        json_out_kcstr(j, "status", "completed");
        kid(j, c, "call_id", "call_");
        json_out_kstr(j, "name", content->tool);
        json_out_kcstr(j, "arguments", "{\"city\":\"Paris\"}");
        json_out_end(j);
        return;
    }
    kid(j, c, "id", "msg_");
    json_out_kcstr(j, "type", "message");
    json_out_kcstr(j, "status", sim_content_finish(c, content));
    json_out_kcstr(j, "role", "assistant");
    json_out_key(j, "content");
    json_out_array(j);
    if (c->b.fault != SIM_FAULT_NULL_CONTENT) {
        json_out_object(j);
        if (content->refusal.len > 0) {
            json_out_kcstr(j, "type", "refusal");
            json_out_kstr(j, "refusal", content->refusal);
        } else {
            json_out_kcstr(j, "type", "output_text");
            json_out_kstr(j, "text", content->text);
            json_out_key(j, "annotations");
            json_out_array(j);
            json_out_end(j);
            json_out_key(j, "logprobs");
            json_out_array(j);
            json_out_end(j);
        }
        json_out_end(j);
    }
    json_out_end(j);
    json_out_end(j);
}

/* Also the `response` member of stream events; without content it is the one in progress. */
void sim_format_response(struct json_out *j, const struct sim_call *c, const struct sim_content *content, bool is_done)
{
    json_out_object(j);
    kid(j, c, "id", "resp_");
    json_out_kcstr(j, "object", "response");
    json_out_ki64(j, "created_at", c->at_ms / 1000);
    json_out_kcstr(j, "status", is_done ? sim_content_finish(c, content) : "in_progress");
    json_out_kbool(j, "background", false);
    json_out_knull(j, "error");
    json_out_key(j, "incomplete_details");
    if (is_done && content->finish == SIM_LENGTH) {
        json_out_object(j);
        json_out_kcstr(j, "reason", "max_output_tokens");
        json_out_end(j);
    } else {
        json_out_null(j);
    }
    json_out_knull(j, "instructions");
    json_out_knull(j, "max_output_tokens");
    json_out_kstr(j, "model", c->model);
    json_out_key(j, "output");
    json_out_array(j);
    if (is_done)
        responses_output(j, c, content);
    json_out_end(j);
    json_out_kbool(j, "parallel_tool_calls", true);
    json_out_knull(j, "previous_response_id");
    json_out_kbool(j, "store", true);
    json_out_kdouble(j, "temperature", 1.0);
    json_out_kcstr(j, "tool_choice", "auto");
    json_out_key(j, "tools");
    json_out_array(j);
    json_out_end(j);
    json_out_kdouble(j, "top_p", 1.0);
    json_out_kcstr(j, "truncation", "disabled");
    if (is_done)
        usage(j, c, content, "usage");
    else
        json_out_knull(j, "usage");
    json_out_knull(j, "user");
    json_out_key(j, "metadata");
    json_out_object(j);
    json_out_end(j);
    json_out_end(j);
}

/* ---- messages ---- */

static void messages_content(struct json_out *j, const struct sim_call *c, const struct sim_content *content)
{
    json_out_array(j);
    if (content->reasoning.len > 0) {
        json_out_object(j);
        json_out_kcstr(j, "type", "thinking");
        json_out_kstr(j, "thinking", content->reasoning);
        json_out_kcstr(j, "signature", "c2ln");
        json_out_end(j);
    }
    if (content->tool.len > 0) {
        json_out_object(j);
        json_out_kcstr(j, "type", "tool_use");
        kid(j, c, "id", "toolu_");
        json_out_kstr(j, "name", content->tool);
        json_out_key(j, "input");
        json_out_raw(j, STR("{\"city\":\"Paris\"}"));
        json_out_end(j);
    } else if (content->text.len > 0) {
        json_out_object(j);
        json_out_kcstr(j, "type", "text");
        json_out_kstr(j, "text", content->text);
        json_out_end(j);
    }
    json_out_end(j);
}

static void messages(struct json_out *j, const struct sim_call *c, const struct sim_content *content)
{
    json_out_object(j);
    kid(j, c, "id", "msg_");
    json_out_kcstr(j, "type", "message");
    json_out_kcstr(j, "role", "assistant");
    json_out_kstr(j, "model", c->model);
    json_out_key(j, "content");
    if (content->is_empty) {
        json_out_array(j);
        json_out_end(j);
    } else {
        messages_content(j, c, content);
    }
    json_out_kcstr(j, "stop_reason", sim_content_finish(c, content));
    json_out_knull(j, "stop_sequence");
    usage(j, c, content, "usage");
    json_out_end(j);
}

/* ---- generateContent ---- */

static void part(struct json_out *j, struct str text, bool is_thought)
{
    json_out_object(j);
    json_out_kstr(j, "text", text);
    if (is_thought)
        json_out_kbool(j, "thought", true);
    json_out_end(j);
}

/* One object of an answer: all of it, or one piece of a stream (then finish and usage in the last). */
void sim_format_generate(struct json_out *j, const struct sim_call *c, const struct sim_content *content, struct str text, bool is_first, bool is_last)
{
    json_out_object(j);
    json_out_key(j, "candidates");
    json_out_array(j);
    if (!content->is_empty) {
        json_out_object(j);
        json_out_key(j, "content");
        json_out_object(j);
        json_out_key(j, "parts");
        json_out_array(j);
        if (is_first && content->reasoning.len > 0)
            part(j, content->reasoning, true);
        if (content->tool.len > 0 && is_last) {
            json_out_object(j);
            json_out_key(j, "functionCall");
            json_out_object(j);
            json_out_kstr(j, "name", content->tool);
            json_out_key(j, "args");
            json_out_raw(j, STR("{\"city\":\"Paris\"}"));
            json_out_end(j);
            json_out_end(j);
        } else if (text.len > 0) {
            part(j, text, false);
        }
        json_out_end(j);
        json_out_kcstr(j, "role", "model");
        json_out_end(j);
        if (is_last)
            json_out_kcstr(j, "finishReason", sim_content_finish(c, content));
        json_out_ki64(j, "index", 0);
        json_out_end(j);
    }
    json_out_end(j);
    if (content->refusal.len > 0) {
        json_out_key(j, "promptFeedback");
        json_out_object(j);
        json_out_kcstr(j, "blockReason", "SAFETY");
        json_out_end(j);
    }
    usage(j, c, content, "usageMetadata");
    json_out_kstr(j, "modelVersion", c->model);
    kid(j, c, "responseId", "gen");
    json_out_end(j);
}

void sim_format_answer(struct sim_call *c, struct sim_reply *r)
{
    struct sim_content content;
    struct json_out j;

    sim_content_make(c, &content);
    json_out_init(&j, &r->body);
    if (c->route == SIM_RESPONSES)
        sim_format_response(&j, c, &content, true);
    else if (c->route == SIM_MESSAGES)
        messages(&j, c, &content);
    else if (c->route == SIM_GENERATE)
        sim_format_generate(&j, c, &content, content.text, true, true);
    else
        chat(&j, c, &content);
}

/* ---- embeddings ---- */

static void put_vector(struct json_out *j, size_t seed, bool is_base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    float v[9];
    unsigned char bytes[sizeof(v)];
    char text[sizeof(v) / 3 * 4 + 1];
    size_t n = 0;

    static_assert(sizeof(v) % 3 == 0, "base64 without padding");
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        v[i] = (float)((seed * 31 + i * 7) % 100) / 100.0f;
    if (!is_base64) {
        json_out_array(j);
        for (size_t i = 0; i < ARRAY_LEN(v); i++)
            json_out_double(j, (double)v[i]);
        json_out_end(j);
        return;
    }
    memcpy(bytes, v, sizeof(v));
    for (size_t i = 0; i < sizeof(bytes); i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            text[n++] = digits[group >> shift & 63];
    }
    json_out_str(j, str_n(text, n));
}

void sim_format_embeddings(struct sim_call *c, struct sim_reply *r)
{
    const json_t *input = json_object_get(c->json, "input");
    const char *format = json_string_value(json_object_get(c->json, "encoding_format"));
    size_t n = json_is_array(input) && !json_is_integer(json_array_get(input, 0)) ? json_array_size(input) : 1;
    struct sim_content content;
    struct json_out j;

    sim_content_make(c, &content);
    json_out_init(&j, &r->body);
    json_out_object(&j);
    json_out_kcstr(&j, "object", "list");
    json_out_key(&j, "data");
    json_out_array(&j);
    for (size_t i = 0; i < n; i++) {
        json_out_object(&j);
        json_out_kcstr(&j, "object", "embedding");
        json_out_ki64(&j, "index", (int64_t)i); /* below the request's bytes */
        json_out_key(&j, "embedding");
        put_vector(&j, i, format && strcmp(format, "base64") == 0);
        json_out_end(&j);
    }
    json_out_end(&j);
    json_out_kstr(&j, "model", c->model);
    usage(&j, c, &content, "usage");
    json_out_end(&j);
}

/* ---- model lists ---- */

static void list_item(struct json_out *j, const struct sim_call *c, struct str id)
{
    char name[600];

    json_out_object(j);
    if (c->dialect == SIM_GEMINI) {
        snprintf(name, sizeof(name), "models/%.*s", STR_ARG(str_cut_utf8(id, 500)));
        json_out_kcstr(j, "name", name);
        json_out_kstr(j, "baseModelId", id);
        json_out_kcstr(j, "version", "001");
        json_out_kstr(j, "displayName", id);
        json_out_kcstr(j, "description", "a simulated model");
        json_out_ki64(j, "inputTokenLimit", 1048576);
        json_out_ki64(j, "outputTokenLimit", 65536);
        json_out_key(j, "supportedGenerationMethods");
        json_out_raw(j, STR("[\"generateContent\",\"countTokens\"]"));
    } else if (c->dialect == SIM_ANTHROPIC) {
        json_out_kcstr(j, "type", "model");
        json_out_kstr(j, "id", id);
        json_out_kstr(j, "display_name", id);
        json_out_kcstr(j, "created_at", "2026-01-01T00:00:00Z");
    } else {
        json_out_kstr(j, "id", id);
        json_out_kcstr(j, "object", "model");
        json_out_ki64(j, "created", CREATED);
        json_out_kcstr(j, "owned_by", "llm-sim");
    }
    json_out_end(j);
}

static const struct str hostile_ids[] = {
    STR_INIT("<img src=x onerror=alert(1)>"),
    STR_INIT("\"quoted\" 'single' `back`"),
    STR_INIT("line\nbreak\r\nand\ttab"),
    STR_INIT("\xf0\x9f\xa6\x99-four-byte \xf0\x9d\x94\x98"),
    STR_INIT("../../etc/passwd"),
    STR_INIT("=HYPERLINK(\"http://evil\")"),
    STR_INIT("a/b?c#d%2e%2e"),
    STR_INIT("'; DROP TABLE runs; --"),
    STR_INIT("\x1b[31mred\x1b[0m"),
    STR_INIT("\xe2\x80\xae" "rtl override"),
    STR_INIT("  spaces around  "),
    STR_INIT(""),
    STR_INIT("__proto__"),
    STR_INIT("normal-model"),
};

static void list_items(struct json_out *j, const struct sim_call *c, const struct sim_models *m)
{
    char id[300];

    if (c->b.fault == SIM_FAULT_LIST_HOSTILE) {
        for (size_t i = 0; i < ARRAY_LEN(hostile_ids); i++)
            list_item(j, c, hostile_ids[i]);
        memset(id, 'L', sizeof(id));
        list_item(j, c, str_n(id, sizeof(id)));
        return;
    }
    if (c->b.fault == SIM_FAULT_LIST_WRONG_TYPES) {
        json_out_i64(j, 7);
        json_out_null(j);
        json_out_raw(j, STR("{\"id\":7}"));
        json_out_raw(j, STR("{\"id\":null,\"name\":{}}"));
        json_out_raw(j, STR("[]"));
    }
    for (size_t i = 0; c->b.fault == SIM_FAULT_LIST_5000 && i < 5000; i++) {
        snprintf(id, sizeof(id), "sim-model-%04zu", i + 1);
        list_item(j, c, str_of(id));
    }
    for (size_t i = 0; c->b.fault != SIM_FAULT_LIST_EMPTY && i < m->count; i++) {
        list_item(j, c, str_of(m->ids[i]));
        if (c->b.fault == SIM_FAULT_LIST_DUPLICATES)
            list_item(j, c, str_of(m->ids[i]));
    }
}

void sim_format_models(struct sim_call *c, const struct sim_models *m, struct sim_reply *r)
{
    struct json_out j;

    json_out_init(&j, &r->body);
    json_out_object(&j);
    if (c->b.fault == SIM_FAULT_LIST_NO_DATA) {
        json_out_kcstr(&j, "object", "list");
        json_out_end(&j);
        return;
    }
    if (c->dialect == SIM_OPENAI)
        json_out_kcstr(&j, "object", "list");
    json_out_key(&j, c->dialect == SIM_GEMINI ? "models" : "data");
    json_out_array(&j);
    list_items(&j, c, m);
    json_out_end(&j);
    if (c->dialect == SIM_ANTHROPIC) {
        json_out_kbool(&j, "has_more", false);
        json_out_kcstr(&j, "first_id", m->count ? m->ids[0] : NULL);
        json_out_kcstr(&j, "last_id", m->count ? m->ids[m->count - 1] : NULL);
    }
    json_out_end(&j);
}

/* ---- errors ---- */

static const struct error_words {
    int status;
    const char *openai, *code, *anthropic, *google;
} error_words[] = {
    {400, "invalid_request_error", NULL, "invalid_request_error", "INVALID_ARGUMENT"},
    {401, "invalid_request_error", "invalid_api_key", "authentication_error", "UNAUTHENTICATED"},
    {402, "insufficient_quota", "insufficient_quota", "billing_error", "FAILED_PRECONDITION"},
    {403, "permission_error", "model_not_allowed", "permission_error", "PERMISSION_DENIED"},
    {404, "invalid_request_error", "model_not_found", "not_found_error", "NOT_FOUND"},
    {413, "invalid_request_error", "request_too_large", "request_too_large", "INVALID_ARGUMENT"},
    {429, "requests", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"},
    {500, "server_error", NULL, "api_error", "INTERNAL"},
    {503, "server_error", "overloaded", "api_error", "UNAVAILABLE"},
    {504, "server_error", NULL, "timeout_error", "DEADLINE_EXCEEDED"},
    {529, "server_error", "overloaded", "overloaded_error", "UNAVAILABLE"},
};

static const struct error_words *words_for(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(error_words); i++)
        if (error_words[i].status == status)
            return &error_words[i];
    return words_for(status >= 500 ? 500 : 400);
}

void sim_format_error(const struct sim_call *c, int status, const char *message, struct sim_reply *r)
{
    const struct error_words *w = words_for(status);
    struct json_out j;

    r->status = status;
    r->type = "application/json";
    json_out_init(&j, &r->body);
    json_out_object(&j);
    if (c->dialect == SIM_ANTHROPIC)
        json_out_kcstr(&j, "type", "error");
    json_out_key(&j, "error");
    json_out_object(&j);
    if (c->dialect == SIM_GEMINI) {
        json_out_ki64(&j, "code", status);
        json_out_kcstr(&j, "message", message);
        json_out_kcstr(&j, "status", w->google);
    } else if (c->dialect == SIM_ANTHROPIC) {
        json_out_kcstr(&j, "type", w->anthropic);
        json_out_kcstr(&j, "message", message);
    } else {
        json_out_kcstr(&j, "message", message);
        json_out_kcstr(&j, "type", w->openai);
        json_out_knull(&j, "param");
        json_out_kcstr(&j, "code", w->code);
    }
    json_out_end(&j);
    if (c->dialect == SIM_ANTHROPIC)
        kid(&j, c, "request_id", "req_");
    json_out_end(&j);
}
