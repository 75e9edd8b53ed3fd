/*
 * Secrets: where OPTION_SECRET values come from. Nothing here ever puts a secret into a remark, and
 * every copy that is made is wiped before its memory is given back.
 */
#include "ringtail/base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "option_private.h"

#define SECRET_MAX_BYTES ((size_t)16384)

static void fd_closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* it was only read from: nothing can be lost */
}

/** Says why and returns -EINVAL, or -ENOMEM. */
static int refuse(struct buf *remark, struct slice what, const char *why)
{
    int r = option_put_foreign(what, remark);

    if (r == 0)
        r = buf_printf(remark, " %s", why);
    return r < 0 ? r : -EINVAL;
}

/** What goes into a header must not begin another one. */
static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return true;
    }
    return false;
}

static int take(struct slice text, struct slice origin, char **ret, struct buf *remark)
{
    if (text.len == 0)
        return refuse(remark, origin, "is empty");
    if (text.len > SECRET_MAX_BYTES)
        return refuse(remark, origin, "is longer than 16 KiB");
    if (has_control(text))
        return refuse(remark, origin, "has a control character in it");
    *ret = slice_dup(text);
    return *ret ? 0 : -ENOMEM;
}

/** Reads until the first newline, the end, or `size` bytes. */
static ssize_t read_line(int fd, char *line, size_t size)
{
    size_t len = 0;

    while (len < size && !memchr(line, '\n', len)) {
        ssize_t n = read(fd, line + len, size - len);

        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            len += (size_t)n;
    }
    return (ssize_t)len;
}

static int take_first_line(int fd, struct slice path, char **ret, struct buf *remark)
{
    char line[SECRET_MAX_BYTES + 2]; /* with CR LF */
    ssize_t n = read_line(fd, line, sizeof line);
    struct slice text = slice_of(line, (size_t)MAX(n, 0));
    const char *newline = memchr(line, '\n', text.len);
    int r;

    if (newline)
        text.len = (size_t)(newline - line);
    if (text.len > 0 && text.data[text.len - 1] == '\r')
        text.len--;
    r = n < 0 ? refuse(remark, path, strerrordesc_np((int)-n)) : take(text, path, ret, remark);
    explicit_bzero(line, sizeof line);
    return r;
}

static int refuse_unread(const char *path, int error, struct buf *remark)
{
    int r = refuse(remark, slice_str(path), "cannot be read: ");

    return r == -EINVAL && buf_append_str(remark, strerrordesc_np(error)) < 0 ? -ENOMEM : r;
}

/** What is no file is not even opened: that alone can do something to a device, or wait. */
static int read_file(const char *path, char **ret, struct buf *remark)
{
    RT_CLEANUP(fd_closep) int fd = -EBADF;
    struct stat st;
    int r;

    if (stat(path, &st) < 0)
        return refuse_unread(path, errno, remark);
    if (!S_ISREG(st.st_mode))
        return refuse(remark, slice_str(path), "is not a regular file");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return refuse_unread(path, errno, remark);
    r = take_first_line(fd, slice_str(path), ret, remark);
    if (r < 0 || !(st.st_mode & S_IROTH))
        return r;
    r = refuse(remark, slice_str(path), "can be read by everybody (chmod o-r)");
    if (r == -EINVAL)
        return 0;
    option_secret_free(TAKE_PTR(*ret));
    return r;
}

static int read_environment(const char *name, char **ret, struct buf *remark)
{
    const char *value = getenv(name);

    if (!value)
        return refuse(remark, slice_str(name), "is not in the environment");
    return take(slice_str(value), slice_str(name), ret, remark);
}

static int take_plain(struct slice text, char **ret, struct buf *remark)
{
    int r = take(text, slice_str("a secret"), ret, remark);

    if (r < 0)
        return r;
    r = buf_append_str(remark, "a secret in plain text (file:/path or env:NAME keeps it out of the "
                               "configuration)");
    if (r < 0)
        option_secret_free(TAKE_PTR(*ret));
    return r;
}

int option_secret_read(struct slice text, char **ret, struct buf *remark)
{
    static const char file[] = "file:", env[] = "env:";
    RT_CLEANUP(freep) char *copy = NULL;

    if (text.len == 0 && !remark) {
        *ret = calloc(1, 1); /* not set */
        return *ret ? 0 : -ENOMEM;
    }
    if (has_control(text))
        return refuse(remark, slice_str("a secret"), "has a control character in it");
    if (text.len > strlen(file) && memcmp(text.data, file, strlen(file)) == 0) {
        if (text.data[strlen(file)] != '/')
            return refuse(remark, slice_str("file:"), "takes a path that begins with /");
        copy = slice_dup(slice_from(text, strlen(file)));
        return copy ? read_file(copy, ret, remark) : -ENOMEM;
    }
    if (text.len > strlen(env) && memcmp(text.data, env, strlen(env)) == 0) {
        copy = slice_dup(slice_from(text, strlen(env)));
        return copy ? read_environment(copy, ret, remark) : -ENOMEM;
    }
    return take_plain(text, ret, remark);
}

void option_secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}
