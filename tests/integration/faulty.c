/* The kinds of calls that fail, allocations, and operations of the ring, which are asked for in a
 * way that can't succeed. */
#include "faulty.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/io/ring.h"
#include "support/failing_libraries.h"

#define NOWHERE "/dev/null/nothing" /* ENOTDIR */

static const char *const names[FAULT_COUNT] = {
    [FAULT_MALLOC] = "malloc",   [FAULT_WRITE] = "write",   [FAULT_FSYNC] = "fsync",
    [FAULT_OPEN] = "open",       [FAULT_RENAME] = "rename", [FAULT_UNLINK] = "unlink",
    [FAULT_READ] = "read",       [FAULT_SQE] = "sqe",       [FAULT_URING] = "uring",
    [FAULT_SYSCALL] = "syscall", [FAULT_CURL] = "curl",     [FAULT_KAFKA] = "kafka",
};
static atomic_ulong calls[FAULT_COUNT];
static enum fault failing = FAULT_COUNT;
static unsigned long first, times;

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("RINGTAIL_FAULT");
    char name[16];

    if (fault && sscanf(fault, "%15[^:]:%lu:%lu", name, &first, &times) == 3)
        for (enum fault k = 0; k < FAULT_COUNT; k++)
            if (strcmp(names[k], name) == 0)
                failing = k;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("RINGTAIL_FAULT_COUNTS");
    FILE *file;

    failing = FAULT_COUNT;
    file = path ? fopen(path, "we") : NULL;
    for (enum fault k = 0; file && k < FAULT_COUNT; k++)
        fprintf(file, "%s %lu\n", names[k], atomic_load(&calls[k]));
    if (file)
        (void)fclose(file);
}

bool fault_strikes(enum fault kind)
{
    unsigned long call = atomic_fetch_add(&calls[kind], 1);

    return kind == failing && call >= first && call - first < times;
}

/* ---- allocations ---- */

WRAPPED(void *, malloc, size_t size)
WRAPPED(void *, calloc, size_t count, size_t size)
WRAPPED(void *, realloc, void *old, size_t size)
WRAPPED(void *, reallocarray, void *old, size_t count, size_t size)
WRAPPED(char *, strdup, const char *text)
WRAPPED(char *, strndup, const char *text, size_t len)
WRAPPED(char *, realpath, const char *path, char *resolved)
WRAPPED(int, vasprintf, char **ret, const char *fmt, va_list ap)
WRAPPED(DIR *, opendir, const char *path)
WRAPPED(DIR *, fdopendir, int fd)
WRAPPED(FILE *, fopen64, const char *path, const char *mode)
int __wrap_asprintf(char **ret, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void *__wrap_malloc(size_t size)
{
    return fault_strikes(FAULT_MALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault_strikes(FAULT_MALLOC) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fault_strikes(FAULT_MALLOC) ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fault_strikes(FAULT_MALLOC) ? NULL : __real_reallocarray(old, count, size);
}

/* By a caller that says why. */
static bool has_no_memory(void)
{
    bool result = fault_strikes(FAULT_MALLOC);

    if (result)
        errno = ENOMEM;
    return result;
}

char *__wrap_strdup(const char *text)
{
    return has_no_memory() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return has_no_memory() ? NULL : __real_strndup(text, len);
}

char *__wrap_realpath(const char *path, char *resolved)
{
    return has_no_memory() ? NULL : __real_realpath(path, resolved);
}

DIR *__wrap_opendir(const char *path)
{
    return has_no_memory() ? NULL : __real_opendir(path);
}

DIR *__wrap_fdopendir(int fd)
{
    return has_no_memory() ? NULL : __real_fdopendir(fd);
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
    return has_no_memory() ? NULL : __real_fopen64(path, mode);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
    return has_no_memory() ? -1 : __real_vasprintf(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
{
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = __wrap_vasprintf(ret, fmt, ap);
    va_end(ap);
    return len;
}

/* ---- operations of the ring ---- */

WRAPPED(void, ring_write, struct ring *ring, struct op *op, int fd, struct slice data,
        int64_t offset)
WRAPPED(void, ring_fsync, struct ring *ring, struct op *op, int fd, bool data_only)
WRAPPED(void, ring_open, struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
        mode_t mode, uint64_t resolve)
WRAPPED(void, ring_rename, struct ring *ring, struct op *op, int dir_fd, const char *from,
        const char *to)
WRAPPED(void, ring_unlink, struct ring *ring, struct op *op, int dir_fd, const char *path)
WRAPPED(void, ring_read, struct ring *ring, struct op *op, int fd, void *data, size_t len,
        int64_t offset)

/* A disk that is full. */
void __wrap_ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    static atomic_int full = -1;

    if (fault_strikes(FAULT_WRITE)) {
        if (full < 0)
            full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        fd = full;
        offset = -1;
    }
    __real_ring_write(ring, op, fd, data, offset);
}

void __wrap_ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    __real_ring_fsync(ring, op, fault_strikes(FAULT_FSYNC) ? -1 : fd, data_only);
}

void __wrap_ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
                      mode_t mode, uint64_t resolve)
{
    __real_ring_open(ring, op, dir_fd, fault_strikes(FAULT_OPEN) ? NOWHERE : path, flags, mode,
                     resolve);
}

void __wrap_ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from,
                        const char *to)
{
    __real_ring_rename(ring, op, dir_fd, fault_strikes(FAULT_RENAME) ? NOWHERE : from, to);
}

void __wrap_ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    __real_ring_unlink(ring, op, dir_fd, fault_strikes(FAULT_UNLINK) ? NOWHERE : path);
}

void __wrap_ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len,
                      int64_t offset)
{
    __real_ring_read(ring, op, fault_strikes(FAULT_READ) ? -1 : fd, data, len, offset);
}

/* ---- libraries ---- */

bool failing_curl_must_fail(void)
{
    return fault_strikes(FAULT_CURL);
}

bool failing_kafka_must_fail(void)
{
    return fault_strikes(FAULT_KAFKA);
}
