/*
 * The names of rotated files: `name.1` is the newest of `name`; once compressed it is `name.1.gz`
 * or `name.1.zst`, and while it is being compressed there is a `name.1.tmp` beside it. No file that
 * is written to ever has such a name (src/sink/template.h). Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rotated_form {
    ROTATED_PLAIN,
    ROTATED_GZIP,
    ROTATED_ZSTD,
    ROTATED_TEMPORARY,
    ROTATED_FORM_COUNT,
};

/** The forms that a file is kept in. */
#define ROTATED_KEPT_COUNT ROTATED_TEMPORARY

/** Room for what follows the name: a dot, ten digits, a form's end, a NUL. */
#define ROTATED_ROOM 20

struct rotated_name {
    size_t base_len; /* of the name that it was rotated from */
    uint32_t number;
    enum rotated_form form;
};

/** Whether it is the name of a rotated file; a path is fine too. */
bool rotated_parse(const char *name, struct rotated_name *ret);

/** Writes `base` with its number. number 0: just `base`. Cut if there is no room. */
void rotated_print(char *out, size_t out_size, const char *base, uint32_t number,
                   enum rotated_form form);
