/*
 * record/splice.h. Owns the ring of marks. Invariant: first ≤ next and next - first ≤ cap; `at` of
 * a cursor in REPLAY lies in [first, next) unless the ring has moved on meanwhile, which counts as
 * not placed.
 */
#include "ringtail/record/splice.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/macros.h"

#define MARKS_MIN 8u
#define TAIL_MIN 16
#define TAIL_MAX 100000
#define TAIL_WIDER 16
/* The Engine cuts a line that is longer than this; the parts have one timestamp and may be alike.
 */
#define PART_TEXT_BYTES 16384
/* stdout and stderr were seen up to 40 ms out of order in one log; a second is safe. */
#define SINCE_MARGIN_NS NSEC_PER_SEC
/* What is not to be left out although the clock was set back by less than this. */
#define CLOCK_STEP_NS (3600 * NSEC_PER_SEC)
#define RECENT_MARKS 64
#define LEVEL_SINCE 2
/* Without follow. */
#define LEVEL_WHOLE 3
/* Of a record on the wire: frame header, timestamp and blank. */
#define RECORD_OVERHEAD_BYTES 39
/* The stream that is read may be behind its log by this much, and by twice what is seen of its lag.
 */
#define TAKEOVER_OVERLAP_S 0.05
#define TAKEOVER_LAG_MAX_S 1.0

static struct splice_mark *mark_at(const struct splice_history *h, uint64_t number)
{
    return &h->marks[number & (h->cap - 1)];
}

/* Of the first record of its timestamp. */
static uint64_t fingerprint_of(const struct part *part)
{
    return (part->fingerprint & ~SPLICE_MARK_FLAGS) |
           (part->stream == RECORD_STDERR ? SPLICE_MARK_STDERR : 0);
}

static bool mark_is(const struct splice_history *h, uint64_t number, const struct part *part)
{
    const struct splice_mark *m = mark_at(h, number);

    return m->ts_ns == part->ts_ns && ((m->fingerprint ^ fingerprint_of(part)) &
                                       ~(SPLICE_MARK_OWED | SPLICE_MARK_ORDINAL)) == 0;
}

static uint16_t mark_ordinal(const struct splice_mark *m)
{
    return (uint16_t)(m->fingerprint >> SPLICE_MARK_ORDINAL_SHIFT);
}

static unsigned mark_stream(const struct splice_mark *m)
{
    return (m->fingerprint & SPLICE_MARK_STDERR) != 0;
}

static void grow(struct splice_history *h)
{
    uint32_t cap = h->cap ? h->cap * 2 : MARKS_MIN;
    struct splice_mark *marks = calloc(cap, sizeof *marks);

    if (!marks)
        return; /* the ring stays as long as it is */
    for (uint64_t n = h->first; n < h->next; n++)
        marks[n & (cap - 1)] = *mark_at(h, n);
    free(h->marks);
    h->marks = marks;
    h->cap = cap;
}

static uint16_t next_ordinal(const struct splice_history *h, unsigned s, int64_t ts_ns)
{
    return h->has_last[s] && h->last_ts_ns[s] == ts_ns ? (uint16_t)(h->last_ordinal[s] + 1) : 0;
}

/* Appends a mark, which gets its ordinal. Without memory for it the history is one short. */
static inline int append_mark(struct splice_history *h, struct splice_mark mark, uint16_t ordinal)
{
    unsigned s = mark_stream(&mark);

    h->last_ordinal[s] = ordinal;
    h->last_ts_ns[s] = mark.ts_ns;
    h->has_last[s] = true;
    mark.fingerprint |= (uint64_t)ordinal << SPLICE_MARK_ORDINAL_SHIFT;
    if (h->next - h->first == h->cap && h->cap < h->marks_max)
        grow(h);
    if (h->cap == 0)
        return -ENOMEM;
    if (h->next - h->first == h->cap) {
        h->first++;
        h->is_cut = true;
    }
    *mark_at(h, h->next) = mark;
    h->next++;
    return 0;
}

uint16_t splice_ordinal_of_many(const struct splice_history *h, const struct splice_cursor *c,
                                const struct part *part)
{
    return likely(!c->repays) ? next_ordinal(h, part->stream - RECORD_STDOUT, part->ts_ns)
                              : mark_ordinal(mark_at(h, c->at - 1));
}

void splice_delivered(struct splice_history *h, const struct splice_cursor *c,
                      const struct part *part)
{
    if (unlikely(c->repays)) {
        mark_at(h, c->at - 1)->fingerprint &= ~SPLICE_MARK_OWED;
        return;
    }
    h->record_bytes_avg =
        (uint32_t)((h->record_bytes_avg * UINT64_C(15) + part->text.len + RECORD_OVERHEAD_BYTES) /
                   16);
    (void)append_mark(h, (struct splice_mark){part->ts_ns, fingerprint_of(part)},
                      part->ordinal); /* may come twice */
}

const struct splice_mark *splice_mark(const struct splice_history *h, uint64_t number)
{
    assert(number >= h->first && number < h->next);
    return mark_at(h, number);
}

int splice_restore(struct splice_history *h, const struct splice_mark *mark)
{
    h->is_cut = true;
    return append_mark(h, *mark, mark_ordinal(mark));
}

int splice_restore_uncounted(struct splice_history *h, const struct splice_mark *mark)
{
    struct splice_mark plain = {mark->ts_ns, mark->fingerprint & ~SPLICE_MARK_ORDINAL};
    int r;

    h->is_cut = true;
    r = append_mark(h, plain, next_ordinal(h, mark_stream(mark), mark->ts_ns));
    h->counted_from = h->next;
    return r;
}

void splice_restore_last(struct splice_history *h, enum record_stream stream, int64_t ts_ns,
                         uint16_t ordinal)
{
    unsigned s = stream - RECORD_STDOUT;

    h->has_last[s] = true;
    h->last_ts_ns[s] = ts_ns;
    h->last_ordinal[s] = ordinal;
}

static enum splice_verdict deliver(struct splice_cursor *c)
{
    c->mode = SPLICE_LIVE;
    return SPLICE_DELIVER;
}

/* The record is mark `number`; the response goes on behind it. */
static enum splice_verdict place(struct splice_history *h, struct splice_cursor *c, uint64_t number)
{
    c->at = number + 1;
    c->mode = c->at == h->next && !c->is_doubtful ? SPLICE_LIVE : SPLICE_REPLAY;
    c->repays = (mark_at(h, number)->fingerprint & SPLICE_MARK_OWED) != 0;
    if (c->repays)
        return SPLICE_DELIVER;
    h->repeated++;
    return SPLICE_DROP;
}

bool splice_has_history(const struct splice_history *h)
{
    return h->has_last[0] || h->has_last[1];
}

/* Behind everything delivered, going by the timestamps: true unless the clock went back. */
static bool is_newer(const struct splice_history *h, const struct part *part)
{
    unsigned s = part->stream - RECORD_STDOUT;

    return part->ts_ns > h->last_ts_ns[h->has_last[s] ? s : 1 - s];
}

static bool find_oldest(const struct splice_history *h, const struct part *part, uint64_t *ret)
{
    for (uint64_t n = h->first; n < h->next; n++)
        if (mark_is(h, n, part)) {
            *ret = n;
            return true;
        }
    return false;
}

static bool find_newest(const struct splice_history *h, const struct part *part, uint64_t *ret)
{
    for (uint64_t n = h->next; n > h->first; n--)
        if (mark_is(h, n - 1, part)) {
            *ret = n - 1;
            return true;
        }
    return false;
}

/* The oldest mark that is owed; next: none is. */
static uint64_t first_owed(const struct splice_history *h)
{
    uint64_t n = h->has_owed ? h->first : h->next;

    while (n < h->next && !(mark_at(h, n)->fingerprint & SPLICE_MARK_OWED))
        n++;
    return n;
}

static bool ends_line(const struct part *part)
{
    return part->text.len > 0 && part->text.data[part->text.len - 1] == '\n';
}

static bool is_part(const struct part *part)
{
    return part->text.len >= PART_TEXT_BYTES && !ends_line(part);
}

/* Whether the record goes on in the same nanosecond as the history. */
static bool is_in_last_run(const struct splice_history *h, const struct part *part)
{
    return part->ts_ns == h->last_ts_ns[part->stream - RECORD_STDOUT];
}

/* Whether the line that the part belongs to may go on behind the history, in parts equal to it. */
static bool is_open_end(const struct splice_history *h, const struct part *part)
{
    return is_part(part) && is_in_last_run(h, part);
}

/* Whether parts of its line that are equal to this one may stand in front of the history, with
 * other parts of it and lines of the other stream between them. */
static bool is_at_edge(const struct splice_history *h, const struct part *part, uint64_t oldest)
{
    if (!is_part(part) || (!h->is_cut && part->ts_ns >= h->floor_ns))
        return false;
    for (uint64_t n = h->first; n < oldest; n++) {
        const struct splice_mark *m = mark_at(h, n);

        if (((m->fingerprint ^ fingerprint_of(part)) & SPLICE_MARK_STDERR) == 0 &&
            m->ts_ns != part->ts_ns)
            return false;
    }
    return true;
}

static bool is_last_level(const struct splice_cursor *c)
{
    return c->level == SPLICE_LEVELS - 1;
}

static enum splice_verdict skip(struct splice_cursor *c)
{
    c->mode = SPLICE_SKIP;
    return SPLICE_DROP;
}

/* Takes note of where the record stands among its neighbours in the response. The first of them is
 * in it if another timestamp came before, and with `since`, which all of a timestamp are in front
 * of, or behind; unless the Engine has dropped it, which the level after that takes into account.
 */
static const struct splice_run *count(struct splice_cursor *c, const struct part *part)
{
    struct splice_run *run = &c->runs[part->stream - RECORD_STDOUT];

    if (run->seen && run->ts_ns == part->ts_ns)
        run->ordinal++;
    else
        *run = (struct splice_run){
            .seen = true,
            .whole = run->seen || c->level == LEVEL_SINCE,
            .ts_ns = part->ts_ns,
        };
    return run;
}

/* Whether ordinals in the response are comparable with those of the marks. Not so where records
 * come twice (equal ones of one nanosecond are one then), where the floor has cut some off, and at
 * the last level, which has to come to an end. */
static bool has_ordinals(const struct splice_history *h, const struct splice_cursor *c,
                         const struct part *part)
{
    return !h->engine_repeats && !is_last_level(c) && h->counted_from <= h->first &&
           (h->is_cut || part->ts_ns >= h->floor_ns);
}

static bool find_ordinal(const struct splice_history *h, const struct part *part, uint16_t ordinal,
                         uint64_t *ret)
{
    for (uint64_t n = h->first; n < h->next; n++)
        if (mark_is(h, n, part) && mark_ordinal(mark_at(h, n)) == ordinal) {
            *ret = n;
            return true;
        }
    return false;
}

/* Whether the history has the first record of this timestamp and stream, before mark `number`. */
static bool begins_within(const struct splice_history *h, uint64_t number)
{
    unsigned s = mark_stream(mark_at(h, number));

    for (uint64_t n = number + 1; n > h->first; n--) {
        const struct splice_mark *m = mark_at(h, n - 1);

        if (mark_stream(m) == s && mark_ordinal(m) == 0)
            return true;
    }
    return false;
}

/* Nothing was delivered yet: only the floor says where to begin. */
static enum splice_verdict judge_by_floor(struct splice_history *h, struct splice_cursor *c,
                                          const struct part *part)
{
    if (part->ts_ns < h->floor_ns) {
        c->mode = SPLICE_BELOW;
        return SPLICE_DROP;
    }
    /* A tail that begins behind the floor may have begun too late. */
    if (c->mode == SPLICE_SEEK && c->tail > 0 && !is_last_level(c))
        return SPLICE_WIDEN;
    return deliver(c);
}

/* A record that is known, by its text and timestamp: but is it that one? */
static enum splice_verdict judge_anchor(struct splice_history *h, struct splice_cursor *c,
                                        const struct part *part, const struct splice_run *run,
                                        uint64_t oldest)
{
    bool owed = (mark_at(h, oldest)->fingerprint & SPLICE_MARK_OWED) != 0;
    bool counts = has_ordinals(h, c, part);
    uint64_t newest = 0;

    if (counts && run->whole)
        return find_ordinal(h, part, run->ordinal, &oldest) ? place(h, c, oldest) : skip(c);
    /* `since` begins before all of several equal records; a tail may begin among them. */
    if (c->level < LEVEL_SINCE && (c->mode == SPLICE_SEEK || owed || counts)) {
        (void)find_newest(h, part, &newest);
        if (newest != oldest || is_open_end(h, part) || first_owed(h) < oldest ||
            (counts && !begins_within(h, oldest)))
            return SPLICE_WIDEN;
    }
    /* Known it is, but it does not tell where the response is. */
    if (!owed && ((c->level < LEVEL_SINCE && is_open_end(h, part)) ||
                  (!is_last_level(c) && is_at_edge(h, part, oldest))))
        return skip(c);
    c->is_doubtful = counts && c->level < LEVEL_SINCE && is_in_last_run(h, part);
    return place(h, c, oldest);
}

static enum splice_verdict judge_seek(struct splice_history *h, struct splice_cursor *c,
                                      const struct part *part)
{
    const struct splice_run *run = count(c, part);
    uint64_t oldest;

    if (find_oldest(h, part, &oldest))
        return judge_anchor(h, c, part, run, oldest);
    if (is_last_level(c)) {
        if (c->seen == 1)
            h->gaps_suspected++;
        return deliver(c);
    }
    /* Of a tail, as many records as were asked for were there already, whatever the clock did.
     * Of a response without an end the timestamps have to tell what can't stand in front of the
     * history. */
    if (c->tail > 0 ? c->seen >= (uint64_t)c->tail : !c->whole && is_newer(h, part))
        return SPLICE_WIDEN;
    return skip(c);
}

/* What is not the next mark is either another one (the Engine jumped) or new. */
static enum splice_verdict judge_known(struct splice_history *h, struct splice_cursor *c,
                                       const struct part *part)
{
    unsigned s = part->stream - RECORD_STDOUT;
    uint64_t number;

    if (find_newest(h, part, &number))
        return place(h, c, number);
    /* 20.10 filters every record by `since`: it was left out when its neighbours were delivered. */
    if (h->engine_repeats && c->mode == SPLICE_REPLAY && part->ts_ns < h->floor_ns)
        return SPLICE_DROP;
    h->went_back += h->has_last[s] && part->ts_ns < h->last_ts_ns[s];
    return deliver(c);
}

static inline enum splice_verdict judge_live(struct splice_history *h, struct splice_cursor *c,
                                             const struct part *part)
{
    unsigned s = part->stream - RECORD_STDOUT;

    if (likely(!h->has_last[s] || part->ts_ns > h->last_ts_ns[s]))
        return deliver(c);
    /* Equal timestamps are parts of one line, or lines of one nanosecond: both are new. */
    if (part->ts_ns == h->last_ts_ns[s] && !(h->engine_repeats && !is_part(part)))
        return deliver(c);
    return judge_known(h, c, part);
}

/* A record that is where it has to be ends the doubt, unless the same can be said of it. And what
 * was there when the response was asked for, or is of the same nanosecond, may stand behind a later
 * one of those that are alike. */
static bool is_misplaced(struct splice_history *h, struct splice_cursor *c, const struct part *part,
                         bool is_next)
{
    const struct splice_run *run = count(c, part);

    if (is_next && run->whole)
        is_next = mark_ordinal(mark_at(h, c->at)) == run->ordinal;
    if (!is_next && (is_in_last_run(h, part) || (int64_t)c->seen <= c->tail))
        return true;
    c->is_doubtful = is_next && !run->whole && is_in_last_run(h, part);
    return false;
}

static enum splice_verdict judge_replay(struct splice_history *h, struct splice_cursor *c,
                                        const struct part *part)
{
    bool is_next = c->at >= h->first && c->at < h->next && mark_is(h, c->at, part);

    if (c->is_doubtful && is_misplaced(h, c, part, is_next))
        return SPLICE_WIDEN;
    if (is_next)
        return place(h, c, c->at);
    return c->at == h->next ? judge_live(h, c, part) : judge_known(h, c, part);
}

enum splice_verdict splice_judge(struct splice_history *h, struct splice_cursor *c,
                                 const struct part *part)
{
    c->seen++;
    c->repays = false;
    switch (c->mode) {
    case SPLICE_LIVE:
        return judge_live(h, c, part);
    case SPLICE_REPLAY:
        return judge_replay(h, c, part);
    case SPLICE_SEEK:
    case SPLICE_BELOW:
    case SPLICE_SKIP:
        return splice_has_history(h) ? judge_seek(h, c, part) : judge_by_floor(h, c, part);
    }
    return SPLICE_WIDEN;
}

void splice_cursor_init(struct splice_cursor *c, unsigned level)
{
    assert(level < SPLICE_LEVELS);
    *c = (struct splice_cursor){.mode = SPLICE_SEEK, .level = level};
}

bool splice_is_placed(const struct splice_cursor *c)
{
    return c->mode != SPLICE_SEEK && c->mode != SPLICE_SKIP;
}

bool splice_is_unplaced(const struct splice_cursor *c)
{
    return c->mode == SPLICE_SKIP && !is_last_level(c);
}

/* Records a second, by the marks themselves. */
static double recent_rate(const struct splice_history *h)
{
    uint64_t count = h->next - h->first;
    int64_t span_ns;

    if (count < 2)
        return 0;
    span_ns = mark_at(h, h->next - 1)->ts_ns - mark_at(h, h->first)->ts_ns;
    return span_ns > 0 ? (double)count * (double)NSEC_PER_SEC / (double)span_ns : 0;
}

double splice_bytes_per_s(const struct splice_history *h)
{
    return recent_rate(h) * h->record_bytes_avg;
}

/* The oldest timestamp of the last few records. A stream's last line may be of long ago. */
static int64_t oldest_recent(const struct splice_history *h, int64_t newest_ns)
{
    int64_t oldest_ns = newest_ns;

    for (uint64_t n = h->next; n > h->first && h->next - n < RECENT_MARKS; n--)
        oldest_ns = MIN(oldest_ns, mark_at(h, n - 1)->ts_ns);
    return oldest_ns;
}

void splice_plan(const struct splice_history *h, unsigned level, int64_t now_ns,
                 struct splice_query *ret)
{
    int64_t newest_last = INT64_MIN;
    double gap_s, tail;

    *ret = (struct splice_query){.tail = -1};
    if (!splice_has_history(h)) {
        if (h->floor_ns == INT64_MIN)
            return;
        if (level < LEVEL_SINCE && !h->floor_is_far) {
            ret->tail = level == 0 ? TAIL_MIN * 4 : TAIL_MIN * 4 * TAIL_WIDER;
            return;
        }
        ret->has_since = true;
        ret->since_ns = h->floor_ns;
        return;
    }
    for (size_t s = 0; s < ARRAY_SIZE(h->last_ts_ns); s++)
        if (h->has_last[s])
            newest_last = MAX(newest_last, h->last_ts_ns[s]);
    if (level >= LEVEL_SINCE) {
        /* From 26.1 on all comes that is behind the first record of that time; before, `since` also
         * takes out what was written after the clock was set back. And behind a gap all is new. */
        bool filters = h->engine_repeats || level == SPLICE_LEVELS - 1;

        ret->whole = level == LEVEL_WHOLE;
        ret->has_since = now_ns >= newest_last;
        ret->since_ns = oldest_recent(h, newest_last) - (filters ? CLOCK_STEP_NS : SINCE_MARGIN_NS);
        return;
    }
    gap_s = (double)(now_ns - newest_last) / (double)NSEC_PER_SEC;
    tail = TAIL_MIN + (double)(h->next - first_owed(h)) + 2 * recent_rate(h) * MAX(gap_s, 0.0);
    if (level == 1)
        tail *= TAIL_WIDER;
    ret->tail = (int64_t)MIN(tail, (double)TAIL_MAX);
}

void splice_plan_takeover(const struct splice_history *h, unsigned level, int64_t now_ns,
                          size_t bytes_max, struct splice_query *ret)
{
    uint64_t count = h->next - h->first;
    double tail = 1;

    splice_plan(h, level, now_ns, ret);
    ret->whole = false; /* it has to go on where the other one ends */
    if (level >= LEVEL_SINCE)
        return;
    if (!splice_has_history(h)) {
        /* As a rule the newest record is in front of the floor, or there is none. */
        if (level == 0)
            *ret = (struct splice_query){.tail = 1};
        return;
    }
    if (count > 1) {
        /* Over the time until now, so that a burst of long ago does not count as a rate. */
        double span_s = (double)(now_ns - mark_at(h, h->first)->ts_ns) / (double)NSEC_PER_SEC;

        double lag_s = (double)(now_ns - mark_at(h, h->next - 1)->ts_ns) / (double)NSEC_PER_SEC;

        if (span_s > 0)
            tail += (double)count / span_s *
                    (TAKEOVER_OVERLAP_S + 2 * MIN(MAX(lag_s, 0.0), TAKEOVER_LAG_MAX_S));
    }
    if (level == 1)
        tail = (tail + TAIL_MIN) * TAIL_WIDER;
    else
        tail = MIN(tail, (double)(bytes_max / MAX(h->record_bytes_avg, RECORD_OVERHEAD_BYTES)));
    ret->has_since = false;
    ret->tail = (int64_t)MAX(MIN(tail, (double)TAIL_MAX), 1.0);
}

void splice_history_finish(struct splice_history *h)
{
    free(h->marks);
    h->marks = NULL;
    h->cap = 0;
    h->first = h->next = 0;
}
