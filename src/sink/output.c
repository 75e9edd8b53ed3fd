/*
 * One output file, from the first open to the last close.
 *
 * Nothing here trusts a path twice: directories and files are opened by openat2 below the sink's
 * directory and through no symlink, directories are made one by one inside of the one just opened,
 * and rotation happens inside of a directory that was opened so. A look at the path by name
 * (COMPARING) only ever leads to opening it again.
 *
 * Invariants: at most one operation in flight, and a state in which one is has exactly one; `fd` is
 * open exactly from EXAMINING to the next CLOSING or RETIRING; a slot is taken from CLOSED's end
 * until `fd` is closed or the open has failed.
 */
#include "output.h"

#include <assert.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "health.h"

#define FILE_MODE 0640
#define DIR_MODE 0750
#define RESOLVE_INSIDE (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
/* Readable, to see whether it ends with a newline; and so that a planted FIFO cannot block the
 * open. */
#define FILE_FLAGS (O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY)
#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define STATX_WANTED (STATX_TYPE | STATX_INO | STATX_SIZE | STATX_MTIME | STATX_BTIME)

/*
 *      ┌──────────────────── CLOSED ◄──────────────────┐
 *      ▼                                               │
 *   ENTERING ◄──► MAKING, STEPPING    the directories  │
 *      │ ▲                                             │
 *      │ └───────────────────────┐ to rotate           │
 *      │                         │                     │
 *      ├──► PROBING ► SHIFTING ► │ ─► RETIRING         │
 *      ▼       └► DROPPING ▲     │       │             │
 *   OPENING ◄────────────────────┼───────┘             │
 *      ▼                         │                     │
 *   EXAMINING ► READING          │                     │
 *      ▼           ▼             │                     │
 *   LEAVING ─────────► READY ────┘                     │
 *      │               │ ▲  ▲                          │
 *      │               │ │  └─► WRITING ───┐           │
 *      │               │ └────► COMPARING ─┤           │
 *      │               ▼                   ▼           │
 *      ├────────────► CLOSING ◄────────────┘           │
 *      ▼                 │                             │
 *   WAITING ◄────────────┴─────────────────────────────┤
 *      └───────────────────────────────────────────────┘
 *
 * What fails between ENTERING and READING goes through LEAVING to WAITING, by way of CLOSING if a
 * file is open; a rotation that fails goes back to READY with the old file. In the sink's own
 * directory there is none to enter or to leave, and these states are passed over.
 */
#define AFTER_LEAVING (BIT(OUTPUT_READY) | BIT(OUTPUT_CLOSING) | BIT(OUTPUT_WAITING))
#define TO_LEAVE (BIT(OUTPUT_LEAVING) | AFTER_LEAVING)
#define AFTER_ENTERING (BIT(OUTPUT_PROBING) | BIT(OUTPUT_SHIFTING) | BIT(OUTPUT_OPENING))

static const uint32_t output_edges[OUTPUT_STATE_COUNT] = {
    [OUTPUT_CLOSED] = BIT(OUTPUT_ENTERING) | BIT(OUTPUT_OPENING),
    [OUTPUT_ENTERING] = BIT(OUTPUT_ENTERING) | BIT(OUTPUT_MAKING) | BIT(OUTPUT_STEPPING) |
                        AFTER_ENTERING | TO_LEAVE,
    [OUTPUT_MAKING] = BIT(OUTPUT_ENTERING) | TO_LEAVE,
    [OUTPUT_STEPPING] = BIT(OUTPUT_ENTERING) | AFTER_ENTERING,
    [OUTPUT_PROBING] = BIT(OUTPUT_PROBING) | BIT(OUTPUT_DROPPING) | BIT(OUTPUT_SHIFTING) | TO_LEAVE,
    [OUTPUT_DROPPING] = BIT(OUTPUT_SHIFTING) | TO_LEAVE,
    [OUTPUT_SHIFTING] = BIT(OUTPUT_SHIFTING) | BIT(OUTPUT_RETIRING) | TO_LEAVE,
    [OUTPUT_RETIRING] = BIT(OUTPUT_OPENING),
    [OUTPUT_OPENING] = BIT(OUTPUT_EXAMINING) | TO_LEAVE,
    [OUTPUT_EXAMINING] = BIT(OUTPUT_READING) | TO_LEAVE,
    [OUTPUT_READING] = TO_LEAVE,
    [OUTPUT_LEAVING] = AFTER_LEAVING,
    [OUTPUT_READY] = BIT(OUTPUT_COMPARING) | BIT(OUTPUT_WRITING) | BIT(OUTPUT_CLOSING) |
                     BIT(OUTPUT_ENTERING) | BIT(OUTPUT_PROBING) | BIT(OUTPUT_SHIFTING),
    [OUTPUT_COMPARING] = BIT(OUTPUT_READY) | BIT(OUTPUT_CLOSING),
    [OUTPUT_WRITING] = BIT(OUTPUT_READY) | BIT(OUTPUT_CLOSING),
    [OUTPUT_CLOSING] = BIT(OUTPUT_CLOSED) | BIT(OUTPUT_WAITING),
    [OUTPUT_WAITING] = BIT(OUTPUT_CLOSED),
};

static void output_enter(struct output *o, enum output_state next)
{
    assert(output_edges[o->state] & BIT(next));
    assert(!op_in_flight(&o->op));
    o->state = next;
}

static struct ring *ring_of(const struct output *o)
{
    return o->set->sink->ring;
}

static void output_op_done(struct op *op, int res);

int output_set_init(struct output_set *set)
{
    *set = (struct output_set){.dir_fd = -1, .tick = 1};
    list_init(&set->idle);
    list_init(&set->waiting);
    return table_init(&set->by_path);
}

void output_set_finish(struct output_set *set)
{
    assert(set->by_path.count == 0 && set->open_count == 0);
    chunk_pool_finish(&set->pool);
    table_finish(&set->by_path);
}

struct output *output_get(struct output_set *set, struct slice path)
{
    struct table_link *link = table_find(&set->by_path, path);
    size_t names_size = path.len + ROTATED_ROOM;
    const char *slash;
    struct output *o;

    if (link)
        return container_of(link, struct output, by_path);
    o = calloc(1, sizeof *o + path.len + 1 + 2 * names_size);
    if (!o)
        return NULL;
    o->set = set;
    o->op.done = output_op_done;
    o->fd = o->dir_fd = -1;
    o->path = (char *)(o + 1);
    memcpy(o->path, path.data, path.len);
    slash = memrchr(o->path, '/', path.len);
    o->dir_len = slash ? (size_t)(slash - o->path) : 0;
    o->name = slash ? slash + 1 : o->path;
    o->names_size = names_size;
    o->names[0] = o->path + path.len + 1;
    o->names[1] = o->names[0] + names_size;
    list_init(&o->link);
    list_init(&o->touched);
    list_init(&o->dirt.link);
    out_queue_init(&o->queue, &set->pool);
    table_insert(&set->by_path, &o->by_path, slice_of(o->path, path.len));
    return o;
}

static void succeed(struct output *o)
{
    if (o->failing) {
        o->failing = false;
        o->set->failing_count--;
    }
    if (o->set->failing_count == 0)
        health_good(o->set->sink);
}

static void count_failure_of(struct output *o, int error, const char *what)
{
    health_failed(o->set->sink, SINK_RETRYING, error, what);
    if (!o->failing) {
        o->failing = true;
        o->set->failing_count++;
    }
}

static void count_failure(struct output *o, int error)
{
    count_failure_of(o, error, o->path);
}

static void drop_queue(struct output *o)
{
    out_queue_drop(&o->queue, o->set->sink);
}

static void tell(const struct output *o, sink_file_fn fn)
{
    if (o->known && fn)
        fn(o->set->ctx, o->path, o->device, o->inode, o->size);
}

static void output_destroy(struct output *o)
{
    struct output_set *set = o->set;

    assert(o->state == OUTPUT_CLOSED && !op_in_flight(&o->op));
    tell(o, set->on_closed);
    if (o->failing)
        set->failing_count--;
    list_remove(&o->link);
    list_remove(&o->touched);
    table_remove(&set->by_path, &o->by_path);
    out_queue_finish(&o->queue);
    free(o);
    set->on_gone(set);
}

/* Descriptors: as many files are open as there are slots. */

static void begin_close(struct output *o)
{
    list_remove(&o->link);
    file_sync_before_close(&o->set->sync, &o->dirt);
    output_enter(o, OUTPUT_CLOSING);
    ring_close_fd(ring_of(o), &o->op, o->fd);
}

/** Closes the file that has been idle for longest, if there is one. */
static void close_one_idle(struct output_set *set)
{
    struct list *first = list_pop(&set->idle);

    if (first)
        begin_close(container_of(first, struct output, link));
}

static void release_slot(struct output *o)
{
    struct output_set *set = o->set;
    struct list *next;

    set->open_count--;
    next = list_pop(&set->waiting);
    if (next)
        output_kick(container_of(next, struct output, link));
}

static bool take_slot(struct output *o)
{
    struct output_set *set = o->set;

    if (set->open_count >= set->open_max) {
        if (!list_is_linked(&o->link)) {
            list_append(&set->waiting, &o->link);
            close_one_idle(set);
        }
        return false;
    }
    list_remove(&o->link);
    set->open_count++;
    return true;
}

/* Failure, and the way back. */

static void begin_wait(struct output *o)
{
    o->error = 0;
    output_enter(o, OUTPUT_WAITING);
    ring_timer(ring_of(o), &o->op, o->set->aborted ? 0 : o->set->retry_ms);
    release_slot(o);
}

/** What was to be done in the directory is done, or has failed. */
static void left_directory(struct output *o)
{
    o->dir_fd = -1;
    if (o->error && o->rotating) {
        /* The old file is still open, and one that is too large is better than none. */
        o->error = 0;
        o->rotating = false;
        o->rotate_failed_tick = o->set->tick;
    }
    if (!o->error) {
        output_enter(o, OUTPUT_READY);
        output_kick(o);
    } else if (o->fd >= 0) {
        begin_close(o);
    } else {
        begin_wait(o);
    }
}

static void leave_directory(struct output *o)
{
    if (o->dir_fd < 0 || o->dir_fd == o->set->dir_fd) {
        left_directory(o);
        return;
    }
    output_enter(o, OUTPUT_LEAVING);
    ring_close_fd(ring_of(o), &o->op, o->dir_fd);
}

static void fail(struct output *o, int error)
{
    count_failure(o, error);
    o->error = error;
    if (error == -EMFILE || error == -ENFILE)
        close_one_idle(o->set);
    leave_directory(o);
}

/* Opening. */

static void begin_open(struct output *o)
{
    output_enter(o, OUTPUT_OPENING);
    ring_open(ring_of(o), &o->op, o->dir_fd, o->name, FILE_FLAGS, FILE_MODE, RESOLVE_INSIDE);
}

static void opened(struct output *o, int res)
{
    if (res < 0) {
        fail(o, res);
        return;
    }
    o->fd = res;
    output_enter(o, OUTPUT_EXAMINING);
    ring_statx(ring_of(o), &o->op, o->fd, "", STATX_WANTED, &o->stat);
}

static uint64_t stat_device(const struct output *o)
{
    return makedev(o->stat.stx_dev_major, o->stat.stx_dev_minor);
}

static bool is_same_file(const struct output *o)
{
    return o->known && o->stat.stx_ino == o->inode && o->device == stat_device(o);
}

static int64_t stat_ns(const struct statx_timestamp *t)
{
    return t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

/** The period that a file which lay there began in. One that was brought here from elsewhere, or
 * whose birth the file system does not know, began when it was last written to at the latest. */
static int64_t period_of_stat(const struct output *o)
{
    int64_t began_ns = stat_ns(&o->stat.stx_mtime);

    if (o->stat.stx_mask & STATX_BTIME)
        began_ns = MIN(began_ns, stat_ns(&o->stat.stx_btime));
    return began_ns / o->set->rotate_interval_ns;
}

/** Whether what was looked at is the file that we know, with what we wrote to it and nothing else.
 */
static bool is_as_known(const struct output *o)
{
    return is_same_file(o) && o->stat.stx_size == o->size;
}

static void examined(struct output *o, int res)
{
    if (res == 0 && !S_ISREG(o->stat.stx_mode))
        res = -ENOTSUP;
    if (res < 0) {
        fail(o, res);
        return;
    }
    o->compared_tick = o->set->tick;
    if (is_as_known(o)) {
        /* Even a torn line goes on where it was. */
        leave_directory(o);
        return;
    }
    if (!is_same_file(o))
        tell(o, o->set->on_moved);
    o->set->sink->queued_bytes += out_queue_rewind(&o->queue);
    o->known = true;
    o->needs_newline = false;
    o->inode = o->stat.stx_ino;
    o->device = stat_device(o);
    o->size = o->stat.stx_size;
    if (o->set->rotate_interval_ns > 0)
        o->period = period_of_stat(o);
    if (o->size == 0) {
        leave_directory(o);
        return;
    }
    output_enter(o, OUTPUT_READING);
    ring_read(ring_of(o), &o->op, o->fd, &o->last_byte, 1, (int64_t)o->size - 1);
}

static void read_last_byte(struct output *o, int res)
{
    if (res < 0) {
        o->known = false;
        fail(o, res);
        return;
    }
    /* Torn by a crash: the torn line keeps a line to itself. */
    o->needs_newline = res == 1 && o->last_byte != '\n';
    leave_directory(o);
}

/* Rotation: the files above the lowest free number stay, those below it move up by one, so that a
 * chain which a failure or a crash has interrupted is only ever completed, and nothing is
 * overwritten. A number is taken by a file in whatever form, plain or compressed, because what is
 * configured now need not be what was yesterday; the oldest is removed first for the same reason.
 */

static void write_name(struct output *o, int which, uint32_t number)
{
    rotated_print(o->names[which], o->names_size, o->name, number, o->form);
}

static void probe(struct output *o, uint32_t number, enum rotated_form form)
{
    o->number = number;
    o->form = form;
    write_name(o, 0, number);
    output_enter(o, OUTPUT_PROBING);
    ring_statx(ring_of(o), &o->op, o->dir_fd, o->names[0], STATX_TYPE, &o->stat);
}

/** Moves what has the number before this one, in this form, to this number. */
static void shift(struct output *o, uint32_t number, enum rotated_form form)
{
    o->number = number;
    o->form = form;
    output_enter(o, OUTPUT_SHIFTING);
    if (number == 0) {
        ring_unlink(ring_of(o), &o->op, o->dir_fd, o->name);
        return;
    }
    write_name(o, 0, number - 1);
    write_name(o, 1, number);
    ring_rename(ring_of(o), &o->op, o->dir_fd, o->names[0], o->names[1]);
}

static void probed(struct output *o, int res)
{
    if (res < 0 && res != -ENOENT) {
        fail(o, res);
    } else if (res == -ENOENT && o->form + 1 < ROTATED_KEPT_COUNT) {
        probe(o, o->number, o->form + 1);
    } else if (res == -ENOENT) {
        shift(o, o->number, ROTATED_PLAIN);
    } else if (o->number == o->set->rotate_keep) {
        output_enter(o, OUTPUT_DROPPING);
        ring_unlink(ring_of(o), &o->op, o->dir_fd, o->names[0]);
    } else {
        probe(o, o->number + 1, ROTATED_PLAIN);
    }
}

static void dropped(struct output *o, int res)
{
    if (res < 0 && res != -ENOENT)
        fail(o, res);
    else
        shift(o, o->number, ROTATED_PLAIN);
}

static void shifted(struct output *o, int res)
{
    /* Moved away or removed by somebody else: then it is not in our way. */
    if (res < 0 && res != -ENOENT) {
        fail(o, res);
        return;
    }
    if (o->number > 1) {
        if (res == -ENOENT && o->form + 1 < ROTATED_KEPT_COUNT)
            shift(o, o->number, o->form + 1);
        else
            shift(o, o->number - 1, ROTATED_PLAIN);
        return;
    }
    file_sync_before_close(&o->set->sync, &o->dirt);
    output_enter(o, OUTPUT_RETIRING);
    ring_close_fd(ring_of(o), &o->op, o->fd);
}

static void retired(struct output *o, int res)
{
    if (res < 0)
        count_failure(o, res); /* a file system that only says now what it could not write */
    o->set->stats->rotations++;
    tell(o, o->set->on_moved);
    o->fd = -1;
    o->rotating = false;
    o->known = false;
    if (o->set->rotate_keep > 0)
        keeper_rotated(o->set->keeper, o->path, o->device, o->inode);
    begin_open(o);
}

/* Directories. */

static void entered(struct output *o)
{
    if (!o->rotating)
        begin_open(o);
    else if (o->set->rotate_keep == 0)
        shift(o, 0, ROTATED_PLAIN);
    else
        probe(o, 1, ROTATED_PLAIN);
}

static void open_directory(struct output *o, int at_fd, size_t from, size_t len)
{
    memcpy(o->names[0], o->path + from, len);
    o->names[0][len] = '\0';
    output_enter(o, OUTPUT_ENTERING);
    ring_open(ring_of(o), &o->op, at_fd, o->names[0], DIR_FLAGS, 0, RESOLVE_INSIDE);
}

static void begin_enter(struct output *o)
{
    o->walking = false;
    if (o->dir_len == 0) {
        o->dir_fd = o->set->dir_fd;
        entered(o);
        return;
    }
    open_directory(o, o->set->dir_fd, 0, o->dir_len);
}

/** Enters the next directory from within the last one. */
static void walk(struct output *o)
{
    if (o->walked >= o->dir_len) {
        entered(o);
        return;
    }
    open_directory(o, o->dir_fd, o->walked, strcspn(o->path + o->walked, "/"));
}

static void directory_opened(struct output *o, int res)
{
    int above = o->dir_fd;

    if (res == -ENOENT && !o->walking) {
        o->walking = true;
        o->walked = 0;
        o->made = false;
        o->dir_fd = o->set->dir_fd;
        walk(o);
        return;
    }
    if (res == -ENOENT && !o->made) {
        output_enter(o, OUTPUT_MAKING);
        ring_mkdir(ring_of(o), &o->op, o->dir_fd, o->names[0], DIR_MODE);
        return;
    }
    if (res < 0) {
        fail(o, res);
        return;
    }
    o->dir_fd = res;
    if (!o->walking) {
        entered(o);
        return;
    }
    o->walked += strlen(o->names[0]) + 1;
    o->made = false;
    if (above == o->set->dir_fd) {
        walk(o);
        return;
    }
    output_enter(o, OUTPUT_STEPPING);
    ring_close_fd(ring_of(o), &o->op, above);
}

static void directory_made(struct output *o, int res)
{
    if (res < 0 && res != -EEXIST) {
        fail(o, res);
        return;
    }
    o->made = true;
    walk(o);
}

/* Writing. */

static bool can_rotate(const struct output *o)
{
    const struct output_set *set = o->set;

    return (set->rotate_bytes > 0 || set->rotate_interval_ns > 0) &&
           o->rotate_failed_tick != set->tick && !keeper_holds(set->keeper, o->path);
}

static bool is_of_past_period(const struct output *o)
{
    int64_t interval_ns = o->set->rotate_interval_ns;

    return interval_ns > 0 && clock_wall_ns() / interval_ns > o->period;
}

static bool must_rotate(const struct output *o, struct slice front)
{
    const char *newline;

    if (!can_rotate(o) || o->size == 0 || out_queue_is_torn(&o->queue))
        return false;
    if (is_of_past_period(o))
        return true;
    if (o->set->rotate_bytes == 0 || o->size + front.len <= o->set->rotate_bytes)
        return false;
    newline = memchr(front.data, '\n', front.len);
    assert(newline);
    return o->size + (size_t)(newline - front.data) + 1 > o->set->rotate_bytes;
}

/** As many whole lines of `front` as the file has room for; one line at the least. */
static struct slice fitting(const struct output *o, struct slice front)
{
    uint64_t room;
    const char *newline;

    if (!can_rotate(o) || o->set->rotate_bytes == 0 || o->size + front.len <= o->set->rotate_bytes)
        return front;
    room = o->size < o->set->rotate_bytes ? o->set->rotate_bytes - o->size : 0;
    newline = memrchr(front.data, '\n', room);
    if (!newline)
        newline = memchr(front.data, '\n', front.len);
    assert(newline);
    return slice_of(front.data, (size_t)(newline - front.data) + 1);
}

/** As if the disk were full, which it is to stay away from. */
static void refuse_space(struct output *o)
{
    o->set->stats->space_waits++;
    o->error = -ENOSPC;
    count_failure_of(o, o->error, "less is free than has to be");
    begin_close(o);
}

/** Decides what an open file with nothing in flight does next. */
static void ready(struct output *o)
{
    struct output_set *set = o->set;
    struct slice front;

    list_remove(&o->link);
    if (set->aborted)
        drop_queue(o);
    front = out_queue_front(&o->queue);
    if (front.len == 0) {
        if (o->users == 0 || !list_is_empty(&set->waiting))
            begin_close(o);
        else
            list_append(&set->idle, &o->link);
    } else if (keeper_is_low(set->keeper)) {
        refuse_space(o);
    } else if (o->compared_tick != set->tick) {
        output_enter(o, OUTPUT_COMPARING);
        ring_statx(ring_of(o), &o->op, set->dir_fd, o->path, STATX_WANTED, &o->stat);
    } else if (o->needs_newline) {
        output_enter(o, OUTPUT_WRITING);
        ring_write(ring_of(o), &o->op, o->fd, slice_str("\n"), -1);
    } else if (must_rotate(o, front)) {
        o->rotating = true;
        begin_enter(o);
    } else {
        output_enter(o, OUTPUT_WRITING);
        ring_write(ring_of(o), &o->op, o->fd, fitting(o, front), -1);
    }
}

static void compared(struct output *o, int res)
{
    o->compared_tick = o->set->tick;
    /* A path that cannot be looked at says nothing about the file, and the next write will. */
    if ((res == 0 && is_as_known(o)) || (res < 0 && res != -ENOENT && res != -ENOTDIR)) {
        output_enter(o, OUTPUT_READY);
        output_kick(o);
        return;
    }
    begin_close(o);
}

static void written(struct output *o, int res)
{
    struct output_set *set = o->set;
    struct sink *sink = set->sink;
    size_t n = (size_t)res;

    if (res == -EINTR) {
        output_enter(o, OUTPUT_READY);
        output_kick(o);
        return;
    }
    if (res <= 0) {
        o->error = res < 0 ? res : -EIO;
        count_failure(o, o->error);
        begin_close(o);
        return;
    }
    succeed(o);
    file_sync_note(&set->sync, &o->dirt, o->fd);
    if (set->rotate_interval_ns > 0 && o->size == 0)
        o->period = clock_wall_ns() / set->rotate_interval_ns;
    o->size += n;
    sink->bytes_written += n;
    if (o->needs_newline) {
        o->needs_newline = false;
    } else {
        sink->queued_bytes -= n;
        sink->records_settled += out_queue_consume(&o->queue, n);
    }
    output_enter(o, OUTPUT_READY);
    output_kick(o);
    set->on_progress(set);
}

static void closed(struct output *o, int res)
{
    if (res < 0)
        count_failure(o, res);
    o->fd = -1;
    if (o->error) {
        begin_wait(o);
        return;
    }
    output_enter(o, OUTPUT_CLOSED);
    release_slot(o);
    output_kick(o);
}

static void output_op_done(struct op *op, int res)
{
    struct output *o = container_of(op, struct output, op);

    switch (o->state) {
    case OUTPUT_ENTERING:
        directory_opened(o, res);
        break;
    case OUTPUT_MAKING:
        directory_made(o, res);
        break;
    case OUTPUT_STEPPING:
        walk(o);
        break;
    case OUTPUT_PROBING:
        probed(o, res);
        break;
    case OUTPUT_DROPPING:
        dropped(o, res);
        break;
    case OUTPUT_SHIFTING:
        shifted(o, res);
        break;
    case OUTPUT_RETIRING:
        retired(o, res);
        break;
    case OUTPUT_OPENING:
        opened(o, res);
        break;
    case OUTPUT_EXAMINING:
        examined(o, res);
        break;
    case OUTPUT_READING:
        read_last_byte(o, res);
        break;
    case OUTPUT_LEAVING:
        left_directory(o);
        break;
    case OUTPUT_COMPARING:
        compared(o, res);
        break;
    case OUTPUT_WRITING:
        written(o, res);
        break;
    case OUTPUT_CLOSING:
        closed(o, res);
        break;
    case OUTPUT_WAITING:
        output_enter(o, OUTPUT_CLOSED);
        output_kick(o);
        break;
    case OUTPUT_CLOSED:
    case OUTPUT_READY:
    case OUTPUT_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

/* The doors. */

void output_hold(struct output *o)
{
    o->users++;
}

void output_release(struct output *o)
{
    assert(o->users > 0);
    if (--o->users == 0)
        output_kick(o);
}

void output_kick(struct output *o)
{
    if (o->state == OUTPUT_READY) {
        ready(o);
        return;
    }
    if (o->state != OUTPUT_CLOSED)
        return;
    if (o->set->aborted)
        drop_queue(o);
    if (out_queue_bytes(&o->queue) > 0) {
        if (take_slot(o))
            begin_enter(o);
    } else if (o->users == 0) {
        output_destroy(o);
    }
}

void output_abort(struct output *o)
{
    assert(o->set->aborted);
    /* Only a write has bytes of the queue in flight. */
    if (o->state != OUTPUT_WRITING)
        drop_queue(o);
    if (o->state == OUTPUT_WAITING)
        ring_cancel(ring_of(o), &o->op);
    output_kick(o);
}
