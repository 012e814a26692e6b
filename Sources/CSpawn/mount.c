/* One mount of the plan: made, given its flags, attributes and propagation. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct cspawn_fd_path cspawn_path_of(int fd) {
    struct cspawn_fd_path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", fd);
    return path;
}

unsigned long cspawn_mount_flags(const char *path) {
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

int cspawn_is_directory(int at, const char *path) {
    struct stat status;
    return fstatat(at, path, &status, path[0] ? 0 : AT_EMPTY_PATH) == 0 && S_ISDIR(status.st_mode);
}

/* The descriptor of a target names what lies under the new mount; the path now leads to the mount itself. */
static int open_mounted(const struct cspawn_plan *plan, int root, size_t index) {
    int mounted = cspawn_open_in_root(root, plan->root->mounts[index].target);
    if (mounted < 0) cspawn_fail(plan, CSPAWN_MOUNT_TARGET, index);
    return mounted;
}

/* The kernel mounts no file system right on top of itself: cgroup2 in a user namespace, whose /sys is the VM's with all that is
 * mounted there. With a layer in between it does. */
static int mount_on_cover(const struct cspawn_plan *plan, int root, int target, size_t index) {
    const struct cspawn_mount *m = &plan->root->mounts[index];
    unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("none", cspawn_path_of(target).text, "tmpfs", flags, "size=4k") < 0) return -1;
    int cover = open_mounted(plan, root, index);
    int result = mount(m->source, cspawn_path_of(cover).text, m->type, m->flags, m->data);
    int error = errno;
    close(cover);
    errno = error;
    return result;
}

/* The mappings can be given to a mount only before it is seen anywhere: so the bind mount is made by its new interface. */
static void bind_mapped(const struct cspawn_plan *plan, const struct cspawn_mount *m, int target, size_t index) {
    unsigned int deep = m->flags & MS_REC ? AT_RECURSIVE : 0;
    int tree = open_tree(AT_FDCWD, m->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | deep);
    if (tree < 0) cspawn_fail(plan, CSPAWN_MOUNT, index);
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)m->id_map};
    unsigned int where = AT_EMPTY_PATH | (m->id_map_recursive ? AT_RECURSIVE : 0);
    if (mount_setattr(tree, "", where, &attributes, sizeof attributes) < 0) cspawn_fail(plan, CSPAWN_MOUNT_ID_MAP, index);
    if (move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        cspawn_fail(plan, CSPAWN_MOUNT, index);
    }
    close(tree);
}

static void set_attributes(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_mount *m = &plan->root->mounts[index];
    if (!m->attributes && !m->cleared) return;
    int mounted = open_mounted(plan, root, index);
    struct mount_attr attributes = {.attr_set = m->attributes, .attr_clr = m->cleared};
    if (mount_setattr(mounted, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) < 0) {
        cspawn_fail(plan, CSPAWN_MOUNT_ATTRIBUTES, index);
    }
    close(mounted);
}

static void set_propagation(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_mount *m = &plan->root->mounts[index];
    if (!m->propagation) return;
    int mounted = open_mounted(plan, root, index);
    if (mount(NULL, cspawn_path_of(mounted).text, NULL, m->propagation, NULL) < 0) {
        cspawn_fail(plan, CSPAWN_MOUNT_PROPAGATION, index);
    }
    close(mounted);
}

void cspawn_do_mount(const struct cspawn_plan *plan, int root, size_t index) {
    const struct cspawn_mount *m = &plan->root->mounts[index];
    int bind = (m->flags & MS_BIND) != 0;
    if (!bind && !m->type) { /* only a further propagation of a mount made before */
        set_propagation(plan, root, index);
        return;
    }
    if (bind && !m->source) {
        errno = EINVAL;
        cspawn_fail(plan, CSPAWN_MOUNT, index);
    }
    if (m->no_link && cspawn_is_link_in_root(root, m->target)) {
        errno = ELOOP;
        cspawn_fail(plan, CSPAWN_TARGET_IS_LINK, index);
    }
    /* A bind mount's target has to be of its source's kind: a file onto a file. */
    int file = bind && access(m->source, F_OK) == 0 && !cspawn_is_directory(AT_FDCWD, m->source);
    int target = cspawn_make_in_root(root, m->target, file);
    if (target < 0) cspawn_fail(plan, CSPAWN_MOUNT_TARGET, index);
    if (cspawn_is_root(root, target)) {
        errno = EBUSY;
        cspawn_fail(plan, CSPAWN_TARGET_IS_ROOT, index);
    }

    if (bind && m->id_map >= 0) {
        bind_mapped(plan, m, target, index);
    } else {
        unsigned long first = bind ? m->flags & (MS_BIND | MS_REC) : m->flags;
        if (mount(m->source, cspawn_path_of(target).text, m->type, first, bind ? NULL : m->data) < 0 &&
            (bind || errno != EBUSY || mount_on_cover(plan, root, target, index) < 0)) {
            cspawn_fail(plan, CSPAWN_MOUNT, index);
        }
    }
    close(target);

    unsigned long rest = m->flags & ~(unsigned long)(MS_BIND | MS_REC);
    if (bind && rest) {
        int mounted = open_mounted(plan, root, index);
        struct cspawn_fd_path path = cspawn_path_of(mounted);
        /* mount(2) ignores all other flags when it makes a bind mount: they take a remount. */
        if (mount(NULL, path.text, NULL, MS_REMOUNT | MS_BIND | rest | cspawn_mount_flags(path.text), NULL) < 0) {
            cspawn_fail(plan, CSPAWN_MOUNT, index);
        }
        close(mounted);
    }
    set_attributes(plan, root, index);
    set_propagation(plan, root, index);
}
