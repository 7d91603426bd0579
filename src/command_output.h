/* command_output.h -- what a command prints: for people, or as JSON or CSV. Data goes to stdout, talk to
 * stderr. There is no colour, so NO_COLOR asks for nothing. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/option.h"
#include "base/str.h"

enum command_form { COMMAND_TEXT, COMMAND_JSON, COMMAND_CSV };

enum command_form command_output_form(const struct option_set *o);
bool command_output_is_terminal(void);
/* Columns of the terminal that stdout is, SIZE_MAX for files and pipes: nothing is cut there. */
size_t command_output_width(void);
/* Text of upstreams and users without what a terminal would obey. The caller's buf is large enough. */
void command_output_put_plain(struct buf *out, struct str text);
/* The whole output at once: APP_OK, or APP_FAILED and a line on stderr when it cannot be written. */
int command_output_write(const struct buf *out);
