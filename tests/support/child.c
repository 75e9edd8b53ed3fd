/* See child.h. */
#include "support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void become(const char *const *argv, const char *const *environment, pid_t parent,
                             int output)
{
    (void)setpgid(0, 0);
    /* Not SIGKILL, which would leave behind what the program itself has started. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    if (output >= 0 && dup2(output, STDOUT_FILENO) < 0)
        _exit(127);
    for (size_t i = 0; environment && environment[i]; i++)
        if (putenv((char *)(uintptr_t)environment[i]) != 0)
            _exit(127);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

pid_t child_start(const char *const *argv, const char *const *environment, int *ret_stdout)
{
    pid_t parent = getpid(), pid;
    int ends[2] = {-1, -1};

    if (ret_stdout && pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        become(argv, environment, parent, ends[1]);
    if (ends[1] >= 0)
        (void)close(ends[1]);
    if (pid < 0) {
        if (ends[0] >= 0)
            (void)close(ends[0]);
        return -EAGAIN;
    }
    if (ret_stdout)
        *ret_stdout = ends[0];
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

int child_end(pid_t pid, int signal)
{
    (void)kill(pid, signal);
    return wait_for(pid);
}

int child_run(const char *const *argv)
{
    pid_t pid = child_start(argv, NULL, NULL);
    int status;

    if (pid < 0)
        return 127;
    status = wait_for(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}
