/* src/control/notify.h. */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

/* A lost word is no reason to wait or to end: systemd asks for none, and the watchdog's comes
 * again. */
static void say(const struct notify *n, const char *what)
{
    if (n->fd >= 0)
        (void)sendto(n->fd, what, strlen(what), MSG_DONTWAIT | MSG_NOSIGNAL,
                     (const struct sockaddr *)&n->address, n->address_len);
}

static int find_address(struct notify *n, const char *name)
{
    size_t len = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || len < 2)
        return -EINVAL;
    if (len >= sizeof n->address.sun_path)
        return -ENAMETOOLONG;
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, name, len + 1);
    /* An abstract name begins with a NUL and ends where its length says. */
    if (name[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    return 0;
}

/* Twice as often as it has to be, as sd_watchdog_enabled(3) advises. */
static int64_t watchdog_interval_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    char *end;
    long long value;

    if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    errno = 0;
    value = strtoll(usec, &end, 10);
    if (errno != 0 || *end != '\0' || value <= 0)
        return 0;
    return MAX(value / 2000, 1);
}

static void on_timer(struct op *op, int res)
{
    struct notify *n = container_of(op, struct notify, timer_op);

    if (res != -ETIME)
        return;
    if (n->said_ready)
        say(n, "WATCHDOG=1");
    else
        say(n, "READY=1");
    n->said_ready = true;
    if (n->watchdog_ms > 0)
        ring_timer(n->ring, op, n->watchdog_ms);
}

void notify_start(struct notify *n, struct ring *ring)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int r;

    *n = (struct notify){.ring = ring, .timer_op.done = on_timer, .fd = -1};
    if (!name || !*name)
        return;
    r = find_address(n, name);
    if (r == 0) {
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        r = n->fd < 0 ? -errno : 0;
    }
    if (r < 0) {
        log_warn("The service manager can't be told anything", LOG_STR("socket", name),
                 LOG_ERRNO(r));
        return;
    }
    n->watchdog_ms = watchdog_interval_ms();
    ring_timer(ring, &n->timer_op, 0);
}

void notify_stopping(struct notify *n)
{
    say(n, "STOPPING=1");
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        (void)close(n->fd); /* nothing waits in it */
    n->fd = -1;
    if (n->ring)
        ring_cancel(n->ring, &n->timer_op);
}

bool notify_is_idle(const struct notify *n)
{
    return !op_in_flight(&n->timer_op);
}
