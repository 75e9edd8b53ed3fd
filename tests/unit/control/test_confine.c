/*
 * control/confine: what is given up is gone, for every thread, and what is needed is not. Each test
 * confines a child process of its own, as nothing given up comes back.
 */
#include "control/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

/* Runs `fn` in a child. 0: it returned true; else the line it said (with CHECK), or 1000 + signal.
 */
static int in_child(bool (*fn)(void))
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn() ? 0 : 1);
    assert_int_equal(pid, waitpid(pid, &status, 0));
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* In a child there is no cmocka: the text is in the test's output, and the child fails. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition,        \
                          errno);                                                                  \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool ignore_line(void *ctx, struct slice line)
{
    (void)ctx;
    (void)line;
    return true;
}

static bool confine_some(enum confine_mode mode, bool calls, struct confinement *c, int *ret)
{
    struct config config;
    struct ring_options options = {.backend = RING_BACKEND_EPOLL,
                                   .entries = 64,
                                   .sockets_max = 16,
                                   .buffers_count = 4,
                                   .buffer_bytes = 4096};
    struct ring_refusal refusal;
    struct ring *ring;

    log_set_writer(ignore_line, NULL);
    CHECK(config_init(&config) == 0);
    config.run_confine = (int)mode;
    CHECK(ring_create(&options, &ring, &refusal) == 0);
    *ret = confine_privileges(c, &config, ring);
    ring_destroy(ring);
    if (*ret == 0 && calls)
        *ret = confine_calls(c, &config);
    config_finish(&config);
    return true;
}

static bool confine(enum confine_mode mode, struct confinement *c, int *ret)
{
    return confine_some(mode, true, c, ret);
}

static bool is_refused(long r)
{
    return r == -1 && errno == EPERM;
}

#define REFUSED(call) (errno = 0, is_refused(call))

static bool calls_are_refused(void)
{
    char *const argv[] = {"true", NULL};

    CHECK(REFUSED(execv("/bin/true", argv)));
    CHECK(REFUSED(unshare(CLONE_NEWUSER)));
    CHECK(REFUSED(socket(AF_PACKET, SOCK_RAW, 0)));
    CHECK(REFUSED(socket(AF_VSOCK, SOCK_STREAM, 0)));
    CHECK(REFUSED(listen(0, 1)));
    CHECK(REFUSED(syscall(SYS_io_uring_setup, 1, NULL)));
    CHECK(REFUSED(syscall(SYS_bpf, 0, NULL, 0)));
    CHECK(REFUSED(chown("/", 0, 0)));
    CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
    return true;
}

static void *look_from_thread(void *ctx)
{
    bool *good = ctx;

    *good = calls_are_refused() && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    return NULL;
}

struct early {
    int wait_fd;
    bool good;
};

static void *wait_and_look(void *ctx)
{
    struct early *e = ctx;
    char byte;

    if (read(e->wait_fd, &byte, 1) == 1)
        look_from_thread(&e->good);
    return NULL;
}

static bool threads_cannot(void)
{
    struct confinement c;
    struct early early = {0};
    pthread_t before, after;
    bool good = false;
    int ends[2], fd, r;

    CHECK(pipe(ends) == 0);
    early.wait_fd = ends[0];
    CHECK(pthread_create(&before, NULL, wait_and_look, &early) == 0);
    CHECK(confine(CONFINE_AUTO, &c, &r));
    CHECK(r == 0 && strcmp(c.calls, "on") == 0 && strcmp(c.privileges, "on") == 0);
    CHECK(calls_are_refused());
    CHECK(pthread_create(&after, NULL, look_from_thread, &good) == 0);
    CHECK(pthread_join(after, NULL) == 0 && good);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK(pthread_join(before, NULL) == 0 && early.good);
    /* And what is needed still works. */
    fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && close(fd) == 0);
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(fd >= 0 || errno == EAFNOSUPPORT);
    return true;
}

static bool has_filter(void)
{
#ifdef HAVE_SECCOMP
    return true;
#else
    return false;
#endif
}

static void test_other_calls_are_refused_to_every_thread(void **state)
{
    if (!has_filter())
        skip();
    assert_int_equal(0, in_child(threads_cannot));
}

static bool call_while_strict(void)
{
    struct confinement c;
    int r;

    CHECK(confine(CONFINE_STRICT, &c, &r));
    CHECK(r == 0);
    (void)unshare(CLONE_NEWUSER);
    return true;
}

static void test_strict_makes_them_deadly(void **state)
{
    if (!has_filter())
        skip();
    assert_int_equal(1000 + SIGSYS, in_child(call_while_strict));
}

/* ---- capabilities ---- */

static char foreign_dir[] = "/tmp/ringtail-test-XXXXXX";

static bool root_without_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    struct confinement c;
    char path[64];
    int fd, r;

    CHECK(confine_some(CONFINE_AUTO, false, &c, &r));
    CHECK(r == 0 && strcmp(c.capabilities, "on") == 0);
    CHECK(syscall(SYS_capget, &header, data) == 0);
    CHECK(data[0].permitted == 1u << CAP_DAC_OVERRIDE && data[1].permitted == 0);
    CHECK(data[0].effective == data[0].permitted && data[0].inheritable == 0);
    for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++)
        CHECK(prctl(PR_CAPBSET_READ, cap) <= (cap == CAP_DAC_OVERRIDE));
    /* A directory of somebody else can be written to, and nothing be given to others. */
    (void)snprintf(path, sizeof path, "%s/file", foreign_dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(REFUSED(fchown(fd, 12345, 12345)));
    CHECK(unlink(path) == 0);
    return true;
}

static void test_of_root_only_one_right_stays(void **state)
{
    int told;

    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(foreign_dir));
    assert_int_equal(0, chown(foreign_dir, 12345, 12345));
    assert_int_equal(0, chmod(foreign_dir, 0500));
    told = in_child(root_without_rights);
    assert_int_equal(0, rmdir(foreign_dir));
    assert_int_equal(0, told);
}

/* ---- what the kernel does not let us do ---- */

static bool refuse_seccomp(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool refused_auto(void)
{
    struct confinement c;
    int r;

    CHECK(refuse_seccomp());
    CHECK(confine(CONFINE_AUTO, &c, &r));
    CHECK(r == 0 && strcmp(c.calls, has_filter() ? "failed" : "none") == 0);
    CHECK(strcmp(c.privileges, "on") == 0 && strcmp(c.ring, "none") == 0);
    return true;
}

static bool refused_strict(void)
{
    struct confinement c;
    int r;

    CHECK(refuse_seccomp());
    CHECK(confine(CONFINE_STRICT, &c, &r));
    CHECK(r < 0);
    return true;
}

static void test_a_step_that_fails_ends_only_strict_starts(void **state)
{
    assert_int_equal(0, in_child(refused_auto));
    assert_int_equal(0, in_child(refused_strict));
}

static bool nothing_happens(void)
{
    int before = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), r;
    struct confinement c;

    CHECK(confine(CONFINE_OFF, &c, &r));
    CHECK(r == 0 && strcmp(c.calls, "off") == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == before);
    CHECK(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0);
    return true;
}

static void test_off_changes_nothing(void **state)
{
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0)
        skip(); /* we run under somebody else's filter */
    assert_int_equal(0, in_child(nothing_happens));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_calls_are_refused_to_every_thread),
        cmocka_unit_test(test_strict_makes_them_deadly),
        cmocka_unit_test(test_of_root_only_one_right_stays),
        cmocka_unit_test(test_a_step_that_fails_ends_only_strict_starts),
        cmocka_unit_test(test_off_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
