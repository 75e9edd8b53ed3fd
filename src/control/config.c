/* control/config.h: the option table, and the checks that need more than one option. */
#include "ringtail/control/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "config_private.h"
#include "ringtail/sink/sink.h"

/* The Engine cuts longer lines into parts of this size. */
#define ENGINE_PART_BYTES 16384

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const ring_backends[] = {"auto", "io_uring", "epoll", NULL};
static const char *const log_formats[] = {"auto", "text", "json", NULL};
static const char *const run_confines[] = {"auto", "off", "strict", NULL};
static const char *const spool_syncs[] = {"never", "always", NULL};

const char *const config_output_syncs[] = {"positions", "never", NULL};
const char *const config_compressions[] = {"none", "gzip", "zstd", NULL};

#define OPT_STRUCT struct config
static const struct option options[] = {
#define OPT_GROUP "Engine"
    OPT_STRING("engine.url", engine_url, "8", "116", "unix:///var/run/docker.sock",
               "The Engine's socket, as unix:///path. --engine and the environment's DOCKER_HOST "
               "set it too."),
    OPT_DURATION("engine.request_timeout", engine_request_timeout_ms, "100ms", "10m", "30s",
                 "A list, inspect or version request, and the head of a log reply, may take this "
                 "long."),
    OPT_DURATION("engine.reconnect_min", engine_reconnect_min_ms, "1ms", "1m", "100ms",
                 "The first pause after a lost connection. Later ones double, with jitter."),
    OPT_DURATION("engine.reconnect_max", engine_reconnect_max_ms, "10ms", "10m", "10s",
                 "The longest pause between two tries to connect."),
    OPT_INT("engine.requests_max", engine_requests_max, "1", "1000", "16",
            "Requests other than logs and events under way at once; more wait in line."),
    OPT_SIZE("engine.reply_max", engine_reply_bytes_max, "64KiB", "1GiB", "64MiB",
             "A longer body of a list, inspect or version reply is refused."),
    OPT_SIZE("engine.head_max", engine_head_bytes_max, "1KiB", "1MiB", "64KiB",
             "A longer head of any reply is refused."),
#undef OPT_GROUP
#define OPT_GROUP "Containers"
    OPT_DURATION("discovery.resync_interval", discovery_resync_ms, "50ms", "1m", "30s",
                 "Events say what to follow at once; a full listing this often catches the events "
                 "that never came."),
    OPT_LIST(
        "containers.include", containers_include,
        "Follow only containers whose name matches one of these shell patterns (web-*). Empty: "
        "all."),
    OPT_LIST("containers.exclude", containers_exclude,
             "Never follow containers whose name matches one of these shell patterns."),
    OPT_BOOL("containers.follow_self", containers_follow_self, "false",
             "Follow the container that ringtail itself runs in, too."),
#undef OPT_GROUP
#define OPT_GROUP "Streams"
    OPT_STRING("stream.since", stream_since, "1", "64", "now",
               "Where to begin in a container's log at first contact: now, all, a duration back "
               "(1h), or an RFC 3339 timestamp. With positions from a run before, now means where "
               "that run ended, and containers that have ended since are read too. --since sets it "
               "too."),
    OPT_DURATION("stream.read_timeout", stream_read_timeout_ms, "50ms", "1h", "30s",
                 "A read waits this long at most and is then armed again; an expired read is no "
                 "error."),
    OPT_DURATION(
        "stream.rotation_interval", stream_rotation_interval_ms, "200ms", "7d", "5m",
        "Every stream, idle or busy, is replaced by a new one before it is this old; the old "
        "one is read until the new one has found its place."),
    OPT_INT(
        "stream.rotation_jitter", stream_rotation_jitter_percent, "0", "50", "10",
        "Percent of the interval by which a rotation may come early, so that hundreds of streams "
        "do not rotate together."),
    OPT_DURATION(
        "stream.stuck_grace", stream_stuck_grace_ms, "200ms", "1d", "1m",
        "A stream that has not rotated this long after it should have is reported and opened "
        "anew."),
    OPT_SIZE(
        "stream.reread_max", stream_reread_max_bytes, "1KiB", "16MiB", "64KiB",
        "A rotation asks the Engine for about this much of old log at most, at the first try."),
    OPT_INT("stream.openings_max", stream_openings_max, "1", "1000", "16",
            "Streams that open at once; more wait in line."),
    OPT_SIZE("stream.max_line_bytes", stream_max_line_bytes, "1KiB", "256MiB", "1MiB",
             "A longer line is cut, marked with \"partial\":true, and counted."),
    OPT_SIZE("stream.max_frame_bytes", stream_max_frame_bytes, "49183", "16MiB", "64KiB",
             "A longer frame is taken for corruption: the stream is opened again."),
    OPT_INT("stream.history_records", stream_history_records, "64", "65536", "1024",
            "Fingerprints (16 bytes each) of the last records kept for each busy container, to go "
            "on exactly after a break. A power of two."),
    OPT_DURATION("stream.seek_timeout", stream_seek_timeout_ms, "100ms", "10m", "5s",
                 "After a break, a reply that has not come to the last known record and says "
                 "nothing more is asked again with a wider request after this long."),
    OPT_DURATION("stream.retry_refused", stream_retry_refused_ms, "1s", "1d", "1m",
                 "A log that the Engine refuses (500) is tried again after this long, at most one "
                 "a second over all containers. One that it can't read at all (501) waits for the "
                 "container's next start."),
#undef OPT_GROUP
#define OPT_GROUP "Output"
    OPT_STRING("output.path", output_path, "1", "4096", "stdout",
               "stdout, or a directory for one file per container. --output sets it too. This is "
               "the sink called output; where sinks are configured, there is none unless this "
               "option is set.",
               .given = offsetof(struct config, output_path_given)),
    OPT_STRING("output.template", output_template, "1", "1024",
               "{container_name}-{container_id_short}.ndjson",
               "File name below the directory, from {container_id} {container_id_short} "
               "{container_name} {image} {stream} {date}; slashes make directories."),
    OPT_SIZE("output.rotate_bytes", output_rotate_bytes, "0", "1024GiB", "0",
             "Begin a new file when one has reached this size; 0: never."),
    OPT_DURATION(
        "output.rotate_interval", output_rotate_interval_ms, "0", "365d", "0",
        "Begin a new file with the first line of each such interval, counted from 1970 in UTC: "
        "1h means on the hour; 0: never."),
    OPT_INT("output.rotate_keep", output_rotate_keep, "1", "1000", "5",
            "Rotated files kept beside the current one, as name.1 (newest), name.2 ..."),
    OPT_ENUM("output.rotate_compression", output_rotate_compression, "none", config_compressions,
             "Compress rotated files, to name.1.gz or name.1.zst."),
    OPT_DURATION(
        "output.retention", output_retention_ms, "0", "3650d", "0",
        "Remove rotated files that were last changed longer ago, also those of containers that "
        "are gone; 0: never."),
    OPT_SIZE("output.free_space_min", output_free_space_min_bytes, "0", "1048576GiB", "0",
             "While the file system has less room than this, writing waits as for a full disk; 0: "
             "it may be filled."),
    OPT_INT("output.open_files_max", output_open_files_max, "1", "100000", "512",
            "Output files open at once; the least recently written are closed first."),
    OPT_DURATION("output.retry", output_retry_ms, "10ms", "10m", "1s",
                 "A write that failed (disk full, say) is tried again this often; nothing is "
                 "dropped."),
    OPT_ENUM("output.sync", output_sync, "never", config_output_syncs,
             "positions: before each save of the positions every output file that was written to "
             "is synced to the disk, so that no position says more than the files hold after a "
             "power loss; with hundreds of busy files that is hundreds of syncs a second. never: "
             "left to the system; a file that a power loss has made shorter is reported at the "
             "next start."),
    OPT_STRING("positions.path", positions_path, "0", "4096", NULL,
               "File that keeps where each log was left, over restarts and crashes. Default: "
               ".ringtail/positions in the output directory; with output to stdout, none."),
    OPT_DURATION("positions.interval", positions_interval_ms, "10ms", "1h", "1s",
                 "Positions are saved this often while lines come, and at the end."),
    OPT_DURATION("positions.keep", positions_keep_ms, "1m", "3650d", "7d",
                 "The position of a container that is not followed any more is kept this long."),
    OPT_SIZE(
        "queue.max_bytes", queue_max_bytes, "1MiB", "64GiB", "32MiB",
        "Lines waiting for the output in memory; when it is full, reading pauses until half of "
        "it is free."),
    OPT_SIZE("queue.batch_bytes", queue_batch_bytes, "4KiB", "16MiB", "256KiB",
             "A batch is handed over at this size, or as soon as there is nothing more to read."),
#undef OPT_GROUP
#define OPT_GROUP "Spool"
    OPT_STRING("spool.path", spool_path, "0", "4096", NULL,
               "Directory where lines wait on disk while a remote sink can't take them; it is made "
               "if it is missing. Empty: there is no spool."),
    OPT_SIZE("spool.max_bytes", spool_max_bytes, "1MiB", "1048576GiB", "10GiB",
             "The spool takes no more than this; then queue.policy of each sink says what "
             "happens."),
    OPT_SIZE("spool.segment_bytes", spool_segment_bytes, "64KiB", "1GiB", "64MiB",
             "Size of a file of the spool, which goes when every sink has read it."),
    OPT_DURATION("spool.max_age", spool_max_age_ms, "0", "3650d", "0",
                 "Lines that have waited in the spool for longer are given up, and counted; 0: "
                 "never."),
    OPT_ENUM("spool.sync", spool_sync, "never", spool_syncs,
             "always: what is spooled is synced to the disk before its position is saved, so that "
             "it survives a power loss. never: left to the system; it survives the end of ringtail "
             "alone."),
    OPT_STRING("dead_letters.path", dead_letters_path, "0", "4096", NULL,
               "File of the lines that a receiver has refused for their content, with sink, reason "
               "and time. Default: dead_letters beside the file of the positions; where no "
               "positions are kept, none: such lines are only counted. With spool.sync: always, or "
               "where a file is synced, each is synced before it counts as lost."),
    OPT_SIZE("dead_letters.max_bytes", dead_letters_max_bytes, "64KiB", "1024GiB", "64MiB",
             "At this size the file becomes name.1, and a new one begins."),
    OPT_INT("dead_letters.keep", dead_letters_keep, "1", "100", "5",
            "Such files kept beside the current one; the oldest goes."),
#undef OPT_GROUP
#define OPT_GROUP "Ring"
    OPT_ENUM("ring.backend", ring_backend, "auto", ring_backends,
             "How operations reach the kernel. auto: io_uring, or epoll where the kernel, a sysctl "
             "or a seccomp profile refuses it; the log, /ready and log_capturer_backend_info say "
             "which it is, and why. --backend sets it too."),
    OPT_INT("ring.entries", ring_entries, "64", "32768", "1024",
            "Submission queue of the io_uring; the completion queue has four times as many."),
    OPT_INT("ring.sockets_max", ring_sockets_max, "32", "65536", "4096",
            "Connections to the Engine at once, at most. Bounded by RLIMIT_NOFILE."),
    OPT_INT("ring.buffers", ring_buffers, "4", "32768", "32",
            "Receive buffers shared by all streams; a power of two. An idle stream holds none."),
    OPT_SIZE("ring.buffer_bytes", ring_buffer_bytes, "4KiB", "1MiB", "32KiB",
             "Size of each receive buffer."),
    OPT_INT(
        "ring.workers_max", ring_workers_max, "0", "1024", "2",
        "Threads that the kernel (with epoll ringtail) uses for output files at once. 0: its own "
        "choice, up to four for each processor."),
    OPT_DURATION("ring.batch_pause", ring_batch_pause_ms, "0", "100ms", "1ms",
                 "Rest after a pass that found data, so that the next one finds more; none while "
                 "buffers come back full. 0: never."),
#undef OPT_GROUP
#define OPT_GROUP "Process"
    OPT_STRING("host.name", host_name, "0", "253", NULL,
               "This machine's name, for {host} and where a protocol has a place for it. Default: "
               "the system's, which inside a container is the container's."),
    OPT_STRING("admin.address", admin_address, "0", "64", "127.0.0.1",
               "Where /metrics, /health, /ready and /debug/streams are served; empty: nowhere."),
    OPT_INT("admin.port", admin_port, "0", "65535", "8001",
            "0: any free port; the log says which."),
    OPT_INT("admin.connections_max", admin_connections_max, "1", "10000", "32",
            "Connections to it at once; more wait."),
    OPT_DURATION("admin.timeout", admin_timeout_ms, "1s", "10m", "10s",
                 "A connection that is silent this long is closed."),
    OPT_INT("metrics.series_max", metrics_series_max, "100", "10000000", "100000",
            "Series with labels on /metrics; more are not shown, and counted."),
    OPT_DURATION("metrics.linger", metrics_linger_ms, "0", "1d", "5m",
                 "The series of a container that is gone leave /metrics after this long."),
    OPT_DURATION("metrics.heartbeat_interval", heartbeat_interval_ms, "100ms", "1h", "30s",
                 "Each container's heartbeat counter goes up this often."),
    OPT_ENUM("log.level", log_level, "info", log_levels,
             "Least level of ringtail's own log lines."),
    OPT_ENUM("log.format", log_format, "auto", log_formats,
             "Own log on stderr as text or JSON lines; auto: text on a terminal, else JSON."),
    OPT_INT(
        "log.burst", log_burst, "0", "1000000", "200",
        "Lines that one place in the program may log in 10 s; what is left out is counted. 0: no "
        "limit."),
    OPT_DURATION("run.grace_period", run_grace_ms, "0", "1h", "10s",
                 "After SIGTERM or SIGINT, what was read is written out for this long at most. The "
                 "last fifth of it is the spool's: what no sink has taken by then goes there. What "
                 "finds no room there (or where there is no spool) is read from the Engine again "
                 "by the next run, and the exit code is 1."),
    OPT_ENUM("run.confine", run_confine, "auto", run_confines,
             "auto: once it runs, ringtail gives up what it does not need: other operations on its "
             "ring, new privileges, capabilities, other system calls. What of that the kernel does "
             "not let it do is said, and it goes on; a system call that is refused later is noted "
             "by the kernel. strict: the one ends the start with exit code 3, the other ends "
             "ringtail. off: nothing is given up. log_capturer_confinement_info and /ready say "
             "what holds."),
#undef OPT_GROUP
};

static const struct option_section sections[] = {
    {
        .name = "sinks",
        .singular = "sink",
        .title = "Sinks",
        .help =
            "Where lines go beside, or in place of, the output: any number of sinks (64 at most), "
            "each with a name of its own (1 to 32 of a-z 0-9 _ -; not \"output\"), as a mapping "
            "below sinks: in the file, or by --set sinks.NAME.OPTION=VALUE. Every sink has its own "
            "queue and patience: one that fails or hangs disturbs no other. A secret is given as "
            "file:/path (the first line of that file; there is a warning when everybody may read "
            "it) or env:NAME (from the environment); it may be written as it is, with a warning, "
            "and is never shown.",
        .table = &config_sink_table,
        .instance_size = sizeof(struct sink_config),
        .offset = offsetof(struct config, sink_instances),
    },
};

static const struct option_table table = {.items = options,
                                          .count = ARRAY_SIZE(options),
                                          .sections = sections,
                                          .sections_count = ARRAY_SIZE(sections)};

const struct option_table *config_options(void)
{
    return &table;
}

int config_init(struct config *c)
{
    *c = (struct config){0};
    return options_set_defaults(&table, c);
}

void config_finish(struct config *c)
{
    options_finish(&table, c);
    c->sinks = NULL;
    c->sinks_count = 0;
}

int config_complete(struct config *c, struct option_problems *problems)
{
    int r = options_complete(&table, c, problems);

    c->sinks = c->sink_instances.items;
    c->sinks_count = c->sink_instances.count;
    return r;
}

bool config_has_output(const struct config *c)
{
    return c->sinks_count == 0 || c->output_path_given;
}

bool config_output_is_directory(const struct config *c)
{
    return config_has_output(c) && strcmp(c->output_path, "stdout") != 0;
}

const char *config_engine_path(const struct config *c)
{
    static const char scheme[] = "unix://";

    if (strncmp(c->engine_url, scheme, sizeof scheme - 1) != 0 ||
        c->engine_url[sizeof scheme - 1] != '/')
        return NULL;
    return c->engine_url + sizeof scheme - 1;
}

int config_since_parse(const char *text, int64_t now_ns, int64_t *ret_floor_ns, bool *ret_is_now)
{
    struct slice in = slice_str(text);
    int64_t value;
    char *end;

    *ret_is_now = false;
    if (slice_eq_str(in, "now")) {
        *ret_is_now = true;
        *ret_floor_ns = now_ns;
        return 0;
    }
    if (slice_eq_str(in, "all")) {
        *ret_floor_ns = INT64_MIN;
        return 0;
    }
    if (duration_parse(in, &value) == 0) {
        /* Nothing was logged before 1970. */
        *ret_floor_ns = now_ns - MIN(value, now_ns / NSEC_PER_MSEC) * NSEC_PER_MSEC;
        return 0;
    }
    if (timestamp_parse(in, ret_floor_ns) == 0)
        return 0;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (*end == '\0' && end != text && errno == 0 && value >= 0 &&
        value <= INT64_MAX / NSEC_PER_SEC) {
        *ret_floor_ns = value * NSEC_PER_SEC;
        return 0;
    }
    return -EINVAL;
}

int config_check(const struct config *c, struct option_problems *problems)
{
    size_t before = problems->count;
    const char *path = config_engine_path(c);
    int64_t floor_ns;
    bool is_now;
    char why[256];

    if (!path)
        option_problems_add(problems, "engine.url: \"%s\" is not a unix socket (use unix:///path)",
                            c->engine_url);
    else if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        option_problems_add(problems, "engine.url: the path is longer than a unix socket's can be "
                                      "(107 bytes)");
    if (config_since_parse(c->stream_since, INT64_MAX, &floor_ns, &is_now) < 0)
        option_problems_add(problems,
                            "stream.since: \"%s\" is none of now, all, a duration such as 1h, or a "
                            "timestamp such as 2026-01-31T12:00:00Z",
                            c->stream_since);
    if (sink_file_check_template(c->output_template, why, sizeof why) < 0)
        option_problems_add(problems, "output.template: %s", why);
    if (c->engine_reconnect_min_ms > c->engine_reconnect_max_ms)
        option_problems_add(problems, "engine.reconnect_min is longer than engine.reconnect_max");
    if (c->stream_max_line_bytes / ENGINE_PART_BYTES >= c->stream_history_records)
        option_problems_add(problems,
                            "stream.max_line_bytes: a line this long comes in more parts than "
                            "stream.history_records remembers (set that to %lld at least)",
                            (long long)(c->stream_max_line_bytes / ENGINE_PART_BYTES + 1));
    if (c->ring_buffers & (c->ring_buffers - 1))
        option_problems_add(problems, "ring.buffers: %lld is not a power of two",
                            (long long)c->ring_buffers);
    if (c->stream_history_records & (c->stream_history_records - 1))
        option_problems_add(problems, "stream.history_records: %lld is not a power of two",
                            (long long)c->stream_history_records);
    if (c->spool_segment_bytes > c->spool_max_bytes / 2)
        option_problems_add(problems, "spool.segment_bytes is more than half of spool.max_bytes");
    config_check_sinks(c, problems);
    return problems->count == before ? 0 : -EINVAL;
}
