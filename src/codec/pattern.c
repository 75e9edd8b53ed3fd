/* Patterns. Parsed once; filling one in has nothing left to refuse but a lack of memory. */
#include "ringtail/codec/pattern.h"

#include <errno.h>
#include <stdio.h>

#include "ringtail/base/timestamp.h"

static const struct {
    const char *name;
    enum pattern_kind kind;
} placeholders[] = {
    {"container_id", PATTERN_CONTAINER_ID},
    {"container_id_short", PATTERN_CONTAINER_ID_SHORT},
    {"container_name", PATTERN_CONTAINER_NAME},
    {"image", PATTERN_IMAGE},
    {"stream", PATTERN_STREAM},
    {"host", PATTERN_HOST},
    {"date", PATTERN_DATE},
    {"year", PATTERN_YEAR},
    {"month", PATTERN_MONTH},
    {"day", PATTERN_DAY},
};

int pattern_refuse(char *why, size_t why_size, const char *fmt, ...)
{
    va_list ap;

    if (why && why_size > 0) {
        va_start(ap, fmt);
        (void)vsnprintf(why, why_size, fmt, ap);
        va_end(ap);
    }
    return -EINVAL;
}

static int add_part(struct pattern *p, enum pattern_kind kind, struct slice literal, char *why,
                    size_t why_size)
{
    if (p->parts_count == PATTERN_PARTS_MAX)
        return pattern_refuse(why, why_size, "more than %d parts", PATTERN_PARTS_MAX);
    p->parts[p->parts_count++] = (struct pattern_part){.kind = kind, .literal = literal};
    p->by_time |= kind >= PATTERN_DATE;
    p->is_fixed &= kind == PATTERN_LITERAL || kind == PATTERN_HOST;
    return 0;
}

static int add_placeholder(struct pattern *p, struct slice name, char *why, size_t why_size)
{
    for (size_t i = 0; i < ARRAY_SIZE(placeholders); i++) {
        if (slice_eq_str(name, placeholders[i].name))
            return add_part(p, placeholders[i].kind, (struct slice){0}, why, why_size);
    }
    return pattern_refuse(why, why_size,
                          "unknown placeholder {%.*s}: valid ones are {container_id} "
                          "{container_id_short} {container_name} {image} {stream} {host} {date} "
                          "{year} {month} {day}",
                          (int)MIN(name.len, 64), name.data);
}

static int parse(struct pattern *p, struct slice in, char *why, size_t why_size)
{
    int r = 0;

    while (in.len > 0 && r == 0) {
        size_t len = 0;

        while (len < in.len && in.data[len] != '{' && in.data[len] != '}') {
            if ((unsigned char)in.data[len] < ' ' || in.data[len] == 0x7f)
                return pattern_refuse(why, why_size, "a control character");
            len++;
        }
        if (len > 0) {
            r = add_part(p, PATTERN_LITERAL, slice_of(in.data, len), why, why_size);
        } else {
            const char *end = memchr(in.data, '}', in.len);

            if (in.data[0] == '}' || !end)
                return pattern_refuse(why, why_size, "a brace without its other one");
            len = (size_t)(end - in.data) + 1;
            r = add_placeholder(p, slice_of(in.data + 1, len - 2), why, why_size);
        }
        in = slice_from(in, len);
    }
    return r;
}

int pattern_init(struct pattern *p, struct slice text, char *why, size_t why_size)
{
    int r;

    *p = (struct pattern){.is_fixed = true};
    if (text.len == 0)
        return pattern_refuse(why, why_size, "an empty pattern");
    p->text = slice_dup(text);
    if (!p->text)
        return -ENOMEM;
    r = parse(p, slice_of(p->text, text.len), why, why_size);
    if (r < 0)
        pattern_finish(p);
    return r;
}

void pattern_finish(struct pattern *p)
{
    free(p->text);
    *p = (struct pattern){0};
}

static struct slice part_value(const struct pattern_part *part, const struct record *r,
                               struct slice host, const char *time)
{
    const struct source *source = r->source;

    switch (part->kind) {
    case PATTERN_LITERAL:
        return part->literal;
    case PATTERN_CONTAINER_ID:
        return source->id;
    case PATTERN_CONTAINER_ID_SHORT:
        return slice_of(source->id.data, MIN(source->id.len, (size_t)SOURCE_ID_SHORT_LEN));
    case PATTERN_CONTAINER_NAME:
        return source->name;
    case PATTERN_IMAGE:
        return source->image;
    case PATTERN_STREAM:
        return slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout");
    case PATTERN_HOST:
        return host;
    case PATTERN_DATE:
        return slice_of(time, 10);
    case PATTERN_YEAR:
        return slice_of(time, 4);
    case PATTERN_MONTH:
        return slice_of(time + 5, 2);
    case PATTERN_DAY:
        return slice_of(time + 8, 2);
    }
    return (struct slice){0};
}

int pattern_append(const struct pattern *p, const struct record *r, struct slice host,
                   struct buf *out)
{
    char time[TIMESTAMP_LEN] = "";

    if (p->by_time)
        timestamp_format(time, MAX(r->ts_ns, 0));
    for (size_t i = 0; i < p->parts_count; i++) {
        int e = buf_append_slice(out, part_value(&p->parts[i], r, host, time));

        if (e < 0)
            return e;
    }
    return 0;
}
