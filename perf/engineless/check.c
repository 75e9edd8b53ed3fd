/*
 * Compares ringtail's output with what the simulated Engine's containers said, byte by byte.
 *
 *   check LINE_BYTES FILE...
 *
 * Files in the order in which they were written. What was written before the first of them is gone
 * (rotated away), so a container may begin with any line; from there on every line has to be there
 * once, in order. Prints what it found as one JSON object. Exit codes: 0 right, 1 not, 2 wrong
 * usage.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/table.h"
#include "ringtail/sim/sim.h"

#define LINE_BYTES_MAX 65536

struct speaker {
    struct table_link link;
    char *name;
    uint64_t next;
};

struct check {
    struct sim_generator spec;
    struct table speakers;
    uint64_t lines, lost, repeated, garbled;
    char wanted[LINE_BYTES_MAX];
};

static struct speaker *speaker_of(struct check *c, struct slice name, uint64_t n)
{
    struct table_link *link = table_find(&c->speakers, name);
    struct speaker *s;

    if (link)
        return container_of(link, struct speaker, link);
    s = calloc(1, sizeof *s);
    if (!s || !(s->name = slice_dup(name))) {
        fputs("check: out of memory\n", stderr);
        exit(1);
    }
    s->next = n;
    table_insert(&c->speakers, &s->link, slice_str(s->name));
    return s;
}

static void check_number(struct check *c, struct slice name, uint64_t n)
{
    struct speaker *s = speaker_of(c, name, n);

    if (n < s->next) {
        c->repeated++;
        return;
    }
    c->lost += n - s->next;
    s->next = n + 1;
}

static bool is_text(yyjson_val *v, struct slice text)
{
    return yyjson_is_str(v) && slice_eq(slice_of(yyjson_get_str(v), yyjson_get_len(v)), text);
}

/** Whether the record is what one of the containers said. */
static bool check_record(struct check *c, yyjson_val *root)
{
    yyjson_val *line = yyjson_obj_get(root, "line");
    enum sim_stream stream;
    struct slice text, name;
    uint64_t n;
    size_t len;

    if (!yyjson_is_str(line))
        return false;
    text = slice_of(yyjson_get_str(line), yyjson_get_len(line));
    if (sim_generated_parse(text, &name, &stream, &n) < 0 ||
        !is_text(yyjson_obj_get(root, "container_name"), name) ||
        !is_text(yyjson_obj_get(root, "stream"),
                 slice_str(stream == SIM_STDERR ? "stderr" : "stdout")))
        return false;
    check_number(c, name, n);
    name = (struct slice){.data = speaker_of(c, name, n)->name};
    len = sim_generated_line(&c->spec, name.data, n, c->wanted, sizeof c->wanted);
    return slice_eq(text, slice_of(c->wanted, len));
}

static int check_file(struct check *c, const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t cap = 0;
    ssize_t len;

    if (!f) {
        perror(path);
        return -1;
    }
    while ((len = getline(&text, &cap, f)) > 0) {
        yyjson_doc *doc = yyjson_read(text, (size_t)len, 0);

        c->lines++;
        c->garbled += !check_record(c, yyjson_doc_get_root(doc)) || text[len - 1] != '\n';
        yyjson_doc_free(doc);
    }
    free(text);
    (void)fclose(f); /* read only: nothing to lose */
    return 0;
}

static void forget_speakers(struct check *c)
{
    struct table_link *next = table_next(&c->speakers, NULL);

    while (next) {
        struct speaker *s = container_of(next, struct speaker, link);

        next = table_next(&c->speakers, next);
        table_remove(&c->speakers, &s->link);
        free(s->name);
        free(s);
    }
    table_finish(&c->speakers);
}

int main(int argc, char **argv)
{
    static struct check c;
    size_t containers;

    c.spec.line_bytes = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    if (c.spec.line_bytes == 0 || c.spec.line_bytes > LINE_BYTES_MAX) {
        fprintf(stderr, "usage: %s LINE_BYTES FILE...\n", argv[0]);
        return 2;
    }
    if (table_init(&c.speakers) < 0)
        return 1;
    for (int i = 2; i < argc; i++) {
        if (check_file(&c, argv[i]) < 0)
            return 1;
    }
    containers = c.speakers.count;
    forget_speakers(&c);
    printf("{\"lines\":%" PRIu64 ",\"containers\":%zu,\"lost\":%" PRIu64 ",\"repeated\":%" PRIu64
           ",\"garbled\":%" PRIu64 "}\n",
           c.lines, containers, c.lost, c.repeated, c.garbled);
    return c.lines == 0 || c.lost || c.repeated || c.garbled ? 1 : 0;
}
