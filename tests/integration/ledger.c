#include "ledger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/sink/rotated.h"

#define LOOK_MS 30
/* Files may be renamed while they are looked at; what is wrong for so many looks stays wrong. */
#define LOOKS_WRONG_MAX 10
#define FILES_MAX 2000

struct entry {
    const struct sim_container *container;
    enum sim_stream stream;
    int64_t ts_ns;
    unsigned flags;
    size_t len;
    char *bytes;
};

struct ledger {
    struct world *world;
    bool any_order;
    struct entry *entries;
    size_t count, cap;
    char joined[128];
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct ledger *ledger_create(struct world *w)
{
    struct ledger *l = must(calloc(1, sizeof *l));
    char nowhere[128];

    l->world = w;
    snprintf(l->joined, sizeof l->joined, "%s/joined", w->dir);
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", w->dir);
    ndjson_check_destroy(w->check);
    w->check = ndjson_check_create(nowhere);
    return l;
}

void ledger_destroy(struct ledger *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->entries[i].bytes);
    free(l->entries);
    free(l);
}

void ledger_ignore_order_across_streams(struct ledger *l)
{
    l->any_order = true;
}

void ledger_add(struct ledger *l, const struct sim_container *c, enum sim_stream stream,
                int64_t ts_ns, const void *bytes, size_t len, unsigned flags)
{
    struct entry *e;

    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 256;
        l->entries = must(realloc(l->entries, l->cap * sizeof *l->entries));
    }
    e = &l->entries[l->count++];
    *e = (struct entry){.container = c,
                        .stream = stream,
                        .ts_ns = ts_ns,
                        .flags = flags,
                        .len = len,
                        .bytes = must(malloc(len + 1))};
    memcpy(e->bytes, bytes, len);
}

void ledger_say(struct ledger *l, struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                const void *bytes, size_t len)
{
    ledger_add(l, c, stream, ts_ns, bytes, len, len + 1 > SIM_PART_BYTES ? TOLD_IN_PARTS : 0);
    assert_int_equal(0, sim_line_bytes(c, stream, ts_ns, bytes, len));
}

void ledger_say_many(struct ledger *l, struct sim_container *c, const char *what, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char text[128];
        int len = snprintf(text, sizeof text, "%s %u", what, i);

        ledger_say(l, c, i % 3 == 2 ? SIM_STDERR : SIM_STDOUT, world_next_ts(l->world), text,
                   (size_t)len);
    }
}

size_t ledger_count(const struct ledger *l)
{
    return l->count;
}

bool ledger_line(const struct ledger *l, size_t n, struct ledger_line *ret)
{
    const struct entry *e = &l->entries[n];

    if (n >= l->count)
        return false;
    *ret = (struct ledger_line){.container = e->container,
                                .stream = e->stream,
                                .ts_ns = e->ts_ns,
                                .bytes = slice_of(e->bytes, e->len)};
    return true;
}

/* ---- looking ---- */

struct part_file {
    char *name;
    size_t base_len;
    unsigned number; /* name.number; 0: the file in use */
    enum rotated_form form;
};

/* Rotated files of one name one after the other, the oldest first. */
static int by_name_and_age(const void *a, const void *b)
{
    const struct part_file *x = a, *y = b;
    size_t len = MIN(x->base_len, y->base_len);
    int r = memcmp(x->name, y->name, len);

    if (r == 0 && x->base_len != y->base_len)
        r = x->base_len < y->base_len ? -1 : 1;
    if (r == 0)
        r = (x->number < y->number) - (x->number > y->number);
    return r ? r : (x->form > y->form) - (x->form < y->form);
}

static void append_gzip(const char *from, int to)
{
    gzFile file = gzopen(from, "rbe");
    static char bytes[262144];
    int n;

    if (!file)
        return; /* rotated away just now */
    while ((n = gzread(file, bytes, sizeof bytes)) > 0)
        assert_int_equal(n, write(to, bytes, (size_t)n));
    assert_int_equal(0, n);
    assert_int_equal(Z_OK, gzclose(file));
}

static void append_file(const char *from, int to)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    static char bytes[262144];
    ssize_t n;

    if (fd < 0)
        return; /* rotated away just now: this look finds lines missing */
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        assert_int_equal(n, write(to, bytes, (size_t)n));
    close(fd);
}

static size_t list_files(const char *directory, struct part_file *files)
{
    DIR *dir = opendir(directory);
    size_t count = 0;

    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
        struct part_file *f = &files[count];
        struct rotated_name rotated = {.base_len = strlen(e->d_name)};

        if (e->d_name[0] == '.')
            continue;
        assert_true(count < FILES_MAX);
        if (rotated_parse(e->d_name, &rotated) && rotated.form == ROTATED_TEMPORARY)
            continue; /* the plain one is there */
        f->name = must(strdup(e->d_name));
        f->number = rotated.number;
        f->base_len = rotated.base_len;
        f->form = rotated.form;
        count++;
    }
    if (dir)
        closedir(dir);
    qsort(files, count, sizeof *files, by_name_and_age);
    return count;
}

/* Whether these are still the files, which are forgotten. */
static bool is_still_there(const char *directory, const struct part_file *files, size_t count)
{
    static struct part_file now[FILES_MAX];
    size_t now_count = list_files(directory, now);
    bool same = now_count == count;

    for (size_t i = 0; i < now_count; i++) {
        same = same && strcmp(now[i].name, files[i].name) == 0;
        free(now[i].name);
    }
    for (size_t i = 0; i < count; i++)
        free(files[i].name);
    return same;
}

/* The output with its rotated files put together again, below l->joined. Returns false if files
 * were renamed or compressed meanwhile, so that some may be missing. */
static bool join(struct ledger *l)
{
    static struct part_file files[FILES_MAX];
    size_t count = list_files(l->joined, files);
    char path[512];

    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", l->joined, files[i].name);
        (void)unlink(path);
        free(files[i].name);
    }
    (void)mkdir(l->joined, 0700);
    count = list_files(l->world->out_dir, files);
    for (size_t i = 0; i < count; i++) {
        int fd;

        /* Killed between the two: the plain one holds. */
        if (i > 0 && files[i].number > 0 && files[i].number == files[i - 1].number &&
            files[i].base_len == files[i - 1].base_len &&
            memcmp(files[i].name, files[i - 1].name, files[i].base_len) == 0)
            continue;
        snprintf(path, sizeof path, "%s/%.*s", l->joined, (int)files[i].base_len, files[i].name);
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        snprintf(path, sizeof path, "%s/%s", l->world->out_dir, files[i].name);
        if (files[i].form == ROTATED_GZIP)
            append_gzip(path, fd);
        else
            append_file(path, fd);
        close(fd);
    }
    return is_still_there(l->world->out_dir, files, count);
}

static struct told *told_of(struct ndjson_check *check, struct told **known, size_t *count,
                            const struct sim_container **containers,
                            const struct sim_container *container)
{
    for (size_t i = *count; i > 0; i--)
        if (containers[i - 1] == container)
            return known[i - 1];
    containers[*count] = container;
    known[*count] = ndjson_check_add(check, sim_container_id(container));
    return known[(*count)++];
}

/* 1: met; 0: lines are missing; -EBADMSG: something is there that was not written. */
static int look_at(const struct ledger *l, const char *path, const char **ret_why)
{
    static char why[1024];
    struct ndjson_check *check;
    struct told **known = must(calloc(l->count + 1, sizeof(struct told *)));
    const struct sim_container **containers =
        must(calloc(l->count + 1, sizeof(struct sim_container *)));
    const char *missing = "";
    size_t count = 0;
    int r;

    check = ndjson_check_create(path);
    for (size_t i = 0; i < l->count; i++) {
        const struct entry *e = &l->entries[i];

        told_line(told_of(check, known, &count, containers, e->container), e->stream, e->ts_ns,
                  slice_of(e->bytes, e->len), e->flags | (l->any_order ? TOLD_IN_PARTS : 0));
    }
    while ((r = ndjson_check_poll(check)) > 0)
        continue;
    if (r < 0)
        snprintf(why, sizeof why, "%s", ndjson_check_why(check));
    else if (!ndjson_check_is_complete(check, &missing))
        snprintf(why, sizeof why, "%s", missing);
    else if (!ndjson_check_is_whole(check))
        snprintf(why, sizeof why, "a file ends within a line");
    else
        why[0] = '\0';
    ndjson_check_destroy(check);
    free(known);
    free(containers);
    *ret_why = why;
    return r < 0 ? -EBADMSG : why[0] == '\0';
}

static int look(struct ledger *l, const char **ret_why)
{
    bool is_whole = join(l);
    int r = look_at(l, l->joined, ret_why);

    if (r == -EBADMSG && !is_whole) {
        *ret_why = "files change while they are looked at";
        r = 0;
    }
    return r;
}

bool ledger_is_met(struct ledger *l, const char **ret_why)
{
    return look(l, ret_why) > 0;
}

bool ledger_is_met_by(const struct ledger *l, const char *path, const char **ret_why)
{
    return look_at(l, path, ret_why) > 0;
}

void ledger_wait(struct ledger *l)
{
    int64_t until_ns = clock_mono_ns() + world_timeout_ms() * NSEC_PER_MSEC;
    struct timespec pause = {.tv_nsec = LOOK_MS * NSEC_PER_MSEC};
    unsigned wrong = 0;
    const char *why;
    int r;

    while ((r = look(l, &why)) <= 0) {
        wrong = r < 0 ? wrong + 1 : 0;
        if (wrong > LOOKS_WRONG_MAX)
            world_fail(l->world, "the output is wrong: %s", why);
        if (ringtail_proc_poll(&l->world->ringtail))
            world_fail(l->world, "ringtail ended with %d: %s", l->world->ringtail.code, why);
        if (clock_mono_ns() > until_ns)
            world_fail(l->world, "waited %d s: %s", world_timeout_ms() / 1000, why);
        nanosleep(&pause, NULL);
    }
}

void ledger_stop(struct ledger *l)
{
    const char *why;

    world_stop_early(l->world);
    if (!ledger_is_met(l, &why))
        world_fail(l->world, "the output is not what was written: %s", why);
}

void ledger_kill(struct world *w)
{
    ringtail_proc_signal(&w->ringtail, SIGKILL);
    world_wait_exit(w, 128 + SIGKILL);
}
