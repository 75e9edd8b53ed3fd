/* Between fork and exec only async-signal-safe calls are made: the simulated Engine has a thread.
 */
#include "support/ringtail_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#define TAIL_BYTES 6000
/* No test writes as much into one file; a ringtail that goes wild must not fill the disk. */
#define FILE_BYTES_MAX (UINT64_C(2) << 30)

static bool refuse_io_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Who is not root cannot drop these, and does not have them. */
static void drop_file_capabilities(void)
{
    (void)prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
    (void)prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
}

static void child(const struct ringtail_how *how, const char *program, char *const *argv, int out,
                  int err, pid_t parent)
{
    struct rlimit file_size = {.rlim_cur = FILE_BYTES_MAX, .rlim_max = FILE_BYTES_MAX};
    sigset_t none;
    int null;

    /* A test that dies must not leave a ringtail behind. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(125);
    setpgid(0, 0);
    (void)setrlimit(RLIMIT_FSIZE, &file_size);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(err, STDERR_FILENO) < 0)
        _exit(125);
    close(null);
    if (how->plain_user)
        drop_file_capabilities();
    if (how->io_uring_errno && !refuse_io_uring(how->io_uring_errno))
        _exit(125);
    execv(program, argv);
    _exit(127);
}

/* Behind "run", so that a test may still ask for something else. Strict, since a call that is
 * missing in the list has to fail a test. */
static const char *confine_setting(void)
{
    static char setting[64];
    const char *mode = getenv("RINGTAIL_TEST_CONFINE");

    snprintf(setting, sizeof setting, "run.confine=%s", mode ? mode : CONFINE_MODE);
    return setting;
}

int ringtail_proc_start(const struct ringtail_how *how, struct ringtail_proc *ret)
{
    struct ringtail_proc p = {0};
    const char *program = getenv("RINGTAIL_BIN");
    const char *argv[72] = {"ringtail"};
    pid_t parent = getpid();
    size_t argc = 1;
    int out, err, r = 0;

    if (!program)
        return -ENOENT;
    for (size_t i = 0; how->args[i]; i++) {
        if (argc >= ARRAY_SIZE(argv) - 3)
            return -E2BIG;
        argv[argc++] = how->args[i];
        if (i == 0 && strcmp(how->args[0], "run") == 0) {
            argv[argc++] = "--set";
            argv[argc++] = confine_setting();
        }
    }
    snprintf(p.log_path, sizeof p.log_path, "%s/log", how->directory);
    snprintf(p.stdout_path, sizeof p.stdout_path, "%s/stdout", how->directory);
    out = open(p.stdout_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    err = open(p.log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0 || err < 0) {
        r = -errno;
    } else {
        p.pid = fork();
        if (p.pid == 0)
            child(how, program, (char *const *)(uintptr_t)argv, out, err, parent);
        if (p.pid < 0)
            r = -errno;
    }
    if (out >= 0)
        close(out);
    if (err >= 0)
        close(err);
    if (r == 0)
        *ret = p;
    return r;
}

bool ringtail_proc_poll(struct ringtail_proc *p)
{
    int status;

    if (!p->ended && p->pid > 0 && waitpid(p->pid, &status, WNOHANG) == p->pid) {
        p->ended = true;
        p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return p->ended;
}

void ringtail_proc_signal(const struct ringtail_proc *p, int signal)
{
    if (p->pid > 0 && !p->ended)
        (void)kill(p->pid, signal);
}

void ringtail_proc_read_log(struct ringtail_proc *p)
{
    int fd = open(p->log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return;
    do {
        n = buf_reserve(&p->log, 65536) == 0
                ? pread(fd, p->log.data + p->log.len, 65536, (off_t)p->log.len)
                : -1;
        if (n > 0)
            p->log.len += (size_t)n;
    } while (n > 0);
    close(fd);
}

/* The next whole line of the log from *at on; false at the end. */
static bool log_next(const struct ringtail_proc *p, size_t *at, struct slice *ret)
{
    const char *start, *end;

    if (*at >= p->log.len)
        return false;
    start = p->log.data + *at;
    end = memchr(start, '\n', p->log.len - *at);
    if (!end)
        return false;
    *ret = slice_of(start, (size_t)(end - start));
    *at += ret->len + 1;
    return true;
}

static bool has(struct slice line, const char *needle)
{
    return memmem(line.data, line.len, needle, strlen(needle)) != NULL;
}

size_t ringtail_proc_log_count(struct ringtail_proc *p, const char *message, const char *needle)
{
    char quoted[256];
    struct slice line;
    size_t at = 0, count = 0;

    snprintf(quoted, sizeof quoted, "\"%s\"", message);
    ringtail_proc_read_log(p);
    while (log_next(p, &at, &line))
        if (has(line, quoted) && (!needle || has(line, needle)))
            count++;
    return count;
}

int64_t ringtail_proc_log_number(struct ringtail_proc *p, const char *message, const char *key)
{
    char quoted[256], member[128], copy[32];
    struct slice line;
    size_t at = 0;
    int64_t found = -1;

    snprintf(quoted, sizeof quoted, "\"%s\"", message);
    snprintf(member, sizeof member, "\"%s\":", key);
    ringtail_proc_read_log(p);
    while (log_next(p, &at, &line)) {
        const char *hit = memmem(line.data, line.len, member, strlen(member));
        size_t left;

        if (!hit || !has(line, quoted))
            continue;
        hit += strlen(member);
        left = line.len - (size_t)(hit - line.data);
        snprintf(copy, sizeof copy, "%.*s", (int)MIN(left, sizeof copy - 1), hit);
        found = strtoll(copy, NULL, 10);
    }
    return found;
}

bool ringtail_proc_has_report(struct ringtail_proc *p)
{
    static const char *const signs[] = {"AddressSanitizer", "LeakSanitizer",  "ThreadSanitizer",
                                        "MemorySanitizer",  "runtime error:", "Assertion"};

    ringtail_proc_read_log(p);
    for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
        if (has(buf_slice(&p->log), signs[i]))
            return true;
    return false;
}

void ringtail_proc_print_tail(struct ringtail_proc *p)
{
    size_t from;

    ringtail_proc_read_log(p);
    from = p->log.len > TAIL_BYTES ? p->log.len - TAIL_BYTES : 0;
    fprintf(stderr, "--- the end of ringtail's log (pid %d, %s) ---\n%.*s\n--- end ---\n",
            (int)p->pid, p->ended ? "ended" : "running", (int)(p->log.len - from),
            p->log.data ? p->log.data + from : "");
}

long ringtail_proc_descriptors(const struct ringtail_proc *p)
{
    char path[64];
    long count = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)p->pid);
    dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (e->d_name[0] != '.')
            count++;
    closedir(dir);
    return count;
}

long ringtail_proc_rss_kib(const struct ringtail_proc *p)
{
    char path[64], line[256];
    long kib = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    file = fopen(path, "re");
    if (!file)
        return -1;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    fclose(file);
    return kib;
}

static bool is_file_worker(pid_t pid, const char *thread)
{
    char path[320], name[32] = "";
    FILE *file;
    bool is_worker;

    snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, thread);
    file = fopen(path, "re");
    if (!file)
        return true; /* ended just now, as ringtail's other ones never do before it ends */
    is_worker = fgets(name, sizeof name, file) &&
                (strncmp(name, "iou-wrk-", 8) == 0 || strncmp(name, "ring-worker", 11) == 0);
    fclose(file);
    return is_worker;
}

long ringtail_proc_threads(const struct ringtail_proc *p)
{
    char path[64];
    long count = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)p->pid);
    dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        if (e->d_name[0] != '.' && !is_file_worker(p->pid, e->d_name))
            count++;
    closedir(dir);
    return count;
}

void ringtail_proc_finish(struct ringtail_proc *p)
{
    if (p->pid > 0 && !p->ended) {
        /* The group may not be there yet: the child makes it. */
        if (kill(-p->pid, SIGKILL) < 0)
            (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
    }
    buf_finish(&p->log);
    *p = (struct ringtail_proc){0};
}
