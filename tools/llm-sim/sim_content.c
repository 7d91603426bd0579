/* sim_content.c -- what an answer says, the same in every format, and usage in each vendor's shape. */
#include "sim.h"

static struct str text_of(struct sim_call *c)
{
    struct buf b = BUF_INIT(SIM_BODY_MAX);
    struct str s;

    if (c->b.text)
        return str_of(c->b.text);
    if (c->b.words == 0)
        return arena_str(&c->arena, str_of(arena_printf(&c->arena, "I am %.*s", STR_ARG(c->model))));
    for (uint64_t i = 1; i <= c->b.words; i++)
        buf_putf(&b, "%sword%llu", i > 1 ? " " : "", (unsigned long long)i);
    s = arena_str(&c->arena, buf_str(&b));
    buf_release(&b);
    return s;
}

bool sim_next_word(struct str *text, struct str *ret)
{
    size_t n = 0;

    if (text->len == 0)
        return false;
    while (n < text->len && text->ptr[n] == ' ')
        n++;
    while (n < text->len && text->ptr[n] != ' ')
        n++;
    *ret = str_cut(*text, 0, n);
    *text = str_cut(*text, n, text->len);
    return true;
}

static uint64_t count_words(struct str text)
{
    struct str word;
    uint64_t n = 0;

    while (sim_next_word(&text, &word))
        n++;
    return n;
}

/* The tool the client offers first, in any format. */
static struct str first_tool(const struct sim_call *c)
{
    const json_t *tool = json_array_get(json_object_get(c->json, "tools"), 0), *name;
    const json_t *declared = json_array_get(json_object_get(tool, "functionDeclarations"), 0);

    name = json_object_get(json_object_get(tool, "function"), "name");
    if (!name)
        name = json_object_get(declared ? declared : tool, "name");
    return name ? str_of(json_string_value(name)) : STR("sim_tool");
}

static bool must_call_tool(const struct sim_call *c)
{
    const json_t *choice = json_object_get(c->json, "tool_choice");

    if (c->b.tool || c->b.fault == SIM_FAULT_TOOL_CALL)
        return true;
    if (json_is_object(choice)) {
        const char *type = json_string_value(json_object_get(choice, "type"));

        return type && strcmp(type, "auto") != 0 && strcmp(type, "none") != 0;
    }
    return json_is_string(choice) && strcmp(json_string_value(choice), "required") == 0;
}

static void set_usage(struct sim_call *c, struct sim_content *ret)
{
    const struct sim_behaviour *b = &c->b;
    struct sim_usage *u = &ret->usage;
    uint64_t said = count_words(ret->text) + count_words(ret->refusal) + (ret->tool.len > 0 ? 5 : 0);

    u->prompt = b->prompt_tokens ? b->prompt_tokens : 10;
    u->cached = MIN(b->cached_tokens, u->prompt);
    u->cache_write = MIN(b->cache_write_tokens, u->prompt - u->cached);
    u->reasoning = b->reasoning_tokens ? b->reasoning_tokens : count_words(ret->reasoning);
    u->output = b->output_tokens ? b->output_tokens : said + u->reasoning;
}

void sim_content_make(struct sim_call *c, struct sim_content *ret)
{
    *ret = (struct sim_content){.text = text_of(c), .reasoning = str_of(c->b.reasoning)};
    switch (c->b.fault) {
    case SIM_FAULT_REFUSAL:
        ret->refusal = STR("I can not help with that.");
        ret->text = STR_NONE;
        ret->finish = SIM_REFUSED;
        break;
    case SIM_FAULT_REASONING_ONLY:
        if (ret->reasoning.len == 0)
            ret->reasoning = STR("Let me think about it");
        ret->text = STR_NONE;
        break;
    case SIM_FAULT_LENGTH:
        ret->finish = SIM_LENGTH;
        break;
    case SIM_FAULT_NULL_CONTENT:
        ret->text = STR_NONE;
        break;
    case SIM_FAULT_EMPTY_CHOICES:
        ret->is_empty = true;
        break;
    case SIM_FAULT_BAD_UTF8:
        ret->text = STR("bad @@@@ bytes"); /* sim_wire puts the bytes in, behind the writer that would mend them */
        break;
    default: /* over the whole table of faults on purpose: most concern other parts */
        break;
    }
    if (must_call_tool(c)) {
        ret->tool = c->b.tool ? str_of(c->b.tool) : first_tool(c);
        ret->text = STR_NONE;
        ret->finish = SIM_TOOL;
    }
    set_usage(c, ret);
}

const char *sim_content_finish(const struct sim_call *c, const struct sim_content *content)
{
    static const char *const words[SIM_ROUTES][4] = {
        [SIM_CHAT] = {"stop", "length", "tool_calls", "stop"},
        [SIM_RESPONSES] = {"completed", "incomplete", "completed", "completed"},
        [SIM_MESSAGES] = {"end_turn", "max_tokens", "tool_use", "refusal"},
        [SIM_GENERATE] = {"STOP", "MAX_TOKENS", "STOP", "SAFETY"},
    };
    const char *word = words[c->route][content->finish];

    return c->b.finish ? c->b.finish : word ? word : "stop";
}

static void ku64(struct json_out *j, const char *key, uint64_t v)
{
    json_out_key(j, key);
    json_out_u64(j, v);
}

static void chat_usage(const struct sim_usage *u, struct json_out *j)
{
    ku64(j, "prompt_tokens", u->prompt);
    ku64(j, "completion_tokens", u->output);
    ku64(j, "total_tokens", u->prompt + u->output);
    json_out_key(j, "prompt_tokens_details");
    json_out_object(j);
    ku64(j, "cached_tokens", u->cached);
    ku64(j, "audio_tokens", 0);
    json_out_end(j);
    json_out_key(j, "completion_tokens_details");
    json_out_object(j);
    ku64(j, "reasoning_tokens", u->reasoning);
    ku64(j, "audio_tokens", 0);
    ku64(j, "accepted_prediction_tokens", 0);
    ku64(j, "rejected_prediction_tokens", 0);
    json_out_end(j);
}

static void responses_usage(const struct sim_usage *u, struct json_out *j)
{
    ku64(j, "input_tokens", u->prompt);
    json_out_key(j, "input_tokens_details");
    json_out_object(j);
    ku64(j, "cached_tokens", u->cached);
    json_out_end(j);
    ku64(j, "output_tokens", u->output);
    json_out_key(j, "output_tokens_details");
    json_out_object(j);
    ku64(j, "reasoning_tokens", u->reasoning);
    json_out_end(j);
    ku64(j, "total_tokens", u->prompt + u->output);
}

static void messages_usage(const struct sim_usage *u, struct json_out *j)
{
    ku64(j, "input_tokens", u->prompt - u->cached - u->cache_write);
    ku64(j, "cache_creation_input_tokens", u->cache_write);
    ku64(j, "cache_read_input_tokens", u->cached);
    json_out_key(j, "cache_creation");
    json_out_object(j);
    ku64(j, "ephemeral_5m_input_tokens", u->cache_write);
    ku64(j, "ephemeral_1h_input_tokens", 0);
    json_out_end(j);
    ku64(j, "output_tokens", u->output);
    json_out_kcstr(j, "service_tier", "standard");
}

static void generate_usage(const struct sim_usage *u, struct json_out *j)
{
    ku64(j, "promptTokenCount", u->prompt);
    ku64(j, "candidatesTokenCount", u->output - MIN(u->reasoning, u->output));
    ku64(j, "totalTokenCount", u->prompt + u->output);
    if (u->cached)
        ku64(j, "cachedContentTokenCount", u->cached);
    if (u->reasoning)
        ku64(j, "thoughtsTokenCount", u->reasoning);
    json_out_key(j, "promptTokensDetails");
    json_out_array(j);
    json_out_object(j);
    json_out_kcstr(j, "modality", "TEXT");
    ku64(j, "tokenCount", u->prompt);
    json_out_end(j);
    json_out_end(j);
}

void sim_usage_write(const struct sim_call *c, const struct sim_usage *u, struct json_out *j)
{
    json_out_object(j);
    if (c->route == SIM_RESPONSES) {
        responses_usage(u, j);
    } else if (c->route == SIM_MESSAGES) {
        messages_usage(u, j);
    } else if (c->route == SIM_GENERATE) {
        generate_usage(u, j);
    } else if (c->route == SIM_EMBEDDINGS) {
        ku64(j, "prompt_tokens", u->prompt);
        ku64(j, "total_tokens", u->prompt);
    } else {
        chat_usage(u, j);
    }
    json_out_end(j);
}
