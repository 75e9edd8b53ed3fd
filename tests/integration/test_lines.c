/* What lines may look like, and that they come out as they went in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

static const enum sim_engine engines[] = {SIM_ENGINE_28_5, SIM_ENGINE_26_1, SIM_ENGINE_20_10};

/* Text that differs at every offset from itself moved by a part's length. */
static char *make_text(size_t len, unsigned seed)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + (i * 7 + i / 26 + i / 16384 * 3 + seed) % 26);
    text[len] = '\0';
    return text;
}

static void say_long(struct speaker *s, enum sim_stream stream, size_t len, unsigned seed)
{
    char *text = make_text(len, seed);

    say_bytes(s, stream, text, len);
    free(text);
}

/* ---- S07 ---- */

static void unterminated_end(struct world *w, enum sim_engine engine)
{
    struct speaker *s;

    world_engine(w, &(struct sim_options){.engine = engine});
    s = world_speaker(w, "ends");
    world_run(w);
    world_wait_follows(w, s, 1);
    for (unsigned run = 0; run < 4; run++) {
        enum sim_stream stream = run % 2 ? SIM_STDERR : SIM_STDOUT;
        char text[32];
        int len = snprintf(text, sizeof text, "no end %u", run);

        say_many(s, "whole", 5);
        say_expect(s, stream, 0, text, (size_t)len, TOLD_PARTIAL);
        assert_int_equal(0, sim_write(s->container, stream, text, (size_t)len));
        if (run % 2)
            world_wait_lines(w, s, told_count(s->told) - 1);
        assert_int_equal(0, sim_container_exit(s->container, 0));
        world_wait_all(w);
        assert_int_equal(0, sim_container_start(s->container));
    }
    say_many(s, "after", 5);
    world_wait_all(w);
    world_stop(w);
}

static void test_an_unterminated_end_comes_once_and_marked(void **state)
{
    unterminated_end(*state, SIM_ENGINE_28_5);
}

static void test_what_20_10_holds_back_is_fetched(void **state)
{
    unterminated_end(*state, SIM_ENGINE_20_10);
}

static void test_an_unterminated_end_is_there_from_the_start(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "ended");
    say_many(s, "first run", 3);
    say_expect(s, SIM_STDOUT, 0, "cut off", 7, TOLD_PARTIAL);
    assert_int_equal(0, sim_write(s->container, SIM_STDOUT, "cut off", 7));
    assert_int_equal(0, sim_container_restart(s->container));
    say_many(s, "second run", 3);
    world_run(w);
    world_wait_all(w);
    world_stop(w);
}

/* ---- S21 ---- */

static const size_t part_lengths[] = {0,     1,     16382, 16383, 16384, 16385,   32767,
                                      32768, 32769, 49151, 49152, 49153, 1048576, 100000};

static void say_lengths(struct speaker *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(part_lengths); i++) {
        say_long(s, i % 2 ? SIM_STDERR : SIM_STDOUT, part_lengths[i], (unsigned)i);
        say_long(s, i % 2 ? SIM_STDOUT : SIM_STDERR, part_lengths[i], (unsigned)i + 1);
    }
    /* What 20.10 with `local` leaves without a newline ends only with the next line. */
    say(s, SIM_STDOUT, "short");
    say(s, SIM_STDERR, "short");
}

static void test_every_length_around_a_part_gives_one_line(void **state)
{
    struct world *w = *state;

    for (size_t e = 0; e < ARRAY_SIZE(engines); e++) {
        struct speaker *plain, *tty;

        world_engine(w, &(struct sim_options){.engine = engines[e], .seed = e + 1});
        plain = world_speaker(w, NULL);
        tty = world_speaker_spec(w, &(struct sim_spec){.tty = true});
        say_lengths(plain);
        say_lengths(tty);
        world_run(w, "--set", "stream.max_line_bytes=2MiB");
        world_wait_all(w);
        say_lengths(plain);
        say_lengths(tty);
        world_wait_all(w);
        world_stop(w);
        w->sim = sim_destroy(w->sim);
    }
}

static void test_local_of_20_10_gives_one_line_too(void **state)
{
    struct world *w = *state;
    const struct sim_spec spec = {.log_driver = "local"};
    struct speaker *s;

    world_engine(w, &(struct sim_options){.engine = SIM_ENGINE_20_10});
    s = world_speaker_spec(w, &spec);
    world_run(w, "--set", "stream.max_line_bytes=2MiB");
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(part_lengths); i++) {
            /* One part without its newline is a line that is not finished, for all one can see. */
            if (part_lengths[i] == SIM_PART_BYTES)
                continue;
            say_long(s, i % 2 ? SIM_STDERR : SIM_STDOUT, part_lengths[i], (unsigned)i);
            say_long(s, i % 2 ? SIM_STDOUT : SIM_STDERR, part_lengths[i], (unsigned)i + 1);
        }
        /* What has no newline ends only with the next line. */
        say(s, SIM_STDOUT, "short");
        say(s, SIM_STDERR, "short");
        world_wait_all(w);
        sim_follow_cut(w->sim, s->container);
    }
    world_stop(w);
}

/* A line in three parts with something of the other stream between them. */
static void say_interleaved(struct speaker *s, enum sim_stream stream, unsigned cut_before,
                            unsigned seed)
{
    struct world *w = s->world;
    enum sim_stream other = stream == SIM_STDOUT ? SIM_STDERR : SIM_STDOUT;
    size_t len = 2 * SIM_PART_BYTES + 1000;
    char *text = make_text(len, seed);
    int64_t ts_ns = world_next_ts(w);

    say_expect(s, stream, ts_ns, text, len, TOLD_IN_PARTS);
    text[len] = '\n';
    for (unsigned part = 0; part < 3; part++) {
        if (cut_before == part) {
            world_wait_caught_up(w, s);
            sim_follow_cut(w->sim, s->container);
        }
        say_record(s, stream, ts_ns, text + part * SIM_PART_BYTES,
                   part < 2 ? SIM_PART_BYTES : 1001);
        say(s, other, "between %u and %u", part, part + 1);
    }
    free(text);
}

static void test_the_other_stream_between_parts_changes_nothing(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "parts");
    for (unsigned i = 0; i < 4; i++)
        say_interleaved(s, i % 2 ? SIM_STDERR : SIM_STDOUT, 99, i);
    world_run(w);
    for (unsigned i = 0; i < 4; i++)
        say_interleaved(s, i % 2 ? SIM_STDERR : SIM_STDOUT, 99, i + 4);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_reconnect_between_parts_gives_one_line(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "parts");
    say_many(s, "before", 3);
    world_run(w);
    for (unsigned i = 0; i < 12; i++)
        say_interleaved(s, i % 2 ? SIM_STDERR : SIM_STDOUT, i % 3, i);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_cut_within_parts_gives_one_line(void **state)
{
    /* Around the ends of the frames of the first two parts, as a body's bytes. */
    static const uint64_t frame = 8 + 31 + SIM_PART_BYTES;
    static const uint64_t after[] = {0, 1, 7, 8, 9, 38, 39, 40, 5000};
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned parts = 0; parts < 3; parts++)
        for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
            struct speaker *s = world_speaker(w, NULL);

            say_interleaved(s, SIM_STDOUT, 99, (unsigned)i);
            say_interleaved(s, SIM_STDERR, 99, (unsigned)i + 1);
            world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_CUT,
                                               .on = SIM_REQUEST_LOGS,
                                               .container = s->container,
                                               .times = 2,
                                               .bytes = parts * frame + after[i],
                                               .count = SIM_BYTES_BODY,
                                               .reset = i % 2});
        }
    world_run(w);
    world_wait_all(w);
    world_stop(w);
}

static void death_between_parts(struct world *w, bool tty, bool while_followed)
{
    char *text = make_text(SIM_PART_BYTES, 3);
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker_spec(w, &(struct sim_spec){.tty = tty});
    if (while_followed) {
        world_run(w);
        world_wait_follows(w, s, 1);
    }
    say_many(s, "before", 3);
    for (unsigned run = 0; run < 3; run++) {
        int64_t ts_ns = world_next_ts(w);

        say_expect(s, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES, TOLD_PARTIAL | TOLD_IN_PARTS);
        say_record(s, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES);
        assert_int_equal(0, sim_container_exit(s->container, 137));
        if (while_followed && run == 1)
            world_wait_all(w);
        assert_int_equal(0, sim_container_start(s->container));
        say_many(s, "next run", 3);
    }
    if (!while_followed)
        world_run(w);
    world_wait_all(w);
    world_stop(w);
    free(text);
}

static void test_an_unfinished_line_is_not_glued_to_the_next_run(void **state)
{
    death_between_parts(*state, false, true);
}

static void test_an_unfinished_line_of_the_past_is_not_glued_either(void **state)
{
    death_between_parts(*state, false, false);
}

static void test_an_unfinished_line_on_a_tty_is_not_glued(void **state)
{
    death_between_parts(*state, true, true);
}

/* ---- S19 ---- */

static void say_like_a_terminal(struct speaker *s)
{
    static const char header[] = "\1\0\0\0\0\0\0\5hello";
    static const char headers[] = "\2\0\0\0\0\0\1\0 and \3\0\0\0\0\0\0\4boom";
    static const char chunk[] = "5\r\nhello\r\n0\r\n\r";

    say(s, SIM_STDOUT, "plain");
    say(s, SIM_STDERR, "merged into one stream");
    say(s, SIM_STDOUT, "%s", "");
    say(s, SIM_STDOUT, " 10%%\r 20%%\r 30%%\r\r100%%");
    say(s, SIM_STDOUT, "\r");
    say_bytes(s, SIM_STDOUT, header, sizeof header - 1);
    say_bytes(s, SIM_STDOUT, headers, sizeof headers - 1);
    say(s, SIM_STDOUT, "2026-01-01T00:00:00.000000000Z looks like a timestamp");
    say(s, SIM_STDOUT, "in the middle 2026-01-01T00:00:00.000000000Z of a line");
    say(s, SIM_STDOUT, "\033[2J\033[1;31mred\033[0m");
    say_long(s, SIM_STDOUT, 40000, 5);
    say(s, SIM_STDOUT, "end");
    /* In a chunked body this is data as any other. */
    assert_null(memchr(header, '\n', sizeof header));
    say(s, SIM_STDOUT, "%.1s%s", chunk, " is the size of a chunk\r");
}

static void test_a_tty_gives_its_text_unchanged(void **state)
{
    struct world *w = *state;

    for (size_t e = 0; e < ARRAY_SIZE(engines); e++) {
        struct speaker *s;

        world_engine(w, &(struct sim_options){.engine = engines[e], .seed = e + 1});
        s = world_speaker_spec(w, &(struct sim_spec){.tty = true});
        say_like_a_terminal(s);
        world_run(w);
        world_wait_all(w);
        for (unsigned i = 0; i < 5; i++) {
            say_like_a_terminal(s);
            world_wait_caught_up(w, s);
            sim_follow_cut(w->sim, s->container);
            say_like_a_terminal(s);
            world_wait_all(w);
        }
        world_stop(w);
        w->sim = sim_destroy(w->sim);
    }
}

/* ---- S22 ---- */

static void endless_line(struct world *w, bool tty, unsigned parts)
{
    enum { KEPT = 65536 };
    char *text = make_text(KEPT, 11);
    char part[SIM_PART_BYTES];
    struct speaker *s, *other;
    int64_t ts_ns;
    long before_kib;

    world_engine(w, NULL);
    s = world_speaker_spec(w, &(struct sim_spec){.tty = tty});
    other = world_speaker(w, "other");
    /* The line's beginning has to stay among the records that ringtail remembers. */
    world_run(w, "--set", "stream.max_line_bytes=64KiB", "--set", "queue.max_bytes=4MiB", "--set",
              "stream.history_records=8192");
    say(s, SIM_STDOUT, "before");
    say(other, SIM_STDOUT, "before");
    world_wait_all(w);
    before_kib = ringtail_proc_rss_kib(&w->ringtail);

    ts_ns = world_next_ts(w);
    if (tty)
        for (size_t i = 0; i < KEPT; i += 100)
            text[i] = '\r';
    say_expect(s, SIM_STDOUT, ts_ns, text, KEPT, TOLD_PARTIAL | TOLD_IN_PARTS);
    for (unsigned i = 0; i < parts; i++) {
        memcpy(part, text + i % 4 * sizeof part, sizeof part);
        say_record(s, SIM_STDOUT, ts_ns, part, sizeof part);
        if (i % 1024 == 0)
            say(other, SIM_STDERR, "meanwhile %u", i);
    }
    world_wait_caught_up(w, s);
    /* 64 MiB went through; a program that kept them would have grown by as much. */
    world_assert_within(w, ringtail_proc_rss_kib(&w->ringtail) - before_kib, -65536, 32768);
    say_record(s, SIM_STDOUT, ts_ns, tty ? "\r\n" : "\n", tty ? 2 : 1);
    say_many(s, "after", 5);
    world_wait_all(w);
    world_stop(w);
    free(text);
}

static void test_a_line_without_end_is_cut_and_marked(void **state)
{
    endless_line(*state, false, 4096);
}

static void test_a_progress_bar_without_end_is_cut_and_marked(void **state)
{
    endless_line(*state, true, 4096);
}

static void test_an_endless_line_that_its_container_leaves_behind(void **state)
{
    struct world *w = *state;
    char *text = make_text(65536, 1);
    struct speaker *s;
    int64_t ts_ns;

    world_engine(w, NULL);
    s = world_speaker(w, "gone");
    world_run(w, "--set", "stream.max_line_bytes=1KiB");
    world_wait_follows(w, s, 1);
    say(s, SIM_STDERR, "before");
    ts_ns = world_next_ts(w);
    say_expect(s, SIM_STDOUT, ts_ns, text, 1024, TOLD_PARTIAL | TOLD_IN_PARTS);
    for (unsigned i = 0; i < 4; i++)
        say_record(s, SIM_STDOUT, ts_ns, text + i * SIM_PART_BYTES, SIM_PART_BYTES);
    assert_int_equal(0, sim_container_exit(s->container, 0));
    world_wait_all(w);
    assert_int_equal(0, sim_container_start(s->container));
    say(s, SIM_STDOUT, "after");
    world_wait_all(w);
    world_stop(w);
    free(text);
}

/* ---- S23 ---- */

static void say_strange(struct speaker *s)
{
    static const char *const texts[] = {
        "\xff\xfe\xfd",                               /* never in UTF-8 */
        "caf\xe9",                                    /* Latin-1 */
        "\xc0\xaf",                                   /* overlong */
        "\xed\xa0\x80",                               /* a surrogate */
        "\xf4\x90\x80\x80",                           /* beyond the last code point */
        "cut \xe2\x82",                               /* in the middle of a character */
        "\xe2\x82\xac \xf0\x9f\x90\x8b \xe2\x80\xa8", /* euro, whale, line separator */
        "\033]0;title\a\033[31mred\033[0m\b\f\v\t",
        "\"quotes\" and \\backslashes\\ and </script>",
        "\x7f\x1b\x01\x1f",
        "\xef\xbb\xbf with a byte order mark",
    };
    char bytes[256];
    size_t len = 0;

    for (unsigned c = 0; c < 256; c++)
        if (c != '\n') {
            bytes[len] = (char)c;
            say_bytes(s, c % 2 ? SIM_STDOUT : SIM_STDERR, &bytes[len++], 1);
        }
    say_bytes(s, SIM_STDOUT, bytes, len);
    say_bytes(s, SIM_STDOUT, bytes, 128);
    say_bytes(s, SIM_STDOUT, "\0\0\0", 3);
    say_bytes(s, SIM_STDOUT, "in the\0middle", 13);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        say_bytes(s, SIM_STDOUT, texts[i], strlen(texts[i]));
}

static void test_every_byte_can_be_recovered(void **state)
{
    struct world *w = *state;
    char *text = make_text(40000, 2);
    struct speaker *s;

    /* Three bytes each, so that a character lies across a part's end. */
    for (size_t i = 0; i + 3 <= 40000; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    world_engine(w, NULL);
    /* json-file makes U+FFFD of what is not UTF-8, before anybody can read it. */
    s = world_speaker_spec(w, &(struct sim_spec){.log_driver = "local"});
    say_strange(s);
    world_run(w);
    world_wait_all(w);
    say_strange(s);
    say_bytes(s, SIM_STDOUT, text, 39999);
    say_bytes(s, SIM_STDOUT, text, 40000);
    world_wait_all(w);
    world_stop(w);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S07 an unterminated end comes once and marked",
                   test_an_unterminated_end_comes_once_and_marked),
        WORLD_TEST("S07 what 20.10 holds back is fetched", test_what_20_10_holds_back_is_fetched),
        WORLD_TEST("S07 an unterminated end is there from the start",
                   test_an_unterminated_end_is_there_from_the_start),
        WORLD_TEST("S21 every length around a part gives one line",
                   test_every_length_around_a_part_gives_one_line),
        WORLD_TEST("S21 local of 20.10 gives one line too", test_local_of_20_10_gives_one_line_too),
        WORLD_TEST("S21 the other stream between parts changes nothing",
                   test_the_other_stream_between_parts_changes_nothing),
        WORLD_TEST("S21 a reconnect between parts gives one line",
                   test_a_reconnect_between_parts_gives_one_line),
        WORLD_TEST("S21 a cut within parts gives one line", test_a_cut_within_parts_gives_one_line),
        WORLD_TEST("S21 an unfinished line is not glued to the next run",
                   test_an_unfinished_line_is_not_glued_to_the_next_run),
        WORLD_TEST("S21 an unfinished line of the past is not glued either",
                   test_an_unfinished_line_of_the_past_is_not_glued_either),
        WORLD_TEST("S21 an unfinished line on a TTY is not glued",
                   test_an_unfinished_line_on_a_tty_is_not_glued),
        WORLD_TEST("S19 a TTY gives its text unchanged", test_a_tty_gives_its_text_unchanged),
        WORLD_TEST("S22 a line without end is cut and marked",
                   test_a_line_without_end_is_cut_and_marked),
        WORLD_TEST("S22 a progress bar without end is cut and marked",
                   test_a_progress_bar_without_end_is_cut_and_marked),
        WORLD_TEST("S22 an endless line that its container leaves behind is cut and marked",
                   test_an_endless_line_that_its_container_leaves_behind),
        WORLD_TEST("S23 every byte can be recovered", test_every_byte_can_be_recovered),
    };

    /* Freed memory that a sanitizer keeps in quarantine would look like growth. */
    world_add_environment("ASAN_OPTIONS", "quarantine_size_mb=1");
    return world_main(tests);
}
