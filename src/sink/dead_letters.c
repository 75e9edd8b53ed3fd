/*
 * The writer of the dead letters. It owns the file while there is something to write, one operation
 * of the ring, and the buffer that is being written; letters and records are their owners'.
 *
 * Lines are encoded when they are about to be written, so that what waits costs no more than its
 * letters, however long its lines are.
 *
 * Invariants: at most one operation in flight, and a state in which one is has exactly one; a
 * letter is in `queue` (not begun), in `writing` (its line is in the buffer) or in `written`
 * (`done` is about to come); a letter is done only when the file has all bytes of its line, and the
 * disk has them if that is asked for. What a sync that failed was to cover is written once more.
 */
#include "ringtail/sink/dead_letters.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/record/ndjson.h"

#define FILE_MODE 0600
#define DIR_MODE 0700
/* Readable, to see whether it ends with a newline; and so that a planted FIFO cannot block the
 * open. */
#define FILE_FLAGS (O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY)
#define WRITE_BYTES ((size_t)256 * 1024) /* about as much goes into one write */
#define NUMBER_ROOM 16                   /* a dot, ten digits, a NUL */

/*
 *   IDLE ──► OPENING ◄──► MAKING       the directory
 *    ▲          ▼
 *    │      EXAMINING ──► READING      the last byte
 *    │          ▼            │
 *    │       WRITING ◄───────┤         and SYNCING, if that is asked for
 *    │        │   ▼          ▼
 *    │        │  PROBING ◄───┘         is there a file beyond what is kept?
 *    │        ▼   ▼
 *    ├─── CLOSING ◄── SHIFTING         name.1 to name.2, …, name to name.1; more is written to a
 *    │        ▼                        new file, from IDLE on
 *    └──── WAITING                     a failure, in any of these
 *
 *   IDLE ──► ENDING ──► CLOSED
 */
enum letters_state {
    LETTERS_IDLE,
    LETTERS_OPENING,
    LETTERS_MAKING,
    LETTERS_EXAMINING,
    LETTERS_READING,
    LETTERS_WRITING,
    LETTERS_SYNCING,
    LETTERS_PROBING,
    LETTERS_SHIFTING,
    LETTERS_CLOSING,
    LETTERS_WAITING,
    LETTERS_ENDING,
    LETTERS_CLOSED,
    LETTERS_STATE_COUNT,
};

static const uint16_t letters_edges[LETTERS_STATE_COUNT] = {
    [LETTERS_IDLE] = BIT(LETTERS_OPENING) | BIT(LETTERS_ENDING),
    [LETTERS_OPENING] = BIT(LETTERS_MAKING) | BIT(LETTERS_EXAMINING) | BIT(LETTERS_WAITING),
    [LETTERS_MAKING] = BIT(LETTERS_OPENING) | BIT(LETTERS_WAITING),
    [LETTERS_EXAMINING] =
        BIT(LETTERS_READING) | BIT(LETTERS_WRITING) | BIT(LETTERS_PROBING) | BIT(LETTERS_CLOSING),
    [LETTERS_READING] = BIT(LETTERS_WRITING) | BIT(LETTERS_PROBING) | BIT(LETTERS_CLOSING),
    [LETTERS_WRITING] =
        BIT(LETTERS_WRITING) | BIT(LETTERS_SYNCING) | BIT(LETTERS_PROBING) | BIT(LETTERS_CLOSING),
    [LETTERS_SYNCING] = BIT(LETTERS_WRITING) | BIT(LETTERS_PROBING) | BIT(LETTERS_CLOSING),
    [LETTERS_PROBING] = BIT(LETTERS_SHIFTING) | BIT(LETTERS_CLOSING),
    [LETTERS_SHIFTING] = BIT(LETTERS_SHIFTING) | BIT(LETTERS_CLOSING),
    [LETTERS_CLOSING] = BIT(LETTERS_IDLE) | BIT(LETTERS_WAITING),
    [LETTERS_WAITING] = BIT(LETTERS_IDLE),
    [LETTERS_ENDING] = BIT(LETTERS_CLOSED),
};

enum letter_place { LETTER_OUT, LETTER_QUEUED, LETTER_WRITING, LETTER_WRITTEN };

struct dead_letters {
    struct ring *ring;
    struct dead_letters_stats stats;
    uint64_t bytes_max;
    unsigned keep;
    int64_t retry_ms;
    bool sync;
    char *path, *directory; /* NULL: none is named */
    char *names[2];         /* of rotated files, for the operation in flight */
    size_t name_room;

    enum letters_state state;
    struct op op;
    int fd;             /* -1: none */
    int error;          /* why it is going to WAITING; 0: it is not */
    uint64_t size;      /* of the file */
    bool needs_newline; /* it ends in the middle of a line */
    bool deletes;       /* there is a file beyond what is kept */
    char last_byte;
    unsigned number; /* of the file that is moved */
    struct statx stat;

    struct list queue, writing, written;
    struct buf buf;
    size_t buf_written;

    bool closing;
    void (*on_closed)(void *ctx);
    void *on_closed_ctx;
};

static void letters_enter(struct dead_letters *d, enum letters_state next)
{
    assert(letters_edges[d->state] & BIT(next));
    d->state = next;
}

static void open_file(struct dead_letters *d)
{
    letters_enter(d, LETTERS_OPENING);
    ring_open(d->ring, &d->op, AT_FDCWD, d->path, FILE_FLAGS, FILE_MODE, 0);
}

static void step_idle(struct dead_letters *d)
{
    assert(d->state == LETTERS_IDLE);
    if (!list_is_empty(&d->queue)) {
        open_file(d);
    } else if (d->closing) {
        /* The owner hears of the end from the ring, never from inside its own call. */
        letters_enter(d, LETTERS_ENDING);
        ring_timer(d->ring, &d->op, 0);
    }
}

static void close_file(struct dead_letters *d)
{
    letters_enter(d, LETTERS_CLOSING);
    ring_close_fd(d->ring, &d->op, d->fd);
    d->fd = -1;
}

/** Back into the queue, in order, before what has come since. */
static void unwrite(struct dead_letters *d)
{
    struct list back;

    list_init(&back);
    list_splice(&back, &d->writing);
    list_splice(&back, &d->queue);
    list_splice(&d->queue, &back);
    LIST_FOR_EACH_ENTRY (letter, &d->queue, struct dead_letter, link) {
        if (!letter->removed) {
            letter->place = LETTER_QUEUED;
            continue;
        }
        /* Its owner waits for it, and it has not been written. */
        list_remove(&letter->link);
        list_append(&d->written, &letter->link);
        letter->place = LETTER_WRITTEN;
    }
    buf_reset(&d->buf);
    d->buf_written = 0;
}

/** Tries all over again after a while. */
static void fail(struct dead_letters *d, int error)
{
    d->stats.errors++;
    if (d->stats.last_error == 0)
        log_error("Dead letters cannot be written, and are kept until they can",
                  LOG_STR("path", d->path), LOG_ERRNO(error), LOG_INT("waiting", d->stats.waiting));
    d->stats.last_error = error;
    unwrite(d);
    if (d->fd >= 0) {
        d->error = error;
        close_file(d);
        return;
    }
    letters_enter(d, LETTERS_WAITING);
    ring_timer(d->ring, &d->op, d->retry_ms);
}

/* ---- lines ---- */

static int append_line(struct buf *out, const struct dead_letter *letter)
{
    char now[TIMESTAMP_LEN];
    int r = ndjson_append(out, letter->record);

    if (r < 0)
        return r;
    out->len -= strlen("}\n");
    timestamp_format(now, clock_wall_ns());
    r = buf_printf(out, ",\"ordinal\":%u,\"sink\":", letter->record->ordinal);
    if (r == 0)
        r = json_append_string(out, slice_str(letter->sink));
    if (r == 0)
        r = buf_printf(out, ",\"status\":%d,\"reason\":", letter->status);
    if (r == 0)
        r = json_append_string(out, slice_str(letter->reason));
    if (r == 0)
        r = buf_printf(out, ",\"dead_at\":\"%.*s\"}\n", TIMESTAMP_LEN, now);
    return r;
}

/** Encodes what the next write takes. Returns 0; -ENOMEM when there is no memory for even one line;
 * -EFBIG when not even one fits into this file. */
static int fill(struct dead_letters *d)
{
    assert(list_is_empty(&d->writing));
    buf_reset(&d->buf);
    d->buf_written = 0;
    if (d->needs_newline && buf_append_char(&d->buf, '\n') < 0)
        return -ENOMEM;
    LIST_FOR_EACH_ENTRY (letter, &d->queue, struct dead_letter, link) {
        size_t before = d->buf.len;
        int r = 0;

        if (before >= WRITE_BYTES)
            break;
        r = append_line(&d->buf, letter);
        if (r == 0 && d->size + d->buf.len > d->bytes_max && (d->size > 0 || before > 0))
            r = -EFBIG;
        if (r < 0) {
            d->buf.len = before;
            return list_is_empty(&d->writing) ? r : 0;
        }
        list_remove(&letter->link);
        list_append(&d->writing, &letter->link);
        letter->place = LETTER_WRITING;
        letter->end = d->buf.len;
    }
    return 0;
}

static void write_rest(struct dead_letters *d)
{
    letters_enter(d, LETTERS_WRITING);
    ring_write(d->ring, &d->op, d->fd, slice_from(buf_slice(&d->buf), d->buf_written), -1);
}

/* `room`: of the two that an operation may need. */
static const char *numbered(struct dead_letters *d, unsigned room, unsigned number)
{
    int n = number == 0 ? snprintf(d->names[room], d->name_room, "%s", d->path)
                        : snprintf(d->names[room], d->name_room, "%s.%u", d->path, number);

    assert(n > 0 && (size_t)n < d->name_room);
    (void)n;
    return d->names[room];
}

/** The file is open and whole: writes, moves it away, or closes it. */
static void go_on(struct dead_letters *d)
{
    int r;

    if (list_is_empty(&d->queue)) {
        close_file(d);
        return;
    }
    r = fill(d);
    if (r == 0) {
        write_rest(d);
    } else if (r == -EFBIG) {
        letters_enter(d, LETTERS_PROBING);
        ring_statx(d->ring, &d->op, AT_FDCWD, numbered(d, 0, d->keep), STATX_SIZE, &d->stat);
    } else {
        fail(d, r);
    }
}

/* ---- operations that have landed ---- */

static void opened(struct dead_letters *d, int res)
{
    if (res == -ENOENT && d->directory) {
        letters_enter(d, LETTERS_MAKING);
        ring_mkdir(d->ring, &d->op, AT_FDCWD, d->directory, DIR_MODE);
        return;
    }
    if (res < 0) {
        fail(d, res);
        return;
    }
    d->fd = res;
    letters_enter(d, LETTERS_EXAMINING);
    ring_statx(d->ring, &d->op, d->fd, "", STATX_TYPE | STATX_SIZE, &d->stat);
}

static void examined(struct dead_letters *d, int res)
{
    if (res == 0 && !S_ISREG(d->stat.stx_mode))
        res = -ENOTSUP;
    if (res < 0) {
        fail(d, res);
        return;
    }
    d->size = d->stat.stx_size;
    d->needs_newline = false;
    if (d->size == 0) {
        go_on(d);
        return;
    }
    letters_enter(d, LETTERS_READING);
    ring_read(d->ring, &d->op, d->fd, &d->last_byte, 1, (int64_t)d->size - 1);
}

static void read_last(struct dead_letters *d, int res)
{
    if (res < 0) {
        fail(d, res);
        return;
    }
    /* Nothing to read: somebody has made it shorter just now, and who knows where it ends. */
    d->needs_newline = res == 0 || d->last_byte != '\n';
    go_on(d);
}

/** Letters whose lines are in the file as a whole. */
static void finish_letters(struct dead_letters *d)
{
    if (d->stats.last_error != 0)
        log_info("Dead letters are written again", LOG_STR("path", d->path));
    d->stats.last_error = 0;
    while (!list_is_empty(&d->writing)) {
        struct dead_letter *first = container_of(d->writing.next, struct dead_letter, link);

        if (first->end > d->buf_written)
            break;
        list_remove(&first->link);
        list_append(&d->written, &first->link);
        first->place = LETTER_WRITTEN;
        first->removed = false;
        d->stats.written++;
    }
}

static void written(struct dead_letters *d, int res)
{
    if (res <= 0) {
        fail(d, res < 0 ? res : -EIO);
        return;
    }
    d->size += (uint64_t)res;
    d->stats.bytes += (uint64_t)res;
    d->buf_written += (size_t)res;
    d->needs_newline = d->buf.data[d->buf_written - 1] != '\n';
    if (!d->sync)
        finish_letters(d);
    if (d->buf_written < d->buf.len) {
        write_rest(d);
    } else if (d->sync) {
        letters_enter(d, LETTERS_SYNCING);
        ring_fsync(d->ring, &d->op, d->fd, false);
    } else {
        go_on(d);
    }
}

static void synced(struct dead_letters *d, int res)
{
    if (res < 0 && res != -EINVAL) { /* -EINVAL: it can't be synced there */
        fail(d, res);
        return;
    }
    finish_letters(d);
    go_on(d);
}

static void shift(struct dead_letters *d)
{
    letters_enter(d, LETTERS_SHIFTING);
    ring_rename(d->ring, &d->op, AT_FDCWD, numbered(d, 0, d->number - 1),
                numbered(d, 1, d->number));
}

static void probed(struct dead_letters *d, int res)
{
    if (res < 0 && res != -ENOENT) {
        fail(d, res);
        return;
    }
    d->deletes = res == 0;
    d->number = d->keep;
    shift(d);
}

static void shifted(struct dead_letters *d, int res)
{
    /* One that does not exist need not be moved. */
    if (res < 0 && res != -ENOENT) {
        fail(d, res);
        return;
    }
    if (d->number == d->keep && d->deletes && res == 0) {
        d->stats.deleted++;
        d->stats.deleted_bytes += d->stat.stx_size;
        log_warn("The oldest file of dead letters was deleted to make room",
                 LOG_STR("path", numbered(d, 1, d->keep)), LOG_INT("bytes", d->stat.stx_size));
    }
    if (--d->number > 0) {
        shift(d);
        return;
    }
    d->stats.rotated++;
    close_file(d);
}

static void closed(struct dead_letters *d)
{
    /* A close that fails has closed all the same. */
    if (d->error != 0) {
        d->error = 0;
        letters_enter(d, LETTERS_WAITING);
        ring_timer(d->ring, &d->op, d->retry_ms);
        return;
    }
    letters_enter(d, LETTERS_IDLE);
    step_idle(d);
}

/** Tells those whose letters are done. They may add letters, and take others out. */
static void tell_done(struct dead_letters *d)
{
    struct list *link;

    while ((link = list_pop(&d->written))) {
        struct dead_letter *letter = container_of(link, struct dead_letter, link);
        int res = letter->removed ? -ECANCELED : 0;

        letter->place = LETTER_OUT;
        letter->removed = false;
        d->stats.waiting--;
        letter->done(letter, res);
    }
}

static void letters_op_done(struct op *op, int res)
{
    struct dead_letters *d = container_of(op, struct dead_letters, op);

    switch (d->state) {
    case LETTERS_OPENING:
        opened(d, res);
        break;
    case LETTERS_MAKING:
        if (res < 0 && res != -EEXIST)
            fail(d, res);
        else
            open_file(d);
        break;
    case LETTERS_EXAMINING:
        examined(d, res);
        break;
    case LETTERS_READING:
        read_last(d, res);
        break;
    case LETTERS_WRITING:
        written(d, res);
        break;
    case LETTERS_SYNCING:
        synced(d, res);
        break;
    case LETTERS_PROBING:
        probed(d, res);
        break;
    case LETTERS_SHIFTING:
        shifted(d, res);
        break;
    case LETTERS_CLOSING:
        closed(d);
        break;
    case LETTERS_WAITING:
        letters_enter(d, LETTERS_IDLE);
        step_idle(d);
        break;
    case LETTERS_ENDING:
        letters_enter(d, LETTERS_CLOSED);
        d->on_closed(d->on_closed_ctx);
        return;
    case LETTERS_IDLE:
    case LETTERS_CLOSED:
    case LETTERS_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
    tell_done(d);
}

/* ---- for owners ---- */

void dead_letters_add(struct dead_letters *d, struct dead_letter *letter)
{
    assert(!d->closing && letter->place == LETTER_OUT && letter->done);
    letter->place = LETTER_QUEUED;
    letter->removed = false;
    list_append(&d->queue, &letter->link);
    d->stats.waiting++;
    if (d->state == LETTERS_IDLE)
        step_idle(d);
}

/** Nobody waits for another try any more. */
static void stop_waiting(struct dead_letters *d)
{
    if (d->closing && d->state == LETTERS_WAITING && list_is_empty(&d->queue))
        ring_cancel(d->ring, &d->op);
}

bool dead_letters_remove(struct dead_letters *d, struct dead_letter *letter)
{
    assert(letter->place != LETTER_OUT);
    if (letter->place == LETTER_WRITING)
        letter->removed = true;
    if (letter->place != LETTER_QUEUED)
        return false;
    list_remove(&letter->link);
    letter->place = LETTER_OUT;
    d->stats.waiting--;
    stop_waiting(d);
    return true;
}

void dead_letters_close(struct dead_letters *d, void (*on_closed)(void *ctx), void *ctx)
{
    assert(!d->closing);
    d->closing = true;
    d->on_closed = on_closed;
    d->on_closed_ctx = ctx;
    if (d->state == LETTERS_IDLE)
        step_idle(d);
    else
        stop_waiting(d);
}

int dead_letters_create(struct ring *ring, const struct dead_letters_options *options,
                        struct dead_letters **ret)
{
    const char *slash = strrchr(options->path, '/');
    struct dead_letters *d;

    if (!*options->path || (slash && !slash[1]))
        return -EINVAL;
    d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->ring = ring;
    d->op.done = letters_op_done;
    d->fd = -1;
    d->bytes_max = (uint64_t)MAX(options->bytes_max, 1);
    d->keep = (unsigned)MAX(1, MIN(options->keep, DEAD_LETTERS_KEEP_MAX));
    d->retry_ms = MAX(options->retry_ms, 1);
    d->sync = options->sync;
    list_init(&d->queue);
    list_init(&d->writing);
    list_init(&d->written);
    d->path = strdup(options->path);
    d->name_room = strlen(options->path) + NUMBER_ROOM;
    d->names[0] = malloc(d->name_room);
    d->names[1] = malloc(d->name_room);
    if (slash && slash > options->path)
        d->directory = slice_dup(slice_of(options->path, (size_t)(slash - options->path)));
    if (!d->path || !d->names[0] || !d->names[1] ||
        (slash && slash > options->path && !d->directory)) {
        (void)dead_letters_destroy(d);
        return -ENOMEM;
    }
    *ret = d;
    return 0;
}

struct dead_letters *dead_letters_destroy(struct dead_letters *d)
{
    if (!d)
        return NULL;
    assert(!op_in_flight(&d->op) && d->fd < 0 && d->stats.waiting == 0);
    buf_finish(&d->buf);
    free(d->path);
    free(d->directory);
    free(d->names[0]);
    free(d->names[1]);
    free(d);
    return NULL;
}

const struct dead_letters_stats *dead_letters_stats(const struct dead_letters *d)
{
    return &d->stats;
}
