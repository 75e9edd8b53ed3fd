/*
 * A blocking HTTP client, as small as the tests of the simulated Engine need it: it keeps what it
 * read byte for byte, so that a test can look at chunks and cuts. A read that takes longer than a
 * broken test should is a failure.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/buf.h"
#include "ringtail/sim/sim.h"

#define CLIENT_TIMEOUT_MS 30000

struct client {
    int fd;
    struct buf in; /* received, not taken yet */
    bool eof;
    int error; /* errno that a receive ended with; 0: none */
    uint64_t receives;
};

struct reply {
    int status;
    struct buf head; /* with its empty line */
    struct buf wire; /* body as it came */
    struct buf body; /* without chunks */
    bool chunked, whole;
    int64_t length; /* Content-Length; -1: none */
    uint32_t *chunks;
    size_t chunks_count;
};

/** Fails the test if it cannot connect. */
void client_open(struct client *c, struct sim *sim);
void client_close(struct client *c);

/** 0 or the errno of a non-blocking connect. */
int client_try_connect(struct sim *sim);

void client_send(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Sends `GET <target>` with keep-alive. */
void client_get(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void client_read_head(struct client *c, struct reply *r);

/** One chunk more. False at the last chunk, at EOF, and at an error. */
bool client_read_chunk(struct client *c, struct reply *r);

/** The whole body, until its end or EOF. */
void client_read_body(struct client *c, struct reply *r);

/** Everything that comes until EOF, as it is. */
void client_read_to_eof(struct client *c, struct buf *out);

/** Whether nothing can be read right now, and the connection is open. */
bool client_is_silent(struct client *c);

/** A request on a connection of its own, with its whole reply. */
void fetch(struct sim *sim, struct reply *r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void reply_finish(struct reply *r);
const char *reply_text(struct reply *r); /* the body as a string */
bool reply_has_header(struct reply *r, const char *line);

/** The records of a framed body, as `o:<payload>` or `e:<payload>`, one after the other (`x:` for
 * errors). */
void frames_text(struct slice body, struct buf *out);
