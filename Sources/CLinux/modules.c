#include "CLinux.h"

#include <sys/utsname.h>

int clinux_finit_module(int fd, const char *parameters, int compressed) {
    enum { INIT_COMPRESSED_FILE = 4 };
    return (int)syscall(SYS_finit_module, fd, parameters, compressed ? INIT_COMPRESSED_FILE : 0);
}

const char *clinux_kernel_release(void) {
    static struct utsname name;
    return uname(&name) == 0 ? name.release : "";
}
