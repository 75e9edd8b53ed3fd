/* Directories that are written to: whether we may, and whether there is room. */
#include "doctor_checks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sinks.h"

/* Less room is told, whatever the size of the disk. */
#define FREE_BYTES_LOW (INT64_C(1) << 30)

/* The directory, or the nearest one above it that is there, in whose place it will be made. NULL:
 * without memory. */
static char *existing_above(const char *path)
{
    char *at = strdup(path);
    struct stat st;

    while (at && stat(at, &st) < 0 && errno == ENOENT && strcmp(at, "/") != 0 &&
           strcmp(at, ".") != 0) {
        char *above = strdup(dirname(at));

        free(at);
        at = above;
    }
    return at;
}

/* statvfs by name is a call that docker/seccomp.json does not have. */
static int room_of(const char *path, struct statvfs *ret)
{
    int fd = open(path, O_PATH | O_CLOEXEC), r;

    if (fd < 0)
        return -1;
    r = fstatvfs(fd, ret);
    (void)close(fd); /* it was only looked at */
    return r;
}

/* Returns whether it can be written to, and the bytes that are free. */
static bool look_at_directory(struct doctor *d, const char *subject, const char *path,
                              int64_t *ret_free)
{
    RT_CLEANUP(freep) char *at = existing_above(path);
    struct statvfs fs;
    struct stat st;

    if (!at)
        return false;
    if (stat(at, &st) == 0 && !S_ISDIR(st.st_mode)) {
        doctor_find(d, DOCTOR_PROBLEM, subject, "%s is no directory", at);
        doctor_advise(d, "move it away, or choose another path");
        return false;
    }
    if (faccessat(AT_FDCWD, at, W_OK | X_OK, AT_EACCESS) < 0 || room_of(at, &fs) < 0) {
        doctor_find(d, DOCTOR_PROBLEM, subject, "%s can't be written to: %s", at, strerror(errno));
        doctor_advise(d, "give it to the user that ringtail runs as, on a file system that is "
                         "mounted for writing (in a container: a volume)");
        return false;
    }
    *ret_free = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    return true;
}

static void tell_room(struct doctor *d, const char *subject, const char *path, int64_t free_bytes,
                      int64_t free_bytes_min)
{
    if (free_bytes < free_bytes_min) {
        doctor_find(d, DOCTOR_PROBLEM, subject, "%s has %s free, less than free_space_min (%s)",
                    path, doctor_bytes(free_bytes), doctor_bytes(free_bytes_min));
        doctor_advise(d, "make room: until then nothing is written, and reading pauses");
    } else if (free_bytes < FREE_BYTES_LOW) {
        doctor_find(d, DOCTOR_WARNING, subject, "%s has %s free", path, doctor_bytes(free_bytes));
        doctor_advise(d, "make room, or bound the files (rotate_bytes, rotate_keep, retention)");
    } else {
        doctor_find(d, DOCTOR_OK, subject, "%s can be written to, %s free", path,
                    doctor_bytes(free_bytes));
    }
}

void doctor_look_at_files(struct doctor *d, const char *subject, const char *directory,
                          int64_t free_bytes_min)
{
    int64_t free_bytes;

    if (look_at_directory(d, subject, directory, &free_bytes))
        tell_room(d, subject, directory, free_bytes, free_bytes_min);
}

/* Of the files in it; 0 where there is none yet. */
static int64_t used_bytes(const char *directory)
{
    DIR *dir = opendir(directory);
    const struct dirent *entry;
    int64_t bytes = 0;
    struct stat st;

    while (dir && (entry = readdir(dir)))
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            bytes += st.st_size;
    if (dir)
        (void)closedir(dir); /* it was only read */
    return bytes;
}

static bool wants_spool(const struct config *c)
{
    for (size_t i = 0; i < c->sinks_count; i++)
        if (sinks_is_remote(&c->sinks[i]) && c->sinks[i].spool)
            return true;
    return false;
}

void doctor_check_spool(struct doctor *d)
{
    const struct config *c = d->config;
    int64_t free_bytes, left;

    if (!*c->spool_path) {
        if (wants_spool(c)) {
            doctor_find(d, DOCTOR_NOTE, "directory",
                        "there is none: while a receiver is down lines wait in memory, then in the "
                        "Engine's logs");
            doctor_advise(d, "set spool.path");
        }
        return;
    }
    if (!look_at_directory(d, "directory", c->spool_path, &free_bytes))
        return;
    left = c->spool_max_bytes - used_bytes(c->spool_path);
    if (free_bytes < left) {
        doctor_find(d, DOCTOR_WARNING, "directory",
                    "%s has %s free, and spool.max_bytes lets it grow by %s", c->spool_path,
                    doctor_bytes(free_bytes), doctor_bytes(left));
        doctor_advise(d, "make room, or lower spool.max_bytes: a full disk stops more than the "
                         "spool");
    } else {
        doctor_find(d, DOCTOR_OK, "directory", "%s can be written to, %s free, %s at most to come",
                    c->spool_path, doctor_bytes(free_bytes), doctor_bytes(MAX(left, 0)));
    }
}

/* The directory of a file that is to be written. */
static void look_at_file(struct doctor *d, const char *subject, const char *path)
{
    RT_CLEANUP(freep) char *copy = strdup(path);

    if (copy)
        doctor_look_at_files(d, subject, dirname(copy), 0);
}

void doctor_check_positions(struct doctor *d)
{
    const struct config *c = d->config;
    RT_CLEANUP(freep) char *positions = NULL;
    RT_CLEANUP(freep) char *letters = NULL;

    if (sinks_positions_path(c, &positions) < 0 || sinks_dead_letters_path(c, &letters) < 0)
        return;
    if (positions) {
        look_at_file(d, "directory", positions);
    } else {
        doctor_find(d, DOCTOR_NOTE, "directory",
                    "none are kept: each start begins at stream.since (%s)", c->stream_since);
        doctor_advise(d, "set positions.path, so that a restart loses and repeats nothing");
    }
    if (letters)
        look_at_file(d, "dead_letters", letters);
    else if (wants_spool(c))
        doctor_find(d, DOCTOR_NOTE, "dead_letters",
                    "there are none: what a receiver refuses is counted, and gone");
    if (!letters && wants_spool(c))
        doctor_advise(d, "set dead_letters.path");
}
