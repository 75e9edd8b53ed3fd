/*
 * `ringtail spool` and `ringtail dlq`: what lies on the disk because a receiver could not take it,
 * or has refused it, for people. Only `replay --sink` sends anything or changes anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/control/config.h"

/** What the command line asks for. NULL: not given. */
struct stored_query {
    const char *verb;
    const char *path; /* else the configuration's */
    const char *container, *sink, *from;
    bool json, remove;
};

/** Do all that `query` asks for, and say what is wrong on stderr. Return an enum exit_code. */
int stored_spool(const struct config *config, const struct stored_query *query);
int stored_letters(const struct config *config, const struct stored_query *query);

/** The text for `ringtail spool --help` and `ringtail dlq --help`. */
extern const char stored_spool_help[], stored_letters_help[];

/** Whether the query lets this record through, as far as its container and time go; `from_ns` is
 * stored_from_ns. The container is meant by its name, its id, or the beginning of that. */
bool stored_is_wanted(const struct stored_query *query, int64_t from_ns, struct slice id,
                      struct slice name, int64_t ts_ns);

/** INT64_MIN without --from. False: it can't be read, which was said. */
bool stored_from_ns(const struct stored_query *query, int64_t *ret);

/** Says it, with "ringtail: " before and a newline behind. */
void stored_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Ends the output. Returns an enum exit_code. */
int stored_finish(int exit_code);
