/* http_parse.c -- the head of a request.
 *
 * The scan knows lines, their ends and their lengths. http_parse_head() then splits each line
 * itself and lets llhttp (strict mode) read the same bytes: a head counts when both take it and
 * both see the same framing. llhttp is shown "GET" in place of the method, since it refuses
 * methods that it does not know, which we answer with 405, and gives CONNECT a meaning of its own. */
#include "net/http_parse.h"

#include <llhttp.h>

/* Lower-case form of each byte that may stand in a token (RFC 9110 section 5.6.2), else 0. */
static const char token_char[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*',
    ['+'] = '+', ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`',   ['|'] = '|',
    ['~'] = '~', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',   ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b',   ['C'] = 'c',
    ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',   ['J'] = 'j',
    ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p',   ['Q'] = 'q',
    ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w',   ['X'] = 'x',
    ['Y'] = 'y', ['Z'] = 'z', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',   ['e'] = 'e',
    ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k',   ['l'] = 'l',
    ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',   ['s'] = 's',
    ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',   ['z'] = 'z',
};

static char token_lower(char c)
{
    return token_char[(unsigned char)c];
}

bool http_parse_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (token_lower(s.ptr[i]) == 0)
            return false;
    return s.len > 0;
}

bool http_parse_next_item(struct str *list, struct str *ret)
{
    struct str item;

    while (str_split(list, ',', &item)) {
        item = str_trim(item);
        if (item.len > 0) {
            *ret = item;
            return true;
        }
    }
    return false;
}

/* ---- finding the head ---- */

/* Bounds on the line that begins at s->line and is known up to `end`. */
static int check_length(const struct http_parse_scan *s, const struct http_limits *limits, size_t end)
{
    size_t len = end - s->line;

    if (s->lines == 0)
        return len > limits->request_line_bytes + 1 ? 414 : 0; /* + 1: its CR */
    if (len > limits->header_line_bytes + 1 || end - s->start > limits->head_bytes)
        return 431;
    return 0;
}

/* A complete line, in[s->line .. end), LF at `end`. 0, 1 at the end of the head, or a status. */
static int scan_line(struct http_parse_scan *s, const struct http_limits *limits, const char *in,
                     size_t end)
{
    size_t len = end - s->line;
    const char *line = in + s->line;

    if (len == 0 || line[len - 1] != '\r' || memchr(line, '\r', len - 1))
        return 400; /* a bare LF or CR ends a line for some and not for others */
    len--;
    if (len == 0 && s->lines > 0)
        return 1;
    if (len == 0) {
        if (s->line > 0)
            return 400;
        s->start = end + 1; /* one empty line before the request: RFC 9112 section 2.2 */
        return 0;
    }
    if (s->lines > 0 && (line[0] == ' ' || line[0] == '\t'))
        return 400; /* folded, or blanks between request line and headers */
    return ++s->lines > limits->header_count + 1 ? 431 : 0;
}

int http_parse_scan(struct http_parse_scan *s, const struct http_limits *limits, struct str in)
{
    while (s->pos < in.len) {
        const char *lf = memchr(in.ptr + s->pos, '\n', in.len - s->pos);
        size_t end = lf ? (size_t)(lf - in.ptr) : in.len;
        char first = in.ptr[s->line];
        int status;

        if (s->lines == 0 && token_lower(first) == 0 && first != '\r')
            return 400; /* no request: TLS to the wrong port, a stray body, garbage */
        if ((status = check_length(s, limits, end)) != 0)
            return status;
        if (!lf) {
            s->pos = end;
            return 0;
        }
        status = scan_line(s, limits, in.ptr, end);
        s->pos = s->line = end + 1;
        if (status != 0)
            return status;
    }
    return 0;
}

/* ---- request line ---- */

static enum http_method method_of(struct str s)
{
    for (int m = HTTP_GET_; m < HTTP_OTHER_; m++)
        if (str_eq_c(s, http_method_name((enum http_method)m)))
            return (enum http_method)m;
    return HTTP_OTHER_;
}

static int parse_version(struct str s, struct http_parse_head *head)
{
    if (str_eq(s, STR("HTTP/1.1")))
        return 0;
    if (str_eq(s, STR("HTTP/1.0"))) {
        head->is_http10 = true;
        head->wants_close = true;
        return 0;
    }
    if (s.len == 8 && str_skip_prefix(&s, STR("HTTP/")) && s.ptr[0] >= '0' && s.ptr[0] <= '9' &&
        s.ptr[1] == '.' && s.ptr[2] >= '0' && s.ptr[2] <= '9')
        return 505;
    return 400;
}

/* "/path?query", "http://host/path?query" or, for OPTIONS, "*". llhttp looks at the characters. */
static int parse_target(struct http_parse_head *head)
{
    struct str rest = head->target;

    if (str_find(rest, '#') >= 0)
        return 400;
    if (str_eq(rest, STR("*"))) {
        head->raw_path = STR("/");
        return head->method == HTTP_OPTIONS_ ? 0 : 400;
    }
    if (str_istarts(rest, STR("http://")) || str_istarts(rest, STR("https://"))) {
        rest = str_cut(rest, (size_t)str_find_str(rest, STR("://")) + 3, rest.len); /* it is there */

        size_t len = 0;

        while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
            len++;
        head->authority = str_cut(rest, 0, len);
        rest = str_cut(rest, len, rest.len);
        if (!http_parse_is_host(head->authority))
            return 400;
    } else if (rest.len == 0 || rest.ptr[0] != '/') {
        return 400;
    }
    head->raw_path = str_until(rest, '?');
    head->query = str_after(rest, '?');
    if (head->raw_path.len == 0)
        head->raw_path = STR("/");
    return 0;
}

static int parse_request_line(struct str line, struct http_parse_head *head)
{
    struct str method = str_until(line, ' ');
    struct str rest = str_after(line, ' ');
    struct str target = str_until(rest, ' ');
    struct str version = str_after(rest, ' ');

    if (!http_parse_is_token(method) || target.len == 0)
        return 400;

    int status = parse_version(version, head); /* a further blank would be in it: 400 */

    if (status != 0)
        return status;
    head->method = method_of(method);
    head->method_text = method;
    head->target = target;
    return parse_target(head);
}

/* ---- headers ---- */

bool http_parse_is_host(struct str s)
{
    struct str name = http_parse_host_name(s);
    struct str port = str_cut(s, name.len, s.len);
    bool in_brackets = name.len > 0 && name.ptr[0] == '[';
    uint16_t number;

    if (name.len == 0 || name.len > 255 || (in_brackets && name.len < 4))
        return false;
    if (port.len > 1 && (port.ptr[0] != ':' || str_to_u16(str_cut(port, 1, 5), 0, &number) < 0 ||
                         port.len > 6))
        return false;
    if (port.len == 1 && port.ptr[0] != ':')
        return false;
    for (size_t i = in_brackets; i < name.len - in_brackets; i++) {
        char c = token_lower(name.ptr[i]);
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');

        if (in_brackets ? !is_hex && name.ptr[i] != ':' && c != '.'
                        : c == 0 || memchr("#%^`|", c, 5) != NULL)
            return false;
    }
    return !in_brackets || name.ptr[name.len - 1] == ']';
}

struct str http_parse_host_name(struct str host)
{
    ssize_t end = str_find(host, host.len > 0 && host.ptr[0] == '[' ? ']' : ':');

    if (end < 0)
        return host;
    return str_cut(host, 0, (size_t)end + (host.ptr[end] == ']')); /* end >= 0 */
}

static int parse_content_length(struct str value, struct http_parse_head *head)
{
    uint64_t n;

    if (head->content_length >= 0 || str_to_u64(value, INT64_MAX, &n) < 0)
        return 400; /* a second one too, even an equal one */
    head->content_length = (int64_t)n; /* <= INT64_MAX */
    return 0;
}

/* Exactly "chunked", once. Codings that we do not have are 501, nonsense is 400. */
static int parse_transfer_encoding(struct str value, struct http_parse_head *head)
{
    struct str item;
    bool is_chunked_last = false;
    unsigned items = 0;

    if (head->is_chunked)
        return 400;
    if (str_ieq(value, STR("chunked"))) {
        head->is_chunked = true;
        return 0;
    }
    while (str_split(&value, ',', &item)) {
        item = str_trim(item);
        if (is_chunked_last || !http_parse_is_token(item))
            return 400; /* chunked is the last coding or the end of the body is unknown */
        is_chunked_last = str_ieq(item, STR("chunked"));
        items++;
    }
    return items > 0 && !(items == 1 && is_chunked_last) ? 501 : 400;
}

static void parse_connection(struct str value, struct http_parse_head *head, bool *has_close)
{
    struct str item;

    while (http_parse_next_item(&value, &item)) {
        if (str_ieq(item, STR("close")))
            *has_close = true;
        else if (head->is_http10 && str_ieq(item, STR("keep-alive")))
            head->wants_close = false;
    }
}

struct seen {
    bool host, close;
};

/* What a header means for the exchange itself; told apart by length first. */
static int apply_header(struct http_header h, struct http_parse_head *head, struct seen *seen)
{
    switch (h.name.len) {
    case 4:
        if (memcmp(h.name.ptr, "host", 4) == 0) {
            if (seen->host || !http_parse_is_host(h.value))
                return 400;
            seen->host = true;
            head->host = h.value;
        }
        return 0;
    case 6:
        if (memcmp(h.name.ptr, "expect", 6) == 0) {
            if (str_ieq(h.value, STR("100-continue")))
                head->wants_continue = !head->is_http10;
            else
                head->has_other_expect = true;
        }
        return 0;
    case 10:
        if (memcmp(h.name.ptr, "connection", 10) == 0)
            parse_connection(h.value, head, &seen->close);
        return 0;
    case 14:
        return memcmp(h.name.ptr, "content-length", 14) == 0 ? parse_content_length(h.value, head)
                                                             : 0;
    case 17:
        return memcmp(h.name.ptr, "transfer-encoding", 17) == 0
                   ? parse_transfer_encoding(h.value, head)
                   : 0;
    }
    return 0;
}

/* "Name: value" in place. */
static int parse_header(char *line, size_t len, struct http_header *ret)
{
    size_t name = 0;
    size_t end = len;

    while (name < len && token_lower(line[name]) != 0) {
        line[name] = token_lower(line[name]);
        name++;
    }
    if (name == 0 || name == len || line[name] != ':')
        return 400; /* also a blank before the colon */

    size_t at = name + 1;

    while (at < end && (line[at] == ' ' || line[at] == '\t'))
        at++;
    while (end > at && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    for (size_t i = at; i < end; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return 400;
    ret->name = str_n(line, name);
    ret->value = str_n(line + at, end - at);
    return 0;
}

static int parse_headers(char *p, const char *end, struct http_parse_head *head)
{
    struct seen seen = {0};
    size_t n = 0;

    while (p < end - 2) {
        char *cr = memchr(p, '\r', (size_t)(end - p)); /* the scan saw that every line has one */
        struct http_header *h = &head->headers[n++];
        int status = parse_header(p, (size_t)(cr - p), h);

        if (status == 0)
            status = apply_header(*h, head, &seen);
        if (status != 0)
            return status;
        p = cr + 2;
    }
    head->header_count = n;
    if (head->is_chunked && (head->content_length >= 0 || head->is_http10))
        return 400; /* two framings, or one that 1.0 does not know */
    if (!seen.host && !head->is_http10)
        return 400;
    if (head->authority.len > 0) {
        if (seen.host && !str_ieq(http_parse_host_name(head->authority),
                                  http_parse_host_name(head->host)))
            return 400;
        head->host = head->authority;
    }
    if (seen.close)
        head->wants_close = true;
    return 0;
}

/* ---- the second reader ---- */

static int on_headers_complete(llhttp_t *p)
{
    (void)p;
    return HPE_PAUSED; /* the body is not llhttp's */
}

static bool llhttp_agrees(const char *text, size_t len, const struct http_parse_head *head)
{
    static const llhttp_settings_t settings = {.on_headers_complete = on_headers_complete};
    size_t method = head->method_text.len;
    llhttp_t p;

    llhttp_init(&p, HTTP_REQUEST, &settings);
    if (llhttp_execute(&p, "GET", 3) != HPE_OK ||
        llhttp_execute(&p, text + method, len - method) != HPE_PAUSED)
        return false;

    bool has_length = (p.flags & F_CONTENT_LENGTH) != 0;
    bool is_chunked = (p.flags & F_CHUNKED) != 0;

    return is_chunked == head->is_chunked && has_length == (head->content_length >= 0) &&
           (!has_length || p.content_length == (uint64_t)head->content_length);
}

int http_parse_head(char *head, size_t len, size_t lines, struct arena *a,
                    struct http_parse_head *ret)
{
    struct http_parse_head h = {.content_length = -1};
    char *cr = memchr(head, '\r', len);

    assert(lines > 0 && cr != NULL && len >= 4); /* the scan found them */

    int status = parse_request_line(str_n(head, (size_t)(cr - head)), &h);

    if (status != 0)
        return status;
    h.headers = arena_alloc(a, lines * sizeof(*h.headers));
    status = parse_headers(cr + 2, head + len, &h);
    if (status != 0)
        return status;
    if (!llhttp_agrees(head, len, &h))
        return 400;
    *ret = h;
    return 0;
}
