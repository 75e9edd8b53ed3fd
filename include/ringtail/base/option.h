/*
 * Options: one table says everything about each (name, type, unit, range, default, help), and the
 * command line's --set, the check of a configuration file, --help and docs/configuration.md are all
 * made from it. Names are dotted paths (`stream.read_timeout`); in YAML the dots are nesting.
 *
 * A section has instances, each with a name that the user chooses and the options of a table of its
 * own: `sinks.NAME.OPTION`. What an instance may be given depends on its type, which may be told
 * last; so what is given is kept until options_complete().
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
    /* char *, owned by the struct, "" when it was not given. `file:/path`: the first line of that
     * file; `env:NAME`: of the environment; else the text itself, with a warning. Read when it is
     * set, shown as *** by everything, and wiped when it is freed. */
    OPTION_SECRET,
};

struct option_list {
    char **items;
    size_t count;
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset; /* of the field in the struct that holds the values */
    /* In the type's own notation; NULL: no bound. STRING: of its length in bytes. BOOL, ENUM, LIST,
     * SECRET: NULL. */
    const char *least, *most;
    const char *def; /* default, in the same notation; NULL for an empty string or list */
    const char *const *choices; /* ENUM: names, NULL-terminated */
    const char *help;           /* one or two sentences */
    const char *group;          /* heading in --help and the documentation */
    size_t given; /* of a bool that is set once somebody sets the option; 0: nobody asks */

    /* In the table of a section alone: */
    uint32_t kinds;     /* bits of the types that have it; 0: all. Options of disjoint types may
                         * share a name, for other bounds, choices or defaults. */
    bool required;      /* there is no default */
    const char *sample; /* value in the documented example; NULL: it is not shown there */
};

/** One thing wrong with the input, ready to print: `file:line:column: what (what to do)`. */
struct option_problem {
    char *text;
};

/** Warnings make nothing fail. */
struct option_problems {
    struct option_problem *items, *warnings;
    size_t count, warnings_count;
    bool out_of_memory;
};

void option_problems_add(struct option_problems *p, const char *fmt, ...) RT_PRINTF(2, 3);
void option_problems_warn(struct option_problems *p, const char *fmt, ...) RT_PRINTF(2, 3);
void option_problems_finish(struct option_problems *p);

struct option_section;

struct option_table {
    const struct option *items;
    size_t count;
    const struct option_section *sections;
    size_t sections_count;
};

/** More instances than this are refused. */
#define OPTION_INSTANCES_MAX 64

struct option_section {
    const char *name, *singular; /* "sinks", "sink" */
    const char *title;           /* heading */
    const char *help;            /* a paragraph */
    /* Offsets are in an instance, whose first member is its name: `char *`. The first option is an
     * ENUM called "type". No sections. */
    const struct option_table *table;
    size_t instance_size;
    size_t offset; /* of a struct option_instances in the struct that holds the values */
};

struct option_instances {
    void *items; /* in the order in which they were first named; empty until options_complete */
    size_t count;
    struct option_pending *pending; /* what was given; NULL from then on */
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
 * Makes the instances of every section out of what was set and loaded, to be called once, after the
 * last of it. Their types, ranges and missing options are checked only now. An instance whose type
 * is not known is left out. What a type does not have is zero, or an empty text.
 *
 * returns: 0; -EINVAL with problems added, defaults standing in for what was
 * wrong; -ENOMEM.
 */
int options_complete(const struct option_table *t, void *values, struct option_problems *problems);

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

/** The same from memory; `name` stands for the file in problems. Thread: any; no I/O but for
 * secrets. */
int options_load_text(const struct option_table *t, void *values, const char *name,
                      struct slice text, struct option_problems *problems);

/** The value as the notation of its type (for `--help`, docs, a dump of what is in force); *** for
 * a secret that is set. */
int option_format_value(const struct option *o, const void *values, struct buf *out);

/** The text of `--help`'s option section, wrapped to `columns`. */
int options_write_help(const struct option_table *t, struct buf *out, unsigned columns);

/**
 * docs/configuration.md's tables: a heading (`##`) per group, a row per option, the same for each
 * section (its groups are `###`), then a complete sample file, which loads and says the defaults,
 * with an example of each type of instance as a comment.
 */
int options_write_markdown(const struct option_table *t, struct buf *out);

/**
 * Every option of `values` as it is in force, those of every instance too (after
 * options_complete): YAML with a line for each, which options_load_text reads, but for secrets,
 * which are ***. Where it matters whether an option was set,
 * one that was not is a comment.
 */
int options_write_values(const struct option_table *t, const void *values, struct buf *out);

/**
 * See OPTION_DURATION and OPTION_SIZE: whole numbers only (`1.5s` is refused), a duration's units
 * once each and largest first. Returns 0, -EINVAL, or -ERANGE when an int64 does not hold it.
 */
int duration_parse(struct slice in, int64_t *ret_ms);
int size_parse(struct slice in, int64_t *ret_bytes);
