/* See shipping.h. */
#include "shipping.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

#include "books.h"

#define LONG_BYTES 40000
#define ROUND_LINES 100

int shipping_setup(void **state)
{
    struct shipping *s = calloc(1, sizeof *s);
    void *world = NULL;

    if (!s || world_setup(&world) < 0)
        return -1;
    s->world = world;
    world_engine(s->world, NULL);
    s->ledger = ledger_create(s->world);
    for (size_t i = 0; i < SHIPPING_CONTAINERS; i++)
        s->containers[i] = sim_add(s->world->sim, NULL);
    *state = s;
    return 0;
}

int shipping_teardown(void **state)
{
    struct shipping *s = *state;
    void *world = s->world;

    (void)world_teardown(&world);
    ledger_destroy(s->ledger);
    free(s);
    return 0;
}

static void path_of(const struct shipping *s, const char *name, char path[static 128])
{
    (void)snprintf(path, 128, "%s/%s", s->world->dir, name);
}

static void write_config(const struct shipping *s, const char *path, const char *options)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fprintf(file,
            "engine:\n  url: \"%s\"\n  reconnect_min: 10ms\n"
            "discovery:\n  resync_interval: 200ms\n"
            "stream:\n  since: all\n"
            "positions:\n  path: \"%s/positions\"\n"
            "dead_letters:\n  path: \"%s/dead_letters\"\n"
            "log:\n  level: debug\n"
            "admin:\n  port: 0\n"
            "sinks:\n  there:\n    request.linger: 5ms\n    request.max_bytes: 64KiB\n",
            sim_url(s->world->sim), s->world->dir, s->world->dir);
    for (const char *end; *options; options = end + 1) {
        end = strchr(options, '\n');
        assert_non_null(end);
        fprintf(file, "    %.*s\n", (int)(end - options), options);
    }
    assert_int_equal(0, fclose(file));
}

void shipping_run(struct shipping *s, const char *options, ...)
{
    char path[128], text[2048];
    va_list ap;

    va_start(ap, options);
    assert_in_range(vsnprintf(text, sizeof text, options, ap), 1, sizeof text - 1);
    va_end(ap);
    path_of(s, "ringtail.yaml", path);
    write_config(s, path, text);
    world_command(s->world, "run", "--config", path);
}

static void add(struct shipping *s, struct sim_container *c, enum sim_stream stream,
                const char *text, size_t len)
{
    ledger_say(s->ledger, c, stream, world_next_ts(s->world), text, len);
}

static void add_all(struct shipping *s, struct sim_container *c)
{
    static const char odd[] = "quotes \" and \\ and / and \b\f\r\t\x01\x1f\x7f and </script>",
                      alphabets[] = "caf\u00e9 \u4e2d\u6587 \U0001f980 \u2028 \ufeff",
                      no_text[] = "\xff\xfe no UTF-8 \xc3", zero[] = "a\0b",
                      no_end[] = "a run that ends here";
    static char bytes[LONG_BYTES];
    int64_t same_ns;

    ledger_add(s->ledger, c, SIM_STDOUT, 0, no_end, sizeof no_end - 1, TOLD_PARTIAL);
    assert_int_equal(0, sim_write(c, SIM_STDOUT, no_end, sizeof no_end - 1));
    assert_int_equal(0, sim_container_restart(c));
    add(s, c, SIM_STDOUT, "", 0);
    add(s, c, SIM_STDERR, odd, sizeof odd - 1);
    add(s, c, SIM_STDOUT, alphabets, sizeof alphabets - 1);
    add(s, c, SIM_STDERR, no_text, sizeof no_text - 1);
    add(s, c, SIM_STDOUT, zero, sizeof zero - 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('a' + i % 26);
    add(s, c, SIM_STDOUT, bytes, sizeof bytes);
    ledger_say_many(s->ledger, c, "one of many", ROUND_LINES);
    same_ns = world_next_ts(s->world);
    for (unsigned i = 0; i < 3; i++)
        ledger_say(s->ledger, c, SIM_STDOUT, same_ns, "at once, and the same", 21);
}

void shipping_say(struct shipping *s)
{
    for (size_t i = 0; i < SHIPPING_CONTAINERS; i++)
        add_all(s, s->containers[i]);
}

struct wanted {
    double settled, lost;
};

static bool is_away(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    return books_sum(w, "records_settled_total{") == wanted->settled &&
           books_sum(w, "records_lost_total{") == wanted->lost;
}

void shipping_wait(struct shipping *s, unsigned lost)
{
    struct wanted wanted = {.settled = (double)ledger_count(s->ledger), .lost = lost};

    world_wait(s->world, "all lines brought away", is_away, &wanted);
}

void shipping_check(struct shipping *s, const struct receiver *receiver, const char *of)
{
    struct buf taken = {0};
    char url[128], path[128];
    const char *why;
    FILE *file;

    (void)snprintf(url, sizeof url, "/taken?of=%s", of);
    if (receiver_get(receiver, url, &taken) != 200)
        world_fail(s->world, "the receiver says: %s", buf_cstr(&taken));
    path_of(s, "taken", path);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(taken.len, fwrite(taken.data, 1, taken.len, file));
    assert_int_equal(0, fclose(file));
    buf_finish(&taken);
    if (!ledger_is_met_by(s->ledger, path, &why))
        world_fail(s->world, "the receiver has not what was written: %s", why);
}

size_t shipping_dead_letters(struct shipping *s, const char *needle)
{
    char path[128], text[8192];
    size_t count = 0;
    FILE *file;

    path_of(s, "dead_letters", path);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(text, sizeof text, file)) {
        assert_non_null(strstr(text, needle));
        assert_non_null(strstr(text, "\"sink\":\"there\""));
        count++;
    }
    assert_int_equal(0, fclose(file));
    return count;
}
