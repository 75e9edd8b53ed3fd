/* Records for codecs to encode, with lines of every kind, and what the tests of all codecs need. */
#pragma once

#include <stdbool.h>

#include <yyjson.h>

#include "ringtail/base/random.h"
#include "ringtail/codec/codec.h"

#define FIXTURE_SOURCES 4
#define FIXTURE_RECORDS_MAX 600
#define FIXTURE_TS INT64_C(1795250000123456789)

struct codec_fixture {
    struct source *sources[FIXTURE_SOURCES];
    struct record records[FIXTURE_RECORDS_MAX];
    const struct record *pointers[FIXTURE_RECORDS_MAX];
    char *lines[FIXTURE_RECORDS_MAX];
    size_t count;
    struct random random;
    struct codec *codec;
    struct buf body;
    struct codec_judgement judgement;
};

/** For cmocka: *state becomes the fixture, without records or codec. */
int codec_fixture_setup(void **state);
int codec_fixture_teardown(void **state);

/** Makes f->codec; a codec from before goes. */
void fixture_codec(struct codec_fixture *f, const struct codec_options *options);

/** Appends a record with a copy of the line. */
struct record *fixture_add(struct codec_fixture *f, size_t source, enum record_stream stream,
                           int64_t ts_ns, struct slice line);

/** Appends one record for each line of every kind that there is: text, quotes, controls, invalid
 * UTF-8, four-byte characters, empty and blank ones, a megabyte. */
void fixture_add_kinds(struct codec_fixture *f);

/** Appends records with random bytes, sources, streams and times. */
void fixture_add_random(struct codec_fixture *f, size_t count);

void fixture_clear(struct codec_fixture *f);

/** Encodes all records into f->body. */
void fixture_encode(struct codec_fixture *f);

/** Judges a reply to a request for `count` records; the judgement is checked for being one. */
struct codec_judgement *fixture_judge(struct codec_fixture *f, int status, const char *body,
                                      size_t count);

/** The first verdict's reason, and the outcome's. */
const char *fixture_reason(const struct codec_fixture *f, size_t i);

/** The bytes are JSON, strictly, and nothing else. The caller frees the document. */
yyjson_doc *fixture_json(struct slice text);

/** A string member; the test fails when there is none. */
struct slice json_text(yyjson_val *object, const char *key);

void assert_slice(struct slice expected, struct slice actual);

/** `actual` is the line with U+FFFD for what is not UTF-8. */
void assert_lossy(const struct record *r, struct slice actual);

/** The member is the line's bytes in base64 if it is not UTF-8, and is missing if it is. */
void assert_line_b64(const struct record *r, yyjson_val *object);
