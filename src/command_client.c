/* command_client.c -- one request to the daemon that runs, on a loop made for it. */
#include "command_client.h"

#include "base/err.h"
#include "net/addr.h"
#include "net/curl_client.h"
#include "net/egress.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/url.h"

#define ASK_TIMEOUT_MS 15000u
#define BODY_MAX       (8u << 20)

struct ask {
    struct loop *loop;
    struct command_answer *answer;
};

static void on_done(void *ctx, const struct curl_answer *a)
{
    struct ask *ask = ctx;

    ask->answer->status = a->fault == CURL_FAULT_NONE ? a->status : 0;
    str_copy(ask->answer->error, sizeof(ask->answer->error), str_of(a->error));
    if (buf_add_str(&ask->answer->body, a->body) < 0)
        ask->answer->status = 0;
    loop_stop(ask->loop);
}

/* http://127.0.0.1:8081/x/y + path */
static int make_url(const struct option_set *o, const char *path, struct buf *out)
{
    struct str url = option_text(o, "url");
    struct str base = option_text(o, "base_path");
    struct listener_spec spec;
    struct err e;

    if (url.len != 0) {
        while (url.len != 0 && url.ptr[url.len - 1] == '/')
            url.len--;
        return buf_printf(out, "%.*s%s", STR_ARG(url), path);
    }
    if (listener_parse(option_item(o, "listen", 0), &spec, &e) < 0 || spec.kind != LISTENER_TCP)
        return ERR_SYNTAX;
    if (option_origin(o, "listen") == OPTION_DEFAULT)
        spec.port = (uint16_t)option_int(o, "port");
    if (spec.host[0] == '\0' || strcmp(spec.host, "0.0.0.0") == 0 || strcmp(spec.host, "::") == 0)
        str_copy(spec.host, sizeof(spec.host), STR("127.0.0.1"));
    while (base.len != 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    return buf_printf(out, "%s://%s%s%s:%u%.*s%s",
                      option_text(o, "tls.cert").len ? "https" : "http",
                      strchr(spec.host, ':') ? "[" : "", spec.host,
                      strchr(spec.host, ':') ? "]" : "", spec.port, STR_ARG(base), path);
}

/* The token must not go to whom the network pleases. Our own listener is asked by an address that
 * its certificate does not name, and nothing leaves this machine. */
static bool wants_verify(const struct option_set *o)
{
    struct url u;
    struct addr a;

    if (url_parse(option_text(o, "url"), &u, NULL) < 0 || str_ieq(u.host, STR("localhost")))
        return false;
    return addr_parse(u.host, &a) < 0 || !addr_is_loopback(&a);
}

struct str command_token(const struct option_set *o)
{
    struct str token = option_text(o, "token");

    return token.len != 0 ? token : option_text(o, "admin_token");
}

void command_ask(const struct option_set *o, const char *method, const char *path, struct str token,
                 struct command_answer *ret)
{
    struct buf url = BUF_INIT(4096), authorization = BUF_INIT(4096);
    const char *headers[2] = {NULL, NULL};
    struct egress *egress = NULL;
    struct curl_client *client = NULL;
    struct err e = {0};
    CLEANUP(xfree_charp) char *ca_file = str_dup(option_text(o, "ca_file"));
    struct curl_client_config cfg = {.ca_file = ca_file, .max_connections = 1};
    struct ask ask = {.answer = ret};

    *ret = (struct command_answer){.body = BUF_INIT(BODY_MAX)};
    ask.loop = loop_new("client", 0);
    if (make_url(o, path, &url) < 0) {
        str_copy(ret->error, sizeof(ret->error), STR("no TCP address to ask; give --url"));
    } else if (curl_client_global_init() < 0 || egress_new(NULL, 0, NULL, 0, &egress, &e) < 0) {
        str_copy(ret->error, sizeof(ret->error), STR("libcurl cannot be initialised"));
    } else {
        cfg.egress = egress;
        if (token.len != 0 &&
            buf_printf(&authorization, "Authorization: Bearer %.*s", STR_ARG(token)) == 0)
            headers[0] = buf_cstr(&authorization);
        if (curl_client_new(ask.loop, &cfg, &client, &e) == 0) {
            struct curl_request r = {
                .method = method,
                .url = buf_cstr(&url),
                .headers = headers,
                .timeout_ms = ASK_TIMEOUT_MS,
                .connect_timeout_ms = 3000,
                .max_body_bytes = BODY_MAX,
                .flags = CURL_CALL_PRIVATE_OK | (wants_verify(o) ? CURL_CALL_VERIFY : 0),
                .on_done = on_done,
                .ctx = &ask,
            };

            (void)curl_client_start(client, &r);
            loop_run(ask.loop);
            curl_client_free(client);
        }
    }
    loop_free(ask.loop);
    egress_free(egress);
    buf_secure_release(&authorization);
    buf_release(&url);
}
