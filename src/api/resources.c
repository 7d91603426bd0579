#include "api/resources.h"

#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NO_LIMIT (INT64_C(1) << 60) /* what kernels write for "unlimited" lies above */

/* One small kernel file; empty when it cannot be read. */
static struct str read_file(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return STR_NONE;
    n = read(fd, out, cap);
    close(fd);
    return n > 0 ? str_trim(str_n(out, (size_t)n)) : STR_NONE;
}

static bool read_number(const char *path, int64_t *ret)
{
    char text[64];

    return str_to_i64(read_file(path, text, sizeof(text)), 0, INT64_MAX, ret) == 0;
}

/* Limits are null when `max`, not positive, or 2^60 and more. */
static int64_t limit_of(const char *path)
{
    int64_t v;

    return read_number(path, &v) && v > 0 && v < NO_LIMIT ? v : 0;
}

static bool read_v2(struct resources_sample *s)
{
    char text[2048];
    struct str stat = read_file("/sys/fs/cgroup/cpu.stat", text, sizeof(text)), line;
    bool has_cpu = false;
    int64_t usec, quota, period;

    while (str_split(&stat, '\n', &line)) {
        if (str_skip_prefix(&line, STR("usage_usec ")) &&
            str_to_i64(line, 0, INT64_MAX, &usec) == 0) {
            s->cpu_s = (double)usec / 1e6;
            has_cpu = true;
        }
    }
    if (!has_cpu || !read_number("/sys/fs/cgroup/memory.current", &s->memory_bytes))
        return false;
    line = read_file("/sys/fs/cgroup/cpu.max", text, sizeof(text));
    if (str_to_i64(str_until(line, ' '), 1, NO_LIMIT, &quota) == 0 &&
        str_to_i64(str_after(line, ' '), 1, NO_LIMIT, &period) == 0)
        s->cpu_limit_cores = (double)quota / (double)period;
    s->memory_limit_bytes = limit_of("/sys/fs/cgroup/memory.max");
    s->cgroup_version = 2;
    return true;
}

static bool read_v1(struct resources_sample *s)
{
    int64_t ns, quota, period;

    if (!read_number("/sys/fs/cgroup/cpuacct/cpuacct.usage", &ns) &&
        !read_number("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", &ns))
        return false;
    if (!read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", &s->memory_bytes))
        return false;
    s->cpu_s = (double)ns / 1e9;
    quota = limit_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    period = limit_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota > 0 && period > 0)
        s->cpu_limit_cores = (double)quota / (double)period;
    s->memory_limit_bytes = limit_of("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    s->cgroup_version = 1;
    return true;
}

static int64_t count_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int64_t n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

void resources_read(struct resources_sample *ret)
{
    struct rusage u;
    char text[256];
    struct str statm;
    int64_t pages = 0;

    *ret = (struct resources_sample){0};
    if (!read_v2(ret) && !read_v1(ret))
        *ret = (struct resources_sample){0};
    if (getrusage(RUSAGE_SELF, &u) == 0)
        ret->process_cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                             (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    statm = str_after(read_file("/proc/self/statm", text, sizeof(text)), ' ');
    if (str_to_i64(str_until(statm, ' '), 0, INT64_MAX / 65536, &pages) == 0)
        ret->process_rss_bytes = pages * sysconf(_SC_PAGESIZE);
    ret->process_files = count_files();
}
