/*
 * src/control/confine.h.
 *
 * A call that is not in the list is refused with EPERM, and the kernel notes it in its log (audit,
 * type 1326), where that is switched on: ringtail may be wrong about its list, and lines must not
 * be lost for that. In strict mode it ends the process.
 *
 * io_uring is not subject to filters of system calls; that is what the ring's own list is for. So
 * io_uring_setup, which would make another ring, is in no list.
 */
#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HAVE_SECCOMP
#include <seccomp.h>

#include "calls.h"
#endif

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#define PRIVILEGED_PORTS 1024

static const char on[] = "on", off[] = "off", failed[] = "failed", none[] = "none";

/* ---- privileges ---- */

/*
 * Of what it may have been started with. Output directories, the Engine's socket and keys for TLS
 * may belong to somebody else, and root without this right is nobody there. Files are never given
 * to others, so nothing is needed for that.
 */
static uint64_t kept_capabilities(const struct config *config)
{
    uint64_t kept = UINT64_C(1) << CAP_DAC_OVERRIDE;

    if (config->admin_port > 0 && config->admin_port < PRIVILEGED_PORTS)
        kept |= UINT64_C(1) << CAP_NET_BIND_SERVICE;
    return kept;
}

/* The C library has no functions for these two. */
static int get_capabilities(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int set_capabilities(const struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_capabilities(uint64_t kept)
{
    struct __user_cap_data_struct data[2];
    uint32_t more = 0;
    int r = get_capabilities(data);

    if (r < 0)
        return r;
    /* Who has no right to narrow the bound has none to gain from it either, as there are no new
     * privileges. */
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!(kept >> cap & 1))
            (void)prctl(PR_CAPBSET_DROP, cap);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t mask = (uint32_t)(kept >> (32 * i));

        more |= (data[i].permitted | data[i].effective | data[i].inheritable) & ~mask;
        data[i].permitted &= mask;
        data[i].effective &= mask;
        data[i].inheritable = 0;
    }
    /* Where nothing is left to drop the call may be forbidden. */
    return more ? set_capabilities(data) : 0;
}

/* ---- system calls ---- */

#ifdef HAVE_SECCOMP
/* A sanitizer looks for leaks from a process of its own that it makes at the end, and asks for the
 * bounds of stacks. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || __has_feature(address_sanitizer)
static const char *const calls_of_tools[] = {
    "dup2",      "getdents", "getppid",          "kill",        "lstat", "open",  "pipe",
    "prlimit64", "ptrace",   "process_vm_readv", "sigaltstack", "stat",  "wait4",
};
#else
static const char *const calls_of_tools[] = {NULL};
#endif

static int add_rules(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        int number = names[i] ? seccomp_syscall_resolve_name(names[i]) : __NR_SCMP_ERROR;

        /* A libseccomp that does not know a call is older than whoever would make it. */
        if (number != __NR_SCMP_ERROR)
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
    }
    return r;
}

static int add_all_rules(scmp_filter_ctx filter)
{
    int r = add_rules(filter, calls_allowed, ARRAY_SIZE(calls_allowed));

    if (r == 0)
        r = add_rules(filter, calls_of_tools, ARRAY_SIZE(calls_of_tools));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CALLS_CLONE_FLAGS_REFUSED, 0));
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone3), 0);
    for (size_t i = 0; i < ARRAY_SIZE(calls_socket_families) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)calls_socket_families[i], 0));
    return r;
}

/* For all threads, also those of libraries. `noted`: the kernel notes what it refuses. */
static int load_filter(scmp_filter_ctx filter, bool noted)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

    if (r < 0)
        return r;
    /* Fine without: notes (4.14), and a search in place of a list. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, noted);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return seccomp_load(filter);
}

/* The C library asks for clone3 with every thread that it makes, and then for clone. That would be
 * noted each time, so it has a filter of its own; the strictest answer of all filters counts. */
static int hide_clone3(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r;

    if (!filter)
        return -ENOMEM;
    r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (r == 0)
        r = load_filter(filter, false);
    seccomp_release(filter);
    return r;
}

static int filter_calls(bool strict)
{
    scmp_filter_ctx filter = seccomp_init(strict ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    int r = filter ? add_all_rules(filter) : -ENOMEM;

    if (r == 0)
        r = hide_clone3();
    if (r == 0)
        r = load_filter(filter, true);
    seccomp_release(filter);
    return r == -EOPNOTSUPP ? -ENOSYS : r; /* of the kernel, not of this build */
}
#else
static int filter_calls(bool strict)
{
    return -EOPNOTSUPP;
}
#endif

/* ---- steps ---- */

/* Returns what the start is to fail with. */
static int take_step(const struct config *config, int r, const char *what, const char **ret)
{
    bool strict = config->run_confine == CONFINE_STRICT;

    *ret = r == 0 ? on : r == -EOPNOTSUPP ? none : failed;
    if (r == 0)
        return 0;
    if (strict)
        log_error("Confinement failed", LOG_STR("what", what), LOG_ERRNO(r));
    else if (r != -EOPNOTSUPP)
        log_warn("Confinement failed, going on without it", LOG_STR("what", what), LOG_ERRNO(r));
    return strict ? r : 0;
}

int confine_privileges(struct confinement *c, const struct config *config, const struct ring *ring)
{
    int ring_error = ring_confine_error(ring), r = 0;

    *c = (struct confinement){.ring = off, .privileges = off, .capabilities = off, .calls = off};
    if (config->run_confine == CONFINE_OFF)
        return 0;
    if (ring_error == -EOPNOTSUPP)
        c->ring = none; /* the filter of system calls covers all that there is */
    else
        r = take_step(config, ring_error, "ring", &c->ring);
    if (r == 0)
        r = take_step(config, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0,
                      "no_new_privs", &c->privileges);
    if (r == 0)
        r = take_step(config, drop_capabilities(kept_capabilities(config)), "capabilities",
                      &c->capabilities);
    return r;
}

int confine_calls(struct confinement *c, const struct config *config)
{
    int r;

    if (config->run_confine == CONFINE_OFF)
        return 0;
    r = take_step(config, filter_calls(config->run_confine == CONFINE_STRICT), "system calls",
                  &c->calls);
    if (r == 0)
        log_info("Confined", LOG_STR("ring", c->ring), LOG_STR("no_new_privs", c->privileges),
                 LOG_STR("capabilities", c->capabilities), LOG_STR("system_calls", c->calls));
    return r;
}
