/*
 * The other end of one HTTP exchange: a thread that accepts one connection and does with it what a
 * script says. It aborts on what cannot be; a client that goes away early only ends the script.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

enum http_peer_act {
    PEER_TAKE_REQUEST, /* reads up to the empty line */
    PEER_SEND,  /* data, in pieces of piece_bytes (0: whole), each taken before the next is sent */
    PEER_WAIT,  /* until http_peer_go */
    PEER_FLOOD, /* a chunked body of `bytes` bytes: http_peer_byte by byte, cut at random */
    PEER_AWAIT_CLOSE, /* reads until the client has hung up */
    PEER_RESET,       /* closes with the request unread, which resets a unix socket */
};

struct http_peer_step {
    enum http_peer_act act;
    struct slice data;
    size_t piece_bytes;
    uint64_t bytes;
};

struct http_peer {
    int listener;
    const struct http_peer_step *steps;
    size_t count;
    pthread_t thread;
    sem_t go;
    bool saw_close; /* PEER_AWAIT_CLOSE came to its end; read it after http_peer_join */
    size_t request_bytes;
    char request[512];
};

/** The script lives until http_peer_join; the connection is closed behind its last step. */
void http_peer_start(struct http_peer *peer, int listener, const struct http_peer_step *steps,
                     size_t count);
/** Lets one PEER_WAIT pass. Any thread. */
void http_peer_go(struct http_peer *peer);
void http_peer_join(struct http_peer *peer);

/** What a flood says at `offset` of its body. */
char http_peer_byte(uint64_t offset);
