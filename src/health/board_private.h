/* board_private.h -- the board's inside, for board.c and board_load.c. */
#pragma once

#include "health/board_view.h"

#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

struct board {
    pthread_mutex_t edit;     /* one writer at a time; taken before `lock` */
    pthread_mutex_t lock;     /* guards the maps, held for a look-up or a swap */
    struct map_id *views;     /* channel id -> struct board_view, with a reference */
    struct map_id *forgotten; /* deleted channels; ids are never given again */
    atomic_bool is_loaded;
};

/* Under `edit`: the view there is (no reference of its own), NULL = none. */
const struct board_view *board_current(struct board *b, int64_t channel_id);
/* Under `edit`: make the draft the channel's view. */
void board_publish(struct board *b, const struct board_draft *d);
bool board_is_forgotten(struct board *b, int64_t channel_id); /* under `edit` */
