/* The HTTP sink and ClickHouse, of which Debian 12 is the last release to have it: what INSERT …
 * FORMAT JSONEachRow has taken is what was written, by its own reading of every field. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shipping.h"

#define INSERT_INTO "?query=INSERT%%20INTO%%20"
#define AS_JSON "%%20FORMAT%%20JSONEachRow"

static struct receiver clickhouse;

static int start(void **state)
{
    return receiver_start_program(&clickhouse, "python3", "clickhouse.py",
                                  (const char *const[]){CLICKHOUSE, NULL});
}

static int stop(void **state)
{
    receiver_stop(&clickhouse);
    return 0;
}

static void test_every_line_is_a_row(void **state)
{
    struct shipping *s = *state;

    shipping_say(s);
    shipping_run(s,
                 "type: http\ncompression: gzip\n"
                 "url: \"http://127.0.0.1:%u/" INSERT_INTO "lines" AS_JSON "\"\n",
                 clickhouse.port);
    for (unsigned i = 0; i < 3; i++)
        shipping_say(s);
    shipping_wait(s, 0);
    world_stop_early(s->world);
    shipping_check(s, &clickhouse, "lines");
}

static void test_a_row_that_is_refused_goes_alone(void **state)
{
    static const char good[] = "refused 17", bad[] = "refused since it is no number";
    struct shipping *s = *state;

    for (unsigned i = 0; i < SHIPPING_CONTAINERS; i++) {
        ledger_say_many(s->ledger, s->containers[i], "before it", 20 + i);
        ledger_say(s->ledger, s->containers[i], SIM_STDERR, world_next_ts(s->world), good,
                   strlen(good));
        assert_int_equal(0, sim_line_bytes(s->containers[i], SIM_STDOUT, world_next_ts(s->world),
                                           bad, strlen(bad)));
        ledger_say_many(s->ledger, s->containers[i], "behind it", 30);
    }
    shipping_run(s,
                 "type: http\ncompression: none\n"
                 "url: \"http://127.0.0.1:%u/" INSERT_INTO "numbered" AS_JSON "\"\n",
                 clickhouse.port);
    shipping_wait(s, SHIPPING_CONTAINERS);
    world_stop_early(s->world);
    shipping_check(s, &clickhouse, "numbered");
    assert_int_equal(SHIPPING_CONTAINERS, shipping_dead_letters(s, bad));
    assert_int_equal(SHIPPING_CONTAINERS, shipping_dead_letters(s, "\"status\":400"));
    assert_int_equal(SHIPPING_CONTAINERS, shipping_dead_letters(s, "Cannot parse string"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHIPPING_TEST("every line is a row of the table", test_every_line_is_a_row),
        SHIPPING_TEST("S27 a row that is refused is a dead letter, and its neighbours are rows",
                      test_a_row_that_is_refused_goes_alone),
    };

    if (access(CLICKHOUSE, X_OK) < 0) {
        puts("there is no clickhouse-server: this release's archive has none");
        return 77;
    }
    cmocka_set_test_filter(getenv("RINGTAIL_TEST"));
    return cmocka_run_group_tests(tests, start, stop);
}
