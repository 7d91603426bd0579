/* command_run.c -- `gatehouse run CHANNEL`: checks a channel (name or id) of the running daemon now, waits for
 * the end, shows each model. Exit 0 when every model answered, 1 when one did not, 3 when the
 * daemon is not reachable, 4 when it refuses the token. */
#include "app.h"
#include "base/json_doc.h"
#include "command.h"
#include "command_client.h"

#include <unistd.h>

#define POLL_US     300000u
#define POLLS_MAX   (60u * 60 * 10 / 3) /* an hour and some */

static int refused(const struct command_answer *a)
{
    if (a->status == 0) {
        fprintf(stderr, "gatehouse: not reachable: %s\n", a->error);
        return APP_UNREACHABLE;
    }
    if (a->status == 401 || a->status == 403) {
        fprintf(stderr, "gatehouse: refused; set GATEHOUSE_TOKEN to the admin token\n");
        return APP_REFUSED;
    }
    fprintf(stderr, "gatehouse: the daemon answered %d: %.*s", a->status, STR_ARG(buf_str(&a->body)));
    return APP_FAILED;
}

/* One request whose answer is a JSON document. */
static int ask_json(const struct option_set *o, const char *method, const char *path, json_t **ret)
{
    struct command_answer a;
    struct err e = {0};
    int code = APP_OK;

    command_ask(o, method, path, command_token(o), &a);
    if (a.status != 200)
        code = refused(&a);
    else if (json_doc_parse(buf_str(&a.body), 0, ret, &e) < 0)
        code = APP_FAILED, fprintf(stderr, "gatehouse: unreadable answer: %s\n", e.text);
    buf_release(&a.body);
    return code;
}

static int find_channel(const struct option_set *o, const char *word, int64_t *ret)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    int code = ask_json(o, "GET", "/api/targets?history=0", &doc);
    size_t i;
    json_t *item;
    int64_t id = 0;

    if (code != APP_OK)
        return code;
    if (str_to_i64(str_of(word), 1, INT64_MAX, &id) < 0)
        id = 0; /* a name; no channel has this id */
    json_array_foreach(json_doc_get(doc, "items"), i, item)
    {
        if (str_eq_c(json_doc_str(json_doc_get(item, "name")), word) ||
            json_integer_value(json_doc_get(item, "id")) == id) {
            *ret = json_integer_value(json_doc_get(item, "id"));
            return APP_OK;
        }
    }
    fprintf(stderr, "gatehouse: no channel '%s'\n", word);
    return APP_FAILED;
}

static int show_models(const json_t *target)
{
    size_t i, bad = 0;
    json_t *m;

    json_array_foreach(json_doc_get(target, "latest_models"), i, m)
    {
        bool success = json_is_true(json_doc_get(m, "success"));

        bad += !success;
        printf("%-4s %8.3f s  %.*s%s%.*s\n", success ? "ok" : "FAIL",
               json_number_value(json_doc_get(m, "duration")),
               STR_ARG(json_doc_str(json_doc_get(m, "model"))), success ? "" : "  ",
               STR_ARG(json_doc_str(json_doc_get(m, "error"))));
    }
    printf("%.*s: %lld of %lld models answered\n", STR_ARG(json_doc_str(json_doc_get(target, "last_status"))),
           (long long)json_integer_value(json_doc_get(target, "last_success")),
           (long long)json_integer_value(json_doc_get(target, "last_total")));
    if (json_is_string(json_doc_get(target, "last_error")))
        printf("%.*s\n", STR_ARG(json_doc_str(json_doc_get(target, "last_error"))));
    return bad != 0 || !str_eq_c(json_doc_str(json_doc_get(target, "last_status")), "healthy");
}

/* Starts a run, or finds the one in progress (run_id 0: whichever it is). */
static int start_run(const struct option_set *o, int64_t id, int64_t *ret_run_id)
{
    CLEANUP(json_doc_decrefp) json_t *doc = NULL;
    struct command_answer a;
    char path[64];
    int code = APP_OK;

    snprintf(path, sizeof(path), "/api/targets/%lld/run", (long long)id);
    command_ask(o, "POST", path, command_token(o), &a);
    *ret_run_id = 0;
    if (a.status == 409)
        fprintf(stderr, "gatehouse: a check is in progress already, waiting for its end\n");
    else if (a.status != 200)
        code = refused(&a);
    else if (json_doc_parse(buf_str(&a.body), 0, &doc, NULL) == 0)
        *ret_run_id = json_integer_value(json_doc_get(doc, "run_id"));
    buf_release(&a.body);
    return code;
}

/* Queued, running, or its rows not readable yet: not ended. */
static bool has_ended(const json_t *target, int64_t run_id)
{
    if (json_is_true(json_doc_get(target, "running")) || json_is_true(json_doc_get(target, "queued")))
        return false;
    return run_id == 0 || json_integer_value(json_doc_get(target, "last_run_id")) >= run_id;
}

static int wait_for_end(const struct option_set *o, int64_t id, int64_t run_id)
{
    char path[64];

    snprintf(path, sizeof(path), "/api/targets/%lld", (long long)id);
    for (unsigned n = 0; n < POLLS_MAX; n++) {
        CLEANUP(json_doc_decrefp) json_t *doc = NULL;
        const json_t *target;
        int code = ask_json(o, "GET", path, &doc);

        if (code != APP_OK)
            return code;
        target = json_doc_get(doc, "item");
        if (has_ended(target, run_id))
            return show_models(target) ? APP_FAILED : APP_OK;
        usleep(POLL_US);
    }
    fprintf(stderr, "gatehouse: the run did not end in an hour\n");
    return APP_FAILED;
}

int command_run(const struct option_set *o, const char *const *words, size_t count)
{
    int64_t id = 0, run_id = 0;
    int code;

    if (count != 1) {
        fprintf(stderr, "usage: gatehouse run CHANNEL\n");
        return APP_USAGE;
    }
    code = find_channel(o, words[0], &id);
    if (code == APP_OK)
        code = start_run(o, id, &run_id);
    return code == APP_OK ? wait_for_end(o, id, run_id) : code;
}
