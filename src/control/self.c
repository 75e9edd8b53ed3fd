/* src/control/self.h. */
#include "self.h"

#include <fcntl.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"

#define FILE_BYTES_MAX (1 << 20)

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool id_at(struct slice text, char ret_id[REPLY_ID_LEN + 1])
{
    for (size_t i = 0; i < REPLY_ID_LEN; i++)
        if (!is_hex(text.data[i]))
            return false;
    if (text.len > REPLY_ID_LEN && is_hex(text.data[REPLY_ID_LEN]))
        return false;
    memcpy(ret_id, text.data, REPLY_ID_LEN);
    ret_id[REPLY_ID_LEN] = '\0';
    return true;
}

/* Outside of containers, and in those that see the Engine's directories, other containers' mounts
 * are listed, too (.../containers/<id>/mounts/shm): only these files are mounted into the container
 * itself. */
static bool is_mounted_file(struct slice rest)
{
    static const char *const files[] = {"/hostname ", "/hosts ", "/resolv.conf "};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        size_t len = strlen(files[i]);

        if (rest.len >= len && memcmp(rest.data, files[i], len) == 0)
            return true;
    }
    return false;
}

bool self_find_id(struct slice text, char ret_id[REPLY_ID_LEN + 1])
{
    /* .../docker/containers/<id>/hostname is mounted into every container; control groups are named
     * /docker/<id> or docker-<id>.scope. */
    static const struct {
        const char *text;
        bool is_mount;
    } marks[] = {{"/containers/", true}, {"/docker/", false}, {"docker-", false}};

    for (size_t m = 0; m < ARRAY_SIZE(marks); m++) {
        struct slice mark = slice_str(marks[m].text);
        struct slice rest = text;
        const char *at;

        while (rest.len >= mark.len && (at = memmem(rest.data, rest.len, mark.data, mark.len))) {
            rest = slice_from(rest, (size_t)(at - rest.data) + mark.len);
            if (rest.len < REPLY_ID_LEN)
                break;
            if (marks[m].is_mount && !is_mounted_file(slice_from(rest, REPLY_ID_LEN)))
                continue;
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
