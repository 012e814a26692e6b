/* What the new namespaces themselves hold: mappings, names, clocks, kernel settings. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Writes a small file in one write(2), as the files of /proc want it. */
static int write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    size_t length = strlen(text);
    ssize_t count = write(fd, text, length);
    int error = count < 0 ? errno : EIO;
    close(fd);
    errno = error;
    return count == (ssize_t)length ? 0 : -1;
}

void cspawn_become_user_root(const struct cspawn_plan *plan) {
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0) {
        cspawn_fail(plan, CSPAWN_USER_ROOT, 0);
    }
}

/* The offsets can be set only until the first process is in the namespace: unshare(2) does not enter it, clone3(2) would. */
static void make_time_namespace(const struct cspawn_plan *plan) {
    if (unshare(CLONE_NEWTIME) < 0) cspawn_fail(plan, CSPAWN_TIME_NAMESPACE, 0);
    if (*plan->root->time_offsets && write_file("/proc/self/timens_offsets", plan->root->time_offsets) < 0) {
        cspawn_fail(plan, CSPAWN_TIME_NAMESPACE, 0);
    }
    int made = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    /* Entered, because others join the namespace that this process is in. */
    if (made < 0 || setns(made, CLONE_NEWTIME) < 0) cspawn_fail(plan, CSPAWN_TIME_NAMESPACE, 0);
    close(made);
}

void cspawn_set_up_namespaces(const struct cspawn_plan *plan) {
    const struct cspawn_root *root = plan->root;
    /* Here and not by clone3(2), which would take the parent's cgroup for the namespace's root. */
    if (root->separate_cgroups && unshare(CLONE_NEWCGROUP) < 0) cspawn_fail(plan, CSPAWN_CGROUP_NAMESPACE, 0);
    if (root->time_offsets) make_time_namespace(plan);
    if (root->hostname && sethostname(root->hostname, strlen(root->hostname)) < 0) cspawn_fail(plan, CSPAWN_HOSTNAME, 0);
    if (root->domainname && setdomainname(root->domainname, strlen(root->domainname)) < 0) {
        cspawn_fail(plan, CSPAWN_DOMAINNAME, 0);
    }
    /* Through PID 1's /proc: what a setting means is decided by the namespaces of whoever writes it. */
    for (size_t i = 0; i < root->sysctl_count; i++) {
        if (write_file(root->sysctls[i].path, root->sysctls[i].value) < 0) cspawn_fail(plan, CSPAWN_SYSCTL, i);
    }
    if (plan->namespaces & CLONE_NEWUSER) {
        cspawn_tell(plan, CSPAWN_NAMESPACES, -1);
        cspawn_await_parent(plan);
        cspawn_become_user_root(plan);
    }
}
