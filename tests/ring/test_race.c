/*
 * Cancels and timeouts that race arrivals: whatever wins, every byte is received once and in order.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#define RACES 100000
#define CANCELS_PER_ARRIVAL 4
#define WRITE_BYTES_MAX 200

struct race;

struct racer {
    struct op op;
    struct race *race;
    struct link link;
    uint32_t id;
    uint64_t received;
    uint64_t sent; /* the writer's, until it has ended */
};

struct race {
    struct ring_fixture f;
    struct racer *racers;
    unsigned count, ended_count;
    int64_t timeout_ms;
    unsigned cancels_left; /* to be asked for; 0 in a race of timeouts */
    unsigned cancels_due;  /* for the bytes that came: without arrivals there is nothing to race */
    uint64_t goal;         /* receives that ended without bytes */
    uint64_t without_bytes, with_bytes;
    struct random random;
    _Atomic bool over;
};

static void racer_done(struct op *op, int res)
{
    struct racer *racer = container_of(op, struct racer, op);
    struct race *race = racer->race;

    assert_int_equal(0, ring_starting);
    if (res > 0) {
        assert_true(pattern_holds(racer->id, racer->received, op->received.data, (size_t)res));
        racer->received += (uint64_t)res;
        race->cancels_due += CANCELS_PER_ARRIVAL;
        race->with_bytes++;
    } else if (res == 0) {
        race->ended_count++;
        return;
    } else {
        assert_true(res == -ECANCELED || res == -ETIME);
        race->without_bytes++;
    }
    START(ring_recv(race->f.ring, op, racer->link.sock, race->timeout_ms));
}

static void *write_all_over(void *ctx)
{
    struct race *race = ctx;
    struct random random;
    char data[WRITE_BYTES_MAX];

    random_seed(&random, 7);
    for (unsigned i = 1; !atomic_load(&race->over); i++) {
        struct racer *racer = &race->racers[random_below(&random, race->count)];
        size_t len = 1 + (size_t)random_below(&random, sizeof data);

        pattern_fill(racer->id, racer->sent, data, len);
        write_all(racer->link.peer, data, len);
        racer->sent += len;
        /* About as long as a timeout, so that either may win. */
        if (race->goal > 0 && i % (race->count / 4) == 0)
            usleep((useconds_t)random_below(&random, 2000));
    }
    for (unsigned i = 0; i < race->count; i++) {
        (void)close(race->racers[i].link.peer);
        race->racers[i].link.peer = -1;
    }
    return NULL;
}

static bool race_is_over(void *ctx)
{
    struct race *race = ctx;

    while (race->cancels_due > 0 && race->cancels_left > 0) {
        struct racer *racer = &race->racers[random_below(&race->random, race->count)];

        race->cancels_due--;
        if (op_in_flight(&racer->op) && racer->op.cancelled_at_mono_ns == 0) {
            START(ring_cancel(race->f.ring, &racer->op));
            race->cancels_left--;
        }
    }
    /* Timeouts alone, before the writer has its turn, are no race. */
    if (race->cancels_left == 0 && race->without_bytes >= race->goal &&
        race->with_bytes >= race->count)
        atomic_store(&race->over, true);
    return race->ended_count == race->count;
}

static void run_race(const struct ring_options *options, unsigned count, int64_t timeout_ms,
                     unsigned cancels, uint64_t goal)
{
    struct race race = {
        .count = count, .timeout_ms = timeout_ms, .cancels_left = cancels, .goal = goal};
    uint64_t bytes = 0;
    pthread_t thread;

    random_seed(&race.random, 11);
    fixture_open(&race.f, options);
    race.racers = calloc(count, sizeof *race.racers);
    assert_non_null(race.racers);
    for (unsigned i = 0; i < count; i++) {
        race.racers[i].op.done = racer_done;
        race.racers[i].race = &race;
        race.racers[i].id = i;
        link_open(&race.f, &race.racers[i].link);
        START(ring_recv(race.f.ring, &race.racers[i].op, race.racers[i].link.sock, timeout_ms));
    }
    assert_int_equal(0, pthread_create(&thread, NULL, write_all_over, &race));
    run_until(&race.f, race_is_over, &race);
    assert_int_equal(0, pthread_join(thread, NULL));
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(race.racers[i].sent, race.racers[i].received);
        bytes += race.racers[i].sent;
        link_close(&race.f, &race.racers[i].link);
    }
    assert_true(bytes > 0);
    if (cancels > 0)
        assert_true(ring_stats_get(race.f.ring)->cancels > 0);
    else
        assert_true(ring_stats_get(race.f.ring)->timeouts >= goal);
    free(race.racers);
    fixture_close(&race.f);
}

static void test_cancels_that_race_arrivals_lose_and_double_nothing(void **state)
{
    const struct ring_options options = {
        .entries = 256, .sockets_max = 64, .buffers_count = 32, .buffer_bytes = 4096};

    run_race(&options, 32, TEST_RUNS_FOREVER_MS, scaled(RACES), 0);
}

static void test_cancels_without_a_timeout_beside_them_lose_nothing_either(void **state)
{
    const struct ring_options options = {
        .entries = 256, .sockets_max = 64, .buffers_count = 32, .buffer_bytes = 4096};

    run_race(&options, 32, 0, scaled(RACES / 5), 0);
}

static void test_timeouts_that_race_arrivals_lose_and_double_nothing(void **state)
{
    const struct ring_options options = {
        .entries = 1024, .sockets_max = 512, .buffers_count = 64, .buffer_bytes = 4096};

    run_race(&options, 500, 1, 0, scaled(RACES));
}

static void test_cancels_and_timeouts_race_for_too_few_buffers(void **state)
{
    const struct ring_options options = {
        .entries = 64, .sockets_max = 128, .buffers_count = 2, .buffer_bytes = 64};

    run_race(&options, 100, 1, scaled(RACES / 5), scaled(RACES / 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancels_that_race_arrivals_lose_and_double_nothing),
        cmocka_unit_test(test_cancels_without_a_timeout_beside_them_lose_nothing_either),
        cmocka_unit_test(test_timeouts_that_race_arrivals_lose_and_double_nothing),
        cmocka_unit_test(test_cancels_and_timeouts_race_for_too_few_buffers),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
