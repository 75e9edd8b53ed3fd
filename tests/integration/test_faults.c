/*
 * Everything that ringtail asks for fails in turn (faulty.h), in short lives with a file, a
 * receiver and a spool: it does not crash, hang or leak, and a life without faults behind them
 * leaves nothing out, nowhere, and doubles nothing in the file.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "support/receiver.h"
#include "support/world.h"

#define ITEMS_MAX 100000
#define ITEM "item number "

/* Lives with a fault between two without. */
#define LIVES_BETWEEN 5

/* A receiver, and how to send to it and see what it has. */
struct there {
    struct receiver receiver;
    const char *const *options; /* of ringtail; %u is the port of the receiver's in the first */
    const char *taken;
    bool goes_away; /* each fault is met twice: while the receiver takes nothing, and behind that */
};

static bool has_ended_or_written_all(struct world *w, void *ctx)
{
    const char *why;

    return ringtail_proc_poll(&w->ringtail) || ndjson_check_is_complete(w->check, &why);
}

static void run(struct world *w, const struct there *there, const char *program, const char *fault)
{
    char address[128], spool[128];

    assert_int_equal(0, setenv("RINGTAIL_BIN", program, 1));
    assert_int_equal(0, setenv("RINGTAIL_FAULT", fault, 1));
    (void)snprintf(address, sizeof address, there->options[0], there->receiver.port);
    (void)snprintf(spool, sizeof spool, "spool.path=%s/spool", w->dir);
    world_run(w, "--set", address, "--set", there->options[1], "--set", there->options[2], "--set",
              spool, "--set", "sinks.there.request.linger=0", "--set", "sinks.there.retry.min=10ms",
              "--set", "sinks.there.retry.max=100ms", "--set", "sinks.there.retry.suspended=1s",
              "--set", "run.grace_period=2s", "--set", "positions.interval=100ms", "--set",
              "output.retry=10ms", "--set", "engine.reconnect_max=100ms");
}

struct sweep {
    struct world *world;
    struct there *there;
    char program[256]; /* ringtail without faults */
    struct speaker *speakers[3];
    struct random random;
    unsigned items, lives, first;
};

static bool has_taken_all(struct world *w, void *ctx)
{
    static unsigned char taken[ITEMS_MAX];
    const struct sweep *s = ctx;
    unsigned count = 0;
    struct buf page = {0};
    const char *at;

    memset(taken, 0, s->items);
    assert_int_equal(200, receiver_get(&s->there->receiver, s->there->taken, &page));
    at = buf_cstr(&page);
    while ((at = strstr(at, ITEM))) {
        unsigned long n = strtoul(at + strlen(ITEM), NULL, 10);

        assert_true(n < s->items);
        count += !taken[n];
        taken[n] = 1;
        at++;
    }
    buf_finish(&page);
    return count == s->items;
}

static void say_items(struct sweep *s, unsigned count)
{
    assert_true(s->items + count <= ITEMS_MAX);
    for (unsigned n = 0; n < count; n++)
        say(s->speakers[n % ARRAY_SIZE(s->speakers)], SIM_STDOUT, ITEM "%u", s->items++);
}

static void set_mode(struct sweep *s, const char *json)
{
    if (s->there->goes_away)
        assert_int_equal(200, receiver_command(&s->there->receiver, "/mode", json));
}

/* It has to end by itself or when it is told to, and in order. */
static void live_once_with(struct sweep *s, const char *fault)
{
    struct world *w = s->world;

    say_items(s, 10);
    run(w, s->there, RINGTAIL_FAULTY, fault);
    world_wait(w, fault, has_ended_or_written_all, NULL);
    ringtail_proc_signal(&w->ringtail, SIGTERM);
    world_wait(w, fault, world_has_ended, NULL);
    if (ringtail_proc_has_report(&w->ringtail) || w->ringtail.code >= 128)
        world_fail(w, "%s: ringtail ended with %d", fault, w->ringtail.code);
}

static void live_with(struct sweep *s, const char *fault)
{
    if (s->there->goes_away) {
        set_mode(s, "{\"do\": \"status\", \"status\": 503}");
        live_once_with(s, fault);
        set_mode(s, "{\"do\": \"ok\"}");
    }
    live_once_with(s, fault);
}

/* What the lives before it have left out, anywhere, it brings. */
static void live_without(struct sweep *s)
{
    struct world *w = s->world;

    run(w, s->there, s->program, "");
    say_items(s, 1);
    world_wait_all(w);
    world_wait(w, "all items at the receiver", has_taken_all, s);
    world_stop(w);
    w->passed = false;
}

struct kind {
    const char *name;
    unsigned shallow; /* so many of its calls fail when not each does */
    unsigned calls;   /* in a life without a fault */
};

static void count_calls(struct sweep *s, struct kind *kinds, size_t count)
{
    char path[128], name[16];
    unsigned calls;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/counts", s->world->dir);
    assert_int_equal(0, setenv("RINGTAIL_FAULT_COUNTS", path, 1));
    live_with(s, "none");
    assert_int_equal(0, unsetenv("RINGTAIL_FAULT_COUNTS"));
    file = fopen(path, "re");
    assert_non_null(file);
    while (fscanf(file, "%15s %u", name, &calls) == 2)
        for (size_t i = 0; i < count; i++)
            if (strcmp(kinds[i].name, name) == 0)
                kinds[i].calls = calls;
    assert_int_equal(0, fclose(file));
}

static void strike(struct sweep *s, const char *kind, unsigned call, unsigned times)
{
    char fault[64];

    (void)snprintf(fault, sizeof fault, "%s:%u:%u", kind, call, times);
    live_with(s, fault);
    if (++s->lives % LIVES_BETWEEN == 0)
        live_without(s);
}

/* Some calls of each kind fail, alone or with those behind them; in the full run every one does (of
 * the first kind from RINGTAIL_TEST_FIRST_CALL on). */
static void sweep(struct sweep *s, struct kind *kinds, size_t count)
{
    bool is_full = getenv("RINGTAIL_TEST_FULL");

    count_calls(s, kinds, count);
    for (size_t k = 0; k < count; k++) {
        const struct kind *kind = &kinds[k];
        unsigned some = is_full ? kind->calls / 20 : MIN(kind->shallow, kind->calls);

        for (unsigned i = k > 0 ? 0 : s->first; i < kind->calls && is_full; i++)
            strike(s, kind->name, i, 1);
        for (unsigned i = 0; i < some; i++)
            strike(s, kind->name, (unsigned)random_below(&s->random, kind->calls),
                   is_full || random_below(&s->random, 2) ? 20 : 1);
        live_without(s);
        print_message("%s: %u of %u calls\n", kind->name, is_full ? kind->calls : some,
                      kind->calls);
    }
}

static void begin(struct sweep *s, struct world *w, struct there *there)
{
    const char *seed = getenv("RINGTAIL_TEST_FIRST_SEED");
    const char *first = getenv("RINGTAIL_TEST_FIRST_CALL");

    *s = (struct sweep){.world = w, .there = there};
    (void)snprintf(s->program, sizeof s->program, "%s", getenv("RINGTAIL_BIN"));
    random_seed(&s->random, seed ? strtoull(seed, NULL, 10) : 1);
    s->first = first ? (unsigned)strtoul(first, NULL, 10) : 0;
    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(s->speakers); i++)
        s->speakers[i] = world_speaker(w, NULL);
}

static void end(struct sweep *s)
{
    s->world->passed = true;
    receiver_stop(&s->there->receiver);
    assert_int_equal(0, setenv("RINGTAIL_BIN", s->program, 1));
}
static void with_http(struct world *w, bool goes_away, struct kind *kinds, size_t count)
{
    static const char *const options[] = {"sinks.there.url=http://127.0.0.1:%u/ndjson",
                                          "sinks.there.type=http", "sinks.there.in_flight=1"};
    struct there there = {.options = options, .taken = "/taken", .goes_away = goes_away};
    struct sweep s;

    if (receiver_start(&there.receiver, NULL) < 0)
        skip();
    begin(&s, w, &there);
    sweep(&s, kinds, count);
    end(&s);
}

static void test_whatever_fails_nothing_is_acknowledged_falsely(void **state)
{
    struct kind kinds[] = {
        {.name = "malloc", .shallow = 6}, {.name = "write", .shallow = 3},
        {.name = "fsync", .shallow = 2},  {.name = "open", .shallow = 2},
        {.name = "rename", .shallow = 1}, {.name = "curl", .shallow = 4},
    };

    with_http(*state, false, kinds, ARRAY_SIZE(kinds));
}

static void test_while_the_spool_is_in_use(void **state)
{
    struct kind kinds[] = {
        {.name = "malloc", .shallow = 3}, {.name = "write", .shallow = 2},
        {.name = "open", .shallow = 2},   {.name = "unlink", .shallow = 1},
        {.name = "read", .shallow = 1},
    };

    with_http(*state, true, kinds, ARRAY_SIZE(kinds));
}

static void test_what_io_uring_refuses(void **state)
{
    struct kind kinds[] = {{.name = "sqe", .shallow = 5}, {.name = "uring", .shallow = 5}};

    with_http(*state, false, kinds, ARRAY_SIZE(kinds));
}

static void test_system_calls_that_fail(void **state)
{
    const char *backend = getenv("RINGTAIL_TEST_BACKEND");
    struct kind kinds[] = {{.name = "syscall", .shallow = 8}};

    assert_int_equal(0, setenv("RINGTAIL_TEST_BACKEND", "epoll", 1));
    with_http(*state, false, kinds, ARRAY_SIZE(kinds));
    assert_int_equal(0, backend ? setenv("RINGTAIL_TEST_BACKEND", backend, 1)
                                : unsetenv("RINGTAIL_TEST_BACKEND"));
}

static void test_what_librdkafka_refuses(void **state)
{
    static const char *const options[] = {"sinks.there.brokers=127.0.0.1:%u",
                                          "sinks.there.type=kafka", "sinks.there.topic=items"};
    struct there there = {.options = options, .taken = "/taken?of=items&doubles"};
    struct kind kinds[] = {{.name = "kafka", .shallow = 4}};
    struct sweep s;

    assert_int_equal(0, receiver_start_program(&there.receiver, "python3", "kafka.py", NULL));
    begin(&s, *state, &there);
    sweep(&s, kinds, ARRAY_SIZE(kinds));
    end(&s);
}

static bool has_ended_or_follows(struct world *w, void *ctx)
{
    return ringtail_proc_poll(&w->ringtail) ||
           ringtail_proc_log_count(&w->ringtail, "Following containers", NULL) > 0;
}

/* What has been read is not read again because a file could not be opened, say. */
static void test_positions_outlive_a_start_that_fails(void **state)
{
    enum { START_CALLS = 18 }; /* of some fourteen up to when the positions are there */
    char program[256], fault[32];
    struct world *w = *state;
    struct speaker *s;

    (void)snprintf(program, sizeof program, "%s", getenv("RINGTAIL_BIN"));
    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    say_many(s, "before", 10);
    world_run(w, "--backend", "epoll");
    world_wait_all(w);
    world_stop(w);
    assert_int_equal(0, setenv("RINGTAIL_BIN", RINGTAIL_FAULTY, 1));
    for (unsigned call = 0; call < START_CALLS; call++) {
        (void)snprintf(fault, sizeof fault, "syscall:%u:1", call);
        assert_int_equal(0, setenv("RINGTAIL_FAULT", fault, 1));
        world_run(w, "--backend", "epoll");
        world_wait(w, fault, has_ended_or_follows, NULL);
        ringtail_proc_signal(&w->ringtail, SIGTERM);
        world_wait(w, fault, world_has_ended, NULL);
        if (ringtail_proc_has_report(&w->ringtail) || w->ringtail.code >= 128)
            world_fail(w, "%s: ringtail ended with %d", fault, w->ringtail.code);
    }
    assert_int_equal(0, setenv("RINGTAIL_BIN", program, 1));
    say_many(s, "behind", 10);
    world_run(w, "--backend", "epoll");
    world_wait_log(w, "Positions loaded", NULL, 1);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_start_that_fails_lands_what_it_has_begun(void **state)
{
    struct world *w = *state;
    char spool[128];

    world_engine(w, NULL);
    (void)snprintf(spool, sizeof spool, "spool.path=%s/spool", w->dir);
    world_run(w, "--set", "sinks.there.type=http", "--set", "sinks.there.url=http://127.0.0.1:1/",
              "--set", spool, "--set", "positions.path=/dev/null/nowhere/positions");
    world_wait_exit(w, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("whatever fails nothing is acknowledged falsely",
                   test_whatever_fails_nothing_is_acknowledged_falsely),
        WORLD_TEST("nothing is while the spool is in use", test_while_the_spool_is_in_use),
        WORLD_TEST("nothing is when io_uring refuses what it is asked for",
                   test_what_io_uring_refuses),
        WORLD_TEST("nothing is when system calls fail, on epoll", test_system_calls_that_fail),
        WORLD_TEST("nothing is when librdkafka refuses what it is asked for",
                   test_what_librdkafka_refuses),
        WORLD_TEST("positions outlive a start that fails",
                   test_positions_outlive_a_start_that_fails),
        WORLD_TEST("a start that fails lands what it has begun",
                   test_a_start_that_fails_lands_what_it_has_begun),
    };

    return world_main(tests);
}
