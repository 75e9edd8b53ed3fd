/* io/ring.h, operation by operation: what each gives, how it is cancelled, and who is woken. */
#include <dirent.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

/* Lets what was started before reach the kernel and wait there. */
static void run_a_moment(struct ring_fixture *f)
{
    struct waited timer;

    waited_init(&timer);
    START(ring_timer(f->ring, &timer.op, 3));
    assert_int_equal(-ETIME, run_op(f, &timer));
}

/* ---- receiving ---- */

static void test_bytes_sent_before_the_receive_are_received(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    write_all(link.peer, "hello", 5);
    START(ring_recv(f->ring, &w.op, link.sock, 0));
    assert_int_equal(5, run_op(f, &w));
    assert_memory_equal("hello", w.bytes, 5);
    link_close(f, &link);
}

static void test_bytes_end_a_waiting_receive_before_its_timeout(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    run_a_moment(f);
    assert_int_equal(0, w.calls);
    assert_int_equal(1, ring_stats_get(f->ring)->in_flight[OP_RECV]);
    write_all(link.peer, "late", 4);
    assert_int_equal(4, run_op(f, &w));
    assert_memory_equal("late", w.bytes, 4);
    assert_int_equal(0, ring_stats_get(f->ring)->timeouts);
    link_close(f, &link);
}

static void test_an_expired_receive_has_consumed_nothing(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    for (unsigned i = 1; i <= 3; i++) {
        START(ring_recv(f->ring, &w.op, link.sock, 2));
        assert_int_equal(-ETIME, run_op(f, &w));
        assert_int_equal(i, ring_stats_get(f->ring)->timeouts);
    }
    write_all(link.peer, "abc", 3);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    assert_int_equal(3, run_op(f, &w));
    assert_memory_equal("abc", w.bytes, 3);
    link_close(f, &link);
}

static void test_a_waiting_receive_holds_no_buffer(void **state)
{
    struct ring_fixture *f = *state;
    const struct ring_stats *stats = ring_stats_get(f->ring);
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, 0));
    run_a_moment(f);
    assert_int_equal(stats->buffers_count, stats->buffers_free);
    START(ring_cancel(f->ring, &w.op));
    assert_int_equal(-ECANCELED, run_op(f, &w));
    assert_int_equal(stats->buffers_count, stats->buffers_free);
    link_close(f, &link);
}

static void test_the_end_of_the_stream_comes_behind_its_last_bytes(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    write_all(link.peer, "end", 3);
    (void)close(link.peer);
    link.peer = -1;
    START(ring_recv(f->ring, &w.op, link.sock, 0));
    assert_int_equal(3, run_op(f, &w));
    for (int i = 0; i < 2; i++) {
        START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
        assert_int_equal(0, run_op(f, &w));
        assert_int_equal(0, w.op.received.len);
    }
    link_close(f, &link);
}

static void test_a_peer_that_closes_ends_a_waiting_receive(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    run_a_moment(f);
    (void)close(link.peer);
    link.peer = -1;
    assert_int_equal(0, run_op(f, &w));
    link_close(f, &link);
}

static void test_a_peer_that_drops_our_bytes_resets_the_receive(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_send(f->ring, &w.op, link.sock, slice_str("unread"), 0));
    assert_int_equal(6, run_op(f, &w));
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    run_a_moment(f);
    (void)close(link.peer);
    link.peer = -1;
    assert_int_equal(-ECONNRESET, run_op(f, &w));
    link_close(f, &link);
}

static void test_a_cancelled_receive_has_consumed_nothing(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    run_a_moment(f);
    START(ring_cancel(f->ring, &w.op));
    START(ring_cancel(f->ring, &w.op)); /* asking twice changes nothing */
    assert_int_equal(0, w.calls);
    assert_int_equal(-ECANCELED, run_op(f, &w));
    assert_int_equal(1, ring_stats_get(f->ring)->cancels);
    START(ring_cancel(f->ring, &w.op)); /* nor does asking an idle operation */

    write_all(link.peer, "kept", 4);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    assert_int_equal(4, run_op(f, &w));
    assert_memory_equal("kept", w.bytes, 4);
    link_close(f, &link);
}

static void test_a_receive_cancelled_before_it_was_submitted_ends_too(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, TEST_RUNS_FOREVER_MS));
    START(ring_cancel(f->ring, &w.op));
    assert_int_equal(-ECANCELED, run_op(f, &w));
    link_close(f, &link);
}

static void test_a_cancel_that_comes_after_the_bytes_leaves_them(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    write_all(link.peer, "first", 5);
    START(ring_recv(f->ring, &w.op, link.sock, 0)); /* completes in the kernel before the cancel */
    START(ring_cancel(f->ring, &w.op));
    assert_int_equal(5, run_op(f, &w));
    assert_memory_equal("first", w.bytes, 5);
    assert_int_equal(0, ring_stats_get(f->ring)->cancels);
    link_close(f, &link);
}

static void test_a_receive_on_a_closed_socket_fails_alone(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    link_close(f, &link);
    waited_init(&w);
    START(ring_recv(f->ring, &w.op, link.sock, 5));
    assert_int_equal(-EBADF, run_op(f, &w));
}

/* ---- sending ---- */

static void test_sent_bytes_arrive(void **state)
{
    struct ring_fixture *f = *state;
    char got[8] = "";
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    START(ring_send(f->ring, &w.op, link.sock, slice_str("request"), TEST_RUNS_FOREVER_MS));
    assert_int_equal(7, run_op(f, &w));
    assert_int_equal(7, recv(link.peer, got, sizeof got, 0));
    assert_memory_equal("request", got, 7);
    link_close(f, &link);
}

/* Sends until the socket takes no more; returns how much it took. */
static size_t send_until_full(struct ring_fixture *f, struct link *link, struct waited *w)
{
    static char block[65536];
    size_t sent = 0;
    int res;

    for (;;) {
        pattern_fill(1, sent, block, sizeof block);
        START(ring_send(f->ring, &w->op, link->sock, slice_of(block, sizeof block), 2));
        res = run_op(f, w);
        if (res < 0)
            break;
        sent += (size_t)res;
    }
    assert_int_equal(-ETIME, res);
    return sent;
}

static void test_a_send_that_nobody_takes_expires_and_can_be_repeated(void **state)
{
    struct ring_fixture *f = *state;
    char got[4096];
    size_t sent, received = 0;
    ssize_t n;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    sent = send_until_full(f, &link, &w);
    assert_true(sent > 0);
    assert_true(ring_stats_get(f->ring)->timeouts > 0);
    while ((n = recv(link.peer, got, sizeof got, MSG_DONTWAIT)) > 0) {
        assert_true(pattern_holds(1, received, got, (size_t)n));
        received += (size_t)n;
    }
    assert_int_equal(sent, received); /* the expired one left nothing behind */
    START(ring_send(f->ring, &w.op, link.sock, slice_str("x"), 0));
    assert_int_equal(1, run_op(f, &w));
    link_close(f, &link);
}

static void test_a_waiting_send_can_be_cancelled(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    (void)send_until_full(f, &link, &w);
    START(ring_send(f->ring, &w.op, link.sock, slice_str("x"), 0));
    run_a_moment(f);
    START(ring_cancel(f->ring, &w.op));
    assert_int_equal(-ECANCELED, run_op(f, &w));
    link_close(f, &link);
}

static void test_a_send_to_nobody_is_an_error_and_no_signal(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;

    link_open(f, &link);
    waited_init(&w);
    (void)close(link.peer);
    link.peer = -1;
    START(ring_send(f->ring, &w.op, link.sock, slice_str("x"), 0));
    assert_int_equal(-EPIPE, run_op(f, &w));
    link_close(f, &link);
}

/* ---- connecting ---- */

static int connect_to(struct ring_fixture *f, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct waited w;
    int sock, res;

    strcpy(addr.sun_path, path);
    waited_init(&w);
    START(ring_socket(f->ring, &w.op));
    sock = run_op(f, &w);
    assert_true(sock >= 0);
    START(ring_connect(f->ring, &w.op, sock, &addr));
    res = run_op(f, &w);
    START(ring_close_socket(f->ring, &w.op, sock));
    assert_int_equal(0, run_op(f, &w));
    return res;
}

static void test_connecting_to_a_missing_path_is_enoent(void **state)
{
    struct ring_fixture *f = *state;
    char path[64];

    snprintf(path, sizeof path, "%s/nowhere", f->dir);
    assert_int_equal(-ENOENT, connect_to(f, path));
}

static void test_connecting_where_nobody_listens_is_refused(void **state)
{
    struct ring_fixture *f = *state;

    (void)close(f->listener);
    f->listener = -1;
    assert_int_equal(-ECONNREFUSED, connect_to(f, f->addr.sun_path));
}

static void test_connecting_to_a_full_backlog_is_eagain_at_once(void **state)
{
    struct ring_fixture *f = *state;
    int waiting[8], count = 0, res = 0, sock;
    struct waited w;

    assert_int_equal(0, listen(f->listener, 0));
    waited_init(&w);
    while (res == 0 && count < (int)ARRAY_SIZE(waiting)) {
        START(ring_socket(f->ring, &w.op));
        sock = run_op(f, &w);
        assert_true(sock >= 0);
        waiting[count++] = sock;
        START(ring_connect(f->ring, &w.op, sock, &f->addr));
        res = run_op(f, &w);
    }
    assert_int_equal(-EAGAIN, res);
    while (count > 0) {
        START(ring_close_socket(f->ring, &w.op, waiting[--count]));
        assert_int_equal(0, run_op(f, &w));
    }
}

static int connect_as_somebody_else(const char *path)
{
    const struct ring_options options = {.backend = test_backend(),
                                         .entries = 16,
                                         .sockets_max = 4,
                                         .buffers_count = 4,
                                         .buffer_bytes = 4096};
    struct ring_refusal refusal = {0};
    struct ring_fixture f = {0};
    int res;

    if (geteuid() == 0 && seteuid(65534) < 0)
        return 255;
    if (ring_create(&options, &f.ring, &refusal) < 0)
        return 254;
    res = connect_to(&f, path);
    ring_destroy(f.ring);
    return -res;
}

static void test_connecting_without_permission_is_eacces(void **state)
{
    struct ring_fixture *f = *state;
    int status = 0;
    pid_t pid;

    assert_int_equal(0, chmod(f->addr.sun_path, 0));
    pid = fork();
    if (pid == 0)
        _exit(connect_as_somebody_else(f->addr.sun_path));
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 254) {
        print_message("no ring for another user here\n");
        skip();
    }
    assert_int_equal(EACCES, WEXITSTATUS(status));
}

static void test_a_full_socket_table_refuses_one_more(void **state)
{
    struct ring_fixture *f = *state;
    const struct ring_stats *stats = ring_stats_get(f->ring);
    struct waited w;
    int socks[64];

    assert_int_equal(ARRAY_SIZE(socks), stats->sockets_max);
    waited_init(&w);
    for (size_t i = 0; i < ARRAY_SIZE(socks); i++) {
        START(ring_socket(f->ring, &w.op));
        socks[i] = run_op(f, &w);
        assert_true(socks[i] >= 0);
        assert_int_equal(i + 1, stats->sockets_open);
    }
    START(ring_socket(f->ring, &w.op));
    assert_int_equal(-ENFILE, run_op(f, &w));
    assert_int_equal(ARRAY_SIZE(socks), stats->sockets_open);
    for (size_t i = 0; i < ARRAY_SIZE(socks); i++) {
        START(ring_close_socket(f->ring, &w.op, socks[i]));
        assert_int_equal(0, run_op(f, &w));
    }
}

static void test_closing_a_socket_hangs_up_on_the_peer(void **state)
{
    struct ring_fixture *f = *state;
    struct link link;
    struct waited w;
    char byte;

    link_open(f, &link);
    waited_init(&w);
    START(ring_close_socket(f->ring, &w.op, link.sock));
    assert_int_equal(0, run_op(f, &w));
    assert_int_equal(0, recv(link.peer, &byte, 1, 0));
    (void)close(link.peer);
}

/* ---- timers ---- */

static void test_a_timer_never_runs_before_its_time(void **state)
{
    struct ring_fixture *f = *state;
    struct waited w;

    waited_init(&w);
    for (int64_t ms = 0; ms <= 20; ms += 5) {
        int64_t before = clock_mono_ns();

        START(ring_timer(f->ring, &w.op, ms));
        assert_int_equal(-ETIME, run_op(f, &w));
        assert_true(clock_mono_ns() - before >= ms * NSEC_PER_MSEC);
    }
}

static bool timers_run_in_order(struct ring_fixture *f)
{
    struct waited w[3];

    for (size_t i = 0; i < ARRAY_SIZE(w); i++)
        waited_init(&w[i]);
    START(ring_timer(f->ring, &w[2].op, 20));
    START(ring_timer(f->ring, &w[1].op, 10));
    START(ring_timer(f->ring, &w[0].op, 1));
    for (size_t i = ARRAY_SIZE(w); i-- > 0;) {
        if (op_in_flight(&w[i].op))
            assert_int_equal(-ETIME, run_op(f, &w[i]));
        assert_int_equal(1, w[i].calls);
    }
    return w[0].turn < w[1].turn && w[1].turn < w[2].turn;
}

static void test_timers_run_in_the_order_of_their_times(void **state)
{
    unsigned tries = 1;

    /* A processor that is away while they are begun may put them into another order. */
    while (!timers_run_in_order(*state))
        assert_true(tries++ < 50);
}

static void test_a_cancelled_timer_says_so_once(void **state)
{
    struct ring_fixture *f = *state;
    struct waited w;

    waited_init(&w);
    for (int i = 0; i < 100; i++) {
        START(ring_timer(f->ring, &w.op, TEST_RUNS_FOREVER_MS));
        if (i % 2)
            run_a_moment(f);
        START(ring_cancel(f->ring, &w.op));
        assert_int_equal(-ECANCELED, run_op(f, &w));
    }
    run_a_moment(f);
    assert_int_equal(100, w.calls);
}

struct chain {
    struct op op;
    struct ring *ring;
    unsigned left;
};

static void chain_done(struct op *op, int res)
{
    struct chain *chain = container_of(op, struct chain, op);

    assert_int_equal(-ETIME, res);
    assert_int_equal(0, ring_starting);
    if (--chain->left > 0)
        START(ring_timer(chain->ring, op, 0));
}

static bool chain_is_over(void *ctx)
{
    return ((struct chain *)ctx)->left == 0;
}

static void test_an_operation_may_be_started_again_from_its_done(void **state)
{
    struct ring_fixture *f = *state;
    struct chain chain = {.op.done = chain_done, .ring = f->ring, .left = 500};

    START(ring_timer(f->ring, &chain.op, 0));
    run_until(f, chain_is_over, &chain);
    assert_int_equal(500, ring_stats_get(f->ring)->completions[OP_TIMER]);
}

static bool all_have_ended(void *ctx)
{
    struct waited *w = ctx;

    for (; w->op.done; w++)
        if (op_in_flight(&w->op))
            return false;
    return true;
}

static void test_more_operations_than_the_queue_holds_all_run(void **state)
{
    struct ring_fixture *f = *state;
    struct waited *w = calloc(3001, sizeof *w); /* the last stays all zero */

    assert_non_null(w);
    for (int i = 0; i < 3000; i++) {
        waited_init(&w[i]);
        START(ring_timer(f->ring, &w[i].op, i % 3 ? 0 : TEST_RUNS_FOREVER_MS));
        if (i % 3 == 0)
            START(ring_cancel(f->ring, &w[i].op));
    }
    run_until(f, all_have_ended, w);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(1, w[i].calls);
        assert_int_equal(i % 3 ? -ETIME : -ECANCELED, w[i].res);
    }
    free(w);
}

/* ---- waking up ---- */

struct wakes {
    struct ring_waker waker;
    struct ring *ring;
    _Atomic unsigned asked;
    unsigned seen, goal, calls;
};

static void wakes_seen(void *ctx)
{
    struct wakes *wakes = ctx;

    wakes->calls++;
    wakes->seen = atomic_load(&wakes->asked);
}

static bool wakes_are_seen(void *ctx)
{
    struct wakes *wakes = ctx;

    return wakes->seen == wakes->goal;
}

#define WAKES_PER_THREAD 5000

static void *wake_often(void *ctx)
{
    struct wakes *wakes = ctx;

    for (int i = 0; i < WAKES_PER_THREAD; i++) {
        atomic_fetch_add(&wakes->asked, 1);
        ring_wake(wakes->ring);
    }
    return NULL;
}

static void test_no_wake_of_any_thread_is_missed(void **state)
{
    struct ring_fixture *f = *state;
    struct wakes wakes = {.ring = f->ring, .goal = 4 * WAKES_PER_THREAD};
    struct wakes other = {.ring = f->ring};
    pthread_t threads[4];

    wakes.waker = (struct ring_waker){.fn = wakes_seen, .ctx = &wakes};
    other.waker = (struct ring_waker){.fn = wakes_seen, .ctx = &other};
    ring_add_waker(f->ring, &wakes.waker);
    ring_add_waker(f->ring, &other.waker);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, wake_often, &wakes));
    /* A lost wake-up would leave the last count unseen, and the ring waiting for ever. */
    run_until(f, wakes_are_seen, &wakes);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(0, pthread_join(threads[i], NULL));
    assert_int_equal(wakes.calls, other.calls);
    ring_remove_waker(&wakes.waker);
    ring_remove_waker(&other.waker);
}

static struct wakes *signalled;

static void on_signal(int signal)
{
    atomic_fetch_add(&signalled->asked, 1);
    ring_wake(signalled->ring);
}

static void *signal_often(void *ctx)
{
    pthread_t *target = ctx;

    /* The next comes only after the last was handled: two that are pending would be one. */
    for (unsigned i = 0; i < signalled->goal; i++) {
        (void)pthread_kill(*target, SIGUSR1);
        while (atomic_load(&signalled->asked) == i)
            usleep(50);
    }
    return NULL;
}

static void test_a_signal_handler_wakes_the_ring(void **state)
{
    struct ring_fixture *f = *state;
    struct wakes wakes = {.ring = f->ring, .goal = 200};
    struct sigaction action = {.sa_handler = on_signal}, before;
    pthread_t self = pthread_self(), thread;

    wakes.waker = (struct ring_waker){.fn = wakes_seen, .ctx = &wakes};
    signalled = &wakes;
    assert_int_equal(0, sigaction(SIGUSR1, &action, &before));
    ring_add_waker(f->ring, &wakes.waker);
    assert_int_equal(0, pthread_create(&thread, NULL, signal_often, &self));
    run_until(f, wakes_are_seen, &wakes);
    assert_int_equal(0, pthread_join(thread, NULL));
    assert_int_equal(0, sigaction(SIGUSR1, &before, NULL));
    ring_remove_waker(&wakes.waker);
}

static void stop_ring(void *ctx)
{
    ring_stop(ctx);
}

static void test_a_waker_may_stop_the_ring_and_wakes_its_next_run_too(void **state)
{
    struct ring_fixture *f = *state;
    struct ring_waker waker = {.fn = stop_ring, .ctx = f->ring};

    ring_add_waker(f->ring, &waker);
    for (int i = 0; i < 3; i++) {
        ring_wake(f->ring);
        assert_int_equal(0, ring_run(f->ring, NULL, NULL));
    }
    ring_remove_waker(&waker);
}

static void remove_self(void *ctx)
{
    struct wakes *wakes = ctx;

    wakes->seen++;
    ring_remove_waker(&wakes->waker);
}

static void test_a_waker_may_remove_itself(void **state)
{
    struct ring_fixture *f = *state;
    struct wakes once = {.ring = f->ring}, each = {.ring = f->ring, .goal = 2};

    once.waker = (struct ring_waker){.fn = remove_self, .ctx = &once};
    each.waker = (struct ring_waker){.fn = wakes_seen, .ctx = &each};
    ring_add_waker(f->ring, &once.waker);
    ring_add_waker(f->ring, &each.waker);
    for (unsigned i = 1; i <= 2; i++) {
        each.goal = i;
        atomic_store(&each.asked, i);
        ring_wake(f->ring);
        run_until(f, wakes_are_seen, &each);
        assert_int_equal(1, once.seen);
    }
    ring_remove_waker(&each.waker);
}

/* ---- files ---- */

static int open_file(struct ring_fixture *f, const char *path, int flags, uint64_t resolve)
{
    struct waited w;

    waited_init(&w);
    START(ring_open(f->ring, &w.op, f->dir_fd, path, flags, flags & O_CREAT ? 0640 : 0, resolve));
    return run_op(f, &w);
}

static void close_file(struct ring_fixture *f, int fd)
{
    struct waited w;

    waited_init(&w);
    START(ring_close_fd(f->ring, &w.op, fd));
    assert_int_equal(0, run_op(f, &w));
    assert_int_equal(-1, fcntl(fd, F_GETFD));
}

static void test_a_file_is_made_written_renamed_read_and_removed(void **state)
{
    struct ring_fixture *f = *state;
    struct statx found;
    struct waited w;
    char got[32];
    int fd;

    waited_init(&w);
    START(ring_mkdir(f->ring, &w.op, f->dir_fd, "logs", 0750));
    assert_int_equal(0, run_op(f, &w));
    START(ring_mkdir(f->ring, &w.op, f->dir_fd, "logs", 0750));
    assert_int_equal(-EEXIST, run_op(f, &w));

    fd = open_file(f, "logs/a", O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0);
    assert_true(fd >= 0);
    assert_int_equal(FD_CLOEXEC, fcntl(fd, F_GETFD));
    assert_int_equal(-EEXIST, open_file(f, "logs/a", O_WRONLY | O_CREAT | O_EXCL, 0));
    START(ring_write(f->ring, &w.op, fd, slice_str("one\n"), -1));
    assert_int_equal(4, run_op(f, &w));
    START(ring_write(f->ring, &w.op, fd, slice_str("two\n"), -1));
    assert_int_equal(4, run_op(f, &w));
    START(ring_fsync(f->ring, &w.op, fd, true));
    assert_int_equal(0, run_op(f, &w));
    START(ring_fsync(f->ring, &w.op, fd, false));
    assert_int_equal(0, run_op(f, &w));

    START(ring_statx(f->ring, &w.op, fd, "", STATX_SIZE, &found));
    assert_int_equal(0, run_op(f, &w));
    assert_int_equal(8, found.stx_size);
    START(ring_rename(f->ring, &w.op, f->dir_fd, "logs/a", "logs/a.1"));
    assert_int_equal(0, run_op(f, &w));
    START(ring_statx(f->ring, &w.op, f->dir_fd, "logs/a", STATX_SIZE, &found));
    assert_int_equal(-ENOENT, run_op(f, &w));
    START(ring_statx(f->ring, &w.op, f->dir_fd, "logs/a.1", STATX_SIZE | STATX_MODE, &found));
    assert_int_equal(0, run_op(f, &w));
    assert_int_equal(8, found.stx_size);
    close_file(f, fd);

    fd = open_file(f, "logs/a.1", O_RDONLY, 0);
    assert_true(fd >= 0);
    START(ring_read(f->ring, &w.op, fd, got, sizeof got, 4));
    assert_int_equal(4, run_op(f, &w));
    assert_memory_equal("two\n", got, 4);
    START(ring_read(f->ring, &w.op, fd, got, 3, -1));
    assert_int_equal(3, run_op(f, &w));
    START(ring_read(f->ring, &w.op, fd, got + 3, sizeof got - 3, -1));
    assert_int_equal(5, run_op(f, &w));
    assert_memory_equal("one\ntwo\n", got, 8);
    START(ring_read(f->ring, &w.op, fd, got, sizeof got, -1));
    assert_int_equal(0, run_op(f, &w));
    START(ring_write(f->ring, &w.op, fd, slice_str("x"), -1));
    assert_int_equal(-EBADF, run_op(f, &w));
    close_file(f, fd);

    START(ring_unlink(f->ring, &w.op, f->dir_fd, "logs/a.1"));
    assert_int_equal(0, run_op(f, &w));
    START(ring_unlink(f->ring, &w.op, f->dir_fd, "logs/a.1"));
    assert_int_equal(-ENOENT, run_op(f, &w));
    assert_int_equal(0, unlinkat(f->dir_fd, "logs", AT_REMOVEDIR));
}

/* Threads of this process, those that the kernel has started for the ring among them. */
static size_t count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    size_t count = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

struct writes {
    struct waited each[32];
};

static bool writes_have_ended(void *ctx)
{
    struct writes *writes = ctx;

    for (size_t i = 0; i < ARRAY_SIZE(writes->each); i++)
        if (op_in_flight(&writes->each[i].op))
            return false;
    return true;
}

static void test_files_take_no_more_threads_than_allowed(void **state)
{
    struct ring_fixture *f = *state;
    struct writes *writes = calloc(1, sizeof *writes);
    size_t threads = count_threads();
    int fds[ARRAY_SIZE(writes->each)];
    char name[16];

    assert_non_null(writes);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        snprintf(name, sizeof name, "file%zu", i);
        fds[i] = open_file(f, name, O_WRONLY | O_CREAT | O_APPEND, 0);
        assert_true(fds[i] >= 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        waited_init(&writes->each[i]);
        START(ring_write(f->ring, &writes->each[i].op, fds[i], slice_str("line\n"), -1));
    }
    run_until(f, writes_have_ended, writes);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_int_equal(5, writes->each[i].res);
        assert_int_equal(0, close(fds[i]));
        snprintf(name, sizeof name, "file%zu", i);
        assert_int_equal(0, unlinkat(f->dir_fd, name, 0));
    }
    free(writes);
    assert_in_range(count_threads(), threads, threads + 2);
}

static void test_a_path_that_leaves_its_directory_is_not_opened(void **state)
{
    struct ring_fixture *f = *state;
    struct statx found;
    struct waited w;

    assert_int_equal(0, symlinkat("/etc/passwd", f->dir_fd, "link"));
    assert_int_equal(-EXDEV, open_file(f, "../etc", O_RDONLY, RESOLVE_BENEATH));
    assert_int_equal(-EXDEV, open_file(f, "/etc/passwd", O_RDONLY, RESOLVE_BENEATH));
    assert_int_equal(-EXDEV, open_file(f, "link", O_RDONLY, RESOLVE_BENEATH));
    assert_int_equal(-ELOOP, open_file(f, "link", O_RDONLY, RESOLVE_NO_SYMLINKS));
    assert_int_equal(-ENOENT, open_file(f, "nothing", O_RDONLY, RESOLVE_BENEATH));

    waited_init(&w);
    START(ring_statx(f->ring, &w.op, f->dir_fd, "link", STATX_TYPE, &found));
    assert_int_equal(0, run_op(f, &w));
    assert_true(S_ISLNK(found.stx_mode));
    START(ring_unlink(f->ring, &w.op, f->dir_fd, "link"));
    assert_int_equal(0, run_op(f, &w));
}

static void test_a_full_device_is_enospc(void **state)
{
    struct ring_fixture *f = *state;
    struct waited w;
    int fd = open_file(f, "/dev/full", O_WRONLY, 0);

    assert_true(fd >= 0);
    waited_init(&w);
    START(ring_write(f->ring, &w.op, fd, slice_str("x"), -1));
    assert_int_equal(-ENOSPC, run_op(f, &w));
    close_file(f, fd);
}

static void test_a_waiting_read_of_a_pipe_can_be_cancelled(void **state)
{
    struct ring_fixture *f = *state;
    struct waited w;
    int ends[2];
    char byte;

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    waited_init(&w);
    START(ring_read(f->ring, &w.op, ends[0], &byte, 1, -1));
    run_a_moment(f);
    START(ring_cancel(f->ring, &w.op));
    assert_int_equal(-ECANCELED, run_op(f, &w));
    close_file(f, ends[0]);
    close_file(f, ends[1]);
}

/* ---- telling ---- */

static void test_every_kind_of_operation_has_a_name(void **state)
{
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        assert_non_null(op_kind_name((enum op_kind)kind));
        for (int other = 0; other < kind; other++)
            assert_string_not_equal(op_kind_name((enum op_kind)kind),
                                    op_kind_name((enum op_kind)other));
    }
}

static void test_the_ring_says_what_it_is(void **state)
{
    struct ring_fixture *f = *state;

    if (test_backend() == RING_BACKEND_EPOLL) {
        assert_string_equal("epoll", ring_backend_name(f->ring));
        assert_string_equal("asked for", ring_backend_reason(f->ring));
        assert_string_equal("epoll (asked for)", ring_describe(f->ring));
    } else {
        assert_string_equal("io_uring", ring_backend_name(f->ring));
        assert_memory_equal("io_uring (", ring_describe(f->ring), 10);
    }
}

/* The descriptor of the only ring of this process. */
static int find_ring_fd(void)
{
    char path[64], target[64];

    for (int fd = 3; fd < 1024; fd++) {
        ssize_t len;

        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        len = readlink(path, target, sizeof target);
        if (len > 0 && slice_eq_str(slice_of(target, (size_t)len), "anon_inode:[io_uring]"))
            return fd;
    }
    return -1;
}

/* Submits an operation past the ring's own functions, as somebody would who has got into the
 * process, and returns its result. Nothing else can be done with the ring after. */
static int submit_raw(int fd, const struct io_uring_params *like, uint8_t opcode)
{
    size_t cq_bytes = like->cq_off.cqes + like->cq_entries * sizeof(struct io_uring_cqe);
    char *rings = mmap(NULL, cq_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *sqes = mmap(NULL, like->sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE,
                                     MAP_SHARED, fd, IORING_OFF_SQES);
    const struct io_uring_cqe *cqes;
    unsigned tail;
    int res;

    assert_true(rings != MAP_FAILED && sqes != MAP_FAILED);
    cqes = (const void *)(rings + like->cq_off.cqes);
    memset(sqes, 0, sizeof *sqes);
    sqes[0].opcode = opcode;
    tail = 1;
    memcpy(rings + like->sq_off.tail, &tail, sizeof tail);
    assert_int_equal(
        1, syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, (size_t)0));
    memcpy(&tail, rings + like->cq_off.tail, sizeof tail);
    assert_int_equal(1, tail);
    res = cqes[0].res;
    (void)munmap(sqes, like->sq_entries * sizeof *sqes);
    (void)munmap(rings, cq_bytes);
    return res;
}

static void test_a_confined_ring_takes_no_other_operation(void **state)
{
    struct ring_options options = {.backend = RING_BACKEND_IO_URING,
                                   .entries = 64,
                                   .sockets_max = 16,
                                   .buffers_count = 4,
                                   .buffer_bytes = 4096};
    struct ring_refusal refusal;
    struct ring *ring;

    if (test_backend() == RING_BACKEND_EPOLL) {
        /* There is none that the kernel could take. */
        options.backend = RING_BACKEND_EPOLL;
        options.confined = true;
        assert_int_equal(0, ring_create(&options, &ring, &refusal));
        assert_int_equal(-EOPNOTSUPP, ring_confine_error(ring));
        ring_destroy(ring);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        /* One like it, to learn where things are. */
        struct io_uring_params like = {.flags = IORING_SETUP_CQSIZE,
                                       .cq_entries = options.entries * 4};
        long fd = syscall(SYS_io_uring_setup, options.entries, &like);

        assert_true(fd >= 0);
        (void)close((int)fd);
        options.confined = i == 1;
        assert_int_equal(0, ring_create(&options, &ring, &refusal));
        fd = find_ring_fd();
        assert_int_equal(options.confined ? -EACCES : 0, submit_raw((int)fd, &like, IORING_OP_NOP));
        /* Nor anything else of what can be registered. */
        assert_int_equal(options.confined ? -1 : 0,
                         syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_FILES, NULL, 0));
        ring_destroy(ring);
    }
}

static void test_nothing_is_made_or_left_by_destroying_nothing(void **state)
{
    assert_null(ring_destroy(NULL));
}

#define RING_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_TEST(test_bytes_sent_before_the_receive_are_received),
        RING_TEST(test_bytes_end_a_waiting_receive_before_its_timeout),
        RING_TEST(test_an_expired_receive_has_consumed_nothing),
        RING_TEST(test_a_waiting_receive_holds_no_buffer),
        RING_TEST(test_the_end_of_the_stream_comes_behind_its_last_bytes),
        RING_TEST(test_a_peer_that_closes_ends_a_waiting_receive),
        RING_TEST(test_a_peer_that_drops_our_bytes_resets_the_receive),
        RING_TEST(test_a_cancelled_receive_has_consumed_nothing),
        RING_TEST(test_a_receive_cancelled_before_it_was_submitted_ends_too),
        RING_TEST(test_a_cancel_that_comes_after_the_bytes_leaves_them),
        RING_TEST(test_a_receive_on_a_closed_socket_fails_alone),
        RING_TEST(test_sent_bytes_arrive),
        RING_TEST(test_a_send_that_nobody_takes_expires_and_can_be_repeated),
        RING_TEST(test_a_waiting_send_can_be_cancelled),
        RING_TEST(test_a_send_to_nobody_is_an_error_and_no_signal),
        RING_TEST(test_connecting_to_a_missing_path_is_enoent),
        RING_TEST(test_connecting_where_nobody_listens_is_refused),
        RING_TEST(test_connecting_to_a_full_backlog_is_eagain_at_once),
        RING_TEST(test_connecting_without_permission_is_eacces),
        RING_TEST(test_a_full_socket_table_refuses_one_more),
        RING_TEST(test_closing_a_socket_hangs_up_on_the_peer),
        RING_TEST(test_a_timer_never_runs_before_its_time),
        RING_TEST(test_timers_run_in_the_order_of_their_times),
        RING_TEST(test_a_cancelled_timer_says_so_once),
        RING_TEST(test_an_operation_may_be_started_again_from_its_done),
        RING_TEST(test_more_operations_than_the_queue_holds_all_run),
        RING_TEST(test_no_wake_of_any_thread_is_missed),
        RING_TEST(test_a_signal_handler_wakes_the_ring),
        RING_TEST(test_a_waker_may_stop_the_ring_and_wakes_its_next_run_too),
        RING_TEST(test_a_waker_may_remove_itself),
        RING_TEST(test_a_file_is_made_written_renamed_read_and_removed),
        RING_TEST(test_files_take_no_more_threads_than_allowed),
        RING_TEST(test_a_path_that_leaves_its_directory_is_not_opened),
        RING_TEST(test_a_full_device_is_enospc),
        RING_TEST(test_a_waiting_read_of_a_pipe_can_be_cancelled),
        RING_TEST(test_the_ring_says_what_it_is),
        cmocka_unit_test(test_a_confined_ring_takes_no_other_operation),
        cmocka_unit_test(test_every_kind_of_operation_has_a_name),
        cmocka_unit_test(test_nothing_is_made_or_left_by_destroying_nothing),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
