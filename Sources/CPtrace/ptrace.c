#define _GNU_SOURCE 1
#include "CPtrace.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

int cptrace_spawn(const char *path, char *const argv[]) {
    /* go: the child waits on it until it is traced; failed: carries the errno of execvp, or closes with its success. */
    int go[2], failed[2];
    if (pipe2(go, O_CLOEXEC) == -1) return -1;
    if (pipe2(failed, O_CLOEXEC) == -1) {
        int error = errno;
        close(go[0]);
        close(go[1]);
        errno = error;
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) != 1) _exit(125);
        execvp(path, argv);
        int error = errno;
        if (write(failed[1], &error, sizeof error) != sizeof error) _exit(125);
        _exit(127);
    }
    int error = child == -1 ? errno : 0;
    close(go[0]);
    close(failed[1]);
    if (error == 0 && ptrace(PTRACE_SEIZE, child, 0, options) == -1) error = errno;
    if (error == 0 && write(go[1], "", 1) != 1) error = errno;
    close(go[1]);
    if (error == 0 && read(failed[0], &error, sizeof error) != sizeof error) error = 0;
    close(failed[0]);
    if (error != 0) {
        if (child > 0) {
            kill(child, SIGKILL);
            while (waitpid(child, NULL, __WALL) == -1 && errno == EINTR) {}
        }
        errno = error;
        return -1;
    }
    return child;
}

int cptrace_wait(int *status) { return waitpid(-1, status, __WALL | __WNOTHREAD); }

static _Thread_local timer_t timer;
static _Thread_local int timer_armed;

static void ring(int signal) { (void)signal; }

int cptrace_alarm_start(int64_t milliseconds) {
    /* Without SA_RESTART: the wait is to return. */
    struct sigaction action = {.sa_handler = ring};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGURG, &action, NULL) == -1) return -1;
    /* Whoever started this program may have handed down a mask with everything in it: Dispatch's threads do. */
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGURG);
    if (sigprocmask(SIG_UNBLOCK, &alarm, NULL) == -1) return -1;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == -1) return -1;
    timer_armed = 1;
    struct itimerspec when = {
        .it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000 + 1},
        .it_interval = {.tv_nsec = 50000000},
    };
    return timer_settime(timer, 0, &when, NULL);
}

void cptrace_alarm_stop(void) {
    if (!timer_armed) return;
    timer_armed = 0;
    timer_delete(timer);
}

_Static_assert(sizeof(struct user_regs_struct) == sizeof(((struct cptrace_registers *)0)->all), "x86-64 registers");

int cptrace_get_registers(int thread, struct cptrace_registers *out) {
    struct user_regs_struct r;
    if (ptrace(PTRACE_GETREGS, thread, 0, &r) == -1) return -1;
    out->rax = r.rax;
    out->rbx = r.rbx;
    out->rcx = r.rcx;
    out->rdx = r.rdx;
    out->rsi = r.rsi;
    out->rdi = r.rdi;
    out->rbp = r.rbp;
    out->rip = r.rip;
    out->flags = r.eflags;
    memcpy(out->all, &r, sizeof r);
    return 0;
}

int cptrace_set_registers(int thread, const struct cptrace_registers *in) {
    struct user_regs_struct r;
    memcpy(&r, in->all, sizeof r);
    r.rax = in->rax;
    r.rbx = in->rbx;
    r.rcx = in->rcx;
    r.rdx = in->rdx;
    r.rsi = in->rsi;
    r.rdi = in->rdi;
    r.rbp = in->rbp;
    r.rip = in->rip;
    return (int)ptrace(PTRACE_SETREGS, thread, 0, &r);
}

int cptrace_continue(int thread, int signal) { return (int)ptrace(PTRACE_CONT, thread, 0, (long)signal); }

int cptrace_listen(int thread) { return (int)ptrace(PTRACE_LISTEN, thread, 0, 0); }

int cptrace_signal_code(int thread, int *code) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, thread, 0, &info) == -1) return -1;
    *code = info.si_code;
    return 0;
}

int cptrace_event_process(int thread, int *process) {
    unsigned long message;
    if (ptrace(PTRACE_GETEVENTMSG, thread, 0, &message) == -1) return -1;
    *process = (int)message;
    return 0;
}

int64_t cptrace_read(int process, uint64_t address, void *buffer, uint64_t length) {
    struct iovec here = {buffer, length}, there = {(void *)address, length};
    return process_vm_readv(process, &here, 1, &there, 1, 0);
}

int64_t cptrace_write(int process, uint64_t address, const void *buffer, uint64_t length) {
    struct iovec here = {(void *)buffer, length}, there = {(void *)address, length};
    return process_vm_writev(process, &here, 1, &there, 1, 0);
}

int64_t cptrace_patch(int process, uint64_t address, const void *buffer, uint64_t length) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", process);
    int memory = open(path, O_RDWR | O_CLOEXEC);
    if (memory == -1) return -1;
    ssize_t count = pwrite(memory, buffer, length, (off_t)address);
    int error = errno;
    close(memory);
    errno = error;
    return count;
}

void cptrace_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t result[4]) {
    __cpuid_count(leaf, subleaf, result[0], result[1], result[2], result[3]);
}
