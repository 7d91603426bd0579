/* assets.h -- the embedded page: an exact-match table, compressed beforehand; there is no file
 * system behind it and no listing. */
#pragma once

#include "base/base.h"

struct asset {
    const char *path; /* "/assets/index-1a2b3c4d.js" */
    const char *type;
    const char *etag;  /* quoted */
    bool is_immutable; /* the name carries a hash of the content */
    const char *raw, *raw_end, *gzip, *gzip_end, *brotli, *brotli_end; /* empty: not smaller */
};
extern const struct asset assets_table[]; /* made by web/build.mjs, by path */
extern const size_t assets_count;

struct http_exchange;
struct str;
struct assets; /* index.html with the base path in it; immutable */

struct assets *assets_new(const char *base_path);
void assets_free(struct assets *a);
/* Answers pages and files; false when the path is neither. */
bool assets_serve(const struct assets *a, struct http_exchange *x);
