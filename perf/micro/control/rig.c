#include "rig.h"

#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/ndjson.h"

#include "perf/micro/bench.h"
#include "perf/micro/fed_ring.h"

#define SOCKET_PATH "/nowhere"
#define IMAGE "registry.example/shop/frontend:1.2"

static int encode(struct sink *sink, struct batch *batch)
{
    struct rig *rig = container_of(sink, struct rig, sink);

    for (size_t i = 0; i < batch->count; i++) {
        if (rig->encoded.len > rig->encoded_bytes_kept)
            buf_reset(&rig->encoded);
        bench_require(ndjson_append(&rig->encoded, &batch->records[i]) == 0);
    }
    return 0;
}

static const struct sink_ops encoding_ops = {.kind = "encode", .submit = encode};

static bool collect(void *ctx, struct positions *p)
{
    containers_put_positions(ctx);
    return true;
}

static void on_pause(void *ctx, bool paused)
{
    bench_require(!paused); /* nothing is ever queued here */
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    meters_settled(ctx, o, after_ns);
}

static void add_container(struct rig *rig, size_t number)
{
    char id[REPLY_ID_LEN + 1], name[64];
    struct container *c;

    /* What tells one id from another is at its beginning, as with real ones. */
    (void)snprintf(id, sizeof id, "%06x%058x", (unsigned)number % 0x1000000u,
                   (unsigned)number % 0x1000000u);
    (void)snprintf(name, sizeof name, "shop-frontend-%zu", number);
    c = container_create(&rig->containers, id);
    bench_require(c && container_set_source(c, name, IMAGE) == 0);
    meters_container_opened(&rig->meters, c);
    rig->items[rig->items_count++] = c;
}

static void open_positions(struct rig *rig, bool enabled)
{
    char path[96];

    if (enabled) {
        const char *tmp = getenv("TMPDIR");

        (void)snprintf(rig->dir, sizeof rig->dir, "%s/ringtail-perf-XXXXXX", tmp ? tmp : "/tmp");
        bench_require(mkdtemp(rig->dir));
        (void)snprintf(path, sizeof path, "%s/positions", rig->dir);
    }
    bench_require(positions_open(&rig->positions, enabled ? path : NULL, NULL, 0,
                                 (uint32_t)rig->config.stream_history_records,
                                 rig->config.positions_interval_ms,
                                 rig->config.positions_keep_ms) == 0);
    rig->positions.ring = rig->ring;
    rig->positions.gather = &rig->gather;
    rig->positions.collect = collect;
    rig->positions.ctx = &rig->containers;
}

static const struct confinement unconfined = {"off", "off", "off", "off"};

struct rig *rig_create(size_t containers_count, bool with_positions)
{
    struct rig *rig = bench_alloc(1, sizeof *rig);

    bench_require(config_init(&rig->config) == 0);
    rig->ring = fed_ring_create();
    rig->sink = (struct sink){.ops = &encoding_ops, .ring = rig->ring};
    engine_init(&rig->engine, rig->ring, &rig->config, &(struct engine_events){0});
    rig->engine.path = SOCKET_PATH;
    rig->engine.version = API_VERSION_NEWEST;
    rig->engine.state = ENGINE_UP;
    bench_require(meters_init(&rig->meters, &rig->config) == 0);
    bench_require(fanout_init(&rig->fanout, 1, NULL,
                              &(struct fanout_events){
                                  .on_pause = on_pause,
                                  .on_settled = on_settled,
                                  .ctx = &rig->meters,
                              }) == 0);
    rig->sink.events = fanout_sink_events(&rig->fanout);
    bench_require(fanout_add(&rig->fanout,
                             &(struct outbox_options){
                                 .name = "output",
                                 .queue_max_bytes = (size_t)rig->config.queue_max_bytes,
                                 .window_bytes = SIZE_MAX,
                                 .is_local = true,
                             },
                             false, &rig->sink) == 0);
    rig->gather = (struct gather){.config = &rig->config, .fanout = &rig->fanout};
    open_positions(rig, with_positions);
    discovery_init(&rig->discovery, &rig->engine, &rig->containers);
    bench_require(containers_init(&rig->containers, rig->ring, &rig->engine, &rig->gather,
                                  &rig->positions, &rig->meters, &rig->config) == 0);
    rig->containers.floor_ns = INT64_MIN;
    rig->meters.ring = rig->ring;
    rig->meters.confinement = &unconfined;
    rig->sinks = (struct sinks){.config = &rig->config, .fanout = &rig->fanout};
    rig->sinks.entries[0].kind = encoding_ops.kind;
    rig->meters.fanout = &rig->fanout;
    rig->meters.sinks = &rig->sinks;
    rig->meters.gather = &rig->gather;
    rig->meters.engine = &rig->engine;
    rig->meters.containers = &rig->containers;
    rig->meters.discovery = &rig->discovery;
    rig->meters.positions = &rig->positions;
    rig->items = bench_alloc(containers_count, sizeof(struct container *));
    for (size_t i = 0; i < containers_count; i++)
        add_container(rig, i);
    return rig;
}

void rig_destroy(struct rig *rig)
{
    for (size_t i = 0; i < rig->items_count; i++)
        container_free(rig->items[i]);
    free(rig->items);
    containers_finish(&rig->containers);
    discovery_finish(&rig->discovery);
    positions_finish(&rig->positions);
    fanout_finish(&rig->fanout);
    meters_finish(&rig->meters);
    buf_finish(&rig->encoded);
    config_finish(&rig->config);
    fed_ring_destroy(rig->ring);
    if (rig->dir[0]) {
        char path[96];

        (void)snprintf(path, sizeof path, "%s/positions", rig->dir);
        (void)unlink(path);
        (void)rmdir(rig->dir);
    }
    free(rig);
}
