/*
 * Everything that ringtail asks for fails in turn, in a short life with a file, a receiver and a
 * spool: it does not crash, hang or leak, and a run without faults behind it leaves nothing out,
 * nowhere, and doubles nothing in the file.
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

static struct receiver receiver;

static bool has_ended_or_written_all(struct world *w, void *ctx)
{
    const char *why;

    return ringtail_proc_poll(&w->ringtail) || ndjson_check_is_complete(w->check, &why);
}

static void run(struct world *w, const char *program, const char *fault)
{
    char url[96], spool[128];

    assert_int_equal(0, setenv("RINGTAIL_BIN", program, 1));
    assert_int_equal(0, setenv("RINGTAIL_FAULT", fault, 1));
    (void)snprintf(url, sizeof url, "sinks.there.url=http://127.0.0.1:%u/ndjson", receiver.port);
    (void)snprintf(spool, sizeof spool, "spool.path=%s/spool", w->dir);
    world_run(w, "--set", "sinks.there.type=http", "--set", url, "--set", spool, "--set",
              "sinks.there.request.linger=0", "--set", "sinks.there.retry.min=10ms", "--set",
              "sinks.there.retry.max=100ms", "--set", "run.grace_period=2s", "--set",
              "positions.interval=100ms");
}

static bool has_taken_all(struct world *w, void *ctx)
{
    static unsigned char taken[ITEMS_MAX];
    unsigned items = *(unsigned *)ctx, count = 0;
    struct buf page = {0};
    const char *at;

    memset(taken, 0, items);
    assert_int_equal(200, receiver_get(&receiver, "/taken", &page));
    at = buf_cstr(&page);
    while ((at = strstr(at, ITEM))) {
        unsigned long n = strtoul(at + strlen(ITEM), NULL, 10);

        assert_true(n < items);
        count += !taken[n];
        taken[n] = 1;
        at++;
    }
    buf_finish(&page);
    return count == items;
}

static void test_whatever_fails_nothing_is_acknowledged_falsely(void **state)
{
    static const struct {
        const char *kind;
        unsigned most; /* calls in such a life */
        unsigned shallow;
    } kinds[] = {
        {"malloc", 2500, 8}, {"write", 12, 4}, {"fsync", 8, 2}, {"open", 6, 2},
        {"rename", 3, 1},    {"unlink", 2, 1}, {"read", 2, 1},
    };
    bool is_full = getenv("RINGTAIL_TEST_FULL");
    const char *seed = getenv("RINGTAIL_TEST_FIRST_SEED");
    char *program = strdup(getenv("RINGTAIL_BIN"));
    struct world *w = *state;
    struct speaker *s[3];
    struct random random;
    unsigned items = 0;

    if (receiver_start(&receiver, NULL) < 0)
        skip();
    random_seed(&random, seed ? strtoull(seed, NULL, 10) : 1);
    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        s[i] = world_speaker(w, NULL);
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (unsigned i = 0; i < kinds[k].shallow * (is_full ? 40 : 1); i++) {
            char fault[64];

            (void)snprintf(fault, sizeof fault, "%s:%u:%u", kinds[k].kind,
                           (unsigned)random_below(&random, kinds[k].most),
                           (unsigned)random_below(&random, 2) ? 1 : 20);
            for (unsigned n = 0; n < 10; n++)
                say(s[n % ARRAY_SIZE(s)], SIM_STDOUT, ITEM "%u", items++);
            run(w, RINGTAIL_FAULTY, fault);
            world_wait(w, fault, has_ended_or_written_all, NULL);
            ringtail_proc_signal(&w->ringtail, SIGTERM);
            world_wait(w, fault, world_has_ended, NULL);
            if (ringtail_proc_has_report(&w->ringtail) || w->ringtail.code >= 128)
                world_fail(w, "%s: ringtail ended with %d", fault, w->ringtail.code);
            run(w, program, "");
            say(s[0], SIM_STDOUT, ITEM "%u", items++);
            world_wait_all(w);
            world_wait(w, "all items at the receiver", has_taken_all, &items);
            world_stop(w);
            w->passed = false;
        }
    }
    w->passed = true;
    receiver_stop(&receiver);
    free(program);
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
        WORLD_TEST("a start that fails lands what it has begun",
                   test_a_start_that_fails_lands_what_it_has_begun),
    };

    return world_main(tests);
}
