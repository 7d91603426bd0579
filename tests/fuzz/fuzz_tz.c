/* fuzz_tz.c -- the first byte chooses: a TZif file, or a POSIX.1 rule. Whatever zone is taken keeps
 * the promises of tz.h at all instants. */
#include "base/tz.h"

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_zone(const struct tz *z)
{
    static const utc_ms instants[] = {
        INT64_MIN,
        -INT64_C(8640000000000000),
        -INT64_C(2208988800000),
        -1,
        0,
        999,
        INT64_C(951782400000),
        INT64_C(1774746000000),
        1800000000000,
        INT64_C(4102444800000),
        INT64_C(8640000000000000) - 86400000 * 3,
        INT64_MAX,
    };

    for (size_t i = 0; i < ARRAY_LEN(instants); i++) {
        struct tz_local l;
        const char *abbr = NULL;
        int32_t offset = tz_offset_s(z, instants[i], &abbr);
        utc_ms t = MIN(MAX(instants[i], -INT64_C(8640000000000000)), INT64_C(8640000000000000));

        check(abbr != NULL && strlen(abbr) < 256 * 1024);
        check(offset >= -89999 && offset <= 93599);
        tz_split(z, t, &l);
        check(l.month >= 1 && l.month <= 12 && l.day >= 1 && l.day <= 31 && l.hour >= 0 &&
              l.hour <= 23 && l.minute >= 0 && l.minute <= 59 && l.second >= 0 && l.second <= 59 &&
              l.weekday >= 0 && l.weekday <= 6 && l.offset_s == offset);
        if (i == 0 || i + 2 >= ARRAY_LEN(instants) || t < -INT64_C(8630000000000000))
            continue; /* at the bounds days are cut */

        utc_ms start = tz_day_start(z, t), next = tz_day_next(z, t);
        utc_ms same = tz_join(z, l.year, l.month, l.day, l.hour, l.minute, l.second);

        check(start <= t && next > t);
        check(same <= t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tz *z = NULL;
    struct err e = {0};

    if (size == 0)
        return 0;

    struct str rest = str_n((const char *)data + 1, size - 1);
    int rc = data[0] % 2 ? tz_parse(STR("fuzz"), rest, &z, &e)
                         : tz_parse_rule(STR("fuzz"), rest, &z, &e);

    check((rc == 0) == (z != NULL));
    if (z)
        check_zone(z);
    else
        check(e.text[0] != '\0' && str_is_utf8(str_of(e.text)));
    tz_free(z);
    return 0;
}
