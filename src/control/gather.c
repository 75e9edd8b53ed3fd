/* src/control/gather.h. */
#include "gather.h"

#include <errno.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

static void on_settled(void *ctx, struct batch *b)
{
    struct gather *g = ctx;

    g->lines_settled += b->count;
    g->outstanding--;
    if (b->serial <= g->barrier)
        g->before_barrier--;
    if (g->handed_over - b->serial < GATHER_TIMES)
        g->on_settled(g->ctx,
                      clock_mono_ns() - g->handed_over_at_mono_ns[b->serial % GATHER_TIMES]);
}

static void bound(struct gather *g)
{
    size_t max = (size_t)g->config->queue_max_bytes;
    bool pause = g->sink->queued_bytes > (g->paused ? max / 2 : max);

    if (pause == g->paused)
        return;
    if (pause)
        g->paused_at_mono_ns = clock_mono_ns();
    else
        g->paused_ns += clock_mono_ns() - g->paused_at_mono_ns;
    g->paused = pause;
    g->pauses += pause;
    g->on_pause(g->ctx, pause);
}

int gather_line(struct gather *g, struct source *source, const struct line *line)
{
    int r;

    if (!g->open) {
        g->open = batch_create(on_settled, g);
        if (!g->open)
            return -ENOMEM;
    }
    if (line->heap) {
        r = batch_adopt(g->open, source, line->stream, line->ts_ns, line->flags, line->heap->data,
                        line->bytes.len, line->heap->cap);
        if (r == 0)
            *line->heap = (struct buf){0};
    } else {
        r = batch_append(g->open, source, line->stream, line->ts_ns, line->flags, line->bytes);
    }
    if (r < 0)
        return r;
    g->open->records[g->open->count - 1].ordinal = line->ordinal;
    g->lines++;
    g->bytes += line->bytes.len;
    if (unlikely(g->open->bytes >= (size_t)g->config->queue_batch_bytes))
        gather_hand_over(g);
    return 0;
}

void gather_hand_over(struct gather *g)
{
    struct batch *b = g->open;

    if (!b)
        return;
    g->open = NULL;
    g->handed_over = b->serial;
    g->outstanding++;
    g->handed_over_at_mono_ns[b->serial % GATHER_TIMES] = clock_mono_ns();
    sink_submit(g->sink, b);
    batch_unref(b);
    bound(g);
}

void gather_progress(struct gather *g)
{
    bound(g);
}

void gather_set_barrier(struct gather *g)
{
    g->barrier = g->handed_over;
    g->before_barrier = g->outstanding;
    g->sync_owed = true;
}

bool gather_is_settled(struct gather *g)
{
    if (g->before_barrier > 0)
        return false;
    if (g->sync_owed) {
        g->sync_owed = false;
        sink_sync(g->sink);
    }
    return !g->sink->syncing;
}

int64_t gather_paused_ns(const struct gather *g)
{
    return g->paused_ns + (g->paused ? clock_mono_ns() - g->paused_at_mono_ns : 0);
}
