/* `ringtail spool` and `ringtail dlq` over what a real run has left: shown, checked, sent again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "support/receiver.h"
#include "support/world.h"

#include "books.h"

#define LINES 40

/* A run's settings, for the commands too. */
struct store {
    struct receiver receiver;
    char spool[128], letters[160], url[96], spool_set[160], letters_set[192];
};

static struct store store;

static int setup(void **state)
{
    struct world *w;

    if (world_setup(state) != 0)
        return -1;
    w = *state;
    store = (struct store){0};
    if (receiver_start(&store.receiver, NULL) != 0)
        return -1;
    snprintf(store.spool, sizeof store.spool, "%s/spool", w->dir);
    snprintf(store.letters, sizeof store.letters, "%s/letters", w->dir);
    snprintf(store.url, sizeof store.url, "sinks.web.url=http://127.0.0.1:%u/ndjson",
             store.receiver.port);
    snprintf(store.spool_set, sizeof store.spool_set, "spool.path=%s", store.spool);
    snprintf(store.letters_set, sizeof store.letters_set, "dead_letters.path=%s", store.letters);
    return 0;
}

static int teardown(void **state)
{
    receiver_stop(&store.receiver);
    return world_teardown(state);
}

#define SETTINGS                                                                                   \
    "--set", "sinks.web.type=http", "--set", store.url, "--set", store.spool_set, "--set",         \
        store.letters_set, "--set", "sinks.web.retry.min=10ms", "--set", "run.grace_period=1s",    \
        "--set", "sinks.web.request.timeout=1s", "--set", "log.format=json"

static void mode(struct world *w, const char *json)
{
    world_assert(w, receiver_command(&store.receiver, "/mode", json) == 200);
}

static uint64_t count_lines(struct slice text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\n';
    return n;
}

/* What the receiver has, each once. */
static void assert_taken(struct world *w, uint64_t expected)
{
    struct buf taken = {0}, stats = {0};

    world_assert(w, receiver_get(&store.receiver, "/taken", &taken) == 200);
    world_assert(w, receiver_get(&store.receiver, "/stats", &stats) == 200);
    if (count_lines(buf_slice(&taken)) != expected)
        world_fail(w, "the receiver has %.*s", (int)taken.len, taken.data);
    for (unsigned i = 0; expected > 0 && i < LINES; i++) {
        char needle[32];

        snprintf(needle, sizeof needle, "line %u\"", i);
        if (!memmem(taken.data, taken.len, needle, strlen(needle)))
            world_fail(w, "the receiver does not have %s", needle);
    }
    if (!memmem(stats.data, stats.len, "\"violations\": []", 16))
        world_fail(w, "the receiver says %.*s", (int)stats.len, stats.data);
    buf_finish(&taken);
    buf_finish(&stats);
}

/* Runs until all lines are in the files, and ends. */
static void run_once(struct world *w)
{
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "web");
    for (unsigned i = 0; i < LINES; i++)
        say(s, SIM_STDOUT, "line %u", i);
    world_run(w, SETTINGS, "--set", "run.grace_period=30s");
    world_wait_all(w);
}

#define assert_command(w, code, ...)                                                               \
    do {                                                                                           \
        world_command((w), __VA_ARGS__);                                                           \
        world_wait_exit((w), (code));                                                              \
    } while (0)

/* Of a command's output. */
static void assert_says(struct world *w, const char *what)
{
    char *out = world_stdout(w);

    if (!strstr(out, what))
        world_fail(w, "`%s` is not in:\n%s", what, out);
    free(out);
}

static void assert_lines(struct world *w, uint64_t expected)
{
    char *out = world_stdout(w);

    if (count_lines(slice_str(out)) != expected)
        world_fail(w, "not %llu lines:\n%s", (unsigned long long)expected, out);
    free(out);
}

static void test_what_waits_in_the_spool_is_shown_and_sent_once(void **state)
{
    struct world *w = *state;

    mode(w, "{\"do\": \"status\", \"status\": 503}");
    run_once(w);
    world_wait_log(w, "The sink tries again", NULL, 1);
    world_stop(w);
    assert_taken(w, 0);

    assert_command(w, 0, "spool", "ls", store.spool);
    assert_says(w, "web                                        40");
    assert_command(w, 0, "spool", "ls", store.spool, "--json");
    assert_says(w, "\"cursors\":[{\"sink\":\"web\",\"records\":40,");
    assert_command(w, 0, "spool", "check", store.spool);
    assert_says(w, "The spool is whole: 40 records");
    assert_command(w, 0, "spool", "cat", SETTINGS, "--sink", "web");
    assert_lines(w, LINES);
    assert_says(w, "\"line\":\"line 39\"}\n");
    assert_command(w, 0, "spool", "cat", store.spool, "--container", "nobody");
    assert_lines(w, 0);
    assert_command(w, 0, "spool", "cat", store.spool, "--container", "web");
    assert_lines(w, LINES);
    assert_command(w, 0, "spool", "cat", store.spool, "--from", "2100-01-01T00:00:00Z");
    assert_lines(w, 0);
    assert_command(w, 1, "spool", "cat", store.spool, "--sink", "nobody");

    /* It stays where it is while the receiver takes nothing. */
    assert_command(w, 1, "spool", "replay", "--sink", "web", SETTINGS);
    assert_taken(w, 0);
    mode(w, "{\"do\": \"ok\"}");
    assert_command(w, 0, "spool", "replay", "--sink", "web", SETTINGS);
    assert_taken(w, LINES);
    assert_command(w, 0, "spool", "ls", store.spool, "--json");
    assert_says(w, "\"cursors\":[{\"sink\":\"web\",\"records\":0,");
    assert_command(w, 0, "spool", "replay", "--sink", "web", SETTINGS);
    assert_taken(w, LINES);
}

static void test_what_waited_for_a_sink_that_is_gone_is_counted(void **state)
{
    struct world *w = *state;
    char url[96];

    mode(w, "{\"do\": \"status\", \"status\": 503}");
    run_once(w);
    world_wait_log(w, "The sink tries again", NULL, 1);
    world_stop(w);
    snprintf(url, sizeof url, "sinks.other.url=http://127.0.0.1:%u/ndjson", store.receiver.port);
    world_run(w, "--set", "sinks.other.type=http", "--set", url, "--set", store.spool_set, "--set",
              "log.format=json", "--set", "admin.address=127.0.0.1", "--set", "admin.port=0");
    world_wait_log(w, "Following containers", NULL, 1);
    assert_true(books_sum(w, "spool_records_forgotten_total") == LINES);
    world_stop(w);
    assert_taken(w, 0);
}

static void test_a_damaged_spool_is_found_by_check(void **state)
{
    struct world *w = *state;
    char path[192];
    int fd;

    mode(w, "{\"do\": \"status\", \"status\": 503}");
    run_once(w);
    world_wait_log(w, "The sink tries again", NULL, 1);
    world_stop(w);
    snprintf(path, sizeof path, "%s/0000000000000000.spool", store.spool);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    /* In the middle: what is damaged at the end is torn. */
    assert_int_equal(4, pwrite(fd, "\xff\xff\xff\xff", 4, 1500));
    assert_int_equal(0, close(fd));
    assert_command(w, 1, "spool", "check", store.spool);
    assert_says(w, "The spool is damaged: 39 records");
}

static void test_refused_records_are_kept_until_each_is_accepted(void **state)
{
    struct world *w = *state;
    struct stat st;

    mode(w, "{\"do\": \"status\", \"status\": 400}");
    run_once(w);
    world_wait_log(w, "Records were refused, and go to the dead letters", NULL, 1);
    world_stop(w);

    assert_command(w, 0, "dlq", "ls", store.letters, "--json");
    assert_says(w, "{\"status\":400,\"letters\":40,");
    assert_command(w, 0, "dlq", "cat", SETTINGS, "--sink", "web");
    assert_lines(w, LINES);
    assert_says(w, "\"sink\":\"web\",\"status\":400,");
    assert_command(w, 0, "dlq", "replay", store.letters);
    assert_lines(w, LINES);
    assert_says(w, "\"line\":\"line 39\"}\n");

    assert_command(w, 1, "dlq", "replay", "--sink", "web", "--remove", SETTINGS);
    assert_command(w, 0, "dlq", "ls", store.letters, "--json");
    assert_says(w, "\"letters\":40,");
    assert_taken(w, 0);
    mode(w, "{\"do\": \"ok\"}");
    assert_command(w, 0, "dlq", "replay", "--sink", "web", SETTINGS);
    assert_taken(w, LINES);
    assert_int_equal(0, stat(store.letters, &st));
    world_assert(w, receiver_command(&store.receiver, "/forget", "{}") == 200);
    assert_command(w, 0, "dlq", "replay", "--sink", "web", "--remove", SETTINGS);
    assert_taken(w, LINES);
    assert_int_equal(-1, stat(store.letters, &st));
}

/* A receiver that knows a line by its identity tells them apart, and knows them when they come
 * again. */
static void test_replayed_letters_have_their_identities(void **state)
{
    static const char poison[] =
        "{\"do\": \"items\", \"status\": 400, \"every\": 1, \"type\": \"bad\"}";
    struct world *w = *state;
    struct speaker *s;
    char url[96];

    snprintf(url, sizeof url, "sinks.web.url=http://127.0.0.1:%u", store.receiver.port);
    mode(w, poison);
    world_engine(w, NULL);
    s = world_speaker(w, "web");
    for (unsigned i = 0; i < LINES; i++)
        say_at(s, SIM_STDOUT, 1000000000, "the same line", 13);
    world_run(w, SETTINGS, "--set", "run.grace_period=30s", "--set", "sinks.web.type=elasticsearch",
              "--set", url);
    world_wait_all(w);
    world_wait_log(w, "Records were refused, and go to the dead letters", NULL, 1);
    world_stop(w);
    mode(w, "{\"do\": \"ok\"}");
    for (unsigned round = 0; round < 2; round++) {
        struct buf taken = {0};

        assert_command(w, 0, "dlq", "replay", "--sink", "web", SETTINGS, "--set",
                       "sinks.web.type=elasticsearch", "--set", url);
        world_assert(w, receiver_get(&store.receiver, "/taken", &taken) == 200);
        if (count_lines(buf_slice(&taken)) != LINES)
            world_fail(w, "the receiver has %.*s", (int)taken.len, taken.data);
        buf_finish(&taken);
    }
}

static void test_a_replay_takes_no_spool_that_is_in_use(void **state)
{
    struct world *w = *state;
    struct ringtail_proc running;

    run_once(w);
    running = w->ringtail;
    w->ringtail = (struct ringtail_proc){0};
    assert_command(w, 1, "spool", "replay", "--sink", "web", SETTINGS);
    assert_command(w, 1, "dlq", "replay", "--sink", "web", SETTINGS);
    assert_command(w, 0, "spool", "ls", SETTINGS);
    ringtail_proc_finish(&w->ringtail);
    w->ringtail = running;
    world_stop(w);
    assert_taken(w, LINES);
}

#define STORED_TEST(title, fn)                                                                     \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = setup, .teardown_func = teardown         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_TEST("what waits in the spool is shown, and sent once through its sink",
                    test_what_waits_in_the_spool_is_shown_and_sent_once),
        STORED_TEST("what waited for a sink that is gone is counted",
                    test_what_waited_for_a_sink_that_is_gone_is_counted),
        STORED_TEST("a damaged spool is found by check", test_a_damaged_spool_is_found_by_check),
        STORED_TEST("refused records are kept until each is accepted",
                    test_refused_records_are_kept_until_each_is_accepted),
        STORED_TEST("replayed dead letters have the identities that they had",
                    test_replayed_letters_have_their_identities),
        STORED_TEST("a replay takes no spool that is in use",
                    test_a_replay_takes_no_spool_that_is_in_use),
    };

    return world_main(tests);
}
