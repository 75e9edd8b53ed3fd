/*
 * The limit: follows every container like ringtail, over the same requests and with the same
 * settings of the ring, and throws the bytes away. What ringtail takes more than this is what it
 * does with them.
 *
 *   discard SOCKET COUNTER
 *
 * COUNTER is a file that always has, as a 64-bit number, the bytes received. Ends with SIGTERM, or
 * when every stream has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>

#include "ringtail/base/macros.h"
#include "ringtail/control/config.h"
#include "ringtail/docker/api.h"

#define BUFFER_GROUP 1
#define ID_LEN 64
#define LIST_READ_BYTES 65536
#define TIMEOUT_DATA UINT64_MAX

struct discard {
    struct config config; /* its defaults are ringtail's */
    struct io_uring uring;
    struct io_uring_buf_ring *buf_ring;
    char *buffers;
    uint64_t *bytes;
    struct __kernel_timespec timeout;
    size_t streams_count, open_count;
    unsigned *parked; /* a ring of streams in line for a buffer */
    size_t parked_first, parked_count;
    bool saw_data, saw_full_buffer;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    stopping = number;
}

static void die(const char *what, int r)
{
    fprintf(stderr, "discard: %s: %s\n", what, strerror(-r));
    exit(1);
}

static void *need(void *p)
{
    if (!p || p == MAP_FAILED)
        die("memory", -ENOMEM);
    return p;
}

/* ---- opening ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket", -errno);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        die(path, -errno);
    return fd;
}

static void send_all(int fd, const struct buf *request)
{
    for (size_t at = 0; at < request->len;) {
        ssize_t n = send(fd, request->data + at, request->len - at, MSG_NOSIGNAL);

        if (n < 0)
            die("send", -errno);
        at += (size_t)n;
    }
}

/** The reply to a list, head and all. */
static struct buf list_containers(const char *path)
{
    struct buf request = {0}, reply = {0};
    int fd = connect_to(path);
    ssize_t n;

    if (api_request_list(&request, API_VERSION_OLDEST, false) < 0)
        die("request", -ENOMEM);
    send_all(fd, &request);
    do {
        if (buf_reserve(&reply, LIST_READ_BYTES) < 0)
            die("list", -ENOMEM);
        n = read(fd, reply.data + reply.len, LIST_READ_BYTES);
        if (n < 0)
            die("list", -errno);
        reply.len += (size_t)n;
    } while (n > 0);
    (void)close(fd);
    buf_finish(&request);
    need((void *)(uintptr_t)buf_cstr(&reply));
    return reply;
}

static void open_stream(struct discard *d, const char *path, struct slice id)
{
    struct api_logs_query query = {.follow = true, .tail = -1};
    struct buf request = {0};
    int fd = connect_to(path);
    int r = api_request_logs(&request, API_VERSION_OLDEST, id, &query);

    if (r < 0)
        die("request", r);
    send_all(fd, &request);
    buf_finish(&request);
    r = io_uring_register_files_update(&d->uring, (unsigned)d->streams_count, &fd, 1);
    if (r < 0)
        die("sockets", r);
    (void)close(fd);
    d->streams_count++;
}

static void open_streams(struct discard *d, const char *path)
{
    static const char mark[] = "\"Id\":\"";
    struct buf list = list_containers(path);

    for (const char *at = list.data; (at = strstr(at, mark)); at += ID_LEN) {
        at += sizeof mark - 1;
        open_stream(d, path, slice_of(at, strnlen(at, ID_LEN)));
    }
    buf_finish(&list);
    d->open_count = d->streams_count;
    d->parked = need(calloc(d->streams_count + 1, sizeof *d->parked));
}

static void set_up_ring(struct discard *d)
{
    unsigned entries = (unsigned)d->config.ring_entries;
    unsigned buffers = (unsigned)d->config.ring_buffers;
    size_t buffer_bytes = (size_t)d->config.ring_buffer_bytes;
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = entries * 4,
    };
    struct io_uring_buf_reg reg = {.bgid = BUFFER_GROUP, .ring_entries = buffers};
    int r = io_uring_queue_init_params(entries, &d->uring, &params);

    if (r < 0)
        die("io_uring", r);
    r = io_uring_register_files_sparse(&d->uring, (unsigned)d->config.ring_sockets_max);
    if (r < 0)
        die("sockets", r);
    d->buf_ring = need(mmap(NULL, buffers * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    d->buffers = need(mmap(NULL, buffers * buffer_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    reg.ring_addr = (uint64_t)(uintptr_t)d->buf_ring;
    r = io_uring_register_buf_ring(&d->uring, &reg, 0);
    if (r < 0)
        die("buffers", r);
    io_uring_buf_ring_init(d->buf_ring);
    for (unsigned i = 0; i < buffers; i++)
        io_uring_buf_ring_add(d->buf_ring, d->buffers + i * buffer_bytes, (unsigned)buffer_bytes,
                              (unsigned short)i, io_uring_buf_ring_mask(buffers), (int)i);
    io_uring_buf_ring_advance(d->buf_ring, (int)buffers);
    (void)io_uring_register_ring_fd(&d->uring); /* a little cheaper; fine without */
    d->timeout.tv_sec = d->config.stream_read_timeout_ms / 1000;
    d->timeout.tv_nsec = d->config.stream_read_timeout_ms % 1000 * NSEC_PER_MSEC;
}

static uint64_t *open_counter(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *p;

    if (fd < 0 || ftruncate(fd, sizeof(uint64_t)) < 0)
        die(path, -errno);
    p = need(mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    (void)close(fd);
    return p;
}

/* ---- reading ---- */

static void arm(struct discard *d, unsigned stream)
{
    struct io_uring_sqe *sqe, *timeout;

    while (io_uring_sq_space_left(&d->uring) < 2)
        (void)io_uring_submit(&d->uring);
    sqe = io_uring_get_sqe(&d->uring);
    timeout = io_uring_get_sqe(&d->uring);
    io_uring_prep_recv(sqe, (int)stream, NULL, (size_t)d->config.ring_buffer_bytes, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_IO_LINK;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = stream;
    io_uring_prep_link_timeout(timeout, &d->timeout, 0);
    timeout->flags |= IOSQE_CQE_SKIP_SUCCESS;
    timeout->user_data = TIMEOUT_DATA;
}

static void park(struct discard *d, unsigned stream)
{
    d->parked[(d->parked_first + d->parked_count++) % d->streams_count] = stream;
}

static void count(struct discard *d, unsigned bytes)
{
    *d->bytes += bytes;
    d->saw_data = true;
    d->saw_full_buffer |= bytes == (unsigned)d->config.ring_buffer_bytes;
}

static void give_back(struct discard *d, unsigned buffer)
{
    unsigned bytes = (unsigned)d->config.ring_buffer_bytes;

    io_uring_buf_ring_add(d->buf_ring, d->buffers + (size_t)buffer * bytes, bytes,
                          (unsigned short)buffer,
                          io_uring_buf_ring_mask((unsigned)d->config.ring_buffers), 0);
    io_uring_buf_ring_advance(d->buf_ring, 1);
}

static void take(struct discard *d, const struct io_uring_cqe *cqe)
{
    unsigned stream = (unsigned)cqe->user_data;

    if (cqe->user_data == TIMEOUT_DATA)
        return;
    if (cqe->res > 0)
        count(d, (unsigned)cqe->res);
    if (cqe->flags & IORING_CQE_F_BUFFER)
        give_back(d, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe->res > 0 || cqe->res == -ECANCELED || cqe->res == -EINTR)
        arm(d, stream);
    else if (cqe->res == -ENOBUFS)
        park(d, stream);
    else
        d->open_count--;
}

static void take_all(struct discard *d)
{
    struct io_uring_cqe *cqe;
    unsigned head, taken = 0;

    io_uring_for_each_cqe(&d->uring, head, cqe)
    {
        take(d, cqe);
        taken++;
    }
    io_uring_cq_advance(&d->uring, taken);
    for (size_t i = 0; i < (size_t)d->config.ring_buffers && d->parked_count > 0; i++) {
        unsigned stream = d->parked[d->parked_first];

        d->parked_first = (d->parked_first + 1) % d->streams_count;
        d->parked_count--;
        arm(d, stream);
    }
}

static bool has_task_work(const struct discard *d)
{
    return (__atomic_load_n(d->uring.sq.kflags, __ATOMIC_RELAXED) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Rests as ringtail does: after a pass that found data, and not while buffers come back full. */
static void run(struct discard *d)
{
    struct timespec pause = {.tv_nsec = d->config.ring_batch_pause_ms * NSEC_PER_MSEC};

    for (unsigned i = 0; i < d->streams_count; i++)
        arm(d, i);
    while (!stopping && (d->open_count > 0 || d->streams_count == 0)) {
        bool rest = d->saw_data && !d->saw_full_buffer && d->parked_count == 0;
        int r;

        if (rest && pause.tv_nsec > 0) {
            (void)io_uring_submit(&d->uring);
            (void)nanosleep(&pause, NULL);
        }
        d->saw_data = d->saw_full_buffer = false;
        r = rest || d->parked_count > 0 ? io_uring_submit_and_get_events(&d->uring)
                                        : io_uring_submit_and_wait(&d->uring, 1);
        if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
            die("io_uring", r);
        take_all(d);
        while (has_task_work(d) && !stopping) {
            (void)io_uring_submit_and_get_events(&d->uring); /* the next wait tells what failed */
            take_all(d);
        }
    }
}

int main(int argc, char **argv)
{
    struct discard d = {0};
    struct sigaction action = {.sa_handler = on_signal};
    struct rlimit limit;

    if (argc != 3) {
        fprintf(stderr, "usage: %s SOCKET COUNTER\n", argv[0]);
        return 2;
    }
    (void)sigaction(SIGTERM, &action, NULL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (config_init(&d.config) < 0)
        die("options", -ENOMEM);
    set_up_ring(&d);
    d.bytes = open_counter(argv[2]);
    open_streams(&d, argv[1]);
    run(&d);
    io_uring_queue_exit(&d.uring);
    free(d.parked);
    config_finish(&d.config);
    return 0;
}
