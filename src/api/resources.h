/* resources.h -- what the kernel says of this container and process: cgroup v2 files, else v1, and
 * /proc/self. */
#pragma once

#include "base/base.h"

struct resources_sample {
    int cgroup_version; /* 2, 1, 0 = not readable */
    double cpu_s;       /* of the container, since it began */
    double cpu_limit_cores;     /* 0 = none */
    int64_t memory_bytes, memory_limit_bytes; /* limit 0 = none */
    double process_cpu_s;
    int64_t process_rss_bytes, process_files;
};
void resources_read(struct resources_sample *ret); /* a few small reads of kernel files; never blocks on a disk */
