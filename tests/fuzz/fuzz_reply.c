/*
 * docker/reply: any bytes are understood or refused, and a message for people is always short and
 * printable. Input: the body, which every parser gets.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/docker/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void expect_result(int r)
{
    expect(r == 0 || r == -EBADMSG || r == -ENOMEM);
}

static void expect_id(const char id[REPLY_ID_LEN + 1])
{
    expect(strnlen(id, REPLY_ID_LEN + 1) == REPLY_ID_LEN);
    expect(strspn(id, "0123456789abcdef") == REPLY_ID_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice body = slice_of(data, size);
    struct reply_version v;
    struct reply_list l;
    struct reply_inspect c;
    struct reply_event e;
    char message[32];
    int r;

    r = reply_version_parse(body, &v);
    expect_result(r);
    if (r == 0) {
        expect(v.engine && v.api.major > 0);
        reply_version_finish(&v);
    }
    r = reply_list_parse(body, &l);
    expect_result(r);
    if (r == 0) {
        for (size_t i = 0; i < l.count; i++) {
            expect_id(l.items[i].id);
            expect(l.items[i].name && l.items[i].state);
        }
        reply_list_finish(&l);
    }
    r = reply_inspect_parse(body, &c);
    expect_result(r);
    if (r == 0) {
        expect_id(c.id);
        expect(c.name && c.image && c.status && c.log_driver && c.log_path);
        for (size_t i = 0; i < c.labels_count; i++)
            expect(c.labels[i].key && c.labels[i].value);
        for (size_t i = 0; i < c.log_options_count; i++)
            expect(c.log_options[i].key && c.log_options[i].value);
        reply_inspect_finish(&c);
    }
    r = reply_event_parse(body, &e);
    expect_result(r);
    if (r == 0) {
        expect(e.name != NULL);
        if (e.action != EVENT_OTHER)
            expect_id(e.id);
        reply_event_finish(&e);
    }

    reply_error_message(body, message, sizeof message);
    expect(strnlen(message, sizeof message) < sizeof message);
    for (const char *p = message; *p; p++)
        expect((unsigned char)*p >= ' ' && *p != 0x7f);
    return 0;
}
