/* Identities: what they are made of, and where ordinals come from. */
#include "ringtail/record/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/splice.h"

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char other_id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdee";

struct fixture {
    struct source *source, *renamed, *other;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (!f)
        return -1;
    f->source = source_create(slice_str(id), slice_str("web"), slice_str("nginx:1"));
    f->renamed = source_create(slice_str(id), slice_str("web2"), slice_str("nginx:2"));
    f->other = source_create(slice_str(other_id), slice_str("web"), slice_str("nginx:1"));
    *state = f;
    return f->source && f->renamed && f->other ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)source_unref(f->source);
    (void)source_unref(f->renamed);
    (void)source_unref(f->other);
    free(f);
    return 0;
}

static struct record record_of(struct source *source, int64_t ts_ns, const char *line)
{
    return (struct record){
        .ts_ns = ts_ns,
        .data = line,
        .source = source,
        .len = (uint32_t)strlen(line),
        .stream = RECORD_STDOUT,
    };
}

static void identity_of(const struct record *r, char out[RECORD_IDENTITY_LEN + 1])
{
    record_identity(r, out);
    out[RECORD_IDENTITY_LEN] = '\0';
}

static void assert_differ(const struct record *a, const struct record *b)
{
    char of_a[RECORD_IDENTITY_LEN + 1], of_b[RECORD_IDENTITY_LEN + 1];

    identity_of(a, of_a);
    identity_of(b, of_b);
    assert_string_not_equal(of_a, of_b);
}

static void test_an_identity_never_changes(void **state)
{
    struct fixture *f = *state;
    struct record r = record_of(f->source, 1700000000123456789, "hello");
    char text[RECORD_IDENTITY_LEN + 1];

    identity_of(&r, text);
    assert_string_equal("17979cfe3d85cd15-3567ac69d6efcc334785d027634cee64", text);
    r.source = f->renamed;
    r.flags = RECORD_PARTIAL;
    identity_of(&r, text);
    assert_string_equal("17979cfe3d85cd15-3567ac69d6efcc334785d027634cee64", text);
}

static void test_whatever_makes_another_line_makes_another_identity(void **state)
{
    struct fixture *f = *state;
    struct record r = record_of(f->source, 1700000000123456789, "hello"), s;

    s = r;
    s.ts_ns++;
    assert_differ(&r, &s);
    s = r;
    s.source = f->other;
    assert_differ(&r, &s);
    s = r;
    s.stream = RECORD_STDERR;
    assert_differ(&r, &s);
    s = r;
    s.ordinal = 1;
    assert_differ(&r, &s);
    s.ordinal = 256;
    assert_differ(&r, &s);
    s = r;
    s.len--;
    assert_differ(&r, &s);
    s = r;
    s.data = "hellp";
    assert_differ(&r, &s);
}

static void test_a_record_has_not_grown_by_its_ordinal(void **state)
{
    (void)state;
    assert_true(sizeof(struct record) <= 8 + 2 * sizeof(void *) + 8);
}

static struct part part_of(int64_t ts_ns, enum record_stream stream, uint64_t fingerprint)
{
    return (struct part){
        .ts_ns = ts_ns,
        .fingerprint = fingerprint << 18,
        .text = slice_str("x\n"),
        .stream = stream,
    };
}

/** Judges the part, which has to be new, and takes it in. */
static uint16_t deliver(struct splice_history *h, struct splice_cursor *c, struct part part)
{
    assert_int_equal(SPLICE_DELIVER, splice_judge(h, c, &part));
    part.ordinal = splice_ordinal(h, c, &part);
    splice_delivered(h, c, &part);
    return part.ordinal;
}

static void test_ordinals_count_neighbours_with_one_timestamp(void **state)
{
    struct splice_history h = {.marks_max = 64, .floor_ns = INT64_MIN};
    struct splice_cursor c;

    (void)state;
    splice_cursor_init(&c, SPLICE_LEVELS - 1);
    assert_int_equal(0, deliver(&h, &c, part_of(10, RECORD_STDOUT, 1)));
    assert_int_equal(1, deliver(&h, &c, part_of(10, RECORD_STDOUT, 1)));
    assert_int_equal(0, deliver(&h, &c, part_of(10, RECORD_STDERR, 1)));
    assert_int_equal(2, deliver(&h, &c, part_of(10, RECORD_STDOUT, 2)));
    assert_int_equal(1, deliver(&h, &c, part_of(10, RECORD_STDERR, 2)));
    assert_int_equal(0, deliver(&h, &c, part_of(11, RECORD_STDOUT, 3)));
    assert_int_equal(1, deliver(&h, &c, part_of(11, RECORD_STDOUT, 4)));
    splice_history_finish(&h);
}

static void test_ordinals_go_on_after_a_restart(void **state)
{
    struct splice_history h = {.marks_max = 64, .floor_ns = INT64_MIN};
    struct splice_cursor c;
    struct part part;

    (void)state;
    /* Three of one timestamp were seen before; the second of them was not shipped. */
    for (uint64_t n = 1; n <= 3; n++) {
        struct splice_mark mark = {.ts_ns = 10,
                                   .fingerprint = n << 18 | (n - 1) << SPLICE_MARK_ORDINAL_SHIFT};

        if (n == 2) {
            mark.fingerprint |= SPLICE_MARK_OWED;
            h.has_owed = true;
        }
        assert_int_equal(0, splice_restore(&h, &mark));
    }
    splice_cursor_init(&c, SPLICE_LEVELS - 1);
    part = part_of(10, RECORD_STDOUT, 1);
    assert_int_equal(SPLICE_DROP, splice_judge(&h, &c, &part));
    assert_int_equal(1, deliver(&h, &c, part_of(10, RECORD_STDOUT, 2)));
    part = part_of(10, RECORD_STDOUT, 3);
    assert_int_equal(SPLICE_DROP, splice_judge(&h, &c, &part));
    assert_int_equal(3, deliver(&h, &c, part_of(10, RECORD_STDOUT, 4)));
    assert_int_equal(0, deliver(&h, &c, part_of(12, RECORD_STDOUT, 5)));
    splice_history_finish(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_identity_never_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whatever_makes_another_line_makes_another_identity,
                                        setup, teardown),
        cmocka_unit_test(test_a_record_has_not_grown_by_its_ordinal),
        cmocka_unit_test(test_ordinals_count_neighbours_with_one_timestamp),
        cmocka_unit_test(test_ordinals_go_on_after_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
