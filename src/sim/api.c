/*
 * What the Engine answers: routes, replies, and the words of its errors, as recorded
 * from 20.10.24, 26.1.5 and 28.5.2. Builds whole replies; how their bytes leave is conn.c's. The
 * order of headers and JSON members is the Engine's, and members that nobody reads are there where
 * they are cheap, so that a client meets the real shape.
 */
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/json.h"

#define CHUNKED_ABOVE_BYTES 2048 /* where Go's server stops counting and begins to chunk */
#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"

/* ---- Writing ---- */

/** A buffer that remembers that it ran out of memory. */
struct out {
    struct buf b;
    int error;
};

static void put(struct out *o, const char *fmt, ...) RT_PRINTF(2, 3);

static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (buf_vprintf(&o->b, fmt, ap) < 0)
        o->error = -ENOMEM;
    va_end(ap);
}

static void put_text(struct out *o, const char *text)
{
    if (buf_append_str(&o->b, text) < 0)
        o->error = -ENOMEM;
}

static void put_string(struct out *o, struct slice s)
{
    if (json_append_string(&o->b, s) < 0)
        o->error = -ENOMEM;
}

static void put_pairs(struct out *o, const struct sim_pair *pairs, size_t count)
{
    put_text(o, "{");
    for (size_t i = 0; i < count; i++) {
        if (i)
            put_text(o, ",");
        put_string(o, slice_str(pairs[i].key));
        put_text(o, ":");
        put_string(o, slice_str(pairs[i].value));
    }
    put_text(o, "}");
}

static void put_time(struct out *o, int64_t ns)
{
    char text[TIMESTAMP_LEN];

    if (ns == 0) {
        put_text(o, "\"0001-01-01T00:00:00Z\"");
        return;
    }
    timestamp_format(text, ns);
    put(o, "\"%.*s\"", TIMESTAMP_LEN, text);
}

static void put_name(struct out *o, const struct sim_container *c)
{
    struct out name = {0};

    put(&name, "/%s", c->name);
    put_string(o, buf_slice(&name.b));
    o->error = o->error ? o->error : name.error;
    buf_finish(&name.b);
}

/** A digest-like name of something: 64 hex digits that depend on the text alone. */
static void put_digest(struct out *o, const char *text)
{
    for (uint64_t i = 0; i < 4; i++)
        put(o, "%016llx", (unsigned long long)hash_bytes(slice_str(text), i + 1));
}

/* ---- Heads ---- */

static const char *status_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 409:
        return "Conflict";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    default:
        return "Status";
    }
}

static const char *date_text(struct sim *sim)
{
    time_t now = (time_t)(sim_clock_ns(sim) / NSEC_PER_SEC);
    struct tm tm;

    if (now != sim->date_s) {
        sim->date_s = now;
        (void)gmtime_r(&now, &tm); /* fails for years that int64 ns do not reach */
        (void)strftime(sim->date, sizeof sim->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return sim->date;
}

/** What a reply's head has beside what all have. */
struct head {
    int status;
    const char *content_type; /* NULL: none */
    bool bare;                /* no Api-Version, no Server: the router's own answer */
    bool early;               /* refused before the API proper: no Docker-Experimental */
    bool ping;
    int64_t length; /* -1: chunked, or till EOF */
};

static void reply_head(struct conn *k, const struct head *h)
{
    struct sim *sim = k->sim;
    const bool old = sim->profile->like_20_10, type_last = h->ping && !k->req.head_only;
    struct out o = {0};

    sim_request_at(sim, k->req.number)->status = h->status;
    put(&o, "HTTP/1.%d %d %s\r\n", k->req.http10 ? 0 : 1, h->status, status_reason(h->status));
    if (!h->bare && !k->no_api_version)
        put(&o, "Api-Version: %u.%u\r\n", sim->newest.major, sim->newest.minor);
    if (h->ping && !old)
        put_text(&o, "Builder-Version: 2\r\n");
    if (h->ping)
        put_text(&o, "Cache-Control: no-cache, no-store, must-revalidate\r\n");
    if (h->ping && k->req.head_only)
        put_text(&o, "Content-Length: 0\r\n");
    if (h->content_type && !type_last)
        put(&o, "Content-Type: %s\r\n", h->content_type);
    if (!h->bare) {
        if (!h->early)
            put_text(&o, "Docker-Experimental: false\r\n");
        put_text(&o, "Ostype: linux\r\n");
        if (h->ping)
            put_text(&o, "Pragma: no-cache\r\n");
        put(&o, "Server: Docker/%s (linux)\r\n", sim->profile->version);
        if (h->ping && !old)
            put_text(&o, "Swarm: inactive\r\n");
        if (h->early && strcmp(h->content_type, TEXT_TYPE) == 0)
            put_text(&o, "X-Content-Type-Options: nosniff\r\n");
    }
    put(&o, "Date: %s\r\n", date_text(sim));
    if (h->length >= 0 && !k->req.head_only)
        put(&o, "Content-Length: %lld\r\n", (long long)h->length);
    if (type_last)
        put(&o, "Content-Type: %s\r\n", h->content_type);
    if (k->close_after && !k->req.http10)
        put_text(&o, "Connection: close\r\n");
    k->chunked = h->length < 0 && !k->req.http10;
    if (k->chunked)
        put_text(&o, "Transfer-Encoding: chunked\r\n");
    put_text(&o, "\r\n");
    if (o.error)
        k->halted = true;
    else
        conn_put_head(k, buf_slice(&o.b));
    buf_finish(&o.b);
}

static void reply_whole(struct conn *k, struct head h, struct slice body)
{
    h.length = body.len > CHUNKED_ABOVE_BYTES ? -1 : (int64_t)body.len;
    reply_head(k, &h);
    conn_put_body(k, body);
    conn_put_last(k);
}

/** Sends what was written, as JSON with the newline that Go's encoder adds, and frees it. */
static void reply_json(struct conn *k, struct out *o)
{
    put_text(o, "\n");
    if (o->error)
        k->halted = true;
    else
        reply_whole(k, (struct head){.status = 200, .content_type = JSON_TYPE}, buf_slice(&o->b));
    buf_finish(&o->b);
}

static void reply_message(struct conn *k, struct head h, const char *fmt, ...) RT_PRINTF(3, 4);

static void reply_message(struct conn *k, struct head h, const char *fmt, ...)
{
    struct buf text = {0};
    struct out o = {0};
    va_list ap;

    va_start(ap, fmt);
    if (buf_vprintf(&text, fmt, ap) < 0)
        o.error = -ENOMEM;
    va_end(ap);
    if (h.content_type && strcmp(h.content_type, TEXT_TYPE) == 0) {
        put(&o, "%.*s\n", (int)text.len, text.data);
    } else {
        h.content_type = JSON_TYPE;
        put_text(&o, "{\"message\":");
        put_string(&o, buf_slice(&text));
        put_text(&o, "}\n");
    }
    if (o.error)
        k->halted = true;
    else
        reply_whole(k, h, buf_slice(&o.b));
    buf_finish(&text);
    buf_finish(&o.b);
}

#define reply_error(k, code, ...) reply_message(k, (struct head){.status = (code)}, __VA_ARGS__)

/* ---- Requests ---- */

/** `v1.41` and so on. 0, or -EINVAL for what the router does not take for a version. */
static int version_parse(struct slice in, struct version *ret)
{
    char text[16], *end;

    if (in.len < 2 || in.len >= sizeof text || in.data[0] != 'v' ||
        strspn(in.data + 1, "0123456789.") < in.len - 1)
        return -EINVAL;
    memcpy(text, in.data + 1, in.len - 1);
    text[in.len - 1] = '\0';
    *ret = (struct version){.major = (unsigned)strtoul(text, &end, 10)};
    if (*end == '.')
        ret->minor = (unsigned)strtoul(end + 1, NULL, 10);
    return 0;
}

static bool version_less(struct version a, struct version b)
{
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static char *percent_decode(struct slice in)
{
    char *out = malloc(in.len + 1);
    size_t len = 0;

    for (size_t i = 0; out && i < in.len; i++) {
        char c = in.data[i];

        if (c == '%' && i + 2 < in.len && hex_value(in.data[i + 1]) >= 0 &&
            hex_value(in.data[i + 2]) >= 0) {
            c = (char)(hex_value(in.data[i + 1]) * 16 + hex_value(in.data[i + 2]));
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[len++] = c;
    }
    if (out)
        out[len] = '\0';
    return out;
}

/** A parameter's decoded value; empty when it is not there. NULL without memory. The caller frees
 * it. */
static char *query_get(const struct request *req, const char *name)
{
    struct slice rest = req->query;
    size_t name_len = strlen(name);

    while (rest.len) {
        const char *and = memchr(rest.data, '&', rest.len);
        struct slice one = slice_of(rest.data, and? (size_t)(and-rest.data) : rest.len);

        if (one.len > name_len && memcmp(one.data, name, name_len) == 0 &&
            one.data[name_len] == '=')
            return percent_decode(slice_from(one, name_len + 1));
        rest = slice_from(rest, one.len + (and? 1 : 0));
    }
    return strdup("");
}

/** Go's httputils.BoolValue: everything is true that is not one of these. */
static bool query_bool(const struct request *req, const char *name)
{
    char *value = query_get(req, name);
    bool is = value && strcmp(value, "") != 0 && strcmp(value, "0") != 0 &&
              strcasecmp(value, "no") != 0 && strcasecmp(value, "false") != 0 &&
              strcasecmp(value, "none") != 0;

    free(value);
    return is;
}

static bool path_ends(struct slice path, const char *suffix)
{
    size_t len = strlen(suffix);

    return path.len > len && memcmp(path.data + path.len - len, suffix, len) == 0;
}

void api_classify(struct sim *sim, struct request *req)
{
    static const char containers[] = "/containers/";
    struct slice path = slice_str(req->target);
    const char *question = memchr(path.data, '?', path.len);

    if (question) {
        req->query = slice_str(question + 1);
        path.len = (size_t)(question - path.data);
    }
    req->kind = SIM_REQUEST_OTHER;
    req->api = sim->newest;
    if (path.len > 2 && memcmp(path.data, "/v", 2) == 0) {
        const char *slash = memchr(path.data + 1, '/', path.len - 1);
        struct slice version = slice_of(path.data + 1, slash ? (size_t)(slash - path.data) - 1 : 0);

        if (slash && version_parse(version, &req->api) == 0) {
            req->versioned = true;
            path = slice_from(path, version.len + 1);
        }
    }
    req->path = path;
    if (slice_eq_str(path, "/_ping")) {
        req->kind = SIM_REQUEST_PING;
    } else if (slice_eq_str(path, "/version")) {
        req->kind = SIM_REQUEST_VERSION;
    } else if (slice_eq_str(path, "/events")) {
        req->kind = SIM_REQUEST_EVENTS;
    } else if (slice_eq_str(path, "/containers/json")) {
        req->kind = SIM_REQUEST_LIST;
    } else if (path.len > strlen(containers) &&
               memcmp(path.data, containers, strlen(containers)) == 0 &&
               (path_ends(path, "/json") || path_ends(path, "/logs"))) {
        struct slice key = slice_from(path, strlen(containers));

        key.len -= MIN(strlen("/json"), key.len);
        if (key.len == 0 || memchr(key.data, '/', key.len))
            return;
        req->kind = path_ends(path, "/json") ? SIM_REQUEST_INSPECT : SIM_REQUEST_LOGS;
        req->key = key;
        req->container = container_find(sim, key);
    }
}

/** True when the version was refused. */
static bool refuse_version(struct conn *k)
{
    const struct sim *sim = k->sim;
    struct version v = k->req.api;
    struct head h = {.status = 400, .early = true, .content_type = JSON_TYPE};

    if (version_less(sim->newest, v)) {
        reply_message(k, h,
                      "client version %u.%u is too new. Maximum supported API version is %u.%u",
                      v.major, v.minor, sim->newest.major, sim->newest.minor);
        return true;
    }
    if (!version_less(v, sim->oldest))
        return false;
    if (!sim->profile->old_is_json)
        h.content_type = TEXT_TYPE;
    reply_message(k, h,
                  "client version %u.%u is too old. Minimum supported API version is %u.%u, please "
                  "upgrade your "
                  "client to a newer version",
                  v.major, v.minor, sim->oldest.major, sim->oldest.minor);
    return true;
}

/**
 * `seconds[.fraction]`, as a time; 0 and before are 0, which is none.
 * returns: 0, or -EINVAL with the words of Go's parser sent as the reply.
 */
static int query_time(struct conn *k, const char *name, int64_t *ret_ns)
{
    char *text = query_get(&k->req, name), *end;
    int64_t ns = 0;
    long long seconds;
    const char *bad = NULL;

    if (!text) {
        k->halted = true;
        return -EINVAL;
    }
    errno = 0;
    seconds = strtoll(text, &end, 10);
    if (*text && (end == text || (*end && *end != '.') || *text == ' '))
        bad = text;
    if (*end == '.') {
        int64_t unit = NSEC_PER_SEC / 10;

        for (const char *digit = end + 1; *digit && !bad; digit++, unit /= 10) {
            if (*digit < '0' || *digit > '9')
                bad = end + 1;
            else
                ns += (*digit - '0') * unit;
        }
    }
    if (bad) {
        /* Go parses what is before the first point as the seconds. */
        const char *point = bad == text ? strchr(text, '.') : NULL;

        reply_error(k, 500, "strconv.ParseInt: parsing \"%.*s\": invalid syntax",
                    (int)(point ? point - text : (ptrdiff_t)strlen(bad)), bad);
        free(text);
        return -EINVAL;
    }
    free(text);
    if (seconds < 0)
        *ret_ns = 0;
    else if (seconds >= INT64_MAX / NSEC_PER_SEC)
        *ret_ns = NEVER_NS;
    else
        *ret_ns = (int64_t)seconds * NSEC_PER_SEC + ns;
    return 0;
}

/** The filters, checked against the keys that there are. Negative: a reply was sent. */
static int query_filters(struct conn *k, const char *const *known, struct filters *ret)
{
    char *text = query_get(&k->req, "filters");
    const char *unknown;
    int r = text ? filters_parse(slice_str(text), ret) : -ENOMEM;

    if (r == -ENOMEM) {
        k->halted = true;
    } else if (r < 0 && k->sim->profile->like_20_10) {
        reply_error(k, 500, "invalid character '%c' looking for beginning of value", *text);
    } else if (r < 0) {
        reply_error(k, 400, "invalid filter");
    } else if ((unknown = filters_unknown_key(ret, known))) {
        reply_error(k, 400, "invalid filter '%s'", unknown);
        filters_finish(ret);
        r = -EINVAL;
    }
    free(text);
    return r;
}

/* ---- Replies ---- */

static void answer_ping(struct conn *k)
{
    struct slice ok = k->req.head_only ? slice_str("") : slice_str("OK");

    reply_whole(k, (struct head){.status = 200, .content_type = TEXT_TYPE, .ping = true}, ok);
}

static void answer_version(struct conn *k)
{
    const struct sim *sim = k->sim;
    struct out o = {0};
    char api[32];

    snprintf(api, sizeof api, "%u.%u", sim->newest.major, sim->newest.minor);
    put(&o,
        "{\"Platform\":{\"Name\":\"\"},\"Components\":[{\"Name\":\"Engine\",\"Version\":\"%s\","
        "\"Details\":{"
        "\"ApiVersion\":\"%s\",\"Arch\":\"amd64\",\"BuildTime\":\"2026-01-01T00:00:00.000000000+00:"
        "00\","
        "\"Experimental\":\"false\",\"GitCommit\":\"simulated\",\"GoVersion\":\"none\","
        "\"KernelVersion\":\"6.18.0\","
        "\"MinAPIVersion\":\"%u.%u\",\"Os\":\"linux\"}}],",
        sim->profile->version, api, sim->oldest.major, sim->oldest.minor);
    put(&o,
        "\"Version\":\"%s\",\"ApiVersion\":\"%s\",\"MinAPIVersion\":\"%u.%u\",\"GitCommit\":"
        "\"simulated\","
        "\"GoVersion\":\"none\",\"Os\":\"linux\",\"Arch\":\"amd64\",\"KernelVersion\":\"6.18.0\","
        "\"BuildTime\":\"2026-01-01T00:00:00.000000000+00:00\"}",
        sim->profile->version, api, sim->oldest.major, sim->oldest.minor);
    reply_json(k, &o);
}

/* As go-units' HumanDuration says it. */
static void put_ago(char *out, size_t size, int64_t ns)
{
    int64_t s = MAX(ns, 0) / NSEC_PER_SEC, hours = (s + 1800) / 3600;

    if (s < 1)
        (void)snprintf(out, size, "Less than a second");
    else if (s == 1)
        (void)snprintf(out, size, "1 second");
    else if (s < 60)
        (void)snprintf(out, size, "%d seconds", (int)s);
    else if (s < 120)
        (void)snprintf(out, size, "About a minute");
    else if (s < 3600)
        (void)snprintf(out, size, "%d minutes", (int)(s / 60));
    else if (hours == 1)
        (void)snprintf(out, size, "About an hour");
    else if (hours < 48)
        (void)snprintf(out, size, "%d hours", (int)hours);
    else if (hours < 24 * 14)
        (void)snprintf(out, size, "%d days", (int)(hours / 24));
    else
        (void)snprintf(out, size, "%d weeks", (int)(hours / 24 / 7));
}

static const char *status_text(const struct sim_container *c, char out[48])
{
    char ago[24];

    put_ago(ago, sizeof ago, sim_clock_ns(c->sim) - c->finished_at_ns);
    switch (c->state) {
    case SIM_CREATED:
        return "Created";
    case SIM_RUNNING:
        return "Up Less than a second";
    case SIM_PAUSED:
        return "Up Less than a second (Paused)";
    case SIM_RESTARTING:
        (void)snprintf(out, 48, "Restarting (%d) %s ago", c->exit_code, ago);
        return out;
    case SIM_EXITED:
        (void)snprintf(out, 48, "Exited (%d) %s ago", c->exit_code, ago);
        return out;
    case SIM_REMOVING:
    case SIM_GONE:
        break;
    }
    return "Removal In Progress";
}

static void put_networks(struct out *o)
{
    put_text(o, "\"Networks\":{\"none\":{\"IPAMConfig\":null,\"Links\":null,\"Aliases\":null,"
                "\"MacAddress\":\"\","
                "\"DriverOpts\":null,\"NetworkID\":\"\",\"EndpointID\":\"\",\"Gateway\":\"\","
                "\"IPAddress\":\"\","
                "\"IPPrefixLen\":0,\"IPv6Gateway\":\"\",\"GlobalIPv6Address\":\"\","
                "\"GlobalIPv6PrefixLen\":0,"
                "\"DNSNames\":null}}");
}

static void answer_list(struct conn *k)
{
    static const char *const keys[] = {
        "ancestor", "before", "exited",  "expose",  "health", "id",     "is-task", "isolation",
        "label",    "name",   "network", "publish", "since",  "status", "volume",  NULL};
    struct filters f = {0};
    struct out o = {0};
    bool all, first = true;

    if (query_filters(k, keys, &f) < 0)
        return;
    all = query_bool(&k->req, "all") || filters_has(&f, "status");
    put_text(&o, "[");
    LIST_FOR_EACH_ENTRY (c, &k->sim->containers, struct sim_container, link) {
        char status[48];

        if ((!all && !container_is_up(c)) || !filters_match_container(&f, c))
            continue;
        put(&o, "%s{\"Id\":\"%s\",\"Names\":[", first ? "" : ",", c->id);
        first = false;
        put_name(&o, c);
        put_text(&o, "],\"Image\":");
        put_string(&o, slice_str(c->image));
        put_text(&o, ",\"ImageID\":\"sha256:");
        put_digest(&o, c->image);
        put(&o, "\",\"Command\":\"/bin/busybox sh\",\"Created\":%lld,\"Ports\":[],\"Labels\":",
            (long long)(c->created_at_ns / NSEC_PER_SEC));
        put_pairs(&o, c->labels, c->labels_count);
        put(&o,
            ",\"State\":\"%s\",\"Status\":\"%s\",\"HostConfig\":{\"NetworkMode\":\"none\"},"
            "\"NetworkSettings\":{",
            state_name(c->state), status_text(c, status));
        put_networks(&o);
        put_text(&o, "},\"Mounts\":[]}");
    }
    put_text(&o, "]");
    filters_finish(&f);
    reply_json(k, &o);
}

static void reply_no_container(struct conn *k)
{
    char *name = percent_decode(k->req.key);

    reply_error(k, 404, "No such container: %s", name ? name : "?");
    free(name);
}

static bool has_log_file(const struct sim_container *c)
{
    return strcmp(c->log_driver, "json-file") == 0;
}

static void put_state(struct out *o, const struct sim_container *c)
{
    bool up = container_is_up(c) || c->state == SIM_RESTARTING;

    put(o,
        "\"State\":{\"Status\":\"%s\",\"Running\":%s,\"Paused\":%s,\"Restarting\":%s,\"OOMKilled\":"
        "false,\"Dead\":%s,"
        "\"Pid\":%d,\"ExitCode\":%d,\"Error\":\"\",\"StartedAt\":",
        state_name(c->state), up ? "true" : "false", c->state == SIM_PAUSED ? "true" : "false",
        c->state == SIM_RESTARTING ? "true" : "false", c->state == SIM_REMOVING ? "true" : "false",
        container_is_up(c) ? 4711 : 0, c->exit_code);
    put_time(o, c->started_at_ns);
    put_text(o, ",\"FinishedAt\":");
    put_time(o, c->finished_at_ns);
    put_text(o, "}");
}

static void put_host_config(struct out *o, const struct sim_container *c)
{
    put_text(o, "\"HostConfig\":{\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":");
    put_string(o, slice_str(c->log_driver));
    put_text(o, ",\"Config\":");
    put_pairs(o, c->log_options, c->log_options_count);
    put_text(o, "},\"NetworkMode\":\"none\",\"PortBindings\":null,\"RestartPolicy\":{\"Name\":"
                "\"no\",\"MaximumRetryCount\":0},"
                "\"AutoRemove\":false,\"VolumeDriver\":\"\",\"VolumesFrom\":null,\"ConsoleSize\":["
                "0,0],\"CapAdd\":null,"
                "\"CapDrop\":null,\"CgroupnsMode\":\"host\",\"Dns\":null,\"DnsOptions\":null,"
                "\"DnsSearch\":null,"
                "\"ExtraHosts\":null,\"GroupAdd\":null,\"IpcMode\":\"private\",\"Cgroup\":\"\","
                "\"Links\":null,"
                "\"OomScoreAdj\":0,\"PidMode\":\"\",\"Privileged\":false,\"PublishAllPorts\":false,"
                "\"ReadonlyRootfs\":false,\"SecurityOpt\":null,\"UTSMode\":\"\",\"UsernsMode\":"
                "\"\",\"ShmSize\":67108864,"
                "\"Runtime\":\"runc\",\"Isolation\":\"\",\"CpuShares\":0,\"Memory\":0,\"NanoCpus\":"
                "0,\"CgroupParent\":\"\","
                "\"MaskedPaths\":[\"/proc/asound\",\"/proc/acpi\",\"/proc/interrupts\",\"/proc/"
                "kcore\",\"/proc/keys\","
                "\"/proc/latency_stats\",\"/proc/timer_list\",\"/proc/sched_debug\",\"/proc/"
                "scsi\",\"/sys/firmware\"],"
                "\"ReadonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/"
                "sysrq-trigger\"]},");
}

static void put_config(struct out *o, const struct sim_container *c)
{
    put(o,
        "\"Config\":{\"Hostname\":\"%.12s\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":"
        "false,"
        "\"AttachStdout\":false,\"AttachStderr\":false,\"Tty\":%s,\"OpenStdin\":false,"
        "\"StdinOnce\":false,\"Env\":null,"
        "\"Cmd\":[\"/bin/busybox\",\"sh\"],\"Image\":",
        c->id, c->tty ? "true" : "false");
    put_string(o, slice_str(c->image));
    put_text(
        o,
        ",\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":");
    put_pairs(o, c->labels, c->labels_count);
    put_text(o, "},");
}

static void answer_inspect(struct conn *k)
{
    const struct sim_container *c = k->req.container;
    const char *root = "/var/lib/docker/containers";
    struct out o = {0};

    if (!c) {
        reply_no_container(k);
        return;
    }
    put(&o, "{\"Id\":\"%s\",\"Created\":", c->id);
    put_time(&o, c->created_at_ns);
    put_text(&o, ",\"Path\":\"/bin/busybox\",\"Args\":[\"sh\"],");
    put_state(&o, c);
    put_text(&o, ",\"Image\":\"sha256:");
    put_digest(&o, c->image);
    put(&o,
        "\",\"ResolvConfPath\":\"%s/%s/resolv.conf\",\"HostnamePath\":\"%s/%s/"
        "hostname\",\"HostsPath\":\"%s/%s/hosts\"",
        root, c->id, root, c->id, root, c->id);
    if (has_log_file(c))
        put(&o, ",\"LogPath\":\"%s/%s/%s-json.log\"", root, c->id, c->id);
    else
        put_text(&o, ",\"LogPath\":\"\"");
    put_text(&o, ",\"Name\":");
    put_name(&o, c);
    put_text(
        &o,
        ",\"RestartCount\":0,\"Driver\":\"overlay2\",\"Platform\":\"linux\",\"MountLabel\":\"\","
        "\"ProcessLabel\":\"\",\"AppArmorProfile\":\"\",\"ExecIDs\":null,");
    put_host_config(&o, c);
    put_text(&o, "\"GraphDriver\":{\"Data\":null,\"Name\":\"overlay2\"},\"Mounts\":[],");
    put_config(&o, c);
    put_text(&o, "\"NetworkSettings\":{\"Bridge\":\"\",\"SandboxID\":\"\",\"SandboxKey\":\"\","
                 "\"Ports\":{},");
    put_networks(&o);
    put_text(&o, "}}");
    reply_json(k, &o);
}

static void answer_events(struct conn *k)
{
    static const char *const keys[] = {"config", "container", "daemon", "event",  "image",
                                       "label",  "network",   "node",   "plugin", "scope",
                                       "secret", "service",   "type",   "volume", NULL};
    struct sim *sim = k->sim;
    int64_t since, until;

    if (query_time(k, "since", &since) < 0 || query_time(k, "until", &until) < 0)
        return;
    if (query_filters(k, keys, &k->filters) < 0)
        return;
    k->until_ns = until ? until : NEVER_NS;
    k->without_legacy = !version_less(k->req.api, (struct version){1, 52});
    reply_head(k, &(struct head){.status = 200, .content_type = JSON_TYPE, .length = -1});
    conn_begin_events(k);
    if (since == 0)
        return;
    for (uint64_t i = sim->ring_count - MIN(sim->ring_count, (uint64_t)EVENT_RING);
         i < sim->ring_count; i++) {
        struct event *e = sim->ring[i % EVENT_RING];

        if (e->time_ns >= since && e->time_ns <= k->until_ns && filters_match_event(&k->filters, e))
            conn_queue_event(k, e);
    }
}

/** `tail`: how many of the old records; WITHOUT_END for all. */
static uint64_t query_tail(const struct request *req)
{
    char *text = query_get(req, "tail"), *end = NULL;
    long long n = text && *text ? strtoll(text, &end, 10) : -1;
    bool number = end && end != text && *end == '\0' && *text != ' ';

    free(text);
    return number && n >= 0 ? (uint64_t)n : WITHOUT_END;
}

static const char *logs_type(const struct conn *k, const struct sim_container *c)
{
    if (k->sim->profile->like_20_10)
        return NULL;
    if (c->tty || version_less(k->req.api, (struct version){1, 42}))
        return "application/vnd.docker.raw-stream";
    return "application/vnd.docker.multiplexed-stream";
}

static void answer_logs(struct conn *k)
{
    struct sim *sim = k->sim;
    struct sim_container *c = k->req.container;
    uint64_t head, tail, old;
    int64_t since, until;

    k->want[SIM_STDOUT] = query_bool(&k->req, "stdout");
    k->want[SIM_STDERR] = query_bool(&k->req, "stderr");
    if (!k->want[SIM_STDOUT] && !k->want[SIM_STDERR]) {
        reply_error(k, 400, "Bad parameters: you must choose at least one stream");
        return;
    }
    if (!c) {
        reply_no_container(k);
        return;
    }
    if (c->state == SIM_REMOVING) {
        reply_error(k, 409, "can not get logs from container which is dead or marked for removal");
        return;
    }
    if (strcmp(c->log_driver, "none") == 0) {
        reply_error(k, 501, "configured logging driver does not support reading");
        return;
    }
    if (strcmp(c->log_driver, "journald") == 0) {
        reply_error(k, 500, "journald is not enabled on this host");
        return;
    }
    if (query_time(k, "since", &since) < 0 || query_time(k, "until", &until) < 0)
        return;

    k->follow = query_bool(&k->req, "follow") && container_is_up(c);
    k->with_stamps = query_bool(&k->req, "timestamps");
    k->since_ns = since;
    k->since_open = since > 0;
    k->each_since = sim->profile->like_20_10;
    k->until_ns = until ? until : NEVER_NS;
    head = container_head(c);
    if (k->follow)
        head = MIN(head, container_follow_head(c));
    tail = query_tail(&k->req);
    k->pos = head - MIN(head - c->first, tail);
    k->end = k->follow ? WITHOUT_END : head;
    old = head - k->pos;
    if (since > 0 && c->gen)
        k->pos = container_search(c, k->pos, head, since);
    sim_request_at(sim, k->req.number)->records_old = old;
    sim->stats.records_old += old;
    c->stats.records_old += old;

    k->container = c;
    container_use(c);
    reply_head(k, &(struct head){.status = 200, .content_type = logs_type(k, c), .length = -1});
    conn_begin_logs(k);
}

static void answer_fault(struct conn *k)
{
    const struct fault *f = k->reply;
    struct head h = {.status = f->spec.status,
                     .content_type = f->content_type ? f->content_type : JSON_TYPE};

    reply_whole(k, h, slice_str(f->body));
}

void api_answer(struct conn *k)
{
    /* The container may have gone while the answer was delayed. */
    if (k->req.key.len)
        k->req.container = container_find(k->sim, k->req.key);
    if (k->reply) {
        answer_fault(k);
        return;
    }
    if (k->req.kind == SIM_REQUEST_OTHER) {
        reply_message(k, (struct head){.status = 404, .bare = true}, "page not found");
        return;
    }
    if (k->req.versioned && refuse_version(k))
        return;
    switch (k->req.kind) {
    case SIM_REQUEST_PING:
        answer_ping(k);
        break;
    case SIM_REQUEST_VERSION:
        answer_version(k);
        break;
    case SIM_REQUEST_LIST:
        answer_list(k);
        break;
    case SIM_REQUEST_INSPECT:
        answer_inspect(k);
        break;
    case SIM_REQUEST_EVENTS:
        answer_events(k);
        break;
    case SIM_REQUEST_LOGS:
        answer_logs(k);
        break;
    case SIM_REQUEST_OTHER:
    case SIM_REQUEST_ANY:
    case SIM_REQUEST_KINDS_COUNT:
        break; /* answered above, and never a request's kind */
    }
}
