/* What the files of the option table share among themselves. */
#pragma once

#include "ringtail/base/option.h"

/** The option of that name, or NULL. */
const struct option *option_find(const struct option_table *t, struct slice name);

/** An option whose name begins with `name` and a dot, or NULL: then `name` is no group of options.
 */
const struct option *option_find_within(const struct option_table *t, struct slice name);

/**
 * Sets from text; the old value stays unless it succeeds.
 * returns: 0; -EINVAL; -ERANGE when the value is one, but out of bounds; -ENOMEM.
 */
int option_set_text(const struct option *o, void *values, struct slice text);

/** Gives a LIST option the items, which become its own; `items` is left empty. */
void option_set_list(const struct option *o, void *values, struct option_list *items);

int option_list_append(struct option_list *list, struct slice item);
void option_list_finish(struct option_list *list);

/** What a value has to be: `a duration such as 30s between 1s and 1h`. Returns 0 or -ENOMEM. */
int option_describe(const struct option *o, struct buf *out);

/** Bounds in words (`1s to 1h`, `at least 1`, the choices of an ENUM), or nothing. */
int option_describe_range(const struct option *o, struct buf *out);

/** `bool`, `duration`, …: the type's name in help and documentation. */
const char *option_type_name(enum option_type type);

/**
 * ` (did you mean "…"?)` with the nearest valid name, or nothing when none is near. With `groups`,
 * names of groups are valid too.
 */
int option_suggest(const struct option_table *t, struct slice name, bool groups, struct buf *out);

/** Text that somebody wrote, in quotes, without its control characters, cut when long. */
int option_quote(struct slice text, struct buf *out);
