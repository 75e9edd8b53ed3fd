/* Sources: what they hold, and what they say of themselves in JSON. */
#include "ringtail/record/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void test_the_three_names_are_copies_that_end_with_a_nul(void **state)
{
    char name[] = "web", image[] = "nginx:1";
    struct source *s;

    (void)state;
    s = source_create(slice_str(id), slice_str(name), slice_str(image));
    assert_non_null(s);
    memset(name, 'x', sizeof name);
    memset(image, 'x', sizeof image);
    assert_string_equal(id, s->id.data);
    assert_string_equal("web", s->name.data);
    assert_string_equal("nginx:1", s->image.data);
    assert_int_equal(SOURCE_ID_LEN, s->id.len);
    assert_int_equal(3, s->name.len);
    assert_int_equal(7, s->image.len);
    assert_int_equal(0, s->batch_seen);
    (void)source_unref(s);
}

static void test_the_members_are_json_whatever_the_names_are(void **state)
{
    static const struct {
        struct slice in;
        const char *out;
    } names[] = {
        {{"plain", 5}, "plain"},
        {{"", 0}, ""},
        {{"a\"b\\c\n", 6}, "a\"b\\c\n"},
        {{"caf\xc3\xa9", 5}, "caf\xc3\xa9"},
        {{"bad\xff", 4}, "bad\xef\xbf\xbd"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct source *s = source_create(slice_str(id), names[i].in, names[i].in);
        char text[512];
        size_t len;
        yyjson_doc *doc;
        yyjson_val *root;

        assert_non_null(s);
        assert_true(slice_eq(names[i].in, s->name));
        len = (size_t)snprintf(text, sizeof text, "{\"ts\":\"%.*s\":\"\"}", (int)s->json_middle.len,
                               s->json_middle.data);
        assert_true(len < sizeof text);
        assert_memory_equal("stdout", s->json_middle.data + SOURCE_STREAM_AT, 6);
        doc = yyjson_read(text, len, 0);
        assert_non_null(doc);
        root = yyjson_doc_get_root(doc);
        assert_int_equal(6, yyjson_obj_size(root));
        assert_string_equal(id, yyjson_get_str(yyjson_obj_get(root, "container_id")));
        assert_string_equal(names[i].out, yyjson_get_str(yyjson_obj_get(root, "container_name")));
        assert_string_equal(names[i].out, yyjson_get_str(yyjson_obj_get(root, "image")));
        yyjson_doc_free(doc);
        (void)source_unref(s);
    }
}

static void test_the_last_reference_ends_it(void **state)
{
    struct source *s = source_create(slice_str(id), slice_str("a"), slice_str("b"));

    (void)state;
    assert_ptr_equal(s, source_ref(s));
    assert_int_equal(2, s->refs);
    assert_null(source_unref(s));
    /* Still there, or the sanitizer speaks up. */
    assert_string_equal("a", s->name.data);
    assert_int_equal(1, s->refs);
    assert_null(source_unref(s));
    assert_null(source_unref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_three_names_are_copies_that_end_with_a_nul),
        cmocka_unit_test(test_the_members_are_json_whatever_the_names_are),
        cmocka_unit_test(test_the_last_reference_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
