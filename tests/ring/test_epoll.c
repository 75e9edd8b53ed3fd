/*
 * What only the epoll backend can get wrong: its own descriptors, deadlines and threads, and pipes
 * that others share. Everything that both have to do is in the other programs here, which run on
 * it, too.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

/* ---- sockets ---- */

static int open_socket(struct ring_fixture *f)
{
    struct waited w;

    waited_init(&w);
    START(ring_socket(f->ring, &w.op));
    return run_op(f, &w);
}

static void close_socket(struct ring_fixture *f, int sock)
{
    struct waited w;

    waited_init(&w);
    START(ring_close_socket(f->ring, &w.op, sock));
    assert_int_equal(0, run_op(f, &w));
}

/* The lowest number that is free: with a limit of as much not one more fits. */
static rlim_t next_descriptor(void)
{
    int fd = dup(STDIN_FILENO);

    assert_true(fd >= 0);
    (void)close(fd);
    return (rlim_t)fd;
}

static void test_a_process_without_descriptors_left_gets_its_socket_later(void **state)
{
    struct ring_fixture *f = *state;
    struct rlimit limit, low;
    int sock;

    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
    low = (struct rlimit){.rlim_cur = next_descriptor(), .rlim_max = limit.rlim_max};
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &low));
    for (int i = 0; i < 100; i++)
        assert_int_equal(-EMFILE, open_socket(f));
    assert_int_equal(0, ring_stats_get(f->ring)->sockets_open);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limit));
    sock = open_socket(f);
    assert_int_equal(0, sock); /* no number of the table was lost */
    close_socket(f, sock);
}

static void test_a_socket_refused_by_a_full_backlog_connects_when_there_is_room(void **state)
{
    struct ring_fixture *f = *state;
    int socks[8], count = 0, res = 0, peer;
    struct waited w;

    assert_int_equal(0, listen(f->listener, 0));
    waited_init(&w);
    while (res == 0) {
        assert_true(count < (int)ARRAY_SIZE(socks));
        socks[count] = open_socket(f);
        START(ring_connect(f->ring, &w.op, socks[count], &f->addr));
        res = run_op(f, &w);
        count++;
    }
    assert_int_equal(-EAGAIN, res);
    peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    (void)close(peer);
    START(ring_connect(f->ring, &w.op, socks[count - 1], &f->addr));
    assert_int_equal(0, run_op(f, &w));
    /* And is watched: its first line comes. */
    while (count > 1) {
        close_socket(f, socks[0]);
        memmove(socks, socks + 1, (size_t)--count * sizeof socks[0]);
    }
    for (;;) {
        peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
        assert_true(peer >= 0);
        if (send(peer, "hello", 5, MSG_NOSIGNAL) == 5)
            break;
        (void)close(peer);
    }
    START(ring_recv(f->ring, &w.op, socks[0], TEST_RUNS_FOREVER_MS));
    assert_int_equal(5, run_op(f, &w));
    (void)close(peer);
    close_socket(f, socks[0]);
}

static void test_numbers_of_closed_sockets_are_used_again(void **state)
{
    struct ring_fixture *f = *state;
    struct link links[8];
    struct waited w;

    waited_init(&w);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
            link_open(f, &links[i]);
            assert_in_range(links[i].sock, 0, ARRAY_SIZE(links) - 1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
            write_all(links[i].peer, "mine", 4);
            START(ring_recv(f->ring, &w.op, links[i].sock, TEST_RUNS_FOREVER_MS));
            assert_int_equal(4, run_op(f, &w));
        }
        for (size_t i = 0; i < ARRAY_SIZE(links); i++)
            link_close(f, &links[(i * 3 + (size_t)round) % ARRAY_SIZE(links)]);
    }
}

static void test_a_send_goes_on_when_the_peer_has_read(void **state)
{
    static char block[1 << 20];
    struct ring_fixture *f = *state;
    struct waited w;
    struct link link;
    size_t sent = 0, received = 0;
    char got[4096];
    ssize_t n;
    int res;

    link_open(f, &link);
    waited_init(&w);
    pattern_fill(3, 0, block, sizeof block);
    do {
        START(ring_send(f->ring, &w.op, link.sock, slice_of(block + sent, 4096), 1));
        res = run_op(f, &w);
        sent += (size_t)MAX(res, 0);
    } while (res > 0);
    assert_int_equal(-ETIME, res);
    START(ring_send(f->ring, &w.op, link.sock, slice_of(block + sent, 4096), TEST_RUNS_FOREVER_MS));
    while (received < sent && (n = recv(link.peer, got, sizeof got, 0)) > 0) {
        assert_true(pattern_holds(3, received, got, (size_t)n));
        received += (size_t)n;
    }
    res = run_op(f, &w);
    assert_true(res > 0);
    while (received < sent + (size_t)res && (n = recv(link.peer, got, sizeof got, 0)) > 0) {
        assert_true(pattern_holds(3, received, got, (size_t)n));
        received += (size_t)n;
    }
    assert_int_equal(sent + (size_t)res, received);
    link_close(f, &link);
}

/* ---- deadlines ---- */

#define TIMERS 600

struct timers {
    struct waited each[TIMERS];
    int64_t after_ms[TIMERS];
};

static bool timers_have_ended(void *ctx)
{
    struct timers *t = ctx;

    for (size_t i = 0; i < TIMERS; i++)
        if (op_in_flight(&t->each[i].op))
            return false;
    return true;
}

static void test_hundreds_of_deadlines_end_in_their_order_with_some_taken_out(void **state)
{
    struct ring_fixture *f = *state;
    struct timers *t = calloc(1, sizeof *t);
    struct random random;

    assert_non_null(t);
    random_seed(&random, 3);
    for (size_t i = 0; i < TIMERS; i++) {
        waited_init(&t->each[i]);
        t->after_ms[i] = (int64_t)random_below(&random, 60);
        START(ring_timer(f->ring, &t->each[i].op, t->after_ms[i]));
        if (i % 3 == 2) /* one of those before, in no order */
            START(ring_cancel(f->ring, &t->each[random_below(&random, i)].op));
    }
    run_until(f, timers_have_ended, t);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(1, t->each[i].calls);
        for (size_t k = 0; k < i; k++)
            if (t->each[i].res == -ETIME && t->each[k].res == -ETIME &&
                t->each[k].op.started_at_mono_ns + t->after_ms[k] * 1000000 <
                    t->each[i].op.started_at_mono_ns + t->after_ms[i] * 1000000)
                assert_true(t->each[k].turn < t->each[i].turn);
    }
    free(t);
}

/* ---- threads ---- */

struct fifo {
    char path[64];
    struct waited opening; /* waits for a reader, and has a thread for itself */
};

static void fifo_begin(struct ring_fixture *f, struct fifo *fifo)
{
    snprintf(fifo->path, sizeof fifo->path, "%s/fifo", f->dir);
    assert_int_equal(0, mkfifo(fifo->path, 0600));
    waited_init(&fifo->opening);
    START(ring_open(f->ring, &fifo->opening.op, f->dir_fd, "fifo", O_WRONLY, 0, 0));
}

static void fifo_end(struct ring_fixture *f, struct fifo *fifo)
{
    int reader = open(fifo->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    assert_true(reader >= 0);
    assert_true(run_op(f, &fifo->opening) >= 0);
    (void)close(fifo->opening.res);
    (void)close(reader);
    assert_int_equal(0, unlink(fifo->path));
}

static bool has_ended(void *ctx)
{
    return !op_in_flight(&((struct waited *)ctx)->op);
}

static void test_a_thread_that_is_stuck_does_not_stop_the_others(void **state)
{
    struct ring_fixture *f = *state;
    struct fifo fifo;
    struct waited w;

    fifo_begin(f, &fifo);
    waited_init(&w);
    for (int i = 0; i < 20; i++) {
        START(ring_mkdir(f->ring, &w.op, f->dir_fd, "made", 0700));
        assert_int_equal(0, run_op(f, &w));
        assert_int_equal(0, unlinkat(f->dir_fd, "made", AT_REMOVEDIR));
    }
    assert_int_equal(0, fifo.opening.calls);
    fifo_end(f, &fifo);
}

static void test_what_no_thread_has_begun_can_be_cancelled_and_has_done_nothing(void **state)
{
    const struct ring_options options = {.entries = 64,
                                         .sockets_max = 8,
                                         .buffers_count = 4,
                                         .buffer_bytes = 4096,
                                         .workers_max = 1};
    struct waited made, unmade, timer;
    struct ring_fixture f;
    struct fifo fifo;

    fixture_open(&f, &options);
    fifo_begin(&f, &fifo);
    waited_init(&timer);
    waited_init(&made);
    waited_init(&unmade);
    START(ring_mkdir(f.ring, &unmade.op, f.dir_fd, "unmade", 0700));
    START(ring_cancel(f.ring, &unmade.op)); /* before the threads know of it */
    assert_int_equal(-ECANCELED, run_op(&f, &unmade));
    START(ring_mkdir(f.ring, &unmade.op, f.dir_fd, "unmade", 0700));
    START(ring_mkdir(f.ring, &made.op, f.dir_fd, "made", 0700));
    START(ring_timer(f.ring, &timer.op, 1));
    assert_int_equal(-ETIME, run_op(&f, &timer));
    START(ring_cancel(f.ring, &unmade.op));
    assert_int_equal(-ECANCELED, run_op(&f, &unmade));
    assert_int_equal(0, fifo.opening.calls);
    START(ring_timer(f.ring, &timer.op, 1));
    assert_int_equal(-ETIME, run_op(&f, &timer));
    assert_int_equal(0, made.calls); /* the only thread is busy */
    fifo_end(&f, &fifo);
    run_until(&f, has_ended, &made);
    assert_int_equal(0, made.res);
    assert_int_equal(-1, faccessat(f.dir_fd, "unmade", F_OK, 0));
    assert_int_equal(0, unlinkat(f.dir_fd, "made", AT_REMOVEDIR));
    fixture_close(&f);
}

/* ---- pipes, which others share ---- */

static void test_a_full_pipe_is_waited_for_without_changing_it_for_others(void **state)
{
    struct ring_fixture *f = *state;
    static char data[300000], got[300000];
    size_t written = 0, seen = 0;
    struct waited w, timer;
    int ends[2], bytes = 0;

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    pattern_fill(5, 0, data, sizeof data);
    waited_init(&w);
    waited_init(&timer);
    while (written < sizeof data) {
        START(ring_write(f->ring, &w.op, ends[1], slice_of(data + written, sizeof data - written),
                         -1));
        START(ring_timer(f->ring, &timer.op, 1)); /* the ring is not stuck in a full pipe */
        assert_int_equal(-ETIME, run_op(f, &timer));
        while (op_in_flight(&w.op)) {
            assert_int_equal(0, ioctl(ends[0], FIONREAD, &bytes));
            if (bytes > 0)
                assert_int_equal(bytes, read(ends[0], got + seen, (size_t)bytes));
            seen += (size_t)bytes;
            START(ring_timer(f->ring, &timer.op, 1));
            assert_int_equal(-ETIME, run_op(f, &timer));
        }
        assert_true(w.res > 0);
        written += (size_t)w.res;
    }
    while (seen < written) {
        ssize_t n = read(ends[0], got + seen, sizeof got - seen);

        assert_true(n > 0);
        seen += (size_t)n;
    }
    assert_memory_equal(data, got, sizeof data);
    assert_int_equal(0, fcntl(ends[1], F_GETFL) & O_NONBLOCK);
    (void)close(ends[0]);
    START(ring_write(f->ring, &w.op, ends[1], slice_str("nobody"), -1));
    assert_int_equal(-EPIPE, run_op(f, &w));
    (void)close(ends[1]);
}

static void test_both_directions_of_one_descriptor_may_wait(void **state)
{
    struct ring_fixture *f = *state;
    struct waited in, out;
    char byte = 0;
    int ends[2];

    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    waited_init(&in);
    waited_init(&out);
    START(ring_read(f->ring, &in.op, ends[0], &byte, 1, -1));
    START(ring_write(f->ring, &out.op, ends[0], slice_str("x"), -1));
    assert_int_equal(1, run_op(f, &out));
    assert_int_equal(1, write(ends[1], "y", 1));
    assert_int_equal(1, run_op(f, &in));
    assert_int_equal('y', byte);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* ---- no room for another watch ---- */

static bool is_full;

int __real_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event);

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    if (is_full && operation == EPOLL_CTL_ADD) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(epoll_fd, operation, fd, event);
}

/* The fixture's end would wait for a thread that reads the pipe. */
static void test_a_pipe_that_cannot_be_watched_holds_no_thread(void **state)
{
    struct ring_fixture *f = *state;
    struct waited w;
    int ends[2];
    char byte;

    assert_int_equal(0, pipe(ends));
    waited_init(&w);
    is_full = true;
    START(ring_read(f->ring, &w.op, ends[0], &byte, 1, -1));
    is_full = false;
    assert_int_equal(-ENOSPC, run_op(f, &w));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

#define RING_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_TEST(test_a_process_without_descriptors_left_gets_its_socket_later),
        RING_TEST(test_a_socket_refused_by_a_full_backlog_connects_when_there_is_room),
        RING_TEST(test_numbers_of_closed_sockets_are_used_again),
        RING_TEST(test_a_send_goes_on_when_the_peer_has_read),
        RING_TEST(test_hundreds_of_deadlines_end_in_their_order_with_some_taken_out),
        RING_TEST(test_a_thread_that_is_stuck_does_not_stop_the_others),
        cmocka_unit_test(test_what_no_thread_has_begun_can_be_cancelled_and_has_done_nothing),
        RING_TEST(test_a_full_pipe_is_waited_for_without_changing_it_for_others),
        RING_TEST(test_both_directions_of_one_descriptor_may_wait),
        RING_TEST(test_a_pipe_that_cannot_be_watched_holds_no_thread),
    };
    int skip_code = ring_skip_code();

    (void)signal(SIGPIPE, SIG_IGN);
    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
