/* The hash table against what was put in, through growth, removal and walks. */
#include "ringtail/base/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct entry {
    char name[24];
    bool present, met;
    struct table_link link;
};

enum { ENTRIES = 3000 };

struct fixture {
    struct table table;
    struct entry entries[ENTRIES];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(0, table_init(&f->table));
    for (int i = 0; i < ENTRIES; i++)
        (void)snprintf(f->entries[i].name, sizeof f->entries[i].name, "container-%d", i);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    table_finish(&f->table);
    free(f);
    return 0;
}

static void insert(struct fixture *f, int i)
{
    table_insert(&f->table, &f->entries[i].link, slice_str(f->entries[i].name));
    f->entries[i].present = true;
}

static void assert_holds_what_is_present(struct fixture *f)
{
    size_t count = 0, met = 0;

    for (int i = 0; i < ENTRIES; i++) {
        struct entry *e = &f->entries[i];

        assert_ptr_equal(e->present ? &e->link : NULL, table_find(&f->table, slice_str(e->name)));
        count += e->present;
        e->met = false;
    }
    assert_int_equal(count, f->table.count);
    for (struct table_link *l = table_next(&f->table, NULL); l; l = table_next(&f->table, l)) {
        struct entry *e = container_of(l, struct entry, link);

        assert_true(e->present);
        assert_false(e->met);
        e->met = true;
        met++;
    }
    assert_int_equal(count, met);
}

static void test_an_empty_table_has_nothing_to_find_or_walk(void **state)
{
    struct fixture *f = *state;

    assert_null(table_find(&f->table, slice_str("x")));
    assert_null(table_find(&f->table, slice_str("")));
    assert_null(table_next(&f->table, NULL));
}

static void test_everything_inserted_is_found_at_every_size(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < ENTRIES; i++) {
        insert(f, i);
        if (i < 70 || i % 1000 == 0)
            assert_holds_what_is_present(f);
    }
    assert_holds_what_is_present(f);
    assert_true(f->table.buckets_count >= ENTRIES / 2);
}

static void test_what_was_removed_is_gone_and_the_rest_is_not(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < ENTRIES; i++)
        insert(f, i);
    for (int i = 0; i < ENTRIES; i += 3) {
        table_remove(&f->table, &f->entries[i].link);
        f->entries[i].present = false;
    }
    assert_holds_what_is_present(f);
    for (int i = 0; i < ENTRIES; i += 6)
        insert(f, i);
    assert_holds_what_is_present(f);
}

static void test_a_walk_may_remove_what_it_has_passed(void **state)
{
    struct fixture *f = *state;
    struct table_link *next;

    for (int i = 0; i < 500; i++)
        insert(f, i);
    for (struct table_link *l = table_next(&f->table, NULL); l; l = next) {
        next = table_next(&f->table, l);
        table_remove(&f->table, l);
        container_of(l, struct entry, link)->present = false;
    }
    assert_int_equal(0, f->table.count);
    assert_holds_what_is_present(f);
}

static void test_keys_are_bytes_of_any_kind(void **state)
{
    struct fixture *f = *state;
    struct entry a, b;

    table_insert(&f->table, &a.link, slice_of("", 0));
    table_insert(&f->table, &b.link, slice_of("a\0b", 3));
    assert_ptr_equal(&a.link, table_find(&f->table, slice_of("", 0)));
    assert_ptr_equal(&b.link, table_find(&f->table, slice_of("a\0b", 3)));
    assert_null(table_find(&f->table, slice_of("a\0c", 3)));
    assert_null(table_find(&f->table, slice_of("a", 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_empty_table_has_nothing_to_find_or_walk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_everything_inserted_is_found_at_every_size, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_was_removed_is_gone_and_the_rest_is_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_walk_may_remove_what_it_has_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_bytes_of_any_kind, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
