/*
 * The Engine: its socket, whether it answers, and whether we understand each other. Also what the
 * other checks ask it with. Only GET.
 */
#include "doctor_checks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/io/http_reader.h"

#include "ask.h"
#include "engine.h"
#include "self.h"
#include "container.h"

#define REPLY_TIMEOUT_MS INT64_C(5000)
#define CLOCK_APART_MAX_S 2

/* Of 20.10, which takes one inotify instance for each log that is followed, and polls when there is
 * none left: later lines, and more CPU. */
static const struct api_version version_polls = {1, 41};
/* Of 20.10, the oldest that the tests know. */
static const struct api_version version_tested = {1, 41};

/* ---- asking ---- */

static int on_head(void *ctx, const struct http_head *head)
{
    struct doctor_reply *reply = ctx;

    reply->status = head->status;
    (void)snprintf(reply->api_version, sizeof reply->api_version, "%.*s",
                   (int)head->api_version.len, head->api_version.data);
    return 0;
}

static int on_body(void *ctx, struct slice span, unsigned flags)
{
    struct doctor_reply *reply = ctx;

    return buf_append_slice(&reply->body, span);
}

/* The header Date, as every Engine writes it. */
static int64_t date_of(struct buf *raw)
{
    static const char name[] = "\r\nDate: ";
    const char *text = buf_cstr(raw), *at = text ? strstr(text, name) : NULL;
    struct tm tm = {0};

    if (!at || !strptime(at + sizeof name - 1, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return 0;
    return timegm(&tm);
}

static int read_reply(struct doctor_reply *reply, size_t head_bytes_max)
{
    static const struct http_reader_handlers handlers = {.on_head = on_head, .on_body = on_body};
    struct http_reader reader;
    int r;

    http_reader_init(&reader, &handlers, reply, head_bytes_max, false);
    r = http_reader_feed(&reader, buf_slice(&reply->raw));
    if (r == 0 && !http_reader_is_complete(&reader))
        r = http_reader_finish(&reader);
    return r;
}

static int connect_engine(const char *path, int64_t deadline_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!path || strlen(path) >= sizeof address.sun_path)
        return -EINVAL;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return ask_connect((const struct sockaddr *)&address, sizeof address, deadline_ns);
}

int doctor_ask(struct doctor *d, struct buf *request, bool head_only, struct doctor_reply *ret)
{
    const struct config *c = d->config;
    struct doctor_reply reply = {.asked_at_wall_ns = clock_wall_ns()};
    int64_t began_ns = clock_mono_ns();
    int64_t timeout_ms = MIN(c->engine_request_timeout_ms, REPLY_TIMEOUT_MS);
    int64_t deadline_ns = MIN(d->deadline_ns, began_ns + timeout_ms * NSEC_PER_MSEC);
    int fd = connect_engine(config_engine_path(c), deadline_ns), r = MIN(fd, 0);

    if (r == 0) {
        r = ask_exchange(fd, buf_slice(request), head_only, (size_t)c->engine_reply_bytes_max,
                         deadline_ns, &reply.raw);
        (void)close(fd); /* read only: nothing to lose */
    }
    buf_finish(request);
    if (r == 0)
        r = read_reply(&reply, (size_t)c->engine_head_bytes_max);
    if (r == -ECONNRESET && head_only && reply.status != 0)
        r = 0; /* its body is what was not waited for */
    if (r < 0) {
        doctor_reply_finish(&reply);
        return r;
    }
    reply.took_ns = clock_mono_ns() - began_ns;
    reply.date_s = date_of(&reply.raw);
    *ret = reply;
    return 0;
}

void doctor_reply_finish(struct doctor_reply *reply)
{
    buf_finish(&reply->raw);
    buf_finish(&reply->body);
}

/* What /version says; {0,0} asks without a version. */
static int ask_version(struct doctor *d, struct api_version version, struct reply_version *ret)
{
    struct doctor_reply reply = {0};
    struct buf request = {0};
    int r = api_request_version(&request, version);

    if (r == 0)
        r = doctor_ask(d, &request, false, &reply);
    if (r < 0)
        return r;
    r = reply.status == 200 ? reply_version_parse(buf_slice(&reply.body), ret) : -EPROTO;
    doctor_reply_finish(&reply);
    return r;
}

/* Of a ping that was answered with 200. A proxy may have taken the header away. */
static int agree(struct doctor *d, const struct doctor_reply *ping, struct api_version *ret)
{
    struct reply_version theirs = {0};
    int r;

    if (api_version_parse(slice_str(ping->api_version), &theirs.api) == 0)
        return api_version_negotiate(theirs.min_api, theirs.api, ret);
    r = ask_version(d, (struct api_version){0, 0}, &theirs);
    if (r < 0)
        return r;
    r = api_version_negotiate(theirs.min_api, theirs.api, ret);
    reply_version_finish(&theirs);
    return r;
}

static int ping(struct doctor *d, struct doctor_reply *ret)
{
    struct buf request = {0};
    int r = api_request_ping(&request);

    return r < 0 ? r : doctor_ask(d, &request, false, ret);
}

int doctor_api_version(struct doctor *d, struct api_version *ret)
{
    struct doctor_reply reply = {0};
    int r = ping(d, &reply);

    if (r < 0)
        return r;
    r = reply.status == 200 ? agree(d, &reply, ret) : -EPROTO;
    doctor_reply_finish(&reply);
    return r;
}

/* Leaves those that are to be followed. */
static void leave_out_ignored(struct doctor *d, struct reply_list *list)
{
    char self[REPLY_ID_LEN + 1];
    bool inside = self_container_id(self);
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct reply_container *c = &list->items[i];

        if (container_is_ignored(d->config, inside ? self : NULL, c->id, c->name)) {
            free(c->name);
            free(c->state);
        } else {
            list->items[kept++] = *c;
        }
    }
    list->count = kept;
}

int doctor_list(struct doctor *d, struct api_version version, struct reply_list *ret,
                unsigned *ret_status)
{
    struct doctor_reply reply = {0};
    struct buf request = {0};
    int r = api_request_list(&request, version, false);

    *ret_status = 0;
    if (r == 0)
        r = doctor_ask(d, &request, false, &reply);
    if (r < 0)
        return r;
    *ret_status = reply.status;
    r = reply.status == 200 ? reply_list_parse(buf_slice(&reply.body), ret) : -EPROTO;
    doctor_reply_finish(&reply);
    if (r == 0)
        leave_out_ignored(d, ret);
    return r;
}

/* ---- the check ---- */

/* Returns whether there is something to connect to. */
static bool look_at_socket(struct doctor *d, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        int error = -errno;

        doctor_find(d, DOCTOR_PROBLEM, "socket", "%s: %s", path, strerror(-error));
        doctor_advise(d, "%s", engine_advice(path, error));
        return false;
    }
    if (!S_ISSOCK(st.st_mode)) {
        doctor_find(d, DOCTOR_PROBLEM, "socket", "%s is no socket%s", path,
                    S_ISDIR(st.st_mode) ? ", but a directory" : "");
        doctor_advise(d, "%s",
                      S_ISDIR(st.st_mode)
                          ? "an Engine makes a directory where a volume's source is missing: "
                            "remove it, and mount the socket once it is there"
                          : "set engine.url to the Engine's socket");
        return false;
    }
    return true;
}

static void tell_unreachable(struct doctor *d, const char *path, int error)
{
    struct stat st = {0};

    (void)stat(path, &st); /* it was there a moment ago */
    if (error == -EACCES)
        doctor_find(d, DOCTOR_PROBLEM, "socket",
                    "%s is for others: it belongs to user %u and group %u, mode %04o", path,
                    (unsigned)st.st_uid, (unsigned)st.st_gid, (unsigned)st.st_mode & 07777);
    else
        doctor_find(d, DOCTOR_PROBLEM, "ping", "no answer from %s: %s", path, strerror(-error));
    doctor_advise(d, "%s",
                  error == -ETIMEDOUT || error == -EAGAIN
                      ? "the Engine hangs or has more to do than it can: look at its log"
                      : engine_advice(path, error));
}

static void look_at_clocks(struct doctor *d, const struct doctor_reply *reply)
{
    int64_t apart_s = reply->date_s - reply->asked_at_wall_ns / NSEC_PER_SEC;

    if (reply->date_s == 0)
        return;
    /* The header is of whole seconds, and of when it was answered. */
    if (llabs(apart_s) > CLOCK_APART_MAX_S + reply->took_ns / NSEC_PER_SEC) {
        doctor_find(d, DOCTOR_WARNING, "clock", "the Engine's clock is %" PRId64 " s %s ours",
                    (int64_t)llabs(apart_s), apart_s > 0 ? "ahead of" : "behind");
        doctor_advise(d, "set both clocks right: lines carry the Engine's time, and --since is "
                         "counted by ours");
    } else {
        doctor_find(d, DOCTOR_OK, "clock", "the Engine's is ours, to a second or two");
    }
}

static void look_at_version(struct doctor *d, struct api_version version)
{
    int64_t instances = doctor_proc_number("/proc/sys/fs/inotify/max_user_instances");
    struct reply_version theirs = {0};
    bool is_old = api_version_compare(version, version_tested) < 0;
    struct reply_list list = {0};
    unsigned status;

    if (ask_version(d, version, &theirs) == 0) {
        doctor_find(d, is_old ? DOCTOR_NOTE : DOCTOR_OK, "version", "Engine %s%s", theirs.engine,
                    is_old ? ", or a proxy that speaks like one, older than any that ringtail is "
                             "tested with (20.10)"
                           : "");
        reply_version_finish(&theirs);
    } else {
        doctor_find(d, DOCTOR_NOTE, "version", "the Engine, or a proxy, does not tell its version");
    }
    if (api_version_compare(version, version_polls) > 0 ||
        doctor_list(d, version, &list, &status) < 0)
        return;
    if (instances >= 0 && (size_t)instances < list.count + 2) {
        doctor_find(d, DOCTOR_WARNING, "inotify",
                    "an Engine of 20.10 or before takes an inotify instance for each log that is "
                    "followed, and fs.inotify.max_user_instances is %" PRId64
                    " for %zu containers: the others' lines come 100 to 200 ms late",
                    instances, list.count);
        doctor_advise(d, "sysctl fs.inotify.max_user_instances=%zu, or a newer Engine",
                      MAX(list.count * 2, (size_t)1024));
    }
    reply_list_finish(&list);
}

/* A proxy for the socket may allow some and not others. */
static void look_at_events(struct doctor *d, struct api_version version)
{
    struct doctor_reply reply = {0};
    struct buf request = {0};
    int r = api_request_events(&request, version, clock_wall_ns());

    if (r == 0)
        r = doctor_ask(d, &request, true, &reply);
    if (r == 0 && reply.status == 200) {
        doctor_find(d, DOCTOR_OK, "events", "may be subscribed to");
    } else {
        if (r < 0)
            doctor_find(d, DOCTOR_PROBLEM, "events", "no answer: %s", strerror(-r));
        else
            doctor_find(d, DOCTOR_PROBLEM, "events", "refused with status %u", reply.status);
        doctor_advise(d, "a proxy for the socket has to allow GET of containers, events, ping and "
                         "version");
    }
    if (r == 0)
        doctor_reply_finish(&reply);
}

void doctor_check_engine(struct doctor *d)
{
    const char *path = config_engine_path(d->config);
    struct api_version version = {0, 0};
    struct doctor_reply reply = {0};
    int r;

    if (!path || !look_at_socket(d, path))
        return; /* without a path that is a problem of the configuration */
    r = ping(d, &reply);
    if (r < 0) {
        tell_unreachable(d, path, r);
        return;
    }
    if (reply.status != 200) {
        doctor_find(d, DOCTOR_PROBLEM, "ping", "%s answers with status %u", path, reply.status);
        doctor_advise(d, "%s", engine_refusal(reply.status, "look at the Engine's log"));
    } else {
        doctor_find(d, DOCTOR_OK, "ping", "%s answers within %" PRId64 " ms", path,
                    reply.took_ns / NSEC_PER_MSEC + 1);
        look_at_clocks(d, &reply);
        r = agree(d, &reply, &version);
        if (r < 0) {
            doctor_find(d, DOCTOR_PROBLEM, "api",
                        "no API version in common (the Engine says "
                        "\"%s\")",
                        reply.api_version);
            doctor_advise(d, "%s", engine_advice(path, r));
        } else {
            doctor_find(d, DOCTOR_OK, "api", "version %u.%u", version.major, version.minor);
            look_at_version(d, version);
            look_at_events(d, version);
        }
    }
    doctor_reply_finish(&reply);
}
