/* Forking a worker: a child that may block for ever on behalf of PID 1. */
#ifndef CLINUX_WORKER_H
#define CLINUX_WORKER_H

#include <sys/types.h>

/*
 * fork(2), pidfd_open(2) and a child with default signal dispositions and an empty mask: Swift may not call fork, and
 * libc of Debian 12 declares pidfd_open in a header that Swift cannot import beside its own.  All signals are blocked
 * across the fork, so that no handler of the parent can run in the child.  Its oom_score_adj is 0: it is killed for memory
 * only where it is what has taken most, while the parent, PID 1, never is.
 * Returns 0 in the child; in the parent the process id, with a close-on-exec pidfd in *pidfd; -1 with errno on failure.
 */
pid_t clinux_fork_worker(int *pidfd);

/*
 * Starts `path` with one argument, `errors` as its descriptor 2, `socket` as 3, `settings` as 4 unless it is -1, and no other but 0
 * and 1: fork(2) and execve(2), between which Swift promises nothing.  The child has default signal dispositions, an empty mask, a
 * session of its own and no environment.
 *
 * Its oom_score_adj is 500.  What the container may take is limited, so when the VM itself is short of memory, something else has
 * taken it; and of what can be killed a helper is the least loss, for it is started again.  More than half of the memory makes a
 * process of the container the victim all the same: then it is the reason, and a helper of a megabyte would be killed in vain.
 *
 * Returns its process id, -1 with errno when there is none.  One that cannot be executed ends with status 127.
 */
pid_t clinux_start_helper(const char *path, const char *argument, int socket, int settings, int errors);

/*
 * Starts a DHCP client: the program at the first of `count` words, with all of them as its arguments, which stand one behind the
 * other, each with a zero byte behind it.  `errors` becomes its descriptor 2, `socket` CLINUX_DHCP_SOCKET; 0 and 1 are as they are.
 *
 * It is another user, `user`, with CAP_NET_RAW and CAP_NET_BIND_SERVICE, which its children have too, and can get no more; it sees no /run,
 * where the image is, no /proc and no /sys; it has no environment, few descriptors and processes, and little memory.  What of
 * this fails it says on its descriptor 2, and ends with status 127.  Needs root.
 *
 * Returns its process id, -1 with errno when there is none.
 */
pid_t clinux_start_dhcp_client(const char *words, int count, int socket, int errors, uid_t user);

/* udhcpc has pipes of its own as 3 and 4, whatever was there. */
enum { CLINUX_DHCP_SOCKET = 5 };

/*
 * Closes every descriptor above 2 but `kept`: libc 2.36 declares close_range(2) where Swift does not see it.
 * Returns -1 with errno on failure.
 */
int clinux_close_others(int kept);

/* waitid(2) of a pidfd without blocking: siginfo_t is a union of macros.
 * Returns 1 when the child was reaped (*code is CLD_EXITED, CLD_KILLED or CLD_DUMPED, *status the exit code or signal),
 * 0 while it runs, -1 with errno on failure. */
int clinux_reap_pidfd(int pidfd, int *code, int *status);

#endif
