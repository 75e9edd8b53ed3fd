/*
 * Requests to the Engine, as text. Owns nothing; knows no socket and no reply. What came from
 * outside (an id) is checked before it gets into a request line. Only GET, never `Upgrade`.
 */
#include "ringtail/docker/api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#ifndef RINGTAIL_VERSION
#error "RINGTAIL_VERSION must be defined, as in -DRINGTAIL_VERSION=\"1.0.0\""
#endif

#define ID_LEN_MAX 128
/* The longest target is that of the events, about 400 bytes; with the longest id, 300. */
#define TARGET_MAX 640
#define SINCE_MAX 32

/* JSON in a query: {"type":["container"],"event":["create",…]}. */
#define QUOTED(word) "%%22" word "%%22"
#define COMMA "%%2C"
#define EVENTS_FILTERS                                                                             \
    "%%7B" QUOTED("type") "%%3A%%5B" QUOTED("container") "%%5D" COMMA QUOTED(                      \
        "event") "%%3A%%5B" QUOTED("create") COMMA QUOTED("start") COMMA QUOTED("die")             \
        COMMA QUOTED("stop") COMMA QUOTED("kill") COMMA QUOTED("destroy") COMMA QUOTED("rename")   \
            COMMA QUOTED("pause") COMMA QUOTED("unpause") COMMA QUOTED("restart")                  \
                COMMA QUOTED("oom") "%%5D%%7D"

/* Digits that fill *in up to `stop` or to its end. */
static int number_parse(struct slice *in, char stop, uint16_t *ret)
{
    uint32_t value = 0;
    size_t i;

    for (i = 0; i < in->len && in->data[i] != stop; i++) {
        if (in->data[i] < '0' || in->data[i] > '9')
            return -EINVAL;
        value = value * 10 + (uint32_t)(in->data[i] - '0');
        if (value > UINT16_MAX)
            return -EINVAL;
    }
    if (i == 0)
        return -EINVAL;
    *in = slice_from(*in, i);
    *ret = (uint16_t)value;
    return 0;
}

int api_version_parse(struct slice in, struct api_version *ret)
{
    struct api_version v;
    int r;

    r = number_parse(&in, '.', &v.major);
    if (r < 0)
        return r;
    if (in.len == 0)
        return -EINVAL;
    in = slice_from(in, 1);
    r = number_parse(&in, '\0', &v.minor);
    if (r < 0)
        return r;
    if (in.len > 0)
        return -EINVAL;
    *ret = v;
    return 0;
}

int api_version_compare(struct api_version a, struct api_version b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    return a.minor == b.minor ? 0 : a.minor < b.minor ? -1 : 1;
}

int api_version_negotiate(struct api_version engine_oldest, struct api_version engine,
                          struct api_version *ret)
{
    struct api_version oldest = API_VERSION_OLDEST, newest = API_VERSION_NEWEST;

    if (api_version_compare(engine_oldest, oldest) > 0)
        oldest = engine_oldest;
    if (api_version_compare(engine, newest) < 0)
        newest = engine;
    if (api_version_compare(newest, oldest) < 0)
        return -EPROTONOSUPPORT;
    *ret = newest;
    return 0;
}

/*
 * An exchange has a connection of its own, so the Engine may close it behind the reply. A stream
 * that is open without end gains nothing by saying so.
 */
static int request_append(struct buf *out, bool endless, const char *target_fmt, ...)
    RT_PRINTF(3, 4);

static int request_append(struct buf *out, bool endless, const char *target_fmt, ...)
{
    char target[TARGET_MAX];
    va_list ap;
    int len;

    va_start(ap, target_fmt);
    len = vsnprintf(target, sizeof target, target_fmt, ap);
    va_end(ap);
    if (len < 0 || (size_t)len >= sizeof target)
        return -EINVAL;
    return buf_printf(out,
                      "GET %s HTTP/1.1\r\n"
                      "Host: docker\r\n"
                      "User-Agent: ringtail/" RINGTAIL_VERSION "\r\n"
                      "%s\r\n",
                      target, endless ? "" : "Connection: close\r\n");
}

/* Letters, digits and _.-, beginning with a letter or digit: also what the Engine allows in a name.
 */
static bool id_is_valid(struct slice id)
{
    if (id.len == 0 || id.len > ID_LEN_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!alnum && (i == 0 || (c != '_' && c != '.' && c != '-')))
            return false;
    }
    return true;
}

/* The Engine takes nothing but unix seconds with a fraction; 0 is everything. */
static void since_format(char out[SINCE_MAX], int64_t since_ns)
{
    since_ns = MAX(since_ns, 0);
    (void)snprintf(out, SINCE_MAX, "%" PRId64 ".%09" PRId64, since_ns / NSEC_PER_SEC,
                   since_ns % NSEC_PER_SEC);
}

int api_request_ping(struct buf *out)
{
    return request_append(out, false, "/_ping");
}

int api_request_version(struct buf *out, struct api_version v)
{
    if (v.major == 0)
        return request_append(out, false, "/version");
    return request_append(out, false, "/v%u.%u/version", v.major, v.minor);
}

int api_request_list(struct buf *out, struct api_version v, bool all)
{
    return request_append(out, false, "/v%u.%u/containers/json%s", v.major, v.minor,
                          all ? "?all=1" : "");
}

int api_request_inspect(struct buf *out, struct api_version v, struct slice id)
{
    if (!id_is_valid(id))
        return -EINVAL;
    return request_append(out, false, "/v%u.%u/containers/%.*s/json", v.major, v.minor, (int)id.len,
                          id.data);
}

int api_request_events(struct buf *out, struct api_version v, int64_t since_ns)
{
    char since[SINCE_MAX];

    since_format(since, since_ns);
    return request_append(out, true, "/v%u.%u/events?since=%s&filters=" EVENTS_FILTERS, v.major,
                          v.minor, since);
}

int api_request_logs(struct buf *out, struct api_version v, struct slice id,
                     const struct api_logs_query *q)
{
    char since[SINCE_MAX], tail[SINCE_MAX] = "all";

    if (!id_is_valid(id))
        return -EINVAL;
    since_format(since, q->has_since ? q->since_ns : 0);
    if (q->tail >= 0)
        (void)snprintf(tail, sizeof tail, "%" PRId64, q->tail);
    return request_append(
        out, q->follow,
        "/v%u.%u/containers/%.*s/logs?follow=%d&stdout=1&stderr=1&timestamps=1%s%s&tail=%s",
        v.major, v.minor, (int)id.len, id.data, q->follow, q->has_since ? "&since=" : "",
        q->has_since ? since : "", tail);
}
