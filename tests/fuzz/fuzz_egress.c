/* fuzz_egress.c -- a URL that passes the guard and holds a literal address in any form that libc
 * would connect to is judged as that address is; lists of any bytes are taken or refused. */
#include <arpa/inet.h>

#include "net/egress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct egress *guard;

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* inet_aton() takes trailing blanks and text; url_parse() lets neither through. */
static void compare_with_libc(const struct url *u, int verdict)
{
    char host[256];
    struct in_addr in;
    struct addr a = {.family = 4};

    if (u->host_is_ip6)
        return;
    str_copy(host, sizeof(host), u->host);
    if (inet_aton(host, &in) == 0)
        return;
    memcpy(a.bytes, &in, 4);
    if (egress_check_addr(guard, &a, false, NULL) < 0)
        check(verdict < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size), list[4], rest = text;
    struct egress *e = NULL;
    struct err err;
    struct url u;
    struct addr a;
    size_t n = 0;

    if (!guard)
        check(egress_new(NULL, 0, NULL, 0, &guard, NULL) == 0);
    if (url_parse(text, &u, NULL) == 0)
        compare_with_libc(&u, egress_check_url(guard, text, false, NULL));
    else
        check(egress_check_url(guard, text, true, &err) < 0 && err.text[0] != '\0');
    while (n < 4 && str_split(&rest, '\n', &list[n]))
        n++;
    if (egress_new(list, n / 2, list + n / 2, n - n / 2, &e, NULL) == 0) {
        if (n > 0 && addr_parse(list[n - 1], &a) == 0) /* the last one is on the deny list */
            check(egress_check_addr(e, &a, true, NULL) == ERR_DENIED);
        egress_free(e);
    }
    if (size == 16) {
        char text6[ADDR_TEXT_SIZE];
        struct addr six = {.family = 6}, again;

        memcpy(six.bytes, data, 16);
        addr_text(&six, text6);
        check(addr_parse(str_of(text6), &again) == 0);
        if (again.family == 6)
            check(addr_eq(&six, &again));
        if (addr_is_forbidden(&six))
            check(egress_check_addr(guard, &six, true, NULL) == ERR_DENIED);
    }
    return 0;
}
