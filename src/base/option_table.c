/* option_table.c -- every option, in the order --help shows them. Limits are those of the
 * measurements and incidents they come from: a proxy in front cuts at 8 KiB lines, an idle
 * connection costs memory, a stuck one a descriptor. */
#include "base/option.h"

#define KIB    INT64_C(1024)
#define MIB    (1024 * KIB)
#define GIB    (1024 * MIB)
#define SEC    INT64_C(1000)
#define MIN_MS (60 * SEC)
#define HOUR   (60 * MIN_MS)

/* What upstreams behind a web firewall expect from a browser of the day. */
#define USER_AGENT                                                                                 \
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "            \
    "Chrome/131.0.0.0 Safari/537.36"

#define LENIENT (OPTION_ENV_LOW | OPTION_ENV_HIGH)
#define STORED  (OPTION_PAGE | OPTION_RELOADABLE)

#define ROW(name_, type_, ...)                                                                     \
    {                                                                                              \
        .name = name_, .type = type_, .env = "", .deflt = "", .unit = "", __VA_ARGS__              \
    }

// clang-format off
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* ROW's empty texts are meant to be */

const struct option_row option_rows[] = {
    /* Where it listens and what it keeps. */
    ROW("listen", OPTION_LIST, .deflt = "0.0.0.0:8081", .min = 1, .max = 64,
        .help = "Addresses to serve on: host:port, [v6]:port or unix:/path; tls:// in front: with TLS only."),
    ROW("port", OPTION_INT, .env = "PORT", .deflt = "8081", .min = 0, .max = 65535,
        .flags = OPTION_ENV_LOW,
        .help = "Port of the default listen address; 0 lets the system choose one."),
    ROW("data_dir", OPTION_TEXT, .env = "DATA_DIR", .deflt = "data", .min = 1, .max = 4000,
        .help = "Directory of the database, the probe logs and the secret key, created when absent."),
    ROW("base_path", OPTION_TEXT, .deflt = "/", .min = 1, .max = 200,
        .help = "Path all addresses begin with when a proxy serves us below one, such as /gatehouse/."),
    ROW("public_url", OPTION_TEXT, .deflt = "", .max = 2000,
        .help = "Address users know this installation by, for links in messages."),
    ROW("workers", OPTION_INT, .deflt = "0", .min = 0, .max = 256, .unit = "threads",
        .help = "Event loops that serve clients; 0 means one per core."),
    ROW("timezone", OPTION_TEXT, .deflt = "", .max = 64,
        .help = "IANA time zone in which reporting days begin; empty means the system's."),

    /* Who may come in. */
    ROW("admin_password", OPTION_SECRET, .env = "ADMIN_PANEL_PASSWORD", .max = 1024,
        .help = "Password of the admin page; one is made and shown at the first start otherwise."),
    ROW("admin_token", OPTION_SECRET, .env = "API_MONITOR_TOKEN_ADMIN API_MONITOR_TOKEN",
        .max = 1024,
        .help = "Bearer token of the admin role; one is made and shown at the first start otherwise."),
    ROW("visitor_token", OPTION_SECRET, .env = "API_MONITOR_TOKEN_VISITOR", .max = 1024,
        .help = "Bearer token of the visitor role; an empty variable counts as none given."),
    ROW("access_password", OPTION_SECRET, .env = "ACCESS_PASSWORD", .max = 1024,
        .help = "Password of Token Monitor's clients, as bearer or at sign-in; it has the admin's rights."),
    ROW("proxy_master_token", OPTION_SECRET, .env = "PROXY_MASTER_TOKEN", .max = 1024,
        .flags = STORED, .help = "Key that may call every channel through the proxy; empty means none."),
    ROW("secret_key", OPTION_SECRET, .max = 1024,
        .help = "Key the upstream keys are encrypted with; a file in data_dir is made otherwise."),
    ROW("visitor_mode", OPTION_BOOL, .deflt = "false", .flags = STORED,
        .help = "Visitors may look: with the visitor token, or without any when none is set."),
    ROW("visitor_create", OPTION_BOOL, .deflt = "false",
        .help = "Visitors may add channels of their own."),
    ROW("trusted_proxies", OPTION_LIST, .max = 1024,
        .help = "Networks (CIDR) whose X-Forwarded-For and X-Forwarded-Proto are believed."),
    ROW("trust_proxy_headers", OPTION_BOOL, .env = "TRUST_PROXY_HEADERS", .deflt = "false",
        .help = "Believe forwarded headers of loopback and private peers; trusted_proxies names others."),
    ROW("allowed_hosts", OPTION_LIST, .max = 1024,
        .help = "Host names that requests may ask for; empty means any."),
    ROW("tls.cert", OPTION_TEXT, .max = 4000, .flags = OPTION_RELOADABLE,
        .help = "Certificate chain (PEM) that makes the listeners speak TLS."),
    ROW("tls.key", OPTION_TEXT, .max = 4000, .flags = OPTION_RELOADABLE,
        .help = "Private key (PEM) of tls.cert."),

    /* What it says. */
    ROW("log.level", OPTION_TEXT, .deflt = "info", .max = 16, .choices = "error|warn|info|debug",
        .help = "Least important kind of line that is logged."),
    ROW("log.format", OPTION_TEXT, .deflt = "text", .max = 16, .choices = "text|json|journal",
        .help = "Form of the log lines on standard error."),

    /* Probes. */
    ROW("default_interval_min", OPTION_INT, .env = "DEFAULT_INTERVAL_MIN", .deflt = "30",
        .min = 1, .max = 1440, .unit = "minutes", .flags = LENIENT,
        .help = "Time between two runs of a channel that is created without one of its own."),
    ROW("detect_concurrency", OPTION_INT, .env = "MONITOR_DETECT_CONCURRENCY", .deflt = "3",
        .min = 1, .max = 256, .unit = "probes", .flags = LENIENT,
        .help = "Probes at once inside one run."),
    ROW("max_parallel_targets", OPTION_INT, .env = "MONITOR_MAX_PARALLEL_TARGETS", .deflt = "2",
        .min = 1, .max = 4096, .unit = "runs", .flags = LENIENT,
        .help = "Runs at once by schedule."),
    ROW("manual_parallel", OPTION_INT, .deflt = "32", .min = 1, .max = 4096, .unit = "runs",
        .help = "Runs at once that users asked for; more wait in a queue."),
    ROW("log_cleanup_enabled", OPTION_BOOL, .env = "LOG_CLEANUP_ENABLED", .deflt = "true",
        .flags = STORED | OPTION_ENV_TRUTHY,
        .help = "Delete the oldest probe logs when all together exceed log_max_size_mb."),
    ROW("log_max_size_mb", OPTION_INT, .env = "LOG_MAX_SIZE_MB", .deflt = "500", .min = 0,
        .max = 102400, .unit = "MiB", .flags = STORED | LENIENT,
        .help = "Size of all probe logs together; 0 means no limit."),
    ROW("user_agent", OPTION_TEXT, .deflt = USER_AGENT, .min = 1, .max = 500,
        .help = "User-Agent of probes whose channel sets none."),
    ROW("outbound_proxy", OPTION_TEXT, .max = 2000,
        .help = "Proxy for outgoing connections: http://, https://, socks5:// or socks5h:// address."),
    ROW("ca_file", OPTION_TEXT, .deflt = "/etc/ssl/certs/ca-certificates.crt", .min = 1,
        .max = 4000, .help = "Certificate authorities (PEM) that outgoing TLS is checked against."),
    ROW("egress.allow", OPTION_LIST, .max = 1024,
        .help = "Only these networks (CIDR) may be connected to; empty means all but the forbidden."),
    ROW("egress.deny", OPTION_LIST, .max = 1024,
        .help = "Networks (CIDR) never connected to, beside link-local and metadata addresses."),

    /* How long things are kept. */
    ROW("retention.gateway", OPTION_DURATION_MS, .deflt = "2160h", .min = HOUR,
        .max = 876000 * HOUR, .flags = OPTION_HIDDEN,
        .help = "Age at which single calls of clients are deleted; totals live longer."),
    ROW("retention.probe", OPTION_DURATION_MS, .deflt = "720h", .min = HOUR,
        .max = 876000 * HOUR, .flags = OPTION_HIDDEN,
        .help = "Age at which single probes and finished runs are deleted."),
    ROW("retention.ingest", OPTION_DURATION_MS, .deflt = "2160h", .min = HOUR,
        .max = 876000 * HOUR, .flags = OPTION_HIDDEN,
        .help = "Age at which single calls reported by applications are deleted."),
    ROW("retention.newapi", OPTION_DURATION_MS, .deflt = "72h", .min = HOUR,
        .max = 876000 * HOUR, .flags = OPTION_HIDDEN,
        .help = "Age at which single calls read from a new-api database are deleted."),
    ROW("retention.runs_min", OPTION_INT, .deflt = "60", .min = 0, .max = 100000,
        .unit = "runs", .flags = OPTION_HIDDEN,
        .help = "Latest runs of each channel that are kept whatever their age."),
    ROW("spool_bytes", OPTION_SIZE, .deflt = "1GiB", .min = 0, .max = 1024 * GIB,
        .flags = OPTION_HIDDEN,
        .help = "Disk space for records the database cannot take now; what exceeds it is dropped and counted."),
    ROW("store.readers", OPTION_INT, .deflt = "2", .min = 0, .max = 16, .unit = "threads",
        .flags = OPTION_HIDDEN,
        .help = "Threads that read from the database; 0 lets the writer read too."),

    /* Limits of the HTTP server. */
    ROW("http.connections", OPTION_INT, .deflt = "20000", .min = 1, .max = 1000000,
        .unit = "connections", .flags = OPTION_HIDDEN, .help = "Client connections open at once."),
    ROW("http.connections_per_address", OPTION_INT, .deflt = "512", .min = 1, .max = 1000000,
        .unit = "connections", .flags = OPTION_HIDDEN,
        .help = "Client connections of one address; loopback and trusted_proxies are exempt."),
    ROW("http.buffer_bytes", OPTION_SIZE, .deflt = "512MiB", .min = MIB, .max = 1024 * GIB,
        .flags = OPTION_HIDDEN,
        .help = "Bytes held for all clients together; over it bodies are refused (503)."),
    ROW("http.request_line_bytes", OPTION_SIZE, .deflt = "8190", .min = 64, .max = MIB,
        .flags = OPTION_HIDDEN, .help = "Longest request line (414 above it)."),
    ROW("http.header_line_bytes", OPTION_SIZE, .deflt = "8KiB", .min = 64, .max = MIB,
        .flags = OPTION_HIDDEN, .help = "Longest header line (431 above it)."),
    ROW("http.head_bytes", OPTION_SIZE, .deflt = "32KiB", .min = 256, .max = 4 * MIB,
        .flags = OPTION_HIDDEN, .help = "Longest request head in all (431 above it)."),
    ROW("http.header_count", OPTION_INT, .deflt = "100", .min = 8, .max = 1000,
        .unit = "lines", .flags = OPTION_HIDDEN, .help = "Most header lines (431 above it)."),
    ROW("http.head_timeout", OPTION_DURATION_MS, .deflt = "10s", .min = 100, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Time a client has for a whole request head (408 after it)."),
    ROW("http.body_timeout", OPTION_DURATION_MS, .deflt = "30s", .min = 100, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Longest pause inside a request body (408 after it)."),
    ROW("http.min_rate", OPTION_SIZE, .deflt = "500", .min = 0, .max = MIB,
        .unit = "per second", .flags = OPTION_HIDDEN,
        .help = "Slowest average rate of a request body; 0 means any."),
    ROW("http.write_timeout", OPTION_DURATION_MS, .deflt = "30s", .min = 100, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Longest time a client may take no byte of an answer."),
    ROW("http.keepalive_timeout", OPTION_DURATION_MS, .deflt = "75s", .min = 100, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Time an idle connection stays open."),
    ROW("http.keepalive_requests", OPTION_INT, .deflt = "10000", .min = 1, .max = 1000000000,
        .unit = "requests", .flags = OPTION_HIDDEN, .help = "Requests after which a connection is closed."),
    ROW("http.body_bytes", OPTION_SIZE, .deflt = "1MiB", .min = KIB, .max = GIB,
        .flags = OPTION_HIDDEN, .help = "Longest request body below /api (413 above it)."),
    ROW("http.body_bytes_v1", OPTION_SIZE, .deflt = "32MiB", .min = KIB, .max = GIB,
        .flags = OPTION_HIDDEN, .help = "Longest JSON body below /v1 and /v1beta (413 above it)."),
    ROW("sse.heartbeat", OPTION_DURATION_MS, .deflt = "15s", .min = 100, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Pause after which a live stream is sent a sign of life."),
    ROW("drain", OPTION_DURATION_MS, .deflt = "30s", .min = 0, .max = HOUR,
        .flags = OPTION_HIDDEN, .help = "Time client streams have to end after the first SIGTERM."),

    /* The client commands. */
    ROW("url", OPTION_TEXT, .max = 2000, .flags = OPTION_COMMAND,
        .help = "Address of the daemon that health and run ask; else the first of listen."),
    ROW("token", OPTION_SECRET, .max = 1024, .flags = OPTION_COMMAND,
        .help = "Admin token that run shows to the daemon; else admin_token."),
    ROW("dry_run", OPTION_BOOL, .deflt = "false", .flags = OPTION_COMMAND,
        .help = "import only tells what it would take over."),
    ROW("json", OPTION_BOOL, .deflt = "false", .flags = OPTION_COMMAND,
        .help = "Results as one JSON document on standard output."),
    ROW("csv", OPTION_BOOL, .deflt = "false", .flags = OPTION_COMMAND,
        .help = "Results of run as CSV with a line of names."),
};
#pragma GCC diagnostic pop
// clang-format on

const size_t option_row_count = ARRAY_LEN(option_rows);
