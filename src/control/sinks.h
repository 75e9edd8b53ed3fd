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

struct metric_series;
struct positions;
struct transport;

/** What is known of a sink beside its outbox, by the number of that. */
struct sink_entry {
    const char *kind;                     /* "file", "loki", … */
    const struct sink_config *config;     /* NULL: it is output.* */
    struct transport *transport;          /* the sink's; NULL: it has none */
    struct metric_series *reply_duration; /* the meters' to set; NULL: nobody counts */
    struct {
        int error, sync_error; /* the last ones; 0: none */
        uint64_t compress_errors, expire_errors;
    } told;
};

/** A file sink, whose files the positions know. */
struct sinks_files {
    struct positions *positions;
    struct sink *sink;
    unsigned number; /* among the file sinks */
};

struct sinks {
    const struct config *config;
    struct ring *ring;
    struct positions *positions;
    struct fanout *fanout;
    struct spool *spool;               /* NULL: none */
    struct dead_letters *dead_letters; /* NULL: none */
    struct http_client *http;          /* NULL: no sink needs one */
    struct sinks_files files[RECORD_FILES_MAX];
    const char *directories[RECORD_FILES_MAX]; /* of these */
    size_t files_count;
    const char *host;
    char host_name[256];
    int told_spool_error; /* the last one; 0: none */
    struct sink_entry entries[SINKS_MAX];
    bool closing, letters_closed;
};

/** Where the positions lie, unless told otherwise: beside the files that they belong to, or in the
 * spool's directory. NULL: nowhere. Free it. `ret_none`: there is no such place. -ENOMEM or 0. */
int sinks_positions_path(const struct config *config, char **ret);

/** Where the dead letters lie, unless told otherwise: beside the positions. The same returns. */
int sinks_dead_letters_path(const struct config *config, char **ret);

/** Whether it sends to a receiver, and does not write files or our standard output. */
bool sinks_is_remote(const struct sink_config *config);

/**
 * The transport of one sink that is remote. Of `s` only the configuration, the ring, the host and
 * `http` (made when it is needed first) are looked at.
 * returns: 0; a negative errno with the reason in `why`.
 */
int sinks_transport(struct sinks *s, const struct sink_config *config, struct transport **ret,
                    char *why, size_t why_size);

/** Opens all, with outboxes in `fanout`, which is not initialised yet. What can't be opened is
 * said. Returns 0 or a negative errno; sinks_destroy is due either way. */
int sinks_open(struct sinks *s, struct ring *ring, const struct config *config,
               struct positions *positions, struct fanout *fanout,
               const struct fanout_events *events);

/** All are open: what waits in the spool for any other is for nobody. */
void sinks_forget_others(struct sinks *s);

/** Appends their names, with commas between them. Returns 0 or -ENOMEM. */
int sinks_names(const struct sinks *s, struct buf *ret);

/** Whether sink_file_stats_get may be asked. */
bool sinks_is_file(const struct sinks *s, size_t number);

/** Puts every output file into the positions (their collect). Returns false if that can't be told
 * just now. */
bool sinks_put_files(struct sinks *s);

/** Says what has changed. Returns whether our standard output has no reader any more. */
bool sinks_watch(struct sinks *s);

/** The positions have been saved as sinks_put_files has put the files. */
void sinks_positions_saved(struct sinks *s);

/** Lines that were read and that a sink has not got, because the grace period was over. */
uint64_t sinks_lost(const struct sinks *s);

/** Every outbox has closed: ends what they share. Idle when sinks_is_idle. */
void sinks_close_shared(struct sinks *s);
bool sinks_is_idle(const struct sinks *s);

/** Idle, or the ring never ran. */
void sinks_destroy(struct sinks *s);
