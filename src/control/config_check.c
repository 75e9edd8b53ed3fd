/*
 * What can be known about sinks without connecting: addresses, files, patterns, and options that do
 * not go together. Problems name the option and never quote an address, which may have credentials
 * in it by mistake.
 */
#include "config_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/codec/codec.h"
#include "ringtail/codec/compress.h"
#include "ringtail/sink/kafka.h"
#include "ringtail/sink/sink.h"

#define PORT_MAX 65535
#define HEADERS_MAX 32

static const char token_characters[] = "!#$%&'*+-.^_`|~0123456789"
                                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

struct checker {
    const struct config *config;
    const struct sink_config *sink;
    struct option_problems *problems;
};

static void problem(struct checker *c, const char *name, const char *fmt, ...) RT_PRINTF(3, 4);

static void problem(struct checker *c, const char *name, const char *fmt, ...)
{
    RT_CLEANUP(buf_finish) struct buf what = {0};
    va_list ap;

    va_start(ap, fmt);
    if (buf_vprintf(&what, fmt, ap) < 0)
        c->problems->out_of_memory = true;
    else
        option_problems_add(c->problems, "sinks.%s.%s: %.*s", c->sink->name, name, (int)what.len,
                            what.data);
    va_end(ap);
}

/* ---- addresses ---- */

static bool port_is_valid(struct slice port)
{
    unsigned number = 0;

    for (size_t i = 0; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9' || number > PORT_MAX)
            return false;
        number = number * 10 + (unsigned)(port.data[i] - '0');
    }
    return number >= 1 && number <= PORT_MAX;
}

/** `[::1]` at the head of the text, which is taken off. */
static bool take_ipv6(struct slice *in)
{
    const char *end = memchr(in->data, ']', in->len);
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t len = end ? (size_t)(end - in->data) - 1 : sizeof text;

    if (len >= sizeof text)
        return false;
    memcpy(text, in->data + 1, len);
    text[len] = '\0';
    *in = slice_from(*in, len + 2);
    return inet_pton(AF_INET6, text, &address) == 1;
}

static size_t span_host(struct slice in)
{
    size_t n = 0;

    while (n < in.len && (in.data[n] == '.' || in.data[n] == '-' || in.data[n] == '_' ||
                          (in.data[n] >= '0' && in.data[n] <= '9') ||
                          ((in.data[n] | 0x20) >= 'a' && (in.data[n] | 0x20) <= 'z')))
        n++;
    return n;
}

/** `host`, `host:port`, `[::1]:port`. What is wrong with it, or NULL. */
static const char *authority_problem(struct slice in)
{
    if (in.len > 0 && memchr(in.data, '@', in.len))
        return "credentials do not belong here (there are options for them)";
    if (in.len > 0 && in.data[0] == '[') {
        if (!take_ipv6(&in))
            return "no address between the brackets";
    } else {
        size_t len = span_host(in);

        if (len == 0)
            return "there is no host in it";
        in = slice_from(in, len);
    }
    if (in.len == 0)
        return NULL;
    if (in.data[0] != ':')
        return "a host has a character that is none of a host's";
    return port_is_valid(slice_from(in, 1)) ? NULL : "the port is no number between 1 and 65535";
}

static bool url_has_scheme(const char *url, const char *const *schemes)
{
    for (size_t i = 0; schemes[i]; i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(url, schemes[i], len) == 0 && strncmp(url + len, "://", 3) == 0)
            return true;
    }
    return false;
}

/** With one of the schemes, which end in NULL. What is wrong with it, or NULL. */
static const char *url_problem(const char *url, const char *const *schemes, const char *expected)
{
    const char *rest;

    for (const char *p = url; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return "there is a blank or a control character in it";
    }
    if (!url_has_scheme(url, schemes))
        return expected;
    if (strchr(url, '#'))
        return "a fragment (#) means nothing here";
    rest = strstr(url, "://") + strlen("://");
    return authority_problem(slice_of(rest, strcspn(rest, "/?")));
}

static void check_url(struct checker *c, const char *name, const char *url,
                      const char *const *schemes, const char *expected)
{
    const char *what = url_problem(url, schemes, expected);

    if (what)
        problem(c, name, "%s", what);
}

/* ---- files ---- */

static void check_file(struct checker *c, const char *name, const char *path)
{
    struct stat st;

    if (*path == '\0')
        return;
    if (stat(path, &st) < 0 || access(path, R_OK) < 0)
        problem(c, name, "%s cannot be read: %s", path, strerrordesc_np(errno));
    else if (!S_ISREG(st.st_mode))
        problem(c, name, "%s is not a regular file", path);
}

/** Where the path leads to, or as much of it as can be known: its last part may have yet to be
 * made. NULL without memory. */
static char *path_canonical(const char *path)
{
    RT_CLEANUP(freep) char *plain = NULL;
    RT_CLEANUP(freep) char *parent = NULL;
    char *real = realpath(path, NULL), *slash, *joined;
    size_t len = strlen(path);

    if (real)
        return real;
    while (len > 1 && path[len - 1] == '/')
        len--;
    plain = slice_dup(slice_of(path, len));
    slash = plain ? strrchr(plain, '/') : NULL;
    if (plain && slash != plain) {
        if (slash)
            *slash = '\0';
        parent = realpath(slash ? plain : ".", NULL);
        if (slash)
            *slash = '/';
    }
    if (!parent)
        return TAKE_PTR(plain);
    return asprintf(&joined, "%s/%s", parent, slash ? slash + 1 : plain) < 0 ? NULL : joined;
}

/** A sink that writes files. */
struct file_output {
    const char *path, *template;
};

/** The inner directory is below the outer one, and files of `outer` can be where it is. */
static bool is_in_the_way(const struct file_output *outer, const char *outer_path,
                          const char *inner_path)
{
    size_t len = strlen(outer_path);

    if (strncmp(outer_path, inner_path, len) != 0)
        return false;
    if (len > 0 && outer_path[len - 1] == '/')
        len--; /* the root */
    return inner_path[len] == '/' && sink_file_leads_to(outer->template, inner_path + len + 1);
}

/* ---- codecs ---- */

static void try_codec(struct checker *c, const char *name, const struct codec_options *options)
{
    struct codec *codec = NULL;
    char why[256] = "";
    int r = codec_create(options, &codec, why, sizeof why);

    if (r == -ENOMEM)
        c->problems->out_of_memory = true;
    else if (r < 0)
        problem(c, name, "%s", why);
    (void)codec_destroy(codec);
}

static void check_loki(struct checker *c)
{
    const struct sink_config *s = c->sink;
    struct codec_options options = {.kind = CODEC_LOKI,
                                    .host = c->config->host_name,
                                    .loki_labels = s->loki_labels,
                                    .loki_label_values_max = (uint32_t)s->loki_label_values_max};
    size_t before = c->problems->count;

    try_codec(c, "labels", &options);
    options.loki_metadata = s->loki_metadata;
    if (c->problems->count == before && *s->loki_metadata)
        try_codec(c, "metadata", &options);
    if (strspn(s->loki_tenant, token_characters) != strlen(s->loki_tenant))
        problem(c, "tenant", "a character in it can't be part of a tenant's name");
}

static void check_splunk(struct checker *c)
{
    const struct sink_config *s = c->sink;
    const struct codec_options base = {.kind = CODEC_SPLUNK, .host = c->config->host_name};
    struct codec_options options = base;

    options.splunk_source = s->splunk_source;
    try_codec(c, "source", &options);
    options = base;
    options.splunk_sourcetype = s->splunk_sourcetype;
    try_codec(c, "sourcetype", &options);
    options = base;
    options.splunk_index = s->splunk_index;
    try_codec(c, "index", &options);
}

/* ---- HTTP ---- */

/** Headers that we set, and what does it. */
static const struct {
    const char *name, *instead;
} own_headers[] = {
    {"Authorization", "use auth.*"},
    {"Proxy-Authorization", "a proxy with credentials is not supported"},
    {"Content-Type", "the type of the sink decides that"},
    {"Content-Encoding", "use compression"},
    {"Content-Length", "the request decides that"},
    {"Transfer-Encoding", "the request decides that"},
    {"Host", "the URL decides that"},
    {"Connection", "the connection decides that"},
    {"Expect", "the connection decides that"},
    {"X-Scope-OrgID", "use tenant"},
};

static void check_header(struct checker *c, const char *header)
{
    size_t len = strspn(header, token_characters);

    if (len == 0 || header[len] != ':') {
        problem(c, "headers", "a header is written \"Name: value\"");
        return;
    }
    for (const char *p = header + len; *p; p++) {
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f) {
            problem(c, "headers", "%.*s has a control character in it", (int)len, header);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(own_headers); i++) {
        if (strlen(own_headers[i].name) == len &&
            strncasecmp(own_headers[i].name, header, len) == 0)
            problem(c, "headers", "%s can't be set (%s)", own_headers[i].name,
                    own_headers[i].instead);
    }
}

static void check_auth(struct checker *c)
{
    const struct sink_config *s = c->sink;

    if (*s->auth_user && *s->auth_token)
        problem(c, "auth.token", "either a token or a user");
    if (*s->auth_password && !*s->auth_user)
        problem(c, "auth.password", "there is no auth.user for it");
    if (strchr(s->auth_user, ':'))
        problem(c, "auth.user", "basic authentication has no colon in a user's name");
    if (strspn(s->auth_scheme, token_characters) != strlen(s->auth_scheme))
        problem(c, "auth.scheme", "expected one word");
}

static void check_over_http(struct checker *c)
{
    static const char *const schemes[] = {"http", "https", NULL};
    static const char *const proxy_schemes[] = {"http", "https", "socks5", "socks5h", NULL};
    static const char *const tls[] = {"https", NULL};
    const struct sink_config *s = c->sink;

    if (*s->url)
        check_url(c, "url", s->url, schemes, "expected http://HOST or https://HOST");
    if (*s->proxy)
        check_url(c, "proxy", s->proxy, proxy_schemes,
                  "expected http://, https://, socks5:// or socks5h://HOST:PORT");
    if (s->headers.count > HEADERS_MAX)
        problem(c, "headers", "more than %d", HEADERS_MAX);
    for (size_t i = 0; i < s->headers.count; i++)
        check_header(c, s->headers.items[i]);
    check_auth(c);
    if (*s->url && !url_has_scheme(s->url, tls) &&
        (*s->tls_ca || *s->tls_certificate || *s->tls_key))
        problem(c, "url", "tls.* means nothing without https://");
    if (!compression_is_available((enum compression)s->compression))
        problem(c, "compression", "this ringtail is built without %s",
                config_compressions[s->compression]);
}

/* ---- Kafka ---- */

static void check_property(struct checker *c, const char *property)
{
    const char *equals = strchr(property, '=');
    size_t len = equals ? (size_t)(equals - property) : 0;
    const char *instead;
    struct slice name;

    if (len == 0) {
        problem(c, "properties", "a property is written name=value");
        return;
    }
    name = slice_of(property, len);
    if (kafka_property_is_reserved(name, &instead))
        problem(c, "properties", "%.*s can't be set here%s%s%s", (int)len, property,
                instead ? " (use " : "", instead ? instead : "", instead ? ")" : "");
}

static void check_sasl(struct checker *c)
{
    const struct sink_config *s = c->sink;

    if (s->sasl_mechanism == SASL_NONE && (*s->sasl_user || *s->sasl_password))
        problem(c, "sasl.mechanism", "none, and yet there are credentials for it");
    if (s->sasl_mechanism != SASL_NONE && !*s->sasl_user)
        problem(c, "sasl.user", "the mechanism needs it");
    if (s->sasl_mechanism != SASL_NONE && !*s->sasl_password)
        problem(c, "sasl.password", "the mechanism needs it");
}

static void check_topic(struct checker *c)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789._-{}";
    static const char *const times[] = {"{date}", "{year}", "{month}", "{day}"};
    const char *topic = c->sink->kafka_topic;
    /* It stands for any pattern. */
    const struct codec_options options = {.kind = CODEC_SPLUNK, .splunk_index = topic};

    if (strspn(topic, characters) != strlen(topic) || strcmp(topic, ".") == 0 ||
        strcmp(topic, "..") == 0) {
        problem(c, "topic", "a topic's name is made of letters, digits, dots, _ and -");
        return;
    }
    if (*topic)
        try_codec(c, "topic", &options);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        if (strstr(topic, times[i]))
            problem(c, "topic", "a time in it makes topics without end");
    }
}

static void check_kafka(struct checker *c)
{
    const struct sink_config *s = c->sink;

    for (size_t i = 0; i < s->kafka_brokers.count; i++) {
        const char *what = authority_problem(slice_str(s->kafka_brokers.items[i]));

        if (what)
            problem(c, "brokers", "number %zu: %s", i + 1, what);
    }
    check_topic(c);
    for (size_t i = 0; i < s->kafka_properties.count; i++)
        check_property(c, s->kafka_properties.items[i]);
    check_sasl(c);
    if (!s->tls_enabled && (*s->tls_ca || *s->tls_certificate || *s->tls_key))
        problem(c, "tls.enabled", "false, and yet there are files for it");
    if (s->kafka_delivery_timeout_ms <= s->request_linger_ms)
        problem(c, "delivery_timeout", "it is not longer than request.linger");
}

/* ---- sinks ---- */

static void check_remote(struct checker *c)
{
    const struct sink_config *s = c->sink;

    if (s->spool_given && s->spool && !*c->config->spool_path)
        problem(c, "spool", "there is no spool.path");
    if (s->retry_min_ms > s->retry_max_ms)
        problem(c, "retry.min", "it is longer than retry.max");
    if (!*s->tls_certificate != !*s->tls_key)
        problem(c, *s->tls_key ? "tls.key" : "tls.certificate",
                "a certificate and its key go together");
    if (*s->tls_key_password && !*s->tls_key)
        problem(c, "tls.key_password", "there is no tls.key for it");
    check_file(c, "tls.ca", s->tls_ca);
    check_file(c, "tls.certificate", s->tls_certificate);
    check_file(c, "tls.key", s->tls_key);
}

/* Nobody's files may be taken for another one's: they are rotated, compressed, removed, and read
 * back after a crash. */
static void check_apart(struct checker *c, const char *name, const struct file_output *other)
{
    const struct file_output own = {c->sink->path, c->sink->template};
    RT_CLEANUP(freep) char *a = path_canonical(other->path);
    RT_CLEANUP(freep) char *b = path_canonical(own.path);

    if (!a || !b)
        c->problems->out_of_memory = true;
    else if (strcmp(a, b) == 0)
        problem(c, "path", "it is the directory of %s too", name);
    else if (is_in_the_way(other, a, b))
        problem(c, "path", "by its template, %s can have files here", name);
    else if (is_in_the_way(&own, b, a))
        problem(c, "template", "by this, files can be in the directory of %s", name);
}

static void check_file_sink(struct checker *c)
{
    const struct config *config = c->config;
    const struct sink_config *s = c->sink;
    unsigned files = 0;
    char why[256];

    if (sink_file_check_template(s->template, why, sizeof why) < 0)
        problem(c, "template", "%s", why);
    if (!compression_is_available((enum compression)s->rotate_compression))
        problem(c, "rotate_compression", "this ringtail is built without %s",
                config_compressions[s->rotate_compression]);
    if (*s->path == '\0')
        return;
    if (config_output_is_directory(config)) {
        check_apart(c, "output.path",
                    &(struct file_output){config->output_path, config->output_template});
        files++;
    }
    for (const struct sink_config *other = config->sinks; other < s; other++) {
        char name[64];

        if (other->type != SINK_TYPE_FILE || !*other->path)
            continue;
        (void)snprintf(name, sizeof name, "sinks.%s", other->name);
        check_apart(c, name, &(struct file_output){other->path, other->template});
        files++;
    }
    if (files == RECORD_FILES_MAX)
        problem(c, "type", "there are more than %d sinks that write files, output.path among them",
                RECORD_FILES_MAX);
}

static void check_stdout(struct checker *c)
{
    const struct config *config = c->config;

    if (config_has_output(config) && !config_output_is_directory(config))
        problem(c, "type", "output.path is stdout too");
    for (const struct sink_config *other = config->sinks; other < c->sink; other++) {
        if (other->type == SINK_TYPE_STDOUT)
            problem(c, "type", "sinks.%s is stdout too", other->name);
    }
}

static void check_type(struct checker *c)
{
    struct codec_options options = {.host = c->config->host_name};

    switch ((enum sink_type)c->sink->type) {
    case SINK_TYPE_FILE:
        check_file_sink(c);
        return;
    case SINK_TYPE_STDOUT:
        check_stdout(c);
        return;
    case SINK_TYPE_LOKI:
        check_loki(c);
        break;
    case SINK_TYPE_ELASTICSEARCH:
        options.kind = CODEC_ELASTIC;
        options.elastic_index = c->sink->elasticsearch_index;
        try_codec(c, "index", &options);
        break;
    case SINK_TYPE_SPLUNK:
        check_splunk(c);
        break;
    case SINK_TYPE_KAFKA:
        check_remote(c);
        check_kafka(c);
        return;
    case SINK_TYPE_HTTP:
    case SINK_TYPE_OTLP:
    case SINK_TYPE_COUNT:
        break;
    }
    check_remote(c);
    check_over_http(c);
}

void config_check_sinks(const struct config *config, struct option_problems *problems)
{
    struct checker c = {.config = config, .problems = problems};

    if (!compression_is_available((enum compression)config->output_rotate_compression))
        option_problems_add(problems,
                            "output.rotate_compression: this ringtail is built without "
                            "%s",
                            config_compressions[config->output_rotate_compression]);
    for (size_t i = 0; i < config->sinks_count; i++) {
        c.sink = &config->sinks[i];
        if (strcmp(c.sink->name, "output") == 0)
            option_problems_add(problems, "sinks.output: that is the name of what output.* "
                                          "describes (choose another)");
        check_type(&c);
    }
}
