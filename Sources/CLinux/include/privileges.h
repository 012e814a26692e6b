/* Giving up rights, for helpers of PID 1 that talk to the outside. */
#ifndef CLINUX_PRIVILEGES_H
#define CLINUX_PRIVILEGES_H

#include <sys/types.h>

/* prctl(2) is variadic: no_new_privs, so that no program that is executed later has more rights; and no core dumps, no
 * tracing by processes of the same user.  Both return -1 with errno on failure. */
int clinux_set_no_new_privileges(void);
int clinux_set_not_dumpable(void);

/* setgroups(2) is declared in a header of its own, with functions that must not be used here (NSS). */
int clinux_clear_groups(void);

/* seccomp(2) has no wrapper in libc, and its programs are macros.  From here on the process may make only the system calls that a
 * program needs which reads, writes and waits for descriptors it has: any other one ends it by SIGSYS, and so does memory that may be
 * executed.  Needs no_new_privs; returns -1 with errno on failure. */
int clinux_allow_only_io(void);

#endif
