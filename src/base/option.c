/*
 * The option table: names, types, bounds, and the values in the caller's struct. Owns nothing but
 * the strings and lists that it puts into that struct; the table itself is constant data.
 *
 * Every value passes through option_set_text (or, item by item, a LIST), defaults too, so that a
 * default that its own bounds refuse is found by the first test that sets defaults.
 */
#include "ringtail/base/option.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "option_private.h"

/* Longer names than these are nobody's typing mistake. */
#define SUGGEST_NAME_MAX 80
#define QUOTE_MAX_BYTES 64

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first, which is also the only order in which a duration may name them. */
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct unit size_units[] = {
    {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20},
    {"KiB", INT64_C(1) << 10},
};

/** Takes digits off the head. 0, -EINVAL without any, -ERANGE when they are too many. */
static int take_number(struct slice *in, int64_t *ret)
{
    int64_t value = 0;
    bool overflow = false;
    size_t n = 0;

    for (; n < in->len && in->data[n] >= '0' && in->data[n] <= '9'; n++) {
        overflow |= __builtin_mul_overflow(value, 10, &value);
        overflow |= __builtin_add_overflow(value, in->data[n] - '0', &value);
    }
    if (n == 0)
        return -EINVAL;
    *in = slice_from(*in, n);
    *ret = value;
    return overflow ? -ERANGE : 0;
}

static struct slice take_letters(struct slice *in)
{
    size_t n = 0;
    struct slice letters;

    while (n < in->len && ((in->data[n] | 0x20) >= 'a' && (in->data[n] | 0x20) <= 'z'))
        n++;
    letters = slice_of(in->data, n);
    *in = slice_from(*in, n);
    return letters;
}

int duration_parse(struct slice in, int64_t *ret_ms)
{
    int64_t total = 0;
    size_t next_unit = 0;
    bool overflow = false;

    if (slice_eq_str(in, "0")) {
        *ret_ms = 0;
        return 0;
    }
    if (in.len == 0)
        return -EINVAL;
    while (in.len > 0) {
        int64_t number, part;
        int r = take_number(&in, &number);
        struct slice letters;
        size_t unit = next_unit;

        if (r == -EINVAL)
            return r;
        overflow |= r == -ERANGE;
        letters = take_letters(&in);
        while (unit < ARRAY_SIZE(duration_units) &&
               !slice_eq_str(letters, duration_units[unit].name))
            unit++;
        if (unit == ARRAY_SIZE(duration_units))
            return -EINVAL;
        overflow |= __builtin_mul_overflow(number, duration_units[unit].factor, &part);
        overflow |= __builtin_add_overflow(total, part, &total);
        next_unit = unit + 1;
    }
    if (overflow)
        return -ERANGE;
    *ret_ms = total;
    return 0;
}

int size_parse(struct slice in, int64_t *ret_bytes)
{
    int64_t number, factor = 0;
    struct slice letters;
    int r;

    r = take_number(&in, &number);
    if (r == -EINVAL)
        return r;
    letters = take_letters(&in);
    if (in.len > 0)
        return -EINVAL;
    if (letters.len == 0)
        factor = 1;
    for (size_t i = 0; i < ARRAY_SIZE(size_units); i++) {
        const char *name = size_units[i].name;

        if (letters.len > 0 && (letters.data[0] & ~0x20) == name[0] &&
            (letters.len == 1 || slice_eq_str(slice_from(letters, 1), name + 1)))
            factor = size_units[i].factor;
    }
    if (factor == 0)
        return -EINVAL;
    if (r < 0 || __builtin_mul_overflow(number, factor, &number))
        return -ERANGE;
    *ret_bytes = number;
    return 0;
}

static int int_parse(struct slice in, int64_t *ret)
{
    bool negative = in.len > 0 && in.data[0] == '-';
    int64_t value;
    int r;

    if (negative)
        in = slice_from(in, 1);
    r = take_number(&in, &value);
    if (r == -EINVAL || in.len > 0)
        return -EINVAL;
    if (r < 0)
        return r;
    *ret = negative ? -value : value;
    return 0;
}

static int bool_parse(struct slice in, int64_t *ret)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (slice_eq_str(in, words[i])) {
            *ret = i % 2;
            return 0;
        }
    }
    return -EINVAL;
}

static int choice_parse(const struct option *o, struct slice in, int64_t *ret)
{
    for (int i = 0; o->choices[i]; i++) {
        if (slice_eq_str(in, o->choices[i])) {
            *ret = i;
            return 0;
        }
    }
    return -EINVAL;
}

/** The number behind text: of a STRING the number is its length. LIST has none. */
static int number_parse(const struct option *o, struct slice in, int64_t *ret)
{
    switch (o->type) {
    case OPTION_BOOL:
        return bool_parse(in, ret);
    case OPTION_INT:
        return int_parse(in, ret);
    case OPTION_SIZE:
        return size_parse(in, ret);
    case OPTION_DURATION:
        return duration_parse(in, ret);
    case OPTION_ENUM:
        return choice_parse(o, in, ret);
    case OPTION_STRING:
    case OPTION_SECRET:
        *ret = (int64_t)in.len;
        return 0;
    case OPTION_LIST:
        break;
    }
    assert(false);
    return -EINVAL;
}

/** A bound; one that the table writes wrongly is a programming error. */
static int64_t bound_parse(const struct option *o, const char *text, int64_t otherwise)
{
    int64_t value = otherwise;
    int r = 0;

    if (text && o->type == OPTION_STRING)
        r = int_parse(slice_str(text), &value);
    else if (text)
        r = number_parse(o, slice_str(text), &value);
    assert(r == 0);
    (void)r; /* without assertions there is nobody to tell */
    return value;
}

static bool in_bounds(const struct option *o, int64_t value)
{
    return value >= bound_parse(o, o->least, INT64_MIN) &&
           value <= bound_parse(o, o->most, INT64_MAX);
}

static void *field_of(const struct option *o, void *values)
{
    return (char *)values + o->offset;
}

static const void *const_field_of(const struct option *o, const void *values)
{
    return (const char *)values + o->offset;
}

int option_list_append(struct option_list *list, struct slice item)
{
    char *copy, **items;

    if (memchr(item.len ? item.data : "", '\0', item.len))
        return -EINVAL;
    copy = slice_dup(item);
    if (!copy)
        return -ENOMEM;
    /* Room for a power of two: a new one is due when the count is one. */
    if ((list->count & (list->count - 1)) == 0) {
        items = realloc(list->items, MAX(list->count * 2, (size_t)1) * sizeof *items);
        if (!items) {
            free(copy);
            return -ENOMEM;
        }
        list->items = items;
    }
    list->items[list->count++] = copy;
    return 0;
}

void option_list_finish(struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct option_list){0};
}

void option_set_list(const struct option *o, void *values, struct option_list *items)
{
    struct option_list *field = field_of(o, values);

    assert(o->type == OPTION_LIST);
    option_list_finish(field);
    *field = *items;
    *items = (struct option_list){0};
}

/** `a,b,c`; nothing at all is the empty list. */
static int list_set_text(const struct option *o, void *values, struct slice text)
{
    RT_CLEANUP(option_list_finish) struct option_list list = {0};

    while (text.len > 0) {
        const char *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        int r;

        if (len == 0 || (comma && len + 1 == text.len))
            return -EINVAL;
        r = option_list_append(&list, slice_of(text.data, len));
        if (r < 0)
            return r;
        text = slice_from(text, comma ? len + 1 : len);
    }
    option_set_list(o, values, &list);
    return 0;
}

static int string_set(char **field, struct slice text)
{
    char *copy;

    if (text.len > 0 && memchr(text.data, '\0', text.len))
        return -EINVAL;
    copy = slice_dup(text);
    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static int secret_set(char **field, struct slice text, struct buf *remark)
{
    char *secret;
    int r = option_secret_read(text, &secret, remark);

    if (r < 0)
        return r;
    option_secret_free(*field);
    *field = secret;
    return 0;
}

void option_mark_given(const struct option *o, void *values)
{
    if (o->given > 0)
        *(bool *)((char *)values + o->given) = true;
}

int option_set_text(const struct option *o, void *values, struct slice text, struct buf *remark)
{
    void *field = field_of(o, values);
    int64_t number;
    int r;

    if (o->type == OPTION_LIST)
        return list_set_text(o, values, text);
    r = number_parse(o, text, &number);
    if (r < 0)
        return r;
    if (!in_bounds(o, number))
        return -ERANGE;
    switch (o->type) {
    case OPTION_BOOL:
        *(bool *)field = number != 0;
        break;
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        *(int64_t *)field = number;
        break;
    case OPTION_ENUM:
        *(int *)field = (int)number;
        break;
    case OPTION_STRING:
        return string_set(field, text);
    case OPTION_SECRET:
        return secret_set(field, text, remark);
    case OPTION_LIST:
        break;
    }
    return 0;
}

static bool type_has_bounds(enum option_type type)
{
    return type == OPTION_INT || type == OPTION_SIZE || type == OPTION_DURATION ||
           type == OPTION_STRING;
}

static bool type_may_be_empty(enum option_type type)
{
    return type == OPTION_STRING || type == OPTION_LIST || type == OPTION_SECRET;
}

static bool kinds_overlap(const struct option *a, const struct option *b)
{
    return a->kinds == 0 || b->kinds == 0 || (a->kinds & b->kinds) != 0;
}

/** Names are unique, but for options of disjoint types, which then are written the same way. */
static void name_assert(const struct option_table *t, size_t i)
{
    const struct option *o = &t->items[i];

    assert(!option_find_within(t, slice_str(o->name)));
    for (size_t k = 0; k < i; k++) {
        if (strcmp(t->items[k].name, o->name) == 0)
            assert(!kinds_overlap(&t->items[k], o) && t->items[k].type == o->type);
    }
    (void)o;
}

/** Cheap enough for each start. */
void option_table_assert(const struct option_table *t)
{
    assert(t->count > 0);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->items[i];

        name_assert(t, i);
        assert(o->help && o->group);
        assert((o->type == OPTION_ENUM) == (o->choices != NULL));
        assert((!o->least && !o->most) || type_has_bounds(o->type));
        assert(o->def || type_may_be_empty(o->type) || o->required);
        assert(o->type != OPTION_SECRET || !o->def);
        (void)o;
    }
    for (size_t i = 0; i < t->sections_count; i++) {
        const struct option_table *inner = t->sections[i].table;

        assert(inner->sections_count == 0);
        assert(inner->items[0].type == OPTION_ENUM && strcmp(inner->items[0].name, "type") == 0);
        option_table_assert(inner);
    }
}

static int set_default(const struct option *o, void *values)
{
    int r;

    /* What has to be given is empty till then, whatever its bounds are. */
    if (o->required && o->type == OPTION_STRING)
        return string_set(field_of(o, values), slice_of("", 0));
    if (o->required && !type_may_be_empty(o->type))
        return 0;
    r = option_set_text(o, values, slice_str(o->def), NULL);
    assert(r == 0 || r == -ENOMEM);
    return r;
}

int options_set_defaults(const struct option_table *t, void *values)
{
    option_table_assert(t);
    for (size_t i = 0; i < t->count; i++) {
        int r = set_default(&t->items[i], values);

        if (r < 0)
            return r;
    }
    return 0;
}

int option_set_kind_defaults(const struct option_table *t, int kind, void *values)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->count; i++) {
        if (t->items[i].type == OPTION_STRING || t->items[i].type == OPTION_SECRET)
            r = string_set(field_of(&t->items[i], values), slice_of("", 0));
    }
    for (size_t i = 1; r == 0 && i < t->count; i++) {
        if (option_has_kind(&t->items[i], kind))
            r = set_default(&t->items[i], values);
    }
    return r;
}

void options_finish(const struct option_table *t, void *values)
{
    option_sections_finish(t, values);
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->items[i];

        if (o->type == OPTION_LIST) {
            option_list_finish(field_of(o, values));
        } else if (o->type == OPTION_STRING) {
            char **field = field_of(o, values);

            free(*field);
            *field = NULL;
        } else if (o->type == OPTION_SECRET) {
            char **field = field_of(o, values);

            option_secret_free(*field);
            *field = NULL;
        }
    }
}

const struct option *option_find(const struct option_table *t, struct slice name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (slice_eq_str(name, t->items[i].name))
            return &t->items[i];
    }
    return NULL;
}

static bool name_is_within(const char *name, struct slice group)
{
    return strncmp(name, group.len ? group.data : "", group.len) == 0 && name[group.len] == '.';
}

const struct option *option_find_within(const struct option_table *t, struct slice name)
{
    if (name.len == 0 || memchr(name.data, '\0', name.len))
        return NULL;
    for (size_t i = 0; i < t->count; i++) {
        if (name_is_within(t->items[i].name, name))
            return &t->items[i];
    }
    return NULL;
}

/** How many insertions, deletions, replacements and swaps of neighbours lead from a to b. */
static size_t edit_distance(struct slice a, struct slice b)
{
    size_t rows[3][SUGGEST_NAME_MAX + 1];
    size_t *older = rows[0], *old = rows[1], *row = rows[2], *spare;

    assert(a.len <= SUGGEST_NAME_MAX && b.len <= SUGGEST_NAME_MAX);
    for (size_t j = 0; j <= b.len; j++)
        row[j] = older[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        spare = older;
        older = old;
        old = row;
        row = spare;
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replace = old[j - 1] + (a.data[i - 1] != b.data[j - 1]);

            row[j] = MIN(replace, MIN(old[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                row[j] = MIN(row[j], older[j - 2] + 1);
        }
    }
    return row[b.len];
}

struct suggestion {
    struct slice name;
    size_t distance;
};

static void suggestion_consider(struct suggestion *s, struct slice wrong, struct slice valid)
{
    size_t distance;

    if (valid.len > SUGGEST_NAME_MAX)
        return;
    distance = edit_distance(wrong, valid);
    /* `read_timeout` for `stream.read_timeout` is right but for the group. */
    if (valid.len > wrong.len && valid.data[valid.len - wrong.len - 1] == '.' &&
        slice_eq(slice_from(valid, valid.len - wrong.len), wrong))
        distance = 1;
    if (distance < s->distance)
        *s = (struct suggestion){.name = valid, .distance = distance};
}

/** A right group says nothing about the option: how far is near, the last part decides. */
static struct suggestion suggestion_begin(struct slice name)
{
    const char *dot = memrchr(name.data, '.', name.len);
    size_t last = dot ? (size_t)(name.data + name.len - dot) - 1 : name.len;

    return (struct suggestion){.distance = MAX(last / 3, (size_t)2) + 1};
}

/** The nearest valid name, empty when none is near. With `groups`, those of groups are valid too.
 */
static struct slice suggest(const struct option_table *t, struct slice name, bool groups)
{
    struct suggestion best;

    if (name.len == 0 || name.len > SUGGEST_NAME_MAX)
        return (struct slice){0};
    best = suggestion_begin(name);
    for (size_t i = 0; i < t->count; i++) {
        struct slice valid = slice_str(t->items[i].name);

        suggestion_consider(&best, name, valid);
        for (size_t n = 1; groups && n < valid.len; n++) {
            if (valid.data[n] == '.')
                suggestion_consider(&best, name, slice_of(valid.data, n));
        }
    }
    return best.name;
}

/** The section that the first part of the name is near to. */
static struct slice suggest_section(const struct option_table *t, struct slice first)
{
    struct suggestion best;

    if (first.len == 0 || first.len > SUGGEST_NAME_MAX)
        return (struct slice){0};
    best = suggestion_begin(first);
    for (size_t i = 0; i < t->sections_count; i++)
        suggestion_consider(&best, first, slice_str(t->sections[i].name));
    return best.name;
}

static int put_suggestion(const struct option_table *t, const struct option_place *p, bool groups,
                          struct buf *out)
{
    struct slice valid = suggest(p->section ? p->section->table : t, p->name, groups), rest = {0};
    const char *dot;
    int r;

    if (valid.len > 0 && p->section)
        return buf_printf(out, " (did you mean \"%s.%.*s.%.*s\"?)", p->section->name,
                          (int)p->instance.len, p->instance.data, (int)valid.len, valid.data);
    if (valid.len == 0 && !p->section && p->path.len > 0) {
        dot = memchr(p->path.data, '.', p->path.len);
        rest = dot ? slice_from(p->path, (size_t)(dot - p->path.data)) : rest;
        valid = suggest_section(t, slice_of(p->path.data, p->path.len - rest.len));
    }
    if (valid.len == 0)
        return 0;
    r = buf_printf(out, " (did you mean \"%.*s", (int)valid.len, valid.data);
    if (r == 0)
        r = option_put_foreign(rest, out);
    return r < 0 ? r : buf_append_str(out, "\"?)");
}

int option_put_unknown(const struct option_table *t, const struct option_place *p, bool groups,
                       struct buf *out)
{
    int r;

    if (p->misnamed) {
        r = option_quote(p->instance, out);
        return r < 0 ? r
                     : buf_printf(out, " can't be the name of a %s (1 to 32 of a-z 0-9 _ -)",
                                  p->section->singular);
    }
    r = buf_append_str(out, "unknown option ");
    if (r == 0)
        r = option_quote(p->path, out);
    return r < 0 ? r : put_suggestion(t, p, groups, out);
}

/** Text that somebody wrote, without its control characters, cut when long. */
static int put_foreign(struct slice text, const char *quote, struct buf *out)
{
    RT_CLEANUP(buf_finish) struct buf escaped = {0};
    size_t len = MIN(text.len, (size_t)QUOTE_MAX_BYTES);
    int r;

    while (len < text.len && len > 0 && (text.data[len] & 0xc0) == 0x80)
        len--;
    r = json_append_string(&escaped, slice_of(text.data, len));
    if (r < 0)
        return r;
    return buf_printf(out, "%s%.*s%s%s", quote, (int)escaped.len - 2, escaped.data + 1,
                      len < text.len ? "…" : "", quote);
}

int option_put_foreign(struct slice text, struct buf *out)
{
    return put_foreign(text, "", out);
}

int option_quote(struct slice text, struct buf *out)
{
    return put_foreign(text, "\"", out);
}

const char *option_type_name(enum option_type type)
{
    switch (type) {
    case OPTION_BOOL:
        return "bool";
    case OPTION_INT:
        return "number";
    case OPTION_SIZE:
        return "size";
    case OPTION_DURATION:
        return "duration";
    case OPTION_STRING:
        return "text";
    case OPTION_ENUM:
        return "choice";
    case OPTION_LIST:
        return "list";
    case OPTION_SECRET:
        return "secret";
    }
    assert(false);
    return "";
}

static const char *type_article_and_sample(enum option_type type)
{
    switch (type) {
    case OPTION_BOOL:
        return "true or false";
    case OPTION_INT:
        return "a number";
    case OPTION_SIZE:
        return "a size such as 64KiB";
    case OPTION_DURATION:
        return "a duration such as 30s";
    case OPTION_STRING:
        return "text";
    case OPTION_ENUM:
        return "one of ";
    case OPTION_LIST:
        return "a list without empty items";
    case OPTION_SECRET:
        return "file:/path or env:NAME";
    }
    assert(false);
    return "";
}

static int put_choices(const struct option *o, struct buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && o->choices[i]; i++)
        r = buf_printf(out, "%s%s", i ? ", " : "", o->choices[i]);
    return r;
}

int option_describe(const struct option *o, struct buf *out)
{
    const char *bytes = o->type == OPTION_STRING ? " bytes" : "";
    int r = buf_append_str(out, type_article_and_sample(o->type));

    if (r < 0)
        return r;
    if (o->type == OPTION_ENUM)
        return put_choices(o, out);
    if (o->least && o->most)
        return buf_printf(out, " between %s and %s%s", o->least, o->most, bytes);
    if (o->least)
        return buf_printf(out, " of at least %s%s", o->least, bytes);
    if (o->most)
        return buf_printf(out, " of at most %s%s", o->most, bytes);
    return 0;
}

int option_describe_range(const struct option *o, struct buf *out)
{
    const char *bytes = o->type == OPTION_STRING ? " bytes" : "";

    if (o->type == OPTION_ENUM)
        return put_choices(o, out);
    if (o->least && o->most)
        return buf_printf(out, "%s to %s%s", o->least, o->most, bytes);
    if (o->least)
        return buf_printf(out, "at least %s%s", o->least, bytes);
    if (o->most)
        return buf_printf(out, "at most %s%s", o->most, bytes);
    return 0;
}

int option_put_member(const struct option_place *p, struct buf *out)
{
    if (!p->section)
        return buf_append_str(out, p->within->name);
    if (p->instance.len == 0)
        return buf_printf(out, "%s.NAME.%s", p->section->name, p->section->table->items[0].name);
    return buf_printf(out, "%s.%.*s.%s", p->section->name, (int)p->instance.len, p->instance.data,
                      p->within ? p->within->name : p->section->table->items[0].name);
}

int option_put_origin(const struct option_origin *origin, struct buf *out)
{
    if (origin->file)
        return buf_printf(out, "%s:%zu:%zu: ", origin->file, origin->line, origin->column);
    return buf_printf(out, "%s ", origin->where);
}

/** `--set NAME=VALUE` or `file:line:column: NAME`: what is wrong or to be said comes behind it. */
static int put_setting(const struct option *o, const struct option_origin *origin,
                       struct slice name, struct slice value, struct buf *out)
{
    int r = option_put_origin(origin, out);

    if (r == 0)
        r = option_put_foreign(name, out);
    if (r == 0 && !origin->file && o)
        r = buf_append_char(out, '=');
    if (r == 0 && !origin->file && o)
        r = o->type == OPTION_SECRET ? buf_append_str(out, "***") : option_put_foreign(value, out);
    return r < 0 ? r : buf_append_str(out, ": ");
}

static int put_refusal(const struct option *o, const struct option_origin *origin,
                       struct slice value, const struct buf *remark, struct buf *out)
{
    int r;

    if (remark->len > 0)
        return buf_append_slice(out, buf_slice(remark));
    r = buf_append_str(out, "expected ");
    if (r == 0)
        r = option_describe(o, out);
    if (r == 0 && origin->file)
        r = buf_append_str(out, ", found ");
    if (r == 0 && origin->file)
        r = option_quote(value, out);
    return r;
}

int option_apply(const struct option *o, void *values, const struct option_origin *origin,
                 struct slice name, struct slice value, struct option_problems *problems)
{
    RT_CLEANUP(buf_finish) struct buf remark = {0}, text = {0};
    int set = option_set_text(o, values, value, &remark), r;

    if (set == -ENOMEM)
        return set;
    if (set == 0)
        option_mark_given(o, values);
    if (set == 0 && remark.len == 0)
        return 0;
    r = put_setting(o, origin, name, value, &text);
    if (r == 0)
        r = set == 0 ? buf_append_slice(&text, buf_slice(&remark))
                     : put_refusal(o, origin, value, &remark, &text);
    if (r < 0)
        return r;
    if (set == 0)
        option_problems_warn(problems, "%.*s", (int)text.len, text.data);
    else
        option_problems_add(problems, "%.*s", (int)text.len, text.data);
    if (problems->out_of_memory)
        return -ENOMEM;
    return set == 0 ? 0 : -EINVAL;
}

/** A name that is none of an option. What was to be its value is not shown: it may be a secret. */
static int refuse_name(const struct option_table *t, const struct option_place *p,
                       const struct option_origin *origin, struct option_problems *problems)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    int r = put_setting(NULL, origin, p->path, (struct slice){0}, &text);

    if (r == 0 && option_place_is_group(p)) {
        r = buf_append_str(&text, "this is a group of options, such as \"");
        if (r == 0)
            r = option_put_member(p, &text);
        if (r == 0)
            r = buf_append_char(&text, '"');
    } else if (r == 0) {
        r = option_put_unknown(t, p, false, &text);
    }
    if (r < 0)
        return r;
    option_problems_add(problems, "%.*s", (int)text.len, text.data);
    return problems->out_of_memory ? -ENOMEM : -EINVAL;
}

int options_set(const struct option_table *t, void *values, const char *where, struct slice name,
                struct slice value, struct option_problems *problems)
{
    const struct option_origin origin = {.where = where};
    struct option_place place;

    option_place_find(t, name, &place);
    if (!place.option)
        return refuse_name(t, &place, &origin, problems);
    if (place.section)
        return option_setting_add(values, &place, &origin, value, NULL, problems);
    return option_apply(place.option, values, &origin, name, value, problems);
}

/** The largest single unit or mixture that says it: 5400000 → 1h30m. */
static int put_duration(int64_t ms, struct buf *out)
{
    int r = 0;

    if (ms == 0)
        return buf_append_char(out, '0');
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(duration_units); i++) {
        int64_t factor = duration_units[i].factor;

        if (ms >= factor)
            r = buf_printf(out, "%lld%s", (long long)(ms / factor), duration_units[i].name);
        ms %= factor;
    }
    return r;
}

static int put_size(int64_t bytes, struct buf *out)
{
    for (size_t i = 0; bytes > 0 && i < ARRAY_SIZE(size_units); i++) {
        if (bytes % size_units[i].factor == 0)
            return buf_printf(out, "%lld%s", (long long)(bytes / size_units[i].factor),
                              size_units[i].name);
    }
    return buf_printf(out, "%lld", (long long)bytes);
}

int option_format_value(const struct option *o, const void *values, struct buf *out)
{
    const void *field = const_field_of(o, values);
    const struct option_list *list;
    int r = 0;

    switch (o->type) {
    case OPTION_BOOL:
        return buf_append_str(out, *(const bool *)field ? "true" : "false");
    case OPTION_INT:
        return buf_printf(out, "%lld", (long long)*(const int64_t *)field);
    case OPTION_SIZE:
        return put_size(*(const int64_t *)field, out);
    case OPTION_DURATION:
        return put_duration(*(const int64_t *)field, out);
    case OPTION_ENUM:
        return buf_append_str(out, o->choices[*(const int *)field]);
    case OPTION_STRING:
        return buf_append_slice(out, slice_str(*(char *const *)field));
    case OPTION_SECRET:
        return buf_append_str(out, **(char *const *)field ? "***" : "");
    case OPTION_LIST:
        list = field;
        for (size_t i = 0; r == 0 && i < list->count; i++)
            r = buf_printf(out, "%s%s", i ? "," : "", list->items[i]);
        return r;
    }
    assert(false);
    return -EINVAL;
}

/** Room for a power of two: a new one is due when the count is one. */
static bool problem_append(struct option_problem **items, size_t *count, const char *fmt,
                           va_list ap)
{
    struct option_problem *grown = *items;
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        return false;
    if ((*count & (*count - 1)) == 0)
        grown = realloc(grown, MAX(*count * 2, (size_t)1) * sizeof *grown);
    if (!grown) {
        free(text);
        return false;
    }
    *items = grown;
    grown[(*count)++].text = text;
    return true;
}

void option_problems_add(struct option_problems *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!problem_append(&p->items, &p->count, fmt, ap))
        p->out_of_memory = true;
    va_end(ap);
}

void option_problems_warn(struct option_problems *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!problem_append(&p->warnings, &p->warnings_count, fmt, ap))
        p->out_of_memory = true;
    va_end(ap);
}

void option_problems_finish(struct option_problems *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->items[i].text);
    for (size_t i = 0; i < p->warnings_count; i++)
        free(p->warnings[i].text);
    free(p->items);
    free(p->warnings);
    *p = (struct option_problems){0};
}
