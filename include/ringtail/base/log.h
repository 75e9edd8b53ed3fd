/*
 * ringtail's own log: one sentence and its fields, as text for people or as one JSON object a line.
 * Never log payload. Rate-limited per call site, so a failure that repeats cannot drown the rest.
 * Lines leave through a writer that the daemon sets (through the ring, so that a stalled terminal
 * stalls nobody); until then, and after, straight to stderr.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_field_kind { LOG_FIELD_END, LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_ERRNO };

struct log_field {
    const char *key;
    enum log_field_kind kind;
    struct slice str;
    int64_t num;
};

/**
 * Fields: borrowed for the call. Values longer than 2 KiB are cut off there. LOG_ERRNO takes a
 * negative errno and gives `error="No such file or directory (ENOENT)"`.
 */
#define LOG_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .str = slice_str(v)})
#define LOG_SLICE(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .str = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .num = (int64_t)(v)})
#define LOG_ERRNO(r) ((struct log_field){.key = "error", .kind = LOG_FIELD_ERRNO, .num = (r)})

/** What one call site remembers for its rate limit. */
struct log_site {
    int64_t window_start_ns;
    uint32_t in_window;
    uint32_t suppressed;
};

/** `log_info("Stream opened", LOG_STR("container_id", id))`: JSON keys level, msg, time, then
 * these. */
#define log_at(lvl, message, ...)                                                                  \
    do {                                                                                           \
        static struct log_site log_site_;                                                          \
        if (log_enabled(lvl))                                                                      \
            log_emit((lvl), &log_site_, (message),                                                 \
                     (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}});         \
    } while (0)
#define log_debug(message, ...) log_at(LOG_LEVEL_DEBUG, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...) log_at(LOG_LEVEL_INFO, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(message, ...) log_at(LOG_LEVEL_WARN, message __VA_OPT__(, ) __VA_ARGS__)
#define log_error(message, ...) log_at(LOG_LEVEL_ERROR, message __VA_OPT__(, ) __VA_ARGS__)

/**
 * Takes one finished line with its newline; returns false when it had no room (then it is counted).
 * Must not log itself.
 */
typedef bool (*log_writer_fn)(void *ctx, struct slice line);

struct log_options {
    enum log_level level;
    enum log_format format; /* AUTO: text when stderr is a terminal, JSON lines otherwise */
    /* Per call site and window; 0: no limit. The next line of the site that gets through tells how
     * many were left out (`suppressed=N`). */
    uint32_t burst_lines;
    uint32_t window_ms;
};

/** Sets level, format and limits. Called once before threads start. */
void log_init(const struct log_options *options);

/**
 * Hands lines to `fn` from now on; NULL returns to stderr. Any thread may log: the writer is called
 * under the log's lock.
 */
void log_set_writer(log_writer_fn fn, void *ctx);

bool log_enabled(enum log_level level);

/**
 * Use the macros above. `fields` ends with a NULL key; keys are plain words. One line is either of
 *
 *     2026-01-02T03:04:05.678Z INFO  message key=value key="va lue"
 *     {"level":"info","msg":"message","time":"2026-01-02T03:04:05.678901234Z","key":"value"}
 *
 * Control characters are escaped in both and invalid UTF-8 is replaced by U+FFFD. Thread: any;
 * errno stays as it was.
 */
void log_emit(enum log_level level, struct log_site *site, const char *message,
              const struct log_field *fields);

/** Lines lost because the writer had no room. */
uint64_t log_lines_dropped(void);
