#include "corpus.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/base/timestamp.h"

#include "bench.h"

#define LINE_MAX_BYTES 512
#define EVEN_BYTES 100
#define QUOTES_IN_A_LINE 24
#define STDERR_ONE_IN 5
/* Chunk size and CRLFs, frame header, timestamp, blank, newline. */
#define WIRE_OVERHEAD_MAX 64
#define WIRE_BEGIN_NS (INT64_C(1760000000) * NSEC_PER_SEC)
#define WIRE_STEP_NS INT64_C(4321)

static const char *const words[] = {
    "request", "served",  "user",    "from",  "cache",   "in",     "the",      "queue",
    "timeout", "retry",   "of",      "batch", "commit",  "shard",  "replica",  "at",
    "offset",  "written", "session", "a",     "expired", "worker", "started",  "with",
    "config",  "loaded",  "no",      "route", "to",      "host",   "accepted", "connection",
};

static const char *word(struct random *r)
{
    return words[random_below(r, ARRAY_SIZE(words))];
}

/** Words and numbers, `len` bytes. */
static size_t put_words(struct random *r, char *out, size_t len)
{
    size_t at = 0;

    while (at < len) {
        char one[32];
        int n = random_below(r, 4) == 0
                    ? snprintf(one, sizeof one, "%u ", (unsigned)random_below(r, 100000))
                    : snprintf(one, sizeof one, "%s ", word(r));
        size_t fits = MIN((size_t)n, len - at);

        memcpy(out + at, one, fits);
        at += fits;
    }
    return at;
}

static size_t put_quotes(struct random *r, char *out)
{
    (void)put_words(r, out, EVEN_BYTES);
    for (unsigned quotes = 0; quotes < QUOTES_IN_A_LINE;) {
        char *at = out + random_below(r, EVEN_BYTES);

        if (*at == '"')
            continue;
        *at = '"';
        quotes++;
    }
    return EVEN_BYTES;
}

RT_PRINTF(2, 3) static size_t put_text(char *out, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(out, LINE_MAX_BYTES, fmt, ap);
    va_end(ap);
    bench_require(n >= 0);
    return MIN((size_t)n, (size_t)LINE_MAX_BYTES - 1);
}

static size_t put_json(struct random *r, char *out)
{
    char message[128], agent[64] = "";

    message[put_words(r, message, 8 + random_below(r, 80))] = '\0';
    if (random_below(r, 4) == 0)
        (void)snprintf(agent, sizeof agent, ",\"err\":\"can't parse \\\"%s\\\"\"", word(r));
    return put_text(out, "{\"level\":\"%s\",\"msg\":\"%s\",\"%s\":%u,\"path\":\"/%s/%s\"%s}",
                    random_below(r, 5) ? "info" : "error", message, word(r),
                    (unsigned)random_below(r, 100000), word(r), word(r), agent);
}

static size_t put_mixed(struct random *r, char *out)
{
    switch (random_below(r, 8)) {
    case 0:
    case 1:
        return put_text(
            out, "10.%u.%u.%u - - \"GET /%s/%s?id=%u HTTP/1.1\" %u %u \"-\" \"agent/%u.%u\"",
            (unsigned)random_below(r, 256), (unsigned)random_below(r, 256),
            (unsigned)random_below(r, 256), word(r), word(r), (unsigned)random_below(r, 1000000),
            random_below(r, 9) ? 200u : 404u, (unsigned)random_below(r, 100000),
            (unsigned)random_below(r, 20), (unsigned)random_below(r, 100));
    case 2:
        return put_json(r, out);
    case 3:
        return put_text(out, "\tat org.%s.%s.%s(%s.java:%u)", word(r), word(r), word(r), word(r),
                        (unsigned)random_below(r, 2000));
    case 4:
        return put_text(out, "Größe %u µs, „%s“ für %s \xe2\x9c\x93",
                        (unsigned)random_below(r, 9999), word(r), word(r));
    case 5:
        return put_words(r, out, 200 + random_below(r, 200));
    default:
        return put_text(out, "level=info component=%s msg=%s_%s took=%ums", word(r), word(r),
                        word(r), (unsigned)random_below(r, 5000));
    }
}

static size_t put_line(enum corpus_kind kind, struct random *r, char *out)
{
    switch (kind) {
    case CORPUS_PLAIN:
    case CORPUS_PLAIN_ONE:
        return put_words(r, out, EVEN_BYTES);
    case CORPUS_QUOTES:
    case CORPUS_QUOTES_ONE:
        return put_quotes(r, out);
    case CORPUS_JSON:
        return put_json(r, out);
    case CORPUS_MIXED:
        return put_mixed(r, out);
    }
    return 0;
}

struct corpus *corpus_create(enum corpus_kind kind)
{
    struct corpus *c = bench_alloc(1, sizeof *c);
    bool one = kind == CORPUS_PLAIN_ONE || kind == CORPUS_QUOTES_ONE;
    struct random random;
    size_t at = 0;

    random_seed(&random, 1);
    c->data = bench_alloc(CORPUS_LINES, LINE_MAX_BYTES);
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        size_t len;

        if (one)
            random_seed(&random, 1);
        len = put_line(kind, &random, c->data + at);
        c->lines[i] = slice_of(c->data + at, len);
        c->bytes += len;
        at += len;
    }
    return c;
}

void corpus_destroy(struct corpus *c)
{
    free(c->data);
    free(c);
}

static size_t put_record(struct wire_record *record, struct slice line, char *out)
{
    size_t payload = TIMESTAMP_LEN + 1 + line.len + 1;
    size_t at = (size_t)sprintf(out, "%zx\r\n", payload + 8);

    record->frame = out + at;
    memset(record->frame, 0, 8);
    record->frame[0] = (char)record->stream;
    record->frame[6] = (char)(payload >> 8);
    record->frame[7] = (char)payload;
    record->payload = slice_of(record->frame + 8, payload);
    record->text = slice_from(record->payload, TIMESTAMP_LEN + 1);
    record->frame[8 + TIMESTAMP_LEN] = ' ';
    memcpy(record->frame + 8 + TIMESTAMP_LEN + 1, line.data, line.len);
    memcpy(record->frame + 8 + payload - 1, "\n\r\n", 3);
    return at + 8 + payload + 2;
}

struct wire *wire_create(enum corpus_kind kind)
{
    struct wire *w = bench_alloc(1, sizeof *w);
    struct random random;

    random_seed(&random, 2);
    w->corpus = corpus_create(kind);
    w->bytes = bench_alloc(1, w->corpus->bytes + CORPUS_LINES * WIRE_OVERHEAD_MAX);
    w->next_ts_ns = WIRE_BEGIN_NS;
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        bool on_stderr = kind == CORPUS_MIXED && random_below(&random, STDERR_ONE_IN) == 0;

        w->records[i].stream = on_stderr ? 2 : 1;
        w->len += put_record(&w->records[i], w->corpus->lines[i], w->bytes + w->len);
    }
    wire_go_on(w);
    return w;
}

void wire_go_on(struct wire *w)
{
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        struct wire_record *record = &w->records[i];

        record->ts_ns = w->next_ts_ns;
        timestamp_format(record->frame + 8, record->ts_ns);
        w->next_ts_ns += WIRE_STEP_NS;
    }
}

void wire_destroy(struct wire *w)
{
    corpus_destroy(w->corpus);
    free(w->bytes);
    free(w);
}
