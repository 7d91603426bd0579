/* url.c -- a deliberately narrow reading of RFC 3986: what our HTTP client, a browser and a
 * resolver might take differently (backslashes, percent-coded hosts, zones, non-ASCII names) is
 * refused, so that what was checked is what is called. */
#include "net/url.h"

#include "net/addr.h"

#define HOST_MAX 253 /* RFC 1035 section 2.3.4, without the trailing dot */

static int check_host(struct str host, struct err *reterr)
{
    size_t label = 0;

    if (host.len == 0)
        return err_set(reterr, ERR_SYNTAX, "URL has no host");
    if (host.len > HOST_MAX)
        return err_set(reterr, ERR_SYNTAX, "host of the URL is longer than %d bytes", HOST_MAX);
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];

        if (c >= 0x80)
            return err_set(reterr, ERR_SYNTAX, "host of the URL is not ASCII (write international names as xn--...)");
        if (c == '.') {
            if (label == 0)
                return err_set(reterr, ERR_SYNTAX, "host of the URL has an empty label");
            label = 0;
            continue;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return err_set(reterr, ERR_SYNTAX, "host of the URL has a character that is not allowed");
        if (++label > 63)
            return err_set(reterr, ERR_SYNTAX, "host of the URL has a label longer than 63 bytes");
    }
    return 0;
}

/* authority = [userinfo "@"] host [":" port] */
static int parse_authority(struct str authority, struct url *u, struct err *reterr)
{
    struct str rest = authority, port = STR_NONE;
    struct addr ip;

    for (size_t i = rest.len; i > 0; i--)
        if (authority.ptr[i - 1] == '@') { /* the last one, as browsers and libcurl do */
            u->has_userinfo = true;
            rest = str_cut(authority, i, authority.len);
            break;
        }
    if (rest.len > 0 && rest.ptr[0] == '[') {
        ssize_t close = str_find(rest, ']');

        if (close < 0)
            return err_set(reterr, ERR_SYNTAX, "URL has '[' without ']'");
        u->host = str_cut(rest, 1, (size_t)close - 1); /* close >= 1 */
        rest = str_cut(rest, (size_t)close + 1, rest.len);
        u->host_is_ip6 = true;
        if (str_find(u->host, ':') < 0 || addr_parse(u->host, &ip) < 0)
            return err_set(reterr, ERR_SYNTAX, "URL has no valid IPv6 address in brackets");
        if (rest.len > 0 && rest.ptr[0] != ':')
            return err_set(reterr, ERR_SYNTAX, "URL has text between ']' and the port");
        port = str_cut(rest, 1, rest.len);
    } else {
        u->host = str_until(rest, ':');
        port = str_after(rest, ':');
        if (check_host(u->host, reterr) < 0)
            return ERR_SYNTAX;
    }
    u->port = u->is_https ? 443 : 80;
    u->has_port = port.len > 0;
    if (u->has_port && str_to_u16(port, 1, &u->port) < 0)
        return err_set(reterr, ERR_SYNTAX, "port of the URL is not in 1..65535");
    return 0;
}

int url_parse(struct str text, struct url *ret, struct err *reterr)
{
    struct url u = {0};
    struct str rest = text;
    size_t end = 0;

    if (str_has_control(text) || (text.len > 0 && memchr(text.ptr, ' ', text.len)))
        return err_set(reterr, ERR_SYNTAX, "URL has a blank or a control character");
    if (!str_is_utf8(text))
        return err_set(reterr, ERR_SYNTAX, "URL is not valid UTF-8");
    if (str_istarts(rest, STR("https://"))) {
        u.is_https = true;
        rest = str_cut(rest, 8, rest.len);
    } else if (str_istarts(rest, STR("http://"))) {
        rest = str_cut(rest, 7, rest.len);
    } else {
        return err_set(reterr, ERR_SYNTAX, "URL must begin with http:// or https://");
    }
    while (end < rest.len && !strchr("/?#\\", rest.ptr[end]))
        end++;
    if (end < rest.len && rest.ptr[end] == '\\') /* a slash to browsers, part of the host to others */
        return err_set(reterr, ERR_SYNTAX, "URL has a backslash before its path");
    if (parse_authority(str_cut(rest, 0, end), &u, reterr) < 0)
        return ERR_SYNTAX;
    rest = str_cut(rest, end, rest.len);
    u.fragment = str_after(rest, '#');
    rest = str_until(rest, '#');
    u.query = str_after(rest, '?');
    u.path = str_until(rest, '?');
    *ret = u;
    return 0;
}

int url_check_proxy(struct str text, struct err *reterr)
{
    struct buf http = BUF_INIT(8192);
    struct str rest = text;
    struct url u = {0};
    int rc = 0;

    if (str_skip_prefix(&rest, STR("socks5://")) || str_skip_prefix(&rest, STR("socks5h://"))) {
        rc = buf_add_str(&http, STR("http://")); /* the same grammar behind the scheme */
        if (rc == 0)
            rc = buf_add_str(&http, rest);
        text = buf_str(&http);
    }
    if (rc == 0)
        rc = url_parse(text, &u, NULL);
    buf_release(&http);
    if (rc < 0)
        return err_set(reterr, ERR_SYNTAX, "must be an http://, https://, socks5:// or socks5h:// URL with a host");
    if (u.has_userinfo)
        return err_set(reterr, ERR_SYNTAX, "must not contain a user or password");
    return 0;
}

int url_origin(const struct url *u, struct buf *out)
{
    const char *scheme = u->is_https ? "https" : "http";
    bool is_default = u->port == (u->is_https ? 443 : 80);
    const char *open = u->host_is_ip6 ? "[" : "", *close = u->host_is_ip6 ? "]" : "";

    if (is_default)
        return buf_printf(out, "%s://%s%.*s%s", scheme, open, STR_ARG(u->host), close);
    return buf_printf(out, "%s://%s%.*s%s:%u", scheme, open, STR_ARG(u->host), close, u->port);
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

int url_encode_segment(struct str s, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = s.len;
    int r;

    for (size_t i = 0; i < s.len; i++)
        size += is_unreserved((unsigned char)s.ptr[i]) ? 0 : 2;
    r = buf_reserve(out, size);
    for (size_t i = 0; i < s.len && r == 0; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        const char escape[3] = {'%', digits[c >> 4], digits[c & 15]};

        r = is_unreserved(c) ? buf_add_char(out, s.ptr[i]) : buf_add(out, escape, 3);
    }
    return r;
}

static int decode(struct str s, bool plus_is_blank, struct buf *out)
{
    size_t before = buf_len(out);
    int r = buf_reserve(out, s.len);

    for (size_t i = 0; i < s.len && r == 0; i++) {
        char c = s.ptr[i];

        if (c == '%') {
            int high = i + 2 < s.len ? str_hex_value(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? str_hex_value(s.ptr[i + 2]) : -1;

            if (high < 0 || low < 0) {
                r = ERR_SYNTAX;
                break;
            }
            c = (char)(high << 4 | low); /* 0..255 */
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        r = buf_add_char(out, c);
    }
    if (r == 0 && str_has_control(str_cut(buf_str(out), before, s.len)))
        r = ERR_SYNTAX;
    if (r < 0 && out->ptr) { /* as it was */
        out->tail = out->head + before;
        out->ptr[out->tail] = '\0';
    }
    return r;
}

int url_decode(struct str s, struct buf *out)
{
    return decode(s, false, out);
}

int url_decode_query(struct str s, struct buf *out)
{
    return decode(s, true, out);
}

bool url_query_next(struct str *query, struct str *ret_name, struct str *ret_value)
{
    struct str pair;

    while (str_split(query, '&', &pair)) {
        if (pair.len == 0) /* "a=1&&b=2" */
            continue;
        *ret_name = str_until(pair, '=');
        *ret_value = str_after(pair, '=');
        return true;
    }
    return false;
}
