/* Any bytes as a request: the verdict is the same whole and byte by byte, what is taken obeys the
 * promises of http_parse.h, and no part points outside the head. */
#include "net/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = {
    .request_line_bytes = 256,
    .header_line_bytes = 256,
    .head_bytes = 1024,
    .header_count = 16,
};

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static void check_part(struct str part, const char *head, size_t len)
{
    CHECK(part.len == 0 || part.ptr == NULL || str_eq(part, STR("/")) ||
          (part.ptr >= head && part.ptr + part.len <= head + len));
}

static void check_head(const struct http_parse_head *h, const char *head, size_t len)
{
    check_part(h->target, head, len);
    check_part(h->raw_path, head, len);
    check_part(h->query, head, len);
    check_part(h->host, head, len);
    CHECK(h->raw_path.len > 0 && h->raw_path.ptr[0] == '/');
    CHECK(!(h->is_chunked && h->content_length >= 0));
    CHECK(!(h->is_chunked && h->is_http10));
    CHECK(h->is_http10 || http_parse_is_host(h->host));
    CHECK(h->header_count <= limits.header_count);
    for (size_t i = 0; i < h->header_count; i++) {
        struct str name = h->headers[i].name, value = h->headers[i].value;

        check_part(name, head, len);
        check_part(value, head, len);
        CHECK(http_parse_is_token(name));
        for (size_t j = 0; j < name.len; j++)
            CHECK(name.ptr[j] < 'A' || name.ptr[j] > 'Z');
        CHECK(!memchr(value.ptr, '\r', value.len) && !memchr(value.ptr, '\n', value.len) &&
              !memchr(value.ptr, '\0', value.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_parse_scan whole = {0}, bytewise = {0};
    struct str in = str_n((const char *)data, size);
    int status = http_parse_scan(&whole, &limits, in);
    int again = 0;

    for (size_t n = 1; n <= size && again == 0; n++)
        again = http_parse_scan(&bytewise, &limits, str_n(in.ptr, n));
    CHECK(status == again);
    CHECK(status == 0 || status == 1 || status == 400 || status == 414 || status == 431);
    if (status != 1)
        return 0;
    CHECK(whole.pos == bytewise.pos && whole.start == bytewise.start &&
          whole.lines == bytewise.lines && whole.pos <= size);

    struct http_parse_head h;
    struct arena a;

    arena_init(&a);

    size_t len = whole.pos - whole.start;
    char *head = arena_alloc(&a, len);

    memcpy(head, in.ptr + whole.start, len);
    status = http_parse_head(head, len, whole.lines, &a, &h);
    CHECK(status == 0 || status == 400 || status == 501 || status == 505);
    if (status == 0)
        check_head(&h, head, len);
    arena_release(&a);
    return 0;
}
