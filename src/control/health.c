/* src/control/health.h. A blocking client of two requests: it runs in a process of its own. */
#include "health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "ask.h"

/* Far more than either page has; what is longer is not from ringtail. */
#define REPLY_BYTES_MAX 65536

struct admin_place {
    struct sockaddr_storage address;
    socklen_t len;
};

static int find_place(const struct config *c, struct admin_place *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->address;

    *ret = (struct admin_place){0};
    if (inet_pton(AF_INET, c->admin_address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)c->admin_port);
        if (v4->sin_addr.s_addr == htonl(INADDR_ANY))
            v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ret->len = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, c->admin_address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)c->admin_port);
        if (IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
            v6->sin6_addr = in6addr_loopback;
        ret->len = sizeof *v6;
        return 0;
    }
    return -EINVAL;
}

/* Returns the status of the reply, and where in it the body begins; -EPROTO when it is no HTTP. */
static int parse_reply(struct slice reply, struct slice *ret_body)
{
    static const char version[] = "HTTP/1.";
    const char *body, *at;
    int status = 0;

    body = memmem(reply.data, reply.len, "\r\n\r\n", 4);
    if (!body || reply.len < sizeof version + 4 ||
        memcmp(reply.data, version, sizeof version - 1) != 0)
        return -EPROTO;
    at = reply.data + sizeof version; /* behind the minor version */
    if (*at != ' ')
        return -EPROTO;
    for (unsigned i = 1; i <= 3; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -EPROTO;
        status = status * 10 + (at[i] - '0');
    }
    *ret_body = slice_from(reply, (size_t)(body + 4 - reply.data));
    return status;
}

/* GET. Returns the status with the body in `reply`, or -errno. */
static int ask(const struct admin_place *place, const char *path, int64_t deadline_ns,
               struct buf *reply, struct slice *ret_body)
{
    char request[128];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: ringtail\r\n\r\n", path);
    int fd = ask_connect((const struct sockaddr *)&place->address, place->len, deadline_ns);
    int r;

    if (fd < 0)
        return fd;
    buf_reset(reply);
    /* The server closes after one reply to HTTP/1.0. */
    r = ask_exchange(fd, slice_of(request, (size_t)len), false, REPLY_BYTES_MAX, deadline_ns,
                     reply);
    (void)close(fd); /* read only: nothing to lose */
    return r < 0 ? r : parse_reply(buf_slice(reply), ret_body);
}

/* One line of a body of any shape, for a person to read. */
static void say_body(struct buf *said, struct slice body)
{
    while (body.len > 0 && (unsigned char)body.data[body.len - 1] <= ' ')
        body.len--;
    for (size_t i = 0; i < body.len; i++)
        (void)buf_append_char(said, (unsigned char)body.data[i] < ' ' ? ' ' : body.data[i]);
}

bool health_ask(const struct config *c, int64_t timeout_ms, struct buf *said)
{
    static const struct {
        const char *path, *not_ok;
    } questions[] = {{"/health", "not working"}, {"/ready", "not ready"}};
    int64_t deadline_ns = clock_mono_ns() + timeout_ms * 1000000;
    RT_CLEANUP(buf_finish) struct buf reply = {0};
    struct admin_place place;
    struct slice body = {0};

    /* Without memory the line is cut short; the answer holds all the same. */
    if (c->admin_address[0] == '\0' || c->admin_port == 0) {
        (void)buf_append_str(said, "can't ask: the configuration has no admin.address or no fixed "
                                   "admin.port\n");
        return false;
    }
    if (find_place(c, &place) < 0) {
        (void)buf_printf(said, "can't ask: admin.address \"%s\" is no IP address\n",
                         c->admin_address);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        int status = ask(&place, questions[i].path, deadline_ns, &reply, &body);

        if (status == 200)
            continue;
        if (status < 0)
            (void)buf_printf(said, "no answer from %s port %d: %s\n", c->admin_address,
                             (int)c->admin_port, strerror(-status));
        else {
            (void)buf_printf(said, "%s: status %d: ", questions[i].not_ok, status);
            say_body(said, body);
            (void)buf_append_char(said, '\n');
        }
        return false;
    }
    (void)buf_append_str(said, "ready: ");
    say_body(said, body);
    (void)buf_append_char(said, '\n');
    return true;
}
