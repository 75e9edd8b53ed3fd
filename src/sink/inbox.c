/* The inbox: a ring of batch references that is never moved but when it grows. */
#include "inbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_CAP 64

int inbox_init(struct inbox *in)
{
    *in = (struct inbox){.cap = FIRST_CAP};
    in->items = malloc(in->cap * sizeof(struct batch *));
    return in->items ? 0 : -ENOMEM;
}

void inbox_finish(struct inbox *in)
{
    assert(in->count == 0);
    free(in->items);
    *in = (struct inbox){0};
}

static int grow(struct inbox *in)
{
    struct batch **more = malloc(2 * in->cap * sizeof(struct batch *));

    if (!more)
        return -ENOMEM;
    for (size_t i = 0; i < in->count; i++)
        more[i] = in->items[(in->first + i) & (in->cap - 1)];
    free(in->items);
    in->items = more;
    in->first = 0;
    in->cap *= 2;
    return 0;
}

int inbox_push(struct inbox *in, struct batch *batch)
{
    int r = in->count < in->cap ? 0 : grow(in);

    if (r < 0)
        return r;
    in->items[(in->first + in->count++) & (in->cap - 1)] = batch_ref(batch);
    return 0;
}

struct batch *inbox_first(const struct inbox *in)
{
    return in->count > 0 ? in->items[in->first] : NULL;
}

void inbox_pop(struct inbox *in)
{
    struct batch *batch = inbox_first(in);

    assert(batch);
    in->first = (in->first + 1) & (in->cap - 1);
    in->count--;
    in->next_record = 0;
    (void)batch_unref(batch);
}

void inbox_drop(struct inbox *in, struct sink *sink)
{
    struct batch *batch;

    while ((batch = inbox_first(in))) {
        for (size_t i = in->next_record; i < batch->count; i++)
            sink->queued_bytes -= batch->records[i].len;
        sink_lose(sink, batch, batch->count - in->next_record);
        inbox_pop(in);
    }
}
