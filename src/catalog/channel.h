/* channel.h -- one upstream account, and the one table of its fields: name, type, bounds, default,
 * error text. POST and PATCH bodies, import, export, OpenAPI and the edit form all walk it. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/json_doc.h"
#include "base/json_out.h"
#include "base/secret.h"
#include "base/str.h"
#include "llm/protocol.h"

struct channel_texts { /* a list of texts, owned by the channel */
    char **items;
    size_t count;
};

struct channel { /* immutable inside a snapshot; free-standing ones belong to their maker */
    int64_t id;
    char *name, *base_url, *prompt, *anthropic_version, *source_url /* NULL */, *user_agent /* NULL = option */, *proxy_url /* NULL */;
    struct secret api_key;
    struct secret *api_keys; /* further ones, used in turn */
    size_t api_key_count;
    bool enabled, verify_ssl, visitor_channel_actions_enabled, public, skip_unprobeable, lenient, stream_probe;
    int32_t interval_min, max_models, sort_order;
    double timeout_s, first_byte_timeout_s, idle_timeout_s;
    struct channel_texts selected_models, tags;
    struct channel_texts route_models; /* route_overrides: model ids ... */
    enum protocol *route_protocols;    /* ... and their routes (PROTOCOL_NONE = skip) */
    utc_ms created_utc_ms, updated_utc_ms;
};

struct channel *channel_new(void); /* all defaults of the field table */
struct channel *channel_dup(const struct channel *ch);
void channel_free(struct channel *ch);
DEFINE_CLEANUP(struct channel *, channel_free)

enum channel_field_type { CHANNEL_FIELD_TEXT, CHANNEL_FIELD_SECRET, CHANNEL_FIELD_BOOL, CHANNEL_FIELD_INT, CHANNEL_FIELD_NUMBER, CHANNEL_FIELD_TEXTS, CHANNEL_FIELD_SECRETS, CHANNEL_FIELD_ROUTES };

#define CHANNEL_FIELD_REQUIRED  1u
#define CHANNEL_FIELD_NULLABLE  2u /* explicit null clears; elsewhere null = absent */
#define CHANNEL_FIELD_VISITOR   4u /* a visitor may give it when creating */
#define CHANNEL_FIELD_ADVANCED  8u /* PATCH /api/admin/channels/{id}/advanced takes it */
#define CHANNEL_FIELD_URL      16u

struct channel_field {
    const char *name;
    enum channel_field_type type;
    unsigned flags;
    double min, max;     /* numbers; texts and items: length in code points, trimmed */
    const char *deflt;   /* JSON text, NULL = none */
    const char *error;   /* detail on any failure of type or bound (spec 1 section 1.4), NULL = made from the row */
    const char *help;    /* one sentence for OpenAPI, form and docs */
    size_t offset;
};
extern const struct channel_field channel_fields[];
extern const size_t channel_field_count;

/* Put the members of a JSON object onto ch, in the table's order, first failure wins; ch is
 * untouched on failure. Unknown members are ignored when they are known outputs of the API or
 * `strict` is false, else ERR_SYNTAX. `only` (may be 0): allow rows with this flag alone.
 * `min_interval` etc. come from the table. *ret_changed (may be NULL): something differs now. */
MUST_USE int channel_from_json(struct channel *ch, const json_t *obj, unsigned only, bool *ret_changed, struct err *reterr);
/* All rows as members of the open object; secrets as `mask` tells. */
enum channel_secrets { CHANNEL_SECRETS_MASKED, CHANNEL_SECRETS_OMITTED, CHANNEL_SECRETS_CLEAR };
void channel_to_json(const struct channel *ch, struct json_out *j, enum channel_secrets mode);
/* Route a model takes on this channel: override, else table; PROTOCOL_NONE = skip. */
enum protocol channel_route(const struct channel *ch, struct str model);
bool channel_is_selected(const struct channel *ch, struct str model); /* empty selection = all */
