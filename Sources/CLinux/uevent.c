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

ssize_t clinux_uevent_receive(int fd, void *buffer, size_t size) {
    struct sockaddr_nl from;
    memset(&from, 0, sizeof from);
    struct iovec part = { .iov_base = buffer, .iov_len = size };
    struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1 };
    ssize_t length;
    do length = recvmsg(fd, &message, 0);
    while (length < 0 && errno == EINTR);
    if (length < 0) return -1;
    if (message.msg_flags & MSG_TRUNC) return 0;
    if (message.msg_namelen != sizeof from || from.nl_pid != 0) return 0;
    return length;
}
