/*
 * control/daemon.h. Wires the rooms together; owns the order in which they end:
 *
 *   discovery, containers, engine (what reads)  ──►  gather, sink (what was read)  ──►  own log,
 * ring
 *
 * Ending is not a chain of callbacks but a question asked after each pass: what is idle by now, and
 * what comes next?
 */
#include "ringtail/control/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/io/ring.h"
#include "ringtail/sink/sink.h"

#include "admin.h"
#include "confine.h"
#include "containers.h"
#include "discovery.h"
#include "engine.h"
#include "gather.h"
#include "log_writer.h"
#include "meters.h"
#include "notify.h"
#include "positions.h"
#include "recovery.h"
#include "ring_setup.h"
#include "self.h"
#include "signals.h"
#include "sinks.h"

/*
 * RUNNING ──► READERS_CLOSING ──► SINK_CLOSING ──► POSITIONS_SAVING ──► TIMER_LANDING ──►
 * LOG_LANDING (the ring stops)
 */
enum daemon_state {
    DAEMON_RUNNING,
    DAEMON_READERS_CLOSING,
    DAEMON_SINK_CLOSING,
    DAEMON_POSITIONS_SAVING,
    DAEMON_TIMER_LANDING,
    DAEMON_LOG_LANDING,
};

/* How much of the grace period is over. */
enum grace {
    GRACE_WHOLE,
    GRACE_SHORT, /* what can't be sent goes to the spool, or is lost */
    GRACE_OVER,  /* what is not in the spool is lost */
};

struct daemon {
    const struct config *config;
    struct ring *ring;
    struct fanout fanout;
    struct sinks sinks;
    struct gather gather;
    struct positions positions;
    struct engine engine;
    struct containers containers;
    struct discovery discovery;
    struct log_writer log;
    struct meters meters;
    struct notify notify;
    struct confinement confinement;
    struct admin *admin;
    struct ring_waker waker;
    struct op grace_op;
    enum daemon_state state;
    enum grace grace;
    bool sinks_closed;
    uint64_t lines_lost;      /* that were never handed over */
    uint64_t outputs_shorter; /* files, found at the start */
    int exit_code;
    char self_id[REPLY_ID_LEN + 1];
};

/* ---- ending ---- */

static void begin_shutdown(struct daemon *d)
{
    if (d->state != DAEMON_RUNNING)
        return;
    d->state = DAEMON_READERS_CLOSING;
    notify_stopping(&d->notify);
    discovery_close(&d->discovery);
    containers_close(&d->containers);
    engine_close(&d->engine);
    ring_timer(d->ring, &d->grace_op, d->config->run_grace_ms / 5 * 4);
}

/* Gives up what the grace period is over for, as far as ending has come. */
static void give_up(struct daemon *d)
{
    if (d->state < DAEMON_SINK_CLOSING || d->state > DAEMON_POSITIONS_SAVING)
        return;
    if (d->grace >= GRACE_SHORT && d->state == DAEMON_SINK_CLOSING)
        fanout_give_up(&d->fanout);
    if (d->grace == GRACE_OVER)
        fanout_end_spool(&d->fanout);
}

static void shorten_grace(struct daemon *d)
{
    d->grace = d->grace == GRACE_WHOLE ? GRACE_SHORT : GRACE_OVER;
    give_up(d);
}

static void on_wake(void *ctx)
{
    struct daemon *d = ctx;
    int seen = signals_seen();

    gather_hand_over(&d->gather); /* so that what is shown adds up */
    if (d->admin)
        admin_serve(d->admin);
    if (seen == 0)
        return;
    if (d->state == DAEMON_RUNNING)
        log_info("Stopping", LOG_STR("reason", "signal"));
    begin_shutdown(d);
    if (seen > 1 && d->state == DAEMON_SINK_CLOSING && d->grace == GRACE_WHOLE)
        shorten_grace(d);
}

static void on_grace_over(struct op *op, int res)
{
    struct daemon *d = container_of(op, struct daemon, grace_op);

    if (res != -ETIME || d->state >= DAEMON_TIMER_LANDING)
        return;
    shorten_grace(d);
    if (d->grace == GRACE_SHORT)
        ring_timer(d->ring, &d->grace_op, d->config->run_grace_ms / 5);
}

static void say_goodbye(struct daemon *d)
{
    uint64_t lost = sinks_lost(&d->sinks) + d->lines_lost;

    if (lost > 0) {
        log_error("Lines were read and could not be written before the end",
                  LOG_INT("lines", lost));
        d->exit_code = EXIT_FAILED;
    }
    log_info("Stopped", LOG_INT("records", d->gather.lines), LOG_INT("bytes", d->gather.bytes),
             LOG_INT("settled", d->gather.lines_settled - lost),
             LOG_INT("repeated_opens", d->containers.streams_opened),
             LOG_INT("containers_missed", d->containers.missed));
}

/* Returns whether all that was read is the sinks' now. What there is no memory to hand over before
 * the grace period is over is lost. */
static bool hand_over_last(struct daemon *d)
{
    gather_hand_over(&d->gather);
    if (d->gather.open && d->grace == GRACE_WHOLE) {
        ring_wake(d->ring); /* once more after the next pass */
        return false;
    }
    if (d->gather.open) {
        positions_abandon(&d->positions);
        d->lines_lost = gather_give_up(&d->gather);
    }
    return true;
}

/* One look at how far ending has come; never waits. */
static void step_once(struct daemon *d)
{
    switch (d->state) {
    case DAEMON_RUNNING:
        break;
    case DAEMON_READERS_CLOSING:
        if (!containers_is_idle(&d->containers) || !discovery_is_idle(&d->discovery) ||
            !engine_is_idle(&d->engine) || !hand_over_last(d))
            break;
        d->state = DAEMON_SINK_CLOSING;
        fanout_close(&d->fanout);
        give_up(d);
        break;
    case DAEMON_SINK_CLOSING:
        fanout_close(&d->fanout); /* a sink may have begun to fail meanwhile */
        if (!d->sinks_closed || !positions_is_idle(&d->positions))
            break; /* a save that is under way ends by itself, as all has settled */
        say_goodbye(d);
        d->state = DAEMON_POSITIONS_SAVING;
        sinks_close_shared(&d->sinks);
        give_up(d);
        positions_save_now(&d->positions);
        break;
    case DAEMON_POSITIONS_SAVING:
        if (!positions_is_idle(&d->positions) || !sinks_is_idle(&d->sinks))
            break;
        d->admin = admin_close(d->admin);
        d->state = DAEMON_TIMER_LANDING;
        ring_cancel(d->ring, &d->grace_op);
        notify_close(&d->notify);
        break;
    case DAEMON_TIMER_LANDING:
        if (op_in_flight(&d->grace_op) || !notify_is_idle(&d->notify))
            break;
        d->state = DAEMON_LOG_LANDING;
        log_writer_close(&d->log);
        break;
    case DAEMON_LOG_LANDING:
        break;
    }
}

/* As far as it goes: what has landed already gives no further pass. */
static void step(struct daemon *d)
{
    enum daemon_state before;

    do {
        before = d->state;
        step_once(d);
    } while (d->state != before);
    if (d->state == DAEMON_LOG_LANDING && log_writer_is_idle(&d->log))
        ring_stop(d->ring);
}

/* ---- running ---- */

static void on_pass_end(void *ctx)
{
    struct daemon *d = ctx;

    gather_hand_over(&d->gather);
    if (sinks_watch(&d->sinks) && d->state == DAEMON_RUNNING) {
        /* The reader of our standard output is gone and will not come back. */
        d->exit_code = EXIT_FAILED;
        d->grace = GRACE_SHORT;
        begin_shutdown(d);
    }
    if (d->state <= DAEMON_SINK_CLOSING)
        positions_step(&d->positions, clock_mono_ns());
    step(d);
    log_writer_flush(&d->log);
}

static void on_engine_up(void *ctx)
{
    struct daemon *d = ctx;

    discovery_engine_up(&d->discovery);
    containers_engine_up(&d->containers);
}

static void on_pause(void *ctx, bool paused)
{
    struct daemon *d = ctx;

    if (paused)
        log_warn("Output is slower than the containers, reading pauses",
                 LOG_INT("queued_bytes", fanout_held_bytes(&d->fanout)));
    containers_pause(&d->containers, paused);
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    struct daemon *d = ctx;

    meters_settled(&d->meters, o, after_ns);
}

static void on_unsettled(void *ctx, const struct outbox *o)
{
    struct daemon *d = ctx;

    positions_abandon(&d->positions);
}

static void on_sinks_closed(void *ctx)
{
    struct daemon *d = ctx;

    d->sinks_closed = true;
}

static int open_sinks(struct daemon *d)
{
    struct fanout_events events = {
        .on_pause = on_pause,
        .on_settled = on_settled,
        .on_unsettled = on_unsettled,
        .on_closed = on_sinks_closed,
        .ctx = d,
    };

    int r = sinks_open(&d->sinks, d->ring, d->config, &d->positions, &d->fanout, &events);

    if (r == 0)
        sinks_forget_others(&d->sinks);
    return r;
}

static int open_ring(struct daemon *d)
{
    const struct config *c = d->config;
    struct ring_options options = ring_setup_options(c);
    struct ring_refusal refusal;
    int r;

    ring_setup_raise_limits();
    r = ring_create(&options, &d->ring, &refusal);
    if (r < 0)
        log_error(c->ring_backend == RING_BACKEND_IO_URING ? "io_uring refused" : "epoll refused",
                  LOG_STR("reason", refusal.reason), LOG_ERRNO(r));
    return r;
}

static bool collect_positions(void *ctx, struct positions *p)
{
    struct daemon *d = ctx;

    if (d->gather.open)
        return false; /* for want of memory its lines have been read, and nobody has them */
    if (!sinks_put_files(&d->sinks))
        return false;
    containers_put_positions(&d->containers);
    if (d->discovery.listed_once)
        p->listed_at_ns = d->containers.accounted_ns;
    return true;
}

static const char *directory_of(const struct daemon *d, const struct position_output *o)
{
    for (size_t i = 0; i < d->sinks.files_count; i++)
        if (d->positions.directories[i] == o->directory)
            return d->sinks.directories[i];
    return NULL;
}

/*
 * Positions say what has settled, and what has settled is in the output, unless the power was lost
 * before it reached the disk (output.sync) or somebody has cut the file. What is missing then is
 * not read again: that it is missing has to be said at least.
 */
static void tell_shorter_outputs(struct daemon *d)
{
    const struct positions *p = &d->positions;

    for (struct table_link *l = table_next(&p->outputs, NULL); l; l = table_next(&p->outputs, l)) {
        const struct position_output *o = container_of(l, struct position_output, by_key);

        if (o->elsewhere == 0)
            continue;
        d->outputs_shorter++;
        log_error("Output file is shorter than it was, lines that were written are gone",
                  LOG_STR("output", directory_of(d, o)), LOG_STR("file", o->path),
                  LOG_INT("bytes_missing", o->elsewhere),
                  LOG_STR("reason", "a power loss, or somebody has cut it"));
    }
}

static void on_positions_saved(void *ctx)
{
    struct daemon *d = ctx;

    sinks_positions_saved(&d->sinks);
}

/* What a crash has left behind the positions, in every directory of files. */
static int recover_files(struct daemon *d)
{
    const struct sinks *s = &d->sinks;
    struct recovery_places places = {.count = s->files_count};
    struct recovery_result found;
    int r = 0;

    memcpy(places.directories, s->directories, sizeof s->directories);
    if (d->config->spool_path[0])
        places.directories[places.count++] = d->config->spool_path;
    for (unsigned i = 0; r == 0 && i < s->files_count; i++) {
        r = recovery_run(&d->positions, &places, i, &found);
        if (r < 0)
            log_error("Output of the last run can't be read back",
                      LOG_STR("output", s->directories[i]), LOG_ERRNO(r));
        else if (found.files > 0)
            log_info("Output is ahead of the positions, read back",
                     LOG_STR("output", s->directories[i]), LOG_INT("files", found.files),
                     LOG_INT("lines", found.lines), LOG_INT("torn_lines_cut", found.torn));
    }
    tell_shorter_outputs(d);
    return r;
}

static int open_positions(struct daemon *d)
{
    const struct config *c = d->config;
    RT_CLEANUP(freep) char *path = NULL;
    int r = sinks_positions_path(c, &path);

    if (r == 0)
        r = positions_open(&d->positions, path, d->sinks.directories, d->sinks.files_count,
                           (uint32_t)c->stream_history_records, c->positions_interval_ms,
                           c->positions_keep_ms);
    if (r < 0) {
        log_error(r == -EWOULDBLOCK ? "Another ringtail uses these positions"
                                    : "Positions can't be opened",
                  LOG_STR("path", path), LOG_ERRNO(r));
        return r;
    }
    return recover_files(d);
}

static int wire(struct daemon *d)
{
    const struct config *c = d->config;
    struct engine_events engine_events = {.on_up = on_engine_up, .ctx = d};
    int64_t now_ns = clock_wall_ns();
    int r;

    d->gather = (struct gather){
        .config = c,
        .fanout = &d->fanout,
    };
    engine_init(&d->engine, d->ring, c, &engine_events);
    d->positions.ring = d->ring;
    d->positions.gather = &d->gather;
    d->positions.collect = collect_positions;
    d->positions.on_saved = on_positions_saved;
    d->positions.ctx = d;
    r = meters_init(&d->meters, c);
    if (r < 0)
        return r;
    r = containers_init(&d->containers, d->ring, &d->engine, &d->gather, &d->positions, &d->meters,
                        c);
    if (r < 0)
        return r;
    r = config_since_parse(c->stream_since, now_ns, &d->containers.floor_ns,
                           &d->containers.floor_is_now);
    if (r < 0)
        return r;
    d->containers.accounted_ns = MIN(now_ns, positions_resume_ns(&d->positions));
    if (d->containers.floor_is_now)
        d->containers.floor_ns = MIN(d->containers.floor_ns, positions_resume_ns(&d->positions));
    if (self_container_id(d->self_id))
        d->containers.self_id = d->self_id;
    discovery_init(&d->discovery, &d->engine, &d->containers);
    d->waker = (struct ring_waker){.fn = on_wake, .ctx = d};
    ring_add_waker(d->ring, &d->waker);
    d->grace_op.done = on_grace_over;
    d->meters.outputs_shorter = d->outputs_shorter;
    d->meters.ring = d->ring;
    d->meters.confinement = &d->confinement;
    d->meters.fanout = &d->fanout;
    d->meters.gather = &d->gather;
    d->meters.engine = &d->engine;
    d->meters.containers = &d->containers;
    d->meters.discovery = &d->discovery;
    d->meters.positions = &d->positions;
    d->meters.sinks = &d->sinks;
    meters_sinks_opened(&d->meters);
    return 0;
}

static void wake_ring(void *ctx)
{
    struct meters *m = ctx;

    ring_wake(m->ring);
}

/* Logs are followed without it, too: a port that is in use is said, and nothing more. */
static void open_admin(struct daemon *d)
{
    const struct config *c = d->config;
    struct admin_options options = {
        .address = c->admin_address,
        .port = (uint16_t)c->admin_port,
        .connections_max = (unsigned)c->admin_connections_max,
        .timeout_s = (unsigned)(c->admin_timeout_ms / 1000),
    };
    struct admin_callbacks callbacks = {
        .fill_metrics = meters_fill,
        .ready = meters_ready,
        .streams = meters_streams,
        .wake = wake_ring,
        .ctx = &d->meters,
    };
    char why[256] = "";

    if (c->admin_address[0] == '\0')
        return;
    if (admin_open(&options, &callbacks, d->meters.metrics, &d->admin, why, sizeof why) < 0)
        log_error("Admin endpoint can't be opened, going on without it",
                  LOG_STR("address", c->admin_address), LOG_INT("port", c->admin_port),
                  LOG_STR("reason", why));
    else
        log_info("Admin endpoint", LOG_STR("address", c->admin_address),
                 LOG_INT("port", admin_port(d->admin)));
}

static void say_hello(const struct daemon *d)
{
    struct buf names = {0};

    (void)sinks_names(&d->sinks, &names); /* without memory fewer of them are said */
    log_info("Starting", LOG_STR("version", RINGTAIL_VERSION),
             LOG_STR("backend", ring_describe(d->ring)), LOG_STR("engine", d->config->engine_url),
             LOG_STR("sinks", buf_cstr(&names)), LOG_STR("since", d->config->stream_since));
    buf_finish(&names);
}

static void run(struct daemon *d)
{
    int r;

    say_hello(d);
    log_writer_init(&d->log, d->ring);
    signals_wake(d->ring);
    open_admin(d);
    fanout_start(&d->fanout);
    engine_start(&d->engine);
    notify_start(&d->notify, d->ring);
    if (confine_calls(&d->confinement, d->config) < 0) {
        d->exit_code = EXIT_REFUSED;
        begin_shutdown(d);
        notify_close(&d->notify); /* before it says that we are ready */
    }
    r = ring_run(d->ring, on_pass_end, d);
    signals_wake(NULL);
    if (r < 0) {
        log_writer_close(&d->log);
        log_error("The ring failed", LOG_ERRNO(r));
        d->exit_code = EXIT_FAILED;
        /* What is in flight can't land any more, so nothing it points to may be freed. */
        _exit(EXIT_FAILED);
    }
    log_writer_finish(&d->log);
}

static void on_landing(void *ctx)
{
    struct daemon *d = ctx;

    if (sinks_is_idle(&d->sinks))
        ring_stop(d->ring);
}

/* We do not run after all, but opening the sinks may have begun something that is in flight. */
static void land(struct daemon *d)
{
    sinks_close_shared(&d->sinks);
    if (d->sinks.spool)
        spool_abort(d->sinks.spool);
    if (!sinks_is_idle(&d->sinks) && ring_run(d->ring, on_landing, d) < 0)
        _exit(EXIT_FAILED); /* as in run() */
}

int daemon_run(const struct config *config)
{
    struct log_options log = {
        .level = (enum log_level)config->log_level,
        .format = (enum log_format)config->log_format,
        .burst_lines = (uint32_t)config->log_burst,
        .window_ms = 10000,
    };
    struct daemon d = {.config = config, .exit_code = EXIT_CLEAN};

    log_init(&log);
    signals_catch();
    if (open_ring(&d) < 0)
        return EXIT_REFUSED;
    /* Before the sinks make threads. */
    if (confine_privileges(&d.confinement, config, d.ring) < 0) {
        ring_destroy(d.ring);
        return EXIT_REFUSED;
    }
    if (open_sinks(&d) < 0 || open_positions(&d) < 0 || wire(&d) < 0) {
        d.exit_code = EXIT_FAILED;
        land(&d);
    } else {
        run(&d);
    }
    discovery_finish(&d.discovery);
    containers_finish(&d.containers);
    meters_finish(&d.meters);
    sinks_destroy(&d.sinks);
    positions_finish(&d.positions);
    ring_destroy(d.ring);
    batch_free_kept();
    return d.exit_code;
}
