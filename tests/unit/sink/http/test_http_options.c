/* Options of HTTP transports: which are refused, that the reason says what to do, and that no
 * reason quotes a secret. */
#include "http_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define SECRET "hunter2"

/** These options are refused with a reason that has `part` in it. */
static void assert_refused(struct http_fixture *f, const struct http_transport_options *options,
                           const char *part)
{
    struct transport *t = NULL;

    if (http_transport_create(f->client, options, &t, f->why, sizeof f->why) != -EINVAL) {
        (void)transport_destroy(t);
        fail_msg("not refused: address %s, for \"%s\"", options->url, part);
    }
    assert_null(t);
    if (!strstr(f->why, part))
        fail_msg("\"%s\" has no \"%s\"", f->why, part);
    assert_null(strstr(f->why, SECRET));
    assert_null(strchr(f->why, '\n'));
}

static void assert_taken(struct http_fixture *f, const struct http_transport_options *options)
{
    fixture_open(f, options);
    fixture_close_transports(f);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {NULL,
                                      "",
                                      "receiver",
                                      "receiver:9200",
                                      "ftp://receiver/",
                                      "http://",
                                      "http://receiver:port/",
                                      "http://receiver:70000/",
                                      "http://re ceiver/",
                                      "http://receiver/\r\nX: y",
                                      "file:///etc/passwd",
                                      "http://user:" SECRET "@receiver/",
                                      "http://user@receiver/"};
    static const char *const good[] = {"http://receiver",        "https://receiver:9200",
                                       "HTTP://Receiver/a?b=c",  "http://[::1]:3100/",
                                       "http://127.0.0.1/x%20y", "https://receiver/#part"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct http_transport_options options = fixture_options(bad[i]);

        assert_refused(*state, &options, "address");
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct http_transport_options options = fixture_options(good[i]);

        assert_taken(*state, &options);
        options.tls.server_name = "other.example";
        assert_taken(*state, &options);
    }
}

static void test_headers(void **state)
{
    static const struct {
        const char *header, *part;
    } bad[] = {
        {NULL, "Name: value"},
        {"", "Name: value"},
        {"no colon " SECRET, "Name: value"},
        {": " SECRET, "name"},
        {"A b: " SECRET, "name"},
        {"A : " SECRET, "name"},
        {"A\r\nB: " SECRET, "name"},
        {"A: " SECRET "\r\nB: c", "header A has control"},
        {"A: " SECRET "\n", "control"},
        {"A: " SECRET "\x7f", "control"},
        {"content-length: 5", "content-length is not yours"},
        {"Host: other", "not yours"},
        {"Transfer-Encoding: chunked", "not yours"},
        {"Content-Encoding: gzip", "not yours"},
        {"Connection: close", "not yours"},
        {"Expect: 100-continue", "not yours"},
        {"Proxy-Authorization: Basic " SECRET, "not yours"},
        {"Authorization: Bearer " SECRET, "choose one"},
    };
    struct http_transport_options options = fixture_options("http://receiver/");
    const char *many[HTTP_HEADERS_MAX + 1];
    char *large = malloc(9000);

    options.user = "user";
    options.headers_count = 1;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        options.headers = &bad[i].header;
        assert_refused(*state, &options, bad[i].part);
    }
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = "X-Scope-OrgID: a";
    options.headers = many;
    options.headers_count = HTTP_HEADERS_MAX;
    assert_taken(*state, &options);
    options.headers_count++;
    assert_refused(*state, &options, "more than");

    assert_non_null(large);
    memset(large, 'a', 8999);
    large[8999] = '\0';
    memcpy(large, "X: ", 3);
    many[0] = large;
    options.headers_count = 1;
    assert_refused(*state, &options, "longer");
    free(large);
}

static void test_credentials(void **state)
{
    struct http_transport_options options = fixture_options("http://receiver/");

    options.password = SECRET;
    assert_refused(*state, &options, "name the user");
    options.user = "us:er";
    assert_refused(*state, &options, "colon");
    options.user = "user";
    options.password = SECRET "\n";
    assert_refused(*state, &options, "newline");
    options.password = SECRET;
    assert_taken(*state, &options);
    options.bearer_token = SECRET;
    assert_refused(*state, &options, "choose");
    options.user = options.password = "";
    assert_taken(*state, &options);
    options.bearer_token = SECRET "\n";
    assert_refused(*state, &options, "newline");
    options.bearer_token = SECRET " b";
    assert_refused(*state, &options, "blanks");
}

static void test_proxies(void **state)
{
    static const char *const bad[] = {"proxy", "ftp://proxy", "http://", "socks4://" SECRET "@p"};
    static const char *const good[] = {"http://proxy:3128", "https://me:" SECRET "@proxy",
                                       "socks5h://proxy"};
    struct http_transport_options options = fixture_options("http://receiver/");

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        options.proxy = bad[i];
        assert_refused(*state, &options, "proxy");
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        options.proxy = good[i];
        assert_taken(*state, &options);
    }
}

static void test_files(void **state)
{
    struct http_transport_options options = fixture_options("https://receiver/");

    options.tls.ca_file = "/nonexistent/ca.pem";
    assert_refused(*state, &options, "ca_file cannot be read: /nonexistent/ca.pem: No such file");
    options.tls.ca_file = NULL;
    options.tls.key_file = "/dev/null";
    assert_refused(*state, &options, "name the certificate");
    options.tls.cert_file = "/nonexistent/cert.pem";
    assert_refused(*state, &options, "cert_file");
    options.tls.cert_file = "/dev/null";
    assert_taken(*state, &options);
    options.tls = (struct http_tls_options){.key_password = SECRET};
    assert_refused(*state, &options, "cert_file");
    options.tls = (struct http_tls_options){.ca_file = "/dev/null", .unverified = true};
    assert_refused(*state, &options, "remove one");
    options.tls = (struct http_tls_options){.server_name = "a b"};
    assert_refused(*state, &options, "server_name");
}

static void test_limits(void **state)
{
    struct http_transport_options options = fixture_options("http://receiver/");

    options.timeout_ms = 0;
    assert_refused(*state, &options, "timeout");
    options.timeout_ms = INT64_C(1) << 31;
    assert_refused(*state, &options, "timeout");
    options.timeout_ms = 1;
    options.connect_timeout_ms = -1;
    assert_refused(*state, &options, "timeout");
    options.connect_timeout_ms = 1;
    options.connections_max = 0;
    assert_refused(*state, &options, "connections");
    options.connections_max = HTTP_CONNECTIONS_MAX + 1;
    assert_refused(*state, &options, "connections");
    options.connections_max = HTTP_CONNECTIONS_MAX;
    assert_taken(*state, &options);
}

static void test_the_codecs_options_are_checked_too(void **state)
{
    const struct codec_options codec = {.kind = CODEC_LOKI, .loki_labels = ""};
    struct http_transport_options options = fixture_options("http://receiver/");

    options.codec = &codec;
    assert_refused(*state, &options, "label");
}

static void test_each_codec_has_its_kind(void **state)
{
    static const struct {
        struct codec_options codec;
        const char *kind;
    } cases[] = {
        {{.kind = CODEC_NDJSON}, "http"},
        {{.kind = CODEC_LOKI, .loki_labels = "a={stream}"}, "loki"},
        {{.kind = CODEC_ELASTIC, .elastic_index = "logs"}, "elasticsearch"},
        {{.kind = CODEC_OTLP_PROTOBUF}, "otlp"},
        {{.kind = CODEC_SPLUNK}, "splunk"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_transport_options options = fixture_options("http://receiver/");

        options.codec = &cases[i].codec;
        assert_string_equal(cases[i].kind, fixture_open(*state, &options)->ops->kind);
        fixture_close_transports(*state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define HTTP_TEST(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, http_fixture_setup, http_fixture_teardown)
        HTTP_TEST(test_addresses),
        HTTP_TEST(test_headers),
        HTTP_TEST(test_credentials),
        HTTP_TEST(test_proxies),
        HTTP_TEST(test_files),
        HTTP_TEST(test_limits),
        HTTP_TEST(test_the_codecs_options_are_checked_too),
        HTTP_TEST(test_each_codec_has_its_kind),
#undef HTTP_TEST
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
