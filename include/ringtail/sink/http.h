/*
 * The HTTP transport of remote sinks: request, encode, compress, POST, judge. One thread does it
 * for all HTTP sinks of the process, with libcurl, which is loaded when the first of them is made:
 * who has none pays neither memory nor thread.
 *
 * A redirect is an answer like any other, and is not followed. Of the environment's variables
 * (http_proxy and the like) none is looked at: what a sink does is said in its options.
 *
 * All calls on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/codec/codec.h"
#include "ringtail/codec/compress.h"
#include "ringtail/io/ring.h"

struct http_client;
struct transport;

/**
 * What all HTTP transports of a process share. Cheap: libcurl and the thread come with the first
 * transport. Before ring_run, since it registers a waker. Returns 0 or -ENOMEM.
 */
int http_client_create(struct ring *ring, struct http_client **ret);

/**
 * Its transports are gone. Waits for the thread, which has nothing to do by then. NULL is fine.
 * Returns NULL.
 */
struct http_client *http_client_destroy(struct http_client *client);

enum http_version_policy {
    HTTP_VERSION_OFFERED, /* HTTP/2 where the receiver offers it over TLS, else HTTP/1.1 */
    HTTP_VERSION_1_1,
};

/** Paths of PEM files. All zero: the system's authorities, and every certificate is checked. */
struct http_tls_options {
    const char *ca_file;   /* trusted authorities, in place of the system's */
    const char *ca_path;   /* a directory of them, as c_rehash makes it */
    const char *cert_file; /* our own certificate, and what follows it up to the authority */
    const char *key_file;  /* its key; NULL: in cert_file */
    const char *key_password;
    /** The name that the receiver's certificate has, if it is not the address's: requests are made
     * for this host, and go to the address's. */
    const char *server_name;
    bool unverified; /* any certificate will do: whoever is in between reads and answers */
};

/** Borrowed for http_transport_create. Texts may be NULL or "" for none, the address apart. */
struct http_transport_options {
    /** http:// or https://, without credentials. Without a path, or with "/" alone, it gets the
     * path that is usual for the codec. */
    const char *url;
    const struct codec_options *codec;
    enum compression compression;
    int compression_level; /* compress_buf's */
    /** For a request with everything that belongs to it, and for its connection. At least 1. */
    int64_t timeout_ms, connect_timeout_ms;
    /** How many requests are with the receiver at once, 1 … HTTP_CONNECTIONS_MAX; each has a
     * connection of its own, unless they share one by HTTP/2. Others wait their turn. */
    unsigned connections_max;
    enum http_version_policy version;
    struct http_tls_options tls;
    /** Authorization: Basic of user and password, or Bearer of the token; not both. */
    const char *user, *password, *bearer_token;
    /** "Name: value", sent with each request. Not those that a request's framing is made of. */
    const char *const *headers;
    size_t headers_count;
    /** http://, https://, socks5:// or socks5h://, with credentials if it asks for them. */
    const char *proxy;
};

#define HTTP_CONNECTIONS_MAX 64
#define HTTP_HEADERS_MAX 64

/**
 * Makes a transport (transport.h). Texts are copied; those that may be secret are overwritten
 * before their memory is given back, and no message has any of them.
 *
 * returns: 0; -EINVAL for options that cannot be; -EOPNOTSUPP when this build or this machine has
 *          no libcurl; -ENOMEM, -EAGAIN (no thread). `why` says which, in one line for people.
 */
int http_transport_create(struct http_client *client, const struct http_transport_options *options,
                          struct transport **ret, char *why, size_t why_size);

/**
 * Connects as a request would (name, proxy, TLS with its certificates), sends none, and closes.
 * Blocks, for timeout_ms at most; a look-up of a name that is under way then may take longer.
 * transport: made by http_transport_create, and without requests.
 * returns:   0; -EHOSTUNREACH or another negative errno with the reason in `why`.
 */
int http_transport_reach(struct transport *transport, int64_t timeout_ms, char *why,
                         size_t why_size);

/** Counters of one transport, from its creation on. */
struct http_transport_stats {
    uint64_t requests;        /* handed to libcurl */
    uint64_t connections;     /* made for them */
    uint64_t labels_replaced; /* codec_labels_replaced */
};

/** `t` was made by http_transport_create. */
void http_transport_stats(const struct transport *t, struct http_transport_stats *ret);
