/* api_export.c -- all channels as one JSON document that import takes back. Without time or ids, so
 * that export, import into an empty installation and export again give the same bytes. */
#include "api/api_private.h"
#include "api/api_resources.h"
#include "api/api_stream.h"
#include "api/api_target_edit.h"

struct export
{                             /* in the exchange's arena */
    struct api_change change; /* the audit row of clear keys */
    struct api_stream stream;
    enum channel_secrets secrets;
    size_t next;
};

static void export_more(struct api_stream *s)
{
    struct export *e = container_of(s, struct export, stream);
    const struct catalog_snapshot *snapshot = s->call->snapshot;

    if (!s->is_started && e->next == 0) {
        json_out_object(&s->json);
        json_out_kcstr(&s->json, "format", "gatehouse.channels");
        json_out_ki64(&s->json, "version", 1);
        json_out_key(&s->json, "channels");
        json_out_array(&s->json);
    }
    while (e->next < snapshot->channel_count && buf_len(&s->buf) < API_STREAM_PIECE) {
        json_out_object(&s->json);
        channel_to_json(snapshot->channels[e->next++], &s->json, e->secrets);
        json_out_end(&s->json);
    }
    if (e->next == snapshot->channel_count && !s->json.failed) {
        json_out_end(&s->json);
        json_out_end(&s->json);
        buf_put(&s->buf, STR("\n"));
    }
    api_stream_push(s, e->next == snapshot->channel_count);
}

static void send_all(struct export *e, struct api_call *c)
{
    e->stream.more = export_more;
    http_add_header(c->x, "Content-Disposition",
                    STR("attachment; filename=\"gatehouse-channels.json\""));
    api_stream_start(&e->stream, c, "application/json");
}

static int audit_run(struct api_change *change, struct catalog_tx *tx, struct err *reterr)
{
    return api_target_edit_audit(tx, change->call, "channel.export_keys", NULL,
                                 STR("secrets=clear"), reterr);
}

static void audit_done(struct api_change *change)
{
    send_all(container_of(change, struct export, change), change->call);
}

/* GET /api/targets/export?secrets=omit|masked|clear: 200 {"format","version","channels":[...]}. */
static void export(struct api_call *c)
{
    struct str secrets = api_query_str(c, "secrets");
    struct export *e = arena_zalloc(http_arena(c->x), sizeof(*e));

    e->secrets = CHANNEL_SECRETS_MASKED;
    if (str_eq_c(secrets, "omit")) {
        e->secrets = CHANNEL_SECRETS_OMITTED;
    } else if (str_eq_c(secrets, "clear")) {
        e->secrets = CHANNEL_SECRETS_CLEAR;
        e->change.run = audit_run;
        e->change.done = audit_done;
        api_change(c, &e->change);
        return;
    } else if (secrets.len > 0 && !str_eq_c(secrets, "masked")) {
        api_error_field(c, 400, "secrets", "invalid secrets: omit, masked, clear");
        return;
    }
    send_all(e, c);
}

static const struct route_param export_params[] = {
    {"secrets", "string", "masked when absent; clear leaves an audit row", 0, 0, 0,
     "omit|masked|clear"},
    {NULL, NULL, NULL, 0, 0, 0, NULL},
};

// clang-format off
const struct route api_export_routes[] = {
    {HTTP_GET_, "/api/targets/export", ROUTE_ADMIN, 0, export, "targets",
     "All channels as a document that import takes back", export_params, NULL,
     "{\"type\":\"object\",\"properties\":{\"format\":{\"type\":\"string\"},\"version\":{\"type\":\"integer\"},"
     "\"channels\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Channel\"}}}}",
     "400 invalid secrets; 403 admin token required"},
};
const size_t api_export_route_count = ARRAY_LEN(api_export_routes);
// clang-format on
