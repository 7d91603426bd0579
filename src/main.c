/* main.c -- the command line: `gatehouse [command] [options]`, serve being the default. */
#include "app.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/option.h"
#include "app_limits.h"
#include "command.h"
#include "net/listener.h"

#include <unistd.h>

#define WORDS_MAX 16

const struct command commands[] = {
    {"serve", "serve [options]", "watch, meter, guard and route (the default)", NULL},
    {"import", "import FILE [--dry-run]", "take over a registry.db of API Monitor", command_import},
    {"backup", "backup FILE", "write a copy of the database, from a running system too", command_backup},
    {"health", "health", "ask the running daemon whether it is well (exit 0 or 3)", command_health},
    {"run", "run CHANNEL", "check a channel now and show each model's result", command_run},
};
const size_t command_count = ARRAY_LEN(commands);

static void print_help(bool full)
{
    struct buf b = BUF_INIT(1 << 20);

    buf_put(&b, STR("Usage: gatehouse [command] [options]\n\n"
                    "Watches, meters, guards and routes a team's LLM API traffic.\n\nCommands:\n"));
    for (size_t i = 0; i < command_count; i++)
        buf_putf(&b, "  %-26s %s\n", commands[i].usage, commands[i].help);
    buf_put(&b, STR("\n  -h, --help                 this text (--help: every option)\n"
                    "  -V, --version              name and version\n"
                    "  -t, --check-config         check options and environment, exit 0 or 78\n"
                    "      --dump-config          every option in force and what set it\n\n"
                    "Options (flag > environment > stored setting > default):\n"));
    option_help(&b, full);
    buf_put(&b, STR("\nExamples:\n"
                    "  PORT=9000 gatehouse\n"
                    "  gatehouse serve --data-dir=/var/lib/gatehouse --listen=127.0.0.1:8081\n"));
    fwrite(buf_cstr(&b), 1, buf_len(&b), stdout);
    buf_release(&b);
}

static const struct command *find_command(const char *word)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i].name, word) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Words that stand before or among the options and are no option of the table. */
struct wishes {
    bool help, full_help, version, check, dump;
};

/* Takes the wishes out of argv; returns the new argc. */
static int take_wishes(int argc, char **argv, struct wishes *w)
{
    int n = 0;

    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];

        if (strcmp(a, "-h") == 0)
            w->help = true;
        else if (strcmp(a, "--help") == 0)
            w->full_help = true;
        else if (strcmp(a, "-V") == 0 || strcmp(a, "--version") == 0)
            w->version = true;
        else if (strcmp(a, "-t") == 0 || strcmp(a, "--check-config") == 0)
            w->check = true;
        else if (strcmp(a, "--dump-config") == 0)
            w->dump = true;
        else
            argv[n++] = argv[i];
    }
    return n;
}

static enum log_format log_format_of(struct str name)
{
    if (str_eq_c(name, "json"))
        return LOG_JSON;
    return str_eq_c(name, "journal") ? LOG_JOURNAL : LOG_TEXT;
}

/* Everything that can be wrong without opening data or sockets, each fault on its line. */
static size_t check_options(const struct option_set *o, struct buf *problems)
{
    struct app_limits limits;
    struct egress *egress = NULL;
    struct listener_spec spec;
    enum log_level level;
    struct err e = {0};
    struct str item;
    size_t faults = 0;

    if (app_limits_read(&limits, o, &e) < 0)
        faults++, buf_putf(problems, "%s\n", e.text);
    app_limits_release(&limits);
    if (app_limits_egress(o, &egress, &e) < 0)
        faults++, buf_putf(problems, "%s\n", e.text);
    egress_free(egress);
    for (size_t i = 0; (item = option_item(o, "listen", i)).ptr; i++) {
        if (listener_parse(item, &spec, &e) < 0)
            faults++, buf_putf(problems, "%s\n", e.text);
    }
    if (log_level_parse(option_text(o, "log.level"), &level) < 0)
        faults++, buf_putf(problems, "log.level: '%.*s' is none of error, warn, info, debug\n",
                           STR_ARG(option_text(o, "log.level")));
    return faults;
}

static void setup_log(const struct option_set *o)
{
    enum log_level level = LOG_INFO;

    if (log_level_parse(option_text(o, "log.level"), &level) < 0)
        level = LOG_INFO; /* not reached: check_options() refused it */
    log_setup(level, log_format_of(option_text(o, "log.format")), STDERR_FILENO);
}

static int print_wishes(const struct wishes *w, const struct option_set *o)
{
    struct buf b = BUF_INIT(1 << 20);

    if (w->help || w->full_help) {
        print_help(w->full_help);
    } else if (w->version) {
        printf("gatehouse %s\n", GATEHOUSE_VERSION);
    } else if (w->dump) {
        option_dump(o, &b);
        fwrite(buf_cstr(&b), 1, buf_len(&b), stdout);
    } else {
        printf("configuration is fine\n");
    }
    buf_release(&b);
    return APP_OK;
}

int main(int argc, char **argv)
{
    struct wishes w = {0};
    int n = take_wishes(argc - 1, argv + 1, &w);
    char **args = argv + 1;
    const struct command *command = NULL;
    const char *words[WORDS_MAX];
    size_t word_count = 0;
    struct option_set *o = option_set_new();
    struct buf problems = BUF_INIT(64 * 1024);
    struct err e = {0};
    size_t faults;
    int code;

    if (n > 0 && args[0][0] != '-') {
        command = find_command(args[0]);
        if (!command) {
            fprintf(stderr, "gatehouse: no command '%s'; see gatehouse --help\n", args[0]);
            option_set_free(o);
            return APP_USAGE;
        }
        args++;
        n--;
    }
    if (option_set_args(o, n, args, words, WORDS_MAX, &word_count, &e) < 0) {
        fprintf(stderr, "gatehouse: %s\n", e.text);
        option_set_free(o);
        return APP_USAGE;
    }
    faults = (size_t)option_set_env(o, environ, &problems); /* warnings are lines without a fault */
    faults += check_options(o, &problems);
    if (faults == 0 && !w.help && !w.full_help && !w.version)
        fprintf(stderr, "%s", buf_cstr(&problems));
    if (faults != 0 && !w.help && !w.full_help && !w.version) {
        fprintf(stderr, "%s", buf_cstr(&problems));
        code = APP_BAD_CONFIG;
    } else if (w.help || w.full_help || w.version || w.check || w.dump) {
        code = print_wishes(&w, o);
    } else if (command && command->run) {
        setup_log(o);
        code = command->run(o, words, word_count);
    } else if (word_count != 0) {
        fprintf(stderr, "gatehouse: serve takes no word '%s'; see gatehouse --help\n", words[0]);
        code = APP_USAGE;
    } else {
        setup_log(o);
        code = app_serve(TAKE(o)); /* takes it over */
    }
    buf_release(&problems);
    option_set_free(o);
    return code;
}
