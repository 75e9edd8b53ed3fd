/*
 * The spool's reader of files, by way of spool_scan. Input: a byte of flags, then either the bytes
 * of a segment, or orders for making a whole one here and damaging it, by an encoder that shares no
 * code with the spool's. Behind them, as many bytes as the second byte says times 16 are the file
 * of cursors.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/crc32c.h"
#include "ringtail/base/macros.h"
#include "ringtail/spool/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MADE_HERE 1u
#define FLIPS_SHIFT 1 /* three bits: how many bytes are flipped */
#define HEADER_BYTES 48
#define HEAD_BYTES 64
#define RECORD_MAGIC UINT32_C(0xa7c952e1)
#define SOURCE_MAGIC UINT32_C(0xa7c952e2)

static char dir[32];

static void remove_dir(void)
{
    char path[80];

    (void)snprintf(path, sizeof path, "%s/0000000000000000.spool", dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/cursors", dir);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void make_dir(void)
{
    if (dir[0])
        return;
    strcpy(dir, "/tmp/fuzz-spool-XXXXXX");
    if (!mkdtemp(dir))
        abort();
    (void)atexit(remove_dir);
}

static void write_file(const char *name, struct slice bytes)
{
    char path[80];
    int fd;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, bytes.data, bytes.len, 0) != (ssize_t)bytes.len ||
        ftruncate(fd, (off_t)bytes.len) < 0)
        abort();
    (void)close(fd);
}

/* ---- a whole segment ---- */

struct maker {
    char *bytes;
    size_t len, cap;
    uint64_t records;
    uint32_t source_at;
};

/** Little-endian, wherever it runs. */
static void put(char *at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (char)(v >> 8 * i);
}

static void make_entry(struct maker *m, uint32_t magic, struct slice payload)
{
    char *at = m->bytes + m->len, first[12];

    if (m->cap - m->len < HEADER_BYTES + payload.len)
        abort();
    memset(at, 0, HEADER_BYTES);
    put(at, magic, 4);
    put(at + 8, payload.len, 4);
    put(at + 12, crc32c(0, payload), 4);
    put(at + 16, m->records, 8);
    put(at + 24, m->records * 1000, 8);
    put(at + 32, 1, 8);
    put(at + 40, m->source_at, 4);
    at[46] = RECORD_STDOUT;
    put(first, m->len, 8);
    put(first + 8, magic, 4);
    put(at + 4, crc32c(crc32c(0, slice_of(first, 12)), slice_of(at + 8, HEADER_BYTES - 8)), 4);
    memcpy(at + HEADER_BYTES, payload.data, payload.len);
    m->len += HEADER_BYTES + payload.len;
}

static void make_source(struct maker *m, unsigned n)
{
    char payload[8 + 12] = {0};

    put(payload, 4, 4);
    put(payload + 4, 4, 4);
    put(payload + 8, 0x61616161u + n, 4);
    put(payload + 12, 0x62626262u, 4);
    put(payload + 16, 0x63636363u, 4);
    m->source_at = (uint32_t)m->len;
    make_entry(m, SOURCE_MAGIC, slice_of(payload, sizeof payload));
    make_entry(m, SOURCE_MAGIC, slice_of(payload, sizeof payload));
}

static void make_head(struct maker *m)
{
    char *at = m->bytes;

    memset(at, 0, HEAD_BYTES);
    memcpy(at, "ringspol", 8);
    put(at + 8, 1, 4);
    put(at + 12, crc32c(crc32c(0, slice_of(at, 12)), slice_of(at + 16, HEAD_BYTES - 16)), 4);
    m->len = HEAD_BYTES;
}

static void line_of(uint64_t record, char line[64])
{
    for (size_t i = 0; i < 64; i++)
        line[i] = (char)('A' + (record * 7 + i) % 57);
}

static struct maker make_segment(struct slice orders)
{
    struct maker m = {.cap = HEAD_BYTES + (orders.len + 2) * 2 * (HEADER_BYTES + 64)};

    m.bytes = malloc(m.cap);
    if (!m.bytes)
        abort();
    make_head(&m);
    make_source(&m, 0);
    for (size_t i = 0; i < orders.len; i++) {
        uint8_t order = (uint8_t)orders.data[i];
        char line[64];

        if (order >= 224) {
            make_source(&m, order);
            continue;
        }
        line_of(m.records, line);
        make_entry(&m, RECORD_MAGIC, slice_of(line, order % 64));
        m.records++;
    }
    return m;
}

/* ---- what is read of it ---- */

struct seen {
    bool made_here;
    uint64_t at, record, records;
    struct spool_segment_report report;
    size_t segments;
};

static int on_record(void *ctx, const struct record *record, struct spool_place place,
                     uint16_t cursors, int64_t appended_ms)
{
    struct seen *seen = ctx;
    char line[64];

    (void)cursors;
    (void)appended_ms;
    if (place.at < seen->at || (seen->records > 0 && place.record <= seen->record))
        abort();
    seen->at = place.at + HEADER_BYTES + record->len;
    seen->record = place.record;
    seen->records++;
    if (!seen->made_here)
        return 0;
    line_of(place.record, line);
    if (record->len > sizeof line || memcmp(record->data, line, record->len) != 0 ||
        record->ts_ns != (int64_t)place.record * 1000 || record->source->id.len != 4)
        abort();
    return 0;
}

static void on_segment(void *ctx, const struct spool_segment_report *report)
{
    struct seen *seen = ctx;

    seen->report = *report;
    seen->segments++;
}

static void on_cursor(void *ctx, const char *name, uint16_t bit, struct spool_place place)
{
    (void)ctx;
    (void)bit;
    (void)place;
    if (strlen(name) > SPOOL_CURSOR_NAME_MAX)
        abort();
}

static void scan(struct slice segment, struct seen *ret)
{
    static const struct spool_scan_handlers handlers = {
        .on_record = on_record, .on_segment = on_segment, .on_cursor = on_cursor};
    char why[256];
    int r;

    write_file("0000000000000000.spool", segment);
    r = spool_scan(dir, 0, &handlers, ret, why, sizeof why);
    if (r == 0 && (ret->segments != 1 || ret->report.records != ret->records ||
                   ret->report.bytes_damaged + ret->report.bytes_torn > segment.len))
        abort();
}

static void damage_and_scan(struct slice orders, unsigned flips)
{
    struct seen seen = {.made_here = true};
    size_t flips_bytes = MIN((size_t)3 * flips, orders.len);
    struct slice where = slice_from(orders, orders.len - flips_bytes);
    struct maker m = make_segment(slice_of(orders.data, orders.len - flips_bytes));
    size_t flipped = 0;

    for (size_t i = 0; i + 3 <= where.len; i += 3) {
        size_t at = ((size_t)(uint8_t)where.data[i] << 8 | (uint8_t)where.data[i + 1]) % m.len;

        m.bytes[at] ^= where.data[i + 2];
        flipped += where.data[i + 2] != 0;
    }
    scan(slice_of(m.bytes, m.len), &seen);
    if (flipped <= 1 && (seen.records + flipped < m.records || seen.records > m.records))
        abort();
    free(m.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest;
    size_t cursors;

    if (size < 2)
        return 0;
    make_dir();
    rest = slice_of(data + 2, size - 2);
    cursors = MIN((size_t)data[1] * 16, rest.len);
    write_file("cursors", slice_from(rest, rest.len - cursors));
    rest.len -= cursors;
    if (data[0] & MADE_HERE) {
        damage_and_scan(rest, data[0] >> FLIPS_SHIFT & 7);
    } else {
        struct seen seen = {0};

        scan(rest, &seen);
    }
    return 0;
}
