/*
 * CPtrace: ptrace(2) on x86-64, as the process bed needs it.
 *
 * ptrace(2) is variadic, and starting a tracee means code between fork(2) and execve(2), so neither can be Swift.  All
 * functions return -1 with errno set on failure.  Every call about a tracee must come from the thread that spawned it.
 */
#ifndef CPTRACE_H
#define CPTRACE_H

#include <stdint.h>

/* The registers that a backdoor access and a cpuid can touch, and what locates the instruction; `all` is the whole
 * user_regs_struct as it was read, so that writing back needs no second read. */
struct cptrace_registers {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rip, flags;
    uint64_t all[27];
};

/* The ptrace(2) event of a stop, the bits above the signal in a wait status; these are macros or an enum in headers that
 * clash with libc's. */
enum {
    CPTRACE_EVENT_FORK = 1,
    CPTRACE_EVENT_VFORK = 2,
    CPTRACE_EVENT_CLONE = 3,
    CPTRACE_EVENT_EXEC = 4,
    CPTRACE_EVENT_STOP = 128
};

/* Starts `path` (searched in PATH) as a tracee that brings its own children and threads under trace, and that dies with
 * the tracer.  Returns its process id; the first thing cptrace_wait reports of it is the exec event.  When execvp(3) fails,
 * -1 with its errno. */
int cptrace_spawn(const char *path, char *const argv[]);

/* waitpid(2) for any tracee of this thread, and for none of the process's other children (__WALL and __WNOTHREAD are not
 * visible in Swift).  EINTR when the alarm below rings. */
int cptrace_wait(int *status);

/* Rings after `milliseconds`, and then every 50 ms: interrupts cptrace_wait in this thread.  A signal (SIGURG, which is
 * ignored by default) with a handler that does nothing; repeated, for one that rings just before the wait begins is
 * lost. */
int cptrace_alarm_start(int64_t milliseconds);
void cptrace_alarm_stop(void);

/* PTRACE_GETREGS and PTRACE_SETREGS of the registers above; flags is only read. */
int cptrace_get_registers(int thread, struct cptrace_registers *registers);
int cptrace_set_registers(int thread, const struct cptrace_registers *registers);

/* PTRACE_CONT, delivering `signal` unless it is 0; PTRACE_LISTEN, for a tracee in a group stop. */
int cptrace_continue(int thread, int signal);
int cptrace_listen(int thread);

/* PTRACE_GETSIGINFO: si_code of the signal that stopped the tracee. */
int cptrace_signal_code(int thread, int *code);

/* PTRACE_GETEVENTMSG: the new process of a fork event. */
int cptrace_event_process(int thread, int *process);

/* process_vm_readv(2) and process_vm_writev(2) of one range: what the tracee itself may read or write.  The number of
 * bytes moved, which is short where the range leaves mapped memory. */
int64_t cptrace_read(int process, uint64_t address, void *buffer, uint64_t length);
int64_t cptrace_write(int process, uint64_t address, const void *buffer, uint64_t length);

/* Writes through /proc/PID/mem, which reaches read-only text too. */
int64_t cptrace_patch(int process, uint64_t address, const void *buffer, uint64_t length);

/* `cpuid` with a sub-leaf: EAX, EBX, ECX, EDX.  Macros in <cpuid.h>. */
void cptrace_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t result[4]);

#endif
