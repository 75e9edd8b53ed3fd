/* `ringtail spool`: the spool for people. Reads only, but for replay --sink, which is replay.c's.
 */
#include "stored.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/control/daemon.h"
#include "ringtail/record/ndjson.h"
#include "ringtail/spool/spool.h"

#include "replay.h"

#define OUT_BYTES ((size_t)64 << 10)

const char stored_spool_help[] =
    "Usage: ringtail spool ls|check|cat|replay [DIR] [--config FILE] [--set KEY=VALUE]\n"
    "\n"
    "The records that wait on disk because a sink can't take them now. DIR is the spool's "
    "directory\n"
    "(else spool.path of the configuration). It may be in use, except for replay --sink.\n"
    "\n"
    "  ls      its segments, and what waits for each sink\n"
    "          --json             as one JSON object\n"
    "  check   reads all of it: exit code 0: it is whole; 1: something is damaged\n"
    "  cat     its records as NDJSON\n"
    "          --from WHEN        only those of this time and later: a duration back (1h30m) or a\n"
    "                             timestamp\n"
    "          --container NAME   only those of this container: its name, or 12 digits of its id\n"
    "                             or more\n"
    "          --sink NAME        only those that wait for this sink\n"
    "  replay  the same as cat; with --sink NAME it sends all that waits for that sink through "
    "it,\n"
    "          as the configuration has it, and takes what was accepted out of the spool; what is\n"
    "          refused goes to the dead letters. No ringtail may run with this spool meanwhile.\n"
    "          Exit code 0: all was accepted\n";

struct cursor {
    char name[SPOOL_CURSOR_NAME_MAX + 1];
    uint16_t bit;
    struct spool_place place;
    uint64_t records, bytes; /* that wait for it */
};

struct look {
    const struct stored_query *query;
    int64_t from_ns;
    bool cat;
    struct cursor cursors[SPOOL_CURSORS_MAX];
    size_t cursors_count;
    const struct cursor *wanted; /* NULL: all */
    struct buf out;              /* records, or rows of segments */
    uint64_t segments, records, bytes, records_damaged, bytes_damaged, bytes_torn, unreadable;
    uint64_t payload; /* of this segment */
};

static void on_cursor(void *ctx, const char *name, uint16_t bit, struct spool_place place)
{
    struct look *l = ctx;
    struct cursor *c = &l->cursors[l->cursors_count];

    if (l->cursors_count == SPOOL_CURSORS_MAX)
        return;
    l->cursors_count++;
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->bit = bit;
    c->place = place;
    if (l->query->sink && strcmp(name, l->query->sink) == 0)
        l->wanted = c;
}

static bool waits_for(const struct cursor *c, uint16_t cursors, struct spool_place place)
{
    return (cursors & c->bit) && !spool_is_nothing(c->place) && place.at >= c->place.at;
}

static int put_record(struct look *l, const struct record *record)
{
    int r = ndjson_append(&l->out, record);

    if (r < 0 || l->out.len < OUT_BYTES)
        return r;
    r = fwrite(l->out.data, 1, l->out.len, stdout) == l->out.len ? 0 : -EIO;
    buf_reset(&l->out);
    return r;
}

static int on_record(void *ctx, const struct record *record, struct spool_place place,
                     uint16_t cursors, int64_t appended_ms)
{
    struct look *l = ctx;
    const struct source *source = record->source;

    (void)appended_ms;
    l->payload += record->len;
    for (size_t i = 0; i < l->cursors_count; i++)
        if (waits_for(&l->cursors[i], cursors, place)) {
            l->cursors[i].records++;
            l->cursors[i].bytes += record->len;
        }
    if (!l->cat || (l->query->sink && (!l->wanted || !waits_for(l->wanted, cursors, place))) ||
        !stored_is_wanted(l->query, l->from_ns, source->id, source->name, record->ts_ns))
        return 0;
    return put_record(l, record);
}

static void put_time(char out[TIMESTAMP_LEN + 1], int64_t ms)
{
    (void)snprintf(out, TIMESTAMP_LEN + 1, "-");
    if (ms == 0)
        return;
    timestamp_format(out, ms * NSEC_PER_MSEC);
    out[TIMESTAMP_LEN] = '\0';
}

static void put_segment(struct look *l, const struct spool_segment_report *s, uint64_t bytes)
{
    char first[TIMESTAMP_LEN + 1], last[TIMESTAMP_LEN + 1];

    put_time(first, s->first_ms);
    put_time(last, s->last_ms);
    if (l->query->json)
        (void)buf_printf(&l->out,
                         "%s{\"name\":\"%s\",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
                         ",\"payload_bytes\":%" PRIu64 ",\"first_ms\":%" PRId64
                         ",\"last_ms\":%" PRId64 ",\"records_damaged\":%" PRIu64
                         ",\"bytes_damaged\":%" PRIu64 ",\"bytes_torn\":%" PRIu64 "}",
                         l->segments > 1 ? "," : "", s->name, s->records, bytes, l->payload,
                         s->first_ms, s->last_ms, s->records_damaged, s->bytes_damaged,
                         s->bytes_torn);
    else
        (void)buf_printf(&l->out,
                         "%-22s %12" PRIu64 " %14" PRIu64 "  %-30s  %-30s %10" PRIu64 " %10" PRIu64
                         "\n",
                         s->name, s->records, bytes, first, last, s->records_damaged,
                         s->bytes_damaged + s->bytes_torn);
}

static void on_segment(void *ctx, const struct spool_segment_report *s)
{
    struct look *l = ctx;
    uint64_t bytes = s->end.at - s->begin.at;

    l->segments++;
    l->records += s->records;
    l->bytes += bytes;
    l->records_damaged += s->records_damaged;
    l->bytes_damaged += s->bytes_damaged;
    l->bytes_torn += s->bytes_torn;
    if (s->error < 0) {
        l->unreadable++;
        stored_complain("%s: %s", s->name, strerror(-s->error));
    }
    if (!l->cat)
        put_segment(l, s, bytes); /* without memory it shows fewer, and says so in the end */
    l->payload = 0;
}

static void put_cursors(const struct look *l)
{
    for (size_t i = 0; i < l->cursors_count; i++) {
        const struct cursor *c = &l->cursors[i];

        if (!l->query->json) {
            (void)printf("%-32s %12" PRIu64 " %14" PRIu64 "\n", c->name, c->records, c->bytes);
        } else {
            struct buf name = {0};

            if (json_append_string(&name, slice_str(c->name)) == 0)
                (void)printf("%s{\"sink\":%.*s,\"records\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
                             "}",
                             i > 0 ? "," : "", (int)name.len, name.data, c->records, c->bytes);
            buf_finish(&name);
        }
    }
}

static void list(const struct look *l)
{
    if (l->query->json) {
        (void)printf("{\"segments\":[%.*s],\"cursors\":[", (int)l->out.len,
                     l->out.len > 0 ? l->out.data : "");
        put_cursors(l);
        (void)printf("],\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"records_damaged\":%" PRIu64
                     ",\"bytes_damaged\":%" PRIu64 ",\"bytes_torn\":%" PRIu64 "}\n",
                     l->records, l->bytes, l->records_damaged, l->bytes_damaged, l->bytes_torn);
        return;
    }
    (void)printf("%-22s %12s %14s  %-30s  %-30s %10s %10s\n", "SEGMENT", "RECORDS", "BYTES",
                 "APPENDED FROM", "TO", "DAMAGED", "BAD BYTES");
    (void)printf("%.*s\n%-32s %12s %14s\n", (int)l->out.len, l->out.len > 0 ? l->out.data : "",
                 "WAITS FOR", "RECORDS", "PAYLOAD BYTES");
    put_cursors(l);
}

static int check(const struct look *l)
{
    bool whole = l->records_damaged == 0 && l->bytes_damaged == 0 && l->unreadable == 0;

    (void)printf("%s: %" PRIu64 " records in %" PRIu64 " segments",
                 whole ? "The spool is whole" : "The spool is damaged", l->records, l->segments);
    if (!whole)
        (void)printf(", %" PRIu64 " records and %" PRIu64 " bytes are damaged, %" PRIu64
                     " segments can't be read to their end",
                     l->records_damaged, l->bytes_damaged, l->unreadable);
    if (l->bytes_torn > 0)
        (void)printf(", %" PRIu64 " bytes at the end are torn, or are being written",
                     l->bytes_torn);
    (void)printf(".\n");
    return whole ? EXIT_CLEAN : EXIT_FAILED;
}

static int look_through(struct look *l, const char *directory)
{
    static const struct spool_scan_handlers handlers = {
        .on_cursor = on_cursor, .on_record = on_record, .on_segment = on_segment};
    char why[512];
    int r = spool_scan(directory, 0, &handlers, l, why, sizeof why);

    if (r < 0) {
        stored_complain("%s", why);
        return EXIT_FAILED;
    }
    if (l->query->sink && !l->wanted) {
        stored_complain("nothing in %s was ever for a sink \"%s\"", directory, l->query->sink);
        return EXIT_FAILED;
    }
    if (strcmp(l->query->verb, "check") == 0)
        return check(l);
    if (strcmp(l->query->verb, "ls") == 0)
        list(l);
    else if (l->out.len > 0)
        (void)fwrite(l->out.data, 1, l->out.len, stdout);
    return l->unreadable > 0 ? EXIT_FAILED : EXIT_CLEAN;
}

int stored_spool(const struct config *config, const struct stored_query *query)
{
    const char *directory = query->path ? query->path : config->spool_path;
    struct look l = {
        .query = query,
        .cat = strcmp(query->verb, "cat") == 0 || strcmp(query->verb, "replay") == 0,
    };
    int exit_code;

    if (!directory[0]) {
        stored_complain("which spool? Name its directory, or a configuration with spool.path");
        return EXIT_USAGE;
    }
    if (!stored_from_ns(query, &l.from_ns))
        return EXIT_USAGE;
    if (strcmp(query->verb, "replay") == 0 && query->sink) {
        if (!query->container && !query->from && !query->remove)
            return replay_spool(config, directory, query->sink);
        stored_complain("replay --sink sends all that waits for the sink, and takes it out of the "
                        "spool: no --container, --from or --remove");
        return EXIT_USAGE;
    }
    exit_code = look_through(&l, directory);
    buf_finish(&l.out);
    return stored_finish(exit_code);
}
