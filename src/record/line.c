/*
 * record/line.h. A line in one record, the usual case, is handed on from where it lies; only what
 * is open is kept, in a buffer that the batch may take over, so its bytes too are copied once.
 */
#include "ringtail/record/line.h"

#include <errno.h>

#include "ringtail/base/macros.h"

/* Below this a copy is cheaper than giving the buffer away. */
#define HEAP_WORTH_TAKING_BYTES 4096

/* On failure the line stays open as it was. */
static int ship_open(struct line_joiner *j, enum record_stream stream, bool ended)
{
    struct line_open *o = &j->open[stream - RECORD_STDOUT];
    struct line line = {
        .ts_ns = o->ts_ns,
        .stream = stream,
        .ordinal = o->ordinal,
        .bytes = buf_slice(&o->bytes),
        .heap = o->bytes.len >= HEAP_WORTH_TAKING_BYTES ? &o->bytes : NULL,
    };
    int r;

    if (!ended && !(j->parts_lack_newline && o->parts > 1))
        line.flags |= RECORD_PARTIAL;
    if (o->cut_bytes > 0)
        line.flags |= RECORD_PARTIAL | RECORD_TRUNCATED;
    r = j->on_line(j->ctx, &line);
    if (r < 0)
        return r;
    j->lines_cut += o->cut_bytes > 0;
    j->bytes_cut += o->cut_bytes;
    buf_finish(&o->bytes);
    *o = (struct line_open){0};
    return 0;
}

/* A part of a line. On failure nothing has changed, so that the part can come again. */
static int feed_open(struct line_joiner *j, const struct part *part, struct slice text, bool ends)
{
    struct line_open *o = &j->open[part->stream - RECORD_STDOUT];
    struct line_open before = *o;
    size_t fits = MIN(text.len, j->bytes_max - o->bytes.len);
    int r = buf_append(&o->bytes, text.data, fits);

    if (r < 0)
        return r;
    if (!o->open) {
        o->number = part->number;
        o->ordinal = part->ordinal;
    }
    o->open = true;
    o->ts_ns = part->ts_ns;
    o->parts++;
    o->cut_bytes += text.len - fits;
    r = ends ? ship_open(j, part->stream, true) : 0;
    if (r < 0) {
        before.bytes.data = o->bytes.data; /* the memory may have moved */
        before.bytes.cap = o->bytes.cap;
        *o = before;
    }
    return r;
}

int line_joiner_feed(struct line_joiner *j, const struct part *part)
{
    struct line_open *o = &j->open[part->stream - RECORD_STDOUT];
    struct slice text = part->text;
    bool ends = text.len > 0 && text.data[text.len - 1] == '\n';
    int r;

    text.len -= ends;
    if (o->open && o->ts_ns != part->ts_ns) {
        r = ship_open(j, part->stream, false);
        if (r < 0)
            return r;
    }
    if (likely(!o->open && ends && text.len <= j->bytes_max)) {
        struct line line = {
            .ts_ns = part->ts_ns,
            .stream = part->stream,
            .ordinal = part->ordinal,
            .bytes = text,
        };

        return j->on_line(j->ctx, &line);
    }
    return feed_open(j, part, text, ends);
}

int line_joiner_flush_before(struct line_joiner *j, uint64_t number)
{
    for (enum record_stream s = RECORD_STDOUT; s <= RECORD_STDERR; s++) {
        const struct line_open *o = &j->open[s - RECORD_STDOUT];
        int r = o->open && o->number < number ? ship_open(j, s, false) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

int line_joiner_flush(struct line_joiner *j)
{
    return line_joiner_flush_before(j, UINT64_MAX);
}

void line_joiner_finish(struct line_joiner *j)
{
    for (size_t i = 0; i < ARRAY_SIZE(j->open); i++) {
        buf_finish(&j->open[i].bytes);
        j->open[i] = (struct line_open){0};
    }
}
