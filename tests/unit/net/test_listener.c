#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void test_listener__parses_every_form(void **state)
{
    static const struct {
        const char *text, *host;
        int kind;
        uint16_t port;
        bool is_tls;
    } rows[] = {
        {"0.0.0.0:8081", "0.0.0.0", LISTENER_TCP, 8081, false},
        {"[::]:8081", "::", LISTENER_TCP, 8081, false},
        {"[::1]:0", "::1", LISTENER_TCP, 0, false},
        {"8081", "", LISTENER_TCP, 8081, false},
        {":8081", "", LISTENER_TCP, 8081, false},
        {"*:8081", "", LISTENER_TCP, 8081, false},
        {"localhost:8081", "127.0.0.1", LISTENER_TCP, 8081, false},
        {"unix:/run/gatehouse.sock", "/run/gatehouse.sock", LISTENER_UNIX, 0, false},
        {"tls://[::]:8443", "::", LISTENER_TCP, 8443, true},
        {"tls://unix:/s", "/s", LISTENER_UNIX, 0, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct listener_spec spec;

        assert_int_equal(listener_parse(str_of(rows[i].text), &spec, NULL), 0);
        assert_string_equal(spec.host, rows[i].host);
        assert_int_equal(spec.kind, rows[i].kind);
        assert_int_equal(spec.port, rows[i].port);
        assert_int_equal(spec.is_tls, rows[i].is_tls);
    }
}

static void test_listener__refuses_other_forms(void **state)
{
    static const char *const bad[] = {
        "",          "host:8081", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "::1:8081",  "[::1]",     "[::1]8081", "[:8081",     "1.2.3.4.5:80",    "0x7f.1:80",
        "unix:",     "http://a",  "[]:80",     "80 ",        "127.1:80",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct listener_spec spec = {.port = 77};
        struct err err = {0};

        if (listener_parse(str_of(bad[i]), &spec, &err) != ERR_SYNTAX)
            fail_msg("taken: '%s'", bad[i]);
        assert_true(err.text[0] != '\0');
        assert_int_equal(spec.port, 77);
    }
}

static int open_text(const char *text, struct err *err, int *ret)
{
    struct listener_spec spec;
    int fd = -1;
    int rc;

    assert_int_equal(listener_parse(str_of(text), &spec, err), 0);
    rc = listener_open(&spec, &fd, err);
    *ret = fd;
    return rc;
}

static void test_listener__loops_share_a_port(void **state)
{
    struct listener_spec spec = {.kind = LISTENER_TCP, .host = "127.0.0.1"};
    int a, b;

    assert_int_equal(listener_open(&spec, &a, NULL), 0);
    spec.port = listener_port(a);
    assert_true(spec.port > 0);
    assert_int_equal(listener_open(&spec, &b, NULL), 0);
    assert_int_equal(listener_port(b), spec.port);
    assert_true(fcntl(a, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(a, F_GETFL) & O_NONBLOCK);
    close(a);
    close(b);
}

static bool can_connect4(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0;
    close(fd);
    return ok;
}

static void test_listener__any_takes_both_families(void **state)
{
    struct err err = {0};
    int fd;

    assert_int_equal(open_text("0", &err, &fd), 0);
    assert_true(can_connect4(listener_port(fd)));
    close(fd);
}

static void test_listener__taken_port_is_a_conflict(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof(in);
    struct listener_spec spec = {.kind = LISTENER_TCP, .host = "127.0.0.1"};
    struct err err = {0};
    int other = socket(AF_INET, SOCK_STREAM, 0); /* without SO_REUSEPORT */
    int fd;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(other, (struct sockaddr *)&in, size), 0);
    assert_int_equal(listen(other, 1), 0);
    getsockname(other, (struct sockaddr *)&in, &size);
    spec.port = ntohs(in.sin_port);
    assert_int_equal(listener_open(&spec, &fd, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "127.0.0.1:"));
    close(other);
}

static void test_listener__replaces_stale_sockets_only(void **state)
{
    char dir[] = "/tmp/test_listener_XXXXXX";
    struct listener_spec spec = {.kind = LISTENER_UNIX};
    struct err err = {0};
    struct stat st;
    int fd, second;

    assert_non_null(mkdtemp(dir));
    snprintf(spec.host, sizeof(spec.host), "%s/s", dir);
    assert_int_equal(listener_open(&spec, &fd, &err), 0);
    assert_int_equal(listener_port(fd), 0);
    assert_int_equal(stat(spec.host, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(listener_open(&spec, &second, &err), ERR_CONFLICT); /* it is alive */
    close(fd);
    assert_int_equal(listener_open(&spec, &fd, &err), 0); /* now it is not */
    close(fd);
    unlink(spec.host);

    fd = open(spec.host, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(listener_open(&spec, &fd, &err), ERR_CONFLICT);
    assert_int_equal(stat(spec.host, &st), 0); /* a file of somebody's stays */
    unlink(spec.host);
    rmdir(dir);
    assert_int_equal(listener_open(&spec, &fd, &err), ERR_IO); /* no such directory */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listener__parses_every_form),
        cmocka_unit_test(test_listener__refuses_other_forms),
        cmocka_unit_test(test_listener__loops_share_a_port),
        cmocka_unit_test(test_listener__any_takes_both_families),
        cmocka_unit_test(test_listener__taken_port_is_a_conflict),
        cmocka_unit_test(test_listener__replaces_stale_sockets_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
