/* What the files of the option table share among themselves. */
#pragma once

#include "ringtail/base/option.h"

/** The option of that name, or NULL. */
const struct option *option_find(const struct option_table *t, struct slice name);

/** An option whose name begins with `name` and a dot, or NULL: then `name` is no group of options.
 */
const struct option *option_find_within(const struct option_table *t, struct slice name);

/** Whether instances of that type (the index in the choices of `type`) have the option. */
static inline bool option_has_kind(const struct option *o, int kind)
{
    return o->kinds == 0 || (o->kinds >> kind & 1) != 0;
}

/** What a dotted name means. */
struct option_place {
    struct slice path;                    /* all of it */
    const struct option_section *section; /* NULL: none */
    struct slice instance; /* what should be its name; empty for the name of the section alone */
    bool misnamed;         /* it can't be the name of an instance: nothing has a place within it */
    struct slice name;     /* behind the instance, or all of it */
    const struct option *option; /* the first of that name */
    const struct option *within; /* an option of that group */
};

void option_place_find(const struct option_table *t, struct slice path, struct option_place *ret);

/** Whether there are options within it. */
static inline bool option_place_is_group(const struct option_place *p)
{
    return p->within || (p->section && p->name.len == 0 && !p->misnamed);
}

/** `this is a group of options, such as "…"` and the like: the full name of an option in it. */
int option_put_member(const struct option_place *p, struct buf *out);

/** `unknown option "…"`, or what is wrong with the name of the instance, and what was meant. */
int option_put_unknown(const struct option_table *t, const struct option_place *p, bool groups,
                       struct buf *out);

/** Notes that somebody has set it. */
void option_mark_given(const struct option *o, void *values);

/**
 * Sets from text; the old value stays unless it succeeds. What is to be said beyond the type and
 * the range is appended to `remark`: of a refusal, or a warning.
 * returns: 0; -EINVAL; -ERANGE when the value is one, but out of bounds; -ENOMEM.
 */
int option_set_text(const struct option *o, void *values, struct slice text, struct buf *remark);

/** See OPTION_SECRET. *ret is malloc'ed. Returns 0; -EINVAL with a remark; -ENOMEM. */
int option_secret_read(struct slice text, char **ret, struct buf *remark);
void option_secret_free(char *secret);

/** Where something was given. */
struct option_origin {
    const char *file; /* NULL: not in a file */
    size_t line, column;
    const char *where; /* not in a file: `--set`; constant */
};

/** `file:line:column: ` or `--set `. */
int option_put_origin(const struct option_origin *origin, struct buf *out);

/**
 * Keeps a setting of an instance for options_complete. `option` NULL: it was only named. Takes the
 * items of `list`; NULL: `value` is what was given.
 * returns: 0; -EINVAL with a problem added; -ENOMEM.
 */
int option_setting_add(void *values, const struct option_place *p,
                       const struct option_origin *origin, struct slice value,
                       struct option_list *list, struct option_problems *problems);

/** Frees the instances and settings of every section. */
void option_sections_finish(const struct option_table *t, void *values);

/** A bad table is a programming error. */
void option_table_assert(const struct option_table *t);

/** The defaults of what instances of that type have, `type` itself excepted, over values that are
 * all zero; texts that they do not have are empty. */
int option_set_kind_defaults(const struct option_table *t, int kind, void *values);

/** One value, as option_set_text does it, that was given as `name` (in full), and the problem or
 * warning. Returns 0; -EINVAL with a problem added; -ENOMEM. */
int option_apply(const struct option *o, void *values, const struct option_origin *origin,
                 struct slice name, struct slice value, struct option_problems *problems);

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

/** Text that somebody wrote, in quotes or bare, without its control characters, cut when long. */
int option_put_foreign(struct slice text, struct buf *out);
int option_quote(struct slice text, struct buf *out);
