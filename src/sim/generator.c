/*
 * Lines made up on the fly. Everything is computed from a line's number, so a log of any length
 * needs no memory and any record of it can be asked for. No state but the templates, which are only
 * a cache of the text.
 *
 * A line is `c=<name> s=<o|e> n=<number> <padding>`; the padding's byte at offset i of the line
 * depends on i alone. A template therefore stays right when only its number changes, whatever
 * number stood there before.
 */
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_DIGITS 13 /* room for ten million seconds at a million lines per second */
#define LINE_BYTES_DEFAULT 120
#define INTERVAL_DEFAULT_NS 4000

static const char padding_plain[] = "the quick brown fox jumps over the lazy dog 0123456789 ";
static const char padding_quotes[] =
    "{\"level\":\"info\",\"msg\":\"a \\\"b\\\"\",\"k\":[\"x\",\"y\"]},";

static struct slice gen_padding(const struct sim_generator *spec)
{
    return slice_str(spec->quotes ? padding_quotes : padding_plain);
}

static uint32_t gen_parts(uint32_t line_bytes, bool tty)
{
    return (line_bytes + tty) / SIM_PART_BYTES + 1;
}

/** The spec with what it left open filled in. */
static struct sim_generator gen_normalize(const struct sim_generator *spec, const char *name)
{
    struct sim_generator g = *spec;
    uint32_t least = (uint32_t)strlen(name) + (uint32_t)strlen("c= s=o n= ") + NUMBER_DIGITS;

    if (g.line_bytes == 0)
        g.line_bytes = LINE_BYTES_DEFAULT;
    g.line_bytes = MAX(g.line_bytes, least);
    g.long_bytes = MAX(g.long_bytes, least);
    g.stderr_percent = MIN(g.stderr_percent, 100u);
    if (g.interval_ns <= 0)
        g.interval_ns = g.firehose || g.lines_per_s <= 0
                            ? INTERVAL_DEFAULT_NS
                            : MAX((int64_t)((double)NSEC_PER_SEC / g.lines_per_s), 1);
    if (g.lines && g.lines < g.lines_before)
        g.lines = g.lines_before;
    return g;
}

int gen_init(struct gen *g, const struct sim_generator *spec, const char *name, bool tty)
{
    *g = (struct gen){.spec = gen_normalize(spec, name), .name = strdup(name), .tty = tty};
    if (!g->name)
        return -ENOMEM;
    g->parts_short = gen_parts(g->spec.line_bytes, tty);
    g->parts_long = gen_parts(g->spec.long_bytes, tty);
    return 0;
}

void gen_finish(struct gen *g)
{
    free(g->name);
    g->name = NULL;
}

uint64_t gen_records_before(const struct gen *g, uint64_t line)
{
    uint64_t longs = g->spec.long_every ? line / g->spec.long_every : 0;

    return (line - longs) * g->parts_short + longs * g->parts_long;
}

uint64_t gen_line_of(const struct gen *g, uint64_t record, uint32_t *ret_part)
{
    uint64_t every = g->spec.long_every, cycle, shorts, rest;

    if (every == 0) {
        *ret_part = (uint32_t)(record % g->parts_short);
        return record / g->parts_short;
    }
    shorts = (every - 1) * g->parts_short;
    cycle = record / (shorts + g->parts_long);
    rest = record % (shorts + g->parts_long);
    if (rest < shorts) {
        *ret_part = (uint32_t)(rest % g->parts_short);
        return cycle * every + rest / g->parts_short;
    }
    *ret_part = (uint32_t)(rest - shorts);
    return cycle * every + every - 1;
}

static bool gen_is_long(const struct sim_generator *spec, uint64_t line)
{
    return spec->long_every && line % spec->long_every == spec->long_every - 1;
}

uint32_t gen_line_bytes(const struct gen *g, uint64_t line)
{
    return gen_is_long(&g->spec, line) ? g->spec.long_bytes : g->spec.line_bytes;
}

/** 37 and 100 have no common factor, so any 100 lines in a row hold exactly the percentage. */
static enum sim_stream spec_stream_of(const struct sim_generator *spec, uint64_t line)
{
    return line % 100 * 37 % 100 < spec->stderr_percent ? SIM_STDERR : SIM_STDOUT;
}

enum sim_stream gen_stream_of(const struct gen *g, uint64_t line)
{
    return g->tty ? SIM_STDOUT : spec_stream_of(&g->spec, line);
}

static size_t number_format(char *out, uint64_t n)
{
    char digits[20];
    size_t len = 0;

    do {
        digits[sizeof digits - ++len] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    memcpy(out, digits + sizeof digits - len, len);
    return len;
}

static void padding_fill(struct slice padding, size_t from, size_t len, char *out)
{
    size_t done;

    for (done = 0; done < len && done < padding.len; done++)
        out[done] = padding.data[(from + done) % padding.len];
    /* What is there repeats: copy it in runs that double. `done` stays a multiple of the pattern's
     * length. */
    while (done < len) {
        size_t run = MIN(done, len - done);

        memcpy(out + done, out, run);
        done += run;
    }
}

/** Bytes [from, from + len) of a line's text. */
static void line_fill(const struct sim_generator *spec, struct slice name, enum sim_stream stream,
                      uint64_t line, uint32_t from, size_t len, char *out)
{
    char mark[8 + 20 + 1];
    struct slice pieces[3];
    size_t at = 0, mark_len;

    padding_fill(gen_padding(spec), from, len, out);
    memcpy(mark, stream == SIM_STDERR ? " s=e n=" : " s=o n=", 7);
    mark_len = 7 + number_format(mark + 7, line);
    mark[mark_len++] = ' ';
    pieces[0] = slice_str("c=");
    pieces[1] = name;
    pieces[2] = slice_of(mark, mark_len);
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        size_t begin = MAX(at, (size_t)from), end = MIN(at + pieces[i].len, from + len);

        if (begin < end)
            memcpy(out + (begin - from), pieces[i].data + (begin - at), end - begin);
        at += pieces[i].len;
    }
}

void gen_fill(const struct gen *g, uint64_t line, uint32_t from, uint32_t len, char *out)
{
    line_fill(&g->spec, slice_str(g->name), gen_stream_of(g, line), line, from, len, out);
}

uint32_t gen_part(const struct gen *g, uint64_t line, uint32_t part, char *out)
{
    uint32_t bytes = gen_line_bytes(g, line), from = part * SIM_PART_BYTES;
    uint32_t whole = bytes + g->tty; /* the terminal's \r counts as text */
    uint32_t len = MIN(whole - from, (uint32_t)SIM_PART_BYTES);
    uint32_t text = from < bytes ? MIN(len, bytes - from) : 0;

    gen_fill(g, line, from, text, out);
    if (text < len)
        out[text] = '\r';
    if (from + len == whole && len < SIM_PART_BYTES)
        out[len++] = '\n';
    return len;
}

int template_init(struct template *t, const struct gen *g, enum sim_stream stream, bool chunked,
                  bool with_stamp)
{
    uint32_t bytes = g->spec.line_bytes,
             payload = (with_stamp ? TIMESTAMP_LEN + 1 : 0) + bytes + 1 + g->tty;
    uint32_t frame = payload + (g->tty ? 0 : 8), len = 0;
    char *out;

    *t = (struct template){.with_stamp = with_stamp, .stamp_s = -1};
    t->data = malloc((size_t)frame + 16);
    t->text = malloc(NUMBER_DIGITS + 1);
    if (!t->data || !t->text) {
        template_finish(t);
        return -ENOMEM;
    }
    out = t->data;
    if (chunked)
        len += (uint32_t)sprintf(out, "%x\r\n", frame);
    if (!g->tty) {
        const unsigned char head[8] = {(unsigned char)stream,
                                       0,
                                       0,
                                       0,
                                       (unsigned char)(payload >> 24),
                                       (unsigned char)(payload >> 16),
                                       (unsigned char)(payload >> 8),
                                       (unsigned char)payload};

        memcpy(out + len, head, sizeof head);
        len += (uint32_t)sizeof head;
    }
    t->stamp_at = len;
    if (with_stamp) {
        len += TIMESTAMP_LEN;
        out[len++] = ' ';
    }
    t->text_at = len;
    line_fill(&g->spec, slice_str(g->name), stream, 0, 0, bytes, out + len);
    t->number_at = len + (uint32_t)(strlen(g->name) + strlen("c= s=o n="));
    padding_fill(gen_padding(&g->spec), t->number_at - len, NUMBER_DIGITS + 1, t->text);
    len += bytes;
    if (g->tty)
        out[len++] = '\r';
    out[len++] = '\n';
    if (chunked) {
        out[len++] = '\r';
        out[len++] = '\n';
    }
    t->len = len;
    return 0;
}

void template_finish(struct template *t)
{
    free(t->data);
    free(t->text);
    *t = (struct template){0};
}

void template_set(struct template *t, uint64_t line, int64_t ts_ns)
{
    char *number = t->data + t->number_at;

    memcpy(number, t->text, NUMBER_DIGITS + 1);
    number[number_format(number, line)] = ' ';
    if (t->with_stamp) {
        int64_t second = ts_ns / NSEC_PER_SEC;

        if (second != t->stamp_s) {
            timestamp_format(t->data + t->stamp_at, ts_ns);
            t->stamp_s = second;
        } else {
            char *fraction = t->data + t->stamp_at + 20;
            uint32_t ns = (uint32_t)(ts_ns % NSEC_PER_SEC);

            for (int i = 8; i >= 0; i--, ns /= 10)
                fraction[i] = (char)('0' + ns % 10);
        }
    }
}

size_t sim_generated_line(const struct sim_generator *spec, const char *name, uint64_t n, char *out,
                          size_t size)
{
    struct sim_generator g = gen_normalize(spec, name);
    size_t len = gen_is_long(&g, n) ? g.long_bytes : g.line_bytes;

    line_fill(&g, slice_str(name), spec_stream_of(&g, n), n, 0, MIN(len, size), out);
    return len;
}

int sim_generated_parse(struct slice line, struct slice *ret_name, enum sim_stream *ret_stream,
                        uint64_t *ret_n)
{
    const char *mark, *at, *end = line.data + line.len;
    uint64_t n = 0;

    if (line.len < 2 || memcmp(line.data, "c=", 2) != 0)
        return -EINVAL;
    mark = memmem(line.data, line.len, " s=", 3);
    if (!mark || end - mark < 9 || (mark[3] != 'o' && mark[3] != 'e') ||
        memcmp(mark + 4, " n=", 3) != 0)
        return -EINVAL;
    for (at = mark + 7; at < end && *at >= '0' && *at <= '9'; at++) {
        if (at - mark - 7 >= 19)
            return -EINVAL;
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (at == mark + 7 || at == end || *at != ' ')
        return -EINVAL;
    *ret_name = slice_of(line.data + 2, (size_t)(mark - line.data) - 2);
    *ret_stream = mark[3] == 'e' ? SIM_STDERR : SIM_STDOUT;
    *ret_n = n;
    return 0;
}
