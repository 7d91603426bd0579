/* option_parse.c -- text forms of booleans, sizes and durations, shared with YAML and JSON. */
#include "base/option.h"

int option_parse_bool(struct str s, bool *ret)
{
    static const struct {
        const char *text;
        bool on;
    } words[] = {{"1", true},  {"true", true},   {"yes", true}, {"on", true},
                 {"0", false}, {"false", false}, {"no", false}, {"off", false}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_ieq(s, str_of(words[i].text))) {
            *ret = words[i].on;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

/* A run of digits off the front of *in. */
static struct str take_digits(struct str *in)
{
    size_t n = 0;

    while (n < in->len && in->ptr[n] >= '0' && in->ptr[n] <= '9')
        n++;

    struct str digits = str_cut(*in, 0, n);

    *in = str_cut(*in, n, in->len);
    return digits;
}

int option_parse_size(struct str s, int64_t *ret)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"kB", 1000},
        {"MB", 1000000},
        {"GB", 1000000000},
        {"TB", 1000000000000},
        {"KiB", INT64_C(1) << 10},
        {"MiB", INT64_C(1) << 20},
        {"GiB", INT64_C(1) << 30},
        {"TiB", INT64_C(1) << 40},
    };
    struct str digits = take_digits(&s);
    int64_t n;

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!str_ieq(s, str_of(units[i].text)))
            continue;

        int rc = str_to_i64(digits, 0, INT64_MAX, &n);

        if (rc < 0)
            return rc;
        if (__builtin_mul_overflow(n, units[i].bytes, &n))
            return ERR_RANGE;
        *ret = n;
        return 0;
    }
    return ERR_SYNTAX;
}

/* Unit off the front of *in, in nanoseconds; 0 when there is none. Longer names come first. */
static int64_t take_unit(struct str *in)
{
    static const struct {
        const char *text;
        int64_t ns;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"\xc2\xb5s", 1000}, /* micro sign */
        {"\xce\xbcs", 1000}, /* Greek mu */
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", INT64_C(60) * 1000000000},
        {"h", INT64_C(3600) * 1000000000},
    };

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_skip_prefix(in, str_of(units[i].text)))
            return units[i].ns;
    return 0;
}

/* digits[.digits] off the front of *in, times unit, onto *sum. */
static int add_part(struct str whole, struct str fraction, int64_t unit_ns, int64_t *sum)
{
    int64_t n = 0, scale = unit_ns;

    if (whole.len == 0 && fraction.len == 0)
        return ERR_SYNTAX;
    if (whole.len > 0 && str_to_i64(whole, 0, INT64_MAX, &n) < 0)
        return ERR_RANGE; /* digits they are */
    if (__builtin_mul_overflow(n, unit_ns, &n))
        return ERR_RANGE;
    for (size_t i = 0; i < fraction.len && scale > 1; i++) {
        /* n + scale stays below n + unit, so only the last sum can overflow */
        int64_t digit = fraction.ptr[i] - '0';

        if (__builtin_add_overflow(n, scale * digit / 10, &n))
            return ERR_RANGE;
        scale /= 10;
    }
    return __builtin_add_overflow(*sum, n, sum) ? ERR_RANGE : 0;
}

int option_parse_duration(struct str s, int64_t *ret_ms)
{
    int64_t sum_ns = 0;
    bool is_first = true;

    if (s.len == 0)
        return ERR_SYNTAX;
    while (s.len > 0) {
        struct str whole = take_digits(&s), fraction = STR_NONE;

        if (str_skip_prefix(&s, STR(".")))
            fraction = take_digits(&s);

        int64_t unit_ns = take_unit(&s);

        if (unit_ns == 0 && is_first && s.len == 0)
            unit_ns = 1000000000; /* a number alone is seconds */
        if (unit_ns == 0)
            return ERR_SYNTAX;

        int rc = add_part(whole, fraction, unit_ns, &sum_ns);

        if (rc < 0)
            return rc;
        is_first = false;
    }
    *ret_ms = sum_ns / 1000000 + (sum_ns % 1000000 != 0); /* never shorter than asked for */
    return 0;
}
