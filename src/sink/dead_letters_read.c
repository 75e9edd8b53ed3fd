/*
 * The reader of the dead letters, for the command line: plain files, read in order, line by line.
 * It never writes, and believes no line: what is not a whole letter is counted and left out.
 *
 * All files are opened before the first is read, the current one first: one that is rotated
 * meanwhile is then met a second time, under its next name, and known by its inode.
 */
#include "ringtail/sink/dead_letters.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <yyjson.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define READ_BYTES ((size_t)256 * 1024)

struct reader {
    dead_letter_fn fn;
    void *ctx;
    struct dead_letters_found found;
    struct buf bytes; /* of a line_b64 */
};

static void doc_freep(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
}

static int member_string(yyjson_val *object, const char *key, struct slice *ret)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    if (!yyjson_is_str(value))
        return -EBADMSG;
    *ret = slice_of(yyjson_get_str(value), yyjson_get_len(value));
    return 0;
}

static int member_time(yyjson_val *object, const char *key, int64_t *ret)
{
    struct slice text;
    int r = member_string(object, key, &text);

    if (r == 0 && timestamp_parse(text, ret) < 0)
        r = -EBADMSG;
    return r;
}

static int take_record(struct reader *in, yyjson_val *root, struct dead_letter_line *line)
{
    yyjson_val *partial = yyjson_obj_get(root, "partial");
    yyjson_val *ordinal = yyjson_obj_get(root, "ordinal");
    struct slice stream, b64;
    int r;

    if (member_time(root, "ts", &line->ts_ns) < 0 || member_string(root, "stream", &stream) < 0 ||
        member_string(root, "container_id", &line->container_id) < 0 ||
        member_string(root, "container_name", &line->container_name) < 0 ||
        member_string(root, "image", &line->image) < 0)
        return -EBADMSG;
    if (slice_eq_str(stream, "stdout"))
        line->stream = RECORD_STDOUT;
    else if (slice_eq_str(stream, "stderr"))
        line->stream = RECORD_STDERR;
    else
        return -EBADMSG;
    line->flags = yyjson_is_true(partial) ? RECORD_PARTIAL : 0;
    if (ordinal && (!yyjson_is_uint(ordinal) || yyjson_get_uint(ordinal) > UINT16_MAX))
        return -EBADMSG;
    line->ordinal = (uint16_t)yyjson_get_uint(ordinal);
    if (member_string(root, "line", &line->line) == 0)
        return 0;
    r = member_string(root, "line_b64", &b64);
    if (r < 0)
        return r;
    buf_reset(&in->bytes);
    r = base64_append(&in->bytes, b64);
    line->line = buf_slice(&in->bytes);
    return r;
}

static int take_refusal(yyjson_val *root, struct dead_letter_line *line)
{
    yyjson_val *status = yyjson_obj_get(root, "status");

    if (!yyjson_is_int(status) || yyjson_get_sint(status) < INT_MIN ||
        yyjson_get_sint(status) > INT_MAX)
        return -EBADMSG;
    line->status = (int)yyjson_get_sint(status);
    if (member_string(root, "sink", &line->sink) < 0 ||
        member_string(root, "reason", &line->reason) < 0)
        return -EBADMSG;
    return member_time(root, "dead_at", &line->dead_at_ns);
}

/** Returns what `fn` does; 0 for a damaged line; -ENOMEM. */
static int take_line(struct reader *in, struct slice text)
{
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    struct dead_letter_line line = {.text = text};
    yyjson_read_err error;
    yyjson_val *root;
    int r;

    /* A line that a failed write has torn may have been nothing at all. */
    if (text.len == 0)
        return 0;
    /* Only with YYJSON_READ_INSITU would yyjson write to the text, which is why it takes a char *.
     */
    doc =
        yyjson_read_opts((char *)(uintptr_t)text.data, text.len, YYJSON_READ_NOFLAG, NULL, &error);
    if (!doc && error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return -ENOMEM;
    root = yyjson_doc_get_root(doc);
    r = yyjson_is_obj(root) ? take_record(in, root, &line) : -EBADMSG;
    if (r == 0)
        r = take_refusal(root, &line);
    if (r == -EBADMSG) {
        in->found.damaged++;
        return 0;
    }
    if (r < 0)
        return r;
    in->found.lines++;
    return in->fn(in->ctx, &line);
}

/** Takes all lines of `text` that have an end; returns what is left in `ret_rest`. */
static int take_lines(struct reader *in, struct slice text, struct slice *ret_rest)
{
    const char *newline;
    int r = 0;

    while (r == 0 && text.len > 0 && (newline = memchr(text.data, '\n', text.len))) {
        size_t len = (size_t)(newline - text.data);

        r = take_line(in, slice_of(text.data, len));
        text = slice_from(text, len + 1);
    }
    *ret_rest = text;
    return r;
}

static int read_file(struct reader *in, int fd)
{
    RT_CLEANUP(buf_finish) struct buf buf = {0};
    struct slice rest;
    size_t searched = 0; /* bytes at the front that have no newline */
    ssize_t n;
    int r;

    for (;;) {
        r = buf_reserve(&buf, READ_BYTES);
        if (r < 0)
            return r;
        n = read(fd, buf.data + buf.len, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        buf.len += (size_t)n;
        if (!memchr(buf.data + searched, '\n', buf.len - searched)) {
            searched = buf.len;
            continue;
        }
        r = take_lines(in, buf_slice(&buf), &rest);
        if (r != 0)
            return r;
        buf_consume(&buf, buf.len - rest.len);
        searched = buf.len;
    }
    return take_line(in, buf_slice(&buf));
}

struct opened {
    int fd;
    dev_t device;
    ino_t inode;
};

/** Opens path.number; leaves `ret->fd` at -1 if there is none, or if it is open already. */
static int open_one(const char *path, unsigned number, const struct opened *others,
                    struct opened *ret)
{
    RT_CLEANUP(freep) char *name = NULL;
    struct stat found;

    ret->fd = -1;
    if ((number ? asprintf(&name, "%s.%u", path, number) : asprintf(&name, "%s", path)) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    /* Whatever is in the place of a file must not keep us waiting. */
    ret->fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (ret->fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(ret->fd, &found) < 0)
        return -errno;
    if (!S_ISREG(found.st_mode))
        return -ENOTSUP;
    ret->device = found.st_dev;
    ret->inode = found.st_ino;
    for (unsigned i = 0; i < number; i++) {
        if (others[i].fd >= 0 && others[i].device == ret->device && others[i].inode == ret->inode) {
            (void)close(ret->fd);
            ret->fd = -1;
            break;
        }
    }
    return 0;
}

int dead_letters_read(const char *path, unsigned keep, dead_letter_fn fn, void *ctx,
                      struct dead_letters_found *found)
{
    struct reader in = {.fn = fn, .ctx = ctx};
    struct opened files[DEAD_LETTERS_KEEP_MAX + 1];
    unsigned count = 0;
    int r = 0;

    keep = MIN(keep, DEAD_LETTERS_KEEP_MAX);
    while (r == 0 && count <= keep) {
        r = open_one(path, count, files, &files[count]);
        count++;
    }
    while (count-- > 0) {
        if (files[count].fd < 0)
            continue;
        if (r == 0) {
            in.found.files++;
            r = read_file(&in, files[count].fd);
        }
        (void)close(files[count].fd);
    }
    buf_finish(&in.bytes);
    if (found)
        *found = in.found;
    return r;
}

int dead_letters_parse(struct slice text, dead_letter_fn fn, void *ctx,
                       struct dead_letters_found *found)
{
    struct reader in = {.fn = fn, .ctx = ctx, .found.files = 1};
    struct slice rest;
    int r = take_lines(&in, text, &rest);

    if (r == 0)
        r = take_line(&in, rest);
    buf_finish(&in.bytes);
    if (found)
        *found = in.found;
    return r;
}
