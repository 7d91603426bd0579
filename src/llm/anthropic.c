/* anthropic.c -- POST /v1/messages (spec 2 section A5). Its input count contains no cache counts.
 */
#include "llm/wire_reply.h"

static int probe_headers(struct buf *out, struct str api_key, struct str anthropic_version)
{
    size_t start = buf_len(out);
    int rc = buf_printf(out, "anthropic-version: %.*s", STR_ARG(anthropic_version));

    if (rc == 0)
        rc = buf_add_char(out, '\0');
    if (rc == 0)
        rc = buf_printf(out, "x-api-key: %.*s", STR_ARG(api_key));
    if (rc == 0)
        rc = buf_add_char(out, '\0');
    if (rc != 0)
        buf_shorten(out, start);
    return rc;
}

/* A later positive figure replaces an earlier one; 0 or absence does not erase it. */
static bool replace(int64_t *into, const struct json_scan_value *v)
{
    int64_t n;

    if (!wire_reply_count(v, &n))
        return false;
    if (n > 0)
        *into = n;
    return true;
}

static void read_output(struct usage *u, const struct json_scan_value *output,
                        const struct json_scan_value *details, bool *ret_any)
{
    struct json_scan_value thinking;
    int64_t all = u->output + u->reasoning;

    *ret_any |= replace(&all, output);
    if (json_scan_find(details->raw, &thinking, "thinking_tokens", NULL))
        (void)replace(&u->reasoning, &thinking);
    u->reasoning = MIN(u->reasoning, all);
    u->output = all - u->reasoning;
}

static void read_usage(struct wire_reply *r, struct str usage, enum usage_source source)
{
    static const char *const names[] = {
        "input_tokens",   "cache_read_input_tokens", "cache_creation_input_tokens",
        "cache_creation", "output_tokens",           "output_tokens_details"};
    struct json_scan_value v[ARRAY_LEN(names)], part;
    struct usage *u = &r->usage;
    int64_t written = 0;
    bool has_any = false, has_split = false;

    if (!json_scan_members(usage, names, ARRAY_LEN(names), v))
        return;
    has_any |= replace(&u->input, &v[0]);
    has_any |= replace(&u->cache_read, &v[1]);
    if (json_scan_find(v[3].raw, &part, "ephemeral_5m_input_tokens", NULL))
        has_split |= replace(&u->cache_write_5m, &part);
    if (json_scan_find(v[3].raw, &part, "ephemeral_1h_input_tokens", NULL))
        has_split |= replace(&u->cache_write_1h, &part);
    if (replace(&written, &v[2])) {
        has_any = true;
        /* without a split all of it is 5m, less what an earlier event called 1h */
        if (!has_split && written > 0)
            u->cache_write_5m = written > u->cache_write_1h ? written - u->cache_write_1h : 0;
    }
    read_output(u, &v[4], &v[5], &has_any);
    if ((has_any || has_split) && r->usage_source != USAGE_REPORTED)
        r->usage_source = source;
}

static void read_stop(struct wire_reply *r, const struct json_scan_value *reason)
{
    if (json_scan_str_eq(reason, "max_tokens") ||
        json_scan_str_eq(reason, "model_context_window_exceeded"))
        r->is_truncated = true;
}

static void read_reply(struct str body, bool lenient, struct wire_reply *r)
{
    static const char *const names[] = {"content", "usage", "model", "stop_reason"};
    static const char *const block_names[] = {"type", "text"};
    struct json_scan_value v[ARRAY_LEN(names)], block, b[ARRAY_LEN(block_names)];
    struct json_scan s;

    if (!wire_reply_begin(r, body) || !json_scan_members(body, names, ARRAY_LEN(names), v))
        return;
    wire_reply_model(r, &v[2]);
    read_stop(r, &v[3]);
    if (v[1].type == JSON_SCAN_OBJECT)
        read_usage(r, v[1].raw, USAGE_REPORTED);
    json_scan_init(&s, v[0].raw);
    if (v[0].type == JSON_SCAN_ARRAY && json_scan_enter(&s, JSON_SCAN_ARRAY))
        while (r->text[0] == '\0' && json_scan_item(&s) && json_scan_value(&s, &block))
            if (json_scan_members(block.raw, block_names, ARRAY_LEN(block_names), b) &&
                json_scan_str_eq(&b[0], "text"))
                wire_reply_take(r, &b[1]);
}

static void read_start(struct wire_reply *r, struct str message)
{
    static const char *const names[] = {"usage", "model"};
    struct json_scan_value v[ARRAY_LEN(names)];

    if (!json_scan_members(message, names, ARRAY_LEN(names), v))
        return;
    wire_reply_model(r, &v[1]);
    if (v[0].type == JSON_SCAN_OBJECT)
        read_usage(r, v[0].raw, USAGE_PARTIAL);
}

static bool read_delta(struct wire_reply *r, struct str delta)
{
    static const char *const names[] = {"text", "thinking", "partial_json"};
    struct json_scan_value v[ARRAY_LEN(names)];

    if (!json_scan_members(delta, names, ARRAY_LEN(names), v))
        return false;
    return wire_reply_text(r, &v[0], 0) || (v[1].type == JSON_SCAN_STRING && v[1].raw.len > 2) ||
           (v[2].type == JSON_SCAN_STRING && v[2].raw.len > 2);
}

static bool read_event(struct str name, struct str data, struct wire_reply *r)
{
    static const char *const names[] = {"type", "message", "delta", "usage", "content_block"};
    struct json_scan_value v[ARRAY_LEN(names)], stop;

    if (json_scan_check(data, NULL) != 0 || !json_scan_members(data, names, ARRAY_LEN(names), v)) {
        r->is_finished |= str_eq_c(str_trim(data), "[DONE]"); /* sent by some relays */
        return false;
    }
    r->is_json = true;
    if (json_scan_str_eq(&v[0], "content_block_delta"))
        return read_delta(r, v[2].raw);
    if (json_scan_str_eq(&v[0], "content_block_start"))
        return read_delta(r, v[4].raw);
    if (json_scan_str_eq(&v[0], "message_start")) {
        read_start(r, v[1].raw);
    } else if (json_scan_str_eq(&v[0], "message_delta")) {
        if (json_scan_find(v[2].raw, &stop, "stop_reason", NULL))
            read_stop(r, &stop);
        if (v[3].type == JSON_SCAN_OBJECT)
            read_usage(r, v[3].raw, USAGE_REPORTED);
    } else if (json_scan_str_eq(&v[0], "message_stop")) {
        r->is_finished = true;
    } else if (r->error[0] == '\0') {
        wire_read_error(data, r);
    }
    return false;
}

const struct wire anthropic_wire = {
    .protocol = PROTOCOL_ANTHROPIC,
    .probe_body = wire_reply_chat_body,
    .probe_headers = probe_headers,
    .read_reply = read_reply,
    .read_event = read_event,
};
