/* src/sink/keeper_job.h. */
#include "keeper_job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#include "squeeze.h"
#include "sweep.h"

/* One sweep finds no more; the rest is left to the next one. */
#define FOUND_MAX 512
#define NAME_ROOM (NAME_MAX + ROTATED_ROOM)

struct keeper_job *keeper_job_create(enum keeper_job_kind kind, const char *dir, const char *name,
                                     size_t name_len)
{
    size_t dir_len = strlen(dir), base = dir_len > 0 ? dir_len + 1 : 0;
    struct keeper_job *job = calloc(1, sizeof *job + base + name_len + 1);

    if (!job)
        return NULL;
    job->kind = kind;
    job->base = base;
    job->number = 1;
    list_init(&job->link);
    memcpy(job->path, dir, dir_len);
    if (base > 0)
        job->path[dir_len] = '/';
    memcpy(job->path + base, name, name_len);
    return job;
}

static int open_directory(const struct keeper_job *job, int dir_fd)
{
    char dir[PATH_MAX];

    if (job->base >= sizeof dir)
        return -ENAMETOOLONG;
    memcpy(dir, job->path, job->base);
    dir[MAX(job->base, (size_t)1) - 1] = '\0';
    return sweep_open(dir_fd, dir);
}

static void print_name(const struct keeper_job *job, char *name, uint32_t number,
                       enum rotated_form form)
{
    rotated_print(name, NAME_ROOM, job->path + job->base, number, form);
}

static int64_t modified_ns(const struct stat *st)
{
    return st->st_mtim.tv_sec * NSEC_PER_SEC + st->st_mtim.tv_nsec;
}

static bool is_the_file(const struct keeper_job *job, int dir, const char *name, struct stat *st)
{
    return fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode) &&
           st->st_dev == job->device && st->st_ino == job->inode;
}

/** Looks for the plain file from the number on that it had last. 0, or -ENOENT. */
static int find(struct keeper_job *job, const struct keeper_work *work, int dir, char *name,
                struct stat *st)
{
    uint32_t last = MAX(job->number, work->rotate_keep);

    for (uint32_t number = job->number; number <= last; number++) {
        print_name(job, name, number, ROTATED_PLAIN);
        if (is_the_file(job, dir, name, st)) {
            job->number = number;
            return 0;
        }
    }
    return -ENOENT;
}

/* Compression. */

/** Finds and opens it. When it is shifted in between, it is looked for again, further up. */
static int open_found(struct keeper_job *job, const struct keeper_work *work, int dir,
                      struct stat *st)
{
    char name[NAME_ROOM];
    int r, fd;

    while ((r = find(job, work, dir, name, st)) == 0) {
        fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
            return -errno;
        if (fd >= 0 && fstat(fd, st) == 0 && st->st_dev == job->device && st->st_ino == job->inode)
            return fd;
        if (fd >= 0)
            (void)close(fd); /* only looked at */
    }
    return r;
}

/** The compressed file is as old as what is in it, and as private. */
static int settle_temporary(int fd, const struct stat *of)
{
    const struct timespec times[2] = {of->st_atim, of->st_mtim};

    if (fchmod(fd, of->st_mode & 0777) < 0 || futimens(fd, times) < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

static int squeeze_into(struct keeper_job *job, const struct keeper_work *work, int dir, int from,
                        const struct stat *st)
{
    char name[NAME_ROOM];
    int to, r;

    job->temporary = job->number;
    print_name(job, name, job->temporary, ROTATED_TEMPORARY);
    (void)unlinkat(dir, name, 0); /* there is none unless a failed removal has left it */
    to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    /* Whoever reads what is written now should not wait for pages that this pushes out. */
    (void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
    r = squeeze(work->compression, from, to, work->go_on, work->ctx, &job->bytes_before,
                &job->bytes_after);
    if (r == 0)
        r = settle_temporary(to, st);
    (void)posix_fadvise(from, 0, 0, POSIX_FADV_DONTNEED);
    (void)posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
    if (close(to) < 0 && r == 0)
        r = -errno;
    if (r < 0)
        (void)unlinkat(dir, name, 0); /* the next start does it */
    return r;
}

static int compress_file(struct keeper_job *job, const struct keeper_work *work, int dir)
{
    struct stat st;
    int fd = open_found(job, work, dir, &st), r;

    if (fd < 0)
        return fd;
    job->size = (uint64_t)st.st_size;
    job->modified_ns = modified_ns(&st);
    r = squeeze_into(job, work, dir, fd, &st);
    (void)close(fd); /* only read from */
    return r;
}

static int place(struct keeper_job *job, const struct keeper_work *work, int dir)
{
    enum rotated_form form = work->compression == COMPRESSION_GZIP ? ROTATED_GZIP : ROTATED_ZSTD;
    char plain[NAME_ROOM], temporary[NAME_ROOM], compressed[NAME_ROOM];
    struct stat st;
    int r = find(job, work, dir, plain, &st);

    if (r < 0)
        return r;
    /* Somebody has written to it, which we never do. */
    if ((uint64_t)st.st_size != job->size || modified_ns(&st) != job->modified_ns)
        return -EBUSY;
    print_name(job, temporary, job->temporary, ROTATED_TEMPORARY);
    print_name(job, compressed, job->number, form);
    if (renameat(dir, temporary, dir, compressed) < 0)
        return -errno;
    if (unlinkat(dir, plain, 0) < 0) {
        r = -errno;
        (void)unlinkat(dir, compressed, 0); /* the next start does it */
    }
    return r;
}

static int remove_file(const struct keeper_job *job, int dir)
{
    char name[NAME_ROOM];
    struct stat st;

    print_name(job, name, job->number, job->form);
    if (!is_the_file(job, dir, name, &st))
        return -ENOENT; /* shifted meanwhile: the next sweep finds it */
    return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

void keeper_job_run(struct keeper_job *job, const struct keeper_work *work)
{
    int dir = open_directory(job, work->dir_fd);

    if (dir < 0) {
        job->result = dir;
        return;
    }
    switch (job->kind) {
    case KEEPER_COMPRESS:
        job->result = compress_file(job, work, dir);
        break;
    case KEEPER_PLACE:
        job->result = place(job, work, dir);
        break;
    case KEEPER_REMOVE:
        job->result = remove_file(job, dir);
        break;
    }
    (void)close(dir); /* only looked at */
    if (job->kind == KEEPER_PLACE && job->result < 0)
        keeper_job_drop_temporary(job, work->dir_fd);
}

void keeper_job_drop_temporary(const struct keeper_job *job, int dir_fd)
{
    int dir = open_directory(job, dir_fd);
    char name[NAME_ROOM];

    if (dir < 0)
        return;
    print_name(job, name, job->temporary, ROTATED_TEMPORARY);
    (void)unlinkat(dir, name, 0); /* the next start does it */
    (void)close(dir);             /* only looked at */
}

/* Finding. */

struct search {
    int64_t remove_before_ns;
    bool compress, is_full;
    unsigned count;
    struct list *jobs;
};

static void take(void *ctx, const struct sweep_file *file)
{
    struct search *s = ctx;
    bool too_old = modified_ns(file->stat) < s->remove_before_ns;
    struct keeper_job *job;

    if (file->rotated.form == ROTATED_TEMPORARY ||
        (!too_old && !(s->compress && file->rotated.form == ROTATED_PLAIN)))
        return;
    if (s->count == FOUND_MAX) {
        s->is_full = true;
        return;
    }
    job = keeper_job_create(too_old ? KEEPER_REMOVE : KEEPER_COMPRESS, file->dir, file->name,
                            file->rotated.base_len);
    if (!job)
        return; /* the next sweep finds it again */
    job->device = file->stat->st_dev;
    job->inode = file->stat->st_ino;
    job->number = file->rotated.number;
    job->form = file->rotated.form;
    list_append(s->jobs, &job->link);
    s->count++;
}

bool keeper_jobs_find(int dir_fd, const struct path_template *files, int64_t remove_before_ns,
                      bool compress, struct list *jobs)
{
    struct search s = {.remove_before_ns = remove_before_ns, .compress = compress, .jobs = jobs};

    (void)sweep(dir_fd, files, take, &s); /* what it could not look at is there the next time too */
    return s.is_full;
}

static void clean(void *ctx, const struct sweep_file *file)
{
    char base[NAME_ROOM], plain[NAME_ROOM];
    struct stat st;

    (void)ctx;
    if (file->rotated.form == ROTATED_PLAIN)
        return;
    memcpy(base, file->name, file->rotated.base_len);
    base[file->rotated.base_len] = '\0';
    rotated_print(plain, sizeof plain, base, file->rotated.number, ROTATED_PLAIN);
    if (file->rotated.form == ROTATED_TEMPORARY ||
        (fstatat(file->dir_fd, plain, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)))
        (void)unlinkat(file->dir_fd, file->name, 0); /* what can't be removed is there once more */
}

void keeper_clean(int dir_fd, const struct path_template *files)
{
    (void)sweep(dir_fd, files, clean, NULL); /* what could not be looked at stays as it is */
}
