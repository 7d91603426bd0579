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
    bool by_visitor; /* base_url was given by a visitor: private addresses are refused */
    utc_ms created_utc_ms, updated_utc_ms;
};

/* All defaults of the field table; sort_order 0: the next one when it is stored. Texts that are not
 * marked NULL above are never NULL. One reference, the maker's. */
struct channel *channel_new(void);
struct channel *channel_dup(const struct channel *ch); /* free-standing, with one reference */
/* Another reference, any thread; a channel with more than one reference is never changed. */
const struct channel *channel_ref(const struct channel *ch);
void channel_free(const struct channel *ch); /* gives one reference back; secrets are wiped with the last */
static inline void channel_freep(struct channel **p)
{
    if (*p)
        channel_free(*p);
}
/* Once, before threads: default of interval_min for channel_new(), 1..1440 (option default_interval_min). */
void channel_set_default_interval(int minutes);

enum channel_field_type { CHANNEL_FIELD_TEXT, CHANNEL_FIELD_SECRET, CHANNEL_FIELD_BOOL, CHANNEL_FIELD_INT, CHANNEL_FIELD_NUMBER, CHANNEL_FIELD_TEXTS, CHANNEL_FIELD_SECRETS, CHANNEL_FIELD_ROUTES };

#define CHANNEL_FIELD_REQUIRED  1u
#define CHANNEL_FIELD_NULLABLE  2u /* explicit null clears; elsewhere null = absent */
#define CHANNEL_FIELD_VISITOR   4u /* a visitor may give it when creating */
#define CHANNEL_FIELD_ADVANCED  8u /* PATCH /api/admin/channels/{id}/advanced takes it */
#define CHANNEL_FIELD_URL      16u /* http or https with a host */
#define CHANNEL_FIELD_PLAIN    32u /* no control characters: it goes into a header or a log line */
#define CHANNEL_FIELD_NO_SLASH 64u
#define CHANNEL_FIELD_LAX     128u /* a boolean that may come as 0 or 1 */
#define CHANNEL_FIELD_PROXY   256u /* http, https, socks5 or socks5h with a host */

struct channel_field {
    const char *name;
    enum channel_field_type type;
    unsigned flags;
    double min, max;     /* numbers; texts and items: length in code points, trimmed */
    size_t max_items;    /* lists */
    const char *deflt;   /* JSON text, NULL = none */
    const char *error;   /* detail on a failure of type; NULL = made from the row, as those of bounds are */
    const char *help;    /* one sentence for OpenAPI, form and docs */
    size_t offset;
};
extern const struct channel_field channel_fields[];
extern const size_t channel_field_count;

const struct channel_field *channel_field_find(struct str name); /* NULL */
bool channel_field_equal(const struct channel_field *f, const struct channel *a, const struct channel *b);

/* Put the members of a JSON object (null = an empty one) onto ch, in the table's order, first failure
 * wins; ch is untouched on failure. With ch->id 0 it is a new one: name, base_url and api_key are
 * required. A text equal to the one ch holds passes whatever the rules say today (imported
 * rows), a secret equal to its mask leaves it. Members that are no rows are ignored; with
 * CHANNEL_JSON_STRICT in `only` those that are no outputs of the API either are ERR_SYNTAX. `only`
 * (may be 0): rows with this flag alone, others are ignored. *ret_changed (may be NULL): something
 * differs now. ERR_SYNTAX wrong type, ERR_RANGE out of bounds; *reterr names the field. */
#define CHANNEL_JSON_STRICT 0x10000u
MUST_USE int channel_from_json(struct channel *ch, const json_t *obj, unsigned only, bool *ret_changed, struct err *reterr);
/* How many members would be taken: rows that `only` allows and that are not null (unless it clears). */
size_t channel_json_given(const json_t *obj, unsigned only);
/* All rows as members of the open object; secrets as `mask` tells. */
enum channel_secrets { CHANNEL_SECRETS_MASKED, CHANNEL_SECRETS_OMITTED, CHANNEL_SECRETS_CLEAR };
void channel_to_json(const struct channel *ch, struct json_out *j, enum channel_secrets mode);
/* The stored forms: JSON text of a list and of the route overrides. Reading is lenient, for what lies
 * in a database already: members of a wrong type are left out, false = not readable at all (empty then). */
void channel_texts_release(struct channel_texts *t);
void channel_texts_write(const struct channel_texts *t, struct json_out *j);
bool channel_texts_read(struct channel_texts *t, struct str json);
void channel_routes_write(const struct channel *ch, struct json_out *j);
bool channel_routes_read(struct channel *ch, struct str json);

/* Route a model takes on this channel: override, else none when it cannot be probed and the channel
 * says skip_unprobeable, else the table; PROTOCOL_NONE = skip. */
enum protocol channel_route(const struct channel *ch, struct str model);
bool channel_is_selected(const struct channel *ch, struct str model); /* empty selection = all */
