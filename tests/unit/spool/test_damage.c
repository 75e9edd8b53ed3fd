/* A spool whose files were flipped, cut and torn: it opens, what is whole comes, what isn't is
 * counted. */
#include "ringtail/spool/spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#include "spool/entry.h"
#include "support/fake_ring.h"
#include "spool_fixture.h"

/** A spool as it was left, in memory. */
struct image {
    char names[TEST_FILES_MAX][32];
    struct buf files[TEST_FILES_MAX];
    size_t count;
};

static void run_fake(struct spool_fixture *f, bool (*is_reached)(const struct spool_fixture *f))
{
    fake_ring_run(f->ring);
    for (unsigned i = 0; !is_reached(f); i++) {
        assert_true(i < 10000);
        fake_ring_advance(f->ring, 10);
    }
}

static int setup(void **state)
{
    struct spool_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    spool_fixture_open(f, fake_ring_create());
    f->run = run_fake;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct spool_fixture *f = *state;

    spool_fixture_close(f);
    fake_ring_destroy(f->ring);
    batch_free_kept();
    free(f);
    return 0;
}

static void image_take(struct image *m, const struct spool_fixture *f)
{
    *m = (struct image){0};
    m->count = test_files(f, ".spool", m->names);
    memcpy(m->names[m->count++], "cursors", sizeof "cursors");
    for (size_t i = 0; i < m->count; i++)
        test_read_file(test_path(f, m->names[i]), &m->files[i]);
}

static void image_put(const struct image *m, const struct spool_fixture *f)
{
    char names[TEST_FILES_MAX][32];
    size_t count = test_files(f, ".spool", names);

    for (size_t i = 0; i < count; i++)
        assert_int_equal(0, unlink(test_path(f, names[i])));
    for (size_t i = 0; i < m->count; i++)
        test_write_file(test_path(f, m->names[i]), buf_slice(&m->files[i]));
}

static void image_finish(struct image *m)
{
    for (size_t i = 0; i < m->count; i++)
        buf_finish(&m->files[i]);
}

/** Two lives, so two segments, of records short and long. */
static void make_spool(struct spool_fixture *f, struct image *m)
{
    for (unsigned life = 0; life < 2; life++) {
        test_start(f);
        assert_non_null(test_cursor(f->spool, "a"));
        assert_int_equal(0, test_append(f, 4, 30));
        assert_int_equal(0, test_append_line(f, slice_str("")));
        assert_int_equal(0, test_append(f, 3, 90));
        f->run(f, is_all_done);
        test_stop(f);
    }
    image_take(m, f);
    assert_int_equal(3, m->count);
}

struct outcome {
    size_t came;
    uint64_t lost;
    struct spool_stats stats;
};

static struct outcome read_all(struct spool_fixture *f, size_t bytes_max)
{
    struct outcome o;

    f->damaged = 0;
    test_start(f);
    o.came = test_drain(f, test_cursor(f->spool, "a"), 0, bytes_max);
    o.lost = f->damaged;
    o.stats = *spool_stats_get(f->spool);
    assert_int_equal(o.lost, o.stats.records_damaged);
    test_stop(f);
    return o;
}

static void test_a_flipped_byte_costs_one_record_at_most(void **state)
{
    struct spool_fixture *f = *state;
    struct image m;

    make_spool(f, &m);
    for (size_t file = 0; file < 2; file++) {
        for (size_t at = 0; at < m.files[file].len; at++) {
            for (unsigned k = 0; k < 2; k++) {
                /* 3 is what the magics of a record and of a source differ in. */
                char flip = k == 0 ? 3 : (char)(1 + random_below(&f->random, 255));
                struct outcome o;

                m.files[file].data[at] ^= flip;
                image_put(&m, f);
                o = read_all(f, at % 2 ? 1 : 100000);
                assert_int_equal(f->count, o.came + o.lost);
                assert_true(o.lost <= 1);
                assert_true(o.stats.bytes_damaged + o.stats.bytes_torn > 0);
                m.files[file].data[at] ^= flip;
            }
        }
    }
    image_put(&m, f);
    assert_int_equal(f->count, read_all(f, 1000).came);
    image_finish(&m);
}

/** How many whole records a file has in its first `len` bytes. */
static size_t whole_records(struct slice file, uint64_t begin, size_t len)
{
    struct walk w = {.place = {.at = begin + SEGMENT_HEAD_BYTES}, .limit = begin + file.len};
    struct entry e;
    size_t count = 0;

    for (;;) {
        size_t from = (size_t)(w.place.at - begin);
        enum walk_step step = walk_next(&w, slice_from(file, from), &e);

        if (step == WALK_END || w.place.at - begin > len)
            return count;
        count += step == WALK_RECORD;
    }
}

static void test_what_is_cut_off_is_all_that_is_missing(void **state)
{
    struct spool_fixture *f = *state;
    struct image m;

    make_spool(f, &m);
    for (size_t file = 0; file < 2; file++) {
        size_t whole = m.files[file].len;
        uint64_t begin;

        assert_true(segment_name_parse(m.names[file], &begin));
        for (size_t len = 0; len <= whole; len++) {
            size_t there = whole_records(slice_of(m.files[file].data, whole), begin, len);
            struct outcome o;

            m.files[file].len = len;
            image_put(&m, f);
            o = read_all(f, len % 2 ? 1 : 100000);
            assert_int_equal(f->count / 2 + there, o.came);
            assert_int_equal(f->count, o.came + o.lost);
        }
        m.files[file].len = whole;
    }
    image_finish(&m);
}

/* As after a crash: without what the cursors' file says of the end. */
static void test_a_torn_end_is_cut_off_and_the_next_life_goes_on(void **state)
{
    struct spool_fixture *f = *state;
    struct image m;
    size_t whole;

    make_spool(f, &m);
    whole = m.files[1].len;
    memset(m.files[2].data, 0, 1024);
    for (size_t len = 0; len < whole; len += 3) {
        size_t known = f->count;
        struct spool_stats stats;
        size_t there;

        m.files[1].len = len;
        image_put(&m, f);
        test_start(f);
        stats = *spool_stats_get(f->spool);
        there = (size_t)spool_end(f->spool).record;
        assert_in_range(there, known / 2, known);
        assert_int_equal(m.files[0].len + len, stats.bytes + stats.bytes_torn);
        assert_int_equal(0, test_append(f, 3, 40));
        f->run(f, is_all_done);
        assert_int_equal(there + 3, test_drain(f, test_cursor(f->spool, "a"), 0, 100000));
        assert_int_equal(0, f->damaged);
        test_stop(f);
        while (f->count > known)
            free(f->expected[--f->count].line);
    }
    m.files[1].len = whole;
    image_finish(&m);
}

static void test_places_behind_a_lost_end_are_not_used_again(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_place end;
    struct spool_cursor *a;
    struct image m;

    test_start(f);
    a = test_cursor(f->spool, "a");
    assert_non_null(a);
    assert_int_equal(0, test_append(f, 50, 100));
    f->run(f, is_all_done);
    end = spool_end(f->spool);
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 100000));
    (void)batch_unref(f->read.batch);
    assert_int_equal(end.at, f->read.end.at);
    fake_ring_fail(f->ring, OP_UNLINK, -EPERM, 0, 10);
    spool_cursor_set(a, f->read.end);
    test_stop(f);
    image_take(&m, f);
    assert_int_equal(2, m.count);
    m.files[0].len = 1000; /* a power loss */
    image_put(&m, f);
    image_finish(&m);

    test_start(f);
    assert_int_equal(end.at, spool_end(f->spool).at);
    assert_int_equal(end.record, spool_end(f->spool).record);
    assert_int_equal(0, test_append(f, 5, 100));
    f->run(f, is_all_done);
    assert_int_equal(5, test_drain(f, test_cursor(f->spool, "a"), 50, 1000));
}

static void test_garbage_between_entries_is_passed_over(void **state)
{
    struct spool_fixture *f = *state;
    struct image m;

    make_spool(f, &m);
    for (size_t from = SEGMENT_HEAD_BYTES; from < m.files[0].len; from += 37) {
        struct buf *file = &m.files[0];
        size_t n = MIN((size_t)700, file->len - from);
        char *kept = slice_dup(slice_of(file->data + from, n));
        struct outcome o;

        assert_non_null(kept);
        for (size_t i = 0; i < n; i++)
            file->data[from + i] = (char)random_next(&f->random);
        image_put(&m, f);
        o = read_all(f, 100000);
        assert_int_equal(f->count, o.came + o.lost);
        assert_true(o.stats.bytes_damaged > 0);
        assert_true(o.came >= f->count / 2);
        memcpy(file->data + from, kept, n);
        free(kept);
    }
    image_finish(&m);
}

/* A line that is a copy of a whole entry is not taken for one. */
static void test_a_line_that_looks_like_an_entry_is_none(void **state)
{
    struct spool_fixture *f = *state;
    struct image before, m;
    struct slice entries;
    struct outcome o;
    const char *line;

    make_spool(f, &before);
    entries = slice_from(buf_slice(&before.files[0]), SEGMENT_HEAD_BYTES);
    test_start(f);
    assert_non_null(test_cursor(f->spool, "a"));
    assert_int_equal(0, test_append_line(f, entries));
    assert_int_equal(0, test_append(f, 3, 20));
    f->run(f, is_all_done);
    test_stop(f);
    image_take(&m, f);
    assert_int_equal(4, m.count);
    /* Its own header is damaged, so that a reader looks for the next one inside of it. */
    line = memmem(m.files[2].data, m.files[2].len, entries.data, entries.len);
    assert_non_null(line);
    m.files[2].data[line - m.files[2].data - 1] ^= 1;
    image_put(&m, f);
    o = read_all(f, 100000);
    assert_int_equal(1, o.lost);
    assert_int_equal(f->count - 1, o.came);
    image_finish(&before);
    image_finish(&m);
}

static void test_a_source_without_a_whole_copy_costs_its_records_and_no_others(void **state)
{
    struct spool_fixture *f = *state;
    size_t of_it = 0, from = 0;
    struct slice name;
    struct outcome o;
    struct image m;
    unsigned copies = 0;

    make_spool(f, &m);
    name = f->sources[f->expected[0].source]->name;
    for (const char *at;
         (at = memmem(m.files[0].data + from, m.files[0].len - from, name.data, name.len));) {
        from = (size_t)(at - m.files[0].data) + name.len;
        m.files[0].data[at - m.files[0].data] ^= 1;
        copies++;
    }
    assert_int_equal(SOURCE_COPIES, copies);
    for (size_t i = 0; i < f->count / 2; i++)
        of_it += f->expected[i].source == f->expected[0].source;
    image_put(&m, f);
    o = read_all(f, 100000);
    assert_int_equal(of_it, o.lost);
    assert_int_equal(f->count - of_it, o.came);
    image_finish(&m);
}

/* ---- what people are shown ---- */

struct seen {
    struct spool_fixture *f;
    size_t cursors, segments, records, next;
    uint64_t cursor_record, damaged, torn, counted;
    int stop;
};

static void on_cursor(void *ctx, const char *name, uint16_t bit, struct spool_place place)
{
    struct seen *seen = ctx;

    assert_string_equal("a", name);
    assert_int_equal(1, bit);
    seen->cursors++;
    seen->cursor_record = place.record;
}

static int on_record(void *ctx, const struct record *record, struct spool_place place,
                     uint16_t cursors, int64_t appended_ms)
{
    struct seen *seen = ctx;

    while (!test_is_record(seen->f, seen->next, record)) {
        seen->next++;
        assert_true(seen->next < seen->f->count);
    }
    assert_int_equal(seen->next, place.record);
    assert_true(appended_ms > 0);
    assert_true(cursors & 1);
    seen->next++;
    seen->records++;
    return seen->stop;
}

static void on_segment(void *ctx, const struct spool_segment_report *report)
{
    struct seen *seen = ctx;

    assert_int_equal(0, report->error);
    assert_int_equal(report->end.record - report->begin.record,
                     report->records + report->records_damaged);
    seen->segments++;
    seen->counted += report->records;
    seen->damaged += report->records_damaged;
    seen->torn += report->bytes_torn;
}

static const struct spool_scan_handlers handlers = {
    .on_cursor = on_cursor, .on_record = on_record, .on_segment = on_segment};

static void test_a_scan_shows_all_and_changes_nothing(void **state)
{
    struct spool_fixture *f = *state;
    struct seen seen = {.f = f};
    struct image before, after;
    uint64_t second;

    make_spool(f, &before);
    assert_true(segment_name_parse(before.names[1], &second));
    before.files[0].data[before.files[0].len / 2] ^= 1;
    before.files[1].len -= 5;
    image_put(&before, f);
    assert_int_equal(0, spool_scan(f->spool_dir, 0, &handlers, &seen, f->why, sizeof f->why));
    assert_int_equal(1, seen.cursors);
    assert_int_equal(0, seen.cursor_record);
    assert_int_equal(2, seen.segments);
    assert_int_equal(1, seen.damaged);
    assert_true(seen.torn > 0);
    assert_int_equal(f->count - 2, seen.records);
    assert_int_equal(seen.counted, seen.records);

    seen = (struct seen){.f = f};
    assert_int_equal(0, spool_scan(f->spool_dir, second, &handlers, &seen, f->why, sizeof f->why));
    assert_int_equal(f->count / 2 - 1, seen.records);
    assert_int_equal(2, seen.segments);

    seen = (struct seen){.f = f, .stop = -EPIPE};
    assert_int_equal(-EPIPE, spool_scan(f->spool_dir, 0, &handlers, &seen, f->why, sizeof f->why));
    assert_int_equal(1, seen.records);

    image_take(&after, f);
    for (size_t i = 0; i < before.count; i++)
        assert_true(slice_eq(buf_slice(&before.files[i]), buf_slice(&after.files[i])));
    image_finish(&before);
    image_finish(&after);
    assert_int_equal(-ENOENT,
                     spool_scan("/nonexistent", 0, &handlers, &seen, f->why, sizeof f->why));
}

static void test_a_spool_in_use_can_be_scanned(void **state)
{
    struct spool_fixture *f = *state;
    struct seen seen = {.f = f};

    test_start(f);
    assert_non_null(test_cursor(f->spool, "a"));
    assert_int_equal(0, test_append(f, 100, 100));
    f->run(f, is_all_done);
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(0, spool_scan(f->spool_dir, 0, &handlers, &seen, f->why, sizeof f->why));
    assert_int_equal(100, seen.records);
    assert_int_equal(1, seen.cursors);
}

int main(void)
{
#define TEST(title, fn)                                                                            \
    {                                                                                              \
        title, fn, setup, teardown, NULL                                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST("S29 a flipped byte costs one record at most",
             test_a_flipped_byte_costs_one_record_at_most),
        TEST("S29 what is cut off is all that is missing",
             test_what_is_cut_off_is_all_that_is_missing),
        TEST("S29 a torn end is cut off and the next life goes on",
             test_a_torn_end_is_cut_off_and_the_next_life_goes_on),
        TEST("places behind a lost end are not used again",
             test_places_behind_a_lost_end_are_not_used_again),
        TEST("garbage between entries is passed over", test_garbage_between_entries_is_passed_over),
        TEST("a line that looks like an entry is none",
             test_a_line_that_looks_like_an_entry_is_none),
        TEST("a source without a whole copy costs its records and no others",
             test_a_source_without_a_whole_copy_costs_its_records_and_no_others),
        TEST("a scan shows all and changes nothing", test_a_scan_shows_all_and_changes_nothing),
        TEST("a spool in use can be scanned", test_a_spool_in_use_can_be_scanned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
