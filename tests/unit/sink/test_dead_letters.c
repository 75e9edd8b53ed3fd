/* The dead letters: what is written, when a letter is done, and what a reader makes of the file. */
#include "ringtail/sink/dead_letters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/record/ndjson.h"
#include "support/fake_ring.h"
#include "sink_fixture.h"

enum { LETTERS_MOST = 400 };

struct fixture {
    struct sink_fixture s;
    struct dead_letters *d;
    struct source *source;
    struct batch *batch;
    struct dead_letter letters[LETTERS_MOST];
    size_t added, done, cancelled;
    size_t order[LETTERS_MOST]; /* in which they were done */
    bool closed;
    void (*on_done)(struct fixture *f, size_t n);

    /* What a reader has seen. */
    uint64_t seen[LETTERS_MOST];
    size_t seen_count;
    unsigned stop_after;
};

static struct fixture *fixture_of; /* the one at hand, for callbacks that carry no context */

static bool say_nothing(void *ctx, struct slice line)
{
    (void)ctx;
    (void)line;
    return true;
}

static void open_how(struct fixture *f, int64_t bytes_max, int64_t keep, bool sync)
{
    memset(f, 0, sizeof *f);
    fixture_of = f;
    log_set_writer(say_nothing, NULL);
    sink_fixture_open(&f->s, fake_ring_create());
    f->source = test_source("web");
    f->batch = test_batch(&f->s);
    assert_int_equal(0, dead_letters_create(f->s.ring,
                                            &(struct dead_letters_options){
                                                .path = test_path(&f->s, "dead/letters"),
                                                .bytes_max = bytes_max,
                                                .keep = keep,
                                                .retry_ms = 1000,
                                                .sync = sync,
                                            },
                                            &f->d));
    /* The records do not move while letters point at them. */
    for (uint64_t n = 0; n < LETTERS_MOST; n++) {
        test_line(f->batch, f->source, n, 30, NULL);
        f->batch->records[n].ordinal = (uint16_t)(n * 409);
    }
}

static void open_letters(struct fixture *f, int64_t bytes_max, int64_t keep)
{
    open_how(f, bytes_max, keep, false);
}

static void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->closed = true;
}

static void finish(struct fixture *f)
{
    struct ring *ring = f->s.ring;

    assert_int_equal(0, dead_letters_stats(f->d)->waiting);
    f->d = dead_letters_destroy(f->d);
    (void)batch_unref(f->batch);
    (void)source_unref(f->source);
    sink_fixture_close(&f->s);
    log_set_writer(NULL, NULL);
    fake_ring_destroy(ring);
}

static void close_letters(struct fixture *f)
{
    dead_letters_close(f->d, on_closed, f);
    assert_false(f->closed);
    fake_ring_run(f->s.ring);
    assert_true(f->closed);
    finish(f);
}

static void letter_done(struct dead_letter *letter, int res)
{
    struct fixture *f = fixture_of;
    size_t n = (size_t)(letter - f->letters);

    assert_true(n < f->added);
    if (res == 0) {
        f->order[f->done++] = n;
    } else {
        assert_int_equal(-ECANCELED, res);
        f->cancelled++;
    }
    if (f->on_done)
        f->on_done(f, n);
}

static void add(struct fixture *f, size_t count)
{
    for (; count > 0; count--) {
        size_t n = f->added++;

        f->letters[n] = (struct dead_letter){
            .record = &f->batch->records[n],
            .sink = "far",
            .reason = "bad \"thing\"\n\xff",
            .status = 400,
            .done = letter_done,
        };
        dead_letters_add(f->d, &f->letters[n]);
    }
}

static int see(void *ctx, const struct dead_letter_line *line)
{
    struct fixture *f = ctx;
    const struct record *r;
    uint64_t n;

    assert_true(f->seen_count < LETTERS_MOST);
    n = strtoull(line->line.data + 5, NULL, 10);
    assert_true(n < LETTERS_MOST);
    r = &f->batch->records[n];
    f->seen[f->seen_count++] = n;
    assert_true(slice_eq(slice_of(r->data, r->len), line->line));
    assert_int_equal(r->ts_ns, line->ts_ns);
    assert_int_equal(r->stream, line->stream);
    assert_int_equal(r->ordinal, line->ordinal);
    assert_int_equal(0, line->flags);
    assert_true(slice_eq(f->source->id, line->container_id));
    assert_true(slice_eq_str(line->container_name, "web"));
    assert_true(slice_eq_str(line->image, "image:1"));
    assert_true(slice_eq_str(line->sink, "far"));
    assert_true(slice_eq_str(line->reason, "bad \"thing\"\n\xef\xbf\xbd"));
    assert_int_equal(400, line->status);
    assert_in_range(line->dead_at_ns, clock_wall_ns() - 600 * NSEC_PER_SEC, clock_wall_ns());
    return f->stop_after && f->seen_count == f->stop_after ? 7 : 0;
}

static struct dead_letters_found read_all(struct fixture *f)
{
    struct dead_letters_found found;

    f->seen_count = 0;
    assert_int_equal(0, dead_letters_read(test_path(&f->s, "dead/letters"), 100, see, f, &found));
    assert_int_equal(found.lines, f->seen_count);
    return found;
}

/** The letters from `first` on to the last one, in order. */
static void expect_seen(struct fixture *f, uint64_t first)
{
    assert_int_equal(f->added - first, f->seen_count);
    for (size_t i = 0; i < f->seen_count; i++)
        assert_int_equal(first + i, f->seen[i]);
}

static void test_a_line_is_the_records_own_with_who_refused_it_behind(void **state)
{
    struct fixture f;
    struct buf own = {0}, got = {0};
    struct stat st;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    add(&f, 1);
    assert_int_equal(0, f.done);
    fake_ring_run(f.s.ring);
    assert_int_equal(1, f.done);
    assert_int_equal(0, ndjson_append(&own, &f.batch->records[0]));
    assert_true(test_read_file(test_path(&f.s, "dead/letters"), &got));
    own.len -= 2;
    assert_true(got.len > own.len);
    assert_memory_equal(own.data, got.data, own.len);
    assert_non_null(buf_cstr(&got));
    assert_ptr_equal(got.data + own.len,
                     strstr(got.data, ",\"ordinal\":0,\"sink\":\"far\",\"status\":400,\"reason\":"
                                      "\"bad \\\"thing\\\"\\n\xef\xbf\xbd\","
                                      "\"dead_at\":\"2"));
    assert_string_equal("Z\"}\n", got.data + got.len - 4);
    assert_int_equal(0, stat(test_path(&f.s, "dead/letters"), &st));
    assert_int_equal(0600, st.st_mode & 07777);
    assert_int_equal(0, stat(test_path(&f.s, "dead"), &st));
    assert_int_equal(0700, st.st_mode & 07777);
    assert_int_equal(0, read_all(&f).damaged);
    expect_seen(&f, 0);
    /* Nothing is left open, so the file may be taken away. */
    assert_int_equal(0, fake_ring_open_fds(f.s.ring));
    assert_int_equal(0, unlink(test_path(&f.s, "dead/letters")));
    add(&f, 3);
    fake_ring_run(f.s.ring);
    (void)read_all(&f);
    expect_seen(&f, 1);
    assert_int_equal(4, dead_letters_stats(f.d)->written);
    buf_finish(&own);
    buf_finish(&got);
    close_letters(&f);
}

static void test_letters_are_done_in_order_through_short_writes(void **state)
{
    (void)state;
    for (size_t limit = 1; limit < 2000; limit = limit * 3 + 1) {
        struct fixture f;

        open_letters(&f, 1 << 20, 1);
        fake_ring_limit_writes(f.s.ring, limit);
        for (size_t n = 0; n < 20; n++) {
            add(&f, n % 4);
            for (size_t i = 0; i < n; i++)
                (void)fake_ring_step(f.s.ring);
        }
        fake_ring_run(f.s.ring);
        assert_int_equal(f.added, f.done);
        for (size_t n = 0; n < f.done; n++)
            assert_int_equal(n, f.order[n]);
        assert_int_equal(0, read_all(&f).damaged);
        expect_seen(&f, 0);
        close_letters(&f);
    }
}

static void test_a_letter_is_done_only_when_its_whole_line_is_written(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    add(&f, 2);
    fake_ring_limit_writes(f.s.ring, 100); /* less than a line */
    while (fake_ring_started(f.s.ring, OP_WRITE) < 3)
        assert_true(fake_ring_step(f.s.ring));
    assert_int_equal(0, f.done);
    fake_ring_run(f.s.ring);
    assert_int_equal(2, f.done);
    close_letters(&f);
}

static void test_a_letter_is_done_only_when_it_is_synced_if_that_is_asked_for(void **state)
{
    struct fixture f;

    (void)state;
    open_how(&f, 3000, 100, true);
    add(&f, 20);
    fake_ring_limit_writes(f.s.ring, 1000); /* some lines */
    while (fake_ring_started(f.s.ring, OP_FSYNC) == 0) {
        assert_int_equal(0, f.done);
        assert_true(fake_ring_step(f.s.ring));
    }
    assert_true(fake_ring_step(f.s.ring));
    assert_in_range(f.done, 1, 19);
    fake_ring_run(f.s.ring);
    assert_int_equal(20, f.done);
    /* Nothing was synced together with what came after a rotation. */
    assert_int_equal(dead_letters_stats(f.d)->rotated + 1, fake_ring_started(f.s.ring, OP_FSYNC));

    /* What could not be synced is written again, and is done when that has been. */
    fake_ring_fail(f.s.ring, OP_FSYNC, -EIO, 0, 2);
    add(&f, 3);
    fake_ring_run(f.s.ring);
    assert_int_equal(20, f.done);
    assert_int_equal(-EIO, dead_letters_stats(f.d)->last_error);
    fake_ring_advance(f.s.ring, 5000);
    assert_int_equal(23, f.done);
    assert_int_equal(0, dead_letters_stats(f.d)->last_error);
    assert_int_equal(2, dead_letters_stats(f.d)->errors);
    assert_int_equal(0, read_all(&f).damaged);
    assert_in_range(f.seen_count, 24, 29); /* a rotation may have come between the three */
    /* A file that can't be synced is as good as it gets. */
    fake_ring_fail(f.s.ring, OP_FSYNC, -EINVAL, 0, 1);
    add(&f, 1);
    fake_ring_run(f.s.ring);
    assert_int_equal(24, f.done);
    close_letters(&f);
}

static void test_every_operation_may_fail(void **state)
{
    static const enum op_kind kinds[] = {OP_OPEN, OP_MKDIR, OP_STATX, OP_READ, OP_WRITE, OP_RENAME};
    static const int errors[] = {-ENOSPC, -EIO, -ENOMEM};

    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (unsigned skip = 0; skip < 6; skip++) {
            struct fixture f;
            struct dead_letters_found found;

            open_letters(&f, 2000, 100);
            fake_ring_fail(f.s.ring, kinds[k], errors[skip % 3], skip, 3);
            for (size_t n = 0; n < 10; n++) {
                add(&f, 5);
                fake_ring_limit_writes(f.s.ring, 310);
                fake_ring_advance(f.s.ring, 100);
            }
            fake_ring_advance(f.s.ring, 5000);
            assert_int_equal(50, f.done);
            for (size_t n = 0; n < f.done; n++)
                assert_int_equal(n, f.order[n]);
            found = read_all(&f);
            expect_seen(&f, 0);
            if (kinds[k] != OP_WRITE)
                assert_int_equal(0, found.damaged);
            assert_true(found.damaged <= 3);
            assert_int_equal(0, dead_letters_stats(f.d)->last_error);
            assert_int_equal(50, dead_letters_stats(f.d)->written);
            close_letters(&f);
        }
    }
}

static void test_a_torn_line_is_followed_by_a_new_one(void **state)
{
    struct fixture f;
    struct dead_letters_found found;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    assert_int_equal(0, mkdir(test_path(&f.s, "dead"), 0700));
    test_write_file(test_path(&f.s, "dead/letters"), "{\"ts\":\"2026-11");
    add(&f, 2);
    fake_ring_run(f.s.ring);
    found = read_all(&f);
    expect_seen(&f, 0);
    assert_int_equal(1, found.damaged);
    /* A disk that is full in the middle of a line. */
    fake_ring_limit_writes(f.s.ring, 500); /* a line and a part of one */
    fake_ring_fail(f.s.ring, OP_WRITE, -ENOSPC, 1, 2);
    add(&f, 3);
    fake_ring_advance(f.s.ring, 1);
    assert_int_equal(3, f.done);
    fake_ring_advance(f.s.ring, 5000);
    assert_int_equal(5, f.done);
    found = read_all(&f);
    expect_seen(&f, 0);
    assert_int_equal(2, found.damaged);
    assert_int_equal(2, dead_letters_stats(f.d)->errors);
    close_letters(&f);
}

static void test_the_file_is_rotated_at_its_bound(void **state)
{
    struct fixture f;
    uint64_t kept;

    (void)state;
    open_letters(&f, 2000, 3);
    for (unsigned n = 0; n < 50; n++) {
        add(&f, 4);
        fake_ring_run(f.s.ring);
    }
    assert_int_equal(200, f.done);
    for (unsigned n = 0; n <= 3; n++) {
        struct stat st;
        char name[32];

        (void)snprintf(name, sizeof name, n ? "dead/letters.%u" : "dead/letters", n);
        assert_int_equal(0, stat(test_path(&f.s, "%s", name), &st));
        assert_in_range(st.st_size, 1, 2000);
    }
    assert_int_equal(4, test_count_files(f.s.dir));
    assert_int_equal(0, read_all(&f).damaged);
    kept = f.seen_count;
    assert_true(kept > 10);
    expect_seen(&f, 200 - kept);
    assert_int_equal(dead_letters_stats(f.d)->rotated - 3, dead_letters_stats(f.d)->deleted);
    assert_true(dead_letters_stats(f.d)->deleted_bytes >
                dead_letters_stats(f.d)->deleted * UINT64_C(1000));
    close_letters(&f);
}

static void test_a_line_longer_than_the_bound_has_a_file_to_itself(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 100, 100);
    add(&f, 5);
    fake_ring_run(f.s.ring);
    assert_int_equal(5, f.done);
    assert_int_equal(5, test_count_files(f.s.dir));
    (void)read_all(&f);
    expect_seen(&f, 0);
    close_letters(&f);
}

static void test_no_symlink_or_fifo_is_written_to(void **state)
{
    struct fixture f;
    struct buf nothing = {0};

    (void)state;
    open_letters(&f, 1 << 20, 1);
    assert_int_equal(0, mkdir(test_path(&f.s, "dead"), 0700));
    test_write_file(test_path(&f.s, "victim"), "");
    assert_int_equal(0, symlink("../victim", test_path(&f.s, "dead/letters")));
    add(&f, 1);
    fake_ring_run(f.s.ring);
    assert_int_equal(-ELOOP, dead_letters_stats(f.d)->last_error);
    assert_int_equal(-ELOOP, dead_letters_read(test_path(&f.s, "dead/letters"), 1, see, &f, NULL));
    test_expect_file(test_path(&f.s, "victim"), &nothing);
    assert_int_equal(0, unlink(test_path(&f.s, "dead/letters")));
    assert_int_equal(0, mkfifo(test_path(&f.s, "dead/letters"), 0600));
    fake_ring_advance(f.s.ring, 1000);
    assert_int_equal(-ENOTSUP, dead_letters_stats(f.d)->last_error);
    assert_int_equal(-ENOTSUP,
                     dead_letters_read(test_path(&f.s, "dead/letters"), 1, see, &f, NULL));
    assert_int_equal(0, f.done);
    assert_int_equal(0, unlink(test_path(&f.s, "dead/letters")));
    fake_ring_advance(f.s.ring, 1000);
    assert_int_equal(1, f.done);
    (void)read_all(&f);
    expect_seen(&f, 0);
    close_letters(&f);
}

static void test_a_letter_that_is_taken_back_is_never_done(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    add(&f, 3);
    /* The file is being opened. */
    assert_true(dead_letters_remove(f.d, &f.letters[1]));
    fake_ring_run(f.s.ring);
    assert_int_equal(2, f.done);
    assert_int_equal(2, f.order[1]);
    /* It is being written: it is done, or cancelled when that fails. */
    for (int n = 0; n < 2; n++) {
        unsigned writes = fake_ring_started(f.s.ring, OP_WRITE);

        add(&f, 2);
        while (fake_ring_started(f.s.ring, OP_WRITE) == writes)
            assert_true(fake_ring_step(f.s.ring));
        if (n == 1)
            fake_ring_fail(f.s.ring, OP_WRITE, -EIO, 0, 1);
        assert_false(dead_letters_remove(f.d, &f.letters[f.added - 1]));
        assert_false(dead_letters_remove(f.d, &f.letters[f.added - 1]));
        fake_ring_advance(f.s.ring, 1000);
        assert_int_equal(n, f.cancelled);
        assert_int_equal(f.added - 1 - (size_t)n, f.done);
    }
    /* The last one is taken back while it waits: nothing is left to wait for. */
    fake_ring_fail(f.s.ring, OP_OPEN, -EMFILE, 0, 1);
    add(&f, 1);
    fake_ring_run(f.s.ring);
    assert_true(dead_letters_remove(f.d, &f.letters[f.added - 1]));
    close_letters(&f);
}

static void test_a_close_that_waits_for_the_disk_ends_with_the_last_letter(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    fake_ring_fail(f.s.ring, OP_OPEN, -EROFS, 0, 100);
    add(&f, 2);
    dead_letters_close(f.d, on_closed, &f);
    fake_ring_advance(f.s.ring, 5500);
    assert_false(f.closed);
    assert_true(dead_letters_remove(f.d, &f.letters[0]));
    fake_ring_run(f.s.ring);
    assert_false(f.closed);
    assert_true(dead_letters_remove(f.d, &f.letters[1]));
    fake_ring_run(f.s.ring);
    assert_true(f.closed);
    finish(&f);
}

static void add_one_more(struct fixture *f, size_t n)
{
    if (n < 100)
        add(f, 1);
}

static void test_letters_may_be_added_when_one_is_done(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 3000, 100);
    f.on_done = add_one_more;
    add(&f, 4);
    fake_ring_run(f.s.ring);
    assert_int_equal(104, f.done);
    (void)read_all(&f);
    expect_seen(&f, 0);
    close_letters(&f);
}

static void test_close_waits_for_what_is_queued(void **state)
{
    struct fixture f;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    add(&f, 50);
    close_letters(&f);
    assert_int_equal(50, f.done);
}

static void test_paths_without_a_name_are_refused(void **state)
{
    static const char *const paths[] = {"", "/", "/var/lib/"};
    struct dead_letters *d;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        assert_int_equal(-EINVAL, dead_letters_create(NULL,
                                                      &(struct dead_letters_options){
                                                          .path = paths[i],
                                                          .bytes_max = 1,
                                                          .keep = 1,
                                                          .retry_ms = 1,
                                                      },
                                                      &d));
}

/* ---- the reader ---- */

#define REFUSAL                                                                                    \
    ",\"sink\":\"s\",\"status\":-1,\"reason\":\"\",\"dead_at\":\"2026-11-20T15:20:01Z\"}"

static int see_any(void *ctx, const struct dead_letter_line *line)
{
    *(struct dead_letter_line *)ctx = *line;
    return 0;
}

static void test_only_whole_letters_are_read(void **state)
{
    static const char *const good[] = {
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\",\"partial\":true" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stderr\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line_b64\":\"/w==\",\"other\":1,"
        "\"ordinal\":65535" REFUSAL "\n\n",
    };
    static const char *const bad[] = {
        "null",
        "[]",
        "{}",
        "{",
        "\xff",
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\"}",
        "{\"ts\":\"yesterday\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\"" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdin\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\"" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line_b64\":\"/\"" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":1,"
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\"" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\",\"status\":9999999999" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\",\"ordinal\":65536" REFUSAL,
        "{\"ts\":\"2026-11-20T15:20:00Z\",\"stream\":\"stdout\",\"container_id\":\"i\","
        "\"container_name\":\"n\",\"image\":\"m\",\"line\":\"\",\"ordinal\":\"1\"" REFUSAL,
    };
    struct dead_letters_found found;
    struct dead_letter_line line;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(0, dead_letters_parse(slice_str(good[i]), see_any, &line, &found));
        assert_int_equal(1, found.lines);
        assert_int_equal(0, found.damaged);
        assert_int_equal(-1, line.status);
        assert_int_equal(i == 0 ? RECORD_STDOUT : RECORD_STDERR, line.stream);
        assert_int_equal(i == 0 ? RECORD_PARTIAL : 0, line.flags);
        assert_int_equal(TEST_TS_NS, line.ts_ns);
        assert_int_equal(TEST_TS_NS + NSEC_PER_SEC, line.dead_at_ns);
        assert_int_equal(i, line.line.len);
        assert_int_equal(i == 0 ? 0 : UINT16_MAX, line.ordinal);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(0, dead_letters_parse(slice_str(bad[i]), see_any, &line, &found));
        assert_int_equal(0, found.lines);
        assert_int_equal(1, found.damaged);
    }
}

static void test_a_file_cut_anywhere_gives_what_is_whole(void **state)
{
    struct fixture f;
    struct buf got = {0};
    char *text;

    (void)state;
    open_letters(&f, 1 << 20, 1);
    add(&f, 3);
    fake_ring_run(f.s.ring);
    assert_true(test_read_file(test_path(&f.s, "dead/letters"), &got));
    for (size_t cut = 0; cut <= got.len; cut++) {
        struct dead_letters_found found;
        size_t whole = 0, begun = 0;

        /* In memory of exactly its size. */
        text = malloc(cut ? cut : 1);
        assert_non_null(text);
        memcpy(text, got.data, cut);
        for (size_t i = 0; i < cut; i++) {
            begun += i == 0 || got.data[i - 1] == '\n';
            /* A line is whole without its newline too. */
            whole += got.data[i] == '\n' || (i + 1 == cut && got.data[cut] == '\n');
        }
        f.seen_count = 0;
        assert_int_equal(0, dead_letters_parse(slice_of(text, cut), see, &f, &found));
        assert_int_equal(whole, found.lines);
        assert_int_equal(begun - whole, found.damaged);
        free(text);
    }
    buf_finish(&got);
    close_letters(&f);
}

static void test_the_reader_stops_when_it_is_told_to(void **state)
{
    struct fixture f;
    struct dead_letters_found found;

    (void)state;
    open_letters(&f, 2000, 10);
    add(&f, 30);
    fake_ring_run(f.s.ring);
    f.stop_after = 17;
    assert_int_equal(7, dead_letters_read(test_path(&f.s, "dead/letters"), 10, see, &f, &found));
    assert_int_equal(17, found.lines);
    /* Only the current file is asked for. */
    f.stop_after = 0;
    f.seen_count = 0;
    assert_int_equal(0, dead_letters_read(test_path(&f.s, "dead/letters"), 0, see, &f, &found));
    assert_int_equal(1, found.files);
    assert_true(found.lines < 10);
    /* None at all is no error. */
    assert_int_equal(0, dead_letters_read(test_path(&f.s, "none"), 3, see, &f, &found));
    assert_int_equal(0, found.files);
    close_letters(&f);
}

static void test_a_file_with_two_names_is_read_once(void **state)
{
    struct fixture f;
    char from[256];

    (void)state;
    open_letters(&f, 1 << 20, 3);
    add(&f, 5);
    fake_ring_run(f.s.ring);
    (void)snprintf(from, sizeof from, "%s", test_path(&f.s, "dead/letters"));
    assert_int_equal(0, link(from, test_path(&f.s, "dead/letters.1")));
    assert_int_equal(1, read_all(&f).files);
    expect_seen(&f, 0);
    close_letters(&f);
}

static void test_lines_longer_than_what_is_read_at_once(void **state)
{
    struct fixture f;
    struct buf got = {0};
    struct dead_letters_found found;
    char *text;

    (void)state;
    open_letters(&f, INT64_C(1) << 30, 1);
    (void)batch_unref(f.batch);
    f.batch = test_batch(&f.s);
    for (uint64_t n = 0; n < 4; n++)
        test_line(f.batch, f.source, n, n % 2 ? 40 : 700000, NULL);
    add(&f, 4);
    fake_ring_run(f.s.ring);
    assert_int_equal(4, f.done);
    assert_int_equal(0, read_all(&f).damaged);
    expect_seen(&f, 0);
    assert_true(test_read_file(test_path(&f.s, "dead/letters"), &got));
    text = got.data;
    f.seen_count = 0;
    assert_int_equal(0, dead_letters_parse(slice_of(text, got.len), see, &f, &found));
    assert_int_equal(4, found.lines);
    buf_finish(&got);
    close_letters(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_the_records_own_with_who_refused_it_behind),
        cmocka_unit_test(test_letters_are_done_in_order_through_short_writes),
        cmocka_unit_test(test_a_letter_is_done_only_when_its_whole_line_is_written),
        cmocka_unit_test(test_a_letter_is_done_only_when_it_is_synced_if_that_is_asked_for),
        cmocka_unit_test(test_every_operation_may_fail),
        cmocka_unit_test(test_a_torn_line_is_followed_by_a_new_one),
        cmocka_unit_test(test_the_file_is_rotated_at_its_bound),
        cmocka_unit_test(test_a_line_longer_than_the_bound_has_a_file_to_itself),
        cmocka_unit_test(test_no_symlink_or_fifo_is_written_to),
        cmocka_unit_test(test_a_letter_that_is_taken_back_is_never_done),
        cmocka_unit_test(test_a_close_that_waits_for_the_disk_ends_with_the_last_letter),
        cmocka_unit_test(test_letters_may_be_added_when_one_is_done),
        cmocka_unit_test(test_close_waits_for_what_is_queued),
        cmocka_unit_test(test_paths_without_a_name_are_refused),
        cmocka_unit_test(test_only_whole_letters_are_read),
        cmocka_unit_test(test_a_file_cut_anywhere_gives_what_is_whole),
        cmocka_unit_test(test_the_reader_stops_when_it_is_told_to),
        cmocka_unit_test(test_a_file_with_two_names_is_read_once),
        cmocka_unit_test(test_lines_longer_than_what_is_read_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
