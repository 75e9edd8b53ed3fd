/*
 * record/part and record/line: the input is a script of records, their cuts and their streams. No
 * byte is lost or invented, no line is longer than it may be, and what on_line refuses can come
 * again.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/record/line.h"
#include "ringtail/record/part.h"

#define RECORD_BYTES_MAX 600
#define STAMPS 4 /* few, so that records often continue one another */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
    const uint8_t *data;
    size_t left;
};

static uint8_t take(struct script *s)
{
    if (s->left == 0)
        return 0;
    s->left--;
    return *s->data++;
}

/* What a stream has been given and has not shipped yet. */
struct open_line {
    bool open;
    int64_t ts_ns;
    struct buf bytes;
};

struct world {
    struct line_joiner joiner;
    struct part_reader parts;
    struct open_line before[2]; /* to be shipped first, when the next record does not continue it */
    struct open_line open[2];
    bool refuse; /* the next line once */
    bool take_heap;
    struct slice expected; /* the part that has to come */
    uint64_t parts_count, lines_cut, bytes_cut;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The simplest joiner there is says what has to come. */
static int on_line(void *ctx, const struct line *line)
{
    struct world *w = ctx;
    unsigned s = line->stream - RECORD_STDOUT;
    struct open_line *o = w->before[s].open ? &w->before[s] : &w->open[s];
    size_t max = w->joiner.bytes_max;
    bool ended, cut;

    if (w->refuse) {
        w->refuse = false;
        return -ENOMEM;
    }
    require(o->open && o->ts_ns == line->ts_ns);
    ended = o->bytes.len > 0 && o->bytes.data[o->bytes.len - 1] == '\n';
    cut = o->bytes.len - ended > max;
    require(line->bytes.len == (cut ? max : o->bytes.len - ended));
    require(line->bytes.len == 0 || memcmp(line->bytes.data, o->bytes.data, line->bytes.len) == 0);
    require(!!(line->flags & RECORD_TRUNCATED) == cut);
    require(cut || !!(line->flags & RECORD_PARTIAL) == !ended || w->joiner.parts_lack_newline);
    w->lines_cut += cut;
    w->bytes_cut += cut ? o->bytes.len - ended - max : 0;
    buf_reset(&o->bytes);
    o->open = false;
    if (line->heap && w->take_heap)
        buf_finish(line->heap);
    return 0;
}

static int on_part(void *ctx, struct part *part)
{
    struct world *w = ctx;
    unsigned s = part->stream - RECORD_STDOUT;
    struct open_line *o = &w->open[s];

    require(slice_eq(part->text, w->expected));
    w->parts_count++;
    if (o->open && o->ts_ns != part->ts_ns) {
        struct open_line empty = w->before[s];

        w->before[s] = *o;
        *o = empty;
    }
    o->open = true;
    o->ts_ns = part->ts_ns;
    require(buf_append_slice(&o->bytes, part->text) == 0);
    while (line_joiner_feed(&w->joiner, part) < 0)
        ;
    require(!w->before[s].open);
    /* A newline ends it at once; without one it stays. */
    require(o->open == !(part->text.len > 0 && part->text.data[part->text.len - 1] == '\n'));
    require(w->joiner.open[s].bytes.len <= w->joiner.bytes_max);
    return 0;
}

/* One record: its head, its text from the script, and the script's cuts. */
static void play_record(struct world *w, struct script *s)
{
    uint8_t choice = take(s), repeat = take(s), cut_seed = take(s);
    enum record_stream stream = choice & 1 ? RECORD_STDERR : RECORD_STDOUT;
    char record[TIMESTAMP_LEN + 1 + RECORD_BYTES_MAX];
    size_t text_len = 0, len, at = 0;
    int64_t ts_ns = INT64_C(1795188000000000000) + (choice >> 1) % STAMPS;
    char *copy;

    timestamp_format(record, ts_ns);
    record[TIMESTAMP_LEN] = ' ';
    for (size_t n = take(s) % 64; n > 0 && s->left > 0; n--)
        record[TIMESTAMP_LEN + 1 + text_len++] = (char)take(s);
    /* A newline is only ever at the end. */
    for (size_t i = 0; i < text_len; i++)
        if (record[TIMESTAMP_LEN + 1 + i] == '\n')
            record[TIMESTAMP_LEN + 1 + i] = '\r';
    while (text_len > 0 && text_len < repeat * 2u && text_len * 2 < RECORD_BYTES_MAX) {
        memcpy(record + TIMESTAMP_LEN + 1 + text_len, record + TIMESTAMP_LEN + 1, text_len);
        text_len *= 2;
    }
    if (choice & 8)
        record[TIMESTAMP_LEN + 1 + text_len++] = '\n';
    len = TIMESTAMP_LEN + 1 + text_len;
    w->refuse = (choice & 16) != 0;
    w->take_heap = (choice & 32) != 0;
    w->expected = slice_of(record + TIMESTAMP_LEN + 1, text_len);

    /* In memory of exactly its size, so that reading on is seen. */
    copy = malloc(len);
    require(copy != NULL);
    memcpy(copy, record, len);
    while (at < len) {
        size_t step = cut_seed == 0 ? len : 1 + cut_seed % 37u;
        unsigned flags = at == 0 ? PART_BEGIN : 0;

        step = MIN(step, len - at);
        flags |= at + step == len ? PART_END : 0;
        require(part_reader_feed(&w->parts, stream, slice_of(copy + at, step), flags) == 0);
        at += step;
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {.data = data, .left = size};
    struct world w = {.parts = {.on_part = on_part, .size_max = 4096}};
    uint64_t records = 0;

    w.parts.ctx = &w;
    w.joiner = (struct line_joiner){
        .on_line = on_line,
        .ctx = &w,
        .bytes_max = 1 + take(&s) % 200u * 40u,
        .parts_lack_newline = take(&s) & 1,
    };
    for (; s.left > 0; records++)
        play_record(&w, &s);
    require(w.parts_count == records);
    w.refuse = size % 2;
    while (line_joiner_flush(&w.joiner) < 0)
        ;
    require(!w.open[0].open && !w.open[1].open);
    require(w.joiner.lines_cut == w.lines_cut && w.joiner.bytes_cut == w.bytes_cut);

    line_joiner_finish(&w.joiner);
    part_reader_finish(&w.parts);
    for (size_t i = 0; i < ARRAY_SIZE(w.open); i++) {
        buf_finish(&w.before[i].bytes);
        buf_finish(&w.open[i].bytes);
    }
    return 0;
}
