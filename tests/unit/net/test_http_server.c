#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "http_rig.h"

#include <unistd.h>

#define HOST "Host: test\r\n"

static struct rig rig;
static struct buf head = BUF_INIT(65536);
static struct buf body = BUF_INIT(4u << 20);

static int start(void **state)
{
    rig_init(&rig);
    rig_start(&rig);
    return 0;
}

static int stop(void **state)
{
    rig_stop(&rig);
    buf_release(&head);
    buf_release(&body);
    return 0;
}

static void assert_body(const char *text)
{
    assert_string_equal(buf_cstr(&body), text);
}

static bool head_has(const char *text)
{
    return strstr(buf_cstr(&head), text) != NULL;
}

static void test_http_server__answers_a_get(void **state)
{
    assert_int_equal(rig_ask(&rig, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &head, &body), 200);
    assert_body("hello");
    assert_true(head_has("\r\nDate: "));
    assert_true(head_has("\r\nContent-Type: text/plain\r\n"));
    assert_true(head_has("\r\nContent-Length: 5\r\n"));
    assert_false(head_has("Server:"));
    assert_false(head_has("Connection:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_http_server__answers_a_get, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
