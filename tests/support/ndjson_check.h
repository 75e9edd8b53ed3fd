/*
 * What containers were made to say, and whether ringtail's output says the same: per container and
 * stream exactly those lines, in order, with their bytes, timestamps and marks; no gap, no double.
 *
 * Across the two streams of a container, lines that are one Engine record each stand in the
 * Engine's order. A line in several parts begins before and ends after what the other stream says
 * in between, so its place among the other stream's lines is nobody's to say.
 *
 * Output is compared as it is read, and forgotten; a line must therefore be told before it can be
 * read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/sim/sim.h"

#define TOLD_PARTIAL 1u       /* the record has to say `partial` */
#define TOLD_MAYBE_PARTIAL 2u /* it may */
#define TOLD_IN_PARTS 4u      /* several Engine records: no place among the other stream's lines */

struct told;
struct ndjson_check;

/**
 * `path`: a directory, in which all is output that does not begin with a dot, or one file. It need
 * not exist yet.
 */
struct ndjson_check *ndjson_check_create(const char *path);

/** NULL is fine. */
void ndjson_check_destroy(struct ndjson_check *check);

/** A container that may have output. Any other container's record is an error. */
struct told *ndjson_check_add(struct ndjson_check *check, const char *container_id);

/** Every record from now on has this name. NULL, as at the start: any. */
void told_set_name(struct told *told, const char *name);

/** Its lines may end anywhere: it is not waited for, and may be without output. */
void told_set_optional(struct told *told);

/** The next line of a stream. ts_ns 0: any timestamp. The bytes are copied. */
void told_line(struct told *told, enum sim_stream stream, int64_t ts_ns, struct slice bytes,
               unsigned flags);

/** All its lines are generated. `lines` of them have to come; 0: as many as there are. */
void told_generated(struct told *told, const struct sim_generator *generator, const char *name,
                    uint64_t lines);

/** How many lines were told and how many have been read. */
uint64_t told_count(const struct told *told);
uint64_t told_seen(const struct told *told);

/** Name and image in the last record that was read; empty before. */
const char *told_last_name(const struct told *told);
const char *told_last_image(const struct told *told);

/**
 * Reads what is new, some MiB of each file. 0; 1 when there may be more; -EBADMSG once anything is
 * wrong: ndjson_check_why says what.
 */
int ndjson_check_poll(struct ndjson_check *check);

const char *ndjson_check_why(const struct ndjson_check *check);

/** Whether everything that was told has been read; else *ret_why (static) says what is missing. */
bool ndjson_check_is_complete(const struct ndjson_check *check, const char **ret_why);

/** Whether the output ends with a whole line in every file. */
bool ndjson_check_is_whole(const struct ndjson_check *check);

/** Records and files read so far. */
uint64_t ndjson_check_records(const struct ndjson_check *check);
size_t ndjson_check_files(const struct ndjson_check *check);
