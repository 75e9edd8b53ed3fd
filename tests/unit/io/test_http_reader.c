/*
 * io/http_reader.h with every recorded reply, whole and cut in every way. What has to come out is
 * found by a reader of the test's own, which sees the whole reply at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ringtail/base/macros.h"
#include "ringtail/io/http_reader.h"

#define HEAD_BYTES_MAX 16384
#define CHUNKS_MAX 4096

/* A run of body bytes as it lies in the reply. */
struct run {
    size_t at, len;
};

/* What a reply says, by offsets. */
struct wire {
    unsigned status;
    char content_type[64], api_version[16];
    bool chunked, until_close, complete;
    size_t head_bytes;
    struct run runs[CHUNKS_MAX];
    size_t runs_count;
};

struct fixture {
    char *path;
    char *bytes;
    size_t len;
    struct wire wire;
};

/* Follows the reading of one reply, and compares each call with what has to come. */
struct follower {
    struct http_reader reader;
    const struct fixture *fixture;
    bool want_chunks;
    const char *piece; /* the piece that is being fed, and its place in the reply */
    size_t piece_at;
    unsigned heads;
    size_t run, in_run; /* where the next body byte is */
    bool ended_run;     /* the last run is complete, its HTTP_CHUNK_END has not come */
};

static struct fixture *fixtures;
static size_t fixtures_count;

/* ---- the test's own reading ---- */

static void wire_header(struct wire *wire, const char *line, size_t len, long *length)
{
    static const char type[] = "Content-Type: ", version[] = "Api-Version: ",
                      encoding[] = "Transfer-Encoding: chunked", size[] = "Content-Length: ";

    if (strncasecmp(line, type, sizeof type - 1) == 0)
        snprintf(wire->content_type, sizeof wire->content_type, "%.*s",
                 (int)(len - sizeof type + 1), line + sizeof type - 1);
    else if (strncasecmp(line, version, sizeof version - 1) == 0)
        snprintf(wire->api_version, sizeof wire->api_version, "%.*s",
                 (int)(len - sizeof version + 1), line + sizeof version - 1);
    else if (strncasecmp(line, encoding, sizeof encoding - 1) == 0)
        wire->chunked = true;
    else if (strncasecmp(line, size, sizeof size - 1) == 0)
        *length = strtol(line + sizeof size - 1, NULL, 10);
}

static void wire_add(struct wire *wire, size_t at, size_t len)
{
    assert_true(wire->runs_count < CHUNKS_MAX);
    wire->runs[wire->runs_count++] = (struct run){.at = at, .len = len};
}

static void wire_read(struct wire *wire, const char *bytes, size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    long length = -1;
    size_t at;

    *wire = (struct wire){0};
    assert_non_null(end);
    wire->head_bytes = (size_t)(end - bytes) + 4;
    wire->status = (unsigned)strtoul(bytes + strlen("HTTP/1.1 "), NULL, 10);
    for (const char *line = bytes; line < end;) {
        const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);

        wire_header(wire, line, (size_t)(next - line), &length);
        line = next + 2;
    }

    at = wire->head_bytes;
    if (!wire->chunked) {
        wire->until_close = length < 0;
        wire->complete = wire->until_close || len - at >= (size_t)length;
        if (len > at)
            wire_add(wire, at, len - at);
        return;
    }
    while (at < len) {
        char *line_end = NULL;
        size_t size = strtoul(bytes + at, &line_end, 16);

        assert_memory_equal("\r\n", line_end, 2);
        at = (size_t)(line_end - bytes) + 2;
        if (size == 0) {
            wire->complete = true;
            return;
        }
        wire_add(wire, at, MIN(size, len - at));
        at += size + 2;
    }
}

static int load_fixtures(void **state)
{
    glob_t found = {0};

    assert_int_equal(0, glob(FIXTURES_DIR "/*/*.http", 0, NULL, &found));
    fixtures_count = found.gl_pathc;
    fixtures = calloc(fixtures_count, sizeof *fixtures);
    assert_non_null(fixtures);
    for (size_t i = 0; i < fixtures_count; i++) {
        struct fixture *f = &fixtures[i];
        FILE *file = fopen(found.gl_pathv[i], "re");
        size_t size = 0;

        assert_non_null(file);
        f->path = strdup(found.gl_pathv[i]);
        assert_true(getdelim(&f->bytes, &size, EOF, file) > 0);
        f->len = (size_t)ftell(file);
        (void)fclose(file);
        wire_read(&f->wire, f->bytes, f->len);
    }
    globfree(&found);
    return 0;
}

static int free_fixtures(void **state)
{
    for (size_t i = 0; i < fixtures_count; i++) {
        free(fixtures[i].path);
        free(fixtures[i].bytes);
    }
    free(fixtures);
    return 0;
}

/* ---- following ---- */

/* cmocka's own comparisons cost too much for something that happens a hundred million times. */
#define HOLDS(follower, condition)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: run %zu, piece at %zu: not true: %s", (follower)->fixture->path,         \
                     (follower)->run, (follower)->piece_at, #condition);                           \
    } while (0)

static int follow_head(void *ctx, const struct http_head *head)
{
    struct follower *f = ctx;
    const struct wire *wire = &f->fixture->wire;

    f->heads++;
    HOLDS(f, head->status == wire->status);
    HOLDS(f, slice_eq_str(head->content_type, wire->content_type));
    HOLDS(f, slice_eq_str(head->api_version, wire->api_version));
    return 0;
}

static int follow_body(void *ctx, struct slice span, unsigned flags)
{
    struct follower *f = ctx;
    const struct wire *wire = &f->fixture->wire;
    const struct run *run = &wire->runs[f->run];
    bool tells = f->want_chunks && wire->chunked;
    size_t at;

    HOLDS(f, f->heads == 1);
    if (flags & HTTP_CHUNK_END) {
        HOLDS(f, tells && f->ended_run && span.len == 0 && flags == HTTP_CHUNK_END);
        f->ended_run = false;
        return 0;
    }
    HOLDS(f, !f->ended_run);
    HOLDS(f, f->run < wire->runs_count && span.len > 0);
    HOLDS(f, flags == (tells && f->in_run == 0 ? HTTP_CHUNK_BEGIN : 0));
    at = f->piece_at + (size_t)(span.data - f->piece);
    HOLDS(f, at == run->at + f->in_run);
    HOLDS(f, span.len <= run->len - f->in_run);
    f->in_run += span.len;
    if (f->in_run == run->len) {
        f->run++;
        f->in_run = 0;
        f->ended_run = tells;
    }
    return 0;
}

static const struct http_reader_handlers follow_handlers = {
    .on_head = follow_head,
    .on_body = follow_body,
};

static void follow(struct follower *f, const struct fixture *fixture, bool want_chunks)
{
    *f = (struct follower){.fixture = fixture, .want_chunks = want_chunks};
    http_reader_init(&f->reader, &follow_handlers, f, HEAD_BYTES_MAX, want_chunks);
}

/* `bytes` are the reply's from `at` on, where they lie or in a copy. */
static void feed_piece(struct follower *f, const char *bytes, size_t at, size_t len)
{
    f->piece = bytes;
    f->piece_at = at;
    HOLDS(f, http_reader_feed(&f->reader, slice_of(bytes, len)) == 0);
}

static void feed_in_place(struct follower *f, size_t from, size_t to)
{
    feed_piece(f, f->fixture->bytes + from, from, to - from);
}

static void assert_all_came(struct follower *f)
{
    const struct wire *wire = &f->fixture->wire;
    bool cut_chunk = f->ended_run; /* the recording ends behind a chunk's bytes, before its end */

    HOLDS(f, f->heads == 1);
    HOLDS(f, f->run == wire->runs_count || (f->run + 1 == wire->runs_count && !wire->complete));
    HOLDS(f, !cut_chunk || !wire->complete);
    HOLDS(f, http_reader_is_complete(&f->reader) == (wire->complete && !wire->until_close));
    HOLDS(f, http_reader_finish(&f->reader) == (wire->complete ? 0 : -ECONNRESET));
}

static void test_recorded_replies_are_read_whole(void **state)
{
    struct follower f;

    assert_true(fixtures_count >= 100);
    for (size_t i = 0; i < fixtures_count; i++)
        for (int want_chunks = 0; want_chunks < 2; want_chunks++) {
            follow(&f, &fixtures[i], want_chunks);
            feed_in_place(&f, 0, fixtures[i].len);
            assert_all_came(&f);
        }
}

static void test_every_cut_gives_the_same_head_and_body(void **state)
{
    struct follower f;

    for (size_t i = 0; i < fixtures_count; i++)
        for (size_t cut = 0; cut <= fixtures[i].len; cut++) {
            follow(&f, &fixtures[i], cut % 2);
            feed_in_place(&f, 0, cut);
            feed_in_place(&f, cut, fixtures[i].len);
            assert_all_came(&f);
        }
}

static void test_single_bytes_give_the_same_head_and_body(void **state)
{
    struct follower f;

    for (size_t i = 0; i < fixtures_count; i++)
        for (int want_chunks = 0; want_chunks < 2; want_chunks++) {
            /* One byte, and nothing behind it: reading further would be seen. */
            char *byte = malloc(1);

            assert_non_null(byte);
            follow(&f, &fixtures[i], want_chunks);
            for (size_t at = 0; at < fixtures[i].len; at++) {
                *byte = fixtures[i].bytes[at];
                feed_piece(&f, byte, at, 1);
            }
            assert_all_came(&f);
            free(byte);
        }
}

static void test_a_recording_cut_short_is_incomplete(void **state)
{
    for (size_t i = 0; i < fixtures_count; i++) {
        const struct wire *wire = &fixtures[i].wire;
        size_t least = wire->until_close ? wire->head_bytes : fixtures[i].len;
        struct follower f;

        for (size_t len = 0; len < least && wire->complete; len += len < 2000 ? 1 : 509) {
            follow(&f, &fixtures[i], false);
            feed_in_place(&f, 0, len);
            HOLDS(&f, !http_reader_is_complete(&f.reader));
            HOLDS(&f, http_reader_finish(&f.reader) == -ECONNRESET);
        }
    }
}

/* ---- made-up replies ---- */

struct taken {
    unsigned heads;
    struct http_reader reader;
    int head_returns, body_returns;
    unsigned stop_at_span; /* 0: never; 1: from the head */
    unsigned spans;
    char body[256];
    size_t body_len;
    char content_type[80], api_version[40];
};

static int taken_head(void *ctx, const struct http_head *head)
{
    struct taken *t = ctx;

    t->heads++;
    snprintf(t->content_type, sizeof t->content_type, "%.*s", (int)head->content_type.len,
             head->content_type.data);
    snprintf(t->api_version, sizeof t->api_version, "%.*s", (int)head->api_version.len,
             head->api_version.data);
    if (t->stop_at_span == 1)
        http_reader_stop(&t->reader);
    return t->head_returns;
}

static int taken_body(void *ctx, struct slice span, unsigned flags)
{
    struct taken *t = ctx;

    assert_true(t->body_len + span.len + 2 < sizeof t->body);
    if (flags & HTTP_CHUNK_BEGIN)
        t->body[t->body_len++] = '<';
    if (span.len > 0)
        memcpy(t->body + t->body_len, span.data, span.len);
    t->body_len += span.len;
    if (flags & HTTP_CHUNK_END)
        t->body[t->body_len++] = '>';
    t->body[t->body_len] = '\0';
    t->spans++;
    if (t->stop_at_span > 1 && t->spans == t->stop_at_span - 1)
        http_reader_stop(&t->reader);
    return t->body_returns;
}

static const struct http_reader_handlers taken_handlers = {
    .on_head = taken_head,
    .on_body = taken_body,
};

static int take(struct taken *t, const char *text, bool want_chunks, size_t head_bytes_max)
{
    http_reader_init(&t->reader, &taken_handlers, t, head_bytes_max, want_chunks);
    return http_reader_feed(&t->reader, slice_str(text));
}

#define CHUNKED_HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static void test_chunk_boundaries_are_told_as_they_are_on_the_wire(void **state)
{
    struct taken t = {0}, untold = {0};
    const char *reply = CHUNKED_HEAD "2\r\nab\r\n1;ext=1\r\nc\r\n0000a\r\n0123456789\r\n0\r\n\r\n";

    assert_int_equal(0, take(&t, reply, true, 1000));
    assert_string_equal("<ab><c><0123456789>", t.body);
    assert_true(http_reader_is_complete(&t.reader));
    assert_int_equal(0, take(&untold, reply, false, 1000));
    assert_string_equal("abc0123456789", untold.body);
}

static void test_a_body_without_bytes_has_no_chunks(void **state)
{
    struct taken t = {0};

    assert_int_equal(0, take(&t, CHUNKED_HEAD "0\r\n\r\n", true, 1000));
    assert_int_equal(0, t.spans);
    assert_true(http_reader_is_complete(&t.reader));
}

static void test_trailers_are_read_over(void **state)
{
    struct taken t = {0};

    assert_int_equal(
        0,
        take(&t, CHUNKED_HEAD "1\r\na\r\n0\r\nContent-Type: late\r\nX: y\r\n\r\nmore", true, 1000));
    assert_string_equal("<a>", t.body);
    assert_true(http_reader_is_complete(&t.reader));
    assert_int_equal(1, t.heads);
}

static void test_a_head_is_taken_up_to_its_bound_and_not_beyond(void **state)
{
    const char *reply = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    size_t head = strlen(reply) - 1;

    for (size_t bound = 0; bound < head + 5; bound++)
        for (size_t cut = 0; cut <= head; cut++) {
            struct taken t = {0};
            int r;

            http_reader_init(&t.reader, &taken_handlers, &t, bound, false);
            r = http_reader_feed(&t.reader, slice_of(reply, cut));
            if (r == 0)
                r = http_reader_feed(&t.reader, slice_str(reply + cut));
            assert_int_equal(bound >= head ? 0 : -EMSGSIZE, r);
            assert_int_equal(bound >= head ? 1 : 0, t.heads);
        }
}

static void test_long_headers_are_cut_and_never_overrun(void **state)
{
    char reply[1024];
    struct taken t = {0};

    snprintf(reply, sizeof reply,
             "HTTP/1.1 200 OK\r\nApi-Versioned: 9\r\nContent-Typewriter-Of-A-Long-Name: no\r\n"
             "API-VERSION: %0*d\r\ncontent-type: %0*d\r\nContent-Length: 0\r\n\r\n",
             100, 7, 200, 7);
    assert_int_equal(0, take(&t, reply, false, 1000));
    assert_int_equal(16, strspn(t.api_version, "0"));
    assert_int_equal(64, strspn(t.content_type, "0"));
    assert_int_equal(16, strlen(t.api_version));
    assert_int_equal(64, strlen(t.content_type));
}

static void test_what_is_not_http_is_refused_with_a_reason(void **state)
{
    static const char *const replies[] = {
        "\x16\x03\x01\x02",
        "SSH-2.0-x\r\n",
        "GET / HTTP/1.1\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        CHUNKED_HEAD "xyz\r\n",
        CHUNKED_HEAD "1\r\nab",
        CHUNKED_HEAD "ffffffffffffffffff\r\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
        struct taken t = {0};

        assert_int_equal(-EBADMSG, take(&t, replies[i], i % 2, 1000));
        assert_false(http_reader_is_complete(&t.reader));
        assert_true(strlen(http_reader_error(&t.reader)) > 0);
        assert_int_equal(-ECONNRESET, http_reader_finish(&t.reader));
    }
}

static void test_what_a_handler_returns_ends_the_reading(void **state)
{
    struct taken head = {.head_returns = -EPROTO}, body = {.body_returns = -EOVERFLOW};

    assert_int_equal(-EPROTO, take(&head, CHUNKED_HEAD "1\r\na\r\n0\r\n\r\n", true, 1000));
    assert_int_equal(0, head.spans);
    assert_int_equal(-EOVERFLOW,
                     take(&body, CHUNKED_HEAD "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", true, 1000));
    assert_string_equal("<a", body.body);
}

static void test_after_a_stop_no_handler_runs(void **state)
{
    const char *reply = CHUNKED_HEAD "1\r\na\r\n1\r\nb\r\n0\r\n\r\n";

    for (unsigned at = 1; at <= 5; at++) {
        struct taken t = {.stop_at_span = at};

        assert_int_equal(0, take(&t, reply, true, 1000));
        assert_int_equal(at - 1, t.spans);
        assert_int_equal(0, http_reader_feed(&t.reader, slice_str("1\r\nc\r\n")));
        assert_int_equal(at - 1, t.spans);
        assert_false(http_reader_is_complete(&t.reader));
        assert_int_equal(-ECONNRESET, http_reader_finish(&t.reader));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_replies_are_read_whole),
        {.name = "S24 every cut gives the same head and body",
         .test_func = test_every_cut_gives_the_same_head_and_body},
        {.name = "S24 single bytes give the same head and body",
         .test_func = test_single_bytes_give_the_same_head_and_body},
        cmocka_unit_test(test_a_recording_cut_short_is_incomplete),
        cmocka_unit_test(test_chunk_boundaries_are_told_as_they_are_on_the_wire),
        cmocka_unit_test(test_a_body_without_bytes_has_no_chunks),
        cmocka_unit_test(test_trailers_are_read_over),
        cmocka_unit_test(test_a_head_is_taken_up_to_its_bound_and_not_beyond),
        cmocka_unit_test(test_long_headers_are_cut_and_never_overrun),
        cmocka_unit_test(test_what_is_not_http_is_refused_with_a_reason),
        cmocka_unit_test(test_what_a_handler_returns_ends_the_reading),
        cmocka_unit_test(test_after_a_stop_no_handler_runs),
    };

    return cmocka_run_group_tests(tests, load_fixtures, free_fixtures);
}
