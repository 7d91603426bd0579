/* sim_stream.c -- answers as events, in the order and shape each vendor sends them. Text goes out
 * word by word; pace_ms lies between events. */
#include "sim.h"

struct writer {
    struct sim_call *c;
    struct sim_reply *r;
    struct sim_content content;
    struct buf json; /* of the event at hand */
    struct json_out j;
    int64_t sequence;
    size_t written;
};

static struct json_out *begin(struct writer *w)
{
    buf_clear(&w->json);
    json_out_init(&w->j, &w->json);
    json_out_object(&w->j);
    return &w->j;
}

/* Ends the object and sends it; name NULL = without an event line. */
static void put_event(struct writer *w, const char *name)
{
    json_out_end(&w->j);
    if (w->c->b.fault == SIM_FAULT_STREAM_ERROR && w->written == (w->c->b.has_at ? w->c->b.at : 2))
        sim_stream_error(w->c, w->r);
    w->written++;
    if (name)
        buf_putf(&w->r->body, "event: %s\n", name);
    buf_putf(&w->r->body, "data: %s\n\n", buf_cstr(&w->json));
    sim_reply_event(w->r);
}

void sim_stream_error(const struct sim_call *c, struct sim_reply *r)
{
    struct sim_reply e;

    sim_reply_init(&e);
    sim_format_error(c, c->b.status >= 400 ? c->b.status : 529, c->b.body ? c->b.body : "Overloaded", &e);
    if (c->dialect == SIM_ANTHROPIC || c->route == SIM_RESPONSES)
        buf_putf(&r->body, "event: error\n");
    buf_putf(&r->body, "data: %s\n\n", buf_cstr(&e.body));
    sim_reply_event(r);
    sim_reply_release(&e);
}

static void kid(struct json_out *j, const struct sim_call *c, const char *key, const char *prefix)
{
    char id[64];

    snprintf(id, sizeof(id), "%s%012llu", prefix, (unsigned long long)c->number);
    json_out_kcstr(j, key, id);
}

/* ---- chat completions ---- */

static struct json_out *chat_begin(struct writer *w)
{
    struct json_out *j = begin(w);

    kid(j, w->c, "id", "chatcmpl-");
    json_out_kcstr(j, "object", "chat.completion.chunk");
    json_out_ki64(j, "created", w->c->at_ms / 1000);
    json_out_kstr(j, "model", w->c->model);
    json_out_kcstr(j, "service_tier", "default");
    json_out_kcstr(j, "system_fingerprint", "fp_llmsim");
    json_out_key(j, "choices");
    json_out_array(j);
    return j;
}

static void chat_choice(struct writer *w)
{
    if (w->content.is_empty)
        return;
    json_out_object(&w->j);
    json_out_ki64(&w->j, "index", 0);
    json_out_key(&w->j, "delta");
    json_out_object(&w->j);
}

static void chat_send(struct writer *w, const char *finish)
{
    if (!w->content.is_empty) {
        json_out_end(&w->j); /* delta */
        json_out_knull(&w->j, "logprobs");
        json_out_kcstr(&w->j, "finish_reason", finish);
        json_out_end(&w->j);
    }
    json_out_end(&w->j); /* choices */
    if (w->c->wants_usage)
        json_out_knull(&w->j, "usage");
    put_event(w, NULL);
}

static void chat_delta(struct writer *w, const char *key, struct str text)
{
    struct json_out *j = chat_begin(w);

    chat_choice(w);
    if (!w->content.is_empty)
        json_out_kstr(j, key, text);
    chat_send(w, NULL);
}

static void chat_deltas(struct writer *w, const char *key, struct str text)
{
    struct str word;

    while (!w->content.is_empty && sim_next_word(&text, &word))
        chat_delta(w, key, word);
}

static void chat_tool(struct writer *w, const char *arguments, bool is_first)
{
    struct json_out *j = chat_begin(w);

    chat_choice(w);
    json_out_key(j, "tool_calls");
    json_out_array(j);
    json_out_object(j);
    json_out_ki64(j, "index", 0);
    if (is_first) {
        kid(j, w->c, "id", "call_");
        json_out_kcstr(j, "type", "function");
    }
    json_out_key(j, "function");
    json_out_object(j);
    if (is_first)
        json_out_kstr(j, "name", w->content.tool);
    json_out_kcstr(j, "arguments", arguments);
    json_out_end(j);
    json_out_end(j);
    json_out_end(j);
    chat_send(w, NULL);
}

static void chat(struct writer *w)
{
    struct json_out *j = chat_begin(w);

    chat_choice(w);
    if (!w->content.is_empty) {
        json_out_kcstr(j, "role", "assistant");
        json_out_kcstr(j, "content", w->content.tool.len > 0 ? NULL : "");
        json_out_knull(j, "refusal");
    }
    chat_send(w, NULL);
    chat_deltas(w, "reasoning_content", w->content.reasoning);
    chat_deltas(w, "content", w->content.text);
    chat_deltas(w, "refusal", w->content.refusal);
    if (w->content.tool.len > 0) {
        chat_tool(w, "", true);
        chat_tool(w, "{\"city\":", false);
        chat_tool(w, "\"Paris\"}", false);
    }
    if (w->c->b.fault == SIM_FAULT_NO_DONE)
        return;
    (void)chat_begin(w);
    chat_choice(w);
    chat_send(w, sim_content_finish(w->c, &w->content));
    if (w->c->wants_usage && w->c->b.fault != SIM_FAULT_NO_USAGE) {
        j = chat_begin(w);
        json_out_end(j);
        json_out_key(j, "usage");
        sim_usage_write(w->c, &w->content.usage, j);
        put_event(w, NULL);
    }
    buf_put(&w->r->body, STR("data: [DONE]\n\n"));
    sim_reply_event(w->r);
}

/* ---- responses ---- */

static struct json_out *responses_begin(struct writer *w, const char *type)
{
    struct json_out *j = begin(w);

    json_out_kcstr(j, "type", type);
    json_out_ki64(j, "sequence_number", w->sequence++);
    return j;
}

static void responses_whole(struct writer *w, const char *type, bool is_done)
{
    struct json_out *j = responses_begin(w, type);

    json_out_key(j, "response");
    sim_format_response(j, w->c, &w->content, is_done);
    put_event(w, type);
}

static void responses_place(struct writer *w, struct json_out *j, const char *prefix)
{
    kid(j, w->c, "item_id", prefix);
    json_out_ki64(j, "output_index", 0);
}

static void responses_item(struct writer *w, const char *type, bool is_done)
{
    struct json_out *j = responses_begin(w, type);
    bool is_tool = w->content.tool.len > 0;

    json_out_ki64(j, "output_index", 0);
    json_out_key(j, "item");
    json_out_object(j);
    kid(j, w->c, "id", is_tool ? "fc_" : "msg_");
    json_out_kcstr(j, "type", is_tool ? "function_call" : "message");
    json_out_kcstr(j, "status", is_done ? "completed" : "in_progress");
    if (is_tool) {
        kid(j, w->c, "call_id", "call_");
        json_out_kstr(j, "name", w->content.tool);
        json_out_kcstr(j, "arguments", is_done ? "{\"city\":\"Paris\"}" : "");
    } else {
        json_out_kcstr(j, "role", "assistant");
        json_out_key(j, "content");
        json_out_array(j);
        if (is_done) {
            json_out_object(j);
            json_out_kcstr(j, "type", "output_text");
            json_out_kstr(j, "text", w->content.text);
            json_out_key(j, "annotations");
            json_out_array(j);
            json_out_end(j);
            json_out_end(j);
        }
        json_out_end(j);
    }
    json_out_end(j);
    put_event(w, type);
}

static void responses_part(struct writer *w, const char *type, struct str text)
{
    struct json_out *j = responses_begin(w, type);
    bool is_refusal = w->content.refusal.len > 0;

    responses_place(w, j, "msg_");
    json_out_ki64(j, "content_index", 0);
    json_out_key(j, "part");
    json_out_object(j);
    json_out_kcstr(j, "type", is_refusal ? "refusal" : "output_text");
    json_out_kstr(j, is_refusal ? "refusal" : "text", text);
    json_out_end(j);
    put_event(w, type);
}

static void responses_text(struct writer *w, const char *type, const char *key, struct str text)
{
    struct json_out *j = responses_begin(w, type);

    responses_place(w, j, "msg_");
    json_out_ki64(j, "content_index", 0);
    json_out_kstr(j, key, text);
    put_event(w, type);
}

static void responses_message(struct writer *w)
{
    bool is_refusal = w->content.refusal.len > 0;
    struct str whole = is_refusal ? w->content.refusal : w->content.text, rest = whole, word;

    responses_item(w, "response.output_item.added", false);
    if (w->content.tool.len > 0) {
        struct json_out *j = responses_begin(w, "response.function_call_arguments.delta");

        responses_place(w, j, "fc_");
        json_out_kcstr(j, "delta", "{\"city\":\"Paris\"}");
        put_event(w, "response.function_call_arguments.delta");
        j = responses_begin(w, "response.function_call_arguments.done");
        responses_place(w, j, "fc_");
        json_out_kcstr(j, "arguments", "{\"city\":\"Paris\"}");
        put_event(w, "response.function_call_arguments.done");
    } else {
        responses_part(w, "response.content_part.added", STR(""));
        while (sim_next_word(&rest, &word))
            responses_text(w, is_refusal ? "response.refusal.delta" : "response.output_text.delta", "delta", word);
        responses_text(w, is_refusal ? "response.refusal.done" : "response.output_text.done", is_refusal ? "refusal" : "text", whole);
        responses_part(w, "response.content_part.done", whole);
    }
    responses_item(w, "response.output_item.done", true);
}

static void responses(struct writer *w)
{
    responses_whole(w, "response.created", false);
    responses_whole(w, "response.in_progress", false);
    if (!w->content.is_empty && w->c->b.fault != SIM_FAULT_REASONING_ONLY)
        responses_message(w);
    if (w->c->b.fault != SIM_FAULT_NO_DONE)
        responses_whole(w, w->content.finish == SIM_LENGTH ? "response.incomplete" : "response.completed", true);
}

/* ---- messages ---- */

static void messages_start(struct writer *w)
{
    struct sim_usage u = w->content.usage;
    struct json_out *j = begin(w);

    json_out_kcstr(j, "type", "message_start");
    json_out_key(j, "message");
    json_out_object(j);
    kid(j, w->c, "id", "msg_");
    json_out_kcstr(j, "type", "message");
    json_out_kcstr(j, "role", "assistant");
    json_out_kstr(j, "model", w->c->model);
    json_out_key(j, "content");
    json_out_array(j);
    json_out_end(j);
    json_out_knull(j, "stop_reason");
    json_out_knull(j, "stop_sequence");
    if (w->c->b.fault != SIM_FAULT_NO_USAGE) {
        u.output = 1; /* what has been said so far */
        json_out_key(j, "usage");
        sim_usage_write(w->c, &u, j);
    }
    json_out_end(j);
    put_event(w, "message_start");
}

static void messages_block_start(struct writer *w, int index, const char *type)
{
    struct json_out *j = begin(w);

    json_out_kcstr(j, "type", "content_block_start");
    json_out_ki64(j, "index", index);
    json_out_key(j, "content_block");
    json_out_object(j);
    json_out_kcstr(j, "type", type);
    if (strcmp(type, "tool_use") == 0) {
        kid(j, w->c, "id", "toolu_");
        json_out_kstr(j, "name", w->content.tool);
        json_out_key(j, "input");
        json_out_object(j);
        json_out_end(j);
    } else {
        json_out_kcstr(j, type, "");
    }
    json_out_end(j);
    put_event(w, "content_block_start");
}

static void messages_delta(struct writer *w, int index, const char *type, const char *key, struct str text)
{
    struct json_out *j = begin(w);

    json_out_kcstr(j, "type", "content_block_delta");
    json_out_ki64(j, "index", index);
    json_out_key(j, "delta");
    json_out_object(j);
    json_out_kcstr(j, "type", type);
    json_out_kstr(j, key, text);
    json_out_end(j);
    put_event(w, "content_block_delta");
}

static void messages_block(struct writer *w, int index, const char *type, const char *delta, const char *key, struct str text)
{
    struct str word;
    struct json_out *j;

    messages_block_start(w, index, type);
    if (index == 0) {
        j = begin(w);
        json_out_kcstr(j, "type", "ping");
        put_event(w, "ping");
    }
    while (sim_next_word(&text, &word))
        messages_delta(w, index, delta, key, word);
    j = begin(w);
    json_out_kcstr(j, "type", "content_block_stop");
    json_out_ki64(j, "index", index);
    put_event(w, "content_block_stop");
}

static void messages(struct writer *w)
{
    struct sim_content *content = &w->content;
    struct json_out *j;
    int index = 0;

    messages_start(w);
    if (content->reasoning.len > 0)
        messages_block(w, index++, "thinking", "thinking_delta", "thinking", content->reasoning);
    if (content->tool.len > 0)
        messages_block(w, index++, "tool_use", "input_json_delta", "partial_json", STR("{\"city\": \"Paris\"}"));
    else if (content->text.len > 0 && !content->is_empty)
        messages_block(w, index++, "text", "text_delta", "text", content->text);
    if (w->c->b.fault == SIM_FAULT_NO_DONE)
        return;
    j = begin(w);
    json_out_kcstr(j, "type", "message_delta");
    json_out_key(j, "delta");
    json_out_object(j);
    json_out_kcstr(j, "stop_reason", sim_content_finish(w->c, content));
    json_out_knull(j, "stop_sequence");
    json_out_end(j);
    if (w->c->b.fault != SIM_FAULT_NO_USAGE) {
        json_out_key(j, "usage");
        sim_usage_write(w->c, &content->usage, j);
    }
    put_event(w, "message_delta");
    j = begin(w);
    json_out_kcstr(j, "type", "message_stop");
    put_event(w, "message_stop");
}

/* ---- streamGenerateContent: events, or one JSON array piece by piece ---- */

static void generate_send(struct writer *w, bool is_first, bool is_last)
{
    struct buf *body = &w->r->body;

    if (w->c->wants_array)
        buf_putf(body, "%s%s%s", is_first ? "[" : ",\r\n", buf_cstr(&w->json), is_last ? "]" : "");
    else
        buf_putf(body, "data: %s\r\n\r\n", buf_cstr(&w->json));
    w->written++;
    sim_reply_event(w->r);
}

static void generate(struct writer *w)
{
    struct str rest = w->content.text, word = STR_NONE;
    bool is_first = true, is_last;

    do {
        (void)sim_next_word(&rest, &word);
        is_last = rest.len == 0;
        if (is_last && w->c->b.fault == SIM_FAULT_NO_DONE)
            return;
        if (w->c->b.fault == SIM_FAULT_STREAM_ERROR && w->written == (w->c->b.has_at ? w->c->b.at : 2))
            sim_stream_error(w->c, w->r);
        buf_clear(&w->json);
        json_out_init(&w->j, &w->json);
        sim_format_generate(&w->j, w->c, &w->content, word, is_first, is_last);
        generate_send(w, is_first, is_last);
        is_first = false;
    } while (!is_last);
}

void sim_stream_answer(struct sim_call *c, struct sim_reply *r)
{
    struct writer w = {.c = c, .r = r, .json = BUF_INIT(SIM_BODY_MAX)};

    sim_content_make(c, &w.content);
    r->is_stream = true;
    r->type = c->route == SIM_GENERATE && c->wants_array ? "application/json; charset=UTF-8" : "text/event-stream; charset=utf-8";
    if (c->route == SIM_RESPONSES)
        responses(&w);
    else if (c->route == SIM_MESSAGES)
        messages(&w);
    else if (c->route == SIM_GENERATE)
        generate(&w);
    else
        chat(&w);
    buf_release(&w.json);
}
