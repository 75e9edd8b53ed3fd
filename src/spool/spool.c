/*
 * The spool as a whole: its directory, its segments from the oldest to the one that is appended to,
 * and their end. Every start begins a segment of its own, so a file that a crash has left is only
 * ever read, and cut where its last whole entry ends.
 *
 * Invariants: segments are in the order of their places and do not overlap; `done` ≤ `end`; a
 * segment is unlinked when every cursor is behind it, and by nobody else.
 */
#include "ringtail/spool/spool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "private.h"
#include "scan.h"

#define LOCK_FILE "lock"
#define LOCK_TRIES 100
#define LOCK_PAUSE_MS 20
#define SEGMENT_BYTES_MAX ((int64_t)1 << 30)
#define SEGMENT_BYTES_MIN ((int64_t)4 << 10)
/* A segment in which nothing waits goes before it is full, unless it is hardly worth it. */
#define RETIRE_BYTES ((uint64_t)1 << 20)

void spool_note(struct spool *s, enum spool_part part, int res)
{
    s->errors[part] = MIN(res, 0);
    s->stats.errors += res < 0;
    s->stats.last_error = s->errors[part];
    for (size_t i = 0; i < PART_COUNT && s->stats.last_error == 0; i++)
        s->stats.last_error = s->errors[i];
}

int64_t spool_now_ms(void)
{
    return clock_wall_ns() / NSEC_PER_MSEC;
}

const struct spool_stats *spool_stats_get(const struct spool *s)
{
    return &s->stats;
}

/* ---- segments ---- */

struct spool_segment *segment_create(struct spool_place begin)
{
    struct spool_segment *seg = calloc(1, sizeof *seg);

    if (!seg)
        return NULL;
    list_init(&seg->link);
    seg->begin = seg->end = begin;
    seg->end.at += SEGMENT_HEAD_BYTES;
    seg->made_ms = spool_now_ms();
    segment_name_put(seg->name, begin.at);
    return seg;
}

void segment_destroy(struct spool *s, struct spool_segment *seg)
{
    if (s && list_is_linked(&seg->link)) {
        s->stats.segments--;
        s->stats.bytes -= seg->end.at - seg->begin.at;
        s->stats.records -= seg->end.record - seg->begin.record;
    }
    list_remove(&seg->link);
    source_map_finish(&seg->map);
    free(seg);
}

struct spool_segment *segment_behind(const struct spool *s, uint64_t at)
{
    LIST_FOR_EACH_ENTRY (seg, &s->segments, struct spool_segment, link) {
        if (seg->end.at > at && !seg->dropping)
            return seg;
    }
    return NULL;
}

bool segment_is_expired(const struct spool *s, const struct spool_segment *seg, int64_t now_ms)
{
    return s->options.age_max_ms > 0 && seg->written &&
           seg->newest_ms < now_ms - s->options.age_max_ms;
}

struct spool_place spool_skip_segment(const struct spool *s, struct spool_place place)
{
    const struct spool_segment *seg = segment_behind(s, place.at);

    return seg && seg->end.at <= s->done.at ? seg->end : s->done;
}

struct spool_place spool_skip_expired(const struct spool *s, struct spool_place place)
{
    int64_t now_ms = spool_now_ms();
    const struct spool_segment *seg;

    while ((seg = segment_behind(s, place.at)) && segment_is_expired(s, seg, now_ms))
        place = seg->end;
    return place;
}

/* ---- dropping them ---- */

static void dropper_enter(struct dropper *d, enum dropper_state next)
{
    static const uint32_t edges[DROPPER_STATE_COUNT] = {
        [DROPPER_IDLE] = BIT(DROPPER_UNLINKING),
        [DROPPER_UNLINKING] = BIT(DROPPER_IDLE) | BIT(DROPPER_WAITING),
        [DROPPER_WAITING] = BIT(DROPPER_IDLE),
    };

    assert(edges[d->state] & BIT(next));
    assert(!op_in_flight(&d->op));
    d->state = next;
}

/** Ends the segment that is appended to, if nothing in it waits for anybody. */
static void retire(struct spool *s, uint64_t oldest)
{
    uint64_t least = MIN(RETIRE_BYTES, (uint64_t)s->options.bytes_max / 16);
    struct spool_segment *last;

    if (list_is_empty(&s->segments) || oldest < s->end.at)
        return;
    last = container_of(s->segments.prev, struct spool_segment, link);
    if (last->complete || (!s->finishing && last->end.at - last->begin.at < least))
        return;
    last->complete = true;
    writer_go(s);
}

void spool_drop(struct spool *s)
{
    struct spool_segment *first;
    uint64_t oldest;

    if (!saver_oldest(s, &oldest))
        return;
    retire(s, oldest);
    if (s->dropper.state != DROPPER_IDLE || list_is_empty(&s->segments))
        return;
    first = container_of(s->segments.next, struct spool_segment, link);
    if (!first->written || first->end.at > oldest || reader_uses(s, first))
        return;
    dropper_enter(&s->dropper, DROPPER_UNLINKING);
    first->dropping = true;
    ring_unlink(s->ring, &s->dropper.op, s->dir_fd, first->name);
}

static void unlinked(struct spool *s, int res)
{
    struct dropper *d = &s->dropper;
    struct spool_segment *first = container_of(s->segments.next, struct spool_segment, link);

    res = res == -ENOENT ? 0 : res;
    spool_note(s, PART_DROPPER, res);
    if (res < 0) {
        first->dropping = false;
        dropper_enter(d, DROPPER_WAITING);
        ring_timer(s->ring, &d->op, s->finishing ? 0 : s->options.retry_ms);
        return;
    }
    dropper_enter(d, DROPPER_IDLE);
    reader_forget(s, first->begin.at);
    segment_destroy(s, first);
    spool_drop(s);
}

static void on_drop(struct op *op, int res)
{
    struct dropper *d = container_of(op, struct dropper, op);
    struct spool *s = container_of(d, struct spool, dropper);

    switch (d->state) {
    case DROPPER_UNLINKING:
        unlinked(s, res);
        break;
    case DROPPER_WAITING:
        dropper_enter(d, DROPPER_IDLE);
        if (!s->finishing) /* the next start tries again */
            spool_drop(s);
        break;
    case DROPPER_IDLE:
    case DROPPER_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

/* ---- opening ---- */

static int lock_directory(struct spool *s)
{
    /* Of a ringtail that has just been killed, the kernel may hold what was in flight a moment
     * longer, and the directory with it. */
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * NSEC_PER_MSEC};

    s->lock_fd = openat(s->dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY,
                        SPOOL_FILE_MODE);
    if (s->lock_fd < 0)
        return -errno;
    for (unsigned tries = 0; flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
            return -errno;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

struct last_entry {
    struct spool_place end;
    int64_t at_ms;
};

static int note_last(void *ctx, const struct walk *w, enum walk_step step, const struct entry *e)
{
    struct last_entry *last = ctx;

    if (step != WALK_DAMAGED)
        *last = (struct last_entry){.end = w->place, .at_ms = e->at_ms};
    return 0;
}

/** Cuts what a crash has torn off the end of the last file. Nothing whole in it: returns -ENODATA.
 */
static int cut_torn_end(struct spool *s, struct spool_segment *seg, const struct segment_file *file)
{
    struct walk w = {
        .place = {.at = seg->begin.at + MIN(file->size, SEGMENT_HEAD_BYTES),
                  .record = seg->begin.record},
        .limit = seg->begin.at + file->size,
    };
    struct last_entry last = {.end = seg->begin};
    int r = segment_file_walk(file, &w, note_last, &last);

    if (r < 0)
        return r == -ENODATA ? -EIO : r; /* nobody else makes it shorter */
    s->stats.bytes_torn += w.limit - last.end.at;
    if (last.end.at == seg->begin.at)
        return -ENODATA;
    if (last.end.at < w.limit && ftruncate(file->fd, (off_t)(last.end.at - seg->begin.at)) < 0)
        return -errno;
    seg->end = last.end;
    seg->newest_ms = last.at_ms;
    return 0;
}

static int find_segment(struct spool *s, uint64_t begin, bool is_last)
{
    struct segment_file file;
    struct spool_segment *seg;
    int r = segment_file_open(s->dir_fd, begin, is_last ? O_RDWR : O_RDONLY, &file);

    if (r < 0)
        return r;
    seg = segment_create(file.head.begin);
    if (!seg) {
        (void)close(file.fd); /* nothing was written */
        return -ENOMEM;
    }
    if (file.head_damaged)
        s->stats.bytes_damaged += MIN(file.size, SEGMENT_HEAD_BYTES);
    seg->complete = seg->written = true;
    seg->made_ms = file.head.made_ms;
    seg->end = (struct spool_place){.at = begin + file.size, .record = file.head.begin.record};
    seg->newest_ms = INT64_MAX;
    list_prepend(&s->segments, &seg->link);
    if (is_last)
        r = cut_torn_end(s, seg, &file);
    if (r == -ENODATA) {
        r = unlinkat(s->dir_fd, seg->name, 0) < 0 ? -errno : -ENODATA;
        list_remove(&seg->link);
        segment_destroy(s, seg);
    }
    (void)close(file.fd); /* at most cut */
    return r;
}

/** Places and numbers of neighbours meet, and never go back. */
static void settle_ends(struct spool *s)
{
    struct spool_place furthest = saver_furthest(s);
    struct spool_segment *before = NULL;

    LIST_FOR_EACH_ENTRY (seg, &s->segments, struct spool_segment, link) {
        if (before) {
            seg->begin.record = MAX(seg->begin.record, before->begin.record);
            before->end.at = MIN(before->end.at, seg->begin.at);
            before->end.record = seg->begin.record;
            if (seg->made_ms > 0)
                before->newest_ms = seg->made_ms;
        }
        before = seg;
    }
    s->end = furthest;
    if (before) {
        s->end.at = MAX(furthest.at, before->end.at);
        s->end.record = MAX(furthest.record, MAX(before->begin.record, before->end.record));
        before->end.record = s->end.record;
    }
    s->done = s->end;
    LIST_FOR_EACH_ENTRY (seg, &s->segments, struct spool_segment, link) {
        s->stats.segments++;
        s->stats.bytes += seg->end.at - seg->begin.at;
        s->stats.records += seg->end.record - seg->begin.record;
    }
}

static int find_segments(struct spool *s, const uint64_t *begins, size_t count, char *why,
                         size_t why_size)
{
    bool is_last = true;

    /* From the newest on, which says how far the numbers of records have come. */
    for (size_t i = count; i-- > 0;) {
        int r = find_segment(s, begins[i], is_last);

        if (r == 0) {
            is_last = false;
        } else if (r != -ENODATA) {
            (void)snprintf(why, why_size, "segment %016llx: %s", (unsigned long long)begins[i],
                           r == -EPROTONOSUPPORT ? "of a version that is not known here"
                                                 : strerror(-r));
            return r;
        }
    }
    settle_ends(s);
    return 0;
}

/** So that a directory that was just made survives a loss of power; not every file system can. */
static void sync_parent(int dir_fd)
{
    int fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

static int open_all(struct spool *s, const char *directory, char *why, size_t why_size)
{
    RT_CLEANUP(freep) uint64_t *begins = NULL;
    const char *what = directory;
    size_t count = 0;
    bool is_made = mkdir(directory, 0700) == 0;
    int r = is_made || errno == EEXIST ? 0 : -errno;

    if (r == 0) {
        s->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = s->dir_fd < 0 ? -errno : 0;
    }
    if (r == 0 && is_made)
        sync_parent(s->dir_fd);
    if (r == 0) {
        what = LOCK_FILE;
        r = lock_directory(s);
    }
    if (r == 0) {
        what = "segments";
        r = segments_list(s->dir_fd, &begins, &count);
    }
    if (r == 0) {
        what = "cursors";
        r = saver_open(s, count > 0);
    }
    if (r == 0)
        return find_segments(s, begins, count, why, why_size);
    (void)snprintf(why, why_size, "%s: %s", what,
                   r == -EWOULDBLOCK ? "another ringtail has it" : strerror(-r));
    return r;
}

int spool_open(struct ring *ring, const struct spool_options *options, struct spool **ret,
               char *why, size_t why_size)
{
    struct spool *s = calloc(1, sizeof *s);
    int r;

    if (!s) {
        (void)snprintf(why, why_size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    s->ring = ring;
    s->options = *options;
    s->options.directory = NULL;
    s->options.segment_bytes =
        MAX(MIN(MIN(options->segment_bytes, options->bytes_max / 4), SEGMENT_BYTES_MAX),
            SEGMENT_BYTES_MIN);
    s->dir_fd = s->lock_fd = s->saver.fd = -1;
    s->dropper.op.done = on_drop;
    list_init(&s->segments);
    list_init(&s->saver.cursors);
    writer_init(s);
    reader_init(s);
    r = open_all(s, options->directory, why, why_size);
    if (r < 0) {
        (void)spool_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- ending ---- */

void spool_finish(struct spool *s)
{
    s->finishing = true;
    if (s->dropper.state == DROPPER_WAITING)
        ring_cancel(s->ring, &s->dropper.op);
    if (!list_is_empty(&s->segments))
        container_of(s->segments.prev, struct spool_segment, link)->complete = true;
    writer_go(s);
    reader_wake(s);
    saver_go(s);
    spool_drop(s);
}

void spool_abort(struct spool *s)
{
    s->aborted = true;
    spool_finish(s);
    writer_abort(s);
    saver_go(s);
}

bool spool_is_idle(const struct spool *s)
{
    return writer_is_idle(s) && reader_is_idle(s) && saver_is_idle(s) &&
           s->dropper.state == DROPPER_IDLE;
}

struct spool *spool_close(struct spool *s)
{
    if (!s)
        return NULL;
    assert(writer_is_idle(s) && reader_is_idle(s) && s->saver.state == SAVER_IDLE &&
           s->dropper.state == DROPPER_IDLE);
    writer_close(s);
    reader_close(s);
    saver_close(s);
    LIST_FOR_EACH_ENTRY (seg, &s->segments, struct spool_segment, link) {
        segment_destroy(s, seg);
    }
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd); /* and unlocks it */
    if (s->dir_fd >= 0)
        (void)close(s->dir_fd);
    free(s);
    return NULL;
}
