#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* PID 1's descriptors include the ends of other processes' streams: a copy that waits here would keep those open. */
static void close_others(const struct cspawn_plan *plan) {
    unsigned int first = 3;
    for (size_t i = 0; i <= plan->kept_count; i++) {
        unsigned int end = i < plan->kept_count ? (unsigned int)plan->kept[i] : ~0U;
        if (end < first) continue;
        if (end > first && syscall(SYS_close_range, first, i < plan->kept_count ? end - 1 : end, 0) < 0) {
            cspawn_fail(plan, CSPAWN_CLOSE, 0);
        }
        first = end + 1;
    }
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

/* /proc here is still PID 1's: it shows this process whatever its PID namespace. */
static void set_oom_score(const struct cspawn_plan *plan) {
    if (!plan->set_oom_score) return;
    char text[16];
    int length = snprintf(text, sizeof text, "%d", plan->oom_score);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)length) != length) cspawn_fail(plan, CSPAWN_OOM_SCORE, 0);
    close(fd);
}

/* Opened here for the same reason, and because nothing of the container's can stand in this /proc's place. */
static void open_labels(const struct cspawn_plan *plan, int *labels) {
    if (!plan->process) return;
    for (size_t i = 0; i < plan->process->label_count && i < CSPAWN_LABELS; i++) {
        labels[i] = open(plan->process->labels[i].path, O_WRONLY | O_CLOEXEC);
        if (labels[i] < 0) cspawn_fail(plan, CSPAWN_LABEL, i);
    }
}

static _Noreturn void child(const struct cspawn_plan *plan) {
    int labels[CSPAWN_LABELS];
    close_others(plan);
    reset_signals();
    set_oom_score(plan);
    open_labels(plan, labels);
    if (plan->process && plan->process->initial_affinity &&
        syscall(SYS_sched_setaffinity, 0, plan->process->affinity_size, plan->process->initial_affinity) < 0) {
        cspawn_fail(plan, CSPAWN_AFFINITY, 0);
    }
    if (plan->join_pidfd >= 0) {
        /* The PID namespace was joined by the parent. Joining the mount namespace also sets root and cwd to its root. */
        int flags = (int)(plan->namespaces & ~(uint64_t)CLONE_NEWPID);
        if (flags != 0 && setns(plan->join_pidfd, flags) < 0) cspawn_fail(plan, CSPAWN_JOIN, 0);
        close(plan->join_pidfd);
        if (plan->namespaces & CLONE_NEWUSER) cspawn_become_user_root(plan);
    }
    if (plan->root) {
        cspawn_set_up_namespaces(plan);
        int root = cspawn_mount_root(plan);
        if (plan->root->pause_before_enter) {
            cspawn_tell(plan, CSPAWN_ROOT_MOUNTED, -1);
            cspawn_await_parent(plan);
        }
        cspawn_enter_root(plan, root);
    }
    if (plan->hold) cspawn_hold_namespaces(plan);
    if (plan->pause_before_exec) {
        cspawn_tell(plan, CSPAWN_READY, -1);
        cspawn_await_parent(plan);
    }
    if (plan->hook) cspawn_monitor_hook(plan);
    cspawn_become_process(plan, labels);
}

/* clone3(2) of a child that no handler of the parent's runs in, and that nobody can look into. */
static pid_t clone_child(uint64_t flags, int cgroup, int *pidfd, sigset_t *before, int *dumpable) {
    struct clone_args args;
    memset(&args, 0, sizeof args);
    *pidfd = -1;
    args.flags = CLONE_PIDFD | flags;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    args.exit_signal = SIGCHLD;
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, before);
    /* Inherited, and taken back below: a copy of PID 1's memory stands in the container until it executes something. */
    *dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void restore(const sigset_t *before, int dumpable) {
    if (dumpable == 1) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    sigprocmask(SIG_SETMASK, before, NULL);
}

pid_t cspawn(const struct cspawn_plan *plan, int own_pid_namespace, int *pidfd) {
    *pidfd = -1;
    int joins_pid = plan->join_pidfd >= 0 && (plan->namespaces & CLONE_NEWPID);
    if (joins_pid && setns(plan->join_pidfd, CLONE_NEWPID) < 0) return -1;

    sigset_t before;
    int dumpable;
    pid_t pid = clone_child(plan->join_pidfd < 0 ? plan->namespaces : 0, plan->cgroup, pidfd, &before, &dumpable);
    if (pid == 0) child(plan);
    int error = errno;
    restore(&before, dumpable);

    if (joins_pid && setns(own_pid_namespace, CLONE_NEWPID) < 0 && pid > 0) {
        /* Every later child would land in the container: better none than that. */
        error = errno;
        kill(pid, SIGKILL);
        close(*pidfd);
        *pidfd = -1;
        pid = -1;
    }
    errno = error;
    return pid;
}

pid_t cspawn_user_namespace(int *pidfd) {
    sigset_t before;
    int dumpable;
    pid_t pid = clone_child(CLONE_NEWUSER, -1, pidfd, &before, &dumpable);
    if (pid == 0) {
        syscall(SYS_close_range, 0, ~0U, 0);
        for (;;) pause();
    }
    int error = errno;
    restore(&before, dumpable);
    errno = error;
    return pid;
}

int cspawn_capability_set(cap_t capabilities, int flag, int capability) {
    cap_value_t value = (cap_value_t)capability;
    return cap_set_flag(capabilities, (cap_flag_t)flag, 1, &value, CAP_SET);
}
