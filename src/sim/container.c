/*
 * Containers: their states, their logs, and what a request finds of them. A scripted container
 * keeps its records; a generated one keeps a few numbers, from which any record is computed. Never
 * writes to a connection: it marks followers ready, and the thread does the rest.
 *
 * Records are numbered from 0 for the life of a container. Rotation only moves `first` on.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/hash.h"

/* A clock that steps back further than this steps the timestamps back, too. */
#define CLOCK_SLACK_NS NSEC_PER_SEC

const char *state_name(enum sim_state s)
{
    static const char *const names[] = {
        [SIM_RUNNING] = "running", [SIM_CREATED] = "created",
        [SIM_PAUSED] = "paused",   [SIM_RESTARTING] = "restarting",
        [SIM_EXITED] = "exited",   [SIM_REMOVING] = "removing",
        [SIM_GONE] = "dead",
    };

    return names[s];
}

bool container_is_up(const struct sim_container *c)
{
    return c->state == SIM_RUNNING || c->state == SIM_PAUSED;
}

struct sim_container *container_find(struct sim *sim, struct slice key)
{
    struct table_link *link = table_find(&sim->by_id, key);
    struct sim_container *found = NULL;

    if (link)
        return container_of(link, struct sim_container, id_link);
    link = table_find(&sim->by_name, key);
    if (link)
        return container_of(link, struct sim_container, name_link);
    if (key.len == 0 || key.len > SIM_ID_LEN)
        return NULL;
    LIST_FOR_EACH_ENTRY (c, &sim->containers, struct sim_container, link) {
        if (memcmp(c->id, key.data, key.len) != 0)
            continue;
        if (found)
            return NULL;
        found = c;
    }
    return found;
}

static void pairs_free(struct sim_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)pairs[i].key);
        free((char *)pairs[i].value);
    }
    free(pairs);
}

static int pairs_copy(const struct sim_pair *from, size_t count, struct sim_pair **ret,
                      size_t *ret_count)
{
    struct sim_pair *to = calloc(count + 1, sizeof *to);

    if (!to)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        to[i].key = strdup(from[i].key);
        to[i].value = strdup(from[i].value);
        if (!to[i].key || !to[i].value) {
            pairs_free(to, count);
            return -ENOMEM;
        }
    }
    *ret = to;
    *ret_count = count;
    return 0;
}

void container_free(struct sim_container *c)
{
    if (!c)
        return;
    if (c->gen)
        gen_finish(c->gen);
    free(c->gen);
    for (size_t i = 0; i < ARRAY_SIZE(c->templates); i++) {
        if (c->templates[i])
            template_finish(c->templates[i]);
        free(c->templates[i]);
    }
    for (size_t i = 0; i < c->records_count; i++)
        free(c->records[i].data);
    for (size_t i = 0; i < ARRAY_SIZE(c->pending); i++)
        buf_finish(&c->pending[i]);
    free(c->records);
    free(c->runs);
    pairs_free(c->labels, c->labels_count);
    pairs_free(c->log_options, c->log_options_count);
    free(c->name);
    free(c->image);
    free(c->log_driver);
    free(c);
}

/** Frees a container that nobody can ask for any more. */
static void container_reap(struct sim_container *c)
{
    struct sim *sim = c->sim;

    if (!c->released || c->state != SIM_GONE || c->users > 0)
        return;
    for (size_t i = 0; i < REQUESTS_KEPT; i++) {
        if (sim->requests[i].container == c)
            sim->requests[i].container = NULL;
    }
    LIST_FOR_EACH_ENTRY (f, &sim->faults, struct fault, link) {
        if (f->spec.container == c)
            f->active = false;
    }
    list_remove(&c->link);
    container_free(c);
}

void container_use(struct sim_container *c)
{
    c->users++;
}

void container_unuse(struct sim_container *c)
{
    c->users--;
    container_reap(c);
}

/* ---- What has been written ---- */

static bool gen_stands(const struct sim_container *c)
{
    return c->state != SIM_RUNNING;
}

static uint64_t gen_lines_written(struct sim_container *c)
{
    const struct sim_generator *g = &c->gen->spec;
    const struct run *run;
    uint64_t lines;
    int64_t now;

    if (gen_stands(c) || g->firehose || g->lines_per_s <= 0)
        return c->gen_lines;
    run = &c->runs[c->runs_count - 1];
    now = sim_clock_ns(c->sim);
    lines = now < run->base_ns ? run->first
                               : run->first + (uint64_t)((now - run->base_ns) / g->interval_ns) + 1;
    return g->lines ? MIN(lines, g->lines) : lines;
}

uint64_t container_head(struct sim_container *c)
{
    if (!c->gen)
        return c->records_base + c->records_count;
    if (c->gen->spec.firehose)
        return c->fire_head;
    return gen_records_before(c->gen, gen_lines_written(c));
}

static uint64_t fire_limit(const struct sim_container *c)
{
    return c->gen->spec.lines ? gen_records_before(c->gen, c->gen->spec.lines) : WITHOUT_END;
}

uint64_t container_follow_head(struct sim_container *c)
{
    if (c->gen && c->gen->spec.firehose && !gen_stands(c))
        return fire_limit(c);
    if (!c->gen && c->sim->hold_back && c->records_count &&
        c->records[c->records_count - 1].unterminated)
        return c->records_base + c->records_count - 1;
    return container_head(c);
}

int64_t container_line_ts(const struct sim_container *c, uint64_t line)
{
    size_t i = c->runs_count - 1;

    while (i > 0 && c->runs[i].first > line)
        i--;
    return c->runs[i].base_ns + (int64_t)(line - c->runs[i].first) * c->gen->spec.interval_ns;
}

int64_t container_record_ts(struct sim_container *c, uint64_t at)
{
    uint32_t part;

    if (c->gen)
        return container_line_ts(c, gen_line_of(c->gen, at, &part));
    return c->records[at - c->records_base].ts_ns;
}

void container_record(struct sim_container *c, uint64_t at, struct record_view *ret)
{
    const struct record *r;

    if (c->gen) {
        uint32_t part;
        uint64_t line = gen_line_of(c->gen, at, &part);

        *ret = (struct record_view){.ts_ns = container_line_ts(c, line),
                                    .stream = gen_stream_of(c->gen, line),
                                    .data = c->sim->part_room,
                                    .len = gen_part(c->gen, line, part, c->sim->part_room)};
        return;
    }
    r = &c->records[at - c->records_base];
    *ret = (struct record_view){
        .ts_ns = r->ts_ns, .stream = r->stream, .data = r->data, .len = r->len};
}

uint64_t container_search(struct sim_container *c, uint64_t from, uint64_t head, int64_t ts_ns)
{
    while (from < head) {
        uint64_t middle = from + (head - from) / 2;

        if (container_record_ts(c, middle) < ts_ns)
            from = middle + 1;
        else
            head = middle;
    }
    return from;
}

void container_wake_follows(struct sim_container *c)
{
    LIST_FOR_EACH_ENTRY (k, &c->follows, struct conn, follow_link)
        conn_make_ready(k);
}

static int container_append(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                            const void *bytes, size_t len)
{
    const struct record *before = NULL;
    struct record r = {.ts_ns = ts_ns, .len = (uint32_t)len, .stream = (uint8_t)stream};

    if (c->records_count == c->records_cap) {
        size_t cap = c->records_cap ? c->records_cap * 2 : 64;
        struct record *grown = realloc(c->records, cap * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        c->records = grown;
        c->records_cap = cap;
    }
    r.data = malloc(len + 1);
    if (!r.data)
        return -ENOMEM;
    if (len)
        memcpy(r.data, bytes, len);
    if ((len == 0 || r.data[len - 1] != '\n') && len < SIM_PART_BYTES) {
        for (size_t i = c->records_count; i > 0 && !before; i--) {
            if (c->records[i - 1].stream == r.stream)
                before = &c->records[i - 1];
        }
        r.unterminated = !before || before->ts_ns != ts_ns || before->len != SIM_PART_BYTES ||
                         before->data[before->len - 1] == '\n';
    }
    c->records[c->records_count++] = r;
    c->last_ts_ns[stream] = ts_ns;
    container_wake_follows(c);
    return 0;
}

/** The Engine's time, as the stamp of a stream's next record. */
static int64_t container_stamp(struct sim_container *c, enum sim_stream stream)
{
    int64_t now = sim_clock_ns(c->sim), last = c->last_ts_ns[stream];

    return now <= last && last - now < CLOCK_SLACK_NS ? last + 1 : now;
}

static enum sim_stream container_stream(const struct sim_container *c, enum sim_stream stream)
{
    assert(stream == SIM_STDOUT || stream == SIM_STDERR);
    return c->tty ? SIM_STDOUT : stream;
}

/** Text with or without its newline at the end, cut into parts as the Engine does. */
static int container_append_parts(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                                  struct slice text)
{
    while (text.len > SIM_PART_BYTES ||
           (text.len == SIM_PART_BYTES && text.data[text.len - 1] != '\n')) {
        int r = container_append(c, stream, ts_ns, text.data, SIM_PART_BYTES);

        if (r < 0)
            return r;
        text = slice_from(text, SIM_PART_BYTES);
    }
    return text.len ? container_append(c, stream, ts_ns, text.data, text.len) : 0;
}

static int container_append_line(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                                 struct slice line)
{
    struct buf whole = {0};
    int r = 0;

    r = buf_append_slice(&whole, line);
    if (r == 0 && c->tty)
        r = buf_append_char(&whole, '\r');
    /* 20.10's local driver forgets the newline of a line in parts. */
    if (r == 0 && !(whole.len >= SIM_PART_BYTES && c->sim->profile->like_20_10 &&
                    strcmp(c->log_driver, "local") == 0))
        r = buf_append_char(&whole, '\n');
    if (r == 0)
        r = container_append_parts(c, stream, ts_ns, buf_slice(&whole));
    buf_finish(&whole);
    return r;
}

/** Moves what is whole of a stream's pending text into the log; all of it at the exit. */
static int container_take_pending(struct sim_container *c, enum sim_stream stream, bool all)
{
    struct buf *p = &c->pending[stream];
    struct slice rest = buf_slice(p);
    int r = 0;

    while (r == 0 && rest.len > 0) {
        const char *newline = memchr(rest.data, '\n', MIN(rest.len, (size_t)SIM_PART_BYTES));
        size_t len =
            newline ? (size_t)(newline - rest.data) + 1 : MIN(rest.len, (size_t)SIM_PART_BYTES);
        int64_t ts = c->part_ts_ns[stream] ? c->part_ts_ns[stream] : container_stamp(c, stream);

        if (!newline && len < SIM_PART_BYTES && !all)
            break;
        r = container_append(c, stream, ts, rest.data, len);
        if (r == 0) {
            c->part_ts_ns[stream] = newline || len < SIM_PART_BYTES ? 0 : ts;
            rest = slice_from(rest, len);
        }
    }
    if (all)
        c->part_ts_ns[stream] = 0;
    buf_consume(p, p->len - rest.len);
    return r;
}

/* ---- Generators ---- */

static int gen_push_run(struct sim_container *c, uint64_t first, int64_t base_ns)
{
    struct run *grown = realloc(c->runs, (c->runs_count + 1) * sizeof *grown);

    if (!grown)
        return -ENOMEM;
    c->runs = grown;
    c->runs[c->runs_count++] = (struct run){.first = first, .base_ns = base_ns};
    return 0;
}

/** What the log holds before the container's first own line. */
static int gen_begin(struct sim_container *c)
{
    const struct sim_generator *g = &c->gen->spec;

    c->gen_lines = g->lines_before;
    c->fire_head = gen_records_before(c->gen, c->gen_lines);
    return gen_push_run(c, 0, sim_clock_ns(c->sim) - (int64_t)g->lines_before * g->interval_ns);
}

/** It writes from now on. */
static int gen_go(struct sim_container *c)
{
    int64_t now = sim_clock_ns(c->sim);
    int r;

    if (c->gen_lines > 0) {
        int64_t next = container_line_ts(c, c->gen_lines - 1) + c->gen->spec.interval_ns;

        now = MAX(now, next);
    }
    r = gen_push_run(c, c->gen_lines, now);
    if (r < 0)
        return r;
    list_remove(&c->tick_link);
    list_append(&c->sim->ticking, &c->tick_link);
    c->sim->tick_now = true;
    return 0;
}

/** It stands still from now on. A line in parts that a firehose has begun is finished. */
static void gen_halt(struct sim_container *c)
{
    if (c->gen->spec.firehose) {
        uint32_t part;

        c->gen_lines = gen_line_of(c->gen, c->fire_head, &part) + (part > 0);
        c->fire_head = gen_records_before(c->gen, c->gen_lines);
    } else {
        c->gen_lines = gen_lines_written(c);
    }
    list_remove(&c->tick_link);
}

/* ---- Ends ---- */

/** The container's processes are gone: its log has its end, and followers get the last chunk behind
 * it. */
static void container_end(struct sim_container *c, int code, enum sim_state next)
{
    uint64_t end;

    for (unsigned s = SIM_STDOUT; s <= SIM_STDERR; s++)
        (void)container_take_pending(c, s, true); /* without memory the end of the text is lost */
    if (c->gen)
        gen_halt(c);
    end = container_follow_head(c);
    if (c->gen && c->gen->spec.firehose)
        end = c->fire_head;
    c->state = next;
    c->exit_code = code;
    c->finished_at_ns = sim_clock_ns(c->sim);
    LIST_FOR_EACH_ENTRY (k, &c->follows, struct conn, follow_link) {
        if (k->end == WITHOUT_END)
            k->end = end;
        conn_make_ready(k);
    }
}

static void emit(struct sim_container *c, const char *action)
{
    (void)container_emit(c, action, NULL, 0); /* without memory it is an event that never came */
}

static void emit_die(struct sim_container *c)
{
    char code[16], duration[24];
    struct sim_pair extra[] = {{"exitCode", code}, {"execDuration", duration}};

    snprintf(code, sizeof code, "%d", c->exit_code);
    snprintf(duration, sizeof duration, "%lld",
             (long long)((c->finished_at_ns - c->started_at_ns) / NSEC_PER_SEC));
    (void)container_emit(c, "die", extra, c->sim->profile->like_20_10 ? 1 : 2);
}

static void emit_kill(struct sim_container *c, const char *signal)
{
    struct sim_pair extra = {"signal", signal};

    (void)container_emit(c, "kill", &extra, 1);
}

static void container_do_exit(struct sim_container *c, int code, enum sim_state next)
{
    container_end(c, code, next);
    emit_die(c);
}

/** As `docker stop` does it; the order of the last two is the Engine's. */
static void container_do_stop(struct sim_container *c)
{
    emit_kill(c, "15");
    container_end(c, 0, SIM_EXITED);
    if (c->sim->profile->like_20_10)
        emit_die(c);
    emit(c, "stop");
    if (!c->sim->profile->like_20_10)
        emit_die(c);
}

/** It has been started, into whatever state; only a running one writes. */
static int container_enter_run(struct sim_container *c, enum sim_state state)
{
    int r = 0;

    if (c->gen && !c->started_once)
        r = gen_begin(c);
    if (c->gen && r == 0 && state == SIM_RUNNING)
        r = gen_go(c);
    if (r < 0)
        return r;
    c->started_once = true;
    c->started_at_ns = sim_clock_ns(c->sim);
    c->finished_at_ns = 0;
    c->state = state;
    return 0;
}

static int container_do_start(struct sim_container *c)
{
    int r = container_enter_run(c, SIM_RUNNING);

    if (r == 0)
        emit(c, "start");
    return r;
}

void container_fire_taken(struct sim_container *c, uint64_t at)
{
    if (at <= c->fire_head)
        return;
    c->fire_head = at;
    if (at == fire_limit(c) && c->gen->spec.exit_at_end && c->state == SIM_RUNNING)
        container_do_exit(c, 0, SIM_EXITED);
}

int64_t sim_tick(struct sim *sim, int64_t now_ns)
{
    int64_t due = NEVER_NS;

    LIST_FOR_EACH_ENTRY (c, &sim->ticking, struct sim_container, tick_link) {
        const struct sim_generator *g = &c->gen->spec;
        uint64_t lines;

        if (g->firehose) {
            if (g->exit_at_end && c->fire_head == fire_limit(c))
                container_do_exit(c, 0, SIM_EXITED);
            continue;
        }
        lines = gen_lines_written(c);
        if (lines != c->announced) {
            c->announced = lines;
            container_wake_follows(c);
        }
        if (g->lines_per_s <= 0 || (g->lines && lines == g->lines)) {
            if (g->exit_at_end)
                container_do_exit(c, 0, SIM_EXITED);
            else
                list_remove(&c->tick_link);
            continue;
        }
        due = MIN(due, MAX(container_line_ts(c, lines), now_ns));
    }
    return due;
}

void containers_end_all(struct sim *sim)
{
    LIST_FOR_EACH_ENTRY (c, &sim->containers, struct sim_container, link) {
        if (container_is_up(c))
            container_do_stop(c);
    }
}

/* ---- Adding and removing ---- */

static void container_make_id(struct sim *sim, char out[SIM_ID_LEN + 1])
{
    for (int i = 0; i < 4; i++)
        snprintf(out + 16 * i, 17, "%016llx", (unsigned long long)random_next(&sim->random));
}

static bool id_is_good(const char *id)
{
    return strlen(id) == SIM_ID_LEN && strspn(id, "0123456789abcdef") == SIM_ID_LEN;
}

static int container_build(struct sim *sim, const struct sim_spec *spec, struct sim_container *c)
{
    char made[32];
    const char *name = spec->name;
    int r;

    if (!name) {
        snprintf(made, sizeof made, "sim-%llu", (unsigned long long)++sim->names_count);
        name = made;
    }
    if (spec->id && !id_is_good(spec->id))
        return -EINVAL;
    if (spec->id)
        memcpy(c->id, spec->id, sizeof c->id);
    else
        container_make_id(sim, c->id);
    if (table_find(&sim->by_name, slice_str(name)) || table_find(&sim->by_id, slice_str(c->id)))
        return -EEXIST;
    c->name = strdup(name);
    c->image = strdup(spec->image ? spec->image : "bb:latest");
    c->log_driver = strdup(spec->log_driver ? spec->log_driver : "json-file");
    if (!c->name || !c->image || !c->log_driver)
        return -ENOMEM;
    r = pairs_copy(spec->labels, spec->labels_count, &c->labels, &c->labels_count);
    if (r == 0)
        r = pairs_copy(spec->log_options, spec->log_options_count, &c->log_options,
                       &c->log_options_count);
    if (r < 0)
        return r;
    c->tty = spec->tty;
    c->state = SIM_CREATED;
    c->created_at_ns = sim_clock_ns(sim);
    if (!spec->generator)
        return 0;
    c->gen = calloc(1, sizeof *c->gen);
    return c->gen ? gen_init(c->gen, spec->generator, name, spec->tty) : -ENOMEM;
}

static int container_add(struct sim *sim, const struct sim_spec *spec, struct sim_container **ret)
{
    struct sim_container *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return -ENOMEM;
    c->sim = sim;
    list_init(&c->follows);
    list_init(&c->tick_link);
    r = container_build(sim, spec, c);
    if (r == 0 && spec->state != SIM_CREATED)
        r = container_enter_run(c, spec->state);
    if (r < 0) {
        list_remove(&c->tick_link);
        container_free(c);
        return r;
    }
    if (spec->started_at_ns)
        c->started_at_ns = spec->started_at_ns;
    if (spec->state != SIM_CREATED && !container_is_up(c))
        c->finished_at_ns = sim_clock_ns(sim);
    list_prepend(&sim->containers, &c->link);
    table_insert(&sim->by_name, &c->name_link, slice_str(c->name));
    table_insert(&sim->by_id, &c->id_link, slice_str(c->id));
    if (!spec->silent) {
        emit(c, "create");
        if (container_is_up(c))
            emit(c, "start");
    }
    *ret = c;
    return 0;
}

static void container_leave(struct sim_container *c)
{
    struct sim *sim = c->sim;

    if (container_is_up(c)) {
        emit_kill(c, "9");
        container_do_exit(c, 137, SIM_EXITED);
    }
    emit(c, "destroy");
    c->state = SIM_GONE;
    table_remove(&sim->by_name, &c->name_link);
    table_remove(&sim->by_id, &c->id_link);
    list_remove(&c->link);
    list_append(&sim->gone, &c->link);
    container_reap(c);
}

/* ---- Public ---- */

int sim_container_add(struct sim *sim, const struct sim_spec *spec, struct sim_container **ret)
{
    struct sim_container *c = NULL;
    int r;

    sim_enter(sim);
    r = container_add(sim, spec, &c);
    sim_leave(sim);
    if (r == 0 && ret)
        *ret = c;
    return r;
}

struct sim_container *sim_add(struct sim *sim, const char *name)
{
    struct sim_container *c = NULL;
    int r = sim_container_add(sim, &(struct sim_spec){.name = name}, &c);

    assert(r == 0);
    (void)r;
    return c;
}

struct sim_container *sim_container_find(struct sim *sim, const char *name_or_id)
{
    struct sim_container *c;

    sim_enter(sim);
    c = container_find(sim, slice_str(name_or_id));
    sim_leave_unchanged(sim);
    return c;
}

const char *sim_container_id(const struct sim_container *c)
{
    return c->id;
}

enum sim_state sim_container_state(struct sim_container *c)
{
    enum sim_state state;

    sim_enter(c->sim);
    state = c->state;
    sim_leave_unchanged(c->sim);
    return state;
}

int64_t sim_container_started_at_ns(struct sim_container *c)
{
    int64_t at;

    sim_enter(c->sim);
    at = c->started_at_ns;
    sim_leave_unchanged(c->sim);
    return at;
}

void sim_container_release(struct sim_container *c)
{
    struct sim *sim = c->sim;

    sim_enter(sim);
    c->released = true;
    container_reap(c);
    sim_leave(sim);
}

int sim_container_start(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (c->state == SIM_CREATED || c->state == SIM_EXITED || c->state == SIM_RESTARTING)
        r = container_do_start(c);
    sim_leave(c->sim);
    return r;
}

int sim_container_exit(struct sim_container *c, int code)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (container_is_up(c)) {
        container_do_exit(c, code, SIM_EXITED);
        r = 0;
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_crash(struct sim_container *c, int code)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (container_is_up(c)) {
        container_do_exit(c, code, SIM_RESTARTING);
        r = 0;
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_stop(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (container_is_up(c)) {
        container_do_stop(c);
        r = 0;
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_restart(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (container_is_up(c))
        container_do_stop(c);
    if (c->state != SIM_REMOVING && c->state != SIM_GONE) {
        r = container_do_start(c);
        emit(c, "restart");
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_pause(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (c->state == SIM_RUNNING) {
        if (c->gen)
            gen_halt(c);
        c->state = SIM_PAUSED;
        emit(c, "pause");
        r = 0;
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_unpause(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (c->state == SIM_PAUSED) {
        r = c->gen ? gen_go(c) : 0;
        c->state = SIM_RUNNING;
        emit(c, "unpause");
        container_wake_follows(c);
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_rename(struct sim_container *c, const char *name)
{
    struct sim *sim = c->sim;
    char *fresh = strdup(name), *old = NULL;
    int r = 0;

    if (!fresh)
        return -ENOMEM;
    sim_enter(sim);
    if (c->state == SIM_GONE)
        r = -EINVAL;
    else if (table_find(&sim->by_name, slice_str(name)))
        r = -EEXIST;
    else if (asprintf(&old, "/%s", c->name) < 0)
        r = -ENOMEM;
    if (r == 0) {
        struct sim_pair extra = {"oldName", old};

        table_remove(&sim->by_name, &c->name_link);
        free(c->name);
        c->name = TAKE_PTR(fresh);
        table_insert(&sim->by_name, &c->name_link, slice_str(c->name));
        (void)container_emit(c, "rename", &extra, 1);
        free(old);
    }
    sim_leave(sim);
    free(fresh);
    return r;
}

int sim_container_begin_removal(struct sim_container *c)
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (c->state != SIM_GONE) {
        if (container_is_up(c)) {
            emit_kill(c, "9");
            container_do_exit(c, 137, SIM_EXITED);
        }
        c->state = SIM_REMOVING;
        r = 0;
    }
    sim_leave(c->sim);
    return r;
}

int sim_container_remove(struct sim_container *c)
{
    struct sim *sim = c->sim;
    int r = -EINVAL;

    sim_enter(sim);
    if (c->state != SIM_GONE) {
        container_leave(c);
        r = 0;
    }
    sim_leave(sim);
    return r;
}

int sim_container_recreate(struct sim_container *c, const struct sim_spec *spec,
                           struct sim_container **ret)
{
    struct sim *sim = c->sim;
    struct sim_container *fresh = NULL;
    int r = -EINVAL;

    sim_enter(sim);
    if (c->state != SIM_GONE) {
        struct sim_spec like = {.image = c->image,
                                .labels = c->labels,
                                .labels_count = c->labels_count,
                                .tty = c->tty,
                                .log_driver = c->log_driver,
                                .log_options = c->log_options,
                                .log_options_count = c->log_options_count,
                                .generator = c->gen ? &c->gen->spec : NULL};

        if (spec)
            like = *spec;
        like.name = c->name;
        /* Its memory stays through the removal, since the new one is made from it. */
        container_use(c);
        container_leave(c);
        r = container_add(sim, &like, &fresh);
        container_unuse(c);
    }
    sim_leave(sim);
    if (r == 0 && ret)
        *ret = fresh;
    return r;
}

/** Runs `append` for a container that takes records, with the stream and stamp filled in. */
static int
container_log(struct sim_container *c, enum sim_stream stream, int64_t ts_ns, struct slice bytes,
              int (*append)(struct sim_container *, enum sim_stream, int64_t, struct slice))
{
    int r = -EINVAL;

    sim_enter(c->sim);
    if (!c->gen && c->state != SIM_GONE) {
        enum sim_stream s = container_stream(c, stream);

        r = append(c, s, ts_ns ? ts_ns : container_stamp(c, s), bytes);
    }
    sim_leave(c->sim);
    return r;
}

static int append_raw(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                      struct slice bytes)
{
    return container_append(c, stream, ts_ns, bytes.data, bytes.len);
}

int sim_log(struct sim_container *c, enum sim_stream stream, int64_t ts_ns, const void *bytes,
            size_t len)
{
    return container_log(c, stream, ts_ns, slice_of(bytes, len), append_raw);
}

int sim_line_bytes(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                   const void *bytes, size_t len)
{
    return container_log(c, stream, ts_ns, slice_of(bytes, len), container_append_line);
}

int sim_line(struct sim_container *c, enum sim_stream stream, int64_t ts_ns, const char *text)
{
    return sim_line_bytes(c, stream, ts_ns, text, strlen(text));
}

int sim_linef(struct sim_container *c, enum sim_stream stream, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (r == 0)
        r = sim_line_bytes(c, stream, 0, text.data, text.len);
    buf_finish(&text);
    return r;
}

static int append_text(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                       struct slice bytes)
{
    int r = 0;

    (void)ts_ns; /* each record is stamped when it is made */
    while (r == 0 && bytes.len > 0) {
        const char *newline = c->tty ? memchr(bytes.data, '\n', bytes.len) : NULL;
        size_t len = newline ? (size_t)(newline - bytes.data) : bytes.len;

        r = buf_append(&c->pending[stream], bytes.data, len);
        bytes = slice_from(bytes, len + (newline ? 1 : 0));
        if (r == 0 && newline)
            r = buf_append(&c->pending[stream], "\r\n", 2);
    }
    return r < 0 ? r : container_take_pending(c, stream, false);
}

int sim_write(struct sim_container *c, enum sim_stream stream, const void *bytes, size_t len)
{
    return container_log(c, stream, 0, slice_of(bytes, len), append_text);
}

int sim_log_drop_oldest(struct sim_container *c, uint64_t records)
{
    sim_enter(c->sim);
    c->first = MIN(c->first + records, container_head(c));
    if (!c->gen) {
        size_t drop = (size_t)(c->first - c->records_base);

        for (size_t i = 0; i < drop; i++)
            free(c->records[i].data);
        c->records_count -= drop;
        memmove(c->records, c->records + drop, c->records_count * sizeof *c->records);
        c->records_base = c->first;
    }
    sim_leave(c->sim);
    return 0;
}

int sim_log_jump_back(struct sim_container *c, uint64_t records)
{
    sim_enter(c->sim);
    LIST_FOR_EACH_ENTRY (k, &c->follows, struct conn, follow_link) {
        k->pos = MAX(k->pos > records ? k->pos - records : 0, c->first);
        conn_make_ready(k);
    }
    sim_leave(c->sim);
    return 0;
}

uint64_t sim_log_records(struct sim_container *c)
{
    uint64_t head;

    sim_enter(c->sim);
    head = container_head(c);
    sim_leave_unchanged(c->sim);
    return head;
}

void sim_container_get_stats(struct sim_container *c, struct sim_container_stats *ret)
{
    sim_enter(c->sim);
    *ret = c->stats;
    sim_leave_unchanged(c->sim);
}
