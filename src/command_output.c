/* command_output.c -- forms of output and the terminal. */
#include "command_output.h"

#include "app.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_MIN 20

enum command_form command_output_form(const struct option_set *o)
{
    if (option_bool(o, "json"))
        return COMMAND_JSON;
    return option_bool(o, "csv") ? COMMAND_CSV : COMMAND_TEXT;
}

bool command_output_is_terminal(void)
{
    return isatty(STDOUT_FILENO);
}

size_t command_output_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < WIDTH_MIN)
        return SIZE_MAX;
    return size.ws_col;
}

void command_output_put_plain(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t n = str_char_len(text);
        struct str one = str_cut(text, 0, n ? n : 1);

        buf_put(out, n == 0 || str_has_control(one) ? STR("?") : one);
        text = str_cut(text, one.len, text.len);
    }
}

int command_output_write(const struct buf *out)
{
    struct str text = buf_str(out);

    if (fwrite(text.ptr, 1, text.len, stdout) == text.len && fflush(stdout) == 0)
        return APP_OK;
    fprintf(stderr, "gatehouse: cannot write: %s\n", strerror(errno));
    return APP_FAILED;
}
