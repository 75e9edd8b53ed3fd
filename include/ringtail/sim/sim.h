/*
 * A simulated Docker Engine on a unix socket: what `ringtail-sim` runs and what the tests script.
 *
 * It speaks ping, version, list, inspect, events and logs as Engines 20.10 to 28.5 were measured
 * to, and misbehaves on demand. It never reads anything of a real Engine and keeps nothing on disk
 * but its socket.
 *
 * One thread of its own serves all connections. Every function here may be called from any thread;
 * calls take effect in the order in which they return, and before the Engine's next write.
 * Functions that can fail return 0 or a negative errno. A container's handle is valid until
 * sim_destroy, also after its removal. Two exceptions to "any thread": sim_create and sim_destroy
 * are called by the owner alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

struct sim;
struct sim_container;

#define SIM_ID_LEN 64
#define SIM_PART_BYTES 16384 /* the Engine cuts longer lines into parts of exactly this size */

/** Which Engine it is like: API range, headers, order of events, filters, quirks. */
enum sim_engine { SIM_ENGINE_28_5, SIM_ENGINE_26_1, SIM_ENGINE_20_10 };

enum sim_stream { SIM_STDOUT = 1, SIM_STDERR = 2 };

struct sim_options {
    const char *socket_path; /* needed; an existing socket there is replaced */
    enum sim_engine engine;
    const char *api_newest; /* "1.51"; NULL: the engine's own */
    const char *api_oldest; /* "1.24"; NULL: the engine's own */
    bool bulk;              /* many records per write(2), up to 64 KiB, instead of one */
    bool scripted_clock; /* time stands at clock_start_ns until sim_clock_advance/set; else the wall
                            clock */
    int64_t clock_start_ns; /* 0: 2026-01-01T00:00:00Z */
    uint64_t seed;          /* of ids and of shares of events; the same seed gives the same */
};

/** Opens the socket and starts the thread: clients can connect once it returns. -errno of bind and
 * so on. */
int sim_create(const struct sim_options *options, struct sim **ret);

/** Ends the thread, closes everything, removes the socket, frees all containers. NULL is fine. */
struct sim *sim_destroy(struct sim *sim);

/** "unix://" and the path, for --engine. Lives as long as the sim. */
const char *sim_url(const struct sim *sim);
const char *sim_socket_path(const struct sim *sim);

/** The Engine's time: the wall clock or the scripted one. */
int64_t sim_now_ns(struct sim *sim);
void sim_clock_set(struct sim *sim, int64_t now_ns); /* scripted clock only; backwards is allowed */
void sim_clock_advance(struct sim *sim, int64_t by_ns); /* scripted clock only */

/* ---- Containers ---- */

enum sim_state {
    SIM_RUNNING, /* first, so that a zeroed spec is a running container */
    SIM_CREATED,
    SIM_PAUSED,
    SIM_RESTARTING, /* exited, waits for its restart policy */
    SIM_EXITED,
    SIM_REMOVING, /* logs answer 409 */
    SIM_GONE,     /* removed: 404 */
};

struct sim_pair {
    const char *key, *value;
};

/**
 * Lines made up on the fly: nothing is stored, so any length of log costs nothing. Line n (from 0)
 * of a container is a pure function of n, of the name the container was added with, and of these
 * fields; see sim_generated_line. Numbering and timestamps go on over restarts of the container.
 *
 * With a rate, line n exists once the Engine's clock has reached its timestamp. A firehose has
 * written what its furthest follower has read, and stands still while nobody follows.
 */
struct sim_generator {
    double lines_per_s;      /* 0 and no firehose: only lines_before exist */
    bool firehose;           /* as fast as it is read */
    uint64_t lines_before;   /* exist already at the container's first start */
    uint64_t lines;          /* total, lines_before included; 0: without end */
    bool exit_at_end;        /* the container exits (code 0) after the last line; else it idles */
    uint32_t line_bytes;     /* without the newline; 0: 120; raised where the head needs more */
    uint32_t stderr_percent; /* exactly so many of every 100 lines, spread evenly */
    bool quotes;             /* quote-dense, JSON-like padding */
    uint32_t long_every;     /* every so-manieth line (n % long_every == long_every - 1) … */
    uint32_t long_bytes;     /* … has this length instead */
    int64_t
        interval_ns; /* between timestamps; 0: from the rate; 4000 for a firehose or without rate */
};

struct sim_spec {
    const char *name;  /* NULL: "sim-<number>" */
    const char *id;    /* 64 hex digits; NULL: made up */
    const char *image; /* NULL: "bb:latest" */
    const struct sim_pair *labels;
    size_t labels_count;
    bool tty;
    const char
        *log_driver; /* NULL: "json-file"; "none" answers logs with 501, "journald" with 500 */
    const struct sim_pair *log_options;
    size_t log_options_count;
    enum sim_state state;
    int64_t started_at_ns;                 /* 0: now */
    bool silent;                           /* existed before: no events for adding it */
    const struct sim_generator *generator; /* NULL: lines come from sim_line and its like; copied */
};

/** Adds a container (events: create, and start when its state is running). -EEXIST: name or id is
 * in use. */
int sim_container_add(struct sim *sim, const struct sim_spec *spec, struct sim_container **ret);

/** A running container with default settings; asserts success, for tests. */
struct sim_container *sim_add(struct sim *sim, const char *name);

/** NULL when there is none (removed ones are not found). */
struct sim_container *sim_container_find(struct sim *sim, const char *name_or_id);

const char *sim_container_id(const struct sim_container *c);
enum sim_state sim_container_state(struct sim_container *c);
int64_t sim_container_started_at_ns(struct sim_container *c);

/**
 * The handle is not used any more: its memory goes once the container is removed and no connection
 * is on it. For programs that run for long; tests need not.
 */
void sim_container_release(struct sim_container *c);

/** Events below are those that the Engine emits, in its version's order. -EINVAL: not in that
 * state. */
int sim_container_start(struct sim_container *c); /* start */
int sim_container_exit(struct sim_container *c,
                       int code); /* by itself: die; followers get the last chunk */
int sim_container_stop(
    struct sim_container *c); /* docker stop: kill, stop, die (20.10: die, stop) */
int sim_container_crash(struct sim_container *c, int code); /* die; then RESTARTING until start */
int sim_container_restart(struct sim_container *c);         /* stop, start, restart */
int sim_container_pause(struct sim_container *c);           /* a generator stands still */
int sim_container_unpause(struct sim_container *c);
int sim_container_rename(struct sim_container *c, const char *name); /* -EEXIST */
int sim_container_begin_removal(
    struct sim_container *c); /* REMOVING: ends it if it runs; no destroy yet */
int sim_container_remove(struct sim_container *c); /* rm -f: kill, die if it ran; destroy */

/**
 * Removes the container and adds one with the same name and a new id. `spec` may be NULL (as
 * before, without its log); its name is ignored.
 */
int sim_container_recreate(struct sim_container *c, const struct sim_spec *spec,
                           struct sim_container **ret);

/* ---- Logs ---- */

/**
 * One Engine record, exactly as given: no newline is added, nothing is split. ts_ns 0: the Engine's
 * time, moved on by at least 1 ns from the stream's last record (unless the clock went back by more
 * than a second). `stream` of a TTY container is ignored. Works in every state but GONE. -EINVAL
 * for a generator's container.
 */
int sim_log(struct sim_container *c, enum sim_stream stream, int64_t ts_ns, const void *bytes,
            size_t len);

/**
 * One line as the Engine stores it: with its newline (`\r\n` on a TTY), in parts of SIM_PART_BYTES
 * of one timestamp. 20.10 with the driver `local` leaves out the newline of a line in parts, as it
 * does.
 */
int sim_line(struct sim_container *c, enum sim_stream stream, int64_t ts_ns, const char *text);
int sim_line_bytes(struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                   const void *bytes, size_t len);
int sim_linef(struct sim_container *c, enum sim_stream stream, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * What the process in the container writes: records arise at each newline and each SIM_PART_BYTES;
 * what is left without a newline becomes a record when the container exits. Timestamps are the
 * Engine's time.
 */
int sim_write(struct sim_container *c, enum sim_stream stream, const void *bytes, size_t len);

/** Log rotation drops the oldest `records`: later requests do not find them, open followers that
 * are past go on. */
int sim_log_drop_oldest(struct sim_container *c, uint64_t records);

/** Every open follow of the container goes back `records` and delivers them again (20.10 at a
 * rotation). */
int sim_log_jump_back(struct sim_container *c, uint64_t records);

/**
 * Followers do not get an unterminated last record at the exit; later requests do. While it is on,
 * such a record waits for the next one. On by default for 20.10 only.
 */
void sim_set_hold_back(struct sim *sim, bool on);

/** How timestamps are written in front of lines. */
enum sim_timestamps {
    SIM_TIMESTAMPS_ENGINE,      /* 2026-01-01T00:00:00.000000000Z */
    SIM_TIMESTAMPS_NO_FRACTION, /* 2026-01-01T00:00:00Z: not even when there is one */
    SIM_TIMESTAMPS_SHORT,       /* trailing zeros of the fraction left out */
    SIM_TIMESTAMPS_OFFSET,      /* 2026-01-01T02:00:00.000000000+02:00 */
};
void sim_set_timestamps(struct sim *sim, enum sim_timestamps how);

/** Records the container has written so far, dropped ones included. */
uint64_t sim_log_records(struct sim_container *c);

/* ---- Generated lines, for checkers ---- */

/**
 * Line n without its newline: `c=<name> s=<o|e> n=<n> <padding>`; the padding fills up to the
 * line's length. On a TTY `s` is `o`. Returns its length; writes at most `size` bytes.
 */
size_t sim_generated_line(const struct sim_generator *g, const char *name, uint64_t n, char *out,
                          size_t size);

/** Reads the head of such a line. 0, or -EINVAL when it is none. */
int sim_generated_parse(struct slice line, struct slice *ret_name, enum sim_stream *ret_stream,
                        uint64_t *ret_n);

/* ---- Events ---- */

/** What happens to events on their way. Shares are in percent and drawn from the sim's seed. */
struct sim_event_faults {
    uint32_t drop_next; /* so many next events never come, not even as history */
    uint32_t drop_percent;
    uint32_t duplicate_percent;
    uint32_t delay_percent; /* come late, by delay_ms */
    uint32_t delay_ms;
    uint32_t reorder_percent; /* come after the next event */
};

/** Replaces all event faults; NULL ends them (delayed events still come). */
void sim_set_event_faults(struct sim *sim, const struct sim_event_faults *faults);

/** Sends and remembers any event text: one JSON object without newline. time_ns is for `since` and
 * `until`. */
int sim_emit_event(struct sim *sim, const char *json, int64_t time_ns);

/** An event of a container that happened to nobody: `action` as given ("oom", "exec_start: sh"). */
int sim_emit_container_event(struct sim_container *c, const char *action);

/* ---- Faults ---- */

enum sim_request_kind {
    SIM_REQUEST_ANY, /* in faults and sums; never in a record of a request */
    SIM_REQUEST_PING,
    SIM_REQUEST_VERSION,
    SIM_REQUEST_LIST,
    SIM_REQUEST_INSPECT,
    SIM_REQUEST_EVENTS,
    SIM_REQUEST_LOGS,
    SIM_REQUEST_OTHER,
    SIM_REQUEST_KINDS_COUNT,
};

/** What `bytes` of a cut or stall counts. */
enum sim_bytes {
    SIM_BYTES_WIRE,     /* of the body as it is sent, chunk heads included */
    SIM_BYTES_BODY,     /* of the body after removal of the chunks */
    SIM_BYTES_RESPONSE, /* of the whole response, from its status line on */
};

enum sim_fault_kind {
    SIM_FAULT_REPLY,     /* status and body (and content_type) instead of the real answer */
    SIM_FAULT_DELAY,     /* the head comes delay_ms late (the log position is taken then, too) */
    SIM_FAULT_NO_ANSWER, /* the request is read and never answered */
    SIM_FAULT_STALL,     /* silence after `bytes`, without EOF, whatever the container writes */
    SIM_FAULT_CUT, /* the connection is closed after exactly `bytes`; with `reset`, ECONNRESET */
    SIM_FAULT_ENGINE_ERROR, /* logs: after `records`, a frame of type 3 with `body`, then the last
                               chunk, or EOF if `eof` */
    SIM_FAULT_JUMP_BACK, /* logs: after `records` have been sent, go back `bytes` records, once per
                            stream */
    SIM_FAULT_SPLIT,   /* every write(2) has at most `bytes`; `paced`: the next only after the peer
                          has read */
    SIM_FAULT_RECHUNK, /* chunks of `bytes` whatever the frames; 0: all there is in one chunk */
    SIM_FAULT_NO_API_VERSION, /* the header Api-Version is left out */
    SIM_FAULT_KINDS_COUNT,
};

/**
 * Faults of different kinds apply together; of one kind the first that was added counts.
 * `container` limits it to inspect and logs of that container.
 */
struct sim_fault {
    enum sim_fault_kind kind;
    enum sim_request_kind on;
    struct sim_container *container; /* NULL: any */
    uint32_t skip;                   /* let so many matching requests pass first */
    uint32_t times;                  /* 0: until cleared */
    int status;
    const char *body;         /* copied */
    const char *content_type; /* NULL: application/json */
    uint32_t delay_ms;
    uint64_t bytes;
    enum sim_bytes count;
    uint64_t records;
    bool reset, eof, paced;
};

/** Takes effect for requests that arrive from now on. ret_id may be NULL. */
int sim_fault_add(struct sim *sim, const struct sim_fault *fault, uint64_t *ret_id);

/** 0 clears all. Responses under way keep theirs; those that NO_ANSWER or a stall holds stay
 * silent. */
void sim_fault_clear(struct sim *sim, uint64_t id);

/** How many requests the fault has hit (also after it has run out or was cleared). */
uint64_t sim_fault_hits(struct sim *sim, uint64_t id);

/** Faults of open follows, at once: all of the container's (NULL: all containers'). Return how many
 * there were. */
int sim_follow_cut(struct sim *sim,
                   struct sim_container *c); /* EOF without last chunk, after what was sent */
int sim_follow_stall(struct sim *sim, struct sim_container *c); /* silence from now on */

/** Closes all open /events responses without last chunk. Returns how many there were. */
int sim_events_cut(struct sim *sim);

/* ---- The Engine itself ---- */

enum sim_stop {
    SIM_STOP_KILL,            /* SIGKILL: EOF everywhere, the socket file stays: ECONNREFUSED */
    SIM_STOP_LIVE_RESTORE,    /* EOF everywhere, the socket file is removed: ENOENT */
    SIM_STOP_WITH_CONTAINERS, /* containers exit first (last chunk, die events), then the same */
};

/** -EALREADY when it is down. Containers go on writing unless they are stopped. */
int sim_engine_stop(struct sim *sim, enum sim_stop how);

/** The event history is gone, as it is with a real Engine, unless keep_events. -EALREADY when it is
 * up. */
int sim_engine_start(struct sim *sim, bool keep_events);

/** A new socket under the same path; open connections of the old one go on. */
int sim_socket_replace(struct sim *sim);

/** While on, nothing is accepted and the backlog is full: a non-blocking connect gets EAGAIN. */
int sim_listen_full(struct sim *sim, bool on);

/* ---- Observation ---- */

struct sim_stats {
    uint64_t requests[SIM_REQUEST_KINDS_COUNT]; /* [SIM_REQUEST_ANY]: the sum */
    uint64_t requests_not_get;                  /* of any other method, which change something */
    uint64_t connections_accepted;
    uint64_t connections_now;
    uint64_t follows_now; /* logs?follow=1 responses that are open, stalled ones included */
    uint64_t follows_max;
    uint64_t event_streams_now;
    uint64_t events_emitted;
    uint64_t events_lost;  /* to subscribers that did not read (1024 queued) */
    uint64_t records_sent; /* over all log responses */
    uint64_t bytes_sent;   /* everything, heads included */
    uint64_t writes;       /* write(2) calls that sent something */
    uint64_t records_old;  /* see struct sim_request */
};
void sim_get_stats(struct sim *sim, struct sim_stats *ret);

struct sim_container_stats {
    uint64_t inspect_requests;
    uint64_t logs_requests;
    uint64_t follows_now;
    uint64_t follows_max;
    uint64_t follow_gaps; /* times that its last follow ended */
    uint64_t records_sent;
    uint64_t body_bytes_sent; /* frames or raw bytes, without chunk heads */
    uint64_t records_old;
};
void sim_container_get_stats(struct sim_container *c, struct sim_container_stats *ret);

#define SIM_REQUEST_TARGET_MAX 512

/** A request as it came. The last 4096 are remembered. */
struct sim_request {
    enum sim_request_kind kind;
    struct sim_container *container; /* of inspect and logs; NULL when there is none */
    int64_t at_mono_ns;
    int status; /* 0: not answered (yet) */
    char method[8];
    char target[SIM_REQUEST_TARGET_MAX]; /* path and query, cut at this size */
    uint64_t
        records_old; /* logs: records that existed already and that the Engine had to go through */
};

/**
 * Copies the newest `count` (at most) matching requests, oldest first. kind ANY and container NULL
 * match all. Returns how many it copied.
 */
size_t sim_requests(struct sim *sim, enum sim_request_kind kind, const struct sim_container *c,
                    struct sim_request *ret, size_t count);

/**
 * Waits until pred(ctx) is true; it is called without locks, after every change. 0 or -ETIMEDOUT.
 */
int sim_wait(struct sim *sim, bool (*pred)(void *ctx), void *ctx, int64_t timeout_ms);

/** Exactly n follows of the container (NULL: of all) are open. From then on they get what is
 * logged. */
int sim_wait_follows(struct sim *sim, struct sim_container *c, uint64_t n, int64_t timeout_ms);

/** At least n requests of the kind came since the start. */
int sim_wait_requests(struct sim *sim, enum sim_request_kind kind, uint64_t n, int64_t timeout_ms);

/** The container has at least one open follow, and each has been sent all records and its client
 * has read them. */
int sim_wait_caught_up(struct sim_container *c, int64_t timeout_ms);

/** At least n event streams are open. */
int sim_wait_event_streams(struct sim *sim, uint64_t n, int64_t timeout_ms);

/** At most n connections are open. */
int sim_wait_connections_at_most(struct sim *sim, uint64_t n, int64_t timeout_ms);
