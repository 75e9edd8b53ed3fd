/*
 * The `filters` parameter of lists and events: a JSON object from keys to values, read by hand
 * because nothing else here reads JSON. Several keys are ANDed, values of one key ORed. Pure.
 */
#include "internal.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    const char *at, *end;
};

static char reader_peek(struct reader *in)
{
    while (in->at < in->end && memchr(" \t\r\n", *in->at, 4))
        in->at++;
    return in->at < in->end ? *in->at : '\0';
}

static bool reader_take(struct reader *in, char c)
{
    if (reader_peek(in) != c || c == '\0')
        return false;
    in->at++;
    return true;
}

/** A string; escapes other than \uXXXX become what they stand for, \uXXXX of ASCII as well, others
 * `?`. */
static int reader_string(struct reader *in, char **ret)
{
    struct buf out = {0};
    int r = -EINVAL;

    if (!reader_take(in, '"'))
        return -EINVAL;
    while (in->at < in->end && *in->at != '"') {
        char c = *in->at++;

        if (c == '\\') {
            const char *found;

            if (in->at == in->end)
                goto fail;
            c = *in->at++;
            if (c == 'u') {
                char hex[5] = {0}, *stop;
                unsigned long code;

                if (in->end - in->at < 4)
                    goto fail;
                memcpy(hex, in->at, 4);
                in->at += 4;
                code = strtoul(hex, &stop, 16);
                if (*stop)
                    goto fail;
                c = code > 0 && code < 128 ? (char)code : '?';
            } else {
                found = memchr("n\nt\tr\rb\bf\f", c, 10);
                c = found ? found[1] : c;
            }
        }
        r = buf_append_char(&out, c);
        if (r < 0)
            goto fail;
    }
    r = -EINVAL;
    if (!reader_take(in, '"'))
        goto fail;
    r = -ENOMEM;
    if (!buf_cstr(&out))
        goto fail;
    *ret = out.data;
    return 0;

fail:
    buf_finish(&out);
    return r;
}

static int filters_add(struct filters *f, const char *key, char *value)
{
    struct filter_value *grown = realloc(f->items, (f->count + 1) * sizeof *grown);

    if (!grown)
        return -ENOMEM;
    f->items = grown;
    f->items[f->count] = (struct filter_value){.key = strdup(key), .value = value};
    if (!f->items[f->count].key)
        return -ENOMEM;
    f->count++;
    return 0;
}

/** `["a","b"]` or `{"a":true,"b":true}`, behind its key. */
static int filters_read_values(struct filters *f, struct reader *in, const char *key)
{
    bool is_map = reader_peek(in) == '{';
    char close = is_map ? '}' : ']';
    int r;

    if (!reader_take(in, is_map ? '{' : '['))
        return -EINVAL;
    if (reader_take(in, close))
        return 0;
    do {
        char *value = NULL;

        r = reader_string(in, &value);
        if (r == 0 && is_map) {
            bool is_true;

            r = reader_take(in, ':') ? 0 : -EINVAL;
            (void)reader_peek(in);
            is_true = r == 0 && in->end - in->at >= 4 && memcmp(in->at, "true", 4) == 0;
            if (r == 0 && !is_true)
                r = -EINVAL;
            if (r == 0)
                in->at += 4;
        }
        if (r == 0)
            r = filters_add(f, key, value);
        if (r < 0) {
            free(value);
            return r;
        }
    } while (reader_take(in, ','));
    return reader_take(in, close) ? 0 : -EINVAL;
}

int filters_parse(struct slice json, struct filters *ret)
{
    struct reader in = {.at = json.data, .end = json.data + json.len};
    struct filters f = {0};
    int r = 0;

    *ret = f;
    if (json.len == 0)
        return 0;
    if (!reader_take(&in, '{'))
        return -EINVAL;
    if (!reader_take(&in, '}')) {
        do {
            char *key = NULL;

            r = reader_string(&in, &key);
            if (r == 0 && !reader_take(&in, ':'))
                r = -EINVAL;
            if (r == 0)
                r = filters_read_values(&f, &in, key);
            free(key);
        } while (r == 0 && reader_take(&in, ','));
        if (r == 0 && !reader_take(&in, '}'))
            r = -EINVAL;
    }
    if (r == 0 && reader_peek(&in) != '\0')
        r = -EINVAL;
    if (r < 0) {
        filters_finish(&f);
        return r;
    }
    *ret = f;
    return 0;
}

void filters_finish(struct filters *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->items[i].key);
        free(f->items[i].value);
    }
    free(f->items);
    *f = (struct filters){0};
}

const char *filters_unknown_key(const struct filters *f, const char *const *known)
{
    for (size_t i = 0; i < f->count; i++) {
        const char *const *k = known;

        while (*k && strcmp(*k, f->items[i].key) != 0)
            k++;
        if (!*k)
            return f->items[i].key;
    }
    return NULL;
}

bool filters_has(const struct filters *f, const char *key)
{
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->items[i].key, key) == 0)
            return true;
    }
    return false;
}

static bool regex_matches(const char *pattern, const char *text)
{
    regex_t re;
    bool found;

    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

/** A name counts with and without its slash. */
static bool name_matches(const char *pattern, const char *name)
{
    char with_slash[512];

    snprintf(with_slash, sizeof with_slash, "/%s", name);
    return regex_matches(pattern, name) || regex_matches(pattern, with_slash);
}

/** `key` or `key=value`. */
static bool pairs_match(const struct sim_pair *pairs, size_t count, const char *want)
{
    const char *equals = strchr(want, '=');
    size_t key_len = equals ? (size_t)(equals - want) : strlen(want);

    for (size_t i = 0; i < count; i++) {
        if (strlen(pairs[i].key) == key_len && memcmp(pairs[i].key, want, key_len) == 0 &&
            (!equals || strcmp(pairs[i].value, equals + 1) == 0))
            return true;
    }
    return false;
}

static bool container_value_matches(const struct filter_value *v, const struct sim_container *c)
{
    if (strcmp(v->key, "label") == 0)
        return pairs_match(c->labels, c->labels_count, v->value);
    if (strcmp(v->key, "name") == 0)
        return name_matches(v->value, c->name);
    if (strcmp(v->key, "id") == 0)
        return strncmp(c->id, v->value, strlen(v->value)) == 0;
    if (strcmp(v->key, "status") == 0)
        return strcmp(state_name(c->state), v->value) == 0;
    return true; /* a key that is known, and that tells nothing apart here */
}

static bool event_value_matches(const struct filter_value *v, const struct event *e)
{
    size_t len = strlen(v->value);

    if (!e->type)
        return true; /* raw text, which nobody has taken apart */
    if (strcmp(v->key, "type") == 0)
        return strcmp(e->type, v->value) == 0;
    if (strcmp(v->key, "event") == 0)
        return strncmp(e->action, v->value, len) == 0 &&
               (e->action[len] == '\0' || e->action[len] == ':');
    if (strcmp(v->key, "container") == 0)
        return strcmp(e->name, v->value) == 0 || (len > 0 && strncmp(e->id, v->value, len) == 0);
    if (strcmp(v->key, "image") == 0)
        return strcmp(e->image, v->value) == 0;
    if (strcmp(v->key, "label") == 0)
        return pairs_match(e->attributes, e->attributes_count, v->value);
    return true;
}

/** Whether each key has a value that matches. Values of a key need not be neighbours. */
#define MATCH_ALL(f, thing, value_matches)                                                         \
    for (size_t i = 0; i < (f)->count; i++) {                                                      \
        bool any = false;                                                                          \
        for (size_t j = 0; !any && j < (f)->count; j++)                                            \
            any = strcmp((f)->items[i].key, (f)->items[j].key) == 0 &&                             \
                  value_matches(&(f)->items[j], thing);                                            \
        if (!any)                                                                                  \
            return false;                                                                          \
    }                                                                                              \
    return true

bool filters_match_container(const struct filters *f, const struct sim_container *c)
{
    MATCH_ALL(f, c, container_value_matches);
}

bool filters_match_event(const struct filters *f, const struct event *e)
{
    MATCH_ALL(f, e, event_value_matches);
}
