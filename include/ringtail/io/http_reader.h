/*
 * An HTTP/1.1 reply, byte by byte: the head and the body's spans, through llhttp. No I/O, no
 * allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llhttp.h>

#include "ringtail/base/slice.h"

/** What we need of a reply's head. The slices are good during on_head. */
struct http_head {
    unsigned status;
    struct slice content_type;
    struct slice api_version; /* the Engine's Api-Version header; empty when it sent none */
};

/* Where in its HTTP chunk a span of the body stands (for bodies that are not chunked: neither). */
#define HTTP_CHUNK_BEGIN 1u
#define HTTP_CHUNK_END 2u

struct http_reader_handlers {
    /** Once, when the head is complete. A negative return ends the reading with that result. */
    int (*on_head)(void *ctx, const struct http_head *head);
    /**
     * Body bytes in order, lent for the call, as they lie in the input. With want_chunks the first
     * span of a chunk is flagged HTTP_CHUNK_BEGIN, and an empty span flagged HTTP_CHUNK_END follows
     * its last. A negative return ends the reading with that result.
     */
    int (*on_body)(void *ctx, struct slice span, unsigned flags);
};

struct http_reader {
    llhttp_t parser;
    const struct http_reader_handlers *handlers;
    void *ctx;
    size_t head_bytes, head_bytes_max;
    int result; /* of a handler, or ours */
    bool head_complete, complete, stopped, chunk_begins, in_chunk;
    uint8_t header; /* which header's value is being read */
    uint8_t name_len, content_type_len, api_version_len;
    char name[16], content_type[64], api_version[16];
};

/** handlers live as long as the reader. A head longer than head_bytes_max is refused. */
void http_reader_init(struct http_reader *r, const struct http_reader_handlers *handlers, void *ctx,
                      size_t head_bytes_max, bool want_chunks);

/**
 * Feed bytes of the connection. Any split gives the same body. Nothing behind a complete reply is
 * looked at. returns: 0 (see http_reader_is_complete); -EBADMSG this is not HTTP (http_reader_error
 * says what); -EMSGSIZE the head is too long; or what a handler returned.
 */
int http_reader_feed(struct http_reader *r, struct slice in);

/**
 * The peer has closed. returns: 0 the reply is complete (its end was the end of the connection);
 * -ECONNRESET it is not.
 */
int http_reader_finish(struct http_reader *r);

/** No handler is called any more; feeding ends at the current byte with 0. May be called from a
 * handler. */
void http_reader_stop(struct http_reader *r);

static inline bool http_reader_is_complete(const struct http_reader *r)
{
    return r->complete;
}

/** What llhttp says was wrong, after -EBADMSG. */
const char *http_reader_error(const struct http_reader *r);
