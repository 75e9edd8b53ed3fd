/*
 * What a ringtail that runs has given up, seen from outside, while it does everything that it can:
 * sinks of every kind, a spool, rotated files. How the tests run it, a call that its filter does
 * not know would end it.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_KAFKA
#include <librdkafka/rdkafka.h>
/* It needs the one above. */
#include <librdkafka/rdkafka_mock.h>
#endif

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"
#include "support/receiver.h"

#include "admin_peer.h"

#define LINES 400
#define INFO "log_capturer_confinement_info{"
#define CAP_DAC_OVERRIDE_BIT UINT64_C(0x2)

static struct receiver receiver;

/* How world_run runs ringtail. */
static bool is_mode(const char *mode)
{
    const char *asked = getenv("RINGTAIL_TEST_CONFINE");

    return strcmp(asked ? asked : CONFINE_MODE, mode) == 0;
}

/* ---- /proc ---- */

static uint64_t status_number(const char *path, const char *key, int base)
{
    char line[256];
    uint64_t number = UINT64_MAX;
    FILE *file = fopen(path, "re");
    size_t len = strlen(key);

    if (!file)
        return number; /* the thread has ended */
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, len) == 0 && line[len] == ':')
            number = strtoull(line + len + 1, NULL, base);
    (void)fclose(file);
    return number;
}

/* Calls `check` for the status of every thread. Returns how many there are. */
static unsigned each_thread(struct world *w, void (*check)(struct world *w, const char *path))
{
    char path[320];
    struct dirent *entry;
    unsigned count = 0;
    DIR *dir;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)w->ringtail.pid);
    dir = opendir(path);
    world_assert(w, dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)w->ringtail.pid,
                       entry->d_name);
        if (status_number(path, "NoNewPrivs", 10) != UINT64_MAX) {
            check(w, path);
            count++;
        }
    }
    (void)closedir(dir);
    return count;
}

static void check_confined(struct world *w, const char *path)
{
    if (is_mode("off"))
        return;
    world_assert(w, status_number(path, "NoNewPrivs", 10) == 1);
    world_assert(w, (status_number(path, "CapPrm", 16) & ~CAP_DAC_OVERRIDE_BIT) == 0);
    world_assert(w, (status_number(path, "CapEff", 16) & ~CAP_DAC_OVERRIDE_BIT) == 0);
    world_assert(w, geteuid() != 0 || status_number(path, "CapBnd", 16) == CAP_DAC_OVERRIDE_BIT);
    if (is_mode("strict"))
        world_assert(w, status_number(path, "Seccomp", 10) == 2);
}

static void check_open(struct world *w, const char *path)
{
    world_assert(w, status_number(path, "NoNewPrivs", 10) ==
                        status_number("/proc/self/status", "NoNewPrivs", 10));
    world_assert(w, status_number(path, "CapPrm", 16) ==
                        status_number("/proc/self/status", "CapPrm", 16));
    world_assert(w, status_number(path, "Seccomp", 10) ==
                        status_number("/proc/self/status", "Seccomp", 10));
}

/* ---- everything at once ---- */

struct settled {
    uint16_t port;
    const char *sink;
};

static bool has_settled(struct world *w, void *ctx)
{
    const struct settled *s = ctx;
    char series[96];

    (void)snprintf(series, sizeof series, "log_capturer_records_settled_total{sink=\"%s\"",
                   s->sink);
    return admin_peer_sum(w, s->port, series) >= LINES;
}

static void write_config(struct world *w, const char *path, const char *more)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fprintf(file,
            "spool.path: \"%s/spool\"\n"
            "spool.segment_bytes: 256KiB\n"
            "sinks:\n"
            "  packed: {type: file, path: \"%s/packed\", rotate_bytes: 4KiB, rotate_keep: 1000,\n"
            "           rotate_compression: gzip, sync: positions, retention: 1h,\n"
            "           free_space_min: 1MiB, template: \"{date}/{container_id}.ndjson\"}\n"
            "  http: {type: http, url: \"http://localhost:%u/ndjson\"}\n"
            "  loki: {type: loki, url: \"http://127.0.0.1:%u\",\n"
            "         labels: \"container={container_id_short},stream={stream}\",\n"
            "         metadata: \"container_id={container_id}\"}\n"
            "  elasticsearch: {type: elasticsearch, url: \"http://127.0.0.1:%u\"}\n"
            "  otlp: {type: otlp, url: \"http://127.0.0.1:%u\"}\n"
            "  splunk: {type: splunk, url: \"http://127.0.0.1:%u\", token: secret}\n"
            "%s",
            w->dir, w->dir, receiver.port, receiver.port, receiver.port, receiver.port,
            receiver.port, more);
    assert_int_equal(0, fclose(file));
}

static void run_all(struct world *w, const char *more_sinks, const char *const *names)
{
    struct speaker *s;
    char config[128];
    uint16_t port;

    (void)snprintf(config, sizeof config, "%s/ringtail.yaml", w->dir);
    write_config(w, config, more_sinks);
    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    say_many(s, "before", LINES / 2);
    world_run(w, "--config", config, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=300ms",
              "--set", "positions.interval=20ms", "--set", "output.sync=positions");
    say_many(s, "after", LINES / 2);
    world_wait_all(w);
    port = admin_peer_port(w);
    for (size_t i = 0; names[i]; i++)
        world_wait(w, names[i], has_settled, &(struct settled){port, names[i]});
    /* The ring's, the admin endpoint's, the keeper's and that of HTTP at least. */
    world_assert(w, each_thread(w, check_confined) >= 4);
    world_stop(w);
}

static const char *const http_names[] = {"output",        "packed", "http",   "loki",
                                         "elasticsearch", "otlp",   "splunk", NULL};

static void test_everything_works_confined(void **state)
{
    run_all(*state, "", http_names);
}

#ifdef HAVE_KAFKA
static void test_kafka_works_confined(void **state)
{
    static const char *const names[] = {"kafka", NULL};
    struct world *w = *state;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_mock_cluster_t *cluster;
    const char *brokers;
    rd_kafka_t *host;
    char sink[256];

    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_non_null(host);
    cluster = rd_kafka_mock_cluster_new(host, 2);
    assert_non_null(cluster);
    brokers = rd_kafka_mock_cluster_bootstraps(cluster);
    (void)snprintf(sink, sizeof sink, "  kafka: {type: kafka, topic: logs, brokers: [\"%.*s\"]}\n",
                   (int)strcspn(brokers, ","), brokers);
    run_all(w, sink, names);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}
#endif

/* ---- what it says of itself ---- */

static void test_what_is_given_up_is_shown(void **state)
{
    struct world *w = *state;
    struct buf page = {0};
    char needle[128];

    if (is_mode("off"))
        skip();
    world_engine(w, NULL);
    world_run(w, ADMIN_PEER_ARGS);
    (void)snprintf(needle, sizeof needle, "\"system_calls\":\"%s\"",
                   is_mode("strict") ? "on" : "none");
    world_wait_log(w, "Confined", needle, 1);
    world_assert(w, admin_peer_get(admin_peer_port(w), &page));
    world_assert(w, strstr(page.data, INFO));
    world_assert(w, strstr(page.data, "no_new_privs=\"on\",capabilities=\"on\",system_calls=\""));
    world_assert(w, admin_peer_fetch(admin_peer_port(w), "/ready", &page) > 0);
    world_assert(w, strstr(page.data, "\"no_new_privs\":\"on\""));
    world_assert(w, strstr(page.data, needle));
    buf_finish(&page);
    world_stop(w);
}

static void test_off_gives_up_nothing(void **state)
{
    struct world *w = *state;
    struct buf page = {0};

    world_engine(w, NULL);
    world_run(w, ADMIN_PEER_ARGS, "--set", "run.confine=off");
    world_assert(w, admin_peer_get(admin_peer_port(w), &page));
    world_assert(w, strstr(page.data, INFO "ring=\"off\",no_new_privs=\"off\",capabilities=\"off\","
                                           "system_calls=\"off\"} 1"));
    world_assert(w, each_thread(w, check_open) > 0);
    buf_finish(&page);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("sinks of every kind work while every thread is confined",
                   test_everything_works_confined),
#ifdef HAVE_KAFKA
        WORLD_TEST("so does Kafka", test_kafka_works_confined),
#endif
        WORLD_TEST("what is given up is in the log, on /ready and on /metrics",
                   test_what_is_given_up_is_shown),
        WORLD_TEST("run.confine=off gives up nothing", test_off_gives_up_nothing),
    };
    int failed;

    if (receiver_start(&receiver, NULL) < 0) {
        puts("no receiver: python3 is missing");
        return 77;
    }
    failed = world_main(tests);
    receiver_stop(&receiver);
    return failed;
}
