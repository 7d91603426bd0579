/* curl_baseline.c -- the calls of the prober on plain libcurl, for a comparison of CPU: multi_socket
 * on epoll, handles reused, answers collected and thrown away. Nothing is judged, logged or stored.
 *
 * Each channel lists its models (GET), then probes them (POST), at most <per> at once; at most
 * <channels at once> of them run. Headers and body are files, so that they are the daemon's. */
#include <curl/curl.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX  4096
#define EVENTS_MAX 256

struct channel {
    unsigned left;    /* models not yet asked */
    unsigned running; /* of its calls */
};

struct call {
    CURL *easy;
    struct channel *channel;
    bool is_list;
    char *body;
    size_t len, cap;
    struct call *next_free;
};

static struct {
    const char *list_url, *probe_url;
    struct curl_slist *list_headers, *probe_headers;
    char **bodies; /* one a model */
    unsigned channels, models, at_once, per;
} cfg;

static CURLM *multi;
static struct call *free_calls;
static int epoll_fd;
static long timeout_ms = -1;
static unsigned started, running, done, failed;

static void die(const char *what)
{
    fprintf(stderr, "curl_baseline: %s\n", what);
    exit(1);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = calloc(1, 65536);

    if (!f || !text)
        die(path);
    if (fread(text, 1, 65535, f) == 0)
        die(path);
    fclose(f);
    return text;
}

static struct curl_slist *read_headers(const char *path)
{
    struct curl_slist *list = NULL;
    char *text = read_file(path), *save = NULL;

    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        list = curl_slist_append(list, line);
    free(text);
    return curl_slist_append(list, "Expect:");
}

/* The body with each "@MODEL@" replaced. */
static char *body_of(const char *text, unsigned model)
{
    char *out = NULL;
    const char *at = strstr(text, "@MODEL@");

    if (!at)
        return strdup(text);
    if (asprintf(&out, "%.*ssim-model-%04u%s", (int)(at - text), text, model + 1, at + 7) < 0)
        die("no memory");
    return out;
}

static size_t on_write(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;

    (void)size;
    if (c->len + n > c->cap) {
        c->cap = (c->len + n) * 2;
        c->body = realloc(c->body, c->cap);
        if (!c->body)
            die("no memory");
    }
    memcpy(c->body + c->len, p, n);
    c->len += n;
    return n;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct epoll_event e = {.data.fd = fd};

    (void)easy;
    (void)ctx;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    e.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
               (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    epoll_ctl(epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    if (!known)
        curl_multi_assign(multi, fd, &multi);
    return 0;
}

static int on_timer(CURLM *m, long ms, void *ctx)
{
    (void)m;
    (void)ctx;
    timeout_ms = ms;
    return 0;
}

static void start(struct channel *ch, bool is_list, unsigned model)
{
    struct call *c = free_calls;

    if (c) {
        free_calls = c->next_free;
        curl_easy_reset(c->easy);
    } else {
        c = calloc(1, sizeof(*c));
        if (!c || !(c->easy = curl_easy_init()))
            die("no memory");
    }
    c->channel = ch;
    c->is_list = is_list;
    c->len = 0;
    ch->running++;
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_URL, is_list ? cfg.list_url : cfg.probe_url);
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, is_list ? 1L : 0L); /* what is called ping */
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, is_list ? cfg.list_headers : cfg.probe_headers);
    if (!is_list) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, cfg.bodies[model]);
    }
    curl_multi_add_handle(multi, c->easy);
}

static void start_channels(void)
{
    while (running < cfg.at_once && started < cfg.channels) {
        struct channel *ch = calloc(1, sizeof(*ch));

        if (!ch)
            die("no memory");
        ch->left = cfg.models;
        started++;
        running++;
        start(ch, true, 0);
    }
}

static void finish(struct call *c, CURLcode code)
{
    struct channel *ch = c->channel;
    long status = 0;

    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    failed += code != CURLE_OK || status != 200;
    done += !c->is_list;
    curl_multi_remove_handle(multi, c->easy);
    c->next_free = free_calls;
    free_calls = c;
    ch->running--;
    while (ch->left > 0 && ch->running < cfg.per)
        start(ch, false, cfg.models - ch->left--);
    if (ch->running > 0)
        return;
    free(ch);
    running--;
    start_channels();
}

static void collect(void)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(multi, &left)) != NULL) {
        struct call *c = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        finish(c, m->data.result);
    }
}

static void turn(void)
{
    struct epoll_event events[EVENTS_MAX];
    int still, n = epoll_wait(epoll_fd, events, EVENTS_MAX,
                              timeout_ms < 0 || timeout_ms > 1000 ? 1000 : (int)timeout_ms);

    if (n <= 0)
        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &still);
    for (int i = 0; i < n; i++) {
        int flags = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                    (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                    (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

        curl_multi_socket_action(multi, events[i].data.fd, flags, &still);
    }
    if (n > 0 && timeout_ms == 0)
        curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &still);
    collect();
}

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: curl_baseline <list url> <probe url> <channels> <models> "
                                "<channels at once> <per channel> <list headers> <probe headers> <body>";

    if (argc != 10)
        die(usage);
    cfg.list_url = argv[1];
    cfg.probe_url = argv[2];
    cfg.channels = (unsigned)atol(argv[3]);
    cfg.models = (unsigned)atol(argv[4]);
    cfg.at_once = (unsigned)atol(argv[5]);
    cfg.per = (unsigned)atol(argv[6]);
    if (cfg.channels == 0 || cfg.models == 0 || cfg.per == 0 || cfg.at_once * cfg.per > CALLS_MAX)
        die(usage);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cfg.list_headers = read_headers(argv[7]);
    cfg.probe_headers = read_headers(argv[8]);
    cfg.bodies = calloc(cfg.models, sizeof(*cfg.bodies));

    char *body = read_file(argv[9]);

    for (unsigned i = 0; i < cfg.models; i++)
        cfg.bodies[i] = body_of(body, i);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)(cfg.at_once * cfg.per));

    double began = cpu_s();

    start_channels();
    while (running > 0)
        turn();
    printf("probes=%u failed=%u cpu_us=%.0f\n", done, failed, (cpu_s() - began) * 1e6);
    return failed > 0;
}
