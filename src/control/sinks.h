/*
 * The sinks that the configuration asks for, with what they share: the spool, the dead letters, the
 * thread for HTTP. Opened, watched and ended in order. Each has its outbox in the fan-out.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/control/config.h"
#include "ringtail/deliver/fanout.h"
#include "ringtail/sink/dead_letters.h"
#include "ringtail/sink/http.h"
#include "ringtail/sink/sink.h"
#include "ringtail/spool/spool.h"

struct positions;

struct sinks {
    const struct config *config;
    struct ring *ring;
    struct positions *positions;
    struct fanout *fanout;
    struct spool *spool;               /* NULL: none */
    struct dead_letters *dead_letters; /* NULL: none */
    struct http_client *http;          /* NULL: no sink needs one */
    struct sink *continued; /* the file sink whose files the positions know; NULL: none */
    const char *continued_directory;
    const char *host;
    char host_name[256];
    struct {
        int error, sync_error; /* the last ones told; 0: none */
    } told[SINKS_MAX];
    bool closing, letters_closed;
};

/** Where the positions lie, unless told otherwise: beside the files that they belong to, or in the
 * spool's directory. NULL: nowhere. Free it. `ret_none`: there is no such place. -ENOMEM or 0. */
int sinks_positions_path(const struct config *config, char **ret);

/** Opens all, with outboxes in `fanout`, which is not initialised yet. What can't be opened is
 * said. Returns 0 or a negative errno; sinks_destroy is due either way. */
int sinks_open(struct sinks *s, struct ring *ring, const struct config *config,
               struct positions *positions, struct fanout *fanout,
               const struct fanout_events *events);

/** Says what has changed. Returns whether our standard output has no reader any more. */
bool sinks_watch(struct sinks *s);

/** The positions have been saved as sink_file_each has shown the files. */
void sinks_positions_saved(struct sinks *s);

/** Lines that were read and that a sink has not got, because the grace period was over. */
uint64_t sinks_lost(const struct sinks *s);

/** Every outbox has closed: ends what they share. Idle when sinks_is_idle. */
void sinks_close_shared(struct sinks *s);
bool sinks_is_idle(const struct sinks *s);

/** Idle, or the ring never ran. */
void sinks_destroy(struct sinks *s);
