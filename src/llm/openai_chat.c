/* openai_chat.c -- POST /v1/chat/completions (spec 2 section A3). */
#include "llm/wire_reply.h"

enum { RANK_CONTENT, RANK_REASONING, RANK_REFUSAL, RANK_OLD };

static int probe_headers(struct buf *out, struct str api_key, struct str anthropic_version)
{
    return 0; /* the bearer is enough */
}

static void read_usage(struct wire_reply *r, struct str usage)
{
    static const char *const names[] = {
        "prompt_tokens",         "completion_tokens",         "total_tokens",
        "prompt_tokens_details", "completion_tokens_details", "prompt_cache_hit_tokens"};
    enum { INPUT, OUTPUT, TOTAL, INPUT_DETAILS, OUTPUT_DETAILS, CACHE_HIT, N };
    struct json_scan_value v[N], d;
    struct wire_counts c = {.input = 0};

    static_assert(ARRAY_LEN(names) == N, "names and indexes go together");
    if (!json_scan_members(usage, names, N, v))
        return;
    c.has_input = wire_reply_count(&v[INPUT], &c.input);
    c.has_output = wire_reply_count(&v[OUTPUT], &c.output);
    c.has_total = wire_reply_count(&v[TOTAL], &c.total);
    if (!json_scan_find(v[INPUT_DETAILS].raw, &d, "cached_tokens", NULL) ||
        !wire_reply_count(&d, &c.cache_read))
        (void)wire_reply_count(&v[CACHE_HIT], &c.cache_read);
    if (json_scan_find(v[INPUT_DETAILS].raw, &d, "cache_write_tokens", NULL))
        (void)wire_reply_count(&d, &c.cache_write);
    if (json_scan_find(v[OUTPUT_DETAILS].raw, &d, "reasoning_tokens", NULL))
        (void)wire_reply_count(&d, &c.reasoning);
    wire_reply_usage(r, &c, false, USAGE_REPORTED);
}

static void read_finish(struct wire_reply *r, const struct json_scan_value *reason)
{
    if (reason->type != JSON_SCAN_STRING || reason->raw.len <= 2)
        return;
    r->is_finished = true;
    if (json_scan_str_eq(reason, "length"))
        r->is_truncated = true;
}

/* An array of parts: strings, or objects whose `text` is a string, joined. */
static bool read_parts(struct wire_reply *r, struct str content, uint8_t rank)
{
    struct json_scan s;
    struct json_scan_value item, text;
    bool has_text = false;

    json_scan_init(&s, content);
    if (json_scan_peek(&s) != JSON_SCAN_ARRAY || !json_scan_enter(&s, JSON_SCAN_ARRAY))
        return false;
    while (json_scan_item(&s) && json_scan_value(&s, &item)) {
        if (item.type == JSON_SCAN_STRING)
            has_text |= wire_reply_text(r, &item, rank);
        else if (item.type == JSON_SCAN_OBJECT && json_scan_find(item.raw, &text, "text", NULL))
            has_text |= wire_reply_text(r, &text, rank);
    }
    return has_text;
}

/* `message` of a whole answer. */
static void read_message(struct wire_reply *r, struct str message, bool lenient)
{
    static const char *const names[] = {"content", "reasoning_content", "refusal"};
    struct json_scan_value v[ARRAY_LEN(names)];

    if (!json_scan_members(message, names, ARRAY_LEN(names), v))
        return;
    wire_reply_take(r, &v[0]);
    if (lenient && r->text[0] == '\0') {
        (void)read_parts(r, v[0].raw, RANK_CONTENT);
        wire_reply_trim(r);
    }
    wire_reply_take(r, &v[1]);
    wire_reply_take(r, &v[2]);
}

static const char *const choice_names[] = {"message", "text", "finish_reason", "delta", "usage"};
enum { CHOICE_MESSAGE, CHOICE_TEXT, CHOICE_FINISH, CHOICE_DELTA, CHOICE_USAGE, CHOICE_N };
static_assert(ARRAY_LEN(choice_names) == CHOICE_N, "names and indexes go together");

static const char *const reply_names[] = {"choices", "usage", "model", "x_groq"};
enum { REPLY_CHOICES, REPLY_USAGE, REPLY_MODEL, REPLY_GROQ, REPLY_N };
static_assert(ARRAY_LEN(reply_names) == REPLY_N, "names and indexes go together");

static void read_reply(struct str body, bool lenient, struct wire_reply *r)
{
    struct json_scan_value v[REPLY_N], first, c[CHOICE_N];

    if (!wire_reply_begin(r, body) || !json_scan_members(body, reply_names, REPLY_N, v))
        return;
    wire_reply_model(r, &v[REPLY_MODEL]);
    if (v[REPLY_USAGE].type == JSON_SCAN_OBJECT)
        read_usage(r, v[REPLY_USAGE].raw);
    if (v[REPLY_CHOICES].type != JSON_SCAN_ARRAY ||
        !json_scan_find(v[REPLY_CHOICES].raw, &first, "0", NULL) ||
        !json_scan_members(first.raw, choice_names, CHOICE_N, c))
        return;
    if (c[CHOICE_MESSAGE].type == JSON_SCAN_OBJECT)
        read_message(r, c[CHOICE_MESSAGE].raw, lenient);
    wire_reply_take(r, &c[CHOICE_TEXT]);
    read_finish(r, &c[CHOICE_FINISH]);
}

static bool read_delta(struct wire_reply *r, struct str delta)
{
    static const char *const names[] = {"content", "reasoning_content", "refusal", "tool_calls",
                                        "reasoning"};
    struct json_scan_value v[ARRAY_LEN(names)];
    bool has_text;

    if (!json_scan_members(delta, names, ARRAY_LEN(names), v))
        return false;
    has_text = wire_reply_text(r, &v[0], RANK_CONTENT);
    if (v[0].type == JSON_SCAN_ARRAY)
        has_text |= read_parts(r, v[0].raw, RANK_CONTENT);
    has_text |= wire_reply_text(r, &v[1], RANK_REASONING);
    has_text |= wire_reply_text(r, &v[2], RANK_REFUSAL);
    if (v[3].type == JSON_SCAN_ARRAY && json_scan_find(v[3].raw, &v[0], "0", NULL))
        has_text = true;
    return has_text || (v[4].type == JSON_SCAN_STRING && v[4].raw.len > 2);
}

static bool read_choice(struct wire_reply *r, struct str choice)
{
    struct json_scan_value c[CHOICE_N], content;
    bool has_text = false;

    if (!json_scan_members(choice, choice_names, CHOICE_N, c))
        return false;
    if (c[CHOICE_DELTA].type == JSON_SCAN_OBJECT)
        has_text = read_delta(r, c[CHOICE_DELTA].raw);
    has_text |= wire_reply_text(r, &c[CHOICE_TEXT], RANK_OLD);
    /* some servers repeat the whole message at the end, or send nothing else */
    if (r->text[0] == '\0' && c[CHOICE_MESSAGE].type == JSON_SCAN_OBJECT &&
        json_scan_find(c[CHOICE_MESSAGE].raw, &content, "content", NULL))
        has_text |= wire_reply_text(r, &content, RANK_CONTENT);
    if (c[CHOICE_USAGE].type == JSON_SCAN_OBJECT)
        read_usage(r, c[CHOICE_USAGE].raw);
    read_finish(r, &c[CHOICE_FINISH]);
    return has_text;
}

static bool read_event(struct str name, struct str data, struct wire_reply *r)
{
    struct json_scan_value v[REPLY_N], first;

    if (str_eq_c(str_trim(data), "[DONE]")) {
        r->is_finished = true;
        return false;
    }
    if (json_scan_check(data, NULL) != 0 || !json_scan_members(data, reply_names, REPLY_N, v))
        return false;
    r->is_json = true;
    if (r->error[0] == '\0')
        wire_read_error(data, r);
    wire_reply_model(r, &v[REPLY_MODEL]);
    if (v[REPLY_GROQ].type == JSON_SCAN_OBJECT &&
        json_scan_find(v[REPLY_GROQ].raw, &first, "usage", NULL))
        read_usage(r, first.raw);
    if (v[REPLY_USAGE].type == JSON_SCAN_OBJECT)
        read_usage(r, v[REPLY_USAGE].raw);
    return v[REPLY_CHOICES].type == JSON_SCAN_ARRAY &&
           json_scan_find(v[REPLY_CHOICES].raw, &first, "0", NULL) && read_choice(r, first.raw);
}

const struct wire openai_chat_wire = {
    .protocol = PROTOCOL_OPENAI_CHAT,
    .probe_body = wire_reply_chat_body,
    .probe_headers = probe_headers,
    .read_reply = read_reply,
    .read_event = read_event,
};
