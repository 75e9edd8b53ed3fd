/* `ringtail dlq`: the dead letters for people. Reads only, but for replay --sink, which is
 * replay.c's. */
#include "stored.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/control/daemon.h"
#include "ringtail/record/ndjson.h"
#include "ringtail/sink/dead_letters.h"

#include "replay.h"
#include "sinks.h"

const char stored_letters_help[] =
    "Usage: ringtail dlq ls|cat|replay [FILE] [--config FILE] [--set KEY=VALUE]\n"
    "\n"
    "The records that receivers have refused. FILE is the newest file of dead letters (else that "
    "of\n"
    "the configuration); the rotated ones beside it are read too.\n"
    "\n"
    "  ls      how many there are by sink and status, from when, and the newest reason\n"
    "          --json             as one JSON object\n"
    "  cat     the letters as they are: NDJSON, with who refused each, and why\n"
    "          --from WHEN        only records of this time and later: a duration back (1h30m) or\n"
    "                             a timestamp\n"
    "          --container NAME   only those of this container: its name, or 12 digits of its id\n"
    "                             or more\n"
    "          --sink NAME        only those of this sink\n"
    "  replay  the records as they were before, as NDJSON; with --sink NAME it sends those of "
    "that\n"
    "          sink through it, as the configuration has it. No ringtail may run with the\n"
    "          configuration's spool meanwhile. Exit code 0: all was accepted. The letters stay\n"
    "          --remove           unless all letters there are were sent and accepted: then the\n"
    "                             files are removed\n";

/* Of one sink, with one status. */
struct group {
    char sink[64];
    int status;
    uint64_t letters;
    int64_t first_ns, last_ns;
    char reason[256]; /* the newest */
};

#define GROUPS_MAX 256

struct look {
    const struct stored_query *query;
    int64_t from_ns;
    struct group *groups; /* GROUPS_MAX of them */
    size_t groups_count;
    uint64_t in_no_group;
    struct buf out;
};

static bool is_wanted(const struct look *l, const struct dead_letter_line *line)
{
    return (!l->query->sink || slice_eq_str(line->sink, l->query->sink)) &&
           stored_is_wanted(l->query, l->from_ns, line->container_id, line->container_name,
                            line->ts_ns);
}

static struct group *group_of(struct look *l, const struct dead_letter_line *line)
{
    struct group *g;

    for (size_t i = 0; i < l->groups_count; i++)
        if (l->groups[i].status == line->status && slice_eq_str(line->sink, l->groups[i].sink))
            return &l->groups[i];
    if (l->groups_count == GROUPS_MAX || line->sink.len >= sizeof g->sink)
        return NULL;
    g = &l->groups[l->groups_count++];
    *g = (struct group){.status = line->status, .first_ns = line->dead_at_ns};
    (void)snprintf(g->sink, sizeof g->sink, "%.*s", (int)line->sink.len, line->sink.data);
    return g;
}

static int count(void *ctx, const struct dead_letter_line *line)
{
    struct look *l = ctx;
    struct group *g;

    if (!is_wanted(l, line))
        return 0;
    g = group_of(l, line);
    if (!g) {
        l->in_no_group++;
        return 0;
    }
    g->letters++;
    g->first_ns = MIN(g->first_ns, line->dead_at_ns);
    if (line->dead_at_ns >= g->last_ns) {
        g->last_ns = line->dead_at_ns;
        (void)snprintf(g->reason, sizeof g->reason, "%.*s", (int)line->reason.len,
                       line->reason.data);
    }
    return 0;
}

static int cat(void *ctx, const struct dead_letter_line *line)
{
    struct look *l = ctx;

    if (!is_wanted(l, line))
        return 0;
    if (fwrite(line->text.data, 1, line->text.len, stdout) != line->text.len ||
        fputc('\n', stdout) == EOF)
        return -EIO;
    return 0;
}

/* The record without what was said of it. */
static int undo(void *ctx, const struct dead_letter_line *line)
{
    struct look *l = ctx;
    struct source *source;
    struct record record = {
        .ts_ns = line->ts_ns,
        .data = line->line.data,
        .len = (uint32_t)line->line.len,
        .stream = (uint8_t)line->stream,
        .flags = (uint8_t)line->flags,
    };
    int r;

    if (!is_wanted(l, line))
        return 0;
    source = source_create(line->container_id, line->container_name, line->image);
    if (!source)
        return -ENOMEM;
    record.source = source;
    buf_reset(&l->out);
    r = ndjson_append(&l->out, &record);
    if (r == 0 && fwrite(l->out.data, 1, l->out.len, stdout) != l->out.len)
        r = -EIO;
    (void)source_unref(source);
    return r;
}

static void put_group(struct look *l, const struct group *g, bool first)
{
    char from[TIMESTAMP_LEN + 1] = "", to[TIMESTAMP_LEN + 1] = "";

    timestamp_format(from, g->first_ns);
    timestamp_format(to, g->last_ns);
    if (!l->query->json) {
        (void)printf("%-32s %6d %12" PRIu64 "  %s  %s  %s\n", g->sink, g->status, g->letters, from,
                     to, g->reason);
        return;
    }
    buf_reset(&l->out);
    if (json_append_string(&l->out, slice_str(g->sink)) < 0 ||
        buf_append_str(&l->out, ",\"reason\":") < 0 ||
        json_append_string(&l->out, slice_str(g->reason)) < 0)
        return;
    (void)printf("%s{\"status\":%d,\"letters\":%" PRIu64
                 ",\"first\":\"%s\",\"last\":\"%s\",\"sink\":%.*s}",
                 first ? "" : ",", g->status, g->letters, from, to, (int)l->out.len, l->out.data);
}

static void list(struct look *l, const struct dead_letters_found *found)
{
    (void)printf(l->query->json ? "{\"groups\":["
                                : "SINK                             STATUS      LETTERS  FROM      "
                                  "                      TO                              NEWEST "
                                  "REASON\n");
    for (size_t i = 0; i < l->groups_count; i++)
        put_group(l, &l->groups[i], i == 0);
    if (l->query->json)
        (void)printf("],\"files\":%" PRIu64 ",\"letters\":%" PRIu64 ",\"damaged\":%" PRIu64
                     ",\"in_no_group\":%" PRIu64 "}\n",
                     found->files, found->lines, found->damaged, l->in_no_group);
    else
        (void)printf("\n%" PRIu64 " letters in %" PRIu64 " files; %" PRIu64
                     " lines are damaged, %" PRIu64 " letters are in no group above.\n",
                     found->lines, found->files, found->damaged, l->in_no_group);
}

static int look_through(struct look *l, const char *path)
{
    bool is_ls = strcmp(l->query->verb, "ls") == 0;
    struct dead_letters_found found = {0};
    dead_letter_fn fn = is_ls ? count : strcmp(l->query->verb, "cat") == 0 ? cat : undo;
    int r = dead_letters_read(path, DEAD_LETTERS_KEEP_MAX, fn, l, &found);

    if (r < 0) {
        stored_complain("%s: %s", path, strerror(-r));
        return EXIT_FAILED;
    }
    if (is_ls)
        list(l, &found);
    else if (found.damaged > 0)
        stored_complain("%s: %" PRIu64 " lines are damaged and were left out", path, found.damaged);
    return EXIT_CLEAN;
}

int stored_letters(const struct config *config, const struct stored_query *query)
{
    RT_CLEANUP(freep) char *configured = NULL;
    struct look l = {.query = query};
    const char *path = query->path;
    int exit_code;

    if (!path && sinks_dead_letters_path(config, &configured) == 0)
        path = configured;
    if (!path) {
        stored_complain("which file? Name it, or a configuration with dead_letters.path");
        return EXIT_USAGE;
    }
    if (!stored_from_ns(query, &l.from_ns))
        return EXIT_USAGE;
    if (strcmp(query->verb, "replay") == 0 && query->sink)
        return replay_letters(config, path, query, l.from_ns);
    if (query->remove) {
        stored_complain("--remove is for replay --sink");
        return EXIT_USAGE;
    }
    l.groups = calloc(GROUPS_MAX, sizeof *l.groups);
    exit_code = l.groups ? look_through(&l, path) : EXIT_FAILED;
    free(l.groups);
    buf_finish(&l.out);
    return stored_finish(exit_code);
}
