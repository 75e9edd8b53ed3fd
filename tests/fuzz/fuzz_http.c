/*
 * io/http_reader against itself: a reply in one piece and in pieces of random sizes gives the same
 * head, the same body, the same chunks and the same result. Input: a seed for the cuts, a byte of
 * options, then the bytes of the connection.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/io/http_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WANT_CHUNKS 1u
#define SMALL_HEAD 2u
#define SMALL_PIECES 4u

/* All that is told, in one text: chunk boundaries are marks in a second one, at their places. */
struct outcome {
    unsigned heads, status;
    char content_type[64], api_version[16];
    size_t content_type_len, api_version_len;
    uint8_t *body;
    size_t body_len;
    size_t *marks;
    size_t marks_count;
    bool in_chunk, want_chunks;
    int fed, finished;
    bool complete;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int outcome_head(void *ctx, const struct http_head *head)
{
    struct outcome *o = ctx;

    must(o->heads++ == 0);
    o->status = head->status;
    o->content_type_len = head->content_type.len;
    o->api_version_len = head->api_version.len;
    must(head->content_type.len <= sizeof o->content_type);
    must(head->api_version.len <= sizeof o->api_version);
    memcpy(o->content_type, head->content_type.data, head->content_type.len);
    memcpy(o->api_version, head->api_version.data, head->api_version.len);
    return 0;
}

static int outcome_body(void *ctx, struct slice span, unsigned flags)
{
    struct outcome *o = ctx;

    must(o->heads == 1);
    must(flags == 0 || (o->want_chunks && (flags == HTTP_CHUNK_BEGIN || flags == HTTP_CHUNK_END)));
    must((flags == HTTP_CHUNK_END) == (span.len == 0));
    if (flags) {
        must(o->in_chunk == (flags == HTTP_CHUNK_END));
        o->in_chunk = flags == HTTP_CHUNK_BEGIN;
        o->marks[o->marks_count++] = o->body_len;
    }
    if (span.len > 0)
        memcpy(o->body + o->body_len, span.data, span.len);
    o->body_len += span.len;
    return 0;
}

static const struct http_reader_handlers outcome_handlers = {
    .on_head = outcome_head,
    .on_body = outcome_body,
};

/* Each piece is a copy of its own, so that a read behind its end is seen. */
static int feed_copy(struct http_reader *reader, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    int r;

    must(copy != NULL);
    memcpy(copy, data, len);
    r = http_reader_feed(reader, slice_of(copy, len));
    free(copy);
    return r;
}

static void outcome_make(struct outcome *o, unsigned options, const uint8_t *data, size_t size,
                         size_t piece_max, uint64_t seed)
{
    struct http_reader reader;
    struct random random;

    *o = (struct outcome){
        .body = malloc(size + 1),
        .marks = calloc(size + 1, sizeof(size_t)),
        .want_chunks = (options & WANT_CHUNKS) != 0,
    };
    must(o->body && o->marks);
    random_seed(&random, seed);
    http_reader_init(&reader, &outcome_handlers, o, options & SMALL_HEAD ? 64 : 8192,
                     o->want_chunks);
    for (size_t at = 0, len; at < size && o->fed == 0; at += len) {
        len = piece_max ? (size_t)random_below(&random, piece_max + 1) : size;
        len = MIN(len, size - at);
        o->fed = feed_copy(&reader, data + at, len);
    }
    must(o->fed <= 0);
    o->complete = http_reader_is_complete(&reader);
    if (o->fed == 0)
        o->finished = http_reader_finish(&reader);
    must(!o->complete || o->fed == 0);
    must(!o->complete || o->finished == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, cut;
    unsigned options;

    if (size < 2)
        return 0;
    options = data[1];
    outcome_make(&whole, options, data + 2, size - 2, 0, 0);
    outcome_make(&cut, options, data + 2, size - 2, options & SMALL_PIECES ? 2 : 40, data[0]);

    must(whole.fed == cut.fed);
    must(whole.finished == cut.finished);
    must(whole.complete == cut.complete);
    must(whole.heads == cut.heads);
    must(whole.status == cut.status);
    must(whole.content_type_len == cut.content_type_len);
    must(memcmp(whole.content_type, cut.content_type, whole.content_type_len) == 0);
    must(whole.api_version_len == cut.api_version_len);
    must(memcmp(whole.api_version, cut.api_version, whole.api_version_len) == 0);
    must(whole.body_len == cut.body_len);
    must(memcmp(whole.body, cut.body, whole.body_len) == 0);
    must(whole.marks_count == cut.marks_count);
    must(memcmp(whole.marks, cut.marks, whole.marks_count * sizeof *whole.marks) == 0);

    free(whole.body);
    free(whole.marks);
    free(cut.body);
    free(cut.marks);
    return 0;
}
