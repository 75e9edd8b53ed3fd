/* src/control/replay.h. */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/control/daemon.h"
#include "ringtail/io/ring.h"
#include "ringtail/sink/dead_letters.h"

#include "signals.h"
#include "sinks.h"

#define TICK_MS 1000
#define CHUNK_BYTES ((size_t)256 << 10)

/* FEEDING ──► CLOSING (the fan-out ends) ──► LANDING (what the sinks share, and the timer) */
enum replay_state { REPLAY_FEEDING, REPLAY_CLOSING, REPLAY_LANDING };

/* The files of dead letters, oldest first, a chunk of whole lines at a time. Nobody writes to them
 * meanwhile. */
struct letters {
    const char *path;
    const struct stored_query *query;
    int64_t from_ns;
    int number; /* of the file that is read, or is next; -1: all are read */
    int fd;     /* -1: none is open */
    struct buf window;
    bool at_end; /* of the file */
    struct batch *batch;
    struct source *source; /* of the last letter */
    uint64_t sent, left_out, damaged;
    uint64_t sizes[DEAD_LETTERS_KEEP_MAX + 1]; /* as they were read; 0: there is none */
    int error;
};

struct replay {
    struct config config; /* shares everything with the whole one; has one sink */
    struct sink_config sink;
    struct letters *letters;      /* NULL: what the spool has is sent */
    const char *locked_directory; /* a spool that is only kept from others; "" or NULL: none */
    struct spool *lock;
    struct ring *ring;
    struct fanout fanout;
    struct sinks sinks;
    struct ring_waker waker;
    struct op tick_op;
    enum replay_state state;
    bool fanout_closed, given_up;
    uint64_t told, moved; /* records that were done with, when it was looked at last */
    int64_t moved_at_mono_ns;
};

/* ---- letters ---- */

static int letters_name(const struct letters *l, int number, char **ret)
{
    int r = number > 0 ? asprintf(ret, "%s.%d", l->path, number) : asprintf(ret, "%s", l->path);

    if (r < 0)
        *ret = NULL;
    return r < 0 ? -ENOMEM : 0;
}

/* The next file that exists. */
static int open_next(struct letters *l)
{
    while (l->fd < 0 && l->number >= 0) {
        RT_CLEANUP(freep) char *name = NULL;
        int r = letters_name(l, l->number, &name);

        if (r < 0)
            return r;
        l->fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (l->fd < 0 && errno != ENOENT)
            return -errno;
        if (l->fd < 0)
            l->number--;
    }
    l->at_end = false;
    return 0;
}

static void close_file(struct letters *l)
{
    if (l->fd >= 0)
        (void)close(l->fd); /* read only: nothing to lose */
    l->fd = -1;
    l->number--;
    buf_reset(&l->window);
}

/* Until there is a whole line, or all that is left of the file. */
static int read_chunk(struct letters *l, struct slice *ret)
{
    size_t whole = 0;

    while (whole == 0 && !l->at_end) {
        ssize_t n;

        if (buf_reserve(&l->window, CHUNK_BYTES) < 0)
            return -ENOMEM;
        n = read(l->fd, l->window.data + l->window.len, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        l->at_end = n == 0;
        l->window.len += (size_t)n;
        l->sizes[l->number] += (uint64_t)n;
        for (whole = l->window.len; whole > 0 && l->window.data[whole - 1] != '\n'; whole--)
            ;
    }
    *ret = slice_of(l->window.data, l->at_end ? l->window.len : whole);
    return 0;
}

static bool is_same_source(const struct source *s, const struct dead_letter_line *line)
{
    return s && slice_eq(s->id, line->container_id) && slice_eq(s->name, line->container_name) &&
           slice_eq(s->image, line->image);
}

static int add_letter(void *ctx, const struct dead_letter_line *line)
{
    struct letters *l = ctx;
    int r;

    if (!slice_eq_str(line->sink, l->query->sink) ||
        !stored_is_wanted(l->query, l->from_ns, line->container_id, line->container_name,
                          line->ts_ns)) {
        l->left_out++;
        return 0;
    }
    if (!is_same_source(l->source, line)) {
        (void)source_unref(l->source);
        l->source = source_create(line->container_id, line->container_name, line->image);
    }
    if (l->source && !l->batch)
        l->batch = batch_create(NULL, NULL);
    if (!l->source || !l->batch)
        return -ENOMEM;
    r = batch_append(l->batch, l->source, line->stream, line->ts_ns, line->flags, line->line);
    if (r < 0)
        return r;
    l->batch->records[l->batch->count - 1].ordinal = line->ordinal;
    l->sent++;
    return 0;
}

/* A batch of letters; NULL when there are no more. */
static int letters_next(struct letters *l, struct batch **ret)
{
    int r = 0;

    while (r == 0 && !l->batch && l->number >= 0) {
        struct dead_letters_found found = {0};
        struct slice chunk;

        r = open_next(l);
        if (r < 0 || l->number < 0)
            break;
        r = read_chunk(l, &chunk);
        if (r == 0)
            r = dead_letters_parse(chunk, add_letter, l, &found);
        l->damaged += found.damaged;
        if (r < 0)
            break;
        buf_consume(&l->window, chunk.len);
        if (l->at_end)
            close_file(l);
    }
    *ret = l->batch;
    l->batch = NULL;
    return r;
}

static void letters_finish(struct letters *l)
{
    if (l->fd >= 0)
        (void)close(l->fd); /* read only: nothing to lose */
    (void)source_unref(l->source);
    (void)batch_unref(l->batch);
    buf_finish(&l->window);
}

/* Only files that are still what was read. */
static int letters_remove(const struct letters *l)
{
    int exit_code = EXIT_CLEAN;

    for (int i = DEAD_LETTERS_KEEP_MAX; i >= 0; i--) {
        RT_CLEANUP(freep) char *name = NULL;
        struct stat st;

        if (l->sizes[i] == 0)
            continue;
        if (letters_name(l, i, &name) == 0 && lstat(name, &st) == 0 &&
            (uint64_t)st.st_size == l->sizes[i] && unlink(name) == 0)
            continue;
        stored_complain("%s has changed meanwhile, or can't be removed", name ? name : l->path);
        exit_code = EXIT_FAILED;
    }
    return exit_code;
}

/* ---- running ---- */

static uint64_t lost(const struct replay *p)
{
    const struct account *a = &p->fanout.tallies.total[0];
    uint64_t all = 0;

    for (size_t i = 0; i < LOST_REASON_COUNT; i++)
        all += a->lost[i];
    return all;
}

static void tell(struct replay *p, const char *when)
{
    const struct account *a = &p->fanout.tallies.total[0];
    uint64_t refused = a->lost[LOST_REFUSED] + a->lost[LOST_UNNAMED];
    uint64_t kept = a->lost[LOST_ABORTED]; /* where they came from */

    stored_complain("%s: %" PRIu64 " records accepted, %" PRIu64 " refused, %" PRIu64
                    " damaged or too old, %" PRIu64 " waiting",
                    when, a->settled, refused, lost(p) - refused - kept,
                    a->queued + a->spooled + kept);
}

static void end(struct replay *p)
{
    if (p->state != REPLAY_FEEDING)
        return;
    p->state = REPLAY_CLOSING;
    fanout_close(&p->fanout);
}

static void give_up(struct replay *p, const char *why)
{
    if (p->given_up || p->state == REPLAY_LANDING)
        return;
    p->given_up = true;
    stored_complain("%s, ending%s%s", why, p->fanout.outboxes[0].sink->reason[0] ? ": " : "",
                    p->fanout.outboxes[0].sink->reason);
    end(p);
    fanout_give_up(&p->fanout);
}

static void feed(struct replay *p)
{
    const struct outbox *o = &p->fanout.outboxes[0];
    bool all = !p->letters;

    while (p->letters && !all && !fanout_is_paused(&p->fanout)) {
        struct batch *batch, *claim;
        int r = letters_next(p->letters, &batch);

        if (r < 0) {
            p->letters->error = r;
            stored_complain("%s: %s", p->letters->path, strerror(-r));
        }
        all = r < 0 || !batch;
        claim = batch ? batch_share(batch, NULL, NULL) : NULL;
        if (claim)
            fanout_hand_over(&p->fanout, batch, claim);
        else if (batch)
            p->letters->error = -ENOMEM;
        (void)batch_unref(claim);
        (void)batch_unref(batch);
    }
    if (all && !o->spooling && outbox_is_empty(o))
        end(p);
}

static void on_pass_end(void *ctx)
{
    struct replay *p = ctx;

    if (signals_seen() > 0)
        give_up(p, "Interrupted");
    if (p->state == REPLAY_FEEDING)
        feed(p);
    if (p->state == REPLAY_CLOSING && p->fanout_closed) {
        p->state = REPLAY_LANDING;
        sinks_close_shared(&p->sinks);
        if (p->lock)
            spool_finish(p->lock);
        ring_cancel(p->ring, &p->tick_op);
    }
    if (p->state == REPLAY_LANDING && sinks_is_idle(&p->sinks) && !op_in_flight(&p->tick_op) &&
        (!p->lock || spool_is_idle(p->lock)))
        ring_stop(p->ring);
}

static void on_tick(struct op *op, int res)
{
    struct replay *p = container_of(op, struct replay, tick_op);
    const struct account *a = &p->fanout.tallies.total[0];
    int64_t patience_ms = p->config.run_grace_ms + p->sink.request_timeout_ms;
    int64_t now = clock_mono_ns();

    if (res != -ETIME || p->state == REPLAY_LANDING)
        return;
    if (a->settled + lost(p) != p->moved) {
        p->moved = a->settled + lost(p);
        p->moved_at_mono_ns = now;
        tell(p, "So far");
    } else if (now - p->moved_at_mono_ns > patience_ms * NSEC_PER_MSEC) {
        give_up(p, "Nothing was accepted for too long");
    }
    ring_timer(p->ring, &p->tick_op, TICK_MS);
}

static void on_fanout_closed(void *ctx)
{
    struct replay *p = ctx;

    p->fanout_closed = true;
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    (void)ctx; /* the tallies have it */
    (void)o;
    (void)after_ns;
}

static void on_pause(void *ctx, bool paused)
{
    (void)ctx; /* feed looks */
    (void)paused;
}

static void on_wake(void *ctx)
{
    (void)ctx; /* on_pass_end looks */
}

static int run(struct replay *p)
{
    struct fanout_events events = {
        .on_pause = on_pause, .on_settled = on_settled, .on_closed = on_fanout_closed, .ctx = p};
    int r = sinks_open(&p->sinks, p->ring, &p->config, NULL, &p->fanout, &events);

    if (r < 0)
        return EXIT_FAILED;
    p->waker = (struct ring_waker){.fn = on_wake, .ctx = p};
    ring_add_waker(p->ring, &p->waker);
    signals_wake(p->ring);
    p->moved_at_mono_ns = clock_mono_ns();
    p->tick_op.done = on_tick;
    ring_timer(p->ring, &p->tick_op, TICK_MS);
    fanout_start(&p->fanout);
    r = ring_run(p->ring, on_pass_end, p);
    signals_wake(NULL);
    if (r < 0) {
        stored_complain("the ring failed: %s", strerror(-r));
        _exit(EXIT_FAILED); /* what is in flight can't land any more */
    }
    tell(p, "In the end");
    return p->given_up || lost(p) > 0 || (p->letters && p->letters->error < 0) ? EXIT_FAILED
                                                                               : EXIT_CLEAN;
}

/* The spool of the ringtail that might be running. */
static int take_lock(struct replay *p)
{
    const struct config *c = &p->config;
    struct spool_options options = {
        .directory = p->locked_directory,
        .bytes_max = c->spool_max_bytes,
        .segment_bytes = c->spool_segment_bytes,
        .retry_ms = TICK_MS,
        .sync = (enum spool_sync)c->spool_sync,
    };
    char why[256] = "";
    int r;

    if (!p->locked_directory || !p->locked_directory[0])
        return 0;
    r = spool_open(p->ring, &options, &p->lock, why, sizeof why);
    if (r < 0)
        stored_complain("%s: %s", p->locked_directory, why);
    return r;
}

/* With this one sink. */
static int replay(struct replay *p, const char *name)
{
    struct log_options log = {
        .level = LOG_LEVEL_ERROR, /* what we say ourselves has the rest */
        .format = (enum log_format)p->config.log_format,
        .burst_lines = (uint32_t)p->config.log_burst,
        .window_ms = 10000,
    };
    struct ring_options options = {
        .entries = (unsigned)p->config.ring_entries,
        .sockets_max = 16,
        .buffers_count = 16,
        .buffer_bytes = 4096,
        .workers_max = (unsigned)p->config.ring_workers_max,
    };
    struct ring_refusal refusal;
    const struct sink_config *found = NULL;
    int exit_code;

    for (size_t i = 0; i < p->config.sinks_count; i++)
        if (strcmp(p->config.sinks[i].name, name) == 0)
            found = &p->config.sinks[i];
    if (!found || found->type == SINK_TYPE_FILE || found->type == SINK_TYPE_STDOUT) {
        stored_complain("--sink: the configuration has no sink \"%s\" that sends to a receiver",
                        name);
        return EXIT_USAGE;
    }
    p->sink = *found;
    p->sink.spool = !p->letters;
    p->config.sinks = &p->sink;
    p->config.sinks_count = 1;
    p->config.output_path_given = false;
    log_init(&log);
    signals_catch();
    if (ring_create(&options, &p->ring, &refusal) < 0) {
        stored_complain("io_uring refused: %s", refusal.reason);
        return EXIT_REFUSED;
    }
    exit_code = take_lock(p) == 0 ? run(p) : EXIT_FAILED;
    sinks_destroy(&p->sinks);
    (void)spool_close(p->lock);
    (void)ring_destroy(p->ring);
    batch_free_kept();
    return exit_code;
}

int replay_spool(const struct config *config, const char *directory, const char *sink)
{
    RT_CLEANUP(freep) char *letters = NULL, *path = strdup(directory);
    struct replay p = {.config = *config};

    if (!path || sinks_dead_letters_path(config, &letters) < 0)
        return EXIT_FAILED;
    p.config.spool_path = path;
    if (letters)
        p.config.dead_letters_path = letters;
    return replay(&p, sink);
}

int replay_letters(const struct config *config, const char *path, const struct stored_query *query,
                   int64_t from_ns)
{
    static char nothing[] = "";
    struct letters l = {
        .path = path,
        .query = query,
        .from_ns = from_ns,
        .number = DEAD_LETTERS_KEEP_MAX,
        .fd = -1,
    };
    struct replay p = {.config = *config, .letters = &l};
    int exit_code;

    /* What is refused again is in the file already: no dead letters, which would lie beside
     * these. */
    p.config.dead_letters_path = p.config.positions_path = p.config.spool_path = nothing;
    p.locked_directory = config->spool_path;
    exit_code = replay(&p, query->sink);
    if (exit_code == EXIT_CLEAN && query->remove && l.left_out == 0 && l.damaged == 0)
        exit_code = letters_remove(&l);
    else if (l.sent > 0)
        stored_complain("all letters stay where they are (%" PRIu64 " were sent, %" PRIu64
                        " left out, %" PRIu64 " lines are damaged): %s and its rotated files can "
                        "be removed by hand, or with --remove when each of them was accepted",
                        l.sent, l.left_out, l.damaged, path);
    letters_finish(&l);
    return exit_code;
}
