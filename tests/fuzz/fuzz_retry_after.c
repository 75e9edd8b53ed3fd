/*
 * codec/retry_after: any header value is refused, or is a time within its bound, and no more than
 * blanks around it makes a difference. Input: eight bytes of what time it is, then the value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/codec/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t now_ns, ms, again_ms;
    char *wide;

    if (size < sizeof now_ns)
        return 0;
    memcpy(&now_ns, data, sizeof now_ns);
    now_ns &= INT64_MAX;
    data += sizeof now_ns;
    size -= sizeof now_ns;
    if (retry_after_parse(slice_of(data, size), now_ns, &ms) < 0)
        return 0;
    expect(ms >= 0 && ms <= RETRY_AFTER_MAX_MS);
    wide = malloc(size + 2);
    expect(wide != NULL);
    wide[0] = '\t';
    memcpy(wide + 1, data, size);
    wide[size + 1] = ' ';
    expect(retry_after_parse(slice_of(wide, size + 2), now_ns, &again_ms) == 0);
    expect(again_ms == ms);
    free(wide);
    return 0;
}
