#include "api/api_stream.h"

#include "api/api_private.h"
#include "base/log.h"

#define PIECE_MAX (8u << 20) /* a piece ends with a whole row; no row comes near this */

static void finish(struct api_stream *s)
{
    http_on_drain(s->call->x, NULL, NULL);
    http_on_gone(s->call->x, NULL, NULL);
    if (s->ended)
        s->ended(s);
    buf_release(&s->buf);
    api_call_release(s->call);
}

static void cut(struct api_stream *s)
{
    struct http_exchange *x = s->call->x;

    finish(s);
    http_abort(x);
}

/* A client that left while we waited for it; one that leaves while we work is seen by push(). */
static void on_gone(struct http_exchange *x UNUSED, void *ctx)
{
    struct api_stream *s = ctx;

    if (s->is_waiting)
        cut(s);
}

static void ask(void *arg)
{
    struct api_stream *s = arg;

    s->is_waiting = false;
    s->more(s);
}

static void on_drain(struct http_exchange *x UNUSED, void *ctx)
{
    struct api_stream *s = ctx;

    if (s->is_waiting)
        ask(s);
}

void api_stream_start(struct api_stream *s, struct api_call *c, const char *type)
{
    s->call = c;
    s->type = type;
    buf_init(&s->buf, PIECE_MAX);
    json_out_init(&s->json, &s->buf);
    http_add_header(c->x, "Cache-Control", STR("no-store"));
    http_add_header(c->x, "Vary", STR("Authorization, Cookie"));
    s->more(s);
}

static void send_whole(struct api_stream *s)
{
    struct http_exchange *x = s->call->x;
    struct buf b = s->buf;
    const char *type = s->type;

    s->buf = (struct buf){0};
    finish(s);
    http_reply(x, 200, type, buf_str(&b));
    buf_release(&b);
}

void api_stream_push(struct api_stream *s, bool is_last)
{
    struct http_exchange *x = s->call->x;

    if (s->json.failed) {
        struct err e = {0};

        err_set(&e, ERR_LIMIT, "one row is larger than an answer may be");
        api_stream_fail(s, &e);
        return;
    }
    if (!s->is_started && is_last) {
        send_whole(s);
        return;
    }
    if (!s->is_started) {
        s->is_started = true;
        http_start(x, 200, s->type);
        http_on_drain(x, on_drain, s);
        http_on_gone(x, on_gone, s);
    }
    (void)http_write(x, buf_str(&s->buf)); /* what waits is asked for below */
    buf_clear(&s->buf);
    if (http_is_gone(x)) {
        cut(s);
    } else if (is_last) {
        finish(s);
        http_end(x);
    } else if (http_waiting_bytes(x) > 0) {
        s->is_waiting = true; /* on_drain() goes on */
    } else {
        loop_defer(http_loop(x), ask, s);
    }
}

void api_stream_fail(struct api_stream *s, const struct err *e)
{
    struct api_call *c = s->call;

    if (s->is_started) {
        log_error("api", "an answer was cut path=%.*s reason=\"%s\"",
                  STR_ARG(http_request(c->x)->path), e->text);
        cut(s);
        return;
    }
    if (s->ended)
        s->ended(s);
    buf_release(&s->buf);
    api_fail(c, e);
}
