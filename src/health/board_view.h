/* board_view.h -- how an immutable view of a channel is made: a draft starts from the view there
 * is, takes changes, and becomes one block {view, models, points, texts}; equal texts are kept
 * once. Private to board*.c. */
#pragma once

#include "health/board.h"

#include "base/arena.h"

struct board_new_point { /* in the draft's arena, order of arrival */
    struct board_new_point *next;
    struct board_point point;
};

struct board_draft_model {
    struct board_model
        base; /* texts and points still belong to the view it came from, or the arena */
    struct board_new_point *added, **added_tail;
    size_t added_count;
};

struct board_draft {
    struct arena *arena;
    struct board_view view;            /* all but the models */
    bool is_loaded;                    /* the store's part is in it */
    struct board_draft_model **models; /* by model id, bytewise */
    size_t count, cap;
};

/* From `v`, NULL = an empty channel. The draft borrows from v until board_view_build(). */
void board_view_draft(struct board_draft *d, struct arena *a, int64_t channel_id,
                      const struct board_view *v);
struct board_draft_model *board_view_model(struct board_draft *d,
                                           struct str model); /* made when missing; text copied */
void board_view_add_point(struct board_draft *d, struct board_draft_model *m,
                          const struct board_point *p); /* error copied */
/* Points of `from` that the draft does not know, its run state where it is newer. */
void board_view_merge(struct board_draft *d, const struct board_view *from);
struct board_view *board_view_build(const struct board_draft *d); /* with one reference */
bool board_view_is_loaded(const struct board_view *v);
/* Under the board's lock: nobody else holds it, nor can get it. */
bool board_view_is_sole(const struct board_view *v);
const char *board_view_text(struct arena *a, struct str s, size_t max); /* copy, NULL when empty */
