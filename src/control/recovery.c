/*
 * src/control/recovery.h. A line of the output is turned back into the Engine records that it was
 * made of (parts of 16384 bytes, the last with its newline), whose fingerprints the splice then
 * knows.
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

#include "ringtail/base/hash.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

/* The Engine cuts longer lines into records of this size. */
#define PART_BYTES 16384
#define READ_BYTES (256u << 10)
/* A file that was made after the positions may carry a stamp from a little before. */
#define CLOCK_SLACK_NS (5 * NSEC_PER_SEC)

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int base64_decode(struct buf *out, const char *in)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (; *in && *in != '='; in++) {
        int value = base64_value(*in);

        if (value < 0)
            return -EBADMSG;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (buf_append_char(out, (char)(bits >> have)) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* The bytes of the line, with the newline that it had in the Engine's log. */
static int line_text(yyjson_val *record, struct buf *out)
{
    yyjson_val *line = yyjson_obj_get(record, "line");
    const char *b64 = yyjson_get_str(yyjson_obj_get(record, "line_b64"));
    int r;

    if (line)
        r = buf_append(out, yyjson_get_str(line), yyjson_get_len(line));
    else
        r = b64 ? base64_decode(out, b64) : -EBADMSG;
    if (r == 0 && !yyjson_get_bool(yyjson_obj_get(record, "partial")))
        r = buf_append_char(out, '\n');
    return r;
}

static void take_parts(struct position *e, int64_t ts_ns, enum record_stream stream,
                       struct slice text)
{
    size_t parts = 0;

    while (text.len > 0) {
        size_t len = MIN(text.len, (size_t)PART_BYTES);
        struct part part = {.ts_ns = ts_ns, .stream = stream};

        /* The newline is never cut from the 16384 bytes in front of it … it is a part by itself. */
        if (e->parts_lack_newline && parts > 0 && len == text.len && text.data[len - 1] == '\n')
            len--;
        part.text = slice_of(text.data, len);
        part.fingerprint = hash_bytes(part.text, (uint64_t)stream);
        splice_restore_written(&e->history, &e->written, &part);
        if (e->parts_lack_newline && len + 1 == text.len)
            return;
        text = slice_from(text, len);
        parts++;
    }
}

/* Lines that are none of ours are left alone. Returns 0 or -ENOMEM. */
static int take_line(struct positions *p, struct slice line, struct buf *scratch)
{
    yyjson_doc *doc = yyjson_read(line.data, line.len, 0);
    yyjson_val *record = yyjson_doc_get_root(doc);
    const char *id = yyjson_get_str(yyjson_obj_get(record, "container_id"));
    const char *ts = yyjson_get_str(yyjson_obj_get(record, "ts"));
    const char *stream = yyjson_get_str(yyjson_obj_get(record, "stream"));
    struct position *e = id ? positions_entry(p, id) : NULL;
    int64_t ts_ns;
    int r = 0;

    buf_reset(scratch);
    if (e && ts && stream && timestamp_parse(slice_str(ts), &ts_ns) == 0) {
        r = line_text(record, scratch);
        if (r == 0)
            take_parts(e, ts_ns, strcmp(stream, "stderr") == 0 ? RECORD_STDERR : RECORD_STDOUT,
                       buf_slice(scratch));
    }
    yyjson_doc_free(doc);
    return r == -ENOMEM ? r : 0;
}

/* All whole lines from `offset` on; what a crash has torn at the end is cut off. */
static int take_file(struct positions *p, int fd, uint64_t offset, struct recovery_result *ret)
{
    struct buf bytes = {0}, scratch = {0};
    uint64_t at = offset; /* of bytes.data[0] in the file */
    ssize_t n = 1;
    int r = 0;

    ret->files++;
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

            r = take_line(p, slice_of(bytes.data + begin, end - begin), &scratch);
            begin = end + 1;
            ret->lines++;
        }
        buf_consume(&bytes, begin);
        at += begin;
    }
    if (r == 0 && bytes.len > 0) {
        ret->torn++;
        if (ftruncate(fd, (off_t)at) < 0)
            r = -errno;
    }
    buf_finish(&bytes);
    buf_finish(&scratch);
    return r;
}

static const struct position_output *find_output(const struct positions *p, const struct stat *st)
{
    for (size_t i = 0; i < p->outputs_count; i++)
        if (p->outputs[i].inode == st->st_ino && p->outputs[i].device == st->st_dev)
            return &p->outputs[i];
    return NULL;
}

/* From where on the file may have lines that the positions don't know; -1: it has none. */
static int64_t unknown_from(const struct positions *p, const struct stat *st)
{
    const struct position_output *o = find_output(p, st);
    int64_t modified_ns = st->st_mtim.tv_sec * NSEC_PER_SEC + st->st_mtim.tv_nsec;

    if (o)
        return (uint64_t)st->st_size > o->size ? (int64_t)o->size : -1;
    return modified_ns >= p->loaded_saved_at_ns - CLOCK_SLACK_NS ? 0 : -1;
}

static int visit(struct positions *p, const FTSENT *entry, struct recovery_result *ret)
{
    int64_t offset = unknown_from(p, entry->fts_statp);
    int fd, r;

    if (offset < 0)
        return 0;
    fd = open(entry->fts_accpath, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    r = take_file(p, fd, (uint64_t)offset, ret);
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

int recovery_run(struct positions *p, const char *directory, struct recovery_result *ret)
{
    char *paths[] = {(char *)(uintptr_t)directory, NULL};
    FTSENT *entry;
    FTS *fts;
    int r = 0;

    *ret = (struct recovery_result){0};
    if (!p->enabled || p->loaded_saved_at_ns == 0)
        return 0;
    fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_age);
    if (!fts)
        return -errno;
    while (r == 0 && (entry = fts_read(fts))) {
        if (entry->fts_info == FTS_D && entry->fts_level > 0 && entry->fts_name[0] == '.')
            (void)fts_set(fts, entry, FTS_SKIP); /* ours: the positions lie there */
        else if (entry->fts_info == FTS_F)
            r = visit(p, entry, ret);
    }
    (void)fts_close(fts);
    for (struct table_link *l = table_next(&p->table, NULL); l; l = table_next(&p->table, l)) {
        struct position *e = container_of(l, struct position, by_id);

        splice_restore_end(&e->history, &e->written);
    }
    return r;
}
