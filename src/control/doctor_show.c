/* src/control/doctor_show.h. Owns nothing. */
#include "doctor_show.h"

#include <errno.h>
#include <string.h>

#include "ringtail/base/json.h"

#define NAMES_SHOWN 5

static const char *const level_names[DOCTOR_LEVELS] = {"ok", "note", "warning", "problem"};
static const char *const level_colours[DOCTOR_LEVELS] = {"32", "36", "33", "1;31"};

int doctor_item_append(struct buf *items, char kind, struct slice text)
{
    size_t before = items->len;
    int r;

    text.len = strnlen(text.data, text.len);
    r = buf_append_char(items, kind);
    if (r == 0)
        r = buf_append_slice(items, text);
    if (r == 0)
        r = buf_append_char(items, '\0');
    if (r < 0)
        items->len = before;
    return r;
}

/* ---- reading ---- */

struct finding {
    const char *check;
    enum doctor_level level;
    struct slice subject, text, advice;
    struct slice containers; /* the items, with others between them */
};

/* Takes the first item off. The text ends in a NUL. Returns false at the end. */
static bool next_item(struct slice *items, char *ret_kind, struct slice *ret_text)
{
    size_t len;

    if (items->len == 0)
        return false;
    len = strnlen(items->data + 1, items->len - 1);
    *ret_kind = items->data[0];
    *ret_text = slice_of(items->data + 1, len);
    *items = slice_from(*items, MIN(len + 2, items->len));
    return true;
}

static bool is_level(char kind)
{
    return kind >= DOCTOR_ITEM_LEVEL(0) && kind < DOCTOR_ITEM_LEVEL(DOCTOR_LEVELS);
}

static bool next_container(struct slice *items, struct slice *ret_name)
{
    char kind;

    while (next_item(items, &kind, ret_name))
        if (kind == DOCTOR_ITEM_CONTAINER)
            return true;
    return false;
}

/* Takes the first finding off. */
static bool next_finding(struct slice *items, struct finding *ret)
{
    struct slice text;
    const char *begin;
    char kind;

    if (!next_item(items, &kind, &text) || !is_level(kind))
        return false;
    ret->level = (enum doctor_level)(kind - DOCTOR_ITEM_LEVEL(0));
    ret->subject = text;
    ret->text = ret->advice = (struct slice){0};
    begin = items->data;
    while (items->len > 0 && !is_level(items->data[0]) && next_item(items, &kind, &text)) {
        if (kind == DOCTOR_ITEM_TEXT)
            ret->text = text;
        if (kind == DOCTOR_ITEM_ADVICE)
            ret->advice = text;
    }
    ret->containers = slice_of(begin, (size_t)(items->data - begin));
    return true;
}

/* ---- words ---- */

/* Names of containers and what an Engine says are somebody else's: nothing that moves a cursor. */
static int put_plain(struct buf *out, struct slice text)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        r = buf_append_char(out, c < ' ' || c == 0x7f ? '?' : (char)c);
    }
    return r;
}

static int put_containers(struct buf *out, struct slice containers)
{
    struct slice name;
    size_t n = 0;
    int r = 0;

    while (r == 0 && next_container(&containers, &name)) {
        if (n < NAMES_SHOWN)
            r = buf_append_str(out, n == 0 ? ": " : ", ");
        if (r == 0 && n < NAMES_SHOWN)
            r = put_plain(out, name);
        n++;
    }
    if (r == 0 && n > NAMES_SHOWN)
        r = buf_printf(out, " and %zu more", n - NAMES_SHOWN);
    return r;
}

static int put_finding(struct buf *out, const struct finding *f, bool colours)
{
    int r = buf_printf(out, "%-13s %s%s%s%-7s%s  ", f->check, colours ? "\033[" : "",
                       colours ? level_colours[f->level] : "", colours ? "m" : "",
                       level_names[f->level], colours ? "\033[0m" : "");

    if (r == 0)
        r = put_plain(out, f->subject);
    if (r == 0)
        r = buf_append_str(out, ": ");
    if (r == 0)
        r = put_plain(out, f->text);
    if (r == 0)
        r = put_containers(out, f->containers);
    if (r == 0)
        r = buf_append_char(out, '\n');
    if (r == 0 && f->advice.len > 0) {
        r = buf_printf(out, "%24s", "-> ");
        if (r == 0)
            r = put_plain(out, f->advice);
        if (r == 0)
            r = buf_append_char(out, '\n');
    }
    return r;
}

int doctor_show(const struct doctor_said *said, size_t count, bool colours,
                unsigned counts[DOCTOR_LEVELS], struct buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct finding f = {.check = said[i].check};
        struct slice items = said[i].items;

        while (r == 0 && next_finding(&items, &f)) {
            counts[f.level]++;
            r = put_finding(out, &f, colours);
        }
    }
    if (r == 0)
        r = buf_printf(out, "\n%u problem%s, %u warning%s, %u note%s, %u ok\n",
                       counts[DOCTOR_PROBLEM], counts[DOCTOR_PROBLEM] == 1 ? "" : "s",
                       counts[DOCTOR_WARNING], counts[DOCTOR_WARNING] == 1 ? "" : "s",
                       counts[DOCTOR_NOTE], counts[DOCTOR_NOTE] == 1 ? "" : "s", counts[DOCTOR_OK]);
    return r;
}

/* ---- JSON ---- */

static int put_member(struct buf *out, const char *name, struct slice text)
{
    int r = buf_printf(out, ",\"%s\":", name);

    return r < 0 ? r : json_append_string(out, text);
}

static int put_json(struct buf *out, const struct finding *f)
{
    struct slice containers = f->containers, name;
    bool some = false;
    int r = buf_printf(out, "{\"check\":\"%s\",\"level\":\"%s\"", f->check, level_names[f->level]);

    if (r == 0)
        r = put_member(out, "subject", f->subject);
    if (r == 0)
        r = put_member(out, "text", f->text);
    if (r == 0)
        r = put_member(out, "advice", f->advice);
    if (r == 0)
        r = buf_append_str(out, ",\"containers\":[");
    while (r == 0 && next_container(&containers, &name)) {
        r = buf_append_str(out, some ? "," : "");
        if (r == 0)
            r = json_append_string(out, name);
        some = true;
    }
    return r < 0 ? r : buf_append_str(out, "]}");
}

int doctor_show_json(const struct doctor_said *said, size_t count, unsigned counts[DOCTOR_LEVELS],
                     struct buf *out)
{
    bool some = false;
    int r = buf_append_str(out, "{\"version\":\"" RINGTAIL_VERSION "\",\"findings\":[");

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct finding f = {.check = said[i].check};
        struct slice items = said[i].items;

        while (r == 0 && next_finding(&items, &f)) {
            counts[f.level]++;
            r = buf_append_str(out, some ? ",\n" : "\n");
            if (r == 0)
                r = put_json(out, &f);
            some = true;
        }
    }
    if (r == 0)
        r = buf_printf(
            out, "\n],\"counts\":{\"ok\":%u,\"note\":%u,\"warning\":%u,\"problem\":%u}}\n",
            counts[DOCTOR_OK], counts[DOCTOR_NOTE], counts[DOCTOR_WARNING], counts[DOCTOR_PROBLEM]);
    return r;
}
