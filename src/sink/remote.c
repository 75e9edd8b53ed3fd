/*
 * The remote sink: batches in, requests out, verdicts back. It owns the references to its batches,
 * its requests and its transport; time, connections and the text of requests are others'.
 *
 * A request keeps the records that it was cut with until each has its verdict: what a reply leaves
 * to be sent is moved to the end of its piece, in place, so that no reply needs memory to be
 * followed. A request that is refused as a whole is cut in two pieces, these again in two, and the
 * pieces are sent one after the other.
 *
 *     records  0 1 2 3 4 5 6 7 8 9        next 3; the piece at hand ends at 5, the later ones
 *              ─────▲───┘ ┘   ─┘          at 6 and 10
 *
 * Invariants: a record is settled once, by a verdict or by an abort; requests are in the order of
 * their records, and one is begun only when all older ones are under way with all that they have;
 * no callback of ours finds the sink in the middle of a change: what it asks for happens behind the
 * change at hand.
 */
#include "ringtail/sink/remote.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "ringtail/sink/transport.h"

#define HELD_FIRST 64  /* batches there is room for from the start; a power of two */
#define ROOM_FIRST 64u /* records of one request, likewise: so many can always be sent */
/* A request of CODEC_RECORDS_MAX is halved 16 times at most. */
#define PIECES_MAX 17

static_assert(SINK_REMOTE_NO_REPLY == CODEC_SUSPENDED + 1, "outcomes are counted by their number");

/** A batch, and how many of its records have no verdict yet. */
struct held {
    struct batch *batch; /* NULL: all of it is settled */
    size_t left;
};

/*
 *   FREE ──► READY ◄──► UNDER_WAY ──► FREE
 */
enum slot_state {
    SLOT_FREE,
    SLOT_READY, /* has a piece to send, when it may */
    SLOT_UNDER_WAY,
    SLOT_STATE_COUNT,
};

static const uint8_t slot_edges[SLOT_STATE_COUNT] = {
    [SLOT_FREE] = BIT(SLOT_READY),
    [SLOT_READY] = BIT(SLOT_UNDER_WAY) | BIT(SLOT_FREE),
    [SLOT_UNDER_WAY] = BIT(SLOT_READY) | BIT(SLOT_FREE),
};

/** One request, from the cut to the last verdict. */
struct slot {
    struct sink_remote *remote;
    struct request request;
    struct list link; /* of `busy` or `idle` */
    enum slot_state state;
    const struct record **records;
    uint32_t *batches; /* for each record, the number of its batch */
    size_t next, count, room;
    size_t ends[PIECES_MAX]; /* of the pieces, the one at hand last */
    unsigned pieces;
    bool sent;  /* its records have been sent before */
    bool again; /* its last try has failed */
    bool trial; /* it was begun while the sink was not well */
};

/** A refused record, on its way to the dead letters. */
struct refusal {
    struct dead_letter letter;
    struct sink_remote *remote;
    struct list link;
    uint32_t batch;
    char reason[];
};

struct sink_remote {
    struct sink sink;
    struct sink_remote_options options;
    char *name;
    struct transport *transport;
    struct random random;
    struct sink_remote_stats stats;

    struct held *held; /* a ring; held_room is a power of two */
    size_t held_room;
    uint32_t held_first, held_end; /* numbers of batches; they wrap around */

    /* What was never sent: from this record on. */
    uint32_t unsent_batch;
    size_t unsent_record;
    size_t unsent_count, unsent_bytes;
    size_t due_count; /* of these, the first ones, which have lingered long enough */

    struct slot *slots;
    struct list busy, idle; /* slots; busy ones by age */
    unsigned trials;        /* under way */
    struct list refusals;

    struct op pause_op, linger_op;
    uint32_t attempt; /* tries that have failed in a row */
    bool pausing;     /* pause_op runs before the next try */
    bool replanned;   /* it was cancelled to run for stats.pause_ms anew */
    bool ending;      /* it is the last thing to land */

    /* Lost records of one batch and source that on_lost has not been told of. */
    struct batch *lost_batch;
    struct source *lost_source;
    uint64_t lost_count;
    enum lost_reason lost_reason;

    unsigned depth; /* of calls into the sink */
    bool progressed;
    bool closing, aborted, cancelled;
};

static struct sink_remote *from_sink(struct sink *sink)
{
    return container_of(sink, struct sink_remote, sink);
}

static void step(struct sink_remote *r);

static void enter(struct sink_remote *r)
{
    r->depth++;
}

static void tell_lost(struct sink_remote *r)
{
    struct source *source = TAKE_PTR(r->lost_source);

    if (source && r->sink.events.on_lost)
        r->sink.events.on_lost(r->sink.events.ctx, &r->sink, r->lost_batch, source, r->lost_count,
                               r->lost_reason);
}

/** The outermost call goes on with what is to be done now, and tells of what was done. */
static void leave(struct sink_remote *r)
{
    if (r->depth == 1) {
        step(r);
        tell_lost(r);
    }
    r->depth--;
    if (r->depth == 0 && r->progressed) {
        r->progressed = false;
        if (r->sink.events.on_progress)
            r->sink.events.on_progress(r->sink.events.ctx, &r->sink);
    }
}

/* ---- batches and their records ---- */

static struct held *held_at(struct sink_remote *r, uint32_t number)
{
    return &r->held[number & (r->held_room - 1)];
}

static size_t held_count(const struct sink_remote *r)
{
    return r->held_end - r->held_first;
}

static int held_push(struct sink_remote *r, struct batch *batch)
{
    if (held_count(r) == r->held_room) {
        size_t room = 2 * r->held_room;
        struct held *more = malloc(room * sizeof *more);

        if (!more)
            return -ENOMEM;
        for (uint32_t n = r->held_first; n != r->held_end; n++)
            more[n & (room - 1)] = *held_at(r, n);
        free(r->held);
        r->held = more;
        r->held_room = room;
    }
    *held_at(r, r->held_end++) = (struct held){.batch = batch_ref(batch), .left = batch->count};
    return 0;
}

/** To be said before the record is settled. */
static void lose(struct sink_remote *r, uint32_t number, const struct record *record,
                 enum lost_reason reason)
{
    struct batch *batch = held_at(r, number)->batch;

    if (r->lost_source != record->source || r->lost_batch != batch || r->lost_reason != reason) {
        tell_lost(r);
        r->lost_batch = batch;
        r->lost_source = record->source;
        r->lost_count = 0;
        r->lost_reason = reason;
    }
    r->lost_count++;
    r->sink.records_lost++;
}

/** The record is done with. May run the owner's callbacks. */
static void release(struct sink_remote *r, uint32_t number, const struct record *record)
{
    struct held *held = held_at(r, number);
    struct batch *batch = held->batch;

    assert(batch && held->left > 0);
    assert(record >= batch->records && record < batch->records + batch->count);
    r->sink.queued_bytes -= record->len;
    r->progressed = true;
    if (--held->left > 0)
        return;
    held->batch = NULL;
    while (r->held_first != r->held_end && !held_at(r, r->held_first)->batch)
        r->held_first++;
    tell_lost(r);
    (void)batch_unref(batch);
}

static void abort_record(struct sink_remote *r, uint32_t number, const struct record *record)
{
    assert(r->aborted);
    lose(r, number, record, LOST_ABORTED);
    release(r, number, record);
}

/* ---- what was refused ---- */

static void letter_done(struct dead_letter *letter, int res)
{
    struct refusal *refusal = container_of(letter, struct refusal, letter);
    struct sink_remote *r = refusal->remote;

    enter(r);
    list_remove(&refusal->link);
    r->stats.letters_waiting--;
    if (res == 0) {
        r->stats.records_dead_lettered++;
        lose(r, refusal->batch, letter->record, LOST_REFUSED);
        release(r, refusal->batch, letter->record);
    } else {
        abort_record(r, refusal->batch, letter->record);
    }
    free(refusal);
    leave(r);
}

/** Returns 0, or -ENOMEM: it is as if nobody had replied. */
static int write_letter(struct sink_remote *r, const struct slot *slot, size_t at, int status,
                        const char *reason)
{
    size_t size = strlen(reason) + 1;
    struct refusal *refusal = calloc(1, sizeof *refusal + size);

    if (!refusal)
        return -ENOMEM;
    memcpy(refusal->reason, reason, size);
    refusal->remote = r;
    refusal->batch = slot->batches[at];
    refusal->letter = (struct dead_letter){
        .record = slot->records[at],
        .sink = r->name,
        .reason = refusal->reason,
        .status = status,
        .done = letter_done,
    };
    list_append(&r->refusals, &refusal->link);
    r->stats.letters_waiting++;
    dead_letters_add(r->options.dead_letters, &refusal->letter);
    return 0;
}

/** Returns 0, or -ENOMEM: it is as if nobody had replied. */
static int refuse(struct sink_remote *r, const struct slot *slot, size_t at, int status,
                  const char *reason)
{
    int e;

    if (r->options.dead_letters && r->aborted) {
        abort_record(r, slot->batches[at], slot->records[at]);
    } else if (r->options.dead_letters) {
        e = write_letter(r, slot, at, status, reason);
        if (e < 0)
            return e;
    } else {
        lose(r, slot->batches[at], slot->records[at], LOST_REFUSED);
        release(r, slot->batches[at], slot->records[at]);
    }
    r->stats.records_refused++;
    return 0;
}

/* ---- states and pauses ---- */

static const char *reason_of(const struct request *q, char *room, size_t size)
{
    if (q->message[0])
        return q->message;
    if (q->error < 0)
        return strerrordesc_np(-q->error) ? strerrordesc_np(-q->error) : "no reply";
    (void)snprintf(room, size, "the receiver has answered with status %d", q->status);
    return room;
}

static void become_ok(struct sink_remote *r)
{
    r->sink.last_error = 0;
    /* What was begun before a failure says nothing of what comes after it. */
    if (r->pausing)
        return;
    if (r->sink.state == SINK_OK)
        return;
    log_info("The sink's receiver takes records again", LOG_STR("sink", r->name),
             LOG_STR("kind", r->transport->ops->kind));
    r->sink.state = SINK_OK;
    r->sink.reason[0] = '\0';
}

static void become_unwell(struct sink_remote *r, const struct request *q, enum sink_state state)
{
    enum sink_state before = r->sink.state;
    char room[64];

    /* While a pause runs, the replies to what was begun before it do not make it less. */
    if (r->pausing && state < before)
        return;
    (void)snprintf(r->sink.reason, sizeof r->sink.reason, "%s", reason_of(q, room, sizeof room));
    r->sink.state = state;
    if (state == before)
        return;
    if (state == SINK_SUSPENDED)
        log_error("The sink is suspended: its receiver will take nothing from it",
                  LOG_STR("sink", r->name), LOG_STR("kind", r->transport->ops->kind),
                  LOG_STR("reason", r->sink.reason), LOG_INT("status", q->status));
    else
        log_warn("The sink tries again", LOG_STR("sink", r->name),
                 LOG_STR("kind", r->transport->ops->kind), LOG_STR("reason", r->sink.reason),
                 LOG_INT("status", q->status));
}

static int64_t pause_after(struct sink_remote *r, const struct request *q, enum sink_state state)
{
    const struct sink_remote_options *o = &r->options;

    if (state == SINK_SUSPENDED)
        return o->suspend_retry_ms;
    if (q->error == 0 && q->judgement.retry_after_ms > 0)
        return MIN(q->judgement.retry_after_ms, o->retry_after_max_ms) +
               (int64_t)random_below(&r->random, (uint64_t)o->retry_min_ms + 1);
    return random_backoff_ms(&r->random, r->attempt++, o->retry_min_ms, o->retry_max_ms);
}

/** Nothing is begun before the pause is over. One that is longer takes the place of one that runs.
 */
static void plan_pause(struct sink_remote *r, const struct request *q, enum sink_state state)
{
    bool is_planned = state == SINK_SUSPENDED || (q->error == 0 && q->judgement.retry_after_ms > 0);
    int64_t ms;

    if (r->pausing && !is_planned)
        return; /* requests that fail together are one failure */
    ms = pause_after(r, q, state);
    if (r->pausing && ms <= r->stats.pause_ms)
        return;
    r->stats.pause_ms = ms;
    if (r->pausing) {
        r->replanned = true;
        ring_cancel(r->sink.ring, &r->pause_op);
        return;
    }
    r->pausing = true;
    ring_timer(r->sink.ring, &r->pause_op, ms);
}

static void fail_try(struct sink_remote *r, struct slot *slot, enum sink_state state, int error)
{
    slot->again = true;
    if (r->aborted)
        return;
    r->sink.errors++;
    r->sink.last_error = error;
    become_unwell(r, &slot->request, state);
    plan_pause(r, &slot->request, state);
}

/* ---- requests ---- */

static void slot_enter(struct slot *slot, enum slot_state next)
{
    struct sink_remote *r = slot->remote;

    assert(slot_edges[slot->state] & BIT(next));
    if (slot->state == SLOT_FREE) {
        list_remove(&slot->link);
        list_append(&r->busy, &slot->link);
    } else if (next == SLOT_FREE) {
        list_remove(&slot->link);
        list_append(&r->idle, &slot->link);
    }
    slot->state = next;
}

/** Where the piece at hand ends. */
static size_t *piece_end(struct slot *slot)
{
    assert(slot->pieces > 0);
    return &slot->ends[slot->pieces - 1];
}

static bool slot_grow(struct slot *slot, size_t most)
{
    size_t room = MIN(2 * slot->room, most);
    const struct record **records = realloc(slot->records, room * sizeof *records);
    uint32_t *batches;

    if (!records)
        return false;
    slot->records = records;
    batches = realloc(slot->batches, room * sizeof *batches);
    if (!batches)
        return false;
    slot->batches = batches;
    slot->room = room;
    return true;
}

/** Takes the next records that were never sent: as many as fit, at least one. */
static void cut(struct sink_remote *r, struct slot *slot)
{
    size_t most = (size_t)r->options.records_max, bytes = 0;

    slot->next = slot->count = 0;
    while (r->unsent_count > 0 && slot->count < most) {
        const struct batch *batch = held_at(r, r->unsent_batch)->batch;
        const struct record *record = &batch->records[r->unsent_record];

        if (slot->count > 0 && bytes + record->len > (size_t)r->options.bytes_max)
            break;
        /* Where memory is short, requests are smaller. */
        if (slot->count == slot->room && !slot_grow(slot, most))
            break;
        slot->records[slot->count] = record;
        slot->batches[slot->count++] = r->unsent_batch;
        bytes += record->len;
        r->unsent_count--;
        if (++r->unsent_record == batch->count) {
            r->unsent_batch++;
            r->unsent_record = 0;
        }
    }
    assert(slot->count > 0);
    r->unsent_bytes -= bytes;
    r->due_count -= MIN(r->due_count, slot->count);
    slot->ends[0] = slot->count;
    slot->pieces = 1;
    slot->sent = slot->again = false;
    slot_enter(slot, SLOT_READY);
}

static void start(struct sink_remote *r, struct slot *slot)
{
    struct request *q = &slot->request;

    q->records = slot->records + slot->next;
    q->count = *piece_end(slot) - slot->next;
    q->error = q->status = 0;
    q->message[0] = '\0';
    q->body_bytes = q->wire_bytes = 0;
    q->duration_ns = 0;
    slot_enter(slot, SLOT_UNDER_WAY);
    r->stats.in_flight++;
    r->stats.records_sent += q->count;
    r->stats.records_again += slot->sent ? q->count : 0;
    r->stats.retries += slot->again;
    slot->sent = true;
    slot->again = false;
    slot->trial = r->sink.state != SINK_OK;
    r->trials += slot->trial;
    transport_start(r->transport, q);
}

static bool is_due(const struct sink_remote *r)
{
    if (r->unsent_count == 0)
        return false;
    return r->options.linger_ms == 0 || r->closing || r->due_count > 0 ||
           r->unsent_count >= (size_t)r->options.records_max ||
           r->unsent_bytes >= (size_t)r->options.bytes_max;
}

/** The request to begin now, or NULL. */
static struct slot *next_slot(struct sink_remote *r)
{
    struct slot *slot;

    if (r->pausing || r->aborted)
        return NULL;
    /* A receiver that was not well has one request to show that it is. */
    if (r->sink.state != SINK_OK && r->trials > 0)
        return NULL;
    LIST_FOR_EACH_ENTRY (older, &r->busy, struct slot, link) {
        if (older->state == SLOT_READY)
            return older;
        if (older->pieces > 1)
            return NULL;
    }
    if (list_is_empty(&r->idle) || !is_due(r))
        return NULL;
    slot = container_of(r->idle.next, struct slot, link);
    cut(r, slot);
    return slot;
}

/* ---- replies ---- */

/** Settles what has a verdict. Refusals that there is no memory for are as good as no verdict.
 * Returns whether there were any. */
static bool settle(struct sink_remote *r, struct slot *slot)
{
    struct codec_judgement *j = &slot->request.judgement;
    size_t unnamed = MIN(j->dropped_unnamed, j->accepted);
    bool fell_short = false;

    for (size_t i = 0; i < j->count; i++) {
        struct codec_verdict *verdict = &j->verdicts[i];
        size_t at = slot->next + i;
        const struct record *record = slot->records[at];

        switch ((enum codec_verdict_kind)verdict->kind) {
        case CODEC_RETRY:
            break;
        case CODEC_ACCEPTED:
            r->stats.records_accepted++;
            if (unnamed > 0) {
                /* Which ones they are nobody knows; how many there are is exact. */
                unnamed--;
                lose(r, slot->batches[at], record, LOST_UNNAMED);
            } else {
                r->sink.records_settled++;
            }
            release(r, slot->batches[at], record);
            break;
        case CODEC_REFUSED:
            if (refuse(r, slot, at, verdict->status ? verdict->status : slot->request.status,
                       codec_reason(j, verdict->reason)) < 0) {
                verdict->kind = CODEC_RETRY;
                fell_short = true;
            }
            break;
        }
    }
    return fell_short;
}

/** Moves what is to be sent again to the end of its piece. Returns how much it is. */
static size_t keep_rest(struct slot *slot)
{
    const struct codec_judgement *j = &slot->request.judgement;
    size_t end = *piece_end(slot), first = end;

    for (size_t i = j->count; i-- > 0;) {
        if (j->verdicts[i].kind != CODEC_RETRY)
            continue;
        first--;
        slot->records[first] = slot->records[slot->next + i];
        slot->batches[first] = slot->batches[slot->next + i];
    }
    slot->next = first;
    return end - first;
}

static void split(struct sink_remote *r, struct slot *slot)
{
    size_t end = *piece_end(slot), half = (end - slot->next + 1) / 2;

    assert(half > 0);
    if (slot->next + half == end)
        return; /* the last one, by itself */
    assert(slot->pieces < PIECES_MAX);
    slot->ends[slot->pieces++] = slot->next + half;
    r->stats.splits++;
}

static void say_refused(struct sink_remote *r, const struct request *q)
{
    const struct codec_judgement *j = &q->judgement;

    /* Reasons quote lines, so they are for the dead letters alone. */
    if (j->refused > 0)
        log_warn(r->options.dead_letters
                     ? "Records were refused, and go to the dead letters"
                     : "Records were refused, and are lost, as there is no file of dead letters",
                 LOG_STR("sink", r->name), LOG_INT("records", j->refused),
                 LOG_INT("status", q->status));
    if (j->dropped_unnamed > 0)
        log_warn("Records were dropped by the receiver, which does not say which",
                 LOG_STR("sink", r->name), LOG_INT("records", j->dropped_unnamed));
}

static void judged(struct sink_remote *r, struct slot *slot)
{
    struct request *q = &slot->request;
    struct codec_judgement *j = &q->judgement;
    size_t sent = q->count, left;
    bool fell_short;

    assert(j->count == q->count);
    r->stats.requests[j->outcome]++;
    r->stats.last_duration_ns = q->duration_ns;
    if (r->options.on_reply)
        r->options.on_reply(r->options.ctx, &r->sink, q->duration_ns);
    say_refused(r, q);
    fell_short = settle(r, slot);
    left = keep_rest(slot);
    if (left < sent || j->outcome == CODEC_SPLIT)
        r->attempt = 0;
    if (left == 0) {
        become_ok(r);
        return;
    }
    if (fell_short) {
        (void)snprintf(q->message, sizeof q->message, "no memory for the dead letters");
        fail_try(r, slot, SINK_RETRYING, -ENOMEM);
        return;
    }
    switch (j->outcome) {
    case CODEC_SPLIT:
        /* One record that is not refused by name would be sent for ever, without a pause. */
        if (sent == 1) {
            fail_try(r, slot, SINK_RETRYING, -EAGAIN);
            break;
        }
        split(r, slot);
        become_ok(r);
        break;
    case CODEC_BUSY:
        fail_try(r, slot, SINK_RETRYING, -EBUSY);
        break;
    case CODEC_SUSPENDED:
        fail_try(r, slot, SINK_SUSPENDED, -EACCES);
        break;
    case CODEC_DONE:
    case CODEC_AGAIN:
        fail_try(r, slot, SINK_RETRYING, -EAGAIN);
        break;
    }
}

/** The request could not even be made, as it would be too long. */
static void too_long(struct sink_remote *r, struct slot *slot)
{
    size_t bytes = slot->records[slot->next]->len;

    if (slot->request.count > 1) {
        split(r, slot);
        return;
    }
    if (refuse(r, slot, slot->next, 0, "The record is too long for any request.") < 0) {
        fail_try(r, slot, SINK_RETRYING, -ENOMEM);
        return;
    }
    slot->next++;
    log_warn("A record is too long for any request, and counts as refused",
             LOG_STR("sink", r->name), LOG_INT("bytes", bytes));
}

static void not_judged(struct sink_remote *r, struct slot *slot)
{
    r->stats.requests[SINK_REMOTE_NO_REPLY]++;
    if (slot->request.error == -EMSGSIZE)
        too_long(r, slot);
    else
        fail_try(r, slot, SINK_RETRYING, slot->request.error);
}

static void request_done(struct request *q)
{
    struct slot *slot = container_of(q, struct slot, request);
    struct sink_remote *r = slot->remote;

    assert(slot->state == SLOT_UNDER_WAY);
    enter(r);
    r->stats.in_flight--;
    r->trials -= slot->trial;
    r->stats.body_bytes += q->body_bytes;
    r->stats.wire_bytes += q->wire_bytes;
    r->sink.bytes_written += q->wire_bytes;
    if (q->error < 0)
        not_judged(r, slot);
    else
        judged(r, slot);
    if (slot->next == *piece_end(slot))
        slot->pieces--;
    slot_enter(slot, slot->pieces > 0 ? SLOT_READY : SLOT_FREE);
    leave(r);
}

/* ---- what to do next ---- */

static void drop_unsent(struct sink_remote *r)
{
    while (r->unsent_count > 0) {
        uint32_t number = r->unsent_batch;
        const struct batch *batch = held_at(r, number)->batch;
        const struct record *record = &batch->records[r->unsent_record];

        r->unsent_count--;
        r->unsent_bytes -= record->len;
        if (++r->unsent_record == batch->count) {
            r->unsent_batch++;
            r->unsent_record = 0;
        }
        abort_record(r, number, record);
    }
    r->due_count = 0;
}

/** The sink was aborted: all that nobody is at work with goes. */
static void drop_all(struct sink_remote *r)
{
    if (!r->cancelled) {
        r->cancelled = true;
        transport_cancel(r->transport);
    }
    LIST_FOR_EACH_ENTRY (slot, &r->busy, struct slot, link) {
        if (slot->state != SLOT_READY)
            continue;
        for (size_t i = slot->next; i < slot->count; i++)
            abort_record(r, slot->batches[i], slot->records[i]);
        slot->pieces = 0;
        slot->again = false;
        slot_enter(slot, SLOT_FREE);
    }
    LIST_FOR_EACH_ENTRY (refusal, &r->refusals, struct refusal, link) {
        if (!dead_letters_remove(r->options.dead_letters, &refusal->letter))
            continue;
        list_remove(&refusal->link);
        r->stats.letters_waiting--;
        abort_record(r, refusal->batch, refusal->letter.record);
        free(refusal);
    }
    drop_unsent(r);
    ring_cancel(r->sink.ring, &r->pause_op);
}

static void step(struct sink_remote *r)
{
    struct slot *slot;

    if (r->aborted)
        drop_all(r);
    while ((slot = next_slot(r)))
        start(r, slot);
    if (r->closing) {
        ring_cancel(r->sink.ring, &r->linger_op);
    } else if (r->options.linger_ms > 0 && r->unsent_count > r->due_count &&
               !op_in_flight(&r->linger_op)) {
        ring_timer(r->sink.ring, &r->linger_op, r->options.linger_ms);
    }
    if (r->closing && !r->ending && held_count(r) == 0 && r->stats.in_flight == 0 &&
        !op_in_flight(&r->pause_op) && !op_in_flight(&r->linger_op)) {
        assert(list_is_empty(&r->refusals));
        /* The owner hears of the end from the ring, never from inside its own call. */
        r->ending = true;
        ring_timer(r->sink.ring, &r->pause_op, 0);
    }
}

static void pause_done(struct op *op, int res)
{
    struct sink_remote *r = container_of(op, struct sink_remote, pause_op);

    (void)res; /* over, cancelled for a longer one, or cancelled by an abort */
    if (r->ending) {
        if (r->sink.events.on_closed)
            r->sink.events.on_closed(r->sink.events.ctx, &r->sink);
        return;
    }
    if (r->replanned && !r->aborted) {
        r->replanned = false;
        ring_timer(r->sink.ring, op, r->stats.pause_ms);
        return;
    }
    enter(r);
    r->pausing = false;
    r->stats.pause_ms = 0;
    leave(r);
}

static void linger_done(struct op *op, int res)
{
    struct sink_remote *r = container_of(op, struct sink_remote, linger_op);

    (void)res; /* a cancel comes with sink_close, for which all is due */
    enter(r);
    r->due_count = r->unsent_count;
    leave(r);
}

/* ---- the sink ---- */

static int remote_submit(struct sink *sink, struct batch *batch)
{
    struct sink_remote *r = from_sink(sink);
    int e;

    assert(!r->closing);
    if (batch->count == 0)
        return 0;
    enter(r);
    e = held_push(r, batch);
    if (e == 0) {
        sink->queued_bytes += batch->bytes;
        r->unsent_count += batch->count;
        r->unsent_bytes += batch->bytes;
    } else {
        sink->errors++;
        sink->last_error = e;
    }
    leave(r);
    return e;
}

static void remote_close(struct sink *sink)
{
    struct sink_remote *r = from_sink(sink);

    enter(r);
    r->closing = true;
    leave(r);
}

static void remote_abort(struct sink *sink)
{
    struct sink_remote *r = from_sink(sink);

    enter(r);
    r->closing = r->aborted = true;
    leave(r);
}

static void free_all(struct sink_remote *r)
{
    for (int64_t i = 0; r->slots && i < r->options.in_flight_max; i++) {
        free(r->slots[i].records);
        free(r->slots[i].batches);
        codec_judgement_finish(&r->slots[i].request.judgement);
    }
    free(r->slots);
    free(r->held);
    free(r->name);
    free(r);
}

static struct sink *remote_destroy(struct sink *sink)
{
    struct sink_remote *r = from_sink(sink);

    /* Or nothing was ever handed to it. */
    assert(r->depth == 0 && (r->ending || r->held_end == 0) && !op_in_flight(&r->pause_op));
    (void)transport_destroy(r->transport);
    free_all(r);
    return NULL;
}

static const struct sink_ops remote_ops = {
    .kind = "remote",
    .submit = remote_submit,
    .close = remote_close,
    .abort = remote_abort,
    .destroy = remote_destroy,
};

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    return MAX(least, MIN(value, most));
}

static bool make_slots(struct sink_remote *r)
{
    r->slots = calloc((size_t)r->options.in_flight_max, sizeof *r->slots);
    for (int64_t i = 0; r->slots && i < r->options.in_flight_max; i++) {
        struct slot *slot = &r->slots[i];

        slot->remote = r;
        slot->request.done = request_done;
        slot->room = ROOM_FIRST;
        slot->records = malloc(ROOM_FIRST * sizeof(struct record *));
        slot->batches = malloc(ROOM_FIRST * sizeof(uint32_t));
        if (!slot->records || !slot->batches)
            return false;
        list_append(&r->idle, &slot->link);
    }
    return r->slots != NULL;
}

int sink_remote_create(struct ring *ring, struct transport *transport,
                       const struct sink_remote_options *options, const struct sink_events *events,
                       struct sink **ret)
{
    struct sink_remote *r = calloc(1, sizeof *r);
    struct sink_remote_options *o;

    if (!r)
        return -ENOMEM;
    o = &r->options;
    *o = *options;
    o->records_max = within(o->records_max, 1, (int64_t)CODEC_RECORDS_MAX);
    o->bytes_max = within(o->bytes_max, 1, (int64_t)CODEC_PAYLOAD_MAX);
    o->in_flight_max = within(o->in_flight_max, 1, UINT16_MAX);
    o->linger_ms = MAX(o->linger_ms, 0);
    o->retry_min_ms = MAX(o->retry_min_ms, 1);
    o->retry_max_ms = MAX(o->retry_max_ms, o->retry_min_ms);
    o->suspend_retry_ms = MAX(o->suspend_retry_ms, 1);
    o->retry_after_max_ms = MAX(o->retry_after_max_ms, 0);
    list_init(&r->busy);
    list_init(&r->idle);
    list_init(&r->refusals);
    r->held_room = HELD_FIRST;
    r->held = malloc(r->held_room * sizeof *r->held);
    r->name = strdup(options->name);
    if (!r->held || !r->name || !make_slots(r)) {
        free_all(r);
        return -ENOMEM;
    }
    o->name = r->name;
    if (o->jitter_seed)
        random_seed(&r->random, o->jitter_seed);
    else
        random_seed_system(&r->random);
    r->transport = transport;
    r->pause_op.done = pause_done;
    r->linger_op.done = linger_done;
    r->sink.ops = &remote_ops;
    r->sink.ring = ring;
    if (events)
        r->sink.events = *events;
    *ret = &r->sink;
    return 0;
}

const struct sink_remote_stats *sink_remote_stats(struct sink *sink)
{
    struct sink_remote *r = from_sink(sink);

    assert(sink->ops == &remote_ops);
    r->stats.batches_held = 0;
    for (uint32_t n = r->held_first; n != r->held_end; n++)
        r->stats.batches_held += held_at(r, n)->batch != NULL;
    r->stats.bookkeeping_bytes = sizeof *r + r->held_room * sizeof *r->held;
    for (int64_t i = 0; i < r->options.in_flight_max; i++)
        r->stats.bookkeeping_bytes +=
            sizeof *r->slots +
            r->slots[i].room * (sizeof *r->slots[i].records + sizeof *r->slots[i].batches);
    return &r->stats;
}
