#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/metric.h"
#include "http_rig.h"
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST  "Host: test\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"

static struct rig rig;
static struct buf head = BUF_INIT(65536);
static struct buf body = BUF_INIT(4u << 20);

static int init(void **state)
{
    rig_init(&rig);
    return 0;
}

static int stop(void **state)
{
    rig_stop(&rig);
    buf_release(&head);
    buf_release(&body);
    return 0;
}

static bool head_has(const char *text)
{
    return strstr(buf_cstr(&head), text) != NULL;
}

static void assert_closed(int fd)
{
    assert_true(rig_read_all(fd, NULL));
    close(fd);
}

/* ---- deadlines ---- */

static void test_http_limits__slow_head_is_408(void **state)
{
    uint64_t timeouts = metric_value(METRIC_HTTP_TIMEOUTS, 0);

    rig.cfg.limits.head_timeout_ms = 80;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, "GET /hello HTTP/1.1\r\nHost: te");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 408);
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_closed(fd);
    assert_int_equal(metric_value(METRIC_HTTP_TIMEOUTS, 0) - timeouts, 1);
    assert_int_equal(atomic_load(&rig.requests), 0);
}

static void test_http_limits__head_deadline_is_a_total(void **state)
{
    static const char slow[] = "GET /hello HTTP/1.1\r\nHost: test\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    mono_ms began = clock_mono_ms();
    size_t i = 0;
    char c;

    rig.cfg.limits.head_timeout_ms = 100;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    /* A byte every few milliseconds does not buy time. */
    while (i < sizeof(slow) - 1 && recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) < 0) {
        rig_send_bytes(fd, str_n(slow + i++, 1));
        usleep(10000);
    }
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 408);
    assert_true(clock_mono_ms() - began < 2000);
    assert_closed(fd);
}

static void test_http_limits__silent_connection_is_closed_without_a_word(void **state)
{
    rig.cfg.limits.head_timeout_ms = 50;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    close(fd);
}

static void test_http_limits__idle_connection_is_closed(void **state)
{
    mono_ms began;

    rig.cfg.limits.keepalive_timeout_ms = 60;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, HELLO);
    began = clock_mono_ms();
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    assert_true(clock_mono_ms() - began >= 60);
    close(fd);
}

static void test_http_limits__slow_body_is_408(void **state)
{
    rig.cfg.limits.body_timeout_ms = 60;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 408);
    assert_closed(fd);
    assert_true(rig_wait(&rig.gone, 1)); /* and the handler was told */
    fd = rig_connect(&rig);
    rig_send(fd, "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 408);
    assert_closed(fd);
    assert_true(rig_wait(&rig.gone, 2));
}

static void test_http_limits__unread_body_that_stops_is_cut(void **state)
{
    rig.cfg.limits.body_timeout_ms = 60;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, "POST /hello HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_closed(fd);
}

static void test_http_limits__waiting_handler_is_not_timed(void **state)
{
    rig.cfg.limits.head_timeout_ms = rig.cfg.limits.body_timeout_ms = 40;
    rig.cfg.limits.keepalive_timeout_ms = 40;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, "POST /body-late HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    assert_true(rig_wait(&rig.requests, 1));
    usleep(100000);
    rig_release(&rig);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_string_equal(buf_cstr(&body), "abc");
    close(fd);
}

static void test_http_limits__client_that_does_not_read_is_cut(void **state)
{
    int small = 4096;

    rig.cfg.limits.write_timeout_ms = 80;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    rig_send(fd, "GET /flood HTTP/1.1\r\n" HOST "\r\n");
    assert_true(rig_wait(&rig.gone, 1));
    close(fd);
}

/* ---- numbers ---- */

static void test_http_limits__closes_after_the_last_request_of_a_connection(void **state)
{
    rig.cfg.limits.keepalive_requests = 2;
    rig_start(&rig);

    int fd = rig_connect(&rig);

    rig_send(fd, HELLO HELLO HELLO);
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_false(head_has("Connection"));
    assert_int_equal(rig_read_reply(fd, &head, &body, false), 200);
    assert_true(head_has("\r\nConnection: close\r\n"));
    assert_int_equal(recv(fd, (char[1]){0}, 1, 0), 0);
    close(fd);
}

static void test_http_limits__connection_cap_answers_503(void **state)
{
    uint64_t refused = metric_value(METRIC_HTTP_REFUSED, 0);

    rig.cfg.limits.connections = 2;
    rig_start(&rig);

    int a = rig_connect(&rig), b = rig_connect(&rig);

    rig_send(a, HELLO);
    rig_send(b, HELLO);
    assert_int_equal(rig_read_reply(a, NULL, NULL, false), 200);
    assert_int_equal(rig_read_reply(b, NULL, NULL, false), 200);

    int c = rig_connect(&rig);

    assert_int_equal(rig_read_reply(c, &head, &body, false), 503);
    close(c);
    close(a);
    assert_int_equal(metric_value(METRIC_HTTP_REFUSED, 0) - refused, 1);
    /* Room again once the server has seen the close. */
    for (int i = 0; i < 1000; i++) {
        int status = rig_ask(&rig, HELLO, NULL, NULL);

        if (status == 200)
            break;
        assert_true(i < 999);
        usleep(1000);
    }
    close(b);
}

static void test_http_limits__read_ahead_is_bounded(void **state)
{
    static char much[1 << 20];
    size_t sent = 0;
    ssize_t n;

    rig_start(&rig);

    int fd = rig_connect(&rig);
    int small = 65536;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    rig_send(fd, "POST /body-late HTTP/1.1\r\n" HOST "Content-Length: 1000000000\r\n\r\n");
    assert_true(rig_wait(&rig.requests, 1));
    /* The kernel's buffers hold some MiB; what the server takes must come to an end. */
    for (int idle = 0; idle < 50 && sent < (256u << 20);) {
        n = send(fd, much, sizeof(much), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            idle = 0;
        } else {
            usleep(1000);
            idle++;
        }
    }
    assert_true(sent < (64u << 20));
    close(fd);
}

static void test_http_limits__bodies_of_all_are_bounded(void **state)
{
    static char kilobytes[8192];
    struct buf request = BUF_INIT(65536);

    rig.cfg.limits.buffer_bytes = 10000;
    rig_start(&rig);
    buf_put(&request, STR("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 8192\r\n\r\n"));
    buf_put(&request, str_n(kilobytes, sizeof(kilobytes) - 1));

    int first = rig_connect(&rig), second = rig_connect(&rig);
    uint64_t seen = metric_value(METRIC_HTTP_BYTES_IN, 0) + buf_len(&request);

    rig_send_bytes(first, buf_str(&request));
    for (int i = 0; i < 5000 && metric_value(METRIC_HTTP_BYTES_IN, 0) < seen; i++)
        usleep(1000);
    rig_send_bytes(second, buf_str(&request));
    assert_int_equal(rig_read_reply(second, &head, &body, false), 503);
    close(second);
    rig_send(first, "x");
    assert_int_equal(rig_read_reply(first, &head, &body, false), 200);
    assert_int_equal(buf_len(&body), 8192);
    close(first);
    /* What they held is free again. */
    rig_send_bytes(first = rig_connect(&rig), buf_str(&request));
    rig_send(first, "x");
    assert_int_equal(rig_read_reply(first, &head, &body, false), 200);
    close(first);
    buf_release(&request);
}

/* ---- descriptors ---- */

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void test_http_limits__survives_running_out_of_descriptors(void **state)
{
    struct rlimit old, low;
    int taken[256];
    size_t count = 0;
    uint64_t refused = metric_value(METRIC_HTTP_REFUSED, 0);

    rig_start(&rig);

    int early = rig_connect(&rig);

    rig_send(early, HELLO);
    assert_int_equal(rig_read_reply(early, NULL, NULL, false), 200);

    int late = socket(AF_INET, SOCK_STREAM, 0); /* our end, taken in time */

    getrlimit(RLIMIT_NOFILE, &old);
    low = (struct rlimit){.rlim_cur = (rlim_t)late + 8, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    while (count < ARRAY_LEN(taken) && (taken[count] = open("/dev/null", O_RDONLY)) >= 0)
        count++;

    struct sockaddr_storage to;
    socklen_t size = sizeof(to);
    struct timeval five = {.tv_sec = 5};

    assert_int_equal(getpeername(early, (struct sockaddr *)&to, &size), 0);
    setsockopt(late, SOL_SOCKET, SO_RCVTIMEO, &five, sizeof(five));
    assert_int_equal(connect(late, (struct sockaddr *)&to, size), 0);
    for (int i = 0; i < 5000 && metric_value(METRIC_HTTP_REFUSED, 0) == refused; i++)
        usleep(1000);
    assert_true(metric_value(METRIC_HTTP_REFUSED, 0) > refused);

    double before = cpu_seconds();

    rig_send(early, HELLO); /* who is in is served */
    assert_int_equal(rig_read_reply(early, NULL, NULL, false), 200);
    usleep(100000);
    assert_true(cpu_seconds() - before < 0.08); /* and nothing spins */
    while (count > 0)
        close(taken[--count]);
    setrlimit(RLIMIT_NOFILE, &old);
    rig_send(late, HELLO);
    assert_int_equal(rig_read_reply(late, NULL, NULL, false), 200);
    close(late);
    close(early);
}

/* ---- who asks for what ---- */

static void test_http_limits__believes_trusted_proxies_only(void **state)
{
    static const struct {
        const char *headers, *want;
    } rows[] = {
        {"X-Forwarded-For: 9.9.9.9\r\n", "client=9.9.9.9 peer=127.0.0.1 https=0"},
        {"X-Forwarded-For: 6.6.6.6, 9.9.9.9\r\n", "client=9.9.9.9 "},
        {"X-Forwarded-For: 9.9.9.9, 10.1.2.3\r\n", "client=9.9.9.9 "},
        {"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 9.9.9.9,10.0.0.1\r\n", "client=9.9.9.9 "},
        {"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "client=10.0.0.1 "},
        {"X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n", "client=10.0.0.2 "},
        {"X-Forwarded-For: \r\n", "client=127.0.0.1 "},
        {"X-Forwarded-For: 2001:db8::1\r\n", "client=2001:db8::1 "},
        {"X-Forwarded-Proto: https\r\n", "https=1"},
        {"X-Forwarded-Host: public.example\r\n", "host=public.example "},
        {"X-Forwarded-Host: evil.example, public.example:444\r\n", "host=public.example:444 "},
        {"X-Forwarded-Host: b a d\r\n", "host=test "},
    };
    struct addr_cidr proxies[2];

    assert_int_equal(addr_parse_cidr(STR("127.0.0.1"), &proxies[0]), 0);
    assert_int_equal(addr_parse_cidr(STR("10.0.0.0/8"), &proxies[1]), 0);
    rig.cfg.trusted_proxies = proxies;
    rig.cfg.trusted_proxy_count = 2;
    rig_start(&rig);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char request[512];

        snprintf(request, sizeof(request), "GET /info HTTP/1.1\r\n" HOST "%s\r\n", rows[i].headers);
        assert_int_equal(rig_ask(&rig, request, &head, &body), 200);
        if (!strstr(buf_cstr(&body), rows[i].want))
            fail_msg("%s: %s", rows[i].headers, buf_cstr(&body));
    }
}

static void test_http_limits__other_hosts_get_421(void **state)
{
    struct str hosts[] = {STR_INIT("good.example"), STR_INIT("[::1]")};

    rig.cfg.allowed_hosts = hosts;
    rig.cfg.allowed_host_count = 2;
    rig_start(&rig);
    assert_int_equal(rig_ask(&rig, "GET /hello HTTP/1.1\r\nHost: Good.example:80\r\n\r\n", &head, &body),
                     200);
    assert_int_equal(rig_ask(&rig, "GET /hello HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &head, &body), 200);
    assert_int_equal(rig_ask(&rig, "GET /hello HTTP/1.1\r\nHost: bad.example\r\n\r\n", &head, &body),
                     421);
    assert_int_equal(
        rig_ask(&rig, "GET /hello HTTP/1.1\r\nHost: good.example.bad\r\n\r\n", &head, &body), 421);
    assert_int_equal(rig_ask(&rig, "HEAD /hello HTTP/1.1\r\nHost: bad.example\r\n\r\n", &head, &body),
                     421);
    assert_int_equal(atomic_load(&rig.requests), 2);
}

static void test_http_limits__takes_the_base_path_off(void **state)
{
    rig.cfg.base_path = STR("/x/y/");
    rig_start(&rig);
    assert_int_equal(rig_ask(&rig, "GET /x/y/hello HTTP/1.1\r\n" HOST "\r\n", &head, &body), 200);
    assert_int_equal(rig_ask(&rig, "GET /x/y/info?q HTTP/1.1\r\n" HOST "\r\n", &head, &body), 200);
    assert_non_null(strstr(buf_cstr(&body), "path=/info raw=/info query=q "));
    assert_int_equal(rig_ask(&rig, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &head, &body), 200);
    assert_int_equal(rig_ask(&rig, "GET /x/yhello HTTP/1.1\r\n" HOST "\r\n", &head, &body), 404);
}

static void format_error(void *ctx, struct str path, int status, const char *text, struct buf *out,
                         const char **ret_type)
{
    *ret_type = "application/json";
    buf_putf(out, "{\"path\":\"%.*s\",\"status\":%d,\"text\":\"%s\"}", STR_ARG(path), status, text);
}

static void test_http_limits__errors_have_the_configured_shape(void **state)
{
    rig.cfg.format_error = format_error;
    rig_start(&rig);
    assert_int_equal(rig_ask(&rig, "GET / HTTP/9.9\r\n\r\n", &head, &body), 505);
    assert_string_equal(buf_cstr(&body),
                        "{\"path\":\"\",\"status\":505,\"text\":\"HTTP Version Not Supported\"}");
    assert_true(head_has("\r\nContent-Type: application/json\r\n"));
    assert_int_equal(
        rig_ask(&rig, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", &head, &body),
        413);
    assert_string_equal(buf_cstr(&body),
                        "{\"path\":\"/echo\",\"status\":413,\"text\":\"Content Too Large\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_http_limits__##name, init, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(slow_head_is_408),
        TEST(head_deadline_is_a_total),
        TEST(silent_connection_is_closed_without_a_word),
        TEST(idle_connection_is_closed),
        TEST(slow_body_is_408),
        TEST(unread_body_that_stops_is_cut),
        TEST(waiting_handler_is_not_timed),
        TEST(client_that_does_not_read_is_cut),
        TEST(closes_after_the_last_request_of_a_connection),
        TEST(connection_cap_answers_503),
        TEST(read_ahead_is_bounded),
        TEST(bodies_of_all_are_bounded),
        TEST(survives_running_out_of_descriptors),
        TEST(believes_trusted_proxies_only),
        TEST(other_hosts_get_421),
        TEST(takes_the_base_path_off),
        TEST(errors_have_the_configured_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
