/* channel_stored.c -- the lists of a channel as the JSON texts that lie in the database. */
#include "catalog/channel_private.h"

#define LIST_JSON_MAX (16u << 20) /* bytes; far above 5000 items of 256 characters */

void channel_texts_add(struct channel_texts *t, struct map *seen, struct str s)
{
    if (!map_set(seen, s, t)) /* any pointer: a set */
        t->items[t->count++] = str_dup(s);
}

static void routes_release(struct channel *ch)
{
    channel_texts_release(&ch->route_models);
    xfree(ch->route_protocols);
    ch->route_protocols = NULL;
}

void channel_routes_alloc(struct channel *ch, size_t n)
{
    routes_release(ch);
    if (n == 0)
        return;
    ch->route_models.items = xcalloc(n, sizeof(*ch->route_models.items));
    ch->route_protocols = xcalloc(n, sizeof(*ch->route_protocols));
}

void channel_routes_add(struct channel *ch, struct str model, enum protocol p)
{
    ch->route_protocols[ch->route_models.count] = p;
    ch->route_models.items[ch->route_models.count++] = str_dup(model);
}

void channel_texts_write(const struct channel_texts *t, struct json_out *j)
{
    json_out_array(j);
    for (size_t i = 0; i < t->count; i++)
        json_out_cstr(j, t->items[i]);
    json_out_end(j);
}

bool channel_texts_read(struct channel_texts *t, struct str json)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;

    channel_texts_release(t);
    if (json.len == 0 || json.len > LIST_JSON_MAX || json_doc_parse(json, 0, &doc, NULL) < 0 ||
        !json_is_array(doc))
        return false;
    if (json_array_size(doc) == 0)
        return true;
    t->items = xcalloc(json_array_size(doc), sizeof(*t->items));

    struct map *seen = map_new();

    for (size_t i = 0; i < json_array_size(doc); i++) {
        struct str s = str_trim(json_doc_str(json_array_get(doc, i)));

        if (s.len > 0 && str_find(s, '\0') < 0)
            channel_texts_add(t, seen, s);
    }
    map_free(seen, NULL);
    return true;
}

void channel_routes_write(const struct channel *ch, struct json_out *j)
{
    json_out_object(j);
    for (size_t i = 0; i < ch->route_models.count; i++) {
        enum protocol p = ch->route_protocols[i];

        json_out_kcstr(j, ch->route_models.items[i],
                       p == PROTOCOL_NONE ? "skip" : protocol_route(p));
    }
    json_out_end(j);
}

bool channel_routes_read(struct channel *ch, struct str json)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    const char *key;
    json_t *item;

    routes_release(ch);
    if (json.len == 0 || json.len > LIST_JSON_MAX || json_doc_parse(json, 0, &doc, NULL) < 0 ||
        !json_is_object(doc))
        return false;
    channel_routes_alloc(ch, json_object_size(doc));
    json_object_foreach(doc, key, item)
    {
        enum protocol p;

        if (*key != '\0' && protocol_parse_route(json_doc_str(item), &p) == 0)
            channel_routes_add(ch, str_of(key), p);
    }
    return true;
}
