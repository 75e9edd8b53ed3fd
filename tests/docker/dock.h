/*
 * What the tests against a real Engine share: a private dockerd for the whole program, the real
 * ringtail as a child of each test, and a check that compares what ringtail wrote with what the
 * Engine itself says is in its logs.
 *
 * The Engine ends with the program, however that ends: a keeper process waits for it.
 *
 * Functions that give a bool may be called from any thread; false leaves a reason in dock_why of
 * that thread. All others are the main thread's and fail the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "support/ndjson_check.h"
#include "support/ringtail_proc.h"

#define DOCK_TIMEOUT_MS 120000 /* a busy machine and sanitizers are slow */

struct dock {
    char dir[64];     /* this test's own */
    char out_dir[96]; /* ringtail's --output */
    struct ringtail_proc ringtail;
    struct ndjson_check *check;
    bool silent; /* the end of ringtail's log has been shown, or need not be */
};

struct dock_spec {
    const char *name;           /* NULL: the Engine's choice */
    const char *driver;         /* NULL: json-file */
    const char *driver_options; /* a JSON object; NULL: none */
    const char *restart_policy; /* NULL: no */
    const char *const *args;    /* the command, NULL at the end */
    bool tty, auto_remove;
};

struct dock_container {
    char id[SIM_ID_LEN + 1];
    bool tty;
    bool is_local;     /* keeps its log by a driver other than json-file */
    struct told *told; /* since one of the dock_tell functions */
};

/* What /writer in the container was told to write. */
struct dock_writer {
    const char *prefix;
    uint64_t lines_count;
    size_t line_bytes;
    uint64_t stderr_every;
    bool tty;
};

/** `/writer --count 1`. */
extern const struct dock_writer dock_one_line;

/* ---- The program ---- */

/** Starts the Engine. 0; 77 where there can be none, with the reason printed; else 1. */
int dock_begin(bool live_restore);

/** Ends the Engine, and waits for that. */
void dock_end(void);

/** RINGTAIL_TEST in the environment is a pattern (`S21*`) of titles: only those. */
#define dock_main(tests, live_restore)                                                             \
    ({                                                                                             \
        int code_ = dock_begin(live_restore);                                                      \
        if (code_ == 0) {                                                                          \
            cmocka_set_test_filter(getenv("RINGTAIL_TEST"));                                       \
            code_ = cmocka_run_group_tests(tests, NULL, NULL);                                     \
            dock_end();                                                                            \
        }                                                                                          \
        code_;                                                                                     \
    })

/* cmocka's fixtures: a directory of its own, and no container and no ringtail left behind. */
int dock_setup(void **state);
int dock_teardown(void **state);

#define DOCK_TEST(title, fn)                                                                       \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = dock_setup,                              \
        .teardown_func = dock_teardown                                                             \
    }

/** RINGTAIL_TEST_FULL asks for the sizes that take minutes. */
bool dock_is_full(void);

const char *dock_socket(void);

/** Whether the Engine is 20.10 or older. */
bool dock_engine_is_20_10(void);

/** engine.sh's verb (restart, kill, up), with an argument or NULL. */
void dock_engine(struct dock *d, const char *verb, const char *argument);

/* ---- Containers ---- */

const char *dock_why(void);
bool dock_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool dock_create(const struct dock_spec *spec, struct dock_container *ret);

/** POST /containers/ID/<what>: start, stop?t=1, kill, pause, rename?name=x, wait … */
bool dock_post(const struct dock_container *c, const char *what);

/** Creates and starts. */
bool dock_run(const struct dock_spec *spec, struct dock_container *ret);

bool dock_remove(const struct dock_container *c, bool force);

/** How many records its log has. */
bool dock_log_count(const struct dock_container *c, uint64_t *ret);

void dock_sleep_ms(int64_t ms);

/** Calls fn for 0 … count - 1 from several threads. False as soon as one of them was. */
bool dock_parallel(size_t count, size_t threads, bool (*fn)(void *ctx, size_t index), void *ctx);

#define dock_assert(d, condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            dock_fail((d), "does not hold: %s: %s", #condition, dock_why());                       \
    } while (0)

#define dock_fail(d, ...) dock_fail_at((d), __FILE__, __LINE__, __VA_ARGS__)
void dock_fail_at(struct dock *d, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));

/* ---- What there should be ---- */

/** One line as /writer writes it, without its newline; on a TTY with the terminal's `\r`. */
void dock_written(const struct dock_writer *writer, bool is_stderr, uint64_t number,
                  struct buf *line);

/** What the Engine has in the container's log is what ringtail has to have written, byte by byte.
 */
void dock_tell_log(struct dock *d, struct dock_container *c);

/** The same from what /writer was told to write, when the Engine has no log of it any more, or has
 * not all of it yet. */
void dock_tell_written(struct dock *d, struct dock_container *c, const struct dock_writer *writer);

/** The Engine's log is what the writer wrote, nothing missing: a check of the test's own premise.
 */
void dock_assert_log_is_written(struct dock *d, const struct dock_container *c,
                                const struct dock_writer *writer);

/* ---- ringtail ---- */

/** Starts `ringtail run`, one file per container id, debug log, and these arguments. */
#define dock_ringtail(d, ...)                                                                      \
    dock_ringtail_args((d), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
void dock_ringtail_args(struct dock *d, const char *const *args);

/** Lines that ringtail has written for the container so far. Any thread. */
uint64_t dock_lines(const struct dock *d, const struct dock_container *c);

/** Waits until ringtail's own log has that many lines with this message (and needle or NULL). */
void dock_wait_log(struct dock *d, const char *message, const char *needle, size_t count);

/** Waits until the output has all that was told. */
void dock_wait_complete(struct dock *d);

/** SIGTERM, and exit code 0 without a word from a sanitizer. */
void dock_terminate(struct dock *d);

/** That, and all that was told is there, and nothing more. */
void dock_stop(struct dock *d);
