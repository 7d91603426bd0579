/* sim_behaviour.c -- rules: who they are for, what they ask. */
#include "sim.h"

const char *const sim_fault_names[SIM_FAULT_COUNT] = {
#define X(name, text) text,
    SIM_FAULTS(X)
#undef X
};

const char *const sim_route_names[SIM_ROUTES] = {"chat", "responses", "messages", "embeddings", "generate", "models", "other"};

struct rule {
    struct list node;
    struct arena arena;
    struct sim_behaviour b;
    uint64_t left; /* of b.times */
    bool is_permanent;
};

struct sim_rules {
    struct list list; /* newest first */
};

struct field {
    const char *name;
    enum { TEXT, NUMBER, FLAG } type;
    size_t offset;
};

#define F(name, type) {#name, type, offsetof(struct sim_behaviour, name)}
static const struct field fields[] = {
    F(model, TEXT),          F(route, TEXT),           F(body, TEXT),
    F(type, TEXT),           F(text, TEXT),            F(reasoning, TEXT),
    F(tool, TEXT),           F(finish, TEXT),          F(request_id, TEXT),
    F(delay_ms, NUMBER),     F(pace_ms, NUMBER),       F(jitter_ms, NUMBER),
    F(at, NUMBER),           F(size, NUMBER),          F(words, NUMBER),
    F(times, NUMBER),        F(retry_after, NUMBER),   F(prompt_tokens, NUMBER),
    F(cached_tokens, NUMBER), F(cache_write_tokens, NUMBER), F(output_tokens, NUMBER),
    F(reasoning_tokens, NUMBER), {"oneapi", FLAG, offsetof(struct sim_behaviour, is_oneapi)},
};

static bool set_fault(struct sim_behaviour *b, struct str value, char why[200])
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        if (str_eq_c(value, sim_fault_names[i])) {
            b->fault = (enum sim_fault)i; /* an index of the table */
            return true;
        }
    snprintf(why, 200, "no fault '%.*s'", STR_ARG(str_cut_utf8(value, 100)));
    return false;
}

bool sim_behaviour_set(struct sim_behaviour *b, struct arena *a, struct str key, struct str value, char why[200])
{
    uint64_t n;

    if (str_eq(key, STR("fault")))
        return set_fault(b, value, why);
    if (str_eq(key, STR("status"))) {
        if (str_to_u64(value, 999, &n) == 0 && n >= 100) {
            b->status = (int)n; /* <= 999 */
            return true;
        }
        snprintf(why, 200, "status is not in 100..999");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        char *member = (char *)b + fields[i].offset;

        if (!str_eq_c(key, fields[i].name))
            continue;
        if (fields[i].type == TEXT) {
            const char *copy = arena_cstr(a, value);

            memcpy(member, &copy, sizeof(copy));
            return true;
        }
        if (str_eq(value, STR("true")))
            value = STR("1");
        if (str_to_u64(value, UINT64_MAX, &n) < 0)
            break;
        if (fields[i].type == FLAG)
            *member = n != 0;
        else
            memcpy(member, &n, sizeof(n));
        b->has_at |= str_eq(key, STR("at"));
        return true;
    }
    snprintf(why, 200, "no key '%.*s', or not a number", STR_ARG(str_cut_utf8(key, 100)));
    return false;
}

bool sim_behaviour_parse(struct sim_behaviour *b, struct arena *a, struct str text, char why[200])
{
    struct str part;

    while (str_split(&text, ';', &part))
        if (part.len > 0 && !sim_behaviour_set(b, a, str_until(part, '='), str_after(part, '='), why))
            return false;
    return true;
}

void sim_behaviour_write(const struct sim_behaviour *b, struct json_out *j)
{
    json_out_object(j);
    json_out_kcstr(j, "fault", sim_fault_names[b->fault]);
    if (b->status)
        json_out_ki64(j, "status", b->status);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *member = (const char *)b + fields[i].offset, *text;
        uint64_t n;

        if (fields[i].type == TEXT) {
            memcpy(&text, member, sizeof(text));
            if (text)
                json_out_kcstr(j, fields[i].name, text);
        } else if (fields[i].type == NUMBER) {
            memcpy(&n, member, sizeof(n));
            if (n) {
                json_out_key(j, fields[i].name);
                json_out_u64(j, n);
            }
        } else if (*member) {
            json_out_kbool(j, fields[i].name, true);
        }
    }
    json_out_end(j);
}

/* ---- rules ---- */

struct sim_rules *sim_rules_new(void)
{
    struct sim_rules *r = xcalloc(1, sizeof(*r));

    list_init(&r->list);
    return r;
}

static void free_rule(struct rule *rule)
{
    list_del(&rule->node);
    arena_release(&rule->arena);
    xfree(rule);
}

void sim_rules_reset(struct sim_rules *r)
{
    list_for_each(node, &r->list) {
        struct rule *rule = list_entry(node, struct rule, node);

        if (!rule->is_permanent)
            free_rule(rule);
    }
}

void sim_rules_free(struct sim_rules *r)
{
    list_for_each(node, &r->list)
        free_rule(list_entry(node, struct rule, node));
    xfree(r);
}

static struct rule *new_rule(void)
{
    struct rule *rule = xcalloc(1, sizeof(*rule));

    list_init(&rule->node);
    arena_init(&rule->arena);
    return rule;
}

static bool is_route(const char *name)
{
    for (int i = 0; i < SIM_ROUTES; i++)
        if (strcmp(name, sim_route_names[i]) == 0)
            return true;
    return strcmp(name, "*") == 0;
}

static bool keep_rule(struct sim_rules *r, struct rule *rule, bool ok, char why[200])
{
    if (ok && rule->b.route && !is_route(rule->b.route)) {
        snprintf(why, 200, "no route '%.100s'", rule->b.route);
        ok = false;
    }
    if (!ok) {
        free_rule(rule);
        return false;
    }
    rule->left = rule->b.times;
    list_add_head(&r->list, &rule->node);
    return true;
}

bool sim_rules_add_text(struct sim_rules *r, struct str text, bool is_permanent, char why[200])
{
    struct rule *rule = new_rule();

    rule->is_permanent = is_permanent;
    return keep_rule(r, rule, sim_behaviour_parse(&rule->b, &rule->arena, text, why), why);
}

bool sim_rules_add_json(struct sim_rules *r, const json_t *obj, char why[200])
{
    struct rule *rule = new_rule();
    const char *key;
    json_t *value;
    bool ok = json_is_object(obj);

    if (!ok)
        snprintf(why, 200, "a rule is an object");
    void *it = ok ? json_object_iter((json_t *)(uintptr_t)obj) : NULL; /* jansson's iterator takes no const */

    for (; ok && it; it = json_object_iter_next((json_t *)(uintptr_t)obj, it)) {
        char number[32];

        key = json_object_iter_key(it);
        value = json_object_iter_value(it);
        if (json_is_integer(value))
            snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        else
            snprintf(number, sizeof(number), "%d", json_is_true(value));
        if (json_is_string(value))
            ok = sim_behaviour_set(&rule->b, &rule->arena, str_of(key), str_n(json_string_value(value), json_string_length(value)), why);
        else if (json_is_integer(value) || json_is_boolean(value))
            ok = sim_behaviour_set(&rule->b, &rule->arena, str_of(key), str_of(number), why);
        else if (json_is_object(value) || json_is_array(value)) { /* "body": {...} */
            char *dump = json_dumps(value, JSON_COMPACT);

            ok = sim_behaviour_set(&rule->b, &rule->arena, str_of(key), str_of(dump), why);
            free(dump);
        }
    }
    return keep_rule(r, rule, ok, why);
}

void sim_rules_write(const struct sim_rules *r, struct json_out *j)
{
    json_out_array(j);
    list_for_each(node, &r->list)
        sim_behaviour_write(&list_entry(node, struct rule, node)->b, j);
    json_out_end(j);
}

/* A rule without a route is for calls, not for lists. */
static bool matches(const struct sim_behaviour *b, enum sim_route route, struct str model)
{
    if (b->route ? strcmp(b->route, "*") != 0 && strcmp(b->route, sim_route_names[route]) != 0 : route == SIM_MODELS)
        return false;
    return !b->model || strcmp(b->model, "*") == 0 || str_eq_c(model, b->model);
}

static void copy_texts(struct sim_behaviour *b, struct arena *a)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        char *member = (char *)b + fields[i].offset;
        const char *text;

        if (fields[i].type != TEXT)
            continue;
        memcpy(&text, member, sizeof(text));
        text = text ? arena_cstr(a, str_of(text)) : NULL;
        memcpy(member, &text, sizeof(text));
    }
}

bool sim_rules_apply(struct sim_rules *r, enum sim_route route, struct str model, struct arena *a, struct sim_behaviour *ret, char why[200])
{
    struct str name = str_until(model, ';');

    *ret = (struct sim_behaviour){0};
    list_for_each(node, &r->list) {
        struct rule *rule = list_entry(node, struct rule, node);

        if (!matches(&rule->b, route, name))
            continue;
        *ret = rule->b;
        copy_texts(ret, a);
        if (rule->left > 0 && --rule->left == 0)
            free_rule(rule);
        break;
    }
    return sim_behaviour_parse(ret, a, str_after(model, ';'), why);
}
