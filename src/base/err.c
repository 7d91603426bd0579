/* err.c -- error texts. They quote what peers and files sent, so every text is made UTF-8 here, in
 * one place, before a page or a log meets it. */
#include "base/err.h"

#include "base/str.h"

#include <stdarg.h>

/* Copy `text` into dst: bytes that are no UTF-8 become '?', a long text ends at a character. */
static void copy_clean(char *dst, size_t cap, struct str text)
{
    size_t out = 0;

    while (text.len != 0) {
        size_t n = str_char_len(text);

        if (out + MAX(n, (size_t)1) >= cap)
            break;
        if (n == 0)
            dst[out++] = '?';
        else
            memcpy(dst + out, text.ptr, n);
        out += n;
        text = str_cut(text, MAX(n, (size_t)1), text.len);
    }
    dst[out] = '\0';
}

/* `tail`, unless NULL, goes behind the formatted text after ": ". Formatted in a buffer of its own,
 * because arguments may point into e. */
static void PRINTF(2, 0) fill(struct err *e, const char *fmt, va_list ap, const char *tail)
{
    char tmp[ERR_TEXT_MAX + 4]; /* room for the character that the cut goes through */
    int n = vsnprintf(tmp, sizeof(tmp), fmt, ap);
    size_t len = n < 0 ? 0 : MIN((size_t)n, sizeof(tmp) - 1);

    tmp[len] = '\0'; /* a failed vsnprintf() may leave anything */
    if (tail && len < sizeof(tmp) - 1) {
        n = snprintf(tmp + len, sizeof(tmp) - len, "%s%s", len ? ": " : "", tail);
        len += n < 0 ? 0 : MIN((size_t)n, sizeof(tmp) - len - 1);
    }
    copy_clean(e->text, sizeof(e->text), str_n(tmp, len));
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return code;
    va_start(ap, fmt);
    fill(e, fmt, ap, NULL);
    va_end(ap);
    e->code = code;
    e->field[0] = '\0';
    return code;
}

int err_set_field(struct err *e, int code, const char *field, const char *fmt, ...)
{
    char name[sizeof(e->field)]; /* `field` may be e->field itself */
    va_list ap;

    if (!e)
        return code;
    copy_clean(name, sizeof(name), str_of(field));
    va_start(ap, fmt);
    fill(e, fmt, ap, NULL);
    va_end(ap);
    e->code = code;
    memcpy(e->field, name, sizeof(name));
    return code;
}

int err_set_errno(struct err *e, int code, int errnum, const char *fmt, ...)
{
    char space[128];
    va_list ap;

    if (!e)
        return code;
    va_start(ap, fmt);
    fill(e, fmt, ap, strerror_r(errnum, space, sizeof(space)));
    va_end(ap);
    e->code = code;
    e->field[0] = '\0';
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char old[ERR_TEXT_MAX];
    va_list ap;

    if (!e)
        return ERR_INTERNAL;
    memcpy(old, e->text, sizeof(old));
    va_start(ap, fmt);
    fill(e, fmt, ap, old);
    va_end(ap);
    return e->code;
}

const char *err_name(int code)
{
    if (code == 0)
        return "ok";
    switch ((enum err_code)code) {
    case ERR_NOMEM:
        return "out of memory";
    case ERR_SYNTAX:
        return "bad syntax";
    case ERR_RANGE:
        return "out of range";
    case ERR_LIMIT:
        return "limit reached";
    case ERR_NOTFOUND:
        return "not found";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_DENIED:
        return "denied";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_IO:
        return "input/output error";
    case ERR_TLS:
        return "TLS error";
    case ERR_PROTO:
        return "protocol error";
    case ERR_BUSY:
        return "busy";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_INTERNAL:
        return "internal error";
    }
    return "unknown error";
}
