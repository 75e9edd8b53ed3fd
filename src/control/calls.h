/*
 * The calls that ringtail makes once it runs. Written by docker/seccomp.py, from the same table as
 * the profile for containers; not to be changed by hand.
 */
#pragma once

/* clang-format off */
static const char *const calls_allowed[] = {
    "accept4", "access", "bind", "brk", "clock_getres", "clock_gettime", "clock_nanosleep",
    "close", "connect", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "eventfd2", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64",
    "fchmod", "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate",
    "futex", "getdents64", "getegid", "geteuid", "getgid", "getpeername", "getpid",
    "getrandom", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid",
    "io_uring_enter", "io_uring_register", "ioctl", "lseek", "madvise", "mkdir", "mkdirat",
    "mmap", "mprotect", "mremap", "munmap", "newfstatat", "openat", "openat2", "pipe2",
    "poll", "ppoll", "prctl", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
    "pwritev2", "read", "readlink", "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg",
    "renameat", "renameat2", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_getaffinity", "sched_yield", "sendmmsg", "sendmsg", "sendto",
    "set_robust_list", "setpriority", "setsockopt", "shutdown", "socketpair", "statx",
    "sysinfo", "tgkill", "timerfd_create", "timerfd_settime", "uname", "unlink", "unlinkat",
    "utimensat", "write", "writev",
};

/* Of clone: threads, and no namespaces. clone3 says that it is not there: its flags can't be seen. */
#define CALLS_CLONE_FLAGS_REFUSED 0x7e020000u

/* Of socket: unix, IPv4, IPv6, and netlink, which getaddrinfo asks for this host's addresses. */
static const int calls_socket_families[] = {1, 2, 10, 16};
/* clang-format on */
