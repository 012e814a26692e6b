/* The container's root: mounts, devices, masks; then it becomes `/`. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* A user namespace gives no right to make device nodes: there the one of PID 1's /dev is bound, as runc does it. */
static void bind_device(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_device *device = &plan->root->devices[index];
    int source = open(device->path, O_PATH | O_CLOEXEC);
    struct stat status;
    if (source < 0 || fstat(source, &status) < 0) cspawn_fail(plan, CSPAWN_DEVICE, index);
    if ((status.st_mode & S_IFMT) != (device->mode & S_IFMT) || status.st_rdev != device->device) {
        errno = ENODEV;
        cspawn_fail(plan, CSPAWN_DEVICE, index);
    }
    int target = cspawn_make_in_root(root, device->path, 1);
    if (target < 0 || mount(cspawn_path_of(source).text, cspawn_path_of(target).text, NULL, MS_BIND, NULL) < 0) {
        cspawn_fail(plan, CSPAWN_DEVICE, index);
    }
    close(source);
    close(target);
}

static void make_device(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_device *device = &plan->root->devices[index];
    if ((plan->namespaces & CLONE_NEWUSER) && !S_ISFIFO(device->mode)) {
        bind_device(plan, root, index);
        return;
    }
    const char *name;
    int parent = open_parent(root, device->path, &name);
    if (parent < 0) cspawn_fail(plan, CSPAWN_DEVICE, index);
    if (mknodat(parent, name, device->mode, device->device) < 0) {
        /* What the image has there stays only if it is the same device. */
        struct stat status;
        if (errno != EEXIST) cspawn_fail(plan, CSPAWN_DEVICE, index);
        if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) < 0) cspawn_fail(plan, CSPAWN_DEVICE, index);
        if ((status.st_mode & S_IFMT) != (device->mode & S_IFMT) || status.st_rdev != device->device) {
            errno = EEXIST;
            cspawn_fail(plan, CSPAWN_DEVICE, index);
        }
    }
    /* The owner first: a change of owner takes set-ID bits away. The umask was not 0 everywhere. */
    if (fchownat(parent, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(parent, name, device->mode & 07777, 0) < 0) {
        cspawn_fail(plan, CSPAWN_DEVICE, index);
    }
    close(parent);
}

static void make_links(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->root->link_count; i++) {
        const char *name;
        int parent = open_parent(root, plan->root->links[i].path, &name);
        if (parent < 0) cspawn_fail(plan, CSPAWN_LINK, i);
        if (symlinkat(plan->root->links[i].target, parent, name) < 0 && errno != EEXIST) cspawn_fail(plan, CSPAWN_LINK, i);
        close(parent);
    }
}

/* What is mounted over the root itself is what a later process finds as `/`, while the first one does not. */
static void refuse_root(const struct cspawn_plan *plan, int root, int target, int step, size_t index) {
    if (!cspawn_is_root(root, target)) return;
    errno = EBUSY;
    cspawn_fail(plan, step, index);
}

/* A masked file reads as /dev/null, a masked directory as an empty one. What is not there needs no mask. */
static void mask_paths(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->root->masked_path_count; i++) {
        int target = cspawn_open_in_root(root, plan->root->masked_paths[i]);
        if (target < 0) {
            if (errno == ENOENT || errno == ENOTDIR) continue;
            cspawn_fail(plan, CSPAWN_MASK, i);
        }
        refuse_root(plan, root, target, CSPAWN_MASK, i);
        int failed = cspawn_is_directory(target, "")
            ? mount("tmpfs", cspawn_path_of(target).text, "tmpfs", MS_RDONLY, NULL)
            : mount("/dev/null", cspawn_path_of(target).text, NULL, MS_BIND, NULL);
        if (failed) cspawn_fail(plan, CSPAWN_MASK, i);
        close(target);
    }
}

static void make_paths_readonly(const struct cspawn_plan *plan, int root) {
    for (size_t i = 0; i < plan->root->readonly_path_count; i++) {
        int target = cspawn_open_in_root(root, plan->root->readonly_paths[i]);
        if (target < 0) {
            if (errno == ENOENT || errno == ENOTDIR) continue;
            cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        }
        refuse_root(plan, root, target, CSPAWN_READONLY_PATH, i);
        struct cspawn_fd_path under = cspawn_path_of(target);
        if (mount(under.text, under.text, NULL, MS_BIND | MS_REC, NULL) < 0) cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        close(target);
        int mounted = cspawn_open_in_root(root, plan->root->readonly_paths[i]);
        if (mounted < 0) cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        struct cspawn_fd_path path = cspawn_path_of(mounted);
        if (mount(NULL, path.text, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | cspawn_mount_flags(path.text), NULL) < 0) {
            cspawn_fail(plan, CSPAWN_READONLY_PATH, i);
        }
        close(mounted);
    }
}

int cspawn_mount_root(const struct cspawn_plan *plan) {
    const struct cspawn_root *r = plan->root;
    /* First of all: what is mounted from here on must not show up in PID 1's namespace. */
    if (mount(NULL, "/", NULL, r->first_propagation, NULL) < 0) cspawn_fail(plan, CSPAWN_PROPAGATION, 0);
    /* Mounts that a user namespace did not make cannot be moved in it; a bind mount of its own can. */
    if ((plan->namespaces & CLONE_NEWUSER) && mount(r->path, r->path, NULL, MS_BIND | MS_REC, NULL) < 0) {
        cspawn_fail(plan, CSPAWN_OPEN_ROOT, 0);
    }
    int root = open(r->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) cspawn_fail(plan, CSPAWN_OPEN_ROOT, 0);

    mode_t before = umask(0);
    for (size_t i = 0; i < r->mount_count; i++) cspawn_do_mount(plan, root, i);
    for (size_t i = 0; i < r->device_count; i++) make_device(plan, root, i);
    make_links(plan, root);
    umask(before);
    /* After all mounts: a mask or a read-only bind laid earlier would be covered by the mount above it. */
    mask_paths(plan, root);
    make_paths_readonly(plan, root);
    return root;
}

void cspawn_enter_root(const struct cspawn_plan *plan, int root) {
    /* The initramfs cannot be pivoted away from (pivot_root(2)), so the root is moved over it. */
    if (fchdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
        cspawn_fail(plan, CSPAWN_MOVE_ROOT, 0);
    }
    close(root);
    /* Late, because the mount targets had to be made in it. */
    if (plan->root->readonly &&
        mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | cspawn_mount_flags("/"), NULL) < 0) {
        cspawn_fail(plan, CSPAWN_READONLY_ROOT, 0);
    }
    /* Last: a shared mount could not have been moved. */
    if (plan->root->propagation && mount(NULL, "/", NULL, plan->root->propagation, NULL) < 0) {
        cspawn_fail(plan, CSPAWN_ROOT_PROPAGATION, 0);
    }
}
