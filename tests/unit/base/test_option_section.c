/* Sections: instances by name, options by type, secrets, and what is said about mistakes. */
#include "ringtail/base/option.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define SECRET "correct-horse"

struct box {
    char *name;
    int type;
    int64_t width, limit;
    int lid;
    bool lid_given;
    char *owner;
    char *key, *spare_key;
    struct option_list tags;
};

struct settings {
    int64_t workers;
    bool workers_given;
    char *password;
    struct option_instances boxes;
};

static const char *const types[] = {"wood", "steel", NULL};
static const char *const wooden_lids[] = {"none", "oak", NULL};
static const char *const steel_lids[] = {"welded", "none", NULL};

#define WOOD BIT(0)
#define STEEL BIT(1)
#define ITEM(path, kind, member)                                                                   \
    .name = (path), .type = (kind), .offset = offsetof(struct box, member)

static const struct option box_options[] = {
    {ITEM("type", OPTION_ENUM, type), .choices = types, .required = true, .help = "What it is.",
     .group = "Every box"},
    {ITEM("size.width", OPTION_SIZE, width), .least = "1", .most = "1MiB", .def = "4k",
     .help = "How wide.", .group = "Every box"},
    {ITEM("limit", OPTION_INT, limit), .least = "0", .most = "9", .def = "5", .kinds = WOOD,
     .help = "How many.", .group = "Every box"},
    {ITEM("limit", OPTION_INT, limit), .least = "10", .most = "99", .def = "50", .kinds = STEEL,
     .help = "How many.", .group = "Every box"},
    {ITEM("lid", OPTION_ENUM, lid), .choices = wooden_lids, .def = "oak", .kinds = WOOD,
     .given = offsetof(struct box, lid_given), .help = "Its lid.", .group = "Wood"},
    {ITEM("lid", OPTION_ENUM, lid), .choices = steel_lids, .def = "none", .kinds = STEEL,
     .given = offsetof(struct box, lid_given), .help = "Its lid.", .group = "Steel"},
    {ITEM("owner", OPTION_STRING, owner), .least = "1", .most = "20", .kinds = STEEL,
     .required = true, .sample = "me", .help = "Whose it is.", .group = "Steel"},
    {ITEM("key.main", OPTION_SECRET, key), .kinds = STEEL, .sample = "env:BOX_KEY",
     .help = "Opens it.", .group = "Steel"},
    {ITEM("key.spare", OPTION_SECRET, spare_key), .help = "Opens it too.", .group = "Every box"},
    {ITEM("tags", OPTION_LIST, tags), .kinds = WOOD, .help = "What it says.", .group = "Wood"},
};

static const struct option_table box_table = {.items = box_options,
                                              .count = ARRAY_SIZE(box_options)};

static const struct option options[] = {
    {.name = "workers",
     .type = OPTION_INT,
     .offset = offsetof(struct settings, workers),
     .given = offsetof(struct settings, workers_given),
     .least = "1",
     .most = "64",
     .def = "4",
     .help = "How many.",
     .group = "Engine"},
    {.name = "password",
     .type = OPTION_SECRET,
     .offset = offsetof(struct settings, password),
     .help = "Lets one in.",
     .group = "Engine"},
};

static const struct option_section sections[] = {
    {.name = "boxes",
     .singular = "box",
     .title = "Boxes",
     .help = "Where things are kept.",
     .table = &box_table,
     .instance_size = sizeof(struct box),
     .offset = offsetof(struct settings, boxes)},
};

static const struct option_table table = {.items = options,
                                          .count = ARRAY_SIZE(options),
                                          .sections = sections,
                                          .sections_count = ARRAY_SIZE(sections)};

struct fixture {
    struct settings settings;
    struct option_problems problems;
    struct buf text;
    char path[32];
};

static void begin(struct fixture *f)
{
    options_finish(&table, &f->settings);
    f->settings = (struct settings){0};
    assert_int_equal(0, options_set_defaults(&table, &f->settings));
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    begin(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    options_finish(&table, &f->settings);
    option_problems_finish(&f->problems);
    buf_finish(&f->text);
    if (*f->path)
        (void)unlink(f->path);
    free(f);
    return unsetenv("BOX_KEY");
}

/** All problems, then all warnings behind a `!`, each ended by a newline; they are forgotten. */
static const char *problems(struct fixture *f)
{
    buf_reset(&f->text);
    for (size_t i = 0; i < f->problems.count; i++)
        assert_int_equal(0, buf_printf(&f->text, "%s\n", f->problems.items[i].text));
    for (size_t i = 0; i < f->problems.warnings_count; i++)
        assert_int_equal(0, buf_printf(&f->text, "!%s\n", f->problems.warnings[i].text));
    option_problems_finish(&f->problems);
    return buf_cstr(&f->text);
}

static int set(struct fixture *f, const char *name, const char *value)
{
    return options_set(&table, &f->settings, "--set", slice_str(name), slice_str(value),
                       &f->problems);
}

static int load(struct fixture *f, const char *yaml)
{
    return options_load_text(&table, &f->settings, "b.yaml", slice_str(yaml), &f->problems);
}

static int complete(struct fixture *f)
{
    return options_complete(&table, &f->settings, &f->problems);
}

static const struct box *box(struct fixture *f, size_t i)
{
    assert_true(i < f->settings.boxes.count);
    return (const struct box *)f->settings.boxes.items + i;
}

/** From the defaults on: what is said of the text is this, and nothing else. */
static void assert_said(struct fixture *f, const char *yaml, const char *expected)
{
    bool wrong = false;

    begin(f);
    wrong |= load(f, yaml) != 0;
    wrong |= complete(f) != 0;
    assert_int_equal(wrong, f->problems.count > 0);
    assert_string_equal(expected, problems(f));
}

/** The same of one setting. */
static void assert_set_said(struct fixture *f, const char *name, const char *value,
                            const char *expected)
{
    begin(f);
    (void)set(f, name, value); /* what it has to say is in the list */
    (void)complete(f);
    assert_string_equal(expected, problems(f));
}

static void write_secret(struct fixture *f, const void *text, size_t len, mode_t mode)
{
    int fd;

    if (*f->path)
        assert_int_equal(0, unlink(f->path));
    (void)snprintf(f->path, sizeof f->path, "/tmp/ringtail-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(len, write(fd, text, len));
    assert_int_equal(0, fchmod(fd, mode));
    assert_int_equal(0, close(fd));
}

/** A box whose spare key is `reference` and the file's path. */
static void give_key(struct fixture *f, const char *reference)
{
    char value[64];

    begin(f);
    (void)snprintf(value, sizeof value, "%s%s", reference, f->path);
    assert_int_equal(0, set(f, "boxes.a.type", "wood"));
    assert_int_equal(0, set(f, "boxes.a.key.spare", value));
}

static void test_instances_are_made_in_their_order_with_the_options_of_their_type(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, load(f, "boxes:\n"
                                "  small:\n"
                                "    limit: 7\n"
                                "    size: {width: 2k}\n"
                                "    tags: [a, 'b,c']\n"
                                "    type: wood\n"
                                "  large-2_x:\n"
                                "    type: steel\n"
                                "    owner: us\n"
                                "    lid: welded\n"
                                "boxes.third.type: wood\n"));
    assert_null(f->settings.boxes.items);
    assert_int_equal(0, complete(f));
    assert_string_equal("", problems(f));
    assert_int_equal(3, f->settings.boxes.count);
    assert_string_equal("small", box(f, 0)->name);
    assert_int_equal(0, box(f, 0)->type);
    assert_int_equal(7, box(f, 0)->limit);
    assert_int_equal(2048, box(f, 0)->width);
    assert_int_equal(1, box(f, 0)->lid);
    assert_false(box(f, 0)->lid_given);
    assert_int_equal(2, box(f, 0)->tags.count);
    assert_string_equal("b,c", box(f, 0)->tags.items[1]);
    assert_string_equal("large-2_x", box(f, 1)->name);
    assert_int_equal(1, box(f, 1)->type);
    assert_int_equal(50, box(f, 1)->limit);
    assert_string_equal("us", box(f, 1)->owner);
    assert_int_equal(0, box(f, 1)->lid);
    assert_true(box(f, 1)->lid_given);
    assert_string_equal("third", box(f, 2)->name);
    assert_int_equal(4096, box(f, 2)->width);
}

static void test_what_a_type_does_not_have_is_zero_or_empty(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, set(f, "boxes.s.type", "steel"));
    assert_int_equal(0, set(f, "boxes.s.owner", "x"));
    assert_int_equal(0, set(f, "boxes.w.type", "wood"));
    assert_int_equal(0, complete(f));
    assert_int_equal(0, box(f, 0)->tags.count);
    assert_string_equal("", box(f, 0)->key);
    assert_string_equal("", box(f, 1)->owner);
    assert_string_equal("", box(f, 1)->key);
}

static void test_nothing_given_makes_nothing(void **state)
{
    static const char *const texts[] = {"", "boxes:\n", "boxes: {}\n", "boxes: ~\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_said(f, texts[i], "");
        assert_int_equal(0, f->settings.boxes.count);
    }
}

static void test_what_is_set_behind_the_file_wins_its_type_too(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, load(f, "boxes: {a: {type: wood, size.width: 1k}}\n"));
    assert_int_equal(0, set(f, "boxes.b.owner", "me"));
    assert_int_equal(0, set(f, "boxes.a.owner", "us"));
    assert_int_equal(0, set(f, "boxes.a.size.width", "3k"));
    assert_int_equal(0, set(f, "boxes.a.type", "steel"));
    assert_int_equal(0, set(f, "boxes.b.type", "steel"));
    assert_int_equal(0, complete(f));
    assert_string_equal("", problems(f));
    assert_int_equal(2, f->settings.boxes.count);
    assert_string_equal("a", box(f, 0)->name);
    assert_int_equal(1, box(f, 0)->type);
    assert_int_equal(3072, box(f, 0)->width);
    assert_string_equal("us", box(f, 0)->owner);
    assert_string_equal("me", box(f, 1)->owner);
}

static void test_every_mistake_in_a_file_is_told_with_its_place(void **state)
{
    assert_said(
        *state,
        "boxes:\n"
        "  a:\n"
        "    type: wood\n"
        "    limit: 10\n"
        "    owner: me\n"
        "    lid: welded\n"
        "    widht: 1\n"
        "    size: {widht: 1, width: 2MiB, width: 1}\n"
        "    key: 5\n"
        "    tags: x\n"
        "  Big: {type: wood}\n"
        "  steel_one: {type: steel, limit: 9}\n"
        "  none: {}\n"
        "  odd: {type: paper, limit: 1000, owner: 5}\n"
        "  a: {}\n"
        "  list: []\n"
        "boxs: {}\n"
        "boxes.steel_one.type: wood\n",
        "b.yaml:7:5: unknown option \"boxes.a.widht\"\n"
        "b.yaml:8:12: unknown option \"boxes.a.size.widht\" (did you mean "
        "\"boxes.a.size.width\"?)\n"
        "b.yaml:8:35: \"boxes.a.size.width\" is given twice (first in line 8)\n"
        "b.yaml:9:10: boxes.a.key: expected a group of options, such as \"boxes.a.key.main\"\n"
        "b.yaml:10:11: boxes.a.tags: expected a list without empty items, found \"x\"\n"
        "b.yaml:11:3: \"Big\" can't be the name of a box (1 to 32 of a-z 0-9 _ -)\n"
        "b.yaml:15:3: \"boxes.a\" is given twice (first in line 2)\n"
        "b.yaml:16:9: boxes.list: expected a group of options, such as \"boxes.list.type\"\n"
        "b.yaml:17:1: unknown option \"boxs\" (did you mean \"boxes\"?)\n"
        "b.yaml:18:1: \"boxes.steel_one.type\" is given twice (first in line 12)\n"
        "b.yaml:4:12: boxes.a.limit: expected a number between 0 and 9, found \"10\"\n"
        "b.yaml:5:12: boxes.a.owner: a box of type wood has no such option (those of type steel "
        "have it)\n"
        "b.yaml:6:10: boxes.a.lid: expected one of none, oak, found \"welded\"\n"
        "b.yaml:8:29: boxes.a.size.width: expected a size such as 64KiB between 1 and 1MiB, found "
        "\"2MiB\"\n"
        "b.yaml:13:3: boxes.none: type is missing (one of wood, steel)\n"
        "b.yaml:14:15: boxes.odd.type: expected one of wood, steel, found \"paper\"\n"
        "b.yaml:16:3: boxes.list: type is missing (one of wood, steel)\n");
}

static void test_every_mistake_on_the_command_line_is_told(void **state)
{
    struct fixture *f = *state;

    assert_set_said(f, "boxes", "1",
                    "--set boxes: this is a group of options, such as \"boxes.NAME.type\"\n");
    assert_set_said(f, "boxes.a", "1",
                    "--set boxes.a: this is a group of options, such as \"boxes.a.type\"\n");
    assert_set_said(f, "boxes.a.key", "1",
                    "--set boxes.a.key: this is a group of options, such as "
                    "\"boxes.a.key.main\"\n");
    assert_set_said(f, "boxes.a.limitt", "1",
                    "--set boxes.a.limitt: unknown option \"boxes.a.limitt\" (did you mean "
                    "\"boxes.a.limit\"?)\n");
    assert_set_said(f, "boxs.a.limit", "1",
                    "--set boxs.a.limit: unknown option \"boxs.a.limit\" (did you mean "
                    "\"boxes.a.limit\"?)\n");
    assert_set_said(f, "boxes.A.type", "wood",
                    "--set boxes.A.type: \"A\" can't be the name of a box (1 to 32 of a-z 0-9 _ "
                    "-)\n");
    assert_set_said(f, "boxes.A", "wood",
                    "--set boxes.A: \"A\" can't be the name of a box (1 to 32 of a-z 0-9 _ -)\n");
    assert_set_said(f, "boxes..type", "wood",
                    "--set boxes..type: \"\" can't be the name of a box (1 to 32 of a-z 0-9 _ "
                    "-)\n");
    assert_set_said(f, "boxes.a.limit", "1",
                    "--set boxes.a: type is missing (one of wood, steel)\n");
    assert_set_said(f, "boxes.a.type", "tin",
                    "--set boxes.a.type=tin: expected one of wood, steel\n");
    assert_set_said(f, "boxes.a.type", "steel",
                    "--set boxes.a: owner is missing (a box of type steel needs it)\n");
}

static void test_names_are_up_to_32_of_some_characters(void **state)
{
    struct fixture *f = *state;

    assert_set_said(f, "boxes.abcdefghijklmnopqrstuvwxyz-_0189.type", "wood", "");
    assert_int_equal(1, f->settings.boxes.count);
    assert_set_said(f, "boxes.abcdefghijklmnopqrstuvwxyz-_01892.type", "wood",
                    "--set boxes.abcdefghijklmnopqrstuvwxyz-_01892.type: "
                    "\"abcdefghijklmnopqrstuvwxyz-_01892\" can't be the name of a box (1 to 32 of "
                    "a-z 0-9 _ -)\n");
    assert_int_equal(0, f->settings.boxes.count);
}

static void test_there_are_64_instances_at_most(void **state)
{
    struct fixture *f = *state;
    struct buf yaml = {0};

    assert_int_equal(0, buf_append_str(&yaml, "boxes:\n"));
    for (int i = 0; i < OPTION_INSTANCES_MAX; i++)
        assert_int_equal(0, buf_printf(&yaml, "  b%d: {type: wood}\n", i));
    assert_said(f, buf_cstr(&yaml), "");
    assert_int_equal(OPTION_INSTANCES_MAX, f->settings.boxes.count);
    assert_int_equal(0, buf_append_str(&yaml, "  one_more: {type: wood}\n  b64.type: wood\n"));
    assert_said(f, buf_cstr(&yaml),
                "b.yaml:66:3: boxes.one_more: more than 64 boxes\n"
                "b.yaml:67:13: boxes.b64.type: more than 64 boxes\n");
    assert_int_equal(OPTION_INSTANCES_MAX, f->settings.boxes.count);
    buf_finish(&yaml);
}

static void test_what_was_given_is_known(void **state)
{
    struct fixture *f = *state;

    assert_false(f->settings.workers_given);
    assert_int_equal(-EINVAL, set(f, "workers", "0"));
    assert_false(f->settings.workers_given);
    assert_int_equal(0, set(f, "workers", "4"));
    assert_true(f->settings.workers_given);
    begin(f);
    assert_false(f->settings.workers_given);
    (void)problems(f);
    assert_int_equal(0, load(f, "workers: 4\n"));
    assert_true(f->settings.workers_given);
}

static void test_an_empty_list_is_not_what_is_required(void **state)
{
    static const struct option items[] = {
        {ITEM("type", OPTION_ENUM, type), .choices = types, .required = true, .help = "Its type.",
         .group = "Box"},
        {ITEM("tags", OPTION_LIST, tags), .required = true, .help = "Tags.", .group = "Box"},
    };
    static const struct option_table inner = {.items = items, .count = ARRAY_SIZE(items)};
    struct option_section section = sections[0];
    struct option_table outer = table;
    struct settings settings = {0};
    struct fixture *f = *state;

    section.table = &inner;
    outer.sections = &section;
    assert_int_equal(0, options_set_defaults(&outer, &settings));
    assert_int_equal(0, options_load_text(&outer, &settings, "b.yaml",
                                          slice_str("boxes: {a: {type: wood, tags: []}}\n"),
                                          &f->problems));
    assert_int_equal(-EINVAL, options_complete(&outer, &settings, &f->problems));
    assert_string_equal("b.yaml:1:9: boxes.a: tags is missing (a box of type wood needs it)\n",
                        problems(f));
    options_finish(&outer, &settings);
}

static void test_settings_that_nobody_completes_are_freed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, load(f, "boxes: {a: {type: wood, tags: [a, b], key.spare: " SECRET "}}\n"));
    assert_int_equal(0, f->settings.boxes.count);
}

/* ---- secrets ---- */

static void test_a_secret_is_the_first_line_of_a_file(void **state)
{
    static const char *const texts[] = {SECRET, SECRET "\n", SECRET "\r\n", SECRET "\nmore\n\n"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        write_secret(f, texts[i], strlen(texts[i]), 0600);
        give_key(f, "file:");
        assert_int_equal(0, complete(f));
        assert_string_equal("", problems(f));
        assert_string_equal(SECRET, box(f, 0)->spare_key);
    }
}

static void test_a_secret_that_everybody_can_read_is_warned_of(void **state)
{
    struct fixture *f = *state;
    char expected[160];

    write_secret(f, SECRET, strlen(SECRET), 0644);
    give_key(f, "file:");
    assert_int_equal(0, complete(f));
    (void)snprintf(expected, sizeof expected,
                   "!--set boxes.a.key.spare=***: %s can be read by everybody (chmod o-r)\n",
                   f->path);
    assert_string_equal(expected, problems(f));
    assert_string_equal(SECRET, box(f, 0)->spare_key);
}

static void assert_secret_refused(struct fixture *f, const char *what)
{
    char expected[160];

    give_key(f, "file:");
    assert_int_equal(-EINVAL, complete(f));
    (void)snprintf(expected, sizeof expected, "--set boxes.a.key.spare=***: %s %s\n", f->path,
                   what);
    assert_string_equal(expected, problems(f));
    assert_string_equal("", box(f, 0)->spare_key);
}

static void test_a_file_that_is_no_secret_is_refused(void **state)
{
    static char longest[16384 + 2];
    struct fixture *f = *state;

    write_secret(f, "", 0, 0600);
    assert_secret_refused(f, "is empty");
    write_secret(f, "\n" SECRET, 1 + strlen(SECRET), 0600);
    assert_secret_refused(f, "is empty");
    write_secret(f, "a\0b", 3, 0600);
    assert_secret_refused(f, "has a control character in it");
    write_secret(f, "a\rb\n", 4, 0600);
    assert_secret_refused(f, "has a control character in it");
    memset(longest, 'x', sizeof longest);
    write_secret(f, longest, 16385, 0600);
    assert_secret_refused(f, "is longer than 16 KiB");
    longest[16384] = '\n';
    write_secret(f, longest, sizeof longest, 0600);
    give_key(f, "file:");
    assert_int_equal(0, complete(f));
    assert_int_equal(16384, strlen(box(f, 0)->spare_key));
    (void)problems(f);
    assert_int_equal(0, unlink(f->path));
    assert_secret_refused(f, "cannot be read: No such file or directory");
    assert_int_equal(0, mkfifo(f->path, 0600));
    assert_secret_refused(f, "is not a regular file");
}

static void test_a_secret_comes_from_the_environment(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, setenv("BOX_KEY", SECRET, 1));
    assert_said(f, "password: env:BOX_KEY\n", "");
    assert_string_equal(SECRET, f->settings.password);
    assert_said(f, "boxes: {a: {type: wood, key: {spare: env:BOX_KEY}}}\n", "");
    assert_string_equal(SECRET, box(f, 0)->spare_key);
    assert_int_equal(0, setenv("BOX_KEY", "", 1));
    assert_said(f, "password: env:BOX_KEY\n", "b.yaml:1:11: password: BOX_KEY is empty\n");
    assert_int_equal(0, unsetenv("BOX_KEY"));
    assert_said(f, "password: env:BOX_KEY\n",
                "b.yaml:1:11: password: BOX_KEY is not in the environment\n");
    assert_string_equal("", f->settings.password);
}

static void test_a_secret_in_plain_text_is_taken_with_a_warning(void **state)
{
    struct fixture *f = *state;

    assert_said(f, "password: " SECRET "\n",
                "!b.yaml:1:11: password: a secret in plain text (file:/path or env:NAME keeps it "
                "out of the configuration)\n");
    assert_string_equal(SECRET, f->settings.password);
    assert_said(f, "password: file:relative\n",
                "b.yaml:1:11: password: file: takes a path that begins with /\n");
    assert_said(f, "password: ''\n", "b.yaml:1:11: password: a secret is empty\n");
    assert_said(f, "password: [" SECRET "]\n",
                "b.yaml:1:11: password: expected file:/path or env:NAME, found a list\n");
    assert_said(f, "password:\n",
                "b.yaml:1:10: password: expected file:/path or env:NAME, found nothing (leave it "
                "out for its default)\n");
}

static void assert_nothing_says_it(struct fixture *f)
{
    assert_null(strstr(problems(f), SECRET));
    buf_reset(&f->text);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        assert_int_equal(0, option_format_value(&options[i], &f->settings, &f->text));
    for (size_t i = 0; f->settings.boxes.count > 0 && i < ARRAY_SIZE(box_options); i++)
        assert_int_equal(0, option_format_value(&box_options[i], box(f, 0), &f->text));
    assert_int_equal(0, options_write_help(&table, &f->text, 80));
    assert_int_equal(0, options_write_markdown(&table, &f->text));
    assert_null(strstr(buf_cstr(&f->text), SECRET));
}

static void test_no_output_ever_has_a_secret_in_it(void **state)
{
    /* Right, wrong in every way, and where none belongs. */
    static const char *const names[] = {
        "password",          "passwrd",          "boxes.a.key.main", "boxes.a.key.spare",
        "boxes.a.key.sparr", "boxes.a.key",      "boxes.A.key.main", "boxs.a.key.main",
        "boxes.a",           "boxes.w.key.main",
    };
    static const char *const values[] = {SECRET, SECRET "\n", "\x01" SECRET, "file:" SECRET};
    struct fixture *f = *state;

    for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
        for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
            char yaml[128];

            begin(f);
            assert_int_equal(0, set(f, "boxes.a.type", "steel"));
            assert_int_equal(0, set(f, "boxes.a.owner", "me"));
            assert_int_equal(0, set(f, "boxes.w.type", "wood"));
            (void)set(f, names[n], values[v]); /* whatever comes of it */
            (void)complete(f);
            assert_nothing_says_it(f);
            begin(f);
            (void)snprintf(yaml, sizeof yaml, "boxes: {a: {type: steel}}\n%s: \"%s\"\n", names[n],
                           v == 2   ? "\\x01" SECRET
                           : v == 1 ? SECRET "\\n"
                                    : values[v]);
            (void)load(f, yaml);
            (void)complete(f);
            assert_nothing_says_it(f);
        }
    }
}

static void test_a_secret_that_is_set_is_shown_as_stars(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, option_format_value(&options[1], &f->settings, &f->text));
    assert_int_equal(0, f->text.len);
    assert_int_equal(0, set(f, "password", SECRET));
    assert_int_equal(0, option_format_value(&options[1], &f->settings, &f->text));
    assert_string_equal("***", buf_cstr(&f->text));
}

/* ---- text ---- */

static void test_help_and_documentation_have_a_table_for_each_group(void **state)
{
    struct fixture *f = *state;
    const char *text;

    assert_int_equal(0, options_write_help(&table, &f->text, 80));
    text = buf_cstr(&f->text);
    assert_non_null(strstr(text, "\nBoxes:\n  Where things are kept.\n\nBoxes, Every box:\n"));
    assert_non_null(strstr(text, "\n  boxes.NAME.type (choice)\n      What it is. (wood, steel; "
                                 "required)\n"));
    assert_non_null(strstr(text, "\n      (wood) How many. (0 to 9; default 5)\n"));
    assert_non_null(strstr(text, "\n  boxes.NAME.key.main (secret)\n"));
    buf_reset(&f->text);
    assert_int_equal(0, options_write_markdown(&table, &f->text));
    text = buf_cstr(&f->text);
    assert_non_null(strstr(text, "\n## Boxes\n\nWhere things are kept.\n\n### Every box\n\n| "));
    assert_non_null(strstr(text, "\n### Steel\n\nType: steel.\n\n| "));
    assert_non_null(strstr(text, "\n| `limit` | number | 10 to 99 | `50` | (steel) How many. |\n"));
    assert_non_null(strstr(text, "\n| `owner` | text | 1 to 20 bytes | required | Whose it is. "
                                 "|\n"));
    assert_non_null(strstr(text, "\n# boxes:\n#   wood:\n#     type: wood\n#   steel:\n#     type: "
                                 "steel\n#     owner: \"me\"\n#     key.main: "
                                 "\"env:BOX_KEY\"\n```\n"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_instances_are_made_in_their_order_with_the_options_of_their_type),
        TEST(test_what_a_type_does_not_have_is_zero_or_empty),
        TEST(test_nothing_given_makes_nothing),
        TEST(test_what_is_set_behind_the_file_wins_its_type_too),
        TEST(test_every_mistake_in_a_file_is_told_with_its_place),
        TEST(test_every_mistake_on_the_command_line_is_told),
        TEST(test_names_are_up_to_32_of_some_characters),
        TEST(test_there_are_64_instances_at_most),
        TEST(test_what_was_given_is_known),
        TEST(test_an_empty_list_is_not_what_is_required),
        TEST(test_settings_that_nobody_completes_are_freed),
        TEST(test_a_secret_is_the_first_line_of_a_file),
        TEST(test_a_secret_that_everybody_can_read_is_warned_of),
        TEST(test_a_file_that_is_no_secret_is_refused),
        TEST(test_a_secret_comes_from_the_environment),
        TEST(test_a_secret_in_plain_text_is_taken_with_a_warning),
        TEST(test_no_output_ever_has_a_secret_in_it),
        TEST(test_a_secret_that_is_set_is_shown_as_stars),
        TEST(test_help_and_documentation_have_a_table_for_each_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
