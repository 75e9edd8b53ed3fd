/*
 * Events: their text, the history of 256, and what goes wrong with them on purpose. An event is
 * made once and shared by the history and every subscriber's queue.
 *
 * Order of faults: dropped, else delayed, else held for the next one, else delivered (and maybe
 * twice).
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"

/* Events of one instant get times of their own, unless the clock was set back on purpose. */
#define CLOCK_SLACK_NS NSEC_PER_MSEC

struct event *event_unref(struct event *e)
{
    if (!e || --e->refs > 0)
        return NULL;
    for (size_t i = 0; i < e->attributes_count; i++) {
        free((char *)e->attributes[i].key);
        free((char *)e->attributes[i].value);
    }
    free(e->attributes);
    free(e->text);
    free(e->type);
    free(e->action);
    free(e->id);
    free(e->name);
    free(e->image);
    free(e);
    return NULL;
}

static bool event_passes(const struct conn *k, const struct event *e)
{
    return e->time_ns <= k->until_ns && filters_match_event(&k->filters, e);
}

/** Into the history and to all that listen. */
static void event_deliver(struct sim *sim, struct event *e)
{
    struct event **place = &sim->ring[sim->ring_count++ % EVENT_RING];

    event_unref(*place);
    e->refs++;
    *place = e;
    LIST_FOR_EACH_ENTRY (k, &sim->event_conns, struct conn, events_link) {
        if (event_passes(k, e))
            conn_queue_event(k, e);
    }
}

static bool share_hits(struct sim *sim, uint32_t percent)
{
    return percent > 0 && random_below(&sim->random, 100) < percent;
}

/** Takes the reference. */
static void event_send(struct sim *sim, struct event *e)
{
    struct sim_event_faults *f = &sim->event_faults;
    struct event *held = NULL;

    sim->stats.events_emitted++;
    if (f->drop_next > 0) {
        f->drop_next--;
        event_unref(e);
        return;
    }
    if (share_hits(sim, f->drop_percent)) {
        event_unref(e);
        return;
    }
    if (share_hits(sim, f->delay_percent)) {
        e->due_mono_ns = clock_mono_ns() + f->delay_ms * NSEC_PER_MSEC;
        list_append(&sim->late, &e->link);
        return;
    }
    held = TAKE_PTR(sim->held);
    if (!held && share_hits(sim, f->reorder_percent)) {
        sim->held = e;
        return;
    }
    event_deliver(sim, e);
    if (share_hits(sim, f->duplicate_percent))
        event_deliver(sim, e);
    event_unref(e);
    if (held) {
        event_deliver(sim, held);
        event_unref(held);
    }
}

void events_deliver_late(struct sim *sim, int64_t now_mono_ns)
{
    LIST_FOR_EACH_ENTRY (e, &sim->late, struct event, link) {
        if (e->due_mono_ns > now_mono_ns)
            continue;
        list_remove(&e->link);
        event_deliver(sim, e);
        event_unref(e);
    }
}

void events_forget(struct sim *sim)
{
    for (size_t i = 0; i < EVENT_RING; i++)
        sim->ring[i] = event_unref(sim->ring[i]);
    sim->ring_count = 0;
    LIST_FOR_EACH_ENTRY (e, &sim->late, struct event, link) {
        list_remove(&e->link);
        event_unref(e);
    }
    sim->held = event_unref(sim->held);
}

static int64_t event_time(struct sim *sim)
{
    int64_t now = sim_clock_ns(sim);

    if (now <= sim->last_event_ns && sim->last_event_ns - now < CLOCK_SLACK_NS)
        now = sim->last_event_ns + 1;
    sim->last_event_ns = now;
    return now;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct sim_pair *)a)->key, ((const struct sim_pair *)b)->key);
}

/** Labels, image, name and what the action adds, sorted as the Engine writes a map. */
static int event_fill_attributes(struct event *e, const struct sim_container *c,
                                 const struct sim_pair *extra, size_t extra_count)
{
    struct sim_pair own[] = {{"image", c->image}, {"name", c->name}};
    const struct {
        const struct sim_pair *pairs;
        size_t count;
    } sources[] = {{extra, extra_count}, {own, ARRAY_SIZE(own)}, {c->labels, c->labels_count}};

    e->attributes = calloc(extra_count + ARRAY_SIZE(own) + c->labels_count, sizeof *e->attributes);
    if (!e->attributes)
        return -ENOMEM;
    for (size_t s = 0; s < ARRAY_SIZE(sources); s++) {
        for (size_t i = 0; i < sources[s].count; i++) {
            struct sim_pair *to = &e->attributes[e->attributes_count];
            bool taken = false;

            /* A label that is called like one of the Engine's own is hidden by it. */
            for (size_t j = 0; j < e->attributes_count; j++)
                taken = taken || strcmp(e->attributes[j].key, sources[s].pairs[i].key) == 0;
            if (taken)
                continue;
            to->key = strdup(sources[s].pairs[i].key);
            to->value = strdup(sources[s].pairs[i].value);
            e->attributes_count++;
            if (!to->key || !to->value)
                return -ENOMEM;
        }
    }
    qsort(e->attributes, e->attributes_count, sizeof *e->attributes, compare_keys);
    return 0;
}

static int append_member(struct buf *b, const char *before, const char *value)
{
    int r = buf_append_str(b, before);

    return r < 0 ? r : json_append_string(b, slice_str(value));
}

static int event_write(struct event *e, struct buf *b)
{
    int r = buf_append_char(b, '{');

    if (r == 0)
        r = append_member(b, "\"status\":", e->action);
    if (r == 0)
        r = append_member(b, ",\"id\":", e->id);
    if (r == 0)
        r = append_member(b, ",\"from\":", e->image);
    if (r == 0)
        r = buf_append_char(b, ',');
    e->legacy_len = b->len - 1;
    if (r == 0)
        r = append_member(b, "\"Type\":\"container\",\"Action\":", e->action);
    if (r == 0)
        r = append_member(b, ",\"Actor\":{\"ID\":", e->id);
    if (r == 0)
        r = buf_append_str(b, ",\"Attributes\":{");
    for (size_t i = 0; r == 0 && i < e->attributes_count; i++) {
        r = append_member(b, i ? "," : "", e->attributes[i].key);
        if (r == 0)
            r = append_member(b, ":", e->attributes[i].value);
    }
    if (r == 0)
        r = buf_printf(b, "}},\"scope\":\"local\",\"time\":%lld,\"timeNano\":%lld}\n",
                       (long long)(e->time_ns / NSEC_PER_SEC), (long long)e->time_ns);
    return r;
}

static struct event *event_create(int64_t time_ns)
{
    struct event *e = calloc(1, sizeof *e);

    if (e) {
        list_init(&e->link);
        e->refs = 1;
        e->time_ns = time_ns;
    }
    return e;
}

int container_emit(struct sim_container *c, const char *action, const struct sim_pair *extra,
                   size_t extra_count)
{
    struct event *e = event_create(event_time(c->sim));
    struct buf text = {0};
    int r;

    if (!e)
        return -ENOMEM;
    e->type = strdup("container");
    e->action = strdup(action);
    e->id = strdup(c->id);
    e->name = strdup(c->name);
    e->image = strdup(c->image);
    r = e->type && e->action && e->id && e->name && e->image ? 0 : -ENOMEM;
    if (r == 0)
        r = event_fill_attributes(e, c, extra, extra_count);
    if (r == 0)
        r = event_write(e, &text);
    if (r < 0) {
        buf_finish(&text);
        event_unref(e);
        return r;
    }
    e->text = text.data;
    e->len = text.len;
    event_send(c->sim, e);
    return 0;
}

int events_emit_raw(struct sim *sim, const char *json, int64_t time_ns)
{
    struct event *e = event_create(time_ns);
    struct buf text = {0};
    int r = e ? buf_append_str(&text, json) : -ENOMEM;

    if (r == 0)
        r = buf_append_char(&text, '\n');
    if (r < 0) {
        buf_finish(&text);
        event_unref(e);
        return r;
    }
    e->text = text.data;
    e->len = text.len;
    event_send(sim, e);
    return 0;
}

void sim_set_event_faults(struct sim *sim, const struct sim_event_faults *faults)
{
    sim_enter(sim);
    sim->event_faults = faults ? *faults : (struct sim_event_faults){0};
    if (!faults && sim->held) {
        struct event *held = TAKE_PTR(sim->held);

        event_deliver(sim, held);
        event_unref(held);
    }
    sim_leave(sim);
}

int sim_emit_event(struct sim *sim, const char *json, int64_t time_ns)
{
    int r;

    sim_enter(sim);
    r = events_emit_raw(sim, json, time_ns);
    sim_leave(sim);
    return r;
}

int sim_emit_container_event(struct sim_container *c, const char *action)
{
    int r;

    sim_enter(c->sim);
    r = container_emit(c, action, NULL, 0);
    sim_leave(c->sim);
    return r;
}
