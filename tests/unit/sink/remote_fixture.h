/*
 * A remote sink over a transport that the test answers for, with a file of dead letters, and a
 * receiver that remembers which lines it has taken.
 */
#pragma once

#include "ringtail/sink/remote.h"

#include "fake_transport.h"
#include "sink_fixture.h"

enum { RECEIVER_MOST = 4096 };

struct remote_fixture {
    struct sink_fixture s;
    struct fake_transport t;
    struct source *source;
    struct dead_letters *letters; /* NULL: none */
    bool letters_closed;
    uint64_t lost[LOST_REASON_COUNT];
    unsigned lost_calls;
    unsigned settled_at_loss; /* batches that had settled at the last on_lost */
    unsigned replies;         /* calls of on_reply */
    uint64_t got[RECEIVER_MOST];
    size_t got_count;
    uint64_t next_line;
    /* Our own log; remote_finish asserts that it has no line of a container in it. */
    unsigned logged_count;
    bool logged_payload;
    char logged[1024]; /* the last line */
};

/** Fields that are 0 are: 100 records, 1 MB, 1 request, back-off from 100 to 10,000 ms, Retry-After
 * up to an hour, a try each minute while suspended. */
void remote_open(struct remote_fixture *f, const struct sink_remote_options *options,
                 bool has_letters);

/** Everything has to be settled by then: closes the sink, if it is not, and the dead letters. */
void remote_finish(struct remote_fixture *f);

/** A batch of so many lines, numbered on from the last one. */
void remote_submit_lines(struct remote_fixture *f, size_t count);
void remote_submit_long(struct remote_fixture *f, size_t count, size_t len);

const struct sink_remote_stats *remote_stats(const struct remote_fixture *f);

/** The request under way, oldest first; fails if there is none. */
struct request *remote_request(struct remote_fixture *f);

/** The number of a record's line. */
uint64_t remote_number(const struct record *record);

/** The request has exactly the lines from `first` to `last`, in order. */
void remote_expect(struct request *request, uint64_t first, uint64_t last);

/** The receiver takes it (and with remote_accept says so). */
void remote_receive(struct remote_fixture *f, const struct record *record);
void remote_accept(struct remote_fixture *f);

/** The receiver has the lines from 0 on, each once, in order. */
void remote_expect_all(const struct remote_fixture *f, uint64_t count);
