/*
 * What the files of the simulated Engine share. Everything here is guarded by sim->lock, and every
 * function of this header is called with it held. The public functions take it by sim_enter; the
 * thread holds it except while it waits in epoll_wait. Nothing here blocks.
 *
 * sim.c owns the thread, the socket and the faults; container.c containers and their logs;
 * generator.c lines made up on the fly; event.c events and their history; conn.c one connection and
 * how bytes leave; api.c what is answered; filter.c the filters of lists and events.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/base/slice.h"
#include "ringtail/base/table.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/sim/sim.h"

#define NEVER_NS INT64_MAX
#define WITHOUT_END UINT64_MAX
#define BULK_BYTES 65536
#define EVENT_RING 256
#define EVENT_QUEUE_MAX 1024
#define REQUESTS_KEPT 4096
#define STAMP_ROOM 40 /* the longest timestamp of any style, and its blank */

struct conn;
struct event;
struct fault;

struct version {
    unsigned major, minor;
};

/* ---- generator.c ---- */

/** A generator with its defaults filled in and what follows from them. Pure numbers. */
struct gen {
    struct sim_generator spec;
    char *name;
    bool tty;
    uint32_t parts_short, parts_long; /* records that a line becomes */
};

int gen_init(struct gen *g, const struct sim_generator *spec, const char *name, bool tty);
void gen_finish(struct gen *g);

uint64_t gen_records_before(const struct gen *g, uint64_t line);
uint64_t gen_line_of(const struct gen *g, uint64_t record, uint32_t *ret_part);
uint32_t gen_line_bytes(const struct gen *g, uint64_t line);
enum sim_stream gen_stream_of(const struct gen *g, uint64_t line);

/** Fills `out` with bytes [from, from + len) of line n's text; the line's newline is not part of
 * it. */
void gen_fill(const struct gen *g, uint64_t line, uint32_t from, uint32_t len, char *out);

/** One part of a line, with the newline where it belongs: at most SIM_PART_BYTES + 1 bytes. Returns
 * its length. */
uint32_t gen_part(const struct gen *g, uint64_t line, uint32_t part, char *out);

/** A whole chunk (or frame, or raw line) kept ready: only the timestamp and the number are written
 * anew. */
struct template
{
    char *data;
    uint32_t len;
    uint32_t stamp_at, text_at;
    bool with_stamp;
    int64_t stamp_s; /* the second that stands in it */
    char
        *text; /* bytes after the head's `n=`, as padding: what a number's field is restored from */
    uint32_t number_at;
};

int template_init(struct template *t, const struct gen *g, enum sim_stream stream, bool chunked,
                  bool with_stamp);
void template_finish(struct template *t);
void template_set(struct template *t, uint64_t line, int64_t ts_ns);

/* ---- container.c ---- */

struct record {
    int64_t ts_ns;
    char *data;
    uint32_t len;
    uint8_t stream;
    bool unterminated; /* no newline, and not a part that goes on */
};

/** From line `first` on, line n is stamped base_ns + (n - first) · interval. */
struct run {
    uint64_t first;
    int64_t base_ns;
};

struct sim_container {
    struct list link;
    struct table_link name_link, id_link;
    struct sim *sim;
    char id[SIM_ID_LEN + 1];
    char *name, *image, *log_driver;
    struct sim_pair *labels, *log_options;
    size_t labels_count, log_options_count;
    bool tty;
    enum sim_state state;
    bool started_once;
    int exit_code;
    int64_t created_at_ns, started_at_ns, finished_at_ns;

    uint64_t first; /* the oldest record that is still there */
    struct record *records;
    uint64_t records_base; /* number of records[0] */
    size_t records_count, records_cap;
    int64_t last_ts_ns[3];
    int64_t part_ts_ns[3]; /* of a line in parts that sim_write has begun; 0: none */
    struct buf pending[3]; /* sim_write's text without its newline yet */

    struct gen *gen;
    struct run *runs;
    size_t runs_count;
    uint64_t gen_lines; /* written, while the container does not run */
    uint64_t fire_head; /* of a firehose: records read by its furthest follower */
    uint64_t announced; /* head at the last tick */
    struct template *templates[8];
    struct list tick_link;

    struct list follows; /* conn.follow_link */
    uint64_t users;      /* connections that refer to it */
    bool released;
    struct sim_container_stats stats;
};

bool container_is_up(const struct sim_container *c);

/** By whole id, name, or the beginning of an id that only one has. */
struct sim_container *container_find(struct sim *sim, struct slice key);
void container_free(struct sim_container *c);
void container_use(struct sim_container *c);
void container_unuse(struct sim_container *c); /* may free a released one */

/** Number of the record that comes next. */
uint64_t container_head(struct sim_container *c);

/** The same for followers: a firehose has no end, and an unterminated end may be held back. */
uint64_t container_follow_head(struct sim_container *c);
int64_t container_line_ts(const struct sim_container *c, uint64_t line);

struct record_view {
    int64_t ts_ns;
    enum sim_stream stream;
    const char *data;
    uint32_t len;
};

/** Record `at` (first ≤ at < head). The bytes of a generated one are good until the next call. */
void container_record(struct sim_container *c, uint64_t at, struct record_view *ret);
int64_t container_record_ts(struct sim_container *c, uint64_t at);

/** The first record of [from, head) whose timestamp is ≥ ts_ns; for generators, whose timestamps
 * only grow. */
uint64_t container_search(struct sim_container *c, uint64_t from, uint64_t head, int64_t ts_ns);

/** A follower of a firehose has taken all records before `at`. */
void container_fire_taken(struct sim_container *c, uint64_t at);

/** Wakes followers of generators with a rate; returns when the next one is due, on the Engine's
 * clock. */
int64_t sim_tick(struct sim *sim, int64_t now_ns);

void container_wake_follows(struct sim_container *c);

/** Stops all that run, as an Engine does that goes down without live-restore. */
void containers_end_all(struct sim *sim);

/* ---- event.c ---- */

struct event {
    struct list link; /* in sim->late, while it waits */
    unsigned refs;
    int64_t time_ns;
    int64_t due_mono_ns;
    char *text; /* with its newline */
    size_t len;
    size_t legacy_len; /* members status, id and from, behind the brace: gone from API 1.52 on */
    char *type, *action, *id, *name, *image;
    struct sim_pair *attributes;
    size_t attributes_count;
};

struct event *event_unref(struct event *e);
int container_emit(struct sim_container *c, const char *action, const struct sim_pair *extra,
                   size_t extra_count);
int events_emit_raw(struct sim *sim, const char *json, int64_t time_ns);
void events_deliver_late(struct sim *sim, int64_t now_mono_ns);
void events_forget(struct sim *sim);

/* ---- filter.c ---- */

struct filter_value {
    char *key, *value;
};

struct filters {
    struct filter_value *items;
    size_t count;
};

/** `{"k":["v"]}` or `{"k":{"v":true}}`; empty text is no filter. -EINVAL, -ENOMEM. */
int filters_parse(struct slice json, struct filters *ret);
void filters_finish(struct filters *f);

/** The first key that is not among `known` (ends with NULL); NULL when all are. */
const char *filters_unknown_key(const struct filters *f, const char *const *known);
bool filters_has(const struct filters *f, const char *key);
bool filters_match_container(const struct filters *f, const struct sim_container *c);
bool filters_match_event(const struct filters *f, const struct event *e);
const char *state_name(enum sim_state s);

/* ---- conn.c ---- */

/*
 * IDLE ──► DELAYED ──► SENDING ──► IDLE    a whole response, keep-alive
 *   │                     │  │
 *   ├──► SENDING          │  └──► closed   cut, EOF, Connection: close
 *   └──► SILENT ◄─────────┘                never answered, or stalled: until the peer closes
 */
enum conn_state { CONN_IDLE, CONN_DELAYED, CONN_SENDING, CONN_SILENT };
enum conn_body { BODY_FIXED, BODY_LOGS, BODY_EVENTS };

/** What of a response's bytes a limit may count. */
enum conn_part { PART_HEAD, PART_CHUNKING, PART_DATA };

struct limit {
    bool on;
    enum sim_bytes count;
    uint64_t left;
};

struct request {
    enum sim_request_kind kind;
    struct sim_container *container; /* of inspect and logs; NULL when there is none */
    bool head_only, http10, close;
    char *target; /* owned; path, query and key point into it */
    struct slice path, query;
    struct slice key;   /* the container as the path names it */
    struct version api; /* as asked for, or the newest */
    bool versioned;
    uint64_t number; /* of its entry among the remembered ones */
};

struct conn {
    struct list link;        /* sim->conns, or sim->graveyard */
    struct list ready_link;  /* sim->ready */
    struct list timed_link;  /* sim->timed */
    struct list events_link; /* sim->event_conns */
    struct list follow_link; /* container->follows */
    struct sim *sim;
    int fd;
    enum conn_state state;
    int64_t deadline_mono_ns;
    bool blocked;   /* the socket is full: until EPOLLOUT */
    bool peer_done; /* the peer has shut down its side */
    bool reset;     /* closing shall reset */
    bool no_read;   /* a byte of the request is left unread, so that closing resets */
    bool dead;      /* closed; freed once no epoll event can name it */

    struct buf out; /* wire bytes that are to be sent */
    size_t out_sent;

    struct request req;
    bool chunked, close_after;
    bool finished; /* the response is complete in `out` */
    bool halted;   /* nothing may follow what is in `out`: then silence (stalled) or the end */
    bool stalled;
    bool shaped; /* bytes go the slow way, through limits and cutters */
    bool no_api_version;
    struct limit cut, stall;
    size_t split_bytes;
    bool paced;
    bool rechunk;
    size_t rechunk_bytes;
    struct buf rechunked;
    const struct fault *reply, *engine_error, *jump_back; /* faults live as long as the sim */
    uint64_t trip_after; /* records until engine_error or jump_back */

    enum conn_body body;
    struct sim_container *container; /* of a logs response */
    bool follow, with_stamps;
    bool want[3]; /* by stream */
    bool each_since, since_open;
    int64_t since_ns, until_ns;
    uint64_t pos, end, sent_records;

    struct filters filters; /* of an events response */
    struct event **queue;
    size_t queue_first, queue_count, queue_cap;
    bool without_legacy;
};

void conn_accept_all(struct sim *sim);
void conn_event(struct conn *k, uint32_t epoll_events);

/** Does what can be done now within a turn. True: it has more to do. It may be dead afterwards. */
bool conn_run(struct conn *k);
void conn_close(struct conn *k);
void conn_free(struct conn *k);
void conn_make_ready(struct conn *k);
void conn_set_deadline(struct conn *k, int64_t mono_ns);
void conn_deadline(struct conn *k);
void conn_stall(struct conn *k);

/** The Engine goes down in good order: what is on its way is sent, then the connection ends. */
void conn_end_after_out(struct conn *k);
bool conn_is_caught_up(const struct conn *k);
void conn_queue_event(struct conn *k, struct event *e);

/** Response bytes, from api.c: the head (once), then body pieces, then the end. */
void conn_put_head(struct conn *k, struct slice head);
void conn_put_body(struct conn *k, struct slice data);
void conn_put_last(struct conn *k);

/** The response goes on as a log of k->container, or as events: the fields are set. */
void conn_begin_logs(struct conn *k);
void conn_begin_events(struct conn *k);

/* ---- api.c ---- */

/** Answers the request in k->req. */
void api_answer(struct conn *k);

/** Fills in what path and query say: kind, API version, container. */
void api_classify(struct sim *sim, struct request *req);

/* ---- sim.c ---- */

struct fault {
    struct list link;
    struct sim_fault spec;
    char *body, *content_type;
    uint64_t id;
    uint32_t skip, left;
    bool active;
    uint64_t hits;
};

struct profile {
    const char *version;
    struct version newest, oldest;
    bool like_20_10;  /* its order of events, its filters, no Content-Type, holds back unterminated
                         ends */
    bool old_is_json; /* the reply to a client that is too old */
};

struct sim {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    atomic_uint callers; /* threads that wait for the lock */
    uint64_t changes;
    unsigned watchers;
    bool sleeping, stopping;

    int epoll_fd, wake_fd, listen_fd;
    bool accepting;
    int fillers[8];
    unsigned fillers_count;

    char *url;
    const char *path;
    const struct profile *profile;
    struct version newest, oldest;
    bool bulk, hold_back, scripted_clock;
    enum sim_timestamps timestamps;
    int64_t clock_ns;
    struct random random;
    uint64_t names_count;

    struct list containers; /* newest first */
    struct list gone;       /* removed ones, whose handles may still be used */
    struct table by_name, by_id;
    struct list ticking; /* containers whose generator has a rate or an end */
    bool tick_now;
    int64_t next_tick_ns;

    struct list conns, ready, timed, event_conns, graveyard;
    bool accept_failed; /* out of descriptors: again when one is free */
    struct list faults;
    uint64_t faults_count;

    struct event *ring[EVENT_RING];
    uint64_t ring_count;
    int64_t last_event_ns;
    struct list late;
    struct event *held; /* comes after the next one */
    struct sim_event_faults event_faults;

    struct sim_stats stats;
    struct sim_request *requests; /* REQUESTS_KEPT of them, as a ring */
    uint64_t requests_count;
    struct buf scratch;
    char part_room[SIM_PART_BYTES + 2];
    char *bulk_room; /* BULK_BYTES */
    int64_t date_s;
    char date[32];
};

/** Takes the lock, before the thread takes it again; and gives it back, waking the thread when
 * there is work. */
void sim_enter(struct sim *sim);
void sim_leave(struct sim *sim);

/** The same after only looking: nobody who waits for a change needs to look again. */
void sim_leave_unchanged(struct sim *sim);

int64_t sim_clock_ns(struct sim *sim);
struct sim_request *sim_request_at(struct sim *sim, uint64_t number);

/** What the request's faults are, into the connection's fields; *ret_delay_ms and NO_ANSWER
 * included. */
void faults_take(struct conn *k, uint32_t *ret_delay_ms, bool *ret_silent);
