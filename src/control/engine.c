/* src/control/engine.h. Logs the Engine's coming and going, once each. */
#include "engine.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/docker/reply.h"

static void engine_ask(struct engine *e);

/* ---- calls ---- */

static void call_pump(struct engine *e);

static int call_on_head(void *ctx, const struct http_head *head)
{
    struct engine_call *call = ctx;

    call->status = head->status;
    snprintf(call->api_version, sizeof call->api_version, "%.*s", (int)head->api_version.len,
             head->api_version.data);
    return 0;
}

static int call_on_body(void *ctx, struct slice span, unsigned flags)
{
    struct engine_call *call = ctx;

    if (span.len > (size_t)call->engine->config->engine_reply_bytes_max - call->body.len)
        return -EMSGSIZE;
    return buf_append_slice(&call->body, span);
}

static void call_on_closed(void *ctx, int result)
{
    struct engine_call *call = ctx;
    struct engine *e = call->engine;
    struct buf body = call->body;

    if (result == 0 && engine_is_out_of_reach(call->status, buf_slice(&body)))
        result = -EHOSTUNREACH;
    call->exchange = NULL;
    call->body = (struct buf){0};
    call->active = false;
    list_remove(&call->link);
    e->calls_active_count--;
    e->calls_failed += result < 0;
    e->calls_answered += result == 0;
    call->on_reply(call->ctx, result, call->status, buf_slice(&body));
    buf_finish(&body);
    call_pump(e);
}

static const struct http_handlers call_handlers = {
    .reply = {.on_head = call_on_head, .on_body = call_on_body},
    .on_closed = call_on_closed,
};

struct http_options engine_http_options(const struct engine *e)
{
    return (struct http_options){
        .path = e->path,
        .idle_timeout_ms = e->config->stream_read_timeout_ms,
        .head_timeout_ms = e->config->engine_request_timeout_ms,
        .head_bytes_max = (size_t)e->config->engine_head_bytes_max,
    };
}

static void call_open(struct engine *e, struct engine_call *call)
{
    struct http_options options = engine_http_options(e);
    int r;

    options.deadline_ms = e->config->engine_request_timeout_ms;
    list_append(&e->calls_active, &call->link);
    e->calls_active_count++;
    r = http_open(e->ring, &options, &call->request, &call_handlers, call, &call->exchange);
    if (r < 0)
        call_on_closed(call, r);
}

static void call_pump(struct engine *e)
{
    while (e->calls_active_count < (unsigned)e->config->engine_requests_max &&
           !list_is_empty(&e->calls_waiting))
        call_open(e, container_of(list_pop(&e->calls_waiting), struct engine_call, link));
}

void engine_call_start(struct engine *e, struct engine_call *call, struct buf *request,
                       engine_reply_fn on_reply, void *ctx)
{
    *call = (struct engine_call){
        .engine = e,
        .request = *request,
        .on_reply = on_reply,
        .ctx = ctx,
        .active = true,
    };
    *request = (struct buf){0};
    list_append(&e->calls_waiting, &call->link);
    call_pump(e);
}

/* ---- is it there? ---- */

static void engine_is_there(struct engine *e, struct api_version version)
{
    char text[16];

    if (e->closing)
        return; /* the reply was complete already when its call was closed */

    snprintf(text, sizeof text, "%u.%u", version.major, version.minor);
    if (e->connects == 0 || e->said_unreachable || api_version_compare(version, e->version) != 0)
        log_info("Engine connected", LOG_STR("address", e->config->engine_url),
                 LOG_STR("api_version", text));
    e->version = version;
    e->state = ENGINE_UP;
    e->attempt = 0;
    e->returns += e->connects > 0 && e->said_unreachable;
    e->connects++;
    e->said_unreachable = false;
    e->events.on_up(e->events.ctx);
}

/* From the local file alone: asking the name service could take as long as a network does. */
static bool group_name(gid_t gid, char *out, size_t size)
{
    FILE *file = fopen("/etc/group", "re");
    struct group *group;
    bool found = false;

    if (!file)
        return false;
    while (!found && (group = fgetgrent(file)))
        found = group->gr_gid == gid && snprintf(out, size, "%s", group->gr_name) > 0;
    (void)fclose(file); /* read only: nothing to lose */
    return found;
}

static const char *group_advice(const char *path)
{
    static char text[160];
    char name[64] = "usually docker";
    struct stat st;

    if (stat(path, &st) == 0 && !group_name(st.st_gid, name, sizeof name))
        snprintf(name, sizeof name, "number %u", (unsigned)st.st_gid);
    snprintf(text, sizeof text,
             "not permitted: run as a member of the socket's group (%s) or as root", name);
    return text;
}

bool engine_is_out_of_reach(unsigned status, struct slice body)
{
    return status == 502 || status == 504 ||
           (status == 503 && (body.len == 0 || body.data[0] != '{'));
}

const char *engine_refusal(unsigned status, const char *said)
{
    return status == 403 ? "a proxy before the Engine, or a plugin of it, refuses: ringtail needs "
                           "GET of _ping, version, events and containers, and nothing else"
                         : said;
}

const char *engine_advice(const char *path, int error)
{
    switch (-error) {
    case EACCES:
        return group_advice(path);
    case ENOENT:
        return "there is no such socket: is the Engine installed and running? (engine.url, "
               "DOCKER_HOST)";
    case ECONNREFUSED:
        return "nobody listens on the socket: is the Engine running?";
    case EPROTONOSUPPORT:
        return "the Engine speaks no API version that ringtail does (1.24 to 1.54)";
    case EBADMSG:
        return "what answers does not speak the Engine API";
    case EHOSTUNREACH:
        return "a proxy answers, and can't reach the Engine: is the Engine running?";
    default:
        return "waiting for it";
    }
}

/* The Engine is not there or not usable. Waits and tries for ever: engines are restarted. */
static void engine_is_not_there(struct engine *e, int error)
{
    int64_t delay_ms =
        random_backoff_ms(&e->random, e->attempt++, e->config->engine_reconnect_min_ms,
                          e->config->engine_reconnect_max_ms);

    e->state = ENGINE_DOWN;
    if (e->closing)
        return;
    if (!e->said_unreachable)
        log_warn("Engine unreachable", LOG_STR("address", e->config->engine_url),
                 LOG_STR("advice", error == -EPROTO
                                       ? engine_refusal(e->ask.status,
                                                        "the Engine refused to tell its version")
                                       : engine_advice(e->path, error)),
                 LOG_ERRNO(error));
    e->said_unreachable = true;
    ring_timer(e->ring, &e->retry_op, MAX(delay_ms, 1));
}

static void engine_agree(struct engine *e, const struct reply_version *theirs)
{
    struct api_version version;
    int r = api_version_negotiate(theirs->min_api, theirs->api, &version);

    if (r < 0)
        engine_is_not_there(e, r);
    else
        engine_is_there(e, version);
}

static void on_version_reply(void *ctx, int result, unsigned status, struct slice body)
{
    struct engine *e = ctx;
    struct reply_version theirs;
    int r = result < 0 ? result : status == 200 ? reply_version_parse(body, &theirs) : -EPROTO;

    if (r < 0) {
        engine_is_not_there(e, r);
        return;
    }
    engine_agree(e, &theirs);
    reply_version_finish(&theirs);
}

static void on_ping_reply(void *ctx, int result, unsigned status, struct slice body)
{
    struct engine *e = ctx;
    struct reply_version theirs = {0};
    struct buf request = {0};

    if (result < 0 || e->closing) {
        engine_is_not_there(e, result);
    } else if (status != 200) {
        engine_is_not_there(e, -EPROTO);
    } else if (api_version_parse(slice_str(e->ask.api_version), &theirs.api) == 0) {
        engine_agree(e, &theirs);
    } else if (api_request_version(&request, (struct api_version){0, 0}) == 0) {
        /* A proxy may have taken the header away: /version says it in its body. */
        engine_call_start(e, &e->ask, &request, on_version_reply, e);
    } else {
        engine_is_not_there(e, -ENOMEM);
    }
}

static void engine_ask(struct engine *e)
{
    struct buf request = {0};

    e->state = ENGINE_ASKING;
    if (api_request_ping(&request) < 0) {
        buf_finish(&request);
        engine_is_not_there(e, -ENOMEM);
        return;
    }
    engine_call_start(e, &e->ask, &request, on_ping_reply, e);
}

static void on_retry(struct op *op, int res)
{
    struct engine *e = container_of(op, struct engine, retry_op);

    if (!e->closing)
        engine_ask(e);
}

void engine_init(struct engine *e, struct ring *ring, const struct config *config,
                 const struct engine_events *events)
{
    *e = (struct engine){
        .ring = ring,
        .config = config,
        .path = config_engine_path(config),
        .events = *events,
    };
    e->retry_op.done = on_retry;
    list_init(&e->calls_waiting);
    list_init(&e->calls_active);
    random_seed_system(&e->random);
}

void engine_start(struct engine *e)
{
    engine_ask(e);
}

void engine_doubt(struct engine *e)
{
    if (e->state == ENGINE_UP && !e->closing)
        engine_ask(e);
}

void engine_close(struct engine *e)
{
    struct list *link;

    e->closing = true;
    while ((link = list_pop(&e->calls_waiting))) {
        struct engine_call *call = container_of(link, struct engine_call, link);

        buf_finish(&call->request);
        call->active = false;
        call->on_reply(call->ctx, -ECANCELED, 0, (struct slice){0});
    }
    LIST_FOR_EACH (active, &e->calls_active)
        http_close(container_of(active, struct engine_call, link)->exchange);
    ring_cancel(e->ring, &e->retry_op);
}

bool engine_is_idle(const struct engine *e)
{
    return list_is_empty(&e->calls_waiting) && list_is_empty(&e->calls_active) &&
           !op_in_flight(&e->retry_op);
}
