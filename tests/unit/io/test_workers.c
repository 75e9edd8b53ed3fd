/* src/io/workers.h: threads that come with the work, do each piece once, and go again. */
#include "io/workers.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define OPS 200

struct pool {
    struct workers workers;
    struct op ops[OPS];
    struct list taken;
    unsigned taken_count;
};

static _Atomic unsigned performed, at_once, at_once_max;
static _Atomic bool gate_is_shut;

/* As often as was asked for, and no faster than the gate lets it. */
static int perform(struct op *op)
{
    unsigned now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&at_once_max);

    while (now > most && !atomic_compare_exchange_weak(&at_once_max, &most, now)) {
    }
    while (atomic_load(&gate_is_shut))
        usleep(100);
    op->target++;
    atomic_fetch_add(&performed, 1);
    atomic_fetch_sub(&at_once, 1);
    return -op->target;
}

static int setup(void **state)
{
    struct pool *p = calloc(1, sizeof *p);

    assert_non_null(p);
    atomic_store(&performed, 0);
    atomic_store(&at_once_max, 0);
    atomic_store(&gate_is_shut, false);
    list_init(&p->taken);
    p->workers.perform = perform;
    p->workers.notify_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(p->workers.notify_fd >= 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pool *p = *state;

    workers_finish(&p->workers);
    (void)close(p->workers.notify_fd);
    free(p);
    return 0;
}

static void submit(struct pool *p, size_t from, size_t count)
{
    struct list ops;

    list_init(&ops);
    for (size_t i = from; i < from + count; i++) {
        p->ops[i] = (struct op){.in_flight = true};
        list_append(&ops, &p->ops[i].link);
    }
    assert_int_equal(0, workers_submit(&p->workers, &ops));
    assert_true(list_is_empty(&ops));
}

/* Sleeps until it is told, and takes: a result that nobody is told of would hang here. */
static void take_until(struct pool *p, unsigned count)
{
    while (p->taken_count < count) {
        struct pollfd told = {.fd = p->workers.notify_fd, .events = POLLIN};
        uint64_t times;

        assert_int_equal(1, poll(&told, 1, -1));
        assert_int_equal(sizeof times, read(told.fd, &times, sizeof times));
        workers_take(&p->workers, &p->taken);
        while (!list_is_empty(&p->taken)) {
            struct op *op = container_of(list_pop(&p->taken), struct op, link);

            assert_int_equal(1, op->target);
            assert_int_equal(-1, op->res);
            p->taken_count++;
        }
    }
}

static void test_each_operation_is_performed_once_and_told(void **state)
{
    struct pool *p = *state;

    assert_int_equal(0, workers_init(&p->workers, 3));
    assert_int_equal(0, workers_count(&p->workers)); /* without work there are none */
    for (size_t i = 0; i < OPS / 2; i++) {
        submit(p, i, 1);
        take_until(p, (unsigned)i + 1);
    }
    submit(p, OPS / 2, OPS / 2);
    take_until(p, OPS);
    assert_int_equal(OPS, atomic_load(&performed));
    assert_in_range(workers_count(&p->workers), 1, 3);
}

static void test_no_more_work_at_once_than_there_may_be_threads(void **state)
{
    struct pool *p = *state;

    assert_int_equal(0, workers_init(&p->workers, 3));
    atomic_store(&gate_is_shut, true);
    submit(p, 0, OPS);
    while (atomic_load(&at_once) < 3) /* all of them come */
        usleep(100);
    atomic_store(&gate_is_shut, false);
    take_until(p, OPS);
    assert_int_equal(3, atomic_load(&at_once_max));
}

static void test_what_has_begun_is_not_taken_back(void **state)
{
    struct pool *p = *state;

    assert_int_equal(0, workers_init(&p->workers, 1));
    atomic_store(&gate_is_shut, true);
    submit(p, 0, 3);
    while (atomic_load(&at_once) < 1)
        usleep(100);
    assert_false(workers_take_back(&p->workers, &p->ops[0]));
    assert_true(workers_take_back(&p->workers, &p->ops[1]));
    atomic_store(&gate_is_shut, false);
    take_until(p, 2);
    assert_false(workers_take_back(&p->workers, &p->ops[2])); /* it has ended */
    assert_int_equal(2, atomic_load(&performed));
    assert_int_equal(0, p->ops[1].target);
}

static void test_idle_threads_end_and_new_work_makes_new_ones(void **state)
{
    struct pool *p = *state;

    assert_int_equal(0, workers_init(&p->workers, 2));
    p->workers.idle_s = 0;
    for (unsigned round = 1; round <= 20; round++) {
        submit(p, 0, 5);
        take_until(p, round * 5);
        while (workers_count(&p->workers) > 0)
            usleep(100);
    }
    assert_int_equal(100, atomic_load(&performed));
}

static void test_a_pool_that_was_never_made_is_finished(void **state)
{
    struct pool *p = *state;

    workers_finish(&p->workers);
}

#define WORKERS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORKERS_TEST(test_each_operation_is_performed_once_and_told),
        WORKERS_TEST(test_no_more_work_at_once_than_there_may_be_threads),
        WORKERS_TEST(test_what_has_begun_is_not_taken_back),
        WORKERS_TEST(test_idle_threads_end_and_new_work_makes_new_ones),
        WORKERS_TEST(test_a_pool_that_was_never_made_is_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
