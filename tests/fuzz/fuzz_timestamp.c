/* Any bytes as a timestamp and as a payload that begins with one: the ways to read it must agree.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "ringtail/base/timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    int64_t prefix_ns, whole_ns, again_ns;
    char text[TIMESTAMP_LEN + 1];
    int skip = timestamp_parse_prefix(in, &prefix_ns);

    if (skip > 0) {
        assert((size_t)skip <= size && skip <= 64 && data[skip - 1] == ' ');
        assert(timestamp_parse(slice_of(data, (size_t)skip - 1), &whole_ns) == 0);
        assert(whole_ns == prefix_ns);
    } else {
        /* Whatever ends at the first blank is not a timestamp by the other way either. */
        const uint8_t *blank = size ? memchr(data, ' ', size < 64 ? size : 64) : NULL;

        if (blank)
            assert(timestamp_parse(slice_of(data, (size_t)(blank - data)), &whole_ns) < 0);
    }
    if (timestamp_parse(in, &whole_ns) == 0) {
        timestamp_format(text, whole_ns);
        text[TIMESTAMP_LEN] = ' ';
        assert(timestamp_parse(slice_of(text, TIMESTAMP_LEN), &again_ns) == 0);
        assert(again_ns == whole_ns);
        assert(timestamp_parse_prefix(slice_of(text, sizeof text), &again_ns) == TIMESTAMP_LEN + 1);
        assert(again_ns == whole_ns);
    }
    return 0;
}
