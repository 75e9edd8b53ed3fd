/*
 * The checks of `ringtail doctor`, each in a process of its own, and how they say what they find.
 * The table in doctor.c has all of them. Finding nothing to say is no error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/macros.h"
#include "ringtail/control/config.h"
#include "ringtail/docker/api.h"
#include "ringtail/docker/reply.h"

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_NOTE,    /* worth knowing */
    DOCTOR_WARNING, /* lines may be lost or late, or it costs more than it has to */
    DOCTOR_PROBLEM, /* ringtail will not do what it is asked for */
    DOCTOR_LEVELS,
};

struct doctor {
    const struct config *config;
    const struct option_problems *problems; /* of the configuration */
    size_t number;                          /* of the check's turns: which sink */
    int64_t deadline_ns;                    /* monotonic: what has not come by then will not */
    int fd;                                 /* where findings go */
};

/** A finding, in a sentence without its dot. `subject`: what it is about, in a word. */
void doctor_find(struct doctor *d, enum doctor_level level, const char *subject, const char *fmt,
                 ...) RT_PRINTF(4, 5);

/** What to do about the last finding. */
void doctor_advise(struct doctor *d, const char *fmt, ...) RT_PRINTF(2, 3);

/** One of the containers that the last finding is about. */
void doctor_container(struct doctor *d, const char *name);

void doctor_check_configuration(struct doctor *d);
void doctor_check_kernel(struct doctor *d);
void doctor_check_ring(struct doctor *d);
void doctor_check_process(struct doctor *d);
void doctor_check_limits(struct doctor *d);
void doctor_check_engine(struct doctor *d);
void doctor_check_containers(struct doctor *d);
void doctor_check_output(struct doctor *d);
void doctor_check_sink(struct doctor *d);
void doctor_check_spool(struct doctor *d);
void doctor_check_positions(struct doctor *d);
void doctor_check_clock(struct doctor *d);

/* ---- what several of them need ---- */

/** `8192 KiB`, `1.5 GiB`, for people. Good until the fourth call from here on. */
const char *doctor_bytes(int64_t bytes);

/** An integer in a file of /proc; -1 when there is none. */
int64_t doctor_proc_number(const char *path);

/** Whether a directory of output can be written to, or made, and has room. */
void doctor_look_at_files(struct doctor *d, const char *subject, const char *directory,
                          int64_t free_bytes_min);

/** A reply of the Engine. */
struct doctor_reply {
    unsigned status;
    char api_version[16];
    int64_t date_s; /* the header Date; 0: it has none */
    int64_t asked_at_wall_ns, took_ns;
    struct buf raw, body;
};

/** Sends a request (freed here) to the Engine. -errno where there is no whole reply, or with
 * `head_only` no head. doctor_reply_finish is due on success. */
int doctor_ask(struct doctor *d, struct buf *request, bool head_only, struct doctor_reply *ret);
void doctor_reply_finish(struct doctor_reply *reply);

/** The API version to speak, by a ping. -errno: the Engine is not usable; the check of the Engine
 * says why. */
int doctor_api_version(struct doctor *d, struct api_version *ret);

/** The running containers that are to be followed. -EPROTO for a status other than 200, which is in
 * `ret_status`. */
int doctor_list(struct doctor *d, struct api_version version, struct reply_list *ret,
                unsigned *ret_status);
