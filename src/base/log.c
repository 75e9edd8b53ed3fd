/*
 * ringtail's own log. Owns the process-wide settings and the one buffer in which a line is built,
 * both under one lock; everything else it is given is borrowed for the call.
 *
 * Invariants: a line is whole or not there, ends in one newline and has none before it, is valid
 * UTF-8, and contains no control character, whatever the values were.
 */
#include "ringtail/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"
#include "ringtail/base/timestamp.h"

/* An Engine's error message can be a page of HTML; what follows this much of a value is cut off. */
#define LOG_VALUE_MAX_BYTES 2048

static struct {
    pthread_mutex_t lock;
    atomic_int level;
    enum log_format format;
    uint32_t burst_lines, window_ms;
    log_writer_fn writer;
    void *writer_ctx;
    struct buf line;
    atomic_uint_fast64_t dropped;
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_LEVEL_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_labels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

static enum log_format format_resolve(enum log_format format)
{
    if (format != LOG_FORMAT_AUTO)
        return format;
    return isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
}

void log_init(const struct log_options *options)
{
    pthread_mutex_lock(&log_state.lock);
    atomic_store_explicit(&log_state.level, (int)options->level, memory_order_relaxed);
    log_state.format = format_resolve(options->format);
    log_state.burst_lines = options->burst_lines;
    log_state.window_ms = options->window_ms;
    pthread_mutex_unlock(&log_state.lock);
}

void log_set_writer(log_writer_fn fn, void *ctx)
{
    pthread_mutex_lock(&log_state.lock);
    log_state.writer = fn;
    log_state.writer_ctx = ctx;
    pthread_mutex_unlock(&log_state.lock);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

uint64_t log_lines_dropped(void)
{
    return atomic_load_explicit(&log_state.dropped, memory_order_relaxed);
}

/** Whether the site may say one more line in its window. */
static bool site_admit(struct log_site *site)
{
    int64_t now = clock_mono_ns();

    if (log_state.burst_lines == 0)
        return true;
    if (now - site->window_start_ns >= (int64_t)log_state.window_ms * NSEC_PER_MSEC) {
        site->window_start_ns = now;
        site->in_window = 0;
    }
    if (site->in_window >= log_state.burst_lines) {
        site->suppressed++;
        return false;
    }
    site->in_window++;
    return true;
}

/** The value's head, when it is long: cut where a character begins. */
static struct slice value_cut(struct slice value)
{
    size_t len = LOG_VALUE_MAX_BYTES;

    if (value.len <= len)
        return value;
    for (int back = 0; back < 3 && (value.data[len] & 0xc0) == 0x80; back++)
        len--;
    return slice_of(value.data, len);
}

/** The length of the control character at `s`: C0 and DEL, and C1, which some terminals obey. */
static size_t control_len(struct slice s)
{
    uint8_t c = (uint8_t)s.data[0];

    if (c < 0x20 || c == 0x7f)
        return 1;
    return c == 0xc2 && s.len > 1 && (uint8_t)s.data[1] >= 0x80 && (uint8_t)s.data[1] < 0xa0 ? 2
                                                                                             : 0;
}

static bool text_needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        struct slice rest = slice_from(value, i);

        if (strchr(" \"=\\", rest.data[0]) || control_len(rest) > 0)
            return true;
    }
    return value.len == 0 || !utf8_is_valid(value);
}

/** A JSON string in which DEL and C1 are escaped too: a terminal reads this. */
static int put_quoted(struct buf *line, struct slice value)
{
    size_t from = line->len;
    int r = json_append_string(line, value);

    for (size_t i = from; r == 0 && i < line->len; i++) {
        struct slice rest = slice_from(buf_slice(line), i);
        size_t len = control_len(rest);
        char escape[8];

        if (len == 0)
            continue;
        memcpy(escape, "\\u00", 4);
        escape[4] = "0123456789abcdef"[(uint8_t)rest.data[len - 1] >> 4];
        escape[5] = "0123456789abcdef"[(uint8_t)rest.data[len - 1] & 15];
        r = buf_reserve(line, 6);
        if (r < 0)
            return r;
        memmove(line->data + i + 6, line->data + i + len, line->len - i - len);
        memcpy(line->data + i, escape, 6);
        line->len += 6 - len;
    }
    return r;
}

static int put_text(struct buf *line, struct slice value)
{
    return text_needs_quotes(value) ? put_quoted(line, value) : buf_append_slice(line, value);
}

/** A message is prose: blanks and quotes stay, but what a terminal would obey does not. */
static int put_message_text(struct buf *line, const char *message)
{
    struct slice rest = slice_str(message);
    bool plain = utf8_is_valid(rest);

    for (; plain && rest.len > 0; rest = slice_from(rest, 1))
        plain = control_len(rest) == 0;
    return plain ? buf_append_str(line, message) : put_quoted(line, slice_str(message));
}

static int put_field(struct buf *line, enum log_format format, const struct log_field *field)
{
    RT_CLEANUP(buf_finish) struct buf shown = {0};
    struct slice cut = field->str;
    int r;

    if (format == LOG_FORMAT_JSON) {
        r = buf_append_char(line, ',');
        if (r == 0)
            r = json_append_string(line, slice_str(field->key));
        if (r == 0)
            r = buf_append_char(line, ':');
    } else {
        r = buf_printf(line, " %s=", field->key);
    }
    if (r < 0)
        return r;

    switch (field->kind) {
    case LOG_FIELD_INT:
        return buf_printf(line, "%lld", (long long)field->num);
    case LOG_FIELD_ERRNO: {
        int code = field->num < 0 ? (int)-field->num : (int)field->num;
        const char *name = strerrorname_np(code), *text = strerrordesc_np(code);

        r = name && text ? buf_printf(&shown, "%s (%s)", text, name)
                         : buf_printf(&shown, "Unknown error %d", code);
        break;
    }
    case LOG_FIELD_STR:
        cut = value_cut(field->str);
        r = buf_append_slice(&shown, cut);
        if (r == 0 && cut.len < field->str.len)
            r = buf_append_str(&shown, "…");
        break;
    case LOG_FIELD_END:
        break;
    }
    if (r < 0)
        return r;
    return format == LOG_FORMAT_JSON ? json_append_string(line, buf_slice(&shown))
                                     : put_text(line, buf_slice(&shown));
}

static int put_line(struct buf *line, enum log_format format, enum log_level level,
                    uint32_t suppressed, const char *message, const struct log_field *fields)
{
    const struct log_field left_out = LOG_INT("suppressed", suppressed);
    char time[TIMESTAMP_LEN];
    int r;

    timestamp_format(time, clock_wall_ns());
    if (format == LOG_FORMAT_JSON) {
        r = buf_printf(line, "{\"level\":\"%s\",\"msg\":", level_names[level]);
        if (r == 0)
            r = json_append_string(line, slice_str(message));
        if (r == 0)
            r = buf_printf(line, ",\"time\":\"%.*s\"", TIMESTAMP_LEN, time);
    } else {
        r = buf_printf(line, "%.23sZ %s ", time, level_labels[level]);
        if (r == 0)
            r = put_message_text(line, message);
    }
    for (; r == 0 && fields->key; fields++)
        r = put_field(line, format, fields);
    if (r == 0 && suppressed > 0)
        r = put_field(line, format, &left_out);
    if (r == 0)
        r = buf_append_str(line, format == LOG_FORMAT_JSON ? "}\n" : "\n");
    return r;
}

static bool stderr_write(struct slice line)
{
    while (line.len > 0) {
        ssize_t n = write(STDERR_FILENO, line.data, line.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        line = slice_from(line, (size_t)n);
    }
    return true;
}

void log_emit(enum log_level level, struct log_site *site, const char *message,
              const struct log_field *fields)
{
    int saved_errno = errno;

    pthread_mutex_lock(&log_state.lock);
    if (site_admit(site)) {
        struct buf *line = &log_state.line;
        bool written;

        buf_reset(line);
        written = put_line(line, format_resolve(log_state.format), level, site->suppressed, message,
                           fields) == 0;
        if (written && log_state.writer)
            written = log_state.writer(log_state.writer_ctx, buf_slice(line));
        else if (written)
            written = stderr_write(buf_slice(line));
        if (written)
            site->suppressed = 0;
        else
            atomic_fetch_add_explicit(&log_state.dropped, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&log_state.lock);
    errno = saved_errno;
}
