/*
 * HTTP transports on a real ring, against receivers that are programs or sockets of the test.
 * Closing checks what must hold after every test: nothing in flight, every thread ended, and as
 * many descriptors open as before.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/sink/http.h"
#include "ringtail/sink/transport.h"

#define FIXTURE_RECORDS 500
#define FIXTURE_TRANSPORTS 4
#define FIXTURE_TS INT64_C(1795250000123456789)
/* Long enough that only a hang reaches it. */
#define FIXTURE_PATIENCE_MS 60000

struct http_fixture {
    struct ring *ring;
    struct http_client *client;
    struct transport *transports[FIXTURE_TRANSPORTS];
    size_t transports_count;
    struct source *source;
    struct record records[FIXTURE_RECORDS];
    const struct record *pointers[FIXTURE_RECORDS];
    char lines[FIXTURE_RECORDS][32];
    size_t descriptors_before;
    char why[512];
};

/** A request, and whether it has come back. */
struct sent {
    struct request request;
    unsigned done; /* how often */
    unsigned turn; /* among all of this program */
};

/** Prints why and returns 77 when there is no io_uring for us here, else 0. */
int http_fixture_skip_code(void);

/** cmocka's. */
int http_fixture_setup(void **state);
int http_fixture_teardown(void **state);

/** Closes the transports; others can be opened after it. */
void fixture_close_transports(struct http_fixture *f);

/** Splunk's codec, whose reasons quote a reply; one connection; patience. `url` is borrowed. */
struct http_transport_options fixture_options(const char *url);

/** Opens a transport, which the fixture closes. */
struct transport *fixture_open(struct http_fixture *f,
                               const struct http_transport_options *options);

/** Sends `count` records, the first being number `first`. */
void fixture_start(struct http_fixture *f, struct transport *t, struct sent *s, size_t first,
                   size_t count);

/** Runs the ring until all of them are done, each once. */
void fixture_wait(struct http_fixture *f, struct sent *s, size_t count);

/** One request of three records, to its end. The caller finishes it. */
void fixture_send(struct http_fixture *f, struct transport *t, struct sent *s);

void sent_finish(struct sent *s);

/** The outcome's reason: with Splunk's codec it quotes a reply that is none of Splunk's. */
const char *sent_reason(const struct sent *s);

/** A listening socket on 127.0.0.1; its port. The caller closes it. */
int fixture_listen(uint16_t *ret_port);

/** The same number of connections, requests and so on: a printf'ed address that lives as long as
 * the program. */
const char *fixture_url(const char *scheme, uint16_t port, const char *path);

/** A directory that goes with the program, and all that is in it. NULL when there is none. */
const char *fixture_directory(void);
