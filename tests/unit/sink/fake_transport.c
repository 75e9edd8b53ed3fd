/* See fake_transport.h. */
#include "fake_transport.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake_transport *from_transport(struct transport *t)
{
    return container_of(t, struct fake_transport, transport);
}

static void fake_start(struct transport *transport, struct request *request)
{
    struct fake_transport *t = from_transport(transport);

    assert_true(request->count >= 1 && request->count <= CODEC_RECORDS_MAX);
    assert_int_equal(0, request->error);
    assert_int_equal(0, request->status);
    assert_int_equal(0, request->message[0]);
    assert_false(list_is_linked(&request->link));
    for (size_t i = 0; i < request->count; i++)
        assert_true(request->records[i]->source->refs > 0);
    list_append(&t->pending, &request->link);
    t->pending_count++;
    t->started++;
    if (t->in_flight_max > 0)
        assert_true(t->pending_count <= t->in_flight_max);
    if (t->on_start)
        t->on_start(t->ctx, request);
}

static void fake_cancel(struct transport *transport)
{
    from_transport(transport)->cancels++;
}

static struct transport *fake_destroy(struct transport *transport)
{
    struct fake_transport *t = from_transport(transport);

    assert_true(list_is_empty(&t->pending));
    t->destroyed++;
    return NULL;
}

static const struct transport_ops fake_ops = {
    .kind = "fake",
    .start = fake_start,
    .cancel = fake_cancel,
    .destroy = fake_destroy,
};

void fake_transport_init(struct fake_transport *t)
{
    *t = (struct fake_transport){.transport.ops = &fake_ops};
    list_init(&t->pending);
}

struct request *fake_transport_nth(struct fake_transport *t, size_t n)
{
    LIST_FOR_EACH_ENTRY (request, &t->pending, struct request, link) {
        if (n-- == 0)
            return request;
    }
    return NULL;
}

struct request *fake_transport_first(struct fake_transport *t)
{
    return fake_transport_nth(t, 0);
}

void fake_judge(struct request *request, enum codec_outcome outcome, int status)
{
    struct codec_judgement *j = &request->judgement;

    if (request->count > j->cap) {
        j->verdicts = reallocarray(j->verdicts, request->count, sizeof *j->verdicts);
        assert_non_null(j->verdicts);
        j->cap = request->count;
    }
    buf_reset(&j->reasons);
    assert_int_equal(0, buf_append_char(&j->reasons, '\0'));
    j->count = request->count;
    j->outcome = outcome;
    j->accepted = j->refused = j->dropped_unnamed = 0;
    j->retry = j->count;
    j->retry_after_ms = -1;
    j->reason = 0;
    for (size_t i = 0; i < j->count; i++)
        j->verdicts[i] = (struct codec_verdict){.kind = CODEC_RETRY, .status = (uint16_t)status};
    request->error = 0;
    request->status = status;
    request->body_bytes = 100;
    request->wire_bytes = 10;
    request->duration_ns = 1000;
    if (outcome != CODEC_DONE)
        (void)snprintf(request->message, sizeof request->message, "status %d, says the transport",
                       status);
}

void fake_verdict(struct request *request, size_t i, enum codec_verdict_kind kind,
                  const char *reason)
{
    struct codec_judgement *j = &request->judgement;

    assert_int_equal(CODEC_RETRY, j->verdicts[i].kind);
    assert_int_not_equal(CODEC_RETRY, kind);
    j->retry--;
    if (kind == CODEC_ACCEPTED)
        j->accepted++;
    else
        j->refused++;
    j->verdicts[i].kind = (uint8_t)kind;
    if (!reason)
        return;
    j->verdicts[i].reason = (uint32_t)j->reasons.len;
    assert_int_equal(0, buf_append(&j->reasons, reason, strlen(reason) + 1));
}

void fake_done(struct fake_transport *t, struct request *request)
{
    assert_true(t->pending_count > 0);
    list_remove(&request->link);
    t->pending_count--;
    request->done(request);
}

void fake_reply(struct fake_transport *t, struct request *request, enum codec_outcome outcome,
                enum codec_verdict_kind kind, int status)
{
    assert_non_null(request);
    fake_judge(request, outcome, status);
    for (size_t i = 0; kind != CODEC_RETRY && i < request->count; i++)
        fake_verdict(request, i, kind, kind == CODEC_REFUSED ? "not like that" : NULL);
    fake_done(t, request);
}

void fake_accept(struct fake_transport *t, struct request *request)
{
    fake_reply(t, request, CODEC_DONE, CODEC_ACCEPTED, 200);
}

void fake_no_reply(struct fake_transport *t, struct request *request, int error)
{
    assert_non_null(request);
    request->error = error;
    fake_done(t, request);
}
