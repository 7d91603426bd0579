#include "api/paste.h"

static bool is_separator(char c)
{
    return c == ' ' || c == '\t' || c == ',' || c == ';' || c == '|' || c == '\r' || c == '\v' ||
           c == '\f';
}

/* Quotes around a part, as spreadsheets write them. */
static struct str unquote(struct str s)
{
    if (s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0])
        return str_cut(s, 1, s.len - 2);
    return s;
}

static struct str strip(struct str s)
{
    while (s.len > 0 && is_separator(s.ptr[0]))
        s = str_cut(s, 1, s.len);
    while (s.len > 0 && is_separator(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Next part of *s, which begins with none of the separators afterwards; empty at the end. */
static struct str next_part(struct str *s)
{
    struct str part;
    size_t n = 0;

    while (n < s->len && !is_separator(s->ptr[n]))
        n++;
    part = str_cut(*s, 0, n);
    while (n < s->len && is_separator(s->ptr[n]))
        n++;
    *s = str_cut(*s, n, s->len);
    return unquote(part);
}

/* Where "http://" or "https://" begins, or any other scheme; -1 = no address in this line. */
static ssize_t find_url(struct str line)
{
    ssize_t at = str_find_str(line, STR("://"));

    while (at > 0 && !is_separator(line.ptr[at - 1]) && line.ptr[at - 1] != '"' &&
           line.ptr[at - 1] != '\'')
        at--;
    return at;
}

/* A line that is one part without an address: the key of the line before? */
static bool is_key_alone(struct str line)
{
    struct str rest = line;

    return find_url(line) < 0 && next_part(&rest).len > 0 && rest.len == 0;
}

static struct paste_item read_line(struct str line, unsigned number)
{
    struct paste_item item = {.line = number};
    ssize_t at = find_url(line);
    struct str rest;

    if (at < 0) {
        item.name = line;
        item.fault = "no address (http:// or https://) in this line";
        return item;
    }
    item.name = unquote(strip(str_cut(line, 0, (size_t)at)));
    rest = str_cut(line, (size_t)at, line.len);
    if (at > 0 &&
        (line.ptr[at - 1] == '"' || line.ptr[at - 1] == '\'')) { /* the quote belongs to it */
        item.name = unquote(strip(str_cut(line, 0, (size_t)at - 1)));
        rest = str_cut(line, (size_t)at - 1, line.len);
    }
    item.url = next_part(&rest);
    item.key = next_part(&rest);
    if (rest.len == 0)
        return item;
    if (item.name.len == 0)
        item.name = unquote(strip(rest)); /* address, key, name */
    else
        item.fault = "more than name, address and key";
    return item;
}

size_t paste_parse(struct str text, struct paste_item items[PASTE_LINES_MAX])
{
    struct paste_item *open = NULL; /* the item before, as long as a key may follow */
    unsigned number = 0;
    size_t count = 0;
    struct str line;

    while (str_split(&text, '\n', &line)) {
        number++;
        line = strip(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (open && is_key_alone(line)) {
            open->key = unquote(line);
            open = NULL;
            continue;
        }
        open = NULL;
        if (count < PASTE_LINES_MAX) {
            items[count] = read_line(line, number);
            if (!items[count].fault && items[count].key.len == 0)
                open = &items[count];
        }
        count++;
    }
    for (size_t i = 0; i < MIN(count, (size_t)PASTE_LINES_MAX); i++)
        if (!items[i].fault && items[i].key.len == 0)
            items[i].fault = "no key behind the address";
    return count;
}
