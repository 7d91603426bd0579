/* gemini.c -- POST /v1beta/models/{m}:generateContent and :streamGenerateContent (spec 2 section
 * A6). Thoughts stand outside the candidates' count unless the total says otherwise. */
#include "llm/wire_reply.h"

#include "base/json_out.h"

static int probe_body(struct buf *out, struct str model, struct str prompt, bool is_stream)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_key(&j, "contents");
    json_out_array(&j);
    json_out_object(&j);
    json_out_key(&j, "parts");
    json_out_array(&j);
    json_out_object(&j);
    json_out_kstr(&j, "text", prompt);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    json_out_key(&j, "generationConfig");
    json_out_object(&j);
    json_out_ki64(&j, "maxOutputTokens", 10);
    json_out_end(&j);
    json_out_end(&j);
    return j.failed ? ERR_LIMIT : 0;
}

static int probe_headers(struct buf *out, struct str api_key, struct str anthropic_version)
{
    size_t start = buf_len(out);
    int rc = buf_printf(out, "x-goog-api-key: %.*s", STR_ARG(api_key));

    if (rc == 0)
        rc = buf_add_char(out, '\0');
    if (rc != 0)
        buf_shorten(out, start);
    return rc;
}

static void read_usage(struct wire_reply *r, struct str usage, enum usage_source source)
{
    static const char *const names[] = {"promptTokenCount",   "candidatesTokenCount",
                                        "totalTokenCount",    "cachedContentTokenCount",
                                        "thoughtsTokenCount", "toolUsePromptTokenCount"};
    struct json_scan_value v[ARRAY_LEN(names)];
    struct wire_counts c = {.input = 0};
    int64_t tool;

    if (!json_scan_members(usage, names, ARRAY_LEN(names), v))
        return;
    c.has_input = wire_reply_count(&v[0], &c.input);
    c.has_output = wire_reply_count(&v[1], &c.output);
    c.has_total = wire_reply_count(&v[2], &c.total);
    (void)wire_reply_count(&v[3], &c.cache_read);
    /* a model that only thought reports no candidates at all: that is an output of 0 */
    if (wire_reply_count(&v[4], &c.reasoning))
        c.has_output = true;
    if (wire_reply_count(&v[5], &tool))
        c.input += tool; /* both at most 2^53 */
    wire_reply_usage(r, &c, true, source);
}

/* All parts with text and without the thought mark. Whole answers take the first readable one;
 * streamed ones go on. */
static bool read_parts(struct wire_reply *r, struct str parts, bool is_stream)
{
    static const char *const names[] = {"text", "thought", "functionCall"};
    struct json_scan_value part, p[ARRAY_LEN(names)];
    struct json_scan s;
    bool has_text = false;

    json_scan_init(&s, parts);
    if (json_scan_peek(&s) != JSON_SCAN_ARRAY || !json_scan_enter(&s, JSON_SCAN_ARRAY))
        return false;
    while (json_scan_item(&s) && json_scan_value(&s, &part)) {
        if (!json_scan_members(part.raw, names, ARRAY_LEN(names), p))
            continue;
        if (p[1].type == JSON_SCAN_TRUE || p[2].type == JSON_SCAN_OBJECT)
            has_text |= p[2].type == JSON_SCAN_OBJECT || p[0].raw.len > 2;
        else if (is_stream)
            has_text |= wire_reply_text(r, &p[0], 0);
        else
            wire_reply_take(r, &p[0]);
    }
    return has_text;
}

static bool read_object(struct wire_reply *r, struct str body, bool is_stream)
{
    static const char *const names[] = {"candidates", "usageMetadata", "modelVersion"};
    static const char *const candidate_names[] = {"content", "finishReason"};
    struct json_scan_value v[ARRAY_LEN(names)], first, c[ARRAY_LEN(candidate_names)], parts;
    bool has_text = false;

    if (!json_scan_members(body, names, ARRAY_LEN(names), v))
        return false;
    wire_reply_model(r, &v[2]);
    if (v[0].type == JSON_SCAN_ARRAY && json_scan_find(v[0].raw, &first, "0", NULL) &&
        json_scan_members(first.raw, candidate_names, ARRAY_LEN(candidate_names), c)) {
        if (json_scan_find(c[0].raw, &parts, "parts", NULL))
            has_text = read_parts(r, parts.raw, is_stream);
        if (c[1].type == JSON_SCAN_STRING && c[1].raw.len > 2)
            r->is_finished = true;
        if (json_scan_str_eq(&c[1], "MAX_TOKENS"))
            r->is_truncated = true;
    }
    if (v[1].type == JSON_SCAN_OBJECT)
        read_usage(r, v[1].raw, !is_stream || r->is_finished ? USAGE_REPORTED : USAGE_PARTIAL);
    return has_text;
}

static void read_reply(struct str body, bool lenient, struct wire_reply *r)
{
    if (wire_reply_begin(r, body))
        (void)read_object(r, body, false);
}

static bool read_event(struct str name, struct str data, struct wire_reply *r)
{
    if (json_scan_check(data, NULL) != 0) {
        r->is_finished |= str_eq_c(str_trim(data), "[DONE]"); /* sent by some relays */
        return false;
    }
    r->is_json = true;
    if (r->error[0] == '\0')
        wire_read_error(data, r);
    return read_object(r, data, true);
}

const struct wire gemini_wire = {
    .protocol = PROTOCOL_GEMINI,
    .probe_body = probe_body,
    .probe_headers = probe_headers,
    .read_reply = read_reply,
    .read_event = read_event,
};
