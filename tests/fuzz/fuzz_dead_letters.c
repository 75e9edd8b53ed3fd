/*
 * sink/dead_letters: whatever is in the file, each line of it is a letter, damaged, or empty; a
 * letter points into nothing but what it was read from; and what is read is the same however often.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/json.h"
#include "ringtail/sink/dead_letters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t lines, hash, stop_after;
    struct slice text; /* the whole input */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void take(struct seen *s, struct slice bytes)
{
    s->hash = hash_bytes(bytes, s->hash);
}

static int see(void *ctx, const struct dead_letter_line *line)
{
    struct seen *s = ctx;

    s->lines++;
    require(line->text.data >= s->text.data &&
            line->text.data + line->text.len <= s->text.data + s->text.len);
    require(!memchr(line->text.data, '\n', line->text.len));
    require(utf8_is_valid(line->sink) && utf8_is_valid(line->reason));
    require(utf8_is_valid(line->container_id) && utf8_is_valid(line->container_name) &&
            utf8_is_valid(line->image));
    require(line->stream == RECORD_STDOUT || line->stream == RECORD_STDERR);
    require(line->flags == 0 || line->flags == RECORD_PARTIAL);
    require(line->ts_ns >= 0 && line->dead_at_ns >= 0);
    take(s, line->line);
    take(s, line->sink);
    take(s, line->reason);
    take(s, line->container_id);
    return s->lines == s->stop_after ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct seen first = {.text = text}, again = {.text = text};
    struct dead_letters_found found;
    uint64_t lines = size > 0 && data[size - 1] != '\n';

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    require(dead_letters_parse(text, see, &first, &found) == 0);
    require(found.lines == first.lines && found.lines + found.damaged <= lines);
    again.stop_after = first.lines;
    require(dead_letters_parse(text, see, &again, NULL) == (first.lines > 0));
    require(again.lines == first.lines && again.hash == first.hash);
    return 0;
}
