/* src/control/gather.h. */
#include "gather.h"

#include <errno.h>

#include "ringtail/base/macros.h"

static void on_settled(void *ctx, struct batch *claim)
{
    struct gather *g = ctx;

    g->lines_settled += claim->count;
    g->outstanding--;
    if (claim->serial <= g->barrier)
        g->before_barrier--;
}

int gather_line(struct gather *g, struct source *source, const struct line *line, unsigned flags)
{
    int r;

    if (!g->open) {
        g->open = batch_create(NULL, NULL);
        if (!g->open)
            return -ENOMEM;
    }
    if (line->heap) {
        r = batch_adopt(g->open, source, line->stream, line->ts_ns, line->flags | flags,
                        line->heap->data, line->bytes.len, line->heap->cap);
        if (r == 0)
            *line->heap = (struct buf){0};
    } else {
        r = batch_append(g->open, source, line->stream, line->ts_ns, line->flags | flags,
                         line->bytes);
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
    struct batch *b = g->open, *claim;

    if (!b)
        return;
    claim = batch_share(b, on_settled, g);
    if (!claim)
        return;
    g->outstanding++;
    if (fanout_hand_over(g->fanout, b, claim) < 0) {
        g->outstanding--;
        claim->on_settled = NULL;
        (void)batch_unref(claim);
        return;
    }
    g->open = NULL;
    g->handed_over = b->serial;
    (void)batch_unref(claim);
    (void)batch_unref(b);
}

uint64_t gather_give_up(struct gather *g)
{
    uint64_t lines = g->open ? g->open->count : 0;

    g->open = batch_unref(g->open);
    return lines;
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
        fanout_sync(g->fanout);
    }
    return !fanout_is_syncing(g->fanout);
}
