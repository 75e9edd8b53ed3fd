/*
 * A small, blocking client of a real Engine's API, for tests: what it says is compared with what
 * ringtail wrote, so it shares no code with ringtail's own way of reading.
 *
 * One connection per request. Any thread, several at once. Running out of memory aborts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/slice.h"

/**
 * One request with an optional JSON body (NULL: none), and its whole reply appended to *ret_body
 * (NULL: not wanted). Returns the status, or -errno when there was no whole reply.
 */
int engine_api_request(const char *socket_path, const char *method, const char *path,
                       const char *json, struct buf *ret_body);

/** One record as the Engine keeps it: a line with its newline, or a part of one. */
struct engine_record {
    bool is_stderr;
    int64_t ts_ns;
    struct slice bytes; /* borrowed for the call */
};

/** Not zero: no more records, please; engine_api_logs returns it. */
typedef int engine_record_fn(void *ctx, const struct engine_record *record);

/**
 * A container's log up to now, with timestamps. `query` (NULL: none) is put behind the others, as
 * "tail=1". A TTY's records are told apart by the Engine's chunks, since nothing else tells them.
 * Returns the status (200 after all records), -errno, or what on_record returned.
 */
int engine_api_logs(const char *socket_path, const char *id, const char *query, bool tty,
                    engine_record_fn *on_record, void *ctx);
