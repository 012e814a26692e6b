/*
 * CSpawn: from clone to exec.
 *
 * Between clone(2) and execve(2) a child may only do what is async-signal-safe, and Swift promises nothing of that
 * kind.  So everything is decided, resolved and allocated before (by the Swift module Container), handed over as the
 * plain data below, and carried out here by system calls alone.
 *
 * One description serves three kinds of child:
 *   - the container process as PID 1 of new namespaces                  (join_pidfd < 0, hold == 0)
 *   - the namespaces' init, which mounts the root, then only reaps      (join_pidfd < 0, hold == 1)
 *   - a process inside the namespaces of an init made before            (join_pidfd >= 0)
 */
#ifndef CSPAWN_H
#define CSPAWN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* the same view of libc as CLinux has */
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/types.h>

/* The step at which a child failed; the report carries it with errno and the index of the item it worked on. */
enum cspawn_step {
    CSPAWN_READY = 0, /* no failure: the namespaces' init has mounted everything */
    CSPAWN_JOIN,
    CSPAWN_OOM_SCORE,
    CSPAWN_PROPAGATION,
    CSPAWN_OPEN_ROOT,
    CSPAWN_MOUNT_TARGET,
    CSPAWN_MOUNT,
    CSPAWN_DEVICE,
    CSPAWN_LINK,
    CSPAWN_MASK,
    CSPAWN_READONLY_PATH,
    CSPAWN_MOVE_ROOT,
    CSPAWN_READONLY_ROOT,
    CSPAWN_HOSTNAME,
    CSPAWN_DOMAINNAME,
    CSPAWN_SETSID,
    CSPAWN_STDIO,
    CSPAWN_RLIMIT,
    CSPAWN_CWD,
    CSPAWN_BOUNDING,
    CSPAWN_GROUPS,
    CSPAWN_GID,
    CSPAWN_UID,
    CSPAWN_CAPABILITIES,
    CSPAWN_AMBIENT,
    CSPAWN_NO_NEW_PRIVILEGES,
    CSPAWN_CLOSE,
    CSPAWN_EXEC,
};

struct cspawn_report {
    int32_t step;
    int32_t error;
    uint32_t index; /* for CSPAWN_EXEC: 1 if the file itself exists, and so its interpreter is what is missing */
};

struct cspawn_mount {
    const char *source;        /* may be NULL */
    const char *target;        /* path inside the container's root */
    const char *type;          /* NULL for a bind mount, or where only `propagation` is to be set */
    const char *data;          /* file system's own options, may be NULL */
    unsigned long flags;       /* MS_* for mount(2); MS_BIND makes a bind mount */
    unsigned long propagation; /* MS_SHARED, MS_SLAVE, ... [| MS_REC], or 0 */
};

struct cspawn_device {
    const char *path; /* inside the container's root */
    mode_t mode;      /* type and permissions */
    dev_t device;
};

struct cspawn_link {
    const char *path; /* inside the container's root */
    const char *target;
};

struct cspawn_rlimit {
    int resource;
    struct rlimit limit;
};

struct cspawn_plan {
    /* where the process lives */
    int join_pidfd;          /* process whose namespaces to join, or -1 to make new ones */
    uint64_t namespaces;     /* CLONE_NEW* to make, or to join */
    int hold;                /* stay as the namespaces' init instead of executing anything */
    const char *root;        /* mounted root file system, in PID 1's view */
    int root_readonly;
    const struct cspawn_mount *mounts;
    size_t mount_count;
    const struct cspawn_device *devices;
    size_t device_count;
    const struct cspawn_link *links;
    size_t link_count;
    const char *const *masked_paths;
    size_t masked_path_count;
    const char *const *readonly_paths;
    size_t readonly_path_count;
    const char *hostname;   /* may be NULL */
    const char *domainname; /* may be NULL */

    /* what it runs as */
    const char *const *argv; /* NULL-terminated */
    const char *const *envp; /* NULL-terminated */
    const char *search_path; /* the container's PATH, for an argv[0] without a slash */
    const char *cwd;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
    mode_t umask;
    const struct cspawn_rlimit *rlimits;
    size_t rlimit_count;
    int set_oom_score;
    int oom_score;
    int no_new_privileges;
    uint64_t bounding;     /* bit n: capability n stays in the bounding set */
    uint64_t ambient;      /* bit n: capability n is raised in the ambient set */
    int last_capability;   /* highest capability the kernel knows */
    cap_t capabilities;    /* effective, permitted and inheritable sets */
    int standard[3];       /* become descriptors 0, 1 and 2 */

    int report; /* write end of a close-on-exec pipe for struct cspawn_report */
};

/*
 * Makes the child.  Returns its PID, as the caller sees it, and its close-on-exec pidfd; or -1 with errno.
 * `own_pid_namespace` is an open /proc/self/ns/pid: joining a PID namespace is done by the parent for its next child
 * (setns(2)), and has to be taken back at once.
 */
pid_t cspawn(const struct cspawn_plan *plan, int own_pid_namespace, int *pidfd);

/* The name of a step, for people: "mount", "set working directory". */
const char *cspawn_step_name(int step);

/* Capabilities: cap_t is a pointer to an opaque struct that free(3) must not see, and cap_set_flag(3) wants an array. */
int cspawn_capability_set(cap_t capabilities, int flag, int capability);

#endif
