#include "CSeccompTrial.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int install(const void *filter, size_t count, unsigned int flags) {
    struct sock_fprog program = {.len = (unsigned short)count, .filter = (struct sock_filter *)filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) != 0 ? errno : 0;
}

static long make(const struct trial_call *call) {
    const uint64_t *a = call->arguments;
#if defined(__x86_64__)
    long result;
    if (call->abi == TRIAL_X86) {
        __asm__ volatile("int $0x80"
                         : "=a"(result)
                         : "a"(call->number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                         : "memory", "r8", "r9", "r10", "r11");
        return (int)result;
    }
    long number = call->abi == TRIAL_X32 ? call->number | 0x40000000L : call->number;
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "memory", "rcx", "r11");
    return result;
#else
    long result = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return result == -1 ? -errno : result;
#endif
}

/* A crash under a filter is what is tried here: it shall leave no core file. */
static void leave_no_core(void) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
}

/* The process's wait status; it is killed after 2 s. */
static int await(pid_t pid) {
    int status = 0;
    for (int i = 0; i < 2000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) return status;
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) { }
    return status;
}

static struct trial_end *shared_end(void) {
    return mmap(NULL, sizeof(struct trial_end), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

int trial_run(const void *filter, size_t count, unsigned int flags, const struct trial_call *call, struct trial_end *end) {
    struct trial_end *shared = shared_end();
    if (shared == MAP_FAILED) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        leave_no_core();
        shared->installed = install(filter, count, flags);
        if (shared->installed == 0) {
            shared->result = make(call);
            shared->made = 1;
        }
        for (;;) (void)syscall(SYS_exit_group, 0);
    }
    if (pid > 0) {
        int status = await(pid);
        *end = *shared;
        end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    (void)munmap(shared, sizeof *shared);
    return pid > 0 ? 0 : -1;
}

static void *call_in_thread(void *call) {
    (void)make(call);
    return NULL;
}

int trial_run_thread(const void *filter, size_t count, const struct trial_call *call, int *survived, int *signal) {
    pid_t pid = fork();
    if (pid == 0) {
        leave_no_core();
        if (install(filter, count, 0) != 0) _exit(2);
        pthread_t thread;
        if (pthread_create(&thread, NULL, call_in_thread, (void *)call) != 0) _exit(3);
        (void)pthread_join(thread, NULL);
        _exit(42);
    }
    if (pid < 0) return -1;
    int status = await(pid);
    *survived = WIFEXITED(status) && WEXITSTATUS(status) == 42;
    *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return 0;
}

int trial_run_traced(const void *filter, size_t count, const struct trial_call *call, struct trial_end *end, unsigned long *message) {
    struct trial_end *shared = shared_end();
    if (shared == MAP_FAILED) return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(2);
        (void)raise(SIGSTOP);
        shared->installed = install(filter, count, 0);
        shared->result = make(call);
        shared->made = 1;
        for (;;) (void)syscall(SYS_exit_group, 0);
    }
    if (pid < 0) {
        (void)munmap(shared, sizeof *shared);
        return -1;
    }
    int status = 0;
    *message = 0;
    (void)waitpid(pid, &status, 0);
    (void)ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
    for (int stops = 0; stops < 100 && WIFSTOPPED(status); stops++) {
        if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_SECCOMP << 8))) (void)ptrace(PTRACE_GETEVENTMSG, pid, 0, message);
        (void)ptrace(PTRACE_CONT, pid, 0, 0);
        if (waitpid(pid, &status, 0) < 0) break;
    }
    *end = *shared;
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    (void)munmap(shared, sizeof *shared);
    return 0;
}
