/* channel.c -- making, copying and sharing channels, and the questions a model id asks of one. The
 * count of references lies in front of the channel, so that a copy of its members never takes it
 * along. */
#include "catalog/channel.h"

#include <stdatomic.h>

#define DEFAULT_PROMPT                                                                             \
    "What is the exact model identifier (model string) you are using for this chat/session?"

struct box {
    _Atomic uint32_t refs; /* shared */
    struct channel ch;
};

static int default_interval_min = 30; /* set before threads */

static struct box *box_of(const struct channel *ch)
{
    return container_of((uintptr_t)ch, struct box, ch); /* the count alone is not const */
}

void channel_set_default_interval(int minutes)
{
    assert(minutes >= 1 && minutes <= 1440);
    default_interval_min = minutes;
}

struct channel *channel_new(void)
{
    struct box *b = xcalloc(1, sizeof(*b));
    struct channel *ch = &b->ch;

    atomic_init(&b->refs, 1);
    ch->name = xstrdup("");
    ch->base_url = xstrdup("");
    ch->prompt = xstrdup(DEFAULT_PROMPT);
    ch->anthropic_version = xstrdup("2025-09-29");
    ch->enabled = true;
    ch->lenient = true;
    ch->interval_min = default_interval_min;
    ch->timeout_s = 30;
    ch->first_byte_timeout_s = 300;
    ch->idle_timeout_s = 300;
    return ch;
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static struct channel_texts texts_dup(const struct channel_texts *t)
{
    struct channel_texts copy = {NULL, t->count};

    if (t->count == 0)
        return copy;
    copy.items = xcalloc(t->count, sizeof(*copy.items));
    for (size_t i = 0; i < t->count; i++)
        copy.items[i] = xstrdup(t->items[i]);
    return copy;
}

struct channel *channel_dup(const struct channel *ch)
{
    struct box *b = xcalloc(1, sizeof(*b));
    struct channel *copy = &b->ch;

    atomic_init(&b->refs, 1);
    *copy = *ch;
    copy->name = xstrdup(ch->name);
    copy->base_url = xstrdup(ch->base_url);
    copy->prompt = xstrdup(ch->prompt);
    copy->anthropic_version = xstrdup(ch->anthropic_version);
    copy->source_url = dup_or_null(ch->source_url);
    copy->user_agent = dup_or_null(ch->user_agent);
    copy->proxy_url = dup_or_null(ch->proxy_url);
    copy->api_key = secret_dup(secret_str(&ch->api_key));
    copy->api_keys = NULL;
    if (ch->api_key_count > 0)
        copy->api_keys = xcalloc(ch->api_key_count, sizeof(*copy->api_keys));
    for (size_t i = 0; i < ch->api_key_count; i++)
        copy->api_keys[i] = secret_dup(secret_str(&ch->api_keys[i]));
    copy->selected_models = texts_dup(&ch->selected_models);
    copy->tags = texts_dup(&ch->tags);
    copy->route_models = texts_dup(&ch->route_models);
    copy->route_protocols = NULL;
    if (ch->route_models.count > 0) {
        copy->route_protocols = xcalloc(ch->route_models.count, sizeof(*copy->route_protocols));
        memcpy(copy->route_protocols, ch->route_protocols,
               ch->route_models.count * sizeof(*copy->route_protocols));
    }
    return copy;
}

const struct channel *channel_ref(const struct channel *ch)
{
    atomic_fetch_add_explicit(&box_of(ch)->refs, 1, memory_order_relaxed);
    return ch;
}

void channel_texts_release(struct channel_texts *t)
{
    for (size_t i = 0; i < t->count; i++)
        xfree(t->items[i]);
    xfree(t->items);
    *t = (struct channel_texts){NULL, 0};
}

void channel_free(const struct channel *ch)
{
    if (!ch)
        return;

    struct box *b = box_of(ch);

    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    xfree(b->ch.name);
    xfree(b->ch.base_url);
    xfree(b->ch.prompt);
    xfree(b->ch.anthropic_version);
    xfree(b->ch.source_url);
    xfree(b->ch.user_agent);
    xfree(b->ch.proxy_url);
    secret_release(&b->ch.api_key);
    for (size_t i = 0; i < b->ch.api_key_count; i++)
        secret_release(&b->ch.api_keys[i]);
    xfree(b->ch.api_keys);
    channel_texts_release(&b->ch.selected_models);
    channel_texts_release(&b->ch.tags);
    channel_texts_release(&b->ch.route_models);
    xfree(b->ch.route_protocols);
    xfree(b);
}

enum protocol channel_route(const struct channel *ch, struct str model)
{
    for (size_t i = 0; i < ch->route_models.count; i++)
        if (str_eq_c(model, ch->route_models.items[i]))
            return ch->route_protocols[i];
    if (ch->skip_unprobeable && protocol_is_unprobeable(model))
        return PROTOCOL_NONE;
    return protocol_of_model(model);
}

bool channel_is_selected(const struct channel *ch, struct str model)
{
    if (ch->selected_models.count == 0)
        return true;
    for (size_t i = 0; i < ch->selected_models.count; i++)
        if (str_eq_c(model, ch->selected_models.items[i]))
            return true;
    return false;
}
