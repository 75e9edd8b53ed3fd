/* Intrusive lists: order, leaving from any place, and walks that remove what they stand on. */
#include "ringtail/base/list.h"

#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    char name;
    struct list link;
};

static const char *names(struct list *head)
{
    static char text[64];
    size_t n = 0;

    LIST_FOR_EACH_ENTRY (item, head, struct item, link)
        text[n++] = item->name;
    text[n] = '\0';
    return text;
}

/** The same from the other end: shows that the backward links are right too. */
static const char *names_backward(struct list *head)
{
    static char text[64];
    size_t n = 0;

    for (struct list *l = head->prev; l != head; l = l->prev)
        text[n++] = container_of(l, struct item, link)->name;
    text[n] = '\0';
    return text;
}

static void test_appended_and_prepended_links_come_in_order(void **state)
{
    struct list head;
    struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};

    (void)state;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_string_equal("", names(&head));
    list_append(&head, &b.link);
    list_append(&head, &c.link);
    list_prepend(&head, &a.link);
    assert_false(list_is_empty(&head));
    assert_string_equal("abc", names(&head));
    assert_string_equal("cba", names_backward(&head));
}

static void test_a_link_leaves_from_any_place_and_twice(void **state)
{
    (void)state;
    for (int leaver = 0; leaver < 3; leaver++) {
        struct list head;
        struct item items[3] = {{.name = 'a'}, {.name = 'b'}, {.name = 'c'}};
        static const char *const left[] = {"bc", "ac", "ab"};

        list_init(&head);
        for (int i = 0; i < 3; i++)
            list_append(&head, &items[i].link);
        list_remove(&items[leaver].link);
        assert_string_equal(left[leaver], names(&head));
        assert_false(list_is_linked(&items[leaver].link));
        list_remove(&items[leaver].link);
        assert_string_equal(left[leaver], names(&head));
    }
}

static void test_a_link_of_zeros_is_in_no_list_and_may_leave_it(void **state)
{
    struct item a = {.name = 'a'};

    (void)state;
    assert_false(list_is_linked(&a.link));
    list_remove(&a.link);
    assert_false(list_is_linked(&a.link));
}

static void test_popping_empties_the_list_from_its_front(void **state)
{
    struct list head;
    struct item a = {.name = 'a'}, b = {.name = 'b'};

    (void)state;
    list_init(&head);
    list_append(&head, &a.link);
    list_append(&head, &b.link);
    assert_ptr_equal(&a.link, list_pop(&head));
    assert_false(list_is_linked(&a.link));
    assert_true(list_is_linked(&b.link));
    assert_ptr_equal(&b.link, list_pop(&head));
    assert_null(list_pop(&head));
    assert_true(list_is_empty(&head));
}

static void test_splicing_moves_all_links_behind_those_there(void **state)
{
    struct list to, from;
    struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};

    (void)state;
    list_init(&to);
    list_init(&from);
    list_splice(&to, &from);
    assert_true(list_is_empty(&to));
    list_append(&from, &a.link);
    list_splice(&to, &from);
    assert_string_equal("a", names(&to));
    assert_true(list_is_empty(&from));
    list_append(&from, &b.link);
    list_append(&from, &c.link);
    list_splice(&to, &from);
    assert_string_equal("abc", names(&to));
    assert_string_equal("cba", names_backward(&to));
    assert_true(list_is_empty(&from));
}

static void test_a_walk_may_free_the_entry_it_stands_on(void **state)
{
    struct list head;

    (void)state;
    list_init(&head);
    for (char c = 'a'; c <= 'f'; c++) {
        struct item *item = calloc(1, sizeof *item);

        assert_non_null(item);
        item->name = c;
        list_append(&head, &item->link);
    }
    LIST_FOR_EACH_ENTRY (item, &head, struct item, link) {
        if (item->name % 2) {
            list_remove(&item->link);
            free(item);
        }
    }
    assert_string_equal("bdf", names(&head));
    LIST_FOR_EACH (link, &head) {
        list_remove(link);
        free(container_of(link, struct item, link));
    }
    assert_true(list_is_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appended_and_prepended_links_come_in_order),
        cmocka_unit_test(test_a_link_leaves_from_any_place_and_twice),
        cmocka_unit_test(test_a_link_of_zeros_is_in_no_list_and_may_leave_it),
        cmocka_unit_test(test_popping_empties_the_list_from_its_front),
        cmocka_unit_test(test_splicing_moves_all_links_behind_those_there),
        cmocka_unit_test(test_a_walk_may_free_the_entry_it_stands_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
