/*
 * Fifty containers that write and come and go, each by a script of its own in a thread of its own.
 *
 * Containers that still exist in the end are compared with the Engine's own log byte by byte, those
 * that are gone with what their writer must have written.
 */
#include "dock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ringtail/base/clock.h"

#define MEMBERS_COUNT 50
#define RATE_PER_SEC 200
#define SECONDS 30
#define LINE_BYTES 100
#define STDERR_EVERY 3
#define LIVES_MAX 8

enum fate {
    FATE_IN_LOG,  /* the Engine has its log */
    FATE_WHOLE,   /* it is gone; all its lines were to be read before */
    FATE_A_START, /* it was cut off: any number of its lines from the first on, but some */
};

struct life {
    struct dock_container container;
    enum fate fate;
    uint64_t lines_count; /* at least so many are there; FATE_WHOLE: exactly */
};

struct member;

struct role {
    const char *name;
    unsigned members;
    bool (*play)(struct member *m);
    const char *driver;
};

struct member {
    struct dock *dock;
    const struct role *role;
    char prefix[32];
    char last_name[64]; /* since a rename; else empty */
    struct life lives[LIVES_MAX];
    size_t lives_count;
};

static struct dock_writer writer_of(const struct member *m, uint64_t lines_count)
{
    return (struct dock_writer){.prefix = m->prefix,
                                .lines_count = lines_count,
                                .line_bytes = LINE_BYTES,
                                .stderr_every = STDERR_EVERY};
}

static struct life *begin_life(struct member *m, enum fate fate, uint64_t lines_count,
                               bool auto_remove)
{
    char rate[16], count[24], bytes[16], every[16];
    const char *args[] = {"/writer", "--prefix", m->prefix, "--rate",         rate,  "--count",
                          count,     "--bytes",  bytes,     "--stderr-every", every, NULL};
    struct dock_spec spec = {.args = args, .driver = m->role->driver, .auto_remove = auto_remove};
    struct life *life = &m->lives[m->lives_count];

    snprintf(rate, sizeof rate, "%d", RATE_PER_SEC);
    snprintf(count, sizeof count, "%" PRIu64, lines_count);
    snprintf(bytes, sizeof bytes, "%d", LINE_BYTES);
    snprintf(every, sizeof every, "%d", STDERR_EVERY);
    life->fate = fate;
    life->lines_count = lines_count;
    if (!dock_create(&spec, &life->container))
        return NULL;
    m->lives_count++;
    return dock_post(&life->container, "start") ? life : NULL;
}

static bool wait_for_lines(struct member *m, struct life *life, uint64_t lines_count)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    while (dock_lines(m->dock, &life->container) < lines_count) {
        if (clock_mono_ns() > until_ns)
            return dock_wrong("%s: %" PRIu64 " of %" PRIu64 " lines before it is removed",
                              m->prefix, dock_lines(m->dock, &life->container), lines_count);
        dock_sleep_ms(50);
    }
    return true;
}

static bool play_plain(struct member *m)
{
    struct life *life = begin_life(m, FATE_IN_LOG, RATE_PER_SEC * SECONDS, false);

    return life && dock_post(&life->container, "wait");
}

static bool play_renamed(struct member *m)
{
    struct life *life = begin_life(m, FATE_IN_LOG, 0, false);

    for (unsigned i = 0; life && i < 5; i++) {
        char what[96];

        dock_sleep_ms(SECONDS * 1000 / 6);
        snprintf(m->last_name, sizeof m->last_name, "%s-%u", m->prefix, i);
        snprintf(what, sizeof what, "rename?name=%s", m->last_name);
        if (!dock_post(&life->container, what))
            return false;
    }
    dock_sleep_ms(SECONDS * 1000 / 6);
    return life && dock_post(&life->container, "stop?t=5");
}

static bool play_paused(struct member *m)
{
    struct life *life = begin_life(m, FATE_IN_LOG, 0, false);

    for (unsigned i = 0; life && i < 6; i++) {
        dock_sleep_ms(SECONDS * 1000 / 8);
        if (!dock_post(&life->container, "pause"))
            return false;
        dock_sleep_ms(900);
        if (!dock_post(&life->container, "unpause"))
            return false;
    }
    return life && dock_post(&life->container, "stop?t=5");
}

static bool play_restarted(struct member *m)
{
    struct life *life = begin_life(m, FATE_IN_LOG, 0, false);

    for (unsigned i = 0; life && i < 4; i++) {
        dock_sleep_ms(SECONDS * 1000 / 5);
        if (!dock_post(&life->container, "restart?t=5"))
            return false;
    }
    dock_sleep_ms(SECONDS * 1000 / 5);
    return life && dock_post(&life->container, "stop?t=5");
}

static bool play_stopped(struct member *m)
{
    struct life *life = begin_life(m, FATE_IN_LOG, 0, false);

    for (unsigned i = 0; life && i < 3; i++) {
        dock_sleep_ms(SECONDS * 1000 / 4);
        if (!dock_post(&life->container, i % 2 == 0 ? "stop?t=5" : "kill?signal=KILL"))
            return false;
        if (!dock_post(&life->container, "wait"))
            return false;
        dock_sleep_ms(i * 700);
        if (!dock_post(&life->container, "start"))
            return false;
    }
    dock_sleep_ms(SECONDS * 1000 / 4);
    return life && dock_post(&life->container, "stop?t=5");
}

static bool play_removed(struct member *m)
{
    for (unsigned i = 0; i < 3; i++) {
        struct life *life = begin_life(m, FATE_WHOLE, RATE_PER_SEC * SECONDS / 3, false);

        if (!life || !dock_post(&life->container, "wait") ||
            !wait_for_lines(m, life, life->lines_count) || !dock_remove(&life->container, false))
            return false;
    }
    return true;
}

static bool play_forced(struct member *m)
{
    for (unsigned i = 0; i < 4; i++) {
        struct life *life = begin_life(m, FATE_A_START, 0, false);

        dock_sleep_ms(SECONDS * 1000 / 4);
        if (!life || !dock_log_count(&life->container, &life->lines_count) ||
            !dock_remove(&life->container, true))
            return false;
    }
    return true;
}

/* What is written to the end and removed at once is there from its start to wherever the Engine cut
 * it. */
static bool play_auto_removed(struct member *m)
{
    for (unsigned i = 0; i < 3; i++) {
        struct life *life = begin_life(m, FATE_A_START, 0, true);

        dock_sleep_ms(SECONDS * 1000 / 3);
        if (!life || !dock_log_count(&life->container, &life->lines_count) ||
            !dock_post(&life->container, "stop?t=5"))
            return false;
    }
    return true;
}

static const struct role roles[] = {
    {.name = "plain", .members = 8, .play = play_plain},
    {.name = "local", .members = 4, .play = play_plain, .driver = "local"},
    {.name = "renamed", .members = 6, .play = play_renamed},
    {.name = "paused", .members = 6, .play = play_paused},
    {.name = "restarted", .members = 6, .play = play_restarted},
    {.name = "restarted-local", .members = 2, .play = play_restarted, .driver = "local"},
    {.name = "stopped", .members = 6, .play = play_stopped},
    {.name = "removed", .members = 6, .play = play_removed},
    {.name = "forced", .members = 3, .play = play_forced},
    {.name = "auto-removed", .members = 3, .play = play_auto_removed},
};

static bool play(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    /* Not all at the same moment, and not always in the same order. */
    dock_sleep_ms((int64_t)(index * 137 % 2000));
    return m->role->play(m);
}

static void tell(struct dock *d, struct member *m, struct life *life)
{
    struct dock_writer writer = writer_of(m, 0);

    switch (life->fate) {
    case FATE_IN_LOG:
        dock_assert_log_is_written(d, &life->container, &writer);
        dock_tell_log(d, &life->container);
        break;
    case FATE_WHOLE:
        writer.lines_count = life->lines_count;
        dock_tell_written(d, &life->container, &writer);
        break;
    case FATE_A_START:
        /* More than there can be. */
        writer.lines_count = life->lines_count + 10 * RATE_PER_SEC;
        dock_tell_written(d, &life->container, &writer);
        told_set_optional(life->container.told);
        break;
    }
}

static void test_crowd(void **state)
{
    struct dock *d = *state;
    struct member *members = calloc(MEMBERS_COUNT, sizeof *members);
    size_t count = 0;

    assert_non_null(members);
    for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
        for (unsigned i = 0; i < roles[r].members; i++) {
            struct member *m = &members[count++];

            m->dock = d;
            m->role = &roles[r];
            snprintf(m->prefix, sizeof m->prefix, "%s-%u", roles[r].name, i);
        }
    assert_int_equal(count, MEMBERS_COUNT);
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(count, count, play, members));

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < members[i].lives_count; k++)
            tell(d, &members[i], &members[i].lives[k]);
    dock_wait_complete(d);
    dock_stop(d);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < members[i].lives_count; k++) {
            const struct life *life = &members[i].lives[k];
            uint64_t seen = told_seen(life->container.told);

            if (life->fate == FATE_A_START && seen < life->lines_count)
                dock_fail(d, "%s: %" PRIu64 " lines of %" PRIu64 " that were there",
                          members[i].prefix, seen, life->lines_count);
            if (members[i].last_name[0] != '\0')
                assert_string_equal(members[i].last_name, told_last_name(life->container.told));
        }
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
    printf("%" PRIu64 " lines of %zu files compared\n", ndjson_check_records(d->check),
           ndjson_check_files(d->check));
    free(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("fifty containers that come and go lose no line, and none comes twice",
                  test_crowd),
    };

    return dock_main(tests, false);
}
