#include "CLinux.h"

#include <sys/ioctl.h>

int clinux_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

int clinux_openat(int directory, const char *path, int flags, mode_t mode) {
    return openat(directory, path, flags, mode);
}

int clinux_fcntl_int(int fd, int command, int argument) { return fcntl(fd, command, argument); }

int clinux_ioctl_int(int fd, unsigned long request, int argument) { return ioctl(fd, request, argument); }
