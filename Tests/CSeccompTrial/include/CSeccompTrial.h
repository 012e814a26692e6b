/* CSeccompTrial: system calls made under a filter.  In C because syscall(2) is variadic, calls through another ABI are
 * instructions, and under a filter only what is written here may be called. */
#ifndef CSECCOMP_TRIAL_H
#define CSECCOMP_TRIAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

enum trial_abi { TRIAL_NATIVE, TRIAL_X32, TRIAL_X86 };

struct trial_call {
    enum trial_abi abi;
    long number;
    uint64_t arguments[6];
};

struct trial_end {
    int installed; /* 0, or the errno of seccomp(2) */
    int made;      /* whether the call came back */
    long result;   /* of the call: what the kernel returned, a negative errno for a failure */
    int signal;    /* what ended the process; 0 where it exited */
};

/*
 * Forks a child that installs the filter (an array of `struct sock_filter`), makes the call and exits.
 * The result comes through shared memory, so that the child needs no call but exit_group(2) for it; where even that one is
 * refused, the child is killed by the caller after 2 s.
 * Returns 0, or -1 with errno where there is no child to be had.
 */
int trial_run(const void *filter, size_t count, unsigned int flags, const struct trial_call *call, struct trial_end *end);

/* As trial_run, but the call is made by a second thread.  Returns in *survived whether the process outlived it. */
int trial_run_thread(const void *filter, size_t count, const struct trial_call *call, int *survived, int *signal);

/* As trial_run, with a tracer that notes what the filter tells it (PTRACE_GETEVENTMSG) and lets the call go on. */
int trial_run_traced(const void *filter, size_t count, const struct trial_call *call, struct trial_end *end, unsigned long *message);

#endif
