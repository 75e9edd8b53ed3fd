/*
 * io/http_reader.h on llhttp. Keeps the two headers we use in fixed places, cut to size; knows
 * nothing of the other headers. Invariant: after `stopped` no handler runs.
 */
#include "ringtail/io/http_reader.h"

#include <assert.h>
#include <errno.h>
#include <strings.h>

#include "ringtail/base/macros.h"

enum { HEADER_OTHER, HEADER_CONTENT_TYPE, HEADER_API_VERSION };

/* Appends to a fixed place; what does not fit is cut: we compare with short known values only. */
static void keep(char *place, uint8_t *len, size_t size, const char *at, size_t n)
{
    size_t room = size - *len;

    n = MIN(n, room);
    memcpy(place + *len, at, n);
    *len = (uint8_t)(*len + n);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    struct http_reader *r = parser->data;

    keep(r->name, &r->name_len, sizeof r->name, at, n);
    return 0;
}

static bool name_is(const struct http_reader *r, const char *name)
{
    return strlen(name) == r->name_len && strncasecmp(r->name, name, r->name_len) == 0;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct http_reader *r = parser->data;

    r->header = name_is(r, "content-type")  ? HEADER_CONTENT_TYPE
                : name_is(r, "api-version") ? HEADER_API_VERSION
                                            : HEADER_OTHER;
    r->name_len = 0;
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    struct http_reader *r = parser->data;

    if (r->header == HEADER_CONTENT_TYPE)
        keep(r->content_type, &r->content_type_len, sizeof r->content_type, at, n);
    else if (r->header == HEADER_API_VERSION)
        keep(r->api_version, &r->api_version_len, sizeof r->api_version, at, n);
    return 0;
}

static int settle(struct http_reader *r, int result)
{
    if (result < 0)
        r->result = result;
    return result < 0 || r->stopped ? HPE_USER : 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_reader *r = parser->data;
    struct http_head head = {
        .status = parser->status_code,
        .content_type = slice_of(r->content_type, r->content_type_len),
        .api_version = slice_of(r->api_version, r->api_version_len),
    };

    r->head_complete = true;
    /* llhttp takes 1 to mean "no body", so the way out is on_body's. */
    (void)settle(r, r->handlers->on_head(r->ctx, &head));
    return r->result < 0 || r->stopped ? -1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t n)
{
    struct http_reader *r = parser->data;
    unsigned flags = r->chunk_begins ? HTTP_CHUNK_BEGIN : 0;

    if (n == 0)
        return 0; /* llhttp's way to close a span that the input before had used up */
    r->chunk_begins = false;
    return settle(r, r->handlers->on_body(r->ctx, slice_of(at, n), flags));
}

static int on_chunk_header(llhttp_t *parser)
{
    struct http_reader *r = parser->data;

    r->in_chunk = r->chunk_begins = parser->content_length > 0; /* the last chunk has no bytes */
    return 0;
}

static int on_chunk_complete(llhttp_t *parser)
{
    struct http_reader *r = parser->data;

    if (!r->in_chunk)
        return 0;
    return settle(r, r->handlers->on_body(r->ctx, (struct slice){0}, HTTP_CHUNK_END));
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_reader *r = parser->data;

    r->complete = true;
    return HPE_PAUSED; /* what follows is not ours to read */
}

#define COMMON_SETTINGS                                                                            \
    .on_header_field = on_header_field, .on_header_field_complete = on_header_field_complete,      \
    .on_header_value = on_header_value, .on_headers_complete = on_headers_complete,                \
    .on_body = on_body, .on_message_complete = on_message_complete

static const llhttp_settings_t plain_settings = {COMMON_SETTINGS};
static const llhttp_settings_t chunk_settings = {
    COMMON_SETTINGS,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
};

void http_reader_init(struct http_reader *r, const struct http_reader_handlers *handlers, void *ctx,
                      size_t head_bytes_max, bool want_chunks)
{
    *r = (struct http_reader){
        .handlers = handlers,
        .ctx = ctx,
        .head_bytes_max = head_bytes_max,
    };
    llhttp_init(&r->parser, HTTP_RESPONSE, want_chunks ? &chunk_settings : &plain_settings);
    r->parser.data = r;
}

int http_reader_feed(struct http_reader *r, struct slice in)
{
    struct slice head_left = in;
    llhttp_errno_t e;

    if (r->complete || r->stopped)
        return 0;
    if (!r->head_complete) {
        /* A head is short: the bytes over the bound are looked at only once the head is known to be
         * whole. */
        head_left.len = MIN(in.len, r->head_bytes_max - r->head_bytes);
    }
    e = llhttp_execute(&r->parser, head_left.data, head_left.len);
    if (!r->head_complete) {
        r->head_bytes += head_left.len;
        if (e == HPE_OK && head_left.len < in.len)
            return -EMSGSIZE;
    } else if (e == HPE_OK && head_left.len < in.len) {
        e = llhttp_execute(&r->parser, in.data + head_left.len, in.len - head_left.len);
    }
    if (r->result < 0)
        return r->result;
    if (e == HPE_OK || r->complete || r->stopped)
        return 0;
    return -EBADMSG;
}

int http_reader_finish(struct http_reader *r)
{
    if (!r->complete && !r->stopped && r->head_complete)
        (void)llhttp_finish(
            &r->parser); /* completes a body that ends with the connection; else an error */
    return r->complete ? 0 : -ECONNRESET;
}

void http_reader_stop(struct http_reader *r)
{
    r->stopped = true;
}

const char *http_reader_error(const struct http_reader *r)
{
    const char *reason = llhttp_get_error_reason(&r->parser);

    return reason && *reason ? reason : "not an HTTP reply";
}
