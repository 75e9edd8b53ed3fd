/* See http_fixture.h. */
#include "http_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

static const struct ring_options ring_options = {
    .entries = 64, .sockets_max = 16, .buffers_count = 4, .buffer_bytes = 4096};

int http_fixture_skip_code(void)
{
    struct ring_refusal refusal = {0};
    struct ring *ring = NULL;

    if (ring_create(&ring_options, &ring, &refusal) < 0) {
        printf("no io_uring here: %s\n", refusal.reason);
        return 77;
    }
    ring_destroy(ring);
    return 0;
}

static size_t count_entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void make_records(struct http_fixture *f)
{
    f->source =
        source_create(slice_str("1111111111111111111111111111111111111111111111111111111111111111"),
                      slice_str("web"), slice_str("nginx:1.27"));
    assert_non_null(f->source);
    for (size_t i = 0; i < FIXTURE_RECORDS; i++) {
        int len = snprintf(f->lines[i], sizeof f->lines[i], "line %zu", i);

        f->records[i] = (struct record){
            .ts_ns = FIXTURE_TS + (int64_t)i,
            .data = f->lines[i],
            .len = (uint32_t)len,
            .source = f->source,
            .stream = i % 2 ? RECORD_STDERR : RECORD_STDOUT,
        };
        f->pointers[i] = &f->records[i];
    }
}

int http_fixture_setup(void **state)
{
    struct http_fixture *f = calloc(1, sizeof *f);
    struct ring_refusal refusal = {0};

    assert_non_null(f);
    f->descriptors_before = count_entries("/proc/self/fd");
    if (ring_create(&ring_options, &f->ring, &refusal) < 0)
        fail_msg("ring_create: %s", refusal.reason);
    assert_int_equal(0, http_client_create(f->ring, &f->client));
    make_records(f);
    *state = f;
    return 0;
}

void fixture_close_transports(struct http_fixture *f)
{
    while (f->transports_count > 0)
        assert_null(transport_destroy(f->transports[--f->transports_count]));
}

int http_fixture_teardown(void **state)
{
    struct http_fixture *f = *state;

    fixture_close_transports(f);
    assert_null(http_client_destroy(f->client));
    ring_destroy(f->ring);
    (void)source_unref(f->source);
    /* A look-up that nobody waits for any more ends in its own time. */
    for (int i = 0; i < 1000 && count_entries("/proc/self/fd") > f->descriptors_before; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(f->descriptors_before, count_entries("/proc/self/fd"));
    free(f);
    return 0;
}

struct http_transport_options fixture_options(const char *url)
{
    static const struct codec_options codec = {.kind = CODEC_SPLUNK};

    return (struct http_transport_options){
        .url = url,
        .codec = &codec,
        .timeout_ms = FIXTURE_PATIENCE_MS,
        .connect_timeout_ms = FIXTURE_PATIENCE_MS,
        .connections_max = 1,
    };
}

struct transport *fixture_open(struct http_fixture *f, const struct http_transport_options *options)
{
    struct transport *t = NULL;

    assert_true(f->transports_count < FIXTURE_TRANSPORTS);
    if (http_transport_create(f->client, options, &t, f->why, sizeof f->why) < 0)
        fail_msg("%s", f->why);
    assert_string_equal("", f->why);
    f->transports[f->transports_count++] = t;
    return t;
}

static void sent_done(struct request *request)
{
    static unsigned turns;
    struct sent *s = container_of(request, struct sent, request);

    s->done++;
    s->turn = ++turns;
}

void fixture_start(struct http_fixture *f, struct transport *t, struct sent *s, size_t first,
                   size_t count)
{
    assert_true(first + count <= FIXTURE_RECORDS);
    s->done = 0;
    s->request.records = f->pointers + first;
    s->request.count = count;
    s->request.done = sent_done;
    transport_start(t, &s->request);
}

struct waiting {
    struct http_fixture *f;
    const struct sent *sent;
    size_t count;
};

static bool all_done(const struct waiting *w)
{
    for (size_t i = 0; i < w->count; i++) {
        assert_true(w->sent[i].done <= 1);
        if (w->sent[i].done == 0)
            return false;
    }
    return true;
}

static void stop_when_done(void *ctx)
{
    const struct waiting *w = ctx;

    if (all_done(w))
        ring_stop(w->f->ring);
}

void fixture_wait(struct http_fixture *f, struct sent *s, size_t count)
{
    struct waiting w = {f, s, count};

    if (!all_done(&w))
        assert_int_equal(0, ring_run(f->ring, stop_when_done, &w));
    for (size_t i = 0; i < count; i++) {
        const struct request *r = &s[i].request;

        /* What a transport may never do. */
        assert_true(r->error <= 0);
        if (r->error == 0)
            assert_int_equal(r->count, r->judgement.count);
        assert_null(strpbrk(r->message, "\r\n"));
    }
}

void fixture_send(struct http_fixture *f, struct transport *t, struct sent *s)
{
    fixture_start(f, t, s, 0, 3);
    fixture_wait(f, s, 1);
}

void sent_finish(struct sent *s)
{
    codec_judgement_finish(&s->request.judgement);
}

const char *sent_reason(const struct sent *s)
{
    return codec_reason(&s->request.judgement, s->request.judgement.reason);
}

int fixture_listen(uint16_t *ret_port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof addr;

    assert_true(fd >= 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&addr, sizeof addr));
    assert_int_equal(0, listen(fd, 64));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&addr, &len));
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

const char *fixture_url(const char *scheme, uint16_t port, const char *path)
{
    static char urls[16][256];
    static size_t next;
    char *url = urls[next++ % ARRAY_SIZE(urls)];

    (void)snprintf(url, sizeof urls[0], "%s://127.0.0.1:%u%s", scheme, port, path);
    return url;
}

static char directory[32];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_directory(void)
{
    (void)nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fixture_directory(void)
{
    if (directory[0] == '\0') {
        strcpy(directory, "/tmp/ringtail-test-XXXXXX");
        /* Servers may run as another user. */
        if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
            return NULL;
        (void)atexit(remove_directory);
    }
    return directory;
}
