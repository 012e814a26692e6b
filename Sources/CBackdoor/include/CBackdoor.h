/*
 * CBackdoor: the instructions of the VMware backdoor client, and the child process that tries them first.
 *
 * Swift has no inline assembly.  The three port functions are whole assembly functions (backdoor.S), not asm
 * statements: the instructions use all seven registers, RBP among them, and a compiler that keeps its frame in RBP or
 * data below RSP cannot be in their way there.
 *
 * None needs iopl(2) or ioperm(2): VMware's monitor serves these ports at ring 3 whatever the I/O privilege is.
 * Anywhere else they fault with SIGSEGV, so find out first (see GuestInfo's Platform and Probe).
 */
#ifndef CBACKDOOR_H
#define CBACKDOOR_H

#include <stdint.h>

/* Each takes RAX, RBX, RCX, RDX, RSI, RDI, RBP, in this order, loads them whole, runs one instruction, and stores back
 * what that left.  The caller zeroes the halves that mean nothing. */

/* `in eax, dx` on port 0x5658: every command but the transfer of a large payload. */
void cbackdoor_in(uint64_t registers[7]);

/* `cld; rep outsb` on port 0x5659: RCX bytes at RSI go to the host. */
void cbackdoor_rep_outsb(uint64_t registers[7]);

/* `cld; rep insb` on port 0x5659: RCX bytes from the host go to RDI. */
void cbackdoor_rep_insb(uint64_t registers[7]);

/* `cpuid` of a leaf, sub-leaf 0: EAX, EBX, ECX, EDX.  The compiler's own helper is a macro around an asm statement. */
void cbackdoor_cpuid(uint32_t leaf, uint32_t result[4]);

/* Exit status of the probe's child. */
enum { CBACKDOOR_PROBE_ANSWERED = 0, CBACKDOOR_PROBE_SILENT = 1 };

/* Forks a child that asks the port for its version once, with the default action for every signal, and exits with one
 * of the numbers above, or dies of the fault.  *pidfd gets a close-on-exec descriptor that becomes readable then.
 * Returns the child's id, or -1 with errno set.  In C because between fork(2) and _exit(2) nothing may call into the
 * Swift runtime, which may hold locks of threads that the child does not have. */
int cbackdoor_probe_start(int *pidfd);

#endif
