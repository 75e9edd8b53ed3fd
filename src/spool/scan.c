/*
 * scan.h, and spool_scan. Reads only; a spool that is in use may grow, and lose its oldest
 * segments, meanwhile.
 */
#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"

#include "cursors.h"

#define CHUNK_BYTES ((size_t)1 << 20)

/* ---- files ---- */

static int by_place(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int add_begin(uint64_t **list, size_t *count, size_t *cap, uint64_t begin)
{
    if (*count == *cap) {
        size_t more_cap = *cap ? 2 * *cap : 64;
        uint64_t *more = realloc(*list, more_cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        *list = more;
        *cap = more_cap;
    }
    (*list)[(*count)++] = begin;
    return 0;
}

int segments_list(int dir_fd, uint64_t **ret, size_t *ret_count)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    uint64_t *list = NULL, begin;
    size_t count = 0, cap = 0;
    struct dirent *found;
    int r = dir ? 0 : -errno;

    if (!dir && fd >= 0)
        (void)close(fd); /* read only: nothing to lose */
    while (r == 0 && (found = readdir(dir))) {
        if (segment_name_parse(found->d_name, &begin))
            r = add_begin(&list, &count, &cap, begin);
    }
    if (dir)
        (void)closedir(dir);
    if (r < 0) {
        free(list);
        return r;
    }
    if (count > 0)
        qsort(list, count, sizeof *list, by_place);
    *ret = list;
    *ret_count = count;
    return 0;
}

static int stop_at_entry(void *ctx, const struct walk *w, enum walk_step step,
                         const struct entry *e)
{
    (void)w;
    if (step == WALK_DAMAGED)
        return 0;
    *(uint64_t *)ctx = e->number;
    return -ECANCELED;
}

/** A damaged head: the first whole entry says the number too. */
static void guess_head(struct segment_file *f, uint64_t begin)
{
    struct walk w = {.place = {.at = begin}, .limit = begin + f->size};

    f->head_damaged = true;
    f->head = (struct segment_head){.begin = {.at = begin}};
    if (f->size > SEGMENT_HEAD_BYTES)
        w.place.at += SEGMENT_HEAD_BYTES;
    (void)segment_file_walk(f, &w, stop_at_entry, &f->head.begin.record);
}

int segment_file_open(int dir_fd, uint64_t begin, int flags, struct segment_file *ret)
{
    char name[SEGMENT_NAME_LEN + 1], head[SEGMENT_HEAD_BYTES];
    struct segment_file f = {0};
    struct stat st;
    ssize_t n;
    int r;

    segment_name_put(name, begin);
    f.fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (f.fd < 0)
        return -errno;
    r = fstat(f.fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -ENOTSUP;
    f.size = r == 0 ? (uint64_t)st.st_size : 0;
    n = r == 0 ? pread(f.fd, head, sizeof head, 0) : 0;
    if (n < 0)
        r = -errno;
    if (r == 0)
        r = segment_head_parse(slice_of(head, (size_t)n), &f.head);
    if (r == -EBADMSG || (r == 0 && f.head.begin.at != begin)) {
        guess_head(&f, begin);
        r = 0;
    }
    if (r < 0) {
        (void)close(f.fd); /* nothing was written */
        return r;
    }
    *ret = f;
    return 0;
}

/** Fills the window from the walk's place on. */
static int read_window(const struct segment_file *file, const struct walk *w, struct buf *window)
{
    size_t want = (size_t)MIN((uint64_t)MAX(CHUNK_BYTES, w->need), w->limit - w->place.at);

    buf_reset(window);
    if (buf_reserve(window, want) < 0)
        return -ENOMEM;
    while (window->len < want) {
        ssize_t n = pread(file->fd, window->data + window->len, want - window->len,
                          (off_t)(w->place.at - file->head.begin.at + window->len));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA; /* it has become shorter */
        window->len += (size_t)n;
    }
    return 0;
}

int segment_file_walk(const struct segment_file *file, struct walk *w, segment_walk_fn fn,
                      void *ctx)
{
    RT_CLEANUP(buf_finish) struct buf window = {0};
    uint64_t window_at = w->place.at;
    struct entry e = {0};
    int r = 0;

    while (r == 0) {
        size_t from = (size_t)MIN(w->place.at - window_at, (uint64_t)window.len);
        enum walk_step step = walk_next(w, slice_from(buf_slice(&window), from), &e);

        if (step == WALK_END)
            break;
        if (step == WALK_MORE) {
            window_at = w->place.at;
            r = read_window(file, w, &window);
        } else {
            r = fn(ctx, w, step, &e);
        }
    }
    return r;
}

/* ---- sources ---- */

struct known_source {
    uint32_t at;
    struct source *source;
};

struct scan {
    const struct spool_scan_handlers *handlers;
    void *ctx;
    uint64_t from_at;
    struct spool_segment_report report;
    struct known_source *sources; /* of this segment, by `at` */
    size_t sources_count, sources_cap;
    uint64_t damaged_since, missing_since; /* what may be a torn end, or damage */
    int stopped;                           /* what on_record returned */
};

static struct source *find_source(const struct scan *sc, uint32_t at)
{
    size_t low = 0, high = sc->sources_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sc->sources[middle].at == at)
            return sc->sources[middle].source;
        if (sc->sources[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int add_source(struct scan *sc, const struct entry *e)
{
    struct source_names names;
    struct source *source;

    if (find_source(sc, e->source) || !source_parse(e->payload, &names) ||
        (sc->sources_count > 0 && sc->sources[sc->sources_count - 1].at >= e->source))
        return 0;
    if (sc->sources_count == sc->sources_cap) {
        size_t cap = sc->sources_cap ? 2 * sc->sources_cap : 64;
        struct known_source *more = realloc(sc->sources, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        sc->sources = more;
        sc->sources_cap = cap;
    }
    source = source_create(names.id, names.name, names.image);
    if (!source)
        return -ENOMEM;
    sc->sources[sc->sources_count++] = (struct known_source){.at = e->source, .source = source};
    sc->report.sources++;
    return 0;
}

static void drop_sources(struct scan *sc)
{
    while (sc->sources_count > 0)
        (void)source_unref(sc->sources[--sc->sources_count].source);
}

/* ---- segments ---- */

static int scan_record(struct scan *sc, const struct walk *w, const struct entry *e)
{
    struct source *source = find_source(sc, e->source);
    struct record record = {
        .ts_ns = e->ts_ns,
        .data = e->payload.data,
        .source = source,
        .len = (uint32_t)e->payload.len,
        .stream = e->stream,
        .flags = e->flags,
        .ordinal = e->ordinal,
    };

    if (!source) {
        sc->report.records_damaged++;
        return 0;
    }
    sc->report.records++;
    if (sc->report.first_ms == 0)
        sc->report.first_ms = e->at_ms;
    sc->report.last_ms = e->at_ms;
    if (!sc->handlers->on_record || w->entry_at < sc->from_at)
        return 0;
    sc->stopped = sc->handlers->on_record(
        sc->ctx, &record, (struct spool_place){.at = w->entry_at, .record = e->number}, e->cursors,
        e->at_ms);
    return MIN(sc->stopped, 0);
}

static int on_step(void *ctx, const struct walk *w, enum walk_step step, const struct entry *e)
{
    struct scan *sc = ctx;

    sc->missing_since += w->missing;
    if (step == WALK_DAMAGED) {
        sc->damaged_since += w->damaged;
        return 0;
    }
    sc->report.records_damaged += sc->missing_since;
    sc->report.bytes_damaged += sc->damaged_since;
    sc->missing_since = sc->damaged_since = 0;
    sc->report.end = w->place;
    return step == WALK_SOURCE ? add_source(sc, e) : scan_record(sc, w, e);
}

/** `next` is the head of the one behind it, or NULL. */
static int scan_segment(struct scan *sc, const struct segment_file *file,
                        const struct segment_file *next)
{
    char name[SEGMENT_NAME_LEN + 1];
    struct walk w = {.place = file->head.begin, .limit = file->head.begin.at + file->size};
    int r;

    segment_name_put(name, file->head.begin.at);
    sc->report = (struct spool_segment_report){
        .name = name, .begin = file->head.begin, .end = file->head.begin};
    sc->report.bytes_damaged = file->head_damaged ? MIN(file->size, SEGMENT_HEAD_BYTES) : 0;
    sc->missing_since = sc->damaged_since = 0;
    if (next)
        w.limit = MIN(w.limit, next->head.begin.at);
    w.place.at = MIN(w.place.at + SEGMENT_HEAD_BYTES, w.limit);
    r = segment_file_walk(file, &w, on_step, sc);
    drop_sources(sc);
    if (sc->stopped < 0 || r == -ENOMEM)
        return r;
    if (next) {
        sc->report.bytes_damaged += sc->damaged_since;
        if (next->head.begin.record > sc->report.end.record)
            sc->report.records_damaged += next->head.begin.record - sc->report.end.record;
        sc->report.end = (struct spool_place){.at = w.limit, .record = next->head.begin.record};
    } else {
        sc->report.bytes_torn = sc->damaged_since;
    }
    sc->report.error = r == -ENODATA ? 0 : r;
    if (sc->handlers->on_segment)
        sc->handlers->on_segment(sc->ctx, &sc->report);
    return 0;
}

/** The next segment from `i` on that is still there. */
static int open_next(int dir_fd, const uint64_t *begins, size_t count, size_t *i,
                     struct segment_file *ret)
{
    int r = -ENOENT;

    while (r == -ENOENT && *i < count)
        r = segment_file_open(dir_fd, begins[(*i)++], O_RDONLY, ret);
    return r;
}

static int scan_segments(struct scan *sc, int dir_fd, const uint64_t *begins, size_t count)
{
    struct segment_file file, next;
    size_t i = 0;
    int r = open_next(dir_fd, begins, count, &i, &file), next_r;

    while (r == 0) {
        next_r = open_next(dir_fd, begins, count, &i, &next);
        r = scan_segment(sc, &file, next_r == 0 ? &next : NULL);
        (void)close(file.fd); /* read only: nothing to lose */
        if (r < 0 && next_r == 0)
            (void)close(next.fd);
        if (r < 0)
            return r;
        r = next_r;
        file = next;
    }
    return r == -ENOENT ? 0 : r;
}

static int scan_cursors(struct scan *sc, int dir_fd)
{
    size_t size = (1 + SPOOL_CURSORS_MAX) * CURSOR_PAIR_BYTES;
    RT_CLEANUP(freep) char *bytes = NULL;
    struct cursor_slot slot;
    ssize_t n;
    int fd;

    if (!sc->handlers->on_cursor)
        return 0;
    fd = openat(dir_fd, CURSORS_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    bytes = malloc(size);
    n = bytes ? pread(fd, bytes, size, 0) : -1;
    (void)close(fd); /* read only: nothing to lose */
    if (n < 0)
        return bytes ? -EIO : -ENOMEM;
    for (size_t i = 1; i * CURSOR_PAIR_BYTES < (size_t)n; i++) {
        if (cursor_pair_parse(slice_of(bytes, (size_t)n), i, &slot) == CURSOR_PAIR_WHOLE)
            sc->handlers->on_cursor(sc->ctx, slot.name, (uint16_t)BIT(i - 1), slot.place);
    }
    return 0;
}

int spool_scan(const char *directory, uint64_t from_at, const struct spool_scan_handlers *handlers,
               void *ctx, char *why, size_t why_size)
{
    struct scan sc = {.handlers = handlers, .ctx = ctx, .from_at = from_at};
    RT_CLEANUP(freep) uint64_t *begins = NULL;
    int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t count = 0;
    int r;

    (void)snprintf(why, why_size, "%s", "");
    r = dir_fd < 0 ? -errno : scan_cursors(&sc, dir_fd);
    if (r == 0)
        r = segments_list(dir_fd, &begins, &count);
    if (r == 0)
        r = scan_segments(&sc, dir_fd, begins, count);
    if (dir_fd >= 0)
        (void)close(dir_fd); /* read only: nothing to lose */
    free(sc.sources);
    if (r < 0)
        (void)snprintf(why, why_size, "%s: %s", directory, strerror(-r));
    return r;
}
