/* fuzz_channel_json.c -- any JSON put onto a new and onto a held channel: no crash, nothing half
 * done on failure, and what passed reads back equal from its own export. The same bytes go to the
 * readers of stored lists and to keys. */
#include "catalog/channel.h"
#include "catalog/proxy_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_equal(const struct channel *a, const struct channel *b)
{
    for (size_t i = 0; i < channel_field_count; i++)
        if (!channel_field_equal(&channel_fields[i], a, b))
            return false;
    return true;
}

/* Export of `ch` put onto `to`; clear for a new channel, masked for itself. */
static void put_back(const struct channel *ch, struct channel *to, enum channel_secrets mode)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct buf b = BUF_INIT(64u << 20);
    struct json_out j;
    bool changed = false;

    json_out_init(&j, &b);
    json_out_object(&j);
    channel_to_json(ch, &j, mode);
    json_out_end(&j);
    if (j.failed || json_doc_parse(buf_str(&b), 0, &doc, NULL) < 0)
        abort();
    if (ch->sort_order == 0)
        json_object_del(doc, "sort_order"); /* not stored yet: the next one */
    if (channel_from_json(to, doc, CHANNEL_JSON_STRICT, &changed, NULL) < 0)
        abort();
    if (mode == CHANNEL_SECRETS_MASKED && changed)
        abort();
    buf_release(&b);
}

static void fuzz_new(const json_t *doc)
{
    struct channel *ch = channel_new(), *same = channel_new();

    if (channel_from_json(ch, doc, 0, NULL, NULL) == 0) {
        put_back(ch, same, CHANNEL_SECRETS_CLEAR);
        if (!is_equal(ch, same))
            abort();
        ch->id = 1;
        put_back(ch, ch, CHANNEL_SECRETS_MASKED);
    } else if (!is_equal(ch, same)) {
        abort();
    }
    channel_free(ch);
    channel_free(same);
}

static void fuzz_held(const json_t *doc)
{
    struct channel *ch = channel_new();
    struct err e = {0};
    bool changed = false;

    xfree(ch->name);
    ch->id = 7;
    ch->name = xstrdup(" imported/name ");
    ch->api_key = secret_dup(STR("sk-held-0123456789"));
    ch->api_keys = xcalloc(2, sizeof(*ch->api_keys));
    ch->api_keys[ch->api_key_count++] = secret_dup(STR("sk-more-0123456789"));
    ch->api_keys[ch->api_key_count++] = secret_dup(STR("sk-also-0123456789"));

    struct channel *before = channel_dup(ch);

    if (channel_from_json(ch, doc, CHANNEL_JSON_STRICT, &changed, &e) < 0) {
        if (!is_equal(ch, before) || e.text[0] == '\0' || !str_is_utf8(str_of(e.text)))
            abort();
    } else if (changed == is_equal(ch, before)) {
        abort();
    }
    channel_free(before);
    channel_free(ch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct str text = str_n((const char *)data, size);
    struct channel_texts texts = {NULL, 0};
    struct proxy_key *k = proxy_key_new();
    struct channel *ch = channel_new();

    channel_texts_read(&texts, text);
    channel_texts_release(&texts);
    channel_routes_read(ch, text);
    channel_free(ch);
    if (!proxy_key_ids_read(k, text))
        proxy_key_models_read(k, text);
    if (json_doc_parse(text, JSON_DOC_TRAILING, &doc, NULL) == 0) {
        struct err e = {0};

        if (proxy_key_from_json(k, doc, &e) < 0 && e.text[0] == '\0')
            abort();
        e.text[0] = '\0';
        if (proxy_key_patch_json(k, doc, &e) < 0 && e.text[0] == '\0')
            abort();
        fuzz_new(doc);
        fuzz_held(doc);
    }
    proxy_key_free(k);
    return 0;
}
