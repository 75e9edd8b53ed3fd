/* What fails between us and the kernel. */
#include "faulty.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <liburing.h>

#include "ringtail/base/macros.h"

/* ---- io_uring ---- */

WRAPPED(int, io_uring_submit, struct io_uring *ring)
WRAPPED(int, io_uring_submit_and_wait, struct io_uring *ring, unsigned count)
WRAPPED(int, io_uring_submit_and_get_events, struct io_uring *ring)
WRAPPED(int, io_uring_get_events, struct io_uring *ring)
WRAPPED(int, io_uring_queue_init_params, unsigned entries, struct io_uring *ring,
        struct io_uring_params *params)
WRAPPED(int, io_uring_register_buf_ring, struct io_uring *ring, struct io_uring_buf_reg *reg,
        unsigned flags)
WRAPPED(int, io_uring_register_files_sparse, struct io_uring *ring, unsigned count)
WRAPPED(struct io_uring_probe *, io_uring_get_probe_ring, struct io_uring *ring)

/* The kernel has no reason to refuse the others. */
static bool may_be_refused(uint8_t opcode)
{
    return opcode != IORING_OP_CLOSE && opcode != IORING_OP_LINK_TIMEOUT &&
           opcode != IORING_OP_ASYNC_CANCEL && opcode != IORING_OP_NOP;
}

/* Entries that the kernel has not been told of yet; each is looked at once. */
static void spoil(struct io_uring *ring)
{
    static unsigned next;
    unsigned mask = *ring->sq.kring_mask;

    if ((int)(ring->sq.sqe_head - next) > 0)
        next = ring->sq.sqe_head;
    for (; next != ring->sq.sqe_tail; next++) {
        struct io_uring_sqe *sqe = &ring->sq.sqes[next & mask];

        if (may_be_refused(sqe->opcode) && fault_strikes(FAULT_SQE))
            sqe->opcode = UINT8_MAX;
    }
}

/* What io_uring_enter(2) gives although nothing is wrong with the call; 0: it is made. */
static int enter_error(struct io_uring *ring)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -EINTR};
    static unsigned next;

    if (fault_strikes(FAULT_URING))
        return errors[next++ % ARRAY_SIZE(errors)];
    spoil(ring);
    return 0;
}

int __wrap_io_uring_submit(struct io_uring *ring)
{
    int r = enter_error(ring);

    return r < 0 ? r : __real_io_uring_submit(ring);
}

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    int r = enter_error(ring);

    return r < 0 ? r : __real_io_uring_submit_and_wait(ring, count);
}

int __wrap_io_uring_submit_and_get_events(struct io_uring *ring)
{
    int r = enter_error(ring);

    return r < 0 ? r : __real_io_uring_submit_and_get_events(ring);
}

int __wrap_io_uring_get_events(struct io_uring *ring)
{
    return fault_strikes(FAULT_URING) ? -EINTR : __real_io_uring_get_events(ring);
}

int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    return fault_strikes(FAULT_URING) ? -ENOMEM
                                      : __real_io_uring_queue_init_params(entries, ring, params);
}

int __wrap_io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg,
                                      unsigned flags)
{
    return fault_strikes(FAULT_URING) ? -ENOMEM
                                      : __real_io_uring_register_buf_ring(ring, reg, flags);
}

int __wrap_io_uring_register_files_sparse(struct io_uring *ring, unsigned count)
{
    return fault_strikes(FAULT_URING) ? -ENOMEM
                                      : __real_io_uring_register_files_sparse(ring, count);
}

struct io_uring_probe *__wrap_io_uring_get_probe_ring(struct io_uring *ring)
{
    return fault_strikes(FAULT_URING) ? NULL : __real_io_uring_get_probe_ring(ring);
}

/* ---- system calls ---- */

static bool fails_with(int error)
{
    bool result = fault_strikes(FAULT_SYSCALL);

    if (result)
        errno = error;
    return result;
}

#define SYSTEM_CALL(type, name, error, parameters, arguments)                                      \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails_with(error) ? (type)-1 : __real_##name arguments;                             \
    }

SYSTEM_CALL(ssize_t, recv, ECONNRESET, (int fd, void *to, size_t len, int flags),
            (fd, to, len, flags))
SYSTEM_CALL(ssize_t, send, EPIPE, (int fd, const void *from, size_t len, int flags),
            (fd, from, len, flags))
SYSTEM_CALL(ssize_t, pread64, EIO, (int fd, void *to, size_t len, off_t at), (fd, to, len, at))
SYSTEM_CALL(ssize_t, pwrite64, ENOSPC, (int fd, const void *from, size_t len, off_t at),
            (fd, from, len, at))
SYSTEM_CALL(ssize_t, preadv64v2, EIO,
            (int fd, const struct iovec *iov, int count, off_t at, int flags),
            (fd, iov, count, at, flags))
SYSTEM_CALL(ssize_t, pwritev64v2, EIO,
            (int fd, const struct iovec *iov, int count, off_t at, int flags),
            (fd, iov, count, at, flags))
SYSTEM_CALL(int, fsync, EIO, (int fd), (fd))
SYSTEM_CALL(int, fdatasync, EIO, (int fd), (fd))
SYSTEM_CALL(int, ftruncate64, EIO, (int fd, off_t size), (fd, size))
SYSTEM_CALL(int, fstat64, EIO, (int fd, struct stat64 *ret), (fd, ret))
SYSTEM_CALL(int, fstatat64, EIO, (int fd, const char *path, struct stat64 *ret, int flags),
            (fd, path, ret, flags))
SYSTEM_CALL(int, stat64, EIO, (const char *path, struct stat64 *ret), (path, ret))
SYSTEM_CALL(int, fstatvfs64, EIO, (int fd, struct statvfs64 *ret), (fd, ret))
SYSTEM_CALL(int, statx, EIO,
            (int fd, const char *path, int flags, unsigned mask, struct statx *ret),
            (fd, path, flags, mask, ret))
SYSTEM_CALL(int, renameat, EIO, (int from_fd, const char *from, int to_fd, const char *to),
            (from_fd, from, to_fd, to))
SYSTEM_CALL(int, unlinkat, EIO, (int fd, const char *path, int flags), (fd, path, flags))
SYSTEM_CALL(int, unlink, EIO, (const char *path), (path))
SYSTEM_CALL(int, mkdirat, ENOSPC, (int fd, const char *path, mode_t mode), (fd, path, mode))
SYSTEM_CALL(int, mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode))
SYSTEM_CALL(int, flock, ENOLCK, (int fd, int operation), (fd, operation))
SYSTEM_CALL(int, socket, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
SYSTEM_CALL(int, connect, ECONNREFUSED, (int fd, const struct sockaddr *to, socklen_t len),
            (fd, to, len))
SYSTEM_CALL(int, eventfd, EMFILE, (unsigned value, int flags), (value, flags))
SYSTEM_CALL(int, epoll_create1, EMFILE, (int flags), (flags))
SYSTEM_CALL(int, epoll_wait, EINTR, (int fd, struct epoll_event *events, int count, int timeout),
            (fd, events, count, timeout))

WRAPPED(void *, mmap64, void *at, size_t len, int protection, int flags, int fd, off_t offset)
WRAPPED(int, pthread_create, pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *),
        void *ctx)
WRAPPED(int, epoll_ctl, int epoll_fd, int operation, int fd, struct epoll_event *event)
WRAPPED(ssize_t, read, int fd, void *to, size_t len)
WRAPPED(ssize_t, write, int fd, const void *from, size_t len)
WRAPPED(int, open64, const char *path, int flags, ...)
WRAPPED(int, openat64, int fd, const char *path, int flags, ...)
WRAPPED(long, syscall, long number, ...)

void *__wrap_mmap64(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return fails_with(ENOMEM) ? MAP_FAILED : __real_mmap64(at, len, protection, flags, fd, offset);
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *ctx)
{
    return fault_strikes(FAULT_SYSCALL) ? EAGAIN : __real_pthread_create(ret, attributes, run, ctx);
}

/* Only what takes memory can fail. */
int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    return operation == EPOLL_CTL_ADD && fails_with(ENOSPC)
               ? -1
               : __real_epoll_ctl(epoll_fd, operation, fd, event);
}

/* Eight bytes are the counter of an eventfd, which can be read and written at any time. */
ssize_t __wrap_read(int fd, void *to, size_t len)
{
    return len != sizeof(uint64_t) && fails_with(EIO) ? -1 : __real_read(fd, to, len);
}

ssize_t __wrap_write(int fd, const void *from, size_t len)
{
    return len != sizeof(uint64_t) && fails_with(ENOSPC) ? -1 : __real_write(fd, from, len);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return fails_with(EMFILE) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_openat64(int fd, const char *path, int flags, ...)
{
    mode_t mode;
    va_list ap;

    va_start(ap, flags);
    mode = mode_of(flags, ap);
    va_end(ap);
    return fails_with(EMFILE) ? -1 : __real_openat64(fd, path, flags, mode);
}

/* openat2(2), which libc does not know, and no other call takes more. */
long __wrap_syscall(long number, ...)
{
    long arguments[4];
    va_list ap;

    va_start(ap, number);
    for (size_t i = 0; i < ARRAY_SIZE(arguments); i++)
        arguments[i] = va_arg(ap, long);
    va_end(ap);
    return number == SYS_openat2 && fails_with(EMFILE)
               ? -1
               : __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]);
}
