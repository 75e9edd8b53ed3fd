/*
 * The file sink: finds the file of each record, encodes the record into that file's queue, and
 * closes what nobody writes to any more. The files themselves are output.c's.
 *
 * A record's file depends on its source, and by template on stream and day too: each source
 * remembers the files of its last records, so that a path is expanded once and not for every line.
 * The memory holds a reference to its source, and whatever only it still holds is forgotten at the
 * next tick.
 *
 * Invariants: an output in the memory is counted in its users; the timer runs while there is a file
 * or a source.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/sink/sink.h"

#include "health.h"
#include "inbox.h"
#include "keeper.h"
#include "output.h"
#include "template.h"

#define DIR_MODE 0750
/* How often a file that is written to is compared with its path, and gone containers are forgotten.
 */
#define TICK_MS 5000
/* Memory that was short: how soon to look again while closing, when no tick is awaited. */
#define SHORT_OF_MEMORY_MS 100
#define FIRST_MEMORIES 64

/** What is remembered of a source: its file for each stream, of that stream's last day. */
struct memory {
    struct source *source; /* NULL: an empty place */
    struct output *output[2];
    int64_t day[2];
};

struct sink_file {
    struct sink sink;
    struct path_template *template;
    bool by_stream, by_day;
    unsigned written; /* a flag of records that the files have; 0: none is */
    struct output_set set;
    struct keeper keeper;
    struct sink_file_stats stats;
    struct inbox inbox;
    struct list touched;     /* outputs that have got records of the batch at hand */
    struct memory *memories; /* open addressing by the source's address */
    size_t memories_count, memories_cap;
    struct memory *last;
    struct buf path;
    struct op timer;
    bool walking; /* over files or sources: the end, which may free them all, has to wait */
    bool closed;
};

static struct sink_file *from_sink(struct sink *sink)
{
    return container_of(sink, struct sink_file, sink);
}

static void count_no_memory(struct sink_file *s)
{
    health_failed(&s->sink, SINK_RETRYING, -ENOMEM, NULL);
}

/* Which file. */

static struct memory *find_place(struct memory *places, size_t cap, const struct source *source)
{
    size_t i = (size_t)(((uint64_t)(uintptr_t)source * UINT64_C(0x9e3779b97f4a7c15)) >> 32);

    for (;; i++) {
        struct memory *m = &places[i & (cap - 1)];

        if (m->source == source || !m->source)
            return m;
    }
}

static void forget(struct memory *m)
{
    struct memory old = *m;

    *m = (struct memory){0};
    for (size_t i = 0; i < ARRAY_SIZE(old.output); i++) {
        if (old.output[i])
            output_release(old.output[i]);
    }
    (void)source_unref(old.source);
}

/** Whether nobody but the memory knows the source any more: its container is gone, its lines are
 * written. */
static bool is_forgotten(const struct memory *m)
{
    return m->source && m->source->refs == 1;
}

/** Makes the array anew, without what is forgotten and with room for more. 0 or -ENOMEM (no
 * change). */
static int rebuild_memories(struct sink_file *s)
{
    struct memory *places, *old = s->memories;
    size_t old_cap = s->memories_cap, live = 0, cap = FIRST_MEMORIES;

    for (size_t i = 0; i < old_cap; i++)
        live += old[i].source && !is_forgotten(&old[i]);
    while (cap < 4 * (live + 1))
        cap *= 2;
    places = calloc(cap, sizeof *places);
    if (!places)
        return -ENOMEM;
    s->memories = places;
    s->memories_cap = cap;
    s->memories_count = live;
    s->last = NULL;
    for (size_t i = 0; i < old_cap; i++) {
        if (old[i].source && !is_forgotten(&old[i]))
            *find_place(places, cap, old[i].source) = old[i];
    }
    for (size_t i = 0; i < old_cap; i++) {
        if (is_forgotten(&old[i]))
            forget(&old[i]);
    }
    free(old);
    return 0;
}

static void sweep_memories(struct sink_file *s)
{
    for (size_t i = 0; i < s->memories_cap; i++) {
        if (is_forgotten(&s->memories[i])) {
            /* Without memory everything stays remembered until the next tick. */
            (void)rebuild_memories(s);
            return;
        }
    }
}

static struct memory *remember(struct sink_file *s, struct source *source)
{
    struct memory *m = find_place(s->memories, s->memories_cap, source);

    if (m->source)
        return m;
    if (2 * (s->memories_count + 1) > s->memories_cap) {
        if (rebuild_memories(s) < 0)
            return NULL;
        m = find_place(s->memories, s->memories_cap, source);
    }
    m->source = source_ref(source);
    s->memories_count++;
    return m;
}

/** The file of a record, or NULL without memory. */
static struct output *find_output(struct sink_file *s, const struct record *r)
{
    int64_t day = s->by_day ? path_template_day(r->ts_ns) : 0;
    size_t which = s->by_stream && r->stream == RECORD_STDERR;
    struct memory *m = s->last;
    struct output *o;

    if (unlikely(!m || m->source != r->source)) {
        m = remember(s, r->source);
        if (!m)
            return NULL;
        s->last = m;
    }
    if (likely(m->output[which] && m->day[which] == day))
        return m->output[which];
    if (path_template_expand(s->template, r->source, (enum record_stream)r->stream, day, &s->path) <
        0)
        return NULL;
    o = output_get(&s->set, buf_slice(&s->path));
    if (!o)
        return NULL;
    output_hold(o);
    if (m->output[which])
        output_release(m->output[which]);
    m->output[which] = o;
    m->day[which] = day;
    return o;
}

/* Batches in. */

static void start_timer(struct sink_file *s, int64_t ms)
{
    if (!op_in_flight(&s->timer))
        ring_timer(s->sink.ring, &s->timer, ms);
}

/** The files that have got something of the batch: it is marked there, and they go on. */
static void pass_on(struct sink_file *s, struct batch *batch)
{
    struct list *link;

    while ((link = list_pop(&s->touched))) {
        struct output *o = container_of(link, struct output, touched);

        out_queue_mark(&o->queue, batch);
        output_kick(o);
    }
}

static int encode_record(struct sink_file *s, const struct record *r)
{
    struct output *o = find_output(s, r);
    int64_t bytes;

    if (unlikely(!o))
        return -ENOMEM;
    bytes = out_queue_append(&o->queue, r);
    if (unlikely(bytes < 0))
        return (int)bytes;
    s->sink.queued_bytes += (size_t)bytes - r->len;
    if (!list_is_linked(&o->touched))
        list_append(&s->touched, &o->touched);
    return 0;
}

static int take_record(struct sink_file *s, const struct record *r)
{
    if (unlikely(r->flags & s->written)) {
        s->sink.queued_bytes -= r->len;
        return 0;
    }
    return encode_record(s, r);
}

/** Encodes what is in the inbox, as far as memory goes; the tick and each progress come back for
 * the rest. */
static void drain_inbox(struct sink_file *s)
{
    struct batch *batch;
    int r = 0;

    while (r == 0 && (batch = inbox_first(&s->inbox))) {
        while (s->inbox.next_record < batch->count) {
            r = take_record(s, &batch->records[s->inbox.next_record]);
            if (r < 0) {
                count_no_memory(s);
                break;
            }
            s->inbox.next_record++;
        }
        pass_on(s, batch);
        if (r == 0)
            inbox_pop(&s->inbox);
    }
}

static int file_submit(struct sink *sink, struct batch *batch)
{
    struct sink_file *s = from_sink(sink);
    int r;

    assert(!s->set.closing);
    keeper_begin(&s->keeper);
    r = inbox_push(&s->inbox, batch);
    if (r < 0) {
        count_no_memory(s);
        return r;
    }
    sink->queued_bytes += batch->bytes;
    drain_inbox(s);
    start_timer(s, TICK_MS);
    return 0;
}

/* The end. */

static void maybe_closed(struct sink_file *s)
{
    if (!s->set.closing || s->closed || s->walking || s->set.by_path.count > 0 ||
        inbox_first(&s->inbox) || op_in_flight(&s->timer) || !file_sync_is_idle(&s->set.sync))
        return;
    s->closed = true;
    if (s->sink.events.on_closed)
        s->sink.events.on_closed(s->sink.events.ctx, &s->sink);
}

/** Lets go of all files, each of which then closes when it is done. */
static void forget_all(struct sink_file *s)
{
    s->last = NULL;
    s->memories_count = 0;
    s->walking = true;
    for (size_t i = 0; i < s->memories_cap; i++) {
        if (s->memories[i].source)
            forget(&s->memories[i]);
    }
    s->walking = false;
}

static void file_timer_done(struct op *op, int res)
{
    struct sink_file *s = container_of(op, struct sink_file, timer);

    (void)res; /* early or not, the reasons to look are the same */
    s->set.tick++;
    keeper_kick(&s->keeper);
    drain_inbox(s);
    if (s->set.closing) {
        if (inbox_first(&s->inbox)) {
            start_timer(s, SHORT_OF_MEMORY_MS);
            return;
        }
        forget_all(s);
        maybe_closed(s);
        return;
    }
    sweep_memories(s);
    if (s->memories_count > 0 || s->set.by_path.count > 0 || inbox_first(&s->inbox))
        start_timer(s, TICK_MS);
}

static void on_output_progress(struct output_set *set)
{
    struct sink_file *s = container_of(set, struct sink_file, set);

    keeper_kick(&s->keeper);
    if (unlikely(inbox_first(&s->inbox)))
        drain_inbox(s);
    if (s->sink.events.on_progress)
        s->sink.events.on_progress(s->sink.events.ctx, &s->sink);
}

static void on_output_gone(struct output_set *set)
{
    maybe_closed(container_of(set, struct sink_file, set));
}

static void on_synced(struct file_sync *sync, int result)
{
    struct sink_file *s = container_of(sync, struct sink_file, set.sync);

    if (result < 0) {
        s->sink.sync_errors++;
        s->sink.sync_error = result;
    }
    s->sink.syncing = !file_sync_is_done(sync);
    maybe_closed(s);
}

static void file_sync_begin(struct sink *sink)
{
    struct sink_file *s = from_sink(sink);

    file_sync_all(&s->set.sync);
    sink->syncing = !file_sync_is_done(&s->set.sync);
}

static void file_close(struct sink *sink)
{
    struct sink_file *s = from_sink(sink);

    if (s->set.closing)
        return;
    s->set.closing = true;
    keeper_stop(&s->keeper);
    /* The timer's completion does the rest, so that the end never comes from inside this call. */
    if (op_in_flight(&s->timer))
        ring_cancel(sink->ring, &s->timer);
    else
        start_timer(s, 0);
}

static void file_abort(struct sink *sink)
{
    struct sink_file *s = from_sink(sink);
    struct table_link *link, *next;

    if (s->set.aborted || s->closed)
        return;
    file_close(sink);
    s->set.aborted = true;
    inbox_drop(&s->inbox, sink);
    s->walking = true;
    for (link = table_next(&s->set.by_path, NULL); link; link = next) {
        next = table_next(&s->set.by_path, link);
        output_abort(container_of(link, struct output, by_path));
    }
    s->walking = false;
    /* As after file_close: the end comes from the ring. */
    if (s->set.by_path.count == 0)
        start_timer(s, 0);
}

static struct sink *file_destroy(struct sink *sink)
{
    struct sink_file *s = from_sink(sink);

    /* Or nothing was ever handed to it. */
    assert((s->closed || s->set.by_path.count == 0) && !op_in_flight(&s->timer));
    keeper_finish(&s->keeper);
    output_set_finish(&s->set);
    inbox_finish(&s->inbox);
    if (s->set.dir_fd >= 0)
        (void)close(s->set.dir_fd);
    (void)path_template_destroy(s->template);
    buf_finish(&s->path);
    free(s->memories);
    free(s);
    return NULL;
}

static const struct sink_ops file_ops = {
    .kind = "file",
    .submit = file_submit,
    .sync = file_sync_begin,
    .close = file_close,
    .abort = file_abort,
    .destroy = file_destroy,
};

/* The beginning. */

static int say(char *why, size_t why_size, const char *path, int error)
{
    if (why && why_size > 0)
        (void)snprintf(why, why_size, "%s: %s", path, strerror(-error));
    return error;
}

/** Opens the directory, made if missing. Returns a descriptor or a negative errno. */
static int open_directory(const char *path, char *why, size_t why_size)
{
    int fd, r;

    if (mkdir(path, DIR_MODE) < 0 && errno != EEXIST)
        return say(why, why_size, path, -errno);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        r = say(why, why_size, path, -errno);
        if (r == -ENOTDIR && why && why_size > 0)
            (void)snprintf(why, why_size, "%s: not a directory (a symbolic link is not followed)",
                           path);
        return r;
    }
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        r = -errno;
        (void)close(fd);
        return say(why, why_size, path, r);
    }
    return fd;
}

int sink_file_check_template(const char *path_template, char *why, size_t why_size)
{
    struct path_template *t;
    int r = path_template_create(path_template, &t, why, why_size);

    if (r == 0)
        (void)path_template_destroy(t);
    return r;
}

/** The last component has rotated names, too. */
static bool leads_to(const struct path_template *t, size_t component, struct slice name)
{
    RT_CLEANUP(freep) char *text = NULL;
    struct rotated_name rotated;

    if (component + 1 < path_template_components(t))
        return path_template_matches(t, component, name);
    if (path_template_matches_last(t, name))
        return true;
    text = slice_dup(name);
    return text && rotated_parse(text, &rotated) &&
           path_template_matches_last(t, slice_of(name.data, rotated.base_len));
}

bool sink_file_leads_to(const char *path_template, const char *path)
{
    struct path_template *t;
    bool leads = true;

    if (path_template_create(path_template, &t, NULL, 0) < 0)
        return false;
    for (size_t i = 0; leads && *path && i < path_template_components(t); i++) {
        size_t len = strcspn(path, "/");

        leads = leads_to(t, i, slice_of(path, len));
        path += len + (path[len] == '/');
    }
    (void)path_template_destroy(t);
    return leads;
}

static bool is_rotating(void *ctx, const char *path)
{
    const struct sink_file *s = ctx;
    struct table_link *link = table_find(&s->set.by_path, slice_str(path));

    return link && container_of(link, struct output, by_path)->rotating;
}

static bool is_open(void *ctx, uint64_t device, uint64_t inode)
{
    const struct sink_file *s = ctx;

    for (struct table_link *l = table_next(&s->set.by_path, NULL); l;
         l = table_next(&s->set.by_path, l)) {
        const struct output *o = container_of(l, struct output, by_path);

        if (o->known && o->fd >= 0 && o->inode == inode && o->device == device)
            return true;
    }
    return false;
}

static int start_keeper(struct sink_file *s, const struct sink_file_options *options, char *why,
                        size_t why_size)
{
    const struct keeper_options o = {
        .dir_fd = s->set.dir_fd,
        .files = s->template,
        .compression = options->rotate_compression,
        .rotate_keep = s->set.rotate_keep,
        .retention_ms = MAX(options->retention_ms, 0),
        .free_space_min = MAX(options->free_space_min, 0),
        .wait_for_saves = options->wait_for_saves,
        .to = &s->stats,
        .is_rotating = is_rotating,
        .is_open = is_open,
        .ctx = s,
    };
    int r;

    if (!compression_is_available(o.compression))
        return say(why, why_size, "this build has no zstd", -EOPNOTSUPP);
    r = keeper_start(&s->keeper, s->sink.ring, &o);
    return r < 0 ? say(why, why_size, "the thread for rotated files", r) : 0;
}

int sink_file_create(struct ring *ring, const struct sink_file_options *options,
                     const struct sink_events *events, struct sink **ret, char *why,
                     size_t why_size)
{
    struct path_template *template;
    struct sink_file *s;
    int r;

    if (why && why_size > 0)
        why[0] = '\0';
    r = path_template_create(options->path_template, &template, why, why_size);
    if (r < 0)
        return r;
    s = calloc(1, sizeof *s);
    if (!s) {
        (void)path_template_destroy(template);
        return -ENOMEM;
    }
    s->template = template;
    s->by_stream = path_template_by_stream(template);
    s->by_day = path_template_by_day(template);
    s->sink.ops = &file_ops;
    s->sink.ring = ring;
    if (events)
        s->sink.events = *events;
    s->timer.done = file_timer_done;
    s->closed = true; /* until it is open: for file_destroy */
    list_init(&s->touched);
    s->memories_cap = FIRST_MEMORIES;
    s->memories = calloc(s->memories_cap, sizeof *s->memories);
    r = output_set_init(&s->set);
    if (r == 0)
        r = inbox_init(&s->inbox);
    if (r == 0 && !s->memories)
        r = -ENOMEM;
    if (r == 0)
        r = open_directory(options->directory, why, why_size);
    if (r < 0) {
        (void)file_destroy(&s->sink);
        return r;
    }
    s->written = options->written;
    s->set.dir_fd = r;
    s->set.sink = &s->sink;
    s->set.rotate_bytes = options->rotate_bytes > 0 ? (uint64_t)options->rotate_bytes : 0;
    s->set.rotate_interval_ns = MAX(options->rotate_interval_ms, 0) * NSEC_PER_MSEC;
    s->set.rotate_keep = (uint32_t)MIN(MAX(options->rotate_keep, 0), INT32_MAX);
    s->set.open_max = (uint32_t)MIN(MAX(options->open_files_max, 1), INT32_MAX);
    s->set.retry_ms = MAX(options->retry_ms, 1);
    s->set.on_closed = options->on_closed;
    s->set.on_moved = options->on_moved;
    s->set.ctx = options->ctx;
    file_sync_init(&s->set.sync, ring, options->sync, on_synced);
    s->set.on_progress = on_output_progress;
    s->set.on_gone = on_output_gone;
    s->set.keeper = &s->keeper;
    s->set.stats = &s->stats;
    r = start_keeper(s, options, why, why_size);
    if (r < 0) {
        (void)file_destroy(&s->sink);
        return r;
    }
    s->closed = false;
    *ret = &s->sink;
    return 0;
}

/** The bytes that the file has once its queue is written. */
static uint64_t size_to_be(const struct output *o)
{
    return o->size + o->needs_newline + out_queue_bytes(&o->queue);
}

static bool is_every_file_known(const struct sink_file *s)
{
    for (struct table_link *l = table_next(&s->set.by_path, NULL); l;
         l = table_next(&s->set.by_path, l)) {
        const struct output *o = container_of(l, struct output, by_path);

        if (!o->known && out_queue_bytes(&o->queue) > 0)
            return false;
    }
    return true;
}

bool sink_file_each(struct sink *sink, sink_file_fn fn, void *ctx)
{
    struct sink_file *s = container_of(sink, struct sink_file, sink);

    if (inbox_first(&s->inbox) || !is_every_file_known(s))
        return false;
    for (struct table_link *l = table_next(&s->set.by_path, NULL); l;
         l = table_next(&s->set.by_path, l)) {
        struct output *o = container_of(l, struct output, by_path);

        if (o->known)
            fn(ctx, o->path, o->device, o->inode, size_to_be(o));
    }
    keeper_snapshot(&s->keeper);
    return true;
}

void sink_file_saved(struct sink *sink)
{
    keeper_saved(&from_sink(sink)->keeper);
}

const struct sink_file_stats *sink_file_stats_get(const struct sink *sink)
{
    return &container_of(sink, const struct sink_file, sink)->stats;
}
