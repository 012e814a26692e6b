/*
 * CCrash: what PID 1 does when it crashes itself.
 *
 * A fatal signal in PID 1 panics the kernel, and nobody learns why.  A signal handler may not run Swift, so this small
 * piece of C starts PID 1's own program anew with execve(2): same process, same children, fresh memory.  The new
 * program is told by its arguments what happened, reports it and shuts the VM down.
 */
#ifndef CCRASH_H
#define CCRASH_H

/* The first argument of a program that was started anew; behind it stand the signal's number and the faulting address. */
#define CCRASH_ARGUMENT "--recover"

/*
 * Catches SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV and SIGSYS on a stack of its own.
 * `program` is executed anew; when `recovering` is set a second crash powers the VM off instead.
 * `diagnostics` gets one line written (a descriptor, or -1).  Returns -1 with errno if a handler could not be set.
 */
int ccrash_install(const char *program, int recovering, int diagnostics);

#endif
