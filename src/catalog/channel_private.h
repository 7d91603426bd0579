/* channel_private.h -- how the lists of a channel grow, shared by the readers of bodies and rows. */
#pragma once

#include "base/map.h"
#include "catalog/channel.h"

/* Append unless `seen` has it; t->items has room. */
void channel_texts_add(struct channel_texts *t, struct map *seen, struct str s);
/* Drop the overrides and make room for n. */
void channel_routes_alloc(struct channel *ch, size_t n);
void channel_routes_add(struct channel *ch, struct str model, enum protocol p);
