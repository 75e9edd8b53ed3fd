/*
 * See ring_fixture.h. The directory of the socket is readable to everybody, since some tests look
 * at it as another user; it is removed with the fixture.
 */
#include "ring_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

unsigned ring_starting;

enum ring_backend_choice test_backend(void)
{
    const char *name = getenv("RINGTAIL_TEST_BACKEND");

    return name && strcmp(name, "epoll") == 0 ? RING_BACKEND_EPOLL : RING_BACKEND_IO_URING;
}

/* From now on this process has a kernel that knows no RWF_NOWAIT, as for pipes before Linux 6.4. */
static bool refuse_nowait(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* ---- features that are taken away ---- */

static enum ring_feature taken = RING_FEATURE_COUNT;

void take_away(enum ring_feature feature)
{
    taken = feature;
}

/* The linker puts these between the io room and liburing. */
int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __real_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __real_io_uring_register_files_sparse(struct io_uring *ring, unsigned count);
int __wrap_io_uring_register_files_sparse(struct io_uring *ring, unsigned count);
int __real_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags);
int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags);
int __real_io_uring_register_ring_fd(struct io_uring *ring);
int __wrap_io_uring_register_ring_fd(struct io_uring *ring);
int __real_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);
int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values);

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    unsigned unknown = taken == RING_FEATURE_DEFER_TASKRUN ? IORING_SETUP_DEFER_TASKRUN
                       : taken == RING_FEATURE_COOP_TASKRUN
                           ? IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN
                           : 0;
    int r;

    if (params->flags & unknown)
        return -EINVAL;
    r = __real_io_uring_queue_init_params(entries, ring, params);
    if (taken == RING_FEATURE_CQE_SKIP)
        params->features &= ~IORING_FEAT_CQE_SKIP;
    return r;
}

int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count)
{
    int r = __real_io_uring_register_probe(ring, probe, count);

    if (r == 0 && taken == RING_FEATURE_OPERATIONS)
        probe->last_op = IORING_OP_SOCKET - 1;
    return r;
}

int __wrap_io_uring_register_files_sparse(struct io_uring *ring, unsigned count)
{
    return taken == RING_FEATURE_SOCKET_TABLE ? -EINVAL
                                              : __real_io_uring_register_files_sparse(ring, count);
}

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags)
{
    return taken == RING_FEATURE_BUFFER_RING ? -EINVAL
                                             : __real_io_uring_register_buf_ring(ring, reg, flags);
}

int __wrap_io_uring_register_ring_fd(struct io_uring *ring)
{
    return taken == RING_FEATURE_RING_FD ? -EINVAL : __real_io_uring_register_ring_fd(ring);
}

int __wrap_io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned *values)
{
    return taken == RING_FEATURE_WORKERS_MAX
               ? -EINVAL
               : __real_io_uring_register_iowq_max_workers(ring, values);
}

static void take_away_named(void)
{
    const char *name = getenv("RINGTAIL_TEST_WITHOUT");
    int feature = 0;

    if (!name)
        return;
    while (feature < RING_FEATURE_COUNT &&
           strcmp(name, ring_feature_info((enum ring_feature)feature)->name) != 0)
        feature++;
    if (feature == RING_FEATURE_COUNT) {
        fprintf(stderr, "no feature is named %s\n", name);
        abort();
    }
    take_away((enum ring_feature)feature);
}

int ring_skip_code(void)
{
    const struct ring_options options = {.backend = test_backend(),
                                         .entries = 64,
                                         .sockets_max = 16,
                                         .buffers_count = 4,
                                         .buffer_bytes = 4096};
    struct ring_refusal refusal = {0};
    const char *nowait = getenv("RINGTAIL_TEST_NOWAIT");
    struct ring *ring = NULL;
    int r;

    if (nowait && strcmp(nowait, "refused") == 0 && !refuse_nowait()) {
        puts("no seccomp filter here");
        return 77;
    }
    take_away_named();
    r = ring_create(&options, &ring, &refusal);
    if (r < 0) {
        printf("no ring here: %s\n", refusal.reason);
        return 77;
    }
    ring_destroy(ring);
    return 0;
}

unsigned scaled(unsigned n)
{
    const char *text = getenv("RINGTAIL_TEST_SCALE");
    double scale = text ? strtod(text, NULL) : 1;

    return (unsigned)MAX((double)n * scale, 1);
}

size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void fixture_open(struct ring_fixture *f, const struct ring_options *options)
{
    struct ring_options chosen = *options;
    struct ring_refusal refusal = {0};

    chosen.backend = test_backend();
    chosen.confined = true; /* so that what is forgotten in its list fails a test */
    *f = (struct ring_fixture){.addr.sun_family = AF_UNIX};
    f->fds_before = count_fds();
    strcpy(f->dir, "/tmp/ringtail-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(0, chmod(f->dir, 0755));
    f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->dir_fd >= 0);
    snprintf(f->addr.sun_path, sizeof f->addr.sun_path, "%s/socket", f->dir);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(f->listener >= 0);
    assert_int_equal(0, bind(f->listener, (struct sockaddr *)&f->addr, sizeof f->addr));
    assert_int_equal(0, listen(f->listener, 64));
    if (ring_create(&chosen, &f->ring, &refusal) < 0)
        fail_msg("ring_create: %s", refusal.reason);
    assert_int_equal(test_backend() == RING_BACKEND_EPOLL ? -EOPNOTSUPP : 0,
                     ring_confine_error(f->ring));
    memcpy(f->in_flight_before, ring_stats_get(f->ring)->in_flight, sizeof f->in_flight_before);
}

void fixture_close(struct ring_fixture *f)
{
    const struct ring_stats *stats = ring_stats_get(f->ring);

    for (int kind = 0; kind < OP_KIND_COUNT; kind++)
        if (stats->in_flight[kind] != f->in_flight_before[kind])
            fail_msg("%s operations are left in flight", op_kind_name((enum op_kind)kind));
    assert_int_equal(0, stats->sockets_open);
    assert_int_equal(stats->buffers_count, stats->buffers_free);
    assert_null(ring_destroy(f->ring));
    (void)close(f->listener);
    (void)close(f->dir_fd);
    assert_int_equal(0, unlink(f->addr.sun_path));
    assert_int_equal(0, rmdir(f->dir)); /* a test cleans up behind itself */
    assert_int_equal(f->fds_before, count_fds());
}

int fixture_setup(void **state)
{
    const struct ring_options options = {.entries = 256,
                                         .sockets_max = 64,
                                         .buffers_count = 64,
                                         .buffer_bytes = 4096,
                                         .workers_max = 2};
    struct ring_fixture *f = malloc(sizeof *f);

    assert_non_null(f);
    fixture_open(f, &options);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void waited_done(struct op *op, int res)
{
    static unsigned turns;
    struct waited *w = container_of(op, struct waited, op);

    assert_int_equal(0, ring_starting);
    assert_false(op_in_flight(op));
    w->res = res;
    w->calls++;
    w->turn = ++turns;
    w->len = 0;
    if (op->kind == OP_RECV && res > 0) {
        assert_int_equal(res, op->received.len);
        w->len = MIN(op->received.len, sizeof w->bytes);
        memcpy(w->bytes, op->received.data, w->len);
    }
}

void waited_init(struct waited *w)
{
    *w = (struct waited){.op.done = waited_done};
}

struct until {
    struct ring *ring;
    bool (*fn)(void *ctx);
    void *ctx;
};

static void stop_when_done(void *ctx)
{
    struct until *until = ctx;

    if (until->fn(until->ctx))
        ring_stop(until->ring);
}

void run_until(struct ring_fixture *f, bool (*fn)(void *ctx), void *ctx)
{
    struct until until = {.ring = f->ring, .fn = fn, .ctx = ctx};

    if (!fn(ctx))
        assert_int_equal(0, ring_run(f->ring, stop_when_done, &until));
}

static bool has_ended(void *ctx)
{
    struct waited *w = ctx;

    return !op_in_flight(&w->op);
}

int run_op(struct ring_fixture *f, struct waited *w)
{
    unsigned calls = w->calls;

    assert_true(op_in_flight(&w->op));
    run_until(f, has_ended, w);
    assert_int_equal(calls + 1, w->calls);
    return w->res;
}

void link_open(struct ring_fixture *f, struct link *link)
{
    struct waited w;

    waited_init(&w);
    START(ring_socket(f->ring, &w.op));
    link->sock = run_op(f, &w);
    assert_true(link->sock >= 0);
    START(ring_connect(f->ring, &w.op, link->sock, &f->addr));
    assert_int_equal(0, run_op(f, &w));
    link->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(link->peer >= 0);
}

void link_close(struct ring_fixture *f, struct link *link)
{
    struct waited w;

    waited_init(&w);
    START(ring_close_socket(f->ring, &w.op, link->sock));
    assert_int_equal(0, run_op(f, &w));
    if (link->peer >= 0)
        (void)close(link->peer);
    link->peer = -1;
}

void pattern_fill(uint32_t id, uint64_t offset, void *data, size_t len)
{
    uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern_at(id, offset + i);
}

bool pattern_holds(uint32_t id, uint64_t offset, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        if (bytes[i] != pattern_at(id, offset + i))
            return false;
    return true;
}

void write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            perror("send");
            abort();
        }
        at += n;
        len -= (size_t)n;
    }
}
