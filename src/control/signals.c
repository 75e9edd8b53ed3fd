/* src/control/signals.h. */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static struct ring *_Atomic woken;
static atomic_int seen;

static void on_signal(int number)
{
    struct ring *ring = atomic_load(&woken);
    int saved = errno;

    (void)number;
    atomic_fetch_add(&seen, 1);
    if (ring)
        ring_wake(ring);
    errno = saved;
}

void signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL); /* these cannot fail for these signals */
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

void signals_wake(struct ring *ring)
{
    atomic_store(&woken, ring);
    if (ring && atomic_load(&seen) > 0)
        ring_wake(ring);
}

int signals_seen(void)
{
    return atomic_load(&seen);
}
