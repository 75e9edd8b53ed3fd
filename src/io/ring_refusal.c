/* Why there is no ring, said so that a person can act on it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "ring_backend.h"

static int read_proc_int(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "re");
    int value = -1;

    if (!f)
        return -1;
    if (fgets(text, sizeof text, f))
        value = (int)strtol(text, NULL, 10);
    (void)fclose(f); /* read only: nothing to lose */
    return value;
}

void ring_refusal_explain(struct ring_refusal *refusal, int error, const char *what)
{
    struct utsname uts = {0};
    struct rlimit limit = {0};
    int disabled = read_proc_int("/proc/sys/kernel/io_uring_disabled");
    char *out = refusal->reason;
    size_t size = sizeof refusal->reason;

    (void)uname(&uts); /* an empty release is shown as such */
    refusal->error = error;
    switch (-error) {
    case EPERM:
        if (disabled > 0)
            snprintf(out, size, "sysctl kernel.io_uring_disabled is %d: set it to 0%s", disabled,
                     disabled == 1 ? ", or join the group of kernel.io_uring_group" : "");
        else
            snprintf(
                out, size,
                "a seccomp profile denies io_uring (container engines' default does): run with a "
                "profile that allows io_uring_setup, io_uring_enter and io_uring_register");
        break;
    case ENOSYS:
        snprintf(
            out, size,
            "this kernel (%s) has no io_uring, or a seccomp profile hides it: use Linux 5.19 or "
            "newer, and a profile that allows io_uring_setup, io_uring_enter and "
            "io_uring_register",
            uts.release);
        break;
    case ENOMEM:
        (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        snprintf(out, size,
                 "not enough lockable memory (RLIMIT_MEMLOCK is %llu KiB): raise it to 8192 KiB "
                 "(ulimit -l, LimitMEMLOCK=, --ulimit memlock), or lower ring.entries",
                 (unsigned long long)limit.rlim_cur / 1024);
        break;
    case EMFILE:
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        snprintf(
            out, size,
            "too few file descriptors (RLIMIT_NOFILE is %llu): raise it above ring.sockets_max "
            "(ulimit -n, LimitNOFILE=, --ulimit nofile)",
            (unsigned long long)limit.rlim_cur);
        break;
    case EINVAL:
    case EOPNOTSUPP:
        snprintf(out, size, "this kernel (%s) is too old (%s): use Linux 5.19 or newer",
                 uts.release, what);
        break;
    default:
        snprintf(out, size, "%s: %s", what, strerror(-error));
    }
}
