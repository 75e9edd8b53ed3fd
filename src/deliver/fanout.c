/* deliver/fanout.h. */
#include "ringtail/deliver/fanout.h"

#include <assert.h>
#include <errno.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

int fanout_init(struct fanout *f, size_t sinks_count, struct spool *spool,
                const struct fanout_events *events)
{
    *f = (struct fanout){.spool = spool, .events = *events};
    return tallies_init(&f->tallies, sinks_count);
}

void fanout_finish(struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++)
        outbox_finish(&f->outboxes[i]);
    tallies_finish(&f->tallies);
}

struct sink_events fanout_sink_events(struct fanout *f)
{
    assert(f->count < f->tallies.sinks_count);
    return outbox_sink_events(&f->outboxes[f->count]);
}

static void on_outbox_pause(void *ctx, struct outbox *o)
{
    struct fanout *f = ctx;
    bool before = fanout_is_paused(f);

    if (o->paused)
        f->paused_count++;
    else
        f->paused_count--;
    if (fanout_is_paused(f) == before)
        return;
    if (before)
        f->paused_ns += clock_mono_ns() - f->paused_at_mono_ns;
    else
        f->paused_at_mono_ns = clock_mono_ns();
    f->pauses += !before;
    f->events.on_pause(f->events.ctx, !before);
}

static void on_outbox_settled(void *ctx, struct outbox *o, int64_t after_ns)
{
    struct fanout *f = ctx;

    f->events.on_settled(f->events.ctx, o, after_ns);
}

static void on_outbox_unsettled(void *ctx, struct outbox *o)
{
    struct fanout *f = ctx;

    f->events.on_unsettled(f->events.ctx, o);
}

static void on_outbox_closed(void *ctx, struct outbox *o)
{
    struct fanout *f = ctx;

    if (++f->closed_count == f->count)
        f->events.on_closed(f->events.ctx);
}

int fanout_add(struct fanout *f, const struct outbox_options *options, bool spools,
               struct sink *sink)
{
    struct outbox_options all = *options;
    struct outbox_events events = {
        .on_pause = on_outbox_pause,
        .on_settled = on_outbox_settled,
        .on_unsettled = on_outbox_unsettled,
        .on_closed = on_outbox_closed,
        .ctx = f,
    };
    int r;

    all.number = f->count;
    all.spool = spools ? f->spool : NULL;
    r = outbox_init(&f->outboxes[f->count], &all, &events, &f->tallies, sink);
    if (r == 0)
        f->count++;
    return r;
}

void fanout_start(struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++)
        outbox_start(&f->outboxes[i]);
}

int fanout_hand_over(struct fanout *f, struct batch *batch, struct batch *claim)
{
    struct spill *spill = NULL;
    struct manifest *m;

    for (size_t i = 0; i < f->count; i++)
        if (outbox_reserve(&f->outboxes[i]) < 0)
            return -ENOMEM;
    m = manifest_create(&f->tallies, batch);
    if (!m)
        return -ENOMEM;
    for (size_t i = 0; i < f->count; i++)
        outbox_take(&f->outboxes[i], batch, claim, m, &spill);
    spill_start(spill);
    (void)manifest_unref(&f->tallies, m);
    return 0;
}

size_t fanout_held_bytes(const struct fanout *f)
{
    size_t bytes = 0;

    for (size_t i = 0; i < f->count; i++)
        bytes += outbox_held_bytes(&f->outboxes[i]);
    return bytes;
}

int64_t fanout_paused_ns(const struct fanout *f)
{
    return f->paused_ns + (fanout_is_paused(f) ? clock_mono_ns() - f->paused_at_mono_ns : 0);
}

void fanout_sync(struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++)
        sink_sync(f->outboxes[i].sink);
}

bool fanout_is_syncing(const struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->outboxes[i].sink->syncing)
            return true;
    return false;
}

void fanout_close(struct fanout *f)
{
    f->closing = true;
    for (size_t i = 0; i < f->count; i++)
        outbox_close(&f->outboxes[i]);
}

void fanout_give_up(struct fanout *f)
{
    f->closing = true;
    for (size_t i = 0; i < f->count; i++)
        outbox_give_up(&f->outboxes[i]);
}

void fanout_end_spool(struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++)
        outbox_end_spool(&f->outboxes[i]);
    if (f->spool)
        spool_abort(f->spool);
}
