/* app.c -- options -> build everything -> run -> tear down in reverse.
 *
 *   main thread   control loop: signals, prober, retention, shutdown clock
 *   worker n      loop n: listeners, connections, API
 *   ledger        ring -> transaction -> subscribers (health, board, live)
 *   store         one writer, a few readers
 *
 * Shutdown (ruling 18): one clock from the first SIGTERM. At 0 nothing new is taken, probes may end
 * until 8 s, client streams until `drain`; the process leaves as soon as all are idle. A second
 * SIGTERM leaves within a second. Either way the ledger is flushed. */
#include "app.h"

#include "api/api.h"
#include "app_limits.h"
#include "app_listen.h"
#include "app_registry.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/secret.h"
#include "base/tz.h"
#include "catalog/catalog.h"
#include "health/board.h"
#include "health/health.h"
#include "ledger/ledger.h"
#include "ledger/retention.h"
#include "net/curl_client.h"
#include "net/http_server.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/tls.h"
#include "probe/prober.h"
#include "store/store.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PROBE_GRACE_MS     8000u /* ruling 18 */
#define LAST_CHANCE_MS     500u  /* after a second SIGTERM */
#define RETENTION_EVERY_MS (10u * 60 * 1000)
#define RETENTION_PAUSE_MS 200u /* between steps while there is more to do */
#define IDLE_CHECK_MS      50u  /* while draining */
#define BOARD_RETRY_MS     1000u

struct app;

struct worker { /* one thread, one loop, one server */
    struct app *app;
    struct loop *loop;
    struct http_server *server; /* owned by its loop */
    pthread_t thread;
    struct loop_msg drain_msg, close_msg;
    atomic_size_t connections; /* told by its loop while draining */
    struct loop_timer count_timer;
};

struct app {
    struct option_set *options;
    struct app_limits limits;
    struct store *store;
    struct catalog *catalog;
    struct ledger *ledger;
    struct board *board;
    struct health *health;
    struct egress *egress;
    struct prober *prober;
    struct api *api;
    struct tls_server *tls;
    struct http_shared *shared;
    struct loop *control;
    struct worker *workers;
    unsigned worker_count, started_count;
    struct app_listen listen;

    uv_signal_t signals[4];
    struct loop_timer retention_timer, idle_timer, board_timer;
    struct store_job retention_job, board_job;
    struct retention_config retention;
    bool is_configured; /* the options are good: what fails now is no fault of theirs */
    bool retention_more, is_stopping, is_forced, prober_stopped;
    mono_ms stop_at, force_at; /* first and second SIGTERM */
    struct loop_msg settings_msg;
};

/* ---- retention ---- */

static int retention_run(struct store_job *j, struct store_conn *c)
{
    struct app *app = container_of(j, struct app, retention_job);

    return retention_step(c, &app->retention, clock_utc_ms(), &app->retention_more, &j->err);
}

static void retention_done(struct store_job *j)
{
    struct app *app = container_of(j, struct app, retention_job);

    if (j->rc < 0)
        log_warn("retention", "step failed, trying again later reason=\"%s\"", j->err.text);
    if (!app->is_stopping)
        loop_timer_set(&app->retention_timer,
                       j->rc == 0 && app->retention_more ? RETENTION_PAUSE_MS : RETENTION_EVERY_MS);
}

static void on_retention_timer(struct loop_timer *t)
{
    struct app *app = container_of(t, struct app, retention_timer);

    app->retention_job = (struct store_job){
        .reply_loop = app->control, .run = retention_run, .done = retention_done};
    if (store_write(app->store, &app->retention_job) < 0)
        loop_timer_set(t, RETENTION_EVERY_MS);
}

/* ---- workers ---- */

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    loop_run(w->loop);
    return NULL;
}

static void worker_count(struct loop_timer *t)
{
    struct worker *w = container_of(t, struct worker, count_timer);

    atomic_store(&w->connections, http_server_connections(w->server));
    loop_timer_set(t, IDLE_CHECK_MS);
}

static void worker_drain(struct loop_msg *m)
{
    struct worker *w = container_of(m, struct worker, drain_msg);

    http_server_drain(w->server);
    api_drain(w->app->api, w->loop);
    worker_count(&w->count_timer);
}

static void worker_close(struct loop_msg *m)
{
    struct worker *w = container_of(m, struct worker, close_msg);

    loop_timer_cancel(&w->count_timer);
    http_server_close(w->server);
    loop_stop(w->loop);
}

static int worker_init(struct app *app, struct worker *w, unsigned index, struct err *reterr)
{
    char name[16];
    struct http_server_config cfg = app->limits.server;

    snprintf(name, sizeof(name), "loop-%u", index);
    w->app = app;
    w->loop = loop_new(name, index);
    loop_timer_init(&w->count_timer, w->loop, worker_count);
    atomic_store(&w->connections, SIZE_MAX);
    cfg.shared = app->shared;
    cfg.on_request = api_on_request;
    cfg.format_error = api_format_error;
    cfg.ctx = app->api;
    api_attach_loop(app->api, w->loop);
    w->server = http_server_new(w->loop, &cfg);
    return app_listen_worker(&app->listen, index, w->server, app->tls, reterr);
}

/* ---- shutdown ---- */

static void close_all(struct app *app)
{
    for (unsigned i = 0; i < app->started_count; i++)
        loop_post(app->workers[i].loop, &app->workers[i].close_msg, worker_close);
    loop_timer_cancel(&app->retention_timer);
    loop_timer_cancel(&app->board_timer);
    for (size_t i = 0; i < ARRAY_LEN(app->signals); i++)
        uv_close((uv_handle_t *)&app->signals[i], NULL);
    loop_stop(app->control);
}

static bool workers_idle(const struct app *app)
{
    for (unsigned i = 0; i < app->started_count; i++) {
        if (atomic_load(&app->workers[i].connections) != 0)
            return false;
    }
    return true;
}

static void on_idle_timer(struct loop_timer *t)
{
    struct app *app = container_of(t, struct app, idle_timer);
    mono_ms waited = loop_now(app->control) - app->stop_at;
    uint64_t drain_ms = (uint64_t)option_int(app->options, "drain");
    bool is_late = waited >= MAX(drain_ms, (uint64_t)PROBE_GRACE_MS) ||
                   (app->is_forced && loop_now(app->control) - app->force_at >= LAST_CHANCE_MS);

    if ((app->prober_stopped && (app->is_forced || workers_idle(app) || waited >= drain_ms)) ||
        is_late) {
        log_info("app", "stopped after_ms=%llu", (unsigned long long)waited);
        close_all(app);
        return;
    }
    loop_timer_set(t, IDLE_CHECK_MS);
}

static void on_prober_stopped(void *ctx)
{
    ((struct app *)ctx)->prober_stopped = true;
}

static void stop(struct app *app, const char *why)
{
    if (app->is_stopping) {
        if (app->is_forced)
            return;
        log_info("app", "second signal, leaving at once");
        app->is_forced = true;
        app->force_at = loop_now(app->control);
        prober_stop(app->prober, 0, on_prober_stopped, app);
        loop_timer_set(&app->idle_timer, 0);
        return;
    }
    log_info("app", "stopping cause=%s", why);
    app->is_stopping = true;
    app->stop_at = loop_now(app->control);
    for (unsigned i = 0; i < app->started_count; i++)
        loop_post(app->workers[i].loop, &app->workers[i].drain_msg, worker_drain);
    prober_stop(app->prober, PROBE_GRACE_MS, on_prober_stopped, app);
    loop_timer_set(&app->idle_timer, 0);
}

static void reload(struct app *app)
{
    struct err e = {0};

    if (!app->tls) {
        log_info("app", "reload: nothing to read again (no TLS certificate is configured)");
        return;
    }
    if (tls_server_reload(app->tls, &e) < 0)
        log_error("app", "reload: the old certificate stays reason=\"%s\"", e.text);
    else
        log_info("app", "reload: certificate read again");
}

/* info -> debug -> warn -> info; the change itself is always told. */
static void cycle_log_level(void)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    enum log_level now = log_level_get(), next = LOG_INFO;

    static_assert(ARRAY_LEN(names) == LOG_LEVELS, "a name each");
    if (now == LOG_INFO)
        next = LOG_DEBUG;
    else if (now == LOG_DEBUG)
        next = LOG_WARN;
    log_level_set(LOG_INFO);
    log_info("app", "log level changed level=%s", names[next]);
    log_level_set(next);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct app *app = s->data;

    switch (signum) {
    case SIGTERM:
        stop(app, "SIGTERM");
        break;
    case SIGINT:
        stop(app, "SIGINT");
        break;
    case SIGHUP:
        reload(app);
        break;
    case SIGUSR1:
        cycle_log_level();
        break;
    }
}

/* ---- wiring ---- */

static void settings_changed(struct loop_msg *m)
{
    struct app *app = container_of(m, struct app, settings_msg);
    struct catalog_snapshot *s = catalog_latest(app->catalog);
    struct str enabled = api_setting(app->api, s, "log_cleanup_enabled");
    struct str max_mb = api_setting(app->api, s, "log_max_size_mb");
    bool is_enabled = true;
    int64_t mb = 0;

    if (option_parse_bool(enabled, &is_enabled) == 0 && str_to_i64(max_mb, 0, INT32_MAX, &mb) == 0)
        prober_set_log_cleanup(app->prober, is_enabled, mb);
    catalog_unref(s);
}

static void on_settings(void *ctx) /* control loop */
{
    settings_changed(&((struct app *)ctx)->settings_msg);
}

static void process_setup(void)
{
    struct rlimit lim;
    sigset_t set;

    umask(0077);
    prctl(PR_SET_DUMPABLE, 0); /* no core holds a key; no ptrace by the same user */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim); /* lower is survived: accept stops at the limit */
    }
    mallopt(M_ARENA_MAX, 2); /* an arena a thread costs memory and buys nothing here */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int open_data(struct app *app, struct err *reterr)
{
    const struct option_set *o = app->options;
    struct store_config store_cfg = {.data_dir = app->limits.data_dir,
                                     .readers = (unsigned)option_int(o, "store.readers")};
    struct catalog_config catalog_cfg;
    struct ledger_config ledger_cfg;
    int rc;

    channel_set_default_interval((int)option_int(o, "default_interval_min"));
    rc = store_open(&store_cfg, &app->store, reterr);
    if (rc < 0)
        return rc;
    if (store_is_exposed(app->store))
        log_warn("app", "others can read the data directory; chmod 700 it dir=%s",
                 store_data_dir(app->store));
    catalog_cfg =
        (struct catalog_config){.store = app->store, .secret_key = option_text(o, "secret_key")};
    rc = catalog_open(&catalog_cfg, &app->catalog, reterr);
    if (rc < 0)
        return rc;
    rc = app_registry_take_over(app->catalog, store_data_dir(app->store), reterr);
    if (rc < 0)
        return rc;
    ledger_cfg = (struct ledger_config){.store = app->store,
                                        .spool_max_bytes = (uint64_t)option_int(o, "spool_bytes"),
                                        .timezone = app->limits.timezone};
    return ledger_open(&ledger_cfg, &app->ledger, reterr);
}

/* The board is read while the house serves already; routes that show it wait. A reader has 2 s at a
 * time, so a large house on a cold disk takes several goes. */
static int board_run(struct store_job *j, struct store_conn *c)
{
    struct app *app = container_of(j, struct app, board_job);

    return board_load(app->board, c, &j->err);
}

static void load_board(struct app *app);

static void board_done(struct store_job *j)
{
    struct app *app = container_of(j, struct app, board_job);

    if (j->rc == 0 || app->is_stopping)
        return;
    if (j->rc != ERR_TIMEOUT)
        log_error("app", "the newest results cannot be read, trying again reason=\"%s\"",
                  j->err.text);
    loop_timer_set(&app->board_timer, j->rc == ERR_TIMEOUT ? 0 : BOARD_RETRY_MS);
}

static void on_board_timer(struct loop_timer *t)
{
    load_board(container_of(t, struct app, board_timer));
}

static void load_board(struct app *app)
{
    app->board_job =
        (struct store_job){.reply_loop = app->control, .run = board_run, .done = board_done};
    if (store_read(app->store, &app->board_job) < 0)
        loop_timer_set(&app->board_timer, BOARD_RETRY_MS);
}

static int build_domain(struct app *app, struct err *reterr)
{
    const struct option_set *o = app->options;
    struct health_config health_cfg = {.open_after = 3, .open_ms = 30000, .open_max_ms = 600000};

    app->board = board_new();
    app->health = health_new(&health_cfg);
    ledger_subscribe(app->ledger, board_on_ledger, app->board);
    ledger_subscribe(app->ledger, health_on_ledger, app->health);
    app->control = loop_new("control", UINT32_MAX);
    catalog_attach(app->catalog, app->control, NULL, NULL);

    struct prober_config prober_cfg = {
        .loop = app->control,
        .catalog = app->catalog,
        .board = app->board,
        .ledger = app->ledger,
        .store = app->store,
        .egress = app->egress,
        .data_dir = app->limits.data_dir,
        .ca_file = app->limits.ca_file,
        .proxy = app->limits.outbound_proxy,
        .user_agent = app->limits.user_agent,
        .detect_concurrency = (unsigned)option_int(o, "detect_concurrency"),
        .max_parallel_targets = (unsigned)option_int(o, "max_parallel_targets"),
        .manual_parallel = (unsigned)option_int(o, "manual_parallel"),
    };
    return prober_new(&prober_cfg, &app->prober, reterr);
}

static int build_api(struct app *app, struct buf *first, struct err *reterr)
{
    struct api_config cfg = {
        .base_path = app->limits.base_path,
        .options = app->options,
        .store = app->store,
        .catalog = app->catalog,
        .ledger = app->ledger,
        .board = app->board,
        .health = app->health,
        .prober = app->prober,
        .egress = app->egress,
        .control = app->control,
        .on_settings = on_settings,
        .ctx = app,
        .started_utc_ms = clock_utc_ms(),
    };

    return api_new(&cfg, &app->api, first, reterr);
}

/* Sockets come first: a port in use is found before data is touched or a secret is made. */
static int open_listeners(struct app *app, struct err *reterr)
{
    const struct option_set *o = app->options;
    struct str cert = option_text(o, "tls.cert"), key = option_text(o, "tls.key");
    int64_t workers = option_int(o, "workers");

    if (cert.len != 0) {
        CLEANUP(xfree_charp) char *cert_path = str_dup(cert);
        CLEANUP(xfree_charp) char *key_path = str_dup(key.len != 0 ? key : cert);
        int rc = tls_server_new(cert_path, key_path, &app->tls, reterr);

        if (rc < 0)
            return rc;
    }
    app->worker_count = workers > 0 ? (unsigned)workers : (unsigned)uv_available_parallelism();
    return app_listen_open(&app->listen, o, app->worker_count, app->tls != NULL, reterr);
}

static int build_workers(struct app *app, struct err *reterr)
{
    int rc = 0;

    app->shared = http_shared_new(&app->limits.server.limits);
    app->workers = xcalloc(app->worker_count, sizeof(*app->workers));
    for (unsigned i = 0; rc == 0 && i < app->worker_count; i++)
        rc = worker_init(app, &app->workers[i], i, reterr);
    return rc;
}

static int start_threads(struct app *app, struct err *reterr)
{
    int rc = ledger_start(app->ledger, reterr);

    for (unsigned i = 0; rc == 0 && i < app->worker_count; i++) {
        if (pthread_create(&app->workers[i].thread, NULL, worker_main, &app->workers[i]) != 0)
            return err_set(reterr, ERR_IO, "cannot start thread %u", i);
        app->started_count++;
    }
    return rc;
}

static void start_control(struct app *app)
{
    static const int signums[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

    static_assert(ARRAY_LEN(signums) == ARRAY_LEN(((struct app *)0)->signals), "one handle each");
    for (size_t i = 0; i < ARRAY_LEN(signums); i++) {
        uv_signal_init(loop_uv(app->control), &app->signals[i]);
        app->signals[i].data = app;
        uv_signal_start(&app->signals[i], on_signal, signums[i]);
    }
    loop_timer_init(&app->retention_timer, app->control, on_retention_timer);
    loop_timer_init(&app->idle_timer, app->control, on_idle_timer);
    loop_timer_set(&app->retention_timer, 60 * 1000);
    loop_timer_init(&app->board_timer, app->control, on_board_timer);
    load_board(app);
    prober_start(app->prober);
    loop_post(app->control, &app->settings_msg, settings_changed);
}

static int build(struct app *app, struct buf *first, struct err *reterr)
{
    int rc = app_limits_read(&app->limits, app->options, reterr);

    if (rc == 0)
        rc = app_limits_egress(app->options, &app->egress, reterr);
    if (rc == 0)
        rc = open_listeners(app, reterr);
    app->is_configured = rc == 0;
    if (rc == 0)
        rc = open_data(app, reterr);
    if (rc == 0)
        rc = build_domain(app, reterr);
    if (rc == 0)
        rc = build_api(app, first, reterr);
    if (rc == 0)
        rc = build_workers(app, reterr);
    if (rc == 0)
        rc = start_threads(app, reterr);
    return rc;
}

static void tear_down(struct app *app)
{
    for (unsigned i = 0; i < app->started_count; i++)
        pthread_join(app->workers[i].thread, NULL);
    prober_free(app->prober);
    if (app->ledger)
        ledger_stop(app->ledger); /* flushed before anything it feeds goes */
    api_free(app->api);
    ledger_close(app->ledger);
    health_free(app->health);
    board_free(app->board);
    catalog_close(app->catalog);
    store_close(app->store); /* its last answers go to loops that still exist */
    for (unsigned i = 0; app->workers && i < app->worker_count; i++)
        loop_free(app->workers[i].loop);
    loop_free(app->control);
    xfree(app->workers);
    app_listen_close(&app->listen);
    http_shared_free(app->shared);
    tls_server_free(app->tls);
    egress_free(app->egress);
    app_limits_release(&app->limits);
    option_set_free(app->options);
    tz_global_release();
}

int app_serve(struct option_set *options)
{
    struct app *app = xcalloc(1, sizeof(*app));
    struct buf first = BUF_INIT(64 * 1024);
    struct err e = {0};
    int code = APP_OK, rc;

    app->options = options;
    process_setup();
    if (secret_global_init() < 0 || curl_client_global_init() < 0)
        rc = err_set(&e, ERR_INTERNAL, "libsodium or libcurl cannot be initialised");
    else
        rc = build(app, &first, &e);

    if (rc < 0) {
        log_error("app", "cannot start: %s", e.text);
        for (unsigned i = 0; i < app->started_count; i++)
            loop_post(app->workers[i].loop, &app->workers[i].close_msg, worker_close);
        code = !app->is_configured && (rc == ERR_SYNTAX || rc == ERR_RANGE) ? APP_BAD_CONFIG
                                                                            : APP_FAILED;
    } else {
        start_control(app);
        app_listen_announce(&app->listen, options, buf_str(&first));
        loop_run(app->control);
    }
    buf_secure_release(&first);
    tear_down(app);
    xfree(app);
    return code;
}
