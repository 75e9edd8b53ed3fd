/* The Kafka sink and a cluster in another process, with another program as the consumer. */
#include <stdlib.h>

#include "shipping.h"

static struct receiver cluster;

static int start(void **state)
{
    return receiver_start_program(&cluster, "python3", "kafka.py", NULL);
}

static int stop(void **state)
{
    receiver_stop(&cluster);
    return 0;
}

static void ship(struct shipping *s, const char *topic, const char *compression)
{
    shipping_say(s);
    shipping_run(s, "type: kafka\nbrokers: [\"127.0.0.1:%u\"]\ntopic: \"%s\"\ncompression: %s\n",
                 cluster.port, topic, compression);
    for (unsigned i = 0; i < 3; i++)
        shipping_say(s);
    shipping_wait(s, 0);
    world_stop_early(s->world);
    shipping_check(s, &cluster, topic);
}

static void test_every_line_is_a_message(void **state)
{
    ship(*state, "lines", "lz4");
}

static void test_messages_that_are_not_compressed(void **state)
{
    ship(*state, "plain-lines", "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHIPPING_TEST("every line is a message, keyed, with headers, once and in order",
                      test_every_line_is_a_message),
        SHIPPING_TEST("messages that are not compressed are, too",
                      test_messages_that_are_not_compressed),
    };

    cmocka_set_test_filter(getenv("RINGTAIL_TEST"));
    return cmocka_run_group_tests(tests, start, stop);
}
