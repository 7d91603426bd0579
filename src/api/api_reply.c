/* api_reply.c -- the shapes of answers under /api, and the one table from error codes to statuses.
 */
#include "api/api_private.h"
#include "base/log.h"

#include <stdarg.h>

#define REPLY_MAX (64u << 20)

static const char type_json[] = "application/json";

void api_reply_init(struct api_reply *r, struct api_call *c)
{
    *r = (struct api_reply){.call = c};
    buf_init(&r->buf, REPLY_MAX);
    json_out_init(&r->json, &r->buf);
}

/* Everything under /api is about now and about one caller. */
static void send_json(struct api_call *c, int status, struct str body)
{
    struct http_exchange *x = c->x;

    http_add_header(x, "Cache-Control", STR("no-store"));
    http_add_header(x, "Vary", STR("Authorization, Cookie"));
    api_call_release(c);
    http_reply(x, status, type_json, body);
}

void api_reply_send(struct api_reply *r, int status)
{
    struct api_call *c = r->call;

    if (r->json.failed || buf_add_char(&r->buf, '\n') < 0) {
        buf_release(&r->buf);
        api_error(c, 500, "the answer is larger than %u MiB; ask for less (limit, history)",
                  REPLY_MAX >> 20);
        return;
    }
    send_json(c, status, buf_str(&r->buf));
    buf_release(&r->buf);
}

void api_ok(struct api_call *c)
{
    send_json(c, 200, STR("{\"ok\":true}\n"));
}

static void send_error(struct api_call *c, int status, const char *field, const char *text)
{
    struct buf b = BUF_INIT(16 * 1024);
    struct json_out j;

    json_out_init(&j, &b);
    json_out_object(&j);
    json_out_kcstr(&j, "detail", text);
    if (field && field[0])
        json_out_kcstr(&j, "field", field);
    json_out_end(&j);
    buf_put(&b, STR("\n"));
    send_json(c, status, buf_str(&b));
    buf_release(&b);
}

void api_error(struct api_call *c, int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    send_error(c, status, NULL, text);
}

void api_error_field(struct api_call *c, int status, const char *field, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    send_error(c, status, field, text);
}

static int status_of(int code)
{
    switch ((enum err_code)code) {
    case ERR_SYNTAX:
    case ERR_RANGE:
        return 400;
    case ERR_DENIED:
        return 403;
    case ERR_NOTFOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_LIMIT:
        return 413;
    case ERR_BUSY:
    case ERR_TIMEOUT:
    case ERR_CANCELLED:
        return 503;
    case ERR_NOMEM:
    case ERR_IO:
    case ERR_TLS:
    case ERR_PROTO:
    case ERR_INTERNAL:
        return 500;
    }
    return 500;
}

void api_fail(struct api_call *c, const struct err *e)
{
    const struct http_request *r = http_request(c->x);
    int status = status_of(e->code);

    if (status == 500) { /* the cause may name paths or SQL: it goes to the log alone */
        log_error("api", "request failed method=%s path=%.*s reason=\"%s\"",
                  http_method_name(r->method), STR_ARG(r->path), e->text);
        send_error(c, 500, NULL, "the store could not do this; the log has the cause");
        return;
    }
    if (status == 503)
        http_add_header(c->x, "Retry-After", STR("1"));
    send_error(c, status, e->field, e->text);
}

/* The server's own errors (parser, limits) in the same shape. */
void api_format_error(void *ctx, struct str path, int status, const char *text, struct buf *out,
                      const char **ret_type)
{
    const struct api *a = ctx;
    struct json_out j;
    bool is_v1 = str_starts(path, STR("/v1"));
    int64_t limit = option_int(a->cfg.options, "http.body_bytes");
    char too_large[96];

    if (status == 413 && str_starts(path, STR("/api/"))) {
        bool is_mib = limit % (1 << 20) == 0;

        snprintf(too_large, sizeof(too_large), "request body too large (max %lld %s)",
                 (long long)(is_mib ? limit >> 20 : limit), is_mib ? "MiB" : "bytes");
        text = too_large;
    }
    *ret_type = type_json;
    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kcstr(&j, "detail", text);
    if (is_v1) { /* clients of /v1 read their vendor's shape */
        json_out_key(&j, "error");
        json_out_object(&j);
        json_out_kcstr(&j, "message", text);
        json_out_kcstr(&j, "type", status < 500 ? "invalid_request_error" : "api_error");
        json_out_knull(&j, "code");
        json_out_end(&j);
    }
    json_out_end(&j);
    buf_put(out, STR("\n"));
}
