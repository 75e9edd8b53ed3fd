/*
 * Reads growing files beside whoever writes them, and notes how old each stamped line is when it is
 * first seen: tail OUTPUT FILE…
 *
 * A stamp is what writer.c's --stamp puts into a line: @ and 20 digits, nanoseconds of the
 * monotonic clock. A line counts when its newline is there. At SIGTERM the ages are written to
 * OUTPUT, each a 64-bit number of nanoseconds in the machine's byte order, in the order in which
 * they were seen.
 *
 * Looks at every file each half millisecond, so an age is up to that much too high. Does not wake
 * for inotify, whose events would cost the writer time.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC UINT64_C(1000000000)
#define PAUSE_NS 500000
#define STAMP_DIGITS 20
#define READ_BYTES ((size_t)1 << 18)

struct file {
    const char *path;
    int fd;         /* -1: not there yet */
    bool in_stamp;  /* between @ and the last digit */
    bool has_stamp; /* the line under way has had a whole one */
    size_t digits_count;
    uint64_t stamp_mono_ns;
};

static volatile sig_atomic_t asked_to_end;

static void end_asked(int signal_number)
{
    (void)signal_number;
    asked_to_end = 1;
}

static uint64_t now_mono_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

struct ages {
    uint64_t *ns;
    size_t count, cap;
};

static void age_add(struct ages *ages, uint64_t age_ns)
{
    if (ages->count == ages->cap) {
        ages->cap = ages->cap > 0 ? ages->cap * 2 : (size_t)1 << 16;
        ages->ns = realloc(ages->ns, ages->cap * sizeof *ages->ns);
        if (!ages->ns) {
            perror("tail");
            exit(1);
        }
    }
    ages->ns[ages->count++] = age_ns;
}

/* Any cut of the file gives the same lines: what is under way is kept in the file's struct. */
static void bytes_take(struct file *file, const char *bytes, size_t bytes_count, uint64_t seen_ns,
                       struct ages *ages)
{
    for (size_t i = 0; i < bytes_count; i++) {
        char c = bytes[i];

        if (file->in_stamp && c >= '0' && c <= '9') {
            file->stamp_mono_ns = file->stamp_mono_ns * 10 + (uint64_t)(c - '0');
            file->digits_count++;
            if (file->digits_count == STAMP_DIGITS) {
                file->in_stamp = false;
                file->has_stamp = true;
            }
            continue;
        }
        file->in_stamp = false;
        if (c == '@') {
            file->in_stamp = true;
            file->stamp_mono_ns = 0;
            file->digits_count = 0;
        } else if (c == '\n') {
            if (file->has_stamp)
                age_add(ages, seen_ns > file->stamp_mono_ns ? seen_ns - file->stamp_mono_ns : 0);
            file->has_stamp = false;
        } else {
            /* Most of a file is neither: jump to the next byte that matters. */
            const char *end = bytes + bytes_count;
            const char *at = bytes + i;

            while (at < end && *at != '@' && *at != '\n')
                at++;
            i = (size_t)(at - bytes) - 1;
        }
    }
}

static void file_read(struct file *file, char *room, struct ages *ages)
{
    if (file->fd < 0) {
        file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
        if (file->fd < 0)
            return;
    }
    for (;;) {
        ssize_t n = read(file->fd, room, READ_BYTES);

        if (n <= 0)
            return;
        bytes_take(file, room, (size_t)n, now_mono_ns(), ages);
    }
}

static int ages_write(const char *path, const struct ages *ages)
{
    FILE *to = fopen(path, "wb");

    if (!to || fwrite(ages->ns, sizeof *ages->ns, ages->count, to) != ages->count ||
        fclose(to) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const struct sigaction action = {.sa_handler = end_asked};
    struct ages ages = {0};
    struct file *files;
    size_t files_count;
    char *room = malloc(READ_BYTES);

    if (argc < 3) {
        fputs("usage: tail OUTPUT FILE...\n", stderr);
        return 2;
    }
    files_count = (size_t)argc - 2;
    files = calloc(files_count, sizeof *files);
    if (!files || !room) {
        perror("tail");
        return 1;
    }
    for (size_t i = 0; i < files_count; i++) {
        files[i].path = argv[i + 2];
        files[i].fd = -1;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    while (!asked_to_end) {
        for (size_t i = 0; i < files_count; i++)
            file_read(&files[i], room, &ages);
        nanosleep(&pause, NULL);
    }
    for (size_t i = 0; i < files_count; i++)
        file_read(&files[i], room, &ages);
    return ages_write(argv[1], &ages);
}
