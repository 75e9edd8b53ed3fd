/* docker/reply: what three Engines said is understood; what is no such reply is refused, whatever
 * it is. */
#include "ringtail/docker/reply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "recording.h"

#define ID "2e66b9ec3fe171038c0fef75f4befd5b18e34992fd55cc60f366a1e81055328f"
#define ENGINES ARRAY_SIZE(recording_engines)

static void assert_is_id(const char *id)
{
    assert_int_equal(REPLY_ID_LEN, strlen(id));
    assert_int_equal(REPLY_ID_LEN, strspn(id, "0123456789abcdef"));
}

static void test_recorded_versions_are_understood(void **state)
{
    static const struct {
        const char *engine;
        struct api_version api, min_api;
    } expected[ENGINES] = {
        {"20.10.24+dfsg1", {1, 41}, {1, 12}},
        {"26.1.5+dfsg1", {1, 45}, {1, 24}},
        {"28.5.2+dfsg4", {1, 51}, {1, 24}},
    };

    for (size_t e = 0; e < ENGINES; e++) {
        struct recording rec;
        struct reply_version v;

        recording_load(&rec, recording_engines[e], "version");
        assert_int_equal(0, reply_version_parse(buf_slice(&rec.body), &v));
        assert_string_equal(expected[e].engine, v.engine);
        assert_int_equal(0, api_version_compare(expected[e].api, v.api));
        assert_int_equal(0, api_version_compare(expected[e].min_api, v.min_api));
        reply_version_finish(&v);
        recording_finish(&rec);
    }
}

static void test_a_version_may_name_nothing_but_the_newest_api(void **state)
{
    struct reply_version v;

    assert_int_equal(0, reply_version_parse(slice_str("{\"ApiVersion\":\"1.30\"}"), &v));
    assert_string_equal("", v.engine);
    assert_int_equal(30, v.api.minor);
    assert_int_equal(0, v.min_api.major);
    assert_int_equal(0, v.min_api.minor);
    reply_version_finish(&v);
    assert_int_equal(-EBADMSG, reply_version_parse(slice_str("{\"Version\":\"1.30\"}"), &v));
    assert_int_equal(-EBADMSG, reply_version_parse(slice_str("OK"), &v));
}

static void test_recorded_lists_are_understood(void **state)
{
    static const struct {
        const char *name;
        size_t count;
        const char *containers[3][2]; /* name, state */
    } expected[] = {
        {"containers-list-all",
         3,
         {{"fx-l2", "created"}, {"fx-l1", "running"}, {"fx-l0", "running"}}},
        {"containers-list-running", 2, {{"fx-l1", "running"}, {"fx-l0", "running"}}},
        {"containers-list-empty", 0, {{NULL}}},
        {"containers-list-filter-label", 1, {{"fx-l2", "created"}}},
        {"containers-list-filter-name", 1, {{"fx-l0", "running"}}},
    };

    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t n = 0; n < ARRAY_SIZE(expected); n++) {
            struct recording rec;
            struct reply_list l;

            recording_load(&rec, recording_engines[e], expected[n].name);
            assert_int_equal(0, reply_list_parse(buf_slice(&rec.body), &l));
            assert_int_equal(expected[n].count, l.count);
            for (size_t i = 0; i < l.count; i++) {
                assert_is_id(l.items[i].id);
                assert_string_equal(expected[n].containers[i][0], l.items[i].name);
                assert_string_equal(expected[n].containers[i][1], l.items[i].state);
            }
            reply_list_finish(&l);
            recording_finish(&rec);
        }
    }
}

static void test_a_containers_own_name_is_the_one_without_a_second_slash(void **state)
{
    static const struct {
        const char *names, *expected;
    } cases[] = {
        {"[\"/web\"]", "web"},
        {"[\"/other/alias\",\"/web\",\"/third/alias\"]", "web"},
        {"[\"/other/alias\"]", "other/alias"},
        {"[\"web\"]", "web"},
        {"[\"/\"]", ""},
        {"[\"\"]", ""},
        {"[]", ""},
        {"null", ""},
    };
    char text[512];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply_list l;

        (void)snprintf(text, sizeof text, "[{\"Id\":\"" ID "\",\"Names\":%s}]", cases[i].names);
        assert_int_equal(0, reply_list_parse(slice_str(text), &l));
        assert_int_equal(1, l.count);
        assert_string_equal(cases[i].expected, l.items[0].name);
        assert_string_equal("", l.items[0].state);
        reply_list_finish(&l);
    }
}

static void test_when_a_run_ended_is_told_from_the_words_for_people(void **state)
{
    static const struct {
        const char *status;
        int64_t ago_s;
    } cases[] = {
        {"Exited (0) Less than a second ago", 0},
        {"Exited (137) 1 second ago", 1},
        {"Exited (0) 59 seconds ago", 59},
        {"Exited (0) About a minute ago", 60},
        {"Exited (255) 59 minutes ago", 59 * 60},
        /* From here on it may be half an hour less than the words say. */
        {"Exited (0) About an hour ago", 1800},
        {"Exited (0) 47 hours ago", 47 * 3600 - 1800},
        {"Exited (0) 2 days ago", 2 * 86400 - 1800},
        {"Exited (0) 8 weeks ago", 8 * 7 * 86400 - 1800},
        {"Exited (0) 23 months ago", INT64_C(23) * 30 * 86400 - 1800},
        {"Exited (-1) 3 years ago", INT64_C(3) * 365 * 86400 - 1800},
        {"Exited (0) 0 hours ago", 0},
        {"Exited (0) ", -1},
        {"Exited (0) some time ago", -1},
        {"Exited (0) 3 fortnights ago", -1},
        {"Up 5 minutes", -1},
        {"Restarting (1) 5 seconds ago", -1},
        {"Created", -1},
        {"", -1},
    };
    char text[512];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reply_list l;

        (void)snprintf(text, sizeof text,
                       "[{\"Id\":\"" ID "\",\"Created\":1795189160,\"Status\":\"%s\"}]",
                       cases[i].status);
        assert_int_equal(0, reply_list_parse(slice_str(text), &l));
        assert_int_equal(cases[i].ago_s, l.items[0].ended_ago_s);
        assert_true(l.items[0].created_at_ns == INT64_C(1795189160) * 1000000000);
        reply_list_finish(&l);
    }
}

static void test_recorded_inspects_are_understood(void **state)
{
    /* Nanoseconds since 1970 of State.StartedAt and FinishedAt, by date(1). */
    static const struct {
        const char *reply, *name, *status;
        bool tty, running;
        int64_t started_at_ns[ENGINES], finished_at_ns[ENGINES];
    } expected[] = {
        {"inspect-nontty-running",
         "fx-mixed",
         "running",
         false,
         true,
         {1795189147340801717, 1795189169985414322, 1795189191757124914},
         {0, 0, 0}},
        {"inspect-nontty-exited",
         "fx-mixed",
         "exited",
         false,
         false,
         {1795189147340801717, 1795189169985414322, 1795189191757124914},
         {1795189147900762147, 1795189170504284729, 1795189192408202791}},
        {"inspect-tty-running",
         "fx-tty",
         "running",
         true,
         true,
         {1795189150255697827, 1795189172897987306, 1795189194540391783},
         {0, 0, 0}},
    };

    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t n = 0; n < ARRAY_SIZE(expected); n++) {
            struct recording rec;
            struct reply_inspect c;

            recording_load(&rec, recording_engines[e], expected[n].reply);
            assert_int_equal(0, reply_inspect_parse(buf_slice(&rec.body), &c));
            assert_is_id(c.id);
            assert_string_equal(expected[n].name, c.name);
            assert_string_equal("bb:latest", c.image);
            assert_string_equal(expected[n].status, c.status);
            assert_int_equal(expected[n].tty, c.tty);
            assert_int_equal(expected[n].running, c.running);
            assert_false(c.paused);
            assert_false(c.restarting);
            assert_true(expected[n].started_at_ns[e] == c.started_at_ns);
            assert_true(expected[n].finished_at_ns[e] == c.finished_at_ns);
            assert_string_equal("json-file", c.log_driver);
            assert_int_equal(0, c.log_options_count);
            assert_non_null(strstr(c.log_path, c.id));
            assert_int_equal(2, c.labels_count);
            assert_string_equal("com.docker.compose.service", c.labels[0].key);
            assert_string_equal("web", c.labels[0].value);
            assert_string_equal("com.example.team", c.labels[1].key);
            assert_string_equal("core", c.labels[1].value);
            reply_inspect_finish(&c);
            recording_finish(&rec);
        }
    }
}

static const char inspect_full[] =
    "{\"Id\":\"" ID "\",\"Name\":\"/n\",\"LogPath\":\"\",\"Config\":{\"Tty\":false,\"Image\":\"i\","
    "\"Labels\":{\"a\":\"1\",\"b\":\"2\"}},\"State\":{\"Status\":\"paused\",\"Running\":true,"
    "\"Paused\":true,\"Restarting\":true,\"StartedAt\":\"2026-11-20T15:39:10.5Z\","
    "\"FinishedAt\":\"0001-01-01T00:00:00Z\"},\"HostConfig\":{\"LogConfig\":{\"Type\":\"local\","
    "\"Config\":{\"max-size\":\"10m\",\"max-file\":\"3\"}}}}\n";

static void test_all_of_an_inspect_is_read(void **state)
{
    struct reply_inspect c;

    assert_int_equal(0, reply_inspect_parse(slice_str(inspect_full), &c));
    assert_string_equal(ID, c.id);
    assert_true(c.running);
    assert_true(c.paused);
    assert_true(c.restarting);
    assert_true(c.started_at_ns == INT64_C(1795189150500000000));
    assert_string_equal("local", c.log_driver);
    assert_string_equal("", c.log_path);
    assert_int_equal(2, c.log_options_count);
    assert_string_equal("max-size", c.log_options[0].key);
    assert_string_equal("10m", c.log_options[0].value);
    assert_string_equal("max-file", c.log_options[1].key);
    assert_string_equal("3", c.log_options[1].value);
    reply_inspect_finish(&c);
    assert_null(c.name);
}

static void test_only_id_and_tty_of_an_inspect_are_needed(void **state)
{
    static const char *const enough[] = {
        "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true}}",
        "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true,\"Labels\":null},\"State\":null,"
        "\"HostConfig\":{\"LogConfig\":null},\"Name\":null}",
        "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true,\"Labels\":{}},\"State\":{\"StartedAt\":\"\"},"
        "\"HostConfig\":{\"LogConfig\":{\"Type\":\"\",\"Config\":{}}},\"More\":[{}]}",
    };
    static const char *const not_enough[] = {
        "{}",
        "{\"Id\":\"" ID "\"}",
        "{\"Id\":\"" ID "\",\"Config\":{}}",
        "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":null}}",
        "{\"Config\":{\"Tty\":true}}",
    };
    struct reply_inspect c;

    for (size_t i = 0; i < ARRAY_SIZE(enough); i++) {
        assert_int_equal(0, reply_inspect_parse(slice_str(enough[i]), &c));
        assert_true(c.tty);
        assert_string_equal("", c.name);
        assert_string_equal("", c.image);
        assert_string_equal("", c.status);
        assert_string_equal("", c.log_driver);
        assert_string_equal("", c.log_path);
        assert_int_equal(0, c.labels_count + c.log_options_count);
        assert_true(c.started_at_ns == 0);
        reply_inspect_finish(&c);
    }
    for (size_t i = 0; i < ARRAY_SIZE(not_enough); i++)
        assert_int_equal(-EBADMSG, reply_inspect_parse(slice_str(not_enough[i]), &c));
}

static void test_recorded_events_are_understood(void **state)
{
    static const enum event_action expected[ENGINES][32] = {
        {EVENT_CREATE, EVENT_START, EVENT_PAUSE, EVENT_UNPAUSE, EVENT_RENAME, EVENT_KILL, EVENT_DIE,
         EVENT_STOP, EVENT_START, EVENT_RESTART, EVENT_KILL, EVENT_DIE, EVENT_STOP, EVENT_DESTROY,
         EVENT_CREATE, EVENT_START, EVENT_OOM, EVENT_DIE, EVENT_DESTROY},
        {EVENT_CREATE, EVENT_START, EVENT_PAUSE, EVENT_UNPAUSE, EVENT_RENAME, EVENT_KILL,
         EVENT_STOP, EVENT_DIE, EVENT_START, EVENT_RESTART, EVENT_KILL, EVENT_STOP, EVENT_DIE,
         EVENT_DESTROY, EVENT_CREATE, EVENT_START, EVENT_OOM, EVENT_DIE, EVENT_DESTROY},
        {EVENT_CREATE, EVENT_START, EVENT_PAUSE, EVENT_UNPAUSE, EVENT_RENAME, EVENT_KILL,
         EVENT_STOP, EVENT_DIE, EVENT_START, EVENT_RESTART, EVENT_KILL, EVENT_STOP, EVENT_DIE,
         EVENT_DESTROY, EVENT_CREATE, EVENT_START, EVENT_OOM, EVENT_DIE, EVENT_DESTROY},
    };
    static const enum event_action expected_live[] = {EVENT_CREATE, EVENT_START, EVENT_DIE,
                                                      EVENT_DESTROY};

    for (size_t e = 0; e < ENGINES; e++) {
        static const char *const names[] = {"events-since-until", "events-live"};

        for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
            int64_t last_ns = 0;
            struct recording rec;

            recording_load(&rec, recording_engines[e], names[n]);
            assert_int_equal(n == 0 ? 19 : 4, rec.chunks_count);
            for (size_t i = 0; i < rec.chunks_count; i++) {
                struct reply_event event;

                assert_int_equal(0, reply_event_parse(rec.chunks[i], &event));
                assert_int_equal(n == 0 ? expected[e][i] : expected_live[i], event.action);
                assert_is_id(event.id);
                assert_memory_equal("fx-", event.name, 3);
                assert_true(event.time_ns > last_ns);
                assert_true(event.time_ns / NSEC_PER_SEC >= 1795189140);
                assert_true(event.time_ns / NSEC_PER_SEC <= 1795189220);
                last_ns = event.time_ns;
                reply_event_finish(&event);
            }
            recording_finish(&rec);
        }
    }
}

static void test_an_event_needs_neither_status_nor_id_nor_from(void **state)
{
    struct reply_event e;

    assert_int_equal(
        0,
        reply_event_parse(slice_str("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":"
                                    "\"" ID "\"},\"timeNano\":9223372036854775807}"),
                          &e));
    assert_int_equal(EVENT_DIE, e.action);
    assert_string_equal(ID, e.id);
    assert_string_equal("", e.name);
    assert_true(e.time_ns == INT64_MAX);
    reply_event_finish(&e);
}

static void test_other_events_are_other(void **state)
{
    static const char *const actions[] = {
        "exec_create: sh", "health_status: healthy", "attach", "START", "start ", "", "starts"};
    char text[512];
    struct reply_event e;

    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        (void)snprintf(text, sizeof text,
                       "{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"" ID
                       "\",\"Attributes\":{\"name\":\"n\"}},\"timeNano\":1}",
                       actions[i]);
        assert_int_equal(0, reply_event_parse(slice_str(text), &e));
        assert_int_equal(EVENT_OTHER, e.action);
        assert_string_equal(ID, e.id);
        assert_string_equal("n", e.name);
        reply_event_finish(&e);
    }

    assert_int_equal(
        0, reply_event_parse(slice_str("{\"Type\":\"network\",\"Action\":\"destroy\",\"Actor\":{"
                                       "\"ID\":\"bridge\",\"Attributes\":{\"name\":\"n\"}},"
                                       "\"timeNano\":5}"),
                             &e));
    assert_int_equal(EVENT_OTHER, e.action);
    assert_string_equal("", e.id);
    assert_string_equal("", e.name);
    assert_true(e.time_ns == 5);
    reply_event_finish(&e);
}

enum kind { KIND_VERSION, KIND_LIST, KIND_INSPECT, KIND_EVENT };

/* Parses, and drops what was understood. */
static int parse(enum kind kind, struct slice in)
{
    int r = -EINVAL;

    switch (kind) {
    case KIND_VERSION: {
        struct reply_version v;

        r = reply_version_parse(in, &v);
        if (r == 0)
            reply_version_finish(&v);
        break;
    }
    case KIND_LIST: {
        struct reply_list l;

        r = reply_list_parse(in, &l);
        if (r == 0)
            reply_list_finish(&l);
        break;
    }
    case KIND_INSPECT: {
        struct reply_inspect i;

        r = reply_inspect_parse(in, &i);
        if (r == 0)
            reply_inspect_finish(&i);
        break;
    }
    case KIND_EVENT: {
        struct reply_event e;

        r = reply_event_parse(in, &e);
        if (r == 0)
            reply_event_finish(&e);
        break;
    }
    }
    return r;
}

static void test_a_wrong_type_of_what_is_read_is_refused(void **state)
{
    static const struct {
        enum kind kind;
        const char *before, *after; /* around the value; a value of the right type */
        const char *good;
    } members[] = {
        {KIND_VERSION, "{\"ApiVersion\":", "}", "\"1.41\""},
        {KIND_VERSION, "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":", "}", "\"1.12\""},
        {KIND_VERSION, "{\"ApiVersion\":\"1.41\",\"Version\":", "}", "\"1\""},
        {KIND_LIST, "", "", "[]"},
        {KIND_LIST, "[", "]", "{\"Id\":\"" ID "\"}"},
        {KIND_LIST, "[{\"Id\":\"" ID "\"},{\"Id\":", "}]", "\"" ID "\""},
        {KIND_LIST, "[{\"Id\":\"" ID "\",\"State\":", "}]", "\"running\""},
        {KIND_LIST, "[{\"Id\":\"" ID "\",\"Names\":", "}]", "[\"/a\"]"},
        {KIND_LIST, "[{\"Id\":\"" ID "\",\"Names\":[\"/a/b\",", "]}]", "\"/a\""},
        {KIND_INSPECT, "", "", "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true}}"},
        {KIND_INSPECT, "{\"Config\":{\"Tty\":true},\"Id\":", "}", "\"" ID "\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":", "}", "{\"Tty\":false}"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":", "}}", "false"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true,\"Image\":", "}}", "\"i\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true,\"Labels\":", "}}",
         "{\"a\":\"b\"}"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true,\"Labels\":{\"a\":\"b\",\"c\":",
         "}}}", "\"d\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"Name\":", "}", "\"/n\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"LogPath\":", "}", "\"/p\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":", "}", "{}"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"Status\":", "}}",
         "\"dead\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"Running\":", "}}",
         "true"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"Paused\":", "}}",
         "true"},
        {KIND_INSPECT,
         "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"Restarting\":", "}}", "true"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"StartedAt\":",
         "}}", "\"2026-11-20T15:39:10Z\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"State\":{\"FinishedAt\":",
         "}}", "\"2026-11-20T15:39:10Z\""},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"HostConfig\":", "}", "{}"},
        {KIND_INSPECT,
         "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"HostConfig\":{\"LogConfig\":", "}}", "{}"},
        {KIND_INSPECT,
         "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"HostConfig\":{\"LogConfig\":{\"Type\":",
         "}}}", "\"local\""},
        {KIND_INSPECT,
         "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},\"HostConfig\":{\"LogConfig\":{\"Config\":",
         "}}}", "{\"a\":\"b\"}"},
        {KIND_EVENT, "", "", "{\"Type\":\"image\"}"},
        {KIND_EVENT, "{\"Type\":", "}", "\"image\""},
        {KIND_EVENT, "{\"Type\":\"image\",\"timeNano\":", "}", "123"},
        {KIND_EVENT,
         "{\"Type\":\"container\",\"Actor\":{\"ID\":\"" ID "\"},\"timeNano\":1,\"Action\":", "}",
         "\"die\""},
        {KIND_EVENT, "{\"Type\":\"container\",\"Action\":\"die\",\"timeNano\":1,\"Actor\":", "}",
         "{\"ID\":\"" ID "\"}"},
        {KIND_EVENT, "{\"Type\":\"container\",\"Action\":\"die\",\"timeNano\":1,\"Actor\":{\"ID\":",
         "}}", "\"" ID "\""},
        {KIND_EVENT,
         "{\"Type\":\"container\",\"Action\":\"die\",\"timeNano\":1,\"Actor\":{\"ID\":\"" ID
         "\",\"Attributes\":",
         "}}", "{\"name\":\"n\"}"},
        {KIND_EVENT,
         "{\"Type\":\"container\",\"Action\":\"die\",\"timeNano\":1,\"Actor\":{\"ID\":\"" ID
         "\",\"Attributes\":{\"name\":",
         "}}}", "\"n\""},
    };
    /* In order of yyjson's types, so that none but the right one can be taken. */
    static const char *const values[] = {"true", "1.5", "\"text\"", "[true]", "{\"k\":7}"};
    char text[1024];

    for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
        (void)snprintf(text, sizeof text, "%s%s%s", members[m].before, members[m].good,
                       members[m].after);
        assert_int_equal(0, parse(members[m].kind, slice_str(text)));
        for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
            char good = members[m].good[0];
            bool same_type = good == values[v][0] || (good == 'f' && values[v][0] == 't') ||
                             (good >= '0' && good <= '9' && values[v][0] == '1');

            (void)snprintf(text, sizeof text, "%s%s%s", members[m].before, values[v],
                           members[m].after);
            if (!same_type)
                assert_int_equal(-EBADMSG, parse(members[m].kind, slice_str(text)));
        }
    }
}

static void test_a_wrong_value_of_what_is_read_is_refused(void **state)
{
    static const struct {
        enum kind kind;
        const char *text;
    } cases[] = {
        {KIND_VERSION, "{\"ApiVersion\":\"one\"}"},
        {KIND_VERSION, "{\"ApiVersion\":\"\"}"},
        {KIND_VERSION, "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"old\"}"},
        {KIND_LIST, "[{\"Id\":\"\"}]"},
        {KIND_LIST, "[{\"Id\":\"2e66b9ec3fe1\"}]"},
        {KIND_LIST, "[{\"Id\":\"" ID "0\"}]"},
        {KIND_LIST,
         "[{\"Id\":\"2E66B9EC3FE171038C0FEF75F4BEFD5B18E34992FD55CC60F366A1E81055328F\"}]"},
        {KIND_LIST,
         "[{\"Id\":\"../../../../../../../../../../../../../../../../../../../../../.\"}]"},
        {KIND_INSPECT, "{\"Id\":\"" ID "\",\"Config\":{\"Tty\":true},"
                       "\"State\":{\"StartedAt\":\"yesterday\"}}"},
        {KIND_EVENT, "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID "\"}}"},
        {KIND_EVENT, "{\"Type\":\"image\",\"timeNano\":9223372036854775808}"},
        {KIND_EVENT, "{\"Type\":\"image\",\"timeNano\":1e9}"},
        {KIND_EVENT, "{\"Type\":\"image\"}{\"Type\":\"image\"}"},
        {KIND_EVENT, ""},
        {KIND_EVENT, "\n"},
        {KIND_EVENT, "null"},
        {KIND_EVENT, "\xff\xfe"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(-EBADMSG, parse(cases[i].kind, slice_str(cases[i].text)));
    assert_int_equal(-EBADMSG, parse(KIND_EVENT, slice_of(NULL, 0)));
}

static const struct {
    const char *name;
    enum kind kind;
} recorded[] = {
    {"version", KIND_VERSION},
    {"containers-list-all", KIND_LIST},
    {"inspect-tty-running", KIND_INSPECT},
    {"inspect-nontty-exited", KIND_INSPECT},
    {"events-live", KIND_EVENT}, /* its first event */
};

static void test_every_truncation_of_a_reply_is_refused(void **state)
{
    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t n = 0; n < ARRAY_SIZE(recorded); n++) {
            struct recording rec;
            struct slice whole;

            recording_load(&rec, recording_engines[e], recorded[n].name);
            whole = recorded[n].kind == KIND_EVENT ? rec.chunks[0] : buf_slice(&rec.body);
            assert_int_equal(0, parse(recorded[n].kind, whole));
            while (whole.data[whole.len - 1] == '\n')
                whole.len--;
            assert_int_equal(0, parse(recorded[n].kind, whole));
            for (size_t len = 0; len < whole.len; len++) {
                /* On the heap, so that a look beyond the end is caught. */
                char *copy = malloc(len);

                assert_true(copy || len == 0);
                if (len > 0)
                    memcpy(copy, whole.data, len);
                assert_int_equal(-EBADMSG, parse(recorded[n].kind, slice_of(copy, len)));
                free(copy);
            }
            recording_finish(&rec);
        }
    }
}

static void test_a_mutated_reply_is_understood_or_refused(void **state)
{
    struct random rnd;

    random_seed(&rnd, 7);
    for (size_t n = 0; n < ARRAY_SIZE(recorded); n++) {
        struct recording rec;
        struct buf text = {0};
        size_t refused = 0;

        recording_load(&rec, recording_engines[2], recorded[n].name);
        for (size_t round = 0; round < 3000; round++) {
            static const char bytes[] = "\"{}[]:,0\\n\x01\xc3";
            struct slice whole =
                recorded[n].kind == KIND_EVENT ? rec.chunks[0] : buf_slice(&rec.body);
            int r;

            buf_reset(&text);
            assert_int_equal(0, buf_append_slice(&text, whole));
            for (uint64_t count = 1 + random_below(&rnd, 3); count > 0; count--)
                text.data[random_below(&rnd, text.len)] =
                    bytes[random_below(&rnd, sizeof bytes - 1)];
            r = parse(recorded[n].kind, buf_slice(&text));
            assert_true(r == 0 || r == -EBADMSG);
            refused += r < 0;
        }
        assert_true(refused > 0);
        buf_finish(&text);
        recording_finish(&rec);
    }
}

static void test_recorded_errors_are_told(void **state)
{
    static const struct {
        const char *name;
        const char *messages[ENGINES];
    } expected[] = {
        {"err-400-api-too-new",
         {"client version 1.99 is too new. Maximum supported API version is 1.41",
          "client version 1.99 is too new. Maximum supported API version is 1.45",
          "client version 1.99 is too new. Maximum supported API version is 1.51"}},
        {"err-400-api-too-old",
         {"client version 1.10 is too old. Minimum supported API version is 1.12, please upgrade "
          "your client to a newer version",
          "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade "
          "your client to a newer version",
          "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade "
          "your client to a newer version"}},
        {"err-404-container-logs",
         {"No such container: nope", "No such container: nope", "No such container: nope"}},
        {"err-404-container-inspect",
         {"No such container: nope", "No such container: nope", "No such container: nope"}},
        {"err-404-page", {"page not found", "page not found", "page not found"}},
        {"err-400-no-stream",
         {"Bad parameters: you must choose at least one stream",
          "Bad parameters: you must choose at least one stream",
          "Bad parameters: you must choose at least one stream"}},
        {"err-409-logs-removal-in-progress",
         {"can not get logs from container which is dead or marked for removal",
          "can not get logs from container which is dead or marked for removal",
          "can not get logs from container which is dead or marked for removal"}},
        {"err-500-logs-driver-journald-unavailable",
         {"journald is not enabled on this host", "journald is not enabled on this host",
          "journald is not enabled on this host"}},
        {"err-501-logs-driver-none",
         {"configured logging driver does not support reading",
          "configured logging driver does not support reading",
          "configured logging driver does not support reading"}},
        {"err-bad-filter",
         {"invalid character 'x' looking for beginning of value", "invalid filter",
          "invalid filter"}},
        {"err-bad-since",
         {"strconv.ParseInt: parsing \"2026-01-01T00:00:00Z\": invalid syntax",
          "strconv.ParseInt: parsing \"2026-01-01T00:00:00Z\": invalid syntax",
          "strconv.ParseInt: parsing \"2026-01-01T00:00:00Z\": invalid syntax"}},
    };
    char message[256];

    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t n = 0; n < ARRAY_SIZE(expected); n++) {
            struct recording rec;

            recording_load(&rec, recording_engines[e], expected[n].name);
            reply_error_message(buf_slice(&rec.body), message, sizeof message);
            assert_string_equal(expected[n].messages[e], message);
            recording_finish(&rec);
        }
    }
}

static void assert_message(const char *expected, struct slice body, size_t size)
{
    char *out = malloc(size);

    assert_non_null(out);
    reply_error_message(body, out, size);
    assert_string_equal(expected, out);
    free(out);
}

static void test_a_message_is_safe_to_show(void **state)
{
    char untouched = '?';

    assert_message("", slice_of(NULL, 0), 16);
    assert_message("", slice_str(" \r\n"), 16);
    assert_message("a  b", slice_str("\n a\r\nb\x1b\x7f\n"), 16);
    assert_message("a b c", slice_str("{\"message\":\" a\\u0000b\\nc \"}"), 16);
    assert_message("a b", slice_of("a\0b", 3), 16);
    assert_message("{\"message\":7}", slice_str("{\"message\":7}\n"), 16);
    assert_message("{\"message\":\"\"}", slice_str("{\"message\":\"\"}"), 16);
    assert_message("[\"message\"]", slice_str("[\"message\"]"), 16);
    /* Cut between characters, without a blank at the end. */
    assert_message("", slice_str("abc"), 1);
    assert_message("ab", slice_str("abc"), 3);
    assert_message("a", slice_str("a bc"), 3);
    assert_message("a", slice_str("a\xe2\x82\xac"), 4);
    assert_message("a\xe2\x82\xac", slice_str("a\xe2\x82\xac"), 5);
    assert_message("", slice_str("\xe2\x82\xac"), 3);
    reply_error_message(slice_str("abc"), &untouched, 0);
    assert_int_equal('?', untouched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_versions_are_understood),
        cmocka_unit_test(test_a_version_may_name_nothing_but_the_newest_api),
        cmocka_unit_test(test_recorded_lists_are_understood),
        cmocka_unit_test(test_a_containers_own_name_is_the_one_without_a_second_slash),
        cmocka_unit_test(test_when_a_run_ended_is_told_from_the_words_for_people),
        cmocka_unit_test(test_recorded_inspects_are_understood),
        cmocka_unit_test(test_all_of_an_inspect_is_read),
        cmocka_unit_test(test_only_id_and_tty_of_an_inspect_are_needed),
        cmocka_unit_test(test_recorded_events_are_understood),
        cmocka_unit_test(test_an_event_needs_neither_status_nor_id_nor_from),
        cmocka_unit_test(test_other_events_are_other),
        cmocka_unit_test(test_a_wrong_type_of_what_is_read_is_refused),
        cmocka_unit_test(test_a_wrong_value_of_what_is_read_is_refused),
        cmocka_unit_test(test_every_truncation_of_a_reply_is_refused),
        cmocka_unit_test(test_a_mutated_reply_is_understood_or_refused),
        cmocka_unit_test(test_recorded_errors_are_told),
        cmocka_unit_test(test_a_message_is_safe_to_show),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
