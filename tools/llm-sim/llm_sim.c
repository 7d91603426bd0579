/* llm_sim.c -- a scripted LLM upstream for tests and benchmarks, on loopback alone. Not installed.
 *
 * llm-sim [--bind ADDR] [--port N] [--key KEY] [--model ID]... [--models N] [--rule RULE]... [--strict]
 *
 * Speaks OpenAI chat completions, responses and embeddings, Anthropic messages and Gemini
 * generateContent, streaming and not, and their model lists. What it does wrong is told by rules
 * "key=value;key=value": by --rule, by POST /_sim/behaviour, or behind the first ';' of a model's
 * name ("gpt-4o;fault=reset;at=100"). README.md has the keys, the faults and the control API. */
#include "sim.h"

#include "net/addr.h"

#include <getopt.h>
#include <signal.h>

static struct sim sim;

static NORETURN void die(const char *what, const char *detail)
{
    fprintf(stderr, "llm-sim: %s%s%s\n", what, detail[0] ? ": " : "", detail);
    exit(64);
}

static void add_model(struct sim_models *m, const char *id)
{
    m->ids = xrealloc(m->ids, (m->count + 1) * sizeof(*m->ids));
    m->ids[m->count++] = xstrdup(id);
}

static uint64_t number(const char *text, uint64_t max, const char *what)
{
    uint64_t n;

    if (str_to_u64(str_of(text), max, &n) < 0)
        die(what, "not a number in range");
    return n;
}

static void add_numbered_models(struct sim_models *m, uint64_t n)
{
    char id[40];

    for (uint64_t i = 1; i <= n; i++) {
        snprintf(id, sizeof(id), "sim-model-%04llu", (unsigned long long)i);
        add_model(m, id);
    }
}

static void on_signal(uv_signal_t *h, int number_)
{
    sim_conn_close_all(&sim);
    uv_close((uv_handle_t *)&sim.listener, NULL);
    uv_close((uv_handle_t *)h, NULL);
    uv_stop(&sim.loop);
}

static void start(const char *bind_text, uint16_t port)
{
    struct sockaddr_storage to;
    struct addr a;
    int len = sizeof(to), e;
    char text[ADDR_TEXT_SIZE];
    bool is_ip6;

    if (addr_parse(str_of(bind_text), &a) < 0 || !addr_is_loopback(&a))
        die("--bind takes a loopback address only", bind_text);
    is_ip6 = a.family == 6;
    e = is_ip6 ? uv_ip6_addr(bind_text, port, (struct sockaddr_in6 *)&to) : uv_ip4_addr(bind_text, port, (struct sockaddr_in *)&to);
    uv_tcp_init(&sim.loop, &sim.listener);
    sim.listener.data = &sim;
    if (e == 0)
        e = uv_tcp_bind(&sim.listener, (const struct sockaddr *)&to, 0);
    if (e == 0)
        e = uv_listen((uv_stream_t *)&sim.listener, 4096, sim_conn_accept);
    if (e == 0)
        e = uv_tcp_getsockname(&sim.listener, (struct sockaddr *)&to, &len);
    if (e != 0)
        die("cannot listen", uv_strerror(e));
    port = ntohs(is_ip6 ? ((const struct sockaddr_in6 *)&to)->sin6_port : ((const struct sockaddr_in *)&to)->sin_port);
    addr_text(&a, text);
    printf(is_ip6 ? "listening [%s]:%u\n" : "listening %s:%u\n", text, port);
    fflush(stdout);
}

static void release(void)
{
    sim_control_reset(&sim);
    sim_models_set(&sim.models, NULL, 0);
    sim_models_set(&sim.first_models, NULL, 0);
    sim_rules_free(sim.rules);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"bind", required_argument, NULL, 'b'},  {"port", required_argument, NULL, 'p'}, {"key", required_argument, NULL, 'k'},
        {"model", required_argument, NULL, 'm'}, {"models", required_argument, NULL, 'n'}, {"rule", required_argument, NULL, 'r'},
        {"strict", no_argument, NULL, 's'},      {NULL, 0, NULL, 0},
    };
    const char *bind_text = "127.0.0.1";
    uint16_t port = 0;
    char why[200] = "";
    uv_signal_t on_int, on_term;
    int o;

    sim.rules = sim_rules_new();
    list_init(&sim.conns);
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'b':
            bind_text = optarg;
            break;
        case 'p':
            port = (uint16_t)number(optarg, UINT16_MAX, "--port"); /* bounded there */
            break;
        case 'k':
            sim.key = optarg;
            break;
        case 'm':
            add_model(&sim.first_models, optarg);
            break;
        case 'n':
            add_numbered_models(&sim.first_models, number(optarg, 100000, "--models"));
            break;
        case 'r':
            if (!sim_rules_add_text(sim.rules, str_of(optarg), true, why))
                die("--rule", why);
            break;
        case 's':
            sim.is_strict = true;
            break;
        default:
            die("usage: [--bind ADDR] [--port N] [--key KEY] [--model ID]... [--models N] [--rule RULE]... [--strict]", "");
        }
    }
    if (sim.first_models.count == 0) {
        add_model(&sim.first_models, "gpt-4o-mini");
        add_model(&sim.first_models, "claude-sonnet-4-5");
        add_model(&sim.first_models, "gemini-2.5-flash");
    }
    sim_control_reset(&sim);
    signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&sim.loop) != 0)
        die("no event loop", "");
    uv_signal_init(&sim.loop, &on_int);
    uv_signal_init(&sim.loop, &on_term);
    uv_unref((uv_handle_t *)&on_int);
    uv_unref((uv_handle_t *)&on_term);
    start(bind_text, port);
    uv_signal_start_oneshot(&on_int, on_signal, SIGINT);
    uv_signal_start_oneshot(&on_term, on_signal, SIGTERM);
    uv_run(&sim.loop, UV_RUN_DEFAULT);
    uv_run(&sim.loop, UV_RUN_NOWAIT); /* close callbacks */
    release();
    return 0;
}
