/* Any bytes as a configuration file: a refusal has a problem, and what is taken can be written. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    bool on;
    int64_t number, size_bytes, wait_ms;
    char *text;
    int choice;
    struct option_list list;
};

static const char *const choices[] = {"one", "two", NULL};

#define ITEM(path, kind, member)                                                                   \
    .name = (path), .type = (kind), .offset = offsetof(struct settings, member), .help = "Help.",  \
    .group = "Group"

static const struct option items[] = {
    {ITEM("on", OPTION_BOOL, on), .def = "no"},
    {ITEM("a.number", OPTION_INT, number), .least = "-9", .most = "9", .def = "1"},
    {ITEM("a.size", OPTION_SIZE, size_bytes), .def = "1k"},
    {ITEM("a.b.wait", OPTION_DURATION, wait_ms), .least = "1s", .def = "5s"},
    {ITEM("a.b.text", OPTION_STRING, text), .most = "20"},
    {ITEM("choice", OPTION_ENUM, choice), .choices = choices, .def = "two"},
    {ITEM("list", OPTION_LIST, list)},
};

static const struct option_table table = {.items = items, .count = ARRAY_SIZE(items)};

static void assert_can_be_written(const struct settings *settings)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};

    for (size_t i = 0; i < table.count; i++) {
        struct settings copy = {0};
        struct option_problems problems = {0};

        buf_reset(&text);
        assert(option_format_value(&items[i], settings, &text) == 0);
        /* A list's item may have a comma in YAML, where the other notation has no way to say so. */
        if (items[i].type != OPTION_LIST)
            assert(options_set(&table, &copy, "--set", slice_str(items[i].name), buf_slice(&text),
                               &problems) == 0);
        options_finish(&table, &copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings = {0};
    struct option_problems problems = {0};
    int r;

    assert(options_set_defaults(&table, &settings) == 0);
    r = options_load_text(&table, &settings, "f", slice_of(data, size), &problems);
    assert(r == 0 || r == -EINVAL);
    assert((r == 0) == (problems.count == 0));
    assert_can_be_written(&settings);
    options_finish(&table, &settings);
    option_problems_finish(&problems);
    return 0;
}
