/* What the children and PID 1 say to each other between clone and exec, over a pair of sockets that keep messages whole. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void cspawn_fail(const struct cspawn_plan *plan, int step, size_t index) {
    struct cspawn_report report = {.step = step, .error = errno, .index = (uint32_t)index};
    /* write(2), which a system call filter that is in place by then lets through where it may not let sendmsg(2). Nobody is left
     * to hear of a failure. */
    ssize_t ignored = write(plan->report, &report, sizeof report);
    (void)ignored;
    _exit(125);
}

void cspawn_tell(const struct cspawn_plan *plan, int step, int descriptor) {
    struct cspawn_report report = {.step = step};
    if (descriptor < 0) { /* again, because of the filter */
        if (write(plan->report, &report, sizeof report) != sizeof report) _exit(125);
        return;
    }
    struct iovec content = {.iov_base = &report, .iov_len = sizeof report};
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    if (sendmsg(plan->report, &message, MSG_NOSIGNAL) != sizeof report) _exit(125);
}

void cspawn_await_parent(const struct cspawn_plan *plan) {
    char byte;
    ssize_t count;
    do {
        count = recv(plan->report, &byte, 1, 0);
    } while (count < 0 && errno == EINTR);
    if (count != 1) _exit(125);
}

int cspawn_report_pair(int *parent, int *child) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -1;
    int flags = fcntl(ends[0], F_GETFL);
    if (flags < 0 || fcntl(ends[0], F_SETFL, flags | O_NONBLOCK) < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        errno = error;
        return -1;
    }
    *parent = ends[0];
    *child = ends[1];
    return 0;
}

int cspawn_receive(int socket, struct cspawn_report *report, int *descriptor) {
    struct iovec content = {.iov_base = report, .iov_len = sizeof *report};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &content, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    *descriptor = -1;
    ssize_t count;
    do {
        count = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    /* A child that ended with a byte of ours unread resets the connection: it is gone, no more. */
    if (count == 0 || (count < 0 && errno == ECONNRESET)) return 0;
    if (count < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
            memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
        }
    }
    if (count != sizeof *report) {
        if (*descriptor >= 0) close(*descriptor);
        *descriptor = -1;
        errno = EPROTO;
        return -1;
    }
    return 1;
}
