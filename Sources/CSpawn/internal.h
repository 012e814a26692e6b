#ifndef CSPAWN_INTERNAL_H
#define CSPAWN_INTERNAL_H

#include "CSpawn.h"

/* Reports a failure, with errno, to the parent and ends the child. */
_Noreturn void cspawn_fail(const struct cspawn_plan *plan, int step, size_t index);

/* Tells the parent how far the child is; ends the child if nobody listens. `descriptor` goes along unless it is -1. */
void cspawn_tell(const struct cspawn_plan *plan, int step, int descriptor);

/* Waits for the parent's byte; ends the child if the parent is gone. */
void cspawn_await_parent(const struct cspawn_plan *plan);

/* All that has to happen before the first mount: what the namespaces themselves hold (namespaces.c). */
void cspawn_set_up_namespaces(const struct cspawn_plan *plan);

/* In a user namespace: becomes its root, without which no ID of the child's is one that can own a file. */
void cspawn_become_user_root(const struct cspawn_plan *plan);

/* Mounts, devices, links, masks (root.c); then the new root becomes `/`. */
int cspawn_mount_root(const struct cspawn_plan *plan);
void cspawn_enter_root(const struct cspawn_plan *plan, int root);

/* Identity, limits, capabilities, descriptors and execve(2) (process.c). Does not return. `labels` are the open files of
 * the plan's labels. */
_Noreturn void cspawn_become_process(const struct cspawn_plan *plan, const int *labels);

/* A terminal of the container's own devpts as the controlling one; its slave's descriptor (terminal.c). */
int cspawn_make_terminal(const struct cspawn_plan *plan);

/* execve(2) with execvp(3)'s search; returns only when it fails, 1 if the interpreter is missing (execute.c). */
size_t cspawn_execute(const struct cspawn_process *process);

/* The namespaces' init: reaps until it is killed (hold.c). */
_Noreturn void cspawn_hold_namespaces(const struct cspawn_plan *plan);

/* Runs the process as a child, and reports its end (hook.c). Returns in the child only. */
void cspawn_monitor_hook(const struct cspawn_plan *plan);

/* The flags of the mount at `path`, as MS_*: a remount has to repeat those it wants to keep. */
unsigned long cspawn_mount_flags(const char *path);

/* Makes mount `index` of the plan (mount.c). */
void cspawn_do_mount(const struct cspawn_plan *plan, int root, size_t index);

/* mount(2) takes paths; /proc/self/fd/N names exactly what was opened, whatever the image does to the path meanwhile. */
struct cspawn_fd_path {
    char text[32];
};
struct cspawn_fd_path cspawn_path_of(int fd);

int cspawn_is_directory(int at, const char *path);

/* Opens `path` inside `root`, following links only inside it; makes missing directories (and a last file). */
int cspawn_open_in_root(int root, const char *path);
int cspawn_make_in_root(int root, const char *path, int last_is_file);

/* Whether `path` is a symbolic link inside `root`. */
int cspawn_is_link_in_root(int root, const char *path);

/* Whether `target` is the root itself, into which a link of the image may lead: what is mounted there covers the whole image. */
int cspawn_is_root(int root, int target);

#endif
