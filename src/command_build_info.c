/* command_build_info.c -- `gatehouse --build-info [--json]`: what this binary is made of, with the
 * versions of the libraries as they are loaded now, not as they were when it was compiled. */
#include "api/assets.h"
#include "base/json_out.h"
#include "base/secret.h"
#include "command.h"
#include "command_output.h"

#include <curl/curl.h>
#include <jansson.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <sqlite3.h>
#include <uv.h>
#include <zlib.h>

#ifdef __clang__
#define COMPILER __VERSION__ /* begins with its name */
#else
#define COMPILER "gcc " __VERSION__
#endif
#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

#ifndef __has_feature /* clang's way to tell */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

struct library {
    const char *name, *version;
};

/* SHA-256 over path and content of every file of the page; "" when there is none. */
static void page_hash(char out[2 * SECRET_HASH_SIZE + 1])
{
    uint8_t sums[SECRET_HASH_SIZE * 2] = {0}; /* of all files so far, and of the next */
    uint8_t *all = sums, *next = sums + SECRET_HASH_SIZE;

    out[0] = '\0';
    for (size_t i = 0; i < assets_count; i++) {
        const struct asset *a = &assets_table[i];

        secret_sha256(str_of(a->path), next);
        secret_sha256(str_n((const char *)sums, sizeof(sums)), all);
        secret_sha256(str_n(a->raw, (size_t)(a->raw_end - a->raw)), next); /* end is behind raw */
        secret_sha256(str_n((const char *)sums, sizeof(sums)), all);
    }
    if (assets_count != 0)
        secret_hex(all, SECRET_HASH_SIZE, out);
}

static void put_json(struct buf *out, const struct library *libraries, size_t count,
                     const char *hash)
{
    struct json_out j;

    json_out_init(&j, out);
    json_out_object(&j);
    json_out_kcstr(&j, "version", GATEHOUSE_VERSION);
    json_out_kcstr(&j, "compiler", COMPILER);
    json_out_kbool(&j, "sanitized", IS_SANITIZED);
    json_out_key(&j, "libraries");
    json_out_object(&j);
    for (size_t i = 0; i < count; i++)
        json_out_kcstr(&j, libraries[i].name, libraries[i].version);
    json_out_end(&j);
    json_out_key(&j, "page");
    json_out_object(&j);
    json_out_kbool(&j, "embedded", hash[0] != '\0');
    json_out_ki64(&j, "files", (int64_t)assets_count); /* some dozens */
    json_out_kcstr(&j, "sha256", hash[0] != '\0' ? hash : NULL);
    json_out_end(&j);
    json_out_end(&j);
    buf_put(out, STR("\n"));
}

static void put_text(struct buf *out, const struct library *libraries, size_t count,
                     const char *hash)
{
    buf_putf(out, "gatehouse  %s\ncompiler   %s%s\n", GATEHOUSE_VERSION, COMPILER,
             IS_SANITIZED ? ", with sanitizers" : "");
    for (size_t i = 0; i < count; i++)
        buf_putf(out, "%-10s %s\n", libraries[i].name, libraries[i].version);
    if (hash[0] != '\0')
        buf_putf(out, "page       %zu files, sha256 %s\n", assets_count, hash);
    else
        buf_put(out, STR("page       not embedded\n"));
}

int command_build_info(const struct option_set *o)
{
    const struct library libraries[] = {
        {"libuv", uv_version_string()},
        {"llhttp",
         TEXT(LLHTTP_VERSION_MAJOR) "." TEXT(LLHTTP_VERSION_MINOR) "." TEXT(LLHTTP_VERSION_PATCH)},
        {"openssl", OpenSSL_version(OPENSSL_VERSION_STRING)},
        {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
        {"sqlite", sqlite3_libversion()},
        {"jansson", jansson_version_str()},
        {"libsodium", sodium_version_string()},
        {"zlib", zlibVersion()},
    };
    char hash[2 * SECRET_HASH_SIZE + 1];
    struct buf out = BUF_INIT(64 * 1024);
    int code;

    page_hash(hash);
    if (command_output_form(o) == COMMAND_JSON)
        put_json(&out, libraries, ARRAY_LEN(libraries), hash);
    else
        put_text(&out, libraries, ARRAY_LEN(libraries), hash);
    code = command_output_write(&out);
    buf_release(&out);
    return code;
}
