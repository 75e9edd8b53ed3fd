/*
 * Linked into `ringtail-faulty` with what ringtail asks for wrapped: RINGTAIL_FAULT=kind:n:times
 * lets so many calls of a kind fail, from the n-th of the process on. Operations of the ring fail
 * as the kernel would let them: they are asked for in a way that can't succeed.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/io/ring.h"

#define NOWHERE "/dev/null/nothing" /* ENOTDIR */
#define WRAPPED(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

static bool fails(const char *kind, atomic_ulong *calls)
{
    const char *fault = getenv("RINGTAIL_FAULT");
    unsigned long call = atomic_fetch_add(calls, 1);
    unsigned long first = 0, times = 0;
    size_t len = strlen(kind);

    if (!fault || strncmp(fault, kind, len) != 0 || fault[len] != ':' ||
        sscanf(fault + len, ":%lu:%lu", &first, &times) != 2)
        return false;
    return call >= first && call - first < times;
}

static atomic_ulong allocations, writes, syncs, opens, renames, unlinks, reads;

WRAPPED(void *, malloc, size_t size);
WRAPPED(void *, calloc, size_t count, size_t size);
WRAPPED(void *, realloc, void *old, size_t size);
WRAPPED(void, ring_write, struct ring *ring, struct op *op, int fd, struct slice data,
        int64_t offset);
WRAPPED(void, ring_fsync, struct ring *ring, struct op *op, int fd, bool data_only);
WRAPPED(void, ring_open, struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
        mode_t mode, uint64_t resolve);
WRAPPED(void, ring_rename, struct ring *ring, struct op *op, int dir_fd, const char *from,
        const char *to);
WRAPPED(void, ring_unlink, struct ring *ring, struct op *op, int dir_fd, const char *path);
WRAPPED(void, ring_read, struct ring *ring, struct op *op, int fd, void *data, size_t len,
        int64_t offset);

void *__wrap_malloc(size_t size)
{
    return fails("malloc", &allocations) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails("malloc", &allocations) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails("malloc", &allocations) ? NULL : __real_realloc(old, size);
}

/* A disk that is full. */
void __wrap_ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    static atomic_int full = -1;

    if (fails("write", &writes)) {
        if (full < 0)
            full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        fd = full;
        offset = -1;
    }
    __real_ring_write(ring, op, fd, data, offset);
}

void __wrap_ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    __real_ring_fsync(ring, op, fails("fsync", &syncs) ? -1 : fd, data_only);
}

void __wrap_ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
                      mode_t mode, uint64_t resolve)
{
    __real_ring_open(ring, op, dir_fd, fails("open", &opens) ? NOWHERE : path, flags, mode,
                     resolve);
}

void __wrap_ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from,
                        const char *to)
{
    __real_ring_rename(ring, op, dir_fd, fails("rename", &renames) ? NOWHERE : from, to);
}

void __wrap_ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    __real_ring_unlink(ring, op, dir_fd, fails("unlink", &unlinks) ? NOWHERE : path);
}

void __wrap_ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len,
                      int64_t offset)
{
    __real_ring_read(ring, op, fails("read", &reads) ? -1 : fd, data, len, offset);
}
