/*
 * Replies of the Engine, from JSON to structs. Owns a parsed document only during one call; what it
 * returns is copies. A member that we read has the right type, or is missing or null: all else is
 * -EBADMSG.
 */
#include "ringtail/docker/reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

static void doc_freep(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
}

/* The object, or array, that the body is. */
static int doc_parse(struct slice body, yyjson_type type, yyjson_doc **ret)
{
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    yyjson_read_err err;

    if (body.len == 0)
        return -EBADMSG;
    /* Only with YYJSON_READ_INSITU would yyjson write to the text, which is why it takes a char *.
     */
    doc = yyjson_read_opts((char *)(uintptr_t)body.data, body.len, YYJSON_READ_NOFLAG, NULL, &err);
    if (!doc)
        return err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? -ENOMEM : -EBADMSG;
    if (yyjson_get_type(yyjson_doc_get_root(doc)) != type)
        return -EBADMSG;
    *ret = TAKE_PTR(doc);
    return 0;
}

/* A member of that type; *ret is NULL where there is none. */
static int member_get(yyjson_val *object, const char *key, yyjson_type type, yyjson_val **ret)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    if (yyjson_is_null(value))
        value = NULL;
    if (value && yyjson_get_type(value) != type)
        return -EBADMSG;
    *ret = value;
    return 0;
}

static int string_copy(yyjson_val *value, char **ret)
{
    char *copy = value ? strndup(yyjson_get_str(value), yyjson_get_len(value)) : strdup("");

    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

static int member_get_string(yyjson_val *object, const char *key, char **ret)
{
    yyjson_val *value;
    int r;

    r = member_get(object, key, YYJSON_TYPE_STR, &value);
    if (r < 0)
        return r;
    return string_copy(value, ret);
}

static int member_get_slice(yyjson_val *object, const char *key, struct slice *ret)
{
    yyjson_val *value;
    int r;

    r = member_get(object, key, YYJSON_TYPE_STR, &value);
    if (r < 0)
        return r;
    *ret = value ? slice_of(yyjson_get_str(value), yyjson_get_len(value)) : slice_of("", 0);
    return 0;
}

static int member_get_bool(yyjson_val *object, const char *key, bool *ret)
{
    yyjson_val *value;
    int r;

    r = member_get(object, key, YYJSON_TYPE_BOOL, &value);
    if (r < 0)
        return r;
    *ret = value && yyjson_get_bool(value);
    return 0;
}

static int member_get_id(yyjson_val *object, const char *key, char ret[REPLY_ID_LEN + 1])
{
    struct slice id;
    int r;

    r = member_get_slice(object, key, &id);
    if (r < 0)
        return r;
    if (id.len != REPLY_ID_LEN)
        return -EBADMSG;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return -EBADMSG;
    }
    memcpy(ret, id.data, REPLY_ID_LEN);
    ret[REPLY_ID_LEN] = '\0';
    return 0;
}

static int member_get_time(yyjson_val *object, const char *key, int64_t *ret_ns)
{
    static const char never[] = "0001-01-01T00:00:00";
    struct slice text;
    int r;

    r = member_get_slice(object, key, &text);
    if (r < 0)
        return r;
    if (text.len == 0 ||
        (text.len >= sizeof never - 1 && memcmp(text.data, never, sizeof never - 1) == 0)) {
        *ret_ns = 0;
        return 0;
    }
    return timestamp_parse(text, ret_ns) < 0 ? -EBADMSG : 0;
}

static int member_get_version(yyjson_val *object, const char *key, struct api_version *ret)
{
    struct slice text;
    int r;

    r = member_get_slice(object, key, &text);
    if (r < 0)
        return r;
    if (text.len == 0) {
        *ret = (struct api_version){0};
        return 0;
    }
    return api_version_parse(text, ret) < 0 ? -EBADMSG : 0;
}

/* A name as the Engine gives it begins with a slash that is not part of it. */
static int name_copy(struct slice name, char **ret)
{
    char *copy;

    if (name.len > 0 && name.data[0] == '/')
        name = slice_from(name, 1);
    copy = slice_dup(name);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

void reply_version_finish(struct reply_version *v)
{
    free(v->engine);
    *v = (struct reply_version){0};
}

int reply_version_parse(struct slice body, struct reply_version *ret)
{
    RT_CLEANUP(reply_version_finish) struct reply_version v = {0};
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    yyjson_val *root;
    int r;

    r = doc_parse(body, YYJSON_TYPE_OBJ, &doc);
    if (r < 0)
        return r;
    root = yyjson_doc_get_root(doc);

    if ((r = member_get_version(root, "ApiVersion", &v.api)) < 0 ||
        (r = member_get_version(root, "MinAPIVersion", &v.min_api)) < 0 ||
        (r = member_get_string(root, "Version", &v.engine)) < 0)
        return r;
    if (v.api.major == 0)
        return -EBADMSG;

    *ret = v;
    v = (struct reply_version){0};
    return 0;
}

void reply_list_finish(struct reply_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].name);
        free(l->items[i].state);
    }
    free(l->items);
    *l = (struct reply_list){0};
}

/* Its own name has one slash; names that links gave it, `/other/alias`, stand beside it in any
 * order. */
static int names_pick(yyjson_val *names, struct slice *ret)
{
    struct slice first = slice_of("", 0);
    yyjson_val *value;
    size_t i, max;

    yyjson_arr_foreach(names, i, max, value)
    {
        struct slice name;

        if (!yyjson_is_str(value))
            return -EBADMSG;
        name = slice_of(yyjson_get_str(value), yyjson_get_len(value));
        if (name.len > 1 && !memchr(name.data + 1, '/', name.len - 1)) {
            *ret = name;
            return 0;
        }
        if (first.len == 0)
            first = name;
    }
    *ret = first;
    return 0;
}

/*
 * A row says when its run ended only in words for people: `Exited (0) 5 minutes ago` (go-units'
 * HumanDuration, the same in all Engines). They are rounded down, but for those from an hour on, to
 * the nearest hour first.
 */
static int64_t ended_ago_parse(const char *status)
{
    static const struct {
        const char *words;
        int64_t s;
    } fixed[] = {
        {"Less than a second ago", 0}, {"About a minute ago", 60}, {"About an hour ago", 1800}};
    static const struct {
        const char *name;
        int64_t s, rounded_up_s;
    } units[] = {
        {"second", 1, 0},
        {"minute", 60, 0},
        {"hour", 3600, 1800},
        {"day", 86400, 1800},
        {"week", 7 * 86400, 1800},
        {"month", 30 * 86400, 1800},
        {"year", 365 * 86400, 1800},
    };
    unsigned count;
    int exit_code, used = 0;
    char unit[8];

    if (sscanf(status, "Exited (%d) %n", &exit_code, &used) != 1 || used == 0)
        return -1;
    status += used;
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        if (strcmp(status, fixed[i].words) == 0)
            return fixed[i].s;
    if (sscanf(status, "%5u %7[a-z] ago", &count, unit) != 2)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (strncmp(unit, units[i].name, strlen(units[i].name)) == 0)
            return MAX(count * units[i].s - units[i].rounded_up_s, 0);
    return -1;
}

static int container_read(yyjson_val *row, struct reply_container *c)
{
    RT_CLEANUP(freep) char *status = NULL;
    yyjson_val *names, *created;
    struct slice name;
    int r;

    if (!yyjson_is_obj(row))
        return -EBADMSG;
    if ((r = member_get_id(row, "Id", c->id)) < 0 ||
        (r = member_get_string(row, "State", &c->state)) < 0 ||
        (r = member_get(row, "Names", YYJSON_TYPE_ARR, &names)) < 0 ||
        (r = names_pick(names, &name)) < 0 ||
        (r = member_get(row, "Created", YYJSON_TYPE_NUM, &created)) < 0 ||
        (r = member_get_string(row, "Status", &status)) < 0)
        return r;
    c->created_at_ns = yyjson_get_sint(created) * NSEC_PER_SEC;
    c->ended_ago_s = ended_ago_parse(status);
    return name_copy(name, &c->name);
}

int reply_list_parse(struct slice body, struct reply_list *ret)
{
    RT_CLEANUP(reply_list_finish) struct reply_list l = {0};
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    yyjson_val *root, *row;
    size_t i, max;
    int r;

    r = doc_parse(body, YYJSON_TYPE_ARR, &doc);
    if (r < 0)
        return r;
    root = yyjson_doc_get_root(doc);

    if (yyjson_arr_size(root) > 0) {
        l.items = calloc(yyjson_arr_size(root), sizeof *l.items);
        if (!l.items)
            return -ENOMEM;
    }
    yyjson_arr_foreach(root, i, max, row)
    {
        l.count = i + 1; /* also a half-read row is freed */
        r = container_read(row, &l.items[i]);
        if (r < 0)
            return r;
    }

    *ret = l;
    l = (struct reply_list){0};
    return 0;
}

static void labels_free(struct reply_label *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(labels[i].key);
        free(labels[i].value);
    }
    free(labels);
}

/* An object of strings. What was read before an error is in *labels and *count, to be freed. */
static int member_get_labels(yyjson_val *object, const char *key, struct reply_label **labels,
                             size_t *count)
{
    yyjson_val *map, *name, *value;
    size_t i, max;
    int r;

    r = member_get(object, key, YYJSON_TYPE_OBJ, &map);
    if (r < 0)
        return r;
    if (yyjson_obj_size(map) == 0)
        return 0;
    *labels = calloc(yyjson_obj_size(map), sizeof **labels);
    if (!*labels)
        return -ENOMEM;
    yyjson_obj_foreach(map, i, max, name, value)
    {
        struct reply_label *label = &(*labels)[i];

        *count = i + 1;
        if (!yyjson_is_str(value))
            return -EBADMSG;
        if ((r = string_copy(name, &label->key)) < 0 || (r = string_copy(value, &label->value)) < 0)
            return r;
    }
    return 0;
}

void reply_inspect_finish(struct reply_inspect *i)
{
    free(i->name);
    free(i->image);
    free(i->status);
    free(i->log_driver);
    free(i->log_path);
    labels_free(i->log_options, i->log_options_count);
    labels_free(i->labels, i->labels_count);
    *i = (struct reply_inspect){0};
}

int reply_inspect_parse(struct slice body, struct reply_inspect *ret)
{
    RT_CLEANUP(reply_inspect_finish) struct reply_inspect c = {0};
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    yyjson_val *root, *config, *state, *host_config, *log_config, *tty;
    struct slice name;
    int r;

    r = doc_parse(body, YYJSON_TYPE_OBJ, &doc);
    if (r < 0)
        return r;
    root = yyjson_doc_get_root(doc);

    if ((r = member_get_id(root, "Id", c.id)) < 0 ||
        (r = member_get_slice(root, "Name", &name)) < 0 || (r = name_copy(name, &c.name)) < 0 ||
        (r = member_get_string(root, "LogPath", &c.log_path)) < 0)
        return r;

    /* A lookup in a missing object finds nothing. Tty alone has no good default: a log cannot be
     * read without it. */
    if ((r = member_get(root, "Config", YYJSON_TYPE_OBJ, &config)) < 0 ||
        (r = member_get(config, "Tty", YYJSON_TYPE_BOOL, &tty)) < 0)
        return r;
    if (!tty)
        return -EBADMSG;
    c.tty = yyjson_get_bool(tty);
    if ((r = member_get_string(config, "Image", &c.image)) < 0 ||
        (r = member_get_labels(config, "Labels", &c.labels, &c.labels_count)) < 0)
        return r;

    if ((r = member_get(root, "State", YYJSON_TYPE_OBJ, &state)) < 0 ||
        (r = member_get_string(state, "Status", &c.status)) < 0 ||
        (r = member_get_bool(state, "Running", &c.running)) < 0 ||
        (r = member_get_bool(state, "Paused", &c.paused)) < 0 ||
        (r = member_get_bool(state, "Restarting", &c.restarting)) < 0 ||
        (r = member_get_time(state, "StartedAt", &c.started_at_ns)) < 0 ||
        (r = member_get_time(state, "FinishedAt", &c.finished_at_ns)) < 0)
        return r;

    if ((r = member_get(root, "HostConfig", YYJSON_TYPE_OBJ, &host_config)) < 0 ||
        (r = member_get(host_config, "LogConfig", YYJSON_TYPE_OBJ, &log_config)) < 0 ||
        (r = member_get_string(log_config, "Type", &c.log_driver)) < 0 ||
        (r = member_get_labels(log_config, "Config", &c.log_options, &c.log_options_count)) < 0)
        return r;

    *ret = c;
    c = (struct reply_inspect){0};
    return 0;
}

static enum event_action action_parse(struct slice text)
{
    static const struct {
        const char *name;
        enum event_action action;
    } actions[] = {
        {"create", EVENT_CREATE},   {"start", EVENT_START},     {"die", EVENT_DIE},
        {"stop", EVENT_STOP},       {"kill", EVENT_KILL},       {"pause", EVENT_PAUSE},
        {"unpause", EVENT_UNPAUSE}, {"rename", EVENT_RENAME},   {"restart", EVENT_RESTART},
        {"oom", EVENT_OOM},         {"destroy", EVENT_DESTROY},
    };

    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        if (slice_eq_str(text, actions[i].name))
            return actions[i].action;
    }
    return EVENT_OTHER;
}

void reply_event_finish(struct reply_event *e)
{
    free(e->name);
    *e = (struct reply_event){0};
}

int reply_event_parse(struct slice line, struct reply_event *ret)
{
    RT_CLEANUP(reply_event_finish) struct reply_event e = {0};
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    yyjson_val *root, *time, *actor = NULL, *attributes = NULL;
    struct slice type, action;
    int r;

    r = doc_parse(line, YYJSON_TYPE_OBJ, &doc);
    if (r < 0)
        return r;
    root = yyjson_doc_get_root(doc);

    if ((r = member_get_slice(root, "Type", &type)) < 0 ||
        (r = member_get(root, "timeNano", YYJSON_TYPE_NUM, &time)) < 0)
        return r;
    if (time) {
        if (!yyjson_is_int(time) || (yyjson_is_uint(time) && yyjson_get_uint(time) > INT64_MAX))
            return -EBADMSG;
        e.time_ns = yyjson_get_sint(time);
    }
    if (slice_eq_str(type, "container")) {
        if (!time)
            return -EBADMSG;
        if ((r = member_get_slice(root, "Action", &action)) < 0 ||
            (r = member_get(root, "Actor", YYJSON_TYPE_OBJ, &actor)) < 0 ||
            (r = member_get_id(actor, "ID", e.id)) < 0 ||
            (r = member_get(actor, "Attributes", YYJSON_TYPE_OBJ, &attributes)) < 0)
            return r;
        e.action = action_parse(action);
    }
    r = member_get_string(attributes, "name", &e.name);
    if (r < 0)
        return r;

    *ret = e;
    e = (struct reply_event){0};
    return 0;
}

static bool is_blank_or_control(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

void reply_error_message(struct slice body, char *out, size_t size)
{
    RT_CLEANUP(doc_freep) yyjson_doc *doc = NULL;
    struct slice text = body, message;

    if (size == 0)
        return;
    if (doc_parse(body, YYJSON_TYPE_OBJ, &doc) == 0 &&
        member_get_slice(yyjson_doc_get_root(doc), "message", &message) == 0 && message.len > 0)
        text = message;

    while (text.len > 0 && is_blank_or_control(text.data[0]))
        text = slice_from(text, 1);
    if (text.len > size - 1) {
        text.len = size - 1;
        /* Not in the middle of a character. */
        while (text.len > 0 && ((unsigned char)text.data[text.len] & 0xc0) == 0x80)
            text.len--;
    }
    while (text.len > 0 && is_blank_or_control(text.data[text.len - 1]))
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        out[i] = is_blank_or_control(text.data[i]) ? ' ' : text.data[i];
    out[text.len] = '\0';
}
