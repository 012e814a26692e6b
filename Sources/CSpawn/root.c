#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* mount(2) takes paths; /proc/self/fd/N names exactly what was opened, whatever the image does to the path meanwhile. */
struct fd_path {
    char text[32];
};

static struct fd_path path_of(int fd) {
    struct fd_path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", fd);
    return path;
}

/* The flags of a mount, as MS_*: a remount has to repeat those it wants to keep. */
static unsigned long mount_flags(const char *path) {
    struct statvfs status;
    if (statvfs(path, &status) < 0) return 0;
    unsigned long flags = 0;
    if (status.f_flag & ST_RDONLY) flags |= MS_RDONLY;
    if (status.f_flag & ST_NOSUID) flags |= MS_NOSUID;
    if (status.f_flag & ST_NODEV) flags |= MS_NODEV;
    if (status.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
    if (status.f_flag & ST_NOATIME) flags |= MS_NOATIME;
    if (status.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
    if (status.f_flag & ST_RELATIME) flags |= MS_RELATIME;
    return flags;
}

static int is_directory(int at, const char *path) {
    struct stat status;
    return fstatat(at, path, &status, path[0] ? 0 : AT_EMPTY_PATH) == 0 && S_ISDIR(status.st_mode);
}

static void set_propagation(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_mount *m = &plan->mounts[index];
    if (!m->propagation) return;
    int mounted = cspawn_open_in_root(root, m->target);
    if (mounted < 0) cspawn_fail(plan, CSPAWN_MOUNT_TARGET, index);
    if (mount(NULL, path_of(mounted).text, NULL, m->propagation, NULL) < 0) cspawn_fail(plan, CSPAWN_MOUNT, index);
    close(mounted);
}

static void do_mount(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_mount *m = &plan->mounts[index];
    int bind = (m->flags & MS_BIND) != 0;
    if (!bind && !m->type) { /* only a further propagation of a mount made before */
        set_propagation(plan, root, index);
        return;
    }
    if (bind && !m->source) {
        errno = EINVAL;
        cspawn_fail(plan, CSPAWN_MOUNT, index);
    }
    /* A bind mount's target has to be of its source's kind: a file onto a file. */
    int file = bind && access(m->source, F_OK) == 0 && !is_directory(AT_FDCWD, m->source);
    int target = cspawn_make_in_root(root, m->target, file);
    if (target < 0) cspawn_fail(plan, CSPAWN_MOUNT_TARGET, index);

    unsigned long first = bind ? m->flags & (MS_BIND | MS_REC) : m->flags;
    if (mount(m->source, path_of(target).text, m->type, first, bind ? NULL : m->data) < 0) {
        cspawn_fail(plan, CSPAWN_MOUNT, index);
    }
    close(target);

    unsigned long rest = m->flags & ~(unsigned long)(MS_BIND | MS_REC);
    if (bind && rest) {
        /* The descriptor above names what lies under the new mount; the path now leads to the mount itself. */
        int mounted = cspawn_open_in_root(root, m->target);
        if (mounted < 0) cspawn_fail(plan, CSPAWN_MOUNT_TARGET, index);
        struct fd_path path = path_of(mounted);
        /* mount(2) ignores all other flags when it makes a bind mount: they take a remount. */
        if (mount(NULL, path.text, NULL, MS_REMOUNT | MS_BIND | rest | mount_flags(path.text), NULL) < 0) {
            cspawn_fail(plan, CSPAWN_MOUNT, index);
        }
        close(mounted);
    }
    set_propagation(plan, root, index);
}

/* Opens the directory of `path` inside the root and gives the name in it. */
static int open_parent(int root, const char *path, const char **name) {
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof directory) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(directory, path, length);
    directory[length] = 0;
    *name = slash ? slash + 1 : path;
    return cspawn_make_in_root(root, directory, 0);
}

static void make_devices(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->device_count; i++) {
        const struct cspawn_device *device = &plan->devices[i];
        const char *name;
        int parent = open_parent(root, device->path, &name);
        if (parent < 0) cspawn_fail(plan, CSPAWN_DEVICE, i);
        if (mknodat(parent, name, device->mode, device->device) < 0) {
            if (errno != EEXIST) cspawn_fail(plan, CSPAWN_DEVICE, i);
        } else if (fchmodat(parent, name, device->mode & 07777, 0) < 0) { /* the umask is not 0 everywhere */
            cspawn_fail(plan, CSPAWN_DEVICE, i);
        }
        close(parent);
    }
    for (size_t i = 0; i < plan->link_count; i++) {
        const char *name;
        int parent = open_parent(root, plan->links[i].path, &name);
        if (parent < 0) cspawn_fail(plan, CSPAWN_LINK, i);
        if (symlinkat(plan->links[i].target, parent, name) < 0 && errno != EEXIST) cspawn_fail(plan, CSPAWN_LINK, i);
        close(parent);
    }
}

/* A masked file reads as /dev/null, a masked directory as an empty one. What is not there needs no mask. */
static void mask_paths(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->masked_path_count; i++) {
        int target = cspawn_open_in_root(root, plan->masked_paths[i]);
        if (target < 0) {
            if (errno == ENOENT || errno == ENOTDIR) continue;
            cspawn_fail(plan, CSPAWN_MASK, i);
        }
        int failed = is_directory(target, "")
            ? mount("tmpfs", path_of(target).text, "tmpfs", MS_RDONLY, NULL)
            : mount("/dev/null", path_of(target).text, NULL, MS_BIND, NULL);
        if (failed) cspawn_fail(plan, CSPAWN_MASK, i);
        close(target);
    }
}

static void make_paths_readonly(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->readonly_path_count; i++) {
        int target = cspawn_open_in_root(root, plan->readonly_paths[i]);
        if (target < 0) {
            if (errno == ENOENT || errno == ENOTDIR) continue;
            cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        }
        struct fd_path under = path_of(target);
        if (mount(under.text, under.text, NULL, MS_BIND | MS_REC, NULL) < 0) cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        close(target);
        int mounted = cspawn_open_in_root(root, plan->readonly_paths[i]);
        if (mounted < 0) cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        struct fd_path path = path_of(mounted);
        if (mount(NULL, path.text, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | mount_flags(path.text), NULL) < 0) {
            cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        }
        close(mounted);
    }
}

void cspawn_make_root(const struct cspawn_plan *plan) {
    /* First of all: what is mounted from here on must not show up in PID 1's namespace. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) cspawn_fail(plan, CSPAWN_PROPAGATION, 0);
    int root = open(plan->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) cspawn_fail(plan, CSPAWN_OPEN_ROOT, 0);

    mode_t before = umask(0);
    for (size_t i = 0; i < plan->mount_count; i++) do_mount(plan, root, i);
    make_devices(plan, root);
    umask(before);
    /* After all mounts: a mask or a read-only bind laid earlier would be covered by the mount above it. */
    mask_paths(plan, root);
    make_paths_readonly(plan, root);

    /* The initramfs cannot be pivoted away from (pivot_root(2)), so the root is moved over it. */
    if (fchdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
        cspawn_fail(plan, CSPAWN_MOVE_ROOT, 0);
    }
    close(root);
    /* Last, because the mount targets above had to be made in it. */
    if (plan->root_readonly && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | mount_flags("/"), NULL) < 0) {
        cspawn_fail(plan, CSPAWN_READONLY_ROOT, 0);
    }
}
