/*
 * entry.h. A walk never goes back: neither in bytes nor in numbers of records, whatever the file
 * says.
 */
#include "entry.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/crc32c.h"
#include "ringtail/base/macros.h"

#define SEGMENT_MAGIC "ringspol"
#define SEGMENT_VERSION 1u
/* Unlikely in text. */
#define RECORD_MAGIC UINT32_C(0xa7c952e1)
#define SOURCE_MAGIC UINT32_C(0xa7c952e2)

static void put16(char *at, uint16_t v)
{
    v = htole16(v);
    memcpy(at, &v, sizeof v);
}

static void put32(char *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
}

static void put64(char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}

static uint16_t get16(const char *at)
{
    uint16_t v;

    memcpy(&v, at, sizeof v);
    return le16toh(v);
}

static uint32_t get32(const char *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof v);
    return le32toh(v);
}

static uint64_t get64(const char *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

/** Over everything but itself; the magic too, which is two bits away from another. */
static uint32_t header_crc(const char *header, uint64_t place)
{
    char first[12];

    put64(first, place);
    memcpy(first + 8, header, 4);
    return crc32c(crc32c(0, slice_of(first, sizeof first)),
                  slice_of(header + 8, ENTRY_HEADER_BYTES - 8));
}

void entry_put(char out[ENTRY_HEADER_BYTES], uint64_t place, const struct entry *e,
               const struct slice *payload, size_t pieces)
{
    uint32_t crc = 0;
    size_t len = 0;

    for (size_t i = 0; i < pieces; i++) {
        crc = crc32c(crc, payload[i]);
        len += payload[i].len;
    }
    put32(out, e->kind == ENTRY_RECORD ? RECORD_MAGIC : SOURCE_MAGIC);
    put32(out + 8, (uint32_t)len);
    put32(out + 12, crc);
    put64(out + 16, e->number);
    put64(out + 24, (uint64_t)e->ts_ns);
    put64(out + 32, (uint64_t)e->at_ms << 16 | e->cursors);
    put32(out + 40, e->source);
    put16(out + 44, e->ordinal);
    out[46] = (char)e->stream;
    out[47] = (char)e->flags;
    put32(out + 4, header_crc(out, place));
}

static bool is_magic(uint32_t magic)
{
    return magic == RECORD_MAGIC || magic == SOURCE_MAGIC;
}

/** A header whose CRC holds, and that does not go back. */
static bool header_parse(const char *in, struct spool_place place, struct entry *ret,
                         uint32_t *ret_len, uint32_t *ret_crc)
{
    uint32_t magic = get32(in);

    if (!is_magic(magic) || get32(in + 4) != header_crc(in, place.at) ||
        get64(in + 16) < place.record)
        return false;
    *ret_len = get32(in + 8);
    *ret_crc = get32(in + 12);
    *ret = (struct entry){
        .kind = magic == RECORD_MAGIC ? ENTRY_RECORD : ENTRY_SOURCE,
        .number = get64(in + 16),
        .ts_ns = (int64_t)get64(in + 24),
        .at_ms = (int64_t)(get64(in + 32) >> 16),
        .cursors = (uint16_t)get64(in + 32),
        .source = get32(in + 40),
        .ordinal = get16(in + 44),
        .stream = (uint8_t)in[46],
        .flags = (uint8_t)in[47],
    };
    return true;
}

void source_put(const struct source *source, char lengths[SOURCE_LENGTHS_BYTES],
                struct slice pieces[SOURCE_PIECES])
{
    put32(lengths, (uint32_t)source->id.len);
    put32(lengths + 4, (uint32_t)source->name.len);
    pieces[0] = slice_of(lengths, SOURCE_LENGTHS_BYTES);
    pieces[1] = source->id;
    pieces[2] = source->name;
    pieces[3] = source->image;
}

size_t source_entry_bytes(const struct source *source)
{
    return ENTRY_HEADER_BYTES + SOURCE_LENGTHS_BYTES + source->id.len + source->name.len +
           source->image.len;
}

bool source_parse(struct slice payload, struct source_names *ret)
{
    size_t id, name;

    if (payload.len < SOURCE_LENGTHS_BYTES)
        return false;
    id = get32(payload.data);
    name = get32(payload.data + 4);
    payload = slice_from(payload, SOURCE_LENGTHS_BYTES);
    if (id > payload.len || name > payload.len - id)
        return false;
    ret->id = slice_of(payload.data, id);
    ret->name = slice_of(payload.data + id, name);
    ret->image = slice_from(payload, id + name);
    return true;
}

static uint32_t head_crc(const char *in)
{
    return crc32c(crc32c(0, slice_of(in, 12)), slice_of(in + 16, SEGMENT_HEAD_BYTES - 16));
}

void segment_head_put(char out[SEGMENT_HEAD_BYTES], const struct segment_head *head)
{
    memset(out, 0, SEGMENT_HEAD_BYTES);
    memcpy(out, SEGMENT_MAGIC, 8);
    put32(out + 8, SEGMENT_VERSION);
    put64(out + 16, head->begin.at);
    put64(out + 24, head->begin.record);
    put64(out + 32, (uint64_t)head->made_ms);
    put32(out + 12, head_crc(out));
}

int segment_head_parse(struct slice in, struct segment_head *ret)
{
    if (in.len < SEGMENT_HEAD_BYTES || memcmp(in.data, SEGMENT_MAGIC, 8) != 0 ||
        get32(in.data + 12) != head_crc(in.data))
        return -EBADMSG;
    if (get32(in.data + 8) != SEGMENT_VERSION)
        return -EPROTONOSUPPORT;
    *ret = (struct segment_head){
        .begin = {.at = get64(in.data + 16), .record = get64(in.data + 24)},
        .made_ms = (int64_t)get64(in.data + 32),
    };
    return 0;
}

void segment_name_put(char out[SEGMENT_NAME_LEN + 1], uint64_t begin)
{
    (void)snprintf(out, SEGMENT_NAME_LEN + 1, "%016" PRIx64 ".spool", begin);
}

bool segment_name_parse(const char *name, uint64_t *ret_begin)
{
    char again[SEGMENT_NAME_LEN + 1];
    uint64_t begin = 0;

    if (strlen(name) != SEGMENT_NAME_LEN)
        return false;
    for (size_t i = 0; i < 16; i++) {
        unsigned c = (unsigned char)name[i];

        begin = begin << 4 | (c >= 'a' ? c - 'a' + 10u : c - '0');
    }
    segment_name_put(again, begin);
    *ret_begin = begin;
    return strcmp(again, name) == 0;
}

/** How far the next header can be: one whose CRC holds, or one that the window has not whole. */
static size_t find_header(const struct walk *w, struct slice window)
{
    struct spool_place place = w->place;
    struct entry e;
    uint32_t len, crc;
    size_t i = 1;

    for (; i + ENTRY_HEADER_BYTES <= window.len; i++) {
        place.at = w->place.at + i;
        if (header_parse(window.data + i, place, &e, &len, &crc))
            break;
    }
    return i;
}

static enum walk_step pass_over(struct walk *w, uint64_t bytes)
{
    w->damaged = bytes;
    w->place.at += bytes;
    return WALK_DAMAGED;
}

enum walk_step walk_next(struct walk *w, struct slice window, struct entry *ret)
{
    uint64_t rest = w->limit - w->place.at, total;
    uint32_t len, crc;
    bool is_record;

    w->missing = w->damaged = 0;
    w->entry_at = w->place.at;
    if (rest == 0)
        return WALK_END;
    if (rest < ENTRY_HEADER_BYTES)
        return pass_over(w, rest);
    w->need = ENTRY_HEADER_BYTES;
    if (window.len < w->need)
        return WALK_MORE;
    if (!header_parse(window.data, w->place, ret, &len, &crc))
        return pass_over(w, find_header(w, window));
    total = ENTRY_HEADER_BYTES + (uint64_t)len;
    w->need = (size_t)total;
    if (total <= rest && window.len < w->need)
        return WALK_MORE;

    is_record = ret->kind == ENTRY_RECORD;
    w->missing = ret->number - w->place.record;
    w->place.record = ret->number + is_record;
    ret->payload = slice_of(window.data + ENTRY_HEADER_BYTES, len);
    if (total > rest || crc32c(0, ret->payload) != crc) {
        w->missing += is_record;
        return pass_over(w, MIN(total, rest));
    }
    w->place.at += total;
    return is_record ? WALK_RECORD : WALK_SOURCE;
}
