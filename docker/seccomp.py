#!/usr/bin/env python3
"""Writes the system calls that ringtail makes, and no others, to docker/seccomp.json and src/control/calls.h.

docker/seccomp.py BUILD        a build without sanitizers, with its integration tests (needs strace)
docker/seccomp.py              no tracing: what was seen before, with what has changed in here

Runs the integration tests with every ringtail under strace, adds what that can't see (the work of the
container's runtime between filter and program, other versions of the C library, other machines), and
writes the profile in Docker's format, and the list of ringtail's own filter: the same without what
only a start or doctor needs.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROFILE = os.path.join(ROOT, "docker/seccomp.json")
HEADER = os.path.join(ROOT, "src/control/calls.h")

SUITES = (
    "run", "admin", "command", "confine", "containers", "cuts", "delivery", "doctor", "ended", "engine",
    "failures", "files", "lines", "notify", "positions", "proxy", "rotation", "stored",
)
BACKENDS = ("io_uring", "epoll")

RUNTIME = "the container's runtime, between the filter and the program"

# What no trace of the tests can see, and why it is needed all the same.
OTHERS = {
    # The filter is in force before the runtime has done all of its own work in the container.
    RUNTIME: (
        "capget capset chdir close close_range dup3 epoll_ctl epoll_pwait execve exit_group faccessat2"
        " fchown fcntl fstat fstatfs futex getdents64 getpid getppid gettid getuid lseek madvise mmap"
        " munmap nanosleep newfstatat openat openat2 pipe2 prctl read readlinkat rt_sigaction"
        " rt_sigprocmask rt_sigreturn sched_yield setgid setgroups setuid sigaltstack tgkill umask"
        " unlinkat write"
    ),
    # Which of them a run sees depends on their versions.
    "the loader and the C library": (
        "arch_prctl brk clock_getres clock_gettime clock_nanosleep exit exit_group faccessat fstat futex"
        " getegid geteuid getgid getpid getrandom gettid gettimeofday getuid lseek madvise mmap mprotect"
        " mremap munmap newfstatat openat pread64 prlimit64 read readlink restart_syscall rseq"
        " rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield set_robust_list"
        " set_tid_address statx sysinfo tgkill uname write writev"
    ),
    "ringtail, on its own confinement": "capget capset prctl seccomp",
    "doctor, on a check that hangs": "kill",
    "the ring": "io_uring_setup io_uring_enter io_uring_register",
    "the same work without a ring": (
        "connect epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd2 fdatasync fsync"
        " ftruncate pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv recvfrom recvmsg"
        " renameat2 sendmsg sendto shutdown timerfd_create timerfd_settime write writev"
    ),
    # The tests' receivers are on the loopback, and have no names.
    "receivers in a network, and the admin endpoint": (
        "accept4 bind connect getpeername getsockname getsockopt listen poll ppoll recvfrom recvmmsg"
        " recvmsg sendmmsg sendmsg sendto setsockopt socketpair"
    ),
}

# Where one kernel's or machine's C library makes the first call, another's makes the second.
COUNTERPARTS = {
    "access": "faccessat", "dup2": "dup3", "epoll_wait": "epoll_pwait", "faccessat": "faccessat2",
    "fstat": "newfstatat", "getdents": "getdents64", "getrlimit": "prlimit64", "lstat": "newfstatat",
    "mkdir": "mkdirat", "newfstatat": "statx", "open": "openat", "pipe": "pipe2", "poll": "ppoll",
    "readlink": "readlinkat", "rename": "renameat", "renameat": "renameat2", "rmdir": "unlinkat",
    "select": "pselect6", "setrlimit": "prlimit64", "stat": "newfstatat", "unlink": "unlinkat",
    "chmod": "fchmodat", "chown": "fchownat", "link": "linkat", "symlink": "symlinkat", "accept": "accept4",
}

# Of all of these, what a ringtail that runs does not do any more, or only doctor does: its own filter
# refuses them.
NOT_ONCE_IT_RUNS = {
    "arch_prctl", "capget", "capset", "clock_adjtime", "execve", "getrlimit", "io_uring_setup", "kill",
    "listen", "prlimit64", "seccomp", "set_tid_address", "setrlimit", "umask", "wait4",
}

SEEN = "seen in the tests"
OTHER_NAMES = "the same under another name, on other machines or with other C libraries"
# Allowed with certain arguments alone.
ARGUED = ("clone", "clone3", "socket")

# A namespace of its own is what no thread of ringtail needs (CLONE_NEW*).
NAMESPACE_FLAGS = 0x7E020000
ENOSYS = 38
SOCKET_FAMILIES = (1, 2, 10, 16)
SOCKET_COMMENT = "unix, IPv4, IPv6, and netlink, which getaddrinfo asks for this host's addresses"


def traced(build):
    """The names of all calls that ringtail made in the tests."""
    seen = set()
    with tempfile.TemporaryDirectory(prefix="ringtail-trace-") as work:
        wrapper = os.path.join(work, "ringtail")
        with open(wrapper, "w", encoding="utf-8") as file:
            # Detached (-D), so that the test's child is ringtail and not strace.
            file.write(
                "#!/bin/sh\n"
                f'exec strace -D -f -qq -c -U name -o {work}/trace.$$ "{build}/ringtail" "$@"\n'
            )
        os.chmod(wrapper, 0o755)
        for suite, backend in ((suite, backend) for suite in SUITES for backend in BACKENDS):
            program = os.path.join(build, "tests/integration", f"test_integration_{suite}")
            result = subprocess.run(
                [program],
                # Refused calls would be seen too, and a filter could hide what comes behind one.
                env={**os.environ, "RINGTAIL_BIN": wrapper, "RINGTAIL_TEST_BACKEND": backend,
                     "RINGTAIL_TEST_CONFINE": "off"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
            )
            # Traced, ringtail is slow, and a test or two may not like that. What it has called counts.
            told = re.findall(r"^\[  FAILED  \] (?!\d+ test)(.*)$", result.stdout, re.M)
            print(f"seccomp: {suite} on {backend}: exit code {result.returncode}", *sorted(set(told)),
                  sep="\n  ", file=sys.stderr)
            if result.returncode != 0 and (suite == "confine" or len(set(told)) != 1):
                sys.exit(result.stdout[-3000:])
        for name in os.listdir(work):
            if name.startswith("trace."):
                with open(os.path.join(work, name), encoding="utf-8") as file:
                    seen |= set(re.findall(r"^\s*([a-z_0-9]+)\s*$", file.read(), re.M))
    seen -= {"syscall", "total"}
    if "io_uring_enter" not in seen:
        sys.exit("seccomp: the trace has no io_uring_enter; was ringtail run at all?")
    return seen


def with_counterparts(names):
    """These calls, and the same under another name."""
    names = set(names)
    while more := {COUNTERPARTS[name] for name in names if name in COUNTERPARTS} - names:
        names |= more
    return names


def header(names):
    """The C header with the calls of ringtail's own filter, from these and OTHERS."""
    others = (text.split() for reason, text in OTHERS.items() if reason != RUNTIME)
    calls = with_counterparts(set(names).union(*others)) - NOT_ONCE_IT_RUNS - set(ARGUED)
    listed = "\n".join(textwrap.wrap(
        ", ".join(f'"{name}"' for name in sorted(calls)), 94, initial_indent="    ", subsequent_indent="    "
    ))
    families = ", ".join(str(family) for family in SOCKET_FAMILIES)
    return f"""\
/*
 * The calls that ringtail makes once it runs. Written by docker/seccomp.py, from the same table as
 * the profile for containers; not to be changed by hand.
 */
#pragma once

/* clang-format off */
static const char *const calls_allowed[] = {{
{listed},
}};

/* Of clone: threads, and no namespaces. clone3 says that it is not there: its flags can't be seen. */
#define CALLS_CLONE_FLAGS_REFUSED {NAMESPACE_FLAGS:#x}u

/* Of socket: {SOCKET_COMMENT}. */
static const int calls_socket_families[] = {{{families}}};
/* clang-format on */
"""


def profile(names):
    """The profile, as Docker's JSON has it, that allows these calls and OTHERS."""
    groups = {SEEN: set(names)} | {reason: set(text.split()) for reason, text in OTHERS.items()}
    allowed = set().union(*groups.values())
    groups[OTHER_NAMES] = with_counterparts(allowed) - allowed
    told = set(ARGUED)
    syscalls = []
    for reason, group in groups.items():
        if group - told:
            syscalls.append({"comment": reason, "names": sorted(group - told), "action": "SCMP_ACT_ALLOW"})
        told |= group
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": syscalls
        + [
            {
                "comment": "threads, and no namespaces",
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
            },
            {
                "comment": "its flags can't be seen here; the C library then uses clone",
                "names": ["clone3"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": ENOSYS,
            },
        ]
        + [
            {
                "comment": SOCKET_COMMENT,
                "names": ["socket"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}],
            }
            for family in SOCKET_FAMILIES
        ],
    }


def seen_before():
    """What the last trace has seen, by the profile that it was written to."""
    with open(PROFILE, encoding="utf-8") as file:
        groups = json.load(file)["syscalls"]
    return set(next(group["names"] for group in groups if group.get("comment") == SEEN)) | set(ARGUED)


def main():
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    names = traced(os.path.abspath(sys.argv[1])) if len(sys.argv) == 2 else seen_before()
    with open(PROFILE, "w", encoding="utf-8") as file:
        json.dump(profile(names), file, indent=2)
        file.write("\n")
    with open(HEADER, "w", encoding="utf-8") as file:
        file.write(header(names))
    print(f"seccomp: {len(names)} calls seen", file=sys.stderr)


if __name__ == "__main__":
    main()
