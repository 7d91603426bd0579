/* prober_sweep.c -- clean-up of the logs on libuv's pool, one at a time. After a run the folder is
 * walked only when what was written since the last walk may have passed the limit. */
#include "probe/probe_private.h"

#include "base/log.h"

struct prober_sweep {
    struct loop_work work;
    struct prober *p; /* NULL: gone */
    char dir[512];
    uint64_t max_bytes;
    char **keep; /* names of the files of running runs */
    size_t keep_count;
    int rc;
    struct err err;
    struct probe_log_sweep result;
};

void prober_sweep_orphan(struct prober_sweep *s)
{
    if (s)
        s->p = NULL;
}

static void free_sweep(struct prober_sweep *s)
{
    for (size_t i = 0; i < s->keep_count; i++)
        xfree(s->keep[i]);
    xfree(s->keep);
    xfree(s);
}

static void on_pool(struct loop_work *w)
{
    struct prober_sweep *s = container_of(w, struct prober_sweep, work);

    s->rc = probe_log_sweep(s->dir, s->max_bytes, s->keep, s->keep_count, &s->result, &s->err);
}

static uint64_t running_bytes(struct prober *p)
{
    uint64_t sum = 0;

    list_for_each (node, &p->runs)
        sum += probe_run_log(probe_run_of(node))->bytes;
    return sum;
}

static void on_swept(struct loop_work *w)
{
    struct prober_sweep *s = container_of(w, struct prober_sweep, work);
    struct prober *p = s->p;

    if (!p) {
        free_sweep(s);
        return;
    }
    p->sweep = NULL;
    if (s->rc < 0) {
        log_warn("probe", "logs not cleaned up: %s", s->err.text);
    } else {
        p->log_bytes = s->result.bytes + running_bytes(p);
        if (s->result.removed > 0)
            log_info("probe", "logs cleaned up removed=%zu removed_bytes=%llu left_bytes=%llu",
                     s->result.removed, (unsigned long long)s->result.removed_bytes,
                     (unsigned long long)s->result.bytes);
    }
    free_sweep(s);
    if (p->is_sweep_due) {
        p->is_sweep_due = false;
        prober_sweep_request(p, true);
    }
    prober_check_end(p);
}

static void collect_running(struct prober *p, struct prober_sweep *s)
{
    size_t n = 0;

    list_for_each (node, &p->runs)
        n++;
    s->keep = xcalloc(n + 1, sizeof(*s->keep));
    list_for_each (node, &p->runs) {
        const char *path = probe_run_log(probe_run_of(node))->path;
        const char *slash = strrchr(path, '/');

        if (slash)
            s->keep[s->keep_count++] = xstrdup(slash + 1);
    }
}

void prober_sweep_request(struct prober *p, bool is_forced)
{
    struct prober_sweep *s;

    if (!p->is_cleaning_on || p->log_max_bytes == 0 || p->life >= PROBER_STOPPING)
        return;
    if (!is_forced && p->log_bytes <= p->log_max_bytes)
        return;
    if (p->sweep) {
        p->is_sweep_due = true;
        return;
    }
    s = xcalloc(1, sizeof(*s));
    s->p = p;
    s->max_bytes = p->log_max_bytes;
    str_copy(s->dir, sizeof(s->dir), str_of(p->log_dir));
    collect_running(p, s);
    p->sweep = s;
    loop_work(p->loop, &s->work, on_pool, on_swept);
}
