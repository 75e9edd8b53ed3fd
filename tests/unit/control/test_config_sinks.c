/* Sinks in the configuration: each type with its options, and what is found without connecting. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/codec/compress.h"
#include "ringtail/control/config.h"
#include "ringtail/spool/spool.h"

struct fixture {
    struct config config;
    struct option_problems problems;
    struct buf text;
    char directory[32];
};

static void begin(struct fixture *f)
{
    config_finish(&f->config);
    option_problems_finish(&f->problems);
    assert_int_equal(0, config_init(&f->config));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    (void)snprintf(f->directory, sizeof f->directory, "/tmp/ringtail-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    assert_int_equal(0, setenv("SINK_SECRET", "s3cret", 1));
    assert_int_equal(0, config_init(&f->config));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    config_finish(&f->config);
    option_problems_finish(&f->problems);
    buf_finish(&f->text);
    assert_int_equal(0, rmdir(f->directory));
    free(f);
    return unsetenv("SINK_SECRET");
}

static int set(struct fixture *f, const char *name, const char *value)
{
    return options_set(config_options(), &f->config, "--set", slice_str(name), slice_str(value),
                       &f->problems);
}

static void set_good(struct fixture *f, const char *name, const char *value)
{
    if (set(f, name, value) != 0)
        fail_msg("%s=%s: %s", name, value, f->problems.items[0].text);
}

/** One option of sinks.NAME. */
static void give(struct fixture *f, const char *sink, const char *option, const char *value)
{
    char name[96];

    (void)snprintf(name, sizeof name, "sinks.%s.%s", sink, option);
    set_good(f, name, value);
}

/** A sink with what its type needs, and nothing else. */
static void add(struct fixture *f, const char *sink, const char *type)
{
    give(f, sink, "type", type);
    if (strcmp(type, "file") == 0) {
        give(f, sink, "path", sink);
    } else if (strcmp(type, "kafka") == 0) {
        give(f, sink, "brokers", "broker:9092");
        give(f, sink, "topic", "logs");
    } else if (strcmp(type, "stdout") != 0) {
        give(f, sink, "url", "http://receiver");
    }
    if (strcmp(type, "splunk") == 0)
        give(f, sink, "token", "env:SINK_SECRET");
}

/** All problems of making and checking the sinks, each ended by a newline. */
static const char *finish(struct fixture *f)
{
    bool wrong = config_complete(&f->config, &f->problems) != 0;

    wrong |= config_check(&f->config, &f->problems) != 0;
    assert_int_equal(wrong, f->problems.count > 0);
    buf_reset(&f->text);
    for (size_t i = 0; i < f->problems.count; i++)
        assert_int_equal(0, buf_printf(&f->text, "%s\n", f->problems.items[i].text));
    return buf_cstr(&f->text);
}

static const char *const *type_names(void)
{
    return config_options()->sections[0].table->items[0].choices;
}

static void test_every_type_is_good_with_what_it_needs(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; type_names()[i]; i++)
        add(f, type_names()[i], type_names()[i]);
    assert_string_equal("", finish(f));
    assert_int_equal(0, f->problems.warnings_count);
    assert_int_equal(SINK_TYPE_COUNT, f->config.sinks_count);
    for (size_t i = 0; i < f->config.sinks_count; i++) {
        assert_int_equal(i, f->config.sinks[i].type);
        assert_string_equal(type_names()[i], f->config.sinks[i].name);
        assert_int_equal(INT64_C(32) << 20, f->config.sinks[i].queue_max_bytes);
        assert_int_equal(QUEUE_PAUSE, f->config.sinks[i].queue_policy);
    }
}

static void test_every_type_says_what_it_needs(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; type_names()[i]; i++)
        give(f, type_names()[i], "type", type_names()[i]);
    assert_string_equal(
        "--set sinks.file: path is missing (a sink of type file needs it)\n"
        "--set sinks.loki: url is missing (a sink of type loki needs it)\n"
        "--set sinks.elasticsearch: url is missing (a sink of type elasticsearch needs it)\n"
        "--set sinks.http: url is missing (a sink of type http needs it)\n"
        "--set sinks.otlp: url is missing (a sink of type otlp needs it)\n"
        "--set sinks.splunk: url is missing (a sink of type splunk needs it)\n"
        "--set sinks.splunk: token is missing (a sink of type splunk needs it)\n"
        "--set sinks.kafka: brokers is missing (a sink of type kafka needs it)\n"
        "--set sinks.kafka: topic is missing (a sink of type kafka needs it)\n",
        finish(f));
}

static void test_defaults_are_those_of_the_type(void **state)
{
    static const int64_t records[SINK_TYPE_COUNT] = {0, 0, 10000, 5000, 10000, 8192, 5000, 10000};
    struct fixture *f = *state;
    const struct sink_config *s;

    for (size_t i = 0; type_names()[i]; i++)
        add(f, type_names()[i], type_names()[i]);
    assert_string_equal("", finish(f));
    s = f->config.sinks;
    for (size_t i = 0; i < SINK_TYPE_COUNT; i++) {
        assert_int_equal(records[i], s[i].request_max_records);
        assert_int_equal(records[i] > 0, s[i].spool);
        assert_false(s[i].spool_given);
        assert_int_equal(records[i] > 0, s[i].tls_verify);
        assert_int_equal(records[i] > 0 && i != SINK_TYPE_KAFKA ? COMPRESSION_GZIP
                                                                : COMPRESSION_NONE,
                         s[i].compression);
    }
    assert_int_equal(KAFKA_COMPRESSION_LZ4, s[SINK_TYPE_KAFKA].kafka_compression);
    assert_int_equal(5, s[SINK_TYPE_FILE].rotate_keep);
    assert_int_equal(OUTPUT_SYNC_NEVER, s[SINK_TYPE_FILE].sync);
    assert_int_equal(1 << 20, s[SINK_TYPE_LOKI].request_max_bytes);
    assert_int_equal(100, s[SINK_TYPE_LOKI].request_linger_ms);
    assert_int_equal(30000, s[SINK_TYPE_LOKI].request_timeout_ms);
    assert_int_equal(1, s[SINK_TYPE_LOKI].in_flight);
    assert_int_equal(200, s[SINK_TYPE_LOKI].retry_min_ms);
    assert_int_equal(30000, s[SINK_TYPE_LOKI].retry_max_ms);
    assert_int_equal(60000, s[SINK_TYPE_LOKI].retry_suspended_ms);
    assert_string_equal("ringtail-{date}", s[SINK_TYPE_ELASTICSEARCH].elasticsearch_index);
    assert_string_equal("Bearer", s[SINK_TYPE_HTTP].auth_scheme);
    assert_int_equal(OTLP_ENCODING_PROTOBUF, s[SINK_TYPE_OTLP].otlp_encoding);
    assert_string_equal("s3cret", s[SINK_TYPE_SPLUNK].splunk_token);
}

/** Calls `fn` for each type and each of its options, but `type` itself. */
static void each_option(struct fixture *f,
                        void (*fn)(struct fixture *f, const struct option *o, const char *type))
{
    const struct option_table *t = config_options()->sections[0].table;

    for (size_t kind = 0; type_names()[kind]; kind++) {
        for (size_t i = 1; i < t->count; i++) {
            if (t->items[i].kinds == 0 || (t->items[i].kinds >> kind & 1) != 0)
                fn(f, &t->items[i], type_names()[kind]);
        }
    }
}

static void try_default(struct fixture *f, const struct option *o, const char *type)
{
    struct buf text = {0};

    begin(f);
    /* `true` is the default of spool, and means that there is one once it is said. */
    set_good(f, "spool.path", f->directory);
    add(f, "s", type);
    if (o->def)
        give(f, "s", o->name, o->def);
    assert_string_equal("", finish(f));
    assert_int_equal(0, option_format_value(o, f->config.sinks, &text));
    if (o->def && o->type != OPTION_DURATION && o->type != OPTION_SIZE)
        assert_string_equal(o->def, buf_cstr(&text));
    buf_finish(&text);
}

static void test_every_default_can_be_given_by_its_name(void **state)
{
    each_option(*state, try_default);
}

static void try_value(struct fixture *f, const struct option *o, const char *type,
                      const char *value, bool good)
{
    begin(f);
    add(f, "s", type);
    give(f, "s", o->name, value);
    assert_int_equal(good ? 0 : -EINVAL, config_complete(&f->config, &f->problems));
    assert_int_equal(good ? 0 : 1, f->problems.count);
}

static void try_bounds(struct fixture *f, const struct option *o, const char *type)
{
    if (o->type != OPTION_INT && o->type != OPTION_SIZE && o->type != OPTION_DURATION)
        return;
    try_value(f, o, type, o->least, true);
    try_value(f, o, type, o->most, true);
    try_value(f, o, type, "-1", false);
    try_value(f, o, type, "9223372036854775807", false);
    try_value(f, o, type, "", false);
}

static void test_every_bound_is_good_and_what_is_beyond_is_not(void **state)
{
    each_option(*state, try_bounds);
}

/* A wrong setting of a sink called s, which is good without it, and what is said of it. */
struct mistake {
    const char *type, *option, *value;
    const char *said; /* behind `sinks.s.`; empty: nothing, it is right */
};

static void expect(struct fixture *f, const struct mistake *m)
{
    char expected[256] = "";

    begin(f);
    add(f, "s", m->type);
    give(f, "s", m->option, m->value);
    if (*m->said)
        (void)snprintf(expected, sizeof expected, "sinks.s.%s\n", m->said);
    assert_string_equal(expected, finish(f));
}

static void test_an_address_is_a_scheme_a_host_and_a_port(void **state)
{
    static const char no_scheme[] = "url: expected http://HOST or https://HOST";
    static const char no_host[] = "url: there is no host in it";
    static const char no_port[] = "url: the port is no number between 1 and 65535";
    static const char credentials[] =
        "url: credentials do not belong here (there are options for them)";
    static const struct mistake cases[] = {
        {"http", "url", "http://a", ""},
        {"http", "url", "https://a.example.net/path?query=1@2", ""},
        {"http", "url", "http://10.0.0.1:8080/x", ""},
        {"http", "url", "http://[::1]:8080", ""},
        {"http", "url", "http://a:65535", ""},
        {"http", "url", "ftp://a.b", no_scheme},
        {"http", "url", "HTTP://a.b", no_scheme},
        {"http", "url", "example.net", no_scheme},
        {"http", "url", "http:/a.b.c", no_scheme},
        {"http", "url", "https://", no_host},
        {"http", "url", "http:///path", no_host},
        {"http", "url", "http://:8080", no_host},
        {"http", "url", "http://?query", no_host},
        {"http", "url", "http://a:", no_port},
        {"http", "url", "http://a:0", no_port},
        {"http", "url", "http://a:65536", no_port},
        {"http", "url", "http://a:99999999999999999999", no_port},
        {"http", "url", "http://a:8x", no_port},
        {"http", "url", "http://[::1", "url: no address between the brackets"},
        {"http", "url", "http://[a.b]", "url: no address between the brackets"},
        {"http", "url", "http://[]", "url: no address between the brackets"},
        {"http", "url", "http://[::1]x", "url: a host has a character that is none of a host's"},
        {"http", "url", "http://a,b/", "url: a host has a character that is none of a host's"},
        {"http", "url", "http://user:pass@a/", credentials},
        {"http", "url", "http://user@a", credentials},
        {"http", "url", "http://a/b c", "url: there is a blank or a control character in it"},
        {"http", "url", "http://a/b\n", "url: there is a blank or a control character in it"},
        {"http", "url", "http://a/#b", "url: a fragment (#) means nothing here"},
        {"http", "proxy", "socks5h://p:1080", ""},
        {"http", "proxy", "http://p", ""},
        {"http", "proxy", "p:1080",
         "proxy: expected http://, https://, socks5:// or socks5h://HOST:PORT"},
        {"http", "proxy", "http://u:p@p",
         "proxy: credentials do not belong here (there are options for them)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(*state, &cases[i]);
}

static void test_patterns_are_those_that_their_codec_takes(void **state)
{
    static const struct mistake cases[] = {
        {"loki", "labels", "job=x,host={host}", ""},
        {"loki", "labels", "job", "labels: a label is written name=pattern"},
        {"loki", "labels", "job={date}", "labels: label job has a time in it: that never ends"},
        {"loki", "labels", "a=1,a=2", "labels: label a twice"},
        {"loki", "metadata", "at={date}", ""},
        {"loki", "metadata", "a=1,a=2", "metadata: label a twice"},
        {"loki", "tenant", "team-a", ""},
        {"loki", "tenant", "a b", "tenant: a character in it can't be part of a tenant's name"},
        {"elasticsearch", "index", "logs-{year}.{month}", ""},
        {"elasticsearch", "index", "logs-{year", "index: a brace without its other one"},
        {"splunk", "source", "", ""},
        {"splunk", "source", "}", "source: a brace without its other one"},
        {"splunk", "sourcetype", "}", "sourcetype: a brace without its other one"},
        {"splunk", "index", "}", "index: a brace without its other one"},
        {"kafka", "topic", "logs.{stream}-1_A", ""},
        {"kafka", "topic", "logs.{stream", "topic: a brace without its other one"},
        {"kafka", "topic", "logs-{day}", "topic: a time in it makes topics without end"},
        {"kafka", "topic", "a/b",
         "topic: a topic's name is made of letters, digits, dots, _ and -"},
        {"kafka", "topic", "..", "topic: a topic's name is made of letters, digits, dots, _ and -"},
        {"file", "template", "{date}/{container_name}", ""},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(f, &cases[i]);
    begin(f);
    add(f, "s", "file");
    give(f, "s", "template", "../{container_name}");
    assert_int_equal(0, strncmp("sinks.s.template: ", finish(f), 18));
    assert_int_equal(1, f->problems.count);
}

static void test_headers_are_names_and_values_that_are_not_ours(void **state)
{
    static const struct mistake cases[] = {
        {"http", "headers", "X-A: b,X-C:d,X-Empty:", ""},
        {"http", "headers", "X-A", "headers: a header is written \"Name: value\""},
        {"http", "headers", "X A: b", "headers: a header is written \"Name: value\""},
        {"http", "headers", ": b", "headers: a header is written \"Name: value\""},
        {"http", "headers", "X-A: b\r\nX-C: d", "headers: X-A has a control character in it"},
        {"http", "headers", "authorization: Basic x",
         "headers: Authorization can't be set (use auth.*)"},
        {"loki", "headers", "X-Scope-OrgID: me",
         "headers: X-Scope-OrgID can't be set (use tenant)"},
        {"http", "headers",
         "a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:,a:"
         ",a:"
         ",a:,a:",
         "headers: more than 32"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(*state, &cases[i]);
}

static void test_brokers_and_properties_are_checked_one_by_one(void **state)
{
    static const struct mistake cases[] = {
        {"kafka", "brokers", "a,b:9092,[::1]:9092", ""},
        {"kafka", "brokers", "a,b:0",
         "brokers: number 2: the port is no number between 1 and 65535"},
        {"kafka", "brokers", "u:p@b:9092",
         "brokers: number 1: credentials do not belong here (there are options for them)"},
        {"kafka", "properties", "socket.keepalive.enable=true", ""},
        {"kafka", "properties", "x", "properties: a property is written name=value"},
        {"kafka", "properties", "=x", "properties: a property is written name=value"},
        {"kafka", "properties", "acks=1", "properties: acks can't be set here"},
        {"kafka", "properties", "sasl.password=x",
         "properties: sasl.password can't be set here (use sasl.password)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(*state, &cases[i]);
}

static void test_options_that_do_not_go_together_are_found(void **state)
{
    static const struct mistake cases[] = {
        {"http", "auth.password", "env:SINK_SECRET", "auth.password: there is no auth.user for it"},
        {"http", "auth.user", "me", ""},
        {"http", "auth.user", "a:b",
         "auth.user: basic authentication has no colon in a user's name"},
        {"http", "auth.token", "env:SINK_SECRET", ""},
        {"http", "auth.scheme", "Api Key", "auth.scheme: expected one word"},
        {"http", "tls.key_password", "env:SINK_SECRET",
         "tls.key_password: there is no tls.key for it"},
        {"http", "tls.ca", "/proc/self/status", "url: tls.* means nothing without https://"},
        {"http", "retry.max", "100ms", "retry.min: it is longer than retry.max"},
        {"http", "spool", "yes", "spool: there is no spool.path"},
        {"http", "spool", "no", ""},
        {"kafka", "spool", "yes", "spool: there is no spool.path"},
        {"kafka", "sasl.user", "me", "sasl.mechanism: none, and yet there are credentials for it"},
        {"kafka", "sasl.password", "env:SINK_SECRET",
         "sasl.mechanism: none, and yet there are credentials for it"},
        {"kafka", "sasl.mechanism", "PLAIN",
         "sasl.user: the mechanism needs it\nsinks.s.sasl.password: the mechanism needs it"},
        {"kafka", "tls.ca", "/proc/self/status",
         "tls.enabled: false, and yet there are files for "
         "it"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(f, &cases[i]);
    begin(f);
    add(f, "s", "http");
    give(f, "s", "auth.user", "me");
    give(f, "s", "auth.token", "env:SINK_SECRET");
    assert_string_equal("sinks.s.auth.token: either a token or a user\n", finish(f));
    begin(f);
    add(f, "s", "kafka");
    give(f, "s", "delivery_timeout", "1s");
    give(f, "s", "request.linger", "1s");
    assert_string_equal("sinks.s.delivery_timeout: it is not longer than request.linger\n",
                        finish(f));
    begin(f);
    add(f, "s", "http");
    set_good(f, "spool.path", "/spool");
    give(f, "s", "spool", "yes");
    assert_string_equal("", finish(f));
    assert_true(f->config.sinks[0].spool_given);
    begin(f);
    set_good(f, "spool.max_bytes", "100MiB");
    assert_string_equal("spool.segment_bytes is more than half of spool.max_bytes\n", finish(f));
}

static void test_what_only_other_types_have_is_refused(void **state)
{
    struct fixture *f = *state;

    add(f, "s", "stdout");
    give(f, "s", "spool", "yes");
    give(f, "s", "tenant", "me");
    assert_string_equal(
        "--set sinks.s.spool: a sink of type stdout has no such option (those of type loki, "
        "elasticsearch, http, otlp, splunk, kafka have it)\n"
        "--set sinks.s.tenant: a sink of type stdout has no such option (those of type loki have "
        "it)\n",
        finish(f));
}

static void test_files_have_to_be_there(void **state)
{
    struct fixture *f = *state;
    char path[64], expected[256];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/ca.pem", f->directory);
    for (size_t i = 0; i < 2; i++) {
        begin(f);
        add(f, "s", "http");
        give(f, "s", "url", "https://receiver");
        give(f, "s", "tls.ca", i == 0 ? path : f->directory);
        (void)snprintf(
            expected, sizeof expected, "sinks.s.tls.ca: %s %s\n", i == 0 ? path : f->directory,
            i == 0 ? "cannot be read: No such file or directory" : "is not a regular file");
        assert_string_equal(expected, finish(f));
    }
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(0, fclose(file));
    begin(f);
    add(f, "s", "http");
    give(f, "s", "url", "https://receiver");
    give(f, "s", "tls.ca", path);
    give(f, "s", "tls.certificate", path);
    assert_string_equal("sinks.s.tls.certificate: a certificate and its key go together\n",
                        finish(f));
    begin(f);
    add(f, "s", "http");
    give(f, "s", "url", "https://receiver");
    give(f, "s", "tls.certificate", path);
    give(f, "s", "tls.key", path);
    give(f, "s", "tls.key_password", "env:SINK_SECRET");
    assert_string_equal("", finish(f));
    assert_int_equal(0, unlink(path));
}

static void test_one_directory_and_one_stdout_are_for_one_sink(void **state)
{
    struct fixture *f = *state;
    char link[64];

    (void)snprintf(link, sizeof link, "%s/link", f->directory);
    assert_int_equal(0, symlink(f->directory, link));
    add(f, "a", "file");
    add(f, "b", "file");
    give(f, "a", "path", f->directory);
    give(f, "b", "path", link);
    assert_string_equal("sinks.b.path: it is the directory of sinks.a too\n", finish(f));
    assert_int_equal(0, unlink(link));

    begin(f);
    add(f, "a", "file");
    add(f, "b", "file");
    give(f, "a", "path", "/nonexistent/logs");
    give(f, "b", "path", "/nonexistent/logs//");
    assert_string_equal("sinks.b.path: it is the directory of sinks.a too\n", finish(f));

    begin(f);
    add(f, "a", "file");
    give(f, "a", "path", f->directory);
    set_good(f, "output.path", f->directory);
    assert_string_equal("sinks.a.path: it is the directory of output.path too\n", finish(f));

    begin(f);
    add(f, "a", "stdout");
    add(f, "b", "stdout");
    assert_string_equal("sinks.b.type: sinks.a is stdout too\n", finish(f));
    begin(f);
    add(f, "a", "stdout");
    set_good(f, "output.path", "stdout");
    assert_string_equal("sinks.a.type: output.path is stdout too\n", finish(f));
}

/* Files of one sink are never where another's can be. */
static void test_directories_may_lie_in_each_other_where_templates_keep_apart(void **state)
{
    static const struct {
        const char *template, *below; /* of the outer one */
        bool apart;
    } cases[] = {
        {"{container_id}.ndjson", "/b", true},
        {"{container_name}/{date}.ndjson", "/b", false},
        {"{container_name}/{date}.ndjson", "/b c", true},
        {"logs/{container_name}/{date}.ndjson", "/logs/b", false},
        {"logs/{container_name}/{date}.ndjson", "/others/b", true},
        {"logs/{container_name}.ndjson", "/logs", false},
        {"logs/{container_name}.ndjson", "/logs/b.ndjson/c", false},
        {"{container_name}", "/b", false},
        {"{container_name}.log", "/b.log.7", false},
        {"{container_name}.log", "/b.log.7.gz", false},
        {"{container_name}.log", "/b.log.old", true},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char inner[128];

        (void)snprintf(inner, sizeof inner, "%s%s", f->directory, cases[i].below);
        begin(f);
        add(f, "a", "file");
        add(f, "b", "file");
        give(f, "a", "path", f->directory);
        give(f, "a", "template", cases[i].template);
        give(f, "b", "path", inner);
        assert_string_equal(
            cases[i].apart ? "" : "sinks.b.path: by its template, sinks.a can have files here\n",
            finish(f));
        begin(f);
        add(f, "a", "file");
        give(f, "a", "path", f->directory);
        give(f, "a", "template", cases[i].template);
        set_good(f, "output.path", inner);
        assert_string_equal(cases[i].apart
                                ? ""
                                : "sinks.a.template: by this, files can be in the directory of "
                                  "output.path\n",
                            finish(f));
    }
}

static void test_no_more_file_sinks_than_can_be_continued(void **state)
{
    struct fixture *f = *state;

    for (unsigned count = RECORD_FILES_MAX; count <= RECORD_FILES_MAX + 1; count++) {
        begin(f);
        for (unsigned i = 0; i < count; i++) {
            char name[8];

            (void)snprintf(name, sizeof name, "f%u", i);
            add(f, name, "file");
        }
        assert_string_equal(count == RECORD_FILES_MAX
                                ? ""
                                : "sinks.f6.type: there are more than 6 sinks that write files, "
                                  "output.path among them\n",
                            finish(f));
    }
}

static void test_there_is_an_output_without_sinks_or_when_it_is_asked_for(void **state)
{
    struct fixture *f = *state;

    assert_string_equal("", finish(f));
    assert_true(config_has_output(&f->config));
    begin(f);
    add(f, "a", "loki");
    set_good(f, "output.rotate_bytes", "1GiB");
    assert_string_equal("", finish(f));
    assert_false(config_has_output(&f->config));
    begin(f);
    add(f, "a", "loki");
    set_good(f, "output.path", "stdout");
    assert_string_equal("", finish(f));
    assert_true(config_has_output(&f->config));
    begin(f);
    add(f, "output", "loki");
    assert_string_equal(
        "sinks.output: that is the name of what output.* describes (choose another)\n", finish(f));
}

static void test_compression_is_what_this_build_has(void **state)
{
    static const struct {
        const char *type, *option;
    } cases[] = {{"http", "compression"}, {"file", "rotate_compression"}};
    bool has_zstd = compression_is_available(COMPRESSION_ZSTD);
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char said[96];
        const struct mistake m = {cases[i].type, cases[i].option, "zstd", has_zstd ? "" : said};

        (void)snprintf(said, sizeof said, "%s: this ringtail is built without zstd",
                       cases[i].option);
        expect(f, &m);
    }
    begin(f);
    set_good(f, "output.rotate_compression", "zstd");
    assert_string_equal(has_zstd ? ""
                                 : "output.rotate_compression: this ringtail is built without "
                                   "zstd\n",
                        finish(f));
}

static void test_choices_are_in_the_order_of_their_enums(void **state)
{
    struct fixture *f = *state;
    const struct sink_config *s;

    for (size_t i = 0; type_names()[i]; i++)
        add(f, type_names()[i], type_names()[i]);
    give(f, "file", "rotate_compression", "gzip");
    give(f, "file", "sync", "positions");
    give(f, "stdout", "queue.policy", "drop_newest");
    give(f, "loki", "queue.policy", "drop_oldest");
    give(f, "loki", "compression", "none");
    give(f, "http", "format", "text");
    give(f, "otlp", "encoding", "json");
    give(f, "kafka", "compression", "snappy");
    give(f, "kafka", "sasl.mechanism", "SCRAM-SHA-512");
    give(f, "kafka", "sasl.user", "me");
    give(f, "kafka", "sasl.password", "env:SINK_SECRET");
    set_good(f, "spool.sync", "always");
    assert_string_equal("", finish(f));
    s = f->config.sinks;
    assert_int_equal(COMPRESSION_GZIP, s[SINK_TYPE_FILE].rotate_compression);
    assert_int_equal(OUTPUT_SYNC_POSITIONS, s[SINK_TYPE_FILE].sync);
    assert_int_equal(QUEUE_DROP_NEWEST, s[SINK_TYPE_STDOUT].queue_policy);
    assert_int_equal(QUEUE_DROP_OLDEST, s[SINK_TYPE_LOKI].queue_policy);
    assert_int_equal(COMPRESSION_NONE, s[SINK_TYPE_LOKI].compression);
    assert_int_equal(HTTP_FORMAT_TEXT, s[SINK_TYPE_HTTP].http_format);
    assert_int_equal(OTLP_ENCODING_JSON, s[SINK_TYPE_OTLP].otlp_encoding);
    assert_int_equal(KAFKA_COMPRESSION_SNAPPY, s[SINK_TYPE_KAFKA].kafka_compression);
    assert_int_equal(SASL_SCRAM_SHA_512, s[SINK_TYPE_KAFKA].sasl_mechanism);
    assert_string_equal("snappy", config_kafka_compressions[KAFKA_COMPRESSION_SNAPPY]);
    assert_string_equal("SCRAM-SHA-512", config_sasl_mechanisms[SASL_SCRAM_SHA_512]);
    assert_int_equal(SPOOL_SYNC_ALWAYS, f->config.spool_sync);
}

/** The example in the documentation, without the marks that make it a comment. */
static void take_example(const char *documentation, struct buf *out)
{
    const char *line = strstr(documentation, "\n# sinks:\n");

    assert_non_null(line);
    for (line++; strncmp(line, "# ", 2) == 0; line = strchr(line, '\n') + 1)
        assert_int_equal(0, buf_append(out, line + 2, strcspn(line + 2, "\n") + 1));
    assert_int_equal(0, strncmp(line, "```", 3));
}

static void test_the_documented_examples_load_and_are_good(void **state)
{
    struct fixture *f = *state;
    struct buf documentation = {0}, example = {0};

    assert_int_equal(0, setenv("LOGS_TOKEN", "a", 1));
    assert_int_equal(0, setenv("SPLUNK_TOKEN", "b", 1));
    assert_int_equal(0, options_write_markdown(config_options(), &documentation));
    take_example(buf_cstr(&documentation), &example);
    assert_int_equal(0, options_load_text(config_options(), &f->config, "example",
                                          buf_slice(&example), &f->problems));
    assert_string_equal("", finish(f));
    assert_int_equal(SINK_TYPE_COUNT, f->config.sinks_count);
    assert_string_equal("a", f->config.sinks[SINK_TYPE_LOKI].auth_token);
    assert_string_equal("b", f->config.sinks[SINK_TYPE_SPLUNK].splunk_token);
    assert_int_equal(2, f->config.sinks[SINK_TYPE_KAFKA].kafka_brokers.count);
    buf_finish(&documentation);
    buf_finish(&example);
    assert_int_equal(0, unsetenv("LOGS_TOKEN"));
    assert_int_equal(0, unsetenv("SPLUNK_TOKEN"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_type_is_good_with_what_it_needs),
        TEST(test_every_type_says_what_it_needs),
        TEST(test_defaults_are_those_of_the_type),
        TEST(test_every_default_can_be_given_by_its_name),
        TEST(test_every_bound_is_good_and_what_is_beyond_is_not),
        TEST(test_an_address_is_a_scheme_a_host_and_a_port),
        TEST(test_patterns_are_those_that_their_codec_takes),
        TEST(test_headers_are_names_and_values_that_are_not_ours),
        TEST(test_brokers_and_properties_are_checked_one_by_one),
        TEST(test_options_that_do_not_go_together_are_found),
        TEST(test_what_only_other_types_have_is_refused),
        TEST(test_files_have_to_be_there),
        TEST(test_one_directory_and_one_stdout_are_for_one_sink),
        TEST(test_directories_may_lie_in_each_other_where_templates_keep_apart),
        TEST(test_no_more_file_sinks_than_can_be_continued),
        TEST(test_there_is_an_output_without_sinks_or_when_it_is_asked_for),
        TEST(test_compression_is_what_this_build_has),
        TEST(test_choices_are_in_the_order_of_their_enums),
        TEST(test_the_documented_examples_load_and_are_good),
    };

    return cmocka_run_group_tests_name("config_sinks", tests, NULL, NULL);
}
