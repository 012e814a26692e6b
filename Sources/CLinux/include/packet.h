/* Packet sockets (packet(7)). */
#ifndef CLINUX_PACKET_H
#define CLINUX_PACKET_H

#include <stddef.h>

/* Sends one Ethernet frame, with its header, by the interface of this number.  In C because sockaddr_ll must be passed as a sockaddr.
 * Returns -1 with errno on failure: ENETDOWN where the interface is switched off. */
int clinux_send_frame(unsigned int index, const void *frame, size_t length);

#endif
