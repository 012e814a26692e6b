/* Paths inside a root that the image's author controls: a symbolic link there must never lead out (openat2(2)). */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int cspawn_open_in_root(int root, const char *path) {
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

int cspawn_is_link_in_root(int root, const char *path) {
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    int file = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    struct stat status;
    int is_link = file >= 0 && fstat(file, &status) == 0 && S_ISLNK(status.st_mode);
    if (file >= 0) close(file);
    return is_link;
}

int cspawn_is_root(int root, int target) {
    struct statx a, b;
    /* The mount as well as the file: a bind mount of the root elsewhere is another place. */
    return statx(root, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &a) == 0 &&
        statx(target, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &b) == 0 && a.stx_ino == b.stx_ino && a.stx_mnt_id == b.stx_mnt_id;
}

static int make(int root, const char *path, int last_is_file, int depth);

/* `name` in `parent` exists, yet the path through it does not: a dangling link. Makes what the link points to. */
static int make_link_target(int root, const char *prefix, size_t parent_length, int parent, const char *name, int file, int depth) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(parent, name, target, sizeof target - 1);
    if (length < 0) return -1;
    target[length] = 0;
    if (target[0] == '/') return make(root, target, file, depth + 1);
    char joined[PATH_MAX];
    if (parent_length + 1 + (size_t)length >= sizeof joined) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(joined, prefix, parent_length);
    joined[parent_length] = '/';
    memcpy(joined + parent_length + 1, target, (size_t)length + 1);
    return make(root, joined, file, depth + 1);
}

static int make(int root, const char *path, int last_is_file, int depth) {
    if (depth > 8) {
        errno = ELOOP;
        return -1;
    }
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof prefix) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int parent = cspawn_open_in_root(root, "/");
    size_t end = 0;
    while (parent >= 0) {
        size_t parent_length = end;
        size_t start = end;
        while (path[start] == '/') start++;
        if (start == length) return parent;
        end = start;
        while (end < length && path[end] != '/') end++;
        size_t rest = end;
        while (rest < length && path[rest] == '/') rest++;
        int file = last_is_file && rest == length;

        memcpy(prefix, path, end);
        prefix[end] = 0;
        const char *name = prefix + start;
        int next = cspawn_open_in_root(root, prefix);
        if (next < 0 && errno == ENOENT) {
            int made;
            if (file) {
                made = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
                if (made >= 0) close(made);
            } else {
                made = mkdirat(parent, name, 0755);
            }
            if (made < 0 && errno == EEXIST) {
                next = make_link_target(root, prefix, parent_length, parent, name, file, depth);
            } else if (made >= 0) {
                next = cspawn_open_in_root(root, prefix);
            }
        }
        int error = errno;
        close(parent);
        errno = error;
        parent = next;
    }
    return -1;
}

int cspawn_make_in_root(int root, const char *path, int last_is_file) { return make(root, path, last_is_file, 0); }

int cspawn_open_file_in_root(int root, const char *path) {
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, /* a FIFO of that name must not hold its reader */
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}
