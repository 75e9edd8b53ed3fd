/*
 * What the checks of `ringtail doctor` say, as it comes from them, and as it is shown. It comes as
 * items: a letter, a text, a NUL. A finding begins with its level ('0' to '3', enum doctor_level)
 * and its subject; what belongs to it follows.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"

#include "doctor_checks.h"

#define DOCTOR_ITEM_LEVEL(level) ((char)('0' + (level)))
#define DOCTOR_ITEM_TEXT 't'
#define DOCTOR_ITEM_ADVICE 'a'
#define DOCTOR_ITEM_CONTAINER 'c'

/** What comes behind a NUL within the text is left out. Returns 0 or -ENOMEM; then nothing was
 * appended. */
int doctor_item_append(struct buf *items, char kind, struct slice text);

/** All that one turn of a check has said: whole items. */
struct doctor_said {
    const char *check;
    struct slice items;
};

/** Appends the findings in words, with the levels in colours if that is asked for, or as JSON. Adds
 * to `counts` how many there are of each level. Returns 0 or -ENOMEM. */
int doctor_show(const struct doctor_said *said, size_t count, bool colours,
                unsigned counts[DOCTOR_LEVELS], struct buf *out);
int doctor_show_json(const struct doctor_said *said, size_t count, unsigned counts[DOCTOR_LEVELS],
                     struct buf *out);
