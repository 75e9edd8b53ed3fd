/* Any bytes as a configuration file: a refusal has a problem, and what is taken can be written. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct instance {
    char *name;
    int type;
    int64_t number;
    char *text, *secret;
    struct option_list list;
};

struct settings {
    bool on;
    int64_t number, size_bytes, wait_ms;
    char *text;
    int choice;
    struct option_list list;
    struct option_instances instances;
};

static const char *const choices[] = {"one", "two", NULL};

#define ITEM_OF(type_, path, kind, member)                                                         \
    .name = (path), .type = (kind), .offset = offsetof(type_, member), .help = "Help.",            \
    .group = "Group"
#define ITEM(path, kind, member) ITEM_OF(struct settings, path, kind, member)
#define INNER(path, kind, member) ITEM_OF(struct instance, path, kind, member)

static const struct option inner_items[] = {
    {INNER("type", OPTION_ENUM, type), .choices = choices, .required = true},
    {INNER("n.number", OPTION_INT, number), .least = "0", .most = "9", .def = "1", .kinds = 1},
    {INNER("n.number", OPTION_INT, number), .least = "9", .most = "99", .def = "9", .kinds = 2},
    {INNER("text", OPTION_STRING, text), .least = "1", .kinds = 2, .required = true},
    {INNER("secret", OPTION_SECRET, secret)},
    {INNER("list", OPTION_LIST, list), .kinds = 1},
};

static const struct option_table inner = {.items = inner_items, .count = ARRAY_SIZE(inner_items)};

static const struct option_section sections[] = {
    {.name = "in",
     .singular = "instance",
     .title = "Instances",
     .help = "Help.",
     .table = &inner,
     .instance_size = sizeof(struct instance),
     .offset = offsetof(struct settings, instances)},
};

static const struct option items[] = {
    {ITEM("on", OPTION_BOOL, on), .def = "no"},
    {ITEM("a.number", OPTION_INT, number), .least = "-9", .most = "9", .def = "1"},
    {ITEM("a.size", OPTION_SIZE, size_bytes), .def = "1k"},
    {ITEM("a.b.wait", OPTION_DURATION, wait_ms), .least = "1s", .def = "5s"},
    {ITEM("a.b.text", OPTION_STRING, text), .most = "20"},
    {ITEM("choice", OPTION_ENUM, choice), .choices = choices, .def = "two"},
    {ITEM("list", OPTION_LIST, list)},
};

static const struct option_table table = {.items = items,
                                          .count = ARRAY_SIZE(items),
                                          .sections = sections,
                                          .sections_count = ARRAY_SIZE(sections)};

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

static void assert_is_whole(const struct instance *in)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};

    assert(in->name && *in->name && in->text && in->secret);
    assert(in->type == 0 || in->type == 1);
    for (size_t i = 0; i < ARRAY_SIZE(inner_items); i++)
        assert(option_format_value(&inner_items[i], in, &text) == 0);
}

/** Secrets are read then, from files of any name: of those only regular ones, and they are not
 * written to. */
static void complete(struct settings *settings, struct option_problems *problems)
{
    size_t before = problems->count;
    int r = options_complete(&table, settings, problems);

    assert(r == 0 || r == -EINVAL);
    assert((r == 0) == (problems->count == before));
    assert(settings->instances.count <= OPTION_INSTANCES_MAX);
    for (size_t i = 0; i < settings->instances.count; i++)
        assert_is_whole((const struct instance *)settings->instances.items + i);
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
    complete(&settings, &problems);
    options_finish(&table, &settings);
    option_problems_finish(&problems);
    return 0;
}
