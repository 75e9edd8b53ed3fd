/*
 * One connection: reading a request, and how a response's bytes leave. What is answered is api.c's;
 * this file knows chunks, limits, cuts and turns.
 *
 * Fast way: a record is one chunk is one send(2), straight from a template or the scratch buffer;
 * only what the socket did not take is kept in `out`. Slow way (`shaped`): everything passes
 * through `out`, so that it can be cut to size. A descriptor is registered with epoll once,
 * edge-triggered for both directions, as Go's runtime does it.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ringtail/base/clock.h"

#define REQUEST_MAX 16384
#define TURN_RECORDS 64
#define TURN_RECORDS_BULK 4096
#define OUT_KEPT_BYTES 4096
#define SHAPED_STEP_BYTES 65536
#define RECHUNK_WHOLE_MAX (1024 * 1024)
#define BULK_KEEP_FOLLOWS                                                                          \
    256 /* with more, what a full socket refused is made again instead of kept */
#define PACE_RETRY_NS NSEC_PER_MSEC

void conn_make_ready(struct conn *k)
{
    if (!k->dead && !list_is_linked(&k->ready_link))
        list_append(&k->sim->ready, &k->ready_link);
}

void conn_set_deadline(struct conn *k, int64_t mono_ns)
{
    k->deadline_mono_ns = mono_ns;
    if (!list_is_linked(&k->timed_link))
        list_append(&k->sim->timed, &k->timed_link);
}

static void conn_clear_deadline(struct conn *k)
{
    list_remove(&k->timed_link);
}

/** Ends its being a follow or event stream, and lets go of what the response used. */
static void conn_detach(struct conn *k)
{
    struct sim *sim = k->sim;

    if (list_is_linked(&k->follow_link)) {
        list_remove(&k->follow_link);
        k->container->stats.follows_now--;
        k->container->stats.follow_gaps += k->container->stats.follows_now == 0;
        sim->stats.follows_now--;
    }
    if (list_is_linked(&k->events_link)) {
        list_remove(&k->events_link);
        sim->stats.event_streams_now--;
    }
    if (k->container)
        container_unuse(TAKE_PTR(k->container));
    while (k->queue_count > 0) {
        event_unref(k->queue[k->queue_first++]);
        k->queue_count--;
    }
    k->queue_first = 0;
    filters_finish(&k->filters);
    buf_reset(&k->rechunked);
}

void conn_close(struct conn *k)
{
    struct sim *sim = k->sim;

    if (k->dead)
        return;
    conn_detach(k);
    conn_clear_deadline(k);
    list_remove(&k->ready_link);
    list_remove(&k->link);
    list_append(&sim->graveyard, &k->link);
    k->dead = true;
    /* close alone would leave it there while a child that is being forked holds a copy. */
    (void)epoll_ctl(sim->epoll_fd, EPOLL_CTL_DEL, k->fd, NULL);
    (void)close(k->fd);
    k->fd = -EBADF;
    sim->stats.connections_now--;
    if (sim->accept_failed) {
        sim->accept_failed = false;
        conn_accept_all(sim);
    }
}

void conn_free(struct conn *k)
{
    free(k->req.target);
    free(k->queue);
    buf_finish(&k->out);
    buf_finish(&k->rechunked);
    free(k);
}

static void conn_create(struct sim *sim, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    struct conn *k = calloc(1, sizeof *k);

    ev.data.ptr = k;
    if (!k || epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        free(k);
        (void)close(fd); /* the client sees a connection that ends at once */
        return;
    }
    k->sim = sim;
    k->fd = fd;
    list_init(&k->ready_link);
    list_init(&k->timed_link);
    list_init(&k->events_link);
    list_init(&k->follow_link);
    list_append(&sim->conns, &k->link);
    sim->stats.connections_accepted++;
    sim->stats.connections_now++;
}

/** Fillers of a full backlog have an abstract name, clients have none. */
static bool is_filler(const struct sockaddr_un *peer, socklen_t len)
{
    return len > sizeof(sa_family_t) && peer->sun_path[0] == '\0';
}

void conn_accept_all(struct sim *sim)
{
    while (sim->accepting && sim->listen_fd >= 0) {
        struct sockaddr_un peer;
        socklen_t len = sizeof peer;
        int fd =
            accept4(sim->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            sim->accept_failed = errno == EMFILE || errno == ENFILE;
            return;
        }
        if (is_filler(&peer, len))
            (void)close(fd);
        else
            conn_create(sim, fd);
    }
}

void conn_event(struct conn *k, uint32_t epoll_events)
{
    if (k->dead)
        return;
    if (epoll_events & (EPOLLHUP | EPOLLERR)) {
        conn_close(k);
        return;
    }
    if (epoll_events & EPOLLRDHUP) {
        k->peer_done = true;
        if (k->state == CONN_SILENT || k->state == CONN_DELAYED) {
            conn_close(k);
            return;
        }
    }
    if (epoll_events & EPOLLOUT)
        k->blocked = false;
    conn_make_ready(k);
}

void conn_stall(struct conn *k)
{
    k->halted = k->stalled = true;
    k->state = CONN_SILENT;
    conn_clear_deadline(k);
}

static bool peer_has_read_all(const struct conn *k)
{
    int queued = 0;

    /* The kernel counts one more while it frees a buffer. */
    return ioctl(k->fd, SIOCOUTQ, &queued) == 0 && queued <= 1;
}

bool conn_is_caught_up(const struct conn *k)
{
    return k->state == CONN_SENDING && !k->halted && k->out_sent == k->out.len &&
           k->pos >= container_follow_head(k->container) && peer_has_read_all(k);
}

/* ---- Sending ---- */

/** The count, 0 when the socket is full, or -errno. */
static ssize_t conn_send(struct conn *k, const char *data, size_t len)
{
    ssize_t n = send(k->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN)
            return -errno;
        k->blocked = true;
        return 0;
    }
    k->sim->stats.writes++;
    k->sim->stats.bytes_sent += (uint64_t)n;
    return n;
}

/** 1: all has left. 0: it waits for the peer. Negative: the connection is dead. */
static int conn_flush(struct conn *k)
{
    while (k->out_sent < k->out.len) {
        size_t len = k->out.len - k->out_sent;
        ssize_t n;

        if (k->paced && !peer_has_read_all(k)) {
            conn_set_deadline(k, clock_mono_ns() + PACE_RETRY_NS);
            return 0;
        }
        if (k->split_bytes)
            len = MIN(len, k->split_bytes);
        n = conn_send(k, k->out.data + k->out_sent, len);
        if (n < 0) {
            conn_close(k);
            return -1;
        }
        if (n == 0)
            return 0;
        k->out_sent += (size_t)n;
    }
    k->out_sent = 0;
    if (k->out.cap > OUT_KEPT_BYTES)
        buf_finish(&k->out);
    else
        buf_reset(&k->out);
    return 1;
}

static size_t limit_apply(struct conn *k, struct limit *l, enum conn_part part, size_t len,
                          bool stall)
{
    bool counts = l->count == SIM_BYTES_RESPONSE ||
                  (l->count == SIM_BYTES_WIRE && part != PART_HEAD) ||
                  (l->count == SIM_BYTES_BODY && part == PART_DATA);

    if (!l->on || !counts || k->halted)
        return len;
    if (len >= l->left) {
        len = (size_t)l->left;
        k->halted = true;
        k->stalled = stall;
    }
    l->left -= len;
    return len;
}

static void wire_put(struct conn *k, enum conn_part part, const void *data, size_t len)
{
    if (k->halted)
        return;
    if (k->shaped) {
        /* The one that is reached first decides; the other's count of a shorter piece does not
         * matter then. */
        len = limit_apply(k, &k->cut, part, len, false);
        len = limit_apply(k, &k->stall, part, len, true);
    }
    if (buf_append(&k->out, data, len) < 0)
        k->halted = true; /* without memory, the response ends here */
}

/** A limit that is reached before the first byte it counts. */
static void limits_begin(struct conn *k, bool after_head)
{
    struct limit *const limits[] = {&k->cut, &k->stall};

    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        bool now = after_head ? limits[i]->count != SIM_BYTES_RESPONSE
                              : limits[i]->count == SIM_BYTES_RESPONSE;

        if (limits[i]->on && limits[i]->left == 0 && now && !k->halted) {
            k->halted = true;
            k->stalled = i == 1;
        }
    }
}

void conn_put_head(struct conn *k, struct slice head)
{
    if (k->shaped)
        limits_begin(k, false);
    wire_put(k, PART_HEAD, head.data, head.len);
    if (k->shaped)
        limits_begin(k, true);
}

static void emit_chunk(struct conn *k, struct slice data)
{
    char head[20];
    int len;

    if (data.len == 0)
        return;
    if (!k->chunked) {
        wire_put(k, PART_DATA, data.data, data.len);
        return;
    }
    len = snprintf(head, sizeof head, "%zx\r\n", data.len);
    wire_put(k, PART_CHUNKING, head, (size_t)len);
    wire_put(k, PART_DATA, data.data, data.len);
    wire_put(k, PART_CHUNKING, "\r\n", 2);
}

/** Chunks of the wanted size; with `all`, also the shorter rest. */
static void rechunk_emit(struct conn *k, bool all)
{
    size_t done = 0, most = k->rechunk_bytes ? k->rechunk_bytes : RECHUNK_WHOLE_MAX;

    while (k->rechunked.len - done >= most || (all && done < k->rechunked.len)) {
        size_t len = MIN(most, k->rechunked.len - done);

        emit_chunk(k, slice_of(k->rechunked.data + done, len));
        done += len;
    }
    buf_consume(&k->rechunked, done);
}

void conn_put_body(struct conn *k, struct slice data)
{
    if (k->req.head_only || k->halted)
        return;
    if (!k->rechunk || !k->chunked) {
        emit_chunk(k, data);
        return;
    }
    if (buf_append_slice(&k->rechunked, data) < 0)
        k->halted = true;
    rechunk_emit(k, false);
}

void conn_put_last(struct conn *k)
{
    if (k->rechunk)
        rechunk_emit(k, true);
    if (k->chunked && !k->req.head_only)
        wire_put(k, PART_CHUNKING, "0\r\n\r\n", 5);
    k->finished = true;
}

/* ---- Logs ---- */

enum produced {
    PRODUCED_OUT,    /* something is in `out`, or the response has ended */
    PRODUCED_PARKED, /* nothing to do until something happens */
    PRODUCED_TURN,   /* there is more, after the others had their turn */
    PRODUCED_DEAD,
};

void conn_begin_logs(struct conn *k)
{
    struct sim *sim = k->sim;
    struct sim_container *c = k->container;

    k->body = BODY_LOGS;
    k->trip_after = WITHOUT_END;
    k->sent_records = 0;
    if (k->engine_error)
        k->trip_after = k->engine_error->spec.records;
    if (k->jump_back)
        k->trip_after = MIN(k->trip_after, k->jump_back->spec.records);
    if (k->follow) {
        list_append(&c->follows, &k->follow_link);
        c->stats.follows_now++;
        c->stats.follows_max = MAX(c->stats.follows_now, c->stats.follows_max);
        sim->stats.follows_now++;
        sim->stats.follows_max = MAX(sim->stats.follows_now, sim->stats.follows_max);
    }
}

/** The wire bytes of a record: body_len of them are body, from body_at on. Good until the next
 * call. */
struct wire_record {
    const char *data;
    size_t len;
    size_t body_at, body_len;
};

static struct template *conn_template(struct conn *k, uint64_t line)
{
    const struct gen *g = k->container->gen;
    struct template **t;
    enum sim_stream stream;

    if (g->parts_short != 1 || gen_line_bytes(g, line) != g->spec.line_bytes ||
        k->sim->timestamps != SIM_TIMESTAMPS_ENGINE)
        return NULL;
    stream = gen_stream_of(g, line);
    t = &k->container->templates[(stream - 1) * 4 + k->with_stamps * 2 + k->chunked];
    if (!*t) {
        *t = malloc(sizeof **t);
        if (*t && template_init(*t, g, stream, k->chunked, k->with_stamps) < 0) {
            free(*t);
            *t = NULL;
        }
    }
    return *t;
}

static size_t stamp_write(enum sim_timestamps how, int64_t ts_ns, char out[STAMP_ROOM])
{
    size_t len = TIMESTAMP_LEN;

    timestamp_format(out, how == SIM_TIMESTAMPS_OFFSET ? ts_ns + 7200 * NSEC_PER_SEC : ts_ns);
    switch (how) {
    case SIM_TIMESTAMPS_ENGINE:
        break;
    case SIM_TIMESTAMPS_NO_FRACTION:
        len = 20;
        out[19] = 'Z';
        break;
    case SIM_TIMESTAMPS_SHORT:
        for (len--; out[len - 1] == '0'; len--)
            continue;
        len -= out[len - 1] == '.';
        out[len++] = 'Z';
        break;
    case SIM_TIMESTAMPS_OFFSET:
        memcpy(out + len - 1, "+02:00", 6);
        len += 5;
        break;
    }
    out[len++] = ' ';
    return len;
}

/** 0 or -ENOMEM. */
static int record_to_wire(struct conn *k, const struct record_view *v, struct wire_record *ret)
{
    struct buf *b = &k->sim->scratch;
    char stamp[STAMP_ROOM], chunk[20];
    size_t stamp_len = k->with_stamps ? stamp_write(k->sim->timestamps, v->ts_ns, stamp) : 0;
    size_t payload = stamp_len + v->len, body = payload + (k->container->tty ? 0 : 8),
           chunk_len = 0;

    buf_reset(b);
    if (buf_reserve(b, body + sizeof chunk + 2) < 0)
        return -ENOMEM;
    if (k->chunked)
        chunk_len = (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n", body);
    (void)buf_append(b, chunk, chunk_len); /* there is room for all of it */
    if (!k->container->tty) {
        const unsigned char head[8] = {(unsigned char)v->stream,
                                       0,
                                       0,
                                       0,
                                       (unsigned char)(payload >> 24),
                                       (unsigned char)(payload >> 16),
                                       (unsigned char)(payload >> 8),
                                       (unsigned char)payload};

        (void)buf_append(b, head, sizeof head);
    }
    (void)buf_append(b, stamp, stamp_len);
    (void)buf_append(b, v->data, v->len);
    if (k->chunked)
        (void)buf_append(b, "\r\n", 2);
    *ret = (struct wire_record){
        .data = b->data, .len = b->len, .body_at = chunk_len, .body_len = body};
    return 0;
}

enum next { NEXT_RECORD, NEXT_SKIP, NEXT_END, NEXT_FAIL };

/** What the record at k->pos becomes on the wire, if it is wanted at all. */
static enum next logs_next(struct conn *k, struct wire_record *ret)
{
    struct sim_container *c = k->container;
    struct record_view v = {0};
    uint64_t line = 0;

    if (c->gen) {
        uint32_t part;

        line = gen_line_of(c->gen, k->pos, &part);
        v.ts_ns = container_line_ts(c, line);
        v.stream = gen_stream_of(c->gen, line);
    } else {
        container_record(c, k->pos, &v);
    }
    if (v.ts_ns > k->until_ns)
        return NEXT_END;
    if (k->since_open) {
        if (v.ts_ns < k->since_ns)
            return NEXT_SKIP;
        k->since_open = k->each_since;
    }
    if (!k->want[v.stream])
        return NEXT_SKIP;
    if (c->gen) {
        struct template *t = conn_template(k, line);

        if (t) {
            template_set(t, line, v.ts_ns);
            ret->data = t->data;
            ret->len = t->len;
            ret->body_at = t->stamp_at - (c->tty ? 0 : 8);
            ret->body_len = t->len - ret->body_at - (k->chunked ? 2 : 0);
            return NEXT_RECORD;
        }
        container_record(c, k->pos, &v);
    }
    return record_to_wire(k, &v, ret) < 0 ? NEXT_FAIL : NEXT_RECORD;
}

static void logs_count(struct conn *k, const struct wire_record *w)
{
    k->pos++;
    k->sent_records++;
    k->sim->stats.records_sent++;
    k->container->stats.records_sent++;
    k->container->stats.body_bytes_sent += w->body_len;
}

/** An engine error or a jump back is due. */
static void logs_trip(struct conn *k)
{
    const struct fault *error = k->engine_error, *jump = k->jump_back;

    k->trip_after = WITHOUT_END;
    if (jump && k->sent_records >= jump->spec.records) {
        k->pos =
            MAX(k->pos > jump->spec.bytes ? k->pos - jump->spec.bytes : 0, k->container->first);
        k->jump_back = NULL;
        if (error)
            k->trip_after = error->spec.records;
        return;
    }
    if (error && k->sent_records >= error->spec.records) {
        struct slice text = slice_str(error->body);
        const unsigned char head[8] = {3,
                                       0,
                                       0,
                                       0,
                                       (unsigned char)(text.len >> 24),
                                       (unsigned char)(text.len >> 16),
                                       (unsigned char)(text.len >> 8),
                                       (unsigned char)text.len};
        struct buf frame = {0};

        if ((k->container->tty || buf_append(&frame, head, sizeof head) == 0) &&
            buf_append_slice(&frame, text) == 0)
            conn_put_body(k, buf_slice(&frame));
        buf_finish(&frame);
        if (error->spec.eof) {
            if (k->rechunk)
                rechunk_emit(k, true);
            k->halted = true;
        } else {
            conn_put_last(k);
        }
        return;
    }
    k->trip_after = error ? error->spec.records : jump ? jump->spec.records : WITHOUT_END;
}

/** The slow way: records go into `out`, until there is a good piece of work there. */
static enum produced logs_produce_shaped(struct conn *k, uint64_t head)
{
    size_t step = k->rechunk && k->rechunk_bytes == 0 ? RECHUNK_WHOLE_MAX : SHAPED_STEP_BYTES;

    while (k->pos < head && !k->halted && k->sent_records < k->trip_after && k->out.len < step &&
           (k->rechunk_bytes > 0 || k->rechunked.len < step)) {
        struct wire_record w;

        switch (logs_next(k, &w)) {
        case NEXT_RECORD:
            conn_put_body(k, slice_of(w.data + w.body_at, w.body_len));
            logs_count(k, &w);
            break;
        case NEXT_SKIP:
            k->pos++;
            break;
        case NEXT_END:
            k->end = k->pos;
            return PRODUCED_TURN;
        case NEXT_FAIL:
            k->halted = true;
            break;
        }
    }
    /* Nothing may wait in a chunk that is not full when no more comes for now. */
    if (k->rechunk && (k->pos >= head || k->rechunk_bytes == 0))
        rechunk_emit(k, true);
    return k->halted || k->out.len ? PRODUCED_OUT : PRODUCED_TURN;
}

/** One record, one chunk, one send. */
static enum produced logs_produce_each(struct conn *k, uint64_t head)
{
    for (unsigned turn = 0;
         turn < TURN_RECORDS && k->pos < head && k->sent_records < k->trip_after;) {
        struct wire_record w;
        ssize_t n;

        switch (logs_next(k, &w)) {
        case NEXT_RECORD:
            break;
        case NEXT_SKIP:
            k->pos++;
            continue;
        case NEXT_END:
            k->end = k->pos;
            return PRODUCED_TURN;
        case NEXT_FAIL:
            conn_close(k);
            return PRODUCED_DEAD;
        }
        n = conn_send(k, w.data, w.len);
        if (n == 0)
            return PRODUCED_PARKED;
        if (n < 0 ||
            ((size_t)n < w.len && buf_append(&k->out, w.data + n, w.len - (size_t)n) < 0)) {
            conn_close(k);
            return PRODUCED_DEAD;
        }
        logs_count(k, &w);
        turn++;
        if (k->out.len)
            return PRODUCED_OUT;
    }
    return PRODUCED_TURN;
}

/** As many records as fit into one send. */
static enum produced logs_produce_bulk(struct conn *k, uint64_t head)
{
    char *room = k->sim->bulk_room;
    const uint64_t pos = k->pos, sent = k->sent_records;
    const struct sim_container_stats stats = k->container->stats;
    const uint64_t stats_records = k->sim->stats.records_sent;
    size_t fill = 0, rest;
    ssize_t n;

    for (unsigned turn = 0;
         turn < TURN_RECORDS_BULK && k->pos < head && k->sent_records < k->trip_after; turn++) {
        struct wire_record w;
        enum next next = logs_next(k, &w);

        if (next == NEXT_END)
            k->end = k->pos;
        if (next == NEXT_END || next == NEXT_FAIL)
            break;
        if (next == NEXT_SKIP) {
            k->pos++;
            continue;
        }
        if (w.len > BULK_BYTES - fill)
            break;
        memcpy(room + fill, w.data, w.len);
        fill += w.len;
        logs_count(k, &w);
    }
    if (fill == 0)
        return PRODUCED_TURN;
    n = conn_send(k, room, fill);
    if (n < 0) {
        conn_close(k);
        return PRODUCED_DEAD;
    }
    if (n == 0 && k->sim->stats.follows_now > BULK_KEEP_FOLLOWS) {
        k->pos = pos;
        k->sent_records = sent;
        k->container->stats = stats;
        k->sim->stats.records_sent = stats_records;
        return PRODUCED_PARKED;
    }
    rest = fill - (size_t)n;
    if (rest && buf_append(&k->out, room + n, rest) < 0) {
        conn_close(k);
        return PRODUCED_DEAD;
    }
    return rest ? PRODUCED_OUT : PRODUCED_TURN;
}

static enum produced logs_produce(struct conn *k)
{
    struct sim_container *c = k->container;
    uint64_t head = k->end != WITHOUT_END ? k->end : container_follow_head(c);
    enum produced r;

    k->pos = MAX(k->pos, c->first);
    if (k->sent_records >= k->trip_after) {
        logs_trip(k);
        return k->finished || k->halted ? PRODUCED_OUT : PRODUCED_TURN;
    }
    if (k->pos >= head) {
        if (k->end == WITHOUT_END)
            return PRODUCED_PARKED;
        conn_put_last(k);
        return PRODUCED_OUT;
    }
    if (k->shaped)
        r = logs_produce_shaped(k, head);
    else if (k->sim->bulk)
        r = logs_produce_bulk(k, head);
    else
        r = logs_produce_each(k, head);
    if (r != PRODUCED_DEAD && k->follow && c->gen && c->gen->spec.firehose)
        container_fire_taken(c, k->pos);
    return r;
}

/* ---- Events ---- */

void conn_begin_events(struct conn *k)
{
    k->body = BODY_EVENTS;
    list_append(&k->sim->event_conns, &k->events_link);
    k->sim->stats.event_streams_now++;
}

void conn_queue_event(struct conn *k, struct event *e)
{
    if (k->queue_count >= EVENT_QUEUE_MAX) {
        k->sim->stats.events_lost++;
        return;
    }
    if (k->queue_first + k->queue_count == k->queue_cap) {
        /* The live part moves to the front; room is doubled only if that was not enough. */
        size_t cap = k->queue_count * 2 > k->queue_cap || !k->queue_cap ? k->queue_cap * 2 + 16
                                                                        : k->queue_cap;
        struct event **grown;

        if (k->queue_count)
            memmove(k->queue, k->queue + k->queue_first, k->queue_count * sizeof(struct event *));
        k->queue_first = 0;
        grown = realloc(k->queue, cap * sizeof *grown);
        if (!grown) {
            k->sim->stats.events_lost++;
            return;
        }
        k->queue = grown;
        k->queue_cap = cap;
    }
    e->refs++;
    k->queue[k->queue_first + k->queue_count++] = e;
    conn_make_ready(k);
}

static enum produced events_produce(struct conn *k)
{
    struct event *e;

    if (k->queue_count == 0) {
        if (k->rechunked.len) {
            rechunk_emit(k, true);
            return PRODUCED_OUT;
        }
        if (k->until_ns != NEVER_NS) {
            int64_t left_ns = k->until_ns - sim_clock_ns(k->sim);

            if (left_ns <= 0) {
                conn_put_last(k);
                return PRODUCED_OUT;
            }
            if (!k->sim->scripted_clock)
                conn_set_deadline(k, clock_mono_ns() + left_ns);
        }
        return PRODUCED_PARKED;
    }
    e = k->queue[k->queue_first++];
    k->queue_count--;
    if (k->without_legacy && e->legacy_len) {
        /* The brace, and then what comes behind the members that newer APIs do not have. */
        struct buf *b = &k->sim->scratch;

        buf_reset(b);
        if (buf_append_char(b, '{') == 0 &&
            buf_append(b, e->text + 1 + e->legacy_len, e->len - 1 - e->legacy_len) == 0)
            conn_put_body(k, buf_slice(b));
    } else {
        conn_put_body(k, slice_of(e->text, e->len));
    }
    event_unref(e);
    return PRODUCED_OUT;
}

void conn_end_after_out(struct conn *k)
{
    if (k->state != CONN_SENDING) {
        conn_close(k);
        return;
    }
    k->close_after = true;
    if (k->body == BODY_EVENTS) {
        while (k->queue_count > 0)
            (void)events_produce(k); /* puts the next event into `out` */
        k->halted = true;
    }
    conn_make_ready(k);
}

/* ---- Requests ---- */

static bool header_is(struct slice line, const char *name, struct slice *ret_value)
{
    size_t len = strlen(name);

    if (line.len <= len || strncasecmp(line.data, name, len) != 0 || line.data[len] != ':')
        return false;
    line = slice_from(line, len + 1);
    while (line.len && *line.data == ' ')
        line = slice_from(line, 1);
    *ret_value = line;
    return true;
}

/**
 * Reads request line and headers of `head`, which ends with an empty line.
 * returns: the length of the request's body; -EBADMSG.
 */
static int64_t request_parse(struct slice head, struct request *req, struct slice *ret_method)
{
    const char *end = head.data + head.len, *eol = memmem(head.data, head.len, "\r\n", 2);
    const char *space = memchr(head.data, ' ', (size_t)(eol - head.data));
    const char *space2 = space ? memchr(space + 1, ' ', (size_t)(eol - space - 1)) : NULL;
    int64_t body = 0;

    if (!space2 || eol - space2 != 9 || memcmp(space2, " HTTP/1.", 8) != 0 || space2 == space + 1)
        return -EBADMSG;
    *ret_method = slice_of(head.data, (size_t)(space - head.data));
    req->target = strndup(space + 1, (size_t)(space2 - space - 1));
    if (!req->target)
        return -EBADMSG;
    req->http10 = space2[8] == '0';
    req->close = req->http10;
    req->head_only = slice_eq_str(*ret_method, "HEAD");
    for (const char *at = eol + 2; at < end - 2; at = eol + 2) {
        struct slice line, value;

        eol = memmem(at, (size_t)(end - at), "\r\n", 2);
        line = slice_of(at, (size_t)(eol - at));
        if (header_is(line, "Connection", &value))
            req->close =
                value.len == 5 && strncasecmp(value.data, "close", 5) == 0 ? true : req->close;
        else if (header_is(line, "Content-Length", &value))
            body = strtoll(value.data, NULL, 10);
    }
    return body;
}

static void request_remember(struct conn *k, struct slice method)
{
    struct sim *sim = k->sim;
    struct sim_request *entry;

    k->req.number = sim->requests_count++;
    entry = sim_request_at(sim, k->req.number);
    *entry = (struct sim_request){
        .kind = k->req.kind, .container = k->req.container, .at_mono_ns = clock_mono_ns()};
    snprintf(entry->method, sizeof entry->method, "%.*s",
             (int)MIN(method.len, sizeof entry->method - 1), method.data);
    snprintf(entry->target, sizeof entry->target, "%s", k->req.target);
    sim->stats.requests[SIM_REQUEST_ANY]++;
    sim->stats.requests[k->req.kind]++;
    sim->stats.requests_not_get += !slice_eq_str(method, "GET");
    if (k->req.container && k->req.kind == SIM_REQUEST_INSPECT)
        k->req.container->stats.inspect_requests++;
    if (k->req.container && k->req.kind == SIM_REQUEST_LOGS)
        k->req.container->stats.logs_requests++;
}

static void response_reset(struct conn *k)
{
    free(k->req.target);
    k->req = (struct request){0};
    k->chunked = k->close_after = k->finished = k->halted = k->stalled = k->shaped =
        k->no_api_version = false;
    k->reset = false;
    k->cut = k->stall = (struct limit){0};
    k->split_bytes = k->rechunk_bytes = 0;
    k->paced = k->rechunk = k->without_legacy = k->follow = false;
    k->reply = k->engine_error = k->jump_back = NULL;
    k->body = BODY_FIXED;
}

static void conn_answer(struct conn *k)
{
    k->state = CONN_SENDING;
    k->close_after = k->req.close;
    api_answer(k);
}

/** One request, if there is a whole one. True: it is being answered (or was dropped on purpose). */
static bool conn_read(struct conn *k)
{
    char room[REQUEST_MAX];
    struct slice method = {0};
    const char *blank;
    uint32_t delay_ms = 0;
    bool silent = false;
    size_t head_len;
    int64_t body;
    ssize_t n;

    if (k->no_read)
        return false;
    n = recv(k->fd, room, sizeof room, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            conn_close(k);
        return false;
    }
    blank = memmem(room, (size_t)n, "\r\n\r\n", 4);
    if (!blank) {
        if ((size_t)n == sizeof room || k->peer_done)
            conn_close(k);
        return false;
    }
    response_reset(k);
    head_len = (size_t)(blank - room) + 4;
    body = request_parse(slice_of(room, head_len), &k->req, &method);
    if (body < 0 || (size_t)body > sizeof room - head_len) {
        conn_close(k);
        return false;
    }
    if (head_len + (size_t)body > (size_t)n)
        return false;
    api_classify(k->sim, &k->req);
    if (!slice_eq_str(method, "GET") && !(k->req.head_only && k->req.kind == SIM_REQUEST_PING))
        k->req.kind = SIM_REQUEST_OTHER;
    request_remember(k, method);
    faults_take(k, &delay_ms, &silent);

    /* Data that was not read when a socket is closed makes the peer see a reset. */
    k->no_read = k->reset;
    (void)recv(k->fd, room, head_len + (size_t)body - k->reset,
               MSG_DONTWAIT); /* it is there: it was peeked at */
    if (silent) {
        k->state = CONN_SILENT;
    } else if (delay_ms > 0) {
        k->state = CONN_DELAYED;
        conn_set_deadline(k, clock_mono_ns() + delay_ms * NSEC_PER_MSEC);
    } else {
        conn_answer(k);
    }
    return true;
}

void conn_deadline(struct conn *k)
{
    conn_clear_deadline(k);
    if (k->state == CONN_DELAYED)
        conn_answer(k);
    conn_make_ready(k);
}

/* ---- Turns ---- */

/** The response is out. True: the connection lives on. */
static bool conn_finish_response(struct conn *k)
{
    conn_detach(k);
    conn_clear_deadline(k);
    if (k->close_after) {
        conn_close(k);
        return false;
    }
    k->state = CONN_IDLE;
    return true;
}

bool conn_run(struct conn *k)
{
    while (!k->dead && !k->blocked) {
        enum produced r = PRODUCED_PARKED;

        if (k->state == CONN_SILENT || k->state == CONN_DELAYED || conn_flush(k) <= 0)
            return false;
        if (k->halted) {
            if (k->stalled)
                k->state = CONN_SILENT;
            else
                conn_close(k);
            return false;
        }
        if (k->state == CONN_IDLE) {
            if (!conn_read(k))
                return false;
            continue;
        }
        if (k->finished) {
            if (!conn_finish_response(k))
                return false;
            continue;
        }
        /* Who has shut down its side is not written to any more; that is how the Engine takes it.
         */
        if (k->peer_done) {
            conn_close(k);
            return false;
        }
        switch (k->body) {
        case BODY_FIXED:
            assert(false); /* is finished when it is begun */
            break;
        case BODY_LOGS:
            r = logs_produce(k);
            break;
        case BODY_EVENTS:
            r = events_produce(k);
            break;
        }
        if (r == PRODUCED_TURN)
            return true;
        if (r != PRODUCED_OUT)
            return false;
    }
    return false;
}
