/* tests/support/failing_malloc.h. */
#include "support/failing_malloc.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

struct failing_malloc failing_malloc;

static bool fails(void)
{
    struct failing_malloc *m = &failing_malloc;

    if (!m->counting)
        return false;
    if (m->until_failure > 0) {
        m->until_failure--;
        return false;
    }
    if (m->failures == 0)
        return false;
    m->failures--;
    m->failed++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}
