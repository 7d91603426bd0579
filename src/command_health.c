/* command_health.c -- `gatehouse health`: for containers and scripts; exit 0, or 3 when nobody
 * answers, 1 when the daemon answers that it is not well. */
#include "app.h"
#include "command.h"
#include "command_client.h"

int command_health(const struct option_set *o, const char *const *words UNUSED, size_t count)
{
    struct command_answer a;
    int code = APP_OK;

    if (count != 0) {
        fprintf(stderr, "usage: gatehouse health\n");
        return APP_USAGE;
    }
    command_ask(o, "GET", "/api/health", STR_NONE, &a);
    if (a.status == 0) {
        fprintf(stderr, "gatehouse: not reachable: %s\n", a.error);
        code = APP_UNREACHABLE;
    } else {
        printf("%.*s", STR_ARG(buf_str(&a.body)));
        code = a.status == 200 ? APP_OK : APP_FAILED;
    }
    buf_release(&a.body);
    return code;
}
