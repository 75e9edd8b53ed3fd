/*
 * Output that survives a power loss: which files have been written to since they were last synced,
 * and syncing them through the ring, a few at once.
 *
 * A sync has a descriptor of its own (a duplicate), so a file is written on, rotated and closed
 * meanwhile as if there were none. A file that is about to be closed is synced then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/io/ring.h"

/** In each file. All zero but for `link`, which is initialized: nothing to sync. */
struct file_dirt {
    struct list link;
    int fd;
    uint64_t epoch; /* in which it became dirty */
};

struct file_sync {
    struct ring *ring;
    bool enabled;
    struct list dirty;   /* in the order in which they became so */
    struct list running; /* struct sync */
    uint32_t running_count;
    uint64_t epoch;  /* what becomes dirty now belongs to it */
    uint64_t wanted; /* everything up to this epoch is to be synced */
    /** A sync has ended: 0 or a negative errno. */
    void (*on_synced)(struct file_sync *s, int result);
};

void file_sync_init(struct file_sync *s, struct ring *ring, bool enabled,
                    void (*on_synced)(struct file_sync *s, int result));

/** The file has been written to. */
static inline void file_sync_note(struct file_sync *s, struct file_dirt *dirt, int fd)
{
    if (!s->enabled || list_is_linked(&dirt->link))
        return;
    dirt->fd = fd;
    dirt->epoch = s->epoch;
    list_append(&s->dirty, &dirt->link);
}

/** The file's descriptor is going to be closed, or is another one from now on. */
void file_sync_before_close(struct file_sync *s, struct file_dirt *dirt);

/** Syncs everything that has been written until now. */
void file_sync_all(struct file_sync *s);

/** Whether that is done. */
bool file_sync_is_done(const struct file_sync *s);

/** Nothing is in flight. */
static inline bool file_sync_is_idle(const struct file_sync *s)
{
    return s->running_count == 0;
}
