/* sim_answer.c -- from a request to the reply before framing: route, key, rule, content faults. */
#include "sim_answer.h"

#include "net/url.h"

struct str sim_call_header(const struct sim_call *c, const char *name)
{
    for (size_t i = 0; i < c->header_count; i++)
        if (str_ieq(c->headers[i].name, str_of(name)))
            return c->headers[i].value;
    return STR_NONE;
}

void sim_call_unref(struct sim_call *c)
{
    if (!c || --c->refs > 0)
        return;
    json_decref(c->json);
    buf_release(&c->body);
    arena_release(&c->arena);
    xfree(c);
}

void sim_reply_init(struct sim_reply *r)
{
    *r = (struct sim_reply){.status = 200, .type = "application/json", .headers = BUF_INIT(4u << 20), .body = BUF_INIT(SIM_BODY_MAX)};
}

void sim_reply_release(struct sim_reply *r)
{
    buf_release(&r->headers);
    buf_release(&r->body);
    xfree(r->events);
}

void sim_reply_header(struct sim_reply *r, const char *fmt, ...)
{
    char line[1000];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_putf(&r->headers, "%s\r\n", line);
}

void sim_reply_event(struct sim_reply *r)
{
    if (r->event_count == r->event_capacity) {
        r->event_capacity = r->event_capacity ? r->event_capacity * 2 : 32;
        r->events = xrealloc(r->events, r->event_capacity * sizeof(*r->events));
    }
    r->events[r->event_count++] = (struct sim_event){buf_len(&r->body)};
}

/* ---- what is asked ---- */

static struct str query_value(const struct sim_call *c, const char *name)
{
    struct str rest = c->query, key, value;

    while (url_query_next(&rest, &key, &value))
        if (str_eq_c(key, name))
            return value;
    return STR_NONE;
}

/* Behind the version part of the path, wherever that stands: base URLs may have a prefix. */
static struct str behind_version(struct str path, bool *ret_is_beta)
{
    static const char *const versions[] = {"/v1/", "/v1beta/"};

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        ssize_t at = str_find_str(path, str_of(versions[i]));

        if (at >= 0) {
            *ret_is_beta = i == 1;
            return str_cut(path, (size_t)at + strlen(versions[i]), path.len);
        }
    }
    return STR_NONE;
}

static struct str decoded(struct sim_call *c, struct str s)
{
    struct buf b = BUF_INIT(1 << 16);
    struct str ret = s;

    if (url_decode(s, &b) == 0)
        ret = arena_str(&c->arena, buf_str(&b));
    buf_release(&b);
    return ret;
}

/* "models/<id>:<verb>"; a model name may hold colons itself. */
static void find_generate(struct sim_call *c, struct str rest)
{
    static const char *const verbs[] = {":generateContent", ":streamGenerateContent", ":countTokens"};

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!str_ends(rest, str_of(verbs[i])))
            continue;
        c->route = SIM_GENERATE;
        c->model = decoded(c, str_cut(rest, 7, rest.len - 7 - strlen(verbs[i])));
        c->wants_stream = i == 1;
        c->wants_array = !str_eq(query_value(c, "alt"), STR("sse"));
    }
}

static void find_route(struct sim_call *c)
{
    static const struct {
        const char *path;
        enum sim_route route;
    } posts[] = {
        {"chat/completions", SIM_CHAT}, {"responses", SIM_RESPONSES},  {"messages", SIM_MESSAGES},
        {"embeddings", SIM_EMBEDDINGS}, {"completions", SIM_CHAT},     {"messages/count_tokens", SIM_MESSAGES},
    };
    bool is_beta = false, is_get = str_eq(c->method, STR("GET"));
    struct str rest = behind_version(c->path, &is_beta);

    c->route = SIM_OTHER;
    if (is_get && (str_eq(rest, STR("models")) || str_starts(rest, STR("models/"))))
        c->route = SIM_MODELS;
    for (size_t i = 0; !is_get && i < ARRAY_LEN(posts); i++)
        if (str_eq_c(rest, posts[i].path))
            c->route = posts[i].route;
    if (!is_get && str_starts(rest, STR("models/")))
        find_generate(c, rest);
    if (c->route == SIM_GENERATE || is_beta || (c->route == SIM_MODELS && (sim_call_header(c, "x-goog-api-key").len > 0 || query_value(c, "key").len > 0)))
        c->dialect = SIM_GEMINI;
    else if (c->route == SIM_MESSAGES || sim_call_header(c, "anthropic-version").len > 0)
        c->dialect = SIM_ANTHROPIC;
}

static void read_body(struct sim_call *c)
{
    struct str body = buf_str(&c->body);
    const json_t *model;

    if (c->route == SIM_MODELS || c->route == SIM_OTHER)
        return;
    c->json = json_loadb(body.ptr, body.len, 0, NULL);
    model = json_object_get(c->json, "model");
    if (c->route != SIM_GENERATE) {
        if (json_is_string(model))
            c->model = arena_str(&c->arena, str_n(json_string_value(model), json_string_length(model)));
        c->wants_stream = json_is_true(json_object_get(c->json, "stream"));
    }
    c->wants_usage = json_is_true(json_object_get(json_object_get(c->json, "stream_options"), "include_usage"));
}

static bool has_key(const struct sim *s, const struct sim_call *c)
{
    struct str bearer = sim_call_header(c, "authorization");
    const struct str given[] = {sim_call_header(c, "x-api-key"), sim_call_header(c, "x-goog-api-key"), query_value(c, "key")};

    if (!s->key)
        return true;
    if (str_istarts(bearer, STR("bearer ")) && str_eq_c(str_trim(str_cut(bearer, 7, bearer.len)), s->key))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        if (c->dialect != SIM_OPENAI && str_eq_c(given[i], s->key))
            return true;
    return false;
}

static bool is_known(const struct sim *s, struct str model)
{
    for (size_t i = 0; i < s->models.count; i++)
        if (str_eq_c(model, s->models.ids[i]) || str_eq_c(str_until(model, ';'), s->models.ids[i]))
            return true;
    return false;
}

/* ---- what is said ---- */

static void say(struct sim_reply *r, int status, const char *type, struct str body)
{
    r->status = status;
    r->type = type;
    r->is_stream = false;
    r->event_count = 0;
    buf_clear(&r->body);
    buf_put(&r->body, body);
}

static void say_depth_bomb(struct sim_reply *r)
{
    buf_clear(&r->body);
    for (int i = 0; i < 100000; i++)
        buf_put(&r->body, STR("{\"a\":["));
}

/* The text's "@@@@" becomes bytes no UTF-8 has. */
static void spoil_utf8(struct sim_reply *r)
{
    ssize_t at = str_find_str(buf_str(&r->body), STR("@@@@"));

    if (at >= 0)
        memcpy(r->body.ptr + r->body.head + at, "\xff\xc0\x80\xed", 4);
}

/* Replaces what was going to be said; false: the fault is none of these. */
static bool replace_body(const struct sim_call *c, struct sim_reply *r)
{
    const char *message = c->b.body ? c->b.body : "simulated error: no available channel";
    int code = c->b.status ? c->b.status : 503;
    struct json_out j;

    switch (c->b.fault) {
    case SIM_FAULT_NOT_JSON:
        say(r, 200, "application/json", STR("this is not JSON"));
        return true;
    case SIM_FAULT_HTML:
        say(r, 200, "text/html", STR("<!doctype html><html><head><title>Welcome</title></head><body><script>alert(1)</script>Sign in</body></html>"));
        return true;
    case SIM_FAULT_EMPTY_BODY:
        say(r, 200, "application/json", STR(""));
        return true;
    case SIM_FAULT_DEPTH_BOMB:
        say(r, 200, "application/json", STR(""));
        say_depth_bomb(r);
        return true;
    case SIM_FAULT_ERROR_OBJECT:
        say(r, 200, "application/json", STR(""));
        sim_format_error(c, code, message, r);
        r->status = 200;
        return true;
    case SIM_FAULT_ERROR_SUCCESS:
    case SIM_FAULT_ERROR_CODE:
    case SIM_FAULT_ERROR_STRING:
        say(r, 200, "application/json", STR(""));
        json_out_init(&j, &r->body);
        json_out_object(&j);
        if (c->b.fault == SIM_FAULT_ERROR_SUCCESS)
            json_out_kbool(&j, "success", false);
        if (c->b.fault == SIM_FAULT_ERROR_CODE)
            json_out_ki64(&j, "code", code);
        json_out_kcstr(&j, c->b.fault == SIM_FAULT_ERROR_STRING ? "error" : "message", message);
        json_out_end(&j);
        return true;
    default: /* over the whole table of faults on purpose: most concern other parts */
        return false;
    }
}

static void answer_ordinary(struct sim *s, struct sim_call *c, struct sim_reply *r)
{
    bool wants_stream = (c->wants_stream && c->b.fault != SIM_FAULT_STREAM_AS_JSON) || c->b.fault == SIM_FAULT_JSON_AS_STREAM ||
                        c->b.fault == SIM_FAULT_ENDLESS;

    if (str_ends(c->path, STR("/count_tokens")))
        say(r, 200, "application/json", STR("{\"input_tokens\":10}"));
    else if (str_ends(c->path, STR(":countTokens")))
        say(r, 200, "application/json", STR("{\"totalTokens\":10,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":10}]}"));
    else if (c->route == SIM_MODELS)
        sim_format_models(c, &s->models, r);
    else if (c->route == SIM_EMBEDDINGS)
        sim_format_embeddings(c, r);
    else if (wants_stream)
        sim_stream_answer(c, r);
    else
        sim_format_answer(c, r);
    if (c->b.fault == SIM_FAULT_CUT_JSON && !r->is_stream)
        r->body.tail -= buf_len(&r->body) / 2;
    if (c->b.fault == SIM_FAULT_BAD_UTF8)
        spoil_utf8(r);
}

static void answer_by_rule(struct sim *s, struct sim_call *c, struct sim_reply *r)
{
    bool is_error = c->b.status >= 400 && c->b.fault != SIM_FAULT_STREAM_ERROR;
    char message[64];

    if (replace_body(c, r))
        return;
    if (c->b.fault == SIM_FAULT_REDIRECT) {
        say(r, c->b.status ? c->b.status : 302, "text/plain", STR(""));
        sim_reply_header(r, "Location: %.900s", c->b.body ? c->b.body : "http://169.254.169.254/latest/");
    } else if (c->b.body && c->b.fault != SIM_FAULT_STREAM_ERROR) {
        say(r, c->b.status ? c->b.status : 200, c->b.type ? c->b.type : "application/json", str_of(c->b.body));
    } else if (is_error) {
        snprintf(message, sizeof(message), "simulated error %d", c->b.status);
        sim_format_error(c, c->b.status, message, r);
    } else {
        answer_ordinary(s, c, r);
        r->status = c->b.status && c->b.fault != SIM_FAULT_STREAM_ERROR ? c->b.status : r->status;
        r->type = c->b.type ? c->b.type : r->type;
    }
}

static void add_vendor_headers(const struct sim_call *c, struct sim_reply *r)
{
    char made[64];
    const char *id = c->b.request_id ? c->b.request_id : made;

    snprintf(made, sizeof(made), "req_%012llu", (unsigned long long)c->number);
    if (c->dialect == SIM_ANTHROPIC)
        sim_reply_header(r, "request-id: %.100s", id);
    else if (c->dialect == SIM_OPENAI)
        sim_reply_header(r, "x-request-id: %.100s", id);
    if (c->b.is_oneapi)
        sim_reply_header(r, "X-Oneapi-Request-Id: %.100s", id);
    if (c->b.retry_after)
        sim_reply_header(r, "Retry-After: %llu", (unsigned long long)c->b.retry_after);
}

/* Refusals every vendor knows; NULL = go on. */
static const char *refusal(struct sim *s, struct sim_call *c, int *status, char why[200])
{
    bool needs_json = c->route != SIM_MODELS && c->route != SIM_OTHER;

    if (c->route == SIM_OTHER) {
        *status = 404;
        return "unknown route";
    }
    if (!has_key(s, c)) {
        *status = 401;
        return c->dialect == SIM_ANTHROPIC ? "invalid x-api-key" : c->dialect == SIM_GEMINI ? "API key not valid. Please pass a valid API key." : "Incorrect API key provided.";
    }
    *status = 400;
    if (needs_json && !json_is_object(c->json))
        return "We could not parse the JSON body of your request.";
    if (needs_json && c->model.len == 0)
        return "you must provide a model parameter";
    if (!sim_rules_apply(s->rules, c->route, c->model, &c->arena, &c->b, why))
        return why;
    if (needs_json && s->is_strict && !is_known(s, c->model)) {
        *status = 404;
        return "The model does not exist or you do not have access to it.";
    }
    return NULL;
}

void sim_answer(struct sim *s, struct sim_call *c, struct sim_reply *r)
{
    char why[200] = "";
    const char *refused;
    int status = 0;

    find_route(c);
    read_body(c);
    s->per_route[c->route]++;
    refused = refusal(s, c, &status, why);
    if (refused) {
        c->b = (struct sim_behaviour){0};
        sim_format_error(c, status, refused, r);
    } else {
        answer_by_rule(s, c, r);
    }
    add_vendor_headers(c, r);
    json_decref(c->json);
    c->json = NULL;
    c->status = r->status;
}
