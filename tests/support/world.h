/*
 * The world of an integration test: a simulated Engine in this process, the real ringtail as its
 * child, and a check that knows what every container was made to say.
 *
 * Tests wait for what they want to see. Nothing here takes an amount of time for a proof; a wait
 * that lasts world_timeout_ms() has failed, and shows the end of ringtail's log.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ringtail/sim/sim.h"
#include "support/ndjson_check.h"
#include "support/ringtail_proc.h"

struct world {
    char dir[64];
    char out_dir[96]; /* ringtail's --output, unless the test says otherwise */
    struct sim *sim;
    struct ndjson_check *check;
    struct ringtail_proc ringtail;
    struct speaker *speakers;
    int64_t last_ts_ns;
    bool passed; /* set by world_stop and its like: no tail of the log then */
};

/** A container and what it was made to say. Freed with the world. */
struct speaker {
    struct speaker *next;
    struct world *world;
    struct sim_container *container;
    struct told *told;
    bool tty;
};

/** A minute, as sanitizers and a busy machine are slow, times the number in RINGTAIL_TEST_PATIENCE,
 * for a machine that is emulated. */
int world_timeout_ms(void);

/* cmocka's fixtures: an empty directory, and everything ended and removed. */
int world_setup(void **state);
int world_teardown(void **state);

#define WORLD_TEST(title, fn)                                                                      \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = world_setup,                             \
        .teardown_func = world_teardown                                                            \
    }

/** Runs the tests. RINGTAIL_TEST in the environment is a pattern (`S21*`) of titles: only those. */
#define world_main(tests)                                                                          \
    (cmocka_set_test_filter(getenv("RINGTAIL_TEST")), cmocka_run_group_tests(tests, NULL, NULL))

/** Fails the test with the end of ringtail's log. */
#define world_fail(w, ...) world_fail_at((w), __FILE__, __LINE__, __VA_ARGS__)
void world_fail_at(struct world *w, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));

#define world_assert(w, condition)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            world_fail((w), "does not hold: %s", #condition);                                      \
    } while (0)

/** A number has to be in [least, most]; says it when not. */
#define world_assert_within(w, value, least, most)                                                 \
    do {                                                                                           \
        long long value_ = (long long)(value);                                                     \
        if (value_ < (long long)(least) || value_ > (long long)(most))                             \
            world_fail((w), "%s is %lld, not %lld to %lld", #value, value_, (long long)(least),    \
                       (long long)(most));                                                         \
    } while (0)

/* ---- The Engine and its containers ---- */

/** Starts the Engine; socket_path is filled in. NULL: Engine 28.5 with the wall clock. */
void world_engine(struct world *w, const struct sim_options *options);

/** A running container (`name` NULL: the sim's choice), told to the check. */
struct speaker *world_speaker(struct world *w, const char *name);
struct speaker *world_speaker_spec(struct world *w, const struct sim_spec *spec);

/** A container that is there already, for the check. */
struct speaker *world_adopt(struct world *w, struct sim_container *container);

/** What ringtail's own log calls the container: the beginning of its id. Good until the next call.
 */
const char *speaker_mark(const struct speaker *s);

/** A timestamp later than every other one it has given, and not before the Engine's time. */
int64_t world_next_ts(struct world *w);

/** One line, said in the container and expected in the output. On a TTY the line gets its `\r`. */
void say(struct speaker *s, enum sim_stream stream, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void say_bytes(struct speaker *s, enum sim_stream stream, const void *bytes, size_t len);
void say_at(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes,
            size_t len);

/** `count` numbered lines, every third on stderr. */
void say_many(struct speaker *s, const char *what, unsigned count);

/** An Engine record as it is, of which the check knows nothing; and the other way round. */
void say_record(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes,
                size_t len);
void say_expect(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes,
                size_t len, unsigned flags);

/** Every fault has to be taken by the sim. Returns its id. */
uint64_t world_fault(struct world *w, const struct sim_fault *fault);

/* ---- ringtail ---- */

/**
 * Starts `ringtail run` with quick settings (reconnect_min 10ms, resync_interval 200ms, since all,
 * one file per container id, debug log, the backend that RINGTAIL_TEST_BACKEND names) and the given
 * arguments behind them.
 */
#define world_run(w, ...)                                                                          \
    world_run_how((w), &(struct ringtail_how){                                                     \
                           .args = (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}})
void world_run_how(struct world *w, const struct ringtail_how *how);

/** Adds `:more` to an environment variable, for every ringtail that is started from now on. */
void world_add_environment(const char *name, const char *more);

/** Starts ringtail with these arguments and nothing else. */
#define world_command(w, ...)                                                                      \
    world_command_how((w), &(struct ringtail_how){.args = (const char *const[]){__VA_ARGS__, NULL}})
void world_command_how(struct world *w, const struct ringtail_how *how);

/** Waits for ringtail's end and asserts its exit code, and that no sanitizer has complained. */
void world_wait_exit(struct world *w, int code);

/** SIGTERM, exit code 0, and the output is complete and nothing more. The books on /metrics have to
 * add up before, where there are any. */
void world_stop(struct world *w);

/** The same without the demand that all lines be there. */
void world_stop_early(struct world *w);

/** What ringtail wrote to its stdout so far. Freed by the caller. */
char *world_stdout(struct world *w);

/* ---- Waiting ---- */

/** Polls pred until it is true. Fails when the output is wrong or ringtail ends. */
void world_wait(struct world *w, const char *what, bool (*pred)(struct world *w, void *ctx),
                void *ctx);

/** A predicate: ringtail has ended. */
bool world_has_ended(struct world *w, void *ctx);

/** All lines told so far are in the output. */
void world_wait_all(struct world *w);

/** Of this container at least n lines are. */
void world_wait_lines(struct world *w, struct speaker *s, uint64_t n);

/** ringtail's log has at least n lines with this message (and needle, unless NULL). */
void world_wait_log(struct world *w, const char *message, const char *needle, size_t n);

/** The sim has exactly n open follows of the container (NULL: of all). */
void world_wait_follows(struct world *w, struct speaker *s, uint64_t n);

/** At least n further requests of the kind have come. */
void world_wait_more_requests(struct world *w, enum sim_request_kind kind, uint64_t n);

/** ringtail's clients have read all that the container wrote. */
void world_wait_caught_up(struct world *w, struct speaker *s);

struct sim_stats world_stats(struct world *w);
struct sim_container_stats speaker_stats(const struct speaker *s);
