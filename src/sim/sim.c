/*
 * The simulated Engine as a whole: its socket, its thread, its faults, and what tests wait for.
 * Owns every other object. The thread never blocks but in epoll_wait, and lets callers of the
 * public functions in before it takes the lock again, so that a firehose cannot keep them out.
 */
#include "ringtail/sim/sim.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"
#include "ringtail/base/clock.h"

#define BACKLOG 4096
#define EPOLL_BATCH 256
#define TICK_LEAST_NS NSEC_PER_MSEC /* lines of a rate come in steps of this */
#define WAIT_STEP_NS                                                                               \
    (2 * NSEC_PER_MSEC) /* what a client has read is not announced, so waits look again */
#define YIELDS_MAX 1000
#define CLOCK_START_NS INT64_C(1767225600000000000)

static const struct profile profiles[] = {
    [SIM_ENGINE_28_5] = {.version = "28.5.2", .newest = {1, 51}, .oldest = {1, 24}},
    [SIM_ENGINE_26_1] = {.version = "26.1.5",
                         .newest = {1, 45},
                         .oldest = {1, 24},
                         .old_is_json = true},
    [SIM_ENGINE_20_10] = {.version = "20.10.24",
                          .newest = {1, 41},
                          .oldest = {1, 12},
                          .like_20_10 = true},
};

/* ---- Lock and clock ---- */

void sim_enter(struct sim *sim)
{
    atomic_fetch_add(&sim->callers, 1);
    (void)pthread_mutex_lock(
        &sim->lock); /* fails for no reason that can occur here, nor do the others */
    atomic_fetch_sub(&sim->callers, 1);
}

static void sim_announce(struct sim *sim)
{
    sim->changes++;
    if (sim->watchers)
        (void)pthread_cond_broadcast(&sim->changed);
}

static void sim_wake(struct sim *sim)
{
    const uint64_t one = 1;

    if (sim->sleeping) {
        sim->sleeping = false;
        (void)!write(sim->wake_fd, &one, sizeof one); /* a counter that is full wakes as well */
    }
}

void sim_leave(struct sim *sim)
{
    if (!list_is_empty(&sim->ready) || sim->tick_now || sim->stopping || !list_is_empty(&sim->late))
        sim_wake(sim);
    sim_announce(sim);
    (void)pthread_mutex_unlock(&sim->lock);
}

void sim_leave_unchanged(struct sim *sim)
{
    (void)pthread_mutex_unlock(&sim->lock);
}

/** For the thread: whoever waits for the lock gets it first. */
static void sim_step_aside(struct sim *sim)
{
    for (unsigned i = 0; atomic_load(&sim->callers) > 0 && i < YIELDS_MAX; i++)
        (void)sched_yield();
}

int64_t sim_clock_ns(struct sim *sim)
{
    return sim->scripted_clock ? sim->clock_ns : clock_wall_ns();
}

struct sim_request *sim_request_at(struct sim *sim, uint64_t number)
{
    return &sim->requests[number % REQUESTS_KEPT];
}

/* ---- Socket ---- */

static int address_make(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

static int sim_listen(struct sim *sim)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = &sim->listen_fd};
    struct sockaddr_un address;
    struct stat st;
    int fd, r;

    r = address_make(sim->path, &address);
    if (r < 0)
        return r;
    if (lstat(sim->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return -EEXIST;
        (void)unlink(sim->path); /* bind tells when it is still there */
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0 ||
        epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    sim->listen_fd = fd;
    return 0;
}

static void sim_unlisten(struct sim *sim, bool remove)
{
    if (sim->listen_fd < 0)
        return;
    (void)epoll_ctl(sim->epoll_fd, EPOLL_CTL_DEL, sim->listen_fd, NULL);
    (void)close(sim->listen_fd);
    sim->listen_fd = -EBADF;
    if (remove)
        (void)unlink(sim->path); /* gone already is what we wanted */
}

static void fillers_close(struct sim *sim)
{
    while (sim->fillers_count > 0)
        (void)close(sim->fillers[--sim->fillers_count]);
}

/** Connects to ourselves until the backlog is full. */
static int fillers_open(struct sim *sim)
{
    struct sockaddr_un address, own = {.sun_family = AF_UNIX};
    int r = address_make(sim->path, &address);

    while (r == 0 && sim->fillers_count < ARRAY_SIZE(sim->fillers)) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
            return -errno;
        /* Binding to the family alone gives an abstract name, by which it is told from clients. */
        if (bind(fd, (struct sockaddr *)&own, sizeof(sa_family_t)) < 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
            r = errno == EAGAIN ? 0 : -errno;
            (void)close(fd);
            return r;
        }
        sim->fillers[sim->fillers_count++] = fd;
    }
    return r;
}

/* ---- Thread ---- */

static int64_t deadlines_run(struct sim *sim, int64_t now_mono_ns)
{
    int64_t next = NEVER_NS;

    LIST_FOR_EACH_ENTRY (k, &sim->timed, struct conn, timed_link) {
        if (k->deadline_mono_ns <= now_mono_ns)
            conn_deadline(k);
        else
            next = MIN(next, k->deadline_mono_ns);
    }
    events_deliver_late(sim, now_mono_ns);
    LIST_FOR_EACH_ENTRY (e, &sim->late, struct event, link)
        next = MIN(next, e->due_mono_ns);
    return next;
}

/** Runs what is due. Returns how long the thread may sleep, in ns; NEVER_NS without limit. */
static int64_t timers_run(struct sim *sim)
{
    int64_t now = sim_clock_ns(sim), now_mono = clock_mono_ns(),
            next = deadlines_run(sim, now_mono), wait = NEVER_NS;

    if (next != NEVER_NS)
        wait = MAX(next - now_mono, 0);
    if (sim->tick_now || now >= sim->next_tick_ns) {
        sim->tick_now = false;
        sim->next_tick_ns = sim_tick(sim, now);
        if (sim->next_tick_ns != NEVER_NS)
            sim->next_tick_ns = MAX(sim->next_tick_ns, now + TICK_LEAST_NS);
    }
    /* A scripted clock makes its own ticks. */
    if (!sim->scripted_clock && sim->next_tick_ns != NEVER_NS)
        wait = MIN(wait, MAX(sim->next_tick_ns - now, 0));
    return wait;
}

static void ready_run(struct sim *sim)
{
    struct list turn;

    list_init(&turn);
    list_splice(&turn, &sim->ready);
    for (struct list *link = list_pop(&turn); link; link = list_pop(&turn)) {
        struct conn *k = container_of(link, struct conn, ready_link);

        if (conn_run(k))
            conn_make_ready(k);
        if (atomic_load(&sim->callers) > 0) {
            /* What a caller closes meanwhile leaves `turn` by itself. */
            (void)pthread_mutex_unlock(&sim->lock);
            sim_step_aside(sim);
            (void)pthread_mutex_lock(&sim->lock);
        }
    }
}

static void graveyard_clear(struct sim *sim)
{
    for (struct list *link = list_pop(&sim->graveyard); link; link = list_pop(&sim->graveyard))
        conn_free(container_of(link, struct conn, link));
}

static void epoll_take(struct sim *sim, const struct epoll_event *ev)
{
    uint64_t count;

    if (ev->data.ptr == &sim->wake_fd)
        (void)!read(sim->wake_fd, &count, sizeof count); /* only that it was written matters */
    else if (ev->data.ptr == &sim->listen_fd)
        conn_accept_all(sim);
    else
        conn_event(ev->data.ptr, ev->events);
}

/** Rounded up, so that the thread does not wake before there is something to do. */
static int wait_ms(int64_t wait_ns)
{
    int64_t ms = wait_ns / NSEC_PER_MSEC + (wait_ns % NSEC_PER_MSEC > 0);

    return wait_ns == NEVER_NS ? -1 : (int)MIN(ms, (int64_t)INT32_MAX);
}

static void *sim_main(void *arg)
{
    struct sim *sim = arg;
    struct epoll_event events[EPOLL_BATCH];

    (void)pthread_mutex_lock(&sim->lock);
    while (!sim->stopping) {
        int64_t wait_ns;
        int n;

        ready_run(sim);
        wait_ns = timers_run(sim);
        if (!list_is_empty(&sim->ready) || sim->tick_now)
            wait_ns = 0;
        sim_announce(sim);
        if (sim->stopping)
            break;
        graveyard_clear(sim);
        sim->sleeping = wait_ns != 0;
        (void)pthread_mutex_unlock(&sim->lock);
        sim_step_aside(sim);
        n = epoll_wait(sim->epoll_fd, events, EPOLL_BATCH, wait_ms(wait_ns));
        (void)pthread_mutex_lock(&sim->lock);
        sim->sleeping = false;
        for (int i = 0; i < n; i++)
            epoll_take(sim, &events[i]);
    }
    (void)pthread_mutex_unlock(&sim->lock);
    return NULL;
}

/* ---- Making and ending ---- */

static int version_text_parse(const char *text, struct version *ret)
{
    if (!text)
        return 0;
    return sscanf(text, "%u.%u", &ret->major, &ret->minor) == 2 ? 0 : -EINVAL;
}

static void sim_free(struct sim *sim)
{
    struct list *const owners[] = {&sim->containers, &sim->gone};

    sim->accepting = false;
    LIST_FOR_EACH_ENTRY (k, &sim->conns, struct conn, link)
        conn_close(k);
    graveyard_clear(sim);
    fillers_close(sim);
    sim_unlisten(sim, true);
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        LIST_FOR_EACH_ENTRY (c, owners[i], struct sim_container, link)
            container_free(c);
    }
    LIST_FOR_EACH_ENTRY (f, &sim->faults, struct fault, link) {
        free(f->body);
        free(f->content_type);
        free(f);
    }
    events_forget(sim);
    table_finish(&sim->by_name);
    table_finish(&sim->by_id);
    if (sim->epoll_fd >= 0)
        (void)close(sim->epoll_fd);
    if (sim->wake_fd >= 0)
        (void)close(sim->wake_fd);
    (void)pthread_cond_destroy(&sim->changed);
    (void)pthread_mutex_destroy(&sim->lock);
    buf_finish(&sim->scratch);
    free(sim->bulk_room);
    free(sim->requests);
    free(sim->url);
    free(sim);
}

static int sim_build(struct sim *sim, const struct sim_options *o)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &sim->wake_fd};
    int r;

    sim->profile = &profiles[o->engine];
    sim->newest = sim->profile->newest;
    sim->oldest = sim->profile->oldest;
    r = version_text_parse(o->api_newest, &sim->newest);
    if (r == 0)
        r = version_text_parse(o->api_oldest, &sim->oldest);
    if (r < 0)
        return r;
    sim->bulk = o->bulk;
    sim->hold_back = sim->profile->like_20_10;
    sim->scripted_clock = o->scripted_clock;
    sim->clock_ns = o->clock_start_ns ? o->clock_start_ns : CLOCK_START_NS;
    sim->date_s = -1;
    sim->next_tick_ns = NEVER_NS;
    random_seed(&sim->random, o->seed);
    if (asprintf(&sim->url, "unix://%s", o->socket_path) < 0) {
        sim->url = NULL;
        return -ENOMEM;
    }
    sim->path = sim->url + strlen("unix://");
    sim->requests = calloc(REQUESTS_KEPT, sizeof *sim->requests);
    sim->bulk_room = malloc(BULK_BYTES);
    if (!sim->requests || !sim->bulk_room || table_init(&sim->by_name) < 0 ||
        table_init(&sim->by_id) < 0)
        return -ENOMEM;
    sim->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (sim->epoll_fd < 0)
        return -errno;
    sim->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sim->wake_fd < 0 || epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, sim->wake_fd, &ev) < 0)
        return -errno;
    sim->accepting = true;
    r = sim_listen(sim);
    if (r < 0)
        return r;
    return -pthread_create(&sim->thread, NULL, sim_main, sim);
}

int sim_create(const struct sim_options *options, struct sim **ret)
{
    struct sim *sim = calloc(1, sizeof *sim);
    pthread_condattr_t attr;
    int r;

    if (!sim)
        return -ENOMEM;
    list_init(&sim->containers);
    list_init(&sim->gone);
    list_init(&sim->ticking);
    list_init(&sim->conns);
    list_init(&sim->ready);
    list_init(&sim->timed);
    list_init(&sim->event_conns);
    list_init(&sim->graveyard);
    list_init(&sim->faults);
    list_init(&sim->late);
    sim->epoll_fd = sim->wake_fd = sim->listen_fd = -EBADF;
    (void)pthread_mutex_init(&sim->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&sim->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    r = sim_build(sim, options);
    if (r < 0) {
        sim_free(sim);
        return r;
    }
    *ret = sim;
    return 0;
}

struct sim *sim_destroy(struct sim *sim)
{
    if (!sim)
        return NULL;
    sim_enter(sim);
    sim->stopping = true;
    sim_leave(sim);
    (void)pthread_join(sim->thread, NULL);
    sim_free(sim);
    return NULL;
}

const char *sim_url(const struct sim *sim)
{
    return sim->url;
}

const char *sim_socket_path(const struct sim *sim)
{
    return sim->path;
}

int64_t sim_now_ns(struct sim *sim)
{
    int64_t now;

    sim_enter(sim);
    now = sim_clock_ns(sim);
    sim_leave_unchanged(sim);
    return now;
}

static void clock_put(struct sim *sim, int64_t now_ns)
{
    assert(sim->scripted_clock);
    sim->clock_ns = now_ns;
    sim->tick_now = true;
    LIST_FOR_EACH_ENTRY (k, &sim->event_conns, struct conn, events_link)
        conn_make_ready(k);
}

void sim_clock_set(struct sim *sim, int64_t now_ns)
{
    sim_enter(sim);
    clock_put(sim, now_ns);
    sim_leave(sim);
}

void sim_clock_advance(struct sim *sim, int64_t by_ns)
{
    sim_enter(sim);
    clock_put(sim, sim->clock_ns + by_ns);
    sim_leave(sim);
}

void sim_set_hold_back(struct sim *sim, bool on)
{
    sim_enter(sim);
    sim->hold_back = on;
    LIST_FOR_EACH_ENTRY (c, &sim->containers, struct sim_container, link)
        container_wake_follows(c);
    sim_leave(sim);
}

void sim_set_timestamps(struct sim *sim, enum sim_timestamps how)
{
    sim_enter(sim);
    sim->timestamps = how;
    sim_leave(sim);
}

/* ---- Faults ---- */

int sim_fault_add(struct sim *sim, const struct sim_fault *spec, uint64_t *ret_id)
{
    struct fault *f = calloc(1, sizeof *f);

    assert(spec->kind < SIM_FAULT_KINDS_COUNT && spec->on < SIM_REQUEST_KINDS_COUNT);
    if (!f)
        return -ENOMEM;
    f->spec = *spec;
    f->body = strdup(spec->body ? spec->body : "");
    f->content_type = spec->content_type ? strdup(spec->content_type) : NULL;
    if (!f->body || (spec->content_type && !f->content_type)) {
        free(f->body);
        free(f->content_type);
        free(f);
        return -ENOMEM;
    }
    f->skip = spec->skip;
    f->left = spec->times;
    f->active = true;
    sim_enter(sim);
    f->id = ++sim->faults_count;
    list_append(&sim->faults, &f->link);
    if (ret_id)
        *ret_id = f->id;
    sim_leave(sim);
    return 0;
}

void sim_fault_clear(struct sim *sim, uint64_t id)
{
    sim_enter(sim);
    LIST_FOR_EACH_ENTRY (f, &sim->faults, struct fault, link) {
        if (id == 0 || f->id == id)
            f->active = false;
    }
    sim_leave(sim);
}

uint64_t sim_fault_hits(struct sim *sim, uint64_t id)
{
    uint64_t hits = 0;

    sim_enter(sim);
    LIST_FOR_EACH_ENTRY (f, &sim->faults, struct fault, link) {
        if (f->id == id)
            hits = f->hits;
    }
    sim_leave_unchanged(sim);
    return hits;
}

static bool fault_matches(const struct fault *f, const struct request *req)
{
    if (!f->active || (f->spec.on != SIM_REQUEST_ANY && f->spec.on != req->kind))
        return false;
    return !f->spec.container || f->spec.container == req->container;
}

static void fault_apply(const struct fault *f, struct conn *k, uint32_t *ret_delay_ms,
                        bool *ret_silent)
{
    const struct sim_fault *s = &f->spec;

    switch (s->kind) {
    case SIM_FAULT_REPLY:
        k->reply = f;
        break;
    case SIM_FAULT_DELAY:
        *ret_delay_ms = s->delay_ms;
        break;
    case SIM_FAULT_NO_ANSWER:
        *ret_silent = true;
        break;
    case SIM_FAULT_STALL:
        k->stall = (struct limit){.on = true, .count = s->count, .left = s->bytes};
        k->shaped = true;
        break;
    case SIM_FAULT_CUT:
        k->cut = (struct limit){.on = true, .count = s->count, .left = s->bytes};
        k->reset = s->reset;
        k->shaped = true;
        break;
    case SIM_FAULT_ENGINE_ERROR:
        k->engine_error = f;
        break;
    case SIM_FAULT_JUMP_BACK:
        k->jump_back = f;
        break;
    case SIM_FAULT_SPLIT:
        k->split_bytes = MAX(s->bytes, (uint64_t)1);
        k->paced = s->paced;
        k->shaped = true;
        break;
    case SIM_FAULT_RECHUNK:
        k->rechunk = true;
        k->rechunk_bytes = s->bytes;
        k->shaped = true;
        break;
    case SIM_FAULT_NO_API_VERSION:
        k->no_api_version = true;
        break;
    case SIM_FAULT_KINDS_COUNT:
        break;
    }
}

void faults_take(struct conn *k, uint32_t *ret_delay_ms, bool *ret_silent)
{
    uint32_t taken = 0;

    LIST_FOR_EACH_ENTRY (f, &k->sim->faults, struct fault, link) {
        if (!fault_matches(f, &k->req))
            continue;
        if (f->skip > 0) {
            f->skip--;
            continue;
        }
        if (taken & BIT(f->spec.kind))
            continue;
        taken |= BIT(f->spec.kind);
        f->hits++;
        if (f->left > 0 && --f->left == 0)
            f->active = false;
        fault_apply(f, k, ret_delay_ms, ret_silent);
    }
}

static int follows_each(struct sim *sim, struct sim_container *c, void (*act)(struct conn *))
{
    int count = 0;

    sim_enter(sim);
    LIST_FOR_EACH_ENTRY (k, &sim->conns, struct conn, link) {
        if (!list_is_linked(&k->follow_link) || (c && k->container != c))
            continue;
        act(k);
        count++;
    }
    sim_leave(sim);
    return count;
}

int sim_follow_cut(struct sim *sim, struct sim_container *c)
{
    return follows_each(sim, c, conn_close);
}

int sim_follow_stall(struct sim *sim, struct sim_container *c)
{
    return follows_each(sim, c, conn_stall);
}

int sim_events_cut(struct sim *sim)
{
    int count = 0;

    sim_enter(sim);
    LIST_FOR_EACH_ENTRY (k, &sim->event_conns, struct conn, events_link) {
        conn_close(k);
        count++;
    }
    sim_leave(sim);
    return count;
}

/* ---- The Engine itself ---- */

int sim_engine_stop(struct sim *sim, enum sim_stop how)
{
    int r = -EALREADY;

    sim_enter(sim);
    if (sim->listen_fd >= 0) {
        if (how == SIM_STOP_WITH_CONTAINERS)
            containers_end_all(sim);
        sim_unlisten(sim, how != SIM_STOP_KILL);
        fillers_close(sim);
        sim->accept_failed = false;
        LIST_FOR_EACH_ENTRY (k, &sim->conns, struct conn, link) {
            /* What the containers' end leaves to be sent still goes out, and then the connection.
             */
            if (how == SIM_STOP_WITH_CONTAINERS)
                conn_end_after_out(k);
            else
                conn_close(k);
        }
        r = 0;
    }
    sim_leave(sim);
    return r;
}

int sim_engine_start(struct sim *sim, bool keep_events)
{
    int r = -EALREADY;

    sim_enter(sim);
    if (sim->listen_fd < 0) {
        if (!keep_events)
            events_forget(sim);
        sim->accepting = true;
        r = sim_listen(sim);
    }
    sim_leave(sim);
    return r;
}

int sim_socket_replace(struct sim *sim)
{
    int r = -ENOTCONN;

    sim_enter(sim);
    if (sim->listen_fd >= 0) {
        sim_unlisten(sim, true);
        r = sim_listen(sim);
    }
    sim_leave(sim);
    return r;
}

int sim_listen_full(struct sim *sim, bool on)
{
    int r = 0;

    sim_enter(sim);
    if (sim->listen_fd < 0) {
        r = -ENOTCONN;
    } else if (on && sim->accepting) {
        sim->accepting = false;
        r = listen(sim->listen_fd, 0) < 0 ? -errno : fillers_open(sim);
    } else if (!on && !sim->accepting) {
        fillers_close(sim);
        sim->accepting = true;
        r = listen(sim->listen_fd, BACKLOG) < 0 ? -errno : 0;
        conn_accept_all(sim);
    }
    sim_leave(sim);
    return r;
}

/* ---- Observation ---- */

void sim_get_stats(struct sim *sim, struct sim_stats *ret)
{
    sim_enter(sim);
    *ret = sim->stats;
    sim_leave_unchanged(sim);
}

size_t sim_requests(struct sim *sim, enum sim_request_kind kind, const struct sim_container *c,
                    struct sim_request *ret, size_t count)
{
    size_t found = 0;

    sim_enter(sim);
    for (uint64_t i = sim->requests_count, oldest = i - MIN(i, (uint64_t)REQUESTS_KEPT);
         i > oldest && found < count; i--) {
        const struct sim_request *r = sim_request_at(sim, i - 1);

        if ((kind == SIM_REQUEST_ANY || r->kind == kind) && (!c || r->container == c))
            ret[found++] = *r;
    }
    sim_leave_unchanged(sim);
    for (size_t i = 0; i < found / 2; i++) {
        struct sim_request swap = ret[i];

        ret[i] = ret[found - 1 - i];
        ret[found - 1 - i] = swap;
    }
    return found;
}

int sim_wait(struct sim *sim, bool (*pred)(void *ctx), void *ctx, int64_t timeout_ms)
{
    int64_t end = clock_mono_ns() + timeout_ms * NSEC_PER_MSEC;

    for (;;) {
        uint64_t seen;
        int64_t now;

        sim_enter(sim);
        seen = sim->changes;
        sim_leave_unchanged(sim);
        if (pred(ctx))
            return 0;
        now = clock_mono_ns();
        if (now >= end)
            return -ETIMEDOUT;
        sim_enter(sim);
        if (sim->changes == seen) {
            int64_t until = MIN(end, now + WAIT_STEP_NS);
            struct timespec ts = {.tv_sec = (time_t)(until / NSEC_PER_SEC),
                                  .tv_nsec = until % NSEC_PER_SEC};

            sim->watchers++;
            (void)pthread_cond_timedwait(&sim->changed, &sim->lock,
                                         &ts); /* both ends are looked at above */
            sim->watchers--;
        }
        sim_leave_unchanged(sim);
    }
}

struct wait_for {
    struct sim *sim;
    struct sim_container *container;
    enum sim_request_kind kind;
    uint64_t n;
};

static bool follows_are(void *ctx)
{
    const struct wait_for *w = ctx;
    uint64_t now;

    sim_enter(w->sim);
    now = w->container ? w->container->stats.follows_now : w->sim->stats.follows_now;
    sim_leave_unchanged(w->sim);
    return now == w->n;
}

static bool requests_are(void *ctx)
{
    const struct wait_for *w = ctx;
    uint64_t now;

    sim_enter(w->sim);
    now = w->sim->stats.requests[w->kind];
    sim_leave_unchanged(w->sim);
    return now >= w->n;
}

static bool event_streams_are(void *ctx)
{
    const struct wait_for *w = ctx;
    uint64_t now;

    sim_enter(w->sim);
    now = w->sim->stats.event_streams_now;
    sim_leave_unchanged(w->sim);
    return now >= w->n;
}

static bool connections_are(void *ctx)
{
    const struct wait_for *w = ctx;
    uint64_t now;

    sim_enter(w->sim);
    now = w->sim->stats.connections_now;
    sim_leave_unchanged(w->sim);
    return now <= w->n;
}

static bool is_caught_up(void *ctx)
{
    const struct wait_for *w = ctx;
    bool all;

    sim_enter(w->sim);
    all = !list_is_empty(&w->container->follows);
    LIST_FOR_EACH_ENTRY (k, &w->container->follows, struct conn, follow_link)
        all = all && conn_is_caught_up(k);
    sim_leave_unchanged(w->sim);
    return all;
}

int sim_wait_follows(struct sim *sim, struct sim_container *c, uint64_t n, int64_t timeout_ms)
{
    return sim_wait(sim, follows_are, &(struct wait_for){.sim = sim, .container = c, .n = n},
                    timeout_ms);
}

int sim_wait_requests(struct sim *sim, enum sim_request_kind kind, uint64_t n, int64_t timeout_ms)
{
    return sim_wait(sim, requests_are, &(struct wait_for){.sim = sim, .kind = kind, .n = n},
                    timeout_ms);
}

int sim_wait_caught_up(struct sim_container *c, int64_t timeout_ms)
{
    return sim_wait(c->sim, is_caught_up, &(struct wait_for){.sim = c->sim, .container = c},
                    timeout_ms);
}

int sim_wait_event_streams(struct sim *sim, uint64_t n, int64_t timeout_ms)
{
    return sim_wait(sim, event_streams_are, &(struct wait_for){.sim = sim, .n = n}, timeout_ms);
}

int sim_wait_connections_at_most(struct sim *sim, uint64_t n, int64_t timeout_ms)
{
    return sim_wait(sim, connections_are, &(struct wait_for){.sim = sim, .n = n}, timeout_ms);
}
