/* wire.c -- what all formats have in common: the table of formats, errors in bodies, the model list
 * and the verdict. Texts are those of spec 1 sections 3.3 and 3.6. */
#include "llm/wire.h"

#include "llm/wire_reply.h"

#define MODEL_ID_MAX 1024 /* bytes of an id handed on; longer ones are of no use to anybody */

const struct wire *wire_of(enum protocol p)
{
    switch (p) {
    case PROTOCOL_OPENAI_CHAT:
        return &openai_chat_wire;
    case PROTOCOL_OPENAI_RESPONSES:
        return &openai_responses_wire;
    case PROTOCOL_ANTHROPIC:
        return &anthropic_wire;
    case PROTOCOL_GEMINI:
        return &gemini_wire;
    case PROTOCOL_NONE:
    case PROTOCOLS:
        break;
    }
    return NULL;
}

void wire_end_stream(struct wire_reply *r)
{
    wire_reply_trim(r);
}

/* ---- texts ---- */

/* Foreign bytes as a C string of valid UTF-8, at most max bytes, cut on a character boundary. */
static void put_text(char *out, size_t max, struct str s)
{
    size_t len = 0;

    while (s.len > 0) {
        size_t n = str_char_len(s), width = n;
        const char *c = s.ptr;

        if (n == 0 || *c == '\0') {
            c = "\xef\xbf\xbd"; /* U+FFFD */
            n = 1;
            width = 3;
        }
        if (len + width > max)
            break;
        memcpy(out + len, c, width);
        len += width;
        s = str_n(s.ptr + n, s.len - n);
    }
    out[len] = '\0';
}

/* Valid JSON without the blanks between its tokens. */
static void put_json(char *out, size_t max, struct str json)
{
    char compact[WIRE_TEXT_MAX + 8];
    size_t len = 0;
    bool in_string = false;

    for (size_t i = 0; i < json.len && len < max + 4; i++) {
        char c = json.ptr[i];

        if (in_string && c == '\\' && len + 2 <= max + 4 && i + 1 < json.len) {
            compact[len++] = c;
            c = json.ptr[++i];
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
            continue;
        }
        compact[len++] = c;
    }
    put_text(out, max, str_n(compact, len));
}

static void put_string(char *out, size_t max, const struct json_scan_value *v)
{
    struct str rest = json_scan_inside(v->raw);
    size_t len = 0, n;
    char c[4];

    while ((n = json_scan_char(&rest, c)) != 0) {
        if (n == 1 && c[0] == '\0') { /* out is a C string */
            memcpy(c, "\xef\xbf\xbd", 3);
            n = 3;
        }
        if (len + n > max)
            break;
        memcpy(out + len, c, n);
        len += n;
    }
    out[len] = '\0';
}

/* ---- errors in bodies ---- */

static bool is_zero_number(struct str raw)
{
    for (size_t i = 0; i < raw.len && raw.ptr[i] != 'e' && raw.ptr[i] != 'E'; i++)
        if (raw.ptr[i] >= '1' && raw.ptr[i] <= '9')
            return false;
    return true;
}

static bool is_empty_container(struct str raw)
{
    return str_trim(str_cut(raw, 1, raw.len - 2)).len == 0;
}

/* Python's reading, which is ours: {}, [], "", 0, false and null are no errors. */
static bool is_truthy(const struct json_scan_value *v)
{
    switch (v->type) {
    case JSON_SCAN_NONE:
    case JSON_SCAN_NULL:
    case JSON_SCAN_FALSE:
        return false;
    case JSON_SCAN_TRUE:
        return true;
    case JSON_SCAN_NUMBER:
        return !is_zero_number(v->raw);
    case JSON_SCAN_STRING:
        return v->raw.len > 2;
    case JSON_SCAN_OBJECT:
    case JSON_SCAN_ARRAY:
        return !is_empty_container(v->raw);
    }
    return false;
}

static bool take_code(struct wire_reply *r, const struct json_scan_value *v)
{
    if (v->type != JSON_SCAN_STRING || v->raw.len <= 2)
        return false;
    (void)json_scan_string_cut(v->raw, r->error_code, sizeof(r->error_code));
    return true;
}

/* Google's ErrorInfo reason and QuotaFailure quotaId say what status and code leave open. */
static bool read_details(struct wire_reply *r, struct str details)
{
    struct json_scan s;
    struct json_scan_value item, v;

    json_scan_init(&s, details);
    if (json_scan_peek(&s) != JSON_SCAN_ARRAY || !json_scan_enter(&s, JSON_SCAN_ARRAY))
        return false;
    while (json_scan_item(&s) && json_scan_value(&s, &item)) {
        if (json_scan_find(item.raw, &v, "reason", NULL) && json_scan_str_eq(&v, "API_KEY_INVALID"))
            return take_code(r, &v);
        if (json_scan_find(item.raw, &v, "violations", "0", "quotaId", NULL) &&
            str_find_str(v.raw, STR("PerDay")) >= 0)
            return take_code(r, &v);
    }
    return false;
}

static void read_error_object(struct wire_reply *r, struct str object)
{
    static const char *const names[] = {"message", "code", "type", "status", "details"};
    struct json_scan_value v[ARRAY_LEN(names)];

    (void)json_scan_members(object, names, ARRAY_LEN(names), v);
    if (v[0].type == JSON_SCAN_STRING && v[0].raw.len > 2)
        put_string(r->error, WIRE_TEXT_MAX, &v[0]);
    else
        put_json(r->error, WIRE_TEXT_MAX, object);
    if (!read_details(r, v[4].raw) && !take_code(r, &v[1]) && !take_code(r, &v[2]))
        (void)take_code(r, &v[3]);
}

/* The body, or the only element of an array around it (Google's streaming endpoint). */
static struct str unwrap(struct str body)
{
    struct json_scan s;
    struct json_scan_value v;

    json_scan_init(&s, body);
    if (json_scan_peek(&s) == JSON_SCAN_ARRAY && json_scan_find(body, &v, "0", NULL))
        return v.raw;
    return body;
}

void wire_read_error(struct str body, struct wire_reply *r)
{
    static const char *const names[] = {"error", "success", "message", "code"};
    enum { ERROR, SUCCESS, MESSAGE, CODE };
    struct json_scan_value v[ARRAY_LEN(names)];
    char message[WIRE_TEXT_MAX + 4];

    r->error[0] = r->error_code[0] = '\0';
    if (json_scan_check(body, NULL) != 0 ||
        !json_scan_members(unwrap(body), names, ARRAY_LEN(names), v))
        return;
    if (is_truthy(&v[ERROR])) {
        if (v[ERROR].type == JSON_SCAN_OBJECT)
            read_error_object(r, v[ERROR].raw);
        else if (v[ERROR].type == JSON_SCAN_STRING)
            put_string(r->error, WIRE_TEXT_MAX, &v[ERROR]);
        else
            put_json(r->error, WIRE_TEXT_MAX, v[ERROR].raw);
        if (r->error_code[0] == '\0')
            (void)take_code(r, &v[CODE]);
        return;
    }
    if (v[MESSAGE].type != JSON_SCAN_STRING)
        return;
    if (v[SUCCESS].type == JSON_SCAN_FALSE) {
        put_string(r->error, WIRE_TEXT_MAX, &v[MESSAGE]);
        (void)take_code(r, &v[CODE]);
        return;
    }
    if (v[CODE].type == JSON_SCAN_NUMBER && !is_zero_number(v[CODE].raw) &&
        !str_eq_c(v[CODE].raw, "200")) {
        put_string(message, WIRE_TEXT_MAX, &v[MESSAGE]);
        if (message[0] != '\0') {
            char text[WIRE_TEXT_MAX + 64];
            int n = snprintf(text, sizeof(text), "[%.*s] %s", (int)MIN(v[CODE].raw.len, 32u),
                             v[CODE].raw.ptr, message);

            put_text(r->error, WIRE_TEXT_MAX,
                     str_n(text, (size_t)n)); /* n < sizeof: both parts capped */
        }
    }
}

/* ---- the model list ---- */

struct models {
    void (*fn)(void *ctx, struct str id);
    void *ctx;
    size_t count;
};

static void give_model(struct models *m, const struct json_scan_value *id)
{
    char text[MODEL_ID_MAX + 4];

    if (id->type != JSON_SCAN_STRING || id->raw.len <= 2)
        return;
    m->count++;
    m->fn(m->ctx, str_n(text, json_scan_string_cut(id->raw, text, sizeof(text))));
}

int wire_read_models(struct str body, void (*fn)(void *ctx, struct str id), void *ctx,
                     struct err *reterr)
{
    static const char *const names[] = {"data"};
    struct json_scan_value data, item, id;
    struct models m = {.fn = fn, .ctx = ctx};
    struct json_scan s;

    if (json_scan_check(body, NULL) != 0 || !json_scan_members(body, names, 1, &data))
        return err_set(reterr, ERR_SYNTAX, "models response must be JSON object");
    if (data.type != JSON_SCAN_ARRAY)
        return err_set(reterr, ERR_SYNTAX, "models response missing data[]");
    json_scan_init(&s, data.raw);
    (void)json_scan_enter(&s, JSON_SCAN_ARRAY);
    while (json_scan_item(&s) && json_scan_value(&s, &item))
        if (item.type == JSON_SCAN_OBJECT && json_scan_find(item.raw, &id, "id", NULL))
            give_model(&m, &id);
    return m.count ? 0 : err_set(reterr, ERR_SYNTAX, "models list is empty");
}

/* ---- the verdict ---- */

/* Phrases of relays and providers that answer with a general code. Read only on failures. */
static const struct {
    const char *part;
    enum outcome outcome;
} phrases[] = {
    {"credit balance is too low", OUTCOME_QUOTA},
    {"insufficient balance", OUTCOME_QUOTA},
    {"insufficient_quota", OUTCOME_QUOTA},
    {"exceeded your current quota", OUTCOME_QUOTA},
    {"额度不足", OUTCOME_QUOTA},
    {"余额不足", OUTCOME_QUOTA},
    {"API key not valid", OUTCOME_AUTH},
    {"无效的令牌", OUTCOME_AUTH},
    {"model not found", OUTCOME_MODEL_UNKNOWN},
    {"无可用渠道", OUTCOME_MODEL_UNKNOWN},
    {"no available channel", OUTCOME_MODEL_UNKNOWN},
};

static enum outcome judge_status(int status, const struct wire_reply *reply)
{
    enum outcome o = outcome_of_status(status, str_of(reply->error_code));

    /* a code that found its row stands; what only the status said may be told better */
    if (status < 400 || o != outcome_of_status(status, STR_NONE))
        return o;
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (str_ifind_str(str_of(reply->error), str_of(phrases[i].part)) >= 0)
            return phrases[i].outcome;
    return o;
}

enum outcome wire_judge(int status, struct str raw_body, const struct wire_reply *reply,
                        bool lenient, char error[WIRE_ERROR_MAX])
{
    bool is_good = status == 200 || (lenient && status > 200 && status < 300);

    error[0] = '\0';
    if (!is_good) {
        char raw[WIRE_TEXT_MAX + 4];
        enum outcome o = judge_status(status, reply);

        put_text(raw, WIRE_TEXT_MAX, raw_body);
        snprintf(error, WIRE_ERROR_MAX, "HTTP %d: %s", status,
                 reply->error[0] ? reply->error
                 : raw[0]        ? raw
                                 : "unknown error");
        return o == OUTCOME_OK ? OUTCOME_UNEXPECTED_STATUS : o;
    }
    if (reply->error[0] != '\0') {
        snprintf(error, WIRE_ERROR_MAX, "response error: %s", reply->error);
        return OUTCOME_BODY_ERROR;
    }
    if (reply->text[0] != '\0')
        return OUTCOME_OK;
    if (lenient && reply->is_truncated && reply->usage.output + reply->usage.reasoning > 0)
        return OUTCOME_TRUNCATED;
    snprintf(error, WIRE_ERROR_MAX, "response parse failed: no readable text");
    return reply->is_json || str_trim(raw_body).len == 0 ? OUTCOME_EMPTY : OUTCOME_BAD_BODY;
}
