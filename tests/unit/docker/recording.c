/* See recording.h. The chunk decoder here is as simple as it can be: it sees whole, good files
 * only. */
#include "recording.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *const recording_engines[3] = {"docker-20.10.24", "docker-26.1.5", "docker-28.5.2"};

static void file_read(struct buf *b, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        fail_msg("cannot open %s", path);
    do {
        assert_int_equal(0, buf_reserve(b, 65536));
        n = fread(b->data + b->len, 1, b->cap - b->len, f);
        b->len += n;
    } while (n > 0);
    assert_int_equal(0, fclose(f));
}

void recording_load(struct recording *r, const char *engine, const char *name)
{
    char path[512];
    const char *head_end;
    struct slice in;

    *r = (struct recording){0};
    (void)snprintf(path, sizeof path, "%s/%s/%s.http", FIXTURES_DIR, engine, name);
    file_read(&r->file, path);
    in = buf_slice(&r->file);
    assert_int_equal(0, buf_reserve(&r->body, 1)); /* an empty body has an address, too */
    head_end = memmem(in.data, in.len, "\r\n\r\n", 4);
    assert_non_null(head_end);
    if (!memmem(in.data, (size_t)(head_end - in.data), "\nTransfer-Encoding: chunked", 27)) {
        assert_int_equal(
            0, buf_append_slice(&r->body, slice_from(in, (size_t)(head_end + 4 - in.data))));
        return;
    }

    in = slice_from(in, (size_t)(head_end + 4 - in.data));
    /* A recording that was cut ends without the last chunk. */
    while (in.len > 0) {
        char *size_end;
        size_t size = strtoul(in.data, &size_end, 16);

        in = slice_from(in, (size_t)(size_end - in.data) + 2);
        if (size == 0)
            break;
        assert_true(in.len >= size + 2);
        assert_true(r->chunks_count < RECORDING_CHUNKS_MAX);
        r->chunks[r->chunks_count++] = slice_of(in.data, size);
        assert_int_equal(0, buf_append(&r->body, in.data, size));
        in = slice_from(in, size + 2);
    }
}

void recording_finish(struct recording *r)
{
    buf_finish(&r->file);
    buf_finish(&r->body);
}

int checker_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct checker *c = ctx;
    const struct expected_record *e = &c->records[c->done];

    assert_true(c->done < c->count);
    assert_int_equal(c->open, !(flags & FRAME_BEGIN));
    assert_int_equal(e->stream, stream);
    assert_true(piece.len <= e->payload.len - c->offset);
    if (piece.len > 0)
        assert_memory_equal(e->payload.data + c->offset, piece.data, piece.len);
    c->offset += piece.len;
    c->open = !(flags & FRAME_END);
    if (!c->open) {
        assert_int_equal(e->payload.len, c->offset);
        c->done++;
        c->offset = 0;
    }
    return 0;
}

void checker_assert_done(const struct checker *c)
{
    assert_false(c->open);
    assert_int_equal(c->count, c->done);
}

void frame_append(struct buf *b, unsigned stream, struct slice payload)
{
    unsigned char header[8] = {(unsigned char)stream,
                               0,
                               0,
                               0,
                               (unsigned char)(payload.len >> 24),
                               (unsigned char)(payload.len >> 16),
                               (unsigned char)(payload.len >> 8),
                               (unsigned char)payload.len};

    assert_int_equal(0, buf_append(b, header, sizeof header));
    assert_int_equal(0, buf_append_slice(b, payload));
}
