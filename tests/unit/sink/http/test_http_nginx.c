/* HTTP transports against nginx: TLS, authentication, HTTP/2, proxies, and every kind of refusal.
 */
#include "http_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "support/child.h"

enum server { PLAIN, TLS, TLS_CLIENT, PROXY, SERVERS };

static uint16_t ports[SERVERS];
static pid_t nginx;

/* What a Splunk codec takes for a success. */
#define SUCCESS "default_type application/json; return 200 '{\"text\":\"Success\",\"code\":0}';"

static const char config[] =
    "daemon off; worker_processes 1; pid %1$s/pid; error_log %1$s/error.log;\n"
    "events { worker_connections 256; }\n"
    "http {\n"
    "  access_log off; keepalive_requests 100000; large_client_header_buffers 4 16k;\n"
    "  client_body_temp_path %1$s/a; proxy_temp_path %1$s/b; fastcgi_temp_path %1$s/c;\n"
    "  uwsgi_temp_path %1$s/d; scgi_temp_path %1$s/e;\n"
    "  server {\n"
    "    listen 127.0.0.1:%2$u;\n"
    "    location /ok { " SUCCESS " }\n"
    "    location /services/collector/event { return 200 'usual path'; }\n"
    "    location /gzip { gzip on; gzip_min_length 1; gzip_types *; " SUCCESS " }\n"
    "    location /basic {\n"
    "      if ($http_authorization != 'Basic dXNlcjpwYTpzcw==') { return 401; }\n" SUCCESS " }\n"
    "    location /bearer {\n"
    "      if ($http_authorization != 'Bearer s3cret') { return 401; }\n" SUCCESS " }\n"
    "    location /headers { return 200 '$http_x_scope_orgid|$http_x_empty|$content_type|"
    "$http_content_encoding|$http_user_agent|$http_expect|$http_authorization'; }\n"
    "    location /uri { return 200 '$request_uri|$http_host|$server_protocol|$request_method'; }\n"
    "    location /small { client_max_body_size 10; return 204; }\n"
    "    location /403 { return 403; }\n"
    "    location /redirect { return 302 /ok; }\n"
    "    location /429-seconds { add_header Retry-After 7 always; return 429; }\n"
    "    location /503-seconds { add_header Retry-After 7 always; return 503; }\n"
    "    location /503-soon { add_header Retry-After '%6$s' always; return 503; }\n"
    "    location /503-past { add_header Retry-After 'Sun, 06 Nov 1994 08:49:37 GMT' always;"
    " return 503; }\n"
    "    location /503-absent { return 503; }\n"
    "    location /503-nonsense { add_header Retry-After 'in a while, and then some more; nobody "
    "knows for sure how long it may take' always; return 503; }\n"
    "    location /closed { return 444; }\n"
    "    location /status { return 200 '{}'; }\n"
    "    location /page { return 200 '<html>login</html>'; }\n"
    "    location /tls { return 200 'not here'; }\n"
    "  }\n"
    "  server {\n"
    "    listen 127.0.0.1:%3$u ssl http2; server_name receiver.test;\n"
    "    ssl_certificate %1$s/server.pem; ssl_certificate_key %1$s/server.key;\n"
    "    location /ok { " SUCCESS " }\n"
    "    location /uri { return 200 '$request_uri|$http_host|$server_protocol|$ssl_server_name'; "
    "}\n"
    /* Reads the request to its end, as receivers do, and "return" does not. */
    "    location /read { proxy_pass http://127.0.0.1:%2$u/ok; client_max_body_size 0; }\n"
    "    location /small { client_max_body_size 10; return 204; }\n"
    "  }\n"
    "  server {\n"
    "    listen 127.0.0.1:%4$u ssl;\n"
    "    ssl_certificate %1$s/server.pem; ssl_certificate_key %1$s/server.key;\n"
    "    ssl_client_certificate %1$s/ca.pem; ssl_verify_client on;\n"
    "    location /uri { return 200 '$ssl_client_s_dn|$server_protocol'; }\n"
    "  }\n"
    "  server {\n"
    "    listen 127.0.0.1:%5$u;\n"
    "    location /seen { return 200 '$request|$http_proxy_authorization'; }\n"
    "    location / { proxy_pass http://$http_host$request_uri; }\n"
    "  }\n"
    "}\n";

/** A date an hour from now, as RFC 9110 has it. */
static void format_soon(char *out, size_t size)
{
    time_t soon = time(NULL) + 3600;
    struct tm tm;

    (void)strftime(out, size, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &tm));
}

/** nginx takes over sockets that listen already, as it does when a new nginx replaces an old one,
 * so there is nothing to wait for. */
static int start_nginx(void)
{
    const char *dir = fixture_directory();
    char path[64], errors[64], inherited[64] = "NGINX=", soon[64];
    const char *certificates[] = {CERTIFICATES_SH, dir, NULL};
    const char *argv[] = {NGINX, "-c", path, "-e", errors, NULL};
    const char *environment[] = {inherited, NULL};
    int sockets[SERVERS];
    FILE *file;

    if (!dir || child_run(certificates) != 0)
        return -1;
    for (size_t i = 0; i < SERVERS; i++) {
        char number[16];

        sockets[i] = fixture_listen(&ports[i]);
        (void)fcntl(sockets[i], F_SETFD, 0);
        (void)snprintf(number, sizeof number, "%d;", sockets[i]);
        strcat(inherited, number);
    }
    (void)snprintf(path, sizeof path, "%s/nginx.conf", dir);
    (void)snprintf(errors, sizeof errors, "%s/error.log", dir);
    format_soon(soon, sizeof soon);
    file = fopen(path, "w");
    if (!file)
        return -1;
    (void)fprintf(file, config, dir, ports[PLAIN], ports[TLS], ports[TLS_CLIENT], ports[PROXY],
                  soon);
    (void)fclose(file);
    nginx = child_start(argv, environment, NULL);
    for (size_t i = 0; i < SERVERS; i++)
        (void)close(sockets[i]);
    return nginx > 0 ? 0 : -1;
}

static int group_setup(void **state)
{
    return start_nginx();
}

static int group_teardown(void **state)
{
    return nginx > 0 && child_end(nginx, SIGTERM) == 0 ? 0 : -1;
}

static const char *in_directory(const char *name)
{
    static char paths[8][64];
    static size_t next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];

    (void)snprintf(path, sizeof paths[0], "%s/%s", fixture_directory(), name);
    return path;
}

static struct http_transport_options plain(const char *path)
{
    return fixture_options(fixture_url("http", ports[PLAIN], path));
}

static struct http_transport_options tls(enum server server, const char *path)
{
    struct http_transport_options options =
        fixture_options(fixture_url("https", ports[server], path));

    options.tls.ca_file = in_directory("ca.pem");
    return options;
}

/** Sends one request with these options; `s` has what became of it. */
static void try(struct http_fixture *f, const struct http_transport_options *options,
                struct sent *s)
{
    fixture_send(f, fixture_open(f, options), s);
    fixture_close_transports(f);
}

static void assert_accepted(const struct sent *s)
{
    if (s->request.error != 0)
        fail_msg("%s", s->request.message);
    assert_int_equal(200, s->request.status);
    assert_int_equal(CODEC_DONE, s->request.judgement.outcome);
    assert_int_equal(s->request.count, s->request.judgement.accepted);
    assert_string_equal("", s->request.message);
    assert_true(s->request.body_bytes > 0);
    assert_true(s->request.duration_ns > 0);
}

/** No record was accepted, and all are to be sent again. */
static void assert_kept(const struct sent *s, int status, enum codec_outcome outcome)
{
    if (s->request.error != 0)
        fail_msg("%d, status %d: %s", s->request.error, s->request.status, s->request.message);
    assert_int_equal(status, s->request.status);
    assert_int_equal(outcome, s->request.judgement.outcome);
    assert_int_equal(s->request.count, s->request.judgement.retry);
    assert_string_not_equal("", s->request.message);
}

/** The reply, which is none of the codec's, was this. */
static void assert_said(const struct sent *s, const char *text)
{
    const char *colon;

    if (s->request.error != 0)
        fail_msg("%s", s->request.message);
    assert_int_equal(CODEC_AGAIN, s->request.judgement.outcome);
    colon = strstr(sent_reason(s), ": ");
    assert_non_null(colon);
    assert_string_equal(text, colon + 2);
}

static void test_a_success_accepts_every_record(void **state)
{
    struct http_transport_options options = plain("/ok");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_accepted(&s);
    assert_int_equal(s.request.body_bytes, s.request.wire_bytes);
    assert_int_equal(3, s.request.count);
    sent_finish(&s);
}

static void test_an_address_without_a_path_gets_the_usual_one(void **state)
{
    struct http_transport_options options = plain("");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_said(&s, "usual path");
    options.url = fixture_url("http", ports[PLAIN], "/");
    try(*state, &options, &s);
    assert_said(&s, "usual path");
    sent_finish(&s);
}

static void test_a_path_and_a_query_are_sent_as_they_are(void **state)
{
    struct http_transport_options options = plain("/uri/a%20b?x=1&y=%2F");
    char expected[128];
    struct sent s = {0};

    try(*state, &options, &s);
    (void)snprintf(expected, sizeof expected, "/uri/a%%20b?x=1&y=%%2F|127.0.0.1:%u|HTTP/1.1|POST",
                   ports[PLAIN]);
    assert_said(&s, expected);
    sent_finish(&s);
}

static void test_a_compressed_reply_is_read(void **state)
{
    struct http_transport_options options = plain("/gzip");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_a_page_with_status_200_accepts_nothing(void **state)
{
    struct http_transport_options options = plain("/page");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_kept(&s, 200, CODEC_AGAIN);
    sent_finish(&s);
}

static void test_headers_are_sent(void **state)
{
    const char *const headers[] = {"X-Scope-OrgID:  a tenant",
                                   "X-Empty:", "Authorization: Splunk 0123"};
    struct http_transport_options options = plain("/headers");
    struct sent s = {0};

    options.headers = headers;
    options.headers_count = ARRAY_SIZE(headers);
    options.compression = COMPRESSION_GZIP;
    try(*state, &options, &s);
    assert_said(&s, "a tenant||application/json|gzip|ringtail/" RINGTAIL_VERSION "||Splunk 0123");
    sent_finish(&s);
}

static void test_basic_authentication(void **state)
{
    struct http_transport_options options = plain("/basic");
    struct sent s = {0};

    options.user = "user";
    options.password = "pa:ss";
    try(*state, &options, &s);
    assert_accepted(&s);
    options.password = "wrong";
    try(*state, &options, &s);
    assert_kept(&s, 401, CODEC_SUSPENDED);
    sent_finish(&s);
}

static void test_bearer_authentication(void **state)
{
    struct http_transport_options options = plain("/bearer");
    struct sent s = {0};

    options.bearer_token = "s3cret";
    try(*state, &options, &s);
    assert_accepted(&s);
    options.bearer_token = "other";
    try(*state, &options, &s);
    assert_kept(&s, 401, CODEC_SUSPENDED);
    sent_finish(&s);
}

static void test_403_and_404_suspend(void **state)
{
    struct http_transport_options options = plain("/403");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_kept(&s, 403, CODEC_SUSPENDED);
    assert_string_equal("HTTP status 403", s.request.message);
    options = plain("/nowhere");
    try(*state, &options, &s);
    assert_kept(&s, 404, CODEC_SUSPENDED);
    sent_finish(&s);
}

static void test_a_redirect_is_not_followed(void **state)
{
    struct http_transport_options options = plain("/redirect");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_kept(&s, 302, CODEC_SUSPENDED);
    sent_finish(&s);
}

/** Sends 500 records of this length. */
static void send_large(struct http_fixture *f, const struct http_transport_options *options,
                       size_t len, struct sent *s)
{
    char *line = malloc(len);

    assert_non_null(line);
    memset(line, 'a', len);
    for (size_t i = 0; i < FIXTURE_RECORDS; i++) {
        f->records[i].data = line;
        f->records[i].len = (uint32_t)len;
    }
    fixture_start(f, fixture_open(f, options), s, 0, FIXTURE_RECORDS);
    fixture_wait(f, s, 1);
    fixture_close_transports(f);
    free(line);
}

/* nginx answers before it has read the body, which up to some length fits into buffers, and by
 * HTTP/2 into the window. */
static void test_413_splits_whatever_the_length(void **state)
{
    for (size_t len = 10; len <= 100000; len *= 10) {
        struct http_transport_options options = plain("/small");
        struct sent s = {0};

        send_large(*state, &options, len, &s);
        assert_kept(&s, 413, CODEC_SPLIT);
        options = tls(TLS, "/small");
        send_large(*state, &options, len, &s);
        assert_kept(&s, 413, CODEC_SPLIT);
        options.version = HTTP_VERSION_1_1;
        send_large(*state, &options, len, &s);
        assert_kept(&s, 413, CODEC_SPLIT);
        sent_finish(&s);
    }
}

/* By HTTP/2 a refusal before the request was read may be lost to libcurl. Sent again, it is not. */
static void test_requests_that_share_a_connection_learn_of_their_refusal(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = tls(TLS, "/small");
    char *line = calloc(1, 1000);
    size_t lost = 0;

    assert_non_null(line);
    for (size_t i = 0; i < FIXTURE_RECORDS; i++) {
        f->records[i].data = line;
        f->records[i].len = 1000;
    }
    options.connections_max = 8;
    for (unsigned round = 0; round < 20; round++) {
        struct transport *t = fixture_open(f, &options);
        struct sent sent[16] = {0};

        for (unsigned times = 0; times < 2; times++) {
            for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
                fixture_start(f, t, &sent[i], 0, FIXTURE_RECORDS);
            fixture_wait(f, sent, ARRAY_SIZE(sent));
            for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
                if (sent[i].request.error != 0) {
                    lost++;
                    fixture_start(f, t, &sent[i], 0, FIXTURE_RECORDS);
                    fixture_wait(f, &sent[i], 1);
                }
                assert_kept(&sent[i], 413, CODEC_SPLIT);
            }
        }
        for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
            sent_finish(&sent[i]);
        fixture_close_transports(f);
    }
    print_message("%zu refusals came with the second try\n", lost);
    free(line);
}

static void test_retry_after_is_honoured_in_every_form(void **state)
{
    static const struct {
        const char *path;
        int status;
        int64_t least_ms, most_ms;
    } cases[] = {
        {"/429-seconds", 429, 7000, 7000}, {"/503-seconds", 503, 7000, 7000},
        {"/503-soon", 503, 1, 3600000},    {"/503-past", 503, 0, 0},
        {"/503-absent", 503, -1, -1},      {"/503-nonsense", 503, -1, -1},
    };
    struct sent s = {0};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_transport_options options = plain(cases[i].path);

        try(*state, &options, &s);
        assert_kept(&s, cases[i].status, CODEC_BUSY);
        assert_true(s.request.judgement.retry_after_ms >= cases[i].least_ms);
        assert_true(s.request.judgement.retry_after_ms <= cases[i].most_ms);
    }
    sent_finish(&s);
}

static void test_a_connection_closed_without_an_answer_is_an_error(void **state)
{
    struct http_transport_options options = plain("/closed");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_int_equal(-ECONNRESET, s.request.error);
    assert_int_equal(0, s.request.status);
    assert_string_not_equal("", s.request.message);
    sent_finish(&s);
}

static void test_tls_with_an_own_authority(void **state)
{
    struct http_transport_options options = tls(TLS, "/ok");
    struct sent s = {0};

    try(*state, &options, &s);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_http_2_is_used_where_it_is_offered(void **state)
{
    struct http_transport_options options = tls(TLS, "/uri");
    char expected[64];
    struct sent s = {0};

    try(*state, &options, &s);
    (void)snprintf(expected, sizeof expected, "/uri|127.0.0.1:%u|HTTP/2.0|", ports[TLS]);
    assert_said(&s, expected);
    options.version = HTTP_VERSION_1_1;
    try(*state, &options, &s);
    (void)snprintf(expected, sizeof expected, "/uri|127.0.0.1:%u|HTTP/1.1|", ports[TLS]);
    assert_said(&s, expected);
    sent_finish(&s);
}

static void test_the_receivers_certificate_may_have_another_name(void **state)
{
    struct http_transport_options options = tls(TLS, "/uri");
    char expected[64];
    struct sent s = {0};

    options.tls.server_name = "receiver.test";
    try(*state, &options, &s);
    (void)snprintf(expected, sizeof expected, "/uri|receiver.test:%u|HTTP/2.0|receiver.test",
                   ports[TLS]);
    assert_said(&s, expected);
    sent_finish(&s);
}

static void assert_no_trust(struct http_fixture *f, const struct http_transport_options *options)
{
    struct sent s = {0};

    try(f, options, &s);
    assert_int_equal(-EPROTO, s.request.error);
    assert_int_equal(0, s.request.status);
    assert_int_equal(0, s.request.judgement.accepted);
    assert_non_null(strstr(s.request.message, "certificate"));
    sent_finish(&s);
}

static void test_certificates_that_are_not_trusted_are_refused(void **state)
{
    struct http_transport_options options = tls(TLS, "/ok");

    options.tls.ca_file = in_directory("other-ca.pem");
    assert_no_trust(*state, &options);
    options.tls.ca_file = NULL; /* the system's */
    assert_no_trust(*state, &options);
    options.tls.ca_path = fixture_directory(); /* which has no hashed names */
    assert_no_trust(*state, &options);
    options = tls(TLS, "/ok");
    options.tls.server_name = "other.test";
    assert_no_trust(*state, &options);
}

/* The reason is good until the next call. */
static const char *reach(struct http_fixture *f, const struct http_transport_options *options,
                         int expected)
{
    static char why[256];

    why[0] = '\0';
    assert_int_equal(expected, http_transport_reach(fixture_open(f, options), FIXTURE_PATIENCE_MS,
                                                    why, sizeof why));
    fixture_close_transports(f);
    return why;
}

static void test_a_receiver_is_reached_as_requests_would_reach_it(void **state)
{
    struct http_transport_options options = tls(TLS, "/ok");

    assert_string_equal("", reach(*state, &options, 0));
    options.tls.ca_file = in_directory("other-ca.pem");
    assert_non_null(strstr(reach(*state, &options, -EHOSTUNREACH), "certificate"));
    options.tls.ca_file = NULL;
    options.tls.unverified = true;
    assert_string_equal("", reach(*state, &options, 0));
    options = tls(TLS, "/ok");
    options.proxy = "http://127.0.0.1:1";
    assert_string_not_equal("", reach(*state, &options, -EHOSTUNREACH));
}

static void test_an_unverified_certificate_is_taken_when_asked_for(void **state)
{
    struct http_transport_options options = tls(TLS, "/ok");
    struct sent s = {0};

    options.tls.ca_file = NULL;
    options.tls.unverified = true;
    try(*state, &options, &s);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_a_client_certificate_is_shown(void **state)
{
    struct http_transport_options options = tls(TLS_CLIENT, "/uri");
    struct sent s = {0};

    options.tls.cert_file = in_directory("client.pem");
    options.tls.key_file = in_directory("client.key");
    options.tls.key_password = "opensesame";
    try(*state, &options, &s);
    assert_said(&s, "CN=client|HTTP/1.1");
    sent_finish(&s);
}

static void test_without_its_client_certificate_nothing_is_taken(void **state)
{
    struct http_transport_options options = tls(TLS_CLIENT, "/uri");
    struct sent s = {0};

    try(*state, &options, &s); /* nginx says so by a reply */
    assert_int_equal(0, s.request.judgement.accepted);
    options.tls.cert_file = in_directory("client.pem");
    options.tls.key_file = in_directory("client.key");
    options.tls.key_password = "a-wrong-one";
    try(*state, &options, &s);
    assert_int_equal(-EPROTO, s.request.error);
    assert_null(strstr(s.request.message, "a-wrong-one"));
    sent_finish(&s);
}

static void test_a_proxy_gets_the_whole_address(void **state)
{
    struct http_transport_options options = plain("/seen");
    char proxy[64], expected[160];
    struct sent s = {0};

    (void)snprintf(proxy, sizeof proxy, "http://me:secret@127.0.0.1:%u", ports[PROXY]);
    options.proxy = proxy;
    try(*state, &options, &s);
    (void)snprintf(expected, sizeof expected,
                   "POST http://127.0.0.1:%u/seen HTTP/1.1|Basic bWU6c2VjcmV0", ports[PLAIN]);
    assert_said(&s, expected);
    options.url = fixture_url("http", ports[PLAIN], "/ok");
    try(*state, &options, &s);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_the_environments_proxy_is_not_looked_at(void **state)
{
    struct http_transport_options options = plain("/ok");
    struct sent s = {0};

    assert_int_equal(0, setenv("http_proxy", "http://127.0.0.1:1", 1));
    try(*state, &options, &s);
    assert_int_equal(0, unsetenv("http_proxy"));
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_the_environments_exceptions_from_the_proxy_are_not_looked_at(void **state)
{
    struct http_transport_options options = plain("/uri");
    struct sent s = {0};

    options.proxy = fixture_url("http", ports[PROXY], "");
    options.url = fixture_url("http", ports[PLAIN], "/seen");
    assert_int_equal(0, setenv("no_proxy", "*", 1));
    try(*state, &options, &s);
    assert_int_equal(0, unsetenv("no_proxy"));
    assert_non_null(strstr(sent_reason(&s), "POST http://127.0.0.1"));
    sent_finish(&s);
}

/** Whatever is cancelled when: each request comes back once, and none is lost. */
static void test_cancels_at_any_time_lose_no_request(void **state)
{
    struct http_fixture *f = *state;
    struct random random;
    size_t accepted = 0, cancelled = 0;

    random_seed(&random, 11);
    for (unsigned round = 0; round < 100; round++) {
        struct http_transport_options options = round % 2 ? plain("/ok") : tls(TLS, "/read");
        size_t count = 1 + random_below(&random, 30), cancel_at = random_below(&random, count + 1);
        struct sent sent[30] = {0};
        struct transport *t;

        options.connections_max = 1 + (unsigned)random_below(&random, 4);
        t = fixture_open(f, &options);
        for (size_t i = 0; i < count; i++) {
            fixture_start(f, t, &sent[i], i, 1 + random_below(&random, 400));
            if (i == cancel_at) {
                fixture_wait(f, sent, random_below(&random, i + 1));
                transport_cancel(t);
            }
        }
        fixture_wait(f, sent, count);
        for (size_t i = 0; i < count; i++) {
            if (sent[i].request.error != 0 && sent[i].request.error != -ECANCELED)
                fail_msg("%d: %s", sent[i].request.error, sent[i].request.message);
            cancelled += sent[i].request.error == -ECANCELED;
            accepted += sent[i].request.error == 0;
            sent_finish(&sent[i]);
        }
        fixture_close_transports(f);
    }
    assert_true(accepted > 0);
    assert_true(cancelled > 0);
}

static void assert_few_connections(struct http_fixture *f,
                                   const struct http_transport_options *options, unsigned most)
{
    static struct sent sent[300];
    struct http_transport_stats stats;
    struct transport *t = fixture_open(f, options);

    for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
        fixture_start(f, t, &sent[i], i, 1);
    fixture_wait(f, sent, ARRAY_SIZE(sent));
    for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
        assert_accepted(&sent[i]);
        sent_finish(&sent[i]);
    }
    http_transport_stats(t, &stats);
    assert_int_equal(ARRAY_SIZE(sent), stats.requests);
    assert_in_range(stats.connections, 1, most);
    fixture_close_transports(f);
    memset(sent, 0, sizeof sent);
}

static void test_many_requests_share_few_connections(void **state)
{
    struct http_transport_options options = plain("/ok");

    options.connections_max = 3;
    assert_few_connections(*state, &options, 3);
    options = tls(TLS, "/ok");
    options.connections_max = 3;
    assert_few_connections(*state, &options, 3);
}

static void test_one_connection_keeps_the_order_of_requests(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = plain("/ok");
    struct transport *t = fixture_open(f, &options);
    static struct sent sent[50];

    for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
        fixture_start(f, t, &sent[i], i, 1);
    fixture_wait(f, sent, ARRAY_SIZE(sent));
    for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
        assert_true(i == 0 || sent[i].turn > sent[i - 1].turn);
        sent_finish(&sent[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define HTTP_TEST(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, http_fixture_setup, http_fixture_teardown)
        HTTP_TEST(test_a_success_accepts_every_record),
        HTTP_TEST(test_an_address_without_a_path_gets_the_usual_one),
        HTTP_TEST(test_a_path_and_a_query_are_sent_as_they_are),
        HTTP_TEST(test_a_compressed_reply_is_read),
        HTTP_TEST(test_a_page_with_status_200_accepts_nothing),
        HTTP_TEST(test_headers_are_sent),
        HTTP_TEST(test_basic_authentication),
        HTTP_TEST(test_bearer_authentication),
        HTTP_TEST(test_403_and_404_suspend),
        HTTP_TEST(test_a_redirect_is_not_followed),
        HTTP_TEST(test_413_splits_whatever_the_length),
        HTTP_TEST(test_requests_that_share_a_connection_learn_of_their_refusal),
        HTTP_TEST(test_retry_after_is_honoured_in_every_form),
        HTTP_TEST(test_a_connection_closed_without_an_answer_is_an_error),
        HTTP_TEST(test_tls_with_an_own_authority),
        HTTP_TEST(test_http_2_is_used_where_it_is_offered),
        HTTP_TEST(test_the_receivers_certificate_may_have_another_name),
        HTTP_TEST(test_certificates_that_are_not_trusted_are_refused),
        HTTP_TEST(test_a_receiver_is_reached_as_requests_would_reach_it),
        HTTP_TEST(test_an_unverified_certificate_is_taken_when_asked_for),
        HTTP_TEST(test_a_client_certificate_is_shown),
        HTTP_TEST(test_without_its_client_certificate_nothing_is_taken),
        HTTP_TEST(test_a_proxy_gets_the_whole_address),
        HTTP_TEST(test_the_environments_proxy_is_not_looked_at),
        HTTP_TEST(test_the_environments_exceptions_from_the_proxy_are_not_looked_at),
        HTTP_TEST(test_cancels_at_any_time_lose_no_request),
        HTTP_TEST(test_many_requests_share_few_connections),
        HTTP_TEST(test_one_connection_keeps_the_order_of_requests),
#undef HTTP_TEST
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, group_setup, group_teardown);
}
