#include "support/ndjson_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/hash.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define READ_BYTES 262144
#define READS_PER_POLL 16 /* a file may grow faster than it is checked */
#define BUCKETS 4096

struct told_one {
    int64_t ts_ns;
    unsigned flags;
    size_t len;
    uint64_t place; /* among all lines of the container */
    char data[];
};

struct told_stream {
    struct told_one **lines; /* freed as they are read */
    size_t count, cap, seen;
};

struct told {
    struct told *next_in_bucket, *next;
    char id[SIM_ID_LEN + 1];
    char *name;
    char *last_name, *last_image;
    bool optional;
    struct told_stream streams[2];
    uint64_t places;
    int64_t last_place; /* of a line that is one record; -1: none yet */

    bool generated;
    struct sim_generator generator;
    char *generator_name;
    uint64_t generator_lines, generator_seen;
    int64_t generator_last_ns;
};

struct output_file {
    struct output_file *next;
    char *path;
    off_t offset;
    struct buf rest; /* of a line that is not whole yet */
};

struct ndjson_check {
    char *path;
    struct told *buckets[BUCKETS];
    struct told *all, **all_tail;
    struct output_file *files;
    size_t files_count;
    uint64_t records;
    bool more; /* there may be some that this poll did not read */
    char why[1024];
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

struct ndjson_check *ndjson_check_create(const char *path)
{
    struct ndjson_check *check = must(calloc(1, sizeof *check));

    check->path = must(strdup(path));
    check->all_tail = &check->all;
    return check;
}

static void told_destroy(struct told *told)
{
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = told->streams[i].seen; n < told->streams[i].count; n++)
            free(told->streams[i].lines[n]);
        free(told->streams[i].lines);
    }
    free(told->name);
    free(told->last_name);
    free(told->last_image);
    free(told->generator_name);
    free(told);
}

void ndjson_check_destroy(struct ndjson_check *check)
{
    if (!check)
        return;
    for (struct told *t = check->all, *next; t; t = next) {
        next = t->next;
        told_destroy(t);
    }
    for (struct output_file *f = check->files, *next; f; f = next) {
        next = f->next;
        free(f->path);
        buf_finish(&f->rest);
        free(f);
    }
    free(check->path);
    free(check);
}

static struct told **bucket(struct ndjson_check *check, const char *id)
{
    return &check->buckets[hash_bytes(slice_str(id), 0) % BUCKETS];
}

struct told *ndjson_check_add(struct ndjson_check *check, const char *container_id)
{
    struct told *told = must(calloc(1, sizeof *told));
    struct told **head = bucket(check, container_id);

    snprintf(told->id, sizeof told->id, "%s", container_id);
    told->last_place = -1;
    told->next_in_bucket = *head;
    *head = told;
    *check->all_tail = told;
    check->all_tail = &told->next;
    return told;
}

void told_set_name(struct told *told, const char *name)
{
    free(told->name);
    told->name = name ? must(strdup(name)) : NULL;
}

void told_set_optional(struct told *told)
{
    told->optional = true;
}

void told_line(struct told *told, enum sim_stream stream, int64_t ts_ns, struct slice bytes,
               unsigned flags)
{
    struct told_stream *s = &told->streams[stream == SIM_STDERR];
    struct told_one *one = must(malloc(sizeof *one + bytes.len));

    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->lines = must(realloc(s->lines, s->cap * sizeof(struct told_one *)));
    }
    *one = (struct told_one){
        .ts_ns = ts_ns, .flags = flags, .len = bytes.len, .place = told->places++};
    if (bytes.len)
        memcpy(one->data, bytes.data, bytes.len);
    s->lines[s->count++] = one;
}

void told_generated(struct told *told, const struct sim_generator *generator, const char *name,
                    uint64_t lines)
{
    told->generated = true;
    told->generator = *generator;
    told->generator_name = must(strdup(name));
    told->generator_lines = lines;
}

uint64_t told_count(const struct told *told)
{
    return told->generated ? told->generator_lines
                           : told->streams[0].count + told->streams[1].count;
}

uint64_t told_seen(const struct told *told)
{
    return told->generated ? told->generator_seen : told->streams[0].seen + told->streams[1].seen;
}

const char *told_last_name(const struct told *told)
{
    return told->last_name ? told->last_name : "";
}

const char *told_last_image(const struct told *told)
{
    return told->last_image ? told->last_image : "";
}

__attribute__((format(printf, 2, 3))) static int wrong(struct ndjson_check *check, const char *fmt,
                                                       ...)
{
    va_list ap;

    if (check->why[0])
        return -EBADMSG;
    va_start(ap, fmt);
    vsnprintf(check->why, sizeof check->why, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

struct row {
    int64_t ts_ns;
    enum sim_stream stream;
    const char *id, *name, *image;
    struct slice line;
    bool partial;
};

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: padded, nothing foreign. */
static int base64_decode(struct buf *out, struct slice in)
{
    if (in.len % 4)
        return -EINVAL;
    for (size_t i = 0; i < in.len; i += 4) {
        uint32_t bits = 0;
        size_t given = 4;

        while (i + 4 == in.len && given > 2 && in.data[i + given - 1] == '=')
            given--;
        for (size_t k = 0; k < 4; k++) {
            int value = k < given ? base64_value(in.data[i + k]) : 0;

            if (value < 0)
                return -EINVAL;
            bits = bits << 6 | (uint32_t)value;
        }
        for (size_t k = 0; k + 1 < given; k++)
            if (buf_append_char(out, (char)(bits >> (16 - 8 * k))) < 0)
                abort();
    }
    return 0;
}

static bool same_key(yyjson_val *key, const char *name)
{
    return slice_eq_str(slice_of(yyjson_get_str(key), yyjson_get_len(key)), name);
}

/* Reads one object; its strings live in the document, a decoded line in *decoded. */
static int parse_row(struct ndjson_check *check, yyjson_val *root, struct buf *decoded,
                     struct row *ret)
{
    struct row row = {0};
    struct slice ts = {0};
    bool has_line = false;
    yyjson_obj_iter iter;
    yyjson_val *key;

    if (!yyjson_is_obj(root))
        return wrong(check, "a line of the output is not an object");
    yyjson_obj_iter_init(root, &iter);
    while ((key = yyjson_obj_iter_next(&iter))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        struct slice text = slice_of(yyjson_get_str(value), yyjson_get_len(value));

        if (same_key(key, "partial")) {
            if (!yyjson_is_true(value))
                return wrong(check, "`partial` is not true");
            row.partial = true;
            continue;
        }
        if (!text.data)
            return wrong(check, "member %s is not a string", yyjson_get_str(key));
        if (same_key(key, "ts"))
            ts = text;
        else if (same_key(key, "stream"))
            row.stream = slice_eq_str(text, "stdout")   ? SIM_STDOUT
                         : slice_eq_str(text, "stderr") ? SIM_STDERR
                                                        : 0;
        else if (same_key(key, "container_id"))
            row.id = text.data;
        else if (same_key(key, "container_name"))
            row.name = text.data;
        else if (same_key(key, "image"))
            row.image = text.data;
        else if (same_key(key, "line") && !has_line) {
            row.line = text;
            has_line = true;
        } else if (same_key(key, "line_b64") && !has_line) {
            buf_reset(decoded);
            if (base64_decode(decoded, text) < 0)
                return wrong(check, "line_b64 is not base64");
            row.line = buf_slice(decoded);
            has_line = true;
            if (utf8_is_valid(row.line))
                return wrong(check, "line_b64 for a line that is UTF-8");
        } else
            return wrong(check, "member %s is unknown or there twice", yyjson_get_str(key));
    }
    if (ts.len != TIMESTAMP_LEN || timestamp_parse(ts, &row.ts_ns) < 0)
        return wrong(check, "ts is not of the 30-byte form: %.*s", (int)ts.len, ts.data);
    if (!row.stream || !row.id || !row.name || !row.image || !has_line)
        return wrong(check, "a record lacks a member");
    *ret = row;
    return 0;
}

/* The beginning of a line, for messages. */
static const char *shown(struct slice line, char out[80])
{
    size_t n = 0;

    for (size_t i = 0; i < line.len && n < 70; i++) {
        unsigned char c = (unsigned char)line.data[i];

        n += (size_t)snprintf(out + n, 80 - n, c < 0x20 || c > 0x7e ? "\\x%02x" : "%c", c);
    }
    out[n] = '\0';
    return out;
}

static void keep_last(char **last, const char *value)
{
    if (*last && strcmp(*last, value) == 0)
        return;
    free(*last);
    *last = must(strdup(value));
}

static int check_generated(struct ndjson_check *check, struct told *told, const struct row *row)
{
    char want[65536], a[80], b[80];
    struct slice name;
    enum sim_stream stream;
    uint64_t n = told->generator_seen;
    size_t len = sim_generated_line(&told->generator, told->generator_name, n, want, sizeof want);
    struct slice wanted = slice_of(want, len);
    uint64_t got;

    if (len > sizeof want || sim_generated_parse(wanted, &name, &stream, &got) < 0)
        return wrong(check, "the sim generates what it cannot read");
    if (!slice_eq(wanted, row->line) || stream != row->stream || row->partial)
        return wrong(check, "%s: generated line %ju (of %zu bytes) is `%s`, got `%s` (of %zu)%s",
                     told->generator_name, (uintmax_t)n, len, shown(wanted, a), shown(row->line, b),
                     row->line.len, row->partial ? ", partial" : "");
    if (row->ts_ns <= told->generator_last_ns)
        return wrong(check, "%s: the timestamp of line %ju goes back", told->generator_name,
                     (uintmax_t)n);
    told->generator_last_ns = row->ts_ns;
    told->generator_seen++;
    return 0;
}

static int check_told(struct ndjson_check *check, struct told *told, const struct row *row)
{
    struct told_stream *s = &told->streams[row->stream == SIM_STDERR];
    const char *stream = row->stream == SIM_STDERR ? "stderr" : "stdout";
    char ts[TIMESTAMP_LEN], wanted_ts[TIMESTAMP_LEN], a[80], b[80];
    struct told_one *one;
    bool may_be_partial;

    timestamp_format(ts, row->ts_ns);
    if (s->seen == s->count)
        return wrong(check, "%s %s: a record too many after %zu: %.30s `%s` (of %zu bytes)%s",
                     row->name, stream, s->seen, ts, shown(row->line, a), row->line.len,
                     row->partial ? ", partial" : "");
    one = s->lines[s->seen];
    timestamp_format(wanted_ts, one->ts_ns ? one->ts_ns : row->ts_ns);
    may_be_partial = one->flags & (TOLD_PARTIAL | TOLD_MAYBE_PARTIAL);
    if (!slice_eq(slice_of(one->data, one->len), row->line) ||
        (one->ts_ns && one->ts_ns != row->ts_ns) || (row->partial && !may_be_partial) ||
        (!row->partial && (one->flags & TOLD_PARTIAL)))
        return wrong(check,
                     "%s %s: record %zu is %.30s `%s` (of %zu bytes)%s, got %.30s `%s` (of %zu)%s",
                     row->name, stream, s->seen, wanted_ts, shown(slice_of(one->data, one->len), a),
                     one->len, one->flags & TOLD_PARTIAL ? ", partial" : "", ts,
                     shown(row->line, b), row->line.len, row->partial ? ", partial" : "");
    if (!(one->flags & TOLD_IN_PARTS)) {
        if ((int64_t)one->place < told->last_place)
            return wrong(check,
                         "%s %s: record %zu `%s` comes behind a later one of the other stream",
                         row->name, stream, s->seen, shown(row->line, a));
        told->last_place = (int64_t)one->place;
    }
    free(one);
    s->lines[s->seen++] = NULL;
    return 0;
}

static int check_line(struct ndjson_check *check, const char *path, struct slice line,
                      struct buf *decoded)
{
    char a[80];
    yyjson_doc *doc = yyjson_read(line.data, line.len, 0);
    struct told *told = NULL;
    struct row row;
    int r;

    if (!doc)
        return wrong(check, "%s: not JSON: `%s` (of %zu bytes)", path, shown(line, a), line.len);
    r = parse_row(check, yyjson_doc_get_root(doc), decoded, &row);
    if (r == 0) {
        for (told = *bucket(check, row.id); told; told = told->next_in_bucket)
            if (strcmp(told->id, row.id) == 0)
                break;
        if (!told)
            r = wrong(check, "%s: a record of a container that said nothing: %s (%s) `%s`", path,
                      row.name, row.id, shown(row.line, a));
        else if (told->name && strcmp(told->name, row.name) != 0)
            r = wrong(check, "%s: container_name is `%s`, not `%s`", path, row.name, told->name);
    }
    if (r == 0) {
        keep_last(&told->last_name, row.name);
        keep_last(&told->last_image, row.image);
        r = told->generated ? check_generated(check, told, &row) : check_told(check, told, &row);
        check->records++;
    }
    yyjson_doc_free(doc);
    return r;
}

static int read_file(struct ndjson_check *check, struct output_file *file)
{
    struct buf decoded = {0};
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    int r = 0;

    if (fd < 0)
        return wrong(check, "%s: %s", file->path, strerror(errno));
    for (unsigned reads = 0; r == 0 && n > 0 && reads < READS_PER_POLL; reads++) {
        size_t searched = file->rest.len, begin = 0;
        const char *end;

        if (buf_reserve(&file->rest, READ_BYTES) < 0)
            abort();
        n = pread(fd, file->rest.data + file->rest.len, READ_BYTES, file->offset);
        if (n <= 0)
            break;
        file->offset += n;
        file->rest.len += (size_t)n;
        while (r == 0 &&
               (end = memchr(file->rest.data + searched, '\n', file->rest.len - searched))) {
            size_t len = (size_t)(end - file->rest.data) - begin;

            r = check_line(check, file->path, slice_of(file->rest.data + begin, len), &decoded);
            begin += len + 1;
            searched = begin;
        }
        buf_consume(&file->rest, begin);
    }
    close(fd);
    buf_finish(&decoded);
    check->more |= n > 0;
    return r;
}

static struct output_file *find_file(struct ndjson_check *check, const char *path)
{
    struct output_file *file;

    for (file = check->files; file; file = file->next)
        if (strcmp(file->path, path) == 0)
            return file;
    file = must(calloc(1, sizeof *file));
    file->path = must(strdup(path));
    file->next = check->files;
    check->files = file;
    check->files_count++;
    return file;
}

static int poll_path(struct ndjson_check *check, const char *path)
{
    struct stat st;
    DIR *dir;
    int r = 0;

    if (lstat(path, &st) < 0)
        return 0;
    if (S_ISREG(st.st_mode)) {
        struct output_file *file = find_file(check, path);

        return st.st_size > file->offset ? read_file(check, file) : 0;
    }
    if (!S_ISDIR(st.st_mode))
        return wrong(check, "%s is neither file nor directory", path);
    dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *e = readdir(dir); e && r == 0; e = readdir(dir)) {
        char below[4096];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, ".ringtail") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        r = poll_path(check, below);
    }
    closedir(dir);
    return r;
}

int ndjson_check_poll(struct ndjson_check *check)
{
    int r;

    if (check->why[0])
        return -EBADMSG;
    check->more = false;
    r = poll_path(check, check->path);
    return r < 0 ? r : check->more;
}

const char *ndjson_check_why(const struct ndjson_check *check)
{
    return check->why;
}

bool ndjson_check_is_complete(const struct ndjson_check *check, const char **ret_why)
{
    static char why[512];
    size_t missing = 0;

    for (struct told *t = check->all; t; t = t->next) {
        if (t->optional || told_seen(t) >= told_count(t))
            continue;
        if (!missing++)
            snprintf(why, sizeof why, "%s (%s) has %ju of %ju lines",
                     t->generated ? t->generator_name
                     : t->name    ? t->name
                                  : "?",
                     t->id, (uintmax_t)told_seen(t), (uintmax_t)told_count(t));
    }
    if (missing > 1)
        snprintf(why + strlen(why), sizeof why - strlen(why), ", and %zu more lack some",
                 missing - 1);
    if (missing && ret_why)
        *ret_why = why;
    return missing == 0;
}

bool ndjson_check_is_whole(const struct ndjson_check *check)
{
    for (struct output_file *f = check->files; f; f = f->next)
        if (f->rest.len)
            return false;
    return true;
}

uint64_t ndjson_check_records(const struct ndjson_check *check)
{
    return check->records;
}

size_t ndjson_check_files(const struct ndjson_check *check)
{
    return check->files_count;
}
