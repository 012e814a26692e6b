/* The steps of a child, by number: at which it failed, or how far it is. */
#ifndef CSPAWN_STEPS_H
#define CSPAWN_STEPS_H

enum cspawn_step {
    /* No failures. */
    CSPAWN_READY = 0,     /* the root is made and entered */
    CSPAWN_NAMESPACES,    /* the new user namespace waits for its mappings, and for a byte */
    CSPAWN_ROOT_MOUNTED,  /* everything is mounted; waits for a byte before the root becomes `/` */
    CSPAWN_TERMINAL_MADE, /* the master of the process's terminal comes with this */
    CSPAWN_EXECUTING,     /* only the filter and execve(2) are left */
    CSPAWN_HOOK_ENDED,    /* the report's error is the wait status */

    /* The first step that can fail. */
    CSPAWN_CLOSE,
    CSPAWN_OOM_SCORE,
    CSPAWN_LABEL,
    CSPAWN_JOIN,
    CSPAWN_USER_ROOT,
    CSPAWN_CGROUP_NAMESPACE,
    CSPAWN_TIME_NAMESPACE,
    CSPAWN_HOSTNAME,
    CSPAWN_DOMAINNAME,
    CSPAWN_SYSCTL,
    CSPAWN_PROPAGATION,
    CSPAWN_OPEN_ROOT,
    CSPAWN_MOUNT_TARGET,
    CSPAWN_TARGET_IS_LINK,
    CSPAWN_TARGET_IS_ROOT,
    CSPAWN_MOUNT,
    CSPAWN_MOUNT_PROPAGATION,
    CSPAWN_MOUNT_ATTRIBUTES,
    CSPAWN_MOUNT_ID_MAP,
    CSPAWN_DEVICE,
    CSPAWN_LINK,
    CSPAWN_MASK,
    CSPAWN_READONLY_PATH,
    CSPAWN_MOVE_ROOT,
    CSPAWN_READONLY_ROOT,
    CSPAWN_ROOT_PROPAGATION,
    CSPAWN_SETSID,
    CSPAWN_TERMINAL,
    CSPAWN_TERMINAL_OWNER,
    CSPAWN_TERMINAL_SIZE,
    CSPAWN_TERMINAL_MODES,
    CSPAWN_CONSOLE,
    CSPAWN_CONTROLLING_TERMINAL,
    CSPAWN_STDIO,
    CSPAWN_CWD,
    CSPAWN_PERSONALITY,
    CSPAWN_IO_PRIORITY,
    CSPAWN_AFFINITY,
    CSPAWN_SCHEDULER,
    CSPAWN_RLIMIT,
    CSPAWN_BOUNDING,
    CSPAWN_GROUPS,
    CSPAWN_GID,
    CSPAWN_UID,
    CSPAWN_CAPABILITIES,
    CSPAWN_AMBIENT,
    CSPAWN_NO_NEW_PRIVILEGES,
    CSPAWN_SECCOMP,
    CSPAWN_EXEC,
    CSPAWN_HOOK,
};

#endif
