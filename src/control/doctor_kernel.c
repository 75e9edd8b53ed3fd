/* Which kernel this is, what ringtail uses of it, and whether it gives us the ring. */
#include "doctor_checks.h"

#include <stdlib.h>
#include <sys/utsname.h>

#include "ringtail/io/ring_features.h"

#include "ring_setup.h"

struct version {
    unsigned major, minor;
};

#define LEAST ((struct version){5, 6}) /* the epoll backend's */

static bool is_older(struct version a, struct version b)
{
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

/* The head of "6.18.44-amd64". */
static bool version_parse(const char *release, struct version *ret)
{
    char *end;

    ret->major = (unsigned)strtoul(release, &end, 10);
    if (end == release || *end != '.')
        return false;
    release = end + 1;
    ret->minor = (unsigned)strtoul(release, &end, 10);
    return end != release;
}

void doctor_check_kernel(struct doctor *d)
{
    RT_CLEANUP(buf_finish) struct buf lacks = {0};
    enum doctor_level level = DOCTOR_OK;
    struct utsname uts = {0};
    struct version v = {0, 0};

    if (uname(&uts) < 0 || !version_parse(uts.release, &v)) {
        doctor_find(d, DOCTOR_NOTE, "version", "Linux %s is of no version that is understood",
                    uts.release);
        return;
    }
    for (int f = 0; f < RING_FEATURE_COUNT; f++) {
        const struct ring_feature_info *info = ring_feature_info((enum ring_feature)f);
        struct version since;

        if (!version_parse(info->since, &since) || !is_older(v, since))
            continue;
        (void)buf_printf(&lacks, "%s%s (%s)", lacks.len > 0 ? ", " : "", info->name, info->since);
        level = MAX(level, info->without ? DOCTOR_NOTE : DOCTOR_WARNING);
    }
    if (is_older(v, LEAST))
        level = DOCTOR_PROBLEM;
    doctor_find(d, level, "version", "Linux %s on %s has %s%.*s", uts.release, uts.machine,
                lacks.len > 0 ? "all of io_uring that is used but "
                              : "all of io_uring that is used",
                (int)lacks.len, lacks.len > 0 ? lacks.data : "");
    if (level != DOCTOR_OK)
        doctor_advise(d, "use Linux 6.1 or newer; 5.19 is the least for io_uring, 5.6 for epoll");
}

static void look_at_sysctl(struct doctor *d)
{
    int64_t disabled = doctor_proc_number("/proc/sys/kernel/io_uring_disabled");
    int64_t group = doctor_proc_number("/proc/sys/kernel/io_uring_group");

    if (disabled == 1 && group >= 0)
        doctor_find(d, DOCTOR_NOTE, "sysctl",
                    "kernel.io_uring_disabled is 1: for root and group %lld alone",
                    (long long)group);
    else if (disabled > 0)
        doctor_find(d, DOCTOR_NOTE, "sysctl", "kernel.io_uring_disabled is %lld: %s",
                    (long long)disabled, disabled == 1 ? "for root alone" : "for nobody");
    else
        doctor_find(d, DOCTOR_OK, "sysctl", "kernel.io_uring_disabled is %s",
                    disabled == 0 ? "0" : "not there (before Linux 6.6)");
}

/* Why there is no io_uring has the knob to turn in it. */
static void tell_epoll(struct doctor *d, const struct ring *ring)
{
    bool is_choice = d->config->ring_backend == RING_BACKEND_EPOLL;

    doctor_find(d, is_choice ? DOCTOR_OK : DOCTOR_WARNING, "backend", "epoll: %s",
                ring_backend_reason(ring));
    if (!is_choice)
        doctor_advise(d, "do what the reason says; or leave it as it is, with some more CPU at the "
                         "same load, and say so with ring.backend=epoll");
}

void doctor_check_ring(struct doctor *d)
{
    struct ring_options options = ring_setup_options(d->config);
    struct ring_refusal refusal;
    struct ring *ring;

    look_at_sysctl(d);
    ring_setup_raise_limits();
    if (ring_create(&options, &ring, &refusal) < 0) {
        doctor_find(d, DOCTOR_PROBLEM, "backend", "%s", refusal.reason);
        doctor_advise(d, "do what the reason says%s",
                      options.backend == RING_BACKEND_IO_URING
                          ? "; ring.backend=auto takes epoll where io_uring is refused"
                          : "");
        return;
    }
    if (ring_backend_name(ring)[0] == 'e')
        tell_epoll(d, ring);
    else
        doctor_find(d, DOCTOR_OK, "backend", "io_uring (%s)", ring_backend_reason(ring));
    (void)ring_destroy(ring);
}
