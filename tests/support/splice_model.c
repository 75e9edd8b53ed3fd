/* support/splice_model.h. A record is known by its index in everything that was ever logged. */
#include "support/splice_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "ringtail/record/splice.h"

#define RECORDS_MAX 16384
#define START_NS (INT64_C(1795188000) * NSEC_PER_SEC)
#define SKEW_MAX_NS (40 * NSEC_PER_MSEC)
#define PART_BYTES 16384
#define RUN_REACH 16  /* so many records of the other stream may stand inside a run */
#define MARKS_SAVED 8 /* control/positions.c */
#define NOTHING SIZE_MAX

static const char part_text[PART_BYTES + 1]; /* with a byte for the end */

struct logged {
    int64_t ts_ns;
    uint64_t fingerprint;
    enum record_stream stream;
    struct slice text; /* stands for what the fingerprint is of: only its length and end count */
};

struct response {
    bool open, follow, passed_since;
    size_t first; /* the oldest record that the Engine had when it was asked */
    size_t begin, at, end;
    struct splice_query query;
};

struct game {
    struct choices *choices;
    const struct splice_model_options *options;
    struct splice_model_result *result;
    struct logged *log;
    size_t count, first; /* logged, and the oldest that the Engine still has */
    int64_t now_ns, stream_last_ns[2];
    unsigned texts;
    struct splice_history history;
    struct splice_cursor cursor;
    struct response response;
    unsigned level;
    bool draining;
    size_t last; /* delivered; NOTHING before the first */
    size_t wanted_from;
};

uint64_t choose(struct choices *c, uint64_t bound)
{
    uint64_t value = 0;

    if (!c->from_bytes)
        return random_below(&c->random, bound);
    for (uint64_t reach = 1; reach < bound && c->left > 0; reach <<= 8, c->left--)
        value = value << 8 | *c->bytes++;
    return bound > 0 ? value % bound : 0;
}

static bool maybe(struct game *g, uint64_t one_in)
{
    return choose(g->choices, one_in) == 1;
}

static bool failed(const struct game *g)
{
    return g->result->error[0] != '\0';
}

static void fail(struct game *g, const char *format, ...) RT_PRINTF(2, 3);

static void fail(struct game *g, const char *format, ...)
{
    va_list ap;

    if (failed(g))
        return;
    va_start(ap, format);
    (void)vsnprintf(g->result->error, sizeof g->result->error, format, ap);
    va_end(ap);
}

/* ---- what containers and clocks do ---- */

static int64_t next_stamp(struct game *g, enum record_stream stream)
{
    int64_t *last = &g->stream_last_ns[stream - RECORD_STDOUT];
    int64_t ts = g->now_ns;

    if (maybe(g, 3))
        ts -= (int64_t)choose(g->choices, (uint64_t)SKEW_MAX_NS);
    /* The Engine's stamps rise within one stream. */
    *last = MAX(ts, *last + 1);
    return *last;
}

enum text_kind { TEXT_LINE, TEXT_PART, TEXT_PROMPT };

static struct slice text_of(enum text_kind kind)
{
    switch (kind) {
    case TEXT_LINE:
        return slice_str("line\n");
    case TEXT_PART:
        return slice_of(part_text, PART_BYTES);
    case TEXT_PROMPT:
        break;
    }
    return slice_str("prompt: ");
}

/* Records of one kind and number have the same text. */
static void log_record(struct game *g, enum record_stream stream, int64_t ts_ns,
                       enum text_kind kind, uint64_t number)
{
    uint64_t identity[2] = {kind, number};

    if (g->count == RECORDS_MAX)
        return;
    g->log[g->count++] = (struct logged){
        .ts_ns = ts_ns,
        .fingerprint = hash_bytes(slice_of(identity, sizeof identity), (uint64_t)stream),
        .stream = stream,
        .text = text_of(kind),
    };
}

static enum record_stream any_stream(struct game *g)
{
    return maybe(g, 4) ? RECORD_STDERR : RECORD_STDOUT;
}

static void log_line(struct game *g, enum record_stream stream)
{
    enum text_kind kind = maybe(g, 32) ? TEXT_PROMPT : TEXT_LINE;

    g->now_ns += (int64_t)choose(g->choices, (uint64_t)NSEC_PER_MSEC);
    log_record(g, stream, next_stamp(g, stream), kind, maybe(g, 4) ? 0 : ++g->texts);
}

/* Alike in everything. Between parts the other stream may come. */
static void log_run(struct game *g, enum text_kind kind, bool has_end)
{
    enum record_stream stream = any_stream(g);
    int64_t ts = next_stamp(g, stream);
    uint64_t n = 1 + choose(g->choices, MIN(40, g->options->marks_max / 4));

    for (uint64_t i = 0; i < n; i++) {
        log_record(g, stream, ts, kind, 0);
        if (kind == TEXT_PART && maybe(g, 16))
            log_line(g, stream == RECORD_STDOUT ? RECORD_STDERR : RECORD_STDOUT);
    }
    if (has_end)
        log_record(g, stream, ts, TEXT_LINE, ++g->texts);
}

/* Of both streams, in any order; about half of the texts are there more than once. */
static void log_crowd(struct game *g)
{
    int64_t ts_ns[] = {next_stamp(g, RECORD_STDOUT), next_stamp(g, RECORD_STDERR)};
    uint64_t n = 1 + choose(g->choices, maybe(g, 4) ? 2 * g->options->marks_max : 20);

    for (uint64_t i = 0; i < n; i++) {
        enum record_stream stream = any_stream(g);

        log_record(g, stream, ts_ns[stream - RECORD_STDOUT], TEXT_LINE,
                   maybe(g, 2) ? choose(g->choices, 3) : ++g->texts);
    }
}

static void pass_time(struct game *g)
{
    static const int64_t scales_ns[] = {NSEC_PER_USEC, NSEC_PER_MSEC, NSEC_PER_SEC,
                                        600 * NSEC_PER_SEC};
    int64_t scale = scales_ns[choose(g->choices, ARRAY_SIZE(scales_ns))];

    g->now_ns += scale + (int64_t)choose(g->choices, (uint64_t)scale);
}

static void step_clock_back(struct game *g)
{
    int64_t most = maybe(g, 2) ? NSEC_PER_SEC : 3600 * NSEC_PER_SEC;

    g->now_ns -= (int64_t)choose(g->choices, (uint64_t)most);
    g->stream_last_ns[0] = g->stream_last_ns[1] = INT64_MIN;
}

/* Whether a stream's records from this one on have the timestamp of the one before. */
static bool is_inside_run(const struct game *g, size_t index)
{
    for (enum record_stream stream = RECORD_STDOUT; stream <= RECORD_STDERR; stream++) {
        size_t before = index, from = index;

        while (before > 0 && g->log[before - 1].stream != stream)
            before--;
        while (from < g->count && g->log[from].stream != stream)
            from++;
        if (before > 0 && from < g->count && g->log[before - 1].ts_ns == g->log[from].ts_ns)
            return true;
    }
    return false;
}

/* Up to any record, but not into a run: which of several equal records are gone can't be told by
 * anybody. */
static void drop_oldest(struct game *g)
{
    size_t to = g->first + (size_t)choose(g->choices, g->count - g->first + 1);

    while (is_inside_run(g, to))
        to++;
    g->first = to;
}

/* ---- what the Engine answers ---- */

static void response_open(struct game *g)
{
    struct response *r = &g->response;

    *r = (struct response){.open = true, .first = g->first};
    splice_plan(&g->history, g->level, g->now_ns, &r->query);
    r->follow = !maybe(g, 6) && !r->query.whole;
    r->at = g->first;
    if (r->query.tail >= 0 && g->count - g->first > (size_t)r->query.tail)
        r->at = g->count - (size_t)r->query.tail;
    r->begin = r->at;
    r->end = g->count;
    splice_cursor_init(&g->cursor, g->level);
    g->cursor.tail = r->query.tail;
    g->cursor.whole = r->query.whole;
    g->result->responses++;
}

static bool is_filtered(const struct game *g, const struct logged *record)
{
    const struct splice_query *query = &g->response.query;

    if (!query->has_since || record->ts_ns >= query->since_ns)
        return false;
    return g->options->engine_20_10 || !g->response.passed_since;
}

/* The index of the response's next record; NOTHING when it has none (yet). */
static size_t response_next(struct game *g)
{
    struct response *r = &g->response;

    while (r->at < (r->follow ? g->count : r->end)) {
        size_t index = r->at++;

        if (is_filtered(g, &g->log[index]))
            continue;
        r->passed_since = true;
        return index;
    }
    return NOTHING;
}

/* Engine 20.10 at a rotation: some of what was just sent comes again. */
static void response_jump(struct game *g)
{
    struct response *r = &g->response;
    size_t back = 1 + (size_t)choose(g->choices, 40), index;
    const struct logged *to;

    if (!r->open || !r->follow || g->cursor.mode != SPLICE_LIVE || g->last == NOTHING ||
        back > r->at - r->begin)
        return;
    index = r->at - back;
    if (g->last - index >= g->history.next - g->history.first)
        return;
    to = &g->log[index];
    /* What the filter took away is no part of what was sent. */
    if (to->ts_ns < g->history.floor_ns)
        return;
    /* Whether a part without its end comes again or goes on can't be told. */
    if (to->text.data[to->text.len - 1] != '\n' &&
        to->ts_ns >= g->history.last_ts_ns[to->stream - RECORD_STDOUT])
        return;
    r->at = index;
    g->result->jumps++;
}

/* ---- what ringtail does ---- */

static void response_broken(struct game *g)
{
    g->response.open = false;
    g->level = 0;
}

static void response_widen(struct game *g)
{
    g->response.open = false;
    g->level = MIN(g->level + 1, SPLICE_LEVELS - 1u);
    g->result->widened++;
}

/* With what the positions keep of a history. */
static void restart(struct game *g)
{
    struct splice_history old = g->history;
    struct splice_history *h = &g->history;
    uint64_t first = old.next - MIN(old.next - old.first, (uint64_t)MARKS_SAVED);

    *h = (struct splice_history){
        .marks_max = old.marks_max,
        .floor_ns = old.floor_ns,
        .floor_is_far = old.floor_is_far,
        .engine_repeats = old.engine_repeats,
        .repeated = old.repeated,
        .went_back = old.went_back,
        .gaps_suspected = old.gaps_suspected,
    };
    for (uint64_t n = first; n < old.next; n++)
        if (splice_restore(h, splice_mark(&old, n)) < 0)
            abort();
    for (unsigned s = 0; s < ARRAY_SIZE(old.has_last); s++)
        if (old.has_last[s])
            splice_restore_last(h, s == 0 ? RECORD_STDOUT : RECORD_STDERR, old.last_ts_ns[s],
                                old.last_ordinal[s]);
    splice_history_finish(&old);
    response_broken(g);
}

/* Why a record that stands between two delivered ones, or in front of the first, need not have
 * come. */
static bool may_be_missing(struct game *g, size_t index)
{
    if (index < g->response.first) {
        g->result->missing++;
        return true;
    }
    if (g->last == NOTHING && index < g->wanted_from)
        return true;
    return g->options->engine_20_10 && g->response.query.has_since &&
           g->log[index].ts_ns < g->history.floor_ns;
}

static void deliver(struct game *g, size_t index)
{
    size_t from = g->last == NOTHING ? 0 : g->last + 1, missing = g->result->missing;

    if (g->last != NOTHING && index <= g->last) {
        fail(g, "record %zu came again behind %zu (level %u)", index, g->last, g->cursor.level);
        return;
    }
    for (size_t i = from; i < index; i++)
        if (!may_be_missing(g, i)) {
            fail(g, "record %zu was left out, %zu came behind %zd (level %u)", i, index,
                 (ssize_t)g->last, g->cursor.level);
            return;
        }
    if (g->last != NOTHING && g->result->missing > missing && g->history.gaps_suspected == 0)
        fail(g, "records %zu to %zu are missing and no gap was suspected", from, index - 1);
    g->last = index;
    g->result->delivered++;
}

/* Reads up to `most` records of the open response. Returns whether it is still open. */
static bool client_read(struct game *g, uint64_t most)
{
    while (most-- > 0 && !failed(g)) {
        size_t index = response_next(g);
        struct part part;

        if (index == NOTHING)
            return true;
        part = (struct part){
            .ts_ns = g->log[index].ts_ns,
            .fingerprint = g->log[index].fingerprint,
            .text = g->log[index].text,
            .stream = g->log[index].stream,
        };
        switch (splice_judge(&g->history, &g->cursor, &part)) {
        case SPLICE_DROP:
            break;
        case SPLICE_WIDEN:
            response_widen(g);
            return false;
        case SPLICE_DELIVER:
            if (!g->draining && maybe(g, 256)) { /* there was no memory for it */
                response_broken(g);
                return false;
            }
            deliver(g, index);
            part.ordinal = splice_ordinal(&g->history, &g->cursor, &part);
            splice_delivered(&g->history, &g->cursor, &part);
            break;
        }
    }
    return true;
}

/* The response has said all it has: its end, or a silence that was waited out. */
static bool response_over(struct game *g)
{
    if (splice_is_unplaced(&g->cursor)) {
        response_widen(g);
        return false;
    }
    g->response.open = false;
    g->level = 0;
    return true;
}

static void client_turn(struct game *g)
{
    if (!g->response.open)
        response_open(g);
    if (!client_read(g, choose(g->choices, maybe(g, 4) ? 400 : 24)))
        return;
    if (g->response.at < (g->response.follow ? g->count : g->response.end))
        return;
    if (!g->response.follow || (splice_is_unplaced(&g->cursor) && maybe(g, 2)))
        (void)response_over(g);
}

static void turn(struct game *g)
{
    switch (choose(g->choices, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        for (uint64_t n = 1 + choose(g->choices, maybe(g, 8) ? 200 : 8); n > 0; n--)
            log_line(g, any_stream(g));
        break;
    case 4:
        if (g->options->equal_lines)
            log_run(g, TEXT_LINE, false);
        if (g->options->crowds)
            log_crowd(g);
        break;
    case 5:
        if (g->options->equal_parts)
            log_run(g, TEXT_PART, !maybe(g, 8));
        break;
    case 6:
        pass_time(g);
        break;
    case 7:
        if (g->options->clock_steps && maybe(g, 4))
            step_clock_back(g);
        break;
    case 8:
        if (g->options->drops && maybe(g, 4))
            drop_oldest(g);
        break;
    case 9:
        if (g->options->engine_20_10)
            response_jump(g);
        break;
    case 10:
        if (g->response.open && maybe(g, 2))
            response_broken(g);
        if (g->options->restarts && maybe(g, 4))
            restart(g);
        break;
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
        client_turn(g);
        break;
    default:
        break;
    }
}

/* Nothing is written any more: whoever goes on asking has everything in the end. */
static void drain(struct game *g)
{
    size_t next;

    response_broken(g); /* it may be one that ends with what there was when it was asked for */
    g->draining = true;
    for (unsigned tries = 0; !failed(g); tries++) {
        if (tries == 1000) {
            fail(g, "the end was not reached after %u tries", tries);
            return;
        }
        if (!g->response.open)
            response_open(g);
        if (client_read(g, UINT64_MAX) && response_over(g))
            break;
    }
    next = g->last == NOTHING ? g->wanted_from : g->last + 1;
    next = MAX(next, g->first);
    while (g->options->engine_20_10 && next < g->count && g->log[next].ts_ns < g->history.floor_ns)
        next++;
    if (!failed(g) && next < g->count)
        fail(g, "the records from %zu to %zu never came", next, g->count - 1);
}

/* The first record that has to come: behind it, none is older than the floor. */
static size_t find_wanted(const struct game *g)
{
    size_t index = g->count;

    while (index > 0 && g->log[index - 1].ts_ns >= g->history.floor_ns)
        index--;
    return index;
}

static void begin(struct game *g)
{
    uint64_t past = choose(g->choices, maybe(g, 2) ? 3000 : 30);

    for (uint64_t i = 0; i < past; i++)
        log_line(g, any_stream(g));
    if (maybe(g, 2))
        pass_time(g);
    g->history.floor_ns = INT64_MIN;
    if (g->options->since == SPLICE_MODEL_NOW)
        g->history.floor_ns = g->now_ns;
    else if (g->options->since == SPLICE_MODEL_PAST && g->count > 0)
        g->history.floor_ns = g->log[choose(g->choices, g->count)].ts_ns;
    g->history.floor_is_far = g->options->since != SPLICE_MODEL_NOW;
    g->wanted_from = find_wanted(g);
}

void splice_model_play(struct choices *choices, const struct splice_model_options *options,
                       struct splice_model_result *ret)
{
    struct game g = {
        .choices = choices,
        .options = options,
        .result = ret,
        .now_ns = START_NS,
        .stream_last_ns = {INT64_MIN, INT64_MIN},
        .history = {.marks_max = options->marks_max, .engine_repeats = options->engine_20_10},
        .last = NOTHING,
    };

    *ret = (struct splice_model_result){0};
    g.log = calloc(RECORDS_MAX, sizeof *g.log);
    if (!g.log)
        abort();
    begin(&g);
    for (unsigned i = 0; i < options->steps && !failed(&g); i++) {
        if (choices->from_bytes && choices->left == 0)
            break;
        turn(&g);
        /* The other stream may be stamped up to its skew before the floor for a while. */
        if (g.last == NOTHING)
            g.wanted_from = find_wanted(&g);
    }
    drain(&g);
    ret->records = g.count;
    ret->repeated = g.history.repeated;
    ret->went_back = g.history.went_back;
    ret->gaps_suspected = g.history.gaps_suspected;
    splice_history_finish(&g.history);
    free(g.log);
}
