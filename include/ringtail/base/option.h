/*
 * Options: one table says everything about each (name, type, unit, range, default, help), and the
 * command line's --set, the check of a configuration file, --help and docs/configuration.md are all
 * made from it. Names are dotted paths (`stream.read_timeout`); in YAML the dots are nesting.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"

enum option_type {
    OPTION_BOOL,     /* bool: true false yes no on off */
    OPTION_INT,      /* int64_t, plain decimal */
    OPTION_SIZE,     /* int64_t bytes: 512, 64k, 64KiB, 10MiB, 1GiB (k, m, g are powers of 1024) */
    OPTION_DURATION, /* int64_t milliseconds: 250ms, 30s, 5m, 1h30m, 7d; no bare number but 0 */
    OPTION_STRING,   /* char *, owned by the struct */
    OPTION_ENUM,     /* int: index into choices */
    OPTION_LIST,     /* struct option_list: YAML sequence, or comma-separated in --set */
};

struct option_list {
    char **items;
    size_t count;
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset; /* of the field in the struct that holds the values */
    /* In the type's own notation; NULL: no bound. STRING: of its length in bytes. BOOL, ENUM, LIST:
     * NULL. */
    const char *least, *most;
    const char *def; /* default, in the same notation; NULL for an empty string or list */
    const char *const *choices; /* ENUM: names, NULL-terminated */
    const char *help;           /* one or two sentences */
    const char *group;          /* heading in --help and the documentation */
};

/** One thing wrong with the input, ready to print: `file:line:column: what (what to do)`. */
struct option_problem {
    char *text;
};

struct option_problems {
    struct option_problem *items;
    size_t count;
    bool out_of_memory;
};

void option_problems_add(struct option_problems *p, const char *fmt, ...) RT_PRINTF(2, 3);
void option_problems_finish(struct option_problems *p);

struct option_table {
    const struct option *items;
    size_t count;
};

/**
 * Sets every field of `values` (zeroed by the caller) to its default; strings are never NULL then.
 * Asserts on a bad table. Returns 0 or -ENOMEM.
 */
int options_set_defaults(const struct option_table *t, void *values);

/** Frees what strings and lists own. */
void options_finish(const struct option_table *t, void *values);

/**
 * Sets one option from text. The problem's text begins with `where`, a blank and NAME=VALUE:
 * `--set stream.read_timeout=1: expected a duration such as 30s between 1s and 1h`.
 * returns: 0; -EINVAL with a problem added (unknown name: the nearest valid one is suggested; wrong
 * type, out of range: the range is told), the old value then stays; -ENOMEM.
 */
int options_set(const struct option_table *t, void *values, const char *where, struct slice name,
                struct slice value, struct option_problems *problems);

/**
 * Reads a YAML file (libyaml) of at most 1 MiB over values that have their defaults. Every problem
 * in it (up to a hundred) is added with file:line:column: syntax, unknown keys, wrong types and
 * ranges, duplicate keys, and aliases, anchors and tags, which are not supported. Keys may be
 * nested or dotted.
 *
 * returns: 0 when all was good; -EINVAL with problems, the good part of the file being set;
 * -ENOMEM; another -errno when the file could not be read (also added as a problem).
 */
int options_load_file(const struct option_table *t, void *values, const char *path,
                      struct option_problems *problems);

/** The same from memory; `name` stands for the file in problems. Thread: any; no I/O. */
int options_load_text(const struct option_table *t, void *values, const char *name,
                      struct slice text, struct option_problems *problems);

/** The value as the notation of its type (for `--help`, docs, a dump of what is in force). */
int option_format_value(const struct option *o, const void *values, struct buf *out);

/** The text of `--help`'s option section, wrapped to `columns`. */
int options_write_help(const struct option_table *t, struct buf *out, unsigned columns);

/**
 * docs/configuration.md's tables: a section (`##`) per group, a row per option, then a complete
 * sample file, which loads and says the defaults.
 */
int options_write_markdown(const struct option_table *t, struct buf *out);

/**
 * See OPTION_DURATION and OPTION_SIZE: whole numbers only (`1.5s` is refused), a duration's units
 * once each and largest first. Returns 0, -EINVAL, or -ERANGE when an int64 does not hold it.
 */
int duration_parse(struct slice in, int64_t *ret_ms);
int size_parse(struct slice in, int64_t *ret_bytes);
