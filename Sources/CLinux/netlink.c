#include "CLinux.h"

#include <linux/netlink.h>

int clinux_route_socket(unsigned int groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0) return -1;
    int on = 1;
    /* Without them an error has no text, or more around it: what reads it copes with that. */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

ssize_t clinux_netlink_receive(int fd, void *buffer, size_t size) {
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
