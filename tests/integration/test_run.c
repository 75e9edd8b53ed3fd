/* `ringtail run`: where it begins in a log, where it writes to, and how it ends. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "support/world.h"

/* ---- --since ---- */

/* Lines from so long ago; the check hears of them only if they are wanted. */
static void say_past(struct speaker *s, int64_t ago_s, unsigned count, bool wanted)
{
    int64_t base_ns = sim_now_ns(s->world->sim) - ago_s * NSEC_PER_SEC;

    for (unsigned i = 0; i < count; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "%lld seconds ago, line %u\n", (long long)ago_s, i);
        enum sim_stream stream = i % 3 ? SIM_STDOUT : SIM_STDERR;

        if (wanted)
            say_expect(s, stream, base_ns + i, text, (size_t)len - 1, 0);
        say_record(s, stream, base_ns + i, text, (size_t)len);
    }
}

static struct speaker *add_old(struct world *w)
{
    struct speaker *s = world_speaker_spec(
        w, &(struct sim_spec){.started_at_ns = sim_now_ns(w->sim) - 86400 * NSEC_PER_SEC,
                              .silent = true});

    return s;
}

static void since(struct world *w, const char *value, int64_t from_ago_s, enum sim_engine engine)
{
    static const int64_t agos_s[] = {86000, 20000, 7300, 3500, 300, 30};
    struct speaker *speakers[3];

    world_engine(w, &(struct sim_options){.engine = engine});
    for (size_t i = 0; i < ARRAY_SIZE(speakers); i++) {
        speakers[i] = add_old(w);
        for (size_t k = i; k < ARRAY_SIZE(agos_s); k++)
            say_past(speakers[i], agos_s[k], 1 + 200u * (unsigned)i, agos_s[k] < from_ago_s);
    }
    world_run(w, "--since", value);
    world_wait_follows(w, NULL, ARRAY_SIZE(speakers));
    for (size_t i = 0; i < ARRAY_SIZE(speakers); i++)
        say_many(speakers[i], "live", 5);
    /* One that starts later is read from its beginning. */
    say_many(world_speaker(w, "late"), "late", 5);
    world_wait_all(w);
    for (size_t i = 0; i < ARRAY_SIZE(speakers); i++) {
        sim_follow_cut(w->sim, speakers[i]->container);
        say_many(speakers[i], "after a cut", 5);
    }
    world_wait_all(w);
    world_stop(w);
}

static void test_since_now_begins_with_what_comes(void **state)
{
    since(*state, "now", 0, SIM_ENGINE_28_5);
}

static void test_since_now_begins_with_what_comes_on_20_10(void **state)
{
    since(*state, "now", 0, SIM_ENGINE_20_10);
}

static void test_since_all_begins_with_the_first_line(void **state)
{
    since(*state, "all", INT64_MAX, SIM_ENGINE_28_5);
}

static void test_since_a_duration_goes_back_that_far(void **state)
{
    since(*state, "2h", 7200, SIM_ENGINE_28_5);
}

static void test_since_a_duration_goes_back_that_far_on_20_10(void **state)
{
    since(*state, "2h", 7200, SIM_ENGINE_20_10);
}

static void test_since_a_timestamp_begins_there(void **state)
{
    char value[TIMESTAMP_LEN + 1] = {0};

    timestamp_format(value, clock_wall_ns() - 3000 * NSEC_PER_SEC);
    since(*state, value, 3000, SIM_ENGINE_28_5);
}

static void test_since_now_has_a_second_connection_to_a_container_go_on(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    /* Nothing was delivered before the first cut: where to begin is still for --since to say. */
    world_engine(w, NULL);
    s = add_old(w);
    say_past(s, 100, 50, false);
    world_run(w, "--since", "now");
    for (unsigned i = 0; i < 5; i++) {
        world_wait_follows(w, s, 1);
        sim_follow_cut(w->sim, s->container);
    }
    say_many(s, "live", 5);
    world_wait_all(w);
    world_stop(w);
}

/* ---- where to ---- */

static void test_stdout_gets_one_json_object_a_line(void **state)
{
    struct world *w = *state;
    struct speaker *speakers[5];
    char path[128];

    world_engine(w, NULL);
    snprintf(path, sizeof path, "%s/stdout", w->dir);
    ndjson_check_destroy(w->check);
    w->check = ndjson_check_create(path);
    for (size_t i = 0; i < ARRAY_SIZE(speakers); i++) {
        speakers[i] = world_speaker(w, NULL);
        say_many(speakers[i], "before", 100);
    }
    world_command(w, "run", "--engine", sim_url(w->sim), "--since", "all", "--set",
                  "engine.reconnect_min=10ms", "--set", "admin.address=");
    world_wait_all(w);
    for (size_t i = 0; i < ARRAY_SIZE(speakers); i++) {
        sim_follow_cut(w->sim, speakers[i]->container);
        say_many(speakers[i], "after", 100);
    }
    world_wait_all(w);
    world_stop(w);
}

/* Whatever a container is called, there is one file for it, directly in the output's directory. */
static void test_hostile_names_stay_in_the_directory(void **state)
{
    static const char *const names[] = {
        "..",        ".",           "../../outside", "/etc/passwd",
        "a/b/c",     "sub/../../x", "%2e%2e",        "{container_id}",
        "new\nline", "\033[2J",     "caf\xc3\xa9",   "\"quote\\",
        "-rf",       " ",           "CON",           "a",
        "A",
    };
    struct world *w = *state;
    char long_name[600];
    struct dirent *e;
    DIR *dir;

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        say_many(world_speaker(w, names[i]), "line", 3);
    /* Longer than a file's name may be, and told apart only at the end. */
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    say_many(world_speaker(w, long_name), "line", 3);
    long_name[sizeof long_name - 2] = 'm';
    say_many(world_speaker(w, long_name), "line", 3);

    world_command(w, "run", "--engine", sim_url(w->sim), "--since", "all", "--output", w->out_dir,
                  "--set", "admin.address=");
    world_wait_all(w);
    world_stop(w);
    assert_int_equal(ARRAY_SIZE(names) + 2, ndjson_check_files(w->check));
    dir = opendir(w->out_dir);
    assert_non_null(dir);
    while ((e = readdir(dir))) {
        char path[600];
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, ".ringtail") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", w->out_dir, e->d_name);
        assert_int_equal(0, lstat(path, &st));
        if (!S_ISREG(st.st_mode))
            world_fail(w, "%s is no file", e->d_name);
        for (const char *c = e->d_name; *c; c++)
            if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
                world_fail(w, "%s: a byte that no file's name should have", e->d_name);
    }
    closedir(dir);
    /* The directory beside it, of which all this is a part, got nothing. */
    assert_int_equal(0, access(w->out_dir, F_OK));
    dir = opendir(w->dir);
    assert_non_null(dir);
    while ((e = readdir(dir)))
        if (e->d_name[0] != '.' && strcmp(e->d_name, "out") != 0 &&
            strcmp(e->d_name, "stdout") != 0 && strcmp(e->d_name, "log") != 0 &&
            strcmp(e->d_name, "docker.sock") != 0)
            world_fail(w, "%s was made beside the output's directory", e->d_name);
    closedir(dir);
}

static void test_a_symlink_in_the_directory_is_not_followed(void **state)
{
    struct world *w = *state;
    char outside[128], link[300];
    struct speaker *s, *other;

    world_engine(w, NULL);
    s = world_speaker(w, "linked");
    other = world_speaker(w, "other");
    told_set_optional(s->told);
    say_many(s, "not for them", 3);
    say_many(other, "line", 3);
    snprintf(outside, sizeof outside, "%s/outside", w->dir);
    snprintf(link, sizeof link, "%s/%s.ndjson", w->out_dir, sim_container_id(s->container));
    assert_int_equal(0, mkdir(w->out_dir, 0700));
    assert_int_equal(0, symlink(outside, link));
    /* The check follows nothing either; what the link is is not output. */
    ndjson_check_destroy(w->check);
    snprintf(link, sizeof link, "%s/%s.ndjson", w->out_dir, sim_container_id(other->container));
    w->check = ndjson_check_create(link);
    other = world_adopt(w, other->container);
    say_expect(other, SIM_STDOUT, 0, "line 0", 6, 0);
    say_expect(other, SIM_STDOUT, 0, "line 1", 6, 0);
    say_expect(other, SIM_STDERR, 0, "line 2", 6, 0);
    world_run(w, "--set", "run.grace_period=100ms", "--set", "output.retry=50ms");
    world_wait_all(w);
    ringtail_proc_signal(&w->ringtail, SIGTERM);
    world_wait(w, "ringtail's end", world_has_ended, NULL);
    world_assert(w, !ringtail_proc_has_report(&w->ringtail));
    assert_int_not_equal(0, access(outside, F_OK));
    w->passed = true;
}

/* ---- how it ends ---- */

static void test_sigterm_writes_out_what_was_read(void **state)
{
    struct world *w = *state;
    struct speaker *speakers[20];

    for (unsigned round = 0; round < 5; round++) {
        world_engine(w, &(struct sim_options){.seed = round + 1});
        for (size_t i = 0; i < ARRAY_SIZE(speakers); i++)
            speakers[i] = world_speaker(w, NULL);
        world_run(w, "--set", "queue.batch_bytes=16MiB");
        world_wait_follows(w, NULL, ARRAY_SIZE(speakers));
        for (size_t i = 0; i < ARRAY_SIZE(speakers); i++)
            say_many(speakers[i], "line", 200);
        for (size_t i = 0; i < ARRAY_SIZE(speakers); i++)
            world_wait_caught_up(w, speakers[i]);
        world_stop(w);
        world_assert_within(w, ringtail_proc_log_number(&w->ringtail, "Stopped", "records"),
                            20 * 200, 20 * 200);
        w->sim = sim_destroy(w->sim);
    }
}

/* A line's first part is there, and ringtail has read it. */
static void say_open_line(struct speaker *s, int64_t *ret_ts_ns)
{
    char part[SIM_PART_BYTES];

    memset(part, 'p', sizeof part);
    say_many(s, "line", 3);
    *ret_ts_ns = world_next_ts(s->world);
    say_record(s, SIM_STDOUT, *ret_ts_ns, part, sizeof part);
    world_wait_lines(s->world, s, 3);
    world_wait_caught_up(s->world, s);
}

static void test_sigterm_marks_the_line_that_is_open(void **state)
{
    struct world *w = *state;
    char part[SIM_PART_BYTES], path[128];
    struct speaker *s;
    int64_t ts_ns;

    memset(part, 'p', sizeof part);
    world_engine(w, NULL);
    snprintf(path, sizeof path, "%s/stdout", w->dir);
    ndjson_check_destroy(w->check);
    w->check = ndjson_check_create(path);
    s = world_speaker(w, "open");
    /* Without positions nobody will come back to that line. */
    world_run(w, "--output", "stdout");
    say_open_line(s, &ts_ns);
    say_expect(s, SIM_STDOUT, ts_ns, part, sizeof part, TOLD_PARTIAL | TOLD_IN_PARTS);
    world_stop(w);
}

static void test_a_line_that_is_open_at_sigterm_is_whole_after_the_next_start(void **state)
{
    struct world *w = *state;
    char whole[SIM_PART_BYTES + 4];
    struct speaker *s;
    int64_t ts_ns;

    memset(whole, 'p', sizeof whole);
    world_engine(w, NULL);
    s = world_speaker(w, "open");
    world_run(w);
    say_open_line(s, &ts_ns);
    world_stop(w);
    memcpy(whole + SIM_PART_BYTES, "end\n", 4);
    say_expect(s, SIM_STDOUT, ts_ns, whole, sizeof whole - 1, TOLD_IN_PARTS);
    say_record(s, SIM_STDOUT, ts_ns, whole + SIM_PART_BYTES, 4);
    world_run(w);
    say_many(s, "after", 3);
    world_wait_all(w);
    world_stop(w);
}

static void test_sigint_is_as_good(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    say_many(world_speaker(w, NULL), "line", 10);
    world_run(w);
    world_wait_all(w);
    ringtail_proc_signal(&w->ringtail, SIGINT);
    world_stop(w);
}

static void ends_while_unanswered(struct world *w, enum sim_request_kind kind)
{
    world_engine(w, NULL);
    world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER, .on = kind});
    for (unsigned i = 0; i < 40; i++)
        (void)world_speaker(w, NULL);
    world_run(w);
    world_wait_more_requests(w, kind, 1);
    world_stop(w);
}

static void test_sigterm_ends_it_while_a_ping_is_unanswered(void **state)
{
    ends_while_unanswered(*state, SIM_REQUEST_PING);
}

static void test_sigterm_ends_it_while_a_list_is_unanswered(void **state)
{
    ends_while_unanswered(*state, SIM_REQUEST_LIST);
}

static void test_sigterm_ends_it_while_inspects_are_unanswered(void **state)
{
    ends_while_unanswered(*state, SIM_REQUEST_INSPECT);
}

static void test_sigterm_ends_it_while_events_are_unanswered(void **state)
{
    ends_while_unanswered(*state, SIM_REQUEST_EVENTS);
}

static void test_sigterm_ends_it_while_logs_are_unanswered(void **state)
{
    ends_while_unanswered(*state, SIM_REQUEST_LOGS);
}

static void test_sigterm_at_any_moment_of_the_start(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < 30; i++)
        told_set_optional(world_speaker(w, NULL)->told);
    /* The signal comes after so many requests: between any two steps of the start. */
    for (unsigned n = 1; n < 40; n++) {
        world_run(w);
        world_wait_more_requests(w, SIM_REQUEST_ANY, n);
        world_stop_early(w);
        assert_int_equal(0, sim_wait_connections_at_most(w->sim, 0, world_timeout_ms()));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("--since now begins with what comes", test_since_now_begins_with_what_comes),
        WORLD_TEST("--since now begins with what comes on 20.10",
                   test_since_now_begins_with_what_comes_on_20_10),
        WORLD_TEST("--since all begins with the first line",
                   test_since_all_begins_with_the_first_line),
        WORLD_TEST("--since 2h goes back that far", test_since_a_duration_goes_back_that_far),
        WORLD_TEST("--since 2h goes back that far on 20.10",
                   test_since_a_duration_goes_back_that_far_on_20_10),
        WORLD_TEST("--since a timestamp begins there", test_since_a_timestamp_begins_there),
        WORLD_TEST("--since now holds over a reconnect before the first line",
                   test_since_now_has_a_second_connection_to_a_container_go_on),
        WORLD_TEST("stdout gets one JSON object a line", test_stdout_gets_one_json_object_a_line),
        WORLD_TEST("hostile names stay in the directory", test_hostile_names_stay_in_the_directory),
        WORLD_TEST("a symlink in the directory is not followed",
                   test_a_symlink_in_the_directory_is_not_followed),
        WORLD_TEST("SIGTERM writes out what was read", test_sigterm_writes_out_what_was_read),
        WORLD_TEST("SIGTERM marks the line that is open", test_sigterm_marks_the_line_that_is_open),
        WORLD_TEST("a line that is open at SIGTERM is whole after the next start",
                   test_a_line_that_is_open_at_sigterm_is_whole_after_the_next_start),
        WORLD_TEST("SIGINT is as good", test_sigint_is_as_good),
        WORLD_TEST("SIGTERM ends it while a ping is unanswered",
                   test_sigterm_ends_it_while_a_ping_is_unanswered),
        WORLD_TEST("SIGTERM ends it while a list is unanswered",
                   test_sigterm_ends_it_while_a_list_is_unanswered),
        WORLD_TEST("SIGTERM ends it while inspects are unanswered",
                   test_sigterm_ends_it_while_inspects_are_unanswered),
        WORLD_TEST("SIGTERM ends it while events are unanswered",
                   test_sigterm_ends_it_while_events_are_unanswered),
        WORLD_TEST("SIGTERM ends it while logs are unanswered",
                   test_sigterm_ends_it_while_logs_are_unanswered),
        WORLD_TEST("SIGTERM at any moment of the start ends it cleanly",
                   test_sigterm_at_any_moment_of_the_start),
    };

    return world_main(tests);
}
