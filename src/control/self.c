/* src/control/self.h. */
#include "self.h"

#include <fcntl.h>
#include <unistd.h>

#include "ringtail/base/buf.h"

#define FILE_BYTES_MAX (1 << 20)

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool id_at(struct slice text, char ret_id[REPLY_ID_LEN + 1])
{
    if (text.len < REPLY_ID_LEN)
        return false;
    for (size_t i = 0; i < REPLY_ID_LEN; i++)
        if (!is_hex(text.data[i]))
            return false;
    if (text.len > REPLY_ID_LEN && is_hex(text.data[REPLY_ID_LEN]))
        return false;
    memcpy(ret_id, text.data, REPLY_ID_LEN);
    ret_id[REPLY_ID_LEN] = '\0';
    return true;
}

bool self_find_id(struct slice text, char ret_id[REPLY_ID_LEN + 1])
{
    /* .../docker/containers/<id>/hostname is mounted into every container; control groups are named
     * /docker/<id> or docker-<id>.scope. */
    static const char *const marks[] = {"/containers/", "/docker/", "docker-"};

    for (size_t m = 0; m < sizeof marks / sizeof marks[0]; m++) {
        struct slice mark = slice_str(marks[m]);
        struct slice rest = text;
        const char *at;

        while (rest.len >= mark.len && (at = memmem(rest.data, rest.len, mark.data, mark.len))) {
            rest = slice_from(rest, (size_t)(at - rest.data) + mark.len);
            if (id_at(rest, ret_id))
                return true;
        }
    }
    return false;
}

static bool find_in_file(const char *path, char ret_id[REPLY_ID_LEN + 1])
{
    struct buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    bool found;

    if (fd < 0)
        return false;
    while (n > 0 && text.len < FILE_BYTES_MAX && buf_reserve(&text, 4096) == 0) {
        n = read(fd, text.data + text.len, text.cap - text.len);
        text.len += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd); /* read only: nothing to lose */
    found = self_find_id(buf_slice(&text), ret_id);
    buf_finish(&text);
    return found;
}

bool self_container_id(char ret_id[REPLY_ID_LEN + 1])
{
    return find_in_file("/proc/self/mountinfo", ret_id) ||
           find_in_file("/proc/self/cgroup", ret_id);
}
