/* src/control/positions.h. */
#include "positions.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <yyjson.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/hash.h"
#include "ringtail/base/json.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/sink/rotated.h"

#define FILE_BYTES_MAX (256u << 20)
#define VERSION 2
#define VERSION_FIRST 1 /* of one directory, and marks without ordinals */
#define HEAD_FORMAT "ringtail positions %u %016" PRIx64 "\n"
#define HEAD_LEN 38
/* So many of the last records are enough to find a place by. */
#define MARKS_SAVED 8
#define HASH_SEED 1
/* A line may carry a stamp from this much before it could be read. */
#define RESUME_MARGIN_NS NSEC_PER_SEC
/* A file that is not written to any more is told from one that the positions have never heard of by
 * its time alone, once that is safe. Those of the last run may well be opened again. */
#define LEFT_KEPT_NS (10 * NSEC_PER_SEC)
#define LOADED_KEPT_NS (3600 * NSEC_PER_SEC)
#define LOCK_TRIES 100
#define LOCK_PAUSE_MS 20

static const char *const written_names[] = {"written_stdout", "written_stderr"};
static const char *const last_names[] = {"last_stdout", "last_stderr"};

static const uint8_t positions_edges[POSITIONS_STATE_COUNT] = {
    [POSITIONS_IDLE] = BIT(POSITIONS_SETTLING),
    [POSITIONS_SETTLING] = BIT(POSITIONS_OPENING) | BIT(POSITIONS_IDLE),
    [POSITIONS_OPENING] = BIT(POSITIONS_WRITING) | BIT(POSITIONS_IDLE),
    [POSITIONS_WRITING] = BIT(POSITIONS_SYNCING) | BIT(POSITIONS_CLOSING),
    [POSITIONS_SYNCING] = BIT(POSITIONS_CLOSING),
    [POSITIONS_CLOSING] = BIT(POSITIONS_RENAMING) | BIT(POSITIONS_IDLE),
    [POSITIONS_RENAMING] = BIT(POSITIONS_DIR_SYNCING) | BIT(POSITIONS_IDLE),
    [POSITIONS_DIR_SYNCING] = BIT(POSITIONS_IDLE),
};

static void positions_enter(struct positions *p, enum positions_state next)
{
    assert(positions_edges[p->state] & BIT(next));
    p->state = next;
}

/* ---- entries ---- */

static struct position *entry_find(const struct positions *p, const char *id)
{
    struct table_link *link = table_find(&p->table, slice_str(id));

    return link ? container_of(link, struct position, by_id) : NULL;
}

struct position *positions_entry(struct positions *p, const char *id)
{
    struct position *e = entry_find(p, id);

    if (e || strlen(id) != REPLY_ID_LEN)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    memcpy(e->id, id, sizeof e->id);
    e->history.marks_max = p->marks_max;
    e->history.floor_ns = INT64_MAX;
    e->seen_at_ns = clock_wall_ns();
    table_insert(&p->table, &e->by_id, slice_str(e->id));
    return e;
}

static void entry_free(struct positions *p, struct position *e)
{
    table_remove(&p->table, &e->by_id);
    splice_history_finish(&e->history);
    written_finish(&e->written);
    buf_finish(&e->text);
    free(e);
}

bool positions_take(struct positions *p, const char *id, const struct position_state *state)
{
    struct position *e = p->enabled ? entry_find(p, id) : NULL;
    struct splice_history *h = state->history, restored;

    if (!e || !e->is_restored)
        return false;
    restored = e->history;
    e->history = (struct splice_history){.marks_max = p->marks_max};
    e->is_restored = false;
    e->followed = true;
    *state->written = e->written;
    e->written = (struct written){0};
    restored.marks_max = h->marks_max;
    if (splice_has_history(&restored) || restored.floor_ns == INT64_MAX)
        restored.floor_ns = h->floor_ns;
    restored.floor_is_far = h->floor_is_far;
    *h = restored;
    return true;
}

bool positions_knows(const struct positions *p, const char *id)
{
    const struct position *e = p->enabled ? entry_find(p, id) : NULL;

    return e && e->is_restored;
}

int64_t positions_resume_ns(const struct positions *p)
{
    if (!p->enabled || p->loaded_saved_at_ns == 0)
        return INT64_MAX;
    return MAX(p->floor_ns, p->listed_at_ns - RESUME_MARGIN_NS);
}

/* A part of a line that has not been shipped whole: after a restart it is owed. */
static bool is_owed(const struct line_joiner *joiner, const struct splice_mark *mark,
                    uint64_t number)
{
    const struct line_open *o = &joiner->open[(mark->fingerprint & SPLICE_MARK_STDERR) != 0];

    return (mark->fingerprint & SPLICE_MARK_OWED) ||
           (o->open && number >= o->number && mark->ts_ns == o->ts_ns);
}

static uint64_t first_to_save(const struct splice_history *h, const struct line_joiner *joiner)
{
    uint64_t first = h->next - MIN(h->next - h->first, (uint64_t)MARKS_SAVED);

    for (size_t s = 0; s < ARRAY_SIZE(joiner->open); s++)
        if (joiner->open[s].open)
            first = MIN(first, MAX(joiner->open[s].number, h->first));
    for (uint64_t n = h->first; h->has_owed && n < first; n++)
        if (splice_mark(h, n)->fingerprint & SPLICE_MARK_OWED)
            first = n;
    return first;
}

static int print_marks(struct buf *out, const struct splice_history *h,
                       const struct line_joiner *joiner)
{
    int r = buf_append_str(out, ",\"marks\":\"");

    for (uint64_t n = first_to_save(h, joiner); n < h->next && r == 0; n++) {
        struct splice_mark m = *splice_mark(h, n);

        if (is_owed(joiner, &m, n))
            m.fingerprint |= SPLICE_MARK_OWED;
        r = buf_printf(out, "%016" PRIx64 "%016" PRIx64, (uint64_t)m.ts_ns, m.fingerprint);
    }
    return r < 0 ? r : buf_append_char(out, '"');
}

/* A stream may have no mark that is saved, and still go on in the same nanosecond. */
static int print_last(struct buf *out, const struct splice_history *h)
{
    int r = 0;

    for (size_t s = 0; s < ARRAY_SIZE(last_names) && r == 0; s++)
        if (h->has_last[s])
            r = buf_printf(out, ",\"%s\":[%" PRId64 ",%u]", last_names[s], h->last_ts_ns[s],
                           h->last_ordinal[s]);
    return r;
}

static int print_written(struct buf *out, const struct written *w)
{
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(w->of) && r == 0; i++) {
        const struct written_stream *s = &w->of[i];

        if (s->count == 0)
            continue;
        r = buf_printf(out, ",\"%s\":{\"until\":%" PRId64 ",\"lines\":\"", written_names[i],
                       s->until_ns);
        for (size_t at = 0; at < s->cap && r == 0; at++)
            if (s->fingerprints[at])
                r = buf_printf(out, "%016" PRIx64, s->fingerprints[at]);
        if (r == 0)
            r = buf_append_str(out, "\"}");
    }
    return r;
}

static void print_entry(struct position *e, const struct position_state *state)
{
    int r;

    buf_reset(&e->text);
    r = buf_printf(&e->text, "{\"id\":\"%s\",\"seen_at\":%" PRId64 ",\"floor\":%" PRId64, e->id,
                   e->seen_at_ns, state->history->floor_ns);
    if (r == 0)
        r = print_marks(&e->text, state->history, state->joiner);
    if (r == 0)
        r = print_last(&e->text, state->history);
    if (r == 0)
        r = print_written(&e->text, state->written);
    if (r == 0)
        r = buf_append_char(&e->text, '}');
    if (r < 0)
        buf_reset(&e->text); /* the snapshot sees that it is missing */
}

void positions_put(struct positions *p, const char *id, const struct position_state *state)
{
    struct position *e = p->enabled ? positions_entry(p, id) : NULL;

    if (!e)
        return; /* without memory: saved as it was before */
    e->followed = true;
    e->seen_at_ns = clock_wall_ns();
    print_entry(e, state);
}

void positions_leave(struct positions *p, const char *id)
{
    struct position *e = p->enabled ? entry_find(p, id) : NULL;

    if (e)
        e->followed = false;
}

void positions_forget(struct positions *p, const char *id)
{
    struct position *e = p->enabled ? entry_find(p, id) : NULL;

    if (!e)
        return;
    entry_free(p, e);
    p->touched = true;
}

/* ---- output files ---- */

static struct slice key_slice(const struct position_output_key *key)
{
    return slice_of((const char *)key, sizeof *key);
}

struct position_output *positions_output(const struct positions *p, uint64_t device, uint64_t inode)
{
    struct position_output_key key = {device, inode};
    struct table_link *link = table_find(&p->outputs, key_slice(&key));

    return link ? container_of(link, struct position_output, by_key) : NULL;
}

static void output_free(struct positions *p, struct position_output *o)
{
    table_remove(&p->outputs, &o->by_key);
    free(o->path);
    free(o);
}

/* The file's entry, made if there is none, with this path. NULL without memory. */
static struct position_output *output_entry(struct positions *p, uint64_t directory,
                                            const char *path, uint64_t device, uint64_t inode)
{
    struct position_output *o = positions_output(p, device, inode);
    char *copy;

    if (o)
        o->directory = directory;
    if (o && strcmp(o->path, path) == 0)
        return o;
    copy = strdup(path);
    if (!copy)
        return NULL;
    if (o) {
        free(o->path);
        o->path = copy;
        return o;
    }
    o = calloc(1, sizeof *o);
    if (!o) {
        free(copy);
        return NULL;
    }
    o->path = copy;
    o->directory = directory;
    o->key = (struct position_output_key){device, inode};
    table_insert(&p->outputs, &o->by_key, key_slice(&o->key));
    return o;
}

/* A file without an entry is looked through by its time, after a crash. */
static void put_output(struct positions *p, const struct positions_file *f, bool moved,
                       int64_t keep_until_mono_ns)
{
    struct position_output *o =
        p->enabled ? output_entry(p, p->directories[f->number], f->path, f->device, f->inode)
                   : NULL;

    if (!o)
        return;
    o->size = f->size;
    o->moved = moved;
    o->keep_until_mono_ns = keep_until_mono_ns;
}

void positions_put_output(struct positions *p, const struct positions_file *file)
{
    put_output(p, file, false, 0);
}

void positions_output_found(struct positions *p, const struct positions_file *file)
{
    const struct position_output *o = positions_output(p, file->device, file->inode);
    struct positions_file known = *file;
    struct rotated_name name;

    if (o && strcmp(o->path, file->path) != 0) {
        known.path = o->path;
        positions_output_moved(p, &known);
    } else if (rotated_parse(file->path, &name)) {
        RT_CLEANUP(freep) char *base = slice_dup(slice_of(file->path, name.base_len));

        known.path = base;
        if (base)
            positions_output_moved(p, &known);
    } else {
        put_output(p, file, false, clock_mono_ns() + LOADED_KEPT_NS);
    }
}

void positions_output_closed(struct positions *p, const struct positions_file *file)
{
    put_output(p, file, false, clock_mono_ns() + LEFT_KEPT_NS);
}

void positions_output_moved(struct positions *p, const struct positions_file *file)
{
    put_output(p, file, true, clock_mono_ns() + LEFT_KEPT_NS);
}

/* ---- loading ---- */

/* Of what the first directory has. */
static uint64_t first_directory(const struct positions *p)
{
    return p->directories_count > 0 ? p->directories[0] : 0;
}

static int parse_marks(struct position *e, unsigned version, const char *text)
{
    size_t len = strlen(text);

    if (len % 32 != 0)
        return -EBADMSG;
    for (size_t at = 0; at < len; at += 32) {
        uint64_t ts, fingerprint;
        struct splice_mark mark;
        int used = 0, r;

        if (sscanf(text + at, "%16" SCNx64 "%16" SCNx64 "%n", &ts, &fingerprint, &used) != 2 ||
            used != 32)
            return -EBADMSG;
        mark = (struct splice_mark){(int64_t)ts, fingerprint};
        r = version == VERSION_FIRST ? splice_restore_uncounted(&e->history, &mark)
                                     : splice_restore(&e->history, &mark);
        if (r < 0)
            return r;
        e->history.has_owed |= (fingerprint & SPLICE_MARK_OWED) != 0;
    }
    return 0;
}

static void parse_last(struct position *e, yyjson_val *v)
{
    for (size_t s = 0; s < ARRAY_SIZE(last_names); s++) {
        yyjson_val *last = yyjson_obj_get(v, last_names[s]);

        if (last)
            splice_restore_last(&e->history, s == 0 ? RECORD_STDOUT : RECORD_STDERR,
                                yyjson_get_sint(yyjson_arr_get(last, 0)),
                                (uint16_t)yyjson_get_uint(yyjson_arr_get(last, 1)));
    }
}

/* In version 1 nothing tells whose lines they are. */
static int parse_written(const struct positions *p, struct written_stream *s, unsigned version,
                         yyjson_val *v)
{
    uint64_t output = version == VERSION_FIRST ? first_directory(p) : 0;

    const char *lines = yyjson_get_str(yyjson_obj_get(v, "lines"));
    size_t len = yyjson_get_len(yyjson_obj_get(v, "lines"));

    if (!v)
        return 0;
    if (!lines || len % 16 != 0)
        return -EBADMSG;
    s->until_ns = yyjson_get_sint(yyjson_obj_get(v, "until"));
    for (size_t at = 0; at < len; at += 16) {
        uint64_t fingerprint;
        int used = 0;
        int r;

        if (sscanf(lines + at, "%16" SCNx64 "%n", &fingerprint, &used) != 1 || used != 16)
            return -EBADMSG;
        r = written_restore(s, fingerprint ^ output);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_container(struct positions *p, unsigned version, yyjson_val *v)
{
    const char *id = yyjson_get_str(yyjson_obj_get(v, "id"));
    const char *marks = yyjson_get_str(yyjson_obj_get(v, "marks"));
    struct position *e;
    int r;

    if (!id || !marks || strlen(id) != REPLY_ID_LEN || entry_find(p, id))
        return -EBADMSG;
    e = positions_entry(p, id);
    if (!e)
        return -ENOMEM;
    e->is_restored = true;
    e->seen_at_ns = yyjson_get_sint(yyjson_obj_get(v, "seen_at"));
    e->history.floor_ns = yyjson_get_sint(yyjson_obj_get(v, "floor"));
    r = parse_marks(e, version, marks);
    if (r == 0)
        parse_last(e, v);
    for (size_t i = 0; i < ARRAY_SIZE(e->written.of) && r == 0; i++)
        r = parse_written(p, &e->written.of[i], version, yyjson_obj_get(v, written_names[i]));
    return r;
}

static int parse_output(struct positions *p, unsigned version, yyjson_val *v)
{
    const char *path = yyjson_get_str(yyjson_obj_get(v, "path"));
    uint64_t directory = version == VERSION_FIRST ? first_directory(p)
                                                  : yyjson_get_uint(yyjson_obj_get(v, "directory"));
    struct position_output *o;

    if (!path)
        return -EBADMSG;
    o = output_entry(p, directory, path, yyjson_get_uint(yyjson_obj_get(v, "device")),
                     yyjson_get_uint(yyjson_obj_get(v, "inode")));
    if (!o)
        return -ENOMEM;
    o->size = yyjson_get_uint(yyjson_obj_get(v, "size"));
    o->moved = yyjson_get_bool(yyjson_obj_get(v, "moved"));
    o->keep_until_mono_ns = clock_mono_ns() + LOADED_KEPT_NS;
    return 0;
}

static int parse_root(struct positions *p, unsigned version, yyjson_val *root)
{
    yyjson_val *containers = yyjson_obj_get(root, "containers");
    yyjson_val *outputs = yyjson_obj_get(root, "outputs");
    yyjson_val *v;
    size_t i, n;
    int r;

    if (!yyjson_is_arr(containers) || !yyjson_is_arr(outputs))
        return -EBADMSG;
    p->loaded_saved_at_ns = yyjson_get_sint(yyjson_obj_get(root, "saved_at"));
    p->floor_ns = yyjson_get_sint(yyjson_obj_get(root, "floor"));
    p->listed_at_ns = yyjson_get_sint(yyjson_obj_get(root, "listed_at"));
    yyjson_arr_foreach(containers, i, n, v)
    {
        r = parse_container(p, version, v);
        if (r < 0)
            return r;
    }
    yyjson_arr_foreach(outputs, i, n, v)
    {
        r = parse_output(p, version, v);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool has_head(struct slice text, unsigned version)
{
    char head[HEAD_LEN + 1];

    if (text.len < HEAD_LEN)
        return false;
    snprintf(head, sizeof head, HEAD_FORMAT, version,
             hash_bytes(slice_from(text, HEAD_LEN), HASH_SEED));
    return memcmp(head, text.data, HEAD_LEN) == 0;
}

static int parse_file(struct positions *p, struct slice text)
{
    unsigned version = VERSION;
    yyjson_doc *doc;
    int r;

    while (!has_head(text, version))
        if (version-- == VERSION_FIRST)
            return -EBADMSG;
    doc = yyjson_read(text.data + HEAD_LEN, text.len - HEAD_LEN, 0);
    if (!doc)
        return -EBADMSG;
    r = parse_root(p, version, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return r;
}

static int read_all(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n;

        if (out->len > FILE_BYTES_MAX)
            return -EFBIG;
        if (buf_reserve(out, 65536) < 0)
            return -ENOMEM;
        n = read(fd, out->data + out->len, out->cap - out->len);
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        out->len += (size_t)n;
    }
}

static void forget_all(struct positions *p)
{
    struct table_link *l;

    while ((l = table_next(&p->table, NULL)))
        entry_free(p, container_of(l, struct position, by_id));
    while ((l = table_next(&p->outputs, NULL)))
        output_free(p, container_of(l, struct position_output, by_key));
    p->loaded_saved_at_ns = 0;
}

static void set_aside(struct positions *p, int error)
{
    char aside[300];

    snprintf(aside, sizeof aside, "%s.damaged", p->name);
    log_error("Positions can't be used and are set aside: logs are read from --since on",
              LOG_STR("file", p->name), LOG_STR("set_aside_as", aside), LOG_ERRNO(error));
    (void)renameat(p->dir_fd, p->name, p->dir_fd, aside); /* the next save replaces it anyway */
    forget_all(p);
}

/* Nothing that the file is to blame for: at the next start it may be read. */
static bool may_pass(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -EIO ||
           error == -EINTR;
}

static int load(struct positions *p)
{
    struct buf text = {0};
    int fd = openat(p->dir_fd, p->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int r;

    if (fd < 0 && errno == ENOENT)
        return 0;
    r = fd < 0 ? -errno : read_all(fd, &text);
    if (fd >= 0)
        (void)close(fd); /* read only: nothing to lose */
    if (r == 0)
        r = parse_file(p, buf_slice(&text));
    buf_finish(&text);
    if (may_pass(r))
        return r;
    if (r < 0)
        set_aside(p, r);
    else
        log_info("Positions loaded", LOG_INT("containers", p->table.count));
    return 0;
}

/* ---- saving ---- */

static void save_done(struct positions *p, int error)
{
    positions_enter(p, POSITIONS_IDLE);
    p->error = error;
    if (error < 0) {
        p->save_errors++;
        p->touched = true;
        if (!p->error_said)
            log_error("Positions can't be saved", LOG_STR("file", p->name), LOG_ERRNO(error));
        p->error_said = true;
        return;
    }
    p->saves++;
    if (p->error_said)
        log_info("Positions are saved again", LOG_STR("file", p->name));
    p->error_said = false;
    if (p->on_saved)
        p->on_saved(p->ctx);
}

static void write_on(struct positions *p)
{
    ring_write(p->ring, &p->op, p->fd, slice_from(buf_slice(&p->snapshot), p->written), -1);
}

/* One save is a chain of operations; each result decides the next. */
static void on_op(struct op *op, int res)
{
    struct positions *p = container_of(op, struct positions, op);

    switch (p->state) {
    case POSITIONS_OPENING:
        if (res < 0) {
            save_done(p, res);
            return;
        }
        p->fd = res;
        positions_enter(p, POSITIONS_WRITING);
        write_on(p);
        return;
    case POSITIONS_WRITING:
        if (res > 0)
            p->written += (size_t)res;
        if (res > 0 && p->written < p->snapshot.len) {
            write_on(p);
        } else if (res > 0) {
            positions_enter(p, POSITIONS_SYNCING);
            ring_fsync(p->ring, op, p->fd, false);
        } else {
            p->error = res < 0 ? res : -EIO;
            positions_enter(p, POSITIONS_CLOSING);
            ring_close_fd(p->ring, op, p->fd);
        }
        return;
    case POSITIONS_SYNCING:
        p->error = MIN(res, 0);
        positions_enter(p, POSITIONS_CLOSING);
        ring_close_fd(p->ring, op, p->fd);
        return;
    case POSITIONS_CLOSING:
        p->fd = -1;
        if (p->error < 0) {
            save_done(p, p->error);
            return;
        }
        positions_enter(p, POSITIONS_RENAMING);
        ring_rename(p->ring, op, p->dir_fd, p->name_new, p->name);
        return;
    case POSITIONS_RENAMING:
        if (res < 0) {
            save_done(p, res);
            return;
        }
        positions_enter(p, POSITIONS_DIR_SYNCING);
        ring_fsync(p->ring, op, p->dir_fd, false);
        return;
    case POSITIONS_DIR_SYNCING:
        save_done(p, res == -EINVAL ? 0 : MIN(res, 0)); /* -EINVAL: it can't be synced there */
        return;
    case POSITIONS_IDLE:
    case POSITIONS_SETTLING:
    case POSITIONS_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

static void prune(struct positions *p, int64_t now_ns)
{
    struct table_link *next = table_next(&p->table, NULL);

    while (next) {
        struct position *e = container_of(next, struct position, by_id);

        next = table_next(&p->table, next);
        if (!e->followed && now_ns - e->seen_at_ns > p->keep_ms * NSEC_PER_MSEC)
            entry_free(p, e);
    }
}

static void prune_outputs(struct positions *p, int64_t now_mono_ns)
{
    struct table_link *next = table_next(&p->outputs, NULL);

    while (next) {
        struct position_output *o = container_of(next, struct position_output, by_key);

        next = table_next(&p->outputs, next);
        if (o->keep_until_mono_ns && now_mono_ns > o->keep_until_mono_ns)
            output_free(p, o);
    }
}

/* An entry that nobody has brought up to date since it was loaded. */
static void print_restored(struct position *e)
{
    static const struct line_joiner none;
    struct position_state state = {.history = &e->history, .written = &e->written, .joiner = &none};

    print_entry(e, &state);
}

static int print_containers(struct positions *p)
{
    struct buf *out = &p->snapshot;
    const char *between = "";
    int r = 0;

    for (struct table_link *l = table_next(&p->table, NULL); l && r == 0;
         l = table_next(&p->table, l)) {
        struct position *e = container_of(l, struct position, by_id);

        if (e->text.len == 0 && e->is_restored)
            print_restored(e);
        if (e->text.len == 0)
            return -ENOMEM;
        r = buf_append_str(out, between);
        between = ",\n";
        if (r == 0)
            r = buf_append_slice(out, buf_slice(&e->text));
    }
    return r;
}

static int print_outputs(struct positions *p)
{
    struct buf *out = &p->snapshot;
    const char *between = "{\"path\":";
    int r = 0;

    for (struct table_link *l = table_next(&p->outputs, NULL); l && r == 0;
         l = table_next(&p->outputs, l)) {
        struct position_output *o = container_of(l, struct position_output, by_key);

        r = buf_append_str(out, between);
        between = ",\n{\"path\":";
        if (r == 0)
            r = json_append_string(out, slice_str(o->path));
        if (r == 0)
            r = buf_printf(out,
                           ",\"directory\":%" PRIu64 ",\"device\":%" PRIu64 ",\"inode\":%" PRIu64
                           ",\"size\":%" PRIu64 ",\"moved\":%s}",
                           o->directory, o->key.device, o->key.inode, o->size,
                           o->moved ? "true" : "false");
    }
    return r;
}

static int print_snapshot(struct positions *p, int64_t now_ns)
{
    struct buf *out = &p->snapshot;
    char head[HEAD_LEN + 1];
    int r;

    buf_reset(out);
    r = buf_printf(out, HEAD_FORMAT, VERSION, (uint64_t)0);
    if (r == 0)
        r = buf_printf(out,
                       "{\"saved_at\":%" PRId64 ",\"listed_at\":%" PRId64 ",\"floor\":%" PRId64
                       ",\n\"containers\":[\n",
                       now_ns, p->listed_at_ns, p->floor_ns);
    if (r == 0)
        r = print_containers(p);
    if (r == 0)
        r = buf_append_str(out, "],\n\"outputs\":[\n");
    if (r == 0)
        r = print_outputs(p);
    if (r == 0)
        r = buf_append_str(out, "]}\n");
    if (r < 0)
        return r;
    snprintf(head, sizeof head, HEAD_FORMAT, VERSION,
             hash_bytes(slice_from(buf_slice(out), HEAD_LEN), HASH_SEED));
    memcpy(out->data, head, HEAD_LEN);
    return 0;
}

static void begin_save(struct positions *p, int64_t now_mono_ns)
{
    int64_t now_ns = clock_wall_ns();

    if (!p->collect(p->ctx, p))
        return; /* it stays due */
    p->saved_at_mono_ns = now_mono_ns;
    p->lines_at_save = p->gather->lines;
    p->touched = false;
    prune(p, now_ns);
    prune_outputs(p, now_mono_ns);
    positions_enter(p, POSITIONS_SETTLING);
    if (print_snapshot(p, now_ns) < 0) {
        save_done(p, -ENOMEM);
        return;
    }
    gather_set_barrier(p->gather);
}

static void go_on(struct positions *p)
{
    if (p->state != POSITIONS_SETTLING || !gather_is_settled(p->gather))
        return;
    p->written = 0;
    positions_enter(p, POSITIONS_OPENING);
    ring_open(p->ring, &p->op, p->dir_fd, p->name_new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW,
              0600, 0);
}

void positions_step(struct positions *p, int64_t now_mono_ns)
{
    if (!p->enabled)
        return;
    if (p->state == POSITIONS_IDLE &&
        now_mono_ns - p->saved_at_mono_ns >= p->interval_ms * NSEC_PER_MSEC &&
        (p->touched || p->lines_at_save != p->gather->lines))
        begin_save(p, now_mono_ns);
    go_on(p);
}

void positions_save_now(struct positions *p)
{
    if (!p->enabled || p->state != POSITIONS_IDLE)
        return;
    begin_save(p, clock_mono_ns());
    go_on(p);
}

void positions_abandon(struct positions *p)
{
    p->enabled = false;
    if (p->state == POSITIONS_SETTLING)
        positions_enter(p, POSITIONS_IDLE);
}

bool positions_is_idle(const struct positions *p)
{
    return p->state == POSITIONS_IDLE;
}

int64_t positions_age_ns(const struct positions *p, int64_t now_mono_ns)
{
    bool current =
        p->state == POSITIONS_IDLE && !p->touched && p->lines_at_save == p->gather->lines;

    return !p->enabled || current ? 0 : now_mono_ns - p->saved_at_mono_ns;
}

/* ---- opening and ending ---- */

/* Of a ringtail that has just been killed, the kernel may hold what was in flight a moment longer,
 * and the directory with it. */
static int lock_directory(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * NSEC_PER_MSEC};

    for (unsigned tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
            return -errno;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static int open_directory(struct positions *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    RT_CLEANUP(freep)
    char *dir = slash ? strndup(path, MAX((size_t)(slash - path), (size_t)1)) : strdup(".");
    int r;

    r = dir ? asprintf(&p->name, "%s", slash ? slash + 1 : path) : -1;
    if (r >= 0)
        r = asprintf(&p->name_new, "%s.new", p->name);
    if (r < 0)
        return -ENOMEM;
    if (mkdir(dir, 0750) < 0 && errno != EEXIST)
        return -errno;
    p->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->dir_fd < 0)
        return -errno;
    return lock_directory(p->dir_fd);
}

/*
 * Before the first line is written there has to be a file, however short: what a crash leaves in
 * the output is only told from what was there before by the time of the positions.
 */
static int write_first(struct positions *p)
{
    int64_t now_ns = clock_wall_ns();
    int fd, r;

    p->floor_ns = now_ns;
    r = print_snapshot(p, now_ns);
    if (r < 0)
        return r;
    fd =
        openat(p->dir_fd, p->name_new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, p->snapshot.data, p->snapshot.len) != (ssize_t)p->snapshot.len)
        r = -EIO;
    if (r == 0 && (fsync(fd) < 0 || renameat(p->dir_fd, p->name_new, p->dir_fd, p->name) < 0))
        r = -errno;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

/* By another id the lines that are in a directory already would come a second time: who can't tell
 * its real path does not begin. */
static int identify(struct positions *p, const char *const *directories)
{
    for (size_t i = 0; i < p->directories_count; i++) {
        RT_CLEANUP(freep) char *real = realpath(directories[i], NULL);

        if (!real)
            return -errno;
        p->directories[i] = hash_bytes(slice_str(real), HASH_SEED);
    }
    return 0;
}

int positions_open(struct positions *p, const char *path, const char *const *directories,
                   size_t directories_count, uint32_t marks_max, int64_t interval_ms,
                   int64_t keep_ms)
{
    int r;

    assert(directories_count <= RECORD_FILES_MAX);

    *p = (struct positions){
        .dir_fd = -1,
        .fd = -1,
        .marks_max = marks_max,
        .interval_ms = interval_ms,
        .keep_ms = keep_ms,
        .directories_count = directories_count,
    };
    p->op.done = on_op;
    if (!path)
        return 0;
    r = identify(p, directories);
    if (r == 0)
        r = table_init(&p->table);
    if (r == 0)
        r = table_init(&p->outputs);
    if (r == 0)
        r = open_directory(p, path);
    if (r < 0)
        return r;
    p->enabled = true;
    r = load(p);
    if (r < 0)
        return r;
    if (p->loaded_saved_at_ns == 0) {
        r = write_first(p);
        if (r < 0) /* the first save tries again */
            log_error("Positions can't be saved", LOG_STR("file", p->name), LOG_ERRNO(r));
    }
    return 0;
}

void positions_finish(struct positions *p)
{
    if (p->outputs.buckets)
        forget_all(p);
    table_finish(&p->table);
    table_finish(&p->outputs);
    free(p->name);
    free(p->name_new);
    buf_finish(&p->snapshot);
    if (p->dir_fd >= 0)
        (void)close(p->dir_fd); /* and unlocks it */
    p->dir_fd = -1;
}
