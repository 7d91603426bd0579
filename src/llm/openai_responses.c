/* openai_responses.c -- POST /v1/responses (spec 2 section A4). */
#include "llm/wire_reply.h"

#include "base/json_out.h"

static int probe_body(struct buf *out, struct str model, struct str prompt, bool is_stream)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kstr(&j, "model", model);
    json_out_kbool(&j, "stream", is_stream);
    json_out_key(&j, "input");
    json_out_array(&j);
    json_out_object(&j);
    json_out_kcstr(&j, "role", "user");
    json_out_key(&j, "content");
    json_out_array(&j);
    json_out_object(&j);
    json_out_kcstr(&j, "type", "input_text");
    json_out_kstr(&j, "text", prompt);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    return j.failed ? ERR_LIMIT : 0;
}

static int probe_headers(struct buf *out, struct str api_key, struct str anthropic_version)
{
    return 0; /* the bearer is enough */
}

static void read_usage(struct wire_reply *r, struct str usage)
{
    static const char *const names[] = {"input_tokens", "output_tokens", "total_tokens",
                                        "input_tokens_details", "output_tokens_details"};
    struct json_scan_value v[ARRAY_LEN(names)], d;
    struct wire_counts c = {.input = 0};

    if (!json_scan_members(usage, names, ARRAY_LEN(names), v))
        return;
    c.has_input = wire_reply_count(&v[0], &c.input);
    c.has_output = wire_reply_count(&v[1], &c.output);
    c.has_total = wire_reply_count(&v[2], &c.total);
    if (json_scan_find(v[3].raw, &d, "cached_tokens", NULL))
        (void)wire_reply_count(&d, &c.cache_read);
    if (json_scan_find(v[3].raw, &d, "cache_write_tokens", NULL))
        (void)wire_reply_count(&d, &c.cache_write);
    if (json_scan_find(v[4].raw, &d, "reasoning_tokens", NULL))
        (void)wire_reply_count(&d, &c.reasoning);
    wire_reply_usage(r, &c, false, USAGE_REPORTED);
}

/* First readable text of an item: its parts of type output_text, then its own `text`. */
static void read_item(struct wire_reply *r, struct str item)
{
    static const char *const names[] = {"content", "text"};
    static const char *const part_names[] = {"type", "text"};
    struct json_scan_value v[ARRAY_LEN(names)], part, p[ARRAY_LEN(part_names)];
    struct json_scan s;

    if (!json_scan_members(item, names, ARRAY_LEN(names), v))
        return;
    json_scan_init(&s, v[0].raw);
    if (v[0].type == JSON_SCAN_ARRAY && json_scan_enter(&s, JSON_SCAN_ARRAY))
        while (r->text[0] == '\0' && json_scan_item(&s) && json_scan_value(&s, &part))
            if (json_scan_members(part.raw, part_names, ARRAY_LEN(part_names), p) &&
                json_scan_str_eq(&p[0], "output_text"))
                wire_reply_take(r, &p[1]);
    wire_reply_take(r, &v[1]);
}

/* The response object: a whole answer, or `response` of a closing event. */
static void read_response(struct wire_reply *r, struct str response)
{
    static const char *const names[] = {"output", "usage", "model", "incomplete_details"};
    struct json_scan_value v[ARRAY_LEN(names)], item, reason;
    struct json_scan s;

    if (!json_scan_members(response, names, ARRAY_LEN(names), v))
        return;
    wire_reply_model(r, &v[2]);
    if (v[1].type == JSON_SCAN_OBJECT)
        read_usage(r, v[1].raw);
    if (json_scan_find(v[3].raw, &reason, "reason", NULL) &&
        json_scan_str_eq(&reason, "max_output_tokens"))
        r->is_truncated = true;
    json_scan_init(&s, v[0].raw);
    if (v[0].type == JSON_SCAN_ARRAY && json_scan_enter(&s, JSON_SCAN_ARRAY))
        while (r->text[0] == '\0' && json_scan_item(&s) && json_scan_value(&s, &item))
            read_item(r, item.raw);
}

static void read_reply(struct str body, bool lenient, struct wire_reply *r)
{
    if (wire_reply_begin(r, body))
        read_response(r, body);
}

static void read_stream_error(struct wire_reply *r, struct str data)
{
    struct json_scan_value v;

    wire_read_error(data, r);
    if (r->error[0] == '\0' && json_scan_find(data, &v, "message", NULL) &&
        v.type == JSON_SCAN_STRING)
        (void)json_scan_string_cut(v.raw, r->error, WIRE_TEXT_MAX + 1);
    if (r->error_code[0] == '\0' && json_scan_find(data, &v, "code", NULL) &&
        v.type == JSON_SCAN_STRING)
        (void)json_scan_string_cut(v.raw, r->error_code, sizeof(r->error_code));
    if (r->error[0] == '\0')
        (void)str_copy(r->error, sizeof(r->error), STR("the stream reported an error"));
}

static bool is_any(const struct json_scan_value *type, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (json_scan_str_eq(type, names[i]))
            return true;
    return false;
}

static bool read_event(struct str name, struct str data, struct wire_reply *r)
{
    static const char *const names[] = {"type", "delta", "response"};
    static const char *const ends[] = {"response.completed", "response.incomplete",
                                       "response.failed"};
    static const char *const tokens[] = {
        "response.reasoning_text.delta", "response.reasoning_summary_text.delta",
        "response.refusal.delta", "response.function_call_arguments.delta"};
    struct json_scan_value v[ARRAY_LEN(names)];

    if (str_eq_c(str_trim(data), "[DONE]")) { /* not of this format, but sent by some */
        r->is_finished = true;
        return false;
    }
    if (json_scan_check(data, NULL) != 0 || !json_scan_members(data, names, ARRAY_LEN(names), v))
        return false;
    r->is_json = true;
    if (json_scan_str_eq(&v[0], "response.output_text.delta"))
        return wire_reply_text(r, &v[1], 0);
    if (is_any(&v[0], tokens, ARRAY_LEN(tokens)))
        return v[1].type == JSON_SCAN_STRING && v[1].raw.len > 2;
    if (is_any(&v[0], ends, ARRAY_LEN(ends))) {
        bool had_text = r->text[0] != '\0';

        r->is_finished = true;
        if (json_scan_str_eq(&v[0], "response.failed"))
            read_stream_error(r, v[2].raw);
        read_response(r, v[2].raw);
        return !had_text && r->text[0] != '\0';
    }
    if (json_scan_str_eq(&v[0], "response.created"))
        read_response(r, v[2].raw);
    else if (json_scan_str_eq(&v[0], "error"))
        read_stream_error(r, data);
    else if (v[0].type == JSON_SCAN_NONE && r->error[0] == '\0')
        wire_read_error(data, r); /* a relay's own error object */
    return false;
}

const struct wire openai_responses_wire = {
    .protocol = PROTOCOL_OPENAI_RESPONSES,
    .probe_body = probe_body,
    .probe_headers = probe_headers,
    .read_reply = read_reply,
    .read_event = read_event,
};
