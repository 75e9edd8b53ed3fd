/*
 * Options as text for people: `--help` and docs/configuration.md. Everything comes from the table,
 * so the two say what the program does. Pure but for the buffer they append to.
 */
#include "ringtail/base/option.h"

#include <errno.h>
#include <string.h>

#include "option_private.h"
#include "ringtail/base/json.h"

#define SAMPLE_COLUMNS 90
#define WRAP_LEAST_COLUMNS 20

/** Keeps the first error, so that a run of puts is checked once. */
struct writer {
    struct buf *out;
    int error;
};

static void put(struct writer *w, const char *fmt, ...) RT_PRINTF(2, 3);

static void put(struct writer *w, const char *fmt, ...)
{
    va_list ap;

    if (w->error < 0)
        return;
    va_start(ap, fmt);
    w->error = buf_vprintf(w->out, fmt, ap);
    va_end(ap);
}

static void put_range(struct writer *w, const struct option *o)
{
    if (w->error == 0)
        w->error = option_describe_range(o, w->out);
}

/** Characters, as far as a terminal's columns go: bytes that do not continue one. */
static unsigned columns_of(const char *s, size_t len)
{
    unsigned n = 0;

    for (size_t i = 0; i < len; i++)
        n += (s[i] & 0xc0) != 0x80;
    return n;
}

/** Words in lines of at most `columns`, each line begun by `indent`. */
static void put_wrapped(struct writer *w, const char *indent, const char *text, unsigned columns)
{
    unsigned indent_columns = columns_of(indent, strlen(indent));
    unsigned most = MAX(columns, indent_columns + WRAP_LEAST_COLUMNS), column = 0;

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        unsigned width = columns_of(text, len);

        if (column > 0 && column + 1 + width > most) {
            put(w, "\n");
            column = 0;
        }
        if (column == 0)
            column = indent_columns + width;
        else
            column += 1 + width;
        put(w, "%s%.*s", column == indent_columns + width ? indent : " ", (int)len, text);
        text += len;
    }
    put(w, "\n");
}

/** Whether the option is the first of its group: there the group is written, wherever its members
 * are. */
static bool group_begins(const struct option_table *t, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(t->items[k].group, t->items[i].group) == 0)
            return false;
    }
    return true;
}

static const char *default_shown(const struct option *o)
{
    if (o->required)
        return "required";
    if (o->def && *o->def)
        return o->def;
    return "none";
}

/** The types that have an option of the group; 0: all. */
static uint32_t kinds_of_group(const struct option_table *t, size_t i)
{
    uint32_t kinds = 0;

    for (size_t k = i; k < t->count; k++) {
        if (strcmp(t->items[k].group, t->items[i].group) != 0)
            continue;
        if (t->items[k].kinds == 0)
            return 0;
        kinds |= t->items[k].kinds;
    }
    return kinds;
}

static void put_kinds(struct writer *w, const struct option_table *t, uint32_t kinds)
{
    const char *const *choices = t->items[0].choices;
    bool some = false;

    for (int kind = 0; choices[kind]; kind++) {
        if (!(kinds >> kind & 1))
            continue;
        put(w, "%s%s", some ? ", " : "", choices[kind]);
        some = true;
    }
}

/** What it does, after which types have it when not all of the group do. */
static void put_what(struct writer *w, const struct option_table *t, const struct option *o,
                     uint32_t kinds_of_all)
{
    if (o->kinds != kinds_of_all) {
        put(w, "(");
        put_kinds(w, t, o->kinds);
        put(w, ") ");
    }
    put(w, "%s", o->help);
}

static void put_help_option(struct writer *w, const struct option_table *t, const struct option *o,
                            const char *prefix, uint32_t kinds, unsigned columns)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    struct writer inner = {.out = &text, .error = w->error};

    put_what(&inner, t, o, kinds);
    put(&inner, " (");
    if (o->least || o->most || o->choices) {
        put_range(&inner, o);
        put(&inner, "; ");
    }
    put(&inner, "%s%s)", o->required ? "" : "default ", default_shown(o));
    if (inner.error == 0 && !buf_cstr(&text))
        inner.error = -ENOMEM;
    w->error = inner.error;
    if (w->error < 0)
        return;
    put(w, "  %s%s (%s)\n", prefix, o->name, option_type_name(o->type));
    put_wrapped(w, "      ", text.data, columns);
}

/** The options of the group that option `i` begins. */
static void put_help_group(struct writer *w, const struct option_table *t, size_t i,
                           const char *prefix, unsigned columns)
{
    uint32_t kinds = kinds_of_group(t, i);

    for (size_t k = i; k < t->count; k++) {
        if (strcmp(t->items[k].group, t->items[i].group) == 0)
            put_help_option(w, t, &t->items[k], prefix, kinds, columns);
    }
}

static void put_help_section(struct writer *w, const struct option_section *s, unsigned columns)
{
    RT_CLEANUP(buf_finish) struct buf prefix = {0};

    if (buf_printf(&prefix, "%s.NAME.", s->name) < 0 || !buf_cstr(&prefix))
        w->error = -ENOMEM;
    put(w, "\n%s:\n", s->title);
    put_wrapped(w, "  ", s->help, columns);
    for (size_t i = 0; w->error == 0 && i < s->table->count; i++) {
        if (!group_begins(s->table, i))
            continue;
        put(w, "\n%s, %s:\n", s->title, s->table->items[i].group);
        put_help_group(w, s->table, i, prefix.data, columns);
    }
}

int options_write_help(const struct option_table *t, struct buf *out, unsigned columns)
{
    struct writer w = {.out = out};

    for (size_t i = 0; i < t->count; i++) {
        if (!group_begins(t, i))
            continue;
        put(&w, "%s%s:\n", i ? "\n" : "", t->items[i].group);
        put_help_group(&w, t, i, "", columns);
    }
    for (size_t i = 0; i < t->sections_count; i++)
        put_help_section(&w, &t->sections[i], columns);
    return w.error;
}

/** In a table's cell, where a bar would begin the next one. */
static void put_cell(struct writer *w, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        put(w, "%s%c", text.data[i] == '|' ? "\\" : "", text.data[i]);
}

static void put_row(struct writer *w, const struct option_table *t, const struct option *o,
                    uint32_t kinds)
{
    RT_CLEANUP(buf_finish) struct buf range = {0}, what = {0};
    struct writer inner = {.out = &what, .error = w->error};

    put_what(&inner, t, o, kinds);
    w->error = inner.error;
    if (w->error == 0)
        w->error = option_describe_range(o, &range);
    put(w, "| `%s` | %s | ", o->name, option_type_name(o->type));
    put_cell(w, buf_slice(&range));
    if (o->def && *o->def) {
        put(w, " | `");
        put_cell(w, slice_str(o->def));
        put(w, "` | ");
    } else {
        put(w, " | %s | ", default_shown(o));
    }
    put_cell(w, buf_slice(&what));
    put(w, " |\n");
}

/** A table of each group, below a heading of that many marks. */
static void put_tables(struct writer *w, const struct option_table *t, const char *marks)
{
    for (size_t i = 0; i < t->count; i++) {
        uint32_t kinds = kinds_of_group(t, i);

        if (!group_begins(t, i))
            continue;
        put(w, "%s %s\n\n", marks, t->items[i].group);
        if (kinds != 0) {
            put(w, "Type: ");
            put_kinds(w, t, kinds);
            put(w, ".\n\n");
        }
        put(w, "| Option | Type | Range | Default | What it does |\n|---|---|---|---|---|\n");
        for (size_t k = i; k < t->count; k++) {
            if (strcmp(t->items[k].group, t->items[i].group) == 0)
                put_row(w, t, &t->items[k], kinds);
        }
        put(w, "\n");
    }
}

static void put_quoted(struct writer *w, struct slice text)
{
    if (w->error == 0)
        w->error = json_append_string(w->out, text);
}

/** A value as YAML. Text is quoted the JSON way, which is YAML's too. */
static void put_sample_value(struct writer *w, const struct option *o, const char *value)
{
    const char *def = value ? value : "";

    if (o->type == OPTION_STRING || o->type == OPTION_SECRET) {
        put_quoted(w, slice_str(def));
    } else if (o->type == OPTION_LIST) {
        put(w, "[");
        while (*def) {
            size_t len = strcspn(def, ",");

            put_quoted(w, slice_of(def, len));
            def += len;
            if (*def)
                put(w, ", ");
            def += *def != '\0';
        }
        put(w, "]");
    } else {
        put(w, "%s", def);
    }
}

/** Whether the first `len` bytes of this name were those of an earlier one. */
static bool key_was_written(const struct option_table *t, size_t i, size_t len)
{
    for (size_t k = 0; k < i; k++) {
        const char *name = t->items[k].name;

        if (strncmp(name, t->items[i].name, len) == 0 && (name[len] == '.' || !name[len]))
            return true;
    }
    return false;
}

/** All options whose names begin with the first `prefix` bytes of that of option `from`, as YAML.
 */
static void put_sample(struct writer *w, const struct option_table *t, size_t from, size_t prefix,
                       unsigned depth)
{
    char indent[64];

    memset(indent, ' ', sizeof indent);
    memcpy(indent + MIN(depth * 2, sizeof indent - 3), "# ", 3);
    for (size_t i = from; i < t->count; i++) {
        const char *name = t->items[i].name, *key = name + prefix;
        size_t len;

        if (strncmp(name, t->items[from].name, prefix) != 0)
            continue;
        len = strcspn(key, ".");
        if (key_was_written(t, i, prefix + len))
            continue;
        if (key[len] == '.') {
            put(w, "%*s%.*s:\n", (int)depth * 2, "", (int)len, key);
            put_sample(w, t, i, prefix + len + 1, depth + 1);
            continue;
        }
        put_wrapped(w, indent, t->items[i].help, SAMPLE_COLUMNS);
        put(w, "%*s%s: ", (int)depth * 2, "", key);
        put_sample_value(w, &t->items[i], t->items[i].def);
        put(w, "\n");
    }
}

/** An instance of each type, with what has a sample. */
static void put_sample_section(struct writer *w, const struct option_section *s)
{
    const struct option_table *t = s->table;

    put(w, "# An example of each type of %s:\n# %s:\n", s->singular, s->name);
    for (int kind = 0; t->items[0].choices[kind]; kind++) {
        put(w, "#   %s:\n#     type: %s\n", t->items[0].choices[kind], t->items[0].choices[kind]);
        for (size_t i = 1; i < t->count; i++) {
            const struct option *o = &t->items[i];

            if (!o->sample || !option_has_kind(o, kind))
                continue;
            put(w, "#     %s: ", o->name);
            put_sample_value(w, o, o->sample);
            put(w, "\n");
        }
    }
}

int options_write_markdown(const struct option_table *t, struct buf *out)
{
    struct writer w = {.out = out};

    put_tables(&w, t, "##");
    for (size_t i = 0; i < t->sections_count; i++) {
        put(&w, "## %s\n\n%s\n\n", t->sections[i].title, t->sections[i].help);
        put_tables(&w, t->sections[i].table, "###");
    }
    put(&w, "## A complete file\n\nEvery option with its default.\n\n```yaml\n");
    put_sample(&w, t, 0, 0, 0);
    for (size_t i = 0; i < t->sections_count; i++)
        put_sample_section(&w, &t->sections[i]);
    put(&w, "```\n");
    return w.error;
}

/** What is in force, as YAML. */
static void put_value(struct writer *w, const struct option *o, const void *values)
{
    const struct option_list *list = (const void *)((const char *)values + o->offset);
    RT_CLEANUP(buf_finish) struct buf text = {0};

    if (o->type == OPTION_LIST) {
        put(w, "[");
        for (size_t i = 0; i < list->count; i++) {
            put(w, "%s", i > 0 ? ", " : "");
            put_quoted(w, slice_str(list->items[i]));
        }
        put(w, "]");
        return;
    }
    if (w->error == 0)
        w->error = option_format_value(o, values, &text);
    if (o->type == OPTION_STRING || o->type == OPTION_SECRET)
        put_quoted(w, buf_slice(&text));
    else
        put(w, "%.*s", (int)text.len, text.data);
}

/** A line for the option, below the name of an instance unless that is empty. A comment where the
 * option was not set and setting it, to this value too, would mean something. */
static void put_line(struct writer *w, const struct option *o, const void *values,
                     const char *above, const char *name)
{
    bool given = o->given == 0 || *((const bool *)values + o->given);

    if (o->type == OPTION_SECRET)
        given = **(char *const *)(const void *)((const char *)values + o->offset) != '\0';
    put(w, "%s%s%s%s%s%s: ", given ? "" : "# ", above, *above ? "." : "", name, *name ? "." : "",
        o->name);
    put_value(w, o, values);
    put(w, "\n");
}

static void put_instance(struct writer *w, const struct option_section *s, const void *instance)
{
    const struct option_table *t = s->table;
    const char *const *name = instance;
    const int *kind = (const void *)((const char *)instance + t->items[0].offset);

    for (size_t i = 0; i < t->count; i++) {
        if (option_has_kind(&t->items[i], *kind))
            put_line(w, &t->items[i], instance, s->name, *name);
    }
}

int options_write_values(const struct option_table *t, const void *values, struct buf *out)
{
    struct writer w = {.out = out};

    for (size_t i = 0; i < t->count; i++)
        put_line(&w, &t->items[i], values, "", "");
    for (size_t i = 0; i < t->sections_count; i++) {
        const struct option_section *s = &t->sections[i];
        const struct option_instances *all = (const void *)((const char *)values + s->offset);

        for (size_t n = 0; n < all->count; n++)
            put_instance(&w, s, (const char *)all->items + n * s->instance_size);
    }
    return w.error;
}
