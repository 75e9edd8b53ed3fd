/*
 * JSON strings: the one thing that we write ourselves, because it is done for every byte of every
 * line. Parsing JSON is yyjson's.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"

/** The most that `len` bytes can become as the inside of a JSON string (every byte as \u00XX). */
#define JSON_ESCAPED_MAX(len) ((len)*6)

/**
 * Writes the inside of a JSON string (no quotes) at `out`, which has JSON_ESCAPED_MAX(in.len) + 16
 * bytes of room: `"`, `\` and control bytes escaped (short forms \b \t \n \f \r where JSON has
 * them, \u00XX else; DEL as it is), all else copied. The input must be UTF-8 for the output to be.
 * Sixteen bytes or more at a time with SSE2/NEON; where there is much to escape, byte by byte from
 * a table, so that quote-dense text does not fall off a cliff. Returns the end of what it wrote.
 */
char *json_escape(char *out, struct slice in);

/** The same, and looks for what is not UTF-8 on the way: NULL then, and what is at `out` is void.
 */
char *json_escape_utf8(char *out, struct slice in);

/** Appends `"…"` with invalid UTF-8 replaced by U+FFFD (for names and messages, not for lines). */
int json_append_string(struct buf *b, struct slice in);

/** Whether the bytes are UTF-8 (no overlong forms, no surrogates, at most U+10FFFF). ASCII is fast.
 */
bool utf8_is_valid(struct slice in);

/** Appends the bytes with invalid UTF-8 replaced by U+FFFD. Returns 0 or -ENOMEM. */
int utf8_append(struct buf *b, struct slice in);

#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/** Writes BASE64_LEN(in.len) bytes of standard, padded base64. Returns their end. */
char *base64_encode(char *out, struct slice in);

/** Appends what standard, padded base64 stands for. Returns 0; -EBADMSG for anything else; -ENOMEM.
 * On error nothing is appended. */
int base64_append(struct buf *b, struct slice in);
