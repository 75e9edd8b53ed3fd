/* See remote_fixture.h. */
#include "remote_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "support/fake_ring.h"

static void on_lost(void *ctx, struct sink *sink, struct batch *batch, struct source *source,
                    uint64_t records, enum lost_reason reason)
{
    struct remote_fixture *f = container_of((struct sink_fixture *)ctx, struct remote_fixture, s);

    assert_ptr_equal(f->s.sink, sink);
    assert_true(batch->refs > 0);
    assert_true(source->refs > 0);
    assert_true(records > 0);
    f->lost[reason] += records;
    f->lost_calls++;
    f->settled_at_loss = f->s.settled;
}

static void on_reply(void *ctx, struct sink *sink, int64_t duration_ns)
{
    struct remote_fixture *f = ctx;

    assert_ptr_equal(f->s.sink, sink);
    assert_true(duration_ns > 0);
    f->replies++;
}

static bool on_logged(void *ctx, struct slice line)
{
    struct remote_fixture *f = ctx;

    /* Called under a lock, so that nothing may be asserted here. */
    (void)snprintf(f->logged, sizeof f->logged, "%.*s", (int)line.len, line.data);
    f->logged_payload |= strstr(f->logged, "line ") != NULL;
    f->logged_count++;
    return true;
}

static void on_letters_closed(void *ctx)
{
    struct remote_fixture *f = ctx;

    f->letters_closed = true;
}

static void fill_in(int64_t *value, int64_t usual)
{
    if (*value == 0)
        *value = usual;
}

void remote_open(struct remote_fixture *f, const struct sink_remote_options *options,
                 bool has_letters)
{
    struct sink_remote_options o = *options;
    struct sink_events events;

    *f = (struct remote_fixture){0};
    log_init(&(struct log_options){.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_JSON});
    log_set_writer(on_logged, f);
    sink_fixture_open(&f->s, fake_ring_create());
    fake_transport_init(&f->t);
    f->source = test_source("web");
    if (has_letters)
        assert_int_equal(0, dead_letters_create(f->s.ring,
                                                &(struct dead_letters_options){
                                                    .path = test_path(&f->s, "dead/letters"),
                                                    .bytes_max = INT64_C(1) << 30,
                                                    .keep = 1,
                                                    .retry_ms = 1000,
                                                },
                                                &f->letters));
    if (!o.name)
        o.name = "far";
    fill_in(&o.records_max, 100);
    fill_in(&o.bytes_max, 1000000);
    fill_in(&o.in_flight_max, 1);
    fill_in(&o.retry_min_ms, 100);
    fill_in(&o.retry_max_ms, 10000);
    fill_in(&o.retry_after_max_ms, 3600000);
    fill_in(&o.suspend_retry_ms, 60000);
    o.dead_letters = f->letters;
    o.on_reply = on_reply;
    o.ctx = f;
    o.jitter_seed = 1;
    f->t.in_flight_max = (size_t)o.in_flight_max;
    events = sink_fixture_events(&f->s);
    events.on_lost = on_lost;
    assert_int_equal(0, sink_remote_create(f->s.ring, &f->t.transport, &o, &events, &f->s.sink));
}

void remote_finish(struct remote_fixture *f)
{
    struct ring *ring = f->s.ring;
    uint64_t lost = 0;

    if (f->s.closed == 0) {
        sink_close(f->s.sink);
        assert_int_equal(0, f->s.closed);
        fake_ring_run(ring);
    }
    assert_int_equal(1, f->s.closed);
    for (size_t i = 0; i < LOST_REASON_COUNT; i++)
        lost += f->lost[i];
    assert_int_equal(lost, f->s.sink->records_lost);
    assert_int_equal(0, remote_stats(f)->batches_held);
    if (f->letters) {
        dead_letters_close(f->letters, on_letters_closed, f);
        assert_false(f->letters_closed);
        fake_ring_run(ring);
        assert_true(f->letters_closed);
        f->letters = dead_letters_destroy(f->letters);
    }
    sink_fixture_close(&f->s);
    log_set_writer(NULL, NULL);
    assert_false(f->logged_payload);
    assert_int_equal(1, f->t.destroyed);
    assert_int_equal(1, f->source->refs);
    (void)source_unref(f->source);
    fake_ring_destroy(ring);
}

void remote_submit_long(struct remote_fixture *f, size_t count, size_t len)
{
    struct batch *b = test_batch(&f->s);

    for (size_t i = 0; i < count; i++)
        test_line(b, f->source, f->next_line++, len, NULL);
    test_submit(&f->s, b);
}

void remote_submit_lines(struct remote_fixture *f, size_t count)
{
    remote_submit_long(f, count, 20);
}

const struct sink_remote_stats *remote_stats(const struct remote_fixture *f)
{
    return sink_remote_stats(f->s.sink);
}

struct request *remote_request(struct remote_fixture *f)
{
    struct request *q = fake_transport_first(&f->t);

    assert_non_null(q);
    return q;
}

uint64_t remote_number(const struct record *record)
{
    assert_true(record->len > 5 && memcmp(record->data, "line ", 5) == 0);
    return strtoull(record->data + 5, NULL, 10);
}

void remote_expect(struct request *request, uint64_t first, uint64_t last)
{
    assert_int_equal(last - first + 1, request->count);
    for (size_t i = 0; i < request->count; i++)
        assert_int_equal(first + i, remote_number(request->records[i]));
}

void remote_receive(struct remote_fixture *f, const struct record *record)
{
    assert_true(f->got_count < RECEIVER_MOST);
    f->got[f->got_count++] = remote_number(record);
}

void remote_accept(struct remote_fixture *f)
{
    struct request *q = remote_request(f);

    for (size_t i = 0; i < q->count; i++)
        remote_receive(f, q->records[i]);
    fake_accept(&f->t, q);
}

void remote_expect_all(const struct remote_fixture *f, uint64_t count)
{
    assert_int_equal(count, f->got_count);
    for (size_t i = 0; i < f->got_count; i++)
        assert_int_equal(i, f->got[i]);
}
