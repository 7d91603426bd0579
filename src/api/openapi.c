/* openapi.c -- the OpenAPI 3.1 document, written from the route table and the channel field table:
 * what is served and what is documented cannot drift apart. */
#include "api/route.h"

#include "catalog/channel.h"

static const char *const method_keys[] = {
    [HTTP_GET_] = "get",         [HTTP_HEAD_] = "head",   [HTTP_POST_] = "post",
    [HTTP_PUT_] = "put",         [HTTP_PATCH_] = "patch", [HTTP_DELETE_] = "delete",
    [HTTP_OPTIONS_] = "options",
};

/* ---- schemas from the field table ---- */

static void write_field_type(struct json_out *j, const struct channel_field *f)
{
    static const char *const types[] = {
        [CHANNEL_FIELD_TEXT] = "string",   [CHANNEL_FIELD_SECRET] = "string",
        [CHANNEL_FIELD_BOOL] = "boolean",  [CHANNEL_FIELD_INT] = "integer",
        [CHANNEL_FIELD_NUMBER] = "number", [CHANNEL_FIELD_TEXTS] = "array",
        [CHANNEL_FIELD_SECRETS] = "array", [CHANNEL_FIELD_ROUTES] = "object",
    };

    json_out_key(j, "type");
    if (f->flags & CHANNEL_FIELD_NULLABLE) {
        json_out_array(j);
        json_out_cstr(j, types[f->type]);
        json_out_cstr(j, "null");
        json_out_end(j);
    } else {
        json_out_cstr(j, types[f->type]);
    }
}

static void write_field(struct json_out *j, const struct channel_field *f)
{
    json_out_key(j, f->name);
    json_out_object(j);
    write_field_type(j, f);
    switch (f->type) {
    case CHANNEL_FIELD_TEXT:
    case CHANNEL_FIELD_SECRET:
        json_out_ki64(j, "minLength", (int64_t)f->min);
        json_out_ki64(j, "maxLength", (int64_t)f->max);
        break;
    case CHANNEL_FIELD_INT:
    case CHANNEL_FIELD_NUMBER:
        json_out_kdouble(j, "minimum", f->min);
        json_out_kdouble(j, "maximum", f->max);
        break;
    case CHANNEL_FIELD_TEXTS:
    case CHANNEL_FIELD_SECRETS:
        json_out_key(j, "items");
        json_out_raw(j, STR("{\"type\":\"string\"}"));
        break;
    case CHANNEL_FIELD_ROUTES:
        json_out_key(j, "additionalProperties");
        json_out_raw(j, STR("{\"type\":\"string\",\"enum\":[\"chat\",\"responses\",\"anthropic\","
                            "\"gemini\",\"skip\"]}"));
        break;
    case CHANNEL_FIELD_BOOL:
        break;
    }
    if (f->deflt) {
        json_out_key(j, "default");
        json_out_raw(j, str_of(f->deflt));
    }
    json_out_kcstr(j, "description", f->help);
    json_out_end(j);
}

static void write_required(struct json_out *j)
{
    json_out_key(j, "required");
    json_out_array(j);
    for (size_t i = 0; i < channel_field_count; i++) {
        if (channel_fields[i].flags & CHANNEL_FIELD_REQUIRED)
            json_out_cstr(j, channel_fields[i].name);
    }
    json_out_end(j);
}

static void write_channel_schema(struct json_out *j, const char *name, bool with_required)
{
    json_out_key(j, name);
    json_out_object(j);
    json_out_kcstr(j, "type", "object");
    if (with_required)
        write_required(j);
    json_out_key(j, "properties");
    json_out_object(j);
    for (size_t i = 0; i < channel_field_count; i++)
        write_field(j, &channel_fields[i]);
    json_out_end(j);
    json_out_end(j);
}

/* A channel with what the newest run left; api_target_view.c writes it. */
static const char target_schema[] =
    "{\"allOf\":[{\"$ref\":\"#/components/schemas/Channel\"},{\"type\":\"object\",\"properties\":{"
    "\"id\":{\"type\":\"integer\"},\"created_at\":{\"type\":\"number\"},\"updated_at\":{\"type\":"
    "\"number\"},"
    "\"last_run_at\":{\"type\":[\"number\",\"null\"]},\"last_run_id\":{\"type\":[\"integer\","
    "\"null\"]},"
    "\"last_status\":{\"enum\":[\"healthy\",\"degraded\",\"down\",\"error\",\"no_models\",null]},"
    "\"last_total\":{\"type\":[\"integer\",\"null\"]},\"last_success\":{\"type\":[\"integer\","
    "\"null\"]},"
    "\"last_fail\":{\"type\":[\"integer\",\"null\"]},\"last_log_file\":{\"type\":[\"string\","
    "\"null\"]},"
    "\"last_error\":{\"type\":[\"string\",\"null\"]},\"last_success_rate\":{\"type\":[\"number\","
    "\"null\"]},"
    "\"next_run_at\":{\"type\":[\"number\",\"null\"]},\"running\":{\"type\":\"boolean\"},"
    "\"queued\":{\"type\":\"boolean\"},"
    "\"progress\":{\"type\":[\"object\",\"null\"],\"properties\":{\"run_id\":{\"type\":\"integer\"}"
    ","
    "\"started_at\":{\"type\":\"number\"},\"done\":{\"type\":\"integer\"},\"total\":{\"type\":["
    "\"integer\",\"null\"]}}},"
    "\"warnings\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"can_operate\":{\"type\":"
    "\"boolean\"},"
    "\"latest_models\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
    "\"protocol\":{\"type\":\"string\"},\"model\":{\"type\":\"string\"},\"success\":{\"type\":"
    "\"boolean\"},"
    "\"duration\":{\"type\":\"number\"},\"error\":{\"type\":[\"string\",\"null\"]},\"status_code\":"
    "{\"type\":[\"integer\",\"null\"]},"
    "\"outcome\":{\"type\":\"string\"},\"route\":{\"type\":\"string\"},\"timestamp\":{\"type\":"
    "\"number\"},"
    "\"ttfb\":{\"type\":[\"number\",\"null\"]},\"ttft\":{\"type\":[\"number\",\"null\"]},\"run_"
    "id\":{\"type\":\"integer\"},"
    "\"health\":{\"type\":\"object\",\"description\":\"outcomes since the start of the daemon and "
    "its breaker\",\"properties\":{"
    "\"state\":{\"enum\":[\"closed\",\"open\",\"half_open\"]},\"good\":{\"type\":\"integer\"},"
    "\"samples\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":64},\"latency_ewma\":{\"type\":["
    "\"number\",\"null\"]},"
    "\"ttft_ewma\":{\"type\":[\"number\",\"null\"]},\"fault\":{\"type\":[\"string\",\"null\"],"
    "\"description\":\"class of the outcome that opened it\"},"
    "\"open_until\":{\"type\":[\"number\",\"null\"]}}},"
    "\"history\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"success\":{"
    "\"type\":\"boolean\"},"
    "\"duration\":{\"type\":\"number\"},\"timestamp\":{\"type\":\"number\"},\"error\":{\"type\":["
    "\"string\",\"null\"]},"
    "\"status_code\":{\"type\":[\"integer\",\"null\"]}}}}}}}}}]}";

static void write_components(struct json_out *j)
{
    json_out_key(j, "components");
    json_out_object(j);
    json_out_key(j, "schemas");
    json_out_object(j);
    write_channel_schema(j, "Channel", false);
    json_out_key(j, "Target");
    json_out_raw(j, str_of(target_schema));
    write_channel_schema(j, "ChannelCreate", true);
    write_channel_schema(j, "ChannelPatch", false);
    json_out_key(j, "Error");
    json_out_raw(j, STR("{\"type\":\"object\",\"required\":[\"detail\"],\"properties\":{\"detail\":"
                        "{\"type\":\"string\"},\"field\":{\"type\":\"string\"}}}"));
    json_out_end(j);
    json_out_key(j, "securitySchemes");
    json_out_raw(j,
                 STR("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},\"session\":{\"type\":"
                     "\"apiKey\",\"in\":\"cookie\",\"name\":\"api_monitor_admin_session\"}}"));
    json_out_end(j);
}

/* ---- operations ---- */

static void write_param(struct json_out *j, const struct route_param *p, const char *in)
{
    json_out_object(j);
    json_out_kcstr(j, "name", p->name);
    json_out_kcstr(j, "in", in);
    json_out_kbool(j, "required", strcmp(in, "path") == 0);
    json_out_kcstr(j, "description", p->help);
    json_out_key(j, "schema");
    json_out_object(j);
    json_out_kcstr(j, "type", p->type);
    if (strcmp(p->type, "integer") == 0 && (p->min != 0 || p->max != 0)) {
        json_out_ki64(j, "minimum", p->min);
        if (p->max < (INT64_C(1) << 53)) /* a larger bound is none to a JSON reader */
            json_out_ki64(j, "maximum", p->max);
    }
    if (p->choices) {
        struct str rest = str_of(p->choices), one;

        json_out_key(j, "enum");
        json_out_array(j);
        while (str_split(&rest, '|', &one))
            json_out_str(j, one);
        json_out_end(j);
    }
    json_out_end(j);
    json_out_end(j);
}

static void write_params(struct json_out *j, const struct route *r)
{
    struct str rest = str_of(r->path), segment;

    json_out_key(j, "parameters");
    json_out_array(j);
    while (str_split(&rest, '/', &segment)) {
        char name[32];
        struct route_param p = {.name = name, .type = "string", .help = ""};

        if (segment.len < 3 || segment.ptr[0] != '{')
            continue;
        str_copy(name, sizeof(name), str_cut(segment, 1, segment.len - 2));
        if (strcmp(name, "id") == 0)
            p = (struct route_param){
                .name = name, .type = "integer", .help = "identity", .min = 1, .max = INT64_MAX};
        write_param(j, &p, "path");
    }
    for (const struct route_param *p = r->params; p && p->name; p++)
        write_param(j, p, "query");
    json_out_end(j);
}

static void write_schema(struct json_out *j, const char *schema)
{
    json_out_key(j, "schema");
    if (strcmp(schema, "#channel") == 0)
        json_out_raw(j, STR("{\"$ref\":\"#/components/schemas/ChannelCreate\"}"));
    else if (strcmp(schema, "#channel_patch") == 0)
        json_out_raw(j, STR("{\"$ref\":\"#/components/schemas/ChannelPatch\"}"));
    else
        json_out_raw(j, str_of(schema));
}

/* A schema text, or a media type where the answer is no JSON. */
static void write_content(struct json_out *j, const char *schema)
{
    bool is_json = schema[0] == '{' || schema[0] == '#';

    json_out_key(j, "content");
    json_out_object(j);
    json_out_key(j, is_json ? "application/json" : schema);
    json_out_object(j);
    if (is_json)
        write_schema(j, schema);
    json_out_end(j);
    json_out_end(j);
}

/* "400 invalid id; 404 target not found; 400 ...": texts of one status are joined. */
static void write_errors(struct json_out *j, const char *errors)
{
    bool seen[600] = {false};
    struct str rest = str_of(errors), one;

    while (str_split(&rest, ';', &one)) {
        struct str status = str_until(str_trim(one), ' '), text = str_after(str_trim(one), ' ');
        uint64_t n;

        if (str_to_u64(status, 599, &n) < 0 || seen[n])
            continue;
        seen[n] = true;
        json_out_key_str(j, status);
        json_out_object(j);
        json_out_kstr(j, "description", text.len ? text : STR("see detail"));
        write_content(j, "{\"$ref\":\"#/components/schemas/Error\"}");
        json_out_end(j);
    }
}

static void write_operation(struct json_out *j, const struct route *r)
{
    json_out_key(j, method_keys[r->method]);
    json_out_object(j);
    json_out_key(j, "tags");
    json_out_array(j);
    json_out_cstr(j, r->tag);
    json_out_end(j);
    json_out_kcstr(j, "summary", r->summary);
    write_params(j, r);
    if (r->request) {
        json_out_key(j, "requestBody");
        json_out_object(j);
        json_out_kbool(j, "required", !(r->flags & ROUTE_BODY_EMPTY));
        write_content(j, r->request);
        json_out_end(j);
    }
    json_out_key(j, "responses");
    json_out_object(j);
    json_out_key(j, "200");
    json_out_object(j);
    json_out_kcstr(j, "description", "done");
    if (r->response)
        write_content(j, r->response);
    json_out_end(j);
    if (r->errors)
        write_errors(j, r->errors);
    json_out_end(j);
    json_out_key(j, "security");
    if (r->auth == ROUTE_OPEN)
        json_out_raw(j, STR("[]"));
    else
        json_out_raw(j, STR("[{\"bearer\":[]},{\"session\":[]}]"));
    json_out_kcstr(j, "x-role",
                   r->auth == ROUTE_OPEN      ? "anybody"
                   : r->auth == ROUTE_ADMIN   ? "admin"
                   : r->auth == ROUTE_OPERATE ? "admin, or visitor where the channel allows"
                                              : "admin or visitor");
    json_out_end(j);
}

static bool is_first_of_path(size_t group, size_t row)
{
    const char *path = route_groups[group].rows[row].path;

    for (size_t g = 0; g <= group; g++) {
        size_t end = g == group ? row : *route_groups[g].count;

        for (size_t r = 0; r < end; r++) {
            if (strcmp(route_groups[g].rows[r].path, path) == 0)
                return false;
        }
    }
    return true;
}

static void write_path(struct json_out *j, const char *path)
{
    json_out_key(j, path);
    json_out_object(j);
    for (size_t g = 0; g < route_group_count; g++) {
        for (size_t r = 0; r < *route_groups[g].count; r++) {
            const struct route *row = &route_groups[g].rows[r];

            if (strcmp(row->path, path) == 0 && !(row->flags & ROUTE_HIDDEN))
                write_operation(j, row);
        }
    }
    json_out_end(j);
}

int route_openapi(struct buf *out)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kcstr(&j, "openapi", "3.1.0");
    json_out_key(&j, "info");
    json_out_object(&j);
    json_out_kcstr(&j, "title", "Gatehouse");
    json_out_kcstr(&j, "version", GATEHOUSE_VERSION);
    json_out_kcstr(&j, "description",
                   "Watches, meters, guards and routes a team's LLM API traffic.");
    json_out_end(&j);
    json_out_key(&j, "paths");
    json_out_object(&j);
    for (size_t g = 0; g < route_group_count; g++) {
        for (size_t r = 0; r < *route_groups[g].count; r++) {
            if (is_first_of_path(g, r) && !(route_groups[g].rows[r].flags & ROUTE_HIDDEN))
                write_path(&j, route_groups[g].rows[r].path);
        }
    }
    json_out_end(&j);
    write_components(&j);
    json_out_end(&j);
    return j.failed ? ERR_LIMIT : 0;
}
