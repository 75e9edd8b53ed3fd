/* What is read about the process changes with what the process does. */
#include "ringtail/base/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

static struct process_stat stat_now(void)
{
    struct process_stat s;

    assert_int_equal(0, process_stat_read(&s));
    return s;
}

static void test_open_descriptors_are_counted(void **state)
{
    int64_t before = stat_now().descriptors_open;
    int fds[10];

    (void)state;
    assert_true(before > 0);
    for (size_t i = 0; i < 10; i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(before + 10, stat_now().descriptors_open);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(0, close(fds[i]));
    assert_int_equal(before, stat_now().descriptors_open);
}

static void *wait_for_lock(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

static void test_threads_are_counted(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[2];
    int64_t first;

    (void)state;
    pthread_mutex_lock(&lock);
    /* A sanitizer starts one of its own with the first. */
    assert_int_equal(0, pthread_create(&threads[0], NULL, wait_for_lock, &lock));
    first = stat_now().threads;
    assert_int_equal(0, pthread_create(&threads[1], NULL, wait_for_lock, &lock));
    assert_int_equal(first + 1, stat_now().threads);
    pthread_mutex_unlock(&lock);
    assert_int_equal(0, pthread_join(threads[0], NULL));
    assert_int_equal(0, pthread_join(threads[1], NULL));
}

static void test_memory_that_was_touched_is_resident(void **state)
{
    enum { BYTES = 64 << 20 };
    int64_t before = stat_now().resident_bytes;
    char *memory = malloc(BYTES);

    (void)state;
    assert_non_null(memory);
    memset(memory, 1, BYTES);
    assert_true(stat_now().resident_bytes - before > BYTES / 2);
    free(memory);
}

static void *work(void *arg)
{
    volatile uint64_t *turns = arg;

    for (uint64_t i = 0; i < 1000000; i++)
        *turns = *turns + i;
    return NULL;
}

static void test_cpu_time_is_that_of_every_thread(void **state)
{
    int64_t before = stat_now().cpu_ns, first;
    uint64_t turns = 0;
    pthread_t thread;

    (void)state;
    assert_true(before > 0);
    (void)work(&turns);
    first = stat_now().cpu_ns;
    assert_true(first > before);
    assert_int_equal(0, pthread_create(&thread, NULL, work, &turns));
    assert_int_equal(0, pthread_join(thread, NULL));
    assert_true(stat_now().cpu_ns > first);
}

static void test_a_name_with_parentheses_and_blanks_confuses_nothing(void **state)
{
    int64_t threads = stat_now().threads;
    char name[16];

    (void)state;
    assert_int_equal(0, prctl(PR_GET_NAME, name));
    assert_int_equal(0, prctl(PR_SET_NAME, "a) R 1 2 (b 3"));
    assert_int_equal(threads, stat_now().threads);
    assert_true(stat_now().resident_bytes > 4096);
    assert_int_equal(0, prctl(PR_SET_NAME, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_with_parentheses_and_blanks_confuses_nothing),
        cmocka_unit_test(test_open_descriptors_are_counted),
        cmocka_unit_test(test_threads_are_counted),
        cmocka_unit_test(test_memory_that_was_touched_is_resident),
        cmocka_unit_test(test_cpu_time_is_that_of_every_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
