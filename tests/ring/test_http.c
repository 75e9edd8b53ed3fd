/* io/http.h against a scripted peer: every ending of an exchange, and closing and pausing at every
 * point. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/io/http.h"
#include "support/http_peer.h"

#define HEAD                                                                                       \
    "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nServer: x\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_REPLY CHUNKED "5\r\nhello\r\n1\r\n \r\n6\r\nworld!\r\n0\r\n\r\n"
#define REQUEST "GET /x HTTP/1.1\r\nHost: docker\r\n\r\n"

enum point { NOWHERE, IN_HEAD, IN_BODY, IN_IDLE };

struct client {
    struct ring_fixture *f;
    struct http_exchange *x;
    enum point close_at, pause_at;
    int head_returns, body_returns;
    bool flood; /* the body is http_peer_byte's: compare instead of keep */
    bool closing;
    unsigned heads, spans, idles, closes;
    unsigned idles_wanted;     /* after as many the peer may go on */
    struct http_peer *waiting; /* and this is the peer */
    int result;
    unsigned status;
    char content_type[64], api_version[16];
    struct buf body;
    uint64_t body_bytes;
    struct random random;
    struct op resume_op;
};

static void client_at(struct client *c, enum point point)
{
    assert_false(c->closing); /* no handler runs behind http_close … */
    assert_int_equal(0, c->closes);
    if (c->pause_at == point)
        http_pause(c->x);
    /* The first idle moment may come before the peer's first byte. */
    if (c->close_at == point && (point != IN_IDLE || c->spans > 0)) {
        c->closing = true;
        http_close(c->x);
        assert_int_equal(0, c->closes); /* … and on_closed never inside of it */
    }
}

static int client_head(void *ctx, const struct http_head *head)
{
    struct client *c = ctx;

    assert_int_equal(0, c->spans);
    c->heads++;
    c->status = head->status;
    memcpy(c->content_type, head->content_type.data, head->content_type.len);
    memcpy(c->api_version, head->api_version.data, head->api_version.len);
    client_at(c, IN_HEAD);
    return c->head_returns;
}

static int client_body(void *ctx, struct slice span, unsigned flags)
{
    struct client *c = ctx;

    assert_int_equal(1, c->heads);
    assert_int_equal(0, flags);
    assert_true(span.len > 0);
    c->spans++;
    for (size_t i = 0; c->flood && i < span.len; i++)
        if (span.data[i] != http_peer_byte(c->body_bytes + i))
            fail_msg("byte %llu is another", (unsigned long long)(c->body_bytes + i));
    if (!c->flood)
        assert_int_equal(0, buf_append_slice(&c->body, span));
    c->body_bytes += span.len;
    client_at(c, IN_BODY);
    return c->body_returns;
}

static void client_idle(void *ctx)
{
    struct client *c = ctx;

    c->idles++;
    if (c->waiting && c->idles == c->idles_wanted)
        http_peer_go(c->waiting);
    client_at(c, IN_IDLE);
}

static void client_closed(void *ctx, int result)
{
    struct client *c = ctx;

    assert_int_equal(0, ring_starting);
    c->closes++;
    c->result = result;
    c->x = NULL;
}

static const struct http_handlers client_handlers = {
    .reply = {.on_head = client_head, .on_body = client_body},
    .on_idle = client_idle,
    .on_closed = client_closed,
};

static const struct http_options patient = {
    .idle_timeout_ms = TEST_RUNS_FOREVER_MS,
    .head_timeout_ms = TEST_RUNS_FOREVER_MS,
    .deadline_ms = TEST_RUNS_FOREVER_MS,
    .head_bytes_max = 4096,
};

static void client_open_with(struct client *c, struct ring_fixture *f,
                             const struct http_options *options, struct buf *request)
{
    struct http_options with_path = *options;

    c->f = f;
    with_path.path = f->addr.sun_path;
    START(assert_int_equal(0, http_open(f->ring, &with_path, request, &client_handlers, c, &c->x)));
    assert_int_equal(0, request->len);
    assert_int_equal(0, c->closes);
}

static void client_open(struct client *c, struct ring_fixture *f,
                        const struct http_options *options)
{
    struct buf request = {0};

    assert_int_equal(0, buf_append_str(&request, REQUEST));
    client_open_with(c, f, options, &request);
}

/* A request that no socket buffer holds keeps the exchange sending until the peer takes it. */
#define MORE_THAN_A_SOCKET_HOLDS (4u << 20)

static void fill_request(struct buf *request, size_t body_bytes)
{
    assert_int_equal(0, buf_append_str(request, REQUEST));
    assert_int_equal(0, buf_reserve(request, body_bytes));
    memset(request->data + request->len, 'x', body_bytes);
    request->len += body_bytes;
}

static bool client_is_closed(void *ctx)
{
    return ((struct client *)ctx)->closes > 0;
}

static void client_finish(struct client *c)
{
    run_until(c->f, client_is_closed, c);
    assert_int_equal(1, c->closes);
}

/* The whole exchange with a peer of these steps. Returns how it ended. */
static int exchange(struct client *c, struct ring_fixture *f, const struct http_options *options,
                    const struct http_peer_step *steps, size_t count)
{
    struct http_peer peer;

    http_peer_start(&peer, f->listener, steps, count);
    c->waiting = &peer;
    client_open(c, f, options);
    client_finish(c);
    http_peer_join(&peer);
    return c->result;
}

#define TAKE                                                                                       \
    {                                                                                              \
        .act = PEER_TAKE_REQUEST                                                                   \
    }
#define SEND(text)                                                                                 \
    {                                                                                              \
        .act = PEER_SEND, .data = { text, sizeof(text) - 1 }                                       \
    }
#define WAIT                                                                                       \
    {                                                                                              \
        .act = PEER_WAIT                                                                           \
    }
#define EXCHANGE(c, f, options, ...)                                                               \
    exchange((c), (f), (options), (const struct http_peer_step[]){__VA_ARGS__},                    \
             ARRAY_SIZE(((const struct http_peer_step[]){__VA_ARGS__})))

static void assert_body(struct client *c, const char *text)
{
    assert_true(slice_eq_str(buf_slice(&c->body), text));
    buf_finish(&c->body);
}

static void assert_whole_reply(struct client *c)
{
    assert_int_equal(0, c->result);
    assert_int_equal(1, c->heads);
    assert_int_equal(200, c->status);
    assert_string_equal("application/json", c->content_type);
    assert_string_equal("1.41", c->api_version);
    assert_body(c, "hello world!");
}

/* ---- how replies come ---- */

static void test_a_reply_is_taken_and_the_request_is_sent(void **state)
{
    const struct http_peer_step steps[] = {TAKE, SEND(CHUNKED_REPLY), {.act = PEER_AWAIT_CLOSE}};
    struct client c = {0};
    struct http_peer peer;

    http_peer_start(&peer, ((struct ring_fixture *)*state)->listener, steps, ARRAY_SIZE(steps));
    client_open(&c, *state, &patient);
    client_finish(&c);
    http_peer_join(&peer);
    assert_whole_reply(&c);
    assert_string_equal(REQUEST, peer.request);
    assert_true(peer.saw_close); /* a complete reply is not waited behind */
}

static void test_a_reply_cut_at_every_byte_is_the_same(void **state)
{
    const size_t len = sizeof CHUNKED_REPLY - 1;

    for (size_t cut = 1; cut < len; cut++) {
        struct client c = {0};

        EXCHANGE(&c, *state, &patient, TAKE, {.act = PEER_SEND, .data = {CHUNKED_REPLY, cut}},
                 {.act = PEER_SEND, .data = {&CHUNKED_REPLY[cut], len - cut}});
        assert_whole_reply(&c);
    }
}

static void test_a_reply_in_single_bytes_is_the_same(void **state)
{
    struct client c = {0};

    EXCHANGE(
        &c, *state, &patient, TAKE,
        {.act = PEER_SEND, .data = {CHUNKED_REPLY, sizeof CHUNKED_REPLY - 1}, .piece_bytes = 1});
    assert_whole_reply(&c);
}

static void test_a_body_ends_by_its_content_length(void **state)
{
    struct client c = {0};

    assert_int_equal(0, EXCHANGE(&c, *state, &patient, TAKE,
                                 SEND(HEAD "Content-Length: 5\r\n\r\nhello"),
                                 {.act = PEER_AWAIT_CLOSE}));
    assert_body(&c, "hello");
}

static void test_a_reply_without_a_body_ends_with_its_head(void **state)
{
    struct client c = {0};

    assert_int_equal(0, EXCHANGE(&c, *state, &patient, TAKE, SEND(HEAD "Content-Length: 0\r\n\r\n"),
                                 {.act = PEER_AWAIT_CLOSE}));
    assert_int_equal(1, c.heads);
    assert_int_equal(0, c.spans);
}

static void test_a_body_may_end_with_the_connection(void **state)
{
    struct client c = {0};

    assert_int_equal(0, EXCHANGE(&c, *state, &patient, TAKE,
                                 SEND("HTTP/1.0 200 OK\r\n\r\nto the end"), SEND(" of it")));
    assert_body(&c, "to the end of it");
}

static void test_what_follows_a_complete_reply_is_not_looked_at(void **state)
{
    struct client c = {0};

    EXCHANGE(&c, *state, &patient, TAKE, SEND(CHUNKED_REPLY "HTTP/1.1 500 No\r\n\r\n\0garbage"),
             {.act = PEER_AWAIT_CLOSE});
    assert_whole_reply(&c);
}

static void test_an_error_status_is_a_reply_like_any_other(void **state)
{
    struct client c = {0};

    assert_int_equal(0, EXCHANGE(&c, *state, &patient, TAKE,
                                 SEND("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")));
    assert_int_equal(404, c.status);
    assert_string_equal("", c.content_type);
    assert_string_equal("", c.api_version);
    assert_body(&c, "{}");
}

/* ---- how replies fail ---- */

static void test_a_peer_that_closes_too_early_is_econnreset(void **state)
{
    const size_t len = sizeof CHUNKED_REPLY - 1;

    for (size_t cut = 0; cut < len; cut += 7) {
        struct client c = {0};

        assert_int_equal(-ECONNRESET, EXCHANGE(&c, *state, &patient, TAKE,
                                               {.act = PEER_SEND, .data = {CHUNKED_REPLY, cut}}));
        buf_finish(&c.body);
    }
}

static void test_a_peer_that_closes_before_the_request_is_econnreset(void **state)
{
    /* Whether the close is seen by the send or by the receive is the scheduler's choice. */
    for (int i = 0; i < 50; i++) {
        struct client c = {0};

        assert_int_equal(-ECONNRESET, exchange(&c, *state, &patient, NULL, 0));
        assert_int_equal(0, c.heads);
    }
}

static void test_a_peer_that_closes_during_the_request_is_econnreset(void **state)
{
    const struct http_peer_step steps[] = {{.act = PEER_RESET}};
    struct ring_fixture *f = *state;
    struct client c = {0};
    struct buf request = {0};
    struct http_peer peer;

    http_peer_start(&peer, f->listener, steps, ARRAY_SIZE(steps));
    fill_request(&request, MORE_THAN_A_SOCKET_HOLDS);
    client_open_with(&c, f, &patient, &request);
    client_finish(&c);
    http_peer_join(&peer);
    assert_int_equal(-ECONNRESET, c.result);
}

static void test_a_reset_is_econnreset_behind_what_had_come(void **state)
{
    struct client c = {0};

    assert_int_equal(-ECONNRESET, EXCHANGE(&c, *state, &patient, SEND(CHUNKED "5\r\nhello"),
                                           {.act = PEER_RESET}));
    assert_int_equal(1, c.heads);
    assert_body(&c, "hello");
}

static void test_what_is_not_http_is_ebadmsg(void **state)
{
    struct client first = {0}, later = {0};

    assert_int_equal(-EBADMSG,
                     EXCHANGE(&first, *state, &patient, TAKE, SEND("SSH-2.0-OpenSSH_9.2\r\n")));
    assert_int_equal(0, first.heads);
    assert_int_equal(-EBADMSG, EXCHANGE(&later, *state, &patient, TAKE,
                                        SEND(CHUNKED "5\r\nhello\r\nnot a length\r\n")));
    assert_body(&later, "hello");
}

static void test_an_endless_head_is_emsgsize(void **state)
{
    static char head[65536] = "HTTP/1.1 200 OK\r\n";
    struct client c = {0};

    for (size_t at = strlen(head); at + 8 < sizeof head; at += 8)
        memcpy(head + at, "A: bcd\r\n", 8);
    assert_int_equal(-EMSGSIZE, EXCHANGE(&c, *state, &patient, TAKE,
                                         {.act = PEER_SEND, .data = {head, sizeof head}}));
    assert_int_equal(0, c.heads);
}

static void test_what_a_handler_returns_ends_the_exchange(void **state)
{
    struct client head = {.head_returns = -EPROTO}, body = {.body_returns = -EOVERFLOW};

    assert_int_equal(-EPROTO, EXCHANGE(&head, *state, &patient, TAKE, SEND(CHUNKED_REPLY),
                                       {.act = PEER_AWAIT_CLOSE}));
    assert_int_equal(0, head.spans);
    assert_int_equal(-EOVERFLOW, EXCHANGE(&body, *state, &patient, TAKE, SEND(CHUNKED_REPLY),
                                          {.act = PEER_AWAIT_CLOSE}));
    assert_int_equal(1, body.spans);
    assert_body(&body, "hello");
}

static void test_connecting_to_nobody_ends_the_exchange(void **state)
{
    struct ring_fixture *f = *state;
    struct client refused = {0}, missing = {0};
    struct sockaddr_un addr = f->addr;

    (void)close(f->listener);
    f->listener = -1;
    client_open(&refused, f, &patient);
    client_finish(&refused);
    assert_int_equal(-ECONNREFUSED, refused.result);

    strcpy(f->addr.sun_path + strlen(f->addr.sun_path), "-not");
    client_open(&missing, f, &patient);
    client_finish(&missing);
    assert_int_equal(-ENOENT, missing.result);
    f->addr = addr;
}

static void test_a_path_that_does_not_fit_is_refused_and_the_request_freed(void **state)
{
    struct ring_fixture *f = *state;
    struct http_options options = patient;
    struct http_exchange *x = NULL;
    struct buf request = {0};
    struct client c = {0};
    char path[200];

    memset(path, 'p', sizeof path);
    path[108] = '\0';
    options.path = path;
    assert_int_equal(0, buf_append_str(&request, REQUEST));
    assert_int_equal(-ENAMETOOLONG,
                     http_open(f->ring, &options, &request, &client_handlers, &c, &x));
    assert_null(request.data);
    assert_null(x);
    assert_int_equal(0, c.closes);
}

/* ---- time ---- */

static void test_a_head_that_does_not_come_in_time_is_etimedout(void **state)
{
    struct http_options options = patient;
    struct client silent = {0}, slow = {0};

    options.head_timeout_ms = 20;
    assert_int_equal(-ETIMEDOUT,
                     EXCHANGE(&silent, *state, &options, TAKE, {.act = PEER_AWAIT_CLOSE}));
    assert_int_equal(-ETIMEDOUT, EXCHANGE(&slow, *state, &options, TAKE, SEND("HTTP/1.1 2"),
                                          {.act = PEER_AWAIT_CLOSE}));
    assert_int_equal(0, slow.heads);
}

static void test_a_head_in_time_ends_its_timeout(void **state)
{
    struct http_options options = patient;
    struct client c = {.idles_wanted = 20};

    /* The body comes long after the head's time was over. */
    options.head_timeout_ms = 1000;
    options.idle_timeout_ms = 60;
    EXCHANGE(&c, *state, &options, TAKE, SEND(CHUNKED "5\r\nhello\r\n"), WAIT,
             SEND("7\r\n world!\r\n0\r\n\r\n"));
    assert_whole_reply(&c);
    assert_true(c.idles >= 20);
}

static void test_the_deadline_ends_a_body(void **state)
{
    struct http_options options = patient;
    struct client c = {0};

    options.deadline_ms = 40;
    assert_int_equal(-ETIMEDOUT, EXCHANGE(&c, *state, &options, TAKE, SEND(CHUNKED "5\r\nhello"),
                                          {.act = PEER_AWAIT_CLOSE}));
    buf_finish(&c.body);
}

static void test_the_deadline_holds_without_a_timeout_of_the_head(void **state)
{
    struct http_options options = patient;
    struct client c = {0};

    options.head_timeout_ms = 0;
    options.deadline_ms = 40;
    assert_int_equal(-ETIMEDOUT, EXCHANGE(&c, *state, &options, TAKE, SEND(CHUNKED "5\r\nhello"),
                                          {.act = PEER_AWAIT_CLOSE}));
    buf_finish(&c.body);
}

static void test_a_deadline_before_the_timeout_of_the_head_holds(void **state)
{
    struct http_options options = patient;
    struct client c = {0};

    options.deadline_ms = 20;
    assert_int_equal(-ETIMEDOUT, EXCHANGE(&c, *state, &options, TAKE, {.act = PEER_AWAIT_CLOSE}));
}

static void test_an_idle_receive_is_armed_again_and_nothing_is_lost(void **state)
{
    struct http_options options = patient;
    struct client c = {.idles_wanted = 5};

    options.idle_timeout_ms = 2;
    EXCHANGE(&c, *state, &options, TAKE, SEND(CHUNKED "5\r\nhel"), WAIT,
             SEND("lo\r\n7\r\n world!\r\n0\r\n\r\n"));
    assert_whole_reply(&c);
    assert_true(c.idles >= 5);
}

/* ---- pausing ---- */

static void resume_done(struct op *op, int res)
{
    struct client *c = container_of(op, struct client, resume_op);

    if (c->x)
        http_resume(c->x);
}

/* After each pass: pauses or resumes, at once, both, or a little later. */
static bool pause_at_random(void *ctx)
{
    struct client *c = ctx;

    if (c->closes > 0)
        return !op_in_flight(&c->resume_op);
    switch (random_below(&c->random, 5)) {
    case 0:
        http_pause(c->x);
        break;
    case 1:
        http_pause(c->x);
        http_resume(c->x);
        break;
    case 2:
        http_resume(c->x);
        http_pause(c->x);
        http_pause(c->x);
        break;
    default:
        http_resume(c->x);
    }
    if (strcmp(http_state_name(c->x), "paused") == 0 && !op_in_flight(&c->resume_op))
        ring_timer(c->f->ring, &c->resume_op, (int64_t)random_below(&c->random, 2));
    return false;
}

static void pause_through_a_flood(struct ring_fixture *f, enum point pause_at, uint64_t bytes)
{
    const struct http_peer_step steps[] = {
        TAKE, SEND(CHUNKED), {.act = PEER_FLOOD, .bytes = bytes}, {.act = PEER_AWAIT_CLOSE}};
    struct client c = {.flood = true, .pause_at = pause_at, .resume_op.done = resume_done};
    struct http_peer peer;

    random_seed(&c.random, bytes);
    http_peer_start(&peer, f->listener, steps, ARRAY_SIZE(steps));
    client_open(&c, f, &patient);
    run_until(f, pause_at_random, &c);
    http_peer_join(&peer);
    assert_int_equal(1, c.closes);
    assert_int_equal(0, c.result);
    assert_int_equal(bytes, c.body_bytes);
}

static void test_pausing_at_random_in_a_flood_loses_nothing(void **state)
{
    pause_through_a_flood(*state, NOWHERE, scaled(4000000));
}

static void test_pausing_in_each_span_of_a_flood_loses_nothing(void **state)
{
    pause_through_a_flood(*state, IN_BODY, scaled(400000));
}

static bool is_paused_for_long(void *ctx)
{
    struct client *c = ctx;

    return strcmp(http_state_name(c->x), "paused") == 0 && http_waiting_since(c->x) == 0;
}

static void test_a_pause_before_the_first_byte_takes_no_byte(void **state)
{
    const struct http_peer_step steps[] = {TAKE, SEND(CHUNKED_REPLY)};
    struct ring_fixture *f = *state;
    struct client c = {0};
    struct http_peer peer;

    http_peer_start(&peer, f->listener, steps, ARRAY_SIZE(steps));
    client_open(&c, f, &patient);
    http_pause(c.x);
    run_until(f, is_paused_for_long, &c);
    assert_int_equal(0, http_bytes_received(c.x));
    http_resume(c.x);
    client_finish(&c);
    http_peer_join(&peer);
    assert_whole_reply(&c);
}

/* ---- closing ---- */

static void close_from_handler(struct ring_fixture *f, enum point point)
{
    struct http_options options = patient;
    struct client c = {.close_at = point};

    if (point == IN_IDLE)
        options.idle_timeout_ms = 2;
    assert_int_equal(-ECANCELED, EXCHANGE(&c, f, &options, TAKE, SEND(CHUNKED "5\r\nhello\r\n"),
                                          {.act = PEER_AWAIT_CLOSE}));
    assert_true(c.closing);
    assert_int_equal(1, c.heads);
    assert_int_equal(point == IN_HEAD ? 0 : 1, c.spans);
    buf_finish(&c.body);
}

static void test_closing_from_the_head_is_the_last_call_but_one(void **state)
{
    close_from_handler(*state, IN_HEAD);
}

static void test_closing_from_the_body_is_the_last_call_but_one(void **state)
{
    close_from_handler(*state, IN_BODY);
}

static void test_closing_from_an_idle_moment_is_the_last_call_but_one(void **state)
{
    close_from_handler(*state, IN_IDLE);
}

struct target {
    struct client *c;
    const char *state;
    unsigned passes; /* further passes in that state before it counts */
};

static bool target_is_reached(void *ctx)
{
    struct target *target = ctx;

    if (strcmp(target->state, http_state_name(target->c->x)) != 0)
        return false;
    return target->passes-- == 0;
}

static void close_from_outside(struct ring_fixture *f, const char *where, unsigned passes,
                               size_t request_bytes, enum point pause_at,
                               const struct http_options *options)
{
    const struct http_peer_step sending[] = {WAIT, {.act = PEER_AWAIT_CLOSE}};
    const struct http_peer_step replying[] = {
        TAKE, SEND(CHUNKED "5\r\nhello\r\n"), {.act = PEER_AWAIT_CLOSE}};
    bool is_sending = request_bytes > 0;
    struct client c = {.pause_at = pause_at};
    struct target target = {&c, where, passes};
    struct buf request = {0};
    struct http_peer peer;

    http_peer_start(&peer, f->listener, is_sending ? sending : replying,
                    is_sending ? ARRAY_SIZE(sending) : ARRAY_SIZE(replying));
    fill_request(&request, request_bytes);
    client_open_with(&c, f, options, &request);
    run_until(f, target_is_reached, &target);
    c.closing = true;
    START(http_close(c.x));
    assert_int_equal(0, c.closes);
    assert_string_equal("closing", http_state_name(c.x));
    START(http_close(c.x)); /* twice is once */
    http_pause(c.x);
    http_resume(c.x);
    if (is_sending)
        http_peer_go(&peer);
    client_finish(&c);
    /* A connection that was never made has nobody who would accept it. */
    if (strcmp(where, "connecting") == 0 && passes < 2) {
        struct waited w;
        struct link link = {.peer = -1};

        waited_init(&w);
        START(ring_socket(f->ring, &w.op));
        link.sock = run_op(f, &w);
        START(ring_connect(f->ring, &w.op, link.sock, &f->addr));
        assert_int_equal(0, run_op(f, &w));
        link_close(f, &link);
    }
    http_peer_join(&peer);
    assert_int_equal(-ECANCELED, c.result);
    buf_finish(&c.body);
}

static void test_closing_while_connecting_is_ecanceled_once(void **state)
{
    close_from_outside(*state, "connecting", 0, 0, NOWHERE, &patient);
}

static void test_closing_while_sending_is_ecanceled_once(void **state)
{
    for (unsigned passes = 0; passes < 2; passes++)
        close_from_outside(*state, "sending", passes, MORE_THAN_A_SOCKET_HOLDS, NOWHERE, &patient);
}

static void test_closing_while_reading_is_ecanceled_once(void **state)
{
    for (unsigned passes = 0; passes < 2; passes++)
        close_from_outside(*state, "reading", passes, 0, NOWHERE, &patient);
}

static void test_closing_while_paused_is_ecanceled_once(void **state)
{
    close_from_outside(*state, "paused", 0, 0, IN_HEAD, &patient);
    close_from_outside(*state, "paused", 0, 0, IN_BODY, &patient);
}

static void test_closing_without_any_timer_is_ecanceled_once(void **state)
{
    const struct http_options untimed = {.head_bytes_max = 4096};

    close_from_outside(*state, "reading", 0, 0, NOWHERE, &untimed);
    close_from_outside(*state, "paused", 0, 0, IN_BODY, &untimed);
    close_from_outside(*state, "sending", 0, MORE_THAN_A_SOCKET_HOLDS, NOWHERE, &untimed);
}

/* ---- many at once ---- */

#define SIDE_BY_SIDE 30

struct side_by_side {
    struct client clients[SIDE_BY_SIDE];
    struct http_peer peers[SIDE_BY_SIDE];
    bool gone_on;
};

/* The second halves are let go when every exchange has been idle behind its first. */
static bool all_are_closed(void *ctx)
{
    struct side_by_side *all = ctx;
    bool idle = true, closed = true;

    for (unsigned i = 0; i < SIDE_BY_SIDE; i++) {
        idle = idle && all->clients[i].heads > 0 && all->clients[i].idles > 0;
        closed = closed && all->clients[i].closes > 0;
    }
    for (unsigned i = 0; i < SIDE_BY_SIDE && idle && !all->gone_on; i++)
        http_peer_go(&all->peers[i]);
    all->gone_on = all->gone_on || idle;
    return closed;
}

static void test_exchanges_side_by_side_do_not_mix(void **state)
{
    static const struct http_peer_step steps[] = {TAKE, SEND(CHUNKED "5\r\nhel"), WAIT,
                                                  SEND("lo\r\n7\r\n world!\r\n0\r\n\r\n")};
    struct ring_fixture *f = *state;
    struct side_by_side *all = calloc(1, sizeof *all);
    struct http_options options = patient;

    assert_non_null(all);
    options.idle_timeout_ms = 2;
    for (unsigned i = 0; i < SIDE_BY_SIDE; i++) {
        http_peer_start(&all->peers[i], f->listener, steps, ARRAY_SIZE(steps));
        client_open(&all->clients[i], f, &options);
    }
    run_until(f, all_are_closed, all);
    for (unsigned i = 0; i < SIDE_BY_SIDE; i++) {
        http_peer_join(&all->peers[i]);
        assert_whole_reply(&all->clients[i]);
    }
    free(all);
}

#define HTTP_TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_a_reply_is_taken_and_the_request_is_sent),
        HTTP_TEST(test_a_reply_cut_at_every_byte_is_the_same),
        HTTP_TEST(test_a_reply_in_single_bytes_is_the_same),
        HTTP_TEST(test_a_body_ends_by_its_content_length),
        HTTP_TEST(test_a_reply_without_a_body_ends_with_its_head),
        HTTP_TEST(test_a_body_may_end_with_the_connection),
        HTTP_TEST(test_what_follows_a_complete_reply_is_not_looked_at),
        HTTP_TEST(test_an_error_status_is_a_reply_like_any_other),
        HTTP_TEST(test_a_peer_that_closes_too_early_is_econnreset),
        HTTP_TEST(test_a_peer_that_closes_before_the_request_is_econnreset),
        HTTP_TEST(test_a_peer_that_closes_during_the_request_is_econnreset),
        HTTP_TEST(test_a_reset_is_econnreset_behind_what_had_come),
        HTTP_TEST(test_what_is_not_http_is_ebadmsg),
        HTTP_TEST(test_an_endless_head_is_emsgsize),
        HTTP_TEST(test_what_a_handler_returns_ends_the_exchange),
        HTTP_TEST(test_connecting_to_nobody_ends_the_exchange),
        HTTP_TEST(test_a_path_that_does_not_fit_is_refused_and_the_request_freed),
        HTTP_TEST(test_a_head_that_does_not_come_in_time_is_etimedout),
        HTTP_TEST(test_a_head_in_time_ends_its_timeout),
        HTTP_TEST(test_the_deadline_ends_a_body),
        HTTP_TEST(test_the_deadline_holds_without_a_timeout_of_the_head),
        HTTP_TEST(test_a_deadline_before_the_timeout_of_the_head_holds),
        HTTP_TEST(test_an_idle_receive_is_armed_again_and_nothing_is_lost),
        HTTP_TEST(test_pausing_at_random_in_a_flood_loses_nothing),
        HTTP_TEST(test_pausing_in_each_span_of_a_flood_loses_nothing),
        HTTP_TEST(test_a_pause_before_the_first_byte_takes_no_byte),
        HTTP_TEST(test_closing_from_the_head_is_the_last_call_but_one),
        HTTP_TEST(test_closing_from_the_body_is_the_last_call_but_one),
        HTTP_TEST(test_closing_from_an_idle_moment_is_the_last_call_but_one),
        HTTP_TEST(test_closing_while_connecting_is_ecanceled_once),
        HTTP_TEST(test_closing_while_sending_is_ecanceled_once),
        HTTP_TEST(test_closing_while_reading_is_ecanceled_once),
        HTTP_TEST(test_closing_while_paused_is_ecanceled_once),
        HTTP_TEST(test_closing_without_any_timer_is_ecanceled_once),
        HTTP_TEST(test_exchanges_side_by_side_do_not_mix),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
