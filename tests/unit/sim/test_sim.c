/*
 * The simulated Engine, seen by a client: that it behaves like the Engines it claims to be, and
 * that each fault is exactly the one that was asked for. No test measures time; all wait for what
 * they expect.
 */
#include "ringtail/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define T0 INT64_C(1767225600000000000) /* 2026-01-01T00:00:00Z, where a scripted clock starts */
#define LOGS "/containers/%s/logs?stdout=1&stderr=1"
#define WAIT_MS 30000

struct fixture {
    char dir[64];
    char path[96];
    struct sim *sim;
};

static void fixture_open(struct fixture *f, struct sim_options o)
{
    if (f->sim)
        sim_destroy(f->sim);
    f->sim = NULL;
    o.socket_path = f->path;
    assert_int_equal(0, sim_create(&o, &f->sim));
}

/** The same fixture with another Engine, its clock scripted. */
static void fixture_engine(struct fixture *f, enum sim_engine engine)
{
    fixture_open(f, (struct sim_options){.engine = engine, .scripted_clock = true});
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (!f)
        return -1;
    snprintf(f->dir, sizeof f->dir, "/tmp/ringtail-sim-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/docker.sock", f->dir);
    fixture_engine(f, SIM_ENGINE_28_5);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    sim_destroy(f->sim);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
    return 0;
}

/** What a logs request gives, as text of frames. */
static void assert_logs(struct fixture *f, const char *expected, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void assert_logs(struct fixture *f, const char *expected, const char *fmt, ...)
{
    struct buf target = {0}, text = {0};
    struct reply r;
    va_list ap;

    va_start(ap, fmt);
    assert_int_equal(0, buf_vprintf(&target, fmt, ap));
    va_end(ap);
    fetch(f->sim, &r, "%s", buf_cstr(&target));
    assert_int_equal(200, r.status);
    assert_true(r.whole);
    frames_text(buf_slice(&r.body), &text);
    assert_string_equal(expected, buf_cstr(&text));
    reply_finish(&r);
    buf_finish(&text);
    buf_finish(&target);
}

static void assert_error(struct fixture *f, int status, const char *body, const char *target)
{
    struct reply r;

    fetch(f->sim, &r, "%s", target);
    assert_int_equal(status, r.status);
    assert_string_equal(body, reply_text(&r));
    reply_finish(&r);
}

/* ---- What the Engine answers ---- */

/** The names of a head's header lines, without the Connection that only the recordings have. */
static void header_names(const char *head, struct buf *out)
{
    for (const char *at = strstr(head, "\r\n") + 2; *at != '\r'; at = strstr(at, "\r\n") + 2) {
        const char *colon = strchr(at, ':');

        if (strncmp(at, "Connection:", 11) == 0)
            continue;
        assert_int_equal(0, buf_append(out, at, (size_t)(colon - at) + 1));
    }
    assert_non_null(buf_cstr(out));
}

static void recorded_head(const char *folder, const char *name, char *out, size_t size)
{
    char path[512], *end;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s/%s.http", FIXTURES_DIR, folder, name);
    file = fopen(path, "re");
    assert_non_null(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
    end = strstr(out, "\r\n\r\n");
    assert_non_null(end);
    end[4] = '\0';
}

static void test_heads_are_those_of_the_recordings(void **state)
{
    static const struct {
        enum sim_engine engine;
        const char *folder;
    } engines[] = {{SIM_ENGINE_20_10, "docker-20.10.24"},
                   {SIM_ENGINE_26_1, "docker-26.1.5"},
                   {SIM_ENGINE_28_5, "docker-28.5.2"}};
    static const struct {
        const char *name, *method, *target;
    } cases[] = {
        {"ping", "GET", "/_ping"},
        {"ping-keepalive-head", "HEAD", "/_ping"},
        {"version", "GET", "/version"},
        {"err-400-api-too-new", "GET", "/v1.99/version"},
        {"err-400-api-too-old", "GET", "/v1.10/version"},
        {"err-404-page", "GET", "/no/such/path"},
        {"err-404-container-inspect", "GET", "/containers/nope/json"},
        {"err-404-container-logs", "GET", "/containers/nope/logs?stdout=1"},
        {"err-400-no-stream", "GET", "/containers/web/logs"},
        {"err-bad-since", "GET", "/containers/web/logs?stdout=1&since=2026-01-01T00:00:00Z"},
        {"err-bad-filter", "GET", "/containers/json?filters=xx"},
        {"err-409-logs-removal-in-progress", "GET", "/containers/going/logs?stdout=1"},
        {"err-501-logs-driver-none", "GET", "/containers/mute/logs?stdout=1"},
        {"err-500-logs-driver-journald-unavailable", "GET", "/containers/jd/logs?stdout=1"},
        {"containers-list-empty", "GET",
         "/containers/json?filters=%7B%22label%22%3A%5B%22x%3Dy%22%5D%7D"},
        {"containers-list-all", "GET", "/containers/json?all=1"},
        {"inspect-nontty-running", "GET", "/containers/web/json"},
        {"logs-nontty-tail2", "GET", "/containers/web/logs?stdout=1&stderr=1&tail=2"},
        {"logs-nontty-mixed-v141", "GET", "/v1.41/containers/web/logs?stdout=1&stderr=1"},
        {"logs-tty", "GET", "/containers/tty/logs?stdout=1&stderr=1"},
    };
    struct fixture *f = *state;
    struct sim_stats stats;

    for (size_t e = 0; e < ARRAY_SIZE(engines); e++) {
        struct sim_container *going;

        fixture_engine(f, engines[e].engine);
        sim_add(f->sim, "web");
        sim_add(f->sim, "more");
        going = sim_add(f->sim, "going");
        assert_int_equal(0, sim_container_begin_removal(going));
        assert_int_equal(
            0, sim_container_add(f->sim, &(struct sim_spec){.name = "mute", .log_driver = "none"},
                                 NULL));
        assert_int_equal(
            0, sim_container_add(f->sim, &(struct sim_spec){.name = "jd", .log_driver = "journald"},
                                 NULL));
        assert_int_equal(
            0, sim_container_add(f->sim, &(struct sim_spec){.name = "tty", .tty = true}, NULL));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            char recorded[16384];
            struct buf want = {0}, got = {0};
            struct client c;
            struct reply r;
            int status;

            recorded_head(engines[e].folder, cases[i].name, recorded, sizeof recorded);
            client_open(&c, f->sim);
            client_send(&c, "%s %s HTTP/1.1\r\nHost: d\r\n\r\n", cases[i].method, cases[i].target);
            client_read_head(&c, &r);
            assert_int_equal(1, sscanf(recorded, "HTTP/1.1 %d", &status));
            if (status != r.status)
                print_error("%s of %s\n", cases[i].name, engines[e].folder);
            assert_int_equal(status, r.status);
            header_names(recorded, &want);
            header_names(buf_cstr(&r.head), &got);
            assert_string_equal(want.data, got.data);
            buf_finish(&want);
            buf_finish(&got);
            reply_finish(&r);
            client_close(&c);
        }
        sim_get_stats(f->sim, &stats);
        assert_int_equal(1, stats.requests_not_get); /* the HEAD */
    }
}

static void test_each_engine_words_its_errors_in_its_own_way(void **state)
{
    struct fixture *f = *state;

    sim_add(f->sim, "web");
    assert_error(
        f, 400,
        "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.51\"}\n",
        "/v1.99/_ping");
    assert_error(f, 400,
                 "client version 1.23 is too old. Minimum supported API version is 1.24, please "
                 "upgrade your client to "
                 "a newer version\n",
                 "/v1.23/version");
    assert_error(f, 404, "{\"message\":\"page not found\"}\n", "/vfoo/version");
    assert_error(f, 404, "{\"message\":\"No such container: nope\"}\n",
                 "/containers/nope/logs?stdout=1");
    assert_error(f, 400, "{\"message\":\"Bad parameters: you must choose at least one stream\"}\n",
                 "/containers/web/logs");
    assert_error(f, 500,
                 "{\"message\":\"strconv.ParseInt: parsing \\\"2026-01-01T00:00:00Z\\\": invalid "
                 "syntax\"}\n",
                 "/containers/web/logs?stdout=1&since=2026-01-01T00:00:00Z");
    assert_error(f, 400, "{\"message\":\"invalid filter\"}\n", "/containers/json?filters=xx");
    assert_error(f, 400, "{\"message\":\"invalid filter 'color'\"}\n",
                 "/containers/json?filters=%7B%22color%22:%5B%22x%22%5D%7D");

    fixture_engine(f, SIM_ENGINE_26_1);
    assert_error(f, 400,
                 "{\"message\":\"client version 1.23 is too old. Minimum supported API version is "
                 "1.24, please upgrade "
                 "your client to a newer version\"}\n",
                 "/v1.23/version");
    fixture_engine(f, SIM_ENGINE_20_10);
    assert_error(f, 500, "{\"message\":\"invalid character 'x' looking for beginning of value\"}\n",
                 "/containers/json?filters=xx");
}

static void test_the_range_of_api_versions_can_be_chosen(void **state)
{
    struct fixture *f = *state;
    struct reply r;

    fixture_open(f, (struct sim_options){.api_newest = "1.60", .api_oldest = "1.44"});
    fetch(f->sim, &r, "/_ping");
    assert_true(reply_has_header(&r, "Api-Version: 1.60"));
    assert_string_equal("OK", reply_text(&r));
    reply_finish(&r);
    fetch(f->sim, &r, "/v1.44/version");
    assert_int_equal(200, r.status);
    assert_non_null(strstr(reply_text(&r), "\"ApiVersion\":\"1.60\",\"MinAPIVersion\":\"1.44\""));
    reply_finish(&r);
    fetch(f->sim, &r, "/v1.43/version");
    assert_int_equal(400, r.status);
    reply_finish(&r);
}

static void test_a_connection_serves_request_after_request(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct client client;
    struct reply r;

    sim_line(c, SIM_STDOUT, 0, "one");
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    assert_true(client_read_chunk(&client, &r));
    assert_int_equal(0, sim_container_exit(c, 0));
    client_read_body(&client, &r);
    assert_true(r.whole);
    reply_finish(&r);

    /* Three at once, which are answered one after the other. */
    client_send(
        &client,
        "GET /_ping HTTP/1.1\r\n\r\nGET /nope HTTP/1.1\r\n\r\nGET /containers/web/json HTTP/1.1\r\n"
        "Content-Length: 0\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        client_read_head(&client, &r);
        client_read_body(&client, &r);
        assert_true(r.whole);
        assert_int_equal(i == 1 ? 404 : 200, r.status);
        reply_finish(&r);
    }
    client_close(&client);
}

static void test_a_request_may_come_in_pieces(void **state)
{
    const char request[] = "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n";
    struct fixture *f = *state;
    struct client c;
    struct reply r;

    client_open(&c, f->sim);
    for (size_t i = 0; i < strlen(request); i++)
        client_send(&c, "%c", request[i]);
    client_read_head(&c, &r);
    assert_int_equal(200, r.status);
    reply_finish(&r);
    client_close(&c);
}

static void test_connection_close_is_honoured_and_http_1_0_has_no_chunks(void **state)
{
    struct fixture *f = *state;
    struct sim_container *web = sim_add(f->sim, "web");
    struct buf all = {0};
    struct client c;

    sim_line(web, SIM_STDERR, T0, "x");
    client_open(&c, f->sim);
    client_send(&c, "GET /containers/web/logs?stderr=1 HTTP/1.0\r\n\r\n");
    client_read_to_eof(&c, &all);
    assert_memory_equal("HTTP/1.0 200 OK\r\n", all.data, 17);
    assert_memory_equal("\r\n\r\n\2\0\0\0\0\0\0\2x\n", all.data + all.len - 14, 14);
    client_close(&c);
    buf_reset(&all);

    client_open(&c, f->sim);
    client_send(&c, "GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n");
    client_read_to_eof(&c, &all);
    assert_non_null(strstr(buf_cstr(&all), "\r\nConnection: close\r\n"));
    client_close(&c);
    buf_finish(&all);
}

static void test_a_client_that_half_closes_gets_headers_and_then_the_end(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct buf all = {0};

    sim_add(f->sim, "web");
    client_open(&c, f->sim);
    client_get(&c, LOGS "&follow=1", "web");
    assert_int_equal(0, shutdown(c.fd, SHUT_WR));
    client_read_to_eof(&c, &all);
    assert_null(strstr(buf_cstr(&all), "\r\n0\r\n"));
    client_close(&c);
    buf_finish(&all);
}

static void test_lists_hold_running_containers_unless_asked_for_all(void **state)
{
    static const struct sim_pair labels[] = {{"team", "core"}, {"quote", "a\"b"}};
    struct fixture *f = *state;
    struct sim_container *a, *b;
    struct reply r;

    assert_int_equal(
        0, sim_container_add(
               f->sim, &(struct sim_spec){.name = "a", .labels = labels, .labels_count = 2}, &a));
    b = sim_add(f->sim, "b");
    assert_int_equal(0, sim_container_exit(b, 3));
    fetch(f->sim, &r, "/containers/json");
    assert_non_null(strstr(reply_text(&r), "\"Names\":[\"/a\"]"));
    assert_non_null(strstr(reply_text(&r), sim_container_id(a)));
    assert_non_null(strstr(reply_text(&r), "\"Labels\":{\"team\":\"core\",\"quote\":\"a\\\"b\"}"));
    assert_null(strstr(reply_text(&r), "\"/b\""));
    reply_finish(&r);
    fetch(f->sim, &r, "/v1.41/containers/json?all=1");
    assert_non_null(strstr(reply_text(&r), "\"State\":\"exited\""));
    assert_true(strstr(reply_text(&r), "\"/b\"") <
                strstr(reply_text(&r), "\"/a\"")); /* newest first */
    reply_finish(&r);
}

static void test_filters_choose_what_a_list_holds(void **state)
{
    static const struct sim_pair label = {"n", "2"};
    static const struct {
        const char *filters, *names;
    } cases[] = {
        {"{\"label\":[\"n=2\"]}", "two"},
        {"{\"label\":{\"n\":true}}", "two"},
        {"{\"name\":[\"o\"]}", "two one"},
        {"{\"name\":[\"^/one$\"]}", "one"},
        {"{\"status\":[\"exited\"]}", "old"},
        {"{\"name\":[\"one\",\"two\"],\"label\":[\"n\"]}", "two"},
        {"{\"label\":[\"n=3\"]}", ""},
        {"{}", "two one"},
    };
    struct fixture *f = *state;

    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "old", .state = SIM_EXITED}, NULL));
    sim_add(f->sim, "one");
    assert_int_equal(
        0, sim_container_add(f->sim,
                             &(struct sim_spec){.name = "two", .labels = &label, .labels_count = 1},
                             NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char query[256] = "", names[64] = "";
        struct reply r;

        for (const char *c = cases[i].filters; *c; c++)
            snprintf(query + strlen(query), sizeof query - strlen(query), "%%%02X",
                     (unsigned char)*c);
        fetch(f->sim, &r, "/containers/json?filters=%s", query);
        for (const char *at = reply_text(&r); (at = strstr(at, "\"Names\":[\"/")) != NULL; at++) {
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.3s",
                     *names ? " " : "", at + 11);
        }
        assert_string_equal(cases[i].names, names);
        reply_finish(&r);
    }
}

static void test_inspect_tells_what_a_client_needs(void **state)
{
    static const struct sim_pair label = {"team", "core"}, option = {"max-size", "10m"};
    struct fixture *f = *state;
    struct sim_container *c;
    struct reply r;

    assert_int_equal(0, sim_container_add(f->sim,
                                          &(struct sim_spec){.name = "web",
                                                             .tty = true,
                                                             .image = "nginx:1",
                                                             .labels = &label,
                                                             .labels_count = 1,
                                                             .log_options = &option,
                                                             .log_options_count = 1},
                                          &c));
    fetch(f->sim, &r, "/containers/%.12s/json", sim_container_id(c));
    assert_true(r.chunked);
    assert_int_equal(1, r.chunks_count);
    assert_non_null(strstr(reply_text(&r),
                           "\"State\":{\"Status\":\"running\",\"Running\":true,\"Paused\":false,"));
    assert_non_null(strstr(reply_text(&r), "\"StartedAt\":\"2026-01-01T00:00:00.000000000Z\","
                                           "\"FinishedAt\":\"0001-01-01T00:00:00Z\""));
    assert_non_null(
        strstr(reply_text(&r),
               "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"10m\"}}"));
    assert_non_null(strstr(reply_text(&r), "-json.log\",\"Name\":\"/web\""));
    assert_non_null(strstr(reply_text(&r), "\"Tty\":true"));
    assert_non_null(strstr(reply_text(&r), "\"Image\":\"nginx:1\""));
    assert_non_null(strstr(reply_text(&r), "\"Labels\":{\"team\":\"core\"}"));
    reply_finish(&r);
    assert_int_equal(0, sim_container_pause(c));
    fetch(f->sim, &r, "/containers/web/json");
    assert_non_null(strstr(reply_text(&r),
                           "\"State\":{\"Status\":\"paused\",\"Running\":true,\"Paused\":true,"));
    reply_finish(&r);
}

/* ---- Logs ---- */

static void test_one_record_is_one_frame_in_one_chunk(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct reply r;

    sim_line(c, SIM_STDOUT, 0, "out 5");
    sim_clock_advance(f->sim, NSEC_PER_SEC);
    sim_line(c, SIM_STDERR, 0, "err 5");
    fetch(f->sim, &r, LOGS "&timestamps=1", "web");
    assert_int_equal(2, r.chunks_count);
    assert_int_equal(r.wire.len, 2 * (4 + 45 + 2) + 5);
    assert_memory_equal(
        "2d\r\n\1\0\0\0\0\0\0\0452026-01-01T00:00:00.000000000Z out 5\n\r\n"
        "2d\r\n\2\0\0\0\0\0\0\0452026-01-01T00:00:01.000000000Z err 5\n\r\n0\r\n\r\n",
        r.wire.data, r.wire.len);
    reply_finish(&r);
}

static void test_long_lines_become_parts_with_one_timestamp(void **state)
{
    static const struct {
        size_t len, parts, last;
    } cases[] = {{0, 1, 1},     {16383, 1, 16384}, {16384, 2, 1},
                 {16385, 2, 2}, {32768, 3, 1},     {40000, 3, 7233}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sim_container *c = sim_add(f->sim, NULL);
        char *line = malloc(cases[i].len + 1);
        struct reply r;

        memset(line, 'x', cases[i].len);
        assert_int_equal(0, sim_line_bytes(c, SIM_STDOUT, T0 + 7, line, cases[i].len));
        assert_int_equal(0, sim_write(c, SIM_STDERR, line, cases[i].len));
        assert_int_equal(0, sim_write(c, SIM_STDERR, "\n", 1));
        assert_int_equal(2 * cases[i].parts, sim_log_records(c));
        fetch(f->sim, &r, LOGS "&timestamps=1", sim_container_id(c));
        for (size_t p = 0, at = 0; p < 2 * cases[i].parts; p++) {
            size_t len = (p + 1) % cases[i].parts == 0 ? cases[i].last : SIM_PART_BYTES;

            assert_int_equal(8 + 31 + len, r.chunks[p]);
            assert_memory_equal(p < cases[i].parts ? "2026-01-01T00:00:00.000000007Z "
                                                   : "2026-01-01T00:00:00.000000000Z ",
                                r.body.data + at + 8, 31);
            at += r.chunks[p];
        }
        reply_finish(&r);
        free(line);
    }
}

static void test_the_local_driver_of_20_10_leaves_out_the_newline_of_a_line_in_parts(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c;
    char line[20000];
    struct reply r;

    memset(line, 'x', sizeof line);
    fixture_engine(f, SIM_ENGINE_20_10);
    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "l", .log_driver = "local"}, &c));
    sim_line_bytes(c, SIM_STDOUT, 0, line, sizeof line);
    sim_line(c, SIM_STDOUT, 0, "end");
    fetch(f->sim, &r, LOGS, "l");
    assert_int_equal(3, r.chunks_count);
    assert_int_equal(8 + 20000 - 16384, r.chunks[1]);
    assert_int_equal(8 + 4, r.chunks[2]);
    reply_finish(&r);
}

static void test_tail_counts_records_before_since_looks_at_them(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct sim_container_stats stats;
    struct sim_request req;

    sim_line(c, SIM_STDOUT, T0 + 10, "a");
    sim_line(c, SIM_STDERR, T0 + 30, "b");
    sim_line(c, SIM_STDOUT, T0 + 20, "c"); /* goes back across the streams, as it happens */
    sim_line(c, SIM_STDOUT, T0 + 40, "d");
    assert_logs(f, "o:a\ne:b\no:c\no:d\n", LOGS, "web");
    assert_logs(f, "o:c\no:d\n", LOGS "&tail=2", "web");
    assert_logs(f, "", LOGS "&tail=0", "web");
    assert_logs(f, "o:a\ne:b\no:c\no:d\n", LOGS "&tail=all&since=0", "web");
    assert_logs(f, "o:a\ne:b\no:c\no:d\n", LOGS "&tail=x&since=-1", "web");
    assert_logs(f, "o:d\n", LOGS "&since=1767225600.000000040", "web");
    assert_logs(f, "", LOGS "&since=1767225600.000000041", "web");
    assert_logs(f, "o:d\n", LOGS "&since=1767225600.00000003&tail=2", "web");
    /* A start filter: what comes after the first that is late enough passes. */
    assert_logs(f, "e:b\no:c\no:d\n", LOGS "&since=1767225600.00000003", "web");
    assert_logs(f, "o:a\n", LOGS "&until=1767225600.00000002", "web");
    assert_logs(f, "", LOGS "&since=1767225601.5", "web");
    assert_logs(f, "o:a\no:c\no:d\n", "/containers/web/logs?stdout=1&stderr=false");
    assert_logs(f, "o:d\n", "/containers/web/logs?stdout=true&tail=1");

    assert_int_equal(1, sim_requests(f->sim, SIM_REQUEST_LOGS, c, &req, 1));
    assert_int_equal(1, req.records_old);
    assert_int_equal(200, req.status);
    assert_string_equal("/containers/web/logs?stdout=true&tail=1", req.target);
    sim_container_get_stats(c, &stats);
    assert_int_equal(13, stats.logs_requests);
    assert_int_equal(4 + 2 + 0 + 4 + 4 + 4 + 4 + 2 + 4 + 4 + 4 + 4 + 1, stats.records_old);
}

static void test_20_10_looks_at_every_record_for_since(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c;

    fixture_engine(f, SIM_ENGINE_20_10);
    c = sim_add(f->sim, "web");
    sim_line(c, SIM_STDOUT, T0 + 10, "a");
    sim_line(c, SIM_STDERR, T0 + 30, "b");
    sim_line(c, SIM_STDOUT, T0 + 20, "c");
    sim_line(c, SIM_STDOUT, T0 + 40, "d");
    assert_logs(f, "e:b\no:d\n", LOGS "&since=1767225600.00000003", "web");
}

static void test_a_follow_gets_what_is_logged_until_the_container_exits(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct sim_stats stats;
    struct buf text = {0};
    struct client client;
    struct reply r;

    sim_line(c, SIM_STDOUT, 0, "old");
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1&tail=0", "web");
    client_read_head(&client, &r); /* the head comes without any line */
    assert_int_equal(0, sim_wait_follows(f->sim, c, 1, WAIT_MS));
    sim_line(c, SIM_STDOUT, 0, "new");
    assert_true(client_read_chunk(&client, &r));
    assert_int_equal(0, sim_wait_caught_up(c, WAIT_MS));
    assert_int_equal(0, sim_container_pause(c));
    assert_int_equal(0, sim_container_rename(c, "other"));
    assert_int_equal(0, sim_container_unpause(c));
    sim_line(c, SIM_STDERR, 0, "newer");
    assert_true(client_read_chunk(&client, &r));
    sim_line(c, SIM_STDERR, 0, "last");
    assert_int_equal(0, sim_container_exit(c, 0));
    sim_line(c, SIM_STDERR, 0, "after"); /* of the next run, as it were */
    client_read_body(&client, &r);
    assert_true(r.whole);
    frames_text(buf_slice(&r.body), &text);
    assert_string_equal("o:new\ne:newer\ne:last\n", buf_cstr(&text));
    assert_int_equal(0, sim_wait_follows(f->sim, NULL, 0, WAIT_MS));
    sim_get_stats(f->sim, &stats);
    assert_int_equal(1, stats.follows_max);
    assert_int_equal(3, stats.records_sent);
    reply_finish(&r);
    client_close(&client);
    buf_finish(&text);

    /* Follow means nothing while the container does not run. */
    assert_logs(f, "o:old\no:new\ne:newer\ne:last\ne:after\n", LOGS "&follow=1", "other");
}

static void test_an_unterminated_end_is_held_back_by_20_10_alone(void **state)
{
    static const enum sim_engine engines[] = {SIM_ENGINE_20_10, SIM_ENGINE_26_1, SIM_ENGINE_28_5};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        struct sim_container *c;
        struct buf text = {0};
        struct client client;
        struct reply r;

        fixture_engine(f, engines[i]);
        c = sim_add(f->sim, "web");
        client_open(&client, f->sim);
        client_get(&client, LOGS "&follow=1", "web");
        client_read_head(&client, &r);
        sim_write(c, SIM_STDOUT, "who", 3);
        sim_write(c, SIM_STDOUT, "le\nno", 5);
        sim_write(c, SIM_STDOUT, "nl", 2);
        assert_int_equal(1, sim_log_records(c));
        assert_int_equal(0, sim_container_exit(c, 0));
        client_read_body(&client, &r);
        assert_true(r.whole);
        frames_text(buf_slice(&r.body), &text);
        assert_string_equal(engines[i] == SIM_ENGINE_20_10 ? "o:whole\n" : "o:whole\no:nonl",
                            buf_cstr(&text));
        assert_logs(f, "o:whole\no:nonl", LOGS, "web");
        reply_finish(&r);
        client_close(&client);
        buf_finish(&text);
    }
}

static void test_a_held_back_record_comes_with_the_next_one(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct buf text = {0};
    struct client client;
    struct reply r;

    sim_set_hold_back(f->sim, true);
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    sim_log(c, SIM_STDOUT, 0, "end of a run", 12);
    sim_line(c, SIM_STDERR, 0, "next");
    assert_true(client_read_chunk(&client, &r));
    assert_true(client_read_chunk(&client, &r));
    frames_text(buf_slice(&r.body), &text);
    assert_string_equal("o:end of a rune:next\n", buf_cstr(&text));
    reply_finish(&r);
    client_close(&client);
    buf_finish(&text);
}

static void test_a_tty_is_raw_and_all_stdout(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c;
    struct reply r;

    assert_int_equal(0,
                     sim_container_add(f->sim, &(struct sim_spec){.name = "t", .tty = true}, &c));
    sim_line(c, SIM_STDOUT, T0, "out");
    sim_line(c, SIM_STDERR, T0 + 1, "err");
    sim_write(c, SIM_STDOUT, "w\n", 2);
    fetch(f->sim, &r, LOGS "&timestamps=1", "t");
    assert_string_equal(
        "2026-01-01T00:00:00.000000000Z out\r\n2026-01-01T00:00:00.000000001Z err\r\n"
        "2026-01-01T00:00:00.000000002Z w\r\n",
        reply_text(&r));
    assert_int_equal(3, r.chunks_count);
    reply_finish(&r);
    fetch(f->sim, &r, "/containers/t/logs?stderr=1");
    assert_true(r.whole);
    assert_int_equal(0, r.body.len);
    reply_finish(&r);
}

static void test_timestamps_can_be_written_in_other_ways(void **state)
{
    static const char *const expected[] = {
        [SIM_TIMESTAMPS_ENGINE] = "2026-01-01T00:00:00.120000000Z x\n",
        [SIM_TIMESTAMPS_NO_FRACTION] = "2026-01-01T00:00:00Z x\n",
        [SIM_TIMESTAMPS_SHORT] = "2026-01-01T00:00:00.12Z x\n",
        [SIM_TIMESTAMPS_OFFSET] = "2026-01-01T02:00:00.120000000+02:00 x\n",
    };
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");

    sim_line(c, SIM_STDOUT, T0 + 120 * NSEC_PER_MSEC, "x");
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        struct reply r;

        sim_set_timestamps(f->sim, (enum sim_timestamps)i);
        fetch(f->sim, &r, LOGS "&timestamps=1", "web");
        assert_string_equal(expected[i], reply_text(&r) + 8);
        reply_finish(&r);
    }
}

static void test_rotation_drops_the_oldest_and_jumps_deliver_again(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct buf text = {0};
    struct client client;
    struct reply r;

    for (int i = 0; i < 5; i++)
        assert_int_equal(0, sim_linef(c, SIM_STDOUT, "%d", i));
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    for (int i = 0; i < 5; i++)
        assert_true(client_read_chunk(&client, &r));
    sim_log_drop_oldest(c, 3);
    assert_logs(f, "o:3\no:4\n", LOGS, "web");
    assert_int_equal(5, sim_log_records(c));
    sim_log_jump_back(c, 9); /* no further than to what is still there */
    sim_line(c, SIM_STDOUT, 0, "5");
    for (int i = 0; i < 3; i++)
        assert_true(client_read_chunk(&client, &r));
    frames_text(buf_slice(&r.body), &text);
    assert_string_equal("o:0\no:1\no:2\no:3\no:4\no:3\no:4\no:5\n", buf_cstr(&text));
    reply_finish(&r);
    client_close(&client);
    buf_finish(&text);
}

static void test_bulk_writes_the_same_bytes_with_fewer_calls(void **state)
{
    struct sim_generator g = {
        .lines_before = 2000, .stderr_percent = 30, .long_every = 100, .long_bytes = 40000};
    struct fixture *f = *state;
    struct reply each, bulk;
    struct sim_stats a, b;

    fixture_engine(f, SIM_ENGINE_28_5);
    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "web", .generator = &g}, NULL));
    fetch(f->sim, &each, LOGS "&timestamps=1", "web");
    sim_get_stats(f->sim, &a);
    fixture_open(f, (struct sim_options){.bulk = true, .scripted_clock = true});
    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "web", .generator = &g}, NULL));
    fetch(f->sim, &bulk, LOGS "&timestamps=1", "web");
    sim_get_stats(f->sim, &b);
    assert_int_equal(each.wire.len, bulk.wire.len);
    assert_memory_equal(each.wire.data, bulk.wire.data, each.wire.len);
    assert_true(a.writes >= 2000 && b.writes < a.writes / 10);
    assert_int_equal(a.records_sent, b.records_sent);
    reply_finish(&each);
    reply_finish(&bulk);
}

/* ---- Generated logs ---- */

static void test_generated_lines_are_what_the_formula_says(void **state)
{
    static const struct sim_generator cases[] = {
        {.lines_before = 300, .stderr_percent = 30},
        {.lines_before = 300, .line_bytes = 1, .quotes = true},
        {.lines_before = 50, .long_every = 7, .long_bytes = 40000},
        {.lines_before = 20, .line_bytes = 16384},
        {.lines_before = 20, .line_bytes = 20000, .long_every = 3, .long_bytes = 100},
    };
    static char line[65536];
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sim_container *c;
        struct slice body, name;
        uint64_t errs = 0;
        struct reply r;

        assert_int_equal(
            0,
            sim_container_add(f->sim, &(struct sim_spec){.name = "g", .generator = &cases[i]}, &c));
        fetch(f->sim, &r, LOGS, "g");
        body = buf_slice(&r.body);
        for (uint64_t n = 0; n < cases[i].lines_before; n++) {
            size_t len = sim_generated_line(&cases[i], "g", n, line, sizeof line), at = 0;
            enum sim_stream stream;
            uint64_t number;

            line[len++] = '\n';
            assert_int_equal(0, sim_generated_parse(slice_of(line, len), &name, &stream, &number));
            assert_true(slice_eq_str(name, "g"));
            assert_int_equal(n, number);
            errs += stream == SIM_STDERR;
            while (at < len) {
                size_t part = MIN(len - at, (size_t)SIM_PART_BYTES);

                assert_true(body.len >= 8 + part);
                assert_int_equal(stream, body.data[0]);
                assert_memory_equal(line + at, body.data + 8, part);
                at += part;
                body = slice_from(body, 8 + part);
            }
        }
        assert_int_equal(0, body.len);
        assert_int_equal(cases[i].lines_before * cases[i].stderr_percent / 100, errs);
        reply_finish(&r);
        assert_int_equal(0, sim_container_remove(c));
    }
    {
        enum sim_stream stream;
        struct slice name;
        uint64_t n;

        assert_int_equal(-EINVAL, sim_generated_parse(slice_str("hello"), &name, &stream, &n));
        assert_int_equal(-EINVAL,
                         sim_generated_parse(slice_str("c=a s=o n=12"), &name, &stream, &n));
        assert_int_equal(-EINVAL,
                         sim_generated_parse(slice_str("c=a s=x n=12 "), &name, &stream, &n));
    }
}

static void test_prepared_frames_are_the_ones_that_are_composed(void **state)
{
    struct sim_generator g = {
        .lines_before = 1200, .stderr_percent = 20, .interval_ns = 7 * NSEC_PER_MSEC};
    struct fixture *f = *state;

    for (int tty = 0; tty < 2; tty++) {
        for (int stamps = 0; stamps < 2; stamps++) {
            struct reply fast, slow;
            struct sim_container *c;
            uint64_t id;

            assert_int_equal(
                0, sim_container_add(
                       f->sim, &(struct sim_spec){.name = "g", .tty = tty, .generator = &g}, &c));
            /* Backwards first, so that longer numbers stood in the frame before. */
            fetch(f->sim, &fast, LOGS "&tail=1", "g");
            reply_finish(&fast);
            fetch(f->sim, &fast, LOGS "&timestamps=%d", "g", stamps);
            sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_SPLIT, .bytes = 5000}, &id);
            sim_set_timestamps(f->sim, SIM_TIMESTAMPS_SHORT); /* has no prepared form */
            fetch(f->sim, &slow, LOGS "&timestamps=%d", "g", 0);
            sim_set_timestamps(f->sim, SIM_TIMESTAMPS_ENGINE);
            if (!stamps) {
                assert_int_equal(slow.wire.len, fast.wire.len);
                assert_memory_equal(slow.wire.data, fast.wire.data, fast.wire.len);
            } else {
                /* Stamps: each is its predecessor's plus the interval, up to the container's start.
                 */
                const char *at = fast.body.data + (tty ? 0 : 8);
                int64_t ts, expected = T0 - 1200 * g.interval_ns;

                for (int i = 0; i < 1200; i++, expected += g.interval_ns, at += fast.chunks[0]) {
                    assert_int_equal(0, timestamp_parse(slice_of(at, TIMESTAMP_LEN), &ts));
                    assert_int_equal(expected, ts);
                }
            }
            sim_fault_clear(f->sim, id);
            reply_finish(&fast);
            reply_finish(&slow);
            assert_int_equal(0, sim_container_remove(c));
        }
    }
}

static void test_a_log_of_two_million_lines_is_reached_anywhere_at_once(void **state)
{
    struct sim_generator g = {.lines_before = 2000000, .interval_ns = NSEC_PER_MSEC};
    struct fixture *f = *state;
    struct sim_container_stats stats;
    struct sim_container *c;
    struct reply r;

    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "big", .generator = &g}, &c));
    assert_int_equal(2000000, sim_log_records(c));
    fetch(f->sim, &r, LOGS "&tail=3&timestamps=1", "big");
    assert_int_equal(3, r.chunks_count);
    assert_memory_equal("2025-12-31T23:59:59.997000000Z c=big s=o n=1999997 ", r.body.data + 8, 51);
    reply_finish(&r);
    /* 1767225599.5: half a second before the end. */
    fetch(f->sim, &r, LOGS "&since=1767225599.5", "big");
    assert_int_equal(500, r.chunks_count);
    assert_memory_equal("c=big s=o n=1999500 ", r.body.data + 8, 20);
    reply_finish(&r);
    sim_container_get_stats(c, &stats);
    assert_int_equal(2000000 + 3, stats.records_old);
    sim_log_drop_oldest(c, 1999999);
    fetch(f->sim, &r, LOGS, "big");
    assert_int_equal(1, r.chunks_count);
    reply_finish(&r);
}

static void test_a_rate_follows_the_clock_and_stands_still_while_paused(void **state)
{
    struct sim_generator g = {.lines_per_s = 10, .lines = 25, .exit_at_end = true};
    struct fixture *f = *state;
    struct sim_container *c;
    struct client client;
    struct reply r;

    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "g", .generator = &g}, &c));
    assert_int_equal(1, sim_log_records(c)); /* the first comes at the start */
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1&timestamps=1", "g");
    client_read_head(&client, &r);
    assert_true(client_read_chunk(&client, &r));
    sim_clock_advance(f->sim, NSEC_PER_SEC / 2);
    for (int i = 0; i < 5; i++)
        assert_true(client_read_chunk(&client, &r));
    assert_int_equal(6, sim_log_records(c));
    assert_int_equal(0, sim_container_pause(c));
    sim_clock_advance(f->sim, 10 * NSEC_PER_SEC);
    assert_int_equal(6, sim_log_records(c));
    assert_int_equal(0, sim_container_unpause(c));
    assert_int_equal(7, sim_log_records(c));
    assert_true(client_read_chunk(&client, &r));
    assert_int_equal(0, sim_wait_caught_up(c, WAIT_MS));
    sim_clock_advance(f->sim, 100 * NSEC_PER_SEC);
    client_read_body(&client, &r);
    assert_true(r.whole);
    assert_int_equal(25, r.chunks_count);
    assert_int_equal(SIM_EXITED, sim_container_state(c));
    assert_memory_equal("2026-01-01T00:00:10.500000000Z c=g s=o n=6 ",
                        r.body.data + 6 * r.chunks[0] + 8, 43);
    reply_finish(&r);
    client_close(&client);
}

static void test_a_firehose_writes_what_is_read_and_numbers_on_after_a_restart(void **state)
{
    struct sim_generator g = {.firehose = true, .lines = 5000, .exit_at_end = true};
    struct fixture *f = *state;
    struct sim_container *c;
    struct client client;
    struct slice body;
    struct reply r;
    uint64_t written;

    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "g", .generator = &g}, &c));
    assert_int_equal(0, sim_log_records(c));
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "g");
    client_read_head(&client, &r);
    for (int i = 0; i < 100; i++)
        assert_true(client_read_chunk(&client, &r));
    assert_int_equal(0, sim_container_stop(c));
    client_read_body(&client, &r);
    assert_true(r.whole);
    written = sim_log_records(c);
    assert_true(written >= 100 && written < 5000); /* the socket holds far less than that */
    assert_int_equal(written, r.chunks_count);
    assert_int_equal(0, sim_container_start(c));
    client_get(&client, LOGS "&follow=1&tail=0", "g");
    reply_finish(&r);
    client_read_head(&client, &r);
    client_read_body(&client, &r);
    assert_true(r.whole);
    assert_int_equal(5000 - written, r.chunks_count);
    body = buf_slice(&r.body);
    for (uint64_t n = written; n < 5000; n++) {
        enum sim_stream stream;
        struct slice name;
        uint64_t number;

        assert_int_equal(
            0, sim_generated_parse(slice_of(body.data + 8, 120), &name, &stream, &number));
        assert_int_equal(n, number);
        body = slice_from(body, 8 + 121);
    }
    assert_int_equal(SIM_EXITED, sim_container_state(c));
    reply_finish(&r);
    client_close(&client);
}

static void test_hundreds_follow_at_the_same_time(void **state)
{
    enum { FOLLOWERS = 400 };
    static const char *const names[] = {"c0", "c1", "c2", "c3"};
    struct fixture *f = *state;
    struct rlimit limit;
    struct client *clients = calloc(FOLLOWERS, sizeof *clients);
    struct reply *replies = calloc(FOLLOWERS, sizeof *replies);
    struct sim_container *c[4];
    struct sim_stats stats;

    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* 1024 are enough */
    for (int i = 0; i < 4; i++) {
        c[i] = sim_add(f->sim, names[i]);
    }
    for (int i = 0; i < FOLLOWERS; i++) {
        client_open(&clients[i], f->sim);
        client_get(&clients[i], LOGS "&follow=1", names[i % 4]);
    }
    assert_int_equal(0, sim_wait_follows(f->sim, NULL, FOLLOWERS, WAIT_MS));
    for (int i = 0; i < 4; i++) {
        sim_line(c[i], SIM_STDOUT, 0, "x");
        assert_int_equal(0, sim_container_exit(c[i], 0));
    }
    for (int i = 0; i < FOLLOWERS; i++) {
        client_read_head(&clients[i], &replies[i]);
        client_read_body(&clients[i], &replies[i]);
        assert_true(replies[i].whole);
        assert_int_equal(1, replies[i].chunks_count);
        reply_finish(&replies[i]);
        client_close(&clients[i]);
    }
    assert_int_equal(0, sim_wait_connections_at_most(f->sim, 0, WAIT_MS));
    sim_get_stats(f->sim, &stats);
    assert_int_equal(FOLLOWERS, stats.follows_max);
    for (int i = 0; i < 4; i++) {
        struct sim_container_stats of_one;

        sim_container_get_stats(c[i], &of_one);
        assert_int_equal(1, of_one.follow_gaps); /* the others ended beside one that was open */
    }
    free(clients);
    free(replies);
}

/* ---- Events ---- */

/** The actions of an events body, with a blank behind each. */
static void actions_of(struct reply *r, char *out, size_t size)
{
    *out = '\0';
    for (const char *at = reply_text(r); (at = strstr(at, "\"Action\":\"")) != NULL;) {
        at += strlen("\"Action\":\"");
        snprintf(out + strlen(out), size - strlen(out), "%.*s ", (int)(strchr(at, '"') - at), at);
    }
}

static void assert_history(struct fixture *f, const char *expected, const char *query)
{
    char actions[8192];
    struct reply r;

    fetch(f->sim, &r, "/events?until=1767225600.5&%s", query);
    assert_int_equal(200, r.status);
    assert_true(r.whole);
    actions_of(&r, actions, sizeof actions);
    assert_string_equal(expected, actions);
    reply_finish(&r);
}

static void test_events_come_in_the_order_of_each_engine(void **state)
{
    struct fixture *f = *state;

    for (int old = 0; old < 2; old++) {
        struct sim_container *c;

        fixture_engine(f, old ? SIM_ENGINE_20_10 : SIM_ENGINE_28_5);
        c = sim_add(f->sim, "web");
        assert_int_equal(0, sim_container_pause(c));
        assert_int_equal(0, sim_container_unpause(c));
        assert_int_equal(0, sim_container_rename(c, "web2"));
        assert_int_equal(0, sim_container_restart(c));
        assert_int_equal(0, sim_container_crash(c, 1));
        assert_int_equal(SIM_RESTARTING, sim_container_state(c));
        assert_int_equal(0, sim_container_start(c));
        assert_int_equal(0, sim_container_remove(c));
        sim_clock_advance(f->sim, NSEC_PER_SEC);
        assert_history(f,
                       old ? "create start pause unpause rename kill die stop start restart die "
                             "start kill die destroy "
                           : "create start pause unpause rename kill stop die start restart die "
                             "start kill die destroy ",
                       "since=1");
    }
}

static void test_an_event_is_one_chunk_and_has_the_engines_members(void **state)
{
    static const struct sim_pair label = {"zone", "a"};
    struct fixture *f = *state;
    struct sim_container *c;
    char expected[1024];
    struct client client;
    struct reply r;

    client_open(&client, f->sim);
    client_get(&client, "/events");
    client_read_head(&client, &r);
    assert_int_equal(0, sim_wait_event_streams(f->sim, 1, WAIT_MS));
    assert_int_equal(
        0, sim_container_add(
               f->sim, &(struct sim_spec){.name = "w", .labels = &label, .labels_count = 1}, &c));
    assert_true(client_read_chunk(&client, &r));
    snprintf(expected, sizeof expected,
             "{\"status\":\"create\",\"id\":\"%s\",\"from\":\"bb:latest\",\"Type\":\"container\","
             "\"Action\":\"create\","
             "\"Actor\":{\"ID\":\"%s\",\"Attributes\":{\"image\":\"bb:latest\",\"name\":\"w\","
             "\"zone\":\"a\"}},"
             "\"scope\":\"local\",\"time\":1767225600,\"timeNano\":1767225600000000000}\n",
             sim_container_id(c), sim_container_id(c));
    assert_string_equal(expected, reply_text(&r));
    assert_int_equal(strlen(expected), r.chunks[0]);
    assert_int_equal(1, sim_events_cut(f->sim));
    client_read_body(&client, &r);
    assert_false(r.whole);
    assert_true(client.eof);
    reply_finish(&r);
    client_close(&client);

    fixture_open(f, (struct sim_options){.api_newest = "1.52"});
    sim_add(f->sim, "w");
    client_open(&client, f->sim);
    client_get(&client, "/events?since=1");
    client_read_head(&client, &r);
    assert_true(client_read_chunk(&client, &r));
    assert_memory_equal("{\"Type\":\"container\",", r.body.data, 20);
    reply_finish(&r);
    client_close(&client);
}

static void test_history_and_filters_of_events(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    char expected[2048] = "";

    sim_add(f->sim, "db");
    assert_int_equal(0, sim_emit_container_event(c, "exec_start: sh"));
    assert_int_equal(
        0, sim_emit_event(f->sim, "{\"Type\":\"network\",\"Action\":\"connect\"}", T0 + 100));
    assert_int_equal(0, sim_container_exit(c, 2));
    sim_clock_advance(f->sim, NSEC_PER_SEC);
    assert_history(f, "create start create start exec_start: sh connect die ", "since=1");
    /* Inclusive: the second event has T0 + 1 ns. */
    assert_history(f, "start create start exec_start: sh connect die ",
                   "since=1767225600.000000001");
    assert_history(
        f, "", "filters=%7B%22type%22:%5B%22container%22%5D%7D"); /* without since, no history */
    assert_history(f, "create start exec_start: sh connect die ",
                   "since=1&filters=%7B%22container%22:%5B%22web%22%5D%7D");
    assert_history(f, "exec_start: sh connect die ",
                   "since=1&filters=%7B%22event%22:%5B%22die%22,%22exec_start%22%5D%7D");

    for (int i = 0; i < 300; i++) {
        assert_int_equal(0, sim_emit_container_event(c, "x"));
        if (i < 256)
            strcat(expected, "x ");
    }
    sim_clock_set(f->sim, T0 + 10 * NSEC_PER_SEC);
    {
        char actions[8192];
        struct reply r;

        fetch(f->sim, &r, "/events?since=1&until=1767225610");
        actions_of(&r, actions, sizeof actions);
        assert_string_equal(expected, actions);
        reply_finish(&r);
    }
}

static void test_history_is_gone_after_a_restart_and_until_ends_a_live_stream(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct reply r;

    sim_add(f->sim, "web");
    assert_int_equal(0, sim_engine_stop(f->sim, SIM_STOP_KILL));
    assert_int_equal(0, sim_engine_start(f->sim, true));
    sim_clock_advance(f->sim, NSEC_PER_SEC);
    assert_history(f, "create start ", "since=1");
    assert_history(f, "", "since=1767225600.1");
    client_open(&client, f->sim);
    client_get(&client, "/events?since=1&until=1767225605");
    client_read_head(&client, &r);
    assert_true(client_read_chunk(&client, &r));
    assert_true(client_read_chunk(&client, &r));
    sim_clock_advance(f->sim, 5 * NSEC_PER_SEC);
    assert_false(client_read_chunk(&client, &r));
    assert_true(r.whole);
    reply_finish(&r);
    client_close(&client);

    assert_int_equal(0, sim_engine_stop(f->sim, SIM_STOP_KILL));
    assert_int_equal(0, sim_engine_start(f->sim, false));
    fetch(f->sim, &r, "/events?since=1&until=2");
    assert_int_equal(0, r.body.len);
    reply_finish(&r);
}

static void test_events_can_be_lost_doubled_late_and_out_of_order(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    uint64_t came = 0;
    struct client client;
    struct reply r;
    char actions[256];

    client_open(&client, f->sim);
    client_get(&client, "/events");
    client_read_head(&client, &r);
    assert_int_equal(0, sim_wait_event_streams(f->sim, 1, WAIT_MS));

    sim_set_event_faults(f->sim, &(struct sim_event_faults){.drop_next = 2});
    sim_emit_container_event(c, "lost");
    sim_emit_container_event(c, "lost");
    sim_emit_container_event(c, "a");
    sim_set_event_faults(f->sim, &(struct sim_event_faults){.duplicate_percent = 100});
    sim_emit_container_event(c, "b");
    sim_set_event_faults(f->sim, &(struct sim_event_faults){.reorder_percent = 100});
    sim_emit_container_event(c, "d");
    sim_emit_container_event(c, "c");
    sim_emit_container_event(c, "e");
    sim_set_event_faults(f->sim, NULL); /* lets go of the one that is held */
    sim_set_event_faults(f->sim, &(struct sim_event_faults){.delay_percent = 100, .delay_ms = 20});
    sim_emit_container_event(c, "g");
    sim_set_event_faults(f->sim, NULL);
    sim_emit_container_event(c, "f");
    for (int i = 0; i < 8; i++)
        assert_true(client_read_chunk(&client, &r));
    actions_of(&r, actions, sizeof actions);
    assert_string_equal("a b b c d e f g ", actions);

    sim_set_event_faults(f->sim, &(struct sim_event_faults){.drop_percent = 30});
    for (int i = 0; i < 1000; i++)
        sim_emit_container_event(c, "x");
    sim_set_event_faults(f->sim, NULL);
    sim_emit_container_event(c, "end");
    do {
        buf_reset(&r.body);
        assert_true(client_read_chunk(&client, &r));
        came++;
    } while (!strstr(reply_text(&r), "\"end\""));
    assert_in_range(came - 1, 600, 800);
    reply_finish(&r);
    client_close(&client);
}

static void test_a_subscriber_that_does_not_read_loses_events(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct sim_stats stats;
    struct client client;
    struct reply r;

    client_open(&client, f->sim);
    client_get(&client, "/events");
    client_read_head(&client, &r);
    assert_int_equal(0, sim_wait_event_streams(f->sim, 1, WAIT_MS));
    for (int i = 0; i < 5000; i++)
        sim_emit_container_event(c, "x");
    sim_get_stats(f->sim, &stats);
    assert_true(stats.events_lost > 0);
    reply_finish(&r);
    client_close(&client);
}

/* ---- Life ---- */

static void test_a_recreated_container_has_the_name_and_another_id(void **state)
{
    static const struct sim_pair label = {"v", "2"};
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web"), *fresh;
    struct reply r;

    sim_line(c, SIM_STDOUT, 0, "old");
    assert_int_equal(-EEXIST, sim_container_add(f->sim, &(struct sim_spec){.name = "web"}, NULL));
    assert_int_equal(0, sim_container_recreate(
                            c, &(struct sim_spec){.labels = &label, .labels_count = 1}, &fresh));
    assert_int_equal(SIM_GONE, sim_container_state(c));
    assert_string_not_equal(sim_container_id(c), sim_container_id(fresh));
    assert_ptr_equal(fresh, sim_container_find(f->sim, "web"));
    assert_logs(f, "", LOGS, "web");
    fetch(f->sim, &r, "/containers/web/json");
    assert_non_null(strstr(reply_text(&r), "\"Labels\":{\"v\":\"2\"}"));
    reply_finish(&r);
    fetch(f->sim, &r, "/containers/%s/json", sim_container_id(c));
    assert_int_equal(404, r.status);
    reply_finish(&r);
    assert_int_equal(-EINVAL, sim_container_remove(c));
    assert_int_equal(-EINVAL, sim_container_start(fresh));
    sim_container_release(c);
    assert_int_equal(0, sim_container_recreate(fresh, NULL, &fresh));
    fetch(f->sim, &r, "/containers/web/json");
    assert_non_null(strstr(reply_text(&r), "\"Labels\":{\"v\":\"2\"}"));
    reply_finish(&r);
}

static void test_removal_ends_a_follow_and_then_there_is_no_such_container(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct client client;
    struct reply r;

    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    sim_line(c, SIM_STDOUT, 0, "last");
    assert_int_equal(0, sim_container_begin_removal(c));
    client_read_body(&client, &r);
    assert_true(r.whole);
    assert_int_equal(1, r.chunks_count);
    assert_error(
        f, 409,
        "{\"message\":\"can not get logs from container which is dead or marked for removal\"}\n",
        "/containers/web/logs?stdout=1");
    assert_int_equal(0, sim_container_remove(c));
    sim_container_release(c);
    assert_error(f, 404, "{\"message\":\"No such container: web\"}\n",
                 "/containers/web/logs?stdout=1");
    reply_finish(&r);
    client_close(&client);
}

/* ---- Faults ---- */

static void test_a_reply_fault_hits_as_often_and_where_it_should(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    uint64_t id;
    struct reply r;

    sim_add(f->sim, "db");
    assert_int_equal(0, sim_fault_add(f->sim,
                                      &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                                          .on = SIM_REQUEST_LOGS,
                                                          .container = c,
                                                          .skip = 1,
                                                          .times = 2,
                                                          .status = 503,
                                                          .body = "busy",
                                                          .content_type = "text/plain"},
                                      &id));
    assert_logs(f, "", LOGS, "web");
    for (int i = 0; i < 2; i++) {
        fetch(f->sim, &r, LOGS, "web");
        assert_int_equal(503, r.status);
        assert_string_equal("busy", reply_text(&r));
        assert_true(reply_has_header(&r, "Content-Type: text/plain"));
        reply_finish(&r);
        assert_logs(f, "", LOGS, "db");
    }
    assert_logs(f, "", LOGS, "web");
    assert_int_equal(2, sim_fault_hits(f->sim, id));

    sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_REPLY, .status = 500, .body = "{}"},
                  &id);
    assert_error(f, 500, "{}", "/_ping");
    assert_error(f, 500, "{}", "/containers/json");
    sim_fault_clear(f->sim, id);
    assert_error(f, 200, "OK", "/_ping");
}

static void test_a_delayed_head_takes_the_position_when_it_is_sent(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct client client;
    struct reply r;

    sim_fault_add(
        f->sim,
        &(struct sim_fault){.kind = SIM_FAULT_DELAY, .on = SIM_REQUEST_LOGS, .delay_ms = 300},
        NULL);
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1&tail=0", "web");
    assert_int_equal(0, sim_wait_requests(f->sim, SIM_REQUEST_LOGS, 1, WAIT_MS));
    sim_line(c, SIM_STDOUT, 0, "before the head");
    client_read_head(&client, &r);
    sim_line(c, SIM_STDOUT, 0, "after");
    assert_true(client_read_chunk(&client, &r));
    assert_memory_equal("after\n", r.body.data + r.body.len - 6, 6);
    reply_finish(&r);
    client_close(&client);
}

static void test_no_answer_is_silence_for_that_request_alone(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct sim_request req[2];

    sim_fault_add(
        f->sim,
        &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER, .on = SIM_REQUEST_LIST, .times = 1}, NULL);
    client_open(&client, f->sim);
    client_get(&client, "/containers/json");
    assert_int_equal(0, sim_wait_requests(f->sim, SIM_REQUEST_LIST, 1, WAIT_MS));
    assert_error(f, 200, "OK", "/_ping");
    assert_error(f, 200, "[]\n", "/containers/json");
    assert_true(client_is_silent(&client));
    sim_fault_clear(f->sim, 0);
    assert_true(client_is_silent(&client));
    assert_int_equal(2, sim_requests(f->sim, SIM_REQUEST_LIST, NULL, req, 2));
    assert_int_equal(0, req[0].status);
    assert_int_equal(200, req[1].status);
    client_close(&client);
    assert_int_equal(0, sim_wait_connections_at_most(f->sim, 0, WAIT_MS));
}

/** The response of `target`, whole, as it is on the wire. */
static void whole_response(struct fixture *f, const char *target, struct buf *out)
{
    struct client c;

    client_open(&c, f->sim);
    client_send(&c, "GET %s HTTP/1.1\r\nConnection: close\r\n\r\n", target);
    client_read_to_eof(&c, out);
    assert_int_equal(0, c.error);
    client_close(&c);
}

static void test_a_cut_comes_after_exactly_the_bytes_it_counts(void **state)
{
    const char *target = "/containers/web/logs?stdout=1&stderr=1&timestamps=1";
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct buf whole = {0};
    size_t head, body = 0;

    sim_line(c, SIM_STDOUT, 0, "one");
    sim_line(c, SIM_STDERR, 0, "two two");
    whole_response(f, target, &whole);
    head = (size_t)(strstr(buf_cstr(&whole), "\r\n\r\n") + 4 - whole.data);

    for (size_t n = 0; n < whole.len; n++) {
        struct buf cut = {0};

        sim_fault_add(
            f->sim,
            &(struct sim_fault){
                .kind = SIM_FAULT_CUT, .times = 1, .bytes = n, .count = SIM_BYTES_RESPONSE},
            NULL);
        whole_response(f, target, &cut);
        assert_int_equal(n, cut.len);
        assert_true(n == 0 || memcmp(whole.data, cut.data, n) == 0);
        buf_reset(&cut);
        if (n < whole.len - head) {
            sim_fault_add(
                f->sim,
                &(struct sim_fault){
                    .kind = SIM_FAULT_CUT, .times = 1, .bytes = n, .count = SIM_BYTES_WIRE},
                NULL);
            whole_response(f, target, &cut);
            assert_int_equal(head + n, cut.len);
        }
        buf_finish(&cut);
    }
    /* Counted without the chunks: what arrives before the cut is exactly so much of the frames. */
    body = (8 + 31 + 4) + (8 + 31 + 8);
    for (size_t n = 0; n <= body; n++) {
        struct client client;
        struct reply r;

        sim_fault_add(f->sim,
                      &(struct sim_fault){
                          .kind = SIM_FAULT_CUT, .times = 1, .bytes = n, .count = SIM_BYTES_BODY},
                      NULL);
        client_open(&client, f->sim);
        client_get(&client, "%s", target);
        client_read_head(&client, &r);
        client_read_body(&client, &r);
        assert_false(r.whole);
        assert_true(client.eof);
        assert_int_equal(n, r.body.len);
        reply_finish(&r);
        client_close(&client);
    }
    buf_finish(&whole);
}

static void test_a_cut_with_reset_is_one(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct reply r;

    sim_line(sim_add(f->sim, "web"), SIM_STDOUT, 0, "some text");
    sim_fault_add(
        f->sim, &(struct sim_fault){.kind = SIM_FAULT_CUT, .times = 1, .bytes = 10, .reset = true},
        NULL);
    client_open(&client, f->sim);
    client_get(&client, LOGS, "web");
    client_read_head(&client, &r);
    client_read_body(&client, &r);
    assert_int_equal(ECONNRESET, client.error);
    assert_int_equal(10, r.wire.len);
    reply_finish(&r);
    client_close(&client);
}

static void test_a_stalled_follow_is_silent_while_the_container_writes_on(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct client client, second;
    struct reply r;

    sim_fault_add(f->sim,
                  &(struct sim_fault){.kind = SIM_FAULT_STALL,
                                      .on = SIM_REQUEST_LOGS,
                                      .times = 1,
                                      .bytes = 14,
                                      .count = SIM_BYTES_BODY},
                  NULL);
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    sim_line(c, SIM_STDOUT, 0, "one");
    sim_line(c, SIM_STDOUT, 0, "two");
    assert_true(client_read_chunk(&client, &r));
    reply_finish(&r);
    /* Another one goes on, and sees everything; so what the first one could get has been sent. */
    client_open(&second, f->sim);
    client_get(&second, LOGS "&follow=1", "web");
    client_read_head(&second, &r);
    assert_true(client_read_chunk(&second, &r));
    assert_true(client_read_chunk(&second, &r));
    assert_int_equal(0, sim_wait_follows(f->sim, c, 2, WAIT_MS));
    while (recv(client.fd, (char[16]){0}, 16, MSG_DONTWAIT) > 0)
        continue;
    buf_reset(&client.in);
    assert_int_equal(2, sim_follow_stall(f->sim, c));
    sim_line(c, SIM_STDOUT, 0, "three");
    assert_int_equal(0, sim_container_exit(c, 0));
    assert_error(f, 200, "OK", "/_ping");
    assert_true(client_is_silent(&client));
    assert_true(client_is_silent(&second));
    assert_int_equal(2, sim_follow_cut(f->sim, NULL));
    assert_false(client_read_chunk(&second, &r));
    assert_true(second.eof);
    assert_false(r.whole);
    reply_finish(&r);
    client_close(&client);
    client_close(&second);
}

static void test_an_engine_error_is_a_frame_and_then_the_end_that_was_chosen(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");

    sim_line(c, SIM_STDOUT, 0, "one");
    sim_line(c, SIM_STDOUT, 0, "two");
    for (int eof = 0; eof < 2; eof++) {
        struct buf text = {0};
        struct client client;
        struct reply r;

        sim_fault_add(f->sim,
                      &(struct sim_fault){.kind = SIM_FAULT_ENGINE_ERROR,
                                          .times = 1,
                                          .records = 1,
                                          .body = "Error grabbing logs: x\n",
                                          .eof = eof},
                      NULL);
        client_open(&client, f->sim);
        client_get(&client, LOGS "&follow=1", "web");
        client_read_head(&client, &r);
        client_read_body(&client, &r);
        assert_int_equal(!eof, r.whole);
        assert_int_equal(eof, client.eof);
        frames_text(buf_slice(&r.body), &text);
        assert_string_equal("o:one\nx:Error grabbing logs: x\n", buf_cstr(&text));
        reply_finish(&r);
        client_close(&client);
        buf_finish(&text);
    }
}

static void test_a_jump_back_delivers_records_again_once(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");

    for (int i = 0; i < 5; i++)
        sim_linef(c, SIM_STDOUT, "%d", i);
    sim_fault_add(f->sim,
                  &(struct sim_fault){.kind = SIM_FAULT_JUMP_BACK, .records = 4, .bytes = 2}, NULL);
    assert_logs(f, "o:0\no:1\no:2\no:3\no:2\no:3\no:4\n", LOGS, "web");
}

static void test_writes_of_one_byte_arrive_as_single_bytes(void **state)
{
    struct fixture *f = *state;
    struct buf whole = {0}, split = {0};
    struct client client;
    char one;
    ssize_t n;

    sim_line(sim_add(f->sim, "web"), SIM_STDOUT, 0, "text");
    whole_response(f, "/containers/web/logs?stdout=1", &whole);
    sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_SPLIT, .bytes = 1, .paced = true},
                  NULL);
    client_open(&client, f->sim);
    client_send(&client, "GET /containers/web/logs?stdout=1 HTTP/1.1\r\nConnection: close\r\n\r\n");
    while ((n = recv(client.fd, &one, 1, MSG_PEEK)) > 0) {
        int there = 0;

        /* The next one is only sent after this was read. */
        assert_int_equal(0, ioctl(client.fd, FIONREAD, &there));
        assert_int_equal(1, there);
        assert_int_equal(1, recv(client.fd, &one, 1, 0));
        assert_int_equal(0, buf_append(&split, &one, 1));
    }
    assert_int_equal(whole.len, split.len);
    assert_memory_equal(whole.data, split.data, whole.len);
    client_close(&client);
    buf_finish(&whole);
    buf_finish(&split);
}

static void test_chunks_can_be_cut_without_regard_to_frames(void **state)
{
    static const size_t sizes[] = {1, 7, 8, 9, 100, 100000, 0};
    struct sim_generator g = {.lines_before = 50, .long_every = 20, .long_bytes = 20000};
    struct fixture *f = *state;
    struct reply plain, r;

    assert_int_equal(
        0, sim_container_add(f->sim, &(struct sim_spec){.name = "web", .generator = &g}, NULL));
    fetch(f->sim, &plain, LOGS, "web");
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t id;

        sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_RECHUNK, .bytes = sizes[i]},
                      &id);
        fetch(f->sim, &r, LOGS, "web");
        sim_fault_clear(f->sim, id);
        assert_true(r.whole);
        assert_int_equal(plain.body.len, r.body.len);
        assert_memory_equal(plain.body.data, r.body.data, r.body.len);
        assert_int_equal(sizes[i] ? (r.body.len + sizes[i] - 1) / sizes[i] : 1, r.chunks_count);
        reply_finish(&r);
    }
    reply_finish(&plain);
}

static void test_nothing_waits_for_a_chunk_to_become_full(void **state)
{
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");
    struct client client;
    struct reply r;

    sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_RECHUNK, .bytes = 1000}, NULL);
    client_open(&client, f->sim);
    client_get(&client, LOGS "&follow=1", "web");
    client_read_head(&client, &r);
    sim_line(c, SIM_STDOUT, 0, "x");
    assert_true(client_read_chunk(&client, &r));
    assert_int_equal(10, r.chunks[0]);
    reply_finish(&r);
    client_close(&client);
    /* Events likewise. */
    client_open(&client, f->sim);
    client_get(&client, "/events");
    client_read_head(&client, &r);
    assert_int_equal(0, sim_wait_event_streams(f->sim, 1, WAIT_MS));
    sim_emit_container_event(c, "x");
    assert_true(client_read_chunk(&client, &r));
    reply_finish(&r);
    client_close(&client);
}

static void test_the_api_version_can_be_left_out(void **state)
{
    struct fixture *f = *state;
    struct reply r;

    sim_fault_add(f->sim, &(struct sim_fault){.kind = SIM_FAULT_NO_API_VERSION}, NULL);
    fetch(f->sim, &r, "/_ping");
    assert_int_equal(200, r.status);
    assert_null(strstr(buf_cstr(&r.head), "Api-Version"));
    reply_finish(&r);
}

/* ---- The Engine itself ---- */

static void test_each_way_of_stopping_leaves_its_own_traces(void **state)
{
    static const struct {
        enum sim_stop how;
        bool whole;
        int connect_error;
    } cases[] = {{SIM_STOP_KILL, false, ECONNREFUSED},
                 {SIM_STOP_LIVE_RESTORE, false, ENOENT},
                 {SIM_STOP_WITH_CONTAINERS, true, ENOENT}};
    struct fixture *f = *state;
    struct sim_container *c = sim_add(f->sim, "web");

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct client logs, events, idle;
        struct reply rl, re;
        char byte;

        client_open(&logs, f->sim);
        client_open(&events, f->sim);
        client_open(&idle, f->sim);
        client_get(&logs, LOGS "&follow=1&tail=0", "web");
        client_read_head(&logs, &rl);
        client_get(&events, "/events");
        client_read_head(&events, &re);
        assert_int_equal(0, sim_wait_event_streams(f->sim, 1, WAIT_MS));
        assert_int_equal(-EALREADY, sim_engine_start(f->sim, true));
        assert_int_equal(0, sim_engine_stop(f->sim, cases[i].how));
        assert_int_equal(-EALREADY, sim_engine_stop(f->sim, cases[i].how));
        assert_int_equal(cases[i].connect_error, client_try_connect(f->sim));
        client_read_body(&logs, &rl);
        assert_int_equal(cases[i].whole, rl.whole);
        assert_int_equal(0, recv(logs.fd, &byte, 1, 0));
        client_read_body(&events, &re);
        assert_false(re.whole);
        assert_true(events.eof);
        assert_int_equal(cases[i].whole ? 3 : 0, re.chunks_count); /* kill, stop, die */
        assert_int_equal(0, recv(idle.fd, &byte, 1, 0));
        reply_finish(&rl);
        reply_finish(&re);
        client_close(&logs);
        client_close(&events);
        client_close(&idle);
        sim_line(c, SIM_STDOUT, 0, "written meanwhile");
        assert_int_equal(0, sim_engine_start(f->sim, false));
        assert_logs(f, "o:written meanwhile\n", LOGS "&tail=1", "web");
    }
    assert_int_equal(SIM_EXITED, sim_container_state(c));
}

static void test_a_replaced_socket_leaves_open_connections_alone(void **state)
{
    struct fixture *f = *state;
    struct client client;
    struct stat before, after;
    struct reply r;

    client_open(&client, f->sim);
    client_get(&client, "/_ping");
    client_read_head(&client, &r);
    client_read_body(&client, &r);
    reply_finish(&r);
    assert_int_equal(0, stat(f->path, &before));
    assert_int_equal(0, sim_socket_replace(f->sim));
    assert_int_equal(0, stat(f->path, &after));
    assert_int_not_equal(0, memcmp(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim));
    client_get(&client, "/_ping");
    client_read_head(&client, &r);
    assert_int_equal(200, r.status);
    reply_finish(&r);
    client_close(&client);
    assert_error(f, 200, "OK", "/_ping");
}

static void test_a_full_backlog_refuses_and_recovers(void **state)
{
    struct fixture *f = *state;
    struct sim_stats before, after;

    sim_get_stats(f->sim, &before);
    assert_int_equal(0, sim_listen_full(f->sim, true));
    assert_int_equal(EAGAIN, client_try_connect(f->sim));
    assert_int_equal(0, sim_listen_full(f->sim, false));
    assert_error(f, 200, "OK", "/_ping");
    sim_get_stats(f->sim, &after);
    assert_int_equal(before.connections_accepted + 1, after.connections_accepted);
}

static void test_a_path_that_cannot_be_listened_on_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct sim *sim = NULL;
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/missing/docker.sock", f->dir);
    assert_int_equal(-ENOENT, sim_create(&(struct sim_options){.socket_path = path}, &sim));
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(-ENAMETOOLONG, sim_create(&(struct sim_options){.socket_path = path}, &sim));
    snprintf(path, sizeof path, "%s/file", f->dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(-EEXIST, sim_create(&(struct sim_options){.socket_path = path}, &sim));
    assert_int_equal(0, unlink(path));
    assert_null(sim);
}

static bool never(void *ctx)
{
    (*(int *)ctx)++;
    return false;
}

static void test_waits_end_when_the_time_is_up(void **state)
{
    struct fixture *f = *state;
    int calls = 0;

    assert_int_equal(-ETIMEDOUT, sim_wait(f->sim, never, &calls, 5));
    assert_true(calls > 0);
    assert_int_equal(-ETIMEDOUT, sim_wait_follows(f->sim, NULL, 1, 0));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_heads_are_those_of_the_recordings),
        T(test_each_engine_words_its_errors_in_its_own_way),
        T(test_the_range_of_api_versions_can_be_chosen),
        T(test_a_connection_serves_request_after_request),
        T(test_a_request_may_come_in_pieces),
        T(test_connection_close_is_honoured_and_http_1_0_has_no_chunks),
        T(test_a_client_that_half_closes_gets_headers_and_then_the_end),
        T(test_lists_hold_running_containers_unless_asked_for_all),
        T(test_filters_choose_what_a_list_holds),
        T(test_inspect_tells_what_a_client_needs),
        T(test_one_record_is_one_frame_in_one_chunk),
        T(test_long_lines_become_parts_with_one_timestamp),
        T(test_the_local_driver_of_20_10_leaves_out_the_newline_of_a_line_in_parts),
        T(test_tail_counts_records_before_since_looks_at_them),
        T(test_20_10_looks_at_every_record_for_since),
        T(test_a_follow_gets_what_is_logged_until_the_container_exits),
        T(test_an_unterminated_end_is_held_back_by_20_10_alone),
        T(test_a_held_back_record_comes_with_the_next_one),
        T(test_a_tty_is_raw_and_all_stdout),
        T(test_timestamps_can_be_written_in_other_ways),
        T(test_rotation_drops_the_oldest_and_jumps_deliver_again),
        T(test_bulk_writes_the_same_bytes_with_fewer_calls),
        T(test_generated_lines_are_what_the_formula_says),
        T(test_prepared_frames_are_the_ones_that_are_composed),
        T(test_a_log_of_two_million_lines_is_reached_anywhere_at_once),
        T(test_a_rate_follows_the_clock_and_stands_still_while_paused),
        T(test_a_firehose_writes_what_is_read_and_numbers_on_after_a_restart),
        T(test_hundreds_follow_at_the_same_time),
        T(test_events_come_in_the_order_of_each_engine),
        T(test_an_event_is_one_chunk_and_has_the_engines_members),
        T(test_history_and_filters_of_events),
        T(test_history_is_gone_after_a_restart_and_until_ends_a_live_stream),
        T(test_events_can_be_lost_doubled_late_and_out_of_order),
        T(test_a_subscriber_that_does_not_read_loses_events),
        T(test_a_recreated_container_has_the_name_and_another_id),
        T(test_removal_ends_a_follow_and_then_there_is_no_such_container),
        T(test_a_reply_fault_hits_as_often_and_where_it_should),
        T(test_a_delayed_head_takes_the_position_when_it_is_sent),
        T(test_no_answer_is_silence_for_that_request_alone),
        T(test_a_cut_comes_after_exactly_the_bytes_it_counts),
        T(test_a_cut_with_reset_is_one),
        T(test_a_stalled_follow_is_silent_while_the_container_writes_on),
        T(test_an_engine_error_is_a_frame_and_then_the_end_that_was_chosen),
        T(test_a_jump_back_delivers_records_again_once),
        T(test_writes_of_one_byte_arrive_as_single_bytes),
        T(test_chunks_can_be_cut_without_regard_to_frames),
        T(test_nothing_waits_for_a_chunk_to_become_full),
        T(test_the_api_version_can_be_left_out),
        T(test_each_way_of_stopping_leaves_its_own_traces),
        T(test_a_replaced_socket_leaves_open_connections_alone),
        T(test_a_full_backlog_refuses_and_recovers),
        T(test_a_path_that_cannot_be_listened_on_is_an_error),
        T(test_waits_end_when_the_time_is_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
