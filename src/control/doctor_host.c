/* Who we are, what restrains us, what limits us, and the clock. */
#include "doctor_checks.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include "ring_setup.h"
#include "self.h"

/* Beside streams and files: standard streams, the ring, the admin endpoint and its connections, a
 * few each for positions, spool, dead letters. */
#define DESCRIPTORS_BESIDE 64

/* ---- the configuration ---- */

void doctor_check_configuration(struct doctor *d)
{
    const struct option_problems *p = d->problems;

    for (size_t i = 0; i < p->count; i++) {
        doctor_find(d, DOCTOR_PROBLEM, "option", "%s", p->items[i].text);
        doctor_advise(d, "correct it (ringtail options lists all of them); the checks below take "
                         "the default in its place");
    }
    for (size_t i = 0; i < p->warnings_count; i++) {
        doctor_find(d, DOCTOR_WARNING, "option", "%s", p->warnings[i].text);
        doctor_advise(d, "do what stands in the parentheses");
    }
    if (p->count == 0)
        doctor_find(d, DOCTOR_OK, "options", "the configuration is good, its secrets can be read");
}

/* ---- the process ---- */

/* A number of /proc/self/status; -1 when there is none. */
static int status_number(const char *name)
{
    FILE *file = fopen("/proc/self/status", "re");
    size_t len = strlen(name);
    char line[256];
    int value = -1;

    if (!file)
        return -1;
    while (value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            value = (int)strtol(line + len + 1, NULL, 10);
    (void)fclose(file); /* read only: nothing to lose */
    return value;
}

static void look_at_user(struct doctor *d)
{
    char id[REPLY_ID_LEN + 1];
    bool inside = self_container_id(id);

    if (geteuid() == 0) {
        doctor_find(d, DOCTOR_NOTE, "user", "root%s: what is found holds for root alone",
                    inside ? ", in a container" : "");
        doctor_advise(d, "examine as the user that ringtail runs as (runuser -u ringtail -- "
                         "ringtail doctor)");
    } else {
        doctor_find(d, DOCTOR_OK, "user", "number %u, group %u%s", (unsigned)geteuid(),
                    (unsigned)getegid(), inside ? ", in a container" : "");
    }
}

void doctor_check_process(struct doctor *d)
{
    int seccomp = status_number("Seccomp"), filters = status_number("Seccomp_filters");

    look_at_user(d);
    if (seccomp == 2)
        doctor_find(d, DOCTOR_NOTE, "seccomp",
                    "%d filter%s in force; the check of the ring says whether io_uring passes",
                    MAX(filters, 1), filters > 1 ? "s are" : " is");
    else
        doctor_find(d, DOCTOR_OK, "seccomp", "no filter is in force");
}

/* ---- limits ---- */

static const char *limit_text(rlim_t limit)
{
    static char texts[2][32];
    static unsigned next;
    char *out = texts[next++ % 2];

    if (limit == RLIM_INFINITY)
        return "unlimited";
    (void)snprintf(out, sizeof texts[0], "%" PRIu64, (uint64_t)limit);
    return out;
}

static void look_at_memory(struct doctor *d)
{
    struct rlimit limit = {0};
    int64_t needed = ring_setup_locked_bytes(d->config);
    bool is_enough;

    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    is_enough = limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= (rlim_t)needed;
    doctor_find(d, is_enough ? DOCTOR_OK : DOCTOR_WARNING, "memlock",
                "RLIMIT_MEMLOCK is %s at most; a ring counts for %s, on kernels that count it",
                limit.rlim_max == RLIM_INFINITY ? "unlimited"
                                                : doctor_bytes((int64_t)limit.rlim_max),
                doctor_bytes(needed));
    if (!is_enough)
        doctor_advise(d, "raise it to 8192 KiB (ulimit -l, LimitMEMLOCK=, --ulimit memlock), or "
                         "lower ring.entries");
}

static int64_t open_files_max(const struct config *c)
{
    int64_t files = config_output_is_directory(c) ? c->output_open_files_max : 0;

    for (size_t i = 0; i < c->sinks_count; i++)
        files += c->sinks[i].type == SINK_TYPE_FILE ? c->sinks[i].open_files_max
                                                    : c->sinks[i].connections;
    return files;
}

static void look_at_descriptors(struct doctor *d, int64_t containers)
{
    const struct config *c = d->config;
    int64_t sockets = containers + c->stream_openings_max + c->engine_requests_max + 1;
    int64_t needed = sockets + open_files_max(c) + c->admin_connections_max + DESCRIPTORS_BESIDE;
    struct rlimit limit = {0};

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    needed = MAX(needed, c->ring_sockets_max);
    if (sockets > c->ring_sockets_max) {
        doctor_find(d, DOCTOR_PROBLEM, "sockets",
                    "ring.sockets_max is %" PRId64 ", and %" PRId64 " containers need %" PRId64,
                    c->ring_sockets_max, containers, sockets);
        doctor_advise(d, "raise ring.sockets_max, with room for more containers");
    }
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < (rlim_t)needed) {
        doctor_find(d, DOCTOR_PROBLEM, "descriptors",
                    "RLIMIT_NOFILE is %s at most, and %" PRId64
                    " may be needed (ring.sockets_max %" PRId64 ", %" PRId64 " containers)",
                    limit_text(limit.rlim_max), needed, c->ring_sockets_max, containers);
        doctor_advise(d, "raise it (ulimit -n, LimitNOFILE=, --ulimit nofile), or lower "
                         "ring.sockets_max and output.open_files_max");
    } else {
        doctor_find(d, DOCTOR_OK, "descriptors",
                    "RLIMIT_NOFILE is %s, raised to %s at the start; %" PRId64
                    " may be needed with %" PRId64 " containers",
                    limit_text(limit.rlim_cur), limit_text(limit.rlim_max), needed, containers);
    }
}

void doctor_check_limits(struct doctor *d)
{
    struct api_version version;
    struct reply_list list = {0};
    unsigned status;
    int64_t containers = 0;

    look_at_memory(d);
    if (doctor_api_version(d, &version) == 0 && doctor_list(d, version, &list, &status) == 0) {
        containers = (int64_t)list.count;
        reply_list_finish(&list);
    }
    look_at_descriptors(d, containers);
}

/* ---- the clock ---- */

void doctor_check_clock(struct doctor *d)
{
    struct timex clock = {0};
    int state = adjtimex(&clock);

    if (state < 0) {
        doctor_find(d, DOCTOR_NOTE, "synchronised", "can't be told here: %s", strerror(errno));
    } else if (state == TIME_ERROR || (clock.status & STA_UNSYNC)) {
        doctor_find(d, DOCTOR_WARNING, "synchronised",
                    "the kernel does not think that anybody keeps this clock right; lines carry "
                    "its time");
        doctor_advise(d, "run a time service (systemd-timesyncd, chrony)");
    } else {
        doctor_find(d, DOCTOR_OK, "synchronised", "within %ld ms", clock.maxerror / 1000);
    }
}
