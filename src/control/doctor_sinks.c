/*
 * Where the lines go: files, and receivers as far as a connection says something about them. What
 * they think of our credentials shows only when something is sent, and nothing is.
 */
#include "doctor_checks.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/sink/http.h"
#include "ringtail/sink/transport.h"

#include "ask.h"
#include "sinks.h"

#define CONNECT_TIMEOUT_MS 5000
#define KAFKA_PORT "9092"

void doctor_check_output(struct doctor *d)
{
    const struct config *c = d->config;

    if (config_output_is_directory(c))
        doctor_look_at_files(d, "output", c->output_path, c->output_free_space_min_bytes);
    else
        doctor_find(d, DOCTOR_OK, "output", "standard output");
}

/* ---- a connection ---- */

static int64_t connect_deadline_ns(const struct doctor *d)
{
    return MIN(d->deadline_ns, clock_mono_ns() + CONNECT_TIMEOUT_MS * NSEC_PER_MSEC);
}

/* `host`, `host:port`, `[address]:port`, as config_check lets them through. */
static void split(const char *broker, char *host, size_t host_size, const char **ret_port)
{
    const char *colon = strrchr(broker, ':');
    size_t len;

    if (broker[0] == '[') {
        len = strcspn(++broker, "]");
        colon = broker[len] && broker[len + 1] == ':' ? broker + len + 1 : NULL;
    } else {
        len = colon ? (size_t)(colon - broker) : strlen(broker);
    }
    (void)snprintf(host, host_size, "%.*s", (int)len, broker);
    *ret_port = colon ? colon + 1 : KAFKA_PORT;
}

/* Tries every address of the name. What is wrong if none answers, or NULL. */
static const char *reach_broker(struct doctor *d, const char *broker)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int64_t deadline_ns = connect_deadline_ns(d);
    struct addrinfo *found = NULL;
    const char *port;
    char host[256];
    int r, fd = -EHOSTUNREACH;

    split(broker, host, sizeof host, &port);
    r = getaddrinfo(host, port, &hints, &found);
    if (r != 0)
        return gai_strerror(r);
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next)
        fd = ask_connect(a->ai_addr, a->ai_addrlen, deadline_ns);
    freeaddrinfo(found);
    if (fd < 0)
        return strerror(-fd);
    (void)close(fd); /* nothing was sent */
    return NULL;
}

static void look_at_brokers(struct doctor *d, const struct sink_config *s)
{
    const struct option_list *brokers = &s->kafka_brokers;
    RT_CLEANUP(freep) const char **wrong = calloc(brokers->count, sizeof *wrong);
    size_t reached = 0;

    for (size_t i = 0; wrong && i < brokers->count; i++) {
        wrong[i] = reach_broker(d, brokers->items[i]);
        reached += wrong[i] == NULL;
    }
    for (size_t i = 0; wrong && i < brokers->count; i++) {
        if (!wrong[i])
            continue;
        doctor_find(d, reached > 0 ? DOCTOR_WARNING : DOCTOR_PROBLEM, s->name,
                    "broker %s can't be reached: %s", brokers->items[i], wrong[i]);
        doctor_advise(d, "is the address right, the broker running, and no firewall between?");
    }
    if (wrong && reached == brokers->count)
        doctor_find(d, DOCTOR_OK, s->name,
                    "every broker can be reached; TLS and credentials show when it runs");
}

static void look_at_url(struct doctor *d, const struct sink_config *s, struct transport *t)
{
    int64_t timeout_ms = (connect_deadline_ns(d) - clock_mono_ns()) / NSEC_PER_MSEC;
    bool is_tls = strncmp(s->url, "https:", 6) == 0;
    char why[256] = "";
    int r = http_transport_reach(t, MAX(timeout_ms, 1), why, sizeof why);

    if (r == 0) {
        doctor_find(d, DOCTOR_OK, s->name,
                    "the receiver can be reached%s; credentials show when it runs",
                    !is_tls         ? ""
                    : s->tls_verify ? ", its certificate is good"
                                    : ", its certificate is not looked at (tls.verify)");
        return;
    }
    doctor_find(d, DOCTOR_PROBLEM, s->name, "the receiver can't be reached: %s",
                why[0] ? why : strerror(-r));
    doctor_advise(d, "is the address right, the receiver running, no firewall between%s?",
                  is_tls ? ", and its certificate of an authority that tls.ca or the system trusts"
                         : "");
}

/* Made as a run makes it, so that libraries and files are looked at too. */
static void look_at_receiver(struct doctor *d, const struct sink_config *s)
{
    struct ring_options options = {
        .backend = RING_BACKEND_EPOLL, .sockets_max = 4, .buffers_count = 4, .buffer_bytes = 4096};
    struct sinks sinks = {.config = d->config, .host = d->config->host_name};
    struct ring_refusal refusal;
    struct transport *t = NULL;
    char why[256] = "";
    int r = ring_create(&options, &sinks.ring, &refusal);

    if (r < 0)
        return; /* the check of the ring says why */
    r = sinks_transport(&sinks, s, &t, why, sizeof why);
    if (r < 0) {
        doctor_find(d, DOCTOR_PROBLEM, s->name, "%s", why[0] ? why : strerror(-r));
        doctor_advise(d, "%s",
                      r == -EOPNOTSUPP ? "install the library (Debian: libcurl4 for sinks over "
                                         "HTTP, librdkafka1 for Kafka)"
                                       : "correct the options of this sink");
    } else if (s->type == SINK_TYPE_KAFKA) {
        look_at_brokers(d, s);
    } else {
        look_at_url(d, s, t);
    }
    if (t)
        (void)transport_destroy(t);
    (void)http_client_destroy(sinks.http);
    (void)ring_destroy(sinks.ring);
}

void doctor_check_sink(struct doctor *d)
{
    const struct sink_config *s = &d->config->sinks[d->number];

    if (s->type == SINK_TYPE_FILE)
        doctor_look_at_files(d, s->name, s->path, s->free_space_min_bytes);
    else if (s->type == SINK_TYPE_STDOUT)
        doctor_find(d, DOCTOR_OK, s->name, "standard output");
    else
        look_at_receiver(d, s);
}
