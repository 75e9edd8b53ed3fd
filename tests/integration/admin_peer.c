#include "admin_peer.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/metrics_page.h"

uint16_t admin_peer_port(struct world *w)
{
    world_wait_log(w, "Admin endpoint", NULL, 1);
    return (uint16_t)ringtail_proc_log_number(&w->ringtail, "Admin endpoint", "port");
}

static int ask_for(uint16_t port, const char *path)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char request[256];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", path);

    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, (size_t)len, MSG_NOSIGNAL) == len)
        return fd;
    close(fd);
    return -1;
}

int admin_peer_ask(uint16_t port)
{
    return ask_for(port, "/metrics");
}

static bool get(uint16_t port, const char *path, struct buf *page)
{
    int fd = ask_for(port, path);
    ssize_t n;

    buf_reset(page);
    if (fd < 0)
        return false;
    do {
        if (buf_reserve(page, 65536) < 0)
            abort();
        n = recv(fd, page->data + page->len, 65535, 0);
        page->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    page->data[page->len] = '\0';
    close(fd);
    return n == 0 && page->len > 12;
}

bool admin_peer_get(uint16_t port, struct buf *page)
{
    return get(port, "/metrics", page) && memcmp(page->data + 9, "200", 3) == 0;
}

int admin_peer_fetch(uint16_t port, const char *path, struct buf *page)
{
    const char *body;
    int status;

    if (!get(port, path, page) || !(body = strstr(page->data, "\r\n\r\n")))
        return -1;
    status = (int)strtol(page->data + 9, NULL, 10);
    buf_consume(page, (size_t)(body + 4 - page->data));
    page->data[page->len] = '\0';
    return status;
}

double admin_peer_sum(struct world *w, uint16_t port, const char *beginning)
{
    struct buf page = {0};
    double sum;

    if (!admin_peer_get(port, &page))
        world_fail(w, "no answer from /metrics at port %u", port);
    sum = metrics_page_sum(&page, beginning);
    buf_finish(&page);
    return sum;
}
