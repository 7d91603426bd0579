/* net_server.c -- the net layer alone: /api/health and one file with the headers that the daemon
 * gives them, nothing behind. What the daemon costs above this is api/'s, what this costs above
 * nginx is net/'s. For profilers: ninja -C build bench/http/bench_net_server. */
#include "base/err.h"
#include "net/http_server.h"
#include "net/listener.h"

#include <sys/stat.h>

static const char health[] =
    "{\"ok\":true,\"running_targets\":[],\"store\":\"ok\",\"version\":\"0.1.0\"}\n";
static struct str file;

static void on_request(struct http_exchange *x, void *ctx UNUSED)
{
    struct str path = http_request(x)->path;

    http_add_header(x, "X-Content-Type-Options", STR("nosniff"));
    if (str_eq(path, STR("/api/health"))) {
        http_add_header(x, "Cache-Control", STR("no-store"));
        http_add_header(x, "Vary", STR("Authorization, Cookie"));
        http_reply(x, 200, "application/json", str_n(health, sizeof(health) - 1));
    } else if (str_eq(path, STR("/asset"))) {
        http_add_header(x, "ETag", STR("\"0123456789abcdef\""));
        http_add_header(x, "Vary", STR("Accept-Encoding"));
        http_add_header(x, "Cache-Control", STR("public, max-age=31536000, immutable"));
        http_reply_static(x, 200, "text/javascript; charset=utf-8", file);
    } else {
        http_reply(x, 404, "text/plain", STR("nothing here\n"));
    }
}

static int load(const char *path)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    int rc = -1;

    if (f && fstat(fileno(f), &st) == 0 && st.st_size > 0) {
        char *bytes = xmalloc((size_t)st.st_size); /* > 0 */

        file = str_n(bytes, fread(bytes, 1, (size_t)st.st_size, f));
        rc = 0;
    }
    if (f)
        fclose(f);
    return rc;
}

int main(int argc, char **argv)
{
    struct http_limits limits = {
        .request_line_bytes = 8190,
        .header_line_bytes = 8192,
        .head_bytes = 32768,
        .header_count = 100,
        .head_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .keepalive_timeout_ms = 75000,
        .write_timeout_ms = 30000,
        .keepalive_requests = 10000,
        .connections = 20000,
        .connections_per_address = 20000,
    };
    struct listener_spec spec;
    struct err err = {0};
    int fd = -1;

    if (argc != 3 || load(argv[2]) < 0) {
        fprintf(stderr, "usage: net_server <host:port> <file served as /asset>\n");
        return 2;
    }

    struct loop *loop = loop_new("loop-0", 0);
    struct http_server_config cfg = {
        .limits = limits,
        .base_path = STR("/"),
        .shared = http_shared_new(&limits),
        .on_request = on_request,
    };
    struct http_server *server = http_server_new(loop, &cfg);

    if (listener_parse(str_of(argv[1]), &spec, &err) < 0 || listener_open(&spec, &fd, &err) < 0 ||
        http_server_listen(server, fd, NULL, &err) < 0) {
        fprintf(stderr, "net_server: %s\n", err.text);
        return 1;
    }
    loop_run(loop); /* until it is killed */
    return 0;
}
