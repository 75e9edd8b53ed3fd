/* What a running ringtail shows of itself: /metrics, /health, /ready, /debug/streams. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "support/metrics_page.h"

#include "admin_peer.h"

#define PREFIX "log_capturer_"

struct look {
    uint16_t port;
    const char *path, *needle;
    int status;
    struct buf page;
};

static bool is_there(struct world *w, void *ctx)
{
    struct look *look = ctx;

    (void)w;
    return admin_peer_fetch(look->port, look->path, &look->page) == look->status &&
           strstr(look->page.data, look->needle);
}

static void wait_page(struct world *w, uint16_t port, const char *path, int status,
                      const char *needle)
{
    struct look look = {.port = port, .path = path, .status = status, .needle = needle};

    world_wait(w, needle, is_there, &look);
    buf_finish(&look.page);
}

static bool is_not_there(struct world *w, void *ctx)
{
    struct look *look = ctx;

    (void)w;
    return admin_peer_fetch(look->port, look->path, &look->page) == look->status &&
           !strstr(look->page.data, look->needle);
}

static void wait_gone(struct world *w, uint16_t port, const char *needle)
{
    struct look look = {.port = port, .path = "/metrics", .status = 200, .needle = needle};

    world_wait(w, needle, is_not_there, &look);
    buf_finish(&look.page);
}

static const char *series(const char *name, const struct speaker *s)
{
    static char text[160];

    (void)snprintf(text, sizeof text, PREFIX "%s{container_id=\"%s\"", name, speaker_mark(s));
    return text;
}

/* ---- /metrics ---- */

/* Name, kind, and the beginning of each line: what dashboards, alerts and scripts know. */
static const struct owed {
    const char *name, *kind, *labels[3];
} owed[] = {
    {"container_streams_active", "gauge", {0}},
    {"container_stream_rotations_total", "counter", {"container_id", "container_name"}},
    {"container_last_rotation_timestamp", "gauge", {"container_id", "container_name"}},
    {"container_stream_age_seconds", "histogram", {"container_id"}},
    {"container_stream_errors_total", "counter", {"error_type", "container_id"}},
    {"containers_monitored", "gauge", {"container_id", "container_name", "image"}},
    {"total_containers_monitored", "gauge", {0}},
    {"goroutines", NULL, {0}},
    {"file_descriptors_open", "gauge", {0}},
    {"task_heartbeats_total", "counter", {"task_id", "task_type"}},
    {"active_tasks", "gauge", {"task_type", "state"}},
    {"logs_processed_total", "counter", {"source_type", "source_id", "pipeline"}},
    {"logs_sent_total", "counter", {"sink_type", "status"}},
    {"errors_total", "counter", {"component", "error_type"}},
    {"dispatcher_queue_utilization", "gauge", {0}},
    {"queue_size", "gauge", {"component", "queue_type"}},
    {"sink_queue_utilization", "gauge", {"sink_type"}},
    {"sink_send_duration_seconds", "histogram", {"sink_type"}},
};

static void assert_owed(struct world *w, const char *page, const struct owed *o)
{
    bool is_histogram = o->kind && strcmp(o->kind, "histogram") == 0;
    char text[200];
    const char *at;

    (void)snprintf(text, sizeof text, "# TYPE " PREFIX "%s %s\n", o->name, o->kind ? o->kind : "");
    if (!o->kind == !!strstr(page, text))
        world_fail(w, "%s: %s", o->kind ? "there is no" : "there is", text);
    (void)snprintf(text, sizeof text, "\n" PREFIX "%s%s%s", o->name, is_histogram ? "_bucket" : "",
                   o->labels[0] ? "{" : " ");
    at = strstr(page, text);
    if (!at)
        world_fail(w, "there is no line \"%s\"", text + 1);
    at += strlen(text);
    for (size_t i = 0; i < ARRAY_SIZE(o->labels) && o->labels[i]; i++) {
        int len = snprintf(text, sizeof text, "%s%s=\"", i > 0 ? "," : "", o->labels[i]);

        if (strncmp(at, text, (size_t)len) != 0)
            world_fail(w, "%s: not label %s at \"%.40s\"", o->name, o->labels[i], at);
        at += len;
        at += strcspn(at, "\"") + 1; /* no value here has a quote */
    }
}

static void assert_promtool_accepts(struct world *w, const struct buf *page)
{
    char path[160], command[400], said[200] = "";
    FILE *file;

    if (system("command -v " PROMTOOL " >/dev/null") != 0) {
        print_message("there is no promtool (package prometheus)\n");
        return;
    }
    (void)snprintf(path, sizeof path, "%s/page", w->dir);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(page->len, fwrite(page->data, 1, page->len, file));
    assert_int_equal(0, fclose(file));
    (void)snprintf(command, sizeof command, PROMTOOL " check metrics <%s 2>&1", path);
    file = popen(command, "re");
    assert_non_null(file);
    said[fread(said, 1, sizeof said - 1, file)] = '\0';
    (void)pclose(file);
    assert_string_equal(PREFIX "goroutines no help text\n", said);
}

/* Of every process that Prometheus knows. */
static void assert_standard(struct world *w, const char *page)
{
    static const char *const owed_types[] = {
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes ",
        "# TYPE process_open_fds gauge\nprocess_open_fds ",
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds ",
    };

    for (size_t i = 0; i < ARRAY_SIZE(owed_types); i++) {
        const char *at = strstr(page, owed_types[i]);

        if (!at || !(strtod(at + strlen(owed_types[i]), NULL) > 0))
            world_fail(w, "there is no \"%s\", or it is 0", owed_types[i]);
    }
}

static void test_a_live_page_has_all_that_users_know(void **state)
{
    struct world *w = *state;
    struct buf page = {0};
    struct speaker *s;
    uint16_t port;

    world_engine(w, NULL);
    s = world_speaker(w, "web");
    (void)world_speaker_spec(w, &(struct sim_spec){.name = "mute", .log_driver = "none"});
    world_run(w, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=200ms");
    port = admin_peer_port(w);
    say_many(s, "line", 100);
    world_wait_all(w);
    world_wait_log(w, "Stream rotated successfully", speaker_mark(s), 2);
    world_wait_log(w, "Log unreadable", NULL, 1);
    assert_int_equal(200, admin_peer_fetch(port, "/metrics", &page));
    for (size_t i = 0; i < ARRAY_SIZE(owed); i++)
        assert_owed(w, page.data, &owed[i]);
    assert_standard(w, page.data);
    assert_promtool_accepts(w, &page);
    assert_true(metrics_page_sum(&page, series("container_lines_total", s)) == 100);
    assert_true(metrics_page_sum(&page, series("containers_monitored", s)) == 1);
    assert_true(metrics_page_sum(&page, PREFIX "total_containers_monitored") == 1);
    assert_null(strstr(page.data, "deadline"));
    buf_finish(&page);
    world_stop(w);
}

static bool are_balanced(struct world *w, void *ctx)
{
    struct look *look = ctx;
    double read, settled, queued, lost;

    if (!admin_peer_get(look->port, &look->page))
        return false;
    read = metrics_page_sum(&look->page, PREFIX "records_read_total");
    settled = metrics_page_sum(&look->page, PREFIX "records_settled_total");
    queued = metrics_page_sum(&look->page, PREFIX "records_queued");
    lost = metrics_page_sum(&look->page, PREFIX "records_lost_total");
    if (read !=
        settled + queued + lost + metrics_page_sum(&look->page, PREFIX "records_filtered_total"))
        world_fail(w, "%.0f read, but %.0f settled, %.0f queued, %.0f lost", read, settled, queued,
                   lost);
    return read >= 20000;
}

static void test_lines_read_are_settled_queued_or_lost_at_every_scrape(void **state)
{
    const struct sim_generator busy = {.lines_per_s = 20000, .lines = 20000};
    struct world *w = *state;
    struct look look = {0};
    struct speaker *s;

    world_engine(w, &(struct sim_options){.bulk = true});
    s = world_speaker_spec(w, &(struct sim_spec){.name = "busy", .generator = &busy});
    told_generated(s->told, &busy, "busy", 0);
    world_run(w, ADMIN_PEER_ARGS, "--set", "queue.max_bytes=1MiB");
    look.port = admin_peer_port(w);
    world_wait(w, "all lines are read", are_balanced, &look);
    buf_finish(&look.page);
    world_wait_lines(w, s, 20000);
    world_stop(w);
}

static void test_the_series_of_a_container_leave_after_it(void **state)
{
    struct world *w = *state;
    struct speaker *gone, *stays;
    char id[16];
    uint16_t port;

    world_engine(w, NULL);
    gone = world_speaker(w, "goes");
    stays = world_speaker(w, "stays");
    world_run(w, ADMIN_PEER_ARGS, "--set", "metrics.linger=100ms");
    port = admin_peer_port(w);
    say_many(gone, "line", 3);
    say_many(stays, "line", 3);
    world_wait_all(w);
    (void)snprintf(id, sizeof id, "%s", speaker_mark(gone));
    wait_page(w, port, "/metrics", 200, id);
    /* With another name it has other series. */
    assert_int_equal(0, sim_container_rename(gone->container, "renamed"));
    wait_page(w, port, "/metrics", 200, "container_name=\"renamed\"");
    wait_gone(w, port, "container_name=\"goes\"");
    assert_true(admin_peer_sum(w, port, series("container_lines_total", gone)) == 3);
    /* One that has ended is shown as such as long as the Engine has it. */
    assert_int_equal(0, sim_container_exit(gone->container, 0));
    world_wait_follows(w, gone, 0);
    wait_page(w, port, "/metrics", 200, PREFIX "total_containers_monitored 1\n");
    assert_true(admin_peer_sum(w, port, series("containers_monitored", gone)) == 0);
    assert_int_equal(0, sim_container_remove(gone->container));
    wait_gone(w, port, id);
    assert_true(admin_peer_sum(w, port, series("container_lines_total", stays)) == 3);
    world_stop(w);
}

struct beats {
    uint16_t port;
    const char *series;
    double value;
};

static bool have_gone_up(struct world *w, void *ctx)
{
    struct beats *b = ctx;

    return admin_peer_sum(w, b->port, b->series) >= b->value + 3;
}

static bool stand_still(struct world *w, void *ctx)
{
    struct beats *b = ctx;

    b->value = admin_peer_sum(w, b->port, b->series);
    world_wait_more_requests(w, SIM_REQUEST_LIST, 5);
    return admin_peer_sum(w, b->port, b->series) == b->value;
}

static void test_a_heartbeat_goes_on_without_a_stream_and_ends_with_the_run(void **state)
{
    struct world *w = *state;
    struct speaker *s;
    char name[100];
    struct beats b = {.series = name};

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run(w, ADMIN_PEER_ARGS, "--set", "metrics.heartbeat_interval=100ms", "--set",
              "engine.request_timeout=1s", "--set", "stream.rotation_interval=200ms");
    b.port = admin_peer_port(w);
    (void)snprintf(name, sizeof name, PREFIX "task_heartbeats_total{task_id=\"%s\"",
                   speaker_mark(s));
    wait_page(w, b.port, "/metrics", 200, name);
    world_wait(w, "heartbeats while streams rotate", have_gone_up, &b);
    (void)world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER, .on = SIM_REQUEST_LOGS});
    assert_true(sim_follow_cut(w->sim, s->container) >= 1);
    world_wait_follows(w, s, 0);
    b.value = admin_peer_sum(w, b.port, name);
    world_wait(w, "heartbeats while there is no stream", have_gone_up, &b);
    sim_fault_clear(w->sim, 0);
    sim_follow_cut(w->sim, NULL);
    assert_int_equal(0, sim_container_exit(s->container, 0));
    world_wait(w, "no heartbeat of a container that has ended", stand_still, &b);
    world_stop_early(w);
}

/* ---- early warning ---- */

struct late {
    struct speaker *s;
    uint16_t port;
    int64_t ts_ns;
    double wanted;
    bool speaks;
};

static bool is_at_risk(struct world *w, void *ctx)
{
    static const char line[] =
        "a line of one hundred bytes or so, of which there were very many an hour ago in this log";
    struct late *l = ctx;

    for (unsigned i = 0; l->speaks && i < 20; i++)
        say_at(l->s, SIM_STDOUT, l->ts_ns += NSEC_PER_MSEC, line, sizeof line - 1);
    return admin_peer_sum(w, l->port, series("container_at_risk", l->s)) == l->wanted;
}

static void test_what_is_read_far_too_late_is_at_risk(void **state)
{
    static const struct sim_pair options[] = {{"max-size", "10k"}, {"max-file", "2"}};
    struct world *w = *state;
    struct late l = {.wanted = 1, .speaks = true};

    world_engine(w, NULL);
    l.s = world_speaker_spec(w, &(struct sim_spec){.log_options = options, .log_options_count = 2});
    l.ts_ns = clock_wall_ns() - 3600 * NSEC_PER_SEC;
    world_run(w, ADMIN_PEER_ARGS);
    l.port = admin_peer_port(w);
    world_wait_follows(w, l.s, 1);
    world_wait(w, "at risk", is_at_risk, &l);
    world_wait_log(w, "Reading is far behind, the Engine may drop lines before they are read",
                   speaker_mark(l.s), 1);
    l.speaks = false;
    l.wanted = 0;
    world_wait(w, "nothing is at risk", is_at_risk, &l);
    world_wait_all(w);
    world_stop(w);
}

/* ---- /health, /ready ---- */

/* `ringtail health`, beside the ringtail that it asks. */
static void health_says(struct world *w, uint16_t port, int code, const char *what)
{
    struct ringtail_proc health = {0};
    char directory[96], setting[32];
    char *text;
    size_t size;
    FILE *out;

    snprintf(directory, sizeof directory, "%s/health", w->dir);
    snprintf(setting, sizeof setting, "admin.port=%u", (unsigned)port);
    assert_true(mkdir(directory, 0700) == 0 || errno == EEXIST);
    assert_int_equal(0, ringtail_proc_start(
                            &(struct ringtail_how){
                                .args = (const char *const[]){"health", "--set", setting, NULL},
                                .directory = directory,
                            },
                            &health));
    while (!ringtail_proc_poll(&health))
        assert_int_equal(0, usleep(1000));
    assert_int_equal(code, health.code);
    out = fopen(health.stdout_path, "re");
    assert_non_null(out);
    text = NULL;
    size = 0;
    assert_true(getline(&text, &size, out) > 0);
    if (!strstr(text, what))
        world_fail(w, "`%s` is not in: %s", what, text);
    assert_int_equal(-1, getline(&text, &size, out));
    assert_int_equal(0, fclose(out));
    free(text);
    assert_false(ringtail_proc_has_report(&health));
    ringtail_proc_finish(&health);
}

static void test_readiness_names_what_is_missing(void **state)
{
    struct world *w = *state;
    struct speaker *s;
    uint16_t port;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run_how(w, &(struct ringtail_how){.args = (const char *const[]){ADMIN_PEER_ARGS, NULL},
                                            .plain_user = true});
    port = admin_peer_port(w);
    say_many(s, "line", 3);
    world_wait_all(w);
    wait_page(w, port, "/ready", 200,
              "\"engine\":\"connected\",\"sinks\":{\"output\":\"writing\"}");
    health_says(w, port, 0, "ready: {\"ready\":true");
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_KILL));
    wait_page(w, port, "/ready", 503, "\"engine\":\"unreachable\"");
    health_says(w, port, 1, "\"engine\":\"unreachable\"");
    wait_page(w, port, "/health", 200, "OK");
    assert_int_equal(0, sim_engine_start(w->sim, false));
    wait_page(w, port, "/ready", 200, "\"engine\":\"connected\"");
    /* A file that can't be made. */
    assert_int_equal(0, chmod(w->out_dir, 0500));
    say_many(world_speaker(w, NULL), "line", 3);
    wait_page(w, port, "/ready", 503, "Permission denied\"");
    wait_page(w, port, "/health", 200, "OK");
    assert_int_equal(0, chmod(w->out_dir, 0700));
    wait_page(w, port, "/ready", 200, "\"output\":\"writing\"");
    world_wait_all(w);
    world_stop(w);
    health_says(w, port, 1, "no answer");
}

/* ---- the ring's backend ---- */

static void test_without_io_uring_epoll_takes_over_and_says_why(void **state)
{
    static const char why[] = "io_uring refused: a seccomp profile denies io_uring";
    struct world *w = *state;
    struct speaker *s;
    uint16_t port;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run_how(w, &(struct ringtail_how){
                         .args = (const char *const[]){ADMIN_PEER_ARGS, "--backend", "auto", NULL},
                         .io_uring_errno = EPERM});
    port = admin_peer_port(w);
    say_many(s, "line", 20);
    world_wait_all(w);
    world_wait_log(w, "Starting", "\"backend\":\"epoll (io_uring refused: a seccomp profile", 1);
    wait_page(w, port, "/ready", 200, "\"backend\":\"epoll (");
    wait_page(w, port, "/ready", 200, why);
    wait_page(w, port, "/metrics", 200, PREFIX "backend_info{backend=\"epoll\",reason=\"");
    wait_page(w, port, "/metrics", 200, why);
    world_stop(w);
}

static void test_a_backend_that_was_asked_for_is_used(void **state)
{
    struct world *w = *state;
    uint16_t port;

    world_engine(w, NULL);
    world_run(w, ADMIN_PEER_ARGS, "--backend", "epoll");
    port = admin_peer_port(w);
    world_wait_log(w, "Starting", "\"backend\":\"epoll (asked for)\"", 1);
    wait_page(w, port, "/metrics", 200,
              PREFIX "backend_info{backend=\"epoll\",reason=\"asked for\"} 1");
    world_stop(w);
}

/* ---- /debug/streams ---- */

static yyjson_val *find_stream(yyjson_doc *doc, const char *id)
{
    yyjson_val *streams = yyjson_obj_get(yyjson_doc_get_root(doc), "streams"), *v;
    size_t i, n;

    yyjson_arr_foreach(streams, i, n, v)
    {
        if (yyjson_equals_str(yyjson_obj_get(v, "container_id"), id))
            return v;
    }
    return NULL;
}

static void test_each_stream_is_shown_with_what_it_waits_for(void **state)
{
    struct world *w = *state;
    struct buf page = {0};
    struct speaker *s[3];
    yyjson_doc *doc;
    uint16_t port;

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        s[i] = world_speaker(w, NULL);
    world_run(w, ADMIN_PEER_ARGS);
    port = admin_peer_port(w);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        say_many(s[i], "line", 3);
    world_wait_all(w);
    assert_int_equal(0, sim_container_exit(s[2]->container, 0));
    wait_page(w, port, "/debug/streams?format=text", 200, " idle, rotations 0, lines 3");
    assert_int_equal(200, admin_peer_fetch(port, "/debug/streams", &page));
    doc = yyjson_read(page.data, page.len, 0);
    assert_non_null(doc);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        yyjson_val *v = find_stream(doc, speaker_mark(s[i]));
        yyjson_val *stream = yyjson_obj_get(v, "stream");

        assert_non_null(v);
        assert_int_equal(3, yyjson_get_int(yyjson_obj_get(v, "lines")));
        if (i == 2)
            continue; /* at most asked for its log once more */
        assert_string_equal("reading", yyjson_get_str(yyjson_obj_get(v, "state")));
        assert_true(yyjson_get_num(yyjson_obj_get(stream, "age_seconds")) >=
                    yyjson_get_num(yyjson_obj_get(stream, "receive_seconds")));
        assert_true(yyjson_is_str(yyjson_obj_get(stream, "state")));
    }
    yyjson_doc_free(doc);
    buf_finish(&page);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S38 without io_uring epoll takes over and says why",
                   test_without_io_uring_epoll_takes_over_and_says_why),
        WORLD_TEST("a backend that was asked for is used",
                   test_a_backend_that_was_asked_for_is_used),
        WORLD_TEST("a live page has all that users know, and promtool accepts it",
                   test_a_live_page_has_all_that_users_know),
        WORLD_TEST("lines read are settled, queued or lost at every scrape",
                   test_lines_read_are_settled_queued_or_lost_at_every_scrape),
        WORLD_TEST("the series of a container leave after it",
                   test_the_series_of_a_container_leave_after_it),
        WORLD_TEST("a heartbeat goes on without a stream and ends with the run",
                   test_a_heartbeat_goes_on_without_a_stream_and_ends_with_the_run),
        WORLD_TEST("what is read far too late is at risk",
                   test_what_is_read_far_too_late_is_at_risk),
        WORLD_TEST("readiness names what is missing", test_readiness_names_what_is_missing),
        WORLD_TEST("each stream is shown with what it waits for",
                   test_each_stream_is_shown_with_what_it_waits_for),
    };

    return world_main(tests);
}
