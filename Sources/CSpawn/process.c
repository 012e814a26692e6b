#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Moves the three standard descriptors into place; first out of the way of one another. */
static void set_standard_descriptors(const struct cspawn_plan *plan) {
    int high[3];
    for (int i = 0; i < 3; i++) {
        high[i] = fcntl(plan->standard[i], F_DUPFD_CLOEXEC, 10);
        if (high[i] < 0) cspawn_fail(plan, CSPAWN_STDIO, (size_t)i);
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(high[i], i) < 0) cspawn_fail(plan, CSPAWN_STDIO, (size_t)i);
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

/* Keeps errno: it is asked for after a failure. */
static int exists(const char *path) {
    int error = errno;
    struct stat status;
    int result = stat(path, &status) == 0;
    errno = error;
    return result;
}

/* execvp(3)'s search, in the container's own PATH, with the errors told apart: a file that exists but may not be
 * executed is EACCES (exit code 126) even if later directories lack it (127). */
static size_t execute(const struct cspawn_plan *plan) {
    char *const *argv = (char *const *)plan->argv;
    char *const *envp = (char *const *)plan->envp;
    const char *name = plan->argv[0];
    if (*name == 0) {
        errno = ENOENT;
        return 0;
    }
    if (strchr(name, '/')) {
        execve(name, argv, envp);
        return errno == ENOENT && exists(name);
    }
    size_t name_length = strlen(name);
    int worst = ENOENT;
    const char *directory = plan->search_path;
    for (;;) {
        const char *end = strchrnul(directory, ':');
        size_t length = (size_t)(end - directory);
        char path[PATH_MAX];
        if (length + 1 + name_length < sizeof path) {
            /* An empty entry means the working directory. */
            memcpy(path, length ? directory : ".", length ? length : 1);
            size_t at = length ? length : 1;
            path[at] = '/';
            memcpy(path + at + 1, name, name_length + 1);
            struct stat status;
            int is_directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
            if (!is_directory) {
                execve(path, argv, envp);
                if (errno != ENOENT && errno != ENOTDIR) {
                    if (errno != EACCES) return 0;
                    worst = EACCES;
                } else if (errno == ENOENT && exists(path)) {
                    return 1;
                }
            }
        }
        if (*end == 0) break;
        directory = end + 1;
    }
    errno = worst;
    return 0;
}

void cspawn_become_process(const struct cspawn_plan *plan) {
    if (setsid() < 0 && errno != EPERM) cspawn_fail(plan, CSPAWN_SETSID, 0);
    set_standard_descriptors(plan);
    for (size_t i = 0; i < plan->rlimit_count; i++) {
        if (setrlimit((__rlimit_resource_t)plan->rlimits[i].resource, &plan->rlimits[i].limit) < 0) {
            cspawn_fail(plan, CSPAWN_RLIMIT, i);
        }
    }
    /* The working directory while still root: it may have to be made; what the user may not enter, it is given. */
    if (change_directory(plan->cwd) < 0) cspawn_fail(plan, CSPAWN_CWD, 0);
    umask(plan->umask);

    /* The bounding set goes first: dropping from it takes CAP_SETPCAP, which goes with the rest. */
    for (int capability = 0; capability <= plan->last_capability; capability++) {
        if (!(plan->bounding >> capability & 1) && cap_drop_bound((cap_value_t)capability) < 0) {
            cspawn_fail(plan, CSPAWN_BOUNDING, (size_t)capability);
        }
    }
    /* setuid(2) from 0 would clear the permitted set before the wanted one is put in place. */
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    /* Groups before the user: afterwards there is no right to set them. The raw calls: libc's would look for threads. */
    if (syscall(SYS_setgroups, plan->group_count, plan->groups) < 0) cspawn_fail(plan, CSPAWN_GROUPS, 0);
    if (syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) < 0) cspawn_fail(plan, CSPAWN_GID, 0);
    if (syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) < 0) cspawn_fail(plan, CSPAWN_UID, 0);
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    if (cap_set_proc(plan->capabilities) < 0) cspawn_fail(plan, CSPAWN_CAPABILITIES, 0);
    /* Ambient ones last: each must already be permitted and inheritable (capabilities(7)). */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) cspawn_fail(plan, CSPAWN_AMBIENT, 0);
    for (int capability = 0; capability <= plan->last_capability; capability++) {
        if ((plan->ambient >> capability & 1) && cap_set_ambient((cap_value_t)capability, CAP_SET) < 0) {
            cspawn_fail(plan, CSPAWN_AMBIENT, (size_t)capability);
        }
    }
    if (plan->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        cspawn_fail(plan, CSPAWN_NO_NEW_PRIVILEGES, 0);
    }
    /* Close-on-exec rather than close: the report has to outlive everything but a successful exec. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) cspawn_fail(plan, CSPAWN_CLOSE, 0);
    size_t interpreter_missing = execute(plan);
    cspawn_fail(plan, CSPAWN_EXEC, interpreter_missing);
}
