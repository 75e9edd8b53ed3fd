/*
 * The program inside of the test containers: writes numbered lines to both streams.
 *
 * A line is "<prefix> <o|e> <number> <padding>"; numbers start at 1 and count per stream, so that a
 * reader can tell a lost, doubled or moved line by itself. Every line is written whole, also when
 * SIGTERM or SIGINT asks for the end: these are blocked and only ever taken between two lines.
 * Being blocked they also reach process 1 of a container, which otherwise would not see them.
 *
 * Knows nothing of ringtail and is linked statically, since the image has no C library.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC UINT64_C(1000000000)

struct options {
    uint64_t rate_per_sec; /* lines of both streams together; 0 is as fast as the pipe takes them */
    uint64_t lines_count;  /* of both streams together; 0 is without end */
    size_t line_bytes; /* without the newline; a line is never shorter than its number asks for */
    uint64_t stderr_every; /* each such line goes to stderr; 0 is none */
    uint64_t linger_sec;
    const char *prefix;
    bool tty_like;
    bool stamp;
    bool wait;
};

static void usage(FILE *to)
{
    fputs("usage: writer [--rate LINES_PER_SECOND] [--count LINES] [--bytes N] [--stderr-every K]\n"
          "              [--prefix STR] [--burst] [--tty-like] [--linger SECONDS]\n"
          "              [--stamp] [--wait]\n"
          "\n"
          "  --burst     as fast as the pipe takes the lines, whatever --rate says\n"
          "  --tty-like  each line starts with a progress bar that bare carriage returns redraw\n"
          "  --linger    stay this long after the last line\n"
          "  --stamp     padding starts with @ and the monotonic clock's nanoseconds, 20 digits\n"
          "  --wait      begin at SIGUSR1\n",
          to);
}

static uint64_t number_parse(const char *text)
{
    char *end = NULL;
    uintmax_t number;

    errno = 0;
    number = strtoumax(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || number > UINT64_C(1) << 40) {
        fprintf(stderr, "writer: not a number: %s\n", text);
        exit(2);
    }
    return number;
}

static struct options options_parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"rate", required_argument, NULL, 'r'},
        {"count", required_argument, NULL, 'c'},
        {"bytes", required_argument, NULL, 'b'},
        {"prefix", required_argument, NULL, 'p'},
        {"stderr-every", required_argument, NULL, 'e'},
        {"linger", required_argument, NULL, 'l'},
        {"burst", no_argument, NULL, 'u'},
        {"tty-like", no_argument, NULL, 't'},
        {"stamp", no_argument, NULL, 's'},
        {"wait", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.rate_per_sec = 10, .lines_count = 0, .line_bytes = 64, .prefix = "line"};
    bool burst = false;
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'r':
            o.rate_per_sec = number_parse(optarg);
            break;
        case 'c':
            o.lines_count = number_parse(optarg);
            break;
        case 'b':
            o.line_bytes = number_parse(optarg);
            break;
        case 'e':
            o.stderr_every = number_parse(optarg);
            break;
        case 'l':
            o.linger_sec = number_parse(optarg);
            break;
        case 'p':
            o.prefix = optarg;
            break;
        case 'u':
            burst = true;
            break;
        case 't':
            o.tty_like = true;
            break;
        case 's':
            o.stamp = true;
            break;
        case 'w':
            o.wait = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        usage(stderr);
        exit(2);
    }
    if (burst)
        o.rate_per_sec = 0;
    return o;
}

static uint64_t now_mono_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Waits for a blocked signal until a moment, which may be past. True if one asked for the end. */
static bool ended_before(const sigset_t *ends, uint64_t due_mono_ns)
{
    for (;;) {
        uint64_t now = now_mono_ns();
        uint64_t left = due_mono_ns > now ? due_mono_ns - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(left / NSEC_PER_SEC),
                                   .tv_nsec = (long)(left % NSEC_PER_SEC)};

        if (sigtimedwait(ends, NULL, &timeout) > 0)
            return true;
        if (errno != EINTR)
            return false;
    }
}

static int write_whole(int fd, const char *bytes, size_t bytes_count)
{
    while (bytes_count > 0) {
        ssize_t n = write(fd, bytes, bytes_count);

        if (n >= 0) {
            bytes += n;
            bytes_count -= (size_t)n;
        } else if (errno == EAGAIN) {
            /* Whoever made the pipe may have left it non-blocking; a full one is no reason to lose
             * a line. */
            struct pollfd wait_for = {.fd = fd, .events = POLLOUT};

            (void)poll(&wait_for, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Bytes of the line, newline included. The buffer has room for line_bytes and any head. */
static size_t line_format(const struct options *o, char stream, uint64_t number, char *line,
                          size_t room_bytes)
{
    int head = snprintf(line, room_bytes, "%s%s %c %" PRIu64 " ",
                        o->tty_like ? "[#  ]\r[## ]\r[###]\r" : "", o->prefix, stream, number);
    size_t len = (size_t)head;

    if (o->stamp)
        len += (size_t)snprintf(line + len, room_bytes - len, "@%020" PRIu64 " ", now_mono_ns());
    while (len < o->line_bytes) {
        line[len] = (char)('a' + len % 26);
        len++;
    }
    line[len++] = '\n';
    return len;
}

int main(int argc, char **argv)
{
    struct options o = options_parse(argc, argv);
    size_t room_bytes = o.line_bytes + strlen(o.prefix) + 128;
    uint64_t stdout_count = 0, stderr_count = 0;
    uint64_t started_mono_ns;
    char *line = malloc(room_bytes);
    int exit_code = 0;
    bool ended = false;
    sigset_t ends, begins;

    if (!line) {
        perror("writer");
        return 1;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    begins = ends;
    sigaddset(&begins, SIGUSR1);
    sigprocmask(SIG_BLOCK, &begins, NULL);
    while (o.wait && !ended) {
        int signal_number = sigwaitinfo(&begins, NULL);

        if (signal_number == SIGUSR1)
            break;
        ended = signal_number > 0;
    }

    started_mono_ns = now_mono_ns();
    for (uint64_t i = 0; !ended && (o.lines_count == 0 || i < o.lines_count); i++) {
        bool to_stderr = o.stderr_every > 0 && (i + 1) % o.stderr_every == 0;
        uint64_t number = to_stderr ? ++stderr_count : ++stdout_count;
        uint64_t due_mono_ns = started_mono_ns;
        size_t len;
        int r;

        /* From the start, not from the line before: a writer that was held up catches up. */
        if (o.rate_per_sec > 0)
            due_mono_ns += i / o.rate_per_sec * NSEC_PER_SEC +
                           i % o.rate_per_sec * NSEC_PER_SEC / o.rate_per_sec;
        ended = ended_before(&ends, due_mono_ns);
        if (ended)
            break;
        len = line_format(&o, to_stderr ? 'e' : 'o', number, line, room_bytes);
        r = write_whole(to_stderr ? STDERR_FILENO : STDOUT_FILENO, line, len);
        if (r < 0) {
            exit_code = 1;
            break;
        }
    }
    if (!ended && exit_code == 0 && o.linger_sec > 0)
        (void)ended_before(&ends, now_mono_ns() + o.linger_sec * NSEC_PER_SEC);
    free(line);
    return exit_code;
}
