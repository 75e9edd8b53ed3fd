/* The OTLP sink and OpenTelemetry's own code, which reads its requests and writes the replies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shipping.h"

static struct receiver receiver;

static int start(void **state)
{
    if (setenv("NODE_PATH", NODE_MODULES, 1) < 0)
        return -1;
    return receiver_start_program(&receiver, "node", "otlp/receiver.js", NULL);
}

static int stop(void **state)
{
    receiver_stop(&receiver);
    return 0;
}

static int begin(void **state)
{
    return receiver_command(&receiver, "/forget", "") == 200 ? shipping_setup(state) : -1;
}

/* Requests of a kind, as the receiver has counted them. */
static unsigned requests(const char *kind)
{
    struct buf stats = {0};
    const char *at;
    unsigned count = 0;

    assert_int_equal(200, receiver_get(&receiver, "/stats", &stats));
    at = strstr(buf_cstr(&stats), kind);
    assert_non_null(at);
    assert_int_equal(1, sscanf(at + strlen(kind), "\":%u", &count));
    buf_finish(&stats);
    return count;
}

static void ship(struct shipping *s, const char *encoding, const char *compression)
{
    shipping_say(s);
    shipping_run(s, "type: otlp\nurl: \"http://127.0.0.1:%u\"\nencoding: %s\ncompression: %s\n",
                 receiver.port, encoding, compression);
    shipping_say(s);
    shipping_wait(s, 0);
    world_stop_early(s->world);
    shipping_check(s, &receiver, "logs");
    assert_true(requests(encoding) > 0);
    if (strcmp(compression, "gzip") == 0)
        assert_int_equal(requests("gzip"), requests(encoding));
    else
        assert_int_equal(0, requests("gzip"));
}

static void test_protobuf(void **state)
{
    ship(*state, "protobuf", "none");
}

static void test_protobuf_compressed(void **state)
{
    ship(*state, "protobuf", "gzip");
}

static void test_json(void **state)
{
    ship(*state, "json", "none");
}

static void test_json_compressed(void **state)
{
    ship(*state, "json", "gzip");
}

static void reject(struct shipping *s, const char *encoding)
{
    static const char bad[] = "refused by the receiver";

    for (unsigned i = 0; i < SHIPPING_CONTAINERS; i++) {
        ledger_say_many(s->ledger, s->containers[i], "before it", 20 + i);
        assert_int_equal(0, sim_line_bytes(s->containers[i], SIM_STDOUT, world_next_ts(s->world),
                                           bad, strlen(bad)));
        ledger_say_many(s->ledger, s->containers[i], "behind it", 30);
    }
    shipping_run(s, "type: otlp\nurl: \"http://127.0.0.1:%u\"\nencoding: %s\n", receiver.port,
                 encoding);
    shipping_wait(s, SHIPPING_CONTAINERS);
    world_stop_early(s->world);
    shipping_check(s, &receiver, "logs");
}

static void test_partial_success_in_protobuf(void **state)
{
    reject(*state, "protobuf");
}

static void test_partial_success_in_json(void **state)
{
    reject(*state, "json");
}

#define OTLP_TEST(title, fn)                                                                       \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = begin,                                   \
        .teardown_func = shipping_teardown                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OTLP_TEST("requests in protobuf say what was written", test_protobuf),
        OTLP_TEST("requests in compressed protobuf say what was written", test_protobuf_compressed),
        OTLP_TEST("requests in JSON say what was written", test_json),
        OTLP_TEST("requests in compressed JSON say what was written", test_json_compressed),
        OTLP_TEST("a partial success in protobuf is counted exactly",
                  test_partial_success_in_protobuf),
        OTLP_TEST("a partial success in JSON is counted exactly", test_partial_success_in_json),
    };

    cmocka_set_test_filter(getenv("RINGTAIL_TEST"));
    return cmocka_run_group_tests(tests, start, stop);
}
