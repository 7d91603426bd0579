/* log.c -- makes a record one line. What the words quote comes from peers, so it is escaped here
 * and nowhere else: a peer can neither begin a line of its own nor move the terminal's cursor. */
#include "base/log.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#define LOG_LINE_MAX 8192 /* bytes with the newline */
#define LOG_CUT_MARK " [cut]"
#define LOG_TAIL_MAX (sizeof(LOG_CUT_MARK "\"}\n") - 1)

static const struct {
    const char *name;
    int priority; /* syslog(3), for the journal */
} levels[] = {
    [LOG_ERROR] = {"error", 3},
    [LOG_WARN] = {"warn", 4},
    [LOG_INFO] = {"info", 6},
    [LOG_DEBUG] = {"debug", 7},
};
static_assert(ARRAY_LEN(levels) == LOG_LEVELS, "a row for each level");

/* Set at start and on reload, read by every thread; no order among them is needed. */
static _Atomic int current_level = LOG_INFO;
static _Atomic int current_format = LOG_TEXT;
static _Atomic int current_fd = STDERR_FILENO;

/* Invariant: len <= LOG_LINE_MAX - LOG_TAIL_MAX until the tail is written. */
struct line {
    size_t len;
    bool is_cut;
    char text[LOG_LINE_MAX];
};

void log_setup(enum log_level level, enum log_format format, int fd)
{
    log_level_set(level);
    atomic_store_explicit(&current_format, format, memory_order_relaxed);
    atomic_store_explicit(&current_fd, fd, memory_order_relaxed);
}

enum log_level log_level_get(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_level_set(enum log_level level)
{
    atomic_store_explicit(&current_level, level, memory_order_relaxed);
}

int log_level_parse(struct str name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (str_ieq(name, str_of(levels[i].name))) {
            *ret = (enum log_level)i; /* an index of the table */
            return 0;
        }
    }
    return ERR_SYNTAX;
}

/* All of it or nothing, so that no escape and no character is cut through. */
static void put(struct line *l, const char *text, size_t n)
{
    if (l->is_cut || n > LOG_LINE_MAX - LOG_TAIL_MAX - l->len) {
        l->is_cut = true;
        return;
    }
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

static void put_c(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_hex(struct line *l, const char *before, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    char escape[8];
    size_t n = str_copy(escape, sizeof(escape) - 2, str_of(before));

    escape[n++] = digits[byte >> 4];
    escape[n++] = digits[byte & 15];
    put(l, escape, n);
}

/* One character of text, or a bad byte (`is_bad`). JSON has no \x: a control character takes JSON's
 * own escape, a bad byte stands as the four characters \xNN. */
static void put_char(struct line *l, struct str c, bool is_json, bool is_bad)
{
    if (is_json && (str_eq_c(c, "\"") || str_eq_c(c, "\\"))) {
        char escape[2] = {'\\', c.ptr[0]};

        put(l, escape, sizeof(escape));
    } else if (is_json && !is_bad && str_has_control(c)) {
        put_hex(l, "\\u00", (unsigned char)c.ptr[c.len - 1]); /* C1: C2 xx is U+00xx */
    } else if (is_bad || str_has_control(c)) {
        for (size_t i = 0; i < c.len; i++)
            put_hex(l, is_json ? "\\\\x" : "\\x", (unsigned char)c.ptr[i]);
    } else {
        put(l, c.ptr, c.len);
    }
}

static void put_escaped(struct line *l, struct str text, bool is_json)
{
    while (text.len != 0 && !l->is_cut) {
        size_t n = str_char_len(text);
        size_t step = n ? n : 1;

        put_char(l, str_n(text.ptr, step), is_json, n == 0);
        text = str_cut(text, step, text.len);
    }
}

static void put_head(struct line *l, enum log_format format, enum log_level level,
                     const char *module)
{
    char time[CLOCK_ISO_SIZE];
    char priority[4] = {'<', (char)('0' + levels[level].priority), '>', '\0'}; /* one digit */

    switch (format) {
    case LOG_TEXT:
        clock_iso(clock_utc_ms(), time);
        put_c(l, time);
        put_c(l, " ");
        put_c(l, levels[level].name);
        put_c(l, " [");
        put_c(l, module);
        put_c(l, "] ");
        break;
    case LOG_JSON:
        clock_iso(clock_utc_ms(), time);
        put_c(l, "{\"time\":\"");
        put_c(l, time);
        put_c(l, "\",\"level\":\"");
        put_c(l, levels[level].name);
        put_c(l, "\",\"module\":\"");
        put_c(l, module);
        put_c(l, "\",\"message\":\"");
        break;
    case LOG_JOURNAL: /* which adds the time itself */
        put_c(l, priority);
        put_c(l, "[");
        put_c(l, module);
        put_c(l, "] ");
        break;
    }
}

/* Into the LOG_TAIL_MAX bytes that put() never takes. */
static void put_tail(struct line *l, enum log_format format)
{
    const char *tail = format == LOG_JSON ? "\"}\n" : "\n";

    if (l->is_cut) {
        memcpy(l->text + l->len, LOG_CUT_MARK, sizeof(LOG_CUT_MARK) - 1);
        l->len += sizeof(LOG_CUT_MARK) - 1;
    }
    memcpy(l->text + l->len, tail, strlen(tail));
    l->len += strlen(tail);
}

/* One write(2); only a short one (a signal, a full disk) is continued. Nobody can be told of a
 * failure: this is where failures are told. */
static void send_line(const struct line *l)
{
    int fd = atomic_load_explicit(&current_fd, memory_order_relaxed);

    for (size_t done = 0; done < l->len;) {
        ssize_t n = write(fd, l->text + done, l->len - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return;
    }
}

static void write_record(enum log_level level, const char *module, struct str words)
{
    enum log_format format =
        (enum log_format)atomic_load_explicit(&current_format, memory_order_relaxed);
    struct line l;

    l.len = 0;
    l.is_cut = false;
    put_head(&l, format, level, module);
    put_escaped(&l, words, format == LOG_JSON);
    put_tail(&l, format);
    send_line(&l);
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
    char words[LOG_LINE_MAX];
    int saved_errno = errno; /* a caller may log before it looks */
    va_list ap;

    if (level > log_level_get())
        return;
    va_start(ap, fmt);
    int n = vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);

    /* What vsnprintf() cut is longer than a line with its head: put() cuts earlier, and marks. */
    write_record(level, module, str_n(words, n < 0 ? 0 : MIN((size_t)n, sizeof(words) - 1)));
    errno = saved_errno;
}
