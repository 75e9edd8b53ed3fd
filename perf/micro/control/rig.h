/*
 * The daemon's modules put together as the daemon does it, on a ring without a kernel: real
 * containers, positions and meters, and a sink that encodes what it gets and writes it nowhere.
 */
#pragma once

#include <stddef.h>

#include "control/container.h"
#include "control/containers.h"
#include "control/discovery.h"
#include "control/engine.h"
#include "control/gather.h"
#include "control/meters.h"
#include "control/positions.h"
#include "ringtail/base/buf.h"
#include "ringtail/sink/sink.h"

struct rig {
    struct config config;
    struct ring *ring;
    struct sink sink;
    struct buf encoded;        /* of the batches since it was emptied */
    size_t encoded_bytes_kept; /* emptied before a record when it is longer */
    struct fanout fanout;
    struct sinks sinks; /* one, which only encodes */
    struct gather gather;
    struct engine engine;
    struct discovery discovery;
    struct positions positions;
    struct meters meters;
    struct containers containers;
    struct container **items;
    size_t items_count;
    char dir[64]; /* of the positions; empty: they are off */
};

/** containers_count containers, which nobody follows yet. */
struct rig *rig_create(size_t containers_count, bool with_positions);
void rig_destroy(struct rig *rig);
