/* src/control/ring_setup.h. */
#include "ring_setup.h"

#include <sys/resource.h>

#include "confine.h"

#define SQE_BYTES 64
#define CQE_BYTES 16
#define CQES_PER_SQE 4
/* Heads, tails, the index array, the buffer ring, each rounded up to pages. */
#define REST_BYTES 32768

struct ring_options ring_setup_options(const struct config *c)
{
    return (struct ring_options){
        .backend = (enum ring_backend_choice)c->ring_backend,
        .entries = (unsigned)c->ring_entries,
        .sockets_max = (unsigned)c->ring_sockets_max,
        .buffers_count = (unsigned)c->ring_buffers,
        .buffer_bytes = (unsigned)c->ring_buffer_bytes,
        .workers_max = (unsigned)c->ring_workers_max,
        .batch_pause_us = c->ring_batch_pause_ms * 1000,
        .confined = c->run_confine != CONFINE_OFF,
    };
}

static void raise_limit(__rlimit_resource_t which)
{
    struct rlimit limit;

    if (getrlimit(which, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(which, &limit); /* the ring says so if it is not enough */
}

void ring_setup_raise_limits(void)
{
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK);
}

int64_t ring_setup_locked_bytes(const struct config *c)
{
    return c->ring_entries * (SQE_BYTES + CQES_PER_SQE * CQE_BYTES) + REST_BYTES;
}
