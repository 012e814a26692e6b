/* Netlink (netlink(7)): sockets of the kernel's own messages. */
#ifndef CLINUX_NETLINK_H
#define CLINUX_NETLINK_H

#include <stddef.h>
#include <sys/types.h>

/* A non-blocking, close-on-exec socket of NETLINK_ROUTE, on which errors come with the kernel's text and without a copy of the
 * request.  `groups` are joined, a bit each (RTMGRP_LINK is 1).  In C because sockaddr_nl must be passed as a sockaddr.
 * Returns -1 with errno on failure. */
int clinux_route_socket(unsigned int groups);

/* One datagram of at most `size` bytes.  Returns its length, 0 for one that must be ignored (not sent by the kernel, or
 * truncated), -1 with errno: EAGAIN none is there, ENOBUFS the kernel dropped some. */
ssize_t clinux_netlink_receive(int fd, void *buffer, size_t size);

#endif
