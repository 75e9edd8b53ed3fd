/*
 * The raw body of a TTY container's log, taken apart by the four rules of tty.h. Owns nothing.
 *
 * Invariants: every byte is handed out exactly once and in order. Bytes are held back only where a
 * record may begin and the input ends before that is decided; they hold no blank, since a blank
 * decides. Between calls an open record has had at least one byte.
 */
#include "ringtail/docker/tty.h"

#include <assert.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define NOWHERE SIZE_MAX

enum verdict {
    VERDICT_NO,
    VERDICT_YES,
    VERDICT_MORE, /* the input ends before it is decided */
};

/* A timestamp and its blank at the head of a record. */
struct stamp {
    size_t len;
    int64_t at_ns;
};

static bool stamp_has(char c)
{
    return memchr("0123456789-:.TtZz+", c, 18) != NULL;
}

static enum verdict stamp_find(struct slice in, struct stamp *ret)
{
    size_t n = MIN(in.len, (size_t)TTY_PREFIX_MAX), i = 0;
    int len;

    while (i < n && stamp_has(in.data[i]))
        i++;
    if (i == n)
        return n < TTY_PREFIX_MAX ? VERDICT_MORE : VERDICT_NO;
    if (in.data[i] != ' ')
        return VERDICT_NO;
    len = timestamp_parse_prefix(slice_of(in.data, i + 1), &ret->at_ns);
    if (len < 0)
        return VERDICT_NO;
    ret->len = (size_t)len;
    return VERDICT_YES;
}

/*
 * Whether a record with a prefix begins at the head of `in` (not empty). While none is open, one
 * begins in any case, and NO says that it has no prefix. Writes *ret only with YES, or with MORE.
 */
static enum verdict record_find(const struct tty_reader *r, struct slice in, bool at_chunk,
                                struct stamp *ret)
{
    enum verdict v;
    size_t n;

    if (!r->open)
        return stamp_find(in, ret);
    if (at_chunk && !r->rechunked) {
        v = stamp_find(in, ret);
        return v == VERDICT_YES && r->prefix_len > 0 && ret->at_ns < r->at_ns ? VERDICT_NO : v;
    }
    if (r->prefix_len == 0)
        return VERDICT_NO;
    if (r->text_len == TTY_PART_LEN) {
        n = MIN(in.len, (size_t)r->prefix_len);
        if (memcmp(in.data, r->prefix, n) == 0) {
            *ret = (struct stamp){.len = r->prefix_len, .at_ns = r->at_ns};
            return n == r->prefix_len ? VERDICT_YES : VERDICT_MORE;
        }
    }
    if (r->rechunked && r->later_part && r->after_cr) {
        v = stamp_find(in, ret);
        return v == VERDICT_YES && ret->at_ns <= r->at_ns ? VERDICT_NO : v;
    }
    return VERDICT_NO;
}

/* The end of the text that begins at `at`: behind its newline, or where record_find is to be asked.
 */
static size_t text_find_end(const struct tty_reader *r, struct slice in, size_t at, size_t end,
                            size_t chunk_at)
{
    const char *p;

    if (chunk_at > at)
        end = MIN(end, chunk_at);
    if (r->text_len < TTY_PART_LEN) {
        end = MIN(end, at + (TTY_PART_LEN - r->text_len));
    } else if (r->prefix_len > 0) {
        p = memchr(in.data + at + 1, r->prefix[0], end - at - 1);
        if (p)
            end = (size_t)(p - in.data);
    }
    if (r->rechunked && r->later_part) {
        p = memchr(in.data + at, '\r', end - at);
        if (p)
            end = (size_t)(p - in.data) + 1;
    }
    p = memchr(in.data + at, '\n', end - at);
    if (p)
        end = (size_t)(p - in.data) + 1;
    return end;
}

static int piece_emit(struct tty_reader *r, struct slice piece, bool ends)
{
    unsigned flags = (r->begun ? 0 : FRAME_BEGIN) | (ends ? FRAME_END : 0);

    if (piece.len == 0 && !ends)
        return 0;
    r->begun = !ends;
    return r->on_piece(r->ctx, FRAME_STDOUT, piece, flags);
}

/* Opens a record whose first bytes are at p. */
static void record_begin(struct tty_reader *r, const char *p, const struct stamp *stamp)
{
    r->later_part = r->open && stamp->len > 0 && stamp->len == r->prefix_len &&
                    memcmp(p, r->prefix, stamp->len) == 0;
    r->open = true;
    r->at_ns = stamp->at_ns;
    r->text_len = 0;
    r->prefix_len = (uint8_t)stamp->len;
    memcpy(r->prefix, p, stamp->len);
}

/*
 * Takes in[*at] to in[len - 1], of which the bytes before *at belong to the open record's prefix
 * and are still to be handed out. What stands behind len is only looked at. Stops early where it
 * cannot decide, and then holds all the rest back.
 */
static int span_feed(struct tty_reader *r, struct slice in, size_t len, size_t chunk_at, size_t *at)
{
    size_t from = 0, i = *at;
    int k;

    while (i < len) {
        struct stamp stamp = {0};
        enum verdict v = record_find(r, slice_from(in, i), i == chunk_at, &stamp);
        size_t end;

        if (v == VERDICT_MORE)
            break;
        if (v == VERDICT_YES || !r->open) {
            if (r->open) {
                k = piece_emit(r, slice_of(in.data + from, i - from), true);
                if (k < 0)
                    return k;
            }
            from = i;
            r->rechunked |= i != chunk_at;
            record_begin(r, in.data + i, &stamp);
            i += r->prefix_len;
            if (v == VERDICT_YES)
                continue;
        } else {
            r->rechunked |= i == chunk_at;
        }

        end = text_find_end(r, in, i, len, chunk_at);
        r->text_len = (uint32_t)MIN(r->text_len + (end - i), (size_t)TTY_PART_LEN);
        r->after_cr = in.data[end - 1] == '\r';
        i = end;
        if (in.data[end - 1] == '\n') {
            r->open = false;
            k = piece_emit(r, slice_of(in.data + from, i - from), true);
            if (k < 0)
                return k;
            from = i;
        }
    }

    *at = i;
    if (i < len) {
        struct slice rest = slice_from(in, i);

        assert(rest.len < TTY_PREFIX_MAX);
        memcpy(r->held, rest.data, rest.len);
        r->held_len = (uint8_t)rest.len;
        if (chunk_at != NOWHERE && chunk_at >= i)
            r->chunk_mark = (uint8_t)(chunk_at - i + 1);
        len = i;
    }
    return piece_emit(r, slice_of(in.data + from, len - from), false);
}

int tty_reader_feed(struct tty_reader *r, struct slice in, bool chunk_begins)
{
    size_t at = 0, chunk_at = NOWHERE, held_len;
    int k;

    if (chunk_begins) {
        tty_reader_chunk_end(r);
        r->chunk_mark = (uint8_t)(r->held_len + 1);
    }
    if (in.len == 0)
        return 0;
    if (r->chunk_mark > 0)
        chunk_at = r->chunk_mark - 1u;
    r->chunk_mark = 0;

    held_len = r->held_len;
    if (held_len > 0) {
        /* With this much of the input in sight, whatever begins among the held bytes can be
         * decided. */
        char window[2 * TTY_PREFIX_MAX];
        size_t seen = MIN(in.len, (size_t)TTY_PREFIX_MAX);

        memcpy(window, r->held, held_len);
        memcpy(window + held_len, in.data, seen);
        r->held_len = 0;
        k = span_feed(r, slice_of(window, held_len + seen), held_len, chunk_at, &at);
        if (k < 0 || r->held_len > 0)
            return k;
        at -= held_len;
        chunk_at = chunk_at == NOWHERE || chunk_at < held_len ? NOWHERE : chunk_at - held_len;
    }
    return span_feed(r, in, in.len, chunk_at, &at);
}

void tty_reader_chunk_end(struct tty_reader *r)
{
    /* It began in the middle of a line, and ends before a whole timestamp or anything else was
     * seen. */
    if (r->chunk_mark > 0 && r->held_len > 0)
        r->rechunked = true;
    r->chunk_mark = 0;
}

int tty_reader_finish(struct tty_reader *r)
{
    struct slice rest = slice_of(r->held, r->held_len);

    if (!r->open && rest.len == 0)
        return 0;
    r->open = false;
    r->held_len = 0;
    return piece_emit(r, rest, true);
}
