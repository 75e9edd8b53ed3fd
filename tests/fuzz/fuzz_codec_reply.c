/*
 * codec: any reply gets a judgement that holds together, and nothing is acknowledged by a failure.
 * Input: a byte for the codec, two for the status, one for the number of records, one for the
 * length of Retry-After, then that header's value, then the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/codec/codec.h"
#include "ringtail/codec/retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct codec_options options[] = {
    {.kind = CODEC_NDJSON},
    {.kind = CODEC_LOKI, .loki_labels = "a=b", .loki_label_values_max = 1},
    {.kind = CODEC_ELASTIC, .elastic_index = "i"},
    {.kind = CODEC_OTLP_JSON},
    {.kind = CODEC_OTLP_PROTOBUF},
    {.kind = CODEC_SPLUNK, .splunk_index = "i"},
    {.kind = CODEC_SPLUNK, .splunk_index = "{container_name}"},
};

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void expect_reason(const struct codec_judgement *j, uint32_t at)
{
    const char *reason = codec_reason(j, at);
    size_t len = strnlen(reason, CODEC_REASON_MAX + 1);

    expect(len <= CODEC_REASON_MAX);
    expect(utf8_is_valid(slice_of(reason, len)));
    for (size_t i = 0; i < len; i++)
        expect((unsigned char)reason[i] >= ' ' && reason[i] != 0x7f);
}

static void expect_judgement(const struct codec_judgement *j, int status, size_t count)
{
    size_t of_kind[3] = {0};

    expect(j->count == count);
    for (size_t i = 0; i < count; i++) {
        expect(j->verdicts[i].kind <= CODEC_REFUSED);
        of_kind[j->verdicts[i].kind]++;
        expect_reason(j, j->verdicts[i].reason);
    }
    expect_reason(j, j->reason);
    expect(of_kind[CODEC_RETRY] == j->retry && of_kind[CODEC_ACCEPTED] == j->accepted &&
           of_kind[CODEC_REFUSED] == j->refused);
    expect((j->outcome == CODEC_DONE) == (j->retry == 0));
    /* Splitting has to come to an end. */
    expect(j->outcome != CODEC_SPLIT || count > 1);
    expect(j->accepted == 0 || (status >= 200 && status < 300));
    expect(j->dropped_unnamed <= j->accepted);
    expect(j->retry_after_ms >= -1 && j->retry_after_ms <= RETRY_AFTER_MAX_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec *codecs[ARRAY_SIZE(options)];
    static struct codec_judgement j;
    struct codec_reply reply = {.now_ns = INT64_C(1795250000) * NSEC_PER_SEC};
    size_t which, count, header;

    if (size < 5)
        return 0;
    which = data[0] % ARRAY_SIZE(options);
    if (!codecs[which])
        expect(codec_create(&options[which], &codecs[which], NULL, 0) == 0);
    reply.status = (int)(data[1] | (unsigned)data[2] << 8);
    count = (size_t)data[3] + 1;
    header = MIN((size_t)data[4], size - 5);
    reply.retry_after = slice_of(data + 5, header);
    reply.body = slice_of(data + 5 + header, size - 5 - header);
    expect(codec_judge(codecs[which], &reply, count, &j) == 0);
    expect_judgement(&j, reply.status, count);
    return 0;
}
