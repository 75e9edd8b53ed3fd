/*
 * The Engine API's words, incoming: JSON bodies into structs, by yyjson. No I/O here.
 *
 * Unknown members are ignored, missing ones (or null) are empty. -EBADMSG: this is no such reply
 * (not JSON, a wrong type or value of a member that is read, or a needed one is missing: Id,
 * Config.Tty, ApiVersion, a container event's Actor.ID and timeNano). -ENOMEM else. *ret is written
 * only on success, and then every string is there, and a copy owned by the struct that holds it; a
 * NUL within cuts it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/docker/api.h"

#define REPLY_ID_LEN 64

/** /version. (What /_ping has to say stands in its Api-Version header: api_version_parse.) */
struct reply_version {
    char *engine;               /* "20.10.24+dfsg1" */
    struct api_version api;     /* newest */
    struct api_version min_api; /* {0,0} when it does not say */
};

int reply_version_parse(struct slice body, struct reply_version *ret);
void reply_version_finish(struct reply_version *v);

/** One row of /containers/json. */
struct reply_container {
    char id[REPLY_ID_LEN + 1]; /* 64 lower-case hex digits, checked */
    char *name;                /* without the leading slash; empty when it has none */
    char *state;               /* "running", "paused", … */
    int64_t created_at_ns;     /* in whole seconds; 0 when it does not say */
    int64_t ended_ago_s;       /* its last run ended at least so long ago; -1: it does not say */
};

struct reply_list {
    struct reply_container *items;
    size_t count;
};

/** A row whose Id is not an id is an error: -EBADMSG. */
int reply_list_parse(struct slice body, struct reply_list *ret);
void reply_list_finish(struct reply_list *l);

struct reply_label {
    char *key, *value;
};

/** What we use of /containers/{id}/json. */
struct reply_inspect {
    char id[REPLY_ID_LEN + 1];
    char *name;   /* without the leading slash */
    char *image;  /* Config.Image: the name as it was given to create */
    bool tty;     /* Config.Tty: the log is raw, not framed */
    char *status; /* created running paused restarting removing exited dead */
    bool running; /* also of paused and restarting ones */
    bool paused, restarting;
    int64_t started_at_ns;           /* 0 when never ("0001-01-01T00:00:00Z") */
    int64_t finished_at_ns;          /* 0 when never */
    char *log_driver;                /* HostConfig.LogConfig.Type */
    struct reply_label *log_options; /* HostConfig.LogConfig.Config */
    size_t log_options_count;
    char *log_path;             /* LogPath: "" unless json-file */
    struct reply_label *labels; /* Config.Labels */
    size_t labels_count;
};

int reply_inspect_parse(struct slice body, struct reply_inspect *ret);
void reply_inspect_finish(struct reply_inspect *i);

enum event_action {
    EVENT_OTHER,
    EVENT_CREATE,
    EVENT_START,
    EVENT_DIE,
    EVENT_STOP,
    EVENT_KILL,
    EVENT_PAUSE,
    EVENT_UNPAUSE,
    EVENT_RENAME,
    EVENT_RESTART,
    EVENT_OOM,
    EVENT_DESTROY,
};

/**
 * One line of /events. `status`, `id` and `from` are gone from API 1.52 on: only Type, Action,
 * Actor and timeNano are read.
 */
struct reply_event {
    enum event_action action;  /* EVENT_OTHER also when Type is not "container" */
    char id[REPLY_ID_LEN + 1]; /* empty unless Type is "container" */
    char *name;                /* Actor.Attributes.name, may be empty */
    int64_t time_ns;
};

int reply_event_parse(struct slice line, struct reply_event *ret);
void reply_event_finish(struct reply_event *e);

/**
 * The message of an error reply, for people: JSON's "message", or the text itself (some Engines
 * answer text/plain), trimmed, control characters replaced, at most `size` - 1 bytes. Never fails.
 */
void reply_error_message(struct slice body, char *out, size_t size);
