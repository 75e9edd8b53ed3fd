/* src/sink/sweep.h. */
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct walk {
    int dir_fd;
    const struct path_template *t;
    size_t components;
    sweep_fn fn;
    void *ctx;
    struct buf dir; /* the path of the directory at hand, NUL behind */
};

int sweep_open(int dir_fd, const char *dir)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, dir_fd, dir[0] ? dir : ".", &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

static void show(struct walk *w, int dir_fd, const char *name)
{
    struct sweep_file file = {.dir_fd = dir_fd, .dir = w->dir.data, .name = name};
    struct stat st;

    if (!rotated_parse(name, &file.rotated) ||
        !path_template_matches_last(w->t, slice_of(name, file.rotated.base_len)) ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    file.stat = &st;
    w->fn(w->ctx, &file);
}

static int walk_directory(struct walk *w, size_t component);

static int walk_entry(struct walk *w, int dir_fd, const char *name, size_t component)
{
    size_t len = w->dir.len;
    int r = 0;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (component + 1 == w->components) {
        show(w, dir_fd, name);
        return 0;
    }
    if (!path_template_matches(w->t, component, slice_str(name)))
        return 0;
    if (len > 0)
        r = buf_append_char(&w->dir, '/');
    if (r == 0)
        r = buf_append_str(&w->dir, name);
    if (r == 0 && !buf_cstr(&w->dir))
        r = -ENOMEM;
    if (r == 0)
        r = walk_directory(w, component + 1);
    w->dir.len = len;
    w->dir.data[len] = '\0';
    return r == -ENOMEM ? r : 0;
}

static int walk_directory(struct walk *w, size_t component)
{
    int fd = sweep_open(w->dir_fd, w->dir.data), r = 0;
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;

    if (!dir) {
        r = fd < 0 ? fd : -errno;
        if (fd >= 0)
            (void)close(fd); /* only read from */
        return r;
    }
    while (r == 0 && (e = readdir(dir)))
        r = walk_entry(w, fd, e->d_name, component);
    (void)closedir(dir); /* only read from */
    return r;
}

int sweep(int dir_fd, const struct path_template *t, sweep_fn fn, void *ctx)
{
    struct walk w = {
        .dir_fd = dir_fd,
        .t = t,
        .components = path_template_components(t),
        .fn = fn,
        .ctx = ctx,
    };
    int r = buf_cstr(&w.dir) ? 0 : -ENOMEM;

    if (r == 0)
        r = walk_directory(&w, 0);
    buf_finish(&w.dir);
    return r;
}
