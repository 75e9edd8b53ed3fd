/*
 * src/control/recovery.h. Files are visited in the order in which they were written, so that what
 * was settled but is not in a file is looked for in the ones that came after it.
 */
#include "recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

#include "ringtail/base/json.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/sink/rotated.h"

#define READ_BYTES (256u << 10)
/* A file that was made after the positions may carry a stamp from a little before. */
#define CLOCK_SLACK_NS (5 * NSEC_PER_SEC)

/* One directory that is looked through. */
struct look {
    struct positions *positions;
    unsigned number;
    uint64_t directory; /* its id */
    struct recovery_result *result;
};

static int line_bytes(yyjson_val *record, struct buf *scratch, struct slice *ret)
{
    yyjson_val *line = yyjson_obj_get(record, "line");
    yyjson_val *b64 = yyjson_obj_get(record, "line_b64");
    int r = -EBADMSG;

    if (yyjson_is_str(line)) {
        *ret = slice_of(yyjson_get_str(line), yyjson_get_len(line));
        return 0;
    }
    buf_reset(scratch);
    if (yyjson_is_str(b64))
        r = base64_append(scratch, slice_of(yyjson_get_str(b64), yyjson_get_len(b64)));
    *ret = buf_slice(scratch);
    return r;
}

/* Lines that are none of ours are left alone, dead letters among them. Returns 0 or -ENOMEM. */
static int take_line(const struct look *look, struct slice line, struct buf *scratch)
{
    yyjson_doc *doc = yyjson_read(line.data, line.len, 0);
    yyjson_val *record = yyjson_doc_get_root(doc);
    const char *id = yyjson_get_str(yyjson_obj_get(record, "container_id"));
    const char *ts = yyjson_get_str(yyjson_obj_get(record, "ts"));
    const char *stream = yyjson_get_str(yyjson_obj_get(record, "stream"));
    bool is_dead_letter = yyjson_obj_get(record, "sink") != NULL;
    struct position *e = id && !is_dead_letter ? positions_entry(look->positions, id) : NULL;
    struct slice bytes;
    int64_t ts_ns;
    int r = 0;

    if (e && ts && stream && timestamp_parse(slice_str(ts), &ts_ns) == 0)
        r = line_bytes(record, scratch, &bytes);
    else
        r = -EBADMSG;
    if (r == 0) {
        e->is_restored = true;
        r = written_add(&e->written, look->directory,
                        strcmp(stream, "stderr") == 0 ? RECORD_STDERR : RECORD_STDOUT, ts_ns,
                        bytes);
    }
    yyjson_doc_free(doc);
    return r == -ENOMEM ? r : 0;
}

/* All whole lines from `offset` on; what a crash has torn at the end is cut off. */
static int take_file(const struct look *look, int fd, uint64_t offset)
{
    struct buf bytes = {0}, scratch = {0};
    uint64_t at = offset; /* of bytes.data[0] in the file */
    ssize_t n = 1;
    int r = 0;

    look->result->files++;
    while (r == 0 && n > 0) {
        size_t begin = 0;
        const char *newline;

        r = buf_reserve(&bytes, READ_BYTES);
        if (r < 0)
            break;
        n = pread(fd, bytes.data + bytes.len, READ_BYTES, (off_t)(at + bytes.len));
        if (n < 0)
            r = -errno;
        bytes.len += n > 0 ? (size_t)n : 0;
        while (r == 0 && (newline = memchr(bytes.data + begin, '\n', bytes.len - begin))) {
            size_t end = (size_t)(newline - bytes.data);

            r = take_line(look, slice_of(bytes.data + begin, end - begin), &scratch);
            begin = end + 1;
            look->result->lines++;
        }
        buf_consume(&bytes, begin);
        at += begin;
    }
    if (r == 0 && bytes.len > 0) {
        look->result->torn++;
        if (ftruncate(fd, (off_t)at) < 0)
            r = -errno;
    }
    buf_finish(&bytes);
    buf_finish(&scratch);
    return r;
}

/* Whether the file at `path` has, or had, the other path: rotated files have a number behind it. */
static bool is_of_family(const char *path, const char *base)
{
    size_t len = strlen(base);

    if (strncmp(path, base, len) != 0)
        return false;
    path += len;
    if (*path == '.')
        path += 1 + strspn(path + 1, "0123456789");
    return *path == '\0';
}

/* How many of the file's bytes were settled with a file that has its path no more. */
static uint64_t settled_elsewhere(const struct look *look, const char *path, uint64_t size)
{
    const struct positions *p = look->positions;

    for (struct table_link *l = table_next(&p->outputs, NULL); l; l = table_next(&p->outputs, l)) {
        struct position_output *o = container_of(l, struct position_output, by_key);

        if (o->elsewhere > 0 && o->directory == look->directory && is_of_family(path, o->path)) {
            uint64_t bytes = MIN(o->elsewhere, size);

            o->elsewhere -= bytes;
            return bytes;
        }
    }
    return 0;
}

static int64_t modified_ns(const struct stat *st)
{
    return st->st_mtim.tv_sec * NSEC_PER_SEC + st->st_mtim.tv_nsec;
}

/* The file's entry. The kernel gives the number of a file that is gone to a new one; nothing was
 * written to one that had been rotated when the positions were taken. */
static struct position_output *find_output(const struct positions *p, const char *path,
                                           const struct stat *st)
{
    struct position_output *o = positions_output(p, st->st_dev, st->st_ino);

    if (o && o->moved &&
        ((uint64_t)st->st_size != o->size || strcmp(o->path, path) == 0 ||
         modified_ns(st) > p->loaded_saved_at_ns))
        return NULL;
    return o;
}

/* From where on the file may have lines that the positions don't know. */
static uint64_t unknown_from(const struct look *look, const char *path, const struct stat *st)
{
    const struct positions *p = look->positions;
    struct position_output *o = find_output(p, path, st);
    uint64_t size = (uint64_t)st->st_size;

    if (o) {
        o->elsewhere = o->size - MIN(o->size, size);
        return MIN(o->size, size);
    }
    return modified_ns(st) >= p->loaded_saved_at_ns - CLOCK_SLACK_NS
               ? settled_elsewhere(look, path, size)
               : size;
}

static int visit(const struct look *look, const char *path, const FTSENT *entry)
{
    struct positions *p = look->positions;
    uint64_t offset = unknown_from(look, path, entry->fts_statp);
    bool is_newer = offset < (uint64_t)entry->fts_statp->st_size;
    struct stat st;
    int fd, r = 0;

    if (!is_newer && !positions_output(p, entry->fts_statp->st_dev, entry->fts_statp->st_ino))
        return 0;
    fd = open(entry->fts_accpath, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    if (is_newer)
        r = take_file(look, fd, offset);
    if (r == 0 && fstat(fd, &st) == 0)
        positions_output_found(p, &(struct positions_file){look->number, path, st.st_dev, st.st_ino,
                                                           (uint64_t)st.st_size});
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

/* A file was rotated by giving it a number: what is older comes first, so that lines come in their
 * order. */
static int by_age(const FTSENT **a, const FTSENT **b)
{
    const struct timespec *x = &(*a)->fts_statp->st_mtim, *y = &(*b)->fts_statp->st_mtim;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    if (x->tv_nsec != y->tv_nsec)
        return x->tv_nsec < y->tv_nsec ? -1 : 1;
    /* name.2 before name.1 before name */
    return -strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Or about to be. The positions cover all that is in it: only then was it compressed
 * (sink_file_saved). */
static bool is_compressed(const char *name)
{
    struct rotated_name rotated;

    return rotated_parse(name, &rotated) && rotated.form != ROTATED_PLAIN;
}

/* The positions may lie there, or what is another one's. */
static bool is_to_be_skipped(const FTSENT *entry, const struct recovery_places *places)
{
    struct stat st;

    if (entry->fts_name[0] == '.')
        return true;
    for (size_t i = 0; i < places->count; i++)
        if (stat(places->directories[i], &st) == 0 && st.st_ino == entry->fts_statp->st_ino &&
            st.st_dev == entry->fts_statp->st_dev)
            return true;
    return false;
}

int recovery_run(struct positions *p, const struct recovery_places *places, unsigned number,
                 struct recovery_result *ret)
{
    const char *directory = places->directories[number];
    char *paths[] = {(char *)(uintptr_t)directory, NULL};
    size_t directory_len = strlen(directory);
    struct look look = {.positions = p, .number = number, .result = ret};
    FTSENT *entry;
    FTS *fts;
    int r = 0;

    *ret = (struct recovery_result){0};
    while (directory_len > 1 && directory[directory_len - 1] == '/')
        directory_len--;
    if (!p->enabled || p->loaded_saved_at_ns == 0)
        return 0;
    look.directory = p->directories[number];
    fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_age);
    if (!fts)
        return -errno;
    while (r == 0 && (entry = fts_read(fts))) {
        if (entry->fts_info == FTS_D && entry->fts_level > 0 && is_to_be_skipped(entry, places))
            (void)fts_set(fts, entry, FTS_SKIP);
        else if (entry->fts_info == FTS_F && !is_compressed(entry->fts_name))
            r = visit(&look, entry->fts_path + directory_len + 1, entry);
    }
    (void)fts_close(fts);
    return r;
}
