/* A blocking client of the admin endpoint, and /proc. */
#include "scrape.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "support/metrics_page.h"

#define PREFIX "log_capturer_"
#define LOOKS 40
#define LOOK_MS 50
#define LOOKS_AGAIN 5

static bool get(uint16_t port, struct buf *page)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = -1;

    buf_reset(page);
    if (fd < 0)
        return false;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1) {
        do {
            if (buf_reserve(page, 65536) < 0)
                abort();
            n = recv(fd, page->data + page->len, 65536, 0);
            page->len += n > 0 ? (size_t)n : 0;
        } while (n > 0);
    }
    close(fd);
    return n == 0 && page->len > 12 && memcmp(page->data + 9, "200", 3) == 0;
}

/* One ringtail runs at a time, and finding its port means reading its log. */
static uint16_t port_of(struct dock *d)
{
    static pid_t pid;
    static uint16_t port;

    if (pid != d->ringtail.pid) {
        dock_wait_log(d, "Admin endpoint", NULL, 1);
        port = (uint16_t)ringtail_proc_log_number(&d->ringtail, "Admin endpoint", "port");
        pid = d->ringtail.pid;
    }
    return port;
}

void scrape(struct dock *d, struct buf *page)
{
    uint16_t port = port_of(d);

    if (!get(port, page))
        dock_fail(d, "no answer from /metrics at port %u", port);
}

int64_t scrape_rotations(struct buf *page, const struct dock_container *c)
{
    char beginning[160];
    double value;

    snprintf(beginning, sizeof beginning,
             PREFIX "container_stream_rotations_total{container_id=\"%.12s\"", c->id);
    value = metrics_page_value(page, beginning);
    return isnan(value) ? -1 : (int64_t)value;
}

void scrape_wait_rotations(struct dock *d, const struct dock_container *containers, size_t count,
                           int64_t rotations)
{
    int64_t progress_ns = clock_mono_ns();
    struct buf page = {0};
    int64_t before = -1;

    for (size_t i = 0; i < count;) {
        int64_t now;

        scrape(d, &page);
        while (i < count && scrape_rotations(&page, &containers[i]) >= rotations)
            i++, before = -1;
        if (i == count)
            break;
        /* However slow the machine, each of them has to move. */
        now = scrape_rotations(&page, &containers[i]);
        if (now > before)
            progress_ns = clock_mono_ns();
        before = now;
        if (clock_mono_ns() - progress_ns > DOCK_TIMEOUT_MS * NSEC_PER_MSEC)
            dock_fail(d, "%.12s has been rotated %" PRId64 " times, and not %" PRId64,
                      containers[i].id, now, rotations);
        dock_sleep_ms(100);
    }
    buf_finish(&page);
}

static pid_t engine_pid(void)
{
    char path[128];
    FILE *file;
    int pid = 0;

    snprintf(path, sizeof path, "%.*s/pid", (int)(strrchr(dock_socket(), '/') - dock_socket()),
             dock_socket());
    file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(1, fscanf(file, "%d", &pid));
    fclose(file);
    return pid;
}

static int64_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int64_t count = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void keep_least(int64_t *least, int64_t value)
{
    if (*least < 0 || value < *least)
        *least = value;
}

struct holdings scrape_holdings(struct dock *d)
{
    struct holdings least = {-1, -1, -1, -1};
    struct buf page = {0};
    char engine_fds[64];

    snprintf(engine_fds, sizeof engine_fds, "/proc/%d/fd", (int)engine_pid());
    for (unsigned i = 0; i < LOOKS; i++) {
        scrape(d, &page);
        keep_least(&least.descriptors, ringtail_proc_descriptors(&d->ringtail));
        keep_least(&least.threads, ringtail_proc_threads(&d->ringtail));
        keep_least(&least.operations,
                   (int64_t)metrics_page_sum(&page, PREFIX "ring_operations_in_flight{"));
        keep_least(&least.engine_descriptors, count_entries(engine_fds));
        dock_sleep_ms(LOOK_MS);
    }
    buf_finish(&page);
    return least;
}

static bool is_more(const struct holdings *now, const struct holdings *before)
{
    return now->descriptors > before->descriptors || now->threads > before->threads ||
           now->operations > before->operations ||
           now->engine_descriptors > before->engine_descriptors;
}

struct holdings scrape_holdings_after(struct dock *d, const struct holdings *before)
{
    struct holdings now = scrape_holdings(d);

    for (unsigned i = 0; i < LOOKS_AGAIN && is_more(&now, before); i++) {
        struct holdings again = scrape_holdings(d);

        keep_least(&now.descriptors, again.descriptors);
        keep_least(&now.threads, again.threads);
        keep_least(&now.operations, again.operations);
        keep_least(&now.engine_descriptors, again.engine_descriptors);
    }
    return now;
}

int64_t scrape_engine_cpu_ns(void)
{
    char path[320];
    int64_t sum_ns = 0;
    pid_t pid = engine_pid();
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        int64_t ns = 0;
        FILE *file;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
        file = fopen(path, "re");
        if (!file)
            continue; /* it has just ended */
        if (fscanf(file, "%" SCNd64, &ns) == 1)
            sum_ns += ns;
        fclose(file);
    }
    closedir(dir);
    return sum_ns;
}
