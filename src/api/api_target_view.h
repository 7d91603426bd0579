/* api_target_view.h -- a channel as pages and scripts see it: the "target item" of spec 1 section
 * 1.3, written straight from the catalog's channel and the board's view, without a tree between. */
#pragma once

#include "api/api.h"

/* What all items of one answer share; made once per call, lives in its arena. */
struct api_target_frame {
    bool is_admin;
    bool with_can_operate;  /* the list alone */
    unsigned history;       /* points per model, 0..BOARD_HISTORY */
    struct health *health;  /* NULL: models are written without */
    int64_t mono_to_utc_ms; /* add to a mono_ms for the utc_ms */
    const int64_t *running, *queued; /* ids, ascending */
    size_t running_count, queued_count;
};

/* `history` is the query parameter of that name when the route has one. */
void api_target_view_frame(struct api_call *c, struct api_target_frame *ret);
bool api_target_view_is_running(const struct api_target_frame *f, int64_t id); /* queued counts: a script polls this */
bool api_target_view_is_queued(const struct api_target_frame *f, int64_t id);
/* One object. v NULL: nothing known yet. */
void api_target_view_write(struct json_out *j, const struct api_target_frame *f, const struct channel *ch, const struct board_view *v);
/* The same, asking the board. */
void api_target_view_write_one(struct json_out *j, struct api_call *c, const struct channel *ch);
/* ModelStatus objects of the newest run, as an array. */
void api_target_view_models(struct json_out *j, const struct api_target_frame *f, const struct board_view *v);
/* Success of the last run in tenths of a percent, rounded half away from zero; -1 = unknown. */
int32_t api_target_view_rate(const struct board_view *v);
/* Answers {"item": <item>}. */
void api_target_view_reply(struct api_call *c, const struct channel *ch);
/* The base name of a path for visitors, all of it for the admin; NULL stays NULL. */
const char *api_target_view_file(bool is_admin, const char *path);
