#include "CLinux.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

/*
 * What programs need that only move bytes: their descriptors, time, memory (malloc), random bytes, and their end.  poll is what they
 * wait by; ppoll, and clock_gettime where the vDSO cannot tell the time, are libc's choice.  mmap is looked at on its own, and so is
 * ioctl: of all that can be asked of a terminal, its line disciplines among it, only what a serial line has lost and what it has still
 * to send.
 */
static const unsigned int allowed[] = {
    SYS_read, SYS_write, SYS_sendto, SYS_poll, SYS_ppoll, SYS_clock_gettime, SYS_getrandom, SYS_brk, SYS_munmap, SYS_mremap,
    SYS_madvise, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit, SYS_exit_group,
};

#define ALLOWED (sizeof allowed / sizeof allowed[0])
#define FIELD(name) ((unsigned int)offsetof(struct seccomp_data, name))
/* The lower half of an argument, on a little-endian machine: PROT_EXEC is there. */
#define ARGUMENT(index) (FIELD(args) + 8 * (index))

int clinux_allow_only_io(void) {
    struct sock_filter program[ALLOWED + 17];
    unsigned short count = 0;
    const unsigned char last = ALLOWED + 6; /* from the first of the comparisons */
    program[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(arch));
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    /* The calls of the x32 ABI have a bit more in their numbers, so none of these matches them. */
    program[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(nr));
    for (unsigned int index = 0; index < ALLOWED; index++) {
        /* Jumps are counted from the instruction behind: to the one that allows, which is the last of those for mmap. */
        unsigned char to_last = (unsigned char)(last - 1 - index);
        program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[index], to_last, 0);
    }
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 6, 0);
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2));
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(1));
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCGICOUNT, 3, 0);
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCOUTQ, 2, 0);
    program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSERGETLSR, 1, 0);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = count, .filter = program};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}
