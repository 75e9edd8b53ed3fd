/*
 * Path templates. A template is parsed once into a list of parts, checked so that expansion has
 * nothing left to refuse; expansion goes component by component.
 */
#include "template.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define VALID_PLACEHOLDERS                                                                         \
    "{container_id} {container_id_short} {container_name} {image} {stream} {date}"
#define EMPTY_VALUE "%empty"
#define HASH_LEN 33 /* `~` and 32 hex digits */
#define TEXT_MAX 1024
#define PARTS_MAX 64
#define DATE_LEN 10
#define DAY_S 86400

enum part_kind {
    PART_LITERAL,
    PART_SLASH,
    PART_CONTAINER_ID,
    PART_CONTAINER_ID_SHORT,
    PART_CONTAINER_NAME,
    PART_IMAGE,
    PART_STREAM,
    PART_DATE,
};

static const struct {
    const char *name;
    enum part_kind kind;
} placeholders[] = {
    {"container_id", PART_CONTAINER_ID},
    {"container_id_short", PART_CONTAINER_ID_SHORT},
    {"container_name", PART_CONTAINER_NAME},
    {"image", PART_IMAGE},
    {"stream", PART_STREAM},
    {"date", PART_DATE},
};

struct part {
    enum part_kind kind;
    struct slice literal; /* of the template's own text */
};

struct path_template {
    bool by_stream, by_day;
    size_t parts_count;
    struct part parts[PARTS_MAX];
    char text[TEXT_MAX];
};

static int refuse(char *why, size_t why_size, const char *fmt, ...) RT_PRINTF(3, 4);

static int refuse(char *why, size_t why_size, const char *fmt, ...)
{
    va_list ap;

    if (why && why_size > 0) {
        va_start(ap, fmt);
        (void)vsnprintf(why, why_size, fmt, ap);
        va_end(ap);
    }
    return -EINVAL;
}

static bool add_part(struct path_template *t, enum part_kind kind, struct slice literal)
{
    if (t->parts_count == PARTS_MAX)
        return false;
    t->parts[t->parts_count++] = (struct part){.kind = kind, .literal = literal};
    return true;
}

/** Reads the placeholder at `at` (behind its brace); returns what follows it, or NULL. */
static const char *parse_placeholder(struct path_template *t, const char *at, char *why,
                                     size_t why_size)
{
    size_t len = strcspn(at, "{}/");

    if (at[len] != '}') {
        (void)refuse(why, why_size, "a '{' without its '}'");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(placeholders); i++) {
        if (!slice_eq_str(slice_of(at, len), placeholders[i].name))
            continue;
        t->by_stream |= placeholders[i].kind == PART_STREAM;
        t->by_day |= placeholders[i].kind == PART_DATE;
        if (!add_part(t, placeholders[i].kind, (struct slice){0})) {
            (void)refuse(why, why_size, "more than %d parts", PARTS_MAX);
            return NULL;
        }
        return at + len + 1;
    }
    (void)refuse(why, why_size, "unknown placeholder {%.*s}: valid ones are %s", (int)MIN(len, 64),
                 at, VALID_PLACEHOLDERS);
    return NULL;
}

static int parse(struct path_template *t, char *why, size_t why_size)
{
    const char *at = t->text;

    while (*at) {
        size_t len = strcspn(at, "{}/");

        if (len > TEMPLATE_LITERAL_MAX)
            return refuse(why, why_size, "\"%.*s…\" is longer than %d bytes", 16, at,
                          TEMPLATE_LITERAL_MAX);
        for (size_t i = 0; i < len; i++) {
            if ((unsigned char)at[i] < ' ' || at[i] == 0x7f)
                return refuse(why, why_size, "a control character at byte %zu",
                              (size_t)(at + i - t->text) + 1);
        }
        if (len > 0 && !add_part(t, PART_LITERAL, slice_of(at, len)))
            return refuse(why, why_size, "more than %d parts", PARTS_MAX);
        at += len;
        switch (*at) {
        case '/':
            if (!add_part(t, PART_SLASH, (struct slice){0}))
                return refuse(why, why_size, "more than %d parts", PARTS_MAX);
            at++;
            break;
        case '}':
            return refuse(why, why_size, "a '}' without its '{'");
        case '{':
            at = parse_placeholder(t, at + 1, why, why_size);
            if (!at)
                return -EINVAL;
            break;
        default:
            break;
        }
    }
    return 0;
}

/** Components that no path of ours may have. */
static int check_components(const struct path_template *t, char *why, size_t why_size)
{
    size_t components = 1, parts = 0, literal = 0;

    for (size_t i = 0; i <= t->parts_count; i++) {
        const struct part *p = &t->parts[i];

        if (i < t->parts_count && p->kind != PART_SLASH) {
            parts++;
            literal += p->literal.len;
            continue;
        }
        if (parts == 0)
            return refuse(why, why_size,
                          i == 0 ? "an absolute path: it has to be relative to the directory"
                                 : "a component is empty");
        if (parts == 1 && (slice_eq_str(p[-1].literal, ".") || slice_eq_str(p[-1].literal, "..")))
            return refuse(why, why_size, "a component is \"%.*s\": a path cannot leave its place",
                          (int)p[-1].literal.len, p[-1].literal.data);
        if (literal > TEMPLATE_COMPONENT_MAX / 2)
            return refuse(why, why_size, "a component has more than %d bytes of its own",
                          TEMPLATE_COMPONENT_MAX / 2);
        if (i == t->parts_count)
            break;
        components++;
        parts = literal = 0;
    }
    if (components > TEMPLATE_COMPONENTS_MAX)
        return refuse(why, why_size, "more than %d components", TEMPLATE_COMPONENTS_MAX);
    return 0;
}

int path_template_create(const char *text, struct path_template **ret, char *why, size_t why_size)
{
    struct path_template *t;
    int r;

    if (!text || !*text)
        return refuse(why, why_size, "the path template is empty");
    if (strlen(text) >= TEXT_MAX)
        return refuse(why, why_size, "longer than %d bytes", TEXT_MAX - 1);
    t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    memcpy(t->text, text, strlen(text) + 1);
    r = parse(t, why, why_size);
    if (r == 0)
        r = check_components(t, why, why_size);
    if (r < 0) {
        (void)path_template_destroy(t);
        return r;
    }
    *ret = t;
    return 0;
}

struct path_template *path_template_destroy(struct path_template *t)
{
    free(t);
    return NULL;
}

bool path_template_by_stream(const struct path_template *t)
{
    return t->by_stream;
}

bool path_template_by_day(const struct path_template *t)
{
    return t->by_day;
}

int64_t path_template_day(int64_t ts_ns)
{
    return ts_ns > 0 ? ts_ns / NSEC_PER_SEC / DAY_S : 0;
}

/** Puts `~` and the hash of `whole` behind the first `keep` bytes from `start` on. */
static int cut(struct buf *out, size_t start, size_t keep, struct slice whole)
{
    /* Two hashes, because the names to tell apart are somebody else's choice. */
    uint64_t low = hash_bytes(whole, 0), high = hash_bytes(whole, 0x72696e677461696c);

    out->len = start + keep;
    return buf_printf(out, "~%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
}

static bool is_plain(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

static int append_value(struct buf *out, struct slice value)
{
    static const char hex[] = "0123456789ABCDEF";
    bool dots = slice_eq_str(value, ".") || slice_eq_str(value, "..");
    size_t start = out->len, keep = out->len;
    int r;

    if (value.len == 0)
        return buf_append_str(out, EMPTY_VALUE);
    r = buf_reserve(out, 3 * value.len);
    if (r < 0)
        return r;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if (is_plain(c) && !dots) {
            out->data[out->len++] = (char)c;
        } else {
            out->data[out->len++] = '%';
            out->data[out->len++] = hex[c >> 4];
            out->data[out->len++] = hex[c & 15];
        }
        /* A cut does not go through the middle of a %XX. */
        if (out->len - start <= TEMPLATE_VALUE_MAX - HASH_LEN)
            keep = out->len;
    }
    if (out->len - start <= TEMPLATE_VALUE_MAX)
        return 0;
    return cut(out, start, keep - start, value);
}

static int append_part(struct buf *out, const struct part *p, const struct source *source,
                       enum record_stream stream, int64_t day)
{
    char text[TIMESTAMP_LEN];

    switch (p->kind) {
    case PART_LITERAL:
        return buf_append_slice(out, p->literal);
    case PART_SLASH:
        return buf_append_char(out, '/');
    case PART_CONTAINER_ID:
        return append_value(out, source->id);
    case PART_CONTAINER_ID_SHORT:
        return append_value(
            out, slice_of(source->id.data, MIN(source->id.len, (size_t)SOURCE_ID_SHORT_LEN)));
    case PART_CONTAINER_NAME:
        return append_value(out, source->name);
    case PART_IMAGE:
        return append_value(out, source->image);
    case PART_STREAM:
        return buf_append_str(out, stream == RECORD_STDERR ? "stderr" : "stdout");
    case PART_DATE:
        timestamp_format(text, day * DAY_S * NSEC_PER_SEC);
        return buf_append(out, text, DATE_LEN);
    }
    return 0;
}

/** Cuts the component that begins at `start` if it is too long for a file name. */
static int bound_component(struct buf *out, size_t start, const struct part *last)
{
    struct slice end = last->kind == PART_LITERAL ? last->literal : (struct slice){0};
    size_t keep = TEMPLATE_COMPONENT_MAX - HASH_LEN - end.len;
    const char *percent;
    int r;

    if (out->len - start <= TEMPLATE_COMPONENT_MAX)
        return 0;
    percent = memrchr(out->data + start, '%', keep);
    if (percent && (size_t)(out->data + start + keep - percent) < 3)
        keep = (size_t)(percent - (out->data + start));
    r = cut(out, start, keep, slice_of(out->data + start, out->len - start));
    return r < 0 ? r : buf_append_slice(out, end);
}

/** Encodes the dot of a `.123` at the end, which would look like a rotated file; also before the
 * end of a compressed one. */
static int avoid_rotated_name(struct buf *out)
{
    static const char *const ends[] = {"", ".gz", ".zst", ".tmp"};

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        size_t end_len = strlen(ends[i]), digits;
        int r;

        if (out->len < end_len ||
            (end_len > 0 && memcmp(out->data + out->len - end_len, ends[i], end_len) != 0))
            continue;
        digits = out->len - end_len;
        while (digits > 0 && out->data[digits - 1] >= '0' && out->data[digits - 1] <= '9')
            digits--;
        if (digits == out->len - end_len || digits == 0 || out->data[digits - 1] != '.')
            continue;
        r = buf_reserve(out, 2);
        if (r < 0)
            return r;
        memmove(out->data + digits + 2, out->data + digits, out->len - digits);
        memcpy(out->data + digits - 1, "%2E", 3);
        out->len += 2;
        return 0;
    }
    return 0;
}

int path_template_expand(const struct path_template *t, const struct source *source,
                         enum record_stream stream, int64_t day, struct buf *out)
{
    size_t start = 0;
    int r;

    buf_reset(out);
    for (size_t i = 0; i < t->parts_count; i++) {
        const struct part *p = &t->parts[i];
        bool ends = i + 1 == t->parts_count || p[1].kind == PART_SLASH;

        r = append_part(out, p, source, stream, day);
        if (r < 0)
            return r;
        if (p->kind == PART_SLASH) {
            start = out->len;
        } else if (ends) {
            r = bound_component(out, start, p);
            if (r < 0)
                return r;
        }
    }
    r = avoid_rotated_name(out);
    if (r < 0)
        return r;
    return buf_cstr(out) ? 0 : -ENOMEM;
}

size_t path_template_components(const struct path_template *t)
{
    size_t count = 1;

    for (size_t i = 0; i < t->parts_count; i++)
        count += t->parts[i].kind == PART_SLASH;
    return count;
}

/* Could this text be a component of a path? A set of places in the text is carried from part to
 * part: those that the parts so far can end at. */

struct places {
    bool at[NAME_MAX + 1];
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_hash(const char *text, size_t len)
{
    if (len < HASH_LEN || text[0] != '~')
        return false;
    for (size_t i = 1; i < HASH_LEN; i++) {
        if (!is_hex(text[i]))
            return false;
    }
    return true;
}

/** The length of the encoded byte that `text` begins with; 0: it begins with none. */
static size_t encoded_len(const char *text, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";

    if (len > 0 && is_plain((unsigned char)text[0]))
        return 1;
    return len >= 3 && text[0] == '%' && text[1] && strchr(hex, text[1]) && text[2] &&
                   strchr(hex, text[2])
               ? 3
               : 0;
}

/** All places that a value which begins at `from` can end at. */
static void match_value(const char *text, size_t len, size_t from, struct places *ends)
{
    size_t at = from, step, most = MIN(len, from + TEMPLATE_VALUE_MAX);

    if (len - from >= strlen(EMPTY_VALUE) &&
        memcmp(text + from, EMPTY_VALUE, strlen(EMPTY_VALUE)) == 0)
        ends->at[from + strlen(EMPTY_VALUE)] = true;
    while ((step = encoded_len(text + at, len - at)) > 0 && at + step <= most) {
        at += step;
        ends->at[at] = true;
    }
    if (at > from && at + HASH_LEN <= most && is_hash(text + at, len - at))
        ends->at[at + HASH_LEN] = true;
}

static void match_hex(const char *text, size_t len, size_t from, size_t count, struct places *ends)
{
    if (len - from < count)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!is_hex(text[from + i]))
            return;
    }
    ends->at[from + count] = true;
}

static void match_text(const char *text, size_t len, size_t from, struct slice wanted,
                       struct places *ends)
{
    if (len - from >= wanted.len && memcmp(text + from, wanted.data, wanted.len) == 0)
        ends->at[from + wanted.len] = true;
}

static void match_date(const char *text, size_t len, size_t from, struct places *ends)
{
    static const char form[DATE_LEN + 1] = "dddd-dd-dd";

    if (len - from < DATE_LEN)
        return;
    for (size_t i = 0; i < DATE_LEN; i++) {
        char c = text[from + i];

        if (form[i] == 'd' ? c < '0' || c > '9' : c != form[i])
            return;
    }
    ends->at[from + DATE_LEN] = true;
}

static void match_part(const struct part *p, const char *text, size_t len, size_t from,
                       struct places *ends)
{
    switch (p->kind) {
    case PART_LITERAL:
        match_text(text, len, from, p->literal, ends);
        break;
    case PART_SLASH:
        break;
    case PART_CONTAINER_ID:
        match_hex(text, len, from, SOURCE_ID_LEN, ends);
        break;
    case PART_CONTAINER_ID_SHORT:
        match_hex(text, len, from, SOURCE_ID_SHORT_LEN, ends);
        break;
    case PART_CONTAINER_NAME:
    case PART_IMAGE:
        match_value(text, len, from, ends);
        break;
    case PART_STREAM:
        match_text(text, len, from, slice_str("stdout"), ends);
        match_text(text, len, from, slice_str("stderr"), ends);
        break;
    case PART_DATE:
        match_date(text, len, from, ends);
        break;
    }
}

/** What bound_component makes: its beginning can't be told in full any more. */
static bool is_cut_component(const struct part *parts, size_t count, const char *text, size_t len)
{
    const struct part *last = &parts[count - 1];
    struct slice begin = parts[0].kind == PART_LITERAL ? parts[0].literal : (struct slice){0};
    struct slice end = last->kind == PART_LITERAL ? last->literal : (struct slice){0};
    size_t hash;

    /* Up to two bytes less, so that no %XX is cut through. */
    if (len > TEMPLATE_COMPONENT_MAX || len + 2 < TEMPLATE_COMPONENT_MAX)
        return false;
    hash = len - end.len - HASH_LEN;
    return memcmp(text, begin.data ? begin.data : "", begin.len) == 0 &&
           is_hash(text + hash, len - hash) &&
           memcmp(text + len - end.len, end.data ? end.data : "", end.len) == 0;
}

bool path_template_matches(const struct path_template *t, size_t component, struct slice text)
{
    struct places now = {.at = {true}};
    size_t first = 0, count = 0;

    if (text.len == 0 || text.len > NAME_MAX)
        return false;
    for (; component > 0; first++)
        component -= t->parts[first].kind == PART_SLASH;
    while (first + count < t->parts_count && t->parts[first + count].kind != PART_SLASH)
        count++;
    for (size_t i = 0; i < count; i++) {
        struct places next = {0};

        for (size_t from = 0; from <= text.len; from++) {
            if (now.at[from])
                match_part(&t->parts[first + i], text.data, text.len, from, &next);
        }
        now = next;
    }
    return now.at[text.len] || is_cut_component(&t->parts[first], count, text.data, text.len);
}

bool path_template_matches_last(const struct path_template *t, struct slice text)
{
    size_t last = path_template_components(t) - 1;
    char plain[NAME_MAX];
    const char *percent;

    if (path_template_matches(t, last, text))
        return true;
    percent = text.len <= NAME_MAX ? memrchr(text.data, '%', text.len) : NULL;
    if (!percent || text.len - (size_t)(percent - text.data) < 3 || memcmp(percent, "%2E", 3) != 0)
        return false;
    /* The dot that avoid_rotated_name has encoded. */
    memcpy(plain, text.data, text.len);
    plain[percent - text.data] = '.';
    memmove(plain + (percent - text.data) + 1, percent + 3,
            text.len - (size_t)(percent - text.data) - 3);
    return path_template_matches(t, last, slice_of(plain, text.len - 2));
}
