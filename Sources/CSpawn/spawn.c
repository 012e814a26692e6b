#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

void cspawn_fail(const struct cspawn_plan *plan, int step, size_t index) {
    struct cspawn_report report = {.step = step, .error = errno, .index = (uint32_t)index};
    /* A pipe takes a message this small whole; nobody is left to hear of a failure to write it. */
    ssize_t ignored = write(plan->report, &report, sizeof report);
    (void)ignored;
    _exit(125);
}

static void reset_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &action, NULL); /* SIGKILL, SIGSTOP and libc's own refuse, which is fine */
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* /proc here is still the initramfs's: it shows this process whatever its PID namespace. */
static void set_oom_score(const struct cspawn_plan *plan) {
    if (!plan->set_oom_score) return;
    char text[16];
    int length = snprintf(text, sizeof text, "%d", plan->oom_score);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)length) != length) cspawn_fail(plan, CSPAWN_OOM_SCORE, 0);
    close(fd);
}

static _Noreturn void child(const struct cspawn_plan *plan) {
    reset_signals();
    set_oom_score(plan);
    if (plan->join_pidfd >= 0) {
        /* The PID namespace was joined by the parent. Joining the mount namespace also sets root and cwd to its root. */
        int flags = (int)(plan->namespaces & ~(uint64_t)CLONE_NEWPID);
        if (flags != 0 && setns(plan->join_pidfd, flags) < 0) cspawn_fail(plan, CSPAWN_JOIN, 0);
    } else {
        cspawn_make_root(plan);
        if (plan->hostname && sethostname(plan->hostname, strlen(plan->hostname)) < 0) {
            cspawn_fail(plan, CSPAWN_HOSTNAME, 0);
        }
        if (plan->domainname && setdomainname(plan->domainname, strlen(plan->domainname)) < 0) {
            cspawn_fail(plan, CSPAWN_DOMAINNAME, 0);
        }
        if (plan->hold) cspawn_hold_namespaces(plan);
    }
    cspawn_become_process(plan);
}

pid_t cspawn(const struct cspawn_plan *plan, int own_pid_namespace, int *pidfd) {
    struct clone_args args;
    memset(&args, 0, sizeof args);
    *pidfd = -1;
    args.flags = CLONE_PIDFD;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    args.exit_signal = SIGCHLD;
    if (plan->join_pidfd < 0) args.flags |= plan->namespaces;

    int joins_pid = plan->join_pidfd >= 0 && (plan->namespaces & CLONE_NEWPID);
    if (joins_pid && setns(plan->join_pidfd, CLONE_NEWPID) < 0) return -1;

    /* All signals stay blocked across the clone, so that no handler of the parent's ever runs in the child. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) child(plan);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);

    if (joins_pid && setns(own_pid_namespace, CLONE_NEWPID) < 0 && pid > 0) {
        /* Every later child would land in the container: better none than that. */
        error = errno;
        kill(pid, SIGKILL);
        pid = -1;
    }
    errno = error;
    return pid;
}

int cspawn_capability_set(cap_t capabilities, int flag, int capability) {
    cap_value_t value = (cap_value_t)capability;
    return cap_set_flag(capabilities, (cap_flag_t)flag, 1, &value, CAP_SET);
}

const char *cspawn_step_name(int step) {
    static const char *const names[] = {
        [CSPAWN_READY] = "prepare",
        [CSPAWN_JOIN] = "join namespaces",
        [CSPAWN_OOM_SCORE] = "set oom_score_adj",
        [CSPAWN_PROPAGATION] = "make mounts private",
        [CSPAWN_OPEN_ROOT] = "open root",
        [CSPAWN_MOUNT_TARGET] = "make mount target",
        [CSPAWN_MOUNT] = "mount",
        [CSPAWN_DEVICE] = "make device",
        [CSPAWN_LINK] = "make link",
        [CSPAWN_MASK] = "mask",
        [CSPAWN_READONLY_PATH] = "make read-only",
        [CSPAWN_MOVE_ROOT] = "move root",
        [CSPAWN_READONLY_ROOT] = "make root read-only",
        [CSPAWN_HOSTNAME] = "set hostname",
        [CSPAWN_DOMAINNAME] = "set domainname",
        [CSPAWN_SETSID] = "start session",
        [CSPAWN_STDIO] = "set standard descriptor",
        [CSPAWN_RLIMIT] = "set rlimit",
        [CSPAWN_CWD] = "set working directory",
        [CSPAWN_BOUNDING] = "drop from bounding set",
        [CSPAWN_GROUPS] = "set additional groups",
        [CSPAWN_GID] = "set gid",
        [CSPAWN_UID] = "set uid",
        [CSPAWN_CAPABILITIES] = "set capabilities",
        [CSPAWN_AMBIENT] = "raise ambient capability",
        [CSPAWN_NO_NEW_PRIVILEGES] = "set no_new_privs",
        [CSPAWN_CLOSE] = "close descriptors",
        [CSPAWN_EXEC] = "exec",
    };
    if (step < 0 || (size_t)step >= sizeof names / sizeof names[0] || !names[step]) return "unknown step";
    return names[step];
}
