/*
 * The queue of encoded bytes. Chunks come from the sink's pool and grow with what is waiting: a
 * quiet file holds 4 KiB while it has something to write and nothing between, a busy one writes
 * 256 KiB at a time, which is as fast as larger writes get.
 *
 * Invariants: head is the chunk of the next byte to write, and only the tail is appended to; every
 * chunk but a lone one has unwritten bytes; marks are in the order of their ends, each behind
 * `written`.
 */
#include "out_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/ndjson.h"

#define CHUNK_LEAST ((size_t)4 * 1024)
#define CHUNK_BUSY ((size_t)16 * 1024) /* the first where the last ones were not enough */
#define CHUNK_MOST (CHUNK_LEAST << (ARRAY_SIZE(((struct chunk_pool *)NULL)->free) - 1))
#define POOL_BYTES_MAX ((size_t)1024 * 1024)
#define FIRST_MARKS 4
#define SHORT_MAX (CHUNK_MOST / 4) /* a record that may need more room than this is a long one */
#define SCRATCH_KEPT_MAX ((size_t)1024 * 1024)

struct out_chunk {
    struct out_chunk *next;
    size_t start; /* bytes of it already written */
    struct buf bytes;
};

/** The list of chunks with this size, or -1 for a size that is not kept. */
static int size_class(size_t bytes)
{
    int class = 0;

    for (size_t size = CHUNK_LEAST; size < bytes; size *= 2)
        class ++;
    return bytes == CHUNK_LEAST << class && bytes <= CHUNK_MOST ? class : -1;
}

static struct out_chunk *chunk_destroy(struct out_chunk *chunk)
{
    buf_finish(&chunk->bytes);
    free(chunk);
    return NULL;
}

static struct out_chunk *chunk_take(struct chunk_pool *pool, size_t bytes)
{
    int class = size_class(bytes);
    struct out_chunk *chunk;

    if (class >= 0 && pool->free[class]) {
        chunk = pool->free[class];
        pool->free[class] = chunk->next;
        pool->kept_bytes -= bytes;
        chunk->next = NULL;
        return chunk;
    }
    chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    if (buf_reserve(&chunk->bytes, bytes) < 0)
        return chunk_destroy(chunk);
    return chunk;
}

static void chunk_give_back(struct chunk_pool *pool, struct out_chunk *chunk)
{
    size_t bytes = chunk->bytes.cap;
    int class = size_class(bytes);

    if (class < 0 || pool->kept_bytes + bytes > POOL_BYTES_MAX) {
        (void)chunk_destroy(chunk);
        return;
    }
    buf_reset(&chunk->bytes);
    chunk->start = 0;
    chunk->next = pool->free[class];
    pool->free[class] = chunk;
    pool->kept_bytes += bytes;
}

void chunk_pool_finish(struct chunk_pool *pool)
{
    for (size_t i = 0; i < ARRAY_SIZE(pool->free); i++) {
        while (pool->free[i]) {
            struct out_chunk *chunk = pool->free[i];

            pool->free[i] = chunk->next;
            (void)chunk_destroy(chunk);
        }
    }
    pool->kept_bytes = 0;
    buf_finish(&pool->scratch);
}

void out_queue_init(struct out_queue *q, struct chunk_pool *pool)
{
    *q = (struct out_queue){.pool = pool};
}

static int grow_marks(struct out_queue *q)
{
    struct out_mark *more;
    size_t cap = q->marks_cap ? 2 * q->marks_cap : FIRST_MARKS;

    more = malloc(cap * sizeof *more);
    if (!more)
        return -ENOMEM;
    for (size_t i = 0; i < q->marks_count; i++)
        more[i] = q->marks[(q->marks_first + i) & (q->marks_cap - 1)];
    free(q->marks);
    q->marks = more;
    q->marks_first = 0;
    q->marks_cap = cap;
    return 0;
}

/** A new tail with room for `need` bytes. */
static struct out_chunk *add_chunk(struct out_queue *q, size_t need)
{
    size_t waiting = MIN(out_queue_bytes(q), CHUNK_MOST);
    size_t bytes = CHUNK_LEAST;
    struct out_chunk *chunk;

    if (!q->head) {
        if (q->appended - q->filled_from > CHUNK_LEAST)
            bytes = CHUNK_BUSY;
        q->filled_from = q->appended;
    }
    while (bytes < waiting || bytes < need)
        bytes *= 2;
    chunk = chunk_take(q->pool, bytes);
    if (!chunk)
        return NULL;
    if (q->tail)
        q->tail->next = chunk;
    else
        q->head = chunk;
    q->tail = chunk;
    return chunk;
}

/** A tail with room for `need` bytes. */
static inline struct out_chunk *writable_chunk(struct out_queue *q, size_t need)
{
    struct out_chunk *tail = q->tail;

    return likely(tail && tail->bytes.cap - tail->bytes.len >= need) ? tail : add_chunk(q, need);
}

/** Encodes aside and copies, since a chunk for the worst case of a long line would be six times too
 * large. */
static int append_long(struct out_queue *q, const struct record *r)
{
    struct buf *scratch = &q->pool->scratch;
    struct out_chunk *chunk;
    int e;

    buf_reset(scratch);
    e = ndjson_append(scratch, r);
    if (e == 0) {
        chunk = writable_chunk(q, scratch->len);
        e = chunk ? buf_append_slice(&chunk->bytes, buf_slice(scratch)) : -ENOMEM;
    }
    if (e == 0)
        q->appended += scratch->len;
    if (scratch->cap > SCRATCH_KEPT_MAX)
        buf_finish(scratch);
    return e;
}

/** Encodes in place: the room is there, so this neither fails nor moves bytes. */
static inline int append_short(struct out_queue *q, const struct record *r, size_t need)
{
    struct out_chunk *chunk = writable_chunk(q, need);
    char *begin;
    size_t len;

    if (unlikely(!chunk))
        return -ENOMEM;
    begin = chunk->bytes.data + chunk->bytes.len;
    len = (size_t)(ndjson_encode(begin, r) - begin);
    chunk->bytes.len += len;
    q->appended += len;
    return 0;
}

int64_t out_queue_append(struct out_queue *q, const struct record *r)
{
    size_t need = ndjson_size_max(r);
    uint64_t before = q->appended;
    int e;

    if (unlikely(q->marks_count == q->marks_cap && grow_marks(q) < 0))
        return -ENOMEM;
    e = likely(need <= SHORT_MAX) ? append_short(q, r, need) : append_long(q, r);
    if (unlikely(e < 0))
        return e;
    q->unmarked++;
    return (int64_t)(q->appended - before);
}

void out_queue_mark(struct out_queue *q, struct batch *batch)
{
    if (q->unmarked == 0)
        return;
    assert(q->marks_count < q->marks_cap);
    q->marks[(q->marks_first + q->marks_count++) & (q->marks_cap - 1)] = (struct out_mark){
        .batch = batch_ref(batch),
        .end = q->appended,
        .records = q->unmarked,
    };
    q->unmarked = 0;
}

struct slice out_queue_front(const struct out_queue *q)
{
    const struct out_chunk *head = q->head;

    if (!head)
        return (struct slice){0};
    return slice_of(head->bytes.data + head->start, head->bytes.len - head->start);
}

static void pop_chunk(struct out_queue *q)
{
    struct out_chunk *head = q->head;

    q->head = head->next;
    if (!q->head)
        q->tail = NULL;
    chunk_give_back(q->pool, head);
}

uint64_t out_queue_consume(struct out_queue *q, size_t n)
{
    uint64_t records = 0;

    if (n == 0)
        return 0;
    assert(q->head && n <= q->head->bytes.len - q->head->start);
    q->head->start += n;
    q->written += n;
    if (q->head->start == q->head->bytes.len)
        pop_chunk(q);
    while (q->marks_count > 0 && q->marks[q->marks_first].end <= q->written) {
        struct out_mark mark = q->marks[q->marks_first];

        q->marks_first = (q->marks_first + 1) & (q->marks_cap - 1);
        q->marks_count--;
        records += mark.records;
        (void)batch_unref(mark.batch);
    }
    return records;
}

bool out_queue_is_torn(const struct out_queue *q)
{
    /* A chunk ends with a whole record, so between two chunks nothing is torn. */
    return q->head && q->head->start > 0 && q->head->bytes.data[q->head->start - 1] != '\n';
}

size_t out_queue_rewind(struct out_queue *q)
{
    const char *newline;
    size_t start, back;

    if (!out_queue_is_torn(q))
        return 0;
    newline = memrchr(q->head->bytes.data, '\n', q->head->start);
    start = newline ? (size_t)(newline - q->head->bytes.data) + 1 : 0;
    back = q->head->start - start;
    q->head->start = start;
    q->written -= back;
    return back;
}

void out_queue_drop(struct out_queue *q, struct sink *sink)
{
    sink->queued_bytes -= out_queue_bytes(q);
    while (q->head)
        pop_chunk(q);
    q->written = q->appended;
    q->unmarked = 0;
    while (q->marks_count > 0) {
        struct out_mark mark = q->marks[q->marks_first];

        q->marks_first = (q->marks_first + 1) & (q->marks_cap - 1);
        q->marks_count--;
        sink_lose(sink, mark.batch, mark.records);
        (void)batch_unref(mark.batch);
    }
}

void out_queue_finish(struct out_queue *q)
{
    assert(!q->head && q->marks_count == 0);
    free(q->marks);
    *q = (struct out_queue){.pool = q->pool};
}
