/*
 * Going on exactly where a container's log was left, after any break: nothing twice, nothing left
 * out.
 *
 * The Engine gives a container's records in the same order in every response, so a response is a
 * piece of one sequence, and the question is only where in it we are. The history keeps
 * fingerprints of the last records that were delivered. A new response asks for the last K records
 * (`tail=K`, which costs the Engine only K), and a cursor follows it through the history: as long
 * as the response repeats the history record by record, it is dropped; from the first record behind
 * the history on, it is delivered. Timestamps are compared only to tell "K was too small" from "K
 * was large": they go back across stdout and stderr and with the host's clock, and a record is
 * never dropped for its timestamp alone.
 *
 *   level 0   tail=K, from the log's recent rate
 *   level 1   tail=16 K
 *   level 2   since=<before the last record>
 *   level 3   the same without follow: it ends, and has the anchor or not
 *   level 4   as level 2, and what the history does not know is delivered: the Engine has dropped
 * the anchor, so lines may be missing
 *
 * The next level is for a response that does not have the anchor, or does not tell which of several
 * equal records it is. Records of one nanosecond, however many, are told apart by counting: a mark
 * knows how many of its stream with the same timestamp came before it, and from level 2 on the
 * response begins in front of the first of them. So it does not matter how few of them are in the
 * history, or that some have the same text.
 *
 * The same cursor removes what Engine 20.10 delivers a second time when it rotates a log file: such
 * a record goes back in time and is in the history, and so are those that follow it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/part.h"

struct splice_mark {
    int64_t ts_ns;
    uint64_t fingerprint; /* its lowest bits are flags, and the record's ordinal: */
};

#define SPLICE_MARK_OWED                                                                           \
    UINT64_C(1) /* seen, but not shipped before we were started anew: deliver it again */
#define SPLICE_MARK_STDERR UINT64_C(2) /* the record's stream */
#define SPLICE_MARK_ORDINAL_SHIFT 2
#define SPLICE_MARK_ORDINAL (UINT64_C(0xffff) << SPLICE_MARK_ORDINAL_SHIFT)
#define SPLICE_MARK_FLAGS (SPLICE_MARK_OWED | SPLICE_MARK_STDERR | SPLICE_MARK_ORDINAL)

/**
 * The last delivered records of one container. Marks are numbered from 0 on over its whole life;
 * the ring holds those from `first` to before `next`. All zero plus marks_max is an empty history.
 */
struct splice_history {
    uint32_t marks_max; /* a power of two */
    uint32_t cap;       /* grows up to marks_max as it fills: an idle container's is small */
    struct splice_mark *marks;
    uint64_t first, next;
    uint64_t counted_from; /* marks before this one have an ordinal that may be too small */
    int64_t last_ts_ns[2]; /* of stdout and stderr; valid where has_last */
    bool has_last[2];
    uint16_t
        last_ordinal[2]; /* how many records of that stream with that timestamp came before it */
    bool is_cut;         /* records were delivered before `first` */
    bool has_owed;       /* a mark with SPLICE_MARK_OWED was restored */
    uint32_t record_bytes_avg; /* what a record costs on the wire, lately */
    /** Before the first record: nothing older than this is wanted (--since). INT64_MIN: everything.
     */
    int64_t floor_ns;
    /** The log is known to be younger than the floor, or all of it is wanted: no use in small
     * tails. */
    bool floor_is_far;
    /** Engine 20.10: the end of a line with the stamp and text of its stream's last one is that one
     * again. */
    bool engine_repeats;

    uint64_t repeated;       /* records dropped as repetitions */
    uint64_t went_back;      /* records delivered although their timestamp went back */
    uint64_t gaps_suspected; /* anchors that the Engine did not have any more */
};

#define SPLICE_LEVELS 5

/** What to ask the Engine for. */
struct splice_query {
    int64_t tail; /* -1: all */
    bool has_since;
    int64_t since_ns;
    bool whole; /* without follow: only its end tells that the anchor is not in it */
};

/** The query of a level (0 … SPLICE_LEVELS - 1). now_ns: wall clock. */
void splice_plan(const struct splice_history *h, unsigned level, int64_t now_ns,
                 struct splice_query *ret);

/**
 * The query of a response that is to take over from one that goes on being read: as few records as
 * will overlap, and at level 0 no more than about `bytes_max` of them.
 */
void splice_plan_takeover(const struct splice_history *h, unsigned level, int64_t now_ns,
                          size_t bytes_max, struct splice_query *ret);

enum splice_mode {
    SPLICE_SEEK,   /* nothing of the response placed yet */
    SPLICE_BELOW,  /* in front of the floor: older than wanted, and surely so */
    SPLICE_SKIP,   /* in front of the history, as it seems: the anchor has yet to come */
    SPLICE_REPLAY, /* inside the history: mark `at` is next */
    SPLICE_LIVE,   /* behind it */
};

/** Records of one stream with one timestamp, as a response shows them. */
struct splice_run {
    bool seen;
    bool whole; /* the response has the first of them */
    uint16_t ordinal;
    int64_t ts_ns;
};

/** Where one response is. */
struct splice_cursor {
    enum splice_mode mode;
    unsigned level;
    int64_t
        tail; /* what was asked for: behind that many, all is new; set by who asks, 0: not known */
    bool whole; /* what was asked for has an end: it is waited for; set by who asks */
    uint64_t at;
    uint64_t seen; /* records judged */
    bool repays;   /* the record just judged is the owed mark before `at` */
    /* Of stdout and stderr, the last one, until the place is found. */
    struct splice_run runs[2];
    /* Placed by a record that begins the response, of the nanosecond that the history ends with: it
     * may have been one behind it that is alike. */
    bool is_doubtful;
};

enum splice_verdict {
    SPLICE_DELIVER, /* it is new: ship it, then tell splice_delivered */
    SPLICE_DROP,    /* it was delivered before, or is older than wanted */
    SPLICE_WIDEN,   /* this response can't be placed: close it and ask again with the next level */
};

void splice_cursor_init(struct splice_cursor *c, unsigned level);

/** Whether the response has found its place: from here on every record is rightly dropped or
 * delivered. */
bool splice_is_placed(const struct splice_cursor *c);

/** Whether anything was ever delivered. */
bool splice_has_history(const struct splice_history *h);

/** Judges the response's next record. */
enum splice_verdict splice_judge(struct splice_history *h, struct splice_cursor *c,
                                 const struct part *part);

/** splice_ordinal where it is not plain. */
uint16_t splice_ordinal_of_many(const struct splice_history *h, const struct splice_cursor *c,
                                const struct part *part);

/**
 * Where a record judged SPLICE_DELIVER stands, from 0 on, among neighbours of its stream with the
 * same timestamp. The same record gives the same number in every response and after a restart.
 * Beyond 65535 it starts anew.
 */
static inline uint16_t splice_ordinal(const struct splice_history *h, const struct splice_cursor *c,
                                      const struct part *part)
{
    /* As a rule it has a timestamp of its own. */
    if (likely(h->last_ts_ns[part->stream - RECORD_STDOUT] != part->ts_ns && !c->repays))
        return 0;
    return splice_ordinal_of_many(h, c, part);
}

/** A record judged SPLICE_DELIVER, which has its ordinal, has been shipped. Without memory for its
 * mark it may come twice after a break. */
void splice_delivered(struct splice_history *h, const struct splice_cursor *c,
                      const struct part *part);

/**
 * The response is complete, or has nothing more to say for now. Returns whether it has to be asked
 * again with the next level: records were skipped and the anchor never came.
 */
bool splice_is_unplaced(const struct splice_cursor *c);

/** Bytes a second that the container writes, by the timestamps of the records remembered; 0: too
 * few to tell. */
double splice_bytes_per_s(const struct splice_history *h);

/** The mark of number n, first ≤ n < next. */
const struct splice_mark *splice_mark(const struct splice_history *h, uint64_t number);

/** Appends a mark from a file of positions. Returns 0 or -ENOMEM. */
int splice_restore(struct splice_history *h, const struct splice_mark *mark);

/** The same of one without an ordinal: how many came before the oldest is not known. */
int splice_restore_uncounted(struct splice_history *h, const struct splice_mark *mark);

/** After the marks: the last record of a stream, which may have none among them. */
void splice_restore_last(struct splice_history *h, enum record_stream stream, int64_t ts_ns,
                         uint16_t ordinal);

void splice_history_finish(struct splice_history *h);
