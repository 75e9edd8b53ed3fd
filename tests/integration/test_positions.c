/* Positions: whatever happens to the file, to the disk or to ringtail, no line is lost or doubled.
 */
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

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/sink/rotated.h"

#include "admin_peer.h"
#include "ledger.h"

#define ASIDE "Positions can't be used and are set aside: logs are read from --since on"

static const char *at(const struct world *w, const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/.ringtail/%s", w->out_dir, name);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(len, write(fd, bytes, len));
    close(fd);
}

static void read_positions(const struct world *w, struct buf *out)
{
    FILE *file = fopen(at(w, "positions"), "re");

    assert_non_null(file);
    assert_int_equal(0, buf_reserve(out, 1 << 20));
    out->len = fread(out->data, 1, 1 << 20, file);
    fclose(file);
    assert_true(out->len > 0);
}

/* ---- S16 ---- */

static void test_what_is_written_while_ringtail_is_down(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c[3];

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = sim_add(w->sim, NULL);
    for (unsigned round = 0; round < 6; round++) {
        world_run(w);
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            ledger_say_many(l, c[i], "while it runs", 20);
        ledger_wait(l);
        if (round % 2)
            ledger_kill(w);
        else
            ledger_stop(l);
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            ledger_say_many(l, c[i], "while it is down", 30 + 700 * (unsigned)i);
    }
    world_run(w);
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- S30 ---- */

/* What lies there instead of the positions, or beside them, when ringtail is started again. */
enum damage {
    DAMAGE_TORN_NEW,
    DAMAGE_NEW_IS_DIRECTORY,
    DAMAGE_TRUNCATED,
    DAMAGE_FLIPPED,
    DAMAGE_FOREIGN,
    DAMAGE_EMPTY,
    DAMAGE_UNREADABLE,
    DAMAGE_DIRECTORY,
};

static void do_damage(struct world *w, enum damage damage)
{
    struct buf file = {0};

    read_positions(w, &file);
    switch (damage) {
    case DAMAGE_TORN_NEW:
        write_file(at(w, "positions.new"), file.data, file.len / 2);
        break;
    case DAMAGE_NEW_IS_DIRECTORY:
        assert_int_equal(0, mkdir(at(w, "positions.new"), 0700));
        break;
    case DAMAGE_TRUNCATED:
        write_file(at(w, "positions"), file.data, file.len - 7);
        break;
    case DAMAGE_FLIPPED:
        file.data[file.len / 2] ^= 1;
        write_file(at(w, "positions"), file.data, file.len);
        break;
    case DAMAGE_FOREIGN:
        write_file(at(w, "positions"), "{\"positions\":[]}\n", 17);
        break;
    case DAMAGE_EMPTY:
        write_file(at(w, "positions"), "", 0);
        break;
    case DAMAGE_UNREADABLE:
        assert_int_equal(0, chmod(at(w, "positions"), 0));
        break;
    case DAMAGE_DIRECTORY:
        assert_int_equal(0, unlink(at(w, "positions")));
        assert_int_equal(0, mkdir(at(w, "positions"), 0700));
        break;
    }
    buf_finish(&file);
}

static void run_as_plain_user(struct world *w, const char *since)
{
    world_run_how(
        w, &(struct ringtail_how){.args = (const char *const[]){"--since", since, "--set",
                                                                "positions.interval=10ms", NULL},
                                  .plain_user = true});
}

/* Damage that does not touch the file in force: nothing is lost or doubled, and nothing is said. */
static void leftover(struct world *w, enum damage damage)
{
    struct ledger *l = ledger_create(w);
    struct sim_container *c;

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    ledger_say_many(l, c, "before", 50);
    run_as_plain_user(w, "all");
    ledger_wait(l);
    ledger_stop(l);
    do_damage(w, damage);
    ledger_say_many(l, c, "between", 50);
    run_as_plain_user(w, "all");
    ledger_wait(l);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, ASIDE, NULL));
    if (damage == DAMAGE_NEW_IS_DIRECTORY) {
        world_wait_log(w, "Positions can't be saved", "EISDIR", 1);
        assert_int_equal(0, rmdir(at(w, "positions.new")));
        world_wait_log(w, "Positions are saved again", NULL, 1);
    }
    ledger_stop(l);
    ledger_destroy(l);
}

static void test_a_torn_new_file_is_nothing(void **state)
{
    leftover(*state, DAMAGE_TORN_NEW);
}

static void test_a_save_that_fails_is_said_and_tried_again(void **state)
{
    leftover(*state, DAMAGE_NEW_IS_DIRECTORY);
}

/* It begins at --since: in an output of its own here, all comes again, and exactly that. */
static void damaged(struct world *w, enum damage damage)
{
    struct ledger *l = ledger_create(w);
    struct sim_container *c;
    char old[256];

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    ledger_say_many(l, c, "before", 50);
    run_as_plain_user(w, "all");
    ledger_wait(l);
    ledger_stop(l);
    do_damage(w, damage);
    snprintf(old, sizeof old, "%s/%s.ndjson", w->out_dir, sim_container_id(c));
    assert_int_equal(0, unlink(old));
    ledger_say_many(l, c, "between", 50);
    run_as_plain_user(w, "all");
    world_wait_log(w, ASIDE, "positions.damaged", 1);
    ledger_wait(l);
    ledger_stop(l);
    /* And its new positions hold. */
    ledger_say_many(l, c, "behind", 50);
    run_as_plain_user(w, "all");
    world_wait_log(w, "Positions loaded", NULL, 1);
    ledger_wait(l);
    ledger_stop(l);
    assert_int_equal(0, access(at(w, "positions.damaged"), F_OK));
    ledger_destroy(l);
}

static void test_truncated_positions_are_set_aside(void **state)
{
    damaged(*state, DAMAGE_TRUNCATED);
}

static void test_positions_with_a_flipped_byte_are_set_aside(void **state)
{
    damaged(*state, DAMAGE_FLIPPED);
}

static void test_a_foreign_file_is_set_aside(void **state)
{
    damaged(*state, DAMAGE_FOREIGN);
}

static void test_an_empty_file_is_set_aside(void **state)
{
    damaged(*state, DAMAGE_EMPTY);
}

static void test_an_unreadable_file_is_set_aside(void **state)
{
    damaged(*state, DAMAGE_UNREADABLE);
}

static void test_a_directory_in_its_place_is_set_aside(void **state)
{
    damaged(*state, DAMAGE_DIRECTORY);
}

/* ---- S42 ---- */

enum { KILLS = 25, SPEAKERS = 3, KILL_AFTER_US_MAX = 60000 };

static void kill_often(struct world *w, bool any_order, const char *const *args)
{
    struct ledger *l = ledger_create(w);
    struct sim_container *c[SPEAKERS];
    struct random random;

    random_seed(&random, 42);
    if (any_order)
        ledger_ignore_order_across_streams(l);
    world_engine(w, NULL);
    for (size_t i = 0; i < SPEAKERS; i++)
        c[i] = sim_add(w->sim, NULL);
    for (unsigned round = 0; round < KILLS; round++) {
        world_run_how(w, &(struct ringtail_how){.args = args});
        /* Mostly killed at work, now and then at its start. */
        if (round % 5)
            world_wait_log(w, "Following containers", NULL, 1);
        for (uint64_t bursts = random_below(&random, 6); bursts > 0; bursts--) {
            ledger_say_many(l, c[random_below(&random, SPEAKERS)], "under fire",
                            1 + (unsigned)random_below(&random, 40));
            nanosleep(
                &(struct timespec){.tv_nsec =
                                       (long)random_below(&random, KILL_AFTER_US_MAX / 4) * 1000},
                NULL);
        }
        ledger_kill(w);
    }
    world_run_how(w, &(struct ringtail_how){.args = args});
    for (size_t i = 0; i < SPEAKERS; i++)
        ledger_say_many(l, c[i], "at the end", 3);
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

static void test_kills_with_a_file_per_container(void **state)
{
    kill_often(*state, false, (const char *const[]){"--set", "positions.interval=10ms", NULL});
}

static void test_kills_with_rare_positions(void **state)
{
    kill_often(*state, false, (const char *const[]){"--set", "positions.interval=1h", NULL});
}

static void test_kills_with_one_file_for_all(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "output.template=all.ndjson", NULL});
}

static void test_kills_with_a_file_per_stream(void **state)
{
    kill_often(*state, true,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "output.template={container_id}-{stream}.ndjson", NULL});
}

static void test_kills_with_rotated_files(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "output.rotate_bytes=4KiB", "--set", "output.rotate_keep=1000",
                                     NULL});
}

/* Files that have been compressed, below the output. */
static unsigned count_compressed(const struct world *w)
{
    DIR *dir = opendir(w->out_dir);
    struct rotated_name name;
    unsigned count = 0;

    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        count += rotated_parse(e->d_name, &name) && name.form == ROTATED_GZIP;
    closedir(dir);
    return count;
}

static void test_kills_with_compressed_files(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "output.rotate_bytes=4KiB", "--set", "output.rotate_keep=1000",
                                     "--set", "output.rotate_interval=1s", "--set",
                                     "output.rotate_compression=gzip", NULL});
    assert_true(count_compressed(*state) > 0);
}

static void test_kills_with_compressed_files_and_rare_positions(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=300ms", "--set",
                                     "output.rotate_bytes=4KiB", "--set", "output.rotate_keep=1000",
                                     "--set", "output.rotate_compression=gzip", NULL});
}

static void test_kills_with_synced_output(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "output.sync=positions", "--set", "output.rotate_bytes=4KiB",
                                     "--set", "output.rotate_keep=1000", NULL});
}

static void test_kills_with_stream_rotation(void **state)
{
    kill_often(*state, false,
               (const char *const[]){"--set", "positions.interval=10ms", "--set",
                                     "stream.rotation_interval=200ms", NULL});
}

/* ---- versions ---- */

enum { V1_LINES = 50, V1_KNOWN = 40, V1_MARKS = 8 };

static struct ledger_line line_of(const struct ledger *l, size_t n)
{
    struct ledger_line line;

    assert_true(ledger_line(l, n, &line));
    return line;
}

static int64_t size_of_lines(const char *path, unsigned lines)
{
    FILE *file = fopen(path, "re");
    int64_t size = 0;

    assert_non_null(file);
    while (lines > 0) {
        int c = getc(file);

        assert_true(c != EOF);
        size++;
        lines -= c == '\n';
    }
    assert_int_equal(0, fclose(file));
    return size;
}

/* As a ringtail of version 1 leaves it: it knows the first lines by their marks, one more that it
 * has found in the file, and of the others nothing but that the file goes on. */
static void write_version_1(const struct world *w, const struct ledger *l,
                            const struct sim_container *c)
{
    const char *id = sim_container_id(c);
    struct ledger_line found = line_of(l, V1_KNOWN);
    struct buf out = {0};
    char path[256], head[64];
    struct stat st;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.ndjson", w->out_dir, id);
    assert_int_equal(0, stat(path, &st));
    assert_int_equal(0,
                     buf_printf(&out,
                                "{\"saved_at\":%jd,\"listed_at\":0,\"floor\":0,\"containers\":[\n"
                                "{\"id\":\"%s\",\"seen_at\":%jd,\"floor\":0,\"marks\":\"",
                                (intmax_t)found.ts_ns, id, (intmax_t)clock_wall_ns()));
    for (size_t n = V1_KNOWN - V1_MARKS; n < V1_KNOWN; n++) {
        struct ledger_line line = line_of(l, n);
        unsigned stream = line.stream == SIM_STDERR ? 2 : 1;
        char text[128];
        int len = snprintf(text, sizeof text, "%.*s\n", (int)line.bytes.len, line.bytes.data);
        uint64_t hash = hash_bytes(slice_of(text, (size_t)len), stream);

        assert_int_equal(0, buf_printf(&out, "%016jx%016jx", (uintmax_t)line.ts_ns,
                                       (uintmax_t)((hash & ~UINT64_C(3)) | (stream & 2))));
    }
    assert_int_equal(
        0,
        buf_printf(&out,
                   "\",\"written_stdout\":{\"until\":%jd,\"lines\":\"%016jx\"}}],\n\"outputs\":[\n"
                   "{\"path\":\"%s.ndjson\",\"device\":%ju,\"inode\":%ju,\"size\":%jd,"
                   "\"moved\":false}]}\n",
                   (intmax_t)found.ts_ns,
                   (uintmax_t)hash_bytes(found.bytes, (uint64_t)found.ts_ns << 1), id,
                   (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
                   (intmax_t)size_of_lines(path, V1_KNOWN + 1)));
    snprintf(head, sizeof head, "ringtail positions 1 %016jx\n",
             (uintmax_t)hash_bytes(buf_slice(&out), 1));
    file = fopen(at(w, "positions"), "we");
    assert_non_null(file);
    assert_true(fputs(head, file) >= 0);
    assert_int_equal(out.len, fwrite(out.data, 1, out.len, file));
    assert_int_equal(0, fclose(file));
    buf_finish(&out);
}

static void test_positions_of_version_1(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c;

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    ledger_say_many(l, c, "before", V1_LINES);
    world_run(w);
    ledger_wait(l);
    ledger_stop(l);
    write_version_1(w, l, c);
    for (unsigned run = 0; run < 3; run++) {
        ledger_say_many(l, c, "behind", 20);
        world_run(w, "--set", "positions.interval=10ms");
        world_wait_log(w, "Positions loaded", NULL, 1);
        ledger_wait(l);
        ledger_kill(w);
    }
    world_run(w);
    ledger_say_many(l, c, "at the end", 3);
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- what a power loss leaves ---- */

struct growing {
    struct ledger *ledger;
    struct sim_container *container;
};

/* Whether the positions say that the container's file has more than 1000 bytes; says a line if not,
 * because there is nothing to save without one. */
static bool is_size_saved(struct world *w, void *ctx)
{
    const struct growing *g = ctx;
    struct buf file = {0};
    const char *entry, *size = NULL;
    bool saved;

    read_positions(w, &file);
    assert_int_equal(0, buf_append_char(&file, '\0'));
    entry = strstr(file.data, "\"outputs\"");
    entry = entry ? strstr(entry, sim_container_id(g->container)) : NULL;
    size = entry ? strstr(entry, "\"size\":") : NULL;
    saved = size && strtol(size + 7, NULL, 10) > 1000;
    buf_finish(&file);
    if (!saved)
        ledger_say_many(g->ledger, g->container, "one more line", 1);
    return saved;
}

static void test_a_shorter_output_is_reported(void **state)
{
    static const char said[] =
        "Output file is shorter than it was, lines that were written are gone";
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c, *whole;
    char path[256];
    struct stat st;

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    whole = sim_add(w->sim, NULL);
    world_run(w, "--set", "positions.interval=10ms");
    world_wait_log(w, "Following containers", NULL, 1);
    ledger_say_many(l, whole, "a line", 20);
    world_wait(w, "a size is saved", is_size_saved, &(struct growing){.ledger = l, .container = c});
    ledger_wait(l);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, said, NULL));
    ledger_kill(w);
    snprintf(path, sizeof path, "%s/%s.ndjson", w->out_dir, sim_container_id(c));
    assert_int_equal(0, stat(path, &st));
    assert_int_equal(0, truncate(path, 100));
    world_run(w, ADMIN_PEER_ARGS);
    world_wait_log(w, said, sim_container_id(c), 1);
    world_assert_within(w, ringtail_proc_log_number(&w->ringtail, said, "bytes_missing"), 900,
                        st.st_size - 100);
    assert_true(
        admin_peer_sum(w, admin_peer_port(w), "log_capturer_positions_outputs_shorter_total") == 1);
    assert_int_equal(1, ringtail_proc_log_count(&w->ringtail, said, NULL));
    world_stop_early(w);
    ledger_destroy(l);
}

/* ---- one at a time ---- */

static void test_a_second_ringtail_is_refused(void **state)
{
    struct world *w = *state;
    struct ringtail_proc first;
    struct ledger *l = ledger_create(w);
    struct sim_container *c;
    char second_dir[128];

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    ledger_say_many(l, c, "for the first", 10);
    world_run(w);
    ledger_wait(l);
    first = w->ringtail;
    w->ringtail = (struct ringtail_proc){0};
    snprintf(second_dir, sizeof second_dir, "%s/second", w->dir);
    assert_int_equal(0, mkdir(second_dir, 0700));
    assert_int_equal(
        0, ringtail_proc_start(
               &(struct ringtail_how){
                   .args = (const char *const[]){"run", "--engine", sim_url(w->sim), "--output",
                                                 w->out_dir, "--set", "admin.address=", NULL},
                   .directory = second_dir},
               &w->ringtail));
    world_wait_exit(w, 1);
    assert_int_equal(
        1, ringtail_proc_log_count(&w->ringtail, "Another ringtail uses these positions", NULL));
    ringtail_proc_finish(&w->ringtail);
    w->ringtail = first;
    ledger_say_many(l, c, "for the first, still", 10);
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S16 what is written while ringtail is down comes once",
                   test_what_is_written_while_ringtail_is_down),
        WORLD_TEST("S30 a torn new file is nothing", test_a_torn_new_file_is_nothing),
        WORLD_TEST("S30 a save that fails is said and tried again",
                   test_a_save_that_fails_is_said_and_tried_again),
        WORLD_TEST("S30 truncated positions are set aside", test_truncated_positions_are_set_aside),
        WORLD_TEST("S30 positions with a flipped byte are set aside",
                   test_positions_with_a_flipped_byte_are_set_aside),
        WORLD_TEST("S30 a foreign file is set aside", test_a_foreign_file_is_set_aside),
        WORLD_TEST("S30 an empty file is set aside", test_an_empty_file_is_set_aside),
        WORLD_TEST("S30 an unreadable file is set aside", test_an_unreadable_file_is_set_aside),
        WORLD_TEST("S30 a directory in its place is set aside",
                   test_a_directory_in_its_place_is_set_aside),
        WORLD_TEST("S42 SIGKILL with a file per container", test_kills_with_a_file_per_container),
        WORLD_TEST("S42 SIGKILL with rare positions", test_kills_with_rare_positions),
        WORLD_TEST("S42 SIGKILL with one file for all", test_kills_with_one_file_for_all),
        WORLD_TEST("S42 SIGKILL with a file per stream", test_kills_with_a_file_per_stream),
        WORLD_TEST("S42 SIGKILL with rotated files", test_kills_with_rotated_files),
        WORLD_TEST("S42 SIGKILL with files that are compressed", test_kills_with_compressed_files),
        WORLD_TEST("S42 SIGKILL with files that are compressed and rare positions",
                   test_kills_with_compressed_files_and_rare_positions),
        WORLD_TEST("S42 SIGKILL with output that is synced", test_kills_with_synced_output),
        WORLD_TEST("positions of version 1 are gone on from", test_positions_of_version_1),
        WORLD_TEST("an output file that has become shorter is reported",
                   test_a_shorter_output_is_reported),
        WORLD_TEST("S42 SIGKILL with a stream rotation every 200 ms",
                   test_kills_with_stream_rotation),
        WORLD_TEST("a second ringtail on the same positions is refused",
                   test_a_second_ringtail_is_refused),
    };

    return world_main(tests);
}
