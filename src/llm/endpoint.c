/* endpoint.c -- addresses of an upstream's operations. */
#include "llm/endpoint.h"

#include "net/url.h"

static struct str drop_slashes(struct str s)
{
    while (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

/* Where the path begins: behind the authority, so that a host named "v1" stays. */
static size_t path_offset(struct str s)
{
    ssize_t scheme = str_find_str(s, STR("://"));
    size_t from = scheme < 0 ? 0 : (size_t)scheme + 3;
    ssize_t slash = str_find(str_cut(s, from, s.len), '/');

    return slash < 0 ? s.len : from + (size_t)slash;
}

static struct str base_of(struct str base_url)
{
    struct str s = str_until(str_until(str_trim(base_url), '#'), '?');
    size_t path = path_offset(s);

    s = drop_slashes(s);
    if (s.len >= path + 3 && str_ieq(str_cut(s, s.len - 3, 3), STR("/v1")))
        s = drop_slashes(str_cut(s, 0, s.len - 3));
    return s;
}

static int undo_on_failure(struct buf *out, size_t start, int rc)
{
    if (rc != 0)
        buf_shorten(out, start);
    return rc;
}

int endpoint_base(struct str base_url, struct buf *out)
{
    return buf_add_str(out, base_of(base_url));
}

static int join(struct str base_url, const char *path, struct buf *out)
{
    size_t start = buf_len(out);
    int rc = buf_add_str(out, base_of(base_url));

    if (rc == 0)
        rc = buf_add_str(out, str_of(path));
    return undo_on_failure(out, start, rc);
}

int endpoint_models(struct str base_url, struct buf *out)
{
    return join(base_url, "/v1/models", out);
}

/* "." and ".." would be resolved away by a client; encoded they stay names. */
static int encode_model(struct str model, struct buf *out)
{
    bool is_first = true;
    struct str rest = model, segment;
    int rc = 0;

    while (rc == 0 && str_split(&rest, '/', &segment)) {
        if (!is_first)
            rc = buf_add_char(out, '/');
        is_first = false;
        if (rc == 0 && str_eq_c(segment, "."))
            rc = buf_add_str(out, STR("%2E"));
        else if (rc == 0 && str_eq_c(segment, ".."))
            rc = buf_add_str(out, STR("%2E%2E"));
        else if (rc == 0)
            rc = url_encode_segment(segment, out);
    }
    return rc;
}

static int gemini(struct str base_url, struct str model, bool is_stream, struct buf *out)
{
    size_t start = buf_len(out);
    int rc = join(base_url, "/v1beta/models/", out);

    if (rc == 0)
        rc = encode_model(model, out);
    if (rc == 0)
        rc = buf_add_str(out, is_stream ? STR(":streamGenerateContent?alt=sse")
                                        : STR(":generateContent"));
    return undo_on_failure(out, start, rc);
}

int endpoint_generate(struct str base_url, enum protocol p, struct str model, bool is_stream,
                      struct buf *out)
{
    switch (p) {
    case PROTOCOL_OPENAI_CHAT:
        return join(base_url, "/v1/chat/completions", out);
    case PROTOCOL_OPENAI_RESPONSES:
        return join(base_url, "/v1/responses", out);
    case PROTOCOL_ANTHROPIC:
        return join(base_url, "/v1/messages", out);
    case PROTOCOL_GEMINI:
        return gemini(base_url, model, is_stream, out);
    case PROTOCOL_NONE:
    case PROTOCOLS:
        break;
    }
    return ERR_NOTFOUND;
}
