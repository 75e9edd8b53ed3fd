/* The table of ring_features.h. The backend of io_uring says which of them a ring has. */
#include "ringtail/io/ring_features.h"

#include <stdlib.h>

#include "ringtail/base/macros.h"

#include "ring_backend.h"

static const struct ring_feature_info infos[RING_FEATURE_COUNT] = {
    [RING_FEATURE_OPERATIONS] =
        {"OPERATIONS", "5.19", "all operations on sockets and files, `IORING_OP_SOCKET` the newest",
         NULL},
    [RING_FEATURE_COOP_TASKRUN] =
        {"COOP_TASKRUN", "5.19",
         "the kernel does not interrupt the thread for a completion (`IORING_SETUP_COOP_TASKRUN`, "
         "with `TASKRUN_FLAG` and `SUBMIT_ALL`)",
         NULL},
    [RING_FEATURE_SOCKET_TABLE] = {"SOCKET_TABLE", "5.19",
                                   "sockets of the ring's own, `IORING_REGISTER_FILES2`, sparse",
                                   NULL},
    [RING_FEATURE_BUFFER_RING] =
        {"BUFFER_RING", "5.19", "idle streams hold no receive buffer (`IORING_REGISTER_PBUF_RING`)",
         NULL},
    [RING_FEATURE_DEFER_TASKRUN] =
        {"DEFER_TASKRUN", "6.1",
         "completions wait until they are asked for, so that a pause gathers many "
         "(`IORING_SETUP_SINGLE_ISSUER`, `IORING_SETUP_DEFER_TASKRUN`)",
         "cooperative task work without pauses: up to three times the CPU per line on many slow "
         "streams"},
    [RING_FEATURE_CQE_SKIP] = {"CQE_SKIP", "5.17",
                               "timeouts and cancels that went well bring no completion "
                               "(`IOSQE_CQE_SKIP_SUCCESS`)",
                               "their completions come and are passed over"},
    [RING_FEATURE_RING_FD] =
        {"RING_FD", "5.18", "the ring's descriptor is looked up once (`IORING_REGISTER_RING_FDS`)",
         "it is looked up at each call"},
    [RING_FEATURE_WORKERS_MAX] =
        {"WORKERS_MAX", "5.15",
         "a bound on the kernel's threads for files (`IORING_REGISTER_IOWQ_MAX_WORKERS`)",
         "`ring.workers_max` does nothing: the kernel starts up to four for each processor"},
};

/* The columns of docs/kernels.md: kernels that systems in use come with. */
static const char *const kernels[] = {"5.10", "5.15", "6.1", "6.8", "6.12"};

/* The newest of what is needed. */
#define OLDEST_KERNEL "5.19"

const struct ring_feature_info *ring_feature_info(enum ring_feature feature)
{
    return &infos[feature];
}

bool ring_has(const struct ring *ring, enum ring_feature feature)
{
    return (ring->features & (1U << feature)) != 0;
}

/* "5.19" as 5019. */
static long version_of(const char *text)
{
    char *dot;
    long major = strtol(text, &dot, 10);

    return major * 1000 + strtol(dot + 1, NULL, 10);
}

static bool uses(const char *kernel, const struct ring_feature_info *info)
{
    return version_of(kernel) >= version_of(info->since) &&
           version_of(kernel) >= version_of(OLDEST_KERNEL);
}

static const char intro[] =
    "# Kernels\n"
    "\n"
    "What of io_uring ringtail uses, as `ringtail kernels` prints this page. Nothing is concluded "
    "from the kernel's\n"
    "version: every ring tries each feature, and the log's first line, `/ready` and "
    "`log_capturer_backend_info` say\n"
    "which backend was taken and what it lacks.\n"
    "\n"
    "- Without a feature of the first table ringtail runs on epoll (Linux 5.6 or newer), unless "
    "`--backend io_uring` forbids it.\n"
    "- Without one of the second it runs on io_uring all the same.\n"
    "- On epoll, standard output that is a pipe is written without a thread since Linux 6.4; "
    "before, a thread writes what\n"
    "  there is room for.\n"
    "\n"
    "The suite `long` boots Debian's and Ubuntu's kernels of these versions, and Debian's newest, "
    "in QEMU, compares what a\n"
    "ring finds there with these tables, and runs the ring's and the streams' tests "
    "(`tests/kernels`). On those before 5.19 nothing is used.\n";

static int write_table(struct buf *out, const char *title, int from, int to)
{
    int r = buf_printf(out, "\n## %s\n\n| feature | since |", title);

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kernels); i++)
        r = buf_printf(out, " %s |", kernels[i]);
    if (r == 0)
        r = buf_append_str(out, " newer | for | without it |\n|---|---|");
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kernels) + 3; i++)
        r = buf_append_str(out, "---|");
    for (int f = from; r == 0 && f < to; f++) {
        r = buf_printf(out, "\n| `%s` | %s |", infos[f].name, infos[f].since);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kernels); i++)
            r = buf_append_str(out, uses(kernels[i], &infos[f]) ? " yes |" : " – |");
        if (r == 0)
            r = buf_printf(out, " yes | %s | %s |", infos[f].use,
                           infos[f].without ? infos[f].without : "epoll");
    }
    return r == 0 ? buf_append_str(out, "\n") : r;
}

int ring_features_write_markdown(struct buf *out)
{
    int r = buf_append_str(out, intro);

    if (r == 0)
        r = write_table(out, "Needed", 0, RING_FEATURE_FIRST_OPTIONAL);
    if (r == 0)
        r = write_table(out, "Used where it is", RING_FEATURE_FIRST_OPTIONAL, RING_FEATURE_COUNT);
    return r;
}
