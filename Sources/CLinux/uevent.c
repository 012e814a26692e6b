#include "CLinux.h"

#include <linux/netlink.h>

/* The multicast group in which the kernel speaks; udev's daemon, where there is one, uses group 2. */
enum { KERNEL_GROUP = 1 };

int clinux_uevent_socket(int buffer) {
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0) return -1;
    /* FORCE passes the limit of net.core.rmem_max, and needs CAP_NET_ADMIN; without it a smaller buffer does. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}
