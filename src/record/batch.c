/*
 * Batches. A batch owns its array of records, its list of sources and a chain of arena blocks;
 * records point into the blocks. Blocks never move, so a pointer handed to a sink is good until the
 * batch goes.
 *
 * A batch is made for every pass of the ring that read something, which is a handful of lines a
 * millisecond on a quiet system: what ends is therefore kept for the next one, a few batches with
 * their arrays and a few blocks for each thread, and a batch of a few lines fits in its first,
 * small block.
 *
 * Invariants: the head of the chain is the block that fills; `sources` names each source of the
 * records once and holds one reference to each; a source's `batch_seen` never goes back.
 */
#include "ringtail/record/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define FIRST_BLOCK_BYTES ((size_t)8 * 1024)
#define BLOCK_BYTES ((size_t)64 * 1024)
/* A line that is at least this long gets a block of its own, so that no block is left much unused.
 */
#define OWN_BLOCK_BYTES (BLOCK_BYTES / 4)
#define FIRST_RECORDS 64
#define FIRST_SOURCES 16

/* What one thread keeps at most. */
#define KEPT_BATCHES 8
#define KEPT_BLOCKS 16
#define KEPT_RECORDS_CAP 4096 /* longer arrays of records are not kept */

#if defined(__SANITIZE_ADDRESS__)
#define BATCH_KEEPS 0 /* the sanitizer sees a use after the end only of what is freed */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BATCH_KEEPS 0
#endif
#endif
#ifndef BATCH_KEEPS
#define BATCH_KEEPS 1
#endif

struct batch_block {
    struct batch_block *next;
    char *data; /* behind this struct, or a block that was adopted */
    size_t used, cap;
};

/** A batch with its first block. */
struct batch_whole {
    struct batch batch;
    struct batch_block first;
    char first_data[FIRST_BLOCK_BYTES];
};

static _Thread_local struct {
    uint64_t serial;
    size_t batches_count, blocks_count;
    struct batch_whole *batches[KEPT_BATCHES];
    struct batch_block *blocks[KEPT_BLOCKS]; /* of BLOCK_BYTES each */
} kept;

static struct batch_block *block_create(size_t bytes)
{
    struct batch_block *block;

    if (bytes == BLOCK_BYTES && kept.blocks_count > 0) {
        block = kept.blocks[--kept.blocks_count];
    } else {
        block = malloc(sizeof *block + bytes);
        if (!block)
            return NULL;
    }
    *block = (struct batch_block){.data = (char *)(block + 1), .cap = bytes};
    return block;
}

static void block_destroy(struct batch_block *block)
{
    bool adopted = block->data != (char *)(block + 1);

    if (BATCH_KEEPS && !adopted && block->cap == BLOCK_BYTES && kept.blocks_count < KEPT_BLOCKS) {
        kept.blocks[kept.blocks_count++] = block;
        return;
    }
    if (adopted)
        free(block->data);
    free(block);
}

static void whole_destroy(struct batch_whole *whole)
{
    free(whole->batch.records);
    free(whole->batch.sources);
    free(whole);
}

static struct batch_whole *whole_create(void)
{
    struct batch_whole *whole;

    if (kept.batches_count > 0)
        return kept.batches[--kept.batches_count];
    whole = malloc(sizeof *whole);
    if (!whole)
        return NULL;
    whole->batch = (struct batch){.cap = FIRST_RECORDS, .sources_cap = FIRST_SOURCES};
    whole->batch.records = malloc(FIRST_RECORDS * sizeof *whole->batch.records);
    whole->batch.sources = malloc(FIRST_SOURCES * sizeof(struct source *));
    if (!whole->batch.records || !whole->batch.sources) {
        whole_destroy(whole);
        return NULL;
    }
    return whole;
}

struct batch *batch_create(batch_settled_fn on_settled, void *ctx)
{
    struct batch_whole *whole = whole_create();
    struct batch *b;

    if (!whole)
        return NULL;
    whole->first = (struct batch_block){.data = whole->first_data, .cap = FIRST_BLOCK_BYTES};
    b = &whole->batch;
    *b = (struct batch){
        .refs = 1,
        .serial = ++kept.serial,
        .records = b->records,
        .cap = b->cap,
        .sources = b->sources,
        .sources_cap = b->sources_cap,
        .blocks = &whole->first,
        .on_settled = on_settled,
        .ctx = ctx,
    };
    b->memory_bytes =
        sizeof *whole + b->cap * sizeof *b->records + b->sources_cap * sizeof *b->sources;
    list_init(&b->link);
    return b;
}

struct batch *batch_share(struct batch *of, batch_settled_fn on_settled, void *ctx)
{
    struct batch *b = malloc(sizeof *b);

    if (!b)
        return NULL;
    *b = *of;
    b->refs = 1;
    b->on_settled = on_settled;
    b->ctx = ctx;
    b->of = batch_ref(of);
    list_init(&b->link);
    return b;
}

struct batch *batch_ref(struct batch *b)
{
    assert(b->refs > 0);
    b->refs++;
    return b;
}

struct batch *batch_unref(struct batch *b)
{
    struct batch_whole *whole;
    struct batch_block *next;

    if (!b)
        return NULL;
    assert(b->refs > 0);
    if (--b->refs > 0)
        return NULL;
    if (b->on_settled)
        b->on_settled(b->ctx, b);
    if (b->of) {
        (void)batch_unref(b->of);
        free(b);
        return NULL;
    }
    whole = container_of(b, struct batch_whole, batch);
    for (size_t i = 0; i < b->sources_count; i++)
        (void)source_unref(b->sources[i]);
    for (struct batch_block *block = b->blocks; block; block = next) {
        next = block->next;
        if (block != &whole->first)
            block_destroy(block);
    }
    if (BATCH_KEEPS && kept.batches_count < KEPT_BATCHES && b->cap <= KEPT_RECORDS_CAP)
        kept.batches[kept.batches_count++] = whole;
    else
        whole_destroy(whole);
    return NULL;
}

void batch_free_kept(void)
{
    while (kept.batches_count > 0)
        whole_destroy(kept.batches[--kept.batches_count]);
    while (kept.blocks_count > 0)
        free(kept.blocks[--kept.blocks_count]);
}

static int grow_records(struct batch *b)
{
    struct record *more = realloc(b->records, 2 * b->cap * sizeof *more);

    if (!more)
        return -ENOMEM;
    b->memory_bytes += b->cap * sizeof *more;
    b->records = more;
    b->cap *= 2;
    return 0;
}

static int grow_sources(struct batch *b)
{
    struct source **more = realloc(b->sources, 2 * b->sources_cap * sizeof(struct source *));

    if (!more)
        return -ENOMEM;
    b->memory_bytes += b->sources_cap * sizeof(struct source *);
    b->sources = more;
    b->sources_cap *= 2;
    return 0;
}

/** Whether the batch holds its reference to the source. */
static bool has_source(const struct batch *b, const struct source *source)
{
    if (likely(source->batch_seen == b->serial))
        return true;
    if (source->batch_seen < b->serial)
        return false;
    /* A younger batch has taken it since, so its serial says nothing of this one. */
    for (size_t i = 0; i < b->sources_count; i++) {
        if (b->sources[i] == source)
            return true;
    }
    return false;
}

/** Room for one record, and for its source if that is new. */
static int reserve_record(struct batch *b, const struct source *source, bool *ret_is_new)
{
    int r;

    if (unlikely(b->count == b->cap)) {
        r = grow_records(b);
        if (r < 0)
            return r;
    }
    *ret_is_new = !has_source(b, source);
    if (unlikely(*ret_is_new && b->sources_count == b->sources_cap))
        return grow_sources(b);
    return 0;
}

/** Cannot fail: reserve_record has made the room. */
static void add_record(struct batch *b, struct source *source, bool source_is_new,
                       enum record_stream stream, int64_t ts_ns, unsigned flags, const char *data,
                       size_t len)
{
    struct record *record = &b->records[b->count++];

    if (source_is_new) {
        b->sources[b->sources_count++] = source_ref(source);
        if (source->batch_seen < b->serial)
            source->batch_seen = b->serial;
    }
    /* Field by field: a struct that is put together in bytes first and then copied in words waits
     * for the bytes. */
    record->ts_ns = ts_ns;
    record->data = data;
    record->source = source;
    record->len = (uint32_t)len;
    record->stream = (uint8_t)stream;
    record->flags = (uint8_t)flags;
    record->ordinal = 0;
    b->bytes += len;
}

/** `len` bytes of arena, or NULL. They count as used only once the caller says so. */
static struct batch_block *block_with_room(struct batch *b, size_t len)
{
    struct batch_block *head = b->blocks, *block;

    if (likely(head->cap - head->used >= len))
        return head;
    block = block_create(len >= OWN_BLOCK_BYTES ? len : BLOCK_BYTES);
    if (!block)
        return NULL;
    b->memory_bytes += sizeof *block + block->cap;
    if (block->cap == BLOCK_BYTES && len < OWN_BLOCK_BYTES) {
        block->next = head;
        b->blocks = block;
    } else {
        /* Behind the head, which goes on filling. */
        block->next = head->next;
        head->next = block;
    }
    return block;
}

int batch_append(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                 unsigned flags, struct slice line)
{
    struct batch_block *block;
    bool source_is_new;
    char *data;
    int r;

    assert(line.len <= UINT32_MAX);
    r = reserve_record(b, source, &source_is_new);
    if (r < 0)
        return r;
    block = block_with_room(b, line.len);
    if (!block)
        return -ENOMEM;
    data = block->data + block->used;
    if (line.len > 0)
        memcpy(data, line.data, line.len);
    block->used += line.len;
    add_record(b, source, source_is_new, stream, ts_ns, flags, data, line.len);
    return 0;
}

int batch_adopt(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                unsigned flags, char *heap, size_t len, size_t cap)
{
    struct batch_block *block;
    bool source_is_new;
    int r;

    assert(len <= cap && len <= UINT32_MAX);
    r = reserve_record(b, source, &source_is_new);
    if (r < 0)
        return r;
    block = malloc(sizeof *block);
    if (!block)
        return -ENOMEM;
    *block = (struct batch_block){
        .next = b->blocks->next,
        .data = heap,
        .used = len,
        .cap = cap,
    };
    b->blocks->next = block;
    b->memory_bytes += sizeof *block + cap;
    add_record(b, source, source_is_new, stream, ts_ns, flags, heap, len);
    return 0;
}
