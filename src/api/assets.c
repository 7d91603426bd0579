/* assets.c -- serving the embedded page. Every address of the page gets index.html (the page reads
 * the address itself); files are served under their own names, brotli or gzip by Accept-Encoding.
 */
#include "api/assets.h"

#include "base/buf.h"
#include "base/secret.h"
#include "net/http_server.h"

#include <zlib.h>

#define BASE_MARK "<base href=\"/\""

static const char security_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/* Addresses of the page, old ones of API Monitor among them. What lies below one belongs to it too. */
static const char *const page_paths[] = {
    "/",      "/index.html",  "/viewer.html", "/analysis.html", "/admin.html",
    "/admin", "/admin/login", "/docs",        "/docs/proxy",    "/channels",
};

struct assets {
    struct buf index, index_gzip;
    char etag[2 + 16 + 1]; /* quoted */
};

static void compress_index(struct assets *a)
{
    z_stream z = {0};
    struct str in = buf_str(&a->index);

    if (in.len == 0 || deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return;
    if (buf_reserve(&a->index_gzip, deflateBound(&z, in.len)) == 0) {
        z.next_in = (z_const Bytef *)(uintptr_t)in.ptr; /* read only, zlib lacks the const */
        z.avail_in = (uInt)in.len;                      /* an embedded page, far below 4 GiB */
        z.next_out = (Bytef *)a->index_gzip.ptr;
        z.avail_out = (uInt)a->index_gzip.cap;
        if (deflate(&z, Z_FINISH) == Z_STREAM_END)
            a->index_gzip.tail = z.total_out;
    }
    deflateEnd(&z);
}

static const struct asset *find_asset(struct str path)
{
    size_t low = 0, high = assets_count;

    while (low < high) {
        size_t mid = (low + high) / 2;
        int cmp = str_cmp(path, str_of(assets_table[mid].path));

        if (cmp == 0)
            return &assets_table[mid];
        if (cmp < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

struct assets *assets_new(const char *base_path)
{
    struct assets *a = xcalloc(1, sizeof(*a));
    const struct asset *page = find_asset(STR("/index.html"));
    struct str html = page ? str_n(page->raw, (size_t)(page->raw_end - page->raw)) : STR_NONE;
    ssize_t mark = str_find_str(html, STR(BASE_MARK));
    uint8_t hash[SECRET_HASH_SIZE];
    char hex[2 * SECRET_HASH_SIZE + 1];

    buf_init(&a->index, 1u << 20);
    buf_init(&a->index_gzip, 1u << 20);
    if (mark >= 0) {
        size_t after = (size_t)mark + sizeof(BASE_MARK) - 1;

        buf_put(&a->index, str_cut(html, 0, (size_t)mark));
        buf_putf(&a->index, "<base href=\"%s\"",
                 base_path); /* option check allows no quote or markup */
        buf_put(&a->index, str_cut(html, after, html.len));
    } else {
        buf_put(&a->index, html);
    }
    compress_index(a);
    secret_sha256(buf_str(&a->index), hash);
    secret_hex(hash, sizeof(hash), hex);
    snprintf(a->etag, sizeof(a->etag), "\"%.16s\"", hex);
    return a;
}

void assets_free(struct assets *a)
{
    if (!a)
        return;
    buf_release(&a->index);
    buf_release(&a->index_gzip);
    xfree(a);
}

/* Is `coding` acceptable? A list of tokens with optional ";q=": q=0 refuses. */
static bool accepts(struct http_exchange *x, const char *coding)
{
    struct str list = http_get_header(x, "accept-encoding"), one;

    while (str_split(&list, ',', &one)) {
        struct str name = str_trim(str_until(one, ';'));
        struct str q = str_trim(str_after(one, ';'));

        if (str_ieq(name, str_of(coding)))
            return !str_eq_c(q, "q=0") && !str_eq_c(q, "q=0.0") && !str_eq_c(q, "q=0.00") &&
                   !str_eq_c(q, "q=0.000");
    }
    return false;
}

static bool is_fresh(struct http_exchange *x, const char *etag)
{
    struct str list = http_get_header(x, "if-none-match"), one;

    while (str_split(&list, ',', &one)) {
        one = str_trim(one);
        (void)str_skip_prefix(&one, STR("W/"));
        if (str_eq_c(one, etag) || str_eq_c(one, "*"))
            return true;
    }
    return false;
}

static void serve_asset(const struct asset *f, struct http_exchange *x)
{
    struct str body = str_n(f->raw, (size_t)(f->raw_end - f->raw));

    http_add_header(x, "ETag", str_of(f->etag));
    http_add_header(x, "Vary", STR("Accept-Encoding"));
    http_add_header(x, "Cache-Control",
                    f->is_immutable ? STR("public, max-age=31536000, immutable") : STR("no-cache"));
    if (is_fresh(x, f->etag)) {
        http_reply(x, 304, NULL, STR_NONE);
        return;
    }
    if (f->brotli != f->brotli_end && accepts(x, "br")) {
        http_add_header(x, "Content-Encoding", STR("br"));
        body = str_n(f->brotli, (size_t)(f->brotli_end - f->brotli));
    } else if (f->gzip != f->gzip_end && accepts(x, "gzip")) {
        http_add_header(x, "Content-Encoding", STR("gzip"));
        body = str_n(f->gzip, (size_t)(f->gzip_end - f->gzip));
    }
    http_reply_static(x, 200, f->type, body);
}

static void serve_page(const struct assets *a, struct http_exchange *x)
{
    http_add_header(x, "ETag", str_of(a->etag));
    http_add_header(x, "Vary", STR("Accept-Encoding"));
    http_add_header(x, "Cache-Control", STR("no-cache"));
    http_add_header(x, "Content-Security-Policy",
                    str_n(security_policy, sizeof(security_policy) - 1));
    http_add_header(x, "Referrer-Policy", STR("no-referrer"));
    http_add_header(x, "Cross-Origin-Opener-Policy", STR("same-origin"));
    http_add_header(x, "X-Frame-Options", STR("DENY"));
    if (is_fresh(x, a->etag)) {
        http_reply(x, 304, NULL, STR_NONE);
    } else if (buf_len(&a->index) == 0) {
        http_reply(x, 404, "text/plain; charset=utf-8",
                   STR("this build has no page (web=none); the API is at /openapi.json\n"));
    } else if (buf_len(&a->index_gzip) != 0 && accepts(x, "gzip")) {
        http_add_header(x, "Content-Encoding", STR("gzip"));
        http_reply_static(x, 200, "text/html; charset=utf-8", buf_str(&a->index_gzip));
    } else {
        http_reply_static(x, 200, "text/html; charset=utf-8", buf_str(&a->index));
    }
}

static bool is_page(struct str path)
{
    for (size_t i = 0; i < ARRAY_LEN(page_paths); i++) {
        struct str page = str_of(page_paths[i]);

        if (str_eq(path, page))
            return true;
        /* "/channels/7/logs": below an entry of the navigation */
        if (page.len > 1 && path.len > page.len && str_starts(path, page) &&
            path.ptr[page.len] == '/')
            return true;
    }
    return false;
}

bool assets_serve(const struct assets *a, struct http_exchange *x)
{
    const struct http_request *r = http_request(x);
    const struct asset *f;

    if (r->method != HTTP_GET_ && r->method != HTTP_HEAD_)
        return false;
    if (is_page(r->path)) {
        serve_page(a, x);
        return true;
    }
    f = find_asset(r->path);
    if (!f)
        return false;
    serve_asset(f, x);
    return true;
}
