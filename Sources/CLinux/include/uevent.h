/* The kernel's uevent socket (netlink(7), NETLINK_KOBJECT_UEVENT). */
#ifndef CLINUX_UEVENT_H
#define CLINUX_UEVENT_H

#include <stddef.h>
#include <sys/types.h>

/* A non-blocking, close-on-exec socket joined to the kernel's group, with `buffer` bytes of receive buffer.
 * In C because sockaddr_nl must be passed as a sockaddr.  Returns -1 with errno on failure. */
int clinux_uevent_socket(int buffer);

/* One datagram of at most `size` bytes.  Returns its length, 0 for one that must be ignored (not sent by the kernel, or
 * truncated), -1 with errno: EAGAIN none is there, ENOBUFS the kernel dropped some. */
ssize_t clinux_uevent_receive(int fd, void *buffer, size_t size);

#endif
