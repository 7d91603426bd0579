/* paste.h -- many channels as people keep them: one per line, name, address and key in any of the
 * usual spellings.
 *
 *   relay-a https://relay.example/v1 sk-abc        blanks, tabs, commas, semicolons or bars between
 *   my relay https://relay.example sk-abc          a name may have blanks
 *   https://relay.example,sk-abc                   no name: the host becomes it
 *   https://relay.example                          address and key on two lines, as the page copies
 *   sk-abc                                         them
 *   # a remark
 */
#pragma once

#include "base/base.h"
#include "base/str.h"

#define PASTE_LINES_MAX 1000 /* channels in one paste */

struct paste_item { /* texts point into the input */
    unsigned line;     /* from 1; of the address */
    struct str name;   /* empty: none was given */
    struct str url, key;
    const char *fault; /* static text, NULL = the line has its parts */
};

/* Fills at most PASTE_LINES_MAX items, returns how many there would be. Any bytes are fine as input;
 * whether the parts make a channel is for the caller to judge. */
size_t paste_parse(struct str text, struct paste_item items[PASTE_LINES_MAX]);
