/* The log: what lines look like, whatever is put into them, and the limit of each call site. */
#include "ringtail/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define HOUR_MS 3600000

struct fixture {
    struct buf lines;
    size_t count;
    bool full;
};

static bool take_line(void *ctx, struct slice line)
{
    struct fixture *f = ctx;

    if (f->full)
        return false;
    f->count++;
    return buf_append_slice(&f->lines, line) == 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    log_set_writer(take_line, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    log_set_writer(NULL, NULL);
    buf_finish(&f->lines);
    free(f);
    return 0;
}

static void init(enum log_format format, uint32_t burst_lines)
{
    const struct log_options options = {.level = LOG_LEVEL_INFO,
                                        .format = format,
                                        .burst_lines = burst_lines,
                                        .window_ms = HOUR_MS};

    log_init(&options);
}

/** The one line in text form, its time checked and taken off; the fixture is emptied. */
static const char *text_line(struct fixture *f)
{
    static char rest[8192];
    const char *line = buf_cstr(&f->lines);
    int64_t ns;

    assert_non_null(line);
    assert_int_equal(1, f->count);
    assert_true(f->lines.len > 25 && f->lines.len < sizeof rest);
    assert_int_equal(0, timestamp_parse(slice_of(line, 24), &ns));
    assert_int_equal('.', line[19]);
    assert_int_equal(' ', line[24]);
    assert_ptr_equal(line + f->lines.len - 1, strchr(line, '\n'));
    memcpy(rest, line + 25, f->lines.len - 26);
    rest[f->lines.len - 26] = '\0';
    f->count = 0;
    buf_reset(&f->lines);
    return rest;
}

/** The one line in JSON form with its time, once checked, replaced by T; the fixture is emptied. */
static const char *json_line(struct fixture *f)
{
    static const char key[] = ",\"time\":\"";
    static char out[8192];
    char *line = (char *)buf_cstr(&f->lines), *time;
    int64_t ns;

    assert_non_null(line);
    assert_int_equal(1, f->count);
    time = strstr(line, key);
    assert_non_null(time);
    time += strlen(key);
    assert_int_equal(0, timestamp_parse(slice_of(time, TIMESTAMP_LEN), &ns));
    assert_ptr_equal(line + f->lines.len - 1, strchr(line, '\n'));
    line[f->lines.len - 1] = '\0';
    time[0] = '\0';
    (void)snprintf(out, sizeof out, "%sT%s", line, time + TIMESTAMP_LEN);
    f->count = 0;
    buf_reset(&f->lines);
    return out;
}

static void test_a_text_line_has_time_level_message_and_fields(void **state)
{
    struct fixture *f = *state;

    init(LOG_FORMAT_TEXT, 0);
    log_info("Stream opened", LOG_STR("container_id", "4f2a"), LOG_INT("lines", -3));
    assert_string_equal("INFO  Stream opened container_id=4f2a lines=-3", text_line(f));
    log_error("Nothing else");
    assert_string_equal("ERROR Nothing else", text_line(f));
    log_warn("Sink is slow", LOG_SLICE("sink", slice_of("filexxx", 4)));
    assert_string_equal("WARN  Sink is slow sink=file", text_line(f));
}

static void test_a_text_value_has_quotes_only_when_it_needs_them(void **state)
{
    struct fixture *f = *state;

    init(LOG_FORMAT_TEXT, 0);
    log_info("m", LOG_STR("a", "va lue"), LOG_STR("b", ""), LOG_STR("c", "x=y"), LOG_STR("d", "\""),
             LOG_STR("e", "caf\xc3\xa9"), LOG_STR("f", "back\\slash"), LOG_STR("g", NULL));
    assert_string_equal("INFO  m a=\"va lue\" b=\"\" c=\"x=y\" d=\"\\\"\" e=caf\xc3\xa9 "
                        "f=\"back\\\\slash\" g=\"\"",
                        text_line(f));
}

static void test_a_json_line_has_level_message_time_and_fields(void **state)
{
    struct fixture *f = *state;

    init(LOG_FORMAT_JSON, 0);
    log_warn("Say \"hi\"", LOG_STR("name", "a b"), LOG_INT("count", INT64_MIN));
    assert_string_equal(
        "{\"level\":\"warn\",\"msg\":\"Say \\\"hi\\\"\",\"time\":\"T\",\"name\":\"a b\","
        "\"count\":-9223372036854775808}",
        json_line(f));
    log_info("Bare");
    assert_string_equal("{\"level\":\"info\",\"msg\":\"Bare\",\"time\":\"T\"}", json_line(f));
}

static void test_an_errno_is_told_as_text_and_name(void **state)
{
    struct fixture *f = *state;

    init(LOG_FORMAT_TEXT, 0);
    log_info("m", LOG_ERRNO(-ENOENT));
    assert_string_equal("INFO  m error=\"No such file or directory (ENOENT)\"", text_line(f));
    log_info("m", LOG_ERRNO(-9999));
    assert_string_equal("INFO  m error=\"Unknown error 9999\"", text_line(f));
    init(LOG_FORMAT_JSON, 0);
    log_info("m", LOG_ERRNO(-ECONNREFUSED));
    assert_string_equal("{\"level\":\"info\",\"msg\":\"m\",\"time\":\"T\","
                        "\"error\":\"Connection refused (ECONNREFUSED)\"}",
                        json_line(f));
}

static void test_control_characters_never_reach_the_line(void **state)
{
    struct fixture *f = *state;

    init(LOG_FORMAT_TEXT, 0);
    log_info("m",
             LOG_STR("v", "a\nb\x1b[31m\x7f\xc2\x9b"
                          "2J"),
             LOG_SLICE("w", slice_of("\0", 1)));
    assert_string_equal("INFO  m v=\"a\\nb\\u001b[31m\\u007f\\u009b2J\" w=\"\\u0000\"",
                        text_line(f));
    log_info("two\nlines");
    assert_string_equal("INFO  \"two\\nlines\"", text_line(f));
    init(LOG_FORMAT_JSON, 0);
    log_info("two\nlines", LOG_STR("v", "a\nb\x1b[31m"));
    assert_string_equal("{\"level\":\"info\",\"msg\":\"two\\nlines\",\"time\":\"T\","
                        "\"v\":\"a\\nb\\u001b[31m\"}",
                        json_line(f));
}

static void test_any_bytes_in_a_value_give_one_line_of_utf8(void **state)
{
    struct fixture *f = *state;

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        init((enum log_format)format, 0);
        for (int a = 0; a < 256; a++) {
            for (int b = 0; b < 256; b += 5) {
                char bytes[3] = {(char)a, (char)b, 'x'};

                log_info("m", LOG_SLICE("v", slice_of(bytes, 3)));
                assert_int_equal(1, f->count);
                assert_true(utf8_is_valid(buf_slice(&f->lines)));
                for (size_t i = 0; i + 1 < f->lines.len; i++)
                    assert_true((unsigned char)f->lines.data[i] >= 0x20);
                assert_int_equal('\n', f->lines.data[f->lines.len - 1]);
                f->count = 0;
                buf_reset(&f->lines);
            }
        }
    }
}

static void test_a_long_value_is_cut_where_a_character_begins(void **state)
{
    struct fixture *f = *state;
    char value[3001];

    init(LOG_FORMAT_TEXT, 0);
    for (size_t i = 0; i < 3000; i += 3)
        memcpy(value + i, "\xe2\x82\xac", 3);
    value[3000] = '\0';
    log_info("m", LOG_STR("v", value));
    assert_true(utf8_is_valid(buf_slice(&f->lines)));
    assert_in_range(f->lines.len, 2048, 2048 + 64);
    assert_memory_equal("\xe2\x82\xac\xe2\x80\xa6\n", f->lines.data + f->lines.len - 7, 7);
}

static void test_levels_below_the_one_set_are_silent(void **state)
{
    struct fixture *f = *state;
    const struct log_options options = {.level = LOG_LEVEL_WARN, .format = LOG_FORMAT_TEXT};

    log_init(&options);
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    assert_false(log_enabled(LOG_LEVEL_INFO));
    assert_true(log_enabled(LOG_LEVEL_WARN));
    log_debug("d");
    log_info("i");
    assert_int_equal(0, f->count);
    log_warn("w");
    log_error("e");
    assert_int_equal(2, f->count);
}

static void say(struct log_site *site, struct fixture *f, const char *expected)
{
    log_emit(LOG_LEVEL_INFO, site, "m", &(struct log_field){.key = NULL});
    if (expected)
        assert_string_equal(expected, text_line(f));
    assert_int_equal(0, f->count);
}

/** The window is moved by hand, so that nothing here waits. */
static void test_a_site_that_repeats_is_limited_and_then_tells_how_often(void **state)
{
    struct fixture *f = *state;
    struct log_site site = {0}, other = {0};

    init(LOG_FORMAT_TEXT, 2);
    say(&site, f, "INFO  m");
    say(&site, f, "INFO  m");
    for (int i = 0; i < 5; i++)
        say(&site, f, NULL);
    say(&other, f, "INFO  m");
    site.window_start_ns -= 2 * HOUR_MS * NSEC_PER_MSEC;
    say(&site, f, "INFO  m suppressed=5");
    say(&site, f, "INFO  m");
    say(&site, f, NULL);
    site.window_start_ns -= 2 * HOUR_MS * NSEC_PER_MSEC;
    say(&site, f, "INFO  m suppressed=1");
}

static void test_without_a_limit_nothing_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct log_site site = {0};

    init(LOG_FORMAT_TEXT, 0);
    for (int i = 0; i < 1000; i++)
        say(&site, f, "INFO  m");
}

static void test_lines_that_the_writer_has_no_room_for_are_counted(void **state)
{
    struct fixture *f = *state;
    struct log_site site = {0};
    uint64_t before = log_lines_dropped();

    init(LOG_FORMAT_TEXT, 1);
    say(&site, f, "INFO  m");
    say(&site, f, NULL);
    f->full = true;
    site.window_start_ns -= 2 * HOUR_MS * NSEC_PER_MSEC;
    say(&site, f, NULL);
    assert_int_equal(before + 1, log_lines_dropped());
    f->full = false;
    site.window_start_ns -= 2 * HOUR_MS * NSEC_PER_MSEC;
    say(&site, f, "INFO  m suppressed=1");
}

static void test_logging_leaves_errno_alone(void **state)
{
    (void)state;
    init(LOG_FORMAT_TEXT, 0);
    errno = EXDEV;
    log_info("m", LOG_ERRNO(-9999));
    assert_int_equal(EXDEV, errno);
}

/** Also the test of AUTO: a pipe is no terminal, so these are JSON lines. */
static void test_without_a_writer_lines_go_to_stderr(void **state)
{
    struct fixture *f = *state;
    int saved = dup(STDERR_FILENO), ends[2];
    char line[256];
    ssize_t n;

    assert_true(saved >= 0);
    assert_int_equal(0, pipe(ends));
    assert_int_equal(STDERR_FILENO, dup2(ends[1], STDERR_FILENO));
    log_set_writer(NULL, NULL);
    init(LOG_FORMAT_AUTO, 0);
    log_info("Straight");
    assert_int_equal(STDERR_FILENO, dup2(saved, STDERR_FILENO));
    n = read(ends[0], line, sizeof line);
    assert_true(n > 0);
    (void)take_line(f, slice_of(line, (size_t)n));
    assert_string_equal("{\"level\":\"info\",\"msg\":\"Straight\",\"time\":\"T\"}", json_line(f));
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

enum { THREADS = 4, LINES_EACH = 500 };

static void *log_a_lot(void *arg)
{
    (void)arg;
    for (int i = 0; i < LINES_EACH; i++)
        log_info("From a thread", LOG_INT("line", i));
    return NULL;
}

static void test_lines_of_several_threads_stay_whole(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    size_t lines = 0;

    init(LOG_FORMAT_TEXT, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, log_a_lot, NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_join(threads[i], NULL));
    assert_int_equal(THREADS * LINES_EACH, f->count);
    for (char *line = (char *)buf_cstr(&f->lines); *line; lines++) {
        char *end = strchr(line, '\n');
        static const char says[] = "INFO  From a thread line=";

        assert_non_null(end);
        assert_int_equal(0, strncmp(line + 25, says, strlen(says)));
        line = end + 1;
    }
    assert_int_equal(THREADS * LINES_EACH, lines);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_text_line_has_time_level_message_and_fields),
        TEST(test_a_text_value_has_quotes_only_when_it_needs_them),
        TEST(test_a_json_line_has_level_message_time_and_fields),
        TEST(test_an_errno_is_told_as_text_and_name),
        TEST(test_control_characters_never_reach_the_line),
        TEST(test_any_bytes_in_a_value_give_one_line_of_utf8),
        TEST(test_a_long_value_is_cut_where_a_character_begins),
        TEST(test_levels_below_the_one_set_are_silent),
        TEST(test_a_site_that_repeats_is_limited_and_then_tells_how_often),
        TEST(test_without_a_limit_nothing_is_left_out),
        TEST(test_lines_that_the_writer_has_no_room_for_are_counted),
        TEST(test_logging_leaves_errno_alone),
        TEST(test_without_a_writer_lines_go_to_stderr),
        TEST(test_lines_of_several_threads_stay_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
