/*
 * Options from YAML, through libyaml's events. Owns the parser and the event at hand while a text
 * is read; values go straight into the caller's struct, problems into the caller's list.
 *
 * Only a syntax error (or absurd nesting) ends the reading: after every other problem the node in
 * question is skipped and the rest is read, so that one run shows all there is to mend. Recursion
 * goes no deeper than option names have dots, because only groups of options are entered;
 * everything else is skipped by counting.
 */
#include "ringtail/base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yaml.h>

#include "option_private.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
/* More than this and the file is something else altogether, not a configuration with mistakes. */
#define PROBLEMS_MAX 100
/* Far deeper than any option; libyaml's time grows with the square of the depth. */
#define DEPTH_MAX 64

/** An option or group that was given already, and the line where. */
struct seen {
    char *name;
    size_t line;
};

struct loader {
    const struct option_table *table;
    void *values;
    const char *name;
    struct slice text;
    struct option_problems *problems;
    size_t problems_before;
    yaml_parser_t parser;
    yaml_event_t event; /* the one at hand; all zero when there is none */
    struct seen *seen;
    size_t seen_count;
};

static int problem_add(struct loader *l, size_t line, size_t column, const char *fmt, ...)
    RT_PRINTF(4, 5);

/** After a problem: 0; -E2BIG when that was the last one to be shown; -ENOMEM. */
static int problems_limit(struct loader *l)
{
    if (l->problems->out_of_memory)
        return -ENOMEM;
    if (l->problems->count - l->problems_before < PROBLEMS_MAX)
        return 0;
    option_problems_add(l->problems, "%s: more problems are not shown", l->name);
    return -E2BIG;
}

/** Returns what problems_limit says. */
static int problem_add(struct loader *l, size_t line, size_t column, const char *fmt, ...)
{
    RT_CLEANUP(buf_finish) struct buf what = {0};
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(&what, fmt, ap);
    va_end(ap);
    if (r < 0)
        return r;
    option_problems_add(l->problems, "%s:%zu:%zu: %.*s", l->name, line, column, (int)what.len,
                        what.data);
    return problems_limit(l);
}

#define PROBLEM_AT(l, mark, ...) problem_add((l), (mark).line + 1, (mark).column + 1, __VA_ARGS__)

/** An error inside the bytes (not UTF-8, a control character), which libyaml tells by its offset.
 */
static int reader_problem(struct loader *l)
{
    size_t line = 1, column = 1, end = MIN(l->parser.problem_offset, l->text.len);

    for (size_t i = 0; i < end; i++) {
        if (l->text.data[i] == '\n') {
            line++;
            column = 1;
        } else if ((l->text.data[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return problem_add(l, line, column, "%s", l->parser.problem);
}

static int syntax_problem(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    int r;

    if (p->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (p->error == YAML_READER_ERROR)
        r = reader_problem(l);
    else if (p->context)
        r = PROBLEM_AT(l, p->problem_mark, "%s %s", p->problem, p->context);
    else
        r = PROBLEM_AT(l, p->problem_mark, "%s", p->problem);
    return r < 0 ? r : -EBADMSG;
}

/** What was written there may be a secret. */
static void forget_event(struct loader *l)
{
    if (l->event.type == YAML_SCALAR_EVENT && l->event.data.scalar.value)
        explicit_bzero(l->event.data.scalar.value, l->event.data.scalar.length);
    yaml_event_delete(&l->event);
}

/** Goes on to the next event. -EBADMSG after a syntax error, which was added. */
static int next_event(struct loader *l)
{
    forget_event(l);
    return yaml_parser_parse(&l->parser, &l->event) ? 0 : syntax_problem(l);
}

static struct slice scalar_text(const yaml_event_t *e)
{
    return slice_of(e->data.scalar.value, e->data.scalar.length);
}

static bool scalar_is_null(const yaml_event_t *e)
{
    struct slice text = scalar_text(e);

    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.len == 0 || slice_eq_str(text, "~") || slice_eq_str(text, "null"));
}

/** Refuses what makes a node mean something else than what is written there. */
static int check_plain_node(struct loader *l)
{
    const yaml_event_t *e = &l->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    int r = 0;

    if (e->type == YAML_ALIAS_EVENT)
        return PROBLEM_AT(l, e->start_mark, "aliases are not supported (write the value out)");
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor)
        r = PROBLEM_AT(l, e->start_mark, "anchors are not supported (leave it out)");
    if (r == 0 && tag)
        r = PROBLEM_AT(l, e->start_mark, "tags are not supported (leave it out)");
    return r;
}

/** Passes over the node that the event at hand begins. */
static int skip_node(struct loader *l)
{
    size_t depth = 0;

    for (;;) {
        int r;

        if (l->event.type == YAML_MAPPING_START_EVENT || l->event.type == YAML_SEQUENCE_START_EVENT)
            depth++;
        else if (l->event.type == YAML_MAPPING_END_EVENT ||
                 l->event.type == YAML_SEQUENCE_END_EVENT)
            depth--;
        if (depth == 0)
            return 0;
        if (depth > DEPTH_MAX) {
            r = PROBLEM_AT(l, l->event.start_mark, "nested too deeply, the rest is not read");
            return r < 0 ? r : -EBADMSG;
        }
        r = next_event(l);
        if (r == 0)
            r = check_plain_node(l);
        if (r < 0)
            return r;
    }
}

/** Notes that the name was given; a second time is a problem. */
static int note_name(struct loader *l, const char *name, yaml_mark_t mark)
{
    struct seen *seen;

    for (size_t i = 0; i < l->seen_count; i++) {
        if (strcmp(l->seen[i].name, name) == 0)
            return PROBLEM_AT(l, mark, "\"%s\" is given twice (first in line %zu)", name,
                              l->seen[i].line);
    }
    seen = reallocarray(l->seen, l->seen_count + 1, sizeof *seen);
    if (!seen)
        return -ENOMEM;
    l->seen = seen;
    seen += l->seen_count;
    seen->line = mark.line + 1;
    seen->name = strdup(name);
    if (!seen->name)
        return -ENOMEM;
    l->seen_count++;
    return 0;
}

static struct option_origin origin_of(const struct loader *l)
{
    yaml_mark_t mark = l->event.start_mark;

    return (struct option_origin){
        .file = l->name, .line = mark.line + 1, .column = mark.column + 1};
}

/** A problem with the value at the event at hand: what it should be, and `found`, what it is. */
static int value_problem(struct loader *l, const struct option_place *p, const char *found)
{
    RT_CLEANUP(buf_finish) struct buf expected = {0};
    int r = option_describe(p->option, &expected);

    if (r < 0)
        return r;
    return PROBLEM_AT(l, l->event.start_mark, "%.*s: expected %.*s, found %s", (int)p->path.len,
                      p->path.data, (int)expected.len, expected.data, found);
}

static int scalar_problem(struct loader *l, const struct option_place *p)
{
    RT_CLEANUP(buf_finish) struct buf found = {0};
    int r = option_quote(scalar_text(&l->event), &found);

    if (r < 0)
        return r;
    return buf_cstr(&found) ? value_problem(l, p, found.data) : -ENOMEM;
}

static const char nothing_found[] = "nothing (leave it out for its default)";

/** What was given: an option's value now, that of an instance kept for later. */
static int take_list(struct loader *l, const struct option_place *p, struct option_list *list)
{
    struct option_origin origin = origin_of(l);

    if (p->section)
        return option_setting_add(l->values, p, &origin, slice_of("", 0), list, l->problems);
    option_set_list(p->option, l->values, list);
    option_mark_given(p->option, l->values);
    return 0;
}

static int take_scalar(struct loader *l, const struct option_place *p)
{
    struct slice text = scalar_text(&l->event);
    struct option_origin origin = origin_of(l);

    if (p->section)
        return option_setting_add(l->values, p, &origin, text, NULL, l->problems);
    return option_apply(p->option, l->values, &origin, p->path, text, l->problems);
}

/** The items of a LIST, up to and with the end of the sequence. */
static int load_list(struct loader *l, const struct option_place *p)
{
    RT_CLEANUP(option_list_finish) struct option_list list = {0};
    size_t before = l->problems->count;

    for (;;) {
        int r = next_event(l);

        if (r == 0 && l->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (r == 0)
            r = check_plain_node(l);
        if (r < 0)
            return r;
        if (l->event.type == YAML_SCALAR_EVENT) {
            struct slice item = scalar_text(&l->event);

            r = scalar_is_null(&l->event) || item.len == 0 ? -EINVAL
                                                           : option_list_append(&list, item);
            if (r == -EINVAL)
                r = scalar_problem(l, p);
        } else if (l->event.type != YAML_ALIAS_EVENT) {
            r = value_problem(l, p, "a nested one");
            if (r == 0)
                r = skip_node(l);
        }
        if (r < 0)
            return r;
    }
    return l->problems->count == before ? take_list(l, p, &list) : 0;
}

/** The value of an option, at whose first event we are. */
static int load_value(struct loader *l, const struct option_place *p)
{
    int r;

    if (l->event.type == YAML_SEQUENCE_START_EVENT && p->option->type == OPTION_LIST)
        r = load_list(l, p);
    else if (l->event.type == YAML_ALIAS_EVENT)
        r = 0; /* refused already */
    else if (l->event.type != YAML_SCALAR_EVENT)
        r = value_problem(
            l, p, l->event.type == YAML_SEQUENCE_START_EVENT ? "a list" : "a group of options");
    else if (scalar_is_null(&l->event))
        r = value_problem(l, p, nothing_found);
    else if (p->option->type == OPTION_LIST)
        r = scalar_problem(l, p);
    else
        r = take_scalar(l, p);
    if (r == -EINVAL)
        r = problems_limit(l);
    if (r < 0 || l->event.type == YAML_SEQUENCE_END_EVENT)
        return r;
    return skip_node(l);
}

static int load_group(struct loader *l, struct slice path);

static int group_problem(struct loader *l, const struct option_place *p)
{
    RT_CLEANUP(buf_finish) struct buf member = {0};
    int r = option_put_member(p, &member);

    if (r < 0)
        return r;
    return PROBLEM_AT(l, l->event.start_mark, "%.*s%sexpected a group of options, such as \"%.*s\"",
                      (int)p->path.len, p->path.data, p->path.len > 0 ? ": " : "", (int)member.len,
                      member.data);
}

/** The value of a group, at whose first event we are. A group with nothing in it is fine. */
static int load_group_value(struct loader *l, const struct option_place *p)
{
    int r;

    if (l->event.type == YAML_MAPPING_START_EVENT)
        return load_group(l, p->path);
    if (l->event.type == YAML_ALIAS_EVENT ||
        (l->event.type == YAML_SCALAR_EVENT && scalar_is_null(&l->event)))
        return 0;
    r = group_problem(l, p);
    return r < 0 ? r : skip_node(l);
}

static int unknown_problem(struct loader *l, const struct option_place *p)
{
    RT_CLEANUP(buf_finish) struct buf what = {0};
    int r = option_put_unknown(l->table, p, true, &what);

    if (r < 0)
        return r;
    return PROBLEM_AT(l, l->event.start_mark, "%.*s", (int)what.len, what.data);
}

/** An instance that has been named is one, whatever it is given. -EINVAL after a problem. */
static int name_instance(struct loader *l, const struct option_place *p)
{
    struct option_origin origin = origin_of(l);

    if (!p->section || p->instance.len == 0 || p->name.len > 0)
        return 0;
    return option_setting_add(l->values, p, &origin, slice_of("", 0), NULL, l->problems);
}

/** One key, at which we are, and its value. `path` ends in the key. */
static int load_entry(struct loader *l, struct buf *path)
{
    struct option_place p;
    bool known;
    int r;

    if (!buf_cstr(path))
        return -ENOMEM;
    option_place_find(l->table, buf_slice(path), &p);
    known = p.option || option_place_is_group(&p);
    r = known ? note_name(l, path->data, l->event.start_mark) : unknown_problem(l, &p);
    if (r == 0 && known)
        r = name_instance(l, &p);
    if (r == -EINVAL) {
        known = false;
        r = problems_limit(l);
    }
    if (r == 0)
        r = next_event(l);
    if (r == 0)
        r = check_plain_node(l);
    if (r < 0)
        return r;
    if (!known)
        return skip_node(l);
    return p.option ? load_value(l, &p) : load_group_value(l, &p);
}

/** The entries of a mapping, up to and with its end. */
static int load_group(struct loader *l, struct slice path)
{
    RT_CLEANUP(buf_finish) struct buf inner = {0};

    for (;;) {
        int r = next_event(l);

        if (r == 0 && l->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (r == 0)
            r = check_plain_node(l);
        if (r < 0)
            return r;
        if (l->event.type == YAML_SCALAR_EVENT) {
            buf_reset(&inner);
            r = buf_append_slice(&inner, path);
            if (r == 0 && path.len > 0)
                r = buf_append_char(&inner, '.');
            if (r == 0)
                r = buf_append_slice(&inner, scalar_text(&l->event));
            if (r == 0)
                r = load_entry(l, &inner);
        } else {
            if (l->event.type != YAML_ALIAS_EVENT)
                r = PROBLEM_AT(l, l->event.start_mark, "expected the name of an option");
            if (r == 0)
                r = skip_node(l);
            if (r == 0)
                r = next_event(l);
            if (r == 0)
                r = skip_node(l);
        }
        if (r < 0)
            return r;
    }
}

static int load_document(struct loader *l)
{
    const struct option_place whole = {.within = &l->table->items[0]};
    int r = next_event(l);

    if (r == 0)
        r = check_plain_node(l);
    if (r == 0)
        r = load_group_value(l, &whole);
    if (r == 0)
        r = next_event(l); /* the document's end */
    if (r == 0)
        r = next_event(l);
    if (r == 0 && l->event.type == YAML_DOCUMENT_START_EVENT)
        r = PROBLEM_AT(l, l->event.start_mark, "a second document is not supported");
    return r;
}

static int load_stream(struct loader *l)
{
    int r = next_event(l); /* the stream's start */

    if (r == 0)
        r = next_event(l);
    if (r == 0 && l->event.type == YAML_DOCUMENT_START_EVENT)
        r = load_document(l);
    return r;
}

int options_load_text(const struct option_table *t, void *values, const char *name,
                      struct slice text, struct option_problems *problems)
{
    struct loader l = {.table = t,
                       .values = values,
                       .name = name,
                       .text = text,
                       .problems = problems,
                       .problems_before = problems->count};
    int r;

    if (!yaml_parser_initialize(&l.parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)(text.len ? text.data : ""),
                                 text.len);
    r = load_stream(&l);
    forget_event(&l);
    yaml_parser_delete(&l.parser);
    for (size_t i = 0; i < l.seen_count; i++)
        free(l.seen[i].name);
    free(l.seen);
    if (r == -ENOMEM || problems->out_of_memory)
        return -ENOMEM;
    return problems->count == l.problems_before ? 0 : -EINVAL;
}

static void fd_closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* it was only read from: nothing can be lost */
}

/** The whole file, or -EFBIG when it is longer than it may be. */
static int file_read(const char *path, struct buf *out)
{
    RT_CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r;

    if (fd < 0)
        return -errno;
    r = buf_reserve(out, FILE_MAX_BYTES + 1);
    if (r < 0)
        return r;
    while (out->len <= FILE_MAX_BYTES) {
        ssize_t n = read(fd, out->data + out->len, FILE_MAX_BYTES + 1 - out->len);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            out->len += (size_t)n;
    }
    return -EFBIG;
}

int options_load_file(const struct option_table *t, void *values, const char *path,
                      struct option_problems *problems)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    int r = file_read(path, &text);

    if (r == -EFBIG)
        option_problems_add(problems, "%s: is larger than 1 MiB (is it a configuration file?)",
                            path);
    else if (r < 0)
        option_problems_add(problems, "%s: cannot be read: %s", path, strerrordesc_np(-r));
    else
        r = options_load_text(t, values, path, buf_slice(&text), problems);
    if (text.data)
        explicit_bzero(text.data, text.cap);
    return r;
}
