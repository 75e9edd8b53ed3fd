/*
 * The process as /proc/self shows it. Owns nothing; each call opens, reads and closes. The kernel
 * makes these files from memory, so reading them does not wait for a disk.
 */
#include "ringtail/base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

/* /proc/self/stat, see proc(5): the name in parentheses may contain anything, even parentheses. */
static int read_stat(struct process_stat *stat)
{
    char text[1024];
    const char *behind_name;
    long threads, resident_pages;
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd); /* it was only read */
    if (n <= 0)
        return -EIO;
    text[n] = '\0';
    behind_name = strrchr(text, ')');
    if (!behind_name ||
        sscanf(behind_name,
               ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld "
               "%*s %*s %*s %ld",
               &threads, &resident_pages) != 2)
        return -EIO;
    stat->threads = threads;
    stat->resident_bytes = resident_pages * sysconf(_SC_PAGESIZE);
    return 0;
}

/* Since Linux 6.2 the directory's size says how many there are; before, it is 0. */
static int count_descriptors(struct process_stat *stat)
{
    int64_t count = -3; /* ".", "..", and the directory's own */
    struct stat dir_stat;
    DIR *dir;

    if (lstat("/proc/self/fd", &dir_stat) == 0 && dir_stat.st_size > 0) {
        stat->descriptors_open = dir_stat.st_size;
        return 0;
    }
    dir = opendir("/proc/self/fd");
    if (!dir)
        return -errno;
    while (readdir(dir))
        count++;
    (void)closedir(dir); /* it was only read */
    stat->descriptors_open = count;
    return 0;
}

int process_stat_read(struct process_stat *ret)
{
    struct process_stat stat = {0};
    struct timespec cpu;
    int r = read_stat(&stat);

    if (r == 0)
        r = count_descriptors(&stat);
    if (r == 0 && clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) < 0)
        r = -errno;
    if (r == 0)
        stat.cpu_ns = cpu.tv_sec * NSEC_PER_SEC + cpu.tv_nsec;
    if (r == 0)
        *ret = stat;
    return r;
}
