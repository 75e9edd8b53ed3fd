/*
 * Everything that can be set, as one struct, and the table that says all about each option.
 * Read-only after start; owned by the daemon.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/option.h"

/** output.sync, in the order of its values. */
enum output_sync { OUTPUT_SYNC_POSITIONS, OUTPUT_SYNC_NEVER };

struct config {
    char *engine_url;
    int64_t engine_request_timeout_ms;
    int64_t engine_reconnect_min_ms, engine_reconnect_max_ms;
    int64_t engine_requests_max;
    int64_t engine_reply_bytes_max;
    int64_t engine_head_bytes_max;

    int64_t discovery_resync_ms;
    struct option_list containers_include, containers_exclude;
    bool containers_follow_self;

    char *stream_since;
    int64_t stream_read_timeout_ms;
    int64_t stream_rotation_interval_ms;
    int64_t stream_rotation_jitter_percent;
    int64_t stream_stuck_grace_ms;
    int64_t stream_reread_max_bytes;
    int64_t stream_openings_max;
    int64_t stream_max_line_bytes;
    int64_t stream_max_frame_bytes;
    int64_t stream_history_records;
    int64_t stream_seek_timeout_ms;
    int64_t stream_retry_refused_ms;

    char *output_path;
    char *output_template;
    int64_t output_rotate_bytes, output_rotate_keep;
    int64_t output_open_files_max;
    int64_t output_retry_ms;
    int output_sync; /* enum output_sync */

    char *positions_path;
    int64_t positions_interval_ms, positions_keep_ms;

    int64_t queue_max_bytes;
    int64_t queue_batch_bytes;

    int64_t ring_entries;
    int64_t ring_sockets_max;
    int64_t ring_buffers;
    int64_t ring_buffer_bytes;
    int64_t ring_workers_max;
    int64_t ring_batch_pause_ms;

    char *admin_address;
    int64_t admin_port;
    int64_t admin_connections_max;
    int64_t admin_timeout_ms;
    int64_t metrics_series_max;
    int64_t metrics_linger_ms;
    int64_t heartbeat_interval_ms;

    int log_level, log_format;
    int64_t log_burst;

    int64_t run_grace_ms;
};

/** The table of all options, for set, load, help and documentation (base/option.h). */
const struct option_table *config_options(void);

/** All defaults. Returns 0 or -ENOMEM. */
int config_init(struct config *c);
void config_finish(struct config *c);

/**
 * What single options can't know: a template that makes no file name, a URL that is none, bounds
 * that contradict each other. Adds every problem. Returns 0 or -EINVAL.
 */
int config_check(const struct config *c, struct option_problems *problems);

/** The path in `unix:///path`. NULL for anything else. */
const char *config_engine_path(const struct config *c);

/**
 * `now`, `all`, a duration back from now (`1h30m`), an RFC 3339 timestamp, or seconds since 1970.
 * ret_floor_ns: INT64_MIN for all; ret_is_now: it was `now`. Returns 0 or -EINVAL.
 */
int config_since_parse(const char *text, int64_t now_ns, int64_t *ret_floor_ns, bool *ret_is_now);
