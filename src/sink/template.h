/*
 * Path templates: from a record's source, stream and day to a relative path. Pure.
 *
 * What a path looks like, whatever a container is called:
 *   - A value's bytes outside [0-9A-Za-z._-] are %XX; a value that is `.` or `..` has its dots
 *     encoded; an empty one is `%empty`. A value is one component or part of one, never more.
 *   - An encoded value of more than 200 bytes is cut and ends with `~` and 32 hex digits of hash; a
 *     component of more than 240 bytes likewise, keeping a literal end such as `.ndjson`. `~` comes
 *     from no value by itself.
 *   - A last component that would end in a dot and digits has that dot encoded, for `x.1` is what
 *     the rotated file of `x` is called; one that would end in `.1.gz` and the like too
 *     (ringtail/sink/rotated.h).
 * So values that differ give paths that differ as far as the template tells them apart, there is
 * no `.`, no `..` and no empty component, and none is longer than TEMPLATE_COMPONENT_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/record/batch.h"

#define TEMPLATE_VALUE_MAX 200
#define TEMPLATE_COMPONENT_MAX 240
#define TEMPLATE_COMPONENTS_MAX 16
#define TEMPLATE_LITERAL_MAX 64 /* of one run of literal bytes */

struct path_template;

/** Returns 0; -EINVAL with the reason in `why`; -ENOMEM. */
int path_template_create(const char *text, struct path_template **ret, char *why, size_t why_size);

/** NULL is fine. Returns NULL. */
struct path_template *path_template_destroy(struct path_template *t);

/** Whether two records of one source can have different paths, by stream or by day. */
bool path_template_by_stream(const struct path_template *t);
bool path_template_by_day(const struct path_template *t);

/** The number of the UTC day that a record belongs to, from 1970-01-01. */
int64_t path_template_day(int64_t ts_ns);

/** Replaces `out` with the path, NUL behind (not counted). Returns 0 or -ENOMEM. */
int path_template_expand(const struct path_template *t, const struct source *source,
                         enum record_stream stream, int64_t day, struct buf *out);

size_t path_template_components(const struct path_template *t);

/** Whether the text could be this component (from 0) of a path of this template. */
bool path_template_matches(const struct path_template *t, size_t component, struct slice text);

/** The same for the last component, a file's name. */
bool path_template_matches_last(const struct path_template *t, struct slice text);
