/* channel_field.c -- the table of channel fields. Its order is the order of the checks: system 1's
 * fields as spec 1 section 1.4 lists them, then ours. */
#include "catalog/channel.h"

#define TEXT_ROW(member, flag_bits, lo, hi, text_default, sentence)                                \
    {                                                                                              \
        .name = #member, .type = CHANNEL_FIELD_TEXT, .flags = (flag_bits), .min = (lo),            \
        .max = (hi), .deflt = (text_default), .help = (sentence),                                  \
        .offset = offsetof(struct channel, member),                                                \
    }
#define BOOL_ROW(member, flag_bits, text_default, sentence)                                        \
    {                                                                                              \
        .name = #member, .type = CHANNEL_FIELD_BOOL, .flags = (flag_bits), .max = 1,               \
        .deflt = (text_default), .help = (sentence), .offset = offsetof(struct channel, member),   \
    }
#define INT_ROW(member, flag_bits, lo, hi, text_default, sentence)                                 \
    {                                                                                              \
        .name = #member, .type = CHANNEL_FIELD_INT, .flags = (flag_bits), .min = (lo),             \
        .max = (hi), .deflt = (text_default), .help = (sentence),                                  \
        .offset = offsetof(struct channel, member),                                                \
    }
#define NUMBER_ROW(member, flag_bits, lo, hi, text_default, sentence)                              \
    {                                                                                              \
        .name = #member, .type = CHANNEL_FIELD_NUMBER, .flags = (flag_bits), .min = (lo),          \
        .max = (hi), .deflt = (text_default), .help = (sentence),                                  \
        .offset = offsetof(struct channel, member),                                                \
    }
#define LIST_ROW(member, row_type, lo, hi, items, text_default, sentence)                          \
    {                                                                                              \
        .name = #member, .type = (row_type), .min = (lo), .max = (hi), .max_items = (items),       \
        .deflt = (text_default), .help = (sentence), .offset = offsetof(struct channel, member),   \
    }

const struct channel_field channel_fields[] = {
    TEXT_ROW(name,
             CHANNEL_FIELD_REQUIRED | CHANNEL_FIELD_VISITOR | CHANNEL_FIELD_PLAIN |
                 CHANNEL_FIELD_NO_SLASH,
             1, 128, NULL, "Unique name; the part before '/' in the model ids of the gateway."),
    TEXT_ROW(base_url, CHANNEL_FIELD_REQUIRED | CHANNEL_FIELD_VISITOR | CHANNEL_FIELD_URL, 3, 512,
             NULL, "Address of the upstream, with or without /v1 at its end."),
    {
        .name = "api_key",
        .type = CHANNEL_FIELD_SECRET,
        .flags = CHANNEL_FIELD_REQUIRED | CHANNEL_FIELD_VISITOR | CHANNEL_FIELD_PLAIN,
        .min = 1,
        .max = 2048,
        .help =
            "Key of the upstream account; encrypted at rest and shown as its last four characters.",
        .offset = offsetof(struct channel, api_key),
    },
    INT_ROW(interval_min, CHANNEL_FIELD_VISITOR, 1, 1440, "30", "Minutes between two runs."),
    NUMBER_ROW(timeout_s, CHANNEL_FIELD_VISITOR, 3, 300, "30.0",
               "Seconds that one whole probe may take."),
    INT_ROW(max_models, CHANNEL_FIELD_ADVANCED, 0, 5000, "0",
            "Probe at most so many models of the upstream's list; 0 = all."),
    INT_ROW(sort_order, 0, 1, 1000000, NULL, "Place in lists; a new channel comes last."),
    TEXT_ROW(prompt, CHANNEL_FIELD_ADVANCED, 1, 4000,
             "\"What is the exact model identifier (model string) you are using for this "
             "chat/session?\"",
             "Question that a probe asks."),
    TEXT_ROW(anthropic_version, CHANNEL_FIELD_ADVANCED | CHANNEL_FIELD_PLAIN, 4, 64,
             "\"2025-09-29\"", "Header anthropic-version of Anthropic calls."),
    TEXT_ROW(source_url, CHANNEL_FIELD_NULLABLE | CHANNEL_FIELD_VISITOR | CHANNEL_FIELD_URL, 0,
             1024, "null", "Link to where the account comes from."),
    BOOL_ROW(visitor_channel_actions_enabled, CHANNEL_FIELD_ADVANCED, "false",
             "Visitors may start runs of this channel."),
    LIST_ROW(selected_models, CHANNEL_FIELD_TEXTS, 1, 256, 5000, "[]",
             "Models to probe; empty = all that the upstream lists."),
    BOOL_ROW(enabled, CHANNEL_FIELD_LAX, "true", "Probed on schedule and offered by the gateway."),
    BOOL_ROW(verify_ssl, CHANNEL_FIELD_LAX | CHANNEL_FIELD_ADVANCED, "false",
             "Check the upstream's certificate; off, anybody between may read the key."),
    LIST_ROW(api_keys, CHANNEL_FIELD_SECRETS, 1, 2048, 64, "[]",
             "Further keys of the same upstream, used in turn with api_key."),
    BOOL_ROW(public, 0, "false", "Shown on the public status page."),
    LIST_ROW(tags, CHANNEL_FIELD_TEXTS, 1, 64, 32, "[]", "Words to group and filter by."),
    {
        .name = "route_overrides",
        .type = CHANNEL_FIELD_ROUTES,
        .min = 1,
        .max = 256,
        .max_items = 1000,
        .deflt = "{}",
        .error = "route_overrides must be an object of model ids and routes",
        .help = "Route of single models: chat, responses, anthropic, gemini or skip.",
        .offset = offsetof(struct channel, route_models), /* and route_protocols beside it */
    },
    BOOL_ROW(skip_unprobeable, 0, "false",
             "Leave out embedding, rerank, image, audio and moderation models."),
    BOOL_ROW(lenient, 0, "true",
             "Any 2xx counts, and so does an answer whose only defect is that it was cut."),
    BOOL_ROW(stream_probe, 0, "false",
             "Probe by streaming and measure the time to the first token."),
    TEXT_ROW(user_agent, CHANNEL_FIELD_NULLABLE | CHANNEL_FIELD_PLAIN, 0, 256, "null",
             "User-Agent of calls to this channel; null = the global one."),
    TEXT_ROW(proxy_url, CHANNEL_FIELD_NULLABLE | CHANNEL_FIELD_PROXY, 0, 512, "null",
             "Outbound proxy of this channel; null = the global one."),
    NUMBER_ROW(first_byte_timeout_s, 0, 0.1, 3600, "300",
               "Seconds until the gateway must have the first byte of an answer."),
    NUMBER_ROW(idle_timeout_s, 0, 0.1, 3600, "300",
               "Seconds that may pass between two chunks of an answer."),
};
const size_t channel_field_count = ARRAY_LEN(channel_fields);

const struct channel_field *channel_field_find(struct str name)
{
    for (size_t i = 0; i < channel_field_count; i++)
        if (str_eq_c(name, channel_fields[i].name))
            return &channel_fields[i];
    return NULL;
}

static bool texts_equal(const struct channel_texts *a, const struct channel_texts *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

static bool secrets_equal(const struct channel *a, const struct channel *b)
{
    if (a->api_key_count != b->api_key_count)
        return false;
    for (size_t i = 0; i < a->api_key_count; i++)
        if (!secret_equal(secret_str(&a->api_keys[i]), secret_str(&b->api_keys[i])))
            return false;
    return true;
}

static bool routes_equal(const struct channel *a, const struct channel *b)
{
    if (!texts_equal(&a->route_models, &b->route_models))
        return false;
    for (size_t i = 0; i < a->route_models.count; i++)
        if (a->route_protocols[i] != b->route_protocols[i])
            return false;
    return true;
}

bool channel_field_equal(const struct channel_field *f, const struct channel *a,
                         const struct channel *b)
{
    const void *pa = (const char *)a + f->offset, *pb = (const char *)b + f->offset;

    switch (f->type) {
    case CHANNEL_FIELD_TEXT: {
        const char *ta = *(char *const *)pa, *tb = *(char *const *)pb;

        return ta && tb ? strcmp(ta, tb) == 0 : ta == tb;
    }
    case CHANNEL_FIELD_SECRET:
        return secret_equal(secret_str(pa), secret_str(pb));
    case CHANNEL_FIELD_BOOL:
        return *(const bool *)pa == *(const bool *)pb;
    case CHANNEL_FIELD_INT:
        return *(const int32_t *)pa == *(const int32_t *)pb;
    case CHANNEL_FIELD_NUMBER:
        return memcmp(pa, pb, sizeof(double)) == 0; /* the same bits: it was not set anew */
    case CHANNEL_FIELD_TEXTS:
        return texts_equal(pa, pb);
    case CHANNEL_FIELD_SECRETS:
        return secrets_equal(a, b);
    case CHANNEL_FIELD_ROUTES:
        return routes_equal(a, b);
    }
    return false;
}
