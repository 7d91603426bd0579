/* main.c -- the command line: `gatehouse [command] [options]`, serve being the default. */
#include "app.h"
#include "app_check.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/option.h"
#include "command.h"
#include "command_output.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define WORDS_MAX    16
#define COMMANDS_MAX 16
#define EXIT_CODES                                                                                 \
    "\nExit codes: 0 well, 1 failed, 2 wrong usage, 3 the daemon is not reachable, 4 it refuses\n" \
    "the token, 78 bad configuration, 130 interrupted.\n"

const struct command commands[] = {
    {"serve", "serve [options]", "watch, meter, guard and route (the default)", NULL, "", NULL},
    {"import", "import FILE [--dry-run]", "take over a registry.db of API Monitor", command_import,
     "data_dir secret_key dry_run json",
     "Reads FILE and writes its channels with their ids, runs, settings and proxy keys into the "
     "data\n"
     "directory of a stopped daemon. FILE stays as it is. What came before is not taken twice.\n"},
    {"backup", "backup FILE", "write a copy of the database, from a running system too",
     command_backup, "data_dir secret_key json",
     "FILE must not exist. It appears when the copy is whole, readable by its owner alone. The "
     "key\n"
     "of the upstream keys is not in it.\n"},
    {"health", "health", "ask the running daemon whether it is well (exit 0 or 3)", command_health,
     "listen port base_path tls.cert ca_file url json",
     "On a terminal a few lines, else the JSON document of /api/health.\n"},
    {"run", "run CHANNEL", "check a channel now and show each model's result", command_run,
     "listen port base_path tls.cert ca_file url admin_token token json csv",
     "CHANNEL is a name or an id. Waits for the end of the check; exit 0 when every model "
     "answered,\n"
     "1 when one did not.\n"},
};
const size_t command_count = ARRAY_LEN(commands);

static int print_help(bool full)
{
    struct buf b = BUF_INIT(1 << 20);
    int code;

    buf_put(&b, STR("Usage: gatehouse [command] [options]\n\n"
                    "Watches, meters, guards and routes a team's LLM API traffic.\n\nCommands:\n"));
    for (size_t i = 0; i < command_count; i++)
        buf_putf(&b, "  %-26s %s\n", commands[i].usage, commands[i].help);
    buf_put(
        &b,
        STR("  COMMAND --help             what a command takes\n"
            "\n  -h, --help                 this text (--help: every option)\n"
            "  -V, --version              name and version\n"
            "      --build-info [--json]  versions of the compiler, the libraries and the page\n"
            "  -t, --check-config         check options and environment, exit 0 or 78\n"
            "      --dump-config          every option in force and what set it\n\n"
            "Options (flag > environment > stored setting > default):\n"));
    option_help(&b, full);
    buf_put(&b, STR("\nExamples:\n"
                    "  PORT=9000 gatehouse\n"
                    "  gatehouse serve --data-dir=/var/lib/gatehouse "
                    "--listen=127.0.0.1:8081\n" EXIT_CODES));
    code = command_output_write(&b);
    buf_release(&b);
    return code;
}

static int print_command_help(const struct command *command)
{
    struct buf b = BUF_INIT(1 << 20);
    int code;

    buf_putf(&b, "Usage: gatehouse %s [options]\n\n%s\nOptions:\n", command->usage, command->about);
    option_help_of(&b, str_of(command->options));
    buf_put(&b, STR(EXIT_CODES));
    code = command_output_write(&b);
    buf_release(&b);
    return code;
}

static const struct command *find_command(const char *word)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i].name, word) == 0)
            return &commands[i];
    }
    return NULL;
}

static int refuse_command(const char *word)
{
    const char *names[COMMANDS_MAX], *nearest;
    struct buf plain = BUF_INIT(1 << 20);

    static_assert(ARRAY_LEN(commands) <= COMMANDS_MAX, "a place each");
    for (size_t i = 0; i < command_count; i++)
        names[i] = commands[i].name;
    nearest = option_nearest_of(str_of(word), names, command_count);
    command_output_put_plain(&plain, str_cut_utf8(str_of(word), 60));
    if (nearest)
        fprintf(stderr, "gatehouse: no command '%s'; did you mean %s?\n", buf_cstr(&plain),
                nearest);
    else
        fprintf(stderr, "gatehouse: no command '%s'; see gatehouse --help\n", buf_cstr(&plain));
    buf_release(&plain);
    return APP_USAGE;
}

/* Words that stand before or among the options and are no option of the table. */
struct wishes {
    bool help, full_help, version, build_info, check, dump;
};

static const struct {
    const char *word;
    size_t wish; /* its place in struct wishes */
} wish_words[] = {
    {"-h", offsetof(struct wishes, help)},
    {"--help", offsetof(struct wishes, full_help)},
    {"-V", offsetof(struct wishes, version)},
    {"--version", offsetof(struct wishes, version)},
    {"--build-info", offsetof(struct wishes, build_info)},
    {"-t", offsetof(struct wishes, check)},
    {"--check-config", offsetof(struct wishes, check)},
    {"--dump-config", offsetof(struct wishes, dump)},
};

/* Takes the wishes before "--" out of argv; returns the new argc. */
static int take_wishes(int argc, char **argv, struct wishes *w)
{
    bool is_ended = false;
    int n = 0;

    for (int i = 0; i < argc; i++) {
        size_t k = 0;

        is_ended |= strcmp(argv[i], "--") == 0;
        while (k < ARRAY_LEN(wish_words) && strcmp(argv[i], wish_words[k].word) != 0)
            k++;
        if (is_ended || k == ARRAY_LEN(wish_words))
            argv[n++] = argv[i];
        else
            *(bool *)(void *)((char *)w + wish_words[k].wish) = true;
    }
    return n;
}

static enum log_format log_format_of(struct str name)
{
    if (str_eq_c(name, "json"))
        return LOG_JSON;
    return str_eq_c(name, "journal") ? LOG_JOURNAL : LOG_TEXT;
}

static void setup_log(const struct option_set *o)
{
    enum log_level level = LOG_INFO;

    if (log_level_parse(option_text(o, "log.level"), &level) < 0)
        level = LOG_INFO; /* not reached: the table's choices are its names */
    log_setup(level, log_format_of(option_text(o, "log.format")), STDERR_FILENO);
}

static int dump_config(const struct option_set *o)
{
    struct buf b = BUF_INIT(1 << 20);
    int code;

    option_dump(o, &b);
    code = command_output_write(&b);
    buf_release(&b);
    return code;
}

/* `name` is among the command's options. */
static bool command_takes(const struct command *command, const char *name)
{
    struct str names = str_of(command->options), one;

    while (str_split(&names, ' ', &one))
        if (str_eq_c(one, name))
            return true;
    return false;
}

/* A flag of the client commands that this one does not take would be silently without effect. */
static int refuse_flags(const struct command *command, const struct option_set *o)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const char *name = option_rows[i].name;
        char origin[128];

        if (!(option_rows[i].flags & OPTION_COMMAND) || option_origin(o, name) != OPTION_FLAG ||
            command_takes(command, name))
            continue;
        fprintf(stderr, "gatehouse: %s takes no %s; see gatehouse %s --help\n", command->name,
                option_origin_text(o, name, origin, sizeof(origin)), command->name);
        return APP_USAGE;
    }
    if (option_bool(o, "json") && option_bool(o, "csv")) {
        fprintf(stderr, "gatehouse: --json and --csv exclude each other\n");
        return APP_USAGE;
    }
    return APP_OK;
}

static void on_interrupt(int signum UNUSED)
{
    _exit(APP_INTERRUPTED); /* a client owns nothing that a kill would not leave as well */
}

static int run_command(const struct command *command, const struct option_set *o,
                       const char *const *words, size_t count)
{
    struct sigaction act = {.sa_handler = on_interrupt};
    int code = refuse_flags(command, o);

    if (code != APP_OK)
        return code;
    sigaction(SIGINT, &act, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of writing */
    setup_log(o);
    return command->run(o, words, count);
}

static int serve(struct option_set **o, const char *const *words, size_t count)
{
    int code = refuse_flags(&commands[0], *o);

    if (code != APP_OK)
        return code;
    if (count != 0) {
        fprintf(stderr, "gatehouse: serve takes no word '%s'; see gatehouse --help\n", words[0]);
        return APP_USAGE;
    }
    setup_log(*o);
    return app_serve(TAKE(*o)); /* takes it over */
}

/* Help and versions are there whatever the options say. False: it was none of them. */
static bool answer(const struct wishes *w, const struct command *command,
                   const struct option_set *o, int *ret_code)
{
    *ret_code = APP_OK;
    if ((w->help || w->full_help) && command && command->about)
        *ret_code = print_command_help(command);
    else if (w->help || w->full_help)
        *ret_code = print_help(w->full_help);
    else if (w->version)
        printf("gatehouse %s\n", GATEHOUSE_VERSION);
    else if (w->build_info)
        *ret_code = command_build_info(o);
    else
        return false;
    return true;
}

/* Flags, then environment, then what both say together. Returns an exit code; with --check-config
 * every fault is told, else the first bad flag ends it. */
static int read_options(struct option_set *o, const struct wishes *w, const struct command *command,
                        int argc, char **argv, const char **words, size_t *ret_count)
{
    struct buf problems = BUF_INIT(256 * 1024);
    struct err e = {0};
    size_t faults = 0;

    if (w->check) {
        faults = (size_t)option_set_args_all(o, argc, argv, words, WORDS_MAX, ret_count, &problems);
    } else if (option_set_args(o, argc, argv, words, WORDS_MAX, ret_count, &e) < 0) {
        fprintf(stderr, "gatehouse: %s\n", e.text);
        return APP_USAGE;
    }
    faults += (size_t)option_set_env(o, environ, &problems); /* a count, never negative */
    faults += app_check(o, w->check || !command || !command->run, &problems);
    if (!w->help && !w->full_help && !w->version && !w->build_info)
        fprintf(stderr, "%s", buf_cstr(&problems));
    buf_release(&problems);
    return faults == 0 ? APP_OK : APP_BAD_CONFIG;
}

static int run(struct option_set **o, int argc, char **argv)
{
    struct wishes w = {0};
    const struct command *command = NULL;
    const char *words[WORDS_MAX];
    size_t count = 0;
    int config, code;

    argc = take_wishes(argc, argv, &w);
    if (argc > 0 && argv[0][0] != '-') {
        command = find_command(argv[0]);
        if (!command)
            return refuse_command(argv[0]);
        argv++;
        argc--;
    }
    config = read_options(*o, &w, command, argc, argv, words, &count);
    if (config == APP_USAGE || answer(&w, command, *o, &code))
        return config == APP_USAGE ? config : code;
    if (config != APP_OK)
        return config;
    if (w.dump)
        return dump_config(*o);
    if (w.check) {
        printf("configuration is fine\n");
        return APP_OK;
    }
    return command && command->run ? run_command(command, *o, words, count)
                                   : serve(o, words, count);
}

int main(int argc, char **argv)
{
    struct option_set *o = option_set_new();
    int code = run(&o, argc - 1, argv + 1);

    option_set_free(o);
    if (fflush(stdout) != 0 && code == APP_OK) {
        fprintf(stderr, "gatehouse: cannot write: %s\n", strerror(errno));
        code = APP_FAILED;
    }
    return code;
}
