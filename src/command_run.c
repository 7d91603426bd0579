/* command_run.c -- `gatehouse run CHANNEL`: checks a channel (name or id) of the running daemon
 * now, waits for the end, shows each model. Exit 0 when every model answered, 1 when one did not, 3
 * when the daemon is not reachable, 4 when it refuses the token. */
#include "api/api_logs_read.h"
#include "app.h"
#include "base/json_doc.h"
#include "command.h"
#include "command_client.h"
#include "command_output.h"

#include <unistd.h>

#define POLL_US   300000u
#define POLLS_MAX (60u * 60 * 10 / 3) /* an hour and some */

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
    fprintf(stderr, "gatehouse: the daemon answered %d: %.*s", a->status,
            STR_ARG(buf_str(&a->body)));
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

/* ---- the result ---- */

static const char *word(const json_t *model)
{
    return json_is_true(json_doc_get(model, "success")) ? "ok" : "FAIL";
}

/* As much of `text` as fits into `width` columns; a character is taken for one. */
static struct str fitting(struct str text, size_t width)
{
    struct str rest = text;

    while (width-- > 0 && rest.len > 0)
        rest = str_cut(rest, MAX(str_char_len(rest), (size_t)1), rest.len);
    return str_cut(text, 0, text.len - rest.len);
}

static size_t widest_model(const json_t *models)
{
    size_t i, widest = strlen("model");
    json_t *m;

    json_array_foreach(models, i, m) widest =
        MAX(widest, str_count_chars(json_doc_str(json_doc_get(m, "model"))));
    return widest;
}

/* "ok      0.812 s  gpt-4o"; on a terminal with names above, and cut where it ends. */
static void put_table(const json_t *models, struct buf *out)
{
    size_t i, before = strlen("FAIL    0.812 s    "), widest = widest_model(models);
    size_t width = command_output_is_terminal() ? command_output_width() : SIZE_MAX;
    json_t *m;

    if (command_output_is_terminal())
        buf_putf(out, "%-4s %8s    %-*s  %s\n", "", "time", (int)MIN(widest, (size_t)200), "model",
                 "error");
    json_array_foreach(models, i, m)
    {
        struct str name = json_doc_str(json_doc_get(m, "model"));
        struct str error = json_doc_str(json_doc_get(m, "error"));
        size_t fill = widest - str_count_chars(name);

        if (width != SIZE_MAX)
            error = fitting(error, width > before + widest ? width - before - widest : 0);
        buf_putf(out, "%-4s %8.3f s  ", word(m), json_number_value(json_doc_get(m, "duration")));
        command_output_put_plain(out, name);
        for (size_t k = 0; error.len > 0 && k < fill + 2; k++)
            buf_put(out, STR(" "));
        command_output_put_plain(out, error);
        buf_put(out, STR("\n"));
    }
}

static void put_text(const json_t *target, struct buf *out)
{
    struct str error = json_doc_str(json_doc_get(target, "last_error"));

    put_table(json_doc_get(target, "latest_models"), out);
    buf_putf(out, "%.*s: %lld of %lld models answered\n",
             STR_ARG(json_doc_str(json_doc_get(target, "last_status"))),
             (long long)json_integer_value(json_doc_get(target, "last_success")),
             (long long)json_integer_value(json_doc_get(target, "last_total")));
    if (error.len > 0) {
        command_output_put_plain(out, error);
        buf_put(out, STR("\n"));
    }
}

/* A text as it is, a number as JSON writes it, null as nothing. */
static void put_csv_value(const json_t *v, struct buf *out)
{
    char *number;

    if (json_is_string(v)) {
        api_logs_read_csv_cell(out, json_doc_str(v));
        return;
    }
    number = json_is_number(v) || json_is_boolean(v)
                 ? json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))
                 : NULL;
    buf_putf(out, "%s", number ? number : "");
    free(number); /* jansson's */
}

/* The members of a model that every form tells, in this order. */
static const char *const columns[] = {
    "model",   "success",     "duration", "ttfb",  "ttft",
    "outcome", "status_code", "protocol", "route", "error",
};

static void put_csv(const json_t *target, struct buf *out)
{
    size_t i;
    json_t *m;

    for (size_t k = 0; k < ARRAY_LEN(columns); k++)
        buf_putf(out, "%s%s", k ? "," : "", columns[k]);
    buf_put(out, STR("\r\n"));
    json_array_foreach(json_doc_get(target, "latest_models"), i, m)
    {
        for (size_t k = 0; k < ARRAY_LEN(columns); k++) {
            if (k)
                buf_put(out, STR(","));
            put_csv_value(json_doc_get(m, columns[k]), out);
        }
        buf_put(out, STR("\r\n"));
    }
}

/* A member of the API's under our name; absent: null. */
static void put_member(json_t *to, const char *name, const json_t *from, const char *key)
{
    json_t *v = json_object_get(from, key);

    json_object_set_new(to, name, v ? json_incref(v) : json_null());
}

static void put_json(const json_t *target, struct buf *out)
{
    CLEANUP(json_doc_decrefp) json_t *doc = json_object();
    json_t *models = json_array(), *m;
    char *text;
    size_t i;

    put_member(doc, "channel_id", target, "id");
    put_member(doc, "channel", target, "name");
    put_member(doc, "run_id", target, "last_run_id");
    put_member(doc, "status", target, "last_status");
    put_member(doc, "success", target, "last_success");
    put_member(doc, "total", target, "last_total");
    put_member(doc, "error", target, "last_error");
    json_array_foreach(json_doc_get(target, "latest_models"), i, m)
    {
        json_t *row = json_object();

        for (size_t k = 0; k < ARRAY_LEN(columns); k++)
            put_member(row, columns[k], m, columns[k]);
        json_array_append_new(models, row);
    }
    json_object_set_new(doc, "models", models);
    text = json_dumps(doc, JSON_COMPACT | JSON_REAL_PRECISION(15));
    buf_putf(out, "%s\n", text ? text : "{}");
    free(text); /* jansson's */
}

/* Prints it and tells the exit code: 0 when every model answered. */
static int show(const struct option_set *o, const json_t *target)
{
    struct buf out = BUF_INIT(64u << 20); /* some times the longest answer */
    bool is_good = str_eq_c(json_doc_str(json_doc_get(target, "last_status")), "healthy");
    size_t i;
    json_t *m;
    int code;

    json_array_foreach(json_doc_get(target, "latest_models"), i, m) is_good &=
        json_is_true(json_doc_get(m, "success"));
    switch (command_output_form(o)) {
    case COMMAND_TEXT:
        put_text(target, &out);
        break;
    case COMMAND_JSON:
        put_json(target, &out);
        break;
    case COMMAND_CSV:
        put_csv(target, &out);
        break;
    }
    code = command_output_write(&out);
    buf_release(&out);
    return is_good ? code : APP_FAILED;
}

/* ---- the run ---- */

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
    if (json_is_true(json_doc_get(target, "running")) ||
        json_is_true(json_doc_get(target, "queued")))
        return false;
    return run_id == 0 || json_integer_value(json_doc_get(target, "last_run_id")) >= run_id;
}

static int wait_for_end(const struct option_set *o, int64_t id, int64_t run_id)
{
    char path[64];

    snprintf(path, sizeof(path), "/api/targets/%lld?history=0", (long long)id);
    for (unsigned n = 0; n < POLLS_MAX; n++) {
        CLEANUP(json_doc_decrefp) json_t *doc = NULL;
        const json_t *target;
        int code = ask_json(o, "GET", path, &doc);

        if (code != APP_OK)
            return code;
        target = json_doc_get(doc, "item");
        if (has_ended(target, run_id))
            return show(o, target);
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
        fprintf(stderr, "usage: gatehouse run CHANNEL [--json | --csv]\n");
        return APP_USAGE;
    }
    code = find_channel(o, words[0], &id);
    if (code == APP_OK)
        code = start_run(o, id, &run_id);
    return code == APP_OK ? wait_for_end(o, id, run_id) : code;
}
