/* api_target_gone.c -- what a deleted channel leaves outside the catalog. */
#include "api/api_private.h"
#include "api/api_target_edit.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* "target_<id>_<time>.jsonl" of one of the ids? */
static bool is_file_of(const struct api_target_gone *g, const char *name)
{
    struct str s = str_of(name);
    int64_t id;

    if (!str_ends(s, STR(".jsonl")) || !str_skip_prefix(&s, STR("target_")) ||
        str_find(s, '_') < 0 || str_to_i64(str_until(s, '_'), 1, INT64_MAX, &id) < 0)
        return false;
    for (size_t i = 0; i < g->count; i++)
        if (g->ids[i] == id)
            return true;
    return false;
}

static void remove_files(struct loop_work *w)
{
    struct api_target_gone *g = container_of(w, struct api_target_gone, work);
    char path[4096];
    const struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "%s/logs", store_data_dir(g->call->api->cfg.store));
    dir = opendir(path);
    if (!dir)
        return; /* no run ever wrote a file */
    while ((entry = readdir(dir))) {
        if (is_file_of(g, entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            log_warn("api", "could not remove a run's file, ignoring path=%s/%s errno=%d", path,
                     entry->d_name, errno);
    }
    closedir(dir);
}

static void files_done(struct loop_work *w)
{
    struct api_target_gone *g = container_of(w, struct api_target_gone, work);

    g->done(g);
}

static void cancel_next(struct api_target_gone *g);

static void cancelled(struct prober_ask *a)
{
    struct api_target_gone *g = container_of(a, struct api_target_gone, ask);

    board_forget(g->call->api->cfg.board, g->ids[g->next]); /* its run wrote nothing after this */
    g->next++;
    cancel_next(g);
}

static void cancel_next(struct api_target_gone *g)
{
    if (g->next == g->count) {
        if (g->keeps_logs)
            g->done(g);
        else
            loop_work(http_loop(g->call->x), &g->work, remove_files, files_done);
        return;
    }
    g->ask = (struct prober_ask){
        .prober = g->call->api->cfg.prober,
        .reply_loop = http_loop(g->call->x),
        .channel_id = g->ids[g->next],
        .done = cancelled,
    };
    prober_cancel(g->ask.prober, &g->ask);
}

void api_target_gone_start(struct api_target_gone *g)
{
    g->next = 0;
    cancel_next(g);
}
