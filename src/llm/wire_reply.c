/* wire_reply.c -- see wire_reply.h. */
#include "llm/wire_reply.h"

#include "base/json_out.h"

static bool is_blank(const char *c, size_t n)
{
    return n == 1 && (*c == ' ' || (*c >= '\t' && *c <= '\r'));
}

static void start_text(struct wire_reply *r, uint8_t rank)
{
    r->text[0] = '\0';
    r->is_text_full = r->is_text_at_cap = false;
    r->text_rank = rank;
}

static bool has_ink(struct str inside)
{
    size_t n;
    char c[4];

    while ((n = json_scan_char(&inside, c)) != 0)
        if (!is_blank(c, n))
            return true;
    return false;
}

bool wire_reply_text(struct wire_reply *r, const struct json_scan_value *v, uint8_t rank)
{
    struct str rest;
    size_t len, n;
    char c[4];

    if (v->type != JSON_SCAN_STRING || v->raw.len <= 2)
        return false;
    rest = json_scan_inside(v->raw);
    if (r->text[0] != '\0' && rank != r->text_rank && (rank > r->text_rank || !has_ink(rest)))
        return true;
    if (r->text[0] == '\0' || rank < r->text_rank)
        start_text(r, rank);
    len = strlen(r->text);
    while (!r->is_text_full && (n = json_scan_char(&rest, c)) != 0) {
        bool blank = is_blank(c, n);

        if (blank && len == 0)
            continue;
        if (n == 1 && c[0] == '\0') { /* text is a C string */
            memcpy(c, "\xef\xbf\xbd", 3);
            n = 3;
        }
        if (r->is_text_at_cap || len + n > WIRE_TEXT_MAX) {
            r->is_text_at_cap = true;
            r->is_text_full = !blank; /* blanks at the very end would have been trimmed */
            continue;
        }
        memcpy(r->text + len, c, n);
        len += n;
        r->text[len] = '\0';
    }
    return true;
}

void wire_reply_trim(struct wire_reply *r)
{
    size_t len = strlen(r->text);

    while (!r->is_text_full && len > 0 && is_blank(r->text + len - 1, 1))
        r->text[--len] = '\0';
}

void wire_reply_take(struct wire_reply *r, const struct json_scan_value *v)
{
    if (r->text[0] != '\0')
        return;
    start_text(r, 0);
    (void)wire_reply_text(r, v, 0);
    wire_reply_trim(r);
}

bool wire_reply_begin(struct wire_reply *r, struct str body)
{
    struct json_scan s;

    *r = (struct wire_reply){.usage_source = USAGE_NONE};
    if (json_scan_check(body, NULL) != 0)
        return false;
    json_scan_init(&s, body);
    r->is_json = json_scan_peek(&s) == JSON_SCAN_OBJECT;
    wire_read_error(body, r);
    return r->is_json;
}

void wire_reply_model(struct wire_reply *r, const struct json_scan_value *v)
{
    if (v->type == JSON_SCAN_STRING && v->raw.len > 2)
        (void)json_scan_string_cut(v->raw, r->model, sizeof(r->model));
}

bool wire_reply_count(const struct json_scan_value *v, int64_t *ret)
{
    double d;

    *ret = 0;
    if (v->type != JSON_SCAN_NUMBER || str_to_double(v->raw, &d) != 0)
        return false;
    if (d < 0 || d > 9007199254740992.0 || d != (double)(int64_t)d)
        return false;
    *ret = (int64_t)d; /* 0..2^53 */
    return true;
}

static int64_t minus(int64_t a, int64_t b)
{
    return a > b ? a - b : 0;
}

void wire_reply_usage(struct wire_reply *r, const struct wire_counts *c, bool is_outside,
                      enum usage_source source)
{
    struct usage u = {
        .cache_read = c->cache_read, .cache_write_5m = c->cache_write, .reasoning = c->reasoning};

    if (!c->has_input && !c->has_output && !c->has_total)
        return;
    /* each is at most 2^53, so the sums fit */
    if (c->has_total && c->has_input && c->has_output && c->reasoning > 0) {
        if (c->input + c->output == c->total)
            is_outside = false;
        else if (c->input + c->output + c->reasoning == c->total)
            is_outside = true;
    }
    u.input = minus(c->input, c->cache_read + c->cache_write);
    u.output = is_outside ? c->output : minus(c->output, c->reasoning);
    if (!c->has_input || !c->has_output)
        u.unsplit = minus(c->total, usage_total(&u));
    r->usage = u;
    r->usage_source = source;
}

int wire_reply_chat_body(struct buf *out, struct str model, struct str prompt, bool is_stream)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kstr(&j, "model", model);
    json_out_kbool(&j, "stream", is_stream);
    json_out_ki64(&j, "max_tokens", 50);
    json_out_key(&j, "messages");
    json_out_array(&j);
    json_out_object(&j);
    json_out_kcstr(&j, "role", "user");
    json_out_kstr(&j, "content", prompt);
    json_out_end(&j);
    json_out_end(&j);
    json_out_end(&j);
    return j.failed ? ERR_LIMIT : 0;
}
