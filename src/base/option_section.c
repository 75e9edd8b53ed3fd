/*
 * Sections: what is given for instances, kept in its order until all of it is there, and the
 * instances that are made of it then. Owns both, in the caller's struct option_instances.
 *
 * Settings are kept as text because their meaning may hang on the type, which may come last: in the
 * file, or on the command line behind it. Their text may be a secret, so it is wiped.
 */
#include "ringtail/base/option.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "option_private.h"

#define INSTANCE_NAME_MAX 32

struct option_setting {
    size_t instance;             /* index in names */
    const struct option *option; /* the first of its name; NULL: the instance was only named */
    char *value;
    size_t value_len;
    struct option_list list;
    bool is_list;
    char *file; /* what origin.file points to */
    struct option_origin origin;
};

struct option_pending {
    char *names[OPTION_INSTANCES_MAX];
    size_t names_count;
    struct option_setting *settings;
    size_t settings_count;
};

/** [a-z0-9_-]{1,32} */
static bool instance_name_is_valid(struct slice name)
{
    if (name.len == 0 || name.len > INSTANCE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return true;
}

/** The part up to the first dot; `in` becomes what is behind the dot. */
static struct slice take_part(struct slice *in)
{
    const char *dot = in->len > 0 ? memchr(in->data, '.', in->len) : NULL;
    size_t len = dot ? (size_t)(dot - in->data) : in->len;
    struct slice part = slice_of(in->data, len);

    *in = slice_from(*in, dot ? len + 1 : len);
    return part;
}

void option_place_find(const struct option_table *t, struct slice path, struct option_place *ret)
{
    struct slice rest = path, first = take_part(&rest);

    *ret = (struct option_place){.path = path, .name = path};
    for (size_t i = 0; i < t->sections_count; i++) {
        if (!slice_eq_str(first, t->sections[i].name))
            continue;
        ret->section = &t->sections[i];
        ret->instance = take_part(&rest);
        ret->name = rest;
        t = ret->section->table;
        ret->misnamed = path.len > first.len && !instance_name_is_valid(ret->instance);
        if (ret->misnamed)
            return;
        break;
    }
    ret->option = option_find(t, ret->name);
    ret->within = option_find_within(t, ret->name);
}

static struct option_instances *instances_of(const struct option_section *s, void *values)
{
    return (struct option_instances *)((char *)values + s->offset);
}

static void setting_finish(struct option_setting *s)
{
    if (s->value)
        explicit_bzero(s->value, s->value_len);
    free(s->value);
    free(s->file);
    option_list_finish(&s->list);
}

static struct option_pending *pending_free(struct option_pending *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->settings_count; i++)
        setting_finish(&p->settings[i]);
    for (size_t i = 0; i < p->names_count; i++)
        free(p->names[i]);
    free(p->settings);
    free(p);
    return NULL;
}

static int setting_init(struct option_setting *s, const struct option_place *p,
                        const struct option_origin *origin, struct slice value)
{
    s->option = p->option;
    s->value_len = value.len;
    s->value = slice_dup(value);
    s->origin = *origin;
    if (origin->file)
        s->origin.file = s->file = strdup(origin->file);
    return s->value && (s->file || !origin->file) ? 0 : -ENOMEM;
}

/** The index of the name, which is new or not; its count when there are too many. */
static int name_find(struct option_pending *p, struct slice name, size_t *ret)
{
    for (*ret = 0; *ret < p->names_count; (*ret)++) {
        if (slice_eq_str(name, p->names[*ret]))
            return 0;
    }
    if (*ret == OPTION_INSTANCES_MAX)
        return 0;
    p->names[*ret] = slice_dup(name);
    if (!p->names[*ret])
        return -ENOMEM;
    p->names_count++;
    return 0;
}

static int refuse_instance(const struct option_place *p, const struct option_origin *origin,
                           struct option_problems *problems)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    int r = option_put_origin(origin, &text);

    if (r == 0)
        r = option_put_foreign(p->path, &text);
    if (r < 0)
        return r;
    option_problems_add(problems, "%.*s: more than %d %s", (int)text.len, text.data,
                        OPTION_INSTANCES_MAX, p->section->name);
    return problems->out_of_memory ? -ENOMEM : -EINVAL;
}

int option_setting_add(void *values, const struct option_place *p,
                       const struct option_origin *origin, struct slice value,
                       struct option_list *list, struct option_problems *problems)
{
    struct option_instances *in = instances_of(p->section, values);
    struct option_setting *s;
    size_t instance;
    int r;

    assert(!in->items); /* not after options_complete */
    if (!in->pending)
        in->pending = calloc(1, sizeof *in->pending);
    if (!in->pending || name_find(in->pending, p->instance, &instance) < 0)
        return -ENOMEM;
    if (instance == OPTION_INSTANCES_MAX)
        return refuse_instance(p, origin, problems);
    s = reallocarray(in->pending->settings, in->pending->settings_count + 1, sizeof *s);
    if (!s)
        return -ENOMEM;
    in->pending->settings = s;
    s += in->pending->settings_count++;
    *s = (struct option_setting){.instance = instance};
    if (list) {
        s->is_list = true;
        s->list = *list;
        *list = (struct option_list){0};
    }
    r = setting_init(s, p, origin, value);
    if (r < 0) {
        setting_finish(s);
        in->pending->settings_count--;
    }
    return r;
}

/* ---- making instances ---- */

struct maker {
    const struct option_section *section;
    const struct option_pending *pending;
    size_t instance; /* which one is being made */
    int kind;
    void *values;
    struct option_problems *problems;
};

static struct option_setting *next_setting(const struct maker *m, size_t *at)
{
    while (*at < m->pending->settings_count) {
        struct option_setting *s = &m->pending->settings[(*at)++];

        if (s->instance == m->instance)
            return s;
    }
    return NULL;
}

static int add_problem(struct maker *m, const struct option_setting *s, const char *fmt, ...)
    RT_PRINTF(3, 4);

/** With what was given, and what is wrong about it. Returns 0 or -ENOMEM. */
static int add_problem(struct maker *m, const struct option_setting *s, const char *fmt, ...)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    va_list ap;
    int r = option_put_origin(&s->origin, &text);

    if (r == 0)
        r = buf_printf(&text, "%s.%s", m->section->name, m->pending->names[m->instance]);
    va_start(ap, fmt);
    if (r == 0)
        r = buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (r < 0)
        return r;
    option_problems_add(m->problems, "%.*s", (int)text.len, text.data);
    return m->problems->out_of_memory ? -ENOMEM : 0;
}

/** Of the options of that name the one that the type has. */
static const struct option *find_of_kind(const struct option_table *t, const char *name, int kind)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->items[i].name, name) == 0 && option_has_kind(&t->items[i], kind))
            return &t->items[i];
    }
    return NULL;
}

static int put_kinds_of(const struct option_table *t, const char *name, struct buf *out)
{
    const char *const *choices = t->items[0].choices;
    int r = 0;

    for (int kind = 0; r == 0 && choices[kind]; kind++) {
        if (find_of_kind(t, name, kind))
            r = buf_printf(out, "%s%s", out->len > 0 ? ", " : "", choices[kind]);
    }
    return r;
}

static int refuse_of_other_kind(struct maker *m, const struct option_setting *s)
{
    RT_CLEANUP(buf_finish) struct buf kinds = {0};
    const struct option_table *t = m->section->table;

    if (put_kinds_of(t, s->option->name, &kinds) < 0)
        return -ENOMEM;
    return add_problem(m, s, ".%s: a %s of type %s has no such option (those of type %.*s have it)",
                       s->option->name, m->section->singular, t->items[0].choices[m->kind],
                       (int)kinds.len, kinds.data);
}

static int apply(struct maker *m, struct option_setting *s, const struct option *o)
{
    RT_CLEANUP(buf_finish) struct buf name = {0};
    int r =
        buf_printf(&name, "%s.%s.%s", m->section->name, m->pending->names[m->instance], o->name);

    if (r < 0)
        return r;
    if (s->is_list) {
        option_set_list(o, m->values, &s->list);
        option_mark_given(o, m->values);
        return 0;
    }
    r = option_apply(o, m->values, &s->origin, buf_slice(&name), slice_of(s->value, s->value_len),
                     m->problems);
    return r == -EINVAL ? 0 : r; /* it is in the list */
}

/** Returns 1 when the type is known, 0 when it is not (then it is told), -ENOMEM. */
static int make_type(struct maker *m)
{
    const struct option *type = m->section->table->items;
    size_t at = 0, before = m->problems->count;
    const struct option_setting *first = next_setting(m, &at);
    RT_CLEANUP(buf_finish) struct buf choices = {0};
    struct option_setting *s;
    bool given = false;
    int r;

    at = 0;
    while ((s = next_setting(m, &at))) {
        r = s->option == type ? apply(m, s, type) : 0;
        if (r < 0)
            return r;
        given |= s->option == type;
    }
    if (given)
        return m->problems->count == before;
    r = option_describe_range(type, &choices);
    return r < 0 ? r
                 : add_problem(m, first, ": type is missing (one of %.*s)", (int)choices.len,
                               choices.data);
}

static int make_given(struct maker *m)
{
    struct option_setting *s;
    size_t at = 0;
    int r = 0;

    while (r == 0 && (s = next_setting(m, &at))) {
        const struct option *o;

        if (!s->option || s->option == m->section->table->items)
            continue;
        o = find_of_kind(m->section->table, s->option->name, m->kind);
        r = o ? apply(m, s, o) : refuse_of_other_kind(m, s);
    }
    return r;
}

/** Whether it was given, well or wrongly; an empty list is nothing. */
static bool has_value(const struct maker *m, const struct option *o)
{
    const struct option_list *list;
    const struct option_setting *s;
    size_t at = 0;

    if (o->type == OPTION_LIST) {
        list = (const struct option_list *)((const char *)m->values + o->offset);
        return list->count > 0;
    }
    while ((s = next_setting(m, &at))) {
        if (s->option && strcmp(s->option->name, o->name) == 0)
            return true;
    }
    return false;
}

static int check_required(struct maker *m)
{
    const struct option_table *t = m->section->table;
    size_t at = 0;
    const struct option_setting *first = next_setting(m, &at);
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->count; i++) {
        const struct option *o = &t->items[i];

        if (o->required && option_has_kind(o, m->kind) && !has_value(m, o))
            r = add_problem(m, first, ": %s is missing (a %s of type %s needs it)", o->name,
                            m->section->singular, t->items[0].choices[m->kind]);
    }
    return r;
}

/** Returns 1 when it was made, 0 when it can't be, -ENOMEM; what there is of it is the caller's. */
static int make(struct maker *m)
{
    const struct option_table *t = m->section->table;
    int r = make_type(m);

    if (r <= 0)
        return r;
    *(char **)m->values = strdup(m->pending->names[m->instance]);
    if (!*(char **)m->values)
        return -ENOMEM;
    m->kind = *(const int *)((const char *)m->values + t->items[0].offset);
    r = option_set_kind_defaults(t, m->kind, m->values);
    if (r == 0)
        r = make_given(m);
    if (r == 0)
        r = check_required(m);
    return r < 0 ? r : 1;
}

static void instance_finish(const struct option_section *s, char *values)
{
    options_finish(s->table, values);
    free(*(char **)(void *)values);
    memset(values, 0, s->instance_size);
}

static int make_all(const struct option_section *s, struct option_instances *in,
                    struct option_problems *problems)
{
    struct maker m = {.section = s, .pending = in->pending, .problems = problems};

    in->items = calloc(in->pending->names_count, s->instance_size);
    if (!in->items)
        return -ENOMEM;
    for (; m.instance < in->pending->names_count; m.instance++) {
        int r;

        m.values = (char *)in->items + in->count * s->instance_size;
        r = make(&m);
        if (r <= 0)
            instance_finish(s, m.values);
        if (r < 0)
            return r;
        in->count += (size_t)r;
    }
    return 0;
}

int options_complete(const struct option_table *t, void *values, struct option_problems *problems)
{
    size_t before = problems->count;
    int r = 0;

    for (size_t i = 0; r == 0 && i < t->sections_count; i++) {
        struct option_instances *in = instances_of(&t->sections[i], values);

        if (in->pending)
            r = make_all(&t->sections[i], in, problems);
        in->pending = pending_free(in->pending);
    }
    problems->out_of_memory |= r < 0;
    if (problems->out_of_memory)
        return -ENOMEM;
    return problems->count == before ? 0 : -EINVAL;
}

void option_sections_finish(const struct option_table *t, void *values)
{
    for (size_t i = 0; i < t->sections_count; i++) {
        struct option_instances *in = instances_of(&t->sections[i], values);

        for (size_t k = 0; k < in->count; k++)
            instance_finish(&t->sections[i], (char *)in->items + k * t->sections[i].instance_size);
        free(in->items);
        (void)pending_free(in->pending);
        *in = (struct option_instances){0};
    }
}
