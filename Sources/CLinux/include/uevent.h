/* The kernel's uevent socket (netlink(7), NETLINK_KOBJECT_UEVENT). */
#ifndef CLINUX_UEVENT_H
#define CLINUX_UEVENT_H

/* A non-blocking, close-on-exec socket joined to the kernel's group, with `buffer` bytes of receive buffer.
 * In C because sockaddr_nl must be passed as a sockaddr.  Returns -1 with errno on failure. */
int clinux_uevent_socket(int buffer);

#endif
