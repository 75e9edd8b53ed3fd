/*
 * What ring_create says when the kernel refuses: each cause is made in a child process of its own,
 * so that nothing of the machine is changed for others.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/macros.h"

/* What the child tells: the result of ring_create and its reason, or that it could not set the
 * stage. */
struct told {
    int result;
    bool not_staged;
    char description[512];
    struct ring_refusal refusal;
};

/* Runs in the child, before ring_create; false: this machine does not let us. */
typedef bool (*stage_fn)(void);

static struct told create_in_child(stage_fn stage, const struct ring_options *options)
{
    struct told told = {0};
    int ends[2], status = 0;
    pid_t pid;

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ring *ring = NULL;

        if (stage())
            told.result = ring_create(options, &ring, &told.refusal);
        else
            told.not_staged = true;
        if (ring)
            snprintf(told.description, sizeof told.description, "%s", ring_describe(ring));
        _exit(write(ends[1], &told, sizeof told) == sizeof told ? 0 : 1);
    }
    (void)close(ends[1]);
    assert_int_equal(sizeof told, read(ends[0], &told, sizeof told));
    (void)close(ends[0]);
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
    if (told.not_staged) {
        print_message("this machine does not let us arrange the refusal\n");
        skip();
    }
    return told;
}

static void assert_told(const struct told *told, int result, const char *knob)
{
    assert_int_equal(result, told->result);
    assert_int_equal(result, told->refusal.error);
    if (!strstr(told->refusal.reason, knob))
        fail_msg("\"%s\" does not name %s", told->refusal.reason, knob);
    /* Cut text would end in the middle of the advice. */
    assert_true(strlen(told->refusal.reason) < sizeof told->refusal.reason - 1);
}

static const struct ring_options usual = {.backend = RING_BACKEND_IO_URING,
                                          .entries = 1024,
                                          .sockets_max = 64,
                                          .buffers_count = 64,
                                          .buffer_bytes = 4096};

/* ---- seccomp ---- */

static bool deny(uint32_t call, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool deny_with_eperm(void)
{
    return deny(__NR_io_uring_setup, EPERM);
}

static bool deny_with_enosys(void)
{
    return deny(__NR_io_uring_setup, ENOSYS);
}

static void test_a_seccomp_profile_that_says_eperm_is_named(void **state)
{
    struct told told = create_in_child(deny_with_eperm, &usual);

    assert_told(&told, -EPERM, "seccomp profile");
    assert_told(&told, -EPERM, "io_uring_setup");
}

static bool deny_register(void)
{
    return deny(__NR_io_uring_register, EPERM);
}

static void test_a_seccomp_profile_that_misses_one_call_is_not_taken_for_an_old_kernel(void **state)
{
    struct told told = create_in_child(deny_register, &usual);

    assert_told(&told, -EPERM, "seccomp profile");
    assert_told(&told, -EPERM, "io_uring_register");
}

static void test_a_seccomp_profile_that_says_enosys_is_named(void **state)
{
    struct told told = create_in_child(deny_with_enosys, &usual);

    assert_told(&told, -ENOSYS, "seccomp profile");
    assert_told(&told, -ENOSYS, "5.19");
}

/* ---- the sysctl, as seen from a mount namespace of the child's own ---- */

static bool show_sysctl(const char *value)
{
    char path[] = "/tmp/ringtail-test-XXXXXX";
    bool shown = false;
    int fd;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return false;
    if (write(fd, value, strlen(value)) == (ssize_t)strlen(value))
        shown = mount(path, "/proc/sys/kernel/io_uring_disabled", NULL, MS_BIND, NULL) == 0;
    (void)close(fd);
    (void)unlink(path);
    return shown;
}

static bool disable_for_all(void)
{
    return show_sysctl("2\n") && deny(__NR_io_uring_setup, EPERM);
}

static bool disable_for_most(void)
{
    return show_sysctl("1\n") && deny(__NR_io_uring_setup, EPERM);
}

static void test_the_sysctl_that_disables_io_uring_is_named(void **state)
{
    struct told told = create_in_child(disable_for_all, &usual);

    assert_told(&told, -EPERM, "kernel.io_uring_disabled is 2");
    assert_null(strstr(told.refusal.reason, "io_uring_group"));
    assert_null(strstr(told.refusal.reason, "seccomp"));
}

static void test_the_sysctl_that_asks_for_a_group_names_the_group(void **state)
{
    struct told told = create_in_child(disable_for_most, &usual);

    assert_told(&told, -EPERM, "kernel.io_uring_disabled is 1");
    assert_told(&told, -EPERM, "kernel.io_uring_group");
}

/* ---- the way out ---- */

static void assert_epoll_because(stage_fn stage, const char *why)
{
    struct ring_options any = usual;
    struct told told;

    any.backend = RING_BACKEND_AUTO;
    told = create_in_child(stage, &any);
    assert_int_equal(0, told.result);
    if (strncmp(told.description, "epoll (io_uring refused: ", 25) != 0 ||
        !strstr(told.description, why))
        fail_msg("\"%s\" does not say that it is epoll because of %s", told.description, why);
    assert_int_equal(')', told.description[strlen(told.description) - 1]);
}

static void test_epoll_takes_over_and_keeps_the_reason(void **state)
{
    assert_epoll_because(deny_with_eperm, "seccomp profile");
    assert_epoll_because(deny_with_enosys, "5.19");
    assert_epoll_because(disable_for_all, "kernel.io_uring_disabled is 2");
}

/* ---- limits ---- */

static bool lock_no_memory(void)
{
    const struct rlimit limit = {.rlim_cur = 16384, .rlim_max = 16384};

    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && (geteuid() != 0 || setuid(65534) == 0);
}

static void test_too_little_lockable_memory_names_the_limit(void **state)
{
    struct told told = create_in_child(lock_no_memory, &usual);

    if (told.result == 0) {
        print_message("this kernel does not charge rings to RLIMIT_MEMLOCK\n");
        skip();
    }
    assert_told(&told, -ENOMEM, "RLIMIT_MEMLOCK is 16 KiB");
    assert_told(&told, -ENOMEM, "ulimit -l");
}

static bool open_no_files(void)
{
    /* Everything that is open stays open; not one more fits. */
    const struct rlimit limit = {.rlim_cur = 3, .rlim_max = 3};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static bool open_few_files(void)
{
    const struct rlimit limit = {.rlim_cur = 40, .rlim_max = 40};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static void test_no_descriptor_left_names_the_limit(void **state)
{
    struct told told = create_in_child(open_no_files, &usual);

    assert_told(&told, -EMFILE, "RLIMIT_NOFILE is 3");
    assert_told(&told, -EMFILE, "ulimit -n");
}

static void test_a_socket_table_above_the_descriptor_limit_names_both(void **state)
{
    struct told told = create_in_child(open_few_files, &usual);

    assert_told(&told, -EMFILE, "RLIMIT_NOFILE is 40");
    assert_told(&told, -EMFILE, "sockets_max");
}

static void test_epoll_without_descriptors_names_the_limit_too(void **state)
{
    struct ring_options epoll = usual;
    struct told told;

    epoll.backend = RING_BACKEND_EPOLL;
    told = create_in_child(open_no_files, &epoll);
    assert_told(&told, -EMFILE, "RLIMIT_NOFILE is 3");
    told = create_in_child(open_few_files, &epoll);
    assert_told(&told, -EMFILE, "sockets_max");
    /* Where neither works, the last one tried is told. */
    epoll.backend = RING_BACKEND_AUTO;
    told = create_in_child(open_few_files, &epoll);
    assert_told(&told, -EMFILE, "sockets_max");
}

static void test_a_refused_ring_leaves_no_descriptor_behind(void **state)
{
    struct ring_options too_many = {
        .entries = 64, .sockets_max = UINT32_MAX, .buffers_count = 4, .buffer_bytes = 4096};
    size_t before = count_fds();

    for (int backend = RING_BACKEND_AUTO; backend <= RING_BACKEND_EPOLL; backend++) {
        struct ring_refusal refusal = {0};
        struct ring *ring = NULL;

        too_many.backend = (enum ring_backend_choice)backend;
        assert_true(ring_create(&too_many, &ring, &refusal) < 0);
        assert_null(ring);
        assert_true(refusal.error < 0);
        assert_true(refusal.reason[0] != '\0');
        assert_int_equal(before, count_fds());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "S38 a seccomp profile that says EPERM is named",
         .test_func = test_a_seccomp_profile_that_says_eperm_is_named},
        {.name = "S38 a seccomp profile that says ENOSYS is named",
         .test_func = test_a_seccomp_profile_that_says_enosys_is_named},
        {.name = "S38 a seccomp profile that misses one call is not taken for an old kernel",
         .test_func = test_a_seccomp_profile_that_misses_one_call_is_not_taken_for_an_old_kernel},
        {.name = "S38 the sysctl that disables io_uring is named",
         .test_func = test_the_sysctl_that_disables_io_uring_is_named},
        {.name = "S38 the sysctl that asks for a group names the group",
         .test_func = test_the_sysctl_that_asks_for_a_group_names_the_group},
        {.name = "S38 epoll takes over and keeps the reason",
         .test_func = test_epoll_takes_over_and_keeps_the_reason},
        {.name = "S38 too little lockable memory (ENOMEM) names the limit",
         .test_func = test_too_little_lockable_memory_names_the_limit},
        {.name = "S38 no descriptor left (EMFILE) names the limit",
         .test_func = test_no_descriptor_left_names_the_limit},
        {.name = "S38 a socket table above the descriptor limit names both",
         .test_func = test_a_socket_table_above_the_descriptor_limit_names_both},
        cmocka_unit_test(test_epoll_without_descriptors_names_the_limit_too),
        cmocka_unit_test(test_a_refused_ring_leaves_no_descriptor_behind),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
