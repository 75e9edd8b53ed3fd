/* The table, the registry, and the text that dashboards and scripts read. */
#include "ringtail/base/metric.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define ID "0123456789ab"
#define ROTATIONS METRIC_PREFIX "container_stream_rotations_total"

enum { SERIES_MAX = 64, LINGER_MS = 1000 };

enum { ROW_AGE, ROW_REFUSED, ROW_LOST, ROW_MONITORED, ROW_BYTES, ROW_COUNT };

#define VALUE(number)                                                                              \
    {                                                                                              \
        .value = (number)                                                                          \
    }
#define ALWAYS(its_text)                                                                           \
    {                                                                                              \
        .text = (its_text)                                                                         \
    }

static const struct metric_row rows[ROW_COUNT] = {
    [ROW_AGE] = {METRIC_STREAM_AGE, {VALUE(0)}},
    [ROW_REFUSED] = {METRIC_STREAM_ERRORS, {ALWAYS("refused"), VALUE(0)}},
    [ROW_LOST] = {METRIC_STREAM_ERRORS, {ALWAYS("lost"), VALUE(0)}},
    [ROW_MONITORED] = {METRIC_CONTAINER_MONITORED, {VALUE(0), VALUE(1), VALUE(2)}},
    [ROW_BYTES] = {METRIC_CONTAINER_BYTES, {VALUE(0), VALUE(1)}},
};

struct fixture {
    struct metrics *metrics;
    struct buf text;
};

static int setup(void **state)
{
    struct metrics_options options = {
        .series_max = SERIES_MAX,
        .linger_ms = LINGER_MS,
        .rows = rows,
        .rows_count = ROW_COUNT,
    };
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->metrics = metrics_create(&options);
    assert_non_null(f->metrics);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    metrics_destroy(f->metrics);
    buf_finish(&f->text);
    free(f);
    return 0;
}

/** What /metrics would show at this time; good until the next call. */
static const char *text_at(struct fixture *f, int64_t now_ms)
{
    struct metrics_snapshot *s = metrics_snapshot(f->metrics, now_ms * NSEC_PER_MSEC);

    assert_non_null(s);
    buf_reset(&f->text);
    assert_int_equal(0, metrics_render(s, &f->text));
    metrics_snapshot_destroy(s);
    return buf_cstr(&f->text);
}

static void assert_has_line(const char *text, const char *line)
{
    size_t len = strlen(line);

    for (const char *at = text; (at = strstr(at, line)); at += len) {
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return;
    }
    fail_msg("no line \"%s\"", line);
}

static struct metric_series *rotations_of(struct fixture *f, struct metric_owner *owner,
                                          const char *id)
{
    return metrics_series(f->metrics, owner, METRIC_STREAM_ROTATIONS, id, "web");
}

static struct metric_series *rotations(struct fixture *f, const char *id)
{
    return rotations_of(f, NULL, id);
}

static struct metric_owner *owner(struct fixture *f, const char *id, const char *name)
{
    return metrics_owner_get(f->metrics, (const char *const[]){id, name, "nginx:1"});
}

static double plain_value(struct fixture *f, enum metric_id id)
{
    return metrics_plain(f->metrics, id)->value;
}

/* ---- the table ---- */

static void test_every_metric_is_described_and_named_by_the_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric *m = &metric_table[i];
        size_t len;

        assert_non_null(m->name);
        len = strlen(m->name);
        assert_true(strncmp(m->name, METRIC_PREFIX, strlen(METRIC_PREFIX)) == 0 ||
                    strncmp(m->name, METRIC_STANDARD_PREFIX, strlen(METRIC_STANDARD_PREFIX)) == 0);
        assert_int_equal(len, strspn(m->name, "abcdefghijklmnopqrstuvwxyz_"));
        assert_int_equal(m->kind == METRIC_COUNTER, strcmp(m->name + len - 6, "_total") == 0);
        assert_non_null(m->group);
        assert_non_null(m->help);
        assert_int_equal('.', m->help[strlen(m->help) - 1]);
        assert_null(strpbrk(m->help, "\n\\|"));
        for (size_t k = 0; k < METRIC_LABELS_MAX; k++) {
            if (m->labels[k])
                assert_string_not_equal("le", m->labels[k]);
        }
        assert_int_equal(m->kind == METRIC_HISTOGRAM, m->bounds_count > 0);
        for (size_t k = 1; k < m->bounds_count; k++)
            assert_true(m->bounds[k - 1] < m->bounds[k]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(metric_table[k].name, m->name);
    }
}

static void test_what_users_depend_on_is_in_the_table(void **state)
{
    /* Name, kind and labels in this order, as dashboards, alerts and scripts know them. */
    static const struct {
        const char *name;
        enum metric_kind kind;
        const char *labels[METRIC_LABELS_MAX];
    } owed[] = {
        {"container_streams_active", METRIC_GAUGE, {0}},
        {"container_stream_rotations_total", METRIC_COUNTER, {"container_id", "container_name"}},
        {"container_last_rotation_timestamp", METRIC_GAUGE, {"container_id", "container_name"}},
        {"container_stream_age_seconds", METRIC_HISTOGRAM, {"container_id"}},
        {"container_stream_errors_total", METRIC_COUNTER, {"error_type", "container_id"}},
        {"containers_monitored", METRIC_GAUGE, {"container_id", "container_name", "image"}},
        {"total_containers_monitored", METRIC_GAUGE, {0}},
        {"goroutines", METRIC_GAUGE, {0}},
        {"file_descriptors_open", METRIC_GAUGE, {0}},
        {"task_heartbeats_total", METRIC_COUNTER, {"task_id", "task_type"}},
        {"active_tasks", METRIC_GAUGE, {"task_type", "state"}},
        {"logs_processed_total", METRIC_COUNTER, {"source_type", "source_id", "pipeline"}},
        {"logs_sent_total", METRIC_COUNTER, {"sink_type", "status"}},
        {"errors_total", METRIC_COUNTER, {"component", "error_type"}},
        {"dispatcher_queue_utilization", METRIC_GAUGE, {0}},
        {"queue_size", METRIC_GAUGE, {"component", "queue_type"}},
        {"sink_queue_utilization", METRIC_GAUGE, {"sink_type"}},
        {"sink_send_duration_seconds", METRIC_HISTOGRAM, {"sink_type"}},
    };
    static const double ages[] = {60, 120, 180, 240, 300, 360, 420, 480, 540, 600};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(owed); i++) {
        const struct metric *m = metric_table;

        while (m < metric_table + METRIC_COUNT &&
               strcmp(m->name + strlen(METRIC_PREFIX), owed[i].name) != 0)
            m++;
        assert_true(m < metric_table + METRIC_COUNT);
        assert_int_equal(owed[i].kind, m->kind);
        for (size_t k = 0; k < METRIC_LABELS_MAX; k++) {
            assert_int_equal(!owed[i].labels[k], !m->labels[k]);
            if (m->labels[k])
                assert_string_equal(owed[i].labels[k], m->labels[k]);
        }
    }
    assert_int_equal(ARRAY_SIZE(ages), metric_table[METRIC_STREAM_AGE].bounds_count);
    assert_memory_equal(ages, metric_table[METRIC_STREAM_AGE].bounds, sizeof ages);
}

/* ---- the text ---- */

static void test_one_page_is_as_it_was_written_down(void **state)
{
    static const char expected_beginning[] =
        "# HELP log_capturer_container_streams_active Log streams that are open.\n"
        "# TYPE log_capturer_container_streams_active gauge\n"
        "log_capturer_container_streams_active 2\n"
        "# HELP log_capturer_container_stream_rotations_total Rotations of the container's log "
        "stream: a new one took over from the old one.\n"
        "# TYPE log_capturer_container_stream_rotations_total counter\n"
        "log_capturer_container_stream_rotations_total{container_id=\"0123456789ab\","
        "container_name=\"web\"} 3\n"
        "log_capturer_container_stream_rotations_total{container_id=\"ba9876543210\","
        "container_name=\"web\"} 0\n"
        "# HELP log_capturer_container_stream_age_seconds Age that log streams had reached when "
        "they were rotated.\n"
        "# TYPE log_capturer_container_stream_age_seconds histogram\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"60\"} "
        "1\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"120\"}"
        " 1\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"180\"}"
        " 1\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"240\"}"
        " 1\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"300\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"360\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"420\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"480\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"540\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\",le=\"600\"}"
        " 2\n"
        "log_capturer_container_stream_age_seconds_bucket{container_id=\"0123456789ab\","
        "le=\"+Inf\"} 3\n"
        "log_capturer_container_stream_age_seconds_sum{container_id=\"0123456789ab\"} 1261.25\n"
        "log_capturer_container_stream_age_seconds_count{container_id=\"0123456789ab\"} 3\n"
        "# HELP log_capturer_stream_refusals_total ";
    struct fixture *f = *state;
    struct metric_series *age = metrics_series(f->metrics, NULL, METRIC_STREAM_AGE, ID);

    metric_set(metrics_plain(f->metrics, METRIC_STREAMS_ACTIVE), 2);
    metric_add(rotations(f, ID), 3);
    (void)rotations(f, "ba9876543210");
    metric_observe(age, 60); /* a bound belongs to its bucket */
    metric_observe(age, 299.25);
    metric_observe(age, 902);
    text_at(f, 0);
    f->text.data[MIN(f->text.len, sizeof expected_beginning - 1)] = '\0';
    assert_string_equal(expected_beginning, f->text.data);
}

static void test_a_family_is_one_block_whatever_the_order_of_making(void **state)
{
    struct fixture *f = *state;
    const char *at;
    int heads = 0;

    for (int i = 0; i < 5; i++) {
        char id[] = {(char)('a' + i), '\0'};

        (void)rotations(f, id);
        (void)metrics_series(f->metrics, NULL, METRIC_CONTAINER_LINES, id, "web");
    }
    at = strstr(text_at(f, 0), "# TYPE " ROTATIONS " counter\n");
    assert_non_null(at);
    at = strchr(at, '\n') + 1;
    for (int i = 0; i < 5; i++) {
        assert_memory_equal(ROTATIONS "{", at, strlen(ROTATIONS "{"));
        at = strchr(at, '\n') + 1;
    }
    for (at = f->text.data; (at = strstr(at, "# TYPE " ROTATIONS " ")); at++)
        heads++;
    assert_int_equal(1, heads);
}

static void test_numbers_are_written_as_scripts_and_prometheus_read_them(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {3, "3"},
        {-7, "-7"},
        {1e6, "1000000"},
        {1700000000, "1700000000"},
        {9007199254740991, "9007199254740991"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.5, "1.5"},
        {0.00001, "1e-05"},
        {1700000000.123, "1700000000.123"},
        {1e300, "1e+300"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {NAN, "NaN"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char line[128];

        metric_set(metrics_plain(f->metrics, METRIC_RESIDENT_BYTES), cases[i].value);
        (void)snprintf(line, sizeof line, METRIC_PREFIX "resident_memory_bytes %s", cases[i].text);
        assert_has_line(text_at(f, 0), line);
    }
}

static void test_label_values_are_escaped_and_utf8(void **state)
{
    struct fixture *f = *state;

    (void)rotations(f, "a\"b\\c\nd\te");
    (void)rotations(f, "größe");
    (void)rotations(f, "x\xff\xc3y");
    (void)rotations(f, "");
    text_at(f, 0);
    assert_has_line(f->text.data,
                    ROTATIONS "{container_id=\"a\\\"b\\\\c\\nd\te\",container_name=\"web\"} 0");
    assert_has_line(f->text.data, ROTATIONS "{container_id=\"größe\",container_name=\"web\"} 0");
    assert_has_line(f->text.data, ROTATIONS
                    "{container_id=\"x\xef\xbf\xbd\xef\xbf\xbdy\",container_name=\"web\"} 0");
    assert_has_line(f->text.data, ROTATIONS "{container_id=\"\",container_name=\"web\"} 0");
}

static void test_values_that_look_alike_when_joined_are_different_series(void **state)
{
    struct fixture *f = *state;
    struct metric_series *a =
        metrics_series(f->metrics, NULL, METRIC_ERRORS, "x\",error_type=\"y", "z");
    struct metric_series *b =
        metrics_series(f->metrics, NULL, METRIC_ERRORS, "x", "y\",error_type=\"z");

    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, metrics_series(f->metrics, NULL, METRIC_ERRORS, "x\",error_type=\"y", "z"));
    assert_ptr_not_equal(metrics_series(f->metrics, NULL, METRIC_CONTAINER_LINES, "a", "b"),
                         metrics_series(f->metrics, NULL, METRIC_CONTAINER_BYTES, "a", "b"));
}

static void test_the_activities_line_stands_alone(void **state)
{
    struct fixture *f = *state;
    const char *text, *at;

    metric_set(metrics_plain(f->metrics, METRIC_GOROUTINES), 118);
    text = text_at(f, 0);
    assert_has_line(text, METRIC_PREFIX "goroutines 118");
    at = strstr(text, "goroutines");
    assert_null(strstr(at + 1, "goroutines"));
}

static void test_metrics_without_labels_are_there_from_the_start(void **state)
{
    struct fixture *f = *state;

    text_at(f, 0);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        char line[128];

        if (metric_table[i].labels[0] || metric_table[i].kind == METRIC_HISTOGRAM)
            continue;
        (void)snprintf(line, sizeof line, "%s 0", metric_table[i].name);
        assert_has_line(f->text.data, line);
    }
}

/** What `command`, with the page as its standard input, writes, and its exit code. */
static int filter(struct fixture *f, const char *command, char *out, size_t out_size)
{
    char path[] = "/tmp/ringtail-metrics-XXXXXX", line[512];
    int fd = mkstemp(path), status;
    FILE *pipe;
    size_t n;

    assert_true(fd >= 0);
    assert_int_equal(f->text.len, write(fd, f->text.data, f->text.len));
    assert_int_equal(0, close(fd));
    (void)snprintf(line, sizeof line, "( %s ) <%s 2>&1", command, path);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    n = fread(out, 1, out_size - 1, pipe);
    out[n] = '\0';
    status = pclose(pipe);
    assert_int_equal(0, unlink(path));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_the_greps_of_existing_scripts_find_whole_numbers(void **state)
{
    struct fixture *f = *state;
    char out[64];

    metric_add(rotations(f, "ba9876543210"), 1);
    metric_add(rotations(f, ID), 12);
    metric_set(metrics_plain(f->metrics, METRIC_GOROUTINES), 118);
    text_at(f, 0);
    assert_int_equal(0, filter(f, "grep '" ROTATIONS "{container_id=\"" ID "\"' | awk '{print $2}'",
                               out, sizeof out));
    assert_string_equal("12\n", out);
    assert_int_equal(0,
                     filter(f,
                            "n=$(grep '" ROTATIONS "{container_id=\"" ID "\"' | awk '{print $2}'); "
                            "if [ \"$n\" -lt 13 ]; then echo less; fi",
                            out, sizeof out));
    assert_string_equal("less\n", out);
    assert_int_equal(0,
                     filter(f, "grep 'log_capturer_goroutines ' | cut -d' ' -f2", out, sizeof out));
    assert_string_equal("118\n", out);
}

static void test_promtool_has_nothing_to_say_but_that_goroutines_has_no_help(void **state)
{
    struct fixture *f = *state;
    char out[4096];
    int code;

    if (system("command -v " PROMTOOL " >/dev/null") != 0) {
        print_message("there is no promtool (package prometheus)\n");
        skip();
    }
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        const char *values[METRIC_LABELS_MAX + 1] = {0};

        for (size_t i = 0; i < METRIC_LABELS_MAX && metric_table[id].labels[i]; i++)
            values[i] = "a\"b\\c\nd é";
        (void)metrics_series_get(f->metrics, NULL, id, values);
    }
    metric_observe(metrics_series(f->metrics, NULL, METRIC_STREAM_AGE, ID), 299.5);
    metric_set(metrics_plain(f->metrics, METRIC_POSITIONS_AGE), NAN);
    metric_set(metrics_plain(f->metrics, METRIC_DISPATCHER_UTILIZATION), 0.1);
    text_at(f, 0);
    code = filter(f, PROMTOOL " check metrics", out, sizeof out);
    assert_string_equal("log_capturer_goroutines no help text\n", out);
    assert_int_equal(3, code); /* "there is advice": 1 would be text that it can't read */
}

/* ---- the life of series ---- */

static void test_the_same_values_are_the_same_series(void **state)
{
    struct fixture *f = *state;
    struct metric_series *s = rotations(f, ID);

    metric_add(s, 2);
    assert_ptr_equal(s, rotations(f, ID));
    assert_has_line(text_at(f, 0), ROTATIONS "{container_id=\"" ID "\",container_name=\"web\"} 2");
}

static void test_too_many_series_are_refused_and_counted(void **state)
{
    struct fixture *f = *state;
    struct metric_series *refused;

    for (int i = 0; i < SERIES_MAX; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "%d", i);
        (void)rotations(f, id);
    }
    assert_true(plain_value(f, METRIC_SERIES_REFUSED) == 0);
    refused = rotations(f, ID);
    metric_add(refused, 1);
    metric_observe(metrics_series(f->metrics, NULL, METRIC_STREAM_AGE, ID), 1);
    assert_true(plain_value(f, METRIC_SERIES_REFUSED) == 2);
    assert_null(strstr(text_at(f, 0), ID));
    assert_ptr_not_equal(refused, rotations(f, "7"));
    assert_ptr_equal(rotations(f, "7"), rotations(f, "7"));
    assert_true(plain_value(f, METRIC_SERIES_REFUSED) == 2);
    assert_true(plain_value(f, METRIC_SERIES) == (double)SERIES_MAX);
}

/* ---- owners ---- */

static void test_an_owner_has_a_line_for_each_row(void **state)
{
    struct fixture *f = *state;
    struct metric_owner *a = owner(f, "aaaaaaaaaaaa", "we\"b");
    struct metric_owner *b = owner(f, "bbbbbbbbbbbb", "db");

    a->values[ROW_MONITORED] = 1;
    a->values[ROW_BYTES] = 12;
    b->values[ROW_LOST]++;
    metric_owner_observe(b, ROW_AGE, 60);
    metric_owner_observe(b, ROW_AGE, 1000.5);
    (void)metrics_series(f->metrics, a, METRIC_STREAM_ERRORS, "other", "aaaaaaaaaaaa");
    text_at(f, 0);
    assert_has_line(f->text.data,
                    METRIC_PREFIX "containers_monitored{container_id=\"aaaaaaaaaaaa\","
                                  "container_name=\"we\\\"b\",image=\"nginx:1\"} 1");
    assert_has_line(f->text.data,
                    METRIC_PREFIX "container_bytes_total{container_id=\"aaaaaaaaaaaa\","
                                  "container_name=\"we\\\"b\"} 12");
    assert_has_line(f->text.data,
                    METRIC_PREFIX "container_bytes_total{container_id=\"bbbbbbbbbbbb\","
                                  "container_name=\"db\"} 0");
    assert_has_line(f->text.data, METRIC_PREFIX "container_stream_age_seconds_bucket{container_id="
                                                "\"bbbbbbbbbbbb\",le=\"60\"} 1");
    assert_has_line(f->text.data, METRIC_PREFIX
                    "container_stream_age_seconds_sum{container_id=\"bbbbbbbbbbbb\"} 1060.5");
    assert_has_line(f->text.data, METRIC_PREFIX
                    "container_stream_age_seconds_count{container_id=\"aaaaaaaaaaaa\"} 0");
    /* Series beside the rows and all rows of a metric are one block. */
    assert_non_null(strstr(f->text.data, "# TYPE " METRIC_PREFIX
                                         "container_stream_errors_total counter\n" METRIC_PREFIX
                                         "container_stream_errors_total{error_type=\"other\","
                                         "container_id=\"aaaaaaaaaaaa\"} 0\n" METRIC_PREFIX
                                         "container_stream_errors_total{error_type=\"refused\","
                                         "container_id=\"aaaaaaaaaaaa\"} 0\n" METRIC_PREFIX
                                         "container_stream_errors_total{error_type=\"refused\","
                                         "container_id=\"bbbbbbbbbbbb\"} 0\n" METRIC_PREFIX
                                         "container_stream_errors_total{error_type=\"lost\","
                                         "container_id=\"aaaaaaaaaaaa\"} 0\n" METRIC_PREFIX
                                         "container_stream_errors_total{error_type=\"lost\","
                                         "container_id=\"bbbbbbbbbbbb\"} 1\n"));
    assert_true(plain_value(f, METRIC_SERIES) == 2 * ROW_COUNT + 1);
}

static void test_a_dropped_owner_leaves_with_all_that_it_has_after_the_linger_time(void **state)
{
    struct fixture *f = *state;
    struct metric_owner *a = owner(f, "aaaaaaaaaaaa", "web");

    (void)rotations_of(f, a, "aaaaaaaaaaaa");
    (void)owner(f, "bbbbbbbbbbbb", "db");
    metrics_owner_drop(a, 0);
    metrics_owner_drop(NULL, 0);
    assert_non_null(strstr(text_at(f, LINGER_MS - 1), "aaaaaaaaaaaa"));
    text_at(f, LINGER_MS);
    assert_null(strstr(f->text.data, "aaaaaaaaaaaa"));
    assert_null(strstr(f->text.data, ROTATIONS)); /* the family's head goes with its last series */
    assert_non_null(strstr(f->text.data, "bbbbbbbbbbbb"));
    assert_true(plain_value(f, METRIC_SERIES) == ROW_COUNT);
}

static void test_an_owner_that_comes_back_in_time_keeps_its_numbers(void **state)
{
    struct fixture *f = *state;
    struct metric_owner *a = owner(f, ID, "web");
    struct metric_series *s = rotations_of(f, a, ID);

    a->values[ROW_BYTES] = 5;
    metric_add(s, 4);
    metrics_owner_drop(a, 0);
    assert_ptr_equal(a, owner(f, ID, "renamed"));
    assert_ptr_equal(s, rotations_of(f, a, ID));
    assert_true(s->value == 4);
    text_at(f, 10 * LINGER_MS);
    assert_has_line(f->text.data, METRIC_PREFIX "container_bytes_total{container_id=\"" ID "\","
                                                "container_name=\"renamed\"} 5");
    metrics_owner_drop(a, 0);
    assert_null(strstr(text_at(f, 10 * LINGER_MS), ID));
    assert_true(owner(f, ID, "web")->values[ROW_BYTES] == 0);
    assert_true(rotations(f, ID)->value == 0);
}

static void test_a_relabelled_owner_goes_on_under_its_new_values(void **state)
{
    struct fixture *f = *state;
    struct metric_owner *a = owner(f, ID, "web");
    const char *const values[] = {ID, "new", "nginx:2"};

    a->values[ROW_BYTES] = 5;
    (void)metrics_series(f->metrics, a, METRIC_CONTAINER_LINES, ID, "web");
    assert_int_equal(0, metric_owner_relabel(a, values, 0));
    a->values[ROW_BYTES]++;
    text_at(f, LINGER_MS);
    assert_has_line(f->text.data, METRIC_PREFIX "container_bytes_total{container_id=\"" ID
                                                "\",container_name=\"new\"} 6");
    assert_null(strstr(f->text.data, "\"web\""));
    assert_null(owner(f, ID, "web")); /* there is one with this id */
    metrics_owner_drop(a, 0);
    assert_ptr_equal(a, owner(f, ID, "web"));
}

static void test_an_owner_without_room_for_all_rows_is_refused_and_counted(void **state)
{
    struct fixture *f = *state;
    struct metric_owner *first = owner(f, "first", "web"), *next;

    for (int i = 0; i < SERIES_MAX - 2 * ROW_COUNT + 1; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "%d", i);
        (void)rotations(f, id);
    }
    assert_false(metrics_has_owner_room(f->metrics));
    assert_null(owner(f, ID, "web"));
    assert_true(plain_value(f, METRIC_SERIES_REFUSED) == ROW_COUNT);
    /* What lingers makes room for what lives: for an owner, and for series. */
    metrics_owner_drop(first, 0);
    assert_true(metrics_has_owner_room(f->metrics));
    next = owner(f, ID, "web");
    assert_non_null(next);
    assert_null(strstr(text_at(f, 0), "\"first\""));
    metrics_owner_drop(next, 0);
    for (int i = 0; i < ROW_COUNT; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "more-%d", i);
        (void)rotations(f, id);
    }
    assert_true(plain_value(f, METRIC_SERIES_REFUSED) == ROW_COUNT);
    assert_null(strstr(text_at(f, 0), ID));
    assert_non_null(strstr(f->text.data, "\"more-4\""));
}

/* ---- threads ---- */

enum { ROUNDS = 300 };

struct handover {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct metrics_snapshot *snapshot;
    int rendered;
};

static void *render_all(void *ctx)
{
    struct handover *h = ctx;
    struct buf text = {0};

    for (int i = 0; i < ROUNDS; i++) {
        struct metrics_snapshot *s;

        pthread_mutex_lock(&h->lock);
        while (!h->snapshot)
            pthread_cond_wait(&h->changed, &h->lock);
        s = TAKE_PTR(h->snapshot);
        pthread_cond_signal(&h->changed);
        pthread_mutex_unlock(&h->lock);
        buf_reset(&text);
        h->rendered += metrics_render(s, &text) == 0 && strstr(buf_cstr(&text), ID) != NULL;
        metrics_snapshot_destroy(s);
    }
    buf_finish(&text);
    return NULL;
}

static void test_another_thread_renders_while_series_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct handover h = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;

    assert_int_equal(0, pthread_create(&thread, NULL, render_all, &h));
    for (int i = 0; i < ROUNDS; i++) {
        struct metric_owner *o = owner(f, ID, i % 2 == 0 ? "web" : "db");

        metric_add(rotations_of(f, o, ID), 1);
        metric_owner_observe(o, ROW_AGE, i);
        pthread_mutex_lock(&h.lock);
        while (h.snapshot)
            pthread_cond_wait(&h.changed, &h.lock);
        h.snapshot = metrics_snapshot(f->metrics, i * 2 * LINGER_MS * NSEC_PER_MSEC);
        pthread_cond_signal(&h.changed);
        pthread_mutex_unlock(&h.lock);
        metrics_owner_drop(o, (i % 3 > 0 ? i * 2 : 0) * LINGER_MS * NSEC_PER_MSEC);
    }
    f->metrics = metrics_destroy(f->metrics); /* the last snapshot may outlive it */
    assert_int_equal(0, pthread_join(thread, NULL));
    assert_int_equal(ROUNDS, h.rendered);
}

/* ---- documentation ---- */

static void test_the_documentation_says_what_the_table_says(void **state)
{
    RT_CLEANUP(buf_finish) struct buf made = {0}, written = {0};
    FILE *file = fopen(METRICS_MD, "r");
    char piece[4096];
    size_t n;

    (void)state;
    assert_int_equal(0, metrics_write_markdown(&made));
    assert_non_null(file);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        assert_int_equal(0, buf_append(&written, piece, n));
    (void)fclose(file);
    assert_string_equal(buf_cstr(&made), buf_cstr(&written));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_metric_is_described_and_named_by_the_rules),
        cmocka_unit_test(test_what_users_depend_on_is_in_the_table),
        CASE(test_one_page_is_as_it_was_written_down),
        CASE(test_a_family_is_one_block_whatever_the_order_of_making),
        CASE(test_numbers_are_written_as_scripts_and_prometheus_read_them),
        CASE(test_label_values_are_escaped_and_utf8),
        CASE(test_values_that_look_alike_when_joined_are_different_series),
        CASE(test_the_activities_line_stands_alone),
        CASE(test_metrics_without_labels_are_there_from_the_start),
        CASE(test_the_greps_of_existing_scripts_find_whole_numbers),
        CASE(test_promtool_has_nothing_to_say_but_that_goroutines_has_no_help),
        CASE(test_the_same_values_are_the_same_series),
        CASE(test_too_many_series_are_refused_and_counted),
        CASE(test_an_owner_has_a_line_for_each_row),
        CASE(test_a_dropped_owner_leaves_with_all_that_it_has_after_the_linger_time),
        CASE(test_an_owner_that_comes_back_in_time_keeps_its_numbers),
        CASE(test_a_relabelled_owner_goes_on_under_its_new_values),
        CASE(test_an_owner_without_room_for_all_rows_is_refused_and_counted),
        CASE(test_another_thread_renders_while_series_come_and_go),
        cmocka_unit_test(test_the_documentation_says_what_the_table_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
