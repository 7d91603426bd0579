/* command_health.c -- `gatehouse health`: for containers and scripts; exit 0, or 3 when nobody
 * answers, 1 when the daemon answers that it is not well. */
#include "app.h"
#include "base/json_doc.h"
#include "command.h"
#include "command_client.h"
#include "command_output.h"

/* "store    ok" for each text of the answer, and who is being checked. */
static int show(struct str body, struct buf *out)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    json_t *value;
    const char *key;
    size_t i;

    if (json_doc_parse(body, 0, &doc, NULL) < 0 || !json_is_object(doc))
        return ERR_SYNTAX;
    buf_putf(out, "%-10s %s\n", "health", json_is_true(json_doc_get(doc, "ok")) ? "ok" : "not ok");
    json_object_foreach(doc, key, value)
    {
        if (!json_is_string(value))
            continue;
        buf_putf(out, "%-10s ", key);
        command_output_put_plain(out, json_doc_str(value));
        buf_put(out, STR("\n"));
    }
    json_array_foreach(json_doc_get(doc, "running_targets"), i, value)
        buf_putf(out, "%-10s channel %lld\n", "checking", (long long)json_integer_value(value));
    return 0;
}

int command_health(const struct option_set *o, const char *const *words UNUSED, size_t count)
{
    struct buf out = BUF_INIT(32u << 20); /* four times the longest answer */
    struct command_answer a;
    int code;

    if (count != 0) {
        fprintf(stderr, "usage: gatehouse health [--json]\n");
        return APP_USAGE;
    }
    command_ask(o, "GET", "/api/health", STR_NONE, &a);
    if (a.status == 0) {
        fprintf(stderr, "gatehouse: not reachable: %s\n", a.error);
        code = APP_UNREACHABLE;
    } else {
        bool is_json = command_output_form(o) == COMMAND_JSON || !command_output_is_terminal();

        if (is_json || show(buf_str(&a.body), &out) < 0)
            buf_put(&out, buf_str(&a.body));
        code = command_output_write(&out);
        if (a.status != 200)
            code = APP_FAILED;
    }
    buf_release(&a.body);
    buf_release(&out);
    return code;
}
