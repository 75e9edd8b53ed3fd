/*
 * file_sync.h. Owns the duplicated descriptors of the syncs that run.
 *
 * Invariants: `dirty` rises in epoch; a sync of an epoch that is wanted is either running or its
 * file still is in `dirty`, and then RUNNING_MAX syncs run.
 */
#include "file_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

/* Enough to let a journal put them together, and few descriptors. Closing files come on top. */
#define RUNNING_MAX 8

struct sync {
    struct op op;
    struct list link;
    struct file_sync *owner;
    int fd;
    uint64_t epoch;
    int result;
    bool closing; /* synced; its descriptor is being closed */
};

static void start_wanted(struct file_sync *s);

static void on_op(struct op *op, int res)
{
    struct sync *sync = container_of(op, struct sync, op);
    struct file_sync *s = sync->owner;
    int result = sync->result;

    if (!sync->closing) {
        sync->closing = true;
        sync->result = res == -EINVAL ? 0 : MIN(res, 0); /* -EINVAL: it can't be synced there */
        ring_close_fd(s->ring, &sync->op, sync->fd);
        return;
    }
    list_remove(&sync->link);
    free(sync); /* a duplicate's close has nothing left to fail at */
    s->running_count--;
    start_wanted(s);
    s->on_synced(s, result);
}

static void start(struct file_sync *s, struct file_dirt *dirt)
{
    struct sync *sync = calloc(1, sizeof *sync);
    int fd = sync ? fcntl(dirt->fd, F_DUPFD_CLOEXEC, 0) : -1;

    list_remove(&dirt->link);
    if (fd < 0) {
        s->on_synced(s, sync ? -errno : -ENOMEM);
        free(sync);
        return;
    }
    *sync = (struct sync){.op.done = on_op, .owner = s, .fd = fd, .epoch = dirt->epoch};
    list_append(&s->running, &sync->link);
    s->running_count++;
    ring_fsync(s->ring, &sync->op, fd, true);
}

static struct file_dirt *first_wanted(const struct file_sync *s)
{
    struct file_dirt *first;

    if (list_is_empty(&s->dirty))
        return NULL;
    first = container_of(s->dirty.next, struct file_dirt, link);
    return first->epoch <= s->wanted ? first : NULL;
}

static void start_wanted(struct file_sync *s)
{
    struct file_dirt *dirt;

    while (s->running_count < RUNNING_MAX && (dirt = first_wanted(s)))
        start(s, dirt);
}

void file_sync_init(struct file_sync *s, struct ring *ring, bool enabled,
                    void (*on_synced)(struct file_sync *s, int result))
{
    *s = (struct file_sync){.ring = ring, .enabled = enabled, .epoch = 1, .on_synced = on_synced};
    list_init(&s->dirty);
    list_init(&s->running);
}

void file_sync_before_close(struct file_sync *s, struct file_dirt *dirt)
{
    if (list_is_linked(&dirt->link))
        start(s, dirt);
}

void file_sync_all(struct file_sync *s)
{
    s->wanted = s->epoch++;
    start_wanted(s);
}

bool file_sync_is_done(const struct file_sync *s)
{
    if (first_wanted(s))
        return false;
    LIST_FOR_EACH_ENTRY (sync, &s->running, struct sync, link) {
        if (sync->epoch <= s->wanted)
            return false;
    }
    return true;
}
