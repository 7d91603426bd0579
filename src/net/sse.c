/* sse.c -- the event stream grammar. Whole lines are taken straight from the chunk; only a line
 * that a chunk boundary splits is copied. */
#include "net/sse.h"

#define NAME_MAX_BYTES 256
#define ID_MAX_BYTES   1024

/* Past the ceiling a split line needs only as much more that its value is still seen to be too
 * long; so what is reported does not depend on where the chunks were cut. */
#define LINE_SLACK 16

static const char bom[3] = {'\xEF', '\xBB', '\xBF'};

void sse_parser_init(struct sse_parser *p, size_t max_event, bool (*on_event)(void *, const struct sse_event *), void *ctx)
{
    *p = (struct sse_parser){.at_start = true, .on_event = on_event, .ctx = ctx};
    buf_init(&p->line, MAX(max_event, (size_t)ID_MAX_BYTES) + LINE_SLACK);
    buf_init(&p->data, max_event);
    buf_init(&p->name, NAME_MAX_BYTES);
    buf_init(&p->id, ID_MAX_BYTES);
}

void sse_parser_release(struct sse_parser *p)
{
    buf_release(&p->line);
    buf_release(&p->data);
    buf_release(&p->name);
    buf_release(&p->id);
}

/* As much as fits; *is_cut, unless NULL, tells that some did not. */
static int add_capped(struct buf *b, struct str s, bool *is_cut)
{
    size_t room = b->max - buf_len(b);

    if (s.len > room) {
        s.len = room;
        if (is_cut)
            *is_cut = true;
    }
    return s.len > 0 ? buf_add_str(b, s) : 0;
}

static int dispatch(struct sse_parser *p)
{
    struct sse_event e = {buf_str(&p->name), buf_str(&p->data), buf_str(&p->id), p->is_cut};
    bool go_on = !p->has_data || p->on_event(p->ctx, &e);

    buf_clear(&p->data);
    buf_clear(&p->name);
    p->has_data = p->is_cut = false;
    return go_on ? 0 : ERR_CANCELLED;
}

static int take_field(struct sse_parser *p, struct str name, struct str value)
{
    int r = 0;

    if (str_eq(name, STR("data"))) {
        if (p->has_data)
            r = add_capped(&p->data, STR("\n"), &p->is_cut);
        p->has_data = true;
        return r < 0 ? r : add_capped(&p->data, value, &p->is_cut);
    }
    if (str_eq(name, STR("event"))) {
        buf_clear(&p->name);
        value.len = MIN(value.len, (size_t)NAME_MAX_BYTES);
        return buf_add_str(&p->name, value);
    }
    /* An id that is too long is no use cut: the last good one stays, as with one that holds NUL. */
    if (str_eq(name, STR("id")) && value.len <= ID_MAX_BYTES && str_find(value, '\0') < 0) {
        buf_clear(&p->id);
        return buf_add_str(&p->id, value);
    }
    return 0; /* "retry" is for clients that reconnect; unknown fields are ignored */
}

static int take_line(struct sse_parser *p, struct str line)
{
    ssize_t colon = str_find(line, ':');
    struct str value;

    if (line.len == 0)
        return dispatch(p);
    if (colon == 0) /* comment, a heartbeat */
        return 0;
    if (colon < 0)
        return take_field(p, line, STR_NONE);
    value = str_cut(line, (size_t)colon + 1, line.len);
    if (value.len > 0 && value.ptr[0] == ' ')
        value = str_cut(value, 1, value.len);
    return take_field(p, str_cut(line, 0, (size_t)colon), value);
}

static int end_line(struct sse_parser *p, struct str piece)
{
    int r;

    if (buf_len(&p->line) == 0)
        return take_line(p, piece);
    r = add_capped(&p->line, piece, NULL);
    if (r == 0)
        r = take_line(p, buf_str(&p->line));
    buf_clear(&p->line);
    return r;
}

/* Take one byte order mark off the stream's very beginning, which may come byte by byte. */
static int skip_bom(struct sse_parser *p, struct str *bytes)
{
    while (p->at_start && bytes->len > 0) {
        if (bytes->ptr[0] != bom[p->bom_seen]) {
            p->at_start = false;
            return add_capped(&p->line, str_n(bom, p->bom_seen), NULL); /* was no mark after all */
        }
        *bytes = str_cut(*bytes, 1, bytes->len);
        if (++p->bom_seen == sizeof(bom))
            p->at_start = false;
    }
    return 0;
}

int sse_parser_feed(struct sse_parser *p, struct str bytes)
{
    int r = skip_bom(p, &bytes);
    const char *at = bytes.ptr, *end = at + bytes.len;
    const char *lf = NULL; /* next LF at or behind `at`; `end` when there is none */

    while (r == 0 && at < end) {
        if (p->after_cr) {
            p->after_cr = false;
            if (*at == '\n') {
                at++;
                continue;
            }
        }
        if (!lf || lf < at) { /* searched once per LF, so CR-only streams stay linear */
            lf = memchr(at, '\n', (size_t)(end - at));
            lf = lf ? lf : end;
        }
        const char *stop = memchr(at, '\r', (size_t)(lf - at));

        p->after_cr = stop != NULL;
        stop = stop ? stop : lf;
        if (stop == end)
            return add_capped(&p->line, str_n(at, (size_t)(end - at)), NULL);
        r = end_line(p, str_n(at, (size_t)(stop - at)));
        at = stop + 1;
    }
    return r;
}

bool sse_parser_end(struct sse_parser *p)
{
    struct str line = buf_str(&p->line);
    bool was_pending = p->has_data || buf_len(&p->name) > 0 || (line.len > 0 && line.ptr[0] != ':');

    buf_clear(&p->line);
    buf_clear(&p->data);
    buf_clear(&p->name);
    p->has_data = p->is_cut = p->after_cr = false;
    return was_pending;
}

static size_t line_length(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\n' || s.ptr[i] == '\r')
            return i;
    return s.len;
}

int sse_format(struct buf *out, struct str name, uint64_t id, struct str data)
{
    size_t lines = 1, size;
    int r;

    for (size_t i = 0; i < data.len; i++)
        lines += data.ptr[i] == '\n' || data.ptr[i] == '\r';
    size = data.len + lines * 7 + name.len + 8 + 26;
    r = buf_reserve(out, size); /* all that follows fits */
    if (r == 0 && id != 0)
        r = buf_printf(out, "id: %llu\n", (unsigned long long)id);
    if (r == 0 && name.len > 0) {
        r = buf_add_str(out, STR("event: "));
        for (size_t i = 0; i < name.len && r == 0; i++)
            if ((unsigned char)name.ptr[i] >= 0x20 && name.ptr[i] != 0x7f)
                r = buf_add_char(out, name.ptr[i]);
        r = r < 0 ? r : buf_add_char(out, '\n');
    }
    while (r == 0) {
        size_t n = line_length(data);

        r = buf_add_str(out, STR("data: "));
        r = r < 0 ? r : buf_add_str(out, str_cut(data, 0, n));
        r = r < 0 ? r : buf_add_char(out, '\n');
        if (n == data.len)
            break;
        n += n + 1 < data.len && data.ptr[n] == '\r' && data.ptr[n + 1] == '\n' ? 2 : 1;
        data = str_cut(data, n, data.len);
    }
    return r < 0 ? r : buf_add_char(out, '\n');
}
