/* tz.c -- time zones: the files and what they say of an instant or a wall time. The POSIX.1 rule
 * that stands behind the last transition of a file is tz_rule.c.
 *
 * A zone is a sorted list of transitions, each beginning a stretch of constant offset. In front of
 * the first stands type 0 (RFC 8536 section 3.2), behind the last the rule, or for ever the last
 * type when there is none. */
#include "base/tz.h"

#include "base/clock.h"
#include "base/tz_rule.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONE_DIR     "/usr/share/zoneinfo"
#define NAME_MAX_LEN 64
#define TIME_MAX_MS  INT64_C(8640000000000000)
#define DAY_S        INT64_C(86400)
#define OFFSET_MIN_S (-89999) /* RFC 8536 section 3.2: -25 h < utoff < +26 h */
#define OFFSET_MAX_S 93599
#define HEADER_SIZE  44
#define TYPE_SIZE    6

struct tz_type {
    int32_t offset_s;
    uint8_t abbr; /* index into abbrs */
};

/* Immutable once loaded, so any thread may read it. */
struct tz {
    struct tz *next; /* of the loaded list; guarded by zones_lock */
    char *key;       /* what it was asked for by */
    char *name;
    size_t n_at, n_types;
    int64_t *at;      /* seconds UTC, ascending */
    uint8_t *at_type; /* which type begins there */
    struct tz_type *types;
    char *abbrs; /* NUL-terminated texts */
    bool has_rule;
    struct tz_rule rule;
};

static pthread_mutex_t zones_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tz *zones; /* shared: guarded by zones_lock; entries stay until tz_global_release() */

void tz_free(struct tz *z)
{
    if (!z)
        return;
    xfree(z->key);
    xfree(z->name);
    xfree(z->at);
    xfree(z->at_type);
    xfree(z->types);
    xfree(z->abbrs);
    xfree(z);
}

static struct tz *tz_new(struct str name)
{
    struct tz *z = xcalloc(1, sizeof(*z));

    z->key = str_dup(name);
    z->name = str_dup(name);
    return z;
}

/* Reading. ------------------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be_time(const uint8_t *p, size_t size)
{
    if (size == 4)
        return (int32_t)be32(p);
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

struct head {
    uint8_t version;
    size_t n_ut, n_std, n_leap, n_at, n_types, n_chars;
};

/* One header off the front of *in. */
static int read_head(struct str *in, struct head *ret)
{
    const uint8_t *p = (const uint8_t *)in->ptr;

    if (in->len < HEADER_SIZE || memcmp(p, "TZif", 4) != 0)
        return ERR_SYNTAX;
    *ret = (struct head){p[4],         be32(p + 20), be32(p + 24), be32(p + 28),
                         be32(p + 32), be32(p + 36), be32(p + 40)};
    *in = str_cut(*in, HEADER_SIZE, in->len);
    return 0;
}

/* Bytes of the block behind a header; each count is below 2^32, so the sum fits. */
static uint64_t block_size(const struct head *h, size_t time_size)
{
    return (uint64_t)h->n_at * (time_size + 1) + (uint64_t)h->n_types * TYPE_SIZE + h->n_chars +
           (uint64_t)h->n_leap * (time_size + 4) + h->n_std + h->n_ut;
}

static int read_transitions(struct tz *z, const uint8_t *times, size_t time_size)
{
    const uint8_t *indices = times + z->n_at * time_size;

    z->at = xcalloc(z->n_at, sizeof(*z->at));
    z->at_type = xcalloc(z->n_at, 1);
    for (size_t i = 0; i < z->n_at; i++) {
        z->at[i] = be_time(times + i * time_size, time_size);
        z->at_type[i] = indices[i];
        if ((i > 0 && z->at[i] <= z->at[i - 1]) || indices[i] >= z->n_types)
            return ERR_SYNTAX;
    }
    return 0;
}

static int read_types(struct tz *z, const uint8_t *p, size_t n_chars)
{
    const uint8_t *chars = p + z->n_types * TYPE_SIZE;

    z->types = xcalloc(z->n_types, sizeof(*z->types));
    z->abbrs = xstrndup((const char *)chars, n_chars); /* the NUL behind ends the last text */
    for (size_t i = 0; i < z->n_types; i++, p += TYPE_SIZE) {
        int32_t offset = (int32_t)be32(p);

        if (offset < OFFSET_MIN_S || offset > OFFSET_MAX_S || p[4] > 1 || p[5] >= n_chars)
            return ERR_SYNTAX;
        z->types[i] = (struct tz_type){offset, p[5]};
    }
    return 0;
}

/* The data block at *in; moved behind it. */
static int read_block(struct tz *z, const struct head *h, size_t time_size, struct str *in)
{
    const uint8_t *p = (const uint8_t *)in->ptr;

    if (h->n_leap != 0 || h->n_types == 0 || h->n_types > 256 || h->n_chars == 0 ||
        block_size(h, time_size) > in->len)
        return ERR_SYNTAX;
    z->n_at = h->n_at;
    z->n_types = h->n_types;
    if (read_transitions(z, p, time_size) < 0 ||
        read_types(z, p + z->n_at * (time_size + 1), h->n_chars) < 0)
        return ERR_SYNTAX;
    *in = str_cut(*in, block_size(h, time_size), in->len);
    return 0;
}

/* "\nCET-1CEST,M3.5.0,M10.5.0/3\n", or "\n\n" for no rule. */
static int read_footer(struct tz *z, struct str in)
{
    if (!str_skip_prefix(&in, STR("\n")) || str_find(in, '\n') < 0)
        return ERR_SYNTAX;

    struct str rule = str_until(in, '\n');

    if (rule.len == 0)
        return 0;
    z->has_rule = true;
    return tz_rule_parse(rule, &z->rule);
}

static int read_all(struct tz *z, struct str in)
{
    struct head h;

    if (read_head(&in, &h) < 0)
        return ERR_SYNTAX;
    if (h.version == 0)
        return read_block(z, &h, 4, &in);
    if (h.version < '2' || h.version > '4' || block_size(&h, 4) > in.len)
        return ERR_SYNTAX;
    in = str_cut(in, block_size(&h, 4), in.len); /* the 32-bit copy */
    if (read_head(&in, &h) < 0 || read_block(z, &h, 8, &in) < 0)
        return ERR_SYNTAX;
    return read_footer(z, in);
}

int tz_parse(struct str name, struct str bytes, struct tz **ret, struct err *reterr)
{
    if (bytes.len > TZ_FILE_MAX)
        return err_set(reterr, ERR_LIMIT, "time zone file %.*s is above %d bytes", STR_ARG(name),
                       TZ_FILE_MAX);

    CLEANUP(tz_freep) struct tz *z = tz_new(name);

    if (read_all(z, bytes) < 0)
        return err_set(reterr, ERR_SYNTAX, "%.*s is no time zone file we can read", STR_ARG(name));
    *ret = TAKE(z);
    return 0;
}

int tz_parse_rule(struct str name, struct str rule, struct tz **ret, struct err *reterr)
{
    CLEANUP(tz_freep) struct tz *z = tz_new(name);

    z->has_rule = true;
    if (tz_rule_parse(rule, &z->rule) < 0)
        return err_set(reterr, ERR_SYNTAX, "'%.*s' is no time zone rule", STR_ARG(rule));
    *ret = TAKE(z);
    return 0;
}

/* Loading. ------------------------------------------------------------------------------------- */

static bool is_zone_name(struct str name)
{
    if (name.len == 0 || name.len > NAME_MAX_LEN || name.ptr[0] == '/')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '+' || c == '-' || c == '/'))
            return false;
    }
    return true;
}

/* All of a regular file, at most one byte above TZ_FILE_MAX. 0, or a positive errno. */
static int read_file(const char *path, char *out, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    ssize_t n = 0;
    size_t len = 0;

    if (fd < 0)
        return errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ENOENT; /* a folder ("Asia") is no zone */
    }
    while (len <= TZ_FILE_MAX) {
        n = read(fd, out + len, TZ_FILE_MAX + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n; /* positive */
    }

    int rc = n < 0 ? errno : 0;

    close(fd);
    *ret_len = len;
    return rc;
}

static int load_path(struct str name, const char *path, struct tz **ret, struct err *reterr)
{
    CLEANUP(xfree_charp) char *bytes = xmalloc(TZ_FILE_MAX + 1);
    size_t len = 0;
    int errnum = read_file(path, bytes, &len);

    if (errnum == ENOENT || errnum == ENOTDIR)
        return err_set(reterr, ERR_NOTFOUND, "there is no time zone '%.*s'", STR_ARG(name));
    if (errnum != 0)
        return err_set_errno(reterr, ERR_IO, errnum, "%s", path);
    return tz_parse(name, str_n(bytes, len), ret, reterr);
}

static int load_name(struct str name, struct tz **ret, struct err *reterr)
{
    char path[sizeof(ZONE_DIR) + NAME_MAX_LEN + 1];

    if (str_eq(name, STR("UTC"))) /* works without tzdata */
        return tz_parse_rule(name, STR("UTC0"), ret, reterr);
    if (!is_zone_name(name))
        return err_set(reterr, ERR_NOTFOUND, "there is no time zone of that name");
    snprintf(path, sizeof(path), "%s/%.*s", ZONE_DIR, STR_ARG(name));
    return load_path(name, path, ret, reterr);
}

/* TZ as the C library reads it: a name, ":" and a name or path, or a rule; empty is UTC. */
static int load_environment(struct str value, struct tz **ret, struct err *reterr)
{
    str_skip_prefix(&value, STR(":"));
    if (value.len == 0)
        return load_name(STR("UTC"), ret, reterr);
    if (value.ptr[0] == '/') {
        CLEANUP(xfree_charp) char *path = str_dup(value);
        struct str name = value;

        str_skip_prefix(&name, STR(ZONE_DIR "/"));
        return load_path(name, path, ret, reterr);
    }
    if (load_name(value, ret, NULL) == 0)
        return 0;
    return tz_parse_rule(value, value, ret, reterr);
}

static int load_system(struct tz **ret, struct err *reterr)
{
    const char *env = getenv("TZ");
    char link[512];
    struct str name = STR("localtime");

    if (env)
        return load_environment(str_of(env), ret, reterr);

    ssize_t n = readlink("/etc/localtime", link, sizeof(link));
    struct str target = str_n(link, n > 0 ? (size_t)n : 0); /* checked */
    ssize_t at = str_find_str(target, STR("zoneinfo/"));

    if (at >= 0)
        name = str_cut(target, (size_t)at + strlen("zoneinfo/"), target.len); /* checked */

    int rc = load_path(name, "/etc/localtime", ret, reterr);

    return rc == ERR_NOTFOUND ? load_name(STR("UTC"), ret, reterr) : rc; /* as the C library */
}

static struct tz *find_loaded(struct str key)
{
    for (struct tz *z = zones; z; z = z->next)
        if (str_eq_c(key, z->key))
            return z;
    return NULL;
}

/* zones_lock is held. */
static int load_locked(struct str key, const struct tz **ret, struct err *reterr)
{
    struct tz *z = find_loaded(key);

    if (!z) {
        int rc =
            str_eq(key, STR("localtime")) ? load_system(&z, reterr) : load_name(key, &z, reterr);

        if (rc < 0)
            return rc;
        xfree(z->key);
        z->key = str_dup(key);
        z->next = zones;
        zones = z;
    }
    *ret = z;
    return 0;
}

int tz_load(struct str name, const struct tz **ret, struct err *reterr)
{
    pthread_mutex_lock(&zones_lock);

    int rc = load_locked(name.len ? name : STR("localtime"), ret, reterr);

    pthread_mutex_unlock(&zones_lock);
    return rc;
}

void tz_global_release(void)
{
    pthread_mutex_lock(&zones_lock);
    while (zones) {
        struct tz *z = zones;

        zones = z->next;
        tz_free(z);
    }
    pthread_mutex_unlock(&zones_lock);
}

const char *tz_name(const struct tz *z)
{
    return z->name;
}

/* Asking. -------------------------------------------------------------------------------------- */

static utc_ms clamp_ms(utc_ms t)
{
    return MIN(MAX(t, -TIME_MAX_MS), TIME_MAX_MS);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Number of transitions at or before t. */
static size_t transitions_until(const struct tz *z, int64_t t)
{
    size_t low = 0, high = z->n_at;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (z->at[mid] <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The stretch of constant offset that holds an instant. */
struct stretch {
    int32_t offset_s;
    int64_t end; /* first second behind it, INT64_MAX = none */
    const char *abbr;
};

static struct stretch stretch_at(const struct tz *z, int64_t t)
{
    size_t n = transitions_until(z, t);

    if (n == z->n_at && z->has_rule) {
        bool is_dst = tz_rule_is_dst(&z->rule, t);

        return (struct stretch){is_dst ? z->rule.dst_s : z->rule.std_s, tz_rule_next(&z->rule, t),
                                is_dst ? z->rule.dst_abbr : z->rule.std_abbr};
    }

    const struct tz_type *type = &z->types[n == 0 ? 0 : z->at_type[n - 1]];

    return (struct stretch){type->offset_s, n < z->n_at ? z->at[n] : INT64_MAX,
                            z->abbrs + type->abbr};
}

int32_t tz_offset_s(const struct tz *z, utc_ms t, const char **ret_abbr)
{
    struct stretch s = stretch_at(z, floor_div(clamp_ms(t), 1000));

    if (ret_abbr)
        *ret_abbr = s.abbr;
    return s.offset_s;
}

void tz_split(const struct tz *z, utc_ms t, struct tz_local *ret)
{
    struct clock_utc c;

    t = clamp_ms(t);

    int32_t offset_s = tz_offset_s(z, t, NULL);
    utc_ms wall = t + (utc_ms)offset_s * 1000;
    int64_t weekday = (floor_div(wall, DAY_S * 1000) + 4) % 7; /* 1970-01-01 was a Thursday */

    clock_split_utc(wall, &c);
    *ret = (struct tz_local){
        .year = c.year,
        .month = c.month,
        .day = c.day,
        .hour = c.hour,
        .minute = c.minute,
        .second = c.second,
        .offset_s = offset_s,
        .weekday = (int)(weekday < 0 ? weekday + 7 : weekday), /* 0..6 */
    };
}

/* First instant at or behind `from` at which the local clock shows `wall` or, in a gap, jumps over
 * it; the clock shows less than that at `from`. All in seconds. */
static int64_t find_wall(const struct tz *z, int64_t from, int64_t wall)
{
    int64_t begin = from;

    for (;;) {
        struct stretch s = stretch_at(z, begin);
        int64_t t = wall - s.offset_s;

        if (t < begin)
            return begin; /* the stretch begins past it: a gap */
        if (t < s.end)
            return t;
        begin = s.end; /* terminates: begin grows, and t <= wall + 25 h */
    }
}

utc_ms tz_join(const struct tz *z, int year, int month, int day, int hour, int minute, int second)
{
    int64_t months = (int64_t)year * 12 + month - 1;
    int64_t y = MIN(MAX(floor_div(months, 12), (int64_t)-271820), (int64_t)275759);
    struct clock_utc first = {
        .year = (int)y,                                          /* clamped */
        .month = (int)(months - floor_div(months, 12) * 12) + 1, /* 1..12 */
        .day = 1,
    };
    int64_t wall = floor_div(clock_join_utc(&first), 1000) + ((int64_t)day - 1) * DAY_S +
                   (int64_t)hour * 3600 + (int64_t)minute * 60 + second;

    wall = MIN(MAX(wall, -TIME_MAX_MS / 1000), TIME_MAX_MS / 1000);
    return clamp_ms(find_wall(z, wall - OFFSET_MAX_S - 1, wall) * 1000);
}

utc_ms tz_day_start(const struct tz *z, utc_ms t)
{
    struct tz_local l;

    tz_split(z, t, &l);
    return tz_join(z, l.year, l.month, l.day, 0, 0, 0);
}

utc_ms tz_day_next(const struct tz *z, utc_ms t)
{
    int64_t at = floor_div(clamp_ms(t), 1000);
    int64_t day = floor_div(at + stretch_at(z, at).offset_s, DAY_S);

    /* From t on: where the clock goes back over midnight, that day may have begun before t too. */
    return clamp_ms(find_wall(z, at, (day + 1) * DAY_S) * 1000);
}
