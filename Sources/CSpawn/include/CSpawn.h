/*
 * CSpawn: from clone to exec.
 *
 * Between clone(2) and execve(2) a child may only do what is async-signal-safe, and Swift promises nothing of that
 * kind.  So everything is decided, resolved and allocated before (by the Swift module Container), handed over as the
 * plain data below, and carried out here by system calls alone.
 *
 * One description serves every kind of child:
 *   - the container process as PID 1 of new namespaces                  (root, not hold)
 *   - the namespaces' init, which mounts the root, then only reaps      (root and hold)
 *   - a process inside the namespaces of an init or process made before (join_pidfd >= 0)
 *   - a hook, in PID 1's namespaces or in the container's               (hook)
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
#include <termios.h>

#include "steps.h"

struct cspawn_report {
    int32_t step;
    int32_t error;  /* errno; the wait status for CSPAWN_HOOK_ENDED */
    uint32_t index; /* for CSPAWN_EXEC: 1 if the file itself exists, and so its interpreter is what is missing */
};

struct cspawn_mount {
    const char *source;        /* may be NULL */
    const char *target;        /* path inside the container's root */
    const char *type;          /* NULL for a bind mount, or where only `propagation` is to be set */
    const char *data;          /* file system's own options, may be NULL */
    unsigned long flags;       /* MS_* for mount(2); MS_BIND makes a bind mount */
    unsigned long propagation; /* MS_SHARED, MS_SLAVE, ... [| MS_REC], or 0 */
    uint64_t attributes;       /* MOUNT_ATTR_* to set on the mount and on all below it (mount_setattr(2)) */
    uint64_t cleared;          /* MOUNT_ATTR_* to clear there */
    int no_link;               /* the target itself must not be a symbolic link */
    int id_map;                /* user namespace whose mappings a bind mount takes, or -1 */
    int id_map_recursive;      /* so do the mounts below it */
};

struct cspawn_device {
    const char *path; /* inside the container's root */
    mode_t mode;      /* type and permissions */
    dev_t device;
    uid_t uid;
    gid_t gid;
};

struct cspawn_link {
    const char *path; /* inside the container's root */
    const char *target;
};

struct cspawn_sysctl {
    const char *path; /* "/proc/sys/net/core/somaxconn" */
    const char *value;
};

struct cspawn_rlimit {
    int resource;
    struct rlimit limit;
};

/* A label of a security module for the program that is executed. */
struct cspawn_label {
    const char *path; /* "/proc/self/attr/exec" */
    const char *text;
};

/* New namespaces and the root in them. */
struct cspawn_root {
    const char *path;       /* mounted root file system, in PID 1's view */
    int readonly;
    int separate_cgroups;   /* a cgroup namespace, whose root is the cgroup that the child is made in */
    const char *time_offsets; /* a time namespace with these timens_offsets (time_namespaces(7)), may be empty; or NULL */
    unsigned long first_propagation; /* of all mounts, before the first of ours: MS_PRIVATE | MS_REC */
    unsigned long propagation;       /* of the root when all is mounted, or 0 */
    const struct cspawn_sysctl *sysctls;
    size_t sysctl_count;
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
    int pause_before_enter; /* report CSPAWN_ROOT_MOUNTED and wait for a byte before the root becomes `/` */
};

/* sched_setattr(2)'s argument, as the kernel defines it: libc has no header for it that can be used beside sched.h. */
struct cspawn_scheduler {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

/* What is executed, and as what. */
struct cspawn_process {
    const char *const *argv; /* NULL-terminated */
    const char *const *envp; /* NULL-terminated */
    const char *path;        /* the file to execute; NULL searches for argv[0] */
    const char *command;     /* what is searched for in the place of argv[0]; NULL: argv[0] */
    const char *search_path; /* the container's PATH, for a command without a slash */
    const char *cwd;
    int keep_identity;       /* a hook of the runtime: nothing from here to `capabilities` applies */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
    mode_t umask;
    const struct cspawn_rlimit *rlimits;
    size_t rlimit_count;
    const struct cspawn_scheduler *scheduler; /* NULL: as it is */
    int io_priority;                          /* ioprio_set(2)'s value, or -1 */
    const unsigned long *initial_affinity;    /* sched_setaffinity(2) at once, and before exec; NULL: as it is */
    const unsigned long *affinity;
    size_t affinity_size;                     /* of either mask, in bytes */
    const unsigned long *personality;         /* NULL: as it is */
    const struct cspawn_label *labels;
    size_t label_count; /* at most CSPAWN_LABELS */
    int no_new_privileges;
    const void *filter;     /* seccomp: an array of struct sock_filter, or NULL */
    size_t filter_count;    /* its instructions, at most 65535 */
    unsigned int filter_flags;
    uint64_t bounding;      /* bit n: capability n stays in the bounding set */
    uint64_t ambient;       /* bit n: capability n is raised in the ambient set */
    int last_capability;    /* highest capability the kernel knows */
    cap_t capabilities;     /* effective, permitted and inheritable sets */
};

enum { CSPAWN_LABELS = 2 };

struct cspawn_flags {
    tcflag_t set;
    tcflag_t cleared;
};

/* What is to be other than in a new terminal (termios(3)). */
struct cspawn_modes {
    struct cspawn_flags input, output, local;
    cc_t characters[NCCS];
    unsigned char has_character[NCCS];
    speed_t input_speed, output_speed; /* 0: as it is */
};

/* Descriptors 0 to 2. */
struct cspawn_streams {
    int standard[3];       /* become 0, 1 and 2; -1 with a terminal */
    int terminal;          /* a pty of the container's own devpts; its master is sent with CSPAWN_TERMINAL */
    int console;           /* bind it to /dev/console */
    int has_size;
    unsigned short rows, columns;
    struct cspawn_modes modes;
};

struct cspawn_plan {
    int join_pidfd;        /* process whose namespaces to join, or -1 */
    uint64_t namespaces;   /* CLONE_NEW* to make by clone3(2), or to join */
    int cgroup;            /* directory of the cgroup to be made in, or -1 */
    int hold;              /* stay as the namespaces' init instead of executing anything */
    int hook;              /* run the process under a monitor that reports its end (CSPAWN_HOOK_ENDED) */
    int pause_before_exec; /* report CSPAWN_READY and wait for a byte before becoming the process */
    int set_oom_score;
    int oom_score;
    const struct cspawn_root *root;       /* NULL where the root is another's */
    const struct cspawn_process *process; /* NULL for the namespaces' init */
    struct cspawn_streams streams;
    cap_t no_capabilities; /* an empty set, for the namespaces' init */
    const int *kept;       /* descriptors above 2 that the child needs, ascending; all others it closes first */
    size_t kept_count;
    int report;            /* the child's end of a close-on-exec SOCK_SEQPACKET pair for struct cspawn_report */
};

/*
 * Makes the child.  Returns its PID, as the caller sees it, and its close-on-exec pidfd; or -1 with errno.
 * `own_pid_namespace` is an open /proc/self/ns/pid: joining a PID namespace is done by the parent for its next child
 * (setns(2)), and has to be taken back at once.
 */
pid_t cspawn(const struct cspawn_plan *plan, int own_pid_namespace, int *pidfd);

/* A socket pair for reports: the parent's end never blocks.  In C because SOCK_* are an enum that socketpair(2) takes as
 * an int.  Returns 0, or -1 with errno. */
int cspawn_report_pair(int *parent, int *child);

/*
 * Takes one report without blocking, and the descriptor that came with it (close-on-exec, else -1).  In C because of
 * the macros of cmsg(3).  Returns 1 for a report, 0 when the child has closed its end, -1 with errno (EAGAIN: none now;
 * EPROTO: no report).
 */
int cspawn_receive(int socket, struct cspawn_report *report, int *descriptor);

/*
 * A child that does nothing, in a user namespace of its own that has no mappings yet: the kernel makes id-mapped mounts
 * from a user namespace only, and a namespace needs a process at first.  Returns as cspawn() does.
 */
pid_t cspawn_user_namespace(int *pidfd);

/* ioctl(2) is variadic: sets the size of a terminal, whose foreground processes then get SIGWINCH. */
int cspawn_set_window_size(int terminal, unsigned short rows, unsigned short columns);

/*
 * Opens a file of the image for reading, following links only inside `root`: libc has no wrapper for openat2(2).
 * Returns a close-on-exec descriptor, or -1 with errno.
 */
int cspawn_open_file_in_root(int root, const char *path);

/* The name of a step, for people: "mount", "set working directory". */
const char *cspawn_step_name(int step);

/* Capabilities: cap_t is a pointer to an opaque struct that free(3) must not see, and cap_set_flag(3) wants an array. */
int cspawn_capability_set(cap_t capabilities, int flag, int capability);

#endif
