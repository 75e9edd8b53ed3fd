/*
 * What of the containers' logs can't be read, or may be gone before it is: log drivers that give
 * nothing back, drivers that drop, and logs that are cut soon.
 */
#include "doctor_checks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/option.h"
#include "ringtail/base/timestamp.h"

#include "container.h"

/* A container's rate is that of its last lines, of so many seconds and records at most: cheap for
 * the Engine. Where the log is longer than this, it does not matter. */
#define SAMPLE_S 10
#define SAMPLE_RECORDS 1000
#define SAMPLE_LOG_BYTES_MAX (INT64_C(100) << 20)
/* Restarts of ringtail, of the Engine and of hosts take about as long. */
#define AWAY_S 60
/* Measured: with 1 MiB × 3 a container of 20,000 lines/s loses some, with 10 MiB × 3 it does not.
 */
#define LOG_BYTES_TIGHT (INT64_C(3) << 20)
#define LOG_BYTES_GOOD (INT64_C(30) << 20)
/* What mode=non-blocking has unless it is told otherwise. */
#define BUFFER_DEFAULT (INT64_C(1) << 20)

enum finding {
    UNREADABLE,
    DROPS_SOON,
    DROPS,
    AT_RISK,
    TIGHT,
    SHORT,
    ENDLESS,
    FINDINGS,
};

static const struct {
    enum doctor_level level;
    const char *subject, *text, *advice;
} findings[FINDINGS] = {
    [UNREADABLE] = {DOCTOR_WARNING, "unreadable", "have a log driver that the Engine can't read",
                    "use json-file or local for them, or leave them out (containers.exclude)"},
    [DROPS_SOON] = {DOCTOR_WARNING, "non-blocking",
                    "drop lines when they write faster than the Engine for an instant "
                    "(mode=non-blocking with a buffer of 1 MiB or less); nobody can see which",
                    "leave mode=non-blocking out, or raise max-buffer-size"},
    [DROPS] = {DOCTOR_NOTE, "non-blocking",
               "drop lines when they write faster than the Engine for long (mode=non-blocking); "
               "nobody can see which",
               "leave mode=non-blocking out where every line counts"},
    [AT_RISK] = {DOCTOR_WARNING, "at-risk",
                 "write so much that half of what their log keeps is gone within a minute: what is "
                 "not read by then may be lost",
                 "raise max-size or max-file; log_capturer_container_at_risk says when it happens"},
    [TIGHT] = {DOCTOR_WARNING, "max-size",
               "keep less than 3 MiB of log (max-size × max-file): a burst is cut before it is "
               "read",
               "raise them to max-size=10m max-file=3 or more"},
    [SHORT] = {DOCTOR_NOTE, "max-size",
               "keep less than 30 MiB of log (max-size × max-file): what is written while nobody "
               "reads may be cut",
               "raise them to max-size=10m max-file=3 where lines must survive a break"},
    [ENDLESS] = {DOCTOR_NOTE, "max-size", "have a log that grows without end (no max-size)",
                 "give them max-size=10m max-file=3 or more, so that they do not fill the disk"},
};

struct names {
    char **items;
    size_t count;
};

struct look {
    struct doctor *d;
    struct api_version version;
    struct names found[FINDINGS];
    size_t seen, refused, asked;
};

static void note(struct look *l, enum finding finding, const char *name)
{
    struct names *names = &l->found[finding];
    char **grown = reallocarray(names->items, names->count + 1, sizeof *grown);

    if (!grown)
        return;
    names->items = grown;
    grown[names->count] = strdup(name);
    names->count += grown[names->count] != NULL;
}

/* ---- one container ---- */

static int ask_logs(struct look *l, const char *id, int64_t tail, struct doctor_reply *ret)
{
    const struct api_logs_query query = {
        .has_since = tail > 0,
        .since_ns = clock_wall_ns() - SAMPLE_S * NSEC_PER_SEC,
        .tail = tail,
    };
    struct buf request = {0};
    int r = api_request_logs(&request, l->version, slice_str(id), &query);

    return r < 0 ? r : doctor_ask(l->d, &request, false, ret);
}

/* Whether the Engine gives anything back, which only it knows: of several drivers it keeps a copy.
 */
static bool is_readable(struct look *l, const struct reply_inspect *c)
{
    struct doctor_reply reply = {0};
    bool readable;

    if (strcmp(c->log_driver, "json-file") == 0 || strcmp(c->log_driver, "local") == 0)
        return true;
    if (ask_logs(l, c->id, 0, &reply) < 0)
        return true; /* the Engine is what is wrong, or the time is over */
    readable = reply.status != 501 && reply.status != 500;
    doctor_reply_finish(&reply);
    return readable;
}

/* Bytes a second, with what the Engine adds to each record: about what its file has. */
static double rate_of(struct look *l, const struct reply_inspect *c)
{
    struct doctor_reply reply = {0};
    struct slice body;
    int64_t first_ns;
    double rate = 0;

    if (ask_logs(l, c->id, SAMPLE_RECORDS, &reply) < 0)
        return 0;
    body = buf_slice(&reply.body);
    if (!c->tty && body.len > 8)
        body = slice_from(body, 8); /* the first frame's header */
    if (reply.status == 200 && timestamp_parse_prefix(body, &first_ns) > 0) {
        double span_s = (double)(clock_wall_ns() - first_ns) / (double)NSEC_PER_SEC;

        rate = (double)reply.body.len / MAX(span_s, 1);
    }
    doctor_reply_finish(&reply);
    return rate;
}

static void look_at_mode(struct look *l, const struct reply_inspect *c)
{
    const char *mode = container_log_option(c, "mode");
    const char *size = container_log_option(c, "max-buffer-size");
    int64_t bytes = BUFFER_DEFAULT;

    if (!mode || strcmp(mode, "non-blocking") != 0)
        return;
    if (size && size_parse(slice_str(size), &bytes) < 0)
        bytes = BUFFER_DEFAULT;
    note(l, bytes <= BUFFER_DEFAULT ? DROPS_SOON : DROPS, c->name);
}

static void look_at_size(struct look *l, const struct reply_inspect *c)
{
    int64_t kept = container_log_bytes_max(c);

    if (kept == 0)
        note(l, ENDLESS, c->name);
    else if (kept < SAMPLE_LOG_BYTES_MAX && container_is_at_risk(kept, rate_of(l, c) * AWAY_S))
        note(l, AT_RISK, c->name);
    else if (kept < LOG_BYTES_TIGHT)
        note(l, TIGHT, c->name);
    else if (kept < LOG_BYTES_GOOD)
        note(l, SHORT, c->name);
}

static void look_at(struct look *l, const struct reply_container *row)
{
    struct doctor_reply reply = {0};
    struct reply_inspect c;
    struct buf request = {0};
    int r = api_request_inspect(&request, l->version, slice_str(row->id));

    l->asked++;
    if (r == 0)
        r = doctor_ask(l->d, &request, false, &reply);
    if (r < 0)
        return;
    if (reply.status != 200) {
        l->refused += reply.status != 404; /* it is gone: that is no finding */
    } else if (reply_inspect_parse(buf_slice(&reply.body), &c) == 0) {
        l->seen++;
        if (!is_readable(l, &c)) {
            note(l, UNREADABLE, c.name);
        } else {
            look_at_mode(l, &c);
            look_at_size(l, &c);
        }
        reply_inspect_finish(&c);
    }
    doctor_reply_finish(&reply);
}

/* ---- all of them ---- */

static void tell(struct look *l, size_t count)
{
    struct doctor *d = l->d;

    if (l->refused > 0) {
        doctor_find(d, DOCTOR_PROBLEM, "inspect", "refused for %zu of %zu containers", l->refused,
                    count);
        doctor_advise(d, "a proxy for the socket has to allow GET of containers, events, ping and "
                         "version");
    }
    if (l->asked < count) {
        doctor_find(d, DOCTOR_NOTE, "time", "there was time for %zu of %zu containers", l->asked,
                    count);
        doctor_advise(d, "choose some with --set containers.include=PATTERN");
    }
    doctor_find(d, DOCTOR_OK, "running", "%zu to follow, %zu of %zu logs can be read", count,
                l->seen - l->found[UNREADABLE].count, l->seen);
    for (size_t i = 0; i < FINDINGS; i++) {
        struct names *names = &l->found[i];

        if (names->count > 0) {
            doctor_find(d, findings[i].level, findings[i].subject, "%zu %s", names->count,
                        findings[i].text);
            doctor_advise(d, "%s", findings[i].advice);
        }
        for (size_t n = 0; n < names->count; n++) {
            doctor_container(d, names->items[n]);
            free(names->items[n]);
        }
        free(names->items);
    }
}

void doctor_check_containers(struct doctor *d)
{
    struct look l = {.d = d};
    struct reply_list list = {0};
    unsigned status;
    int r = doctor_api_version(d, &l.version);

    if (r < 0)
        return; /* the check of the Engine says why */
    r = doctor_list(d, l.version, &list, &status);
    if (r < 0) {
        if (status > 0 && status != 200)
            doctor_find(d, DOCTOR_PROBLEM, "list", "refused with status %u", status);
        else
            doctor_find(d, DOCTOR_PROBLEM, "list", "no reply that is understood: %s", strerror(-r));
        doctor_advise(d, "a proxy for the socket has to allow GET of containers, events, ping and "
                         "version");
        return;
    }
    for (size_t i = 0; i < list.count && clock_mono_ns() < d->deadline_ns; i++)
        look_at(&l, &list.items[i]);
    tell(&l, list.count);
    reply_list_finish(&list);
}
