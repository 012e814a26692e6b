/* What the process is: streams, limits, identity; then execve(2). */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Moves the three standard descriptors into place; first out of the way of one another. */
static void set_standard_descriptors(const struct cspawn_plan *plan, int terminal) {
    int high[3];
    for (int i = 0; i < 3; i++) {
        high[i] = fcntl(terminal >= 0 ? terminal : plan->streams.standard[i], F_DUPFD_CLOEXEC, 10);
        if (high[i] < 0) cspawn_fail(plan, CSPAWN_STDIO, (size_t)i);
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(high[i], i) < 0) cspawn_fail(plan, CSPAWN_STDIO, (size_t)i);
        struct stat status;
        /* The process may open its pipes again, by /dev/stdout: so they are its own. Where it has no number outside its user
         * namespace it cannot own them. */
        if (!plan->process->keep_identity && fstat(i, &status) == 0 && S_ISFIFO(status.st_mode) &&
            fchown(i, plan->process->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL) {
            cspawn_fail(plan, CSPAWN_STDIO, (size_t)i);
        }
    }
}

/* As runc does: a working directory that the image lacks is made (mode 0755, root's), not refused. */
static int change_directory(const char *path) {
    if (chdir(path) == 0) return 0;
    if (errno != ENOENT) return -1;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -1;
    int directory = cspawn_make_in_root(root, path, 0);
    return directory < 0 ? -1 : fchdir(directory);
}

/* How the kernel runs it; all of it while still root. */
static void set_execution(const struct cspawn_plan *plan) {
    const struct cspawn_process *p = plan->process;
    if (p->personality && personality(*p->personality) < 0) cspawn_fail(plan, CSPAWN_PERSONALITY, 0);
    if (p->io_priority >= 0 && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, p->io_priority) < 0) {
        cspawn_fail(plan, CSPAWN_IO_PRIORITY, 0);
    }
    /* Affinity before the scheduler: a deadline task must not have one. */
    if (p->affinity && syscall(SYS_sched_setaffinity, 0, p->affinity_size, p->affinity) < 0) {
        cspawn_fail(plan, CSPAWN_AFFINITY, 1);
    }
    if (p->scheduler && syscall(SYS_sched_setattr, 0, p->scheduler, 0) < 0) cspawn_fail(plan, CSPAWN_SCHEDULER, 0);
    for (size_t i = 0; i < p->rlimit_count; i++) {
        if (setrlimit((__rlimit_resource_t)p->rlimits[i].resource, &p->rlimits[i].limit) < 0) cspawn_fail(plan, CSPAWN_RLIMIT, i);
    }
}

static void install_filter(const struct cspawn_plan *plan) {
    const struct cspawn_process *p = plan->process;
    if (!p->filter) return;
    struct sock_fprog program = {.len = (unsigned short)p->filter_count, .filter = (struct sock_filter *)p->filter};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, p->filter_flags, &program) != 0) cspawn_fail(plan, CSPAWN_SECCOMP, 0);
}

static void set_identity(const struct cspawn_plan *plan) {
    const struct cspawn_process *p = plan->process;
    /* The bounding set goes first: dropping from it takes CAP_SETPCAP, which goes with the rest. */
    for (int capability = 0; capability <= p->last_capability; capability++) {
        if (!(p->bounding >> capability & 1) && cap_drop_bound((cap_value_t)capability) < 0) {
            cspawn_fail(plan, CSPAWN_BOUNDING, (size_t)capability);
        }
    }
    /* setuid(2) from 0 would clear the permitted set before the wanted one is put in place. */
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    /* Groups before the user: afterwards there is no right to set them. The raw calls: libc's would look for threads. */
    if (syscall(SYS_setgroups, p->group_count, p->groups) < 0) cspawn_fail(plan, CSPAWN_GROUPS, 0);
    if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0) cspawn_fail(plan, CSPAWN_GID, 0);
    if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0) cspawn_fail(plan, CSPAWN_UID, 0);
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    if (cap_set_proc(p->capabilities) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    /* Ambient ones last: each must already be permitted and inheritable (capabilities(7)). */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_AMBIENT, 0);
    for (int capability = 0; capability <= p->last_capability; capability++) {
        if ((p->ambient >> capability & 1) && cap_set_ambient((cap_value_t)capability, CAP_SET) < 0) {
            cspawn_fail(plan, CSPAWN_AMBIENT, (size_t)capability);
        }
    }
    if (p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_NO_NEW_PRIVILEGES, 0);
}

void cspawn_become_process(const struct cspawn_plan *plan, const int *labels) {
    const struct cspawn_process *p = plan->process;
    /* A hook stays in its monitor's session, and so in the process group that ends with it. */
    if (!plan->hook && setsid() < 0 && errno != EPERM) cspawn_fail(plan, CSPAWN_SETSID, 0);
    set_standard_descriptors(plan, plan->streams.terminal ? cspawn_make_terminal(plan) : -1);
    /* The working directory while still root: it may have to be made; what the user may not enter, it is given. */
    if (change_directory(p->cwd) < 0) cspawn_fail(plan, CSPAWN_CWD, 0);
    if (!p->keep_identity) {
        umask(p->umask);
        set_execution(plan);
        for (size_t i = 0; i < p->label_count && i < CSPAWN_LABELS; i++) {
            size_t length = strlen(p->labels[i].text);
            if (write(labels[i], p->labels[i].text, length) != (ssize_t)length) cspawn_fail(plan, CSPAWN_LABEL, i);
        }
    }
    /* Close-on-exec rather than close: the report has to outlive everything but a successful exec. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) cspawn_fail(plan, CSPAWN_CLOSE, 0);
    if (!p->keep_identity) {
        /* Without no_new_privs a filter takes CAP_SYS_ADMIN, and so has to be installed before the capabilities go: then it
         * must allow what follows. With it, it is the last thing of all. */
        if (!p->no_new_privileges) install_filter(plan);
        set_identity(plan);
    }
    cspawn_tell(plan, CSPAWN_EXECUTING, -1);
    if (!p->keep_identity && p->no_new_privileges) install_filter(plan);
    size_t interpreter_missing = cspawn_execute(p);
    cspawn_fail(plan, CSPAWN_EXEC, interpreter_missing);
}
