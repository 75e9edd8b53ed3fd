/*
 * Sources. One allocation holds the struct, the three names and what they are in JSON, so that a
 * source is one object to count and one to free. Nothing in it changes but the counts.
 */
#include "ringtail/record/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/json.h"

static int append_member(struct buf *out, const char *key, struct slice value)
{
    int r = buf_append_str(out, key);

    return r < 0 ? r : json_append_string(out, value);
}

/** Copies to `at` with a NUL behind; returns where the next one goes. */
static char *place(char *at, struct slice in, struct slice *ret)
{
    if (in.len > 0)
        memcpy(at, in.data, in.len);
    at[in.len] = '\0';
    *ret = slice_of(at, in.len);
    return at + in.len + 1;
}

struct source *source_create(struct slice id, struct slice name, struct slice image)
{
    RT_CLEANUP(buf_finish) struct buf middle = {0};
    struct source *s;
    char *at;

    if (append_member(&middle, "\",\"stream\":\"stdout\",\"container_id\":", id) < 0 ||
        append_member(&middle, ",\"container_name\":", name) < 0 ||
        append_member(&middle, ",\"image\":", image) < 0 || buf_append_str(&middle, ",\"line") < 0)
        return NULL;
    s = malloc(sizeof *s + id.len + name.len + image.len + middle.len + 4);
    if (!s)
        return NULL;
    *s = (struct source){.refs = 1};
    at = place((char *)(s + 1), id, &s->id);
    at = place(at, name, &s->name);
    at = place(at, image, &s->image);
    (void)place(at, buf_slice(&middle), &s->json_middle);
    return s;
}

struct source *source_ref(struct source *s)
{
    assert(s->refs > 0);
    s->refs++;
    return s;
}

struct source *source_unref(struct source *s)
{
    if (!s)
        return NULL;
    assert(s->refs > 0);
    if (--s->refs == 0)
        free(s);
    return NULL;
}
