/*
 * A Loki that costs next to nothing, for perf/outage/run: it takes pushes as fast as they come and
 * keeps nothing of them but, of each container, which number is to come next. The strict receiver
 * of the tests checks more, keeps every line, and would be what is measured.
 *
 *   outage-receiver
 *
 * Says its port on standard output as JSON, then obeys lines on standard input until that ends:
 *
 *   ok      takes and answers, from now on; who waits for an answer is hung up on
 *   hang    reads requests, takes nothing, never answers
 *   stats   {"requests":…,"lines":…,"containers":…,"repeated":…,"missing":…,"bad":…}: lines that
 *           came once and in order; that came again; that were passed over; requests that are none
 *
 * A line has ` n=NUMBER ` in it (the simulator's), from 0 on for each container, which is the
 * metadata container_id. A push is taken as a whole, or, if there is anything wrong with it, not at
 * all (400).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <yyjson.h>
#include <zlib.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/table.h"

#define READ_BYTES ((size_t)256 << 10)
#define BODY_BYTES_MAX ((size_t)256 << 20)
#define EVENTS 16

struct container {
    struct table_link by_id;
    uint64_t next;
    char id[];
};

struct connection {
    struct list link;
    int fd;
    struct buf in;
    bool waits; /* for an answer that does not come */
};

static struct {
    int epoll, listener;
    struct list connections;
    struct table containers;
    struct buf body; /* inflated */
    bool hangs;
    uint64_t requests, lines, repeated, missing, bad;
} receiver;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "outage-receiver: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- what is pushed ---- */

static struct container *container_of_id(struct slice id)
{
    struct table_link *link = table_find(&receiver.containers, id);
    struct container *c;

    if (link)
        return container_of(link, struct container, by_id);
    c = calloc(1, sizeof *c + id.len);
    require(c != NULL, "memory");
    memcpy(c->id, id.data, id.len);
    table_insert(&receiver.containers, &c->by_id, slice_of(c->id, id.len));
    return c;
}

static bool take_line(struct slice id, const char *line)
{
    const char *mark = strstr(line, " n=");
    struct container *c = container_of_id(id);
    uint64_t number;
    char *end;

    if (!mark)
        return false;
    number = strtoull(mark + 3, &end, 10);
    if (end == mark + 3 || *end != ' ')
        return false;
    if (number < c->next) {
        receiver.repeated++;
        return true;
    }
    receiver.missing += number - c->next;
    receiver.lines++;
    c->next = number + 1;
    return true;
}

static bool take_value(yyjson_val *value)
{
    yyjson_val *line = yyjson_arr_get(value, 1);
    yyjson_val *id = yyjson_obj_get(yyjson_arr_get(value, 2), "container_id");

    return yyjson_is_str(yyjson_arr_get(value, 0)) && yyjson_is_str(line) && yyjson_is_str(id) &&
           take_line(slice_of(yyjson_get_str(id), yyjson_get_len(id)), yyjson_get_str(line));
}

static bool take_push(struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.data, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *streams = yyjson_obj_get(yyjson_doc_get_root(doc), "streams"), *stream, *value;
    bool is_good = yyjson_is_arr(streams);
    yyjson_arr_iter each_stream, each_value;

    each_stream = yyjson_arr_iter_with(streams);
    while (is_good && (stream = yyjson_arr_iter_next(&each_stream))) {
        each_value = yyjson_arr_iter_with(yyjson_obj_get(stream, "values"));
        while (is_good && (value = yyjson_arr_iter_next(&each_value)))
            is_good = take_value(value);
    }
    yyjson_doc_free(doc);
    return is_good;
}

static bool inflate_body(struct slice in, struct slice *ret)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.len};
    struct buf *out = &receiver.body;
    int r = inflateInit2(&z, 15 + 16); /* gzip */

    buf_reset(out);
    while (r == Z_OK && out->len < BODY_BYTES_MAX) {
        require(buf_reserve(out, READ_BYTES) == 0, "memory");
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)READ_BYTES;
        r = inflate(&z, Z_NO_FLUSH);
        out->len += READ_BYTES - z.avail_out;
    }
    (void)inflateEnd(&z);
    *ret = buf_slice(out);
    return r == Z_STREAM_END;
}

/* ---- HTTP ---- */

/* The value of a header in a head that ends with a NUL; NULL: there is none. */
static const char *header(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at + 2, "\r\n"))
        if (strncasecmp(at + 2, name, len) == 0 && at[2 + len] == ':')
            return at + 3 + len + strspn(at + 3 + len, " ");
    return NULL;
}

static bool answer(struct connection *c, bool is_good)
{
    const char *text = is_good ? "HTTP/1.1 204 No Content\r\n\r\n"
                               : "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    size_t len = strlen(text);

    return send(c->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void take_request(const char *head, struct slice body, bool *ret_good)
{
    const char *encoding = header(head, "Content-Encoding");

    *ret_good = strncmp(head, "POST /loki/api/v1/push ", 23) == 0 &&
                (!encoding || (strncmp(encoding, "gzip\r\n", 6) == 0 && inflate_body(body, &body)));
    if (*ret_good)
        *ret_good = take_push(body);
    receiver.requests++;
    receiver.bad += !*ret_good;
}

/* Takes requests that are there as a whole. Returns false when the connection is to be closed. */
static bool take_requests(struct connection *c)
{
    while (c->in.len > 0 && !c->waits) {
        char *end = memmem(c->in.data, c->in.len, "\r\n\r\n", 4);
        const char *length;
        bool is_good;
        size_t head, body;

        if (!end)
            return c->in.len < READ_BYTES;
        head = (size_t)(end - c->in.data) + 4;
        end[2] = '\0'; /* the last header's line keeps its end */
        length = header(c->in.data, "Content-Length");
        body = length ? strtoull(length, NULL, 10) : BODY_BYTES_MAX;
        end[2] = '\r';
        if (body >= BODY_BYTES_MAX)
            return false;
        if (c->in.len - head < body)
            return true;
        end[2] = '\0';
        c->waits = receiver.hangs;
        if (c->waits)
            return true;
        take_request(c->in.data, slice_of(c->in.data + head, body), &is_good);
        buf_consume(&c->in, head + body);
        if (!answer(c, is_good))
            return false;
    }
    return true;
}

static void close_connection(struct connection *c)
{
    (void)close(c->fd);
    list_remove(&c->link);
    buf_finish(&c->in);
    free(c);
}

static void on_readable(struct connection *c)
{
    ssize_t n;

    require(buf_reserve(&c->in, READ_BYTES) == 0, "memory");
    n = recv(c->fd, c->in.data + c->in.len, READ_BYTES, 0);
    if (n > 0)
        c->in.len += (size_t)n;
    if (n <= 0 || !take_requests(c))
        close_connection(c);
}

static void watch(int fd, void *ptr)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};

    require(epoll_ctl(receiver.epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

static void on_connect(void)
{
    struct connection *c = calloc(1, sizeof *c);

    require(c != NULL, "memory");
    c->fd = accept4(receiver.listener, NULL, NULL, SOCK_CLOEXEC);
    if (c->fd < 0) {
        free(c);
        return;
    }
    list_append(&receiver.connections, &c->link);
    watch(c->fd, c);
}

static void open_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    receiver.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(receiver.listener >= 0 &&
                bind(receiver.listener, (struct sockaddr *)&address, len) == 0 &&
                listen(receiver.listener, 64) == 0 &&
                getsockname(receiver.listener, (struct sockaddr *)&address, &len) == 0,
            "a port");
    watch(receiver.listener, &receiver.listener);
    printf("{\"port\":%u}\n", ntohs(address.sin_port));
    (void)fflush(stdout);
}

/* ---- what we are told ---- */

static void say_stats(void)
{
    printf("{\"requests\":%" PRIu64 ",\"lines\":%" PRIu64
           ",\"containers\":%zu,\"repeated\":%" PRIu64 ",\"missing\":%" PRIu64 ",\"bad\":%" PRIu64
           "}\n",
           receiver.requests, receiver.lines, receiver.containers.count, receiver.repeated,
           receiver.missing, receiver.bad);
    (void)fflush(stdout);
}

static void obey(const char *command)
{
    if (strcmp(command, "stats") == 0)
        say_stats();
    receiver.hangs = strcmp(command, "hang") == 0 || (receiver.hangs && strcmp(command, "ok") != 0);
    if (receiver.hangs)
        return;
    LIST_FOR_EACH_ENTRY (c, &receiver.connections, struct connection, link)
        if (c->waits)
            close_connection(c);
}

/* Lines are short, and are written as a whole. */
static bool on_commands(void)
{
    char commands[4096], *rest;
    ssize_t n = read(STDIN_FILENO, commands, sizeof commands - 1);

    if (n <= 0)
        return false;
    commands[n] = '\0';
    for (char *one = strtok_r(commands, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest))
        obey(one);
    return true;
}

int main(void)
{
    bool goes_on = true;

    list_init(&receiver.connections);
    require(table_init(&receiver.containers) == 0, "memory");
    receiver.epoll = epoll_create1(EPOLL_CLOEXEC);
    require(receiver.epoll >= 0, "epoll");
    open_listener();
    watch(STDIN_FILENO, NULL);
    while (goes_on) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(receiver.epoll, events, EVENTS, -1);
        bool is_told = false;

        for (int i = 0; i < n; i++) {
            void *ptr = events[i].data.ptr;

            if (!ptr)
                is_told = true; /* last: it may close connections that have events here */
            else if (ptr == &receiver.listener)
                on_connect();
            else
                on_readable(ptr);
        }
        goes_on = !is_told || on_commands();
    }
    return 0;
}
