/*
 * What is said about each metric. Names, labels and their order are an interface: dashboards,
 * alerts and scripts depend on them.
 */
#include "ringtail/base/metric.h"

#include "ringtail/base/macros.h"

static const double age_bounds[] = {60, 120, 180, 240, 300, 360, 420, 480, 540, 600};
static const double send_bounds[] = {0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10};
static const double cancel_bounds[] = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                       0.001,   0.0025,   0.005,   0.01,   0.025,   0.05,
                                       0.1,     0.25,     0.5,     1};

#define COUNTER(id, its_name, text, ...) ENTRY_(METRIC_COUNTER, id, its_name, text, __VA_ARGS__)
#define GAUGE(id, its_name, text, ...) ENTRY_(METRIC_GAUGE, id, its_name, text, __VA_ARGS__)
#define HISTOGRAM(id, its_name, its_bounds, text, ...)                                             \
    ENTRY_(METRIC_HISTOGRAM, id, its_name, text, __VA_ARGS__),                                     \
        [id].bounds = (its_bounds), [id].bounds_count = ARRAY_SIZE(its_bounds)
#define ENTRY_(its_kind, id, its_name, text, ...)                                                  \
    [id].name = METRIC_PREFIX its_name, [id].kind = (its_kind), [id].help = (text),                \
    [id].group = GROUP, [id].labels = {__VA_ARGS__}

#define CONTAINER "container_id", "container_name"

const struct metric metric_table[METRIC_COUNT] = {
#define GROUP "Streams"
    GAUGE(METRIC_STREAMS_ACTIVE, "container_streams_active", "Log streams that are open."),
    COUNTER(METRIC_STREAM_ROTATIONS, "container_stream_rotations_total",
            "Rotations of the container's log stream: a new one took over from the old one.",
            CONTAINER),
    GAUGE(METRIC_LAST_ROTATION, "container_last_rotation_timestamp",
          "When the container's log stream was last rotated, or first opened, in unix seconds.",
          CONTAINER),
    HISTOGRAM(METRIC_STREAM_AGE, "container_stream_age_seconds", age_bounds,
              "Age that log streams had reached when they were rotated.", "container_id"),
    COUNTER(METRIC_STREAM_ERRORS, "container_stream_errors_total",
            "What went wrong with log streams: open_failed, read_failed, pool_full, "
            "rotation_stuck, and others.",
            "error_type", "container_id"),
    COUNTER(METRIC_STREAM_REREAD_BYTES, "stream_reread_bytes_total",
            "Bytes that the Engine sent again so that a new stream could find its place.",
            CONTAINER),
    COUNTER(METRIC_STREAM_REFUSALS, "stream_refusals_total",
            "Requests for a log that the Engine answered with another status than 200."),
#undef GROUP
#define GROUP "Containers"
    GAUGE(METRIC_CONTAINER_MONITORED, "containers_monitored",
          "1 while the container's log is followed.", CONTAINER, "image"),
    GAUGE(METRIC_CONTAINERS_MONITORED, "total_containers_monitored",
          "Containers whose log is followed."),
    COUNTER(METRIC_CONTAINERS_MISSED, "containers_missed_total",
            "Containers that were gone before their log could be read."),
    COUNTER(METRIC_CONTAINER_LINES, "container_lines_total", "Lines read.", CONTAINER),
    COUNTER(METRIC_CONTAINER_BYTES, "container_bytes_total", "Bytes in the lines read.", CONTAINER),
    GAUGE(METRIC_CONTAINER_LAG, "container_lag_seconds",
          "Time between the newest line's timestamp and now.", CONTAINER),
    COUNTER(METRIC_CONTAINER_REPEATED, "container_records_repeated_total",
            "Records that the Engine delivered again and that were dropped as repetitions.",
            CONTAINER),
    COUNTER(METRIC_CONTAINER_GAPS, "container_gaps_suspected_total",
            "Times that the Engine had dropped what was known of the log, so that lines may be "
            "missing.",
            CONTAINER),
    COUNTER(METRIC_CONTAINER_TIME_BACK, "container_timestamps_back_total",
            "Records with an earlier timestamp than the one before; none is dropped for it.",
            CONTAINER),
    COUNTER(METRIC_CONTAINER_TRUNCATED, "container_lines_truncated_total",
            "Lines that were cut because they are longer than stream.max_line_bytes.", CONTAINER),
    GAUGE(METRIC_CONTAINER_AT_RISK, "container_at_risk",
          "1 while reading is so far behind that the Engine may drop lines before they are read.",
          CONTAINER),
    COUNTER(METRIC_TASK_HEARTBEATS, "task_heartbeats_total",
            "Signs of life of a task; a container's go on through the rotations of its streams.",
            "task_id", "task_type"),
    GAUGE(METRIC_ACTIVE_TASKS, "active_tasks", "Tasks by type and state.", "task_type", "state"),
#undef GROUP
#define GROUP "Records"
    COUNTER(METRIC_LOGS_PROCESSED, "logs_processed_total", "Lines handed on towards the output.",
            "source_type", "source_id", "pipeline"),
    COUNTER(METRIC_LOGS_SENT, "logs_sent_total", "Lines by what became of them at the output.",
            "sink_type", "status"),
    COUNTER(METRIC_ERRORS, "errors_total", "Errors by the part that met them.", "component",
            "error_type"),
    COUNTER(METRIC_RECORDS_READ, "records_read_total",
            "Lines read. For each sink, these and the lines found are always the sum of those "
            "filtered, settled, lost, queued and spooled."),
    COUNTER(METRIC_RECORDS_FILTERED, "records_filtered_total",
            "Lines that the configuration left out."),
    COUNTER(METRIC_RECORDS_FOUND, "records_found_total",
            "Lines that an earlier run had left in the spool, since they were read from it.",
            "sink"),
    COUNTER(METRIC_RECORDS_SETTLED, "records_settled_total", "Lines that are where they belong.",
            "sink"),
    COUNTER(METRIC_RECORDS_LOST, "records_lost_total",
            "Lines that will never be where they belong, by why.", "sink", "reason"),
    GAUGE(METRIC_RECORDS_QUEUED, "records_queued", "Lines that wait in memory for the sink.",
          "sink"),
    GAUGE(METRIC_RECORDS_SPOOLED, "records_spooled", "Lines that wait on disk for the sink.",
          "sink"),
    COUNTER(METRIC_CONTAINER_RECORDS_FOUND, "container_records_found_total",
            "records_found_total of one container; there once it is not 0.", CONTAINER, "sink"),
    COUNTER(METRIC_CONTAINER_RECORDS_SETTLED, "container_records_settled_total",
            "records_settled_total of one container.", CONTAINER, "sink"),
    COUNTER(METRIC_CONTAINER_RECORDS_LOST, "container_records_lost_total",
            "records_lost_total of one container; there once it is not 0.", CONTAINER, "sink",
            "reason"),
    GAUGE(METRIC_CONTAINER_RECORDS_QUEUED, "container_records_queued",
          "records_queued of one container.", CONTAINER, "sink"),
    GAUGE(METRIC_CONTAINER_RECORDS_SPOOLED, "container_records_spooled",
          "records_spooled of one container; there once it is not 0.", CONTAINER, "sink"),
#undef GROUP
#define GROUP "Queue"
    GAUGE(METRIC_DISPATCHER_UTILIZATION, "dispatcher_queue_utilization",
          "How full the queue between streams and outputs is, from 0 to 1."),
    GAUGE(METRIC_QUEUE_SIZE, "queue_size", "What a queue holds, in its own unit.", "component",
          "queue_type"),
    GAUGE(METRIC_QUEUE_BYTES, "queue_bytes", "Bytes that wait in memory for the sink.", "sink"),
    GAUGE(METRIC_QUEUE_LIMIT_BYTES, "queue_limit_bytes",
          "Bytes that may wait in memory for the sink.", "sink"),
    GAUGE(METRIC_SINK_UTILIZATION, "sink_queue_utilization",
          "How full an output's queue is, from 0 to 1.", "sink_type"),
    HISTOGRAM(METRIC_SINK_SEND_DURATION, "sink_send_duration_seconds", send_bounds,
              "Time from handing a batch to an output until it had settled.", "sink_type"),
    GAUGE(METRIC_SINK_STATE, "sink_state",
          "1 for the state that the sink is in: ok, retrying, suspended.", "sink", "state"),
    GAUGE(METRIC_SINK_SPOOLING, "sink_spooling", "1 while lines for the sink go through the spool.",
          "sink"),
    COUNTER(METRIC_READING_PAUSES, "reading_pauses_total",
            "Times that reading paused because the queue was full."),
    COUNTER(METRIC_READING_PAUSED_SECONDS, "reading_paused_seconds_total",
            "Time for which reading paused because the queue was full."),
#undef GROUP
#define GROUP "Engine"
    GAUGE(METRIC_ENGINE_UP, "engine_up", "1 while the Engine is there."),
    COUNTER(METRIC_ENGINE_CONNECTS, "engine_connects_total",
            "Times that the Engine was found to be there."),
    COUNTER(METRIC_ENGINE_RECONNECTS, "engine_reconnects_total",
            "Times that the Engine was found to be there again, after having been lost."),
    COUNTER(METRIC_ENGINE_REQUESTS, "engine_requests_total", "Requests to the Engine.", "kind",
            "outcome"),
    COUNTER(METRIC_ENGINE_EVENTS, "engine_events_total", "Container events seen."),
    COUNTER(METRIC_ENGINE_LISTINGS, "engine_listings_total",
            "Full listings of containers that were worked through."),
#undef GROUP
#define GROUP "Positions"
    COUNTER(METRIC_POSITIONS_SAVES, "positions_saves_total", "Times that positions were saved."),
    COUNTER(METRIC_POSITIONS_SAVE_ERRORS, "positions_save_errors_total",
            "Times that positions could not be saved."),
    GAUGE(METRIC_POSITIONS_AGE, "positions_age_seconds",
          "Age of the oldest position that is not saved yet; 0: all are saved."),
    GAUGE(METRIC_POSITIONS_CONTAINERS, "positions_containers",
          "Containers whose position is kept."),
    COUNTER(METRIC_POSITIONS_OUTPUTS_SHORTER, "positions_outputs_shorter_total",
            "Output files found shorter at the start than the positions say: lines that were "
            "written are gone, by a power loss or because somebody cut the file."),
#undef GROUP
#define GROUP "Ring"
    GAUGE(METRIC_RING_IN_FLIGHT, "ring_operations_in_flight", "Operations under way.", "kind"),
    COUNTER(METRIC_RING_COMPLETIONS, "ring_completions_total", "Operations that have ended.",
            "kind"),
    COUNTER(METRIC_RING_TIMEOUTS, "ring_timeouts_total",
            "Receives and sends that ended by their timeout, which is no error."),
    COUNTER(METRIC_RING_CANCELS, "ring_cancels_total", "Operations that ended by being cancelled."),
    HISTOGRAM(METRIC_RING_CANCEL_DURATION, "ring_cancel_duration_seconds", cancel_bounds,
              "Time from cancelling an operation until it had ended."),
    GAUGE(METRIC_RING_BUFFERS, "ring_buffers", "Receive buffers there are."),
    GAUGE(METRIC_RING_BUFFERS_FREE, "ring_buffers_free", "Receive buffers that hold nothing."),
    COUNTER(METRIC_RING_BUFFER_WAITS, "ring_buffer_waits_total",
            "Receives that had to wait for a buffer."),
    COUNTER(METRIC_RING_CQ_OVERFLOWS, "ring_cq_overflows_total",
            "Times that the completion queue was too small; the kernel kept the completions."),
    GAUGE(METRIC_RING_SOCKETS_OPEN, "ring_sockets_open", "Connections to the Engine."),
    GAUGE(METRIC_RING_SOCKETS_MAX, "ring_sockets_max",
          "Connections to the Engine there may be at once."),
    COUNTER(METRIC_RING_PASSES, "ring_passes_total", "Turns of the main loop."),
    COUNTER(METRIC_RING_PAUSES, "ring_pauses_total",
            "Rests after a turn that found data, so that the next one finds more."),
    COUNTER(METRIC_RING_ENTERS, "ring_enters_total", "System calls of the main loop."),
#undef GROUP
#define GROUP "Process"
    GAUGE(METRIC_GOROUTINES, "goroutines",
          "Concurrent activities: threads and operations in flight. The name is older than "
          "ringtail."),
    [METRIC_GOROUTINES].bare = true,
    GAUGE(METRIC_THREADS, "threads", "Threads of the process."),
    GAUGE(METRIC_DESCRIPTORS_OPEN, "file_descriptors_open",
          "File descriptors of the process that are open."),
    GAUGE(METRIC_RESIDENT_BYTES, "resident_memory_bytes", "Memory of the process that is in RAM."),
    GAUGE(METRIC_START_TIME, "process_start_time_seconds",
          "When the process was started, in unix seconds."),
    GAUGE(METRIC_BUILD_INFO, "build_info", "Always 1; the version is in the label.", "version"),
    GAUGE(METRIC_BACKEND_INFO, "backend_info",
          "Always 1; the labels say how operations reach the kernel, and what it can do or why it "
          "is not io_uring.",
          "backend", "reason"),
    COUNTER(METRIC_LOG_LINES_DROPPED, "log_lines_dropped_total",
            "Lines of ringtail's own log that found no room."),
    GAUGE(METRIC_SERIES, "metric_series", "Series with labels on this page."),
    COUNTER(METRIC_SERIES_REFUSED, "metric_series_refused_total",
            "Times that a series was not made because there are too many."),
#undef GROUP
};
