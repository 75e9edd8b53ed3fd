/* src/control/containers.h. */
#include "containers.h"

#include <errno.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#include "following.h"
#include "meters.h"

/* Slots are free again this soon. */
#define TICK_SOON_MS INT64_C(10)

static struct container *find(struct containers *all, const char *id)
{
    struct table_link *link = table_find(&all->table, slice_str(id));

    return link ? container_of(link, struct container, by_id) : NULL;
}

void containers_pump(struct containers *all)
{
    while (!all->closing && engine_is_up(all->engine) && !list_is_empty(&all->waiting) &&
           all->opening_count < (unsigned)all->config->stream_openings_max) {
        struct container *c = container_of(list_pop(&all->waiting), struct container, link);

        if (c->inspected)
            following_open(c);
        else
            container_inspect(c);
    }
}

/* ---- what is heard from outside ---- */

void containers_mention(struct containers *all, const char *id, enum container_mention mention)
{
    struct container *c;

    if (all->closing)
        return;
    c = find(all, id);
    if (!c) {
        c = container_create(all, id);
        if (!c) {
            log_error("Container not followed", LOG_STR("container_id", id), LOG_ERRNO(-ENOMEM));
            return; /* the next listing tries again */
        }
        if (mention != MENTION_RUNNING)
            c->history.floor_is_far = true;
        c->wanted = mention != MENTION_CREATED;
        container_go(c);
        return;
    }
    if (mention == MENTION_CREATED)
        return;
    c->removed = false;
    c->mark = true;
    switch (c->state) {
    case CONTAINER_IDLE:
        c->wanted = true;
        container_go(c);
        break;
    case CONTAINER_REFUSED:
        if (mention == MENTION_STARTED) {
            list_remove(&c->link);
            c->refusal_said = false;
            container_go(c);
        }
        break;
    case CONTAINER_OPENING:
    case CONTAINER_READING:
        c->started |= mention == MENTION_STARTED;
        break;
    case CONTAINER_WAITING:
    case CONTAINER_BACKOFF:
        if (c->catching_up)
            c->started |= mention == MENTION_STARTED;
        else
            c->wanted = true;
        break;
    case CONTAINER_INSPECTING:
        c->wanted = true;
        break;
    case CONTAINER_IGNORED:
    case CONTAINER_STATE_COUNT:
        break;
    }
}

static void take_name(struct containers *all, struct container *c, const char *name)
{
    if (!c->inspected || !c->name || strcmp(c->name, name) == 0 || name[0] == '\0')
        return;
    if (container_set_source(c, name, c->image) < 0) {
        log_error("Container's new name not taken over", LOG_CONTAINER(c), LOG_ERRNO(-ENOMEM));
        return;
    }
    meters_container_renamed(all->meters, c);
}

void containers_rename(struct containers *all, const char *id, const char *name)
{
    struct container *c = find(all, id);

    if (!c)
        return;
    c->renamed = true;
    take_name(all, c, name);
}

static void container_removed(struct container *c)
{
    c->removed = true;
    switch (c->state) {
    case CONTAINER_IDLE:
    case CONTAINER_IGNORED:
        container_free(c);
        break;
    case CONTAINER_REFUSED:
        list_remove(&c->link);
        container_lost(c);
        break;
    case CONTAINER_BACKOFF:
    case CONTAINER_INSPECTING:
    case CONTAINER_OPENING:
    case CONTAINER_READING:
    case CONTAINER_WAITING:
    case CONTAINER_STATE_COUNT:
        break; /* what is under way finds out by itself, after what there is left to read */
    }
}

void containers_remove(struct containers *all, const char *id)
{
    struct container *c = find(all, id);

    /* Without memory for it the worst is a container that is said to be missed. */
    if (all->is_listing)
        (void)buf_printf(&all->removed_ids, "%s\n", id);
    if (c)
        container_removed(c);
}

void containers_listing_begin(struct containers *all)
{
    all->listing_asked_ns = clock_wall_ns();
    all->is_listing = true;
    buf_reset(&all->removed_ids);
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        c->mark = c->renamed = false;
    }
}

static bool is_up(const struct reply_container *row)
{
    return strcmp(row->state, "running") == 0 || strcmp(row->state, "paused") == 0 ||
           strcmp(row->state, "restarting") == 0;
}

/* It may have ended only now, for all that the row says: whether, its inspect tells. */
static void consider_ended(struct containers *all, const char *id)
{
    struct container *c = container_create(all, id);

    if (!c)
        return; /* without memory: as if its events had been lost */
    c->wanted_if_ended_ns = all->accounted_ns;
    container_go(c);
}

/*
 * It does not run. Nothing says so where events come and we were there, so this has to find what
 * began and ended while we were away or while events were lost, without asking for more about the
 * thousands that may have ended long ago.
 */
static void see_ended(struct containers *all, struct container *c,
                      const struct reply_container *row)
{
    int64_t ended_ns = row->ended_ago_s < 0
                           ? row->created_at_ns
                           : clock_wall_ns() - row->ended_ago_s * NSEC_PER_SEC; /* or earlier */

    if (!c && positions_knows(all->positions, row->id))
        containers_mention(all, row->id, MENTION_RUNNING); /* not read to its end, perhaps */
    else if (strcmp(row->state, "exited") != 0)
        return; /* it has never run, or the Engine refuses the log of what it is removing */
    else if (!c && ended_ns >= all->accounted_ns)
        consider_ended(all, row->id);
    else if (c && c->state == CONTAINER_IDLE && ended_ns >= c->asked_at_ns)
        containers_mention(all, row->id, MENTION_RUNNING);
}

static bool is_removed_since(const struct containers *all, const char *id)
{
    return all->removed_ids.len > 0 &&
           memmem(all->removed_ids.data, all->removed_ids.len, id, strlen(id));
}

static void see(struct containers *all, const struct reply_container *row)
{
    struct container *c = find(all, row->id);

    if (is_removed_since(all, row->id))
        return;
    if (is_up(row))
        containers_mention(all, row->id, MENTION_RUNNING);
    else
        see_ended(all, c, row);
    c = find(all, row->id);
    if (!c)
        return;
    c->mark = true;
    if (!c->renamed)
        take_name(all, c, row->name);
}

void containers_listing_take(struct containers *all, const struct reply_list *list)
{
    struct table_link *next;

    /* First those that go on writing. */
    for (size_t i = 0; i < list->count; i++)
        if (is_up(&list->items[i]))
            see(all, &list->items[i]);
    for (size_t i = 0; i < list->count; i++)
        if (!is_up(&list->items[i]))
            see(all, &list->items[i]);
    next = table_next(&all->table, NULL);
    while (next) {
        struct container *c = container_of(next, struct container, by_id);

        next = table_next(&all->table, next);
        if (!c->mark)
            container_removed(c);
    }
    all->accounted_ns = all->listing_asked_ns;
    all->is_listing = false;
    buf_finish(&all->removed_ids);
}

void containers_engine_up(struct containers *all)
{
    containers_pump(all);
}

void containers_put_positions(struct containers *all)
{
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        /* A line that was open may have ended without another record. */
        if (c->history.next != c->position_next || c->history.next == 0 || c->history.has_owed ||
            c->position_is_open)
            container_put_position(c);
        c->position_next = c->history.next;
        c->position_is_open = line_joiner_is_open(&c->joiner);
    }
}

void containers_pause(struct containers *all, bool paused)
{
    all->paused = paused;
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        if (c->stream)
            stream_pause(c->stream, paused);
        if (c->successor)
            stream_pause(c->successor, paused);
    }
}

/* ---- the clock ---- */

/* One refused log a second is tried again, however many there are. */
static void retry_one_refused(struct containers *all, int64_t now)
{
    struct container *c;

    if (list_is_empty(&all->refused))
        return;
    c = container_of(all->refused.next, struct container, link);
    if (c->due_mono_ns > now)
        return;
    all->refused_tried_at_mono_ns = now;
    list_remove(&c->link);
    container_go(c);
}

static void give_up_silent_seeker(struct stream *s, int64_t now, int64_t timeout_ms)
{
    if (s && !s->cursor.whole && splice_is_unplaced(&s->cursor) &&
        now - s->last_part_at_mono_ns > timeout_ms * NSEC_PER_MSEC)
        stream_give_up_seeking(s);
}

/* The container's sign of life, whatever its streams are at. */
static void beat(struct container *c, int64_t now)
{
    if (now - c->heartbeat_at_mono_ns < c->all->config->heartbeat_interval_ms * NSEC_PER_MSEC)
        return;
    c->heartbeat_at_mono_ns = now;
    meters_container_heartbeat(c->all->meters, c);
}

/* Returns when to look again. */
static int64_t watch(struct containers *all, int64_t now)
{
    int64_t seek_ms = all->config->stream_seek_timeout_ms;
    int64_t next_ns = following_quiet_due(all, now);

    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        if (now < c->watch_due_mono_ns) {
            next_ns = MIN(next_ns, c->watch_due_mono_ns);
            continue;
        }
        if (!all->paused) {
            give_up_silent_seeker(c->stream, now, seek_ms);
            give_up_silent_seeker(c->successor, now, seek_ms);
        }
        if (c->state == CONTAINER_READING && c->stream)
            following_watch(c, now);
        if (c->meters.shown && c->state != CONTAINER_IDLE)
            beat(c, now);
        if (c->state != CONTAINER_IDLE && c->state != CONTAINER_IGNORED)
            next_ns = MIN(next_ns, c->watch_due_mono_ns);
    }
    return next_ns;
}

static void on_tick(struct op *op, int res)
{
    struct containers *all = container_of(op, struct containers, tick_op);
    int64_t now = clock_mono_ns(), wait_ms;

    if (all->closing)
        return;
    if (now - all->refused_tried_at_mono_ns >= NSEC_PER_SEC)
        retry_one_refused(all, now);
    all->rotation_waits = false;
    wait_ms = (watch(all, now) - now) / NSEC_PER_MSEC + 1;
    if (all->rotation_waits)
        wait_ms = MIN(all->tick_ms, TICK_SOON_MS);
    else if (!list_is_empty(&all->refused) || wait_ms < all->tick_ms)
        wait_ms = all->tick_ms;
    ring_timer(all->ring, op, wait_ms);
}

int containers_init(struct containers *all, struct ring *ring, struct engine *engine,
                    struct gather *gather, struct positions *positions, struct meters *meters,
                    const struct config *config)
{
    int r;

    *all = (struct containers){
        .ring = ring,
        .engine = engine,
        .gather = gather,
        .positions = positions,
        .meters = meters,
        .config = config,
    };
    list_init(&all->waiting);
    list_init(&all->refused);
    random_seed_system(&all->random);
    all->tick_op.done = on_tick;
    /* Fine enough for the shortest interval, and never so fine as to be seen in the CPU time. */
    all->tick_ms = MAX(MIN(config->stream_rotation_interval_ms / 20, 1000), 10);
    r = table_init(&all->table);
    if (r < 0)
        return r;
    ring_timer(ring, &all->tick_op, all->tick_ms);
    return 0;
}

void containers_finish(struct containers *all)
{
    table_finish(&all->table);
    buf_finish(&all->removed_ids);
}

/* Ends what is under way; what lands goes on in container_go, which frees. */
static void container_close(struct container *c)
{
    list_remove(&c->link);
    if (c->successor)
        stream_close(c->successor);
    if (c->stream)
        stream_close(c->stream);
    if (c->stream || c->successor || c->retired_count > 0)
        return;
    if (c->inspect.active)
        return; /* engine_close ends it */
    if (op_in_flight(&c->backoff_op)) {
        ring_cancel(c->all->ring, &c->backoff_op);
        return;
    }
    container_leave(c);
}

void containers_close(struct containers *all)
{
    struct table_link *next;

    all->closing = true;
    ring_cancel(all->ring, &all->tick_op);
    next = table_next(&all->table, NULL);
    while (next) {
        struct container *c = container_of(next, struct container, by_id);

        next = table_next(&all->table, next);
        container_close(c);
    }
}

bool containers_is_idle(const struct containers *all)
{
    return all->table.count == 0 && !op_in_flight(&all->tick_op);
}
