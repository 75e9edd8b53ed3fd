/*
 * record/written.h. A multiset in an open hash table: equal lines take a place each. Invariant: at
 * least a quarter of the places is free, so that a probe ends.
 */
#include "ringtail/record/written.h"

#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"

#define CAP_MIN 64u

static uint64_t hash_of(enum record_stream stream, int64_t ts_ns, struct slice bytes)
{
    return hash_bytes(bytes, (uint64_t)ts_ns << 1 | (stream == RECORD_STDERR));
}

static uint64_t fingerprint_of(uint64_t hash, uint64_t output)
{
    uint64_t value = hash ^ output;

    return value ? value : 1; /* 0 is a free place */
}

static void put(struct written_stream *s, uint64_t fingerprint)
{
    size_t at = fingerprint & (s->cap - 1);

    while (s->fingerprints[at])
        at = (at + 1) & (s->cap - 1);
    s->fingerprints[at] = fingerprint;
    s->count++;
}

static void stream_finish(struct written_stream *s)
{
    free(s->fingerprints);
    *s = (struct written_stream){0};
}

static int grow(struct written_stream *s)
{
    struct written_stream larger = {.cap = s->cap ? s->cap * 2 : CAP_MIN, .until_ns = s->until_ns};

    larger.fingerprints = calloc(larger.cap, sizeof *larger.fingerprints);
    if (!larger.fingerprints)
        return -ENOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->fingerprints[i])
            put(&larger, s->fingerprints[i]);
    free(s->fingerprints);
    *s = larger;
    return 0;
}

int written_restore(struct written_stream *s, uint64_t fingerprint)
{
    if (fingerprint == 0)
        return 0;
    if (s->count + 1 > s->cap / 4 * 3) {
        int r = grow(s);

        if (r < 0)
            return r;
    }
    put(s, fingerprint);
    return 0;
}

int written_add(struct written *w, uint64_t output, enum record_stream stream, int64_t ts_ns,
                struct slice bytes)
{
    struct written_stream *s = &w->of[stream - RECORD_STDOUT];

    s->until_ns = s->count ? MAX(s->until_ns, ts_ns) : ts_ns;
    return written_restore(s, fingerprint_of(hash_of(stream, ts_ns, bytes), output));
}

/* Frees the place at `at`, and moves up what stands behind it only because it was taken. */
static void take_out(struct written_stream *s, size_t at)
{
    size_t mask = s->cap - 1;

    for (size_t next = (at + 1) & mask; s->fingerprints[next]; next = (next + 1) & mask) {
        size_t home = s->fingerprints[next] & mask;

        if (((next - home) & mask) >= ((next - at) & mask)) {
            s->fingerprints[at] = s->fingerprints[next];
            at = next;
        }
    }
    s->fingerprints[at] = 0;
    s->count--;
}

/** Its place, or a free one. */
static size_t place_of(const struct written_stream *s, uint64_t wanted)
{
    size_t at = wanted & (s->cap - 1);

    while (s->fingerprints[at] && s->fingerprints[at] != wanted)
        at = (at + 1) & (s->cap - 1);
    return at;
}

unsigned written_find(struct written *w, const uint64_t *outputs, size_t count,
                      const struct line *line)
{
    struct written_stream *s = &w->of[line->stream - RECORD_STDOUT];
    unsigned found = 0;
    uint64_t hash;

    if (s->count == 0)
        return 0;
    hash = hash_of(line->stream, line->ts_ns, line->bytes);
    for (size_t i = 0; i < count; i++)
        if (s->fingerprints[place_of(s, fingerprint_of(hash, outputs[i]))])
            found |= 1u << i;
    /* What has not come by now is not to come: the Engine has dropped it. */
    if (!found && line->ts_ns > s->until_ns)
        stream_finish(s);
    return found;
}

void written_take(struct written *w, const uint64_t *outputs, unsigned found,
                  const struct line *line)
{
    struct written_stream *s = &w->of[line->stream - RECORD_STDOUT];
    uint64_t hash = hash_of(line->stream, line->ts_ns, line->bytes);

    for (size_t i = 0; found >> i; i++)
        if (found >> i & 1)
            take_out(s, place_of(s, fingerprint_of(hash, outputs[i])));
    if (s->count == 0)
        stream_finish(s);
}

void written_finish(struct written *w)
{
    for (size_t i = 0; i < ARRAY_SIZE(w->of); i++)
        stream_finish(&w->of[i]);
}
